/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/value.h"

#define ALSO_DEPTH    64
#define NEAREST_TRIES 8 /* searching a name costs; a thousand wrong keys need no thousand hints */

void build_init(struct build *b, struct raw *raw, const struct conf_setup *setup, enum conf_dialect dialect)
{
	bool right;

	memset(b, 0, sizeof(*b));
	b->raw = raw;
	b->report = raw->report;
	b->setup = setup;
	b->dialect = dialect == DIALECT_LIBRESWAN ? LS : SS;
	b->key_also = key_find("also", 4, &right, &raw->steps);
	b->key_auto = key_find("auto", 4, &right, &raw->steps);
}

void build_fini(struct build *b)
{
	for (size_t i = 0; i < PROPOSAL_CACHE; i++) {
		free(b->cache[i].text);
		proposal_list_fini(&b->cache[i].list);
	}
}

static bool is_own(const struct build *b, const struct raw_entry *e)
{
	size_t i = (size_t)(e - b->raw->entries);

	return b->section && i >= b->section->first && i < b->section->first + b->section->n;
}

/* Entries are ours; setters see them const because changing one is not their business. */
static struct raw_entry *own(struct build *b, const struct raw_entry *e)
{
	return &b->raw->entries[e - b->raw->entries];
}

static const char *conn_of(const struct build *b)
{
	return b->section && b->section->kind == RAW_CONN ? b->section->name : "";
}

bool build_fault(struct build *b, const struct raw_entry *e, const char *hint, const char *fmt, ...)
{
	char text[900];
	va_list ap;

	b->bad = true;
	if (e->state == ENTRY_BAD && !is_own(b, e)) {
		report_add(b->report, CY_LOG_ERROR, b->section->file->path, b->section->line, conn_of(b), "",
		    "not loaded because of %s in %s:%u", e->name, e->file->path, e->line);
		return false;
	}
	if (e->state == ENTRY_BAD)
		return false;
	own(b, e)->state = ENTRY_BAD;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	report_add(b->report, CY_LOG_ERROR, e->file->path, e->line, conn_of(b), hint, "%s", text);
	return false;
}

bool build_bad_value(struct build *b, const struct raw_entry *e, const char *hint, const char *what)
{
	return build_fault(b, e, hint, "%s=%.200s: %s", e->name, e->value, what);
}

void build_note(
    struct build *b, const struct raw_entry *e, enum cy_level level, const char *hint, const char *fmt, ...)
{
	char text[900];
	va_list ap;

	if (e->state != ENTRY_NEW)
		return;
	own(b, e)->state = ENTRY_TOLD;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	report_add(b->report, level, e->file->path, e->line, conn_of(b), hint, "%s", text);
}

bool build_nomem(struct build *b)
{
	b->bad = b->nomem = true;
	return false;
}

bool build_enum(struct build *b, const struct raw_entry *e, const struct name *words, uint32_t *out)
{
	char hint[400] = "write one of";
	size_t n = strlen(hint);

	for (const struct name *w = words; w->name; w++)
		if (strcasecmp(w->name, e->value) == 0) {
			*out = w->value;
			return true;
		}
	for (const struct name *w = words; w->name && n < sizeof(hint); w++)
		n += (size_t)snprintf(hint + n, sizeof(hint) - n, "%s %s", w == words ? "" : ",", w->name);
	return build_bad_value(b, e, hint, "no such value");
}

/* ---- classification: once an entry */

/* The section that an entry is in, for messages: b->section is set. */
static void classify_entry(struct build *b, struct raw_entry *e, unsigned sections, unsigned *tries)
{
	static const char *const dialects[] = {"", "strongSwan", "libreswan"};
	const struct key *k;
	const char *other;
	char name[48], near_buf[48], hint[200], text[200];
	uint16_t row;

	if (e->key != KEY_NONE && e->right && !key_is_sided(&conf_keys[e->key]))
		e->key = KEY_NONE;
	if (e->key == KEY_NONE) {
		const char *near = NULL;

		if (b->report->cb && ++*tries <= NEAREST_TRIES)
			near = key_nearest(e->name, sections, b->dialect, near_buf, sizeof(near_buf));
		snprintf(hint, sizeof(hint), near ? "did you mean %s?" : "%.0sremove it", near ? near : "");
		build_fault(b, e, hint, "unknown key %.60s", e->name);
		return;
	}
	k = &conf_keys[e->key];
	if (!(k->sections & sections)) {
		snprintf(hint, sizeof(hint), "move it to a section \"%s\"",
		    k->sections & IN_SETUP      ? "config setup"
		        : k->sections & IN_CONN ? "conn NAME"
		                                : "ca NAME");
		build_fault(b, e, hint, "%s does not belong here", k->name);
		e->key = KEY_NONE;
		return;
	}
	row = key_in_dialect(e->key, b->dialect);
	if (row == KEY_NONE) {
		snprintf(hint, sizeof(hint), "use one dialect, and say which with dialect= in config setup");
		other = key_counterpart(k->name);
		if (other)
			snprintf(hint, sizeof(hint), "here it is %s%s=", e->right ? "right" : "",
			    e->right ? other + 4 : other);
		build_fault(b, e, hint, "%s is a key of %s's dialect, and this file is in %s's",
		    key_name(k, e->right, name, sizeof(name)), dialects[key_dialects(e->key) & BOTH],
		    dialects[b->dialect]);
		e->key = KEY_NONE;
		return;
	}
	k = &conf_keys[row];
	if (k->state == OLD || k->state == SAME) {
		bool right;
		uint16_t now =
		    key_in_dialect(key_find(k->text, strlen(k->text), &right, &b->raw->steps), b->dialect);

		/* of an entry one thing is told: that what it asks for is not done counts for more */
		if (k->state == OLD &&
		    (conf_keys[now].state != HARMLESS || key_asks_nothing(&conf_keys[now], e->value))) {
			snprintf(hint, sizeof(hint),
			    "write %s=", key_name(&conf_keys[now], e->right, name, sizeof(name)));
			build_note(b, e, CY_LOG_NOTICE, hint, "%.60s is an old spelling", e->name);
		}
		row = now;
		k = &conf_keys[row];
	} else if (k->state == LIVE && k->text[0]) {
		snprintf(hint, sizeof(hint), "write %s=", k->text);
		build_note(b, e, CY_LOG_NOTICE, hint, "%.60s is an old spelling", e->name);
	}
	e->key = row;
	key_text(k, text, sizeof(text));
	if (k->state == DEAD) {
		build_note(b, e, CY_LOG_WARN, "remove it", "%.60s has no meaning any more%s%s", e->name,
		    text[0] ? ": " : "", text);
		e->key = KEY_NONE;
	} else if (k->state == HARMLESS) {
		if (!key_asks_nothing(k, e->value))
			build_note(
			    b, e, CY_LOG_WARN, "", "%.60s=%.100s has no effect: %s", e->name, e->value, text);
		e->key = KEY_NONE;
	} else if (k->state == REFUSE && key_asks_nothing(k, e->value))
		e->key = KEY_NONE;
}

void build_classify(struct build *b)
{
	static const unsigned sections[] = {[RAW_SETUP] = IN_SETUP, [RAW_CONN] = IN_CONN, [RAW_CA] = IN_CA};
	unsigned tries = 0;

	for (uint32_t i = 0; i < b->raw->n_sections; i++) {
		b->section = &b->raw->sections[i];
		for (uint32_t j = 0; j < b->section->n; j++)
			classify_entry(
			    b, &b->raw->entries[b->section->first + j], sections[b->section->kind], &tries);
	}
	b->section = NULL;
	b->bad = false;
	for (uint32_t i = 0; i < b->raw->n_sections; i++) {
		const struct raw_section *s = &b->raw->sections[b->raw->by_name[i]];

		if (s->kind == RAW_CONN && strcmp(s->name, "%default") == 0) {
			if (b->n_defaults++ == 0)
				b->first_default = i;
		}
	}
}

/* ---- gathering: which entry counts for each key */

static uint16_t slot_of(const struct raw_entry *e)
{
	return (uint16_t)(e->key * 2 + e->right);
}

/* Adds what is not yet set. A section's own last entry of a key counts, then what it takes by also, in order. */
static bool gather(struct build *b, struct raw_section *s, unsigned depth)
{
	if (s->visited == b->round)
		return true;
	s->visited = b->round;
	if (s->broken && !b->broken)
		b->broken = s;
	for (uint32_t i = s->n; i-- > 0;) {
		uint32_t at = s->first + i;
		struct raw_entry *e = &b->raw->entries[at];
		struct slot *slot;

		b->raw->steps++;
		if (e->key == KEY_NONE) {
			if (e->state == ENTRY_BAD)
				b->bad_entry = e;
			continue;
		}
		slot = &b->slots[slot_of(e)];
		if (slot->round != b->round) {
			*slot = (struct slot){b->round, at};
			b->order[b->n_order++] = slot_of(e);
		} else if (slot->entry > at && slot->entry < s->first + s->n && e->key != b->key_also)
			build_note(b, e, CY_LOG_WARN, "remove one of them",
			    "%s is set again in line %u, which is the one that counts", e->name,
			    b->raw->entries[slot->entry].line);
	}
	for (uint32_t i = 0; i < s->n; i++) {
		struct raw_entry *e = &b->raw->entries[s->first + i];
		struct raw_section *from;

		if (e->key != b->key_also)
			continue;
		from = raw_find(b->raw, RAW_CONN, e->value);
		if (!from)
			return build_fault(b, e, "write the name of a conn of this configuration",
			    "also=%.128s: no such conn", e->value);
		if (depth == 0) {
			/* of this connection: to others it may be nearer */
			b->bad = true;
			report_add(b->report, CY_LOG_ERROR, b->section->file->path, b->section->line,
			    conn_of(b), "take from fewer levels",
			    "its also= leads through more than 64 conns");
			return false;
		}
		if (!gather(b, from, depth - 1))
			return false;
	}
	return true;
}

/* Does the also of a section lead back to one on the way? on_way: linked list on the stack. */
struct also_way {
	const struct raw_section *s;
	const struct also_way *up;
};

static bool also_loops(struct build *b, struct raw_section *s, const struct also_way *up, unsigned depth)
{
	struct also_way way = {s, up};

	for (uint32_t i = 0; i < s->n && depth; i++) {
		struct raw_entry *e = &b->raw->entries[s->first + i];
		struct raw_section *from;

		if (e->key != b->key_also)
			continue;
		from = raw_find(b->raw, RAW_CONN, e->value);
		for (const struct also_way *w = &way; from && w; w = w->up)
			if (w->s == from) {
				build_fault(b, e, "remove this also", "also=%.128s leads back to conn %s",
				    e->value, from->name);
				return true;
			}
		if (from && from->visited != b->round) {
			from->visited = b->round;
			if (also_loops(b, from, &way, depth - 1))
				return true;
		}
	}
	return false;
}

/* Several %default add up, a later one before an earlier one. */
static bool gather_defaults(struct build *b)
{
	for (uint32_t i = b->n_defaults; i-- > 0;)
		if (!gather(b, &b->raw->sections[b->raw->by_name[b->first_default + i]], ALSO_DEPTH))
			return false;
	return true;
}

/* ---- one connection */

static bool apply(struct build *b)
{
	bool good = true;

	/* gathered from the end of each section to its start: backwards, faults are told as the file has them */
	for (size_t i = b->n_order; i-- > 0 && !b->nomem;) {
		const struct raw_entry *e = &b->raw->entries[b->slots[b->order[i]].entry];
		const struct key *k = &conf_keys[e->key];
		char text[120];

		b->raw->steps++;
		if (e->state == ENTRY_BAD)
			good = build_fault(b, e, "", " "); /* told before, when another used it */
		else if (k->state == REFUSE) {
			key_text(k, text, sizeof(text));
			good = build_fault(b, e, "remove it, or keep the connection where it is for now",
			    "%.60s=%.100s: not built yet (%s)", e->name, e->value, text);
		} else if (k->set && !k->set(b, e, k->arg))
			good = false;
	}
	return good && !b->bad;
}

enum cy_err build_conn(struct build *b, struct raw_section *s, struct conn **out)
{
	const struct slot *start = &b->slots[b->key_auto * 2];
	enum cy_err err;
	bool good;

	*out = NULL;
	b->section = s;
	b->bad = b->nomem = false;
	b->n_order = 0;
	b->bad_entry = NULL;
	b->broken = NULL;
	memset(b->end, 0, sizeof(b->end));
	memset(&b->later, 0, sizeof(b->later));
	b->later.encap_dscp = true;
	b->round++;
	s->visited = b->round;
	if (also_loops(b, s, NULL, ALSO_DEPTH + 1))
		return CY_OK;
	b->round++;
	good = gather(b, s, ALSO_DEPTH) && gather_defaults(b);
	if (start->round != b->round || strcasecmp(b->raw->entries[start->entry].value, "ignore") == 0)
		return CY_OK;
	if (b->bad_entry)
		build_fault(b, b->bad_entry, "", " "); /* told when it was classified */
	if (b->broken) {
		b->bad = true;
		if (b->broken != s)
			report_add(b->report, CY_LOG_ERROR, s->file->path, s->line, s->name, "",
			    "not loaded because of %s:%u", b->broken->file->path, b->broken->broken);
	}
	err = conn_new(s->name, b->dialect == LS ? DIALECT_LIBRESWAN : DIALECT_STRONGSWAN, &b->c);
	if (err)
		return err;
	b->c->file = strdup(s->file->path);
	b->c->line = s->line;
	/* all of it even so: one run tells all faults */
	good = apply(b) && good;
	if (!build_finish(b) || !good) {
		conn_unref(b->c);
		b->c = NULL;
		return b->nomem ? CY_E_NOMEM : CY_OK;
	}
	if (!b->c->file) {
		conn_unref(b->c);
		return CY_E_NOMEM;
	}
	conn_seal(b->c);
	*out = b->c;
	return CY_OK;
}
