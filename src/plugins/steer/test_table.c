/* SPDX-License-Identifier: Apache-2.0 */
/* The SAs that are steered, with a kernel that is an array. */

#include "cpulist.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>

#include "libcore/base/err.h"

#include "unit.h"

#define MAX 64

static const uint32_t cpus[] = {4, 6};

struct kernel {
	uint32_t spi[MAX]; /* of each slot, 0 none */
	struct steer_slot slots[MAX];
	int fail;
};

static int set(void *path, uint32_t spi, uint32_t slot)
{
	struct kernel *k = path;

	EXPECT(slot < MAX && !k->spi[slot]);
	if (k->fail)
		return k->fail;
	k->spi[slot] = spi;
	return 0;
}

static void unset(void *path, uint32_t spi)
{
	struct kernel *k = path;
	int n = 0;

	for (int i = 0; i < MAX; i++)
		if (k->spi[i] == spi) {
			k->spi[i] = 0;
			n++;
		}
	EXPECT(n == 1);
}

static void init(struct table *t, struct kernel *k, uint32_t max)
{
	const struct table_config cfg = {
	    .balance =
	        {.start_pct = 20, .stop_pct = 5, .patience = 1, .max_moves = 2, .hold = 5, .memory = 1},
	    .gap_ns = 1000,
	    .limit_ns = 500,
	    .end_idle = 5,
	};
	const struct table_path path = {.set = set, .unset = unset, .path = k, .slots = k->slots};

	*k = (struct kernel){0};
	ck_assert_int_eq(table_init(t, &cfg, &path, cpus, 2, max), CY_OK);
}

static struct steer_slot *slot_of(struct kernel *k, uint32_t spi)
{
	int i = 0;

	while (i < MAX && k->spi[i] != spi)
		i++;
	ck_assert_int_lt(i, MAX);
	return &k->slots[i];
}

START_TEST(new_ones_take_turns)
{
	struct kernel k;
	struct table t;

	init(&t, &k, MAX);
	for (uint32_t i = 1; i <= MAX; i++)
		ck_assert_int_eq(table_add(&t, 0xc0000000 + i, 0), CY_OK);
	ck_assert_uint_eq(t.n, MAX);
	for (uint32_t i = 1; i <= MAX; i++) {
		const struct steer_slot *s = slot_of(&k, 0xc0000000 + i);
		EXPECT(s->cpu == cpus[(i - 1) % 2] && s->want == s->cpu && !s->packets);
	}
	/* its end was not told */
	ck_assert_int_eq(table_add(&t, 0xc0000001, 0), CY_OK);
	ck_assert_uint_eq(t.n, MAX);
	for (uint32_t i = 1; i <= MAX; i++)
		ck_assert(table_remove(&t, 0xc0000000 + i));
	ck_assert(!table_remove(&t, 0xc0000001));
	ck_assert_ptr_null(table_find(&t, 0xc0000001));
	ck_assert_uint_eq(t.n, 0);
	ck_assert_uint_eq(t.balance.n_sas, 0);
	table_fini(&t);
}
END_TEST

/* Slots are used in turn, so that a packet of the last SA that is still under way counts for nobody. */
START_TEST(slots_rest)
{
	struct kernel k;
	struct table t;

	init(&t, &k, 4);
	for (uint32_t i = 0; i < 8; i++) {
		ck_assert_int_eq(table_add(&t, 100 + i, 0), CY_OK);
		ck_assert_uint_eq(k.spi[i % 4], 100 + i);
		ck_assert(table_remove(&t, 100 + i));
	}
	table_fini(&t);
}
END_TEST

/* When it is full, who has had no packet for long goes; while all have, the new one is not steered. */
START_TEST(full)
{
	struct kernel k;
	struct table t;

	init(&t, &k, 4);
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_int_eq(table_add(&t, 100 + i, 0), CY_OK);
	ck_assert_int_eq(table_add(&t, 200, 0), CY_E_LIMIT);
	ck_assert_uint_eq(t.refused, 1);
	for (uint32_t n = 0; n < 40; n++) {
		for (uint32_t i = 0; i < 4; i++)
			if (i != 2)
				slot_of(&k, 100 + i)->packets++;
		table_tick(&t, n);
	}
	ck_assert_int_eq(table_add(&t, 200, 0), CY_OK);
	ck_assert_ptr_null(table_find(&t, 102));
	ck_assert_uint_eq(t.evicted, 1);
	ck_assert_int_eq(table_add(&t, 201, 0), CY_E_LIMIT);
	table_fini(&t);
}
END_TEST

START_TEST(kernel_refuses)
{
	struct kernel k;
	struct table t;

	init(&t, &k, 4);
	k.fail = ENOMEM;
	ck_assert_int_eq(table_add(&t, 100, 0), CY_E_IO);
	ck_assert_uint_eq(t.n, 0);
	ck_assert_uint_eq(t.balance.n_sas, 0);
	k.fail = 0;
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_int_eq(table_add(&t, 100 + i, 0), CY_OK);
	table_fini(&t);
}
END_TEST

/* A rekeyed SA stays where it was, whatever the load. */
START_TEST(rekeyed)
{
	struct kernel k;
	struct table t;

	init(&t, &k, MAX);
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_int_eq(table_add(&t, 100 + i, 0), CY_OK);
	slot_of(&k, 101)->packets = 5000; /* on CPU 6, which then has the most */
	slot_of(&k, 100)->packets = 4900;
	table_tick(&t, 1);
	ck_assert_int_eq(table_add(&t, 201, 101), CY_OK);
	ck_assert_uint_eq(slot_of(&k, 201)->cpu, 6);
	ck_assert_int_eq(table_add(&t, 301, 201), CY_OK);
	ck_assert_uint_eq(slot_of(&k, 301)->cpu, 6);
	/* one that nobody knows is a new one */
	ck_assert_int_eq(table_add(&t, 400, 77), CY_OK);
	ck_assert_uint_eq(slot_of(&k, 400)->cpu, 4);
	/* those that were replaced go when they are silent, and only those */
	for (uint32_t n = 0; n < 5; n++) {
		ck_assert_ptr_nonnull(table_find(&t, 101));
		slot_of(&k, 201)->packets++;
		table_tick(&t, 2 + n);
	}
	ck_assert_ptr_null(table_find(&t, 101));
	ck_assert_ptr_nonnull(table_find(&t, 201));
	for (uint32_t n = 0; n < 5; n++)
		table_tick(&t, 7 + n);
	ck_assert_ptr_null(table_find(&t, 201));
	ck_assert_uint_eq(t.n, 5);
	table_fini(&t);
}
END_TEST

/* A move is a wish; the program goes over to it, and one that has no packets is there at once. */
START_TEST(moves)
{
	struct kernel k;
	struct steer_slot *a, *b;
	struct table t;

	init(&t, &k, MAX);
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_int_eq(table_add(&t, 100 + i, 0), CY_OK);
	for (uint32_t i = 0; i < 8; i++) /* CPU 4 has 4000, CPU 6 has 400 */
		slot_of(&k, 100 + i)->packets = i % 2 ? 100 : 1000;
	ck_assert_uint_eq(table_tick(&t, 7777), 2);
	ck_assert_uint_eq(table_waiting(&t), 2);
	a = slot_of(&k, 100);
	ck_assert_uint_eq(a->cpu, 4);
	ck_assert_uint_eq(a->want, 6);
	ck_assert_uint_eq(a->last_ns, 7777);
	ck_assert_uint_eq(a->deadline_ns, 8277);
	ck_assert_uint_eq(a->gap_ns, 1000);
	b = slot_of(&k, 102);
	ck_assert_uint_eq(b->want, 6);
	/* the program has moved one; the other one has had no packet */
	a->cpu = 6;
	a->moved_late = 1;
	a->packets += 10;
	table_tick(&t, 9999);
	ck_assert_uint_eq(b->cpu, 6);
	ck_assert_uint_eq(table_waiting(&t), 0);
	ck_assert_uint_eq(t.moves, 2);
	ck_assert_uint_eq(t.moved_late, 1);
	ck_assert_uint_eq(t.moved_gap, 1);
	table_tick(&t, 10000);
	ck_assert_uint_eq(t.moved_late, 1);
	table_fini(&t);
}
END_TEST

/* A table that only watches, with SAs 1 to n. */
static void init_watching(struct table *t, struct kernel *k, struct table_config *cfg, uint32_t n)
{
	init(t, k, MAX);
	*cfg = t->cfg;
	cfg->watch = true;
	table_configure(t, cfg, 1);
	for (uint32_t spi = 1; spi <= n; spi++)
		ck_assert_int_eq(table_add(t, spi, 0), CY_OK);
}

/* While it only watches, SAs stay where they come, however uneven that is; afterwards they go to their CPUs, and are moved. */
START_TEST(watching)
{
	struct table_config cfg;
	struct kernel k;
	struct table t;

	init_watching(&t, &k, &cfg, 8);
	for (int i = 0; i < 6; i++) {
		/* every other one is on the first CPU */
		for (uint32_t spi = 1; spi <= 8; spi++)
			slot_of(&k, spi)->packets += spi % 2 ? 1000 : 10;
		ck_assert_uint_eq(slot_of(&k, 1)->cpu, STEER_STAYS);
		ck_assert_uint_eq(table_waiting(&t), 0);
		if (i == 5) {
			cfg.watch = false;
			table_configure(&t, &cfg, 1000);
		}
		ck_assert_int_eq(table_tick(&t, 1000) != 0, i == 5);
	}
	ck_assert_uint_eq(table_waiting(&t), 8);
	table_fini(&t);
}
END_TEST

/* No packet overtakes one that waits where it came when steering begins, nor one that waits on a CPU when it ends: SAs go over as by a move. */
START_TEST(beginning)
{
	struct table_config cfg;
	struct steer_slot *s;
	struct kernel k;
	struct table t;

	init_watching(&t, &k, &cfg, 4);
	for (uint32_t spi = 1; spi <= 4; spi++)
		slot_of(&k, spi)->packets = 10;
	table_tick(&t, 1000);
	cfg.watch = false;
	table_configure(&t, &cfg, 7777);
	for (uint32_t spi = 1; spi <= 4; spi++) {
		s = slot_of(&k, spi);
		EXPECT(s->cpu == STEER_STAYS && s->want == cpus[(spi - 1) % 2]);
		EXPECT(s->last_ns == 7777 && s->deadline_ns == 8277 && s->gap_ns == 1000);
	}
	/* a new one has nothing that waits */
	ck_assert_int_eq(table_add(&t, 5, 0), CY_OK);
	ck_assert_uint_eq(slot_of(&k, 5)->cpu, slot_of(&k, 5)->want);
	/* nor does one that has no packets */
	slot_of(&k, 1)->packets += 10;
	table_tick(&t, 9999);
	ck_assert_uint_eq(table_waiting(&t), 1);
	ck_assert_uint_eq(slot_of(&k, 2)->cpu, 6);
	/* a reload that changes something else leaves them alone */
	cfg.gap_ns = 5;
	table_configure(&t, &cfg, 10000);
	ck_assert_uint_eq(slot_of(&k, 1)->last_ns, 7777);
	cfg.watch = true;
	table_configure(&t, &cfg, 11111);
	ck_assert_uint_eq(table_waiting(&t), 4); /* the first one never went */
	ck_assert_uint_eq(slot_of(&k, 2)->cpu, 6);
	ck_assert_uint_eq(slot_of(&k, 2)->want, STEER_STAYS);
	table_fini(&t);
}
END_TEST

/* Any order of adding and removing keeps what can be found. */
START_TEST(churn)
{
	uint32_t there[200] = {0}, n = 0, seed = 1;
	struct kernel k;
	struct table t;

	init(&t, &k, MAX);
	for (int step = 0; step < 20000; step++) {
		uint32_t i;
		seed = seed * 1103515245 + 12345;
		i = (seed >> 16) % 200;
		if (there[i]) {
			EXPECT(table_remove(&t, 0x1000 * (i + 1)));
			n--;
			there[i] = 0;
		} else if (n < MAX) {
			EXPECT(table_add(&t, 0x1000 * (i + 1), seed & 1 ? 0x1000 * (1 + i / 2) : 0) == CY_OK);
			n++;
			there[i] = 1;
		}
		EXPECT(t.n == n && t.balance.n_sas == n);
		EXPECT(!table_find(&t, 0x1000 * (i + 1)) == !there[i]);
	}
	table_fini(&t);
}
END_TEST

START_TEST(cpu_lists)
{
	static const struct {
		const char *text;
		uint32_t n, first, last;
	} cases[] = {
	    {"0-3,8\n", 5, 0, 8},
	    {"0", 1, 0, 0},
	    {"5,3,5", 2, 5, 3},
	    {"0-63", 64, 0, 63},
	    {"", 0, 0, 0},
	    {"64", 0, 0, 0},
	    {"0-64", 0, 0, 0},
	    {"3-1", 0, 0, 0},
	    {"0,", 0, 0, 0},
	    {"0-", 0, 0, 0},
	    {"-1", 0, 0, 0},
	    {"0 1", 0, 0, 0},
	    {"all", 0, 0, 0},
	    {"99999999999999999999", 0, 0, 0},
	    {"4294967296", 0, 0, 0},
	};
	uint32_t out[64];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_msg(cpulist_read(cases[i].text, out, 64) == cases[i].n, "\"%s\"", cases[i].text);
		if (cases[i].n) {
			ck_assert_uint_eq(out[0], cases[i].first);
			ck_assert_uint_eq(out[cases[i].n - 1], cases[i].last);
		}
	}
}
END_TEST

UNIT_TESTS(table)
{
	tcase_add_test(tc, new_ones_take_turns);
	tcase_add_test(tc, slots_rest);
	tcase_add_test(tc, full);
	tcase_add_test(tc, kernel_refuses);
	tcase_add_test(tc, rekeyed);
	tcase_add_test(tc, moves);
	tcase_add_test(tc, watching);
	tcase_add_test(tc, beginning);
	tcase_add_test(tc, churn);
	tcase_add_test(tc, cpu_lists);
}
