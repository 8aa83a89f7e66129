/* SPDX-License-Identifier: Apache-2.0 */
/* Quick mode as its initiator, and how it waits for CONNECTED: RFC 2409, 5.5; RFC 2408, 3.1. */
#include <stdio.h>

#include "daemon/ikev1/quick.h"
#include "libcore/base/addr.h"

/* How long an initiator waits for CONNECTED: the bit that asks for it is not authenticated, so that it must not cost more than this. */
#define COMMIT_NS    NS_PER_S
#define COMMIT_TRIES 2 /* the third message is sent again so often, after COMMIT_NS each */

static const struct cy_slice none = {NULL, 0};

/* Pair number `which` of the connection's selectors of one family; *out_more: there is another. */
static bool pair(
    const struct ike_sa *sa, const struct conn *c, uint32_t which, struct quick *q, bool *out_more)
{
	struct cy_ts l[V1_TS_MAX], r[V1_TS_MAX];
	bool transport = v1_can_transport(sa, c), found = false;
	size_t n_l = v1_local_ts(sa, c, transport, l), n_r = v1_remote_ts(sa, c, transport, r);

	*out_more = false;
	for (size_t i = 0; i < n_l; i++)
		for (size_t j = 0; j < n_r; j++) {
			if (l[i].family_ip6 != r[j].family_ip6)
				continue;
			if (found) {
				*out_more = true;
				return true;
			}
			if (which-- == 0) {
				q->l = l[i];
				q->r = r[j];
				found = true;
			}
		}
	return found;
}

static void send_first(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	bool ok = !err;

	if (ok && k) {
		q->ke = k->alg;
		q->ke_key = k->key;
		k->key = NULL;
		memcpy(q->ke_pub, k->pub, k->alg->public_len);
	}
	ike_ke_free(k);
	ok = ok && v1_out(sa, x, V1_HASH_1) &&
	    v1_add_esp_sa(sa, &sa->step->out, q->child, q->suites, q->n_suites) &&
	    quick_add_rest(sa, q, quick_ni(q)) && v1_add_ts(sa, &q->l) && v1_add_ts(sa, &q->r) &&
	    v1_add_natoa(sa, &sa->step->out, q->child) &&
	    v1_send(sa, x, V1_HASH_1, none, none, true) == CY_OK;
	if (!ok) {
		quick_fail(sa, x, "its first message could not be made");
		return;
	}
	v1_step_end(sa);
}

/* All transforms of an offer have the same group (RFC 2409, 5.5): that of the first. */
static void keep_group(struct quick *q)
{
	size_t kept = 0;

	for (size_t i = 0; i < q->n_suites; i++)
		if (q->suites[i].ke == q->suites[0].ke)
			q->suites[kept++] = q->suites[i];
	q->n_suites = kept;
}

static bool prepare(
    struct ike_sa *sa, struct task *t, struct quick *q, struct child_sa *old, const char **why)
{
	struct conn *conn = old ? old->conn : t->conn;
	bool more;

	*why = "out of memory";
	q->child = child_new(sa, conn);
	if (!q->child)
		return false;
	q->child->mode = v1_can_transport(sa, conn) ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL;
	q->child->encap = sa->natt && (sa->nat_here || sa->nat_there || sa->encap_forced);
	q->child->initiator = true;
	if (old) {
		q->l = old->ts_local[0];
		q->r = old->ts_remote[0];
		child_set_rekeys(q->child, old);
		q->child->reqid = old->reqid;
		q->child->mode = old->mode;
	} else {
		*why = "its traffic selectors have no pair of one family, or wait for a virtual address";
		if (!pair(sa, conn, t->ts_pair, q, &more))
			return false;
		q->child->reqid = t->ts_pair ? 0 : t->reqid;
	}
	*why = "no plugin provides what esp= of the connection asks for, or IKEv1 does not have it";
	q->n_suites = v1_esp_suites(sa, conn, &sa->step->a, q->suites, V1_SUITES_MAX);
	keep_group(q);
	return q->n_suites != 0;
}

void v1_quick_start(struct ike_sa *sa, struct task *t)
{
	struct child_sa *old = t->kind == TASK_CHILD_REKEY ? child_by_id(sa, t->child_id) : NULL;
	struct v1_exchange *x;
	struct quick *q;
	const char *why = "out of memory";

	if (sa->state != IKE_ESTABLISHED ||
	    (t->kind == TASK_CHILD_REKEY && (!old || old->state != CHILD_INSTALLED))) {
		ike_watch_done(sa, &t->watches, false, "the IKE_SA is being closed");
		task_done(sa);
		step_end(sa);
		return;
	}
	if (old && quick_settle(sa, old) != old) { /* the one that stays has a time of its own */
		ike_watch_done(sa, &t->watches, true, "");
		task_done(sa);
		step_end(sa);
		return;
	}
	x = v1_exchange_new(sa, EXCHANGE_V1_QUICK, v1_msgid_new(sa), true);
	if (!x || !(q = quick_new(sa, x))) {
		v1_fatal(sa, "out of memory");
		return;
	}
	x->task = t;
	sa->step->ctx = x;
	if (!prepare(sa, t, q, old, &why)) {
		quick_fail(sa, x, why);
		return;
	}
	if (old) {
		old->state = CHILD_REKEYING;
		q->old_id = old->id;
		ike_note(sa, LOG_CHD, CY_LOG_INFO, "rekeying CHILD_SA %s{%llu}", old->conn->name,
		    (unsigned long long)old->id);
	} else {
		ike_note(sa, LOG_CHD, CY_LOG_INFO, "establishing CHILD_SA %s{%llu}", t->conn->name,
		    (unsigned long long)q->child->id);
	}
	q->n_ni = V1_NONCE_LEN;
	sa->shard->d->env->random(sa->shard->d->env, q->ni, q->n_ni);
	if (q->suites[0].ke) {
		const struct cy_ke_alg *alg = crypto_ke(sa->shard->d->crypto, q->suites[0].ke);
		struct ike_ke *k = alg ? ike_ke_new(alg, NULL, none) : NULL;

		if (!k) {
			quick_fail(sa, x, "no plugin provides the key exchange");
			return;
		}
		ike_run(sa, ike_ke_slow(alg), ike_ke_run, send_first, ike_ke_free, k);
		return;
	}
	send_first(sa, NULL, CY_OK);
}

static void next_pair(struct ike_sa *sa, const struct task *t)
{
	struct quick unused;
	struct task *next;
	bool more = false;

	if (t->kind != TASK_CHILD_CREATE || !pair(sa, t->conn, t->ts_pair, &unused, &more) || !more ||
	    !(next = task_new(TASK_CHILD_CREATE)))
		return;
	next->conn = conn_ref(t->conn);
	next->ts_pair = t->ts_pair + 1;
	list_push(&sa->tasks, &next->node);
}

static void initiator_done(struct ike_sa *sa, struct v1_exchange *x, enum cy_err err)
{
	struct quick *q = x->state;
	struct child_sa *c = q->child, *old = q->old_id ? child_by_id(sa, q->old_id) : NULL;

	q->child = NULL;
	child_adopt(sa, c);
	if (err) {
		char why[160];

		snprintf(why, sizeof(why), "the data plane refused the CHILD_SA: %s", err_text(err));
		ike_note(sa, LOG_CHD, CY_LOG_WARN, "%s", why);
		quick_old_stays(sa, q->old_id);
		quick_delete_there(sa, c);
		quick_task_over(sa, x, false, why);
	} else {
		child_mark(c, CHILD_PART_ALL);
		child_up(c);
		if (old)
			quick_retire(sa, old, c->id, true);
		next_pair(sa, x->task);
		quick_task_over(sa, x, true, "");
	}
	v1_exchange_finish(x);
	step_end(sa);
}

/*
 * The commit bit (RFC 2408, 3.1): who has not set it waits for CONNECTED. That may have got lost, so the last message is repeated, which
 * makes the peer repeat its own; and as nobody vouches for the bit, the wait has an end.
 */
static void on_unconfirmed(struct timer *t);

bool quick_unconfirmed(const struct v1_exchange *x)
{
	return x->timer.fn == on_unconfirmed;
}

/* From now on it sends. At any time; what comes next is for the caller to start. */
static void confirm(struct v1_exchange *x)
{
	struct ike_sa *sa = x->sa;
	struct quick *q = x->state;
	struct child_sa *c = q->child, *old = q->old_id ? child_by_id(sa, q->old_id) : NULL;

	q->child = NULL;
	child_adopt(sa, c);
	child_up(c);
	child_switch_out(c);
	if (old)
		quick_retire(sa, old, c->id, true);
	next_pair(sa, x->task);
	list_del(&x->task->node);
	quick_task_over(sa, x, true, "");
	x->timer.fn = v1_exchange_timer;
	v1_exchange_finish(x);
}

static void on_unconfirmed(struct timer *t)
{
	struct v1_exchange *x = container_of(t, struct v1_exchange, timer);
	struct ike_sa *sa = x->sa;

	if (x->tries++ < COMMIT_TRIES) {
		SA_COUNT(sa->shard->m, retransmits_out);
		sent_transmit(sa, &x->sent);
		worker_timer_set(sa->shard->w, t, worker_now(sa->shard->w) + COMMIT_NS);
		return;
	}
	ike_note(sa, LOG_CHD, CY_LOG_INFO,
	    "the peer set the commit bit, but does not say CONNECTED: the CHILD_SA is used without");
	confirm(x);
	task_start_next(sa);
}

void v1_quick_connected(struct ike_sa *sa, uint32_t msgid)
{
	struct v1_exchange *x = v1_exchange_find(sa, EXCHANGE_V1_QUICK, msgid);

	if (x && quick_unconfirmed(x))
		confirm(x);
}

void v1_quick_no_wait(struct ike_sa *sa)
{
	struct list *n;

	list_foreach (n, &v1_of(sa)->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (quick_unconfirmed(x))
			confirm(x);
	}
}

bool v1_quick_closed(struct ike_sa *sa, uint32_t spi_out)
{
	struct list *n;

	list_foreach (n, &v1_of(sa)->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (quick_unconfirmed(x) && ((struct quick *)x->state)->child->spi_out == spi_out) {
			v1_quick_refused(sa, x, "the peer closes the CHILD_SA instead of saying CONNECTED");
			return true;
		}
	}
	return false;
}

static void first_installed(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;

	knl_req_free(arg);
	if (!err)
		child_mark(q->child, x->commit ? CHILD_PART_IN : CHILD_PART_ALL);
	/* the peer counts on it in either case: complete the exchange, then close it there */
	if (!v1_out(sa, x, V1_HASH_3) || v1_send(sa, x, V1_HASH_3, quick_ni(q), quick_nr(q), false)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	if (err || !x->commit) {
		initiator_done(sa, x, err);
		return;
	}
	x->timer.fn = on_unconfirmed;
	worker_timer_set(sa->shard->w, &x->timer, worker_now(sa->shard->w) + COMMIT_NS);
	v1_step_end(sa);
}

static void first_install(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v1_exchange *x = v1_current(sa);
	struct knl_req *r;

	err = quick_install_req(sa, x->state, arg, err, x->commit ? CHILD_PART_IN : CHILD_PART_ALL, &r);
	if (err) {
		quick_fail(sa, x, err_text(err));
		return;
	}
	ike_kernel(sa, r, first_installed);
}

/* The selectors of the answer; a responder may have narrowed them. */
static bool take_ids(struct ike_sa *sa, struct quick *q, char *why, size_t cap)
{
	const struct payload *i = wire_find(sa->step->in.first, PAYLOAD_V1_ID),
	                     *r = i ? wire_find_after(i, PAYLOAD_V1_ID) : NULL;
	struct cy_ts l, m;
	char a[TS_STR_MAX], b[TS_STR_MAX];
	bool ok;

	if (!i || !r) /* as we asked */
		return true;
	ok = v1_ts_of_id(i, &l) && v1_ts_of_id(r, &m);
	if (ok && q->child->mode == CY_MODE_TRANSPORT)
		(void)v1_natoa_hosts(sa, sa->step->in.first, &l, &m);
	if (!ok || !ts_contains(&q->l, &l) || !ts_contains(&q->r, &m)) {
		snprintf(why, cap, "the peer answered with traffic selectors outside of %.50s === %.50s",
		    ts_str(&q->l, a), ts_str(&q->r, b));
		return false;
	}
	q->l = l;
	q->r = m;
	return true;
}

void quick_second(struct ike_sa *sa, struct v1_exchange *x)
{
	struct quick *q = x->state;
	const struct payload *first = sa->step->in.first, *psa = wire_find(first, PAYLOAD_V1_SA),
	                     *no = wire_find(first, PAYLOAD_V1_NONCE), *ke = wire_find(first, PAYLOAD_V1_KE);
	const struct v1_proposal *p;
	struct v1_offer o;
	char why[200] = "";
	bool fits = false;

	if (!v1_hash_ok(sa, x, V1_HASH_2, quick_ni(q), none)) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	v1_accept(sa);
	x->commit = sa->step->pkt->h.flags & V1_FLAG_COMMIT;
	if (!psa || !no || psa->u.sa1.n != 1 || psa->u.sa1.p[0].n != 1 || psa->u.sa1.p[0].spi_len != 4 ||
	    psa->u.sa1.p[0].proto != PROTO_ESP || !v1_read_esp(&psa->u.sa1.p[0].t[0], &o)) {
		quick_fail(sa, x, "the peer's answer lacks a proposal or nonce");
		return;
	}
	p = &psa->u.sa1.p[0];
	for (size_t i = 0; i < q->n_suites && !fits; i++) {
		fits = quick_same_suite(&q->suites[i], &o.suite) && q->suites[i].ke == o.suite.ke;
		if (fits)
			q->child->suite = q->suites[i];
	}
	if (!fits || (q->ke != NULL) != (o.suite.ke != 0) || (q->ke && !ke)) {
		quick_fail(sa, x, "the peer chose an ESP suite that we did not offer");
		return;
	}
	if (!take_ids(sa, q, why, sizeof(why))) {
		quick_fail(sa, x, why);
		return;
	}
	q->n_nr = no->u.nonce1.n;
	memcpy(q->nr, no->u.nonce1.p, q->n_nr);
	child_set_spi_out(q->child, quick_spi(p));
	if (child_set_ts(q->child, &q->l, 1, &q->r, 1)) {
		quick_fail(sa, x, "out of memory");
		return;
	}
	if (q->ke) {
		struct ike_ke *k = ike_ke_new(q->ke, q->ke_key, ke->u.ke1);

		q->ke_key = NULL;
		if (!k) {
			quick_fail(sa, x, "out of memory");
			return;
		}
		ike_run(sa, ike_ke_slow(q->ke), ike_ke_run, first_install, ike_ke_free, k);
		return;
	}
	first_install(sa, NULL, CY_OK);
}

/* CONNECTED as the fourth message, under a HASH like that of the first; others send it as a message of its own (info.c). */
void quick_fourth(struct ike_sa *sa, struct v1_exchange *x)
{
	if (!v1_hash_ok(sa, x, V1_HASH_1, none, none)) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	if (!v1_find_notify(sa->step->in.first, V1N_CONNECTED)) {
		SA_COUNT(sa->shard->m, drop_unexpected);
		v1_drop(sa, "it does not say CONNECTED");
		return;
	}
	v1_accept(sa);
	confirm(x);
	step_end(sa);
}
