/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The size that fstat() told is only where to begin. */
static enum cy_err slurp(int fd, size_t expected, size_t max, struct textfile *out)
{
	size_t cap = expected + 2, n = 0;
	char *buf = malloc(cap);

	while (buf) {
		ssize_t got = read(fd, buf + n, cap - n - 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			free(buf);
			return CY_E_IO;
		}
		if (got == 0) {
			buf[n] = 0;
			out->text = buf;
			out->n = n;
			return CY_OK;
		}
		n += (size_t)got;
		if (n > max) {
			free(buf);
			return CY_E_LIMIT;
		}
		if (n == cap - 1) {
			char *bigger = realloc(buf, cap *= 2);

			if (!bigger)
				free(buf);
			buf = bigger;
		}
	}
	return CY_E_NOMEM;
}

enum cy_err textfile_load(const char *path, size_t max, struct textfile *out, const char **out_why)
{
	/* a FIFO in its place must not hold us up, nor may a terminal become ours */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct textfile t = {0};
	enum cy_err err;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		*out_why = strerror(errno);
		err = errno == ENOENT ? CY_E_NOTFOUND : errno == EACCES ? CY_E_DENIED : CY_E_IO;
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (!S_ISREG(st.st_mode)) {
		*out_why = "it is no regular file";
		close(fd);
		return CY_E_INVAL;
	}
	t.dev = (uint64_t)st.st_dev;
	t.ino = (uint64_t)st.st_ino;
	err = (uint64_t)st.st_size > max ? CY_E_LIMIT : slurp(fd, (size_t)st.st_size, max, &t);
	if (err)
		*out_why = err == CY_E_LIMIT ? "the files together are larger than 256 MiB"
		    : err == CY_E_NOMEM      ? "out of memory"
		                             : strerror(errno);
	else
		*out = t;
	close(fd);
	return err;
}

bool textfile_include(const char *from, const char *pattern, char *out, size_t cap)
{
	const char *slash = strrchr(from, '/');
	int n;

	if (*pattern == '/' || !slash)
		n = snprintf(out, cap, "%s", pattern);
	else
		n = snprintf(out, cap, "%.*s/%s", (int)(slash - from), from, pattern);
	return n >= 0 && (size_t)n < cap;
}

bool textfile_is_glob(const char *pattern)
{
	return strpbrk(pattern, "*?[{") != NULL;
}
