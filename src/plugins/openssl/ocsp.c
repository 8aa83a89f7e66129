/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCSP (RFC 6960): a request for one certificate, and what a response says of it. Nothing of a response is believed before its
 * signature is checked.
 */

#include <limits.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "ossl.h"
#include "pki.h"

#define MAX_NONCE 32 /* RFC 8954, 2.1: from 1 to 32; who knows RFC 9654 takes that, too */
#define MAX_TRIED 4  /* certificates of one response whose signatures are looked at */

/* --- requests --- */

/* SHA-1, which every responder knows (RFC 5019, 2.1.1): the number of the certificate is not secret, and nothing is signed with it. */
static bool add_cert(OCSP_REQUEST *req, struct cy_cert *cert, struct cy_cert *issuer)
{
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), ossl_cert_x509(cert), ossl_cert_x509(issuer));

	if (id && OCSP_request_add0_id(req, id))
		return true;
	OCSP_CERTID_free(id);
	return false;
}

enum cy_err ossl_ocsp_request(
    struct cy_cert *cert, struct cy_cert *issuer, struct cy_slice nonce, uint8_t **out, size_t *out_len)
{
	OCSP_REQUEST *req;
	enum cy_err err = CY_E_NOMEM;
	uint8_t *der = NULL, *copy;
	int n;

	if (nonce.n > MAX_NONCE)
		return CY_E_INVAL;
	req = OCSP_REQUEST_new();
	if (!req || !add_cert(req, cert, issuer) ||
	    (nonce.n && OCSP_request_add1_nonce(req, (unsigned char *)nonce.p, (int)nonce.n) != 1))
		goto out;
	n = i2d_OCSP_REQUEST(req, &der);
	copy = n > 0 ? malloc((size_t)n) : NULL;
	if (copy) {
		memcpy(copy, der, (size_t)n);
		*out = copy;
		*out_len = (size_t)n;
		err = CY_OK;
	}
out:
	OPENSSL_free(der);
	OCSP_REQUEST_free(req);
	ERR_clear_error();
	return err;
}

/* --- whose response it is --- */

/* 4.2.1: the responder is named by its name, or by the SHA-1 of its key. */
static bool is_responder(const OCSP_BASICRESP *bs, const X509 *x)
{
	const ASN1_OCTET_STRING *key_hash;
	const X509_NAME *name;
	const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(x);
	uint8_t sha1[SHA_DIGEST_LENGTH];

	if (OCSP_resp_get0_id(bs, &key_hash, &name) != 1)
		return false;
	if (name)
		return X509_NAME_cmp(name, X509_get_subject_name(x)) == 0;
	return key_hash && key && ASN1_STRING_length(key_hash) == sizeof(sha1) &&
	    EVP_Digest(key->data, (size_t)key->length, sha1, NULL, EVP_sha1(), NULL) == 1 &&
	    memcmp(ASN1_STRING_get0_data(key_hash), sha1, sizeof(sha1)) == 0;
}

static bool signed_with(const OCSP_BASICRESP *bs, EVP_PKEY *key)
{
	const X509_ALGOR *alg = OCSP_resp_get0_tbs_sigalg(bs);

	return key && !ossl_weak_signature(alg) &&
	    ASN1_item_verify(ASN1_ITEM_rptr(OCSP_RESPDATA), alg, OCSP_resp_get0_signature(bs),
	        OCSP_resp_get0_respdata(bs), key) == 1;
}

static bool valid_at(const X509 *x, int64_t now)
{
	int64_t from, to;

	return ossl_time(X509_get0_notBefore(x), &from) && ossl_time(X509_get0_notAfter(x), &to) &&
	    from <= now && now <= to;
}

/*
 * 4.2.2.2: a certificate that the issuer itself, with the key that signed the certificate in question, made for this purpose; a purpose
 * of "any" is not this one. Whether it is revoked in its turn is not asked, as if it had id-pkix-ocsp-nocheck (4.2.2.2.1):
 * the CA has to give it a short life.
 */
static bool is_delegate(X509 *x, struct cy_cert *issuer, int64_t now)
{
	uint32_t has = X509_get_extension_flags(x);
	const X509_ALGOR *alg;

	if ((has & (EXFLAG_INVALID | EXFLAG_CRITICAL)) || !(has & EXFLAG_XKUSAGE) ||
	    !(X509_get_extended_key_usage(x) & XKU_OCSP_SIGN))
		return false;
	/* RFC 5280, 4.2.1.12: what goes with this purpose */
	if ((has & EXFLAG_KUSAGE) && !(X509_get_key_usage(x) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)))
		return false;
	X509_get0_signature(NULL, &alg, x);
	return valid_at(x, now) &&
	    X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(ossl_cert_x509(issuer))) == 0 &&
	    !ossl_weak_signature(alg) && X509_verify(x, ossl_cert_key(issuer)) == 1;
}

static enum cy_err check_signature(
    const OCSP_BASICRESP *bs, struct cy_cert *issuer, int64_t now, const char **out_why)
{
	const STACK_OF(X509) *certs = OCSP_resp_get0_certs(bs);
	int tried = 0;

	if (is_responder(bs, ossl_cert_x509(issuer)) && signed_with(bs, ossl_cert_key(issuer)))
		return CY_OK;
	for (int i = 0; i < sk_X509_num(certs) && tried < MAX_TRIED; i++) {
		X509 *x = sk_X509_value(certs, i);

		if (!is_responder(bs, x))
			continue;
		tried++;
		if (is_delegate(x, issuer, now) && signed_with(bs, X509_get0_pubkey(x)))
			return CY_OK;
	}
	return ossl_fail(CY_E_AUTH, out_why,
	    "it is signed neither by the issuer of the certificate nor by a responder of that one");
}

/* --- what it says --- */

/*
 * Without one in the response it is one made beforehand, and its times decide; who sent none has nothing to compare one with
 * (RFC 6960, 4.4.1; RFC 5019, 4).
 */
static enum cy_err check_nonce(OCSP_BASICRESP *bs, struct cy_slice nonce, const char **out_why)
{
	int at = OCSP_BASICRESP_get_ext_by_NID(bs, NID_id_pkix_OCSP_Nonce, -1);
	ASN1_OCTET_STRING *value, *got;
	const uint8_t *p;
	bool same;

	if (at < 0 || nonce.n == 0)
		return CY_OK;
	value = X509_EXTENSION_get_data(OCSP_BASICRESP_get_ext(bs, at));
	p = ASN1_STRING_get0_data(value);
	got = d2i_ASN1_OCTET_STRING(NULL, &p, ASN1_STRING_length(value));
	same = got && cy_slice_eq(ossl_string(got), nonce) &&
	    OCSP_BASICRESP_get_ext_by_NID(bs, NID_id_pkix_OCSP_Nonce, at) < 0;
	ASN1_OCTET_STRING_free(got);
	return same ? CY_OK : ossl_fail(CY_E_AUTH, out_why, "it is the answer to another request (nonce)");
}

/* RFC 6960, 4.4: none of them should be critical; one that is, but for the nonce, wants something that nobody here knows. */
static bool has_critical(OCSP_BASICRESP *bs, OCSP_SINGLERESP *one)
{
	for (int i = -1; (i = OCSP_BASICRESP_get_ext_by_critical(bs, 1, i)) >= 0;)
		if (OBJ_obj2nid(X509_EXTENSION_get_object(OCSP_BASICRESP_get_ext(bs, i))) !=
		    NID_id_pkix_OCSP_Nonce)
			return true;
	return OCSP_SINGLERESP_get_ext_by_critical(one, 1, -1) >= 0;
}

/* What is said of the certificate, which the responder may name with the hash that it likes; that it is revoked counts first. */
static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *bs, const X509 *cert, const X509 *issuer)
{
	const EVP_MD *hashes[] = {EVP_sha1(), EVP_sha256()};
	OCSP_SINGLERESP *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
		OCSP_CERTID *id = OCSP_cert_to_id(hashes[i], cert, issuer);

		for (int at = -1; id && (at = OCSP_resp_find(bs, id, at)) >= 0;) {
			OCSP_SINGLERESP *one = OCSP_resp_get0(bs, at);

			if (!found ||
			    OCSP_single_get0_status(one, NULL, NULL, NULL, NULL) == V_OCSP_CERTSTATUS_REVOKED)
				found = one;
		}
		OCSP_CERTID_free(id);
	}
	return found;
}

static enum cy_err read_single(OCSP_SINGLERESP *one, struct cy_revocation_info *out, const char **out_why)
{
	ASN1_GENERALIZEDTIME *at = NULL, *this_update = NULL, *next_update = NULL;
	struct cy_revocation_info info = {.size = sizeof(info)};
	int reason = -1;

	switch (OCSP_single_get0_status(one, &reason, &at, &this_update, &next_update)) {
	case V_OCSP_CERTSTATUS_GOOD:
		info.status = CY_REVOCATION_GOOD;
		break;
	case V_OCSP_CERTSTATUS_REVOKED:
		info.status = CY_REVOCATION_REVOKED;
		info.reason = reason > 0 ? (uint32_t)reason : 0;
		break;
	default:
		info.status = CY_REVOCATION_UNKNOWN;
	}
	if (!this_update || !ossl_time(this_update, &info.this_update) ||
	    (next_update && !ossl_time(next_update, &info.next_update)) ||
	    (info.status == CY_REVOCATION_REVOKED && (!at || !ossl_time(at, &info.revoked_at))))
		return ossl_fail(CY_E_PARSE, out_why, "its times are malformed");
	*out = info;
	return CY_OK;
}

/* 2.3: an answer other than "successful" says nothing of a certificate. */
static const char *refusal(int status)
{
	switch (status) {
	case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
		return "the responder calls the request malformed";
	case OCSP_RESPONSE_STATUS_INTERNALERROR:
		return "the responder has an internal error";
	case OCSP_RESPONSE_STATUS_TRYLATER:
		return "the responder asks to try later";
	case OCSP_RESPONSE_STATUS_SIGREQUIRED:
		return "the responder wants signed requests";
	case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
		return "the responder does not answer for this certificate, or not to us";
	default:
		return "the responder answers with a status that is not known";
	}
}

static enum cy_err decode(struct cy_slice response, OCSP_BASICRESP **out, const char **out_why)
{
	const uint8_t *p = response.p;
	OCSP_RESPONSE *resp =
	    response.n && response.n <= INT_MAX ? d2i_OCSP_RESPONSE(NULL, &p, (long)response.n) : NULL;
	enum cy_err err = CY_OK;

	if (!resp || p != response.p + response.n)
		err = ossl_fail(CY_E_PARSE, out_why, "it is no OCSP response");
	else if (OCSP_response_status(resp) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		err = ossl_fail(CY_E_PARSE, out_why, refusal(OCSP_response_status(resp)));
	else if (!(*out = OCSP_response_get1_basic(resp)))
		err = ossl_fail(CY_E_PARSE, out_why, "it is no basic OCSP response");
	OCSP_RESPONSE_free(resp);
	return err;
}

enum cy_err ossl_ocsp_look(struct cy_slice response, struct cy_cert *cert, struct cy_cert *issuer,
    struct cy_slice nonce, int64_t now, struct cy_revocation_info *out, const char **out_why)
{
	OCSP_BASICRESP *bs = NULL;
	OCSP_SINGLERESP *one;
	enum cy_err err = decode(response, &bs, out_why);

	if (err == CY_OK)
		err = check_signature(bs, issuer, now, out_why);
	if (err == CY_OK)
		err = check_nonce(bs, nonce, out_why);
	if (err == CY_OK) {
		one = find_single(bs, ossl_cert_x509(cert), ossl_cert_x509(issuer));
		if (!one)
			err = ossl_fail(CY_E_PARSE, out_why, "it says nothing of this certificate");
		else if (has_critical(bs, one))
			err = ossl_fail(
			    CY_E_PARSE, out_why, "it has a critical extension that is not understood");
		else
			err = read_single(one, out, out_why);
	}
	OCSP_BASICRESP_free(bs);
	ERR_clear_error();
	return err;
}
