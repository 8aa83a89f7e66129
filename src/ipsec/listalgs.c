/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipsec/ipsec.h"

static void on_item(void *user, const char *list, json_t *data)
{
	static char last[32];
	const char *kind = get_str(data, "kind");

	(void)user;
	(void)list;
	if (strcmp(kind, last) != 0)
		printf("%s:\n", kind);
	snprintf(last, sizeof(last), "%s", kind);
	printf("  %-32s %5lld  %s%s\n", get_str(data, "name"), (long long)get_int(data, "number"),
	    get_str(data, "plugin"), get_bool(data, "chosen") ? "" : " (second choice)");
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"algorithms", NULL};
	struct call c = {.cmd = "listalgs", .item = on_item};
	struct json_out *j = NULL;
	int rc;

	if (o->json) {
		c.user = j = json_out_new(lists);
		c.item = json_out_item;
	}
	rc = call_run(o, &c);
	if (j)
		json_out_end(j);
	return rc;
}

const struct verb verb_listalgs = {
    .name = "listalgs",
    .args = "",
    .summary = "Algorithms that passed their tests, and which plugin has them",
    .run = run,
};
