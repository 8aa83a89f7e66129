/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to plugins that may say no: they wait in the plugin's queue for its thread, as many as the limit. */
#include <stdlib.h>

#include "libcore/plugin/private.h"

/* A copy of the question that lives until the plugin was asked. */
struct plugin_ask {
	struct plugin_call call; /* first: it is freed as one */
	const struct cy_authorize_ops *ops;
	void *instance;
	uint64_t id;
	struct cy_authorize_question q;
	char text[];
};

static void ask_run(struct plugin_call *c)
{
	struct plugin_ask *a = container_of(c, struct plugin_ask, call);

	atomic_fetch_sub(&c->plugin->n_asks, 1);
	a->ops->ask(a->instance, a->id, &a->q);
}

static struct plugin *owner_of(const struct plugins *all, const struct plugin_provided *pv)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->p[i]->name, pv->owner) == 0)
			return all->p[i];
	return NULL;
}

static const struct plugin_provided *nth(const struct plugins *all, size_t i)
{
	for (size_t k = 0; k < atomic_load(&all->n_provided); k++)
		if (all->provided[k].kind == CY_KIND_AUTHORIZE && i-- == 0)
			return &all->provided[k];
	return NULL;
}

const char *plugins_asked_name(const struct plugins *all, size_t i)
{
	const struct plugin_provided *pv = nth(all, i);

	return pv ? pv->name : NULL;
}

static const char *put(char **at, const char *text)
{
	char *here = *at;
	size_t n = text ? strlen(text) + 1 : 1;

	memcpy(here, text ? text : "", n);
	*at += n;
	return here;
}

enum cy_err plugins_ask(
    struct plugins *all, size_t i, uint64_t id, const struct cy_authorize_question *q, uint32_t max_queued)
{
	const struct plugin_provided *pv = nth(all, i);
	struct plugin *p = pv ? owner_of(all, pv) : NULL;
	struct plugin_ask *a;
	char *at;
	enum cy_err e;

	if (!pv)
		return CY_E_NOTFOUND;
	if (!p) { /* built in: it has no thread, and does not wait */
		((const struct cy_authorize_ops *)pv->ops)->ask(pv->plugin, id, q);
		return CY_OK;
	}
	e = plugin_thread_need(p);
	if (e)
		return e;
	a = calloc(1,
	    sizeof(*a) + strlen(q->conn) + strlen(q->local_id) + strlen(q->remote_id) + strlen(q->user) + 4);
	if (!a)
		return CY_E_NOMEM;
	if (atomic_fetch_add(&p->n_asks, 1) >= max_queued) {
		atomic_fetch_sub(&p->n_asks, 1);
		free(a);
		return CY_E_LIMIT;
	}
	at = a->text;
	a->q = *q;
	a->q.conn = put(&at, q->conn);
	a->q.local_id = put(&at, q->local_id);
	a->q.remote_id = put(&at, q->remote_id);
	a->q.user = put(&at, q->user);
	a->ops = pv->ops;
	a->instance = pv->plugin;
	a->id = id;
	a->call.plugin = plugin_ref(p);
	a->call.run = ask_run;
	plugin_call_post(&a->call);
	return CY_OK;
}
