/* SPDX-License-Identifier: Apache-2.0 */
/* Two plugins of each node that may say no to a peer (authorize.h). They are slow, refuse or never answer, as the node has it. */
#include <stdlib.h>

#include <cygnet/authorize.h>

#include "daemon/sa/authorize.h"
#include "libcore/plugin/loader.h"
#include "sim.h"

/* An answer on its way. */
struct late {
	struct sim_node *n;
	uint32_t boot;
	uint64_t id;
	bool yes;
};

static void arrive(void *user)
{
	struct late *t = user;

	if (t->n->d && t->n->boots == t->boot) {
		sim_memory_enter(t->n);
		(void)!authorize_answer(t->n->d->authorize, t->id, t->yes, t->yes ? "" : "so drawn");
		sim_memory_leave();
	}
	free(t);
}

static void ask(void *plugin, uint64_t id, const struct cy_authorize_question *q)
{
	struct sim_node *n = plugin;
	struct sim_prng *p = &n->sim->prng;
	struct late *t;

	if (!*q->conn || !*q->remote_id)
		sim_fail(n->sim, "%s: a plugin is asked about nobody", n->name);
	if (n->authorize.silent)
		return;
	t = malloc(sizeof(*t));
	if (!t)
		abort();
	*t = (struct late){
	    n, n->boots, id, !n->authorize.refuse || sim_prng_below(p, 1000) >= n->authorize.refuse};
	if (n->authorize.slow_ns)
		sim_at(n->sim, n->sim->now + sim_prng_below(p, n->authorize.slow_ns + 1), arrive, t);
	else
		arrive(t);
}

static const struct cy_authorize_ops ops[] = {{.size = sizeof(ops[0]), .name = "first", .ask = ask},
    {.size = sizeof(ops[0]), .name = "second", .ask = ask}};

enum cy_err sim_authorize_provide(struct sim_node *n, struct plugins *plugins)
{
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		enum cy_err e = plugins_provide_builtin(plugins, CY_KIND_AUTHORIZE, &ops[i], n);

		if (e)
			return e;
	}
	return CY_OK;
}
