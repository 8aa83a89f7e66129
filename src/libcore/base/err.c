/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/err.h"

static const char *const words[] = {
    [CY_OK] = "ok",
    [CY_E_NOMEM] = "out of memory",
    [CY_E_INVAL] = "unusable argument",
    [CY_E_PARSE] = "malformed input",
    [CY_E_SHORT] = "too short",
    [CY_E_NOTFOUND] = "no such thing",
    [CY_E_EXISTS] = "already there",
    [CY_E_LIMIT] = "limit reached",
    [CY_E_UNSUPPORTED] = "not supported",
    [CY_E_AUTH] = "authentication failed",
    [CY_E_DENIED] = "denied",
    [CY_E_IO] = "input/output error",
    [CY_E_TIMEOUT] = "timed out",
    [CY_E_CANCELLED] = "cancelled",
    [CY_E_AGAIN] = "nothing now",
    [CY_E_BUSY] = "busy",
    [CY_E_BUG] = "internal error",
};

const char *err_text(enum cy_err e)
{
	if ((size_t)e >= ARRAY_LEN(words) || !words[e])
		return "unknown error";
	return words[e];
}
