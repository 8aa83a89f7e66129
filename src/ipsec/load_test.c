/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "ipsec/ipsec.h"

#define PROGRAM "cygnet-load-test"

/* A program of its own, because it is a daemon; beside this tool in the build folder, else where it was installed. */
int load_test(char **argv)
{
	static char path[PATH_MAX + 32];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		snprintf(path, sizeof(path), "%s/" PROGRAM, dirname(self));
		if (access(path, X_OK) == 0)
			execv(path, argv);
	}
	execv(PKGLIBEXECDIR "/" PROGRAM, argv);
	fprintf(stderr, "ipsec: " PKGLIBEXECDIR "/" PROGRAM ": %s\n", strerror(errno));
	return STATUS_FAILED;
}

static int run(const struct options *o)
{
	(void)o;
	return load_test((char *[]){PROGRAM, "--help", NULL});
}

const struct verb verb_load_test = {
    .name = "load-test",
    .args = "--remote ADDRESS",
    .summary = "Set up many tunnels to a gateway, and measure",
    .help = "Its options come after the verb: 'ipsec load-test --help' prints them.\n",
    .min_args = 0,
    .max_args = 0,
    .run = run,
};
