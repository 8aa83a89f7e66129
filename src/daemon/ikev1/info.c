/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The informational exchange: RFC 2408, 4.8; RFC 2409, 5.7; RFC 2407, 4.6.3; dead peer detection: RFC 3706. Nothing of it is
 * answered or repeated, but for R-U-THERE.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "libcore/base/addr.h"

#define HINTED_TRIES                                                                                         \
	2 /* how often a message is still sent that the peer, unauthenticated, says it cannot take */

static const struct cy_slice none = {NULL, 0};

struct payload *v1_find_notify(const struct payload *first, uint16_t type)
{
	struct payload *p = wire_find(first, PAYLOAD_V1_NOTIFY);

	while (p && p->u.notify1.type != type)
		p = wire_find_after(p, PAYLOAD_V1_NOTIFY);
	return p;
}

const char *v1_error_notify(const struct payload *first, uint16_t *out_type)
{
	for (const struct payload *p = wire_find(first, PAYLOAD_V1_NOTIFY); p;
	     p = wire_find_after(p, PAYLOAD_V1_NOTIFY))
		if (p->u.notify1.type < V1N_CONNECTED) {
			*out_type = p->u.notify1.type;
			return name_or_number(v1_notify_names, *out_type);
		}
	return NULL;
}

/* --- ours ---------------------------------------------------------------------------------------------------------------- */

static struct cy_slice cookie_spi(struct ike_sa *sa)
{
	uint8_t *spi = arena_alloc(&sa->step->a, 16);
	struct writer w = writer_of(spi, 16);

	if (!spi)
		return none;
	write_u64(&w, sa->spi_i);
	write_u64(&w, sa->spi_r);
	return writer_slice(&w);
}

/* Begins sa->step->out of a message that nobody answers; NULL: no memory. */
static struct v1_exchange *begin(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = v1_exchange_new(sa, EXCHANGE_V1_INFORMATIONAL, v1_msgid_new(sa), true);

	if (!x)
		return NULL;
	x->encrypted = v->authenticated;
	if (v1_out(sa, x, v->authenticated ? V1_HASH_1 : V1_HASH_NONE))
		return x;
	v1_exchange_free(x);
	return NULL;
}

static void send_and_forget(struct ike_sa *sa, struct v1_exchange *x)
{
	(void)!v1_send(sa, x, x->encrypted ? V1_HASH_1 : V1_HASH_NONE, none, none, false);
	v1_exchange_free(x);
}

bool v1_add_notify(struct ike_sa *sa, uint16_t type, uint8_t proto, struct cy_slice spi, struct cy_slice data)
{
	struct payload *p = message_add(&sa->step->a, &sa->step->out, PAYLOAD_V1_NOTIFY);

	if (p)
		p->u.notify1 = (struct v1_notify){
		    .doi = V1_DOI_IPSEC, .proto = proto, .spi = spi, .type = type, .data = data};
	return p != NULL;
}

void v1_notify(struct ike_sa *sa, uint16_t type, uint8_t proto, struct cy_slice spi, struct cy_slice data)
{
	struct v1_exchange *x = begin(sa);

	if (!x)
		return;
	if (proto == PROTO_IKE && !spi.n && v1_of(sa)->authenticated)
		spi = cookie_spi(sa);
	if (v1_add_notify(sa, type, proto, spi, data))
		send_and_forget(sa, x);
	else
		v1_exchange_free(x);
}

static void send_delete(struct ike_sa *sa, uint8_t proto, uint8_t spi_len, uint16_t n, struct cy_slice spis)
{
	struct v1_exchange *x = begin(sa);
	struct payload *p = x ? message_add(&sa->step->a, &sa->step->out, PAYLOAD_V1_DELETE) : NULL;

	if (!p) {
		if (x)
			v1_exchange_free(x);
		return;
	}
	p->u.del1 =
	    (struct v1_delete){.doi = V1_DOI_IPSEC, .proto = proto, .spi_len = spi_len, .n = n, .spis = spis};
	send_and_forget(sa, x);
}

static void delete_child(struct ike_sa *sa, struct task *t)
{
	struct child_sa *c = child_by_id(sa, t->child_id);
	uint8_t *spi = arena_alloc(&sa->step->a, 4);

	if (c && spi) {
		struct writer w = writer_of(spi, 4);

		write_u32(&w, c->spi_in);
		send_delete(sa, PROTO_ESP, 4, 1, cy_slice(spi, 4));
		child_remove(c, c->state == CHILD_REKEYED ? NULL : "closed");
	}
	ike_watch_done(sa, &t->watches, true, "");
	task_done(sa);
	step_end(sa);
}

/*
 * CHILD_SAs do not end with the IKE_SA that made them (RFC 2409, 5.5): whoever closes those says so. When both ends replaced it, they may
 * be with another one at the peer than here.
 */
static void leave_to_twin(struct ike_sa *sa)
{
	struct ike_sa *twin = slab_get(&sa->shard->slab, unique_twin(sa));

	if (!twin || twin == sa || twin->version != 1 || twin->state != IKE_ESTABLISHED ||
	    sa->state != IKE_ESTABLISHED)
		return;
	/* one that somebody closes takes them with it; one that is only replaced hands them on */
	if ((task_pending(twin, TASK_IKE_DELETE, 0) && !v1_of(twin)->replaced) ||
	    strcmp(twin->user ? twin->user : "", sa->user ? sa->user : "") != 0)
		return;
	v1_take_over(twin, sa);
}

/* A delete for each CHILD_SA, since to some the IKE_SA's alone says nothing of them; then its own. */
static void delete_ike(struct ike_sa *sa, struct task *t)
{
	uint8_t *spis = arena_alloc(&sa->step->a, sa->n_children * 4u + 1);
	struct writer w = writer_of(spis, sa->n_children * 4u);
	uint16_t count = 0;
	struct list *n;

	ike_note(
	    sa, LOG_IKE, CY_LOG_INFO, "deleting IKE_SA %s[%llu]", sa->conn->name, (unsigned long long)sa->id);
	if (v1_of(sa)->replaced)
		leave_to_twin(sa);
	sa->state = IKE_DELETING;
	unique_forget(sa);
	if (spis) {
		list_foreach (n, &sa->children) {
			if (count == 256)
				break;
			write_u32(&w, list_entry(n, struct child_sa, node)->spi_in);
			count++;
		}
		if (count)
			send_delete(sa, PROTO_ESP, 4, count, cy_slice(spis, count * 4u));
	}
	send_delete(sa, PROTO_IKE, 16, 1, cookie_spi(sa));
	ike_watch_done(sa, &t->watches, true, "");
	ike_sa_destroy(sa, sa->why[0] ? sa->why : "closed");
}

/* --- liveness ------------------------------------------------------------------------------------------------------------- */

/* When a peer that has not answered since is gone: with dpdtimeout=; else the repetitions decide. */
static uint64_t gone_ns(const struct ike_sa *sa)
{
	return sa->conn->dpd_timeout_s ? v1_of(sa)->dpd_asked_ns + sa->conn->dpd_timeout_s * NS_PER_S : 0;
}

static uint64_t next_question_ns(const struct ike_sa *sa, uint32_t tries)
{
	uint64_t wait = retransmit_delay(sa, tries), now = worker_now(sa->shard->w), end = gone_ns(sa),
	         most = sa_dpd_delay_s(sa->shard->d, sa->conn) * NS_PER_S;

	if (!end)
		return now + wait;
	if (most && wait > most)
		wait = most;
	return now + wait < end ? now + wait : end;
}

static bool send_there(struct ike_sa *sa, struct v1_exchange *x)
{
	struct v1 *v = v1_of(sa);
	uint8_t *seq = arena_alloc(&sa->step->a, 4);
	struct writer w = writer_of(seq, 4);
	uint32_t tries = x->tries;

	if (!seq || !v1_out(sa, x, V1_HASH_1))
		return false;
	write_u32(&w, v->dpd_out);
	if (!v1_add_notify(sa, V1N_R_U_THERE, PROTO_IKE, cookie_spi(sa), cy_slice(seq, 4)) ||
	    v1_send(sa, x, V1_HASH_1, none, none, true))
		return false;
	x->tries = tries;
	worker_timer_set(sa->shard->w, &x->timer, next_question_ns(sa, tries));
	return true;
}

static void liveness_over(struct ike_sa *sa, struct v1_exchange *x)
{
	struct task *t = x->task;

	if (t) {
		ike_watch_done(sa, &t->watches, true, "");
		task_free(t);
	}
	v1_exchange_free(x);
}

/* Repeated as a new message: what has the message ID of an old one, others take for a replay. */
static void on_liveness(struct timer *timer)
{
	struct v1_exchange *x = container_of(timer, struct v1_exchange, timer);
	struct ike_sa *sa = x->sa;
	struct v1 *v = v1_of(sa);

	if (sa->step || ike_busy(sa)) {
		worker_timer_set(sa->shard->w, timer, worker_now(sa->shard->w) + NS_PER_S / 10);
		return;
	}
	if (!v->dpd_waiting) { /* something was heard */
		liveness_over(sa, x);
		task_start_next(sa);
		return;
	}
	if (gone_ns(sa) ? worker_now(sa->shard->w) >= gone_ns(sa) : x->tries >= retransmit_max(sa)) {
		SA_COUNT(sa->shard->m, timeouts);
		v1_task_timeout(sa, x);
		return;
	}
	x->tries++;
	SA_COUNT(sa->shard->m, retransmits_out);
	x->msgid = v1_msgid_new(sa);
	if (!step_new(sa, NULL))
		return;
	sa->step->ctx = x;
	if (v1_iv_phase2(sa, x->msgid, x->iv) || !send_there(sa, x)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	step_end(sa);
}

/* The answer to the last one that we sent. What else is heard counts as well, but may be older than the question. */
static void liveness_answered(struct ike_sa *sa, const struct v1_notify *nt)
{
	struct reader r = reader_of(nt->data);
	uint32_t seq = read_u32(&r);
	struct list *n;

	if (r.bad || seq != v1_of(sa)->dpd_out)
		return;
	list_foreach (n, &v1_of(sa)->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (x->timer.fn == on_liveness) {
			liveness_over(sa, x); /* with its timer */
			return;
		}
	}
}

static void liveness(struct ike_sa *sa, struct task *t)
{
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x;

	if (!v->peer_dpd || !v->authenticated) {
		task_done(sa);
		step_end(sa);
		return;
	}
	if (!v->dpd_out) /* RFC 3706, 7.: begins anywhere, with the highest bit clear */
		v->dpd_out = (uint32_t)env_rand_below(sa->shard->d->env, 0x7fffffff) + 1;
	v->dpd_out++;
	v->dpd_waiting = true;
	v->dpd_asked_ns = worker_now(sa->shard->w);
	x = v1_exchange_new(sa, EXCHANGE_V1_INFORMATIONAL, v1_msgid_new(sa), true);
	if (!x) {
		v1_fatal(sa, "out of memory");
		return;
	}
	x->timer.fn = on_liveness;
	x->task = t;
	sa->step->ctx = x;
	if (!send_there(sa, x)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v1_step_end(sa);
}

void v1_info_start(struct ike_sa *sa, struct task *t)
{
	switch (t->kind) {
	case TASK_CHILD_DELETE:
		delete_child(sa, t);
		break;
	case TASK_IKE_DELETE:
		delete_ike(sa, t);
		break;
	case TASK_LIVENESS:
		liveness(sa, t);
		break;
	default:
		task_done(sa);
		step_end(sa);
		break;
	}
}

/* --- theirs -------------------------------------------------------------------------------------------------------------- */

static void close_by_peer(struct ike_sa *sa)
{
	struct sa_shard *s = sa->shard;
	bool ours = sa->state == IKE_DELETING, another;
	struct conn *conns[64];
	enum conn_dpd action[64];
	size_t n_conns = 0;
	struct list *n;

	leave_to_twin(sa);
	unique_forget(sa);
	another = unique_known(s->m, &sa->my_id, &sa->peer_id, NULL);
	list_foreach (n, &sa->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (!ours && !another && n_conns < 64 && c->conn->close_action != DPD_NONE &&
		    c->conn->close_action != DPD_CLEAR && c->state == CHILD_INSTALLED) {
			action[n_conns] = c->conn->close_action;
			conns[n_conns++] = conn_ref(c->conn);
		}
	}
	ike_sa_destroy(sa, "closed by the peer");
	for (size_t i = 0; i < n_conns; i++) {
		sa_child_action(s, conns[i], action[i]);
		conn_unref(conns[i]);
	}
}

static void delete_children(struct ike_sa *sa, const struct v1_delete *d)
{
	struct reader r = reader_of(d->spis);

	for (uint16_t i = 0; i < d->n; i++) {
		uint32_t spi = read_u32(&r);
		struct child_sa *c = r.bad ? NULL : child_by_spi_out(sa, spi);
		struct conn *conn = NULL;
		enum conn_dpd action;
		bool silent;

		if (!c) {
			if (!r.bad)
				(void)v1_quick_closed(sa, spi);
			continue;
		}
		silent = c->state == CHILD_REKEYED;
		action = c->conn->close_action;
		if (!silent && c->state == CHILD_INSTALLED && sa->state == IKE_ESTABLISHED &&
		    (action == DPD_RESTART || action == DPD_HOLD))
			conn = conn_ref(c->conn);
		child_successor_gone(sa, c->id);
		child_remove(c, silent ? NULL : "closed by the peer");
		if (conn)
			sa_child_action(sa->shard, conn, action);
		conn_unref(conn);
	}
}

/* A delete of another IKE_SA of the same peer on this worker: it may come the way of its successor. */
static struct ike_sa *named_by(struct ike_sa *sa, struct cy_slice spi)
{
	struct reader r = reader_of(spi);
	uint64_t i = read_u64(&r), o = read_u64(&r);
	struct ike_sa *other;

	if (i == sa->spi_i && o == sa->spi_r)
		return sa;
	other = sa_find(sa->shard, i);
	if (!other || other->spi_r != o)
		other = sa_find(sa->shard, o);
	return other && other->spi_i == i && other->spi_r == o && other->version == 1 &&
	        other->state == IKE_ESTABLISHED && ident_eq(&other->peer_id, &sa->peer_id) &&
	        ident_eq(&other->my_id, &sa->my_id)
	    ? other
	    : NULL;
}

/* True: the SA of this message is gone. */
static bool take_delete(struct ike_sa *sa, const struct v1_delete *d)
{
	if (d->proto == PROTO_ESP && d->spi_len == 4) {
		delete_children(sa, d);
		return false;
	}
	if (d->proto != PROTO_IKE || d->spi_len != 16)
		return false;
	for (uint16_t i = 0; i < d->n; i++) {
		struct ike_sa *which = named_by(sa, cy_slice(d->spis.p + 16u * i, 16));

		if (!which)
			continue;
		close_by_peer(which);
		if (which == sa)
			return true;
	}
	return false;
}

/* The peer does not like a quick mode of ours: the one it names by SPI, or the only one. */
static void fail_quick(struct ike_sa *sa, const struct v1_notify *nt)
{
	struct v1_exchange *found = NULL;
	struct list *n;
	size_t open = 0;
	char why[160];

	list_foreach (n, &v1_of(sa)->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (x->type == EXCHANGE_V1_QUICK && x->ours && !x->finished && x->at == 1) {
			found = x;
			open++;
		}
	}
	if (open != 1) {
		ike_note(sa, LOG_CHD, CY_LOG_WARN, "the peer refuses a quick mode with %s",
		    name_or_number(v1_notify_names, nt->type));
		return;
	}
	snprintf(why, sizeof(why), "the peer refuses it with %s%s", name_or_number(v1_notify_names, nt->type),
	    nt->type == V1N_INVALID_ID_INFORMATION   ? ": it has other traffic selectors for us"
	        : nt->type == V1N_NO_PROPOSAL_CHOSEN ? ": it accepts none of our ESP proposals"
	                                             : "");
	v1_quick_refused(sa, found, why);
}

static void take_notify(struct ike_sa *sa, uint32_t msgid, const struct v1_notify *nt)
{
	struct v1 *v = v1_of(sa);

	switch (nt->type) {
	case V1N_R_U_THERE:
		if (nt->data.n == 4) {
			uint8_t *seq = arena_dup(&sa->step->a, nt->data.p, 4);

			if (seq)
				v1_notify(sa, V1N_R_U_THERE_ACK, PROTO_IKE, cookie_spi(sa), cy_slice(seq, 4));
		}
		break;
	case V1N_R_U_THERE_ACK:
		liveness_answered(sa, nt);
		break;
	case V1N_CONNECTED: /* with the message ID of what it is about (RFC 2408, 3.1) */
		v1_quick_connected(sa, msgid);
		break;
	case V1N_INITIAL_CONTACT:
		if (!sa->got_initial_contact && v->authenticated && sa->state == IKE_ESTABLISHED) {
			sa->got_initial_contact = true;
			unique_register(sa);
		}
		break;
	default:
		if (nt->type < V1N_CONNECTED)
			fail_quick(sa, nt);
		break;
	}
}

void v1_info_message(struct ike_sa *sa, struct v1_exchange *x)
{
	const struct payload *first = sa->step->in.first;

	if (!v1_hash_ok(sa, x, V1_HASH_1, none, none)) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	v1_accept(sa);
	/* some answer R_U_THERE under its message ID: what they say ends it, or its timer */
	if (x->ours)
		v1_task_park(sa, x);
	else
		v1_exchange_free(x); /* its message ID is remembered */
	for (const struct payload *p = first; p; p = p->next)
		if (p->type == PAYLOAD_V1_NOTIFY)
			take_notify(sa, sa->step->pkt->h.msgid, &p->u.notify1);
	for (const struct payload *p = first; p; p = p->next)
		if (p->type == PAYLOAD_V1_DELETE && take_delete(sa, &p->u.del1))
			return;
	step_end(sa);
}

/* Why phase 1 is likely not to end well. Anybody can have said so: go on, but not for long. */
void v1_hint(struct ike_sa *sa, const char *fmt, ...)
{
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = v->phase1;
	char why[240];
	va_list ap;

	if (v->hinted || v->authenticated || !x || x->finished)
		return;
	v->hinted = true;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	ike_sa_fail(sa, "%s", why);
	ike_note(sa, LOG_IKE, CY_LOG_WARN, "%s", sa->why);
	if (!x->ours)
		return;
	if (sa->tries_left_init != UINT32_MAX)
		sa->tries_left_init = 1;
	x->tries_max = x->tries + HINTED_TRIES;
}

/* Anybody can have sent it. During phase 1 it is the likely reason why nothing more is heard. */
void v1_info_clear(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = v->phase1;
	const char *what;
	uint16_t type = 0;

	what = v1_error_notify(sa->step->in.first, &type);
	if (!what || v->authenticated || !x || x->finished) {
		SA_COUNT(sa->shard->m, drop_unprotected);
		step_end(sa);
		return;
	}
	if (!v->hinted) {
		const char *more = type == V1N_NO_PROPOSAL_CHOSEN
		    ? ": it accepts none of our IKE proposals, or no "
		      "connection of it is for us"
		    : v1_auth_psk(v->auth) &&
		        (type == V1N_PAYLOAD_MALFORMED || type == V1N_INVALID_HASH_INFORMATION ||
		            type == V1N_AUTHENTICATION_FAILED)
		    ? ": the pre-shared keys of both ends differ"
		    : type == V1N_INVALID_ID_INFORMATION ? ": it does not know our identity"
		                                         : "";

		v1_hint(sa, "the peer says %s%s (unauthenticated)", what,
		    x->encrypted || type == V1N_NO_PROPOSAL_CHOSEN ? more : "");
	}
	step_end(sa);
}
