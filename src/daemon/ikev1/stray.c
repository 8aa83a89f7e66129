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

/*
 * IKEv1 has no cookie that is returned before there is state, so that whoever forges its address may begin: only half of the room is
 * for that, or nobody with IKEv2 would get in any more.
 */
static bool admit(struct sa_shard *s, const struct net_packet *p)
{
	const struct tuning *t = &s->d->tune;

	if (t->block_threshold && half_open_count(s->m->half_open, &p->src, false) >= t->block_threshold) {
		SA_COUNT(s->m, drop_blocked);
		return false;
	}
	if (s->m->stopping ||
	    (t->half_open_limit && SA_READ(s->m, half_open) >= (t->half_open_limit + 1) / 2 &&
	        !sa_make_room(s))) {
		SA_COUNT(s->m, drop_half_open_limit);
		return false;
	}
	return true;
}

static void request(struct sa_shard *s, struct net_packet *p)
{
	struct step *st = calloc(1, sizeof(*st));
	struct wire_error why = {0};

	SA_COUNT(s->m, init_requests);
	if (!st) {
		net_packet_free(p);
		return;
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
		return;
	}
	if (!admit(s, p)) {
		step_free(st);
		return;
	}
	if (p->h.exchange == EXCHANGE_V1_MAIN)
		v1_main_request(s, st);
	else
		v1_aggressive_request(s, st);
}

void v1_stray(struct sa_shard *s, struct net_packet *p)
{
	if ((p->h.exchange == EXCHANGE_V1_MAIN || p->h.exchange == EXCHANGE_V1_AGGRESSIVE) && p->h.spi_i &&
	    !p->h.spi_r && !p->h.msgid && !(p->h.flags & V1_FLAG_ENCRYPTED) && wanted(s, p)) {
		request(s, p);
		return;
	}
	SA_COUNT(s->m, drop_stray);
	net_packet_free(p);
}
