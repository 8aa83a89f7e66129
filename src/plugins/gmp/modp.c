/* SPDX-License-Identifier: Apache-2.0 */
/* Diffie-Hellman in the MODP groups. */

#include <stdlib.h>
#include <string.h>

#include "gmp_plugin.h"

struct modp_key {
	const struct gmp_modp *group;
	size_t bits; /* of x, as it was made */
	mp_limb_t x[LIMBS(512)];
};

static void key_free(void *key)
{
	struct modp_key *k = key;

	if (!k)
		return;
	wipe(k, sizeof(*k));
	free(k);
}

static enum cy_err raise_to_x(const struct modp_key *k, const mp_limb_t *base, uint8_t *out)
{
	const struct gmp_modp *m = k->group;
	mp_limb_t *r = limbs_new(m->n);
	bool ok = r && limbs_powm(r, base, m->n, k->x, k->bits, m->p, m->n);

	if (ok)
		limbs_write(r, m->n, out, m->alg.public_len);
	limbs_free(r, r ? m->n : 0);
	return ok ? CY_OK : CY_E_NOMEM;
}

static enum cy_err from_private(
    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public)
{
	struct modp_key *k;
	enum cy_err err;

	if (priv.n == 0 || priv.n > sizeof(k->x))
		return CY_E_INVAL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return CY_E_NOMEM;
	k->group = container_of(alg, const struct gmp_modp, alg);
	k->bits = priv.n * 8;
	limbs_read(k->x, ARRAY_LEN(k->x), priv);
	err = raise_to_x(k, k->group->g, out_public);
	if (err == CY_OK)
		*out_key = k;
	else
		key_free(k);
	return err;
}

static enum cy_err keygen(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public)
{
	const struct gmp_modp *m = container_of(alg, const struct gmp_modp, alg);
	uint8_t x[64];
	size_t n = m->private_bits / 8;
	enum cy_err err;

	m->gmp->host->random(m->gmp->self, x, n);
	/* never zero; in the subgroup of order q > 2^255 below q */
	x[0] = (uint8_t)(m->q ? (x[0] & 0x7f) | 0x40 : x[0] | 0x80);
	err = from_private(alg, cy_slice(x, n), out_key, out_public);
	wipe(x, sizeof(x));
	return err;
}

/* RFC 6989, 2.1: 1 < y < p - 1; 2.2: in a small subgroup y^q = 1. */
static enum cy_err check(const struct gmp_modp *m, const mp_limb_t *y)
{
	mp_limb_t *t = limbs_new(m->n);
	enum cy_err err = CY_E_INVAL;

	if (!t)
		return CY_E_NOMEM;
	mpn_sub_1(t, m->p, (mp_size_t)m->n, 1);
	if (mpn_cmp(y, t, (mp_size_t)m->n) < 0 && (y[0] > 1 || !mpn_zero_p(y + 1, (mp_size_t)m->n - 1)))
		err = CY_OK;
	if (err == CY_OK && m->q) {
		if (!limbs_powm(t, y, m->n, m->q, m->q_bits, m->p, m->n))
			err = CY_E_NOMEM;
		else if (t[0] != 1 || !mpn_zero_p(t + 1, (mp_size_t)m->n - 1))
			err = CY_E_INVAL;
	}
	limbs_free(t, m->n);
	return err;
}

static enum cy_err derive(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	struct modp_key *k = key;
	const struct gmp_modp *m = k->group;
	enum cy_err err;
	mp_limb_t *y;

	if (peer.n != m->alg.public_len)
		return CY_E_INVAL;
	y = limbs_new(m->n);
	if (!y)
		return CY_E_NOMEM;
	limbs_read(y, m->n, peer);
	err = check(m, y);
	if (err == CY_OK)
		err = raise_to_x(k, y, out_secret);
	limbs_free(y, m->n);
	return err;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10;
}

static mp_limb_t *from_hex(const char *hex, size_t n)
{
	size_t len = strlen(hex) / 2;
	uint8_t *bytes = malloc(len);
	mp_limb_t *p = limbs_new(n);

	if (bytes && p) {
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
		limbs_read(p, n, cy_slice(bytes, len));
	}
	free(bytes);
	return p;
}

static bool load(struct gmp_modp *m, const struct gmp_group *g)
{
	m->n = LIMBS(g->bits);
	m->private_bits = g->private_bits;
	m->p = from_hex(g->p, m->n);
	m->g = from_hex(g->g ? g->g : "02", m->n);
	if (g->q) {
		m->q_bits = strlen(g->q) * 4;
		m->q = from_hex(g->q, LIMBS(m->q_bits));
	}
	return m->p && m->g && (m->q || !g->q);
}

void gmp_modp_init(struct gmp *g)
{
	for (size_t i = 0; gmp_groups[i].id; i++) {
		struct gmp_modp *m = &g->modp[i];
		uint16_t len = gmp_groups[i].bits / 8;

		m->gmp = g;
		if (!load(m, &gmp_groups[i]))
			continue;
		m->alg = (struct cy_ke_alg){sizeof(m->alg), gmp_groups[i].id, len, len, gmp_groups[i].flags,
		    keygen, derive, key_free, from_private};
		/* a refusal is logged by the host */
		(void)!g->host->provide(g->self, CY_KIND_KE, &m->alg, g);
	}
}

void gmp_modp_fini(struct gmp *g)
{
	for (size_t i = 0; i < GMP_MAX_MODP; i++) {
		free(g->modp[i].p);
		free(g->modp[i].g);
		free(g->modp[i].q);
	}
}
