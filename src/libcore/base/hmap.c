/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/hmap.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define MIN_BUCKETS 16
/*
 * Buckets that move with each addition. A table grows when it holds as many as it has buckets and would grow again after as many
 * more: it has moved long before.
 */
#define MOVES 4

static inline uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

/* The state is passed by value, so that it stays in registers. */
struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline struct sip sip_round(struct sip s)
{
	s.v0 += s.v1;
	s.v1 = rotl(s.v1, 13) ^ s.v0;
	s.v0 = rotl(s.v0, 32);
	s.v2 += s.v3;
	s.v3 = rotl(s.v3, 16) ^ s.v2;
	s.v0 += s.v3;
	s.v3 = rotl(s.v3, 21) ^ s.v0;
	s.v2 += s.v1;
	s.v1 = rotl(s.v1, 17) ^ s.v2;
	s.v2 = rotl(s.v2, 32);
	return s;
}

static inline struct sip sip_word(struct sip s, uint64_t m)
{
	s.v3 ^= m;
	s = sip_round(sip_round(s));
	s.v0 ^= m;
	return s;
}

static inline uint64_t load_le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static inline uint64_t load_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* Aumasson, Bernstein: SipHash, a fast short-input PRF (2012), section 2. */
uint64_t siphash24(const uint64_t key[2], const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t length = (uint64_t)n << 56;
	struct sip s = {
	    key[0] ^ 0x736f6d6570736575ull,
	    key[1] ^ 0x646f72616e646f6dull,
	    key[0] ^ 0x6c7967656e657261ull,
	    key[1] ^ 0x7465646279746573ull,
	};

	for (; n >= 8; p += 8, n -= 8)
		s = sip_word(s, load_le64(p));
	s = sip_word(s, length | load_le(p, n));
	s.v2 ^= 0xff;
	s = sip_round(sip_round(sip_round(sip_round(s))));
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

enum cy_err hmap_init(struct hmap *m, const uint64_t key[2])
{
	struct hnode **buckets = calloc(MIN_BUCKETS, sizeof(struct hnode *));

	if (!buckets)
		return CY_E_NOMEM;
	*m = (struct hmap){.buckets = buckets, .mask = MIN_BUCKETS - 1, .key = {key[0], key[1]}};
	return CY_OK;
}

void hmap_fini(struct hmap *m)
{
	if (!m)
		return;
	free(m->buckets);
	free(m->old);
	m->buckets = m->old = NULL;
	m->n = m->mask = m->n_old = m->moved = 0;
}

/* Without memory the table stays as it is, only slower. */
static void resize(struct hmap *m, size_t n)
{
	struct hnode **buckets = calloc(n, sizeof(struct hnode *));

	if (!buckets)
		return;
	m->old = m->buckets;
	m->n_old = m->mask + 1;
	m->moved = 0;
	m->buckets = buckets;
	m->mask = n - 1;
}

static void forget_old(struct hmap *m)
{
	free(m->old);
	m->old = NULL;
	m->n_old = m->moved = 0;
}

static void move_some(struct hmap *m)
{
	struct hnode *node, *next;

	for (int i = 0; i < MOVES && m->moved < m->n_old; i++, m->moved++) {
		for (node = m->old[m->moved]; node; node = next) {
			next = node->next;
			node->next = m->buckets[node->hash & m->mask];
			m->buckets[node->hash & m->mask] = node;
		}
		m->old[m->moved] = NULL;
	}
	if (m->moved == m->n_old)
		forget_old(m);
}

/* The one place where nodes of this hash are. */
static struct hnode **bucket_of(const struct hmap *m, uint64_t hash)
{
	size_t b = m->n_old ? hash & (m->n_old - 1) : 0;

	return m->n_old && b >= m->moved ? &m->old[b] : &m->buckets[hash & m->mask];
}

void hmap_add(struct hmap *m, struct hnode *n, uint64_t hash)
{
	size_t size = m->mask + 1;
	struct hnode **at;

	/* Moving waits for an addition, because hmap_foreach allows deletions. */
	if (m->n_old)
		move_some(m);
	else if (m->n >= size && size <= SIZE_MAX / 4)
		resize(m, size * 2);
	else if (size > MIN_BUCKETS && m->n < size / 8)
		resize(m, size / 2);
	n->hash = hash;
	at = bucket_of(m, hash);
	n->next = *at;
	*at = n;
	m->n++;
}

void hmap_del(struct hmap *m, struct hnode *n)
{
	struct hnode **at = bucket_of(m, n->hash);

	while (*at && *at != n)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = n->next;
	n->next = NULL;
	m->n--;
	/* With nothing left no iteration can be disturbed. */
	if (m->n == 0) {
		forget_old(m);
		if (m->mask >= MIN_BUCKETS * 64) {
			resize(m, MIN_BUCKETS);
			forget_old(m);
		}
	}
}

struct hnode *hmap_first(const struct hmap *m, uint64_t hash)
{
	struct hnode *n;

	if (!m->buckets)
		return NULL;
	for (n = *bucket_of(m, hash); n; n = n->next)
		if (n->hash == hash)
			return n;
	return NULL;
}

struct hnode *hmap_next(const struct hnode *n)
{
	uint64_t hash = n->hash;
	struct hnode *at;

	for (at = n->next; at; at = at->next)
		if (at->hash == hash)
			return at;
	return NULL;
}
