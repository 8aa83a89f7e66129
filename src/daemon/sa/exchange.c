/* SPDX-License-Identifier: Apache-2.0 */
/* Steps, requests with their retransmission, cached responses, and the inbox of a busy SA. */
#include <stdlib.h>

#include "daemon/sa/about.h"
#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

#define MESSAGE_MAX (128u * 1024) /* an encoded message; RFC 7383 bounds what is sent at once */

/* --- steps --------------------------------------------------------------------------------------------------- */

struct step *step_new(struct ike_sa *sa, struct net_packet *p)
{
	struct step *s = calloc(1, sizeof(*s));

	if (!s) {
		net_packet_free(p);
		return NULL;
	}
	arena_init(&s->a, 1024 * 1024);
	s->pkt = p;
	sa->step = s;
	return s;
}

void step_free(struct step *s)
{
	if (!s)
		return;
	arena_fini(&s->a);
	if (s->pkt) {
		mem_wipe(s->pkt->data, s->pkt->len); /* decrypted in place */
		net_packet_free(s->pkt);
	}
	free(s);
}

void step_discard(struct ike_sa *sa)
{
	step_free(sa->step);
	sa->step = NULL;
}

static void feed_next(struct ike_sa *sa)
{
	struct list *n;

	while (!ike_busy(sa) && !sa->step && (n = list_pop(&sa->inbox))) {
		struct sa_shard *shard = sa->shard;
		slab_handle h = sa->handle;
		struct net_packet *p = list_entry(n, struct net_packet, node);
		uint64_t now = worker_now(shard->w);

		sa->n_inbox--;
		sa_about_packet(sa, p);
		usage_inbox_waited(now > p->inbox_ns ? now - p->inbox_ns : 0);
		shard->d->ike[sa->version]->packet(sa, p);
		if (slab_get(&shard->slab, h) != sa)
			return;
	}
}

void task_start_next(struct ike_sa *sa)
{
	uint64_t now = worker_now(sa->shard->w), earliest = UINT64_MAX;
	const struct ike_ops *ops = sa->shard->d->ike[sa->version];
	struct list *n;

	if (ike_busy(sa) || sa->step || sa->task)
		return;
	list_foreach (n, &sa->tasks) {
		struct task *t = list_entry(n, struct task, node);

		if (t->not_before_ns > now) {
			if (t->not_before_ns < earliest)
				earliest = t->not_before_ns;
			continue;
		}
		if (ops->may_start && !ops->may_start(sa, t))
			continue;
		list_del(&t->node);
		sa->task = t;
		sa_about(sa);
		ops->task_start(sa, t);
		return;
	}
	if (earliest != UINT64_MAX)
		worker_timer_set(sa->shard->w, &sa->t_task, earliest);
}

void step_end(struct ike_sa *sa)
{
	struct sa_shard *shard = sa->shard;
	slab_handle h = sa->handle;

	step_free(sa->step);
	sa->step = NULL;
	feed_next(sa);
	if (slab_get(&shard->slab, h) == sa)
		task_start_next(sa);
}

void exchange_feed(struct ike_sa *sa, struct net_packet *p)
{
	if (!ike_busy(sa) && !sa->step && list_empty(&sa->inbox)) {
		sa->shard->d->ike[sa->version]->packet(sa, p);
		return;
	}
	if (sa->n_inbox >= sa->shard->d->tune.inbox_max) {
		sa->inbox_dropped++;
		SA_COUNT(sa->shard->m, drop_inbox);
		net_packet_free(p);
		return;
	}
	sa->n_inbox++;
	p->inbox_ns = worker_now(sa->shard->w);
	list_push(&sa->inbox, &p->node);
}

/* --- tasks --------------------------------------------------------------------------------------------------- */

struct task *task_new(enum task_kind kind)
{
	struct task *t = calloc(1, sizeof(*t));

	if (t) {
		t->kind = kind;
		t->cpu = -1;
		list_init(&t->node);
		list_init(&t->watches);
	}
	return t;
}

void task_free(struct task *t)
{
	if (!t)
		return;
	list_del(&t->node);
	if (t->state && t->state_free)
		t->state_free(t->state);
	child_free(t->fresh);
	conn_unref(t->conn);
	free(t);
}

void task_queue(struct ike_sa *sa, struct task *t)
{
	list_push(&sa->tasks, &t->node);
	task_start_next(sa);
}

void task_queue_front(struct ike_sa *sa, struct task *t)
{
	list_push_front(&sa->tasks, &t->node);
	task_start_next(sa);
}

bool task_pending(const struct ike_sa *sa, enum task_kind kind, uint64_t child_id)
{
	struct list *n;

	if (sa->task && sa->task->kind == kind && sa->task->child_id == child_id)
		return true;
	list_foreach (n, &sa->tasks) {
		const struct task *t = list_entry(n, struct task, node);

		if (t->kind == kind && t->child_id == child_id)
			return true;
	}
	list_foreach (n, &sa->running) {
		const struct task *t = list_entry(n, struct task, node);

		if (t->kind == kind && t->child_id == child_id)
			return true;
	}
	return false;
}

void task_done(struct ike_sa *sa)
{
	struct task *t = sa->task;

	sa->task = NULL;
	if (!t)
		return;
	ike_watch_done(sa, &t->watches, false, sa->why[0] ? sa->why : "the task ended");
	task_free(t);
}

void task_retry(struct ike_sa *sa, uint64_t delay_ns)
{
	struct task *t = sa->task;

	sa->task = NULL;
	if (!t)
		return;
	if (t->state && t->state_free)
		t->state_free(t->state);
	t->state = NULL;
	child_free(t->fresh);
	t->fresh = NULL;
	t->tries++;
	t->not_before_ns = worker_now(sa->shard->w) + delay_ns;
	list_push_front(&sa->tasks, &t->node);
}

/* --- sending ------------------------------------------------------------------------------------------------- */

void sent_clear(struct sent *s)
{
	for (uint16_t i = 0; i < s->n; i++)
		free(s->parts[i].p);
	free(s->parts);
	memset(s, 0, sizeof(*s));
}

bool sent_add(void *user, struct cy_slice datagram)
{
	struct sent *s = user;
	struct cy_buf *parts = realloc(s->parts, (s->n + 1u) * sizeof(*parts));

	if (!parts)
		return false;
	s->parts = parts;
	parts[s->n].p = malloc(datagram.n);
	if (!parts[s->n].p)
		return false;
	memcpy(parts[s->n].p, datagram.p, datagram.n);
	parts[s->n++].n = datagram.n;
	return true;
}

void sent_transmit(struct ike_sa *sa, const struct sent *s)
{
	for (uint16_t i = 0; i < s->n; i++)
		net_send(sa->shard->d->net, sa->shard->w, &sa->local, &sa->remote, sa->natt,
		    sa->shard->d->tune.ike_dscp << 2, cy_slice(s->parts[i].p, s->parts[i].n));
	sa->last_out_ns = worker_now(sa->shard->w);
}

/* RFC 7383, 2.5.1: the size is that of the IP datagram; subtract IP, UDP and the non-ESP marker. */
static size_t fragment_room(const struct ike_sa *sa)
{
	size_t size = sa->shard->d->tune.fragment_size,
	       overhead = (sa->local.family == AF_INET6 ? 40 : 20) + 8 + 4;

	return size > overhead + 200 ? size - overhead : 200;
}

/* Most messages are small: begin with a little, and grow to the limit only when it does not fit. */
static enum cy_err encode_whole(
    struct ike_sa *sa, struct step *st, const struct protect_keys *k, struct sent *out)
{
	enum cy_err e = CY_E_SHORT;

	for (size_t cap = 2048; e == CY_E_SHORT && cap <= MESSAGE_MAX; cap *= 8) {
		uint8_t *buf = malloc(cap);
		struct writer w = writer_of(buf, cap);

		if (!buf)
			return CY_E_NOMEM;
		e = k ? protect_seal(sa->shard->protect, k, &st->out, &w) : wire_message_encode(&st->out, &w);
		if (!e && !sent_add(out, writer_slice(&w)))
			e = CY_E_NOMEM;
		free(buf);
	}
	return e;
}

static enum cy_err encode(struct ike_sa *sa, struct step *st, bool protect, struct sent *out)
{
	bool frag = sa->peer_frag && sa->conn && sa->conn->fragmentation != FRAG_NO;
	struct protect_keys k;
	char text[512];
	enum cy_err e;

	if (ike_note_wanted(sa, LOG_ENC, CY_LOG_INFO))
		ike_note(sa, LOG_ENC, CY_LOG_INFO, "generating %s",
		    wire_print(&st->out.h, st->out.first, text, sizeof(text)));
	if (protect)
		ike_protect_keys(sa, true, &k);
	if (protect && frag)
		e = protect_seal_fragments(
		    sa->shard->protect, &k, &st->out, fragment_room(sa), sent_add, out);
	else
		e = encode_whole(sa, st, protect ? &k : NULL, out);
	if (e)
		return e;
	out->msgid = st->out.h.msgid;
	out->valid = true;
	return CY_OK;
}

uint64_t retransmit_delay(const struct ike_sa *sa, uint32_t tries)
{
	const struct tuning *t = &sa->shard->d->tune;
	double delay =
	    (double)(sa->conn && sa->conn->retransmit_timeout_ms ? sa->conn->retransmit_timeout_ms * NS_PER_MS
	                                                         : t->retransmit_timeout_ns);

	for (uint32_t i = 0; i < tries; i++)
		delay *= t->retransmit_base_pct / 100.0;
	if (t->retransmit_limit_ns && delay > (double)t->retransmit_limit_ns)
		delay = (double)t->retransmit_limit_ns;
	if (t->retransmit_jitter_pct)
		delay -=
		    delay * (double)env_rand_below(sa->shard->d->env, t->retransmit_jitter_pct + 1) / 100.0;
	return (uint64_t)delay;
}

uint32_t retransmit_max(const struct ike_sa *sa)
{
	return sa->conn && sa->conn->retransmit_tries ? sa->conn->retransmit_tries
	                                              : sa->shard->d->tune.retransmit_tries;
}

static void arm_retransmit(struct ike_sa *sa)
{
	worker_timer_set(
	    sa->shard->w, &sa->t_retransmit, worker_now(sa->shard->w) + retransmit_delay(sa, sa->tries));
}

enum cy_err exchange_send(struct ike_sa *sa, bool protect)
{
	enum cy_err e;

	sent_clear(&sa->request);
	sa->step->out.h.msgid = sa->next_send;
	e = encode(sa, sa->step, protect, &sa->request);
	if (e) {
		sent_clear(&sa->request);
		return e;
	}
	sa->tries = 0;
	sent_transmit(sa, &sa->request);
	arm_retransmit(sa);
	return CY_OK;
}

enum cy_err exchange_respond(struct ike_sa *sa, bool protect)
{
	enum cy_err e;

	sent_clear(&sa->response);
	e = encode(sa, sa->step, protect, &sa->response);
	if (e) {
		sent_clear(&sa->response);
		return e;
	}
	sent_transmit(sa, &sa->response);
	return CY_OK;
}

void exchange_resend_response(struct ike_sa *sa)
{
	if (sa->response.valid) {
		SA_COUNT(sa->shard->m, retransmits_in);
		sent_transmit(sa, &sa->response);
	}
}

void exchange_answered(struct ike_sa *sa)
{
	worker_timer_cancel(sa->shard->w, &sa->t_retransmit);
	sent_clear(&sa->request);
	sa->next_send++;
	sa->tries = 0;
}

/* RFC 7296, 2.1 and 2.4: the same bytes again, further and further apart, then give up. */
void exchange_retransmit(struct timer *timer)
{
	struct ike_sa *sa = container_of(timer, struct ike_sa, t_retransmit);

	if (!sa->request.valid || !sa->task)
		return;
	sa_about(sa);
	if (sa->tries >= retransmit_max(sa)) {
		SA_COUNT(sa->shard->m, timeouts);
		sa->shard->d->ike[sa->version]->task_timeout(sa, sa->task);
		return;
	}
	sa->tries++;
	SA_COUNT(sa->shard->m, retransmits_out);
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "retransmit %u of request with message ID %u", sa->tries,
	    sa->request.msgid);
	sent_transmit(sa, &sa->request);
	arm_retransmit(sa);
}

void exchange_task_timer(struct timer *timer)
{
	struct ike_sa *sa = container_of(timer, struct ike_sa, t_task);

	sa_about(sa);
	task_start_next(sa);
}
