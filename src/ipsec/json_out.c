/* SPDX-License-Identifier: Apache-2.0 */
/* --json: the events of a query as one object. Only what is nested is kept; a hundred thousand SAs pass through. */
#include <stdlib.h>
#include <string.h>

#include "ipsec/ipsec.h"

#define LISTS_MAX 8

struct json_out {
	const char *const *lists;
	bool seen[LISTS_MAX];
	bool open;     /* the object has members */
	char list[32]; /* being written, "" none */
	bool first;    /* of that list */
	json_t *held;  /* the ike_sas item that waits for its children */
	json_t *pools; /* all of them */
};

struct json_out *json_out_new(const char *const *lists)
{
	struct json_out *j = calloc(1, sizeof(*j));

	if (!j)
		exit(STATUS_FAILED);
	j->lists = lists;
	putchar('{');
	return j;
}

static void dump(const json_t *v)
{
	json_dumpf(v, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void key(struct json_out *j, const char *name)
{
	printf("%s\n\"%s\":", j->open ? "," : "", name);
	j->open = true;
}

static void element(struct json_out *j, const json_t *v)
{
	printf("%s\n  ", j->first ? "" : ",");
	j->first = false;
	dump(v);
}

static void flush_held(struct json_out *j)
{
	if (j->held)
		element(j, j->held);
	json_decref(j->held);
	j->held = NULL;
}

static void close_list(struct json_out *j)
{
	flush_held(j);
	if (*j->list)
		putchar(']');
	j->list[0] = '\0';
}

static void open_list(struct json_out *j, const char *name)
{
	if (strcmp(j->list, name) == 0)
		return;
	close_list(j);
	key(j, name);
	putchar('[');
	snprintf(j->list, sizeof(j->list), "%s", name);
	j->first = true;
	for (size_t i = 0; j->lists[i] && i < LISTS_MAX; i++)
		j->seen[i] |= strcmp(j->lists[i], name) == 0;
}

void json_out_data(void *out, json_t *data)
{
	struct json_out *j = out;
	const char *name;
	json_t *v;

	close_list(j);
	json_object_foreach(data, name, v)
	{
		key(j, name);
		dump(v);
	}
}

static void add_lease(struct json_out *j, json_t *lease)
{
	size_t i;
	json_t *pool;

	json_array_foreach(j->pools, i, pool) if (strcmp(get_str(pool, "name"), get_str(lease, "pool")) == 0)
	    json_array_append(json_object_get(pool, "leases"), lease);
}

void json_out_item(void *out, const char *list, json_t *data)
{
	struct json_out *j = out;

	if (strcmp(list, "children") == 0 && j->held) {
		json_array_append(json_object_get(j->held, "children"), data);
	} else if (strcmp(list, "pools") == 0) {
		if (!j->pools)
			j->pools = json_array();
		json_object_set_new(data, "leases", json_array());
		json_array_append(j->pools, data);
	} else if (strcmp(list, "leases") == 0) {
		add_lease(j, data);
	} else {
		open_list(j, list);
		flush_held(j);
		if (strcmp(list, "ike_sas") == 0) {
			json_object_set_new(data, "children", json_array());
			j->held = json_incref(data);
		} else {
			element(j, data);
		}
	}
}

void json_out_end(struct json_out *j)
{
	size_t i;
	json_t *pool;

	json_array_foreach(j->pools, i, pool)
	{
		open_list(j, "pools");
		element(j, pool);
	}
	close_list(j);
	for (i = 0; j->lists[i] && i < LISTS_MAX; i++)
		if (!j->seen[i]) {
			key(j, j->lists[i]);
			fputs("[]", stdout);
		}
	puts("\n}");
	json_decref(j->pools);
	free(j);
}

int call_list(const struct options *o, struct call *c, const char *const *lists)
{
	struct json_out *j = NULL;
	int rc;

	if (o->json) {
		c->user = j = json_out_new(lists);
		c->data = json_out_data;
		c->item = json_out_item;
	}
	rc = call_run(o, c);
	if (j)
		json_out_end(j);
	return rc;
}
