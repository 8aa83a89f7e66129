/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a node: by its administrator (up, down, route), or, for tests, to its SAs on their own worker. */
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "daemon/sa/traps.h"
#include "libcore/conf/conf.h"
#include "sim.h"

struct sim_node *sim_node(struct sim *s, const char *name)
{
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (strcmp(s->nodes[i]->name, name) == 0)
			return s->nodes[i];
	return NULL;
}

struct conn *sim_conn(struct sim_node *n, const char *name)
{
	const struct conf *c = n->d && n->d->config ? n->d->config->conf : NULL;

	for (size_t i = 0; c && i < c->n_conns; i++)
		if (strcmp(c->conns[i]->name, name) == 0)
			return c->conns[i];
	return NULL;
}

bool sim_up(struct sim_node *n, const char *conn)
{
	struct conn *c = sim_conn(n, conn);

	if (!c)
		return false;
	sim_memory_enter(n);
	sa_initiate(n->d, c, NULL, 0, NULL, NULL);
	sim_memory_leave();
	return true;
}

void sim_down(struct sim_node *n, const char *what)
{
	if (!n->d)
		return;
	sim_memory_enter(n);
	sa_terminate(n->d, what, NULL, NULL);
	sim_memory_leave();
}

bool sim_route(struct sim_node *n, const char *conn)
{
	struct conn *c = sim_conn(n, conn);
	char why[256];

	return c && traps_route(n->d->traps, c, why, sizeof(why)) == CY_OK;
}

struct deed {
	enum sim_act act;
	char conn[64];
};

static void queue(struct ike_sa *sa, enum task_kind kind, uint64_t child_id)
{
	struct task *t;

	if (task_pending(sa, kind, child_id) || !(t = task_new(kind)))
		return;
	t->child_id = child_id;
	task_queue(sa, t);
}

static void on_child(struct ike_sa *sa, struct child_sa *c, const struct deed *deed)
{
	if (deed->act == SIM_DELETE_CHILD || deed->act == SIM_DELETE_CPU)
		queue(sa, TASK_CHILD_DELETE, c->id);
	else
		child_expire(c, deed->act == SIM_EXPIRE_CHILD);
}

static void on_ike(struct ike_sa *sa, const struct deed *deed)
{
	struct sa_shard *s = sa->shard;
	slab_handle h = sa->handle;
	uint64_t ids[64];
	size_t n_ids = 0;
	struct list *l;

	if (sa->state != IKE_ESTABLISHED)
		return;
	if (deed->act == SIM_REKEY_IKE || deed->act == SIM_REAUTH) {
		if (!sa->conn || strcmp(sa->conn->name, deed->conn) != 0)
			return;
		if (deed->act == SIM_REAUTH)
			sa_reauthenticate(sa);
		else
			queue(sa, TASK_IKE_REKEY, 0);
		return;
	}
	list_foreach (l, &sa->children) {
		struct child_sa *c = list_entry(l, struct child_sa, node);

		if (c->state == CHILD_INSTALLED && n_ids < ARRAY_LEN(ids) &&
		    (deed->act == SIM_DELETE_CPU ? c->cpu == atoi(deed->conn)
		                                 : strcmp(c->conn->name, deed->conn) == 0))
			ids[n_ids++] = c->id;
	}
	/* an exchange that begins and finds no memory may be the end of the IKE_SA */
	for (size_t i = 0; i < n_ids && (sa = slab_get(&s->slab, h)); i++) {
		struct child_sa *c = child_by_id(sa, ids[i]);

		if (c)
			on_child(sa, c, deed);
	}
}

static void each(struct sa_shard *s, void *user)
{
	slab_handle h, all[256];
	size_t pos = 0, n = 0;
	struct ike_sa *sa;

	while (n < ARRAY_LEN(all) && slab_next(&s->slab, &pos, &h))
		all[n++] = h;
	for (size_t i = 0; i < n; i++)
		if ((sa = slab_get(&s->slab, all[i])))
			on_ike(sa, user);
}

void sim_act(struct sim_node *n, enum sim_act act, const char *conn)
{
	struct deed *deed = calloc(1, sizeof(*deed));

	if (!deed || !n->d) {
		free(deed);
		return;
	}
	deed->act = act;
	snprintf(deed->conn, sizeof(deed->conn), "%s", conn);
	if (sa_each_shard(n->d->sas, PRIO_HIGH, each, free, deed))
		free(deed);
}

uint64_t sim_count_sas(struct sim_node *n, int state)
{
	uint64_t count = 0;

	for (uint32_t i = 0; n->d && i < n->d->sas->n; i++) {
		size_t pos = 0;
		slab_handle h;
		struct ike_sa *sa;

		while ((sa = slab_next(&n->d->sas->shards[i].slab, &pos, &h)))
			count += state < 0 || (int)sa->state == state;
	}
	return count;
}

uint64_t sim_count_children(struct sim_node *n, const char *conn)
{
	uint64_t count = 0;

	for (uint32_t i = 0; n->d && i < n->d->sas->n; i++) {
		size_t pos = 0;
		slab_handle h;
		struct ike_sa *sa;
		struct list *l;

		while ((sa = slab_next(&n->d->sas->shards[i].slab, &pos, &h)))
			list_foreach (l, &sa->children)
				count += !conn ||
				    strcmp(list_entry(l, struct child_sa, node)->conn->name, conn) == 0;
	}
	return count;
}
