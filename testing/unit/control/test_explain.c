/* SPDX-License-Identifier: Apache-2.0 */
/* usage, doctor, cpus, metrics and measured algorithms of a daemon that runs. */

#include "unit.h"

#include <stdio.h>
#include <time.h>

#include "ctl_util.h"
#include "daemon/sa/manager.h"
#include "libcore/crypto/registry.h"

#define CONF(mine, theirs)                                                                                   \
	"config setup\n\tdialect=strongswan\n\n"                                                             \
	"conn office\n\tkeyexchange=ikev2\n\tauthby=psk\n\tauto=add\n\tleft=" mine "\n\tright=" theirs       \
	"\n\tleftsubnet=10.1.0.0/16\n\trightsubnet=10.1.0.0/16\n"

static struct ctl t, peer;
static struct ctl_client cl;

static bool begin(void)
{
	ctl_start(&t, CONF("127.0.0.1", "127.0.0.2"), NULL);
	ctl_start(&peer, CONF("127.0.0.2", "127.0.0.1"), NULL);
	ctl_join(&t, &peer);
	ctl_join(&peer, &t);
	ctl_connect(&t, &cl);
	return crypto_ke(t.d->crypto, CY_KE_X25519) != NULL;
}

static void end(void)
{
	ctl_close(&cl);
	ctl_join(&peer, NULL);
	ctl_stop(&t);
	ctl_stop(&peer);
}

static void command(const char *text, const char *code)
{
	ctl_send(&cl, text);
	ctl_done(&cl, code);
}

static json_t *answer(const char *text)
{
	return ctl_answer(&cl, text);
}

static json_t *row(
    json_t *all, const char *list, const char *k1, const char *v1, const char *k2, const char *v2)
{
	return ctl_row(all, list, k1, v1, k2, v2);
}

static json_int_t number(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

START_TEST(usage_tells_what_a_tunnel_cost)
{
	json_t *u, *o;
	bool calm = false;

	if (begin()) {
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
		u = answer("{\"id\":2,\"cmd\":\"usage\"}\n");
		ck_assert_ptr_nonnull(row(u, "jobs", "kind", "datagram", NULL, NULL));
		ck_assert_ptr_nonnull(row(u, "exchanges", "exchange", "IKE_SA_INIT", NULL, NULL));
		ck_assert_ptr_nonnull(row(u, "exchanges", "exchange", "IKE_AUTH", NULL, NULL));
		o = row(u, "connections", "name", "office", NULL, NULL);
		ck_assert_ptr_nonnull(o);
		ck_assert_int_gt(number(o, "count"), 0);
		ck_assert_ptr_nonnull(row(u, "crypto", "operation", "derive", "plugin", "openssl"));
		ck_assert_ptr_nonnull(row(u, "crypto", "operation", "encrypt", NULL, NULL));
		ck_assert_ptr_nonnull(row(u, "crypto", "operation", "decrypt", NULL, NULL));
		ck_assert_ptr_nonnull(row(u, "kernel", "operation", "sa_add", NULL, NULL));
		ck_assert_ptr_nonnull(row(u, "waits", "queue", "worker", NULL, NULL));
		ck_assert_ptr_nonnull(row(u, "threads", "name", "worker-0", NULL, NULL));
		ck_assert_uint_eq(json_array_size(json_object_get(u, "workers")), 2);
		json_decref(u);
		/* in the next moment nothing of the sort; the last step counts when it ends, which may be after what it said */
		for (int i = 0; !calm && i < 20; i++) {
			u = answer("{\"id\":3,\"cmd\":\"usage\",\"seconds\":0.2}\n");
			ck_assert_int_ge(number(u, "interval_ms"), 200);
			calm = !row(u, "crypto", "operation", "derive", NULL, NULL) &&
			    !row(u, "exchanges", "exchange", "IKE_AUTH", NULL, NULL);
			json_decref(u);
		}
		ck_assert(calm);
	}
	command("{\"id\":4,\"cmd\":\"usage\",\"seconds\":\"5\"}\n", "bad-request");
	command("{\"id\":4,\"cmd\":\"usage\",\"seconds\":-1}\n", "bad-request");
	command("{\"id\":4,\"cmd\":\"cpus\",\"seconds\":1e9}\n", "bad-request");
	end();
}
END_TEST

/* Everything but the machine is idle here: what there is to find is provoked. */
START_TEST(the_doctor_sees_a_slow_data_plane)
{
	json_t *d, *f;

	if (begin()) {
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
		/* queries that take long, asked for by a second client while the doctor looks */
		__atomic_store_n(&t.query_ms, 300, __ATOMIC_RELAXED);
		ctl_send(&cl, "{\"id\":5,\"cmd\":\"status\"}\n{\"id\":6,\"cmd\":\"status\"}\n");
		ctl_done(&cl, NULL);
		ctl_done(&cl, NULL);
		ctl_send(&cl, "{\"id\":7,\"cmd\":\"status\"}\n");
		ctl_done(&cl, NULL);
		d = answer("{\"id\":8,\"cmd\":\"usage\"}\n");
		f = row(d, "kernel", "operation", "sa_query", NULL, NULL);
		ck_assert_ptr_nonnull(f);
		ck_assert_int_ge(number(f, "max_us"), 300000);
		json_decref(d);
		__atomic_store_n(&t.query_ms, 0, __ATOMIC_RELAXED);
	}
	end();
}
END_TEST

START_TEST(the_doctor_answers)
{
	json_t *d, *f;

	if (begin()) {
		/* nobody there: the exchange is given up */
		ctl_join(&t, NULL);
		t.d->tune.retransmit_tries = 1;
		t.d->tune.retransmit_timeout_ns = 50 * NS_PER_MS;
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", "failed");
		d = answer("{\"id\":2,\"cmd\":\"doctor\",\"seconds\":0.3}\n");
		f = row(d, "findings", "id", "peers-silent", NULL, NULL);
		ck_assert_ptr_nonnull(f);
		ck_assert_str_eq(json_string_value(json_object_get(f, "level")), "past");
		ck_assert(json_is_true(json_object_get(d, "sas_seen")));
		ck_assert(json_is_true(json_object_get(d, "speeds_known")));
		ck_assert_int_ge(number(d, "interval_ms"), 300);
		json_decref(d);
	}
	end();
}
END_TEST

START_TEST(algorithms_are_measured)
{
	json_t *s, *o;

	if (begin()) {
		s = answer("{\"id\":1,\"cmd\":\"listalgs\",\"speed\":true}\n");
		o = row(s, "speeds", "name", "CURVE_25519", "kind", "key-exchange");
		ck_assert_ptr_nonnull(o);
		ck_assert_int_gt(number(o, "ns"), 1000);
		ck_assert_ptr_nonnull(row(s, "speeds", "kind", "encryption", NULL, NULL));
		ck_assert_ptr_nonnull(row(s, "speeds", "kind", "mac", NULL, NULL));
		json_decref(s);
	}
	end();
}
END_TEST

START_TEST(cpus_lists_the_machine)
{
	json_t *c;

	if (begin()) {
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
		c = answer("{\"id\":2,\"cmd\":\"cpus\",\"seconds\":0.1}\n");
		ck_assert_int_eq(number(c, "sa_count"), 2);
		ck_assert(json_is_true(json_object_get(c, "sas_seen")));
		/* this data plane does not say where an SA is, and that is said */
		ck_assert(json_is_false(json_object_get(c, "sa_cpus_known")));
		ck_assert_ptr_nonnull(json_object_get(c, "sa_cpus_how"));
		ck_assert_uint_gt(json_array_size(json_object_get(c, "cpus")), 0);
		ck_assert_ptr_nonnull(row(c, "sas", "connection", "office", "direction", "in"));
		json_decref(c);
	}
	end();
}
END_TEST

static double metric(const char *name, const char *label, const char *value)
{
	json_t *m = answer("{\"id\":9,\"cmd\":\"metrics\"}\n"),
	       *f = row(m, "metrics", "name", name, NULL, NULL), *s;
	double v = -1;
	size_t i;

	ck_assert_msg(f != NULL, "%s", name);
	json_array_foreach(json_object_get(f, "samples"), i, s)
	{
		const char *is = json_string_value(json_object_get(json_object_get(s, "labels"), label));

		if (is && strcmp(is, value) == 0)
			v = json_number_value(json_object_get(s, "value"));
	}
	json_decref(m);
	return v;
}

static double wait_metric(const char *name, const char *label, const char *value, double at_least)
{
	double v = -1;

	for (int i = 0; i < 100 && v < at_least; i++) {
		v = metric(name, label, value);
		if (v < at_least)
			(void)nanosleep(&(struct timespec){0, 20000000}, NULL);
	}
	return v;
}

/* Each CHILD_SA here has carried one packet of 100 bytes in each direction, says the data plane. */
START_TEST(counters_only_grow)
{
	if (begin()) {
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
		ck_assert(metric("cygnet_connection_ike_sas_established", "connection", "office") == 1);
		ck_assert(metric("cygnet_connection_child_sas_established", "connection", "office") == 1);
		ck_assert(metric("cygnet_connection_received_bytes", "connection", "office") == 100);
		ck_assert(metric("cygnet_user_received_bytes", "user", "127.0.0.2") == 100);
		ck_assert(metric("cygnet_cpu_softirq_seconds", "cpu", "0") >= 0);
		ck_assert(metric("cygnet_cpu_received_packets", "cpu", "0") > 0);
		/* asking again adds nothing */
		ck_assert(metric("cygnet_connection_sent_packets", "connection", "office") == 1);
		/* gone, with what it carried counted once */
		command("{\"id\":1,\"cmd\":\"down\",\"name\":\"office\"}\n", NULL);
		ck_assert(
		    wait_metric("cygnet_connection_received_bytes", "connection", "office", 100) == 100);
		/* another one, which goes before anybody asks */
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
		command("{\"id\":1,\"cmd\":\"down\",\"name\":\"office\"}\n", NULL);
		ck_assert(
		    wait_metric("cygnet_connection_received_bytes", "connection", "office", 200) == 200);
		ck_assert(metric("cygnet_connection_ike_sas_established", "connection", "office") == 2);
	}
	end();
}
END_TEST

UNIT_TESTS(explain)
{
	tcase_add_test(tc, usage_tells_what_a_tunnel_cost);
	tcase_add_test(tc, the_doctor_sees_a_slow_data_plane);
	tcase_add_test(tc, the_doctor_answers);
	tcase_add_test(tc, algorithms_are_measured);
	tcase_add_test(tc, cpus_lists_the_machine);
	tcase_add_test(tc, counters_only_grow);
}
