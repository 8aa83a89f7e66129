/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive hash map, chained, grows and shrinks by itself, a few buckets an addition, so that none takes long. Keys are hashed
 * with SipHash-2-4 under a key drawn at init, so that a peer cannot choose collisions. Not thread safe. The map borrows nodes.
 */
#ifndef LIBCORE_BASE_HMAP_H
#define LIBCORE_BASE_HMAP_H

#include "libcore/base/err.h"

struct hnode {
	struct hnode *next;
	uint64_t hash;
};

struct hmap {
	struct hnode **buckets;
	size_t n, mask;
	struct hnode **old;  /* the table before, while its buckets move; NULL */
	size_t n_old, moved; /* its size, and how many of its buckets are empty because they moved */
	uint64_t key[2];
};

uint64_t siphash24(const uint64_t key[2], const void *p, size_t n);

enum cy_err hmap_init(struct hmap *m, const uint64_t key[2]) CY_MUST_USE;
void hmap_fini(struct hmap *m); /* nodes are the owner's */
static inline uint64_t hmap_hash(const struct hmap *m, const void *p, size_t n)
{
	return siphash24(m->key, p, n);
}
void hmap_add(
    struct hmap *m, struct hnode *n, uint64_t hash); /* cannot fail: a full table only gets slower */
void hmap_del(struct hmap *m, struct hnode *n);      /* must be in the map */
struct hnode *hmap_first(const struct hmap *m, uint64_t hash); /* first node with this hash */
struct hnode *hmap_next(const struct hnode *n);                /* next node with the same hash */

/* Bucket b of both tables; what is in the old one is not yet in the new one. */
static inline struct hnode *hmap_bucket(const struct hmap *m, size_t b)
{
	return b < m->n_old ? m->old[b] : m->buckets[b - m->n_old];
}

/* Iterate over everything: struct hnode *n, *tmp; size_t b. Deleting n is allowed, adding is not. */
#define hmap_foreach(m, b, n, tmp)                                                                           \
	for (b = 0; (m)->buckets && b <= (m)->mask + (m)->n_old; b++)                                        \
		for (n = hmap_bucket(m, b); n && (tmp = n->next, 1); n = tmp)

#endif
