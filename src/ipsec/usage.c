/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipsec/ipsec.h"

static double total_us;

static double percent(const json_t *o)
{
	return total_us > 0 ? 100 * get_num(o, "cpu_us") / total_us : 0;
}

static double each(const json_t *o, const char *key)
{
	return get_int(o, "count") ? get_num(o, key) / get_num(o, "count") : 0;
}

static bool heading(json_t *list, const char *text)
{
	if (json_array_size(list))
		printf("%s\n", text);
	return json_array_size(list) != 0;
}

/* Rows of what is charged with the workers' CPU time. */
static void print_cells(json_t *d, const char *key, const char *title, const char *a, const char *b)
{
	json_t *list = json_object_get(d, key), *o;
	size_t i;

	if (!heading(list, title))
		return;
	json_array_foreach(list, i, o)
	{
		char name[160];

		snprintf(name, sizeof(name), "%s%s%s", get_str(o, a), b ? ", " : "", b ? get_str(o, b) : "");
		printf("  %-44s %10lld  %10.1f ms %5.1f %%  %8.1f us each", name,
		    (long long)get_int(o, "count"), get_num(o, "cpu_us") / 1000, percent(o),
		    each(o, "cpu_us"));
		if (get_int(o, "over_us"))
			printf(", at most %.1f ms of it somebody else's", get_num(o, "over_us") / 1000);
		putchar('\n');
	}
}

/* Rows of what takes time elsewhere. */
static void print_times(
    json_t *d, const char *key, const char *title, const char *a, const char *b, const char *c)
{
	json_t *list = json_object_get(d, key), *o;
	size_t i;

	if (!heading(list, title))
		return;
	json_array_foreach(list, i, o)
	{
		char name[160];

		snprintf(name, sizeof(name), "%s%s%s", get_str(o, a), b ? " " : "", b ? get_str(o, b) : "");
		printf("  %-44s %10lld  %10.1f ms          %8.1f us each", name,
		    (long long)get_int(o, "count"), get_num(o, "us") / 1000, each(o, "us"));
		if (c && *get_str(o, c))
			printf("  (%s)", get_str(o, c));
		if (get_int(o, "failed"))
			printf(", %lld failed", (long long)get_int(o, "failed"));
		putchar('\n');
	}
}

static void print_threads(json_t *d)
{
	json_t *list = json_object_get(d, "threads"), *o;
	double ms = get_num(d, "interval_ms");
	size_t i;

	if (!heading(list, "Threads: CPU time, and time spent waiting for a CPU"))
		return;
	json_array_foreach(list, i, o)
	{
		if (!get_int(o, "cpu_us"))
			continue;
		printf("  %-16s %8lld  %10.1f ms %5.1f %%  waited %10.1f ms\n", get_str(o, "name"),
		    (long long)get_int(o, "tid"), get_num(o, "cpu_us") / 1000,
		    ms > 0 ? get_num(o, "cpu_us") / 10 / ms : 0, get_num(o, "waited_us") / 1000);
	}
}

static void print_waits(json_t *d)
{
	json_t *list = json_object_get(d, "waits"), *o;
	size_t i;

	if (!heading(list, "Waiting in queues"))
		return;
	json_array_foreach(list, i, o)
	{
		char name[160];

		snprintf(name, sizeof(name), "%s %s", get_str(o, "queue"), get_str(o, "owner"));
		printf("  %-44s %10lld  p50 %lld us, p99 %lld us, max ever %lld us\n", name,
		    (long long)get_int(o, "count"), (long long)get_int(o, "p50_us"),
		    (long long)get_int(o, "p99_us"), (long long)get_int(o, "max_us"));
	}
}

static void on_data(void *user, json_t *d)
{
	json_t *w;
	double ms = get_num(d, "interval_ms"), cpu = 0;
	size_t i, n = json_array_size(json_object_get(d, "workers"));

	(void)user;
	json_array_foreach(json_object_get(d, "workers"), i, w) cpu += get_num(w, "cpu_us");
	json_array_foreach(json_object_get(d, "jobs"), i, w) total_us += get_num(w, "cpu_us");
	printf("%.1f seconds, %lld CPUs: the process used %.1f ms of CPU time (%.2f %% of a CPU), its %zu "
	       "workers %.1f ms.\n",
	    ms / 1000, (long long)get_int(d, "cpus"), get_num(d, "process_cpu_us") / 1000,
	    ms > 0 ? get_num(d, "process_cpu_us") / 10 / ms : 0, n, cpu / 1000);
	print_cells(d, "jobs", "Workers, by job kind and priority", "kind", "priority");
	print_cells(d, "exchanges", "Workers, by exchange and state", "exchange", "state");
	print_cells(d, "connections", "Workers, by connection", "name", NULL);
	print_cells(d, "peers", "Workers, by peer or user, the costliest", "name", NULL);
	print_times(d, "crypto", "Crypto, on workers and pool", "operation", "algorithm", "plugin");
	print_times(d, "kernel", "Data plane", "operation", NULL, NULL);
	print_times(d, "pool", "Pool, by owner", "owner", NULL, NULL);
	print_times(d, "plugins", "Plugins, by hook", "plugin", "hook", NULL);
	print_threads(d);
	print_waits(d);
}

static int run(const struct options *o)
{
	static const char *const lists[] = {NULL};
	struct call c = {.cmd = "usage", .data = on_data};
	struct json_out *j = NULL;
	int rc;

	if (!seconds_arg(o, &c.args))
		return STATUS_USAGE;
	if (o->json) {
		c.user = j = json_out_new(lists);
		c.data = json_out_data;
	}
	rc = call_run(o, &c);
	if (j)
		json_out_end(j);
	return rc;
}

const struct verb verb_usage = {
    .name = "usage",
    .args = "[SECONDS]",
    .summary = "Where the time goes, since the start or in the next seconds",
    .max_args = 1,
    .run = run,
};
