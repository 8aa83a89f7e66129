/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine says about its CPUs and receive queues: /proc and /sys as they are below a root, and ethtool. Only read.
 * A few files each; never on a worker.
 */
#ifndef DAEMON_WATCH_MACHINE_H
#define DAEMON_WATCH_MACHINE_H

#include <cygnet/types.h>

#define MACHINE_IFS    64
#define MACHINE_QUEUES 1024

struct machine_cpu {
	uint32_t cpu;
	uint64_t processed, dropped, squeezed, received_rps; /* softnet_stat */
	uint64_t softirq, steal, idle, total;                /* ticks */
};

struct machine_queue {
	char ifname[16];
	bool rx;
	uint32_t index;
	char steering[64]; /* RPS of a receive queue, XPS of the others: CPUs, "" none */
	uint32_t rps_flows;
	int32_t irq;       /* -1: not known */
	char irq_cpus[64]; /* where it may be delivered */
	uint64_t irqs;     /* how often it was */
	int32_t irq_cpu;   /* where it was most often, -1 not known */
	bool has_counters; /* of ethtool */
	uint64_t packets, bytes, drops;
};

/* What the receive hash takes in (RXH_* of ethtool). */
#define MACHINE_HASH_ADDRS   1u
#define MACHINE_HASH_PORTS   2u /* UDP ports, or the SPI of ESP */
#define MACHINE_HASH_UNKNOWN 0x80u

struct machine_if {
	char name[16], driver[32], device[64];
	bool up;
	uint32_t n_rx, n_tx;
	uint8_t hash_esp, hash_udp; /* IPv4 */
	uint64_t rx_packets, rx_bytes, rx_dropped, rx_missed, rx_nohandler;
};

struct machine {
	struct machine_cpu *cpus;
	size_t n_cpus;
	struct machine_if ifs[MACHINE_IFS];
	size_t n_ifs;
	struct machine_queue *queues;
	size_t n_queues;
	uint64_t udp_rcvbuf_errors, udp_in_errors; /* of the network namespace */
	uint64_t rmem_max, netdev_max_backlog;     /* 0: not known */
	uint64_t packets;                          /* received by all interfaces but lo */
};

/* Filled in by ethtool; NULL fields: nothing of it is asked. */
struct machine_nic_ops {
	/* The fields hashed for ESP (esp true) or UDP over IPv4; MACHINE_HASH_UNKNOWN: the driver does not say. */
	uint8_t (*hash)(const char *ifname, bool esp);
	/* Counters of queues that the driver has; sets has_counters. */
	void (*counters)(const char *ifname, struct machine_queue *q, size_t n);
};
extern const struct machine_nic_ops machine_ethtool;
/* Counters of queues that the kernel keeps itself, where it does. */
void machine_qstats(const char *ifname, struct machine_queue *q, size_t n);

struct machine *machine_read(const char *root, const struct machine_nic_ops *nic); /* NULL: no memory */
void machine_free(struct machine *m);
void machine_since(struct machine *now, const struct machine *before);
/* Does it hash fields that may be chosen? */
bool machine_has_fields(const struct machine_if *i);
/* One sentence: what spreads ESP and UDP-encapsulated ESP over the receive queues of this interface, and what does not. */
void machine_hash_text(const struct machine_if *i, char *out, size_t cap);
/* A CPU mask as the kernel prints it ("00000000,00000005") as a list ("0,2"); "" when it is empty. */
void machine_mask_list(const char *mask, char *out, size_t cap);

#endif
