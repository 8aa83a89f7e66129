/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials: pre-shared keys, private keys, certificates, trusted CAs, raw public keys. A `creds` is built once from
 * files (main thread or pool), then immutable, counted and shared; a reload builds a new one and swaps it.
 */
#ifndef LIBCORE_CRED_CRED_H
#define LIBCORE_CRED_CRED_H

#include <cygnet/crypto.h>

#include "libcore/base/ident.h"
#include "libcore/base/secret.h"
#include "libcore/crypto/registry.h"

struct creds;
struct env;

enum cred_kind {
	CRED_PSK = 1,
	CRED_RSA,
	CRED_ECDSA,
	CRED_PKCS8,
	CRED_P12,
	CRED_XAUTH,
	CRED_EAP,
	CRED_NTLM,
	CRED_PIN
};

/* Where files are looked for: relative names in ipsec.conf/secrets. */
struct cred_paths {
	const char *private_dir; /* /etc/ipsec.d/private */
	const char *certs_dir;   /* /etc/ipsec.d/certs */
	const char *cacerts_dir; /* /etc/ipsec.d/cacerts, loaded whole */
	const char *aacerts_dir;
};

/* Problems go to report: severity as enum cy_level, "file:line: what". Parsing goes on after an error. */
typedef void (*cred_report_fn)(void *user, enum cy_level level, const char *text);

/* --- building --- */
enum cy_err creds_new(
    struct crypto *crypto, struct log *log, const struct cred_paths *paths, struct creds **out) CY_MUST_USE;
struct creds *creds_ref(struct creds *c);
void creds_unref(struct creds *c);
/*
 * ipsec.secrets in both dialects: "id id : PSK 0x..|0s..|\"text\"", ": RSA file [\"pass\"]", ECDSA, PKCS8, P12, XAUTH, EAP,
 * include globs, continuation by indent. Refuses a file readable by others (report, CY_E_DENIED) unless lax.
 * CY_E_PARSE: some entries were left out and reported, the others are loaded.
 */
enum cy_err creds_load_secrets(
    struct creds *c, const char *path, bool lax, cred_report_fn report, void *user);
/* From memory, for tests and fuzzing; includes are refused. */
enum cy_err creds_load_secrets_text(
    struct creds *c, struct cy_slice text, const char *name, cred_report_fn report, void *user);
/* NULL: the cacerts_dir of the paths. Of a folder every file is tried, and one that is bad is reported. */
enum cy_err creds_load_cacerts(struct creds *c, const char *dir_or_file, cred_report_fn report, void *user);
/*
 * A file of a ca section, and the servers that it names for its certificates. uris is borrowed, and must live as long as c: `struct conf`
 * has it.
 */
struct cred_uris {
	const char *const *crl, *const *ocsp;
	size_t n_crl, n_ocsp;
};
enum cy_err creds_load_ca(
    struct creds *c, const char *file, const struct cred_uris *uris, cred_report_fn report, void *user);
enum cy_err creds_set_uris(struct creds *c, struct cy_cert *ca, const struct cred_uris *uris);
/* leftcert=/rightcert=: a PEM/DER/P12 bundle; the first certificate is *out_cert (borrowed), the rest intermediates. */
enum cy_err creds_load_cert(
    struct creds *c, const char *file, struct cy_cert **out_cert, cred_report_fn report, void *user);
/* leftsigkey=/leftrsasigkey=: file, 0x../0s.. (RFC 3110), "dns:"/"ssh:" prefixes. *out borrowed from the store. */
enum cy_err creds_load_pubkey(
    struct creds *c, const char *text, struct cy_pubkey **out, cred_report_fn report, void *user);
/* For tests and the simulator. */
enum cy_err creds_add_psk(
    struct creds *c, const struct ident *ids, size_t n_ids, struct cy_slice psk) CY_MUST_USE;
enum cy_err creds_add_privkey(struct creds *c, struct cy_privkey *take) CY_MUST_USE;
enum cy_err creds_add_cert(
    struct creds *c, struct cy_slice der, bool trusted_ca, struct cy_cert **out) CY_MUST_USE;
/* Turn ID_DN_TEXT into ID_DER_ASN1_DN. */
enum cy_err cred_ident_resolve(const struct crypto *crypto, struct ident *id) CY_MUST_USE;

/* --- using: any thread --- */
/* The best PSK: both identities named > peer's or own only > "%any" > no ids. Wildcards allowed. local/remote may be NULL;
   addr_*: also tried as IP identities. out borrows from the store (hold a reference). */
bool creds_find_psk(const struct creds *c, const struct ident *local, const struct ident *remote,
    const struct cy_addr *addr_local, const struct cy_addr *addr_remote, struct cy_slice *out);
/* XAUTH/EAP password of a user. */
bool creds_find_password(
    const struct creds *c, enum cred_kind kind, const struct ident *user, struct cy_slice *out);
/* The private key that belongs to a certificate or public key; borrowed. */
struct cy_privkey *creds_find_privkey(const struct creds *c, const struct cy_key_info *pub);
/* What leftcert=/leftsigkey= named and creds_load_cert/_pubkey loaded; borrowed, NULL when it did not load. */
struct cy_cert *creds_cert_by_file(const struct creds *c, const char *file);
struct cy_pubkey *creds_pubkey_by_text(const struct creds *c, const char *text);
/* The only or first private key, for "leftid" without a certificate (raw keys); NULL when none. */
struct cy_privkey *creds_first_privkey(const struct creds *c, enum cy_key_type type);
/* Certificate of ours that carries this identity (subject or SAN) and has a private key. */
struct cy_cert *creds_find_own_cert(const struct creds *c, const struct ident *id);
/* Is identity id confirmed by the certificate: its subject DN or one of its SANs (RFC 4945, 5.1)? */
bool cred_cert_has_ident(const struct cy_cert_info *info, const struct ident *id);

/*
 * The identity to use with an own certificate: wanted if the certificate confirms it, else the subject's DN, as charon has it
 * (the caller says so when wanted was set and is not equal to out). CY_E_NOTFOUND: the certificate names nobody.
 */
enum cy_err cred_default_ident(
    const struct cy_cert_info *info, const struct ident *wanted, struct ident *out) CY_MUST_USE;

/* SHA-1s of trusted CAs' SubjectPublicKeyInfo, 20 bytes each, for CERTREQ (RFC 7296, 3.7). Borrowed. */
struct cy_slice creds_ca_hashes(const struct creds *c);
/* What to send after our certificate: intermediates we know, from its issuer up, without a self-signed root. out is borrowed. */
size_t creds_own_chain(const struct creds *c, struct cy_cert *leaf, struct cy_cert **out, size_t cap);

struct cred_trust {
	struct cy_cert *path
	    [12]; /* leaf .. anchor; borrowed, except that leaf and received ones live as long as the call's */
	size_t n;
	const char *why; /* when not trusted: one sentence, static or in why_buf */
	char why_buf[256];
};
/*
 * Build and check a path from leaf to a trusted CA: signatures, validity at now, basic constraints, path length, key usage
 * (RFC 4945, 5.1.3), name constraints. received: what the peer sent beside the leaf. ca: restrict to this issuer DN (leftca=), or
 * NULL. Pure CPU, may take milliseconds: run it on the pool. CY_E_AUTH when untrusted, with out->why set.
 */
enum cy_err creds_verify(const struct creds *c, struct cy_cert *leaf, struct cy_cert *const *received,
    size_t n_received, const struct ident *ca, int64_t now, struct cred_trust *out) CY_MUST_USE;

/* The servers that ca sections name for what this CA issues. */
enum cred_uri_kind { CRED_URI_CRL, CRED_URI_OCSP };
size_t creds_ca_uris(
    const struct creds *c, struct cy_cert *ca, enum cred_uri_kind kind, const char *const **out);

/* `ipsec listcerts`, and secrets counted but never shown. */
void creds_list(
    const struct creds *c, void (*cb)(void *user, struct cy_cert *cert, bool ca, bool has_key), void *user);
size_t creds_count(const struct creds *c, enum cred_kind kind);

#endif
