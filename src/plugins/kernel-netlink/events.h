/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel tells by itself: a thread that listens to XFRM's and the routing multicast groups and calls the
 * daemon's cy_kernel_events. It blocks only on its own sockets.
 */
#ifndef KERNEL_NETLINK_EVENTS_H
#define KERNEL_NETLINK_EVENTS_H

#include "kernel.h"

enum cy_err events_start(struct kernel *k, struct events **out) CY_MUST_USE;
void events_stop(struct events *e); /* no callback runs any more */

#endif
