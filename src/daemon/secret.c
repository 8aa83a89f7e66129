/* SPDX-License-Identifier: Apache-2.0 */
/* The secret from which tokens of quick crash detection are made: it outlives the process, or they would prove nothing. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/run_impl.h"
#include "daemon/sa/manager.h"
#include "libcore/base/secret.h"
#include "libcore/conf/settings.h"

/* Complete before it has its name, so that a crash leaves none that is short. */
static bool write_secret(const char *path, const uint8_t *secret, size_t n)
{
	char fresh[4096];
	bool ok;
	int fd;

	if (snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh))
		return false;
	(void)unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	ok = write(fd, secret, n) == (ssize_t)n && fsync(fd) == 0;
	close(fd);
	if (ok)
		ok = rename(fresh, path) == 0;
	if (!ok)
		(void)unlink(fresh);
	return ok;
}

void load_crash_secret(struct run *r)
{
	struct daemon *d = &r->d;
	const char *path = settings_str(d->settings, "crash_secret");
	uint8_t *secret = d->sas->crash_secret;
	size_t n = sizeof(d->sas->crash_secret);
	int fd;

	d->env->random(d->env, secret, n);
	if (!d->tune.crash_detection || d->env->simulated)
		return;
	if (!path || !*path)
		path = STATEDIR "/crash.secret";
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		uint8_t kept[sizeof(d->sas->crash_secret)];
		bool ok = read(fd, kept, n) == (ssize_t)n;

		close(fd);
		if (ok)
			memcpy(secret, kept, n);
		mem_wipe(kept, sizeof(kept));
		if (ok)
			return;
	}
	if (!write_secret(path, secret, n))
		LOGF(d->log, LOG_CFG, CY_LOG_WARN, NULL,
		    "%s: %s: after a crash peers will not learn of it by a token (RFC 6290)", path,
		    strerror(errno));
}
