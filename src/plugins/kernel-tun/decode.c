/* SPDX-License-Identifier: Apache-2.0 */

#include "esp.h"
#include "lifetime.h"

#include <netinet/in.h>
#include <stdlib.h>

/* After so many packets in a row that were not authentic, the high half of ESN is searched this far (RFC 4303, A3). */
#define RESYNC_AFTER 64
#define RESYNC_STEPS 4

#define ECN_MASK 3
enum { ECN_NOT_ECT = 0, ECN_ECT_1 = 1, ECN_ECT_0 = 2, ECN_CE = 3 };

static enum cy_err drop(struct esp *e, enum counter why, enum cy_err err)
{
	counter_add(e->counters, why, 1);
	return err;
}

static bool equal_ct(const uint8_t *a, const uint8_t *b, size_t n)
{
	volatile uint8_t diff = 0;

	for (size_t i = 0; i < n; i++)
		diff |= a[i] ^ b[i];
	return diff == 0;
}

/* Verifies first, then decrypts; AEAD does both at once. */
static enum cy_err open_body(struct sa *sa, struct sa_crypt *c, const struct esp_layout *l)
{
	uint8_t icv[ESP_MAX_ICV];
	enum cy_err err;

	if (sa->cipher->aead)
		return esp_aead(sa, c, l);
	err = esp_mac(sa, c, l, icv);
	if (err != CY_OK)
		return err;
	if (!equal_ct(icv, l->icv, sa->icv_len))
		return CY_E_AUTH;
	return esp_cipher(sa, c, l);
}

/* A copy of the datagram: a failed attempt leaves nothing of it. */
static uint8_t *copy_to_scratch(struct esp *e, const uint8_t *esp, size_t len)
{
	if (e->scratch_len < len) {
		uint8_t *p = realloc(e->scratch, len);

		if (!p)
			return NULL;
		e->scratch = p;
		e->scratch_len = len;
	}
	memcpy(e->scratch, esp, len);
	return e->scratch;
}

/* RFC 4303, A3.2: perhaps 2^32 packets were lost. original is the datagram before the failed attempt. */
static enum cy_err resync(
    struct esp *e, struct sa *sa, struct sa_crypt *c, struct esp_layout *l, const uint8_t *original)
{
	size_t len = (size_t)(l->icv + sa->icv_len - l->esp);

	for (uint64_t step = 1; step <= RESYNC_STEPS; step++) {
		if (l->seq >> 32 >= UINT32_MAX)
			break;
		l->seq += 1ull << 32;
		memcpy(l->esp, original, len);
		if (open_body(sa, c, l) == CY_OK) {
			counter_add(e->counters, CNT_IN_RESYNC, 1);
			return CY_OK;
		}
	}
	return CY_E_AUTH;
}

static enum cy_err authenticate(struct esp *e, struct sa *sa, struct esp_layout *l)
{
	const uint8_t *original = NULL;
	struct sa_crypt *c;
	enum cy_err err = sa_crypt_get(sa, e->thread, &c);
	uint32_t failures;

	if (err != CY_OK)
		return drop(e, CNT_IN_CRYPTO, err);
	if (sa->esn) {
		pthread_spin_lock(&sa->lock);
		failures = sa->failures;
		pthread_spin_unlock(&sa->lock);
		if (failures >= RESYNC_AFTER)
			original = copy_to_scratch(e, l->esp, (size_t)(l->icv + sa->icv_len - l->esp));
	}
	err = open_body(sa, c, l);
	if (err == CY_OK)
		return CY_OK;
	if (original) {
		pthread_spin_lock(&sa->lock);
		sa->failures = 0;
		pthread_spin_unlock(&sa->lock);
		if (resync(e, sa, c, l, original) == CY_OK)
			return CY_OK;
	} else if (err == CY_E_AUTH) {
		pthread_spin_lock(&sa->lock);
		sa->failures++;
		pthread_spin_unlock(&sa->lock);
	}
	atomic_fetch_add_explicit(&sa->integrity_drops, 1, memory_order_relaxed);
	return drop(e, err == CY_E_AUTH ? CNT_IN_BAD_ICV : CNT_IN_CRYPTO, CY_E_AUTH);
}

/* The packet is authentic. Only the newest one says where the peer is: an older one may have been held back. */
static enum cy_err advance_window(
    struct esp *e, struct sa *sa, uint64_t seq, const struct cy_dgram *d, bool *out_moved)
{
	bool ok, newest = false;

	*out_moved = false;
	pthread_spin_lock(&sa->lock);
	sa->failures = 0;
	ok = replay_ok(&sa->replay, seq);
	if (ok)
		newest = replay_advance(&sa->replay, seq);
	if (newest) {
		const struct cy_addr *known = &sa_path(sa)->src;

		if (cy_addr_eq(known, &d->src)) {
			sa->mapped_to.family = 0;
		} else if (!cy_addr_eq(&sa->mapped_to, &d->src)) {
			sa->mapped_to = d->src;
			*out_moved = true;
		}
	}
	pthread_spin_unlock(&sa->lock);
	if (ok)
		return CY_OK;
	atomic_fetch_add_explicit(&sa->replay_drops, 1, memory_order_relaxed);
	return drop(e, CNT_IN_REPLAY, CY_E_DENIED);
}

/* RFC 6040, 4.2, figure 4. False: drop. */
static bool merge_ecn(uint8_t outer, uint8_t *tos)
{
	uint8_t inner = *tos & ECN_MASK;

	outer &= ECN_MASK;
	if (inner == ECN_NOT_ECT)
		return outer != ECN_CE;
	if (outer == ECN_CE || (outer == ECN_ECT_1 && inner == ECN_ECT_0))
		*tos = (uint8_t)((*tos & ~ECN_MASK) | outer);
	return true;
}

static bool fix_tos(const struct sa *sa, uint8_t outer, uint8_t *inner)
{
	uint8_t was = packet_tos(inner), tos = was;

	if (sa->copy_dscp == CY_DSCP_IN || sa->copy_dscp == CY_DSCP_YES)
		tos = (uint8_t)((outer & ~ECN_MASK) | (tos & ECN_MASK));
	if (!sa->no_ecn && !merge_ecn(outer, &tos))
		return false;
	if (tos != was)
		packet_set_tos(inner, tos);
	return true;
}

/* What is inside: padding, next header, and a packet that this SA may carry. */
static enum cy_err open_inner(
    struct esp *e, struct sa *sa, const struct cy_dgram *d, const struct esp_layout *l, struct cy_buf *out)
{
	size_t n = l->body_len - 2, pad = l->body[n];
	uint8_t next = l->body[n + 1];
	struct flow f;

	if (pad > n)
		return drop(e, CNT_IN_BAD_PADDING, CY_E_PARSE);
	n -= pad;
	for (size_t i = 0; i < pad; i++)
		if (l->body[n + i] != i + 1)
			return drop(e, CNT_IN_BAD_PADDING, CY_E_PARSE);
	if (next == IPPROTO_NONE) {
		counter_add(e->counters, CNT_IN_DUMMY, 1);
		out->p = l->body;
		out->n = 0;
		return CY_OK;
	}
	if (next != IPPROTO_IPIP && next != IPPROTO_IPV6)
		return drop(e, CNT_IN_BAD_NEXT_HEADER, CY_E_PARSE);
	/* what follows the packet is TFC padding (RFC 4303, 2.7) */
	if (packet_check(l->body, n, &n) != CY_OK || (l->body[0] >> 4 == 4) != (next == IPPROTO_IPIP))
		return drop(e, CNT_IN_BAD_INNER, CY_E_PARSE);
	packet_flow(l->body, n, &f);
	if (!sa_allows(sa, &f))
		return drop(e, CNT_IN_SELECTOR, CY_E_DENIED);
	if (!fix_tos(sa, d->tos, l->body))
		return drop(e, CNT_IN_ECN, CY_E_DENIED);
	out->p = l->body;
	out->n = n;
	return CY_OK;
}

enum cy_err esp_decode(struct esp *e, struct sa *sa, const struct cy_dgram *d, uint8_t *esp, size_t len,
    struct cy_buf *out_inner)
{
	size_t overhead = (size_t)ESP_HEADER + sa->iv_len + sa->icv_len;
	struct esp_layout l = {.esp = esp, .iv = esp + ESP_HEADER};
	struct cy_buf inner;
	enum cy_err err;
	bool ok, moved;

	if (atomic_load_explicit(&sa->dead, memory_order_relaxed))
		return drop(e, CNT_IN_EXPIRED, CY_E_LIMIT);
	if (len < overhead + 2)
		return drop(e, CNT_IN_SHORT, CY_E_SHORT);
	l.body = l.iv + sa->iv_len;
	l.body_len = len - overhead;
	l.icv = l.body + l.body_len;
	if (l.body_len % sa->align)
		return drop(e, CNT_IN_UNALIGNED, CY_E_PARSE);

	/* before any cryptography, to be rid of replays cheaply (RFC 4303, 3.4.3) */
	pthread_spin_lock(&sa->lock);
	l.seq = replay_infer(&sa->replay, get_be32(esp + 4));
	ok = replay_ok(&sa->replay, l.seq);
	pthread_spin_unlock(&sa->lock);
	if (!ok) {
		atomic_fetch_add_explicit(&sa->replay_drops, 1, memory_order_relaxed);
		return drop(e, CNT_IN_REPLAY, CY_E_DENIED);
	}
	err = authenticate(e, sa, &l);
	if (err == CY_OK)
		err = advance_window(e, sa, l.seq, d, &moved);
	if (err != CY_OK)
		return err;
	if (moved && e->k->ev.mapping) {
		struct cy_kernel_sa_id id;

		sa_id(sa, &id);
		e->k->ev.mapping(e->k->ev.user, &id, &d->src);
	}
	err = open_inner(e, sa, d, &l, &inner);
	if (err != CY_OK)
		return err;
	sa_count(e->k, sa, inner.n, e->wall);
	*out_inner = inner;
	return CY_OK;
}
