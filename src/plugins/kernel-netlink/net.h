/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network around the tunnels: a routing table of our own whose routes make this host choose an inside source
 * address, virtual addresses, and questions about addresses.
 *
 * The kernel thread and the event thread both come here; `lock` in struct net serialises them and is held for one
 * request to the kernel at a time.
 */
#ifndef KERNEL_NETLINK_NET_H
#define KERNEL_NETLINK_NET_H

#include "kernel.h"

enum cy_err net_new(struct kernel *k, struct net **out) CY_MUST_USE;
void net_free(struct net *n); /* after net_flush() */

/* route.c: the routes of an outbound policy that wants them. A failure is logged: the policy itself is in place. */
void net_policy_added(struct net *n, const struct cy_kernel_policy *p);
void net_policy_removed(struct net *n, const struct cy_kernel_policy *p);
/* A route to a device, with a source address within `local` if there is one (NULL: any); under the lock of net. */
void net_route_to(
    struct net *n, uint32_t ifindex, const struct cy_ts *dst, const struct cy_ts *local, bool on);
/* The network changed: nexthops and source addresses are looked up again. */
void net_refresh(struct net *n);
/* Routes, the rule, virtual addresses, and what a crash left of them. */
void net_flush(struct net *n);

/* device.c: VTI devices and XFRM interfaces; see <cygnet/kernel.h>. */
enum cy_err net_device_add(
    struct net *n, const struct cy_kernel_device *d, char *why, size_t why_cap) CY_MUST_USE;
enum cy_err net_device_del(struct net *n, const struct cy_kernel_device *d) CY_MUST_USE;
enum cy_err net_device_addr(
    struct net *n, const char *name, const struct cy_addr *addr, uint8_t prefix, bool on) CY_MUST_USE;
enum cy_err net_device_route(
    struct net *n, const char *name, const struct cy_ts *dst, const struct cy_ts *local, bool on) CY_MUST_USE;
/* The request that makes one: RTM_NEWLINK. */
void device_encode(struct nl_msg *m, const struct cy_kernel_device *d);

/* addr.c */
enum cy_err net_addr_set(struct net *n, const struct cy_addr *addr, uint8_t prefix, bool on) CY_MUST_USE;
enum cy_err net_source_for(struct net *n, const struct cy_addr *dst, struct cy_addr *out_src) CY_MUST_USE;
bool net_is_local(struct net *n, const struct cy_addr *addr);
/* Event thread: addresses changed, look them up again when they are needed. */
void net_addrs_changed(struct net *n);

#endif
