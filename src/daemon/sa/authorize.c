/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/authorize.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcore/plugin/loader.h"

typedef void (*authorize_cont)(struct ike_sa *sa, bool yes, const char *why);

/* One question that is out. Allocated when it is asked; freed on the SA's worker. */
struct asking {
	struct hnode node;
	struct job job;
	struct timer deadline;
	struct authorize *a;
	uint64_t id;
	struct sa_shard *shard;
	slab_handle handle;
	uint64_t op_id;
	size_t which;
	authorize_cont cont;
	uint64_t asked_ns;
	bool yes;
	char why[200];
};

struct counters {
	uint64_t asked, yes, no, timeouts, refused, late, max_ns, waiting;
};

struct authorize {
	struct daemon *d;
	size_t n; /* plugins */
	pthread_mutex_t lock;
	struct hmap open; /* asking */
	uint64_t last_id;
	struct counters c[AUTHORIZE_MAX]; /* atomics */
};
#define COUNT(a, i, field) __atomic_fetch_add(&(a)->c[i].field, 1, __ATOMIC_RELAXED)
#define READ(a, i, field)  __atomic_load_n(&(a)->c[i].field, __ATOMIC_RELAXED)

enum cy_err authorize_new(struct daemon *d, struct authorize **out)
{
	struct authorize *a = calloc(1, sizeof(*a));
	uint64_t key[2];
	enum cy_err e;

	if (!a)
		return CY_E_NOMEM;
	a->d = d;
	d->env->random(d->env, key, sizeof(key));
	e = hmap_init(&a->open, key);
	if (e) {
		free(a);
		return e;
	}
	pthread_mutex_init(&a->lock, NULL);
	while (a->n < AUTHORIZE_MAX && plugins_asked_name(d->plugins, a->n))
		a->n++;
	*out = a;
	return CY_OK;
}

void authorize_free(struct authorize *a)
{
	struct hnode *n, *tmp;
	size_t b;

	if (!a)
		return;
	hmap_foreach (&a->open, b, n, tmp) {
		hmap_del(&a->open, n);
		free(container_of(n, struct asking, node));
	}
	hmap_fini(&a->open);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* Out of the table, for whoever comes first. */
static struct asking *take(struct authorize *a, uint64_t id)
{
	struct asking *found = NULL;

	pthread_mutex_lock(&a->lock);
	for (struct hnode *n = hmap_first(&a->open, hmap_hash(&a->open, &id, sizeof(id))); n && !found;
	     n = hmap_next(n))
		if (container_of(n, struct asking, node)->id == id)
			found = container_of(n, struct asking, node);
	if (found)
		hmap_del(&a->open, &found->node);
	pthread_mutex_unlock(&a->lock);
	return found;
}

static void ask_from(struct ike_sa *sa, size_t which, authorize_cont cont);

/* Decided, on the SA's worker. */
static void settle(struct asking *q)
{
	struct ike_sa *sa = slab_get(&q->shard->slab, q->handle);
	struct asking done = *q;

	__atomic_fetch_sub(&q->a->c[q->which].waiting, 1, __ATOMIC_RELAXED);
	free(q);
	if (!sa || sa->op_id != done.op_id)
		return;
	sa->op_id = 0;
	if (done.yes)
		ask_from(sa, done.which + 1, done.cont);
	else
		done.cont(sa, false, done.why);
}

static void answered(struct worker *w, struct job *j)
{
	struct asking *q = container_of(j, struct asking, job);
	uint64_t took = worker_now(w) - q->asked_ns;
	struct counters *c = &q->a->c[q->which];

	worker_timer_cancel(w, &q->deadline);
	if (took > __atomic_load_n(&c->max_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&c->max_ns, took, __ATOMIC_RELAXED);
	settle(q);
}

enum cy_err authorize_answer(void *authorize, uint64_t id, bool yes, const char *reason)
{
	struct authorize *a = authorize;
	struct asking *q = take(a, id);

	if (!q) {
		/* whose it was is not known any more: the first is charged */
		COUNT(a, 0, late);
		return CY_E_NOTFOUND;
	}
	q->yes = yes;
	snprintf(q->why, sizeof(q->why), "plugin %.60s does not allow it%s%.100s",
	    plugins_asked_name(a->d->plugins, q->which), reason && *reason ? ": " : "", reason ? reason : "");
	if (yes)
		COUNT(a, q->which, yes);
	else
		COUNT(a, q->which, no);
	worker_post(q->shard->w, &q->job, PRIO_HIGH, JOB_COMPLETION);
	return CY_OK;
}

static void on_deadline(struct timer *t)
{
	struct asking *q = container_of(t, struct asking, deadline);
	struct authorize *a = q->a;

	if (!take(a, q->id))
		return; /* the answer is on its way here */
	COUNT(a, q->which, timeouts);
	q->yes = false;
	snprintf(q->why, sizeof(q->why), "plugin %.60s did not answer within %llu ms (authorize_timeout)",
	    plugins_asked_name(a->d->plugins, q->which),
	    (unsigned long long)(a->d->tune.authorize_timeout_ns / NS_PER_MS));
	settle(q);
}

static enum cy_err ask(struct ike_sa *sa, size_t which, struct asking *q)
{
	struct authorize *a = q->a;
	char me[IDENT_STR_MAX], peer[IDENT_STR_MAX];
	struct cy_authorize_question about = {.size = sizeof(about),
	    .ike_version = sa->version,
	    .ike_id = sa->id,
	    .conn = sa->conn->name,
	    .local_id = ident_str(&sa->conn->local.auth[0].id, me),
	    .remote_id = ident_str(&sa->peer_id, peer),
	    .user = "",
	    .local = sa->local,
	    .remote = sa->remote};
	uint64_t id;

	if (READ(a, which, waiting) >= a->d->tune.authorize_queue)
		return CY_E_LIMIT;
	pthread_mutex_lock(&a->lock);
	id = q->id = ++a->last_id;
	hmap_add(&a->open, &q->node, hmap_hash(&a->open, &id, sizeof(id)));
	pthread_mutex_unlock(&a->lock);
	/* from here on it may be answered, and its job posted: it is run by this worker, so not before we return */
	worker_timer_set(
	    sa->shard->w, &q->deadline, worker_now(sa->shard->w) + a->d->tune.authorize_timeout_ns);
	COUNT(a, which, waiting);
	COUNT(a, which, asked);
	return plugins_ask(a->d->plugins, which, id, &about, a->d->tune.authorize_queue);
}

static void ask_from(struct ike_sa *sa, size_t which, authorize_cont cont)
{
	struct authorize *a = sa->shard->d->authorize;
	struct asking *q;
	char why[200];
	enum cy_err e = CY_E_NOMEM;

	if (!a || which >= a->n || !sa->conn->authorize) {
		cont(sa, true, "");
		return;
	}
	q = calloc(1, sizeof(*q));
	if (q) {
		q->a = a;
		q->shard = sa->shard;
		q->handle = sa->handle;
		q->which = which;
		q->cont = cont;
		q->asked_ns = worker_now(sa->shard->w);
		q->job.fn = answered;
		q->deadline.fn = on_deadline;
		q->op_id = sa->op_id = ++sa->last_op_id;
		e = ask(sa, which, q);
		if (!e)
			return;
		if (take(a, q->id)) {
			worker_timer_cancel(sa->shard->w, &q->deadline);
			__atomic_fetch_sub(&a->c[which].waiting, 1, __ATOMIC_RELAXED);
		}
		free(q);
		sa->op_id = 0;
	}
	COUNT(a, which, refused);
	snprintf(why, sizeof(why), "plugin %.60s could not be asked: %s",
	    plugins_asked_name(a->d->plugins, which), err_text(e));
	cont(sa, false, why);
}

void ike_authorize(struct ike_sa *sa, authorize_cont cont)
{
	ask_from(sa, 0, cont);
}

size_t authorize_read_stats(struct authorize *a, struct authorize_stats *out, size_t cap)
{
	size_t n = a ? a->n : 0;

	for (size_t i = 0; i < n && i < cap; i++)
		out[i] = (struct authorize_stats){.name = plugins_asked_name(a->d->plugins, i),
		    .asked = READ(a, i, asked),
		    .yes = READ(a, i, yes),
		    .no = READ(a, i, no),
		    .timeouts = READ(a, i, timeouts),
		    .refused = READ(a, i, refused),
		    .late = READ(a, i, late),
		    .max_ns = READ(a, i, max_ns),
		    .waiting = (uint32_t)READ(a, i, waiting)};
	return n < cap ? n : cap;
}
