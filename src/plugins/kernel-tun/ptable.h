/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of pointers that is read without a lock. Open addressing; several nodes may have the same hash.
 * Nodes are the caller's, who retires them after ptable_remove(). Readers are online (rcu.h), writers are serialised.
 */
#ifndef KERNEL_TUN_PTABLE_H
#define KERNEL_TUN_PTABLE_H

#include "rcu.h"

#include <cygnet/types.h>

/* Embedded in what the table holds. */
struct pnode {
	uint64_t hash;
};

struct ptable_slots {
	struct rcu_node rcu;
	size_t mask;
	_Atomic(struct pnode *) slot[];
};

struct ptable {
	_Atomic(struct ptable_slots *) slots;
	size_t used; /* slots that are not empty, with those of removed nodes */
	size_t live;
};

/* A position among the nodes of one hash. */
struct pcursor {
	const struct ptable_slots *slots;
	size_t at;
	uint64_t hash;
};

enum cy_err ptable_insert(struct ptable *t, struct rcu *rcu, struct pnode *node) CY_MUST_USE;
void ptable_remove(struct ptable *t, struct pnode *node);
void ptable_free(struct ptable *t); /* the slots; no readers */

struct pnode *ptable_next(struct pcursor *c);
struct pnode *ptable_first(const struct ptable *t, uint64_t hash, struct pcursor *out_c);

/* Every node, for writers. i starts at 0; NULL at the end. */
struct pnode *ptable_each(const struct ptable *t, size_t *i);

/* Keyed mixing of words into a hash; key is random, h the hash so far. */
static inline uint64_t hash_mix(uint64_t key, uint64_t h, uint64_t word)
{
	h ^= word;
	h *= key | 1;
	return h ^ (h >> 29);
}

#endif
