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
static void arrive(uint8_t number)
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
	first[0] = number;
	d->pass = 0;
	duel_inject(&d->a, first, n);
}

START_TEST(half_of_the_room)
{
	t->half_open_limit = 4;
	for (uint8_t i = 1; i <= 3; i++)
		arrive(i);
	ck_assert_uint_eq(A(half_open), 2);
	ck_assert_uint_eq(A(drop_half_open_limit), 1);
	ck_assert_uint_eq(half_open_count(d->a.d->sas->half_open, &d->b.addr, false), 2);
	/* the oldest makes room once it has had its time */
	duel_advance(d, 3 * NS_PER_S);
	arrive(4);
	ck_assert_uint_eq(A(half_open), 2);
	ck_assert_uint_eq(A(half_open_evicted), 1);
	duel_advance(d, t->half_open_timeout_ns + NS_PER_S);
	ck_assert_uint_eq(A(half_open), 0);
	ck_assert_uint_eq(half_open_peers(d->a.d->sas->half_open), 0);
}
END_TEST

START_TEST(a_peer_is_blocked)
{
	t->block_threshold = 2;
	for (uint8_t i = 1; i <= 3; i++)
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

UNIT_TESTS(v1_flood)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, half_of_the_room);
	tcase_add_test(tc, a_peer_is_blocked);
	tcase_add_test(tc, fragments_never_completed);
}
