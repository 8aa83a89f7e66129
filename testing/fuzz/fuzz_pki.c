/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the openssl plugin reads: certificates, keys, bundles, names, CRLs, OCSP responses. Input: a byte that says which, and
 * the bytes; of an OCSP response after those of the issuer and of the certificate in question, with two bytes of length each.
 */

#include <stdlib.h>

#include "libcore/base/text.h"
#include "plugins/openssl/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static int pass_phrase(void *user, char *buf, size_t cap)
{
	must(cap > 6);
	memcpy(buf, "secret", 6);
	return 6;
}

static void on_cert(void *user, struct cy_slice der)
{
	must(der.n < 1u << 24);
}

static void on_key(void *user, struct cy_privkey *take)
{
	must(ossl_pki.privkey_info(take)->bits > 0);
	ossl_pki.privkey_unref(take);
}

static void look_at_cert(struct cy_cert *c)
{
	const struct cy_cert_info *i = ossl_pki.cert_info(c);
	const char *why = NULL;
	struct cy_cert *path[2] = {c, c};

	must(i->subject && i->issuer && i->der.n && i->spki.n);
	for (size_t k = 0; k < i->n_sans; k++)
		must(i->sans[k].value.n > 0);
	for (size_t k = 0; k < i->n_crl_uris; k++)
		must(i->crl_uris[k] != NULL);
	(void)!ossl_pki.cert_signed_by(c, c);
	if (ossl_pki.path_check(path, 2, 1767225600, &why) != CY_OK)
		must(why != NULL);
}

#define NOW 1800000000 /* within the corpus' certificates */

static void look_at_crl(struct cy_crl *c)
{
	static const uint8_t serial[] = {0x12, 0x34, 0x56};
	const struct cy_crl_info *i = ossl_pki.crl_info(c);
	struct cy_revocation_info said = {0};

	must(i->issuer && i->der.n && i->issuer_der.n);
	for (size_t k = 0; k < i->n_points; k++)
		must(i->points[k] != NULL);
	must(i->n_points == 0 || (i->flags & CY_CRL_POINTS));
	must(ossl_pki.crl_look(c, cy_slice(serial, sizeof(serial)), &said) == CY_OK);
	must(said.status == CY_REVOCATION_GOOD || said.status == CY_REVOCATION_REVOKED);
	must(said.status == CY_REVOCATION_GOOD || i->n_revoked > 0);
}

static struct cy_cert *take_cert(struct cy_slice *in)
{
	struct cy_cert *cert = NULL;
	size_t n;

	if (in->n < 2)
		return NULL;
	n = (size_t)in->p[0] << 8 | in->p[1];
	n = n < in->n - 2 ? n : in->n - 2;
	(void)!ossl_pki.cert_load(cy_slice(in->p + 2, n), &cert, NULL);
	*in = cy_slice(in->p + 2 + n, in->n - 2 - n);
	return cert;
}

static void read_response(struct cy_slice in)
{
	static const uint8_t nonce[] = "a nonce";
	struct cy_cert *issuer = take_cert(&in), *cert = take_cert(&in);
	struct cy_revocation_info said = {0};
	const char *why = NULL;
	uint8_t *request;
	size_t n;

	if (issuer && cert) {
		if (ossl_pki.ocsp_look(in, cert, issuer, cy_slice(nonce, 7), NOW, &said, &why) == CY_OK)
			must(said.status >= CY_REVOCATION_GOOD && said.status <= CY_REVOCATION_UNKNOWN);
		else
			must(why != NULL && said.status == 0);
		if (ossl_pki.ocsp_request(cert, issuer, cy_slice(nonce, 7), &request, &n) == CY_OK) {
			must(n > 0);
			free(request);
		}
	}
	ossl_pki.cert_unref(issuer);
	ossl_pki.cert_unref(cert);
}

/* Quotes, and blanks at the ends of a value, are printed as they are. */
static bool plain(const char *text)
{
	size_t n = strlen(text);

	return !strpbrk(text, "#\"") && !strstr(text, "= ") && !strstr(text, " ,") && !strstr(text, "  ") &&
	    (n == 0 || text[n - 1] != ' ');
}

static void read_name(struct cy_slice in)
{
	char *text = text_dup(in.p, in.n), out[1024], again[1024];
	uint8_t *der, *der2;
	size_t n, m;

	if (ossl_pki.name_print(in, out, sizeof(out)) == CY_OK)
		must(strlen(out) < sizeof(out));
	if (text && ossl_pki.name_parse(text, &der, &n) == CY_OK) {
		/* what is printed can be read again, and is then printed the same */
		if (ossl_pki.name_print(cy_slice(der, n), out, sizeof(out)) == CY_OK && plain(out) &&
		    !strchr(text, '#')) {
			must(ossl_pki.name_parse(out, &der2, &m) == CY_OK);
			must(ossl_pki.name_print(cy_slice(der2, m), again, sizeof(again)) == CY_OK);
			must(strcmp(out, again) == 0);
			free(der2);
		}
		free(der);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cy_slice in = cy_slice(data + 1, size - 1);
	struct cy_privkey *priv;
	struct cy_pubkey *pub;
	struct cy_cert *cert;
	struct cy_crl *crl;

	if (size < 2)
		return 0;
	switch (data[0] % 7) {
	case 0:
		if (ossl_pki.cert_load(in, &cert, NULL) == CY_OK) {
			look_at_cert(cert);
			ossl_pki.cert_unref(cert);
		}
		break;
	case 1:
		if (ossl_pki.pubkey_load(in, &pub, NULL) == CY_OK) {
			must(ossl_pki.pubkey_spki(pub).n > 0);
			(void)!ossl_pki.verify(
			    pub, CY_SIG_RSA_PKCS1, CY_HASH_SHA2_256, &in, 1, cy_slice(data, size / 2));
			ossl_pki.pubkey_unref(pub);
		}
		break;
	case 2:
		if (ossl_pki.privkey_load(in, pass_phrase, NULL, &priv, NULL) == CY_OK)
			on_key(NULL, priv);
		break;
	case 3:
		(void)!ossl_pki.bundle_load(in, pass_phrase, NULL, on_cert, on_key, NULL);
		break;
	case 4:
		read_name(in);
		break;
	case 5:
		if (ossl_pki.crl_load(in, &crl, NULL) == CY_OK) {
			look_at_crl(crl);
			ossl_pki.crl_unref(crl);
		}
		break;
	case 6:
		read_response(in);
		break;
	}
	return 0;
}
