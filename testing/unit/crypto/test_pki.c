/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, certificates, names and bundles; the files in pki/ are made by mkpki. */

#include <stdio.h>
#include <stdlib.h>

#include "crypto_host.h"
#include "libcore/base/dn.h"
#include "libcore/base/err.h"
#include "unit.h"

#define NOW 1767225600 /* 2026 */

static struct crypto_host *host;
static const struct cy_pki_ops *pki;
static uint8_t file[65536];

static void setup(void)
{
	host = crypto_host_new("openssl", NULL);
	if (!host)
		return;
	pki = crypto_pki(crypto_host_crypto(host));
	ck_assert_ptr_nonnull(pki);
}

static void teardown(void)
{
	if (host)
		crypto_host_free(host);
}

static struct cy_slice read_file(const char *name)
{
	char path[512];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", PKI_DIR, name);
	f = fopen(path, "rb");
	ck_assert_msg(f != NULL, "%s", path);
	n = fread(file, 1, sizeof(file), f);
	ck_assert_uint_lt(n, sizeof(file));
	(void)fclose(f);
	return cy_slice(file, n);
}

static int secret(void *user, char *buf, size_t cap)
{
	const char *pass = user;

	ck_assert_uint_gt(cap, strlen(pass));
	memcpy(buf, pass, strlen(pass));
	return (int)strlen(pass);
}

static char good_pass[] = "secret", wrong_pass[] = "wrong";

static struct cy_privkey *load_key(const char *name)
{
	struct cy_privkey *key = NULL;
	const char *why = "?";

	ck_assert_msg(
	    pki->privkey_load(read_file(name), secret, good_pass, &key, &why) == CY_OK, "%s: %s", name, why);
	return key;
}

static struct cy_pubkey *load_pub(const char *name)
{
	struct cy_pubkey *key = NULL;
	const char *why = "?";

	ck_assert_msg(pki->pubkey_load(read_file(name), &key, &why) == CY_OK, "%s: %s", name, why);
	return key;
}

/* --- keys --- */

START_TEST(private_keys_in_all_encodings)
{
	static const struct {
		const char *name, *pub;
		enum cy_key_type type;
		uint32_t bits;
	} cases[] = {
	    {"rsa.pem", "rsa-pub.der", CY_KEY_RSA, 2048},
	    {"rsa-pkcs1.pem", "rsa-pub.der", CY_KEY_RSA, 2048},
	    {"rsa-pkcs1.der", "rsa-pub.der", CY_KEY_RSA, 2048},
	    {"rsa-pkcs8.der", "rsa-pub.pem", CY_KEY_RSA, 2048},
	    {"rsa-pkcs1-enc.pem", "rsa-pub.der", CY_KEY_RSA, 2048},
	    {"rsa-pkcs8-enc.pem", "rsa-pub.der", CY_KEY_RSA, 2048},
	    {"rsa-pkcs8-enc.der", "rsa-pub.der", CY_KEY_RSA, 2048},
	    {"ec256.pem", "ec256-pub.der", CY_KEY_ECDSA, 256},
	    {"ec256-sec1.der", "ec256-pub.der", CY_KEY_ECDSA, 256},
	    {"ec384.pem", "ec384-pub.der", CY_KEY_ECDSA, 384},
	    {"ec384-pkcs8.pem", "ec384-pub.der", CY_KEY_ECDSA, 384},
	    {"ec521.pem", "ec521-pub.der", CY_KEY_ECDSA, 521},
	    {"ed25519.pem", "ed25519-pub.der", CY_KEY_ED25519, 256},
	    {"ed448.pem", "ed448-pub.der", CY_KEY_ED448, 456},
	};

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cy_privkey *key = load_key(cases[i].name);
		struct cy_pubkey *pub = load_pub(cases[i].pub);
		const struct cy_key_info *a = pki->privkey_info(key), *b = pki->pubkey_info(pub);

		ck_assert_int_eq(a->type, cases[i].type);
		ck_assert_uint_eq(a->bits, cases[i].bits);
		ck_assert_mem_eq(a->spki_sha1, b->spki_sha1, 20);
		ck_assert_mem_eq(a->keyid_sha1, b->keyid_sha1, 20);
		ck_assert_mem_ne(a->keyid_sha1, a->spki_sha1, 20);
		pki->privkey_unref(pki->privkey_ref(key));
		pki->pubkey_unref(pki->pubkey_ref(pub));
		pki->privkey_unref(key);
		pki->pubkey_unref(pub);
	}
}
END_TEST

/* The identifiers as sha1sum has them: of the SPKI file, and of the bits in it. */
START_TEST(key_identifiers)
{
	struct cy_pubkey *pub;
	struct cy_slice der, bits;
	uint8_t want[20];

	if (!host)
		return;
	pub = load_pub("ed25519-pub.der");
	der = read_file("ed25519-pub.der");
	bits = cy_slice(der.p + der.n - 32, 32);
	ck_assert(cy_slice_eq(pki->pubkey_spki(pub), der));
	ck_assert_int_eq(hash_compute(crypto_host_crypto(host), CY_HASH_SHA1, &der, 1, want), CY_OK);
	ck_assert_mem_eq(pki->pubkey_info(pub)->spki_sha1, want, 20);
	ck_assert_int_eq(hash_compute(crypto_host_crypto(host), CY_HASH_SHA1, &bits, 1, want), CY_OK);
	ck_assert_mem_eq(pki->pubkey_info(pub)->keyid_sha1, want, 20);
	pki->pubkey_unref(pub);
}
END_TEST

START_TEST(bad_private_keys)
{
	static const struct {
		const char *name;
		char *pass;
		enum cy_err err;
		const char *why;
	} cases[] = {
	    {"rsa-pkcs8-enc.pem", NULL, CY_E_DENIED, "no pass phrase"},
	    {"rsa-pkcs1-enc.pem", NULL, CY_E_DENIED, "no pass phrase"},
	    {"rsa-pkcs8-enc.der", NULL, CY_E_DENIED, "no pass phrase"},
	    {"rsa-pkcs8-enc.pem", wrong_pass, CY_E_AUTH, "pass phrase is wrong"},
	    {"rsa-pkcs1-enc.pem", wrong_pass, CY_E_AUTH, "pass phrase is wrong"},
	    {"rsa-pkcs8-enc.der", wrong_pass, CY_E_AUTH, "pass phrase is wrong"},
	    {"leaf.pem", NULL, CY_E_PARSE, "no private key"},
	    {"leaf.der", NULL, CY_E_PARSE, "no private key"},
	    {"x25519.pem", NULL, CY_E_UNSUPPORTED, "not supported"},
	    {"ec-explicit.pem", NULL, CY_E_UNSUPPORTED, "named curve"},
	};
	struct cy_privkey *key = NULL;
	const char *why = NULL;

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum cy_err err = pki->privkey_load(
		    read_file(cases[i].name), cases[i].pass ? secret : NULL, cases[i].pass, &key, &why);

		ck_assert_msg(err == cases[i].err, "%s: %d", cases[i].name, (int)err);
		ck_assert_msg(strstr(why, cases[i].why) != NULL, "%s: %s", cases[i].name, why);
		ck_assert_ptr_null(key);
	}
	ck_assert_int_eq(pki->privkey_load(cy_slice(NULL, 0), NULL, NULL, &key, NULL), CY_E_PARSE);
}
END_TEST

START_TEST(rfc3110_keys)
{
	/* exponent 65537 and the modulus of rsa-pub.der, which begins 33 bytes into it */
	uint8_t text[3 + 256 + 4];
	struct cy_pubkey *a, *b;
	struct cy_slice der;

	if (!host)
		return;
	a = load_pub("rsa-pub.der");
	der = read_file("rsa-pub.der");
	memcpy(text, "\x03\x01\x00\x01", 4);
	memcpy(text + 4, der.p + 33, 256);
	ck_assert_int_eq(pki->pubkey_load(cy_slice(text, 260), &b, NULL), CY_OK);
	ck_assert(cy_slice_eq(pki->pubkey_spki(a), pki->pubkey_spki(b)));
	pki->pubkey_unref(b);
	/* the long form of the length */
	memcpy(text, "\x00\x00\x03\x01\x00\x01", 6);
	memcpy(text + 6, der.p + 33, 256);
	ck_assert_int_eq(pki->pubkey_load(cy_slice(text, 262), &b, NULL), CY_OK);
	ck_assert(cy_slice_eq(pki->pubkey_spki(a), pki->pubkey_spki(b)));
	pki->pubkey_unref(b);
	pki->pubkey_unref(a);
	for (size_t n = 0; n < 50; n++)
		ck_assert_int_ne(pki->pubkey_load(cy_slice(text, n), &b, NULL), CY_OK);
	text[261] &= 0xfe; /* an even modulus */
	ck_assert_int_eq(pki->pubkey_load(cy_slice(text, 262), &b, NULL), CY_E_PARSE);
}
END_TEST

START_TEST(bad_public_keys)
{
	uint8_t copy[512];
	struct cy_pubkey *key;
	struct cy_slice der;

	if (!host)
		return;
	der = read_file("ec256-pub.der");
	memcpy(copy, der.p, der.n);
	for (size_t n = 0; n < der.n; n++)
		ck_assert_int_ne(pki->pubkey_load(cy_slice(copy, n), &key, NULL), CY_OK);
	copy[der.n] = 0;
	ck_assert_int_eq(pki->pubkey_load(cy_slice(copy, der.n + 1), &key, NULL), CY_E_PARSE);
	copy[der.n - 1] ^= 1; /* not on the curve */
	ck_assert_int_eq(pki->pubkey_load(cy_slice(copy, der.n), &key, NULL), CY_E_PARSE);
}
END_TEST

/* --- signatures --- */

START_TEST(signatures)
{
	static const struct {
		const char *key, *pub;
		enum cy_sig_scheme scheme;
		enum cy_hash hash;
		size_t len; /* 0: varies */
	} cases[] = {
	    {"rsa.pem", "rsa-pub.der", CY_SIG_RSA_PKCS1, CY_HASH_SHA1, 256},
	    {"rsa.pem", "rsa-pub.der", CY_SIG_RSA_PKCS1, CY_HASH_SHA2_384, 256},
	    {"rsa.pem", "rsa-pub.der", CY_SIG_RSA_PSS, CY_HASH_SHA2_256, 256},
	    {"rsa.pem", "rsa-pub.der", CY_SIG_RSA_PSS, CY_HASH_SHA2_512, 256},
	    {"rsa.pem", "rsa-pub.der", CY_SIG_RSA_PKCS1_RAW, CY_HASH_NONE, 256},
	    {"ec256.pem", "ec256-pub.der", CY_SIG_ECDSA_RAW, CY_HASH_SHA2_256, 64},
	    {"ec384.pem", "ec384-pub.der", CY_SIG_ECDSA_RAW, CY_HASH_SHA2_384, 96},
	    {"ec521.pem", "ec521-pub.der", CY_SIG_ECDSA_RAW, CY_HASH_SHA2_512, 132},
	    {"ec256.pem", "ec256-pub.der", CY_SIG_ECDSA_DER, CY_HASH_SHA2_512, 0},
	    {"ec521.pem", "ec521-pub.der", CY_SIG_ECDSA_DER, CY_HASH_SHA2_256, 0},
	    {"ed25519.pem", "ed25519-pub.der", CY_SIG_EDDSA, CY_HASH_IDENTITY, 64},
	    {"ed448.pem", "ed448-pub.der", CY_SIG_EDDSA, CY_HASH_IDENTITY, 114},
	};
	struct cy_slice msg[] = {cy_slice_str("part one,"), {NULL, 0}, cy_slice_str(" part two")},
	                whole = cy_slice_str("part one, part two"),
	                other = cy_slice_str("part one, part twO");

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cy_privkey *key = load_key(cases[i].key);
		struct cy_pubkey *pub = load_pub(cases[i].pub);
		enum cy_sig_scheme s = cases[i].scheme;
		enum cy_hash h = cases[i].hash;
		uint8_t sig[512];
		size_t n = 0;

		ck_assert_uint_le(pki->privkey_sig_max(key), sizeof(sig));
		ck_assert_int_eq(pki->sign(key, s, h, msg, 3, sig, &n), CY_OK);
		ck_assert_uint_le(n, pki->privkey_sig_max(key));
		if (cases[i].len)
			ck_assert_uint_eq(n, cases[i].len);
		ck_assert_int_eq(pki->verify(pub, s, h, &whole, 1, cy_slice(sig, n)), CY_OK);
		ck_assert_int_eq(pki->verify(pub, s, h, &other, 1, cy_slice(sig, n)), CY_E_AUTH);
		ck_assert_int_eq(pki->verify(pub, s, h, &whole, 1, cy_slice(sig, n - 1)), CY_E_AUTH);
		ck_assert_int_eq(pki->verify(pub, s, h, &whole, 1, cy_slice(sig, 0)), CY_E_AUTH);
		sig[n] = 0;
		ck_assert_int_eq(pki->verify(pub, s, h, &whole, 1, cy_slice(sig, n + 1)), CY_E_AUTH);
		sig[n / 2] ^= 4;
		ck_assert_int_eq(pki->verify(pub, s, h, &whole, 1, cy_slice(sig, n)), CY_E_AUTH);
		memset(sig, 0, n);
		ck_assert_int_eq(pki->verify(pub, s, h, &whole, 1, cy_slice(sig, n)), CY_E_AUTH);
		memset(sig, 0xff, n);
		ck_assert_int_eq(pki->verify(pub, s, h, &whole, 1, cy_slice(sig, n)), CY_E_AUTH);
		pki->privkey_unref(key);
		pki->pubkey_unref(pub);
	}
}
END_TEST

START_TEST(schemes_that_do_not_fit)
{
	struct cy_slice msg = cy_slice_str("m");
	struct cy_privkey *rsa, *ec;
	uint8_t sig[512];
	size_t n;

	if (!host)
		return;
	rsa = load_key("rsa.pem");
	ec = load_key("ec256.pem");
	ck_assert_int_eq(pki->sign(rsa, CY_SIG_EDDSA, CY_HASH_IDENTITY, &msg, 1, sig, &n), CY_E_INVAL);
	ck_assert_int_eq(pki->sign(ec, CY_SIG_RSA_PSS, CY_HASH_SHA2_256, &msg, 1, sig, &n), CY_E_INVAL);
	ck_assert_int_eq(pki->sign(ec, CY_SIG_ECDSA_DER, CY_HASH_MD5, &msg, 1, sig, &n), CY_E_INVAL);
	ck_assert_int_eq(pki->sign(rsa, CY_SIG_RSA_PKCS1, CY_HASH_NONE, &msg, 1, sig, &n), CY_E_INVAL);
	/* more than a PKCS#1 block holds */
	ck_assert_int_eq(
	    pki->sign(rsa, CY_SIG_RSA_PKCS1_RAW, CY_HASH_NONE, &(struct cy_slice){file, 250}, 1, sig, &n),
	    CY_E_UNSUPPORTED);
	pki->privkey_unref(rsa);
	pki->privkey_unref(ec);
}
END_TEST

/* --- certificates --- */

struct collected {
	uint8_t der[8][4096];
	size_t len[8], n_certs, n_keys;
	char *pass;
	enum cy_key_type key_types[8];
};

static void on_cert(void *user, struct cy_slice der)
{
	struct collected *c = user;

	ck_assert_uint_lt(c->n_certs, 8);
	ck_assert_uint_le(der.n, sizeof(c->der[0]));
	memcpy(c->der[c->n_certs], der.p, der.n);
	c->len[c->n_certs++] = der.n;
}

static void on_key(void *user, struct cy_privkey *take)
{
	struct collected *c = user;

	ck_assert_uint_lt(c->n_keys, 8);
	c->key_types[c->n_keys++] = pki->privkey_info(take)->type;
	pki->privkey_unref(take);
}

static struct collected got;

static int bundle_pass(void *user, char *buf, size_t cap)
{
	const struct collected *c = user;

	return c->pass ? secret(c->pass, buf, cap) : -1;
}

static enum cy_err bundle(const char *name, char *pass, const char **why)
{
	memset(&got, 0, sizeof(got));
	got.pass = pass;
	return pki->bundle_load(read_file(name), bundle_pass, &got, on_cert, on_key, why);
}

static struct cy_cert *load_cert(const char *name)
{
	const char *why = "?";
	struct cy_cert *cert = NULL;

	ck_assert_msg(bundle(name, NULL, &why) == CY_OK, "%s: %s", name, why);
	ck_assert_uint_eq(got.n_certs, 1);
	ck_assert_msg(
	    pki->cert_load(cy_slice(got.der[0], got.len[0]), &cert, &why) == CY_OK, "%s: %s", name, why);
	return cert;
}

START_TEST(a_certificate_is_decoded)
{
	static const uint8_t ip6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	const struct cy_cert_info *i, *s;
	struct cy_cert *leaf, *sub;
	struct cy_pubkey *pub;
	char text[128];

	if (!host)
		return;
	leaf = load_cert("leaf.pem");
	sub = load_cert("sub.pem");
	i = pki->cert_info(leaf);
	s = pki->cert_info(sub);
	ck_assert_str_eq(i->subject, "C=CH, O=Cygnet Test, CN=moon");
	ck_assert_str_eq(i->issuer, "C=CH, O=Cygnet Test, CN=Issuing");
	ck_assert_int_eq(i->not_before, 1577836800);
	ck_assert_int_eq(i->not_after, 4102444800);
	ck_assert_uint_eq(i->flags,
	    CY_CERT_KU_PRESENT | CY_CERT_KU_DIGITAL_SIG | CY_CERT_KU_NON_REPUDIATION | CY_CERT_EKU_PRESENT |
	        CY_CERT_EKU_SERVER_AUTH | CY_CERT_EKU_CLIENT_AUTH | CY_CERT_EKU_IPSEC_IKE |
	        CY_CERT_EKU_IKE_INTERMEDIATE);
	ck_assert_int_eq(i->path_len, -1);
	ck_assert_int_eq(s->path_len, 0);
	ck_assert_uint_eq(s->flags, CY_CERT_CA | CY_CERT_KU_PRESENT | CY_CERT_KU_CERT_SIGN);
	ck_assert_uint_eq(i->n_sans, 6);
	ck_assert_int_eq(i->sans[0].type, CY_SAN_DNS);
	ck_assert(cy_slice_eq(i->sans[0].value, cy_slice_str("moon.example.org")));
	ck_assert_int_eq(i->sans[1].type, CY_SAN_EMAIL);
	ck_assert(cy_slice_eq(i->sans[1].value, cy_slice_str("moon@example.org")));
	ck_assert_int_eq(i->sans[2].type, CY_SAN_IP);
	ck_assert(cy_slice_eq(i->sans[2].value, cy_slice("\xc0\x00\x02\x01", 4)));
	ck_assert(cy_slice_eq(i->sans[3].value, cy_slice(ip6, 16)));
	ck_assert_int_eq(i->sans[4].type, CY_SAN_URI);
	ck_assert_int_eq(i->sans[5].type, CY_SAN_DN);
	dn_print(i->sans[5].value, text, sizeof(text));
	ck_assert_str_eq(text, "C=CH, CN=moon");
	ck_assert_uint_eq(i->n_crl_uris, 2);
	ck_assert_str_eq(i->crl_uris[1], "http://crl.example.org/b.crl");
	ck_assert_uint_eq(i->n_ocsp_uris, 1);
	ck_assert_str_eq(i->ocsp_uris[0], "http://ocsp.example.org/");
	ck_assert(cy_slice_eq(i->authority_keyid, s->subject_keyid));
	ck_assert_uint_eq(s->subject_keyid.n, 20);
	/* OpenSSL makes the key identifier as RFC 5280, 4.2.1.2 (1) has it */
	ck_assert_mem_eq(s->subject_keyid.p, s->key.keyid_sha1, 20);
	ck_assert(cy_slice_eq(i->issuer_der, s->subject_der));
	ck_assert_uint_eq(i->serial.n, 2);
	pub = load_pub("ec256-pub.der");
	ck_assert(cy_slice_eq(i->spki, pki->pubkey_spki(pub)));
	ck_assert_mem_eq(i->key.spki_sha1, pki->pubkey_info(pub)->spki_sha1, 20);
	ck_assert_mem_eq(pki->pubkey_info(pki->cert_pubkey(leaf))->spki_sha1, i->key.spki_sha1, 20);
	pki->pubkey_unref(pub);
	pki->cert_unref(pki->cert_ref(leaf));
	pki->cert_unref(leaf);
	pki->cert_unref(sub);
}
END_TEST

START_TEST(a_root_is_self_signed)
{
	struct cy_cert *ca;

	if (!host)
		return;
	ca = load_cert("ca.pem");
	ck_assert(pki->cert_info(ca)->flags & CY_CERT_SELF_SIGNED);
	ck_assert_int_eq(pki->cert_info(ca)->path_len, 1);
	ck_assert_int_eq(pki->cert_signed_by(ca, ca), CY_OK);
	pki->cert_unref(ca);
}
END_TEST

START_TEST(signatures_of_certificates)
{
	struct cy_cert *ca, *sub, *leaf, *md5;

	if (!host)
		return;
	ca = load_cert("ca.pem");
	sub = load_cert("sub.pem");
	leaf = load_cert("leaf.pem");
	md5 = load_cert("md5.pem");
	ck_assert_int_eq(pki->cert_signed_by(leaf, sub), CY_OK);
	ck_assert_int_eq(pki->cert_signed_by(sub, ca), CY_OK);
	ck_assert_int_eq(pki->cert_signed_by(leaf, ca), CY_E_AUTH);
	ck_assert_int_eq(pki->cert_signed_by(sub, leaf), CY_E_AUTH);
	ck_assert_int_eq(pki->cert_signed_by(md5, ca), CY_E_AUTH);
	pki->cert_unref(ca);
	pki->cert_unref(sub);
	pki->cert_unref(leaf);
	pki->cert_unref(md5);
}
END_TEST

static void path_is(const char *const *names, size_t n, int64_t now, const char *want)
{
	struct cy_cert *path[8];
	const char *why = NULL;
	enum cy_err err;

	for (size_t i = 0; i < n; i++)
		path[i] = load_cert(names[i]);
	err = pki->path_check(path, n, now, &why);
	if (!want)
		ck_assert_msg(err == CY_OK, "%s: %s", names[0], why);
	else
		ck_assert_msg(
		    err == CY_E_AUTH && strstr(why, want), "%s: %s", names[0], why ? why : "accepted");
	for (size_t i = 0; i < n; i++)
		pki->cert_unref(path[i]);
}

START_TEST(paths)
{
	if (!host)
		return;
	path_is((const char *[]){"leaf.pem", "sub.pem", "ca.pem"}, 3, NOW, NULL);
	/* the anchor need not be a root */
	path_is((const char *[]){"leaf.pem", "sub.pem"}, 2, NOW, NULL);
	path_is((const char *[]){"ed.pem", "ca.pem"}, 2, NOW, NULL);
	path_is((const char *[]){"leaf.pem", "ca.pem"}, 2, NOW, "unable to get local issuer");
	path_is((const char *[]){"leaf.pem", "sub.pem", "ca.pem"}, 3, 4102444801, "expired");
	path_is((const char *[]){"leaf.pem", "sub.pem", "ca.pem"}, 3, 1577836799, "not yet valid");
	path_is((const char *[]){"old.pem", "ca.pem"}, 2, NOW, "expired");
	path_is((const char *[]){"critical.pem", "ca.pem"}, 2, NOW, "unhandled critical extension");
	path_is((const char *[]){"belownotca.pem", "notca.pem", "ca.pem"}, 3, NOW, "invalid CA");
	path_is((const char *[]){"ncgood.pem", "ncca.pem", "ca.pem"}, 3, NOW, NULL);
	path_is((const char *[]){"ncbad.pem", "ncca.pem", "ca.pem"}, 3, NOW, "permitted subtree violation");
	path_is(
	    (const char *[]){"ncexcluded.pem", "ncca.pem", "ca.pem"}, 3, NOW, "excluded subtree violation");
	ck_assert_int_eq(pki->path_check(NULL, 0, NOW, NULL), CY_E_INVAL);
}
END_TEST

START_TEST(names_with_a_nul_are_no_names)
{
	struct cy_cert *c;

	if (!host)
		return;
	c = load_cert("sansnul.pem");
	ck_assert_uint_eq(pki->cert_info(c)->n_sans, 1);
	ck_assert(cy_slice_eq(pki->cert_info(c)->sans[0].value, cy_slice_str("ok.test")));
	pki->cert_unref(c);
}
END_TEST

START_TEST(malformed_certificates)
{
	struct cy_cert *c = NULL;
	const char *why = NULL;
	struct cy_slice der;

	if (!host)
		return;
	ck_assert_int_eq(bundle("sanbad.pem", NULL, &why), CY_OK);
	ck_assert_int_eq(pki->cert_load(cy_slice(got.der[0], got.len[0]), &c, &why), CY_E_PARSE);
	ck_assert_ptr_nonnull(strstr(why, "extensions"));
	der = read_file("leaf.der");
	memcpy(got.der[0], der.p, der.n);
	got.der[0][der.n] = 0;
	ck_assert_int_eq(pki->cert_load(cy_slice(got.der[0], der.n + 1), &c, &why), CY_E_PARSE);
	for (size_t n = 0; n < der.n; n++)
		ck_assert_int_eq(pki->cert_load(cy_slice(got.der[0], n), &c, &why), CY_E_PARSE);
	ck_assert_ptr_null(c);
	/* every byte wrong in one way: no crash, and what still loads can be asked anything */
	for (size_t i = 0; i < der.n; i++) {
		got.der[0][i] ^= 0x55;
		if (pki->cert_load(cy_slice(got.der[0], der.n), &c, &why) == CY_OK) {
			ck_assert_ptr_nonnull(pki->cert_info(c)->subject);
			(void)!pki->cert_signed_by(c, c);
			pki->cert_unref(c);
		}
		got.der[0][i] ^= 0x55;
	}
}
END_TEST

/* --- bundles --- */

static void subject_is(size_t i, const char *want)
{
	struct cy_cert *c;

	ck_assert_uint_lt(i, got.n_certs);
	ck_assert_int_eq(pki->cert_load(cy_slice(got.der[i], got.len[i]), &c, NULL), CY_OK);
	ck_assert_str_eq(pki->cert_info(c)->subject, want);
	pki->cert_unref(c);
}

START_TEST(a_bundle_loads_whole)
{
	const char *why = "?";

	if (!host)
		return;
	ck_assert_msg(bundle("bundle.pem", good_pass, &why) == CY_OK, "%s", why);
	ck_assert_uint_eq(got.n_certs, 4);
	ck_assert_uint_eq(got.n_keys, 2);
	subject_is(0, "C=CH, O=Cygnet Test, CN=moon");
	subject_is(1, "C=CH, O=Cygnet Test, CN=Issuing");
	subject_is(2, "C=CH, O=Cygnet Test, CN=Root");
	subject_is(3, "C=CH, O=Cygnet Test, CN=Issuing");
	ck_assert_int_eq(got.key_types[0], CY_KEY_RSA);
	ck_assert_int_eq(got.key_types[1], CY_KEY_ECDSA);
	/* what is no certificate inside is for the caller to leave out */
	ck_assert_msg(bundle("cutcert.pem", NULL, &why) == CY_OK, "%s", why);
	ck_assert_uint_eq(got.n_certs, 3);
	subject_is(2, "C=CH, O=Cygnet Test, CN=Root");
}
END_TEST

START_TEST(other_containers)
{
	static const struct {
		const char *name;
		char *pass;
		size_t certs, keys;
	} cases[] = {
	    {"leaf.p12", good_pass, 3, 1},
	    {"leaf-nopass.p12", NULL, 3, 1},
	    {"leaf-legacy.p12", good_pass, 1, 1},
	    {"chain.p7b", NULL, 2, 0},
	    {"leaf.der", NULL, 1, 0},
	    {"trusted.pem", NULL, 1, 0},
	    {"rsa-pkcs8.der", NULL, 0, 1},
	    {"rsa-pkcs1-enc.pem", good_pass, 0, 1},
	};

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *why = "?";

		ck_assert_msg(
		    bundle(cases[i].name, cases[i].pass, &why) == CY_OK, "%s: %s", cases[i].name, why);
		ck_assert_msg(got.n_certs == cases[i].certs, "%s: %zu", cases[i].name, got.n_certs);
		ck_assert_msg(got.n_keys == cases[i].keys, "%s: %zu", cases[i].name, got.n_keys);
		if (got.n_certs)
			subject_is(0, "C=CH, O=Cygnet Test, CN=moon");
	}
}
END_TEST

START_TEST(bad_bundles)
{
	static const struct {
		const char *name;
		char *pass;
		enum cy_err err;
		const char *why;
	} cases[] = {
	    {"leaf.p12", NULL, CY_E_DENIED, "no pass phrase"},
	    {"leaf.p12", wrong_pass, CY_E_AUTH, "pass phrase is wrong"},
	    {"leaf-legacy.p12", wrong_pass, CY_E_AUTH, "pass phrase is wrong"},
	    {"bundle.pem", NULL, CY_E_DENIED, "no pass phrase"},
	    {"damaged.pem", NULL, CY_E_PARSE, "damaged"},
	    {"rsa-pub.pem", NULL, CY_E_NOTFOUND, "no certificate"},
	    {"rsa-pub.der", NULL, CY_E_PARSE, "neither PEM nor"},
	};
	static const uint8_t text[] = "hello";

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *why = "?";
		enum cy_err err = bundle(cases[i].name, cases[i].pass, &why);

		ck_assert_msg(err == cases[i].err, "%s: %d %s", cases[i].name, (int)err, why);
		ck_assert_msg(strstr(why, cases[i].why) != NULL, "%s: %s", cases[i].name, why);
	}
	got.pass = NULL;
	ck_assert_int_eq(
	    pki->bundle_load(cy_slice(text, 5), bundle_pass, &got, on_cert, on_key, NULL), CY_E_PARSE);
	ck_assert_int_eq(
	    pki->bundle_load(cy_slice(text, 0), bundle_pass, &got, on_cert, on_key, NULL), CY_E_PARSE);
}
END_TEST

/* A PKCS#12 cut off anywhere is an error, with the pass phrase or without. */
START_TEST(cut_bundles)
{
	struct cy_slice der;

	if (!host)
		return;
	memset(&got, 0, sizeof(got));
	der = read_file("leaf-nopass.p12");
	for (size_t n = 0; n < der.n; n += 7)
		ck_assert_int_ne(
		    pki->bundle_load(cy_slice(file, n), bundle_pass, &got, on_cert, on_key, NULL), CY_OK);
	ck_assert_uint_eq(got.n_certs, 0);
}
END_TEST

/* --- names --- */

static void name_becomes(const char *text, const char *want)
{
	char ours[512], theirs[512];
	uint8_t *der, *again;
	size_t n, m;

	ck_assert_msg(pki->name_parse(text, &der, &n) == CY_OK, "%s", text);
	ck_assert(dn_valid(cy_slice(der, n)));
	ck_assert_int_eq(pki->name_print(cy_slice(der, n), ours, sizeof(ours)), CY_OK);
	ck_assert_str_eq(ours, want);
	/* as the daemon itself prints it */
	dn_print(cy_slice(der, n), theirs, sizeof(theirs));
	ck_assert_str_eq(ours, theirs);
	/* and what is printed can be read */
	ck_assert_msg(pki->name_parse(ours, &again, &m) == CY_OK, "%s", ours);
	ck_assert(cy_slice_eq(cy_slice(der, n), cy_slice(again, m)));
	free(der);
	free(again);
}

START_TEST(names_there_and_back)
{
	if (!host)
		return;
	name_becomes("C=CH, O=x, CN=y", "C=CH, O=x, CN=y");
	name_becomes("/C=CH/O=a, b/CN=y", "C=CH, O=a\\, b, CN=y");
	name_becomes("c=CH,o=x,cn=y", "C=CH, O=x, CN=y");
	name_becomes("  C = CH ,  O =  x y  , CN=y ", "C=CH, O=x y, CN=y");
	name_becomes("O=\"a, b+c\", CN=y", "O=a\\, b\\+c, CN=y");
	name_becomes("O=a\\2cb, CN=\\x41\\\\", "O=a\\,b, CN=A\\\\");
	name_becomes("CN=a + UID=b, O=c", "CN=a + UID=b, O=c");
	name_becomes("C=CH, O=*, CN=*", "C=CH, O=*, CN=*");
	name_becomes("emailAddress=a@b.c, DC=org, serialNumber=7, SN=8", "E=a@b.c, DC=org, SN=7, SN=8");
	name_becomes("S=sur, ST=state, G=giv, I=ini, T=tit, D=des, N=nam, L=loc, street=str, postalCode=1",
	    "S=sur, ST=state, G=giv, I=ini, T=tit, D=des, N=nam, L=loc, street=str, postalCode=1");
	name_becomes("O=B\xc3\xa4r, 1.2.3.4=x", "O=B\xc3\xa4r, 1.2.3.4=x");
}
END_TEST

START_TEST(names_that_are_none)
{
	static const char *const bad[] = {"", "CN", "CN=", "=x", "CN=x,", "CN=x,,O=y", "nosuchthing=x",
	    "CN=\"x", "CN=\"x\"y", "CN=\xff\xfe", "CN=x\\", "/", "CN=#zz", "CN=#0c", "CN=#3000", ",CN=x",
	    "CN=a+"};
	uint8_t *der = NULL;
	char out[8];
	size_t n;

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(pki->name_parse(bad[i], &der, &n) == CY_E_PARSE, "%s", bad[i]);
	ck_assert_ptr_null(der);
	ck_assert_int_eq(pki->name_parse("CN=longer", &der, &n), CY_OK);
	ck_assert_int_eq(pki->name_print(cy_slice(der, n), out, sizeof(out)), CY_E_SHORT);
	for (size_t k = 0; k < n; k++)
		ck_assert_int_eq(pki->name_print(cy_slice(der, k), out, sizeof(out)), CY_E_PARSE);
	free(der);
}
END_TEST

/* Names as certificates have them, in UTF-8, with what must be escaped. */
START_TEST(names_of_certificates)
{
	const struct cy_cert_info *i;
	struct cy_cert *c;
	char text[512];
	uint8_t *der;
	size_t n;

	if (!host)
		return;
	c = load_cert("utf8.pem");
	i = pki->cert_info(c);
	ck_assert_str_eq(i->subject, "C=CH, O=B\xc3\xa4r\\, S\xc3\xb6hne \\+ Co, CN=a/b, E=x@example.org");
	dn_print(i->subject_der, text, sizeof(text));
	ck_assert_str_eq(i->subject, text);
	ck_assert_int_eq(pki->name_parse(i->subject, &der, &n), CY_OK);
	ck_assert(dn_eq(cy_slice(der, n), i->subject_der));
	free(der);
	pki->cert_unref(c);
}
END_TEST

UNIT_TESTS(pki)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, private_keys_in_all_encodings);
	tcase_add_test(tc, key_identifiers);
	tcase_add_test(tc, bad_private_keys);
	tcase_add_test(tc, rfc3110_keys);
	tcase_add_test(tc, bad_public_keys);
	tcase_add_test(tc, signatures);
	tcase_add_test(tc, schemes_that_do_not_fit);
	tcase_add_test(tc, a_certificate_is_decoded);
	tcase_add_test(tc, a_root_is_self_signed);
	tcase_add_test(tc, signatures_of_certificates);
	tcase_add_test(tc, paths);
	tcase_add_test(tc, names_with_a_nul_are_no_names);
	tcase_add_test(tc, malformed_certificates);
	tcase_add_test(tc, a_bundle_loads_whole);
	tcase_add_test(tc, other_containers);
	tcase_add_test(tc, bad_bundles);
	tcase_add_test(tc, cut_bundles);
	tcase_add_test(tc, names_there_and_back);
	tcase_add_test(tc, names_that_are_none);
	tcase_add_test(tc, names_of_certificates);
}
