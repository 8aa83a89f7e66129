/* SPDX-License-Identifier: Apache-2.0 */
/* Private and public keys: reading them in all their encodings, and what is said of them. */

#include <limits.h>
#include <stdlib.h>
#include <strings.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "ossl.h"
#include "pki.h"

enum cy_err ossl_fail(enum cy_err err, const char **out_why, const char *why)
{
	ERR_clear_error();
	if (out_why)
		*out_why = why;
	return err;
}

bool ossl_is_pem(struct cy_slice data)
{
	static const char begin[] = "-----BEGIN ";

	return data.n && memmem(data.p, data.n, begin, sizeof(begin) - 1) != NULL;
}

/* --- what is known of a key --- */

/* A curve must be named: parameters of the sender's choice are an attack (RFC 5480, 2.1.1 forbids them). */
static bool has_named_curve(const EVP_PKEY *pkey)
{
	char encoding[32] = "", name[64];

	return EVP_PKEY_get_utf8_string_param(
	           pkey, OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof(encoding), NULL) == 1 &&
	    strcasecmp(encoding, OSSL_PKEY_EC_ENCODING_EXPLICIT) != 0 &&
	    EVP_PKEY_get_group_name(pkey, name, sizeof(name), NULL) == 1;
}

static bool sha1(const void *p, size_t n, uint8_t out[20])
{
	return EVP_Digest(p, n, out, NULL, EVP_sha1(), NULL) == 1;
}

/*
 * pub: what spki says, NULL: not decoded yet. Decoding is not for nothing: OpenSSL 3 makes the whole key each time, and looks through
 * all its decoders for it, which costs more than a check of a signature.
 */
static enum cy_err describe(EVP_PKEY *pkey, X509_PUBKEY *pub, const uint8_t *spki, size_t spki_len,
    struct cy_key_info *out, const char **out_why)
{
	X509_PUBKEY *decoded = pub ? NULL : d2i_X509_PUBKEY(NULL, &(const uint8_t *){spki}, (long)spki_len);
	const uint8_t *bits = NULL;
	int n_bits = 0;
	bool ok;

	ok = (pub || decoded) &&
	    X509_PUBKEY_get0_param(NULL, &bits, &n_bits, NULL, pub ? pub : decoded) == 1 &&
	    sha1(bits, (size_t)n_bits, out->keyid_sha1) && sha1(spki, spki_len, out->spki_sha1);
	X509_PUBKEY_free(decoded);
	if (!ok)
		return ossl_fail(CY_E_PARSE, out_why, "the public key is malformed");
	out->bits = (uint32_t)EVP_PKEY_get_bits(pkey);
	switch (EVP_PKEY_get_base_id(pkey)) {
	case EVP_PKEY_RSA:
	case EVP_PKEY_RSA_PSS:
		out->type = CY_KEY_RSA;
		/* OpenSSL verifies nothing longer either */
		if (out->bits < 512 || out->bits > 16384)
			return ossl_fail(
			    CY_E_UNSUPPORTED, out_why, "an RSA key of this length is not supported");
		return CY_OK;
	case EVP_PKEY_EC:
		out->type = CY_KEY_ECDSA;
		if (!has_named_curve(pkey))
			return ossl_fail(CY_E_UNSUPPORTED, out_why,
			    "an elliptic curve key without a named curve is not supported");
		return CY_OK;
	case EVP_PKEY_ED25519:
		out->type = CY_KEY_ED25519;
		out->bits = 256;
		return CY_OK;
	case EVP_PKEY_ED448:
		out->type = CY_KEY_ED448;
		out->bits = 456;
		return CY_OK;
	default:
		return ossl_fail(CY_E_UNSUPPORTED, out_why, "a key of this type is not supported");
	}
}

/* --- private keys --- */

struct asked {
	cy_passphrase_fn pass;
	void *user;
	bool was, given;
};

/* OpenSSL asks here; without a callback it would ask the terminal. */
static int ask(char *buf, int size, int rwflag, void *u)
{
	struct asked *a = u;
	int n = a->pass && size > 0 ? a->pass(a->user, buf, (size_t)size) : -1;

	a->was = true;
	a->given = n >= 0 && n <= size;
	return a->given ? n : -1;
}

static EVP_PKEY *read_pem(struct cy_slice data, struct asked *a)
{
	BIO *bio = BIO_new_mem_buf(data.p, (int)data.n);
	EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, ask, a) : NULL;

	BIO_free(bio);
	return pkey;
}

static EVP_PKEY *read_der(struct cy_slice data, struct asked *a)
{
	const uint8_t *p = data.p;
	EVP_PKEY *pkey = d2i_AutoPrivateKey(NULL, &p, (long)data.n);
	BIO *bio;

	if (pkey || data.n < 2 || data.p[0] != 0x30)
		return pkey;
	/* encrypted PKCS#8 */
	bio = BIO_new_mem_buf(data.p, (int)data.n);
	if (bio)
		pkey = d2i_PKCS8PrivateKey_bio(bio, NULL, ask, a);
	BIO_free(bio);
	return pkey;
}

enum cy_err ossl_privkey_take(EVP_PKEY *take, struct cy_privkey **out, const char **out_why)
{
	struct cy_privkey *key = calloc(1, sizeof(*key));
	uint8_t *spki = NULL;
	enum cy_err err = CY_E_NOMEM;
	int n;

	if (!key) {
		EVP_PKEY_free(take);
		return CY_E_NOMEM;
	}
	atomic_init(&key->refs, 1);
	key->pkey = take;
	n = i2d_PUBKEY(take, &spki);
	if (n > 0)
		err = describe(take, NULL, spki, (size_t)n, &key->info, out_why);
	else
		err = ossl_fail(CY_E_UNSUPPORTED, out_why, "a key of this type is not supported");
	OPENSSL_free(spki);
	if (err == CY_OK)
		*out = key;
	else
		ossl_privkey_unref(key);
	return err;
}

enum cy_err ossl_privkey_load(
    struct cy_slice data, cy_passphrase_fn pass, void *user, struct cy_privkey **out, const char **out_why)
{
	struct asked a = {.pass = pass, .user = user};
	EVP_PKEY *pkey;

	if (data.n == 0 || data.n > INT_MAX)
		return ossl_fail(CY_E_PARSE, out_why, "it is empty");
	pkey = ossl_is_pem(data) ? read_pem(data, &a) : read_der(data, &a);
	if (pkey) {
		ERR_clear_error();
		return ossl_privkey_take(pkey, out, out_why);
	}
	if (a.was && !a.given)
		return ossl_fail(CY_E_DENIED, out_why, "it is encrypted and there is no pass phrase for it");
	if (a.was)
		return ossl_fail(CY_E_AUTH, out_why, "the pass phrase is wrong, or the key is damaged");
	return ossl_fail(CY_E_PARSE, out_why, "no private key in PEM or DER is in it");
}

struct cy_privkey *ossl_privkey_ref(struct cy_privkey *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

void ossl_privkey_unref(struct cy_privkey *key)
{
	if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

const struct cy_key_info *ossl_privkey_info(const struct cy_privkey *key)
{
	return &key->info;
}

/* --- public keys --- */

/* take: the key; spki: its encoding, copied; pub: the same decoded, or NULL. */
static enum cy_err pubkey_new(EVP_PKEY *take, X509_PUBKEY *pub, const uint8_t *spki, size_t n,
    struct cy_pubkey **out, const char **out_why)
{
	struct cy_pubkey *key = calloc(1, sizeof(*key));
	enum cy_err err = CY_E_NOMEM;

	if (!key) {
		EVP_PKEY_free(take);
		return CY_E_NOMEM;
	}
	atomic_init(&key->refs, 1);
	key->pkey = take;
	key->spki = malloc(n);
	key->spki_len = n;
	if (key->spki) {
		memcpy(key->spki, spki, n);
		err = describe(take, pub, spki, n, &key->info, out_why);
	}
	if (err == CY_OK)
		*out = key;
	else
		ossl_pubkey_unref(key);
	return err;
}

enum cy_err ossl_pubkey_of_x509(
    X509_PUBKEY *pub, EVP_PKEY *take, struct cy_slice spki, struct cy_pubkey **out, const char **out_why)
{
	EVP_PKEY *pkey = take ? take : X509_PUBKEY_get(pub); /* counted */
	ASN1_OBJECT *alg = NULL;
	int nid = NID_undef;

	if (pkey) {
		ERR_clear_error();
		return pubkey_new(pkey, pub, spki.p, spki.n, out, out_why);
	}
	/* an algorithm that is not known, or nonsense? */
	if (X509_PUBKEY_get0_param(&alg, NULL, NULL, NULL, pub) == 1)
		nid = OBJ_obj2nid(alg);
	if (nid != NID_rsaEncryption && nid != NID_X9_62_id_ecPublicKey && nid != NID_ED25519 &&
	    nid != NID_ED448)
		return ossl_fail(CY_E_UNSUPPORTED, out_why, "a key of this type is not supported");
	return ossl_fail(CY_E_PARSE, out_why, "the public key is malformed");
}

static enum cy_err pubkey_of_spki(struct cy_slice spki, struct cy_pubkey **out, const char **out_why)
{
	const uint8_t *p = spki.p;
	X509_PUBKEY *pub;
	enum cy_err err;

	if (spki.n == 0 || spki.n > INT_MAX)
		return ossl_fail(CY_E_PARSE, out_why, "the public key is malformed");
	pub = d2i_X509_PUBKEY(NULL, &p, (long)spki.n);
	if (pub && p == spki.p + spki.n)
		err = ossl_pubkey_of_x509(pub, NULL, spki, out, out_why);
	else
		err = ossl_fail(CY_E_PARSE, out_why, "the public key is malformed");
	X509_PUBKEY_free(pub);
	return err;
}

static enum cy_err rsa_pubkey(
    struct cy_slice n, struct cy_slice e, struct cy_pubkey **out, const char **out_why)
{
	BIGNUM *bn_n = BN_bin2bn(n.p, (int)n.n, NULL), *bn_e = BN_bin2bn(e.p, (int)e.n, NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;
	uint8_t *spki = NULL;
	enum cy_err err = CY_E_NOMEM;
	int len = 0;

	if (!bn_n || !bn_e || !bld || !ctx)
		goto out;
	if (BN_num_bits(bn_n) < 512 || !BN_is_odd(bn_n) || !BN_is_odd(bn_e) || BN_is_one(bn_e)) {
		err = ossl_fail(CY_E_PARSE, out_why, "the RSA public key is malformed");
		goto out;
	}
	if (OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn_n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, bn_e) == 1)
		params = OSSL_PARAM_BLD_to_param(bld);
	if (params && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1)
		len = i2d_PUBKEY(pkey, &spki);
	if (len > 0)
		err = pubkey_new(pkey, NULL, spki, (size_t)len, out, out_why);
	else
		EVP_PKEY_free(pkey);
out:
	OPENSSL_free(spki);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	EVP_PKEY_CTX_free(ctx);
	BN_free(bn_n);
	BN_free(bn_e);
	ERR_clear_error();
	return err;
}

/* RFC 3110, 2: length of the exponent in one byte, or zero and two bytes; exponent; modulus. */
static bool split_rfc3110(struct cy_slice data, struct cy_slice *out_e, struct cy_slice *out_n)
{
	size_t at = 1, n;

	if (data.n < 3)
		return false;
	n = data.p[0];
	if (n == 0) {
		n = (size_t)data.p[1] << 8 | data.p[2];
		at = 3;
	}
	if (n == 0 || n > 512 || data.n <= at + n || data.n - at - n > 2048)
		return false;
	*out_e = cy_slice(data.p + at, n);
	*out_n = cy_slice(data.p + at + n, data.n - at - n);
	return out_e->p[0] != 0 && out_n->p[0] != 0;
}

enum cy_err ossl_pubkey_load(struct cy_slice data, struct cy_pubkey **out, const char **out_why)
{
	struct cy_slice e, n;
	enum cy_err err;

	if (data.n == 0 || data.n > INT_MAX)
		return ossl_fail(CY_E_PARSE, out_why, "it is empty");
	if (ossl_is_pem(data)) {
		BIO *bio = BIO_new_mem_buf(data.p, (int)data.n);
		EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
		uint8_t *spki = NULL;
		int len = pkey ? i2d_PUBKEY(pkey, &spki) : 0;

		BIO_free(bio);
		if (len <= 0) {
			EVP_PKEY_free(pkey);
			return ossl_fail(CY_E_PARSE, out_why, "no public key that is supported is in it");
		}
		err = pubkey_new(pkey, NULL, spki, (size_t)len, out, out_why);
		OPENSSL_free(spki);
		ERR_clear_error();
		return err;
	}
	/* 0x30 as the length of an exponent in RFC 3110 is not what anybody has */
	if (data.p[0] == 0x30)
		return pubkey_of_spki(data, out, out_why);
	if (split_rfc3110(data, &e, &n))
		return rsa_pubkey(n, e, out, out_why);
	return ossl_fail(
	    CY_E_PARSE, out_why, "it is neither a SubjectPublicKeyInfo nor an RSA key as RFC 3110 has it");
}

struct cy_pubkey *ossl_pubkey_ref(struct cy_pubkey *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

void ossl_pubkey_unref(struct cy_pubkey *key)
{
	if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
		return;
	EVP_PKEY_free(key->pkey);
	free(key->spki);
	free(key);
}

const struct cy_key_info *ossl_pubkey_info(const struct cy_pubkey *key)
{
	return &key->info;
}

struct cy_slice ossl_pubkey_spki(const struct cy_pubkey *key)
{
	return cy_slice(key->spki, key->spki_len);
}
