/* SPDX-License-Identifier: Apache-2.0 */

/* The openssl plugin is not written yet. It exports no plugin symbol, so a loader refuses it. */

typedef int cygnet_openssl_is_empty;
