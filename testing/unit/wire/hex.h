/* SPDX-License-Identifier: Apache-2.0 */
/* Hexadecimal text to bytes, for vectors in tests; blanks between bytes are skipped. The caller frees. */
#ifndef UNIT_WIRE_HEX_H
#define UNIT_WIRE_HEX_H

#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include <cygnet/types.h>

static inline int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly as big as the bytes, so that a read behind them shows under AddressSanitizer. */
static inline struct cy_buf hex_bytes(const char *text)
{
	struct cy_buf b = {malloc(strlen(text) / 2 + 1), 0};

	for (; *text; text++) {
		if (*text == ' ' || *text == '\n')
			continue;
		ck_assert_int_ge(hex_digit(text[0]), 0);
		ck_assert_int_ge(hex_digit(text[1]), 0);
		b.p[b.n++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
		text++;
	}
	b.p = realloc(b.p, b.n ? b.n : 1);
	return b;
}

#endif
