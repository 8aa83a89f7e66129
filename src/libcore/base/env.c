/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/env.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static uint64_t real_now_ns(struct env *e)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int64_t real_wall(struct env *e)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

static void real_random(struct env *e, void *out, size_t n)
{
	uint8_t *p = out;

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

void env_real(struct env *e)
{
	*e = (struct env){.now_ns = real_now_ns, .wall = real_wall, .random = real_random};
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
