/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <stdio.h>
#include <time.h>

#include "ctl_util.h"
#include "daemon/sa/manager.h"

#define CONF(mine, theirs)                                                                                   \
	"config setup\n\tdialect=strongswan\n\n"                                                             \
	"conn office\n\tkeyexchange=ikev2\n\tauthby=psk\n\tauto=add\n\tleft=" mine "\n\tright=" theirs       \
	"\n\tleftsubnet=10.1.0.0/16\n\trightsubnet=10.1.0.0/16\n"

static struct ctl t, peer;
static struct ctl_client cl;

static void begin(void)
{
	ctl_start(&t, CONF("127.0.0.1", "127.0.0.2"), NULL);
	ctl_start(&peer, CONF("127.0.0.2", "127.0.0.1"), NULL);
	ctl_join(&t, &peer);
	ctl_join(&peer, &t);
	ctl_connect(&t, &cl);
	ctl_need_crypto(&t);
}

static void end(void)
{
	ctl_close(&cl);
	ctl_join(&peer, NULL);
	ctl_stop(&t);
	ctl_stop(&peer);
}

static void command(const char *cmd, const char *name, const char *code)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"id\":1,\"cmd\":\"%s\",\"name\":\"%s\"}\n", cmd, name);
	ctl_send(&cl, text);
	ctl_done(&cl, code);
}

/* One more CHILD_SA of a connection that may be up. */
static void another(void)
{
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"up\",\"name\":\"office\",\"another\":true}\n");
	ctl_done(&cl, NULL);
}

struct found {
	uint32_t ike_sas, children, notes;
	json_int_t last_child, packets;
};

/* status, until it is done */
static struct found status(void)
{
	struct found f = {0};
	json_t *v;

	ctl_send(&cl, "{\"id\":9,\"cmd\":\"status\"}\n");
	while ((v = ctl_next(&cl))) {
		const char *event = json_string_value(json_object_get(v, "event"));
		const char *list = json_string_value(json_object_get(v, "list"));
		const json_t *data = json_object_get(v, "data");
		bool done = strcmp(event, "done") == 0;

		if (done)
			ck_assert(json_is_true(json_object_get(v, "ok")));
		f.notes += strcmp(event, "progress") == 0;
		f.ike_sas += list && strcmp(list, "ike_sas") == 0;
		if (list && strcmp(list, "children") == 0) {
			f.children++;
			f.last_child = json_integer_value(json_object_get(data, "id"));
			f.packets += json_integer_value(json_object_get(data, "packets_in"));
		}
		json_decref(v);
		if (done)
			break;
	}
	return f;
}

START_TEST(what_comes_up_is_listed_and_goes_down)
{
	struct found f;
	char name[32];

	begin();
	command("up", "office", NULL);
	f = status();
	ck_assert_uint_eq(f.ike_sas, 1);
	ck_assert_uint_eq(f.children, 1);
	ck_assert_int_eq(f.packets, 1); /* what the data plane says */
	ck_assert_uint_eq(f.notes, 0);
	command("up", "office", NULL); /* it is */
	ck_assert_uint_eq(status().children, 1);
	another();
	f = status(); /* in the same IKE_SA */
	ck_assert_uint_eq(f.ike_sas, 1);
	ck_assert_uint_eq(f.children, 2);
	snprintf(name, sizeof(name), "office{%lld}", (long long)f.last_child);
	command("down", name, NULL);
	ck_assert_uint_eq(status().children, 1);
	command("down", "office{}", NULL);
	f = status();
	ck_assert_uint_eq(f.ike_sas, 1);
	ck_assert_uint_eq(f.children, 0);
	command("down", "office", NULL);
	ck_assert_uint_eq(status().ike_sas, 0);
	command("down", "office", "not-found");
	end();
}
END_TEST

/* More CHILD_SAs in one IKE_SA than there are items in a chunk. */
START_TEST(many_children_of_one_sa_are_listed_once)
{
	enum { N = 150 };
	struct found f;

	begin();
	for (int i = 0; i < N; i++)
		another();
	f = status();
	ck_assert_uint_eq(f.ike_sas, 1);
	ck_assert_uint_eq(f.children, N);
	ck_assert_int_eq(f.packets, N);
	end();
}
END_TEST

START_TEST(a_data_plane_that_hangs_holds_up_nobody)
{
	struct timespec a, b;
	struct found f;
	double took;

	begin();
	command("up", "office", NULL);
	__atomic_store_n(&t.query_ms, 1500, __ATOMIC_RELAXED);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	f = status();
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	ck_assert_uint_eq(f.children, 1);
	ck_assert_uint_eq(f.notes, 1); /* that the counters are old */
	ck_assert(took > 0.9 && took < 2.5);
	__atomic_store_n(&t.query_ms, 0, __ATOMIC_RELAXED);
	end();
}
END_TEST

START_TEST(a_wrong_key_is_said_in_one_sentence)
{
	json_t *v;
	const char *text = NULL;

	begin();
	ctl_write(&peer, "ipsec.secrets", ": PSK \"another\"\n");
	ck_assert_int_eq(daemon_reload(peer.d, NULL, NULL), CY_OK);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n");
	while ((v = ctl_next(&cl))) {
		text = json_string_value(json_object_get(json_object_get(v, "error"), "text"));
		if (text)
			ck_assert_ptr_nonnull(strstr(text, "authentication"));
		json_decref(v);
		if (text)
			break;
	}
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_eq(status().ike_sas, 0);
	end();
}
END_TEST

UNIT_TESTS(tunnel)
{
	tcase_add_test(tc, what_comes_up_is_listed_and_goes_down);
	tcase_add_test(tc, many_children_of_one_sa_are_listed_once);
	tcase_add_test(tc, a_data_plane_that_hangs_holds_up_nobody);
	tcase_add_test(tc, a_wrong_key_is_said_in_one_sentence);
}
