/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/run/pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "libcore/base/thread.h"

#define IO_THREADS  8
#define QUEUE_MAX   100000
#define MAX_OWNERS  64 /* the last one stands for all further names */
#define N_CLASSES   2
#define MAX_THREADS 1024
#define END_NS      NS_PER_S

enum { QUEUED = 1, RUNNING, FINISHED };

struct owner {
	char *name;
	struct list queues[N_CLASSES][PRIO_N];
	uint32_t queued[N_CLASSES], running[N_CLASSES];
	uint64_t runs, ns, wait_ns, cpu_ns;
	struct hist time, wait;
};

struct class
{
	struct pool *pool;
	enum pool_class which;
	pthread_cond_t more;
	uint32_t threads, idle, max_threads, quota;
	uint32_t queued;
	uint64_t oldest_ns;   /* atomic: pool_oldest() */
	uint32_t turn;        /* the owner asked first, next time */
	struct list deferred; /* simulated: what comes back later */
};

/* What a thread counts; kept until the pool is freed. */
struct lane {
	struct lane *next;
	struct usage_lane l;
};

/* Counted, because a thread that is left behind still comes back to it. */
struct pool {
	struct env *env;
	struct log *log;
	uint32_t refs, queue_max;

	pthread_mutex_t m; /* everything below */
	struct class classes[N_CLASSES];
	struct owner *owners[MAX_OWNERS];
	uint32_t n_owners;
	struct lane *lanes; /* of all threads there ever were */
	struct wheel deadlines;
	uint64_t reaper_due;
	pthread_cond_t reaper_wake, ended;
	uint32_t alive; /* threads, the reaper too */
	bool stop, left_behind;
};

static void come_back(struct worker *w, struct job *j)
{
	struct work *work = container_of(j, struct work, job);

	work->done(w, work, work->err);
}

/* The last time the pool touches the work; without its lock. */
static void finish(struct work *w, enum cy_err err)
{
	w->err = err;
	worker_post(w->worker, &w->job, w->prio, JOB_COMPLETION);
}

static void pool_destroy(struct pool *p)
{
	for (uint32_t i = 0; i < p->n_owners; i++) {
		free(p->owners[i]->name);
		free(p->owners[i]);
	}
	while (p->lanes) {
		struct lane *l = p->lanes;

		p->lanes = l->next;
		usage_lane_fini(&l->l);
		free(l);
	}
	for (int c = 0; c < N_CLASSES; c++)
		pthread_cond_destroy(&p->classes[c].more);
	pthread_cond_destroy(&p->reaper_wake);
	pthread_cond_destroy(&p->ended);
	pthread_mutex_destroy(&p->m);
	free(p);
}

/* Called with the lock, which is gone afterwards. */
static void unref_unlock(struct pool *p)
{
	bool last = --p->refs == 0;

	pthread_mutex_unlock(&p->m);
	if (last)
		pool_destroy(p);
}

static struct owner *owner_of(struct pool *p, const struct work *w)
{
	const char *name = w->owner ? w->owner : "daemon";
	struct owner *o;

	for (uint32_t i = 0; i < p->n_owners; i++)
		if (strcmp(p->owners[i]->name, name) == 0)
			return p->owners[i];
	if (p->n_owners == MAX_OWNERS)
		return p->owners[MAX_OWNERS - 1];
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->name = strdup(p->n_owners == MAX_OWNERS - 1 ? "others" : name);
	if (!o->name) {
		free(o);
		return NULL;
	}
	for (int c = 0; c < N_CLASSES; c++)
		for (int q = 0; q < PRIO_N; q++)
			list_init(&o->queues[c][q]);
	p->owners[p->n_owners++] = o;
	return o;
}

/* Each queue is in the order of submission. */
static void note_oldest(struct pool *p, enum pool_class class)
{
	uint64_t oldest = 0;

	for (uint32_t i = 0; i < p->n_owners; i++)
		for (int q = 0; q < PRIO_N; q++) {
			struct list *n = list_first(&p->owners[i]->queues[class][q]);
			uint64_t ns = n ? container_of(n, struct work, job.node)->queued_ns : 0;

			if (ns && (!oldest || ns < oldest))
				oldest = ns;
		}
	__atomic_store_n(&p->classes[class].oldest_ns, oldest, __ATOMIC_RELAXED);
}

uint64_t pool_oldest(const struct pool *p, enum pool_class class)
{
	const struct class *c = &p->classes[class];
	const struct list *n;

	if (!p->env->simulated)
		return __atomic_load_n(&c->oldest_ns, __ATOMIC_RELAXED);
	n = list_first(&c->deferred);
	return n ? container_of(n, const struct work, job.node)->queued_ns : 0;
}

static void unqueue(struct pool *p, struct work *w, struct owner *o)
{
	list_del(&w->job.node);
	wheel_cancel(&p->deadlines, &w->deadline);
	o->queued[w->class]--;
	p->classes[w->class].queued--;
	note_oldest(p, w->class);
}

/* By priority, then owner after owner, so that the queue of one is not in the way of another. */
static struct work *take(struct class *c, struct owner **out_owner)
{
	struct pool *p = c->pool;

	for (int q = 0; q < PRIO_N; q++) {
		for (uint32_t i = 0; i < p->n_owners; i++) {
			uint32_t at = (c->turn + i) % p->n_owners;
			struct owner *o = p->owners[at];
			struct list *n = list_first(&o->queues[c->which][q]);
			struct work *w;

			if (!n || o->running[c->which] >= c->quota)
				continue;
			w = container_of(n, struct work, job.node);
			unqueue(p, w, o);
			c->turn = at + 1;
			*out_owner = o;
			return w;
		}
	}
	return NULL;
}

static void run(struct pool *p, struct owner *o, struct work *w)
{
	uint64_t start = env_now(p->env), end, waited = start - w->queued_ns, cpu;
	enum pool_class class = w->class;

	w->state = RUNNING;
	o->running[class]++;
	pthread_mutex_unlock(&p->m);
	cpu = p->env->cpu_ns ? p->env->cpu_ns(p->env) : 0;
	w->run(w);
	pthread_mutex_lock(&p->m);
	o->running[class]--;
	if (p->left_behind)
		return; /* the env, the worker and who submitted may be gone */
	end = env_now(p->env);
	o->runs++;
	o->ns += end - start;
	o->wait_ns += waited;
	o->cpu_ns += p->env->cpu_ns ? p->env->cpu_ns(p->env) - cpu : end - start;
	hist_add(&o->time, end - start);
	hist_add(&o->wait, waited);
	w->state = FINISHED;
	/* under the lock, so that pool_free does not overtake it and let the worker be freed */
	finish(w, work_cancelled(w) ? CY_E_CANCELLED : CY_OK);
}

static void thread_ends(struct pool *p)
{
	p->alive--;
	pthread_cond_signal(&p->ended);
	unref_unlock(p);
}

static void *thread_main(void *arg)
{
	struct class *c = arg;
	struct pool *p = c->pool;
	struct lane *lane = malloc(sizeof(*lane));
	struct owner *o;
	struct work *w;

	if (lane) {
		usage_lane_init(&lane->l, p->env, false);
		(void)usage_enter(&lane->l);
	}
	pthread_mutex_lock(&p->m);
	if (lane) {
		lane->next = p->lanes;
		p->lanes = lane;
	}
	while (!p->stop) {
		w = take(c, &o);
		if (w) {
			run(p, o, w);
			continue;
		}
		c->idle++;
		pthread_cond_wait(&c->more, &p->m);
		c->idle--;
	}
	thread_ends(p);
	return NULL;
}

/* Works that are queued too long must not depend on threads that may all be hanging. */
static void *reaper_main(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->m);
	while (!p->stop) {
		struct list *n;

		wheel_collect(&p->deadlines, env_now(p->env));
		while ((n = list_first(&p->deadlines.due))) {
			struct work *w = container_of(n, struct work, deadline.node);

			unqueue(p, w, owner_of(p, w));
			w->state = FINISHED;
			finish(w, CY_E_TIMEOUT);
		}
		p->reaper_due = wheel_next(&p->deadlines);
		(void)thread_cond_wait(&p->reaper_wake, &p->m, p->reaper_due);
	}
	thread_ends(p);
	return NULL;
}

static enum cy_err start(struct pool *p, const char *name, void *(*fn)(void *), void *arg)
{
	enum cy_err err;
	pthread_t t;

	p->alive++;
	p->refs++;
	err = thread_start(name, fn, arg, &t);
	if (err) {
		p->alive--;
		p->refs--;
	} else {
		pthread_detach(t);
	}
	return err;
}

enum cy_err pool_new(const struct pool_config *cfg, struct pool **out)
{
	struct pool *p = calloc(1, sizeof(*p));
	uint32_t io = cfg->io_threads ? cfg->io_threads : IO_THREADS;
	uint32_t cpu = cfg->cpu_threads ? cfg->cpu_threads : thread_cpus();
	struct class *c;
	enum cy_err err = CY_OK;

	if (!p)
		return CY_E_NOMEM;
	if (io > MAX_THREADS)
		io = MAX_THREADS;
	if (cpu > MAX_THREADS)
		cpu = MAX_THREADS;
	p->env = cfg->env;
	p->log = cfg->log;
	p->refs = 1;
	p->queue_max = cfg->queue_max ? cfg->queue_max : QUEUE_MAX;
	p->reaper_due = UINT64_MAX;
	pthread_mutex_init(&p->m, NULL);
	wheel_init(&p->deadlines, env_now(p->env));
	c = &p->classes[POOL_CPU];
	*c = (struct class){.pool = p, .which = POOL_CPU, .max_threads = cpu, .quota = UINT32_MAX};
	c = &p->classes[POOL_IO];
	*c = (struct class){.pool = p, .which = POOL_IO, .max_threads = io, .quota = cfg->io_quota};
	if (c->quota == 0)
		c->quota = io > 1 ? io / 2 : 1;
	for (int i = 0; i < N_CLASSES; i++) {
		pthread_cond_init(&p->classes[i].more, NULL);
		list_init(&p->classes[i].deferred);
	}
	if (!thread_cond_init(&p->ended) || !thread_cond_init(&p->reaper_wake)) {
		free(p);
		return CY_E_NOMEM;
	}
	if (!p->env->simulated) {
		pthread_mutex_lock(&p->m);
		err = start(p, "pool-reaper", reaper_main, p);
		pthread_mutex_unlock(&p->m);
	}
	if (err) {
		pool_free(p);
		return err;
	}
	*out = p;
	return CY_OK;
}

/* Simulated, and the pool takes its time: the oldest work that waits comes back now. */
static void run_deferred(void *user)
{
	struct class *c = user;
	struct list *n = list_pop(&c->deferred);
	struct work *w;

	if (!n)
		return;
	w = container_of(n, struct work, job.node);
	worker_post(w->worker, &w->job, w->prio, JOB_COMPLETION);
}

/* Simulated: the whole work is one job. */
static void run_inline(struct worker *worker, struct job *j)
{
	struct work *w = container_of(j, struct work, job);
	bool cancelled = work_cancelled(w);

	if (!cancelled) {
		w->state = RUNNING;
		w->run(w);
	}
	w->done(worker, w, cancelled ? CY_E_CANCELLED : CY_OK);
}

void pool_submit(struct pool *p, struct work *w)
{
	struct class *c = &p->classes[w->class];
	enum cy_err err = CY_OK;
	struct owner *o;

	__atomic_store_n(&w->cancelled, false, __ATOMIC_RELAXED);
	w->deadline = (struct timer){0};
	w->queued_ns = env_now(p->env);
	w->state = QUEUED;
	if (p->env->simulated) {
		w->job.fn = run_inline;
		if (p->env->defer && !p->stop) {
			list_push(&c->deferred, &w->job.node);
			p->env->defer(p->env, w->class == POOL_IO ? ENV_IO : ENV_POOL, run_deferred, c);
			return;
		}
		worker_post(w->worker, &w->job, w->prio, JOB_COMPLETION);
		return;
	}
	w->job.fn = come_back;
	pthread_mutex_lock(&p->m);
	o = owner_of(p, w);
	if (p->stop)
		err = CY_E_CANCELLED;
	else if (!o)
		err = CY_E_NOMEM;
	else if (c->queued >= p->queue_max)
		err = CY_E_LIMIT;
	else if (c->queued >= c->idle && c->threads < c->max_threads) {
		/* a thread for each work, or one that hangs would hold up the one behind it */
		err = start(p, w->class == POOL_CPU ? "pool-cpu" : "pool-io", thread_main, c);
		if (!err)
			c->threads++;
		else if (c->threads)
			err = CY_OK; /* those there are will do it */
	}
	if (err) {
		w->state = FINISHED;
		finish(w, err);
		pthread_mutex_unlock(&p->m);
		return;
	}
	list_push(&o->queues[w->class][w->prio], &w->job.node);
	o->queued[w->class]++;
	c->queued++;
	note_oldest(p, w->class);
	if (w->deadline_ns) {
		wheel_set(&p->deadlines, &w->deadline, w->deadline_ns);
		if (wheel_next(&p->deadlines) < p->reaper_due)
			pthread_cond_signal(&p->reaper_wake);
	}
	pthread_cond_signal(&c->more);
	pthread_mutex_unlock(&p->m);
}

void pool_cancel(struct pool *p, struct work *w)
{
	struct owner *o;

	__atomic_store_n(&w->cancelled, true, __ATOMIC_RELAXED);
	if (p->env->simulated)
		return;
	pthread_mutex_lock(&p->m);
	if (w->state == QUEUED) {
		o = owner_of(p, w);
		unqueue(p, w, o);
		w->state = FINISHED;
		finish(w, CY_E_CANCELLED);
	}
	pthread_mutex_unlock(&p->m);
}

static void cancel_queued(struct pool *p)
{
	for (uint32_t i = 0; i < p->n_owners; i++) {
		struct owner *o = p->owners[i];

		for (int c = 0; c < N_CLASSES; c++) {
			for (int q = 0; q < PRIO_N; q++) {
				struct list *n;

				while ((n = list_first(&o->queues[c][q]))) {
					struct work *w = container_of(n, struct work, job.node);

					unqueue(p, w, o);
					w->state = FINISHED;
					finish(w, CY_E_CANCELLED);
				}
			}
		}
	}
}

void pool_free(struct pool *p)
{
	uint64_t give_up;

	if (!p)
		return;
	pthread_mutex_lock(&p->m);
	p->stop = true;
	cancel_queued(p);
	for (int i = 0; i < N_CLASSES; i++) {
		struct class *c = &p->classes[i];

		while (!list_empty(&c->deferred)) {
			struct work *w = container_of(list_first(&c->deferred), struct work, job.node);

			__atomic_store_n(&w->cancelled, true, __ATOMIC_RELAXED);
			run_deferred(c);
		}
		pthread_cond_broadcast(&c->more);
	}
	pthread_cond_signal(&p->reaper_wake);
	give_up = env_now(p->env) + END_NS;
	while (p->alive && thread_cond_wait(&p->ended, &p->m, give_up))
		;
	for (uint32_t i = 0; i < p->n_owners; i++) {
		struct owner *o = p->owners[i];

		if (o->running[POOL_CPU] + o->running[POOL_IO])
			LOGF(p->log, LOG_JOB, CY_LOG_WARN, NULL, "work of %s does not end: left behind",
			    o->name);
	}
	p->left_behind = true;
	unref_unlock(p);
}

size_t pool_stats(struct pool *p, struct pool_owner_stats *out, size_t cap)
{
	size_t n;

	pthread_mutex_lock(&p->m);
	n = p->n_owners < cap ? p->n_owners : cap;
	for (size_t i = 0; i < n; i++) {
		struct owner *o = p->owners[i];

		out[i] = (struct pool_owner_stats){
		    .owner = o->name, /* kept until pool_free */
		    .runs = o->runs,
		    .ns = o->ns,
		    .wait_ns = o->wait_ns,
		    .cpu_ns = o->cpu_ns,
		    .time = o->time,
		    .wait = o->wait,
		    .running = o->running[POOL_CPU] + o->running[POOL_IO],
		    .queued = o->queued[POOL_CPU] + o->queued[POOL_IO],
		};
	}
	pthread_mutex_unlock(&p->m);
	return n;
}

void pool_read_usage(struct pool *p, struct usage_sum *sum)
{
	pthread_mutex_lock(&p->m);
	for (struct lane *l = p->lanes; l; l = l->next)
		usage_sum_add(sum, &l->l);
	pthread_mutex_unlock(&p->m);
}
