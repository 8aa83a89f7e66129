/* SPDX-License-Identifier: Apache-2.0 */
/* How much each CPU and each receive queue carries: sums over SAs, for cpus, statusall and metrics. Control thread. */
#ifndef DAEMON_CONTROL_CARRIED_H
#define DAEMON_CONTROL_CARRIED_H

#include <cygnet/kernel.h>

#include "daemon/control/jw.h"
#include "daemon/core/daemon.h"

struct request;

struct carried {
	uint64_t sas, packets, bytes;
};

struct carried_queue {
	uint32_t ifindex, queue;
	struct carried c;
};

/* Directions: [0] outbound, [1] inbound. All zeros to begin with. */
struct carried_sums {
	struct carried (*cpus)[2];
	size_t n_cpus;
	struct carried unknown[2];    /* whose CPU is not known */
	struct carried_queue *queues; /* inbound ones, by the queue where their last packet came */
	size_t n_queues;
};

/* One direction of a CHILD_SA, as a worker has seen it. */
struct carried_sa {
	struct cy_kernel_sa_id id;
	int32_t cpu;                     /* the only one that uses it (RFC 9611), -1 none such */
	uint64_t packets, bytes;         /* in its life */
	uint64_t new_packets, new_bytes; /* since they were read before */
	size_t text; /* where in the text of its CHILD_SA there is room for more members */
};

/* Where an SA is, as observed; it may wait for a lock of a plugin. True: its packets and bytes are there, too. */
bool carried_place(
    const struct daemon *d, const struct cy_kernel_sa_id *id, int32_t cpu, struct cy_kernel_place *out);
void carried_add(
    struct carried_sums *s, bool in, const struct cy_kernel_place *at, const struct carried *add);
/*
 * Adds the SA to what there is now (NULL: is not wanted), and what is new to what each CPU and queue ever carried. False: there was
 * nothing to add, and where it is was not asked.
 */
bool carried_count(const struct daemon *d, struct carried_sums *now, struct carried_sums *ever,
    const struct carried_sa *sa, struct cy_kernel_place *out_at);
uint64_t carried_packets(const struct carried_sums *s); /* of all CPUs */
struct carried carried_of_cpu(const struct carried_sums *s, size_t cpu, bool in);
struct carried carried_of_queue(const struct carried_sums *s, uint32_t ifindex, uint32_t queue);
void carried_fini(struct carried_sums *s);

/* Member seen_in or seen_out of an open object, when anything is known. */
void carried_write_place(struct jw *w, bool in, const struct cy_kernel_place *at);
/* Items of esp_cpus and esp_queues. */
void carried_write(const struct request *r, struct jw *w, const struct carried_sums *s);

#endif
