/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of SAs. By bytes and packets they are seen where packets are counted, on ESP threads; by seconds in a queue of
 * deadlines that the plugin's timer looks at. Each limit is told to the daemon once.
 */
#ifndef KERNEL_TUN_LIFETIME_H
#define KERNEL_TUN_LIFETIME_H

#include "sad.h"

struct lifetimes {
	struct kernel *k;
	struct sa **heap; /* by next deadline */
	size_t n, cap;
};

enum cy_err lifetimes_new(struct kernel *k, struct lifetimes **out) CY_MUST_USE;
void lifetimes_free(struct lifetimes *l);
/* Under kernel.lock. */
enum cy_err lifetimes_add(struct lifetimes *l, struct sa *sa) CY_MUST_USE;
void lifetimes_del(struct lifetimes *l, struct sa *sa);
/* The plugin's thread, without the lock: tells of every deadline that has passed. */
void lifetimes_run(struct lifetimes *l);

/* ESP threads: counts one packet of n bytes that passed, and tells of limits that it reached. */
void sa_count(struct kernel *k, struct sa *sa, size_t n, int64_t wall);
/* Any thread: the SA must carry nothing any more. */
void sa_kill(struct kernel *k, struct sa *sa);
void sa_soft_expire(struct kernel *k, struct sa *sa);

#endif
