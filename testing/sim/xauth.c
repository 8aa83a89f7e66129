/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back end that checks users for XAUTH, one for each node: who says "pw-" and his name is right. It is slow, refuses, fails, asks further
 * questions or never answers, as the node has it. It ends with its daemon, as helper processes do.
 */
#include <stdio.h>
#include <stdlib.h>

#include <cygnet/xauth.h>

#include "libcore/plugin/loader.h"
#include "sim.h"

struct login {
	struct list node;
	uint64_t id;
	char user[64];
	uint32_t rounds; /* that are left */
	bool in;         /* it was told so, and his session is not over */
	void (*answer)(void *to, uint64_t id, const struct cy_xauth_answer *a);
	void *to;
};

/* An answer on its way. */
struct late {
	struct sim_node *n;
	uint32_t boot;
	uint64_t id;
	uint32_t result;
};

static struct login *find(struct sim_node *n, uint64_t id)
{
	struct list *l;

	list_foreach (l, &n->logins)
		if (list_entry(l, struct login, node)->id == id)
			return list_entry(l, struct login, node);
	return NULL;
}

static void forget(struct login *l)
{
	list_del(&l->node);
	free(l);
}

static void answer(struct sim_node *n, uint64_t id, uint32_t result)
{
	struct login *l = find(n, id);
	struct cy_xauth_answer a = {.size = sizeof(a),
	    .result = result,
	    .prompt = CY_XAUTH_ANSWER,
	    .message = result == CY_XAUTH_CHALLENGE ? "what else?" : "",
	    .reason = "so drawn",
	    .address = result == CY_XAUTH_OK ? n->xauth.address : (struct cy_addr){0},
	    .pool = result == CY_XAUTH_OK ? n->xauth.pool : "",
	    .group = result == CY_XAUTH_OK ? n->xauth.group : ""};
	void (*fn)(void *to, uint64_t id, const struct cy_xauth_answer *a);
	void *to;

	if (!l)
		return;       /* nobody waits for it any more */
	if (a.address.family) /* each user another one */
		a.address.ip[3] = (uint8_t)(a.address.ip[3] + atoi(l->user + strcspn(l->user, "0123456789")));
	fn = l->answer;
	to = l->to;
	l->in = result == CY_XAUTH_OK;
	n->n_logins += l->in;
	if (result == CY_XAUTH_FAIL || result == CY_XAUTH_ERROR)
		forget(l);
	fn(to, id, &a);
}

static void arrive(void *user)
{
	struct late *t = user;

	if (t->n->d && t->n->boots == t->boot) {
		sim_memory_enter(t->n);
		answer(t->n, t->id, t->result);
		sim_memory_leave();
	}
	free(t);
}

static void decide(struct sim_node *n, struct login *l, bool right)
{
	struct sim_prng *p = &n->sim->prng;
	uint32_t result = CY_XAUTH_OK;
	struct late *t;

	if (n->xauth.silent)
		return;
	if (n->xauth.error && sim_prng_below(p, 1000) < n->xauth.error)
		result = CY_XAUTH_ERROR;
	else if (!right || (n->xauth.refuse && sim_prng_below(p, 1000) < n->xauth.refuse))
		result = CY_XAUTH_FAIL;
	else if (l->rounds) {
		l->rounds--;
		result = CY_XAUTH_CHALLENGE;
	}
	if (!n->xauth.slow_ns) {
		answer(n, l->id, result);
		return;
	}
	t = malloc(sizeof(*t));
	if (!t)
		abort();
	*t = (struct late){n, n->boots, l->id, result};
	sim_at(n->sim, n->sim->now + sim_prng_below(p, n->xauth.slow_ns + 1), arrive, t);
}

static bool is(struct cy_slice said, const char *before, const char *user)
{
	char want[128];

	snprintf(want, sizeof(want), "%s%s", before, user);
	return said.n == strlen(want) && memcmp(said.p, want, said.n) == 0;
}

static void begin(void *plugin, const struct cy_xauth_login *q)
{
	struct sim_node *n = plugin;
	struct login *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->id = q->id;
	l->rounds = n->xauth.rounds;
	l->answer = q->answer;
	l->to = q->to;
	snprintf(l->user, sizeof(l->user), "%s", q->user);
	list_push(&n->logins, &l->node);
	decide(n, l, is(q->password, "pw-", l->user));
}

static void reply(void *plugin, uint64_t id, struct cy_slice said)
{
	struct sim_node *n = plugin;
	struct login *l = find(n, id);

	if (l)
		decide(n, l, is(said, "more-", l->user));
}

static void end(void *plugin, uint64_t id)
{
	struct login *l = find(plugin, id);

	if (l)
		forget(l);
}

/* One that is asked on the worker, and one that computes, on the pool. */
static const struct cy_xauth_ops ops[] = {
    {.size = sizeof(ops[0]), .name = "pam", .begin = begin, .reply = reply, .end = end},
    {.size = sizeof(ops[0]),
        .flags = CY_XAUTH_COMPUTES,
        .name = "generic",
        .begin = begin,
        .reply = reply,
        .end = end}};

enum cy_err sim_xauth_provide(struct sim_node *n, struct plugins *plugins)
{
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		enum cy_err e = plugins_provide_builtin(plugins, CY_KIND_XAUTH, &ops[i], n);

		if (e)
			return e;
	}
	return CY_OK;
}

void sim_xauth_clear(struct sim_node *n)
{
	struct list *l;

	while ((l = list_first(&n->logins)))
		forget(list_entry(l, struct login, node));
}

bool sim_xauth_let_in(struct sim_node *n, uint64_t id)
{
	struct login *l = find(n, id);

	return l && l->in;
}

uint64_t sim_xauth_count(struct sim_node *n, bool in)
{
	struct list *l;
	uint64_t count = 0;

	list_foreach (l, &n->logins)
		count += list_entry(l, struct login, node)->in == in;
	return count;
}
