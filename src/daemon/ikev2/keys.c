/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "libcore/run/usage.h"

/* A PRF with a fixed key size takes 64 bits of each nonce (RFC 7296, 2.14). */
static size_t nonce_key(uint16_t prf, struct cy_slice ni, struct cy_slice nr, uint8_t *out)
{
	bool fixed = prf == CY_PRF_AES128_XCBC || prf == CY_PRF_AES128_CMAC;
	size_t a = fixed ? 8 : ni.n, b = fixed ? 8 : nr.n;

	memcpy(out, ni.p, a);
	memcpy(out + a, nr.p, b);
	return a + b;
}

enum cy_err v2_derive(struct ike_sa *sa, const struct ike_sa *old, struct cy_slice secret, struct cy_slice ni,
    struct cy_slice nr)
{
	const struct crypto *c = sa->shard->d->crypto;
	uint8_t key[2 * V2_NONCE_MAX], seed[CY_MAX_MAC_LEN], spis[16];
	struct cy_slice part[4];
	struct prf_info prf, old_prf;
	size_t encr, integ;
	struct writer w = writer_of(spis, sizeof(spis));
	enum cy_err e;

	if (!crypto_prf(c, sa->suite.prf, &prf) || !suite_key_lens(c, &sa->suite, &encr, &integ))
		return CY_E_UNSUPPORTED;
	if (ni.n < 8 || nr.n < 8 || ni.n > V2_NONCE_MAX || nr.n > V2_NONCE_MAX)
		return CY_E_INVAL;
	if (old) {
		/* SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the old SA's PRF (2.18) */
		if (!crypto_prf(c, old->suite.prf, &old_prf))
			return CY_E_UNSUPPORTED;
		part[0] = secret;
		part[1] = ni;
		part[2] = nr;
		e = prf_compute(c, old->suite.prf, ike_key(old, SK_D), part, 3, seed);
	} else {
		/* SKEYSEED = prf(Ni | Nr, g^ir) */
		size_t n = nonce_key(sa->suite.prf, ni, nr, key);

		e = prf_compute(c, sa->suite.prf, cy_slice(key, n), &secret, 1, seed);
		old_prf = prf;
	}
	if (e)
		return e;
	sa->keys.prf_len = prf.key_len;
	sa->keys.encr_len = (uint16_t)encr;
	sa->keys.integ_len = (uint16_t)integ;
	secret_fini(&sa->keys.all);
	e = secret_init(&sa->keys.all, 3u * prf.key_len + 2 * (encr + integ));
	write_u64(&w, sa->spi_i);
	write_u64(&w, sa->spi_r);
	part[0] = ni;
	part[1] = nr;
	part[2] = cy_slice(spis, sizeof(spis));
	if (!e)
		e = prf_plus(c, sa->suite.prf, cy_slice(seed, old ? old_prf.out_len : prf.out_len), part, 3,
		    sa->keys.all.p, sa->keys.all.n);
	mem_wipe(key, sizeof(key));
	mem_wipe(seed, sizeof(seed));
	sa->iv_counter = 1;
	return e;
}

/* --- key exchange ------------------------------------------------------------------------------------------------------ */

struct v2_ke *v2_ke_new(const struct cy_ke_alg *alg, void *take_key, struct cy_slice peer)
{
	struct v2_ke *k = calloc(1, sizeof(*k));

	if (!k) {
		if (take_key)
			alg->key_free(take_key);
		return NULL;
	}
	k->alg = alg;
	k->key = take_key;
	if (peer.n && peer.n <= sizeof(k->peer)) {
		memcpy(k->peer, peer.p, peer.n);
		k->n_peer = peer.n;
	}
	return k;
}

void v2_ke_free(void *arg)
{
	struct v2_ke *k = arg;

	if (!k)
		return;
	if (k->key)
		k->alg->key_free(k->key);
	mem_wipe(k->secret, sizeof(k->secret));
	free(k);
}

enum cy_err v2_ke_run(void *arg)
{
	struct v2_ke *k = arg;
	uint64_t begun = usage_op_begin(USAGE_KEYGEN);
	enum cy_err e;

	if (!k->key) {
		e = k->alg->keygen(k->alg, &k->key, k->pub);
		usage_op_end(USAGE_KEYGEN, k->alg->id, begun);
		if (e)
			return e;
		begun = usage_op_begin(USAGE_DERIVE);
	}
	if (!k->n_peer)
		return CY_OK;
	if (k->n_peer != k->alg->public_len)
		return CY_E_INVAL;
	e = k->alg->derive(k->key, cy_slice(k->peer, k->n_peer), k->secret);
	usage_op_end(USAGE_DERIVE, k->alg->id, begun);
	if (!e)
		k->n_secret = k->alg->secret_len;
	return e;
}

bool v2_ke_slow(const struct cy_ke_alg *alg)
{
	return alg->flags & CY_KE_SLOW;
}
