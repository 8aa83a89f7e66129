/* SPDX-License-Identifier: Apache-2.0 */

#include "routes.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <stdlib.h>

/* In the protocol field of our routes, so that leftovers are told from other people's. */
#define OUR_PROTOCOL 207
#define BUCKETS      1024

/* One prefix in our table; several policies may want it. */
struct route {
	struct route *next;
	bool ip6, throws;
	struct prefix prefix;
	struct cy_addr src; /* preferred source, family 0: none */
	uint32_t refs;
};

struct vip {
	struct vip *next;
	struct cy_addr addr;
	uint8_t prefix;
};

struct routes {
	struct kernel *k;
	bool rules; /* are in place */
	struct route *bucket[BUCKETS];
	struct vip *vips;
};

enum cy_err routes_new(struct kernel *k, struct routes **out)
{
	struct routes *r = calloc(1, sizeof(*r));

	if (!r)
		return CY_E_NOMEM;
	r->k = k;
	*out = r;
	return CY_OK;
}

/* ---- rules */

static int change_rule(struct routes *r, int family, bool add)
{
	struct rtnl_msg m;
	struct fib_rule_hdr *h =
	    rtnl_begin(&m, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof(*h));

	h->family = (uint8_t)family;
	h->action = FR_ACT_TO_TBL;
	h->flags = FIB_RULE_INVERT;
	rtnl_put_u32(&m, FRA_PRIORITY, r->k->cfg.rule_priority);
	rtnl_put_u32(&m, FRA_FWMARK, r->k->cfg.mark);
	rtnl_put_u32(&m, FRA_TABLE, r->k->cfg.table);
	return rtnl_ack(r->k->rtnl, &m);
}

static void delete_rules(struct routes *r)
{
	for (int i = 0; i < 2; i++)
		while (change_rule(r, i ? AF_INET6 : AF_INET, false) == 0)
			;
}

/* ---- routes that a crash left: those of the device went with it */

struct leftovers {
	struct routes *r;
	struct rtnl_msg m[64];
	size_t n;
};

static void collect_route(void *user, const struct nlmsghdr *nlh)
{
	struct leftovers *l = user;
	const struct rtmsg *rt = NLMSG_DATA(nlh);
	const struct rtattr *a[RTA_MAX + 1];
	struct rtmsg *h;
	uint32_t table;

	if (nlh->nlmsg_type != RTM_NEWROUTE || rt->rtm_protocol != OUR_PROTOCOL)
		return;
	rtnl_attrs(nlh, sizeof(*rt), a, RTA_MAX);
	table = a[RTA_TABLE] ? rtnl_u32(a[RTA_TABLE]) : rt->rtm_table;
	if (table != l->r->k->cfg.table || l->n == sizeof(l->m) / sizeof(l->m[0]))
		return;
	h = rtnl_begin(&l->m[l->n], RTM_DELROUTE, 0, sizeof(*h));
	h->rtm_family = rt->rtm_family;
	h->rtm_dst_len = rt->rtm_dst_len;
	h->rtm_type = rt->rtm_type;
	h->rtm_protocol = OUR_PROTOCOL;
	rtnl_put_u32(&l->m[l->n], RTA_TABLE, table);
	if (a[RTA_DST])
		rtnl_put(&l->m[l->n], RTA_DST, RTA_DATA(a[RTA_DST]), RTA_PAYLOAD(a[RTA_DST]));
	l->n++;
}

static void delete_leftover_routes(struct routes *r)
{
	struct leftovers *l = calloc(1, sizeof(*l));
	size_t deleted;

	if (!l)
		return;
	l->r = r;
	do {
		struct rtnl_msg m;
		struct rtmsg *h = rtnl_begin(&m, RTM_GETROUTE, NLM_F_DUMP, sizeof(*h));

		deleted = 0;
		l->n = 0;
		if (rtnl_query(r->k->rtnl, &m, collect_route, l) < 0)
			break;
		for (size_t i = 0; i < l->n; i++)
			deleted += rtnl_ack(r->k->rtnl, &l->m[i]) == 0;
	} while (deleted);
	free(l);
}

/* ---- the device */

/* No IPv6 address of its own making: nobody answers on the other side. */
static void quiet_ip6(struct routes *r)
{
	struct rtnl_msg m;
	struct ifinfomsg *h = rtnl_begin(&m, RTM_SETLINK, 0, sizeof(*h));
	uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	struct rtattr *spec, *inet6;

	h->ifi_index = (int)r->k->ifindex;
	spec = rtnl_nest(&m, IFLA_AF_SPEC);
	inet6 = rtnl_nest(&m, AF_INET6);
	rtnl_put(&m, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	rtnl_nest_end(&m, inet6);
	rtnl_nest_end(&m, spec);
	/* without IPv6 there is nothing to quieten */
	(void)rtnl_ack(r->k->rtnl, &m);
}

static int bring_up(struct routes *r)
{
	struct rtnl_msg m;
	struct ifinfomsg *h = rtnl_begin(&m, RTM_NEWLINK, 0, sizeof(*h));

	h->ifi_index = (int)r->k->ifindex;
	h->ifi_flags = h->ifi_change = IFF_UP;
	rtnl_put_u32(&m, IFLA_MTU, r->k->cfg.mtu);
	return rtnl_ack(r->k->rtnl, &m);
}

enum cy_err routes_open(struct routes *r)
{
	struct kernel *k = r->k;
	int e;

	quiet_ip6(r);
	e = bring_up(r);
	if (e < 0) {
		LOG(k, CY_LOG_ERROR, "cannot bring up %s: %s", k->ifname, strerror(-e));
		return CY_E_IO;
	}
	if (!k->cfg.install_routes)
		return CY_OK;
	delete_rules(r);
	delete_leftover_routes(r);
	for (int i = 0; i < 2; i++) {
		e = change_rule(r, i ? AF_INET6 : AF_INET, true);
		if (e == -EAFNOSUPPORT && i)
			continue;
		if (e < 0) {
			LOG(k, CY_LOG_ERROR, "cannot add the rule for routing table %u: %s", k->cfg.table,
			    strerror(-e));
			delete_rules(r);
			return CY_E_IO;
		}
	}
	r->rules = true;
	return CY_OK;
}

/* ---- routes of policies */

static struct route **find_route(struct routes *r, bool ip6, const struct prefix *p)
{
	uint64_t h = hash_mix(r->k->hash_key, ip6, p->len), word[2];
	struct route **at;

	memcpy(word, p->ip, sizeof(word));
	h = hash_mix(r->k->hash_key, hash_mix(r->k->hash_key, h, word[0]), word[1]);
	at = &r->bucket[h % BUCKETS];
	while (*at && ((*at)->ip6 != ip6 || memcmp(&(*at)->prefix, p, sizeof(*p)) != 0))
		at = &(*at)->next;
	return at;
}

static int change_route(struct routes *r, const struct route *t, bool add)
{
	struct kernel *k = r->k;
	struct rtnl_msg m;
	struct rtmsg *h = rtnl_begin(
	    &m, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*h));

	h->rtm_family = t->ip6 ? AF_INET6 : AF_INET;
	h->rtm_dst_len = t->prefix.len;
	h->rtm_table = k->cfg.table < 256 ? (uint8_t)k->cfg.table : RT_TABLE_UNSPEC;
	h->rtm_protocol = OUR_PROTOCOL;
	h->rtm_type = t->throws ? RTN_THROW : RTN_UNICAST;
	h->rtm_scope = t->throws || t->ip6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	rtnl_put_u32(&m, RTA_TABLE, k->cfg.table);
	rtnl_put(&m, RTA_DST, t->prefix.ip, t->ip6 ? 16 : 4);
	if (!t->throws) {
		rtnl_put_u32(&m, RTA_OIF, k->ifindex);
		if (t->src.family)
			rtnl_put(&m, RTA_PREFSRC, t->src.ip, cy_addr_len(&t->src));
	}
	return rtnl_ack(k->rtnl, &m);
}

struct local_in {
	const struct cy_ts *ts;
	struct cy_addr found;
	uint32_t index; /* not of this device... */
	bool on_device; /* ...unless there is no other */
};

static void find_local(void *user, const struct nlmsghdr *nlh)
{
	struct local_in *l = user;
	const struct ifaddrmsg *h = NLMSG_DATA(nlh);
	const struct rtattr *a[IFA_MAX + 1], *ip;
	size_t n = l->ts->family_ip6 ? 16 : 4;

	if (nlh->nlmsg_type != RTM_NEWADDR || h->ifa_family != (l->ts->family_ip6 ? AF_INET6 : AF_INET) ||
	    h->ifa_scope == RT_SCOPE_LINK)
		return;
	rtnl_attrs(nlh, sizeof(*h), a, IFA_MAX);
	ip = a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS];
	if (!ip || RTA_PAYLOAD(ip) < n || memcmp(RTA_DATA(ip), l->ts->lo, n) < 0 ||
	    memcmp(RTA_DATA(ip), l->ts->hi, n) > 0)
		return;
	/* a virtual address was given for this very purpose */
	if (l->found.family && (h->ifa_index != l->index || l->on_device))
		return;
	l->on_device = h->ifa_index == l->index;
	l->found.family = h->ifa_family;
	memcpy(l->found.ip, RTA_DATA(ip), n);
}

/* An address of this host that the policy protects: without it the host's own packets would not match. */
static struct cy_addr source_within(struct routes *r, const struct cy_ts *ts)
{
	struct local_in l = {.ts = ts, .index = r->k->ifindex};
	struct rtnl_msg m;
	struct ifaddrmsg *h = rtnl_begin(&m, RTM_GETADDR, NLM_F_DUMP, sizeof(*h));

	h->ifa_family = ts->family_ip6 ? AF_INET6 : AF_INET;
	rtnl_query(r->k->rtnl, &m, find_local, &l);
	return l.found;
}

static void log_route(struct routes *r, const struct route *t, int e)
{
	LOG(r->k, CY_LOG_ERROR, "cannot add an IPv%d route with prefix length %u to table %u: %s",
	    t->ip6 ? 6 : 4, t->prefix.len, r->k->cfg.table, strerror(-e));
}

static void add_one(
    struct routes *r, bool ip6, const struct prefix *prefix, bool throws, const struct cy_addr *src)
{
	struct route **at = find_route(r, ip6, prefix), *t = *at;
	int e;

	if (t) {
		bool other_src = src->family && !cy_addr_ip_eq(src, &t->src);

		t->refs++;
		/* protecting beats passing, and the newest source the one before */
		if (throws || (!t->throws && !other_src))
			return;
		t->throws = false;
		if (other_src)
			t->src = *src;
	} else {
		t = calloc(1, sizeof(*t));
		if (!t)
			return;
		t->ip6 = ip6;
		t->throws = throws;
		t->prefix = *prefix;
		t->src = *src;
		t->refs = 1;
		*at = t;
	}
	e = change_route(r, t, true);
	if (e == -EINVAL && t->src.family) {
		/* not an address of ours (any more) */
		t->src.family = 0;
		e = change_route(r, t, true);
	}
	if (e < 0)
		log_route(r, t, e);
}

static bool wants_route(const struct routes *r, const struct policy *p)
{
	bool whole = p->dst.proto == 0 && p->dst.port_lo == 0 && p->dst.port_hi == 65535 &&
	    p->src.proto == 0 && p->src.port_lo == 0 && p->src.port_hi == 65535;

	/* A route cannot tell protocols: what is not meant to be blocked or passed must not follow it. */
	return r->rules && p->routed && (p->action == CY_POLICY_PROTECT || whole);
}

void routes_add(struct routes *r, const struct policy *p)
{
	struct cy_addr src = p->route_src;
	struct prefix prefix[PREFIXES_MAX];
	size_t n;

	if (!wants_route(r, p))
		return;
	if (src.family == 0 && p->action == CY_POLICY_PROTECT)
		src = source_within(r, &p->src);
	n = prefixes_of(&p->dst, prefix);
	for (size_t i = 0; i < n; i++)
		add_one(r, p->dst.family_ip6, &prefix[i], p->action == CY_POLICY_PASS, &src);
}

static void drop_route(struct routes *r, struct route **at)
{
	struct route *t = *at;

	change_route(r, t, false);
	*at = t->next;
	free(t);
}

void routes_del(struct routes *r, const struct policy *p)
{
	struct prefix prefix[PREFIXES_MAX];
	size_t n;

	if (!wants_route(r, p))
		return;
	n = prefixes_of(&p->dst, prefix);
	for (size_t i = 0; i < n; i++) {
		struct route **at = find_route(r, p->dst.family_ip6, &prefix[i]);

		if (*at && --(*at)->refs == 0)
			drop_route(r, at);
	}
}

void routes_flush(struct routes *r)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (r->bucket[i])
			drop_route(r, &r->bucket[i]);
	while (r->vips)
		(void)!routes_addr_set(r, &r->vips->addr, r->vips->prefix, false);
}

void routes_close(struct routes *r)
{
	if (!r)
		return;
	routes_flush(r);
	if (r->rules)
		delete_rules(r);
	r->rules = false;
}

void routes_free(struct routes *r)
{
	free(r);
}

/* ---- addresses */

/* With the address, the kernel has removed the routes that prefer it. */
static void forget_source(struct routes *r, const struct cy_addr *addr)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct route *t = r->bucket[i]; t; t = t->next) {
			int e;

			if (!t->src.family || !cy_addr_ip_eq(&t->src, addr))
				continue;
			t->src.family = 0;
			e = change_route(r, t, true);
			if (e < 0)
				log_route(r, t, e);
		}
}

enum cy_err routes_addr_set(struct routes *r, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	struct vip **at = &r->vips, *v;
	struct rtnl_msg m;
	struct ifaddrmsg *h;
	int e;

	if (cy_addr_len(addr) == 0 || prefix > cy_addr_len(addr) * 8)
		return CY_E_INVAL;
	while (*at && !cy_addr_ip_eq(&(*at)->addr, addr))
		at = &(*at)->next;
	if (on == !!*at)
		return on ? CY_E_EXISTS : CY_E_NOTFOUND;
	h = rtnl_begin(&m, on ? RTM_NEWADDR : RTM_DELADDR, on ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*h));
	h->ifa_family = (uint8_t)addr->family;
	h->ifa_prefixlen = on ? prefix : (*at)->prefix;
	h->ifa_index = r->k->ifindex;
	if (addr->family == AF_INET6)
		h->ifa_flags = IFA_F_NODAD;
	rtnl_put(&m, IFA_LOCAL, addr->ip, cy_addr_len(addr));
	rtnl_put(&m, IFA_ADDRESS, addr->ip, cy_addr_len(addr));
	if (!on) {
		v = *at;
		*at = v->next;
		free(v);
		e = rtnl_ack(r->k->rtnl, &m);
		forget_source(r, addr);
		return e == 0 || e == -EADDRNOTAVAIL ? CY_OK : CY_E_IO;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return CY_E_NOMEM;
	e = rtnl_ack(r->k->rtnl, &m);
	if (e < 0) {
		LOG(r->k, CY_LOG_ERROR, "cannot put a virtual IP on %s: %s", r->k->ifname, strerror(-e));
		free(v);
		return CY_E_IO;
	}
	v->addr = *addr;
	v->prefix = prefix;
	*at = v;
	return CY_OK;
}

struct route_answer {
	uint8_t type;
	struct cy_addr src;
};

static void take_route(void *user, const struct nlmsghdr *nlh)
{
	struct route_answer *out = user;
	const struct rtmsg *h = NLMSG_DATA(nlh);
	const struct rtattr *a[RTA_MAX + 1];

	if (nlh->nlmsg_type != RTM_NEWROUTE)
		return;
	rtnl_attrs(nlh, sizeof(*h), a, RTA_MAX);
	out->type = h->rtm_type;
	out->src.family = h->rtm_family;
	if (a[RTA_PREFSRC] && RTA_PAYLOAD(a[RTA_PREFSRC]) >= cy_addr_len(&out->src))
		memcpy(out->src.ip, RTA_DATA(a[RTA_PREFSRC]), cy_addr_len(&out->src));
	else
		out->src.family = 0;
}

/* As a packet of the daemon would go, that is with our mark. */
static int ask_route(struct routes *r, const struct cy_addr *dst, struct route_answer *out)
{
	struct rtnl_msg m;
	struct rtmsg *h = rtnl_begin(&m, RTM_GETROUTE, 0, sizeof(*h));

	h->rtm_family = (uint8_t)dst->family;
	h->rtm_dst_len = (uint8_t)(cy_addr_len(dst) * 8);
	rtnl_put(&m, RTA_DST, dst->ip, cy_addr_len(dst));
	rtnl_put_u32(&m, RTA_MARK, r->k->cfg.mark);
	if (dst->scope)
		rtnl_put_u32(&m, RTA_OIF, dst->scope);
	return rtnl_query(r->k->rtnl, &m, take_route, out);
}

enum cy_err routes_source_for(struct routes *r, const struct cy_addr *dst, struct cy_addr *out_src)
{
	struct route_answer a = {0};

	if (cy_addr_len(dst) == 0)
		return CY_E_INVAL;
	if (ask_route(r, dst, &a) < 0 || a.src.family == 0)
		return CY_E_NOTFOUND;
	*out_src = a.src;
	if (dst->scope)
		out_src->scope = dst->scope;
	return CY_OK;
}

bool routes_is_local(struct routes *r, const struct cy_addr *addr)
{
	struct route_answer a = {0};

	return cy_addr_len(addr) && ask_route(r, addr, &a) == 0 && a.type == RTN_LOCAL;
}
