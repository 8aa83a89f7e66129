/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quick crash detection (RFC 6290), as maker and taker of tokens. Our token of an IKE_SA is a MAC over its SPIs and our role under a
 * secret that outlives the process: who asks for an IKE_SA that we do not have (any more) is shown it, and believes us.
 */
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "libcore/crypto/registry.h"

#define TOKEN_MIN 16 /* RFC 6290, 4.1 */
#define TOKEN_MAX 128

bool v2_crash_token(
    struct sa_manager *m, uint64_t spi_i, uint64_t spi_r, bool initiator, uint8_t out[V2_CRASH_TOKEN])
{
	uint8_t in[17];
	struct writer w = writer_of(in, sizeof(in));
	struct cy_slice part;

	write_u64(&w, spi_i);
	write_u64(&w, spi_r);
	write_u8(&w, initiator);
	part = writer_slice(&w);
	return prf_compute(m->d->crypto, CY_PRF_HMAC_SHA2_256,
	           cy_slice(m->crash_secret, sizeof(m->crash_secret)), &part, 1, out) == CY_OK;
}

bool v2_crash_add(const struct ike_sa *sa, struct arena *a, struct message *m)
{
	uint8_t *token;

	if (!sa->shard->d->tune.crash_detection)
		return true;
	token = arena_alloc(a, V2_CRASH_TOKEN); /* the message borrows it */
	if (!token)
		return false;
	/* without the algorithm there is none, which is no failure */
	if (!v2_crash_token(sa->shard->m, sa->spi_i, sa->spi_r, sa->initiator, token))
		return true;
	return message_notify(
	    a, m, PROTO_IKE, N_QUICK_CRASH_DETECTION, cy_slice(NULL, 0), cy_slice(token, V2_CRASH_TOKEN));
}

void v2_crash_take(struct ike_sa *sa, const struct payload *first)
{
	const struct payload *p = wire_find_notify(first, N_QUICK_CRASH_DETECTION);
	struct cy_slice token;
	uint8_t *copy;

	if (!p || !sa->shard->d->tune.crash_detection)
		return;
	token = p->u.notify.data;
	if (token.n < TOKEN_MIN || token.n > TOKEN_MAX || (copy = malloc(token.n)) == NULL)
		return;
	memcpy(copy, token.p, token.n);
	free(sa->crash_token);
	sa->crash_token = copy;
	sa->n_crash_token = (uint16_t)token.n;
}

bool v2_crash_proven(const struct ike_sa *sa, const struct payload *first)
{
	if (!sa->crash_token || !wire_find_notify(first, N_INVALID_IKE_SPI))
		return false;
	/* 4.5: there may be several, one of each maker that could be meant */
	for (const struct payload *p = first; p; p = p->next)
		if (p->type == PAYLOAD_NOTIFY && p->u.notify.type == N_QUICK_CRASH_DETECTION &&
		    p->u.notify.data.n == sa->n_crash_token &&
		    mem_eq_ct(p->u.notify.data.p, sa->crash_token, sa->n_crash_token))
			return true;
	return false;
}

void v2_crash_rekeyed(struct ike_sa *sa)
{
	struct task *t = sa->shard->d->tune.crash_detection ? task_new(TASK_LIVENESS) : NULL;

	if (!t)
		return;
	sa->crash_token_due = true;
	list_push(&sa->tasks, &t->node);
}
