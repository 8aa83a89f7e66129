/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is counted in a daemon, read at one moment and without stopping anybody; and what came between two such
 * moments. ipsec usage, doctor, cpus and metrics are made from it. Control thread; owned by who took it.
 */
#ifndef DAEMON_WATCH_SAMPLE_H
#define DAEMON_WATCH_SAMPLE_H

#include "daemon/auth/sources.h"
#include "daemon/auth/xauth.h"
#include "daemon/core/daemon.h"
#include "daemon/kernel/knl.h"
#include "daemon/net/net.h"
#include "daemon/sa/manager.h"
#include "libcore/plugin/loader.h"
#include "libcore/run/pool.h"
#include "libcore/run/proc.h"
#include "libcore/run/usage.h"

struct sample_thread {
	uint32_t tid;
	char name[16];
	uint64_t cpu_ns, waited_ns; /* waited: ready to run, without a CPU */
};

struct sample_counter {
	char name[48];
	uint64_t value;
};

struct sample_plugin {
	char name[64];
	struct bus_listener_stats listener;
	uint64_t running_ms; /* its present callback */
	__typeof__(((struct plugin_info *)0)->hook) hook;
};

struct sample {
	uint64_t at_ns, ns; /* when; how long it covers */
	int64_t wall;
	int64_t clock_jump_s; /* by how much the clock was set */
	uint32_t cpus;        /* that the process may run on */
	struct usage_sum usage;
	struct worker_stats *workers;
	uint32_t n_workers, stuck_ms;
	struct hist wait[PRIO_N];
	struct net_counters net;
	struct sa_counters sas;
	struct cy_socket_stats *sockets;
	size_t n_sockets;
	struct knl_stats kernel;
	struct sample_counter *errors; /* of the data plane */
	size_t n_errors;
	struct pool_owner_stats *pool;
	size_t n_pool;
	struct sample_plugin *plugins;
	size_t n_plugins;
	struct procs_stats procs;
	struct xauth_stats xauth;
	struct sources_stats revocation;
	struct sample_thread *threads;
	size_t n_threads;
	uint64_t log_dropped;
	uint64_t process_cpu_ns;
};

struct sample *sample_take(struct daemon *d); /* NULL: no memory */
void sample_free(struct sample *s);
/* What grows is what it grew by since `before`; what is as it is now stays. */
void sample_since(struct sample *now, const struct sample *before);
/* The threads of a process, from DIR/task (DIR: /proc/self); *out_n 0 when they cannot be read. */
struct sample_thread *sample_threads(const char *dir, size_t *out_n);
uint64_t sample_shed(
    const struct sample *s); /* first requests that sockets dropped because they were too many */
uint64_t sample_error(const struct sample *s, const char *name); /* 0 when there is none */

#endif
