/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: files that are no files, includes without end, and how the work grows. What single lines mean: test_golden.c. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_util.h"
#include "unit.h"

static struct told told;
static char dir[64];

static void enter_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/cygnet-conf-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	memset(&told, 0, sizeof(told));
}

static void leave_dir(void)
{
	char cmd[128];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(not_a_file)
{
	struct conf *c = NULL;

	ck_assert_int_eq(conf_load("missing.conf", told_add, &told, &c), CY_E_NOTFOUND);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_int_eq(conf_load(".", told_add, &told, &c), CY_E_INVAL);
	/* must not wait for a writer */
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	ck_assert_int_eq(conf_load("fifo", told_add, &told, &c), CY_E_INVAL);
	ck_assert_int_eq(conf_load("/dev/zero", told_add, &told, &c), CY_E_INVAL);
	ck_assert_ptr_null(c);
}
END_TEST

START_TEST(include_chain_ends)
{
	char name[32], text[64];
	struct conf *c;

	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "%d.conf", i);
		snprintf(text, sizeof(text), "ca c%d\n\tcacert=x\n\tauto=add\ninclude %d.conf\n", i, i + 1);
		write_file(name, text);
	}
	ck_assert_int_eq(conf_load("0.conf", told_add, &told, &c), CY_OK);
	ck_assert_uint_eq(c->n_cas, 17);
	ck_assert_uint_eq(told.count, 1);
	ck_assert_ptr_nonnull(strstr(told.text, "16 files"));
	conf_unref(c);
}
END_TEST

START_TEST(include_unreadable)
{
	struct conf *c;

	/* one of several that cannot be read does not take the others along */
	write_file("a.conf", "include d/*\ninclude [\nconn a\n\tauto=add\n\tclosea");
	write_file("a.conf", "config setup\n\tdialect=strongswan\ninclude d/*\nconn a\n\tauto=add\n");
	ck_assert_int_eq(mkdir("d", 0700), 0);
	write_file("d/1", "conn b\n\tauto=add\n");
	ck_assert_int_eq(mkfifo("d/2", 0600), 0);
	write_file("d/3", "conn c\n\tauto=add");
	ck_assert_int_eq(conf_load("a.conf", told_add, &told, &c), CY_OK);
	ck_assert_uint_eq(c->n_conns, 3);
	ck_assert_uint_eq(c->n_errors, 1);
	ck_assert_str_eq(conf_find(c, "b")->file, "d/1");
	conf_unref(c);
}
END_TEST

START_TEST(text_has_no_includes)
{
	struct conf *c = load_text("include /etc/passwd\n", &told);

	ck_assert_uint_eq(c->n_errors, 1);
	conf_unref(c);
	c = load_text("", &told);
	ck_assert_uint_eq(c->n_errors + c->n_conns, 0);
	conf_unref(c);
}
END_TEST

START_TEST(old_values_have_an_end)
{
	char *text = malloc(300000);
	size_t n = (size_t)sprintf(text, "config setup\n\tdialect=strongswan\nconn a\n\tauto=add\n\tleft=");
	struct conf *c;

	/* lines, items and names without measure */
	memset(text + n, 'x', 200000);
	n += 200000;
	n += (size_t)sprintf(text + n, "\n\tleftid=@y\n\tleftsubnet=");
	for (int i = 0; i < 2000; i++)
		n += (size_t)sprintf(text + n, "10.%d.%d.0/24,", i / 250, i % 250);
	strcpy(text + n, "\n");
	c = load_text(text, &told);
	ck_assert_uint_eq(c->n_conns, 0);
	ck_assert_uint_eq(c->n_errors, 1);
	conf_unref(c);
	free(text);
}
END_TEST

/* n connections, each of which takes from a base by also and from %default */
static char *many(size_t n)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	fputs(
	    "config setup\n\tdialect=strongswan\nconn %default\n\tkeyexchange=ikev2\n\tdpdaction=restart\n"
	    "conn base\n\tauthby=psk\n\tike=aes256-sha256-modp2048!\n\tesp=aes256gcm16!\n\tleft=192.0.2.1\n",
	    f);
	for (size_t i = 0; i < n; i++)
		fprintf(f,
		    "conn "
		    "site-%zu\n\talso=base\n\tright=198.18.%zu.%zu\n\trightid=@site-%zu\n\trightsubnet=10.%"
		    "zu.%zu.0/24\n\tauto=add\n",
		    i, i / 250, i % 250, i, i / 250, i % 250);
	fclose(f);
	return text;
}

START_TEST(work_grows_with_the_file)
{
	char *small = many(1000), *large = many(10000);
	struct conf *a = load_text(small, &told), *b = load_text(large, &told);

	ck_assert_uint_eq(a->n_conns, 1000);
	ck_assert_uint_eq(b->n_conns, 10000);
	/* 10 times the connections: 10 times the work, and a little for the search by name */
	ck_assert_uint_lt(b->steps, a->steps * 12);
	/* about what a line costs: comparisons to find a key, and one step each to read, to gather and to apply it */
	ck_assert_uint_lt(b->steps, 10000 * 6 * 30);
	conf_unref(a);
	conf_unref(b);
	free(small);
	free(large);
}
END_TEST

/* Each takes from the one before: without a limit that would be n * n / 2. */
START_TEST(work_of_long_chains_is_limited)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct conf *c;

	ck_assert_ptr_nonnull(f);
	fputs("config setup\n\tdialect=strongswan\nconn s0\n\tauto=add\n", f);
	for (int i = 1; i < 5000; i++)
		fprintf(f, "conn s%d\n\talso=s%d\n\tauto=add\n", i, i - 1);
	fclose(f);
	c = load_text(text, &told);
	ck_assert_uint_eq(c->n_conns, 65);
	ck_assert_uint_lt(c->steps, 5000u * 64 * 2 * 20);
	conf_unref(c);
	free(text);
}
END_TEST

/* Sections that all take from all others of the next row: each counts once. */
START_TEST(work_of_meshes_is_limited)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct conf *c;

	ck_assert_ptr_nonnull(f);
	fputs("config setup\n\tdialect=strongswan\nconn top\n\tauto=add\n\talso=r0-0\n", f);
	for (int row = 0; row < 20; row++)
		for (int i = 0; i < 10; i++) {
			fprintf(f, "conn r%d-%d\n\tmtu=1\n", row, i);
			for (int j = 0; j < 10 && row < 19; j++)
				fprintf(f, "\talso=r%d-%d\n", row + 1, j);
		}
	fclose(f);
	c = load_text(text, &told);
	/* 200 sections that each look at 200; counted again for each way, it would be 10 to the power of 20 */
	ck_assert_uint_lt(c->steps, 5000000);
	conf_unref(c);
	free(text);
}
END_TEST

/* A fault in what all share is told in full once, and each that is not loaded is named. */
START_TEST(shared_faults)
{
	struct conf *c =
	    load_text("config setup\n\tdialect=strongswan\nconn %default\n\tesp=bogus\n"
	              "conn a\n\tauto=add\nconn b\n\tauto=add\nconn c\n\tauto=add\n\tesp=aes128gcm16\n",
	        &told);

	ck_assert_uint_eq(c->n_conns, 1);
	ck_assert_uint_eq(told.count, 2);
	ck_assert_ptr_nonnull(strstr(told.text, "unknown algorithm \"bogus\""));
	ck_assert_ptr_nonnull(strstr(told.text, "not loaded because of esp in test.conf:4"));
	conf_unref(c);
}
END_TEST

UNIT_TESTS(reader)
{
	tcase_add_checked_fixture(tc, enter_dir, leave_dir);
	tcase_add_test(tc, not_a_file);
	tcase_add_test(tc, include_chain_ends);
	tcase_add_test(tc, include_unreadable);
	tcase_add_test(tc, text_has_no_includes);
	tcase_add_test(tc, old_values_have_an_end);
	tcase_add_test(tc, work_grows_with_the_file);
	tcase_add_test(tc, work_of_long_chains_is_limited);
	tcase_add_test(tc, work_of_meshes_is_limited);
	tcase_add_test(tc, shared_faults);
}
