/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipsec/ipsec.h"

static void wrap(const char *indent, const char *text)
{
	size_t at = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (at && at + 1 + n > 100) {
			putchar('\n');
			at = 0;
		}
		at += (size_t)printf("%s%.*s", at ? " " : indent, (int)n, text);
		text += n;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void on_data(void *user, json_t *d)
{
	(void)user;
	if (!get_int(d, "limits"))
		printf(
		    "Nothing limits it: that is what %.1f seconds show.\n", get_num(d, "interval_ms") / 1000);
	if (!get_bool(d, "sas_seen"))
		printf("A worker did not answer in time: algorithms of its SAs were not looked at.\n");
}

static void on_item(void *user, const char *list, json_t *data)
{
	const char *level = get_str(data, "level");

	(void)user;
	(void)list;
	printf("%s [%s]\n",
	    strcmp(level, "limits") == 0      ? "LIMIT"
	        : strcmp(level, "warns") == 0 ? "WARNING"
	                                      : "EARLIER",
	    get_str(data, "id"));
	wrap("  ", get_str(data, "text"));
	wrap("  -> ", get_str(data, "advice"));
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"findings", NULL};
	struct call c = {.cmd = "doctor", .data = on_data, .item = on_item};

	if (!seconds_arg(o, &c.args))
		return STATUS_USAGE;
	return call_list(o, &c, lists);
}

const struct verb verb_doctor = {
    .name = "doctor",
    .args = "[SECONDS]",
    .summary = "What limits the daemon now, with the numbers and what to change",
    .help = "It looks for two seconds, or as long as is said.\n",
    .max_args = 1,
    .run = run,
};
