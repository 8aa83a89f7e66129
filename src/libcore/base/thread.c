/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/env.h"

enum cy_err thread_start(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *out)
{
	sigset_t all, before;
	char text[16];
	int rc;

	/* inherited by the thread from its very first instruction */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(out, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return rc == EAGAIN ? CY_E_LIMIT : CY_E_IO;
	(void)snprintf(text, sizeof(text), "%s", name);
	(void)pthread_setname_np(*out, text);
	return CY_OK;
}

bool thread_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;
	int rc;

	if (pthread_condattr_init(&attr))
		return false;
	rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (!rc)
		rc = pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
	return rc == 0;
}

bool thread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, uint64_t due_ns)
{
	struct timespec ts = {(time_t)(due_ns / NS_PER_S), (long)(due_ns % NS_PER_S)};

	if (due_ns == UINT64_MAX)
		return pthread_cond_wait(c, m) == 0;
	return pthread_cond_timedwait(c, m, &ts) == 0;
}

uint32_t thread_cpus(void)
{
	cpu_set_t set;
	long n;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (uint32_t)CPU_COUNT(&set);
	/* more CPUs than the set has bits */
	n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (uint32_t)n : 1;
}
