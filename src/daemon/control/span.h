/* SPDX-License-Identifier: Apache-2.0 */
/* Queries that look at the daemon for a while (usage, doctor, cpus), and visits to every IKE_SA. Control thread. */
#ifndef DAEMON_CONTROL_SPAN_H
#define DAEMON_CONTROL_SPAN_H

#include "daemon/control/private.h"
#include "daemon/watch/doctor.h"

struct span {
	struct sample *now;      /* what came in it; with 0 s, since the start */
	struct sample *total;    /* since the start */
	struct machine *machine; /* what came in it */
};

struct span_query {
	bool total, machine; /* wanted */
	/* Writes the answer, however long; it is sent, and request_done() comes after it. */
	void (*fn)(struct request *r, struct jw *w, struct span *s, void *arg);
	bool (*ready)(
	    void *arg); /* is there what else is needed? NULL: yes. It is waited for a few seconds. */
	void (*arg_free)(void *arg);
};

void request_span(struct request *r, uint64_t ns, const struct span_query *q, void *take_arg);
/* The argument "seconds"; false: the request has failed. */
bool request_seconds(struct request *r, double fallback, uint64_t *out_ns);

/*
 * walk.c: visit() is called for every IKE_SA, on its worker, a few hundred a step, with the accumulator of its worker (acc_size bytes
 * of zeros before); then done() here with all of them. It is called also when the client has gone; a worker that hangs delays it
 * for ever, so nobody counts on it.
 */
struct walk_query {
	size_t acc_size;
	void (*visit)(void *acc, struct ike_sa *sa);
	void (*done)(struct control *c, void *arg, void *const *acc, uint32_t n);
	void (*acc_fini)(void *acc);
};
enum cy_err walk_sas(struct control *c, const struct walk_query *q, void *arg);

/* speeds.c: measured once, then remembered. NULL: not yet; then it is begun. */
struct speed_cache;
const struct alg_speed *control_speeds(struct control *c, size_t *out_n);

#endif
