/* SPDX-License-Identifier: Apache-2.0 */
/* What algorithms cost on this machine. Runs on the pool. */
#include <stdlib.h>

#include "daemon/watch/doctor.h"
#include "libcore/crypto/registry.h"

#define PACKET   1400
#define ALIGNED  1392 /* whole blocks of any cipher */
#define AT_LEAST (1 * NS_PER_MS)
#define LONG     (10 * NS_PER_MS)
#define ROUNDS   3

struct speeds {
	const struct crypto *c;
	struct env *env;
	struct alg_speed *s;
	size_t n;
};

static struct alg_speed *add(struct speeds *sp, enum cy_kind kind, uint16_t id, double ns)
{
	struct alg_speed *s = ns > 0 ? realloc(sp->s, (sp->n + 1) * sizeof(*s)) : NULL;

	if (!s)
		return NULL;
	sp->s = s;
	s[sp->n] = (struct alg_speed){.kind = kind, .id = id, .ns = ns};
	return &s[sp->n++];
}

static uint64_t clock_of(struct env *e)
{
	return e->cpu_ns ? e->cpu_ns(e) : env_now(e);
}

/*
 * The least of some rounds of a millisecond each: what disturbs makes it longer only. What takes very long is done once. Negative: it
 * fails.
 */
static double measure(struct env *env, enum cy_err (*once)(void *arg), void *arg)
{
	double best = -1;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t begun = clock_of(env), took;
		unsigned long n = 0, at_once = 1;

		do {
			for (unsigned long i = 0; i < at_once; i++, n++)
				if (once(arg) != CY_OK)
					return -1;
			took = clock_of(env) - begun;
			at_once *= 2; /* the clock has its cost, too */
		} while (took < AT_LEAST && n < 1000000);
		if (best < 0 || (double)took / (double)n < best)
			best = (double)took / (double)n;
		if (took > LONG)
			break;
	}
	return best;
}

/* --- ciphers, MACs -------------------------------------------------------------------------------------------------------- */

struct crypt {
	const struct cy_cipher_alg *alg;
	void *ctx;
	uint8_t data[PACKET], nonce[64], aad[8], tag[64];
};

static enum cy_err crypt_once(void *arg)
{
	struct crypt *c = arg;

	return c->alg->crypt(c->ctx, cy_slice(c->nonce, (size_t)c->alg->salt_len + c->alg->iv_len),
	    cy_slice(c->aad, c->alg->aead ? sizeof(c->aad) : 0), c->data, ALIGNED,
	    c->alg->aead ? c->tag : NULL);
}

static void measure_cipher(struct speeds *sp, const struct cy_cipher_alg *alg)
{
	struct crypt *c = calloc(1, sizeof(*c));
	uint8_t key[CY_MAX_CIPHER_KEY] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
	    20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};

	if (!c || alg->ctx_new(alg, &c->ctx)) {
		free(c);
		return;
	}
	c->alg = alg;
	for (int i = 0; i < alg->n_key_bits; i++) {
		struct alg_speed *s;

		if (alg->ctx_key(c->ctx, cy_slice(key, alg->key_bits[i] / 8), true))
			continue;
		s = add(sp, CY_KIND_CIPHER, alg->id, measure(sp->env, crypt_once, c));
		if (s) {
			s->key_bits = alg->key_bits[i];
			s->aead = alg->aead;
		}
	}
	alg->ctx_free(c->ctx);
	free(c);
}

struct mac {
	const struct cy_mac_alg *alg;
	void *ctx;
	uint8_t data[PACKET], out[CY_MAX_MAC_LEN];
};

static enum cy_err mac_once(void *arg)
{
	struct mac *m = arg;
	struct cy_slice in = cy_slice(m->data, ALIGNED);

	return m->alg->mac(m->ctx, &in, 1, m->out);
}

static void measure_mac(struct speeds *sp, const struct cy_mac_alg *alg)
{
	struct mac *m = calloc(1, sizeof(*m));
	uint8_t key[CY_MAX_MAC_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};

	if (m && alg->ctx_new(alg, &m->ctx) == CY_OK) {
		m->alg = alg;
		if (alg->ctx_key(m->ctx, cy_slice(key, alg->key_len ? alg->key_len : alg->len)) == CY_OK)
			(void)add(sp, CY_KIND_MAC, alg->id, measure(sp->env, mac_once, m));
		alg->ctx_free(m->ctx);
	}
	free(m);
}

/* --- key exchange ------------------------------------------------------------------------------------------------------------ */

struct ke {
	const struct cy_ke_alg *alg;
	uint8_t peer[CY_MAX_KE_PUBLIC], pub[CY_MAX_KE_PUBLIC], secret[CY_MAX_KE_SECRET];
};

static enum cy_err ke_once(void *arg)
{
	struct ke *k = arg;
	void *key;
	enum cy_err e = k->alg->keygen(k->alg, &key, k->pub);

	if (e)
		return e;
	e = k->alg->derive(key, cy_slice(k->peer, k->alg->public_len), k->secret);
	k->alg->key_free(key);
	return e;
}

static void measure_ke(struct speeds *sp, const struct cy_ke_alg *alg)
{
	struct ke *k = calloc(1, sizeof(*k));
	void *key;

	if (k && alg->keygen(alg, &key, k->peer) == CY_OK) {
		k->alg = alg;
		alg->key_free(key);
		(void)add(sp, CY_KIND_KE, alg->id, measure(sp->env, ke_once, k));
	}
	free(k);
}

static void on_alg(void *user, const struct crypto_listing *l)
{
	struct speeds *sp = user;

	if (!l->chosen)
		return;
	if (l->kind == CY_KIND_KE && crypto_ke(sp->c, l->id)) {
		measure_ke(sp, crypto_ke(sp->c, l->id));
	} else if (l->kind == CY_KIND_MAC && crypto_mac(sp->c, l->id)) {
		measure_mac(sp, crypto_mac(sp->c, l->id));
	} else if (l->kind == CY_KIND_CIPHER) {
		const struct cy_cipher_alg *alg = NULL;

		for (uint16_t bits = 0; !alg && bits <= 512; bits += 64)
			alg = crypto_cipher(sp->c, l->id, bits);
		if (alg)
			measure_cipher(sp, alg);
	}
}

struct alg_speed *speeds_measure(const struct crypto *c, struct env *env, size_t *out_n)
{
	struct speeds sp = {.c = c, .env = env};

	crypto_list(c, on_alg, &sp);
	*out_n = sp.n;
	return sp.s;
}

/* The registry knows the MAC of an integrity transform; here its number is enough. */
static uint16_t mac_of(uint16_t integ)
{
	switch (integ) {
	case CY_INTEG_HMAC_MD5_96:
		return CY_MAC_HMAC_MD5;
	case CY_INTEG_HMAC_SHA1_96:
		return CY_MAC_HMAC_SHA1;
	case CY_INTEG_AES_XCBC_96:
		return CY_MAC_AES_XCBC;
	case CY_INTEG_AES_CMAC_96:
		return CY_MAC_AES_CMAC;
	case CY_INTEG_HMAC_SHA2_256_128:
	case CY_INTEG_HMAC_SHA2_256_96:
		return CY_MAC_HMAC_SHA2_256;
	case CY_INTEG_HMAC_SHA2_384_192:
		return CY_MAC_HMAC_SHA2_384;
	case CY_INTEG_HMAC_SHA2_512_256:
		return CY_MAC_HMAC_SHA2_512;
	default:
		return 0;
	}
}

double speeds_packet_ns(const struct alg_speed *s, size_t n, uint16_t encr, uint16_t key_bits, uint16_t integ)
{
	const struct alg_speed *cipher = NULL, *mac = NULL;

	for (size_t i = 0; i < n; i++) {
		if (s[i].kind == CY_KIND_CIPHER && s[i].id == encr &&
		    (!key_bits || s[i].key_bits == key_bits))
			cipher = &s[i];
		if (s[i].kind == CY_KIND_MAC && integ && s[i].id == mac_of(integ))
			mac = &s[i];
	}
	if (!cipher || (!cipher->aead && !mac))
		return 0;
	return cipher->ns + (cipher->aead ? 0 : mac->ns);
}
