/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/kernel/knl.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "daemon/net/interfaces.h"
#include "libcore/base/secret.h"

const char *const knl_op_names[KNL_OP_N] = {
    [KNL_SA_ADD] = "sa_add",
    [KNL_SA_DEL] = "sa_del",
    [KNL_SA_MOVE] = "sa_move",
    [KNL_SA_QUERY] = "sa_query",
    [KNL_POLICY_ADD] = "policy_add",
    [KNL_POLICY_DEL] = "policy_del",
    [KNL_POLICY_CPU] = "policy_cpu",
    [KNL_ADDR_SET] = "addr_set",
    [KNL_SOURCE_FOR] = "source_for",
    [KNL_DEVICE_USE] = "device_use",
    [KNL_DEVICE_UNUSE] = "device_unuse",
    [KNL_RESYNC] = "resync",
};

struct knl {
	struct daemon *d;
	const struct cy_kernel_ops *ops;
	void *k; /* the data plane's handle */
	uint32_t features;
	struct knl_handlers h;
	struct cy_kernel_events ev;
	struct knl_policies *policies;
	uint64_t settle_ns; /* not before, when it refused */
	struct knl_devices *devices;
	pthread_t thread;
	bool devices_changed /* atomic */;
	bool threaded, stopping, resyncing /* atomic: a KNL_RESYNC is queued */, listening /* atomic */;
	pthread_mutex_t
	    lock; /* guards queue, stopping and the statistics below; held for a few instructions */
	pthread_cond_t cond;
	struct list queue, reserve; /* reserve: requests for when memory is short */
	bool unsignalled; /* a worker has queued and not yet signalled; also read without the lock */
	struct knl_stats stats;
	uint64_t running_since_ns; /* atomic; of the stats */
	pthread_mutex_t run_lock;  /* CY_KERNEL_INLINE: one call at a time; for a few microseconds */
};

/* Requests whose completions are posted together, so that a worker is woken once for them. */
#define FINISH_TOGETHER 16

/* A data plane that refused to take out a policy is asked again with a later request. */
#define SETTLE_NS (100 * NS_PER_MS)

/* The data plane may tell something before the daemon is all there. */
static bool listens(const struct knl *k)
{
	return __atomic_load_n(&k->listening, __ATOMIC_ACQUIRE);
}

void knl_listen(struct knl *k)
{
	__atomic_store_n(&k->listening, true, __ATOMIC_RELEASE);
}

static void on_acquire(void *user, uint32_t reqid, uint64_t cookie, const struct cy_ts *src,
    const struct cy_ts *dst, int32_t cpu)
{
	struct knl *k = user;

	if (k->h.acquire && listens(k))
		k->h.acquire(k->h.user, reqid, cookie, src, dst, cpu);
}

static void on_expire(void *user, const struct cy_kernel_sa_id *id, bool hard)
{
	struct knl *k = user;

	if (k->h.expire && listens(k))
		k->h.expire(k->h.user, id, hard);
}

static void on_mapping(void *user, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src)
{
	struct knl *k = user;

	if (k->h.mapping && listens(k))
		k->h.mapping(k->h.user, id, new_src);
}

static void on_network(void *user)
{
	struct knl *k = user;

	if (k->h.network_changed && listens(k))
		k->h.network_changed(k->h.user);
}

static bool has_dump(const struct knl *k)
{
	return k->ops->size >= offsetof(struct cy_kernel_ops, sa_dump) + sizeof(k->ops->sa_dump) &&
	    k->ops->sa_dump != NULL;
}

static void on_overrun(void *user)
{
	struct knl *k = user;
	struct knl_req *r;

	if (!listens(k))
		return;
	LOGF(k->d->log, LOG_KNL, CY_LOG_WARN, NULL,
	    "the kernel lost events for us (receive buffer full): comparing what it has with what we know");
	if (!has_dump(k) || __atomic_exchange_n(&k->resyncing, true, __ATOMIC_ACQ_REL))
		return; /* one that has not begun yet will see it all */
	r = knl_req_new(1);
	if (!r) {
		__atomic_store_n(&k->resyncing, false, __ATOMIC_RELEASE);
		return;
	}
	knl_req_add(r, KNL_RESYNC);
	knl_submit(k, r);
}

/* --- after lost events ------------------------------------------------------------------------------------------------ */

struct dump {
	struct knl_sa *sas;
	size_t n, cap;
	bool nomem;
};

static void dump_add(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats)
{
	struct dump *d = user;

	if (d->n == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 256;
		struct knl_sa *sas = realloc(d->sas, cap * sizeof(*sas));

		if (!sas) {
			d->nomem = true;
			return;
		}
		d->sas = sas;
		d->cap = cap;
	}
	d->sas[d->n++] = (struct knl_sa){*id, *stats};
}

static enum cy_err resync(struct knl *k)
{
	struct dump d = {0};
	uint64_t now = env_now(k->d->env);
	enum cy_err e;

	__atomic_store_n(&k->resyncing, false, __ATOMIC_RELEASE);
	e = k->ops->sa_dump(k->k, dump_add, &d);
	if (!e && d.nomem)
		e = CY_E_NOMEM; /* what is missing in it would look gone */
	if (e || !k->h.resync) {
		free(d.sas);
		return e;
	}
	k->h.resync(k->h.user, d.sas, d.n, now);
	return CY_OK;
}

static enum cy_err sa_del(struct knl *k, struct knl_step *s)
{
	/* The last counters of an SA belong to its connection's totals. */
	(void)!k->ops->sa_query(k->k, &s->u.id, &s->stats);
	return k->ops->sa_del(k->k, &s->u.id);
}

static enum cy_err source_for(struct knl *k, struct knl_step *s)
{
	enum cy_err e = k->ops->source_for(k->k, &s->u.source.dst, &s->u.source.src);

	if (!e && !interfaces_has_addr(k->d->interfaces, &s->u.source.src))
		return CY_E_DENIED;
	return e;
}

static enum cy_err step_run(struct knl *k, struct knl_step *s)
{
	switch (s->op) {
	case KNL_SA_ADD:
		return k->ops->sa_add(k->k, &s->u.add.sa);
	case KNL_SA_DEL:
		return sa_del(k, s);
	case KNL_SA_MOVE:
		return k->ops->sa_move(
		    k->k, &s->u.move.id, &s->u.move.new_src, &s->u.move.new_dst, s->u.move.encap);
	case KNL_SA_QUERY:
		return k->ops->sa_query(k->k, &s->u.id, &s->stats);
	case KNL_POLICY_ADD:
		return knl_policy_add(k->policies, k->ops, k->k, &s->u.policy.p);
	case KNL_POLICY_DEL:
		return knl_policy_del(k->policies, k->ops, k->k, &s->u.policy.p);
	case KNL_POLICY_CPU:
		return knl_policy_cpu(k->policies, k->ops, k->k, &s->u.policy.p);
	case KNL_ADDR_SET:
		return k->ops->addr_set(k->k, &s->u.addr.addr, s->u.addr.prefix, s->u.addr.on);
	case KNL_SOURCE_FOR:
		s->u.source.is_local = k->ops->is_local && k->ops->is_local(k->k, &s->u.source.dst);
		return source_for(k, s);
	case KNL_DEVICE_USE:
		return knl_device_use(k->devices, k->ops, k->k, s->u.device.conn, false);
	case KNL_DEVICE_UNUSE:
		return knl_device_unuse(k->devices, k->ops, k->k, s->u.device.conn, false);
	case KNL_RESYNC:
		return resync(k);
	case KNL_OP_N:
		break;
	}
	return CY_E_BUG;
}

/* A step that was run; the kernel thread's time by what it did. */
static void step_count(struct knl *k, const struct knl_step *s, uint64_t ns)
{
	__typeof__(k->stats.op[0]) *o = &k->stats.op[s->op];

	pthread_mutex_lock(&k->lock);
	o->n++;
	o->failed += s->err != CY_OK;
	o->ns += ns;
	if (ns > o->max_ns)
		o->max_ns = ns;
	pthread_mutex_unlock(&k->lock);
}

struct cy_kernel_sa_id knl_sa_id(const struct cy_kernel_sa *sa)
{
	return (struct cy_kernel_sa_id){.spi = sa->spi,
	    .src = sa->src,
	    .dst = sa->dst,
	    .proto = sa->proto,
	    .dir = sa->dir,
	    .mark = sa->mark,
	    .if_id = sa->if_id};
}

static void step_undo(struct knl *k, struct knl_step *s)
{
	struct cy_kernel_sa_id id;

	switch (s->op) {
	case KNL_SA_ADD:
		id = knl_sa_id(&s->u.add.sa);
		(void)!k->ops->sa_del(k->k, &id);
		break;
	case KNL_POLICY_ADD:
		(void)!knl_policy_del(k->policies, k->ops, k->k, &s->u.policy.p);
		break;
	case KNL_DEVICE_USE:
		(void)!knl_device_unuse(k->devices, k->ops, k->k, s->u.device.conn, false);
		break;
	default:
		break;
	}
}

static void load_devices(struct knl *k)
{
	struct config *c;

	if (!__atomic_exchange_n(&k->devices_changed, false, __ATOMIC_ACQ_REL))
		return;
	c = daemon_config(k->d);
	if (c && c->conf && knl_devices_load(k->devices, k->ops, k->k, c->conf) == CY_E_NOMEM)
		__atomic_store_n(&k->devices_changed, true, __ATOMIC_RELEASE);
	config_unref(c);
}

static void req_run(struct knl *k, struct knl_req *r)
{
	uint64_t now = env_now(k->d->env);

	if (now >= k->settle_ns && !knl_policies_settle(k->policies, k->ops, k->k))
		k->settle_ns = now + SETTLE_NS;
	load_devices(k);
	for (uint32_t i = 0; i < r->n; i++) {
		struct knl_step *s = &r->step[i];
		uint64_t begun = now;

		s->err = step_run(k, s);
		s->done = true;
		now = env_now(k->d->env);
		step_count(k, s, now - begun);
		if (!s->err)
			continue;
		if (!r->err)
			r->err = s->err;
		if (!r->undo)
			continue;
		while (i-- > 0)
			step_undo(k, &r->step[i]);
		break;
	}
}

static void complete(struct worker *w, struct job *j)
{
	struct knl_req *r = container_of(j, struct knl_req, job);

	if (r->done)
		r->done(w, r);
	else
		knl_req_free(r);
}

/* When it began; after all its steps. */
static void req_count(struct knl *k, const struct knl_req *r, uint64_t began, uint64_t now)
{
	k->stats.requests++;
	k->stats.steps += r->n;
	k->stats.failures += r->err != CY_OK;
	if (now - began > k->stats.max_ns)
		k->stats.max_ns = now - began;
	if (began - r->queued_ns > k->stats.wait_max_ns)
		k->stats.wait_max_ns = began - r->queued_ns;
	hist_add(&k->stats.wait, began - r->queued_ns);
}

static void req_post(struct knl_req *r)
{
	if (r->worker)
		worker_post(r->worker, &r->job, PRIO_HIGH, JOB_COMPLETION);
	else
		knl_req_free(r);
}

static void req_run_and_finish(struct knl *k, struct knl_req *r)
{
	uint64_t began = env_now(k->d->env), now;

	req_run(k, r);
	now = env_now(k->d->env);
	pthread_mutex_lock(&k->lock);
	req_count(k, r, began, now);
	k->stats.policies = knl_policies_count(k->policies);
	k->stats.policies_owed = knl_policies_owed(k->policies);
	pthread_mutex_unlock(&k->lock);
	req_post(r);
}

/* Runs some of the batch, then posts their completions. */
static void run_some(struct knl *k, struct list *batch)
{
	struct list done, *n;

	list_init(&done);
	for (int i = 0; i < FINISH_TOGETHER && (n = list_pop(batch)); i++) {
		struct knl_req *r = list_entry(n, struct knl_req, node);
		uint64_t began = env_now(k->d->env), now;

		__atomic_store_n(&k->running_since_ns, began, __ATOMIC_RELAXED);
		req_run(k, r);
		now = env_now(k->d->env);
		pthread_mutex_lock(&k->lock);
		req_count(k, r, began, now);
		pthread_mutex_unlock(&k->lock);
		list_push(&done, &r->node);
		if (now - began > NS_PER_MS)
			break; /* slow: nobody waits for the others */
	}
	__atomic_store_n(&k->running_since_ns, 0, __ATOMIC_RELAXED);
	pthread_mutex_lock(&k->lock);
	k->stats.policies = knl_policies_count(k->policies);
	k->stats.policies_owed = knl_policies_owed(k->policies);
	pthread_mutex_unlock(&k->lock);
	while ((n = list_pop(&done)))
		req_post(list_entry(n, struct knl_req, node));
}

static void *kernel_thread(void *arg)
{
	struct knl *k = arg;

	for (;;) {
		struct list batch;

		list_init(&batch);
		pthread_mutex_lock(&k->lock);
		while (list_empty(&k->queue) && !k->stopping)
			pthread_cond_wait(&k->cond, &k->lock);
		list_splice(&batch, &k->queue);
		k->stats.queued = 0;
		pthread_mutex_unlock(&k->lock);
		if (list_empty(&batch))
			return NULL;
		while (!list_empty(&batch))
			run_some(k, &batch);
	}
}

/* On a worker, before it polls or sleeps. */
static void on_turn(void *user)
{
	struct knl *k = user;

	if (!__atomic_load_n(&k->unsignalled, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&k->lock);
	__atomic_store_n(&k->unsignalled, false, __ATOMIC_RELAXED);
	pthread_cond_signal(&k->cond);
	pthread_mutex_unlock(&k->lock);
}

static void on_turns(struct knl *k, void (*fn)(void *user))
{
	struct daemon *d = k->d;

	for (uint32_t i = 0; d->processor && i < processor_n(d->processor); i++)
		worker_on_turn(processor_worker(d->processor, i), fn, k);
}

/* --- requests for when memory is short ---------------------------------------------------------------------------- */

static bool make_reserve(struct knl *k)
{
	for (int i = 0; i < KNL_RESERVE; i++) {
		struct knl_req *r = knl_req_new(KNL_RESERVE_STEPS);

		if (!r)
			return false;
		r->reserve = k;
		list_push(&k->reserve, &r->node);
	}
	return true;
}

static void free_reserve(struct knl *k)
{
	struct list *n;

	while ((n = list_pop(&k->reserve)))
		free(list_entry(n, struct knl_req, node));
}

/* The same as fresh from knl_req_new(). */
static void back_to_reserve(struct knl_req *r)
{
	struct knl *k = r->reserve;

	memset(r, 0, sizeof(*r) + KNL_RESERVE_STEPS * sizeof(r->step[0]));
	r->cap = KNL_RESERVE_STEPS;
	r->job.fn = complete;
	r->reserve = k;
	list_init(&r->node);
	pthread_mutex_lock(&k->lock);
	list_push(&k->reserve, &r->node);
	pthread_mutex_unlock(&k->lock);
}

struct knl_req *knl_req_needed(struct knl *k, uint32_t cap)
{
	struct knl_req *r = knl_req_new(cap);
	struct list *n;

	if (r || cap > KNL_RESERVE_STEPS)
		return r;
	pthread_mutex_lock(&k->lock);
	n = list_pop(&k->reserve);
	pthread_mutex_unlock(&k->lock);
	return n ? list_entry(n, struct knl_req, node) : NULL;
}

enum cy_err knl_new(struct daemon *d, const struct cy_kernel_ops *ops, void *plugin,
    const struct knl_handlers *h, struct knl **out)
{
	struct knl *k = calloc(1, sizeof(*k));
	uint64_t key[2] = {env_rand64(d->env), env_rand64(d->env)};
	enum cy_err e;

	if (!k)
		return CY_E_NOMEM;
	k->d = d;
	k->ops = ops;
	k->h = *h;
	k->stats.name = ops->name;
	list_init(&k->queue);
	list_init(&k->reserve);
	pthread_mutex_init(&k->lock, NULL);
	pthread_mutex_init(&k->run_lock, NULL);
	pthread_cond_init(&k->cond, NULL);
	k->ev = (struct cy_kernel_events){.size = sizeof(k->ev),
	    .user = k,
	    .acquire = on_acquire,
	    .expire = on_expire,
	    .mapping = on_mapping,
	    .network_changed = on_network,
	    .overrun = on_overrun};
	k->policies = knl_policies_new(key);
	e = k->policies && make_reserve(k) ? knl_devices_new(d->log, key, &k->devices) : CY_E_NOMEM;
	if (!e)
		e = ops->open(plugin, &k->ev, &k->features, &k->k);
	if (e)
		goto fail;
	(void)!ops->flush(k->k);
	on_turns(k, on_turn);
	if (!d->env->simulated) {
		if (pthread_create(&k->thread, NULL, kernel_thread, k) != 0) {
			on_turns(k, NULL);
			ops->close(k->k);
			e = CY_E_NOMEM;
			goto fail;
		}
		k->threaded = true;
	}
	*out = k;
	return CY_OK;
fail:
	free_reserve(k);
	knl_policies_free(k->policies);
	knl_devices_free(k->devices);
	free(k);
	return e;
}

/* Simulated: the oldest request that waits. */
static void run_deferred(void *user)
{
	struct knl *k = user;
	struct list *n = list_pop(&k->queue);
	struct knl_req *r;

	if (!n)
		return;
	r = list_entry(n, struct knl_req, node);
	k->stats.queued--;
	req_run_and_finish(k, r);
}

void knl_stop(struct knl *k)
{
	if (!k || !k->k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stopping = true;
	pthread_cond_signal(&k->cond);
	pthread_mutex_unlock(&k->lock);
	if (k->threaded)
		pthread_join(k->thread, NULL);
	k->threaded = false;
	on_turns(k, NULL);
	while (!list_empty(&k->queue))
		run_deferred(k);
	(void)!k->ops->flush(k->k);
	k->ops->close(k->k);
	k->k = NULL;
}

void knl_free(struct knl *k)
{
	if (!k)
		return;
	knl_stop(k);
	free_reserve(k);
	knl_policies_free(k->policies);
	knl_devices_free(k->devices);
	pthread_mutex_destroy(&k->lock);
	pthread_mutex_destroy(&k->run_lock);
	pthread_cond_destroy(&k->cond);
	free(k);
}

uint32_t knl_features(const struct knl *k)
{
	return k->features;
}

const struct cy_kernel_ops *knl_ops(const struct knl *k, void **out_handle)
{
	*out_handle = k->k;
	return k->ops;
}

struct knl_req *knl_req_new(uint32_t cap)
{
	struct knl_req *r = calloc(1, sizeof(*r) + cap * sizeof(r->step[0]));

	if (!r)
		return NULL;
	r->cap = cap;
	r->job.fn = complete;
	list_init(&r->node);
	return r;
}

void knl_req_free(struct knl_req *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->n; i++)
		if (r->step[i].op == KNL_SA_ADD) {
			free(r->step[i].u.add.ts);
			mem_wipe(&r->step[i].u.add, sizeof(r->step[i].u.add));
		} else if (r->step[i].op == KNL_DEVICE_USE || r->step[i].op == KNL_DEVICE_UNUSE) {
			conn_unref(r->step[i].u.device.conn);
		}
	if (r->reserve)
		back_to_reserve(r);
	else
		free(r);
}

struct knl_step *knl_req_add(struct knl_req *r, enum knl_op op)
{
	struct knl_step *s;

	assert(r->n < r->cap);
	s = &r->step[r->n++];
	s->op = op;
	return s;
}

/* Steps live inside the request, so pointers into them are set only when it no longer moves. */
static void fix_pointers(struct knl_req *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		struct knl_step *s = &r->step[i];

		if (s->op == KNL_SA_ADD) {
			s->u.add.sa.encr_key.p = s->u.add.encr_key;
			s->u.add.sa.integ_key.p = s->u.add.integ_key;
			s->u.add.sa.ts_local = s->u.add.ts;
			s->u.add.sa.ts_remote = s->u.add.ts + s->u.add.sa.n_ts_local;
		} else if (s->op == KNL_POLICY_ADD || s->op == KNL_POLICY_DEL || s->op == KNL_POLICY_CPU) {
			s->u.policy.p.route_src =
			    s->u.policy.route_src.family ? &s->u.policy.route_src : NULL;
		}
	}
}

void knl_submit(struct knl *k, struct knl_req *r)
{
	fix_pointers(r);
	r->queued_ns = env_now(k->d->env);
	if (!k->threaded) {
		struct env *e = k->d->env;

		if (k->k && e->defer && !k->stopping) {
			list_push(&k->queue, &r->node);
			k->stats.queued++;
			e->defer(e, ENV_KERNEL, run_deferred, k);
			return;
		}
		if (!k->k)
			r->err = CY_E_CANCELLED;
		if (k->k)
			req_run_and_finish(k, r);
		else
			req_post(r);
		return;
	}
	if (k->features & CY_KERNEL_INLINE) {
		pthread_mutex_lock(&k->run_lock);
		req_run_and_finish(k, r);
		pthread_mutex_unlock(&k->run_lock);
		return;
	}
	pthread_mutex_lock(&k->lock);
	list_push(&k->queue, &r->node);
	k->stats.queued++;
	/* A worker wakes the kernel thread once for what a round of its jobs has queued. */
	if (worker_self())
		__atomic_store_n(&k->unsignalled, true, __ATOMIC_RELAXED);
	else
		pthread_cond_signal(&k->cond);
	pthread_mutex_unlock(&k->lock);
}

void knl_read_stats(struct knl *k, struct knl_stats *out)
{
	pthread_mutex_lock(&k->lock);
	*out = k->stats;
	out->features = k->features;
	out->running_since_ns = __atomic_load_n(&k->running_since_ns, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&k->lock);
}

struct knl_devices *knl_devices(struct knl *k)
{
	return k->devices;
}

static bool has_devices(struct knl *k)
{
	struct config *c = daemon_config(k->d);
	bool any = knl_devices_any(k->devices);

	for (size_t i = 0; !any && c && c->conf && i < c->conf->n_conns; i++)
		any = c->conf->conns[i]->device.kind != 0;
	config_unref(c);
	return any;
}

void knl_devices_changed(struct knl *k)
{
	struct knl_req *r;

	if (!has_devices(k))
		return;
	r = knl_req_needed(k, 0);
	__atomic_store_n(&k->devices_changed, true, __ATOMIC_RELEASE);
	if (r)
		knl_submit(k, r);
}

void knl_counters(struct knl *k, void (*cb)(void *user, const char *name, uint64_t value), void *user)
{
	if (k->ops->counters && k->k)
		k->ops->counters(k->k, cb, user);
}
