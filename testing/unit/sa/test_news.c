/* SPDX-License-Identifier: Apache-2.0 */
/* Lost events of the data plane, and changes of the network. */
#include "unit.h"

#include "ikev2/duel.h"
#include "libcore/base/addr.h"

static struct duel *d;

static void settle(void)
{
	d->pass = 200;
	duel_pump(d);
	d->pass = 0;
	duel_pump(d);
}

static struct child_sa *child_of(struct duel_side *s)
{
	struct ike_sa *sa = duel_sa(s);

	return sa && sa->n_children ? list_entry(list_first(&sa->children), struct child_sa, node) : NULL;
}

/* --- events were lost -------------------------------------------------------------------------------------------------- */

static void begin(const struct duel_config *c)
{
	d = c ? duel_new_with(c) : duel_new();
	duel_start(d, &d->a, 4);
	duel_advance(d, NS_PER_S);
	ck_assert_ptr_nonnull(child_of(&d->a));
	ck_assert_uint_eq(d->a.n_sas, 2);
}

START_TEST(nothing_is_done_when_nothing_is_missing)
{
	uint64_t id;

	begin(NULL);
	id = child_of(&d->a)->id;
	d->a.ev->overrun(d->a.ev->user);
	settle();
	ck_assert_uint_eq(child_of(&d->a)->id, id);
	ck_assert_int_eq(child_of(&d->a)->state, CHILD_INSTALLED);
	ck_assert_uint_eq(d->a.n_sas, 2);
	duel_free(d);
}
END_TEST

/* The event of a hard lifetime was lost: the SA is not there. */
START_TEST(what_is_gone_is_made_anew)
{
	for (size_t which = 0; which < 2; which++) {
		uint64_t id;

		begin(NULL);
		id = child_of(&d->a)->id;
		d->a.sas[which] = d->a.sas[--d->a.n_sas];
		d->a.ev->overrun(d->a.ev->user);
		settle();
		ck_assert_ptr_nonnull(child_of(&d->a));
		ck_assert_uint_ne(child_of(&d->a)->id, id);
		ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
		ck_assert_uint_eq(d->a.n_sas, 2);
		duel_free(d);
	}
}
END_TEST

START_TEST(what_is_used_up_is_rekeyed)
{
	static const struct duel_config c = {.conn_a = "  lifebytes=1000000\n  marginbytes=1000\n"};
	uint64_t id;

	begin(&c);
	id = child_of(&d->a)->id;
	d->a.sas[1].stats.bytes = 998000;
	d->a.ev->overrun(d->a.ev->user);
	settle();
	ck_assert_uint_eq(child_of(&d->a)->id, id);
	d->a.sas[1].stats.bytes = 999500;
	d->a.ev->overrun(d->a.ev->user);
	settle();
	ck_assert_uint_eq(SA_READ(d->a.d->sas, rekeys_child), 1);
	ck_assert_uint_ne(child_of(&d->a)->id, id);
	duel_free(d);
}
END_TEST

/* --- the network changed ------------------------------------------------------------------------------------------------- */

static const struct duel_config roaming = {.left_a = "%defaultroute", .right_b = "%any"};

static const struct duel_config called = {.left_a = "%defaultroute"};

static void move_a(const char *to)
{
	ck_assert_int_eq(addr_parse(to, &d->a.addr), CY_OK);
	d->a.ev->network_changed(d->a.ev->user);
	settle();
}

START_TEST(who_roams_connects_anew_from_where_it_is)
{
	struct cy_addr now;
	uint64_t id;

	begin(&roaming);
	id = duel_sa(&d->a)->id;
	d->a.ev->network_changed(d->a.ev->user);
	settle();
	ck_assert_uint_eq(duel_sa(&d->a)->id, id); /* it is where it was */
	move_a("10.0.0.77");
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_ne(duel_sa(&d->a)->id, id);
	ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
	ck_assert_ptr_nonnull(child_of(&d->a));
	ck_assert_int_eq(addr_parse("10.0.0.77", &now), CY_OK);
	ck_assert(cy_addr_ip_eq(&duel_sa(&d->a)->local, &now));
	ck_assert_uint_eq(d->a.n_sas, 2);
	/* the peer was told that this is all there is */
	ck_assert_uint_eq(duel_count(&d->b), 1);
	ck_assert(cy_addr_ip_eq(&duel_sa(&d->b)->remote, &now));
	duel_free(d);
}
END_TEST

START_TEST(without_a_way_it_waits_for_one)
{
	uint64_t id;

	begin(&roaming);
	id = duel_sa(&d->a)->id;
	d->a.no_way = true;
	move_a("10.0.0.77");
	ck_assert_uint_eq(duel_sa(&d->a)->id, id);
	d->a.no_way = false;
	d->a.ev->network_changed(d->a.ev->user);
	settle();
	ck_assert_uint_ne(duel_sa(&d->a)->id, id);
	ck_assert_ptr_nonnull(child_of(&d->a));
	duel_free(d);
}
END_TEST

/* It cannot connect from elsewhere: left= is an address; and it cannot connect at all: it was the responder. */
START_TEST(who_cannot_move_keeps_what_it_has)
{
	uint64_t id;

	begin(NULL);
	id = duel_sa(&d->a)->id;
	move_a("10.0.0.77");
	ck_assert_uint_eq(duel_sa(&d->a)->id, id);
	ck_assert_uint_eq(d->a.n_sas, 2);
	duel_free(d);

	d = duel_new_with(&called);
	duel_start(d, &d->b, 4);
	ck_assert_ptr_nonnull(duel_sa(&d->a));
	id = duel_sa(&d->a)->id;
	move_a("10.0.0.77");
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_sa(&d->a)->id, id);
	duel_free(d);
}
END_TEST

UNIT_TESTS(news)
{
	tcase_add_test(tc, nothing_is_done_when_nothing_is_missing);
	tcase_add_test(tc, what_is_gone_is_made_anew);
	tcase_add_test(tc, what_is_used_up_is_rekeyed);
	tcase_add_test(tc, who_roams_connects_anew_from_where_it_is);
	tcase_add_test(tc, without_a_way_it_waits_for_one);
	tcase_add_test(tc, who_cannot_move_keeps_what_it_has);
}
