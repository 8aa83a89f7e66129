/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets the ESP threads read the SAD and SPD without a lock, while the kernel thread changes them: what is taken out
 * is freed only once every ESP thread has been seen between two batches.
 *
 * A reader is online while it holds pointers, and offline while it sleeps. Writers hold the lock of struct kernel.
 */
#ifndef KERNEL_TUN_RCU_H
#define KERNEL_TUN_RCU_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RCU_MAX_READERS 16

/* Embedded in whatever is freed later. */
struct rcu_node {
	struct rcu_node *next;
	uint64_t epoch;
	void (*free)(struct rcu_node *node);
};

struct rcu_reader {
	_Alignas(64) atomic_uint_least64_t seen; /* epoch at which it went online, 0 offline */
};

struct rcu {
	atomic_uint_least64_t epoch;
	struct rcu_reader reader[RCU_MAX_READERS];
	struct rcu_node *first, **last; /* retired, oldest first */
};

void rcu_init(struct rcu *r);

/* Orders all before it against all after it. ThreadSanitizer knows no fences, but a read-modify-write. */
static inline void full_fence(void)
{
#ifdef __SANITIZE_THREAD__
	static atomic_uint fence;

	atomic_fetch_add_explicit(&fence, 1, memory_order_seq_cst);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Any thread, its own reader. Calling online again is a quiescent point. */
static inline void rcu_online(struct rcu *r, unsigned reader)
{
	uint64_t epoch = atomic_load_explicit(&r->epoch, memory_order_acquire);

	/* ordered before every load of a shared pointer that follows; rcu_reclaim() has the other half */
	atomic_store_explicit(&r->reader[reader].seen, epoch, memory_order_seq_cst);
	full_fence();
}

static inline void rcu_offline(struct rcu *r, unsigned reader)
{
	atomic_store_explicit(&r->reader[reader].seen, 0, memory_order_release);
}

/* Writers: free node when no reader can hold it. It is unreachable for new readers already. */
void rcu_retire(struct rcu *r, struct rcu_node *node, void (*free)(struct rcu_node *node));
/* Writers: frees what can be freed now. */
void rcu_reclaim(struct rcu *r);
/* No reader is left: frees everything. */
void rcu_fini(struct rcu *r);

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
