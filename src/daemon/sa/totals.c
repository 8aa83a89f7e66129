/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/totals.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/sa/manager.h"

#define ENTRIES_MAX 65536

struct entry {
	struct hnode by_name;
	struct entry *next; /* in order of appearance */
	struct totals_counts c;
	char name[];
};

struct totals {
	pthread_mutex_t lock;
	struct hmap names[TOTALS_KIND_N];
	struct entry *first[TOTALS_KIND_N], **last[TOTALS_KIND_N];
	size_t n[TOTALS_KIND_N];
};

enum cy_err totals_new(const uint64_t key[2], struct totals **out)
{
	struct totals *t = calloc(1, sizeof(*t));

	if (!t)
		return CY_E_NOMEM;
	pthread_mutex_init(&t->lock, NULL);
	for (int k = 0; k < TOTALS_KIND_N; k++) {
		t->last[k] = &t->first[k];
		if (hmap_init(&t->names[k], key)) {
			totals_free(t);
			return CY_E_NOMEM;
		}
	}
	*out = t;
	return CY_OK;
}

void totals_free(struct totals *t)
{
	if (!t)
		return;
	for (int k = 0; k < TOTALS_KIND_N; k++) {
		while (t->first[k]) {
			struct entry *e = t->first[k];

			t->first[k] = e->next;
			free(e);
		}
		hmap_fini(&t->names[k]);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct entry *find(struct totals *t, enum totals_kind k, const char *name)
{
	uint64_t hash = hmap_hash(&t->names[k], name, strlen(name));
	struct entry *e;

	for (struct hnode *n = hmap_first(&t->names[k], hash); n; n = hmap_next(n))
		if (strcmp(container_of(n, struct entry, by_name)->name, name) == 0)
			return container_of(n, struct entry, by_name);
	if (t->n[k] >= ENTRIES_MAX && *name)
		return find(t, k, "");
	e = calloc(1, sizeof(*e) + strlen(name) + 1);
	if (!e)
		return NULL;
	strcpy(e->name, name);
	hmap_add(&t->names[k], &e->by_name, hash);
	*t->last[k] = e;
	t->last[k] = &e->next;
	t->n[k]++;
	return e;
}

static void add(struct totals_counts *to, const struct totals_counts *c)
{
	const uint64_t *from = (const uint64_t *)c;
	uint64_t *n = (uint64_t *)to;

	for (size_t i = 0; i < sizeof(*c) / sizeof(*n); i++)
		n[i] += from[i];
}

void totals_add(struct totals *t, const char *conn, const char *user, const struct totals_counts *c)
{
	const char *const names[TOTALS_KIND_N] = {conn, user};

	pthread_mutex_lock(&t->lock);
	for (int k = 0; k < TOTALS_KIND_N; k++) {
		struct entry *e = names[k] ? find(t, (enum totals_kind)k, names[k]) : NULL;

		if (e)
			add(&e->c, c);
	}
	pthread_mutex_unlock(&t->lock);
}

void totals_list(struct totals *t,
    void (*cb)(void *user, enum totals_kind kind, const char *name, const struct totals_counts *c),
    void *user)
{
	for (int k = 0; k < TOTALS_KIND_N; k++) {
		struct entry *e;

		/* entries stay where they are and only come at the end: the lock is held for one at a time */
		pthread_mutex_lock(&t->lock);
		e = t->first[k];
		pthread_mutex_unlock(&t->lock);
		while (e) {
			struct totals_counts c;
			struct entry *next;

			pthread_mutex_lock(&t->lock);
			c = e->c;
			next = e->next;
			pthread_mutex_unlock(&t->lock);
			cb(user, (enum totals_kind)k, e->name, &c);
			e = next;
		}
	}
}

const char *totals_user(const struct ike_sa *sa, char out[IDENT_STR_MAX])
{
	const char *user = unique_user(sa);

	if (!sa->established_ns)
		return NULL;
	return user ? user : ident_str(&sa->peer_id, out);
}

void totals_ike(const struct ike_sa *sa, const struct totals_counts *c)
{
	char user[IDENT_STR_MAX];

	totals_add(sa->shard->m->totals, sa->conn ? sa->conn->name : NULL, totals_user(sa, user), c);
}

static uint64_t more(uint64_t now, uint64_t *before)
{
	uint64_t n = now > *before ? now - *before : 0;

	*before = now;
	return n;
}

void totals_traffic(struct child_sa *c, bool in, const struct cy_kernel_sa_stats *st)
{
	struct totals_counts add = {0};
	char user[IDENT_STR_MAX];

	if (in) {
		add.bytes_in = more(st->bytes, &c->bytes_in);
		add.packets_in = more(st->packets, &c->packets_in);
		c->last_in_wall = st->last_used;
	} else {
		add.bytes_out = more(st->bytes, &c->bytes_out);
		add.packets_out = more(st->packets, &c->packets_out);
		c->last_out_wall = st->last_used;
	}
	if (add.packets_in || add.packets_out)
		totals_add(
		    c->shard->m->totals, c->conn ? c->conn->name : NULL, totals_user(c->sa, user), &add);
}
