/* SPDX-License-Identifier: Apache-2.0 */
/* The commit bit of quick mode (RFC 2408, 3.1): the initiator waits for CONNECTED before it sends, and never for long. */
#include "duel.h"
#include "unit.h"

#include "daemon/ikev1/ikev1.h"

#define KEYS   "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n"
#define TUNNEL (6 + 3)
#define SOON   (2 * NS_PER_MS) /* a timer that is due goes off with the next tick */
#define FLAGS  19              /* where they are in the header */

static struct duel *d;

static void setup(void)
{
	static const struct duel_config ikev1 = {.keys = KEYS};

	d = duel_new_with(&ikev1);
}

static void teardown(void)
{
	duel_free(d);
}

/* SAs of one direction that the data plane has. */
static size_t count(const struct duel_side *s, enum cy_dir dir)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_sas; i++)
		n += s->sas[i].id.dir == dir;
	return n;
}

static bool is_up(struct duel_side *s)
{
	return duel_sa(s)->n_children == 1 && count(s, CY_DIR_OUT) == 1 && count(s, CY_DIR_IN) == 1;
}

/* A's third message has arrived, and what B answers has not. */
static void until_the_third(void)
{
	duel_start(d, &d->a, TUNNEL);
	ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
	ck_assert(is_up(&d->b));
}

static void waits(void)
{
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 0);
	ck_assert_uint_eq(count(&d->a, CY_DIR_IN), 1); /* it can receive */
	ck_assert_uint_eq(count(&d->a, CY_DIR_OUT), 0);
}

static const uint8_t *last(struct duel_side *s)
{
	return duel_last(s, 0)->p;
}

START_TEST(without_it_nobody_waits)
{
	until_the_third();
	ck_assert(is_up(&d->a));
	ck_assert_int_eq(last(&d->b)[FLAGS], V1_FLAG_ENCRYPTED);
	ck_assert_int_eq(last(&d->a)[FLAGS], V1_FLAG_ENCRYPTED);
}
END_TEST

START_TEST(the_initiator_waits_for_connected)
{
	d->b.d->tune.ikev1_commit = true;
	until_the_third();
	waits();
	ck_assert_int_eq(last(&d->b)[FLAGS], V1_FLAG_ENCRYPTED | V1_FLAG_COMMIT);
	ck_assert_int_eq(last(&d->b)[18], EXCHANGE_V1_QUICK);
	duel_inject(&d->a, last(&d->b), duel_last(&d->b, 0)->n);
	duel_advance(d, SOON);
	ck_assert(is_up(&d->a));
	/* rekeying: the old one sends until the new one may */
	for (int k = 0; k < 2; k++) {
		struct task *t = task_new(TASK_CHILD_REKEY);
		struct child_sa *c = list_entry(list_first(&duel_sa(&d->a)->children), struct child_sa, node);

		t->child_id = c->id;
		d->pass = k ? 100 : 3;
		task_queue(duel_sa(&d->a), t);
		duel_pump(d);
		if (!k)
			ck_assert(count(&d->a, CY_DIR_IN) == 2 && count(&d->a, CY_DIR_OUT) == 1);
		d->pass = 100;
		duel_advance(d, 20 * NS_PER_S);
		duel_advance(d, 20 * NS_PER_S);
		ck_assert(is_up(&d->a));
		ck_assert(is_up(&d->b));
	}
}
END_TEST

/* The fourth message is lost: the third comes again, and so does the fourth. */
START_TEST(connected_may_be_lost)
{
	uint64_t sent;

	d->b.d->tune.ikev1_commit = true;
	until_the_third();
	waits();
	sent = d->b.n_sent;
	d->pass = 100;
	duel_advance(d, NS_PER_S);
	duel_advance(d, SOON);
	ck_assert_uint_eq(d->b.n_sent, sent + 1);
	ck_assert(is_up(&d->a));
}
END_TEST

/* The third is lost: who waits sends it again, long before the peer repeats the second. */
START_TEST(the_third_may_be_lost)
{
	d->b.d->tune.ikev1_commit = true;
	duel_start(d, &d->a, TUNNEL - 1);
	d->n_wire = 0;
	waits();
	d->pass = 100;
	duel_advance(d, NS_PER_S);
	duel_advance(d, SOON);
	ck_assert(is_up(&d->a));
	ck_assert(is_up(&d->b));
}
END_TEST

/* Everybody on the way can set it: B, which has not, says nothing. */
START_TEST(a_forged_bit_costs_little)
{
	struct duel_dgram second;
	uint64_t began;

	duel_start(d, &d->a, TUNNEL - 2);
	second = *duel_last(&d->b, 0);
	ck_assert_int_eq(second.p[18], EXCHANGE_V1_QUICK);
	second.p[FLAGS] |= V1_FLAG_COMMIT;
	began = d->now;
	duel_inject(&d->a, second.p, second.n);
	waits();
	d->pass = 100;
	for (int i = 0; i < 100 && !is_up(&d->a); i++)
		duel_advance(d, NS_PER_S / 10);
	ck_assert(is_up(&d->a));
	ck_assert(is_up(&d->b));
	ck_assert_uint_le(d->now - began, 4 * NS_PER_S);
}
END_TEST

/* The initiator sets it: it gets the fourth message, and nothing waits at the responder. */
START_TEST(the_initiator_sets_it)
{
	for (int which = 0; which < 2; which++) {
		struct duel_dgram set;

		duel_reset(d);
		duel_start(d, &d->a, which ? TUNNEL - 1 : TUNNEL - 3);
		d->n_wire = 0;
		set = *duel_last(&d->a, 0);
		ck_assert_int_eq(set.p[18], EXCHANGE_V1_QUICK);
		set.p[FLAGS] |= V1_FLAG_COMMIT;
		d->pass = 100;
		duel_inject(&d->b, set.p, set.n);
		ck_assert(is_up(&d->b));
		ck_assert_int_eq(last(&d->b)[FLAGS], V1_FLAG_ENCRYPTED | V1_FLAG_COMMIT);
		duel_advance(d, SOON);
		ck_assert(is_up(&d->a));
	}
}
END_TEST

/* As an exchange of its own that has the message ID of quick mode: what RFC 2408 says. */
static void say_connected(uint32_t msgid)
{
	struct ike_sa *sa = duel_sa(&d->b);
	struct v1_exchange *x;

	ck_assert_ptr_nonnull(step_new(sa, NULL));
	x = v1_exchange_new(sa, EXCHANGE_V1_INFORMATIONAL, msgid, true);
	ck_assert(v1_out(sa, x, V1_HASH_1));
	ck_assert(v1_add_notify(sa, V1N_CONNECTED, PROTO_ESP, cy_slice(NULL, 0), cy_slice(NULL, 0)));
	ck_assert_int_eq(v1_send(sa, x, V1_HASH_1, cy_slice(NULL, 0), cy_slice(NULL, 0), false), CY_OK);
	v1_exchange_free(x);
	step_end(sa);
	duel_pump(d);
}

START_TEST(connected_in_an_exchange_of_its_own)
{
	uint32_t msgid;

	d->b.d->tune.ikev1_commit = true;
	until_the_third();
	d->n_wire = 0; /* the fourth */
	memcpy(&msgid, last(&d->b) + 20, 4);
	msgid = __builtin_bswap32(msgid);
	d->pass = 2;
	say_connected(msgid ^ 1); /* of something else */
	waits();
	say_connected(msgid);
	duel_advance(d, SOON);
	ck_assert(is_up(&d->a));
	d->pass = 1;
	say_connected(msgid); /* nobody waits any more */
	ck_assert(is_up(&d->a));
}
END_TEST

/* The responder's data plane refuses it at the end: the initiator, which waits, is told and has nothing left. */
START_TEST(closed_instead_of_connected)
{
	d->b.d->tune.ikev1_commit = true;
	duel_start(d, &d->a, TUNNEL - 1);
	waits();
	d->b.refuse_sa = CY_E_NOMEM;
	d->pass = 100;
	duel_advance(d, NS_PER_S);
	duel_advance(d, SOON);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 0);
	ck_assert_uint_eq(d->a.n_sas, 0);
	ck_assert_uint_eq(d->b.n_sas, 0);
}
END_TEST

UNIT_TESTS(commit)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, without_it_nobody_waits);
	tcase_add_test(tc, the_initiator_waits_for_connected);
	tcase_add_test(tc, connected_may_be_lost);
	tcase_add_test(tc, the_third_may_be_lost);
	tcase_add_test(tc, a_forged_bit_costs_little);
	tcase_add_test(tc, the_initiator_sets_it);
	tcase_add_test(tc, connected_in_an_exchange_of_its_own);
	tcase_add_test(tc, closed_instead_of_connected);
}
