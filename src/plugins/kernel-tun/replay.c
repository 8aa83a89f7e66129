/* SPDX-License-Identifier: Apache-2.0 */

#include "replay.h"

#include <stdlib.h>

#define WORD_BITS 64

enum cy_err replay_init(struct replay *r, uint32_t window, bool esn)
{
	uint32_t words = 1;

	memset(r, 0, sizeof(*r));
	if (window > REPLAY_MAX_WINDOW)
		return CY_E_LIMIT;
	r->esn = esn;
	r->check = window > 0;
	/* without a window there is nothing to infer the high half from (RFC 4303, 3.3.3, note) */
	r->window = window == 0 && esn ? REPLAY_MAX_WINDOW : window;
	if (r->window == 0)
		return CY_OK;
	/* one word more than the window needs, a power of two */
	while (words * WORD_BITS < r->window + WORD_BITS)
		words *= 2;
	r->mask = words - 1;
	r->bits = calloc(words, sizeof(r->bits[0]));
	return r->bits ? CY_OK : CY_E_NOMEM;
}

void replay_fini(struct replay *r)
{
	free(r->bits);
	r->bits = NULL;
}

uint64_t replay_infer(const struct replay *r, uint32_t low)
{
	uint32_t tl = (uint32_t)r->top, th = (uint32_t)(r->top >> 32), bottom;

	if (!r->esn)
		return low;
	bottom = tl - r->window + 1; /* modulo 2^32 */
	if (tl >= r->window - 1)
		th += low < bottom; /* case A: the window is within one subspace */
	else if (low >= bottom && th > 0)
		th--; /* case B: it spans two; below the first there is none */
	return (uint64_t)th << 32 | low;
}

static uint64_t *word_of(const struct replay *r, uint64_t seq)
{
	return &r->bits[(seq / WORD_BITS) & r->mask];
}

bool replay_ok(const struct replay *r, uint64_t seq)
{
	if (!r->check)
		return true;
	/* the first packet of an SA is number 1 (RFC 4303, 3.3.3) */
	if (seq == 0)
		return false;
	if (seq > r->top)
		return true;
	if (r->top - seq >= r->window)
		return false;
	return !(*word_of(r, seq) >> (seq % WORD_BITS) & 1);
}

bool replay_advance(struct replay *r, uint64_t seq)
{
	bool is_top = seq > r->top;

	if (r->window == 0) {
		if (is_top)
			r->top = seq;
		return is_top;
	}
	if (is_top) {
		uint64_t from = r->top / WORD_BITS, steps = seq / WORD_BITS - from;

		if (steps > (uint64_t)r->mask + 1)
			steps = (uint64_t)r->mask + 1;
		for (uint64_t i = 1; i <= steps; i++)
			r->bits[(from + i) & r->mask] = 0;
		r->top = seq;
	} else if (r->top - seq >= r->window) {
		return false; /* check is off and it is too old to be noted */
	}
	*word_of(r, seq) |= 1ull << (seq % WORD_BITS);
	return is_top;
}
