/* SPDX-License-Identifier: Apache-2.0 */

#include "offload.h"
#include "packet.h"

#include <netinet/in.h>

#define TCP_HEADER    20
#define UDP_HEADER    8
#define TCP_AT_SEQ    4
#define TCP_AT_ACK    8
#define TCP_AT_OFFSET 12
#define TCP_AT_FLAGS  13
#define TCP_AT_WINDOW 14
#define TCP_AT_SUM    16
#define UDP_AT_LEN    4
#define UDP_AT_SUM    6

/* RFC 9293, 3.1; RFC 3168, 6.1 */
enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_ACK = 0x10, TCP_CWR = 0x80 };

static bool is_ip6(const uint8_t *p)
{
	return p[0] >> 4 == 6;
}

/* Of a packet with n bytes from its upper header on (RFC 9293, 3.1; RFC 8200, 8.1). */
static uint32_t pseudo_sum(const uint8_t *p, uint8_t proto, size_t n)
{
	uint32_t sum = (uint32_t)n + proto;

	return is_ip6(p) ? packet_sum(p + 8, 32, sum) : packet_sum(p + 12, 8, sum);
}

static void set_ip_len(uint8_t *p, size_t len)
{
	if (is_ip6(p)) {
		put_be16(p + 4, (uint16_t)(len - IP6_HEADER));
		return;
	}
	put_be16(p + 2, (uint16_t)len);
	put_be16(p + 10, 0);
	put_be16(p + 10, packet_sum_fold(packet_sum(p, (size_t)(p[0] & 15) * 4, 0)));
}

/* ---- cutting */

/* The device computes it from csum_start to the end; the field holds the sum of the pseudo-header. */
static enum cy_err complete_sum(const struct virtio_net_hdr *h, uint8_t *p, size_t len)
{
	size_t field = (size_t)h->csum_start + h->csum_offset;
	uint16_t sum;

	if (h->csum_start < (is_ip6(p) ? IP6_HEADER : (size_t)(p[0] & 15) * 4) || field + 2 > len)
		return CY_E_PARSE;
	sum = packet_sum_fold(packet_sum(p + h->csum_start, len - h->csum_start, 0));
	/* 0 means none in UDP (RFC 768); as a sum it equals 0xffff */
	put_be16(p + field, sum || h->csum_offset != UDP_AT_SUM ? sum : 0xffff);
	return CY_OK;
}

enum cy_err frame_open(const struct virtio_net_hdr *h, uint8_t *p, size_t len, struct frame *out)
{
	uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool udp = type == VIRTIO_NET_HDR_GSO_UDP_L4;
	struct frame f = {.p = p, .n = 1};
	struct flow flow;
	size_t header;

	if (packet_check(p, len, &f.len) != CY_OK)
		return CY_E_PARSE;
	f.headers = f.len;
	if (type == VIRTIO_NET_HDR_GSO_NONE) {
		*out = f;
		return h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? complete_sum(h, p, f.len) : CY_OK;
	}
	packet_flow(p, f.len, &flow);
	f.l4 = h->csum_start;
	if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || h->gso_size == 0 ||
	    flow.proto != (udp ? IPPROTO_UDP : IPPROTO_TCP) || !flow.has_ports ||
	    (flow.ip6 ? f.l4 < IP6_HEADER : f.l4 != (size_t)(p[0] & 15) * 4 || get_be16(p + 6) & 0x3fff))
		return CY_E_PARSE;
	if (!udp && type != (flow.ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4))
		return CY_E_PARSE;
	if (f.l4 + (udp ? UDP_HEADER : TCP_HEADER) > f.len)
		return CY_E_PARSE;
	header = udp ? UDP_HEADER : (size_t)(p[f.l4 + TCP_AT_OFFSET] >> 4) * 4;
	f.headers = f.l4 + header;
	if (header < (udp ? UDP_HEADER : TCP_HEADER) || f.headers > f.len)
		return CY_E_PARSE;
	f.size = h->gso_size;
	if (f.len > f.headers)
		f.n = (f.len - f.headers + f.size - 1) / f.size;
	/* with a routing header it is not of the address that the packet has (RFC 8200, 8.1) */
	f.pseudo = get_be16(p + f.l4 + (udp ? UDP_AT_SUM : TCP_AT_SUM));
	if (f.n == 1) {
		struct virtio_net_hdr sum = *h;

		sum.csum_offset = udp ? UDP_AT_SUM : TCP_AT_SUM;
		*out = f;
		return complete_sum(&sum, p, f.len);
	}
	*out = f;
	return CY_OK;
}

size_t frame_packet_len(const struct frame *f, size_t i)
{
	size_t left;

	if (f->n == 1)
		return f->len;
	left = f->len - f->headers - i * f->size;
	return f->headers + (left < f->size ? left : f->size);
}

size_t frame_packet(const struct frame *f, size_t i, uint8_t *to)
{
	size_t len = frame_packet_len(f, i), l4_len = len - f->l4;
	bool tcp = f->headers - f->l4 != UDP_HEADER;
	uint8_t *l4 = to + f->l4, *field = l4 + (tcp ? TCP_AT_SUM : UDP_AT_SUM);
	uint16_t sum;

	if (f->n == 1) {
		memcpy(to, f->p, len);
		return len;
	}
	memcpy(to, f->p, f->headers);
	memcpy(to + f->headers, f->p + f->headers + i * f->size, len - f->headers);
	if (!is_ip6(to))
		put_be16(to + 4, (uint16_t)(get_be16(to + 4) + i));
	set_ip_len(to, len);
	if (tcp) {
		put_be32(l4 + TCP_AT_SEQ, get_be32(l4 + TCP_AT_SEQ) + (uint32_t)(i * f->size));
		if (i > 0)
			l4[TCP_AT_FLAGS] &= (uint8_t)~TCP_CWR;
		if (i + 1 < f->n)
			l4[TCP_AT_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	} else {
		put_be16(l4 + UDP_AT_LEN, (uint16_t)l4_len);
	}
	put_be16(field, 0);
	/* the length in it is that of the frame */
	sum = packet_sum_fold(
	    packet_sum(l4, l4_len, f->pseudo + (uint16_t) ~(f->len - f->l4) + (uint32_t)l4_len));
	put_be16(field, sum || tcp ? sum : 0xffff);
	return len;
}

/* ---- joining */

/* A packet as the groups see it. */
struct piece {
	uint8_t *p;
	uint8_t proto;
	bool ip6, joins; /* it may be in a group at all */
	size_t len, l4, headers;
};

static bool sum_is_right(const struct piece *x)
{
	size_t n = x->len - x->l4;

	return packet_sum_fold(packet_sum(x->p + x->l4, n, pseudo_sum(x->p, x->proto, n))) == 0;
}

/* Options, fragments, extension headers: it may be of a flow that is being joined. */
static bool is_odd(const uint8_t *p)
{
	if (!is_ip6(p))
		return p[0] != 0x45 || get_be16(p + 6) & 0x3fff;
	return p[6] == IPPROTO_HOPOPTS || p[6] == IPPROTO_ROUTING || p[6] == IPPROTO_FRAGMENT ||
	    p[6] == IPPROTO_DSTOPTS;
}

/* False: of no flow that is joined. */
static bool look_at(const struct coalesce *c, uint8_t *p, size_t len, struct piece *out)
{
	struct piece x = {.p = p, .len = len, .ip6 = is_ip6(p)};
	size_t header;

	if (x.ip6) {
		x.l4 = IP6_HEADER;
		x.proto = p[6];
	} else {
		if (is_odd(p))
			return false;
		x.l4 = IP4_HEADER;
		x.proto = p[9];
	}
	if (x.proto == IPPROTO_TCP && c->tcp) {
		if (len < x.l4 + TCP_HEADER)
			return false;
		header = (size_t)(p[x.l4 + TCP_AT_OFFSET] >> 4) * 4;
		if (header < TCP_HEADER || x.l4 + header > len)
			return false;
		x.headers = x.l4 + header;
		x.joins = len > x.headers && (p[x.l4 + TCP_AT_FLAGS] & ~(TCP_PSH | TCP_FIN)) == TCP_ACK;
	} else if (x.proto == IPPROTO_UDP && c->udp) {
		if (len < x.l4 + UDP_HEADER)
			return false;
		x.headers = x.l4 + UDP_HEADER;
		x.joins = len > x.headers && get_be16(p + x.l4 + UDP_AT_LEN) == len - x.l4 &&
		    get_be16(p + x.l4 + UDP_AT_SUM) != 0;
	} else {
		return false;
	}
	/* the frame will say that the sums of all are right */
	x.joins = x.joins && sum_is_right(&x);
	*out = x;
	return true;
}

static bool same_flow(const struct group_of_packets *g, const struct piece *x)
{
	size_t at = x->ip6 ? 8 : 12;

	return g->ip6 == x->ip6 && g->proto == x->proto &&
	    memcmp(g->first + at, x->p + at, x->ip6 ? 32 : 8) == 0 &&
	    memcmp(g->first + g->l4, x->p + x->l4, 4) == 0;
}

/* What the headers of all packets of a group have in common, as the kernel's own receive offload has it. */
static bool same_headers(const struct group_of_packets *g, const struct piece *x)
{
	const uint8_t *a = g->first, *b = x->p;

	if (x->ip6) {
		if (memcmp(a, b, 4) != 0 || a[7] != b[7])
			return false;
	} else {
		/* TOS, TTL, DF; without DF the number counts on, as it will when the frame is cut again */
		if (a[1] != b[1] || a[8] != b[8] || a[6] != b[6])
			return false;
		if (!(b[6] & 0x40) && get_be16(b + 4) != (uint16_t)(get_be16(a + 4) + g->n))
			return false;
	}
	if (x->proto == IPPROTO_UDP)
		return true;
	a += g->l4;
	b += x->l4;
	return get_be32(b + TCP_AT_SEQ) == g->next_seq && a[TCP_AT_OFFSET] == b[TCP_AT_OFFSET] &&
	    memcmp(a + TCP_AT_ACK, b + TCP_AT_ACK, 4) == 0 &&
	    memcmp(a + TCP_AT_WINDOW, b + TCP_AT_WINDOW, 2) == 0 &&
	    memcmp(a + TCP_HEADER, b + TCP_HEADER, x->headers - x->l4 - TCP_HEADER) == 0;
}

static bool fits(const struct group_of_packets *g, const struct piece *x)
{
	size_t payload = x->len - x->headers;

	return !g->closed && x->joins && g->n < COALESCE_PACKETS && payload <= g->size &&
	    g->headers == x->headers && g->len + payload <= FRAME_MAX && same_headers(g, x);
}

/* Nothing comes after what is shorter, or what asks to be delivered. */
static bool is_last(const struct group_of_packets *g, const struct piece *x)
{
	return x->len - x->headers < g->size ||
	    (x->proto == IPPROTO_TCP && x->p[x->l4 + TCP_AT_FLAGS] & (TCP_PSH | TCP_FIN));
}

static void begin(struct coalesce *c, const struct piece *x)
{
	struct group_of_packets *g = &c->group[c->n++];

	g->first = x->p;
	g->proto = x->proto;
	g->ip6 = x->ip6;
	g->l4 = x->l4;
	g->headers = x->headers;
	g->size = x->len - x->headers;
	g->len = x->len;
	g->n = 1;
	g->next_seq = x->proto == IPPROTO_TCP ? get_be32(x->p + x->l4 + TCP_AT_SEQ) + (uint32_t)g->size : 0;
	g->closed = is_last(g, x);
	memset(&g->vnet, 0, sizeof(g->vnet));
	g->iov[0] = (struct iovec){&g->vnet, sizeof(g->vnet)};
	g->iov[1] = (struct iovec){x->p, x->len};
}

static void append(struct group_of_packets *g, const struct piece *x)
{
	size_t payload = x->len - x->headers;

	g->iov[++g->n] = (struct iovec){x->p + x->headers, payload};
	g->len += payload;
	g->next_seq += (uint32_t)payload;
	g->closed = is_last(g, x);
	if (x->proto == IPPROTO_TCP)
		g->first[g->l4 + TCP_AT_FLAGS] |= x->p[x->l4 + TCP_AT_FLAGS];
}

static void write_group(struct coalesce *c, struct group_of_packets *g)
{
	bool tcp = g->proto == IPPROTO_TCP;
	size_t l4_len = g->len - g->l4;
	uint8_t *l4 = g->first + g->l4;

	if (g->n > 1) {
		uint16_t offset = tcp ? TCP_AT_SUM : UDP_AT_SUM;

		set_ip_len(g->first, g->len);
		if (!tcp)
			put_be16(l4 + UDP_AT_LEN, (uint16_t)l4_len);
		put_be16(l4 + offset, (uint16_t)~packet_sum_fold(pseudo_sum(g->first, g->proto, l4_len)));
		g->vnet = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		    .gso_type = !tcp ? VIRTIO_NET_HDR_GSO_UDP_L4
		        : g->ip6     ? VIRTIO_NET_HDR_GSO_TCPV6
		                     : VIRTIO_NET_HDR_GSO_TCPV4,
		    .hdr_len = (uint16_t)g->headers,
		    .gso_size = (uint16_t)g->size,
		    .csum_start = (uint16_t)g->l4,
		    .csum_offset = offset};
	}
	c->write(c->user, g->iov, (int)g->n + 1);
}

static void write_one(struct coalesce *c, uint8_t *p, size_t len)
{
	struct virtio_net_hdr none = {0};
	struct iovec iov[2] = {{&none, sizeof(none)}, {p, len}};

	c->write(c->user, iov, 2);
}

/* Writes group i and forgets it. */
static void end(struct coalesce *c, size_t i)
{
	write_group(c, &c->group[i]);
	c->n--;
	if (i < c->n)
		c->group[i] = c->group[c->n];
	/* its first iovec points into the group itself */
	c->group[i].iov[0].iov_base = &c->group[i].vnet;
}

void coalesce_init(
    struct coalesce *c, bool tcp, bool udp, void (*write)(void *, const struct iovec *, int), void *user)
{
	c->n = 0;
	c->tcp = tcp;
	c->udp = udp;
	c->write = write;
	c->user = user;
}

void coalesce_add(struct coalesce *c, uint8_t *p, size_t len)
{
	struct piece x;

	if (!look_at(c, p, len, &x)) {
		if (is_odd(p))
			coalesce_flush(c);
		write_one(c, p, len);
		return;
	}
	for (size_t i = 0; i < c->n; i++) {
		if (!same_flow(&c->group[i], &x))
			continue;
		if (fits(&c->group[i], &x)) {
			append(&c->group[i], &x);
			return;
		}
		end(c, i);
		break;
	}
	if (!x.joins) {
		write_one(c, p, len);
		return;
	}
	if (c->n == COALESCE_GROUPS)
		end(c, 0);
	begin(c, &x);
}

void coalesce_flush(struct coalesce *c)
{
	for (size_t i = 0; i < c->n; i++)
		write_group(c, &c->group[i]);
	c->n = 0;
}
