/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Userspace ESP. The first byte says what the rest is: a datagram from the network, the inside of an authentic one, a packet to
 * be wrapped, or sequence numbers. Algorithms are toys, so that the search is not for keys.
 */

#include "fuzz.h"
#include "queue.h"
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- toys: a cipher that adds a byte of the IV, a MAC that is a sum */

struct toy {
	bool encrypt;
};

static enum cy_err toy_cipher_new(const struct cy_cipher_alg *alg, void **out)
{
	*out = calloc(1, sizeof(struct toy));
	return *out ? CY_OK : CY_E_NOMEM;
}

static enum cy_err toy_mac_new(const struct cy_mac_alg *alg, void **out)
{
	*out = calloc(1, sizeof(struct toy));
	return *out ? CY_OK : CY_E_NOMEM;
}

static enum cy_err toy_cipher_key(void *ctx, struct cy_slice key, bool encrypt)
{
	((struct toy *)ctx)->encrypt = encrypt;
	return CY_OK;
}

static enum cy_err toy_mac_key(void *ctx, struct cy_slice key)
{
	return CY_OK;
}

static enum cy_err toy_crypt(
    void *ctx, struct cy_slice nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(((struct toy *)ctx)->encrypt ? data[i] + nonce.p[i % nonce.n]
		                                                 : data[i] - nonce.p[i % nonce.n]);
	return CY_OK;
}

static enum cy_err toy_mac(void *ctx, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	uint32_t sum = 1;

	for (size_t i = 0; i < n_in; i++)
		for (size_t j = 0; j < in[i].n; j++)
			sum = sum * 31 + in[i].p[j];
	memset(out, 0, 20);
	put_be32(out, sum);
	return CY_OK;
}

static const struct cy_cipher_alg toy_cbc = {
    .size = sizeof(toy_cbc),
    .id = CY_ENCR_AES_CBC,
    .iv_len = 16,
    .block_len = 16,
    .n_key_bits = 1,
    .key_bits = {128},
    .ctx_new = toy_cipher_new,
    .ctx_free = free,
    .ctx_key = toy_cipher_key,
    .crypt = toy_crypt,
};

static const struct cy_mac_alg toy_sha1 = {
    .size = sizeof(toy_sha1),
    .id = CY_MAC_HMAC_SHA1,
    .len = 20,
    .ctx_new = toy_mac_new,
    .ctx_free = free,
    .ctx_key = toy_mac_key,
    .mac = toy_mac,
};

/* ---- the rig, made once; SAs are made for each input */

static struct rig *the_rig(void)
{
	static struct rig r;
	static bool made;

	if (!made) {
		FUZZ_CHECK(rig_init(&r, NULL));
		r.fake.cipher[r.fake.n_cipher++] = &toy_cbc;
		r.fake.mac[r.fake.n_mac++] = &toy_sha1;
		made = true;
	}
	return &r;
}

static struct sa *make_sa(struct rig *r, uint8_t dir, uint8_t options)
{
	struct rig_sa s;

	rig_sa_init(&s, dir, 0x1000, CY_ENCR_AES_CBC, 16, CY_INTEG_HMAC_SHA1_96, 20);
	s.in.esn = options & 1;
	s.in.no_ecn = options >> 1 & 1;
	s.in.copy_dscp = options >> 2 & 3;
	if (options & 16) {
		s.local = rig_ts("10.2.0.0/16[udp/9]");
		s.remote = rig_ts("10.1.0.0/16");
		s.remote.proto = 17;
		s.in.ts_local = &s.local;
		s.in.ts_remote = &s.remote;
		s.in.n_ts_local = s.in.n_ts_remote = 1;
	}
	s.in.tfc_pad = options & 32 ? 300 : 0;
	return rig_sa_add(r, &s);
}

static void drop_sas(struct rig *r)
{
	sad_flush(r->k.sad);
	rcu_reclaim(&r->k.rcu);
}

static void check_inner(const struct cy_buf *inner, const uint8_t *from, size_t len)
{
	size_t n;

	if (inner->n == 0)
		return;
	FUZZ_CHECK(inner->p >= from && inner->p + inner->n <= from + len);
	FUZZ_CHECK(packet_check(inner->p, inner->n, &n) == CY_OK && n == inner->n);
}

/* ---- what is done with it */

static void received(struct rig *r, uint8_t options, const uint8_t *data, size_t size)
{
	struct sa *sa = make_sa(r, CY_DIR_IN, options);
	struct cy_dgram d = {.src = rig_addr("192.0.2.1", 4500)};
	struct cy_buf inner;
	uint8_t *copy = malloc(size ? size : 1);

	FUZZ_CHECK(copy);
	memcpy(copy, data, size);
	if (esp_decode(&r->esp, sa, &d, copy, size, &inner) == CY_OK)
		check_inner(&inner, copy, size);
	free(copy);
}

static void authentic(struct rig *r, uint8_t options, const uint8_t *data, size_t size)
{
	struct sa *sa = make_sa(r, CY_DIR_IN, options);
	struct cy_dgram d = {.src = rig_addr("192.0.2.1", 4500), .tos = size ? data[0] : 0};
	size_t body = size - size % 16, len = 8 + 16 + body + 12;
	uint8_t *esp = calloc(1, len), icv[ESP_MAX_ICV];
	struct esp_layout l = {.esp = esp, .iv = esp + 8, .body = esp + 24, .body_len = body, .seq = 1};
	struct cy_buf inner;
	struct sa_crypt *c;

	FUZZ_CHECK(esp && sa_crypt_get(sa, 0, &c) == CY_OK);
	put_be32(esp, sa->spi);
	put_be32(esp + 4, 1);
	memcpy(l.body, data, body);
	FUZZ_CHECK(esp_mac(sa, c, &l, icv) == CY_OK);
	memcpy(l.body + body, icv, 12);
	if (esp_decode(&r->esp, sa, &d, esp, len, &inner) == CY_OK)
		check_inner(&inner, esp, len);
	free(esp);
}

static void sent(struct rig *r, uint8_t options, const uint8_t *data, size_t size)
{
	struct cy_dgram d = {.src = rig_addr("192.0.2.1", 4500)};
	uint8_t icmp[ICMP_MAX], *room;
	struct cy_buf esp, inner;
	struct sa *in, *out;
	struct flow f;
	size_t len, n;

	if (packet_check(data, size, &len) != CY_OK)
		return;
	n = icmp_too_big(data, len, 1300, icmp);
	FUZZ_CHECK(n <= ICMP_MAX);
	if (n)
		FUZZ_CHECK(packet_check(icmp, n, &n) == CY_OK);
	packet_flow(data, len, &f);
	/* as it is, without the checks of what it may carry */
	out = make_sa(r, CY_DIR_OUT, options);
	in = make_sa(r, CY_DIR_IN, (options & 1) | 2);
	room = malloc(ESP_HEADROOM + len + ESP_TAILROOM);
	FUZZ_CHECK(room);
	memcpy(room + ESP_HEADROOM, data, len);
	FUZZ_CHECK(esp_encode(&r->esp, out, room + ESP_HEADROOM, len, ESP_TAILROOM, &esp) == CY_OK);
	FUZZ_CHECK(esp.p >= room && esp.p + esp.n <= room + ESP_HEADROOM + len + ESP_TAILROOM);
	FUZZ_CHECK(esp_decode(&r->esp, in, &d, esp.p, esp.n, &inner) == CY_OK);
	FUZZ_CHECK(inner.n == len && memcmp(inner.p, data, len) == 0);
	free(room);
}

static void numbered(uint8_t options, const uint8_t *data, size_t size)
{
	struct replay r;

	FUZZ_CHECK(replay_init(&r, 1u + (options >> 1) * 32u, options & 1) == CY_OK);
	for (; size >= 4; data += 4, size -= 4) {
		uint64_t seq = replay_infer(&r, get_be32(data)), top = r.top;

		FUZZ_CHECK((uint32_t)seq == get_be32(data));
		if (!replay_ok(&r, seq))
			continue;
		FUZZ_CHECK(seq != 0 && seq + r.window > top);
		FUZZ_CHECK(replay_advance(&r, seq) == (seq > top));
		FUZZ_CHECK(r.top == (seq > top ? seq : top) && !replay_ok(&r, seq));
	}
	replay_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig *r = the_rig();

	if (size < 2)
		return 0;
	switch (data[0] & 3) {
	case 0:
		received(r, data[1], data + 2, size - 2);
		break;
	case 1:
		authentic(r, data[1], data + 2, size - 2);
		break;
	case 2:
		sent(r, data[1], data + 2, size - 2);
		break;
	default:
		numbered(data[1], data + 2, size - 2);
	}
	drop_sas(r);
	return 0;
}
