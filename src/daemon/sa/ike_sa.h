/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IKE_SA: a strand. It is owned by one worker (its shard) and touched by nobody else. One message or task is worked on
 * at a time; while that waits for an operation (pool, kernel) the SA is busy and datagrams wait in a bounded inbox. An
 * operation's completion finds the SA again by handle and is dropped when the SA, or the operation, is gone.
 *
 * This file is common to both versions of IKE; what differs is behind struct ike_ops.
 */
#ifndef DAEMON_SA_IKE_SA_H
#define DAEMON_SA_IKE_SA_H

#include "daemon/auth/xauth.h"
#include "daemon/core/daemon.h"
#include "daemon/kernel/knl.h"
#include "daemon/net/net.h"
#include "daemon/wire/protect.h"
#include "libcore/base/hmap.h"
#include "libcore/base/ident.h"
#include "libcore/base/slab.h"
#include "libcore/conf/conn.h"
#include "libcore/run/bus.h"
#include "libcore/run/pool.h"

#include <stdarg.h>

struct ike_sa;
struct child_sa;
struct sa_shard;

enum ike_state {
	IKE_CREATED,
	IKE_CONNECTING, /* half open */
	IKE_ESTABLISHED,
	IKE_REKEYED, /* replaced by a successor, about to be deleted */
	IKE_DELETING,
};
extern const struct name ike_state_names[];

/* --- exchanges we start ------------------------------------------------------------------------------------- */

enum task_kind {
	TASK_INIT, /* IKE_SA_INIT and IKE_AUTH */
	TASK_AUTH,
	TASK_CHILD_CREATE,
	TASK_CHILD_REKEY,
	TASK_CHILD_DELETE,
	TASK_IKE_REKEY,
	TASK_IKE_DELETE,
	TASK_LIVENESS,
};
extern const struct name task_names[];

/*
 * Somebody who wants to know how a bring-up goes (ipsec up). Called on the SA's worker; must not block. done is called
 * exactly once, then the watch is forgotten.
 */
struct up_watch {
	struct list node;
	void (*line)(struct up_watch *w, const char *text); /* may be NULL */
	void (*done)(struct up_watch *w, bool ok, const char *why);
};

struct task {
	struct list node;
	enum task_kind kind;
	uint64_t child_id;      /* the CHILD_SA it is about (rekey, delete), 0 none */
	struct conn *conn;      /* CHILD_CREATE: a reference */
	struct child_sa *fresh; /* the CHILD_SA being made; owned */
	uint32_t reqid;         /* CHILD_CREATE from a trap */
	int32_t cpu;            /* CHILD_CREATE of a CHILD_SA for a CPU, -1 none, */
	uint64_t like;          /* with all that this one has */
	struct cy_ts acq_src, acq_dst;
	bool has_acquire;
	uint64_t
	    superseded; /* CHILD_REKEY: the peer's new CHILD_SA, with which it closed the old one meanwhile */
	uint32_t ts_pair; /* CHILD_CREATE of IKEv1: which pair of the connection's selectors */
	uint32_t tries;
	uint64_t not_before_ns; /* TEMPORARY_FAILURE: try again later */
	struct list watches;    /* struct up_watch */
	void *state;            /* of the version's handler; freed with state_free */
	void (*state_free)(void *state);
};

/* --- messages ------------------------------------------------------------------------------------------------ */

/* What was sent for one message, kept to send it again. */
struct sent {
	struct cy_buf *parts; /* owned */
	uint32_t msgid;
	uint16_t n;
	bool valid;
};

/* One message being handled, or one request being built. Lives on while the SA is busy. */
struct step {
	struct arena a;
	struct net_packet *pkt; /* NULL: building a request */
	struct message in;
	struct message out;
	void *ctx;     /* a value the handler's parts pass on */
	void *handler; /* state of the handler, in the arena */
};

struct ike_keys {
	struct secret all; /* SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr (RFC 7296, 2.14) */
	uint16_t prf_len, integ_len, encr_len;
};

struct ike_lease {
	char *pool;
	struct cy_addr addr;
};

/* What a back end assigned to the user instead of what the connection says. */
struct ike_assigned {
	struct cy_addr addr; /* family 0: none */
	char *pool, *group;  /* NULL: none */
};

struct ike_sa {
	slab_handle handle;
	struct sa_shard *shard;
	struct hnode by_spi, by_init, by_id;
	struct half_open_peer *half_open; /* that it is counted for */
	struct list by_age;               /* half open, or recently so; the oldest first */
	uint64_t id;                      /* unique in this daemon's life */
	enum ike_state state;
	uint8_t version;
	bool initiator; /* of this IKE_SA, which a rekey may turn round */
	bool in_init_map, counted_half_open, cookie_proven;
	bool unsettled;      /* made by the peer while our own rekeying is under way: which one stays? */
	bool auth_initiator; /* of the first IKE_SA: who reauthenticates */
	bool nat_here, nat_there, natt /* on the NAT-T ports */, encap_forced;
	bool peer_frag, peer_transport_ok, got_initial_contact;
	bool redirect_childless;
	uint64_t spi_i, spi_r;
	struct conn *conn;
	struct config *config;
	struct cy_addr local, remote;
	struct ident my_id, peer_id;
	struct suite suite;
	uint32_t peer_hashes; /* bit per enum cy_hash, RFC 7427 */
	struct ike_keys keys;
	uint64_t iv_counter;
	char *peer_vendor;
	uint8_t *crash_token; /* the peer's (RFC 6290); NULL none */
	uint16_t n_crash_token;
	bool crash_token_due; /* the peer does not have ours yet */

	uint32_t next_send, next_recv; /* message IDs */
	struct sent response;          /* to request next_recv - 1 */
	struct sent request;           /* outstanding */
	uint32_t tries, n_children;
	struct frag_set frag_in_req, frag_in_resp;

	struct list tasks; /* waiting */
	struct task *task; /* in progress: being built or awaiting its response */
	/* IKEv1: tasks whose exchanges are under way, several at once; `task` is then the one that is being worked on */
	struct list running;
	struct step *step; /* being handled */
	uint64_t op_id;    /* the operation we wait for, 0 none */
	uint64_t last_op_id;
	struct list inbox; /* net_packet */
	uint32_t n_inbox, inbox_dropped;

	struct list children;           /* child_sa, in order of ids */
	struct list watches;            /* up_watch of the bring-up */
	struct child_sa *pending_child; /* being made for the peer's request; owned */
	slab_handle heir;               /* the IKE_SA being made to replace this one, 0 none; dies with it */
	uint64_t collision; /* our SPI of the IKE_SA the peer made while we were rekeying, 0 none */
	struct secret collision_nonce; /* the smaller of its two */

	struct timer t_fragments;
	struct timer t_retransmit, t_half_open, t_rekey, t_expire, t_dpd, t_keepalive, t_task;
	uint64_t created_ns, established_ns, last_in_ns, last_out_ns;
	uint64_t rekey_due_ns, expire_due_ns; /* for status */
	bool rekey_is_reauth;
	bool save_password_said, save_password; /* the peer's word: may the user's password be kept? */
	uint64_t replaces;        /* unique id of the SA that this one reauthenticates, 0 none */
	uint32_t tries_left_init; /* keyingtries */

	uint32_t n_vips, n_leases, n_dns;
	struct cy_addr *vips;     /* given to us */
	struct knl_req *vips_out; /* takes those out that are installed */
	struct ike_lease *leases; /* given to the peer */
	struct cy_addr *dns;
	char *
	    backups; /* servers the peer says we may go to when it is away, separated by commas; NULL none said */
	struct peer_entry *peer_entry; /* unique.c */
	void *init; /* the version's: state of the initial exchanges; with IKEv1 for the whole life */
	void (*init_free)(void *init);
	char *user;           /* XAUTH name of the peer, or ours as a client; NULL none */
	uint64_t xauth_login; /* of the peer: a login in progress or its session, 0 none */
	struct ike_assigned assigned;
	struct ike_verification
	    *verification; /* verify.c: waits to know whether the peer was revoked; NULL no */
	const char *why;   /* of the failure: one sentence, "" none; ike_sa_fail() */

	uint64_t about_conn, about_peer; /* whom its time is charged to (about.c) */
	const struct conn *about_conn_of;
	bool about_established;
};

/* --- versions ------------------------------------------------------------------------------------------------ */

struct ike_ops {
	uint8_t major;
	/* A message for which no SA exists; owns p. */
	void (*stray)(struct sa_shard *s, struct net_packet *p);
	/* A message for this SA, which is not busy; owns p. */
	void (*packet)(struct ike_sa *sa, struct net_packet *p);
	/* Begin a task: build its request, perhaps after operations, and send it with exchange_send(). */
	void (*task_start)(struct ike_sa *sa, struct task *t);
	/* NULL: always. False: not yet; others may come first. */
	bool (*may_start)(const struct ike_sa *sa, const struct task *t);
	/* The task's request was never answered. */
	void (*task_timeout)(struct ike_sa *sa, struct task *t);
};

/* --- life ---------------------------------------------------------------------------------------------------- */

struct ike_sa *ike_sa_new(
    struct sa_shard *s, uint8_t version, bool initiator) CY_MUST_USE; /* NULL: limit or memory */
/* Removes it and its CHILD_SAs from everywhere. why: for events and watchers; NULL for silence (a rekeyed SA). */
void ike_sa_destroy(struct ike_sa *sa, const char *why);
void ike_sa_set_conn(struct ike_sa *sa, struct conn *conn);
void ike_sa_index(struct ike_sa *sa);       /* after our SPI is chosen */
void ike_sa_established(struct ike_sa *sa); /* state, timers, event, uniqueness */
void ike_sa_fail(struct ike_sa *sa, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* remember why; first wins */
void ike_sa_vfail(struct ike_sa *sa, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void ike_sa_forgive(struct ike_sa *sa); /* forget why */
/* As responder, with its addresses and SPIs known; proven: the peer has returned a cookie. */
void ike_sa_half_open(struct ike_sa *sa, bool proven);
void ike_sa_unindex_init(struct ike_sa *sa); /* its first request is no longer known */
/* It was established so long ago that whoever sends this first request now begins anew. */
bool ike_sa_init_is_old(const struct ike_sa *sa);
void ike_fragments_drop(struct ike_sa *sa, struct frag_set *f);
void ike_event(const struct ike_sa *sa, enum cy_event_kind kind, const char *reason);
void ike_event_child(
    const struct ike_sa *sa, const struct child_sa *c, enum cy_event_kind kind, const char *reason);
/* A copy of such an event that outlives the SA. */
struct event_copy;
struct event_copy *ike_event_child_copy(
    const struct ike_sa *sa, const struct child_sa *c, enum cy_event_kind kind, const char *reason);
struct cy_event *ike_event_copy(struct event_copy *copy);
void ike_event_copy_free(struct event_copy *copy);
uint64_t rekey_delay_ns(struct env *env, uint64_t lifetime_s, uint64_t margin_s, uint32_t fuzz_pct);
uint64_t ike_sa_our_spi(const struct ike_sa *sa);
/* dpddelay= of the connection, or dpd_delay of cygnet.conf where it says nothing; 0 none */
static inline uint32_t sa_dpd_delay_s(const struct daemon *d, const struct conn *c)
{
	return c->dpd_unsaid && d->tune.dpd_delay_s ? d->tune.dpd_delay_s : c->dpd_delay_s;
}
void ike_sa_schedule(struct ike_sa *sa); /* rekey, reauth, expiry, liveness timers from its connection */
/* When we are behind a NAT. */
void ike_keepalives_start(struct ike_sa *sa);
/* The peer (or we) moved: CHILD_SAs follow (NAT rebinding). */
void ike_sa_moved(struct ike_sa *sa, const struct cy_addr *local, const struct cy_addr *remote);
/* --- vips.c --- */
bool ike_addr_add(struct cy_addr **list, uint32_t *n, const struct cy_addr *a); /* false: no memory */
bool ike_install_vips(struct ike_sa *sa); /* ours, before any policy that follows; false: no memory */
void ike_remove_vips(struct ike_sa *sa);
/* A line for log and watchers. */
void ike_note(struct ike_sa *sa, enum log_group g, enum cy_level level, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool ike_note_wanted(const struct ike_sa *sa, enum log_group g,
    enum cy_level level); /* would anybody see it? what costs something to write is not written otherwise */
void ike_watch_done(struct ike_sa *sa, struct list *watches, bool ok, const char *why);
struct cy_slice ike_key(const struct ike_sa *sa, int which); /* enum ike_key_index */
enum ike_key_index { SK_D, SK_AI, SK_AR, SK_EI, SK_ER, SK_PI, SK_PR, SK_N };
void ike_protect_keys(struct ike_sa *sa, bool sending, struct protect_keys *out);

/* --- addresses for the peer (lease.c) ---------------------------------------------------------------------------- */

/* Whose leases they are: the user's, else the peer's identity. */
const char *ike_lease_key(const struct ike_sa *sa, char buf[IDENT_STR_MAX]);
/*
 * An address of the family for the peer, added to sa->leases: the user's own, else from the pool he or his group was assigned, else from
 * those of the connection. wanted: what the peer asks for, or any. Every failure is logged. CY_E_NOTFOUND: there are no
 * addresses of this family for it; CY_E_LIMIT: all are in use; CY_E_BUSY: the user's own is another's.
 */
enum cy_err ike_lease(
    struct ike_sa *sa, int family, const struct cy_addr *wanted, struct cy_addr *out) CY_MUST_USE;

/* --- operations that take time -------------------------------------------------------------------------------- */

/*
 * Run fn(arg) on the pool when slow, at once otherwise, then cont(sa, arg, err) on the SA's worker; the SA is busy meanwhile.
 * drop(arg) is called instead of cont when the SA is gone. arg is heap memory that cont or drop frees.
 */
typedef void (*ike_cont)(struct ike_sa *sa, void *arg, enum cy_err err);
void ike_run(struct ike_sa *sa, bool slow, enum cy_err (*fn)(void *arg), ike_cont cont,
    void (*drop)(void *arg), void *arg);
/*
 * Is the peer who it says it is: fn(op), perhaps on the pool, and then whether its certificates were revoked, which servers may have to be
 * asked for. cont gets op and frees it, as with ike_run(); with a failure op->why says what it is. Gives t_half_open the time that servers
 * may take.
 */
struct auth_op;
void ike_verify(struct ike_sa *sa, enum cy_err (*fn)(void *op), ike_cont cont, struct auth_op *op);
void ike_verify_end(struct ike_sa *sa); /* the SA goes */
/* Submit a kernel request; cont gets it as arg and frees it. When the SA is gone what was added is removed again. */
void ike_kernel(struct ike_sa *sa, struct knl_req *r, ike_cont cont);
/*
 * Have the user's name and password checked by the connection's back end; the SA is busy meanwhile, then cont is called with the
 * answer, which it borrows. Sets sa->user, and gives t_half_open the time that the back end may take. After
 * CY_XAUTH_OK the session lasts until ike_xauth_end() or the end of the SA.
 */
typedef void (*ike_xauth_cont)(struct ike_sa *sa, const struct xauth_answer *a);
void ike_xauth_begin(struct ike_sa *sa, const char *user, struct cy_slice password, ike_xauth_cont cont);
void ike_xauth_reply(struct ike_sa *sa, struct cy_slice answer, ike_xauth_cont cont); /* after a challenge */
void ike_xauth_end(struct ike_sa *sa);
bool ike_set_user(struct ike_sa *sa, const char *user); /* false: no memory */
static inline bool ike_busy(const struct ike_sa *sa)
{
	return sa->op_id != 0;
}

/* --- steps and exchanges (exchange.c) -------------------------------------------------------------------------- */

struct step *step_new(
    struct ike_sa *sa, struct net_packet *p) CY_MUST_USE; /* becomes sa->step; NULL: no memory (p is freed) */
void step_free(struct step *s);
void step_discard(struct ike_sa *sa); /* frees sa->step and nothing else */
void step_end(struct ike_sa *sa);     /* frees sa->step; then runs what waits: inbox, tasks */

struct task *task_new(enum task_kind kind) CY_MUST_USE;
void task_free(struct task *t);
void task_queue(struct ike_sa *sa, struct task *t); /* takes t; starts it when nothing else is going on */
void task_start_next(struct ike_sa *sa);            /* of those that wait, when nothing else is going on */
void task_queue_front(struct ike_sa *sa, struct task *t);
bool task_pending(const struct ike_sa *sa, enum task_kind kind, uint64_t child_id);
void task_done(
    struct ike_sa *sa); /* the task in progress is finished: frees it; the next starts at step_end */
void task_retry(struct ike_sa *sa, uint64_t delay_ns); /* put the task in progress back */

/* Encode, protect, fragment and send step->out as the request of the task in progress; starts retransmission. */
enum cy_err exchange_send(struct ike_sa *sa, bool protect) CY_MUST_USE;
/* The same as response to step->in; remembered for retransmitted requests. */
enum cy_err exchange_respond(struct ike_sa *sa, bool protect) CY_MUST_USE;
void exchange_resend_response(struct ike_sa *sa);
void exchange_answered(struct ike_sa *sa); /* the response to our request is here: stop retransmitting */
void exchange_feed(
    struct ike_sa *sa, struct net_packet *p); /* a datagram arrived: handle, or wait in the inbox */
void sent_clear(struct sent *s);
/* For exchanges that keep their own: a datagram more (sent: a struct sent; false without memory), send them all, the wait before
   retransmission number `tries`, and how many there are. */
bool sent_add(void *sent, struct cy_slice datagram);
void sent_transmit(struct ike_sa *sa, const struct sent *s);
uint64_t retransmit_delay(const struct ike_sa *sa, uint32_t tries);
uint32_t retransmit_max(const struct ike_sa *sa);
void exchange_retransmit(struct timer *timer); /* t_retransmit */
void exchange_task_timer(struct timer *timer); /* t_task */

#endif
