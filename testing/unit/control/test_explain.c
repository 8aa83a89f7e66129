/* SPDX-License-Identifier: Apache-2.0 */
/* usage, doctor, cpus, metrics and measured algorithms of a daemon that runs. */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
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

static bool begin_with(const struct control_config *cfg)
{
	ctl_start(&t, CONF("127.0.0.1", "127.0.0.2"), cfg);
	ctl_start(&peer, CONF("127.0.0.2", "127.0.0.1"), NULL);
	ctl_join(&t, &peer);
	ctl_join(&peer, &t);
	ctl_connect(&t, &cl);
	return crypto_ke(t.d->crypto, CY_KE_X25519) != NULL;
}

static bool begin(void)
{
	return begin_with(NULL);
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
	json_t *c, *o;

	if (begin()) {
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
		c = answer("{\"id\":2,\"cmd\":\"cpus\",\"seconds\":0.1}\n");
		ck_assert_int_eq(number(c, "sa_count"), 2);
		ck_assert(json_is_true(json_object_get(c, "sas_seen")));
		/* this data plane does not say where an SA is, and that is said */
		ck_assert(json_is_false(json_object_get(c, "sa_cpus_known")));
		ck_assert_ptr_nonnull(json_object_get(c, "sa_cpus_how"));
		ck_assert_uint_gt(json_array_size(json_object_get(c, "cpus")), 0);
		/* but what it carried is asked of it, twice */
		ck_assert(json_is_true(json_object_get(c, "sas_counted")));
		o = row(c, "sas", "connection", "office", "direction", "in");
		ck_assert_ptr_nonnull(o);
		ck_assert_int_eq(number(o, "cpu"), -1);
		ck_assert(json_is_integer(json_object_get(o, "packets_per_second")));
		ck_assert_int_eq(number(o, "packets_per_second"), 0);
		json_decref(c);
	}
	end();
}
END_TEST

static bool has_label(const json_t *sample, const char *label, const char *value)
{
	const char *is = json_string_value(json_object_get(json_object_get(sample, "labels"), label));

	return !label || (is && strcmp(is, value) == 0);
}

/* Of the sample with both labels (NULL: any); -1: there is none. */
static double metric2(const char *name, const char *l1, const char *v1, const char *l2, const char *v2)
{
	json_t *m = answer("{\"id\":9,\"cmd\":\"metrics\"}\n"),
	       *f = row(m, "metrics", "name", name, NULL, NULL), *s;
	double v = -1;
	size_t i;

	ck_assert_msg(f != NULL, "%s", name);
	json_array_foreach(json_object_get(f, "samples"), i, s)
	{
		if (has_label(s, l1, v1) && has_label(s, l2, v2))
			v = json_number_value(json_object_get(s, "value"));
	}
	json_decref(m);
	return v;
}

static double metric(const char *name, const char *label, const char *value)
{
	return metric2(name, label, value, NULL, NULL);
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

static void carry(uint64_t packets, int32_t cpu, uint32_t rx_queue)
{
	__atomic_store_n(&t.packets, packets, __ATOMIC_RELAXED);
	__atomic_store_n(&t.cpu, cpu, __ATOMIC_RELAXED);
	__atomic_store_n(&t.rx_queue, rx_queue, __ATOMIC_RELAXED);
}

static double of_cpu(const char *what, const char *cpu, const char *direction)
{
	char name[64];

	snprintf(name, sizeof(name), "cygnet_cpu_esp_%s", what);
	return metric2(name, "cpu", cpu, "direction", direction);
}

static double of_queue(const char *what, const char *queue)
{
	char name[64];

	snprintf(name, sizeof(name), "cygnet_queue_esp_%s", what);
	return metric2(name, "interface", "lo", "queue", queue);
}

/* An SA that moves takes what it carries from then on to its new CPU and queue, and what it has carried stays where that was. */
START_TEST(packets_stay_with_the_cpu_that_carried_them)
{
	json_t *s, *o;

	ck_assert(begin());
	carry(5, 1, 3);
	ck_assert(of_cpu("sas", "0", "in") == 0); /* a CPU is there before it carries anything */
	command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
	ck_assert(of_cpu("sas", "1", "in") == 1);
	ck_assert(of_cpu("sas", "1", "out") == 1);
	ck_assert(of_cpu("packets", "1", "out") == 5);
	ck_assert(of_cpu("bytes", "1", "in") == 500);
	ck_assert(of_cpu("packets", "0", "in") == 0);
	ck_assert(of_queue("sas", "3") == 1);
	ck_assert(of_queue("packets", "3") == 5);
	ck_assert(of_queue("bytes", "3") == 500);
	carry(12, 0, 2);
	/* whoever reads the counters, and before metrics do */
	json_decref(answer("{\"id\":2,\"cmd\":\"status\"}\n"));
	ck_assert(of_cpu("sas", "1", "in") == 0);
	ck_assert(of_cpu("sas", "0", "in") == 1);
	ck_assert(of_cpu("packets", "1", "in") == 5);
	ck_assert(of_cpu("packets", "0", "in") == 7);
	ck_assert(of_cpu("bytes", "0", "out") == 700);
	ck_assert(of_queue("packets", "3") == 5);
	ck_assert(of_queue("packets", "2") == 7);
	carry(20, -1, 0);
	ck_assert(of_cpu("packets", "unknown", "in") == 8);
	ck_assert(of_cpu("sas", "unknown", "out") == 1);
	/* now, all that the SA has carried is where it is */
	carry(20, 6, 1);
	s = answer("{\"id\":3,\"cmd\":\"statusall\"}\n");
	ck_assert_uint_eq(json_array_size(json_object_get(s, "esp_cpus")), 1);
	o = json_array_get(json_object_get(s, "esp_cpus"), 0);
	ck_assert_int_eq(number(o, "cpu"), 6);
	ck_assert_int_eq(number(o, "sas_in"), 1);
	ck_assert_int_eq(number(o, "sas_out"), 1);
	ck_assert_int_eq(number(o, "packets_in"), 20);
	ck_assert_int_eq(number(o, "bytes_out"), 2000);
	ck_assert(json_number_value(json_object_get(o, "share")) == 100);
	o = json_array_get(json_object_get(s, "children"), 0);
	ck_assert_int_eq(number(json_object_get(o, "seen_in"), "cpu"), 6);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(o, "seen_in"), "queue")), "rx-1");
	ck_assert_int_eq(number(json_object_get(o, "seen_out"), "cpu"), 6);
	o = row(s, "esp_queues", "interface", "lo", "name", "rx-1");
	ck_assert_ptr_nonnull(o);
	ck_assert_int_eq(number(o, "packets_in"), 20);
	json_decref(s);
	s = answer("{\"id\":3,\"cmd\":\"statusall\",\"name\":\"nosuch\"}\n");
	ck_assert_ptr_null(json_object_get(s, "esp_cpus"));
	json_decref(s);
	/* it goes, what it did stays */
	command("{\"id\":1,\"cmd\":\"down\",\"name\":\"office\"}\n", NULL);
	ck_assert(of_cpu("sas", "6", "in") == 0);
	ck_assert(of_cpu("packets", "1", "in") == 5);
	ck_assert(of_cpu("packets", "0", "in") == 7);
	ck_assert(of_queue("sas", "1") == 0);
	ck_assert(of_queue("packets", "3") == 5);
	end();
}
END_TEST

/* When the first counting of an interval is over, and before the second. */
static void in_between(uint32_t queries)
{
	for (int i = 0; i < 500 && __atomic_load_n(&t.queries, __ATOMIC_RELAXED) < queries; i++)
		(void)nanosleep(&(struct timespec){0, 1000000}, NULL);
	ck_assert_uint_ge(__atomic_load_n(&t.queries, __ATOMIC_RELAXED), queries);
}

START_TEST(cpus_counts_what_each_sa_carries)
{
	enum { N = 200, OUT_MAX = 70000 };
	uint32_t before;
	json_t *c, *o;
	size_t i;

	/* more than may wait for a client */
	ck_assert(begin_with(&(struct control_config){.out_max = OUT_MAX}));
	for (int k = 0; k < N; k++)
		command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\",\"another\":true}\n", NULL);
	before = __atomic_load_n(&t.queries, __ATOMIC_RELAXED);
	ctl_send(&cl, "{\"id\":2,\"cmd\":\"cpus\",\"seconds\":0.5,\"sas\":1000}\n");
	in_between(before + 2 * N);
	carry(1001, -1, 0);
	c = ctl_rest(&cl);
	ck_assert_int_eq(number(c, "sa_count"), 2 * N);
	ck_assert(json_is_true(json_object_get(c, "sas_counted")));
	ck_assert_uint_eq(json_array_size(json_object_get(c, "sas")), 2 * N);
	json_array_foreach(json_object_get(c, "sas"), i, o)
	{
		json_int_t n = number(o, "packets_per_second");

		/* 1000 more in half a second or longer */
		ck_assert_int_gt(n, 0);
		ck_assert_int_le(n, 2000);
		ck_assert_int_le(llabs(number(o, "bytes_per_second") - 100 * n), 100);
	}
	json_decref(c);
	end();
}
END_TEST

START_TEST(cpus_sums_up_what_each_cpu_carries)
{
	json_t *c, *o;

	ck_assert(begin());
	carry(5, 0, 0);
	command("{\"id\":1,\"cmd\":\"up\",\"name\":\"office\"}\n", NULL);
	c = answer("{\"id\":2,\"cmd\":\"cpus\",\"seconds\":0.1}\n");
	ck_assert(json_is_true(json_object_get(c, "sa_cpus_known")));
	ck_assert(json_is_true(json_object_get(c, "sa_queues_known")));
	o = json_array_get(json_object_get(c, "cpus"), 0);
	ck_assert_int_eq(number(o, "sas_in"), 1);
	ck_assert_int_eq(number(o, "sas_out"), 1);
	json_decref(c);
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
	tcase_add_test(tc, packets_stay_with_the_cpu_that_carried_them);
	tcase_add_test(tc, cpus_counts_what_each_sa_carries);
	tcase_add_test(tc, cpus_sums_up_what_each_cpu_carries);
}
