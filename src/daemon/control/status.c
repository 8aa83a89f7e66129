/* SPDX-License-Identifier: Apache-2.0 */
/* status and statusall: the daemon, its connections, and the SAs. Control thread. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/private.h"
#include "daemon/sa/ike_sa.h"
#include "daemon/sa/traps.h"
#include "libcore/base/addr.h"
#include "libcore/conf/conf.h"

#define CONNS_AT_ONCE 64

struct conns {
	struct config *config;
	char *name;
	size_t at;
};

static void conns_free(void *state)
{
	struct conns *s = state;

	config_unref(s->config);
	free(s->name);
	free(s);
}

/* --- a connection --------------------------------------------------------------------------------------------------------- */

static void write_hosts(struct jw *w, const char *key, const struct host_spec *h)
{
	jw_arr(w, key);
	for (size_t i = 0; i < h->names.n; i++)
		jw_str(w, NULL, h->names.s[i]);
	if (!h->names.n)
		jw_str(w, NULL, "%any");
	jw_arr_end(w);
}

static const char *auth_name(const struct conn_auth_round *a)
{
	static const char *const names[] = {"none", "psk", "pubkey", "null", "eap", "xauth", "never"};

	return a->method < ARRAY_LEN(names) ? names[a->method] : "";
}

static void write_end(struct jw *w, const char *key, const struct conn_end *e)
{
	char id[IDENT_STR_MAX], ts[TS_STR_MAX];

	jw_obj(w, key);
	write_hosts(w, "hosts", &e->host);
	jw_arr(w, "auth");
	for (size_t i = 0; i < e->n_auth; i++) {
		jw_obj(w, NULL);
		jw_str(w, "method", auth_name(&e->auth[i]));
		jw_str(w, "id", ident_str(&e->auth[i].id, id));
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_arr(w, "ts");
	for (size_t i = 0; i < e->n_ts; i++)
		jw_str(w, NULL, ts_str(&e->ts[i], ts));
	for (size_t i = 0; i < e->n_virt_ts; i++)
		jw_str(w, NULL, ts_str(&e->virt_ts[i], ts));
	if (e->virt ? e->virt_self : e->ts_dynamic || !e->n_ts)
		jw_str(w, NULL, "dynamic");
	jw_arr_end(w);
	if (e->pools.n) {
		jw_arr(w, "pools");
		for (size_t i = 0; i < e->pools.n; i++)
			jw_str(w, NULL, e->pools.s[i]);
		jw_arr_end(w);
	}
	jw_obj_end(w);
}

void write_conn(struct jw *w, const struct daemon *d, const struct conn *c)
{
	static const char *const starts[] = {"ignore", "add", "route", "start", "keep"};
	static const char *const types[] = {"tunnel", "transport", "pass", "drop"};
	static const char *const versions[] = {"any", "IKEv1", "IKEv2"};

	jw_str(w, "name", c->name);
	jw_str(w, "version", versions[c->version]);
	jw_str(w, "type", types[c->type]);
	jw_str(w, "auto", starts[c->start]);
	jw_str(w, "file", c->file ? c->file : "");
	jw_u64(w, "line", c->line);
	write_end(w, "local", &c->local);
	write_end(w, "remote", &c->remote);
	jw_u64(w, "dpd_delay", sa_dpd_delay_s(d, c));
	jw_u64(w, "ike_lifetime", c->ike_lifetime_s);
	jw_u64(w, "child_lifetime", c->child_lifetime_s);
	jw_bool(w, "rekey", c->rekey);
	jw_bool(w, "reauth", c->reauth);
}

static void conns_write(struct request *r, struct jw *w, const struct conns *s, size_t n)
{
	const struct conf *conf = s->config->conf;

	for (size_t i = 0; i < n; i++) {
		const struct conn *c = conf->conns[s->at + i];

		if (s->name && !conn_is_called(c, s->name))
			continue;
		request_item(r, w, "connections");
		write_conn(w, r->control->d, c);
		request_item_end(w);
	}
}

struct route_writer {
	struct request *r;
	struct jw w;
	const char *name;
};

static void on_trap(void *user, const struct conn *conn, uint32_t reqid, uint64_t acquires)
{
	struct route_writer *rw = user;

	if (rw->name && !conn_is_called(conn, rw->name))
		return;
	request_item(rw->r, &rw->w, "routed");
	jw_str(&rw->w, "name", conn->name);
	jw_u64(&rw->w, "reqid", reqid);
	jw_u64(&rw->w, "acquires", acquires);
	request_item_end(&rw->w);
}

/* --- one after the other: daemon, connections, routed, SAs, their CPUs --------------------------------------------------- */

static void sums_write(struct request *r)
{
	struct jw w = {0};

	carried_write(r, &w, listed_sums(r));
	request_send_all(r, &w);
}

static void sas_begin(struct request *r, const char *name, bool all)
{
	struct route_writer rw = {.r = r, .name = name};

	traps_list(r->control->d->traps, on_trap, &rw);
	request_send(r, &rw.w);
	if (list_sas(r, name, all, all ? sums_write : request_done))
		request_fail(r, "limit", "out of memory");
}

static void conns_resume(struct request *r)
{
	struct conns *s = r->state;
	const struct conf *conf = s->config ? s->config->conf : NULL;
	size_t total = conf ? conf->n_conns : 0;

	while (s->at < total && request_has_room(r)) {
		size_t n = total - s->at < CONNS_AT_ONCE ? total - s->at : CONNS_AT_ONCE;
		struct jw w = {0};

		conns_write(r, &w, s, n);
		s->at += n;
		request_send(r, &w);
	}
	if (s->at == total && r->client) {
		char *name = s->name ? strdup(s->name) : NULL;

		sas_begin(r, name, true); /* frees s */
		free(name);
	}
}

static void conns_begin(struct request *r)
{
	const char *name = request_arg(r, "name");
	struct conns *s = calloc(1, sizeof(*s));

	if (!s || (name && !(s->name = strdup(name)))) {
		free(s);
		request_fail(r, "limit", "out of memory");
		return;
	}
	s->config = daemon_config(r->control->d);
	r->state = s;
	r->state_free = conns_free;
	r->resume = conns_resume;
	conns_resume(r);
}

static void daemon_begin(struct request *r, bool all)
{
	struct jw w = {0};

	request_begin(r, &w, "data");
	jw_obj(&w, "data");
	write_daemon(r->control, &w, all);
	jw_obj_end(&w);
	request_line_end(&w);
	request_send(r, &w);
}

void cmd_status(struct request *r)
{
	daemon_begin(r, false);
	sas_begin(r, request_arg(r, "name"), false);
}

void cmd_statusall(struct request *r)
{
	daemon_begin(r, true);
	conns_begin(r);
}

void cmd_stats(struct request *r)
{
	daemon_begin(r, true);
	request_done(r);
}
