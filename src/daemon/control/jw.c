/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control/jw.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void jw_fini(struct jw *w)
{
	free(w->p);
	*w = (struct jw){0};
}

static bool room(struct jw *w, size_t n)
{
	size_t cap = w->cap ? w->cap : 1024;
	char *p;

	if (w->failed)
		return false;
	if (w->cap - w->n >= n)
		return true;
	while (cap - w->n < n)
		cap *= 2;
	p = realloc(w->p, cap);
	if (!p) {
		w->failed = true;
		return false;
	}
	w->p = p;
	w->cap = cap;
	return true;
}

static void put(struct jw *w, const char *s, size_t n)
{
	if (n == 0 || !room(w, n))
		return;
	memcpy(w->p + w->n, s, n);
	w->n += n;
}

/* The length of the UTF-8 sequence at s (RFC 3629, 4), 0 when it is none. */
static size_t utf8_len(const uint8_t *s)
{
	size_t n = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0; /* also the terminating NUL */
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
	    (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void quoted(struct jw *w, const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	char esc[8];

	put(w, "\"", 1);
	while (*s) {
		size_t n = utf8_len(s);

		if (n == 0) {
			put(w, "\\ufffd", 6);
			n = 1;
		} else if (*s == '"' || *s == '\\') {
			esc[0] = '\\';
			esc[1] = (char)*s;
			put(w, esc, 2);
		} else if (*s < 0x20 || *s == 0x7f) {
			snprintf(esc, sizeof(esc), "\\u%04x", *s);
			put(w, esc, 6);
		} else {
			put(w, (const char *)s, n);
		}
		s += n;
	}
	put(w, "\"", 1);
}

/* A comma unless this is the first of its kind; then the key. */
static void begin(struct jw *w, const char *key)
{
	char last = w->n && !w->failed ? w->p[w->n - 1] : '\n';

	if (last != '{' && last != '[' && last != '\n')
		put(w, ",", 1);
	if (key) {
		quoted(w, key);
		put(w, ":", 1);
	}
}

void jw_obj(struct jw *w, const char *key)
{
	begin(w, key);
	put(w, "{", 1);
}

void jw_obj_end(struct jw *w)
{
	put(w, "}", 1);
}

void jw_arr(struct jw *w, const char *key)
{
	begin(w, key);
	put(w, "[", 1);
}

void jw_arr_end(struct jw *w)
{
	put(w, "]", 1);
}

void jw_str(struct jw *w, const char *key, const char *text)
{
	begin(w, key);
	if (text)
		quoted(w, text);
	else
		put(w, "null", 4);
}

void jw_fmt(struct jw *w, const char *key, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	jw_str(w, key, text);
}

void jw_u64(struct jw *w, const char *key, uint64_t v)
{
	char text[24];

	begin(w, key);
	put(w, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, v));
}

void jw_i64(struct jw *w, const char *key, int64_t v)
{
	char text[24];

	begin(w, key);
	put(w, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, v));
}

void jw_num(struct jw *w, const char *key, double v)
{
	char text[40];

	snprintf(text, sizeof(text), "%.15g", isfinite(v) ? v : 0);
	jw_raw(w, key, text);
}

void jw_share(struct jw *w, const char *key, uint64_t part, uint64_t of)
{
	jw_num(w, key, of ? 100.0 * (double)part / (double)of : 0);
}

void jw_bool(struct jw *w, const char *key, bool v)
{
	begin(w, key);
	put(w, v ? "true" : "false", v ? 4 : 5);
}

void jw_raw(struct jw *w, const char *key, const char *json)
{
	begin(w, key);
	put(w, json, strlen(json));
}

void jw_add(struct jw *w, const char *text, size_t n)
{
	put(w, text, n);
}

void jw_end_line(struct jw *w)
{
	put(w, "\n", 1);
}
