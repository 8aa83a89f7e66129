/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puzzles (RFC 8019, 4 and 7.1): four different keys under each of which the PRF of the cookie ends in so many zero bits.
 * Only PRFs that take keys of any length are used, so that a key is a number.
 */
#include "daemon/ikev2/ikev2.h"
#include "libcore/crypto/registry.h"

static const uint16_t prfs[] = {
    CY_PRF_HMAC_SHA2_256, CY_PRF_HMAC_SHA2_512, CY_PRF_HMAC_SHA2_384, CY_PRF_HMAC_SHA1};

uint16_t v2_puzzle_prf(const struct crypto *c, const struct payload *sa)
{
	struct prf_info info;

	for (size_t k = 0; sa && k < ARRAY_LEN(prfs); k++)
		for (size_t i = 0; i < sa->u.sa.n; i++)
			for (uint8_t j = 0; j < sa->u.sa.p[i].n; j++)
				if (sa->u.sa.p[i].t[j].type == TRANSFORM_PRF &&
				    sa->u.sa.p[i].t[j].id == prfs[k] && crypto_prf(c, prfs[k], &info))
					return prfs[k];
	return 0;
}

static uint32_t zeros_at_end(const uint8_t *p, size_t n)
{
	uint32_t bits = 0;

	while (n && p[n - 1] == 0) {
		bits += 8;
		n--;
	}
	return n ? bits + (uint32_t)__builtin_ctz(p[n - 1]) : bits;
}

static bool fits(const struct crypto *c, struct v2_puzzle puzzle, size_t out_len, struct cy_slice key,
    struct cy_slice cookie)
{
	uint8_t out[CY_MAX_MAC_LEN];

	return prf_compute(c, puzzle.prf, key, &cookie, 1, out) == CY_OK &&
	    zeros_at_end(out, out_len) >= puzzle.bits;
}

bool v2_puzzle_solved(
    const struct crypto *c, struct v2_puzzle puzzle, struct cy_slice cookie, struct cy_slice solution)
{
	size_t n = solution.n / 4;
	struct prf_info info;

	if (!n || solution.n % 4 || n > 128 || !crypto_prf(c, puzzle.prf, &info))
		return false;
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < i; j++)
			if (memcmp(solution.p + i * n, solution.p + j * n, n) == 0)
				return false;
	for (size_t i = 0; i < 4; i++)
		if (!fits(c, puzzle, info.out_len, cy_slice(solution.p + i * n, n), cookie))
			return false;
	return true;
}

enum cy_err v2_puzzle_solve(void *work)
{
	struct v2_puzzle_work *w = work;
	struct cy_slice cookie = cy_slice(w->cookie, w->n_cookie);
	uint64_t tries = UINT64_C(128) << w->puzzle.bits; /* 32 times what is to be expected */
	struct writer out = writer_of(w->solution, sizeof(w->solution));
	struct prf_info info;

	if (!crypto_prf(w->c, w->puzzle.prf, &info))
		return CY_E_UNSUPPORTED;
	for (uint64_t at = w->start; tries && out.n < sizeof(w->solution); at++, tries--) {
		uint8_t key[V2_PUZZLE_KEY];
		struct writer k = writer_of(key, sizeof(key));

		write_u64(&k, at);
		if (fits(w->c, w->puzzle, info.out_len, cy_slice(key, sizeof(key)), cookie))
			write_bytes(&out, cy_slice(key, sizeof(key)));
	}
	return out.n == sizeof(w->solution) ? CY_OK : CY_E_LIMIT;
}
