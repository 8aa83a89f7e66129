/* SPDX-License-Identifier: Apache-2.0 */
/* A connection in plain words, and `ipsec check`. */

#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/err.h"
#include "libcore/conf/conf.h"

static void put_list(FILE *f, const struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		fprintf(f, "%s%s", i == 0 ? "" : i + 1 == l->n ? " or " : ", ", l->s[i]);
}

static void put_host(FILE *f, const struct host_spec *h, bool local)
{
	if (h->defaultroute)
		fputs("the address of the default route", f);
	else if (h->n_ranges || h->dns.n)
		put_list(f, &h->names);
	else
		fputs(local ? "any address of this host" : "any address", f);
	if (h->any && (h->n_ranges || h->dns.n))
		fputs(" or anywhere else", f);
	if (h->port)
		fprintf(f, " port %u", h->port);
}

static void put_method(FILE *f, const struct conn_auth_round *a)
{
	static const char *const keys[] = {[CY_KEY_RSA] = "RSA",
	    [CY_KEY_ECDSA] = "ECDSA",
	    [CY_KEY_ED25519] = "Ed25519",
	    [CY_KEY_ED448] = "Ed448"};
	bool first = true;

	switch (a->method) {
	case AUTH_PSK:
		fputs("a pre-shared key", f);
		return;
	case AUTH_PUBKEY:
		break;
	case AUTH_NEVER:
	case AUTH_NONE:
		fputs("nothing", f);
		return;
	case AUTH_NULL:
		fputs("no proof at all", f);
		return;
	case AUTH_EAP:
		fputs("EAP", f);
		return;
	case AUTH_XAUTH:
		fputs("nothing but a user's name and password", f);
		return;
	}
	fputs("a signature", f);
	for (size_t t = 1; t < ARRAY_LEN(keys); t++)
		if (a->key_types & 1u << t) {
			fprintf(f, "%s%s", first ? " (" : ", ", keys[t]);
			first = false;
		}
	if (!first)
		fputc(')', f);
	if (a->certs.n) {
		fputs(" with the certificate ", f);
		put_list(f, &a->certs);
	} else if (a->pubkey)
		fputs(" with the key that is configured", f);
}

static void put_id(FILE *f, const struct conn_auth_round *a, const char *none)
{
	char id[IDENT_STR_MAX];

	if (a->id.type == ID_ANY)
		fputs(none, f);
	else
		fprintf(f, "\"%s\"", ident_str(&a->id, id));
}

static void put_ts(FILE *f, const struct conn_end *e, const char *dynamic)
{
	char ts[TS_STR_MAX];

	if (e->virt && e->n_virt_ts)
		fputs(e->virt == VIRTUAL_HOST ? "one address of " : "a network of ", f);
	for (size_t i = 0; i < e->n_virt_ts; i++)
		fprintf(f, "%s%s", i ? ", " : "", ts_str(&e->virt_ts[i], ts));
	if (e->virt && e->n_virt_ts && e->virt_self)
		fputs(" or ", f);
	for (size_t i = 0; i < e->n_ts; i++)
		fprintf(f, "%s%s", i ? ", " : "", ts_str(&e->ts[i], ts));
	if (e->ts_dynamic && (!e->virt || e->virt_self))
		fprintf(f, "%s%s", e->n_ts ? ", " : "", dynamic);
	if (e->ts_dynamic && e->ts_proto) {
		fprintf(f, " (protocol %u", e->ts_proto);
		if (e->ts_port_lo || e->ts_port_hi != UINT16_MAX)
			fprintf(f, ", port %u", e->ts_port_lo);
		if (e->ts_port_hi != e->ts_port_lo && e->ts_port_hi != UINT16_MAX)
			fprintf(f, " to %u", e->ts_port_hi);
		fputc(')', f);
	}
}

/* proposal_str() begins with the protocol. */
static void put_proposals(FILE *f, const char *protocol, const struct proposal_list *l, bool strict)
{
	char text[512];

	if (!l->n)
		fprintf(f, "%s: the defaults", protocol);
	for (size_t i = 0; i < l->n; i++)
		fprintf(f, "%s%s", i ? ", " : "", proposal_str(&l->p[i], text, sizeof(text)));
	if (l->n && !strict)
		fputs(", then the defaults", f);
}

static void put_seconds(FILE *f, uint32_t s)
{
	if (s && s % 3600 == 0)
		fprintf(f, "%u h", s / 3600);
	else if (s && s % 60 == 0)
		fprintf(f, "%u min", s / 60);
	else
		fprintf(f, "%u s", s);
}

static void put_start(FILE *f, const struct conn *c)
{
	switch (c->start) {
	case AUTO_IGNORE:
		fputs("It is not loaded.", f);
		break;
	case AUTO_ADD:
		fputs("It waits for the peer, or for ipsec up.", f);
		break;
	case AUTO_ROUTE:
		fputs("The first packet starts it.", f);
		break;
	case AUTO_START:
		fputs("It starts with the daemon.", f);
		break;
	case AUTO_KEEP:
		fputs("It starts with the daemon and again whenever it ends.", f);
		break;
	}
}

/* IKEv1: who logs in how. */
static void put_users(FILE *f, const struct conn *c)
{
	static const char *const checks[][2] = {{"pam", "PAM checks it"},
	    {"generic", "It is compared with ipsec.secrets and the file of passwords"},
	    {"none", "Nobody checks it"}};

	if (c->local.xauth_server) {
		if (c->remote.xauth_user)
			fprintf(f, " Then the peer must log in as the user \"%s\" with his password.",
			    c->remote.xauth_user);
		else
			fputs(" Then the peer must log in with a user's name and password.", f);
		for (size_t i = 0; i < ARRAY_LEN(checks); i++)
			if (strcmp(checks[i][0], c->xauth_backend) == 0)
				fprintf(f, " %s", checks[i][1]);
		fputs(c->xauth_soft ? "; whoever is refused comes in all the same." : ".", f);
	}
	if (c->local.xauth_client && c->local.xauth_user)
		fprintf(f, " Then we log in as the user \"%s\".", c->local.xauth_user);
	else if (c->local.xauth_client)
		fputs(" Then we log in with our identity as the user's name.", f);
}

static void put_words(FILE *f, const char *before, const struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		fprintf(f, "%s%s", i ? ", " : before, l->s[i]);
}

static void put_addresses(FILE *f, const struct conn *c)
{
	char a[ADDR_STR_MAX];

	if (c->remote.pools.n) {
		fputs(" The peer gets an address from ", f);
		put_list(f, &c->remote.pools);
		for (size_t i = 0; i < c->remote.n_dns; i++)
			fprintf(f, "%s%s", i ? ", " : " and as DNS servers ", addr_str(&c->remote.dns[i], a));
		put_words(
		    f, c->remote.n_dns ? " for the domains " : " and the DNS domains ", &c->dns_domains);
		if (c->version == CONN_IKEV1)
			fputs(c->modecfg_pull ? " when it asks" : " without asking", f);
		fputc('.', f);
		if (c->modecfg_banner)
			fprintf(f, " It is greeted by \"%s\".", c->modecfg_banner);
		if (c->cisco_unity && c->modecfg_save_password)
			fputs(" It may keep the user's password.", f);
		if (c->cisco_unity && c->modecfg_backups.n) {
			fputs(" When we are away it may go to ", f);
			put_list(f, &c->modecfg_backups);
			fputc('.', f);
		}
	}
	if (c->local.request_vip4 || c->local.request_vip6)
		fprintf(f, " We ask the peer for an %s address.",
		    c->local.request_vip4 && c->local.request_vip6 ? "IPv4 and an IPv6"
		        : c->local.request_vip6                    ? "IPv6"
		                                                   : "IPv4");
}

static void put_own(FILE *f, const char *what, enum conn_own_id own)
{
	if (own != OWN_ID_NO)
		fprintf(f, " Each CHILD_SA has %s of its own%s.", what,
		    own == OWN_ID_DIRECTION ? ", one for each direction" : "");
}

static void put_device(FILE *f, const struct conn *c)
{
	if (c->device.kind == CY_DEVICE_VTI)
		fprintf(f, " Its packets go through the VTI device %s.", c->device.name);
	else if (c->device.kind == CY_DEVICE_XFRM)
		fprintf(f, " Its packets go through the XFRM interface %s.", c->device.name);
	put_own(f, "a mark", c->mark_out_own);
	put_own(f, "an if_id", c->if_id_out_own);
	if (c->per_cpu == PCPU_NO)
		return;
	fputs(" There may be a CHILD_SA for each CPU", f);
	if (c->clones)
		fprintf(f, ", %u at most", c->clones);
	fputs(c->per_cpu == PCPU_ENCAP ? ", in UDP from a port of its own." : ".", f);
}

static void put_life(FILE *f, const struct conn *c)
{
	static const char *const actions[] = {[DPD_NONE] = "",
	    [DPD_CLEAR] = "then it is closed",
	    [DPD_HOLD] = "then the next packet starts it again",
	    [DPD_RESTART] = "then it is started again"};

	fputs(" The IKE_SA lives ", f);
	put_seconds(f, c->ike_lifetime_s);
	fputs(", a CHILD_SA ", f);
	put_seconds(f, c->child_lifetime_s);
	if (c->rekey) {
		fputs("; both are renewed ", f);
		put_seconds(f, c->rekey_margin_s);
		fputs(" before the end.", f);
	} else
		fputs("; they are not renewed.", f);
	if (c->dpd_delay_s) {
		fputs(" A silent peer is checked every ", f);
		put_seconds(f, c->dpd_delay_s);
		fprintf(f, "; if it is gone, %s.", actions[c->dpd_action]);
	}
}

static void describe(FILE *f, const struct conn *c)
{
	static const char *const modes[] = {
	    [TYPE_TUNNEL] = "in tunnel mode", [TYPE_TRANSPORT] = "in transport mode"};

	if (c->type == TYPE_PASS || c->type == TYPE_DROP) {
		fprintf(f, "%s: traffic between ", c->name);
		put_ts(f, &c->local, "this host");
		fputs(" and ", f);
		put_ts(f, &c->remote, "the other side");
		fputs(c->type == TYPE_PASS ? " passes unprotected." : " is dropped.", f);
		return;
	}
	fprintf(f, "%s: %s between ", c->name,
	    c->version != CONN_IKEV1 ? "IKEv2"
	        : c->aggressive      ? "IKEv1 (aggressive mode)"
	                             : "IKEv1 (main mode)");
	put_host(f, &c->local.host, true);
	fputs(" here and ", f);
	put_host(f, &c->remote.host, false);
	fputs(" there. We are ", f);
	put_id(f, &c->local.auth[0],
	    c->local.auth[0].certs.n ? "whom our certificate names" : "known by our address");
	fputs(" and prove it by ", f);
	put_method(f, &c->local.auth[0]);
	fputs("; the peer may be ", f);
	put_id(f, &c->remote.auth[0], "anybody");
	fputs(" and proves it by ", f);
	put_method(f, &c->remote.auth[0]);
	if (c->remote.auth[0].ca.type != ID_ANY) {
		char id[IDENT_STR_MAX];

		fprintf(f, " from the CA \"%s\"", ident_str(&c->remote.auth[0].ca, id));
	}
	fputc('.', f);
	put_users(f, c);
	fputs(" Traffic between ", f);
	put_ts(f, &c->local,
	    c->local.request_vip4 || c->local.request_vip6 ? "the address we are given" : "our address");
	fputs(" and ", f);
	put_ts(f, &c->remote, c->remote.pools.n ? "the address it is given" : "the peer's address");
	fprintf(f, " is protected by %s %s%s.", c->child_ah ? "AH" : "ESP", modes[c->type],
	    c->local.ts_per_child || c->remote.ts_per_child ? "" : "");
	put_addresses(f, c);
	put_device(f, c);
	fputs(" Algorithms: ", f);
	put_proposals(f, "IKE", &c->ike, c->ike_strict);
	fputs("; ", f);
	put_proposals(f, c->child_ah ? "AH" : "ESP", &c->child, c->child_strict);
	fputc('.', f);
	put_life(f, c);
	fputc(' ', f);
	put_start(f, c);
}

char *conn_describe(const struct conn *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	describe(f, c);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static void print_problem(void *user, const struct conf_problem *p)
{
	fprintf(user, "%s", p->file);
	if (p->line)
		fprintf(user, ":%u", p->line);
	fprintf(user, ": %s: ",
	    p->level == CY_LOG_ERROR      ? "error"
	        : p->level == CY_LOG_WARN ? "warning"
	                                  : "notice");
	if (*p->conn)
		fprintf(user, "conn %s: ", p->conn);
	fprintf(user, "%s%s%s\n", p->text, *p->hint ? "; " : "", p->hint);
}

static void plural(FILE *out, const char *sep, size_t n, const char *what)
{
	fprintf(out, "%s%zu %s%s", sep, n, what, n == 1 ? "" : "s");
}

enum cy_err conf_check(const char *path, FILE *to, struct conf **out)
{
	enum cy_err err = conf_load(path, print_problem, to, out);
	const struct conf *c;

	if (err)
		return err;
	c = *out;
	for (size_t i = 0; i < c->n_conns; i++) {
		char *text = conn_describe(c->conns[i]);

		if (text)
			fprintf(to, "%s\n", text);
		free(text);
	}
	fprintf(to, "%s: %s's dialect, ", path,
	    c->setup.dialect == DIALECT_LIBRESWAN ? "libreswan" : "strongSwan");
	plural(to, "", c->n_conns, "connection");
	plural(to, ", ", c->n_errors, "error");
	plural(to, ", ", c->n_warnings, "warning");
	fputc('\n', to);
	return CY_OK;
}
