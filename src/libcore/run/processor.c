/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libcore/base/thread.h"
#include "libcore/run/processor_impl.h"

#define DRAIN_NS (2 * NS_PER_S) /* for queued jobs at the end */
#define END_NS   NS_PER_S       /* then for the step that is running */

enum cy_err processor_new(const struct processor_config *cfg, struct processor **out)
{
	uint32_t n = cfg->n_workers ? cfg->n_workers : thread_cpus();
	struct processor *p = calloc(1, sizeof(*p) + n * sizeof(struct worker *));
	enum cy_err err;

	if (!p)
		return CY_E_NOMEM;
	p->env = cfg->env;
	p->log = cfg->log;
	slow_init(&p->slow, cfg);
	for (uint32_t i = 0; i < n; i++) {
		struct worker *w = aligned_alloc(64, sizeof(*w));

		if (!w) {
			processor_free(p);
			return CY_E_NOMEM;
		}
		memset(w, 0, sizeof(*w));
		p->workers[p->n++] = w;
		err = worker_init(w, p, i, p->env, p->log);
		if (err) {
			processor_free(p);
			return err;
		}
	}
	*out = p;
	return CY_OK;
}

static void pause_ms(void)
{
	(void)nanosleep(&(struct timespec){0, NS_PER_MS}, NULL);
}

static bool all_ended(struct processor *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!__atomic_load_n(&p->workers[i]->ended, __ATOMIC_ACQUIRE))
			return false;
	return true;
}

/* End the first n threads. A thread whose step does not come to an end is left behind. */
static void end_threads(struct processor *p, uint32_t n)
{
	uint64_t give_up = env_now(p->env) + END_NS;

	for (uint32_t i = 0; i < n; i++) {
		__atomic_store_n(&p->workers[i]->quit, true, __ATOMIC_SEQ_CST);
		worker_wake(p->workers[i]);
	}
	while (!all_ended(p, n) && env_now(p->env) < give_up)
		pause_ms();
	for (uint32_t i = 0; i < n; i++) {
		struct worker *w = p->workers[i];

		if (__atomic_load_n(&w->ended, __ATOMIC_ACQUIRE)) {
			pthread_join(w->thread, NULL);
		} else {
			LOGF(p->log, LOG_JOB, CY_LOG_ERROR, NULL,
			    "worker %u does not end: it has been in one step for %u ms", i,
			    processor_stuck_ms(p));
			pthread_detach(w->thread);
		}
	}
}

enum cy_err processor_start(struct processor *p)
{
	char name[32]; /* cut to what a thread's name may be */
	enum cy_err err;

	if (p->env->simulated || p->started)
		return CY_OK;
	for (uint32_t i = 0; i < p->n; i++) {
		(void)snprintf(name, sizeof(name), "worker-%u", i);
		err = thread_start(name, worker_main, p->workers[i], &p->workers[i]->thread);
		if (err) {
			end_threads(p, i);
			return err;
		}
	}
	p->started = true;
	slow_start(p);
	return CY_OK;
}

/* Has every job been run that was posted? What is done is counted first: it never exceeds what was posted. */
static bool drained(struct processor *p)
{
	uint64_t done = 0, posted = 0;

	for (uint32_t i = 0; i < p->n; i++)
		done += __atomic_load_n(&p->workers[i]->done, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < p->n; i++)
		posted += __atomic_load_n(&p->workers[i]->posted, __ATOMIC_SEQ_CST);
	return done == posted;
}

void processor_stop(struct processor *p)
{
	uint64_t give_up;

	if (!p)
		return;
	if (p->env->simulated) {
		/* bounded: two workers could post to each other for ever */
		for (int round = 0; round < 1000 && !drained(p); round++)
			for (uint32_t i = 0; i < p->n; i++)
				(void)worker_step(p->workers[i], 10000);
		return;
	}
	if (!p->started)
		return;
	give_up = env_now(p->env) + DRAIN_NS;
	while (!drained(p) && env_now(p->env) < give_up)
		pause_ms();
	slow_stop(p);
	end_threads(p, p->n);
	p->started = false;
}

void processor_free(struct processor *p)
{
	bool lost = false;

	if (!p)
		return;
	if (p->started)
		processor_stop(p);
	for (uint32_t i = 0; i < p->n; i++) {
		/* one that was left behind still uses its memory */
		if (p->workers[i]->quit && !__atomic_load_n(&p->workers[i]->ended, __ATOMIC_ACQUIRE)) {
			lost = true;
			continue;
		}
		worker_fini(p->workers[i]);
		free(p->workers[i]);
	}
	if (!lost) {
		slow_fini(&p->slow);
		free(p);
	}
}

uint32_t processor_n(const struct processor *p)
{
	return p->n;
}

struct worker *processor_worker(const struct processor *p, uint32_t i)
{
	return i < p->n ? p->workers[i] : NULL;
}

uint32_t processor_stuck_ms(struct processor *p)
{
	uint64_t now = env_now(p->env), most = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		uint64_t since = __atomic_load_n(&p->workers[i]->step_start_ns, __ATOMIC_RELAXED);

		if (since && now > since && now - since > most)
			most = now - since;
	}
	most /= NS_PER_MS;
	return most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}
