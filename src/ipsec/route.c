/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	struct call c = {.cmd = "route", .args = json_pack("{s:s}", "name", o->argv[0])};

	return call_run(o, &c);
}

const struct verb verb_route = {
    .name = "route",
    .args = "NAME",
    .summary = "Let traffic bring up a connection",
    .help = "Installs trap policies: the first packet between the networks of the connection brings it up.\n",
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
