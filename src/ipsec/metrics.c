/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenMetrics text format, version 1.0: counters end in _total, label values are quoted, the end is marked. */
#include <string.h>

#include "ipsec/ipsec.h"

static void print_escaped(const char *s)
{
	for (; *s; s++)
		if (*s == '\\' || *s == '"')
			printf("\\%c", *s);
		else if (*s == '\n')
			printf("\\n");
		else
			putchar(*s);
}

static void print_labels(json_t *labels)
{
	const char *key;
	json_t *v;
	int n = 0;

	json_object_foreach(labels, key, v)
	{
		printf("%s%s=\"", n++ ? "," : "{", key);
		print_escaped(json_string_value(v) ? json_string_value(v) : "");
		putchar('"');
	}
	if (n)
		putchar('}');
}

/* A unit in the name must be declared (OpenMetrics 1.0, "Metric name suffixes"). */
static const char *unit_of(const char *name)
{
	static const char *const units[] = {"seconds", "bytes"};
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t k = strlen(units[i]);

		if (n > k && name[n - k - 1] == '_' && strcmp(name + n - k, units[i]) == 0)
			return units[i];
	}
	return NULL;
}

static void on_item(void *user, const char *list, json_t *d)
{
	const char *name = get_str(d, "name"), *type = get_str(d, "type"), *unit = unit_of(name);
	json_t *s;
	size_t i;

	(void)user;
	(void)list;
	printf("# TYPE %s %s\n", name, type);
	if (unit)
		printf("# UNIT %s %s\n", name, unit);
	printf("# HELP %s ", name);
	print_escaped(get_str(d, "help"));
	putchar('\n');
	json_array_foreach(json_object_get(d, "samples"), i, s)
	{
		printf("%s%s", name,
		    strcmp(type, "counter") == 0    ? "_total"
		        : strcmp(type, "info") == 0 ? "_info"
		                                    : "");
		print_labels(json_object_get(s, "labels"));
		printf(" %.15g\n", get_num(s, "value"));
	}
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"metrics", NULL};
	struct call c = {.cmd = "metrics", .item = on_item};
	struct json_out *j = NULL;
	int rc;

	if (o->json) {
		c.user = j = json_out_new(lists);
		c.item = json_out_item;
	}
	rc = call_run(o, &c);
	if (j)
		json_out_end(j);
	else if (rc == STATUS_OK)
		puts("# EOF");
	return rc;
}

const struct verb verb_metrics = {
    .name = "metrics",
    .args = "",
    .summary = "Counters in the OpenMetrics format, by connection and user, too",
    .max_args = 0,
    .run = run,
};
