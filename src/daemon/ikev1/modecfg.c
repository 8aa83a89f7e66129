/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mode Config, pulled by the client or pushed by the server (draft-ietf-ipsec-isakmp-mode-cfg, 3.1): addresses, name servers, and
 * what Cisco's Unity clients add to it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/lease.h"
#include "libcore/base/addr.h"

#define ATTRS_MAX     64
#define UNITY_NET_LEN 14 /* address, mask, protocol, two ports of two bytes */

struct attr_list {
	struct arena *arena;
	struct v1_attr a[ATTRS_MAX];
	size_t n;
	bool bad;
};

static void put(struct attr_list *l, uint16_t type, const void *p, size_t n)
{
	uint8_t *copy = n ? arena_dup(l->arena, p, n) : NULL;

	if (l->n == ATTRS_MAX || (n && !copy)) {
		l->bad = true;
		return;
	}
	l->a[l->n++] = (struct v1_attr){type, false, cy_slice(copy, n)};
}

/* A value of two bytes in the place of a length (RFC 2408, 3.3). */
static void put_short(struct attr_list *l, uint16_t type, uint8_t value)
{
	put(l, type, (uint8_t[]){0, value}, 2);
	if (!l->bad)
		l->a[l->n - 1].tv = true;
}

static void put_addr(struct attr_list *l, uint16_t type4, uint16_t type6, const struct cy_addr *a)
{
	if (a->family == AF_INET)
		put(l, type4, a->ip, 4);
	else
		put(l, type6, a->ip, 16);
}

/* --- client -------------------------------------------------------------------------------------------------------------- */

/* False: there is nothing to ask for. */
bool v1_config_wanted(const struct ike_sa *sa)
{
	const struct conn_end *l = &sa->conn->local;

	return sa->initiator &&
	    (l->request_vip4 || l->request_vip6 || l->n_request_addrs || l->modecfg_client);
}

void v1_config_pull(struct ike_sa *sa)
{
	static const uint16_t unity[] = {V1A_UNITY_BANNER, V1A_UNITY_DEF_DOMAIN, V1A_UNITY_SPLIT_INCLUDE,
	    V1A_UNITY_PFS, V1A_UNITY_SAVE_PASSWD, V1A_UNITY_BACKUP_SERVERS};
	const struct conn_end *l = &sa->conn->local;
	struct v1_exchange *x = v1_transaction_new(sa, V1_TX_CONFIG_PULL);
	struct attr_list at = {.arena = &sa->step->a};

	for (size_t i = 0; i < l->n_request_addrs; i++)
		put_addr(&at, V1A_INTERNAL_IP4_ADDRESS, V1A_INTERNAL_IP6_ADDRESS, &l->request_addrs[i]);
	if (l->request_vip4 || (!l->n_request_addrs && !l->request_vip6)) {
		put(&at, V1A_INTERNAL_IP4_ADDRESS, NULL, 0);
		put(&at, V1A_INTERNAL_IP4_NETMASK, NULL, 0);
		if (!l->ignore_dns)
			put(&at, V1A_INTERNAL_IP4_DNS, NULL, 0);
	}
	if (l->request_vip6) {
		put(&at, V1A_INTERNAL_IP6_ADDRESS, NULL, 0);
		if (!l->ignore_dns)
			put(&at, V1A_INTERNAL_IP6_DNS, NULL, 0);
	}
	for (size_t i = 0; sa->conn->cisco_unity && i < sizeof(unity) / sizeof(unity[0]); i++)
		put(&at, unity[i], NULL, 0);
	if (!x || at.bad ||
	    !v1_transaction_send(
	        sa, x, CFG_REQUEST, (uint16_t)env_rand64(sa->shard->d->env), at.a, at.n, true)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	step_end(sa);
}

static bool take_addr(struct ike_sa *sa, const struct v1_attr *a)
{
	bool v6 = a->type == V1A_INTERNAL_IP6_ADDRESS || a->type == V1A_INTERNAL_IP6_DNS;
	bool dns = a->type == V1A_INTERNAL_IP4_DNS || a->type == V1A_INTERNAL_IP6_DNS;
	struct cy_addr addr = {.family = v6 ? AF_INET6 : AF_INET};
	char text[ADDR_STR_MAX];

	if (a->data.n < (v6 ? 16u : 4u) || (dns ? sa->n_dns : sa->n_vips) >= 16)
		return true;
	memcpy(addr.ip, a->data.p, v6 ? 16 : 4);
	if (addr_is_any(&addr))
		return true;
	if (dns)
		return sa->conn->local.ignore_dns || ike_addr_add(&sa->dns, &sa->n_dns, &addr);
	for (uint32_t i = 0; i < sa->n_vips; i++)
		if (cy_addr_ip_eq(&sa->vips[i], &addr))
			return true; /* the one we have already */
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "virtual address %s is ours", addr_str(&addr, text));
	return ike_addr_add(&sa->vips, &sa->n_vips, &addr);
}

static void take_split(struct ike_sa *sa, struct cy_slice nets)
{
	struct v1 *v = v1_of(sa);

	for (size_t at = 0; at + 8 <= nets.n && v->n_split < V1_SPLIT_MAX; at += UNITY_NET_LEN) {
		struct cy_ts *ts = &v->split[v->n_split++];

		*ts = ts_any(false);
		for (int i = 0; i < 4; i++) {
			ts->lo[i] = nets.p[at + i] & nets.p[at + 4 + i];
			ts->hi[i] = (uint8_t)(ts->lo[i] | (uint8_t)~nets.p[at + 4 + i]);
		}
	}
}

static void say(struct ike_sa *sa, const char *what, struct cy_slice text)
{
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "%s: %.*s", what, text.n > 500 ? 500 : (int)text.n,
	    (const char *)text.p);
}

/* Text: addresses or names. No document says what is between them: whatever is in no name. False: no memory. */
static bool take_backups(struct ike_sa *sa, struct cy_slice text)
{
	char *list = malloc(text.n + 1);
	size_t n = 0;

	if (!list)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
		    c == '-' || c == '_' || c == ':')
			list[n++] = (char)c;
		else if (n && list[n - 1] != ',')
			list[n++] = ',';
	}
	if (n && list[n - 1] == ',')
		n--;
	list[n] = '\0';
	free(sa->backups);
	sa->backups = list;
	if (n)
		say(sa, "backup servers of the peer", cy_slice_str(list));
	return true;
}

static bool is_set(struct cy_slice value)
{
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i])
			return true;
	return false;
}

/* False: no memory. */
static bool take(struct ike_sa *sa, const struct v1_config *c)
{
	bool unity = sa->conn->cisco_unity;

	for (size_t i = 0; i < c->n; i++) {
		const struct v1_attr *a = &c->attrs[i];

		switch (a->type) {
		case V1A_INTERNAL_IP4_ADDRESS:
		case V1A_INTERNAL_IP6_ADDRESS:
		case V1A_INTERNAL_IP4_DNS:
		case V1A_INTERNAL_IP6_DNS:
			if (!take_addr(sa, a))
				return false;
			break;
		case V1A_UNITY_BANNER:
			say(sa, "banner of the peer", a->data);
			break;
		case V1A_UNITY_DEF_DOMAIN:
			say(sa, "domain of the peer", a->data);
			break;
		case V1A_UNITY_BACKUP_SERVERS:
			if (unity && !take_backups(sa, a->data))
				return false;
			break;
		case V1A_UNITY_SAVE_PASSWD:
			if (unity) {
				sa->save_password_said = a->data.n != 0;
				sa->save_password = is_set(a->data);
			}
			break;
		case V1A_UNITY_PFS:
			v1_of(sa)->unity_pfs = unity && is_set(a->data);
			break;
		case V1A_UNITY_SPLIT_INCLUDE:
			if (unity)
				take_split(sa, a->data);
			break;
		}
	}
	return ike_install_vips(sa);
}

void v1_config_taken(struct ike_sa *sa, const struct v1_config *c)
{
	if (!take(sa, c)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v1_ready(sa);
}

/* The answer to a push names what was taken, without values (3.1). */
void v1_config_pushed(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c)
{
	struct v1_attr *attrs = arena_alloc(&sa->step->a, (c->n + 1) * sizeof(*attrs));

	if (!attrs || (sa->initiator && !take(sa, c))) {
		v1_fatal(sa, "out of memory");
		return;
	}
	for (size_t i = 0; i < c->n; i++)
		attrs[i] = (struct v1_attr){c->attrs[i].type, false, cy_slice(NULL, 0)};
	if (!v1_transaction_send(sa, x, CFG_ACK, c->id, attrs, c->n, false)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v1_exchange_finish(x);
	v1_ready(sa);
}

/* --- server -------------------------------------------------------------------------------------------------------------- */

static bool lease(struct ike_sa *sa, int family, const struct cy_addr *wanted, bool *oom)
{
	struct cy_addr got;
	enum cy_err e;

	for (uint32_t i = 0; i < sa->n_leases; i++)
		if (sa->leases[i].addr.family == family)
			return true; /* asked again */
	e = ike_lease(sa, family, wanted, &got);
	*oom = *oom || e == CY_E_NOMEM;
	return !e;
}

static void put_subnets(struct ike_sa *sa, struct attr_list *at, uint16_t type)
{
	const struct conn_end *l = &sa->conn->local;
	uint8_t nets[16 * UNITY_NET_LEN] = {0};
	size_t n = 0;

	for (size_t i = 0; i < l->n_ts && n < 16; i++) {
		bool exact;
		uint8_t bits = ts_prefix(&l->ts[i], &exact);
		uint32_t mask = bits ? UINT32_MAX << (32 - (bits > 32 ? 32 : bits)) : 0;

		if (l->ts[i].family_ip6 || !exact || !bits)
			continue;
		memcpy(nets + n * UNITY_NET_LEN, l->ts[i].lo, 4);
		for (int b = 0; b < 4; b++)
			nets[n * UNITY_NET_LEN + 4 + (size_t)b] = (uint8_t)(mask >> (24 - 8 * b));
		n++;
	}
	if (n)
		put(at, type, nets, n * UNITY_NET_LEN);
}

static void put_backups(struct attr_list *at, const struct str_list *servers)
{
	char text[16 * 257];
	size_t n = 0;

	for (size_t i = 0; i < servers->n && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? "," : "", servers->s[i]);
	if (n)
		put(at, V1A_UNITY_BACKUP_SERVERS, text, n < sizeof(text) ? n : sizeof(text) - 1);
}

static void put_unity(struct ike_sa *sa, struct attr_list *at)
{
	const struct conn *c = sa->conn;

	if (c->modecfg_banner)
		put(at, V1A_UNITY_BANNER, c->modecfg_banner, strlen(c->modecfg_banner));
	if (c->dns_domains.n)
		put(at, V1A_UNITY_DEF_DOMAIN, c->dns_domains.s[0], strlen(c->dns_domains.s[0]));
	if (!c->cisco_unity)
		return;
	put_subnets(sa, at, V1A_UNITY_SPLIT_INCLUDE);
	put_short(at, V1A_UNITY_PFS, c->pfs);
	if (c->modecfg_save_password)
		put_short(at, V1A_UNITY_SAVE_PASSWD, 1);
	put_backups(at, &c->modecfg_backups);
}

/* What the client gets; asked NULL: a push. */
static bool collect(struct ike_sa *sa, const struct v1_config *asked, struct attr_list *at, bool *out_oom)
{
	const struct conn_end *r = &sa->conn->remote;
	uint64_t before = unique_session(sa->shard->m, sa);
	bool want4 = !asked, want6 = false;
	struct cy_addr wanted4 = addr_any(AF_INET), wanted6 = addr_any(AF_INET6);

	for (size_t i = 0; asked && i < asked->n; i++) {
		const struct v1_attr *a = &asked->attrs[i];

		if (a->type == V1A_INTERNAL_IP4_ADDRESS) {
			want4 = true;
			if (a->data.n == 4)
				memcpy(wanted4.ip, a->data.p, 4);
		} else if (a->type == V1A_INTERNAL_IP6_ADDRESS) {
			want6 = true;
			if (a->data.n >= 16)
				memcpy(wanted6.ip, a->data.p, 16);
		}
	}
	/* an IKE_SA that it leaves behind; not one that it has beside this */
	if (before && before != sa->id && !sa->n_leases)
		leases_transfer(sa->shard->d->leases, before, sa->id);
	if (want4)
		want4 = lease(sa, AF_INET, &wanted4, out_oom);
	if (want6 && !*out_oom)
		want6 = lease(sa, AF_INET6, &wanted6, out_oom);
	for (uint32_t i = 0; i < sa->n_leases; i++)
		put_addr(at, V1A_INTERNAL_IP4_ADDRESS, V1A_INTERNAL_IP6_ADDRESS, &sa->leases[i].addr);
	for (size_t i = 0; i < r->n_dns; i++)
		if (r->dns[i].family == AF_INET ? want4 : want6)
			put_addr(at, V1A_INTERNAL_IP4_DNS, V1A_INTERNAL_IP6_DNS, &r->dns[i]);
	put_unity(sa, at);
	return sa->n_leases != 0;
}

void v1_config_asked(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c)
{
	struct attr_list at = {.arena = &sa->step->a};
	bool oom = false;

	if (!collect(sa, c, &at, &oom))
		ike_note(sa, LOG_IKE, CY_LOG_WARN, "no virtual address is free in the connection's pools");
	if (oom || at.bad || !v1_transaction_send(sa, x, CFG_REPLY, c->id, at.a, at.n, false)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v1_exchange_finish(x);
	step_end(sa);
}

/* False: nothing is to be pushed, and the step goes on. */
bool v1_config_push(struct ike_sa *sa)
{
	struct attr_list at = {.arena = &sa->step->a};
	struct v1_exchange *x;
	bool oom = false;

	if (sa->initiator || sa->conn->modecfg_pull || !sa->conn->remote.pools.n ||
	    !sa->conn->local.modecfg_server)
		return false;
	if (!collect(sa, NULL, &at, &oom) && !oom) {
		ike_note(sa, LOG_IKE, CY_LOG_WARN, "no virtual address is free in the connection's pools");
		return false;
	}
	x = v1_transaction_new(sa, V1_TX_CONFIG_PUSH);
	if (oom || at.bad || !x ||
	    !v1_transaction_send(sa, x, CFG_SET, (uint16_t)env_rand64(sa->shard->d->env), at.a, at.n, true)) {
		v1_fatal(sa, "out of memory");
		return true;
	}
	step_end(sa);
	return true;
}
