/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRLs (RFC 5280, 5), decoded once into struct cy_crl_info. OpenSSL has some objects for each entry, 200 to 400 bytes; they are let go
 * once the entries are in a table. What stays is twice the CRL, and for each entry its serial number and 16 bytes.
 */

#include <limits.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "ossl.h"
#include "pki.h"

#define MAX_POINTS 32

struct entry {
	uint32_t at; /* of its serial number, in cy_crl.serials */
	uint16_t len, reason;
	int64_t revoked_at;
};

struct cy_crl {
	atomic_uint refs;
	X509_CRL *x; /* without entries, but with the bytes that were signed */
	struct entry *
	    entries; /* sorted by length and bytes of the number; without a sign, as in cy_cert_info.serial */
	uint8_t *serials;
	struct cy_crl_info info;
	uint8_t *der;
	char *issuer;
	ASN1_INTEGER *number;
	char *points[MAX_POINTS];
};

static void crl_free(struct cy_crl *c)
{
	X509_CRL_free(c->x);
	ASN1_INTEGER_free(c->number);
	for (size_t i = 0; i < c->info.n_points; i++)
		free(c->points[i]);
	free(c->entries);
	free(c->serials);
	free(c->issuer);
	free(c->der);
	free(c);
}

/* As X509_get_ext_d2i(); false: it is there, but malformed or twice (RFC 5280, 4.2). */
static bool get_ext(const X509_CRL *x, int nid, void **out)
{
	int critical;

	*out = X509_CRL_get_ext_d2i(x, nid, &critical, NULL);
	return *out || critical == -1;
}

static bool read_number(struct cy_crl *c)
{
	void *ext;

	if (!get_ext(c->x, NID_crl_number, &ext))
		return false;
	c->number = ext;
	c->info.number = ossl_string(c->number);
	return true;
}

static bool read_delta(struct cy_crl *c)
{
	void *base;

	if (!get_ext(c->x, NID_delta_crl, &base))
		return false;
	if (base)
		c->info.flags |= CY_CRL_DELTA;
	ASN1_INTEGER_free(base);
	return true;
}

static bool add_point(struct cy_crl *c, const ASN1_IA5STRING *uri)
{
	struct cy_slice t = ossl_string(uri);

	if (!ossl_is_text(uri) || c->info.n_points == MAX_POINTS)
		return true;
	c->points[c->info.n_points] = ossl_text_dup(t.p, t.n);
	return c->points[c->info.n_points] && ++c->info.n_points;
}

/* 6.3.3 (b)(2)(i): only for certificates that have one of these names. One with no name that is a URI is for none we can tell. */
static bool read_points(struct cy_crl *c, const DIST_POINT_NAME *name)
{
	bool ok = true;

	c->info.flags |= CY_CRL_POINTS;
	for (int i = 0; ok && name->type == 0 && i < sk_GENERAL_NAME_num(name->name.fullname); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(name->name.fullname, i);

		if (g->type == GEN_URI)
			ok = add_point(c, g->d.uniformResourceIdentifier);
	}
	c->info.points = (const char *const *)c->points;
	return ok;
}

/* 5.2.5. What is only for some reasons says of no certificate that it is good; what is of attribute certificates, nothing at all. */
static bool read_scope(struct cy_crl *c)
{
	ISSUING_DIST_POINT *idp;
	void *ext;
	bool ok = get_ext(c->x, NID_issuing_distribution_point, &ext);

	idp = ext;
	if (!ok || !idp)
		return ok;
	if (idp->onlyuser > 0)
		c->info.flags |= CY_CRL_ONLY_EE;
	if (idp->onlyCA > 0)
		c->info.flags |= CY_CRL_ONLY_CA;
	if (idp->indirectCRL > 0)
		c->info.flags |= CY_CRL_INDIRECT;
	if (idp->onlyattr > 0 || idp->onlysomereasons || (idp->onlyuser > 0 && idp->onlyCA > 0))
		c->info.flags |= CY_CRL_CRITICAL;
	if (idp->distpoint)
		ok = read_points(c, idp->distpoint);
	ISSUING_DIST_POINT_free(idp);
	return ok;
}

/* Those of the list that are understood here. */
static bool list_ext_is_known(int nid)
{
	return nid == NID_issuing_distribution_point || nid == NID_delta_crl || nid == NID_crl_number ||
	    nid == NID_authority_key_identifier;
}

static int compare(struct cy_slice a, struct cy_slice b)
{
	return a.n != b.n ? (a.n < b.n ? -1 : 1) : memcmp(a.p, b.p, a.n);
}

static struct cy_slice serial_of(const struct cy_crl *c, const struct entry *e)
{
	return cy_slice(c->serials + e->at, e->len);
}

static int compare_entries(const void *a, const void *b, void *crl)
{
	return compare(serial_of(crl, a), serial_of(crl, b));
}

static uint16_t reason_of(const X509_REVOKED *r)
{
	ASN1_ENUMERATED *e = X509_REVOKED_get_ext_d2i(r, NID_crl_reason, NULL, NULL);
	long reason = e ? ASN1_ENUMERATED_get(e) : 0;

	ASN1_ENUMERATED_free(e);
	return reason > 0 && reason <= UINT16_MAX ? (uint16_t)reason : 0;
}

/* 5.3: the same for a critical extension of any entry. A certificate issuer (5.3.3) is that of an indirect CRL. */
static void look_at_extensions(struct cy_crl *c, const X509_REVOKED *r)
{
	const STACK_OF(X509_EXTENSION) *exts = X509_REVOKED_get0_extensions(r);

	for (int k = 0; exts && k < sk_X509_EXTENSION_num(exts); k++) {
		X509_EXTENSION *e = sk_X509_EXTENSION_value(exts, k);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));

		if (nid == NID_certificate_issuer)
			c->info.flags |= CY_CRL_INDIRECT;
		else if (X509_EXTENSION_get_critical(e) && nid != NID_crl_reason)
			c->info.flags |= CY_CRL_CRITICAL;
	}
}

static bool read_entry(struct cy_crl *c, struct entry *e, uint32_t at, const X509_REVOKED *r)
{
	struct cy_slice serial = ossl_string(X509_REVOKED_get0_serialNumber(r));

	if (serial.n == 0 || serial.n > UINT16_MAX ||
	    !ossl_time(X509_REVOKED_get0_revocationDate(r), &e->revoked_at))
		return false;
	e->at = at;
	e->len = (uint16_t)serial.n;
	e->reason = reason_of(r);
	memcpy(c->serials + at, serial.p, serial.n);
	look_at_extensions(c, r);
	return true;
}

static enum cy_err read_entries(struct cy_crl *c)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(c->x);
	size_t n = all && sk_X509_REVOKED_num(all) > 0 ? (size_t)sk_X509_REVOKED_num(all) : 0;
	uint8_t *smaller;
	uint32_t at = 0;
	X509_REVOKED *r;

	if (n == 0)
		return CY_OK;
	c->entries = calloc(n, sizeof(*c->entries));
	c->serials = malloc(c->info.der.n); /* in which they all are */
	if (!c->entries || !c->serials)
		return CY_E_NOMEM;
	while ((r = sk_X509_REVOKED_pop(all))) {
		bool ok = read_entry(c, &c->entries[c->info.n_revoked], at, r);

		X509_REVOKED_free(r);
		if (!ok)
			return CY_E_PARSE;
		at += c->entries[c->info.n_revoked++].len;
	}
	qsort_r(c->entries, n, sizeof(*c->entries), compare_entries, c);
	smaller = realloc(c->serials, at);
	c->serials = smaller ? smaller : c->serials;
	return CY_OK;
}

static bool read_extensions(struct cy_crl *c)
{
	for (int i = 0; i < X509_CRL_get_ext_count(c->x); i++) {
		X509_EXTENSION *e = X509_CRL_get_ext(c->x, i);

		if (X509_EXTENSION_get_critical(e) &&
		    !list_ext_is_known(OBJ_obj2nid(X509_EXTENSION_get_object(e))))
			c->info.flags |= CY_CRL_CRITICAL;
	}
	return read_number(c) && read_delta(c) && read_scope(c);
}

static enum cy_err read_all(struct cy_crl *c, const char **out_why)
{
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(c->x);
	enum cy_err err;

	if (!ossl_time(X509_CRL_get0_lastUpdate(c->x), &c->info.this_update) ||
	    (next && !ossl_time(next, &c->info.next_update)))
		return ossl_fail(CY_E_PARSE, out_why, "its times are malformed");
	if (!read_extensions(c))
		return ossl_fail(CY_E_PARSE, out_why, "one of its extensions is malformed");
	err = read_entries(c);
	if (err != CY_OK)
		return ossl_fail(err, out_why, "one of its entries is malformed");
	if (!ossl_name_slice(X509_CRL_get_issuer(c->x), &c->info.issuer_der))
		return ossl_fail(CY_E_PARSE, out_why, "its issuer is malformed");
	c->issuer = ossl_name_text(X509_CRL_get_issuer(c->x));
	if (!c->issuer)
		return CY_E_NOMEM;
	c->info.issuer = c->issuer;
	return CY_OK;
}

/* The DER in PEM; NULL: there is none. */
static uint8_t *from_pem(struct cy_slice data, long *out_n)
{
	BIO *bio = BIO_new_mem_buf(data.p, (int)data.n);
	uint8_t *der = NULL;

	if (bio && PEM_bytes_read_bio(&der, out_n, NULL, PEM_STRING_X509_CRL, bio, NULL, NULL) != 1)
		der = NULL;
	BIO_free(bio);
	return der;
}

static enum cy_err load_der(struct cy_slice der, struct cy_crl **out, const char **out_why)
{
	struct cy_crl *c = calloc(1, sizeof(*c));
	const uint8_t *p = der.p;
	enum cy_err err;

	if (!c)
		return CY_E_NOMEM;
	atomic_init(&c->refs, 1);
	c->x = d2i_X509_CRL(NULL, &p, (long)der.n);
	c->der = malloc(der.n);
	if (!c->x || p != der.p + der.n) {
		err = ossl_fail(CY_E_PARSE, out_why, "it is not a CRL in DER");
	} else if (!c->der) {
		err = CY_E_NOMEM;
	} else {
		memcpy(c->der, der.p, der.n);
		c->info.der = cy_slice(c->der, der.n);
		err = read_all(c, out_why);
	}
	if (err == CY_OK)
		*out = c;
	else
		crl_free(c);
	return err;
}

enum cy_err ossl_crl_load(struct cy_slice data, struct cy_crl **out, const char **out_why)
{
	enum cy_err err;
	uint8_t *der;
	long n;

	if (data.n == 0 || data.n > INT_MAX)
		return ossl_fail(CY_E_PARSE, out_why, "it is empty");
	if (data.p[0] != 0x30 && ossl_is_pem(data)) {
		der = from_pem(data, &n);
		if (!der)
			return ossl_fail(CY_E_PARSE, out_why, "there is no CRL in its PEM");
		err = load_der(cy_slice(der, (size_t)n), out, out_why);
		OPENSSL_free(der);
	} else {
		err = load_der(data, out, out_why);
	}
	ERR_clear_error();
	return err;
}

struct cy_crl *ossl_crl_ref(struct cy_crl *crl)
{
	atomic_fetch_add_explicit(&crl->refs, 1, memory_order_relaxed);
	return crl;
}

void ossl_crl_unref(struct cy_crl *crl)
{
	if (crl && atomic_fetch_sub_explicit(&crl->refs, 1, memory_order_acq_rel) == 1)
		crl_free(crl);
}

const struct cy_crl_info *ossl_crl_info(const struct cy_crl *crl)
{
	return &crl->info;
}

/* --- who signed it --- */

/* RFC 4055, 3.1: in the parameters, and SHA-1 when they do not say */
static int pss_hash(const X509_ALGOR *alg)
{
	const ASN1_OBJECT *oid;
	const void *value;
	RSA_PSS_PARAMS *pss = NULL;
	int type, hash = NID_sha1;

	X509_ALGOR_get0(NULL, &type, &value, alg);
	if (type == V_ASN1_SEQUENCE)
		pss = ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS));
	if (pss && pss->hashAlgorithm) {
		X509_ALGOR_get0(&oid, NULL, NULL, pss->hashAlgorithm);
		hash = OBJ_obj2nid(oid);
	}
	RSA_PSS_PARAMS_free(pss);
	return hash;
}

bool ossl_weak_signature(const X509_ALGOR *alg)
{
	const ASN1_OBJECT *oid;
	int hash = NID_undef;

	X509_ALGOR_get0(&oid, NULL, NULL, alg);
	if (OBJ_obj2nid(oid) == NID_rsassaPss)
		hash = pss_hash(alg);
	else if (OBJ_find_sigid_algs(OBJ_obj2nid(oid), &hash, NULL) != 1)
		return true;
	return hash == NID_md5 || hash == NID_md4 || hash == NID_md2 || hash == NID_md5_sha1;
}

enum cy_err ossl_crl_signed_by(struct cy_crl *crl, struct cy_cert *issuer)
{
	const X509_ALGOR *alg;
	bool ok;

	X509_CRL_get0_signature(crl->x, NULL, &alg);
	/* it looks that the algorithm is said twice and the same (5.1.1.2) */
	ok = !ossl_weak_signature(alg) && X509_CRL_verify(crl->x, ossl_cert_key(issuer)) == 1;
	ERR_clear_error();
	return ok ? CY_OK : CY_E_AUTH;
}

/* --- who is on it --- */

static const struct entry *find(const struct cy_crl *c, struct cy_slice serial)
{
	size_t lo = 0, hi = c->info.n_revoked;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = compare(serial, serial_of(c, &c->entries[mid]));

		if (order == 0)
			return &c->entries[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/*
 * On a complete list all are revoked, also who is held (certificateHold), and whoever has the reason removeFromCRL, which means
 * something in a delta CRL alone (5.3.1). A CA that has numbers below zero, which 4.1.2.2 forbids, does not get by with that.
 */
enum cy_err ossl_crl_look(struct cy_crl *crl, struct cy_slice serial, struct cy_revocation_info *out)
{
	const struct entry *e;

	if (serial.n == 0)
		return CY_E_INVAL;
	e = find(crl, serial);
	*out = (struct cy_revocation_info){
	    .size = sizeof(*out),
	    .status = e ? CY_REVOCATION_REVOKED : CY_REVOCATION_GOOD,
	    .reason = e ? e->reason : 0,
	    .revoked_at = e ? e->revoked_at : 0,
	    .this_update = crl->info.this_update,
	    .next_update = crl->info.next_update,
	};
	return CY_OK;
}
