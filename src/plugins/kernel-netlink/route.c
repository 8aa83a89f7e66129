/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes for outbound policies, in a table of our own. Packets need no route to be protected, but this host's own ones
 * get their source address from a route, and only with an address inside the selector do they meet the policy. So a
 * route is installed where the way without it has another source, or where there is no way at all.
 */
#include "net_private.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <stdlib.h>

#define KN_FRA_PROTOCOL 21 /* Linux 4.17 */

enum cy_err net_new(struct kernel *k, struct net **out)
{
	struct net *n = calloc(1, sizeof(*n));
	uint64_t key[2];
	enum cy_err err;

	if (!n)
		return CY_E_NOMEM;
	n->k = k;
	atomic_init(&n->addrs_stale, true);
	pthread_mutex_init(&n->lock, NULL);
	k->host->random(k->self, key, sizeof(key));
	err = table_init(&n->routes, key);
	if (!err)
		err = nl_open(k->host, k->self, NETLINK_ROUTE, &n->rtnl);
	if (err) {
		net_free(n);
		return err;
	}
	*out = n;
	return CY_OK;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	nl_close(n->rtnl);
	table_fini(&n->routes);
	free(n->addrs);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

/* ---- the rule that leads to our table, but not packets with our mark */

static int change_rule(struct net *n, int family, bool add)
{
	static const uint8_t ours = TAG_PROTOCOL;
	struct nl_msg m;
	struct fib_rule_hdr *h =
	    nl_begin(&m, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof(*h));

	h->family = (uint8_t)family;
	h->action = FR_ACT_TO_TBL;
	h->flags = FIB_RULE_INVERT;
	nl_put_u32(&m, FRA_PRIORITY, n->k->cfg.rule_priority);
	nl_put_u32(&m, FRA_FWMARK, n->k->cfg.mark);
	nl_put_u32(&m, FRA_TABLE, n->k->cfg.table);
	if (add)
		nl_put(&m, KN_FRA_PROTOCOL, &ours, sizeof(ours));
	return nl_ack(n->rtnl, &m);
}

static void need_rules(struct net *n)
{
	if (n->rules)
		return;
	n->rules = true;
	for (int i = 0; i < 2; i++) {
		int got = change_rule(n, i ? AF_INET6 : AF_INET, true);

		if (got < 0 && got != -EEXIST && !(i && got == -EAFNOSUPPORT))
			LOG(n->k, CY_LOG_ERROR, "cannot add the rule for routing table %u: %s",
			    n->k->cfg.table, strerror(-got));
	}
}

static void delete_rules(struct net *n)
{
	for (int i = 0; i < 2; i++)
		while (change_rule(n, i ? AF_INET6 : AF_INET, false) == 0)
			;
	n->rules = false;
}

/* ---- one route */

static int change_route(struct net *n, const struct route *r, bool add)
{
	struct nl_msg m;
	struct rtmsg *h = nl_begin(
	    &m, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*h));

	h->rtm_family = r->key.ip6 ? AF_INET6 : AF_INET;
	h->rtm_dst_len = r->key.prefix.len;
	h->rtm_table = n->k->cfg.table < 256 ? (uint8_t)n->k->cfg.table : RT_TABLE_UNSPEC;
	h->rtm_protocol = TAG_PROTOCOL;
	h->rtm_type = r->throws ? RTN_THROW : RTN_UNICAST;
	h->rtm_scope = RT_SCOPE_UNIVERSE;
	nl_put_u32(&m, RTA_TABLE, n->k->cfg.table);
	nl_put(&m, RTA_DST, r->key.prefix.ip, r->key.ip6 ? 16 : 4);
	if (!r->throws) {
		nl_put_u32(&m, RTA_OIF, r->oif);
		if (r->gateway.family) {
			/* it is the gateway of a route that is in use: no need to find it within our table */
			h->rtm_flags |= RTNH_F_ONLINK;
			nl_put(&m, RTA_GATEWAY, r->gateway.ip, cy_addr_len(&r->gateway));
		} else if (!r->key.ip6) {
			h->rtm_scope = RT_SCOPE_LINK;
		}
		if (r->src.family)
			nl_put(&m, RTA_PREFSRC, r->src.ip, cy_addr_len(&r->src));
	}
	return nl_ack(n->rtnl, &m);
}

/* Where a packet to the prefix goes without us. The whole address space stands for what is far away (RFC 5737, 3849). */
static int way_without_us(struct net *n, const struct route *r, struct way *out)
{
	struct cy_addr dst = {.family = r->key.ip6 ? AF_INET6 : AF_INET};

	memcpy(dst.ip, r->key.prefix.ip, cy_addr_len(&dst));
	if (r->key.prefix.len == 0) {
		static const uint8_t far4[4] = {192, 0, 2, 1}, far6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};

		memcpy(dst.ip, r->key.ip6 ? far6 : far4, cy_addr_len(&dst));
	}
	return way_to(n, &dst, out);
}

/* What the route should be for its newest user; false: not needed, or not possible now. */
static bool decide(struct net *n, const struct route *r, struct route *out)
{
	const struct route_user *u = r->users;
	uint16_t family = r->key.ip6 ? AF_INET6 : AF_INET;
	struct way way;
	int got;

	out->throws = u->throws;
	if (u->throws)
		return true;
	out->src = u->want_src.family ? u->want_src : addr_within(n, &u->local);
	if (out->src.family != family)
		out->src = (struct cy_addr){0};
	out->src.port = 0;
	if (u->oif) {
		out->oif = u->oif;
		return true;
	}
	got = way_without_us(n, r, &way);
	if (got == 0 && (way.type == RTN_LOCAL || !out->src.family || cy_addr_ip_eq(&way.src, &out->src)))
		return false;
	/* The way stays what it is, for packets that no policy takes; only where there is none it is the one to the peer. */
	if (got < 0 || way.type != RTN_UNICAST || !way.oif) {
		if (way_to(n, &u->peer, &way) < 0 || way.type != RTN_UNICAST || !way.oif)
			return false;
		if (!way.gateway.family)
			way.gateway = u->peer;
	}
	out->oif = way.oif;
	out->gateway = way.gateway.family == family ? way.gateway : (struct cy_addr){0};
	out->gateway.port = 0;
	return true;
}

static void update(struct net *n, struct route *r)
{
	struct route want = {.key = r->key};
	bool wanted = r->users && decide(n, r, &want);
	int got = 0;

	if (!wanted) {
		if (r->installed)
			(void)change_route(n, r, false);
		r->installed = false;
		return;
	}
	if (r->installed && r->throws == want.throws && r->oif == want.oif &&
	    cy_addr_eq(&r->src, &want.src) && cy_addr_eq(&r->gateway, &want.gateway))
		return;
	/* a route of another type, or to another interface, is not replaced but joined by the new one */
	if (r->installed)
		(void)change_route(n, r, false);
	r->throws = want.throws;
	r->oif = want.oif;
	r->src = want.src;
	r->gateway = want.gateway;
	need_rules(n);
	got = change_route(n, r, true);
	r->installed = got == 0;
	if (got < 0)
		LOG(n->k, CY_LOG_WARN, "cannot add an IPv%d route with prefix length %u to table %u: %s%s%s",
		    r->key.ip6 ? 6 : 4, r->key.prefix.len, n->k->cfg.table, strerror(-got),
		    *nl_why(n->rtnl) ? ": " : "", nl_why(n->rtnl));
}

/* ---- policies */

static bool whole(const struct cy_ts *ts)
{
	return ts->proto == 0 && ts_any_port(ts);
}

static bool wants_route(const struct cy_kernel_policy *p)
{
	/* A route cannot tell protocols: what is not meant to pass must not follow it. */
	return p->want_route && p->dir == CY_DIR_OUT &&
	    (p->action == CY_POLICY_PROTECT ||
	        (p->action == CY_POLICY_PASS && whole(&p->src) && whole(&p->dst)));
}

static struct route *find(struct net *n, const struct route_key *key, uint64_t hash)
{
	for (struct tnode *t = table_first(&n->routes, hash); t; t = table_next(t)) {
		struct route *r = table_entry(t, struct route, node);

		if (r->key.ip6 == key->ip6 && memcmp(&r->key.prefix, &key->prefix, sizeof(key->prefix)) == 0)
			return r;
	}
	return NULL;
}

static struct route_key key_of(const struct cy_ts *dst, const struct prefix *prefix)
{
	struct route_key key;

	memset(&key, 0, sizeof(key));
	key.prefix = *prefix;
	key.ip6 = dst->family_ip6;
	return key;
}

static uint64_t policy_hash(struct net *n, const struct cy_kernel_policy *p)
{
	struct {
		struct cy_ts src, dst;
		struct cy_mark mark;
		uint32_t if_id;
	} id;

	memset(&id, 0, sizeof(id));
	id.src = p->src;
	id.dst = p->dst;
	id.mark = p->mark;
	id.if_id = p->if_id;
	return table_hash(&n->routes, &id, sizeof(id));
}

static struct route_user *take_user(struct route *r, uint64_t policy)
{
	struct route_user **at = &r->users, *u;

	while (*at && (*at)->policy != policy)
		at = &(*at)->next;
	u = *at;
	if (u)
		*at = u->next;
	return u;
}

static void add_prefix(struct net *n, const struct route_key *key, const struct route_user *user)
{
	uint64_t hash = table_hash(&n->routes, key, sizeof(*key));
	struct route *r = find(n, key, hash);
	struct route_user *u = r ? take_user(r, user->policy) : NULL;

	if (!u)
		u = calloc(1, sizeof(*u));
	if (u && !r) {
		r = calloc(1, sizeof(*r));
		if (r) {
			r->key = *key;
			table_add(&n->routes, &r->node, hash);
		}
	}
	if (!u || !r) {
		free(u);
		return;
	}
	*u = *user;
	u->next = r->users;
	r->users = u;
	update(n, r);
}

void net_policy_added(struct net *n, const struct cy_kernel_policy *p)
{
	struct route_user u = {.policy = policy_hash(n, p),
	    .local = p->src,
	    .want_src = p->route_src ? *p->route_src : (struct cy_addr){0},
	    .peer = p->tmpl_dst,
	    .throws = p->action == CY_POLICY_PASS};
	struct prefix prefix[PREFIXES_MAX];
	size_t count;

	if (!wants_route(p))
		return;
	count = prefixes_of(&p->dst, prefix);
	for (size_t i = 0; i < count; i++) {
		struct route_key key = key_of(&p->dst, &prefix[i]);

		pthread_mutex_lock(&n->lock);
		add_prefix(n, &key, &u);
		pthread_mutex_unlock(&n->lock);
	}
}

static void del_prefix(struct net *n, const struct route_key *key, uint64_t policy)
{
	struct route *r = find(n, key, table_hash(&n->routes, key, sizeof(*key)));

	if (!r)
		return;
	free(take_user(r, policy));
	update(n, r);
	if (!r->users) {
		table_del(&n->routes, &r->node);
		free(r);
	}
}

void net_policy_removed(struct net *n, const struct cy_kernel_policy *p)
{
	struct prefix prefix[PREFIXES_MAX];
	size_t count;

	if (!wants_route(p))
		return;
	count = prefixes_of(&p->dst, prefix);
	for (size_t i = 0; i < count; i++) {
		struct route_key key = key_of(&p->dst, &prefix[i]);

		pthread_mutex_lock(&n->lock);
		del_prefix(n, &key, policy_hash(n, p));
		pthread_mutex_unlock(&n->lock);
	}
}

void net_route_to(
    struct net *n, uint32_t ifindex, const struct cy_ts *dst, const struct cy_ts *local, bool on)
{
	struct {
		struct cy_ts dst;
		uint32_t ifindex;
	} id;
	struct prefix prefix[PREFIXES_MAX];
	struct route_user u = {.oif = ifindex};
	size_t count = prefixes_of(dst, prefix);

	memset(&id, 0, sizeof(id));
	id.dst = *dst;
	id.ifindex = ifindex;
	u.policy = table_hash(&n->routes, &id, sizeof(id));
	if (local) /* else no address is within */
		u.local = *local;
	for (size_t i = 0; i < count; i++) {
		struct route_key key = key_of(dst, &prefix[i]);

		if (on)
			add_prefix(n, &key, &u);
		else
			del_prefix(n, &key, u.policy);
	}
}

void net_refresh(struct net *n)
{
	size_t i = 0, buckets = 0;

	/* a bucket at a time, so that the kernel thread gets its turn; when the table grew, from the beginning */
	do {
		pthread_mutex_lock(&n->lock);
		if (n->routes.buckets != buckets) {
			buckets = n->routes.buckets;
			i = 0;
		}
		for (struct tnode *t = n->routes.bucket[i]; t; t = t->next) {
			struct route *r = table_entry(t, struct route, node);

			/* The kernel removes routes with their interface or address: so put it there again. */
			if (r->installed && !r->throws) {
				struct route now = {.key = r->key};

				if (r->users && decide(n, r, &now) && cy_addr_eq(&now.src, &r->src) &&
				    cy_addr_eq(&now.gateway, &r->gateway) && now.oif == r->oif) {
					(void)change_route(n, r, true);
					continue;
				}
			}
			update(n, r);
		}
		pthread_mutex_unlock(&n->lock);
	} while (++i < buckets);
}

/* ---- removing everything */

#define LEFTOVERS 64

struct leftovers {
	uint32_t table;
	struct nl_msg m[LEFTOVERS];
	size_t n;
};

static void collect(void *user, const struct nlmsghdr *nlh)
{
	struct leftovers *l = user;
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a[RTA_MAX + 1];
	struct rtmsg *h;
	uint32_t table;

	if (nlh->nlmsg_type != RTM_NEWROUTE || !nl_has_header(nlh, sizeof(*rt)) || l->n == LEFTOVERS ||
	    rt->rtm_protocol != TAG_PROTOCOL)
		return;
	nl_attrs(nlh, sizeof(*rt), a, RTA_MAX);
	table = a[RTA_TABLE] ? nl_u32(a[RTA_TABLE]) : rt->rtm_table;
	if (table != l->table)
		return;
	h = nl_begin(&l->m[l->n], RTM_DELROUTE, 0, sizeof(*h));
	h->rtm_family = rt->rtm_family;
	h->rtm_dst_len = rt->rtm_dst_len;
	h->rtm_type = rt->rtm_type;
	h->rtm_protocol = TAG_PROTOCOL;
	h->rtm_scope = RT_SCOPE_NOWHERE;
	nl_put_u32(&l->m[l->n], RTA_TABLE, table);
	if (a[RTA_DST])
		nl_put(&l->m[l->n], RTA_DST, mnl_attr_get_payload(a[RTA_DST]),
		    mnl_attr_get_payload_len(a[RTA_DST]));
	l->n++;
}

static void delete_leftovers(struct net *n, int family)
{
	struct leftovers *l = calloc(1, sizeof(*l));
	size_t deleted;

	if (!l)
		return;
	l->table = n->k->cfg.table;
	do {
		struct nl_msg m;
		struct rtmsg *h = nl_begin(&m, RTM_GETROUTE, NLM_F_DUMP, sizeof(*h));

		h->rtm_family = (uint8_t)family;
		nl_put_u32(&m, RTA_TABLE, l->table);
		deleted = l->n = 0;
		/* no such table: no such route */
		if (nl_query(n->rtnl, &m, collect, l) < 0)
			break;
		for (size_t i = 0; i < l->n; i++)
			deleted += nl_ack(n->rtnl, &l->m[i]) == 0;
	} while (deleted && l->n == LEFTOVERS);
	free(l);
}

void net_flush(struct net *n)
{
	size_t pos = 0;
	struct tnode *t;

	pthread_mutex_lock(&n->lock);
	while ((t = table_take(&n->routes, &pos))) {
		struct route *r = table_entry(t, struct route, node);
		struct route_user *u;

		while ((u = r->users)) {
			r->users = u->next;
			free(u);
		}
		update(n, r);
		free(r);
	}
	delete_leftovers(n, AF_INET);
	delete_leftovers(n, AF_INET6);
	devices_flush(n);
	addrs_flush(n);
	delete_rules(n);
	pthread_mutex_unlock(&n->lock);
}
