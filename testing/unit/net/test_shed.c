/* SPDX-License-Identifier: Apache-2.0 */
/* How many first requests are received when more come than can be done: the rule, and that it is followed. */
#include "net_bed.h"
#include "unit.h"

#include <string.h>

#include "daemon/net/shed.h"
#include "libcore/base/addr.h"

/* A worker that can do so many in a window; a queue that holds a hundred windows of them, in which none gets older than thirty. */
struct model {
	uint32_t keep;
	uint64_t capacity, done, received;
	uint64_t age[32], queued;
};

/* So many offered in each of n windows. */
static void model_run(struct model *m, uint64_t offered, int n)
{
	m->done = m->received = 0;
	while (n-- > 0) {
		uint64_t in = offered * m->keep / SHED_KEEP_ALL, room = 100 * m->capacity - m->queued,
		         taken = 0;

		m->received += in;
		m->queued -= m->age[30]; /* too late */
		memmove(m->age + 1, m->age, 30 * sizeof(m->age[0]));
		m->age[0] = in < room ? in : room;
		m->queued += m->age[0];
		for (int i = 30; i >= 0; i--) {
			uint64_t now = m->age[i] < m->capacity - taken ? m->age[i] : m->capacity - taken;

			m->age[i] -= now;
			m->queued -= now;
			taken += now;
		}
		m->done += taken;
		m->keep = shed_next(m->keep, in, taken);
	}
}

START_TEST(little_more_than_can_be_done)
{
	static const uint64_t times[] = {2, 4, 16, 100};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct model m = {.keep = SHED_KEEP_ALL, .capacity = 1000};

		model_run(&m, 1000 * times[i], 50);
		ck_assert_uint_eq(m.done, 50 * 1000); /* never idle, from the first one on */
		model_run(&m, 1000 * times[i], 100);
		ck_assert_uint_eq(m.done, 100 * 1000);
		ck_assert_uint_ge(m.received, 100 * 1000);
		ck_assert_uint_le(m.received, 100 * 1300);
		/* when they have gone all are received again */
		model_run(&m, 500, 60);
		ck_assert_uint_eq(m.keep, SHED_KEEP_ALL);
	}
}
END_TEST

START_TEST(nobody_is_refused)
{
	struct model m = {.keep = SHED_KEEP_ALL, .capacity = 1000};

	model_run(&m, 1000, 50);
	ck_assert_uint_eq(m.received, 50 * 1000);
	ck_assert_uint_eq(shed_next(SHED_KEEP_MIN, 10, 0), SHED_KEEP_MIN);
	ck_assert_uint_gt(shed_next(SHED_KEEP_MIN, 0, 0), SHED_KEEP_MIN);
	ck_assert_uint_gt(shed_next(SHED_KEEP_MIN, 1, 1), SHED_KEEP_MIN);
}
END_TEST

static void inject(struct bed *b, uint8_t exchange, uint8_t next, int n)
{
	uint8_t buf[IKE_HEADER_LEN] = {0};
	struct cy_dgram d = {.data = buf, .len = IKE_HEADER_LEN};

	ck_assert_int_eq(addr_parse("192.0.2.1", &d.src), CY_OK);
	ck_assert_int_eq(addr_parse("192.0.2.2", &d.dst), CY_OK);
	buf[0] = 1;
	buf[16] = next;
	buf[17] = 0x20;
	buf[18] = exchange;
	buf[19] = IKE_FLAG_INITIATOR;
	buf[27] = IKE_HEADER_LEN;
	while (n-- > 0)
		net_inject(b->net, NULL, &d);
}

/* A tenth of a second with so many of each. */
static void window(struct bed *b, int firsts, int cookies, int others)
{
	inject(b, EXCHANGE_IKE_SA_INIT, PAYLOAD_SA, firsts);
	inject(b, EXCHANGE_IKE_SA_INIT, PAYLOAD_NOTIFY, cookies);
	inject(b, EXCHANGE_IKE_AUTH, PAYLOAD_SK, others);
	(void)worker_step(processor_worker(b->d.processor, 0), SIZE_MAX);
	b->now += SHED_WINDOW_NS + 2000000;
	(void)worker_step(processor_worker(b->d.processor, 0), SIZE_MAX);
}

/* By the queue, which has no room, and by whom they are delivered to. */
START_TEST(fewer_are_received)
{
	struct bed b;
	uint32_t keep;

	bed_init(&b, 1, 1 << 16);
	window(&b, 10, 10, 10);
	ck_assert_uint_eq(b.asked, 0);
	inject(&b, EXCHANGE_IKE_SA_INIT, PAYLOAD_SA, 1000);
	ck_assert_uint_eq(b.asked, 0); /* until a window is over */
	window(&b, 1000, 0, 0);
	ck_assert_uint_eq(b.asked, 1);
	keep = b.keep;
	ck_assert_uint_lt(keep, SHED_KEEP_ALL);
	window(&b, 1000, 0, 0);
	ck_assert_uint_lt(b.keep, keep);
	for (int i = 0; i < 60; i++)
		window(&b, 0, 0, 0);
	ck_assert_uint_eq(b.keep, SHED_KEEP_ALL);
	ck_assert_uint_eq(worker_next_due(processor_worker(b.d.processor, 0)), UINT64_MAX);
	b.late = true;
	window(&b, 50, 0, 0);
	window(&b, 50, 0, 0);
	window(&b, 50, 0, 0);
	ck_assert_uint_lt(b.keep, SHED_KEEP_ALL);
	bed_fini(&b);
}
END_TEST

/* A daemon that stops under a flood: what is left of its workers' timers runs when the sockets are gone. */
START_TEST(stopped_meanwhile)
{
	struct bed b;
	unsigned asked;

	bed_init(&b, 1, 1 << 16);
	ck_assert_int_eq(net_start(b.net), CY_OK);
	window(&b, 1000, 0, 0);
	window(&b, 1000, 0, 0);
	asked = b.asked;
	ck_assert_uint_gt(asked, 0);
	inject(&b, EXCHANGE_IKE_SA_INIT, PAYLOAD_SA, 1000);
	ck_assert_int_eq(net_start(b.net), CY_OK); /* a job that nobody came to */
	net_stop(b.net);
	b.now += SHED_WINDOW_NS + 2000000;
	(void)worker_step(processor_worker(b.d.processor, 0), SIZE_MAX);
	ck_assert_uint_eq(b.asked, asked);
	ck_assert_uint_eq(worker_next_due(processor_worker(b.d.processor, 0)), UINT64_MAX);
	bed_fini(&b);
}
END_TEST

/* Those with a cookie, and what is for an IKE_SA, are not what there are too many of. */
START_TEST(others_are_not_counted)
{
	struct bed b;

	bed_init(&b, 1, 1 << 16);
	for (int i = 0; i < 5; i++)
		window(&b, 0, 1000, 1000);
	ck_assert_uint_eq(b.asked, 0);
	bed_fini(&b);
}
END_TEST

UNIT_TESTS(shed)
{
	tcase_add_test(tc, little_more_than_can_be_done);
	tcase_add_test(tc, nobody_is_refused);
	tcase_add_test(tc, fewer_are_received);
	tcase_add_test(tc, stopped_meanwhile);
	tcase_add_test(tc, others_are_not_counted);
}
