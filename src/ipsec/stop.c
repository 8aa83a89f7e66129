/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	return stop_daemon(o, true);
}

const struct verb verb_stop = {
    .name = "stop",
    .args = "",
    .summary = "Stop the daemon: peers are told, then it ends",
    .run = run,
};
