/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/raw.h"
#include "libcore/conf/value.h"

/* ---- config setup */

static void setup_fault(struct raw *r, const struct raw_entry *e, const char *hint)
{
	report_add(r->report, CY_LOG_ERROR, e->file->path, e->line, "", hint, "%s=%.200s: no such value",
	    e->name, e->value);
}

static enum conf_dialect read_dialect(struct raw *r)
{
	static const struct name words[] = {{DIALECT_AUTO, "auto"}, {DIALECT_STRONGSWAN, "strongswan"},
	    {DIALECT_LIBRESWAN, "libreswan"}, {0, NULL}};
	enum conf_dialect d = DIALECT_AUTO;

	for (uint32_t i = 0; i < r->n_sections; i++) {
		const struct raw_section *s = &r->sections[i];

		for (uint32_t j = 0; s->kind == RAW_SETUP && j < s->n; j++) {
			struct raw_entry *e = &r->entries[s->first + j];
			const struct name *w = words;

			if (e->key == KEY_NONE || conf_keys[e->key].arg != SETUP_DIALECT ||
			    !(conf_keys[e->key].sections & IN_SETUP) || conf_keys[e->key].set)
				continue;
			while (w->name && strcasecmp(w->name, e->value) != 0)
				w++;
			if (w->name)
				d = (enum conf_dialect)w->value;
			else
				setup_fault(r, e, "write strongswan, libreswan or auto");
		}
	}
	return d;
}

static enum cy_err set_str(char **out, const char *value)
{
	free(*out);
	*out = strdup(value);
	return *out ? CY_OK : CY_E_NOMEM;
}

static enum cy_err setup_time(
    struct raw *r, const struct raw_entry *e, uint64_t least, uint64_t most, uint32_t *out_ms)
{
	uint64_t ms;

	if (value_ms(e->value, &ms) && ms >= least && ms <= most)
		*out_ms = (uint32_t)ms;
	else
		setup_fault(r, e, "write a time, e.g. 10s");
	return CY_OK;
}

static enum cy_err setup_entry(struct raw *r, const struct raw_entry *e, struct conf *c)
{
	static const struct name unique[] = {{UNIQUE_REPLACE, "yes"}, {UNIQUE_NO, "no"},
	    {UNIQUE_REPLACE, "replace"}, {UNIQUE_KEEP, "keep"}, {UNIQUE_NEVER, "never"}, {0, NULL}};
	const struct name *w;
	enum cy_err err;
	uint32_t ms = 0;
	uint64_t n;
	bool on;

	switch (conf_keys[e->key].arg) {
	case SETUP_UNIQUE:
		for (w = unique; w->name && strcasecmp(w->name, e->value) != 0; w++)
			;
		if (!w->name || (c->setup.dialect == DIALECT_LIBRESWAN && w >= unique + 2)) {
			setup_fault(r, e,
			    c->setup.dialect == DIALECT_LIBRESWAN ? "write yes or no"
			                                          : "write yes, no, replace, keep or never");
			return CY_OK;
		}
		c->setup.unique = (enum conn_unique)w->value;
		c->setup.unique_set = true;
		return CY_OK;
	case SETUP_STRICT:
	case SETUP_OCSP_STRICT:
		if (value_bool(e->value, &on))
			c->setup.strict_crl = on ? STRICT_YES : c->setup.strict_crl;
		else if (c->setup.dialect == DIALECT_STRONGSWAN && strcasecmp(e->value, "ifuri") == 0)
			c->setup.strict_crl = STRICT_IFURI;
		else
			setup_fault(r, e,
			    c->setup.dialect == DIALECT_STRONGSWAN ? "write yes, no or ifuri"
			                                           : "write yes or no");
		return CY_OK;
	case SETUP_OCSP_ENABLE:
		if (!value_bool(e->value, &c->setup.ocsp))
			setup_fault(r, e, "write yes or no");
		return CY_OK;
	case SETUP_CRL_TIMEOUT:
		return setup_time(r, e, 100, 600000, &c->setup.crl_timeout_ms);
	case SETUP_OCSP_TIMEOUT:
		return setup_time(r, e, 100, 600000, &c->setup.ocsp_timeout_ms);
	case SETUP_CRL_INTERVAL:
		err = setup_time(r, e, 0, UINT32_MAX, &ms);
		c->setup.crl_interval_s = ms / 1000;
		return err;
	case SETUP_NHELPERS:
		if (strcmp(e->value, "-1") == 0)
			return CY_OK; /* as many as there are CPUs: ours, too */
		if (value_u64(e->value, &n) && n <= 1024)
			c->setup.nhelpers = (uint32_t)n;
		else
			setup_fault(r, e, "write a number from 0 to 1024, or -1");
		return CY_OK;
	case SETUP_IKEV1_POLICY:
		c->setup.no_ikev1 = strcasecmp(e->value, "accept") != 0;
		if (c->setup.no_ikev1 && strcasecmp(e->value, "drop") != 0 &&
		    strcasecmp(e->value, "reject") != 0)
			setup_fault(r, e, "write accept, drop or reject");
		return CY_OK;
	case SETUP_DEVICES_MANAGED:
		if (value_bool(e->value, &on))
			c->setup.devices_unmanaged = !on;
		else
			setup_fault(r, e, "write yes or no");
		return CY_OK;
	case SETUP_CHARONDEBUG:
		return set_str(&c->setup.charondebug, e->value);
	case SETUP_VIRTUAL_PRIVATE:
		if (!virtual_private_ok(e->value))
			setup_fault(
			    r, e, "write networks, e.g. %v4:10.0.0.0/8,%v4:!10.1.0.0/16,%v6:fd00::/8");
		return set_str(&c->setup.virtual_private, e->value);
	case SETUP_SECRETSFILE:
		return set_str(&c->setup.secretsfile, e->value);
	default:
		return CY_OK;
	}
}

/*
 * strongSwan asks whom a certificate names. libreswan asks OCSP responders with ocsp-enable=yes, and gets CRLs with a crlcheckinterval=; here
 * also with crl-strict=yes, which would otherwise refuse everybody of whose CA there is no file.
 */
static void who_is_asked(struct conf_setup *s)
{
	bool charon = s->dialect == DIALECT_STRONGSWAN;

	s->ocsp = s->ocsp || charon;
	s->fetch_crls = charon || s->crl_interval_s || s->strict_crl != STRICT_NO;
}

static enum cy_err read_setup(struct raw *r, struct conf *c)
{
	enum cy_err err = CY_OK;

	for (uint32_t i = 0; i < r->n_sections && !err; i++) {
		const struct raw_section *s = &r->sections[i];

		for (uint32_t j = 0; s->kind == RAW_SETUP && j < s->n && !err; j++)
			if (r->entries[s->first + j].key != KEY_NONE)
				err = setup_entry(r, &r->entries[s->first + j], c);
	}
	who_is_asked(&c->setup);
	return err;
}

/* ---- ca NAME */

static enum cy_err ca_entry(const struct raw_entry *e, struct conf_ca *ca, bool *add)
{
	switch (conf_keys[e->key].arg) {
	case CA_CACERT:
		return set_str(&ca->cacert, e->value);
	case CA_CRL:
		return strs_add(&ca->crl_uris, e->value);
	case CA_OCSP:
		return strs_add(&ca->ocsp_uris, e->value);
	default:
		if (strcmp(conf_keys[e->key].name, "auto") == 0)
			*add = strcasecmp(e->value, "ignore") != 0;
		return CY_OK;
	}
}

/* A section's keys over those of its also, over those of %default. */
static enum cy_err ca_gather(
    struct raw *r, struct raw_section *s, struct conf_ca *ca, bool *add, uint32_t round, unsigned depth)
{
	enum cy_err err = CY_OK;

	if (s->visited == round)
		return CY_OK;
	s->visited = round;
	for (uint32_t i = 0; i < s->n && !err; i++) {
		const struct raw_entry *e = &r->entries[s->first + i];
		struct raw_section *from;

		if (e->key == KEY_NONE || strcmp(conf_keys[e->key].name, "also") != 0)
			continue;
		from = raw_find(r, RAW_CA, e->value);
		if (!from || depth == 0)
			report_add(r->report, CY_LOG_ERROR, e->file->path, e->line, "", "remove this also",
			    from ? "also=%.128s leads through too many sections" : "also=%.128s: no such ca",
			    e->value);
		else
			err = ca_gather(r, from, ca, add, round, depth - 1);
	}
	for (uint32_t i = 0; i < s->n && !err; i++)
		if (r->entries[s->first + i].key != KEY_NONE)
			err = ca_entry(&r->entries[s->first + i], ca, add);
	return err;
}

static void ca_fini(struct conf_ca *ca)
{
	free(ca->name);
	free(ca->cacert);
	strs_fini(&ca->crl_uris);
	strs_fini(&ca->ocsp_uris);
}

static enum cy_err read_cas(struct raw *r, struct conf *c)
{
	struct raw_section *defaults = raw_find(r, RAW_CA, "%default");
	enum cy_err err = CY_OK;

	for (uint32_t i = 0; i < r->n_sections && !err; i++) {
		struct raw_section *s = &r->sections[i];
		struct conf_ca ca = {0}, *bigger;
		bool add = false;

		if (s->kind != RAW_CA || s->duplicate || strcmp(s->name, "%default") == 0)
			continue;
		if (defaults)
			err = ca_gather(r, defaults, &ca, &add, i + 1, 16);
		if (!err)
			err = ca_gather(r, s, &ca, &add, i + 1, 16);
		if (!err && add && !ca.cacert)
			report_add(r->report, CY_LOG_ERROR, s->file->path, s->line, "", "write cacert=FILE",
			    "ca %s has no cacert=", s->name);
		if (err || !add || !ca.cacert) {
			ca_fini(&ca);
			continue;
		}
		ca.name = strdup(s->name);
		bigger = ca.name ? realloc(c->cas, (c->n_cas + 1) * sizeof(*c->cas)) : NULL;
		if (!bigger) {
			ca_fini(&ca);
			return CY_E_NOMEM;
		}
		c->cas = bigger;
		c->cas[c->n_cas++] = ca;
	}
	return err;
}

/* ---- connections */

static int by_conn_name(const void *a, const void *b)
{
	return strcmp((*(struct conn *const *)a)->name, (*(struct conn *const *)b)->name);
}

/* In place of one connection those of its pairs of subnets. */
static enum cy_err add_pairs(
    struct build *b, struct raw_section *s, struct conn *whole, struct conf *c, size_t *cap)
{
	struct conn **all, **bigger;
	size_t n;
	enum cy_err err = build_pairs(b, s, whole, &all, &n);

	conn_unref(whole);
	if (err)
		return err;
	bigger = realloc(c->conns, (*cap + n) * sizeof(struct conn *));
	if (bigger) {
		c->conns = bigger;
		*cap += n;
		if (n)
			memcpy(c->conns + c->n_conns, all, n * sizeof(struct conn *));
		c->n_conns += n;
	} else {
		for (size_t i = 0; i < n; i++)
			conn_unref(all[i]);
	}
	free(all);
	return bigger ? CY_OK : CY_E_NOMEM;
}

/* A section may be called as a pair of another one is. */
static void sort_conns(struct raw *r, struct conf *c)
{
	size_t kept = 0;

	qsort(c->conns, c->n_conns, sizeof(struct conn *), by_conn_name);
	for (size_t i = 0; i < c->n_conns; i++) {
		struct conn *conn = c->conns[i];

		if (kept && strcmp(c->conns[kept - 1]->name, conn->name) == 0) {
			report_add(r->report, CY_LOG_ERROR, conn->file, conn->line, conn->name,
			    "rename one of them",
			    "a pair of leftsubnets= and rightsubnets= has the same name");
			conn_unref(conn);
		} else {
			c->conns[kept++] = conn;
		}
	}
	c->n_conns = kept;
}

static enum cy_err read_conns(struct raw *r, struct build *b, struct conf *c)
{
	enum cy_err err;
	size_t cap = 0;
	bool pairs = false;

	for (uint32_t i = 0; i < r->n_sections; i++)
		cap += r->sections[i].kind == RAW_CONN;
	if (!cap)
		return CY_OK;
	c->conns = calloc(cap, sizeof(struct conn *));
	if (!c->conns)
		return CY_E_NOMEM;
	/* by name, so that the result is sorted */
	for (uint32_t i = 0; i < r->n_sections; i++) {
		struct raw_section *s = &r->sections[r->by_name[i]];
		struct conn *conn;

		if (s->kind != RAW_CONN || s->duplicate || strcmp(s->name, "%default") == 0)
			continue;
		err = build_conn(b, s, &conn);
		if (err)
			return err;
		if (conn && (conn->local.ts_per_child || conn->remote.ts_per_child)) {
			pairs = true;
			err = add_pairs(b, s, conn, c, &cap);
			if (err)
				return err;
		} else if (conn) {
			c->conns[c->n_conns++] = conn;
		}
	}
	if (pairs)
		sort_conns(r, c);
	return CY_OK;
}

static enum cy_err make(struct raw *r, struct conf **out)
{
	struct conf *c = calloc(1, sizeof(*c));
	struct build *b = malloc(sizeof(*b));
	enum cy_err err = c && b ? CY_OK : CY_E_NOMEM;

	if (c)
		c->refs = 1;
	if (!err) {
		c->setup.unique = UNIQUE_REPLACE;
		err = raw_index(r);
	}
	if (!err)
		err = dialect_choose(r, read_dialect(r), &c->setup.dialect);
	if (!err) {
		build_init(b, r, &c->setup, c->setup.dialect);
		build_classify(b);
		err = read_setup(r, c);
		if (!err)
			err = read_cas(r, c);
		if (!err)
			err = read_conns(r, b, c);
		build_fini(b);
	}
	free(b);
	if (err) {
		conf_unref(c);
		return err;
	}
	c->n_errors = r->report->n_errors;
	c->n_warnings = r->report->n_warnings;
	c->steps = r->steps;
	*out = c;
	return CY_OK;
}

enum cy_err conf_load(const char *path, conf_problem_fn cb, void *user, struct conf **out)
{
	struct report report = {.cb = cb, .user = user};
	struct raw raw;
	enum cy_err err;

	raw_init(&raw, &report);
	err = raw_read_file(&raw, path);
	if (!err)
		err = make(&raw, out);
	raw_fini(&raw);
	return err;
}

enum cy_err conf_load_text(
    const char *text, size_t n, const char *name, conf_problem_fn cb, void *user, struct conf **out)
{
	struct report report = {.cb = cb, .user = user};
	struct raw raw;
	enum cy_err err;

	raw_init(&raw, &report);
	err = raw_read_text(&raw, text, n, name);
	if (!err)
		err = make(&raw, out);
	raw_fini(&raw);
	return err;
}

struct conf *conf_ref(struct conf *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

void conf_unref(struct conf *c)
{
	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < c->n_conns; i++)
		conn_unref(c->conns[i]);
	free(c->conns);
	for (size_t i = 0; i < c->n_cas; i++)
		ca_fini(&c->cas[i]);
	free(c->cas);
	free(c->setup.virtual_private);
	free(c->setup.charondebug);
	free(c->setup.secretsfile);
	free(c);
}

struct conn *conf_find(const struct conf *c, const char *name)
{
	size_t lo = 0, hi = c->n_conns;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(c->conns[mid]->name, name);

		if (cmp == 0)
			return c->conns[mid];
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

void conf_diff(const struct conf *before, const struct conf *after,
    void (*cb)(void *user, enum conf_change what, struct conn *before, struct conn *after), void *user)
{
	size_t i = 0, j = 0, n = before ? before->n_conns : 0, m = after ? after->n_conns : 0;

	while (i < n || j < m) {
		struct conn *x = i < n ? before->conns[i] : NULL, *y = j < m ? after->conns[j] : NULL;
		int cmp = !x ? 1 : !y ? -1 : strcmp(x->name, y->name);

		if (cmp < 0) {
			cb(user, CONF_REMOVED, x, NULL);
			i++;
		} else if (cmp > 0) {
			cb(user, CONF_ADDED, NULL, y);
			j++;
		} else {
			bool same = x->digest[0] == y->digest[0] && x->digest[1] == y->digest[1];

			cb(user, same ? CONF_SAME : CONF_CHANGED, x, y);
			i++;
			j++;
		}
	}
}
