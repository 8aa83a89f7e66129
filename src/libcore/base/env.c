/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/env.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "libcore/base/secret.h"

static uint64_t real_now_ns(struct env *e)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t real_cpu_ns(struct env *e)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int64_t real_wall(struct env *e)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

static void from_kernel(uint8_t *p, size_t n)
{
	while (n) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0) {
			if (errno == EINTR)
				continue;
			abort(); /* no randomness, no security: nothing sensible can follow */
		}
		p += got;
		n -= (size_t)got;
	}
}

/*
 * An IKE_SA takes a few bytes at a time, often: one system call for many of them. What was given out is gone from the buffer. After fork()
 * both processes would have the same bytes to come; nothing here forks without exec once there are threads.
 */
#define RANDOM_AHEAD 512
#define RANDOM_SMALL 64

static _Thread_local struct {
	uint8_t bytes[RANDOM_AHEAD];
	size_t left;
} ahead;

static void real_random(struct env *e, void *out, size_t n)
{
	uint8_t *at;

	(void)e;
	if (n > RANDOM_SMALL) {
		from_kernel(out, n);
		return;
	}
	if (ahead.left < n) {
		from_kernel(ahead.bytes, sizeof(ahead.bytes));
		ahead.left = sizeof(ahead.bytes);
	}
	ahead.left -= n;
	at = ahead.bytes + ahead.left;
	memcpy(out, at, n);
	mem_wipe(at, n);
}

void env_real(struct env *e)
{
	*e = (struct env){
	    .now_ns = real_now_ns, .wall = real_wall, .random = real_random, .cpu_ns = real_cpu_ns};
}

uint64_t env_rand_below(struct env *e, uint64_t n)
{
	uint64_t over, v;

	if (n < 2)
		return 0;
	/* 2^64 mod n values at the bottom would make small results likelier: draw again */
	over = (0 - n) % n;
	do {
		v = env_rand64(e);
	} while (v < over);
	return v % n;
}
