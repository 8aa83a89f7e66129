/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases in an SQLite database. A store is used by one thread at a time, as <cygnet/lease.h> says: opened and read on the main
 * thread, written on the blocking pool.
 */
#ifndef STORE_H
#define STORE_H

#include <cygnet/plugin.h>

struct sqlite3;
struct sqlite3_stmt;

struct store {
	const struct cy_host *host;
	void *self;
	struct sqlite3 *db;
	struct sqlite3_stmt *begin, *commit, *rollback, *save, *drop;
	char path[512];
	bool failing; /* the last write failed, and that was said */
};

/* What is wrong is logged. CY_E_PARSE: the file is no database of ours, or damaged. */
enum cy_err store_open(struct store *s, const char *path, int busy_ms);
void store_close(struct store *s);

enum cy_err store_load(void *plugin, void (*cb)(void *user, const struct cy_lease *l), void *user);
enum cy_err store_save(void *plugin, const struct cy_lease *l, size_t n);
enum cy_err store_drop(void *plugin, const struct cy_lease *l, size_t n);

#endif
