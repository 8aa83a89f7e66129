/* SPDX-License-Identifier: Apache-2.0 */
/* A growing table from 64 bit numbers (hashes) to what was last noted for them. Open addressing; nothing is taken out. */
#include <stdlib.h>

#include "sim.h"

struct slot {
	uint64_t key, value;
};

struct sim_set {
	struct slot *slots;
	size_t n, cap;
};

struct sim_set *sim_set_new(void)
{
	struct sim_set *set = calloc(1, sizeof(*set));

	if (!set)
		abort();
	set->cap = 1024;
	set->slots = calloc(set->cap, sizeof(*set->slots));
	if (!set->slots)
		abort();
	return set;
}

void sim_set_free(struct sim_set *set)
{
	if (set)
		free(set->slots);
	free(set);
}

static struct slot *place(struct sim_set *set, uint64_t key)
{
	size_t i = key & (set->cap - 1);

	while (set->slots[i].key && set->slots[i].key != key)
		i = (i + 1) & (set->cap - 1);
	return &set->slots[i];
}

uint64_t *sim_set_at(struct sim_set *set, uint64_t key, bool *out_fresh)
{
	struct slot *s;

	key = key ? key : 1;
	if (2 * set->n > set->cap) {
		struct sim_set old = *set;

		set->cap *= 2;
		set->slots = calloc(set->cap, sizeof(*set->slots));
		if (!set->slots)
			abort();
		for (size_t i = 0; i < old.cap; i++)
			if (old.slots[i].key)
				*place(set, old.slots[i].key) = old.slots[i];
		free(old.slots);
	}
	s = place(set, key);
	*out_fresh = !s->key;
	set->n += !s->key;
	s->key = key;
	return &s->value;
}

/* FNV-1a with a stir at the end: fast, for tables only. */
uint64_t sim_hash(const void *p, size_t n, uint64_t seed)
{
	const uint8_t *b = p;
	uint64_t h = 0xcbf29ce484222325ull ^ seed;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3ull;
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 29);
}
