/* SPDX-License-Identifier: Apache-2.0 */

#include "ptable.h"

#include <stdlib.h>

#define MIN_SLOTS 16

/* Marks the slot of a removed node, so that a search goes on past it. */
static struct pnode removed;

static void free_slots(struct rcu_node *node)
{
	free(container_of(node, struct ptable_slots, rcu));
}

static struct ptable_slots *load_slots(const struct ptable *t)
{
	return atomic_load_explicit(&t->slots, memory_order_acquire);
}

static struct pnode *load_slot(const struct ptable_slots *s, size_t i)
{
	return atomic_load_explicit(&s->slot[i & s->mask], memory_order_acquire);
}

static void place(struct ptable_slots *s, struct pnode *node)
{
	size_t i = node->hash;

	while (load_slot(s, i))
		i++;
	atomic_store_explicit(&s->slot[i & s->mask], node, memory_order_release);
}

/* A fresh set of slots, at most a quarter full. */
static enum cy_err rebuild(struct ptable *t, struct rcu *rcu)
{
	struct ptable_slots *old = load_slots(t), *s;
	size_t n = MIN_SLOTS;

	while (n < (t->live + 1) * 4)
		n *= 2;
	s = calloc(1, sizeof(*s) + n * sizeof(s->slot[0]));
	if (!s)
		return CY_E_NOMEM;
	s->mask = n - 1;
	if (old)
		for (size_t i = 0; i <= old->mask; i++) {
			struct pnode *node = load_slot(old, i);

			if (node && node != &removed)
				place(s, node);
		}
	t->used = t->live;
	atomic_store_explicit(&t->slots, s, memory_order_release);
	if (old)
		rcu_retire(rcu, &old->rcu, free_slots);
	return CY_OK;
}

enum cy_err ptable_insert(struct ptable *t, struct rcu *rcu, struct pnode *node)
{
	struct ptable_slots *s = load_slots(t);

	if (!s || (t->used + 1) * 2 > s->mask + 1) {
		enum cy_err err = rebuild(t, rcu);

		if (err != CY_OK)
			return err;
		s = load_slots(t);
	}
	place(s, node);
	t->used++;
	t->live++;
	return CY_OK;
}

void ptable_remove(struct ptable *t, struct pnode *node)
{
	struct ptable_slots *s = load_slots(t);

	if (!s)
		return;
	for (size_t i = node->hash; load_slot(s, i); i++)
		if (load_slot(s, i) == node) {
			atomic_store_explicit(&s->slot[i & s->mask], &removed, memory_order_release);
			t->live--;
			return;
		}
}

void ptable_free(struct ptable *t)
{
	free(load_slots(t));
	atomic_store_explicit(&t->slots, NULL, memory_order_relaxed);
	t->used = t->live = 0;
}

struct pnode *ptable_next(struct pcursor *c)
{
	struct pnode *node;

	/* ends: at least half of the slots are empty */
	while ((node = load_slot(c->slots, c->at++)))
		if (node != &removed && node->hash == c->hash)
			return node;
	return NULL;
}

struct pnode *ptable_first(const struct ptable *t, uint64_t hash, struct pcursor *out_c)
{
	out_c->slots = load_slots(t);
	out_c->at = hash;
	out_c->hash = hash;
	return out_c->slots ? ptable_next(out_c) : NULL;
}

struct pnode *ptable_each(const struct ptable *t, size_t *i)
{
	const struct ptable_slots *s = load_slots(t);

	while (s && *i <= s->mask) {
		struct pnode *node = load_slot(s, (*i)++);

		if (node && node != &removed)
			return node;
	}
	return NULL;
}
