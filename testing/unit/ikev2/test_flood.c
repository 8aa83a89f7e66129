/* SPDX-License-Identifier: Apache-2.0 */
/* First requests when there are too many: cookies (RFC 7296, 2.6), puzzles (RFC 8019), limits, and fragments that never complete. */
#include "duel.h"
#include "quick_ke.h"
#include "unit.h"

#include "daemon/ikev2/ikev2.h"
#include "daemon/net/net.h"
#include "daemon/wire/message.h"

static struct duel *d;
static struct tuning *t; /* A's */

static void setup(void)
{
	d = duel_new();
	t = &d->a.d->tune;
	t->cookie_threshold = t->cookie_threshold_total = 1000;
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
#define A(field) counted(&d->a, offsetof(struct sa_counters, field))
#define B(field) counted(&d->b, offsetof(struct sa_counters, field))

/* The first request of B, which did not arrive: a flood is made of it. */
static uint8_t first[2048];
static size_t n_first;

static void take_first(void)
{
	const struct duel_dgram *g;

	duel_start(d, &d->b, 0);
	g = duel_last(&d->b, 0);
	EXPECT(g->n <= sizeof(first));
	memcpy(first, g->p, g->n);
	n_first = g->n;
	duel_reset(d);
}

static void arrive(uint8_t number, uint32_t from, uint16_t port)
{
	struct cy_dgram g = {.src = d->b.addr, .dst = d->a.addr, .data = first, .len = (uint32_t)n_first};

	first[0] = number;
	memcpy(g.src.ip, &from, from ? 4 : 0);
	g.src.port = port;
	g.dst.port = 500;
	net_inject(d->a.d->net, NULL, &g);
	d->pass = 0;
	duel_pump(d);
}

START_TEST(a_cookie_at_once)
{
	t->cookie_threshold_total = 0;
	duel_start(d, &d->b, 6);
	ck_assert_uint_eq(A(cookies_sent), 1);
	ck_assert_uint_eq(A(cookies_ok), 1);
	ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
}
END_TEST

START_TEST(cookies_by_address)
{
	take_first();
	t->cookie_threshold = 3;
	for (uint8_t i = 1; i <= 5; i++)
		arrive(i, 0, 500);
	ck_assert_uint_eq(A(half_open), 3);
	ck_assert_uint_eq(A(cookies_sent), 2);
	/* another address is none the worse for it; there is no connection for it, which it learns at once */
	arrive(6, 0x01020304, 500);
	ck_assert_uint_eq(A(cookies_sent), 2);
	ck_assert_uint_eq(A(failed), 1);
	/* who returns a cookie gets in */
	duel_start(d, &d->b, 6);
	ck_assert_uint_eq(A(cookies_ok), 1);
	ck_assert_uint_eq(A(established), 1);
	/* and when they are gone nothing is asked any more */
	duel_advance(d, t->half_open_timeout_ns + NS_PER_S);
	ck_assert_uint_eq(A(half_open), 0);
	arrive(7, 0, 500);
	ck_assert_uint_eq(A(half_open), 1);
}
END_TEST

/* Whoever proved its address is counted by itself: two ports of one address do not share a limit. */
START_TEST(proven_peers_are_counted_apart)
{
	struct half_open_table *h = d->a.d->sas->half_open;
	struct half_open_peer *e[3];
	struct cy_addr one = d->b.addr, two = d->b.addr;

	one.port = 1000;
	two.port = 2000;
	e[0] = half_open_add(h, &one, false);
	e[1] = half_open_add(h, &two, false);
	e[2] = half_open_add(h, &one, true);
	ck_assert_uint_eq(half_open_count(h, &one, false), 2);
	ck_assert_uint_eq(half_open_count(h, &one, true), 1);
	ck_assert_uint_eq(half_open_count(h, &two, true), 0);
	ck_assert_uint_eq(half_open_peers(h), 2);
	for (int i = 0; i < 3; i++)
		half_open_del(h, e[i]);
	ck_assert_uint_eq(half_open_peers(h), 0);
}
END_TEST

START_TEST(a_peer_is_blocked)
{
	struct half_open_table *h = d->a.d->sas->half_open;
	struct cy_addr peer = d->b.addr;
	struct half_open_peer *e;

	peer.port = 500;
	t->cookie_threshold_total = 0;
	t->block_threshold = 1;
	e = half_open_add(h, &peer, true);
	duel_start(d, &d->b, 6);
	ck_assert_uint_eq(A(cookies_ok), 1);
	ck_assert_uint_eq(A(drop_blocked), 1);
	ck_assert_uint_eq(A(established), 0);
	half_open_del(h, e);
}
END_TEST

START_TEST(a_replayed_cookie)
{
	uint8_t *with;
	size_t n;

	t->cookie_threshold_total = 0;
	duel_start(d, &d->b, 3); /* the request with the cookie is the last that arrives */
	ck_assert_uint_eq(A(cookies_ok), 1);
	/* from elsewhere it is worth nothing, and a repetition is the same IKE_SA */
	EXPECT(d->b.n_sent >= 2);
	with = duel_last(&d->b, 0)->p;
	n = duel_last(&d->b, 0)->n;
	memcpy(first, with, n);
	n_first = n;
	arrive(first[0], 0x01020304, 500);
	arrive(first[0], 0, 501);
	ck_assert_uint_eq(A(cookies_bad), 1);
	ck_assert_uint_eq(A(half_open), 1);
}
END_TEST

static void half_open_one(void)
{
	take_first();
	arrive(1, 0, 500);
	EXPECT(A(half_open) == 1);
}

START_TEST(a_puzzle)
{
	half_open_one();
	t->puzzle_threshold = 1;
	t->puzzle_bits = 6;
	duel_start(d, &d->b, 6);
	ck_assert_uint_eq(A(puzzles_sent), 1);
	ck_assert_uint_eq(B(puzzles_solved), 1);
	ck_assert_uint_eq(A(puzzles_ok), 1);
	ck_assert_uint_eq(A(puzzles_bad), 0);
	ck_assert_uint_eq(A(established), 1);
}
END_TEST

/* Who does not solve it gets the next one, and one in many is let through (RFC 8019, 7.1.4). */
START_TEST(a_puzzle_that_is_too_hard)
{
	half_open_one();
	t->puzzle_threshold = 1;
	t->puzzle_bits = 20;
	d->b.d->tune.puzzle_bits_max = 19;
	duel_start(d, &d->b, 6);
	ck_assert_uint_eq(B(puzzles_solved), 0);
	ck_assert_uint_eq(A(puzzles_ok), 0);
	ck_assert_uint_ge(A(puzzles_sent), 1);
	ck_assert_uint_eq(A(cookies_ok), A(puzzles_sent) + A(puzzles_let_through) - 1);
}
END_TEST

START_TEST(solutions)
{
	const struct crypto *c = d->a.d->crypto;
	struct v2_puzzle_work w = {
	    .c = c, .puzzle = {8, CY_PRF_HMAC_SHA2_256}, .cookie = "cookie", .n_cookie = 6};
	struct cy_slice cookie = cy_slice(w.cookie, w.n_cookie),
	                all = cy_slice(w.solution, sizeof(w.solution));

	ck_assert_int_eq(v2_puzzle_solve(&w), CY_OK);
	ck_assert(v2_puzzle_solved(c, w.puzzle, cookie, all));
	ck_assert(!v2_puzzle_solved(c, w.puzzle, cy_slice(w.cookie, 5), all));
	ck_assert(!v2_puzzle_solved(c, (struct v2_puzzle){30, CY_PRF_HMAC_SHA2_256}, cookie, all));
	ck_assert(!v2_puzzle_solved(c, w.puzzle, cookie, cy_slice(w.solution, 31)));
	ck_assert(!v2_puzzle_solved(c, w.puzzle, cookie, cy_slice(NULL, 0)));
	/* four different ones */
	memcpy(w.solution + 8, w.solution, 8);
	ck_assert(!v2_puzzle_solved(c, w.puzzle, cookie, all));
}
END_TEST

START_TEST(the_oldest_makes_room)
{
	take_first();
	t->half_open_limit = 2;
	arrive(1, 0, 500);
	arrive(2, 0, 500);
	arrive(3, 0, 500); /* the others are young: they may be honest */
	ck_assert_uint_eq(A(drop_half_open_limit), 1);
	duel_advance(d, 3 * NS_PER_S);
	arrive(4, 0, 500);
	ck_assert_uint_eq(A(half_open_evicted), 1);
	ck_assert_uint_eq(A(half_open), 2);
}
END_TEST

START_TEST(shed_by_age)
{
	struct cy_dgram g = {.src = d->b.addr, .dst = d->a.addr, .data = first};

	take_first();
	g.len = (uint32_t)n_first;
	g.src.port = g.dst.port = 500;
	net_inject(d->a.d->net, NULL, &g);
	d->now += t->init_queue_ns + NS_PER_MS;
	duel_pump(d);
	ck_assert_uint_eq(A(drop_late), 1);
	ck_assert_uint_eq(A(half_open), 0);
}
END_TEST

static void (*pool_goes_on)(void *user);
static void *pool_user;

static void later(struct env *e, enum env_slow what, void (*fn)(void *user), void *user)
{
	(void)e;
	(void)what;
	pool_goes_on = fn;
	pool_user = user;
}

static void nothing(struct work *w)
{
	(void)w;
}

static void nothing_done(struct worker *worker, struct work *w, enum cy_err err)
{
	(void)worker;
	(void)w;
	(void)err;
}

/* What the pool could not do in time is not begun, and then the queue of the pool is no longer than that. */
START_TEST(the_pool_is_behind)
{
	struct work one = {.run = nothing,
	    .done = nothing_done,
	    .worker = d->a.d->sas->shards[0].w,
	    .prio = PRIO_HIGH,
	    .class = POOL_CPU};

	take_first();
	d->a.env.defer = later;
	pool_submit(d->a.d->pool, &one);
	duel_advance(d, t->init_queue_ns);
	quick_ke_slow(d->a.ke, true);
	arrive(1, 0, 500); /* it waits behind the other one */
	ck_assert_uint_eq(A(half_open), 1);
	duel_advance(d, NS_PER_MS);
	arrive(2, 0, 500);
	ck_assert_uint_eq(A(half_open), 1);
	ck_assert_uint_eq(A(drop_pool), 1);
	quick_ke_slow(d->a.ke, false);
	arrive(3, 0, 500); /* it hardly needs the pool */
	ck_assert_uint_eq(A(half_open), 2);
	duel_advance(d, t->init_queue_ns);
	arrive(4, 0, 500);
	ck_assert_uint_eq(A(half_open), 2);
	ck_assert_uint_eq(A(drop_pool), 2);
	pool_goes_on(pool_user);
	pool_goes_on(pool_user);
	duel_pump(d);
	quick_ke_slow(d->a.ke, true);
	arrive(5, 0, 500);
	ck_assert_uint_eq(A(half_open), 3);
	ck_assert_uint_eq(A(drop_pool), 2);
	pool_goes_on(pool_user);
	d->a.env.defer = NULL;
	duel_pump(d);
}
END_TEST

static void repeat_first(const struct duel_dgram *g)
{
	duel_inject(&d->a, g->p, g->n);
	d->pass = 0;
	duel_pump(d);
}

/* What waited while its first copy was answered and the IKE_SA established makes no other one. */
START_TEST(repeated_before_it_was_answered)
{
	duel_start(d, &d->b, 4);
	ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
	repeat_first(duel_last(&d->b, 1));
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(A(drop_replay), 1);
	ck_assert_uint_eq(A(half_open), 0);
	/* none waits so long: this one begins anew */
	duel_advance(d, t->init_queue_ns + NS_PER_S);
	repeat_first(duel_last(&d->b, 1));
	ck_assert_uint_eq(duel_count(&d->a), 2);
	ck_assert_uint_eq(A(half_open), 1);
}
END_TEST

START_TEST(the_queue_is_bounded)
{
	struct cy_dgram g = {.src = d->b.addr, .dst = d->a.addr, .data = first};
	struct net_counters c;

	take_first();
	t->receive_queue = 4096;
	g.len = (uint32_t)n_first;
	g.src.port = g.dst.port = 500;
	for (int i = 0; i < 100; i++)
		net_inject(d->a.d->net, NULL, &g);
	net_read_counters(d->a.d->net, &c);
	ck_assert_uint_le(c.queued_bytes, 2048);
	ck_assert_uint_gt(c.queued_bytes, 0);
	ck_assert_uint_gt(c.drop_queue_new, 90);
	d->pass = 0;
	duel_pump(d);
	net_read_counters(d->a.d->net, &c);
	ck_assert_uint_eq(c.queued_bytes, 0);
}
END_TEST

static uint64_t queued(int flag, uint8_t next)
{
	struct cy_dgram g = {.src = d->b.addr, .dst = d->a.addr, .data = first, .len = (uint32_t)n_first};
	struct net_counters c;

	g.src.port = g.dst.port = 500;
	first[16] = next;
	first[19] = (uint8_t)flag;
	for (int i = 0; i < 100; i++)
		net_inject(d->a.d->net, NULL, &g);
	net_read_counters(d->a.d->net, &c);
	return c.queued_bytes;
}

/* Each leaves room for those that are worth more, however many come. */
START_TEST(the_queue_is_divided)
{
	uint64_t new, with_cookie, others;

	take_first();
	t->receive_queue = 16384;
	new = queued(IKE_FLAG_INITIATOR, PAYLOAD_SA);
	with_cookie = queued(IKE_FLAG_INITIATOR, PAYLOAD_NOTIFY);
	others = queued(IKE_FLAG_INITIATOR | IKE_FLAG_RESPONSE, PAYLOAD_SA);
	ck_assert_uint_gt(new, 4096);
	ck_assert_uint_le(new, 8192);
	ck_assert_uint_gt(with_cookie, 8192);
	ck_assert_uint_le(with_cookie, 12288);
	ck_assert_uint_gt(others, 12288);
	ck_assert_uint_le(others, 16384);
	d->pass = 0;
	duel_pump(d);
}
END_TEST

static void fragment(uint16_t no, uint32_t msgid)
{
	static const uint8_t plain[600];
	struct ike_sa *by = duel_sa(&d->b);
	struct ike_header h = duel_header(by, EXCHANGE_INFORMATIONAL, false, msgid);
	uint8_t out[2048];
	size_t n =
	    duel_seal(d, by, &h, PAYLOAD_VENDOR, cy_slice(plain, sizeof(plain)), no, 5, out, sizeof(out));

	duel_inject(&d->a, out, n);
}

START_TEST(fragments_never_completed)
{
	uint32_t msgid;

	duel_start(d, &d->b, 4);
	msgid = duel_sa(&d->a)->next_recv;
	fragment(2, msgid);
	fragment(3, msgid);
	ck_assert_uint_gt(A(fragment_bytes), 1200);
	t->fragment_memory = A(fragment_bytes) + 10;
	fragment(4, msgid);
	ck_assert_uint_eq(A(drop_fragment_memory), 1);
	duel_advance(d, t->fragment_timeout_ns + NS_PER_S);
	ck_assert_uint_eq(A(fragment_bytes), 0);
	ck_assert_uint_eq(A(drop_fragment_timeout), 1);
	/* those of an IKE_SA that goes are gone with it */
	fragment(2, msgid);
	ck_assert_uint_gt(A(fragment_bytes), 600);
	duel_reset(d);
	ck_assert_uint_eq(A(fragment_bytes), 0);
}
END_TEST

UNIT_TESTS(flood)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_cookie_at_once);
	tcase_add_test(tc, cookies_by_address);
	tcase_add_test(tc, proven_peers_are_counted_apart);
	tcase_add_test(tc, a_peer_is_blocked);
	tcase_add_test(tc, a_replayed_cookie);
	tcase_add_test(tc, a_puzzle);
	tcase_add_test(tc, a_puzzle_that_is_too_hard);
	tcase_add_test(tc, solutions);
	tcase_add_test(tc, the_oldest_makes_room);
	tcase_add_test(tc, shed_by_age);
	tcase_add_test(tc, the_pool_is_behind);
	tcase_add_test(tc, repeated_before_it_was_answered);
	tcase_add_test(tc, the_queue_is_bounded);
	tcase_add_test(tc, the_queue_is_divided);
	tcase_add_test(tc, fragments_never_completed);
}
