/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <pthread.h>

#include "libcore/run/pool.h"
#include "real_env.h"
#include "sim_env.h"

struct task {
	struct work w;
	uint32_t *done_n;            /* atomic */
	uint32_t *gate;              /* atomic: run waits until it is set */
	uint32_t ran, done, started; /* atomic */
	enum cy_err err;
	bool saw_cancel;
};

static void task_run(struct work *w)
{
	struct task *t = container_of(w, struct task, w);

	EXPECT(worker_self() == NULL);
	__atomic_store_n(&t->started, 1, __ATOMIC_RELEASE);
	while (t->gate && !__atomic_load_n(t->gate, __ATOMIC_ACQUIRE)) {
		sleep_ms(1);
		if (work_cancelled(w)) {
			t->saw_cancel = true;
			break;
		}
	}
	t->ran++;
}

static void task_done(struct worker *worker, struct work *w, enum cy_err err)
{
	struct task *t = container_of(w, struct task, w);

	EXPECT(worker_self() == worker && w->worker == worker);
	t->err = err;
	t->done++;
	__atomic_fetch_add(t->done_n, 1, __ATOMIC_RELEASE);
}

static void task_init(struct task *t, struct worker *w, const char *owner, enum pool_class class, uint32_t *n)
{
	*t = (struct task){.w = {.run = task_run,
	                       .done = task_done,
	                       .worker = w,
	                       .owner = owner,
	                       .prio = PRIO_MEDIUM,
	                       .class = class},
	    .done_n = n};
}

START_TEST(runs_and_comes_back)
{
	struct real r;
	struct pool *p;
	static struct task t[400];
	uint32_t n = 0;
	struct pool_owner_stats st[4];

	real_init(&r, 2);
	ck_assert_int_eq(pool_new(&(struct pool_config){.env = &r.env, .log = r.log}, &p), CY_OK);
	for (int i = 0; i < 400; i++) {
		task_init(&t[i], processor_worker(r.p, (uint32_t)i % 2), i % 4 < 2 ? "one" : "two",
		    i % 3 ? POOL_CPU : POOL_IO, &n);
		t[i].w.prio = (enum prio)(i % PRIO_N);
		pool_submit(p, &t[i].w);
	}
	ck_assert(wait_count(&n, 400));
	for (int i = 0; i < 400; i++) {
		ck_assert_int_eq(t[i].err, CY_OK);
		ck_assert_uint_eq(t[i].ran, 1);
		ck_assert_uint_eq(t[i].done, 1);
	}
	ck_assert_uint_eq(pool_stats(p, st, 4), 2);
	ck_assert_uint_eq(st[0].runs + st[1].runs, 400);
	ck_assert_uint_eq(st[0].runs, 200);
	ck_assert_uint_eq(st[0].time.n, 200);
	ck_assert_uint_eq(st[0].queued + st[0].running, 0);
	pool_free(p);
	real_fini(&r);
}
END_TEST

/* One owner that hangs takes no more than its quota; another one's work goes on. */
START_TEST(quota)
{
	struct real r;
	struct pool *p;
	static struct task bad[20], good[20];
	uint32_t n_bad = 0, n_good = 0, gate = 0;
	struct pool_owner_stats st[2];

	real_init(&r, 1);
	ck_assert_int_eq(
	    pool_new(&(struct pool_config){.env = &r.env, .log = r.log, .io_threads = 4}, &p), CY_OK);
	for (int i = 0; i < 20; i++) {
		task_init(&bad[i], processor_worker(r.p, 0), "bad", POOL_IO, &n_bad);
		bad[i].gate = &gate;
		bad[i].w.prio = PRIO_CRITICAL;
		pool_submit(p, &bad[i].w);
	}
	for (int i = 0; i < 20; i++) {
		task_init(&good[i], processor_worker(r.p, 0), "good", POOL_IO, &n_good);
		good[i].w.prio = PRIO_LOW;
		pool_submit(p, &good[i].w);
	}
	ck_assert(wait_count(&n_good, 20));
	ck_assert_uint_eq(pool_stats(p, st, 2), 2);
	ck_assert_str_eq(st[0].owner, "bad");
	ck_assert_uint_eq(st[0].running, 2);
	ck_assert_uint_eq(st[0].queued, 18);
	ck_assert_uint_eq(__atomic_load_n(&n_bad, __ATOMIC_ACQUIRE), 0);
	__atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
	ck_assert(wait_count(&n_bad, 20));
	pool_free(p);
	real_fini(&r);
}
END_TEST

START_TEST(cancel_deadline_limit)
{
	struct real r;
	struct pool *p;
	struct task busy, queued, late, refused;
	uint32_t n = 0, gate = 0;

	real_init(&r, 1);
	ck_assert_int_eq(
	    pool_new(&(struct pool_config){.env = &r.env, .log = r.log, .io_threads = 1, .queue_max = 2}, &p),
	    CY_OK);
	task_init(&busy, processor_worker(r.p, 0), "x", POOL_IO, &n);
	busy.gate = &gate;
	pool_submit(p, &busy.w);
	ck_assert(wait_count(&busy.started, 1));
	ck_assert_uint_eq(pool_oldest(p, POOL_IO), 0); /* it does not wait */
	task_init(&queued, processor_worker(r.p, 0), "x", POOL_IO, &n);
	pool_submit(p, &queued.w);
	ck_assert_uint_eq(pool_oldest(p, POOL_IO), queued.w.queued_ns);
	task_init(&late, processor_worker(r.p, 0), "x", POOL_IO, &n);
	late.w.deadline_ns = env_now(&r.env) + 20 * NS_PER_MS;
	pool_submit(p, &late.w);
	task_init(&refused, processor_worker(r.p, 0), "x", POOL_IO, &n);
	pool_submit(p, &refused.w);
	/* the deadline passes though the only thread is busy */
	ck_assert(wait_count(&n, 2));
	ck_assert_uint_eq(pool_oldest(p, POOL_IO), queued.w.queued_ns);
	pool_cancel(p, &queued.w);
	ck_assert(wait_count(&n, 3));
	ck_assert_uint_eq(pool_oldest(p, POOL_IO), 0);
	ck_assert_uint_eq(pool_oldest(p, POOL_CPU), 0);
	ck_assert_int_eq(refused.err, CY_E_LIMIT);
	ck_assert_int_eq(late.err, CY_E_TIMEOUT);
	ck_assert_int_eq(queued.err, CY_E_CANCELLED);
	pool_cancel(p, &busy.w);
	ck_assert(wait_count(&n, 4));
	ck_assert_int_eq(busy.err, CY_E_CANCELLED);
	ck_assert(busy.saw_cancel);
	ck_assert_uint_eq(queued.ran + late.ran + refused.ran, 0);
	ck_assert_uint_eq(busy.ran, 1);
	pool_free(p);
	real_fini(&r);
}
END_TEST

/* pool_free: what is queued comes back cancelled, what hangs is left behind after a second. */
START_TEST(free_while_one_hangs)
{
	struct real r;
	struct pool *p;
	static struct task hang, queued; /* static: the thread that is left behind uses them */
	static uint32_t gate;
	uint32_t n = 0;
	uint64_t start;

	real_init(&r, 1);
	ck_assert_int_eq(
	    pool_new(&(struct pool_config){.env = &r.env, .log = r.log, .io_threads = 1}, &p), CY_OK);
	task_init(&hang, processor_worker(r.p, 0), "x", POOL_IO, &n);
	hang.gate = &gate;
	pool_submit(p, &hang.w);
	ck_assert(wait_count(&hang.started, 1));
	task_init(&queued, processor_worker(r.p, 0), "x", POOL_IO, &n);
	pool_submit(p, &queued.w);
	start = env_now(&r.env);
	pool_free(p);
	ck_assert_uint_le(env_now(&r.env) - start, 1500 * NS_PER_MS);
	ck_assert(wait_count(&n, 1));
	ck_assert_int_eq(queued.err, CY_E_CANCELLED);
	real_fini(&r);
	/* it comes to its end in a world that has gone */
	__atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
	sleep_ms(50);
	ck_assert_uint_eq(hang.done, 0);
}
END_TEST

struct submitter {
	struct pool *p;
	struct task *t;
	int n;
};

static void *submit_and_cancel(void *arg)
{
	struct submitter *s = arg;

	for (int i = 0; i < s->n; i++) {
		pool_submit(s->p, &s->t[i].w);
		if (i % 50 == 0)
			sleep_ms(1);
	}
	return NULL;
}

START_TEST(many_submitters)
{
	struct real r;
	struct pool *p;
	static struct task t[3][1000];
	struct submitter s[3];
	pthread_t threads[3];
	uint32_t n = 0;

	real_init(&r, 2);
	ck_assert_int_eq(pool_new(&(struct pool_config){.env = &r.env, .log = r.log}, &p), CY_OK);
	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < 1000; i++) {
			task_init(&t[k][i], processor_worker(r.p, (uint32_t)i % 2), "abc" + k,
			    i % 2 ? POOL_CPU : POOL_IO, &n);
			if (i % 7 == 0)
				t[k][i].w.deadline_ns = env_now(&r.env) + (uint64_t)i * NS_PER_US;
		}
		s[k] = (struct submitter){p, t[k], 1000};
		pthread_create(&threads[k], NULL, submit_and_cancel, &s[k]);
	}
	for (int k = 0; k < 3; k++)
		pthread_join(threads[k], NULL);
	ck_assert(wait_count(&n, 3000));
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < 1000; i++)
			EXPECT(t[k][i].done == 1 && (t[k][i].err == CY_OK || t[k][i].err == CY_E_TIMEOUT));
	pool_free(p);
	real_fini(&r);
}
END_TEST

static void sim_run(struct work *w)
{
	struct task *t = container_of(w, struct task, w);

	EXPECT(worker_self() == w->worker);
	t->ran++;
}

START_TEST(simulated)
{
	struct sim_env env;
	struct processor *pr;
	struct pool *p;
	struct task a, b;
	uint32_t n = 0;

	sim_env_init(&env);
	ck_assert_int_eq(
	    processor_new(&(struct processor_config){.n_workers = 1, .env = &env.env}, &pr), CY_OK);
	ck_assert_int_eq(pool_new(&(struct pool_config){.env = &env.env}, &p), CY_OK);
	task_init(&a, processor_worker(pr, 0), "x", POOL_IO, &n);
	a.w.run = sim_run;
	task_init(&b, processor_worker(pr, 0), "x", POOL_CPU, &n);
	b.w.run = sim_run;
	pool_submit(p, &a.w);
	pool_submit(p, &b.w);
	pool_cancel(p, &b.w);
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(worker_step(processor_worker(pr, 0), SIZE_MAX), 2);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(a.err, CY_OK);
	ck_assert_uint_eq(a.ran, 1);
	ck_assert_int_eq(b.err, CY_E_CANCELLED);
	ck_assert_uint_eq(b.ran, 0);
	pool_free(p);
	processor_free(pr);
}
END_TEST

UNIT_TESTS(pool)
{
	tcase_add_test(tc, runs_and_comes_back);
	tcase_add_test(tc, quota);
	tcase_add_test(tc, cancel_deadline_limit);
	tcase_add_test(tc, free_while_one_hangs);
	tcase_add_test(tc, many_submitters);
	tcase_add_test(tc, simulated);
}
