/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One open data plane: its settings, its sockets, and what it has put into the kernel.
 *
 * The daemon's kernel thread makes all requests. The event thread (events.c) only looks things up, under `lock`, and
 * renews routes, which have a lock of their own (net.h).
 */
#ifndef KERNEL_NETLINK_KERNEL_H
#define KERNEL_NETLINK_KERNEL_H

#include "netlink.h"
#include "selector.h"
#include "table.h"

#include <cygnet/plugin.h>
#include <net/if.h>
#include <pthread.h>

/* Newer than the headers that we may be built with: Linux 6.10 and 6.14. */
#define KN_XFRMA_SA_DIR            33
#define KN_XFRMA_SA_PCPU           35
#define KN_XFRMA_MTIMER_THRESH     32
#define KN_XFRMA_MAX               35
#define KN_SA_DIR_IN               1
#define KN_SA_DIR_OUT              2
#define KN_XFRM_POLICY_CPU_ACQUIRE 4

/*
 * What we put into the kernel carries a tag, so that what a crashed daemon left is told from an administrator's: the
 * top of an SA's `seq` and of a policy's `index`, which both are ours to choose, and the `protocol` of routes and addresses.
 */
#define TAG_SEQ        0x63700000u
#define TAG_SEQ_MASK   0xfff00000u
#define TAG_INDEX      0x63000000u
#define TAG_INDEX_MASK 0xff000000u
#define TAG_PROTOCOL   207

#define NS_PER_S 1000000000ull

struct events;
struct net;

struct config {
	char vip_interface[IFNAMSIZ]; /* "" choose one */
	uint32_t table;               /* of our routes */
	uint32_t rule_priority;       /* of the rule that leads there */
	uint32_t mark;                /* of look-ups that must not be led there */
	uint32_t events_rcvbuf;
	uint32_t acquire_timeout; /* 0: as the system has it */
};

/* An SA of ours in the kernel. */
struct sa_entry {
	struct tnode node;
	struct cy_kernel_sa_id id;
	uint32_t reqid;
	uint8_t mode;
	/* for kernels that do not say when an outbound SA was last used: its packets when it was last asked about */
	uint64_t seen_packets, used;
	/* the last new address of the peer that was reported, and when */
	struct cy_addr told_src;
	uint64_t told_ns;
};

struct policy_key {
	struct xfrm_selector sel;
	struct cy_mark mark;
	uint32_t if_id, dir; /* dir: the kernel's */
};

/* A policy of ours in the kernel: one piece of what the daemon asked for, if that was a range. */
struct policy_entry {
	struct tnode node;
	struct policy_key key;
	uint64_t owner; /* of which request: its hash */
	uint32_t refs;  /* pieces of two ranges may be equal */
	uint32_t reqid, index;
	uint64_t cookie;
};

/* An acquire whose larval SA may still be in the kernel. */
struct larval {
	struct larval *next;
	struct xfrm_usersa_info info; /* as the kernel has it: addresses, protocol, mode, reqid, seq */
	struct cy_mark mark;
	uint32_t if_id;
	int32_t cpu; /* -1 none */
};

struct kernel {
	const struct cy_host *host;
	void *self;
	struct cy_kernel_events ev;
	struct config cfg;
	uint32_t features;
	struct nl *xfrm;
	uint32_t next_index;

	pthread_mutex_t lock; /* the databases; held for a look-up */
	struct table sas, policies;
	struct larval *larvals;
	size_t n_larvals;

	struct net *net;
	struct events *events;
};

#define LOG(k, level, ...) ((k)->host->log((k)->self, (level), __VA_ARGS__))

/* Logs a failure of the kernel with its reason; returns what the caller should. */
enum cy_err kernel_failed(struct kernel *k, const char *what, int e);

/* probe.c: what this kernel can do. CY_E_UNSUPPORTED: it has no ESP, and the log says so. */
enum cy_err probe_features(struct kernel *k, uint32_t *out) CY_MUST_USE;

/* kernel.c */
extern const struct cy_kernel_ops kernel_ops;

/* addresses between the two worlds */
static inline xfrm_address_t to_xfrm(const struct cy_addr *a)
{
	xfrm_address_t x = {0};

	memcpy(&x, a->ip, cy_addr_len(a));
	return x;
}

static inline struct cy_addr from_xfrm(const xfrm_address_t *x, uint16_t family)
{
	struct cy_addr a = {.family = family};

	memcpy(a.ip, x, cy_addr_len(&a));
	return a;
}

#endif
