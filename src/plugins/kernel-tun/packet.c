/* SPDX-License-Identifier: Apache-2.0 */

#include "packet.h"

#include <netinet/in.h>

/* More extension headers than anybody sends; a chain that is longer has no known upper layer. */
#define MAX_EXTENSIONS 10

enum cy_err packet_check(const uint8_t *p, size_t n, size_t *out_len)
{
	size_t len, header;

	if (n < 1)
		return CY_E_PARSE;
	switch (p[0] >> 4) {
	case 4:
		if (n < IP4_HEADER)
			return CY_E_PARSE;
		header = (size_t)(p[0] & 15) * 4;
		len = get_be16(p + 2);
		if (header < IP4_HEADER || len < header)
			return CY_E_PARSE;
		break;
	case 6:
		if (n < IP6_HEADER)
			return CY_E_PARSE;
		len = IP6_HEADER + (size_t)get_be16(p + 4);
		break;
	default:
		return CY_E_PARSE;
	}
	if (len > n)
		return CY_E_PARSE;
	*out_len = len;
	return CY_OK;
}

static void upper_ports(const uint8_t *p, size_t n, struct flow *f)
{
	switch (f->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		if (n < 4)
			return;
		f->sport = get_be16(p);
		f->dport = get_be16(p + 2);
		f->has_ports = 1;
		return;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (n < 2)
			return;
		f->sport = f->dport = get_be16(p);
		f->has_ports = 1;
		return;
	case IPPROTO_MH: /* the type is its third byte (RFC 6275, 6.1.1) */
		if (n < 3)
			return;
		f->sport = f->dport = (uint16_t)(p[2] << 8);
		f->has_ports = 1;
		return;
	}
}

static void flow_ip4(const uint8_t *p, size_t len, struct flow *f)
{
	size_t header = (size_t)(p[0] & 15) * 4;

	f->proto = p[9];
	memcpy(f->src, p + 12, 4);
	memcpy(f->dst, p + 16, 4);
	if ((get_be16(p + 6) & 0x1fff) == 0)
		upper_ports(p + header, len - header, f);
}

static void flow_ip6(const uint8_t *p, size_t len, struct flow *f)
{
	size_t at = IP6_HEADER;
	uint8_t next = p[6];

	memcpy(f->src, p + 8, 16);
	memcpy(f->dst, p + 24, 16);
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		size_t ext;

		f->proto = next;
		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if (len - at < 8)
				return;
			ext = ((size_t)p[at + 1] + 1) * 8;
			break;
		case IPPROTO_AH: /* in units of 4 bytes, minus 2 (RFC 4302, 2.2) */
			if (len - at < 8)
				return;
			ext = ((size_t)p[at + 1] + 2) * 4;
			break;
		case IPPROTO_FRAGMENT:
			if (len - at < 8)
				return;
			if (get_be16(p + at + 2) & 0xfff8) {
				f->proto = p[at];
				return;
			}
			ext = 8;
			break;
		default:
			upper_ports(p + at, len - at, f);
			return;
		}
		if (ext > len - at)
			return;
		next = p[at];
		at += ext;
	}
}

void packet_flow(const uint8_t *p, size_t len, struct flow *out)
{
	memset(out, 0, sizeof(*out));
	out->ip6 = p[0] >> 4 == 6;
	if (out->ip6)
		flow_ip6(p, len, out);
	else
		flow_ip4(p, len, out);
}

uint8_t packet_tos(const uint8_t *p)
{
	return p[0] >> 4 == 4 ? p[1] : (uint8_t)(p[0] << 4 | p[1] >> 4);
}

void packet_set_tos(uint8_t *p, uint8_t tos)
{
	if (p[0] >> 4 == 4) {
		/* RFC 1624: HC' = ~(~HC + ~m + m') */
		uint32_t sum = (uint16_t)~get_be16(p + 10) + (uint16_t)~get_be16(p);

		p[1] = tos;
		sum += get_be16(p);
		put_be16(p + 10, packet_sum_fold(sum));
	} else {
		p[0] = (uint8_t)((p[0] & 0xf0) | tos >> 4);
		p[1] = (uint8_t)((p[1] & 0x0f) | tos << 4);
	}
}

bool packet_may_fragment(const uint8_t *p)
{
	return p[0] >> 4 == 4 && !(p[6] & 0x40);
}

static bool port_matches(const struct flow *f, uint16_t port, uint16_t lo, uint16_t hi)
{
	if (lo == 0 && hi == 65535)
		return true;
	if (lo > hi) /* OPAQUE (RFC 7296, 3.13.1) */
		return !f->has_ports;
	return f->has_ports && port >= lo && port <= hi;
}

static bool ts_matches(const struct flow *f, const uint8_t *ip, uint16_t port, const struct cy_ts *ts)
{
	size_t n = f->ip6 ? 16 : 4;

	return ts->family_ip6 == f->ip6 && (ts->proto == 0 || ts->proto == f->proto) &&
	    memcmp(ip, ts->lo, n) >= 0 && memcmp(ip, ts->hi, n) <= 0 &&
	    port_matches(f, port, ts->port_lo, ts->port_hi);
}

bool flow_matches(const struct flow *f, const struct cy_ts *src_ts, const struct cy_ts *dst_ts)
{
	return ts_matches(f, f->src, f->sport, src_ts) && ts_matches(f, f->dst, f->dport, dst_ts);
}

/* Whole words in the byte order of the machine: the sum of swapped bytes is the swapped sum (RFC 1071, 2 (B)). */
uint32_t packet_sum(const void *data, size_t n, uint32_t sum)
{
	const uint8_t *p = data;
	uint64_t low = 0, high = 0;
	uint16_t last = 0;

	for (; n >= 16; n -= 16, p += 16) {
		uint64_t w[2];

		memcpy(w, p, 16);
		low += (w[0] & UINT32_MAX) + (w[1] & UINT32_MAX);
		high += (w[0] >> 32) + (w[1] >> 32);
	}
	for (; n > 1; n -= 2, p += 2) {
		uint16_t w;

		memcpy(&w, p, 2);
		low += w;
	}
	if (n)
		memcpy(&last, p, 1);
	low += high + last;
	low = (low & UINT32_MAX) + (low >> 32);
	low = (low & 0xffff) + (low >> 16 & 0xffff) + (low >> 32);
	low = (low & 0xffff) + (low >> 16);
	return sum + ntohs((uint16_t)((low & 0xffff) + (low >> 16)));
}

uint16_t packet_sum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}
