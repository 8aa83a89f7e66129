/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, CRLs and OCSP responses that are what a test says, in the place of a plugin's. */
#ifndef UNIT_AUTH_FAKE_PKI_H
#define UNIT_AUTH_FAKE_PKI_H

#include <stdlib.h>

#include "daemon/auth/sources_impl.h"
#include "unit.h"

#define NAME(c)                                                                                              \
	{                                                                                                    \
		0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, c              \
	}
static const uint8_t ca_name[] = NAME('C'), other_name[] = NAME('O'), leaf_name[] = NAME('L');

struct cy_cert {
	struct cy_cert_info i;
	int refs;
};

/* The body of an answer. */
struct text {
	uint32_t magic, flags;
	int64_t this_update, next_update;
	const uint8_t *issuer;
	bool badly_signed, many;
	uint8_t revoked, reason;
	const char *point;
	/* OCSP */
	uint32_t status;
	uint8_t nonce[SOURCE_NONCE];
};
#define MAGIC 0xc71

struct cy_crl {
	struct cy_crl_info i;
	struct text t;
	int refs;
};

static struct cy_cert ca, leaf[8], sub_ca;
static const char *leaf_uris[2], *leaf_ocsp[1];
static int n_crls; /* that are not freed */

static const struct cy_cert_info *f_cert_info(const struct cy_cert *c)
{
	return &c->i;
}

static struct cy_cert *f_cert_ref(struct cy_cert *c)
{
	c->refs++;
	return c;
}

static void f_cert_unref(struct cy_cert *c)
{
	c->refs--;
}

static enum cy_err f_crl_load(struct cy_slice data, struct cy_crl **out, const char **out_why)
{
	struct cy_crl *crl;

	if (data.n != sizeof(struct text) || ((const struct text *)data.p)->magic != MAGIC) {
		*out_why = "it is no CRL";
		return CY_E_PARSE;
	}
	crl = calloc(1, sizeof(*crl));
	ck_assert_ptr_nonnull(crl);
	memcpy(&crl->t, data.p, sizeof(crl->t));
	crl->refs = 1;
	crl->i = (struct cy_crl_info){.der = data,
	    .issuer_der = cy_slice(crl->t.issuer, sizeof(ca_name)),
	    .issuer = "CA",
	    .this_update = crl->t.this_update,
	    .next_update = crl->t.next_update,
	    .n_revoked = crl->t.many ? 6250 : 1,
	    .flags = crl->t.flags,
	    .points = &crl->t.point,
	    .n_points = 1};
	n_crls++;
	*out = crl;
	return CY_OK;
}

static struct cy_crl *f_crl_ref(struct cy_crl *crl)
{
	crl->refs++;
	return crl;
}

static void f_crl_unref(struct cy_crl *crl)
{
	if (--crl->refs)
		return;
	n_crls--;
	free(crl);
}

static const struct cy_crl_info *f_crl_info(const struct cy_crl *crl)
{
	return &crl->i;
}

static enum cy_err f_crl_signed_by(struct cy_crl *crl, struct cy_cert *issuer)
{
	(void)issuer;
	return crl->t.badly_signed ? CY_E_AUTH : CY_OK;
}

static enum cy_err f_crl_look(struct cy_crl *crl, struct cy_slice serial, struct cy_revocation_info *out)
{
	bool is = serial.n == 1 && serial.p[0] == crl->t.revoked;

	*out = (struct cy_revocation_info){.size = sizeof(*out),
	    .status = is ? CY_REVOCATION_REVOKED : CY_REVOCATION_GOOD,
	    .reason = is ? crl->t.reason : 0,
	    .revoked_at = is ? 1600000000 : 0,
	    .this_update = crl->i.this_update,
	    .next_update = crl->i.next_update};
	return CY_OK;
}

static enum cy_err f_ocsp_request(
    struct cy_cert *cert, struct cy_cert *issuer, struct cy_slice nonce, uint8_t **out, size_t *out_len)
{
	ck_assert_ptr_eq(issuer, &ca);
	*out = malloc(1 + nonce.n);
	ck_assert_ptr_nonnull(*out);
	(*out)[0] = cert->i.serial.p[0];
	memcpy(*out + 1, nonce.p, nonce.n);
	*out_len = 1 + nonce.n;
	return CY_OK;
}

static enum cy_err f_ocsp_look(struct cy_slice response, struct cy_cert *cert, struct cy_cert *issuer,
    struct cy_slice nonce, int64_t now, struct cy_revocation_info *out, const char **out_why)
{
	const struct text *t = (const struct text *)response.p;

	(void)cert;
	(void)now;
	ck_assert_ptr_eq(issuer, &ca);
	if (response.n != sizeof(*t) || t->badly_signed || memcmp(t->nonce, nonce.p, nonce.n) != 0) {
		*out_why = "the response is not to be trusted";
		return CY_E_AUTH;
	}
	*out = (struct cy_revocation_info){.size = sizeof(*out),
	    .status = t->status,
	    .reason = 1,
	    .revoked_at = 1600000000,
	    .this_update = t->this_update,
	    .next_update = t->next_update};
	return CY_OK;
}

static const struct cy_pki_ops pki = {.size = sizeof(pki),
    .name = "test",
    .cert_info = f_cert_info,
    .cert_ref = f_cert_ref,
    .cert_unref = f_cert_unref,
    .crl_load = f_crl_load,
    .crl_ref = f_crl_ref,
    .crl_unref = f_crl_unref,
    .crl_info = f_crl_info,
    .crl_signed_by = f_crl_signed_by,
    .crl_look = f_crl_look,
    .ocsp_request = f_ocsp_request,
    .ocsp_look = f_ocsp_look};

#endif
