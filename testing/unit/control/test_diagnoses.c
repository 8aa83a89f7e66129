/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ipsec doctor finds, provoked at a daemon that runs: whatever it counts is counted there, on threads of its own. Those that need a
 * network, a kernel or back ends are provoked in areas flood, stall, steer, xauth and interop; testing/style/run knows of each where.
 */

#include "unit.h"

#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "ctl_util.h"
#include "daemon/sa/manager.h"
#include "libcore/conf/conf.h"
#include "libcore/run/pool.h"

#define CONF(mine, theirs, more)                                                                             \
	"config setup\n\tdialect=strongswan\n\n"                                                             \
	"conn office\n\tkeyexchange=ikev2\n\tauthby=psk\n\tauto=add\n\tleft=" mine "\n\tright=" theirs       \
	"\n\tleftsubnet=10.1.0.0/16\n\trightsubnet=10.1.0.0/16\n" more

static struct ctl t, peer;
static struct ctl_client cl;

static void begin(const char *more)
{
	char conf[2][512];

	snprintf(conf[0], sizeof(conf[0]), CONF("127.0.0.1", "127.0.0.2", "%s"), more);
	snprintf(conf[1], sizeof(conf[1]), CONF("127.0.0.2", "127.0.0.1", "%s"), more);
	ctl_start(&t, conf[0], NULL);
	ctl_start(&peer, conf[1], NULL);
	ctl_need_crypto(&t);
	ctl_join(&t, &peer);
	ctl_join(&peer, &t);
	ctl_connect(&t, &cl);
	/* what algorithms cost is measured once, and takes a moment */
	json_decref(ctl_answer(&cl, "{\"id\":1,\"cmd\":\"doctor\",\"seconds\":0}\n"));
}

static void end(void)
{
	ctl_close(&cl);
	ctl_join(&t, NULL);
	ctl_join(&peer, NULL);
	ctl_stop(&t);
	ctl_stop(&peer);
}

static void nap(unsigned ms)
{
	(void)nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* The doctor looks from now on. */
static void look(const char *seconds)
{
	char text[128];

	snprintf(text, sizeof(text), "{\"id\":2,\"cmd\":\"doctor\",\"seconds\":%s}\n", seconds);
	ctl_send(&cl, text);
	nap(50);
}

/* It has found this just now, and no more of the others that are listed. */
static bool found(const char *id)
{
	json_t *d = ctl_rest(&cl), *f = ctl_row(d, "findings", "id", id, NULL, NULL);
	bool ok = f && strcmp(json_string_value(json_object_get(f, "level")), "past") != 0 &&
	    json_number_value(json_object_get(f, "value")) != 0;

	if (!ok && getenv("CTL_LOG"))
		json_dumpf(d, stderr, JSON_INDENT(1));
	json_decref(d);
	return ok;
}

static void up(const char *code)
{
	ctl_send(&cl, "{\"id\":3,\"cmd\":\"up\",\"name\":\"office\"}\n");
	ctl_done(&cl, code);
}

/* --- workers -------------------------------------------------------------------------------------------------------------- */

/* A job that comes again and again, and uses the CPU; or one that hangs. */
struct burden {
	struct job job;
	struct worker *w;
	bool stop, ended;    /* atomic */
	const cpu_set_t *on; /* NULL: anywhere */
};

static bool is_set(bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

static void burn(struct worker *w, struct job *j)
{
	struct burden *b = (struct burden *)j;
	struct timespec from, now;

	if (b->on)
		(void)sched_setaffinity(0, sizeof(*b->on), b->on);
	else
		(void)setpriority(PRIO_PROCESS, 0, -20); /* the others on this machine may wait */
	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	do
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000000 + now.tv_nsec - from.tv_nsec < 2000000);
	if (is_set(&b->stop))
		set(&b->ended);
	else
		worker_post(w, j, PRIO_LOW, JOB_HOUSEKEEPING);
}

static void hang(struct worker *w, struct job *j)
{
	struct burden *b = (struct burden *)j;

	(void)w;
	while (!is_set(&b->stop))
		nap(1);
	set(&b->ended);
}

static void put_on(struct burden *b, uint32_t worker, void (*fn)(struct worker *w, struct job *j))
{
	list_init(&b->job.node);
	b->job.fn = fn;
	b->w = processor_worker(t.d->processor, worker);
	worker_post(b->w, &b->job, PRIO_LOW, JOB_HOUSEKEEPING);
}

static void take_off(struct burden *b)
{
	set(&b->stop);
	while (!is_set(&b->ended))
		nap(1);
}

/* So many of the workers do nothing but compute. Where others have the CPUs the doctor says that, and it is asked again. */
static void burdened(uint32_t n, const char *id)
{
	struct burden b[2] = {0};
	bool yes = false, others = false;

	for (uint32_t i = 0; i < n; i++)
		put_on(&b[i], 1 - i, burn);
	for (int i = 0; i < 20 && !yes; i++) {
		json_t *d = ctl_answer(&cl, "{\"id\":2,\"cmd\":\"doctor\",\"seconds\":0.3}\n");

		yes = ctl_row(d, "findings", "id", id, NULL, NULL) != NULL;
		others |= ctl_row(d, "findings", "id", "no-cpu", NULL, NULL) != NULL;
		json_decref(d);
	}
	for (uint32_t i = 0; i < n; i++)
		take_off(&b[i]);
	ck_assert_msg(yes || others, "neither %s nor no-cpu was found", id);
	/* and it is over */
	look("0.3");
	ck_assert(!found(id));
}

/* provokes: workers-cpu */
START_TEST(all_workers_compute)
{
	begin("");
	burdened(2, "workers-cpu");
	end();
}
END_TEST

/* provokes: worker-alone */
START_TEST(one_worker_computes)
{
	begin("");
	burdened(1, "worker-alone");
	end();
}
END_TEST

static void *spin(void *arg)
{
	struct burden *b = arg;

	(void)sched_setaffinity(0, sizeof(*b->on), b->on);
	while (!is_set(&b->stop))
		;
	return NULL;
}

/* provokes: no-cpu */
START_TEST(somebody_else_has_the_cpu)
{
	struct burden worker = {0}, other = {0};
	cpu_set_t here;
	pthread_t thread;

	if (access("/proc/self/schedstat", R_OK) != 0)
		return; /* this kernel does not say who waits for a CPU */
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	worker.on = other.on = &here;
	begin("");
	ck_assert_int_eq(pthread_create(&thread, NULL, spin, &other), 0);
	put_on(&worker, 0, burn);
	nap(100);
	look("1");
	ck_assert(found("no-cpu"));
	set(&other.stop);
	(void)pthread_join(thread, NULL);
	take_off(&worker);
	end();
}
END_TEST

/* provokes: worker-stuck, slow-steps */
START_TEST(a_step_that_does_not_end)
{
	struct burden b = {0};

	begin("");
	look("0.8");
	nap(200); /* what it asks the workers themselves is answered */
	put_on(&b, 1, hang);
	ck_assert(found("worker-stuck"));
	look("0.3");
	take_off(&b);
	ck_assert(found("slow-steps"));
	end();
}
END_TEST

/* First requests of nobody; what they name is drawn so that each worker gets some. */
static void first_requests(uint32_t n)
{
	uint8_t msg[28] = {[17] = 0x20, [18] = 34, [19] = 0x08, [27] = 28};
	struct cy_dgram d = {.data = msg, .len = sizeof(msg)};

	ck_assert_int_eq(addr_parse("127.0.0.3", &d.src), CY_OK);
	ck_assert_int_eq(addr_parse("127.0.0.1", &d.dst), CY_OK);
	d.src.port = d.dst.port = 500;
	for (uint32_t i = 1; i <= n; i++) {
		msg[0] = (uint8_t)(i >> 8);
		msg[1] = (uint8_t)i;
		msg[7] = 1;
		ctl_put(&t, &d);
		if (i % 16 == 0)
			nap(5); /* so many are read at a time */
	}
}

/* provokes: shed */
START_TEST(requests_that_waited_too_long)
{
	struct burden b = {0};

	begin("");
	t.d->tune.init_queue_ns = 50 * NS_PER_MS;
	look("1");
	put_on(&b, 1, hang);
	first_requests(64);
	nap(200);
	take_off(&b);
	ck_assert(found("shed"));
	end();
}
END_TEST

/* provokes: half-open */
START_TEST(more_begin_than_may_be_half_open)
{
	struct config *c;

	begin("");
	peer.d->tune.reuse_ike_sa = false;
	t.d->tune.half_open_limit = 1;
	c = daemon_config(peer.d);
	look("1");
	for (int i = 0; i < 64; i++)
		sa_initiate(peer.d, c->conf->conns[0], NULL, 0, NULL, NULL);
	ck_assert(found("half-open"));
	config_unref(c);
	end();
}
END_TEST

/* --- whom we wait for ------------------------------------------------------------------------------------------------------- */

static uint32_t works; /* that are not done; workers' */

static void compute(struct work *w)
{
	(void)w;
	nap(60);
}

static void computed(struct worker *worker, struct work *w, enum cy_err err)
{
	(void)worker;
	(void)w;
	(void)err;
	__atomic_sub_fetch(&works, 1, __ATOMIC_RELEASE);
}

/* provokes: pool-cpu */
START_TEST(key_exchanges_wait_for_the_pool)
{
	static struct work w[200];

	begin("");
	look("0.5");
	__atomic_store_n(&works, ARRAY_LEN(w), __ATOMIC_RELEASE);
	for (size_t i = 0; i < ARRAY_LEN(w); i++) {
		w[i] = (struct work){.run = compute,
		    .done = computed,
		    .worker = processor_worker(t.d->processor, 0),
		    .owner = "crypto",
		    .prio = PRIO_MEDIUM,
		    .class = POOL_CPU};
		pool_submit(t.d->pool, &w[i]);
	}
	ck_assert(found("pool-cpu"));
	for (size_t i = 0; i < ARRAY_LEN(w); i++)
		pool_cancel(t.d->pool, &w[i]);
	while (__atomic_load_n(&works, __ATOMIC_ACQUIRE))
		nap(5);
	end();
}
END_TEST

/* provokes: kernel-refuses */
START_TEST(the_kernel_refuses)
{
	begin("");
	__atomic_store_n(&t.refuse, 1, __ATOMIC_RELAXED);
	look("1");
	up("failed");
	ck_assert(found("kernel-refuses"));
	end();
}
END_TEST

static void patient(struct ctl *c)
{
	c->d->tune.retransmit_tries = 100;
	c->d->tune.retransmit_timeout_ns = 20 * NS_PER_MS;
	c->d->tune.retransmit_base_pct = 100;
}

/* provokes: peers-slow */
START_TEST(what_is_sent_gets_lost)
{
	begin("");
	patient(&t);
	__atomic_store_n(&t.lose, 20, __ATOMIC_RELAXED);
	look("2");
	up(NULL);
	ck_assert(found("peers-slow"));
	end();
}
END_TEST

/* provokes: answers-lost */
START_TEST(what_is_answered_gets_lost)
{
	static struct ctl_client other;

	begin("");
	patient(&t);
	__atomic_store_n(&peer.lose, 20, __ATOMIC_RELAXED);
	ctl_connect(&t, &other);
	ctl_close(&cl);
	ctl_connect(&peer, &cl);
	look("2");
	ctl_send(&other, "{\"id\":3,\"cmd\":\"up\",\"name\":\"office\"}\n");
	ctl_done(&other, NULL);
	ck_assert(found("answers-lost"));
	ctl_close(&other);
	end();
}
END_TEST

/* provokes: peers-silent */
START_TEST(nobody_answers)
{
	begin("");
	ctl_join(&t, NULL);
	t.d->tune.retransmit_tries = 1;
	t.d->tune.retransmit_timeout_ns = 20 * NS_PER_MS;
	look("1");
	up("failed");
	ck_assert(found("peers-silent"));
	end();
}
END_TEST

/* provokes: clock */
START_TEST(the_clock_is_set)
{
	begin("");
	look("0.3");
	__atomic_store_n(&t.wall_off, -3600, __ATOMIC_RELAXED);
	ck_assert(found("clock"));
	end();
}
END_TEST

/* provokes: algorithms */
START_TEST(algorithms_cost_many_times_more)
{
	begin("\tesp=3des-sha1!\n");
	up(NULL);
	look("0.1");
	ck_assert(found("algorithms"));
	end();
}
END_TEST

UNIT_TESTS(diagnoses)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, all_workers_compute);
	tcase_add_test(tc, one_worker_computes);
	tcase_add_test(tc, somebody_else_has_the_cpu);
	tcase_add_test(tc, a_step_that_does_not_end);
	tcase_add_test(tc, requests_that_waited_too_long);
	tcase_add_test(tc, more_begin_than_may_be_half_open);
	tcase_add_test(tc, key_exchanges_wait_for_the_pool);
	tcase_add_test(tc, the_kernel_refuses);
	tcase_add_test(tc, what_is_sent_gets_lost);
	tcase_add_test(tc, what_is_answered_gets_lost);
	tcase_add_test(tc, nobody_answers);
	tcase_add_test(tc, the_clock_is_set);
	tcase_add_test(tc, algorithms_cost_many_times_more);
}
