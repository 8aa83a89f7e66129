/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader, with plugins made for each test: copies of chameleon.c's object that do what a text beside them says, and write
 * down what they did.
 */

#include "config.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libcore/plugin/loader.h"

#include "unit.h"

static char dir[64];
static struct env env;
static struct log *logger;
static struct crypto *crypto;
static struct bus *bus;
static struct procs *procs;
static struct settings *settings;

static void setup(void)
{
	strcpy(dir, "/tmp/cygnet-loader-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	env_real(&env);
	ck_assert_int_eq(log_new(&env, &logger), CY_OK);
	ck_assert_int_eq(log_start(logger), CY_OK);
	ck_assert_int_eq(crypto_new(logger, &crypto), CY_OK);
	ck_assert_int_eq(bus_new(&env, &bus), CY_OK);
	ck_assert_int_eq(procs_new(&env, logger, 4, 16, &procs), CY_OK);
	ck_assert_int_eq(settings_load(NULL, NULL, NULL, &settings), CY_OK);
}

static void teardown(void)
{
	char cmd[128];

	settings_unref(settings);
	procs_free(procs);
	bus_free(bus);
	crypto_free(crypto);
	if (logger)
		log_free(logger);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* --- making plugins --- */

static char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	struct stat st;
	off_t at = 0;

	ck_assert_msg(in >= 0, "%s is not built", from);
	ck_assert_int_ge(out, 0);
	ck_assert_int_eq(fstat(in, &st), 0);
	while (at < st.st_size)
		ck_assert_int_gt(sendfile(out, in, &at, (size_t)(st.st_size - at)), 0);
	close(in);
	close(out);
}

static void make(const char *name, const char *text)
{
	char file[128];

	snprintf(file, sizeof(file), "cygnet-%s.so", name);
	copy(CHAMELEON, path_of(file));
	snprintf(file, sizeof(file), "cygnet-%s.so.txt", name);
	write_file(file, text);
}

static struct plugins *load_with(const char *names, enum cy_err want)
{
	const struct plugins_config cfg = {
	    .env = &env,
	    .log = logger,
	    .settings = settings,
	    .crypto = crypto,
	    .bus = bus,
	    .procs = procs,
	    .dir = dir,
	    .load = names,
	};
	struct plugins *p = NULL;

	ck_assert_int_eq(plugins_load(&cfg, &p), want);
	return p;
}

/* --- what happened --- */

/* What the plugins did, without lines that begin with one of no interest: only those that have `word`, NULL: all. */
static const char *did(const char *word)
{
	static char out[1 << 20];
	char line[512];
	size_t n = 0;
	FILE *f = fopen(path_of("did"), "r");

	out[0] = '\0';
	while (f && fgets(line, sizeof(line), f))
		if ((!word || strstr(line, word)) && n + strlen(line) < sizeof(out))
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s", line);
	if (f)
		fclose(f);
	return out;
}

static void sleep_ms(unsigned ms)
{
	const struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

static bool wait_for(const char *text)
{
	for (int i = 0; i < 2000; i++) {
		if (strstr(did(NULL), text))
			return true;
		sleep_ms(5);
	}
	return false;
}

struct find_state {
	const char *name;
	char state[512];
	struct plugin_info info;
};

static void find_state(void *user, const struct plugin_info *i)
{
	struct find_state *f = user;

	if (strcmp(i->name, f->name))
		return;
	snprintf(f->state, sizeof(f->state), "%s", i->state);
	f->info = *i;
}

static const char *state_of(struct plugins *p, const char *name)
{
	static struct find_state f;

	f = (struct find_state){.name = name};
	plugins_list(p, find_state, &f);
	return f.state;
}

static struct plugin_info info_of(struct plugins *p, const char *name)
{
	struct find_state f = {.name = name};

	plugins_list(p, find_state, &f);
	return f.info;
}

static void publish(enum cy_event_kind kind, const char *conn)
{
	const struct cy_event ev = {.size = sizeof(ev),
	    .kind = kind,
	    .conn = conn,
	    .reason = "",
	    .local_id = "",
	    .remote_id = "",
	    .user = "",
	    .updown = ""};

	bus_publish(bus, &ev);
}

static uint64_t ms_since(uint64_t t)
{
	return (env_now(&env) - t) / NS_PER_MS;
}

/* --- order --- */

START_TEST(needs_decide_the_order)
{
	make("a", "needs b-thing soft c-thing");
	make("b", "provides b-thing needs d-thing");
	make("c", "provides c-thing");
	make("d", "provides d-thing");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did(" init"), "c init\nd init\nb init\na init\n");
	ck_assert_str_eq(state_of(p, "a"), "loaded");
	plugins_free(p);
	ck_assert_str_eq(did("fini"), "a fini\nb fini\nd fini\nc fini\n");
}
END_TEST

START_TEST(preference_decides_else)
{
	make("a", "");
	make("b", "");
	make("c", "");
	struct plugins *p = load_with("c missing a", CY_OK);
	ck_assert_str_eq(did(" init"), "c init\na init\n");
	ck_assert_ptr_nonnull(strstr(state_of(p, "missing"), "there is no cygnet-missing.so in"));
	ck_assert_str_eq(state_of(p, "b"), "");
	plugins_free(p);
}
END_TEST

START_TEST(soft_circle_loads)
{
	make("a", "provides x soft y");
	make("b", "provides y soft x");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did(" init"), "a init\nb init\n");
	plugins_free(p);
}
END_TEST

START_TEST(hard_circle_is_left_out)
{
	make("a", "provides x needs y");
	make("b", "provides y needs z");
	make("c", "provides z needs x");
	make("d", "needs x");
	make("e", "provides e-thing");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did(" init"), "e init\n");
	ck_assert_str_eq(state_of(p, "b"),
	    "needs go in a circle: a needs \"y\" of b, b needs \"z\" of c, c needs \"x\" of a");
	ck_assert_str_eq(state_of(p, "d"), "needs \"x\", which no loaded plugin provides");
	plugins_free(p);
}
END_TEST

START_TEST(circle_that_another_breaks)
{
	make("a", "provides x needs y");
	make("b", "provides y needs x");
	make("c", "provides x");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did(" init"), "c init\nb init\na init\n");
	plugins_free(p);
}
END_TEST

START_TEST(failure_takes_those_who_need_it)
{
	make("a", "needs x");
	make("b", "provides x init 11");
	make("c", "soft x");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did(" init"), "b init\nc init\n");
	ck_assert_ptr_nonnull(strstr(state_of(p, "b"), "did not start: "));
	ck_assert_str_eq(state_of(p, "a"), "needs \"x\", which no loaded plugin provides");
	plugins_free(p);
	ck_assert_str_eq(did("fini"), "c fini\n");
}
END_TEST

START_TEST(required_plugin)
{
	make("a", "init 11");
	make("b", "");
	load_with("b a!", CY_E_NOTFOUND);
	ck_assert_str_eq(did("fini"), "b fini\n");
	plugins_free(load_with("b! a", CY_OK));
}
END_TEST

/* --- what is refused --- */

START_TEST(abi_is_checked)
{
	static const struct {
		const char *name, *text, *want;
	} cases[] = {
	    {"major", "abi 2.0", "was built for plugin ABI 2.0, this daemon has 1.0"},
	    {"minor", "abi 1.1", "was built for plugin ABI 1.1, this daemon has 1.0"},
	    {"size", "size 16", "too short or incomplete"},
	    {"name", "name other", "calls itself \"other\""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		make(cases[i].name, cases[i].text);
	write_file("cygnet-text.so", "this is no program");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did(NULL), "");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ck_assert_msg(strstr(state_of(p, cases[i].name), cases[i].want) != NULL, "%s",
		    state_of(p, cases[i].name));
	ck_assert_msg(strstr(state_of(p, "text"), "cygnet-text.so") != NULL, "%s", state_of(p, "text"));
	plugins_free(p);
}
END_TEST

START_TEST(older_and_larger_structs_load)
{
	char text[64];

	/* built before options were added, and by a later release that added something after them */
	snprintf(text, sizeof(text), "size %zu", offsetof(struct cy_plugin, options));
	make("older", text);
	snprintf(text, sizeof(text), "size %zu", sizeof(struct cy_plugin) + 64);
	make("larger", text);
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did(" init"), "larger init\nolder init\n");
	plugins_free(p);
}
END_TEST

START_TEST(writable_by_all_is_refused)
{
	make("a", "");
	ck_assert_int_eq(chmod(path_of("cygnet-a.so"), 0777), 0);
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_ptr_nonnull(strstr(state_of(p, "a"), "can be written by everybody"));
	plugins_free(p);
}
END_TEST

START_TEST(several_folders)
{
	char first[96], list[256];

	make("a", "");
	snprintf(first, sizeof(first), "%s/x", dir);
	ck_assert_int_eq(mkdir(first, 0755), 0);
	snprintf(first, sizeof(first), "%s/x/.libs", dir);
	ck_assert_int_eq(mkdir(first, 0755), 0);
	snprintf(list, sizeof(list), "%s/cygnet-b.so", first);
	copy(CHAMELEON, list);
	snprintf(list, sizeof(list), "/nonexistent::%s", dir);
	const struct plugins_config cfg = {
	    .env = &env, .log = logger, .settings = settings, .crypto = crypto, .bus = bus, .dir = list};
	struct plugins *p;
	ck_assert_int_eq(plugins_load(&cfg, &p), CY_OK);
	ck_assert_str_eq(state_of(p, "a"), "loaded");
	ck_assert_str_eq(state_of(p, "b"), "loaded");
	ck_assert_ptr_nonnull(strstr(info_of(p, "b").path, "/x/.libs/cygnet-b.so"));
	plugins_free(p);
}
END_TEST

/* --- providing --- */

START_TEST(provided_ops_are_found)
{
	static const struct cy_lease_store_ops own = {.size = sizeof(own), .name = "own"};
	int mine = 0;
	void *plugin = NULL;

	make("a", "do leases do short-ops");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did("short"), "a short 2\n");
	const struct cy_lease_store_ops *ops = plugins_find(p, CY_KIND_LEASES, NULL, &plugin);
	ck_assert_ptr_nonnull(ops);
	ck_assert_str_eq(ops->name, "test-leases");
	ck_assert_ptr_eq(plugin, ops);
	ck_assert_ptr_eq(plugins_find(p, CY_KIND_LEASES, "a", NULL), ops);
	ck_assert_ptr_eq(plugins_find(p, CY_KIND_LEASES, "test-leases", NULL), ops);
	ck_assert_ptr_null(plugins_find(p, CY_KIND_LEASES, "b", NULL));
	ck_assert_ptr_null(plugins_find(p, CY_KIND_SOCKET, NULL, NULL));
	ck_assert_int_eq(plugins_provide_builtin(p, CY_KIND_LEASES, &own, &mine), CY_OK);
	ck_assert_ptr_eq(plugins_find(p, CY_KIND_LEASES, NULL, NULL), ops);
	ck_assert_ptr_eq(plugins_find(p, CY_KIND_LEASES, "own", &plugin), &own);
	ck_assert_ptr_eq(plugin, &mine);
	plugins_free(p);
}
END_TEST

START_TEST(failed_init_provides_nothing)
{
	make("a", "do leases do listen do timer init 11");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_ptr_null(plugins_find(p, CY_KIND_LEASES, NULL, NULL));
	publish(CY_EV_IKE_UP, "x");
	sleep_ms(30);
	ck_assert_str_eq(did(NULL), "a init\na ready\n");
	plugins_free(p);
}
END_TEST

/* --- its thread --- */

START_TEST(events_in_order)
{
	make("a", "do listen");
	make("quiet", "");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert(info_of(p, "a").has_thread);
	ck_assert(!info_of(p, "quiet").has_thread);
	publish(CY_EV_IKE_UP, "one");
	publish(CY_EV_CHILD_UP, "not wanted");
	publish(CY_EV_IKE_DOWN, "two");
	ck_assert(wait_for("two"));
	ck_assert_str_eq(did("event"), "a event 4 one\na event 5 two\n");
	for (int i = 0; i < 200 && info_of(p, "a").listener.delivered < 2; i++)
		sleep_ms(5);
	ck_assert_uint_eq(info_of(p, "a").listener.delivered, 2);
	ck_assert_uint_eq(info_of(p, "a").callbacks, 2);
	ck_assert_uint_gt(info_of(p, "a").callback_ns, 0);
	plugins_free(p);
}
END_TEST

START_TEST(last_events_are_delivered)
{
	char want[64];

	make("a", "do listen");
	struct plugins *p = load_with(NULL, CY_OK);
	for (int i = 0; i < 1000; i++) {
		char conn[16];
		snprintf(conn, sizeof(conn), "c%d", i);
		publish(CY_EV_IKE_UP, conn);
	}
	plugins_free(p);
	snprintf(want, sizeof(want), "a event 4 c999\na fini\n");
	const char *all = did(NULL);
	ck_assert_str_eq(all + strlen(all) - strlen(want), want);
}
END_TEST

/* Callbacks do not run into an init() that is not done. */
START_TEST(nothing_before_init_is_done)
{
	make("a", "do timer do slow-init");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert(wait_for("beat 3"));
	sleep_ms(30);
	ck_assert_str_eq(did(NULL), "a init\na ready\na beat 1\na beat 2\na beat 3\n");
	plugins_free(p);
}
END_TEST

START_TEST(one_shot_and_watch)
{
	make("a", "do once do watch");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert(wait_for("once"));
	ck_assert(wait_for("readable 1 1"));
	sleep_ms(20);
	ck_assert_str_eq(did("once"), "a once\n");
	ck_assert_str_eq(did("readable"), "a readable 1 1\n");
	plugins_free(p);
}
END_TEST

START_TEST(processes)
{
	make("a", "do listen do spawn do hung-script");
	struct plugins *p = load_with(NULL, CY_OK);
	publish(CY_EV_IKE_UP, "x");
	ck_assert(wait_for("script ended 3 0 from plugin"));
	ck_assert(wait_for("hung ended -1 1"));
	plugins_free(p);
}
END_TEST

START_TEST(last_words_of_scripts)
{
	make("a", "do listen do slow-script");
	struct plugins *p = load_with(NULL, CY_OK);
	publish(CY_EV_IKE_DOWN, "x");
	plugins_free(p);
	ck_assert_str_eq(did("slow"), "a slow ended 0 0 late\n");
}
END_TEST

START_TEST(settings_and_reload)
{
	make("a", "do settings");
	struct plugins *p = load_with(NULL, CY_OK);
	ck_assert_str_eq(did("settings"), "a settings green round 6 0 fallback\n");
	struct settings *other;
	ck_assert_int_eq(
	    settings_load_text("plugins {\n a {\n colour = red\n legs = many\n tail = yes\n }\n}\n", "t",
	        NULL, NULL, &other),
	    CY_OK);
	plugins_reload(p, other);
	settings_unref(other);
	/* what is no number, or out of its bounds, is as if it were not there */
	ck_assert(wait_for("a settings red round 6 1 fallback"));
	ck_assert_int_eq(
	    settings_load_text("plugins {\n a {\n legs = 7\n }\n}\n", "t", NULL, NULL, &other), CY_OK);
	plugins_reload(p, other);
	settings_unref(other);
	ck_assert(wait_for("a settings green round 7 0 fallback"));
	ck_assert_int_eq(settings_load_text(
	                     "plugins {\n a {\n legs = 9\n colour = blue\n }\n}\n", "t", NULL, NULL, &other),
	    CY_OK);
	plugins_reload(p, other);
	settings_unref(other);
	ck_assert(wait_for("a settings blue round 6 0 fallback"));
	plugins_free(p);
}
END_TEST

struct lines {
	char text[4096];
};

static bool collect(void *user, const struct log_line *l)
{
	struct lines *x = user;
	size_t n = strlen(x->text);

	snprintf(x->text + n, sizeof(x->text) - n, "%s\n", l->text);
	return true;
}

/* doc/plugin-template, as a user would have built it. */
START_TEST(the_template)
{
	struct lines lines = {""};

	copy(COUNTER, path_of("cygnet-counter.so"));
	log_level_all(logger, CY_LOG_INFO);
	struct plugins *p = load_with("counter!", CY_OK);
	publish(CY_EV_IKE_UP, "a");
	publish(CY_EV_IKE_UP, "b");
	publish(CY_EV_CHILD_UP, "b");
	publish(CY_EV_IKE_FAILED, "c");
	publish(CY_EV_IKE_DOWN, "a");
	plugins_free(p);
	for (int i = 0; i < 200 && !strstr(lines.text, "IKE_SAs"); i++) {
		lines.text[0] = '\0';
		log_recent(logger, 100, collect, &lines);
		sleep_ms(5);
	}
	ck_assert_ptr_nonnull(strstr(lines.text, "counter: c did not come up: "));
	ck_assert_ptr_nonnull(
	    strstr(lines.text, "counter: IKE_SAs: 2 up, 1 down, 1 failed; CHILD_SAs: 1 up, 0 down, 0 bytes"));
}
END_TEST

static void own_sink(void *user, const struct log_line *l)
{
	if (strncmp(l->text, "mark", 4) == 0)
		atomic_fetch_add((atomic_int *)user, 1);
}

START_TEST(lines_of_the_log)
{
	atomic_int own = 0;

	ck_assert_int_eq(log_add_sink(logger, "own", own_sink, &own, false), CY_OK);
	make("a", "do sink");
	struct plugins *p = load_with(NULL, CY_OK);
	log_write(logger, LOG_IKE, CY_LOG_WARN, NULL, "mark %d", 42);
	ck_assert(wait_for("line IKE 1 mark 42"));
	/* written once: the daemon's own sink leaves it to the plugin's as long as that is there */
	ck_assert_int_eq(atomic_load(&own), 0);
	plugins_free(p);
	log_write(logger, LOG_IKE, CY_LOG_WARN, NULL, "mark after");
	for (int i = 0; i < 200 && atomic_load(&own) == 0; i++)
		sleep_ms(5);
	ck_assert_int_eq(atomic_load(&own), 1);
	ck_assert_str_eq(did("mark after"), "");
	log_free(logger);
	logger = NULL;
}
END_TEST

/* --- one that hangs --- */

START_TEST(a_plugin_that_hangs_costs_only_itself)
{
	uint64_t begin;

	make("bad", "do listen do block");
	make("good", "do listen");
	struct plugins *p = load_with(NULL, CY_OK);
	publish(CY_EV_IKE_UP, "first");
	ck_assert(wait_for("bad hangs"));
	/* publishing never waits for it, and the other hears everything */
	begin = env_now(&env);
	for (int i = 0; i < 10000; i++)
		publish(CY_EV_IKE_UP, "many");
	ck_assert_uint_lt(ms_since(begin), 2000);
	publish(CY_EV_IKE_DOWN, "last");
	ck_assert(wait_for("good event"));
	struct plugin_info i = info_of(p, "bad");
	ck_assert_uint_ne(i.running_since_ns, 0);
	ck_assert_uint_ge(i.listener.missed, 10001 - 4096);
	begin = env_now(&env);
	plugins_free(p);
	ck_assert_uint_ge(ms_since(begin), 900);
	ck_assert_uint_lt(ms_since(begin), 3000);
	ck_assert_str_eq(did("fini"), "good fini\n");
	/* when it comes back, it finds nothing and hurts nobody */
	write_file("release", "");
	ck_assert(wait_for("bad came back at 1"));
	sleep_ms(50);
}
END_TEST

START_TEST(a_fini_that_hangs_is_left_behind)
{
	uint64_t begin = env_now(&env);

	make("a", "");
	make("b", "do hang-fini");
	make("c", "");
	plugins_free(load_with(NULL, CY_OK));
	ck_assert_uint_lt(ms_since(begin), 8000);
	ck_assert_str_eq(did("fini"), "c fini\nb fini\na fini\n");
	write_file("release", "");
	ck_assert(wait_for("b came back"));
	sleep_ms(50);
}
END_TEST

static size_t sent(void *user, const struct cy_dgram *d, size_t n)
{
	*(size_t *)user += n;
	return n;
}

START_TEST(empty_and_udp_send)
{
	size_t total = 0;
	struct plugins *p = load_with(NULL, CY_OK);

	plugins_set_udp_send(p, sent, &total);
	plugins_set_udp_send(p, NULL, NULL);
	ck_assert_str_eq(state_of(p, "any"), "");
	plugins_free(p);
	plugins_free(NULL);
}
END_TEST

UNIT_TESTS(loader)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, needs_decide_the_order);
	tcase_add_test(tc, preference_decides_else);
	tcase_add_test(tc, soft_circle_loads);
	tcase_add_test(tc, hard_circle_is_left_out);
	tcase_add_test(tc, circle_that_another_breaks);
	tcase_add_test(tc, failure_takes_those_who_need_it);
	tcase_add_test(tc, required_plugin);
	tcase_add_test(tc, abi_is_checked);
	tcase_add_test(tc, older_and_larger_structs_load);
	tcase_add_test(tc, writable_by_all_is_refused);
	tcase_add_test(tc, several_folders);
	tcase_add_test(tc, provided_ops_are_found);
	tcase_add_test(tc, failed_init_provides_nothing);
	tcase_add_test(tc, events_in_order);
	tcase_add_test(tc, last_events_are_delivered);
	tcase_add_test(tc, nothing_before_init_is_done);
	tcase_add_test(tc, one_shot_and_watch);
	tcase_add_test(tc, processes);
	tcase_add_test(tc, last_words_of_scripts);
	tcase_add_test(tc, settings_and_reload);
	tcase_add_test(tc, the_template);
	tcase_add_test(tc, lines_of_the_log);
	tcase_add_test(tc, a_plugin_that_hangs_costs_only_itself);
	tcase_add_test(tc, a_fini_that_hangs_is_left_behind);
	tcase_add_test(tc, empty_and_udp_send);
}
