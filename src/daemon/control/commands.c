/* SPDX-License-Identifier: Apache-2.0 */
/* The commands by name, and those that fit a few lines. Control thread. */
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "daemon/control/private.h"
#include "daemon/kernel/knl.h"
#include "daemon/sa/traps.h"
#include "libcore/base/names.h"
#include "libcore/base/thread.h"
#include "libcore/conf/conf.h"
#include "libcore/conf/value.h"

const struct command commands[] = {
    {"cpus", cmd_cpus},
    {"doctor", cmd_doctor},
    {"down", cmd_down},
    {"leases", cmd_leases},
    {"listalgs", cmd_listalgs},
    {"listcerts", cmd_listcerts},
    {"listcrls", cmd_listcrls},
    {"log", cmd_log},
    {"loglevel", cmd_loglevel},
    {"metrics", cmd_metrics},
    {"purgecrls", cmd_purgecrls},
    {"reload", cmd_reload},
    {"route", cmd_route},
    {"stats", cmd_stats},
    {"status", cmd_status},
    {"statusall", cmd_statusall},
    {"stop", cmd_stop},
    {"unroute", cmd_unroute},
    {"up", cmd_up},
    {"usage", cmd_usage},
    {"version", cmd_version},
    {NULL, NULL},
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

const char *command_nearest(const char *name)
{
	const char *names[ARRAY_LEN(commands)];

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		names[i] = commands[i].name;
	return name_nearest(names, name);
}

size_t request_conns(struct request *r, struct config **out_config, struct conn ***out)
{
	const char *name = request_arg(r, "name");
	struct config *c;
	struct conn **all;
	size_t n = 0;

	if (!name || !*name) {
		request_fail(r, "bad-request", "which connection? \"name\" is missing");
		return 0;
	}
	c = daemon_config(r->control->d);
	all = c && c->conf ? calloc(c->conf->n_conns + 1, sizeof(struct conn *)) : NULL;
	for (size_t i = 0; all && i < c->conf->n_conns; i++)
		if (conn_is_called(c->conf->conns[i], name))
			all[n++] = c->conf->conns[i];
	if (!n) {
		const char **names = c && c->conf ? calloc(c->conf->n_conns + 1, sizeof(*names)) : NULL;
		const char *near = NULL;

		for (size_t i = 0; names && i < c->conf->n_conns; i++)
			names[i] = c->conf->conns[i]->name;
		if (names)
			near = name_nearest(names, name);
		request_fail(r, "not-found", "there is no connection %s%s%s%s", name,
		    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
		free(names);
		free(all);
		config_unref(c);
		return 0;
	}
	*out_config = c;
	*out = all;
	return n;
}

void cmd_version(struct request *r)
{
	struct jw w = {0};

	request_begin(r, &w, "data");
	jw_obj(&w, "data");
	jw_str(&w, "version", PACKAGE_VERSION);
	jw_u64(&w, "protocol", CONTROL_PROTOCOL);
	jw_obj_end(&w);
	request_line_end(&w);
	request_send(r, &w);
	request_done(r);
}

void cmd_stop(struct request *r)
{
	struct control *c = r->control;

	request_done(r);
	c->cfg.hooks.stop(c->cfg.hooks.user);
}

void cmd_loglevel(struct request *r)
{
	static const char *const levels[] = {"error", "warn", "notice", "info", "debug", "trace", NULL};
	const char *level = request_arg(r, "level"), *group = request_arg(r, "group");
	struct log *log = r->control->d->log;
	int lv = 0, g = 0;

	while (levels[lv] && (!level || strcmp(levels[lv], level) != 0))
		lv++;
	if (!levels[lv]) {
		request_fail(r, "bad-request", "\"level\" is one of error, warn, notice, info, debug, trace");
		return;
	}
	if (!group || strcmp(group, "all") == 0) {
		log_level_all(log, (enum cy_level)lv);
		request_done(r);
		return;
	}
	while (g < LOG_N && strcasecmp(log_group_names[g], group) != 0)
		g++;
	if (g == LOG_N) {
		request_fail(r, "bad-request",
		    "\"group\" is one of all, dmn, mgr, ike, chd, job, cfg, knl, net, enc, lib, esp");
		return;
	}
	log_level(log, (enum log_group)g, (enum cy_level)lv);
	request_done(r);
}

/* --- route, unroute ------------------------------------------------------------------------------------------------------ */

/* The kernel thread works in order: when an empty request comes back, the policies submitted before it are in place. */
struct barrier {
	struct post post;
	struct request *r;
};

static void barrier_back(struct control *c, struct post *p)
{
	struct barrier *b = container_of(p, struct barrier, post);

	(void)c;
	if (!request_gone(b->r))
		request_done(b->r);
	request_unref(b->r);
	free(b);
}

static void barrier_done(struct worker *w, struct knl_req *k)
{
	struct barrier *b = k->user;

	(void)w;
	knl_req_free(k);
	control_post(b->r->control, &b->post);
}

static void done_after_kernel(struct request *r)
{
	struct daemon *d = r->control->d;
	struct barrier *b = calloc(1, sizeof(*b));
	struct knl_req *k = knl_req_new(0);

	if (!b || !k) {
		free(b);
		knl_req_free(k);
		request_done(r);
		return;
	}
	b->post.fn = barrier_back;
	b->r = request_ref(r);
	k->worker = processor_worker(d->processor, 0);
	k->done = barrier_done;
	k->user = b;
	knl_submit(d->knl, k);
}

/* All that the name means; the last one answers. On workers, which may be several. */
struct routes;
struct route_one {
	struct route_watch watch;
	struct routes *all;
};

struct routes {
	struct post post;
	struct request *r;
	struct control *c;
	uint32_t left, failed; /* atomics */
	char why[256];         /* of the first that failed */
	struct route_one one[];
};

static void routes_back(struct control *c, struct post *p)
{
	struct routes *all = container_of(p, struct routes, post);

	(void)c;
	if (!request_gone(all->r)) {
		if (all->failed)
			request_fail(all->r, "failed", "%s", all->why);
		else
			request_done(all->r);
	}
	request_unref(all->r);
	free(all);
}

static void route_end(struct routes *all, uint32_t n, const char *why)
{
	if (why && __atomic_fetch_add(&all->failed, 1, __ATOMIC_RELAXED) == 0)
		snprintf(all->why, sizeof(all->why), "%s", why);
	if (__atomic_sub_fetch(&all->left, n, __ATOMIC_ACQ_REL) == 0)
		control_post(all->c, &all->post);
}

static void route_done(struct route_watch *w, enum cy_err err, const char *why)
{
	route_end(container_of(w, struct route_one, watch)->all, 1, err ? why : NULL);
}

void cmd_route(struct request *r)
{
	struct config *config;
	struct conn **conns;
	size_t n = request_conns(r, &config, &conns);
	struct routes *all = n ? calloc(1, sizeof(*all) + n * sizeof(all->one[0])) : NULL;
	char why[256] = "";
	enum cy_err e = CY_OK;
	size_t i;

	if (!n)
		return;
	for (i = 0; all && i < n && !e; i++) {
		if (i == 0) {
			all->post.fn = routes_back;
			all->r = request_ref(r);
			all->c = r->control;
			all->left = (uint32_t)n;
		}
		all->one[i].watch.done = route_done;
		all->one[i].all = all;
		e = traps_route_watched(r->control->d->traps, conns[i], &all->one[i].watch, why, sizeof(why));
	}
	if (!all) {
		request_fail(r, "limit", "out of memory");
	} else if (e && i == 1) { /* nothing was begun */
		request_fail(r, request_code(e), "%s", *why ? why : err_text(e));
		request_unref(r);
		free(all);
	} else if (e) {
		route_end(all, (uint32_t)(n - i + 1), *why ? why : err_text(e));
	}
	free(conns);
	config_unref(config);
}

/* Those of the name, by their own: a connection that is routed may be gone from the configuration. */
static void on_routed(void *user, const struct conn *conn, uint32_t reqid, uint64_t acquires)
{
	struct str_list *names = user;
	const char *wanted = names->s[0];

	(void)reqid;
	(void)acquires;
	if (conn_is_called(conn, wanted))
		(void)!strs_add(names, conn->name);
}

void cmd_unroute(struct request *r)
{
	const char *name = request_arg(r, "name");
	struct str_list names = {0};
	uint32_t gone = 0;

	if (!name || !*name) {
		request_fail(r, "bad-request", "which connection? \"name\" is missing");
		return;
	}
	if (strs_add(&names, name) == CY_OK) {
		traps_list(r->control->d->traps, on_routed, &names);
		for (size_t i = 1; i < names.n; i++)
			gone += traps_unroute(r->control->d->traps, names.s[i]) == CY_OK;
	}
	strs_fini(&names);
	if (!gone)
		request_fail(r, "not-found", "connection %s is not routed", name);
	else
		done_after_kernel(r);
}

/* --- reload ------------------------------------------------------------------------------------------------------------------ */

/* Reading files and checking certificates takes time: a thread of its own, at most one. */
struct reload {
	struct post post;
	struct request *r;
	struct control *c;
	enum cy_err err;
};

struct reload_line {
	struct post post;
	struct request *r;
	enum cy_level level;
	char text[];
};

static const char *const level_words[] = {"error", "warning", "notice", "info", "info", "info"};

static void reload_line_back(struct control *c, struct post *p)
{
	struct reload_line *l = container_of(p, struct reload_line, post);
	struct jw w = {0};

	(void)c;
	if (!request_gone(l->r)) {
		request_begin(l->r, &w, "progress");
		jw_str(&w, "level", level_words[l->level]);
		jw_str(&w, "text", l->text);
		request_line_end(&w);
		request_send(l->r, &w);
	}
	free(l);
}

static void reload_report(void *user, enum cy_level level, const char *text)
{
	struct reload *re = user;
	size_t n = strlen(text) + 1;
	struct reload_line *l = malloc(sizeof(*l) + n);

	if (!l)
		return;
	/* the reload's own reference keeps the request: its post comes after all lines */
	l->post.fn = reload_line_back;
	list_init(&l->post.node);
	l->r = re->r;
	l->level = level;
	memcpy(l->text, text, n);
	control_post(re->c, &l->post);
}

static void reload_back(struct control *c, struct post *p)
{
	struct reload *re = container_of(p, struct reload, post);

	if (c->reloading) {
		pthread_join(c->reload_thread, NULL);
		c->reloading = false;
	}
	if (!request_gone(re->r)) {
		if (re->err)
			request_fail(re->r, request_code(re->err),
			    "the configuration was not loaded: %s; the old one goes on", err_text(re->err));
		else
			request_done(re->r);
	}
	request_unref(re->r);
	free(re);
}

static void *reload_main(void *arg)
{
	struct reload *re = arg;
	const struct control_hooks *h = &re->c->cfg.hooks;

	re->err = h->reload(h->user, reload_report, re);
	control_post(re->c, &re->post);
	return NULL;
}

void cmd_reload(struct request *r)
{
	struct control *c = r->control;
	struct reload *re;

	if (c->reloading) {
		request_fail(r, "busy", "a reload is running already");
		return;
	}
	re = calloc(1, sizeof(*re));
	if (!re) {
		request_fail(r, "limit", "out of memory");
		return;
	}
	re->post.fn = reload_back;
	re->r = request_ref(r);
	re->c = c;
	if (thread_start("reload", reload_main, re, &c->reload_thread)) {
		request_unref(r);
		free(re);
		request_fail(r, "limit", "no thread could be started");
		return;
	}
	c->reloading = true;
}
