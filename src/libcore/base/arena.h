/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bump allocator: everything allocated during one message goes at once. Owned by one thread at a time.
 * arena_alloc returns zeroed, 16-byte aligned memory, or NULL when out of memory or over the limit.
 */
#ifndef LIBCORE_BASE_ARENA_H
#define LIBCORE_BASE_ARENA_H

#include <cygnet/types.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *chunks;
	size_t used, limit; /* bytes; limit 0 = none */
};

void arena_init(struct arena *a, size_t limit);
void *arena_alloc(struct arena *a, size_t n) CY_MUST_USE;
void *arena_dup(struct arena *a, const void *p, size_t n) CY_MUST_USE;
char *arena_strdup(struct arena *a, const char *s) CY_MUST_USE;
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a); /* keeps one chunk for reuse; wiped */
void arena_fini(struct arena *a);

#endif
