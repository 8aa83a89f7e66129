/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outside world as a table of functions: clock, randomness. Network and kernel reach the daemon as plugins' ops
 * (cy_socket_ops, cy_kernel_ops), so that the simulator replaces them the same way. One env per daemon instance;
 * functions may be called from any thread. Nothing else in the tree calls clock_gettime, time or getrandom.
 */
#ifndef LIBCORE_BASE_ENV_H
#define LIBCORE_BASE_ENV_H

#include <cygnet/types.h>

enum env_slow { ENV_POOL, ENV_IO, ENV_KERNEL, ENV_SLOW_N }; /* the pool: what computes, what waits */

struct env_process {
	uint64_t lasts_ns; /* UINT64_MAX: it does not end by itself */
	int status;        /* of waitpid(2) */
	bool ignores_term;
};

struct env {
	uint64_t (*now_ns)(struct env *e); /* monotonic */
	int64_t (*wall)(struct env *e);    /* Unix seconds */
	void (*random)(struct env *e, void *out, size_t n);
	bool simulated; /* no threads: pool work and processes run inline under the simulator's schedule */
	uint64_t (*cpu_ns)(
	    struct env *e); /* CPU time of the calling thread; NULL: there is none (simulator) */
	/*
	 * Simulated: call fn(user) once, later, from outside of every worker; for the same user in the order of the calls. Not at all
	 * once the daemon stops. NULL: pool and kernel answer at once.
	 */
	void (*defer)(struct env *e, enum env_slow what, void (*fn)(void *user), void *user);
	/*
	 * Simulated: what a process does that is started with this. With it, processes and the threads of plugins are there, and do
	 * something when the simulator calls procs_step() and plugins_step(). NULL: processes run, and a plugin that wants a thread is
	 * refused.
	 */
	struct env_process (*process)(struct env *e, const char *const *argv, const char *const *envp);
	/* Simulated, with process: until then nobody does anything but plugins that end, and their processes. */
	void (*pass)(struct env *e, uint64_t until_ns);
	/* The first address of a host name; 0, or what gai_strerror() explains. NULL: getaddrinfo(3). */
	int (*look_up)(struct env *e, const char *name, int family, struct cy_addr *out);
};

void env_real(struct env *e); /* CLOCK_MONOTONIC, CLOCK_REALTIME, getrandom(2) */

static inline uint64_t env_now(struct env *e)
{
	return e->now_ns(e);
}
static inline uint64_t env_rand64(struct env *e)
{
	uint64_t v;

	e->random(e, &v, sizeof(v));
	return v;
}
/* Uniform in [0, n); n > 0. */
uint64_t env_rand_below(struct env *e, uint64_t n);

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

#endif
