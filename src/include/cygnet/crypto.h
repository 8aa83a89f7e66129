/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: cryptography.
 *
 * A crypto plugin describes each algorithm in a static const table and offers it with cy_host.provide(). Every
 * algorithm is put through known-answer tests when it is registered; one that fails is refused and logged.
 *
 * Thread: every function may be called from any thread at once; one context or key object is used by one thread at
 * a time, except `cy_privkey`/`cy_pubkey`/`cy_cert` objects, which are immutable and may be shared.
 * Blocking: none of these functions may wait for anything but the CPU.
 * Secrets: keys are borrowed for the call; implementations wipe every copy they make before they free it.
 */
#ifndef CYGNET_CRYPTO_H
#define CYGNET_CRYPTO_H

#include <cygnet/types.h>

/* Encryption transforms, IANA "IKEv2 Transform Type 1". */
enum cy_encr {
	CY_ENCR_NONE = 0,
	CY_ENCR_3DES = 3,
	CY_ENCR_NULL = 11,
	CY_ENCR_AES_CBC = 12,
	CY_ENCR_AES_CTR = 13,
	CY_ENCR_AES_CCM_8 = 14,
	CY_ENCR_AES_CCM_12 = 15,
	CY_ENCR_AES_CCM_16 = 16,
	CY_ENCR_AES_GCM_8 = 18,
	CY_ENCR_AES_GCM_12 = 19,
	CY_ENCR_AES_GCM_16 = 20,
	CY_ENCR_NULL_AES_GMAC = 21,
	CY_ENCR_CAMELLIA_CBC = 23,
	CY_ENCR_CHACHA20_POLY1305 = 28,
};

/* Pseudo-random functions, "Transform Type 2". */
enum cy_prf {
	CY_PRF_NONE = 0,
	CY_PRF_HMAC_MD5 = 1,
	CY_PRF_HMAC_SHA1 = 2,
	CY_PRF_AES128_XCBC = 4,
	CY_PRF_HMAC_SHA2_256 = 5,
	CY_PRF_HMAC_SHA2_384 = 6,
	CY_PRF_HMAC_SHA2_512 = 7,
	CY_PRF_AES128_CMAC = 8,
};

/* Integrity transforms, "Transform Type 3". */
enum cy_integ {
	CY_INTEG_NONE = 0,
	CY_INTEG_HMAC_MD5_96 = 1,
	CY_INTEG_HMAC_SHA1_96 = 2,
	CY_INTEG_AES_XCBC_96 = 5,
	CY_INTEG_AES_CMAC_96 = 8,
	CY_INTEG_HMAC_SHA2_256_128 = 12,
	CY_INTEG_HMAC_SHA2_384_192 = 13,
	CY_INTEG_HMAC_SHA2_512_256 = 14,
	/* private use, never on the wire as a number: sha256 truncated to 96 bits, an old Linux bug (sha256_96=yes,
	   sha2-truncbug=yes) */
	CY_INTEG_HMAC_SHA2_256_96 = 0x8001,
};

/* Key exchange methods, "Transform Type 4". */
enum cy_ke {
	CY_KE_NONE = 0,
	CY_KE_MODP_768 = 1,
	CY_KE_MODP_1024 = 2,
	CY_KE_MODP_1536 = 5,
	CY_KE_MODP_2048 = 14,
	CY_KE_MODP_3072 = 15,
	CY_KE_MODP_4096 = 16,
	CY_KE_MODP_6144 = 17,
	CY_KE_MODP_8192 = 18,
	CY_KE_ECP_256 = 19,
	CY_KE_ECP_384 = 20,
	CY_KE_ECP_521 = 21,
	CY_KE_MODP_2048_256 = 24,
	CY_KE_ECP_224 = 26,
	CY_KE_X25519 = 31,
	CY_KE_X448 = 32,
};

/* Hashes: IANA "IKEv2 Hash Algorithms" (RFC 7427), and two more that only IKEv1 and NAT detection need. */
enum cy_hash {
	CY_HASH_NONE = 0,
	CY_HASH_SHA1 = 1,
	CY_HASH_SHA2_256 = 2,
	CY_HASH_SHA2_384 = 3,
	CY_HASH_SHA2_512 = 4,
	CY_HASH_IDENTITY = 5, /* RFC 8420: EdDSA hashes by itself */
	CY_HASH_MD5 = 0x8001,
};

/* Keyed MACs, the material of PRFs and integrity transforms. */
enum cy_mac {
	CY_MAC_HMAC_MD5 = 1,
	CY_MAC_HMAC_SHA1,
	CY_MAC_HMAC_SHA2_256,
	CY_MAC_HMAC_SHA2_384,
	CY_MAC_HMAC_SHA2_512,
	CY_MAC_AES_XCBC, /* RFC 3566 / RFC 4434: keys of other lengths are folded as RFC 4434 2. says by the core */
	CY_MAC_AES_CMAC, /* RFC 4493 / RFC 4615 */
};

#define CY_MAX_MAC_LEN    64
#define CY_MAX_HASH_LEN   64
#define CY_MAX_KE_PUBLIC  1024
#define CY_MAX_KE_SECRET  1024
#define CY_MAX_CIPHER_KEY 64 /* with the salt */

/* --- ciphers ------------------------------------------------------------------------------------------------ */

struct cy_cipher_alg;

/*
 * Encrypt or decrypt in place. nonce: for AEAD and CTR modes salt || IV as the RFC of the mode says (GCM RFC 4106:
 * 4 + 8 bytes; CCM RFC 4309: 3 + 8; ChaCha20-Poly1305 RFC 7634: 4 + 8; CTR RFC 3686: 4 + 8, the counter block is the
 * cipher's business); for CBC the IV. data is len bytes (CBC: a multiple of block_len). AEAD: tag is icv_len bytes,
 * written when encrypting, verified in constant time when decrypting (CY_E_AUTH, and data is then undefined).
 */
struct cy_cipher_alg {
	uint32_t size; /* sizeof(struct cy_cipher_alg) as the plugin knew it */
	uint16_t id;   /* enum cy_encr */
	uint8_t aead;
	uint8_t salt_len; /* bytes at the end of the keying material that are the salt */
	uint8_t iv_len;   /* bytes of explicit IV on the wire */
	uint8_t block_len;
	uint8_t icv_len;
	uint8_t n_key_bits;
	uint16_t key_bits[4]; /* accepted key lengths, without the salt */
	enum cy_err (*ctx_new)(const struct cy_cipher_alg *alg, void **out_ctx);
	void (*ctx_free)(void *ctx);
	/* (Re)key. key excludes the salt. encrypt: direction. A context may be rekeyed any number of times. */
	enum cy_err (*ctx_key)(void *ctx, struct cy_slice key, bool encrypt);
	enum cy_err (*crypt)(
	    void *ctx, struct cy_slice nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag);
};

/* --- hashes and MACs ---------------------------------------------------------------------------------------- */

struct cy_hash_alg {
	uint32_t size;
	uint16_t id; /* enum cy_hash */
	uint16_t len;
	uint16_t block_len;
	enum cy_err (*digest)(
	    const struct cy_hash_alg *alg, const struct cy_slice *in, size_t n_in, uint8_t *out);
};

struct cy_mac_alg {
	uint32_t size;
	uint16_t id;      /* enum cy_mac */
	uint16_t len;     /* full output length */
	uint16_t key_len; /* fixed key length, 0: any length (HMAC) */
	enum cy_err (*ctx_new)(const struct cy_mac_alg *alg, void **out_ctx);
	void (*ctx_free)(void *ctx);
	enum cy_err (*ctx_key)(void *ctx, struct cy_slice key);
	/* May be called many times after one ctx_key. out is len bytes. */
	enum cy_err (*mac)(void *ctx, const struct cy_slice *in, size_t n_in, uint8_t *out);
};

/* --- key exchange ------------------------------------------------------------------------------------------- */

#define CY_KE_SLOW (1u << 0) /* costs more than about half a millisecond: run it on the pool */

struct cy_ke_alg {
	uint32_t size;
	uint16_t id; /* enum cy_ke */
	uint16_t public_len;
	uint16_t secret_len;
	uint16_t flags;
	/* Make an ephemeral key pair; out_public is public_len bytes in the wire format of the method. */
	enum cy_err (*keygen)(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public);
	/* peer is validated as RFC 6989 asks (CY_E_INVAL). out_secret is secret_len bytes. */
	enum cy_err (*derive)(void *key, struct cy_slice peer, uint8_t *out_secret);
	void (*key_free)(void *key);
	/* For known-answer tests: a key pair from a given private value. May be NULL. */
	enum cy_err (*key_from_private)(
	    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public);
};

/* --- signatures --------------------------------------------------------------------------------------------- */

enum cy_key_type { CY_KEY_RSA = 1, CY_KEY_ECDSA, CY_KEY_ED25519, CY_KEY_ED448 };

/* How to sign. RSA: PKCS#1 v1.5 or PSS (salt as long as the hash). ECDSA_RAW: r || s, fixed length (RFC 4754);
   ECDSA_DER: as RFC 7427 has it. EdDSA ignores hash. */
enum cy_sig_scheme {
	CY_SIG_RSA_PKCS1 = 1,
	CY_SIG_RSA_PSS,
	CY_SIG_ECDSA_DER,
	CY_SIG_ECDSA_RAW,
	CY_SIG_EDDSA,
	CY_SIG_RSA_PKCS1_RAW, /* no DigestInfo: IKEv1 RSA signatures (RFC 2409, 5.1) */
};

struct cy_pubkey;
struct cy_privkey;
struct cy_cert;

struct cy_key_info {
	enum cy_key_type type;
	uint32_t bits; /* RSA modulus, curve size */
	uint8_t keyid_sha1
	    [20]; /* SHA-1 of the subjectPublicKey bits (what CERTREQ uses: of SubjectPublicKeyInfo) */
	uint8_t spki_sha1[20]; /* SHA-1 of the SubjectPublicKeyInfo (RFC 7296, 3.7) */
};

/* Asks for a pass phrase of an encrypted key. Returns its length, or -1 when there is none. */
typedef int (*cy_passphrase_fn)(void *user, char *buf, size_t cap);

/* One certificate, decoded once. Slices point into memory of the certificate. */
enum cy_san_type { CY_SAN_DNS = 1, CY_SAN_EMAIL, CY_SAN_IP, CY_SAN_URI, CY_SAN_DN };
struct cy_san {
	enum cy_san_type type;
	struct cy_slice value; /* DNS, EMAIL, URI: text; IP: 4 or 16 bytes; DN: DER */
};
#define CY_CERT_CA                   (1u << 0)
#define CY_CERT_SELF_SIGNED          (1u << 1)
#define CY_CERT_KU_PRESENT           (1u << 2)
#define CY_CERT_KU_DIGITAL_SIG       (1u << 3)
#define CY_CERT_KU_CERT_SIGN         (1u << 4)
#define CY_CERT_EKU_PRESENT          (1u << 5)
#define CY_CERT_EKU_SERVER_AUTH      (1u << 6)
#define CY_CERT_EKU_CLIENT_AUTH      (1u << 7)
#define CY_CERT_EKU_IKE_INTERMEDIATE (1u << 8)
#define CY_CERT_EKU_ANY              (1u << 9)
#define CY_CERT_KU_NON_REPUDIATION   (1u << 10)
#define CY_CERT_EKU_IPSEC_IKE        (1u << 11) /* id-kp-ipsecIKE, RFC 4945, 5.1.3.12 */
#define CY_CERT_KU_CRL_SIGN          (1u << 12)
struct cy_cert_info {
	struct cy_slice der;
	struct cy_slice subject_der, issuer_der; /* Name, DER */
	struct cy_slice serial;
	struct cy_slice spki;                           /* SubjectPublicKeyInfo, DER */
	struct cy_slice subject_keyid, authority_keyid; /* extension values, may be empty */
	const char *subject, *issuer;                   /* "C=CH, O=..., CN=...", for people */
	int64_t not_before, not_after;                  /* Unix seconds */
	const struct cy_san *sans;
	size_t n_sans;
	const char *const *crl_uris;
	size_t n_crl_uris;
	const char *const *ocsp_uris;
	size_t n_ocsp_uris;
	int path_len; /* -1: none */
	uint32_t flags;
	struct cy_key_info key;
};

/* What a CRL says of itself (RFC 5280, 5.1.2 and 5.2). Slices point into memory of the CRL. */
struct cy_crl;
#define CY_CRL_DELTA    (1u << 0) /* has a delta CRL indicator (5.2.4): is not complete */
#define CY_CRL_INDIRECT (1u << 1) /* entries of other issuers (5.2.5) */
#define CY_CRL_CRITICAL                                                                                      \
	(1u << 2)                /* has a critical extension that is not understood (5.2): must not be used */
#define CY_CRL_ONLY_CA (1u << 3) /* of CA certificates only (5.2.5) */
#define CY_CRL_ONLY_EE (1u << 4) /* of end entities' only (5.2.5) */
#define CY_CRL_POINTS                                                                                        \
	(1u << 5) /* of those only that have one of points among their distribution points (6.3.3 (b)(2)) */
struct cy_crl_info {
	struct cy_slice der, issuer_der;  /* Name, DER */
	struct cy_slice number;           /* extension value, may be empty */
	const char *issuer;               /* for people */
	int64_t this_update, next_update; /* Unix seconds; next_update 0: none */
	uint64_t n_revoked;
	uint32_t flags;
	const char *const *points; /* CY_CRL_POINTS: URIs, as in cy_cert_info.crl_uris */
	size_t n_points;
};

enum cy_revocation {
	CY_REVOCATION_GOOD = 1,
	CY_REVOCATION_REVOKED,
	CY_REVOCATION_UNKNOWN, /* OCSP only: the responder does not know it */
};
/* What is said of one certificate. */
struct cy_revocation_info {
	uint32_t size;
	uint32_t status; /* enum cy_revocation */
	uint32_t reason; /* CRLReason (RFC 5280, 5.3.1), 0 when none is given; REVOKED only */
	uint32_t pad_;
	int64_t revoked_at;               /* Unix seconds; REVOKED only */
	int64_t this_update, next_update; /* of what says it; next_update 0: none */
};

/* Private, public keys and X.509, all from one provider. Objects are counted: ref/unref, free at zero. */
struct cy_pki_ops {
	uint32_t size;
	const char *name;
	/* PEM or DER; PKCS#1, SEC1, PKCS#8, also encrypted. out_why (may be NULL): static text on failure. */
	enum cy_err (*privkey_load)(struct cy_slice data, cy_passphrase_fn pass, void *user,
	    struct cy_privkey **out, const char **out_why);
	struct cy_privkey *(*privkey_ref)(struct cy_privkey *key);
	void (*privkey_unref)(struct cy_privkey *key);
	const struct cy_key_info *(*privkey_info)(const struct cy_privkey *key);
	/* out: at least privkey_sig_max() bytes; *out_len its length. in: pieces of the message to sign. */
	size_t (*privkey_sig_max)(const struct cy_privkey *key);
	enum cy_err (*sign)(struct cy_privkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
	    const struct cy_slice *in, size_t n_in, uint8_t *out, size_t *out_len);

	/* SubjectPublicKeyInfo DER or PEM, RFC 3110 (DNSKEY RSA, as 0s.../rightrsasigkey has it). */
	enum cy_err (*pubkey_load)(struct cy_slice data, struct cy_pubkey **out, const char **out_why);
	struct cy_pubkey *(*pubkey_ref)(struct cy_pubkey *key);
	void (*pubkey_unref)(struct cy_pubkey *key);
	const struct cy_key_info *(*pubkey_info)(const struct cy_pubkey *key);
	struct cy_slice (*pubkey_spki)(const struct cy_pubkey *key);
	enum cy_err (*verify)(struct cy_pubkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
	    const struct cy_slice *in, size_t n_in, struct cy_slice sig);

	/* One DER certificate. */
	enum cy_err (*cert_load)(struct cy_slice der, struct cy_cert **out, const char **out_why);
	struct cy_cert *(*cert_ref)(struct cy_cert *cert);
	void (*cert_unref)(struct cy_cert *cert);
	const struct cy_cert_info *(*cert_info)(const struct cy_cert *cert);
	struct cy_pubkey *(*cert_pubkey)(struct cy_cert *cert); /* borrowed from the certificate */
	/* Is cert's signature made by issuer's key? Names, CA bit, and constraints are the core's to check. */
	enum cy_err (*cert_signed_by)(struct cy_cert *cert, struct cy_cert *issuer);
	/*
	 * Name constraints and the like, which need the whole path: leaf first, anchor last. now: Unix seconds. The caller has checked each
	 * signature (cert_signed_by).
	 */
	enum cy_err (*path_check)(struct cy_cert *const *path, size_t n, int64_t now, const char **out_why);

	/* A file that holds several things (PEM bundle, PKCS#12, DER): calls back for each in order. user goes to all three. */
	enum cy_err (*bundle_load)(struct cy_slice data, cy_passphrase_fn pass, void *user,
	    void (*on_cert)(void *user, struct cy_slice der),
	    void (*on_key)(void *user, struct cy_privkey *take), const char **out_why);
	/* RFC 4514-like text ("C=CH, O=x, CN=y", also "/C=CH/O=x") to a DER Name and back. *out is malloc'd. */
	enum cy_err (*name_parse)(const char *text, uint8_t **out, size_t *out_len);
	enum cy_err (*name_print)(struct cy_slice der, char *out, size_t cap);

	/* --- revocation; each may be missing (CY_HAS, NULL) --- */
	/* One CRL, DER or PEM. Immutable, counted. */
	enum cy_err (*crl_load)(struct cy_slice data, struct cy_crl **out, const char **out_why);
	struct cy_crl *(*crl_ref)(struct cy_crl *crl);
	void (*crl_unref)(struct cy_crl *crl);
	const struct cy_crl_info *(*crl_info)(const struct cy_crl *crl);
	/* Is its signature made by issuer's key? Names, times, key usage (cRLSign) and flags are the core's to check. */
	enum cy_err (*crl_signed_by)(struct cy_crl *crl, struct cy_cert *issuer);
	/* What it says of a certificate of its issuer with this serial number (as in cy_cert_info); GOOD or REVOKED. */
	enum cy_err (*crl_look)(struct cy_crl *crl, struct cy_slice serial, struct cy_revocation_info *out);
	/* An OCSP request (RFC 6960, 4.1) for one certificate, with a nonce (RFC 8954) where nonce is not empty. *out is malloc'd. */
	enum cy_err (*ocsp_request)(struct cy_cert *cert, struct cy_cert *issuer, struct cy_slice nonce,
	    uint8_t **out, size_t *out_len);
	/*
	 * What a response (RFC 6960, 4.2) says of cert: signed by issuer, or by a responder whose certificate issuer signed for it
	 * (id-kp-OCSPSigning, 4.2.2.2) and which is valid at now; other nonces than this one are refused, none is not. CY_E_AUTH: not to be
	 * trusted, CY_E_PARSE: no response, or none for it; out_why: static text. Whether its times are right is the core's to check.
	 */
	enum cy_err (*ocsp_look)(struct cy_slice response, struct cy_cert *cert, struct cy_cert *issuer,
	    struct cy_slice nonce, int64_t now, struct cy_revocation_info *out, const char **out_why);
};

#endif
