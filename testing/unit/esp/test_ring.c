/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "ring.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

START_TEST(bounded_and_in_order)
{
	struct ring r;
	uint8_t bytes[3000];

	ck_assert_int_eq(ring_init(&r, 5), CY_OK); /* 8 slots */
	for (int round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 8; i++) {
			/* every other one is longer than a slot */
			struct cy_dgram d = {.data = bytes, .len = i % 2 ? 3000 : 10, .tos = (uint8_t)i};

			memset(bytes, (int)i, sizeof(bytes));
			ck_assert_int_eq(ring_put(&r, i % 3 ? RING_ESP : RING_PLAIN, &d), CY_OK);
		}
		struct cy_dgram more = {.data = bytes, .len = 3000};

		ck_assert_int_eq(ring_put(&r, RING_ESP, &more), CY_E_LIMIT);
		for (uint32_t i = 0; i < 8; i++) {
			struct ring_slot *s = ring_peek(&r, 0);

			ck_assert_ptr_nonnull(s);
			ck_assert_uint_eq(s->dgram.tos, i);
			ck_assert_int_eq(s->kind, i % 3 ? RING_ESP : RING_PLAIN);
			ck_assert_uint_eq(s->dgram.len, i % 2 ? 3000 : 10);
			ck_assert_uint_eq(s->dgram.data[s->dgram.len - 1], i);
			/* the room around it is writable (sanitizers) */
			memset(s->dgram.data - ESP_HEADROOM, 0, ESP_HEADROOM);
			memset(s->dgram.data + s->dgram.len, 0, ESP_TAILROOM);
			ring_done(&r, 1);
		}
		ck_assert_ptr_null(ring_peek(&r, 0));
	}
	struct cy_dgram d = {.data = bytes, .len = 3000};

	ck_assert_int_eq(ring_put(&r, RING_ESP, &d), CY_OK);
	ring_fini(&r); /* with what is still in there */
}
END_TEST

START_TEST(long_ones_are_bounded_in_bytes)
{
	static uint8_t bytes[60000];
	struct cy_dgram d = {.data = bytes, .len = sizeof(bytes)};
	struct ring r;

	ck_assert_int_eq(ring_init(&r, 64), CY_OK);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 64 * RING_OWN / sizeof(bytes); i++)
			ck_assert_int_eq(ring_put(&r, RING_ESP, &d), CY_OK);
		ck_assert_int_eq(ring_put(&r, RING_ESP, &d), CY_E_LIMIT);
		/* short ones still have their room */
		d.len = RING_SLOT_LEN;
		ck_assert_int_eq(ring_put(&r, RING_ESP, &d), CY_OK);
		d.len = sizeof(bytes);
		ring_done(&r, 1);
		ck_assert_int_eq(ring_put(&r, RING_ESP, &d), CY_OK);
		ring_done(&r, 64 * RING_OWN / sizeof(bytes) + 1);
		ck_assert_ptr_null(ring_peek(&r, 0));
	}
	ring_fini(&r);
}
END_TEST

static long page_faults(void)
{
	struct rusage u;

	ck_assert_int_eq(getrusage(RUSAGE_THREAD, &u), 0);
	return u.ru_minflt;
}

#ifdef __SANITIZE_THREAD__
#	define PAGES_A_PAGE 5 /* ThreadSanitizer keeps four words on each one of ours */
#else
#	define PAGES_A_PAGE 1
#endif

/* Or the kernel takes its pages back and clears others, for every burst. */
START_TEST(memory_of_bursts_is_used_again)
{
	static uint8_t bytes[RING_BURST_MAX];
	struct cy_dgram d = {.data = bytes};
	long before = 0;
	struct ring r;

	ck_assert_int_eq(ring_init(&r, 1024), CY_OK);
	for (int round = 0; round < 20; round++) {
		if (round == 1)
			before = page_faults();
		/* the first round is with more than are kept */
		for (uint32_t i = 0; i < (round ? RING_SPARES : RING_SPARES + 4); i++) {
			d.len = i % 2 ? sizeof(bytes) : RING_BURST + 1;
			ck_assert_int_eq(ring_put(&r, RING_ESP, &d), CY_OK);
		}
		while (ring_peek(&r, 0)) {
			struct cy_dgram *got = &ring_peek(&r, 0)->dgram;

			memset(got->data - ESP_HEADROOM, 0, ESP_HEADROOM);
			memset(got->data + got->len, 0, ESP_TAILROOM);
			ring_done(&r, 1);
		}
	}
	/* the pages of each are touched once */
	ck_assert_int_le(page_faults() - before, RING_SPARES * 17 * PAGES_A_PAGE);
	ring_fini(&r);
}
END_TEST

enum { PRODUCERS = 3, EACH = 20000 };

struct producer {
	struct ring *r;
	uint8_t number;
	atomic_uint *running;
};

static void *produce(void *user)
{
	struct producer *p = user;
	uint8_t bytes[100];

	for (uint32_t i = 0; i < EACH; i++) {
		struct cy_dgram d = {.data = bytes, .len = sizeof(bytes), .ifindex = i, .tos = p->number};

		memset(bytes, (int)(i & 0xff), sizeof(bytes));
		while (ring_put(p->r, RING_ESP, &d) != CY_OK)
			sched_yield();
	}
	atomic_fetch_sub(p->running, 1);
	return NULL;
}

START_TEST(several_producers)
{
	struct ring r;
	struct producer p[PRODUCERS];
	pthread_t thread[PRODUCERS];
	uint64_t got[PRODUCERS] = {0};
	uint32_t next[PRODUCERS] = {0};
	atomic_uint running = PRODUCERS;

	ck_assert_int_eq(ring_init(&r, 64), CY_OK);
	for (int i = 0; i < PRODUCERS; i++) {
		p[i] = (struct producer){.r = &r, .number = (uint8_t)i, .running = &running};
		ck_assert_int_eq(pthread_create(&thread[i], NULL, produce, &p[i]), 0);
	}
	/* what a producer put before it ended is seen after that */
	for (bool more = true; more;) {
		struct ring_slot *s;

		more = atomic_load(&running) > 0;
		s = ring_peek(&r, 0);
		if (!s) {
			sched_yield();
			continue;
		}
		more = true;
		/* each producer's packets in its order, and whole */
		EXPECT(s->dgram.ifindex == next[s->dgram.tos]);
		next[s->dgram.tos] = s->dgram.ifindex + 1;
		for (size_t i = 0; i < s->dgram.len; i++)
			EXPECT(s->dgram.data[i] == (s->dgram.ifindex & 0xff));
		got[s->dgram.tos]++;
		ring_done(&r, 1);
	}
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < PRODUCERS; i++)
		ck_assert_uint_eq(got[i], EACH);
	ring_fini(&r);
}
END_TEST

UNIT_TESTS(ring)
{
	tcase_add_test(tc, bounded_and_in_order);
	tcase_add_test(tc, long_ones_are_bounded_in_bytes);
	tcase_add_test(tc, memory_of_bursts_is_used_again);
	tcase_add_test(tc, several_producers);
}
