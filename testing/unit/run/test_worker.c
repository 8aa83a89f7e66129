/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcore/run/worker.h"
#include "real_env.h"
#include "sim_env.h"

/* --- without threads --- */

#define TRACE 4096
struct trace {
	struct job job;
	int *out, *n;
	int id;
};

static void trace_job(struct worker *w, struct job *j)
{
	struct trace *t = container_of(j, struct trace, job);

	EXPECT(worker_self() == w);
	t->out[(*t->n)++] = t->id;
}

struct sim {
	struct sim_env env;
	struct processor *p;
	struct worker *w;
};

static void sim_init(struct sim *s, uint32_t n)
{
	sim_env_init(&s->env);
	ck_assert_int_eq(
	    processor_new(&(struct processor_config){.n_workers = n, .env = &s->env.env}, &s->p), CY_OK);
	ck_assert_int_eq(processor_start(s->p), CY_OK);
	s->w = processor_worker(s->p, 0);
}

START_TEST(priorities)
{
	struct sim s;
	static struct trace jobs[PRIO_N * 100];
	static int out[TRACE];
	int n = 0, at = 0;

	sim_init(&s, 1);
	/* LOW posted first; 100 of each */
	for (int p = PRIO_N - 1; p >= 0; p--) {
		for (int i = 0; i < 100; i++, at++) {
			jobs[at] = (struct trace){{.fn = trace_job}, out, &n, p};
			worker_post(s.w, &jobs[at].job, (enum prio)p, JOB_CONTROL);
		}
	}
	ck_assert_uint_eq(worker_next_due(s.w), s.env.now);
	ck_assert_uint_eq(worker_step(s.w, 10), 10);
	ck_assert_int_eq(n, 10);
	ck_assert_uint_eq(worker_step(s.w, SIZE_MAX), 390);
	/* while CRITICAL has work it gets most, and every 16 jobs have one of each other queue */
	for (int i = 0; i + 16 <= 64; i++) {
		int seen[PRIO_N] = {0};

		for (int k = 0; k < 16; k++)
			seen[out[i + k]]++;
		for (int p = 0; p < PRIO_N; p++)
			ck_assert_msg(seen[p] >= 1, "%d starved from job %d", p, i);
		ck_assert_int_ge(seen[PRIO_CRITICAL], 10);
	}
	ck_assert_int_eq(out[0], PRIO_CRITICAL);
	ck_assert_uint_eq(worker_step(s.w, SIZE_MAX), 0);
	ck_assert(worker_next_due(s.w) == UINT64_MAX);
	ck_assert_ptr_null(worker_self());
	processor_stop(s.p);
	processor_free(s.p);
}
END_TEST

START_TEST(first_in_first_out)
{
	struct sim s;
	static struct trace jobs[500];
	static int out[TRACE];
	struct worker_stats st;
	int n = 0;

	sim_init(&s, 1);
	for (int i = 0; i < 500; i++) {
		jobs[i] = (struct trace){{.fn = trace_job}, out, &n, i};
		worker_post(s.w, &jobs[i].job, PRIO_MEDIUM, JOB_DATAGRAM);
	}
	s.env.now += 5 * NS_PER_MS;
	(void)worker_step(s.w, SIZE_MAX);
	for (int i = 0; i < 500; i++)
		ck_assert_int_eq(out[i], i);
	worker_read_stats(s.w, &st);
	ck_assert_uint_eq(st.jobs[PRIO_MEDIUM], 500);
	ck_assert_uint_eq(st.jobs_by_kind[JOB_DATAGRAM], 500);
	ck_assert_uint_eq(st.latency[PRIO_MEDIUM].n, 500);
	ck_assert_uint_eq(st.latency[PRIO_MEDIUM].max, 5 * NS_PER_MS);
	ck_assert_uint_eq(st.inbox, 0);
	ck_assert_uint_eq(st.queued[PRIO_MEDIUM], 0);
	ck_assert(st.idle);
	ck_assert_int_eq(st.running_prio, PRIO_N);
	processor_free(s.p);
}
END_TEST

struct ticking {
	struct timer t;
	struct worker *w;
	int n;
};

static void tick(struct timer *t)
{
	struct ticking *k = container_of(t, struct ticking, t);

	EXPECT(worker_self() == k->w);
	if (++k->n < 5)
		worker_timer_set(k->w, t, worker_now(k->w) + 100 * NS_PER_MS);
}

START_TEST(timers_in_virtual_time)
{
	struct sim s;
	struct ticking k = {.t.fn = tick};
	struct worker_stats st;
	uint64_t start;

	sim_init(&s, 2);
	k.w = s.w;
	start = s.env.now;
	worker_timer_set(s.w, &k.t, start + 100 * NS_PER_MS);
	worker_read_stats(s.w, &st);
	ck_assert_uint_eq(st.timers, 1);
	while (worker_next_due(s.w) != UINT64_MAX) {
		ck_assert_uint_ge(worker_next_due(s.w), s.env.now);
		s.env.now = worker_next_due(s.w);
		(void)worker_step(s.w, SIZE_MAX);
	}
	ck_assert_int_eq(k.n, 5);
	ck_assert_uint_eq(s.env.now, start + 500 * NS_PER_MS);
	worker_read_stats(s.w, &st);
	ck_assert_uint_eq(st.timers_fired, 5);
	ck_assert_uint_eq(st.timers, 0);
	worker_timer_set(s.w, &k.t, s.env.now + 1);
	worker_timer_cancel(s.w, &k.t);
	worker_read_stats(s.w, &st);
	ck_assert_uint_eq(st.timers, 0);
	processor_free(s.p);
}
END_TEST

/* --- with threads --- */

struct counted {
	struct job job;
	struct worker *next;
	int hops;
	uint32_t *total; /* atomic */
	bool heap;
};

static void hop(struct worker *w, struct job *j)
{
	struct counted *c = container_of(j, struct counted, job);
	struct processor *p = worker_processor(w);

	EXPECT(worker_self() == w);
	if (c->hops-- > 0) {
		worker_post(processor_worker(p, (worker_index(w) + 1) % processor_n(p)), j,
		    (enum prio)(c->hops % PRIO_N), JOB_REKEY);
		return;
	}
	__atomic_fetch_add(c->total, 1, __ATOMIC_RELAXED);
	free(c);
}

#define POSTERS 3
#define PER     3000
struct poster {
	struct real *r;
	uint32_t *total;
};

static void *post_many(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < PER; i++) {
		struct counted *c = calloc(1, sizeof(*c));

		c->job.fn = hop;
		c->hops = i % 5;
		c->total = p->total;
		worker_post(processor_worker(p->r->p, (uint32_t)i % processor_n(p->r->p)), &c->job,
		    (enum prio)(i % PRIO_N), JOB_DATAGRAM);
		if (i % 500 == 0)
			sleep_ms(1); /* so that the workers fall asleep in between */
	}
	return NULL;
}

START_TEST(many_posters)
{
	struct real r;
	uint32_t total = 0;
	pthread_t t[POSTERS];
	struct poster arg = {&r, &total};
	struct worker_stats st;
	uint64_t jobs = 0;

	real_init(&r, 3);
	for (int i = 0; i < POSTERS; i++)
		pthread_create(&t[i], NULL, post_many, &arg);
	for (int i = 0; i < 20; i++) {
		/* reading statistics is no race */
		worker_read_stats(processor_worker(r.p, (uint32_t)i % 3), &st);
		(void)processor_stuck_ms(r.p);
		sleep_ms(1);
	}
	for (int i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	processor_stop(r.p); /* runs what is queued */
	ck_assert_uint_eq(total, POSTERS * PER);
	for (uint32_t i = 0; i < 3; i++) {
		worker_read_stats(processor_worker(r.p, i), &st);
		for (int p = 0; p < PRIO_N; p++)
			jobs += st.jobs[p];
	}
	ck_assert_uint_eq(jobs, POSTERS * PER * 3); /* 1 + (0+1+2+3+4)/5 */
	real_fini(&r);
}
END_TEST

struct waited {
	struct job job;
	struct watch watch;
	struct timer timer;
	struct worker *w;
	uint64_t start, fired_ns;
	int fds[2];
	int reads;
	bool done, timed; /* atomic */
};

static void on_readable(struct worker *w, struct watch *watch, uint32_t events)
{
	struct waited *x = container_of(watch, struct waited, watch);
	char c;

	EXPECT(events & EPOLLIN);
	if (read(watch->fd, &c, 1) == 1 && ++x->reads == 2) {
		worker_watch_del(w, watch);
		__atomic_store_n(&x->done, true, __ATOMIC_RELEASE);
	}
}

static void on_timer(struct timer *t)
{
	struct waited *x = container_of(t, struct waited, timer);

	x->fired_ns = worker_now(x->w);
	__atomic_store_n(&x->timed, true, __ATOMIC_RELEASE);
}

static void prepare(struct worker *w, struct job *j)
{
	struct waited *x = container_of(j, struct waited, job);

	EXPECT(worker_watch_add(w, &x->watch) == CY_OK);
	x->start = worker_now(w);
	worker_timer_set(w, &x->timer, x->start + 30 * NS_PER_MS);
}

static bool wait_for(bool *flag)
{
	for (int i = 0; i < 2000; i++) {
		if (__atomic_load_n(flag, __ATOMIC_ACQUIRE))
			return true;
		sleep_ms(1);
	}
	return false;
}

START_TEST(descriptors_and_timers)
{
	struct real r;
	struct waited x = {.job.fn = prepare, .timer.fn = on_timer};
	struct worker_stats st;

	real_init(&r, 1);
	ck_assert_int_eq(pipe(x.fds), 0);
	x.w = processor_worker(r.p, 0);
	x.watch = (struct watch){x.fds[0], EPOLLIN, on_readable};
	worker_post(x.w, &x.job, PRIO_HIGH, JOB_CONTROL);
	ck_assert_int_eq(write(x.fds[1], "ab", 2), 2);
	ck_assert(wait_for(&x.done));
	ck_assert(wait_for(&x.timed));
	ck_assert_uint_ge(x.fired_ns - x.start, 30 * NS_PER_MS);
	ck_assert_uint_le(x.fired_ns - x.start, 500 * NS_PER_MS);
	sleep_ms(20);
	ck_assert_uint_eq(processor_stuck_ms(r.p), 0);
	worker_read_stats(x.w, &st);
	ck_assert(st.idle);
	ck_assert_uint_ge(st.jobs_by_kind[JOB_IO], 2);
	real_fini(&r);
	close(x.fds[0]);
	close(x.fds[1]);
}
END_TEST

/* Two watches are ready at once; the first deletes and frees the second. */
struct pair {
	struct job job;
	struct watch *a, *b;
	int calls;
	bool done;
};
static struct pair pair; /* one test, one process */

static void kill_other(struct worker *w, struct watch *watch, uint32_t events)
{
	struct watch *other = watch == pair.a ? pair.b : pair.a;

	pair.calls++;
	worker_watch_del(w, other);
	free(other);
	worker_watch_del(w, watch);
	free(watch);
	__atomic_store_n(&pair.done, true, __ATOMIC_RELEASE);
}

static void add_pair(struct worker *w, struct job *j)
{
	EXPECT(worker_watch_add(w, pair.a) == CY_OK);
	EXPECT(worker_watch_add(w, pair.b) == CY_OK);
}

START_TEST(deleted_while_ready)
{
	struct real r;
	int fds[2][2];

	real_init(&r, 1);
	for (int i = 0; i < 2; i++) {
		struct watch *w = malloc(sizeof(*w));

		ck_assert_int_eq(pipe(fds[i]), 0);
		ck_assert_int_eq(write(fds[i][1], "x", 1), 1);
		*w = (struct watch){fds[i][0], EPOLLIN, kill_other};
		*(i ? &pair.b : &pair.a) = w;
	}
	pair.job.fn = add_pair;
	worker_post(processor_worker(r.p, 0), &pair.job, PRIO_HIGH, JOB_CONTROL);
	ck_assert(wait_for(&pair.done));
	sleep_ms(10);
	real_fini(&r);
	ck_assert_int_eq(pair.calls, 1);
}
END_TEST

static void slow(struct worker *w, struct job *j)
{
	sleep_ms(60);
}

static bool find_slow(void *user, const struct log_line *line)
{
	if (strstr(line->text, "a step took") && strstr(line->text, "rekey"))
		*(bool *)user = true;
	return true;
}

START_TEST(slow_steps_are_named)
{
	struct real r;
	struct job j = {.fn = slow};
	struct worker_stats st;
	bool found = false;
	uint32_t most = 0;

	real_init(&r, 1);
	worker_post(processor_worker(r.p, 0), &j, PRIO_LOW, JOB_REKEY);
	for (int i = 0; i < 40; i++) {
		uint32_t ms = processor_stuck_ms(r.p);

		if (ms > most)
			most = ms;
		sleep_ms(1);
	}
	ck_assert_uint_ge(most, 10);
	processor_stop(r.p);
	worker_read_stats(processor_worker(r.p, 0), &st);
	ck_assert_uint_eq(st.slow_steps, 1);
	ck_assert_uint_ge(st.max_step_ns, 60 * NS_PER_MS);
	ck_assert_int_eq(st.max_step_kind, JOB_REKEY);
	ck_assert_uint_eq(st.max_ns_by_kind[JOB_REKEY], st.max_step_ns);
	for (int i = 0; i < 200 && !found; i++) {
		log_recent(r.log, 10, find_slow, &found);
		sleep_ms(1);
	}
	ck_assert(found);
	real_fini(&r);
}
END_TEST

static void again(struct worker *w, struct job *j)
{
	worker_post(w, j, PRIO_CRITICAL, JOB_CONTROL);
}

/* A job that posts itself for ever does not keep timers, descriptors, or lower queues from their turn. */
START_TEST(nobody_starves)
{
	struct real r;
	struct waited x = {.job.fn = prepare, .timer.fn = on_timer};
	struct job j = {.fn = again};

	real_init(&r, 1);
	ck_assert_int_eq(pipe(x.fds), 0);
	x.w = processor_worker(r.p, 0);
	x.watch = (struct watch){x.fds[0], EPOLLIN, on_readable};
	worker_post(x.w, &j, PRIO_CRITICAL, JOB_CONTROL);
	worker_post(x.w, &x.job, PRIO_LOW, JOB_CONTROL);
	sleep_ms(5);
	ck_assert_int_eq(write(x.fds[1], "ab", 2), 2);
	ck_assert(wait_for(&x.done));
	ck_assert(wait_for(&x.timed));
	real_fini(&r); /* after 2 s it is not waited for any longer */
	close(x.fds[0]);
	close(x.fds[1]);
}
END_TEST

UNIT_TESTS(worker)
{
	tcase_add_test(tc, priorities);
	tcase_add_test(tc, first_in_first_out);
	tcase_add_test(tc, timers_in_virtual_time);
	tcase_add_test(tc, many_posters);
	tcase_add_test(tc, descriptors_and_timers);
	tcase_add_test(tc, deleted_while_ready);
	tcase_add_test(tc, slow_steps_are_named);
	tcase_add_test(tc, nobody_starves);
}
