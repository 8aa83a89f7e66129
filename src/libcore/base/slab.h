/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed-size objects with generation handles: a handle of a freed object never resolves to its successor. Objects do
 * not move. Not thread safe (one per worker). Freed memory is wiped; empty chunks are returned to the system.
 */
#ifndef LIBCORE_BASE_SLAB_H
#define LIBCORE_BASE_SLAB_H

#include <cygnet/types.h>

/* 0 is never a valid handle. */
typedef uint64_t slab_handle;

struct slab_chunk;
struct slab {
	struct slab_chunk **chunks; /* a hole is NULL */
	size_t n_chunks, obj_size, n_used, limit;
	size_t first_hole;        /* no hole below this one */
	struct slab_chunk *roomy; /* chunks with a free place */
	struct slab_chunk *spare; /* the one empty chunk that is kept */
	uint64_t next_gen;        /* counts allocations, so that a handle is never given out twice */
};

void slab_init(struct slab *s, size_t obj_size, size_t limit /* objects, 0 = none */);
void slab_fini(struct slab *s);
void *slab_alloc(struct slab *s, slab_handle *out_handle) CY_MUST_USE; /* zeroed; NULL at the limit */
void *slab_get(const struct slab *s, slab_handle h);                   /* NULL when stale */
void slab_free(struct slab *s, slab_handle h);
/* Iterate: start with *pos = 0; returns NULL at the end. Freeing the returned object is allowed. */
void *slab_next(const struct slab *s, size_t *pos, slab_handle *out_handle);

#endif
