/* SPDX-License-Identifier: Apache-2.0 */
/* The Encrypted payload: what was sealed opens, what was changed does not, with every kind of algorithm. */
#include "unit.h"

#include <stdlib.h>

#include "crypto/crypto_host.h"
#include "daemon/wire/generate.h"
#include "daemon/wire/protect.h"

#define SK_AT 28 /* of the SK payload in a datagram that has nothing else in clear */

static struct env env;
static struct crypto_host *host;
static struct protect_cache *cache;
static struct arena arena;
static uint8_t buf[65535], copy[65535];
static char text[1 << 20], text_again[1 << 20];

static void setup(void)
{
	env_real(&env);
	host = crypto_host_new("openssl", NULL);
	if (host)
		ck_assert_int_eq(protect_cache_new(crypto_host_crypto(host), &env, &cache), CY_OK);
	arena_init(&arena, 0);
}

static void teardown(void)
{
	arena_fini(&arena);
	if (host) {
		protect_cache_free(cache);
		crypto_host_free(host);
	}
}

static const struct kind {
	uint16_t encr, key_bits, integ;
	uint8_t encr_len, integ_len; /* keys, with the salt */
} kinds[] = {
    {CY_ENCR_AES_GCM_16, 128, 0, 20, 0},
    {CY_ENCR_AES_GCM_16, 256, 0, 36, 0},
    {CY_ENCR_AES_GCM_8, 192, 0, 28, 0},
    {CY_ENCR_AES_CCM_16, 256, 0, 35, 0},
    {CY_ENCR_CHACHA20_POLY1305, 0, 0, 36, 0},
    {CY_ENCR_AES_CBC, 128, CY_INTEG_HMAC_SHA2_256_128, 16, 32},
    {CY_ENCR_AES_CBC, 256, CY_INTEG_HMAC_SHA2_512_256, 32, 64},
    {CY_ENCR_AES_CTR, 256, CY_INTEG_HMAC_SHA1_96, 36, 20},
    {CY_ENCR_3DES, 0, CY_INTEG_HMAC_MD5_96, 24, 16},
    {CY_ENCR_AES_CBC, 192, CY_INTEG_AES_XCBC_96, 24, 16},
};
#define KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

static uint8_t key_bytes[128];
static uint64_t counter;

static struct protect_keys keys_of(const struct kind *k, uint8_t salt)
{
	for (size_t i = 0; i < sizeof(key_bytes); i++)
		key_bytes[i] = (uint8_t)(i * 7 + salt);
	return (struct protect_keys){.encr = k->encr,
	    .key_bits = k->key_bits,
	    .integ = k->integ,
	    .encr_key = cy_slice(key_bytes, k->encr_len),
	    .integ_key = cy_slice(key_bytes + 64, k->integ_len),
	    .iv_counter = &counter};
}

/* What a receiver does: parse, open in place, parse what was inside. */
static enum cy_err receive(
    const struct protect_keys *k, uint8_t *p, size_t n, struct message *out_m, struct cy_slice *out_plain)
{
	struct payload *sk;
	struct wire_error why;
	enum cy_err err = wire_message_parse(&arena, cy_slice(p, n), out_m, &why);

	if (err)
		return CY_E_PARSE;
	sk = wire_find(out_m->first, PAYLOAD_SK);
	if (!sk)
		sk = wire_find(out_m->first, PAYLOAD_SKF);
	return sk ? protect_open(cache, k, (struct cy_buf){p, n}, sk, out_plain) : CY_E_NOTFOUND;
}

static void sealed_opens(const struct protect_keys *k, const struct message *m)
{
	struct writer w = writer_of(buf, sizeof(buf));
	struct cy_slice plain;
	struct wire_error why;
	struct payload *first;
	struct message got;
	enum cy_err err;

	ck_assert_int_eq(protect_seal(cache, k, m, &w), CY_OK);
	err = receive(k, buf, w.n, &got, &plain);
	ck_assert_msg(err == CY_OK, "encr %u: %d", k->encr, err);
	ck_assert_uint_eq(got.h.spi_i, m->h.spi_i);
	ck_assert_uint_eq(got.h.exchange, m->h.exchange);
	ck_assert_uint_eq(got.first->u.sk.inner_next, m->first ? m->first->type : 0);
	err = wire_chain_parse(&arena, got.first->u.sk.inner_next, plain, &first, &why);
	ck_assert_msg(err == CY_OK, "%s", why.text);
	wire_dump(m->first, text, sizeof(text));
	wire_dump(first, text_again, sizeof(text_again));
	ck_assert_str_eq(text, text_again);
}

START_TEST(what_is_sealed_opens)
{
	struct protect_keys k = keys_of(&kinds[_i], 1);
	struct message m;
	bool encrypted;

	if (!host)
		return;
	for (uint64_t seed = 0; seed < 300; seed++) {
		uint64_t s = seed;

		ck_assert_int_eq(wire_generate(&arena, &s, &m, &encrypted), CY_OK);
		if (encrypted)
			sealed_opens(&k, &m);
		arena_reset(&arena);
	}
	/* liveness: nothing inside */
	message_init(&m, &(struct ike_header){.exchange = EXCHANGE_INFORMATIONAL});
	sealed_opens(&k, &m);
}
END_TEST

static size_t seal_nonce(const struct protect_keys *k, size_t n, struct message *m)
{
	static uint8_t nonce[256];
	struct writer w = writer_of(buf, sizeof(buf));

	message_init(m,
	    &(struct ike_header){.spi_i = 1, .spi_r = 2, .exchange = EXCHANGE_CREATE_CHILD_SA, .msgid = 3});
	ck_assert(message_nonce(&arena, m, cy_slice(nonce, n)));
	ck_assert_int_eq(protect_seal(cache, k, m, &w), CY_OK);
	return w.n;
}

/* Not one bit of a message may change, header and lengths included. */
START_TEST(what_was_changed_does_not_open)
{
	struct protect_keys k = keys_of(&kinds[_i], 1);
	struct message m, got;
	struct cy_slice plain;
	size_t n;

	if (!host)
		return;
	n = seal_nonce(&k, 16, &m);
	for (size_t bit = 0; bit < n * 8; bit++) {
		enum cy_err err;

		memcpy(copy, buf, n);
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		err = receive(&k, copy, n, &got, &plain);
		ck_assert_msg(
		    err == CY_E_AUTH || err == CY_E_PARSE || err == CY_E_NOTFOUND || err == CY_E_SHORT,
		    "bit %zu: %d", bit, err);
		/* behind the header only the checksum can tell */
		if (bit >= (SK_AT + 4) * 8)
			ck_assert_int_eq(err, CY_E_AUTH);
	}
	memcpy(copy, buf, n);
	ck_assert_int_eq(receive(&k, copy, n, &got, &plain), CY_OK);
}
END_TEST

START_TEST(other_keys_do_not_open)
{
	struct protect_keys k = keys_of(&kinds[_i], 1);
	struct message m, got;
	struct cy_slice plain;
	size_t n;

	if (!host)
		return;
	n = seal_nonce(&k, 16, &m);
	k = keys_of(&kinds[_i], 2);
	memcpy(copy, buf, n);
	ck_assert_int_eq(receive(&k, copy, n, &got, &plain), CY_E_AUTH);
	k = keys_of(&kinds[_i], 1);
	memcpy(copy, buf, n);
	ck_assert_int_eq(receive(&k, copy, n, &got, &plain), CY_OK);
}
END_TEST

/* Cut to every length that can be, with lengths that say so. */
START_TEST(short_ones_are_refused)
{
	struct protect_keys k = keys_of(&kinds[_i], 1);
	struct message m, got;
	struct cy_slice plain;
	size_t n;

	if (!host)
		return;
	n = seal_nonce(&k, 16, &m);
	for (size_t len = SK_AT + 4; len < n; len++) {
		uint8_t *cut = malloc(len);
		enum cy_err err;

		memcpy(cut, buf, len);
		cut[27] = (uint8_t)len;
		cut[SK_AT + 3] = (uint8_t)(len - SK_AT);
		err = receive(&k, cut, len, &got, &plain);
		ck_assert_msg(
		    err == CY_E_SHORT || err == CY_E_PARSE || err == CY_E_AUTH, "%zu bytes: %d", len, err);
		free(cut);
	}
}
END_TEST

/* Padding of any content and any length is the sender's right (RFC 7296, 3.14); more than there is, is not. */
START_TEST(padding)
{
	struct protect_keys k = keys_of(&kinds[1], 1);
	const struct cy_cipher_alg *alg;
	struct message m, got;
	struct cy_slice plain;
	struct writer w;
	uint8_t nonce[12];
	void *ctx;

	if (!host)
		return;
	alg = crypto_cipher(crypto_host_crypto(host), k.encr, k.key_bits);
	ck_assert_int_eq(alg->ctx_new(alg, &ctx), CY_OK);
	ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key_bytes, 32), true), CY_OK);
	for (unsigned pad = 0; pad < 256; pad++) {
		for (unsigned says = 0; says < 256; says += 15) {
			enum cy_err err;

			message_init(&m, &(struct ike_header){.exchange = EXCHANGE_INFORMATIONAL});
			message_add(&arena, &m, PAYLOAD_SK)->u.sk.body = cy_slice(copy, 8 + pad + 1 + 16);
			memset(copy, 0xa5, 8 + pad);
			copy[8 + pad] = (uint8_t)says;
			w = writer_of(buf, sizeof(buf));
			ck_assert_int_eq(wire_message_encode(&m, &w), CY_OK);
			memcpy(nonce, key_bytes + 32, 4);
			memcpy(nonce + 4, buf + SK_AT + 4, 8);
			ck_assert_int_eq(alg->crypt(ctx, cy_slice(nonce, 12), cy_slice(buf, SK_AT + 4),
			                     buf + SK_AT + 12, pad + 1, buf + SK_AT + 12 + pad + 1),
			    CY_OK);
			err = receive(&k, buf, w.n, &got, &plain);
			ck_assert_int_eq(err, says <= pad ? CY_OK : CY_E_PARSE);
			if (!err)
				ck_assert_uint_eq(plain.n, pad - says);
		}
		arena_reset(&arena);
	}
	alg->ctx_free(ctx);
}
END_TEST

START_TEST(ivs_are_never_used_twice)
{
	struct protect_keys k = keys_of(&kinds[0], 1), cbc = keys_of(&kinds[5], 1);
	struct writer w = writer_of(buf, sizeof(buf));
	uint8_t iv[16];
	struct message m;

	if (!host)
		return;
	counter = 41;
	for (uint8_t i = 0; i < 5; i++) {
		seal_nonce(&k, 16, &m);
		ck_assert_uint_eq(buf[SK_AT + 4 + 7], 41 + i);
		ck_assert_uint_eq(counter, 42u + i);
	}
	/* the counter's end is the key's end; nothing is sent, and no plaintext left lying */
	counter = UINT64_MAX;
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(protect_seal(cache, &k, &m, &w), CY_E_LIMIT);
	ck_assert_uint_eq(w.n, 0);
	for (size_t i = 0; i < 200; i++)
		ck_assert_uint_eq(buf[i], 0);
	counter = 0;
	k.iv_counter = NULL;
	ck_assert_int_eq(protect_seal(cache, &k, &m, &w), CY_E_INVAL);
	/* CBC wants what nobody can predict (RFC 7296, 3.14) */
	seal_nonce(&cbc, 16, &m);
	memcpy(iv, buf + SK_AT + 4, sizeof(iv));
	seal_nonce(&cbc, 16, &m);
	ck_assert_mem_ne(iv, buf + SK_AT + 4, sizeof(iv));
	ck_assert_uint_eq(counter, 0);
}
END_TEST

/* More SAs at work than contexts are kept, in both directions, some forgotten in between. */
START_TEST(contexts_are_reused)
{
	struct message m, got;
	struct cy_slice plain;

	if (!host)
		return;
	for (int round = 0; round < 400; round++) {
		const struct kind *kind = &kinds[round * 5 % KINDS];
		struct protect_keys k = keys_of(kind, (uint8_t)(round % 23));
		size_t n = seal_nonce(&k, 16, &m);

		if (round % 7 == 0)
			protect_forget(cache, &k);
		ck_assert_int_eq(receive(&k, buf, n, &got, &plain), CY_OK);
		ck_assert_uint_eq(plain.n, 20);
		if (round % 11 == 0)
			protect_forget(cache, &k);
		arena_reset(&arena);
	}
}
END_TEST

START_TEST(what_nobody_provides)
{
	struct protect_keys k = keys_of(&kinds[0], 1);
	struct writer w = writer_of(buf, sizeof(buf));
	struct message m;

	if (!host)
		return;
	message_init(&m, &(struct ike_header){.exchange = EXCHANGE_INFORMATIONAL});
	k.encr = 999;
	ck_assert_int_eq(protect_seal(cache, &k, &m, &w), CY_E_UNSUPPORTED);
	k = keys_of(&kinds[5], 1);
	k.integ = 999;
	ck_assert_int_eq(protect_seal(cache, &k, &m, &w), CY_E_UNSUPPORTED);
	k = keys_of(&kinds[0], 1);
	k.encr_key.n = 3; /* not even the salt */
	ck_assert_int_eq(protect_seal(cache, &k, &m, &w), CY_E_INVAL);
	k.encr_key.n = 4; /* only the salt */
	ck_assert_int_eq(protect_seal(cache, &k, &m, &w), CY_E_INVAL);
	ck_assert_uint_eq(w.n, 0);
}
END_TEST

/* --- fragments (RFC 7383) ------------------------------------------------------------------------------------------ */

struct caught {
	uint8_t *p[300];
	size_t len[300], n, stop_after;
};

static bool catch (void *user, struct cy_slice d)
{
	struct caught *c = user;

	ck_assert_uint_lt(c->n, 300);
	c->p[c->n] = malloc(d.n);
	memcpy(c->p[c->n], d.p, d.n);
	c->len[c->n++] = d.n;
	return c->n != c->stop_after;
}

static void let_go(struct caught *c)
{
	while (c->n)
		free(c->p[--c->n]);
	*c = (struct caught){.n = 0};
}

/* A message with one certificate of n bytes. */
static void big_message(struct message *m, size_t n)
{
	uint8_t *der = arena_alloc(&arena, n);

	for (size_t i = 0; i < n; i++)
		der[i] = (uint8_t)(i * 13 + i / 251);
	message_init(
	    m, &(struct ike_header){.spi_i = 1, .spi_r = 2, .exchange = EXCHANGE_IKE_AUTH, .msgid = 1});
	message_add(&arena, m, PAYLOAD_CERT)->u.cert =
	    (struct payload_cert){.encoding = CERT_X509_SIGNATURE, .data = cy_slice(der, n)};
}

START_TEST(fragments_come_together)
{
	static const size_t sizes[] = {1, 100, 400, 499, 500, 501, 1000, 5000, 20000, 60000};
	static const size_t mtus[] = {128, 576, 1280, 1400};
	struct protect_keys k = keys_of(&kinds[_i], 1);
	struct caught c = {.n = 0};

	if (!host)
		return;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		for (size_t t = 0; t < sizeof(mtus) / sizeof(*mtus); t++) {
			struct frag_set f = {.active = false};
			enum frag_result r = FRAG_STORED;
			struct message m, got = {.first = NULL};
			struct cy_slice plain, whole;
			struct wire_error why;
			struct payload *first;
			enum cy_err err;

			big_message(&m, sizes[s]);
			err = protect_seal_fragments(cache, &k, &m, mtus[t], catch, &c);
			if (err == CY_E_LIMIT) {
				/* only when 255 are not enough */
				ck_assert_uint_gt(sizes[s], 255 * (mtus[t] - 110));
				ck_assert_uint_eq(c.n, 0);
				continue;
			}
			ck_assert_int_eq(err, CY_OK);
			/* backwards, and each twice */
			for (size_t i = c.n; i-- > 0;) {
				ck_assert_uint_le(c.len[i], mtus[t]);
				ck_assert_int_eq(receive(&k, c.p[i], c.len[i], &got, &plain), CY_OK);
				if (c.n == 1)
					break;
				ck_assert_uint_eq(got.first->type, PAYLOAD_SKF);
				ck_assert_uint_eq(got.first->u.sk.frag_no, i + 1);
				ck_assert_uint_eq(got.first->u.sk.frag_total, c.n);
				ck_assert_uint_eq(
				    got.first->u.sk.inner_next, i ? PAYLOAD_NONE : PAYLOAD_CERT);
				r = frag_add(&f, 1, got.first, plain, 1 << 20);
				ck_assert_int_eq(r, i ? FRAG_STORED : FRAG_COMPLETE);
				ck_assert_int_eq(frag_add(&f, 1, got.first, plain, 1 << 20), FRAG_DUPLICATE);
			}
			if (c.n == 1) {
				/* one datagram is an ordinary message */
				ck_assert_uint_eq(got.first->type, PAYLOAD_SK);
				whole = plain;
			} else {
				ck_assert_int_eq(frag_join(&f, &arena, &whole), CY_OK);
				ck_assert_uint_eq(f.next, PAYLOAD_CERT);
			}
			ck_assert_int_eq(wire_chain_parse(&arena, PAYLOAD_CERT, whole, &first, &why), CY_OK);
			ck_assert_uint_eq(first->u.cert.data.n, sizes[s]);
			ck_assert_mem_eq(first->u.cert.data.p, m.first->u.cert.data.p, sizes[s]);
			frag_fini(&f);
			let_go(&c);
			arena_reset(&arena);
		}
	}
}
END_TEST

START_TEST(fragments_that_cannot_be)
{
	struct protect_keys k = keys_of(&kinds[0], 1);
	struct caught c = {.n = 0};
	struct message m;

	if (!host)
		return;
	big_message(&m, 60000);
	ck_assert_int_eq(protect_seal_fragments(cache, &k, &m, 60, catch, &c), CY_E_INVAL);
	ck_assert_int_eq(protect_seal_fragments(cache, &k, &m, 100, catch, &c), CY_E_LIMIT);
	ck_assert_uint_eq(c.n, 0);
	/* the sender may stop */
	c.stop_after = 3;
	ck_assert_int_eq(protect_seal_fragments(cache, &k, &m, 1280, catch, &c), CY_E_CANCELLED);
	ck_assert_uint_eq(c.n, 3);
	let_go(&c);
	/* more than one datagram could hold, several certificates */
	for (int i = 0; i < 3; i++) {
		struct payload *p = message_add(&arena, &m, PAYLOAD_CERT);

		p->u.cert = m.first->u.cert;
	}
	ck_assert_int_eq(protect_seal_fragments(cache, &k, &m, 1280, catch, &c), CY_OK);
	ck_assert_uint_gt(c.n, 190);
	let_go(&c);
}
END_TEST

static struct payload fragment(uint16_t no, uint16_t total)
{
	return (struct payload){.type = PAYLOAD_SKF,
	    .u.sk = {.frag_no = no, .frag_total = total, .inner_next = no == 1 ? PAYLOAD_IDI : PAYLOAD_NONE}};
}

static enum frag_result put(
    struct frag_set *f, uint32_t msgid, uint16_t no, uint16_t total, size_t n, size_t max)
{
	static const uint8_t plain[70000] = {1};
	struct payload p = fragment(no, total);

	return frag_add(f, msgid, &p, cy_slice(plain, n), max);
}

/* RFC 7383, 2.6 */
START_TEST(reassembly_keeps_its_rules)
{
	struct frag_set f = {.active = false};
	struct cy_slice whole;

	ck_assert_int_eq(frag_join(&f, &arena, &whole), CY_E_AGAIN);
	ck_assert_int_eq(put(&f, 1, 0, 2, 10, 1000), FRAG_BAD);
	ck_assert_int_eq(put(&f, 1, 3, 2, 10, 1000), FRAG_BAD);
	ck_assert_int_eq(put(&f, 1, 1, 0, 10, 1000), FRAG_BAD);
	ck_assert(!f.active);
	ck_assert_int_eq(put(&f, 1, 1, 3, 10, 1000), FRAG_STORED);
	ck_assert_int_eq(put(&f, 1, 1, 3, 10, 1000), FRAG_DUPLICATE);
	ck_assert_int_eq(frag_join(&f, &arena, &whole), CY_E_AGAIN);
	/* a smaller total is dropped, a bigger one begins anew */
	ck_assert_int_eq(put(&f, 1, 2, 2, 10, 1000), FRAG_BAD);
	ck_assert_int_eq(put(&f, 1, 2, 3, 10, 1000), FRAG_STORED);
	ck_assert_int_eq(put(&f, 1, 2, 4, 10, 1000), FRAG_STORED);
	ck_assert_uint_eq(f.have, 1);
	ck_assert_uint_eq(f.total, 4);
	ck_assert_int_eq(put(&f, 1, 3, 3, 10, 1000), FRAG_BAD);
	ck_assert_int_eq(put(&f, 1, 1, 4, 0, 1000), FRAG_STORED);
	ck_assert_uint_eq(f.next, PAYLOAD_IDI);
	ck_assert_int_eq(put(&f, 1, 4, 4, 5, 1000), FRAG_STORED);
	ck_assert_int_eq(put(&f, 1, 3, 4, 5, 1000), FRAG_COMPLETE);
	ck_assert_int_eq(put(&f, 1, 3, 4, 5, 1000), FRAG_DUPLICATE);
	ck_assert_int_eq(frag_join(&f, &arena, &whole), CY_OK);
	ck_assert_uint_eq(whole.n, 20);
	/* the next message */
	ck_assert_int_eq(put(&f, 2, 1, 2, 10, 1000), FRAG_STORED);
	ck_assert_uint_eq(f.have, 1);
	frag_fini(&f);
	frag_fini(&f);
}
END_TEST

START_TEST(reassembly_is_bounded)
{
	struct frag_set f = {.active = false};
	size_t stored = 0;

	/* 65535 announced: the table of them alone is too much */
	ck_assert_int_eq(put(&f, 1, 1, 65535, 10, 65536), FRAG_BAD);
	ck_assert(!f.active);
	for (uint16_t i = 1; i <= 100; i++)
		if (put(&f, 1, i, 100, 1000, 65536) == FRAG_STORED)
			stored++;
	ck_assert_uint_eq(stored, (65536 - 100 * sizeof(struct cy_buf)) / 1000);
	ck_assert_uint_le(f.bytes, 65536);
	/* what cannot begin leaves what there is */
	ck_assert_int_eq(put(&f, 1, 1, 60000, 10, 65536), FRAG_BAD);
	ck_assert_uint_eq(f.have, stored);
	ck_assert_int_eq(put(&f, 1, 100, 100, 70000, 65536), FRAG_BAD);
	frag_fini(&f);
}
END_TEST

UNIT_TESTS(protect)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_is_sealed_opens, 0, KINDS);
	tcase_add_loop_test(tc, what_was_changed_does_not_open, 0, KINDS);
	tcase_add_loop_test(tc, other_keys_do_not_open, 0, KINDS);
	tcase_add_loop_test(tc, short_ones_are_refused, 0, KINDS);
	tcase_add_test(tc, padding);
	tcase_add_test(tc, ivs_are_never_used_twice);
	tcase_add_test(tc, contexts_are_reused);
	tcase_add_test(tc, what_nobody_provides);
	tcase_add_loop_test(tc, fragments_come_together, 0, KINDS);
	tcase_add_test(tc, fragments_that_cannot_be);
	tcase_add_test(tc, reassembly_keeps_its_rules);
	tcase_add_test(tc, reassembly_is_bounded);
}
