/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message for an IKE_SA: which one it is (RFC 7296, 2.1-2.3), verification and decryption, fragments (RFC 7383), the check
 * against the exchange's table, and the dispatch to its handler.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "libcore/base/addr.h"

static void init_free(void *arg)
{
	struct v2_init *in = arg;

	if (!in)
		return;
	if (in->ke_key)
		in->ke->key_free(in->ke_key);
	free(in->msg1.p);
	free(in->msg2.p);
	free(in->id_body.p);
	auth_op_free(in->auth_out);
	for (size_t i = 0; i < in->n_cands; i++)
		conn_unref(in->cands[i]);
	if (in->child) {
		if (in->child->in_installed)
			child_remove(in->child, NULL);
		else
			child_free(in->child);
	}
	for (size_t i = 0; i < in->n_cp_reply; i++)
		free((void *)in->cp_reply[i].value.p);
	free(in->cp_reply);
	mem_wipe(in, sizeof(*in));
	free(in);
}

struct v2_init *v2_init_new(struct ike_sa *sa)
{
	struct v2_init *in = calloc(1, sizeof(*in));

	sa->init = in;
	sa->init_free = init_free;
	return in;
}

void v2_init_end(struct ike_sa *sa)
{
	init_free(sa->init);
	sa->init = NULL;
}

/* --- answers ------------------------------------------------------------------------------------------------------------ */

void v2_out_header(struct ike_sa *sa, uint8_t exchange, bool response)
{
	struct ike_header h = {.spi_i = sa->spi_i,
	    .spi_r = sa->spi_r,
	    .major = 2,
	    .exchange = exchange,
	    .flags = (sa->initiator ? IKE_FLAG_INITIATOR : 0) | (response ? IKE_FLAG_RESPONSE : 0),
	    .msgid = response ? sa->step->pkt->h.msgid : sa->next_send};

	message_init(&sa->step->out, &h);
}

void v2_respond(struct ike_sa *sa)
{
	enum cy_err e = exchange_respond(sa, sa->step->out.h.exchange != EXCHANGE_IKE_SA_INIT);

	if (e) {
		v2_fatal(sa, "a response could not be made: %s", err_text(e));
		return;
	}
	sa->next_recv++;
	step_end(sa);
}

void v2_respond_notify(struct ike_sa *sa, uint16_t notify, struct cy_slice data)
{
	v2_out_header(sa, sa->step->pkt->h.exchange, true);
	if (!message_notify(&sa->step->a, &sa->step->out, 0, notify, cy_slice(NULL, 0), data)) {
		v2_fatal(sa, "out of memory");
		return;
	}
	/* RFC 7296, 2.21.3: it ends the IKE_SA at both ends, without a delete */
	if (notify == N_INVALID_SYNTAX) {
		(void)!exchange_respond(sa, true);
		v2_fatal(sa, "the peer sent a malformed request");
		return;
	}
	v2_respond(sa);
}

void v2_done(struct ike_sa *sa)
{
	task_done(sa);
	v2_after_init_child(sa);
	step_end(sa);
}

void v2_fatal(struct ike_sa *sa, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ike_sa_vfail(sa, fmt, ap);
	va_end(ap);
	if (!v2_rekey_save(sa))
		ike_sa_destroy(sa, sa->why);
}

/* --- requests ------------------------------------------------------------------------------------------------------------ */

static void log_received(struct ike_sa *sa, const struct payload *first)
{
	char text[512];

	if (log_enabled(sa->shard->d->log, LOG_ENC, CY_LOG_INFO))
		ike_note(sa, LOG_ENC, CY_LOG_INFO, "received %s",
		    wire_print(&sa->step->pkt->h, first, text, sizeof(text)));
}

static void handle_request(struct ike_sa *sa)
{
	switch (sa->step->pkt->h.exchange) {
	case EXCHANGE_IKE_AUTH:
		if (sa->state == IKE_CONNECTING && !sa->initiator) {
			v2_auth_request(sa);
			return;
		}
		break;
	case EXCHANGE_CREATE_CHILD_SA:
		if (sa->state != IKE_CONNECTING) {
			v2_create_request(sa);
			return;
		}
		break;
	case EXCHANGE_INFORMATIONAL:
		v2_info_request(sa);
		return;
	}
	SA_COUNT(sa->shard->m, drop_unexpected);
	if (sa->state == IKE_CONNECTING && sa->initiator &&
	    sa->step->pkt->h.exchange == EXCHANGE_CREATE_CHILD_SA) {
		/* it overtook the IKE_AUTH response, or that got lost: the peer will repeat it (2.1) */
		step_end(sa);
		return;
	}
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "%s request does not fit state %s, refused",
	    name_or_number(exchange_names, sa->step->pkt->h.exchange),
	    name_or_number(ike_state_names, sa->state));
	v2_respond_notify(sa, N_INVALID_SYNTAX, cy_slice(NULL, 0));
}

/*
 * RFC 7296, 2.21.2 and 2.21.3: an authenticated but malformed message is answered with its error notify; before
 * authentication is complete, and for INVALID_SYNTAX, the IKE_SA goes.
 */
static void refuse_request(struct ike_sa *sa, const struct wire_error *why)
{
	uint16_t notify = why->notify ? why->notify : N_INVALID_SYNTAX;
	bool fatal = notify == N_INVALID_SYNTAX || sa->state == IKE_CONNECTING;
	struct cy_slice data = cy_slice(&why->notify_data, notify == N_UNSUPPORTED_CRITICAL_PAYLOAD ? 1 : 0);

	SA_COUNT(sa->shard->m, drop_syntax);
	ike_note(sa, LOG_ENC, CY_LOG_WARN, "a request of the peer is malformed: %s", why->text);
	v2_out_header(sa, sa->step->pkt->h.exchange, true);
	if (message_notify(&sa->step->a, &sa->step->out, 0, notify, cy_slice(NULL, 0), data) &&
	    exchange_respond(sa, true) == CY_OK) {
		sa->next_recv++;
		if (!fatal) {
			step_end(sa);
			return;
		}
	}
	v2_fatal(sa, "the peer sent a malformed message: %s", why->text);
}

/* --- responses ------------------------------------------------------------------------------------------------------------ */

static void handle_response(struct ike_sa *sa)
{
	if (!sa->task) {
		step_end(sa);
		return;
	}
	/* 2.21.3: the peer has deleted the IKE_SA by saying so */
	if (sa->established_ns && wire_find_notify(sa->step->in.first, N_INVALID_SYNTAX)) {
		v2_fatal(sa, "the peer says that our request is malformed (INVALID_SYNTAX)");
		return;
	}
	switch (sa->task->kind) {
	case TASK_INIT:
		v2_init_response(sa);
		break;
	case TASK_AUTH:
		v2_auth_response(sa);
		break;
	case TASK_CHILD_CREATE:
	case TASK_CHILD_REKEY:
		v2_create_response(sa);
		break;
	case TASK_IKE_REKEY:
		v2_rekey_response(sa);
		break;
	default:
		v2_info_response(sa);
		break;
	}
}

/* --- unwrapping ------------------------------------------------------------------------------------------------------------ */

enum unwrap { UNWRAPPED, UNWRAP_WAIT, UNWRAP_DROP, UNWRAP_BAD, UNWRAP_CRASHED };

/* A limit for each message, one for all together, and a time for it to become complete. */
static enum frag_result take_fragment(
    struct ike_sa *sa, struct frag_set *frags, const struct payload *skf, struct cy_slice plain)
{
	struct sa_shard *s = sa->shard;
	size_t before = frags->bytes;
	enum frag_result r;

	if (SA_READ(s->m, fragment_bytes) + plain.n > s->d->tune.fragment_memory) {
		SA_COUNT(s->m, drop_fragment_memory);
		return FRAG_BAD;
	}
	r = frag_add(frags, sa->step->pkt->h.msgid, skf, plain, s->d->tune.max_packet * 8);
	__atomic_fetch_add(&s->m->c.fragment_bytes, frags->bytes - before, __ATOMIC_RELAXED);
	if (r == FRAG_STORED && frags->have == 1)
		worker_timer_set(s->w, &sa->t_fragments, worker_now(s->w) + s->d->tune.fragment_timeout_ns);
	return r;
}

/* The protected payloads of the packet in sa->step->in; UNWRAP_WAIT: a fragment was stored. */
static enum unwrap unwrap(struct ike_sa *sa, struct wire_error *why)
{
	struct step *st = sa->step;
	struct net_packet *p = st->pkt;
	bool response = p->h.flags & IKE_FLAG_RESPONSE;
	struct frag_set *frags = response ? &sa->frag_in_resp : &sa->frag_in_req;
	struct payload *outer, *sk;
	struct protect_keys k;
	struct cy_slice plain;
	uint8_t next;

	if (!sa->keys.all.n) {
		SA_COUNT(sa->shard->m, drop_unexpected);
		snprintf(why->text, sizeof(why->text), "there are no keys yet");
		return UNWRAP_DROP;
	}
	if (wire_message_parse(&st->a, cy_slice(p->data, p->len), &st->in, why)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		return UNWRAP_DROP; /* not authenticated: no answer */
	}
	outer = st->in.first;
	sk = wire_find(outer, PAYLOAD_SK);
	if (!sk)
		sk = wire_find(outer, PAYLOAD_SKF);
	if (!sk && response && v2_crash_proven(sa, outer))
		return UNWRAP_CRASHED;
	if (!sk) {
		SA_COUNT(sa->shard->m, drop_unprotected);
		snprintf(why->text, sizeof(why->text), "it is not encrypted");
		return UNWRAP_DROP;
	}
	ike_protect_keys(sa, false, &k);
	if (protect_open(sa->shard->protect, &k, (struct cy_buf){p->data, p->len}, sk, &plain)) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		snprintf(why->text, sizeof(why->text), "its integrity check failed");
		return UNWRAP_DROP;
	}
	sa->last_in_ns = worker_now(sa->shard->w);
	next = sk->u.sk.inner_next;
	if (sk->type == PAYLOAD_SKF) {
		switch (take_fragment(sa, frags, sk, plain)) {
		case FRAG_STORED:
			return UNWRAP_WAIT;
		case FRAG_DUPLICATE:
			SA_COUNT(sa->shard->m, drop_fragment);
			return UNWRAP_WAIT;
		case FRAG_BAD:
			SA_COUNT(sa->shard->m, drop_fragment);
			snprintf(why->text, sizeof(why->text), "a fragment does not fit the others");
			return UNWRAP_DROP;
		case FRAG_COMPLETE:
			break;
		}
		next = frags->next;
		if (frag_join(frags, &st->a, &plain)) {
			ike_fragments_drop(sa, frags); /* the peer sends them again */
			SA_COUNT(sa->shard->m, drop_fragment);
			snprintf(why->text, sizeof(why->text), "out of memory");
			return UNWRAP_DROP;
		}
	}
	ike_fragments_drop(sa, frags); /* also those of a message that came whole after all */
	if (wire_chain_parse(&st->a, next, plain, &st->in.first, why))
		return UNWRAP_BAD;
	return wire_check(&p->h, st->in.first, true, why) ? UNWRAP_BAD : UNWRAPPED;
}

/* The answer to our IKE_SA_INIT is in clear; whatever is wrong with it may be forged: ignore it. */
static enum unwrap unwrap_init(struct ike_sa *sa, struct wire_error *why)
{
	struct step *st = sa->step;

	if (wire_message_parse(&st->a, cy_slice(st->pkt->data, st->pkt->len), &st->in, why) ||
	    wire_check(&st->pkt->h, st->in.first, false, why) ||
	    v2_init_useless(sa, why->text, sizeof(why->text))) {
		SA_COUNT(sa->shard->m, drop_syntax);
		return UNWRAP_DROP;
	}
	return UNWRAPPED;
}

/* --- order ------------------------------------------------------------------------------------------------------------------ */

static void drop(struct ike_sa *sa, struct net_packet *p)
{
	SA_COUNT(sa->shard->m, drop_unexpected);
	net_packet_free(p);
}

/* Once both SPIs are known they are those of every message (RFC 7296, 3.1); only IKE_SA_INIT goes without ours. */
static bool spis_fit(const struct ike_sa *sa, const struct ike_header *h)
{
	if (h->exchange == EXCHANGE_IKE_SA_INIT)
		return h->spi_i == sa->spi_i;
	return h->spi_i == sa->spi_i && h->spi_r == sa->spi_r;
}

/* The exchange of what we sent, from its header. */
static uint8_t sent_exchange(const struct sent *s)
{
	return s->parts[0].p[18];
}

/* An authenticated message from elsewhere means that a NAT moved the peer (RFC 7296, 2.23): follow, if we are not behind one. */
static void follow_peer(struct ike_sa *sa, const struct net_packet *p)
{
	if (sa->state == IKE_CONNECTING && !sa->initiator) {
		sa->local = p->dst; /* the initiator moves to the NAT-T port with IKE_AUTH */
		sa->remote = p->src;
		sa->natt = p->natt;
	} else if (sa->state == IKE_ESTABLISHED && sa->natt && p->natt && !sa->nat_here && sa->nat_there &&
	    !cy_addr_eq(&sa->remote, &p->src)) {
		ike_sa_moved(sa, &p->dst, &p->src);
	}
}

void v2_packet(struct ike_sa *sa, struct net_packet *p)
{
	bool response = p->h.flags & IKE_FLAG_RESPONSE, init = p->h.exchange == EXCHANGE_IKE_SA_INIT;
	struct wire_error why;
	enum unwrap u;

	/* The I flag says who started the IKE_SA; it never changes (3.1). */
	if (!!(p->h.flags & IKE_FLAG_INITIATOR) == sa->initiator || !spis_fit(sa, &p->h)) {
		drop(sa, p);
		return;
	}
	if (response) {
		if (!sa->request.valid || p->h.msgid != sa->request.msgid || !sa->task) {
			drop(sa, p);
			return;
		}
		if (p->h.exchange != sent_exchange(&sa->request)) {
			drop(sa, p);
			return;
		}
	} else if (init) {
		/* our answer got lost, or is on its way: the same one again (2.1) */
		if (sa->state == IKE_CONNECTING && !sa->initiator && sa->next_recv == 1)
			exchange_resend_response(sa);
		else
			SA_COUNT(sa->shard->m, drop_replay);
		net_packet_free(p);
		return;
	} else if (sa->response.valid && p->h.msgid == sa->next_recv - 1) {
		/* a retransmission; of fragments the first stands for all (RFC 7383, 2.6.1) */
		if (p->len > IKE_HEADER_LEN + 8 && p->h.exchange == sent_exchange(&sa->response) &&
		    (p->h.next != PAYLOAD_SKF ||
		        (p->data[IKE_HEADER_LEN + 4] == 0 && p->data[IKE_HEADER_LEN + 5] == 1)))
			exchange_resend_response(sa);
		else
			SA_COUNT(sa->shard->m, drop_replay);
		net_packet_free(p);
		return;
	} else if (p->h.msgid != sa->next_recv) {
		SA_COUNT(sa->shard->m, drop_replay);
		net_packet_free(p);
		return;
	}
	if (!step_new(sa, p))
		return;
	memset(&why, 0, sizeof(why));
	u = init ? unwrap_init(sa, &why) : unwrap(sa, &why);
	if (u == UNWRAP_DROP) {
		char from[ADDR_STR_MAX];

		ike_note(sa, LOG_ENC, CY_LOG_INFO, "message from %s dropped: %s",
		    addr_port_str(&p->src, from), why.text);
		step_end(sa);
		return;
	}
	if (u == UNWRAP_WAIT) {
		step_end(sa);
		return;
	}
	if (u == UNWRAP_CRASHED) {
		SA_COUNT(sa->shard->m, crashes_detected);
		ike_sa_fail(sa, "the peer has restarted and lost it (RFC 6290)");
		v2_peer_lost(sa);
		return;
	}
	follow_peer(sa, p);
	if (u == UNWRAPPED)
		log_received(sa, sa->step->in.first);
	if (response) {
		if (u == UNWRAP_BAD) {
			SA_COUNT(sa->shard->m, drop_syntax);
			v2_fatal(sa, "the peer's response is malformed: %s", why.text);
			return;
		}
		exchange_answered(sa);
		handle_response(sa);
	} else if (u == UNWRAP_BAD) {
		refuse_request(sa, &why);
	} else {
		handle_request(sa);
	}
}

/* --- tasks -------------------------------------------------------------------------------------------------------------------- */

static void task_start(struct ike_sa *sa, struct task *t)
{
	if (!step_new(sa, NULL)) {
		v2_fatal(sa, "out of memory");
		return;
	}
	switch (t->kind) {
	case TASK_INIT:
		v2_init_start(sa, t);
		break;
	case TASK_AUTH:
		v2_auth_start(sa, t);
		break;
	case TASK_CHILD_CREATE:
	case TASK_CHILD_REKEY:
		v2_create_start(sa, t);
		break;
	case TASK_IKE_REKEY:
		v2_rekey_start(sa, t);
		break;
	default:
		v2_info_start(sa, t);
		break;
	}
}

static bool try_again(struct ike_sa *sa)
{
	struct task *t = sa->task;

	if (sa->established_ns || sa->replaces || --sa->tries_left_init == 0 || sa_stopping(sa->shard->m))
		return false;
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "peer not responding, trying again");
	/* from the beginning, under a new SPI, with what the first task wanted */
	if (sa_find(sa->shard, ike_sa_our_spi(sa)) == sa)
		hmap_del(&sa->shard->by_spi, &sa->by_spi);
	sa->spi_i = net_spi_new(sa->shard->d->net, sa->shard->d->env, sa->shard->index);
	sa->spi_r = 0;
	ike_sa_index(sa);
	v2_init_end(sa);
	sent_clear(&sa->request);
	sa->next_send = 0;
	sa->natt = sa->nat_here = sa->nat_there = false;
	sa->local.port = sa->shard->d->tune.port;
	sa->remote.port = sa->conn->remote.host.port ? sa->conn->remote.host.port : sa->shard->d->tune.port;
	t->kind = TASK_INIT;
	task_retry(sa, 0);
	step_end(sa);
	return true;
}

void v2_peer_lost(struct ike_sa *sa)
{
	enum conn_dpd action = sa->conn ? sa->conn->dpd_action : DPD_CLEAR;
	struct sa_shard *s = sa->shard;
	struct list *n;
	struct conn *conns[64];
	size_t count = 0;

	if (v2_rekey_save(sa))
		return;
	/* not when it is being closed, or replaced, and the peer just did not say that it has heard of it */
	if (sa->state == IKE_ESTABLISHED && (action == DPD_RESTART || action == DPD_HOLD))
		list_foreach (n, &sa->children) {
			struct child_sa *c = list_entry(n, struct child_sa, node);

			if (count < ARRAY_LEN(conns) && c->state != CHILD_REKEYED &&
			    c->state != CHILD_DELETING && !child_is_extra(c))
				conns[count++] = conn_ref(c->conn);
		}
	/* the SA first, so that a new one does not find it */
	ike_sa_destroy(sa, sa->why);
	for (size_t i = 0; i < count; i++) {
		sa_child_action(s, conns[i], action);
		conn_unref(conns[i]);
	}
}

static void task_timeout(struct ike_sa *sa, struct task *t)
{
	char to[ADDR_STR_MAX];

	if ((t->kind == TASK_INIT || t->kind == TASK_AUTH) && try_again(sa))
		return;
	ike_sa_fail(sa, "the peer %s does not answer %s", addr_port_str(&sa->remote, to),
	    t->kind == TASK_INIT || t->kind == TASK_AUTH ? name_of(task_names, t->kind) : "any more");
	v2_peer_lost(sa);
}

const struct ike_ops ikev2_ops = {
    .major = 2,
    .stray = v2_stray,
    .packet = v2_packet,
    .task_start = task_start,
    .task_timeout = task_timeout,
};
