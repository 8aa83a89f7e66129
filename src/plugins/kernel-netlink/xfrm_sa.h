/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Security associations. On the kernel thread, but for sa_entry_find, which needs kernel.lock.
 */
#ifndef KERNEL_NETLINK_XFRM_SA_H
#define KERNEL_NETLINK_XFRM_SA_H

#include "kernel.h"

/* The request that installs it; it holds keys: nl_wipe() it. out_why: static text on failure. */
enum cy_err sa_encode(struct nl_msg *m, const struct cy_kernel_sa *sa, const char **out_why) CY_MUST_USE;
/* Begins a request about one SA: XFRM_MSG_GETSA or XFRM_MSG_DELSA. */
void sa_ask(struct nl_msg *m, uint16_t type, const struct cy_kernel_sa_id *id);
struct cy_kernel_sa_id sa_id_of(const struct cy_kernel_sa *sa);

enum cy_err sa_add(struct kernel *k, const struct cy_kernel_sa *sa) CY_MUST_USE;
enum cy_err sa_del(struct kernel *k, const struct cy_kernel_sa_id *id) CY_MUST_USE;
enum cy_err sa_query(
    struct kernel *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out) CY_MUST_USE;
/* xfrm_move.c */
enum cy_err sa_move(struct kernel *k, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src,
    const struct cy_addr *new_dst, bool encap) CY_MUST_USE;
/* The request that installs, at other addresses, the SA that `old` (an answer to XFRM_MSG_GETSA) tells of. */
enum cy_err sa_encode_moved(struct nl_msg *m, const struct nlmsghdr *old, bool out,
    const struct cy_addr *new_src, const struct cy_addr *new_dst, bool encap) CY_MUST_USE;

/* Removes all that we installed, and SAs with our tag. */
/* Calls back for each SA of ours; acquires that wait are told once more. */
enum cy_err sa_dump(struct kernel *k,
    void (*cb)(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats),
    void *user);
void sa_flush(struct kernel *k);

/* Ours with these names; NULL: not ours. mark NULL: whatever mark it has. */
struct sa_entry *sa_entry_find(
    struct kernel *k, const struct cy_addr *dst, uint32_t spi, uint8_t proto, const struct cy_mark *mark);
/* Removes and frees an entry, or puts it where its new address belongs. */
void sa_entry_move(
    struct kernel *k, struct sa_entry *e, const struct cy_addr *src, const struct cy_addr *dst);

#endif
