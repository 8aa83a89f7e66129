/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPU carries which SA, and what came in a while: found by cpus, and of use to the doctor. Control thread. */
#ifndef DAEMON_CONTROL_PLACED_H
#define DAEMON_CONTROL_PLACED_H

#include "daemon/control/private.h"
#include "daemon/watch/doctor.h"

#define CPUS_LANES 256

/* One direction of a CHILD_SA. */
struct placed {
	struct cy_kernel_sa_id id;
	uint64_t child;
	uint64_t had_packets, had_bytes; /* when they were counted first */
	uint64_t packets, bytes;         /* from then until they were counted again */
	int32_t only_cpu;                /* that sends on it (RFC 9611), -1 none such */
	struct cy_kernel_place at;
	bool told;     /* where it is: by the data plane or the plugin that steers, with what it carried */
	uint8_t times; /* counted */
	bool encap;
	char conn[48], peer[48], user[48];
};

struct placed_list {
	struct placed *p;
	size_t n, cap;
	uint64_t left_out;
};

struct cpus {
	uint32_t refs; /* control thread: the request's, the walk's, a reading's */
	struct control *c;
	bool walked, begun, again, done; /* counted once; to be counted again; and that was done */
	struct placed_list all;
	struct cy_kernel_lane lanes[CPUS_LANES];
	size_t n_lanes;
	uint64_t ns;
	uint64_t begun_ns, again_ns; /* when either counting began */
	uint64_t sent, arrived;      /* by the plugin that steers, when it began */
};

/*
 * Begins to look, for so long from the first counting on; NULL: no memory. cpus_ready() is asked when the time is over, and begins to count
 * again; it may never say yes. cpus_unref() in any case.
 */
struct cpus *cpus_begin(struct control *c, uint64_t ns);
void cpus_unref(void *cpus);
bool cpus_ready(void *cpus);
size_t cpus_lanes(struct control *c, struct cy_kernel_lane *out);
/* What each inbound SA had since then. *out belongs to the caller. */
size_t cpus_busy_sas(struct cpus *c, struct busy_sa **out);
/* Packets that the plugin that steers sent to CPUs since then, and those that did not arrive there. */
void cpus_steered(const struct cpus *c, uint64_t *out_sent, uint64_t *out_lost);

#endif
