/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inbound SAs that are steered: by SPI, each with its slot in the memory that the program in the kernel reads. Number of slot and
 * number within `balance` are the same.
 *
 * Owned by the plugin, under its lock. What puts an SPI into the kernel is a function, so that tests need no kernel.
 */
#ifndef STEER_TABLE_H
#define STEER_TABLE_H

#include "balance.h"
#include "shared.h"

struct table_config {
	struct balance_config balance;
	uint32_t gap_ns;   /* an SA is moved when it has had no packet for so long */
	uint64_t limit_ns; /* after so long it is moved without that */
	bool watch;        /* SAs stay where they come */
	uint32_t end_idle; /* intervals without a packet after which a replaced one is taken out */
};

struct table_path {
	/* 0 or an errno */
	int (*set)(void *path, uint32_t spi, uint32_t slot);
	void (*unset)(void *path, uint32_t spi);
	void *path;
	struct steer_slot *slots;
};

struct table_sa {
	uint32_t spi;
	uint32_t next;    /* in its bucket, or of the free ones */
	uint32_t idle;    /* intervals without a packet */
	uint64_t packets; /* at the end of the last interval */
	uint32_t moved_gap, moved_late;
	bool used;
	bool replaced; /* by another one */
};

struct table {
	struct table_config cfg;
	struct table_path path;
	struct balance balance;
	const uint32_t *cpus; /* numbers of the CPUs, borrowed */
	struct table_sa *sas;
	uint32_t *buckets;
	uint32_t mask, cap, n;
	uint32_t free_first, free_last; /* the one that has been free longest is taken first */
	bool no_idle;                   /* this interval none was found to make room */
	uint64_t moves, moved_gap, moved_late, refused, evicted;
};

enum cy_err table_init(struct table *t, const struct table_config *cfg, const struct table_path *path,
    const uint32_t *cpus, uint32_t n_cpus, uint32_t max_sas) CY_MUST_USE;
void table_fini(struct table *t);
/* SAs go over, as by a move, when it is `watch` that changes. */
void table_configure(struct table *t, const struct table_config *cfg, uint64_t now_ns);

/*
 * An SA is there. before: the SPI of the one that it replaces, whose CPU it takes over, 0 none; that one ends without a word, and is taken out
 * when it is silent. CY_E_LIMIT: the table is full of SAs that have traffic; it is not steered.
 */
enum cy_err table_add(struct table *t, uint32_t spi, uint32_t before) CY_MUST_USE;
bool table_remove(struct table *t, uint32_t spi);
/* NULL: not there. */
const struct table_sa *table_find(const struct table *t, uint32_t spi);
/* The end of an interval: reads what was carried and makes the moves; returns how many. */
size_t table_tick(struct table *t, uint64_t now_ns);
/* SAs that are to go to another CPU, and still are where they were. */
uint32_t table_waiting(const struct table *t);

#endif
