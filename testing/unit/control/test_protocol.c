/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl_util.h"

static const char conf[] =
    "config setup\n\tdialect=strongswan\n\n"
    "conn home\n\tkeyexchange=ikev2\n\tleft=127.0.0.1\n\tright=127.0.0.2\n\tauthby=psk\n\tauto=add\n";

static struct ctl t;
static struct ctl_client cl;

static void nap(void)
{
	(void)nanosleep(&(struct timespec){0, 2000000}, NULL);
}

static struct control_stats stats(void)
{
	struct control_stats s;

	control_read_stats(t.c, &s);
	return s;
}

START_TEST(a_request_may_come_byte_by_byte)
{
	static const char text[] = "{\"id\": 7, \"cmd\": \"version\"}\n";
	json_t *v;

	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	for (const char *p = text; *p; p++) {
		ck_assert_int_eq(send(cl.fd, p, 1, 0), 1);
		nap();
	}
	v = ctl_next(&cl);
	ck_assert_int_eq(json_integer_value(json_object_get(v, "id")), 7);
	ck_assert_str_eq(json_string_value(json_object_get(v, "event")), "data");
	json_decref(v);
	ck_assert_uint_eq(ctl_done(&cl, NULL), 0);
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

START_TEST(requests_in_one_piece_are_answered_by_their_ids)
{
	json_t *v;

	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	ctl_send(&cl,
	    "{\"id\":1,\"cmd\":\"version\"}\n\n{\"id\":\"two \\u00e9\",\"cmd\":\"version\"}\n{\"id\":3,");
	ck_assert_uint_eq(ctl_done(&cl, NULL), 1);
	v = ctl_next(&cl);
	ck_assert_str_eq(json_string_value(json_object_get(v, "id")), "two \u00e9");
	json_decref(v);
	ctl_done(&cl, NULL);
	ctl_send(&cl, "\"cmd\":\"version\"}\n");
	ck_assert_uint_eq(ctl_done(&cl, NULL), 1);
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

START_TEST(what_is_no_request_is_answered_and_the_next_one_works)
{
	static const char *const bad[] = {"hello", "{", "[]", "1", "{\"id\":1}", "{\"cmd\":\"version\"}",
	    "{\"id\":null,\"cmd\":\"version\"}", "{\"id\":1,\"cmd\":2}",
	    "{\"id\":1,\"id\":1,\"cmd\":\"version\"}", "{\"id\":1,\"cmd\":\"version\"} x", "\xff\xfe",
	    "{\"id\":1,\"cmd\":\"version\",\"x\":\"\\ud800\"}"};

	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ctl_send(&cl, bad[i]);
		ctl_send(&cl, "\n");
		ctl_done(&cl, "bad-request");
	}
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"statusal\"}\n");
	ctl_done(&cl, "unknown-command");
	ck_assert_uint_eq(stats().bad_requests, sizeof(bad) / sizeof(bad[0]) + 1);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"version\"}\n");
	ctl_done(&cl, NULL);
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

START_TEST(a_line_that_is_too_long_is_skipped)
{
	char *text = malloc(200001);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', 200000);
	text[200000] = '\0';
	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	for (int i = 0; i < 200000; i += 20000) { /* it is read as it comes */
		ck_assert_int_eq(send(cl.fd, text + i, 20000, 0), 20000);
		nap();
	}
	ctl_done(&cl, "bad-request");
	ctl_send(&cl, "\n{\"id\":1,\"cmd\":\"version\"}\n");
	ctl_done(&cl, NULL);
	ck_assert_uint_eq(stats().dropped_line, 1);
	free(text);
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

/* The daemon closed it: what was sent may still be read, then comes the end. */
static bool closed_soon(void)
{
	char buf[65536];

	for (int i = 0; i < 5000; i++) {
		ssize_t n = recv(cl.fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n == 0)
			return true;
		if (n < 0)
			nap();
	}
	return false;
}

START_TEST(a_client_that_asks_and_never_reads_is_disconnected)
{
	const struct control_config cfg = {.out_max = 65536};
	struct ctl_client other;

	ctl_start(&t, conf, &cfg);
	ctl_connect(&t, &cl);
	ctl_connect(&t, &other);
	for (int i = 0; i < 100000 && !stats().dropped_unread; i++)
		if (send(cl.fd, "{\"id\":1,\"cmd\":\"stats\"}\n", 23, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			nap();
	ck_assert_uint_eq(stats().dropped_unread, 1);
	ck_assert(closed_soon());
	/* nobody else noticed */
	ctl_send(&other, "{\"id\":1,\"cmd\":\"status\"}\n");
	ctl_done(&other, NULL);
	ctl_close(&other);
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

START_TEST(a_client_that_stops_reading_is_disconnected_after_a_while)
{
	const struct control_config cfg = {.stall_ns = 300 * NS_PER_MS, .out_max = 64u << 20};

	ctl_start(&t, conf, &cfg);
	ctl_connect(&t, &cl);
	/* more than a socket takes, less than the limit */
	for (int i = 0; i < 2000; i++)
		if (send(cl.fd, "{\"id\":1,\"cmd\":\"stats\"}\n", 23, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
	for (int i = 0; i < 2500 && !stats().dropped_unread; i++)
		nap();
	ck_assert_uint_eq(stats().dropped_unread, 1);
	ck_assert(closed_soon());
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

START_TEST(a_client_that_only_stops_sending_gets_its_answers)
{
	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"status\"}\n");
	ck_assert_int_eq(shutdown(cl.fd, SHUT_WR), 0);
	ctl_done(&cl, NULL);
	ck_assert_ptr_null(ctl_next(&cl));
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

/* Of a client that is gone no event comes, though a helper process that was begun meanwhile has its socket until exec(). */
START_TEST(a_child_process_may_hold_the_socket_of_who_is_gone)
{
	struct ctl_client other = {0};
	pid_t child;

	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	child = fork();
	if (child == 0) {
		close(cl.fd);
		pause();
		_exit(0);
	}
	ck_assert_int_gt(child, 0);
	ctl_close(&cl);
	for (int i = 0; i < 3; i++) {
		ctl_connect(&t, &other);
		ctl_send(&other, "{\"id\":1,\"cmd\":\"status\"}\n");
		ctl_done(&other, NULL);
		ctl_close(&other);
	}
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ctl_stop(&t);
}
END_TEST

START_TEST(one_client_too_many_is_told)
{
	const struct control_config cfg = {.max_clients = 1};
	struct ctl_client other = {0};
	int fds[2];
	json_t *v;

	ctl_start(&t, conf, &cfg);
	ctl_connect(&t, &cl);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(control_adopt(t.c, fds[1]), CY_OK);
	other.fd = fds[0];
	v = ctl_next(&other);
	ck_assert_str_eq(json_string_value(json_object_get(v, "event")), "refused");
	json_decref(v);
	ck_assert_ptr_null(ctl_next(&other));
	ctl_close(&other);
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

START_TEST(stop_reaches_whoever_runs_the_daemon)
{
	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"stop\"}\n");
	ctl_done(&cl, NULL);
	for (int i = 0; i < 1000 && !__atomic_load_n(&t.stops, __ATOMIC_RELAXED); i++)
		nap();
	ck_assert_uint_eq(__atomic_load_n(&t.stops, __ATOMIC_RELAXED), 1);
	ctl_close(&cl);
	ctl_stop(&t);
}
END_TEST

START_TEST(clients_may_be_there_when_it_stops)
{
	ctl_start(&t, conf, NULL);
	ctl_connect(&t, &cl);
	ctl_send(&cl, "{\"id\":1,\"cmd\":\"log\",\"follow\":true}\n");
	ctl_stop(&t);
	while (true) {
		json_t *v = ctl_next(&cl);

		if (!v)
			break;
		json_decref(v);
	}
	ctl_close(&cl);
}
END_TEST

UNIT_TESTS(protocol)
{
	tcase_add_test(tc, a_request_may_come_byte_by_byte);
	tcase_add_test(tc, requests_in_one_piece_are_answered_by_their_ids);
	tcase_add_test(tc, what_is_no_request_is_answered_and_the_next_one_works);
	tcase_add_test(tc, a_line_that_is_too_long_is_skipped);
	tcase_add_test(tc, a_client_that_asks_and_never_reads_is_disconnected);
	tcase_add_test(tc, a_client_that_stops_reading_is_disconnected_after_a_while);
	tcase_add_test(tc, a_client_that_only_stops_sending_gets_its_answers);
	tcase_add_test(tc, a_child_process_may_hold_the_socket_of_who_is_gone);
	tcase_add_test(tc, one_client_too_many_is_told);
	tcase_add_test(tc, stop_reaches_whoever_runs_the_daemon);
	tcase_add_test(tc, clients_may_be_there_when_it_stops);
}
