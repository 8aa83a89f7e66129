/* SPDX-License-Identifier: Apache-2.0 */
/* What route.c and addr.c share. */
#ifndef KERNEL_NETLINK_NET_PRIVATE_H
#define KERNEL_NETLINK_NET_PRIVATE_H

#include "net.h"

#include <linux/rtnetlink.h>
#include <stdatomic.h>

/* Who wants a route: one policy. The newest one's is installed. */
struct route_user {
	struct route_user *next;
	uint64_t policy;         /* hash of its selectors, mark and if_id */
	struct cy_ts local;      /* the source should be within; */
	struct cy_addr want_src; /* unless it is given: family 0 if not */
	struct cy_addr peer;     /* the nexthop is the one that leads there */
	bool throws;             /* the policy lets packets pass: leave our table */
	uint32_t oif;            /* it leads to this device, 0: where the way goes */
};

/* One prefix in our table, or one that needs no route at present. */
struct route {
	struct tnode node;
	struct route_key {
		struct prefix prefix;
		bool ip6;
	} key;
	struct route_user *users;
	/* as it is installed */
	bool installed, throws;
	struct cy_addr src, gateway;
	uint32_t oif;
};

struct vip {
	struct vip *next;
	struct cy_addr addr;
	uint8_t prefix;
	uint32_t ifindex;
	uint32_t refs;
};

struct local_addr {
	struct cy_addr addr;
	bool deprecated, vip;
};

struct net {
	struct kernel *k;
	pthread_mutex_t lock; /* everything below */
	struct nl *rtnl;
	struct table routes;
	bool rules;
	struct vip *vips;
	struct device *devices;
	/* addresses of this host, but link-local ones: read when they are needed after they changed */
	struct local_addr *addrs;
	size_t n_addrs, cap_addrs;
	atomic_bool addrs_stale;
};

/* The way to an address without our table. */
struct way {
	uint8_t type; /* RTN_UNICAST, RTN_LOCAL, ... */
	uint32_t oif;
	struct cy_addr gateway, src; /* family 0: none */
};
int way_to(struct net *n, const struct cy_addr *dst, struct way *out); /* 0 or a negative errno; under lock */

/* An address of this host within the selector, a virtual one before others; family 0: none. Under lock. */
struct cy_addr addr_within(struct net *n, const struct cy_ts *ts);
void devices_flush(struct net *n); /* ours, and what a crash left of them; under lock */
void addrs_flush(struct net *n);   /* virtual ones, and what a crash left of them; under lock */

#endif
