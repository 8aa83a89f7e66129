/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "ipsec/ipsec.h"

static void on_item(void *user, const char *list, json_t *data)
{
	char since[32] = "", owner[256];
	time_t t = (time_t)get_int(data, "since");
	struct tm tm;

	(void)user;
	if (strcmp(list, "pools") == 0) {
		printf("Pool %s: %lld addresses, %lld online, %lld offline\n", get_str(data, "name"),
		    (long long)get_int(data, "size"), (long long)get_int(data, "online"),
		    (long long)get_int(data, "offline"));
		return;
	}
	if (localtime_r(&t, &tm))
		strftime(since, sizeof(since), "%F %T", &tm);
	snprintf(owner, sizeof(owner), "'%s'", get_str(data, "owner"));
	printf("  %-20s %-8s %-40s since %s\n", get_str(data, "address"),
	    get_bool(data, "online") ? "online" : "offline", owner, since);
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"pools", NULL};
	struct call c = {.cmd = "leases", .item = on_item};

	return call_list(o, &c, lists);
}

const struct verb verb_leases = {
    .name = "leases",
    .args = "",
    .summary = "Virtual addresses and who has them",
    .run = run,
};
