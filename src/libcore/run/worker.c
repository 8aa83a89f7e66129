/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "libcore/run/worker_impl.h"

#define POLL_JOBS      64
#define POLL_NS        NS_PER_MS
#define TIMERS_AT_ONCE 16 /* between two jobs, so that a crowd of timers does not hold up jobs either */
/*
 * A queue that was passed over so often is next. Three queues can reach the number at once and the last of them is then
 * passed over twice more: one in 16 holds for each.
 */
#define PASSED_MAX 13

const char *const prio_names[PRIO_N] = {"critical", "high", "medium", "low"};

const char *const job_kind_names[JOB_KIND_N] = {
    [JOB_DATAGRAM] = "datagram",
    [JOB_TIMER] = "timer",
    [JOB_COMPLETION] = "completion",
    [JOB_CONTROL] = "control",
    [JOB_INITIATE] = "initiate",
    [JOB_ACQUIRE] = "acquire",
    [JOB_EXPIRE] = "expire",
    [JOB_DELETE] = "delete",
    [JOB_REKEY] = "rekey",
    [JOB_LIVENESS] = "liveness",
    [JOB_HOUSEKEEPING] = "housekeeping",
    [JOB_IO] = "io",
};

static _Thread_local struct worker *self;

/* Statistics have one writer; a plain add of an atomic that nobody else changes. */
#define LOAD(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define ADD(p, v)   STORE((p), LOAD(p) + (v))

struct worker *worker_self(void)
{
	return self;
}

uint32_t worker_index(const struct worker *w)
{
	return w->index;
}

struct env *worker_env(const struct worker *w)
{
	return w->env;
}

struct log *worker_log(const struct worker *w)
{
	return w->log;
}

struct processor *worker_processor(const struct worker *w)
{
	return w->processor;
}

uint64_t worker_now(const struct worker *w)
{
	return w->now;
}

enum cy_err worker_init(
    struct worker *w, struct processor *p, uint32_t index, struct env *env, struct log *log)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = w};

	w->index = index;
	w->processor = p;
	w->env = env;
	w->log = log;
	w->now = env_now(env);
	for (int i = 0; i < PRIO_N; i++)
		list_init(&w->queues[i]);
	wheel_init(&w->wheel, w->now);
	w->stats.idle = true;
	w->stats.running_prio = PRIO_N;
	w->stats.progress_ns = w->now;
	w->wake_fd = -1;
	w->lane = malloc(sizeof(*w->lane));
	if (!w->lane) {
		w->epoll_fd = -1;
		return CY_E_NOMEM;
	}
	usage_lane_init(w->lane, env, true);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0)
		return CY_E_IO;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0 || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &ev) < 0)
		return CY_E_IO;
	return CY_OK;
}

void worker_fini(struct worker *w)
{
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	w->wake_fd = w->epoll_fd = -1;
	if (w->lane)
		usage_lane_fini(w->lane);
	free(w->lane);
	w->lane = NULL;
}

static void enqueue(struct worker *w, struct job *j)
{
	list_push(&w->queues[j->prio], &j->node);
	ADD(&w->stats.queued[j->prio], 1);
}

void worker_wake(struct worker *w)
{
	uint64_t one = 1;

	if (!__atomic_load_n(&w->asleep, __ATOMIC_SEQ_CST) ||
	    !__atomic_exchange_n(&w->asleep, false, __ATOMIC_SEQ_CST))
		return;
	/* one is added a sleep: it never gets full */
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void worker_post(struct worker *w, struct job *j, enum prio prio, enum job_kind kind)
{
	struct list *head;

	j->prio = (uint8_t)prio;
	j->kind = (uint8_t)kind;
	j->queued_ns = env_now(w->env);
	__atomic_fetch_add(&w->posted, 1, __ATOMIC_SEQ_CST);
	if (self == w) {
		enqueue(w, j);
		return;
	}
	__atomic_fetch_add(&w->inbox_n, 1, __ATOMIC_RELAXED);
	head = __atomic_load_n(&w->inbox, __ATOMIC_RELAXED);
	do {
		j->node.next = head;
	} while (!__atomic_compare_exchange_n(
	    &w->inbox, &head, &j->node, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	/*
	 * The worker looks into the inbox after it has said that it sleeps. Not only who found the inbox empty wakes it:
	 * that thread may have lost its CPU before it came to do so.
	 */
	worker_wake(w);
}

static void drain_inbox(struct worker *w)
{
	struct list *n, *next, *in_order = NULL;
	uint32_t count = 0;

	if (!__atomic_load_n(&w->inbox, __ATOMIC_RELAXED))
		return;
	for (n = __atomic_exchange_n(&w->inbox, NULL, __ATOMIC_ACQUIRE); n; n = next) {
		next = n->next;
		n->next = in_order;
		in_order = n;
		count++;
	}
	for (n = in_order; n; n = next) {
		next = n->next;
		enqueue(w, list_entry(n, struct job, node));
	}
	__atomic_fetch_sub(&w->inbox_n, count, __ATOMIC_RELAXED);
}

static void step_begin(struct worker *w, uint8_t prio)
{
	STORE(&w->step_start_ns, w->now ? w->now : 1);
	STORE(&w->stats.running_prio, prio);
	usage_step_begin(w->lane, w->now);
}

static void step_end(struct worker *w, uint8_t kind, uint8_t prio)
{
	uint64_t now = env_now(w->env), took = now - w->now, cpu;

	ADD(&w->stats.jobs_by_kind[kind], 1);
	ADD(&w->stats.busy_ns, took);
	if (took > LOAD(&w->stats.max_ns_by_kind[kind]))
		STORE(&w->stats.max_ns_by_kind[kind], took);
	if (took > LOAD(&w->stats.max_step_ns)) {
		STORE(&w->stats.max_step_ns, took);
		STORE(&w->stats.max_step_kind, kind);
	}
	STORE(&w->stats.progress_ns, now);
	w->now = now;
	cpu = usage_step_end(w->lane, now, kind, prio);
	if (took > SLOW_STEP_NS) {
		ADD(&w->stats.slow_steps, 1);
		slow_report(w, kind, prio, took, cpu);
	}
	w->lane->has_subject = false;
}

static void run_job(struct worker *w, struct job *j)
{
	uint8_t prio = j->prio, kind = j->kind; /* fn may free j */

	hist_add(&w->stats.latency[prio], w->now > j->queued_ns ? w->now - j->queued_ns : 0);
	step_begin(w, prio);
	j->fn(w, j);
	ADD(&w->stats.jobs[prio], 1);
	step_end(w, kind, prio);
	w->jobs_since_poll++;
	__atomic_store_n(&w->done, w->done + 1, __ATOMIC_SEQ_CST);
}

static struct job *pick(struct worker *w)
{
	int choice = -1, hungry = -1;
	struct list *n;

	for (int p = 0; p < PRIO_N; p++) {
		if (list_empty(&w->queues[p])) {
			w->passed[p] = 0;
			continue;
		}
		if (choice < 0)
			choice = p;
		else if (w->passed[p] >= PASSED_MAX && (hungry < 0 || w->passed[p] > w->passed[hungry]))
			hungry = p;
	}
	if (choice < 0)
		return NULL;
	if (hungry >= 0)
		choice = hungry;
	for (int p = 0; p < PRIO_N; p++)
		if (p != choice && !list_empty(&w->queues[p]))
			w->passed[p]++;
	w->passed[choice] = 0;
	n = list_pop(&w->queues[choice]);
	STORE(&w->stats.queued[choice], LOAD(&w->stats.queued[choice]) - 1);
	return list_entry(n, struct job, node);
}

static size_t fire_timers(struct worker *w, size_t max)
{
	size_t n = 0;

	wheel_collect(&w->wheel, w->now);
	while (n < max && !list_empty(&w->wheel.due)) {
		step_begin(w, PRIO_HIGH);
		(void)wheel_fire_one(&w->wheel);
		ADD(&w->stats.timers_fired, 1);
		step_end(w, JOB_TIMER, PRIO_HIGH);
		n++;
	}
	if (n)
		STORE(&w->stats.timers, (uint32_t)w->wheel.n);
	return n;
}

static size_t handle_events(struct worker *w, int n)
{
	size_t done = 0;
	uint64_t value;

	w->n_events = n > 0 ? n : 0;
	for (w->at_event = 0; w->at_event < w->n_events; w->at_event++) {
		struct epoll_event *ev = &w->events[w->at_event];
		struct watch *watch = ev->data.ptr;

		if (ev->data.ptr == w) {
			if (read(w->wake_fd, &value, sizeof(value)) < 0)
				continue;
		} else if (watch) {
			step_begin(w, PRIO_HIGH);
			watch->fn(w, watch, ev->events);
			step_end(w, JOB_IO, PRIO_HIGH);
			done++;
		}
	}
	w->n_events = 0;
	w->polled_ns = w->now;
	w->jobs_since_poll = 0;
	return done;
}

void worker_on_turn(struct worker *w, void (*fn)(void *user), void *user)
{
	w->turn = fn;
	w->turn_user = user;
}

static void turn(struct worker *w)
{
	if (w->turn)
		w->turn(w->turn_user);
}

static size_t poll_now(struct worker *w)
{
	turn(w);
	return handle_events(w, epoll_wait(w->epoll_fd, w->events, WORKER_EVENTS, 0));
}

static void sleep_until_due(struct worker *w)
{
	uint64_t due = wheel_next(&w->wheel), now = env_now(w->env), ms = 60000;
	int n;

	turn(w);
	STORE(&w->step_start_ns, 0);
	STORE(&w->stats.running_prio, PRIO_N);
	__atomic_store_n(&w->asleep, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&w->inbox, __ATOMIC_SEQ_CST) || __atomic_load_n(&w->quit, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&w->asleep, false, __ATOMIC_SEQ_CST);
		return;
	}
	if (due <= now)
		ms = 0;
	else if ((due - now) / NS_PER_MS < ms)
		ms = (due - now + NS_PER_MS - 1) / NS_PER_MS;
	STORE(&w->stats.idle, true);
	n = epoll_wait(w->epoll_fd, w->events, WORKER_EVENTS, (int)ms);
	__atomic_store_n(&w->asleep, false, __ATOMIC_SEQ_CST);
	STORE(&w->stats.idle, false);
	ADD(&w->stats.wakeups, 1);
	w->now = env_now(w->env);
	(void)handle_events(w, n);
}

void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct job *j;

	self = w;
	(void)usage_enter(w->lane);
	slow_worker_begins(w);
	__atomic_store_n(&w->running, true, __ATOMIC_RELEASE);
	w->now = env_now(w->env);
	STORE(&w->stats.idle, false);
	while (!__atomic_load_n(&w->quit, __ATOMIC_ACQUIRE)) {
		drain_inbox(w);
		(void)fire_timers(w, TIMERS_AT_ONCE);
		if ((w->n_watches || w->turn) &&
		    (w->jobs_since_poll >= POLL_JOBS || w->now - w->polled_ns >= POLL_NS))
			(void)poll_now(w);
		j = pick(w);
		if (j)
			run_job(w, j);
		else if (list_empty(&w->wheel.due))
			sleep_until_due(w);
	}
	STORE(&w->step_start_ns, 0);
	STORE(&w->stats.running_prio, PRIO_N);
	STORE(&w->stats.idle, true);
	self = NULL;
	(void)usage_enter(NULL);
	__atomic_store_n(&w->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

size_t worker_step(struct worker *w, size_t max)
{
	struct worker *outer = self;
	struct usage_lane *outer_lane = usage_enter(w->lane);
	size_t n, jobs = 0;
	struct job *j;

	self = w;
	w->now = env_now(w->env);
	STORE(&w->stats.idle, false);
	n = fire_timers(w, SIZE_MAX);
	if (w->n_watches)
		n += poll_now(w);
	while (jobs < max) {
		drain_inbox(w);
		j = pick(w);
		if (!j)
			break;
		run_job(w, j);
		jobs++;
		n += fire_timers(w, SIZE_MAX);
	}
	STORE(&w->step_start_ns, 0);
	STORE(&w->stats.running_prio, PRIO_N);
	STORE(&w->stats.idle, true);
	self = outer;
	(void)usage_enter(outer_lane);
	return n + jobs;
}

uint64_t worker_next_due(struct worker *w)
{
	if (__atomic_load_n(&w->inbox, __ATOMIC_ACQUIRE))
		return env_now(w->env);
	for (int p = 0; p < PRIO_N; p++)
		if (!list_empty(&w->queues[p]))
			return env_now(w->env);
	return wheel_next(&w->wheel);
}

void worker_timer_set(struct worker *w, struct timer *t, uint64_t due_ns)
{
	wheel_set(&w->wheel, t, due_ns);
	STORE(&w->stats.timers, (uint32_t)w->wheel.n);
}

void worker_timer_cancel(struct worker *w, struct timer *t)
{
	wheel_cancel(&w->wheel, t);
	STORE(&w->stats.timers, (uint32_t)w->wheel.n);
}

static enum cy_err control(struct worker *w, int op, struct watch *watch, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = watch};

	if (epoll_ctl(w->epoll_fd, op, watch->fd, &ev) == 0)
		return CY_OK;
	return errno == EPERM ? CY_E_UNSUPPORTED
	    : errno == EEXIST ? CY_E_EXISTS
	    : errno == ENOENT ? CY_E_NOTFOUND
	    : errno == ENOMEM ? CY_E_NOMEM
	    : errno == ENOSPC ? CY_E_LIMIT
	                      : CY_E_IO;
}

enum cy_err worker_watch_add(struct worker *w, struct watch *watch)
{
	enum cy_err err = control(w, EPOLL_CTL_ADD, watch, watch->events);

	if (!err)
		w->n_watches++;
	return err;
}

enum cy_err worker_watch_mod(struct worker *w, struct watch *watch, uint32_t events)
{
	enum cy_err err = control(w, EPOLL_CTL_MOD, watch, events);

	if (!err)
		watch->events = events;
	return err;
}

void worker_watch_del(struct worker *w, struct watch *watch)
{
	/* a descriptor that was closed before has left the set by itself */
	(void)control(w, EPOLL_CTL_DEL, watch, 0);
	if (w->n_watches)
		w->n_watches--;
	/* its event may have been fetched already */
	for (int i = w->at_event; i < w->n_events; i++)
		if (w->events[i].data.ptr == watch)
			w->events[i].data.ptr = NULL;
}

/* Read from outside: costs the worker nothing. */
static uint64_t thread_cpu_ns(struct worker *w)
{
	struct timespec ts;
	clockid_t clock;

	if (!__atomic_load_n(&w->running, __ATOMIC_ACQUIRE) || __atomic_load_n(&w->ended, __ATOMIC_ACQUIRE) ||
	    pthread_getcpuclockid(w->thread, &clock) != 0 || clock_gettime(clock, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void worker_read_stats(struct worker *w, struct worker_stats *out)
{
	struct worker_stats *s = &w->stats;

	memset(out, 0, sizeof(*out));
	for (int i = 0; i < PRIO_N; i++) {
		out->jobs[i] = LOAD(&s->jobs[i]);
		out->queued[i] = LOAD(&s->queued[i]);
		hist_merge(&out->latency[i], &s->latency[i]);
	}
	for (int i = 0; i < JOB_KIND_N; i++) {
		out->jobs_by_kind[i] = LOAD(&s->jobs_by_kind[i]);
		out->max_ns_by_kind[i] = LOAD(&s->max_ns_by_kind[i]);
	}
	out->busy_ns = LOAD(&s->busy_ns);
	out->wakeups = LOAD(&s->wakeups);
	out->timers_fired = LOAD(&s->timers_fired);
	out->slow_steps = LOAD(&s->slow_steps);
	out->max_step_ns = LOAD(&s->max_step_ns);
	out->max_step_kind = LOAD(&s->max_step_kind);
	out->inbox = LOAD(&w->inbox_n);
	out->timers = LOAD(&s->timers);
	out->idle = LOAD(&s->idle);
	out->running_prio = LOAD(&s->running_prio);
	out->progress_ns = LOAD(&s->progress_ns);
	out->cpu_ns = thread_cpu_ns(w);
}

void worker_read_usage(struct worker *w, struct usage_sum *sum)
{
	usage_sum_add(sum, w->lane);
}
