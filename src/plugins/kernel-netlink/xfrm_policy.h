/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies. On the kernel thread, but for policy_cookie, which any may ask.
 */
#ifndef KERNEL_NETLINK_XFRM_POLICY_H
#define KERNEL_NETLINK_XFRM_POLICY_H

#include "kernel.h"

/* The request that installs one piece of a policy: XFRM_MSG_NEWPOLICY or XFRM_MSG_UPDPOLICY. */
void policy_encode(struct nl_msg *m, uint16_t type, const struct cy_kernel_policy *p,
    const struct xfrm_selector *sel, uint32_t index);
uint8_t policy_dir(uint8_t dir); /* enum cy_dir to the kernel's */

enum cy_err policy_add(struct kernel *k, const struct cy_kernel_policy *p) CY_MUST_USE;
enum cy_err policy_del(struct kernel *k, const struct cy_kernel_policy *p) CY_MUST_USE;
/* Removes all that we installed, and policies with our tag. */
void policy_flush(struct kernel *k);

/* The daemon's handle of an outbound policy; false: not ours. */
bool policy_cookie(struct kernel *k, const struct xfrm_selector *sel, const struct cy_mark *mark,
    uint32_t if_id, uint64_t *out_cookie);

#endif
