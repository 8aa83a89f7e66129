/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** seeded by splitmix64: fast, and the same everywhere. Not for keys of real daemons. */
#include "sim.h"

static uint64_t splitmix(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void sim_prng_seed(struct sim_prng *p, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		p->s[i] = splitmix(&seed);
}

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

uint64_t sim_prng_next(struct sim_prng *p)
{
	uint64_t *s = p->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t sim_prng_below(struct sim_prng *p, uint64_t n)
{
	return n ? sim_prng_next(p) % n : 0;
}

void sim_prng_fill(struct sim_prng *p, void *out, size_t n)
{
	uint8_t *to = out;

	while (n) {
		uint64_t v = sim_prng_next(p);
		size_t k = n < 8 ? n : 8;

		memcpy(to, &v, k);
		to += k;
		n -= k;
	}
}
