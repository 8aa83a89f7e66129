/* SPDX-License-Identifier: Apache-2.0 */
/* A group of sockets and its program: the kernel gives each datagram to the lane that the daemon's rule names. */
#include "unit.h"

#include "plugins/socket-default/sockets.h"
#include "plugins/socket-reuseport/steer.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LANES 5
#define SPIS  4000

static void host_log(void *self, enum cy_level level, const char *fmt, ...)
{
	(void)self;
	(void)level;
	(void)fmt;
}

static int64_t host_setting_int(void *self, const char *key, int64_t fallback)
{
	(void)self;
	(void)key;
	return fallback;
}

static const struct cy_host host = {.size = sizeof(host), .log = host_log, .setting_int = host_setting_int};
static struct plugin plugin = {.host = &host};
static const uint32_t key[4] = {0x7d1c23e5, 0x99a1b4f2, 0x01234567, 0xdeadbeef};

struct bed {
	struct sockets *s;
	int fd; /* who sends */
	struct sockaddr_in to[2];
	uint64_t rnd;
};

static uint64_t draw(struct bed *b)
{
	b->rnd = b->rnd * 6364136223846793005ull + 1442695040888963407ull;
	return b->rnd ^ b->rnd >> 29;
}

static void bed_init(struct bed *b, bool steer)
{
	struct cy_socket_config cfg = {.size = sizeof(cfg), .ipv4 = true, .ipv6 = true};

	memset(b, 0, sizeof(*b));
	b->rnd = 42;
	ck_assert_int_eq(sockets_open_group(&plugin, &cfg, LANES, &b->s), CY_OK);
	for (size_t i = 0; i < b->s->lane[0].n; i++) {
		const struct sock *k = &b->s->lane[0].sock[i];

		if (k->family == AF_INET)
			b->to[k->natt] = (struct sockaddr_in){.sin_family = AF_INET,
			    .sin_port = htons(k->port),
			    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		if (steer)
			ck_assert(steer_attach(k->fd, LANES, key, k->natt));
	}
	b->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(b->fd, 0);
}

static void bed_fini(struct bed *b)
{
	close(b->fd);
	sockets_close(b->s);
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* The lane where it arrives; loopback has delivered when sendto() returns. */
static uint32_t arrives(struct bed *b, const uint8_t *data, size_t len, bool natt)
{
	struct cy_dgram d[SOCKETS_BATCH];
	uint32_t at = UINT32_MAX;

	ck_assert_int_eq(
	    sendto(b->fd, data, len, 0, (struct sockaddr *)&b->to[natt], sizeof(b->to[natt])), (ssize_t)len);
	for (uint32_t lane = 0; lane < LANES; lane++)
		for (size_t i = 0; i < b->s->lane[lane].n; i++)
			if (sockets_recv(b->s, lane, b->s->lane[lane].sock[i].fd, d, SOCKETS_BATCH)) {
				ck_assert_uint_eq(at, UINT32_MAX);
				ck_assert_uint_eq(d[0].natt, natt);
				at = lane;
			}
	ck_assert_uint_ne(at, UINT32_MAX);
	return at;
}

static uint32_t ike_arrives(
    struct bed *b, uint64_t spi_i, uint64_t spi_r, uint8_t version, uint8_t flags, bool natt)
{
	uint8_t m[4 + 28] = {0}, *h = m + 4;

	put64(h, spi_i);
	put64(h + 8, spi_r);
	h[17] = version;
	h[19] = flags;
	return arrives(b, natt ? m : h, natt ? sizeof(m) : 28, natt);
}

static uint32_t hash_of(uint64_t spi_i)
{
	return cy_steer_hash(key, (uint32_t)(spi_i >> 32), (uint32_t)spi_i) % LANES;
}

START_TEST(each_spi_finds_its_lane)
{
	struct bed b;
	unsigned seen[LANES] = {0};

	bed_init(&b, true);
	for (int i = 0; i < SPIS; i++) {
		uint64_t si = draw(&b), sr = draw(&b);
		bool natt = i & 1;

		/* responder: the peer is the original initiator; initiator: SPIi is ours; IKE_SA_INIT; IKEv1 of both roles */
		ck_assert_uint_eq(ike_arrives(&b, si, sr, 0x20, 0x08, natt), (sr >> 56) % LANES);
		ck_assert_uint_eq(ike_arrives(&b, si, sr, 0x20, 0x20, natt), (si >> 56) % LANES);
		ck_assert_uint_eq(ike_arrives(&b, si, 0, 0x20, 0x08, natt), hash_of(si));
		ck_assert_uint_eq(ike_arrives(&b, si, sr, 0x10, 0x01, natt), hash_of(si));
		seen[hash_of(si)]++;
	}
	/* and the hash spreads: within a quarter of its share */
	for (int i = 0; i < LANES; i++) {
		ck_assert_uint_gt(seen[i], SPIS / LANES * 3 / 4);
		ck_assert_uint_lt(seen[i], SPIS / LANES * 5 / 4);
	}
	bed_fini(&b);
}
END_TEST

START_TEST(half_zero_spis_are_no_zero)
{
	struct bed b;

	bed_init(&b, true);
	ck_assert_uint_eq(ike_arrives(&b, 1, 0x0300000000000000, 0x20, 0x08, false), 3);
	ck_assert_uint_eq(ike_arrives(&b, 1, 0x0000000000000007, 0x20, 0x08, false), 0);
	ck_assert_uint_eq(ike_arrives(&b, 0x0400000000000000, 1, 0x20, 0, true), 4);
	bed_fini(&b);
}
END_TEST

START_TEST(esp_goes_by_its_spi)
{
	struct bed b;
	uint8_t esp[40] = {0};

	bed_init(&b, true);
	for (int i = 0; i < 1000; i++) {
		uint64_t r = draw(&b);

		put64(esp, r);
		if (r >> 32)
			ck_assert_uint_eq(arrives(&b, esp, sizeof(esp), true), (r >> 56) % LANES);
	}
	bed_fini(&b);
}
END_TEST

START_TEST(short_datagrams_arrive_too)
{
	struct bed b;
	uint8_t bytes[40] = {0xff};

	bed_init(&b, true);
	for (size_t n = 1; n < 20; n++)
		for (int natt = 0; natt < 2; natt++)
			(void)arrives(&b, bytes, n, natt);
	bed_fini(&b);
}
END_TEST

/* Without the program the kernel hashes addresses and ports: all of one peer's land in one lane. */
START_TEST(without_a_program_addresses_decide)
{
	struct bed b;
	uint32_t lane;

	bed_init(&b, false);
	lane = ike_arrives(&b, 1, draw(&b), 0x20, 0x08, false);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(ike_arrives(&b, draw(&b), draw(&b), 0x20, 0x08, false), lane);
	bed_fini(&b);
}
END_TEST

START_TEST(a_port_in_use_is_refused)
{
	struct bed b;
	struct cy_socket_config cfg = {.size = sizeof(cfg), .ipv4 = true};
	struct sockets *other = NULL;

	bed_init(&b, true);
	cfg.port = ntohs(b.to[0].sin_port);
	ck_assert_int_eq(sockets_open_group(&plugin, &cfg, LANES, &other), CY_E_EXISTS);
	ck_assert_ptr_null(other);
	bed_fini(&b);
}
END_TEST

/* --- shedding ------------------------------------------------------------------------------------------------------- */

struct kind {
	const char *what;
	size_t len; /* after the non-ESP marker */
	uint8_t next, version, exchange, flags, spi_r;
	bool first;
};

static const struct kind kinds[] = {
    {"IKE_SA_INIT", 28, 33, 0x20, 34, 0x08, 0, true},
    {"IKE_SA_INIT, longer", 400, 33, 0x20, 34, 0x08, 0, true},
    {"main mode", 28, 1, 0x10, 2, 0, 0, true},
    {"aggressive mode", 28, 1, 0x10, 4, 0, 0, true},
    {"a cookie that returns", 28, 41, 0x20, 34, 0x08, 0, false},
    {"a response without an SPI", 28, 41, 0x20, 34, 0x20, 0, false},
    {"another one", 28, 33, 0x20, 34, 0x20, 0, false},
    {"IKE_AUTH", 28, 46, 0x20, 35, 0x08, 1, false},
    {"INFORMATIONAL", 28, 46, 0x20, 37, 0x08, 1, false},
    {"main mode, third message", 28, 4, 0x10, 2, 0, 1, false},
    {"INFORMATIONAL of IKEv1", 28, 11, 0x10, 5, 0, 0, false},
    {"too short", 20, 33, 0x20, 34, 0x08, 0, false},
};

/* How many of n arrive on any lane. */
static int survive(struct bed *b, const struct kind *k, bool natt, const uint8_t *marker, int n)
{
	uint8_t m[4 + 400] = {0}, *h = m + 4;
	struct cy_dgram d[SOCKETS_BATCH];
	int got = 0;

	memcpy(m, marker, 4);
	h[0] = 1;
	h[15] = k->spi_r;
	h[16] = k->next;
	h[17] = k->version;
	h[18] = k->exchange;
	h[19] = k->flags;
	for (int i = 0; i < n; i++) {
		size_t len = k->len + (natt ? 4 : 0);

		ck_assert_int_eq(
		    sendto(b->fd, natt ? m : h, len, 0, (struct sockaddr *)&b->to[natt], sizeof(b->to[natt])),
		    (ssize_t)len);
		for (uint32_t lane = 0; lane < LANES; lane++)
			for (size_t j = 0; j < b->s->lane[lane].n; j++)
				got += (int)sockets_recv(
				    b->s, lane, b->s->lane[lane].sock[j].fd, d, SOCKETS_BATCH);
	}
	return got;
}

static void keep(struct bed *b, uint32_t of_65536)
{
	for (uint32_t lane = 0; lane < LANES; lane++)
		ck_assert_int_eq(sockets_keep_first(b->s, lane, of_65536), CY_OK);
}

static uint64_t total(struct bed *b, size_t offset)
{
	struct cy_socket_stats st[LANES * SOCKETS_LANE];
	size_t n = sockets_stats(b->s, st, LANES * SOCKETS_LANE);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += *(const uint64_t *)((const uint8_t *)&st[i] + offset);
	return sum;
}
#define TOTAL(b, field) total(b, offsetof(struct cy_socket_stats, field))

START_TEST(first_requests_are_shed)
{
	static const uint8_t zero[4], esp[4] = {1, 2, 3, 4};
	struct bed b;
	uint64_t shed;
	int got;

	bed_init(&b, true);
	for (int natt = 0; natt < 2; natt++)
		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			const struct kind *k = &kinds[i];

			keep(&b, 0);
			shed = TOTAL(&b, shed);
			got = survive(&b, k, natt, zero, 1);
			ck_assert_msg(got == !k->first, "%s, port %d: %d", k->what, natt, got);
			ck_assert_uint_eq(TOTAL(&b, shed), shed + k->first);
			if (natt) /* ESP, whatever is in it */
				ck_assert_int_eq(survive(&b, k, natt, esp, 1), 1);
			keep(&b, 65536);
			ck_assert_int_eq(survive(&b, k, natt, zero, 1), 1);
		}
	keep(&b, 65536); /* again does no harm */
	/* a quarter of 1000, give or take 10 standard deviations */
	keep(&b, 16384);
	got = survive(&b, &kinds[0], false, zero, 1000);
	ck_assert_int_gt(got, 110);
	ck_assert_int_lt(got, 390);
	ck_assert_uint_eq(TOTAL(&b, kernel_drops), 0);
	bed_fini(&b);
}
END_TEST

/* What a full queue drops is told apart from what is shed. */
START_TEST(shed_and_full)
{
	struct cy_dgram d[SOCKETS_BATCH];
	uint8_t m[400] = {0};
	uint64_t full;
	struct bed b;

	m[15] = 1;
	bed_init(&b, true);
	for (int i = 0; i < 40000; i++)
		ck_assert_int_eq(
		    sendto(b.fd, m, sizeof(m), 0, (struct sockaddr *)&b.to[0], sizeof(b.to[0])), sizeof(m));
	full = TOTAL(&b, kernel_drops);
	ck_assert_uint_gt(full, 0);
	for (uint32_t lane = 0; lane < LANES; lane++)
		for (size_t j = 0; j < b.s->lane[lane].n; j++)
			while (sockets_recv(b.s, lane, b.s->lane[lane].sock[j].fd, d, SOCKETS_BATCH))
				;
	keep(&b, 0);
	ck_assert_int_eq(survive(&b, &kinds[0], false, m, 10), 0);
	ck_assert_uint_eq(TOTAL(&b, kernel_drops), full);
	ck_assert_uint_eq(TOTAL(&b, shed), 10);
	keep(&b, 65536);
	ck_assert_uint_eq(TOTAL(&b, kernel_drops), full);
	ck_assert_uint_eq(TOTAL(&b, shed), 10);
	bed_fini(&b);
}
END_TEST

UNIT_TESTS(steer)
{
	tcase_add_test(tc, each_spi_finds_its_lane);
	tcase_add_test(tc, half_zero_spis_are_no_zero);
	tcase_add_test(tc, esp_goes_by_its_spi);
	tcase_add_test(tc, short_datagrams_arrive_too);
	tcase_add_test(tc, without_a_program_addresses_decide);
	tcase_add_test(tc, a_port_in_use_is_refused);
	tcase_add_test(tc, first_requests_are_shed);
	tcase_add_test(tc, shed_and_full);
}
