/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	int rc = stop_daemon(o, false);

	return rc == STATUS_OK || rc == STATUS_NO_DAEMON ? start_daemon(o) : rc;
}

const struct verb verb_restart = {
    .name = "restart",
    .args = "",
    .summary = "Stop the daemon if it runs, and start it",
    .help = "Takes the options of start.\n",
    .run = run,
};
