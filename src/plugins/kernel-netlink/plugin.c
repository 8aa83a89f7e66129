/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel-netlink plugin is not written yet. It exports no plugin symbol, so a loader refuses it. */

typedef int cygnet_kernel_netlink_is_empty;
