/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic selectors, RFC 7296 section 3.13.1 and RFC 4301 section 4.4.1.1. */

#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/names.h"

static const struct name protocols[] = {
    {1, "icmp"},
    {2, "igmp"},
    {4, "ipip"},
    {6, "tcp"},
    {17, "udp"},
    {33, "dccp"},
    {41, "ipv6"},
    {46, "rsvp"},
    {47, "gre"},
    {50, "esp"},
    {51, "ah"},
    {58, "ipv6-icmp"},
    {88, "eigrp"},
    {89, "ospf"},
    {103, "pim"},
    {108, "ipcomp"},
    {112, "vrrp"},
    {115, "l2tp"},
    {132, "sctp"},
    {135, "mobility-header"},
    {136, "udplite"},
    {0, NULL},
};

/* Spellings that are read, never written. */
static const struct name protocol_aliases[] = {
    {58, "icmpv6"},
    {58, "icmp6"},
    {4, "ipencap"},
    {47, "ipgre"},
    {0, NULL},
};

static size_t ts_len(const struct cy_ts *ts)
{
	return ts->family_ip6 ? 16 : 4;
}

static bool any_port(const struct cy_ts *ts)
{
	return ts->port_lo == 0 && ts->port_hi == UINT16_MAX;
}

static bool opaque_port(const struct cy_ts *ts)
{
	return ts->port_lo == UINT16_MAX && ts->port_hi == 0;
}

static bool is_icmp(uint8_t proto)
{
	return proto == 1 || proto == 58;
}

struct cy_ts ts_from_range(const struct addr_range *r)
{
	struct cy_ts ts = {.family_ip6 = r->lo.family == AF_INET6, .port_hi = UINT16_MAX};

	memcpy(ts.lo, r->lo.ip, cy_addr_len(&r->lo));
	memcpy(ts.hi, r->hi.ip, cy_addr_len(&r->hi));
	return ts;
}

struct cy_ts ts_host(const struct cy_addr *a)
{
	return ts_from_range(&(struct addr_range){*a, *a});
}

struct cy_ts ts_any(bool ip6)
{
	struct cy_ts ts = {.family_ip6 = ip6, .port_hi = UINT16_MAX};

	memset(ts.hi, 0xff, ts_len(&ts));
	return ts;
}

/* Text between two pointers as a number up to max. */
static bool number(const char *s, const char *end, uint32_t max, uint32_t *out)
{
	uint32_t v = 0;

	if (s == end || end - s > 5)
		return false;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (uint32_t)(*s - '0');
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

static bool parse_proto(const char *s, const char *end, uint8_t *out)
{
	char word[24];
	size_t n = (size_t)(end - s);
	const struct name *found;
	uint32_t v;

	if (number(s, end, UINT8_MAX, &v)) {
		*out = (uint8_t)v;
		return true;
	}
	if (n >= sizeof(word))
		return false;
	memcpy(word, s, n);
	word[n] = '\0';
	if (strcmp(word, "%any") == 0 || strcmp(word, "any") == 0) {
		*out = 0;
		return true;
	}
	found = name_find(protocols, word);
	if (!found)
		found = name_find(protocol_aliases, word);
	if (!found)
		return false;
	*out = (uint8_t)found->value;
	return true;
}

/*
 * One end of a port range. For ICMP "8" is type 8 with any code, "8(0)" is type 8, code 0, and a number above 255 is
 * type << 8 | code already.
 */
static bool parse_port(const char *s, const char *end, uint8_t proto, uint16_t *out_lo, uint16_t *out_hi)
{
	const char *paren = memchr(s, '(', (size_t)(end - s));
	uint32_t v, code;

	if (paren) {
		if (!is_icmp(proto) || end[-1] != ')' || !number(s, paren, UINT8_MAX, &v) ||
		    !number(paren + 1, end - 1, UINT8_MAX, &code))
			return false;
		*out_lo = *out_hi = (uint16_t)(v << 8 | code);
		return true;
	}
	if (!number(s, end, UINT16_MAX, &v))
		return false;
	if (is_icmp(proto) && v <= UINT8_MAX) {
		*out_lo = (uint16_t)(v << 8);
		*out_hi = (uint16_t)(v << 8 | 0xff);
	} else {
		*out_lo = *out_hi = (uint16_t)v;
	}
	return true;
}

static bool parse_ports(const char *s, const char *end, struct cy_ts *ts)
{
	size_t n = (size_t)(end - s);
	const char *dash = memchr(s, '-', n);
	uint16_t other;

	if (n == 4 && memcmp(s, "%any", 4) == 0) {
		ts->port_lo = 0;
		ts->port_hi = UINT16_MAX;
		return true;
	}
	if (n == 7 && memcmp(s, "%opaque", 7) == 0) {
		ts->port_lo = UINT16_MAX;
		ts->port_hi = 0;
		return true;
	}
	if (!dash)
		return parse_port(s, end, ts->proto, &ts->port_lo, &ts->port_hi);
	return parse_port(s, dash, ts->proto, &ts->port_lo, &other) &&
	    parse_port(dash + 1, end, ts->proto, &other, &ts->port_hi) && ts->port_lo <= ts->port_hi;
}

enum cy_err ts_parse(const char *s, struct cy_ts *out)
{
	char text[TS_STR_MAX];
	const char *bracket = strchr(s, '['), *end, *slash;
	size_t n = bracket ? (size_t)(bracket - s) : strlen(s);
	struct addr_range r;
	struct cy_ts ts;
	enum cy_err err;

	if (n >= sizeof(text))
		return CY_E_PARSE;
	memcpy(text, s, n);
	text[n] = '\0';
	err = range_parse(text, &r);
	if (err)
		return err;
	ts = ts_from_range(&r);
	if (bracket) {
		end = strchr(bracket, ']');
		if (!end || end[1])
			return CY_E_PARSE;
		slash = memchr(bracket, '/', (size_t)(end - bracket));
		if (!parse_proto(bracket + 1, slash ? slash : end, &ts.proto))
			return CY_E_PARSE;
		if (slash && !parse_ports(slash + 1, end, &ts))
			return CY_E_PARSE;
		/* ports mean nothing without a protocol */
		if (ts.proto == 0 && !any_port(&ts))
			return CY_E_PARSE;
	}
	*out = ts;
	return CY_OK;
}

static void port_text(const struct cy_ts *ts, char *out, size_t cap)
{
	uint16_t lo = ts->port_lo, hi = ts->port_hi;

	if (any_port(ts))
		(void)snprintf(out, cap, "%%any");
	else if (opaque_port(ts))
		(void)snprintf(out, cap, "%%opaque");
	else if (!is_icmp(ts->proto) && lo == hi)
		(void)snprintf(out, cap, "%u", lo);
	else if (!is_icmp(ts->proto))
		(void)snprintf(out, cap, "%u-%u", lo, hi);
	else if ((lo & 0xff) == 0 && (hi & 0xff) == 0xff && lo >> 8 == hi >> 8)
		(void)snprintf(out, cap, "%u", lo >> 8);
	else if ((lo & 0xff) == 0 && (hi & 0xff) == 0xff)
		(void)snprintf(out, cap, "%u-%u", lo >> 8, hi >> 8);
	else if (lo == hi)
		(void)snprintf(out, cap, "%u(%u)", lo >> 8, lo & 0xff);
	else
		(void)snprintf(out, cap, "%u(%u)-%u(%u)", lo >> 8, lo & 0xff, hi >> 8, hi & 0xff);
}

const char *ts_str(const struct cy_ts *ts, char out[TS_STR_MAX])
{
	char a[ADDR_STR_MAX], ports[40], number_text[8];
	struct cy_addr lo = ts_lo(ts), hi = ts_hi(ts);
	const char *proto = name_of(protocols, ts->proto);
	uint8_t bits;
	bool exact;
	size_t n;

	bits = ts_prefix(ts, &exact);
	if (exact)
		(void)snprintf(out, TS_STR_MAX, "%s/%u", addr_str(&lo, a), bits);
	else
		(void)snprintf(out, TS_STR_MAX, "%s-", addr_str(&lo, a));
	n = strlen(out);
	if (!exact) {
		(void)snprintf(out + n, TS_STR_MAX - n, "%s", addr_str(&hi, a));
		n = strlen(out);
	}
	if (ts->proto == 0 && any_port(ts))
		return out;
	if (!proto) {
		(void)snprintf(number_text, sizeof(number_text), "%u", ts->proto);
		proto = number_text;
	}
	if (any_port(ts)) {
		(void)snprintf(out + n, TS_STR_MAX - n, "[%s]", proto);
	} else {
		port_text(ts, ports, sizeof(ports));
		(void)snprintf(out + n, TS_STR_MAX - n, "[%s/%s]", proto, ports);
	}
	return out;
}

bool ts_eq(const struct cy_ts *a, const struct cy_ts *b)
{
	size_t len = ts_len(a);

	return a->family_ip6 == b->family_ip6 && a->proto == b->proto && a->port_lo == b->port_lo &&
	    a->port_hi == b->port_hi && memcmp(a->lo, b->lo, len) == 0 && memcmp(a->hi, b->hi, len) == 0;
}

bool ts_contains(const struct cy_ts *outer, const struct cy_ts *inner)
{
	struct cy_ts both;

	return ts_intersect(outer, inner, &both) && ts_eq(&both, inner);
}

bool ts_intersect(const struct cy_ts *a, const struct cy_ts *b, struct cy_ts *out)
{
	size_t len = ts_len(a);
	struct cy_ts ts = *a;

	if (a->family_ip6 != b->family_ip6)
		return false;
	if (a->proto && b->proto && a->proto != b->proto)
		return false;
	ts.proto = a->proto ? a->proto : b->proto;
	/* OPAQUE meets only ANY and itself: packets whose ports cannot be seen (RFC 4301, 4.4.1.1) */
	if (opaque_port(a) || opaque_port(b)) {
		if (!(any_port(a) || opaque_port(a)) || !(any_port(b) || opaque_port(b)))
			return false;
		ts.port_lo = UINT16_MAX;
		ts.port_hi = 0;
	} else {
		if (b->port_lo > ts.port_lo)
			ts.port_lo = b->port_lo;
		if (b->port_hi < ts.port_hi)
			ts.port_hi = b->port_hi;
		if (ts.port_lo > ts.port_hi)
			return false;
	}
	if (memcmp(b->lo, ts.lo, len) > 0)
		memcpy(ts.lo, b->lo, len);
	if (memcmp(b->hi, ts.hi, len) < 0)
		memcpy(ts.hi, b->hi, len);
	if (memcmp(ts.lo, ts.hi, len) > 0)
		return false;
	*out = ts;
	return true;
}

bool ts_is_host(const struct cy_ts *ts, const struct cy_addr *a)
{
	size_t len = ts_len(ts);

	return cy_addr_len(a) == len && memcmp(ts->lo, a->ip, len) == 0 && memcmp(ts->hi, a->ip, len) == 0;
}

bool ts_has_addr(const struct cy_ts *ts, const struct cy_addr *a)
{
	size_t len = ts_len(ts);

	return cy_addr_len(a) == len && memcmp(ts->lo, a->ip, len) <= 0 && memcmp(a->ip, ts->hi, len) <= 0;
}

uint8_t ts_prefix(const struct cy_ts *ts, bool *out_exact)
{
	uint32_t total = (uint32_t)ts_len(ts) * 8, bits = 0;
	bool exact = true;

	while (bits < total && !((ts->lo[bits / 8] ^ ts->hi[bits / 8]) >> (7 - bits % 8) & 1))
		bits++;
	for (uint32_t i = bits; i < total; i++)
		if ((ts->lo[i / 8] >> (7 - i % 8) & 1) || !(ts->hi[i / 8] >> (7 - i % 8) & 1))
			exact = false;
	if (out_exact)
		*out_exact = exact;
	return (uint8_t)bits;
}

static struct cy_addr end_of(const struct cy_ts *ts, const uint8_t *ip)
{
	struct cy_addr a = addr_any(ts->family_ip6 ? AF_INET6 : AF_INET);

	memcpy(a.ip, ip, ts_len(ts));
	return a;
}

struct cy_addr ts_lo(const struct cy_ts *ts)
{
	return end_of(ts, ts->lo);
}

struct cy_addr ts_hi(const struct cy_ts *ts)
{
	return end_of(ts, ts->hi);
}
