/* SPDX-License-Identifier: Apache-2.0 */
/* Rekeying the IKE_SA: RFC 7296, 1.3.2, 2.8, 2.8.2, 2.18, 2.25.2. The new SA inherits the CHILD_SAs; the old one is deleted. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "daemon/policy/lease.h"
#include "daemon/sa/totals.h"
#include "libcore/base/addr.h"

#define RETRY_NS     (10 * NS_PER_S)
#define UNSETTLED_NS (600 * NS_PER_S) /* longer than retransmission lasts */
/* The peer that began the rekey deletes the old SA, once it has our response: for that it may ask as long as retransmission lasts. */
#define OLD_LINGER_NS (180 * NS_PER_S)

struct rekeying {
	uint64_t new_spi; /* ours */
	struct proposal *props;
	size_t n_props;
	uint8_t ni[V2_NONCE_LEN];
	const struct cy_ke_alg *ke;
	void *ke_key;
	uint8_t ke_pub[CY_MAX_KE_PUBLIC];
	uint32_t restarts;
};

static void rekeying_free(void *arg)
{
	struct rekeying *r = arg;

	if (!r)
		return;
	if (r->ke_key)
		r->ke->key_free(r->ke_key);
	free(r->props);
	free(r);
}

static void put_spi(struct proposal *p, size_t n, uint64_t spi)
{
	for (size_t i = 0; i < n; i++) {
		struct writer w = writer_of(p[i].spi, 8);

		p[i].spi_len = 8;
		write_u64(&w, spi);
	}
}

/* --- inheritance ----------------------------------------------------------------------------------------------------------------------- */

/* The successor as far as it is a copy: same peer, same addresses, same connection. Not indexed yet. */
static struct ike_sa *successor(struct ike_sa *old, bool initiator)
{
	struct ike_sa *sa = ike_sa_new(old->shard, 2, initiator);

	if (!sa)
		return NULL;
	ike_sa_set_conn(sa, old->conn);
	config_unref(sa->config);
	sa->config = config_ref(old->config);
	sa->auth_initiator = old->auth_initiator;
	sa->nat_here = old->nat_here;
	sa->nat_there = old->nat_there;
	sa->natt = old->natt;
	sa->encap_forced = old->encap_forced;
	sa->peer_frag = old->peer_frag;
	sa->peer_hashes = old->peer_hashes;
	sa->local = old->local;
	sa->remote = old->remote;
	if (ident_dup(&sa->my_id, &old->my_id) || ident_dup(&sa->peer_id, &old->peer_id)) {
		ike_sa_destroy(sa, NULL);
		return NULL;
	}
	return sa;
}

static void move_delete(struct ike_sa *old, struct ike_sa *sa)
{
	struct list *n, *tmp;

	list_foreach_safe (n, tmp, &old->tasks)
		if (list_entry(n, struct task, node)->kind == TASK_IKE_DELETE) {
			list_del(n);
			list_push_front(&sa->tasks, n);
			ike_sa_fail(sa, "%s", old->why);
		}
}

/* Everything that lives on moves over; the old SA only waits for its delete. */
static void inherit(struct ike_sa *old, struct ike_sa *sa)
{
	struct list *n, *tmp;

	while ((n = list_first(&old->children)))
		child_adopt(sa, list_entry(n, struct child_sa, node));
	list_foreach_safe (n, tmp, &old->tasks) {
		struct task *t = list_entry(n, struct task, node);

		if (t->kind == TASK_CHILD_CREATE || t->kind == TASK_CHILD_REKEY ||
		    t->kind == TASK_CHILD_DELETE) {
			list_del(&t->node);
			list_push(&sa->tasks, &t->node);
		}
	}
	if (old->why[0]) /* somebody asked to close it meanwhile: that means its successor */
		move_delete(old, sa);
	list_splice(&sa->watches, &old->watches);
	sa->vips = old->vips;
	sa->n_vips = old->n_vips;
	sa->dns = old->dns;
	sa->n_dns = old->n_dns;
	sa->leases = old->leases;
	sa->n_leases = old->n_leases;
	sa->vips_out = old->vips_out;
	old->vips_out = NULL;
	old->vips = old->dns = NULL;
	old->leases = NULL;
	old->n_vips = old->n_dns = old->n_leases = 0;
	leases_transfer(old->shard->d->leases, old->id, sa->id);
	unique_handover(old, sa);
	old->state = IKE_REKEYED;
	worker_timer_cancel(old->shard->w, &old->t_rekey);
	worker_timer_cancel(old->shard->w, &old->t_dpd);
	worker_timer_cancel(old->shard->w, &old->t_keepalive);
	worker_timer_set(old->shard->w, &old->t_expire, worker_now(old->shard->w) + OLD_LINGER_NS);
	old->collision = 0;
	sa->unsettled = false;
	worker_timer_cancel(sa->shard->w, &sa->t_expire);
	sa->state = IKE_ESTABLISHED;
	if (!sa->established_ns) /* it is already when it won over another */
		SA_COUNT(sa->shard->m, up);
	sa->established_ns = worker_now(sa->shard->w);
	SA_COUNT(sa->shard->m, rekeys_ike);
	totals_ike(sa, &(struct totals_counts){.ike_rekeys = 1});
	ike_note(sa, LOG_IKE, CY_LOG_NOTICE, "IKE_SA %s[%llu] rekeyed, was [%llu]", sa->conn->name,
	    (unsigned long long)sa->id, (unsigned long long)old->id);
	worker_timer_cancel(sa->shard->w, &sa->t_expire);
	ike_sa_schedule(sa);
	ike_event(sa, CY_EV_IKE_REKEYED, NULL);
}

/* --- initiator --------------------------------------------------------------------------------------------------------------------------- */

/* An SA that got tasks while nothing was going on in it. */
void v2_resume(struct sa_shard *s, slab_handle h)
{
	struct ike_sa *sa = slab_get(&s->slab, h);

	if (sa && !sa->step && !ike_busy(sa))
		step_end(sa);
}

slab_handle v2_rekey_yield(struct ike_sa *sa)
{
	struct ike_sa *theirs = sa->collision ? sa_find(sa->shard, sa->collision) : NULL;

	sa->collision = 0;
	if (!theirs)
		return 0;
	inherit(sa, theirs);
	return theirs->handle;
}

bool v2_rekey_save(struct ike_sa *sa)
{
	struct sa_shard *shard = sa->shard;
	slab_handle h = sa->state == IKE_ESTABLISHED && !sa_stopping(shard->m) ? v2_rekey_yield(sa) : 0;
	struct ike_sa *theirs = slab_get(&shard->slab, h);
	struct task *t;

	if (!h)
		return false;
	ike_note(theirs, LOG_IKE, CY_LOG_NOTICE, "IKE_SA [%llu] is lost (%s), the one the peer made goes on",
	    (unsigned long long)sa->id, sa->why);
	ike_sa_destroy(sa, NULL);
	t = task_new(TASK_LIVENESS);
	if (t)
		list_push(&theirs->tasks, &t->node);
	v2_resume(shard, h);
	return true;
}

static void fail(struct ike_sa *sa, const char *why)
{
	struct sa_shard *shard = sa->shard;
	slab_handle theirs;

	ike_note(sa, LOG_IKE, CY_LOG_WARN, "rekeying the IKE_SA failed: %s", why);
	if (sa->state == IKE_ESTABLISHED &&
	    (!sa->expire_due_ns || sa->expire_due_ns > worker_now(sa->shard->w) + 4 * RETRY_NS))
		worker_timer_set(sa->shard->w, &sa->t_rekey, worker_now(sa->shard->w) + 2 * RETRY_NS);
	theirs = v2_rekey_yield(sa); /* the peer's own rekey succeeded: that one counts */
	v2_done(sa);
	if (theirs)
		v2_resume(shard, theirs);
}

static void send_request(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct rekeying *rk = sa->task->state;
	struct step *st = sa->step;
	struct proposal *props;
	size_t n;
	bool ok = !err;

	if (ok) {
		if (rk->ke_key)
			rk->ke->key_free(rk->ke_key);
		rk->ke = k->alg;
		rk->ke_key = k->key;
		k->key = NULL;
		memcpy(rk->ke_pub, k->pub, k->alg->public_len);
	}
	ike_ke_free(k);
	v2_out_header(sa, EXCHANGE_CREATE_CHILD_SA, false);
	ok = ok && v2_ike_proposals(sa, sa->conn, &st->a, &props, &n);
	if (ok) {
		put_spi(props, n, rk->new_spi);
		free(rk->props);
		rk->props = malloc(n * sizeof(*props));
		rk->n_props = n;
		ok = rk->props != NULL;
		if (ok)
			memcpy(rk->props, props, n * sizeof(*props));
	}
	ok = ok && message_sa(&st->a, &st->out, props, n) &&
	    message_nonce(&st->a, &st->out, cy_slice(rk->ni, sizeof(rk->ni))) &&
	    message_ke(&st->a, &st->out, rk->ke->id, cy_slice(rk->ke_pub, rk->ke->public_len));
	if (!ok || exchange_send(sa, true)) {
		fail(sa, "the request could not be made");
		return;
	}
	step_end(sa);
}

static void make_key(struct ike_sa *sa, uint16_t group)
{
	const struct cy_ke_alg *alg = crypto_ke(sa->shard->d->crypto, group);
	struct ike_ke *k = alg ? ike_ke_new(alg, NULL, cy_slice(NULL, 0)) : NULL;

	if (!k) {
		fail(sa, "no plugin provides the key exchange method");
		return;
	}
	ike_run(sa, ike_ke_slow(alg), ike_ke_run, send_request, ike_ke_free, k);
}

void v2_rekey_start(struct ike_sa *sa, struct task *t)
{
	struct rekeying *rk;

	if (sa->state != IKE_ESTABLISHED) {
		v2_done(sa);
		return;
	}
	rk = calloc(1, sizeof(*rk));
	t->state = rk;
	t->state_free = rekeying_free;
	if (!rk) {
		fail(sa, "out of memory");
		return;
	}
	rk->new_spi = net_spi_new(sa->shard->d->net, sa->shard->d->env, sa->shard->index);
	sa->shard->d->env->random(sa->shard->d->env, rk->ni, sizeof(rk->ni));
	ike_note(
	    sa, LOG_IKE, CY_LOG_INFO, "rekeying IKE_SA %s[%llu]", sa->conn->name, (unsigned long long)sa->id);
	make_key(sa, sa->suite.ke);
}

static void queue_delete(struct ike_sa *sa)
{
	struct task *t = task_new(TASK_IKE_DELETE);

	if (t)
		list_push(&sa->tasks, &t->node);
}

/* What the response handler needs after the key exchange; in the step's arena. */
struct finishing {
	slab_handle fresh_handle;
	struct cy_slice nr;
};

static void finished(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct rekeying *rk = sa->task->state;
	struct finishing *f = sa->step->handler;
	struct ike_sa *fresh = slab_get(&sa->shard->slab, f->fresh_handle), *theirs;
	struct cy_slice ni = cy_slice(rk->ni, sizeof(rk->ni));
	struct sa_shard *shard = sa->shard;
	slab_handle f_handle = f->fresh_handle, theirs_handle = 0;

	sa->heir = 0;
	if (!err && fresh)
		err = v2_derive(fresh, sa, cy_slice(k->secret, k->n_secret), ni, f->nr);
	ike_ke_free(k);
	if (err || !fresh) {
		if (fresh) {
			ike_sa_set_conn(fresh, NULL);
			ike_sa_destroy(fresh, NULL);
		}
		fail(sa, err_text(err ? err : CY_E_CANCELLED));
		return;
	}
	ike_sa_index(fresh);
	v2_crash_take(fresh, sa->step->in.first);
	theirs = sa->collision ? sa_find(sa->shard, sa->collision) : NULL;
	theirs_handle = theirs ? theirs->handle : 0;
	sa->collision = 0;
	/* 2.8.2: the SA made with the lowest of the four nonces is closed by the end that made it. */
	if (theirs &&
	    v2_nonce_cmp(v2_nonce_min(ni, f->nr), cy_slice(sa->collision_nonce.p, sa->collision_nonce.n)) <
	        0) {
		ike_note(sa, LOG_IKE, CY_LOG_INFO, "rekey collision: the peer's IKE_SA [%llu] stays",
		    (unsigned long long)theirs->id);
		inherit(sa, theirs);
		fresh->state = IKE_REKEYED;
		queue_delete(fresh);
		v2_done(sa);
		v2_resume(shard, theirs_handle);
		v2_resume(shard, f_handle);
		return;
	}
	inherit(sa, fresh);
	if (sa->crash_token)
		v2_crash_rekeyed(fresh);
	if (theirs) { /* the peer deletes it; should it not, it expires */
		theirs->state = IKE_REKEYED;
		theirs->unsettled = false;
		worker_timer_set(sa->shard->w, &theirs->t_expire, worker_now(sa->shard->w) + OLD_LINGER_NS);
	}
	queue_delete(sa);
	v2_done(sa);
	v2_resume(shard, f_handle);
}

static void on_error(struct ike_sa *sa, const struct payload *err)
{
	struct rekeying *rk = sa->task->state;
	struct reader r = reader_of(err->u.notify.data);
	char why[160];
	uint16_t group;

	switch (err->u.notify.type) {
	case N_INVALID_KE_PAYLOAD:
		group = read_u16(&r);
		if (!r.bad && !rk->restarts && proposal_has_group(rk->props, rk->n_props, group)) {
			rk->restarts++;
			make_key(sa, group);
			return;
		}
		break;
	case N_TEMPORARY_FAILURE:
		if (sa->collision) {
			fail(sa, "the peer has completed its own");
			return;
		}
		if (sa->task->tries < 10) {
			task_retry(sa, RETRY_NS / 2 + env_rand_below(sa->shard->d->env, RETRY_NS));
			step_end(sa);
			return;
		}
		break;
	}
	snprintf(why, sizeof(why), "the peer answered %s", name_or_number(notify_names, err->u.notify.type));
	fail(sa, why);
}

static bool read_spi(const struct proposal *p, uint64_t *out)
{
	struct reader r = reader_of(cy_slice(p->spi, p->spi_len));

	*out = read_u64(&r);
	return !r.bad && p->spi_len == 8 && *out != 0;
}

void v2_rekey_response(struct ike_sa *sa)
{
	struct rekeying *rk = sa->task->state;
	const struct payload *first = sa->step->in.first, *psa = wire_find(first, PAYLOAD_SA),
	                     *ke = wire_find(first, PAYLOAD_KE), *nr = wire_find(first, PAYLOAD_NONCE),
	                     *err = wire_find_error(first);
	struct finishing *f = arena_alloc(&sa->step->a, sizeof(*f));
	struct ike_sa *fresh;
	struct suite suite;
	uint64_t spi;
	struct ike_ke *k;

	if (err) {
		on_error(sa, err);
		return;
	}
	if (!f || !psa || !ke || !nr || psa->u.sa.n != 1 || nr->u.nonce.n > V2_NONCE_MAX ||
	    !read_spi(&psa->u.sa.p[0], &spi) ||
	    !proposal_accepts(rk->props, rk->n_props, &psa->u.sa.p[0], false, &suite) ||
	    suite.ke != rk->ke->id || ke->u.ke.group != suite.ke) {
		fail(sa, "the peer's answer does not fit what we offered");
		return;
	}
	fresh = successor(sa, true);
	if (!fresh) {
		fail(sa, "out of memory");
		return;
	}
	fresh->suite = suite;
	fresh->spi_i = rk->new_spi;
	fresh->spi_r = spi;
	f->fresh_handle = sa->heir = fresh->handle;
	f->nr = nr->u.nonce;
	sa->step->handler = f;
	k = ike_ke_new(rk->ke, rk->ke_key, ke->u.ke.data);
	rk->ke_key = NULL;
	if (!k) {
		sa->heir = 0;
		ike_sa_destroy(fresh, NULL);
		fail(sa, "out of memory");
		return;
	}
	ike_run(sa, ike_ke_slow(rk->ke), ike_ke_run, finished, ike_ke_free, k);
}

/* --- responder ----------------------------------------------------------------------------------------------------------------------------- */

struct answering {
	slab_handle fresh_handle;
	struct cy_slice ni;
	uint8_t nr[V2_NONCE_LEN];
	uint8_t number;
};

static void answer(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct step *st = sa->step;
	struct answering *an = st->handler;
	struct ike_sa *fresh = slab_get(&sa->shard->slab, an->fresh_handle);
	struct proposal *p = arena_alloc(&st->a, sizeof(*p));
	struct cy_slice nr = cy_slice(an->nr, sizeof(an->nr));
	uint8_t *pub = arena_dup(&st->a, k->pub, k->alg->public_len);
	struct sa_shard *shard = sa->shard;
	slab_handle h = an->fresh_handle;
	bool ok;

	sa->heir = 0;
	if (!err && fresh)
		err = v2_derive(fresh, sa, cy_slice(k->secret, k->n_secret), an->ni, nr);
	ok = !err && fresh && p && pub;
	if (ok) {
		v2_out_header(sa, EXCHANGE_CREATE_CHILD_SA, true);
		proposal_from_suite(&fresh->suite, PROTO_IKE, p);
		p->number = an->number;
		put_spi(p, 1, fresh->spi_r);
		ok = message_sa(&st->a, &st->out, p, 1) && message_nonce(&st->a, &st->out, nr) &&
		    message_ke(&st->a, &st->out, k->alg->id, cy_slice(pub, k->alg->public_len)) &&
		    (!sa->crash_token || v2_crash_add(fresh, &st->a, &st->out));
	}
	ike_ke_free(k);
	if (!ok) {
		if (fresh)
			ike_sa_destroy(fresh, NULL);
		v2_respond_notify(
		    sa, err == CY_E_INVAL ? N_INVALID_SYNTAX : N_TEMPORARY_FAILURE, cy_slice(NULL, 0));
		return;
	}
	ike_sa_index(fresh);
	if (sa->task && sa->task->kind == TASK_IKE_REKEY) { /* settled when our own answer is here */
		struct cy_slice min = v2_nonce_min(an->ni, nr);

		sa->collision = fresh->spi_r;
		secret_fini(&sa->collision_nonce);
		if (secret_dup(&sa->collision_nonce, min))
			sa->collision = 0; /* both stay, then: one too many */
		fresh->state = IKE_ESTABLISHED;
		fresh->established_ns = worker_now(shard->w);
		SA_COUNT(shard->m, up);
		/* should our own rekey never be answered, nobody else ends it */
		worker_timer_set(shard->w, &fresh->t_expire, worker_now(shard->w) + UNSETTLED_NS);
		fresh->unsettled = true;
	} else {
		inherit(sa, fresh);
	}
	v2_respond(sa);      /* ends the step, and perhaps the SA */
	v2_resume(shard, h); /* inherited tasks may start */
}

static void refuse(struct ike_sa *sa, uint16_t notify, struct cy_slice data, const char *why)
{
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "rekeying the IKE_SA refused with %s: %s",
	    name_or_number(notify_names, notify), why);
	v2_respond_notify(sa, notify, data);
}

void v2_rekey_request(struct ike_sa *sa)
{
	const struct payload *first = sa->step->in.first, *psa = wire_find(first, PAYLOAD_SA),
	                     *ke = wire_find(first, PAYLOAD_KE), *ni = wire_find(first, PAYLOAD_NONCE);
	struct answering *an = arena_alloc(&sa->step->a, sizeof(*an));
	struct ike_sa *fresh;
	struct proposal *props;
	struct suite suite;
	char why[200] = "";
	uint8_t group[2];
	size_t n, index;
	uint64_t spi;
	struct ike_ke *k;

	if (!an || !ke || !ni || ni->u.nonce.n > V2_NONCE_MAX) {
		refuse(sa, N_INVALID_SYNTAX, cy_slice(NULL, 0), "KE or nonce is missing");
		return;
	}
	/* 2.25.2: not while CHILD_SAs are being made or the IKE_SA is being closed; and one collision is enough */
	if (sa->state != IKE_ESTABLISHED || (sa->collision && sa_find(sa->shard, sa->collision)) ||
	    (sa->task && sa->task->kind != TASK_IKE_REKEY && sa->task->kind != TASK_LIVENESS)) {
		refuse(sa, N_TEMPORARY_FAILURE, cy_slice(NULL, 0), "another exchange is under way");
		return;
	}
	if (!v2_ike_proposals(sa, sa->conn, &sa->step->a, &props, &n) ||
	    proposal_select(props, n, psa->u.sa.p, psa->u.sa.n, false, ke->u.ke.group, false, &suite, &index,
	        why, sizeof(why)) ||
	    !read_spi(&psa->u.sa.p[index], &spi)) {
		refuse(sa, N_NO_PROPOSAL_CHOSEN, cy_slice(NULL, 0), why);
		return;
	}
	if (suite.ke != ke->u.ke.group) {
		group[0] = (uint8_t)(suite.ke >> 8);
		group[1] = (uint8_t)suite.ke;
		refuse(sa, N_INVALID_KE_PAYLOAD, cy_slice(group, 2),
		    "another group was sent than the suite needs");
		return;
	}
	fresh = successor(sa, false);
	k = fresh ? ike_ke_new(crypto_ke(sa->shard->d->crypto, suite.ke), NULL, ke->u.ke.data) : NULL;
	if (!k) {
		if (fresh)
			ike_sa_destroy(fresh, NULL);
		refuse(sa, N_TEMPORARY_FAILURE, cy_slice(NULL, 0), "out of memory");
		return;
	}
	fresh->suite = suite;
	fresh->spi_i = spi;
	fresh->spi_r = net_spi_new(sa->shard->d->net, sa->shard->d->env, sa->shard->index);
	an->fresh_handle = sa->heir = fresh->handle;
	an->ni = ni->u.nonce;
	an->number = psa->u.sa.p[index].number;
	sa->shard->d->env->random(sa->shard->d->env, an->nr, sizeof(an->nr));
	sa->step->handler = an;
	ike_run(sa, ike_ke_slow(k->alg), ike_ke_run, answer, ike_ke_free, k);
}
