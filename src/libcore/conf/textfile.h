/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files as text, and where their includes are. Private to conf/. The caller frees; any thread. */
#ifndef LIBCORE_CONF_TEXTFILE_H
#define LIBCORE_CONF_TEXTFILE_H

#include <cygnet/types.h>

#define INCLUDE_DEPTH  16
#define TEXT_BYTES_MAX (256u << 20) /* of all files of one configuration together */

struct textfile {
	char *text; /* n bytes and a NUL */
	size_t n;
	uint64_t dev, ino; /* to notice that a file includes itself */
};

/* Reads a regular file of at most max bytes; never waits for a FIFO or a device. *out_why: static or strerror() text. */
enum cy_err textfile_load(
    const char *path, size_t max, struct textfile *out, const char **out_why) CY_MUST_USE;
/* The pattern of an include, relative to the folder of the file it is in. False when it is too long. */
bool textfile_include(const char *from, const char *pattern, char *out, size_t cap);
bool textfile_is_glob(const char *pattern);

#endif
