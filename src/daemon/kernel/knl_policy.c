/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies by selector, each with its users, newest first. The kernel holds the newest user's template; when that one
 * goes the next is installed in its place, and with the last user the policy goes.
 */
#include <stdlib.h>

#include "daemon/kernel/knl.h"
#include "libcore/base/addr.h"

struct policy_user {
	struct list node;
	struct cy_kernel_policy p;
	struct cy_addr route_src;
};

struct policy_entry {
	struct hnode node;
	struct list users;
};

struct knl_policies {
	struct hmap map;
};

struct policy_key {
	struct cy_ts src, dst;
	struct cy_mark mark;
	uint32_t if_id, dir;
};

static struct policy_key key_of(const struct cy_kernel_policy *p)
{
	struct policy_key k;

	memset(&k, 0, sizeof(k)); /* padding is hashed too */
	k.src = p->src;
	k.dst = p->dst;
	k.mark = p->mark;
	k.if_id = p->if_id;
	k.dir = p->dir;
	return k;
}

struct knl_policies *knl_policies_new(const uint64_t key[2])
{
	struct knl_policies *t = calloc(1, sizeof(*t));

	if (t && hmap_init(&t->map, key)) {
		free(t);
		return NULL;
	}
	return t;
}

static struct policy_user *top(const struct policy_entry *e)
{
	return list_entry(list_first(&e->users), struct policy_user, node);
}

void knl_policies_free(struct knl_policies *t)
{
	struct hnode *n, *tmp;
	struct list *l;
	size_t b;

	if (!t)
		return;
	hmap_foreach (&t->map, b, n, tmp) {
		struct policy_entry *e = container_of(n, struct policy_entry, node);

		while ((l = list_pop(&e->users)))
			free(list_entry(l, struct policy_user, node));
		free(e);
	}
	hmap_fini(&t->map);
	free(t);
}

size_t knl_policies_count(const struct knl_policies *t)
{
	return t->map.n;
}

static struct policy_entry *find(struct knl_policies *t, const struct policy_key *k, uint64_t hash)
{
	for (struct hnode *n = hmap_first(&t->map, hash); n; n = hmap_next(n)) {
		struct policy_entry *e = container_of(n, struct policy_entry, node);
		struct policy_key other = key_of(&top(e)->p);

		if (memcmp(&other, k, sizeof(other)) == 0)
			return e;
	}
	return NULL;
}

/* Smaller priority value wins in the kernel; among equals the newest user does. */
static void insert_user(struct policy_entry *e, struct policy_user *u)
{
	struct list *at;

	list_foreach (at, &e->users)
		if (list_entry(at, struct policy_user, node)->p.priority >= u->p.priority)
			break;
	list_add_after(at->prev, &u->node);
}

/*
 * CHILD_SAs of CPUs share one policy, which is the same for each: the kernel need not be troubled, and is better not,
 * because it would look for SAs anew.
 */
static bool changes_nothing(const struct cy_kernel_policy *a, const struct cy_kernel_policy *b)
{
	return a->cpu_acquire && b->cpu_acquire && a->reqid == b->reqid && a->priority == b->priority &&
	    a->mode == b->mode && cy_addr_ip_eq(&a->tmpl_src, &b->tmpl_src) &&
	    cy_addr_ip_eq(&a->tmpl_dst, &b->tmpl_dst);
}

enum cy_err knl_policy_add(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p)
{
	struct policy_key key = key_of(p);
	uint64_t hash = hmap_hash(&t->map, &key, sizeof(key));
	struct policy_entry *e = find(t, &key, hash);
	struct policy_user *u = calloc(1, sizeof(*u));
	bool fresh = !e;
	enum cy_err err = CY_OK;

	if (u && fresh) {
		e = calloc(1, sizeof(*e));
		if (e)
			list_init(&e->users);
	}
	if (!u || !e) {
		free(u);
		return CY_E_NOMEM;
	}
	u->p = *p;
	if (p->route_src) {
		u->route_src = *p->route_src;
		u->p.route_src = &u->route_src;
	}
	if (!fresh && changes_nothing(&top(e)->p, &u->p))
		list_add_after(&top(e)->node, &u->node);
	else
		insert_user(e, u);
	if (top(e) == u)
		err = ops->policy_add(k, &u->p);
	if (err) {
		list_del(&u->node);
		free(u);
		if (fresh)
			free(e);
		return err;
	}
	if (fresh)
		hmap_add(&t->map, &e->node, hash);
	return CY_OK;
}

enum cy_err knl_policy_cpu(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p)
{
	struct policy_key key = key_of(p);
	struct policy_entry *e = find(t, &key, hmap_hash(&t->map, &key, sizeof(key)));
	struct list *at;

	if (!e)
		return CY_E_NOTFOUND;
	list_foreach (at, &e->users) {
		struct policy_user *u = list_entry(at, struct policy_user, node);

		if (u->p.reqid == p->reqid)
			u->p.cpu_acquire = p->cpu_acquire;
	}
	return ops->policy_add(k, &top(e)->p);
}

/* A CHILD_SA that moves is two users for a moment, of the old and of the new tunnel ends. */
static bool same_user(const struct cy_kernel_policy *a, const struct cy_kernel_policy *b)
{
	return a->reqid == b->reqid && a->spi == b->spi && a->action == b->action && a->cookie == b->cookie &&
	    cy_addr_ip_eq(&a->tmpl_src, &b->tmpl_src) && cy_addr_ip_eq(&a->tmpl_dst, &b->tmpl_dst);
}

enum cy_err knl_policy_del(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p)
{
	struct policy_key key = key_of(p);
	struct policy_entry *e = find(t, &key, hmap_hash(&t->map, &key, sizeof(key)));
	struct list *at;
	struct policy_user *u = NULL;
	bool was_top;
	enum cy_err err;

	if (!e)
		return CY_E_NOTFOUND;
	list_foreach (at, &e->users)
		if (same_user(&list_entry(at, struct policy_user, node)->p, p)) {
			u = list_entry(at, struct policy_user, node);
			break;
		}
	if (!u)
		return CY_E_NOTFOUND;
	was_top = top(e) == u;
	list_del(&u->node);
	if (list_empty(&e->users)) {
		err = ops->policy_del(k, &u->p);
		hmap_del(&t->map, &e->node);
		free(e);
	} else {
		err = was_top ? ops->policy_add(k, &top(e)->p) : CY_OK;
	}
	free(u);
	return err;
}
