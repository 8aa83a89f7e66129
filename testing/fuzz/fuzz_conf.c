/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipsec.conf, in the dialect it shows and, where it shows none, in both. What loads must be the same each time, can be told in
 * words, and turns round and back.
 */

#include <stdio.h>
#include <stdlib.h>

#include "libcore/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "not so: %s\n", #condition);                                         \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

struct count {
	uint32_t errors, warnings, same, others;
};

static void problem(void *user, const struct conf_problem *p)
{
	struct count *c = user;

	/* all that an administrator is told is printable and says where */
	MUST(*p->file && *p->text);
	for (const char *s = p->text; *s; s++)
		MUST((unsigned char)*s >= 0x20 && *s != 0x7f);
	for (const char *s = p->hint; *s; s++)
		MUST((unsigned char)*s >= 0x20 && *s != 0x7f);
	c->errors += p->level == CY_LOG_ERROR;
	c->warnings += p->level == CY_LOG_WARN;
}

static void change(void *user, enum conf_change what, struct conn *before, struct conn *after)
{
	struct count *c = user;

	if (what == CONF_SAME)
		c->same++;
	else
		c->others++;
}

static void examine(struct conn *c)
{
	uint64_t digest[2] = {c->digest[0], c->digest[1]};
	char *text = conn_describe(c);

	MUST(text && *text);
	free(text);
	MUST(c->start != AUTO_IGNORE);
	MUST(c->local.n_auth == 1 && c->remote.n_auth == 1);
	MUST(c->local.ts_dynamic || c->local.n_ts);
	conn_swap_ends(c);
	conn_swap_ends(c);
	MUST(digest[0] == c->digest[0] && digest[1] == c->digest[1]);
}

static bool load(const char *text, size_t n)
{
	struct count count = {0};
	struct conf *a = NULL, *b = NULL;

	if (conf_load_text(text, n, "input", problem, &count, &a)) {
		MUST(count.errors);
		return false;
	}
	MUST(a->n_errors == count.errors && a->n_warnings == count.warnings);
	MUST(conf_load_text(text, n, "input", NULL, NULL, &b) == CY_OK);
	conf_diff(a, b, change, &count);
	MUST(count.others == 0 && count.same == a->n_conns);
	for (size_t i = 0; i < a->n_conns; i++) {
		MUST(conf_find(a, a->conns[i]->name) == a->conns[i]);
		examine(a->conns[i]);
	}
	conf_unref(a);
	conf_unref(b);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const heads[] = {
	    "config setup\n\tdialect=strongswan\n", "config setup\n\tdialect=libreswan\n"};
	char *text;

	if (load((const char *)data, size))
		return 0;
	for (int i = 0; i < 2; i++) {
		size_t n = strlen(heads[i]);

		text = malloc(n + size);
		MUST(text);
		memcpy(text, heads[i], n);
		if (size)
			memcpy(text + n, data, size);
		load(text, n + size);
		free(text);
	}
	return 0;
}
