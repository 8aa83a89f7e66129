/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ikev2/ikev2.h"

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
	/* SK_pi and SK_pr, the last of them, are for IKE_AUTH only */
	e = secret_init(&sa->keys.all, (old ? 1u : 3u) * prf.key_len + 2 * (encr + integ));
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
