/* SPDX-License-Identifier: Apache-2.0 */
/* The updown plugin as it was built, in the loader, with real scripts: what runs, in which order, and what is said of it. */

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/addr.h"
#include "libcore/plugin/loader.h"

#include "unit.h"

static char dir[64], did_path[96];
static struct env env;
static struct log *logger;
static struct crypto *crypto;
static struct bus *bus;
static struct procs *procs;
static struct settings *settings;
static struct plugins *plugins;

static void start(const char *conf)
{
	ck_assert_int_eq(settings_load_text(conf, "t", NULL, NULL, &settings), CY_OK);
	const struct plugins_config cfg = {
	    .env = &env,
	    .log = logger,
	    .settings = settings,
	    .crypto = crypto,
	    .bus = bus,
	    .procs = procs,
	    .dir = PLUGINS,
	    .load = "updown!",
	};
	ck_assert_int_eq(plugins_load(&cfg, &plugins), CY_OK);
}

static void setup(void)
{
	strcpy(dir, "/tmp/cygnet-scripts-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(did_path, sizeof(did_path), "%s/did", dir);
	env_real(&env);
	ck_assert_int_eq(log_new(&env, &logger), CY_OK);
	log_level_all(logger, CY_LOG_DEBUG);
	ck_assert_int_eq(log_start(logger), CY_OK);
	ck_assert_int_eq(crypto_new(logger, &crypto), CY_OK);
	ck_assert_int_eq(bus_new(&env, &bus), CY_OK);
	ck_assert_int_eq(procs_new(&env, logger, 4, 4, &procs), CY_OK);
}

static void teardown(void)
{
	char cmd[128];

	plugins_free(plugins);
	settings_unref(settings);
	procs_free(procs);
	bus_free(bus);
	crypto_free(crypto);
	log_free(logger);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void sleep_ms(unsigned ms)
{
	const struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

static const char *did(void)
{
	static char out[65536];
	FILE *f = fopen(did_path, "r");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;

	if (f)
		fclose(f);
	out[n] = '\0';
	return out;
}

static bool wait_did(const char *text)
{
	for (int i = 0; i < 2000; i++) {
		if (strstr(did(), text))
			return true;
		sleep_ms(5);
	}
	return false;
}

static char lines[65536];

static bool collect(void *user, const struct log_line *l)
{
	size_t n = strlen(lines);

	snprintf(lines + n, sizeof(lines) - n, "%u %s\n", l->level, l->text);
	return true;
}

static bool wait_log(const char *text)
{
	for (int i = 0; i < 2000; i++) {
		lines[0] = '\0';
		log_recent(logger, 1000, collect, NULL);
		if (strstr(lines, text))
			return true;
		sleep_ms(5);
	}
	return false;
}

static struct cy_event child(enum cy_event_kind kind, const char *conn, uint32_t reqid, const char *updown)
{
	static struct cy_ts ts[2];
	struct cy_event ev = {.size = sizeof(ev),
	    .kind = kind,
	    .conn = conn,
	    .reason = "",
	    .local_id = "me",
	    .remote_id = "peer",
	    .user = "",
	    .updown = updown,
	    .reqid = reqid,
	    .ts_local = &ts[0],
	    .ts_remote = &ts[1],
	    .n_ts_local = 1,
	    .n_ts_remote = 1};

	addr_parse("127.0.0.1", &ev.local);
	addr_parse("192.0.2.2", &ev.remote);
	ts_parse("10.1.0.0/16", &ts[0]);
	ts_parse("10.2.0.0/16", &ts[1]);
	return ev;
}

static void publish(enum cy_event_kind kind, const char *conn, uint32_t reqid, const char *script)
{
	char command[256];

	const char *at = strstr(script, "%s");

	/* %s in a script is where it tells what it did */
	snprintf(command, sizeof(command), "%.*s%s%s", at ? (int)(at - script) : (int)strlen(script), script,
	    at ? did_path : "", at ? at + 2 : "");
	struct cy_event ev = child(kind, conn, reqid, command);
	bus_publish(bus, &ev);
}

START_TEST(runs_with_its_environment)
{
	start("");
	publish(CY_EV_CHILD_UP, "home", 1,
	    "echo \"$PLUTO_VERB $PLUTO_CONNECTION $PLUTO_INTERFACE $PLUTO_PEER_CLIENT ${HOME-no home}\" "
	    ">>%s; echo hello");
	ck_assert(wait_did("up-client home lo 10.2.0.0/16 no home\n"));
	ck_assert(wait_log("3 updown: home up-client: hello"));
	publish(CY_EV_CHILD_DOWN, "home", 1, "echo $PLUTO_VERB >>%s");
	ck_assert(wait_did("down-client\n"));
	/* none wanted */
	publish(CY_EV_CHILD_UP, "other", 2, "");
	publish(CY_EV_CHILD_REKEYED, "home", 1, "echo rekeyed >>%s");
	sleep_ms(100);
	ck_assert_ptr_null(strstr(did(), "rekeyed"));
}
END_TEST

START_TEST(failures_are_told)
{
	start("plugins {\n updown {\n timeout = 1\n }\n}\n");
	publish(CY_EV_CHILD_UP, "a", 1, "echo what is wrong; exit 3 %s");
	ck_assert(wait_log("1 updown: a up-client: what is wrong"));
	ck_assert(wait_log("ended with exit code 3"));
	publish(CY_EV_CHILD_UP, "b", 2, "kill -KILL $$ %s");
	ck_assert(wait_log("was killed by signal 9"));
	publish(CY_EV_CHILD_UP, "c", 3, "/nonexistent/script %s");
	ck_assert(wait_log("ended with exit code 127"));
	publish(CY_EV_CHILD_UP, "d", 4, "sleep 60 # %s");
	ck_assert(wait_log("took longer than 1 s and was ended"));
}
END_TEST

/* One CHILD_SA's scripts never overlap nor overtake each other; others need not wait for them. */
START_TEST(order_within_a_child)
{
	start("");
	publish(CY_EV_CHILD_UP, "a", 1, "sleep 0.4; echo a up >>%s");
	publish(CY_EV_CHILD_DOWN, "a", 1, "echo a down >>%s");
	publish(CY_EV_CHILD_UP, "a", 1, "echo a up again >>%s");
	publish(CY_EV_CHILD_UP, "a", 2, "echo second up >>%s");
	publish(CY_EV_CHILD_UP, "b", 1, "echo b up >>%s");
	ck_assert(wait_did("a up again\n"));
	ck_assert_ptr_nonnull(strstr(did(), "a up\na down\na up again\n"));
	ck_assert_ptr_nonnull(strstr(did(), "second up\n"));
	ck_assert(strstr(did(), "b up\n") < strstr(did(), "a up\n"));
	ck_assert(strstr(did(), "second up\n") < strstr(did(), "a up\n"));
}
END_TEST

START_TEST(more_than_may_run)
{
	char conn[16];

	/* the helper takes 4 running and 4 waiting, this plugin wants more: it waits its turn */
	start("plugins {\n updown {\n parallel = 100\n queue = 60\n }\n}\n");
	for (uint32_t i = 0; i < 100; i++) {
		snprintf(conn, sizeof(conn), "c%u", i);
		publish(CY_EV_CHILD_UP, conn, i, "sleep 0.02; echo x >>%s");
	}
	ck_assert(wait_log("scripts are waiting already, this one is not run"));
	for (int i = 0; i < 1000 && strlen(did()) < 2 * 60; i++)
		sleep_ms(10);
	ck_assert_uint_ge(strlen(did()), 2 * 60);
}
END_TEST

START_TEST(scripts_of_the_end)
{
	start("");
	publish(CY_EV_CHILD_DOWN, "a", 1, "sleep 0.2; echo a down >>%s");
	plugins_free(plugins);
	plugins = NULL;
	ck_assert_str_eq(did(), "a down\n");
}
END_TEST

START_TEST(the_daemons_own_script)
{
	start("plugins {\n updown {\n firewall_script = \"echo own\"\n }\n}\n");
	struct cy_event ev = child(CY_EV_CHILD_UP, "fw", 1, "");
	ev.firewall = 1;
	bus_publish(bus, &ev);
	ck_assert(wait_log("updown: fw up-client: own iptables"));
	publish(CY_EV_CHILD_UP, "ls", 2, "ipsec _updown --route y # %s");
	ck_assert(wait_log("updown: ls up-client: own --route y"));
}
END_TEST

UNIT_TESTS(scripts)
{
	if (strstr(" " PLUGINS_BUILT " ", " updown ") == NULL)
		return;
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, runs_with_its_environment);
	tcase_add_test(tc, failures_are_told);
	tcase_add_test(tc, order_within_a_child);
	tcase_add_test(tc, more_than_may_run);
	tcase_add_test(tc, scripts_of_the_end);
	tcase_add_test(tc, the_daemons_own_script);
}
