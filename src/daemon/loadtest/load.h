/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load test: a daemon of its own that initiates for many virtual clients, phase by phase, and measures. Each client is a connection
 * with its own identity and, when asked for, address. load.c runs phases, report.c writes what was seen, pki.c makes certificates,
 * main.c reads options.
 *
 * Threads: phases are run by the main thread; completions come on the workers of the daemon. What both touch is behind `lock`,
 * which is held for a few instructions.
 */
#ifndef DAEMON_LOADTEST_LOAD_H
#define DAEMON_LOADTEST_LOAD_H

#include <pthread.h>
#include <stdio.h>

#include "daemon/run.h"
#include "daemon/sa/manager.h"
#include "libcore/run/hist.h"

#define CAUSES_MAX  16
#define SECONDS_MAX 3600

enum phase_kind { PHASE_SETUP, PHASE_LIVENESS, PHASE_REKEY_CHILD, PHASE_REKEY_IKE, PHASE_DELETE, PHASE_N };
extern const char *const phase_names[PHASE_N];

struct options {
	const char *remote, *remote_id, *local_id, *source, *local_ts, *remote_ts, *ike, *esp, *psk, *auth,
	    *pki, *xauth_user, *xauth_password; /* xauth_user NULL: no XAUTH */
	const char *json, *svg, *plugindir, *rundir, *settings;
	uint32_t version /* 1 or 2 */, remote_port, clients, concurrency, workers, reuse_keys, tries,
	    timeout_ms;
	uint64_t count;
	double rate, liveness_rate, duration_s, hold_s; /* rate 0: as fast as `concurrency` allows */
	uint64_t phase[PHASE_N];                        /* exchanges of each phase, 0: not run */
	bool quiet, events, keep;
};

struct load;
struct client {
	struct load *l;
	struct conn *conn;
	struct up_watch watch;
	struct job job;
	struct sa_shard *shard;
	slab_handle handle;
	uint64_t started_ns;
	struct phase *busy; /* with an exchange of it */
	bool up;
};

struct second {
	uint32_t begun, done, failed, in_flight;
	float p50_ms, p99_ms;
};

struct cause {
	char text[80];
	uint64_t n;
};

struct phase {
	enum phase_kind kind;
	double seconds;
	uint64_t attempted, done, failed, starved /* open loop: no client was free */;
	uint32_t in_flight, max_in_flight;
	struct hist latency, last_second;
	struct cause causes[CAUSES_MAX];
	struct second *series;
	uint32_t n_series;
};

struct load {
	const struct options *o;
	struct daemon *d;
	struct config *config;
	struct client *clients;
	uint32_t n_clients;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct phase phase[PHASE_N];
	struct phase *now; /* NULL between them */
	uint64_t wanted;   /* of this phase */
	uint32_t *idle;    /* clients that may begin, a ring */
	uint32_t idle_at, idle_n;
	double rate; /* of this phase, 0: closed loop */
	bool closed_loop, stopping;
	uint64_t phase_start_ns;
};

/* --- load.c --- */
enum cy_err load_init(struct load *l, const struct options *o, struct daemon *d);
void load_fini(struct load *l);
void load_phase(struct load *l, enum phase_kind kind, uint64_t wanted);

/* --- report.c --- */
void report_second(struct load *l); /* one line to standard error, and a point of the series; lock is held */
void report_event(const struct load *l, const char *phase, const char *what);
int report_end(const struct load *l); /* JSON and SVG; 0 or an exit status */

/* --- pki.c --- */
/* DIR/ca.pem and ca.key, gateway.pem and gateway.key (for remote_id), client.key, client-N.pem: what is missing is made. */
bool pki_make(const char *dir, const char *kind, const char *remote_id, const char *local_id,
    uint32_t clients, char *why, size_t why_cap);
/* "client-%u@load.test" and a number; other text stands as it is */
void pattern_fill(const char *pattern, uint32_t n, char *out, size_t cap);

#endif
