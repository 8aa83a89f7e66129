/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protection of IKE messages: the Encrypted payload (RFC 7296, 3.14; AEAD: RFC 5282) and its fragments (RFC 7383).
 * Authenticates the original bytes, never rebuilt ones.
 *
 * Keys rest as bytes in struct protect_keys; cipher and MAC contexts belong to a struct protect_cache, one a worker, which
 * keeps a few keyed contexts and rekeys them as needed. One thread at a time per cache.
 */
#ifndef DAEMON_WIRE_PROTECT_H
#define DAEMON_WIRE_PROTECT_H

#include "daemon/wire/message.h"
#include "libcore/base/env.h"
#include "libcore/base/secret.h"
#include "libcore/crypto/registry.h"

/* Keys of one direction of one IKE_SA; key bytes borrowed from the SA. */
struct protect_keys {
	uint16_t encr, key_bits, integ;
	struct cy_slice encr_key; /* with the salt */
	struct cy_slice integ_key;
	uint64_t *
	    iv_counter; /* AEAD and CTR: the next explicit IV, never reused under one key (RFC 5282, 3.1); sealing */
};

struct protect_cache;
enum cy_err protect_cache_new(
    const struct crypto *c, struct env *env, struct protect_cache **out) CY_MUST_USE;
void protect_cache_free(struct protect_cache *pc);
/* CBC as IKEv1 has it (RFC 2409, Appendix B): the whole of data, a multiple of the block, in place. */
enum cy_err protect_cbc(struct protect_cache *pc, uint16_t encr, uint16_t key_bits, struct cy_slice key,
    struct cy_slice iv, struct cy_buf data, bool encrypt) CY_MUST_USE;
/* An SA's keys go: forget contexts keyed with them. */
void protect_forget(struct protect_cache *pc, const struct protect_keys *k);

/* Encrypt m's chain into one datagram at w: header, SK payload; length and ICV filled in. */
enum cy_err protect_seal(struct protect_cache *pc, const struct protect_keys *k, const struct message *m,
    struct writer *w) CY_MUST_USE;
/* The same as fragments of at most max_len bytes each (IKE header to ICV); calls out for each datagram in order. When one
   suffices, one ordinary SK message is made. CY_E_LIMIT: more than 255 fragments. */
enum cy_err protect_seal_fragments(struct protect_cache *pc, const struct protect_keys *k,
    const struct message *m, size_t max_len, bool (*out)(void *user, struct cy_slice datagram),
    void *user) CY_MUST_USE;
/*
 * Verify and decrypt in place (the datagram buffer is overwritten) a message whose clear chain ended in sk (SK or SKF).
 * *out_plain: the inner payload bytes without padding, inside the datagram. CY_E_AUTH on a bad ICV.
 */
enum cy_err protect_open(struct protect_cache *pc, const struct protect_keys *k, struct cy_buf datagram,
    const struct payload *sk, struct cy_slice *out_plain) CY_MUST_USE;

/*
 * Reassembly (RFC 7383, 2.6). Only verified fragments are added. One struct per direction of expected message; bounded by
 * max_bytes; a fragment with a bigger total restarts, with a smaller one is dropped.
 */
struct frag_set {
	uint32_t msgid;
	uint16_t total, have;
	uint8_t next; /* first inner payload, from fragment 1 */
	bool active;
	uint32_t bytes;
	struct cy_buf *parts; /* total entries, owned */
};
enum frag_result { FRAG_STORED, FRAG_DUPLICATE, FRAG_BAD, FRAG_COMPLETE };
enum frag_result frag_add(
    struct frag_set *f, uint32_t msgid, const struct payload *skf, struct cy_slice plain, uint32_t max_bytes);
/* After FRAG_COMPLETE: the whole inner chain, in the arena. */
enum cy_err frag_join(struct frag_set *f, struct arena *a, struct cy_slice *out_plain) CY_MUST_USE;
void frag_fini(struct frag_set *f); /* wipes */

#endif
