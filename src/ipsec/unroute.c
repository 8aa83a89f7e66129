/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	struct call c = {.cmd = "unroute", .args = json_pack("{s:s}", "name", o->argv[0])};

	return call_run(o, &c);
}

const struct verb verb_unroute = {
    .name = "unroute",
    .args = "NAME",
    .summary = "Undo route",
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
