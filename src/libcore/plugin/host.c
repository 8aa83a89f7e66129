/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a plugin may ask of the daemon. `self` is its struct plugin. A plugin whose thread was abandoned gets errors only,
 * because what it would ask for may be gone.
 */

#include "libcore/base/thread.h"
#include "libcore/plugin/private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static bool gone(struct plugin *p)
{
	return atomic_load(&p->abandoned);
}

/* --- log and settings --- */

static bool host_log_on(void *self, enum cy_level level)
{
	struct plugin *p = self;

	return !gone(p) && log_enabled(p->all->cfg.log, (enum log_group)p->group, level);
}

__attribute__((format(printf, 3, 4))) static void host_log(
    void *self, enum cy_level level, const char *fmt, ...)
{
	struct plugin *p = self;
	char text[2048];
	va_list ap;

	if (!host_log_on(self, level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_write(p->all->cfg.log, (enum log_group)p->group, level, NULL, "%s: %s", p->name, text);
}

static const struct cy_option *find_option(const struct plugin *p, const char *key)
{
	const struct cy_option *o = NULL;

	if (p->def->size >= offsetof(struct cy_plugin, options) + sizeof(p->def->options))
		o = p->def->options;
	for (; o && o->key; o++)
		if (strcmp(o->key, key) == 0)
			return o;
	return NULL;
}

/* A copy that lives as long as the plugin; the same text is kept once. */
static const char *keep_text(struct plugin *p, const char *s)
{
	struct plugin_text *t = NULL;
	struct list *at;

	pthread_mutex_lock(&p->lock);
	list_foreach (at, &p->texts) {
		t = list_entry(at, struct plugin_text, node);
		if (strcmp(t->s, s) == 0)
			goto out;
	}
	t = malloc(sizeof(*t) + strlen(s) + 1);
	if (t) {
		memcpy(t->s, s, strlen(s) + 1);
		list_push(&p->texts, &t->node);
	}
out:
	pthread_mutex_unlock(&p->lock);
	return t ? t->s : NULL;
}

static const char *host_setting(void *self, const char *key, const char *fallback)
{
	struct plugin *p = self;
	const struct cy_option *o;
	const char *kept = NULL;
	char full[192];

	if (gone(p) || snprintf(full, sizeof(full), "plugins.%s.%s", p->name, key) >= (int)sizeof(full))
		return fallback;
	/* a reload frees the old settings, so the text is copied while they cannot go */
	pthread_rwlock_rdlock(&p->all->settings_lock);
	const char *value = p->all->settings ? settings_str(p->all->settings, full) : NULL;
	if (value)
		kept = keep_text(p, value);
	pthread_rwlock_unlock(&p->all->settings_lock);
	if (kept)
		return kept;
	o = find_option(p, key);
	return o && o->fallback ? o->fallback : fallback;
}

static bool to_number(const char *s, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = s ? strtoll(s, &end, 0) : 0;
	if (!s || errno || end == s || *end)
		return false;
	*out = v;
	return true;
}

static int64_t host_setting_int(void *self, const char *key, int64_t fallback)
{
	struct plugin *p = self;
	const char *s = host_setting(self, key, NULL);
	const struct cy_option *o = gone(p) ? NULL : find_option(p, key);
	int64_t v, min, max;

	/* the plugin's own default is better than the caller's, who may not even know it */
	if (o)
		to_number(o->fallback, &fallback);
	if (!s)
		return fallback;
	if (!to_number(s, &v)) {
		host_log(self, CY_LOG_WARN, "setting %s: \"%s\" is not a number; using %lld", key, s,
		    (long long)fallback);
		return fallback;
	}
	if (o && ((to_number(o->min, &min) && v < min) || (to_number(o->max, &max) && v > max))) {
		host_log(self, CY_LOG_WARN, "setting %s: %lld is not between %s and %s; using %lld", key,
		    (long long)v, o->min ? o->min : "-", o->max ? o->max : "-", (long long)fallback);
		return fallback;
	}
	return v;
}

static bool host_setting_bool(void *self, const char *key, bool fallback)
{
	static const char *const words[][2] = {
	    {"yes", "no"}, {"true", "false"}, {"on", "off"}, {"1", "0"}, {"enabled", "disabled"}};
	const char *s = host_setting(self, key, NULL);

	for (size_t i = 0; s && i < ARRAY_LEN(words); i++) {
		if (strcasecmp(s, words[i][0]) == 0)
			return true;
		if (strcasecmp(s, words[i][1]) == 0)
			return false;
	}
	if (s)
		host_log(self, CY_LOG_WARN, "setting %s: \"%s\" is neither yes nor no; using %s", key, s,
		    fallback ? "yes" : "no");
	return fallback;
}

/* --- offering --- */

/* The least an ops struct of this kind must have: its length in ABI 1.0, which never changes when it grows. */
static size_t least_size(enum cy_kind kind)
{
	switch (kind) {
	case CY_KIND_CIPHER:
		return offsetof(struct cy_cipher_alg, crypt) + sizeof(void *);
	case CY_KIND_HASH:
		return offsetof(struct cy_hash_alg, digest) + sizeof(void *);
	case CY_KIND_MAC:
		return offsetof(struct cy_mac_alg, mac) + sizeof(void *);
	case CY_KIND_KE:
		return offsetof(struct cy_ke_alg, key_from_private) + sizeof(void *);
	case CY_KIND_PKI:
		return offsetof(struct cy_pki_ops, name_print) + sizeof(void *);
	case CY_KIND_KERNEL:
		return offsetof(struct cy_kernel_ops, counters) + sizeof(void *);
	case CY_KIND_SOCKET:
		return offsetof(struct cy_socket_ops, stats) + sizeof(void *);
	case CY_KIND_LEASES:
		return offsetof(struct cy_lease_store_ops, drop) + sizeof(void *);
	case CY_KIND_LOG_SINK:
		return offsetof(struct cy_log_sink, line) + sizeof(void *);
	case CY_KIND_XAUTH:
		return offsetof(struct cy_xauth_ops, end) + sizeof(void *);
	case CY_KIND_AUTHORIZE:
		return offsetof(struct cy_authorize_ops, ask) + sizeof(void *);
	case CY_KIND_STEER:
		return offsetof(struct cy_steer_ops, place) + sizeof(void *);
	case CY_KIND_FETCHER:
		return offsetof(struct cy_fetch_ops, status) + sizeof(void *);
	}
	return 0;
}

struct plugin_sink {
	atomic_uint refs;
	const struct cy_log_sink *sink;
	void *instance;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	bool busy, closed;
};

static void sink_line(void *user, const struct log_line *l)
{
	struct plugin_sink *s = user;
	const struct cy_log_line line = {
	    .size = sizeof(line),
	    .level = l->level,
	    .wall = l->wall,
	    .thread = l->thread,
	    .ike_id = l->ike_id,
	    .group = log_group_names[l->group],
	    .conn = l->conn,
	    .user = l->user,
	    .text = l->text,
	};

	pthread_mutex_lock(&s->lock);
	s->busy = !s->closed;
	if (s->busy) {
		pthread_mutex_unlock(&s->lock);
		s->sink->line(s->instance, &line);
		pthread_mutex_lock(&s->lock);
		s->busy = false;
		pthread_cond_broadcast(&s->idle);
	}
	pthread_mutex_unlock(&s->lock);
}

/* The log's and the plugin's. */
static void sink_unref(void *user)
{
	struct plugin_sink *s = user;

	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static enum cy_err sink_open(struct plugin *p, const struct cy_log_sink *sink, void *instance)
{
	struct plugin_sink *s = calloc(1, sizeof(*s));
	enum cy_err e;

	if (!s)
		return CY_E_NOMEM;
	atomic_init(&s->refs, 2);
	s->sink = sink;
	s->instance = instance;
	pthread_mutex_init(&s->lock, NULL);
	e = thread_cond_init(&s->idle) ? CY_OK : CY_E_NOMEM;
	if (e) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return e;
	}
	e = log_add_sink_owned(p->all->cfg.log, sink->name, sink_line, s, true, sink_unref);
	if (e) {
		sink_unref(s);
		sink_unref(s);
		return e;
	}
	p->sink = s;
	if (CY_HAS(sink, instead_of) && sink->instead_of)
		log_mute(p->all->cfg.log, sink->instead_of, true);
	return CY_OK;
}

bool plugin_sink_close(struct plugin *p)
{
	struct plugin_sink *s = p->sink;
	uint64_t due = env_now(p->all->cfg.env) + PLUGIN_HANG_MS * NS_PER_MS;
	bool ended;

	if (!s)
		return true;
	pthread_mutex_lock(&s->lock);
	s->closed = true;
	while (s->busy && thread_cond_wait(&s->idle, &s->lock, due))
		;
	ended = !s->busy;
	pthread_mutex_unlock(&s->lock);
	if (!ended)
		atomic_store(&p->abandoned, true);
	p->sink = NULL;
	if (CY_HAS(s->sink, instead_of) && s->sink->instead_of)
		log_mute(p->all->cfg.log, s->sink->instead_of, false);
	sink_unref(s);
	return ended;
}

static const char *ops_name(enum cy_kind kind, const void *ops)
{
	switch (kind) {
	case CY_KIND_KERNEL:
		return ((const struct cy_kernel_ops *)ops)->name;
	case CY_KIND_SOCKET:
		return ((const struct cy_socket_ops *)ops)->name;
	case CY_KIND_LEASES:
		return ((const struct cy_lease_store_ops *)ops)->name;
	case CY_KIND_XAUTH:
		return ((const struct cy_xauth_ops *)ops)->name;
	case CY_KIND_AUTHORIZE:
		return ((const struct cy_authorize_ops *)ops)->name;
	case CY_KIND_STEER:
		return ((const struct cy_steer_ops *)ops)->name;
	case CY_KIND_FETCHER:
		return ((const struct cy_fetch_ops *)ops)->name;
	default:
		return NULL;
	}
}

enum cy_err plugins_provide(
    struct plugins *all, enum cy_kind kind, const void *ops, void *plugin, const char *owner)
{
	uint32_t size;
	size_t n = atomic_load(&all->n_provided), least = least_size(kind);

	if (!ops || !least)
		return CY_E_INVAL;
	memcpy(&size, ops, sizeof(size));
	if (size < least)
		return CY_E_INVAL;
	if (kind <= CY_KIND_PKI)
		return crypto_register(all->cfg.crypto, kind, ops, owner);
	if (n == PLUGIN_MAX_PROVIDED)
		return CY_E_LIMIT;
	all->provided[n] = (struct plugin_provided){kind, ops, plugin, owner, ops_name(kind, ops)};
	atomic_store(&all->n_provided, n + 1);
	return CY_OK;
}

/* Only within init(), so that the tables need no locks later. */
static enum cy_err host_provide(void *self, enum cy_kind kind, const void *ops, void *plugin)
{
	struct plugin *p = self;

	if (atomic_load(&p->live) || gone(p))
		return CY_E_DENIED;
	if (kind == CY_KIND_LOG_SINK) {
		const struct cy_log_sink *sink = ops;
		if (!sink || sink->size < least_size(kind) || !sink->line || p->sink)
			return CY_E_INVAL;
		return sink_open(p, sink, plugin);
	}
	return plugins_provide(p->all, kind, ops, plugin, p->name);
}

/* --- env --- */

static uint64_t host_now_ns(void *self)
{
	struct plugin *p = self;

	return gone(p) ? 0 : env_now(p->all->cfg.env);
}

static int64_t host_wall(void *self)
{
	struct plugin *p = self;

	return gone(p) ? 0 : p->all->cfg.env->wall(p->all->cfg.env);
}

static void host_random(void *self, void *out, size_t n)
{
	struct plugin *p = self;

	p->all->cfg.env->random(p->all->cfg.env, out, n);
}

/* --- crypto --- */

static const struct cy_cipher_alg *host_cipher(void *self, uint16_t encr, uint16_t key_bits)
{
	struct plugin *p = self;

	return gone(p) ? NULL : crypto_cipher(p->all->cfg.crypto, encr, key_bits);
}

static const struct cy_mac_alg *host_mac(void *self, uint16_t mac)
{
	struct plugin *p = self;

	return gone(p) ? NULL : crypto_mac(p->all->cfg.crypto, mac);
}

static const struct cy_hash_alg *host_hash(void *self, uint16_t hash)
{
	struct plugin *p = self;

	return gone(p) ? NULL : crypto_hash(p->all->cfg.crypto, hash);
}

static const struct cy_ke_alg *host_ke(void *self, uint16_t ke)
{
	struct plugin *p = self;

	return gone(p) ? NULL : crypto_ke(p->all->cfg.crypto, ke);
}

static bool host_integ(
    void *self, uint16_t integ, const struct cy_mac_alg **out, size_t *out_key_len, size_t *out_len)
{
	struct plugin *p = self;
	struct integ_info info;

	if (gone(p) || !crypto_integ(p->all->cfg.crypto, integ, &info))
		return false;
	*out = info.mac;
	*out_key_len = info.key_len;
	*out_len = info.icv_len;
	return true;
}

/* --- events, timers, descriptors --- */

static void listener_event(void *user, const struct cy_event *ev)
{
	struct plugin_listener *l = user;
	struct plugin_since since;

	if (gone(l->plugin))
		return;
	since = plugin_enter(l->plugin);
	l->cb(l->user, ev);
	plugin_leave(l->plugin, PLUGIN_HOOK_EVENT, since);
}

static void listener_wake(void *user)
{
	struct plugin_listener *l = user;

	atomic_store(&l->pending, true);
	plugin_wake(l->plugin);
}

static enum cy_err host_subscribe(
    void *self, uint64_t mask, void (*cb)(void *user, const struct cy_event *ev), void *user)
{
	struct plugin *p = self;
	struct plugin_listener *l;
	enum cy_err e;

	if (!cb || !mask)
		return CY_E_INVAL;
	if (!gone(p) && !p->all->cfg.bus)
		return CY_E_UNSUPPORTED;
	e = plugin_thread_need(p);
	if (e)
		return e;
	l = calloc(1, sizeof(*l));
	if (!l)
		return CY_E_NOMEM;
	l->plugin = p;
	l->cb = cb;
	l->user = user;
	/* events may come as soon as it is subscribed, so it is on the list before */
	pthread_mutex_lock(&p->lock);
	list_push(&p->listeners, &l->node);
	e = bus_subscribe(
	    p->all->cfg.bus, p->name, mask, PLUGIN_QUEUE_MAX, listener_event, listener_wake, l, &l->bus);
	if (e) {
		list_del(&l->node);
		free(l);
	}
	pthread_mutex_unlock(&p->lock);
	return e;
}

static enum cy_err host_timer(void *self, uint32_t delay_ms, uint32_t period_ms, void (*cb)(void *user),
    void *user, struct cy_timer **out)
{
	struct plugin *p = self;
	struct cy_timer *t;
	enum cy_err e;

	if (!cb)
		return CY_E_INVAL;
	e = plugin_thread_need(p);
	if (e)
		return e;
	t = calloc(1, sizeof(*t));
	if (!t)
		return CY_E_NOMEM;
	t->cb = cb;
	t->user = user;
	t->period_ns = period_ms * NS_PER_MS;
	t->due_ns = env_now(p->all->cfg.env) + delay_ms * NS_PER_MS;
	t->held = out != NULL;
	if (out)
		*out = t;
	pthread_mutex_lock(&p->lock);
	plugin_timer_insert(p, t);
	plugin_wake(p);
	pthread_mutex_unlock(&p->lock);
	return CY_OK;
}

static void host_timer_cancel(void *self, struct cy_timer *t)
{
	struct plugin *p = self;

	if (!t)
		return;
	pthread_mutex_lock(&p->lock);
	t->cancelled = true;
	if (!t->running) {
		list_del(&t->node);
		free(t);
	}
	pthread_mutex_unlock(&p->lock);
}

static enum cy_err host_watch(void *self, int fd, uint32_t epoll_events,
    void (*cb)(void *user, uint32_t events), void *user, struct cy_watch **out)
{
	struct plugin *p = self;
	struct cy_watch *w;
	enum cy_err e;

	if (!cb || fd < 0)
		return CY_E_INVAL;
	e = plugin_thread_need(p);
	if (e)
		return e;
	w = calloc(1, sizeof(*w));
	if (!w)
		return CY_E_NOMEM;
	w->fd = fd;
	w->cb = cb;
	w->user = user;
	pthread_mutex_lock(&p->lock);
	w->id = ++p->next_watch_id;
	struct epoll_event ev = {.events = epoll_events, .data.u64 = w->id};
	if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		e = errno == EEXIST ? CY_E_EXISTS : CY_E_IO;
		free(w);
	} else {
		list_push(&p->watches, &w->node);
		if (out)
			*out = w;
	}
	pthread_mutex_unlock(&p->lock);
	return e;
}

static void host_watch_cancel(void *self, struct cy_watch *w)
{
	struct plugin *p = self;

	if (!w)
		return;
	pthread_mutex_lock(&p->lock);
	epoll_ctl(p->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	list_del(&w->node);
	w->cancelled = true;
	if (!w->running)
		free(w);
	pthread_mutex_unlock(&p->lock);
}

/* --- processes --- */

static void spawn_run(struct plugin_call *c)
{
	if (c->done)
		c->done(c->user, c->status, c->timed_out, cy_slice(c->output, c->n_output));
	pthread_mutex_lock(&c->plugin->lock);
	c->plugin->n_procs--;
	pthread_mutex_unlock(&c->plugin->lock);
}

/* On the manager thread of the processes. */
static void spawn_done(void *user, int status, bool timed_out, struct cy_slice output)
{
	struct plugin_call *c = user;

	c->status = status;
	c->timed_out = timed_out;
	c->n_output = output.n < sizeof(c->output) ? output.n : sizeof(c->output);
	if (c->n_output)
		memcpy(c->output, output.p, c->n_output);
	plugin_call_post(c);
}

static enum cy_err host_spawn(void *self, const struct cy_proc_spec *spec)
{
	struct plugin *p = self;
	struct proc_spec s = {.owner = p->name, .done = spawn_done};
	struct plugin_call *c;
	enum cy_err e;

	if (!spec || spec->size < offsetof(struct cy_proc_spec, user) + sizeof(void *) || !spec->argv ||
	    !spec->argv[0] || spec->argv[0][0] != '/')
		return CY_E_INVAL;
	e = plugin_thread_need(p);
	if (e)
		return e;
	if (!p->all->cfg.procs)
		return CY_E_UNSUPPORTED;
	c = calloc(1, sizeof(*c));
	if (!c)
		return CY_E_NOMEM;
	c->plugin = plugin_ref(p);
	c->run = spawn_run;
	c->done = spec->done;
	c->user = spec->user;
	s.argv = spec->argv;
	s.envp = spec->envp;
	s.deadline_ms = spec->deadline_ms;
	s.user = c;
	pthread_mutex_lock(&p->lock);
	p->n_procs++;
	pthread_mutex_unlock(&p->lock);
	e = procs_spawn(p->all->cfg.procs, &s);
	if (e) {
		pthread_mutex_lock(&p->lock);
		p->n_procs--;
		pthread_mutex_unlock(&p->lock);
		plugin_unref(p);
		free(c);
	}
	return e;
}

/* --- the daemon --- */

static uint32_t host_slowest_worker_ms(void *self)
{
	struct plugin *p = self;

	return gone(p) || !p->all->cfg.processor ? 0 : processor_stuck_ms(p->all->cfg.processor);
}

static size_t host_udp_send(void *self, const struct cy_dgram *d, size_t n)
{
	struct plugin *p = self;
	size_t sent = 0;

	if (gone(p))
		return 0;
	pthread_rwlock_rdlock(&p->all->udp_lock);
	if (p->all->udp_send)
		sent = p->all->udp_send(p->all->udp_send_user, d, n);
	pthread_rwlock_unlock(&p->all->udp_lock);
	return sent;
}

static enum cy_err host_password(void *self, const char *user, uint8_t *out, size_t cap, size_t *out_n)
{
	struct plugin *p = self;

	enum cy_err e = CY_E_NOTFOUND;

	if (gone(p))
		return e;
	pthread_rwlock_rdlock(&p->all->udp_lock);
	if (p->all->password)
		e = p->all->password(p->all->password_user, user, out, cap, out_n);
	pthread_rwlock_unlock(&p->all->udp_lock);
	return e;
}

static enum cy_err host_authorize_answer(void *self, uint64_t id, bool yes, const char *reason)
{
	struct plugin *p = self;
	enum cy_err e = CY_E_NOTFOUND;

	if (gone(p))
		return CY_E_CANCELLED;
	pthread_rwlock_rdlock(&p->all->udp_lock);
	if (p->all->answer)
		e = p->all->answer(p->all->answer_user, id, yes, reason);
	pthread_rwlock_unlock(&p->all->udp_lock);
	return e;
}

const struct cy_host plugin_host = {
    .size = sizeof(struct cy_host),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .log = host_log,
    .log_on = host_log_on,
    .setting = host_setting,
    .setting_int = host_setting_int,
    .setting_bool = host_setting_bool,
    .provide = host_provide,
    .now_ns = host_now_ns,
    .wall = host_wall,
    .random = host_random,
    .cipher = host_cipher,
    .mac = host_mac,
    .integ = host_integ,
    .subscribe = host_subscribe,
    .timer = host_timer,
    .timer_cancel = host_timer_cancel,
    .watch = host_watch,
    .watch_cancel = host_watch_cancel,
    .spawn = host_spawn,
    .slowest_worker_ms = host_slowest_worker_ms,
    .udp_send = host_udp_send,
    .hash = host_hash,
    .password = host_password,
    .authorize_answer = host_authorize_answer,
    .ke = host_ke,
};
