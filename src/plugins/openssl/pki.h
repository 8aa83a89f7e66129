/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and certificates of the openssl plugin. Objects are immutable after they are made, counted, and may be used from
 * several threads at once. Nothing here is kept between calls, but for the constants of quick.c.
 */
#ifndef PKI_H
#define PKI_H

#include <stdatomic.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cygnet/crypto.h>

/* "ref" of a table is the object's own, freed with the last. */
struct cy_privkey {
	atomic_uint refs;
	EVP_PKEY *pkey;
	struct cy_key_info info;
};

struct cy_pubkey {
	atomic_uint refs;
	EVP_PKEY *pkey;
	struct cy_key_info info;
	uint8_t *spki;
	size_t spki_len;
};

extern const struct cy_pki_ops ossl_pki;

/* key.c */
enum cy_err ossl_privkey_load(
    struct cy_slice data, cy_passphrase_fn pass, void *user, struct cy_privkey **out, const char **out_why);
enum cy_err ossl_privkey_take(EVP_PKEY *take, struct cy_privkey **out, const char **out_why);
struct cy_privkey *ossl_privkey_ref(struct cy_privkey *key);
void ossl_privkey_unref(struct cy_privkey *key);
const struct cy_key_info *ossl_privkey_info(const struct cy_privkey *key);
enum cy_err ossl_pubkey_load(struct cy_slice data, struct cy_pubkey **out, const char **out_why);
/* Of a decoded one, which spki is the encoding of; both are borrowed. take: the key in it; NULL: pub has it. */
enum cy_err ossl_pubkey_of_x509(
    X509_PUBKEY *pub, EVP_PKEY *take, struct cy_slice spki, struct cy_pubkey **out, const char **out_why);
struct cy_pubkey *ossl_pubkey_ref(struct cy_pubkey *key);
void ossl_pubkey_unref(struct cy_pubkey *key);
const struct cy_key_info *ossl_pubkey_info(const struct cy_pubkey *key);
struct cy_slice ossl_pubkey_spki(const struct cy_pubkey *key);
bool ossl_is_pem(struct cy_slice data);

/* sign.c */
size_t ossl_sig_max(const struct cy_privkey *key);
enum cy_err ossl_sign(struct cy_privkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, uint8_t *out, size_t *out_len);
enum cy_err ossl_verify(struct cy_pubkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, struct cy_slice sig);

/*
 * quick.c. The certificate does not know its key, and OpenSSL can neither verify its signature by itself nor a path with it;
 * NULL: it is malformed, or OpenSSL cannot do this. The key in it; NULL: it is none of the usual ones, or malformed.
 */
X509 *ossl_quick_x509(struct cy_slice der);
EVP_PKEY *ossl_quick_key(X509_PUBKEY *pub);

/* cert.c */
enum cy_err ossl_cert_load(struct cy_slice der, struct cy_cert **out, const char **out_why);
struct cy_cert *ossl_cert_ref(struct cy_cert *cert);
void ossl_cert_unref(struct cy_cert *cert);
const struct cy_cert_info *ossl_cert_info(const struct cy_cert *cert);
struct cy_pubkey *ossl_cert_pubkey(struct cy_cert *cert);
enum cy_err ossl_cert_signed_by(struct cy_cert *cert, struct cy_cert *issuer);
enum cy_err ossl_path_check(struct cy_cert *const *path, size_t n, int64_t now, const char **out_why);
/* Both borrowed. Of one that is not a CA's, the former has no key and its signature cannot be verified with X509_verify(). */
X509 *ossl_cert_x509(const struct cy_cert *cert);
EVP_PKEY *ossl_cert_key(const struct cy_cert *cert);
struct cy_slice ossl_string(const ASN1_STRING *s);
bool ossl_name_slice(const X509_NAME *name, struct cy_slice *out);
/* Printable ASCII, and not empty. */
bool ossl_is_text(const ASN1_STRING *s);
bool ossl_time(const ASN1_TIME *t, int64_t *out);

/* crl.c */
enum cy_err ossl_crl_load(struct cy_slice data, struct cy_crl **out, const char **out_why);
struct cy_crl *ossl_crl_ref(struct cy_crl *crl);
void ossl_crl_unref(struct cy_crl *crl);
const struct cy_crl_info *ossl_crl_info(const struct cy_crl *crl);
enum cy_err ossl_crl_signed_by(struct cy_crl *crl, struct cy_cert *issuer);
enum cy_err ossl_crl_look(struct cy_crl *crl, struct cy_slice serial, struct cy_revocation_info *out);
/* Signed with a hash of which two contents with one value can be had: such a signature says nothing. */
bool ossl_weak_signature(const X509_ALGOR *alg);

/* ocsp.c */
enum cy_err ossl_ocsp_request(
    struct cy_cert *cert, struct cy_cert *issuer, struct cy_slice nonce, uint8_t **out, size_t *out_len);
enum cy_err ossl_ocsp_look(struct cy_slice response, struct cy_cert *cert, struct cy_cert *issuer,
    struct cy_slice nonce, int64_t now, struct cy_revocation_info *out, const char **out_why);

/* bundle.c */
enum cy_err ossl_bundle_load(struct cy_slice data, cy_passphrase_fn pass, void *user,
    void (*on_cert)(void *user, struct cy_slice der), void (*on_key)(void *user, struct cy_privkey *take),
    const char **out_why);

/* name.c */
enum cy_err ossl_name_parse(const char *text, uint8_t **out, size_t *out_len);
enum cy_err ossl_name_print(struct cy_slice der, char *out, size_t cap);
char *ossl_name_text(const X509_NAME *name);  /* malloc'd; NULL when out of memory */
char *ossl_text_dup(const void *p, size_t n); /* the same; n bytes without a NUL at their end */

/* Leave nothing in the thread's error queue, set *out_why when it is wanted, and return err. */
enum cy_err ossl_fail(enum cy_err err, const char **out_why, const char *why);

#endif
