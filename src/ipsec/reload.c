/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipsec/ipsec.h"

static void on_progress(void *user, const char *level, const char *text)
{
	bool bad = strcmp(level, "error") == 0 || strcmp(level, "warning") == 0;

	(void)user;
	fprintf(bad ? stderr : stdout, "%s%s%s\n", bad ? level : "", bad ? ": " : "", text);
}

static int run(const struct options *o)
{
	struct call c = {.cmd = "reload", .progress = on_progress};

	return call_run(o, &c);
}

const struct verb verb_reload = {
    .name = "reload",
    .args = "",
    .summary = "Read the configuration again",
    .help = "Only connections that differ are touched, and what is established stays. When the files cannot "
            "be used\n"
            "the old configuration goes on, and the exit status is 1.\n",
    .run = run,
};
