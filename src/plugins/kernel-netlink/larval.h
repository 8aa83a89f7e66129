/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SAs without keys that the kernel makes when it sends an acquire. They keep it from asking again, and linger
 * until net.core.xfrm_acq_expires; we remove those whose policy goes.
 */
#ifndef KERNEL_NETLINK_LARVAL_H
#define KERNEL_NETLINK_LARVAL_H

#include "kernel.h"

/* Event thread: the kernel made one; it expired. */
void larval_made(struct kernel *k, const struct xfrm_user_acquire *a, const struct xfrm_user_tmpl *t,
    const struct cy_mark *mark, uint32_t if_id, int32_t cpu);
void larval_gone(struct kernel *k, const struct xfrm_usersa_info *info);
/* Kernel thread: forget that one, because the kernel replaced it by this SA; remove those of a reqid, or all (0). */
void larval_replaced(struct kernel *k, const struct cy_kernel_sa *sa);
void larval_remove(struct kernel *k, uint32_t reqid);
/* Those of CPUs: while there is one the kernel sends nothing of other CPUs that have no SA either. */
void larval_remove_cpus(struct kernel *k, uint32_t reqid);

#endif
