/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of workers that took too long: the last ones are kept with what ran, and logged, one line a second of each worker.
 * In debug builds a thread looks at the workers and has one that is in a long step note its stack.
 */
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libcore/base/thread.h"
#include "libcore/run/processor_impl.h"

#define LOG_EVERY NS_PER_S
#define LOOK_NS   (5 * NS_PER_MS)
#define STACK_SIG SIGPROF

void slow_init(struct slow *s, const struct processor_config *cfg)
{
	pthread_mutex_init(&s->lock, NULL);
	s->class_name = cfg->class_name;
	s->stacks = cfg->stacks && !cfg->env->simulated;
}

void slow_fini(struct slow *s)
{
	pthread_mutex_destroy(&s->lock);
}

/* --- what a step was about ------------------------------------------------------------------------------------------------- */

static void entry_label(const struct usage_top *t, int at, uint64_t key, char *out, size_t cap)
{
	if (at >= 0 && key && t->e[at].key == key)
		snprintf(out, cap, "%s", t->e[at].label);
}

static void describe(struct worker *w, struct slow_step *s)
{
	struct usage_lane *l = w->lane;

	if (l->step_op_ns) {
		s->op_key = l->step_op_key;
		s->op_ns = l->step_op_ns;
	}
	if (!l->has_subject)
		return;
	s->ike_id = l->subject.ike_id;
	if (w->processor->slow.class_name)
		snprintf(s->class, sizeof(s->class), "%s", w->processor->slow.class_name(l->subject.class));
	/* its own thread is the only one that writes */
	entry_label(&l->conns, l->conn_at, l->subject.conn, s->conn, sizeof(s->conn));
	entry_label(&l->peers, l->peer_at, l->subject.peer, s->peer, sizeof(s->peer));
}

static void describe_stack(struct worker *w, struct slow_step *s)
{
	char **names;
	size_t at = 0;
	int n = __atomic_load_n(&w->n_stack, __ATOMIC_ACQUIRE);

	if (n <= 0 || w->stack_of != w->step_start_ns)
		return;
	__atomic_store_n(&w->n_stack, 0, __ATOMIC_RELAXED);
	names = backtrace_symbols(w->stack, n);
	for (int i = 2; names && i < n && at < sizeof(s->stack);
	     i++) { /* without the handler and what called it */
		const char *name = strrchr(names[i], '/');
		int len = snprintf(s->stack + at, sizeof(s->stack) - at, "%s%s", at ? " < " : "",
		    name ? name + 1 : names[i]);

		at += len > 0 ? (size_t)len : 0;
	}
	free(names);
}

void slow_report(struct worker *w, uint8_t kind, uint8_t prio, uint64_t took, uint64_t cpu)
{
	struct slow *sl = &w->processor->slow;
	struct slow_step s = {.at_ns = w->now,
	    .wall = w->env->wall(w->env),
	    .worker = w->index,
	    .kind = kind,
	    .prio = prio,
	    .ns = took,
	    .cpu_ns = cpu};
	char about[320] = "", op[96] = "";

	describe(w, &s);
	describe_stack(w, &s);
	pthread_mutex_lock(&sl->lock);
	sl->step[sl->n++ % SLOW_KEPT] = s;
	pthread_mutex_unlock(&sl->lock);
	if (w->slow_logged_ns && w->now - w->slow_logged_ns < LOG_EVERY) {
		w->slow_unlogged++;
		return;
	}
	w->slow_logged_ns = w->now;
	if (s.ike_id)
		snprintf(about, sizeof(about), ", %s of IKE_SA %llu (%.90s, %.90s)", s.class,
		    (unsigned long long)s.ike_id, *s.conn ? s.conn : "no connection yet", s.peer);
	if (s.op_ns > NS_PER_MS)
		snprintf(op, sizeof(op), ", %llu ms in %s of algorithm %u",
		    (unsigned long long)(s.op_ns / NS_PER_MS), usage_op_names[usage_key_op(s.op_key)],
		    usage_key_alg(s.op_key));
	LOGF(w->log, LOG_JOB, CY_LOG_WARN, NULL,
	    "worker %u: a step took %llu ms (%llu ms of CPU): %s%s%s%s%s; %u more since the last such line",
	    w->index, (unsigned long long)(took / NS_PER_MS), (unsigned long long)(cpu / NS_PER_MS),
	    job_kind_names[kind], about, op, *s.stack ? ", in " : "", s.stack, w->slow_unlogged);
	w->slow_unlogged = 0;
}

size_t processor_slow_steps(struct processor *p, struct slow_step *out, size_t cap)
{
	struct slow *s = &p->slow;
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->n < SLOW_KEPT ? s->n : SLOW_KEPT;
	n = n < cap ? n : cap;
	for (size_t i = 0; i < n; i++)
		out[i] = s->step[(s->n - 1 - i) % SLOW_KEPT];
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* --- stacks ------------------------------------------------------------------------------------------------------------------ */

/* On the worker, in the middle of its step. */
static void on_signal(int sig)
{
	struct worker *w = worker_self();

	(void)sig;
	if (!w || __atomic_load_n(&w->n_stack, __ATOMIC_RELAXED))
		return;
	w->stack_of = w->step_start_ns;
	__atomic_store_n(&w->n_stack, backtrace(w->stack, WORKER_STACK), __ATOMIC_RELEASE);
}

void slow_worker_begins(struct worker *w)
{
	sigset_t set;

	if (!w->processor->slow.stacks)
		return;
	sigemptyset(&set);
	sigaddset(&set, STACK_SIG);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *look_main(void *arg)
{
	struct processor *p = arg;
	struct slow *s = &p->slow;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		uint64_t now = env_now(p->env);

		for (uint32_t i = 0; i < p->n; i++) {
			struct worker *w = p->workers[i];
			uint64_t since = __atomic_load_n(&w->step_start_ns, __ATOMIC_RELAXED);

			if (!since || now < since + SLOW_STEP_NS || w->stack_asked == since ||
			    __atomic_load_n(&w->ended, __ATOMIC_ACQUIRE))
				continue;
			w->stack_asked = since;
			(void)pthread_kill(w->thread, STACK_SIG);
		}
		(void)nanosleep(&(struct timespec){0, (long)LOOK_NS}, NULL);
	}
	return NULL;
}

void slow_start(struct processor *p)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	void *one[1];

	if (!p->slow.stacks)
		return;
	(void)backtrace(one, 1); /* the first call loads a library, which a handler may not */
	if (sigaction(STACK_SIG, &sa, NULL) == 0 &&
	    thread_start("stacks", look_main, p, &p->slow.thread) == CY_OK)
		p->slow.looking = true;
}

/* Before the workers end: it signals their threads. */
void slow_stop(struct processor *p)
{
	if (!p->slow.looking)
		return;
	__atomic_store_n(&p->slow.stop, true, __ATOMIC_RELEASE);
	pthread_join(p->slow.thread, NULL);
	p->slow.looking = false;
}
