/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Encrypted payload with keys that are known. The first byte chooses: the rest is a whole datagram that somebody forged; or
 * it is what a peer with the keys encrypted, padding and all; or what is read is sealed anew and opened.
 *
 * fuzz options: -max_len=1200
 */
#include "chain.h"
#include "crypto.h"
#include "daemon/wire/protect.h"

#define HEADER 28
#define SK_AT  HEADER

static struct arena arena;
static struct protect_cache *cache;
static struct env env;
static uint64_t counter;
static uint8_t key[100];

static uint64_t now(struct env *e)
{
	return 0;
}
static int64_t wall(struct env *e)
{
	return 0;
}
static void noise(struct env *e, void *out, size_t n)
{
	memset(out, 0x33, n);
}

static const struct suite_keys {
	uint16_t encr, key_bits, integ;
	uint8_t encr_len, integ_len, iv_len, icv_len, block;
} suites[] = {
    {CY_ENCR_AES_GCM_16, 256, 0, 36, 0, 8, 16, 1},
    {CY_ENCR_AES_CBC, 128, CY_INTEG_HMAC_SHA2_256_128, 16, 32, 16, 16, 16},
    {CY_ENCR_CHACHA20_POLY1305, 0, 0, 36, 0, 8, 16, 1},
    {CY_ENCR_AES_CTR, 128, CY_INTEG_HMAC_SHA1_96, 20, 20, 8, 12, 1},
};

static struct protect_keys keys_of(const struct suite_keys *s)
{
	return (struct protect_keys){.encr = s->encr,
	    .key_bits = s->key_bits,
	    .integ = s->integ,
	    .encr_key = cy_slice(key, s->encr_len),
	    .integ_key = cy_slice(key + 40, s->integ_len),
	    .iv_counter = &counter};
}

/* Opens the datagram; *out_m is its outside, *out_inner the chain that was in there. */
static bool open_it(
    const struct protect_keys *k, uint8_t *p, size_t n, struct message *out_m, struct message *out_inner)
{
	struct wire_error why;
	struct cy_slice plain;
	struct payload *sk;

	if (wire_message_parse(&arena, cy_slice(p, n), out_m, &why))
		return false;
	sk = wire_find(out_m->first, PAYLOAD_SK);
	if (!sk)
		sk = wire_find(out_m->first, PAYLOAD_SKF);
	if (!sk || protect_open(cache, k, (struct cy_buf){p, n}, sk, &plain))
		return false;
	FUZZ_CHECK(plain.n == 0 || (plain.p >= p && plain.p + plain.n <= p + n));
	*out_inner = (struct message){.h = out_m->h};
	return !wire_chain_parse(&arena, sk->u.sk.inner_next, plain, &out_inner->first, &why);
}

/* What a peer who has the keys might send: data is plaintext, padding and Pad Length. */
static size_t encrypt_raw(const struct suite_keys *s, const struct protect_keys *k, uint8_t next,
    const uint8_t *data, size_t size, uint8_t *out)
{
	const struct cy_cipher_alg *alg = crypto_cipher(fuzz_crypto(), s->encr, s->key_bits);
	static void *ctxs[4], *macs[4];
	void **ctx = &ctxs[s - suites], **mac = &macs[s - suites];
	size_t n = size / s->block * s->block, salt = alg->salt_len,
	       len = HEADER + 4 + s->iv_len + n + s->icv_len;
	struct cy_slice head;
	struct integ_info integ;
	uint8_t nonce[16], icv[CY_MAX_MAC_LEN];

	memset(out, 0, HEADER + 4 + s->iv_len);
	out[16] = PAYLOAD_SK;
	out[17] = 0x20;
	out[18] = EXCHANGE_INFORMATIONAL;
	out[26] = (uint8_t)(len >> 8);
	out[27] = (uint8_t)len;
	out[SK_AT] = next;
	out[SK_AT + 2] = (uint8_t)((len - HEADER) >> 8);
	out[SK_AT + 3] = (uint8_t)(len - HEADER);
	if (n)
		memcpy(out + SK_AT + 4 + s->iv_len, data, n);
	memcpy(nonce, k->encr_key.p + k->encr_key.n - salt, salt);
	memcpy(nonce + salt, out + SK_AT + 4, s->iv_len);
	if (!*ctx) {
		FUZZ_CHECK(!alg->ctx_new(alg, ctx));
		FUZZ_CHECK(!alg->ctx_key(*ctx, cy_slice(k->encr_key.p, k->encr_key.n - salt), true));
	}
	head = cy_slice(out, SK_AT + 4);
	if (!alg->aead)
		head.n = 0;
	FUZZ_CHECK(!alg->crypt(*ctx, cy_slice(nonce, salt + s->iv_len), head, out + SK_AT + 4 + s->iv_len, n,
	    alg->aead ? out + len - s->icv_len : NULL));
	if (!alg->aead) {
		FUZZ_CHECK(crypto_integ(fuzz_crypto(), s->integ, &integ));
		if (!*mac) {
			FUZZ_CHECK(!integ.mac->ctx_new(integ.mac, mac));
			FUZZ_CHECK(!integ.mac->ctx_key(*mac, k->integ_key));
		}
		head = cy_slice(out, len - s->icv_len);
		FUZZ_CHECK(!integ.mac->mac(*mac, &head, 1, icv));
		memcpy(out + len - s->icv_len, icv, s->icv_len);
	}
	return len;
}

/* What was read can be sealed, and opens to the same. */
static void seal_again(const struct protect_keys *k, const struct message *m)
{
	static uint8_t buf[65535], plain[65535], again[65535];
	struct writer w = writer_of(buf, sizeof(buf)), w1 = writer_of(plain, sizeof(plain)),
	              w2 = writer_of(again, sizeof(again));
	struct message outer, inner;
	uint8_t next1, next2;

	if (wire_chain_encode(m, &w1, &next1) || protect_seal(cache, k, m, &w))
		return;
	FUZZ_CHECK(open_it(k, buf, w.n, &outer, &inner));
	FUZZ_CHECK(!wire_chain_encode(&inner, &w2, &next2));
	FUZZ_CHECK(next1 == next2 && w1.n == w2.n && memcmp(plain, again, w1.n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how = fuzz_byte(&data, &size), *p;
	const struct suite_keys *s = &suites[how & 3];
	struct protect_keys k = keys_of(s);
	struct message outer, inner;
	size_t n = size;

	if (!fuzz_crypto())
		return 0;
	if (!cache) {
		for (size_t i = 0; i < sizeof(key); i++)
			key[i] = (uint8_t)i;
		env = (struct env){.now_ns = now, .wall = wall, .random = noise, .simulated = true};
		FUZZ_CHECK(protect_cache_new(fuzz_crypto(), &env, &cache) == CY_OK);
	}
	counter = 0;
	p = malloc(size + 100);
	FUZZ_CHECK(p);
	if (how & 4) {
		uint8_t next = fuzz_byte(&data, &size);

		n = encrypt_raw(s, &k, next, data, size, p);
		p = realloc(p, n);
	} else {
		if (size)
			memcpy(p, data, size);
		p = realloc(p, size ? size : 1);
	}
	if (open_it(&k, p, n, &outer, &inner)) {
		FUZZ_CHECK(how & 4); /* nobody forges an ICV */
		chain_exercise(&arena, &inner, true);
		if (how & 8)
			seal_again(&k, &inner);
	}
	arena_reset(&arena);
	free(p);
	return 0;
}
