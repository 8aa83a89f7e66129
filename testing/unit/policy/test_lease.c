/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: who gets which address, what happens when they run dry, and what a store sees of it. */
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/policy/lease.h"
#include "run/real_env.h"
#include "run/sim_env.h"

#define LEASE_TIME 600

static struct sim_env sim;
static struct leases *leases;

static void setup(void)
{
	sim_env_init(&sim);
	ck_assert_int_eq(leases_new(&sim.env, NULL, LEASE_TIME, &leases), CY_OK);
}

static void teardown(void)
{
	leases_free(leases);
}

/* The address as text, or the error's number. */
static const char *take(const char *pool, const char *key, uint64_t session, const char *want)
{
	static char text[4][ADDR_STR_MAX];
	static int turn;
	struct cy_addr asked = {0}, got;
	enum cy_err err;

	if (want)
		ck_assert_int_eq(addr_parse(want, &asked), CY_OK);
	turn = (turn + 1) % 4;
	err =
	    leases_acquire(leases, pool, strchr(pool, ':') ? AF_INET6 : AF_INET, key, session, &asked, &got);
	if (err)
		snprintf(text[turn], ADDR_STR_MAX, "error %d", err);
	else
		addr_str(&got, text[turn]);
	return text[turn];
}

static void give(const char *pool, const char *addr, uint64_t session)
{
	struct cy_addr a;

	ck_assert_int_eq(addr_parse(addr, &a), CY_OK);
	leases_release(leases, pool, &a, session);
}

static void pass(uint64_t seconds)
{
	sim.now += seconds * NS_PER_S;
}

#define LIMIT    "error 7"
#define NOTFOUND "error 5"
_Static_assert(CY_E_LIMIT == 7 && CY_E_NOTFOUND == 5, "the texts above");

START_TEST(in_order_without_network_and_broadcast)
{
	ck_assert_str_eq(take("10.3.0.0/29", "a", 1, NULL), "10.3.0.1");
	ck_assert_str_eq(take("10.3.0.0/29", "b", 2, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/29", "c", 3, NULL), "10.3.0.3");
	ck_assert_str_eq(take("10.3.0.0/29", "d", 4, NULL), "10.3.0.4");
	ck_assert_str_eq(take("10.3.0.0/29", "e", 5, NULL), "10.3.0.5");
	ck_assert_str_eq(take("10.3.0.0/29", "f", 6, NULL), "10.3.0.6");
	ck_assert_str_eq(take("10.3.0.0/29", "g", 7, NULL), LIMIT);
	/* ranges are what they say */
	ck_assert_str_eq(take("10.4.0.255-10.4.1.0", "a", 1, NULL), "10.4.0.255");
	ck_assert_str_eq(take("10.4.0.255-10.4.1.0", "b", 2, NULL), "10.4.1.0");
	ck_assert_str_eq(take("10.4.0.255-10.4.1.0", "c", 3, NULL), LIMIT);
	ck_assert_str_eq(take("10.5.0.7", "a", 1, NULL), "10.5.0.7");
	ck_assert_str_eq(take("10.5.0.7", "b", 2, NULL), LIMIT);
	ck_assert_str_eq(take("10.6.0.0/31", "a", 1, NULL), "10.6.0.0");
	ck_assert_str_eq(take("10.6.0.0/31", "b", 2, NULL), "10.6.0.1");
	ck_assert_str_eq(take("10.7.0.100/24", "a", 1, NULL), "10.7.0.100");
	ck_assert_str_eq(take("10.7.0.254/24", "b", 2, NULL), "10.7.0.254");
	ck_assert_str_eq(take("10.7.0.254/24", "c", 3, NULL), LIMIT);
	ck_assert_str_eq(take("fd00::/64", "a", 1, NULL), "fd00::1");
	ck_assert_str_eq(take("fd00::/64", "b", 2, NULL), "fd00::2");
	ck_assert_str_eq(take("fd01::ffff:ffff:ffff:ffff/64", "b", 2, NULL), "fd01::ffff:ffff:ffff:ffff");
}
END_TEST

START_TEST(what_is_no_pool)
{
	struct cy_addr got;

	ck_assert_str_eq(take("%dhcp", "a", 1, NULL), NOTFOUND);
	ck_assert_str_eq(take("10.0.0.0/33", "a", 1, NULL), NOTFOUND);
	ck_assert_int_eq(leases_acquire(leases, "10.3.0.0/24", AF_INET6, "a", 1, NULL, &got), CY_E_NOTFOUND);
	ck_assert_int_eq(leases_acquire(leases, "10.3.0.0/24", AF_INET, "a", 0, NULL, &got), CY_E_INVAL);
	ck_assert_int_eq(leases_pool_add(leases, "nonsense"), CY_E_PARSE);
	ck_assert_int_eq(leases_pool_add(leases, "10.3.0.255/24"), CY_E_PARSE);
}
END_TEST

START_TEST(the_same_comes_back)
{
	ck_assert_str_eq(take("10.3.0.0/24", "a", 1, NULL), "10.3.0.1");
	ck_assert_str_eq(take("10.3.0.0/24", "b", 2, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/24", "a", 1, NULL), "10.3.0.1"); /* the same session */
	give("10.3.0.0/24", "10.3.0.1", 1);
	ck_assert_str_eq(take("10.3.0.0/24", "c", 3, NULL), "10.3.0.3"); /* not a's, its time runs */
	ck_assert_str_eq(take("10.3.0.0/24", "a", 4, NULL), "10.3.0.1");
	give("10.3.0.0/24", "10.3.0.1", 4);
	pass(LEASE_TIME - 1);
	ck_assert_str_eq(take("10.3.0.0/24", "d", 5, NULL), "10.3.0.4");
	pass(1);
	ck_assert_str_eq(take("10.3.0.0/24", "e", 6, NULL), "10.3.0.1"); /* run out: given to others */
	ck_assert_str_eq(take("10.3.0.0/24", "a", 7, NULL), "10.3.0.5");
}
END_TEST

START_TEST(sessions_of_one_key)
{
	ck_assert_str_eq(take("10.3.0.0/24", "a", 1, NULL), "10.3.0.1");
	ck_assert_str_eq(take("10.3.0.0/24", "a", 2, NULL), "10.3.0.2");
	give("10.3.0.0/24", "10.3.0.1", 2); /* not its own */
	ck_assert_str_eq(take("10.3.0.0/24", "a", 3, NULL), "10.3.0.3");
	give("10.3.0.0/24", "10.3.0.1", 1);
	give("10.3.0.0/24", "10.3.0.1", 1); /* twice */
	give("10.3.0.0/24", "10.3.0.2", 2);
	/* the one that went last */
	ck_assert_str_eq(take("10.3.0.0/24", "a", 4, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/24", "a", 5, NULL), "10.3.0.1");
	/* a rekeyed IKE_SA keeps what it has under its new number */
	leases_transfer(leases, 4, 40);
	ck_assert_str_eq(take("10.3.0.0/24", "a", 40, NULL), "10.3.0.2");
	give("10.3.0.0/24", "10.3.0.2", 4);
	ck_assert_str_eq(take("10.3.0.0/24", "a", 6, NULL), "10.3.0.4");
	give("10.3.0.0/24", "10.3.0.2", 40);
	ck_assert_str_eq(take("10.3.0.0/24", "a", 7, NULL), "10.3.0.2");
}
END_TEST

START_TEST(asked_for)
{
	ck_assert_str_eq(take("10.3.0.0/24", "a", 1, "10.3.0.77"), "10.3.0.77");
	ck_assert_str_eq(take("10.3.0.0/24", "b", 2, "10.3.0.77"), "10.3.0.1"); /* in use */
	ck_assert_str_eq(take("10.3.0.0/24", "c", 3, "10.3.0.0"), "10.3.0.2");  /* nobody's */
	ck_assert_str_eq(take("10.3.0.0/24", "d", 4, "10.3.0.255"), "10.3.0.3");
	ck_assert_str_eq(take("10.3.0.0/24", "e", 5, "192.0.2.1"), "10.3.0.4");
	ck_assert_str_eq(take("10.3.0.0/24", "f", 6, "fd00::1"), "10.3.0.5");
	ck_assert_str_eq(take("10.3.0.0/24", "g", 7, "0.0.0.0"), "10.3.0.6");
	give("10.3.0.0/24", "10.3.0.77", 1);
	ck_assert_str_eq(take("10.3.0.0/24", "h", 8, "10.3.0.77"), "10.3.0.7"); /* a's time runs */
	ck_assert_str_eq(take("10.3.0.0/24", "a", 9, "10.3.0.77"), "10.3.0.77");
	give("10.3.0.0/24", "10.3.0.77", 9);
	pass(LEASE_TIME);
	ck_assert_str_eq(take("10.3.0.0/24", "h", 10, "10.3.0.77"), "10.3.0.77");
	/* going up, what was asked for is stepped over */
	ck_assert_str_eq(take("10.3.0.0/24", "i", 11, "10.3.0.8"), "10.3.0.8");
	ck_assert_str_eq(take("10.3.0.0/24", "j", 12, NULL), "10.3.0.9");
}
END_TEST

/* Overlapping pools are one admin's habit; one address in two tunnels would be everybody's trouble. */
START_TEST(no_address_twice_across_pools)
{
	ck_assert_str_eq(take("10.3.0.0/24", "a", 1, NULL), "10.3.0.1");
	ck_assert_str_eq(take("10.3.0.1-10.3.0.2", "b", 2, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.1-10.3.0.2", "c", 3, NULL), LIMIT);
	ck_assert_str_eq(take("10.3.0.0/24", "d", 4, NULL), "10.3.0.3");
	ck_assert_str_eq(take("10.3.0.0/24", "d", 5, "10.3.0.2"), "10.3.0.4");
}
END_TEST

/* A pool that is dry refuses nobody while an address is not in use. */
START_TEST(exhaustion)
{
	ck_assert_str_eq(take("10.3.0.0/30", "a", 1, NULL), "10.3.0.1");
	ck_assert_str_eq(take("10.3.0.0/30", "b", 2, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/30", "c", 3, NULL), LIMIT);
	give("10.3.0.0/30", "10.3.0.2", 2);
	pass(1);
	give("10.3.0.0/30", "10.3.0.1", 1);
	ck_assert_str_eq(take("10.3.0.0/30", "c", 3, NULL), "10.3.0.2"); /* gone longest */
	ck_assert_str_eq(take("10.3.0.0/30", "a", 4, NULL), "10.3.0.1");
	ck_assert_str_eq(take("10.3.0.0/30", "b", 5, NULL), LIMIT);
}
END_TEST

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* LS#166, LS#377: an office behind one NAT, all with the same identity. */
START_TEST(five_hundred_behind_one_nat)
{
	static char got[500][ADDR_STR_MAX];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 500; i++)
			strcpy(got[i], take("10.9.0.0/23", "office", (uint64_t)(round * 1000 + i + 1), NULL));
		for (int i = 0; i < 500; i++)
			give("10.9.0.0/23", got[i], (uint64_t)(round * 1000 + i + 1));
		qsort(got, 500, sizeof(got[0]), by_text);
		for (int i = 0; i < 500; i++) {
			ck_assert_ptr_null(strstr(got[i], "error"));
			ck_assert(i == 0 || strcmp(got[i - 1], got[i]) != 0);
		}
	}
}
END_TEST

struct sums {
	uint64_t online, offline, pools, size;
};
static void count_pool(void *user, const struct lease_pool_info *i)
{
	struct sums *s = user;

	s->pools++;
	s->online += i->online;
	s->offline += i->offline;
	s->size += i->size;
}
static void count_lease(void *user, const struct lease_info *i)
{
	struct sums *s = user;

	ck_assert_uint_gt(strlen(i->key), 0);
	if (i->session) {
		s->online++;
		ck_assert_int_eq(i->until, 0);
	} else {
		s->offline++;
		ck_assert_int_gt(i->until, i->since);
	}
}

START_TEST(listings)
{
	struct sums pools = {0}, list = {0};

	ck_assert_int_eq(leases_pool_add(leases, "10.1.0.0/16"), CY_OK);
	ck_assert_int_eq(leases_pool_add(leases, "10.1.0.0/16"), CY_OK);
	ck_assert_int_eq(leases_pool_add(leases, "fd00::/64"), CY_OK);
	for (uint64_t i = 1; i <= 300; i++)
		take("10.1.0.0/16", "a", i, NULL);
	give("10.1.0.0/16", "10.1.0.5", 5);
	leases_pools(leases, count_pool, &pools);
	ck_assert_uint_eq(pools.pools, 2);
	ck_assert_uint_eq(pools.online, 299);
	ck_assert_uint_eq(pools.offline, 1);
	ck_assert_uint_eq(pools.size, 65534 + UINT64_MAX); /* a /64 is as much as we count */
	leases_list(leases, count_lease, &list);
	ck_assert_uint_eq(list.online, 299);
	ck_assert_uint_eq(list.offline, 1);
}
END_TEST

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The hundred thousandth address costs what the first did, also when everything is gone round once. */
START_TEST(size_does_not_matter)
{
	static const char *const names[] = {"10.0.0.0/8", "fd00::/64"};
	double us;

	for (int p = 0; p < 2; p++) {
		struct cy_addr a[1000];
		uint64_t session = 1;
		char key[32];

		for (int i = 0; i < 100000; i++) {
			snprintf(key, sizeof(key), "user%d", i);
			ck_assert_int_eq(leases_acquire(leases, names[p], p ? AF_INET6 : AF_INET, key,
			                     session++, NULL, &a[i % 1000]),
			    CY_OK);
		}
		us = cpu_us();
		for (int i = 0; i < 1000; i++) {
			leases_release(leases, names[p], &a[i], session - 1000 + (uint64_t)i);
			snprintf(key, sizeof(key), "late%d", i);
			ck_assert_int_eq(leases_acquire(leases, names[p], p ? AF_INET6 : AF_INET, key,
			                     ++session + 1000000, NULL, &a[i]),
			    CY_OK);
		}
		us = (cpu_us() - us) / 1000;
		ck_assert_msg(us < 100, "%.1f us for one", us);
	}
	/* a full pool hands round what comes back */
	for (uint64_t i = 1; i <= 65534; i++)
		ck_assert_ptr_null(strstr(take("172.16.0.0/16", "k", i, NULL), "error"));
	us = cpu_us();
	for (uint64_t i = 1; i <= 1000; i++) {
		char text[ADDR_STR_MAX];

		ck_assert_str_eq(take("172.16.0.0/16", "x", 100000 + i, NULL), LIMIT);
		snprintf(text, sizeof(text), "172.16.%d.%d", (int)i / 256, (int)i % 256);
		give("172.16.0.0/16", text, i);
		ck_assert_str_eq(take("172.16.0.0/16", "x", 100000 + i, NULL), text);
	}
	us = (cpu_us() - us) / 1000;
	ck_assert_msg(us < 200, "%.1f us in a full pool", us);
}
END_TEST

/* --- a store ------------------------------------------------------------------------------------------------------ */

#define ROWS 4096

/* One row an address, as a database would have it; whoever saves over another's row has broken the order. */
struct table {
	struct row {
		char pool[32], key[32];
		struct cy_addr addr;
		int64_t since, until;
		bool used;
	} rows[ROWS];
	size_t n, saves, drops, broken;
	bool fail;
	pthread_mutex_t lock;
	int busy; /* calls inside: never two */
};

static struct row *row_at(struct table *t, const struct cy_lease *l, bool key_too)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->rows[i].used && cy_addr_ip_eq(&t->rows[i].addr, &l->addr) &&
		    strcmp(t->rows[i].pool, l->pool) == 0 &&
		    (!key_too || strcmp(t->rows[i].key, l->key) == 0))
			return &t->rows[i];
	return NULL;
}

static enum cy_err table_load(void *plugin, void (*cb)(void *user, const struct cy_lease *l), void *user)
{
	struct table *t = plugin;

	for (size_t i = 0; i < t->n; i++)
		if (t->rows[i].used)
			cb(user,
			    &(struct cy_lease){sizeof(struct cy_lease), t->rows[i].pool, t->rows[i].key,
			        t->rows[i].addr, t->rows[i].since, t->rows[i].until});
	return t->fail ? CY_E_IO : CY_OK;
}

static enum cy_err table_save(void *plugin, const struct cy_lease *l, size_t n)
{
	struct table *t = plugin;

	pthread_mutex_lock(&t->lock);
	t->saves += n;
	for (size_t i = 0; i < n && !t->fail; i++) {
		struct row *r = row_at(t, &l[i], true);

		if (!r && row_at(t, &l[i], false))
			t->broken++;
		if (!r) {
			ck_assert_uint_lt(t->n, ROWS);
			r = &t->rows[t->n++];
		}
		*r = (struct row){.addr = l[i].addr, .since = l[i].since, .until = l[i].until, .used = true};
		snprintf(r->pool, sizeof(r->pool), "%s", l[i].pool);
		snprintf(r->key, sizeof(r->key), "%s", l[i].key);
	}
	pthread_mutex_unlock(&t->lock);
	return t->fail ? CY_E_IO : CY_OK;
}

static enum cy_err table_drop(void *plugin, const struct cy_lease *l, size_t n)
{
	struct table *t = plugin;

	pthread_mutex_lock(&t->lock);
	t->drops += n;
	for (size_t i = 0; i < n && !t->fail; i++) {
		struct row *r = row_at(t, &l[i], true);

		if (r)
			r->used = false;
	}
	pthread_mutex_unlock(&t->lock);
	return t->fail ? CY_E_IO : CY_OK;
}

static const struct cy_lease_store_ops table_ops = {
    sizeof(table_ops), "table", table_load, table_save, table_drop};

static struct table table;
static struct processor *processor;
static struct pool *pool;
static struct log *logger;

static void quiet(void *user, const struct log_line *line)
{
}

static void store_setup(void)
{
	setup();
	memset(&table, 0, sizeof(table));
	pthread_mutex_init(&table.lock, NULL);
	leases_free(leases);
	ck_assert_int_eq(log_new(&sim.env, &logger), CY_OK);
	log_set_direct(logger, quiet, NULL);
	ck_assert_int_eq(
	    processor_new(
	        &(struct processor_config){.n_workers = 1, .env = &sim.env, .log = logger}, &processor),
	    CY_OK);
	ck_assert_int_eq(pool_new(&(struct pool_config){.env = &sim.env, .log = logger}, &pool), CY_OK);
	ck_assert_int_eq(leases_new(&sim.env, logger, LEASE_TIME, &leases), CY_OK);
	ck_assert_int_eq(
	    leases_set_store(leases, &table_ops, &table, pool, processor_worker(processor, 0)), CY_OK);
}

static void step(void)
{
	while (worker_step(processor_worker(processor, 0), 100))
		;
}

/* The daemon ends, and begins anew with what is stored; at once: what was not written is lost. */
static void restart(bool at_once)
{
	if (at_once)
		table.fail = true; /* nothing more reaches it */
	leases_stop(leases);
	pool_free(pool);
	step();
	leases_free(leases);
	table.fail = false;
	ck_assert_int_eq(pool_new(&(struct pool_config){.env = &sim.env, .log = logger}, &pool), CY_OK);
	ck_assert_int_eq(leases_new(&sim.env, logger, LEASE_TIME, &leases), CY_OK);
	ck_assert_int_eq(
	    leases_set_store(leases, &table_ops, &table, pool, processor_worker(processor, 0)), CY_OK);
}

static void store_teardown(void)
{
	leases_stop(leases);
	pool_free(pool);
	leases_free(leases);
	processor_stop(processor);
	processor_free(processor);
	log_free(logger);
}

START_TEST(leases_survive_a_restart)
{
	ck_assert_str_eq(take("10.3.0.0/24", "a", 1, NULL), "10.3.0.1");
	ck_assert_str_eq(take("10.3.0.0/24", "b", 2, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/24", "c", 3, NULL), "10.3.0.3");
	give("10.3.0.0/24", "10.3.0.2", 2);
	restart(false); /* nothing ran in between: the end writes it */
	ck_assert_uint_eq(table.saves, 3);
	ck_assert_str_eq(take("10.3.0.0/24", "d", 1, NULL), "10.3.0.4");
	ck_assert_str_eq(take("10.3.0.0/24", "c", 2, NULL), "10.3.0.3");
	ck_assert_str_eq(take("10.3.0.0/24", "b", 3, NULL), "10.3.0.2");
	/* a was online and has not come back: its time runs from the restart */
	pass(LEASE_TIME - 1);
	ck_assert_str_eq(take("10.3.0.0/24", "e", 4, NULL), "10.3.0.5");
	pass(1);
	ck_assert_str_eq(take("10.3.0.0/24", "f", 5, NULL), "10.3.0.1");
}
END_TEST

START_TEST(the_store_follows_behind)
{
	ck_assert_str_eq(take("10.3.0.0/30", "a", 1, NULL), "10.3.0.1");
	ck_assert_uint_eq(table.saves, 0); /* the address was there before the store knew */
	step();
	ck_assert_uint_eq(table.saves, 1);
	/* many changes of one lease are one record */
	for (int i = 0; i < 50; i++) {
		give("10.3.0.0/30", "10.3.0.1", 1);
		ck_assert_str_eq(take("10.3.0.0/30", "a", 1, NULL), "10.3.0.1");
	}
	step();
	ck_assert_uint_le(table.saves, 4);
	/* somebody else's now: dropped, then saved */
	give("10.3.0.0/30", "10.3.0.1", 1);
	pass(LEASE_TIME);
	ck_assert_str_eq(take("10.3.0.0/30", "b", 2, NULL), "10.3.0.1");
	step();
	ck_assert_uint_eq(table.drops, 1);
	ck_assert_uint_eq(table.broken, 0);
	restart(true);
	ck_assert_str_eq(take("10.3.0.0/30", "a", 1, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/30", "b", 1, NULL), "10.3.0.1");
}
END_TEST

START_TEST(a_failing_store_is_tried_again)
{
	table.fail = true;
	ck_assert_str_eq(take("10.3.0.0/30", "a", 1, NULL), "10.3.0.1");
	step();
	ck_assert_uint_eq(table.saves, 1);
	ck_assert_str_eq(take("10.3.0.0/30", "b", 2, NULL), "10.3.0.2"); /* nobody waits for it */
	step();
	ck_assert_uint_eq(table.saves, 1); /* nor is it asked all the time */
	table.fail = false;
	pass(5);
	step(); /* by itself, without another change */
	ck_assert_uint_eq(table.n, 2);
	give("10.3.0.0/30", "10.3.0.2", 2);
	step();
	ck_assert_uint_eq(table.n, 2);
	/* a drop that fails still comes before the save */
	table.fail = true;
	pass(LEASE_TIME);
	ck_assert_str_eq(take("10.3.0.0/30", "c", 3, NULL), "10.3.0.2");
	step();
	pass(5);
	table.fail = false;
	give("10.3.0.0/30", "10.3.0.1", 1);
	step();
	ck_assert_uint_eq(table.broken, 0);
	ck_assert_uint_eq(table.drops, 2);
	restart(true);
	ck_assert_str_eq(take("10.3.0.0/30", "c", 3, NULL), "10.3.0.2");
}
END_TEST

START_TEST(what_cannot_be_loaded)
{
	struct cy_addr got;

	/* a pool that went, an address outside, two rows for one address of which the newer counts */
	table.n = 4;
	table.rows[0] = (struct row){.pool = "%dhcp", .key = "a", .used = true};
	table.rows[1] = (struct row){.pool = "10.3.0.0/30", .key = "a", .used = true};
	table.rows[2] =
	    (struct row){.pool = "10.3.0.0/30", .key = "old", .used = true, .since = 5, .until = 1800000000};
	table.rows[3] =
	    (struct row){.pool = "10.3.0.0/30", .key = "new", .used = true, .since = 6, .until = 1800000000};
	ck_assert_int_eq(addr_parse("10.3.0.1", &table.rows[2].addr), CY_OK);
	table.rows[3].addr = table.rows[2].addr;
	ck_assert_int_eq(addr_parse("10.9.0.1", &table.rows[1].addr), CY_OK);
	restart(true);
	ck_assert_str_eq(take("10.3.0.0/30", "old", 1, NULL), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/30", "new", 2, NULL), "10.3.0.1");
	ck_assert_int_eq(leases_acquire(leases, "%dhcp", AF_INET, "a", 3, NULL, &got), CY_E_NOTFOUND);
	/* a store that cannot be read is said so, and not written to */
	table.fail = true;
	leases_stop(leases);
	leases_free(leases);
	ck_assert_int_eq(leases_new(&sim.env, logger, LEASE_TIME, &leases), CY_OK);
	ck_assert_int_eq(
	    leases_set_store(leases, &table_ops, &table, pool, processor_worker(processor, 0)), CY_E_IO);
	ck_assert_str_eq(take("10.3.0.0/30", "x", 1, NULL), "10.3.0.1");
}
END_TEST

/* Forgets the rows that are not used. */
static void table_pack(struct table *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->rows[i].used)
			t->rows[kept++] = t->rows[i];
	t->n = kept;
}

static size_t table_doubles(const struct table *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		for (size_t j = 0; j < i; j++)
			n += cy_addr_ip_eq(&t->rows[i].addr, &t->rows[j].addr);
	return n;
}

/* Random life, ended at any moment: what is stored never has one address for two, and no order was broken. */
START_TEST(any_moment_may_be_the_last)
{
	uint64_t r = (uint64_t)_i + 1, session = 1;
	size_t doubles = 0;
	struct {
		char addr[ADDR_STR_MAX];
		uint64_t session;
	} on[14] = {{.session = 0}};

	for (int i = 0; i < 3000; i++) {
		char key[8];
		size_t at;

		r = r * 6364136223846793005ull + 1442695040888963407ull;
		at = r >> 40 & 0xffff;
		at %= 14;
		snprintf(key, sizeof(key), "k%d", (int)(r >> 33 & 31));
		if (on[at].session) {
			give("10.3.0.0/28", on[at].addr, on[at].session);
			on[at].session = 0;
		} else {
			snprintf(on[at].addr, sizeof(on[at].addr), "%s",
			    take("10.3.0.0/28", key, ++session, NULL));
			ck_assert_ptr_null(strstr(on[at].addr, "error"));
			on[at].session = session;
		}
		for (size_t j = 0; j < 14; j++)
			doubles += j != at && on[j].session && on[at].session &&
			    strcmp(on[j].addr, on[at].addr) == 0;
		if ((r >> 20 & 3) == 0)
			worker_step(processor_worker(processor, 0), 1);
		if ((r >> 22 & 7) == 0)
			pass(r >> 50 & 255);
		table.fail = (r >> 30 & 15) == 0;
		if ((r >> 48 & 127) == 0) {
			restart(true);
			memset(on, 0, sizeof(on));
		}
		table_pack(&table);
		doubles += table_doubles(&table);
	}
	ck_assert_uint_eq(doubles, 0);
	ck_assert_uint_eq(table.broken, 0);
	table.fail = false;
}
END_TEST

/* --- threads ------------------------------------------------------------------------------------------------------ */

static uint8_t in_use[1 << 16]; /* by the last two bytes of an address; atomic */
static uint32_t twice;

static void *customer(void *arg)
{
	uint64_t r = (uint64_t)(uintptr_t)arg, n = r << 32;

	for (int i = 0; i < 3000; i++) {
		struct cy_addr a;
		char key[8];

		r = r * 6364136223846793005ull + 1442695040888963407ull;
		snprintf(key, sizeof(key), "k%d", (int)(r >> 33 & 63));
		if (leases_acquire(leases, "10.3.0.0/24", AF_INET, key, ++n, NULL, &a))
			continue;
		if (__atomic_exchange_n(&in_use[a.ip[2] << 8 | a.ip[3]], 1, __ATOMIC_ACQ_REL))
			__atomic_fetch_add(&twice, 1, __ATOMIC_RELAXED);
		if (r >> 60 == 0) {
			struct sums s = {0};

			leases_list(leases, count_lease, &s);
		}
		__atomic_store_n(&in_use[a.ip[2] << 8 | a.ip[3]], 0, __ATOMIC_RELEASE);
		leases_release(leases, "10.3.0.0/24", &a, n);
	}
	return NULL;
}

START_TEST(many_threads)
{
	pthread_t threads[4];
	struct real real;
	struct pool *real_pool;

	real_init(&real, 1);
	memset(&table, 0, sizeof(table));
	pthread_mutex_init(&table.lock, NULL);
	ck_assert_int_eq(
	    pool_new(&(struct pool_config){.env = &real.env, .log = real.log}, &real_pool), CY_OK);
	ck_assert_int_eq(leases_new(&real.env, real.log, LEASE_TIME, &leases), CY_OK);
	ck_assert_int_eq(
	    leases_set_store(leases, &table_ops, &table, real_pool, processor_worker(real.p, 0)), CY_OK);
	for (uintptr_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, customer, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(twice, 0);
	pool_free(real_pool);
	sleep_ms(20); /* done() comes on the worker */
	leases_free(leases);
	ck_assert_uint_eq(table.broken, 0);
	ck_assert_uint_gt(table.saves, 0);
	for (size_t j = 0; j < table.n; j++)
		ck_assert(!table.rows[j].used ||
		    table.rows[j].until > 0); /* all went offline, and that is written */
	real_fini(&real);
}
END_TEST

static const char *own(const char *addr, const char *key, uint64_t session)
{
	const char *from = NULL;
	struct cy_addr a;
	enum cy_err err;

	ck_assert_int_eq(addr_parse(addr, &a), CY_OK);
	err = leases_acquire_static(leases, &a, key, session, &from);
	return err == CY_OK ? from : err == CY_E_BUSY ? "busy" : "error";
}

START_TEST(addresses_of_their_own)
{
	ck_assert_str_eq(own("10.9.9.9", "alice", 1), "10.9.9.9");
	ck_assert_str_eq(own("10.9.9.9", "alice", 1), "10.9.9.9");
	ck_assert_str_eq(own("10.9.9.9", "bob", 2), "busy");
	/* she comes back before anybody knows that her old session is dead: what that one gives back is not hers any more */
	ck_assert_str_eq(own("10.9.9.9", "alice", 3), "10.9.9.9");
	give("10.9.9.9", "10.9.9.9", 1);
	ck_assert_str_eq(own("10.9.9.9", "bob", 2), "busy");
	give("10.9.9.9", "10.9.9.9", 3);
	ck_assert_str_eq(own("10.9.9.9", "bob", 2), "10.9.9.9");
	/* of a pool: no address twice, whoever was first */
	ck_assert_str_eq(take("10.3.0.0/29", "carol", 4, NULL), "10.3.0.1");
	ck_assert_str_eq(own("10.3.0.1", "dave", 5), "busy");
	ck_assert_str_eq(own("10.3.0.2", "dave", 5), "10.3.0.2");
	ck_assert_str_eq(take("10.3.0.0/29", "eve", 6, NULL), "10.3.0.3");
	give("10.3.0.0/29", "10.3.0.1", 4);
	ck_assert_str_eq(own("10.3.0.1", "frank", 7), "10.3.0.0/29");
	give("10.3.0.0/29", "10.3.0.1", 7);
	ck_assert_str_eq(own("fd00::5", "gina", 8), "fd00::5");
	ck_assert_str_eq(own("10.9.9.8", "henry", 0), "error");
}
END_TEST

UNIT_TESTS(lease)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, in_order_without_network_and_broadcast);
	tcase_add_test(tc, what_is_no_pool);
	tcase_add_test(tc, the_same_comes_back);
	tcase_add_test(tc, sessions_of_one_key);
	tcase_add_test(tc, asked_for);
	tcase_add_test(tc, no_address_twice_across_pools);
	tcase_add_test(tc, exhaustion);
	tcase_add_test(tc, five_hundred_behind_one_nat);
	tcase_add_test(tc, addresses_of_their_own);
	tcase_add_test(tc, listings);
	tcase_add_test(tc, size_does_not_matter);
}

UNIT_TESTS(lease_store)
{
	tcase_add_checked_fixture(tc, store_setup, store_teardown);
	tcase_add_test(tc, leases_survive_a_restart);
	tcase_add_test(tc, the_store_follows_behind);
	tcase_add_test(tc, a_failing_store_is_tried_again);
	tcase_add_test(tc, what_cannot_be_loaded);
	tcase_add_loop_test(tc, any_moment_may_be_the_last, 0, 10);
}

UNIT_TESTS(lease_threads)
{
	tcase_add_test(tc, many_threads);
}
