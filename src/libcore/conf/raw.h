/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipsec.conf as written: files, sections, entries, before any value is understood. Private to conf/. Owned by one load,
 * on its thread. Strings point into the files' buffers, which live as long as the raw.
 */
#ifndef LIBCORE_CONF_RAW_H
#define LIBCORE_CONF_RAW_H

#include "libcore/conf/conf.h"
#include "libcore/conf/keys.h"
#include "libcore/conf/report.h"

struct raw_file {
	char *path;
	char *text;
	uint64_t dev, ino;
	struct raw_file *next;
};

enum raw_kind { RAW_SETUP, RAW_CONN, RAW_CA };

/* What became of an entry, so that a fault in a shared section is told in full once. */
enum raw_state { ENTRY_NEW, ENTRY_TOLD, ENTRY_BAD };

struct raw_entry {
	const char *name, *value;
	const struct raw_file *file;
	uint32_t line;
	uint16_t key; /* first row of its name; KEY_NONE: unknown */
	bool right;
	uint8_t state; /* enum raw_state */
};

struct raw_section {
	enum raw_kind kind;
	const char *name;
	const struct raw_file *file;
	uint32_t line;
	uint32_t first, n; /* entries */
	uint32_t visited;  /* the connection that last took from it */
	bool duplicate;    /* another section of its kind and name came before */
	uint32_t broken; /* a line in it that has no meaning: without it, the rest may mean something else */
};

struct raw {
	struct raw_file *files;
	struct raw_section *sections;
	uint32_t n_sections, cap_sections;
	struct raw_entry *entries;
	uint32_t n_entries, cap_entries;
	uint32_t *by_name; /* sections, sorted by kind and name, then as written */
	size_t bytes;      /* read */
	uint64_t steps;
	struct report *report;
};

void raw_init(struct raw *r, struct report *report);
void raw_fini(struct raw *r);
/* Reads a file and what it includes. Fails when the file itself cannot be read; faults inside are reported. */
enum cy_err raw_read_file(struct raw *r, const char *path) CY_MUST_USE;
/* Takes text from memory; includes are refused. */
enum cy_err raw_read_text(struct raw *r, const char *text, size_t n, const char *name) CY_MUST_USE;
/* After everything was read: sorts, and reports duplicates. */
enum cy_err raw_index(struct raw *r) CY_MUST_USE;
struct raw_section *raw_find(struct raw *r, enum raw_kind kind, const char *name);

#endif
