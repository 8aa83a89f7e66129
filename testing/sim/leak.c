/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is allocated and not freed. The simulator has an allocator of its own in front of libc's, which counts the blocks of
 * the whole process: those of daemons, plugins, libraries and of the simulator itself, whoever frees them. When it traces,
 * it also notes each block with where it was allocated, and what is left of them can be shown.
 *
 * A sanitizer has an allocator of its own there, and says how much is in use.
 */
#include "sim.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#undef malloc
#undef calloc
#undef realloc

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

const char sim_leak_unit[] = "bytes";
size_t __sanitizer_get_current_allocated_bytes(void);

uint64_t sim_leak_in_use(void)
{
	return __sanitizer_get_current_allocated_bytes();
}

void sim_leak_trace(bool on)
{
	(void)on;
}

void sim_leak_show(void)
{
}

#else

#	define FRAMES  24
#	define BUCKETS 65536
#	define SHOWN   4

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

const char sim_leak_unit[] = "blocks";

/* A block that was allocated while tracing. */
struct noted {
	struct noted *next;
	const void *p;
	uint64_t number;
	size_t n;
	int n_frames;
	void *frames[FRAMES];
};

/* One thread. An allocator has nowhere else to keep it. */
static uint64_t blocks, number;
static struct noted **noted;
static bool tracing, inside;

static struct noted **bucket(const void *p)
{
	return &noted[((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15ull >> 48];
}

static void *came(void *p, size_t n)
{
	struct noted *e;

	if (!p)
		return NULL;
	blocks++;
	if (!tracing || inside)
		return p;
	inside = true; /* backtrace() may allocate */
	e = __libc_malloc(sizeof(*e));
	if (!e)
		abort();
	*e = (struct noted){.next = *bucket(p), .p = p, .number = ++number, .n = n};
	e->n_frames = backtrace(e->frames, FRAMES);
	*bucket(p) = e;
	inside = false;
	return p;
}

static void goes(const void *p)
{
	if (!p)
		return;
	blocks--;
	if (!noted)
		return;
	for (struct noted **at = bucket(p), *e; (e = *at); at = &e->next)
		if (e->p == p) {
			*at = e->next;
			__libc_free(e);
			return;
		}
}

/* Libraries find them, too. */
#	pragma GCC visibility push(default)

void *malloc(size_t n)
{
	return came(__libc_malloc(n), n);
}

void *calloc(size_t n, size_t size)
{
	return came(__libc_calloc(n, size), n * size);
}

void *realloc(void *p, size_t n)
{
	void *q;

	goes(p);
	q = __libc_realloc(p, n);
	if (!q && n)
		abort(); /* p is still there; nobody here waits for a machine without memory */
	return came(q, n);
}

void free(void *p)
{
	goes(p);
	__libc_free(p);
}

void *memalign(size_t align, size_t n)
{
	return came(__libc_memalign(align, n), n);
}

void *aligned_alloc(size_t align, size_t n)
{
	return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
	void *p = memalign(align, n);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

#	pragma GCC visibility pop

uint64_t sim_leak_in_use(void)
{
	return blocks;
}

static void forget(void)
{
	for (size_t i = 0; noted && i < BUCKETS; i++)
		for (struct noted *e = noted[i], *next; e; e = next) {
			next = e->next;
			__libc_free(e);
		}
	__libc_free(noted);
	noted = NULL;
}

void sim_leak_trace(bool on)
{
	void *frame;

	forget();
	number = 0;
	(void)backtrace(&frame, 1); /* it loads a library the first time */
	noted = on ? __libc_calloc(BUCKETS, sizeof(struct noted *)) : NULL;
	tracing = noted != NULL;
}

/* Function, file and line of a frame, where addr2line(1) is there and knows it. */
static void show_frame(void *at)
{
	char command[512], text[512];
	Dl_info in;
	FILE *f;

	if (!dladdr(at, &in) || !in.dli_fname)
		return;
	/* it is where the call returns to, behind the call */
	snprintf(command, sizeof(command), "addr2line -sfpe '%s' %#tx 2>/dev/null", in.dli_fname,
	    (char *)at - 1 - (char *)in.dli_fbase);
	f = in.dli_sname ? NULL : popen(command, "re");
	if (f && fgets(text, sizeof(text), f))
		printf("    %s", text);
	else
		printf("    %s in %s\n", in.dli_sname ? in.dli_sname : "?", in.dli_fname);
	if (f)
		pclose(f);
}

/* The one that was allocated next after this number. */
static const struct noted *next_left(uint64_t after)
{
	const struct noted *first = NULL;

	for (size_t i = 0; noted && i < BUCKETS; i++)
		for (const struct noted *e = noted[i]; e; e = e->next)
			if (e->number > after && (!first || e->number < first->number))
				first = e;
	return first;
}

void sim_leak_show(void)
{
	const struct noted *e = NULL;

	tracing = false;
	for (int n = 0; n < SHOWN && (e = next_left(e ? e->number : 0)); n++) {
		printf("  left: %zu bytes, allocation %llu of the run, from\n", e->n,
		    (unsigned long long)e->number);
		for (int k = 1; k < e->n_frames; k++)
			show_frame(e->frames[k]);
	}
	if (e && next_left(e->number))
		printf("  and more\n");
}

#endif
