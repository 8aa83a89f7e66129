/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the daemon when addresses, links or routes of this host changed, once for the changes between two
 * ticks. What concerns the
 * TUN device or our routing table is our own doing. The plugin's own thread.
 */
#ifndef KERNEL_TUN_NETWATCH_H
#define KERNEL_TUN_NETWATCH_H

#include "kernel.h"

enum cy_err netwatch_new(struct kernel *k, struct netwatch **out) CY_MUST_USE;
/* The plugin's timer: passes on what came since. */
void netwatch_tell(struct netwatch *w);
void netwatch_free(struct netwatch *w);
int netwatch_fd(const struct netwatch *w);
/* The descriptor is readable. */
void netwatch_read(struct netwatch *w);

#endif
