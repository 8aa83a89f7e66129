/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leftsubnets= and rightsubnets= of libreswan: every pair of subnets is a connection of its own, with a CHILD_SA of its own, called
 * NAME/1x2 after the places of its subnets in the lists (0: no list on that side). They share an IKE_SA as any connections to one
 * peer do, and NAME means all of them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "libcore/conf/build.h"

#define PAIRS_MAX 1024

static size_t count(const struct conn_end *e)
{
	return e->ts_per_child ? e->n_ts : 1;
}

static void keep_one(struct conn_end *e, size_t i)
{
	if (!e->ts_per_child)
		return;
	e->ts[0] = e->ts[i];
	e->n_ts = 1;
	e->ts_per_child = false;
}

static bool families_meet(const struct conn *c)
{
	if (!c->local.n_ts || !c->remote.n_ts)
		return true;
	for (size_t i = 0; i < c->local.n_ts; i++)
		for (size_t j = 0; j < c->remote.n_ts; j++)
			if (c->local.ts[i].family_ip6 == c->remote.ts[j].family_ip6)
				return true;
	return false;
}

/* The connection as it is in the file, cut to one pair. */
static enum cy_err one_pair(struct build *b, struct raw_section *s, size_t i, size_t j, struct conn **out)
{
	struct report told = *b->report;
	struct conn *c = NULL;
	enum cy_err err;
	bool left, right;

	b->report->cb = NULL; /* what is to be said was said the first time */
	err = build_conn(b, s, &c);
	*b->report = told;
	if (err || !c)
		return err;
	left = c->local.ts_per_child;
	right = c->remote.ts_per_child;
	keep_one(&c->local, i);
	keep_one(&c->remote, j);
	c->alias = c->name;
	if (asprintf(&c->name, "%s/%zux%zu", c->alias, left ? i + 1 : 0, right ? j + 1 : 0) < 0) {
		c->name = NULL;
		conn_unref(c);
		return CY_E_NOMEM;
	}
	if (!families_meet(c)) {
		conn_unref(c);
		return CY_OK;
	}
	conn_seal(c);
	*out = c;
	return CY_OK;
}

enum cy_err build_pairs(
    struct build *b, struct raw_section *s, struct conn *whole, struct conn ***out, size_t *out_n)
{
	size_t n = count(&whole->local), m = count(&whole->remote), made = 0;
	struct conn **all;
	enum cy_err err = CY_OK;

	*out = NULL;
	*out_n = 0;
	if (n * m > PAIRS_MAX) {
		report_add(b->report, CY_LOG_ERROR, s->file->path, s->line, s->name, "write fewer subnets",
		    "leftsubnets= and rightsubnets= make %zu pairs, more than %d", n * m, PAIRS_MAX);
		return CY_OK;
	}
	all = calloc(n * m, sizeof(struct conn *));
	if (!all)
		return CY_E_NOMEM;
	for (size_t i = 0; i < n * m && !err; i++) {
		err = one_pair(b, s, i / m, i % m, &all[made]);
		made += !err && all[made];
	}
	if (err) {
		while (made-- > 0)
			conn_unref(all[made]);
		free(all);
		return err;
	}
	*out = all;
	*out_n = made;
	return CY_OK;
}
