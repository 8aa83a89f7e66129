/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The security policy database. Policies are kept in groups, one for each pair of prefix lengths that their selectors
 * cover, and each group in a hash table of the masked addresses: a lookup costs one probe a group, however many policies
 * there are. Of those that match, the smallest priority wins; of equals the narrower, then the older one.
 *
 * Writers hold kernel.lock, ESP threads are online (rcu.h) and remember results in a flow cache of their own, which
 * `generation` invalidates.
 */
#ifndef KERNEL_TUN_SPD_H
#define KERNEL_TUN_SPD_H

#include "packet.h"
#include "sad.h"

/* A packet that waits for an SA. */
struct held {
	struct held *next;
	size_t len;
	uint8_t data[];
};

struct policy {
	struct pnode node;
	struct rcu_node rcu;
	struct group *group;
	struct policy *next; /* writers: all of one direction */
	struct policy **at;

	uint8_t dir, action, src_plen, dst_plen;
	struct cy_ts src, dst;
	uint32_t priority;
	uint32_t narrow; /* more is narrower */
	uint64_t serial; /* less is older */
	uint64_t cookie;
	struct reqid *reqid; /* NULL unless PROTECT */

	/* want_route */
	bool routed;
	struct cy_addr route_src;

	/* without an SA: what waits, and when the daemon was last asked */
	atomic_uint_least64_t acquired_at;
	/* an SA of a CPU is missing: the same for each ESP thread; NULL: it is not asked for */
	atomic_uint_least64_t *cpu_acquired_at;
	pthread_spinlock_t lock;
	struct held *held, **held_last;
	uint32_t n_held;
};

struct group {
	struct rcu_node rcu;
	uint8_t ip6, src_plen, dst_plen;
	struct ptable policies;
};

/* Replaced when a group comes or goes. */
struct groups {
	struct rcu_node rcu;
	size_t n;
	struct group *group[];
};

struct spd {
	struct kernel *k;
	atomic_uint_least64_t generation;
	_Atomic(struct groups *) groups[2]; /* outbound, inbound */
	struct policy *policies[2];
	uint64_t next_serial;
};

/* One ESP thread's memory of lookups of one direction; direct-mapped. */
#define FLOW_CACHE_SIZE 1024
struct flow_cache_entry {
	struct flow flow;
	uint64_t generation;
	struct policy *policy; /* NULL: no policy */
};
struct flow_cache {
	struct flow_cache_entry entry[FLOW_CACHE_SIZE];
};

enum cy_err spd_new(struct kernel *k, struct spd **out) CY_MUST_USE;
void spd_free(struct spd *s); /* no ESP thread runs any more */

/* Writers. Replacing hands what the old policy held to the new one. out_old: NULL, or already retired. */
enum cy_err spd_add(struct spd *s, const struct cy_kernel_policy *p, struct policy **out_new,
    struct policy **out_old) CY_MUST_USE;
struct policy *spd_find(struct spd *s, const struct cy_kernel_policy *p);
void spd_del(struct spd *s, struct policy *p);

/* ESP threads; generation as it was when the batch began. */
struct policy *spd_lookup(struct spd *s, uint8_t dir, const struct flow *f);
struct policy *spd_lookup_cached(
    struct spd *s, uint8_t dir, const struct flow *f, struct flow_cache *cache, uint64_t generation);

/* Held packets. policy_hold() takes a copy unless there is max already; policy_release() gives all, oldest first. */
bool policy_hold(struct policy *p, const uint8_t *data, size_t len, uint32_t max);
struct held *policy_release(struct policy *p);
void held_free(struct held *h);

#endif
