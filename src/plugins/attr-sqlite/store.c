/* SPDX-License-Identifier: Apache-2.0 */

#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* "cyLS": tells our files from other databases, and from those of a later layout. */
#define APPLICATION_ID 0x63794c53
#define VERSION        1

static const char schema[] = "CREATE TABLE leases ("
                             "pool TEXT NOT NULL, "
                             "address BLOB NOT NULL, " /* 4 or 16 bytes */
                             "key TEXT NOT NULL, "
                             "since INTEGER NOT NULL, "
                             "until INTEGER NOT NULL, " /* 0: in use */
                             "PRIMARY KEY (pool, address)) WITHOUT ROWID";

/* SQLite's result in our words; what the administrator should do about it is logged once until it works again. */
static enum cy_err failed(struct store *s, const char *what)
{
	int code = sqlite3_errcode(s->db) & 0xff;
	bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;

	if (!s->failing)
		s->host->log(s->self, CY_LOG_ERROR, "cannot %s %s: %s%s", what, s->path,
		    sqlite3_errmsg(s->db),
		    damaged ? ". It is damaged: move it away, and a new one is made at the next start; until "
		              "then "
		              "leases do not outlive the daemon"
		            : "");
	s->failing = true;
	switch (code) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return CY_E_PARSE;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return CY_E_BUSY;
	case SQLITE_NOMEM:
		return CY_E_NOMEM;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH:
		return CY_E_DENIED;
	default:
		return CY_E_IO;
	}
}

/* --- opening --- */

/* The file holds who was where, so it is made readable to its owner only, before SQLite would make it after the umask. */
static enum cy_err make_file(struct store *s)
{
	char dir[sizeof(s->path)];
	int fd;

	memcpy(dir, s->path, sizeof(dir));
	if (mkdir(dirname(dir), 0750) < 0 && errno != EEXIST && errno != ENOENT) {
		s->host->log(
		    s->self, CY_LOG_ERROR, "cannot make the folder of %s: %s", s->path, strerror(errno));
		return CY_E_IO;
	}
	fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		s->host->log(s->self, CY_LOG_ERROR, "cannot open %s: %s", s->path, strerror(errno));
		return errno == EACCES ? CY_E_DENIED : CY_E_IO;
	}
	close(fd);
	return CY_OK;
}

static bool exec(struct store *s, const char *sql)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool pragma_int(struct store *s, const char *sql, int64_t *out)
{
	sqlite3_stmt *q = NULL;
	bool ok = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW;

	if (ok)
		*out = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return ok;
}

/* SQLite finds most damage only when it comes across it: better now than in the middle of a save. */
static bool sound(struct store *s, char *out, size_t cap)
{
	sqlite3_stmt *q = NULL;
	bool ok = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &q, NULL) == SQLITE_OK &&
	    sqlite3_step(q) == SQLITE_ROW;

	snprintf(out, cap, "%s", ok ? (const char *)sqlite3_column_text(q, 0) : sqlite3_errmsg(s->db));
	sqlite3_finalize(q);
	return ok && strcmp(out, "ok") == 0;
}

static enum cy_err check_layout(struct store *s)
{
	int64_t id, version, objects;
	char text[256];

	if (!pragma_int(s, "PRAGMA application_id", &id) || !pragma_int(s, "PRAGMA user_version", &version) ||
	    !pragma_int(s, "SELECT count(*) FROM sqlite_master", &objects))
		return failed(s, "read");
	if (!sound(s, text, sizeof(text))) {
		s->host->log(s->self, CY_LOG_ERROR,
		    "%s is damaged (%s): move it away, and a new one is made at the next start; until then "
		    "leases do not "
		    "outlive the daemon",
		    s->path, text);
		return CY_E_PARSE;
	}
	if (id == 0 && objects == 0) {
		snprintf(text, sizeof(text), "PRAGMA application_id=%d; PRAGMA user_version=%d",
		    APPLICATION_ID, VERSION);
		/* one transaction: a crash between them leaves an empty file, not half a layout */
		if (!exec(s, "BEGIN IMMEDIATE") || !exec(s, schema) || !exec(s, text) || !exec(s, "COMMIT"))
			return failed(s, "set up");
		return CY_OK;
	}
	if (id != APPLICATION_ID) {
		s->host->log(s->self, CY_LOG_ERROR, "%s is a database of another program", s->path);
		return CY_E_PARSE;
	}
	if (version != VERSION) {
		s->host->log(s->self, CY_LOG_ERROR, "%s has layout %lld, this version of cygnet knows %d",
		    s->path, (long long)version, VERSION);
		return CY_E_UNSUPPORTED;
	}
	return CY_OK;
}

static enum cy_err prepare(struct store *s)
{
	const struct {
		const char *sql;
		sqlite3_stmt **out;
	} all[] = {
	    {"BEGIN IMMEDIATE", &s->begin},
	    {"COMMIT", &s->commit},
	    {"ROLLBACK", &s->rollback},
	    {"INSERT OR REPLACE INTO leases (pool, address, key, since, until) VALUES (?1, ?2, ?3, ?4, ?5)",
	        &s->save},
	    /* only if it is still that key's: a drop may come after another's save */
	    {"DELETE FROM leases WHERE pool = ?1 AND address = ?2 AND key = ?3", &s->drop},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (sqlite3_prepare_v3(s->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].out, NULL) !=
		    SQLITE_OK)
			return failed(s, "use");
	return CY_OK;
}

enum cy_err store_open(struct store *s, const char *path, int busy_ms)
{
	enum cy_err e;

	if (snprintf(s->path, sizeof(s->path), "%s", path) >= (int)sizeof(s->path))
		return CY_E_INVAL;
	e = make_file(s);
	if (e)
		return e;
	if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL) !=
	    SQLITE_OK) {
		e = failed(s, "open");
		store_close(s);
		return e;
	}
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, busy_ms);
	/* With a write-ahead log NORMAL loses at most the last saves when the power goes, and never the database. */
	if (!exec(s,
	        "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA journal_mode=WAL; "
	        "PRAGMA synchronous=NORMAL"))
		e = failed(s, "open");
	if (!e)
		e = check_layout(s);
	if (!e)
		e = prepare(s);
	if (e)
		store_close(s);
	return e;
}

void store_close(struct store *s)
{
	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->commit);
	sqlite3_finalize(s->rollback);
	sqlite3_finalize(s->save);
	sqlite3_finalize(s->drop);
	sqlite3_close(s->db);
	s->begin = s->commit = s->rollback = s->save = s->drop = NULL;
	s->db = NULL;
}

/* --- the three operations --- */

static bool row(sqlite3_stmt *q, struct cy_lease *out)
{
	int n = sqlite3_column_bytes(q, 1);
	const void *ip = sqlite3_column_blob(q, 1);

	*out = (struct cy_lease){
	    .size = sizeof(*out),
	    .pool = (const char *)sqlite3_column_text(q, 0),
	    .key = (const char *)sqlite3_column_text(q, 2),
	    .since = sqlite3_column_int64(q, 3),
	    .until = sqlite3_column_int64(q, 4),
	};
	if (!out->pool || !out->key || !ip || (n != 4 && n != 16))
		return false;
	out->addr.family = n == 4 ? AF_INET : AF_INET6;
	memcpy(out->addr.ip, ip, (size_t)n);
	return true;
}

enum cy_err store_load(void *plugin, void (*cb)(void *user, const struct cy_lease *l), void *user)
{
	struct store *s = plugin;
	sqlite3_stmt *q = NULL;
	uint64_t good = 0, bad = 0;
	enum cy_err e = CY_OK;
	struct cy_lease l;
	int r;

	r = sqlite3_prepare_v2(s->db,
	    "SELECT pool, address, key, since, until FROM leases ORDER BY pool, address", -1, &q, NULL);
	while (r == SQLITE_OK || r == SQLITE_ROW) {
		r = sqlite3_step(q);
		if (r != SQLITE_ROW)
			break;
		if (row(q, &l)) {
			cb(user, &l);
			good++;
		} else {
			bad++;
		}
	}
	if (r != SQLITE_DONE)
		e = failed(s, "read");
	sqlite3_finalize(q);
	if (bad)
		s->host->log(s->self, CY_LOG_WARN, "%s: %llu leases make no sense and are left out", s->path,
		    (unsigned long long)bad);
	s->host->log(s->self, CY_LOG_DEBUG, "%s: %llu leases", s->path, (unsigned long long)good);
	return e;
}

static bool run(sqlite3_stmt *q)
{
	bool ok = sqlite3_step(q) == SQLITE_DONE;

	sqlite3_reset(q);
	return ok;
}

static bool set_params(sqlite3_stmt *q, const struct cy_lease *l, bool all)
{
	size_t n = cy_addr_len(&l->addr);
	bool ok = n && sqlite3_bind_text(q, 1, l->pool, -1, SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_bind_blob(q, 2, l->addr.ip, (int)n, SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_bind_text(q, 3, l->key, -1, SQLITE_STATIC) == SQLITE_OK;

	return ok &&
	    (!all ||
	        (sqlite3_bind_int64(q, 4, l->since) == SQLITE_OK &&
	            sqlite3_bind_int64(q, 5, l->until) == SQLITE_OK));
}

/* All or none of them. */
static enum cy_err apply(struct store *s, sqlite3_stmt *q, bool all, const struct cy_lease *l, size_t n)
{
	bool ok = run(s->begin);
	enum cy_err e;

	if (!ok)
		return failed(s, "write");
	for (size_t i = 0; i < n && ok; i++) {
		ok = set_params(q, &l[i], all) && run(q);
		sqlite3_clear_bindings(q);
	}
	if (ok && run(s->commit)) {
		if (s->failing)
			s->host->log(s->self, CY_LOG_NOTICE, "%s is written again", s->path);
		s->failing = false;
		return CY_OK;
	}
	e = failed(s, "write");
	run(s->rollback);
	return e;
}

enum cy_err store_save(void *plugin, const struct cy_lease *l, size_t n)
{
	struct store *s = plugin;

	return apply(s, s->save, true, l, n);
}

enum cy_err store_drop(void *plugin, const struct cy_lease *l, size_t n)
{
	struct store *s = plugin;

	return apply(s, s->drop, false, l, n);
}
