/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPU is to carry which SA: a table of SAs with a moving average of the packets of each, and the moves that even out the CPUs.
 * It knows no kernel and no clock: it is fed once an interval, and then asked.
 *
 * A rebalancing begins when a CPU has been `start_pct` over the mean for `patience` intervals, and ends when none is more than
 * `stop_pct` over it. An SA goes from the busiest CPU to the least busy one, the one that evens out the two best, so that few are
 * moved; at most `max_moves` in an interval, and none again before `hold` intervals have passed.
 *
 * Owned by its caller, on one thread at a time. CPUs and SAs are numbered from 0 here.
 */
#ifndef STEER_BALANCE_H
#define STEER_BALANCE_H

#include <cygnet/types.h>

#define BALANCE_ONE 256u /* a packet an interval, as loads are counted */

struct balance_config {
	uint32_t start_pct, stop_pct; /* over the mean; stop is the smaller one */
	uint32_t patience;
	uint32_t max_moves;
	uint32_t hold;
	uint32_t memory;   /* intervals that the moving average spans */
	uint64_t min_rate; /* packets an interval, of all SAs; nothing is moved when there are fewer */
};

struct balance_sa {
	uint64_t load; /* moving average, in 1/BALANCE_ONE packets an interval */
	uint32_t cpu;
	uint32_t held;  /* intervals that it still stays */
	uint32_t n_fed; /* up to `memory` */
	bool used;
};

struct balance_cpu {
	uint64_t load;
	uint32_t sas;
	bool stuck; /* nothing on it is worth moving; within a decision */
};

struct balance {
	struct balance_config cfg;
	struct balance_cpu *cpus;
	struct balance_sa *sas;
	uint32_t n_cpus, cap, n_sas;
	uint64_t total;    /* of loads */
	uint32_t n_uneven; /* intervals in a row */
	bool active;       /* a rebalancing is under way */
};

struct balance_move {
	uint32_t sa, from, to;
};

enum cy_err balance_init(
    struct balance *b, const struct balance_config *cfg, uint32_t n_cpus, uint32_t max_sas) CY_MUST_USE;
void balance_fini(struct balance *b);
void balance_configure(struct balance *b, const struct balance_config *cfg);

/* Where a new SA goes: the CPU with the least load, and among equals the one with the fewest SAs. */
uint32_t balance_place(const struct balance *b);
/* What is not known of it yet is taken to be the mean of the others, so that many new ones spread. */
void balance_add(struct balance *b, uint32_t sa, uint32_t cpu);
/* It continues what another one carried: on its CPU, with its load. The other one's load goes to it at once. */
void balance_succeed(struct balance *b, uint32_t sa, uint32_t before);
void balance_remove(struct balance *b, uint32_t sa);
/* The packets of an SA in the interval that has ended. */
void balance_feed(struct balance *b, uint32_t sa, uint64_t packets);
/* After all have been fed: the moves to make, which are taken as made. At most max_moves. */
size_t balance_decide(struct balance *b, struct balance_move *out, size_t cap);
/* The load of the busiest CPU in percent of the mean; 0 when there is no load. */
uint32_t balance_spread(const struct balance *b);

#endif
