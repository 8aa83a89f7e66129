/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <stdlib.h>

#include "libcore/base/env.h"
#include "libcore/base/err.h"
#include "libcore/run/timer.h"

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static uint64_t below(uint64_t *s, uint64_t n)
{
	return next_random(s) % n;
}

struct model_timer {
	struct timer t;
	uint64_t due; /* 0: not set */
	struct model *m;
};

#define TIMERS 300
struct model {
	struct wheel w;
	uint64_t now, seed;
	uint64_t set_at[TIMERS];
	struct model_timer timers[TIMERS];
	size_t fired;
	bool act; /* callbacks set and cancel others */
};

static uint64_t some_delay(struct model *m)
{
	/* every level of the wheel, and beyond the last one */
	unsigned int bits = (unsigned int)below(&m->seed, 60);

	return next_random(&m->seed) & ((1ull << bits) - 1);
}

static void set(struct model *m, size_t i, uint64_t due)
{
	wheel_set(&m->w, &m->timers[i].t, due);
	m->timers[i].due = due ? due : 1;
	m->set_at[i] = m->now;
}

static void cancel(struct model *m, size_t i)
{
	wheel_cancel(&m->w, &m->timers[i].t);
	m->timers[i].due = 0;
}

static void fired(struct timer *t)
{
	struct model_timer *mt = container_of(t, struct model_timer, t);
	struct model *m = mt->m;

	EXPECT(mt->due);
	EXPECT(mt->due <= m->now);
	EXPECT(!timer_is_set(t));
	mt->due = 0;
	m->fired++;
	if (!m->act)
		return;
	switch (below(&m->seed, 4)) {
	case 0:
		cancel(m, below(&m->seed, TIMERS));
		break;
	case 1:
		set(m, below(&m->seed, TIMERS), m->now + some_delay(m));
		break;
	case 2:
		set(m, (size_t)(mt - m->timers), m->now);
		break;
	default:
		break;
	}
}

/* Whatever was due a tick ago, and was not set in this very call, has fired; the count is right. */
static void check(struct model *m)
{
	size_t n = 0;
	uint64_t tick = m->now / NS_PER_MS * NS_PER_MS, first = UINT64_MAX;

	for (size_t i = 0; i < TIMERS; i++) {
		struct model_timer *mt = &m->timers[i];

		EXPECT(timer_is_set(&mt->t) == (mt->due != 0));
		if (!mt->due)
			continue;
		n++;
		if (m->set_at[i] < m->now)
			EXPECT(mt->due > tick || m->set_at[i] >= tick);
		if (mt->due < first)
			first = mt->due;
	}
	EXPECT(n == m->w.n);
	if (n == 0) {
		EXPECT(wheel_next(&m->w) == UINT64_MAX);
	} else {
		/* never later than a tick after the first one is due */
		uint64_t latest = first > m->now ? first : m->now;

		EXPECT(wheel_next(&m->w) <= latest / NS_PER_MS * NS_PER_MS + NS_PER_MS);
	}
}

static void run_model(uint64_t seed, bool act)
{
	struct model *m = calloc(1, sizeof(*m));

	m->seed = seed * 0x9e3779b97f4a7c15ull + 1;
	m->now = some_delay(m);
	m->act = act;
	wheel_init(&m->w, m->now);
	for (size_t i = 0; i < TIMERS; i++) {
		m->timers[i].m = m;
		m->timers[i].t.fn = fired;
	}
	for (int step = 0; step < 3000; step++) {
		size_t before = m->fired, ran;

		switch (below(&m->seed, 6)) {
		case 0:
		case 1:
			set(m, below(&m->seed, TIMERS), m->now + some_delay(m));
			break;
		case 2:
			/* also into the past */
			set(m, below(&m->seed, TIMERS), m->now - below(&m->seed, m->now / 2 + 1));
			break;
		case 3:
			cancel(m, below(&m->seed, TIMERS));
			break;
		case 4:
			if (wheel_next(&m->w) != UINT64_MAX && wheel_next(&m->w) > m->now)
				m->now = wheel_next(&m->w);
			break;
		default:
			m->now += some_delay(m) >> below(&m->seed, 30);
			break;
		}
		ran = wheel_run(&m->w, m->now);
		EXPECT(ran == m->fired - before);
		check(m);
	}
	ck_assert_uint_gt(m->fired, 100);
	for (size_t i = 0; i < TIMERS; i++)
		cancel(m, i);
	EXPECT(m->w.n == 0);
	for (int l = 0; l < WHEEL_LEVELS; l++)
		EXPECT(m->w.occupied[l] == 0);
	free(m);
}

START_TEST(random_against_a_model)
{
	run_model((uint64_t)_i, false);
}
END_TEST

START_TEST(callbacks_that_set_and_cancel)
{
	run_model((uint64_t)_i + 1000, true);
}
END_TEST

struct logged {
	struct timer t;
	uint64_t *now, fired_at;
};

static void log_time(struct timer *t)
{
	struct logged *l = container_of(t, struct logged, t);

	l->fired_at = *l->now;
}

/* Driven by wheel_next alone, each timer fires in the tick after its due time. */
START_TEST(driven_by_next)
{
	uint64_t now = 12345678, seed = 99;
	static struct logged l[200];
	uint64_t due[200];
	struct wheel w;
	int rounds = 0;

	wheel_init(&w, now);
	for (size_t i = 0; i < ARRAY_LEN(l); i++) {
		l[i] = (struct logged){.t.fn = log_time, .now = &now};
		due[i] = now + (next_random(&seed) & ((1ull << (i % 50)) - 1));
		wheel_set(&w, &l[i].t, due[i]);
	}
	while (wheel_next(&w) != UINT64_MAX) {
		ck_assert_uint_ge(wheel_next(&w), now);
		now = wheel_next(&w);
		(void)wheel_run(&w, now);
		ck_assert_int_lt(++rounds, 2000);
	}
	for (size_t i = 0; i < ARRAY_LEN(l); i++) {
		ck_assert_uint_ge(l[i].fired_at, due[i]);
		ck_assert_uint_le(l[i].fired_at - due[i], NS_PER_MS);
	}
}
END_TEST

START_TEST(order_of_ticks)
{
	uint64_t now = 0;
	struct logged a = {.t.fn = log_time, .now = &now}, b = a;
	struct wheel w;

	wheel_init(&w, 0);
	wheel_set(&w, &a.t, 5 * NS_PER_MS);
	wheel_set(&w, &b.t, 70 * NS_PER_MS);
	now = 5 * NS_PER_MS - 1;
	ck_assert_uint_eq(wheel_run(&w, now), 0);
	now++;
	ck_assert_uint_eq(wheel_run(&w, now), 1);
	ck_assert_uint_eq(a.fired_at, now);
	/* moving a set timer */
	wheel_set(&w, &b.t, 6 * NS_PER_MS);
	ck_assert_uint_eq(w.n, 1);
	now = 6 * NS_PER_MS;
	ck_assert_uint_eq(wheel_run(&w, now), 1);
	wheel_cancel(&w, &b.t);
	ck_assert_uint_eq(w.n, 0);
}
END_TEST

UNIT_TESTS(timer)
{
	tcase_add_loop_test(tc, random_against_a_model, 0, 30);
	tcase_add_loop_test(tc, callbacks_that_set_and_cancel, 0, 30);
	tcase_add_test(tc, driven_by_next);
	tcase_add_test(tc, order_of_ticks);
}
