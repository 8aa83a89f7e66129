/* SPDX-License-Identifier: Apache-2.0 */
/* X.509 certificates (RFC 5280), decoded once into struct cy_cert_info. */

#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ossl.h"
#include "pki.h"

#define MAX_SANS 256
#define MAX_URIS 32

struct cy_cert {
	atomic_uint refs;
	X509 *x;
	bool quick; /* x is of quick.c: no CA's, and not self-issued */
	bool plain; /* nothing in it is about a path */
	struct cy_pubkey *key;
	struct cy_cert_info info;
	uint8_t *der;
	char *subject, *issuer;
	GENERAL_NAMES *names; /* what sans point into */
	struct cy_san *sans;
	char *crl_uris[MAX_URIS], *ocsp_uris[MAX_URIS];
};

static void cert_free(struct cy_cert *c)
{
	ossl_pubkey_unref(c->key);
	X509_free(c->x);
	GENERAL_NAMES_free(c->names);
	free(c->sans);
	free(c->subject);
	free(c->issuer);
	free(c->der);
	for (size_t i = 0; i < MAX_URIS; i++) {
		free(c->crl_uris[i]);
		free(c->ocsp_uris[i]);
	}
	free(c);
}

struct cy_slice ossl_string(const ASN1_STRING *s)
{
	return s ? cy_slice(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)) : cy_slice(NULL, 0);
}

bool ossl_name_slice(const X509_NAME *name, struct cy_slice *out)
{
	const uint8_t *p;
	size_t n;

	if (X509_NAME_get0_der(name, &p, &n) != 1)
		return false;
	*out = cy_slice(p, n);
	return true;
}

/* Text of a GeneralName. With a NUL in it, it would be another name for those who stop there: not a name at all. */
bool ossl_is_text(const ASN1_STRING *s)
{
	struct cy_slice t = ossl_string(s);

	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] < 0x20 || t.p[i] >= 0x7f)
			return false;
	return t.n > 0;
}

static bool san_of(const GENERAL_NAME *g, struct cy_san *out)
{
	switch (g->type) {
	case GEN_DNS:
		*out = (struct cy_san){CY_SAN_DNS, ossl_string(g->d.dNSName)};
		return ossl_is_text(g->d.dNSName);
	case GEN_EMAIL:
		*out = (struct cy_san){CY_SAN_EMAIL, ossl_string(g->d.rfc822Name)};
		return ossl_is_text(g->d.rfc822Name);
	case GEN_URI:
		*out = (struct cy_san){CY_SAN_URI, ossl_string(g->d.uniformResourceIdentifier)};
		return ossl_is_text(g->d.uniformResourceIdentifier);
	case GEN_IPADD:
		*out = (struct cy_san){CY_SAN_IP, ossl_string(g->d.iPAddress)};
		return out->value.n == 4 || out->value.n == 16;
	case GEN_DIRNAME:
		out->type = CY_SAN_DN;
		return ossl_name_slice(g->d.directoryName, &out->value);
	default:
		return false;
	}
}

/* *out NULL: no such extension. False: it is there, but malformed or twice (RFC 5280, 4.2). */
static bool get_ext(const X509 *x, int nid, void **out)
{
	int critical;

	*out = X509_get_ext_d2i(x, nid, &critical, NULL);
	return *out || critical == -1;
}

static bool read_sans(struct cy_cert *c)
{
	void *names;
	int n;

	if (!get_ext(c->x, NID_subject_alt_name, &names))
		return false;
	c->names = names;
	n = c->names ? sk_GENERAL_NAME_num(c->names) : 0;
	if (n <= 0)
		return true;
	if (n > MAX_SANS)
		return false;
	c->sans = calloc((size_t)n, sizeof(*c->sans));
	if (!c->sans)
		return false;
	for (int i = 0; i < n; i++)
		if (san_of(sk_GENERAL_NAME_value(c->names, i), &c->sans[c->info.n_sans]))
			c->info.n_sans++;
	c->info.sans = c->sans;
	return true;
}

static bool add_uri(char **uris, size_t *n, const GENERAL_NAME *g)
{
	struct cy_slice t;

	if (g->type != GEN_URI || !ossl_is_text(g->d.uniformResourceIdentifier) || *n == MAX_URIS)
		return true;
	t = ossl_string(g->d.uniformResourceIdentifier);
	uris[*n] = ossl_text_dup(t.p, t.n);
	return uris[*n] && ++*n;
}

static bool read_crl_uris(struct cy_cert *c)
{
	CRL_DIST_POINTS *points;
	void *ext;
	bool ok = get_ext(c->x, NID_crl_distribution_points, &ext);

	points = ext;
	for (int i = 0; points && ok && i < sk_DIST_POINT_num(points); i++) {
		const DIST_POINT *p = sk_DIST_POINT_value(points, i);

		if (!p->distpoint || p->distpoint->type != 0)
			continue;
		for (int k = 0; ok && k < sk_GENERAL_NAME_num(p->distpoint->name.fullname); k++)
			ok = add_uri(c->crl_uris, &c->info.n_crl_uris,
			    sk_GENERAL_NAME_value(p->distpoint->name.fullname, k));
	}
	CRL_DIST_POINTS_free(points);
	c->info.crl_uris = (const char *const *)c->crl_uris;
	return ok;
}

static bool read_ocsp_uris(struct cy_cert *c)
{
	AUTHORITY_INFO_ACCESS *access;
	void *ext;
	bool ok = get_ext(c->x, NID_info_access, &ext);

	access = ext;
	for (int i = 0; access && ok && i < sk_ACCESS_DESCRIPTION_num(access); i++) {
		const ACCESS_DESCRIPTION *a = sk_ACCESS_DESCRIPTION_value(access, i);

		if (OBJ_obj2nid(a->method) == NID_ad_OCSP)
			ok = add_uri(c->ocsp_uris, &c->info.n_ocsp_uris, a->location);
	}
	AUTHORITY_INFO_ACCESS_free(access);
	c->info.ocsp_uris = (const char *const *)c->ocsp_uris;
	return ok;
}

static bool read_eku(struct cy_cert *c)
{
	static const struct {
		const char *oid;
		uint32_t flag;
	} purposes[] = {
	    {"1.3.6.1.5.5.7.3.1", CY_CERT_EKU_SERVER_AUTH},
	    {"1.3.6.1.5.5.7.3.2", CY_CERT_EKU_CLIENT_AUTH},
	    {"1.3.6.1.5.5.7.3.17", CY_CERT_EKU_IPSEC_IKE},
	    {"1.3.6.1.5.5.8.2.2", CY_CERT_EKU_IKE_INTERMEDIATE},
	    {"2.5.29.37.0", CY_CERT_EKU_ANY},
	};
	EXTENDED_KEY_USAGE *eku;
	void *ext;

	if (!get_ext(c->x, NID_ext_key_usage, &ext))
		return false;
	eku = ext;
	if (!eku)
		return true;
	c->info.flags |= CY_CERT_EKU_PRESENT;
	for (int i = 0; i < sk_ASN1_OBJECT_num(eku); i++) {
		char oid[64];

		(void)OBJ_obj2txt(oid, sizeof(oid), sk_ASN1_OBJECT_value(eku, i), 1);
		for (size_t k = 0; k < ARRAY_LEN(purposes); k++)
			if (strcmp(oid, purposes[k].oid) == 0)
				c->info.flags |= purposes[k].flag;
	}
	EXTENDED_KEY_USAGE_free(eku);
	return true;
}

/* Extensions that say nothing of other certificates, and that a path is not judged by: X509_check_issued() looks at the rest. */
static bool is_plain(const X509 *x)
{
	for (int i = 0; i < X509_get_ext_count(x); i++) {
		switch (OBJ_obj2nid(X509_EXTENSION_get_object(X509_get_ext(x, i)))) {
		case NID_basic_constraints:
		case NID_key_usage:
		case NID_ext_key_usage:
		case NID_subject_key_identifier:
		case NID_authority_key_identifier:
		case NID_subject_alt_name:
		case NID_issuer_alt_name:
		case NID_crl_distribution_points:
		case NID_info_access:
		case NID_netscape_comment:
			break;
		default:
			return false;
		}
	}
	return !(
	    X509_get_extension_flags((X509 *)x) & (EXFLAG_CRITICAL | EXFLAG_PROXY | EXFLAG_INVALID_POLICY));
}

static bool read_flags(struct cy_cert *c)
{
	uint32_t has = X509_get_extension_flags(c->x);
	uint32_t usage = X509_get_key_usage(c->x);

	/* EXFLAG_INVALID: some extension could not be decoded, or contradicts another */
	if (has & EXFLAG_INVALID)
		return false;
	if (has & EXFLAG_CA)
		c->info.flags |= CY_CERT_CA;
	if (has & EXFLAG_KUSAGE) {
		c->info.flags |= CY_CERT_KU_PRESENT;
		if (usage & KU_DIGITAL_SIGNATURE)
			c->info.flags |= CY_CERT_KU_DIGITAL_SIG;
		if (usage & KU_NON_REPUDIATION)
			c->info.flags |= CY_CERT_KU_NON_REPUDIATION;
		if (usage & KU_KEY_CERT_SIGN)
			c->info.flags |= CY_CERT_KU_CERT_SIGN;
		if (usage & KU_CRL_SIGN)
			c->info.flags |= CY_CERT_KU_CRL_SIGN;
	}
	if (!c->quick && X509_self_signed(c->x, 1) == 1)
		c->info.flags |= CY_CERT_SELF_SIGNED;
	c->plain = is_plain(c->x);
	c->info.path_len = has & EXFLAG_CA ? (int)X509_get_pathlen(c->x) : -1;
	return read_eku(c);
}

bool ossl_time(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = timegm(&tm);
	return true;
}

static enum cy_err read_key(struct cy_cert *c, EVP_PKEY *take, const char **out_why)
{
	X509_PUBKEY *pub = X509_get_X509_PUBKEY(c->x);
	uint8_t *spki = NULL;
	int n = i2d_X509_PUBKEY(pub, &spki);
	enum cy_err err;

	if (n <= 0) {
		EVP_PKEY_free(take);
		return ossl_fail(CY_E_PARSE, out_why, "its public key is malformed");
	}
	err = ossl_pubkey_of_x509(pub, take, cy_slice(spki, (size_t)n), &c->key, out_why);
	OPENSSL_free(spki);
	if (err != CY_OK)
		return err;
	c->info.spki = ossl_pubkey_spki(c->key);
	c->info.key = *ossl_pubkey_info(c->key);
	return CY_OK;
}

static enum cy_err read_all(struct cy_cert *c, EVP_PKEY *take, const char **out_why)
{
	enum cy_err err = read_key(c, take, out_why);

	if (err != CY_OK)
		return err;
	if (!ossl_time(X509_get0_notBefore(c->x), &c->info.not_before) ||
	    !ossl_time(X509_get0_notAfter(c->x), &c->info.not_after))
		return ossl_fail(CY_E_PARSE, out_why, "its validity is malformed");
	if (!read_flags(c) || !read_sans(c) || !read_crl_uris(c) || !read_ocsp_uris(c))
		return ossl_fail(CY_E_PARSE, out_why, "one of its extensions is malformed");
	if (!ossl_name_slice(X509_get_subject_name(c->x), &c->info.subject_der) ||
	    !ossl_name_slice(X509_get_issuer_name(c->x), &c->info.issuer_der))
		return ossl_fail(CY_E_PARSE, out_why, "its names are malformed");
	c->info.serial = ossl_string(X509_get0_serialNumber(c->x));
	c->info.subject_keyid = ossl_string(X509_get0_subject_key_id(c->x));
	c->info.authority_keyid = ossl_string(X509_get0_authority_key_id(c->x));
	c->subject = ossl_name_text(X509_get_subject_name(c->x));
	c->issuer = ossl_name_text(X509_get_issuer_name(c->x));
	if (!c->subject || !c->issuer)
		return CY_E_NOMEM;
	c->info.subject = c->subject;
	c->info.issuer = c->issuer;
	return CY_OK;
}

/* What issues certificates, itself or others, needs all that OpenSSL knows of one. */
static X509 *parse(struct cy_slice der, EVP_PKEY **out_key)
{
	const uint8_t *p = der.p;
	X509 *x = ossl_quick_x509(der);

	if (x && !(X509_get_extension_flags(x) & (EXFLAG_CA | EXFLAG_SI | EXFLAG_SS)))
		*out_key = ossl_quick_key(X509_get_X509_PUBKEY(x));
	if (*out_key)
		return x;
	X509_free(x);
	x = d2i_X509(NULL, &p, (long)der.n);
	if (x && p == der.p + der.n)
		return x;
	X509_free(x);
	return NULL;
}

enum cy_err ossl_cert_load(struct cy_slice der, struct cy_cert **out, const char **out_why)
{
	struct cy_cert *c;
	EVP_PKEY *key = NULL;
	enum cy_err err;

	if (der.n == 0 || der.n > INT_MAX)
		return ossl_fail(CY_E_PARSE, out_why, "it is empty");
	c = calloc(1, sizeof(*c));
	if (!c)
		return CY_E_NOMEM;
	atomic_init(&c->refs, 1);
	c->x = parse(der, &key);
	c->quick = key != NULL;
	c->der = malloc(der.n);
	if (!c->x) {
		err = ossl_fail(CY_E_PARSE, out_why, "it is not an X.509 certificate in DER");
	} else if (!c->der) {
		EVP_PKEY_free(key);
		err = CY_E_NOMEM;
	} else {
		memcpy(c->der, der.p, der.n);
		c->info.der = cy_slice(c->der, der.n);
		err = read_all(c, key, out_why);
	}
	if (err == CY_OK)
		*out = c;
	else
		cert_free(c);
	ERR_clear_error();
	return err;
}

struct cy_cert *ossl_cert_ref(struct cy_cert *cert)
{
	atomic_fetch_add_explicit(&cert->refs, 1, memory_order_relaxed);
	return cert;
}

void ossl_cert_unref(struct cy_cert *cert)
{
	if (cert && atomic_fetch_sub_explicit(&cert->refs, 1, memory_order_acq_rel) == 1)
		cert_free(cert);
}

const struct cy_cert_info *ossl_cert_info(const struct cy_cert *cert)
{
	return &cert->info;
}

struct cy_pubkey *ossl_cert_pubkey(struct cy_cert *cert)
{
	return cert->key;
}

X509 *ossl_cert_x509(const struct cy_cert *cert)
{
	return cert->x;
}

EVP_PKEY *ossl_cert_key(const struct cy_cert *cert)
{
	return cert->key->pkey;
}

/* The TBSCertificate, which is what was signed (RFC 5280, 4.1.1.3): the first thing in the certificate, which was parsed before. */
static bool signed_part(struct cy_slice der, struct cy_slice *out)
{
	const uint8_t *p = der.p, *begin;
	long n = 0;
	int tag, class;

	if (ASN1_get_object(&p, &n, &tag, &class, (long)der.n) & 0x80)
		return false;
	begin = p;
	if (ASN1_get_object(&p, &n, &tag, &class, n) & 0x80)
		return false;
	*out = cy_slice(begin, (size_t)(p + n - begin));
	return true;
}

/* X509_verify(), for a certificate of quick.c as well. */
static bool is_signed_by(const struct cy_cert *cert, EVP_PKEY *key)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	ASN1_STRING *tbs = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
	const ASN1_BIT_STRING *sig;
	const X509_ALGOR *alg;
	struct cy_slice in;
	bool ok = false;

	X509_get0_signature(&sig, &alg, cert->x);
	/* RFC 5280, 4.1.1.2: the algorithm is said twice, and the same */
	if (md && ctx && tbs && X509_ALGOR_cmp(alg, X509_get0_tbs_sigalg(cert->x)) == 0 &&
	    signed_part(cert->info.der, &in) && ASN1_STRING_set(tbs, in.p, (int)in.n) == 1) {
		EVP_MD_CTX_set_pkey_ctx(md, ctx);
		ok = ASN1_item_verify_ctx(ASN1_ITEM_rptr(ASN1_SEQUENCE), alg, sig, tbs, md) == 1;
	}
	ASN1_STRING_free(tbs);
	EVP_MD_CTX_free(md);
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

enum cy_err ossl_cert_signed_by(struct cy_cert *cert, struct cy_cert *issuer)
{
	int hash = NID_undef, bits;
	bool ok;

	/* whoever finds two contents with one MD5 can have his own CA: such a signature says nothing */
	ok = X509_get_signature_info(cert->x, &hash, NULL, &bits, NULL) == 1 && hash != NID_md5 &&
	    hash != NID_md4 && hash != NID_md2 && is_signed_by(cert, issuer->key->pkey);
	ERR_clear_error();
	return ok ? CY_OK : CY_E_AUTH;
}

struct path {
	STACK_OF(X509) * cert;
	time_t now;
	bool other; /* OpenSSL has found another one */
};

static bool in_time(X509_STORE_CTX *ctx, const X509 *x, time_t now)
{
	if (X509_cmp_time(X509_get0_notBefore(x), &now) >= 0)
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_NOT_YET_VALID);
	else if (X509_cmp_time(X509_get0_notAfter(x), &now) <= 0)
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_HAS_EXPIRED);
	else
		return true;
	return false;
}

/* In place of OpenSSL's check of times and signatures: the caller has checked the latter for this path. */
static int path_is_ours(X509_STORE_CTX *ctx)
{
	struct path *p = X509_STORE_CTX_get_app_data(ctx);
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
	int n = sk_X509_num(p->cert);

	p->other = sk_X509_num(chain) != n;
	for (int i = 0; i < n && !p->other; i++)
		p->other = X509_cmp(sk_X509_value(chain, i), sk_X509_value(p->cert, i)) != 0;
	for (int i = 0; i < n && !p->other; i++)
		if (!in_time(ctx, sk_X509_value(p->cert, i), p->now))
			return 0;
	return !p->other;
}

/* The path's certificates with their keys. */
static STACK_OF(X509) * complete(struct cy_cert *const *path, size_t n)
{
	STACK_OF(X509) *all = sk_X509_new_null();

	for (size_t i = 0; all && i < n; i++) {
		X509 *x = path[i]->x;

		if (path[i]->quick)
			x = d2i_X509(NULL, &(const uint8_t *){path[i]->der}, (long)path[i]->info.der.n);
		else
			X509_up_ref(x);
		if (!x || sk_X509_push(all, x) == 0) {
			X509_free(x);
			sk_X509_pop_free(all, X509_free);
			return NULL;
		}
	}
	return all;
}

/* All of RFC 5280, 6.1. The last certificate is trusted whether it is self-signed or not. */
static enum cy_err check(struct cy_cert *const *path, size_t n, int64_t now, const char **out_why)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *between = sk_X509_new_null();
	struct path p = {complete(path, n), (time_t)now, false};
	enum cy_err err = CY_E_NOMEM;

	if (!store || !ctx || !between || !p.cert ||
	    X509_STORE_add_cert(store, sk_X509_value(p.cert, (int)n - 1)) != 1)
		goto out;
	for (int i = 1; i + 1 < (int)n; i++)
		if (sk_X509_push(between, sk_X509_value(p.cert, i)) == 0)
			goto out;
	X509_STORE_set_verify(store, path_is_ours);
again:
	if (X509_STORE_CTX_init(ctx, store, sk_X509_value(p.cert, 0), between) != 1)
		goto out;
	X509_STORE_CTX_set_app_data(ctx, &p);
	X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_POLICY_CHECK);
	if (X509_verify_cert(ctx) == 1)
		err = CY_OK;
	else if (p.other) { /* nobody has checked that one */
		p.other = false;
		X509_STORE_set_verify(store, NULL);
		X509_STORE_CTX_cleanup(ctx);
		goto again;
	} else
		err = ossl_fail(
		    CY_E_AUTH, out_why, X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
out:
	sk_X509_pop_free(p.cert, X509_free);
	sk_X509_free(between);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return err;
}

/*
 * Where nothing in the path's certificates is about the path, the leaf is in order if its issuer is: OpenSSL is asked about
 * that one and whoever is above it, and needs no decoded key of the leaf.
 */
static bool leaf_is_plain(struct cy_cert *const *path, size_t n, int64_t now)
{
	const struct cy_cert_info *leaf = &path[0]->info;

	for (size_t i = 0; i < n; i++)
		if (!path[i]->plain)
			return false;
	return n > 1 && path[0]->quick && leaf->not_before <= now && now < leaf->not_after &&
	    X509_check_ca(path[1]->x) == 1 && X509_check_issued(path[1]->x, path[0]->x) == X509_V_OK;
}

/* Name constraints, policies, critical extensions that are not known: what X509_verify_cert() finds in this path and no other. */
enum cy_err ossl_path_check(struct cy_cert *const *path, size_t n, int64_t now, const char **out_why)
{
	enum cy_err err;

	if (n == 0)
		return ossl_fail(CY_E_INVAL, out_why, "there is no certificate");
	if (leaf_is_plain(path, n, now) && check(path + 1, n - 1, now, NULL) == CY_OK)
		err = CY_OK;
	else
		err = check(path, n, now, out_why);
	ERR_clear_error();
	return err;
}
