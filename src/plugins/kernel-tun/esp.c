/* SPDX-License-Identifier: Apache-2.0 */

#include "esp.h"

#include <stdlib.h>

void esp_init(struct esp *e, struct kernel *k, unsigned thread, struct counters *counters)
{
	memset(e, 0, sizeof(*e));
	e->k = k;
	e->thread = thread;
	e->counters = counters;
}

void esp_fini(struct esp *e)
{
	free(e->scratch);
	explicit_bzero(e->random, sizeof(e->random));
}

/* salt || IV for counter modes and AEAD (RFC 4106, 4; RFC 4309, 4; RFC 7634, 2; RFC 3686, 4), the IV for CBC. */
static struct cy_slice make_nonce(const struct sa *sa, const struct esp_layout *l, uint8_t nonce[32])
{
	memcpy(nonce, sa->salt, sa->salt_len);
	memcpy(nonce + sa->salt_len, l->iv, sa->iv_len);
	return cy_slice(nonce, (size_t)sa->salt_len + sa->iv_len);
}

enum cy_err esp_aead(struct sa *sa, struct sa_crypt *c, const struct esp_layout *l)
{
	uint8_t nonce_buf[32], aad[12];
	struct cy_slice nonce = make_nonce(sa, l, nonce_buf);

	/* SPI, then 32 or, with ESN, 64 bits of sequence number (RFC 4106, 5; RFC 4309, 5; RFC 7634,
	   2.1; the rest of what RFC 4543, 3.3 authenticates is nonce and data) */
	memcpy(aad, l->esp, 4);
	if (sa->esn) {
		put_be32(aad + 4, (uint32_t)(l->seq >> 32));
		memcpy(aad + 8, l->esp + 4, 4);
	} else {
		memcpy(aad + 4, l->esp + 4, 4);
	}
	return sa->cipher->crypt(
	    c->cipher, nonce, cy_slice(aad, sa->esn ? 12 : 8), l->body, l->body_len, l->icv);
}

enum cy_err esp_cipher(struct sa *sa, struct sa_crypt *c, const struct esp_layout *l)
{
	uint8_t nonce[32];

	return sa->cipher->crypt(
	    c->cipher, make_nonce(sa, l, nonce), cy_slice(NULL, 0), l->body, l->body_len, NULL);
}

enum cy_err esp_mac(struct sa *sa, struct sa_crypt *c, const struct esp_layout *l, uint8_t *out_icv)
{
	uint8_t high[4];
	struct cy_slice in[2];

	/* with ESN the high half follows the next header field (RFC 4303, 2.2.1) */
	put_be32(high, (uint32_t)(l->seq >> 32));
	in[0] = cy_slice(l->esp, (size_t)(l->body + l->body_len - l->esp));
	in[1] = cy_slice(high, sizeof(high));
	return sa->mac->mac(c->mac, in, sa->esn ? 2 : 1, out_icv);
}

size_t esp_max_inner(const struct sa *sa, size_t outer_mtu)
{
	size_t ip = sa_path(sa)->dst.family == AF_INET6 ? IP6_HEADER : IP4_HEADER;
	size_t fixed = ip + 8 /* UDP */ + ESP_HEADER + sa->iv_len + sa->icv_len;
	size_t body = outer_mtu > fixed ? outer_mtu - fixed : 0;

	body -= body % sa->align;
	return body > 68 + 2 ? body - 2 : 68;
}
