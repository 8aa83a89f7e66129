/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ipsec/ipsec.h"

static void on_data(void *user, json_t *data)
{
	(void)user;
	printf("daemon %s\n", get_str(data, "version"));
}

static int run(const struct options *o)
{
	static const char *const lists[] = {NULL};
	struct call c = {.cmd = "version", .data = on_data, .quiet = true};
	struct json_out *j = NULL;

	if (o->json) {
		j = json_out_new(lists);
		json_out_data(j, json_pack("{s:s}", "tool", PACKAGE_VERSION));
		c.data = json_out_data;
		c.user = j;
	} else {
		puts("ipsec (cygnet) " PACKAGE_VERSION);
	}
	/* a daemon that does not run has no version; that is no failure */
	(void)call_run(o, &c);
	if (j)
		json_out_end(j);
	return STATUS_OK;
}

const struct verb verb_version = {
    .name = "version",
    .args = "",
    .summary = "Versions of this tool and of the daemon that runs",
    .run = run,
};
