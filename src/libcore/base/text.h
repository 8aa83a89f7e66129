/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text whose length is known and that has no NUL at its end: a slice of a file, of a packet. strndup() looks for one, and
 * AddressSanitizer's strict_string_checks rightly refuses that beyond the end of a buffer.
 */
#ifndef LIBCORE_BASE_TEXT_H
#define LIBCORE_BASE_TEXT_H

#include <stdlib.h>
#include <string.h>

/* A copy of n bytes and a NUL, for free(); NULL: no memory. p may be NULL when n is 0. */
static inline char *text_dup(const void *p, size_t n)
{
	char *copy = n < (size_t)-1 ? malloc(n + 1) : NULL;

	if (copy) {
		if (n)
			memcpy(copy, p, n);
		copy[n] = '\0';
	}
	return copy;
}

#endif
