/* SPDX-License-Identifier: Apache-2.0 */
/* Words for numbers, and JSON members with what stands for an absent one. */
#include <stdlib.h>
#include <string.h>

#include "ipsec/ipsec.h"

const char *get_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

int64_t get_int(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

double get_num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

bool get_bool(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

bool has(const json_t *o, const char *key)
{
	return json_object_get(o, key) != NULL;
}

static const char *unit(int64_t n, const char *name, char out[64])
{
	snprintf(out, 64, "%lld %s%s", (long long)n, name, n == 1 ? "" : "s");
	return out;
}

const char *text_duration(int64_t s, char out[64])
{
	if (s < 0)
		s = 0;
	if (s < 120)
		return unit(s, "second", out);
	if (s < 2 * 3600)
		return unit(s / 60, "minute", out);
	if (s < 2 * 86400)
		return unit(s / 3600, "hour", out);
	return unit(s / 86400, "day", out);
}

const char *text_bytes(uint64_t n, char out[64])
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)n;
	int u = 0;

	while (v >= 10000 && u < 4) {
		v /= 1024;
		u++;
	}
	snprintf(out, 64, u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return out;
}

void print_list(const char *indent, const char *title, const json_t *array)
{
	size_t i;
	json_t *v;

	printf("%s%s:", indent, title);
	json_array_foreach(array, i, v)
	    printf("%s %s", i ? "," : "", json_string_value(v) ? json_string_value(v) : "");
	putchar('\n');
}

bool seconds_arg(const struct options *o, json_t **out)
{
	char *end;
	double s;

	*out = NULL;
	if (!o->argc)
		return true;
	s = strtod(o->argv[0], &end);
	if (*end || end == o->argv[0] || !(s > 0) || s > 3600) {
		fprintf(stderr, "ipsec: '%s' is not a number of seconds up to 3600\n", o->argv[0]);
		return false;
	}
	*out = json_pack("{s:f}", "seconds", s);
	return true;
}
