/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every data/NAME.conf, in both dialects, against what `ipsec check` shall say of it, in data/NAME.out. To renew these
 * after a change of words: CONF_GOLDEN_WRITE=1 ./test_conf golden, and read the difference. A build without IKEv1 says another thing
 * of connections that want it: data/NAME.no-ikev1.out, where there is one.
 */

#include "config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf_util.h"
#include "unit.h"

static char *check_output(const char *path)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	struct conf *c = NULL;
	enum cy_err err;

	ck_assert_ptr_nonnull(f);
	err = conf_check(path, f, &c);
	fprintf(f, "result %d\n", (int)err);
	fclose(f);
	conf_unref(c);
	return text;
}

static char *read_all(const char *path)
{
	char *buf = calloc(1, 65536);
	FILE *f = fopen(path, "r");

	ck_assert_msg(f != NULL, "%s is missing", path);
	ck_assert_uint_lt(fread(buf, 1, 65535, f), 65535);
	fclose(f);
	return buf;
}

static void compare(const char *conf)
{
	char out[256];
	char *got = check_output(conf), *want;

	snprintf(out, sizeof(out), "%.*s.out", (int)(strlen(conf) - 5), conf);
#ifndef HAVE_IKEV1
	snprintf(out, sizeof(out), "%.*s.no-ikev1.out", (int)(strlen(conf) - 5), conf);
	if (access(out, F_OK) != 0)
		snprintf(out, sizeof(out), "%.*s.out", (int)(strlen(conf) - 5), conf);
#endif
	if (getenv("CONF_GOLDEN_WRITE")) {
		FILE *f = fopen(out, "w");

		ck_assert_ptr_nonnull(f);
		fputs(got, f);
		fclose(f);
	}
	want = read_all(out);
	for (char *g = got, *w = want; *g || *w;) {
		size_t ng = strcspn(g, "\n"), nw = strcspn(w, "\n");

		ck_assert_msg(ng == nw && memcmp(g, w, ng) == 0,
		    "%s says:\n%.*s\nand not, as %s has it:\n%.*s", conf, (int)ng, g, out, (int)nw, w);
		g += ng + (g[ng] == '\n');
		w += nw + (w[nw] == '\n');
	}
	free(got);
	free(want);
}

START_TEST(what_check_says)
{
	size_t n = 0;
	struct dirent *e;
	DIR *d;

	ck_assert_int_eq(chdir(CONF_DATA), 0);
	d = opendir(".");
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len < 6 || strcmp(e->d_name + len - 5, ".conf") != 0)
			continue;
		compare(e->d_name);
		n++;
	}
	closedir(d);
	ck_assert_uint_ge(n, 24);
}
END_TEST

UNIT_TESTS(golden)
{
	tcase_add_test(tc, what_check_says);
}
