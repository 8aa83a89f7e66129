/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for which there is no IKE_SA: the first request of one, or something old, foreign or forged. */
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "libcore/base/addr.h"

/* A second and worker, so that nobody uses us to flood a third party. */
#define ANSWERS 10
#define TOKENS                                                                                               \
	1000 /* after a crash every peer asks at once, and its answer is hardly longer than what it sent */
#define PROTECTED 49 /* an empty protected message: header, SK, 8 octets of IV, one of padding, 8 of ICV */

void v2_answer_stray(struct sa_shard *s, const struct net_packet *p, uint64_t spi_r, struct message *m)
{
	uint8_t buf[512];
	struct writer w = writer_of(buf, sizeof(buf));

	m->h.flags = (p->h.flags & IKE_FLAG_INITIATOR ? 0 : IKE_FLAG_INITIATOR) | IKE_FLAG_RESPONSE;
	m->h.major = 2;
	m->h.minor = 0;
	m->h.spi_r = spi_r;
	if (wire_message_encode(m, &w) == CY_OK)
		net_send(
		    s->d->net, s->w, &p->dst, &p->src, p->natt, s->d->tune.ike_dscp << 2, writer_slice(&w));
}

/* One notify, exchange and message ID as in the request (RFC 7296, 2.21.1 and 2.5). */
static void answer(
    struct sa_shard *s, const struct net_packet *p, uint64_t spi_r, uint16_t notify, struct cy_slice data)
{
	struct message m;
	struct arena a;

	arena_init(&a, 4096);
	message_init(&m, &p->h);
	if (message_notify(&a, &m, 0, notify, cy_slice(NULL, 0), data))
		v2_answer_stray(s, p, spi_r, &m);
	arena_fini(&a);
}

/*
 * RFC 7296, 2.21.4: may tell that there is no such IKE_SA. RFC 6290, 4.5: with the token that only we can make, the peer may
 * believe it. Our role is part of the token, or a request with the other I flag would make us give away that of a living IKE_SA.
 */
static void answer_no_sa(struct sa_shard *s, const struct net_packet *p)
{
	uint8_t token[V2_CRASH_TOKEN];
	struct message m;
	struct arena a;
	bool ok;

	arena_init(&a, 4096);
	message_init(&m, &p->h);
	ok = message_notify(&a, &m, 0, N_INVALID_IKE_SPI, cy_slice(NULL, 0), cy_slice(NULL, 0));
	if (ok && s->d->tune.crash_detection && p->h.spi_i && p->h.spi_r &&
	    v2_crash_token(s->m, p->h.spi_i, p->h.spi_r, !(p->h.flags & IKE_FLAG_INITIATOR), token)) {
		ok = message_notify(&a, &m, PROTO_IKE, N_QUICK_CRASH_DETECTION, cy_slice(NULL, 0),
		    cy_slice(token, sizeof(token)));
		SA_COUNT(s->m, crash_tokens_sent);
	}
	if (ok)
		v2_answer_stray(s, p, p->h.spi_r, &m);
	arena_fini(&a);
}

static bool may_answer(struct sa_shard *s, uint32_t most)
{
	uint64_t now = worker_now(s->w);

	if (now - s->stray_window_ns > NS_PER_S) {
		s->stray_window_ns = now;
		s->strays_answered = 0;
	}
	return s->strays_answered++ < most;
}

static bool looks_protected(const struct net_packet *p)
{
	return p->len >= PROTECTED && (p->h.next == PAYLOAD_SK || p->h.next == PAYLOAD_SKF);
}

static void init_request(struct sa_shard *s, struct net_packet *p)
{
	struct step *st = calloc(1, sizeof(*st));
	struct wire_error why;
	bool proven;
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
		if (why.notify && may_answer(s, ANSWERS))
			answer(s, p, 0, why.notify,
			    cy_slice(&why.notify_data, why.notify == N_UNSUPPORTED_CRITICAL_PAYLOAD));
	} else if (sa_stopping(s->m)) {
		SA_COUNT(s->m, drop_half_open_limit);
	} else if (v2_admit(s, p, st->in.first, &proven)) {
		v2_init_request(s, st, st->in.first, proven);
		return;
	}
	step_free(st);
}

void v2_stray(struct sa_shard *s, struct net_packet *p)
{
	static const uint8_t none = 0;

	if (p->h.major != 2) {
		/* RFC 7296, 2.5 */
		if (!(p->h.flags & IKE_FLAG_RESPONSE) && p->h.major > 2 && may_answer(s, ANSWERS))
			answer(s, p, p->h.spi_r, N_INVALID_MAJOR_VERSION, cy_slice(&none, 0));
		SA_COUNT(s->m, drop_stray);
		net_packet_free(p);
		return;
	}
	if (p->h.exchange == EXCHANGE_IKE_SA_INIT && !(p->h.flags & IKE_FLAG_RESPONSE) &&
	    p->h.flags & IKE_FLAG_INITIATOR && p->h.spi_r == 0 && p->h.spi_i != 0 && p->h.msgid == 0) {
		/* what comes faster than it can be handled is shed by its age: the peer has repeated it by then, or given up */
		if (worker_now(s->w) > p->received_ns + s->d->tune.init_queue_ns) {
			SA_COUNT(s->m, drop_late);
			net_refused(p);
			net_packet_free(p);
			return;
		}
		init_request(s, p);
		return;
	}
	SA_COUNT(s->m, drop_stray);
	/* unprotected and rate limited; never answer an answer */
	if (!(p->h.flags & IKE_FLAG_RESPONSE) && p->h.exchange != EXCHANGE_IKE_SA_INIT &&
	    may_answer(s, s->d->tune.crash_detection && looks_protected(p) ? TOKENS : ANSWERS))
		answer_no_sa(s, p);
	net_packet_free(p);
}
