/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quick mode, what both roles share: RFC 2409, 5.5; RFC 2407, 4.5 and 4.6.2. A pair of selectors a CHILD_SA. New ones and rekeying are
 * the same on the wire: the old one is closed some time after its successor is there.
 */
#include "daemon/ikev1/quick.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/addr.h"

#define OLD_NS                                                                                               \
	(10 * NS_PER_S) /* from a rekeying to the delete of what it replaced: the third message may be late */
#define RETRY_NS (20 * NS_PER_S)

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

struct quick *quick_new(struct ike_sa *sa, struct v1_exchange *x)
{
	struct quick *q = calloc(1, sizeof(*q));

	if (q)
		q->sa = sa;
	x->state = q;
	x->state_free = quick_free;
	return q;
}

struct cy_slice quick_ni(const struct quick *q)
{
	return cy_slice(q->ni, q->n_ni);
}

struct cy_slice quick_nr(const struct quick *q)
{
	return cy_slice(q->nr, q->n_nr);
}

/* --- ends ---------------------------------------------------------------------------------------------------------------- */

void quick_task_over(struct ike_sa *sa, struct v1_exchange *x, bool ok, const char *why)
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
void quick_old_stays(struct ike_sa *sa, uint64_t old_id)
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
void quick_fail(struct ike_sa *sa, struct v1_exchange *x, const char *why)
{
	struct quick *q = x->state;
	uint64_t old_id = q ? q->old_id : 0;

	ike_note(sa, LOG_CHD, CY_LOG_WARN, "quick mode failed: %s", why);
	quick_old_stays(sa, old_id);
	quick_task_over(sa, x, false, why);
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
	quick_old_stays(sa, q ? q->old_id : 0);
	if (x->task)
		list_del(&x->task->node);
	quick_task_over(sa, x, false, why);
	v1_exchange_free(x);
}

/* The end that began the rekeying closes the old one, when the peer is sure to have the new one. */
void quick_retire(struct ike_sa *sa, struct child_sa *old, uint64_t successor, bool ours)
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

static bool in_use(const struct child_sa *c)
{
	return c->state == CHILD_INSTALLED || c->state == CHILD_REKEYING;
}

struct child_sa *quick_same_traffic(struct ike_sa *sa, const struct child_sa *c)
{
	struct child_sa *found = NULL;
	struct list *n;

	list_foreach (n, &sa->children) {
		struct child_sa *o = list_entry(n, struct child_sa, node);

		if (o != c && in_use(o) && same_ts(o, c) && strcmp(o->conn->name, c->conn->name) == 0)
			found = o;
	}
	return found;
}

/* Both ends call the same one the lower. */
static uint32_t rank(const struct child_sa *c)
{
	return c->spi_in < c->spi_out ? c->spi_in : c->spi_out;
}

struct child_sa *quick_settle(struct ike_sa *sa, struct child_sa *c)
{
	struct child_sa *o;

	while ((o = quick_same_traffic(sa, c)) && o->state == CHILD_INSTALLED) {
		struct child_sa *low = rank(o) < rank(c) ? o : c, *high = low == o ? c : o;

		ike_note(sa, LOG_CHD, CY_LOG_INFO,
		    "CHILD_SA %s{%llu} is for the same as {%llu} and is closed", low->conn->name,
		    (unsigned long long)low->id, (unsigned long long)high->id);
		quick_retire(sa, low, high->id, true);
		c = high;
	}
	return c;
}

void quick_delete_there(struct ike_sa *sa, struct child_sa *c)
{
	struct task *t = task_new(TASK_CHILD_DELETE);

	c->state = CHILD_DELETING;
	if (!t)
		return;
	t->child_id = c->id;
	list_push(&sa->tasks, &t->node);
}

enum cy_err quick_install_req(struct ike_sa *sa, struct quick *q, struct ike_ke *k, enum cy_err err,
    unsigned parts, struct knl_req **out)
{
	struct cy_slice secret = k ? cy_slice(k->secret, k->n_secret) : cy_slice(NULL, 0);

	*out = NULL;
	if (!err)
		err = v1_child_derive(q->child, sa, secret, quick_ni(q), quick_nr(q));
	ike_ke_free(k);
	if (!err && !(*out = child_install_req(q->child, parts)))
		err = CY_E_NOMEM;
	return err;
}

/* --- what both messages with SA share ------------------------------------------------------------------------------------------ */

bool quick_add_rest(struct ike_sa *sa, struct quick *q, struct cy_slice nonce)
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

bool quick_same_suite(const struct suite *a, const struct suite *b)
{
	bool aes = a->encr != CY_ENCR_3DES && a->encr != CY_ENCR_NULL;
	uint16_t x = aes && !a->key_bits ? 128 : a->key_bits, y = aes && !b->key_bits ? 128 : b->key_bits;

	return a->encr == b->encr && x == y && a->integ == b->integ && a->esn == b->esn;
}

uint32_t quick_spi(const struct v1_proposal *p)
{
	return (uint32_t)p->spi[0] << 24 | (uint32_t)p->spi[1] << 16 | (uint32_t)p->spi[2] << 8 | p->spi[3];
}

void v1_quick_message(struct ike_sa *sa, struct v1_exchange *x)
{
	if (!x->ours && x->at == 0) {
		quick_first(sa, x);
	} else if (x->ours && x->at == 1) {
		quick_second(sa, x);
	} else if (!x->ours && x->at == 2) {
		quick_third(sa, x);
	} else if (x->ours && x->at == 3 && quick_unconfirmed(x)) {
		quick_fourth(sa, x);
	} else {
		SA_COUNT(sa->shard->m, drop_unexpected);
		v1_drop(sa, "quick mode does not expect it now");
	}
}
