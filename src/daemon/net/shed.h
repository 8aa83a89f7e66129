/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many of the first requests that come on a lane are worth receiving. What waits for a worker and is dropped in the end has cost
 * what it took to receive, read and queue it; with many times as much offered as can be done, and each peer repeating what got no answer,
 * that is a good part of the worker's time. So once they are refused (for want of room, or of time), the socket plugin is asked to drop
 * some of them before they are received (cy_socket_ops.keep_first). A little more comes through than is done, so that no worker ever lacks
 * one to do. What is refused says no more than that there is too much: most of it may have come long before.
 */
#ifndef DAEMON_NET_SHED_H
#define DAEMON_NET_SHED_H

#include <stdint.h>

#define SHED_WINDOW_NS 100000000ull /* once each, while any are dropped or refused */
#define SHED_KEEP_ALL  65536u       /* of so many */
#define SHED_KEEP_MIN  128u

/* What to keep after a window in which so many were received and so many, of them or of earlier ones, taken on. */
uint32_t shed_next(uint32_t keep, uint64_t received, uint64_t taken);

#endif
