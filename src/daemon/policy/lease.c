/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools and leases. A lease record is made when an address is given out for the first time and then stays with that address;
 * only its key and session change. Every step of acquiring is a look-up in a hash map or the end of a list, so that it costs
 * the same in a /29 and in a /8.
 */
#include "daemon/policy/lease.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/policy/lease_priv.h"
#include "libcore/base/err.h"

enum cy_err leases_new(struct env *env, struct log *log, uint32_t lease_time_s, struct leases **out)
{
	struct leases *l = calloc(1, sizeof(*l));
	uint64_t key[2];
	enum cy_err err;

	if (!l)
		return CY_E_NOMEM;
	env->random(env, key, sizeof(key));
	err = hmap_init(&l->by_addr, key);
	if (!err)
		err = hmap_init(&l->pools_by_name, key);
	if (err) {
		hmap_fini(&l->by_addr);
		free(l);
		return err;
	}
	l->env = env;
	l->log = log;
	l->lease_time = lease_time_s;
	l->refs = 1;
	pthread_mutex_init(&l->lock, NULL);
	list_init(&l->pools);
	list_init(&l->dirty);
	list_init(&l->drops);
	*out = l;
	return CY_OK;
}

static void key_unref(struct lease_pool *p, struct lease_key *k)
{
	if (--k->n_leases)
		return;
	hmap_del(&p->keys, &k->node);
	free(k);
}

static void pool_free_one(struct lease_pool *p)
{
	for (size_t i = 0; i < p->n_leases; i++) {
		key_unref(p, p->leases[i]->key);
		free(p->leases[i]);
	}
	free(p->leases);
	hmap_fini(&p->keys);
	hmap_fini(&p->by_session);
	free(p->name);
	free(p);
}

void leases_unref(struct leases *l)
{
	struct list *n;
	bool last;

	pthread_mutex_lock(&l->lock);
	last = --l->refs == 0;
	pthread_mutex_unlock(&l->lock);
	if (!last)
		return;
	while ((n = list_pop(&l->pools)))
		pool_free_one(list_entry(n, struct lease_pool, node));
	while ((n = list_pop(&l->drops)))
		drop_free(list_entry(n, struct lease_drop, node));
	hmap_fini(&l->by_addr);
	hmap_fini(&l->pools_by_name);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void leases_free(struct leases *l)
{
	if (!l)
		return;
	leases_store_finish(l);
	leases_unref(l);
}

/* --- pools ------------------------------------------------------------------------------------------------------- */

static uint64_t text_hash(const struct hmap *m, const char *text)
{
	return hmap_hash(m, text, strlen(text));
}

static uint64_t session_hash(const struct hmap *m, uint64_t session)
{
	return hmap_hash(m, &session, sizeof(session));
}

/* What of the range is given out. */
static enum cy_err pool_range(const char *text, struct addr_range *out)
{
	struct addr_range r;
	const char *slash = strchr(text, '/');
	char base_text[ADDR_STR_MAX];
	struct cy_addr base;
	enum cy_err err;
	uint64_t n;

	err = range_parse(text, &r);
	if (err)
		return err;
	n = range_count(&r);
	if (slash && n > 2) {
		if ((size_t)(slash - text) >= sizeof(base_text))
			return CY_E_PARSE;
		memcpy(base_text, text, (size_t)(slash - text));
		base_text[slash - text] = '\0';
		err = addr_parse(base_text, &base);
		if (err)
			return err;
		if (cy_addr_ip_eq(&base, &r.lo))
			err = addr_add(&r.lo, 1, &r.lo);
		else
			r.lo = base;
		if (err)
			return err;
		if (r.lo.family == AF_INET)
			r.hi.ip[3]--; /* the broadcast address is odd: no borrow */
		if (addr_cmp(&r.lo, &r.hi) > 0)
			return CY_E_PARSE;
	}
	*out = r;
	return CY_OK;
}

static struct lease_pool *pool_find(struct leases *l, const char *name)
{
	struct hnode *n = hmap_first(&l->pools_by_name, text_hash(&l->pools_by_name, name));

	for (; n; n = hmap_next(n)) {
		struct lease_pool *p = container_of(n, struct lease_pool, by_name);

		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

/* Locked. */
enum cy_err leases_pool_get(struct leases *l, const char *name, struct lease_pool **out)
{
	struct lease_pool *p = pool_find(l, name);
	struct addr_range range;
	enum cy_err err;

	if (p) {
		*out = p;
		return CY_OK;
	}
	err = pool_range(name, &range);
	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	if (!p)
		return CY_E_NOMEM;
	p->range = range;
	p->size = range_count(&range);
	list_init(&p->offline);
	p->name = strdup(name);
	err = p->name ? hmap_init(&p->keys, l->by_addr.key) : CY_E_NOMEM;
	if (!err)
		err = hmap_init(&p->by_session, l->by_addr.key);
	if (err) {
		pool_free_one(p);
		return err;
	}
	list_push(&l->pools, &p->node);
	hmap_add(&l->pools_by_name, &p->by_name, text_hash(&l->pools_by_name, name));
	*out = p;
	return CY_OK;
}

enum cy_err leases_pool_add(struct leases *l, const char *pool)
{
	struct lease_pool *p;
	enum cy_err err;

	pthread_mutex_lock(&l->lock);
	err = leases_pool_get(l, pool, &p);
	if (!err)
		p->configured = true;
	pthread_mutex_unlock(&l->lock);
	return err;
}

/* --- leases, all of it locked ------------------------------------------------------------------------------------- */

static struct lease *lease_at(struct leases *l, const struct cy_addr *a)
{
	uint64_t hash = addr_hash(l->by_addr.key, a, false);
	struct hnode *n;

	for (n = hmap_first(&l->by_addr, hash); n; n = hmap_next(n)) {
		struct lease *e = container_of(n, struct lease, by_addr);

		if (cy_addr_ip_eq(&e->addr, a))
			return e;
	}
	return NULL;
}

static struct lease *lease_of_session(struct lease_pool *p, const char *key, uint64_t session)
{
	struct hnode *n;

	for (n = hmap_first(&p->by_session, session_hash(&p->by_session, session)); n; n = hmap_next(n)) {
		struct lease *e = container_of(n, struct lease, by_session);

		if (e->session == session && strcmp(e->key->name, key) == 0)
			return e;
	}
	return NULL;
}

static struct lease_key *key_find(struct lease_pool *p, const char *name)
{
	struct hnode *n;

	for (n = hmap_first(&p->keys, text_hash(&p->keys, name)); n; n = hmap_next(n)) {
		struct lease_key *k = container_of(n, struct lease_key, node);

		if (strcmp(k->name, name) == 0)
			return k;
	}
	return NULL;
}

/* Counted; NULL without memory. */
static struct lease_key *key_get(struct lease_pool *p, const char *name)
{
	struct lease_key *k = key_find(p, name);
	size_t n = strlen(name) + 1;

	if (!k) {
		k = calloc(1, sizeof(*k) + n);
		if (!k)
			return NULL;
		memcpy(k->name, name, n);
		list_init(&k->offline);
		hmap_add(&p->keys, &k->node, text_hash(&p->keys, name));
	}
	k->n_leases++;
	return k;
}

/* A record for an address that has none yet, neither online nor in a list. */
struct lease *lease_make(struct leases *l, struct lease_pool *p, const struct cy_addr *a, const char *key)
{
	struct lease *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	if (p->n_leases == p->cap_leases) {
		size_t cap = p->cap_leases ? p->cap_leases * 2 : 16;
		struct lease **grown = reallocarray(p->leases, cap, sizeof(struct lease *));

		if (!grown) {
			free(e);
			return NULL;
		}
		p->leases = grown;
		p->cap_leases = cap;
	}
	e->key = key_get(p, key);
	if (!e->key) {
		free(e);
		return NULL;
	}
	e->pool = p;
	e->addr = *a;
	e->addr.port = 0;
	p->leases[p->n_leases++] = e;
	hmap_add(&l->by_addr, &e->by_addr, addr_hash(l->by_addr.key, a, false));
	return e;
}

void lease_go_offline(struct lease *e, int64_t until)
{
	struct lease_pool *p = e->pool;

	if (e->session) {
		hmap_del(&p->by_session, &e->by_session);
		p->online--;
	}
	e->session = 0;
	e->until = until;
	list_push(&p->offline, &e->offline);
	list_push_front(&e->key->offline, &e->of_key);
}

static void lease_go_online(struct leases *l, struct lease *e, uint64_t session)
{
	struct lease_pool *p = e->pool;

	list_del(&e->offline);
	list_del(&e->of_key);
	e->session = session;
	e->since = l->env->wall(l->env);
	e->until = 0;
	hmap_add(&p->by_session, &e->by_session, session_hash(&p->by_session, session));
	p->online++;
	leases_store_save(l, e);
}

/* An offline lease goes to somebody; whose it was is told to the store first. False: no memory. */
static bool lease_take_over(struct leases *l, struct lease *e, const char *name)
{
	struct lease_key *k;

	if (strcmp(e->key->name, name) == 0)
		return true;
	k = key_get(e->pool, name);
	if (!k)
		return false;
	if (!leases_store_drop(l, e)) {
		key_unref(e->pool, k);
		return false;
	}
	list_del(&e->of_key);
	key_unref(e->pool, e->key);
	e->key = k;
	return true;
}

/* The next address nobody ever had. The steps over those that were asked for by name are not taken twice. */
static bool fresh_address(struct leases *l, struct lease_pool *p, struct cy_addr *out)
{
	while (p->next < p->size) {
		struct cy_addr a;

		if (addr_add(&p->range.lo, p->next, &a))
			return false;
		p->next++;
		if (!lease_at(l, &a)) {
			*out = a;
			return true;
		}
	}
	return false;
}

static enum cy_err give_fresh(
    struct leases *l, struct lease_pool *p, const struct cy_addr *a, const char *key, struct lease **out)
{
	*out = lease_make(l, p, a, key);
	return *out ? CY_OK : CY_E_NOMEM;
}

static enum cy_err choose(struct leases *l, struct lease_pool *p, const char *key,
    const struct cy_addr *requested, struct lease **out)
{
	int64_t now = l->env->wall(l->env);
	struct lease_key *k = key_find(p, key);
	struct lease *oldest, *e = NULL;
	struct cy_addr a;

	if (requested && cy_addr_len(requested) && range_has(&p->range, requested)) {
		e = lease_at(l, requested);
		if (!e)
			return give_fresh(l, p, requested, key, out);
		if (e->pool == p && !e->session && (strcmp(e->key->name, key) == 0 || e->until <= now)) {
			*out = e;
			return lease_take_over(l, e, key) ? CY_OK : CY_E_NOMEM;
		}
	}
	e = k && !list_empty(&k->offline) ? list_entry(list_first(&k->offline), struct lease, of_key) : NULL;
	oldest = list_empty(&p->offline) ? NULL : list_entry(list_first(&p->offline), struct lease, offline);
	if (!e && oldest && oldest->until <= now)
		e = oldest;
	if (!e && fresh_address(l, p, &a))
		return give_fresh(l, p, &a, key, out);
	if (!e)
		e = oldest;
	if (!e)
		return CY_E_LIMIT;
	*out = e;
	return lease_take_over(l, e, key) ? CY_OK : CY_E_NOMEM;
}

enum cy_err leases_acquire(struct leases *l, const char *pool, int family, const char *key, uint64_t session,
    const struct cy_addr *requested, struct cy_addr *out)
{
	struct lease_pool *p;
	struct lease *e;
	enum cy_err err;

	if (session == 0)
		return CY_E_INVAL;
	pthread_mutex_lock(&l->lock);
	err = leases_pool_get(l, pool, &p);
	if (err == CY_E_PARSE || (!err && p->range.lo.family != family))
		err = CY_E_NOTFOUND;
	if (!err) {
		p->configured = true;
		e = lease_of_session(p, key, session);
		if (!e) {
			err = choose(l, p, key, requested, &e);
			if (!err)
				lease_go_online(l, e, session);
		}
		if (!err)
			*out = e->addr;
	}
	pthread_mutex_unlock(&l->lock);
	leases_store_kick(l);
	return err;
}

enum cy_err leases_acquire_static(
    struct leases *l, const struct cy_addr *addr, const char *key, uint64_t session, const char **out_pool)
{
	char name[ADDR_STR_MAX];
	struct lease_pool *p;
	enum cy_err err = CY_OK;
	struct lease *e;

	if (session == 0)
		return CY_E_INVAL;
	pthread_mutex_lock(&l->lock);
	e = lease_at(l, addr);
	if (e && e->session && e->session != session) {
		if (strcmp(e->key->name, key) == 0)
			lease_go_offline(e, l->env->wall(l->env));
		else
			err = CY_E_BUSY;
	}
	if (!e) {
		err = leases_pool_get(l, addr_str(addr, name), &p);
		if (!err)
			err = give_fresh(l, p, addr, key, &e);
	}
	if (!err && !e->session && !lease_take_over(l, e, key))
		err = CY_E_NOMEM;
	if (!err && !e->session)
		lease_go_online(l, e, session);
	if (!err)
		*out_pool = e->pool->name;
	pthread_mutex_unlock(&l->lock);
	leases_store_kick(l);
	return err;
}

void leases_release(struct leases *l, const char *pool, const struct cy_addr *addr, uint64_t session)
{
	struct lease *e;

	pthread_mutex_lock(&l->lock);
	e = lease_at(l, addr);
	if (e && e->session && e->session == session && strcmp(e->pool->name, pool) == 0) {
		lease_go_offline(e, l->env->wall(l->env) + l->lease_time);
		leases_store_save(l, e);
	}
	pthread_mutex_unlock(&l->lock);
	leases_store_kick(l);
}

void leases_end(struct leases *l, uint64_t session)
{
	struct list *pn;
	struct hnode *n, *next;

	pthread_mutex_lock(&l->lock);
	list_foreach (pn, &l->pools) {
		struct lease_pool *p = list_entry(pn, struct lease_pool, node);

		for (n = hmap_first(&p->by_session, session_hash(&p->by_session, session)); n; n = next) {
			struct lease *e = container_of(n, struct lease, by_session);

			next = hmap_next(n);
			if (e->session != session)
				continue;
			lease_go_offline(e, l->env->wall(l->env) + l->lease_time);
			leases_store_save(l, e);
		}
	}
	pthread_mutex_unlock(&l->lock);
	leases_store_kick(l);
}

void leases_transfer(struct leases *l, uint64_t old_session, uint64_t new_session)
{
	struct list *pn;

	if (!old_session || !new_session || old_session == new_session)
		return;
	pthread_mutex_lock(&l->lock);
	list_foreach (pn, &l->pools) {
		struct lease_pool *p = list_entry(pn, struct lease_pool, node);
		uint64_t hash = session_hash(&p->by_session, old_session);
		struct hnode *n, *next;

		for (n = hmap_first(&p->by_session, hash); n; n = next) {
			struct lease *e = container_of(n, struct lease, by_session);

			next = hmap_next(n);
			if (e->session != old_session)
				continue;
			hmap_del(&p->by_session, n);
			e->session = new_session;
			hmap_add(&p->by_session, n, session_hash(&p->by_session, new_session));
		}
	}
	pthread_mutex_unlock(&l->lock);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

#define CHUNK 64

/* Leases of one pool from *at on, copied: what cb does may take its time. Returns how many. */
static size_t copy_chunk(
    struct leases *l, struct lease_pool *p, size_t *at, struct lease_info *out, char **keys)
{
	size_t n = 0;

	pthread_mutex_lock(&l->lock);
	for (; n < CHUNK && *at < p->n_leases; (*at)++) {
		const struct lease *e = p->leases[*at];

		keys[n] = strdup(e->key->name);
		if (!keys[n])
			continue;
		out[n] = (struct lease_info){p->name, keys[n], e->addr, e->session, e->since, e->until};
		n++;
	}
	pthread_mutex_unlock(&l->lock);
	return n;
}

/* The pool after p, or the first; pools stay until the end. */
static struct lease_pool *next_pool(struct leases *l, struct lease_pool *p)
{
	struct list *n;

	pthread_mutex_lock(&l->lock);
	n = p ? p->node.next : l->pools.next;
	pthread_mutex_unlock(&l->lock);
	return n == &l->pools ? NULL : list_entry(n, struct lease_pool, node);
}

void leases_list(struct leases *l, void (*cb)(void *user, const struct lease_info *i), void *user)
{
	struct lease_info infos[CHUNK];
	char *keys[CHUNK];

	for (struct lease_pool *p = next_pool(l, NULL); p; p = next_pool(l, p)) {
		size_t at = 0, n;

		while ((n = copy_chunk(l, p, &at, infos, keys)) > 0) {
			for (size_t i = 0; i < n; i++) {
				cb(user, &infos[i]);
				free(keys[i]);
			}
		}
	}
}

void leases_pools(struct leases *l, void (*cb)(void *user, const struct lease_pool_info *i), void *user)
{
	for (struct lease_pool *p = next_pool(l, NULL); p; p = next_pool(l, p)) {
		struct lease_pool_info info;
		bool show;

		pthread_mutex_lock(&l->lock);
		info = (struct lease_pool_info){p->name, p->size, p->online, p->n_leases - p->online};
		show = p->configured || p->online;
		pthread_mutex_unlock(&l->lock);
		if (show)
			cb(user, &info);
	}
}
