/* SPDX-License-Identifier: Apache-2.0 */
/* ipsec.conf and ipsec.secrets to one immutable struct config; what a reload does with the difference. */
#include <ifaddrs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/auth/sources.h"
#include "daemon/kernel/knl.h"
#include "daemon/net/interfaces.h"
#include "daemon/policy/select.h"
#include "daemon/run_impl.h"
#include "daemon/sa/manager.h"
#include "daemon/sa/traps.h"
#include "libcore/base/addr.h"
#include "libcore/conf/settings.h"
#include "libcore/cred/cred.h"
#include "daemon/policy/lease.h"
#include "libcore/plugin/loader.h"
#include "libcore/run/bus.h"

struct load {
	struct run *r;
	daemon_report_fn report;
	void *user;
	struct cy_addr *local; /* our addresses, sorted */
	size_t n_local;
	bool have_cacerts; /* the folder need not exist */
};

static void tell(struct load *l, enum cy_level level, const char *text)
{
	LOGF(l->r->d.log, LOG_CFG, level, NULL, "%s", text);
	if (l->report)
		l->report(l->user, level, text);
}

static void tellf(struct load *l, enum cy_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void tellf(struct load *l, enum cy_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell(l, level, text);
}

static void on_cred(void *user, enum cy_level level, const char *text)
{
	tell(user, level, text);
}

static void on_problem(void *user, const struct conf_problem *p)
{
	tellf(user, p->level, "%s:%u: %s%s%s%s%s", p->file, p->line, *p->conn ? p->conn : "",
	    *p->conn ? ": " : "", p->text, *p->hint ? "; " : "", p->hint);
}

/* --- which side is ours ----------------------------------------------------------------------------------------- */

static int by_ip(const void *a, const void *b)
{
	struct cy_addr x = *(const struct cy_addr *)a, y = *(const struct cy_addr *)b;

	x.port = y.port = 0;
	x.scope = y.scope = 0;
	return addr_cmp(&x, &y);
}

/* A look-up for each connection would be a system call each: the addresses are read once a load. */
static void read_local(struct load *l)
{
	struct ifaddrs *all, *i;
	size_t n = 0;

	if (l->r->d.env->simulated || getifaddrs(&all) != 0)
		return;
	for (i = all; i; i = i->ifa_next)
		n++;
	l->local = calloc(n ? n : 1, sizeof(*l->local));
	for (i = all; i && l->local; i = i->ifa_next) {
		struct cy_addr a = {0};

		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		if (!interfaces_has_name(l->r->d.interfaces, i->ifa_name))
			continue;
		addr_from_sockaddr(i->ifa_addr, &a);
		l->local[l->n_local++] = a;
	}
	freeifaddrs(all);
	if (l->local)
		qsort(l->local, l->n_local, sizeof(*l->local), by_ip);
}

static bool addr_is_ours(const struct load *l, const struct cy_addr *a)
{
	if (l->r->d.env->simulated) {
		void *k;
		const struct cy_kernel_ops *ops = knl_ops(l->r->d.knl, &k);

		return ops->is_local && ops->is_local(k, a);
	}
	return addr_is_loopback(a) ||
	    (l->local && bsearch(a, l->local, l->n_local, sizeof(*l->local), by_ip));
}

static bool end_is_ours(const struct load *l, const struct conn_end *e)
{
	for (size_t i = 0; i < e->host.n_ranges; i++)
		if (cy_addr_ip_eq(&e->host.ranges[i].lo, &e->host.ranges[i].hi) &&
		    addr_is_ours(l, &e->host.ranges[i].lo))
			return true;
	return false;
}

/* ipsec.conf may be the same file on both gateways: left is not always here. */
static void orient(const struct load *l, struct conn *c)
{
	if (!end_is_ours(l, &c->local) && end_is_ours(l, &c->remote))
		conn_swap_ends(c);
}

/* --- credentials a connection names ---------------------------------------------------------------------------- */

/* An end with a certificate is called as the certificate has it: by leftid= if it confirms that, else by its subject. */
static void id_from_cert(
    struct load *l, const struct conn *c, struct conn_auth_round *a, struct cy_cert *cert, bool own)
{
	const struct cy_pki_ops *pki = crypto_pki(l->r->d.crypto);
	const struct cy_cert_info *info = pki && cert ? pki->cert_info(cert) : NULL;
	char was[IDENT_STR_MAX], is[IDENT_STR_MAX];
	struct ident id = {0};

	if (!info || (!own && a->id.type != ID_ANY) || cred_default_ident(info, &a->id, &id))
		return;
	if (a->id.type != ID_ANY && !ident_eq(&a->id, &id))
		tellf(l, CY_LOG_WARN,
		    "connection %s: the certificate does not confirm the identity %s: using its subject %s",
		    c->name, ident_str(&a->id, was), ident_str(&id, is));
	ident_fini(&a->id);
	a->id = id;
}

static void load_round(
    struct load *l, struct creds *creds, const struct conn *c, struct conn_auth_round *a, bool own)
{
	struct cy_cert *first = NULL;

	if (cred_ident_resolve(l->r->d.crypto, &a->id))
		tellf(l, CY_LOG_ERROR, "connection %s: an identity cannot be read as a distinguished name",
		    c->name);
	if (cred_ident_resolve(l->r->d.crypto, &a->ca))
		tellf(
		    l, CY_LOG_ERROR, "connection %s: leftca= or rightca= is no distinguished name", c->name);
	for (size_t i = 0; i < a->certs.n; i++) {
		struct cy_cert *cert = NULL;
		enum cy_err e = creds_load_cert(creds, a->certs.s[i], &cert, on_cred, l);

		if (e)
			tellf(l, CY_LOG_ERROR, "connection %s: certificate %s: %s", c->name, a->certs.s[i],
			    err_text(e));
		else if (!first)
			first = cert;
	}
	id_from_cert(l, c, a, first, own);
	if (a->pubkey) {
		struct cy_pubkey *key;
		enum cy_err e = creds_load_pubkey(creds, a->pubkey, &key, on_cred, l);

		if (e)
			tellf(l, CY_LOG_ERROR, "connection %s: public key: %s", c->name, err_text(e));
	}
}

static void load_conn(struct load *l, struct creds *creds, struct conn *c)
{
	orient(l, c);
	for (size_t i = 0; i < c->local.n_auth; i++)
		load_round(l, creds, c, &c->local.auth[i], true);
	for (size_t i = 0; i < c->remote.n_auth; i++)
		load_round(l, creds, c, &c->remote.auth[i], false);
	conn_seal(c);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

/* Folders for relative file names: beside ipsec.conf, as in both dialects. */
static enum cy_err new_creds(struct load *l, struct creds **out)
{
	struct run *r = l->r;
	char private_dir[4096], certs[4096], cacerts[4096], aacerts[4096];
	const char *slash = strrchr(r->conf, '/');
	int n = slash ? (int)(slash - r->conf) : 1;
	const char *dir = slash ? r->conf : ".";
	const struct cred_paths paths = {private_dir, certs, cacerts, aacerts};

	snprintf(private_dir, sizeof(private_dir), "%.*s/ipsec.d/private", n, dir);
	snprintf(certs, sizeof(certs), "%.*s/ipsec.d/certs", n, dir);
	snprintf(cacerts, sizeof(cacerts), "%.*s/ipsec.d/cacerts", n, dir);
	snprintf(aacerts, sizeof(aacerts), "%.*s/ipsec.d/aacerts", n, dir);
	l->have_cacerts = access(cacerts, F_OK) == 0;
	return creds_new(r->d.crypto, r->d.log, &paths, out);
}

static enum cy_err load_creds(struct load *l, struct conf *conf, struct creds *creds)
{
	enum cy_err e;

	if (l->have_cacerts)
		(void)!creds_load_cacerts(creds, NULL, on_cred, l);
	for (size_t i = 0; i < conf->n_cas; i++) {
		const struct conf_ca *ca = &conf->cas[i];
		const struct cred_uris uris = {.crl = (const char *const *)ca->crl_uris.s,
		    .n_crl = ca->crl_uris.n,
		    .ocsp = (const char *const *)ca->ocsp_uris.s,
		    .n_ocsp = ca->ocsp_uris.n};

		if (ca->cacert && (e = creds_load_ca(creds, ca->cacert, &uris, on_cred, l)) != CY_OK)
			tellf(l, CY_LOG_ERROR, "ca %s: %s: %s", ca->name, ca->cacert, err_text(e));
	}
	if (access(l->r->secrets, F_OK) != 0) {
		tellf(l, CY_LOG_WARN, "%s: no such file: there are no secrets", l->r->secrets);
	} else {
		e = creds_load_secrets(creds, l->r->secrets, false, on_cred, l);
		if (e == CY_E_NOMEM)
			return e;
		if (e)
			tellf(l, CY_LOG_ERROR, "%s: %s", l->r->secrets, err_text(e));
	}
	for (size_t i = 0; i < conf->n_conns; i++)
		load_conn(l, creds, conf->conns[i]);
	return CY_OK;
}

/* CRLs of files take the place of those that were there before. What is not got is said once a load. */
static void load_revocation(struct load *l, const struct config *c)
{
	const struct conf_setup *setup = &c->conf->setup;
	const char *slash = strrchr(l->r->conf, '/');
	int n = slash ? (int)(slash - l->r->conf) : 1;
	bool by_ca = false;
	char dir[4096];

	snprintf(dir, sizeof(dir), "%.*s/ipsec.d/crls", n, slash ? l->r->conf : ".");
	sources_load_files(l->r->d.sources, c->creds, access(dir, F_OK) == 0 ? dir : NULL, on_cred, l);
	for (size_t i = 0; i < c->conf->n_conns; i++) {
		const struct conn_auth_round *a = &c->conf->conns[i]->remote.auth[0];

		by_ca |= a->method == AUTH_PUBKEY && !a->pubkey && !a->certs.n;
	}
	if (by_ca && (setup->ocsp || setup->fetch_crls) && !sources_fetch(l->r->d.sources))
		tellf(l, setup->strict_crl != STRICT_NO ? CY_LOG_WARN : CY_LOG_NOTICE,
		    "no plugin gets CRLs and OCSP responses (curl): only the CRLs in %s say which "
		    "certificates were "
		    "revoked",
		    dir);
}

/* What the data plane cannot do is said now, and not when the first peer comes. */
static const char *unsupported(const struct conn *c, uint32_t features)
{
	bool marks = c->mark_in.mask || c->mark_out.mask;
	bool if_ids =
	    c->if_id_in || c->if_id_out || c->if_id_in_own != OWN_ID_NO || c->if_id_out_own != OWN_ID_NO;

	if (c->device.kind && !(features & CY_KERNEL_DEVICES))
		return c->device.kind == CY_DEVICE_VTI ? "VTI devices (vti-interface=)"
		                                       : "XFRM interfaces (ipsec-interface=)";
	if (marks && !(features & CY_KERNEL_MARK))
		return "marks (mark=)";
	return if_ids && !(features & CY_KERNEL_IF_ID) ? "if_ids (if_id=)" : NULL;
}

static void drop_unsupported(struct load *l, struct conf *conf)
{
	uint32_t features = knl_features(l->r->d.knl);
	size_t kept = 0;
	void *k;

	for (size_t i = 0; i < conf->n_conns; i++) {
		struct conn *c = conf->conns[i];
		const char *what = unsupported(c, features);

		if (!what && c->per_cpu != PCPU_NO && !(features & CY_KERNEL_PCPU))
			tellf(l, CY_LOG_WARN,
			    "connection %s: the data plane %s has no SAs of CPUs (per-cpu-sas=): the first "
			    "CHILD_SA is the only "
			    "one",
			    c->name, knl_ops(l->r->d.knl, &k)->name);
		if (!what) {
			conf->conns[kept++] = c;
			continue;
		}
		tellf(l, CY_LOG_ERROR, "connection %s is not loaded: the data plane %s has no %s", c->name,
		    knl_ops(l->r->d.knl, &k)->name, what);
		conn_unref(c);
	}
	conf->n_conns = kept;
}

static void keep_same(void *user, enum conf_change what, struct conn *before, struct conn *after)
{
	struct conf *conf = user;
	size_t lo = 0, hi = conf->n_conns;

	if (what != CONF_SAME)
		return;
	while (lo < hi) { /* conns are sorted by name */
		size_t mid = (lo + hi) / 2;
		int cmp = strcmp(conf->conns[mid]->name, after->name);

		if (cmp == 0) {
			conf->conns[mid] = conn_ref(before);
			conn_unref(after);
			return;
		}
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
}

void daemon_keep_same(struct daemon *d, struct conf *after)
{
	struct config *now = daemon_config(d);

	if (now && now->conf)
		conf_diff(now->conf, after, keep_same, after);
	config_unref(now);
}

static void add_pools(struct load *l, const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_conns; i++) {
		const struct str_list *pools = &conf->conns[i]->remote.pools;

		for (size_t j = 0; j < pools->n; j++) {
			enum cy_err e =
			    pools->s[j][0] == '%' ? CY_OK : leases_pool_add(l->r->d.leases, pools->s[j]);

			if (e && e != CY_E_EXISTS)
				tellf(l, CY_LOG_ERROR, "connection %s: address pool %s: %s",
				    conf->conns[i]->name, pools->s[j], err_text(e));
		}
	}
}

enum cy_err load_config(struct run *r, daemon_report_fn report, void *user, struct config **out)
{
	struct load l = {.r = r, .report = report, .user = user};
	struct config *c = calloc(1, sizeof(*c));
	enum cy_err e = c ? CY_OK : CY_E_NOMEM;

	if (!e) {
		c->refs = 1;
		c->index_free = conn_index_free;
		read_local(&l);
		e = conf_load(r->conf, on_problem, &l, &c->conf);
		if (e)
			tellf(&l, CY_LOG_ERROR, "%s: %s", r->conf, err_text(e));
	}
	if (!e) {
		drop_unsupported(&l, c->conf);
		e = new_creds(&l, &c->creds);
	}
	if (!e)
		e = load_creds(&l, c->conf, c->creds);
	if (!e) {
		daemon_keep_same(&r->d, c->conf);
		e = conn_index_new(c->conf, &c->index);
	}
	if (!e) {
		add_pools(&l, c->conf);
		load_revocation(&l, c);
		*out = c;
	} else {
		config_unref(c);
	}
	free(l.local);
	return e;
}

/* --- the difference ------------------------------------------------------------------------------------------------ */

void load_activate(struct run *r, const struct conn *before, struct conn *after, bool routed)
{
	struct daemon *d = &r->d;
	bool started = before && (before->start == AUTO_START || before->start == AUTO_KEEP);
	char why[256] = "";

	bool shunt = after->type == TYPE_PASS || after->type == TYPE_DROP;

	if (routed || after->start == AUTO_ROUTE ||
	    (shunt && (after->start == AUTO_START || after->start == AUTO_KEEP))) {
		enum cy_err e = routed ? traps_replace(d->traps, before->name, after, why, sizeof(why))
		                       : traps_route(d->traps, after, why, sizeof(why));

		if (e && e != CY_E_EXISTS)
			LOGF(d->log, LOG_CFG, CY_LOG_ERROR, NULL, "connection %s is not routed: %s",
			    after->name, *why ? why : err_text(e));
	}
	if ((after->start == AUTO_START || after->start == AUTO_KEEP) && !started && !shunt) {
		sa_up(d, after, NULL);
	}
}

struct diff {
	struct run *r;
	uint32_t added, removed, changed, same;
};

static void apply(void *user, enum conf_change what, struct conn *before, struct conn *after)
{
	struct diff *d = user;
	struct traps *traps = d->r->d.traps;
	bool routed = false;
	enum cy_err e;

	switch (what) {
	case CONF_SAME:
		d->same++;
		return;
	case CONF_ADDED:
		d->added++;
		break;
	case CONF_REMOVED:
		d->removed++;
		break;
	case CONF_CHANGED:
		d->changed++;
		break;
	}
	/* a trap has the policies of the connection it was made from */
	if (before && after)
		routed = traps_has(traps, before->name);
	else if (before && (e = traps_unroute(traps, before->name)) != CY_OK && e != CY_E_NOTFOUND)
		LOGF(d->r->d.log, LOG_CFG, CY_LOG_ERROR, NULL, "connection %s stays routed: %s", before->name,
		    err_text(e));
	if (after)
		load_activate(d->r, before, after, routed);
}

static void reload_settings(struct run *r, struct load *l)
{
	struct settings *s;
	enum cy_err e = settings_load(access(r->settings, F_OK) == 0 ? r->settings : NULL, on_problem, l, &s);

	if (e) {
		tellf(l, CY_LOG_ERROR, "%s: %s: the settings stay as they were", r->settings, err_text(e));
		return;
	}
	/* Of the settings only log levels and those of plugins take effect now; the others are read at start. */
	plugins_reload(r->d.plugins, s);
	settings_unref(r->d.settings);
	r->d.settings = s;
	tune_log(&r->d);
}

enum cy_err daemon_reload(struct daemon *d, daemon_report_fn report, void *user)
{
	struct run *r = run_of(d);
	struct load l = {.r = r, .report = report, .user = user};
	struct diff diff = {.r = r};
	struct config *before, *after;
	enum cy_err e;

	if (pthread_mutex_trylock(&r->reload_lock) != 0)
		return CY_E_BUSY;
	if (r->o.configure)
		e = r->o.configure(r->o.user, d, &after);
	else
		e = load_config(r, report, user, &after);
	if (e) {
		tellf(&l, CY_LOG_ERROR, "the configuration stays as it was");
		pthread_mutex_unlock(&r->reload_lock);
		return e;
	}
	before = daemon_config(d);
	daemon_config_swap(d, config_ref(after));
	if (!r->o.configure)
		reload_settings(r, &l);
	knl_devices_changed(d->knl);
	sources_retry(d->sources);
	if (before)
		conf_diff(before->conf, after->conf, apply, &diff);
	tellf(&l, CY_LOG_INFO,
	    "configuration loaded: %u connections added, %u removed, %u changed, %u as before", diff.added,
	    diff.removed, diff.changed, diff.same);
	config_unref(before);
	config_unref(after);
	run_event(d, CY_EV_RELOADED);
	pthread_mutex_unlock(&r->reload_lock);
	return CY_OK;
}
