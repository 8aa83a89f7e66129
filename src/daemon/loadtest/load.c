/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/loadtest/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libcore/conf/conf.h"

#define TICK_NS (1 * NS_PER_MS)

const char *const phase_names[PHASE_N] = {"setup", "liveness", "rekey_child", "rekey_ike", "delete"};

/* --- causes of failure --------------------------------------------------------------------------------------------- */

/* Texts that differ in numbers only are one cause. */
static void count_cause(struct phase *p, const char *why)
{
	char text[sizeof(p->causes[0].text)];
	size_t n = 0;

	for (; *why && n < sizeof(text) - 1; why++) {
		bool digit = *why >= '0' && *why <= '9';

		if (digit && n && text[n - 1] == '#')
			continue;
		text[n++] = digit ? '#' : *why;
	}
	text[n] = '\0';
	for (int i = 0; i < CAUSES_MAX; i++) {
		struct cause *c = &p->causes[i];

		if (c->n == 0 || i == CAUSES_MAX - 1)
			snprintf(c->text, sizeof(c->text), "%s", i == CAUSES_MAX - 1 ? "other" : text);
		else if (strcmp(c->text, text) != 0)
			continue;
		c->n++;
		return;
	}
}

/* --- one client's exchange ------------------------------------------------------------------------------------------- */

static void start_task(struct client *c, struct ike_sa *sa)
{
	static const enum task_kind kinds[PHASE_N] = {[PHASE_LIVENESS] = TASK_LIVENESS,
	    [PHASE_REKEY_CHILD] = TASK_CHILD_REKEY,
	    [PHASE_REKEY_IKE] = TASK_IKE_REKEY,
	    [PHASE_DELETE] = TASK_IKE_DELETE};
	struct task *t = task_new(kinds[c->busy->kind]);

	if (!t) {
		c->watch.done(&c->watch, false, "out of memory");
		return;
	}
	if (t->kind == TASK_CHILD_REKEY &&
	    !list_empty(&sa->children)) /* the last: others may be replaced already */
		t->child_id = list_entry(sa->children.prev, struct child_sa, node)->id;
	list_push(&t->watches, &c->watch.node);
	task_queue(sa, t);
}

/* On the worker of its IKE_SA. */
static void client_job(struct worker *w, struct job *j)
{
	struct client *c = container_of(j, struct client, job);
	struct ike_sa *sa = slab_get(&c->shard->slab, c->handle);

	(void)w;
	if (sa && sa->state == IKE_ESTABLISHED)
		start_task(c, sa);
	else
		c->watch.done(&c->watch, false, "the IKE_SA is gone");
}

static void client_begin(struct client *c)
{
	struct load *l = c->l;

	if (c->busy->kind == PHASE_SETUP) {
		sa_initiate(l->d, c->conn, &c->watch, 0, NULL, NULL);
	} else if (unique_find_conf(l->d->sas, c->conn, &c->shard, &c->handle)) {
		c->job.fn = client_job;
		worker_post(c->shard->w, &c->job, PRIO_MEDIUM, JOB_INITIATE);
	} else {
		c->watch.done(&c->watch, false, "the IKE_SA is gone");
	}
}

/* The next client that may begin; lock is held. due_ns: when it should have begun. */
static struct client *take_client(struct load *l, uint64_t due_ns)
{
	struct phase *p = l->now;
	struct client *c;

	if (l->stopping || p->attempted >= l->wanted)
		return NULL;
	if (!l->idle_n) {
		if (!l->closed_loop) {
			p->attempted++;
			p->failed++;
			p->starved++;
		}
		return NULL;
	}
	c = &l->clients[l->idle[l->idle_at]];
	l->idle_at = (l->idle_at + 1) % l->n_clients;
	l->idle_n--;
	p->attempted++;
	if (++p->in_flight > p->max_in_flight)
		p->max_in_flight = p->in_flight;
	c->busy = p;
	c->started_ns = due_ns;
	return c;
}

static bool succeeded(const struct load *l, bool ok, const char *why)
{
	if (ok)
		return true;
	switch (l->now->kind) {
	case PHASE_SETUP:
		return false;
	case PHASE_DELETE:
		return strstr(why, "answer") == NULL && strstr(why, "gone") == NULL;
	default:
		return strcmp(why, "the task ended") == 0; /* its response was there */
	}
}

/* On a worker. */
static void client_done(struct up_watch *watch, bool ok, const char *why)
{
	struct client *c = container_of(watch, struct client, watch), *next = NULL;
	struct load *l = c->l;
	struct phase *p;
	uint64_t now = env_now(l->d->env), took = now > c->started_ns ? now - c->started_ns : 0;

	pthread_mutex_lock(&l->lock);
	p = c->busy;
	c->busy = NULL;
	if (p != l->now) { /* that phase has ended */
		pthread_mutex_unlock(&l->lock);
		return;
	}
	p->in_flight--;
	if (succeeded(l, ok, why)) {
		p->done++;
		hist_add(&p->latency, took);
		hist_add(&p->last_second, took);
		c->up = p->kind != PHASE_DELETE;
	} else {
		p->failed++;
		count_cause(p, why);
		c->up = false;
	}
	/* What is up stays up; in other phases a client may have its turn again. */
	if (p->kind == PHASE_SETUP ? !c->up : p->kind == PHASE_DELETE ? false : c->up) {
		l->idle[(l->idle_at + l->idle_n) % l->n_clients] = (uint32_t)(c - l->clients);
		l->idle_n++;
	}
	if (l->closed_loop)
		next = take_client(l, now);
	if (p->done + p->failed >= l->wanted || (!p->in_flight && !next))
		pthread_cond_signal(&l->moved);
	pthread_mutex_unlock(&l->lock);
	if (next)
		client_begin(next);
}

/* --- phases ------------------------------------------------------------------------------------------------------------ */

static void begin_some(struct load *l, uint64_t due_ns)
{
	struct client *c;

	pthread_mutex_lock(&l->lock);
	c = take_client(l, due_ns);
	pthread_mutex_unlock(&l->lock);
	if (c)
		client_begin(c);
}

static void fill_idle(struct load *l, enum phase_kind kind)
{
	l->idle_at = l->idle_n = 0;
	for (uint32_t i = 0; i < l->n_clients; i++)
		if (!l->clients[i].busy && l->clients[i].up == (kind != PHASE_SETUP))
			l->idle[l->idle_n++] = i;
}

static void nap(void)
{
	(void)nanosleep(&(struct timespec){0, TICK_NS}, NULL);
}

/* Waits for completions, a second at most. */
static void wait_moved(struct load *l, uint64_t until_ns)
{
	struct timespec ts = {(time_t)(until_ns / NS_PER_S), (long)(until_ns % NS_PER_S)};

	pthread_cond_timedwait(&l->moved, &l->lock, &ts);
}

static bool phase_over(const struct load *l)
{
	const struct phase *p = l->now;

	return p->in_flight == 0 &&
	    (l->stopping || p->done + p->failed >= l->wanted || (l->closed_loop && l->idle_n == 0));
}

static uint64_t end_of(const struct load *l)
{
	return l->o->duration_s > 0 ? l->phase_start_ns + (uint64_t)(l->o->duration_s * (double)NS_PER_S)
	                            : UINT64_MAX;
}

/*
 * The schedule of the open loop: whatever is due by now begins, late or not. With a duration it ends then, and what is under way is not
 * waited for.
 */
static void keep_schedule(struct load *l)
{
	double ns_each = (double)NS_PER_S / l->rate;
	uint64_t next_line = l->phase_start_ns + NS_PER_S, end = end_of(l), i = 0;

	for (;;) {
		uint64_t now = env_now(l->d->env);
		bool over;

		while (i < l->wanted && (double)(now - l->phase_start_ns) >= (double)i * ns_each) {
			begin_some(l, l->phase_start_ns + (uint64_t)((double)i * ns_each));
			i++;
		}
		pthread_mutex_lock(&l->lock);
		if (i >= l->wanted)
			l->stopping = true;
		over = phase_over(l) || now >= end;
		if (now >= next_line && !over) {
			report_second(l);
			next_line += NS_PER_S;
		}
		pthread_mutex_unlock(&l->lock);
		if (over)
			return;
		nap();
	}
}

static void keep_full(struct load *l)
{
	uint64_t next_line = l->phase_start_ns + NS_PER_S, end = end_of(l);

	for (uint32_t i = 0; i < l->o->concurrency; i++)
		begin_some(l, env_now(l->d->env));
	pthread_mutex_lock(&l->lock);
	while (!phase_over(l)) {
		uint64_t now = env_now(l->d->env);

		if (now >= end)
			l->stopping = true;
		if (now >= next_line) {
			report_second(l);
			next_line += NS_PER_S;
		}
		wait_moved(l, next_line < end || l->stopping ? next_line : end);
	}
	pthread_mutex_unlock(&l->lock);
}

void load_phase(struct load *l, enum phase_kind kind, uint64_t wanted)
{
	struct phase *p = &l->phase[kind];

	p->kind = kind;
	p->series = calloc(SECONDS_MAX, sizeof(*p->series));
	if (!p->series)
		return;
	pthread_mutex_lock(&l->lock);
	l->now = p;
	fill_idle(l, kind);
	if (kind == PHASE_DELETE && wanted > l->idle_n)
		wanted = l->idle_n;
	l->wanted = wanted;
	l->stopping = false;
	l->rate = kind == PHASE_LIVENESS && l->o->liveness_rate > 0 ? l->o->liveness_rate : l->o->rate;
	l->closed_loop = l->rate <= 0 || kind == PHASE_DELETE;
	if (l->idle_n == 0)
		l->wanted = 0;
	pthread_mutex_unlock(&l->lock);
	report_event(l, phase_names[kind], "begin");
	l->phase_start_ns = env_now(l->d->env);
	if (l->wanted && l->closed_loop)
		keep_full(l);
	else if (l->wanted)
		keep_schedule(l);
	p->seconds = (double)(env_now(l->d->env) - l->phase_start_ns) / (double)NS_PER_S;
	pthread_mutex_lock(&l->lock);
	report_second(l);
	l->now = NULL;
	pthread_mutex_unlock(&l->lock);
	report_event(l, phase_names[kind], "end");
}

enum cy_err load_init(struct load *l, const struct options *o, struct daemon *d)
{
	pthread_condattr_t attr;
	size_t n;

	memset(l, 0, sizeof(*l));
	l->o = o;
	l->d = d;
	l->config = daemon_config(d);
	n = l->config->conf->n_conns;
	l->n_clients = (uint32_t)n;
	l->clients = calloc(n ? n : 1, sizeof(*l->clients));
	l->idle = calloc(n ? n : 1, sizeof(*l->idle));
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->moved, &attr);
	pthread_condattr_destroy(&attr);
	if (!l->clients || !l->idle)
		return CY_E_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		l->clients[i].l = l;
		l->clients[i].conn = l->config->conf->conns[i];
		l->clients[i].watch.done = client_done;
	}
	return n ? CY_OK : CY_E_NOTFOUND;
}

/* The daemon is stopped. */
void load_fini(struct load *l)
{
	for (int i = 0; i < PHASE_N; i++)
		free(l->phase[i].series);
	free(l->clients);
	free(l->idle);
	config_unref(l->config);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->moved);
}
