/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/thread.h"
#include "libcore/plugin/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint64_t now(struct plugin *p)
{
	return env_now(p->all->cfg.env);
}

void plugin_wake(struct plugin *p)
{
	uint64_t one = 1;

	/* EAGAIN: it is awake already */
	if (p->wake >= 0 && write(p->wake, &one, sizeof(one)) < 0)
		return;
}

const char *const plugin_hook_names[PLUGIN_HOOK_N] = {
    [PLUGIN_HOOK_EVENT] = "event",
    [PLUGIN_HOOK_TIMER] = "timer",
    [PLUGIN_HOOK_WATCH] = "watch",
    [PLUGIN_HOOK_CALL] = "call",
};

static uint64_t cpu(struct plugin *p)
{
	struct env *e = p->all->cfg.env;

	return e->cpu_ns ? e->cpu_ns(e) : 0;
}

struct plugin_since plugin_enter(struct plugin *p)
{
	struct plugin_since since = {now(p), cpu(p)};

	atomic_store_explicit(&p->running_since_ns, since.ns ? since.ns : 1, memory_order_relaxed);
	return since;
}

void plugin_leave(struct plugin *p, enum plugin_hook hook, struct plugin_since since)
{
	uint64_t ns, max;

	if (atomic_load(&p->abandoned))
		return; /* there may be no clock any more */
	ns = now(p) - since.ns;
	atomic_fetch_add_explicit(&p->hook[hook].n, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&p->hook[hook].ns, ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&p->hook[hook].cpu_ns, cpu(p) - since.cpu_ns, memory_order_relaxed);
	atomic_store_explicit(&p->running_since_ns, 0, memory_order_relaxed);
	atomic_fetch_add_explicit(&p->n_callbacks, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&p->callback_ns, ns, memory_order_relaxed);
	max = atomic_load_explicit(&p->max_callback_ns, memory_order_relaxed);
	while (ns > max && !atomic_compare_exchange_weak(&p->max_callback_ns, &max, ns))
		;
}

/* --- what the thread does; called with the lock, which is given up around the plugin's code --- */

void plugin_timer_insert(struct plugin *p, struct cy_timer *t)
{
	struct list *at;

	list_foreach (at, &p->timers)
		if (list_entry(at, struct cy_timer, node)->due_ns > t->due_ns)
			break;
	list_add_after(at->prev, &t->node);
}

static void run_timers(struct plugin *p)
{
	uint64_t t_now = now(p);

	for (;;) {
		struct list *first = list_first(&p->timers);
		struct cy_timer *t = first ? list_entry(first, struct cy_timer, node) : NULL;

		if (!t || t->due_ns > t_now || atomic_load(&p->abandoned))
			return;
		list_del(&t->node);
		t->running = true;
		pthread_mutex_unlock(&p->lock);
		struct plugin_since since = plugin_enter(p);
		t->cb(t->user);
		plugin_leave(p, PLUGIN_HOOK_TIMER, since);
		pthread_mutex_lock(&p->lock);
		t->running = false;
		if (t->cancelled || (!t->period_ns && !t->held)) {
			free(t);
			continue;
		}
		if (!t->period_ns) {
			list_push(&p->spent, &t->node); /* its owner may still cancel it */
			continue;
		}
		/* beats missed in a slow callback are not made up for */
		t->due_ns += t->period_ns;
		if (t->due_ns <= t_now)
			t->due_ns = t_now + t->period_ns;
		plugin_timer_insert(p, t);
	}
}

static void run_watch(struct plugin *p, uint64_t id, uint32_t events)
{
	struct list *at;

	list_foreach (at, &p->watches) {
		struct cy_watch *w = list_entry(at, struct cy_watch, node);
		if (w->id != id)
			continue;
		w->running = true;
		pthread_mutex_unlock(&p->lock);
		struct plugin_since since = plugin_enter(p);
		w->cb(w->user, events);
		plugin_leave(p, PLUGIN_HOOK_WATCH, since);
		pthread_mutex_lock(&p->lock);
		w->running = false;
		if (w->cancelled)
			free(w);
		return;
	}
}

/* Returns whether there may be more. */
static bool run_listeners(struct plugin *p)
{
	struct list *at;
	bool more = false;

	/* listeners are only added (at the end) while the thread lives */
	list_foreach (at, &p->listeners) {
		struct plugin_listener *l = list_entry(at, struct plugin_listener, node);
		if (!l->bus || !atomic_exchange(&l->pending, false))
			continue;
		pthread_mutex_unlock(&p->lock);
		size_t n = bus_drain(l->bus, PLUGIN_DRAIN_AT_ONCE);
		pthread_mutex_lock(&p->lock);
		if (n == PLUGIN_DRAIN_AT_ONCE) {
			atomic_store(&l->pending, true);
			more = true;
		}
		if (atomic_load(&p->abandoned))
			return false;
	}
	return more;
}

static void run_calls(struct plugin *p)
{
	struct list todo, *at;

	list_init(&todo);
	list_splice(&todo, &p->calls);
	while ((at = list_pop(&todo))) {
		struct plugin_call *c = list_entry(at, struct plugin_call, node);
		pthread_mutex_unlock(&p->lock);
		if (!atomic_load(&p->abandoned)) {
			struct plugin_since since = plugin_enter(p);
			c->run(c);
			plugin_leave(p, PLUGIN_HOOK_CALL, since);
		}
		plugin_unref(c->plugin);
		free(c);
		pthread_mutex_lock(&p->lock);
	}
}

static uint64_t due_ns(struct plugin *p, bool more)
{
	struct list *first = list_first(&p->timers);
	uint64_t t_now = now(p), due = UINT64_MAX;

	if (!atomic_load(&p->live))
		return UINT64_MAX;
	if (more || !list_empty(&p->calls))
		return 0;
	if (first)
		due = list_entry(first, struct cy_timer, node)->due_ns;
	if (p->stop && due > t_now + 100 * NS_PER_MS)
		due = t_now + 100 * NS_PER_MS;
	return due;
}

static int timeout_ms(struct plugin *p, bool more)
{
	uint64_t t_now = now(p), due = due_ns(p, more);

	if (due == UINT64_MAX)
		return -1;
	if (due <= t_now)
		return 0;
	due = (due - t_now + NS_PER_MS - 1) / NS_PER_MS;
	return due > 3600000 ? 3600000 : (int)due;
}

static bool may_end(struct plugin *p, bool more)
{
	if (atomic_load(&p->abandoned))
		return true;
	if (!atomic_load(&p->live))
		return true;
	if (more || !list_empty(&p->calls))
		return false;
	return p->n_procs == 0 || now(p) - p->stop_ns > PLUGIN_LAST_WORDS_MS * NS_PER_MS;
}

/* What is to be done at this time. Returns whether there may be more. */
static bool run_all(struct plugin *p)
{
	if (!atomic_load(&p->abandoned))
		run_timers(p);
	/* calls first: what was asked of it before something happened is mostly done before it is told */
	if (!atomic_load(&p->abandoned))
		run_calls(p);
	return !atomic_load(&p->abandoned) && run_listeners(p);
}

static void *plugin_main(void *arg)
{
	struct plugin *p = arg;
	struct epoll_event ev[16];
	bool more = false, stopping = false;

	pthread_mutex_lock(&p->lock);
	/* once round after stop was seen, so that nothing published before it is lost */
	while (!stopping || !may_end(p, more)) {
		int wait = timeout_ms(p, more);
		pthread_mutex_unlock(&p->lock);
		int n = epoll_wait(p->epoll, ev, (int)ARRAY_LEN(ev), wait);
		pthread_mutex_lock(&p->lock);
		stopping = p->stop || atomic_load(&p->abandoned);
		for (int i = 0; i < n; i++) {
			uint64_t count;
			if (ev[i].data.u64 == 0 && read(p->wake, &count, sizeof(count)) < 0)
				continue; /* EAGAIN: somebody's write is still to come */
		}
		if (!atomic_load(&p->live))
			continue; /* init() is still at work: plugin_go_live wakes us */
		for (int i = 0; i < n && !atomic_load(&p->abandoned); i++)
			if (ev[i].data.u64 != 0)
				run_watch(p, ev[i].data.u64, ev[i].events);
		more = run_all(p);
	}
	p->exited = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	plugin_unref(p);
	return NULL;
}

/* --- simulated: there is no thread, and time passes when the simulator says so --- */

uint64_t plugins_step(struct plugins *all)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < all->n; i++) {
		struct plugin *p = all->p[i];

		pthread_mutex_lock(&p->lock);
		if (p->has_thread && !p->exited && atomic_load(&p->live)) {
			uint64_t next = due_ns(p, run_all(p));

			due = next < due ? next : due;
		}
		pthread_mutex_unlock(&p->lock);
	}
	return due;
}

static void end_simulated(struct plugin *p)
{
	struct env *env = p->all->cfg.env;
	bool more;

	pthread_mutex_lock(&p->lock);
	more = atomic_load(&p->live) && run_all(p);
	while (!may_end(p, more)) {
		uint64_t due = due_ns(p, more), procs;

		pthread_mutex_unlock(&p->lock);
		procs = p->all->cfg.procs ? procs_step(p->all->cfg.procs) : UINT64_MAX;
		due = procs < due ? procs : due;
		if (due > env_now(env)) {
			env->pass(env, due);
			if (p->all->cfg.procs)
				(void)procs_step(p->all->cfg.procs);
		}
		pthread_mutex_lock(&p->lock);
		more = run_all(p);
	}
	p->exited = true;
	pthread_mutex_unlock(&p->lock);
}

/* --- starting and ending it --- */

static enum cy_err start(struct plugin *p)
{
	struct epoll_event ev = {.events = EPOLLIN};
	char name[16];

	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->epoll < 0 || p->wake < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &ev) < 0)
		goto failed;
	snprintf(name, sizeof(name), "plg-%.10s", p->name);
	plugin_ref(p);
	if (thread_start(name, plugin_main, p, &p->thread)) {
		plugin_unref(p);
		errno = EAGAIN;
		goto failed;
	}
	p->has_thread = true;
	return CY_OK;
failed:
	LOGF(p->all->cfg.log, LOG_LIB, CY_LOG_ERROR, NULL, "plugin %s: cannot start a thread: %s", p->name,
	    strerror(errno));
	if (p->epoll >= 0)
		close(p->epoll);
	if (p->wake >= 0)
		close(p->wake);
	p->epoll = p->wake = -1;
	return CY_E_IO;
}

enum cy_err plugin_thread_need(struct plugin *p)
{
	enum cy_err e = CY_OK;

	if (atomic_load(&p->abandoned))
		return CY_E_CANCELLED;
	if (p->all->cfg.env->simulated && !p->all->cfg.env->process)
		return CY_E_UNSUPPORTED;
	pthread_mutex_lock(&p->lock);
	/* while it empties its queues it may still do what that takes */
	if (p->stop && (!p->has_thread || p->exited))
		e = CY_E_CANCELLED;
	else if (p->all->cfg.env->simulated)
		p->has_thread = true;
	else if (!p->has_thread)
		e = start(p);
	pthread_mutex_unlock(&p->lock);
	return e;
}

void plugin_go_live(struct plugin *p)
{
	atomic_store(&p->live, true);
	pthread_mutex_lock(&p->lock);
	plugin_wake(p);
	pthread_mutex_unlock(&p->lock);
}

void plugin_thread_stop(struct plugin *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	p->stop_ns = now(p);
	plugin_wake(p);
	pthread_mutex_unlock(&p->lock);
}

bool plugin_thread_join(struct plugin *p)
{
	bool hangs = false;

	if (p->all->cfg.env->simulated) {
		if (p->has_thread)
			end_simulated(p);
		return true;
	}
	pthread_mutex_lock(&p->lock);
	while (p->has_thread && !p->exited && !hangs) {
		thread_cond_wait(&p->changed, &p->lock, now(p) + 20 * NS_PER_MS);
		uint64_t since = atomic_load(&p->running_since_ns), t = now(p);
		uint64_t begun = since > p->stop_ns ? since : p->stop_ns;
		hangs = (since && t - begun > PLUGIN_HANG_MS * NS_PER_MS) ||
		    t - p->stop_ns > (PLUGIN_LAST_WORDS_MS + PLUGIN_HANG_MS) * NS_PER_MS;
		hangs = hangs && !p->exited;
	}
	if (hangs)
		atomic_store(&p->abandoned, true);
	pthread_mutex_unlock(&p->lock);
	if (!p->has_thread)
		return true;
	if (hangs) {
		pthread_detach(p->thread);
		return false;
	}
	pthread_join(p->thread, NULL);
	return true; /* descriptors are closed with the last reference: the bus may be about to wake us */
}

void plugin_call_post(struct plugin_call *c)
{
	struct plugin *p = c->plugin;
	bool taken = false;

	pthread_mutex_lock(&p->lock);
	if (!p->exited && p->has_thread && !atomic_load(&p->abandoned)) {
		list_push(&p->calls, &c->node);
		plugin_wake(p);
		taken = true;
	}
	pthread_mutex_unlock(&p->lock);
	if (!taken) {
		plugin_unref(p);
		free(c);
	}
}
