/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/env.h"
#include "libcore/base/log_ring.h"

static void sleep_ms(long ms)
{
	(void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

struct seen {
	uint32_t n, warnings; /* atomic */
	uint64_t last_ns;
	char last[LOG_TEXT_MAX];
	const uint32_t *gate; /* atomic: the sink blocks until it is set */
	bool ordered;
};

static void sink(void *user, const struct log_line *line)
{
	struct seen *s = user;

	while (s->gate && !__atomic_load_n(s->gate, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	if (s->ordered)
		EXPECT(line->ns >= s->last_ns);
	s->last_ns = line->ns;
	(void)snprintf(s->last, sizeof(s->last), "%s", line->text);
	if (line->level == CY_LOG_WARN)
		__atomic_fetch_add(&s->warnings, 1, __ATOMIC_RELEASE);
	__atomic_fetch_add(&s->n, 1, __ATOMIC_RELEASE);
}

static bool wait_seen(struct seen *s, uint32_t n)
{
	for (int i = 0; i < 5000; i++) {
		if (__atomic_load_n(&s->n, __ATOMIC_ACQUIRE) >= n)
			return true;
		sleep_ms(1);
	}
	return false;
}

struct fixture {
	struct env env;
	struct log *l;
};

static void fixture_init(struct fixture *f)
{
	env_real(&f->env);
	ck_assert_int_eq(log_new(&f->env, &f->l), CY_OK);
}

START_TEST(levels)
{
	struct fixture f;
	struct seen s = {0};

	fixture_init(&f);
	log_set_direct(f.l, sink, &s);
	ck_assert(log_enabled(f.l, LOG_IKE, CY_LOG_NOTICE));
	ck_assert(!log_enabled(f.l, LOG_IKE, CY_LOG_INFO));
	ck_assert(!log_enabled(NULL, LOG_IKE, CY_LOG_ERROR));
	log_level(f.l, LOG_IKE, CY_LOG_DEBUG);
	ck_assert(log_enabled(f.l, LOG_IKE, CY_LOG_DEBUG));
	ck_assert(!log_enabled(f.l, LOG_NET, CY_LOG_DEBUG));
	LOGF(f.l, LOG_NET, CY_LOG_DEBUG, NULL, "not %s", "this");
	log_write(f.l, LOG_NET, CY_LOG_DEBUG, NULL, "nor this");
	ck_assert_uint_eq(s.n, 0);
	LOGF(f.l, LOG_IKE, CY_LOG_DEBUG, NULL, "but %s %d", "this", 1);
	ck_assert_str_eq(s.last, "but this 1");
	log_free(f.l);
	log_free(NULL);
}
END_TEST

START_TEST(escaping)
{
	static const char *const cases[][2] = {
	    {"plain", "plain"},
	    {"two\nlines\r", "two\\nlines\\r"},
	    {"a\tb", "a\\tb"},
	    {"\x1b[31mred\x07", "\\x1b[31mred\\x07"},
	    {"m\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80", "m\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80"},
	    {"bad \xff\xc3", "bad \\xff\\xc3"},
	    {"c1 \xc2\x9b!", "c1 \\xc2\\x9b!"},
	    {"overlong \xc0\x8a", "overlong \\xc0\\x8a"},
	    {"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
	    {"turn \xe2\x80\xae", "turn \\xe2\\x80\\xae"},
	    {"del \x7f", "del \\x7f"},
	    {"back\\slash", "back\\slash"},
	};
	char out[100];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)log_escape(cases[i][0], strlen(cases[i][0]), out, sizeof(out));
		ck_assert_str_eq(out, cases[i][1]);
	}
	/* cut, always within bounds and never inside an escape or a character */
	for (size_t cap = 4; cap < 40; cap++) {
		memset(out, 'x', sizeof(out));
		ck_assert_uint_eq(
		    log_escape("\n\n\n\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\x01\x01", 14, out, cap),
		    strlen(out));
		ck_assert_uint_lt(strlen(out), cap);
	}
	ck_assert_uint_eq(log_escape("abcdefgh", 8, out, 8), 7);
	ck_assert_str_eq(out, "abcd...");
}
END_TEST

START_TEST(long_lines_and_context)
{
	struct fixture f;
	struct seen s = {0};
	char big[5000];

	fixture_init(&f);
	log_set_direct(f.l, sink, &s);
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_write(f.l, LOG_IKE, CY_LOG_ERROR, &(struct log_ctx){big, 1, big}, "%s", big);
	ck_assert_uint_gt(strlen(s.last), LOG_TEXT_MAX - 10);
	ck_assert_str_eq(s.last + strlen(s.last) - 3, "...");
	log_free(f.l);
}
END_TEST

START_TEST(format)
{
	struct log_line line = {.wall = 1700000000,
	    .group = LOG_NET,
	    .thread = 3,
	    .ike_id = 7,
	    .conn = "home",
	    .user = "",
	    .text = "sending packet"};
	char out[200];

	(void)setenv("TZ", "UTC", 1);
	tzset();
	ck_assert_uint_eq(log_format(&line, out, sizeof(out)), strlen(out));
	ck_assert_str_eq(out, "Nov 14 22:13:20 03[NET] <home|7> sending packet");
	line.user = "alice";
	(void)log_format(&line, out, sizeof(out));
	ck_assert_str_eq(out, "Nov 14 22:13:20 03[NET] <home|7|alice> sending packet");
	line.user = "";
	line.ike_id = 0;
	(void)log_format(&line, out, sizeof(out));
	ck_assert_str_eq(out, "Nov 14 22:13:20 03[NET] <home> sending packet");
	line.conn = "";
	ck_assert_uint_eq(log_format(&line, out, 10), 9);
	ck_assert_str_eq(out, "Nov 14 22");
}
END_TEST

struct recent {
	int n;
	char first[64], last[64];
	int stop_after;
};

static bool note(void *user, const struct log_line *line)
{
	struct recent *r = user;

	if (r->n++ == 0)
		(void)snprintf(r->first, sizeof(r->first), "%s", line->text);
	(void)snprintf(r->last, sizeof(r->last), "%s", line->text);
	return r->n != r->stop_after;
}

START_TEST(recent_lines)
{
	struct fixture f;
	struct recent r = {0};
	struct seen s = {0};

	fixture_init(&f);
	log_set_direct(f.l, sink, &s);
	log_recent(f.l, 10, note, &r);
	ck_assert_int_eq(r.n, 0);
	for (int i = 0; i < 1500; i++)
		log_write(f.l, LOG_DMN, CY_LOG_ERROR, NULL, "line %d", i);
	log_recent(f.l, SIZE_MAX, note, &r);
	ck_assert_int_eq(r.n, LOG_RECENT);
	ck_assert_str_eq(r.first, "line 500");
	ck_assert_str_eq(r.last, "line 1499");
	r = (struct recent){.stop_after = 2};
	log_recent(f.l, 5, note, &r);
	ck_assert_int_eq(r.n, 2);
	ck_assert_str_eq(r.first, "line 1495");
	log_free(f.l);
}
END_TEST

START_TEST(ring)
{
	struct ring *r = calloc(1, sizeof(*r));
	char text[3000];
	struct log_line line = {.conn = "c", .user = NULL, .text = text}, got;
	uint64_t in = 0, out = 0, seed = 3;

	/* random lengths, many times round */
	for (int step = 0; step < 200000; step++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		if (seed >> 63) {
			size_t n = (seed >> 40) % 2900;

			memset(text, 'a' + (int)(in % 26), n);
			text[n] = '\0';
			line.ns = in;
			if (ring_put(r, &line))
				in++;
		} else if (!ring_empty(r)) {
			EXPECT(ring_time(r) == out);
			ring_peek(r, &got);
			EXPECT(got.ns == out && strcmp(got.conn, "c") == 0 && got.user[0] == '\0');
			for (const char *p = got.text; *p; p++)
				EXPECT(*p == 'a' + (char)(out % 26));
			ring_drop(r);
			out++;
		}
	}
	EXPECT(out > 10000 && in - out < 10000);
	free(r);
}
END_TEST

#define THREADS 4
#define PER     3000
static void *write_many(void *arg)
{
	for (int i = 0; i < PER; i++) {
		log_write(arg, LOG_JOB, CY_LOG_ERROR, &(struct log_ctx){"conn", 5, "user"}, "line %d", i);
		if (i % 100 == 0)
			sleep_ms(1);
	}
	return NULL;
}

START_TEST(many_threads)
{
	struct fixture f;
	struct seen fast = {0}, slow = {0};
	pthread_t t[THREADS];
	uint64_t dropped;

	fixture_init(&f);
	ck_assert_int_eq(log_add_sink(f.l, "fast", sink, &fast, false), CY_OK);
	ck_assert_int_eq(log_start(f.l), CY_OK);
	ck_assert_int_eq(log_add_sink(f.l, "slow", sink, &slow, true), CY_OK);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, write_many, f.l);
	for (int i = 0; i < 20; i++) {
		struct recent r = {0};

		log_recent(f.l, 50, note, &r);
		(void)log_dropped(f.l);
		log_level(f.l, LOG_IKE, i % 2 ? CY_LOG_DEBUG : CY_LOG_INFO);
		sleep_ms(1);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	/* every line came to either sink, or was counted */
	dropped = log_dropped(f.l);
	ck_assert(wait_seen(&fast, (uint32_t)(THREADS * PER - dropped)));
	log_free(f.l);
	ck_assert_uint_le(fast.n, THREADS * PER + 100);
	ck_assert_uint_ge(slow.n, 1);
}
END_TEST

START_TEST(flushed_at_the_end)
{
	struct fixture f;
	struct seen s = {.ordered = true}, slow = {0};

	fixture_init(&f);
	ck_assert_int_eq(log_add_sink(f.l, "x", sink, &s, false), CY_OK);
	ck_assert_int_eq(log_add_sink(f.l, "y", sink, &slow, true), CY_OK);
	/* not even started: nothing is lost */
	for (int i = 0; i < 100; i++)
		log_write(f.l, LOG_DMN, CY_LOG_ERROR, NULL, "line %d", i);
	log_free(f.l);
	ck_assert_uint_eq(s.n, 100);
	ck_assert_uint_eq(slow.n, 100);
	ck_assert_str_eq(s.last, "line 99");
}
END_TEST

/* A sink that blocks for ever delays neither who logs nor other sinks nor the end; _i: slow or not. */
START_TEST(blocked_sink)
{
	struct fixture f;
	static uint32_t gate; /* static: the sink's thread is left behind */
	static struct seen bad, good;

	bad.gate = &gate;
	fixture_init(&f);
	ck_assert_int_eq(log_add_sink(f.l, "bad", sink, &bad, true), CY_OK);
	ck_assert_int_eq(log_add_sink(f.l, "good", sink, &good, _i), CY_OK);
	ck_assert_int_eq(log_start(f.l), CY_OK);
	for (int i = 0; i < 6000; i++) {
		log_write(f.l, LOG_DMN, CY_LOG_ERROR, NULL, "line %d", i);
		if (i % 100 == 0)
			ck_assert(wait_seen(&good, (uint32_t)i));
	}
	ck_assert(wait_seen(&good, 6000));
	ck_assert_uint_gt(log_dropped(f.l), 0); /* the blocked one's queue overflowed */
	log_free(f.l);
	ck_assert_uint_eq(bad.n, 0); /* it blocks still, and was not waited for */
	__atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
	sleep_ms(300); /* it finds its way out alone */
}
END_TEST

/* Even a sink that said it was quick. */
START_TEST(blocked_writer)
{
	struct fixture f;
	static uint32_t gate;
	static struct seen bad;

	bad.gate = &gate;
	fixture_init(&f);
	ck_assert_int_eq(log_add_sink(f.l, "bad", sink, &bad, false), CY_OK);
	ck_assert_int_eq(log_start(f.l), CY_OK);
	for (int i = 0; i < 20000; i++)
		log_write(f.l, LOG_DMN, CY_LOG_ERROR, NULL, "a line of some length, number %d", i);
	ck_assert_uint_gt(log_dropped(f.l), 10000);
	log_free(f.l);
	ck_assert_uint_eq(bad.n, 0); /* nor does the end wait for it */
	__atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
	sleep_ms(100);
}
END_TEST

/* Who loses lines is told how many. */
START_TEST(loss_is_reported)
{
	struct fixture f;
	uint32_t gate = 0;
	struct seen s = {.gate = &gate};
	uint64_t dropped;

	fixture_init(&f);
	ck_assert_int_eq(log_add_sink(f.l, "s", sink, &s, false), CY_OK);
	ck_assert_int_eq(log_start(f.l), CY_OK);
	for (int i = 0; i < 5000; i++)
		log_write(f.l, LOG_DMN, CY_LOG_ERROR, NULL, "a line of some length, number %d", i);
	dropped = log_dropped(f.l);
	ck_assert_uint_gt(dropped, 0);
	__atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
	ck_assert(wait_seen(&s, (uint32_t)(5000 - dropped + 1)));
	log_free(f.l);
	ck_assert_uint_eq(s.warnings, 1);
	ck_assert_uint_eq(s.n, 5000 - dropped + 1);
	ck_assert_ptr_nonnull(strstr(s.last, "log lines lost"));
}
END_TEST

START_TEST(stderr_sink)
{
	int fds[2], old = dup(2);
	struct log_line line = {.group = LOG_CFG, .conn = "", .user = "", .text = "hello"};
	char out[200] = {0};

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(dup2(fds[1], 2), 2);
	log_sink_stderr(NULL, &line);
	ck_assert_int_eq(dup2(old, 2), 2);
	ck_assert_int_gt(read(fds[0], out, sizeof(out) - 1), 0);
	ck_assert_str_eq(strstr(out, "00[CFG]"), "00[CFG] hello\n");
	close(fds[0]);
	close(fds[1]);
	close(old);
}
END_TEST

UNIT_TESTS(log)
{
	tcase_add_test(tc, levels);
	tcase_add_test(tc, escaping);
	tcase_add_test(tc, long_lines_and_context);
	tcase_add_test(tc, format);
	tcase_add_test(tc, recent_lines);
	tcase_add_test(tc, ring);
	tcase_add_test(tc, many_threads);
	tcase_add_test(tc, flushed_at_the_end);
	tcase_add_loop_test(tc, blocked_sink, 0, 2);
	tcase_add_test(tc, blocked_writer);
	tcase_add_test(tc, loss_is_reported);
	tcase_add_test(tc, stderr_sink);
}
