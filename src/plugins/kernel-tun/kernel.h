/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One open data plane: settings, the databases, the ESP threads and the network configuration it made.
 *
 * The kernel thread of the daemon and the plugin's own thread (timer, netlink) change things under `lock`; ESP threads
 * never take it. Events go to the daemon from either, and never with `lock` held.
 */
#ifndef KERNEL_TUN_KERNEL_H
#define KERNEL_TUN_KERNEL_H

#include "counters.h"
#include "ptable.h"
#include "rcu.h"

#include <cygnet/plugin.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>

#define NS_PER_S 1000000000ull

struct kernel;

/*
 * Cancelling a timer or watch does not wait for a callback that is running. So callbacks are given the plugin, which
 * outlives them, and reach the data plane under `guard`, which closing it takes.
 */
struct plugin {
	const struct cy_host *host;
	void *self;
	pthread_mutex_t guard;
	struct kernel *kernel; /* while it is open */
};

struct config {
	char name[IFNAMSIZ];
	uint32_t mtu;             /* of the TUN device */
	uint32_t outer_mtu;       /* what the path carries; 0 unknown */
	uint32_t table;           /* of our routes */
	uint32_t rule_priority;   /* of the rule that leads there */
	uint32_t mark;            /* of packets that must not be led there */
	uint32_t n_queues;        /* ESP threads; 0: as many as CPUs, when SAs of CPUs need them */
	bool steer;               /* packets go to the thread of the CPU that sent them */
	uint32_t ring_slots;      /* datagrams that wait for one ESP thread */
	uint32_t acquire_packets; /* kept for each policy without SA */
	uint64_t acquire_ns;      /* between two acquires of one policy */
	bool install_routes;
	bool offload; /* bursts as one frame, to and from the device */
};

struct queue;
struct rtnl;
struct netwatch;
struct sa;

struct kernel {
	struct plugin *plugin;
	const struct cy_host *host;
	void *self;
	struct cy_kernel_events ev;
	struct config cfg;

	pthread_mutex_t lock;
	struct rcu rcu;
	uint64_t hash_key;
	struct counters counters; /* of threads that are not ESP threads */

	struct sad *sad;
	struct spd *spd;
	struct lifetimes *lifetimes;

	uint32_t ifindex;
	char ifname[IFNAMSIZ];
	bool tcp_offload, udp_offload; /* what the device does of it */
	struct queue *queues[RCU_MAX_READERS];
	size_t n_queues;
	size_t n_per_cpu;       /* SAs of CPUs, and policies that ask for them */
	atomic_bool per_cpu;    /* there are some */
	atomic_size_t n_active; /* of the queues, the first ones; the others are detached from the device */
	bool no_attach;         /* it failed, and is not tried again */
	bool steered;           /* a queue has the packets of its CPU */
	cpu_set_t cpus;         /* where the daemon may run */
	struct rtnl *rtnl;
	struct routes *routes;
	struct netwatch *netwatch;
	struct cy_timer *tick;
	struct cy_watch *watch; /* of netwatch */
};

#define LOG(k, level, ...) ((k)->host->log((k)->self, (level), __VA_ARGS__))

#endif
