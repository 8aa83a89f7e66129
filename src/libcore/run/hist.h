/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram of durations, 8 sub-buckets an octave (about 10 % error), fixed size, written by one thread and
 * read by any (relaxed atomics; a snapshot may be a few samples behind).
 */
#ifndef LIBCORE_RUN_HIST_H
#define LIBCORE_RUN_HIST_H

#include <cygnet/types.h>

#define HIST_BUCKETS 320

struct hist {
	uint32_t count[HIST_BUCKETS];
	uint64_t n, max, sum;
};

void hist_add(struct hist *h, uint64_t value);
uint64_t hist_quantile(const struct hist *h, double q); /* upper edge of the bucket; 0 when empty */
void hist_merge(struct hist *dst, const struct hist *src);
/* What came since `before`, a copy of an earlier state of the same one; max stays that of all. */
void hist_since(struct hist *now, const struct hist *before);

#endif
