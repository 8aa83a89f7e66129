/* SPDX-License-Identifier: Apache-2.0 */

/* The gmp plugin is not written yet. It exports no plugin symbol, so a loader refuses it. */

typedef int cygnet_gmp_is_empty;
