/* SPDX-License-Identifier: Apache-2.0 */
/* First messages of main mode when there are too many, and fragments of messages that never become complete. */
#include "duel.h"
#include "unit.h"

#include "daemon/ikev1/ikev1.h"
#include "daemon/wire/codec.h"

#define PIECE 500

static struct duel *d;
static struct tuning *t; /* A's */

static void setup(void)
{
	static const struct duel_config ikev1 = {
	    .keys = "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n"};

	d = duel_new_with(&ikev1);
	t = &d->a.d->tune;
}

static void teardown(void)
{
	duel_free(d);
}

#define A(field) SA_READ(d->a.d->sas, field)

/* The first message of B under another cookie. */
static void arrive(uint16_t number)
{
	static uint8_t first[2048];
	static size_t n;

	if (!n || number == 1) {
		const struct duel_dgram *g;

		duel_start(d, &d->b, 0);
		g = duel_last(&d->b, 0);
		EXPECT(g->n <= sizeof(first));
		memcpy(first, g->p, g->n);
		n = g->n;
		duel_reset(d);
	}
	first[0] = (uint8_t)(number >> 8);
	first[1] = (uint8_t)number;
	d->pass = 0;
	duel_inject(&d->a, first, n);
}

static size_t kept_bytes(void)
{
	return d->a.d->sas->shards[0].firsts.bytes;
}

/* From a quarter of the room on no more is kept than the message. */
START_TEST(a_quarter_of_the_room)
{
	t->half_open_limit = 8;
	for (uint16_t i = 1; i <= 5; i++)
		arrive(i);
	ck_assert_uint_eq(A(half_open), 2);
	ck_assert_uint_eq(A(firsts_kept), 3);
	ck_assert_uint_eq(A(drop_half_open_limit), 0);
	ck_assert_uint_eq(d->a.n_sent, 5);
	ck_assert_uint_gt(kept_bytes(), 0);
	ck_assert_uint_eq(half_open_count(d->a.d->sas->half_open, &d->b.addr, false), 2);
	for (uint16_t i = 6; i <= 100; i++)
		arrive(i);
	ck_assert_uint_le(kept_bytes(), 8 * 1024);
	duel_advance(d, t->half_open_timeout_ns + NS_PER_S);
	ck_assert_uint_eq(A(half_open), 0);
	ck_assert_uint_eq(half_open_peers(d->a.d->sas->half_open), 0);
	ck_assert_uint_eq(kept_bytes(), 0);
}
END_TEST

/* An honest peer goes on while forged messages come, before and after its own; lost answers and all. */
START_TEST(who_goes_on_gets_in)
{
	t->half_open_limit = 400;
	for (uint16_t i = 1; i <= 300; i++)
		arrive(i);
	ck_assert_uint_eq(A(half_open), 100);
	duel_start(d, &d->b, 1); /* the answer is lost: it comes again */
	d->pass = 2;
	duel_advance(d, 5 * NS_PER_S);
	for (uint16_t i = 301; i <= 600; i++)
		arrive(i);
	ck_assert_uint_eq(A(half_open), 100);
	ck_assert_uint_eq(A(firsts_gone_on), 0);
	d->pass = 1; /* its third message comes, and again before the answer does */
	duel_advance(d, 5 * NS_PER_S);
	ck_assert_uint_eq(A(firsts_gone_on), 1);
	ck_assert_uint_eq(A(half_open), 101);
	d->pass = 100;
	duel_advance(d, 20 * NS_PER_S);
	ck_assert_uint_eq(A(up), 1);
	ck_assert_uint_eq(A(firsts_gone_on), 1);
	ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
}
END_TEST

/* The memory has an end, and who comes back later than it lasts is unknown. */
START_TEST(who_is_too_late)
{
	t->half_open_limit = 8;
	arrive(1);
	arrive(2);
	duel_start(d, &d->b, 2);
	for (uint16_t i = 3; i <= 100; i++)
		arrive(i);
	ck_assert_uint_le(kept_bytes(), 8 * 1024);
	d->pass = 1;
	duel_advance(d, 5 * NS_PER_S);
	ck_assert_uint_eq(A(firsts_gone_on), 0);
	ck_assert_uint_eq(A(drop_stray), 1);
}
END_TEST

/* Peers that go on have half of the room and no more; one that guesses, or sits elsewhere, has nothing of it. */
START_TEST(half_of_the_room)
{
	struct cy_addr there = d->b.addr;
	const struct duel_dgram *g;

	t->half_open_limit = 2;
	arrive(1);
	duel_start(d, &d->b, 2);
	ck_assert_uint_eq(A(firsts_kept), 1);
	g = duel_last(&d->b, 0);
	d->pass = 0;
	d->b.addr.ip[3] ^= 1;
	duel_inject(&d->a, g->p, g->n);
	d->b.addr = there;
	ck_assert_uint_eq(A(drop_stray), 1);
	duel_inject(&d->a, g->p, g->n);
	ck_assert_uint_eq(A(half_open), 1);
	ck_assert_uint_eq(A(firsts_gone_on), 0);
	ck_assert_uint_eq(A(drop_half_open_limit), 1);
}
END_TEST

START_TEST(a_peer_is_blocked)
{
	t->block_threshold = 2;
	for (uint16_t i = 1; i <= 3; i++)
		arrive(i);
	ck_assert_uint_eq(A(half_open), 2);
	ck_assert_uint_eq(A(drop_blocked), 1);
}
END_TEST

static void piece(uint8_t number)
{
	struct ike_sa *sa = duel_sa(&d->a);
	struct ike_header h = {.spi_i = sa->spi_i,
	    .spi_r = sa->spi_r,
	    .next = PAYLOAD_V1_FRAGMENT,
	    .major = 1,
	    .exchange = EXCHANGE_V1_MAIN};
	static const uint8_t data[PIECE];
	uint8_t out[PIECE + 64];
	struct writer w = writer_of(out, sizeof(out));

	wire_header_encode(&h, &w);
	write_u16(&w, 0);
	write_u16(&w, 4 + 4 + PIECE);
	write_u16(&w, 1);
	write_u8(&w, number);
	write_u8(&w, 0);
	write_bytes(&w, cy_slice(data, sizeof(data)));
	wire_length_set(&w, 0);
	d->pass = 0;
	duel_inject(&d->a, out, w.n);
}

START_TEST(fragments_never_completed)
{
	t->fragment_timeout_ns = 5 * NS_PER_S;
	duel_start(d, &d->b, 2);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	piece(1);
	piece(2);
	piece(2);
	ck_assert_uint_ge(A(fragment_bytes), 2 * PIECE);
	t->fragment_memory = 2 * (A(fragment_bytes) + PIECE) - 2;
	piece(3);
	ck_assert_uint_eq(A(drop_fragment_memory), 1);
	duel_advance(d, t->fragment_timeout_ns + NS_PER_S);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(A(drop_fragment_timeout), 1);
	ck_assert_uint_eq(A(fragment_bytes), 0);
	/* those of an IKE_SA that goes are gone with it */
	piece(1);
	ck_assert_uint_ge(A(fragment_bytes), PIECE);
	duel_reset(d);
	ck_assert_uint_eq(A(fragment_bytes), 0);
	ck_assert_uint_eq(A(drop_fragment_timeout), 1);
}
END_TEST

/* What waited while its first copy was answered and the IKE_SA established makes no other one. */
START_TEST(repeated_before_it_was_answered)
{
	const struct duel_dgram *first;

	duel_start(d, &d->b, 9);
	ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
	first = duel_last(&d->b, d->b.n_sent - 1);
	ck_assert_uint_eq(first->p[18], EXCHANGE_V1_MAIN);
	duel_inject(&d->a, first->p, first->n);
	duel_pump(d);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(A(half_open), 0);
	duel_advance(d, t->init_queue_ns + NS_PER_S);
	duel_inject(&d->a, first->p, first->n);
	duel_pump(d);
	ck_assert_uint_eq(duel_count(&d->a), 2);
}
END_TEST

UNIT_TESTS(v1_flood)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_quarter_of_the_room);
	tcase_add_test(tc, who_goes_on_gets_in);
	tcase_add_test(tc, who_is_too_late);
	tcase_add_test(tc, half_of_the_room);
	tcase_add_test(tc, a_peer_is_blocked);
	tcase_add_test(tc, repeated_before_it_was_answered);
	tcase_add_test(tc, fragments_never_completed);
}
