/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/env.h"
#include "libcore/base/err.h"
#include "libcore/base/log_ring.h"
#include "libcore/base/thread.h"

#define MAX_SINKS  16
#define SINK_QUEUE 4096 /* lines waiting for a slow sink */
/* Of the 100 ms that log_free may take. */
#define WRITER_END_MS 50
#define SINKS_END_MS  90

struct sink {
	uint32_t refs; /* atomic: the log's, its thread's */
	char *name;
	log_sink_fn fn;
	void *user;
	void (*user_free)(void *user); /* may be NULL */
	bool muted;                    /* atomic */
	bool slow;
	/* slow only, guarded by m */
	pthread_mutex_t m;
	pthread_cond_t more, ended;
	pthread_t thread;
	struct record **queue;
	uint32_t first, n;
	uint64_t lost, told; /* lines lost, and of those told about */
	uint64_t since_ns;   /* it is in a line since then, 0 not */
	bool started, stop, done;
	struct env *env;
};

struct log {
	uint32_t refs; /* atomic: the owner's, the writer's */
	struct env *env;
	uint8_t levels[LOG_N]; /* atomic */
	pthread_key_t key;     /* a thread's ring */
	log_sink_fn direct;
	void *direct_user;

	pthread_mutex_t m; /* rings (adding, removing), sinks (adding), started, done */
	pthread_cond_t ended;
	struct ring *rings;
	uint32_t n_threads;
	struct sink *sinks[MAX_SINKS];
	uint32_t n_sinks; /* atomic */
	bool started, done;
	pthread_t writer;

	int wake_fd;
	bool asleep, stop, abandoned; /* atomic */
	uint64_t dropped;             /* atomic; besides those in rings */

	pthread_mutex_t recent_m;
	struct record *recent[LOG_RECENT];
	size_t recent_n, recent_next;
};

const char *const log_group_names[LOG_N] = {
    "DMN", "MGR", "IKE", "CHD", "JOB", "CFG", "KNL", "NET", "ENC", "LIB", "ESP"};

static void ring_orphan(void *arg)
{
	struct ring *r = arg;

	__atomic_store_n(&r->orphan, true, __ATOMIC_RELEASE);
}

enum cy_err log_new(struct env *env, struct log **out)
{
	struct log *l = calloc(1, sizeof(*l));

	if (!l)
		return CY_E_NOMEM;
	l->env = env;
	l->refs = 1;
	log_level_all(l, CY_LOG_NOTICE);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0)
		goto fail;
	if (pthread_key_create(&l->key, ring_orphan))
		goto fail;
	if (!thread_cond_init(&l->ended)) {
		pthread_key_delete(l->key);
		goto fail;
	}
	pthread_mutex_init(&l->m, NULL);
	pthread_mutex_init(&l->recent_m, NULL);
	*out = l;
	return CY_OK;
fail:
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	free(l);
	return CY_E_LIMIT;
}

static void sink_unref(struct sink *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (; s->n; s->n--, s->first = (s->first + 1) % SINK_QUEUE)
		record_unref(s->queue[s->first]);
	pthread_cond_destroy(&s->more);
	pthread_cond_destroy(&s->ended);
	pthread_mutex_destroy(&s->m);
	free(s->queue);
	free(s->name);
	if (s->user_free)
		s->user_free(s->user);
	free(s);
}

static void log_unref(struct log *l)
{
	struct ring *r, *next;

	if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t i = 0; i < l->n_sinks; i++)
		sink_unref(l->sinks[i]);
	for (r = l->rings; r; r = next) {
		next = r->next;
		free(r);
	}
	for (size_t i = 0; i < LOG_RECENT; i++)
		record_unref(l->recent[i]);
	pthread_cond_destroy(&l->ended);
	pthread_mutex_destroy(&l->m);
	pthread_mutex_destroy(&l->recent_m);
	close(l->wake_fd);
	free(l);
}

void log_level(struct log *l, enum log_group g, enum cy_level level)
{
	__atomic_store_n(&l->levels[g], (uint8_t)level, __ATOMIC_RELAXED);
}

void log_level_all(struct log *l, enum cy_level level)
{
	for (int g = 0; g < LOG_N; g++)
		log_level(l, (enum log_group)g, level);
}

bool log_enabled(const struct log *l, enum log_group g, enum cy_level level)
{
	return l && (uint8_t)level <= __atomic_load_n(&l->levels[g], __ATOMIC_RELAXED);
}

void log_set_direct(struct log *l, log_sink_fn fn, void *user)
{
	l->direct_user = user;
	l->direct = fn;
}

static void remember(struct log *l, struct record *r)
{
	struct record *old;

	pthread_mutex_lock(&l->recent_m);
	old = l->recent[l->recent_next];
	l->recent[l->recent_next] = record_ref(r);
	l->recent_next = (l->recent_next + 1) % LOG_RECENT;
	if (l->recent_n < LOG_RECENT)
		l->recent_n++;
	pthread_mutex_unlock(&l->recent_m);
	record_unref(old);
}

/* What no sink's thread is behind is lost when its queue is full; the sink is told how much. */
static void enqueue(struct log *l, struct sink *s, struct record *r)
{
	pthread_mutex_lock(&s->m);
	if (s->n == SINK_QUEUE) {
		s->lost++;
		__atomic_fetch_add(&l->dropped, 1, __ATOMIC_RELAXED);
	} else {
		s->queue[(s->first + s->n) % SINK_QUEUE] = record_ref(r);
		if (s->n++ == 0)
			pthread_cond_signal(&s->more);
	}
	pthread_mutex_unlock(&s->m);
}

static bool is_muted(const struct sink *s)
{
	return __atomic_load_n(&s->muted, __ATOMIC_RELAXED);
}

void log_mute(struct log *l, const char *name, bool mute)
{
	uint32_t n = __atomic_load_n(&l->n_sinks, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n; i++)
		if (strcmp(l->sinks[i]->name, name) == 0)
			__atomic_store_n(&l->sinks[i]->muted, mute, __ATOMIC_RELAXED);
}

static void deliver(struct log *l, const struct log_line *line, bool threads)
{
	uint32_t n = __atomic_load_n(&l->n_sinks, __ATOMIC_ACQUIRE);
	struct record *r = record_new(line);

	if (!r) {
		__atomic_fetch_add(&l->dropped, 1, __ATOMIC_RELAXED);
		return;
	}
	remember(l, r);
	/* queues first: a sink that is called here may take its time */
	for (uint32_t i = 0; i < n && threads; i++)
		if (l->sinks[i]->slow && !is_muted(l->sinks[i]))
			enqueue(l, l->sinks[i], r);
	for (uint32_t i = 0; i < n; i++) {
		/* after log_free gave up, the other sinks are gone */
		if (__atomic_load_n(&l->abandoned, __ATOMIC_ACQUIRE))
			break;
		if ((!threads || !l->sinks[i]->slow) && !is_muted(l->sinks[i]))
			l->sinks[i]->fn(l->sinks[i]->user, &r->line);
	}
	record_unref(r);
}

static void lost_line(struct env *env, uint64_t n, char text[96], struct log_line *out)
{
	(void)snprintf(text, 96, "%llu log lines lost here: they came faster than they could be written",
	    (unsigned long long)n);
	*out = (struct log_line){
	    .ns = env->now_ns(env),
	    .wall = env->wall(env),
	    .group = LOG_DMN,
	    .level = CY_LOG_WARN,
	    .conn = "",
	    .user = "",
	    .text = text,
	};
}

static void *sink_main(void *arg)
{
	struct sink *s = arg;
	struct log_line line;
	struct record *r;
	uint64_t lost;
	char text[96];

	pthread_mutex_lock(&s->m);
	for (;;) {
		while (s->n == 0 && !s->stop)
			pthread_cond_wait(&s->more, &s->m);
		if (s->n == 0)
			break;
		r = s->queue[s->first];
		s->first = (s->first + 1) % SINK_QUEUE;
		s->n--;
		/* the gap lies behind what was in the queue when it was full */
		lost = s->n == 0 ? s->lost - s->told : 0;
		s->told += lost;
		s->since_ns = env_now(s->env);
		pthread_mutex_unlock(&s->m);
		s->fn(s->user, &r->line);
		record_unref(r);
		if (lost) {
			lost_line(s->env, lost, text, &line);
			s->fn(s->user, &line);
		}
		pthread_mutex_lock(&s->m);
		s->since_ns = 0;
	}
	s->done = true;
	pthread_cond_signal(&s->ended);
	pthread_mutex_unlock(&s->m);
	sink_unref(s);
	return NULL;
}

static enum cy_err sink_start(struct sink *s)
{
	enum cy_err err;

	if (!s->slow || s->started)
		return CY_OK;
	s->refs++;
	err = thread_start("log-sink", sink_main, s, &s->thread);
	if (err)
		s->refs--;
	else
		s->started = true;
	return err;
}

enum cy_err log_add_sink(struct log *l, const char *name, log_sink_fn fn, void *user, bool slow)
{
	return log_add_sink_owned(l, name, fn, user, slow, NULL);
}

enum cy_err log_add_sink_owned(
    struct log *l, const char *name, log_sink_fn fn, void *user, bool slow, void (*user_free)(void *user))
{
	struct sink *s = calloc(1, sizeof(*s));
	enum cy_err err = CY_E_NOMEM;
	uint32_t n;

	if (!s)
		return CY_E_NOMEM;
	s->refs = 1;
	s->fn = fn;
	s->user = user;
	s->env = l->env;
	s->slow = slow && !l->env->simulated;
	pthread_mutex_init(&s->m, NULL);
	if (!thread_cond_init(&s->more) || !thread_cond_init(&s->ended)) {
		free(s);
		return CY_E_NOMEM;
	}
	s->name = strdup(name);
	if (s->slow)
		s->queue = calloc(SINK_QUEUE, sizeof(struct record *));
	if (!s->name || (s->slow && !s->queue)) {
		sink_unref(s);
		return CY_E_NOMEM;
	}
	pthread_mutex_lock(&l->m);
	n = l->n_sinks;
	err = n == MAX_SINKS ? CY_E_LIMIT : l->started ? sink_start(s) : CY_OK;
	if (!err) {
		l->sinks[n] = s;
		s->user_free = user_free;
		__atomic_store_n(&l->n_sinks, n + 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&l->m);
	if (err)
		sink_unref(s);
	return err;
}

static struct ring *ring_list(struct log *l)
{
	struct ring *r;

	pthread_mutex_lock(&l->m);
	r = l->rings;
	pthread_mutex_unlock(&l->m);
	return r;
}

static bool all_empty(struct log *l)
{
	for (struct ring *r = ring_list(l); r; r = r->next)
		if (!ring_empty(r))
			return false;
	return true;
}

/* Lines of all threads in the order of their time. Nobody but the writer removes rings, so no lock is held. */
static void drain(struct log *l)
{
	struct ring *oldest;
	struct log_line line;
	char text[96];

	do {
		struct ring *rings = ring_list(l);

		oldest = NULL;
		for (struct ring *r = rings; r; r = r->next) {
			uint64_t dropped = __atomic_load_n(&r->dropped, __ATOMIC_RELAXED);

			if (!ring_empty(r)) {
				if (!oldest || ring_time(r) < ring_time(oldest))
					oldest = r;
			} else if (dropped != r->reported) {
				lost_line(l->env, dropped - r->reported, text, &line);
				line.thread = r->thread;
				r->reported = dropped;
				deliver(l, &line, true);
			}
		}
		if (oldest) {
			ring_peek(oldest, &line);
			deliver(l, &line, true);
			ring_drop(oldest);
		}
	} while (oldest && !__atomic_load_n(&l->abandoned, __ATOMIC_ACQUIRE));
}

static void bury_orphans(struct log *l)
{
	struct ring **at, *r;

	pthread_mutex_lock(&l->m);
	for (at = &l->rings; (r = *at);) {
		if (__atomic_load_n(&r->orphan, __ATOMIC_ACQUIRE) && ring_empty(r)) {
			*at = r->next;
			__atomic_fetch_add(
			    &l->dropped, __atomic_load_n(&r->dropped, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
			free(r);
		} else {
			at = &r->next;
		}
	}
	pthread_mutex_unlock(&l->m);
}

static void *writer_main(void *arg)
{
	struct log *l = arg;
	uint64_t value;

	for (;;) {
		struct pollfd p = {.fd = l->wake_fd, .events = POLLIN};

		drain(l);
		bury_orphans(l);
		if (__atomic_load_n(&l->abandoned, __ATOMIC_ACQUIRE))
			break;
		__atomic_store_n(&l->asleep, true, __ATOMIC_SEQ_CST);
		if (all_empty(l)) {
			if (__atomic_load_n(&l->stop, __ATOMIC_SEQ_CST))
				break;
			(void)poll(&p, 1, -1);
			if (read(l->wake_fd, &value, sizeof(value)) < 0 && errno != EAGAIN)
				break;
		}
		__atomic_store_n(&l->asleep, false, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_lock(&l->m);
	l->done = true;
	pthread_cond_signal(&l->ended);
	pthread_mutex_unlock(&l->m);
	log_unref(l);
	return NULL;
}

static void wake_writer(struct log *l)
{
	uint64_t one = 1;

	if (!__atomic_load_n(&l->asleep, __ATOMIC_SEQ_CST) ||
	    !__atomic_exchange_n(&l->asleep, false, __ATOMIC_SEQ_CST))
		return;
	/* cannot be full: one is added a sleep */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return;
}

enum cy_err log_start(struct log *l)
{
	enum cy_err err = CY_OK;

	if (l->env->simulated)
		return CY_OK;
	pthread_mutex_lock(&l->m);
	for (uint32_t i = 0; i < l->n_sinks && !err; i++)
		err = sink_start(l->sinks[i]);
	if (!err && !l->started) {
		__atomic_fetch_add(&l->refs, 1, __ATOMIC_RELAXED);
		err = thread_start("log", writer_main, l, &l->writer);
		if (err)
			__atomic_fetch_sub(&l->refs, 1, __ATOMIC_RELAXED);
		else
			l->started = true;
	}
	pthread_mutex_unlock(&l->m);
	return err;
}

/* Join when it ended in time, or leave it to itself: then it frees what it holds when its sink returns. */
static bool end_thread(pthread_mutex_t *m, pthread_cond_t *c, const bool *done, pthread_t t, uint64_t due)
{
	bool ended;

	while (!*done && thread_cond_wait(c, m, due))
		;
	ended = *done;
	pthread_mutex_unlock(m);
	if (ended)
		pthread_join(t, NULL);
	else
		pthread_detach(t);
	return ended;
}

void log_free(struct log *l)
{
	uint64_t now;

	if (!l)
		return;
	/* lines from before log_start are not thrown away either */
	if (!l->started && l->rings && l->n_sinks)
		(void)log_start(l);
	now = env_now(l->env);
	if (l->started) {
		__atomic_store_n(&l->stop, true, __ATOMIC_SEQ_CST);
		wake_writer(l);
		pthread_mutex_lock(&l->m);
		if (!end_thread(&l->m, &l->ended, &l->done, l->writer, now + WRITER_END_MS * NS_PER_MS))
			__atomic_store_n(&l->abandoned, true, __ATOMIC_RELEASE);
	}
	for (uint32_t i = 0; i < l->n_sinks; i++) {
		struct sink *s = l->sinks[i];

		pthread_mutex_lock(&s->m);
		s->stop = true;
		pthread_cond_signal(&s->more);
		pthread_mutex_unlock(&s->m);
	}
	for (uint32_t i = 0; i < l->n_sinks; i++) {
		struct sink *s = l->sinks[i];

		if (!s->started)
			continue;
		pthread_mutex_lock(&s->m);
		(void)end_thread(&s->m, &s->ended, &s->done, s->thread, now + SINKS_END_MS * NS_PER_MS);
	}
	pthread_key_delete(l->key);
	log_unref(l);
}

static struct ring *my_ring(struct log *l)
{
	struct ring *r = pthread_getspecific(l->key);

	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	if (pthread_setspecific(l->key, r)) {
		free(r);
		return NULL;
	}
	pthread_mutex_lock(&l->m);
	r->thread = l->n_threads++;
	r->next = l->rings;
	l->rings = r;
	pthread_mutex_unlock(&l->m);
	return r;
}

void log_write(
    struct log *l, enum log_group g, enum cy_level level, const struct log_ctx *ctx, const char *fmt, ...)
{
	char raw[LOG_TEXT_MAX], text[LOG_TEXT_MAX], conn[128] = "", user[256] = "";
	struct log_line line;
	struct ring *r;
	va_list ap;
	int n;

	if (!log_enabled(l, g, level))
		return;
	va_start(ap, fmt);
	n = vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	/* one more than fits, so that the cut is seen */
	(void)log_escape(raw, (size_t)n < sizeof(raw) ? (size_t)n : sizeof(raw), text, sizeof(text));
	if (ctx && ctx->conn)
		(void)log_escape(ctx->conn, strlen(ctx->conn), conn, sizeof(conn));
	if (ctx && ctx->user)
		(void)log_escape(ctx->user, strlen(ctx->user), user, sizeof(user));
	line = (struct log_line){
	    .ns = env_now(l->env),
	    .wall = l->env->wall(l->env),
	    .group = (uint16_t)g,
	    .level = (uint16_t)level,
	    .ike_id = ctx ? ctx->ike_id : 0,
	    .conn = conn,
	    .user = user,
	    .text = text,
	};
	if (l->direct || l->env->simulated) {
		deliver(l, &line, false);
		if (l->direct)
			l->direct(l->direct_user, &line);
		return;
	}
	r = my_ring(l);
	if (!r)
		__atomic_fetch_add(&l->dropped, 1, __ATOMIC_RELAXED);
	else if (ring_put(r, &line))
		wake_writer(l);
}

uint64_t log_dropped(const struct log *cl)
{
	struct log *l = (struct log *)(uintptr_t)cl; /* its lock changes, its meaning does not */
	uint64_t n = __atomic_load_n(&l->dropped, __ATOMIC_RELAXED);

	pthread_mutex_lock(&l->m);
	for (struct ring *r = l->rings; r; r = r->next)
		n += __atomic_load_n(&r->dropped, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&l->m);
	return n;
}

size_t log_sink_read_stats(struct log *l, struct log_sink_stats *out, size_t cap)
{
	uint32_t n = __atomic_load_n(&l->n_sinks, __ATOMIC_ACQUIRE);
	size_t k = 0;

	for (uint32_t i = 0; i < n && k < cap; i++) {
		struct sink *s = l->sinks[i];

		pthread_mutex_lock(&s->m);
		out[k++] = (struct log_sink_stats){
		    .name = s->name, .lost = s->lost, .queued = s->n, .since_ns = s->since_ns};
		pthread_mutex_unlock(&s->m);
	}
	return k;
}

void log_recent(struct log *l, size_t max, bool (*cb)(void *user, const struct log_line *line), void *user)
{
	struct record **kept = calloc(LOG_RECENT, sizeof(struct record *));
	size_t n, i;

	if (!kept)
		return;
	pthread_mutex_lock(&l->recent_m);
	n = l->recent_n < max ? l->recent_n : max;
	for (i = 0; i < n; i++)
		kept[i] = record_ref(l->recent[(l->recent_next + LOG_RECENT - n + i) % LOG_RECENT]);
	pthread_mutex_unlock(&l->recent_m);
	for (i = 0; i < n && cb(user, &kept[i]->line); i++)
		;
	for (i = 0; i < n; i++)
		record_unref(kept[i]);
	free(kept);
}

size_t log_format(const struct log_line *line, char *out, size_t cap)
{
	time_t t = (time_t)line->wall;
	char when[32] = "", who[256] = "";
	const char *group = line->group < LOG_N ? log_group_names[line->group] : "?";
	struct tm tm;
	int n;

	if (localtime_r(&t, &tm))
		(void)strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
	if (line->conn[0] && line->ike_id)
		(void)snprintf(who, sizeof(who), "<%s|%llu%s%.64s> ", line->conn,
		    (unsigned long long)line->ike_id, line->user[0] ? "|" : "", line->user);
	else if (line->ike_id)
		(void)snprintf(who, sizeof(who), "<%llu> ", (unsigned long long)line->ike_id);
	else if (line->conn[0])
		(void)snprintf(who, sizeof(who), "<%s> ", line->conn);
	n = snprintf(out, cap, "%s %02u[%s] %s%s", when, line->thread, group, who, line->text);
	if (n < 0)
		return 0;
	return (size_t)n < cap ? (size_t)n : cap - 1;
}

void log_sink_stderr(void *user, const struct log_line *line)
{
	char text[LOG_TEXT_MAX + 256];
	size_t n = log_format(line, text, sizeof(text) - 1);

	text[n++] = '\n';
	/* one call a line: threads and processes that share the terminal do not mix within it */
	if (write(STDERR_FILENO, text, n) < 0)
		return;
}
