/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/wire/protect.h"

#include <stdlib.h>

#include "daemon/wire/codec.h"
#include "libcore/run/usage.h"

#define SLOTS        16 /* contexts kept keyed, of ciphers and of MACs */
#define MAX_NONCE    32
#define MAX_DATAGRAM 65535
#define MAX_CHAIN    (1u << 20) /* what is cut into fragments */
#define MAX_PIECES   255
#define SKF_NUMBERS  4 /* Fragment Number, Total Fragments */

/* A context and the key it has now. */
struct slot {
	const void *alg; /* NULL: empty */
	void *ctx;
	uint64_t used;
	bool encrypt;
	uint8_t key_len, key[CY_MAX_CIPHER_KEY];
};

struct protect_cache {
	const struct crypto *crypto;
	struct env *env;
	uint64_t uses;
	struct slot ciphers[SLOTS], macs[SLOTS];
	struct cy_buf chain;    /* the chain that becomes fragments; grows */
	struct cy_buf datagram; /* one fragment */
};

/* What the algorithms want: where things are in an Encrypted payload. */
struct layout {
	const struct cy_cipher_alg *cipher;
	struct integ_info integ; /* not with AEAD */
	size_t iv_len, icv_len;
	size_t align; /* the ciphertext is a multiple of it */
	bool counter; /* the IV must only be new, not unpredictable */
};

enum cy_err protect_cache_new(const struct crypto *c, struct env *env, struct protect_cache **out)
{
	struct protect_cache *pc = calloc(1, sizeof(*pc));

	if (!pc)
		return CY_E_NOMEM;
	pc->crypto = c;
	pc->env = env;
	*out = pc;
	return CY_OK;
}

static void cipher_drop(struct slot *s)
{
	if (s->alg)
		((const struct cy_cipher_alg *)s->alg)->ctx_free(s->ctx);
	mem_wipe(s, sizeof(*s));
}

static void mac_drop(struct slot *s)
{
	if (s->alg)
		((const struct cy_mac_alg *)s->alg)->ctx_free(s->ctx);
	mem_wipe(s, sizeof(*s));
}

static void buf_fini(struct cy_buf *b)
{
	if (b->p)
		mem_wipe(b->p, b->n);
	free(b->p);
	*b = (struct cy_buf){NULL, 0};
}

static enum cy_err buf_grow(struct cy_buf *b, size_t n)
{
	uint8_t *p;

	if (b->n >= n)
		return CY_OK;
	p = malloc(n);
	if (!p)
		return CY_E_NOMEM;
	buf_fini(b);
	*b = (struct cy_buf){p, n};
	return CY_OK;
}

void protect_cache_free(struct protect_cache *pc)
{
	if (!pc)
		return;
	for (size_t i = 0; i < SLOTS; i++) {
		cipher_drop(&pc->ciphers[i]);
		mac_drop(&pc->macs[i]);
	}
	buf_fini(&pc->chain);
	buf_fini(&pc->datagram);
	free(pc);
}

static bool has_key(const struct slot *s, struct cy_slice key)
{
	return s->alg && s->key_len == key.n && mem_eq_ct(s->key, key.p, key.n);
}

void protect_forget(struct protect_cache *pc, const struct protect_keys *k)
{
	struct cy_slice encr = k->encr_key;

	for (size_t i = 0; i < SLOTS; i++) {
		const struct cy_cipher_alg *alg = pc->ciphers[i].alg;

		if (alg && encr.n > alg->salt_len &&
		    has_key(&pc->ciphers[i], cy_slice(encr.p, encr.n - alg->salt_len)))
			cipher_drop(&pc->ciphers[i]);
		if (k->integ_key.n && has_key(&pc->macs[i], k->integ_key))
			mac_drop(&pc->macs[i]);
	}
}

/* The slot that has this key for this algorithm (*out_keyed), else the one longest unused. */
static struct slot *slot_pick(struct protect_cache *pc, struct slot *slots, const void *alg,
    struct cy_slice key, bool encrypt, bool *out_keyed)
{
	struct slot *oldest = &slots[0];

	pc->uses++;
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &slots[i];

		if (s->alg == alg && s->encrypt == encrypt && has_key(s, key)) {
			s->used = pc->uses;
			*out_keyed = true;
			return s;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	oldest->used = pc->uses;
	*out_keyed = false;
	return oldest;
}

static void slot_note(struct slot *s, const void *alg, struct cy_slice key, bool encrypt)
{
	s->alg = alg;
	s->encrypt = encrypt;
	memcpy(s->key, key.p, key.n);
	s->key_len = (uint8_t)key.n;
}

static enum cy_err cipher_ctx(
    struct protect_cache *pc, const struct cy_cipher_alg *alg, struct cy_slice key, bool encrypt, void **out)
{
	struct slot *s;
	enum cy_err err;
	bool keyed;

	if (key.n == 0 || key.n > CY_MAX_CIPHER_KEY)
		return CY_E_INVAL;
	s = slot_pick(pc, pc->ciphers, alg, key, encrypt, &keyed);
	if (!keyed) {
		uint64_t used = s->used;

		if (s->alg != alg) {
			cipher_drop(s);
			err = alg->ctx_new(alg, &s->ctx);
			if (err)
				return err;
			s->alg = alg;
			s->used = used;
		}
		s->key_len = 0;
		err = alg->ctx_key(s->ctx, key, encrypt);
		if (err) {
			cipher_drop(s);
			return err;
		}
		slot_note(s, alg, key, encrypt);
	}
	*out = s->ctx;
	return CY_OK;
}

enum cy_err protect_cbc(struct protect_cache *pc, uint16_t encr, uint16_t key_bits, struct cy_slice key,
    struct cy_slice iv, struct cy_buf data, bool encrypt)
{
	const struct cy_cipher_alg *alg = crypto_cipher(pc->crypto, encr, key_bits);
	enum cy_err err;
	void *ctx;

	if (!alg || alg->aead || alg->salt_len)
		return CY_E_UNSUPPORTED;
	if (iv.n != alg->iv_len || data.n == 0 || data.n % alg->block_len)
		return CY_E_INVAL;
	err = cipher_ctx(pc, alg, key, encrypt, &ctx);
	return err ? err : alg->crypt(ctx, iv, cy_slice(NULL, 0), data.p, data.n, NULL);
}

static enum cy_err mac_ctx(
    struct protect_cache *pc, const struct cy_mac_alg *alg, struct cy_slice key, void **out)
{
	struct slot *s;
	enum cy_err err;
	bool keyed;

	if (key.n == 0 || key.n > CY_MAX_CIPHER_KEY)
		return CY_E_INVAL;
	s = slot_pick(pc, pc->macs, alg, key, false, &keyed);
	if (!keyed) {
		uint64_t used = s->used;

		if (s->alg != alg) {
			mac_drop(s);
			err = alg->ctx_new(alg, &s->ctx);
			if (err)
				return err;
			s->alg = alg;
			s->used = used;
		}
		s->key_len = 0;
		err = alg->ctx_key(s->ctx, key);
		if (err) {
			mac_drop(s);
			return err;
		}
		slot_note(s, alg, key, false);
	}
	*out = s->ctx;
	return CY_OK;
}

static enum cy_err layout_of(struct protect_cache *pc, const struct protect_keys *k, struct layout *out)
{
	struct layout l = {.cipher = crypto_cipher(pc->crypto, k->encr, k->key_bits)};

	if (!l.cipher)
		return CY_E_UNSUPPORTED;
	l.iv_len = l.cipher->iv_len;
	l.counter = l.cipher->aead || k->encr == CY_ENCR_AES_CTR;
	/* AEAD and counter mode take any length (RFC 5282, 3; RFC 3686, 3) */
	l.align = l.counter || !l.cipher->block_len ? 1 : l.cipher->block_len;
	if (l.cipher->aead) {
		l.icv_len = l.cipher->icv_len;
	} else {
		if (!crypto_integ(pc->crypto, k->integ, &l.integ))
			return CY_E_UNSUPPORTED;
		l.icv_len = l.integ.icv_len;
	}
	if (l.cipher->salt_len + l.iv_len > MAX_NONCE || k->encr_key.n < l.cipher->salt_len)
		return CY_E_INVAL;
	*out = l;
	return CY_OK;
}

static struct cy_slice key_of(const struct layout *l, const struct protect_keys *k)
{
	return cy_slice(k->encr_key.p, k->encr_key.n - l->cipher->salt_len);
}

/* salt || IV; for CBC the IV alone, there is no salt */
static struct cy_slice nonce_of(
    const struct layout *l, const struct protect_keys *k, const uint8_t *iv, uint8_t buf[MAX_NONCE])
{
	size_t salt_len = l->cipher->salt_len;

	if (salt_len)
		memcpy(buf, k->encr_key.p + k->encr_key.n - salt_len, salt_len);
	if (l->iv_len)
		memcpy(buf + salt_len, iv, l->iv_len);
	return cy_slice(buf, salt_len + l->iv_len);
}

static enum cy_err iv_make(
    struct protect_cache *pc, const struct layout *l, const struct protect_keys *k, uint8_t *iv)
{
	uint64_t v;

	if (!l->counter) {
		pc->env->random(pc->env, iv, l->iv_len);
		return CY_OK;
	}
	if (!k->iv_counter || l->iv_len != sizeof(v))
		return CY_E_INVAL;
	if (*k->iv_counter == UINT64_MAX)
		return CY_E_LIMIT;
	v = (*k->iv_counter)++;
	for (size_t i = 0; i < sizeof(v); i++)
		iv[i] = (uint8_t)(v >> (56 - 8 * i));
	return CY_OK;
}

static enum cy_err icv_make(struct protect_cache *pc, const struct layout *l, const struct protect_keys *k,
    struct cy_slice over, uint8_t out[CY_MAX_MAC_LEN])
{
	uint64_t begun = usage_op_begin(USAGE_MAC);
	enum cy_err err;
	void *ctx;

	err = mac_ctx(pc, l->integ.mac, k->integ_key, &ctx);
	if (!err)
		err = l->integ.mac->mac(ctx, &over, 1, out);
	usage_op_end(USAGE_MAC, k->integ, begun);
	return err;
}

/* --- sealing ---------------------------------------------------------------------------------------------------- */

/* A message under construction: offsets into the writer. */
struct seal {
	size_t start, sk_at, iv_at, plain_at;
};

/* Header, SK or SKF header and room for the IV; the plaintext comes next. frag_no 0: SK. */
static struct seal seal_begin(const struct layout *l, const struct ike_header *h, uint8_t inner_next,
    uint16_t frag_no, uint16_t frag_total, struct writer *w)
{
	struct ike_header outer = *h;
	struct seal s = {.start = w->n};

	outer.next = frag_no ? PAYLOAD_SKF : PAYLOAD_SK;
	wire_header_encode(&outer, w);
	s.sk_at = w->n;
	write_u8(w, inner_next);
	write_u8(w, 0);
	write_u16(w, 0);
	if (frag_no) {
		write_u16(w, frag_no);
		write_u16(w, frag_total);
	}
	s.iv_at = w->n;
	write_zero(w, l->iv_len);
	s.plain_at = w->n;
	return s;
}

static enum cy_err seal_end(struct protect_cache *pc, const struct layout *l, const struct protect_keys *k,
    const struct seal *s, struct writer *w)
{
	size_t plain = w->n - s->plain_at, pad = (l->align - (plain + 1) % l->align) % l->align, icv_at;
	uint64_t begun;
	uint8_t nonce_buf[MAX_NONCE], icv[CY_MAX_MAC_LEN];
	struct cy_slice nonce, aad;
	enum cy_err err;
	void *ctx;

	write_zero(w, pad);
	write_u8(w, (uint8_t)pad);
	icv_at = w->n;
	write_zero(w, l->icv_len);
	if (w->bad)
		return CY_E_SHORT;
	if (w->n - s->start > MAX_DATAGRAM)
		return CY_E_LIMIT;
	write_u16_at(w, s->sk_at + 2, (uint16_t)(w->n - s->sk_at));
	wire_length_set(w, s->start);
	begun = usage_op_begin(USAGE_ENCRYPT);
	err = cipher_ctx(pc, l->cipher, key_of(l, k), true, &ctx);
	if (!err)
		err = iv_make(pc, l, k, w->buf + s->iv_at);
	if (err)
		return err;
	nonce = nonce_of(l, k, w->buf + s->iv_at, nonce_buf);
	/* RFC 5282, 5.1; RFC 7383, 2.5: everything before the IV is authenticated */
	aad = cy_slice(w->buf + s->start, s->iv_at - s->start);
	if (l->cipher->aead)
		err = l->cipher->crypt(
		    ctx, nonce, aad, w->buf + s->plain_at, icv_at - s->plain_at, w->buf + icv_at);
	else
		err = l->cipher->crypt(
		    ctx, nonce, cy_slice(NULL, 0), w->buf + s->plain_at, icv_at - s->plain_at, NULL);
	usage_op_end(USAGE_ENCRYPT, k->encr, begun);
	if (err || l->cipher->aead)
		return err;
	err = icv_make(pc, l, k, cy_slice(w->buf + s->start, icv_at - s->start), icv);
	if (!err)
		memcpy(w->buf + icv_at, icv, l->icv_len);
	return err;
}

/* No plaintext stays behind where ciphertext was asked for. */
static void seal_undo(const struct seal *s, struct writer *w)
{
	mem_wipe(w->buf + s->start, w->n - s->start);
	w->n = s->start;
}

enum cy_err protect_seal(
    struct protect_cache *pc, const struct protect_keys *k, const struct message *m, struct writer *w)
{
	struct layout l;
	struct seal s;
	uint8_t next;
	enum cy_err err;

	err = layout_of(pc, k, &l);
	if (err)
		return err;
	s = seal_begin(&l, &m->h, m->first ? m->first->type : PAYLOAD_NONE, 0, 0, w);
	err = wire_chain_encode(m, w, &next);
	if (!err)
		err = seal_end(pc, &l, k, &s, w);
	if (err)
		seal_undo(&s, w);
	return err;
}

/* The chain of m in the cache's buffer. */
static enum cy_err chain_encode(
    struct protect_cache *pc, const struct message *m, struct cy_slice *out, uint8_t *out_next)
{
	enum cy_err err = CY_E_SHORT;

	for (size_t cap = 16384; err == CY_E_SHORT && cap <= MAX_CHAIN; cap *= 2) {
		struct writer w;

		if (cap < pc->chain.n && cap < MAX_CHAIN)
			continue;
		if (buf_grow(&pc->chain, cap))
			return CY_E_NOMEM;
		w = writer_of(pc->chain.p, pc->chain.n);
		err = wire_chain_encode(m, &w, out_next);
		*out = writer_slice(&w);
	}
	return err == CY_E_SHORT ? CY_E_LIMIT : err;
}

/* Seals a piece of the chain; frag_no 0: all of it, as SK. */
static enum cy_err seal_piece(struct protect_cache *pc, const struct layout *l, const struct protect_keys *k,
    const struct ike_header *h, uint8_t next, uint16_t no, uint16_t total, struct cy_slice piece,
    bool (*out)(void *user, struct cy_slice datagram), void *user)
{
	struct writer w = writer_of(pc->datagram.p, pc->datagram.n);
	struct seal s = seal_begin(l, h, next, no, total, &w);
	enum cy_err err;

	write_bytes(&w, piece);
	err = seal_end(pc, l, k, &s, &w);
	if (err) {
		seal_undo(&s, &w);
		return err;
	}
	return out(user, writer_slice(&w)) ? CY_OK : CY_E_CANCELLED;
}

enum cy_err protect_seal_fragments(struct protect_cache *pc, const struct protect_keys *k,
    const struct message *m, size_t max_len, bool (*out)(void *user, struct cy_slice datagram), void *user)
{
	size_t fixed = IKE_HEADER_LEN + GENERIC_HEADER_LEN, room, total;
	struct cy_slice chain = {NULL, 0};
	struct layout l;
	uint8_t next;
	enum cy_err err;

	err = layout_of(pc, k, &l);
	if (!err)
		err = buf_grow(&pc->datagram, MAX_DATAGRAM);
	if (!err)
		err = chain_encode(pc, m, &chain, &next);
	if (err)
		goto out;
	if (max_len > MAX_DATAGRAM)
		max_len = MAX_DATAGRAM;
	fixed += l.iv_len + l.icv_len;
	if (fixed + SKF_NUMBERS + l.align > max_len) {
		err = CY_E_INVAL;
		goto out;
	}
	room = (max_len - fixed) / l.align * l.align - 1; /* the Pad Length is in there */
	if (chain.n <= room) {
		err = seal_piece(pc, &l, k, &m->h, next, 0, 0, chain, out, user);
		goto out;
	}
	room = (max_len - fixed - SKF_NUMBERS) / l.align * l.align - 1;
	if (room == 0 || chain.n > room * MAX_PIECES) {
		err = CY_E_LIMIT;
		goto out;
	}
	total = (chain.n + room - 1) / room;
	for (size_t i = 0; i < total && !err; i++) {
		size_t at = i * room, n = chain.n - at < room ? chain.n - at : room;

		/* RFC 7383, 2.5: only the first fragment says what the chain begins with */
		err = seal_piece(pc, &l, k, &m->h, i ? PAYLOAD_NONE : next, (uint16_t)(i + 1),
		    (uint16_t)total, cy_slice(chain.p + at, n), out, user);
	}
out:
	if (pc->chain.p)
		mem_wipe(pc->chain.p, err == CY_OK ? chain.n : pc->chain.n);
	return err;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

enum cy_err protect_open(struct protect_cache *pc, const struct protect_keys *k, struct cy_buf datagram,
    const struct payload *sk, struct cy_slice *out_plain)
{
	const struct cy_slice body = sk->u.sk.body;
	uint8_t nonce_buf[MAX_NONCE], icv[CY_MAX_MAC_LEN], *iv, *data, *tag;
	uint64_t begun;
	size_t len, pad;
	struct cy_slice nonce;
	struct layout l;
	enum cy_err err;
	void *ctx;

	if (sk->type != PAYLOAD_SK && sk->type != PAYLOAD_SKF)
		return CY_E_INVAL;
	if (body.p < datagram.p || body.p + body.n != datagram.p + datagram.n)
		return CY_E_INVAL;
	err = layout_of(pc, k, &l);
	if (err)
		return err;
	/* at least the Pad Length (RFC 7296, 3.14), in whole blocks */
	if (body.n < l.iv_len + l.align + l.icv_len)
		return CY_E_SHORT;
	len = body.n - l.iv_len - l.icv_len;
	if (len % l.align)
		return CY_E_PARSE;
	iv = datagram.p + (body.p - datagram.p);
	data = iv + l.iv_len;
	tag = data + len;

	if (!l.cipher->aead) {
		err = icv_make(pc, &l, k, cy_slice(datagram.p, (size_t)(tag - datagram.p)), icv);
		if (err)
			return err;
		if (!mem_eq_ct(icv, tag, l.icv_len))
			return CY_E_AUTH;
	}
	begun = usage_op_begin(USAGE_DECRYPT);
	err = cipher_ctx(pc, l.cipher, key_of(&l, k), false, &ctx);
	if (err)
		return err;
	nonce = nonce_of(&l, k, iv, nonce_buf);
	if (l.cipher->aead)
		err = l.cipher->crypt(
		    ctx, nonce, cy_slice(datagram.p, (size_t)(iv - datagram.p)), data, len, tag);
	else
		err = l.cipher->crypt(ctx, nonce, cy_slice(NULL, 0), data, len, NULL);
	usage_op_end(USAGE_DECRYPT, k->encr, begun);
	if (err)
		return err;
	/* The sender may pad more than it must, with any bytes (3.14), but not more than there are. Only who has the key gets
	   here: the answer tells a stranger nothing. */
	pad = data[len - 1];
	if (pad + 1 > len)
		return CY_E_PARSE;
	*out_plain = cy_slice(data, len - 1 - pad);
	return CY_OK;
}
