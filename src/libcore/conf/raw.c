/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/raw.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/base/names.h"
#include "libcore/conf/textfile.h"

#define NAME_MAX_LEN 128

/* Where the reader is. One an open file, chained to the file that includes it. */
struct reading {
	struct raw *raw;
	struct raw_file *file;
	const struct reading *from;
	unsigned depth;
	bool no_include;
	/* of the section being read; -1: none yet, -2: an unknown one, whose lines are skipped */
	int64_t section;
};

void raw_init(struct raw *r, struct report *report)
{
	*r = (struct raw){.report = report};
}

void raw_fini(struct raw *r)
{
	while (r->files) {
		struct raw_file *f = r->files;

		r->files = f->next;
		free(f->path);
		free(f->text);
		free(f);
	}
	free(r->sections);
	free(r->entries);
	free(r->by_name);
	*r = (struct raw){0};
}

static void fault(
    const struct reading *rd, uint32_t line, const char *hint, const char *what, const char *arg)
{
	const char *conn = "";

	if (rd->section >= 0) {
		struct raw_section *s = &rd->raw->sections[rd->section];

		if (s->kind == RAW_CONN)
			conn = s->name;
		if (!s->broken)
			s->broken = line;
	}
	report_add(rd->raw->report, CY_LOG_ERROR, rd->file->path, line, conn, hint, "%s%s%.200s%s", what,
	    arg ? " \"" : "", arg ? arg : "", arg ? "\"" : "");
}

static enum cy_err grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
	void **a = array, *bigger;
	uint32_t want = *cap ? *cap * 2 : 64;

	if (n < *cap)
		return CY_OK;
	bigger = want > *cap ? realloc(*a, (size_t)want * size) : NULL;
	if (!bigger)
		return CY_E_NOMEM;
	*a = bigger;
	*cap = want;
	return CY_OK;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char *skip_blanks(char *s)
{
	while (is_blank(*s))
		s++;
	return s;
}

/* Cuts the first word off s and returns what follows it. */
static char *cut_word(char *s)
{
	while (*s && !is_blank(*s))
		s++;
	if (*s) {
		*s++ = 0;
		s = skip_blanks(s);
	}
	return s;
}

/* "..." loses its quotes and the backslashes before quotes and backslashes; {...} loses its braces. */
static char *unquote(char *v)
{
	size_t n = strlen(v);
	char *out;

	if (n >= 2 && v[0] == '{' && v[n - 1] == '}') {
		v[n - 1] = 0;
		return v + 1;
	}
	if (n < 2 || v[0] != '"' || v[n - 1] != '"')
		return v;
	v[n - 1] = 0;
	out = ++v;
	for (char *in = v; *in; in++) {
		if (in[0] == '\\' && (in[1] == '"' || in[1] == '\\'))
			in++;
		*out++ = *in;
	}
	*out = 0;
	return v;
}

/* A name of a section: one word, perhaps quoted, of printable characters. */
static bool name_is_good(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > NAME_MAX_LEN)
		return false;
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '"')
			return false;
	return true;
}

static enum cy_err section_add(struct reading *rd, enum raw_kind kind, const char *name, uint32_t line)
{
	struct raw *r = rd->raw;
	enum cy_err err = grow(&r->sections, r->n_sections, &r->cap_sections, sizeof(*r->sections));

	if (err)
		return err;
	rd->section = r->n_sections;
	r->sections[r->n_sections++] = (struct raw_section){
	    .kind = kind, .name = name, .file = rd->file, .line = line, .first = r->n_entries};
	return CY_OK;
}

static enum cy_err read_include(struct reading *rd, uint32_t line, char *pattern);

/* A line that starts in the first column. */
static enum cy_err read_heading(struct reading *rd, uint32_t line, char *s)
{
	static const char *const words[] = {"conn", "config", "ca", "include", "version", NULL};
	char *rest = cut_word(s);
	const char *near;
	char hint[96];

	if (strchr(s, '=') || rest[0] == '=') {
		/* most likely of the section before, which must not count without it */
		fault(rd, line, "indent the keys of a section", "a key in the first column:", s);
		rd->section = -2;
		return CY_OK;
	}
	rd->section = -2;
	if (strcmp(s, "include") == 0) {
		rd->section = -1;
		return read_include(rd, line, unquote(rest));
	}
	if (strcmp(s, "version") == 0) {
		rd->section = -1;
		return CY_OK; /* "version 2.0" of old files */
	}
	if (strcmp(s, "config") == 0) {
		if (strcmp(rest, "setup") == 0)
			return section_add(rd, RAW_SETUP, "setup", line);
		fault(rd, line, "write \"config setup\"", "unknown section \"config\"", rest);
		return CY_OK;
	}
	if (strcmp(s, "conn") == 0 || strcmp(s, "ca") == 0) {
		rest = unquote(rest);
		if (!name_is_good(rest)) {
			fault(rd, line, "a name is one word of at most 128 characters",
			    s[1] == 'o' ? "not a name of a conn:" : "not a name of a ca:", rest);
			return CY_OK;
		}
		return section_add(rd, s[1] == 'o' ? RAW_CONN : RAW_CA, rest, line);
	}
	near = name_nearest(words, s);
	hint[0] = 0;
	if (near)
		snprintf(hint, sizeof(hint), "did you mean \"%s\"?", near);
	fault(rd, line, near ? hint : "sections are \"config setup\", \"conn NAME\" and \"ca NAME\"",
	    "unknown section", s);
	return CY_OK;
}

/* An indented line. */
static enum cy_err read_entry(struct reading *rd, uint32_t line, char *s)
{
	struct raw *r = rd->raw;
	char *equals = strchr(s, '='), *end, *value;
	struct raw_entry e = {.file = rd->file, .line = line};
	enum cy_err err;

	if (rd->section == -2)
		return CY_OK;
	if (!equals) {
		cut_word(s);
		if (strcmp(s, "conn") == 0 || strcmp(s, "config") == 0 || strcmp(s, "ca") == 0 ||
		    strcmp(s, "include") == 0) {
			fault(rd, line, "start it in the first column", "indented", s);
			rd->section = -2;
		} else
			fault(rd, line, "write key=value", "no \"=\" after", s);
		return CY_OK;
	}
	if (rd->section == -1) {
		fault(rd, line, "begin one with \"conn NAME\" or \"config setup\"",
		    "a key outside of any section:", s);
		rd->section = -2;
		return CY_OK;
	}
	for (end = equals; end > s && is_blank(end[-1]); end--)
		;
	*end = 0;
	value = skip_blanks(equals + 1);
	if (end == s) {
		fault(rd, line, "write key=value", "no key before \"=\"", NULL);
		return CY_OK;
	}
	e.name = s;
	e.value = unquote(value);
	e.key = key_find(s, (size_t)(end - s), &e.right, &r->steps);
	err = grow(&r->entries, r->n_entries, &r->cap_entries, sizeof(*r->entries));
	if (err)
		return err;
	r->entries[r->n_entries++] = e;
	r->sections[rd->section].n++;
	return CY_OK;
}

/*
 * Takes one logical line at *at: a backslash before the newline joins the next one, '#' after a blank or at the start
 * begins a comment, except in quotes. Terminates it in place, without trailing blanks; *at moves on. False: the line is
 * unusable and was reported.
 */
static bool take_line(const struct reading *rd, char **at, char *end, uint32_t *line, char **out)
{
	uint32_t first = *line;
	char *in = *at, *o = in;
	bool comment = false, quote = false, bad = false, at_start = true;

	*out = in;
	while (in < end && *in != '\n') {
		char c = *in++;

		if (comment)
			continue;
		if (c == '\\' && in < end &&
		    (*in == '\n' || (*in == '\r' && in + 1 < end && in[1] == '\n'))) {
			in += *in == '\r' ? 2 : 1;
			++*line;
			continue;
		}
		if (c == '"' && (in - 2 < *at || in[-2] != '\\'))
			quote = !quote;
		else if (c == '#' && !quote && (at_start || is_blank(o[-1]))) {
			comment = true;
			continue;
		} else if (c == '\r' && (in == end || *in == '\n'))
			continue;
		else if ((unsigned char)c < ' ' && c != '\t')
			bad = true;
		at_start = false;
		*o++ = c;
	}
	if (in < end && *in == '\n')
		in++;
	*at = in;
	++*line;
	while (o > *out && is_blank(o[-1]))
		o--;
	*o = 0;
	if (bad)
		fault(rd, first, "remove it", "a control character in the line", NULL);
	else if (quote)
		fault(rd, first, "write \" at the end of the value", "a quote that does not end", NULL);
	return !bad && !quote;
}

/* text has a NUL after its n bytes. */
static enum cy_err read_text(struct reading *rd, char *text, size_t n)
{
	char *at = text, *end = text + n;
	uint32_t line = 1;

	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		at += 3;
	while (at < end) {
		uint32_t first = line;
		char *s;
		enum cy_err err;

		rd->raw->steps++;
		if (!take_line(rd, &at, end, &line, &s))
			continue;
		if (is_blank(*s)) {
			s = skip_blanks(s);
			err = *s ? read_entry(rd, first, s) : CY_OK;
		} else
			err = *s ? read_heading(rd, first, s) : CY_OK;
		if (err)
			return err;
	}
	return CY_OK;
}

static enum cy_err file_add(struct raw *r, const char *path, struct raw_file **out)
{
	struct raw_file *f = calloc(1, sizeof(*f));

	if (f)
		f->path = strdup(path);
	if (!f || !f->path) {
		free(f);
		return CY_E_NOMEM;
	}
	f->next = r->files;
	r->files = f;
	*out = f;
	return CY_OK;
}

/* from: the file that includes it, NULL for the first. line: of the include. */
static enum cy_err read_path(struct raw *r, const char *path, const struct reading *from, uint32_t line)
{
	struct reading rd = {.raw = r, .from = from, .depth = from ? from->depth + 1 : 0, .section = -1};
	const char *why = NULL, *hint = "";
	struct textfile t = {0};
	enum cy_err err;

	if (rd.depth > INCLUDE_DEPTH) {
		err = CY_E_LIMIT;
		why = "16 files include one another already";
		hint = "include fewer levels";
	} else
		err = textfile_load(path, TEXT_BYTES_MAX - r->bytes, &t, &why);
	for (const struct reading *up = from; !err && up; up = up->from)
		if (up->file->dev == t.dev && up->file->ino == t.ino) {
			err = CY_E_EXISTS;
			why = "it includes itself";
			hint = "remove this include";
		}
	if (!err)
		err = file_add(r, path, &rd.file);
	if (err) {
		if (why)
			report_add(r->report, CY_LOG_ERROR, from ? from->file->path : path, line, "", hint,
			    "cannot read %.300s: %s", path, why);
		free(t.text);
		return err;
	}
	rd.file->text = t.text;
	rd.file->dev = t.dev;
	rd.file->ino = t.ino;
	r->bytes += t.n;
	return read_text(&rd, t.text, t.n);
}

static enum cy_err read_include(struct reading *rd, uint32_t line, char *pattern)
{
	char path[4096];
	enum cy_err err = CY_OK;
	glob_t g;
	int rc;

	if (rd->no_include || !*pattern) {
		fault(rd, line, rd->no_include ? "" : "write include FILE",
		    rd->no_include ? "include works in files only" : "include without a file", NULL);
		return CY_OK;
	}
	if (!textfile_include(rd->file->path, pattern, path, sizeof(path))) {
		fault(rd, line, "", "a path that is too long", NULL);
		return CY_OK;
	}
	rc = glob(path, GLOB_BRACE, NULL, &g);
	if (rc == GLOB_NOSPACE)
		return CY_E_NOMEM;
	if (rc == GLOB_NOMATCH && !textfile_is_glob(pattern)) {
		report_add(rd->raw->report, CY_LOG_ERROR, rd->file->path, line, "",
		    "create it or remove the include", "cannot read %.300s: %s", path, strerror(ENOENT));
	} else if (rc == GLOB_ABORTED)
		fault(rd, line, "", "cannot read the folder of", path);
	for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++) {
		err = read_path(rd->raw, g.gl_pathv[i], rd, line);
		/* reported; what the others have is still good */
		if (err == CY_E_NOMEM)
			break;
		err = CY_OK;
	}
	if (rc == 0)
		globfree(&g);
	return err;
}

enum cy_err raw_read_file(struct raw *r, const char *path)
{
	return read_path(r, path, NULL, 0);
}

enum cy_err raw_read_text(struct raw *r, const char *text, size_t n, const char *name)
{
	struct reading rd = {.raw = r, .no_include = true, .section = -1};
	enum cy_err err = n <= TEXT_BYTES_MAX ? file_add(r, name, &rd.file) : CY_E_LIMIT;

	if (err)
		return err;
	rd.file->text = malloc(n + 1);
	if (!rd.file->text)
		return CY_E_NOMEM;
	if (n)
		memcpy(rd.file->text, text, n);
	rd.file->text[n] = 0;
	r->bytes += n;
	return read_text(&rd, rd.file->text, n);
}

static int section_cmp(const void *a, const void *b, void *arg)
{
	const struct raw *r = arg;
	uint32_t ia = *(const uint32_t *)a, ib = *(const uint32_t *)b;
	const struct raw_section *x = &r->sections[ia], *y = &r->sections[ib];
	int c = (int)x->kind - (int)y->kind;

	if (c == 0)
		c = strcmp(x->name, y->name);
	return c ? c : (ia > ib) - (ia < ib);
}

enum cy_err raw_index(struct raw *r)
{
	if (r->n_sections == 0)
		return CY_OK;
	r->by_name = malloc(r->n_sections * sizeof(*r->by_name));
	if (!r->by_name)
		return CY_E_NOMEM;
	for (uint32_t i = 0; i < r->n_sections; i++)
		r->by_name[i] = i;
	qsort_r(r->by_name, r->n_sections, sizeof(*r->by_name), section_cmp, r);
	for (uint32_t i = 1, first_at = 0; i < r->n_sections; i++) {
		const struct raw_section *first = &r->sections[r->by_name[first_at]];
		struct raw_section *s = &r->sections[r->by_name[i]];

		if (s->kind != first->kind || strcmp(s->name, first->name) != 0) {
			first_at = i;
			continue;
		}
		s->duplicate = true;
		/* several `config setup` and %default add up */
		if (s->kind == RAW_SETUP || strcmp(s->name, "%default") == 0)
			continue;
		report_add(r->report, CY_LOG_ERROR, s->file->path, s->line,
		    s->kind == RAW_CONN ? s->name : "", "give it another name",
		    "%s%s%sdefined twice, the first time in %s:%u, which is used",
		    s->kind == RAW_CONN ? "" : "ca ", s->kind == RAW_CONN ? "" : s->name,
		    s->kind == RAW_CONN ? "" : " is ", first->file->path, first->line);
	}
	return CY_OK;
}

struct raw_section *raw_find(struct raw *r, enum raw_kind kind, const char *name)
{
	uint32_t lo = 0, hi = r->n_sections;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct raw_section *s = &r->sections[r->by_name[mid]];

		r->steps++;
		if (s->kind < kind || (s->kind == kind && strcmp(s->name, name) < 0))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < r->n_sections) {
		struct raw_section *s = &r->sections[r->by_name[lo]];

		if (s->kind == kind && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}
