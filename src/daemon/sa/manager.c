/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/manager.h"

#include <stdlib.h>

#include "daemon/sa/about.h"
#include "daemon/sa/totals.h"
#include "libcore/base/addr.h"

/* --- life -------------------------------------------------------------------------------------------------------- */

static void shard_fini(struct sa_shard *s)
{
	size_t pos = 0;
	slab_handle h;
	struct ike_sa *sa;

	while ((sa = slab_next(&s->slab, &pos, &h)))
		ike_sa_destroy(sa, "the daemon stops");
	firsts_fini(&s->firsts);
	child_owed_free(s);
	hmap_fini(&s->by_spi);
	hmap_fini(&s->by_init);
	hmap_fini(&s->by_id);
	hmap_fini(&s->child_in);
	hmap_fini(&s->child_out);
	protect_cache_free(s->protect);
	slab_fini(&s->slab);
}

static enum cy_err shard_init(struct sa_manager *m, uint32_t i)
{
	struct sa_shard *s = &m->shards[i];
	enum cy_err e;

	s->m = m;
	s->d = m->d;
	s->index = i;
	s->w = processor_worker(m->d->processor, i);
	slab_init(&s->slab, sizeof(struct ike_sa), 0);
	list_init(&s->half_open);
	list_init(&s->answered);
	list_init(&s->owed);
	e = hmap_init(&s->by_spi, m->map_key);
	if (!e)
		e = hmap_init(&s->by_init, m->map_key);
	if (!e)
		e = hmap_init(&s->by_id, m->map_key);
	if (!e)
		e = firsts_init(&s->firsts, s->w, m->map_key, m->d->tune.half_open_timeout_ns);
	if (!e)
		e = hmap_init(&s->child_in, m->map_key);
	if (!e)
		e = hmap_init(&s->child_out, m->map_key);
	if (!e)
		e = protect_cache_new(m->d->crypto, m->d->env, &s->protect);
	return e;
}

enum cy_err sa_manager_new(struct daemon *d, struct sa_manager **out)
{
	struct sa_manager *m = calloc(1, sizeof(*m));
	enum cy_err e;

	if (!m)
		return CY_E_NOMEM;
	m->d = d;
	m->n = processor_n(d->processor);
	m->next_reqid = 16384; /* below are the administrator's (reqid=) */
	m->next_own_id = 1000;
	d->env->random(d->env, m->map_key, sizeof(m->map_key));
	d->env->random(d->env, m->cookie_secret, sizeof(m->cookie_secret));
	pthread_mutex_init(&m->cookie_lock, NULL);
	pthread_mutex_init(&m->peers_lock, NULL);
	pthread_mutex_init(&m->reqids_lock, NULL);
	m->shards = calloc(m->n, sizeof(*m->shards));
	e = m->shards ? hmap_init(&m->peers, m->map_key) : CY_E_NOMEM;
	if (!e)
		e = hmap_init(&m->peers_by_conf, m->map_key);
	if (!e)
		e = hmap_init(&m->peers_by_addr, m->map_key);
	if (!e)
		e = hmap_init(&m->by_owner, m->map_key);
	if (!e)
		e = hmap_init(&m->claims, m->map_key);
	if (!e)
		e = half_open_new(m->map_key, &m->half_open);
	if (!e)
		e = totals_new(m->map_key, &m->totals);
	for (uint32_t i = 0; !e && i < m->n; i++)
		e = shard_init(m, i);
	if (e) {
		sa_manager_free(m);
		return e;
	}
	*out = m;
	return CY_OK;
}

void sa_manager_free(struct sa_manager *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; m->shards && i < m->n; i++)
		if (m->shards[i].m)
			shard_fini(&m->shards[i]);
	free(m->shards);
	hmap_fini(&m->peers);
	hmap_fini(&m->peers_by_conf);
	hmap_fini(&m->peers_by_addr);
	hmap_fini(&m->by_owner);
	hmap_fini(&m->claims);
	half_open_free(m->half_open);
	totals_free(m->totals);
	mem_wipe(m->cookie_secret, sizeof(m->cookie_secret));
	mem_wipe(m->crash_secret, sizeof(m->crash_secret));
	pthread_mutex_destroy(&m->cookie_lock);
	pthread_mutex_destroy(&m->peers_lock);
	pthread_mutex_destroy(&m->reqids_lock);
	free(m);
}

struct sa_shard *sa_shard_of(struct sa_manager *m, struct worker *w)
{
	return &m->shards[worker_index(w)];
}

/* --- look-up ------------------------------------------------------------------------------------------------------ */

struct ike_sa *sa_find(struct sa_shard *s, uint64_t our_spi)
{
	struct hnode *n;

	for (n = hmap_first(&s->by_spi, hmap_hash(&s->by_spi, &our_spi, sizeof(our_spi))); n;
	     n = hmap_next(n)) {
		struct ike_sa *sa = container_of(n, struct ike_sa, by_spi);

		if (ike_sa_our_spi(sa) == our_spi)
			return sa;
	}
	return NULL;
}

uint64_t sa_init_hash(const struct sa_shard *s, uint64_t spi_i, const struct cy_addr *remote)
{
	return addr_hash(s->by_init.key, remote, false) ^ hmap_hash(&s->by_init, &spi_i, sizeof(spi_i));
}

struct ike_sa *sa_find_init(struct sa_shard *s, uint64_t spi_i, const struct cy_addr *remote)
{
	struct hnode *n;

	for (n = hmap_first(&s->by_init, sa_init_hash(s, spi_i, remote)); n; n = hmap_next(n)) {
		struct ike_sa *sa = container_of(n, struct ike_sa, by_init);

		/* the port may have changed: the peer moves to the NAT-T port */
		if (sa->spi_i != spi_i || !cy_addr_ip_eq(&sa->remote, remote))
			continue;
		if (!ike_sa_init_is_old(sa))
			return sa;
		ike_sa_unindex_init(sa);
		return NULL;
	}
	return NULL;
}

struct ike_sa *sa_by_id(struct sa_shard *s, uint64_t id)
{
	struct hnode *n;

	for (n = hmap_first(&s->by_id, hmap_hash(&s->by_id, &id, sizeof(id))); n; n = hmap_next(n)) {
		struct ike_sa *sa = container_of(n, struct ike_sa, by_id);

		if (sa->id == id)
			return sa;
	}
	return NULL;
}

/*
 * IKEv1 has no flag that says which cookie is ours: it may be either. It is here because of the initiator's, where its IKE_SA is unless it
 * took the CHILD_SAs of another one over: these cannot leave their worker, so who begins with an address that has an IKE_SA is
 * passed to that one's worker, which our cookie as responder names from then on. False: it went there.
 */
static bool deliver_v1(struct sa_shard *s, struct net_packet *p, struct ike_sa **out)
{
	struct sa_manager *m = s->m;
	struct sa_shard *home = NULL;
	struct ike_sa *sa = NULL;

	if (p->h.spi_r) {
		sa = sa_find(s, p->h.spi_r);
		if (!sa || sa->spi_i != p->h.spi_i)
			sa = sa_find(s, p->h.spi_i);
		if (!sa)
			home = &m->shards[net_spi_owner(s->d->net, p->h.spi_r)];
	} else if (p->h.exchange == EXCHANGE_V1_INFORMATIONAL) {
		/* a refusal by a responder that has made no cookie */
		sa = sa_find(s, p->h.spi_i);
	} else {
		sa = sa_find_init(s, p->h.spi_i, &p->src);
		if (!sa && !p->passed_on)
			home = unique_by_addr(m, &p->src);
	}
	if (!sa && home && home != s && !p->passed_on) {
		net_pass_on(s->d->net, home->w, p);
		return false;
	}
	*out = sa;
	return true;
}

void sa_deliver(void *manager, struct worker *w, struct net_packet *p)
{
	struct sa_manager *m = manager;
	struct sa_shard *s = sa_shard_of(m, w);
	uint64_t ours = p->h.flags & IKE_FLAG_INITIATOR ? p->h.spi_r : p->h.spi_i;
	struct ike_sa *sa = NULL;

	if (p->h.major >= ARRAY_LEN(m->d->ike) || !m->d->ike[p->h.major]) {
		/* RFC 7296, 2.5: INVALID_MAJOR_VERSION, in the highest version we speak */
		m->d->ike[2]->stray(s, p);
		return;
	}
	if (p->h.major == 1 && !deliver_v1(s, p, &sa))
		return;
	if (p->h.major == 1)
		;
	else if (ours)
		sa = sa_find(s, ours);
	else
		sa = sa_find_init(s, p->h.spi_i, &p->src);
	sa_about_packet(sa, p);
	if (!sa || sa->version != p->h.major)
		m->d->ike[p->h.major]->stray(s, p);
	else
		exchange_feed(sa, p);
}

/* --- every shard --------------------------------------------------------------------------------------------------- */

struct each;
struct each_job {
	struct job job;
	struct each *each;
	struct sa_shard *s;
};

struct each {
	void (*fn)(struct sa_shard *s, void *user);
	void (*done)(void *user);
	void *user;
	uint32_t left;
	struct each_job jobs[];
};

static void each_run(struct worker *w, struct job *j)
{
	struct each_job *ej = container_of(j, struct each_job, job);
	struct each *e = ej->each;

	(void)w;
	e->fn(ej->s, e->user);
	if (__atomic_sub_fetch(&e->left, 1, __ATOMIC_ACQ_REL) == 0) {
		if (e->done)
			e->done(e->user);
		free(e);
	}
}

enum cy_err sa_each_shard(struct sa_manager *m, enum prio prio, void (*fn)(struct sa_shard *s, void *user),
    void (*done)(void *user), void *user)
{
	struct each *e = calloc(1, sizeof(*e) + m->n * sizeof(e->jobs[0]));
	uint32_t n = m->n;

	if (!e)
		return CY_E_NOMEM;
	e->fn = fn;
	e->done = done;
	e->user = user;
	e->left = n;
	for (uint32_t i = 0; i < n; i++) {
		e->jobs[i].job.fn = each_run;
		e->jobs[i].each = e;
		e->jobs[i].s = &m->shards[i];
	}
	for (uint32_t i = 0; i < n; i++)
		worker_post(m->shards[i].w, &e->jobs[i].job, prio, JOB_CONTROL);
	return CY_OK;
}

/* --- every IKE_SA, some at a time ---------------------------------------------------------------------------------- */

#define WALK_PASSES 8 /* over what was made during the pass before */

struct walk_job {
	struct job job;
	struct walk *walk;
	struct sa_shard *s;
	size_t pos;
	uint64_t newer,
	    end; /* numbers of IKE_SAs: this pass visits those above newer, the next those above end */
	uint32_t pass;
};

struct walk {
	sa_each_fn fn;
	void (*done)(void *user);
	void *user;
	enum prio prio;
	uint32_t left;
	struct walk_job jobs[];
};

/* False: there is more to do. */
static bool walk_some(struct walk_job *j)
{
	uint32_t cost = 0;
	slab_handle h;

	while (cost < SA_EACH_COST) {
		struct ike_sa *sa = slab_next(&j->s->slab, &j->pos, &h);

		cost++;
		if (sa) {
			if (sa->id > j->newer)
				cost += j->walk->fn(sa, j->walk->user);
			continue;
		}
		j->newer = j->end;
		j->end = __atomic_load_n(&j->s->m->next_ike_id, __ATOMIC_RELAXED);
		j->pos = 0;
		if (j->end == j->newer || ++j->pass == WALK_PASSES)
			return true;
	}
	return false;
}

static void walk_run(struct worker *w, struct job *job)
{
	struct walk_job *j = container_of(job, struct walk_job, job);
	struct walk *k = j->walk;

	if (!walk_some(j)) {
		worker_post(w, &j->job, k->prio, JOB_CONTROL);
		return;
	}
	if (__atomic_sub_fetch(&k->left, 1, __ATOMIC_ACQ_REL))
		return;
	if (k->done)
		k->done(k->user);
	free(k);
}

enum cy_err sa_each(struct sa_manager *m, enum prio prio, sa_each_fn fn, void (*done)(void *user), void *user)
{
	struct walk *k = calloc(1, sizeof(*k) + m->n * sizeof(k->jobs[0]));
	uint32_t n = m->n;

	if (!k)
		return CY_E_NOMEM;
	*k = (struct walk){.fn = fn, .done = done, .user = user, .prio = prio, .left = n};
	for (uint32_t i = 0; i < n; i++) {
		k->jobs[i].job.fn = walk_run;
		k->jobs[i].walk = k;
		k->jobs[i].s = &m->shards[i];
		k->jobs[i].end = __atomic_load_n(&m->next_ike_id, __ATOMIC_RELAXED);
	}
	for (uint32_t i = 0; i < n; i++)
		worker_post(m->shards[i].w, &k->jobs[i].job, prio, JOB_CONTROL);
	return CY_OK;
}

static uint32_t close_one(struct ike_sa *sa, void *user)
{
	(void)user;
	ike_sa_close(sa, "the daemon stops");
	return SA_CLOSE_COST;
}

void sa_manager_shutdown(struct sa_manager *m)
{
	__atomic_store_n(&m->stopping, true, __ATOMIC_RELAXED);
	(void)!sa_each(m, PRIO_CRITICAL, close_one, NULL, NULL);
}

/* --- events of the data plane ---------------------------------------------------------------------------------------- */

struct kernel_event {
	struct job job;
	struct sa_shard *s;
	struct cy_kernel_sa_id id;
	struct cy_addr new_src;
	bool hard, mapping;
};

struct child_sa *child_find_in(struct sa_shard *s, uint32_t spi)
{
	struct hnode *n;

	for (n = hmap_first(&s->child_in, hmap_hash(&s->child_in, &spi, sizeof(spi))); n; n = hmap_next(n))
		if (container_of(n, struct child_sa, by_spi_in)->spi_in == spi)
			return container_of(n, struct child_sa, by_spi_in);
	return NULL;
}

static struct child_sa *child_find(struct sa_shard *s, const struct cy_kernel_sa_id *id)
{
	struct hnode *n;

	if (id->dir != CY_DIR_OUT && child_find_in(s, id->spi))
		return child_find_in(s, id->spi);
	for (n = hmap_first(&s->child_out, hmap_hash(&s->child_out, &id->spi, sizeof(id->spi))); n;
	     n = hmap_next(n)) {
		struct child_sa *c = container_of(n, struct child_sa, by_spi_out);

		if (c->spi_out == id->spi && cy_addr_ip_eq(&c->sa->remote, &id->dst))
			return c;
	}
	return NULL;
}

static void kernel_event_job(struct worker *w, struct job *j)
{
	struct kernel_event *ev = container_of(j, struct kernel_event, job);
	struct child_sa *c = child_find(ev->s, &ev->id);

	(void)w;
	if (c && list_linked(&c->node)) {
		if (!ev->mapping)
			child_expire(c, ev->hard);
		else if (!child_is_extra(c)) /* those of CPUs may come from ports of their own */
			ike_sa_moved(c->sa, &c->sa->local, &ev->new_src);
	}
	free(ev);
}

/* An SPI of ours names its worker; one of the peer's may be anywhere. */
static void kernel_event(
    struct daemon *d, const struct cy_kernel_sa_id *id, bool hard, const struct cy_addr *new_src)
{
	struct sa_manager *m = d->sas;

	if (!m)
		return;
	for (uint32_t i = 0; i < m->n; i++) {
		struct kernel_event *ev;

		if (id->dir == CY_DIR_IN && net_esp_spi_owner(d->net, id->spi) != i)
			continue;
		ev = calloc(1, sizeof(*ev));
		if (!ev)
			return;
		ev->job.fn = kernel_event_job;
		ev->s = &m->shards[i];
		ev->id = *id;
		ev->hard = hard;
		if (new_src) {
			ev->mapping = true;
			ev->new_src = *new_src;
		}
		worker_post(m->shards[i].w, &ev->job, PRIO_HIGH, JOB_EXPIRE);
	}
}

static void on_expire(void *user, const struct cy_kernel_sa_id *id, bool hard)
{
	kernel_event(user, id, hard, NULL);
}

static void on_mapping(void *user, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src)
{
	kernel_event(user, id, false, new_src);
}

struct knl_handlers sa_kernel_handlers(struct daemon *d)
{
	return (struct knl_handlers){.user = d,
	    .acquire = sa_on_acquire,
	    .expire = on_expire,
	    .mapping = on_mapping,
	    .network_changed = sa_on_network,
	    .resync = sa_on_resync};
}
