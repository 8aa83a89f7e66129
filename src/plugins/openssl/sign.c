/* SPDX-License-Identifier: Apache-2.0 */
/* Making and checking signatures. */

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "ossl.h"
#include "pki.h"

static const char *hash_name(enum cy_hash hash)
{
	switch (hash) {
	case CY_HASH_SHA1:
		return "SHA1";
	case CY_HASH_SHA2_256:
		return "SHA2-256";
	case CY_HASH_SHA2_384:
		return "SHA2-384";
	case CY_HASH_SHA2_512:
		return "SHA2-512";
	default:
		return NULL;
	}
}

static bool fits(enum cy_key_type type, enum cy_sig_scheme scheme, enum cy_hash hash)
{
	switch (scheme) {
	case CY_SIG_RSA_PKCS1:
	case CY_SIG_RSA_PSS:
		return type == CY_KEY_RSA && hash_name(hash);
	case CY_SIG_RSA_PKCS1_RAW:
		return type == CY_KEY_RSA;
	case CY_SIG_ECDSA_DER:
		return type == CY_KEY_ECDSA && hash_name(hash);
	case CY_SIG_ECDSA_RAW:
		return type == CY_KEY_ECDSA && (hash == CY_HASH_NONE || hash_name(hash));
	case CY_SIG_EDDSA:
		return type == CY_KEY_ED25519 || type == CY_KEY_ED448;
	}
	return false;
}

/* Signed is what is given, no hash of it. */
static bool is_raw(enum cy_sig_scheme scheme, enum cy_hash hash)
{
	return scheme == CY_SIG_RSA_PKCS1_RAW || (scheme == CY_SIG_ECDSA_RAW && hash == CY_HASH_NONE);
}

/* PSS as RFC 7427 and RFC 8247 have it: MGF1 with the same hash, and a salt as long as that. */
static bool set_padding(EVP_PKEY_CTX *ctx, enum cy_sig_scheme scheme)
{
	switch (scheme) {
	case CY_SIG_RSA_PKCS1:
	case CY_SIG_RSA_PKCS1_RAW:
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
	case CY_SIG_RSA_PSS:
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	default:
		return true;
	}
}

/* The pieces as one; *out_copy is to be freed with its length. */
static bool join(const struct cy_slice *in, size_t n_in, struct cy_slice *out, uint8_t **out_copy)
{
	size_t n = 0, at = 0;

	*out_copy = NULL;
	if (n_in == 1) {
		*out = in[0];
		return true;
	}
	for (size_t i = 0; i < n_in; i++)
		n += in[i].n;
	*out_copy = malloc(n ? n : 1);
	if (!*out_copy)
		return false;
	for (size_t i = 0; i < n_in; i++) {
		if (in[i].n)
			memcpy(*out_copy + at, in[i].p, in[i].n);
		at += in[i].n;
	}
	*out = cy_slice(*out_copy, n);
	return true;
}

/* --- ECDSA: r || s, each as long as the order of the group (RFC 4754, 7 and 8), and the ASN.1 of it --- */

static size_t half(const struct cy_key_info *info)
{
	return (info->bits + 7) / 8;
}

static bool raw_to_der(struct cy_slice raw, uint8_t **out, int *out_n)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw.p, (int)raw.n / 2, NULL);
	BIGNUM *s = BN_bin2bn(raw.p + raw.n / 2, (int)raw.n / 2, NULL);

	*out = NULL;
	*out_n = 0;
	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1)
		*out_n = i2d_ECDSA_SIG(sig, out);
	else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(sig);
	return *out_n > 0;
}

static bool der_to_raw(uint8_t *sig, size_t *len, size_t part)
{
	const uint8_t *p = sig;
	ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)*len);
	bool ok = s && BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, (int)part) == (int)part &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + part, (int)part) == (int)part;

	ECDSA_SIG_free(s);
	*len = 2 * part;
	return ok;
}

/* --- signing --- */

size_t ossl_sig_max(const struct cy_privkey *key)
{
	return (size_t)EVP_PKEY_get_size(key->pkey);
}

static bool sign_hashed(struct cy_privkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, uint8_t *out, size_t *out_len)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = NULL;
	bool ok = md && EVP_DigestSignInit_ex(md, &ctx, hash_name(hash), NULL, NULL, key->pkey, NULL) == 1 &&
	    set_padding(ctx, scheme);

	for (size_t i = 0; i < n_in && ok; i++)
		ok = in[i].n == 0 || EVP_DigestSignUpdate(md, in[i].p, in[i].n) == 1;
	ok = ok && EVP_DigestSignFinal(md, out, out_len) == 1;
	EVP_MD_CTX_free(md);
	return ok;
}

static bool sign_eddsa(struct cy_privkey *key, struct cy_slice in, uint8_t *out, size_t *out_len)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestSignInit_ex(md, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
	    EVP_DigestSign(md, out, out_len, in.p, in.n) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

static bool sign_raw(
    struct cy_privkey *key, enum cy_sig_scheme scheme, struct cy_slice in, uint8_t *out, size_t *out_len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	bool ok = ctx && EVP_PKEY_sign_init(ctx) == 1 && set_padding(ctx, scheme) &&
	    EVP_PKEY_sign(ctx, out, out_len, in.p, in.n) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

enum cy_err ossl_sign(struct cy_privkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, uint8_t *out, size_t *out_len)
{
	size_t n = ossl_sig_max(key);
	struct cy_slice all;
	uint8_t *copy = NULL;
	bool ok;

	if (!fits(key->info.type, scheme, hash))
		return CY_E_INVAL;
	if (scheme == CY_SIG_EDDSA || is_raw(scheme, hash)) {
		if (!join(in, n_in, &all, &copy))
			return CY_E_NOMEM;
		ok = scheme == CY_SIG_EDDSA ? sign_eddsa(key, all, out, &n)
		                            : sign_raw(key, scheme, all, out, &n);
		free(copy);
	} else {
		ok = sign_hashed(key, scheme, hash, in, n_in, out, &n);
	}
	if (ok && scheme == CY_SIG_ECDSA_RAW)
		ok = der_to_raw(out, &n, half(&key->info));
	if (!ok) {
		ERR_clear_error();
		return CY_E_UNSUPPORTED;
	}
	*out_len = n;
	return CY_OK;
}

/* --- checking --- */

static bool verify_hashed(struct cy_pubkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, struct cy_slice sig)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = NULL;
	bool ok = md &&
	    EVP_DigestVerifyInit_ex(md, &ctx, hash_name(hash), NULL, NULL, key->pkey, NULL) == 1 &&
	    set_padding(ctx, scheme);

	for (size_t i = 0; i < n_in && ok; i++)
		ok = in[i].n == 0 || EVP_DigestVerifyUpdate(md, in[i].p, in[i].n) == 1;
	ok = ok && EVP_DigestVerifyFinal(md, sig.p, sig.n) == 1;
	EVP_MD_CTX_free(md);
	return ok;
}

static bool verify_eddsa(struct cy_pubkey *key, struct cy_slice in, struct cy_slice sig)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestVerifyInit_ex(md, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
	    EVP_DigestVerify(md, sig.p, sig.n, in.p, in.n) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

static bool verify_raw(
    struct cy_pubkey *key, enum cy_sig_scheme scheme, struct cy_slice in, struct cy_slice sig)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	bool ok = ctx && EVP_PKEY_verify_init(ctx) == 1 && set_padding(ctx, scheme) &&
	    EVP_PKEY_verify(ctx, sig.p, sig.n, in.p, in.n) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

enum cy_err ossl_verify(struct cy_pubkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, struct cy_slice sig)
{
	struct cy_slice all;
	uint8_t *copy = NULL, *der = NULL;
	bool ok;
	int n;

	if (!fits(key->info.type, scheme, hash))
		return CY_E_INVAL;
	switch (scheme) {
	case CY_SIG_EDDSA:
	case CY_SIG_RSA_PKCS1_RAW:
		if (!join(in, n_in, &all, &copy))
			return CY_E_NOMEM;
		ok = scheme == CY_SIG_EDDSA ? verify_eddsa(key, all, sig) : verify_raw(key, scheme, all, sig);
		free(copy);
		break;
	case CY_SIG_ECDSA_RAW:
		if (!join(in, n_in, &all, &copy))
			return CY_E_NOMEM;
		ok = sig.n == 2 * half(&key->info) && raw_to_der(sig, &der, &n);
		if (ok)
			ok = hash == CY_HASH_NONE
			    ? verify_raw(key, scheme, all, cy_slice(der, (size_t)n))
			    : verify_hashed(key, scheme, hash, &all, 1, cy_slice(der, (size_t)n));
		OPENSSL_free(der);
		free(copy);
		break;
	default:
		ok = verify_hashed(key, scheme, hash, in, n_in, sig);
		break;
	}
	ERR_clear_error();
	return ok ? CY_OK : CY_E_AUTH;
}
