/* SPDX-License-Identifier: Apache-2.0 */
/* Words to values, for ipsec.conf and cygnet.conf. Private to conf/. Pure; any thread. False: not such a value. */
#ifndef LIBCORE_CONF_VALUE_H
#define LIBCORE_CONF_VALUE_H

#include "libcore/conf/conn.h"

bool value_bool(const char *s, bool *out);    /* yes no true false on off y n 1 0 */
bool value_u64(const char *s, uint64_t *out); /* decimal, or hexadecimal with 0x */
/* "4s", "500ms", "1.5s", "2m", "1h", "1d", "1w"; without a unit it is seconds. To milliseconds. */
bool value_ms(const char *s, uint64_t *out);
bool value_bytes(const char *s, uint64_t *out); /* "8M", "64k", "1G" (powers of 1024) or plain */
bool value_milli(const char *s, uint64_t *out); /* "1.8" gives 1800 */
/* "16", "0x10/0xff": mask all ones when there is none */
bool value_mark(const char *s, struct cy_mark *out);
/* Copies the next item of a list to buf, without blanks around it; seps are the separators. False at the end. An item
   that does not fit is cut to cap - 1 bytes and *out_cut set. */
bool value_next(const char **at, const char *seps, char *buf, size_t cap, bool *out_cut);
/* Append a copy. */
enum cy_err strs_add(struct str_list *l, const char *s) CY_MUST_USE;
void strs_fini(struct str_list *l);

#endif
