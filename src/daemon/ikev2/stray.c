/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for which there is no IKE_SA: the first request of one, or something old, foreign or forged. */
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "libcore/base/addr.h"

/* One unprotected answer without state, exchange and message ID as in the request (RFC 7296, 2.21.1 and 2.5). */
static void answer(
    struct sa_shard *s, const struct net_packet *p, uint64_t spi_r, uint16_t notify, struct cy_slice data)
{
	struct ike_header h = p->h;
	struct message m;
	struct arena a;
	uint8_t buf[512];
	struct writer w = writer_of(buf, sizeof(buf));

	h.flags = (p->h.flags & IKE_FLAG_INITIATOR ? 0 : IKE_FLAG_INITIATOR) | IKE_FLAG_RESPONSE;
	h.major = 2;
	h.minor = 0;
	h.spi_r = spi_r;
	arena_init(&a, 4096);
	message_init(&m, &h);
	if (message_notify(&a, &m, 0, notify, cy_slice(NULL, 0), data) &&
	    wire_message_encode(&m, &w) == CY_OK)
		net_send(
		    s->d->net, s->w, &p->dst, &p->src, p->natt, s->d->tune.ike_dscp << 2, writer_slice(&w));
	arena_fini(&a);
}

/* At most 10 a second a worker, so that nobody uses us to flood a third party. */
static bool may_answer(struct sa_shard *s)
{
	uint64_t now = worker_now(s->w);

	if (now - s->stray_window_ns > NS_PER_S) {
		s->stray_window_ns = now;
		s->strays_answered = 0;
	}
	return s->strays_answered++ < 10;
}

static bool cookie_needed(const struct sa_shard *s)
{
	const struct tuning *t = &s->d->tune;

	return t->cookie_threshold && SA_READ(s->m, half_open) >= t->cookie_threshold;
}

/* RFC 7296, 2.6: the COOKIE notify is the first payload of the repeated request. True: go on. */
static bool cookie_passed(struct sa_shard *s, const struct net_packet *p, const struct payload *first)
{
	const struct payload *ni = wire_find(first, PAYLOAD_NONCE);
	uint8_t cookie[64];
	size_t n;

	if (!cookie_needed(s))
		return true;
	if (first->type == PAYLOAD_NOTIFY && first->u.notify.type == N_COOKIE &&
	    v2_cookie_valid(s->m, p, ni->u.nonce, first->u.notify.data)) {
		SA_COUNT(s->m, cookies_ok);
		return true;
	}
	n = v2_cookie_make(s->m, p, ni->u.nonce, cookie);
	SA_COUNT(s->m, cookies_sent);
	answer(s, p, 0, N_COOKIE, cy_slice(cookie, n));
	return false;
}

static void init_request(struct sa_shard *s, struct net_packet *p)
{
	struct step *st = calloc(1, sizeof(*st));
	struct wire_error why;
	enum cy_err e;

	SA_COUNT(s->m, init_requests);
	if (!st) {
		net_packet_free(p);
		return;
	}
	arena_init(&st->a, 1024 * 1024);
	st->pkt = p;
	memset(&why, 0, sizeof(why));
	e = wire_message_parse(&st->a, cy_slice(p->data, p->len), &st->in, &why);
	if (!e)
		e = wire_check(&p->h, st->in.first, false, &why);
	if (e) {
		char from[ADDR_STR_MAX];

		SA_COUNT(s->m, drop_syntax);
		LOGF(s->d->log, LOG_ENC, CY_LOG_INFO, NULL, "IKE_SA_INIT request from %s refused: %s",
		    addr_port_str(&p->src, from), why.text);
		if (why.notify && may_answer(s))
			answer(s, p, 0, why.notify,
			    cy_slice(&why.notify_data, why.notify == N_UNSUPPORTED_CRITICAL_PAYLOAD));
	} else if (s->m->stopping ||
	    (s->d->tune.half_open_limit && SA_READ(s->m, half_open) >= s->d->tune.half_open_limit)) {
		SA_COUNT(s->m, drop_half_open_limit);
	} else if (cookie_passed(s, p, st->in.first)) {
		v2_init_request(s, st, st->in.first);
		return;
	}
	step_free(st);
}

void v2_stray(struct sa_shard *s, struct net_packet *p)
{
	static const uint8_t none = 0;

	if (p->h.major != 2) {
		/* RFC 7296, 2.5 */
		if (!(p->h.flags & IKE_FLAG_RESPONSE) && p->h.major > 2 && may_answer(s))
			answer(s, p, p->h.spi_r, N_INVALID_MAJOR_VERSION, cy_slice(&none, 0));
		SA_COUNT(s->m, drop_stray);
		net_packet_free(p);
		return;
	}
	if (p->h.exchange == EXCHANGE_IKE_SA_INIT && !(p->h.flags & IKE_FLAG_RESPONSE) &&
	    p->h.flags & IKE_FLAG_INITIATOR && p->h.spi_r == 0 && p->h.spi_i != 0 && p->h.msgid == 0) {
		init_request(s, p);
		return;
	}
	SA_COUNT(s->m, drop_stray);
	/* RFC 7296, 2.21.4: may tell, unprotected and rate limited; never answer an answer. */
	if (!(p->h.flags & IKE_FLAG_RESPONSE) && p->h.exchange != EXCHANGE_IKE_SA_INIT && may_answer(s))
		answer(s, p, p->h.spi_r, N_INVALID_IKE_SPI, cy_slice(NULL, 0));
	net_packet_free(p);
}
