/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CREATE_CHILD_SA for CHILD_SAs, new ones and rekeying: RFC 7296, 1.3.1, 1.3.3, 2.8, 2.8.1, 2.25.1.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "daemon/sa/percpu.h"
#include "libcore/base/addr.h"

#define RETRY_NS     (10 * NS_PER_S) /* after TEMPORARY_FAILURE (2.25) */
#define EXTRA_OUT_NS (200 * NS_PER_MS)

/* Between request and response; task->state. */
struct creating {
	struct v2_child_offer offer;
	struct proposal *props; /* heap copy of offer.props */
	uint8_t ni[V2_NONCE_LEN], nr[V2_NONCE_MAX];
	size_t n_nr;
	const struct cy_ke_alg *ke;
	void *ke_key;
	uint8_t ke_pub[CY_MAX_KE_PUBLIC];
	uint16_t group; /* to use; INVALID_KE_PAYLOAD may change it */
	uint32_t restarts;
};

static void creating_free(void *arg)
{
	struct creating *c = arg;

	if (!c)
		return;
	if (c->ke_key)
		c->ke->key_free(c->ke_key);
	free(c->props);
	free(c);
}

/* The smallest of two nonces, as 2.8.1 compares: octet by octet. */
int v2_nonce_cmp(struct cy_slice a, struct cy_slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int d = memcmp(a.p, b.p, n);

	return d ? d : (a.n > b.n) - (a.n < b.n);
}

struct cy_slice v2_nonce_min(struct cy_slice a, struct cy_slice b)
{
	return v2_nonce_cmp(a, b) <= 0 ? a : b;
}

/* 2.8.1: the peer's rekeying of the same CHILD_SA succeeded and ours did not, so its new one is the successor. */
static bool yield(struct ike_sa *sa, struct child_sa *old)
{
	if (!old || !old->collision || !child_by_id(sa, old->collision))
		return false;
	child_replaced(old, old->collision);
	return true;
}

static void fail(struct ike_sa *sa, const char *why)
{
	struct task *t = sa->task;
	struct child_sa *like = t->like ? child_by_id(sa, t->like) : NULL;

	if (like) /* not until the group changes */
		percpu_set_full(sa, like, true);
	ike_note(sa, LOG_CHD, t->like ? CY_LOG_INFO : CY_LOG_WARN, "%s of a CHILD_SA failed: %s",
	    t->kind == TASK_CHILD_REKEY ? "rekeying" : "creation", why);
	if (t->kind == TASK_CHILD_REKEY) {
		struct child_sa *old = child_by_id(sa, t->child_id);

		if (old && old->state == CHILD_REKEYING && !yield(sa, old))
			old->state = CHILD_INSTALLED;
		if (old && old->state == CHILD_INSTALLED) { /* try once more before it expires */
			old->rekey_queued = false;
			if (!old->expire_due_ns ||
			    old->expire_due_ns > worker_now(sa->shard->w) + 4 * RETRY_NS)
				worker_timer_set(
				    sa->shard->w, &old->t_rekey, worker_now(sa->shard->w) + 2 * RETRY_NS);
		}
	}
	ike_watch_done(sa, &t->watches, false, why);
	v2_done(sa);
}

/* --- initiator: request ------------------------------------------------------------------------------------------------------------- */

static bool add_rekey_notify(struct ike_sa *sa, struct message *m, const struct child_sa *old)
{
	uint8_t *spi = arena_alloc(&sa->step->a, 4);
	struct writer w = writer_of(spi, 4);

	if (!spi)
		return false;
	write_u32(&w, old->spi_in); /* the SPI we expect in inbound packets (1.3.3) */
	return message_notify(&sa->step->a, m, PROTO_ESP, N_REKEY_SA, cy_slice(spi, 4), cy_slice(NULL, 0));
}

static void send_request(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct task *t = sa->task;
	struct creating *cr = t->state;
	struct step *st = sa->step;
	struct child_sa *old = t->child_id ? child_by_id(sa, t->child_id) : NULL;
	struct child_sa *model = old ? old : t->like ? child_by_id(sa, t->like) : NULL;
	bool ok = !err;

	if (ok && k) {
		if (cr->ke_key)
			cr->ke->key_free(cr->ke_key);
		cr->ke = k->alg;
		cr->ke_key = k->key;
		k->key = NULL;
		memcpy(cr->ke_pub, k->pub, k->alg->public_len);
	}
	ike_ke_free(k);
	v2_out_header(sa, EXCHANGE_CREATE_CHILD_SA, false);
	if (ok && t->kind == TASK_CHILD_REKEY)
		ok = old && add_rekey_notify(sa, &st->out, old);
	ok = ok && v2_child_offer(sa, &st->out, t->fresh, t, cr->ke != NULL, &cr->offer) &&
	    message_nonce(&st->a, &st->out, cy_slice(cr->ni, sizeof(cr->ni)));
	if (ok && cr->ke)
		ok = message_ke(&st->a, &st->out, cr->ke->id, cy_slice(cr->ke_pub, cr->ke->public_len));
	if (ok &&
	    model) { /* a rekeyed SA keeps its traffic (2.8), those of a group have all the same (RFC 9611) */
		cr->offer.n_tsi = model->n_ts_local < V2_TS_MAX ? model->n_ts_local : V2_TS_MAX;
		cr->offer.n_tsr = model->n_ts_remote < V2_TS_MAX ? model->n_ts_remote : V2_TS_MAX;
		memcpy(cr->offer.tsi, model->ts_local, cr->offer.n_tsi * sizeof(cr->offer.tsi[0]));
		memcpy(cr->offer.tsr, model->ts_remote, cr->offer.n_tsr * sizeof(cr->offer.tsr[0]));
	}
	ok = ok && message_ts(&st->a, &st->out, PAYLOAD_TSI, cr->offer.tsi, cr->offer.n_tsi) &&
	    message_ts(&st->a, &st->out, PAYLOAD_TSR, cr->offer.tsr, cr->offer.n_tsr);
	if (ok) {
		free(cr->props);
		cr->props = malloc(cr->offer.n_props * sizeof(*cr->props));
		ok = cr->props != NULL;
		if (ok)
			memcpy(cr->props, cr->offer.props, cr->offer.n_props * sizeof(*cr->props));
		cr->offer.props = cr->props;
	}
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

void v2_create_start(struct ike_sa *sa, struct task *t)
{
	struct child_sa *old = t->kind == TASK_CHILD_REKEY ? child_by_id(sa, t->child_id) : NULL;
	struct child_sa *like = t->like ? child_by_id(sa, t->like) : NULL;
	struct creating *cr;
	struct proposal *props;
	size_t n;

	if (sa->state != IKE_ESTABLISHED ||
	    (t->kind == TASK_CHILD_REKEY && (!old || old->state != CHILD_INSTALLED)) ||
	    (t->like && (!like || !percpu_missing(sa, like, t->cpu)))) {
		ike_watch_done(sa, &t->watches, false, "the IKE_SA is being closed");
		v2_done(sa); /* gone, or replaced meanwhile */
		return;
	}
	cr = calloc(1, sizeof(*cr));
	t->state = cr;
	t->state_free = creating_free;
	t->fresh = child_new(sa, old ? old->conn : t->conn);
	if (!cr || !t->fresh) {
		fail(sa, "out of memory");
		return;
	}
	if (old) {
		old->state = CHILD_REKEYING;
		child_set_rekeys(t->fresh, old);
		child_take_ids(t->fresh, old);
		ike_note(sa, LOG_CHD, CY_LOG_INFO, "rekeying CHILD_SA %s{%llu}", old->conn->name,
		    (unsigned long long)old->id);
	} else {
		t->fresh->reqid = t->reqid;
		if (like) {
			child_take_ids(t->fresh, like);
			t->fresh->is_fallback = t->cpu < 0; /* the first one was closed, others were not */
			t->fresh->cpu = t->cpu;
		}
		ike_note(sa, LOG_CHD, CY_LOG_INFO, "establishing CHILD_SA %s{%llu}", t->conn->name,
		    (unsigned long long)t->fresh->id);
	}
	sa->shard->d->env->random(sa->shard->d->env, cr->ni, sizeof(cr->ni));
	if (!v2_child_proposals(sa, t->fresh, true, &sa->step->a, &props, &n)) {
		fail(sa, "no plugin provides what esp= of the connection asks for");
		return;
	}
	cr->group = proposal_first_group(props, n);
	if (cr->group != CY_KE_NONE)
		make_key(sa, cr->group);
	else
		send_request(sa, NULL, CY_OK);
}

/* --- initiator: response ------------------------------------------------------------------------------------------------------------- */

static void delete_child(struct ike_sa *sa, struct child_sa *c)
{
	struct task *t;

	if (task_pending(sa, TASK_CHILD_DELETE, c->id) || !(t = task_new(TASK_CHILD_DELETE)))
		return;
	t->child_id = c->id;
	list_push(&sa->tasks, &t->node);
}

/*
 * Both ends rekeyed the same CHILD_SA at once (2.8.1): of the two new SAs the one made with the lowest of the four nonces is closed
 * by the end that made it; the other end's initiator closes the old one.
 */
static void settle(struct ike_sa *sa, struct child_sa *fresh, struct child_sa *old, const struct creating *cr)
{
	struct child_sa *theirs = old && old->collision ? child_by_id(sa, old->collision) : NULL;
	uint64_t gone = sa->task->superseded;
	struct cy_slice ours_min = v2_nonce_min(cy_slice(cr->ni, sizeof(cr->ni)), cy_slice(cr->nr, cr->n_nr));

	if (!old && gone) { /* the end whose new one stays closes the old one: that was the peer */
		child_replaced(fresh, gone);
		delete_child(sa, fresh);
		return;
	}
	if (theirs && v2_nonce_cmp(ours_min, cy_slice(old->collision_nonce.p, old->collision_nonce.n)) < 0) {
		ike_note(sa, LOG_CHD, CY_LOG_INFO, "rekey collision: the peer's CHILD_SA {%llu} stays",
		    (unsigned long long)theirs->id);
		child_replaced(fresh, theirs->id);
		child_replaced(old, theirs->id);
		delete_child(sa, fresh);
		return;
	}
	if (theirs) /* the peer deletes it */
		child_replaced(theirs, fresh->id);
	if (old) {
		child_replaced(old, fresh->id);
		delete_child(sa, old);
	}
}

/* The peer has a CHILD_SA that we cannot have: close it there. The old one goes on. */
static void refuse_theirs(struct ike_sa *sa, const char *why)
{
	struct child_sa *c = sa->task->fresh;

	sa->task->fresh = NULL;
	child_adopt(sa, c);
	c->state = CHILD_DELETING;
	delete_child(sa, c);
	fail(sa, why);
}

static void not_installed(struct ike_sa *sa, enum cy_err err)
{
	char why[160];

	snprintf(why, sizeof(why), "it could not be installed: %s", err_text(err));
	refuse_theirs(sa, why);
}

static void installed(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct task *t = sa->task;
	struct creating *cr = t->state;
	struct child_sa *c = t->fresh, *old = t->child_id ? child_by_id(sa, t->child_id) : NULL;

	knl_req_free(arg);
	if (err) {
		not_installed(sa, err);
		return;
	}
	t->fresh = NULL;
	child_adopt(sa, c);
	child_mark(c, CHILD_PART_ALL);
	child_up(c);
	if (t->kind == TASK_CHILD_REKEY)
		settle(sa, c, old, cr);
	ike_watch_done(sa, &t->watches, true, "");
	v2_done(sa);
}

static void install(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct task *t = sa->task;
	struct creating *cr = t->state;
	struct knl_req *r = NULL;
	struct cy_slice secret = k ? cy_slice(k->secret, k->n_secret) : cy_slice(NULL, 0);

	if (!err)
		err = child_derive(
		    t->fresh, sa, secret, cy_slice(cr->ni, sizeof(cr->ni)), cy_slice(cr->nr, cr->n_nr), true);
	ike_ke_free(k);
	if (!err && !(r = child_install_req(t->fresh, CHILD_PART_ALL)))
		err = CY_E_NOMEM;
	if (err) {
		not_installed(sa, err);
		return;
	}
	ike_kernel(sa, r, installed);
}

static void on_error(struct ike_sa *sa, const struct payload *err, const char *why)
{
	struct task *t = sa->task;
	struct creating *cr = t->state;
	struct child_sa *old = t->child_id ? child_by_id(sa, t->child_id) : NULL;
	struct reader r = reader_of(err->u.notify.data);
	uint16_t group;

	switch (err->u.notify.type) {
	case N_INVALID_KE_PAYLOAD:
		group = read_u16(&r);
		if (r.bad || cr->restarts++ || !crypto_ke(sa->shard->d->crypto, group)) {
			fail(sa, "the peer wants a key exchange method we did not offer");
			return;
		}
		if (proposal_has_group(cr->offer.props, cr->offer.n_props, group))
			make_key(sa, group);
		else
			fail(sa, "the peer wants a key exchange method we did not offer");
		return;
	case N_TEMPORARY_FAILURE: /* 2.25: the peer is busy with the same; a little later */
		if (yield(sa, old)) {
			v2_done(sa);
			return;
		}
		if (old && old->state == CHILD_REKEYING)
			old->state = CHILD_INSTALLED;
		if (t->tries < 10) {
			task_retry(sa, RETRY_NS / 2 + env_rand_below(sa->shard->d->env, RETRY_NS));
			step_end(sa);
			return;
		}
		break;
	case N_CHILD_SA_NOT_FOUND: /* 2.25.1: it is gone there, so it goes here; what replaced it may be on its way */
		if (old && t->kind == TASK_CHILD_REKEY) {
			ike_note(sa, LOG_CHD, CY_LOG_INFO, "the peer does not know CHILD_SA {%llu} any more",
			    (unsigned long long)old->id);
			if (!old->collision) {
				struct task *again = task_new(TASK_CHILD_CREATE);

				if (again) {
					again->conn = conn_ref(old->conn);
					again->reqid = old->reqid;
					list_push(&sa->tasks, &again->node);
				}
			}
			child_remove(old, "the peer does not have it");
			t->child_id = 0;
		}
		break;
	}
	fail(sa, why);
}

void v2_create_response(struct ike_sa *sa)
{
	struct task *t = sa->task;
	struct creating *cr = t->state;
	const struct payload *first = sa->step->in.first, *nr = wire_find(first, PAYLOAD_NONCE),
	                     *ke = wire_find(first, PAYLOAD_KE), *err = wire_find_error(first);
	char why[300] = "";

	if (err && !wire_find(first, PAYLOAD_SA)) {
		v2_child_accept(sa, first, t->fresh, &cr->offer, why, sizeof(why)); /* words for it */
		on_error(sa, err, why);
		return;
	}
	/* it answered with an SA, so it has installed one: what we refuse here must be closed there (1.4.1) */
	if (!nr || nr->u.nonce.n > V2_NONCE_MAX ||
	    !v2_child_accept(sa, first, t->fresh, &cr->offer, why, sizeof(why))) {
		refuse_theirs(sa, why[0] ? why : "the peer's answer lacks a nonce");
		return;
	}
	cr->n_nr = nr->u.nonce.n;
	memcpy(cr->nr, nr->u.nonce.p, cr->n_nr);
	if (t->fresh->suite.ke != CY_KE_NONE) {
		struct ike_ke *k;

		if (!ke || !cr->ke || ke->u.ke.group != cr->ke->id || t->fresh->suite.ke != cr->ke->id) {
			refuse_theirs(sa, "the peer's key exchange does not fit the suite it chose");
			return;
		}
		k = ike_ke_new(cr->ke, cr->ke_key, ke->u.ke.data);
		cr->ke_key = NULL;
		if (!k) {
			refuse_theirs(sa, "out of memory");
			return;
		}
		ike_run(sa, ike_ke_slow(cr->ke), ike_ke_run, install, ike_ke_free, k);
		return;
	}
	install(sa, NULL, CY_OK);
}

/* --- responder ------------------------------------------------------------------------------------------------------------------------ */

/* While a request is handled; in the step's arena. */
struct answering {
	struct child_sa *c; /* owned until adopted */
	uint64_t old_id;
	uint8_t nr[V2_NONCE_LEN];
	struct cy_slice ni;
	uint8_t proposal_number;
	uint8_t *ke_pub;
	const struct cy_ke_alg *ke;
};

static void refuse(struct ike_sa *sa, uint16_t notify, struct cy_slice data, const char *why)
{
	ike_note(sa, LOG_CHD, CY_LOG_INFO, "CREATE_CHILD_SA request refused with %s: %s",
	    name_or_number(notify_names, notify), why);
	v2_respond_notify(sa, notify, data);
}

/* What is installed before we answer: to send on it is another thing when there is another SA to send on. */
static unsigned parts_now(const struct child_sa *c, bool rekeying)
{
	return rekeying || child_is_extra(c) ? CHILD_PART_IN : CHILD_PART_ALL;
}

static void answer(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct knl_req *r = arg;
	struct answering *an = sa->step->handler;
	struct step *st = sa->step;
	struct child_sa *c = sa->pending_child, *old = an->old_id ? child_by_id(sa, an->old_id) : NULL;
	bool ok;

	knl_req_free(r);
	sa->pending_child = NULL;
	if (err) {
		child_free(c);
		refuse(sa, N_TEMPORARY_FAILURE, cy_slice(NULL, 0), "the data plane refused it");
		return;
	}
	child_mark(c, parts_now(c, old != NULL));
	child_adopt(sa, c);
	v2_out_header(sa, EXCHANGE_CREATE_CHILD_SA, true);
	ok = v2_child_answer(sa, &st->out, c, an->proposal_number) &&
	    message_nonce(&st->a, &st->out, cy_slice(an->nr, sizeof(an->nr)));
	if (ok && an->ke)
		ok = message_ke(&st->a, &st->out, an->ke->id, cy_slice(an->ke_pub, an->ke->public_len));
	ok = ok && message_ts(&st->a, &st->out, PAYLOAD_TSI, c->ts_remote, c->n_ts_remote) &&
	    message_ts(&st->a, &st->out, PAYLOAD_TSR, c->ts_local, c->n_ts_local);
	if (!ok) {
		v2_fatal(sa, "out of memory");
		return;
	}
	child_up(c);
	/* Others carry its CPU's packets until the peer, which has our answer, has its inbound SA too. */
	if (child_is_extra(c) && !old)
		worker_timer_set(sa->shard->w, &c->t_out, worker_now(sa->shard->w) + EXTRA_OUT_NS);
	if (old) {
		/* Send on the old one until the peer deletes it: only then is it sure to have the new one (2.8). */
		worker_timer_set(sa->shard->w, &c->t_out, worker_now(sa->shard->w) + 5 * NS_PER_S);
		if (old->state ==
		    CHILD_REKEYING) { /* our own request is out: settled when its answer is here */
			struct cy_slice min = v2_nonce_min(an->ni, cy_slice(an->nr, sizeof(an->nr)));

			old->collision = c->id;
			secret_fini(&old->collision_nonce);
			if (secret_dup(&old->collision_nonce, min))
				old->collision = 0; /* both stay, then: one too many */
		} else {
			child_replaced(old, c->id);
		}
	}
	v2_respond(sa);
}

static void install_ours(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct answering *an = sa->step->handler;
	struct child_sa *c = sa->pending_child;
	struct cy_slice secret = k ? cy_slice(k->secret, k->n_secret) : cy_slice(NULL, 0);
	struct knl_req *r = NULL;

	if (!err && k && !(an->ke_pub = arena_dup(&sa->step->a, k->pub, k->alg->public_len)))
		err = CY_E_NOMEM;
	if (!err)
		err = child_derive(c, sa, secret, an->ni, cy_slice(an->nr, sizeof(an->nr)), false);
	ike_ke_free(k);
	if (!err && !(r = child_install_req(c, parts_now(c, an->old_id != 0))))
		err = CY_E_NOMEM;
	if (err) {
		sa->pending_child = NULL;
		child_free(c);
		refuse(sa, err == CY_E_INVAL ? N_INVALID_SYNTAX : N_TEMPORARY_FAILURE, cy_slice(NULL, 0),
		    err_text(err));
		return;
	}
	ike_kernel(sa, r, answer);
}

/* The CHILD_SA that REKEY_SA names: the peer's inbound SPI is our outbound one. */
static struct child_sa *rekeyed_child(struct ike_sa *sa, const struct payload *n)
{
	struct reader r = reader_of(n->u.notify.spi);
	uint32_t spi = read_u32(&r);

	return r.bad ? NULL : child_by_spi_out(sa, spi);
}

static void child_request(struct ike_sa *sa, const struct payload *rekey)
{
	const struct payload *first = sa->step->in.first, *ke = wire_find(first, PAYLOAD_KE),
	                     *ni = wire_find(first, PAYLOAD_NONCE);
	struct child_sa *old = rekey ? rekeyed_child(sa, rekey) : NULL;
	struct answering *an = arena_alloc(&sa->step->a, sizeof(*an));
	char why[300] = "";
	uint16_t notify;
	uint8_t group[2];
	/* the answer to what we asked for may be lost, and name the SPI that we do not know */
	bool asking = sa->request.valid && sa->task &&
	    (sa->task->kind == TASK_CHILD_REKEY || sa->task->kind == TASK_CHILD_CREATE);

	if (!an || !ni) {
		refuse(sa, an ? N_INVALID_SYNTAX : N_TEMPORARY_FAILURE, cy_slice(NULL, 0), "no nonce");
		return;
	}
	if (rekey && !old && !sa->unsettled && !asking) { /* 2.25.1, with the SPI it is about */
		v2_out_header(sa, EXCHANGE_CREATE_CHILD_SA, true);
		(void)!message_notify(&sa->step->a, &sa->step->out, rekey->u.notify.proto,
		    N_CHILD_SA_NOT_FOUND, rekey->u.notify.spi, cy_slice(NULL, 0));
		v2_respond(sa);
		return;
	}
	/* 2.25.1: one we are closing; 2.25.2: while the IKE_SA is being rekeyed or closed */
	if (sa->state != IKE_ESTABLISHED || sa->unsettled || (rekey && !old) ||
	    (old && old->state == CHILD_DELETING) || (old && old->state == CHILD_REKEYED) ||
	    (old && task_pending(sa, TASK_CHILD_DELETE, old->id)) ||
	    (sa->task && sa->task->kind == TASK_IKE_REKEY)) {
		refuse(sa, N_TEMPORARY_FAILURE, cy_slice(NULL, 0), "the SA is being replaced or closed");
		return;
	}
	if (sa->n_children >= V2_CHILDREN_MAX) { /* 1.3 */
		refuse(sa, N_NO_ADDITIONAL_SAS, cy_slice(NULL, 0), "it has too many CHILD_SAs");
		return;
	}
	an->c = v2_child_choose(
	    sa, first, old, true, ke ? ke->u.ke.group : CY_KE_NONE, &notify, why, sizeof(why));
	if (!an->c) {
		refuse(sa, notify, cy_slice(NULL, 0), why);
		return;
	}
	if (an->c->suite.ke != CY_KE_NONE && (!ke || ke->u.ke.group != an->c->suite.ke)) {
		group[0] = (uint8_t)(an->c->suite.ke >> 8);
		group[1] = (uint8_t)an->c->suite.ke;
		child_free(an->c);
		refuse(sa, N_INVALID_KE_PAYLOAD, cy_slice(group, 2),
		    "another group was sent than the suite needs");
		return;
	}
	if (old)
		child_set_rekeys(an->c, old);
	if (!old && !v2_child_resource(sa, first, an->c, why, sizeof(why))) {
		child_free(an->c);
		refuse(sa, N_TS_MAX_QUEUE, cy_slice(NULL, 0), why);
		return;
	}
	if (old)
		child_take_ids(an->c, old);
	an->old_id = old ? old->id : 0;
	an->ni = ni->u.nonce;
	an->proposal_number = (uint8_t)(uintptr_t)sa->step->ctx;
	sa->shard->d->env->random(sa->shard->d->env, an->nr, sizeof(an->nr));
	sa->step->handler = an;
	sa->pending_child = an->c;
	if (an->c->suite.ke != CY_KE_NONE) {
		const struct cy_ke_alg *alg = crypto_ke(sa->shard->d->crypto, an->c->suite.ke);
		struct ike_ke *k = alg ? ike_ke_new(alg, NULL, ke->u.ke.data) : NULL;

		if (!k) {
			v2_fatal(sa, "out of memory");
			return;
		}
		an->ke = alg;
		ike_run(sa, ike_ke_slow(alg), ike_ke_run, install_ours, ike_ke_free, k);
		return;
	}
	install_ours(sa, NULL, CY_OK);
}

void v2_create_request(struct ike_sa *sa)
{
	const struct payload *first = sa->step->in.first, *psa = wire_find(first, PAYLOAD_SA),
	                     *rekey = wire_find_notify(first, N_REKEY_SA);

	if (!psa || !psa->u.sa.n) {
		refuse(sa, N_INVALID_SYNTAX, cy_slice(NULL, 0), "it has no SA payload");
		return;
	}
	if (psa->u.sa.p[0].proto == PROTO_IKE && !rekey)
		v2_rekey_request(sa);
	else
		child_request(sa, rekey);
}
