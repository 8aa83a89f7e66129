/* SPDX-License-Identifier: Apache-2.0 */

#include "esp.h"
#include "lifetime.h"

#include <netinet/in.h>

/* The daemon is told when this many sequence numbers are left, so that there is a new SA before they end. */
#define SEQ_RESERVE (1u << 28)

static uint64_t last_seq(const struct sa *sa)
{
	return sa->esn ? UINT64_MAX - 1 : UINT32_MAX;
}

/* No number is given out twice under one key (RFC 4303, 3.3.3): the nonce of counter modes is made of it. */
static enum cy_err next_seq(struct esp *e, struct sa *sa, uint64_t *out)
{
	uint64_t seq = atomic_fetch_add_explicit(&sa->seq, 1, memory_order_relaxed) + 1;

	if (seq > last_seq(sa) || seq == 0) {
		/* stay there: with ESN the counter must not wrap while packets are refused */
		atomic_store_explicit(&sa->seq, last_seq(sa), memory_order_relaxed);
		counter_add(e->counters, CNT_OUT_SEQ, 1);
		sa_kill(e->k, sa);
		return CY_E_LIMIT;
	}
	if (seq > last_seq(sa) - SEQ_RESERVE)
		sa_soft_expire(e->k, sa);
	*out = seq;
	return CY_OK;
}

static void random_iv(struct esp *e, uint8_t *iv, size_t n)
{
	if (e->n_random < n) {
		e->k->host->random(e->k->self, e->random, sizeof(e->random));
		e->n_random = sizeof(e->random);
	}
	e->n_random -= n;
	memcpy(iv, e->random + e->n_random, n);
	explicit_bzero(e->random + e->n_random, n);
}

static void make_iv(struct esp *e, const struct sa *sa, const struct esp_layout *l)
{
	if (sa->cipher->aead || sa->align <= 4) {
		/* unique is enough, and the sequence number is (RFC 4106, 3.1; RFC 3686, 3.1) */
		if (sa->iv_len == 8) {
			put_be32(l->iv, (uint32_t)(l->seq >> 32));
			put_be32(l->iv + 4, (uint32_t)l->seq);
			return;
		}
	}
	/* CBC: unpredictable (RFC 3602, 3) */
	random_iv(e, l->iv, sa->iv_len);
}

/* TFC padding, then padding with 1, 2, 3 ..., its length and the next header (RFC 4303, 2.4 to 2.7). */
static size_t put_trailer(
    const struct kernel *k, const struct sa *sa, uint8_t *inner, size_t len, size_t room)
{
	uint8_t next = inner[0] >> 4 == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	size_t pad, body = len;

	if (sa->tfc_pad > len) {
		size_t limit = esp_max_inner(sa, k->cfg.outer_mtu ? k->cfg.outer_mtu : 1500);

		body = sa->tfc_pad < limit ? sa->tfc_pad : limit;
		if (body < len || body + ESP_TAILROOM > len + room)
			body = len;
		memset(inner + len, 0, body - len);
	}
	pad = (sa->align - (body + 2) % sa->align) % sa->align;
	for (size_t i = 1; i <= pad; i++)
		inner[body++] = (uint8_t)i;
	inner[body++] = (uint8_t)pad;
	inner[body++] = next;
	return body;
}

enum cy_err esp_encode(
    struct esp *e, struct sa *sa, uint8_t *inner, size_t len, size_t tail, struct cy_buf *out_esp)
{
	struct esp_layout l = {.body = inner, .iv = inner - sa->iv_len};
	struct sa_crypt *c;
	enum cy_err err;

	if (atomic_load_explicit(&sa->dead, memory_order_relaxed)) {
		counter_add(e->counters, CNT_OUT_EXPIRED, 1);
		return CY_E_LIMIT;
	}
	if (tail < ESP_TAILROOM)
		return CY_E_SHORT;
	err = sa_crypt_get(sa, e->thread, &c);
	if (err != CY_OK) {
		counter_add(e->counters, CNT_OUT_CRYPTO, 1);
		return err;
	}
	err = next_seq(e, sa, &l.seq);
	if (err != CY_OK)
		return err;
	l.esp = l.iv - ESP_HEADER;
	l.body_len = put_trailer(e->k, sa, inner, len, tail);
	l.icv = l.body + l.body_len;
	put_be32(l.esp, sa->spi);
	put_be32(l.esp + 4, (uint32_t)l.seq);
	make_iv(e, sa, &l);
	if (sa->cipher->aead) {
		err = esp_aead(sa, c, &l);
	} else {
		uint8_t icv[ESP_MAX_ICV];

		err = esp_cipher(sa, c, &l);
		if (err == CY_OK)
			err = esp_mac(sa, c, &l, icv);
		if (err == CY_OK)
			memcpy(l.icv, icv, sa->icv_len);
	}
	if (err != CY_OK) {
		counter_add(e->counters, CNT_OUT_CRYPTO, 1);
		return err;
	}
	sa_count(e->k, sa, len, e->wall);
	out_esp->p = l.esp;
	out_esp->n = (size_t)(l.icv + sa->icv_len - l.esp);
	return CY_OK;
}
