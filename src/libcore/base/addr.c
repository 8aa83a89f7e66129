/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and ranges of them. Traffic selectors are in ts.c. */

#include "libcore/base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "libcore/base/hmap.h"

/* Decimal digits only, at most max; false otherwise. */
static bool number(const char *s, size_t n, uint32_t max, uint32_t *out)
{
	uint64_t v = 0;

	if (n == 0 || n > 10)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (v > max)
		return false;
	*out = (uint32_t)v;
	return true;
}

static enum cy_err parse(const char *s, size_t n, struct cy_addr *out)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct cy_addr a = {0};
	const char *percent = memchr(s, '%', n);
	size_t len = percent ? (size_t)(percent - s) : n;

	if (len == 0 || len >= sizeof(text))
		return CY_E_PARSE;
	memcpy(text, s, len);
	text[len] = '\0';
	if (strchr(text, ':')) {
		a.family = AF_INET6;
		if (inet_pton(AF_INET6, text, a.ip) != 1)
			return CY_E_PARSE;
		if (percent && !number(percent + 1, n - len - 1, UINT32_MAX, &a.scope))
			return CY_E_PARSE;
	} else {
		a.family = AF_INET;
		if (percent || inet_pton(AF_INET, text, a.ip) != 1)
			return CY_E_PARSE;
	}
	*out = a;
	return CY_OK;
}

enum cy_err addr_parse(const char *s, struct cy_addr *out)
{
	return parse(s, strlen(s), out);
}

enum cy_err addr_parse_port(const char *s, struct cy_addr *out)
{
	struct cy_addr a;
	const char *colon, *end;
	uint32_t port;
	enum cy_err err;

	if (s[0] == '[') {
		s++;
		end = strchr(s, ']');
		if (!end || end[1] != ':')
			return CY_E_PARSE;
		colon = end + 1;
	} else {
		end = colon = strchr(s, ':');
		if (!colon)
			return CY_E_PARSE;
	}
	err = parse(s, (size_t)(end - s), &a);
	if (err)
		return err;
	if (!number(colon + 1, strlen(colon + 1), UINT16_MAX, &port))
		return CY_E_PARSE;
	a.port = (uint16_t)port;
	*out = a;
	return CY_OK;
}

const char *addr_str(const struct cy_addr *a, char out[ADDR_STR_MAX])
{
	if (cy_addr_len(a) == 0) {
		(void)snprintf(out, ADDR_STR_MAX, "%%any");
		return out;
	}
	(void)inet_ntop(a->family, a->ip, out, ADDR_STR_MAX);
	if (a->family == AF_INET6 && a->scope) {
		size_t n = strlen(out);

		(void)snprintf(out + n, ADDR_STR_MAX - n, "%%%u", a->scope);
	}
	return out;
}

const char *addr_port_str(const struct cy_addr *a, char out[ADDR_STR_MAX])
{
	size_t n = strlen(addr_str(a, out));

	(void)snprintf(out + n, ADDR_STR_MAX - n, "[%u]", a->port);
	return out;
}

void addr_from_sockaddr(const struct sockaddr *sa, struct cy_addr *out)
{
	struct cy_addr a = {0};

	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		a.family = AF_INET;
		a.port = ntohs(in.sin_port);
		memcpy(a.ip, &in.sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		a.port = ntohs(in6.sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			a.family = AF_INET;
			memcpy(a.ip, in6.sin6_addr.s6_addr + 12, 4);
		} else {
			a.family = AF_INET6;
			memcpy(a.ip, &in6.sin6_addr, 16);
			if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr))
				a.scope = in6.sin6_scope_id;
		}
	}
	*out = a;
}

socklen_t addr_to_sockaddr(const struct cy_addr *a, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (a->family == AF_INET) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};

		memcpy(&in.sin_addr, a->ip, 4);
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	}
	if (a->family == AF_INET6) {
		struct sockaddr_in6 in6 = {
		    .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};

		memcpy(&in6.sin6_addr, a->ip, 16);
		memcpy(out, &in6, sizeof(in6));
		return sizeof(in6);
	}
	return 0;
}

struct cy_addr addr_any(int family)
{
	return (struct cy_addr){.family = (uint16_t)family};
}

bool addr_is_any(const struct cy_addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->ip, zero, cy_addr_len(a)) == 0;
}

bool addr_is_loopback(const struct cy_addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	if (a->family == AF_INET)
		return a->ip[0] == 127;
	return a->family == AF_INET6 && memcmp(a->ip, one, 16) == 0;
}

int addr_cmp(const struct cy_addr *a, const struct cy_addr *b)
{
	int d;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	d = memcmp(a->ip, b->ip, cy_addr_len(a));
	if (d)
		return d < 0 ? -1 : 1;
	return a->port == b->port ? 0 : a->port < b->port ? -1 : 1;
}

enum cy_err addr_add(const struct cy_addr *a, uint64_t n, struct cy_addr *out)
{
	struct cy_addr sum = *a;
	size_t len = cy_addr_len(a);
	unsigned int carry = 0;

	if (len == 0)
		return CY_E_INVAL;
	for (size_t i = len; i-- > 0; n >>= 8) {
		carry += a->ip[i] + (unsigned int)(n & 0xff);
		sum.ip[i] = (uint8_t)carry;
		carry >>= 8;
	}
	if (carry || n)
		return CY_E_LIMIT;
	*out = sum;
	return CY_OK;
}

uint64_t addr_hash(const uint64_t key[2], const struct cy_addr *a, bool with_port)
{
	uint8_t bytes[2 + 2 + 16] = {0};
	size_t len = cy_addr_len(a);

	bytes[0] = (uint8_t)len;
	if (with_port) {
		bytes[2] = (uint8_t)(a->port >> 8);
		bytes[3] = (uint8_t)a->port;
	}
	memcpy(bytes + 4, a->ip, len);
	return siphash24(key, bytes, sizeof(bytes));
}

/* Set the host bits, all those from bit on, to zeros or ones. */
static void fill_host(uint8_t *ip, size_t len, uint32_t bit, bool ones)
{
	for (size_t i = 0; i < len; i++) {
		uint32_t first = (uint32_t)i * 8;
		uint8_t mask;

		if (first + 8 <= bit)
			continue;
		mask = first >= bit ? 0xff : (uint8_t)(0xff >> (bit - first));
		ip[i] = ones ? ip[i] | mask : (uint8_t)(ip[i] & ~mask);
	}
}

enum cy_err range_parse(const char *s, struct addr_range *out)
{
	const char *at;
	struct addr_range r;
	enum cy_err err;

	if ((at = strchr(s, '/'))) {
		uint32_t bits;

		err = parse(s, (size_t)(at - s), &r.lo);
		if (err)
			return err;
		if (!number(at + 1, strlen(at + 1), (uint32_t)cy_addr_len(&r.lo) * 8, &bits))
			return CY_E_PARSE;
		r.hi = r.lo;
		fill_host(r.lo.ip, cy_addr_len(&r.lo), bits, false);
		fill_host(r.hi.ip, cy_addr_len(&r.hi), bits, true);
	} else if ((at = strchr(s, '-'))) {
		err = parse(s, (size_t)(at - s), &r.lo);
		if (!err)
			err = addr_parse(at + 1, &r.hi);
		if (err)
			return err;
		if (r.lo.family != r.hi.family || r.lo.scope != r.hi.scope || addr_cmp(&r.lo, &r.hi) > 0)
			return CY_E_PARSE;
	} else {
		err = addr_parse(s, &r.lo);
		if (err)
			return err;
		r.hi = r.lo;
	}
	*out = r;
	return CY_OK;
}

bool range_has(const struct addr_range *r, const struct cy_addr *a)
{
	size_t len = cy_addr_len(a);

	return a->family == r->lo.family && memcmp(r->lo.ip, a->ip, len) <= 0 &&
	    memcmp(a->ip, r->hi.ip, len) <= 0;
}

uint64_t range_count(const struct addr_range *r)
{
	size_t len = cy_addr_len(&r->lo);
	uint8_t d[16] = {0};
	uint64_t n = 0;
	int borrow = 0;

	for (size_t i = len; i-- > 0;) {
		int v = r->hi.ip[i] - r->lo.ip[i] - borrow;

		borrow = v < 0;
		d[i] = (uint8_t)v;
	}
	for (size_t i = 0; i < len; i++) {
		if (n >> 56)
			return UINT64_MAX;
		n = n << 8 | d[i];
	}
	return n == UINT64_MAX ? n : n + 1;
}

const char *range_str(const struct addr_range *r, char out[TS_STR_MAX])
{
	struct cy_ts ts = ts_from_range(r);
	char lo[ADDR_STR_MAX], hi[ADDR_STR_MAX];
	uint8_t bits;
	bool exact;

	bits = ts_prefix(&ts, &exact);
	if (cy_addr_ip_eq(&r->lo, &r->hi))
		(void)snprintf(out, TS_STR_MAX, "%s", addr_str(&r->lo, lo));
	else if (exact)
		(void)snprintf(out, TS_STR_MAX, "%s/%u", addr_str(&r->lo, lo), bits);
	else
		(void)snprintf(out, TS_STR_MAX, "%s-%s", addr_str(&r->lo, lo), addr_str(&r->hi, hi));
	return out;
}
