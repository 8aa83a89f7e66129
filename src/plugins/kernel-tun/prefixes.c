/* SPDX-License-Identifier: Apache-2.0 */

#include "routes.h"

static bool bit(const uint8_t *ip, size_t i)
{
	return ip[i / 8] >> (7 - i % 8) & 1;
}

/* Sets or clears all bits from `from` on. */
static void fill(uint8_t *ip, size_t bits, size_t from, bool ones)
{
	for (size_t i = from; i < bits; i++) {
		uint8_t mask = (uint8_t)(0x80 >> (i % 8));

		ip[i / 8] = ones ? ip[i / 8] | mask : (uint8_t)(ip[i / 8] & ~mask);
	}
}

/* ip + 1; false when it wraps. */
static bool increment(uint8_t *ip, size_t n)
{
	while (n > 0)
		if (++ip[--n])
			return true;
	return false;
}

/* Always the largest prefix that begins at the lowest address left. */
size_t prefixes_of(const struct cy_ts *ts, struct prefix out[PREFIXES_MAX])
{
	size_t bytes = ts->family_ip6 ? 16 : 4, bits = bytes * 8, n = 0;
	uint8_t lo[16] = {0};

	memcpy(lo, ts->lo, bytes);
	while (memcmp(lo, ts->hi, bytes) <= 0 && n < PREFIXES_MAX) {
		struct prefix *p = &out[n++];
		uint8_t last[16];
		size_t len = bits;

		memset(p, 0, sizeof(*p));
		memcpy(p->ip, lo, bytes);
		memcpy(last, lo, bytes);
		while (len > 0 && !bit(lo, len - 1)) {
			uint8_t wider[16];

			memcpy(wider, lo, bytes);
			fill(wider, bits, len - 1, true);
			if (memcmp(wider, ts->hi, bytes) > 0)
				break;
			memcpy(last, wider, bytes);
			len--;
		}
		p->len = (uint8_t)len;
		memcpy(lo, last, bytes);
		if (!increment(lo, bytes))
			break;
	}
	return n;
}
