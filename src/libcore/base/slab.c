/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/slab.h"

#include <stdlib.h>

#include "libcore/base/err.h"
#include "libcore/base/secret.h"

/* One bit of a word an object. */
#define PER_CHUNK 64

/*
 * A handle is the number of the allocation and, in its low bits, the place. The number alone makes it unique: 2^40
 * allocations at a million a second are twelve days of nothing else, and even then only the same place can be mistaken.
 */
#define PLACE_BITS 24
#define PLACE_MASK ((1ull << PLACE_BITS) - 1)
#define GEN_MASK   ((1ull << (64 - PLACE_BITS)) - 1)

struct slab_chunk {
	struct slab_chunk *next, *prev; /* among those with room */
	size_t at;                      /* own index */
	uint64_t used;                  /* bit per object */
	uint64_t gen[PER_CHUNK];
	_Alignas(16) uint8_t data[];
};

void slab_init(struct slab *s, size_t obj_size, size_t limit)
{
	if (obj_size == 0)
		obj_size = 1;
	*s = (struct slab){
	    .obj_size = (obj_size + 15) / 16 * 16,
	    .limit = limit && limit <= PLACE_MASK ? limit : PLACE_MASK,
	    .next_gen = 1,
	};
}

static void *object(const struct slab *s, struct slab_chunk *c, size_t i)
{
	return c->data + i * s->obj_size;
}

static void link_roomy(struct slab *s, struct slab_chunk *c)
{
	c->prev = NULL;
	c->next = s->roomy;
	if (c->next)
		c->next->prev = c;
	s->roomy = c;
}

static void unlink_roomy(struct slab *s, struct slab_chunk *c)
{
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		s->roomy = c->next;
}

void slab_fini(struct slab *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_chunks; i++) {
		if (!s->chunks[i])
			continue;
		mem_wipe(s->chunks[i]->data, s->obj_size * PER_CHUNK);
		free(s->chunks[i]);
	}
	free(s->chunks);
	s->chunks = NULL;
	s->roomy = s->spare = NULL;
	s->n_chunks = s->n_used = s->first_hole = 0;
}

static struct slab_chunk *add_chunk(struct slab *s)
{
	struct slab_chunk **more, *c;
	size_t at = s->first_hole, n;

	if (s->obj_size > (SIZE_MAX - sizeof(*c)) / PER_CHUNK)
		return NULL;
	while (at < s->n_chunks && s->chunks[at])
		at++;
	s->first_hole = at;
	if (at == s->n_chunks) {
		n = s->n_chunks ? s->n_chunks * 2 : 4;
		more = realloc(s->chunks, n * sizeof(struct slab_chunk *));
		if (!more)
			return NULL;
		memset(more + s->n_chunks, 0, (n - s->n_chunks) * sizeof(struct slab_chunk *));
		s->chunks = more;
		s->n_chunks = n;
	}
	c = calloc(1, sizeof(*c) + s->obj_size * PER_CHUNK);
	if (!c)
		return NULL;
	c->at = at;
	s->chunks[at] = c;
	link_roomy(s, c);
	return c;
}

void *slab_alloc(struct slab *s, slab_handle *out_handle)
{
	struct slab_chunk *c;
	size_t i;

	if (s->n_used >= s->limit)
		return NULL;
	c = s->roomy ? s->roomy : add_chunk(s);
	if (!c)
		return NULL;
	if (c == s->spare)
		s->spare = NULL;
	i = (size_t)__builtin_ctzll(~c->used);
	c->used |= 1ull << i;
	c->gen[i] = s->next_gen;
	s->next_gen = (s->next_gen + 1) & GEN_MASK;
	if (s->next_gen == 0)
		s->next_gen = 1;
	s->n_used++;
	if (c->used == UINT64_MAX)
		unlink_roomy(s, c);
	*out_handle = c->gen[i] << PLACE_BITS | (c->at * PER_CHUNK + i);
	return object(s, c, i);
}

static struct slab_chunk *find(const struct slab *s, slab_handle h, size_t *out_i)
{
	size_t place = (size_t)(h & PLACE_MASK), at = place / PER_CHUNK, i = place % PER_CHUNK;
	struct slab_chunk *c = at < s->n_chunks ? s->chunks[at] : NULL;

	if (!c || !(c->used >> i & 1) || c->gen[i] != h >> PLACE_BITS)
		return NULL;
	*out_i = i;
	return c;
}

void *slab_get(const struct slab *s, slab_handle h)
{
	size_t i;
	struct slab_chunk *c = find(s, h, &i);

	return c ? object(s, c, i) : NULL;
}

void slab_free(struct slab *s, slab_handle h)
{
	size_t i;
	struct slab_chunk *c = find(s, h, &i);

	if (!c)
		return;
	mem_wipe(object(s, c, i), s->obj_size);
	if (c->used == UINT64_MAX)
		link_roomy(s, c);
	c->used &= ~(1ull << i);
	c->gen[i] = 0;
	s->n_used--;
	if (c->used)
		return;
	/* One empty chunk stays, or an object that comes and goes would cost a chunk each time. */
	if (!s->spare) {
		s->spare = c;
		return;
	}
	unlink_roomy(s, c);
	s->chunks[c->at] = NULL;
	if (c->at < s->first_hole)
		s->first_hole = c->at;
	free(c);
}

void *slab_next(const struct slab *s, size_t *pos, slab_handle *out_handle)
{
	for (size_t at = *pos / PER_CHUNK; at < s->n_chunks; at++) {
		struct slab_chunk *c = s->chunks[at];
		uint64_t left;
		size_t i;

		if (!c)
			continue;
		left = c->used;
		if (at == *pos / PER_CHUNK)
			left &= UINT64_MAX << *pos % PER_CHUNK;
		if (!left)
			continue;
		i = (size_t)__builtin_ctzll(left);
		*pos = at * PER_CHUNK + i + 1;
		if (out_handle)
			*out_handle = c->gen[i] << PLACE_BITS | (at * PER_CHUNK + i);
		return object(s, c, i);
	}
	*pos = s->n_chunks * PER_CHUNK;
	return NULL;
}
