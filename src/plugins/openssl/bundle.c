/* SPDX-License-Identifier: Apache-2.0 */
/* Files that hold several things: PEM bundles of any length, PKCS#12, PKCS#7, and single ones in DER. */

#include <limits.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/provider.h>

#include "ossl.h"
#include "pki.h"

#define MAX_PASSPHRASE 1024

struct bundle {
	struct cy_slice data;
	cy_passphrase_fn pass;
	void *user;
	void (*on_cert)(void *user, struct cy_slice der);
	void (*on_key)(void *user, struct cy_privkey *take);
	const char **out_why;
	size_t n; /* what was found */
};

static enum cy_err give_cert(struct bundle *b, X509 *x)
{
	uint8_t *der = NULL;
	int n = i2d_X509(x, &der);

	if (n <= 0)
		return ossl_fail(CY_E_NOMEM, NULL, NULL);
	b->on_cert(b->user, cy_slice(der, (size_t)n));
	b->n++;
	OPENSSL_free(der);
	return CY_OK;
}

static enum cy_err give_certs(struct bundle *b, const STACK_OF(X509) * certs)
{
	enum cy_err err = CY_OK;

	for (int i = 0; i < sk_X509_num(certs) && err == CY_OK; i++)
		err = give_cert(b, sk_X509_value(certs, i));
	return err;
}

static enum cy_err give_key(struct bundle *b, struct cy_slice text)
{
	struct cy_privkey *key;
	enum cy_err err = ossl_privkey_load(text, b->pass, b->user, &key, b->out_why);

	if (err != CY_OK)
		return err;
	b->on_key(b->user, key);
	b->n++;
	return CY_OK;
}

static const STACK_OF(X509) * certs_of(const PKCS7 *p7)
{
	if (PKCS7_type_is_signed(p7) && p7->d.sign)
		return p7->d.sign->cert;
	if (PKCS7_type_is_signedAndEnveloped(p7) && p7->d.signed_and_enveloped)
		return p7->d.signed_and_enveloped->cert;
	return NULL;
}

static enum cy_err give_pkcs7(struct bundle *b, struct cy_slice der)
{
	const uint8_t *p = der.p;
	PKCS7 *p7 = d2i_PKCS7(NULL, &p, (long)der.n);
	enum cy_err err;

	if (!p7)
		return ossl_fail(CY_E_PARSE, b->out_why, "its PKCS#7 part is damaged");
	err = certs_of(p7) ? give_certs(b, certs_of(p7)) : CY_OK;
	PKCS7_free(p7);
	return err;
}

/* --- PEM --- */

/* A key again as PEM, since its decryption needs the header that came with it. */
static enum cy_err give_pem_key(
    struct bundle *b, const char *name, const char *header, const uint8_t *data, long len)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	enum cy_err err = CY_E_NOMEM;
	char *text;
	long n;

	if (bio && PEM_write_bio(bio, name, header, data, len) > 0) {
		n = BIO_get_mem_data(bio, &text);
		err = give_key(b, cy_slice(text, (size_t)n));
	}
	BIO_free(bio);
	return err;
}

static enum cy_err give_pem(
    struct bundle *b, const char *name, const char *header, const uint8_t *data, long len)
{
	size_t n = strlen(name);

	if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0) {
		b->on_cert(b->user, cy_slice(data, (size_t)len));
		b->n++;
		return CY_OK;
	}
	if (strcmp(name, PEM_STRING_X509_TRUSTED) == 0) {
		/* a certificate with OpenSSL's own settings after it, which mean nothing here */
		const uint8_t *p = data;
		X509 *x = d2i_X509_AUX(NULL, &p, len);
		enum cy_err err = x ? give_cert(b, x)
		                    : ossl_fail(CY_E_PARSE, b->out_why, "one of its certificates is damaged");

		X509_free(x);
		return err;
	}
	if (strcmp(name, PEM_STRING_PKCS7) == 0 || strcmp(name, PEM_STRING_CMS) == 0)
		return give_pkcs7(b, cy_slice(data, (size_t)len));
	if (n >= 11 && strcmp(name + n - 11, "PRIVATE KEY") == 0)
		return give_pem_key(b, name, header, data, len);
	return CY_OK; /* parameters, requests, CRLs */
}

static enum cy_err load_pem(struct bundle *b)
{
	BIO *bio = BIO_new_mem_buf(b->data.p, (int)b->data.n);
	enum cy_err err = CY_OK;

	if (!bio)
		return CY_E_NOMEM;
	while (err == CY_OK) {
		char *name = NULL, *header = NULL;
		uint8_t *data = NULL;
		long len = 0;

		if (PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
			unsigned long e = ERR_peek_last_error();

			/* the end, or something with a BEGIN that is no PEM */
			if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
				err = ossl_fail(CY_E_PARSE, b->out_why, "its PEM is damaged");
			ERR_clear_error();
			break;
		}
		err = give_pem(b, name, header, data, len);
		OPENSSL_free(name);
		OPENSSL_clear_free(header, header ? strlen(header) : 0);
		OPENSSL_clear_free(data, (size_t)len);
	}
	BIO_free(bio);
	return err;
}

/* --- PKCS#12 --- */

/* A copy of the key that belongs to the usual library context. */
static enum cy_err give_pkcs12_key(struct bundle *b, EVP_PKEY *pkey)
{
	uint8_t *der = NULL;
	int n = i2d_PrivateKey(pkey, &der);
	enum cy_err err;

	if (n <= 0)
		return ossl_fail(
		    CY_E_UNSUPPORTED, b->out_why, "its private key is of a type that is not supported");
	err = give_key(b, cy_slice(der, (size_t)n));
	OPENSSL_clear_free(der, (size_t)n);
	return err;
}

static enum cy_err give_pkcs12(struct bundle *b, PKCS12 *p12, const char *pass, bool *out_parsed)
{
	EVP_PKEY *pkey = NULL;
	X509 *cert = NULL;
	STACK_OF(X509) *others = NULL;
	enum cy_err err = CY_OK;

	*out_parsed = PKCS12_parse(p12, pass, &pkey, &cert, &others) == 1;
	if (!*out_parsed)
		return ossl_fail(
		    CY_E_UNSUPPORTED, b->out_why, "it is encrypted in a way that is not supported");
	if (cert)
		err = give_cert(b, cert);
	if (err == CY_OK && others)
		err = give_certs(b, others);
	if (err == CY_OK && pkey)
		err = give_pkcs12_key(b, pkey);
	EVP_PKEY_free(pkey);
	X509_free(cert);
	sk_X509_pop_free(others, X509_free);
	return err;
}

/* RC2 and the like, which old programs still write, are in OpenSSL's legacy provider. It is loaded for this file alone. */
static enum cy_err load_legacy_pkcs12(struct bundle *b, const char *pass)
{
	OSSL_LIB_CTX *lib = OSSL_LIB_CTX_new();
	OSSL_PROVIDER *legacy = lib ? OSSL_PROVIDER_load(lib, "legacy") : NULL;
	OSSL_PROVIDER *deflt = legacy ? OSSL_PROVIDER_load(lib, "default") : NULL;
	PKCS12 *p12 = deflt ? PKCS12_init_ex(NID_pkcs7_data, lib, NULL) : NULL;
	const uint8_t *p = b->data.p;
	enum cy_err err =
	    ossl_fail(CY_E_UNSUPPORTED, b->out_why, "it is encrypted in a way that is not supported");
	bool parsed;

	if (p12 && d2i_PKCS12(&p12, &p, (long)b->data.n))
		err = give_pkcs12(b, p12, pass, &parsed);
	PKCS12_free(p12);
	if (deflt)
		OSSL_PROVIDER_unload(deflt);
	if (legacy)
		OSSL_PROVIDER_unload(legacy);
	OSSL_LIB_CTX_free(lib);
	return err;
}

static enum cy_err load_pkcs12(struct bundle *b, PKCS12 *p12)
{
	char pass[MAX_PASSPHRASE + 1] = "";
	enum cy_err err;
	bool parsed;
	int n;

	/* without a pass phrase or with an empty one, which PKCS#12 tells apart, nobody is asked */
	if (PKCS12_mac_present(p12) && PKCS12_verify_mac(p12, NULL, 0) != 1 &&
	    PKCS12_verify_mac(p12, "", 0) != 1) {
		n = b->pass ? b->pass(b->user, pass, MAX_PASSPHRASE) : -1;
		if (n < 0 || n > MAX_PASSPHRASE)
			return ossl_fail(
			    CY_E_DENIED, b->out_why, "it is encrypted and there is no pass phrase for it");
		pass[n] = '\0';
		if (PKCS12_verify_mac(p12, pass, -1) != 1) {
			OPENSSL_cleanse(pass, sizeof(pass));
			return ossl_fail(
			    CY_E_AUTH, b->out_why, "the pass phrase is wrong, or the file is damaged");
		}
	}
	err = give_pkcs12(b, p12, pass, &parsed);
	if (!parsed)
		err = load_legacy_pkcs12(b, pass);
	OPENSSL_cleanse(pass, sizeof(pass));
	return err;
}

/* --- DER --- */

static enum cy_err load_der(struct bundle *b)
{
	const uint8_t *p = b->data.p, *end = p + b->data.n;
	long n = (long)b->data.n;
	enum cy_err err;
	PKCS12 *p12;
	PKCS7 *p7;
	X509 *x;

	x = d2i_X509(NULL, &p, n);
	if (x) {
		X509_free(x);
		if (p != end)
			return ossl_fail(CY_E_PARSE, b->out_why, "there is something after the certificate");
		b->on_cert(b->user, b->data);
		b->n++;
		return CY_OK;
	}
	p = b->data.p;
	p12 = d2i_PKCS12(NULL, &p, n);
	if (p12) {
		ERR_clear_error();
		err = load_pkcs12(b, p12);
		PKCS12_free(p12);
		return err;
	}
	p = b->data.p;
	p7 = d2i_PKCS7(NULL, &p, n);
	if (p7) {
		PKCS7_free(p7);
		return give_pkcs7(b, b->data);
	}
	err = give_key(b, b->data);
	if (err == CY_E_PARSE)
		return ossl_fail(CY_E_PARSE, b->out_why,
		    "it is neither PEM nor a certificate, PKCS#12, PKCS#7 or key in DER");
	return err;
}

enum cy_err ossl_bundle_load(struct cy_slice data, cy_passphrase_fn pass, void *user,
    void (*on_cert)(void *user, struct cy_slice der), void (*on_key)(void *user, struct cy_privkey *take),
    const char **out_why)
{
	struct bundle b = {data, pass, user, on_cert, on_key, out_why, 0};
	enum cy_err err;

	if (data.n == 0 || data.n > INT_MAX)
		return ossl_fail(CY_E_PARSE, out_why, "it is empty");
	err = ossl_is_pem(data) ? load_pem(&b) : load_der(&b);
	ERR_clear_error();
	if (err == CY_OK && b.n == 0)
		return ossl_fail(CY_E_NOTFOUND, out_why, "no certificate and no private key is in it");
	return err;
}

const struct cy_pki_ops ossl_pki = {
    .size = sizeof(ossl_pki),
    .name = "openssl",
    .privkey_load = ossl_privkey_load,
    .privkey_ref = ossl_privkey_ref,
    .privkey_unref = ossl_privkey_unref,
    .privkey_info = ossl_privkey_info,
    .privkey_sig_max = ossl_sig_max,
    .sign = ossl_sign,
    .pubkey_load = ossl_pubkey_load,
    .pubkey_ref = ossl_pubkey_ref,
    .pubkey_unref = ossl_pubkey_unref,
    .pubkey_info = ossl_pubkey_info,
    .pubkey_spki = ossl_pubkey_spki,
    .verify = ossl_verify,
    .cert_load = ossl_cert_load,
    .cert_ref = ossl_cert_ref,
    .cert_unref = ossl_cert_unref,
    .cert_info = ossl_cert_info,
    .cert_pubkey = ossl_cert_pubkey,
    .cert_signed_by = ossl_cert_signed_by,
    .path_check = ossl_path_check,
    .bundle_load = ossl_bundle_load,
    .name_parse = ossl_name_parse,
    .name_print = ossl_name_print,
    .crl_load = ossl_crl_load,
    .crl_ref = ossl_crl_ref,
    .crl_unref = ossl_crl_unref,
    .crl_info = ossl_crl_info,
    .crl_signed_by = ossl_crl_signed_by,
    .crl_look = ossl_crl_look,
    .ocsp_request = ossl_ocsp_request,
    .ocsp_look = ossl_ocsp_look,
};
