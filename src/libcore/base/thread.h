/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a thread: named, with all signals blocked (they are the main thread's). Any thread. */
#ifndef LIBCORE_BASE_THREAD_H
#define LIBCORE_BASE_THREAD_H

#include <cygnet/types.h>
#include <pthread.h>

/* name: at most 15 characters are shown. */
enum cy_err thread_start(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *out) CY_MUST_USE;
/* A condition variable whose timed waits take CLOCK_MONOTONIC; false when the system refuses. */
bool thread_cond_init(pthread_cond_t *c);
/* Wait on it until the monotonic time due_ns (UINT64_MAX: for ever); false at the timeout. */
bool thread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, uint64_t due_ns);
/* CPUs that this process may run on, at least 1. */
uint32_t thread_cpus(void);

#endif
