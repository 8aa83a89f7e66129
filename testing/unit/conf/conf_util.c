/* SPDX-License-Identifier: Apache-2.0 */

#include "conf_util.h"

#include <stdio.h>

#include "unit.h"

void told_add(void *user, const struct conf_problem *p)
{
	static const char *const levels[] = {"error", "warning", "notice"};
	struct told *t = user;
	size_t left = sizeof(t->text) - t->n;
	int n;

	t->count++;
	n = snprintf(t->text + t->n, left, "%u %s %s; %s\n", p->line, levels[p->level], p->text, p->hint);
	t->n += n < 0 ? 0 : (size_t)n < left ? (size_t)n : left - 1;
}

struct conf *load_text(const char *text, struct told *told)
{
	struct conf *c = NULL;

	memset(told, 0, sizeof(*told));
	ck_assert_msg(
	    conf_load_text(text, strlen(text), "test.conf", told_add, told, &c) == CY_OK, "%s", told->text);
	return c;
}

static struct conn *one_conn(const char *dialect, const char *keys, struct told *told)
{
	char text[4096];
	struct conf *c;
	struct conn *conn;
	int n = snprintf(text, sizeof(text), "config setup\n\tdialect=%s\nconn a\n\tauto=add\n\t", dialect);

	for (; *keys; keys++) {
		ck_assert_int_lt(n, (int)sizeof(text) - 4);
		text[n++] = *keys;
		if (*keys == ';') {
			text[n - 1] = '\n';
			text[n++] = '\t';
		}
	}
	text[n++] = '\n';
	text[n] = 0;
	c = load_text(text, told);
	conn = conf_find(c, "a");
	if (conn)
		conn_ref(conn);
	conf_unref(c);
	return conn;
}

struct conn *ss_conn(const char *keys, struct told *told)
{
	return one_conn("strongswan", keys, told);
}

struct conn *ls_conn(const char *keys, struct told *told)
{
	return one_conn("libreswan", keys, told);
}
