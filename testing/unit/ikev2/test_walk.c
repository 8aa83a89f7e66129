/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to every IKE_SA is done some at a time, and finds every one; numbers are looked up, not searched. */
#include "unit.h"

#include "duel.h"
#include "libcore/conf/conf.h"

#define MANY 6000

struct walk {
	uint32_t cost, seen, seen_in_job, most, made;
	bool destroy, done;
	struct sa_shard *more; /* make one for each of the first that are visited */
};

static struct worker *worker(struct duel *d)
{
	return processor_worker(d->a.d->processor, 0);
}

static struct sa_shard *shard(struct duel *d)
{
	return sa_shard_of(d->a.d->sas, worker(d));
}

static uint32_t visit(struct ike_sa *sa, void *user)
{
	struct walk *w = user;

	w->seen++;
	w->seen_in_job++;
	if (w->more && w->made < 100) {
		ck_assert_ptr_nonnull(ike_sa_new(w->more, 2, true));
		w->made++;
	}
	if (w->destroy)
		ike_sa_destroy(sa, NULL);
	return w->cost;
}

static void end(void *user)
{
	((struct walk *)user)->done = true;
}

/* One job of the worker after the other. */
static uint32_t run(struct duel *d, struct walk *w)
{
	uint32_t jobs = 0;

	ck_assert_int_eq(sa_each(d->a.d->sas, PRIO_HIGH, visit, end, w), CY_OK);
	while (!w->done) {
		w->seen_in_job = 0;
		ck_assert_uint_eq(worker_step(worker(d), 1), 1);
		if (w->seen_in_job > w->most)
			w->most = w->seen_in_job;
		jobs++;
	}
	return jobs;
}

static void make_many(struct duel *d)
{
	for (int i = 0; i < MANY; i++)
		ck_assert_ptr_nonnull(ike_sa_new(shard(d), 2, true));
}

START_TEST(every_one_some_at_a_time)
{
	struct duel *d = duel_new();
	struct walk w = {.cost = SA_CLOSE_COST}, look = {.cost = 0};
	uint32_t jobs;

	make_many(d);
	jobs = run(d, &w);
	ck_assert_uint_eq(w.seen, MANY);
	ck_assert_uint_le(w.most, SA_EACH_COST / SA_CLOSE_COST + 1);
	ck_assert_uint_ge(jobs, MANY / (SA_EACH_COST / SA_CLOSE_COST + 1));
	run(d, &look);
	ck_assert_uint_eq(look.seen, MANY);
	ck_assert_uint_le(look.most, SA_EACH_COST);
	duel_free(d);
}
END_TEST

START_TEST(what_is_made_meanwhile_is_visited_too)
{
	struct duel *d = duel_new();
	struct walk w = {.cost = 10, .destroy = true, .more = NULL};

	make_many(d);
	w.more = shard(d);
	run(d, &w);
	ck_assert_uint_eq(w.made, 100);
	ck_assert_uint_eq(w.seen, MANY + 100);
	ck_assert_uint_eq(duel_count(&d->a), 0);
	duel_free(d);
}
END_TEST

static void found(void *user, uint32_t n)
{
	*(uint32_t *)user = n;
}

/* Closing thousands takes thousands of messages: never many of them in one job. */
START_TEST(down_closes_some_at_a_time)
{
	struct duel *d = duel_new();
	struct config *c = daemon_config(d->a.d);
	uint32_t n = UINT32_MAX;
	size_t left = MANY;

	make_many(d);
	for (size_t pos = 0, i = 0; i < MANY; i++)
		ike_sa_set_conn(slab_next(&shard(d)->slab, &pos, NULL), c->conf->conns[0]);
	sa_terminate(d->a.d, "net", found, &n);
	while (n == UINT32_MAX) {
		worker_step(worker(d), 1);
		ck_assert_uint_le(left - duel_count(&d->a), SA_EACH_COST / SA_CLOSE_COST + 1);
		left = duel_count(&d->a);
	}
	ck_assert_uint_eq(n, MANY);
	ck_assert_uint_eq(left, 0);
	config_unref(c);
	duel_free(d);
}
END_TEST

START_TEST(found_by_number)
{
	struct duel *d = duel_new();
	struct ike_sa *sa;
	uint64_t first, gone;

	make_many(d);
	sa = duel_sa(&d->a);
	first = sa->id;
	for (uint64_t i = 0; i < MANY; i++)
		ck_assert_uint_eq(sa_by_id(shard(d), first + i)->id, first + i);
	ck_assert_ptr_null(sa_by_id(shard(d), first + MANY));
	gone = first + 17;
	ike_sa_destroy(sa_by_id(shard(d), gone), NULL);
	ck_assert_ptr_null(sa_by_id(shard(d), gone));
	ck_assert_uint_eq(shard(d)->by_id.n, MANY - 1);
	duel_free(d);
}
END_TEST

UNIT_TESTS(walk)
{
	tcase_add_test(tc, every_one_some_at_a_time);
	tcase_add_test(tc, what_is_made_meanwhile_is_visited_too);
	tcase_add_test(tc, down_closes_some_at_a_time);
	tcase_add_test(tc, found_by_number);
}
