/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/names.h"

#include <stdio.h>
#include <string.h>

#define LONGEST 64 /* of words that are compared */

const char *name_of(const struct name *table, uint32_t value)
{
	for (; table->name; table++)
		if (table->value == value)
			return table->name;
	return NULL;
}

const char *name_or_number(const struct name *table, uint32_t value)
{
	/* four, so that one printf can name several */
	static _Thread_local char text[4][16];
	static _Thread_local unsigned int turn;
	const char *name = name_of(table, value);
	char *out;

	if (name)
		return name;
	out = text[turn++ % 4];
	(void)snprintf(out, sizeof(text[0]), "(%u)", value);
	return out;
}

/* Not strcasecmp: that depends on the locale. */
static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

const struct name *name_find(const struct name *table, const char *name)
{
	for (; table->name; table++) {
		const char *a = table->name, *b = name;

		while (*a && lower(*a) == lower(*b))
			a++, b++;
		if (!*a && !*b)
			return table;
	}
	return NULL;
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/*
 * Insertions, deletions, substitutions and swapped neighbours; both at most LONGEST. Gives up at max: most candidates of a
 * long list are far off, and whoever writes the words must not decide how long this takes.
 */
static size_t distance(const char *a, size_t na, const char *b, size_t nb, size_t max)
{
	size_t row[3][LONGEST + 1];
	size_t *before = row[0], *last = row[1], *now = row[2], *spare;

	for (size_t j = 0; j <= nb; j++)
		last[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t least = i;

		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			char x = lower(a[i - 1]), y = lower(b[j - 1]);

			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]) &&
			    before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
			if (now[j] < least)
				least = now[j];
		}
		/* a swap reaches back two rows and adds one */
		if (least > max)
			return max;
		spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[nb];
}

const char *name_nearest(const char *const *candidates, const char *typed)
{
	size_t n = strlen(typed), best = n / 3 + 1;
	const char *found = NULL;

	if (n > LONGEST)
		return NULL;
	for (; *candidates; candidates++) {
		size_t len = strlen(*candidates), d;

		if (len > LONGEST || (len > n ? len - n : n - len) >= best)
			continue;
		d = distance(typed, n, *candidates, len, best);
		if (d < best) {
			best = d;
			found = *candidates;
		}
	}
	return found;
}
