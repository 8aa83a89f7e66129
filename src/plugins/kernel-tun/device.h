/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TUN device. It goes with its last descriptor, and its addresses and routes with it. Kernel thread.
 */
#ifndef KERNEL_TUN_DEVICE_H
#define KERNEL_TUN_DEVICE_H

#include "kernel.h"

/* Opens n queues of a new device called cfg.name ("%d" is numbered by the kernel); fills ifname and ifindex. */
enum cy_err device_open(struct kernel *k, size_t n, int *out_fds) CY_MUST_USE;

/* A detached queue has no packets. False: it is as it was. */
bool device_attach(struct kernel *k, int fd, bool on);

#endif
