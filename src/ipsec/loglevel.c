/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	struct call c = {.cmd = "loglevel"};

	c.args = o->argc == 2 ? json_pack("{s:s,s:s}", "group", o->argv[0], "level", o->argv[1])
	                      : json_pack("{s:s}", "level", o->argv[0]);
	return call_run(o, &c);
}

const struct verb verb_loglevel = {
    .name = "loglevel",
    .args = "[GROUP] LEVEL",
    .summary = "Log more or less, until the next reload",
    .help = "LEVEL is error, warn, notice, info, debug or trace; GROUP is dmn, mgr, ike, chd, job, cfg, knl, "
            "net, enc, lib,\n"
            "esp or all.\n",
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
