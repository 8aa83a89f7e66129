/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing up what is up already. */
#include "unit.h"

#include "ikev2/duel.h"
#include "libcore/conf/conf.h"

static struct duel *d;

struct seen {
	struct up_watch watch;
	uint32_t done, lines;
	bool ok, already;
};

static void on_line(struct up_watch *w, const char *text)
{
	struct seen *s = container_of(w, struct seen, watch);

	s->lines++;
	s->already |= strstr(text, "established already") != NULL;
}

static void on_done(struct up_watch *w, bool ok, const char *why)
{
	struct seen *s = container_of(w, struct seen, watch);

	(void)why;
	s->done++;
	s->ok = ok;
}

static struct seen up(bool another)
{
	struct config *c = daemon_config(d->a.d);
	struct seen s = {.watch = {.line = on_line, .done = on_done}};

	list_init(&s.watch.node);
	d->pass = 100;
	if (another)
		sa_initiate(d->a.d, c->conf->conns[0], &s.watch, 0, NULL, NULL);
	else
		sa_up(d->a.d, c->conf->conns[0], &s.watch);
	config_unref(c);
	duel_pump(d);
	ck_assert_uint_eq(s.done, 1);
	return s;
}

static void twice(bool reuse)
{
	struct seen s;

	d = duel_new();
	d->a.d->tune.reuse_ike_sa = reuse;
	s = up(false);
	ck_assert(s.ok && !s.already);
	s = up(false);
	ck_assert(s.ok && s.already);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	s = up(true);
	ck_assert(s.ok && !s.already);
	ck_assert_uint_eq(SA_READ(d->a.d->sas, child_sas), 2);
	ck_assert_uint_eq(SA_READ(d->a.d->sas, up), reuse ? 1 : 2);
	duel_free(d);
}

START_TEST(up_twice_makes_one)
{
	twice(true);
}
END_TEST

START_TEST(up_twice_makes_one_where_ike_sas_are_not_shared)
{
	twice(false);
}
END_TEST

/* What the peer brought up is up as well. */
START_TEST(up_after_the_peer)
{
	struct seen s;

	d = duel_new();
	duel_start(d, &d->b, 4);
	s = up(false);
	ck_assert(s.ok && s.already);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	duel_free(d);
}
END_TEST

static void require_in_order(struct duel_side *s, uint32_t count)
{
	uint64_t last = 0;
	struct list *n;

	ck_assert_uint_eq(duel_sa(s)->n_children, count);
	list_foreach (n, &duel_sa(s)->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		ck_assert_uint_gt(c->id, last);
		last = c->id;
	}
}

/* The number of ours is drawn before the peer's, which is there first. Listings go by numbers, and missed one. */
START_TEST(children_of_both_ends_at_once_stay_in_order)
{
	struct config *a, *b;

	d = duel_new();
	duel_start(d, &d->a, 4);
	a = daemon_config(d->a.d);
	b = daemon_config(d->b.d);
	d->pass = 0;
	sa_initiate(d->a.d, a->conf->conns[0], NULL, 0, NULL, NULL);
	sa_initiate(d->b.d, b->conf->conns[0], NULL, 0, NULL, NULL);
	duel_pump(d);
	d->pass = 100;
	duel_advance(d, 10 * NS_PER_S); /* they are sent again */
	require_in_order(&d->a, 3);
	require_in_order(&d->b, 3);
	config_unref(a);
	config_unref(b);
	duel_free(d);
}
END_TEST

UNIT_TESTS(up)
{
	tcase_add_test(tc, up_twice_makes_one);
	tcase_add_test(tc, up_twice_makes_one_where_ike_sas_are_not_shared);
	tcase_add_test(tc, up_after_the_peer);
	tcase_add_test(tc, children_of_both_ends_at_once_stay_in_order);
}
