/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/ident.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/dn.h"
#include "libcore/base/err.h"
#include "libcore/base/hmap.h"

/* Ranks of ident_match(); what has more fixed text lies higher within the wildcards. */
#define MATCH_ANY      1
#define MATCH_WILDCARD 0x100
#define MATCH_EXACT    0x20000

static struct cy_slice bytes_of(const struct ident *id)
{
	return cy_slice(id->p, id->n);
}

enum cy_err ident_set(struct ident *out, uint16_t type, struct cy_slice bytes)
{
	struct ident id = {.type = type};

	switch (type) {
	case ID_ANY:
	case ID_NULL:
		/* RFC 7619: the data of ID_NULL is empty, and ignored if it is not */
		bytes = cy_slice(NULL, 0);
		break;
	case ID_IPV4_ADDR:
		if (bytes.n != 4)
			return CY_E_PARSE;
		break;
	case ID_IPV6_ADDR:
		if (bytes.n != 16)
			return CY_E_PARSE;
		break;
	case ID_IPV4_SUBNET:
	case ID_IPV4_RANGE:
		if (bytes.n != 8)
			return CY_E_PARSE;
		break;
	case ID_IPV6_SUBNET:
	case ID_IPV6_RANGE:
		if (bytes.n != 32)
			return CY_E_PARSE;
		break;
	default:
		break;
	}
	if (bytes.n > UINT16_MAX)
		return CY_E_LIMIT;
	if (bytes.n) {
		id.p = malloc(bytes.n);
		if (!id.p)
			return CY_E_NOMEM;
		memcpy(id.p, bytes.p, bytes.n);
		id.n = (uint16_t)bytes.n;
	}
	*out = id;
	return CY_OK;
}

enum cy_err ident_from_addr(struct ident *out, const struct cy_addr *a)
{
	if (cy_addr_len(a) == 0)
		return ident_set(out, ID_ANY, cy_slice(NULL, 0));
	return ident_set(
	    out, a->family == AF_INET ? ID_IPV4_ADDR : ID_IPV6_ADDR, cy_slice(a->ip, cy_addr_len(a)));
}

enum cy_err ident_dup(struct ident *out, const struct ident *from)
{
	return ident_set(out, from->type, bytes_of(from));
}

void ident_fini(struct ident *id)
{
	if (!id)
		return;
	free(id->p);
	*id = (struct ident){0};
}

static enum cy_err set_text(struct ident *out, uint16_t type, const char *s)
{
	return ident_set(out, type, cy_slice_str(s));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Hex digits, colons between bytes allowed. */
static enum cy_err set_hex(struct ident *out, uint16_t type, const char *s)
{
	size_t n = 0, cap = strlen(s) / 2 + 1;
	uint8_t *p = malloc(cap);
	enum cy_err err = CY_E_PARSE;

	if (!p)
		return CY_E_NOMEM;
	while (*s) {
		int hi = hex_digit(s[0]), lo = hi < 0 ? -1 : hex_digit(s[1]);

		if (lo < 0)
			goto out;
		p[n++] = (uint8_t)(hi << 4 | lo);
		s += 2;
		if (*s == ':' && s[1])
			s++;
	}
	if (type == ID_DER_ASN1_DN && !dn_valid(cy_slice(p, n)))
		goto out;
	err = n ? ident_set(out, type, cy_slice(p, n)) : CY_E_PARSE;
out:
	free(p);
	return err;
}

/* "A/N" or "A-B"; false when s is neither. */
static bool parse_net(const char *s, struct ident *out, enum cy_err *out_err)
{
	struct addr_range r;
	uint8_t bytes[32];
	size_t len;
	bool net = strchr(s, '/');

	if ((!net && !strchr(s, '-')) || range_parse(s, &r))
		return false;
	len = cy_addr_len(&r.lo);
	memcpy(bytes, r.lo.ip, len);
	memcpy(bytes + len, r.hi.ip, len);
	if (net)
		/* the bits in which lowest and highest address agree are the mask (RFC 2407, 4.6.2) */
		for (size_t i = 0; i < len; i++)
			bytes[len + i] = (uint8_t) ~(r.lo.ip[i] ^ r.hi.ip[i]);
	*out_err = ident_set(out,
	    net            ? len == 4 ? ID_IPV4_SUBNET : ID_IPV6_SUBNET
	        : len == 4 ? ID_IPV4_RANGE
	                   : ID_IPV6_RANGE,
	    cy_slice(bytes, 2 * len));
	return true;
}

static enum cy_err parse_addr(const char *s, int family, struct ident *out)
{
	struct cy_addr a;
	enum cy_err err = addr_parse(s, &a);

	if (err)
		return err;
	if ((family && a.family != family) || a.scope)
		return CY_E_PARSE;
	return ident_from_addr(out, &a);
}

/* "C=..", "/C=..", "2.5.4.3=..": an attribute type before the first '='. */
static bool looks_like_dn(const char *s)
{
	const char *eq = strchr(s, '=');

	if (!eq)
		return false;
	if (*s == '/')
		s++;
	if (s == eq)
		return false;
	for (; s < eq; s++) {
		bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		    (*s >= '0' && *s <= '9') || *s == '.' || *s == ' ';

		if (!plain)
			return false;
	}
	return true;
}

static enum cy_err parse_forced(uint16_t type, const char *s, struct ident *out)
{
	const char *hex = s[0] == '#' ? s + 1 : s[0] == '0' && s[1] == 'x' ? s + 2 : NULL;

	switch (type) {
	case ID_IPV4_ADDR:
		return parse_addr(s, AF_INET, out);
	case ID_IPV6_ADDR:
		return parse_addr(s, AF_INET6, out);
	case ID_DER_ASN1_DN:
		return hex ? set_hex(out, type, hex) : *s ? set_text(out, ID_DN_TEXT, s) : CY_E_PARSE;
	case ID_KEY_ID:
		return hex ? set_hex(out, type, hex) : *s ? set_text(out, type, s) : CY_E_PARSE;
	case ID_DER_ASN1_GN:
		return hex ? set_hex(out, type, hex) : CY_E_PARSE;
	default:
		return *s ? set_text(out, type, s) : CY_E_PARSE;
	}
}

static const struct {
	const char *text;
	uint16_t type;
} prefixes[] = {
    {"fqdn:", ID_FQDN},
    {"dns:", ID_FQDN},
    {"email:", ID_RFC822_ADDR},
    {"rfc822:", ID_RFC822_ADDR},
    {"userfqdn:", ID_RFC822_ADDR},
    {"keyid:", ID_KEY_ID},
    {"ipv4:", ID_IPV4_ADDR},
    {"ipv6:", ID_IPV6_ADDR},
    {"asn1dn:", ID_DER_ASN1_DN},
    {"asn1gn:", ID_DER_ASN1_GN},
};

enum cy_err ident_parse(const char *s, struct ident *out)
{
	enum cy_err err;

	if (*s == '\0' || strcmp(s, "%any") == 0 || strcmp(s, "%any4") == 0 || strcmp(s, "%any6") == 0)
		return ident_set(out, ID_ANY, cy_slice(NULL, 0));
	if (strcmp(s, "%null") == 0)
		return ident_set(out, ID_NULL, cy_slice(NULL, 0));
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (strncmp(s, prefixes[i].text, strlen(prefixes[i].text)) == 0)
			return parse_forced(prefixes[i].type, s + strlen(prefixes[i].text), out);
	if (s[0] == '@') {
		if (s[1] == '#')
			return set_hex(out, ID_KEY_ID, s + 2);
		if (s[1] == '@')
			return s[2] ? set_text(out, ID_RFC822_ADDR, s + 2) : CY_E_PARSE;
		return s[1] ? set_text(out, ID_FQDN, s + 1) : CY_E_PARSE;
	}
	if (looks_like_dn(s))
		return set_text(out, ID_DN_TEXT, s);
	if (strchr(s, '@'))
		return set_text(out, ID_RFC822_ADDR, s);
	err = parse_addr(s, 0, out);
	if (err != CY_E_PARSE)
		return err;
	if (parse_net(s, out, &err))
		return err;
	/* no host name contains a colon: this was meant as an IPv6 address */
	if (strchr(s, ':'))
		return CY_E_PARSE;
	return set_text(out, ID_FQDN, s);
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool eq_nocase(const uint8_t *a, const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

/* From where on does case not matter? At the domain of user@host, the last '@' (RFC 5321, 2.4). */
static size_t nocase_from(uint16_t type, struct cy_slice s)
{
	if (type == ID_FQDN)
		return 0;
	for (size_t i = s.n; type == ID_RFC822_ADDR && i-- > 0;)
		if (s.p[i] == '@')
			return i;
	return s.n;
}

static bool name_eq(uint16_t type, struct cy_slice a, struct cy_slice b)
{
	size_t from = nocase_from(type, a);

	if (a.n != b.n)
		return false;
	return a.n == 0 || (memcmp(a.p, b.p, from) == 0 && eq_nocase(a.p + from, b.p + from, a.n - from));
}

bool ident_eq(const struct ident *a, const struct ident *b)
{
	struct cy_slice x = bytes_of(a), y = bytes_of(b);

	if (a->type != b->type)
		return false;
	switch (a->type) {
	case ID_FQDN:
	case ID_RFC822_ADDR:
		return name_eq(a->type, x, y);
	case ID_DER_ASN1_DN:
		return cy_slice_eq(x, y) || dn_eq(x, y);
	default:
		return cy_slice_eq(x, y);
	}
}

/* A '*' in front stands for one or more characters. */
static int match_name(const struct ident *pattern, const struct ident *id)
{
	struct cy_slice p = bytes_of(pattern), s = bytes_of(id);

	if (p.n == 0 || p.p[0] != '*')
		return 0;
	p = cy_slice(p.p + 1, p.n - 1);
	if (s.n <= p.n || !eq_nocase(s.p + s.n - p.n, p.p, p.n))
		return 0;
	/* "*@host" means users of that host: its '@' must be the one that ends the user */
	if (pattern->type == ID_RFC822_ADDR && p.n && p.p[0] == '@' &&
	    nocase_from(ID_RFC822_ADDR, s) != s.n - p.n)
		return 0;
	return MATCH_WILDCARD + (int)p.n;
}

static int match_net(const struct ident *pattern, const struct ident *id)
{
	size_t len = pattern->n / 2u, fixed = 0;
	const uint8_t *lo = pattern->p, *hi = pattern->p + len;

	if (pattern->type == ID_IPV4_RANGE || pattern->type == ID_IPV6_RANGE) {
		if (memcmp(lo, id->p, len) > 0 || memcmp(id->p, hi, len) > 0)
			return 0;
		return MATCH_WILDCARD;
	}
	for (size_t i = 0; i < len; i++) {
		if ((id->p[i] ^ lo[i]) & hi[i])
			return 0;
		fixed += (size_t)__builtin_popcount(hi[i]);
	}
	return MATCH_WILDCARD + (int)fixed;
}

int ident_match(const struct ident *pattern, const struct ident *id)
{
	int wild;

	if (pattern->type == ID_ANY)
		return MATCH_ANY;
	if (ident_eq(pattern, id))
		return MATCH_EXACT;
	switch (pattern->type) {
	case ID_FQDN:
	case ID_RFC822_ADDR:
		return pattern->type == id->type ? match_name(pattern, id) : 0;
	case ID_IPV4_SUBNET:
	case ID_IPV4_RANGE:
		return id->type == ID_IPV4_ADDR ? match_net(pattern, id) : 0;
	case ID_IPV6_SUBNET:
	case ID_IPV6_RANGE:
		return id->type == ID_IPV6_ADDR ? match_net(pattern, id) : 0;
	case ID_DER_ASN1_DN:
		if (id->type != ID_DER_ASN1_DN)
			return 0;
		wild = dn_match(bytes_of(pattern), bytes_of(id));
		/* no wildcard used would have been equal */
		return wild < 0 ? 0 : MATCH_EXACT - (wild < 0x10000 ? wild : 0x10000);
	default:
		return 0;
	}
}

static void print_bytes(struct cy_slice s, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n && n + 5 < cap; i++) {
		if (s.p[i] >= 0x20 && s.p[i] < 0x7f)
			out[n++] = (char)s.p[i];
		else
			n += (size_t)snprintf(out + n, cap - n, "\\x%02x", s.p[i]);
	}
	out[n] = '\0';
}

static void print_hex(const char *before, struct cy_slice s, char *out, size_t cap)
{
	size_t n = (size_t)snprintf(out, cap, "%s", before);

	for (size_t i = 0; i < s.n && n + 3 < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, "%02x", s.p[i]);
}

static void print_net(const struct ident *id, char *out)
{
	struct addr_range r = {addr_any(id->n == 8 ? AF_INET : AF_INET6), {0}};
	size_t len = id->n / 2u;

	r.hi = r.lo;
	memcpy(r.lo.ip, id->p, len);
	memcpy(r.hi.ip, id->p + len, len);
	if (id->type == ID_IPV4_SUBNET || id->type == ID_IPV6_SUBNET)
		for (size_t i = 0; i < len; i++)
			r.hi.ip[i] = (uint8_t)(r.lo.ip[i] | ~id->p[len + i]);
	(void)range_str(&r, out);
}

const char *ident_str(const struct ident *id, char out[IDENT_STR_MAX])
{
	struct cy_slice s = bytes_of(id);
	char before[24];
	struct cy_addr a;

	switch (id->type) {
	case ID_ANY:
		(void)snprintf(out, IDENT_STR_MAX, "%%any");
		break;
	case ID_NULL:
		(void)snprintf(out, IDENT_STR_MAX, "%%null");
		break;
	case ID_IPV4_ADDR:
	case ID_IPV6_ADDR:
		a = addr_any(id->type == ID_IPV4_ADDR ? AF_INET : AF_INET6);
		memcpy(a.ip, id->p, id->n);
		(void)addr_str(&a, out);
		break;
	case ID_IPV4_SUBNET:
	case ID_IPV6_SUBNET:
	case ID_IPV4_RANGE:
	case ID_IPV6_RANGE:
		print_net(id, out);
		break;
	case ID_DER_ASN1_DN:
		dn_print(s, out, IDENT_STR_MAX);
		break;
	case ID_KEY_ID:
		print_hex("@#", s, out, IDENT_STR_MAX);
		break;
	case ID_FQDN:
	case ID_RFC822_ADDR:
	case ID_DN_TEXT:
		print_bytes(s, out, IDENT_STR_MAX);
		break;
	case ID_DER_ASN1_GN:
		print_hex("asn1gn:#", s, out, IDENT_STR_MAX);
		break;
	default:
		(void)snprintf(before, sizeof(before), "(type %u)#", id->type);
		print_hex(before, s, out, IDENT_STR_MAX);
		break;
	}
	return out;
}

uint64_t ident_hash(const uint64_t key[2], const struct ident *id)
{
	uint64_t salted[2] = {key[0] ^ id->type, key[1]};
	struct cy_slice s = bytes_of(id);
	uint8_t text[256];
	size_t from, n;

	if (id->type == ID_DER_ASN1_DN)
		return dn_hash(salted, s);
	if (id->type != ID_FQDN && id->type != ID_RFC822_ADDR)
		return siphash24(salted, s.p, s.n);
	/* a longer name is hashed by its end; equality decides */
	from = nocase_from(id->type, s);
	n = s.n < sizeof(text) ? s.n : sizeof(text);
	for (size_t i = 0; i < n; i++) {
		size_t at = s.n - n + i;

		text[i] = at >= from ? lower(s.p[at]) : s.p[at];
	}
	return siphash24(salted, text, n);
}
