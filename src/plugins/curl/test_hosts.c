/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is, with a clock of the test's own. */

#include <stdio.h>
#include <stdlib.h>

#include "fetcher.h"
#include "unit.h"

#define REQUESTS 600

static uint64_t now_ms;
static struct {
	bool set;
	uint64_t due_ms;
	void (*cb)(void *user);
	void *user;
} timer;
static unsigned dispatched;
static struct request requests[REQUESTS];
static struct plugin *p;

/* requests.c has the real one */
void dispatch(struct plugin *plugin)
{
	dispatched++;
}

static uint64_t host_now_ns(void *self)
{
	return now_ms * 1000000;
}

static enum cy_err host_timer(void *self, uint32_t delay_ms, uint32_t period_ms, void (*cb)(void *user),
    void *user, struct cy_timer **out)
{
	EXPECT(!timer.set);
	timer.set = true;
	timer.due_ms = now_ms + delay_ms;
	timer.cb = cb;
	timer.user = user;
	*out = (struct cy_timer *)(void *)&timer;
	return CY_OK;
}

static void host_timer_cancel(void *self, struct cy_timer *t)
{
	timer.set = false;
}

static void pass(uint64_t ms)
{
	now_ms += ms;
	if (timer.set && timer.due_ms <= now_ms)
		timer.cb(timer.user);
}

static void setup(void)
{
	static const struct cy_host host = {.size = sizeof(host),
	    .now_ns = host_now_ns,
	    .timer = host_timer,
	    .timer_cancel = host_timer_cancel};

	now_ms = 1000;
	dispatched = 0;
	p = calloc(1, sizeof(*p));
	ck_assert_ptr_nonnull(p);
	p->host = &host;
	p->host_transfers = 2;
	pthread_mutex_init(&p->lock, NULL);
	TAILQ_INIT(&p->hosts);
	TAILQ_INIT(&p->turn);
	TAILQ_INIT(&p->idle);
	TAILQ_INIT(&p->left);
}

static void teardown(void)
{
	hosts_fini(p);
	ck_assert(!timer.set);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct request *push(size_t i, const char *name)
{
	struct host *h = host_get(p, name);

	ck_assert_ptr_nonnull(h);
	requests[i].host = h;
	host_queue_push(p, h, &requests[i]);
	return &requests[i];
}

static void next_is(const char *name)
{
	struct request *r = host_next(p);

	if (!name)
		ck_assert_ptr_null(r);
	else
		ck_assert_msg(
		    r && strcmp(r->host->name, name) == 0, "%s, not %s", r ? r->host->name : "nobody", name);
}

static void ended(const char *name, enum host_word word, bool left)
{
	struct host *h = host_get(p, name);

	host_ended(p, h, 10, word, left);
	host_release(p, h);
}

START_TEST(turns)
{
	for (size_t i = 0; i < 5; i++)
		(void)push(i, "a");
	(void)push(5, "b");
	(void)push(6, "c");
	(void)push(7, "c");
	next_is("a");
	next_is("b");
	next_is("c");
	next_is("a");
	next_is("c");
	next_is(NULL); /* a has its two, the others nothing to do */
	ended("a", HOST_ANSWERED, false);
	next_is("a");
	next_is(NULL);
}
END_TEST

START_TEST(who_was_silent_gets_one)
{
	for (size_t i = 0; i < 6; i++)
		(void)push(i, "a");
	next_is("a");
	next_is("a");
	ended("a", HOST_SILENT, false);
	next_is(NULL);
	ended("a", HOST_UNKNOWN, false); /* cancelled: says nothing */
	next_is("a");
	next_is(NULL);
	ended("a", HOST_ANSWERED, false);
	next_is("a");
	next_is("a");
	next_is(NULL);
}
END_TEST

START_TEST(left_behind)
{
	for (size_t i = 0; i < 6; i++)
		(void)push(i, "a");
	next_is("a");
	next_is("a");
	ended("a", HOST_UNKNOWN, true);
	pass(1000);
	ended("a", HOST_UNKNOWN, true);
	(void)push(6, "b");
	next_is("b");
	next_is(NULL);
	pass(LEFT_BEHIND_MS - 1001);
	ck_assert_uint_eq(dispatched, 0);
	next_is(NULL);
	pass(2);
	ck_assert_uint_eq(dispatched, 1);
	next_is("a");
	next_is(NULL);
	pass(1000);
	ck_assert_uint_eq(dispatched, 2);
	next_is("a");
	next_is(NULL);
	ck_assert(!timer.set);
}
END_TEST

/* There are not more and more threads of libcurl, however many hosts have no name server. */
START_TEST(too_many_left_behind)
{
	char name[16];

	for (size_t i = 0; i < LEFT_BEHIND_MAX; i++) {
		(void)snprintf(name, sizeof(name), "h%zu", i);
		(void)push(i, name);
		next_is(name);
		ended(name, HOST_SILENT, true);
	}
	(void)push(REQUESTS - 1, "b");
	next_is(NULL);
	pass(LEFT_BEHIND_MS + 1);
	next_is("b");
}
END_TEST

START_TEST(who_is_remembered)
{
	char name[16];

	for (size_t i = 0; i < REQUESTS; i++) {
		(void)snprintf(name, sizeof(name), "h%zu", i);
		(void)push(i, name);
		next_is(name);
		ended(name, HOST_SILENT, false);
	}
	ck_assert_uint_eq(p->n_idle, HOSTS_IDLE);
	/* the last ones, and that they were silent */
	ck_assert(host_get(p, name)->ailing);
	ck_assert(!host_get(p, "h0")->ailing);
	/* one that is asked again is not among those that may be forgotten */
	(void)push(0, name);
	ck_assert_uint_eq(p->n_idle, HOSTS_IDLE - 1);
	host_queue_remove(p, &requests[0]);
	host_release(p, requests[0].host);
	ck_assert_uint_eq(p->n_idle, HOSTS_IDLE);
}
END_TEST

START_TEST(the_slowest)
{
	(void)push(0, "a");
	(void)push(1, "b");
	next_is("a");
	next_is("b");
	host_ended(p, host_get(p, "a"), 100, HOST_ANSWERED, false);
	host_ended(p, host_get(p, "b"), 90, HOST_ANSWERED, false);
	hosts_publish(p);
	ck_assert_str_eq(p->c.slowest, "a");
	ck_assert_uint_eq(p->c.slowest_ms, 100);
}
END_TEST

UNIT_TESTS(hosts)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, turns);
	tcase_add_test(tc, who_was_silent_gets_one);
	tcase_add_test(tc, left_behind);
	tcase_add_test(tc, too_many_left_behind);
	tcase_add_test(tc, who_is_remembered);
	tcase_add_test(tc, the_slowest);
}
