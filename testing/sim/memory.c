/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations of daemons that fail. The linker leads every call of malloc() and its kin here (--wrap); those made while a
 * node's worker runs may be refused. The simulator itself always gets what it asks for, and so do the libraries of plugins.
 */
#include "sim.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#undef malloc
#undef calloc
#undef realloc

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **out, const char *fmt, va_list ap);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap);
int __wrap_asprintf(char **out, const char *fmt, ...);
int __wrap___vasprintf_chk(char **out, int flag, const char *fmt, va_list ap);
int __wrap___asprintf_chk(char **out, int flag, const char *fmt, ...);

/* The node whose code runs; one thread. */
static struct sim_starving *now;

void sim_memory_enter(struct sim_node *n)
{
	now = &n->starving;
}

void sim_memory_starve(struct sim_starving *s)
{
	now = s;
}

void sim_memory_leave(void)
{
	now = NULL;
}

static bool refused(size_t n)
{
	struct sim_starving *s = now;

	if (!s)
		return false;
	s->asked++;
	if (!(n >= s->from && n < s->to) &&
	    !(s->fail_at && s->asked >= s->fail_at && s->asked < s->fail_at + s->in_a_row) &&
	    (!s->thousandths || sim_prng_below(&s->prng, 1000) >= s->thousandths))
		return false;
	s->refused++;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return refused(n) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refused(n * size) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return refused(n) ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return refused(0) ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return refused(0) ? NULL : __real_strndup(s, n);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
	return refused(0) ? -1 : __real_vasprintf(out, fmt, ap);
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = refused(0) ? -1 : __real_vasprintf(out, fmt, ap);
	va_end(ap);
	return n;
}

int __wrap___vasprintf_chk(char **out, int flag, const char *fmt, va_list ap)
{
	(void)flag;
	return refused(0) ? -1 : __real_vasprintf(out, fmt, ap);
}

int __wrap___asprintf_chk(char **out, int flag, const char *fmt, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, fmt);
	n = refused(0) ? -1 : __real_vasprintf(out, fmt, ap);
	va_end(ap);
	return n;
}

void *sim_malloc(size_t n)
{
	return __real_malloc(n);
}

void *sim_calloc(size_t n, size_t size)
{
	return __real_calloc(n, size);
}

void *sim_realloc(void *p, size_t n)
{
	return __real_realloc(p, n);
}

/* AddressSanitizer keeps its own books. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

size_t sim_memory_used(struct sim *s)
{
	struct sim_set **sets[] = {&s->keys, &s->wire, &s->ivs, &s->windows};
	struct mallinfo2 m;

	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		sim_set_free(*sets[i]);
		*sets[i] = sim_set_new();
	}
	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	m = mallinfo2();
	return m.uordblks + m.hblkhd;
}
