/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool for what a worker may not do itself. Two classes: CPU (large-group DH, big RSA), as many threads as CPUs;
 * IO (libraries that block), bounded, with a quota per owner (plugin) so that one that hangs cannot take all threads.
 * The node is the submitter's, allocated before submission; done comes back as a CRITICAL..LOW job on the given worker.
 * done is called exactly once: CY_OK after run; without run CY_E_LIMIT (queue full), CY_E_TIMEOUT (queued too long),
 * CY_E_CANCELLED. Cancelled while it runs, done comes with CY_E_CANCELLED when run returns, for until then the node is in
 * use. The one exception: what still runs when pool_free gives up is left behind, node and all, without done.
 * Simulated env: run and done are executed as a job on the worker, no thread.
 */
#ifndef LIBCORE_RUN_POOL_H
#define LIBCORE_RUN_POOL_H

#include "libcore/run/worker.h"

enum pool_class { POOL_CPU, POOL_IO };

struct pool;
struct work {
	struct job job;              /* used to come back; its node links the queue before */
	struct timer deadline;       /* the pool's own */
	void (*run)(struct work *w); /* on a pool thread */
	void (*done)(struct worker *worker, struct work *w,
	    enum cy_err err); /* on `worker`; CY_OK, _CANCELLED, _LIMIT */
	struct worker *worker;
	const char *owner; /* static or long-lived name for quota and statistics, e.g. "openssl" */
	enum prio prio;
	enum pool_class class;
	uint64_t queued_ns, deadline_ns; /* deadline: still queued then -> CY_E_TIMEOUT; 0 none */
	/* the pool's own, from here */
	enum cy_err err;
	int state;
	bool cancelled; /* atomic */
};

struct pool_config {
	struct env *env;
	struct log *log;
	uint32_t cpu_threads; /* 0: number of CPUs */
	uint32_t io_threads;  /* 0: 8 */
	uint32_t io_quota;    /* threads one owner may hold; 0: half of io_threads */
	uint32_t queue_max;   /* per class; beyond it done gets CY_E_LIMIT; 0: 100000 */
};
struct pool_owner_stats {
	const char *owner;
	uint64_t runs, ns, wait_ns, cpu_ns;
	struct hist time, wait;
	uint32_t running, queued;
};
enum cy_err pool_new(const struct pool_config *cfg, struct pool **out) CY_MUST_USE;
void pool_free(struct pool *p); /* queued work is cancelled; running work is waited for 1 s, then abandoned */
void pool_submit(struct pool *p, struct work *w); /* any thread */
void pool_cancel(struct pool *p, struct work *w); /* any thread, before its done; done still comes */
/* For a long run: has the submitter lost interest? */
static inline bool work_cancelled(const struct work *w)
{
	return __atomic_load_n(&w->cancelled, __ATOMIC_RELAXED);
}
/* When what has waited longest was queued; 0: nothing waits. Any thread, without a lock. */
uint64_t pool_oldest(const struct pool *p, enum pool_class class);
size_t pool_stats(struct pool *p, struct pool_owner_stats *out, size_t cap);
void pool_read_usage(struct pool *p, struct usage_sum *sum); /* adds what its threads counted */

#endif
