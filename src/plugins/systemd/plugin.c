/* SPDX-License-Identifier: Apache-2.0 */

/* The systemd plugin is not written yet. It exports no plugin symbol, so a loader refuses it. */

typedef int cygnet_systemd_is_empty;
