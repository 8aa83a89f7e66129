/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/run/bus.h"

#include <pthread.h>
#include <stdlib.h>

#define MAX_LISTENERS 64
#define QUEUE_MAX     1024

/* Everything that ev points to lies behind it in the same allocation. */
struct bus_record {
	uint32_t refs; /* atomic */
	struct cy_event ev;
	_Alignas(16) uint8_t data[];
};

/*
 * Counted: the bus's own reference, one of a running bus_drain, one of a publisher about to wake. Once dead it knows
 * neither bus nor env.
 */
struct bus_listener {
	uint32_t refs; /* atomic */
	char *name;
	uint64_t mask;
	void (*cb)(void *user, const struct cy_event *ev);
	void (*wake)(void *user);
	void *user;

	pthread_mutex_t
	    wake_m;        /* held around wake, so that it does not outlive unsubscribing; taken before m */
	pthread_mutex_t m; /* everything below */
	struct env *env;
	bool dead;
	struct bus_record **queue;
	uint32_t max, first, n;
	uint64_t delivered, missed, busy_ns, max_ns, running_since_ns;
};

struct bus {
	struct env *env;
	uint64_t wanted; /* atomic: what any listener wants */
	pthread_mutex_t m;
	uint64_t seq;
	struct bus_listener *listeners[MAX_LISTENERS];
	size_t n;
};

static void record_unref(struct bus_record *r)
{
	if (r && __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(r);
}

static const char *copy_str(char **at, const char *s)
{
	size_t n = s ? strlen(s) + 1 : 1;
	char *copy = *at;

	memcpy(copy, s ? s : "", n);
	*at += n;
	return copy;
}

static const void *copy_array(uint8_t **at, const void *p, size_t n)
{
	void *copy = *at;

	if (n)
		memcpy(copy, p, n);
	*at += n;
	return n ? copy : NULL;
}

static size_t str_size(const char *s)
{
	return s ? strlen(s) + 1 : 1;
}

static struct bus_record *record_new(const struct cy_event *ev)
{
	size_t ts_local = ev->ts_local ? ev->n_ts_local * sizeof(*ev->ts_local) : 0;
	size_t ts_remote = ev->ts_remote ? ev->n_ts_remote * sizeof(*ev->ts_remote) : 0;
	size_t vips = ev->vips ? ev->n_vips * sizeof(*ev->vips) : 0;
	size_t dns = ev->dns ? ev->n_dns * sizeof(*ev->dns) : 0;
	size_t strings = str_size(ev->conn) + str_size(ev->reason) + str_size(ev->local_id) +
	    str_size(ev->remote_id) + str_size(ev->user) + str_size(ev->updown);
	struct bus_record *r = malloc(sizeof(*r) + ts_local + ts_remote + vips + dns + strings);
	uint8_t *at;
	char *s;

	if (!r)
		return NULL;
	r->refs = 1;
	r->ev = *ev;
	r->ev.size = sizeof(r->ev);
	at = r->data;
	/* addresses before selectors: the greater alignment first */
	r->ev.vips = copy_array(&at, ev->vips, vips);
	r->ev.dns = copy_array(&at, ev->dns, dns);
	r->ev.ts_local = copy_array(&at, ev->ts_local, ts_local);
	r->ev.ts_remote = copy_array(&at, ev->ts_remote, ts_remote);
	if (!vips)
		r->ev.n_vips = 0;
	if (!dns)
		r->ev.n_dns = 0;
	if (!ts_local)
		r->ev.n_ts_local = 0;
	if (!ts_remote)
		r->ev.n_ts_remote = 0;
	s = (char *)at;
	r->ev.conn = copy_str(&s, ev->conn);
	r->ev.reason = copy_str(&s, ev->reason);
	r->ev.local_id = copy_str(&s, ev->local_id);
	r->ev.remote_id = copy_str(&s, ev->remote_id);
	r->ev.user = copy_str(&s, ev->user);
	r->ev.updown = copy_str(&s, ev->updown);
	return r;
}

static void listener_unref(struct bus_listener *l)
{
	if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (; l->n; l->n--, l->first = (l->first + 1) % l->max)
		record_unref(l->queue[l->first]);
	pthread_mutex_destroy(&l->m);
	pthread_mutex_destroy(&l->wake_m);
	free(l->queue);
	free(l->name);
	free(l);
}

enum cy_err bus_new(struct env *env, struct bus **out)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (!b)
		return CY_E_NOMEM;
	b->env = env;
	pthread_mutex_init(&b->m, NULL);
	*out = b;
	return CY_OK;
}

static void bury(struct bus_listener *l)
{
	pthread_mutex_lock(&l->wake_m);
	pthread_mutex_lock(&l->m);
	l->dead = true;
	pthread_mutex_unlock(&l->m);
	pthread_mutex_unlock(&l->wake_m);
	listener_unref(l);
}

void bus_free(struct bus *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++)
		bury(b->listeners[i]);
	pthread_mutex_destroy(&b->m);
	free(b);
}

enum cy_err bus_subscribe(struct bus *b, const char *name, uint64_t mask, uint32_t queue_max,
    void (*cb)(void *user, const struct cy_event *ev), void (*wake)(void *user), void *user,
    struct bus_listener **out)
{
	struct bus_listener *l = calloc(1, sizeof(*l));
	enum cy_err err = CY_E_LIMIT;

	if (!l)
		return CY_E_NOMEM;
	l->refs = 1;
	l->mask = mask;
	l->cb = cb;
	l->wake = wake;
	l->user = user;
	l->env = b->env;
	l->max = queue_max ? queue_max : QUEUE_MAX;
	l->name = strdup(name);
	l->queue = calloc(l->max, sizeof(struct bus_record *));
	pthread_mutex_init(&l->m, NULL);
	pthread_mutex_init(&l->wake_m, NULL);
	if (!l->name || !l->queue) {
		listener_unref(l);
		return CY_E_NOMEM;
	}
	pthread_mutex_lock(&b->m);
	if (b->n < MAX_LISTENERS) {
		/* a record may come, and wake be called, before this function returns */
		*out = l;
		b->listeners[b->n++] = l;
		__atomic_fetch_or(&b->wanted, mask, __ATOMIC_RELAXED);
		err = CY_OK;
	}
	pthread_mutex_unlock(&b->m);
	if (err)
		listener_unref(l);
	return err;
}

void bus_unsubscribe(struct bus *b, struct bus_listener *l)
{
	uint64_t wanted = 0;
	bool found = false;

	if (!l)
		return;
	pthread_mutex_lock(&b->m);
	for (size_t i = 0; i < b->n; i++) {
		if (b->listeners[i] == l) {
			b->listeners[i--] = b->listeners[--b->n];
			found = true;
		} else {
			wanted |= b->listeners[i]->mask;
		}
	}
	__atomic_store_n(&b->wanted, wanted, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&b->m);
	if (found)
		bury(l);
}

bool bus_wanted(struct bus *b, enum cy_event_kind kind)
{
	return b && (unsigned int)kind < 64 && (__atomic_load_n(&b->wanted, __ATOMIC_RELAXED) >> kind & 1);
}

/* Returns whether the listener must be woken. */
static bool offer(struct bus_listener *l, struct bus_record *r)
{
	bool wake = false;

	pthread_mutex_lock(&l->m);
	if (!r || l->n == l->max) {
		l->missed++;
	} else {
		__atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED);
		l->queue[(l->first + l->n) % l->max] = r;
		wake = l->n++ == 0;
	}
	pthread_mutex_unlock(&l->m);
	return wake;
}

void bus_missed(struct bus *b, enum cy_event_kind kind)
{
	pthread_mutex_lock(&b->m);
	for (size_t i = 0; i < b->n; i++)
		if (b->listeners[i]->mask >> kind & 1)
			(void)offer(b->listeners[i], NULL);
	pthread_mutex_unlock(&b->m);
}

void bus_publish(struct bus *b, const struct cy_event *ev)
{
	struct bus_listener *to_wake[MAX_LISTENERS];
	struct bus_record *r;
	size_t n = 0;

	if (!bus_wanted(b, ev->kind))
		return;
	r = record_new(ev);
	if (r)
		r->ev.wall = b->env->wall(b->env);
	/* one lock for all queues, so that all listeners see records in the order of their numbers */
	pthread_mutex_lock(&b->m);
	b->seq++;
	if (r)
		r->ev.seq = b->seq;
	for (size_t i = 0; i < b->n; i++) {
		struct bus_listener *l = b->listeners[i];

		if (!(l->mask >> ev->kind & 1) || !offer(l, r))
			continue;
		__atomic_fetch_add(&l->refs, 1, __ATOMIC_RELAXED);
		to_wake[n++] = l;
	}
	pthread_mutex_unlock(&b->m);
	for (size_t i = 0; i < n; i++) {
		struct bus_listener *l = to_wake[i];
		bool dead;

		pthread_mutex_lock(&l->wake_m);
		pthread_mutex_lock(&l->m);
		dead = l->dead;
		pthread_mutex_unlock(&l->m);
		if (!dead && l->wake)
			l->wake(l->user);
		pthread_mutex_unlock(&l->wake_m);
		listener_unref(l);
	}
	record_unref(r);
}

/* The next record, with the lock held before and after; NULL at the end. */
static struct bus_record *pop(struct bus_listener *l)
{
	struct bus_record *r;

	if (l->dead || l->n == 0)
		return NULL;
	r = l->queue[l->first];
	l->first = (l->first + 1) % l->max;
	l->n--;
	return r;
}

size_t bus_drain(struct bus_listener *l, size_t max)
{
	size_t done = 0;

	__atomic_fetch_add(&l->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&l->m);
	while (done < max) {
		struct bus_record *r = pop(l);
		uint64_t start, took;

		if (!r)
			break;
		start = env_now(l->env);
		l->running_since_ns = start ? start : 1;
		pthread_mutex_unlock(&l->m);
		l->cb(l->user, &r->ev);
		record_unref(r);
		done++;
		pthread_mutex_lock(&l->m);
		if (l->dead)
			break; /* meanwhile the bus and the clock may have gone */
		took = env_now(l->env) - start;
		l->running_since_ns = 0;
		l->delivered++;
		l->busy_ns += took;
		if (took > l->max_ns)
			l->max_ns = took;
	}
	pthread_mutex_unlock(&l->m);
	listener_unref(l);
	return done;
}

size_t bus_stats(struct bus *b, struct bus_listener_stats *out, size_t cap)
{
	size_t n;

	pthread_mutex_lock(&b->m);
	n = b->n < cap ? b->n : cap;
	for (size_t i = 0; i < n; i++) {
		struct bus_listener *l = b->listeners[i];

		pthread_mutex_lock(&l->m);
		out[i] = (struct bus_listener_stats){
		    .name = l->name,
		    .delivered = l->delivered,
		    .missed = l->missed,
		    .queued = l->n,
		    .busy_ns = l->busy_ns,
		    .max_ns = l->max_ns,
		    .running_since_ns = l->running_since_ns,
		};
		pthread_mutex_unlock(&l->m);
	}
	pthread_mutex_unlock(&b->m);
	return n;
}
