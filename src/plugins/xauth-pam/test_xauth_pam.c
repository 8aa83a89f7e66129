/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin as it was built, in the loader, with its helpers and real PAM: a service of its own in a folder of its own, and a module
 * that does what the tests want (pam_cygnet_test.c).
 */

#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"
#include "libcore/plugin/loader.h"

#include "unit.h"

#define LOGINS 500

static char dir[64];
static struct env env;
static struct log *logger;
static struct crypto *crypto;
static struct bus *bus;
static struct settings *settings;
static struct plugins *plugins;
static const struct cy_xauth_ops *ops;
static void *plugin;

/* Answers by the login's number. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct got {
		uint32_t n, result, prompt;
		struct cy_addr address;
		char message[512], reason[512], pool[64], group[64];
	} by_id[LOGINS + 10];
	uint32_t total;
} got = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void on_answer(void *to, uint64_t id, const struct cy_xauth_answer *a)
{
	struct got *g = &got.by_id[id];

	ck_assert_ptr_eq(to, &got);
	pthread_mutex_lock(&got.lock);
	g->n++;
	g->result = a->result;
	g->prompt = a->prompt;
	g->address = a->address;
	snprintf(g->message, sizeof(g->message), "%s", a->message);
	snprintf(g->reason, sizeof(g->reason), "%s", a->reason);
	snprintf(g->pool, sizeof(g->pool), "%s", a->pool);
	snprintf(g->group, sizeof(g->group), "%s", a->group);
	got.total++;
	pthread_cond_broadcast(&got.more);
	pthread_mutex_unlock(&got.lock);
}

static void wait_total(uint32_t n)
{
	pthread_mutex_lock(&got.lock);
	while (got.total < n)
		pthread_cond_wait(&got.more, &got.lock);
	pthread_mutex_unlock(&got.lock);
}

static void write_service(const char *options)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/vpn", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	for (int i = 0; i < 3; i++)
		fprintf(f, "%s required %s/.libs/pam_cygnet_test.so log=%s/did %s\n",
		    i == 0       ? "auth"
		        : i == 1 ? "account"
		                 : "session",
		    BUILD_DIR, dir, options);
	fclose(f);
}

static void start(const char *more)
{
	char conf[1024];

	snprintf(conf, sizeof(conf),
	    "plugins {\n xauth-pam {\n service = vpn\n confdir = %s\n helper = "
	    "%s/xauth-pam-helper\n%s\n}\n}\n",
	    dir, BUILD_DIR, more);
	ck_assert_int_eq(settings_load_text(conf, "t", NULL, NULL, &settings), CY_OK);
	const struct plugins_config cfg = {
	    .env = &env,
	    .log = logger,
	    .settings = settings,
	    .crypto = crypto,
	    .bus = bus,
	    .dir = BUILD_DIR "/.libs",
	    .load = "xauth-pam!",
	};
	ck_assert_int_eq(plugins_load(&cfg, &plugins), CY_OK);
	ops = plugins_find(plugins, CY_KIND_XAUTH, "pam", &plugin);
	ck_assert_ptr_nonnull(ops);
}

static void setup(void)
{
	strcpy(dir, "/tmp/cygnet-pam-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	env_real(&env);
	ck_assert_int_eq(log_new(&env, &logger), CY_OK);
	ck_assert_int_eq(log_start(logger), CY_OK);
	ck_assert_int_eq(crypto_new(logger, &crypto), CY_OK);
	ck_assert_int_eq(bus_new(&env, &bus), CY_OK);
	write_service("");
}

static void stop(void)
{
	plugins_free(plugins);
	plugins = NULL;
}

static void teardown(void)
{
	char cmd[128];

	if (plugins)
		stop();
	settings_unref(settings);
	bus_free(bus);
	crypto_free(crypto);
	log_free(logger);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void begin(uint64_t id, const char *user, const char *password)
{
	struct cy_xauth_login l = {.size = sizeof(l),
	    .id = id,
	    .user = user,
	    .password = cy_slice_str(password),
	    .conn = "office",
	    .remote_id = "staff",
	    .session = id,
	    .deadline_ms = 90000,
	    .answer = on_answer,
	    .to = &got};

	ck_assert_int_eq(addr_parse("192.0.2.1", &l.remote), CY_OK);
	l.remote.port = 4500;
	ops->begin(plugin, &l);
}

/* One login from begin to its answer. */
static const struct got *log_in(uint64_t id, const char *user, const char *password)
{
	uint32_t before = got.total;

	begin(id, user, password);
	wait_total(before + 1);
	return &got.by_id[id];
}

static const char *did(void)
{
	static char out[1 << 18];
	char path[128];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/did", dir);
	f = fopen(path, "r");
	n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	if (f)
		fclose(f);
	out[n] = '\0';
	return out;
}

static uint32_t count(const char *text, const char *what)
{
	uint32_t n = 0;

	for (; (text = strstr(text, what)) != NULL; text += strlen(what))
		n++;
	return n;
}

static void pause_ms(long ms)
{
	(void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void wait_did(const char *what, uint32_t n)
{
	while (count(did(), what) < n)
		pause_ms(5);
}

/* --- tests ----------------------------------------------------------------------------------------------------------- */

START_TEST(phases)
{
	const struct got *g;

	start("helpers = 1");
	g = log_in(1, "u1", "p1");
	ck_assert_uint_eq(g->result, CY_XAUTH_OK);
	ck_assert_str_eq(g->message, "");
	ck_assert_uint_eq(g->address.family, 0);
	/* phase by phase, with the client's address and our terminal */
	ck_assert_str_eq(did(),
	    "auth u1 192.0.2.1 ipsec office\n"
	    "account u1 192.0.2.1 ipsec office\n"
	    "cred u1 192.0.2.1 ipsec office\n"
	    "open u1 192.0.2.1 ipsec office\n");
	ops->end(plugin, 1);
	wait_did("uncred u1 192.0.2.1 ipsec office\n", 1);
	ck_assert_uint_eq(count(did(), "close u1 192.0.2.1 ipsec office\n"), 1);
	ops->end(plugin, 1);
	g = log_in(2, "u2", "wrong");
	ck_assert_uint_eq(g->result, CY_XAUTH_FAIL);
	ck_assert_ptr_nonnull(strstr(g->reason, "PAM authentication"));
	ck_assert_uint_eq(count(did(), "account u2"), 0);
	g = log_in(3, "expired", "pxpired");
	ck_assert_uint_eq(g->result, CY_XAUTH_FAIL);
	ck_assert_ptr_nonnull(strstr(g->reason, "PAM account"));
	ck_assert_str_eq(g->message, "Your account has expired.");
	g = log_in(4, "u4", "");
	ck_assert_uint_eq(g->result, CY_XAUTH_FAIL);
	stop();
	ck_assert_uint_eq(count(did(), "open "), 1);
	ck_assert_uint_eq(count(did(), "close "), 1);
}
END_TEST

START_TEST(what_pam_assigns)
{
	const struct got *g;
	struct cy_addr want;

	start("helpers = 2");
	ck_assert_int_eq(addr_parse("10.9.8.7", &want), CY_OK);
	g = log_in(1, "static", "ptatic");
	ck_assert_uint_eq(g->result, CY_XAUTH_OK);
	ck_assert(addr_cmp(&g->address, &want) == 0);
	g = log_in(2, "pool", "pool");
	ck_assert_uint_eq(g->result, CY_XAUTH_OK);
	ck_assert_str_eq(g->pool, "10.7.0.0/24");
	ck_assert_str_eq(g->group, "staff");
}
END_TEST

START_TEST(questions)
{
	const struct got *g;

	start("helpers = 1");
	g = log_in(1, "otp", "ptp");
	ck_assert_uint_eq(g->result, CY_XAUTH_CHALLENGE);
	ck_assert_uint_eq(g->prompt, CY_XAUTH_PASSCODE);
	ck_assert_str_eq(g->message, "A code is needed.\nPasscode: ");
	ops->reply(plugin, 1, cy_slice_str("123456"));
	wait_total(2);
	ck_assert_uint_eq(g->result, CY_XAUTH_OK);
	g = log_in(2, "otp", "ptp");
	ops->reply(plugin, 2, cy_slice_str("654321"));
	wait_total(4);
	ck_assert_uint_eq(g->result, CY_XAUTH_FAIL);
	/* who goes away while he is asked leaves the helper to others */
	g = log_in(3, "otp", "ptp");
	ck_assert_uint_eq(g->result, CY_XAUTH_CHALLENGE);
	ops->end(plugin, 3);
	ck_assert_uint_eq(log_in(4, "u4", "p4")->result, CY_XAUTH_OK);
	ck_assert_uint_eq(g->n, 1);
	/* an answer to what nobody asked any more is answered, too */
	ops->reply(plugin, 3, cy_slice_str("123456"));
	wait_total(7);
	ck_assert_uint_eq(g->result, CY_XAUTH_FAIL);
}
END_TEST

START_TEST(a_user_who_does_not_answer)
{
	start("helpers = 1\n answer_timeout = 1s");
	ck_assert_uint_eq(log_in(1, "otp", "ptp")->result, CY_XAUTH_CHALLENGE);
	/* the next one waits for the helper, which waits for the user, and then no longer */
	ck_assert_uint_eq(log_in(2, "u2", "p2")->result, CY_XAUTH_OK);
}
END_TEST

/* Helpers that die or hang cost only their login, and others take their place. */
START_TEST(helpers_that_die_or_hang)
{
	char status[512];

	start("helpers = 2\n deadline = 4s");
	ck_assert_uint_eq(log_in(1, "die", "pie")->result, CY_XAUTH_ERROR);
	ck_assert_ptr_nonnull(strstr(got.by_id[1].reason, "died"));
	begin(2, "hang", "pang");
	begin(3, "hang", "pang");
	begin(4, "u4", "p4");
	wait_total(4);
	ck_assert_uint_eq(got.by_id[2].result, CY_XAUTH_ERROR);
	ck_assert_uint_eq(got.by_id[3].result, CY_XAUTH_ERROR);
	ck_assert_ptr_nonnull(strstr(got.by_id[2].reason, "killed"));
	ck_assert_uint_eq(got.by_id[4].result, CY_XAUTH_OK);
	for (uint64_t i = 5; i < 10; i++)
		ck_assert_uint_eq(log_in(i, "u5", "p5")->result, CY_XAUTH_OK);
	(void)ops->status(plugin, status, sizeof(status));
	ck_assert_msg(strstr(status, "killed 2, died 1") != NULL, "%s", status);
}
END_TEST

/* The time that a helper takes to begin is not the login's. */
START_TEST(a_helper_that_begins_slowly)
{
	char path[128], more[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/slow", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_gt(fprintf(f, "#!/bin/sh\nsleep 6\nexec %s/xauth-pam-helper\n", BUILD_DIR), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	snprintf(more, sizeof(more), "helpers = 1\n deadline = 5s\n helper = %s", path);
	start(more);
	ck_assert_uint_eq(log_in(1, "u1", "p1")->result, CY_XAUTH_OK);
}
END_TEST

/* A session whose helper is gone is closed by another one. */
START_TEST(sessions_outlive_their_helper)
{
	start("helpers = 1");
	ck_assert_uint_eq(log_in(1, "u1", "p1")->result, CY_XAUTH_OK);
	ck_assert_uint_eq(log_in(2, "die", "pie")->result, CY_XAUTH_ERROR);
	ops->end(plugin, 1);
	wait_did("uncred u1 192.0.2.1 ipsec office\n", 1);
	ck_assert_uint_eq(count(did(), "close u1 192.0.2.1 ipsec office\n"), 1);
}
END_TEST

/* What ends before its turn, or while PAM works on it, leaves nothing open. */
START_TEST(ended_early)
{
	write_service("sleep=100");
	start("helpers = 1");
	begin(1, "u1", "p1");
	begin(2, "u2", "p2");
	wait_did("auth u1", 1);
	ops->end(plugin, 2);
	ops->end(plugin, 1);
	wait_did("close u1", 1);
	ck_assert_uint_eq(log_in(3, "u3", "p3")->result, CY_XAUTH_OK);
	ck_assert_uint_eq(count(did(), "auth u2"), 0);
	ck_assert_uint_eq(got.by_id[1].n + got.by_id[2].n, 0);
	/* at the daemon's end, too */
	ops->end(plugin, 3);
	stop();
	ck_assert_uint_eq(count(did(), "close u3"), 1);
}
END_TEST

START_TEST(a_full_queue)
{
	write_service("sleep=200");
	start("helpers = 1\n queue = 2");
	begin(1, "u1", "p1");
	wait_did("auth u1", 1);
	begin(2, "u2", "p2");
	begin(3, "u3", "p3");
	begin(4, "u4", "p4");
	ck_assert_uint_eq(got.by_id[4].result, CY_XAUTH_ERROR);
	ck_assert_ptr_nonnull(strstr(got.by_id[4].reason, "queue"));
	wait_total(4);
	for (int i = 1; i < 4; i++)
		ck_assert_uint_eq(got.by_id[i].result, CY_XAUTH_OK);
}
END_TEST

static void *begin_some(void *arg)
{
	uint64_t first = *(const uint64_t *)arg;

	for (uint64_t id = first; id < LOGINS; id += 4) {
		char user[16], password[16];

		/* half of them with the password of the next user */
		snprintf(user, sizeof(user), "u%u", (unsigned)id);
		snprintf(password, sizeof(password), "p%u", (unsigned)(id % 2 ? id : id + 1));
		begin(id, user, password);
	}
	return NULL;
}

START_TEST(five_hundred_at_once)
{
	const uint64_t first[] = {0, 1, 2, 3};
	pthread_t t[4];

	write_service("sleep=10");
	start("helpers = 16");
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, begin_some, (void *)(uintptr_t)&first[i]), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	wait_total(LOGINS);
	for (int i = 0; i < LOGINS; i++) {
		ck_assert_uint_eq(got.by_id[i].n, 1);
		ck_assert_msg(got.by_id[i].result == (i % 2 ? CY_XAUTH_OK : CY_XAUTH_FAIL), "user u%d: %u %s",
		    i, got.by_id[i].result, got.by_id[i].reason);
	}
	for (int i = 0; i < LOGINS; i++)
		ops->end(plugin, (uint64_t)i);
	wait_did("uncred ", LOGINS / 2);
	ck_assert_uint_eq(count(did(), "open "), LOGINS / 2);
	ck_assert_uint_eq(count(did(), "close "), LOGINS / 2);
}
END_TEST

START_TEST(without_a_helper_program)
{
	ck_assert_int_eq(settings_load_text("plugins {\n xauth-pam {\n helper = /nowhere/helper\n}\n}\n", "t",
	                     NULL, NULL, &settings),
	    CY_OK);
	const struct plugins_config cfg = {.env = &env,
	    .log = logger,
	    .settings = settings,
	    .crypto = crypto,
	    .bus = bus,
	    .dir = BUILD_DIR "/.libs",
	    .load = "xauth-pam"};
	ck_assert_int_eq(plugins_load(&cfg, &plugins), CY_OK);
	ck_assert_ptr_null(plugins_find(plugins, CY_KIND_XAUTH, "pam", &plugin));
}
END_TEST

UNIT_TESTS(xauth_pam)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, phases);
	tcase_add_test(tc, what_pam_assigns);
	tcase_add_test(tc, questions);
	tcase_add_test(tc, a_user_who_does_not_answer);
	tcase_add_test(tc, helpers_that_die_or_hang);
	tcase_add_test(tc, a_helper_that_begins_slowly);
	tcase_add_test(tc, sessions_outlive_their_helper);
	tcase_add_test(tc, ended_early);
	tcase_add_test(tc, a_full_queue);
	tcase_add_test(tc, five_hundred_at_once);
	tcase_add_test(tc, without_a_helper_program);
}
