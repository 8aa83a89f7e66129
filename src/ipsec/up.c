/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static void on_progress(void *user, const char *level, const char *text)
{
	(void)user;
	(void)level;
	puts(text);
	fflush(stdout);
}

static int run(const struct options *o)
{
	struct call c = {.cmd = "up",
	    .args = json_pack("{s:s,s:b}", "name", o->argv[0], "another", o->another),
	    .progress = on_progress};
	int rc = call_run(o, &c);

	if (rc == STATUS_OK)
		printf("connection %s is up\n", o->argv[0]);
	return rc;
}

const struct verb verb_up = {
    .name = "up",
    .args = "[--another] NAME",
    .summary = "Bring up a connection and show how it goes",
    .help = "Returns when the connection is up or has failed; then the reason is the last line, on standard "
            "error.\n"
            "A connection that is up already stays as it is; --another makes one more CHILD_SA of it.\n"
            "Interrupting this does not stop the daemon from trying.\n",
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
