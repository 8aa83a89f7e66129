/* SPDX-License-Identifier: Apache-2.0 */
/* Quick crash detection (RFC 6290), as maker and as taker of tokens, in both roles. */
#include "duel.h"
#include "unit.h"

#include "daemon/ikev2/ikev2.h"
#include "daemon/wire/message.h"

static struct duel *d;

static void setup(void)
{
	d = duel_new();
}

static void teardown(void)
{
	duel_free(d);
	d = NULL;
}

static uint64_t counted(struct duel_side *s, size_t offset)
{
	return *(const uint64_t *)((const uint8_t *)&s->d->sas->c + offset);
}
#define COUNTED(s, field) counted(s, offsetof(struct sa_counters, field))

static void ask(struct duel_side *s)
{
	struct task *t = task_new(TASK_LIVENESS);

	EXPECT(t);
	d->pass = 8;
	task_queue(duel_sa(s), t);
	duel_pump(d);
}

/* As after a crash: nobody says goodbye. */
static void lose(struct duel_side *s)
{
	ike_sa_set_conn(duel_sa(s), NULL);
	ike_sa_destroy(duel_sa(s), NULL);
	EXPECT(duel_count(s) == 0);
}

START_TEST(the_responder_crashed)
{
	duel_start(d, &d->b, 4);
	EXPECT(duel_sa(&d->a) && duel_sa(&d->b) && duel_sa(&d->b)->crash_token);
	lose(&d->a);
	ask(&d->b);
	ck_assert_uint_eq(COUNTED(&d->a, crash_tokens_sent), 1);
	ck_assert_uint_eq(COUNTED(&d->b, crashes_detected), 1);
	ck_assert_uint_eq(duel_count(&d->b), 0);
}
END_TEST

START_TEST(the_initiator_crashed)
{
	duel_start(d, &d->b, 4);
	lose(&d->b);
	ask(&d->a);
	ck_assert_uint_eq(COUNTED(&d->b, crash_tokens_sent), 1);
	ck_assert_uint_eq(COUNTED(&d->a, crashes_detected), 1);
	ck_assert_uint_eq(duel_count(&d->a), 0);
}
END_TEST

/* With another secret the token proves nothing, and the peer stays patient. */
START_TEST(a_wrong_token)
{
	duel_start(d, &d->b, 4);
	lose(&d->a);
	d->a.d->sas->crash_secret[0] ^= 1;
	ask(&d->b);
	ck_assert_uint_eq(COUNTED(&d->a, crash_tokens_sent), 1);
	ck_assert_uint_eq(COUNTED(&d->b, crashes_detected), 0);
	ck_assert_uint_eq(duel_count(&d->b), 1);
}
END_TEST

/* RFC 6290, 9.2: nobody may get the token of an IKE_SA that lives. The request that seems to come from the other role finds none. */
START_TEST(no_token_of_a_living_sa)
{
	uint8_t right[V2_CRASH_TOKEN], request[IKE_HEADER_LEN] = {0};
	const struct ike_sa *sa;
	struct ike_header h;

	duel_start(d, &d->b, 4);
	sa = duel_sa(&d->a);
	EXPECT(sa && v2_crash_token(d->a.d->sas, sa->spi_i, sa->spi_r, false, right));
	for (int flip = 0; flip < 2; flip++) {
		struct writer w = writer_of(request, sizeof(request));
		const struct duel_dgram *last;
		uint64_t sent = d->a.n_sent;

		h = duel_header(duel_sa(&d->b), EXCHANGE_INFORMATIONAL, false, 77);
		write_u64(&w, h.spi_i);
		write_u64(&w, h.spi_r);
		write_u8(&w, 0);
		write_u8(&w, 0x20);
		write_u8(&w, h.exchange);
		write_u8(&w, flip ? h.flags ^ IKE_FLAG_INITIATOR : h.flags);
		write_u32(&w, h.msgid);
		write_u32(&w, IKE_HEADER_LEN);
		d->pass = 0;
		duel_inject(&d->a, request, sizeof(request));
		if (d->a.n_sent == sent)
			continue;
		last = duel_last(&d->a, 0);
		ck_assert_ptr_null(memmem(last->p, last->n, right, sizeof(right)));
	}
	ck_assert_uint_eq(duel_count(&d->a), 1);
}
END_TEST

/* Everybody asks at once; but who sends next to nothing gets next to nothing. */
START_TEST(many_ask_at_once)
{
	uint8_t request[64] = {0};
	uint64_t sent = d->a.n_sent;

	request[0] = request[15] = 1;
	memcpy(request + 16, (uint8_t[]){PAYLOAD_SK, 0x20, EXCHANGE_INFORMATIONAL, IKE_FLAG_INITIATOR}, 4);
	memcpy(request + IKE_HEADER_LEN, (uint8_t[]){0, 0, 0, sizeof(request) - IKE_HEADER_LEN}, 4);
	for (int i = 0; i < 3000; i++) {
		request[7] = (uint8_t)i;
		request[27] = sizeof(request);
		duel_inject(&d->a, request, sizeof(request));
	}
	ck_assert_uint_eq(d->a.n_sent - sent, 1000);
	ck_assert_uint_eq(COUNTED(&d->a, crash_tokens_sent), 1000);
	d->now += 2 * NS_PER_S;
	sent = d->a.n_sent;
	request[16] = 0;
	request[27] = IKE_HEADER_LEN;
	for (int i = 0; i < 3000; i++)
		duel_inject(&d->a, request, IKE_HEADER_LEN);
	ck_assert_uint_eq(d->a.n_sent - sent, 10);
}
END_TEST

START_TEST(switched_off)
{
	d->a.d->tune.crash_detection = false;
	duel_start(d, &d->b, 4);
	ck_assert_ptr_null(duel_sa(&d->b)->crash_token);
	ck_assert_ptr_null(duel_sa(&d->a)->crash_token);
	lose(&d->a);
	ask(&d->b);
	ck_assert_uint_eq(duel_count(&d->b), 1);
}
END_TEST

/* RFC 6290, 4.3: the successor has tokens of its own, of both ends. */
START_TEST(rekeyed)
{
	struct task *t;

	duel_start(d, &d->b, 4);
	t = task_new(TASK_IKE_REKEY);
	EXPECT(t);
	d->pass = 20;
	task_queue(duel_sa(&d->b), t);
	duel_pump(d);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_count(&d->b), 1);
	EXPECT(duel_sa(&d->a)->crash_token && duel_sa(&d->b)->crash_token);
	lose(&d->b);
	ask(&d->a);
	ck_assert_uint_eq(duel_count(&d->a), 0);
	ck_assert_uint_eq(COUNTED(&d->a, crashes_detected), 1);
}
END_TEST

UNIT_TESTS(crash)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_responder_crashed);
	tcase_add_test(tc, the_initiator_crashed);
	tcase_add_test(tc, a_wrong_token);
	tcase_add_test(tc, no_token_of_a_living_sa);
	tcase_add_test(tc, many_ask_at_once);
	tcase_add_test(tc, switched_off);
	tcase_add_test(tc, rekeyed);
}
