/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	struct call c = {.cmd = "down", .args = json_pack("{s:s}", "name", o->argv[0])};
	int rc = call_run(o, &c);

	if (rc == STATUS_OK)
		printf("%s is down\n", o->argv[0]);
	return rc;
}

const struct verb verb_down = {
    .name = "down",
    .args = "NAME",
    .summary = "Close a connection",
    .help = "  NAME        all IKE_SAs of the connection, and its CHILD_SAs in others\n"
            "  NAME[5]     IKE_SA number 5\n"
            "  NAME{}      all CHILD_SAs of the connection; their IKE_SAs stay\n"
            "  NAME{7}     CHILD_SA number 7\n"
            "\n"
            "Returns when they are closed; status 5 when there are none, 6 when the peer has not answered "
            "within 10 s.\n",
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
