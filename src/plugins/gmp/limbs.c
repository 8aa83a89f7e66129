/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>
#include <string.h>

#include "gmp_plugin.h"

void wipe(void *p, size_t n)
{
	if (p)
		explicit_bzero(p, n);
}

mp_limb_t *limbs_new(size_t n)
{
	return calloc(n ? n : 1, sizeof(mp_limb_t));
}

void limbs_free(mp_limb_t *p, size_t n)
{
	wipe(p, n * sizeof(*p));
	free(p);
}

void limbs_read(mp_limb_t *p, size_t n, struct cy_slice bytes)
{
	memset(p, 0, n * sizeof(*p));
	for (size_t i = 0; i < bytes.n && i < n * sizeof(*p); i++)
		p[i / sizeof(*p)] |= (mp_limb_t)bytes.p[bytes.n - 1 - i] << (i % sizeof(*p) * 8);
}

void limbs_write(const mp_limb_t *p, size_t n, uint8_t *out, size_t out_len)
{
	for (size_t i = 0; i < out_len; i++)
		out[out_len - 1 - i] =
		    i < n * sizeof(*p) ? (uint8_t)(p[i / sizeof(*p)] >> (i % sizeof(*p) * 8)) : 0;
}

bool limbs_powm(mp_limb_t *r, const mp_limb_t *base, size_t base_n, const mp_limb_t *exp, size_t exp_bits,
    const mp_limb_t *m, size_t n)
{
	size_t scratch_n = (size_t)mpn_sec_powm_itch((mp_size_t)base_n, exp_bits, (mp_size_t)n);
	mp_limb_t *scratch = limbs_new(scratch_n);

	if (!scratch)
		return false;
	mpn_sec_powm(r, base, (mp_size_t)base_n, exp, exp_bits, m, (mp_size_t)n, scratch);
	limbs_free(scratch, scratch_n);
	return true;
}

bool limbs_mod(mp_limb_t *p, size_t n, const mp_limb_t *m, size_t m_n)
{
	size_t scratch_n;
	mp_limb_t *scratch;

	if (n < m_n)
		return true;
	scratch_n = (size_t)mpn_sec_div_r_itch((mp_size_t)n, (mp_size_t)m_n);
	scratch = limbs_new(scratch_n);
	if (!scratch)
		return false;
	mpn_sec_div_r(p, (mp_size_t)n, m, (mp_size_t)m_n, scratch);
	memset(p + m_n, 0, (n - m_n) * sizeof(*p));
	limbs_free(scratch, scratch_n);
	return true;
}
