/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

int status_run(const struct options *o, const char *cmd, const char *const *lists)
{
	struct call c = {.cmd = cmd};
	struct json_out *j = NULL;
	int rc;

	if (o->argc)
		c.args = json_pack("{s:s}", "name", o->argv[0]);
	if (o->json) {
		c.user = j = json_out_new(lists);
		c.data = json_out_data;
		c.item = json_out_item;
	} else {
		c.data = status_print_data;
		c.item = status_print_item;
	}
	rc = call_run(o, &c);
	if (j)
		json_out_end(j);
	else if (rc == STATUS_OK)
		status_print_end();
	return rc;
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"routed", "ike_sas", NULL};

	return status_run(o, "status", lists);
}

const struct verb verb_status = {
    .name = "status",
    .args = "[NAME]",
    .summary = "Security associations, briefly",
    .max_args = 1,
    .run = run,
};
