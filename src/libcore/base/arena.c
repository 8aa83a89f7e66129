/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/secret.h"

/* Under AddressSanitizer a gap that may not be touched follows each object. */
#if defined(__SANITIZE_ADDRESS__)
#	define ARENA_ASAN 1
#elif defined(__has_feature)
#	if __has_feature(address_sanitizer)
#		define ARENA_ASAN 1
#	endif
#endif
#ifdef ARENA_ASAN
#	include <sanitizer/asan_interface.h>
#	define GAP        16
#	define HIDE(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#	define SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#	define GAP        0
#	define HIDE(p, n) ((void)0)
#	define SHOW(p, n) ((void)0)
#endif

#define FIRST_CHUNK ((size_t)4096 - sizeof(struct arena_chunk))
#define KEEP_MAX    ((size_t)65536)

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, cap;
	_Alignas(16) uint8_t data[];
};

void arena_init(struct arena *a, size_t limit)
{
	*a = (struct arena){NULL, 0, limit};
}

static struct arena_chunk *add_chunk(struct arena *a, size_t need)
{
	size_t cap = FIRST_CHUNK;
	struct arena_chunk *c;

	if (a->chunks) {
		cap = a->chunks->cap * 2;
		if (cap > KEEP_MAX)
			cap = KEEP_MAX;
	}
	if (cap < need)
		cap = need;
	if (cap > SIZE_MAX - sizeof(*c))
		return NULL;
	c = malloc(sizeof(*c) + cap);
	if (!c)
		return NULL;
	c->used = 0;
	c->cap = cap;
	c->next = a->chunks;
	a->chunks = c;
	HIDE(c->data, cap);
	return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->chunks;
	size_t need;
	void *p;

	if (n > SIZE_MAX / 2)
		return NULL;
	need = ((n ? n : 1) + 15) / 16 * 16;
	if (a->limit && (need > a->limit || a->used > a->limit - need))
		return NULL;
	if (!c || c->cap - c->used < need + GAP) {
		c = add_chunk(a, need + GAP);
		if (!c)
			return NULL;
	}
	p = c->data + c->used;
	c->used += need + GAP;
	a->used += need;
	SHOW(p, n);
	return memset(p, 0, n);
}

void *arena_dup(struct arena *a, const void *p, size_t n)
{
	void *copy = arena_alloc(a, n);

	if (copy && n)
		memcpy(copy, p, n);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_dup(a, s, strlen(s) + 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	p = arena_alloc(a, (size_t)n + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

static void drop_chunk(struct arena_chunk *c)
{
	SHOW(c->data, c->cap);
	mem_wipe(c->data, c->used);
	free(c);
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *keep = NULL, *c, *next;

	/* The biggest of moderate size stays, so that one huge message does not cost its memory for ever. */
	for (c = a->chunks; c; c = c->next)
		if (c->cap <= KEEP_MAX && (!keep || c->cap > keep->cap))
			keep = c;
	for (c = a->chunks; c; c = next) {
		next = c->next;
		if (c != keep)
			drop_chunk(c);
	}
	if (keep) {
		SHOW(keep->data, keep->cap);
		mem_wipe(keep->data, keep->used);
		HIDE(keep->data, keep->cap);
		keep->used = 0;
		keep->next = NULL;
	}
	a->chunks = keep;
	a->used = 0;
}

void arena_fini(struct arena *a)
{
	struct arena_chunk *c, *next;

	if (!a)
		return;
	for (c = a->chunks; c; c = next) {
		next = c->next;
		drop_chunk(c);
	}
	a->chunks = NULL;
	a->used = 0;
}
