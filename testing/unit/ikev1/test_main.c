/* SPDX-License-Identifier: Apache-2.0 */
/* Main and quick mode between two daemons under virtual time: loss, repetition, rekeying, liveness, closing. */
#include "duel.h"
#include "unit.h"

#include "daemon/ikev1/ikev1.h"

#define KEYS   "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n"
#define PHASE1 6
#define TUNNEL (PHASE1 + 3)

static struct duel *d;

static void setup(void)
{
	static const struct duel_config ikev1 = {
	    .keys = KEYS "  dpdaction=clear\n  dpddelay=30\n  ikelifetime=2h\n  lifetime=1h\n"};

	d = duel_new_with(&ikev1);
}

static void teardown(void)
{
	duel_free(d);
}

static struct child_sa *child_of(struct ike_sa *sa, uint32_t i)
{
	struct list *n;

	list_foreach (n, &sa->children)
		if (i-- == 0)
			return list_entry(n, struct child_sa, node);
	return NULL;
}

static void tunnel(void)
{
	struct ike_sa *a, *b;

	duel_start(d, &d->a, TUNNEL);
	a = duel_sa(&d->a);
	b = duel_sa(&d->b);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_int_eq(a->state, IKE_ESTABLISHED);
	ck_assert_int_eq(b->state, IKE_ESTABLISHED);
	ck_assert_uint_eq(a->n_children, 1);
	ck_assert_uint_eq(b->n_children, 1);
	ck_assert_uint_eq(child_of(a, 0)->spi_in, child_of(b, 0)->spi_out);
	ck_assert_uint_eq(child_of(a, 0)->spi_out, child_of(b, 0)->spi_in);
	ck_assert(child_of(b, 0)->out_installed);
}

START_TEST(nine_messages_make_a_tunnel)
{
	tunnel();
	ck_assert_uint_eq(d->a.n_sent, 5);
	ck_assert_uint_eq(d->b.n_sent, 4);
}
END_TEST

/* Each message of the nine is lost once: what is repeated ends in the same. */
START_TEST(every_message_may_be_lost)
{
	for (uint32_t lost = 0; lost < TUNNEL; lost++) {
		duel_reset(d);
		duel_start(d, &d->a, lost);
		d->pass = 0;
		for (int i = 0; i < 8; i++) {
			d->pass = 100;
			duel_advance(d, 10 * NS_PER_S);
		}
		ck_assert_uint_eq(duel_count(&d->a), 1);
		ck_assert_uint_eq(duel_count(&d->b), 1);
		ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
		ck_assert(child_of(duel_sa(&d->b), 0)->out_installed);
	}
}
END_TEST

/* Whatever was said is said again: nothing changes, and only what was heard last is answered. */
START_TEST(repetitions_change_nothing)
{
	struct duel_dgram said[2][DUEL_KEPT];
	struct duel_side *side[2] = {&d->a, &d->b};
	uint64_t n[2], iv;
	uint32_t spi;

	tunnel();
	spi = child_of(duel_sa(&d->a), 0)->spi_in;
	for (int k = 0; k < 2; k++) {
		n[k] = side[k]->n_sent;
		for (uint64_t i = 0; i < n[k]; i++) {
			const struct duel_dgram *g = duel_last(side[k], n[k] - 1 - i);

			said[k][i].n = g->n;
			said[k][i].p = malloc(g->n);
			memcpy(said[k][i].p, g->p, g->n);
		}
	}
	iv = d->b.n_sent;
	for (int k = 0; k < 2; k++)
		for (uint64_t i = 0; i < n[k]; i++) {
			duel_inject(duel_other(side[k]), said[k][i].p, said[k][i].n);
			free(said[k][i].p);
		}
	/* the first message of main mode begins another half-open IKE_SA: there is nothing to know it by */
	ck_assert_uint_le(d->b.n_sent, iv + 3);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	ck_assert_uint_eq(child_of(duel_sa(&d->a), 0)->spi_in, spi);
	ck_assert_uint_eq(SA_READ(d->b.d->sas, child_sas), 1);
}
END_TEST

static void queue(struct duel_side *s, enum task_kind kind, uint64_t child)
{
	struct task *t = task_new(kind);

	t->child_id = child;
	d->pass = 100;
	task_queue(duel_sa(s), t);
	duel_pump(d);
}

/* The old one carries on until the new one is there, and goes some time after. */
START_TEST(rekeying_makes_before_it_breaks)
{
	struct duel_side *side[2] = {&d->a, &d->b};

	for (int k = 0; k < 2; k++) {
		struct ike_sa *sa;
		uint64_t old;

		duel_reset(d);
		tunnel();
		sa = duel_sa(side[k]);
		old = child_of(sa, 0)->id;
		queue(side[k], TASK_CHILD_REKEY, old);
		ck_assert_uint_eq(duel_sa(&d->a)->n_children, 2);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 2);
		ck_assert_int_eq(child_by_id(sa, old)->state, CHILD_REKEYED);
		ck_assert_int_eq(child_of(duel_sa(&d->b), 1)->state, CHILD_INSTALLED);
		ck_assert(child_of(duel_sa(&d->b), 1)->out_installed);
		d->pass = 100;
		duel_advance(d, 15 * NS_PER_S);
		ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
		ck_assert_ptr_null(child_by_id(sa, old));
	}
}
END_TEST

/* CHILD_SAs move to the IKE_SA that takes the place of theirs, at both ends. */
START_TEST(reauthentication_keeps_the_children)
{
	struct ike_sa *a, *b;
	uint32_t spi;
	uint64_t id;

	tunnel();
	spi = child_of(duel_sa(&d->a), 0)->spi_in;
	id = duel_sa(&d->a)->id;
	d->pass = 100;
	sa_reauthenticate(duel_sa(&d->a));
	duel_pump(d);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_count(&d->b), 1);
	a = duel_sa(&d->a);
	b = duel_sa(&d->b);
	ck_assert_uint_ne(a->id, id);
	ck_assert_uint_eq(a->n_children, 1);
	ck_assert_uint_eq(b->n_children, 1);
	ck_assert_uint_eq(child_of(a, 0)->spi_in, spi);
	ck_assert_uint_eq(child_of(b, 0)->spi_out, spi);
	/* and it can be closed there */
	queue(&d->b, TASK_CHILD_DELETE, child_of(b, 0)->id);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 0);
}
END_TEST

START_TEST(closing_is_heard)
{
	tunnel();
	queue(&d->b, TASK_IKE_DELETE, 0);
	ck_assert_uint_eq(duel_count(&d->a), 0);
	ck_assert_uint_eq(duel_count(&d->b), 0);
}
END_TEST

START_TEST(a_silent_peer_is_noticed)
{
	tunnel();
	d->pass = 1000;
	duel_advance(d, 120 * NS_PER_S); /* both ask, and are answered */
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_gt(SA_READ(d->a.d->sas, liveness_sent), 0);
	d->pass = 0;
	duel_advance(d, 600 * NS_PER_S);
	ck_assert_uint_eq(duel_count(&d->a), 0);
	ck_assert_uint_eq(duel_count(&d->b), 0);
}
END_TEST

/* dpdtimeout=: a client that sleeps for some minutes keeps its tunnel, and is asked now and then. */
START_TEST(a_silent_peer_has_time)
{
	static const struct duel_config sleepy = {.keys = KEYS
	    "  dpdaction=clear\n  dpddelay=60\n  dpdtimeout=30m\n  ikelifetime=9h\n  lifetime=8h\n"};
	uint64_t before;

	duel_free(d);
	d = duel_new_with(&sleepy);
	tunnel();
	before = d->a.n_sent;
	duel_advance(d, 25 * 60 * NS_PER_S); /* nothing arrives */
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_ge(d->a.n_sent, before + 20);
	ck_assert_uint_le(d->a.n_sent, before + 40);
	d->pass = 1000;
	duel_advance(d, 120 * NS_PER_S);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	d->pass = 0; /* and now it does not come back */
	duel_advance(d, 28 * 60 * NS_PER_S);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	duel_advance(d, 5 * 60 * NS_PER_S);
	ck_assert_uint_eq(duel_count(&d->a), 0);
}
END_TEST

static uint32_t told;
static void on_told(struct up_watch *w, bool ok, const char *why)
{
	(void)w;
	(void)why;
	told += ok;
}

/* The answer ends it at once, and who waits for it is told. */
START_TEST(liveness_ends_with_its_answer)
{
	struct up_watch watch = {.done = on_told};
	struct task *t = task_new(TASK_LIVENESS);

	tunnel();
	told = 0;
	list_push(&t->watches, &watch.node);
	d->pass = 100;
	task_queue(duel_sa(&d->a), t);
	duel_pump(d);
	ck_assert_uint_eq(told, 1);
	ck_assert(list_empty(&duel_sa(&d->a)->running));
	/* one that is lost is asked again, and ends as well */
	told = 0;
	t = task_new(TASK_LIVENESS);
	list_push(&t->watches, &watch.node);
	d->pass = 0;
	task_queue(duel_sa(&d->a), t);
	duel_pump(d);
	ck_assert_uint_eq(told, 0);
	d->pass = 100;
	duel_advance(d, 10 * NS_PER_S);
	ck_assert_uint_eq(told, 1);
	ck_assert_uint_eq(duel_count(&d->a), 1);
}
END_TEST

/* Nothing that is forged, or turned round on its way, has an effect; and every loss is counted. */
START_TEST(forgeries_are_dropped)
{
	struct ike_sa *b;
	uint8_t copy[1500];
	uint64_t i;

	tunnel();
	b = duel_sa(&d->b);
	for (i = 0; i < 200; i++) {
		const struct duel_dgram *g = duel_last(&d->a, i % d->a.n_sent);
		size_t at = i * 7 % g->n;

		memcpy(copy, g->p, g->n);
		copy[at] ^= (uint8_t)(1 + i);
		duel_inject(&d->b, copy, g->n);
	}
	ck_assert_ptr_eq(slab_get(&b->shard->slab, b->handle), b);
	ck_assert_uint_eq(b->n_children, 1);
	ck_assert_int_eq(b->state, IKE_ESTABLISHED);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
}
END_TEST

/* A connection that did not ask for IKEv1 is silent. */
START_TEST(nobody_asked_for_it)
{
	struct duel *v2 = duel_new();
	const struct duel_dgram *first;

	duel_start(d, &d->a, 0);
	first = duel_last(&d->a, 0);
	ck_assert_ptr_nonnull(first);
	duel_inject(&v2->b, first->p, first->n);
	ck_assert_uint_eq(v2->b.n_sent, 0);
	ck_assert_uint_eq(duel_count(&v2->b), 0);
	ck_assert_uint_eq(SA_READ(v2->b.d->sas, drop_stray), 1);
	duel_free(v2);
}
END_TEST

UNIT_TESTS(main_mode)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nine_messages_make_a_tunnel);
	tcase_add_test(tc, every_message_may_be_lost);
	tcase_add_test(tc, repetitions_change_nothing);
	tcase_add_test(tc, rekeying_makes_before_it_breaks);
	tcase_add_test(tc, reauthentication_keeps_the_children);
	tcase_add_test(tc, closing_is_heard);
	tcase_add_test(tc, a_silent_peer_is_noticed);
	tcase_add_test(tc, a_silent_peer_has_time);
	tcase_add_test(tc, liveness_ends_with_its_answer);
	tcase_add_test(tc, forgeries_are_dropped);
	tcase_add_test(tc, nobody_asked_for_it);
}
