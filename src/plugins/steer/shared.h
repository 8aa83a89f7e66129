/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs in the kernel and the plugin share: the elements of their maps. Plain types of <linux/types.h>, because the
 * compiler for BPF has no C library.
 *
 * An SA has a slot, found by its SPI. The plugin writes `want`, and the times by which the program goes over to it; the program
 * writes `cpu`. Both read and write the same memory, so no system call is needed to look at it.
 */
#ifndef STEER_SHARED_H
#define STEER_SHARED_H

#include <linux/types.h>

#define STEER_MAX_CPUS 1024
#define STEER_STAYS    0xffffffffu /* in place of a CPU: the packet goes its usual way */

struct steer_slot {
	__u64 packets, bytes; /* bytes: of frames */
	__u64 last_ns;        /* its last packet, while a move is wanted */
	__u64 deadline_ns;    /* when it is moved though packets keep coming */
	__u32 gap_ns;         /* without a packet for so long it is moved */
	__u32 cpu;            /* that it goes to now */
	__u32 want;           /* that it should go to */
	__u32 moved_gap, moved_late;
	__u32 came_cpu, came_if, came_queue; /* where its last packet came: CPU, interface, receive queue */
};

/* The plugin writes it. */
struct steer_config {
	__u32 natt_port; /* the port that ESP in UDP comes to */
};

/* Written by one CPU alone. */
struct steer_count {
	__u64 n;
	__u64 pad[7];
};

enum steer_total {
	STEER_SENT,     /* redirected to a CPU */
	STEER_UNKNOWN,  /* ESP with an SPI that is not in the table: passed */
	STEER_FRAGMENT, /* of ESP or UDP: passed, because only the first one has the SPI */
	STEER_OTHER,    /* not ESP: passed */
	STEER_TOTALS,
};

#endif
