/* SPDX-License-Identifier: Apache-2.0 */
/* The lease store: what was saved is there after a restart, and no state of the file stops the daemon. */

#include "store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"

#include "unit.h"

static char dir[64], path[96], said[4096];

__attribute__((format(printf, 3, 4))) static void host_log(
    void *self, enum cy_level level, const char *fmt, ...)
{
	size_t n = strlen(said);
	va_list ap;

	if (level > CY_LOG_NOTICE)
		return;
	va_start(ap, fmt);
	vsnprintf(said + n, sizeof(said) - n, fmt, ap);
	va_end(ap);
}

static const struct cy_host host = {.size = sizeof(host), .log = host_log};

static struct store *open_store(enum cy_err want)
{
	static struct store s;

	s = (struct store){.host = &host};
	said[0] = '\0';
	ck_assert_int_eq(store_open(&s, path, 50), want);
	return &s;
}

static struct cy_lease lease(
    const char *pool, const char *addr, const char *key, int64_t since, int64_t until)
{
	struct cy_lease l = {.size = sizeof(l), .pool = pool, .key = key, .since = since, .until = until};

	ck_assert_int_eq(addr_parse(addr, &l.addr), CY_OK);
	return l;
}

static void print(void *user, const struct cy_lease *l)
{
	char *out = user, a[ADDR_STR_MAX];
	size_t n = strlen(out);

	snprintf(out + n, 1024 - n, "%s %s %s %lld %lld\n", l->pool, addr_str(&l->addr, a), l->key,
	    (long long)l->since, (long long)l->until);
}

static const char *listing(struct store *s)
{
	static char out[1024];

	out[0] = '\0';
	ck_assert_int_eq(store_load(s, print, out), CY_OK);
	return out;
}

static void setup(void)
{
	strcpy(dir, "/tmp/cygnet-sqlite-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/state/leases.db", dir);
}

static void teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

START_TEST(outlives_a_restart)
{
	struct store *s = open_store(CY_OK);
	struct cy_lease in[] = {
	    lease("10.3.0.0/24", "10.3.0.5", "alice", 1000, 0),
	    lease("10.3.0.0/24", "10.3.0.6", "C=CH, CN='; DROP TABLE leases; --", 1001, 2000),
	    lease("fd00::/112", "fd00::5", "alice", 1002, 0),
	};
	struct stat st;

	ck_assert_int_eq(store_save(s, in, 3), CY_OK);
	in[0].until = 3000;
	ck_assert_int_eq(store_save(s, in, 1), CY_OK);
	ck_assert_int_eq(store_drop(s, &in[2], 1), CY_OK);
	store_close(s);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	s = open_store(CY_OK);
	ck_assert_str_eq(listing(s),
	    "10.3.0.0/24 10.3.0.5 alice 1000 3000\n"
	    "10.3.0.0/24 10.3.0.6 C=CH, CN='; DROP TABLE leases; -- 1001 2000\n");
	ck_assert_str_eq(said, "");
	store_close(s);
}
END_TEST

START_TEST(drop_is_only_of_its_own)
{
	struct store *s = open_store(CY_OK);
	struct cy_lease old = lease("p", "10.0.0.1", "alice", 1, 2),
	                new = lease("p", "10.0.0.1", "bob", 3, 0);

	ck_assert_int_eq(store_save(s, &old, 1), CY_OK);
	ck_assert_int_eq(store_save(s, &new, 1), CY_OK);
	ck_assert_int_eq(store_drop(s, &old, 1), CY_OK);
	ck_assert_str_eq(listing(s), "p 10.0.0.1 bob 3 0\n");
	store_close(s);
}
END_TEST

START_TEST(a_batch_is_all_or_nothing)
{
	struct store *s = open_store(CY_OK);
	struct cy_lease in[] = {lease("p", "10.0.0.1", "a", 1, 0), lease("p", "10.0.0.2", "b", 1, 0)};

	in[1].addr.family = 0;
	ck_assert_int_ne(store_save(s, in, 2), CY_OK);
	ck_assert_str_eq(listing(s), "");
	in[1].addr.family = AF_INET;
	ck_assert_int_eq(store_save(s, in, 2), CY_OK);
	ck_assert_ptr_nonnull(strstr(said, "is written again"));
	store_close(s);
}
END_TEST

static void write_file(const char *text, size_t n)
{
	char cmd[128];
	int fd;

	snprintf(cmd, sizeof(cmd), "mkdir -p %s/state", dir);
	ck_assert_int_eq(system(cmd), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
	close(fd);
}

START_TEST(not_a_database)
{
	char junk[8192];

	memset(junk, 'x', sizeof(junk));
	write_file(junk, sizeof(junk));
	open_store(CY_E_PARSE);
	ck_assert_msg(strstr(said, "damaged: move it away") != NULL, "%s", said);
}
END_TEST

START_TEST(damaged_pages)
{
	struct store *s = open_store(CY_OK);
	char key[400], junk[1024];
	int fd;

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	for (int i = 1; i < 200; i++) {
		char a[32];
		snprintf(a, sizeof(a), "10.0.0.%d", i);
		struct cy_lease l = lease("p", a, key, 1, 0);
		ck_assert_int_eq(store_save(s, &l, 1), CY_OK);
	}
	store_close(s);
	memset(junk, 0xa5, sizeof(junk));
	fd = open(path, O_WRONLY);
	ck_assert_int_ge(fd, 0);
	/* the header stays, so that only a check finds it */
	for (off_t at = 4096; at < 40960; at += 4096)
		ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), at), (ssize_t)sizeof(junk));
	close(fd);
	open_store(CY_E_PARSE);
	ck_assert_msg(strstr(said, "damaged") != NULL, "%s", said);
}
END_TEST

static void run_sql(const char *sql)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

START_TEST(database_of_another)
{
	write_file("", 0);
	run_sql("CREATE TABLE recipes (cake TEXT)");
	open_store(CY_E_PARSE);
	ck_assert_ptr_nonnull(strstr(said, "another program"));
}
END_TEST

START_TEST(layout_of_the_future)
{
	store_close(open_store(CY_OK));
	run_sql("PRAGMA user_version=9");
	open_store(CY_E_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(said, "has layout 9"));
}
END_TEST

START_TEST(nonsense_rows_are_left_out)
{
	store_close(open_store(CY_OK));
	run_sql(
	    "INSERT INTO leases VALUES ('p', x'0a0000', 'short', 1, 0), ('p', x'0a000001', 'good', 1, 0)");
	struct store *s = open_store(CY_OK);
	ck_assert_str_eq(listing(s), "p 10.0.0.1 good 1 0\n");
	ck_assert_ptr_nonnull(strstr(said, "1 leases make no sense"));
	store_close(s);
}
END_TEST

/* Somebody looks at it with a transaction open: the store reports, and works again after. */
START_TEST(locked_by_another)
{
	struct store *s = open_store(CY_OK);
	struct cy_lease l = lease("p", "10.0.0.1", "a", 1, 0);
	sqlite3 *other;

	ck_assert_int_eq(sqlite3_open(path, &other), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(store_save(s, &l, 1), CY_E_BUSY);
	ck_assert_int_eq(store_save(s, &l, 1), CY_E_BUSY);
	ck_assert_int_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	ck_assert_int_eq(store_save(s, &l, 1), CY_OK);
	/* said once, not at each try */
	ck_assert_ptr_null(strstr(strstr(said, "cannot write") + 1, "cannot write"));
	ck_assert_str_eq(listing(s), "p 10.0.0.1 a 1 0\n");
	store_close(s);
}
END_TEST

START_TEST(no_folder)
{
	snprintf(path, sizeof(path), "/proc/cygnet/leases.db");
	open_store(CY_E_IO);
	ck_assert_ptr_nonnull(strstr(said, "/proc/cygnet/leases.db"));
}
END_TEST

UNIT_TESTS(attr_sqlite)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, outlives_a_restart);
	tcase_add_test(tc, drop_is_only_of_its_own);
	tcase_add_test(tc, a_batch_is_all_or_nothing);
	tcase_add_test(tc, not_a_database);
	tcase_add_test(tc, damaged_pages);
	tcase_add_test(tc, database_of_another);
	tcase_add_test(tc, layout_of_the_future);
	tcase_add_test(tc, nonsense_rows_are_left_out);
	tcase_add_test(tc, locked_by_another);
	tcase_add_test(tc, no_folder);
}
