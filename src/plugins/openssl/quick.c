/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer's certificate and its key without OpenSSL's search for a decoder: OpenSSL 3.0 looks through all it has, for each
 * certificate, which takes longer than to check the signature. Parsed is the certificate in a library context in which there
 * are no decoders, and its key is made of the bytes; OpenSSL does both all the same.
 *
 * The context and a key of each curve to copy are made once for the process, and never change.
 */

#include <openssl/provider.h>
#include <pthread.h>

#include "ossl.h"
#include "pki.h"

static const struct {
	int nid;
	const char *name;
} curves[] = {
    {NID_X9_62_prime256v1, "P-256"},
    {NID_secp384r1, "P-384"},
    {NID_secp521r1, "P-521"},
};

static struct {
	pthread_once_t once;
	OSSL_LIB_CTX *no_decoders;           /* NULL: not to be had */
	EVP_PKEY *params[ARRAY_LEN(curves)]; /* a curve and no point */
} quick = {.once = PTHREAD_ONCE_INIT};

static void make(void)
{
	OSSL_LIB_CTX *lib = OSSL_LIB_CTX_new();

	/* without this one, the default provider loads itself */
	if (lib && !OSSL_PROVIDER_load(lib, "null")) {
		OSSL_LIB_CTX_free(lib);
		lib = NULL;
	}
	for (size_t i = 0; lib && i < ARRAY_LEN(curves); i++) {
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);

		if (!ctx || EVP_PKEY_paramgen_init(ctx) != 1 ||
		    EVP_PKEY_CTX_set_group_name(ctx, curves[i].name) != 1 ||
		    EVP_PKEY_paramgen(ctx, &quick.params[i]) != 1)
			quick.params[i] = NULL;
		EVP_PKEY_CTX_free(ctx);
	}
	quick.no_decoders = lib;
}

X509 *ossl_quick_x509(struct cy_slice der)
{
	const uint8_t *p = der.p;
	X509 *x = NULL;

	(void)pthread_once(&quick.once, make);
	if (quick.no_decoders)
		x = X509_new_ex(quick.no_decoders, NULL);
	if (x && (!d2i_X509(&x, &p, (long)der.n) || p != der.p + der.n)) {
		X509_free(x);
		x = NULL;
	}
	return x;
}

static EVP_PKEY *ec_key(const X509_ALGOR *alg, const uint8_t *point, size_t n)
{
	const void *curve;
	EVP_PKEY *key = NULL;
	int type;

	X509_ALGOR_get0(NULL, &type, &curve, alg);
	for (size_t i = 0; type == V_ASN1_OBJECT && i < ARRAY_LEN(curves); i++)
		if (OBJ_obj2nid(curve) == curves[i].nid && quick.params[i])
			key = EVP_PKEY_dup(quick.params[i]);
	/* it checks that the point is on the curve */
	if (key && EVP_PKEY_set1_encoded_public_key(key, point, n) != 1) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

static EVP_PKEY *rsa_key(const uint8_t *bytes, size_t n)
{
	const uint8_t *p = bytes;
	EVP_PKEY *key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, (long)n);

	if (key && p != bytes + n) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

EVP_PKEY *ossl_quick_key(X509_PUBKEY *pub)
{
	ASN1_OBJECT *oid;
	const uint8_t *bits;
	X509_ALGOR *alg;
	int n, type;

	(void)pthread_once(&quick.once, make);
	if (X509_PUBKEY_get0_param(&oid, &bits, &n, &alg, pub) != 1 || n <= 0)
		return NULL;
	X509_ALGOR_get0(NULL, &type, NULL, alg);
	switch (OBJ_obj2nid(oid)) {
	case NID_rsaEncryption: /* RFC 3279, 2.3.1: parameters are NULL */
		return type == V_ASN1_NULL ? rsa_key(bits, (size_t)n) : NULL;
	case NID_X9_62_id_ecPublicKey:
		return ec_key(alg, bits, (size_t)n);
	case NID_ED25519: /* RFC 8410, 3: no parameters */
		return type == V_ASN1_UNDEF
		    ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bits, (size_t)n)
		    : NULL;
	default:
		return NULL;
	}
}
