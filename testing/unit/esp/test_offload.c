/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting what the TUN device gives, and joining what it is given. */

#include "unit.h"

#include "offload.h"
#include "packet.h"
#include "rig.h"

#include <netinet/in.h>
#include <stdlib.h>

#define MAX_FRAMES 128

/* What a coalescer wrote. */
static struct {
	struct virtio_net_hdr h;
	size_t len;
	uint8_t p[FRAME_MAX + 1];
} written[MAX_FRAMES];
static size_t n_written;

static void collect(void *user, const struct iovec *iov, int n)
{
	ck_assert_uint_lt(n_written, MAX_FRAMES);
	ck_assert_uint_eq(iov[0].iov_len, sizeof(struct virtio_net_hdr));
	memcpy(&written[n_written].h, iov[0].iov_base, iov[0].iov_len);
	written[n_written].len = 0;
	for (int i = 1; i < n; i++) {
		ck_assert_uint_le(written[n_written].len + iov[i].iov_len, FRAME_MAX);
		memcpy(written[n_written].p + written[n_written].len, iov[i].iov_base, iov[i].iov_len);
		written[n_written].len += iov[i].iov_len;
	}
	n_written++;
}

/* As the definition has it (RFC 1071), two bytes at a time. */
static uint32_t plain_sum(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* How a stream is made: v6, UDP, payload in all and of each packet, TCP options, flags of the last. */
struct make {
	bool ip6, udp;
	size_t payload, size, options;
	uint8_t flags;
	uint16_t sport;
	uint32_t seq;
};

static size_t l4_of(const struct make *m)
{
	return m->ip6 ? IP6_HEADER : IP4_HEADER;
}

static size_t headers_of(const struct make *m)
{
	return l4_of(m) + (m->udp ? 8 : 20 + m->options);
}

static uint32_t pseudo(const struct make *m, const uint8_t *p, size_t l4_len)
{
	uint32_t sum = (uint32_t)l4_len + (m->udp ? IPPROTO_UDP : IPPROTO_TCP);

	return m->ip6 ? plain_sum(p + 8, 32, sum) : plain_sum(p + 12, 8, sum);
}

/* The frame as the kernel would give it; its length. */
static size_t make_frame(const struct make *m, uint8_t *p, struct virtio_net_hdr *h)
{
	size_t l4 = l4_of(m), headers = headers_of(m), len = headers + m->payload;
	uint16_t at = m->udp ? 6 : 16;

	rig_packet(p, headers, m->ip6 ? "fd01::1" : "10.1.0.1", m->sport ? m->sport : 1000,
	    m->ip6 ? "fd02::1" : "10.2.0.1", 80);
	p[m->ip6 ? 6 : 9] = m->udp ? IPPROTO_UDP : IPPROTO_TCP;
	if (m->ip6) {
		put_be16(p + 4, (uint16_t)(len - 40));
	} else {
		put_be16(p + 2, (uint16_t)len);
		put_be16(p + 4, 65530); /* the number passes its end */
		put_be16(p + 10, 0);
		put_be16(p + 10, packet_sum_fold(plain_sum(p, 20, 0)));
	}
	if (m->udp) {
		put_be16(p + l4 + 4, (uint16_t)(len - l4));
	} else {
		memset(p + l4 + 4, 0, 16);
		put_be32(p + l4 + 4, m->seq);
		put_be32(p + l4 + 8, 77);
		p[l4 + 12] = (uint8_t)((20 + m->options) / 4 << 4);
		p[l4 + 13] = (uint8_t)(0x10 | m->flags);
		put_be16(p + l4 + 14, 500);
		for (size_t i = 0; i < m->options; i++)
			p[l4 + 20 + i] = (uint8_t)(i + 1);
	}
	for (size_t i = 0; i < m->payload; i++)
		p[headers + i] = (uint8_t)(i * 31 + (i >> 8) * 7 + 1);
	put_be16(p + l4 + at, (uint16_t)pseudo(m, p, len - l4));
	*h = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	    .gso_type = m->udp ? VIRTIO_NET_HDR_GSO_UDP_L4
	        : m->ip6       ? VIRTIO_NET_HDR_GSO_TCPV6
	                       : VIRTIO_NET_HDR_GSO_TCPV4,
	    .hdr_len = (uint16_t)headers,
	    .gso_size = (uint16_t)m->size,
	    .csum_start = (uint16_t)l4,
	    .csum_offset = at};
	return len;
}

static bool sums_are_right(const struct make *m, const uint8_t *p, size_t len)
{
	size_t l4 = l4_of(m);

	return packet_sum_fold(plain_sum(p + l4, len - l4, pseudo(m, p, len - l4))) == 0 &&
	    (m->ip6 || packet_sum_fold(plain_sum(p, 20, 0)) == 0);
}

/* Packet i of the stream, complete, and how long it is. */
static size_t make_packet(const struct make *m, size_t i, uint8_t *to)
{
	static uint8_t p[FRAME_MAX + 1];
	struct virtio_net_hdr h;
	struct frame f;
	size_t len = make_frame(m, p, &h);

	ck_assert_int_eq(frame_open(&h, p, len, &f), CY_OK);
	return frame_packet(&f, i, to);
}

static void cut_and_join(const struct make *m)
{
	static uint8_t p[FRAME_MAX + 1], room[2 * FRAME_MAX], before[FRAME_MAX + 1];
	struct virtio_net_hdr h;
	static struct coalesce c;
	struct frame f;
	size_t len = make_frame(m, p, &h), headers = headers_of(m), l4 = l4_of(m), at = 0, sum = 0;

	memcpy(before, p, len);
	ck_assert_int_eq(frame_open(&h, p, len, &f), CY_OK);
	ck_assert_uint_eq(f.n, (m->payload + m->size - 1) / m->size);
	n_written = 0;
	coalesce_init(&c, true, true, collect, NULL);
	for (size_t i = 0; i < f.n; i++) {
		size_t n = frame_packet(&f, i, room + at), whole;
		const uint8_t *x = room + at;

		ck_assert_uint_eq(n, frame_packet_len(&f, i));
		ck_assert_int_eq(packet_check(x, n, &whole), CY_OK);
		ck_assert_uint_eq(whole, n);
		ck_assert(sums_are_right(m, x, n));
		ck_assert_mem_eq(x + headers, before + headers + i * m->size, n - headers);
		if (!m->ip6)
			ck_assert_uint_eq(get_be16(x + 4), (uint16_t)(65530 + i));
		if (m->udp) {
			ck_assert_uint_eq(get_be16(x + l4 + 4), n - l4);
		} else {
			ck_assert_uint_eq(get_be32(x + l4 + 4), (uint32_t)(m->seq + i * m->size));
			/* FIN and PSH come last, CWR first (RFC 3168, 6.1.2) */
			ck_assert_uint_eq(
			    x[l4 + 13], 0x10 | (m->flags & ((i ? 0 : 0x80) | (i + 1 < f.n ? 0 : 0x09))));
		}
		sum += n - headers;
		coalesce_add(&c, room + at, n);
		at += n;
	}
	ck_assert_uint_eq(sum, m->payload);
	coalesce_flush(&c);
	if (m->flags & 0x80) /* what CWR is in stays by itself */
		return;
	ck_assert_uint_eq(n_written, (f.n + COALESCE_PACKETS - 1) / COALESCE_PACKETS);
	if (n_written > 1)
		return;
	/* what was cut comes out as it was */
	ck_assert_uint_eq(written[0].len, len);
	if (f.n > 1) {
		ck_assert_mem_eq(&written[0].h, &h, sizeof(h));
		ck_assert_mem_eq(written[0].p, before, len);
	} else {
		ck_assert(written[0].h.flags == 0 && written[0].h.gso_type == 0);
		ck_assert(sums_are_right(m, written[0].p, len));
	}
}

START_TEST(cut_and_joined)
{
	static const size_t sizes[] = {1, 536, 1360, 1439};

	for (int kind = 0; kind < 4; kind++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			for (size_t n = 1; n <= 48; n += n < 4 ? 1 : 11)
				for (size_t odd = 0; odd < 2 && n * sizes[s] > odd; odd++) {
					struct make m = {.ip6 = kind & 1,
					    .udp = kind & 2,
					    .size = sizes[s],
					    .payload = n * sizes[s] - odd,
					    .options = kind & 2 ? 0 : 12,
					    .flags = kind & 2 ? 0 : 0x08,
					    .seq = UINT32_MAX - 3000};

					if (headers_of(&m) + m.payload > FRAME_MAX)
						continue;
					cut_and_join(&m);
				}
	cut_and_join(&(struct make){.payload = 5000, .size = 1000, .flags = 0x89, .seq = 1});
	cut_and_join(&(struct make){.payload = 5000, .size = 1000, .flags = 0x09, .seq = 1});
	cut_and_join(&(struct make){.payload = 300, .size = 4, .seq = 1});
	cut_and_join(&(struct make){.payload = 65400, .size = 1360, .options = 40, .seq = 1});
}
END_TEST

START_TEST(left_to_the_device)
{
	uint8_t p[256];
	struct virtio_net_hdr h;
	struct frame f;

	for (int kind = 0; kind < 4; kind++) {
		struct make m = {.ip6 = kind & 1, .udp = kind & 2, .payload = 101, .size = 1};
		size_t len = make_frame(&m, p, &h);

		h.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		ck_assert_int_eq(frame_open(&h, p, len, &f), CY_OK);
		ck_assert(f.n == 1 && f.len == len && sums_are_right(&m, p, len));
		/* what has its sum keeps it */
		h.flags = 0;
		ck_assert_int_eq(frame_open(&h, p, len, &f), CY_OK);
		ck_assert(sums_are_right(&m, p, len));
	}
	/* a sum of 0 is sent as 0xffff, in UDP */
	for (uint32_t x = 0; x < 65536; x++) {
		struct make m = {.udp = true, .payload = 2, .size = 1};
		size_t len = make_frame(&m, p, &h);

		h.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		put_be16(p + 28, (uint16_t)x);
		ck_assert_int_eq(frame_open(&h, p, len, &f), CY_OK);
		if (get_be16(p + 26) == 0xffff)
			return;
		ck_assert_uint_ne(get_be16(p + 26), 0);
	}
	ck_abort_msg("no payload has that sum");
}
END_TEST

static bool refused(const struct make *m, void (*spoil)(uint8_t *p, size_t l4, struct virtio_net_hdr *h))
{
	uint8_t made[4096], *p;
	struct virtio_net_hdr h;
	struct frame f;
	size_t len = make_frame(m, made, &h);
	bool no;

	spoil(made, l4_of(m), &h);
	p = malloc(len);
	memcpy(p, made, len);
	no = frame_open(&h, p, len, &f) == CY_E_PARSE;
	free(p);
	return no;
}

static void no_size(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->gso_size = 0;
}

static void no_sum(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->flags = 0;
}

static void far_start(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->csum_start = 65535;
}

static void late_start(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->csum_start = 3000;
}

static void early_start(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->csum_start = (uint16_t)(l4 - 2);
}

static void far_field(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->gso_type = 0;
	h->csum_offset = 65535;
}

static void edge_field(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->gso_type = 0;
	h->csum_offset = (uint16_t)(3000 - 1 + 40 + 8 - l4); /* one byte beyond at the most */
}

static void unknown_type(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->gso_type = 3; /* UDP fragments, which nobody asked for */
}

static void other_type(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	h->gso_type =
	    h->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
}

static void other_proto(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	p[l4 == 40 ? 6 : 9] = IPPROTO_SCTP;
}

static void is_cut(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	put_be16(p + (l4 == 40 ? 4 : 2), 4000);
}

static void short_tcp(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	p[l4 + 12] = 0x40;
}

static void long_tcp(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	put_be16(p + (l4 == 40 ? 4 : 2), (uint16_t)(l4 == 40 ? 50 : 70));
	p[l4 + 12] = 0xf0;
}

static void fragment(uint8_t *p, size_t l4, struct virtio_net_hdr *h)
{
	put_be16(p + 6, 0x2000);
}

START_TEST(nonsense_is_refused)
{
	static const struct make tcp4 = {.payload = 3000, .size = 1000};
	static const struct make tcp6 = {.ip6 = true, .payload = 3000, .size = 1000};
	static const struct make udp6 = {.ip6 = true, .udp = true, .payload = 3000, .size = 1000};
	static void (*const all[])(uint8_t *, size_t, struct virtio_net_hdr *) = {no_size, no_sum, far_start,
	    early_start, far_field, unknown_type, other_type, other_proto, is_cut};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		ck_assert_msg(refused(&tcp4, all[i]), "case %zu", i);
		ck_assert_msg(refused(&tcp6, all[i]), "case %zu", i);
		ck_assert_msg(refused(&udp6, all[i]), "case %zu", i);
	}
	ck_assert(refused(&tcp4, short_tcp) && refused(&tcp6, short_tcp));
	ck_assert(refused(&tcp4, long_tcp) && refused(&tcp6, long_tcp));
	ck_assert(refused(&tcp4, fragment) && refused(&tcp4, late_start));
	ck_assert(refused(&udp6, edge_field));
}
END_TEST

/* ---- what is not joined */

static uint8_t two[2][2048];
static size_t two_len[2];

/* How many frames two packets, one after the other, become when the second is changed. */
static size_t frames_of(const struct make *m, void (*change)(uint8_t *p, size_t l4), bool repair)
{
	static struct coalesce c;
	size_t l4 = l4_of(m), at = l4 + (m->udp ? 6 : 16);

	n_written = 0;
	coalesce_init(&c, true, true, collect, NULL);
	for (size_t i = 0; i < 2; i++)
		two_len[i] = make_packet(m, i, two[i]);
	if (change)
		change(two[1], l4);
	if (repair) {
		put_be16(two[1] + at, 0);
		put_be16(two[1] + at,
		    packet_sum_fold(
		        plain_sum(two[1] + l4, two_len[1] - l4, pseudo(m, two[1], two_len[1] - l4))));
	}
	for (size_t i = 0; i < 2; i++)
		coalesce_add(&c, two[i], two_len[i]);
	coalesce_flush(&c);
	/* whatever it is, none is lost, and they come in order */
	if (n_written == 2)
		for (size_t i = 0; i < 2; i++) {
			ck_assert_uint_eq(written[i].len, two_len[i]);
			ck_assert_mem_eq(written[i].p, two[i], two_len[i]);
			ck_assert(written[i].h.flags == 0 && written[i].h.gso_type == 0);
		}
	return n_written;
}

#define CHANGE(name, ...)                                                                                    \
	static void name(uint8_t *p, size_t l4)                                                              \
	{                                                                                                    \
		__VA_ARGS__;                                                                                 \
	}

CHANGE(other_payload, p[l4 + 45] ^= 1)
CHANGE(other_seq, p[l4 + 7] ^= 1)
CHANGE(other_ack, p[l4 + 11] ^= 1)
CHANGE(with_syn, p[l4 + 13] |= 0x02)
CHANGE(with_rst, p[l4 + 13] |= 0x04)
CHANGE(with_urg, p[l4 + 13] |= 0x20)
CHANGE(with_cwr, p[l4 + 13] |= 0x80)
CHANGE(with_ece, p[l4 + 13] |= 0x40)
CHANGE(without_ack, p[l4 + 13] &= 0xef)
CHANGE(other_window, p[l4 + 15] ^= 1)
CHANGE(other_option, p[l4 + 30] ^= 1)
CHANGE(other_port, p[l4 + 1] ^= 1)
CHANGE(other_source, p[15] ^= 1)
CHANGE(other_tos, p[1] ^= 0x20)
CHANGE(other_ttl, p[l4 == 40 ? 7 : 8] ^= 1)
CHANGE(other_df, p[6] ^= 0x40)
CHANGE(other_id, p[5] ^= 1)
CHANGE(a_fragment, p[6] ^= 0x20)
CHANGE(no_udp_sum, put_be16(p + l4 + 6, 0))
CHANGE(other_udp_len, p[l4 + 5] ^= 1)

START_TEST(what_is_not_joined)
{
	static const struct make tcp = {.payload = 2000, .size = 1000, .options = 12, .seq = 5};
	static const struct make tcp6 = {.ip6 = true, .payload = 2000, .size = 1000, .options = 12, .seq = 5};
	static const struct make udp = {.udp = true, .payload = 2000, .size = 1000};
	static void (*const any[])(uint8_t *, size_t) = {other_seq, other_ack, with_syn, with_rst, with_urg,
	    with_cwr, with_ece, without_ack, other_window, other_option, other_port, other_tos, other_ttl};
	static void (*const ip4[])(uint8_t *, size_t) = {other_df, other_id, a_fragment, other_source};

	ck_assert_uint_eq(frames_of(&tcp, NULL, true), 1);
	ck_assert_uint_eq(frames_of(&tcp6, NULL, true), 1);
	ck_assert_uint_eq(frames_of(&udp, NULL, true), 1);
	for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
		ck_assert_msg(frames_of(&tcp, any[i], true) == 2, "case %zu", i);
		ck_assert_msg(frames_of(&tcp6, any[i], true) == 2, "case %zu", i);
	}
	for (size_t i = 0; i < sizeof(ip4) / sizeof(ip4[0]); i++)
		ck_assert_msg(frames_of(&tcp, ip4[i], true) == 2, "case %zu", i);
	/* not authentic end to end: its receiver is to see that */
	ck_assert_uint_eq(frames_of(&tcp, other_payload, false), 2);
	ck_assert_uint_eq(frames_of(&tcp6, other_payload, false), 2);
	ck_assert_uint_eq(frames_of(&udp, other_payload, false), 2);
	ck_assert_uint_eq(frames_of(&udp, no_udp_sum, false), 2);
	ck_assert_uint_eq(frames_of(&udp, other_udp_len, true), 2);
	ck_assert_uint_eq(frames_of(&udp, other_ttl, true), 2);
}
END_TEST

START_TEST(flows_and_order)
{
	static uint8_t room[40][2048];
	static struct coalesce c;
	size_t n = 0;

	/* ten flows in turn, more than are kept apart at a time: all arrives, each flow in order */
	n_written = 0;
	coalesce_init(&c, true, true, collect, NULL);
	for (size_t i = 0; i < 4; i++)
		for (uint16_t flow = 0; flow < 10; flow++, n++) {
			struct make m = {
			    .payload = 4000, .size = 1000, .seq = 1, .sport = (uint16_t)(100 + flow)};

			coalesce_add(&c, room[n], make_packet(&m, i, room[n]));
		}
	coalesce_flush(&c);
	for (uint16_t flow = 0; flow < 10; flow++) {
		uint32_t next = 1;

		for (size_t i = 0; i < n_written; i++)
			if (get_be16(written[i].p + 20) == 100 + flow) {
				ck_assert_uint_eq(get_be32(written[i].p + 24), next);
				next += (uint32_t)(written[i].len - 40);
			}
		ck_assert_uint_eq(next, 4001);
	}
	/* an acknowledgement does not overtake the data before it */
	n_written = 0;
	for (size_t i = 0; i < 2; i++) {
		struct make m = {.payload = 2000, .size = 1000, .seq = 1};

		coalesce_add(&c, room[i], make_packet(&m, i, room[i]));
	}
	make_packet(&(struct make){.payload = 1, .size = 1, .seq = 2001}, 0, room[2]);
	put_be16(room[2] + 2, 40);
	coalesce_add(&c, room[2], 40);
	ck_assert_uint_eq(n_written, 2);
	ck_assert_uint_eq(written[0].len, 2040);
	ck_assert_uint_eq(written[1].len, 40);
	/* switched off, everything is written at once and as it is */
	n_written = 0;
	coalesce_init(&c, false, false, collect, NULL);
	for (size_t i = 0; i < 2; i++) {
		struct make m = {.payload = 2000, .size = 1000, .seq = 1};

		coalesce_add(&c, room[i], make_packet(&m, i, room[i]));
	}
	ck_assert_uint_eq(n_written, 2);
}
END_TEST

START_TEST(sums)
{
	uint8_t p[600];

	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = (uint8_t)(i % 5 ? 0xff : i);
	for (size_t at = 0; at < 9; at++)
		for (size_t n = 0; n + at < sizeof(p); n++)
			ck_assert_uint_eq(packet_sum_fold(packet_sum(p + at, n, 0x1ffff)),
			    packet_sum_fold(plain_sum(p + at, n, 0x1ffff)));
}
END_TEST

UNIT_TESTS(offload)
{
	tcase_add_test(tc, cut_and_joined);
	tcase_add_test(tc, left_to_the_device);
	tcase_add_test(tc, nonsense_is_refused);
	tcase_add_test(tc, what_is_not_joined);
	tcase_add_test(tc, flows_and_order);
	tcase_add_test(tc, sums);
}
