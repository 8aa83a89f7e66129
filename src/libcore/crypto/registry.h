/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The algorithm registry: which plugin provides what. Filled on the main thread while plugins load, read-only after,
 * then used from any thread without locks. Every algorithm passes its known-answer tests (kat.c) before it is listed.
 * When several plugins provide the same algorithm the first registered wins unless a preference names another.
 */
#ifndef LIBCORE_CRYPTO_REGISTRY_H
#define LIBCORE_CRYPTO_REGISTRY_H

#include <cygnet/crypto.h>

#include "libcore/base/log.h"
#include "libcore/base/secret.h"

struct crypto;

enum cy_err crypto_new(struct log *log, struct crypto **out) CY_MUST_USE;
void crypto_free(struct crypto *c);

/* Offer an algorithm (kind: CY_KIND_CIPHER.._PKI). CY_E_AUTH: its known-answer test failed; CY_E_EXISTS: somebody
   else was first (kept as a second choice). An algorithm for which kat.c has no vector is refused: CY_E_UNSUPPORTED. */
enum cy_err crypto_register(struct crypto *c, enum cy_kind kind, const void *ops, const char *plugin);
/* Prefer this plugin's algorithms where it has them, the first named most; called before registration. kind 0: all kinds. */
enum cy_err crypto_prefer(struct crypto *c, enum cy_kind kind, const char *plugin);

const struct cy_cipher_alg *crypto_cipher(
    const struct crypto *c, uint16_t encr, uint16_t key_bits); /* NULL: none */
const struct cy_hash_alg *crypto_hash(const struct crypto *c, uint16_t hash);
const struct cy_mac_alg *crypto_mac(const struct crypto *c, uint16_t mac);
const struct cy_ke_alg *crypto_ke(const struct crypto *c, uint16_t ke);
/*
 * The provider of keys and certificates: the preferred or first one that decodes certificates. One that does not (its
 * cert_* functions are NULL) is returned only when there is no other. Objects of two providers do not mix.
 */
const struct cy_pki_ops *crypto_pki(const struct crypto *c);
const struct cy_pki_ops *crypto_pki_of(const struct crypto *c, const char *plugin); /* NULL: it has none */

/* A PRF transform (RFC 7296, 2.13): its MAC, preferred key length and output length. */
struct prf_info {
	const struct cy_mac_alg *mac;
	uint16_t key_len, out_len;
};
bool crypto_prf(const struct crypto *c, uint16_t prf, struct prf_info *out);
struct integ_info {
	const struct cy_mac_alg *mac;
	uint16_t key_len, icv_len;
};
bool crypto_integ(const struct crypto *c, uint16_t integ, struct integ_info *out);

/* One-shot helpers. out: info.out_len bytes. */
enum cy_err prf_compute(const struct crypto *c, uint16_t prf, struct cy_slice key, const struct cy_slice *in,
    size_t n_in, uint8_t *out) CY_MUST_USE;
/* prf+ (RFC 7296, 2.13); seed in pieces, at most 255 blocks. */
enum cy_err prf_plus(const struct crypto *c, uint16_t prf, struct cy_slice key, const struct cy_slice *seed,
    size_t n_seed, uint8_t *out, size_t out_len) CY_MUST_USE;
enum cy_err hash_compute(
    const struct crypto *c, uint16_t hash, const struct cy_slice *in, size_t n_in, uint8_t *out) CY_MUST_USE;

/* For `ipsec listalgs`: calls back for each registered algorithm. */
struct crypto_listing {
	enum cy_kind kind;
	uint16_t id;
	const char *name, *plugin;
	bool chosen; /* the one used */
};
void crypto_list(const struct crypto *c, void (*cb)(void *user, const struct crypto_listing *l), void *user);

#endif
