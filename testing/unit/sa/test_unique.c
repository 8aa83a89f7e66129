/* SPDX-License-Identifier: Apache-2.0 */
/* Who is connected: uniqueids=, and what an IKE_SA that moves, or is made anew, means for it. */
#include "unit.h"

#include "ikev2/duel.h"
#include "libcore/conf/conf.h"

static struct duel *d;

static const struct duel_config keep = {.setup = "  uniqueids=keep\n", .right_a = "%any"};

/* Everything arrives until nothing is sent any more. */
static void settle(void)
{
	d->pass = 200;
	duel_pump(d);
	d->pass = 0;
	duel_pump(d);
}

static void reauthenticate(struct ike_sa *sa)
{
	d->pass = 200;
	sa_reauthenticate(sa);
	settle();
}

/* RFC 7296, 2.8.3: for a while there are two IKE_SAs, and the new one does not say INITIAL_CONTACT. */
START_TEST(keep_lets_a_peer_reauthenticate)
{
	uint64_t id;

	d = duel_new_with(&keep);
	duel_start(d, &d->b, 4);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	id = duel_sa(&d->a)->id;
	reauthenticate(duel_sa(&d->b));
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_count(&d->b), 1);
	ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
	ck_assert_uint_ne(duel_sa(&d->a)->id, id);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	duel_free(d);
}
END_TEST

START_TEST(keep_refuses_the_same_identity_from_elsewhere)
{
	struct config *c;
	uint64_t id;

	d = duel_new_with(&keep);
	duel_start(d, &d->b, 4);
	id = duel_sa(&d->a)->id;
	ck_assert_int_eq(addr_parse("10.0.0.9", &d->b.addr), CY_OK);
	d->b.d->tune.reuse_ike_sa = false;
	d->pass = 200;
	c = daemon_config(d->b.d);
	sa_initiate(d->b.d, c->conf->conns[0], NULL, 0, NULL, NULL);
	config_unref(c);
	settle();
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_sa(&d->a)->id, id);
	ck_assert_uint_eq(duel_count(&d->b), 1);
	duel_free(d);
}
END_TEST

/* A NAT gave the peer another port, and it reauthenticates from there. */
START_TEST(the_table_follows_a_peer_that_moves)
{
	struct ike_sa *sa;
	struct cy_addr moved;
	uint64_t id;

	d = duel_new_with(&keep);
	duel_start(d, &d->b, 4);
	sa = duel_sa(&d->a);
	id = sa->id;
	moved = sa->remote;
	ck_assert_int_eq(addr_parse("10.0.0.9", &d->b.addr), CY_OK);
	memcpy(moved.ip, d->b.addr.ip, sizeof(moved.ip));
	ck_assert(unique_known(d->a.d->sas, &sa->my_id, &sa->peer_id, &moved));
	ike_sa_moved(sa, &sa->local, &moved);
	ck_assert(!unique_known(d->a.d->sas, &sa->my_id, &sa->peer_id, &moved));
	ck_assert(unique_known(d->a.d->sas, &sa->my_id, &sa->peer_id, NULL));
	reauthenticate(duel_sa(&d->b));
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_ne(duel_sa(&d->a)->id, id);
	duel_free(d);
}
END_TEST

UNIT_TESTS(unique)
{
	tcase_add_test(tc, keep_lets_a_peer_reauthenticate);
	tcase_add_test(tc, keep_refuses_the_same_identity_from_elsewhere);
	tcase_add_test(tc, the_table_follows_a_peer_that_moves);
}
