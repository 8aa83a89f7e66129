/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon for tests of the control socket: its files in a folder of its own, a data plane that does nothing and a network
 * that loses everything unless two are joined. Clients are ends of socket pairs.
 */
#ifndef CTL_UTIL_H
#define CTL_UTIL_H

#include <jansson.h>
#include <pthread.h>

#include "daemon/control/control.h"
#include "daemon/run.h"

struct ctl_datagram;

struct ctl {
	char dir[64];
	struct daemon *d;
	struct control *c;
	uint32_t stops;    /* requests to stop, atomic */
	uint32_t queries;  /* of the data plane, atomic */
	uint32_t query_ms; /* how long each takes, atomic */
	uint32_t refuse;   /* it installs no SA, atomic */
	uint64_t packets;  /* that each SA has carried, atomic: 1 */
	int32_t cpu;       /* that carries all SAs, atomic: -1, it does not say */
	uint32_t rx_queue; /* of lo, where inbound ones come, atomic */
	int64_t wall_off;  /* the wall clock is wrong, atomic */
	struct env env;
	/* the wire */
	struct ctl *peer; /* who gets what we send, NULL nobody */
	uint32_t lose;    /* the next so many datagrams that we send are lost, atomic */
	pthread_mutex_t lock;
	struct ctl_datagram *in, **in_end, *being_read;
	int readable;
};

struct ctl_client {
	int fd;
	char buf[1 << 18];
	size_t n;
};

void ctl_write(const struct ctl *t, const char *name, const char *text);
/* conf: ipsec.conf; cfg: limits (listen_fd and hooks are set here), NULL the defaults. */
void ctl_start(struct ctl *t, const char *conf, const struct control_config *cfg);
void ctl_stop(struct ctl *t);
/* Fails the test when no plugin can do a key exchange: openssl is not built, and nothing could come up. */
void ctl_need_crypto(const struct ctl *t);
/* What one sends the other gets, from now on; before either is stopped it ends with NULL. */
void ctl_join(struct ctl *t, struct ctl *peer);
void ctl_put(struct ctl *t, const struct cy_dgram *d); /* it receives this; copied */

/* Connects and eats the hello. */
void ctl_connect(struct ctl *t, struct ctl_client *cl);
void ctl_send(struct ctl_client *cl, const char *text);
/* The next line, NULL when the daemon has closed; fails the test when there is none for so long that it hangs. */
json_t *ctl_next(struct ctl_client *cl);
/* Lines until "done", whose ok and error code are compared (NULL: ok). Returns how many items and progress lines came before. */
size_t ctl_done(struct ctl_client *cl, const char *code);
/* All of an answer: its data, and its items as arrays by list. The caller's. */
json_t *ctl_answer(struct ctl_client *cl, const char *text);
json_t *ctl_rest(struct ctl_client *cl); /* of what was asked for before */
/* The element of a list in which these have these values; k2 may be NULL. */
json_t *ctl_row(
    json_t *all, const char *list, const char *k1, const char *v1, const char *k2, const char *v2);
void ctl_close(struct ctl_client *cl);

#endif
