/* SPDX-License-Identifier: Apache-2.0 */

#include "sad.h"

#include <stdlib.h>

static uint64_t hash_spi(const struct sad *d, uint32_t spi)
{
	return hash_mix(d->k->hash_key, d->k->hash_key, spi);
}

enum cy_err sad_new(struct kernel *k, struct sad **out)
{
	struct sad *d = calloc(1, sizeof(*d));

	if (!d)
		return CY_E_NOMEM;
	d->k = k;
	d->next_serial = 1;
	*out = d;
	return CY_OK;
}

void sad_free(struct sad *d)
{
	if (!d)
		return;
	sad_flush(d);
	ptable_free(&d->in);
	ptable_free(&d->out);
	ptable_free(&d->reqids);
	free(d);
}

/* ---- reqids */

static void free_reqid(struct rcu_node *node)
{
	free(container_of(node, struct reqid, rcu));
}

struct reqid *reqid_get(struct sad *d, uint32_t reqid)
{
	uint64_t hash = hash_mix(d->k->hash_key, 1, reqid);
	struct pcursor c;
	struct reqid *r;

	for (struct pnode *n = ptable_first(&d->reqids, hash, &c); n; n = ptable_next(&c)) {
		r = container_of(n, struct reqid, node);
		if (r->reqid == reqid) {
			r->refs++;
			return r;
		}
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->reqid = reqid;
	r->refs = 1;
	r->node.hash = hash;
	if (ptable_insert(&d->reqids, &d->k->rcu, &r->node) != CY_OK) {
		free(r);
		return NULL;
	}
	return r;
}

void reqid_put(struct sad *d, struct reqid *r)
{
	if (!r || --r->refs > 0)
		return;
	ptable_remove(&d->reqids, &r->node);
	rcu_retire(&d->k->rcu, &r->rcu, free_reqid);
}

/* With more CPUs than ESP threads, a thread has several. */
static bool is_of(const struct kernel *k, const struct sa *sa, int thread)
{
	return sa->cpu >= 0 && thread >= 0 && (size_t)sa->cpu % k->n_queues == (size_t)thread;
}

struct sa *reqid_pick(const struct kernel *k, const struct reqid *r, const struct flow *f, int thread)
{
	struct sa *sa = atomic_load_explicit(&((struct reqid *)r)->sas, memory_order_acquire);
	struct sa *any = NULL, *dead = NULL;

	for (; sa; sa = atomic_load_explicit(&sa->next_of_reqid, memory_order_acquire)) {
		bool ours = is_of(k, sa, thread);

		if ((sa->cpu >= 0 && !ours) || !sa_allows(sa, f))
			continue;
		if (atomic_load_explicit(&sa->dead, memory_order_relaxed))
			dead = sa;
		else if (ours)
			return sa;
		else if (!any)
			any = sa;
	}
	return any ? any : dead;
}

/* ---- SAs */

static struct ptable *table_of(struct sad *d, uint8_t dir)
{
	return dir == CY_DIR_IN ? &d->in : &d->out;
}

/* The best match of a name: exact, else without ports, else the only SA with that SPI. */
struct sa *sad_find(struct sad *d, const struct cy_kernel_sa_id *id)
{
	struct sa *by_ip = NULL, *by_spi = NULL;
	size_t n_spi = 0;
	struct pcursor c;

	for (struct pnode *n = ptable_first(table_of(d, id->dir), hash_spi(d, id->spi), &c); n;
	     n = ptable_next(&c)) {
		struct sa *sa = container_of(n, struct sa, node);

		if (sa->leaving || sa->spi != id->spi || sa->proto != id->proto)
			continue;
		if (cy_addr_eq(&sa_path(sa)->dst, &id->dst))
			return sa;
		if (cy_addr_ip_eq(&sa_path(sa)->dst, &id->dst))
			by_ip = sa;
		by_spi = sa;
		n_spi++;
	}
	return by_ip ? by_ip : n_spi == 1 ? by_spi : NULL;
}

/* Makes way for another one of its SPI. */
static void gone_at_once(struct sad *d, struct sa *sa)
{
	struct sa **at = &d->leaving;

	while (*at != sa)
		at = &(*at)->next_leaving;
	*at = sa->next_leaving;
	sad_del(d, sa);
}

static bool is_taken(struct sad *d, const struct cy_kernel_sa *in)
{
	struct pcursor c;

	for (struct pnode *n = ptable_first(table_of(d, in->dir), hash_spi(d, in->spi), &c); n;
	     n = ptable_next(&c)) {
		struct sa *sa = container_of(n, struct sa, node);

		if (sa->spi != in->spi || (in->dir != CY_DIR_IN && !cy_addr_eq(&sa_path(sa)->dst, &in->dst)))
			continue;
		if (!sa->leaving)
			return true;
		gone_at_once(d, sa);
		break; /* there is no other, and the cursor may not go on */
	}
	return false;
}

enum cy_err sad_add(struct sad *d, const struct cy_kernel_sa *in, struct sa **out)
{
	enum cy_err err;
	struct sa *sa;

	if (is_taken(d, in))
		return CY_E_EXISTS;
	err = sa_new(d->k, in, &sa);
	if (err != CY_OK)
		return err;
	sa->serial = d->next_serial++;
	sa->node.hash = hash_spi(d, sa->spi);
	sa->reqid = reqid_get(d, in->reqid);
	err = sa->reqid ? ptable_insert(table_of(d, sa->dir), &d->k->rcu, &sa->node) : CY_E_NOMEM;
	if (err != CY_OK) {
		reqid_put(d, sa->reqid);
		sa_free(&sa->rcu);
		return err;
	}
	if (sa->dir == CY_DIR_OUT) {
		atomic_init(&sa->next_of_reqid, atomic_load_explicit(&sa->reqid->sas, memory_order_relaxed));
		atomic_store_explicit(&sa->reqid->sas, sa, memory_order_release);
		d->k->n_per_cpu += sa->cpu >= 0;
	}
	*out = sa;
	return CY_OK;
}

static void free_path(struct rcu_node *node)
{
	free(container_of(node, struct sa_path, rcu));
}

enum cy_err sad_move(struct sad *d, struct sa *sa, const struct cy_addr *src, const struct cy_addr *dst)
{
	struct sa_path *path = calloc(1, sizeof(*path)), *old;

	if (!path)
		return CY_E_NOMEM;
	path->src = *src;
	path->dst = *dst;
	old = atomic_exchange_explicit(&sa->path, path, memory_order_acq_rel);
	rcu_retire(&d->k->rcu, &old->rcu, free_path);
	pthread_spin_lock(&sa->lock);
	memset(&sa->mapped_to, 0, sizeof(sa->mapped_to));
	pthread_spin_unlock(&sa->lock);
	return CY_OK;
}

void sad_del(struct sad *d, struct sa *sa)
{
	ptable_remove(table_of(d, sa->dir), &sa->node);
	if (sa->dir == CY_DIR_OUT) {
		_Atomic(struct sa *) *at = &sa->reqid->sas;
		struct sa *s;

		while ((s = atomic_load_explicit(at, memory_order_relaxed)) != sa)
			at = &s->next_of_reqid;
		atomic_store_explicit(
		    at, atomic_load_explicit(&sa->next_of_reqid, memory_order_relaxed), memory_order_release);
		d->k->n_per_cpu -= sa->cpu >= 0;
	}
	reqid_put(d, sa->reqid);
	rcu_retire(&d->k->rcu, &sa->rcu, sa_free);
}

void sad_leave(struct sad *d, struct sa *sa)
{
	sa->leaving = true;
	sa->ticks_left = 2;
	sa->next_leaving = d->leaving;
	d->leaving = sa;
}

void sad_tick(struct sad *d)
{
	struct sa **at = &d->leaving, *sa;

	while ((sa = *at)) {
		if (--sa->ticks_left) {
			at = &sa->next_leaving;
			continue;
		}
		*at = sa->next_leaving;
		sad_del(d, sa);
	}
}

void sad_flush(struct sad *d)
{
	d->leaving = NULL; /* they are in the tables, too */
	for (int dir = CY_DIR_IN; dir <= CY_DIR_OUT; dir++) {
		struct pnode *n;

		for (size_t i = 0; (n = ptable_each(table_of(d, (uint8_t)dir), &i));)
			sad_del(d, container_of(n, struct sa, node));
	}
}

struct sa *sad_lookup_in(struct sad *d, uint32_t spi)
{
	struct pcursor c;

	for (struct pnode *n = ptable_first(&d->in, hash_spi(d, spi), &c); n; n = ptable_next(&c)) {
		struct sa *sa = container_of(n, struct sa, node);

		if (sa->spi == spi)
			return sa;
	}
	return NULL;
}
