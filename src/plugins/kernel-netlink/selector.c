/* SPDX-License-Identifier: Apache-2.0 */

#include "selector.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define PORT_PIECES_MAX 32
#define PROTO_MH        135 /* Mobility Header, RFC 6275 */

typedef unsigned __int128 u128;

static u128 load(const uint8_t *p, size_t n)
{
	u128 v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void store(u128 v, uint8_t *p, size_t n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

/* How many low bits the largest block has that begins at lo and ends at or before hi. */
static unsigned block_bits(u128 lo, u128 hi, unsigned bits)
{
	unsigned n = 0;

	while (n < bits) {
		u128 mask = n + 1 == 128 ? ~(u128)0 : ((u128)1 << (n + 1)) - 1;

		if ((lo & mask) != 0 || (lo | mask) > hi)
			break;
		n++;
	}
	return n;
}

/* What follows a block, or false at the end of the range. */
static bool next_block(u128 *lo, u128 hi, unsigned n)
{
	u128 last = n == 128 ? ~(u128)0 : *lo | (((u128)1 << n) - 1);

	if (last >= hi)
		return false;
	*lo = last + 1;
	return true;
}

size_t prefixes_of(const struct cy_ts *ts, struct prefix out[PREFIXES_MAX])
{
	size_t bytes = ts->family_ip6 ? 16 : 4, n = 0;
	unsigned bits = (unsigned)bytes * 8, b;
	u128 lo = load(ts->lo, bytes), hi = load(ts->hi, bytes);

	if (lo > hi)
		return 0;
	do {
		if (n == PREFIXES_MAX)
			return 0;
		b = block_bits(lo, hi, bits);
		memset(out[n].ip, 0, sizeof(out[n].ip));
		store(lo, out[n].ip, bytes);
		out[n].len = (uint8_t)(bits - b);
		n++;
	} while (next_block(&lo, hi, b));
	return n;
}

struct port_piece {
	uint16_t value, mask;
};

static size_t port_pieces(uint16_t from, uint16_t to, unsigned bits, struct port_piece out[PORT_PIECES_MAX])
{
	u128 lo = from, hi = to;
	size_t n = 0;
	unsigned b;

	do {
		b = block_bits(lo, hi, bits);
		out[n].value = (uint16_t)lo;
		/* all of 8 bits: the kernel compares nothing then */
		out[n].mask = b == bits ? 0 : (uint16_t)(0xffffu << b);
		n++;
	} while (next_block(&lo, hi, b));
	return n;
}

static bool has_type(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6 || proto == PROTO_MH;
}

/*
 * ICMP: selectors have the type in the high half of their ports and the code in the low one (RFC 7296, 3.13.1); the
 * kernel has the type where the source port is, and the code where the destination port is.
 */
static enum cy_err type_pieces(const struct cy_ts *src, const struct cy_ts *dst, struct port_piece *type,
    size_t *n_type, struct port_piece *code, size_t *n_code)
{
	const struct cy_ts *ts = ts_any_port(src) ? dst : src;
	uint8_t type_lo = (uint8_t)(ts->port_lo >> 8), type_hi = (uint8_t)(ts->port_hi >> 8);
	uint8_t code_lo = (uint8_t)ts->port_lo, code_hi = (uint8_t)ts->port_hi;

	if (type_lo != type_hi && (code_lo != 0 || code_hi != 255))
		return CY_E_UNSUPPORTED;
	if (!ts_any_port(src) && !ts_any_port(dst) &&
	    (src->port_lo != dst->port_lo || src->port_hi != dst->port_hi))
		return CY_E_UNSUPPORTED;
	*n_type = port_pieces(type_lo, type_hi, 8, type);
	*n_code = port_pieces(code_lo, code_hi, 8, code);
	return CY_OK;
}

static enum cy_err pieces_of(const struct cy_ts *src, const struct cy_ts *dst, struct port_piece *sport,
    size_t *n_sport, struct port_piece *dport, size_t *n_dport)
{
	uint8_t proto = src->proto ? src->proto : dst->proto;

	if (ts_opaque(src) || ts_opaque(dst) || (src->proto && dst->proto && src->proto != dst->proto))
		return CY_E_UNSUPPORTED;
	if (has_type(proto))
		return type_pieces(src, dst, sport, n_sport, dport, n_dport);
	*n_sport = port_pieces(src->port_lo, src->port_hi, 16, sport);
	*n_dport = port_pieces(dst->port_lo, dst->port_hi, 16, dport);
	return CY_OK;
}

enum cy_err selectors_of(
    const struct cy_ts *src, const struct cy_ts *dst, struct xfrm_selector out[SELECTORS_MAX], size_t *out_n)
{
	struct prefix from[PREFIXES_MAX], to[PREFIXES_MAX];
	struct port_piece sport[PORT_PIECES_MAX], dport[PORT_PIECES_MAX];
	size_t n_from, n_to, n_sport, n_dport, n = 0;
	struct xfrm_selector sel;
	enum cy_err err;

	if (src->family_ip6 != dst->family_ip6)
		return CY_E_INVAL;
	err = pieces_of(src, dst, sport, &n_sport, dport, &n_dport);
	if (err)
		return err;
	n_from = prefixes_of(src, from);
	n_to = prefixes_of(dst, to);
	if (n_from == 0 || n_to == 0)
		return CY_E_LIMIT;
	if (n_from * n_to > SELECTORS_MAX / (n_sport * n_dport))
		return CY_E_LIMIT;
	memset(&sel, 0, sizeof(sel)); /* padding is compared by the kernel */
	sel.family = src->family_ip6 ? AF_INET6 : AF_INET;
	sel.proto = src->proto ? src->proto : dst->proto;
	for (size_t i = 0; i < n_from * n_to * n_sport * n_dport; i++) {
		const struct prefix *f = &from[i % n_from], *t = &to[i / n_from % n_to];
		const struct port_piece *sp = &sport[i / (n_from * n_to) % n_sport];
		const struct port_piece *dp = &dport[i / (n_from * n_to * n_sport)];

		memcpy(&sel.saddr, f->ip, sizeof(f->ip));
		memcpy(&sel.daddr, t->ip, sizeof(t->ip));
		sel.prefixlen_s = f->len;
		sel.prefixlen_d = t->len;
		sel.sport = htons(sp->mask ? sp->value : 0);
		sel.sport_mask = htons(sp->mask);
		sel.dport = htons(dp->mask ? dp->value : 0);
		sel.dport_mask = htons(dp->mask);
		out[n++] = sel;
	}
	*out_n = n;
	return CY_OK;
}

static void range_of(const xfrm_address_t *addr, uint8_t len, bool ip6, struct cy_ts *out)
{
	unsigned bits = ip6 ? 128 : 32, host;
	u128 v, mask;
	uint8_t ip[16];

	memcpy(ip, addr, sizeof(ip));
	if (len > bits)
		len = (uint8_t)bits;
	host = bits - len;
	mask = host == 128 ? ~(u128)0 : ((u128)1 << host) - 1;
	v = load(ip, bits / 8);
	store(v & ~mask, out->lo, bits / 8);
	store(v | mask, out->hi, bits / 8);
	out->family_ip6 = ip6;
}

static void set_ports(struct cy_ts *ts, uint16_t value, uint16_t mask)
{
	ts->port_lo = value & mask;
	ts->port_hi = value | (uint16_t)~mask;
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	    proto == IPPROTO_DCCP || proto == IPPROTO_UDPLITE;
}

enum cy_err selector_to_ts(const struct xfrm_selector *sel, struct cy_ts *out_src, struct cy_ts *out_dst)
{
	struct cy_ts src, dst;
	bool ip6 = sel->family == AF_INET6;

	if (!ip6 && sel->family != AF_INET)
		return CY_E_PARSE;
	memset(&src, 0, sizeof(src));
	memset(&dst, 0, sizeof(dst));
	range_of(&sel->saddr, sel->prefixlen_s, ip6, &src);
	range_of(&sel->daddr, sel->prefixlen_d, ip6, &dst);
	src.proto = dst.proto = sel->proto;
	set_ports(&src, 0, 0);
	set_ports(&dst, 0, 0);
	if (has_ports(sel->proto)) {
		set_ports(&src, ntohs(sel->sport), ntohs(sel->sport_mask));
		set_ports(&dst, ntohs(sel->dport), ntohs(sel->dport_mask));
	} else if (has_type(sel->proto) && sel->sport_mask) {
		uint16_t code_mask = ntohs(sel->dport_mask) & 0xff;

		set_ports(&src, (uint16_t)(ntohs(sel->sport) << 8 | (ntohs(sel->dport) & code_mask)),
		    (uint16_t)(0xff00 | code_mask));
		dst.port_lo = src.port_lo;
		dst.port_hi = src.port_hi;
	}
	*out_src = src;
	*out_dst = dst;
	return CY_OK;
}
