/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which socket of a group gets a datagram: a classic BPF program that the kernel runs for each datagram before it is queued. It computes
 * what the daemon computes (net_spi_owner, cy_steer_hash), so that the worker that owns an SA receives its datagrams itself.
 * It is only an accelerator: the daemon forwards what arrives elsewhere.
 */
#ifndef SOCKET_REUSEPORT_STEER_H
#define SOCKET_REUSEPORT_STEER_H

#include <cygnet/types.h>
#include <linux/filter.h>

#define STEER_MAX 48 /* instructions */

/* n sockets; natt: the port where a non-ESP marker stands before IKE. Returns how many instructions it wrote. */
size_t steer_program(struct sock_filter out[STEER_MAX], uint32_t n, const uint32_t key[4], bool natt);
/* Give it to the group that fd is in. false: errno says why. */
bool steer_attach(int fd, uint32_t n, const uint32_t key[4], bool natt);

#endif
