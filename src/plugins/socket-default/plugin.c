/* SPDX-License-Identifier: Apache-2.0 */

/* The socket-default plugin is not written yet. It exports no plugin symbol, so a loader refuses it. */

typedef int cygnet_socket_default_is_empty;
