/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/conn.h"

#include <stdlib.h>

#include "libcore/base/err.h"
#include "libcore/conf/value.h"

/* Both daemons: rekey 9 minutes before the end, and up to as much earlier again. */
#define REKEY_MARGIN_S 540

enum cy_err conn_new(const char *name, enum conf_dialect dialect, struct conn **out)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return CY_E_NOMEM;
	c->refs = 1;
	c->name = strdup(name);
	if (!c->name) {
		free(c);
		return CY_E_NOMEM;
	}
	c->dialect = dialect;
	c->start = AUTO_ADD;
	c->type = TYPE_TUNNEL;
	c->rekey = c->install_policy = true;
	c->fragmentation = FRAG_YES;
	c->unique = UNIQUE_REPLACE;
	c->rekey_margin_s = REKEY_MARGIN_S;
	c->rekey_fuzz_pct = 100;
	c->replay_window = UINT32_MAX;
	c->authorize = true;
	c->local.host.any = c->remote.host.any = false;
	c->local.n_auth = c->remote.n_auth = 1;
	c->local.auth[0].method = c->remote.auth[0].method = AUTH_PUBKEY;
	c->local.ts_port_hi = c->remote.ts_port_hi = UINT16_MAX;
	if (dialect == DIALECT_LIBRESWAN) {
		c->version = CONN_IKEV2;
		c->ike_lifetime_s = c->child_lifetime_s = 8 * 3600;
		c->pfs = true;
		c->allow_esn = true;
		c->local.sendcert = c->remote.sendcert = SENDCERT_ALWAYS;
	} else {
		c->version = CONN_IKEV2; /* IKEv1 must be asked for: keyexchange=ike accepts both */
		c->ike_lifetime_s = 3 * 3600;
		c->child_lifetime_s = 3600;
		c->keyingtries = 3;
		c->dpd_delay_s = 30;
		c->reauth = true;
		c->mobike = true;
		c->modecfg_pull = true;
	}
	*out = c;
	return CY_OK;
}

bool conn_is_called(const struct conn *c, const char *name)
{
	return strcmp(c->name, name) == 0 || (c->alias && strcmp(c->alias, name) == 0);
}

struct conn *conn_ref(struct conn *c)
{
	__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

static void round_fini(struct conn_auth_round *a)
{
	ident_fini(&a->id);
	ident_fini(&a->ca);
	strs_fini(&a->certs);
	free(a->pubkey);
	free(a->eap_method);
}

static void end_fini(struct conn_end *e)
{
	strs_fini(&e->host.names);
	strs_fini(&e->host.dns);
	free(e->host.ranges);
	for (size_t i = 0; i < ARRAY_LEN(e->auth); i++)
		round_fini(&e->auth[i]);
	free(e->ts);
	free(e->virt_ts);
	strs_fini(&e->pools);
	free(e->request_addrs);
	free(e->dns);
	free(e->updown);
	free(e->xauth_user);
}

void conn_unref(struct conn *c)
{
	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
		return;
	end_fini(&c->local);
	end_fini(&c->remote);
	proposal_list_fini(&c->ike);
	proposal_list_fini(&c->child);
	strs_fini(&c->dns_domains);
	strs_fini(&c->modecfg_backups);
	free(c->xauth_backend);
	free(c->modecfg_banner);
	free(c->name);
	free(c->alias);
	free(c->file);
	free(c);
}

void conn_swap_ends(struct conn *c)
{
	struct conn_end local = c->local;

	c->local = c->remote;
	c->remote = local;
	conn_seal(c);
}

/* ---- the digest: to notice a change, not to resist somebody who looks for collisions */

struct mix {
	uint64_t a, b;
};

static void mix_u64(struct mix *m, uint64_t v)
{
	m->a = (m->a ^ v) * 0x9e3779b97f4a7c15u;
	m->a ^= m->a >> 29;
	m->b = (m->b + v) * 0xc2b2ae3d27d4eb4fu;
	m->b ^= m->b >> 31;
}

static void mix_bytes(struct mix *m, const void *p, size_t n)
{
	const unsigned char *at = p;

	mix_u64(m, n);
	while (n) {
		uint64_t v = 0;
		size_t k = n < 8 ? n : 8;

		memcpy(&v, at, k);
		mix_u64(m, v);
		at += k;
		n -= k;
	}
}

static void mix_str(struct mix *m, const char *s)
{
	mix_u64(m, s != NULL);
	if (s)
		mix_bytes(m, s, strlen(s));
}

static void mix_strs(struct mix *m, const struct str_list *l)
{
	mix_u64(m, l->n);
	for (size_t i = 0; i < l->n; i++)
		mix_str(m, l->s[i]);
}

static void mix_addr(struct mix *m, const struct cy_addr *a)
{
	mix_u64(m, (uint64_t)a->family << 48 | (uint64_t)a->port << 32 | a->scope);
	mix_bytes(m, a->ip, sizeof(a->ip));
}

static void mix_ident(struct mix *m, const struct ident *id)
{
	mix_u64(m, id->type);
	mix_bytes(m, id->p, id->n);
}

static void mix_host(struct mix *m, const struct host_spec *h)
{
	mix_strs(m, &h->names);
	mix_strs(m, &h->dns);
	mix_u64(m, h->n_ranges);
	for (size_t i = 0; i < h->n_ranges; i++) {
		mix_addr(m, &h->ranges[i].lo);
		mix_addr(m, &h->ranges[i].hi);
	}
	mix_u64(
	    m, (uint64_t)h->port << 3 | (uint64_t)h->any << 2 | (uint64_t)h->any_ip6 << 1 | h->defaultroute);
}

static void mix_round(struct mix *m, const struct conn_auth_round *a)
{
	mix_u64(m, (uint64_t)a->method << 32 | a->key_types);
	mix_u64(m, a->hashes);
	mix_ident(m, &a->id);
	mix_ident(m, &a->ca);
	mix_strs(m, &a->certs);
	mix_str(m, a->pubkey);
	mix_str(m, a->eap_method);
}

static void mix_ts(struct mix *m, const struct cy_ts *ts, size_t n)
{
	mix_u64(m, n);
	for (; n; n--, ts++) {
		mix_u64(m,
		    (uint64_t)ts->family_ip6 << 40 | (uint64_t)ts->proto << 32 | (uint64_t)ts->port_lo << 16 |
		        ts->port_hi);
		mix_bytes(m, ts->lo, sizeof(ts->lo));
		mix_bytes(m, ts->hi, sizeof(ts->hi));
	}
}

static void mix_end(struct mix *m, const struct conn_end *e)
{
	mix_host(m, &e->host);
	mix_u64(m, e->n_auth);
	for (size_t i = 0; i < e->n_auth && i < ARRAY_LEN(e->auth); i++)
		mix_round(m, &e->auth[i]);
	mix_ts(m, e->ts, e->n_ts);
	mix_u64(m,
	    (uint64_t)e->sendcert << 8 | (uint64_t)e->ts_dynamic << 7 | (uint64_t)e->ts_per_child << 6 |
	        (uint64_t)e->request_vip4 << 5 | (uint64_t)e->request_vip6 << 4 |
	        (uint64_t)e->ignore_dns << 3 | (uint64_t)e->hostaccess << 2 | (uint64_t)e->firewall << 1 |
	        (uint64_t)e->xauth_server << 16 | (uint64_t)e->xauth_client << 17 |
	        (uint64_t)e->modecfg_server << 18 | (uint64_t)e->modecfg_client << 19);
	mix_u64(m, (uint64_t)e->virt << 1 | e->virt_self);
	mix_ts(m, e->virt_ts, e->n_virt_ts);
	mix_u64(m, (uint64_t)e->ts_proto << 32 | (uint64_t)e->ts_port_lo << 16 | e->ts_port_hi);
	mix_strs(m, &e->pools);
	mix_u64(m, e->n_request_addrs);
	for (size_t i = 0; i < e->n_request_addrs; i++)
		mix_addr(m, &e->request_addrs[i]);
	mix_addr(m, &e->source_ip);
	mix_u64(m, e->n_dns);
	for (size_t i = 0; i < e->n_dns; i++)
		mix_addr(m, &e->dns[i]);
	mix_str(m, e->updown);
	mix_str(m, e->xauth_user);
	mix_addr(m, &e->device_addr);
	mix_u64(m, e->device_prefix);
}

static void mix_proposals(struct mix *m, const struct proposal_list *l)
{
	mix_u64(m, l->n);
	for (size_t i = 0; i < l->n; i++) {
		const struct proposal *p = &l->p[i];

		mix_u64(m, (uint64_t)p->proto << 16 | (uint64_t)p->number << 8 | p->n);
		for (size_t j = 0; j < p->n && j < PROPOSAL_MAX_TRANSFORMS; j++)
			mix_u64(
			    m, (uint64_t)p->t[j].type << 32 | (uint64_t)p->t[j].id << 16 | p->t[j].key_bits);
	}
}

void conn_seal(struct conn *c)
{
	struct mix m = {0x6379676e65743031u, 0x636f6e6e2d736561u};

	mix_str(&m, c->name);
	mix_end(&m, &c->local);
	mix_end(&m, &c->remote);
	mix_proposals(&m, &c->ike);
	mix_proposals(&m, &c->child);
	mix_str(&m, c->xauth_backend);
	mix_str(&m, c->modecfg_banner);
	mix_strs(&m, &c->dns_domains);
	mix_strs(&m, &c->modecfg_backups);
	const uint64_t scalars[] = {c->dialect, c->version, c->start, c->type, c->ike_strict, c->child_strict,
	    c->child_ah, c->aggressive, c->mobike, c->compress, c->rekey, c->reauth, c->pfs, c->force_encap,
	    c->install_policy, c->sha256_96, c->allow_esn, c->require_esn, c->fragmentation, c->unique,
	    c->dpd_action, c->close_action, c->dpd_delay_s, c->dpd_timeout_s, c->dpd_unsaid,
	    c->ike_lifetime_s, c->child_lifetime_s, c->rekey_margin_s, c->rekey_fuzz_pct, c->life_bytes,
	    c->life_packets, c->margin_bytes, c->margin_packets, c->keyingtries, c->retransmit_tries,
	    c->retransmit_timeout_ms, c->inactivity_s, c->reqid, c->replay_window, c->tfc, c->mark_in.value,
	    c->mark_in.mask, c->mark_out.value, c->mark_out.mask, c->mark_in_own, c->mark_out_own,
	    c->if_id_in_own, c->if_id_out_own, c->if_id_in, c->if_id_out, c->device.kind, c->device.shared,
	    c->device.routing, c->device.managed, c->per_cpu, c->clones, c->ike_dscp, c->copy_dscp, c->no_ecn,
	    c->no_pmtu_disc, c->priority, c->mtu, c->metric, c->xauth_soft, c->modecfg_pull, c->cisco_unity,
	    c->modecfg_save_password, c->authorize};
	mix_str(&m, c->device.name);
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
		mix_u64(&m, scalars[i]);
	c->digest[0] = m.a;
	c->digest[1] = m.b;
}
