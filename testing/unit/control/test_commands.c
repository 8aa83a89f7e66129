/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ctl_util.h"
#include "daemon/sa/manager.h"
#include "libcore/conf/conf.h"

#define CONN(name, more)                                                                                     \
	"conn " name                                                                                         \
	"\n\tkeyexchange=ikev2\n\tleft=127.0.0.1\n\tright=127.0.0.2\n\tauthby=psk\n\tauto=add\n" more "\n"
#define SETUP "config setup\n\tdialect=strongswan\n\n"

static struct ctl t;
static struct ctl_client cl;

static struct conn *find(const char *name)
{
	struct config *c = daemon_config(t.d);
	struct conn *conn = conf_find(c->conf, name);

	config_unref(c); /* the daemon's own reference holds it as long as nothing is reloaded */
	return conn;
}

static void begin(const char *conf)
{
	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
}

static void end(void)
{
	ctl_close(&cl);
	ctl_stop(&t);
}

static void command(const char *cmd, const char *name, const char *code)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"id\":1,\"cmd\":\"%s\",\"name\":\"%s\"}\n", cmd, name);
	ctl_send(&cl, text);
	ctl_done(&cl, code);
}

START_TEST(what_is_not_there_is_named_with_what_is_near)
{
	json_t *v;
	const char *text;

	begin(SETUP CONN("office", ""));
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"up\",\"name\":\"offise\"}\n");
	v = ctl_next(&cl);
	text = json_string_value(json_object_get(json_object_get(v, "error"), "text"));
	ck_assert_ptr_nonnull(strstr(text, "office"));
	json_decref(v);
	command("down", "office", "not-found");
	command("down", "office[99]", "not-found");
	command("down", "office{}", "not-found");
	command("unroute", "office", "not-found");
	command("route", "nowhere", "not-found");
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"up\"}\n");
	ctl_done(&cl, "bad-request");
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"loglevel\",\"level\":\"loud\"}\n");
	ctl_done(&cl, "bad-request");
	end();
}
END_TEST

START_TEST(route_and_unroute_answer_when_it_is_done)
{
	begin(SETUP CONN("office", "\tleftsubnet=10.1.0.0/16\n\trightsubnet=10.2.0.0/16\n"));
	command("route", "office", NULL);
	command("route", "office", "exists");
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"status\"}\n");
	ck_assert_uint_eq(ctl_done(&cl, NULL), 2); /* the daemon, the routed connection */
	command("unroute", "office", NULL);
	end();
}
END_TEST

/* A peer that never answers: IKE_SAs that are connecting, more than one chunk of them, and two loads of progress lines. */
START_TEST(a_listing_has_every_sa_once)
{
	enum { N = 300 };
	static bool seen[N + 1];
	size_t n = 0;
	json_t *v;

	begin(SETUP CONN("office", ""));
	ctl_need_crypto(&t);
	t.d->tune.reuse_ike_sa = false; /* one for each, all to the same peer */
	for (int i = 0; i < N; i++)
		sa_initiate(t.d, find("office"), NULL, 0, NULL, NULL);
	for (int i = 0; i < 2000 && SA_READ(t.d->sas, ike_sas) < N; i++)
		(void)nanosleep(&(struct timespec){0, 5000000}, NULL);
	ck_assert_uint_eq(SA_READ(t.d->sas, ike_sas), N);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"status\"}\n");
	while ((v = ctl_next(&cl))) {
		const json_t *data = json_object_get(v, "data");
		const char *event = json_string_value(json_object_get(v, "event"));

		if (strcmp(event, "done") == 0) {
			json_decref(v);
			break;
		}
		if (strcmp(event, "item") == 0) {
			json_int_t id = json_integer_value(json_object_get(data, "id"));

			ck_assert_int_ge(id, 1);
			ck_assert_int_le(id, N);
			ck_assert(!seen[id]);
			seen[id] = true;
			ck_assert_str_eq(json_string_value(json_object_get(data, "name")), "office");
			n++;
		}
		json_decref(v);
	}
	ck_assert_uint_eq(n, N);
	ctl_send(&cl, "{\"id\":2,\"cmd\":\"status\",\"name\":\"other\"}\n");
	ck_assert_uint_eq(ctl_done(&cl, NULL), 1);
	command("down", "office", NULL);
	ck_assert_uint_eq(SA_READ(t.d->sas, ike_sas), 0);
	end();
}
END_TEST

START_TEST(up_tells_how_it_goes_and_may_be_left)
{
	struct ctl_client other;
	json_t *v;

	begin(SETUP CONN("office", ""));
	ctl_need_crypto(&t);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n");
	v = ctl_next(&cl);
	ck_assert_str_eq(json_string_value(json_object_get(v, "event")), "progress");
	json_decref(v);
	ctl_connect(&t, &other);
	ctl_close(&cl); /* in the middle */
	ctl_send(&other, "{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n");
	json_decref(ctl_next(&other)); /* it has begun */
	ctl_send(&other, "{\"id\":2,\"cmd\":\"down\",\"name\":\"office\"}\n");
	for (int done = 0; done < 2;) { /* what was going up failed, and down worked */
		v = ctl_next(&other);
		ck_assert_ptr_nonnull(v);
		if (strcmp(json_string_value(json_object_get(v, "event")), "done") == 0) {
			bool ok = json_is_true(json_object_get(v, "ok"));

			ck_assert_int_eq(ok, json_integer_value(json_object_get(v, "id")) == 2);
			done++;
		}
		json_decref(v);
	}
	ctl_close(&other);
	ctl_stop(&t);
}
END_TEST

START_TEST(a_reload_touches_what_changed)
{
	struct conn *same, *changed;

	begin(SETUP CONN("same", "") CONN("changed", "") CONN("removed", ""));
	same = conn_ref(find("same"));
	changed = conn_ref(find("changed"));
	ctl_write(&t, "ipsec.conf",
	    SETUP CONN("added", "") CONN("changed", "\tleftsubnet=10.1.0.0/16\n") "\n\n" CONN("same", ""));
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"reload\"}\n");
	ctl_done(&cl, NULL);
	ck_assert_ptr_eq(find("same"), same);
	ck_assert_ptr_ne(find("changed"), changed);
	ck_assert_ptr_nonnull(find("changed"));
	ck_assert_ptr_nonnull(find("added"));
	ck_assert_ptr_null(find("removed"));
	ck_assert_uint_eq(t.d->config->epoch, 2);
	conn_unref(same);
	conn_unref(changed);
	end();
}
END_TEST

/* Not everything that a connection asks for is in every kernel: it is loaded, and what it does without is said. */
START_TEST(a_data_plane_without_sas_of_cpus_is_told)
{
	bool told = false, done = false;

	begin(SETUP);
	ctl_write(&t, "ipsec.conf", SETUP CONN("big", "\tper-cpu-sas=yes\n"));
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"reload\"}\n");
	while (!done) {
		json_t *v = ctl_next(&cl);
		const char *text = json_string_value(json_object_get(v, "text"));

		ck_assert_ptr_nonnull(v);
		told |= text && strstr(text, "connection big: the data plane test has no SAs of CPUs");
		done = strcmp(json_string_value(json_object_get(v, "event")), "done") == 0;
		json_decref(v);
	}
	ck_assert(told);
	ck_assert_ptr_nonnull(find("big"));
	end();
}
END_TEST

START_TEST(a_file_that_is_gone_leaves_all_as_it_was)
{
	char path[128];

	begin(SETUP CONN("same", ""));
	snprintf(path, sizeof(path), "%s/ipsec.conf", t.dir);
	ck_assert_int_eq(unlink(path), 0);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"reload\"}\n");
	for (;;) {
		json_t *v = ctl_next(&cl);
		bool done = strcmp(json_string_value(json_object_get(v, "event")), "done") == 0;

		if (done)
			ck_assert(json_is_false(json_object_get(v, "ok")));
		json_decref(v);
		if (done)
			break;
	}
	ck_assert_ptr_nonnull(find("same"));
	ck_assert_uint_eq(t.d->config->epoch, 1);
	end();
}
END_TEST

START_TEST(a_reload_keeps_what_is_up)
{
	begin(SETUP CONN("office", ""));
	ctl_need_crypto(&t);
	sa_initiate(t.d, find("office"), NULL, 0, NULL, NULL);
	for (int i = 0; i < 2000 && SA_READ(t.d->sas, ike_sas) < 1; i++)
		(void)nanosleep(&(struct timespec){0, 5000000}, NULL);
	ctl_write(&t, "ipsec.conf", SETUP);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"reload\"}\n");
	ctl_done(&cl, NULL);
	ck_assert_ptr_null(find("office"));
	ck_assert_uint_eq(SA_READ(t.d->sas, ike_sas), 1);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"status\"}\n");
	ck_assert_uint_eq(ctl_done(&cl, NULL), 2);
	end();
}
END_TEST

START_TEST(every_query_is_answered)
{
	static const char *const cmds[] = {
	    "statusall", "stats", "listalgs", "leases", "log", "listcrls", "purgecrls"};
	char text[64];

	begin(SETUP CONN("office", ""));
	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		snprintf(text, sizeof(text), "{\"id\":1,\"cmd\":\"%s\"}\n", cmds[i]);
		ctl_send(&cl, text);
		ctl_done(&cl, NULL);
	}
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"listcerts\"}\n");
	ctl_done(&cl, crypto_pki(t.d->crypto) ? NULL : "unsupported");
	end();
}
END_TEST

UNIT_TESTS(commands)
{
	tcase_add_test(tc, what_is_not_there_is_named_with_what_is_near);
	tcase_add_test(tc, route_and_unroute_answer_when_it_is_done);
	tcase_add_test(tc, a_listing_has_every_sa_once);
	tcase_add_test(tc, up_tells_how_it_goes_and_may_be_left);
	tcase_add_test(tc, a_reload_touches_what_changed);
	tcase_add_test(tc, a_data_plane_without_sas_of_cpus_is_told);
	tcase_add_test(tc, a_file_that_is_gone_leaves_all_as_it_was);
	tcase_add_test(tc, a_reload_keeps_what_is_up);
	tcase_add_test(tc, every_query_is_answered);
}
