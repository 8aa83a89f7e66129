/* SPDX-License-Identifier: Apache-2.0 */
/* The lease store of a node: it outlives its daemon, and fails as the node has it. When it is slow, ENV_IO is. */
#include <stdlib.h>

#include <cygnet/lease.h>

#include "daemon/policy/lease.h"
#include "libcore/base/addr.h"
#include "libcore/plugin/loader.h"
#include "sim.h"

struct stored {
	struct list node;
	struct cy_lease l;
	char pool[128], key[256];
};

static struct stored *find(struct sim_node *n, const struct cy_addr *addr)
{
	struct list *x;

	list_foreach (x, &n->stored)
		if (cy_addr_ip_eq(&list_entry(x, struct stored, node)->l.addr, addr))
			return list_entry(x, struct stored, node);
	return NULL;
}

static void forget(struct stored *e)
{
	list_del(&e->node);
	free(e);
}

static enum cy_err load(void *plugin, void (*cb)(void *user, const struct cy_lease *l), void *user)
{
	struct sim_node *n = plugin;
	struct list *x;

	list_foreach (x, &n->stored)
		cb(user, &list_entry(x, struct stored, node)->l);
	return CY_OK;
}

static bool fails(struct sim_node *n)
{
	if (n->kernel.frozen) /* it was killed, and does not come to write */
		return true;
	return n->store_fails && sim_prng_below(&n->sim->prng, 1000) < n->store_fails;
}

static enum cy_err save(void *plugin, const struct cy_lease *l, size_t count)
{
	struct sim_node *n = plugin;

	if (fails(n))
		return CY_E_IO;
	for (size_t i = 0; i < count; i++) {
		struct stored *e = find(n, &l[i].addr);

		if (!e) {
			e = calloc(1, sizeof(*e));
			if (!e)
				abort();
			list_push(&n->stored, &e->node);
		}
		e->l = l[i];
		snprintf(e->pool, sizeof(e->pool), "%s", l[i].pool);
		snprintf(e->key, sizeof(e->key), "%s", l[i].key);
		e->l.pool = e->pool;
		e->l.key = e->key;
	}
	return CY_OK;
}

static enum cy_err drop(void *plugin, const struct cy_lease *l, size_t count)
{
	struct sim_node *n = plugin;

	if (fails(n))
		return CY_E_IO;
	for (size_t i = 0; i < count; i++) {
		struct stored *e = find(n, &l[i].addr);

		if (e && strcmp(e->key, l[i].key) == 0)
			forget(e);
	}
	return CY_OK;
}

static const struct cy_lease_store_ops ops = {
    .size = sizeof(ops), .name = "memory", .load = load, .save = save, .drop = drop};

enum cy_err sim_store_provide(struct sim_node *n, struct plugins *plugins)
{
	return plugins_provide_builtin(plugins, CY_KIND_LEASES, &ops, n);
}

void sim_store_clear(struct sim_node *n)
{
	struct list *x;

	while ((x = list_first(&n->stored)))
		forget(list_entry(x, struct stored, node));
}

uint64_t sim_store_count(const struct sim_node *n, bool in_use)
{
	uint64_t count = 0;
	struct list *x;

	list_foreach (x, &n->stored)
		count += !in_use || !list_entry(x, struct stored, node)->l.until;
	return count;
}

static void check_one(void *user, const struct lease_info *i)
{
	struct sim_node *n = user;
	struct stored *e = find(n, &i->addr);
	char text[ADDR_STR_MAX];

	if (!e || strcmp(e->key, i->key) != 0 || (i->session != 0) != (e->l.until == 0))
		sim_fail(n->sim, "%s: %s of '%s' is %s, and the store has it %s '%s'", n->name,
		    addr_str(&i->addr, text), i->key, i->session ? "in use" : "kept",
		    !e               ? "not, nor"
		        : e->l.until ? "kept for"
		                     : "in use by",
		    e ? e->key : "anybody");
}

void sim_store_check(struct sim_node *n)
{
	if (n->d)
		leases_list(n->d->leases, check_one, n);
}
