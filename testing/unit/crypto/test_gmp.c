/* SPDX-License-Identifier: Apache-2.0 */
/* The gmp plugin by itself and against openssl. */

#include <stdio.h>
#include <stdlib.h>

#include "crypto_host.h"
#include "libcore/base/err.h"
#include "libcore/crypto/kat.h"
#include "unit.h"

static struct crypto_host *host, *other;
static struct crypto *gmp_first, *openssl;
static const struct cy_pki_ops *ours, *theirs;
static uint8_t file[65536];

static void setup(void)
{
	host = crypto_host_new("openssl gmp", "gmp");
	other = crypto_host_new("openssl", NULL);
	if (!host || !other)
		return;
	gmp_first = crypto_host_crypto(host);
	openssl = crypto_host_crypto(other);
	ours = crypto_pki_of(gmp_first, "gmp");
	theirs = crypto_pki(openssl);
}

static void teardown(void)
{
	if (host)
		crypto_host_free(host);
	if (other)
		crypto_host_free(other);
}

static const uint16_t groups[] = {CY_KE_MODP_768, CY_KE_MODP_1024, CY_KE_MODP_1536, CY_KE_MODP_2048,
    CY_KE_MODP_3072, CY_KE_MODP_4096, CY_KE_MODP_6144, CY_KE_MODP_8192, CY_KE_MODP_2048_256};

struct seen {
	size_t modp, pki, others;
};

static void count(void *user, const struct crypto_listing *l)
{
	struct seen *s = user;
	bool is_gmp = strcmp(l->plugin, "gmp") == 0;

	if (is_gmp && l->kind == CY_KIND_KE)
		s->modp += l->chosen;
	else if (is_gmp && l->kind == CY_KIND_PKI)
		s->pki++;
	else
		s->others += is_gmp;
}

START_TEST(preferred_and_tested)
{
	struct seen s = {0};

	if (!host || !other)
		return;
	ck_assert_uint_eq(crypto_host_refused(host), 0);
	crypto_list(gmp_first, count, &s);
	ck_assert_uint_eq(s.modp, ARRAY_LEN(groups));
	ck_assert_uint_eq(s.pki, 1);
	ck_assert_uint_eq(s.others, 0);
	ck_assert_ptr_nonnull(ours);
	/* certificates stay with the plugin that can decode them */
	ck_assert_ptr_ne(crypto_pki(gmp_first), ours);
	ck_assert_ptr_nonnull(crypto_pki(gmp_first)->cert_load);
	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		ck_assert_ptr_ne(
		    crypto_ke(gmp_first, groups[i])->keygen, crypto_ke(openssl, groups[i])->keygen);
}
END_TEST

/* Alone it has MODP, and no RSA because nobody hashes. */
START_TEST(alone)
{
	struct crypto_host *h = crypto_host_new("gmp", NULL);

	if (!h)
		return;
	ck_assert_uint_eq(crypto_host_refused(h), 0);
	ck_assert_ptr_nonnull(crypto_ke(crypto_host_crypto(h), CY_KE_MODP_2048));
	ck_assert_ptr_null(crypto_pki(crypto_host_crypto(h)));
	crypto_host_free(h);
}
END_TEST

START_TEST(agrees_with_openssl)
{
	static uint8_t pub_a[CY_MAX_KE_PUBLIC], pub_b[CY_MAX_KE_PUBLIC], s_a[CY_MAX_KE_SECRET],
	    s_b[CY_MAX_KE_SECRET];

	if (!host || !other)
		return;
	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		const struct cy_ke_alg *a = crypto_ke(gmp_first, groups[i]),
		                       *b = crypto_ke(openssl, groups[i]);
		size_t n = a->public_len;
		void *ka, *kb;

		ck_assert_uint_eq(b->public_len, n);
		ck_assert_int_eq(a->keygen(a, &ka, pub_a), CY_OK);
		ck_assert_int_eq(b->keygen(b, &kb, pub_b), CY_OK);
		ck_assert_int_eq(a->derive(ka, cy_slice(pub_b, n), s_a), CY_OK);
		ck_assert_int_eq(b->derive(kb, cy_slice(pub_a, n), s_b), CY_OK);
		ck_assert_mem_eq(s_a, s_b, n);
		a->key_free(ka);
		b->key_free(kb);
	}
}
END_TEST

static struct cy_slice read_file(const char *name)
{
	char path[512];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", PKI_DIR, name);
	f = fopen(path, "rb");
	ck_assert_msg(f != NULL, "%s", path);
	n = fread(file, 1, sizeof(file), f);
	(void)fclose(f);
	return cy_slice(file, n);
}

START_TEST(rsa_both_ways)
{
	static const struct {
		enum cy_sig_scheme scheme;
		enum cy_hash hash;
	} cases[] = {
	    {CY_SIG_RSA_PKCS1, CY_HASH_SHA1},
	    {CY_SIG_RSA_PKCS1, CY_HASH_SHA2_256},
	    {CY_SIG_RSA_PKCS1, CY_HASH_SHA2_384},
	    {CY_SIG_RSA_PKCS1, CY_HASH_SHA2_512},
	    {CY_SIG_RSA_PSS, CY_HASH_SHA1},
	    {CY_SIG_RSA_PSS, CY_HASH_SHA2_256},
	    {CY_SIG_RSA_PSS, CY_HASH_SHA2_384},
	    {CY_SIG_RSA_PSS, CY_HASH_SHA2_512},
	    {CY_SIG_RSA_PKCS1_RAW, CY_HASH_NONE},
	};
	static const char *const names[] = {"rsa.pem", "rsa-pkcs1.pem", "rsa-pkcs1.der", "rsa-pkcs8.der"};
	struct cy_slice msg[] = {cy_slice_str("one"), cy_slice_str("two")}, bad = cy_slice_str("onetwp");
	struct cy_privkey *a, *b;
	struct cy_pubkey *pa, *pb;
	uint8_t sig[512];
	size_t n;

	if (!host || !other)
		return;
	ck_assert_int_eq(theirs->privkey_load(read_file("rsa.pem"), NULL, NULL, &b, NULL), CY_OK);
	ck_assert_int_eq(theirs->pubkey_load(read_file("rsa-pub.der"), &pb, NULL), CY_OK);
	ck_assert_int_eq(ours->pubkey_load(read_file("rsa-pub.pem"), &pa, NULL), CY_OK);
	ck_assert(cy_slice_eq(ours->pubkey_spki(pa), theirs->pubkey_spki(pb)));
	ck_assert_mem_eq(ours->pubkey_info(pa)->keyid_sha1, theirs->pubkey_info(pb)->keyid_sha1, 20);
	ck_assert_mem_eq(ours->pubkey_info(pa)->spki_sha1, theirs->pubkey_info(pb)->spki_sha1, 20);
	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		ck_assert_int_eq(ours->privkey_load(read_file(names[k]), NULL, NULL, &a, NULL), CY_OK);
		ck_assert_uint_eq(ours->privkey_info(a)->bits, 2048);
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			enum cy_sig_scheme s = cases[i].scheme;
			enum cy_hash h = cases[i].hash;

			ck_assert_int_eq(ours->sign(a, s, h, msg, 2, sig, &n), CY_OK);
			ck_assert_uint_eq(n, 256);
			ck_assert_int_eq(theirs->verify(pb, s, h, msg, 2, cy_slice(sig, n)), CY_OK);
			ck_assert_int_eq(ours->verify(pa, s, h, msg, 2, cy_slice(sig, n)), CY_OK);
			ck_assert_int_eq(theirs->sign(b, s, h, msg, 2, sig, &n), CY_OK);
			ck_assert_int_eq(ours->verify(pa, s, h, msg, 2, cy_slice(sig, n)), CY_OK);
			ck_assert_int_eq(ours->verify(pa, s, h, &bad, 1, cy_slice(sig, n)), CY_E_AUTH);
			ck_assert_int_eq(ours->verify(pa, s, h, msg, 2, cy_slice(sig, n - 1)), CY_E_AUTH);
			sig[3] ^= 1;
			ck_assert_int_eq(ours->verify(pa, s, h, msg, 2, cy_slice(sig, n)), CY_E_AUTH);
			memset(sig, 0, n);
			ck_assert_int_eq(ours->verify(pa, s, h, msg, 2, cy_slice(sig, n)), CY_E_AUTH);
			memset(sig, 0xff, n);
			ck_assert_int_eq(ours->verify(pa, s, h, msg, 2, cy_slice(sig, n)), CY_E_AUTH);
		}
		ours->privkey_unref(ours->privkey_ref(a));
		ours->privkey_unref(a);
	}
	ours->pubkey_unref(ours->pubkey_ref(pa));
	ours->pubkey_unref(pa);
	theirs->pubkey_unref(pb);
	theirs->privkey_unref(b);
}
END_TEST

START_TEST(keys_that_are_not_read)
{
	static const struct {
		const char *name;
		enum cy_err err;
		const char *why;
	} cases[] = {
	    {"rsa-pkcs8-enc.pem", CY_E_PARSE, "no encrypted keys"},
	    {"rsa-pkcs1-enc.pem", CY_E_PARSE, "no encrypted keys"},
	    {"ec256-sec1.der", CY_E_PARSE, "no RSA private key"},
	    {"ec384-pkcs8.pem", CY_E_UNSUPPORTED, "RSA keys only"},
	    {"ed25519.pem", CY_E_UNSUPPORTED, "RSA keys only"},
	    {"leaf.der", CY_E_PARSE, "no RSA private key"},
	};
	struct cy_privkey *key = NULL;
	struct cy_pubkey *pub = NULL;
	struct cy_slice der;
	const char *why;

	if (!host || !other)
		return;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_msg(
		    ours->privkey_load(read_file(cases[i].name), NULL, NULL, &key, &why) == cases[i].err,
		    "%s", cases[i].name);
		ck_assert_msg(strstr(why, cases[i].why) != NULL, "%s: %s", cases[i].name, why);
	}
	/* cut off anywhere, and every byte wrong: refused, or at least not signing what does not verify */
	der = read_file("rsa-pkcs8.der");
	for (size_t n = 0; n < der.n; n++)
		ck_assert_int_ne(ours->privkey_load(cy_slice(file, n), NULL, NULL, &key, NULL), CY_OK);
	for (size_t i = 0; i < der.n; i += 3) {
		struct cy_slice msg = cy_slice_str("m");
		uint8_t sig[512];
		size_t len;

		file[i] ^= 0x10;
		if (ours->privkey_load(der, NULL, NULL, &key, NULL) == CY_OK) {
			if (ours->sign(key, CY_SIG_RSA_PKCS1, CY_HASH_SHA2_256, &msg, 1, sig, &len) ==
			    CY_OK) {
				ck_assert_int_eq(
				    theirs->pubkey_load(read_file("rsa-pub.der"), &pub, NULL), CY_OK);
				ck_assert_int_eq(theirs->verify(pub, CY_SIG_RSA_PKCS1, CY_HASH_SHA2_256, &msg,
				                     1, cy_slice(sig, len)),
				    CY_OK);
				theirs->pubkey_unref(pub);
				der = read_file("rsa-pkcs8.der");
				file[i] ^= 0x10;
			}
			ours->privkey_unref(key);
		}
		file[i] ^= 0x10;
	}
	ck_assert_int_eq(ours->pubkey_load(read_file("ec256-pub.der"), &pub, &why), CY_E_UNSUPPORTED);
	der = read_file("rsa-pub.der");
	for (size_t n = 0; n < der.n; n++)
		ck_assert_int_ne(ours->pubkey_load(cy_slice(file, n), &pub, NULL), CY_OK);
}
END_TEST

UNIT_TESTS(gmp)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, preferred_and_tested);
	tcase_add_test(tc, alone);
	tcase_add_test(tc, agrees_with_openssl);
	tcase_add_test(tc, rsa_both_ways);
	tcase_add_test(tc, keys_that_are_not_read);
}
