/* SPDX-License-Identifier: Apache-2.0 */

#include "table.h"

#include <stdlib.h>

#define FIRST_BUCKETS 64

enum cy_err table_init(struct table *t, const uint64_t key[2])
{
	t->bucket = calloc(FIRST_BUCKETS, sizeof(t->bucket[0]));
	if (!t->bucket)
		return CY_E_NOMEM;
	t->n = 0;
	t->buckets = FIRST_BUCKETS;
	t->key[0] = key[0];
	t->key[1] = key[1] | 1;
	return CY_OK;
}

void table_fini(struct table *t)
{
	free(t->bucket);
	memset(t, 0, sizeof(*t));
}

uint64_t table_hash(const struct table *t, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t h = t->key[0] ^ n, w;

	for (; n; p += sizeof(w), n -= n < sizeof(w) ? n : sizeof(w)) {
		w = 0;
		memcpy(&w, p, n < sizeof(w) ? n : sizeof(w));
		/* multiply by a secret odd number, and fold what it carried upwards back down */
		h = (h ^ w) * t->key[1];
		h ^= h >> 32;
	}
	h *= t->key[1];
	return h ^ (h >> 29);
}

static void grow(struct table *t)
{
	size_t n = t->buckets * 2;
	struct tnode **bucket = calloc(n, sizeof(bucket[0]));

	/* without memory it only gets slower */
	if (!bucket)
		return;
	for (size_t i = 0; i < t->buckets; i++)
		for (struct tnode *e = t->bucket[i], *next; e; e = next) {
			next = e->next;
			e->next = bucket[e->hash & (n - 1)];
			bucket[e->hash & (n - 1)] = e;
		}
	free(t->bucket);
	t->bucket = bucket;
	t->buckets = n;
}

void table_add(struct table *t, struct tnode *n, uint64_t hash)
{
	struct tnode **at;

	if (t->n >= t->buckets)
		grow(t);
	at = &t->bucket[hash & (t->buckets - 1)];
	n->hash = hash;
	n->next = *at;
	*at = n;
	t->n++;
}

void table_del(struct table *t, struct tnode *n)
{
	struct tnode **at = &t->bucket[n->hash & (t->buckets - 1)];

	while (*at && *at != n)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = n->next;
	t->n--;
}

static struct tnode *from(struct tnode *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct tnode *table_first(const struct table *t, uint64_t hash)
{
	return from(t->bucket[hash & (t->buckets - 1)], hash);
}

struct tnode *table_next(const struct tnode *n)
{
	return from(n->next, n->hash);
}

struct tnode *table_take(struct table *t, size_t *pos)
{
	for (; t->n && *pos < t->buckets; ++*pos) {
		struct tnode *n = t->bucket[*pos];

		if (n) {
			t->bucket[*pos] = n->next;
			t->n--;
			return n;
		}
	}
	return NULL;
}
