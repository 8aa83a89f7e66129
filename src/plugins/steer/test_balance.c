/* SPDX-License-Identifier: Apache-2.0 */
/* Which SAs are moved, and that few are: 500 of them with a load by Zipf's law. */

#include "balance.h"

#include <math.h>
#include <stdlib.h>

#include "libcore/base/err.h"

#include "unit.h"

#define SAS  500
#define RATE 100000.0 /* packets an interval, of all */

static const struct balance_config usual = {
    .start_pct = 20,
    .stop_pct = 5,
    .patience = 2,
    .max_moves = 8,
    .hold = 10,
    .memory = 4,
    .min_rate = 100,
};

static uint32_t draw(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (uint32_t)(*seed >> 32);
}

struct scene {
	struct balance b;
	double mean[SAS]; /* packets an interval */
	uint64_t seed;
	uint32_t most_moves, moves;
};

/* SA number i has the rank `rank[i]`: the load is 1 / rank^exponent of the whole, in an order that is mixed. */
static void scene_init(struct scene *s, uint32_t n_cpus, double exponent, uint64_t seed)
{
	double sum = 0;

	*s = (struct scene){.seed = seed};
	ck_assert_int_eq(balance_init(&s->b, &usual, n_cpus, SAS), CY_OK);
	for (int i = 0; i < SAS; i++) {
		s->mean[i] = 1 / pow(i + 1, exponent);
		sum += s->mean[i];
	}
	for (int i = 0; i < SAS; i++)
		s->mean[i] *= RATE / sum;
	for (int i = SAS - 1; i > 0; i--) {
		uint32_t k = draw(&s->seed) % (uint32_t)(i + 1);
		double swap = s->mean[i];
		s->mean[i] = s->mean[k];
		s->mean[k] = swap;
	}
}

/* One interval; each SA's packets differ from its mean by up to noise_pct. */
static size_t interval(struct scene *s, uint32_t noise_pct)
{
	struct balance_move moves[64];
	size_t n;

	for (uint32_t i = 0; i < SAS; i++) {
		double by = noise_pct ? (double)(draw(&s->seed) % (2 * noise_pct + 1)) - noise_pct : 0;
		balance_feed(&s->b, i, (uint64_t)(s->mean[i] * (100 + by) / 100 + 0.5));
	}
	n = balance_decide(&s->b, moves, ARRAY_LEN(moves));
	for (size_t i = 0; i < n; i++) {
		EXPECT(moves[i].from != moves[i].to);
		EXPECT(s->b.sas[moves[i].sa].cpu == moves[i].to);
	}
	EXPECT(n <= usual.max_moves);
	s->moves += (uint32_t)n;
	if (n > s->most_moves)
		s->most_moves = (uint32_t)n;
	return n;
}

/* Where a hash of the receive side would have put them, which is what there is without steering. */
static void place_by_hash(struct scene *s)
{
	for (uint32_t i = 0; i < SAS; i++)
		balance_add(&s->b, i, draw(&s->seed) % s->b.n_cpus);
}

/* The true share of the busiest CPU, in percent of the mean. */
static double spread(const struct scene *s)
{
	double load[64] = {0}, max = 0;

	for (int i = 0; i < SAS; i++)
		load[s->b.sas[i].cpu] += s->mean[i];
	for (uint32_t i = 0; i < s->b.n_cpus; i++)
		max = load[i] > max ? load[i] : max;
	return max / (RATE / s->b.n_cpus) * 100;
}

START_TEST(evens_out_zipf)
{
	static const struct {
		uint32_t cpus;
		double exponent;
	} cases[] = {{2, 1.2}, {4, 1.0}, {4, 1.1}, {8, 0.8}, {16, 0.6}};
	double before = 0, after = 0;
	struct scene s;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		scene_init(&s, cases[_i].cpus, cases[_i].exponent, seed * 77773);
		place_by_hash(&s);
		before += spread(&s) / 20;
		for (int i = 0; i < 60; i++)
			interval(&s, 20);
		after += spread(&s) / 20;
		/* what was less uneven than begins a rebalancing stays */
		ck_assert_msg(spread(&s) < 125, "seed %d: %.0f %%", (int)seed, spread(&s));
		ck_assert_msg(s.moves <= SAS / 8, "seed %d: %u moves", (int)seed, s.moves);
		balance_fini(&s.b);
	}
	ck_assert_msg(
	    after - 100 < (before - 100) / 2 && after < 112, "%.0f %%, before %.0f %%", after, before);
}
END_TEST

/* What is balanced, and goes on as it is, is left alone. */
START_TEST(stays_when_balanced)
{
	struct scene s;

	scene_init(&s, 4, 1.0, 4711);
	place_by_hash(&s);
	for (int i = 0; i < 60; i++)
		interval(&s, 20);
	ck_assert_uint_gt(s.moves, 0);
	s.moves = 0;
	for (int i = 0; i < 2000; i++)
		interval(&s, 20);
	ck_assert_uint_eq(s.moves, 0);
	balance_fini(&s.b);
}
END_TEST

/* Between the two limits nothing begins. */
START_TEST(hysteresis)
{
	struct balance_move moves[8];
	struct balance b;

	ck_assert_int_eq(balance_init(&b, &usual, 2, 16), CY_OK);
	for (uint32_t i = 0; i < 12; i++)
		balance_add(&b, i, i < 7); /* 7 of 12: 117 % of the mean */
	for (int k = 0; k < 100; k++) {
		for (uint32_t i = 0; i < 12; i++)
			balance_feed(&b, i, 1000);
		EXPECT(balance_decide(&b, moves, 8) == 0);
	}
	ck_assert_uint_eq(balance_spread(&b), 116);
	/* 8 of 12 are 133 %: not in the first interval, in the second both that are too many */
	balance_remove(&b, 11);
	balance_add(&b, 11, 1);
	for (uint32_t i = 0; i < 12; i++)
		balance_feed(&b, i, 1000);
	ck_assert_uint_eq(balance_decide(&b, moves, 8), 0);
	for (uint32_t i = 0; i < 12; i++)
		balance_feed(&b, i, 1000);
	ck_assert_uint_eq(balance_decide(&b, moves, 8), 2);
	ck_assert_uint_eq(balance_spread(&b), 100);
	ck_assert_uint_eq(moves[0].from, 1);
	ck_assert_uint_eq(moves[0].to, 0);
	balance_fini(&b);
}
END_TEST

/* One that is too big for any CPU stays; what can be taken from beside it is, and then there is quiet. */
START_TEST(elephant_stays)
{
	struct scene s;
	uint32_t home, big = 0;

	scene_init(&s, 4, 1.0, 99);
	for (uint32_t i = 1; i < SAS; i++)
		if (s.mean[i] > s.mean[big])
			big = i;
	for (uint32_t i = 0; i < SAS; i++)
		s.mean[i] = i == big ? RATE * 0.6 : RATE * 0.4 / (SAS - 1);
	place_by_hash(&s);
	home = s.b.sas[big].cpu;
	for (int i = 0; i < 200; i++)
		interval(&s, 10);
	ck_assert_uint_eq(s.b.sas[big].cpu, home);
	ck_assert_uint_eq(s.b.cpus[home].sas, 1);
	ck_assert_uint_le(s.moves, SAS / 2);
	s.moves = 0;
	for (int i = 0; i < 500; i++)
		interval(&s, 10);
	ck_assert_uint_eq(s.moves, 0);
	balance_fini(&s.b);
}
END_TEST

/* A moved one is not moved again before its time, however the load swings. */
START_TEST(moved_ones_rest)
{
	struct balance_move moves[8];
	uint32_t last[64];
	struct scene s;

	scene_init(&s, 2, 1.0, 5);
	place_by_hash(&s);
	for (int i = 0; i < 64; i++)
		last[i] = 0;
	for (uint32_t t = 1; t < 400; t++) {
		size_t n;
		for (uint32_t i = 0; i < SAS; i++) /* every 7 intervals the other half is busy */
			balance_feed(&s.b, i, (i + t / 7) % 2 ? 1000 : 10);
		n = balance_decide(&s.b, moves, 8);
		EXPECT(n <= 8);
		for (size_t i = 0; i < n; i++) {
			if (moves[i].sa >= 64)
				continue;
			EXPECT(!last[moves[i].sa] || t - last[moves[i].sa] >= usual.hold);
			last[moves[i].sa] = t;
		}
	}
	balance_fini(&s.b);
}
END_TEST

START_TEST(little_traffic_is_left_alone)
{
	struct balance_move moves[8];
	struct balance b;

	ck_assert_int_eq(balance_init(&b, &usual, 2, 8), CY_OK);
	for (uint32_t i = 0; i < 8; i++)
		balance_add(&b, i, 0);
	for (int k = 0; k < 20; k++) {
		for (uint32_t i = 0; i < 8; i++)
			balance_feed(&b, i, 12); /* 96 in all */
		ck_assert_uint_eq(balance_decide(&b, moves, 8), 0);
	}
	balance_fini(&b);
}
END_TEST

/* Many at once spread by number, before anything is known of them; later ones go where there is room. */
START_TEST(new_ones_go_to_the_least_loaded)
{
	struct balance b;
	uint32_t cpu;

	ck_assert_int_eq(balance_init(&b, &usual, 4, 512), CY_OK);
	for (uint32_t i = 0; i < 400; i++)
		balance_add(&b, i, balance_place(&b));
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_uint_eq(b.cpus[i].sas, 100);
	for (uint32_t i = 0; i < 400; i++)
		balance_feed(&b, i, b.sas[i].cpu == 2 ? 10 : 20);
	cpu = balance_place(&b);
	ck_assert_uint_eq(cpu, 2);
	balance_add(&b, 400, cpu);
	ck_assert_uint_eq(
	    b.sas[400].load, 17 * BALANCE_ONE + BALANCE_ONE / 2); /* the mean, until it is known */
	/* a hundred more fill up CPU 2 and then all */
	for (uint32_t i = 401; i < 500; i++)
		balance_add(&b, i, balance_place(&b));
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_msg(b.cpus[i].load * 4 < b.total + b.total / 20, "CPU %u", i);
	balance_fini(&b);
}
END_TEST

START_TEST(successor_takes_over)
{
	struct balance b;

	ck_assert_int_eq(balance_init(&b, &usual, 2, 4), CY_OK);
	balance_add(&b, 0, 1);
	balance_feed(&b, 0, 500);
	balance_succeed(&b, 3, 0);
	ck_assert_uint_eq(b.sas[3].cpu, 1);
	ck_assert_uint_eq(b.sas[3].load, 500 * BALANCE_ONE);
	ck_assert_uint_eq(b.sas[0].load, 0);
	ck_assert_uint_eq(b.total, 500 * BALANCE_ONE);
	balance_remove(&b, 0);
	balance_remove(&b, 0); /* nothing more happens */
	ck_assert_uint_eq(b.n_sas, 1);
	ck_assert_uint_eq(b.cpus[1].sas, 1);
	balance_remove(&b, 3);
	ck_assert_uint_eq(b.total, 0);
	ck_assert_uint_eq(balance_spread(&b), 0);
	balance_fini(&b);
}
END_TEST

/* A counter that jumps, as nobody expects it to, breaks no sum. */
START_TEST(sums_hold)
{
	struct balance_move moves[8];
	uint64_t seed = 17;
	struct balance b;

	ck_assert_int_eq(balance_init(&b, &usual, 3, 64), CY_OK);
	for (int t = 0; t < 5000; t++) {
		uint64_t total = 0, load[3] = {0};
		uint32_t sas[3] = {0}, i = draw(&seed) % 64;

		if (b.sas[i].used)
			balance_remove(&b, i);
		else
			balance_add(&b, i, balance_place(&b));
		for (i = 0; i < 64; i++)
			balance_feed(&b, i, draw(&seed) % (1u << draw(&seed) % 31));
		(void)balance_decide(&b, moves, 8);
		for (i = 0; i < 64; i++)
			if (b.sas[i].used) {
				load[b.sas[i].cpu] += b.sas[i].load;
				sas[b.sas[i].cpu]++;
				total += b.sas[i].load;
			}
		EXPECT(total == b.total);
		for (i = 0; i < 3; i++) {
			EXPECT(load[i] == b.cpus[i].load);
			EXPECT(sas[i] == b.cpus[i].sas);
		}
	}
	balance_fini(&b);
	ck_assert_int_eq(balance_init(&b, &usual, 0, 64), CY_E_INVAL);
}
END_TEST

UNIT_TESTS(balance)
{
	tcase_add_loop_test(tc, evens_out_zipf, 0, 5);
	tcase_add_test(tc, stays_when_balanced);
	tcase_add_test(tc, hysteresis);
	tcase_add_test(tc, elephant_stays);
	tcase_add_test(tc, moved_ones_rest);
	tcase_add_test(tc, little_traffic_is_left_alone);
	tcase_add_test(tc, new_ones_go_to_the_least_loaded);
	tcase_add_test(tc, successor_takes_over);
	tcase_add_test(tc, sums_hold);
}
