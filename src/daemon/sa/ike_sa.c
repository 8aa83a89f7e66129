/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/ike_sa.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/policy/lease.h"
#include "daemon/sa/about.h"
#include "daemon/sa/manager.h"
#include "daemon/sa/totals.h"
#include "libcore/base/addr.h"
#include "libcore/run/bus.h"

#define EVICT_AGE_NS   (2 * NS_PER_S) /* an honest peer has gone on by then */
#define EVICT_LOOK     8              /* half-open IKE_SAs that are looked at */
#define FORGET_AT_ONCE 4              /* more than one comes in: none stays that is too old */

const struct name ike_state_names[] = {{IKE_CREATED, "CREATED"}, {IKE_CONNECTING, "CONNECTING"},
    {IKE_ESTABLISHED, "ESTABLISHED"}, {IKE_REKEYED, "REKEYED"}, {IKE_DELETING, "DELETING"}, {0, NULL}};

const struct name task_names[] = {{TASK_INIT, "IKE_SA_INIT"}, {TASK_AUTH, "IKE_AUTH"},
    {TASK_CHILD_CREATE, "CHILD_CREATE"}, {TASK_CHILD_REKEY, "CHILD_REKEY"},
    {TASK_CHILD_DELETE, "CHILD_DELETE"}, {TASK_IKE_REKEY, "IKE_REKEY"}, {TASK_IKE_DELETE, "IKE_DELETE"},
    {TASK_LIVENESS, "LIVENESS"}, {0, NULL}};

/* --- timers ---------------------------------------------------------------------------------------------------- */

static void on_half_open(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_half_open);

	sa_about(sa);
	if (sa->initiator)
		ike_sa_fail(sa,
		    sa->spi_r ? "the peer did not complete XAUTH in time"
		              : "where the peer is could not be found out in time");
	ike_sa_fail(sa, "the peer did not complete %s within %llu s",
	    sa->version == 1 ? "phase 1" : "IKE_AUTH",
	    (unsigned long long)(sa->shard->d->tune.half_open_timeout_ns / NS_PER_S));
	ike_sa_destroy(sa, sa->why);
}

/* t, whose time it was, comes again when there was no memory. */
static void queue_simple(struct ike_sa *sa, enum task_kind kind, struct timer *t)
{
	struct task *task;

	if (task_pending(sa, kind, 0))
		return;
	task = task_new(kind);
	if (task)
		task_queue(sa, task);
	else
		worker_timer_set(sa->shard->w, t, worker_now(sa->shard->w) + NS_PER_S);
}

static void on_rekey(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_rekey);

	sa_about(sa);
	if (sa->state != IKE_ESTABLISHED)
		return;
	if (sa->rekey_is_reauth)
		sa_reauthenticate(sa);
	else
		queue_simple(sa, TASK_IKE_REKEY, t);
}

static void on_expire(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_expire);

	sa_about(sa);
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "lifetime of IKE_SA is over, deleting it");
	queue_simple(sa, TASK_IKE_DELETE, t);
}

/* RFC 7296, 2.4: ask only when nothing cryptographically protected was heard for the delay. */
static void on_dpd(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_dpd);
	uint64_t now = worker_now(sa->shard->w), delay = sa_dpd_delay_s(sa->shard->d, sa->conn) * NS_PER_S;

	sa_about(sa);
	if (now - sa->last_in_ns + NS_PER_MS >= delay && sa->state == IKE_ESTABLISHED && !sa->task) {
		SA_COUNT(sa->shard->m, liveness_sent);
		worker_timer_set(sa->shard->w, t, now + delay);
		queue_simple(sa, TASK_LIVENESS, t);
		return;
	}
	worker_timer_set(
	    sa->shard->w, t, now - sa->last_in_ns < delay ? sa->last_in_ns + delay : now + delay);
}

/* RFC 3948, 4: only who is behind a NAT sends keepalives, and only when idle. */
static void on_keepalive(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_keepalive);
	uint64_t now = worker_now(sa->shard->w), every = sa->shard->d->tune.keepalive_ns;

	sa_about(sa);
	if (now - sa->last_out_ns + NS_PER_MS >= every) {
		net_send_keepalive(sa->shard->d->net, sa->shard->w, &sa->local, &sa->remote);
		sa->last_out_ns = now;
	}
	worker_timer_set(sa->shard->w, t, sa->last_out_ns + every);
}

void ike_keepalives_start(struct ike_sa *sa)
{
	uint64_t every = sa->shard->d->tune.keepalive_ns;

	if (sa->nat_here && every)
		worker_timer_set(sa->shard->w, &sa->t_keepalive, worker_now(sa->shard->w) + every);
}

void ike_fragments_drop(struct ike_sa *sa, struct frag_set *f)
{
	__atomic_fetch_sub(&sa->shard->m->c.fragment_bytes, f->bytes, __ATOMIC_RELAXED);
	frag_fini(f);
}

static void on_fragments(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_fragments);

	if (sa->frag_in_req.active || sa->frag_in_resp.active)
		SA_COUNT(sa->shard->m, drop_fragment_timeout);
	ike_fragments_drop(sa, &sa->frag_in_req);
	ike_fragments_drop(sa, &sa->frag_in_resp);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static const char no_reason[] = "",
                  no_memory[] = "out of memory"; /* struct ike_sa.why, when it is not on the heap */

uint64_t ike_sa_our_spi(const struct ike_sa *sa)
{
	return sa->initiator ? sa->spi_i : sa->spi_r;
}

struct ike_sa *ike_sa_new(struct sa_shard *s, uint8_t version, bool initiator)
{
	slab_handle h;
	struct ike_sa *sa;

	if (s->d->tune.ike_sa_limit && SA_READ(s->m, ike_sas) >= s->d->tune.ike_sa_limit)
		return NULL;
	sa = slab_alloc(&s->slab, &h);
	if (!sa)
		return NULL;
	sa->handle = h;
	sa->shard = s;
	sa->version = version;
	sa->initiator = sa->auth_initiator = initiator;
	sa->id = __atomic_add_fetch(&s->m->next_ike_id, 1, __ATOMIC_RELAXED);
	sa->state = IKE_CREATED;
	sa->why = no_reason;
	sa->created_ns = sa->last_in_ns = sa->last_out_ns = worker_now(s->w);
	sa->config = daemon_config(s->d);
	list_init(&sa->by_age);
	list_init(&sa->tasks);
	list_init(&sa->running);
	list_init(&sa->inbox);
	list_init(&sa->children);
	list_init(&sa->watches);
	sa->t_retransmit.fn = exchange_retransmit;
	sa->t_task.fn = exchange_task_timer;
	sa->t_fragments.fn = on_fragments;
	sa->t_half_open.fn = on_half_open;
	sa->t_rekey.fn = on_rekey;
	sa->t_expire.fn = on_expire;
	sa->t_dpd.fn = on_dpd;
	sa->t_keepalive.fn = on_keepalive;
	hmap_add(&s->by_id, &sa->by_id, hmap_hash(&s->by_id, &sa->id, sizeof(sa->id)));
	SA_COUNT(s->m, ike_sas);
	return sa;
}

void ike_sa_set_conn(struct ike_sa *sa, struct conn *conn)
{
	struct conn *old = sa->conn;

	sa->conn = conn ? conn_ref(conn) : NULL;
	conn_unref(old);
}

void ike_sa_index(struct ike_sa *sa)
{
	uint64_t spi = ike_sa_our_spi(sa);

	hmap_add(&sa->shard->by_spi, &sa->by_spi, hmap_hash(&sa->shard->by_spi, &spi, sizeof(spi)));
}

static void free_packets(struct list *l)
{
	struct list *n;

	while ((n = list_pop(l)))
		net_packet_free(list_entry(n, struct net_packet, node));
}

static void release_leases(struct ike_sa *sa)
{
	/* also what it took over from another of the same peer and did not ask for */
	if (sa->state != IKE_REKEYED && sa->conn && (sa->n_leases || sa->conn->remote.pools.n))
		leases_end(sa->shard->d->leases, sa->id);
	for (uint32_t i = 0; i < sa->n_leases; i++)
		free(sa->leases[i].pool);
	free(sa->leases);
	sa->leases = NULL;
	sa->n_leases = 0;
}

void ike_sa_half_open(struct ike_sa *sa, bool proven)
{
	struct sa_shard *s = sa->shard;

	hmap_add(&s->by_init, &sa->by_init, sa_init_hash(s, sa->spi_i, &sa->remote));
	list_push(&s->half_open, &sa->by_age);
	sa->half_open = half_open_add(s->m->half_open, &sa->remote, proven);
	sa->cookie_proven = proven;
	sa->in_init_map = sa->counted_half_open = true;
	SA_COUNT(s->m, half_open);
	worker_timer_set(s->w, &sa->t_half_open, worker_now(s->w) + s->d->tune.half_open_timeout_ns);
}

bool sa_pool_is_behind(struct sa_shard *s, const struct net_packet *p, bool slow)
{
	uint64_t now = worker_now(s->w), oldest = pool_oldest(s->d->pool, POOL_CPU);
	uint64_t waited = now > p->received_ns ? now - p->received_ns : 0;

	if (!oldest || now <= oldest || waited + now - oldest <= s->d->tune.init_queue_ns * (slow ? 1 : 2))
		return false;
	SA_COUNT(s->m, drop_pool);
	net_refused(p);
	return true;
}

bool sa_make_room(struct sa_shard *s)
{
	uint64_t now = worker_now(s->w);
	struct list *n;
	int looked = 0;

	list_foreach (n, &s->half_open) {
		struct ike_sa *sa = list_entry(n, struct ike_sa, by_age);

		if (++looked > EVICT_LOOK || now - sa->created_ns < EVICT_AGE_NS)
			return false;
		if (ike_busy(sa) || sa->step)
			continue;
		SA_COUNT(s->m, half_open_evicted);
		ike_sa_destroy(sa, "it was half open and made room for another (init_limit_half_open)");
		return true;
	}
	return false;
}

static void no_longer_half_open(struct ike_sa *sa)
{
	if (sa->counted_half_open) {
		SA_UNCOUNT(sa->shard->m, half_open);
		half_open_del(sa->shard->m->half_open, sa->half_open);
	}
	list_del(&sa->by_age);
	sa->half_open = NULL;
	sa->counted_half_open = false;
}

void ike_sa_unindex_init(struct ike_sa *sa)
{
	if (sa->in_init_map)
		hmap_del(&sa->shard->by_init, &sa->by_init);
	sa->in_init_map = false;
	no_longer_half_open(sa);
}

/*
 * When there is more to do than time, the peer has repeated its first request before it was answered, and what it repeated may be handled
 * after all the rest: it must not make another IKE_SA. It is in the queue for no longer than init_queue_time.
 */
static void keep_init(struct ike_sa *sa)
{
	struct sa_shard *s = sa->shard;
	struct list *n;

	no_longer_half_open(sa);
	if (!sa->in_init_map)
		return;
	list_push(&s->answered, &sa->by_age);
	for (int i = 0; i < FORGET_AT_ONCE && (n = list_first(&s->answered)); i++) {
		struct ike_sa *oldest = list_entry(n, struct ike_sa, by_age);

		if (!ike_sa_init_is_old(oldest))
			return;
		ike_sa_unindex_init(oldest);
	}
}

bool ike_sa_init_is_old(const struct ike_sa *sa)
{
	return sa->established_ns &&
	    worker_now(sa->shard->w) > sa->established_ns + sa->shard->d->tune.init_queue_ns;
}

void ike_sa_destroy(struct ike_sa *sa, const char *why)
{
	struct sa_shard *s = sa->shard;
	struct worker *w = s->w;
	struct list *n;
	bool was_up = sa->established_ns != 0;
	struct ike_sa *other;
	struct protect_keys in, out;

	if (was_up)
		SA_UNCOUNT(s->m, up);
	sa->op_id = 0;
	ike_verify_end(sa);
	worker_timer_cancel(w, &sa->t_retransmit);
	worker_timer_cancel(w, &sa->t_fragments);
	worker_timer_cancel(w, &sa->t_half_open);
	worker_timer_cancel(w, &sa->t_rekey);
	worker_timer_cancel(w, &sa->t_expire);
	worker_timer_cancel(w, &sa->t_dpd);
	worker_timer_cancel(w, &sa->t_keepalive);
	worker_timer_cancel(w, &sa->t_task);
	while ((n = list_first(&sa->children)))
		child_remove(list_entry(n, struct child_sa, node), why ? why : "its IKE_SA was replaced");
	if (sa->state != IKE_REKEYED) {
		if (was_up)
			ike_event(sa, CY_EV_IKE_DOWN, why);
		else if (sa->conn)
			ike_event(sa, CY_EV_IKE_FAILED, why);
		if (!was_up && why) {
			SA_COUNT(s->m, failed);
			totals_ike(sa, &(struct totals_counts){.ike_failed = 1});
		}
		if (why)
			LOGF(s->d->log, LOG_IKE, was_up ? CY_LOG_NOTICE : CY_LOG_WARN,
			    (&(struct log_ctx){.conn = sa->conn ? sa->conn->name : NULL,
			        .ike_id = sa->id,
			        .user = sa->user}),
			    "IKE_SA %s: %s", was_up ? "closed" : "failed", why);
	}
	if (sa->heir) {
		struct ike_sa *heir = slab_get(&s->slab, sa->heir);

		sa->heir = 0;
		if (heir)
			ike_sa_destroy(heir, NULL);
	}
	if (sa->collision && (other = sa_find(s, sa->collision)) != NULL && other->unsettled) {
		/* what it was to replace is gone */
		other->unsettled = false;
		worker_timer_set(w, &other->t_expire, worker_now(w));
	}
	if (sa->replaces && !sa->established_ns)
		sa_reauth_failed(sa);
	unique_forget(sa);
	ike_sa_unindex_init(sa);
	if (sa_find(s, ike_sa_our_spi(sa)) == sa)
		hmap_del(&s->by_spi, &sa->by_spi);
	ike_watch_done(sa, &sa->watches, false, why ? why : "closed");
	if (sa->task) {
		ike_watch_done(sa, &sa->task->watches, false, why ? why : "closed");
		task_free(sa->task);
	}
	while ((n = list_pop(&sa->tasks)) || (n = list_pop(&sa->running))) {
		struct task *t = list_entry(n, struct task, node);

		ike_watch_done(sa, &t->watches, false, why ? why : "closed");
		task_free(t);
	}
	if (sa->step)
		step_discard(sa);
	if (sa->pending_child) {
		if (sa->pending_child->in_installed)
			child_remove(sa->pending_child, NULL);
		else
			child_free(sa->pending_child);
	}
	free_packets(&sa->inbox);
	release_leases(sa);
	ike_remove_vips(sa);
	ike_xauth_end(sa);
	sent_clear(&sa->request);
	sent_clear(&sa->response);
	ike_fragments_drop(sa, &sa->frag_in_req);
	ike_fragments_drop(sa, &sa->frag_in_resp);
	free(sa->crash_token);
	if (sa->init && sa->init_free)
		sa->init_free(sa->init);
	if (sa->keys.all.n) {
		ike_protect_keys(sa, true, &out);
		ike_protect_keys(sa, false, &in);
		protect_forget(s->protect, &out);
		protect_forget(s->protect, &in);
	}
	secret_fini(&sa->keys.all);
	ident_fini(&sa->my_id);
	ident_fini(&sa->peer_id);
	free(sa->peer_vendor);
	free(sa->user);
	free(sa->backups);
	free(sa->assigned.pool);
	free(sa->assigned.group);
	secret_fini(&sa->collision_nonce);
	ike_sa_forgive(sa); /* here at last: why may be it */
	conn_unref(sa->conn);
	config_unref(sa->config);
	hmap_del(&s->by_id, &sa->by_id);
	SA_UNCOUNT(s->m, ike_sas);
	slab_free(&s->slab, sa->handle);
}

/* --- established ------------------------------------------------------------------------------------------------ */

/* Somewhere between lifetime - margin * (1 + fuzz) and lifetime - margin, so that not all rekey at once. */
uint64_t rekey_delay_ns(struct env *env, uint64_t lifetime_s, uint64_t margin_s, uint32_t fuzz_pct)
{
	uint64_t life = lifetime_s * NS_PER_S, margin = margin_s * NS_PER_S, fuzz = margin / 100 * fuzz_pct;

	if (margin + fuzz >= life) { /* a margin as long as the life itself: keep some of it */
		margin = life / 10;
		fuzz = life / 10;
	}
	return life - margin - (fuzz ? env_rand_below(env, fuzz + 1) : 0);
}

void ike_sa_schedule(struct ike_sa *sa)
{
	struct worker *w = sa->shard->w;
	const struct conn *c = sa->conn;
	uint64_t now = worker_now(w);

	/* the IKE_SA of IKEv1 has no other way, and only who began it can know all that it takes (XAUTH) */
	sa->rekey_is_reauth = sa->version == 1 || (c->reauth && sa->auth_initiator);
	if (c->ike_lifetime_s) {
		sa->expire_due_ns = now + c->ike_lifetime_s * NS_PER_S;
		worker_timer_set(w, &sa->t_expire, sa->expire_due_ns);
		if (c->rekey && (sa->version != 1 || sa->auth_initiator)) {
			sa->rekey_due_ns = now +
			    rekey_delay_ns(
			        sa->shard->d->env, c->ike_lifetime_s, c->rekey_margin_s, c->rekey_fuzz_pct);
			worker_timer_set(w, &sa->t_rekey, sa->rekey_due_ns);
		}
	}
	if (sa_dpd_delay_s(sa->shard->d, c))
		worker_timer_set(w, &sa->t_dpd, now + sa_dpd_delay_s(sa->shard->d, c) * NS_PER_S);
	ike_keepalives_start(sa);
}

/* SK_pi and SK_pr made and checked the AUTH payloads (RFC 7296, 2.15), and nothing else: they do not rest here. */
static void forget_auth_keys(struct ike_sa *sa)
{
	size_t n = sa->keys.all.n, gone = 2u * sa->keys.prf_len;
	struct secret rest;

	if (sa->version != 2 || n <= gone || secret_dup(&rest, cy_slice(sa->keys.all.p, n - gone)))
		return;
	secret_move(&sa->keys.all, &rest);
}

void ike_sa_established(struct ike_sa *sa)
{
	char a[IDENT_STR_MAX], b[IDENT_STR_MAX], la[ADDR_STR_MAX], ra[ADDR_STR_MAX];

	worker_timer_cancel(sa->shard->w, &sa->t_half_open);
	sa->state = IKE_ESTABLISHED;
	sa->established_ns = worker_now(sa->shard->w);
	keep_init(sa);
	forget_auth_keys(sa);
	SA_COUNT(sa->shard->m, up);
	SA_COUNT(sa->shard->m, established);
	totals_ike(sa, &(struct totals_counts){.ike_up = 1});
	ike_note(sa, LOG_IKE, CY_LOG_NOTICE, "IKE_SA %s[%llu] established between %s[%s]...%s[%s]",
	    sa->conn->name, (unsigned long long)sa->id, addr_str(&sa->local, la), ident_str(&sa->my_id, a),
	    addr_str(&sa->remote, ra), ident_str(&sa->peer_id, b));
	ike_sa_schedule(sa);
	ike_event(sa, CY_EV_IKE_UP, NULL);
	unique_register(sa);
}

void ike_sa_moved(struct ike_sa *sa, const struct cy_addr *local, const struct cy_addr *remote)
{
	struct cy_addr old_remote = sa->remote;
	char from[ADDR_STR_MAX], to[ADDR_STR_MAX];
	struct list *n;

	if (cy_addr_eq(&sa->local, local) && cy_addr_eq(&old_remote, remote))
		return;
	sa->local = *local;
	sa->remote = *remote;
	unique_moved(sa);
	ike_note(sa, LOG_NET, CY_LOG_INFO, "the peer moved from %s to %s", addr_port_str(&old_remote, from),
	    addr_port_str(remote, to));
	list_foreach (n, &sa->children)
		child_moved(list_entry(n, struct child_sa, node));
	ike_event(sa, CY_EV_ADDRESS_CHANGED, NULL);
}

void ike_sa_vfail(struct ike_sa *sa, const char *fmt, va_list ap)
{
	char text[256], *copy;

	if (sa->why[0])
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	copy = strdup(text);
	sa->why = copy ? copy : no_memory;
}

void ike_sa_forgive(struct ike_sa *sa)
{
	if (sa->why != no_reason && sa->why != no_memory)
		free((void *)(uintptr_t)sa->why);
	sa->why = no_reason;
}

void ike_sa_fail(struct ike_sa *sa, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ike_sa_vfail(sa, fmt, ap);
	va_end(ap);
}

static bool listens(const struct list *watches)
{
	struct list *n;

	list_foreach (n, watches)
		if (list_entry(n, struct up_watch, node)->line)
			return true;
	return false;
}

bool ike_note_wanted(const struct ike_sa *sa, enum log_group g, enum cy_level level)
{
	return log_enabled(sa->shard->d->log, g, level) || listens(&sa->watches) ||
	    (sa->task && listens(&sa->task->watches));
}

static void tell(const struct list *watches, const char *line)
{
	struct list *n;

	list_foreach (n, watches) {
		struct up_watch *u = list_entry(n, struct up_watch, node);

		if (u->line)
			u->line(u, line);
	}
}

void ike_note(struct ike_sa *sa, enum log_group g, enum cy_level level, const char *fmt, ...)
{
	struct log_ctx ctx = {.conn = sa->conn ? sa->conn->name : NULL, .ike_id = sa->id, .user = sa->user};
	char line[1024];
	va_list ap;

	if (!ike_note_wanted(sa, g, level))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	LOGF(sa->shard->d->log, g, level, &ctx, "%s", line);
	if (level > CY_LOG_INFO)
		return;
	tell(&sa->watches, line);
	if (sa->task)
		tell(&sa->task->watches, line);
}

void ike_watch_done(struct ike_sa *sa, struct list *watches, bool ok, const char *why)
{
	struct list *n;

	(void)sa;
	while ((n = list_pop(watches))) {
		struct up_watch *u = list_entry(n, struct up_watch, node);

		u->done(u, ok, why ? why : "");
	}
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

struct cy_slice ike_key(const struct ike_sa *sa, int which)
{
	const struct ike_keys *k = &sa->keys;
	const size_t len[SK_N] = {
	    k->prf_len, k->integ_len, k->integ_len, k->encr_len, k->encr_len, k->prf_len, k->prf_len};
	size_t at = 0;

	if (!k->all.n)
		return cy_slice(NULL, 0);
	for (int i = 0; i < which; i++)
		at += len[i];
	if (at + len[which] > k->all.n) /* SK_pi, SK_pr: forgotten */
		return cy_slice(NULL, 0);
	return cy_slice(k->all.p + at, len[which]);
}

void ike_protect_keys(struct ike_sa *sa, bool sending, struct protect_keys *out)
{
	/* SK_ai and SK_ei protect what the original initiator of this IKE_SA sends. */
	bool i_keys = sending == sa->initiator;

	*out = (struct protect_keys){.encr = sa->suite.encr,
	    .key_bits = sa->suite.key_bits,
	    .integ = sa->suite.integ,
	    .encr_key = ike_key(sa, i_keys ? SK_EI : SK_ER),
	    .integ_key = ike_key(sa, i_keys ? SK_AI : SK_AR),
	    .iv_counter = &sa->iv_counter};
}
