/* SPDX-License-Identifier: Apache-2.0 */
#include "quick_ke.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/err.h"
#include "libcore/crypto/registry.h"

#define POOL    64 /* private values */
#define SECRETS 4096
#define LEN     32

struct known {
	bool there;
	uint8_t priv, peer[LEN], secret[LEN];
};

/* What is known is the same for all daemons of the process, and stays: memory of the process, not of a daemon. */
static struct {
	bool there[POOL];
	uint8_t publics[POOL][LEN];
	struct known secrets[SECRETS];
} memo;

struct quick_ke {
	struct cy_ke_alg alg; /* first */
	const struct cy_ke_alg *real;
	uint32_t next;
};

struct quick_key {
	const struct cy_ke_alg *real;
	void *key; /* one that is not from the pool */
	uint8_t priv;
};

static enum cy_err from_private(
    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public)
{
	const struct quick_ke *q = (const void *)alg;
	struct quick_key *k = calloc(1, sizeof(*k));
	enum cy_err err = k ? q->real->key_from_private(q->real, priv, &k->key, out_public) : CY_E_NOMEM;

	if (err) {
		free(k);
		return err;
	}
	k->real = q->real;
	*out_key = k;
	return CY_OK;
}

static enum cy_err real_key(const struct cy_ke_alg *real, uint8_t i, void **out_key, uint8_t *out_public)
{
	uint8_t priv[LEN];

	memset(priv, i + 1, sizeof(priv));
	return real->key_from_private(real, cy_slice(priv, sizeof(priv)), out_key, out_public);
}

static enum cy_err keygen(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public)
{
	struct quick_ke *q = (struct quick_ke *)(uintptr_t)alg;
	uint8_t i = (uint8_t)(q->next % POOL);
	void *key;
	struct quick_key *k = calloc(1, sizeof(*k));
	enum cy_err err = CY_OK;

	if (!k)
		return CY_E_NOMEM;
	if (!memo.there[i]) {
		err = real_key(q->real, i, &key, memo.publics[i]);
		if (!err)
			q->real->key_free(key);
		memo.there[i] = !err;
	}
	if (err) {
		free(k);
		return err;
	}
	q->next = q->next * 1664525u + 1013904223u;
	q->next ^= q->next >> 16;
	k->real = q->real;
	k->priv = i;
	memcpy(out_public, memo.publics[i], LEN);
	*out_key = k;
	return CY_OK;
}

static enum cy_err derive(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	struct quick_key *k = key;
	struct known *m;
	uint32_t h = 2166136261u;
	uint8_t public[LEN];
	void *real;
	enum cy_err err;

	if (k->key)
		return k->real->derive(k->key, peer, out_secret);
	if (peer.n != LEN)
		return CY_E_INVAL;
	for (size_t i = 0; i < LEN; i++)
		h = (h ^ peer.p[i]) * 16777619u;
	m = &memo.secrets[(h ^ h >> 12 ^ k->priv * 61u) % SECRETS];
	if (!m->there || m->priv != k->priv || memcmp(m->peer, peer.p, LEN) != 0) {
		m->there = false;
		err = real_key(k->real, k->priv, &real, public);
		if (!err) {
			err = k->real->derive(real, peer, m->secret);
			k->real->key_free(real);
		}
		m->there = err == CY_OK;
		if (err)
			return err;
		m->priv = k->priv;
		memcpy(m->peer, peer.p, LEN);
	}
	memcpy(out_secret, m->secret, LEN);
	return CY_OK;
}

static void key_free(void *key)
{
	struct quick_key *k = key;

	if (k && k->key)
		k->real->key_free(k->key);
	free(k);
}

struct quick_ke *quick_ke_new(struct daemon *d, bool slow)
{
	const struct cy_ke_alg *real = crypto_ke(d->crypto, CY_KE_X25519);
	struct quick_ke *q;

	if (!real || !(q = calloc(1, sizeof(*q))))
		return NULL;
	q->real = real;
	q->alg = *real;
	q->alg.flags = slow ? CY_KE_SLOW : 0;
	q->alg.keygen = keygen;
	q->alg.derive = derive;
	q->alg.key_free = key_free;
	q->alg.key_from_private = from_private;
	if (crypto_register(d->crypto, CY_KIND_KE, &q->alg, "quick") ||
	    crypto_ke(d->crypto, CY_KE_X25519) != &q->alg) {
		free(q);
		return NULL;
	}
	return q;
}

void quick_ke_free(struct quick_ke *q)
{
	free(q);
}

void quick_ke_slow(struct quick_ke *q, bool slow)
{
	q->alg.flags = slow ? CY_KE_SLOW : 0;
}

void quick_ke_seed(struct quick_ke *q, uint32_t seed)
{
	q->next = seed;
}
