/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers to names and back, from static tables; a table ends with {0, NULL}. Any thread. */
#ifndef LIBCORE_BASE_NAMES_H
#define LIBCORE_BASE_NAMES_H

#include <stdint.h>

struct name {
	uint32_t value;
	const char *name;
};

const char *name_of(const struct name *table, uint32_t value); /* NULL when unknown */
/* Never NULL: "(1234)" in a small rotating thread-local buffer when unknown. */
const char *name_or_number(const struct name *table, uint32_t value);
const struct name *name_find(
    const struct name *table, const char *name); /* case ignored; NULL when unknown */
/* The table's entry nearest to what was typed (edit distance at most a third of its length), or NULL. */
const char *name_nearest(const char *const *candidates, const char *typed); /* candidates NULL-terminated */

#endif
