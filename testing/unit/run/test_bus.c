/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

#include "libcore/run/bus.h"
#include "real_env.h"
#include "sim_env.h"

#define BIT(kind) (1ull << (kind))

struct listener {
	struct bus_listener *l;
	uint32_t wakes, seen; /* atomic */
	uint64_t last_seq;
	const uint32_t *gate;
};

static void on_wake(void *user)
{
	struct listener *x = user;

	__atomic_fetch_add(&x->wakes, 1, __ATOMIC_RELEASE);
}

static void on_event(void *user, const struct cy_event *ev)
{
	struct listener *x = user;

	EXPECT(ev->seq > x->last_seq);
	x->last_seq = ev->seq;
	EXPECT(ev->conn && ev->reason && ev->local_id && ev->remote_id && ev->user && ev->updown);
	while (x->gate && !__atomic_load_n(x->gate, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	__atomic_fetch_add(&x->seen, 1, __ATOMIC_RELEASE);
}

static void check_copy(void *user, const struct cy_event *ev)
{
	ck_assert_uint_eq(ev->size, sizeof(*ev));
	ck_assert_uint_eq(ev->kind, CY_EV_CHILD_UP);
	ck_assert_str_eq(ev->conn, "home");
	ck_assert_str_eq(ev->reason, "");
	ck_assert_str_eq(ev->user, "alice");
	ck_assert_uint_eq(ev->n_ts_local, 2);
	ck_assert_uint_eq(ev->ts_local[1].port_lo, 80);
	ck_assert_uint_eq(ev->n_ts_remote, 0);
	ck_assert_uint_eq(ev->n_vips, 1);
	ck_assert_uint_eq(ev->vips[0].ip[3], 9);
	ck_assert_uint_eq(ev->n_dns, 1);
	ck_assert_uint_eq(ev->dns[0].ip[0], 8);
	ck_assert_uint_eq(ev->spi_in, 0x1234);
	ck_assert_int_eq(ev->wall, 1700001000);
	ck_assert_uint_eq(ev->seq, 1);
	++*(int *)user;
}

START_TEST(deep_copy)
{
	struct sim_env env;
	struct bus *b;
	struct bus_listener *l;
	int seen = 0;
	struct cy_ts *ts = calloc(2, sizeof(*ts));
	struct cy_addr *vip = calloc(2, sizeof(*vip));
	char *conn = strdup("home"), *user = strdup("alice");

	sim_env_init(&env);
	ck_assert_int_eq(bus_new(&env.env, &b), CY_OK);
	ck_assert(!bus_wanted(b, CY_EV_CHILD_UP));
	ck_assert_int_eq(bus_subscribe(b, "x", BIT(CY_EV_CHILD_UP), 0, check_copy, NULL, &seen, &l), CY_OK);
	ck_assert(bus_wanted(b, CY_EV_CHILD_UP));
	ck_assert(!bus_wanted(b, CY_EV_CHILD_DOWN));
	ts[1].port_lo = 80;
	vip[0].ip[3] = 9;
	vip[1].ip[0] = 8;
	bus_publish(b, &(struct cy_event){.kind = CY_EV_CHILD_DOWN});
	bus_publish(b,
	    &(struct cy_event){.kind = CY_EV_CHILD_UP,
	        .conn = conn,
	        .user = user,
	        .ts_local = ts,
	        .n_ts_local = 2,
	        .vips = vip,
	        .n_vips = 1,
	        .dns = vip + 1,
	        .n_dns = 1,
	        .spi_in = 0x1234});
	free(ts);
	free(vip);
	free(conn);
	free(user);
	ck_assert_uint_eq(bus_drain(l, 10), 1);
	ck_assert_int_eq(seen, 1);
	bus_unsubscribe(b, l);
	ck_assert(!bus_wanted(b, CY_EV_CHILD_UP));
	bus_free(b);
}
END_TEST

START_TEST(bounded_and_counted)
{
	struct sim_env env;
	struct bus *b;
	struct listener slow = {0}, quick = {0};
	struct bus_listener_stats st[3];

	sim_env_init(&env);
	ck_assert_int_eq(bus_new(&env.env, &b), CY_OK);
	ck_assert_int_eq(bus_subscribe(b, "slow", UINT64_MAX, 5, on_event, on_wake, &slow, &slow.l), CY_OK);
	ck_assert_int_eq(
	    bus_subscribe(b, "quick", UINT64_MAX, 5, on_event, on_wake, &quick, &quick.l), CY_OK);
	for (int i = 0; i < 20; i++) {
		bus_publish(b, &(struct cy_event){.kind = CY_EV_IKE_UP});
		ck_assert_uint_eq(bus_drain(quick.l, 10), 1);
	}
	ck_assert_uint_eq(slow.wakes, 1); /* only when it was empty */
	ck_assert_uint_eq(quick.wakes, 20);
	ck_assert_uint_eq(bus_stats(b, st, 3), 2);
	ck_assert_str_eq(st[0].name, "slow");
	ck_assert_uint_eq(st[0].missed, 15);
	ck_assert_uint_eq(st[0].queued, 5);
	ck_assert_uint_eq(st[1].missed, 0);
	ck_assert_uint_eq(st[1].delivered, 20);
	bus_missed(b, CY_EV_IKE_UP);
	ck_assert_uint_eq(bus_stats(b, st, 3), 2);
	ck_assert_uint_eq(st[0].missed, 16);
	ck_assert_uint_eq(st[1].missed, 1);
	ck_assert_uint_eq(bus_drain(slow.l, 2), 2);
	ck_assert_uint_eq(bus_drain(slow.l, 10), 3);
	ck_assert_uint_eq(slow.last_seq, 5);
	bus_free(b); /* with listeners */
}
END_TEST

START_TEST(limit_of_listeners)
{
	struct sim_env env;
	struct bus *b;
	struct listener x[70] = {0};
	int n = 0;

	sim_env_init(&env);
	ck_assert_int_eq(bus_new(&env.env, &b), CY_OK);
	while (n < 70 && bus_subscribe(b, "x", 2, 1, on_event, on_wake, &x[n], &x[n].l) == CY_OK)
		n++;
	ck_assert_int_eq(n, 64);
	ck_assert_ptr_null(x[64].l);
	bus_unsubscribe(b, x[10].l);
	ck_assert_int_eq(bus_subscribe(b, "y", 2, 1, on_event, on_wake, &x[65], &x[65].l), CY_OK);
	bus_publish(b, &(struct cy_event){.kind = CY_EV_READY});
	for (int i = 0; i < 66; i++)
		if (i != 10 && i != 64)
			ck_assert_uint_eq(bus_drain(x[i].l, 5), 1);
	bus_free(b);
}
END_TEST

/* --- threads --- */

struct drainer {
	struct listener x;
	bool stop;
};

static void *drain_main(void *arg)
{
	struct drainer *d = arg;

	while (!__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE))
		if (bus_drain(d->x.l, 16) == 0)
			sleep_ms(1);
	while (bus_drain(d->x.l, 16))
		;
	return NULL;
}

static void *publish_main(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		bus_publish(arg, &(struct cy_event){.kind = CY_EV_IKE_UP, .conn = "c", .ike_id = 7});
		if (i % 200 == 0)
			sleep_ms(1);
	}
	return NULL;
}

START_TEST(publishers_and_listeners)
{
	struct env env;
	struct bus *b;
	static struct drainer d[3];
	pthread_t dt[3], pt[3];
	struct bus_listener_stats st[4];

	env_real(&env);
	ck_assert_int_eq(bus_new(&env, &b), CY_OK);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(
		    bus_subscribe(b, "d", UINT64_MAX, i ? 10000 : 50, on_event, on_wake, &d[i].x, &d[i].x.l),
		    CY_OK);
		pthread_create(&dt[i], NULL, drain_main, &d[i]);
	}
	for (int i = 0; i < 3; i++)
		pthread_create(&pt[i], NULL, publish_main, b);
	/* others come and go */
	for (int i = 0; i < 50; i++) {
		struct listener x = {0};

		ck_assert_int_eq(
		    bus_subscribe(b, "guest", UINT64_MAX, 4, on_event, on_wake, &x, &x.l), CY_OK);
		(void)bus_stats(b, st, 4);
		(void)bus_drain(x.l, 1);
		bus_unsubscribe(b, x.l);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(pt[i], NULL);
	for (int i = 0; i < 3; i++) {
		__atomic_store_n(&d[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(dt[i], NULL);
	}
	ck_assert_uint_eq(bus_stats(b, st, 4), 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(st[i].delivered + st[i].missed, 6000);
		ck_assert_uint_eq(st[i].delivered, d[i].x.seen);
	}
	ck_assert_uint_eq(st[1].missed, 0);
	bus_free(b);
}
END_TEST

static void *drain_once(void *arg)
{
	struct listener *x = arg;

	(void)bus_drain(x->l, 10);
	return NULL;
}

/* A listener that blocks for ever delays no publisher, is seen in the statistics, and can be got rid of. */
START_TEST(blocked_listener)
{
	struct env env;
	struct bus *b;
	uint32_t gate = 0;
	struct listener bad = {.gate = &gate}, good = {0};
	struct bus_listener_stats st[2];
	pthread_t t;
	uint64_t start;

	env_real(&env);
	ck_assert_int_eq(bus_new(&env, &b), CY_OK);
	ck_assert_int_eq(bus_subscribe(b, "bad", UINT64_MAX, 10, on_event, on_wake, &bad, &bad.l), CY_OK);
	ck_assert_int_eq(
	    bus_subscribe(b, "good", UINT64_MAX, 1000, on_event, on_wake, &good, &good.l), CY_OK);
	bus_publish(b, &(struct cy_event){.kind = CY_EV_READY});
	pthread_create(&t, NULL, drain_once, &bad);
	do {
		sleep_ms(1);
		(void)bus_stats(b, st, 2);
	} while (!st[0].running_since_ns);
	start = env_now(&env);
	for (int i = 0; i < 500; i++)
		bus_publish(b, &(struct cy_event){.kind = CY_EV_READY});
	ck_assert_uint_le(env_now(&env) - start, 500 * NS_PER_MS);
	ck_assert_uint_eq(bus_drain(good.l, 1000), 501);
	(void)bus_stats(b, st, 2);
	ck_assert_uint_eq(st[0].missed, 490);
	ck_assert_uint_le(st[0].running_since_ns, env_now(&env));
	bus_unsubscribe(b, bad.l);
	bus_free(b);
	__atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	ck_assert_uint_eq(bad.seen, 1);
}
END_TEST

UNIT_TESTS(bus)
{
	tcase_add_test(tc, deep_copy);
	tcase_add_test(tc, bounded_and_counted);
	tcase_add_test(tc, limit_of_listeners);
	tcase_add_test(tc, publishers_and_listeners);
	tcase_add_test(tc, blocked_listener);
}
