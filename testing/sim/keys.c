/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of simulated daemons, made from a number: PKCS#8 for who signs, SubjectPublicKeyInfo as ipsec.conf has it for who
 * verifies (RFC 8410, RFC 5915). The plugins' ABI has no way from a private key to its public one, so that libcrypto is asked. And
 * certificates of such keys; the authority has an Ed25519 key, so that they are the same in every process.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#ifdef SIM_PUBKEY
#	include <openssl/crypto.h>
#	include <openssl/evp.h>
#	include <openssl/ocsp.h>
#	include <openssl/pem.h>
#	include <openssl/x509v3.h>
#endif

const char *const sim_key_kinds[SIM_KEY_KINDS] = {"ed25519", "p256", "rsa"};

#define AUTHORITY 0xca

/* PKCS#8 without a public key; the private one follows. */
static const uint8_t ed25519_head[] = {0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 43, 101, 112, 4, 34, 4, SIM_KEY_LEN};
#ifdef SIM_PUBKEY
static const uint8_t p256_head[] = {0x30, 65, 2, 1, 0, 0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6,
    8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4, 39, 0x30, 37, 2, 1, 1, 4, SIM_KEY_LEN};
#endif

#define KEY_DER 80

static struct cy_slice private_key(const void *head, size_t n, uint64_t number, uint8_t der[KEY_DER])
{
	struct sim_prng p;

	memcpy(der, head, n);
	sim_prng_seed(&p, number);
	for (size_t i = 0; i < SIM_KEY_LEN; i++)
		der[n + i] = (uint8_t)sim_prng_next(&p);
	return cy_slice(der, n + SIM_KEY_LEN);
}

enum cy_err sim_key_private(const struct cy_pki_ops *pki, uint64_t number, struct cy_privkey **out)
{
	uint8_t der[KEY_DER];

	return pki->privkey_load(
	    private_key(ed25519_head, sizeof(ed25519_head), number, der), NULL, NULL, out, NULL);
}

#ifdef SIM_PUBKEY

bool sim_key_public(uint64_t number, char out[SIM_KEY_TEXT])
{
	static const uint8_t head[] = {0x30, 42, 0x30, 5, 6, 3, 43, 101, 112, 3, 33, 0};
	uint8_t der[KEY_DER], pub[SIM_KEY_LEN];
	struct cy_slice k = private_key(ed25519_head, sizeof(ed25519_head), number, der);
	size_t n = sizeof(pub), at = 2;
	EVP_PKEY *key;
	bool ok;

	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, k.p + sizeof(ed25519_head), SIM_KEY_LEN);
	ok = key && EVP_PKEY_get_raw_public_key(key, pub, &n) == 1 && n == sizeof(pub);
	EVP_PKEY_free(key);
	if (!ok)
		return false;
	memcpy(out, "0x", 3);
	for (size_t i = 0; i < sizeof(head); i++)
		at += (size_t)snprintf(out + at, SIM_KEY_TEXT - at, "%02x", head[i]);
	for (size_t i = 0; i < sizeof(pub); i++)
		at += (size_t)snprintf(out + at, SIM_KEY_TEXT - at, "%02x", pub[i]);
	return true;
}

/* --- certificates ---------------------------------------------------------------------------------------------------- */

static struct cached {
	enum sim_key_kind kind;
	char name[64];
	uint8_t cert[2048], key[2048];
	size_t n_cert, n_key;
} cache[128];
static size_t n_cache;

static EVP_PKEY *make_key(enum sim_key_kind kind, const char *name)
{
	uint64_t number = sim_hash(name, strlen(name), AUTHORITY);
	struct cy_slice k;
	uint8_t der[KEY_DER];
	const unsigned char *p;
	EVP_PKEY *key;
	FILE *f;

	if (kind == SIM_RSA) { /* one for all: making one takes long */
		f = fopen(SIM_RSA_KEY, "re");
		key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
		if (f)
			fclose(f);
		return key;
	}
	k = kind == SIM_P256 ? private_key(p256_head, sizeof(p256_head), number, der)
	                     : private_key(ed25519_head, sizeof(ed25519_head), number, der);
	p = k.p;
	return d2i_AutoPrivateKey(NULL, &p, (long)k.n);
}

static bool add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static X509 *issue(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
	char san[80];
	bool ok;

	snprintf(san, sizeof(san), "DNS:%s", name);
	ok = cert && X509_set_version(cert, 2) == 1 &&
	    ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)n_cache + 1) == 1 &&
	    ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "20200101000000Z") == 1 &&
	    ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "20991231235959Z") == 1 &&
	    X509_set_pubkey(cert, key) == 1 &&
	    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) ==
	        1 &&
	    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) == 1 &&
	    add_ext(cert, issuer ? issuer : cert, NID_basic_constraints,
	        issuer ? "critical,CA:FALSE" : "critical,CA:TRUE") &&
	    add_ext(cert, issuer ? issuer : cert, NID_key_usage,
	        issuer ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign") &&
	    add_ext(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash") &&
	    (!issuer ||
	        (add_ext(cert, issuer, NID_authority_key_identifier, "keyid") &&
	            add_ext(cert, issuer, NID_subject_alt_name, san))) &&
	    X509_sign(cert, issuer_key, NULL) > 0;
	if (!ok) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

static size_t keep(const struct cached *c, int n, const uint8_t *at)
{
	return n > 0 && (size_t)n <= (at == c->cert ? sizeof(c->cert) : sizeof(c->key)) ? (size_t)n : 0;
}

static struct cached *get(enum sim_key_kind kind, const char *name)
{
	static const char ca_name[] = "Simulated CA";
	struct cached *ca = NULL, *c;
	EVP_PKEY *key, *ca_key = NULL;
	const unsigned char *p;
	unsigned char *to;
	X509 *issuer = NULL, *cert;

	for (size_t i = 0; i < n_cache; i++)
		if (cache[i].kind == kind && strcmp(cache[i].name, name) == 0)
			return &cache[i];
	if (strcmp(name, ca_name) != 0 && !(ca = get(SIM_ED25519, ca_name)))
		return NULL;
	if (n_cache == ARRAY_LEN(cache))
		return NULL;
	if (ca) {
		p = ca->cert;
		issuer = d2i_X509(NULL, &p, (long)ca->n_cert);
		p = ca->key;
		ca_key = d2i_AutoPrivateKey(NULL, &p, (long)ca->n_key);
	}
	c = &cache[n_cache];
	c->kind = kind;
	snprintf(c->name, sizeof(c->name), "%s", name);
	key = make_key(kind, name);
	cert = key ? issue(name, key, issuer, ca ? ca_key : key) : NULL;
	c->n_cert = cert ? keep(c, i2d_X509(cert, NULL), c->cert) : 0;
	c->n_key = key ? keep(c, i2d_PrivateKey(key, NULL), c->key) : 0;
	if (c->n_cert && c->n_key) {
		to = c->cert;
		(void)i2d_X509(cert, &to);
		to = c->key;
		(void)i2d_PrivateKey(key, &to);
		n_cache++;
	} else {
		c = NULL;
	}
	X509_free(cert);
	X509_free(issuer);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	return c;
}

bool sim_cert(enum sim_key_kind kind, const char *name, struct sim_cert *out)
{
	const struct cached *c = get(kind, name), *ca = &cache[0]; /* it is made first */

	if (!c)
		return false;
	*out = (struct sim_cert){
	    cy_slice(c->cert, c->n_cert), cy_slice(c->key, c->n_key), cy_slice(ca->cert, ca->n_cert)};
	return true;
}

/* --- what was taken back ----------------------------------------------------------------------------------------------- */

static X509 *authority(EVP_PKEY **out_key)
{
	const unsigned char *p = cache[0].cert, *k = cache[0].key;
	X509 *cert = d2i_X509(NULL, &p, (long)cache[0].n_cert);

	*out_key = d2i_AutoPrivateKey(NULL, &k, (long)cache[0].n_key);
	return cert;
}

static bool is_named(const char *name, const char *names)
{
	size_t n = strlen(name);

	for (const char *at = names; (at = strstr(at, name)) != NULL; at += n)
		if ((at == names || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
			return true;
	return false;
}

static ASN1_INTEGER *serial_of(const struct cached *c)
{
	const unsigned char *p = c->cert;
	X509 *cert = d2i_X509(NULL, &p, (long)c->n_cert);
	ASN1_INTEGER *serial = cert ? ASN1_INTEGER_dup(X509_get_serialNumber(cert)) : NULL;

	X509_free(cert);
	return serial;
}

static bool add_revoked(X509_CRL *crl, const struct cached *c, int64_t when)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_INTEGER *serial = serial_of(c);
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)when);
	ASN1_ENUMERATED *why = ASN1_ENUMERATED_new();
	bool ok = r && serial && t && why && ASN1_ENUMERATED_set(why, CRL_REASON_KEY_COMPROMISE) == 1 &&
	    X509_REVOKED_set_serialNumber(r, serial) == 1 && X509_REVOKED_set_revocationDate(r, t) == 1 &&
	    X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, why, 0, 0) == 1 &&
	    X509_CRL_add0_revoked(crl, r) == 1;

	if (!ok)
		X509_REVOKED_free(r);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(t);
	ASN1_ENUMERATED_free(why);
	return ok;
}

bool sim_crl(const char *revoked, int64_t now, uint32_t life_s, uint8_t *out, size_t cap, size_t *out_n)
{
	EVP_PKEY *key = NULL;
	X509 *ca = n_cache ? authority(&key) : NULL;
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)now), *to = ASN1_TIME_set(NULL, (time_t)now + life_s);
	bool ok = ca && key && crl && from && to && X509_CRL_set_version(crl, 1) == 1 &&
	    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) == 1 &&
	    X509_CRL_set1_lastUpdate(crl, from) == 1 && X509_CRL_set1_nextUpdate(crl, to) == 1;
	int n = -1;

	for (size_t i = 1; i < n_cache && ok; i++)
		if (is_named(cache[i].name, revoked))
			ok = add_revoked(crl, &cache[i], now);
	if (ok && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, key, NULL) > 0)
		n = i2d_X509_CRL(crl, NULL);
	ok = n > 0 && (size_t)n <= cap;
	if (ok)
		*out_n = (size_t)i2d_X509_CRL(crl, &out);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	X509_CRL_free(crl);
	X509_free(ca);
	EVP_PKEY_free(key);
	return ok;
}

static bool is_revoked(OCSP_CERTID *id, const char *revoked)
{
	ASN1_INTEGER *serial = NULL;
	bool found = false;

	(void)OCSP_id_get0_info(NULL, NULL, NULL, &serial, id);
	for (size_t i = 1; i < n_cache && !found; i++) {
		ASN1_INTEGER *mine = serial_of(&cache[i]);

		found = is_named(cache[i].name, revoked) && ASN1_INTEGER_cmp(mine, serial) == 0;
		ASN1_INTEGER_free(mine);
	}
	return found;
}

bool sim_ocsp(struct cy_slice request, const char *revoked, int64_t now, uint32_t life_s, uint8_t *out,
    size_t cap, size_t *out_n)
{
	const unsigned char *p = request.p;
	OCSP_REQUEST *q = d2i_OCSP_REQUEST(NULL, &p, (long)request.n);
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_RESPONSE *r = NULL;
	EVP_PKEY *key = NULL;
	X509 *ca = n_cache ? authority(&key) : NULL;
	ASN1_TIME *from = ASN1_GENERALIZEDTIME_set(NULL, (time_t)now),
	          *to = ASN1_GENERALIZEDTIME_set(NULL, (time_t)now + life_s);
	bool ok = q && basic && ca && key && from && to;
	int n = -1;

	for (int i = 0; ok && i < OCSP_request_onereq_count(q); i++) {
		OCSP_CERTID *id = OCSP_onereq_get0_id(OCSP_request_onereq_get0(q, i));
		bool bad = is_revoked(id, revoked);

		ok = OCSP_basic_add1_status(basic, id,
		         bad ? V_OCSP_CERTSTATUS_REVOKED : V_OCSP_CERTSTATUS_GOOD,
		         bad ? OCSP_REVOKED_STATUS_KEYCOMPROMISE : 0, bad ? from : NULL, from, to) != NULL;
	}
	ok = ok && OCSP_copy_nonce(basic, q) > 0 && OCSP_basic_sign(basic, ca, key, NULL, NULL, 0) == 1 &&
	    (r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic)) != NULL;
	if (ok)
		n = i2d_OCSP_RESPONSE(r, NULL);
	ok = n > 0 && (size_t)n <= cap;
	if (ok)
		*out_n = (size_t)i2d_OCSP_RESPONSE(r, &out);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	OCSP_RESPONSE_free(r);
	OCSP_BASICRESP_free(basic);
	OCSP_REQUEST_free(q);
	X509_free(ca);
	EVP_PKEY_free(key);
	return ok;
}

void sim_key_forget(void)
{
	OPENSSL_thread_stop();
}

#else

bool sim_crl(const char *revoked, int64_t now, uint32_t life_s, uint8_t *out, size_t cap, size_t *out_n)
{
	(void)revoked;
	(void)now;
	(void)life_s;
	(void)out;
	(void)cap;
	(void)out_n;
	return false;
}

bool sim_ocsp(struct cy_slice request, const char *revoked, int64_t now, uint32_t life_s, uint8_t *out,
    size_t cap, size_t *out_n)
{
	(void)request;
	return sim_crl(revoked, now, life_s, out, cap, out_n);
}

void sim_key_forget(void)
{
}

bool sim_key_public(uint64_t number, char out[SIM_KEY_TEXT])
{
	(void)number;
	(void)out;
	return false;
}

bool sim_cert(enum sim_key_kind kind, const char *name, struct sim_cert *out)
{
	(void)kind;
	(void)name;
	(void)out;
	return false;
}

#endif
