/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fuzz targets share. A target is a function of its input alone: same bytes, same steps. FUZZ_CHECK says what must
 * hold for whatever a peer sends; it is there in every build. One thread.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(what)                                                                                     \
	do {                                                                                                 \
		if (!(what)) {                                                                               \
			(void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);      \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

/* The input's first byte, taken off; 0 when there is none. */
static inline uint8_t fuzz_byte(const uint8_t **data, size_t *size)
{
	if (*size == 0)
		return 0;
	(*size)--;
	return *(*data)++;
}

/* A string of exactly its length on the heap; the caller frees. What is behind a NUL in the input is not seen. */
static inline char *fuzz_string(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);

	FUZZ_CHECK(s);
	if (size)
		memcpy(s, data, size);
	s[size] = '\0';
	return s;
}

#endif
