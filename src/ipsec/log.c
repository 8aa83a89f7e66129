/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "ipsec/ipsec.h"

static void on_item(void *user, const char *list, json_t *data)
{
	char when[32] = "";
	time_t t = (time_t)get_int(data, "time");
	struct tm tm;

	(void)list;
	if (*(const bool *)user) {
		json_dumpf(data, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		if (localtime_r(&t, &tm))
			strftime(when, sizeof(when), "%b %e %T", &tm);
		printf("%s %02lld[%s] ", when, (long long)get_int(data, "thread"), get_str(data, "group"));
		if (has(data, "ike_id"))
			printf("<%s%s%lld%s%s> ", get_str(data, "connection"),
			    has(data, "connection") ? "|" : "", (long long)get_int(data, "ike_id"),
			    has(data, "user") ? "|" : "", get_str(data, "user"));
		puts(get_str(data, "text"));
	}
	fflush(stdout);
}

static int run(const struct options *o)
{
	bool json = o->json;
	struct call c = {.cmd = "log", .item = on_item, .user = &json};

	c.args = json_pack("{s:b}", "follow", o->follow);
	if (o->lines >= 0)
		json_object_set_new(c.args, "lines", json_integer(o->lines));
	return call_run(o, &c);
}

const struct verb verb_log = {
    .name = "log",
    .args = "[-f] [-n LINES]",
    .summary = "The last lines of the daemon's log",
    .help = "  -f, --follow      go on with new lines\n"
            "  -n, --lines N     only the last N; the daemon keeps 1000\n"
            "\n"
            "With --json each line is an object of its own.\n",
    .run = run,
};
