/* SPDX-License-Identifier: Apache-2.0 */

#include "cpulist.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>

static bool cpu_number(const char **at, uint32_t cap, uint32_t *out)
{
	unsigned long v;
	char *end;

	if (!isdigit((unsigned char)**at))
		return false;
	v = strtoul(*at, &end, 10);
	*at = end;
	*out = (uint32_t)v;
	return v < cap;
}

uint32_t cpulist_read(const char *text, uint32_t *out, uint32_t cap)
{
	uint32_t n = 0, first, last;

	for (;;) {
		if (!cpu_number(&text, cap, &first))
			return 0;
		last = first;
		if (*text == '-') {
			text++;
			if (!cpu_number(&text, cap, &last) || last < first)
				return 0;
		}
		for (; first <= last; first++) {
			uint32_t i = 0;
			while (i < n && out[i] != first)
				i++;
			if (i == n)
				out[n++] = first;
		}
		if (*text != ',')
			break;
		text++;
	}
	while (isspace((unsigned char)*text))
		text++;
	return *text ? 0 : n;
}
