/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/report.h"

#include <stdarg.h>
#include <stdio.h>

static void make_safe(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

void report_add(struct report *r, enum cy_level level, const char *file, uint32_t line, const char *conn,
    const char *hint, const char *fmt, ...)
{
	char text[1024], safe_hint[512];
	struct conf_problem p = {file, line, level, conn ? conn : "", text, safe_hint};
	va_list ap;

	if (level == CY_LOG_ERROR)
		r->n_errors++;
	else if (level == CY_LOG_WARN)
		r->n_warnings++;
	if (!r->cb)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(safe_hint, sizeof(safe_hint), "%s", hint ? hint : "");
	/* what was read may hold anything; a terminal shall not obey it */
	make_safe(text);
	make_safe(safe_hint);
	r->cb(r->user, &p);
}
