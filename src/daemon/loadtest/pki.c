/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of a load test: an authority, the gateway's, and one a client; the clients share one key. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "daemon/loadtest/load.h"

#define DAYS 30

void pattern_fill(const char *pattern, uint32_t n, char *out, size_t cap)
{
	const char *at = strstr(pattern, "%u");

	if (at)
		snprintf(out, cap, "%.*s%u%s", (int)(at - pattern), pattern, n, at + 2);
	else
		snprintf(out, cap, "%s", pattern);
}

static EVP_PKEY *key_at(const char *dir, const char *name, const char *kind)
{
	char path[4096];
	EVP_PKEY *key = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.key", dir, name);
	f = fopen(path, "re");
	if (f) {
		key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
		fclose(f);
		return key;
	}
	key = strcmp(kind, "rsa") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	umask(077);
	f = key ? fopen(path, "we") : NULL;
	if (!f || PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) != 1) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	if (f)
		fclose(f);
	return key;
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

static X509 *issue(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, uint32_t serial)
{
	X509 *cert = X509_new();
	X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
	char san[300];
	bool ok;

	snprintf(san, sizeof(san), "%s:%s", strchr(name, '@') ? "email" : "DNS", name);
	ok = cert && X509_set_version(cert, 2) == 1 &&
	    ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)serial) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
	    X509_gmtime_adj(X509_getm_notAfter(cert), DAYS * 86400L) && X509_set_pubkey(cert, key) == 1 &&
	    X509_NAME_add_entry_by_txt(
	        subject, "O", MBSTRING_ASC, (const unsigned char *)"cygnet load test", -1, -1, 0) == 1 &&
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
	    X509_sign(cert, issuer_key, EVP_sha256()) > 0;
	if (!ok) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

/* What is there is read, else made. */
static X509 *cert_at(const char *dir, const char *file, const char *name, EVP_PKEY *key, X509 *issuer,
    EVP_PKEY *issuer_key, uint32_t serial)
{
	char path[4096];
	X509 *cert = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.pem", dir, file);
	f = fopen(path, "re");
	if (f) {
		cert = PEM_read_X509(f, NULL, NULL, NULL);
		fclose(f);
		return cert;
	}
	cert = issue(name, key, issuer, issuer_key, serial);
	f = cert ? fopen(path, "we") : NULL;
	if (!f || PEM_write_X509(f, cert) != 1) {
		X509_free(cert);
		cert = NULL;
	}
	if (f)
		fclose(f);
	return cert;
}

bool pki_make(const char *dir, const char *kind, const char *remote_id, const char *local_id,
    uint32_t clients, char *why, size_t why_cap)
{
	EVP_PKEY *ca_key, *gw_key = NULL, *key = NULL;
	X509 *ca = NULL, *gw = NULL;
	bool ok;

	if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
		snprintf(why, why_cap, "%s: %s", dir, strerror(errno));
		return false;
	}
	ca_key = key_at(dir, "ca", kind);
	if (ca_key)
		ca = cert_at(dir, "ca", "load test CA", ca_key, NULL, ca_key, 1);
	if (ca)
		gw_key = key_at(dir, "gateway", kind);
	if (gw_key)
		gw = cert_at(dir, "gateway", remote_id, gw_key, ca, ca_key, 2);
	if (gw)
		key = key_at(dir, "client", kind);
	ok = key != NULL;
	for (uint32_t i = 1; i <= clients && ok; i++) {
		char name[256], file[32];
		X509 *cert;

		pattern_fill(local_id, i, name, sizeof(name));
		snprintf(file, sizeof(file), "client-%u", i);
		cert = cert_at(dir, file, name, key, ca, ca_key, i + 2);
		ok = cert != NULL;
		X509_free(cert);
	}
	X509_free(ca);
	X509_free(gw);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(gw_key);
	EVP_PKEY_free(key);
	if (!ok)
		snprintf(why, why_cap, "%s: certificates cannot be made or read", dir);
	return ok;
}
