/* SPDX-License-Identifier: Apache-2.0 */

#include "rcu.h"

#include <string.h>

void rcu_init(struct rcu *r)
{
	memset(r, 0, sizeof(*r));
	atomic_init(&r->epoch, 1);
	r->last = &r->first;
}

void rcu_retire(struct rcu *r, struct rcu_node *node, void (*free)(struct rcu_node *node))
{
	node->next = NULL;
	node->free = free;
	node->epoch = atomic_fetch_add_explicit(&r->epoch, 1, memory_order_seq_cst) + 1;
	*r->last = node;
	r->last = &node->next;
}

void rcu_reclaim(struct rcu *r)
{
	uint64_t oldest = UINT64_MAX;

	if (!r->first)
		return;
	full_fence();
	for (size_t i = 0; i < RCU_MAX_READERS; i++) {
		uint64_t seen = atomic_load_explicit(&r->reader[i].seen, memory_order_seq_cst);

		if (seen && seen < oldest)
			oldest = seen;
	}
	while (r->first && r->first->epoch <= oldest) {
		struct rcu_node *node = r->first;

		r->first = node->next;
		if (!r->first)
			r->last = &r->first;
		node->free(node);
	}
}

void rcu_fini(struct rcu *r)
{
	while (r->first) {
		struct rcu_node *node = r->first;

		r->first = node->next;
		node->free(node);
	}
	r->last = &r->first;
}
