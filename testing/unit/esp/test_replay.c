/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "replay.h"

#include <stdlib.h>

/* What a window is, without any cleverness: the set of all numbers seen, and the highest. */
struct model {
	uint64_t seen[4096], top;
	size_t n;
	uint32_t window;
};

static bool model_ok(const struct model *m, uint64_t seq)
{
	if (seq == 0 || seq + m->window <= m->top)
		return false;
	for (size_t i = 0; i < m->n; i++)
		if (m->seen[i] == seq)
			return false;
	return true;
}

static void model_advance(struct model *m, uint64_t seq)
{
	m->seen[m->n++] = seq;
	if (seq > m->top)
		m->top = seq;
}

static uint64_t rnd_state;

static uint64_t rnd(void)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return rnd_state >> 33;
}

static const uint32_t windows[] = {1, 2, 31, 32, 63, 64, 65, 127, 128, 129, 1000, 4095, 4096};

START_TEST(agrees_with_the_model)
{
	uint32_t w = windows[_i];

	for (int esn = 0; esn < 2; esn++)
		for (int round = 0; round < 4; round++) {
			struct replay r;
			struct model m = {.window = w};
			/* with ESN across the border of two subspaces */
			uint64_t start = esn ? 0x2fffffff0u + rnd() % 32 : 1;

			rnd_state = (uint64_t)w * 31 + (uint64_t)round;
			ck_assert_int_eq(replay_init(&r, w, esn), CY_OK);
			if (esn)
				r.top = m.top = start;
			for (int i = 0; i < 4000; i++) {
				uint64_t near = m.top + 3 > w * 2 ? m.top + 3 - w * 2 : 0;
				uint64_t seq = rnd() % 50 == 0 ? m.top + rnd() % (w * 3 + 100)
				                               : near + rnd() % (w * 2 + 6);
				bool ok = model_ok(&m, seq);

				/* before the start nothing was noted, so both know of nothing there */
				if (seq < start)
					continue;
				EXPECT(replay_ok(&r, seq) == ok);
				if (!ok || rnd() % 3 == 0)
					continue;
				EXPECT(replay_advance(&r, seq) == (seq > m.top));
				model_advance(&m, seq);
				EXPECT(r.top == m.top);
				EXPECT(!replay_ok(&r, seq));
			}
			replay_fini(&r);
		}
}
END_TEST

/* The pseudo-code of RFC 4303, A2.3, word for word. */
static uint32_t rfc_seqh(uint32_t th, uint32_t tl, uint32_t w, uint32_t seql)
{
	if (tl >= w - 1)
		return seql >= tl - w + 1 ? th : th + 1;
	return seql >= tl - w + 1 ? th - 1 : th;
}

START_TEST(infers_as_the_rfc_says)
{
	static const uint32_t lows[] = {0, 1, 2, 62, 63, 64, 65, 100, 4094, 4095, 4096, 0x7fffffff,
	    0x80000000, 0xfffff000, 0xffffffc0, 0xffffffc1, 0xfffffffe, 0xffffffff};
	static const uint32_t some_windows[] = {1, 32, 64, 1024, 4096};
	size_t n = sizeof(lows) / sizeof(lows[0]);

	for (size_t w = 0; w < 5; w++)
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++)
				for (uint32_t th = 1; th < 3; th++) {
					struct replay r;
					uint64_t got;

					ck_assert_int_eq(replay_init(&r, some_windows[w], true), CY_OK);
					r.top = (uint64_t)th << 32 | lows[i];
					got = replay_infer(&r, lows[j]);
					EXPECT((uint32_t)got == lows[j]);
					EXPECT(got >> 32 == rfc_seqh(th, lows[i], some_windows[w], lows[j]));
					replay_fini(&r);
				}
}
END_TEST

START_TEST(begins_in_the_first_subspace)
{
	struct replay r;

	ck_assert_int_eq(replay_init(&r, 64, true), CY_OK);
	ck_assert_uint_eq(replay_infer(&r, 1), 1);
	/* there is nothing below the first: it is taken as a gap */
	ck_assert_uint_eq(replay_infer(&r, 0xfffffff0), 0xfffffff0);
	ck_assert(!replay_ok(&r, 0));
	replay_fini(&r);
	ck_assert_int_eq(replay_init(&r, 64, false), CY_OK);
	r.top = 0xffffffff;
	ck_assert_uint_eq(replay_infer(&r, 3), 3);
	ck_assert(!replay_ok(&r, 3));
	replay_fini(&r);
}
END_TEST

START_TEST(switched_off)
{
	struct replay r;

	ck_assert_int_eq(replay_init(&r, 0, false), CY_OK);
	ck_assert(replay_advance(&r, 7));
	ck_assert(replay_ok(&r, 7));
	ck_assert(!replay_advance(&r, 7));
	ck_assert(replay_ok(&r, 0));
	replay_fini(&r);
	/* with ESN the window goes on telling the high half */
	ck_assert_int_eq(replay_init(&r, 0, true), CY_OK);
	ck_assert(replay_advance(&r, 0xfffffffe));
	ck_assert_uint_eq(replay_infer(&r, 5), 0x100000005);
	ck_assert(replay_advance(&r, 0x100000005));
	ck_assert_uint_eq(replay_infer(&r, 0xffffffff), 0xffffffff);
	ck_assert(!replay_advance(&r, 1));
	ck_assert(replay_ok(&r, 0x100000005));
	replay_fini(&r);
	ck_assert_int_eq(replay_init(&r, REPLAY_MAX_WINDOW + 1, false), CY_E_LIMIT);
}
END_TEST

START_TEST(a_jump_clears_what_was_seen)
{
	struct replay r;

	ck_assert_int_eq(replay_init(&r, 128, false), CY_OK);
	for (uint64_t i = 1; i <= 300; i++)
		ck_assert(replay_advance(&r, i));
	/* to where the ring's words are the same ones */
	ck_assert(replay_advance(&r, 300 + 64 * 4 * 1000));
	for (uint64_t i = r.top - 127; i < r.top; i++)
		EXPECT(replay_ok(&r, i));
	EXPECT(!replay_ok(&r, r.top - 128));
	replay_fini(&r);
}
END_TEST

UNIT_TESTS(replay)
{
	tcase_add_loop_test(tc, agrees_with_the_model, 0, (int)(sizeof(windows) / sizeof(windows[0])));
	tcase_add_test(tc, infers_as_the_rfc_says);
	tcase_add_test(tc, begins_in_the_first_subspace);
	tcase_add_test(tc, switched_off);
	tcase_add_test(tc, a_jump_clears_what_was_seen);
}
