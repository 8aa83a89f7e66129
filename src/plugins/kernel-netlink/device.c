/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces that lead into tunnels: VTI and XFRM interfaces. Those that we make carry an alias, so that what a
 * crash left is told from an administrator's, which is used when it fits and never removed.
 */
#include "net_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>

/* linux/if_tunnel.h does not go with net/if.h. */
#define KN_VTI_IKEY   2
#define KN_VTI_OKEY   3
#define KN_VTI_LOCAL  4
#define KN_VTI_REMOTE 5

#define ALIAS "cygnet"
/* Until the alias is set, in a second request, its group tells that it is ours. */
#define TAG_GROUP    0x63796700u
#define KN_IFA_PROTO 11 /* Linux 5.18 */

/* An address that we gave it, and no administrator. */
struct device_addr {
	struct device_addr *next;
	struct cy_addr addr;
	uint8_t prefix;
};

struct device {
	struct device *next;
	char name[IFNAMSIZ];
	uint32_t index;
	bool ours;
	struct device_addr *addrs;
};

/* A link as the kernel has it. */
struct link {
	uint32_t index;
	bool found, up, ours;
	char name[IFNAMSIZ], kind[16];
	uint32_t ikey, okey, if_id; /* keys: network byte order */
	struct cy_addr local, remote;
};

/* ---- looking */

static struct cy_addr tunnel_end(const struct nlattr *a)
{
	struct cy_addr addr = {0};

	if (nl_value(a, 16))
		addr.family = AF_INET6;
	else if (nl_value(a, 4))
		addr.family = AF_INET;
	memcpy(addr.ip, addr.family ? mnl_attr_get_payload(a) : addr.ip, cy_addr_len(&addr));
	for (size_t i = 0; i < sizeof(addr.ip); i++)
		if (addr.ip[i])
			return addr;
	return (struct cy_addr){0};
}

static void nested(const struct nlattr *nest, const struct nlattr **out, size_t max)
{
	const struct nlattr *a;

	memset(out, 0, (max + 1) * sizeof(out[0]));
	if (!nest)
		return;
	mnl_attr_for_each_nested(a, nest) if (mnl_attr_get_type(a) <= max) out[mnl_attr_get_type(a)] = a;
}

static void copy_text(char *out, size_t cap, const struct nlattr *a)
{
	if (a)
		snprintf(out, cap, "%.*s", (int)mnl_attr_get_payload_len(a),
		    (const char *)mnl_attr_get_payload(a));
}

static bool take_link(const struct nlmsghdr *nlh, struct link *l)
{
	struct ifinfomsg h;
	const struct nlattr *a[IFLA_GROUP + 1], *info[IFLA_INFO_DATA + 1], *data[KN_VTI_REMOTE + 1];
	char alias[32] = "";

	if (nlh->nlmsg_type != RTM_NEWLINK || !nl_header(nlh, &h, sizeof(h)))
		return false;
	nl_attrs(nlh, sizeof(h), a, IFLA_GROUP);
	memset(l, 0, sizeof(*l));
	l->found = true;
	l->index = (uint32_t)h.ifi_index;
	l->up = h.ifi_flags & IFF_UP;
	copy_text(l->name, sizeof(l->name), a[IFLA_IFNAME]);
	copy_text(alias, sizeof(alias), a[IFLA_IFALIAS]);
	nested(a[IFLA_LINKINFO], info, IFLA_INFO_DATA);
	copy_text(l->kind, sizeof(l->kind), info[IFLA_INFO_KIND]);
	nested(info[IFLA_INFO_DATA], data, KN_VTI_REMOTE);
	if (strcmp(l->kind, "xfrm") == 0) {
		l->if_id = nl_u32(data[IFLA_XFRM_IF_ID]);
	} else if (strncmp(l->kind, "vti", 3) == 0) {
		l->ikey = nl_u32(data[KN_VTI_IKEY]);
		l->okey = nl_u32(data[KN_VTI_OKEY]);
		l->local = tunnel_end(data[KN_VTI_LOCAL]);
		l->remote = tunnel_end(data[KN_VTI_REMOTE]);
	} else {
		return true;
	}
	l->ours = strcmp(alias, ALIAS) == 0 || nl_u32(a[IFLA_GROUP]) == TAG_GROUP;
	return true;
}

static void on_link(void *user, const struct nlmsghdr *nlh)
{
	(void)take_link(nlh, user);
}

static void look(struct net *n, const char *name, struct link *out)
{
	struct nl_msg m;

	memset(out, 0, sizeof(*out));
	nl_begin(&m, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	nl_put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	(void)nl_query(n->rtnl, &m, on_link, out);
}

/* ---- making */

static const char *kind_of(const struct cy_kernel_device *d)
{
	return d->kind == CY_DEVICE_XFRM ? "xfrm" : d->local.family == AF_INET6 ? "vti6" : "vti";
}

static void put_key(struct nl_msg *m, uint16_t type, uint32_t mark)
{
	nl_put_u32(m, type, htonl(mark));
}

void device_encode(struct nl_msg *m, const struct cy_kernel_device *d)
{
	const char *kind = kind_of(d);
	struct nlattr *info, *data;

	nl_begin(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	nl_put(m, IFLA_IFNAME, d->name, strnlen(d->name, sizeof(d->name) - 1) + 1);
	nl_put_u32(m, IFLA_GROUP, TAG_GROUP);
	/* what follows is small: it fits */
	info = mnl_attr_nest_start(&m->nlh, IFLA_LINKINFO);
	nl_put(m, IFLA_INFO_KIND, kind, strlen(kind) + 1);
	data = mnl_attr_nest_start(&m->nlh, IFLA_INFO_DATA);
	if (d->kind == CY_DEVICE_XFRM) {
		nl_put_u32(m, IFLA_XFRM_IF_ID, d->if_id);
	} else {
		put_key(m, KN_VTI_IKEY, d->mark_in);
		put_key(m, KN_VTI_OKEY, d->mark_out);
		nl_put(m, KN_VTI_LOCAL, d->local.ip, cy_addr_len(&d->local));
		if (d->remote.family == d->local.family)
			nl_put(m, KN_VTI_REMOTE, d->remote.ip, cy_addr_len(&d->remote));
	}
	mnl_attr_nest_end(&m->nlh, data);
	mnl_attr_nest_end(&m->nlh, info);
}

static int delete_link(struct net *n, uint32_t index)
{
	struct nl_msg m;
	struct ifinfomsg *h = nl_begin(&m, RTM_DELLINK, 0, sizeof(*h));

	h->ifi_index = (int)index;
	return nl_ack(n->rtnl, &m);
}

static int switch_on(struct net *n, uint32_t index)
{
	struct nl_msg m;
	struct ifinfomsg *h = nl_begin(&m, RTM_NEWLINK, 0, sizeof(*h));

	h->ifi_index = (int)index;
	h->ifi_flags = h->ifi_change = IFF_UP;
	nl_put(&m, IFLA_IFALIAS, ALIAS, strlen(ALIAS));
	nl_put_u32(&m, IFLA_GROUP, 0);
	return nl_ack(n->rtnl, &m);
}

static enum cy_err say(struct net *n, int got, const struct cy_kernel_device *d, char *why, size_t cap)
{
	const char *module = d->kind == CY_DEVICE_XFRM ? "xfrm_interface"
	    : d->local.family == AF_INET6              ? "ip6_vti"
	                                               : "ip_vti";

	if (got == -EOPNOTSUPP) {
		snprintf(why, cap, "this kernel has no %s (module %s)",
		    d->kind == CY_DEVICE_XFRM ? "XFRM interfaces" : "VTI devices", module);
		return CY_E_UNSUPPORTED;
	}
	snprintf(why, cap, "the kernel refuses it: %s%s%s", strerror(-got), *nl_why(n->rtnl) ? ": " : "",
	    nl_why(n->rtnl));
	return nl_err(got);
}

static enum cy_err create(
    struct net *n, const struct cy_kernel_device *d, struct link *out, char *why, size_t cap)
{
	struct nl_msg m;
	int got;

	if (d->kind == CY_DEVICE_VTI && !d->local.family) {
		snprintf(why, cap, "this host has no address for its tunnels yet: write left=ADDRESS");
		return CY_E_NOTFOUND;
	}
	device_encode(&m, d);
	got = nl_ack(n->rtnl, &m);
	if (got < 0)
		return say(n, got, d, why, cap);
	look(n, d->name, out);
	got = out->found ? switch_on(n, out->index) : -ENODEV;
	if (got < 0) {
		enum cy_err err = say(n, got, d, why, cap);

		if (out->found)
			(void)delete_link(n, out->index);
		return err;
	}
	return CY_OK;
}

/* Somebody else's: is it what is wanted? */
static bool fits(const struct link *l, const struct cy_kernel_device *d)
{
	if (strcmp(l->kind, kind_of(d)) != 0)
		return false;
	if (d->kind == CY_DEVICE_XFRM)
		return l->if_id == d->if_id;
	return l->ikey == htonl(d->mark_in) && l->okey == htonl(d->mark_out) &&
	    (!l->local.family || cy_addr_ip_eq(&l->local, &d->local)) &&
	    (!l->remote.family || cy_addr_ip_eq(&l->remote, &d->remote));
}

static void describe(const struct cy_kernel_device *d, char *out, size_t cap)
{
	if (d->kind == CY_DEVICE_XFRM)
		snprintf(out, cap, "an XFRM interface with if_id %u", d->if_id);
	else if (d->mark_in == d->mark_out)
		snprintf(out, cap, "a VTI device for our address with key %u", d->mark_in);
	else
		snprintf(out, cap, "a VTI device for our address with ikey %u and okey %u", d->mark_in,
		    d->mark_out);
}

static enum cy_err check(const struct link *l, const struct cy_kernel_device *d, char *why, size_t cap)
{
	char text[96];

	if (l->found && fits(l, d))
		return CY_OK;
	describe(d, text, sizeof(text));
	if (l->found)
		snprintf(why, cap, "there is an interface of that name already, which is not %s", text);
	else
		snprintf(why, cap, "there is none, and ipsec-interface-managed=no: make %s", text);
	return l->found ? CY_E_EXISTS : CY_E_NOTFOUND;
}

static struct device *find(struct net *n, const char *name)
{
	struct device *at = n->devices;

	while (at && strcmp(at->name, name) != 0)
		at = at->next;
	return at;
}

static enum cy_err add(struct net *n, const struct cy_kernel_device *d, char *why, size_t cap)
{
	struct device *at = find(n, d->name);
	enum cy_err err = CY_OK;
	struct link l;

	if (at)
		return CY_OK;
	at = calloc(1, sizeof(*at));
	if (!at)
		return CY_E_NOMEM;
	look(n, d->name, &l);
	if (l.found || !d->create) {
		err = check(&l, d, why, cap);
	} else {
		err = create(n, d, &l, why, cap);
		at->ours = true;
	}
	if (err) {
		free(at);
		return err;
	}
	if (!at->ours)
		LOG(n->k, l.up ? CY_LOG_INFO : CY_LOG_WARN,
		    "the interface %s is an administrator's, and used as it is%s", d->name,
		    l.up ? "" : "; it is down");
	snprintf(at->name, sizeof(at->name), "%s", d->name);
	at->index = l.index;
	at->next = n->devices;
	n->devices = at;
	return CY_OK;
}

enum cy_err net_device_add(struct net *n, const struct cy_kernel_device *d, char *why, size_t why_cap)
{
	enum cy_err err;

	if (d->size < sizeof(*d) || (d->kind != CY_DEVICE_VTI && d->kind != CY_DEVICE_XFRM) || !*d->name ||
	    strnlen(d->name, sizeof(d->name)) == sizeof(d->name)) {
		snprintf(why, why_cap, "a bad kind or name");
		return CY_E_INVAL;
	}
	pthread_mutex_lock(&n->lock);
	err = add(n, d, why, why_cap);
	pthread_mutex_unlock(&n->lock);
	return err;
}

/* ---- removing */

/* Unlike a virtual address it is for any packet that goes through the device. */
static int change_addr(struct net *n, uint32_t index, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	static const uint8_t ours = TAG_PROTOCOL;
	struct nl_msg m;
	struct ifaddrmsg *h =
	    nl_begin(&m, on ? RTM_NEWADDR : RTM_DELADDR, on ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof(*h));

	h->ifa_family = (uint8_t)addr->family;
	h->ifa_prefixlen = prefix;
	h->ifa_index = index;
	nl_put(&m, IFA_LOCAL, addr->ip, cy_addr_len(addr));
	nl_put(&m, IFA_ADDRESS, addr->ip, cy_addr_len(addr));
	if (on)
		nl_put(&m, KN_IFA_PROTO, &ours, sizeof(ours));
	return nl_ack(n->rtnl, &m);
}

static int drop(struct net *n, struct device **at)
{
	struct device *d = *at;
	struct device_addr *a;
	int got = d->ours ? delete_link(n, d->index) : 0;

	while ((a = d->addrs)) {
		d->addrs = a->next;
		if (!d->ours)
			(void)change_addr(n, d->index, &a->addr, a->prefix, false);
		free(a);
	}
	*at = d->next;
	free(d);
	return got;
}

enum cy_err net_device_del(struct net *n, const struct cy_kernel_device *d)
{
	struct device **at;
	int got = -ENODEV;

	pthread_mutex_lock(&n->lock);
	for (at = &n->devices; *at && strcmp((*at)->name, d->name) != 0; at = &(*at)->next)
		;
	if (*at)
		got = drop(n, at);
	pthread_mutex_unlock(&n->lock);
	/* somebody else removed it */
	return got == -ENODEV ? CY_E_NOTFOUND : nl_err(got);
}

#define LEFTOVERS 64

struct leftovers {
	uint32_t index[LEFTOVERS];
	char name[LEFTOVERS][IFNAMSIZ];
	size_t n;
};

static void collect(void *user, const struct nlmsghdr *nlh)
{
	struct leftovers *l = user;
	struct link link;

	if (l->n == LEFTOVERS || !take_link(nlh, &link) || !link.ours)
		return;
	memcpy(l->name[l->n], link.name, sizeof(link.name));
	l->index[l->n++] = link.index;
}

void devices_flush(struct net *n)
{
	struct leftovers *l = calloc(1, sizeof(*l));
	size_t removed;

	while (n->devices)
		(void)drop(n, &n->devices);
	do {
		struct nl_msg m;

		removed = 0;
		if (!l)
			break;
		l->n = 0;
		nl_begin(&m, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
		if (nl_query(n->rtnl, &m, collect, l) < 0)
			break;
		for (size_t i = 0; i < l->n; i++)
			if (delete_link(n, l->index[i]) == 0) {
				LOG(n->k, CY_LOG_NOTICE,
				    "removed the interface %s that a daemon before us left", l->name[i]);
				removed++;
			}
	} while (removed && l->n == LEFTOVERS);
	free(l);
}

/* ---- addresses and routes */

static int add_addr(struct net *n, struct device *d, const struct cy_addr *addr, uint8_t prefix)
{
	struct device_addr *a = calloc(1, sizeof(*a));
	int got;

	if (!a)
		return -ENOMEM;
	got = change_addr(n, d->index, addr, prefix, true);
	if (got < 0) {
		free(a);
		return got;
	}
	a->addr = *addr;
	a->prefix = prefix;
	a->next = d->addrs;
	d->addrs = a;
	return 0;
}

static int del_addr(struct net *n, struct device *d, const struct cy_addr *addr, uint8_t prefix)
{
	struct device_addr **at = &d->addrs, *a;

	while (*at && ((*at)->prefix != prefix || !cy_addr_ip_eq(&(*at)->addr, addr)))
		at = &(*at)->next;
	a = *at;
	if (!a)
		return 0;
	*at = a->next;
	free(a);
	return change_addr(n, d->index, addr, prefix, false);
}

enum cy_err net_device_addr(
    struct net *n, const char *name, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	struct device *d;
	int got = -ENODEV;

	if (cy_addr_len(addr) == 0 || prefix > cy_addr_len(addr) * 8)
		return CY_E_INVAL;
	pthread_mutex_lock(&n->lock);
	d = find(n, name);
	if (d)
		got = on ? add_addr(n, d, addr, prefix) : del_addr(n, d, addr, prefix);
	net_addrs_changed(n);
	pthread_mutex_unlock(&n->lock);
	if (got < 0 && on && got != -EEXIST)
		LOG(n->k, CY_LOG_ERROR, "cannot give %s its address: %s", name, strerror(-got));
	/* an administrator gave it, and it stays */
	return got == -EEXIST ? CY_OK : nl_err(got);
}

enum cy_err net_device_route(
    struct net *n, const char *name, const struct cy_ts *dst, const struct cy_ts *local, bool on)
{
	struct device *d;

	pthread_mutex_lock(&n->lock);
	d = find(n, name);
	if (d)
		net_route_to(n, d->index, dst, local, on);
	pthread_mutex_unlock(&n->lock);
	return d ? CY_OK : CY_E_NOTFOUND;
}
