/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of cygnet.conf: keys and values, before the schema. Private to conf/. Owned by one load, on its thread. */
#ifndef LIBCORE_CONF_SETTINGS_READ_H
#define LIBCORE_CONF_SETTINGS_READ_H

#include "libcore/conf/report.h"

struct setting {
	char *key, *value, *file;
	uint32_t line, order;
};

struct setting_list {
	struct setting *all;
	size_t n, cap;
	size_t bytes; /* of the files read */
};

/* Append what a file and its includes, or a text without includes, say. Faults of single lines are only reported. */
enum cy_err setting_list_file(struct setting_list *l, const char *path, struct report *r) CY_MUST_USE;
enum cy_err setting_list_text(
    struct setting_list *l, const char *text, const char *name, struct report *r) CY_MUST_USE;
void setting_list_fini(struct setting_list *l);
void setting_fini(struct setting *s);

#endif
