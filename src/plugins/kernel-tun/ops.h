/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's table of functions, and the defaults of its settings (kernel-tun.opt describes them). */
#ifndef KERNEL_TUN_OPS_H
#define KERNEL_TUN_OPS_H

#include <cygnet/plugin.h>

#define DEFAULT_NAME      "cygnet%d"
#define DEFAULT_MTU       1400
#define DEFAULT_OUTER_MTU 1500
#define DEFAULT_TABLE     220
#define DEFAULT_MARK      0x637967 /* "cyg" */

extern const struct cy_kernel_ops kernel_ops;

/* place.c */
enum cy_err kernel_sa_place(void *kp, const struct cy_kernel_sa_id *id, struct cy_kernel_place *out);
size_t kernel_lanes(void *kp, struct cy_kernel_lane *out, size_t cap);

#endif
