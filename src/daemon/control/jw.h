/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON text into a buffer that grows, without a tree in between: workers use it for chunks of listings. A failed
 * allocation is remembered and makes every later call do nothing. Owned by one thread at a time.
 */
#ifndef DAEMON_CONTROL_JW_H
#define DAEMON_CONTROL_JW_H

#include <cygnet/types.h>

struct jw {
	char *p;
	size_t n, cap;
	bool failed;
};

void jw_fini(struct jw *w); /* ready for use again */
/* key NULL: an element of an array, or the outermost value. Text that is not UTF-8 is replaced where it is wrong. */
void jw_obj(struct jw *w, const char *key);
void jw_obj_end(struct jw *w);
void jw_arr(struct jw *w, const char *key);
void jw_arr_end(struct jw *w);
void jw_str(struct jw *w, const char *key, const char *text); /* NULL: null */
void jw_fmt(struct jw *w, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void jw_u64(struct jw *w, const char *key, uint64_t v);
void jw_i64(struct jw *w, const char *key, int64_t v);
void jw_num(struct jw *w, const char *key, double v);                     /* what is not finite is 0 */
void jw_share(struct jw *w, const char *key, uint64_t part, uint64_t of); /* per cent; of nothing it is 0 */
void jw_bool(struct jw *w, const char *key, bool v);
void jw_raw(struct jw *w, const char *key, const char *json); /* JSON text as it is */
void jw_add(struct jw *w, const char *text, size_t n);        /* a piece of what another one wrote */
void jw_end_line(struct jw *w);                               /* a newline: the next value starts afresh */

#endif
