/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the kernel's routing tables, one at a time, over a NETLINK_ROUTE socket. Whoever uses it serialises
 * (kernel.lock).
 */
#ifndef KERNEL_TUN_RTNL_H
#define KERNEL_TUN_RTNL_H

#include "kernel.h"

#include <linux/rtnetlink.h>

#define RTNL_MSG_MAX 1024

/* A message that is being put together; len of it so far. */
struct rtnl_msg {
	size_t len;
	_Alignas(struct nlmsghdr) uint8_t bytes[RTNL_MSG_MAX];
};

enum cy_err rtnl_open(struct kernel *k, struct rtnl **out) CY_MUST_USE;
void rtnl_close(struct rtnl *r);

/* Begins a message; returns its zeroed family header of n bytes. */
void *rtnl_begin(struct rtnl_msg *m, uint16_t type, uint16_t flags, size_t n);
void rtnl_put(struct rtnl_msg *m, uint16_t type, const void *data, size_t n);
void rtnl_put_u32(struct rtnl_msg *m, uint16_t type, uint32_t v);
struct rtattr *rtnl_nest(struct rtnl_msg *m, uint16_t type);
void rtnl_nest_end(struct rtnl_msg *m, struct rtattr *nest);

/* Sends it and waits for the acknowledgement: 0, or a negative errno. */
int rtnl_ack(struct rtnl *r, struct rtnl_msg *m);
/* The same, with cb for each message of the answer, of a dump as well. */
int rtnl_query(
    struct rtnl *r, struct rtnl_msg *m, void (*cb)(void *user, const struct nlmsghdr *nlh), void *user);

/* Attributes of an answer, by type up to max; each NULL or pointing into it. hdr: bytes of the family header. */
void rtnl_attrs(const struct nlmsghdr *nlh, size_t hdr, const struct rtattr **out, size_t max);
static inline uint32_t rtnl_u32(const struct rtattr *a)
{
	uint32_t v = 0;

	if (a && RTA_PAYLOAD(a) >= sizeof(v))
		memcpy(&v, RTA_DATA(a), sizeof(v));
	return v;
}

#endif
