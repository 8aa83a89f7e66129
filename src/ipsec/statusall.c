/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	static const char *const lists[] = {
	    "connections", "routed", "ike_sas", "esp_cpus", "esp_queues", NULL};

	return status_run(o, "statusall", lists);
}

const struct verb verb_statusall = {
    .name = "statusall",
    .args = "[NAME]",
    .summary = "The daemon, its connections, security associations and counters",
    .max_args = 1,
    .run = run,
};
