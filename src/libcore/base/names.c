/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/names.h"

#include <stdio.h>
#include <string.h>

#define LONGEST   64 /* of words that are compared */
#define EDITS_MAX 5  /* more is another word, however long it is */

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
 * How many times each letter occurs, letters sharing 32 places. What one word has and the other has not takes an edit each, so
 * that the difference is a bound that costs a pass over the word; most candidates of a long list go no further.
 */
struct letters {
	uint8_t n[32];
};

static struct letters letters_of(const char *s, size_t n)
{
	struct letters l = {{0}};

	for (size_t i = 0; i < n; i++)
		l.n[(uint8_t)lower(s[i]) % 32]++;
	return l;
}

static size_t least_distance(struct letters typed, const char *s, size_t n, size_t n_typed)
{
	size_t shared = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t *left = &typed.n[(uint8_t)lower(s[i]) % 32];

		if (*left) {
			(*left)--;
			shared++;
		}
	}
	return (n > n_typed ? n : n_typed) - shared;
}

/*
 * Insertions, deletions, substitutions and swapped neighbours; both at most LONGEST, their lengths less than max apart. Looks
 * only at what can be below max, a band of the table, and gives up at max: whoever writes the words must not decide how long
 * this takes.
 */
static size_t distance(const char *a, size_t na, const char *b, size_t nb, size_t max)
{
	size_t row[3][LONGEST + 1];
	size_t *before = row[0], *last = row[1], *now = row[2], *spare;

	for (size_t j = 0; j <= nb; j++)
		last[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t from = i > max ? i - max : 1, to = i + max < nb ? i + max : nb, least;

		/* outside of the band everything is max */
		now[from - 1] = from == 1 && i < max ? i : max;
		least = now[from - 1];
		for (size_t j = from; j <= to; j++) {
			char x = lower(a[i - 1]), y = lower(b[j - 1]);
			size_t up = j < i + max ? last[j] : max;

			now[j] = min3(up + 1, now[j - 1] + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]) &&
			    before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
			if (now[j] < least)
				least = now[j];
		}
		/* nor is anything below: a swap adds one to the row before, which is at most one less */
		if (least >= max)
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
	size_t n = strnlen(typed, LONGEST + 1), best = n / 3 + 1;
	struct letters letters;
	const char *found = NULL;

	if (n > LONGEST)
		return NULL;
	if (best > EDITS_MAX + 1)
		best = EDITS_MAX + 1;
	letters = letters_of(typed, n);
	for (; *candidates; candidates++) {
		size_t len = strnlen(*candidates, LONGEST + 1), d;

		if (len > LONGEST || (len > n ? len - n : n - len) >= best ||
		    least_distance(letters, *candidates, len, n) >= best)
			continue;
		d = distance(typed, n, *candidates, len, best);
		if (d < best) {
			best = d;
			found = *candidates;
		}
	}
	return found;
}
