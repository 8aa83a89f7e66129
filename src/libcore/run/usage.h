/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the time goes, always on. Each worker and each pool thread has a lane of counters that it alone writes and anybody
 * reads (relaxed atomics): no core waits for another one's cache line. A worker's step is charged to its job kind and
 * priority, and by usage_about() to what it was about: a class (an exchange in a state), a connection, a peer. The costliest
 * connections and peers are kept in tables of fixed size (space-saving: who is in it may be overcharged by what the entry it
 * replaced had, which is known, and nobody who took more than the least entry is missing).
 *
 * Times are CPU time: steps are timed with the monotonic clock, which costs a tenth of the thread's CPU clock, and what took
 * longer than USAGE_LONG_NS is corrected with the latter, so that being preempted is not charged to who was running.
 */
#ifndef LIBCORE_RUN_USAGE_H
#define LIBCORE_RUN_USAGE_H

#include <pthread.h>

#include "libcore/base/env.h"
#include "libcore/run/hist.h"

#define USAGE_CLASSES 128
#define USAGE_OPS     64  /* pairs of operation and algorithm; further ones are counted as the last */
#define USAGE_TOP     128 /* connections, peers of one lane */
#define USAGE_LABEL   96
#define USAGE_LONG_NS (200 * NS_PER_US)
#define USAGE_KINDS   16 /* at least JOB_KIND_N */
#define USAGE_PRIOS   4

enum usage_op {
	USAGE_ENCRYPT,
	USAGE_DECRYPT,
	USAGE_MAC,
	USAGE_PRF,
	USAGE_KEYGEN,
	USAGE_DERIVE,
	USAGE_SIGN,
	USAGE_VERIFY,
	USAGE_CHAIN,      /* a certificate path */
	USAGE_REVOCATION, /* reading a CRL or an OCSP response */
	USAGE_OP_N,
};
extern const char *const usage_op_names[USAGE_OP_N];

struct usage_cell {
	uint64_t n, ns;
};

struct usage_op_cell {
	uint32_t key;        /* 1 + op << 16 | algorithm; 0: free */
	struct usage_cell c; /* ns: of those that were timed */
	uint64_t untimed;
};
static inline enum usage_op usage_key_op(uint32_t key)
{
	return (enum usage_op)((key - 1) >> 16);
}
static inline uint16_t usage_key_alg(uint32_t key)
{
	return (uint16_t)(key - 1);
}

/* An estimate for all of them. */
static inline uint64_t usage_op_ns(const struct usage_op_cell *o)
{
	uint64_t timed = o->c.n - o->untimed;

	return timed ? (uint64_t)((double)o->c.ns * (double)o->c.n / (double)timed) : 0;
}

struct usage_entry {
	uint64_t key; /* 0: free */
	uint64_t n, ns;
	uint64_t over_ns; /* at most so much of ns belongs to others */
	char label[USAGE_LABEL];
};

struct usage_top {
	struct usage_entry e[USAGE_TOP];
	uint16_t heap[USAGE_TOP], pos[USAGE_TOP]; /* the least first; places of entries in it */
	uint16_t chain[USAGE_TOP], head[256];     /* by key; 1 + index, 0 the end */
	uint32_t n;
};

/* All zeros is an empty one. The entry of a key; a new one replaces the least when all are taken, and gets a label. */
int usage_top_find(
    struct usage_top *t, uint64_t key, void (*label)(void *arg, char *out, size_t cap), void *arg);
/* Nothing when the place belongs to another key by now. */
void usage_top_charge(struct usage_top *t, int at, uint64_t key, uint64_t ns);

/* What a step is about. Keys: hashes of what stands in the labels, 0 none. */
struct usage_subject {
	uint8_t class;
	uint64_t ike_id;
	uint64_t conn, peer;
	void (*conn_label)(void *arg, char *out, size_t cap);
	void (*peer_label)(void *arg, char *out, size_t cap);
	void *arg; /* only used before usage_about() returns */
};

struct usage_lane {
	struct env *env;
	bool worker; /* has tops */
	struct usage_cell kind[USAGE_KINDS][USAGE_PRIOS];
	struct usage_cell class[USAGE_CLASSES];
	struct usage_op_cell op[USAGE_OPS];
	struct usage_cell long_steps; /* corrected: how many, and what was taken off */
	struct hist inbox_wait;       /* ns that datagrams waited for a busy IKE_SA */
	/*
	 * Guards the two tables. The lane's thread never waits for it: when somebody reads, what there is to charge is charged to
	 * nobody, and counted as skipped.
	 */
	pthread_mutex_t lock;
	struct usage_top conns, peers;
	struct usage_cell skipped;
	uint32_t op_turn[USAGE_OP_N];
	/* of the running step */
	uint64_t begun_ns, charged_ns;
	struct usage_subject subject;
	bool has_subject, found;
	int conn_at, peer_at;
	uint32_t step_op_key; /* its longest crypto operation */
	uint64_t step_op_ns;
	/* since the CPU clock was read */
	uint64_t cpu_ns, cpu_charged_ns;
	uint32_t cpu_steps;
};

void usage_lane_init(struct usage_lane *l, struct env *env, bool worker);
void usage_lane_fini(struct usage_lane *l);
/* The lane of this thread (in the simulator: of the daemon whose step runs); NULL none. */
struct usage_lane *usage_self(void);
struct usage_lane *usage_enter(struct usage_lane *l); /* makes it so; returns the one before */

/* --- on the lane's thread --- */
void usage_step_begin(struct usage_lane *l, uint64_t now);
/* Charges the step; returns its CPU time. */
uint64_t usage_step_end(struct usage_lane *l, uint64_t now, uint8_t kind, uint8_t prio);
/* From here on the step is about this; what came before in it, too, when it was about nothing yet. */
void usage_about(const struct usage_subject *s);
void usage_inbox_waited(uint64_t ns);
/*
 * Of the cheap operations, of which every message has several, one in USAGE_TIMED is timed; 0: this one is not. Reading the clock costs
 * as much as counting the rest.
 */
#define USAGE_TIMED 8
static inline uint64_t usage_op_begin(enum usage_op op)
{
	struct usage_lane *l = usage_self();

	if (!l || (op <= USAGE_PRF && l->op_turn[op]++ % USAGE_TIMED))
		return 0;
	return env_now(l->env);
}
void usage_op_end(enum usage_op op, uint16_t alg, uint64_t begun);

/* --- any thread: a copy of the counters of many lanes, added up --- */
struct usage_sum {
	struct usage_cell kind[USAGE_KINDS][USAGE_PRIOS];
	struct usage_cell class[USAGE_CLASSES];
	struct usage_op_cell op[USAGE_OPS];
	struct usage_cell long_steps;
	struct hist inbox_wait;
	struct usage_entry *conns, *peers; /* costliest first */
	size_t n_conns, n_peers;
};
void usage_sum_add(
    struct usage_sum *s, struct usage_lane *l); /* also of entries; without memory these are left out */
/* now - before, for what both have. */
void usage_sum_since(struct usage_sum *now, const struct usage_sum *before);
void usage_sum_sort(struct usage_sum *s);
void usage_sum_fini(struct usage_sum *s);

#endif
