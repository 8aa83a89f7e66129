/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchanges of an IKE_SA: message IDs, IV chains (RFC 2409, Appendix B), what is sent again and what the peer sends again
 * (RFC 2408, 3.1, 5.1).
 */
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/wire/codec.h"

#define MESSAGE_MAX 65535
#define KEPT_NS     (60 * NS_PER_S) /* a finished exchange: as long as a peer may repeat its last message */

/* --- the SA's part ------------------------------------------------------------------------------------------------------- */

static void v1_free(void *arg)
{
	struct v1 *v = arg;
	struct list *n;

	if (!v)
		return;
	while ((n = list_first(&v->exchanges)))
		v1_exchange_free(list_entry(n, struct v1_exchange, node));
	if (v->ke_key)
		v->ke->key_free(v->ke_key);
	for (size_t i = 0; i < v->n_cands; i++)
		conn_unref(v->cands[i]);
	free(v->sai_b.p);
	free(v->idii_b.p);
	free(v->idir_b.p);
	free(v->msgids);
	v1_pieces_drop(v);
	if (v->early)
		net_packet_free(v->early);
	if (v->encr_key.n)
		protect_forget(v->sa->shard->protect,
		    &(struct protect_keys){
		        .encr = v->sa->suite.encr, .encr_key = secret_slice(&v->encr_key)});
	secret_fini(&v->shared);
	secret_fini(&v->skeyid);
	secret_fini(&v->skeyid_d);
	secret_fini(&v->skeyid_a);
	secret_fini(&v->skeyid_e);
	secret_fini(&v->encr_key);
	mem_wipe(v, sizeof(*v));
	free(v);
}

struct v1 *v1_new(struct ike_sa *sa)
{
	struct v1 *v = calloc(1, sizeof(*v));

	if (v) {
		v->sa = sa;
		list_init(&v->exchanges);
	}
	sa->init = v;
	sa->init_free = v1_free;
	sa->t_fragments.fn = v1_pieces_late;
	return v;
}

/* --- exchanges ----------------------------------------------------------------------------------------------------------- */

struct v1_exchange *v1_exchange_new(struct ike_sa *sa, uint8_t type, uint32_t msgid, bool ours)
{
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->sa = sa;
	x->type = type;
	x->msgid = msgid;
	x->ours = ours;
	x->tries_max = UINT32_MAX;
	x->timer.fn = v1_exchange_timer;
	if (msgid && v->keyed) {
		x->encrypted = true;
		if (v1_iv_phase2(sa, msgid, x->iv)) {
			free(x);
			return NULL;
		}
	}
	list_push(&v->exchanges, &x->node);
	v->n_exchanges++;
	return x;
}

void v1_exchange_free(struct v1_exchange *x)
{
	struct v1 *v = v1_of(x->sa);

	worker_timer_cancel(x->sa->shard->w, &x->timer);
	list_del(&x->node);
	v->n_exchanges--;
	if (v->phase1 == x)
		v->phase1 = NULL;
	if (x->state && x->state_free)
		x->state_free(x->state);
	if (x->sa->step && x->sa->step->ctx == x)
		x->sa->step->ctx = NULL;
	sent_clear(&x->sent);
	free(x);
}

struct v1_exchange *v1_exchange_find(struct ike_sa *sa, uint8_t type, uint32_t msgid)
{
	struct list *n;

	list_foreach (n, &v1_of(sa)->exchanges) {
		struct v1_exchange *x = list_entry(n, struct v1_exchange, node);

		if (x->type == type && x->msgid == msgid)
			return x;
	}
	return NULL;
}

void v1_exchange_finish(struct v1_exchange *x)
{
	struct worker *w = x->sa->shard->w;

	x->finished = true;
	if (x->state && x->state_free)
		x->state_free(x->state);
	x->state = NULL;
	worker_timer_cancel(w, &x->timer);
	if (x != v1_of(x->sa)->phase1)
		worker_timer_set(w, &x->timer, worker_now(w) + KEPT_NS);
}

uint32_t v1_msgid_new(struct ike_sa *sa)
{
	uint32_t id;

	do {
		sa->shard->d->env->random(sa->shard->d->env, &id, sizeof(id));
	} while (!id || v1_exchange_find(sa, EXCHANGE_V1_QUICK, id) ||
	    v1_exchange_find(sa, EXCHANGE_V1_TRANSACTION, id));
	return id;
}

/* RFC 2408, 4.2.2 wants message IDs never used again. What is older than all that are remembered may be replayed, and then finds
   an exchange without an end, or an SPI that is gone. */
bool v1_msgid_used(struct ike_sa *sa, uint32_t msgid)
{
	struct v1 *v = v1_of(sa);

	for (size_t i = 0; i < v->n_msgids; i++)
		if (v->msgids[i] == msgid)
			return true;
	if (v->n_msgids == v->msgids_cap && v->msgids_cap < V1_MSGIDS) {
		size_t cap = v->msgids_cap ? v->msgids_cap * 2 : 16;
		uint32_t *more = realloc(v->msgids, cap * sizeof(*more));

		if (!more)
			return true;
		v->msgids = more;
		v->msgids_cap = cap;
	}
	if (v->n_msgids < v->msgids_cap) {
		v->msgids[v->n_msgids++] = msgid;
	} else {
		v->msgids[v->msgid_at] = msgid;
		v->msgid_at = (v->msgid_at + 1) % v->msgids_cap;
	}
	return false;
}

struct v1_exchange *v1_current(const struct ike_sa *sa)
{
	return sa->step ? sa->step->ctx : NULL;
}

void v1_task_take(struct v1_exchange *x)
{
	if (!x->task)
		return;
	list_del(&x->task->node);
	x->sa->task = x->task;
}

void v1_task_park(struct ike_sa *sa, struct v1_exchange *x)
{
	if (!x->task || sa->task != x->task)
		return;
	sa->task = NULL;
	list_push(&sa->running, &x->task->node);
}

void v1_step_end(struct ike_sa *sa)
{
	struct v1_exchange *x = v1_current(sa);

	if (x)
		v1_task_park(sa, x);
	step_end(sa);
}

/* --- sending ------------------------------------------------------------------------------------------------------------- */

bool v1_out(struct ike_sa *sa, struct v1_exchange *x, enum v1_hash hash)
{
	struct ike_header h = {.spi_i = sa->spi_i,
	    .spi_r = sa->spi_r,
	    .major = 1,
	    .exchange = x->type,
	    .flags = (x->encrypted ? V1_FLAG_ENCRYPTED : 0) | (x->commit && !x->ours ? V1_FLAG_COMMIT : 0),
	    .msgid = x->msgid};
	struct prf_info prf;
	struct payload *p;
	uint8_t *room;

	message_init(&sa->step->out, &h);
	if (hash == V1_HASH_NONE)
		return true;
	if (!crypto_prf(sa->shard->d->crypto, sa->suite.prf, &prf))
		return false;
	p = message_add(&sa->step->a, &sa->step->out, PAYLOAD_V1_HASH);
	room = arena_alloc(&sa->step->a, prf.out_len);
	if (!p || !room)
		return false;
	memset(room, 0, prf.out_len);
	p->u.hash1 = cy_slice(room, prf.out_len);
	return true;
}

/* Fill in HASH, pad, encrypt: RFC 2409, 5.5 and Appendix B. The IV moves on. */
static enum cy_err seal(struct ike_sa *sa, struct v1_exchange *x, enum v1_hash hash, struct cy_slice ni,
    struct cy_slice nr, struct writer *w)
{
	struct v1 *v = v1_of(sa);
	size_t hash_len = hash != V1_HASH_NONE ? sa->step->out.first->u.hash1.n : 0, body;
	struct cy_buf data;
	enum cy_err e = wire_message_encode(&sa->step->out, w);

	if (e)
		return e;
	if (hash != V1_HASH_NONE) {
		size_t rest = IKE_HEADER_LEN + GENERIC_HEADER_LEN + hash_len;

		e = v1_prf_hash(sa, x, hash, ni, nr, cy_slice(w->buf + rest, w->n - rest),
		    w->buf + IKE_HEADER_LEN + GENERIC_HEADER_LEN);
		if (e)
			return e;
	}
	if (!x->encrypted)
		return CY_OK;
	body = w->n - IKE_HEADER_LEN;
	if (body % v->block)
		write_zero(w, v->block - body % v->block);
	if (w->bad)
		return CY_E_SHORT;
	wire_length_set(w, 0);
	data = (struct cy_buf){w->buf + IKE_HEADER_LEN, w->n - IKE_HEADER_LEN};
	e = protect_cbc(sa->shard->protect, sa->suite.encr, sa->suite.key_bits, secret_slice(&v->encr_key),
	    cy_slice(x->iv, v->block), data, true);
	if (!e)
		memcpy(x->iv, data.p + data.n - v->block, v->block);
	return e;
}

static void arm(struct v1_exchange *x)
{
	struct worker *w = x->sa->shard->w;

	worker_timer_set(w, &x->timer, worker_now(w) + retransmit_delay(x->sa, x->tries));
}

enum cy_err v1_send(struct ike_sa *sa, struct v1_exchange *x, enum v1_hash hash, struct cy_slice ni,
    struct cy_slice nr, bool wait)
{
	uint8_t *buf = malloc(MESSAGE_MAX);
	struct writer w = writer_of(buf, MESSAGE_MAX);
	char text[512];
	enum cy_err e = buf ? CY_OK : CY_E_NOMEM;

	if (ike_note_wanted(sa, LOG_ENC, CY_LOG_INFO))
		ike_note(sa, LOG_ENC, CY_LOG_INFO, "generating %s",
		    wire_print(&sa->step->out.h, sa->step->out.first, text, sizeof(text)));
	if (!e)
		e = seal(sa, x, hash, ni, nr, &w);
	sent_clear(&x->sent);
	if (!e && !v1_split_message(sa, x, writer_slice(&w)))
		e = CY_E_NOMEM;
	free(buf);
	if (e) {
		sent_clear(&x->sent);
		return e;
	}
	x->sent.valid = true;
	x->answered = true;
	x->at++;
	x->tries = 0;
	x->tries_max = UINT32_MAX;
	sent_transmit(sa, &x->sent);
	worker_timer_cancel(sa->shard->w, &x->timer);
	if (wait)
		arm(x);
	return CY_OK;
}

void v1_resend(struct v1_exchange *x)
{
	if (x->answered && x->sent.valid) {
		SA_COUNT(x->sa->shard->m, retransmits_in);
		sent_transmit(x->sa, &x->sent);
	}
}

void v1_exchange_timer(struct timer *t)
{
	struct v1_exchange *x = container_of(t, struct v1_exchange, timer);
	struct ike_sa *sa = x->sa;
	uint32_t max = retransmit_max(sa);

	if (x->finished) {
		v1_exchange_free(x);
		return;
	}
	if (sa->step && v1_current(sa) == x) { /* its answer is being worked on */
		arm(x);
		return;
	}
	if (x->tries >= (max < x->tries_max ? max : x->tries_max)) {
		SA_COUNT(sa->shard->m, timeouts);
		v1_task_timeout(sa, x);
		return;
	}
	x->tries++;
	SA_COUNT(sa->shard->m, retransmits_out);
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "retransmit %u of %s message %u (%08x)", x->tries,
	    name_or_number(exchange_names, x->type), x->at, x->msgid);
	sent_transmit(sa, &x->sent);
	arm(x);
}

/* --- hashes of phase 2 --------------------------------------------------------------------------------------------------- */

bool v1_hash_ok(
    struct ike_sa *sa, const struct v1_exchange *x, enum v1_hash hash, struct cy_slice ni, struct cy_slice nr)
{
	const struct payload *p = sa->step->in.first, *last = p;
	uint8_t want[CY_MAX_MAC_LEN];
	struct prf_info prf;
	const uint8_t *from;

	if (!p || p->type != PAYLOAD_V1_HASH || !crypto_prf(sa->shard->d->crypto, sa->suite.prf, &prf) ||
	    p->u.hash1.n != prf.out_len)
		return false;
	while (last->next)
		last = last->next;
	from = p->raw.p + p->raw.n;
	return v1_prf_hash(sa, x, hash, ni, nr, cy_slice(from, (size_t)(last->raw.p + last->raw.n - from)),
	           want) == CY_OK &&
	    mem_eq_ct(want, p->u.hash1.p, prf.out_len);
}
