/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/dn.h"

#include <stdio.h>

#include "libcore/base/err.h"
#include "libcore/base/hmap.h"

enum {
	TAG_OID = 0x06,
	TAG_UTF8 = 0x0c,
	TAG_PRINTABLE = 0x13,
	TAG_T61 = 0x14,
	TAG_IA5 = 0x16,
	TAG_BMP = 0x1e,
	TAG_SEQUENCE = 0x30,
	TAG_SET = 0x31,
};

static const struct {
	const char *name;
	uint8_t n;
	uint8_t oid[10];
} types[] = {
    {"CN", 3, {0x55, 4, 3}},
    {"S", 3, {0x55, 4, 4}},
    {"SN", 3, {0x55, 4, 5}},
    {"C", 3, {0x55, 4, 6}},
    {"L", 3, {0x55, 4, 7}},
    {"ST", 3, {0x55, 4, 8}},
    {"street", 3, {0x55, 4, 9}},
    {"O", 3, {0x55, 4, 10}},
    {"OU", 3, {0x55, 4, 11}},
    {"T", 3, {0x55, 4, 12}},
    {"D", 3, {0x55, 4, 13}},
    {"postalCode", 3, {0x55, 4, 17}},
    {"N", 3, {0x55, 4, 41}},
    {"G", 3, {0x55, 4, 42}},
    {"I", 3, {0x55, 4, 43}},
    {"dnQualifier", 3, {0x55, 4, 46}},
    {"E", 9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1}},
    {"unstructuredName", 9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 2}},
    {"UID", 10, {0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1}},
    {"DC", 10, {0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25}},
};

const char *dn_attr_name(struct cy_slice oid)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (cy_slice_eq(oid, cy_slice(types[i].oid, types[i].n)))
			return types[i].name;
	return NULL;
}

/* One element; definite lengths of at most four bytes only, as DER has them. */
static struct cy_slice element(struct reader *r, uint8_t *out_tag)
{
	uint32_t n;
	uint8_t len;

	*out_tag = read_u8(r);
	len = read_u8(r);
	if ((*out_tag & 0x1f) == 0x1f)
		r->bad = true; /* high tag numbers do not occur here */
	if (len < 0x80) {
		n = len;
	} else if (len == 0x80 || len > 0x84) {
		r->bad = true;
		return cy_slice(NULL, 0);
	} else {
		for (n = 0; len > 0x80; len--)
			n = n << 8 | read_u8(r);
	}
	return read_bytes(r, n);
}

static struct cy_slice expect(struct reader *r, uint8_t tag)
{
	uint8_t got;
	struct cy_slice s = element(r, &got);

	if (got != tag)
		r->bad = true;
	return s;
}

void dn_walk_init(struct dn_walk *w, struct cy_slice der)
{
	struct reader outer = reader_of(der);

	*w = (struct dn_walk){.rdn = reader_of(cy_slice(NULL, 0))};
	w->names = reader_of(expect(&outer, TAG_SEQUENCE));
	w->bad = outer.bad || reader_left(&outer) != 0;
}

bool dn_walk_next(struct dn_walk *w, struct dn_attr *out)
{
	struct reader attr;

	if (w->bad)
		return false;
	if (reader_left(&w->rdn) == 0) {
		if (reader_left(&w->names) == 0)
			return false;
		w->rdn = reader_of(expect(&w->names, TAG_SET));
		w->bad = w->names.bad || reader_left(&w->rdn) == 0;
		if (w->bad)
			return false;
		w->n++;
	}
	attr = reader_of(expect(&w->rdn, TAG_SEQUENCE));
	out->oid = expect(&attr, TAG_OID);
	out->value = element(&attr, &out->tag);
	out->rdn = w->n - 1;
	w->bad = w->rdn.bad || attr.bad || reader_left(&attr) != 0 || out->oid.n == 0;
	return !w->bad;
}

bool dn_valid(struct cy_slice der)
{
	struct dn_walk w;
	struct dn_attr a;

	dn_walk_init(&w, der);
	while (dn_walk_next(&w, &a))
		;
	return !w.bad;
}

static bool is_text(uint8_t tag)
{
	return tag == TAG_UTF8 || tag == TAG_PRINTABLE || tag == TAG_IA5;
}

/*
 * Directory strings compare without case and with runs of blanks as one, leading and trailing ones ignored (RFC 5280,
 * 7.1). Letters outside ASCII are compared as they are. Gives the next character of that form, -1 at the end.
 */
static int fold_next(struct cy_slice s, size_t *pos)
{
	bool start = *pos == 0, blank = false;
	uint8_t c;

	while (*pos < s.n && s.p[*pos] == ' ') {
		blank = true;
		(*pos)++;
	}
	if (*pos >= s.n)
		return -1;
	if (blank && !start)
		return ' ';
	c = s.p[(*pos)++];
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool value_eq(const struct dn_attr *a, const struct dn_attr *b)
{
	size_t i = 0, j = 0;
	int x, y;

	if (!is_text(a->tag) || !is_text(b->tag))
		return a->tag == b->tag && cy_slice_eq(a->value, b->value);
	do {
		x = fold_next(a->value, &i);
		y = fold_next(b->value, &j);
	} while (x == y && x >= 0);
	return x == y;
}

static bool is_wildcard(const struct dn_attr *a)
{
	return is_text(a->tag) && a->value.n == 1 && a->value.p[0] == '*';
}

static int compare(struct cy_slice pattern, struct cy_slice der, bool wildcards)
{
	struct dn_walk wa, wb;
	struct dn_attr a, b;
	int used = 0;

	dn_walk_init(&wa, pattern);
	dn_walk_init(&wb, der);
	for (;;) {
		bool more_a = dn_walk_next(&wa, &a), more_b = dn_walk_next(&wb, &b);

		if (wa.bad || wb.bad || more_a != more_b)
			return -1;
		if (!more_a)
			return used;
		if (a.rdn != b.rdn || !cy_slice_eq(a.oid, b.oid))
			return -1;
		if (wildcards && is_wildcard(&a))
			used++;
		else if (!value_eq(&a, &b))
			return -1;
	}
}

bool dn_eq(struct cy_slice a, struct cy_slice b)
{
	return compare(a, b, false) == 0;
}

int dn_match(struct cy_slice pattern, struct cy_slice der)
{
	return compare(pattern, der, true);
}

uint64_t dn_hash(const uint64_t key[2], struct cy_slice der)
{
	uint64_t chain[2] = {key[0], key[1]};
	struct dn_walk w;
	struct dn_attr a;

	if (!dn_valid(der))
		return siphash24(key, der.p, der.n);
	dn_walk_init(&w, der);
	while (dn_walk_next(&w, &a)) {
		uint8_t text[128];
		size_t n = 0, pos = 0;
		int c;

		chain[0] ^= siphash24(chain, a.oid.p, a.oid.n);
		if (!is_text(a.tag)) {
			chain[0] ^= siphash24(chain, a.value.p, a.value.n) + a.tag;
			continue;
		}
		/* a longer value is hashed by its beginning; equality decides */
		while (n < sizeof(text) && (c = fold_next(a.value, &pos)) >= 0)
			text[n++] = (uint8_t)c;
		chain[0] ^= siphash24(chain, text, n) + a.rdn;
	}
	return siphash24(chain, &w.n, sizeof(w.n));
}

struct text {
	char *p;
	size_t n, cap;
};

static void add(struct text *t, const char *s, size_t n)
{
	if (n > t->cap - 1 - t->n)
		n = t->cap - 1 - t->n;
	memcpy(t->p + t->n, s, n);
	t->n += n;
	t->p[t->n] = '\0';
}

static void add_str(struct text *t, const char *s)
{
	add(t, s, strlen(s));
}

static void add_oid(struct text *t, struct cy_slice oid)
{
	char number[32];
	uint64_t arc = 0;
	bool first = true;

	for (size_t i = 0; i < oid.n; i++) {
		if (arc >> 57) {
			add_str(t, "?");
			return;
		}
		arc = arc << 7 | (oid.p[i] & 0x7f);
		if (oid.p[i] & 0x80)
			continue;
		if (first) {
			uint64_t root = arc < 80 ? arc / 40 : 2;

			(void)snprintf(number, sizeof(number), "%llu.%llu", (unsigned long long)root,
			    (unsigned long long)(arc - root * 40));
		} else {
			(void)snprintf(number, sizeof(number), ".%llu", (unsigned long long)arc);
		}
		add_str(t, number);
		first = false;
		arc = 0;
	}
}

static void add_utf8(struct text *t, uint32_t c)
{
	char b[4];

	if (c < 0x80) {
		b[0] = (char)c;
		add(t, b, 1);
	} else if (c < 0x800) {
		b[0] = (char)(0xc0 | c >> 6);
		b[1] = (char)(0x80 | (c & 0x3f));
		add(t, b, 2);
	} else {
		b[0] = (char)(0xe0 | c >> 12);
		b[1] = (char)(0x80 | (c >> 6 & 0x3f));
		b[2] = (char)(0x80 | (c & 0x3f));
		add(t, b, 3);
	}
}

static void add_char(struct text *t, uint8_t c)
{
	char hex[8];

	if (c < 0x20 || c == 0x7f) {
		(void)snprintf(hex, sizeof(hex), "\\x%02x", c);
		add_str(t, hex);
		return;
	}
	if (c == ',' || c == '+' || c == '\\')
		add(t, "\\", 1);
	add(t, (const char *)&c, 1);
}

static void add_value(struct text *t, const struct dn_attr *a)
{
	char hex[4];

	if (is_text(a->tag) || a->tag == TAG_T61) {
		for (size_t i = 0; i < a->value.n; i++)
			add_char(t, a->value.p[i]);
	} else if (a->tag == TAG_BMP && a->value.n % 2 == 0) {
		for (size_t i = 0; i < a->value.n; i += 2) {
			uint32_t c = (uint32_t)(a->value.p[i] << 8 | a->value.p[i + 1]);

			if (c < 0x80)
				add_char(t, (uint8_t)c);
			else
				add_utf8(t, c);
		}
	} else {
		add(t, "#", 1);
		for (size_t i = 0; i < a->value.n; i++) {
			(void)snprintf(hex, sizeof(hex), "%02x", a->value.p[i]);
			add_str(t, hex);
		}
	}
}

void dn_print(struct cy_slice der, char *out, size_t cap)
{
	struct text t = {out, 0, cap};
	struct dn_walk w;
	struct dn_attr a;
	uint32_t last = 0;
	bool any = false;

	if (cap == 0)
		return;
	out[0] = '\0';
	if (!dn_valid(der)) {
		add_str(&t, "(malformed DN)");
		return;
	}
	dn_walk_init(&w, der);
	while (dn_walk_next(&w, &a)) {
		const char *name = dn_attr_name(a.oid);

		if (any)
			add_str(&t, a.rdn == last ? " + " : ", ");
		if (name)
			add_str(&t, name);
		else
			add_oid(&t, a.oid);
		add(&t, "=", 1);
		add_value(&t, &a);
		last = a.rdn;
		any = true;
	}
}
