/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floods for testing/flood/run: sends at most COUNT datagrams and at most SECONDS seconds long, or until SIGTERM, then prints what it did.
 *
 * flood MODE TARGET SOURCE COUNT SECONDS RATE
 *
 * MODE: spoofed      first requests from random addresses of the /16 of SOURCE, whose answers nobody reads
 *       v1           the same of main mode
 *       garbage      random bytes, half of them behind the header of an IKE message, to both ports, from there as well
 *       auth         IKE_AUTH and fragments (RFC 7383) for IKE_SAs that do not exist, from there as well
 *       halfopen     first requests from addresses that follow SOURCE and are ours: cookies are returned, IKE_AUTH never comes
 *       one          as halfopen, from the one address SOURCE
 *       replay       one cookie, returned from all addresses and with all SPIs
 *       repeat       as halfopen with a large group, each request a hundred times
 *       v1fragments  main mode from such addresses, then fragments of a message that never becomes complete
 *       huge         messages of 60,000 bytes, which arrive in fragments of IP
 *
 * Key and nonce of a request are made from its SPI, so that an answer is enough to know what it is about.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH  64
#define PORT   500
#define ADDRS  200
#define PORTS  10
#define COPIES 100
#define PIECES 8
#define HUGE   60000

static volatile sig_atomic_t stop; /* SIGTERM: enough */
static uint64_t state = 88172645463325252u;
static uint32_t source, target;
static unsigned long limit;
static double until, rate, began;

static struct {
	unsigned long sent, cookies, puzzles, half_open, refused;
} n;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool enough(void)
{
	return stop || n.sent >= limit || now() >= until;
}

static void pace(void)
{
	while (!stop && now() - began < (double)n.sent / rate)
		usleep(500);
}

static uint8_t *fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rnd();
	return p + len;
}

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
	memcpy(p, data, len);
	return p + len;
}

/* --- messages -------------------------------------------------------------------------------------------------------------- */

static uint8_t *header(uint8_t *m, uint64_t spi_i, uint64_t spi_r, uint8_t next, uint8_t version,
    uint8_t exchange, uint8_t flags)
{
	uint8_t *p = put(put(m, &spi_i, 8), &spi_r, 8);

	p = put(p, (uint8_t[]){next, version, exchange, flags}, 4);
	memset(p, 0, 8); /* message ID and length */
	return p + 8;
}

static size_t finish(uint8_t *m, const uint8_t *end)
{
	uint32_t len = htonl((uint32_t)(end - m));

	memcpy(m + 24, &len, 4);
	return (size_t)(end - m);
}

/* A first request that is fine: aes128gcm16-prfsha256 with x25519 or, big, MODP_4096; as the gateway wants it. */
static size_t init_request(uint8_t *m, uint64_t spi, const uint8_t *cookie, size_t n_cookie, bool big)
{
	const uint8_t sa[] = {34, 0, 0, 40, 0, 0, 0, 36, 1, 1, 0, 3, 3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0,
	    128, 3, 0, 0, 8, 2, 0, 0, 5, 0, 0, 0, 8, 4, 0, 0, big ? 16 : 31};
	size_t n_ke = big ? 512 : 32;
	uint64_t before = state;
	uint8_t *p = header(m, spi, 0, cookie ? 41 : 33, 0x20, 34, 0x08);

	if (cookie) {
		size_t len = n_cookie + 8;

		p = put(p, (uint8_t[]){33, 0, (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0x40, 6}, 8);
		p = put(p, cookie, n_cookie);
	}
	state = spi;
	p = put(p, sa, sizeof(sa));
	p = put(p, (uint8_t[]){40, 0, (uint8_t)((n_ke + 8) >> 8), (uint8_t)(n_ke + 8), 0, sa[39], 0, 0}, 8);
	p = fill(p, n_ke);
	p[-(long)n_ke] = 0x55; /* smaller than the modulus */
	p = put(p, (uint8_t[]){0, 0, 0, 36}, 4);
	p = fill(p, 32);
	state = before;
	return finish(m, p);
}

/* The first message of main mode: aes128-sha256-modp2048 and a pre-shared key. */
static size_t v1_request(uint8_t *m, uint64_t spi)
{
	static const uint8_t sa[] = {0, 0, 0, 56, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 44, 1, 1, 0, 1, 0, 0, 0,
	    36, 1, 1, 0, 0, 0x80, 1, 0, 7, 0x80, 14, 0, 128, 0x80, 2, 0, 4, 0x80, 3, 0, 1, 0x80, 4, 0, 14,
	    0x80, 11, 0, 1, 0x80, 12, 0x0e, 0x10};

	return finish(m, put(header(m, spi, 0, 1, 0x10, 2, 0), sa, sizeof(sa)));
}

/* Piece `number` of a message of which there is no last. */
static size_t v1_piece(uint8_t *m, uint64_t spi_i, uint64_t spi_r, uint8_t number)
{
	uint8_t *p = header(m, spi_i, spi_r, 132, 0x10, 2, 0);

	p = put(p, (uint8_t[]){0, 0, 1200 >> 8, 1200 & 0xff, 0, 1, number, 0}, 8);
	return finish(m, fill(p, 1192));
}

static size_t garbage(uint8_t *m)
{
	size_t len = 1 + rnd() % 1200;

	fill(m, len);
	if (rnd() & 1 && len > 28)
		finish(header(m, rnd(), rnd() & 1 ? rnd() : 0, (uint8_t)(33 + rnd() % 22), 0x20,
		           (uint8_t)(34 + rnd() % 4), 0x08) -
		        28,
		    m + len);
	return len;
}

/* SK or SKF for SPIs that nobody has. */
static size_t auth(uint8_t *m)
{
	size_t len = 200 + rnd() % 900, body = len - 28;
	uint8_t *p;

	fill(m, len);
	p = header(m, rnd(), rnd(), rnd() & 1 ? 46 : 53, 0x20, 35, 0x08);
	m[23] = 1;
	put(p, (uint8_t[]){35, 0, (uint8_t)(body >> 8), (uint8_t)body}, 4);
	return finish(m, m + len);
}

/* --- with forged addresses ---------------------------------------------------------------------------------------------------- */

struct batch {
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	uint8_t buf[BATCH][2048];
	struct sockaddr_in to;
	unsigned n;
};

/* IP and UDP around a message. */
static size_t wrap(uint8_t *out, const uint8_t *m, size_t len, uint16_t dport)
{
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .daddr = target};
	struct udphdr udp = {.source = htons((uint16_t)(1024 + rnd() % 60000)), .dest = htons(dport)};

	ip.saddr = htonl((ntohl(source) & 0xffff0000) | (uint32_t)(rnd() & 0xffff));
	ip.tot_len = htons((uint16_t)(28 + len));
	udp.len = htons((uint16_t)(8 + len));
	memcpy(out, &ip, 20);
	memcpy(out + 20, &udp, 8); /* without a checksum, as RFC 768 allows */
	memcpy(out + 28, m, len);
	return 28 + len;
}

static void forged(const char *mode)
{
	static struct batch b;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	uint8_t m[2048];

	if (fd < 0) {
		perror("flood: socket");
		exit(1);
	}
	b.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = target};
	while (!enough()) {
		int sent;

		for (unsigned i = 0; i < BATCH; i++) {
			bool both = strcmp(mode, "garbage") == 0;
			size_t len = both               ? garbage(m)
			    : strcmp(mode, "auth") == 0 ? auth(m)
			    : strcmp(mode, "v1") == 0   ? v1_request(m, rnd())
			                                : init_request(m, rnd(), NULL, 0, false);

			b.iov[i] =
			    (struct iovec){b.buf[i], wrap(b.buf[i], m, len, both && rnd() & 1 ? 4500 : PORT)};
			b.msg[i].msg_hdr = (struct msghdr){.msg_name = &b.to,
			    .msg_namelen = sizeof(b.to),
			    .msg_iov = &b.iov[i],
			    .msg_iovlen = 1};
		}
		sent = sendmmsg(fd, b.msg, BATCH, 0);
		n.sent += sent > 0 ? (unsigned)sent : 0;
		pace();
	}
}

/* --- with addresses of our own ------------------------------------------------------------------------------------------------- */

static int bound(uint32_t addr, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = addr};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 1 << 20;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		perror("flood: bind");
		exit(1);
	}
	return fd;
}

static void transmit(int fd, const uint8_t *m, size_t len)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = target};

	if (sendto(fd, m, len, 0, (struct sockaddr *)&to, sizeof(to)) > 0)
		n.sent++;
}

static struct {
	bool one, replay, repeat, v1;
	uint8_t cookie[64];
	size_t n_cookie; /* replay: the one */
} how;

/* Sends the answer to an answer. */
static void heard(int fd, const uint8_t *in, size_t got)
{
	uint64_t spi_i, spi_r;
	uint8_t m[2048];
	size_t len;

	memcpy(&spi_i, in, 8);
	memcpy(&spi_r, in + 8, 8);
	if (in[17] == 0x10) {
		if (in[16] != 1 || in[18] != 2) {
			n.refused++;
			return;
		}
		n.half_open++;
		for (uint8_t i = 1; i <= PIECES; i++)
			transmit(fd, m, v1_piece(m, spi_i, spi_r, i));
		return;
	}
	if (in[16] == 33) {
		n.half_open++;
		return;
	}
	if (in[16] != 41 || in[34] != 0x40 || in[35] != 6) {
		n.refused++;
		return;
	}
	n.cookies++;
	if (in[28] == 41)
		n.puzzles++; /* and we do not solve it */
	len = (size_t)(in[30] << 8 | in[31]) - 8;
	if (len > sizeof(how.cookie) || 36 + len > got)
		return;
	if (!how.replay) {
		transmit(fd, m, init_request(m, spi_i, in + 36, len, how.repeat));
	} else if (!how.n_cookie) {
		memcpy(how.cookie, in + 36, len);
		how.n_cookie = len;
	}
}

static void answered(void)
{
	unsigned n_fds = how.one ? PORTS : ADDRS;
	uint8_t m[2048], in[2048];
	int fds[ADDRS];

	for (unsigned i = 0; i < n_fds; i++)
		/* one: many ports of one address */
		fds[i] = bound(htonl(ntohl(source) + (how.one ? 0 : 1 + i)), (uint16_t)(20000 + i));
	while (!enough())
		for (unsigned i = 0; i < n_fds && !enough(); i++) {
			uint64_t spi = rnd();
			size_t len;
			ssize_t got;

			while ((got = recv(fds[i], in, sizeof(in), 0)) > 0)
				if (got >= 36)
					heard(fds[i], in, (size_t)got);
			len = how.v1 ? v1_request(m, spi)
			             : init_request(m, spi, how.n_cookie ? how.cookie : NULL, how.n_cookie,
			                   how.repeat);
			for (int k = 0; k < (how.repeat ? COPIES : 1); k++)
				transmit(fds[i], m, len);
			pace();
		}
}

static void huge(void)
{
	int fd = bound(htonl(ntohl(source) + 1), 30000);
	uint8_t *m = calloc(1, HUGE);

	if (!m)
		exit(1);
	while (!enough()) {
		(void)init_request(m, rnd(), NULL, 0, false);
		(void)finish(m, m + HUGE);
		transmit(fd, m, HUGE);
		pace();
	}
}

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	const char *mode = argc == 7 ? argv[1] : "";

	if (argc != 7 || inet_pton(AF_INET, argv[2], &target) != 1 ||
	    inet_pton(AF_INET, argv[3], &source) != 1) {
		fprintf(stderr, "usage: flood MODE TARGET SOURCE COUNT SECONDS RATE\n");
		return 2;
	}
	(void)signal(SIGTERM, on_term);
	limit = strtoul(argv[4], NULL, 10);
	began = now();
	until = began + strtod(argv[5], NULL);
	rate = strtod(argv[6], NULL);
	how.one = strcmp(mode, "one") == 0;
	how.replay = strcmp(mode, "replay") == 0;
	how.repeat = strcmp(mode, "repeat") == 0;
	how.v1 = strcmp(mode, "v1fragments") == 0;
	if (strcmp(mode, "huge") == 0)
		huge();
	else if (how.one || how.replay || how.repeat || how.v1 || strcmp(mode, "halfopen") == 0)
		answered();
	else
		forged(mode);
	printf("{\"sent\": %lu, \"cookies\": %lu, \"puzzles\": %lu, \"half_open\": %lu, \"refused\": %lu, "
	       "\"seconds\": %.2f}\n",
	    n.sent, n.cookies, n.puzzles, n.half_open, n.refused, now() - began);
	return 0;
}
