/* SPDX-License-Identifier: Apache-2.0 */
/* Words for enum cy_err, and the container_of everybody needs. Any thread. */
#ifndef LIBCORE_BASE_ERR_H
#define LIBCORE_BASE_ERR_H

#include <cygnet/types.h>

const char *err_text(enum cy_err e); /* "no such thing"; static */

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))

#endif
