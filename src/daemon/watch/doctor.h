/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What limits this daemon now: rules over what is counted, each a sentence with the number behind it and what to change. They
 * see counters only, so that a test gives them any. Control thread.
 */
#ifndef DAEMON_WATCH_DOCTOR_H
#define DAEMON_WATCH_DOCTOR_H

#include "daemon/watch/machine.h"
#include "daemon/watch/sample.h"

enum finding_level {
	FINDING_LIMITS, /* it limits the daemon now, or costs packets now */
	FINDING_WARNS,  /* it will, or it costs something */
	FINDING_PAST,   /* it did since the start, not while we looked */
};
extern const char *const finding_levels[];

struct finding {
	const char *id;
	enum finding_level level;
	double value; /* the number behind it */
	const char *unit;
	char text[640], advice[1024];
};

/* An algorithm's cost, measured here. */
struct alg_speed {
	enum cy_kind kind;
	uint16_t id, key_bits;
	bool aead;
	double ns; /* ciphers and MACs: 1400 bytes; key exchange: one side */
};

/* What CHILD_SAs of a connection use. */
struct conn_cost {
	char conn[96];
	uint16_t encr, key_bits, integ;
	uint32_t child_sas;
	const struct proposal_list *offers; /* what the connection allows, empty: the defaults */
};

/* An inbound SA. */
struct busy_sa {
	int32_t cpu; /* that carries it, -1: not known */
	bool encap;  /* in UDP */
	uint64_t packets;
	char who[64]; /* "user alice", or the peer's address */
	char peer[48];
	char ifname[16];
	uint32_t queue; /* by which it comes; ifname "": not known */
};

/* The plugin that sends received ESP to CPUs. */
enum steer_state {
	STEER_NONE, /* not loaded */
	STEER_OFF,
	STEER_WATCHES,
	STEER_ON,
};

struct doctor_input {
	const struct sample *now;      /* what came in a few seconds */
	const struct sample *total;    /* since the start */
	const struct machine *machine; /* of the same seconds; may be NULL */
	uint32_t inbox_max, rcvbuf, cookie_threshold, half_open_limit, io_quota;
	const struct alg_speed *speeds;
	size_t n_speeds;
	const struct conn_cost *costs;
	size_t n_costs;
	const struct busy_sa *sas;
	size_t n_sas;
	enum steer_state steer;
	uint64_t steer_sent, steer_lost; /* packets sent to CPUs, and those that did not arrive there */
	bool kernel_userspace;           /* the data plane is our own */
};

/* Calls back for each finding, the most pressing first. Returns how many limit the daemon now. */
size_t doctor_run(const struct doctor_input *in, void (*cb)(void *user, const struct finding *f), void *user);
/* What an error counter of the data plane means, and what to do; NULL: not known. */
const char *doctor_error_text(const char *name, const char **out_advice);

/* speed.c: takes CPU time, so it runs on the pool. All registered ciphers, MACs and key exchanges; each about a millisecond. */
struct alg_speed *speeds_measure(const struct crypto *c, struct env *env, size_t *out_n);
/* Of one packet with these; 0: not measured. */
double speeds_packet_ns(
    const struct alg_speed *s, size_t n, uint16_t encr, uint16_t key_bits, uint16_t integ);

#endif
