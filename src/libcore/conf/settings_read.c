/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/settings_read.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/err.h"
#include "libcore/base/text.h"
#include "libcore/conf/textfile.h"

#define KEY_MAX_LEN   192
#define SECTION_DEPTH 8

struct source {
	struct setting_list *list;
	struct report *report;
	const char *path, *at;
	uint32_t line;
	char key[KEY_MAX_LEN]; /* of the sections around, each with a dot behind it */
	size_t ends[SECTION_DEPTH];
	uint32_t began[SECTION_DEPTH];
	unsigned depth; /* sections open */
	unsigned skip;  /* of these, how many are skipped because of a fault */
	/* of includes */
	const struct source *from;
	unsigned level;
	uint64_t dev, ino;
	bool in_memory;
};

static void fault(struct source *s, uint32_t line, const char *hint, const char *what)
{
	report_add(s->report, CY_LOG_ERROR, s->path, line, "", hint, "%s", what);
}

static void skip_blanks(struct source *s)
{
	while (*s->at == ' ' || *s->at == '\t' || *s->at == '\r')
		s->at++;
}

static void skip_line(struct source *s)
{
	while (*s->at && *s->at != '\n')
		s->at++;
}

static bool is_key_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

/*
 * A value goes to the end of the line, or to a '}' or ';' or a '#' after a blank; in quotes it may hold these. *out is malloc'd.
 */
static enum cy_err take_value(struct source *s, char **out)
{
	const char *start, *end;

	skip_blanks(s);
	start = s->at;
	if (*start == '"') {
		char *o = malloc(strcspn(start, "\n") + 1);

		if (!o)
			return CY_E_NOMEM;
		*out = o;
		for (s->at++; *s->at && *s->at != '\n' && *s->at != '"'; s->at++) {
			if (s->at[0] == '\\' && (s->at[1] == '"' || s->at[1] == '\\'))
				s->at++;
			*o++ = *s->at;
		}
		*o = 0;
		if (*s->at != '"') {
			free(*out);
			return CY_E_PARSE;
		}
		s->at++;
		return CY_OK;
	}
	while (*s->at && !strchr("\n};", *s->at) &&
	    !(*s->at == '#' && (s->at == start || s->at[-1] == ' ' || s->at[-1] == '\t')))
		s->at++;
	for (end = s->at; end > start && isspace((unsigned char)end[-1]); end--)
		;
	*out = text_dup(start, (size_t)(end - start));
	return *out ? CY_OK : CY_E_NOMEM;
}

static enum cy_err add(struct source *s, const char *name, char *take_value, uint32_t line)
{
	struct setting_list *l = s->list;
	char key[2 * KEY_MAX_LEN];

	snprintf(key, sizeof(key), "%s%s", s->key, name);
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct setting *bigger = realloc(l->all, cap * sizeof(*bigger));

		if (!bigger) {
			free(take_value);
			return CY_E_NOMEM;
		}
		l->all = bigger;
		l->cap = cap;
	}
	l->all[l->n] = (struct setting){strdup(key), take_value, strdup(s->path), line, (uint32_t)l->n};
	l->n++;
	return l->all[l->n - 1].key && l->all[l->n - 1].file ? CY_OK : CY_E_NOMEM;
}

static enum cy_err read_path(
    struct setting_list *l, const char *path, struct report *r, const struct source *from);

static enum cy_err include(struct source *s, const char *pattern)
{
	enum cy_err err = CY_OK;
	char path[4096];
	glob_t g;
	int rc;

	if (s->in_memory) {
		fault(s, s->line, "", "include works in files only");
		return CY_OK;
	}
	if (!*pattern || !textfile_include(s->path, pattern, path, sizeof(path))) {
		fault(s, s->line, "write include FILE", "include without a file");
		return CY_OK;
	}
	rc = glob(path, GLOB_BRACE, NULL, &g);
	if (rc == GLOB_NOSPACE)
		return CY_E_NOMEM;
	if (rc != 0 && (rc != GLOB_NOMATCH || !textfile_is_glob(pattern)))
		report_add(s->report, CY_LOG_ERROR, s->path, s->line, "", "create it or remove the include",
		    "cannot read %.300s", path);
	for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++) {
		err = read_path(s->list, g.gl_pathv[i], s->report, s);
		if (err == CY_E_NOMEM)
			break;
		err = CY_OK; /* reported */
	}
	if (rc == 0)
		globfree(&g);
	return err;
}

static void open_section(struct source *s, const char *name, uint32_t line)
{
	size_t n = strlen(s->key), len = strlen(name);

	if (s->depth == SECTION_DEPTH || s->skip || n + len + 2 > sizeof(s->key)) {
		if (!s->skip)
			fault(s, line, "", "sections nested too deep");
		s->skip++;
		return;
	}
	s->began[s->depth] = line;
	s->ends[s->depth++] = n;
	memcpy(s->key + n, name, len);
	memcpy(s->key + n + len, ".", 2);
}

static void close_section(struct source *s)
{
	if (s->skip)
		s->skip--;
	else if (s->depth == 0)
		fault(s, s->line, "remove it", "a } without its {");
	else
		s->key[s->ends[--s->depth]] = 0;
}

/* One item: a section's begin, a setting, an include. at is at its first character. */
static enum cy_err read_item(struct source *s)
{
	char name[KEY_MAX_LEN];
	uint32_t line = s->line;
	char *value = NULL;
	enum cy_err err;
	size_t n = 0;

	while (is_key_char(*s->at)) {
		if (n < sizeof(name) - 1)
			name[n++] = *s->at;
		s->at++;
	}
	name[n] = 0;
	skip_blanks(s);
	if (n && *s->at == '{') {
		s->at++;
		open_section(s, name, line);
		return CY_OK;
	}
	if (strcmp(name, "include") == 0 && *s->at != '=') {
		err = take_value(s, &value);
		if (!err && !s->skip)
			err = include(s, value);
		free(err == CY_E_PARSE ? NULL : value);
	} else if (n && *s->at == '=') {
		s->at++;
		err = take_value(s, &value);
		if (!err && s->skip)
			free(value);
		else if (!err)
			err = add(s, name, value, line);
	} else {
		fault(s, line, "write key = value, or name { ... }", "not a setting");
		skip_line(s);
		return CY_OK;
	}
	if (err == CY_E_PARSE) {
		fault(s, line, "write \" at the end of the value", "a quote that does not end");
		skip_line(s);
		return CY_OK;
	}
	if (err)
		return err;
	skip_blanks(s);
	if (*s->at && !strchr("\n};#", *s->at)) {
		fault(s, line, "begin a new line", "something after the value");
		skip_line(s);
	}
	return CY_OK;
}

static enum cy_err read_items(struct source *s)
{
	enum cy_err err = CY_OK;

	while (*s->at && !err) {
		if (*s->at == '\n') {
			s->line++;
			s->at++;
		} else if (isspace((unsigned char)*s->at) || *s->at == ';')
			s->at++;
		else if (*s->at == '#')
			skip_line(s);
		else if (*s->at == '}') {
			close_section(s);
			s->at++;
		} else
			err = read_item(s);
	}
	if (!err && s->depth)
		fault(s, s->began[s->depth - 1], "write } at its end", "a section that does not end");
	return err;
}

static enum cy_err read_path(
    struct setting_list *l, const char *path, struct report *r, const struct source *from)
{
	struct source s = {.list = l,
	    .report = r,
	    .path = path,
	    .line = 1,
	    .from = from,
	    .level = from ? from->level + 1 : 0};
	const char *why = NULL;
	struct textfile t = {0};
	enum cy_err err;

	if (s.level > INCLUDE_DEPTH) {
		err = CY_E_LIMIT;
		why = "16 files include one another already";
	} else
		err = textfile_load(path, TEXT_BYTES_MAX - l->bytes, &t, &why);
	for (const struct source *up = from; !err && up; up = up->from)
		if (up->dev == t.dev && up->ino == t.ino) {
			err = CY_E_EXISTS;
			why = "it includes itself";
		}
	if (!err && memchr(t.text, 0, t.n)) {
		err = CY_E_PARSE;
		why = "it is no text";
	}
	if (err) {
		report_add(r, CY_LOG_ERROR, from ? from->path : path, from ? from->line : 0, "", "",
		    "cannot read %.300s: %s", path, why);
		free(t.text);
		return err;
	}
	l->bytes += t.n;
	s.dev = t.dev;
	s.ino = t.ino;
	s.at = t.text;
	/* what is included inside a section is of that section */
	if (from)
		memcpy(s.key, from->key, sizeof(s.key));
	err = read_items(&s);
	free(t.text);
	return err;
}

enum cy_err setting_list_file(struct setting_list *l, const char *path, struct report *r)
{
	return read_path(l, path, r, NULL);
}

enum cy_err setting_list_text(struct setting_list *l, const char *text, const char *name, struct report *r)
{
	struct source s = {.list = l, .report = r, .path = name, .at = text, .line = 1, .in_memory = true};

	return read_items(&s);
}

void setting_fini(struct setting *s)
{
	free(s->key);
	free(s->value);
	free(s->file);
}

void setting_list_fini(struct setting_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		setting_fini(&l->all[i]);
	free(l->all);
	*l = (struct setting_list){0};
}
