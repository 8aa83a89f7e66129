/* SPDX-License-Identifier: Apache-2.0 */
/* CRLs and OCSP, made here by OpenSSL as a CA would, good ones and bad ones. */

#include "config.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "pki.h"
#include "unit.h"

#define NOW  1767225600 /* 2026 */
#define DAY  86400
#define LONG 0x123456 /* a serial number */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Two CAs of one name, a certificate of the first, and who may sign OCSP responses for it. */
static struct ca {
	EVP_PKEY *key;
	X509 *x;
	struct cy_cert *cert;
} ca, twin, leaf, delegate;

static const struct cy_pki_ops *const pki = &ossl_pki;

static ASN1_TIME *at(int64_t t)
{
	ASN1_TIME *a = ASN1_TIME_set(NULL, (time_t)t);

	ck_assert_ptr_nonnull(a);
	return a;
}

static void set_times(X509 *x, int64_t from, int64_t to)
{
	ASN1_TIME *a = at(from), *b = at(to);

	ck_assert_int_eq(X509_set1_notBefore(x, a), 1);
	ck_assert_int_eq(X509_set1_notAfter(x, b), 1);
	ASN1_TIME_free(a);
	ASN1_TIME_free(b);
}

static void add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* usage, purpose: NULL without */
static X509 *make_cert(const char *name, EVP_PKEY *key, const struct ca *by, long serial, const char *basic,
    const char *usage, const char *purpose)
{
	X509 *x = X509_new();
	X509_NAME *n = X509_NAME_new();

	ck_assert(x && n);
	ck_assert_int_eq(
	    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0), 1);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
	X509_set_subject_name(x, n);
	X509_set_issuer_name(x, by->x ? X509_get_subject_name(by->x) : n);
	X509_set_pubkey(x, key);
	set_times(x, NOW - DAY, NOW + DAY);
	add_ext(x, by->x ? by->x : x, NID_basic_constraints, basic);
	if (usage)
		add_ext(x, by->x ? by->x : x, NID_key_usage, usage);
	if (purpose)
		add_ext(x, by->x ? by->x : x, NID_ext_key_usage, purpose);
	ck_assert_int_gt(X509_sign(x, by->key, EVP_sha256()), 0);
	X509_NAME_free(n);
	return x;
}

static struct cy_cert *load(X509 *x)
{
	struct cy_cert *cert;
	uint8_t *der = NULL;
	int n = i2d_X509(x, &der);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(pki->cert_load(cy_slice(der, (size_t)n), &cert, NULL), CY_OK);
	OPENSSL_free(der);
	return cert;
}

static void make(struct ca *c, const char *name, const struct ca *by, long serial, const char *basic,
    const char *usage, const char *purpose)
{
	c->key = EVP_EC_gen("P-256");
	ck_assert_ptr_nonnull(c->key);
	c->x = make_cert(name, c->key, by ? by : c, serial, basic, usage, purpose);
	c->cert = load(c->x);
}

static void drop(struct ca *c)
{
	pki->cert_unref(c->cert);
	X509_free(c->x);
	EVP_PKEY_free(c->key);
	memset(c, 0, sizeof(*c));
}

static void setup(void)
{
	make(&ca, "CA", NULL, 1, "critical,CA:TRUE", "critical,keyCertSign,cRLSign", NULL);
	make(&twin, "CA", NULL, 1, "critical,CA:TRUE", "critical,keyCertSign,cRLSign", NULL);
	make(&leaf, "moon", &ca, LONG, "CA:FALSE", "digitalSignature", NULL);
	make(&delegate, "responder", &ca, 7, "CA:FALSE", "digitalSignature", "OCSPSigning");
	ERR_clear_error();
}

static void teardown(void)
{
	/* whatever was done here, it left no error to others */
	ck_assert_uint_eq(ERR_peek_error(), 0);
	drop(&ca);
	drop(&twin);
	drop(&leaf);
	drop(&delegate);
}

/* --- CRLs ------------------------------------------------------------------------------------------------------------------- */

static X509_CRL *crl_new(bool next)
{
	X509_CRL *x = X509_CRL_new();
	ASN1_TIME *this_update = at(NOW - 100), *next_update = at(NOW + 100);

	X509_CRL_set_version(x, 1);
	X509_CRL_set_issuer_name(x, X509_get_subject_name(ca.x));
	X509_CRL_set1_lastUpdate(x, this_update);
	if (next)
		X509_CRL_set1_nextUpdate(x, next_update);
	ASN1_TIME_free(this_update);
	ASN1_TIME_free(next_update);
	return x;
}

/* reason -1: none is given */
static X509_REVOKED *revoke(X509_CRL *x, ASN1_INTEGER *take, int reason)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_ENUMERATED *e = ASN1_ENUMERATED_new();
	ASN1_TIME *t = at(NOW - 200);

	X509_REVOKED_set_serialNumber(r, take);
	X509_REVOKED_set_revocationDate(r, t);
	ASN1_ENUMERATED_set(e, reason);
	if (reason >= 0)
		ck_assert_int_eq(X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, e, 0, 0), 1);
	ck_assert_int_eq(X509_CRL_add0_revoked(x, r), 1);
	ASN1_ENUMERATED_free(e);
	ASN1_INTEGER_free(take);
	ASN1_TIME_free(t);
	return r;
}

static ASN1_INTEGER *number(long n)
{
	ASN1_INTEGER *i = ASN1_INTEGER_new();

	ck_assert_int_eq(ASN1_INTEGER_set(i, n), 1);
	return i;
}

static void crl_ext(X509_CRL *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, ca.x, NULL, NULL, x, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ck_assert_msg(e != NULL, "%s", value);
	ck_assert_int_eq(X509_CRL_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

static void crl_number(X509_CRL *x, int nid, long n, int critical)
{
	ASN1_INTEGER *i = number(n);

	ck_assert_int_eq(X509_CRL_add1_ext_i2d(x, nid, i, critical, 0), 1);
	ASN1_INTEGER_free(i);
}

static X509_EXTENSION *strange_ext(bool critical)
{
	ASN1_OBJECT *oid = OBJ_txt2obj("1.2.3.4.5", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(value, (const uint8_t *)"\x05", 2);
	e = X509_EXTENSION_create_by_OBJ(NULL, oid, critical, value);
	ck_assert_ptr_nonnull(e);
	ASN1_OBJECT_free(oid);
	ASN1_OCTET_STRING_free(value);
	return e;
}

/* Signs it and takes it. */
static struct cy_slice crl_der(X509_CRL *take, EVP_PKEY *key, const EVP_MD *md)
{
	static uint8_t *der;
	int n;

	ck_assert_int_gt(X509_CRL_sign(take, key, md), 0);
	OPENSSL_free(der);
	der = NULL;
	n = i2d_X509_CRL(take, &der);
	ck_assert_int_gt(n, 0);
	X509_CRL_free(take);
	ERR_clear_error();
	return cy_slice(der, (size_t)n);
}

static struct cy_crl *crl_load(struct cy_slice der)
{
	struct cy_crl *c = NULL;
	const char *why = "?";

	ck_assert_msg(pki->crl_load(der, &c, &why) == CY_OK, "%s", why);
	ck_assert_uint_eq(ERR_peek_error(), 0);
	return c;
}

static struct cy_crl *finish(X509_CRL *take)
{
	return crl_load(crl_der(take, ca.key, EVP_sha256()));
}

static void crl_says(struct cy_crl *c, struct cy_slice serial, uint32_t status, uint32_t reason)
{
	struct cy_revocation_info i;

	ck_assert_int_eq(pki->crl_look(c, serial, &i), CY_OK);
	ck_assert_uint_eq(i.size, sizeof(i));
	ck_assert_uint_eq(i.status, status);
	ck_assert_uint_eq(i.reason, reason);
	ck_assert_int_eq(i.revoked_at, status == CY_REVOCATION_REVOKED ? NOW - 200 : 0);
	ck_assert_int_eq(i.this_update, NOW - 100);
	ck_assert_int_eq(i.next_update, pki->crl_info(c)->next_update);
}

START_TEST(a_crl_is_decoded)
{
	const struct cy_crl_info *i;
	X509_CRL *x = crl_new(true);
	struct cy_crl *c;
	struct cy_slice der;

	(void)revoke(x, number(3), -1);
	(void)revoke(x, number(4), CRL_REASON_KEY_COMPROMISE);
	crl_ext(x, NID_authority_key_identifier, "issuer:always");
	crl_number(x, NID_crl_number, 0x1234, 0);
	der = crl_der(x, ca.key, EVP_sha256());
	c = crl_load(der);
	i = pki->crl_info(c);
	ck_assert(cy_slice_eq(i->der, der));
	ck_assert(cy_slice_eq(i->issuer_der, pki->cert_info(ca.cert)->subject_der));
	ck_assert_str_eq(i->issuer, "CN=CA");
	ck_assert(cy_slice_eq(i->number, cy_slice("\x12\x34", 2)));
	ck_assert_int_eq(i->this_update, NOW - 100);
	ck_assert_int_eq(i->next_update, NOW + 100);
	ck_assert_uint_eq(i->n_revoked, 2);
	ck_assert_uint_eq(i->flags, 0);
	ck_assert_uint_eq(i->n_points, 0);
	ck_assert_int_eq(pki->crl_signed_by(c, ca.cert), CY_OK);
	pki->crl_unref(pki->crl_ref(c));
	pki->crl_unref(c);
	/* one that will not be renewed, and revokes nothing */
	c = finish(crl_new(false));
	ck_assert_int_eq(pki->crl_info(c)->next_update, 0);
	ck_assert_uint_eq(pki->crl_info(c)->n_revoked, 0);
	ck_assert_uint_eq(pki->crl_info(c)->number.n, 0);
	crl_says(c, pki->cert_info(leaf.cert)->serial, CY_REVOCATION_GOOD, 0);
	pki->crl_unref(c);
}
END_TEST

START_TEST(who_is_on_it)
{
	static const uint8_t big[20] = {0x7f, [19] = 9};
	static const uint8_t minus[] = {5};
	ASN1_INTEGER *twenty = ASN1_INTEGER_new();
	X509_CRL *x = crl_new(true);
	struct cy_crl *c;

	ASN1_STRING_set(twenty, big, sizeof(big));
	(void)revoke(x, number(300), CRL_REASON_SUPERSEDED);
	(void)revoke(x, number(LONG), CRL_REASON_CERTIFICATE_HOLD);
	(void)revoke(x, twenty, CRL_REASON_CA_COMPROMISE);
	(void)revoke(x, number(7), CRL_REASON_REMOVE_FROM_CRL);
	(void)revoke(x, number(-5), -1);
	(void)revoke(x, number(0), 0);
	c = finish(x);
	ck_assert_uint_eq(pki->crl_info(c)->flags, 0);
	crl_says(c, cy_slice("\x01\x2c", 2), CY_REVOCATION_REVOKED, 4);
	crl_says(c, pki->cert_info(leaf.cert)->serial, CY_REVOCATION_REVOKED, 6);
	crl_says(c, cy_slice(big, sizeof(big)), CY_REVOCATION_REVOKED, 2);
	/* a list that is complete has nothing to remove */
	crl_says(c, pki->cert_info(delegate.cert)->serial, CY_REVOCATION_REVOKED, 8);
	crl_says(c, cy_slice(minus, 1), CY_REVOCATION_REVOKED, 0);
	crl_says(c, cy_slice("", 1), CY_REVOCATION_REVOKED, 0);
	crl_says(c, cy_slice("\x06", 1), CY_REVOCATION_GOOD, 0);
	crl_says(c, cy_slice(big, sizeof(big) - 1), CY_REVOCATION_GOOD, 0);
	ck_assert_int_eq(pki->crl_look(c, cy_slice(NULL, 0), &(struct cy_revocation_info){0}), CY_E_INVAL);
	pki->crl_unref(c);
}
END_TEST

START_TEST(crl_flags)
{
	static const struct {
		const char *scope;
		uint32_t flags;
	} cases[] = {
	    {"critical,onlyuser:TRUE", CY_CRL_ONLY_EE},
	    {"critical,onlyCA:TRUE", CY_CRL_ONLY_CA},
	    {"critical,onlyuser:TRUE,onlyCA:TRUE", CY_CRL_ONLY_EE | CY_CRL_ONLY_CA | CY_CRL_CRITICAL},
	    {"critical,onlyAA:TRUE", CY_CRL_CRITICAL},
	    {"critical,indirectCRL:TRUE", CY_CRL_INDIRECT},
	    {"critical,onlysomereasons:keyCompromise", CY_CRL_CRITICAL},
	    {"critical,fullname:URI:http://crl.example.org/a", CY_CRL_POINTS},
	    {"onlyCA:TRUE,fullname:URI:http://crl.example.org/a", CY_CRL_POINTS | CY_CRL_ONLY_CA},
	    {"critical,fullname:email:a@example.org", CY_CRL_POINTS},
	};
	struct cy_crl *c;
	X509_CRL *x;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct cy_crl_info *info;
		bool uri = strstr(cases[i].scope, "URI:") != NULL;

		x = crl_new(true);
		crl_ext(x, NID_issuing_distribution_point, cases[i].scope);
		c = finish(x);
		info = pki->crl_info(c);
		ck_assert_msg(info->flags == cases[i].flags, "%s: %x", cases[i].scope, info->flags);
		ck_assert_uint_eq(info->n_points, uri);
		if (uri)
			ck_assert_str_eq(info->points[0], "http://crl.example.org/a");
		pki->crl_unref(c);
	}
	x = crl_new(true);
	crl_number(x, NID_delta_crl, 7, 1);
	c = finish(x);
	ck_assert_uint_eq(pki->crl_info(c)->flags, CY_CRL_DELTA);
	pki->crl_unref(c);
}
END_TEST

static uint32_t flags_with(bool of_list, X509_EXTENSION *take)
{
	X509_CRL *x = crl_new(true);
	X509_REVOKED *r = revoke(x, number(4), 1);
	struct cy_crl *c;
	uint32_t flags;

	if (of_list)
		X509_CRL_add_ext(x, take, -1);
	else
		X509_REVOKED_add_ext(r, take, -1);
	X509_EXTENSION_free(take);
	c = finish(x);
	flags = pki->crl_info(c)->flags;
	pki->crl_unref(c);
	return flags;
}

START_TEST(crl_extensions_that_nobody_knows)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();

	ck_assert_uint_eq(flags_with(true, strange_ext(false)), 0);
	ck_assert_uint_eq(flags_with(true, strange_ext(true)), CY_CRL_CRITICAL);
	ck_assert_uint_eq(flags_with(false, strange_ext(false)), 0);
	ck_assert_uint_eq(flags_with(false, strange_ext(true)), CY_CRL_CRITICAL);
	/* an entry of another issuer, also where the list does not say that it has some */
	GENERAL_NAME_set0_value(name, GEN_DIRNAME, X509_NAME_dup(X509_get_subject_name(leaf.x)));
	sk_GENERAL_NAME_push(names, name);
	ck_assert_uint_eq(
	    flags_with(false, X509V3_EXT_i2d(NID_certificate_issuer, 1, names)), CY_CRL_INDIRECT);
	GENERAL_NAMES_free(names);
}
END_TEST

START_TEST(who_signed_a_crl)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	X509 *x = make_cert("CA", rsa, &(struct ca){.key = rsa}, 1, "critical,CA:TRUE", NULL, NULL);
	struct cy_cert *rsa_ca = load(x);
	struct cy_slice der;
	struct cy_crl *c;
	uint8_t copy[1024];

	ERR_clear_error();
	c = crl_load(crl_der(crl_new(true), twin.key, EVP_sha256()));
	ck_assert_int_eq(pki->crl_signed_by(c, ca.cert), CY_E_AUTH);
	ck_assert_int_eq(pki->crl_signed_by(c, twin.cert), CY_OK);
	ck_assert_int_eq(pki->crl_signed_by(c, rsa_ca), CY_E_AUTH);
	pki->crl_unref(c);
	c = crl_load(crl_der(crl_new(true), rsa, EVP_sha256()));
	ck_assert_int_eq(pki->crl_signed_by(c, rsa_ca), CY_OK);
	ck_assert_int_eq(pki->crl_signed_by(c, leaf.cert), CY_E_AUTH);
	pki->crl_unref(c);
	c = crl_load(crl_der(crl_new(true), rsa, EVP_md5()));
	ck_assert_int_eq(pki->crl_signed_by(c, rsa_ca), CY_E_AUTH);
	pki->crl_unref(c);
	/* whatever is altered, it is not signed any more */
	der = crl_der(crl_new(true), ca.key, EVP_sha256());
	ck_assert_uint_le(der.n, sizeof(copy));
	memcpy(copy, der.p, der.n);
	for (size_t i = 0; i < der.n; i++) {
		copy[i] ^= 0x11;
		if (pki->crl_load(cy_slice(copy, der.n), &c, NULL) == CY_OK) {
			ck_assert_msg(pki->crl_signed_by(c, ca.cert) == CY_E_AUTH, "byte %zu", i);
			pki->crl_unref(c);
		}
		ck_assert_uint_eq(ERR_peek_error(), 0);
		copy[i] ^= 0x11;
	}
	pki->cert_unref(rsa_ca);
	X509_free(x);
	EVP_PKEY_free(rsa);
}
END_TEST

static void is_no_crl(struct cy_slice data, const char *want)
{
	struct cy_crl *c = NULL;
	const char *why = "?";

	ck_assert_int_eq(pki->crl_load(data, &c, &why), CY_E_PARSE);
	ck_assert_ptr_null(c);
	ck_assert_msg(strstr(why, want) != NULL, "%s", why);
	ck_assert_uint_eq(ERR_peek_error(), 0);
}

START_TEST(what_is_no_crl)
{
	X509_CRL *x = crl_new(true);
	struct cy_slice der;
	uint8_t copy[1024];

	(void)revoke(x, number(4), 1);
	der = crl_der(x, ca.key, EVP_sha256());
	memcpy(copy, der.p, der.n);
	copy[der.n] = 0;
	is_no_crl(cy_slice(copy, der.n + 1), "not a CRL");
	for (size_t n = 0; n < der.n; n++)
		is_no_crl(cy_slice(copy, n), n ? "not a CRL" : "empty");
	is_no_crl(pki->cert_info(ca.cert)->der, "not a CRL");
	is_no_crl(cy_slice_str("-----BEGIN X509 CRL-----\nMII\n-----END X509 CRL-----\n"), "PEM");
	is_no_crl(cy_slice_str("<html>404</html>"), "not a CRL");
	/* the same extension twice (RFC 5280, 4.2), and one with other contents than it should */
	x = crl_new(true);
	crl_ext(x, NID_issuing_distribution_point, "critical,onlyuser:TRUE");
	crl_ext(x, NID_issuing_distribution_point, "critical,onlyCA:TRUE");
	is_no_crl(crl_der(x, ca.key, EVP_sha256()), "extensions");
	x = crl_new(true);
	crl_ext(x, NID_issuing_distribution_point, "critical,DER:0500");
	is_no_crl(crl_der(x, ca.key, EVP_sha256()), "extensions");
}
END_TEST

START_TEST(a_crl_in_pem)
{
	struct cy_slice der = crl_der(crl_new(true), ca.key, EVP_sha256());
	BIO *bio = BIO_new(BIO_s_mem());
	struct cy_crl *c;
	char *text;
	long n;

	BIO_puts(bio, "some words\n");
	ck_assert_int_gt(PEM_write_bio(bio, PEM_STRING_X509_CRL, "", der.p, (long)der.n), 0);
	n = BIO_get_mem_data(bio, &text);
	c = crl_load(cy_slice(text, (size_t)n));
	ck_assert(cy_slice_eq(pki->crl_info(c)->der, der));
	ck_assert_int_eq(pki->crl_signed_by(c, ca.cert), CY_OK);
	pki->crl_unref(c);
	BIO_free(bio);
}
END_TEST

#define MANY 20000

static void *look_at_all(void *arg)
{
	struct cy_crl *c = arg;
	struct cy_revocation_info i;

	for (uint32_t n = 1; n <= 2 * MANY; n++) {
		const uint8_t serial[3] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
		size_t zeros = serial[0] ? 0 : serial[1] ? 1 : 2;

		EXPECT(pki->crl_look(c, cy_slice(serial + zeros, 3 - zeros), &i) == CY_OK);
		EXPECT(i.status == (n % 2 ? CY_REVOCATION_GOOD : CY_REVOCATION_REVOKED));
	}
	return NULL;
}

/* In no order, by several threads. */
START_TEST(a_long_crl)
{
	X509_CRL *x = crl_new(true);
	struct cy_crl *c;
	pthread_t t[3];

	for (long i = 0; i < MANY; i++)
		(void)revoke(x, number(2 * ((i * 7919) % MANY + 1)), 1);
	c = finish(x);
	ck_assert_uint_eq(pki->crl_info(c)->n_revoked, MANY);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, look_at_all, c), 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	pki->crl_unref(c);
}
END_TEST

/* --- OCSP ------------------------------------------------------------------------------------------------------------------- */

static const uint8_t nonce_bytes[32] = "0123456789abcdef0123456789abcde";
static const struct cy_slice nonce = {nonce_bytes, sizeof(nonce_bytes)}, no_nonce = {NULL, 0};

START_TEST(requests)
{
	OCSP_CERTID *want = OCSP_cert_to_id(EVP_sha1(), leaf.x, ca.x);
	OCSP_REQUEST *req;
	const uint8_t *p;
	uint8_t *der = NULL;
	size_t n = 0;
	int i;

	ck_assert_int_eq(pki->ocsp_request(leaf.cert, ca.cert, nonce, &der, &n), CY_OK);
	p = der;
	req = d2i_OCSP_REQUEST(NULL, &p, (long)n);
	ck_assert(req && p == der + n);
	ck_assert_int_eq(OCSP_request_onereq_count(req), 1);
	ck_assert_int_eq(OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(req, 0)), want), 0);
	i = OCSP_REQUEST_get_ext_by_NID(req, NID_id_pkix_OCSP_Nonce, -1);
	ck_assert_int_ge(i, 0);
	/* an OCTET STRING in the extension's own (RFC 8954, 2.1) */
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(OCSP_REQUEST_get_ext(req, i));
	ck_assert_int_eq(ASN1_STRING_length(value), 34);
	ck_assert_mem_eq(ASN1_STRING_get0_data(value), "\x04\x20", 2);
	ck_assert_mem_eq(ASN1_STRING_get0_data(value) + 2, nonce_bytes, 32);
	OCSP_REQUEST_free(req);
	free(der);
	ck_assert_int_eq(pki->ocsp_request(leaf.cert, ca.cert, no_nonce, &der, &n), CY_OK);
	p = der;
	req = d2i_OCSP_REQUEST(NULL, &p, (long)n);
	ck_assert_int_eq(OCSP_REQUEST_get_ext_count(req), 0);
	OCSP_REQUEST_free(req);
	free(der);
	der = NULL;
	ck_assert_int_eq(
	    pki->ocsp_request(leaf.cert, ca.cert, cy_slice(nonce_bytes, 33), &der, &n), CY_E_INVAL);
	ck_assert_ptr_null(der);
	OCSP_CERTID_free(want);
}
END_TEST

static OCSP_SINGLERESP *add_status(
    OCSP_BASICRESP *bs, const EVP_MD *md, X509 *cert, X509 *issuer, int status, int reason)
{
	OCSP_CERTID *id = OCSP_cert_to_id(md, cert, issuer);
	ASN1_TIME *revoked = at(NOW - 200), *from = at(NOW - 100), *to = at(NOW + 100);
	OCSP_SINGLERESP *one = OCSP_basic_add1_status(bs, id, status, reason, revoked, from, to);

	ck_assert_ptr_nonnull(one);
	ASN1_TIME_free(revoked);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	OCSP_CERTID_free(id);
	return one;
}

/* Signs it and takes it; the bytes live until the next one. */
static struct cy_slice response(OCSP_BASICRESP *take, X509 *signer, EVP_PKEY *key, unsigned long flags)
{
	static uint8_t *der;
	OCSP_RESPONSE *resp;
	int n;

	ck_assert_int_eq(OCSP_basic_sign(take, signer, key, EVP_sha256(), NULL, flags), 1);
	resp = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, take);
	OPENSSL_free(der);
	der = NULL;
	n = i2d_OCSP_RESPONSE(resp, &der);
	ck_assert_int_gt(n, 0);
	OCSP_RESPONSE_free(resp);
	OCSP_BASICRESP_free(take);
	ERR_clear_error();
	return cy_slice(der, (size_t)n);
}

static OCSP_BASICRESP *good(void)
{
	OCSP_BASICRESP *bs = OCSP_BASICRESP_new();

	(void)add_status(bs, EVP_sha1(), leaf.x, ca.x, V_OCSP_CERTSTATUS_GOOD, 0);
	return bs;
}

static void is_good(struct cy_slice resp)
{
	struct cy_revocation_info i;
	const char *why = "?";

	ck_assert_msg(pki->ocsp_look(resp, leaf.cert, ca.cert, nonce, NOW, &i, &why) == CY_OK, "%s", why);
	ck_assert_uint_eq(ERR_peek_error(), 0);
	ck_assert_uint_eq(i.size, sizeof(i));
	ck_assert_uint_eq(i.status, CY_REVOCATION_GOOD);
	ck_assert_int_eq(i.this_update, NOW - 100);
	ck_assert_int_eq(i.next_update, NOW + 100);
	ck_assert_int_eq(i.revoked_at, 0);
}

static void is_refused(struct cy_slice resp, enum cy_err err, const char *want)
{
	struct cy_revocation_info i = {.status = 99};
	const char *why = "?";
	enum cy_err e = pki->ocsp_look(resp, leaf.cert, ca.cert, nonce, NOW, &i, &why);

	ck_assert_msg(e == err && strstr(why, want), "%d %s", (int)e, why);
	ck_assert_uint_eq(i.status, 99);
	ck_assert_uint_eq(ERR_peek_error(), 0);
}

START_TEST(what_responses_say)
{
	struct cy_revocation_info i;
	OCSP_BASICRESP *bs;

	/* named by its name, and by its key */
	is_good(response(good(), ca.x, ca.key, 0));
	is_good(response(good(), ca.x, ca.key, OCSP_RESPID_KEY | OCSP_NOCERTS));
	bs = OCSP_BASICRESP_new();
	(void)add_status(bs, EVP_sha256(), leaf.x, ca.x, V_OCSP_CERTSTATUS_GOOD, 0);
	is_good(response(bs, ca.x, ca.key, 0));
	bs = OCSP_BASICRESP_new();
	(void)add_status(bs, EVP_sha1(), leaf.x, ca.x, V_OCSP_CERTSTATUS_REVOKED, 1);
	ck_assert_int_eq(
	    pki->ocsp_look(response(bs, ca.x, ca.key, 0), leaf.cert, ca.cert, nonce, NOW, &i, NULL), CY_OK);
	ck_assert_uint_eq(i.status, CY_REVOCATION_REVOKED);
	ck_assert_uint_eq(i.reason, 1);
	ck_assert_int_eq(i.revoked_at, NOW - 200);
	bs = OCSP_BASICRESP_new();
	(void)add_status(
	    bs, EVP_sha1(), leaf.x, ca.x, V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_NOSTATUS);
	ck_assert_int_eq(
	    pki->ocsp_look(response(bs, ca.x, ca.key, 0), leaf.cert, ca.cert, nonce, NOW, &i, NULL), CY_OK);
	ck_assert_uint_eq(i.status, CY_REVOCATION_REVOKED);
	ck_assert_uint_eq(i.reason, 0);
	bs = OCSP_BASICRESP_new();
	(void)add_status(bs, EVP_sha1(), leaf.x, ca.x, V_OCSP_CERTSTATUS_UNKNOWN, 0);
	ck_assert_int_eq(
	    pki->ocsp_look(response(bs, ca.x, ca.key, 0), leaf.cert, ca.cert, nonce, NOW, &i, NULL), CY_OK);
	ck_assert_uint_eq(i.status, CY_REVOCATION_UNKNOWN);
	/* of several that of this one, and the worst of two */
	bs = OCSP_BASICRESP_new();
	(void)add_status(bs, EVP_sha1(), delegate.x, ca.x, V_OCSP_CERTSTATUS_GOOD, 0);
	(void)add_status(bs, EVP_sha256(), leaf.x, ca.x, V_OCSP_CERTSTATUS_REVOKED, 1);
	(void)add_status(bs, EVP_sha1(), leaf.x, ca.x, V_OCSP_CERTSTATUS_GOOD, 0);
	ck_assert_int_eq(
	    pki->ocsp_look(response(bs, ca.x, ca.key, 0), leaf.cert, ca.cert, nonce, NOW, &i, NULL), CY_OK);
	ck_assert_uint_eq(i.status, CY_REVOCATION_REVOKED);
}
END_TEST

START_TEST(responses_of_others)
{
	static const char want[] = "signed neither";
	static const struct {
		const char *usage, *purpose;
		int64_t from, to;
		bool ok;
	} cases[] = {
	    {"digitalSignature", "OCSPSigning", NOW - DAY, NOW + DAY, true},
	    {NULL, "serverAuth,OCSPSigning", NOW - DAY, NOW + DAY, true},
	    {"nonRepudiation", "OCSPSigning", NOW - DAY, NOW + DAY, true},
	    {"keyEncipherment", "OCSPSigning", NOW - DAY, NOW + DAY, false},
	    {"digitalSignature", NULL, NOW - DAY, NOW + DAY, false},
	    {"digitalSignature", "serverAuth", NOW - DAY, NOW + DAY, false},
	    {"digitalSignature", "anyExtendedKeyUsage", NOW - DAY, NOW + DAY, false},
	    {"digitalSignature", "OCSPSigning", NOW - DAY, NOW - 1, false},
	    {"digitalSignature", "OCSPSigning", NOW + 1, NOW + DAY, false},
	};
	X509 *x;

	is_good(response(good(), delegate.x, delegate.key, 0));
	is_good(response(good(), delegate.x, delegate.key, OCSP_RESPID_KEY));
	is_refused(response(good(), delegate.x, delegate.key, OCSP_NOCERTS), CY_E_AUTH, want);
	is_refused(response(good(), leaf.x, leaf.key, 0), CY_E_AUTH, want);
	/* who has the name of the issuer, but not its key */
	is_refused(response(good(), twin.x, twin.key, 0), CY_E_AUTH, want);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		x = make_cert("r", delegate.key, &ca, 8, "CA:FALSE", cases[i].usage, cases[i].purpose);
		set_times(x, cases[i].from, cases[i].to);
		ck_assert_int_gt(X509_sign(x, ca.key, EVP_sha256()), 0);
		if (cases[i].ok)
			is_good(response(good(), x, delegate.key, 0));
		else
			is_refused(response(good(), x, delegate.key, 0), CY_E_AUTH, want);
		X509_free(x);
	}
	/* of the other CA, which only has the same name */
	x = make_cert("r", delegate.key, &twin, 8, "CA:FALSE", "digitalSignature", "OCSPSigning");
	is_refused(response(good(), x, delegate.key, 0), CY_E_AUTH, want);
	X509_free(x);
	/* one level too deep (RFC 6960, 4.2.2.2) */
	x = make_cert("r", delegate.key, &delegate, 8, "CA:FALSE", "digitalSignature", "OCSPSigning");
	is_refused(response(good(), x, delegate.key, 0), CY_E_AUTH, want);
	X509_free(x);
	/* with an extension that nobody knows and everybody must */
	x = make_cert("r", delegate.key, &ca, 8, "CA:FALSE", "digitalSignature", "OCSPSigning");
	X509_EXTENSION *e = strange_ext(true);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	ck_assert_int_gt(X509_sign(x, ca.key, EVP_sha256()), 0);
	is_refused(response(good(), x, delegate.key, 0), CY_E_AUTH, want);
	X509_free(x);
}
END_TEST

static OCSP_BASICRESP *with_nonce(const char *text, int n)
{
	OCSP_BASICRESP *bs = good();

	ck_assert_int_eq(OCSP_basic_add1_nonce(bs, (unsigned char *)text, n), 1);
	return bs;
}

START_TEST(nonces)
{
	static const char want[] = "another request";
	struct cy_revocation_info i;
	struct cy_slice resp;

	is_good(response(with_nonce((const char *)nonce_bytes, 32), ca.x, ca.key, 0));
	is_refused(
	    response(with_nonce("something else that is 32 bytes.", 32), ca.x, ca.key, 0), CY_E_AUTH, want);
	is_refused(response(with_nonce((const char *)nonce_bytes, 31), ca.x, ca.key, 0), CY_E_AUTH, want);
	/* to who sent none it is nothing to compare */
	resp = response(with_nonce("something else", 14), ca.x, ca.key, 0);
	ck_assert_int_eq(pki->ocsp_look(resp, leaf.cert, ca.cert, no_nonce, NOW, &i, NULL), CY_OK);
}
END_TEST

START_TEST(responses_without_an_answer)
{
	OCSP_BASICRESP *bs = OCSP_BASICRESP_new();
	X509_EXTENSION *e;

	(void)add_status(bs, EVP_sha1(), delegate.x, ca.x, V_OCSP_CERTSTATUS_GOOD, 0);
	/* the same number, of another CA with the same name */
	(void)add_status(bs, EVP_sha1(), leaf.x, twin.x, V_OCSP_CERTSTATUS_GOOD, 0);
	(void)add_status(bs, EVP_sha384(), leaf.x, ca.x, V_OCSP_CERTSTATUS_GOOD, 0);
	is_refused(response(bs, ca.x, ca.key, 0), CY_E_PARSE, "nothing of this certificate");
	e = strange_ext(true);
	bs = good();
	OCSP_BASICRESP_add_ext(bs, e, -1);
	is_refused(response(bs, ca.x, ca.key, 0), CY_E_PARSE, "critical");
	bs = good();
	OCSP_SINGLERESP_add_ext(OCSP_resp_get0(bs, 0), e, -1);
	is_refused(response(bs, ca.x, ca.key, 0), CY_E_PARSE, "critical");
	X509_EXTENSION_free(e);
	e = strange_ext(false);
	bs = good();
	OCSP_BASICRESP_add_ext(bs, e, -1);
	is_good(response(bs, ca.x, ca.key, 0));
	X509_EXTENSION_free(e);
}
END_TEST

START_TEST(responses_that_refuse)
{
	static const struct {
		int status;
		const char *why;
	} cases[] = {{1, "malformed"}, {2, "internal error"}, {3, "try later"}, {5, "signed requests"},
	    {6, "does not answer"}, {4, "not known"}, {77, "not known"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		OCSP_RESPONSE *resp = OCSP_response_create(cases[i].status, NULL);
		uint8_t *der = NULL;
		int n = i2d_OCSP_RESPONSE(resp, &der);

		is_refused(cy_slice(der, (size_t)n), CY_E_PARSE, cases[i].why);
		OPENSSL_free(der);
		OCSP_RESPONSE_free(resp);
	}
}
END_TEST

START_TEST(what_is_no_response)
{
	struct cy_slice der = response(good(), delegate.x, delegate.key, 0);
	struct cy_revocation_info i;
	uint8_t copy[2048];

	ck_assert_uint_lt(der.n, sizeof(copy));
	memcpy(copy, der.p, der.n);
	copy[der.n] = 0;
	is_refused(cy_slice(copy, der.n + 1), CY_E_PARSE, "no OCSP response");
	for (size_t n = 0; n < der.n; n++)
		is_refused(cy_slice(copy, n), CY_E_PARSE, "no OCSP response");
	is_refused(cy_slice_str("<html>no</html>"), CY_E_PARSE, "no OCSP response");
	is_refused(pki->cert_info(ca.cert)->der, CY_E_PARSE, "");
	/* whatever is altered, nothing else than what was signed is ever believed */
	for (size_t k = 0; k < der.n; k++) {
		copy[k] ^= 0x21;
		if (pki->ocsp_look(cy_slice(copy, der.n), leaf.cert, ca.cert, nonce, NOW, &i, NULL) ==
		    CY_OK) {
			ck_assert_uint_eq(i.status, CY_REVOCATION_GOOD);
			ck_assert_int_eq(i.this_update, NOW - 100);
			ck_assert_int_eq(i.next_update, NOW + 100);
		}
		ck_assert_uint_eq(ERR_peek_error(), 0);
		copy[k] ^= 0x21;
	}
}
END_TEST

START_TEST(key_usage)
{
	ck_assert(pki->cert_info(ca.cert)->flags & CY_CERT_KU_CRL_SIGN);
	ck_assert(!(pki->cert_info(leaf.cert)->flags & CY_CERT_KU_CRL_SIGN));
}
END_TEST

UNIT_TESTS(revocation)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_crl_is_decoded);
	tcase_add_test(tc, who_is_on_it);
	tcase_add_test(tc, crl_flags);
	tcase_add_test(tc, crl_extensions_that_nobody_knows);
	tcase_add_test(tc, who_signed_a_crl);
	tcase_add_test(tc, what_is_no_crl);
	tcase_add_test(tc, a_crl_in_pem);
	tcase_add_test(tc, a_long_crl);
	tcase_add_test(tc, requests);
	tcase_add_test(tc, what_responses_say);
	tcase_add_test(tc, responses_of_others);
	tcase_add_test(tc, nonces);
	tcase_add_test(tc, responses_without_an_answer);
	tcase_add_test(tc, responses_that_refuse);
	tcase_add_test(tc, what_is_no_response);
	tcase_add_test(tc, key_usage);
}
