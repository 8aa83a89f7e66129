/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd is told, seen from its socket. The test plays the daemon: it calls what the plugin asked to be called. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "journal.h"
#include "libcore/base/err.h"

#include <sys/uio.h>

#include "unit.h"

extern const struct cy_plugin cygnet_plugin;

struct fake_timer {
	uint32_t delay, period;
	void (*cb)(void *user);
	void *user;
};

static struct fake {
	int fd;
	char path[64], said[1024];
	void (*on_event)(void *user, const struct cy_event *ev);
	void *user;
	uint64_t mask;
	struct fake_timer timers[8];
	size_t n_timers;
	uint32_t slowest;
	const char *journal;
	const struct cy_log_sink *sink;
	void *plugin;
} f;

__attribute__((format(printf, 3, 4))) static void host_log(
    void *self, enum cy_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.said, sizeof(f.said), fmt, ap);
	va_end(ap);
}

static const char *host_setting(void *self, const char *key, const char *fallback)
{
	return strcmp(key, "journal") == 0 && f.journal ? f.journal : fallback;
}

static int64_t host_setting_int(void *self, const char *key, int64_t fallback)
{
	return fallback;
}

static enum cy_err host_provide(void *self, enum cy_kind kind, const void *ops, void *plugin)
{
	ck_assert_int_eq(kind, CY_KIND_LOG_SINK);
	f.sink = ops;
	return CY_OK;
}

static uint64_t host_now(void *self)
{
	return 123456789000;
}

static enum cy_err host_subscribe(
    void *self, uint64_t mask, void (*cb)(void *user, const struct cy_event *ev), void *user)
{
	f.mask = mask;
	f.on_event = cb;
	f.user = user;
	return CY_OK;
}

static enum cy_err host_timer(
    void *self, uint32_t delay, uint32_t period, void (*cb)(void *user), void *user, struct cy_timer **out)
{
	ck_assert_uint_lt(f.n_timers, ARRAY_LEN(f.timers));
	f.timers[f.n_timers++] = (struct fake_timer){delay, period, cb, user};
	return CY_OK;
}

static uint32_t host_slowest(void *self)
{
	return f.slowest;
}

static const struct cy_host host = {
    .size = sizeof(host),
    .log = host_log,
    .setting = host_setting,
    .setting_int = host_setting_int,
    .provide = host_provide,
    .now_ns = host_now,
    .subscribe = host_subscribe,
    .timer = host_timer,
    .slowest_worker_ms = host_slowest,
};

static void setup(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	f = (struct fake){0};
	snprintf(f.path, sizeof(f.path), "/tmp/cygnet-notify-%d", (int)getpid());
	unlink(f.path);
	strcpy(sun.sun_path, f.path);
	f.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(f.fd, 0);
	ck_assert_int_eq(bind(f.fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	setenv("NOTIFY_SOCKET", f.path, 1);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	unsetenv("JOURNAL_STREAM");
}

static void teardown(void)
{
	if (f.plugin)
		cygnet_plugin.fini(f.plugin);
	close(f.fd);
	unlink(f.path);
}

static void start(void)
{
	ck_assert_int_eq(cygnet_plugin.init(&host, NULL, &f.plugin), CY_OK);
}

static void event(enum cy_event_kind kind)
{
	const struct cy_event ev = {.size = sizeof(ev), .kind = kind, .conn = "", .reason = ""};

	ck_assert(f.mask >> kind & 1);
	f.on_event(f.user, &ev);
}

/* The next message, "" when there is none. */
static const char *told(void)
{
	static char buf[512];
	ssize_t n = recv(f.fd, buf, sizeof(buf) - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

START_TEST(ready_only_when_ready)
{
	start();
	ck_assert_str_eq(told(), "");
	event(CY_EV_READY);
	ck_assert_str_eq(told(), "READY=1");
	ck_assert_str_eq(told(), "STATUS=0 IKE_SAs, 0 CHILD_SAs");
	event(CY_EV_STOPPING);
	ck_assert_str_eq(told(), "STOPPING=1\nSTATUS=Stopping");
	ck_assert_str_eq(told(), "");
}
END_TEST

START_TEST(reloading)
{
	start();
	event(CY_EV_READY);
	told();
	told();
	cygnet_plugin.reload(f.plugin);
	ck_assert_str_eq(told(), "RELOADING=1\nMONOTONIC_USEC=123456789\nSTATUS=Reloading the configuration");
	event(CY_EV_RELOADED);
	ck_assert_str_eq(told(), "READY=1");
	told();
	/* the end is told first: it must not be left reloading for ever */
	event(CY_EV_RELOADED);
	ck_assert_str_eq(told(), "READY=1");
	told();
	cygnet_plugin.reload(f.plugin);
	ck_assert_str_eq(told(), "");
}
END_TEST

START_TEST(status_counts)
{
	start();
	event(CY_EV_READY);
	told();
	told();
	event(CY_EV_IKE_UP);
	event(CY_EV_IKE_UP);
	event(CY_EV_CHILD_UP);
	event(CY_EV_IKE_DOWN);
	event(CY_EV_CHILD_DOWN);
	event(CY_EV_CHILD_DOWN);
	event(CY_EV_CHILD_UP);
	/* many changes, one message */
	ck_assert_str_eq(told(), "");
	ck_assert_uint_eq(f.n_timers, 1);
	f.timers[0].cb(f.timers[0].user);
	ck_assert_str_eq(told(), "STATUS=1 IKE_SAs, 1 CHILD_SAs");
}
END_TEST

START_TEST(watchdog)
{
	char pid[32];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_USEC", "3000000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	start();
	ck_assert_uint_eq(f.n_timers, 1);
	ck_assert_uint_eq(f.timers[0].period, 1000);
	f.timers[0].cb(f.timers[0].user);
	ck_assert_str_eq(told(), "WATCHDOG=1");
	f.slowest = 1499;
	f.timers[0].cb(f.timers[0].user);
	ck_assert_str_eq(told(), "WATCHDOG=1");
	f.slowest = 1500;
	f.timers[0].cb(f.timers[0].user);
	ck_assert_str_eq(told(), "");
	ck_assert_ptr_nonnull(strstr(f.said, "1500 ms"));
	f.slowest = 3;
	f.timers[0].cb(f.timers[0].user);
	ck_assert_str_eq(told(), "WATCHDOG=1");
	ck_assert_ptr_nonnull(strstr(f.said, "progress again"));
}
END_TEST

START_TEST(without_systemd)
{
	unsetenv("NOTIFY_SOCKET");
	start();
	ck_assert_ptr_null(f.on_event);
	ck_assert_uint_eq(f.n_timers, 0);
	ck_assert_ptr_null(f.sink);
}
END_TEST

START_TEST(journal_when_wanted)
{
	static const struct {
		const char *setting, *stream;
		bool want;
	} cases[] = {
	    {"auto", NULL, false},
	    {"auto", "stderr", true},
	    {"auto", "8:1234", false},
	    {"yes", NULL, true},
	    {"no", "stderr", false},
	};
	char own[64];
	struct stat st;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		f.journal = cases[i].setting;
		f.sink = NULL;
		if (cases[i].stream)
			setenv(
			    "JOURNAL_STREAM", strcmp(cases[i].stream, "stderr") ? cases[i].stream : own, 1);
		else
			unsetenv("JOURNAL_STREAM");
		start();
		ck_assert_int_eq(f.sink != NULL, cases[i].want);
		if (f.sink)
			ck_assert_int_eq(f.sink->instead_of != NULL, strcmp(cases[i].setting, "auto") == 0);
		cygnet_plugin.fini(f.plugin);
		f.plugin = NULL;
	}
}
END_TEST

static void check_fields(const struct cy_log_line *l, size_t cap, const char *const *want, size_t n)
{
	struct iovec iov[JOURNAL_FIELDS];
	char text[1024];

	ck_assert_uint_eq(journal_fields(l, text, cap, iov), n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(iov[i].iov_len, strlen(want[i]));
		ck_assert_int_eq(memcmp(iov[i].iov_base, want[i], iov[i].iov_len), 0);
	}
}

START_TEST(fields_of_a_line)
{
	static const char *const all[] = {"PRIORITY=4", "SYSLOG_IDENTIFIER=cygnetd", "CYGNET_GROUP=IKE",
	    "CYGNET_THREAD=3", "CYGNET_CONNECTION=home", "CYGNET_IKE_ID=12", "CYGNET_USER=alice",
	    "MESSAGE=[IKE] <home|12> no proposal chosen"};
	static const char *const few[] = {"PRIORITY=7", "SYSLOG_IDENTIFIER=cygnetd", "CYGNET_GROUP=DMN",
	    "CYGNET_THREAD=0", "MESSAGE=[DMN] hello"};
	static const char *const cut[] = {
	    "PRIORITY=7", "SYSLOG_IDENTIFIER=cygnetd", "CYGNET_GROUP=DMN", "CYGNET_THREAD=0", "MESSAGE="};
	struct cy_log_line l = {.size = sizeof(l),
	    .level = CY_LOG_WARN,
	    .group = "IKE",
	    .thread = 3,
	    .conn = "home",
	    .ike_id = 12,
	    .user = "alice",
	    .text = "no proposal chosen"};

	check_fields(&l, 1024, all, ARRAY_LEN(all));
	l = (struct cy_log_line){.level = 99, .group = "DMN", .conn = "", .user = "", .text = "hello"};
	check_fields(&l, 1024, few, ARRAY_LEN(few));
	check_fields(&l, 10 + 25 + 16 + 15 + 8 + 1, cut, ARRAY_LEN(cut));
}
END_TEST

UNIT_TESTS(systemd)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, ready_only_when_ready);
	tcase_add_test(tc, reloading);
	tcase_add_test(tc, status_counts);
	tcase_add_test(tc, watchdog);
	tcase_add_test(tc, without_systemd);
	tcase_add_test(tc, journal_when_wanted);
	tcase_add_test(tc, fields_of_a_line);
}
