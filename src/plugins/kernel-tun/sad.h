/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The security association database. Inbound SAs are found by SPI alone (RFC 4301, 4.1, unicast), outbound ones through
 * the reqid of a policy: the newest SA whose selectors the packet matches and that is not past a hard limit, of the CPU
 * if there is one (RFC 9611), else of none.
 *
 * Writers hold kernel.lock. ESP threads look up while online (rcu.h) and may use what they found until their next
 * quiescent point. What they change is atomic, or under the SA's own spinlock.
 */
#ifndef KERNEL_TUN_SAD_H
#define KERNEL_TUN_SAD_H

#include "kernel.h"
#include "packet.h"
#include "replay.h"

/* Tunnel ends; replaced as a whole, so that no packet has half of an old pair. */
struct sa_path {
	struct rcu_node rcu;
	struct cy_addr src, dst;
};

/* Live contexts of one ESP thread; made when it first needs them. */
struct sa_crypt {
	void *cipher, *mac;
};

/* The outbound SAs of one CHILD_SA and its successors. */
struct reqid {
	struct pnode node;
	struct rcu_node rcu;
	uint32_t reqid;
	uint32_t refs;            /* SAs and policies */
	_Atomic(struct sa *) sas; /* outbound ones, newest first */
};

struct sa {
	struct pnode node;
	struct rcu_node rcu;
	uint64_t serial; /* never used again, unlike the address */

	uint32_t spi;
	uint8_t dir, proto, mode, copy_dscp;
	bool no_ecn, esn, no_pmtu_disc;
	uint32_t tfc_pad;
	int32_t cpu; /* outbound: that it is for (RFC 9611), -1 any */
	uint64_t cookie;
	_Atomic(struct sa_path *) path;
	struct reqid *reqid;
	_Atomic(struct sa *) next_of_reqid; /* still leads on when this one was taken out */

	/* the transform */
	const struct cy_cipher_alg *cipher;
	const struct cy_mac_alg *mac; /* NULL: the cipher is AEAD */
	uint8_t iv_len, icv_len, salt_len, align;
	uint8_t salt[4];
	uint8_t key[CY_MAX_CIPHER_KEY];
	uint8_t key_len;
	uint8_t integ_key[CY_MAX_MAC_LEN];
	uint8_t integ_key_len;

	struct cy_ts *ts; /* local ones, then remote ones */
	uint32_t n_ts_local, n_ts_remote;

	/* limits; what is reached is told once */
	struct cy_lifetime life;
	atomic_bool soft_told, dead; /* dead: hard limit, carries nothing any more */
	uint64_t soft_at, hard_at;   /* monotonic ns, 0 none */
	size_t life_index;           /* place in the queue of deadlines + 1, 0 none */

	/* counts */
	atomic_uint_least64_t bytes, packets, replay_drops, integrity_drops;
	atomic_int_least64_t last_used;
	bool leaving; /* deleted; under the lock of struct kernel */
	uint32_t ticks_left;
	struct sa *next_leaving;
	atomic_int lane; /* 1 + the ESP thread that carried a packet last, 0 none yet */

	atomic_uint_least64_t seq; /* outbound: the last one given out */

	/* inbound, under lock */
	pthread_spinlock_t lock;
	struct replay replay;
	uint32_t failures;        /* consecutive, for RFC 4303, A3 */
	struct cy_addr mapped_to; /* told to the daemon */

	size_t n_crypt;
	struct sa_crypt crypt[]; /* one each ESP thread */
};

struct sad {
	struct kernel *k;
	struct ptable in, out, reqids;
	uint64_t next_serial;
	struct sa *leaving;
};

enum cy_err sad_new(struct kernel *k, struct sad **out) CY_MUST_USE;
void sad_free(struct sad *d); /* no ESP thread runs any more */

/* Writers. */
enum cy_err sad_add(struct sad *d, const struct cy_kernel_sa *in, struct sa **out) CY_MUST_USE;
struct sa *sad_find(struct sad *d, const struct cy_kernel_sa_id *id);
enum cy_err sad_move(
    struct sad *d, struct sa *sa, const struct cy_addr *src, const struct cy_addr *dst) CY_MUST_USE;
void sad_del(struct sad *d, struct sa *sa);
/*
 * An inbound one that is deleted goes at the second tick from now: what was received on it may still wait for an ESP thread, while the
 * peer's delete came by another way. Until then nobody finds it but those threads.
 */
void sad_leave(struct sad *d, struct sa *sa);
void sad_tick(struct sad *d);
void sad_flush(struct sad *d);
struct reqid *reqid_get(struct sad *d, uint32_t reqid); /* counted; NULL: no memory */
void reqid_put(struct sad *d, struct reqid *r);

/* ESP threads. */
struct sa *sad_lookup_in(struct sad *d, uint32_t spi);
/* The SA for an outbound packet of an ESP thread, or of -1; one that is dead when there is no other; NULL: none is for it. */
struct sa *reqid_pick(const struct kernel *k, const struct reqid *r, const struct flow *f, int thread);
/* Is this packet, which arrived or is to be sent on the SA, what its selectors allow? All are when there are none. */
bool sa_allows(const struct sa *sa, const struct flow *f);
enum cy_err sa_crypt_get(struct sa *sa, unsigned thread, struct sa_crypt **out) CY_MUST_USE;

/* Any thread that may hold the SA. */
void sa_id(const struct sa *sa, struct cy_kernel_sa_id *out);
static inline const struct sa_path *sa_path(const struct sa *sa)
{
	return atomic_load_explicit(&((struct sa *)sa)->path, memory_order_acquire);
}

/* sa.c */
enum cy_err sa_new(struct kernel *k, const struct cy_kernel_sa *in, struct sa **out) CY_MUST_USE;
void sa_free(struct rcu_node *node);

#endif
