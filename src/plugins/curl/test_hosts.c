/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is. */

#include <stdio.h>
#include <stdlib.h>

#include "fetcher.h"
#include "unit.h"

#define REQUESTS 600

static struct request requests[REQUESTS];
static struct plugin *p;

static void setup(void)
{
	p = calloc(1, sizeof(*p));
	ck_assert_ptr_nonnull(p);
	p->host_transfers = 2;
	pthread_mutex_init(&p->lock, NULL);
	TAILQ_INIT(&p->hosts);
	TAILQ_INIT(&p->turn);
	TAILQ_INIT(&p->idle);
}

static void teardown(void)
{
	hosts_fini(p);
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

static void ended(const char *name, enum host_word word, bool park)
{
	struct host *h = host_get(p, name);

	host_ended(p, h, 10, word);
	if (park)
		host_parked(p, h);
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

START_TEST(parked)
{
	for (size_t i = 0; i < 6; i++)
		(void)push(i, "a");
	next_is("a");
	next_is("a");
	ended("a", HOST_UNKNOWN, true);
	ended("a", HOST_UNKNOWN, true);
	(void)push(6, "b");
	next_is("b");
	next_is(NULL);
	host_unparked(p, host_get(p, "a"));
	next_is("a");
	next_is(NULL);
	host_unparked(p, host_get(p, "a"));
	next_is("a");
	next_is(NULL);
}
END_TEST

/* There are not more and more threads of libcurl, however many hosts have no name server. */
START_TEST(too_many_parked)
{
	char name[16];

	for (size_t i = 0; i < PARKED_MAX; i++) {
		(void)snprintf(name, sizeof(name), "h%zu", i);
		(void)push(i, name);
		next_is(name);
		ended(name, HOST_SILENT, true);
	}
	(void)push(REQUESTS - 1, "b");
	next_is(NULL);
	host_unparked(p, host_get(p, "h7"));
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
	host_ended(p, host_get(p, "a"), 100, HOST_ANSWERED);
	host_ended(p, host_get(p, "b"), 90, HOST_ANSWERED);
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
	tcase_add_test(tc, parked);
	tcase_add_test(tc, too_many_parked);
	tcase_add_test(tc, who_is_remembered);
	tcase_add_test(tc, the_slowest);
}
