/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/run/hist.h"

#define SUB 8 /* buckets an octave; values below it have one each */

static unsigned int bucket_of(uint64_t v)
{
	unsigned int top, i;

	if (v < SUB)
		return (unsigned int)v;
	top = 63u - (unsigned int)__builtin_clzll(v);
	i = (top - 2) * SUB + (unsigned int)(v >> (top - 3)) % SUB;
	return i < HIST_BUCKETS ? i : HIST_BUCKETS - 1;
}

/* The largest value that falls into the bucket. */
static uint64_t upper_edge(unsigned int i)
{
	unsigned int shift;

	if (i < SUB)
		return i;
	shift = i / SUB - 1;
	return ((uint64_t)(SUB + i % SUB + 1) << shift) - 1;
}

static uint64_t load64(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static uint32_t load32(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void add32(uint32_t *p, uint32_t n)
{
	uint32_t old = load32(p);

	__atomic_store_n(p, old > UINT32_MAX - n ? UINT32_MAX : old + n, __ATOMIC_RELAXED);
}

static void add64(uint64_t *p, uint64_t n)
{
	__atomic_store_n(p, load64(p) + n, __ATOMIC_RELAXED);
}

void hist_add(struct hist *h, uint64_t value)
{
	add32(&h->count[bucket_of(value)], 1);
	add64(&h->n, 1);
	add64(&h->sum, value);
	if (value > load64(&h->max))
		__atomic_store_n(&h->max, value, __ATOMIC_RELAXED);
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t total = 0, seen = 0, rank, max = load64(&h->max), edge;

	/* the sum of the buckets, not h->n, which may be a sample ahead */
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		total += load32(&h->count[i]);
	if (total == 0)
		return 0;
	q = q < 0 ? 0 : q > 1 ? 1 : q;
	rank = (uint64_t)(q * (double)total);
	if ((double)rank < q * (double)total || rank == 0)
		rank++;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		seen += load32(&h->count[i]);
		if (seen < rank)
			continue;
		edge = i == HIST_BUCKETS - 1 ? max : upper_edge(i);
		return edge < max || max == 0 ? edge : max;
	}
	return max;
}

void hist_merge(struct hist *dst, const struct hist *src)
{
	uint64_t max = load64(&src->max);

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		add32(&dst->count[i], load32(&src->count[i]));
	add64(&dst->n, load64(&src->n));
	add64(&dst->sum, load64(&src->sum));
	if (max > load64(&dst->max))
		__atomic_store_n(&dst->max, max, __ATOMIC_RELAXED);
}

void hist_since(struct hist *now, const struct hist *before)
{
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		now->count[i] -= before->count[i];
	now->n -= before->n;
	now->sum -= before->sum;
}
