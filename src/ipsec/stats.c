/* SPDX-License-Identifier: Apache-2.0 */
#include "ipsec/ipsec.h"

static int run(const struct options *o)
{
	static const char *const lists[] = {NULL};
	struct call c = {.cmd = "stats"};
	struct json_out *j = NULL;
	int rc;

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

const struct verb verb_stats = {
    .name = "stats",
    .args = "",
    .summary = "Counters of the daemon without connections and SAs",
    .max_args = 0,
    .run = run,
};
