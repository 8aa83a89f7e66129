/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/value.h"

#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"

bool value_bool(const char *s, bool *out)
{
	static const char *const words[] = {
	    "no", "yes", "false", "true", "off", "on", "n", "y", "0", "1", "f", "t"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasecmp(s, words[i]) == 0) {
			*out = i % 2;
			return true;
		}
	return false;
}

static bool add_digit(uint64_t *n, unsigned base, unsigned digit)
{
	if (__builtin_mul_overflow(*n, base, n))
		return false;
	return !__builtin_add_overflow(*n, digit, n);
}

/* Digits at *s; moves on. */
static bool take_u64(const char **s, uint64_t *out)
{
	uint64_t n = 0;
	const char *p = *s;

	while (*p >= '0' && *p <= '9')
		if (!add_digit(&n, 10, (unsigned)(*p++ - '0')))
			return false;
	if (p == *s)
		return false;
	*s = p;
	*out = n;
	return true;
}

static bool take_hex(const char *p, uint64_t *out)
{
	uint64_t n = 0;

	if (!*p)
		return false;
	for (; *p; p++) {
		unsigned c = (unsigned char)*p | 0x20;
		unsigned digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;

		if (digit > 15 || !add_digit(&n, 16, digit))
			return false;
	}
	*out = n;
	return true;
}

bool value_u64(const char *s, uint64_t *out)
{
	uint64_t n;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		return take_hex(s + 2, out);
	if (!take_u64(&s, &n) || *s)
		return false;
	*out = n;
	return true;
}

/* "1.8": a whole number and thousandths; further digits must not be there. Moves on. */
static bool take_milli(const char **s, uint64_t *out)
{
	uint64_t n;

	if (!take_u64(s, &n) || __builtin_mul_overflow(n, 1000, &n))
		return false;
	if (**s == '.') {
		unsigned scale = 100;

		if (*++*s < '0' || **s > '9')
			return false;
		for (; **s >= '0' && **s <= '9'; ++*s, scale /= 10) {
			if (scale == 0 || __builtin_add_overflow(n, (unsigned)(**s - '0') * scale, &n))
				return false;
		}
	}
	*out = n;
	return true;
}

bool value_milli(const char *s, uint64_t *out)
{
	uint64_t n;

	if (!take_milli(&s, &n) || *s)
		return false;
	*out = n;
	return true;
}

bool value_ms(const char *s, uint64_t *out)
{
	static const struct {
		const char *unit;
		uint64_t s;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	uint64_t n;

	if (!take_milli(&s, &n))
		return false;
	if (strcasecmp(s, "ms") == 0) {
		if (n % 1000)
			return false;
		*out = n / 1000;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcasecmp(s, units[i].unit) == 0) {
			if (__builtin_mul_overflow(n, units[i].s, &n))
				return false;
			*out = n;
			return true;
		}
	return false;
}

bool value_bytes(const char *s, uint64_t *out)
{
	static const char units[] = "kMGT";
	uint64_t n;
	const char *unit;

	if (!take_u64(&s, &n))
		return false;
	if (*s) {
		unit = strchr(units, *s == 'K' ? 'k' : *s == 'm' ? 'M' : *s == 'g' ? 'G' : *s);
		if (!unit)
			return false;
		if (__builtin_mul_overflow(n, 1ull << (10 * (unit - units + 1)), &n))
			return false;
		s++;
		if (*s == 'B')
			s++;
		if (*s)
			return false;
	}
	*out = n;
	return true;
}

bool value_mark(const char *s, struct cy_mark *out)
{
	const char *slash = strchr(s, '/');
	char value[32];
	uint64_t v, m = UINT32_MAX;
	size_t n = slash ? (size_t)(slash - s) : strlen(s);

	if (n >= sizeof(value))
		return false;
	memcpy(value, s, n);
	value[n] = 0;
	if (!value_u64(value, &v) || v > UINT32_MAX)
		return false;
	if (slash && (!value_u64(slash + 1, &m) || m > UINT32_MAX || m == 0))
		return false;
	*out = (struct cy_mark){(uint32_t)v, (uint32_t)m};
	return true;
}

bool value_next(const char **at, const char *seps, char *buf, size_t cap, bool *out_cut)
{
	const char *p = *at;
	size_t n;

	while (*p && (strchr(seps, *p) || *p == ' ' || *p == '\t'))
		p++;
	if (!*p)
		return false;
	n = strcspn(p, seps);
	*at = p + n;
	while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	if (n >= cap) {
		*out_cut = true;
		n = cap - 1;
	}
	memcpy(buf, p, n);
	buf[n] = 0;
	return true;
}

enum cy_err strs_add(struct str_list *l, const char *s)
{
	char **bigger = realloc(l->s, (l->n + 1) * sizeof(*l->s));
	char *copy;

	if (!bigger)
		return CY_E_NOMEM;
	l->s = bigger;
	copy = strdup(s);
	if (!copy)
		return CY_E_NOMEM;
	l->s[l->n++] = copy;
	return CY_OK;
}

void strs_fini(struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->s[i]);
	free(l->s);
	*l = (struct str_list){0};
}
