/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All IKE_SAs: a shard a worker, each touched only by its worker, and the few things all shards share (counters, unique
 * numbers, who is connected), which are atomics or behind a mutex held for a table look-up only.
 */
#ifndef DAEMON_SA_MANAGER_H
#define DAEMON_SA_MANAGER_H

#include "daemon/sa/child_sa.h"
#include "daemon/sa/firsts.h"
#include "daemon/sa/halfopen.h"
#include "daemon/sa/ike_sa.h"

struct totals;

struct sa_shard {
	struct sa_manager *m;
	struct daemon *d;
	struct worker *w;
	uint32_t index;
	struct slab slab;      /* ike_sa */
	struct hmap by_spi;    /* our SPI */
	struct hmap by_init;   /* responder, half open or answered: peer's SPI and address */
	struct hmap by_id;     /* unique number */
	struct list half_open; /* responder, by age */
	struct list answered;  /* responder, established a moment ago, by age */
	struct firsts firsts;
	struct hmap child_in, child_out;
	struct list owed; /* CHILD_SAs that are gone, but not yet from the data plane */
	struct timer t_owed;
	struct protect_cache *protect;
	uint64_t stray_window_ns; /* rate limit of INVALID_IKE_SPI answers */
	uint32_t strays_answered;
};

struct sa_counters {
	uint64_t ike_sas, up, half_open, child_sas; /* now; up: of the IKE_SAs those established */
	uint64_t established, failed, init_requests, cookies_sent, cookies_ok, retransmits_out,
	    retransmits_in, timeouts;
	uint64_t drop_bad_icv, drop_syntax, drop_unexpected, drop_half_open_limit, drop_inbox, drop_stray,
	    drop_replay, drop_unprotected /* in clear, to an IKE_SA with keys */, drop_fragment;
	uint64_t cookies_bad, puzzles_sent, puzzles_ok, puzzles_bad, puzzles_solved, puzzles_let_through;
	uint64_t drop_blocked, drop_late /* queued too long */,
	    drop_pool /* would have waited too long for the pool */, half_open_evicted, drop_fragment_memory,
	    drop_fragment_timeout;
	uint64_t fragment_bytes; /* now */
	uint64_t firsts_kept,
	    firsts_gone_on; /* IKEv1: answered without an IKE_SA, and those that got one by going on */
	uint64_t crash_tokens_sent, crashes_detected;
	uint64_t child_established, rekeys_child, rekeys_ike, reauths, liveness_sent;
};

struct sa_manager {
	struct daemon *d;
	uint32_t n;
	struct sa_shard *shards;
	struct sa_counters c; /* atomics */
	uint64_t next_ike_id, next_child_id;
	uint32_t next_reqid;
	uint32_t next_own_id; /* marks and if_ids of CHILD_SAs' own */
	uint64_t map_key[2];
	uint64_t cookie_secret[2][4]; /* current and previous; workers read under cookie_lock */
	uint32_t cookie_version;
	uint64_t cookie_since_ns;
	pthread_mutex_t cookie_lock;
	struct half_open_table *half_open;
	uint8_t crash_secret[32];
	pthread_mutex_t peers_lock;
	struct hmap peers, peers_by_conf, peers_by_addr; /* struct peer_entry, see unique.c */
	pthread_mutex_t reqids_lock;
	struct hmap by_owner, claims; /* struct child_sa, struct claim, see reqid.c */
	uint32_t next_shard;
	struct totals *totals;
	bool stopping; /* atomic: sa_stopping() */
};
#define SA_COUNT(m, field)   __atomic_fetch_add(&(m)->c.field, 1, __ATOMIC_RELAXED)
#define SA_UNCOUNT(m, field) __atomic_fetch_sub(&(m)->c.field, 1, __ATOMIC_RELAXED)
#define SA_READ(m, field)    __atomic_load_n(&(m)->c.field, __ATOMIC_RELAXED)

enum cy_err sa_manager_new(struct daemon *d, struct sa_manager **out) CY_MUST_USE;
void sa_manager_free(struct sa_manager *m); /* workers are stopped; destroys what is left */
void sa_deliver(void *manager, struct worker *w, struct net_packet *p); /* net_deliver_fn */
struct knl_handlers sa_kernel_handlers(struct daemon *d); /* events of the data plane to workers */
void sa_on_acquire(void *daemon, uint32_t reqid, uint64_t cookie, const struct cy_ts *src,
    const struct cy_ts *dst, int32_t cpu);

/* --- news.c: on the kernel's threads --- */
void sa_on_network(void *daemon);
void sa_on_resync(void *daemon, struct knl_sa *take, size_t n, uint64_t at_ns);

struct sa_shard *sa_shard_of(struct sa_manager *m, struct worker *w);
struct ike_sa *sa_find(struct sa_shard *s, uint64_t our_spi);
/* Removes the oldest IKE_SA of this shard that is half open and only waits for its peer. False: there is none that is old enough. */
bool sa_make_room(struct sa_shard *s);
/*
 * Would a first request wait for the pool until it is as old as none may get in the queue of its worker (init_queue_time)? slow: its key
 * exchange is done there. Others may need the pool for their proof: they get in until it is twice as far behind.
 */
bool sa_pool_is_behind(struct sa_shard *s, const struct net_packet *p, bool slow);
struct ike_sa *sa_find_init(struct sa_shard *s, uint64_t spi_i, const struct cy_addr *remote);
uint64_t sa_init_hash(const struct sa_shard *s, uint64_t spi_i, const struct cy_addr *remote);
struct ike_sa *sa_by_id(struct sa_shard *s, uint64_t id);

/* Run fn on every worker's shard, then done(user) on the last of them; any thread. */
enum cy_err sa_each_shard(struct sa_manager *m, enum prio prio, void (*fn)(struct sa_shard *s, void *user),
    void (*done)(void *user), void *user);
/*
 * Run fn on every IKE_SA, which may destroy it, then done(user); any thread. A worker does it in jobs of SA_EACH_COST at most, between which
 * it does other work; fn says what it cost, 1 for a look. What was made meanwhile is visited too, as long as that ends.
 */
#define SA_EACH_COST  2048 /* of a job */
#define SA_CLOSE_COST 64   /* a message is built, encrypted and sent */
typedef uint32_t (*sa_each_fn)(struct ike_sa *sa, void *user);
enum cy_err sa_each(
    struct sa_manager *m, enum prio prio, sa_each_fn fn, void (*done)(void *user), void *user);
static inline bool sa_stopping(const struct sa_manager *m) /* any thread */
{
	return __atomic_load_n(&m->stopping, __ATOMIC_RELAXED);
}
/* Begin to close everything: IKE_SAs send their delete. */
void sa_manager_shutdown(struct sa_manager *m);

/* --- initiate.c: any thread --- */
/*
 * Bring up a connection, unless it is up: a user's wish, or auto=start. watch may be NULL; its done is called on a worker.
 */
void sa_up(struct daemon *d, struct conn *conn, struct up_watch *watch);
/*
 * The same whether it is up or not: with an established IKE_SA to the same peer and reuse_ike_sa a CHILD_SA in it, else a new IKE_SA. watch may
 * be NULL. reqid and acquire selectors from a trap, or 0/NULL.
 */
void sa_initiate(struct daemon *d, struct conn *conn, struct up_watch *watch, uint32_t reqid,
    const struct cy_ts *acq_src, const struct cy_ts *acq_dst);
/* The same on the SA's worker, to replace `old` by reauthentication (make before break). */
void sa_reauthenticate(struct ike_sa *old);
/* What should have replaced another one is destroyed before it was up: try again while there is time. */
void sa_reauth_failed(struct ike_sa *sa);
/* Close by connection name ("NAME", "NAME[ike id]", "NAME{child id}", "NAME{}": its CHILD_SAs); done gets how many were found. */
void sa_terminate(struct daemon *d, const char *what, void (*done)(void *user, uint32_t n), void *user);
/* How many of them are there, among those with numbers up to these? */
void sa_count_named(struct daemon *d, const char *what, uint64_t max_ike_id, uint64_t max_child_id,
    void (*done)(void *user, uint32_t n), void *user);
/* A CHILD_SA was closed, or could not be kept, and nobody asked for that: apply dpd_action/close_action. */
void sa_child_action(struct sa_shard *s, struct conn *conn, enum conn_dpd action);
/* Delete it with a message when it is established, at once when not. */
void ike_sa_close(struct ike_sa *sa, const char *why);

/* --- unique.c --- */
void unique_register(
    struct ike_sa *sa); /* after authentication: applies uniqueids and INITIAL_CONTACT to others */
/* Before it is up; false: there is one to the same peer already, or one that connects (which it is). */
bool unique_connecting(struct ike_sa *sa, struct sa_shard **out_shard, slab_handle *out_handle);
/* The user behind the peer's identity, who logged in with us; NULL none. */
const char *unique_user(const struct ike_sa *sa);
void unique_forget(struct ike_sa *sa);
void unique_handover(struct ike_sa *from, struct ike_sa *to); /* IKE_SA rekey */
/* The IKE_SA (its number) of the same identities that this one continues, by address or INITIAL_CONTACT; 0 none. */
uint64_t unique_session(struct sa_manager *m, const struct ike_sa *sa);
/* IKEv1: another one of this worker with the same identities and the same peer's address and port, 0 none. */
slab_handle unique_twin(struct ike_sa *sa);
/* The same of identities and user, once he has logged in. */
bool unique_known_user(struct sa_manager *m, const struct ike_sa *sa);
/* IKEv1: the worker that has an established IKE_SA with this address and port, NULL none. */
struct sa_shard *unique_by_addr(struct sa_manager *m, const struct cy_addr *remote);
void unique_moved(struct ike_sa *sa); /* it has a new remote address */
/* Is there an IKE_SA of these identities, other than at the address not_at (NULL: anywhere)? */
bool unique_known(struct sa_manager *m, const struct ident *my_id, const struct ident *peer_id,
    const struct cy_addr *not_at);
/* An established IKE_SA to the peer of this connection. */
bool unique_find_conf(
    struct sa_manager *m, const struct conn *conn, struct sa_shard **out_shard, slab_handle *out_handle);

#endif
