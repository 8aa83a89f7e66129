/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin as it was built, in the loader, with libcurl, a web server of the test's own (test_web.h), and names that lead there. */

#include "config.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/err.h"
#include "libcore/plugin/loader.h"

#include "unit.h"
#include "test_web.h"

#define REQUESTS 1000
#define LONG_MS  3000000 /* a deadline that is not reached */

static struct env env;
static struct log *logger;
static struct crypto *crypto;
static struct bus *bus;
static struct settings *settings;
static struct plugins *plugins;
static const struct cy_fetch_ops *ops;
static void *plugin;
static struct web *web;

/* --- names ------------------------------------------------------------------------------------------------------------------ */

/* Who asks for a name in dead.test or slow.test waits for its name server; the latter answers in the end. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned asking;
	bool released;
} dead = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct timespec in_a_minute(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 60;
	return t;
}

static void ask_dead(void)
{
	struct timespec until = in_a_minute();
	int e = 0;

	pthread_mutex_lock(&dead.lock);
	dead.asking++;
	pthread_cond_broadcast(&dead.changed);
	while (!dead.released && e == 0)
		e = pthread_cond_timedwait(&dead.changed, &dead.lock, &until);
	dead.asking--;
	pthread_cond_broadcast(&dead.changed);
	pthread_mutex_unlock(&dead.lock);
}

static void wait_asking(unsigned n)
{
	struct timespec until = in_a_minute();
	int e = 0;

	pthread_mutex_lock(&dead.lock);
	while (dead.asking != n && e == 0)
		e = pthread_cond_timedwait(&dead.changed, &dead.lock, &until);
	pthread_mutex_unlock(&dead.lock);
	ck_assert_msg(e == 0, "%u names are asked for", dead.asking);
}

static void release_dead(void)
{
	pthread_mutex_lock(&dead.lock);
	dead.released = true;
	pthread_cond_broadcast(&dead.changed);
	pthread_mutex_unlock(&dead.lock);
	wait_asking(0);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* libcurl finds this one before the C library's. */
__attribute__((visibility("default"))) int getaddrinfo(
    const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	int (*next)(const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r);

	*(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
	if (node && ends_with(node, "dead.test")) {
		ask_dead();
		return EAI_AGAIN;
	}
	if (node && ends_with(node, "slow.test"))
		ask_dead();
	if (node && ends_with(node, "none.test"))
		return EAI_NONAME;
	if (node && ends_with(node, ".test"))
		node = "127.0.0.1";
	return next(node, service, hints, res);
}

/* --- answers ---------------------------------------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct got {
		uint32_t n, result;
		size_t size;
		uint8_t *body;
		char reason[512];
	} by_id[REQUESTS];
	uint32_t total;
} got = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

#define STALLS (REQUESTS - 1) /* whose answer takes its time */

static void on_answer(void *to, uint64_t id, const struct cy_fetch_answer *a)
{
	struct got *g = &got.by_id[id];

	EXPECT(to == &got && id < REQUESTS);
	if (id == STALLS)
		(void)nanosleep(&(struct timespec){2, 600000000}, NULL);
	pthread_mutex_lock(&got.lock);
	g->n++;
	g->result = a->result;
	g->size = a->body.n;
	free(g->body);
	g->body = malloc(a->body.n + 1);
	EXPECT(g->body && a->reason && (a->result == CY_FETCH_OK) == (a->body.p != NULL));
	if (a->body.n)
		memcpy(g->body, a->body.p, a->body.n);
	g->body[a->body.n] = '\0';
	snprintf(g->reason, sizeof(g->reason), "%s", a->reason);
	got.total++;
	pthread_cond_broadcast(&got.more);
	pthread_mutex_unlock(&got.lock);
}

static void wait_total(uint32_t n)
{
	struct timespec until = in_a_minute();
	int e = 0;

	pthread_mutex_lock(&got.lock);
	while (got.total < n && e == 0)
		e = pthread_cond_timedwait(&got.more, &got.lock, &until);
	pthread_mutex_unlock(&got.lock);
	ck_assert_msg(e == 0, "%u of %u answers", got.total, n);
}

static void start(const char *more)
{
	char conf[1024];

	snprintf(conf, sizeof(conf), "plugins {\n curl {\n%s\n}\n}\n", more);
	ck_assert_int_eq(settings_load_text(conf, "t", NULL, NULL, &settings), CY_OK);
	const struct plugins_config cfg = {
	    .env = &env,
	    .log = logger,
	    .settings = settings,
	    .crypto = crypto,
	    .bus = bus,
	    .dir = BUILD_DIR "/.libs",
	    .load = "curl!",
	};
	ck_assert_int_eq(plugins_load(&cfg, &plugins), CY_OK);
	ops = plugins_find(plugins, CY_KIND_FETCHER, "curl", &plugin);
	ck_assert_ptr_nonnull(ops);
}

static void stop(void)
{
	plugins_free(plugins);
	plugins = NULL;
}

static void setup(void)
{
	env_real(&env);
	ck_assert_int_eq(log_new(&env, &logger), CY_OK);
	ck_assert_int_eq(log_start(logger), CY_OK);
	ck_assert_int_eq(crypto_new(logger, &crypto), CY_OK);
	ck_assert_int_eq(bus_new(&env, &bus), CY_OK);
	web = web_start();
}

static void teardown(void)
{
	if (plugins)
		stop();
	release_dead();
	dead.released = false;
	web_stop(web);
	settings_unref(settings);
	bus_free(bus);
	crypto_free(crypto);
	log_free(logger);
	for (size_t i = 0; i < REQUESTS; i++)
		free(got.by_id[i].body);
	memset(got.by_id, 0, sizeof(got.by_id));
	got.total = 0;
}

struct ask {
	uint64_t id;
	const char *url, *post;
	uint64_t max;
	uint32_t deadline_ms;
};

static void begin(const struct ask *a)
{
	const struct cy_fetch_request r = {.size = sizeof(r),
	    .deadline_ms = a->deadline_ms ? a->deadline_ms : LONG_MS,
	    .id = a->id,
	    .url = a->url,
	    .post = cy_slice_str(a->post),
	    .content_type = a->post ? "application/ocsp-request" : NULL,
	    .max_bytes = a->max ? a->max : 1000000,
	    .answer = on_answer,
	    .to = &got};

	ops->begin(plugin, &r);
}

/* A URL of the server. */
static const char *at(const char *host, const char *path)
{
	static _Thread_local char url[512];

	snprintf(url, sizeof(url), "http://%s:%u%s", host, web_port(web), path);
	return url;
}

static const struct got *wait_answer(uint64_t id)
{
	struct timespec until = in_a_minute();
	int e = 0;

	pthread_mutex_lock(&got.lock);
	while (got.by_id[id].n == 0 && e == 0)
		e = pthread_cond_timedwait(&got.more, &got.lock, &until);
	pthread_mutex_unlock(&got.lock);
	ck_assert_msg(
	    e == 0 && got.by_id[id].n == 1, "%u answers to request %u", got.by_id[id].n, (unsigned)id);
	return &got.by_id[id];
}

static const struct got *fetch_as(struct ask a)
{
	begin(&a);
	return wait_answer(a.id);
}

static const struct got *fetch(uint64_t id, const char *host, const char *path)
{
	return fetch_as((struct ask){.id = id, .url = at(host, path)});
}

static void is_ok(const struct got *g, size_t n)
{
	ck_assert_msg(g->result == CY_FETCH_OK, "%u %s", g->result, g->reason);
	ck_assert_uint_eq(g->size, n);
	for (size_t i = 0; i < n; i++)
		EXPECT(g->body[i] == web_byte(i));
}

static void is_failure(const struct got *g, uint32_t result, const char *reason)
{
	ck_assert_msg(g->result == result && strstr(g->reason, reason), "%u \"%s\", not %u \"%s\"", g->result,
	    g->reason, result, reason);
}

static const char *status(void)
{
	static char text[1024];

	ck_assert_int_lt(ops->status(plugin, text, sizeof(text)), (int)sizeof(text));
	return text;
}

/* Until the status says so: what the plugin's thread does is not seen otherwise. */
static void wait_status(const char *what)
{
	for (int i = 0; i < 6000 && !strstr(status(), what); i++)
		(void)nanosleep(&(struct timespec){0, 10000000}, NULL);
	ck_assert_msg(strstr(status(), what) != NULL, "no \"%s\" in: %s", what, status());
}

/* --- tests ------------------------------------------------------------------------------------------------------------------ */

START_TEST(bodies)
{
	start("");
	is_ok(fetch(1, "a.test", "/ok/0"), 0);
	is_ok(fetch(2, "a.test", "/ok/10"), 10);
	is_ok(fetch(3, "a.test", "/ok/999999"), 999999);
	is_ok(fetch(4, "a.test", "/chunked/0"), 0);
	is_ok(fetch(5, "a.test", "/chunked/123456"), 123456);
	is_ok(fetch(6, "127.0.0.1", "/ok/10"), 10);
	is_ok(fetch(7, "localhost", "/ok/10"), 10);
	ck_assert_ptr_nonnull(
	    strstr(status(), "7 done, 0 failed, 0 late, 0 not taken, 0 cancelled, 1123485 bytes"));
}
END_TEST

START_TEST(failures)
{
	static const struct {
		const char *host, *path;
		uint32_t result;
		const char *reason;
	} cases[] = {
	    {"a.test", "/status/404", CY_FETCH_FAILED, "a.test: it answered with HTTP status 404"},
	    {"a.test", "/status/500", CY_FETCH_FAILED, "a.test: it answered with HTTP status 500"},
	    {"a.test", "/status/204", CY_FETCH_FAILED, "a.test: it answered with HTTP status 204"},
	    {"a.test", "/status/203", CY_FETCH_FAILED, "a.test: it answered with HTTP status 203"},
	    {"a.test", "/status/304", CY_FETCH_FAILED, "a.test: it answered with HTTP status 304"},
	    {"a.test", "/endless404", CY_FETCH_FAILED, "a.test: it answered with HTTP status 404"},
	    {"a.test", "/loop", CY_FETCH_FAILED, "a.test: it redirects more than 3 times"},
	    {"a.test", "/to/file:///etc/passwd", CY_FETCH_FAILED, "neither http nor https"},
	    {"a.test", "/to/ftp://a.test/x", CY_FETCH_FAILED, "neither http nor https"},
	    {"a.test", "/to/gopher://127.0.0.1:1/x", CY_FETCH_FAILED, "neither http nor https"},
	    {"a.test", "/to/http://x.none.test/", CY_FETCH_FAILED, "Could not resolve host: x.none.test"},
	    {"a.test", "/short", CY_FETCH_FAILED, "a.test: the connection ended before"},
	    {"a.test", "/close", CY_FETCH_FAILED, "a.test: the connection ended before"},
	    {"x.none.test", "/ok/1", CY_FETCH_FAILED, "x.none.test: Could not resolve host"},
	    {"a.test", "/huge", CY_FETCH_TOO_BIG, "a.test: the answer is larger than 1000000 bytes"},
	    {"a.test", "/endless", CY_FETCH_TOO_BIG, "a.test: the answer is larger than 1000000 bytes"},
	    {"a.test", "/ok/1000001", CY_FETCH_TOO_BIG, "larger than 1000000 bytes"},
	    {"a.test", "/chunked/1000001", CY_FETCH_TOO_BIG, "larger than 1000000 bytes"},
	    {"a.test", "/headers", CY_FETCH_TOO_BIG, "a.test: its headers are larger"},
	};

	start("");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		is_failure(fetch(i, cases[i].host, cases[i].path), cases[i].result, cases[i].reason);
	is_ok(fetch(100, "a.test", "/ok/1000000"), 1000000);
}
END_TEST

START_TEST(urls_that_are_not_fetched)
{
	static const struct {
		const char *url, *reason;
	} cases[] = {
	    {"file:///etc/passwd", "neither of http nor of https"},
	    {"ldap://127.0.0.1/cn=x?certificateRevocationList", "neither of http nor of https"},
	    {"ftp://a.test/x", "neither of http nor of https"},
	    {"smtp://a.test", "neither of http nor of https"},
	    {"", "no URL"},
	    {"nonsense", "no URL"},
	    {"http://", "no URL"},
	    {"http://a.test:99999/", "no URL"},
	    {"http://a b/", "no URL"},
	};

	start("");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		is_failure(
		    fetch_as((struct ask){.id = i, .url = cases[i].url}), CY_FETCH_FAILED, cases[i].reason);
	is_failure(fetch(50, "user:secret@a.test", "/ok/1"), CY_FETCH_FAILED, "a.test: ");
	is_failure(fetch_as((struct ask){.id = 51, .url = "http://127.0.0.1:1/"}), CY_FETCH_FAILED,
	    "127.0.0.1: cannot connect: Connection refused");
	/* who speaks no TLS is not asked without */
	snprintf(got.by_id[99].reason, sizeof(got.by_id[99].reason), "https%s", at("a.test", "/ok/1") + 4);
	ck_assert_uint_eq(
	    fetch_as((struct ask){.id = 52, .url = got.by_id[99].reason})->result, CY_FETCH_FAILED);
}
END_TEST

START_TEST(redirects)
{
	char path[600];

	start("");
	snprintf(path, sizeof(path), "/to/%s", at("b.test", "/ok/10"));
	is_ok(fetch(1, "a.test", path), 10);
	is_ok(fetch(2, "a.test", "/to//to//ok/7"), 7);
	/* what one server sets, nobody is told later */
	ck_assert_uint_eq(fetch(3, "a.test", "/cookie")->result, CY_FETCH_OK);
	ck_assert_uint_eq(got.by_id[3].size, 0);
	ck_assert_uint_eq(fetch(4, "a.test", "/cookies")->size, 0);
}
END_TEST

START_TEST(posts)
{
	const struct got *g;

	start("");
	g = fetch_as((struct ask){.id = 1, .url = at("a.test", "/echo"), .post = "question"});
	ck_assert_uint_eq(g->result, CY_FETCH_OK);
	ck_assert_str_eq((const char *)g->body, "application/ocsp-request|question");
	/* elsewhere, too */
	g = fetch_as((struct ask){.id = 2, .url = at("a.test", "/to//echo"), .post = "question"});
	ck_assert_uint_eq(g->result, CY_FETCH_OK);
	ck_assert_str_eq((const char *)g->body, "application/ocsp-request|question");
}
END_TEST

START_TEST(deadlines)
{
	const uint32_t ms = 3000;

	start("host_transfers = 1\n connect_timeout = 10m");
	begin(&(struct ask){.id = 1, .url = at("d.test", "/never")});
	ck_assert(web_wait_holding(web, 1));
	begin(&(struct ask){.id = 2, .url = at("a.test", "/never"), .deadline_ms = ms});
	begin(&(struct ask){.id = 3, .url = at("b.test", "/drip"), .deadline_ms = ms});
	begin(&(struct ask){.id = 4, .url = "http://x.dead.test/", .deadline_ms = ms});
	begin(&(struct ask){.id = 5, .url = at("d.test", "/ok/1"), .deadline_ms = ms});
	is_failure(wait_answer(2), CY_FETCH_LATE, "a.test: there was no answer after 3000 ms");
	is_failure(wait_answer(3), CY_FETCH_LATE, "b.test: the answer was not complete after 3000 ms");
	is_failure(wait_answer(4), CY_FETCH_LATE, "x.dead.test: no name server had answered after 3000 ms");
	is_failure(wait_answer(5), CY_FETCH_LATE, "d.test: its turn had not come after 3000 ms");
	wait_status("1 transfers, 0 requests wait, 0 done, 0 failed, 4 late");
	ck_assert_ptr_nonnull(strstr(status(), "1 names still asked for"));
}
END_TEST

START_TEST(settings_of_time)
{
	start("deadline = 300ms");
	is_failure(fetch(1, "a.test", "/never"), CY_FETCH_LATE, "after 300 ms");
	stop();
	settings_unref(settings);
	start("connect_timeout = 100ms");
	is_failure(fetch(2, "x.dead.test", "/"), CY_FETCH_FAILED,
	    "x.dead.test: no name server had answered after 100 ms");
	wait_asking(1);
}
END_TEST

/* Also where the plugin's thread comes late, libcurl is not the one who gives up a name: it would leave its thread behind. */
START_TEST(a_late_thread)
{
	start("connect_timeout = 200ms");
	begin(&(struct ask){.id = 1, .url = at("b.test", "/drip")});
	ck_assert(web_wait_holding(web, 1));
	begin(&(struct ask){.id = 2, .url = "http://x.dead.test/"});
	begin(&(struct ask){.id = STALLS, .url = at("a.test", "/ok/1")});
	is_failure(wait_answer(2), CY_FETCH_FAILED, "x.dead.test: no name server had answered after 200 ms");
	wait_status("1 names still asked for");
	is_ok(wait_answer(STALLS), 1);
}
END_TEST

/* Neither names that nobody knows nor hosts that do not answer hold up who wants something else, and not the end either. */
START_TEST(dead_names)
{
	start("transfers = 6\n host_transfers = 2");
	for (uint64_t i = 0; i < 50; i++)
		begin(&(struct ask){.id = i, .url = "http://x.dead.test/"});
	for (uint64_t i = 50; i < 60; i++)
		begin(&(struct ask){.id = i, .url = at("c.test", "/never")});
	ck_assert(web_wait_holding(web, 2));
	wait_asking(2);
	for (uint64_t i = 100; i < 110; i++)
		is_ok(fetch(i, "a.test", "/ok/10"), 10);
	ck_assert_ptr_nonnull(strstr(status(), "4 transfers, 56 requests wait, 10 done"));
	/* nobody waits for a thread of libcurl; but there are not more and more of them */
	for (uint64_t i = 0; i < 2; i++)
		ops->cancel(plugin, i);
	wait_status("2 names still asked for");
	is_ok(fetch(110, "b.test", "/ok/10"), 10);
	wait_asking(2);
	ck_assert_ptr_nonnull(strstr(status(), "2 transfers, 56 requests wait"));
	stop();
	wait_asking(2);
	ck_assert_uint_eq(got.total, 11);
}
END_TEST

/* What was given up while a name was asked for is over when there is an answer, whatever it is. */
START_TEST(late_names)
{
	start("host_transfers = 1");
	begin(&(struct ask){.id = 1, .url = "http://x.dead.test/"});
	begin(&(struct ask){.id = 2, .url = at("x.slow.test", "/never")});
	begin(&(struct ask){.id = 3, .url = at("x.slow.test", "/ok/10")});
	wait_asking(2);
	ops->cancel(plugin, 1);
	ops->cancel(plugin, 2);
	wait_status("0 transfers, 1 requests wait");
	ck_assert_ptr_nonnull(strstr(status(), "2 names still asked for"));
	release_dead();
	is_ok(wait_answer(3), 10);
	wait_status("0 names still asked for");
	ck_assert_uint_eq(web_most_holding(web), 0);
	ck_assert_uint_eq(got.total, 1);
}
END_TEST

START_TEST(a_host_has_its_share)
{
	start("transfers = 10\n host_transfers = 3");
	for (uint64_t i = 0; i < 10; i++)
		begin(&(struct ask){.id = i, .url = at("a.test", "/never")});
	ck_assert(web_wait_holding(web, 3));
	for (uint64_t i = 10; i < 20; i++)
		is_ok(fetch(i, "b.test", "/ok/10"), 10);
	ck_assert_uint_eq(web_most_holding(web), 3);
	/* one goes, one comes */
	for (uint64_t i = 0; i < 7; i++)
		ops->cancel(plugin, i);
	wait_status("3 transfers, 0 requests wait");
	ck_assert(web_wait_holding(web, 3));
	ck_assert_uint_eq(got.total, 10);
}
END_TEST

/* A host that did not answer is asked by one at a time, until it does. */
START_TEST(an_ailing_host)
{
	start("");
	begin(&(struct ask){.id = 1, .url = at("a.test", "/never"), .deadline_ms = 3000});
	ck_assert(web_wait_holding(web, 1));
	is_failure(wait_answer(1), CY_FETCH_LATE, "a.test: ");
	ck_assert(web_wait_holding(web, 0));
	for (uint64_t i = 2; i < 7; i++)
		begin(&(struct ask){.id = i, .url = at("a.test", "/never")});
	ck_assert(web_wait_holding(web, 1));
	is_ok(fetch(7, "b.test", "/ok/1"), 1);
	ck_assert_uint_eq(web_most_holding(web), 1);
	for (uint64_t i = 2; i < 7; i++)
		ops->cancel(plugin, i);
	is_ok(fetch(8, "a.test", "/ok/1"), 1);
	for (uint64_t i = 9; i < 13; i++)
		begin(&(struct ask){.id = i, .url = at("a.test", "/never")});
	ck_assert(web_wait_holding(web, 4));
}
END_TEST

START_TEST(full_queues)
{
	start("transfers = 2\n host_transfers = 1\n queue = 5\n host_queue = 3");
	begin(&(struct ask){.id = 0, .url = at("a.test", "/never")});
	ck_assert(web_wait_holding(web, 1));
	for (uint64_t i = 1; i < 4; i++)
		begin(&(struct ask){.id = i, .url = at("a.test", "/never")});
	is_failure(fetch(4, "a.test", "/never"), CY_FETCH_BUSY, "plugins.curl.host_queue");
	is_ok(fetch(5, "b.test", "/ok/1"), 1);
	begin(&(struct ask){.id = 6, .url = at("b.test", "/never")});
	ck_assert(web_wait_holding(web, 2));
	begin(&(struct ask){.id = 7, .url = at("b.test", "/never")});
	begin(&(struct ask){.id = 8, .url = at("b.test", "/never")});
	is_failure(fetch(9, "c.test", "/ok/1"), CY_FETCH_BUSY, "plugins.curl.queue");
	wait_status("2 transfers, 5 requests wait, 1 done, 0 failed, 0 late, 2 not taken");
}
END_TEST

static void *begin_some(void *arg)
{
	uint64_t first = *(const uint64_t *)arg;

	for (uint64_t id = first; id < STALLS; id += 4) {
		char host[32], path[32];

		snprintf(host, sizeof(host), "h%u.test", (unsigned)(id % 20));
		snprintf(path, sizeof(path), "/%s/%u", id % 3 ? "ok" : "chunked", (unsigned)(id * 31));
		begin(&(struct ask){.id = id, .url = at(host, id % 10 ? path : "/status/404")});
	}
	return NULL;
}

START_TEST(a_thousand_at_once)
{
	const uint64_t first[] = {0, 1, 2, 3};
	pthread_t t[4];

	start("queue = 1000\n");
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, begin_some, (void *)(uintptr_t)&first[i]), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	wait_total(STALLS);
	for (size_t i = 0; i < STALLS; i++) {
		ck_assert_uint_eq(got.by_id[i].n, 1);
		if (i % 10)
			is_ok(&got.by_id[i], i * 31);
		else
			is_failure(&got.by_id[i], CY_FETCH_FAILED, "404");
	}
	wait_status("0 transfers, 0 requests wait, 899 done, 100 failed");
}
END_TEST

static void *cancel_all(void *arg)
{
	for (uint64_t id = 0; id < 400; id++)
		ops->cancel(plugin, id);
	return NULL;
}

/* At any time: before its turn, in any state, after its end, and while others do the same. */
START_TEST(cancelled)
{
	static const char *const paths[] = {"/ok/100000", "/never", "/drip", "/chunked/5000", "/loop"};
	pthread_t t;

	start("transfers = 8\n host_transfers = 8");
	for (uint64_t i = 0; i < 400; i++) {
		char host[32];

		snprintf(host, sizeof(host), "h%u.%stest", (unsigned)(i % 7), i % 16 == 15 ? "dead." : "");
		begin(&(struct ask){.id = i, .url = at(host, paths[i % ARRAY_LEN(paths)])});
		if (i % 3 == 0)
			ops->cancel(plugin, i / 2);
		if (i == 200)
			ck_assert_int_eq(pthread_create(&t, NULL, cancel_all, NULL), 0);
	}
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	(void)cancel_all(NULL);
	wait_status("0 transfers, 0 requests wait");
	ck_assert(web_wait_holding(web, 0));
	is_ok(fetch(500, "a.test", "/ok/10"), 10);
	is_ok(fetch(501, "h1.test", "/ok/10"), 10);
	for (size_t i = 0; i < 400; i++)
		ck_assert_uint_le(got.by_id[i].n, 1);
}
END_TEST

START_TEST(unloaded_while_at_work)
{
	start("");
	for (uint64_t i = 0; i < 40; i++)
		begin(&(struct ask){
		    .id = i, .url = at(i % 2 ? "a.test" : "b.test", i % 4 ? "/never" : "/drip")});
	ck_assert(web_wait_holding(web, 8));
	ops->cancel(plugin, 39);
	stop();
	ck_assert(web_wait_holding(web, 0));
	ck_assert_uint_eq(got.total, 0);
	/* and with what nobody has looked at yet */
	settings_unref(settings);
	start("");
	for (uint64_t i = 0; i < 40; i++)
		begin(&(struct ask){.id = i, .url = at("a.test", "/never")});
	ops->cancel(plugin, 0);
	stop();
	ck_assert(web_wait_holding(web, 0));
	ck_assert_uint_eq(got.total, 0);
}
END_TEST

START_TEST(from_where)
{
	start("interface = 127.0.0.1\n deadline = 2s");
	/* libcurl reads it as it does a name, the first time */
	is_failure(fetch(4, "a.test", "/never"), CY_FETCH_LATE, "a.test: there was no answer after 2000 ms");
	ck_assert_ptr_nonnull(strstr(status(), "0 names still asked for"));
	is_ok(fetch(1, "a.test", "/ok/10"), 10);
	stop();
	settings_unref(settings);
	start("interface = lo");
	is_ok(fetch(2, "a.test", "/ok/10"), 10);
	stop();
	settings_unref(settings);
	/* its name is not looked up */
	start("interface = x.dead.test");
	is_failure(fetch(3, "a.test", "/ok/10"), CY_FETCH_FAILED, "plugins.curl.interface");
	ck_assert_uint_eq(dead.asking, 0);
}
END_TEST

START_TEST(proxies)
{
	char conf[128];

	/* what the daemon happens to have been started with counts only if that was asked for */
	ck_assert_int_eq(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	start("");
	is_ok(fetch(1, "a.test", "/ok/10"), 10);
	stop();
	settings_unref(settings);
	start("proxy = environment");
	is_failure(fetch(2, "a.test", "/ok/10"), CY_FETCH_FAILED, "cannot connect");
	stop();
	settings_unref(settings);
	ck_assert_int_eq(setenv("no_proxy", "*", 1), 0);
	snprintf(conf, sizeof(conf), "proxy = http://127.0.0.1:%u", web_port(web));
	start(conf);
	is_ok(fetch_as((struct ask){.id = 3, .url = "http://x.none.test/ok/10"}), 10);
	ck_assert_int_eq(unsetenv("http_proxy"), 0);
	ck_assert_int_eq(unsetenv("no_proxy"), 0);
}
END_TEST

UNIT_TESTS(curl)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bodies);
	tcase_add_test(tc, failures);
	tcase_add_test(tc, urls_that_are_not_fetched);
	tcase_add_test(tc, redirects);
	tcase_add_test(tc, posts);
	tcase_add_test(tc, deadlines);
	tcase_add_test(tc, settings_of_time);
	tcase_add_test(tc, a_late_thread);
	tcase_add_test(tc, dead_names);
	tcase_add_test(tc, late_names);
	tcase_add_test(tc, a_host_has_its_share);
	tcase_add_test(tc, an_ailing_host);
	tcase_add_test(tc, full_queues);
	tcase_add_test(tc, a_thousand_at_once);
	tcase_add_test(tc, cancelled);
	tcase_add_test(tc, unloaded_while_at_work);
	tcase_add_test(tc, from_where);
	tcase_add_test(tc, proxies);
}
