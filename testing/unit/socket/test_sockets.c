/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "plugins/socket-default/sockets.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

static void host_log(void *self, enum cy_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (level <= CY_LOG_WARN) {
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
	}
	va_end(ap);
}

static int64_t host_setting_int(void *self, const char *key, int64_t fallback)
{
	return fallback;
}

static const struct cy_host host = {.size = sizeof(host), .log = host_log, .setting_int = host_setting_int};
static struct plugin plugin = {.host = &host};

struct seen {
	int n;
	uint16_t port[2]; /* by natt */
};

static void on_socket(void *user, int fd, int family, uint16_t port, bool natt)
{
	struct seen *seen = user;

	ck_assert_int_ge(fd, 0);
	ck_assert(family == AF_INET || family == AF_INET6);
	ck_assert(seen->port[natt] == 0 || seen->port[natt] == port);
	seen->port[natt] = port;
	seen->n++;
}

static struct sockets *open_any(struct seen *seen)
{
	struct cy_socket_config cfg = {
	    .size = sizeof(cfg), .ipv4 = true, .ipv6 = true, .on_socket = on_socket, .user = seen};
	uint32_t lanes = 0;
	void *s = NULL;

	ck_assert_int_eq(sockets_open(&plugin, &cfg, &s, &lanes), CY_OK);
	ck_assert_uint_eq(lanes, 1);
	ck_assert_int_ge(seen->n, 2);
	ck_assert_uint_ne(seen->port[0], 0);
	ck_assert_uint_ne(seen->port[1], 0);
	return s;
}

static struct cy_addr addr(const char *text, uint16_t port)
{
	struct cy_addr a = {.family = strchr(text, ':') ? AF_INET6 : AF_INET, .port = port};

	ck_assert_int_eq(inet_pton(a.family, text, a.ip), 1);
	return a;
}

/* Everything that arrives on any descriptor within a second, until n datagrams are there. */
static size_t receive(struct sockets *s, struct cy_dgram *out, size_t n)
{
	int fds[8];
	size_t n_fds = sockets_fds(s, 0, fds, 8), got = 0;
	struct pollfd p[8];

	for (size_t i = 0; i < n_fds; i++)
		p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	while (got < n && poll(p, n_fds, 1000) > 0)
		for (size_t i = 0; i < n_fds && got < n; i++)
			if (p[i].revents & POLLIN)
				got += sockets_recv(s, 0, fds[i], out + got, n - got);
	return got;
}

static void exchange(const char *from, const char *to, bool natt)
{
	struct seen seen = {0};
	struct sockets *s = open_any(&seen);
	uint8_t text[4] = {0, 0, 0, 1};
	struct cy_dgram d = {
	    .src = addr(from, seen.port[natt]),
	    .dst = addr(to, seen.port[natt]),
	    .data = text,
	    .len = sizeof(text),
	    .tos = 0xb8,
	    .natt = natt,
	};
	struct cy_dgram got[2];

	ck_assert_uint_eq(sockets_send(s, 7, &d, 1), 1);
	ck_assert_uint_eq(receive(s, got, 1), 1);
	ck_assert(cy_addr_eq(&got[0].src, &d.src));
	ck_assert(cy_addr_eq(&got[0].dst, &d.dst));
	ck_assert_uint_eq(got[0].natt, natt);
	ck_assert_uint_eq(got[0].tos, 0xb8);
	ck_assert_uint_ne(got[0].ifindex, 0);
	ck_assert_uint_eq(got[0].len, sizeof(text));
	ck_assert_mem_eq(got[0].data, text, sizeof(text));
	sockets_close(s);
}

START_TEST(ipv4_addresses_port_and_tos)
{
	/* an address of lo that the kernel would choose neither as source nor see as the only destination */
	exchange("127.0.0.7", "127.0.0.9", false);
	exchange("127.0.0.7", "127.0.0.9", true);
}
END_TEST

START_TEST(ipv6_addresses_port_and_tos)
{
	exchange("::1", "::1", false);
	exchange("::1", "::1", true);
}
END_TEST

START_TEST(a_batch_to_both_ports_is_counted)
{
	struct seen seen = {0};
	struct sockets *s = open_any(&seen);
	uint8_t bytes[80][8];
	struct cy_dgram d[80], got[80];
	struct cy_socket_stats stats[8];
	uint64_t rx = 0, tx = 0, rx_bytes = 0;
	size_t n, count;
	bool seen_no[80] = {false};

	for (int i = 0; i < 80; i++) {
		int natt = i % 3 == 0;

		memset(bytes[i], i, sizeof(bytes[i]));
		d[i] = (struct cy_dgram){
		    .src = addr("127.0.0.1", seen.port[natt]),
		    .dst = addr("127.0.0.1", seen.port[natt]),
		    .data = bytes[i],
		    .len = 8,
		    .natt = (uint8_t)natt,
		};
	}
	ck_assert_uint_eq(sockets_send(s, 0, d, 80), 80);
	for (count = 0; count < 80; count += n) {
		n = receive(s, got, 32);
		ck_assert_uint_gt(n, 0);
		/* data of an earlier recv() of the same call may be overwritten, so only the last can be told */
		seen_no[got[n - 1].data[0]] = true;
	}
	n = sockets_stats(s, stats, 8);
	ck_assert_uint_eq(n, (size_t)seen.n);
	for (size_t i = 0; i < n; i++) {
		rx += stats[i].rx_datagrams;
		tx += stats[i].tx_datagrams;
		rx_bytes += stats[i].rx_bytes;
		ck_assert_uint_ge(stats[i].rcvbuf, 4096);
	}
	ck_assert_uint_eq(rx, 80);
	ck_assert_uint_eq(tx, 80);
	ck_assert_uint_eq(rx_bytes, 640);
	ck_assert(seen_no[79] || seen_no[78]);
	sockets_close(s);
}
END_TEST

/* What is alike is sent as one, and may be received so; what arrives is what was sent, in its order. */
static void send_rows(const char *from, bool segments)
{
	static const uint16_t lens[] = {
	    1000, 1000, 1000, 300, 300, 1000, 1, 1, 1, 1, 1400, 1400, 700, 1400, 0, 0, 500};
	enum { N = 3 * 70 + sizeof(lens) / sizeof(lens[0]) };
	static uint8_t bytes[N][1400];
	static struct cy_dgram d[N];
	struct seen seen = {0};
	struct cy_socket_config cfg = {.size = sizeof(cfg),
	    .ipv4 = true,
	    .ipv6 = true,
	    .segments = segments,
	    .on_socket = on_socket,
	    .user = &seen};
	struct cy_socket_stats stats[8];
	size_t n = 0, together = 0;
	uint64_t rx = 0, tx = 0;
	uint32_t lanes;
	void *s;

	ck_assert_int_eq(sockets_open(&plugin, &cfg, &s, &lanes), CY_OK);
	for (size_t i = 0; i < N; i++) {
		d[i] = (struct cy_dgram){.src = addr(from, seen.port[1]),
		    .dst = addr(from, seen.port[1]),
		    .data = bytes[i],
		    .len = i < 210 ? 1200 : lens[i - 210],
		    .tos = i == 201 ? 0xb8 : 0,
		    .natt = 1};
		memset(bytes[i], (int)i, sizeof(bytes[i]));
	}
	ck_assert_uint_eq(sockets_send(s, 0, d, N), N);
	while (n < N) {
		struct cy_dgram got;
		uint32_t step;

		ck_assert_uint_eq(receive(s, &got, 1), 1);
		ck_assert(segments || got.segment == 0);
		together += got.segment != 0;
		step = got.segment ? got.segment : got.len;
		do {
			uint32_t len = got.len < step ? got.len : step;

			ck_assert_uint_eq(len, d[n].len);
			ck_assert_uint_eq(got.tos, d[n].tos);
			ck_assert(cy_addr_eq(&got.src, &d[n].src) && got.natt);
			ck_assert_mem_eq(got.data, bytes[n], len);
			got.data += len;
			got.len -= len;
			n++;
		} while (got.len > 0);
	}
	ck_assert((together > 0) == segments);
	for (size_t i = 0, k = sockets_stats(s, stats, 8); i < k; i++) {
		rx += stats[i].rx_datagrams;
		tx += stats[i].tx_datagrams;
		ck_assert_uint_eq(stats[i].tx_errors, 0);
	}
	ck_assert(rx == N && tx == N);
	sockets_close(s);
}

START_TEST(rows_of_datagrams)
{
	send_rows("127.0.0.1", true);
	send_rows("127.0.0.1", false);
	send_rows("::1", true);
	send_rows("::1", false);
}
END_TEST

START_TEST(large_empty_and_impossible)
{
	struct seen seen = {0};
	struct sockets *s = open_any(&seen);
	static uint8_t big[65507];
	struct cy_addr here = addr("127.0.0.1", seen.port[0]);
	struct cy_dgram d[3] = {
	    {.src = here, .dst = here, .data = big, .len = sizeof(big)},
	    {.src = addr("192.0.2.77", seen.port[0]), .dst = here, .data = big, .len = 1}, /* not ours */
	    {.src = here, .dst = here, .data = big, .len = 0},
	};
	struct cy_dgram got[4];
	struct cy_socket_stats stats[8];
	uint64_t errors = 0;

	ck_assert_uint_eq(sockets_send(s, 0, d, 3), 2);
	ck_assert_uint_eq(receive(s, got, 2), 2);
	ck_assert_uint_eq(got[0].len, sizeof(big));
	ck_assert_uint_eq(got[1].len, 0);
	ck_assert_uint_eq(sockets_recv(s, 0, s->lane[0].sock[0].fd, got, 4), 0);
	d[0].dst.family = 0;
	ck_assert_uint_eq(sockets_send(s, 0, d, 1), 0);
	for (size_t i = 0, n = sockets_stats(s, stats, 8); i < n; i++)
		errors += stats[i].tx_errors;
	ck_assert_uint_eq(errors, 2);
	sockets_close(s);
}
END_TEST

START_TEST(drops_are_seen)
{
	struct seen seen = {0};
	struct sockets *s;
	struct cy_socket_config cfg = {
	    .size = sizeof(cfg), .ipv4 = true, .rcvbuf = 4096, .on_socket = on_socket, .user = &seen};
	static uint8_t bytes[1000];
	struct cy_socket_stats stats[2];
	struct cy_dgram d;
	uint32_t lanes;
	void *p;

	ck_assert_int_eq(sockets_open(&plugin, &cfg, &p, &lanes), CY_OK);
	s = p;
	d = (struct cy_dgram){.src = addr("127.0.0.1", seen.port[0]), .data = bytes, .len = sizeof(bytes)};
	d.dst = d.src;
	for (int i = 0; i < 100; i++)
		sockets_send(s, 0, &d, 1);
	ck_assert_uint_eq(sockets_stats(s, stats, 2), 2);
	ck_assert_uint_gt(stats[0].kernel_drops, 50);
	ck_assert_uint_gt(stats[0].rx_queue_bytes, 0);
	ck_assert_uint_eq(stats[1].kernel_drops, 0);
	sockets_close(s);
}
END_TEST

START_TEST(a_port_in_use_is_refused)
{
	struct seen seen = {0};
	struct sockets *s = open_any(&seen);
	struct cy_socket_config cfg = {.size = sizeof(cfg), .ipv4 = true, .port = seen.port[0]};
	uint32_t lanes;
	void *other = NULL;

	ck_assert_int_eq(sockets_open(&plugin, &cfg, &other, &lanes), CY_E_EXISTS);
	ck_assert_ptr_null(other);
	sockets_close(s);
}
END_TEST

UNIT_TESTS(sockets)
{
	tcase_add_test(tc, ipv4_addresses_port_and_tos);
	tcase_add_test(tc, ipv6_addresses_port_and_tos);
	tcase_add_test(tc, a_batch_to_both_ports_is_counted);
	tcase_add_test(tc, rows_of_datagrams);
	tcase_add_test(tc, large_empty_and_impossible);
	tcase_add_test(tc, drops_are_seen);
	tcase_add_test(tc, a_port_in_use_is_refused);
}
