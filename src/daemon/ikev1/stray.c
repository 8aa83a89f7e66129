/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for which there is no IKE_SA. IKEv1 answers nobody for whom no connection asks for it. */
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/select.h"
#include "libcore/base/addr.h"

static bool wanted(struct sa_shard *s, const struct net_packet *p)
{
	struct config *c = daemon_config(s->d);
	struct conn *any;
	size_t n = conn_candidates(c->index, &p->dst, &p->src, CONN_IKEV1, &any, 1);

	config_unref(c);
	return n != 0;
}

enum admission { REFUSED, ADMITTED, KEPT };

/* At most half of the room is for IKEv1, or nobody with IKEv2 would get in any more. */
static bool has_room(struct sa_shard *s)
{
	uint32_t limit = s->d->tune.half_open_limit;

	if (!limit || SA_READ(s->m, half_open) < (limit + 1) / 2 || sa_make_room(s))
		return true;
	SA_COUNT(s->m, drop_half_open_limit);
	return false;
}

/*
 * IKEv1 has no cookie that is returned before there is state: the third message does not repeat the proposals of the first, which
 * HASH_I is about (RFC 2409, 5). So whoever forges its address may begin. When many have, no more is kept of main mode than its first
 * message, until the cookie of our answer comes back. In aggressive mode the answer is too dear for that.
 */
static enum admission admit(struct sa_shard *s, const struct net_packet *p)
{
	const struct tuning *t = &s->d->tune;

	if (t->block_threshold && half_open_count(s->m->half_open, &p->src, false) >= t->block_threshold) {
		SA_COUNT(s->m, drop_blocked);
		return REFUSED;
	}
	if (sa_stopping(s->m)) {
		SA_COUNT(s->m, drop_half_open_limit);
		return REFUSED;
	}
	/* it costs the pool nothing until who sent it goes on */
	if (p->h.exchange == EXCHANGE_V1_MAIN && t->half_open_limit &&
	    SA_READ(s->m, half_open) >= (t->half_open_limit + 3) / 4)
		return KEPT;
	return !sa_pool_is_behind(s, p, true) && has_room(s) ? ADMITTED : REFUSED;
}

/* The step of a message for which there is no IKE_SA; NULL: it was dropped. Owns p. */
static struct step *step_of(struct sa_shard *s, struct net_packet *p)
{
	struct step *st = calloc(1, sizeof(*st));
	struct wire_error why = {0};

	if (!st) {
		net_packet_free(p);
		return NULL;
	}
	arena_init(&st->a, 1024 * 1024);
	st->pkt = p;
	if (wire_v1_chain_parse(&st->a, p->h.next,
	        cy_slice(p->data + IKE_HEADER_LEN, p->len - IKE_HEADER_LEN), false, &st->in.first, &why)) {
		char from[ADDR_STR_MAX];

		SA_COUNT(s->m, drop_syntax);
		LOGF(s->d->log, LOG_ENC, CY_LOG_INFO, NULL, "IKEv1 request from %s dropped: %s",
		    addr_port_str(&p->src, from), why.text);
		step_free(st);
		return NULL;
	}
	return st;
}

static void request(struct sa_shard *s, struct net_packet *p)
{
	struct step *st;
	enum admission how;

	SA_COUNT(s->m, init_requests);
	st = step_of(s, p);
	if (!st)
		return;
	how = admit(s, p);
	if (how == REFUSED)
		step_free(st);
	else if (p->h.exchange == EXCHANGE_V1_MAIN)
		v1_main_request(s, st, how == KEPT);
	else
		v1_aggressive_request(s, st);
}

/* The third message of main mode, of whose first one nothing else was kept? False: no. Else it owns p. */
static bool goes_on(struct sa_shard *s, struct net_packet *p)
{
	struct net_packet *first;
	struct step *st;
	struct ike_sa *sa;

	if (p->h.exchange != EXCHANGE_V1_MAIN || !p->h.spi_r || p->h.msgid ||
	    (p->h.flags & V1_FLAG_ENCRYPTED))
		return false;
	if (!firsts_has(&s->firsts, p->h.spi_i, p->h.spi_r, &p->src))
		return false;
	if (sa_stopping(s->m) || !has_room(s)) { /* the peer repeats it, and may find room */
		net_packet_free(p);
		return true;
	}
	first = firsts_take(&s->firsts, p->h.spi_i, p->h.spi_r, &p->src);
	st = step_of(s, first);
	sa = st ? v1_main_again(s, st, p->h.spi_r) : NULL;
	if (sa)
		exchange_feed(sa, p);
	else
		net_packet_free(p);
	return true;
}

void v1_stray(struct sa_shard *s, struct net_packet *p)
{
	if ((p->h.exchange == EXCHANGE_V1_MAIN || p->h.exchange == EXCHANGE_V1_AGGRESSIVE) && p->h.spi_i &&
	    !p->h.spi_r && !p->h.msgid && !(p->h.flags & V1_FLAG_ENCRYPTED) && wanted(s, p)) {
		request(s, p);
		return;
	}
	if (goes_on(s, p))
		return;
	SA_COUNT(s->m, drop_stray);
	net_packet_free(p);
}
