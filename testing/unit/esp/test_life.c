/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "rig.h"

static struct sa *add(struct rig *r, uint32_t spi, struct cy_lifetime life)
{
	struct rig_sa s;
	struct sa *sa;

	rig_sa_init(&s, CY_DIR_OUT, spi, CY_ENCR_AES_GCM_16, 20, 0, 0);
	s.in.life = life;
	sa = rig_sa_add(r, &s);
	EXPECT(lifetimes_add(r->k.lifetimes, sa) == CY_OK);
	return sa;
}

START_TEST(by_packets_and_bytes)
{
	struct rig r;
	struct sa *sa;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	sa = add(&r, 1, (struct cy_lifetime){.soft_packets = 3, .hard_packets = 5});
	for (unsigned i = 1; i <= 6; i++) {
		sa_count(&r.k, sa, 100, 7);
		ck_assert_uint_eq(r.n_soft, i >= 3);
		ck_assert_uint_eq(r.n_hard, i >= 5);
	}
	ck_assert(atomic_load(&sa->dead));
	ck_assert_int_eq(atomic_load(&sa->last_used), 7);
	sa = add(&r, 2, (struct cy_lifetime){.soft_bytes = 250, .hard_bytes = 1000});
	r.n_soft = r.n_hard = 0;
	for (unsigned i = 1; i <= 12; i++) {
		sa_count(&r.k, sa, 100, 7);
		ck_assert_uint_eq(r.n_soft, i >= 3);
		ck_assert_uint_eq(r.n_hard, i >= 10);
	}
	ck_assert_uint_eq(r.last_id.spi, 2);
	rig_fini(&r);
}
END_TEST

START_TEST(by_seconds)
{
	struct rig r;
	struct sa *sa;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	sa = add(&r, 1, (struct cy_lifetime){.soft_seconds = 100, .hard_seconds = 200});
	lifetimes_run(r.k.lifetimes);
	ck_assert_uint_eq(r.n_soft + r.n_hard, 0);
	r.fake.skip_ns += 101 * NS_PER_S;
	lifetimes_run(r.k.lifetimes);
	lifetimes_run(r.k.lifetimes);
	ck_assert(r.n_soft == 1 && r.n_hard == 0 && !atomic_load(&sa->dead));
	r.fake.skip_ns += 100 * NS_PER_S;
	lifetimes_run(r.k.lifetimes);
	lifetimes_run(r.k.lifetimes);
	ck_assert(r.n_soft == 1 && r.n_hard == 1 && atomic_load(&sa->dead));
	ck_assert_uint_eq(r.k.lifetimes->n, 0);
	/* both at once, after a long sleep: hard is what matters */
	add(&r, 2, (struct cy_lifetime){.soft_seconds = 100, .hard_seconds = 200});
	r.fake.skip_ns += 500 * NS_PER_S;
	lifetimes_run(r.k.lifetimes);
	ck_assert(r.n_hard == 2 && r.last_id.spi == 2 && r.n_soft == 1);
	/* only one of them */
	add(&r, 3, (struct cy_lifetime){.soft_seconds = 100});
	add(&r, 4, (struct cy_lifetime){.hard_seconds = 100});
	add(&r, 5, (struct cy_lifetime){0});
	ck_assert_uint_eq(r.k.lifetimes->n, 2);
	r.fake.skip_ns += 101 * NS_PER_S;
	lifetimes_run(r.k.lifetimes);
	ck_assert(r.n_hard == 3 && r.n_soft == 2 && r.k.lifetimes->n == 0);
	rig_fini(&r);
}
END_TEST

/* In the order of their deadlines, whatever was added or removed when. */
START_TEST(the_next_deadline_is_first)
{
	enum { N = 400 };
	static struct sa *sa[N];
	struct rig r;
	uint64_t x = 1, last = 0;
	size_t left = 0;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	for (uint32_t i = 0; i < N; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		sa[i] = add(&r, i + 1, (struct cy_lifetime){.hard_seconds = 1 + (x >> 40) % 5000});
	}
	for (uint32_t i = 0; i < N; i += 3) {
		lifetimes_del(r.k.lifetimes, sa[i]);
		lifetimes_del(r.k.lifetimes, sa[i]); /* twice is once */
	}
	while (r.k.lifetimes->n) {
		struct sa *first = r.k.lifetimes->heap[0];

		EXPECT(first->hard_at >= last);
		last = first->hard_at;
		lifetimes_del(r.k.lifetimes, first);
		left++;
	}
	ck_assert_uint_eq(left, N - (N + 2) / 3);
	/* more events than are told at once */
	for (uint32_t i = 0; i < N; i++)
		ck_assert_int_eq(lifetimes_add(r.k.lifetimes, sa[i]), CY_OK);
	r.fake.skip_ns += 6000 * NS_PER_S;
	lifetimes_run(r.k.lifetimes);
	ck_assert_uint_eq(r.n_hard, N);
	rig_fini(&r);
}
END_TEST

UNIT_TESTS(life)
{
	tcase_add_test(tc, by_packets_and_bytes);
	tcase_add_test(tc, by_seconds);
	tcase_add_test(tc, the_next_deadline_is_first);
}
