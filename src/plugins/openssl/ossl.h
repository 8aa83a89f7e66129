/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openssl plugin: algorithms and PKI from OpenSSL's libcrypto. Everything that OpenSSL has to look up by name is
 * fetched once, when the plugin starts, and kept in `struct ossl`; the tables given to the daemon lie in there too, so that a
 * callback finds what was fetched beside its table. `struct ossl` is written by init and fini only.
 */
#ifndef OSSL_H
#define OSSL_H

#include <pthread.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include <cygnet/plugin.h>

#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum ossl_mode {
	OSSL_CBC,
	OSSL_CTR,
	OSSL_AEAD, /* GCM, ChaCha20-Poly1305 */
	OSSL_CCM,
	OSSL_GMAC,
	OSSL_NULL,
};

struct ossl_cipher {
	struct cy_cipher_alg alg;
	enum ossl_mode mode;
	EVP_CIPHER *evp[4]; /* one for each of alg.key_bits */
};

/* Contexts that wait to be used again: making one costs more than hashing a short message. Held without a key. */
#define OSSL_SPARE 64
struct ossl_spare {
	pthread_mutex_t lock; /* for a few instructions */
	void *ctx[OSSL_SPARE];
	unsigned n;
};

struct ossl_hash {
	struct cy_hash_alg alg;
	EVP_MD *md;
	struct ossl_spare *spare; /* EVP_MD_CTX */
};

struct ossl_mac {
	struct cy_mac_alg alg;
	EVP_MD *md;               /* HMAC */
	EVP_CIPHER *aes_cbc;      /* XCBC, CMAC */
	struct ossl_spare *spare; /* HMAC: struct hmac_ctx */
};

struct ossl;

struct ossl_ke {
	struct cy_ke_alg alg;
	const struct ossl *ossl;
	/* MODP */
	BIGNUM *p, *g, *q; /* q: order of the subgroup, only where it is small (RFC 5114) */
	BN_MONT_CTX *mont;
	uint16_t private_bits;
	/* ECP */
	EC_GROUP *group;
	/* X25519, X448 */
	const char *name;
	struct ossl_spare *makers; /* EVP_PKEY_CTX, ready to make a key from its bytes */
	struct ossl_spare *peers;  /* EVP_PKEY of a peer, to be given another value */
};

#define OSSL_MAX_CIPHERS 16
#define OSSL_MAX_HASHES  8
#define OSSL_MAX_MACS    8
#define OSSL_MAX_KES     16
#define OSSL_MAX_XS      2 /* of them X25519 and X448 */

struct ossl {
	const struct cy_host *host;
	void *self;
	struct ossl_cipher ciphers[OSSL_MAX_CIPHERS];
	struct ossl_hash hashes[OSSL_MAX_HASHES];
	struct ossl_mac macs[OSSL_MAX_MACS];
	struct ossl_ke kes[OSSL_MAX_KES];
	struct ossl_spare hash_spares[OSSL_MAX_HASHES], mac_spares[OSSL_MAX_MACS];
	struct ossl_spare makers[OSSL_MAX_XS], peers[OSSL_MAX_XS];
};

/* Fill the tables from what OpenSSL has and give them to the host; what it lacks is left out. */
void ossl_ciphers_init(struct ossl *o);
void ossl_ciphers_fini(struct ossl *o);
void ossl_hashes_init(struct ossl *o);
void ossl_hashes_fini(struct ossl *o);
void ossl_macs_init(struct ossl *o);
void ossl_macs_fini(struct ossl *o);
void ossl_modp_init(struct ossl *o, size_t *at);
void ossl_ec_init(struct ossl *o, size_t *at);
void ossl_x_init(struct ossl *o, size_t *at);
void ossl_kes_fini(struct ossl *o);

/* hash.c. NULL: there is none. */
void *ossl_spare_take(struct ossl_spare *s);
/* false: there are enough */
bool ossl_spare_put(struct ossl_spare *s, void *ctx);

/* Give one table to the host; log what happened when it is refused. */
void ossl_provide(struct ossl *o, enum cy_kind kind, const void *ops);

static inline void ossl_random(const struct ossl *o, void *out, size_t n)
{
	o->host->random(o->self, out, n);
}

#endif
