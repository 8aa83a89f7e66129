/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quick mode for both roles: RFC 2409, 5.5; RFC 2407, 4.5 and 4.6.2. A pair of selectors a CHILD_SA. New ones and rekeying are the
 * same on the wire: the old one is closed some time after its successor is there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/select.h"
#include "libcore/base/addr.h"

#define OLD_NS                                                                                               \
	(10 * NS_PER_S) /* from a rekeying to the delete of what it replaced: the third message may be late */
#define RETRY_NS (20 * NS_PER_S)
/* How long an initiator waits for CONNECTED: the bit that asks for it is not authenticated, so that it must not cost more than this. */
#define COMMIT_NS    NS_PER_S
#define COMMIT_TRIES 2 /* the third message is sent again so often, after COMMIT_NS each */

/* Both roles; x->state. */
struct quick {
	struct ike_sa *sa;
	struct child_sa *child; /* owned until adopted */
	struct suite suites[V1_SUITES_MAX];
	size_t n_suites;
	struct cy_ts l, r;
	struct cy_ts id_l, id_r; /* responder: what the peer calls them */
	bool with_ids;
	uint8_t ni[V1_NONCE_MAX], nr[V1_NONCE_MAX];
	size_t n_ni, n_nr;
	const struct cy_ke_alg *ke;
	void *ke_key;
	uint8_t ke_pub[CY_MAX_KE_PUBLIC];
	uint8_t proposal, transform; /* numbers of what was chosen */
	uint64_t old_id;
};

static const struct cy_slice none = {NULL, 0};

static void child_drop(struct child_sa *c)
{
	if (c && c->in_installed)
		child_remove(c, NULL);
	else
		child_free(c);
}

static void quick_free(void *arg)
{
	struct quick *q = arg;

	if (!q)
		return;
	child_drop(q->child);
	if (q->ke_key)
		q->ke->key_free(q->ke_key);
	free(q);
}

static struct quick *quick_new(struct ike_sa *sa, struct v1_exchange *x)
{
	struct quick *q = calloc(1, sizeof(*q));

	if (q)
		q->sa = sa;
	x->state = q;
	x->state_free = quick_free;
	return q;
}

static struct cy_slice ni_of(const struct quick *q)
{
	return cy_slice(q->ni, q->n_ni);
}

static struct cy_slice nr_of(const struct quick *q)
{
	return cy_slice(q->nr, q->n_nr);
}

/* --- selectors ----------------------------------------------------------------------------------------------- */

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

/* --- ends ---------------------------------------------------------------------------------------------------------------- */

static void task_over(struct ike_sa *sa, struct v1_exchange *x, bool ok, const char *why)
{
	struct task *t = x->task;

	if (!t)
		return;
	if (sa->task == t)
		sa->task = NULL;
	x->task = NULL;
	ike_watch_done(sa, &t->watches, ok, why);
	task_free(t);
}

/* A rekeying that failed is tried once more before the end. */
static void old_stays(struct ike_sa *sa, uint64_t old_id)
{
	struct child_sa *old = old_id ? child_by_id(sa, old_id) : NULL;
	uint64_t now = worker_now(sa->shard->w);

	if (!old || old->state != CHILD_REKEYING)
		return;
	old->state = CHILD_INSTALLED;
	old->rekey_queued = false;
	if (!old->expire_due_ns || old->expire_due_ns > now + 2 * RETRY_NS)
		worker_timer_set(sa->shard->w, &old->t_rekey, now + RETRY_NS);
}

/* Ends the step when there is one. */
static void quick_fail(struct ike_sa *sa, struct v1_exchange *x, const char *why)
{
	struct quick *q = x->state;
	uint64_t old_id = q ? q->old_id : 0;

	ike_note(sa, LOG_CHD, CY_LOG_WARN, "quick mode failed: %s", why);
	old_stays(sa, old_id);
	task_over(sa, x, false, why);
	v1_exchange_free(x);
	if (sa->step)
		step_end(sa);
}

void v1_quick_timeout(struct ike_sa *sa, struct v1_exchange *x)
{
	struct task *t = x->task;

	char to[ADDR_STR_MAX], why[160];

	snprintf(why, sizeof(why), "the peer %s does not answer it", addr_port_str(&sa->remote, to));
	/* a responder waits for no more than the proof that its answer has arrived */
	v1_quick_refused(sa, x, why);
	if (t)
		task_start_next(sa);
}

/* Not during the exchange itself: the notify comes in one of its own. */
void v1_quick_refused(struct ike_sa *sa, struct v1_exchange *x, const char *why)
{
	struct quick *q = x->state;

	ike_note(sa, LOG_CHD, CY_LOG_WARN, "quick mode failed: %s", why);
	old_stays(sa, q ? q->old_id : 0);
	if (x->task)
		list_del(&x->task->node);
	task_over(sa, x, false, why);
	v1_exchange_free(x);
}

/* The end that began the rekeying closes the old one, when the peer is sure to have the new one. */
static void retire(struct ike_sa *sa, struct child_sa *old, uint64_t successor, bool ours)
{
	struct task *t = ours ? task_new(TASK_CHILD_DELETE) : NULL;

	child_replaced(old, successor);
	if (!t)
		return;
	t->child_id = old->id;
	t->not_before_ns = worker_now(sa->shard->w) + OLD_NS;
	list_push(&sa->tasks, &t->node);
}

static bool same_ts(const struct child_sa *a, const struct child_sa *b)
{
	return a->n_ts_local == 1 && b->n_ts_local == 1 && a->n_ts_remote == 1 && b->n_ts_remote == 1 &&
	    ts_eq(&a->ts_local[0], &b->ts_local[0]) && ts_eq(&a->ts_remote[0], &b->ts_remote[0]);
}

/* What the peer's new CHILD_SA is for: the youngest one that is for the same. */
static struct child_sa *same_traffic(struct ike_sa *sa, const struct child_sa *c)
{
	struct child_sa *found = NULL;
	struct list *n;

	list_foreach (n, &sa->children) {
		struct child_sa *o = list_entry(n, struct child_sa, node);

		if (o != c && (o->state == CHILD_INSTALLED || o->state == CHILD_REKEYING) && same_ts(o, c) &&
		    strcmp(o->conn->name, c->conn->name) == 0)
			found = o;
	}
	return found;
}

/* --- what both messages with SA share ------------------------------------------------------------------------------------------ */

static bool add_rest(struct ike_sa *sa, struct quick *q, struct cy_slice nonce)
{
	struct arena *a = &sa->step->a;
	struct payload *no = message_add(a, &sa->step->out, PAYLOAD_V1_NONCE), *ke;

	if (!no)
		return false;
	no->u.nonce1 = nonce;
	if (q->ke) {
		ke = message_add(a, &sa->step->out, PAYLOAD_V1_KE);
		if (!ke)
			return false;
		ke->u.ke1 = cy_slice(q->ke_pub, q->ke->public_len);
	}
	return true;
}

static bool same_suite(const struct suite *a, const struct suite *b)
{
	bool aes = a->encr != CY_ENCR_3DES && a->encr != CY_ENCR_NULL;
	uint16_t x = aes && !a->key_bits ? 128 : a->key_bits, y = aes && !b->key_bits ? 128 : b->key_bits;

	return a->encr == b->encr && x == y && a->integ == b->integ && a->esn == b->esn;
}

static uint32_t spi_of(const struct v1_proposal *p)
{
	return (uint32_t)p->spi[0] << 24 | (uint32_t)p->spi[1] << 16 | (uint32_t)p->spi[2] << 8 | p->spi[3];
}

/* --- initiator ------------------------------------------------------------------------------------------------------------- */

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
	    add_rest(sa, q, ni_of(q)) && v1_add_ts(sa, &q->l) && v1_add_ts(sa, &q->r) &&
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

static void delete_there(struct ike_sa *sa, struct child_sa *c)
{
	struct task *t = task_new(TASK_CHILD_DELETE);

	c->state = CHILD_DELETING;
	if (!t)
		return;
	t->child_id = c->id;
	list_push(&sa->tasks, &t->node);
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
		old_stays(sa, q->old_id);
		delete_there(sa, c);
		task_over(sa, x, false, why);
	} else {
		child_mark(c, CHILD_PART_ALL);
		child_up(c);
		if (old)
			retire(sa, old, c->id, true);
		next_pair(sa, x->task);
		task_over(sa, x, true, "");
	}
	v1_exchange_finish(x);
	step_end(sa);
}

/*
 * The commit bit (RFC 2408, 3.1): who has not set it waits for CONNECTED. That may have got lost, so the last message is repeated, which
 * makes the peer repeat its own; and as nobody vouches for the bit, the wait has an end.
 */
static void on_unconfirmed(struct timer *t);

static bool is_unconfirmed(const struct v1_exchange *x)
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
		retire(sa, old, c->id, true);
	next_pair(sa, x->task);
	list_del(&x->task->node);
	task_over(sa, x, true, "");
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

	if (x && is_unconfirmed(x))
		confirm(x);
}

void v1_quick_no_wait(struct ike_sa *sa)
{
	struct list *n;

	list_foreach (n, &v1_of(sa)->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (is_unconfirmed(x))
			confirm(x);
	}
}

bool v1_quick_closed(struct ike_sa *sa, uint32_t spi_out)
{
	struct list *n;

	list_foreach (n, &v1_of(sa)->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (is_unconfirmed(x) && ((struct quick *)x->state)->child->spi_out == spi_out) {
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
	if (!v1_out(sa, x, V1_HASH_3) || v1_send(sa, x, V1_HASH_3, ni_of(q), nr_of(q), false)) {
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
	struct ike_ke *k = arg;
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	struct knl_req *r = NULL;

	if (!err)
		err = v1_child_derive(
		    q->child, sa, k ? cy_slice(k->secret, k->n_secret) : none, ni_of(q), nr_of(q));
	ike_ke_free(k);
	if (!err && !(r = child_install_req(q->child, x->commit ? CHILD_PART_IN : CHILD_PART_ALL)))
		err = CY_E_NOMEM;
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

static void second(struct ike_sa *sa, struct v1_exchange *x)
{
	struct quick *q = x->state;
	const struct payload *first = sa->step->in.first, *psa = wire_find(first, PAYLOAD_V1_SA),
	                     *no = wire_find(first, PAYLOAD_V1_NONCE), *ke = wire_find(first, PAYLOAD_V1_KE);
	const struct v1_proposal *p;
	struct v1_offer o;
	char why[200] = "";
	bool fits = false;

	if (!v1_hash_ok(sa, x, V1_HASH_2, ni_of(q), none)) {
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
		fits = same_suite(&q->suites[i], &o.suite) && q->suites[i].ke == o.suite.ke;
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
	child_set_spi_out(q->child, spi_of(p));
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
static void fourth(struct ike_sa *sa, struct v1_exchange *x)
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

/* --- responder ------------------------------------------------------------------------------------------------------------- */

static void refuse(struct ike_sa *sa, struct v1_exchange *x, uint16_t notify, const char *why)
{
	struct quick *q = x->state;
	uint8_t spi[4] = {0};
	struct writer w = writer_of(spi, sizeof(spi));

	if (q && q->child)
		write_u32(&w, q->child->spi_in);
	v1_notify(sa, notify, PROTO_ESP, cy_slice(spi, sizeof(spi)), none);
	ike_note(sa, LOG_CHD, CY_LOG_WARN, "quick mode refused with %s: %s",
	    name_or_number(v1_notify_names, notify), why);
	v1_exchange_free(x);
	step_end(sa);
}

static bool same_peer(const struct ike_sa *sa, const struct conn *c)
{
	const struct conn_auth_round *r = &c->remote.auth[0], *l = &c->local.auth[0];

	return c->remote.n_auth && c->local.n_auth && ident_match(&r->id, &sa->peer_id) > 0 &&
	    (l->id.type == ID_ANY || ident_eq(&l->id, &sa->my_id)) &&
	    r->method == sa->conn->remote.auth[0].method && l->method == sa->conn->local.auth[0].method;
}

/* The connection whose selectors are just those, else the first that they fit into. */
static struct conn *find_conn(struct ike_sa *sa, struct config *config, const struct cy_ts *l,
    const struct cy_ts *r, const struct cy_ts *said_r, struct quick *q)
{
	struct conn *cands[V1_CANDS_MAX + 1], *found = NULL;
	struct cy_ts a, b;
	size_t n;

	cands[0] = sa->conn;
	n = 1 + conn_candidates(config->index, &sa->local, &sa->remote, CONN_IKEV1, cands + 1, V1_CANDS_MAX);
	for (size_t i = 0; i < n; i++) {
		bool exact;

		if ((i && (cands[i] == sa->conn || !same_peer(sa, cands[i]))) ||
		    !v1_narrow(sa, cands[i], l, r, said_r, &a, &b))
			continue;
		exact = ts_eq(&a, l) && ts_eq(&b, r);
		if (!found || exact) {
			found = cands[i];
			q->l = a;
			q->r = b;
		}
		if (exact)
			break;
	}
	return found;
}

/* Initiator and responder of this exchange, from the payloads; absent, it is the two hosts (RFC 2409, 5.5). */
static bool asked(struct ike_sa *sa, struct quick *q, struct cy_ts *l, struct cy_ts *r)
{
	const struct payload *i = wire_find(sa->step->in.first, PAYLOAD_V1_ID),
	                     *o = i ? wire_find_after(i, PAYLOAD_V1_ID) : NULL;

	q->with_ids = i && o;
	if (!i) {
		*l = ts_host(&sa->local);
		*r = ts_host(&sa->remote);
		return true;
	}
	return o && v1_ts_of_id(i, r) && v1_ts_of_id(o, l);
}

/* Does the peer want transport mode in UDP, and nothing else? */
static bool wants_udp_transport(const struct payload *psa)
{
	struct v1_offer o;

	for (size_t i = 0; i < psa->u.sa1.n; i++)
		for (size_t j = 0; j < psa->u.sa1.p[i].n; j++)
			if (!v1_read_esp(&psa->u.sa1.p[i].t[j], &o) || o.encap != 4)
				return false;
	return true;
}

/* Of ours the first that the peer offers. *out_mode: what it wants of the mode. */
static const struct v1_transform *choose_suite(struct ike_sa *sa, struct quick *q, const struct payload *psa,
    const struct conn *c, const struct v1_proposal **out_p, uint8_t *out_encap)
{
	struct v1_offer o;
	size_t n = v1_esp_suites(sa, c, &sa->step->a, q->suites, V1_SUITES_MAX);

	for (size_t s = 0; s < n; s++)
		for (size_t i = 0; i < psa->u.sa1.n; i++) {
			const struct v1_proposal *p = &psa->u.sa1.p[i];

			for (size_t j = 0; p->proto == PROTO_ESP && p->spi_len == 4 && j < p->n; j++) {
				if (!v1_read_esp(&p->t[j], &o) || !same_suite(&q->suites[s], &o.suite))
					continue;
				/* more secrecy than asked for is no reason to refuse */
				if (q->suites[s].ke ? q->suites[s].ke != o.suite.ke
				                    : o.suite.ke && o.suite.ke < CY_KE_MODP_2048)
					continue;
				q->child->suite = q->suites[s];
				q->child->suite.ke = o.suite.ke;
				*out_p = p;
				*out_encap = o.encap;
				return &p->t[j];
			}
		}
	return NULL;
}

static void second_sent(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	const struct payload *psa = wire_find(sa->step->in.first, PAYLOAD_V1_SA);
	const struct v1_proposal *p = &psa->u.sa1.p[q->proposal];
	uint8_t spi[4];
	struct writer w = writer_of(spi, sizeof(spi));
	bool ok;

	knl_req_free(arg);
	if (err) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, "the data plane refused it");
		return;
	}
	child_mark(q->child, CHILD_PART_IN);
	write_u32(&w, q->child->spi_in);
	ok = v1_out(sa, x, V1_HASH_2) &&
	    v1_add_choice(sa, &sa->step->out, p, &p->t[q->transform], cy_slice(spi, 4)) &&
	    add_rest(sa, q, nr_of(q));
	if (ok && q->with_ids)
		ok = v1_add_ts(sa, &q->id_r) && v1_add_ts(sa, &q->id_l);
	ok = ok && v1_add_natoa(sa, &sa->step->out, q->child);
	if (!ok || v1_send(sa, x, V1_HASH_2, ni_of(q), none, true)) {
		quick_fail(sa, x, "its second message could not be made");
		return;
	}
	v1_step_end(sa);
}

static void second_install(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	struct knl_req *r = NULL;

	if (!err && k)
		memcpy(q->ke_pub, k->pub, k->alg->public_len);
	if (!err)
		err = v1_child_derive(
		    q->child, sa, k ? cy_slice(k->secret, k->n_secret) : none, ni_of(q), nr_of(q));
	ike_ke_free(k);
	if (!err && !(r = child_install_req(q->child, CHILD_PART_IN)))
		err = CY_E_NOMEM;
	if (err) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, err_text(err));
		return;
	}
	ike_kernel(sa, r, second_sent);
}

static void no_ts(struct ike_sa *sa, const struct cy_ts *l, const struct cy_ts *r, char *why, size_t cap)
{
	struct cy_ts ours[V1_TS_MAX], theirs[V1_TS_MAX];
	size_t n_l = v1_local_ts(sa, sa->conn, false, ours), n_r = v1_remote_ts(sa, sa->conn, false, theirs);
	char a[TS_STR_MAX] = "nothing", b[TS_STR_MAX] = "nothing", c[TS_STR_MAX], d[TS_STR_MAX];

	if (n_l)
		ts_str(&ours[0], a);
	if (n_r)
		ts_str(&theirs[0], b);
	snprintf(why, cap,
	    "traffic selectors do not meet: connection %.40s has %.50s === %.50s, the peer wants "
	    "%.50s === %.50s",
	    sa->conn->name, a, b, ts_str(l, c), ts_str(r, d));
}

static void first(struct ike_sa *sa, struct v1_exchange *x)
{
	const struct payload *in = sa->step->in.first, *psa = wire_find(in, PAYLOAD_V1_SA),
	                     *no = wire_find(in, PAYLOAD_V1_NONCE), *ke = wire_find(in, PAYLOAD_V1_KE);
	const struct v1_transform *t;
	const struct v1_proposal *p = NULL;
	struct config *config;
	struct conn *conn;
	struct cy_ts l, r, said_l, said_r;
	char why[320] = "", theirs[256];
	bool hosts;
	struct quick *q;
	uint8_t encap = 0;
	struct ike_ke *k;

	if (!v1_hash_ok(sa, x, V1_HASH_1, none, none)) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	v1_accept(sa);
	q = quick_new(sa, x);
	/* who sets the bit waits for the other one in its turn: it gets the fourth message */
	x->commit = sa->shard->d->tune.ikev1_commit || sa->step->pkt->h.flags & V1_FLAG_COMMIT;
	if (!q || sa->state != IKE_ESTABLISHED || !psa || !no) {
		refuse(sa, x, V1N_INVALID_PAYLOAD_TYPE,
		    psa && no ? "the IKE_SA is being closed" : "the request lacks SA or nonce");
		return;
	}
	if (!asked(sa, q, &l, &r)) {
		refuse(sa, x, V1N_INVALID_ID_INFORMATION, "its identities are no addresses");
		return;
	}
	said_l = l;
	said_r = r;
	hosts = wants_udp_transport(psa) && v1_natoa_hosts(sa, in, &l, &r);
	config = daemon_config(sa->shard->d);
	conn = find_conn(sa, config, &l, &r, &said_r, q);
	if (conn)
		q->child = child_new(sa, conn);
	config_unref(config);
	if (!q->child) {
		if (!conn)
			no_ts(sa, &l, &r, why, sizeof(why));
		refuse(sa, x, V1N_INVALID_ID_INFORMATION, conn ? "out of memory" : why);
		return;
	}
	conn = q->child->conn;
	q->id_l = hosts ? v1_with_addrs(&said_l, &q->l) : q->l;
	q->id_r = hosts ? v1_with_addrs(&said_r, &q->r) : q->r;
	t = choose_suite(sa, q, psa, conn, &p, &encap);
	if (!t) {
		snprintf(why, sizeof(why), "no common ESP proposal with connection %.40s: theirs %.200s",
		    conn->name, v1_offers_str(&psa->u.sa1, true, theirs, sizeof(theirs)));
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, why);
		return;
	}
	q->proposal = (uint8_t)(p - psa->u.sa1.p);
	q->transform = (uint8_t)(t - p->t);
	q->child->mode = encap == 2 || encap == 4 ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL;
	q->child->encap = encap > 2;
	if (q->child->mode == CY_MODE_TRANSPORT && !v1_can_transport(sa, conn)) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, "the peer wants transport mode");
		return;
	}
	child_set_spi_out(q->child, spi_of(p));
	q->n_ni = no->u.nonce1.n;
	memcpy(q->ni, no->u.nonce1.p, q->n_ni);
	q->n_nr = V1_NONCE_LEN;
	sa->shard->d->env->random(sa->shard->d->env, q->nr, q->n_nr);
	if (child_set_ts(q->child, &q->l, 1, &q->r, 1)) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, "out of memory");
		return;
	}
	if (!child_claim(q->child, why, sizeof(why))) {
		refuse(sa, x, V1N_INVALID_ID_INFORMATION, why);
		return;
	}
	{
		struct child_sa *old = same_traffic(sa, q->child);

		if (old) {
			q->old_id = old->id;
			child_set_rekeys(q->child, old);
			q->child->reqid = old->reqid;
		}
	}
	if (!q->child->suite.ke) {
		second_install(sa, NULL, CY_OK);
		return;
	}
	q->ke = crypto_ke(sa->shard->d->crypto, q->child->suite.ke);
	k = q->ke && ke ? ike_ke_new(q->ke, NULL, ke->u.ke1) : NULL;
	if (!k) {
		refuse(
		    sa, x, V1N_INVALID_KEY_INFORMATION, "its KE payload is missing or of an unknown group");
		return;
	}
	ike_run(sa, ike_ke_slow(q->ke), ike_ke_run, second_install, ike_ke_free, k);
}

/* Whoever does not expect it drops it. Lost, it comes again when the third is repeated. */
static void send_connected(struct ike_sa *sa, struct v1_exchange *x, const struct child_sa *c)
{
	uint8_t spi[4];
	struct writer w = writer_of(spi, sizeof(spi));

	write_u32(&w, c->spi_in);
	if (v1_out(sa, x, V1_HASH_1) &&
	    v1_add_notify(sa, V1N_CONNECTED, PROTO_ESP, cy_slice(spi, sizeof(spi)), none))
		(void)!v1_send(sa, x, V1_HASH_1, none, none, false);
}

static void third_installed(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	struct child_sa *c = q->child, *old = q->old_id ? child_by_id(sa, q->old_id) : NULL;

	knl_req_free(arg);
	q->child = NULL;
	child_adopt(sa, c);
	if (err) {
		ike_note(sa, LOG_CHD, CY_LOG_WARN, "the data plane refused the CHILD_SA: %s", err_text(err));
		delete_there(sa, c);
	} else {
		child_mark(c, CHILD_PART_OUT | CHILD_PART_POLICIES);
		child_up(c);
		if (x->commit)
			send_connected(sa, x, c);
		if (old && old->state != CHILD_REKEYED)
			retire(sa, old, c->id, false);
	}
	v1_exchange_finish(x);
	step_end(sa);
}

/* The initiator has it all: now it may be sent on. */
static void third(struct ike_sa *sa, struct v1_exchange *x)
{
	struct quick *q = x->state;
	struct knl_req *r;

	if (!v1_hash_ok(sa, x, V1_HASH_3, ni_of(q), nr_of(q))) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	v1_accept(sa);
	x->commit |= !!(sa->step->pkt->h.flags & V1_FLAG_COMMIT);
	r = child_install_req(q->child, CHILD_PART_OUT | CHILD_PART_POLICIES);
	if (!r) {
		quick_fail(sa, x, "out of memory");
		return;
	}
	ike_kernel(sa, r, third_installed);
}

void v1_quick_message(struct ike_sa *sa, struct v1_exchange *x)
{
	if (!x->ours && x->at == 0) {
		first(sa, x);
	} else if (x->ours && x->at == 1) {
		second(sa, x);
	} else if (!x->ours && x->at == 2) {
		third(sa, x);
	} else if (x->ours && x->at == 3 && is_unconfirmed(x)) {
		fourth(sa, x);
	} else {
		SA_COUNT(sa->shard->m, drop_unexpected);
		v1_drop(sa, "quick mode does not expect it now");
	}
}
