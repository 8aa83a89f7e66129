/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message for an IKE_SA: which exchange it belongs to, whether it was heard before, decryption, dispatch. Nothing that fails its
 * check changes anything: it is counted and forgotten.
 */
#include <stdarg.h>
#include <stdio.h>

#include "daemon/ikev1/ikev1.h"
#include "libcore/base/addr.h"

/* What v1_accept() needs of the message; sa->step->handler. */
struct heard {
	uint64_t hash;
	uint8_t last[V1_BLOCK_MAX]; /* of its ciphertext */
	bool encrypted;
};

void v1_fatal(struct ike_sa *sa, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ike_sa_vfail(sa, fmt, ap);
	va_end(ap);
	ike_sa_destroy(sa, sa->why);
}

void v1_drop(struct ike_sa *sa, const char *fmt, ...)
{
	struct v1_exchange *x = v1_current(sa);
	char why[256], from[ADDR_STR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	ike_note(sa, LOG_ENC, CY_LOG_INFO, "message from %s dropped: %s",
	    addr_port_str(&sa->step->pkt->src, from), why);
	if (x) {
		v1_task_park(sa, x);
		if (!x->ours && !x->at)
			v1_exchange_free(x);
	}
	step_end(sa);
}

static uint64_t datagram_hash(const struct ike_sa *sa, const struct net_packet *p)
{
	return siphash24(sa->shard->m->map_key, p->data, p->len);
}

/* An authenticated message from elsewhere: a NAT has a new mapping, or the initiator has moved to the NAT-T port (RFC 3947, 4). */
static void follow_peer(struct ike_sa *sa, const struct net_packet *p)
{
	if (!v1_of(sa)->authenticated) {
		if (!sa->initiator) {
			sa->local = p->dst;
			sa->remote = p->src;
			sa->natt = p->natt;
		}
	} else if (sa->natt && p->natt && !sa->nat_here && sa->nat_there &&
	    !cy_addr_eq(&sa->remote, &p->src)) {
		ike_sa_moved(sa, &p->dst, &p->src);
	}
}

void v1_accept(struct ike_sa *sa)
{
	struct v1_exchange *x = v1_current(sa);
	const struct heard *h = sa->step->handler;
	char text[512];

	if (ike_note_wanted(sa, LOG_ENC, CY_LOG_INFO))
		ike_note(sa, LOG_ENC, CY_LOG_INFO, "received %s",
		    wire_print(&sa->step->pkt->h, sa->step->in.first, text, sizeof(text)));
	if (h->encrypted)
		memcpy(x->iv, h->last, v1_of(sa)->block);
	if (x->n_heard == V1_HEARD) {
		memmove(&x->heard[0], &x->heard[1], sizeof(x->heard) - sizeof(x->heard[0]));
		x->n_heard--;
	}
	x->heard[x->n_heard++] = h->hash;
	x->at++;
	x->answered = false;
	worker_timer_cancel(sa->shard->w, &x->timer);
	if (h->encrypted || x->type == EXCHANGE_V1_MAIN || x->type == EXCHANGE_V1_AGGRESSIVE)
		follow_peer(sa, sa->step->pkt);
	sa->last_in_ns = worker_now(sa->shard->w);
	v1_of(sa)->dpd_waiting = false;
}

/* Decrypts in place; false: drop it. */
static bool open_message(
    struct ike_sa *sa, const struct v1_exchange *x, struct heard *h, struct wire_error *why)
{
	struct v1 *v = v1_of(sa);
	struct net_packet *p = sa->step->pkt;
	struct cy_buf body = {p->data + IKE_HEADER_LEN, p->len - IKE_HEADER_LEN};

	h->encrypted = p->h.flags & V1_FLAG_ENCRYPTED;
	if (h->encrypted) {
		if (!v->keyed || !x->encrypted || body.n == 0 || body.n % v->block) {
			SA_COUNT(sa->shard->m, drop_unexpected);
			snprintf(why->text, sizeof(why->text), "it is encrypted, which does not fit");
			return false;
		}
		memcpy(h->last, body.p + body.n - v->block, v->block);
		if (protect_cbc(sa->shard->protect, sa->suite.encr, sa->suite.key_bits,
		        secret_slice(&v->encr_key), cy_slice(x->iv, v->block), body, false)) {
			SA_COUNT(sa->shard->m, drop_bad_icv);
			return false;
		}
	} else if (x->encrypted && x->type != EXCHANGE_V1_AGGRESSIVE) { /* RFC 2409, 5: its last one may be */
		SA_COUNT(sa->shard->m, drop_unprotected);
		snprintf(why->text, sizeof(why->text), "it is not encrypted");
		return false;
	}
	if (wire_v1_chain_parse(
	        &sa->step->a, p->h.next, cy_slice(body.p, body.n), h->encrypted, &sa->step->in.first, why)) {
		if (h->encrypted)
			SA_COUNT(sa->shard->m, drop_bad_icv);
		else
			SA_COUNT(sa->shard->m, drop_syntax);
		return false;
	}
	return true;
}

/* Without the right pre-shared key the third message of each side is noise (RFC 2409, 5.4). */
static void note_wrong_key(struct ike_sa *sa, const struct v1_exchange *x)
{
	const struct conn *other;
	char from[ADDR_STR_MAX];

	if (x != v1_of(sa)->phase1 || x->finished || !v1_auth_psk(v1_of(sa)->auth))
		return;
	if (!x->ours && !v1_of(sa)->hinted) /* it may help whoever sits at the other end */
		v1_notify(sa, V1N_PAYLOAD_MALFORMED, PROTO_IKE, cy_slice(NULL, 0), cy_slice(NULL, 0));
	v1_of(sa)->hinted = true;
	other = x->ours ? NULL : v1_other_psk(sa);
	if (other)
		ike_sa_fail(sa,
		    "what %s encrypts cannot be read: the key is chosen before the peer says who it is, so "
		    "it was that of %.40s, not of %.40s; name it by its address, or use aggressive mode",
		    addr_str(&sa->step->pkt->src, from), sa->conn->name, other->name);
	else
		ike_sa_fail(sa,
		    "what %s encrypts cannot be read: its pre-shared key differs from the one in our "
		    "ipsec.secrets",
		    addr_str(&sa->step->pkt->src, from));
	ike_note(sa, LOG_IKE, CY_LOG_WARN, "%s", sa->why);
}

static bool spis_fit(const struct ike_sa *sa, const struct ike_header *h)
{
	if (h->spi_i != sa->spi_i)
		return false;
	/* the first message of a responder brings its cookie; what an initiator repeats of its first has none */
	return h->spi_r == sa->spi_r || (sa->initiator ? sa->spi_r == 0 && h->spi_r != 0 : h->spi_r == 0);
}

static bool is_phase1(uint8_t exchange)
{
	return exchange == EXCHANGE_V1_MAIN || exchange == EXCHANGE_V1_AGGRESSIVE;
}

/*
 * May the peer begin one more? What is over and only answers repetitions makes room, the oldest first: with many CHILD_SAs, or when many
 * are replaced at once, there is more of it than a peer may have open.
 */
static bool has_room(struct v1 *v)
{
	struct list *n;
	uint32_t open = 0;

	if (v->n_exchanges < V1_EXCHANGES)
		return true;
	list_foreach (n, &v->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (x->finished && x != v->phase1) {
			v1_exchange_free(x);
			return true;
		}
		open += !x->ours;
	}
	return open < V1_EXCHANGES;
}

/* The exchange of a message; NULL: there is none, and none may begin. */
static struct v1_exchange *exchange_of(struct ike_sa *sa, const struct ike_header *h)
{
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = v1_exchange_find(sa, h->exchange, h->msgid);
	bool may_begin = h->exchange == EXCHANGE_V1_QUICK || h->exchange == EXCHANGE_V1_TRANSACTION ||
	    h->exchange == EXCHANGE_V1_INFORMATIONAL;

	if (x || is_phase1(h->exchange))
		return x;
	/* who has not logged in yet gets no CHILD_SA */
	if (h->exchange == EXCHANGE_V1_QUICK && sa->state == IKE_CONNECTING)
		return NULL;
	if (!may_begin || !h->msgid || !v->authenticated || !(h->flags & V1_FLAG_ENCRYPTED) || !has_room(v))
		return NULL;
	return v1_exchange_new(sa, h->exchange, h->msgid, false);
}

static bool heard_before(const struct v1_exchange *x, uint64_t hash)
{
	for (uint8_t i = 0; i < x->n_heard; i++)
		if (x->heard[i] == hash)
			return true;
	return false;
}

static void dispatch(struct ike_sa *sa, struct v1_exchange *x)
{
	switch (x->type) {
	case EXCHANGE_V1_MAIN:
		v1_main_message(sa, x);
		break;
	case EXCHANGE_V1_AGGRESSIVE:
		v1_aggressive_message(sa, x);
		break;
	case EXCHANGE_V1_QUICK:
		v1_quick_message(sa, x);
		break;
	case EXCHANGE_V1_INFORMATIONAL:
		v1_info_message(sa, x);
		break;
	case EXCHANGE_V1_TRANSACTION:
		v1_transaction_message(sa, x);
		break;
	default:
		SA_COUNT(sa->shard->m, drop_unexpected);
		v1_drop(sa, "exchange %u has no place here", x->type);
	}
}

/* In clear, before there is anything to protect it with, or by somebody who lost it. */
static void clear_info(struct ike_sa *sa, struct net_packet *p)
{
	struct wire_error why = {0};

	if (!step_new(sa, p))
		return;
	if (wire_v1_chain_parse(&sa->step->a, p->h.next,
	        cy_slice(p->data + IKE_HEADER_LEN, p->len - IKE_HEADER_LEN), false, &sa->step->in.first,
	        &why)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		step_end(sa);
		return;
	}
	v1_info_clear(sa);
}

/* What a server asks at once after phase 1 may come before the last message of it. */
static bool keep_early(struct ike_sa *sa, struct net_packet *p)
{
	struct v1 *v = v1_of(sa);

	if (p->h.exchange != EXCHANGE_V1_TRANSACTION || !sa->initiator || !v->keyed || v->authenticated ||
	    v->early)
		return false;
	p->inbox_ns = worker_now(sa->shard->w);
	v->early = p;
	return true;
}

static void drop(struct ike_sa *sa, struct net_packet *p)
{
	SA_COUNT(sa->shard->m, drop_unexpected);
	net_packet_free(p);
}

void v1_packet(struct ike_sa *sa, struct net_packet *p)
{
	struct wire_error why = {0};
	uint64_t hash;
	struct v1_exchange *x;
	struct heard *h;

	if (!v1_of(sa) || !spis_fit(sa, &p->h)) {
		drop(sa, p);
		return;
	}
	if (p->h.next == PAYLOAD_V1_FRAGMENT && !(p->h.flags & V1_FLAG_ENCRYPTED)) {
		p = v1_fragment(sa, p);
		if (!p)
			return;
		if (!spis_fit(sa, &p->h)) {
			drop(sa, p);
			return;
		}
	}
	hash = datagram_hash(sa, p);
	if (p->h.exchange == EXCHANGE_V1_INFORMATIONAL && !(p->h.flags & V1_FLAG_ENCRYPTED)) {
		clear_info(sa, p);
		return;
	}
	x = exchange_of(sa, &p->h);
	if (!x) {
		if (keep_early(sa, p))
			return;
		/* an error notify under keys that are not ours: so some answer what they cannot decrypt */
		if (p->h.exchange == EXCHANGE_V1_INFORMATIONAL && v1_of(sa)->keyed && sa->initiator)
			v1_hint(sa,
			    "the peer refuses our last message of phase 1, in words that cannot be read: its "
			    "pre-shared key for us differs from ours, or it does not know our identity");
		drop(sa, p);
		return;
	}
	/* some go on with XAUTH in the same transaction */
	if (heard_before(x, hash) || (x->finished && x->type != EXCHANGE_V1_TRANSACTION)) {
		/* only what was heard last may have an answer that got lost */
		if (x->n_heard && x->heard[x->n_heard - 1] == hash)
			v1_resend(x);
		else
			SA_COUNT(sa->shard->m, drop_replay);
		net_packet_free(p);
		return;
	}
	if (!x->ours && !x->at && x->msgid && v1_msgid_used(sa, x->msgid)) {
		v1_exchange_free(x);
		SA_COUNT(sa->shard->m, drop_replay);
		net_packet_free(p);
		return;
	}
	if (!step_new(sa, p))
		return;
	sa->step->ctx = x;
	sa->step->handler = h = arena_alloc(&sa->step->a, sizeof(*h));
	v1_task_take(x);
	if (!h) {
		v1_fatal(sa, "out of memory");
		return;
	}
	h->hash = hash;
	if (!open_message(sa, x, h, &why)) {
		if (h->encrypted && v1_of(sa)->keyed)
			note_wrong_key(sa, x);
		v1_drop(sa, "%s", why.text);
		return;
	}
	dispatch(sa, x);
}

/* --- tasks ------------------------------------------------------------------------------------------------------------------- */

void v1_task_start(struct ike_sa *sa, struct task *t)
{
	if (!step_new(sa, NULL)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	switch (t->kind) {
	case TASK_INIT:
	case TASK_AUTH:
		if (sa->conn->aggressive)
			v1_aggressive_start(sa, t);
		else
			v1_main_start(sa, t);
		break;
	case TASK_CHILD_CREATE:
	case TASK_CHILD_REKEY:
		v1_quick_start(sa, t);
		break;
	case TASK_IKE_REKEY: /* there is no such thing: a new one is made */
		task_done(sa);
		sa_reauthenticate(sa);
		step_end(sa);
		break;
	default:
		v1_info_start(sa, t);
		break;
	}
}

/* Phase 1 is a task that others run beside: those for CHILD_SAs come after it. */
static bool may_start(const struct ike_sa *sa, const struct task *t)
{
	return t->kind != TASK_CHILD_CREATE || (v1_of(sa) && v1_of(sa)->ready);
}

bool v1_try_again(struct ike_sa *sa)
{
	struct v1_exchange *x = v1_of(sa)->phase1;
	struct task *t = x ? x->task : NULL;
	struct v1 *v;

	if (!t || ike_busy(sa) || sa->established_ns || sa->replaces || --sa->tries_left_init == 0 ||
	    sa_stopping(sa->shard->m))
		return false;
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "peer not responding, trying again");
	list_del(&t->node);
	if (sa_find(sa->shard, ike_sa_our_spi(sa)) == sa)
		hmap_del(&sa->shard->by_spi, &sa->by_spi);
	sa->init_free(sa->init);
	sa->spi_i = net_cookie_new(sa->shard->d->net, sa->shard->d->env, sa->shard->index);
	sa->spi_r = 0;
	ike_sa_index(sa);
	v = v1_new(sa);
	sa->natt = sa->nat_here = sa->nat_there = false;
	ike_sa_forgive(sa);
	sa->local.port = sa->shard->d->tune.port;
	sa->remote.port = sa->conn->remote.host.port ? sa->conn->remote.host.port : sa->shard->d->tune.port;
	list_push_front(&sa->tasks, &t->node);
	if (!v) {
		v1_fatal(sa, "out of memory");
		return true;
	}
	task_start_next(sa);
	return true;
}

/* The peer is gone: what the connections say comes next, after the IKE_SA, so that a new one does not find it. */
static void peer_gone(struct ike_sa *sa)
{
	enum conn_dpd action = sa->conn ? sa->conn->dpd_action : DPD_CLEAR;
	struct sa_shard *s = sa->shard;
	struct conn *conns[64];
	size_t count = 0;
	struct list *n;

	if (sa->state == IKE_ESTABLISHED && (action == DPD_RESTART || action == DPD_HOLD))
		list_foreach (n, &sa->children) {
			struct child_sa *c = list_entry(n, struct child_sa, node);

			if (count < 64 && c->state != CHILD_REKEYED && c->state != CHILD_DELETING)
				conns[count++] = conn_ref(c->conn);
		}
	ike_sa_destroy(sa, sa->why);
	for (size_t i = 0; i < count; i++) {
		sa_child_action(s, conns[i], action);
		conn_unref(conns[i]);
	}
}

void v1_task_timeout(struct ike_sa *sa, struct v1_exchange *x)
{
	char to[ADDR_STR_MAX];

	if (x == v1_of(sa)->phase1) {
		if (v1_try_again(sa))
			return;
		/* what cannot be decrypted is mostly not answered at all */
		ike_sa_fail(sa, "the peer %s does not answer message %u of %s%s",
		    addr_port_str(&sa->remote, to), x->at,
		    x->type == EXCHANGE_V1_MAIN ? "main mode" : "aggressive mode",
		    x->encrypted && v1_auth_psk(v1_of(sa)->auth)
		        ? ": its pre-shared key for us differs from ours, or it does not know our identity"
		        : "");
		ike_sa_destroy(sa, sa->why);
		return;
	}
	if (x->type == EXCHANGE_V1_QUICK) {
		v1_quick_timeout(sa, x);
		return;
	}
	if (x->type == EXCHANGE_V1_INFORMATIONAL) { /* liveness */
		ike_sa_fail(sa, "the peer %s does not answer any more", addr_port_str(&sa->remote, to));
		peer_gone(sa);
		return;
	}
	v1_transaction_timeout(sa, x);
}

static void task_timeout(struct ike_sa *sa, struct task *t)
{
	/* the timer of an IKEv2 request: IKEv1 has one an exchange */
	(void)sa;
	(void)t;
}

const struct ike_ops ikev1_ops = {
    .major = 1,
    .stray = v1_stray,
    .packet = v1_packet,
    .task_start = v1_task_start,
    .may_start = may_start,
    .task_timeout = task_timeout,
};
