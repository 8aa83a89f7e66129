/* SPDX-License-Identifier: Apache-2.0 */
/* Problems found while a file is read, counted and passed on. Private to conf/. Owned by one load, on its thread. */
#ifndef LIBCORE_CONF_REPORT_H
#define LIBCORE_CONF_REPORT_H

#include "libcore/conf/conf.h"

struct report {
	conf_problem_fn cb; /* may be NULL */
	void *user;
	uint32_t n_errors, n_warnings;
};

/* hint "" for none. */
void report_add(struct report *r, enum cy_level level, const char *file, uint32_t line, const char *conn,
    const char *hint, const char *fmt, ...) __attribute__((format(printf, 7, 8)));

#endif
