/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the control socket. Everything here belongs to the control thread, except where it says "any thread".
 *
 * A request is counted: its client has a reference while it lasts, and so has every operation under way for it elsewhere. When
 * the client goes, request->client becomes NULL and what still comes in is dropped.
 */
#ifndef DAEMON_CONTROL_PRIVATE_H
#define DAEMON_CONTROL_PRIVATE_H

#include <jansson.h>
#include <pthread.h>

#include "daemon/control/carried.h"
#include "daemon/control/control.h"
#include "daemon/control/jw.h"
#include "libcore/base/err.h"
#include "libcore/base/list.h"

#define CONTROL_PROTOCOL 1
#define LINE_MAX_BYTES   65536u /* of a request */
#define REQUESTS_MAX     16     /* under way for one client */
#define OUT_LOW          65536u /* a listing goes on when less is waiting */
#define OUT_DEFAULT      (4u << 20)
#define CLIENTS_DEFAULT  64
#define STALL_DEFAULT    (10 * NS_PER_S)

/* Something for the control thread to do; embedded, owned by the poster until fn is called, which may free it. */
struct post {
	struct list node;
	void (*fn)(struct control *c, struct post *p);
};

struct command;
struct conn;
struct crypto;
struct slow_step;
struct speed_cache;

struct client {
	struct list node;
	struct control *control;
	int fd;
	bool closing;    /* to be freed at the end of the round */
	bool eof;        /* it sends nothing more; closed when it has all its answers */
	bool skip_line;  /* the rest of an oversized line is thrown away */
	uint32_t events; /* what epoll watches */
	char *in;        /* LINE_MAX_BYTES + 1 */
	size_t n_in;
	char *out; /* waiting bytes are [out_at, n_out) */
	size_t out_at, n_out, out_cap;
	uint64_t out_since_ns; /* when the client last took something, or the first byte began to wait */
	struct list requests;
	uint32_t n_requests;
};

struct request {
	struct list node; /* of the client */
	uint32_t refs;    /* control thread only: what runs elsewhere gives its reference back by a post */
	struct control *control;
	struct client *client;
	char *id;     /* JSON text */
	json_t *args; /* the whole request */
	/* There is room for more output. NULL: nothing to continue. */
	void (*resume)(struct request *r);
	/* Every `tick_ns` while the request lasts. */
	void (*tick)(struct request *r);
	void *state;
	void (*state_free)(void *state);
};

struct control {
	struct daemon *d;
	struct control_config cfg;
	char *path;
	int epoll, wake;
	bool listening;
	pthread_t thread;
	bool threaded;
	struct list clients;
	uint32_t n_clients;
	uint32_t n_ticking; /* requests that want ticks */
	uint64_t next_tick_ns;

	pthread_mutex_t lock; /* guards posts, stopping */
	struct list posts;
	bool stopping;
	bool reloading;
	pthread_t reload_thread;
	struct control_stats stats; /* atomics */
	char *self_path;
	struct speed_cache *speeds;  /* doctor.c */
	struct carried_sums carried; /* since it started, as far as listings saw it; no SAs */
};
#define CTL_COUNT(c, field) __atomic_fetch_add(&(c)->stats.field, 1, __ATOMIC_RELAXED)
#define TICK_NS             (100 * NS_PER_MS)

void control_post(struct control *c, struct post *p); /* any thread */
struct request *request_ref(struct request *r);
void request_unref(struct request *r);

/* --- output --- */
/* Begin an event line of a request: {"id":..,"event":"name" ; the caller adds members, then request_send() closes it. */
void request_begin(const struct request *r, struct jw *w, const char *event);
/* Closes the object and the line; many lines may be in one w. */
void request_line_end(struct jw *w);
/* An item of a list: the caller adds members of its data in between. */
void request_item(const struct request *r, struct jw *w, const char *list);
void request_item_end(struct jw *w);
/* Sends what is in w and empties it. Without memory, or without a client, it is thrown away. */
void request_send(struct request *r, struct jw *w);
void request_progress(struct request *r, const char *text);
/* The last line; the request is over and must not be used unless the caller holds a reference. */
void request_done(struct request *r);
void request_fail(struct request *r, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *request_code(enum cy_err e);                           /* the protocol's word for it */
const char *request_arg(const struct request *r, const char *key); /* a string argument, NULL none */
bool request_flag(const struct request *r, const char *key);
int64_t request_int(const struct request *r, const char *key, int64_t fallback);
void request_want_ticks(struct request *r, void (*tick)(struct request *r));
static inline bool request_gone(const struct request *r)
{
	return !r->client;
}
void request_no_ticks(struct request *r);
bool request_has_room(const struct request *r);
/* Sends the lines of w as fast as the client takes them, then request_done(). The state of the request goes. */
void request_send_all(struct request *r, struct jw *take);
void request_start(struct client *cl, json_t *take_args, char *take_id, const struct command *cmd);
void request_detach(struct request *r); /* the client forgets it */

/* --- client.c --- */
struct client *client_new(struct control *c, int fd);
void client_refuse(struct control *c, int fd, const char *code, const char *text);
void client_event(struct client *cl, uint32_t events);
void client_tick(struct client *cl, uint64_t now);
void client_free(struct client *cl);
void client_resume(struct client *cl);
void client_set_events(struct client *cl);
void client_put(struct client *cl, const char *p, size_t n);
void client_drop_unread(struct client *cl, const char *why);
/* An error line for what is no request. */
void client_complain(struct client *cl, const char *id, const char *code, const char *text);

/* --- commands --- */
struct command {
	const char *name;
	void (*run)(struct request *r);
};
const struct command *command_find(const char *name);
extern const struct command commands[]; /* ends with name NULL */
const char *command_nearest(const char *name);

void cmd_status(struct request *r);
void cmd_statusall(struct request *r);
void cmd_up(struct request *r);
void cmd_cpus(struct request *r);
void cmd_doctor(struct request *r);
void cmd_down(struct request *r);
void cmd_route(struct request *r);
void cmd_unroute(struct request *r);
void cmd_reload(struct request *r);
void cmd_listalgs(struct request *r);
void cmd_listcerts(struct request *r);
void cmd_listcrls(struct request *r);
void cmd_purgecrls(struct request *r);
void write_revocation(struct control *c, struct jw *w);
void cmd_leases(struct request *r);
void cmd_log(struct request *r);
void cmd_loglevel(struct request *r);
void cmd_metrics(struct request *r);
void cmd_stats(struct request *r);
void cmd_stop(struct request *r);
void cmd_usage(struct request *r);
void cmd_version(struct request *r);

void list_speeds(struct request *r); /* doctor.c */
void control_speeds_free(struct control *c);

/* The connection that "name" says, with the config that holds it; NULL: the request has failed. */
/* Those that "name" means, at least one (*out: freed by the caller), or 0 and an answer. */
size_t request_conns(struct request *r, struct config **out_config, struct conn ***out);
/* daemon.c: what does not belong to one SA, members of an open object */
void write_daemon(struct control *c, struct jw *w, bool all);
void write_conn(struct jw *w, const struct daemon *d, const struct conn *conn);
/* cpus.c: what it is and where it leads, members of an open object */
struct machine_queue;
void write_queue(struct jw *w, const struct machine_queue *q);
/* usage.c: the longest crypto operation of a step, as member "crypto" */
void write_op(struct jw *w, const struct crypto *c, const struct slow_step *s);
/*
 * sas.c: IKE_SAs and CHILD_SAs in chunks; done(r) when all shards have been visited. name NULL: all. placed: then listed_sums() has which
 * CPU and which queue carries them.
 */
enum cy_err list_sas(struct request *r, const char *name, bool placed, void (*done)(struct request *r));
/* The same of all of them without output: the data plane's counters are read. */
enum cy_err read_sas(struct request *r, void (*done)(struct request *r));
const struct carried_sums *listed_sums(
    const struct request *r); /* until the state of the request is another */

#endif
