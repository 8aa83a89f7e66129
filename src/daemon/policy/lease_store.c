/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases follow into a store. What changed waits in two lists: records to save, of which only the latest state counts, and
 * records to drop, which always go first. One run on the blocking pool at a time takes copies out under the lock and calls the
 * store without it.
 */
#include <stdlib.h>

#include "daemon/policy/lease_priv.h"
#include "libcore/base/err.h"

#define BATCH     64
#define RUNS      64             /* batches a run writes before it lets others have its thread */
#define MAX_DROPS 100000         /* beyond it, with a store that fails, old ones are forgotten */
#define RETRY_NS  (5 * NS_PER_S) /* after a failure */

void drop_free(struct lease_drop *d)
{
	free(d->key);
	free(d);
}

void leases_store_save(struct leases *l, struct lease *e)
{
	if (l->store && !list_linked(&e->dirty))
		list_push(&l->dirty, &e->dirty);
}

bool leases_store_drop(struct leases *l, const struct lease *e)
{
	struct lease_drop *d;

	if (!l->store)
		return true;
	d = calloc(1, sizeof(*d));
	if (d)
		d->key = strdup(e->key->name);
	if (!d || !d->key) {
		free(d);
		return false;
	}
	d->pool = e->pool->name;
	d->addr = e->addr;
	d->since = e->since;
	d->until = e->until;
	list_push(&l->drops, &d->node);
	if (++l->n_drops > MAX_DROPS) {
		drop_free(list_entry(list_pop(&l->drops), struct lease_drop, node));
		l->n_drops--;
	}
	return true;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* Copies of what goes into one call of the store. */
struct batch {
	struct cy_lease leases[BATCH];
	struct lease_drop *drops[BATCH]; /* taken out, given back after a failure */
	struct lease *saves[BATCH];
	char *keys[BATCH]; /* of saves, owned */
	size_t n;
};

static void take_drops(struct leases *l, struct batch *b)
{
	b->n = 0;
	while (b->n < BATCH && !list_empty(&l->drops)) {
		struct lease_drop *d = list_entry(list_pop(&l->drops), struct lease_drop, node);

		l->n_drops--;
		b->drops[b->n] = d;
		b->leases[b->n++] = (struct cy_lease){.size = sizeof(struct cy_lease),
		    .pool = d->pool,
		    .key = d->key,
		    .addr = d->addr,
		    .since = d->since,
		    .until = d->until};
	}
}

static void take_saves(struct leases *l, struct batch *b)
{
	b->n = 0;
	while (b->n < BATCH && !list_empty(&l->dirty)) {
		struct lease *e = list_entry(list_first(&l->dirty), struct lease, dirty);
		char *key = strdup(e->key->name);

		if (!key)
			return;
		list_del(&e->dirty);
		b->saves[b->n] = e;
		b->keys[b->n] = key;
		b->leases[b->n++] = (struct cy_lease){.size = sizeof(struct cy_lease),
		    .pool = e->pool->name,
		    .key = key,
		    .addr = e->addr,
		    .since = e->since,
		    .until = e->until};
	}
}

/* One batch of drops or, when there are none, of saves. Not locked. CY_E_NOTFOUND: nothing left. */
static enum cy_err write_batch(struct leases *l)
{
	struct batch b;
	bool drops;
	enum cy_err err;

	pthread_mutex_lock(&l->lock);
	drops = !list_empty(&l->drops);
	if (drops)
		take_drops(l, &b);
	else
		take_saves(l, &b);
	pthread_mutex_unlock(&l->lock);
	if (b.n == 0)
		return CY_E_NOTFOUND;
	err = drops ? l->store->drop(l->plugin, b.leases, b.n) : l->store->save(l->plugin, b.leases, b.n);
	if (drops && err) {
		/* before everything else that is to be dropped, in their order */
		pthread_mutex_lock(&l->lock);
		for (size_t i = b.n; i-- > 0;)
			list_push_front(&l->drops, &b.drops[i]->node);
		l->n_drops += b.n;
		pthread_mutex_unlock(&l->lock);
	} else if (drops) {
		for (size_t i = 0; i < b.n; i++)
			drop_free(b.drops[i]);
	} else {
		pthread_mutex_lock(&l->lock);
		for (size_t i = 0; i < b.n; i++) {
			free(b.keys[i]);
			if (err)
				leases_store_save(l, b.saves[i]);
		}
		pthread_mutex_unlock(&l->lock);
	}
	return err;
}

static bool pending(const struct leases *l)
{
	return !list_empty(&l->drops) || !list_empty(&l->dirty);
}

static void store_run(struct work *w)
{
	struct leases *l = container_of(w, struct leases, work);
	enum cy_err err = CY_OK;

	/* done() may come while the store keeps us: the pool's end abandons what hangs */
	pthread_mutex_lock(&l->lock);
	l->refs++;
	l->running = true;
	pthread_mutex_unlock(&l->lock);
	for (unsigned i = 0; i < RUNS && !err; i++)
		err = write_batch(l);
	pthread_mutex_lock(&l->lock);
	l->running = false;
	l->retry_ns = err && err != CY_E_NOTFOUND ? env_now(l->env) + RETRY_NS : 0;
	pthread_mutex_unlock(&l->lock);
	if (err && err != CY_E_NOTFOUND)
		LOGF(l->log, LOG_CFG, CY_LOG_WARN, NULL,
		    "lease store '%s' failed (%s); what changed is kept and written later", l->store->name,
		    err_text(err));
	leases_unref(l);
}

static void on_retry(struct timer *t)
{
	leases_store_kick(container_of(t, struct leases, retry));
}

static void store_done(struct worker *worker, struct work *w, enum cy_err err)
{
	struct leases *l = container_of(w, struct leases, work);
	uint64_t again;

	pthread_mutex_lock(&l->lock);
	l->flushing = false;
	/* the pool is closing or full: not again at once */
	if (err)
		l->retry_ns = env_now(l->env) + RETRY_NS;
	again = l->pool ? l->retry_ns : 0; /* stopped: what is left is written at the end */
	pthread_mutex_unlock(&l->lock);
	if (again) {
		l->retry.fn = on_retry;
		worker_timer_set(worker, &l->retry, again);
	}
	if (!err)
		leases_store_kick(l);
	leases_unref(l);
}

void leases_store_kick(struct leases *l)
{
	bool start;

	pthread_mutex_lock(&l->lock);
	start = l->pool && !l->flushing && !l->running && pending(l) && env_now(l->env) >= l->retry_ns;
	if (start) {
		l->flushing = true;
		l->refs++;
		l->work = (struct work){.run = store_run,
		    .done = store_done,
		    .worker = l->worker,
		    .owner = l->store->name,
		    .prio = PRIO_LOW,
		    .class = POOL_IO};
	}
	pthread_mutex_unlock(&l->lock);
	if (start)
		pool_submit(l->pool, &l->work);
}

void leases_stop(struct leases *l)
{
	if (!l || !l->store)
		return;
	worker_timer_cancel(l->worker, &l->retry);
	pthread_mutex_lock(&l->lock);
	l->pool = NULL;
	pthread_mutex_unlock(&l->lock);
}

void leases_store_finish(struct leases *l)
{
	enum cy_err err = CY_OK;
	bool busy;

	if (!l->store)
		return;
	/* a run that was abandoned inside the store still holds it: it must not be called twice at once */
	pthread_mutex_lock(&l->lock);
	busy = l->flushing || l->running;
	pthread_mutex_unlock(&l->lock);
	while (!busy && !err)
		err = write_batch(l);
	if (busy || err != CY_E_NOTFOUND)
		LOGF(l->log, LOG_CFG, CY_LOG_WARN, NULL, "lease store '%s': the last changes are not written",
		    l->store->name);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* What the store has, before it is made into leases. */
struct loading {
	struct leases *l;
	struct loaded {
		char *pool, *key;
		struct cy_addr addr;
		int64_t since, until;
		bool was_in_use; /* what it has is not so any more */
	} * e;
	size_t n, cap;
	enum cy_err err;
};

static void load_one(void *user, const struct cy_lease *from)
{
	struct loading *ld = user;
	struct loaded *e;

	if (ld->err || !from->pool || !from->key)
		return;
	if (ld->n == ld->cap) {
		size_t cap = ld->cap ? ld->cap * 2 : 64;

		e = reallocarray(ld->e, cap, sizeof(*e));
		if (!e) {
			ld->err = CY_E_NOMEM;
			return;
		}
		ld->e = e;
		ld->cap = cap;
	}
	e = &ld->e[ld->n];
	*e = (struct loaded){
	    strdup(from->pool), strdup(from->key), from->addr, from->since, from->until, from->until == 0};
	e->addr.port = 0;
	if (!e->pool || !e->key) {
		free(e->pool);
		free(e->key);
		ld->err = CY_E_NOMEM;
		return;
	}
	ld->n++;
}

/* By address, and of one address the newest first: a crash between drop and save may have left two. */
static int by_addr_newest(const void *pa, const void *pb)
{
	const struct loaded *a = pa, *b = pb;
	int d = addr_cmp(&a->addr, &b->addr);

	return d ? d : a->since == b->since ? 0 : a->since > b->since ? -1 : 1;
}

static int by_until(const void *pa, const void *pb)
{
	const struct loaded *a = pa, *b = pb;

	return a->until == b->until ? addr_cmp(&a->addr, &b->addr) : a->until < b->until ? -1 : 1;
}

/* Locked. */
static void adopt(struct leases *l, struct loaded *from)
{
	struct lease_pool *p;
	struct lease *e;

	/* a pool that is called differently now, or is smaller */
	if (leases_pool_get(l, from->pool, &p) || !range_has(&p->range, &from->addr))
		return;
	e = lease_make(l, p, &from->addr, from->key);
	if (!e)
		return;
	e->since = from->since;
	lease_go_offline(e, from->until);
	if (from->was_in_use)
		list_push(&l->dirty, &e->dirty);
}

enum cy_err leases_set_store(struct leases *l, const struct cy_lease_store_ops *ops, void *plugin,
    struct pool *pool, struct worker *completion_worker)
{
	struct loading ld = {.l = l};
	int64_t now = l->env->wall(l->env);
	size_t kept = 0;
	enum cy_err err;

	err = ops->load(plugin, load_one, &ld);
	if (!err)
		err = ld.err;
	if (!err && ld.n) {
		qsort(ld.e, ld.n, sizeof(*ld.e), by_addr_newest);
		for (size_t i = 0; i < ld.n; i++) {
			struct loaded one = ld.e[i];

			if (kept && cy_addr_ip_eq(&ld.e[kept - 1].addr, &one.addr)) {
				free(one.pool);
				free(one.key);
				continue;
			}
			/* in use until the daemon ended: the time runs from now */
			if (one.was_in_use)
				one.until = now + l->lease_time;
			ld.e[kept++] = one;
		}
		ld.n = kept;
		qsort(ld.e, ld.n, sizeof(*ld.e), by_until);
		pthread_mutex_lock(&l->lock);
		for (size_t i = 0; i < ld.n; i++)
			adopt(l, &ld.e[i]);
		pthread_mutex_unlock(&l->lock);
	}
	for (size_t i = 0; i < ld.n; i++) {
		free(ld.e[i].pool);
		free(ld.e[i].key);
	}
	free(ld.e);
	if (err)
		return err;
	pthread_mutex_lock(&l->lock);
	l->plugin = plugin;
	l->pool = pool;
	l->worker = completion_worker;
	l->store = ops;
	pthread_mutex_unlock(&l->lock);
	leases_store_kick(l);
	return CY_OK;
}
