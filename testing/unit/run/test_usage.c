/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcore/run/usage.h"
#include "libcore/run/worker.h"
#include "real_env.h"
#include "sim_env.h"

/* --- the costliest --- */

static void label(void *arg, char *out, size_t cap)
{
	snprintf(out, cap, "%d", *(int *)arg);
}

static void charge(struct usage_top *t, int who, uint64_t ns)
{
	uint64_t key = 0x9e3779b97f4a7c15ull * (uint64_t)(who + 1);
	int at = usage_top_find(t, key, label, &who);

	ck_assert_int_ge(at, 0);
	usage_top_charge(t, at, key, ns);
}

static const struct usage_entry *named(const struct usage_entry *e, size_t n, int who)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", who);
	for (size_t i = 0; i < n; i++)
		if (strcmp(e[i].label, name) == 0)
			return &e[i];
	return NULL;
}

/* Ten who cost much among thousands who cost little each. */
START_TEST(who_costs_most_is_found_in_a_small_table)
{
	static struct usage_top t;
	static struct usage_entry e[USAGE_TOP];
	uint64_t sum = 0;
	size_t n;

	memset(&t, 0, sizeof(t));
	for (int round = 0; round < 200; round++) {
		for (int big = 0; big < 10; big++) {
			charge(&t, big, 1000 + (uint64_t)big);
			sum += 1000 + (uint64_t)big;
		}
		for (int i = 0; i < 50; i++, sum += 10)
			charge(&t, 1000 + round * 50 + i, 10);
	}
	n = t.n;
	memcpy(e, t.e, sizeof(e));
	ck_assert_uint_eq(n, USAGE_TOP);
	for (int big = 0; big < 10; big++) {
		const struct usage_entry *x = named(e, n, big);

		ck_assert_ptr_nonnull(x);
		ck_assert_uint_eq(x->n, 200);
		/* never less than it took, and at most `over` more */
		ck_assert_uint_ge(x->ns, 200 * (1000 + (uint64_t)big));
		ck_assert_uint_le(x->ns - x->over_ns, 200 * (1000 + (uint64_t)big));
	}
	/* space-saving: what is charged is never more than there was */
	for (size_t i = 0; i < n; i++)
		sum -= e[i].ns;
	ck_assert_uint_eq(sum, 0);
}
END_TEST

START_TEST(few_are_counted_exactly)
{
	static struct usage_top t;
	static struct usage_entry e[USAGE_TOP];
	size_t n;

	memset(&t, 0, sizeof(t));
	for (int i = 0; i < USAGE_TOP; i++)
		for (int k = 0; k <= i; k++)
			charge(&t, i, 7);
	n = t.n;
	memcpy(e, t.e, sizeof(e));
	ck_assert_uint_eq(n, USAGE_TOP);
	for (int i = 0; i < USAGE_TOP; i++) {
		const struct usage_entry *x = named(e, n, i);

		ck_assert_ptr_nonnull(x);
		ck_assert_uint_eq(x->n, (uint64_t)i + 1);
		ck_assert_uint_eq(x->ns, 7 * ((uint64_t)i + 1));
		ck_assert_uint_eq(x->over_ns, 0);
	}
}
END_TEST

/* --- steps, with clocks moved by hand --- */

struct clocks {
	struct env env;
	uint64_t now, cpu;
};

static uint64_t clock_now(struct env *e)
{
	return container_of(e, struct clocks, env)->now;
}

static uint64_t clock_cpu(struct env *e)
{
	return container_of(e, struct clocks, env)->cpu;
}

static void named_so(void *arg, char *out, size_t cap)
{
	snprintf(out, cap, "%s", (const char *)arg);
}

static uint64_t step(struct usage_lane *l, struct clocks *c, uint64_t wall, uint64_t cpu)
{
	usage_step_begin(l, c->now);
	c->now += wall;
	c->cpu += cpu;
	return usage_step_end(l, c->now, JOB_DATAGRAM, PRIO_HIGH);
}

/* A reader that holds the lock for long costs the writer nothing but what it counts as skipped. */
START_TEST(the_writer_never_waits_for_a_reader)
{
	struct clocks c = {.env = {.now_ns = clock_now}, .now = 1};
	struct usage_subject a = {.class = 3,
	    .ike_id = 1,
	    .conn = 11,
	    .peer = 21,
	    .conn_label = named_so,
	    .peer_label = named_so,
	    .arg = (void *)"a"};
	static struct usage_lane l;

	usage_lane_init(&l, &c.env, true);
	(void)usage_enter(&l);
	for (int i = 0; i < 2; i++) {
		if (!i)
			pthread_mutex_lock(&l.lock);
		usage_step_begin(&l, c.now);
		usage_about(&a);
		c.now += 9;
		(void)usage_step_end(&l, c.now, JOB_TIMER, PRIO_HIGH);
		if (!i)
			pthread_mutex_unlock(&l.lock);
	}
	(void)usage_enter(NULL);
	ck_assert_uint_eq(l.skipped.n, 1);
	ck_assert_uint_eq(l.skipped.ns, 9);
	ck_assert_uint_eq(l.class[3].ns, 18); /* without the table all is there */
	ck_assert_uint_eq(l.conns.n, 1);
	ck_assert_uint_eq(l.conns.e[0].ns, 9);
	usage_lane_fini(&l);
}
END_TEST

START_TEST(a_preempted_step_is_charged_its_cpu_time)
{
	struct clocks c = {.env = {.now_ns = clock_now, .cpu_ns = clock_cpu}, .now = 1, .cpu = 1};
	static struct usage_lane l;

	usage_lane_init(&l, &c.env, true);
	/* short ones: the monotonic clock is good enough */
	ck_assert_uint_eq(step(&l, &c, 50 * NS_PER_US, 50 * NS_PER_US), 50 * NS_PER_US);
	/* 20 ms gone, of which it ran 1 ms */
	ck_assert_uint_eq(step(&l, &c, 20 * NS_PER_MS, NS_PER_MS), NS_PER_MS);
	/* one that computes all the time */
	ck_assert_uint_eq(step(&l, &c, 3 * NS_PER_MS, 3 * NS_PER_MS), 3 * NS_PER_MS);
	/* what the thread does between steps is not charged to a step beyond its length */
	c.cpu += NS_PER_S;
	ck_assert_uint_eq(step(&l, &c, NS_PER_MS, NS_PER_MS), NS_PER_MS);
	ck_assert_uint_eq(l.kind[JOB_DATAGRAM][PRIO_HIGH].n, 4);
	ck_assert_uint_eq(l.kind[JOB_DATAGRAM][PRIO_HIGH].ns, 50 * NS_PER_US + 5 * NS_PER_MS);
	ck_assert_uint_eq(l.long_steps.n, 1);
	ck_assert_uint_eq(l.long_steps.ns, 19 * NS_PER_MS);
	usage_lane_fini(&l);
}
END_TEST

START_TEST(a_step_is_charged_to_what_it_is_about)
{
	struct clocks c = {.env = {.now_ns = clock_now}, .now = 1};
	struct usage_subject a = {.class = 3,
	    .ike_id = 1,
	    .conn = 11,
	    .peer = 21,
	    .conn_label = named_so,
	    .peer_label = named_so,
	    .arg = (void *)"a"};
	struct usage_subject b = {.class = 4,
	    .ike_id = 2,
	    .conn = 12,
	    .peer = 22,
	    .conn_label = named_so,
	    .peer_label = named_so,
	    .arg = (void *)"b"};
	static struct usage_lane l;
	struct usage_sum sum = {0}, before = {0};

	usage_lane_init(&l, &c.env, true);
	ck_assert_ptr_null(usage_enter(&l));
	usage_step_begin(&l, c.now);
	c.now += 100; /* until it is known what it is about */
	usage_about(&a);
	c.now += 200;
	usage_about(&a); /* the same */
	usage_about(&b);
	c.now += 50;
	(void)usage_step_end(&l, c.now, JOB_TIMER, PRIO_HIGH);
	/* a step about nothing */
	usage_step_begin(&l, c.now);
	c.now += 1000;
	(void)usage_step_end(&l, c.now, JOB_CONTROL, PRIO_LOW);
	ck_assert_ptr_eq(usage_enter(NULL), &l);
	ck_assert_uint_eq(l.class[3].n, 1);
	ck_assert_uint_eq(l.class[3].ns, 300);
	ck_assert_uint_eq(l.class[4].ns, 50);
	ck_assert_uint_eq(l.kind[JOB_TIMER][PRIO_HIGH].ns, 350);
	usage_sum_add(&sum, &l);
	usage_sum_sort(&sum);
	ck_assert_uint_eq(sum.n_conns, 2);
	ck_assert_str_eq(sum.conns[0].label, "a");
	ck_assert_uint_eq(sum.conns[0].ns, 300);
	ck_assert_str_eq(sum.peers[1].label, "b");
	ck_assert_uint_eq(sum.peers[1].ns, 50);
	usage_sum_fini(&sum);
	/* an interval has only what came in it */
	usage_sum_add(&before, &l);
	(void)usage_enter(&l);
	usage_step_begin(&l, c.now);
	usage_about(&b);
	c.now += 7;
	(void)usage_step_end(&l, c.now, JOB_TIMER, PRIO_HIGH);
	(void)usage_enter(NULL);
	usage_sum_add(&sum, &l);
	usage_sum_since(&sum, &before);
	ck_assert_uint_eq(sum.n_conns, 1);
	ck_assert_str_eq(sum.conns[0].label, "b");
	ck_assert_uint_eq(sum.conns[0].ns, 7);
	ck_assert_uint_eq(sum.class[4].ns, 7);
	ck_assert_uint_eq(sum.class[3].n, 0);
	ck_assert_uint_eq(sum.kind[JOB_TIMER][PRIO_HIGH].n, 1);
	usage_sum_fini(&sum);
	usage_sum_fini(&before);
	usage_lane_fini(&l);
}
END_TEST

START_TEST(operations_are_counted_by_algorithm)
{
	struct clocks c = {.env = {.now_ns = clock_now}, .now = 1};
	static struct usage_lane l;
	struct usage_sum sum = {0};
	uint64_t begun, n = 0;

	ck_assert_uint_eq(usage_op_begin(USAGE_SIGN), 0); /* no lane: nothing is counted */
	usage_op_end(USAGE_SIGN, 1, 0);
	usage_lane_init(&l, &c.env, false);
	(void)usage_enter(&l);
	for (uint16_t alg = 1; alg <= 100; alg++) { /* more than there are places */
		begun = usage_op_begin(USAGE_DERIVE);
		c.now += alg;
		usage_op_end(USAGE_DERIVE, alg, begun);
	}
	(void)usage_enter(NULL);
	usage_sum_add(&sum, &l);
	usage_sum_sort(&sum);
	for (int i = 0; i < USAGE_OPS; i++)
		n += sum.op[i].c.n;
	ck_assert_uint_eq(n, 100);
	ck_assert_uint_eq(usage_op_ns(&sum.op[0]), sum.op[0].c.ns); /* all were timed */
	usage_sum_fini(&sum);
	/* cheap ones are all counted and one in eight is timed, which stands for the others */
	usage_lane_fini(&l);
	usage_lane_init(&l, &c.env, false);
	(void)usage_enter(&l);
	for (int i = 0; i < 80; i++) {
		begun = usage_op_begin(USAGE_ENCRYPT);
		c.now += 1000;
		usage_op_end(USAGE_ENCRYPT, 20, begun);
	}
	(void)usage_enter(NULL);
	usage_sum_add(&sum, &l);
	ck_assert_uint_eq(sum.op[0].c.n, 80);
	ck_assert_uint_eq(sum.op[0].untimed, 70);
	ck_assert_uint_eq(usage_op_ns(&sum.op[0]), 80000);
	usage_sum_fini(&sum);
	usage_lane_fini(&l);
}
END_TEST

/* --- slow steps on a real worker --- */

struct slow_job {
	struct job job;
	struct real *r;
	uint32_t done;
};

static const char *class_name(uint8_t class)
{
	return class == 5 ? "IKE_AUTH" : NULL;
}

static void __attribute__((noinline)) spin(struct env *e)
{
	uint64_t until = env_now(e) + 40 * NS_PER_MS;

	while (env_now(e) < until)
		;
}

static void slow(struct worker *w, struct job *j)
{
	struct slow_job *s = container_of(j, struct slow_job, job);
	struct usage_subject about = {.class = 5,
	    .ike_id = 9,
	    .conn = 11,
	    .peer = 21,
	    .conn_label = named_so,
	    .peer_label = named_so,
	    .arg = (void *)"office"};
	uint64_t begun;

	usage_about(&about);
	begun = usage_op_begin(USAGE_DERIVE);
	spin(worker_env(w));
	usage_op_end(USAGE_DERIVE, 14, begun);
	__atomic_add_fetch(&s->done, 1, __ATOMIC_RELEASE);
}

START_TEST(a_slow_step_says_what_ran)
{
	struct slow_job job = {.job.fn = slow};
	struct slow_step s[4];
	struct worker_stats st;
	struct processor_config cfg = {.n_workers = 1, .class_name = class_name, .stacks = true};
	struct real r;
	size_t n = 0;

	env_real(&r.env);
	ck_assert_int_eq(log_new(&r.env, &r.log), CY_OK);
	ck_assert_int_eq(log_start(r.log), CY_OK);
	cfg.env = &r.env;
	cfg.log = r.log;
	ck_assert_int_eq(processor_new(&cfg, &r.p), CY_OK);
	ck_assert_int_eq(processor_start(r.p), CY_OK);
	worker_post(processor_worker(r.p, 0), &job.job, PRIO_HIGH, JOB_REKEY);
	for (int i = 0; i < 5000 && n == 0; i++) {
		n = processor_slow_steps(r.p, s, 4);
		sleep_ms(1);
	}
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(s[0].kind, JOB_REKEY);
	ck_assert_uint_eq(s[0].ike_id, 9);
	ck_assert_str_eq(s[0].class, "IKE_AUTH");
	ck_assert_str_eq(s[0].conn, "office");
	ck_assert_uint_ge(s[0].ns, 40 * NS_PER_MS);
	ck_assert_uint_le(s[0].cpu_ns, s[0].ns);
	ck_assert_int_eq(usage_key_op(s[0].op_key), USAGE_DERIVE);
	ck_assert_uint_eq(usage_key_alg(s[0].op_key), 14);
	ck_assert_uint_gt(strlen(s[0].stack), 0);
	worker_read_stats(processor_worker(r.p, 0), &st);
	ck_assert_uint_eq(st.slow_steps, 1);
	ck_assert_uint_gt(st.cpu_ns, 0);
	/* a second one at once is counted and kept, and not logged */
	job.done = 0;
	worker_post(processor_worker(r.p, 0), &job.job, PRIO_HIGH, JOB_REKEY);
	ck_assert(wait_count(&job.done, 1));
	processor_stop(r.p);
	ck_assert_uint_eq(processor_slow_steps(r.p, s, 4), 2);
	processor_free(r.p);
	log_free(r.log);
}
END_TEST

UNIT_TESTS(usage)
{
	tcase_add_test(tc, who_costs_most_is_found_in_a_small_table);
	tcase_add_test(tc, few_are_counted_exactly);
	tcase_add_test(tc, the_writer_never_waits_for_a_reader);
	tcase_add_test(tc, a_preempted_step_is_charged_its_cpu_time);
	tcase_add_test(tc, a_step_is_charged_to_what_it_is_about);
	tcase_add_test(tc, operations_are_counted_by_algorithm);
	tcase_add_test(tc, a_slow_step_says_what_ran);
}
