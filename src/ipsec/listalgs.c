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

static void on_speed(void *user, const char *list, json_t *data)
{
	static char last[32];
	const char *kind = get_str(data, "kind");
	char name[64];

	(void)user;
	(void)list;
	if (strcmp(kind, last) != 0)
		printf("%s:\n", kind);
	snprintf(last, sizeof(last), "%s", kind);
	snprintf(name, sizeof(name), "%s", get_str(data, "name"));
	if (has(data, "key_bits"))
		snprintf(name, sizeof(name), "%s_%lld", get_str(data, "name"),
		    (long long)get_int(data, "key_bits"));
	if (has(data, "per_second"))
		printf("  %-32s %10.1f us  %9lld a second\n", name, get_num(data, "ns") / 1000,
		    (long long)get_int(data, "per_second"));
	else
		printf("  %-32s %10.2f us  %9lld Mbit/s in packets of 1392 bytes\n", name,
		    get_num(data, "ns") / 1000, (long long)get_int(data, "mbit_per_second"));
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"algorithms", NULL}, *const speeds[] = {"speeds", NULL};
	struct call c = {.cmd = "listalgs", .item = o->speed ? on_speed : on_item};

	if (o->speed)
		c.args = json_pack("{s:b}", "speed", 1);
	return call_list(o, &c, o->speed ? speeds : lists);
}

const struct verb verb_listalgs = {
    .name = "listalgs",
    .args = "[--speed]",
    .summary = "Algorithms that passed their tests, and which plugin has them",
    .help = "  --speed   what each costs on this machine instead, measured by the daemon\n",
    .run = run,
};
