/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of libcore/cred share. A struct creds is written by one thread while it is built and only read after,
 * so nothing here locks; the reference count is atomic, and so is what is found out once (issuers).
 */
#ifndef LIBCORE_CRED_PRIVATE_H
#define LIBCORE_CRED_PRIVATE_H

#include <stdatomic.h>

#include "libcore/base/hmap.h"
#include "libcore/base/log.h"
#include "libcore/cred/cred.h"

#define CRED_FILE_MAX (16u << 20)

struct creds_secret {
	enum cred_kind kind;
	struct ident *ids;
	size_t n_ids;
	struct secret value;
};

/* A secret under one of its identities; those without any, or with patterns, are on a list of their own. */
struct creds_index {
	struct hnode node;
	uint32_t secret;
};

/* Why a certificate is here; a certificate can be several things at once. */
#define CRED_CERT_ANCHOR (1u << 0) /* a CA we trust */
#define CRED_CERT_LOADED (1u << 1) /* named in the configuration: trusted by itself, ours or the peer's */

struct creds_cert {
	struct hnode node; /* by subject */
	struct cy_cert *cert;
	const struct cy_cert_info *info;
	uint32_t flags;
	struct cred_uris uris; /* of ca sections */
	/* Whose key signed it, as far as we have him: among the first issuer_among certificates. All who look find the same. */
	_Atomic(const struct creds_cert *) issuer;
	atomic_size_t issuer_among;
};

struct creds_key {
	struct cy_privkey *key;
	const struct cy_key_info *info;
};

struct creds {
	atomic_uint refs;
	const struct crypto *crypto;
	const struct cy_pki_ops *pki; /* NULL: no plugin provides one */
	struct log *log;
	struct cred_paths paths; /* owned */

	struct creds_secret *secrets;
	size_t n_secrets, cap_secrets;
	struct hmap index; /* of struct creds_index */
	uint32_t *general; /* secrets that may match whom they do not name */
	size_t n_general, cap_general;

	struct creds_cert **certs;
	size_t n_certs, cap_certs;
	struct hmap by_subject;
	struct hmap named; /* what connections named, see named.c */

	struct creds_key *keys;
	size_t n_keys, cap_keys;

	struct cy_pubkey **pubkeys;
	size_t n_pubkeys, cap_pubkeys;

	const struct cred_uris *loading_uris; /* of the ca section whose file is being read */

	uint8_t *ca_hashes;
	size_t n_ca_hashes, cap_ca_hashes; /* in hashes of 20 bytes */
};

/* Where a problem is, for report; line 0: the file as a whole. */
struct cred_where {
	const char *file;
	uint32_t line;
	cred_report_fn report; /* may be NULL */
	void *user;
};
void cred_say(const struct cred_where *w, enum cy_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Grow *arr by one element of size; false when out of memory. */
bool cred_grow(void *arr, size_t n, size_t *cap, size_t size);

/* psk.c */
extern const uint64_t cred_hash_key[2];
bool cred_ident_is_pattern(const struct ident *id); /* may match more than itself */
uint64_t cred_user_hash(const struct ident *user);  /* of its text, without its type */

/* store.c: takes ids (each and the array) and value in any case. */
enum cy_err creds_take_secret(
    struct creds *c, enum cred_kind kind, struct ident *ids, size_t n_ids, struct secret *value);
/* The certificate is in the store after this, with flags added when it was before. */
enum cy_err creds_store_cert(
    struct creds *c, struct cy_slice der, uint32_t flags, struct creds_cert **out, const char **out_why);
/* The same certificate, or NULL. */
struct creds_cert *creds_lookup_cert(const struct creds *c, const struct cy_cert_info *info);

/* named.c */
enum cy_err creds_name(struct creds *c, const char *name, struct cy_cert *cert, struct cy_pubkey *pubkey);
void creds_named_fini(struct creds *c);

/* load.c */
/* The whole file, wiped when freed. strict: refuse one that others may read or write. */
enum cy_err cred_read_file(
    const char *path, bool strict, const struct cred_where *w, struct secret *out) CY_MUST_USE;
/* dir/name unless name is absolute; malloc'd. */
char *cred_path(const char *dir, const char *name);
enum cy_err cred_load_privkey_file(
    struct creds *c, enum cred_kind kind, const char *name, const char *pass, const struct cred_where *w);
enum cy_err cred_load_p12(struct creds *c, const char *name, const char *pass, const struct cred_where *w);

/* decode.c: "0x..", "0s.." (also with '_' and ':' between digits) to bytes. CY_E_PARSE when it is neither or malformed. */
enum cy_err cred_decode(struct cy_slice text, struct secret *out) CY_MUST_USE;
/* Raw public keys of other formats to what cy_pki_ops.pubkey_load takes; CY_E_PARSE when it is not that format. */
enum cy_err cred_spki_of_ssh(struct cy_slice blob, struct secret *out) CY_MUST_USE; /* RFC 4253, 6.6 */
enum cy_err cred_spki_of_pkcs1(
    struct cy_slice der, struct secret *out) CY_MUST_USE; /* RSAPublicKey, RFC 8017 */

#endif
