/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "config.h"
#include "libcore/base/err.h"
#include "libcore/base/names.h"
#include "libcore/conf/settings_read.h"
#include "libcore/conf/value.h"

#define NO_EFFECT "(No effect yet.)"

#define G(text)
#define S(key, type, fallback, min, max, help) {key, type, fallback, min, max, help},

static const struct setting_def schema[] = {
#include "libcore/conf/settings.def"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

struct settings {
	uint32_t refs;
	struct setting_list list; /* sorted by key, each once */
	uint32_t n_errors;
};

const struct setting_def *settings_schema(void)
{
	return schema;
}

static const struct setting_def *def_find(const struct setting_def *defs, const char *key)
{
	for (; defs->key; defs++)
		if (strcmp(defs->key, key) == 0)
			return defs;
	return NULL;
}

/* ---- validation */

static bool is_type(const struct setting_def *d, const char *type)
{
	return strcmp(d->type, type) == 0;
}

static bool has(const char *bound)
{
	return bound && *bound;
}

/* A number, with a sign for int, in the unit that its type counts in. */
static bool take_number(const char *type, const char *s, int64_t *out)
{
	bool negative = strcmp(type, "int") == 0 && *s == '-';
	uint64_t v;
	bool good;

	if (strcmp(type, "time") == 0)
		good = value_ms(s, &v);
	else if (strcmp(type, "size") == 0)
		good = value_bytes(s, &v);
	else if (strcmp(type, "decimal") == 0)
		good = value_milli(s, &v);
	else
		good = value_u64(negative ? s + 1 : s, &v);
	if (!good || v > INT64_MAX)
		return false;
	*out = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

/* Is value one of "enum(a,b,c)"? */
static bool in_enum(const char *type, const char *value)
{
	const char *p = type + strlen("enum(");
	size_t n = strlen(value);

	while (*p) {
		size_t len = strcspn(p, ",)");

		if (len == n && strncmp(p, value, n) == 0)
			return true;
		p += len;
		p += *p != 0;
	}
	return false;
}

/* False: hint says what to write instead. */
static bool value_is_good(const struct setting_def *d, const char *value, char *hint, size_t cap)
{
	int64_t v, bound;
	bool on;

	if (is_type(d, "string"))
		return true;
	if (is_type(d, "bool")) {
		snprintf(hint, cap, "write yes or no");
		return value_bool(value, &on);
	}
	if (strncmp(d->type, "enum(", 5) == 0) {
		snprintf(hint, cap, "write one of %.*s", (int)strcspn(d->type + 5, ")"), d->type + 5);
		return in_enum(d->type, value);
	}
	if (!take_number(d->type, value, &v)) {
		snprintf(hint, cap, "write %s",
		    is_type(d, "time")          ? "a time such as 30s, 500ms or 1h"
		        : is_type(d, "size")    ? "a size such as 64k or 8M"
		        : is_type(d, "decimal") ? "a number such as 1.8"
		                                : "a whole number");
		return false;
	}
	snprintf(hint, cap, "write a value from %s%s%s", has(d->min) ? d->min : "0",
	    has(d->max) ? " to " : " on", has(d->max) ? d->max : "");
	if (has(d->min) && take_number(d->type, d->min, &bound) && v < bound)
		return false;
	if (has(d->max) && take_number(d->type, d->max, &bound) && v > bound)
		return false;
	return true;
}

/* The key among defs that was probably meant. */
static const char *nearest(const struct setting_def *defs, const char *typed)
{
	const char *names[128];
	size_t n = 0;

	for (; defs->key && n < ARRAY_LEN(names) - 1; defs++)
		names[n++] = defs->key;
	names[n] = NULL;
	return name_nearest(names, typed);
}

/* Checks one against a table. prefix: what the tables' keys leave out, for the message. False when it must not count. */
static bool check(const struct setting *s, const struct setting_def *defs, const char *key,
    const char *prefix, struct report *r)
{
	const struct setting_def *d = def_find(defs, key);
	const char *near;
	char hint[300];

	if (!d) {
		near = nearest(defs, key);
		if (near)
			snprintf(hint, sizeof(hint), "did you mean %s%s?", prefix, near);
		else
			snprintf(hint, sizeof(hint), "cygnet.conf(5) has the list");
		report_add(r, CY_LOG_ERROR, s->file, s->line, "", hint, "unknown setting %.150s", s->key);
		return false;
	}
	if (value_is_good(d, s->value, hint, sizeof(hint))) {
		if (strncmp(d->help, NO_EFFECT, strlen(NO_EFFECT)) == 0)
			report_add(r, CY_LOG_WARN, s->file, s->line, "", "remove it",
			    "%.100s has no effect yet", s->key);
		return true;
	}
	report_add(r, CY_LOG_ERROR, s->file, s->line, "", hint,
	    "%.100s = %.200s: not such a value, %s is used", s->key, s->value,
	    has(d->fallback) ? d->fallback : "the default");
	return false;
}

/* ---- loading */

static int setting_cmp(const void *a, const void *b)
{
	const struct setting *x = a, *y = b;
	int c = strcmp(x->key, y->key);

	return c ? c : (x->order > y->order) - (x->order < y->order);
}

/* Sorts, drops all but the last of each key, and what is wrong. */
static void settle(struct settings *s, struct report *r)
{
	struct setting *all = s->list.all;
	size_t n = 0;

	if (s->list.n)
		qsort(all, s->list.n, sizeof(*all), setting_cmp);
	for (size_t i = 0; i < s->list.n; i++) {
		bool good = true;

		if (i + 1 < s->list.n && strcmp(all[i].key, all[i + 1].key) == 0) {
			report_add(r, CY_LOG_WARN, all[i].file, all[i].line, "", "remove one of them",
			    "%.150s is set again in %.200s:%u, which counts", all[i].key, all[i + 1].file,
			    all[i + 1].line);
			good = false;
		} else if (strncmp(all[i].key, "plugins.", 8) != 0)
			good = check(&all[i], schema, all[i].key, "", r);
		if (good) {
			struct setting keep = all[n];

			all[n++] = all[i];
			all[i] = keep;
		}
	}
	while (s->list.n > n)
		setting_fini(&all[--s->list.n]);
}

static void settle_spis(struct settings *s, struct report *r)
{
	if (settings_int(s, "spi_min") <= settings_int(s, "spi_max"))
		return;
	for (size_t i = s->list.n; i-- > 0;) {
		struct setting *at = &s->list.all[i];

		if (strcmp(at->key, "spi_min") != 0 && strcmp(at->key, "spi_max") != 0)
			continue;
		report_add(r, CY_LOG_ERROR, at->file, at->line, "", "make spi_max larger",
		    "spi_min is larger than spi_max: %s = %.40s is not used", at->key, at->value);
		setting_fini(at);
		memmove(at, at + 1, (--s->list.n - i) * sizeof(*at));
	}
}

static enum cy_err finish(struct settings *s, struct report *r, enum cy_err err, struct settings **out)
{
	if (err) {
		settings_unref(s);
		return err;
	}
	settle(s, r);
	settle_spis(s, r);
	s->n_errors = r->n_errors;
	*out = s;
	return CY_OK;
}

enum cy_err settings_load(const char *path, conf_problem_fn cb, void *user, struct settings **out)
{
	struct settings *s = calloc(1, sizeof(*s));
	struct report r = {.cb = cb, .user = user};

	if (!s)
		return CY_E_NOMEM;
	s->refs = 1;
	return finish(s, &r, path ? setting_list_file(&s->list, path, &r) : CY_OK, out);
}

enum cy_err settings_load_text(
    const char *text, const char *name, conf_problem_fn cb, void *user, struct settings **out)
{
	struct settings *s = calloc(1, sizeof(*s));
	struct report r = {.cb = cb, .user = user};

	if (!s)
		return CY_E_NOMEM;
	s->refs = 1;
	return finish(s, &r, setting_list_text(&s->list, text, name, &r), out);
}

struct settings *settings_ref(struct settings *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void settings_unref(struct settings *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	setting_list_fini(&s->list);
	free(s);
}

uint32_t settings_errors(const struct settings *s)
{
	return s->n_errors;
}

/* ---- reading */

const char *settings_str(const struct settings *s, const char *key)
{
	size_t lo = 0, hi = s->list.n;
	const struct setting_def *d;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(s->list.all[mid].key, key);

		if (c == 0)
			return s->list.all[mid].value;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	d = def_find(schema, key);
	return d ? d->fallback : NULL;
}

static int64_t number(const struct settings *s, const char *key, const char *type)
{
	const char *v = settings_str(s, key);
	int64_t n;

	return v && take_number(type, v, &n) ? n : 0;
}

int64_t settings_int(const struct settings *s, const char *key)
{
	return number(s, key, "int");
}

bool settings_bool(const struct settings *s, const char *key)
{
	const char *v = settings_str(s, key);
	bool on = false;

	return v && value_bool(v, &on) && on;
}

uint64_t settings_ms(const struct settings *s, const char *key)
{
	return (uint64_t)number(s, key, "time");
}

uint64_t settings_bytes(const struct settings *s, const char *key)
{
	return (uint64_t)number(s, key, "size");
}

uint64_t settings_milli(const struct settings *s, const char *key)
{
	return (uint64_t)number(s, key, "decimal");
}

enum cy_level settings_log_level(const struct settings *s, const char *group)
{
	static const struct name levels[] = {{CY_LOG_ERROR, "error"}, {CY_LOG_WARN, "warn"},
	    {CY_LOG_NOTICE, "notice"}, {CY_LOG_INFO, "info"}, {CY_LOG_DEBUG, "debug"},
	    {CY_LOG_TRACE, "trace"}, {0, NULL}};
	const char *word = NULL;
	char key[32], lower[16];
	const struct name *n;
	size_t i = 0;

	for (; group[i] && i < sizeof(lower) - 1; i++)
		lower[i] = (char)(group[i] | 0x20); /* groups are letters */
	lower[i] = 0;
	if (snprintf(key, sizeof(key), "log.%s", lower) < (int)sizeof(key))
		word = settings_str(s, key);
	if (!word || strcmp(word, "default") == 0)
		word = settings_str(s, "log.default");
	n = name_find(levels, word);
	return n ? (enum cy_level)n->value : CY_LOG_INFO;
}

bool settings_find(
    const struct settings *s, size_t *at, const char *prefix, const char **out_key, const char **out_value)
{
	size_t n = strlen(prefix);

	for (; *at < s->list.n; ++*at)
		if (strncmp(s->list.all[*at].key, prefix, n) == 0) {
			*out_key = s->list.all[*at].key;
			*out_value = s->list.all[(*at)++].value;
			return true;
		}
	return false;
}

enum cy_err settings_check_plugin(const struct settings *s, const char *plugin,
    const struct setting_def *defs, conf_problem_fn cb, void *user)
{
	struct report r = {.cb = cb, .user = user};
	char prefix[128];
	int n = snprintf(prefix, sizeof(prefix), "plugins.%s.", plugin);

	if (n < 0 || n >= (int)sizeof(prefix))
		return CY_E_INVAL;
	for (size_t i = 0; i < s->list.n; i++)
		if (strncmp(s->list.all[i].key, prefix, (size_t)n) == 0)
			check(&s->list.all[i], defs, s->list.all[i].key + n, prefix, &r);
	return r.n_errors ? CY_E_PARSE : CY_OK;
}
