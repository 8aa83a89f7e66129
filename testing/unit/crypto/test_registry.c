/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "crypto_host.h"
#include "libcore/base/err.h"
#include "libcore/crypto/kat.h"
#include "unit.h"

static struct crypto_host *host;
static struct crypto *crypto;

static void setup(void)
{
	host = crypto_host_new("openssl", NULL);
	if (host)
		crypto = crypto_host_crypto(host);
}

static void teardown(void)
{
	if (host)
		crypto_host_free(host);
}

/* Everything there are vectors for, openssl provides, and nothing of it fails its test. */
START_TEST(openssl_has_all)
{
	if (!host)
		return;
	ck_assert_uint_eq(crypto_host_refused(host), 0);
	for (const struct kat_cipher *v = kat_ciphers; v->id; v++)
		ck_assert_msg(
		    crypto_cipher(crypto, v->id, v->key_bits) != NULL, "cipher %u_%u", v->id, v->key_bits);
	for (const struct kat_hash *v = kat_hashes; v->id; v++)
		ck_assert_msg(crypto_hash(crypto, v->id) != NULL, "hash %u", v->id);
	for (const struct kat_mac *v = kat_macs; v->id; v++)
		ck_assert_msg(crypto_mac(crypto, v->id) != NULL, "MAC %u", v->id);
	for (const struct kat_ke *v = kat_kes; v->id; v++)
		ck_assert_msg(crypto_ke(crypto, v->id) != NULL, "KE %u", v->id);
	ck_assert_ptr_nonnull(crypto_cipher(crypto, CY_ENCR_AES_GCM_8, 256));
	ck_assert_ptr_nonnull(crypto_cipher(crypto, CY_ENCR_AES_GCM_12, 128));
}
END_TEST

START_TEST(cipher_key_lengths)
{
	if (!host)
		return;
	ck_assert_ptr_null(crypto_cipher(crypto, CY_ENCR_AES_CBC, 0));
	ck_assert_ptr_null(crypto_cipher(crypto, CY_ENCR_AES_CBC, 129));
	ck_assert_ptr_nonnull(crypto_cipher(crypto, CY_ENCR_3DES, 0));
	ck_assert_ptr_nonnull(crypto_cipher(crypto, CY_ENCR_CHACHA20_POLY1305, 0));
	ck_assert_ptr_nonnull(crypto_cipher(crypto, CY_ENCR_NULL, 0));
	ck_assert_ptr_null(crypto_cipher(crypto, 9999, 0));
}
END_TEST

/* --- algorithms that are broken on purpose are refused --- */

static const struct cy_cipher_alg *good_cipher;
static const struct cy_mac_alg *good_mac;
static const struct cy_hash_alg *good_hash;
static const struct cy_ke_alg *good_ke;
static uint64_t broken_calls;

static enum cy_err broken_new(const struct cy_cipher_alg *alg, void **out)
{
	return good_cipher->ctx_new(good_cipher, out);
}

static enum cy_err flips_a_bit(
    void *ctx, struct cy_slice nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	enum cy_err err = good_cipher->crypt(ctx, nonce, aad, data, len, tag);

	broken_calls++;
	if (len)
		data[len - 1] ^= 0x80;
	return err;
}

static enum cy_err flips_later(
    void *ctx, struct cy_slice nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	enum cy_err err = good_cipher->crypt(ctx, nonce, aad, data, len, tag);

	if (++broken_calls == 2)
		data[0] ^= 1;
	return err;
}

static enum cy_err accepts_forgeries(
    void *ctx, struct cy_slice nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	enum cy_err err = good_cipher->crypt(ctx, nonce, aad, data, len, tag);

	broken_calls++;
	return err == CY_E_AUTH ? CY_OK : err;
}

START_TEST(broken_ciphers_are_refused)
{
	static enum cy_err (*const broken[])(void *, struct cy_slice, struct cy_slice, uint8_t *, size_t,
	    uint8_t *) = {flips_a_bit, flips_later, accepts_forgeries};
	struct crypto *c;
	struct cy_cipher_alg alg;

	if (!host)
		return;
	ck_assert_int_eq(crypto_new(NULL, &c), CY_OK);
	good_cipher = crypto_cipher(crypto, CY_ENCR_AES_GCM_16, 128);
	alg = *good_cipher;
	alg.ctx_new = broken_new;
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		alg.crypt = broken[i];
		broken_calls = 0;
		ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, &alg, "broken"), CY_E_AUTH);
		ck_assert_uint_gt(broken_calls, 0);
		ck_assert_ptr_null(crypto_cipher(c, CY_ENCR_AES_GCM_16, 128));
	}
	/* and whole it is accepted */
	alg.crypt = good_cipher->crypt;
	ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, &alg, "broken"), CY_OK);
	ck_assert_ptr_eq(crypto_cipher(c, CY_ENCR_AES_GCM_16, 128), &alg);
	crypto_free(c);
}
END_TEST

START_TEST(unusable_tables_are_refused)
{
	struct cy_cipher_alg alg, none;
	struct crypto *c;

	if (!host)
		return;
	ck_assert_int_eq(crypto_new(NULL, &c), CY_OK);
	good_cipher = crypto_cipher(crypto, CY_ENCR_AES_GCM_16, 128);
	alg = *good_cipher;
	alg.ctx_new = broken_new;
	none = alg;
	none.id = 999;
	ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, &none, "x"), CY_E_UNSUPPORTED);
	none = alg;
	none.key_bits[1] = 160; /* a key length without a vector */
	ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, &none, "x"), CY_E_UNSUPPORTED);
	none = alg;
	none.size = 8;
	ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, &none, "x"), CY_E_INVAL);
	none = alg;
	none.crypt = NULL;
	ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, &none, "x"), CY_E_INVAL);
	none = alg;
	none.salt_len = 3;
	ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, &none, "x"), CY_E_INVAL);
	ck_assert_int_eq(crypto_register(c, CY_KIND_KERNEL, &none, "x"), CY_E_INVAL);
	ck_assert_int_eq(crypto_register(c, CY_KIND_CIPHER, NULL, "x"), CY_E_INVAL);
	crypto_free(c);
}
END_TEST

static enum cy_err broken_mac_new(const struct cy_mac_alg *alg, void **out)
{
	return good_mac->ctx_new(good_mac, out);
}

/* Right once after each key, then wrong: a context that is not reset. */
static enum cy_err wrong_second_time(void *ctx, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	enum cy_err err = good_mac->mac(ctx, in, n_in, out);

	if (broken_calls++ % 2)
		out[0] ^= 1;
	return err;
}

static enum cy_err forgets_pieces(
    const struct cy_hash_alg *alg, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	return good_hash->digest(good_hash, in, 1, out);
}

static enum cy_err derives_zero(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	memset(out_secret, 0, 32);
	return CY_OK;
}

static enum cy_err accepts_any_point(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	(void)good_ke->derive(key, peer, out_secret);
	return CY_OK;
}

static enum cy_err good_keygen(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public)
{
	return good_ke->keygen(good_ke, out_key, out_public);
}

static enum cy_err good_from_private(
    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public)
{
	return good_ke->key_from_private(good_ke, priv, out_key, out_public);
}

START_TEST(broken_others_are_refused)
{
	struct cy_mac_alg mac;
	struct cy_hash_alg hash;
	struct cy_ke_alg ke;
	struct crypto *c;

	if (!host)
		return;
	ck_assert_int_eq(crypto_new(NULL, &c), CY_OK);
	good_mac = crypto_mac(crypto, CY_MAC_HMAC_SHA2_256);
	mac = *good_mac;
	mac.ctx_new = broken_mac_new;
	mac.mac = wrong_second_time;
	broken_calls = 0;
	ck_assert_int_eq(crypto_register(c, CY_KIND_MAC, &mac, "broken"), CY_E_AUTH);
	mac.mac = good_mac->mac;
	mac.len = 31;
	ck_assert_int_eq(crypto_register(c, CY_KIND_MAC, &mac, "broken"), CY_E_AUTH);

	good_hash = crypto_hash(crypto, CY_HASH_SHA2_256);
	hash = *good_hash;
	hash.digest = forgets_pieces;
	ck_assert_int_eq(crypto_register(c, CY_KIND_HASH, &hash, "broken"), CY_E_AUTH);

	good_ke = crypto_ke(crypto, CY_KE_X25519);
	ke = *good_ke;
	ke.keygen = good_keygen;
	ke.key_from_private = good_from_private;
	ke.derive = derives_zero;
	ck_assert_int_eq(crypto_register(c, CY_KIND_KE, &ke, "broken"), CY_E_AUTH);
	ke.derive = accepts_any_point;
	ck_assert_int_eq(crypto_register(c, CY_KIND_KE, &ke, "broken"), CY_E_AUTH);
	/* without a way to give it a private value, two keys must agree */
	ke.key_from_private = NULL;
	ke.derive = good_ke->derive;
	ck_assert_int_eq(crypto_register(c, CY_KIND_KE, &ke, "pairwise"), CY_OK);
	ck_assert_ptr_null(crypto_mac(c, CY_MAC_HMAC_SHA2_256));
	ck_assert_ptr_null(crypto_hash(c, CY_HASH_SHA2_256));
	crypto_free(c);
}
END_TEST

struct seen {
	size_t n, chosen;
	char plugin[16];
};

static void count(void *user, const struct crypto_listing *l)
{
	struct seen *s = user;

	ck_assert_ptr_nonnull(l->name);
	s->n++;
	if (!l->chosen)
		return;
	s->chosen++;
	(void)strncpy(s->plugin, l->plugin, sizeof(s->plugin) - 1);
}

START_TEST(preference_decides)
{
	struct seen seen = {0};
	struct crypto *c;

	if (!host)
		return;
	ck_assert_int_eq(crypto_new(NULL, &c), CY_OK);
	ck_assert_int_eq(crypto_prefer(c, CY_KIND_HASH, "c"), CY_OK);
	ck_assert_int_eq(crypto_prefer(c, CY_KIND_KE, "b"), CY_OK);
	good_hash = crypto_hash(crypto, CY_HASH_SHA2_256);
	ck_assert_int_eq(crypto_register(c, CY_KIND_HASH, good_hash, "a"), CY_OK);
	ck_assert_int_eq(crypto_register(c, CY_KIND_HASH, good_hash, "b"), CY_E_EXISTS);
	crypto_list(c, count, &seen);
	ck_assert_uint_eq(seen.n, 2);
	ck_assert_uint_eq(seen.chosen, 1);
	ck_assert_str_eq(seen.plugin, "a");
	ck_assert_int_eq(crypto_register(c, CY_KIND_HASH, good_hash, "c"), CY_OK);
	seen = (struct seen){0};
	crypto_list(c, count, &seen);
	ck_assert_uint_eq(seen.n, 3);
	ck_assert_uint_eq(seen.chosen, 1);
	ck_assert_str_eq(seen.plugin, "c");
	crypto_free(c);
}
END_TEST

/* --- PRFs --- */

static void hex(const char *text, uint8_t *out, size_t n)
{
	uint8_t *p;
	size_t len;

	ck_assert(kat_hex(text, &p, &len));
	ck_assert_uint_eq(len, n);
	memcpy(out, p, n);
	free(p);
}

/* Key lengths that are folded: RFC 4434, 4 and RFC 4615, 4. */
START_TEST(prf_folds_keys)
{
	static const struct {
		uint16_t prf;
		size_t key_len;
		const char *out;
	} cases[] = {
	    {CY_PRF_AES128_XCBC, 16, "47f51b4564966215b8985c63055ed308"},
	    {CY_PRF_AES128_XCBC, 10, "0fa087af7d866e7653434e602fdde835"},
	    {CY_PRF_AES128_XCBC, 18, "8cd3c93ae598a9803006ffb67c40e9e4"},
	    {CY_PRF_AES128_CMAC, 18, "84a348a4a45d235babfffc0d2b4da09a"},
	    {CY_PRF_AES128_CMAC, 16, "980ae87b5f4c9c5214f5b6a8455e4c2d"},
	    {CY_PRF_AES128_CMAC, 10, "290d9e112edb09ee141fcf64c0b72f3d"},
	};
	static const uint8_t key[18] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xed, 0xcb};
	uint8_t msg[20], out[16], want[16];

	if (!host)
		return;
	for (size_t i = 0; i < sizeof(msg); i++)
		msg[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cy_slice in = cy_slice(msg, sizeof(msg));

		hex(cases[i].out, want, sizeof(want));
		ck_assert_int_eq(
		    prf_compute(crypto, cases[i].prf, cy_slice(key, cases[i].key_len), &in, 1, out), CY_OK);
		ck_assert_mem_eq(out, want, sizeof(want));
	}
}
END_TEST

START_TEST(prf_plus_chains)
{
	/* computed by hand from prf_compute, as RFC 7296, 2.13 has it */
	static const uint8_t key[] = "key";
	static const uint8_t seed[] = "seed of two pieces";
	struct cy_slice k = cy_slice(key, 3),
	                s[2] = {cy_slice(seed, 5), cy_slice(seed + 5, sizeof(seed) - 6)};
	uint8_t out[100], t1[32], t2[32], one = 1, two = 2;
	struct cy_slice in1[] = {s[0], s[1], {&one, 1}}, in2[] = {{t1, 32}, s[0], s[1], {&two, 1}};

	if (!host)
		return;
	ck_assert_int_eq(prf_plus(crypto, CY_PRF_HMAC_SHA2_256, k, s, 2, out, sizeof(out)), CY_OK);
	ck_assert_int_eq(prf_compute(crypto, CY_PRF_HMAC_SHA2_256, k, in1, 3, t1), CY_OK);
	ck_assert_int_eq(prf_compute(crypto, CY_PRF_HMAC_SHA2_256, k, in2, 4, t2), CY_OK);
	ck_assert_mem_eq(out, t1, 32);
	ck_assert_mem_eq(out + 32, t2, 32);
	ck_assert_int_eq(prf_plus(crypto, 999, k, s, 2, out, sizeof(out)), CY_E_UNSUPPORTED);
}
END_TEST

START_TEST(prf_plus_ends_at_255_blocks)
{
	uint8_t *out = malloc(255 * 16 + 1);
	struct cy_slice seed = cy_slice_str("s");

	if (host) {
		ck_assert_int_eq(
		    prf_plus(crypto, CY_PRF_AES128_CMAC, seed, &seed, 1, out, (size_t)255 * 16), CY_OK);
		ck_assert_int_eq(
		    prf_plus(crypto, CY_PRF_AES128_CMAC, seed, &seed, 1, out, (size_t)255 * 16 + 1),
		    CY_E_LIMIT);
	}
	free(out);
}
END_TEST

START_TEST(transforms_have_lengths)
{
	struct integ_info integ;
	struct prf_info prf;

	if (!host)
		return;
	ck_assert(crypto_integ(crypto, CY_INTEG_HMAC_SHA2_384_192, &integ));
	ck_assert_uint_eq(integ.key_len, 48);
	ck_assert_uint_eq(integ.icv_len, 24);
	ck_assert(crypto_integ(crypto, CY_INTEG_HMAC_SHA2_256_96, &integ));
	ck_assert_uint_eq(integ.icv_len, 12);
	ck_assert(!crypto_integ(crypto, 99, &integ));
	ck_assert(crypto_prf(crypto, CY_PRF_AES128_XCBC, &prf));
	ck_assert_uint_eq(prf.key_len, 16);
	ck_assert_uint_eq(prf.out_len, 16);
	ck_assert(!crypto_prf(crypto, 99, &prf));
}
END_TEST

UNIT_TESTS(registry)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, openssl_has_all);
	tcase_add_test(tc, cipher_key_lengths);
	tcase_add_test(tc, broken_ciphers_are_refused);
	tcase_add_test(tc, unusable_tables_are_refused);
	tcase_add_test(tc, broken_others_are_refused);
	tcase_add_test(tc, preference_decides);
	tcase_add_test(tc, prf_folds_keys);
	tcase_add_test(tc, prf_plus_chains);
	tcase_add_test(tc, prf_plus_ends_at_255_blocks);
	tcase_add_test(tc, transforms_have_lengths);
}
