/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: virtual ones, and questions about addresses. */
#include "net_private.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <stdlib.h>

/* Not in the headers that we may be built with: Linux 5.18. */
#define KN_IFA_PROTO 11
#define KN_IFA_MAX   11

/* ---- questions */

static void take_way(void *user, const struct nlmsghdr *nlh)
{
	const struct rtmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a[RTA_MAX + 1];
	struct way *w = user;
	size_t n = 0;

	if (nlh->nlmsg_type != RTM_NEWROUTE || !nl_has_header(nlh, sizeof(*h)))
		return;
	nl_attrs(nlh, sizeof(*h), a, RTA_MAX);
	n = h->rtm_family == AF_INET6 ? 16 : 4;
	w->type = h->rtm_type;
	w->oif = nl_u32(a[RTA_OIF]);
	if (nl_value(a[RTA_PREFSRC], n)) {
		w->src.family = h->rtm_family;
		memcpy(w->src.ip, mnl_attr_get_payload(a[RTA_PREFSRC]), n);
	}
	if (nl_value(a[RTA_GATEWAY], n)) {
		w->gateway.family = h->rtm_family;
		memcpy(w->gateway.ip, mnl_attr_get_payload(a[RTA_GATEWAY]), n);
	} else if (nl_value(a[RTA_VIA], sizeof(struct rtvia))) {
		const struct rtvia *via = mnl_attr_get_payload(a[RTA_VIA]);
		size_t len = via->rtvia_family == AF_INET6 ? 16 : 4;

		if (nl_value(a[RTA_VIA], sizeof(*via) + len)) {
			w->gateway.family = via->rtvia_family;
			memcpy(w->gateway.ip, via->rtvia_addr, len);
		}
	}
}

/* As a packet with our mark would go, which the rule for our table does not take. */
int way_to(struct net *n, const struct cy_addr *dst, struct way *out)
{
	struct nl_msg m;
	struct rtmsg *h = nl_begin(&m, RTM_GETROUTE, 0, sizeof(*h));

	memset(out, 0, sizeof(*out));
	h->rtm_family = (uint8_t)dst->family;
	h->rtm_dst_len = (uint8_t)(cy_addr_len(dst) * 8);
	nl_put(&m, RTA_DST, dst->ip, cy_addr_len(dst));
	nl_put_u32(&m, RTA_MARK, n->k->cfg.mark);
	if (dst->scope)
		nl_put_u32(&m, RTA_OIF, dst->scope);
	return nl_query(n->rtnl, &m, take_way, out);
}

enum cy_err net_source_for(struct net *n, const struct cy_addr *dst, struct cy_addr *out_src)
{
	struct way w;
	int got;

	if (cy_addr_len(dst) == 0)
		return CY_E_INVAL;
	pthread_mutex_lock(&n->lock);
	got = way_to(n, dst, &w);
	pthread_mutex_unlock(&n->lock);
	if (got < 0 || w.src.family == 0)
		return CY_E_NOTFOUND;
	*out_src = w.src;
	if (dst->scope)
		out_src->scope = dst->scope;
	return CY_OK;
}

bool net_is_local(struct net *n, const struct cy_addr *addr)
{
	struct way w;
	bool local;

	if (cy_addr_len(addr) == 0)
		return false;
	pthread_mutex_lock(&n->lock);
	local = way_to(n, addr, &w) == 0 && w.type == RTN_LOCAL;
	pthread_mutex_unlock(&n->lock);
	return local;
}

/* ---- the addresses of this host */

void net_addrs_changed(struct net *n)
{
	atomic_store_explicit(&n->addrs_stale, true, memory_order_relaxed);
}

static bool is_vip(const struct net *n, const struct cy_addr *a)
{
	for (const struct vip *v = n->vips; v; v = v->next)
		if (cy_addr_ip_eq(&v->addr, a))
			return true;
	return false;
}

static void take_addr(void *user, const struct nlmsghdr *nlh)
{
	struct net *n = user;
	const struct ifaddrmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a[KN_IFA_MAX + 1], *ip;
	struct local_addr *l;
	uint32_t flags;

	if (nlh->nlmsg_type != RTM_NEWADDR || !nl_has_header(nlh, sizeof(*h)) ||
	    (h->ifa_family != AF_INET && h->ifa_family != AF_INET6) || h->ifa_scope >= RT_SCOPE_LINK)
		return;
	nl_attrs(nlh, sizeof(*h), a, KN_IFA_MAX);
	ip = a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS];
	flags = a[IFA_FLAGS] ? nl_u32(a[IFA_FLAGS]) : h->ifa_flags;
	if (!nl_value(ip, h->ifa_family == AF_INET6 ? 16 : 4) ||
	    (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
		return;
	if (n->n_addrs == n->cap_addrs) {
		size_t cap = n->cap_addrs ? n->cap_addrs * 2 : 32;
		struct local_addr *more = realloc(n->addrs, cap * sizeof(*more));

		if (!more)
			return;
		n->addrs = more;
		n->cap_addrs = cap;
	}
	l = &n->addrs[n->n_addrs++];
	memset(l, 0, sizeof(*l));
	l->addr.family = h->ifa_family;
	memcpy(l->addr.ip, mnl_attr_get_payload(ip), cy_addr_len(&l->addr));
	l->deprecated = flags & IFA_F_DEPRECATED;
	l->vip = is_vip(n, &l->addr);
}

static void read_addrs(struct net *n)
{
	struct nl_msg m;
	struct ifaddrmsg *h;

	if (!atomic_exchange_explicit(&n->addrs_stale, false, memory_order_relaxed))
		return;
	n->n_addrs = 0;
	h = nl_begin(&m, RTM_GETADDR, NLM_F_DUMP, sizeof(*h));
	h->ifa_family = AF_UNSPEC;
	if (nl_query(n->rtnl, &m, take_addr, n) < 0)
		net_addrs_changed(n);
}

struct cy_addr addr_within(struct net *n, const struct cy_ts *ts)
{
	const struct local_addr *best = NULL;

	read_addrs(n);
	for (size_t i = 0; i < n->n_addrs; i++) {
		const struct local_addr *l = &n->addrs[i];
		size_t len = cy_addr_len(&l->addr);

		if ((l->addr.family == AF_INET6) != (ts->family_ip6 == 1) ||
		    memcmp(l->addr.ip, ts->lo, len) < 0 || memcmp(l->addr.ip, ts->hi, len) > 0)
			continue;
		/* a virtual one was given for this very purpose */
		if (!best || (l->vip && !best->vip) || (!l->deprecated && best->deprecated && !best->vip))
			best = l;
	}
	return best ? best->addr : (struct cy_addr){0};
}

/* ---- virtual addresses */

/* The interface that leads to the world, else loopback: any will do for an address that only the tunnel uses. */
static uint32_t choose_interface(struct net *n, uint16_t family)
{
	/* addresses for documentation: as far away as anything (RFC 5737, RFC 3849) */
	static const struct cy_addr far[2] = {{.family = AF_INET, .ip = {192, 0, 2, 1}},
	    {.family = AF_INET6, .ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}}};
	struct way w;

	if (*n->k->cfg.vip_interface)
		return if_nametoindex(n->k->cfg.vip_interface);
	for (int i = 0; i < 2; i++)
		if (way_to(n, &far[(family == AF_INET6) ^ i], &w) == 0 && w.oif && w.type == RTN_UNICAST)
			return w.oif;
	return if_nametoindex("lo");
}

static int change_addr(struct net *n, const struct vip *v, bool add)
{
	static const uint8_t ours = TAG_PROTOCOL;
	struct nl_msg m;
	struct ifaddrmsg *h =
	    nl_begin(&m, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof(*h));

	h->ifa_family = (uint8_t)v->addr.family;
	h->ifa_prefixlen = v->prefix;
	h->ifa_index = v->ifindex;
	nl_put(&m, IFA_LOCAL, v->addr.ip, cy_addr_len(&v->addr));
	nl_put(&m, IFA_ADDRESS, v->addr.ip, cy_addr_len(&v->addr));
	if (add && v->addr.family == AF_INET6) {
		/* Nobody else on the link has it, and only routes of ours are to choose it (RFC 6724, rule 3). */
		struct ifa_cacheinfo life = {.ifa_valid = UINT32_MAX, .ifa_prefered = 0};

		h->ifa_flags = IFA_F_NODAD;
		nl_put(&m, IFA_CACHEINFO, &life, sizeof(life));
	}
	if (add)
		nl_put(&m, KN_IFA_PROTO, &ours, sizeof(ours));
	return nl_ack(n->rtnl, &m);
}

static enum cy_err add_vip(struct net *n, const struct cy_addr *addr, uint8_t prefix)
{
	struct vip *v = calloc(1, sizeof(*v));
	int got;

	if (!v)
		return CY_E_NOMEM;
	v->addr = *addr;
	v->prefix = prefix;
	v->refs = 1;
	v->ifindex = choose_interface(n, addr->family);
	got = v->ifindex ? change_addr(n, v, true) : -ENODEV;
	if (got < 0) {
		free(v);
		/* an administrator put it there: it stays when the tunnel goes */
		if (got == -EEXIST)
			return CY_OK;
		LOG(n->k, CY_LOG_ERROR, "cannot add a virtual address%s%s: %s",
		    *n->k->cfg.vip_interface ? " to " : "", n->k->cfg.vip_interface, strerror(-got));
		return got == -ENODEV ? CY_E_NOTFOUND : nl_err(got);
	}
	v->next = n->vips;
	n->vips = v;
	return CY_OK;
}

/* False: it was gone already. */
static bool drop_vip(struct net *n, struct vip **at)
{
	struct vip *v = *at;
	int got = change_addr(n, v, false);

	*at = v->next;
	free(v);
	return got == 0;
}

enum cy_err net_addr_set(struct net *n, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	enum cy_err err = CY_OK;
	struct vip **at;

	if (cy_addr_len(addr) == 0 || prefix > cy_addr_len(addr) * 8)
		return CY_E_INVAL;
	pthread_mutex_lock(&n->lock);
	for (at = &n->vips; *at && !cy_addr_ip_eq(&(*at)->addr, addr); at = &(*at)->next)
		;
	/* an IKE_SA and its successor have the same one */
	if (on && *at)
		(*at)->refs++;
	else if (on)
		err = add_vip(n, addr, prefix);
	else if (*at && --(*at)->refs == 0)
		(void)drop_vip(n, at);
	net_addrs_changed(n);
	pthread_mutex_unlock(&n->lock);
	return err;
}

/* ---- removing everything */

#define LEFTOVERS 64

struct leftovers {
	struct vip vip[LEFTOVERS];
	size_t n;
};

static void collect(void *user, const struct nlmsghdr *nlh)
{
	struct leftovers *l = user;
	const struct ifaddrmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a[KN_IFA_MAX + 1], *ip;
	const uint8_t *proto;
	struct vip *v;

	if (nlh->nlmsg_type != RTM_NEWADDR || !nl_has_header(nlh, sizeof(*h)) || l->n == LEFTOVERS)
		return;
	nl_attrs(nlh, sizeof(*h), a, KN_IFA_MAX);
	proto = nl_value(a[KN_IFA_PROTO], sizeof(*proto));
	ip = a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS];
	if (!proto || *proto != TAG_PROTOCOL || !nl_value(ip, h->ifa_family == AF_INET6 ? 16 : 4))
		return;
	v = &l->vip[l->n++];
	*v = (struct vip){.prefix = h->ifa_prefixlen, .ifindex = h->ifa_index};
	v->addr.family = h->ifa_family;
	memcpy(v->addr.ip, mnl_attr_get_payload(ip), cy_addr_len(&v->addr));
}

void addrs_flush(struct net *n)
{
	struct leftovers *l = calloc(1, sizeof(*l));
	size_t removed;

	while (n->vips)
		(void)drop_vip(n, &n->vips);
	do {
		struct nl_msg m;
		struct ifaddrmsg *h;

		removed = 0;
		if (!l)
			break;
		l->n = 0;
		h = nl_begin(&m, RTM_GETADDR, NLM_F_DUMP, sizeof(*h));
		h->ifa_family = AF_UNSPEC;
		if (nl_query(n->rtnl, &m, collect, l) < 0)
			break;
		for (size_t i = 0; i < l->n; i++)
			removed += change_addr(n, &l->vip[i], false) == 0;
	} while (removed);
	free(l);
	net_addrs_changed(n);
}
