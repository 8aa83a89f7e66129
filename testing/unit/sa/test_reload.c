/* SPDX-License-Identifier: Apache-2.0 */
/* A reload at any moment: nothing established is dropped, nothing in progress is lost. */
#include "unit.h"

#include "daemon/run.h"
#include "ikev2/duel.h"

static struct duel *d;

/* The connection changes with each of them, so that a reload has something to do. */
static const struct duel_config first = {0},
                                second = {.conn_a = "  lifetime=50m\n", .conn_b = "  lifetime=50m\n"};

static void reload(struct duel_side *s, bool changed)
{
	if (changed)
		d->config = d->config == &first ? &second : &first;
	ck_assert_int_eq(daemon_reload(s->d, NULL, NULL), CY_OK);
}

/* Long enough to give up a delete whose answer was lost: who has closed an IKE_SA knows it no more. */
static void settle(void)
{
	d->pass = 1000;
	duel_advance(d, 400 * NS_PER_S);
	d->pass = 0;
	duel_pump(d);
}

static void require_one(struct duel_side *s)
{
	struct ike_sa *sa = duel_sa(s);

	ck_assert_uint_eq(duel_count(s), 1);
	ck_assert_int_eq(sa->state, IKE_ESTABLISHED);
	ck_assert_uint_eq(sa->n_children, 1);
	ck_assert_int_eq(
	    list_entry(list_first(&sa->children), struct child_sa, node)->state, CHILD_INSTALLED);
	ck_assert_uint_eq(s->n_sas, 2);
}

/* After so many datagrams of the handshake one side, or both, reload; what was lost is sent again. */
START_TEST(in_the_middle_of_a_handshake)
{
	d = duel_new_with(&first);
	for (uint32_t pass = 0; pass <= 4; pass++)
		for (int who = 1; who < 4; who++)
			for (int changed = 0; changed < 2; changed++) {
				duel_start(d, &d->a, pass);
				if (who & 1)
					reload(&d->a, changed);
				if (who & 2)
					reload(&d->b, changed);
				settle();
				require_one(&d->a);
				require_one(&d->b);
				duel_reset(d);
			}
	duel_free(d);
}
END_TEST

/* The same while something is rekeyed; what came of it is there, and the old one is not. */
START_TEST(in_the_middle_of_a_rekeying)
{
	static const enum task_kind kinds[] = {TASK_CHILD_REKEY, TASK_IKE_REKEY};

	d = duel_new_with(&first);
	for (size_t k = 0; k < 2; k++)
		for (uint32_t pass = 0; pass <= 4; pass++)
			for (int who = 1; who < 4; who++) {
				struct ike_sa *sa;
				struct child_sa *c;
				struct task *t = task_new(kinds[k]);
				uint64_t ike, child;

				duel_start(d, &d->a, 4);
				sa = duel_sa(&d->a);
				ck_assert(sa && sa->n_children == 1 && t);
				c = list_entry(list_first(&sa->children), struct child_sa, node);
				ike = sa->id;
				child = c->id;
				if (kinds[k] == TASK_CHILD_REKEY)
					t->child_id = child;
				d->pass = pass;
				task_queue(sa, t);
				duel_pump(d);
				d->pass = 0;
				duel_pump(d);
				if (who & 1)
					reload(&d->a, true);
				if (who & 2)
					reload(&d->b, true);
				settle();
				require_one(&d->a);
				require_one(&d->b);
				sa = duel_sa(&d->a);
				c = list_entry(list_first(&sa->children), struct child_sa, node);
				ck_assert_int_eq(sa->id == ike, kinds[k] == TASK_CHILD_REKEY);
				ck_assert_int_eq(c->id == child, kinds[k] == TASK_IKE_REKEY);
				duel_reset(d);
			}
	duel_free(d);
}
END_TEST

START_TEST(what_is_up_stays_as_it_is)
{
	uint64_t ike, child, sent;
	struct conn *conn;

	d = duel_new_with(&first);
	duel_start(d, &d->a, 4);
	ike = duel_sa(&d->a)->id;
	child = list_entry(list_first(&duel_sa(&d->a)->children), struct child_sa, node)->id;
	conn = duel_sa(&d->a)->conn;
	sent = d->a.n_sent + d->b.n_sent;
	for (int i = 0; i < 20; i++) {
		reload(&d->a, true);
		reload(&d->b, i % 2);
		duel_pump(d);
	}
	require_one(&d->a);
	require_one(&d->b);
	ck_assert_uint_eq(duel_sa(&d->a)->id, ike);
	ck_assert_uint_eq(
	    list_entry(list_first(&duel_sa(&d->a)->children), struct child_sa, node)->id, child);
	ck_assert_ptr_eq(duel_sa(&d->a)->conn, conn); /* the one that it was made under */
	ck_assert_uint_eq(d->a.n_sent + d->b.n_sent, sent);
	duel_free(d);
}
END_TEST

UNIT_TESTS(reload)
{
	tcase_add_test(tc, in_the_middle_of_a_handshake);
	tcase_add_test(tc, in_the_middle_of_a_rekeying);
	tcase_add_test(tc, what_is_up_stays_as_it_is);
}
