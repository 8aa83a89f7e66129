/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, from the daemon's call on any thread to the answer. */

#include "fetcher.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void wake(struct plugin *p)
{
	uint64_t one = 1;

	if (write(p->wake, &one, sizeof(one)) < 0)
		return; /* full: it is being woken */
}

static void request_free(struct request *r)
{
	free(r->url);
	free(r->content_type);
	free(r->post);
	free(r->body);
	free(r);
}

/* --- any thread --- */

static struct request **bucket_of(struct plugin *p, uint64_t id)
{
	return &p->buckets[id % BUCKETS];
}

static void refuse(const struct cy_fetch_request *q, enum cy_fetch_result result, const char *reason)
{
	const struct cy_fetch_answer a = {.size = sizeof(a), .result = result, .reason = reason};

	q->answer(q->to, q->id, &a);
}

static struct request *request_new(struct plugin *p, const struct cy_fetch_request *q)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->plugin = p;
	r->id = q->id;
	r->max_bytes = q->max_bytes;
	r->answer = q->answer;
	r->to = q->to;
	r->deadline_ms = q->deadline_ms;
	r->begun_ns = p->host->now_ns(p->self);
	r->url = strdup(q->url);
	r->n_post = q->post.n;
	r->post = malloc(q->post.n ? q->post.n : 1);
	if (q->content_type)
		r->content_type = strdup(q->content_type);
	if (!r->url || !r->post || (q->content_type && !r->content_type)) {
		request_free(r);
		return NULL;
	}
	if (q->post.n)
		memcpy(r->post, q->post.p, q->post.n);
	return r;
}

void request_begin(void *plugin, const struct cy_fetch_request *q)
{
	struct plugin *p = plugin;
	struct request *r = request_new(p, q);
	bool full;

	if (!r) {
		refuse(q, CY_FETCH_FAILED, "out of memory");
		return;
	}
	pthread_mutex_lock(&p->lock);
	full = p->waiting >= p->queue_max;
	if (full) {
		p->c.refused++;
	} else {
		p->waiting++;
		r->bucket = *bucket_of(p, r->id);
		*bucket_of(p, r->id) = r;
		TAILQ_INSERT_TAIL(&p->begun, r, next);
	}
	pthread_mutex_unlock(&p->lock);
	if (full) {
		request_free(r);
		refuse(q, CY_FETCH_BUSY, "as many requests wait as plugins.curl.queue allows");
		return;
	}
	wake(p);
}

void request_cancel(void *plugin, uint64_t id)
{
	struct plugin *p = plugin;
	struct request *r;

	pthread_mutex_lock(&p->lock);
	for (r = *bucket_of(p, id); r && r->id != id; r = r->bucket)
		;
	if (r && !r->cancelled) {
		r->cancelled = r->in_cancels = true;
		TAILQ_INSERT_TAIL(&p->cancels, r, cancels);
	}
	pthread_mutex_unlock(&p->lock);
	if (r)
		wake(p);
}

/* --- the plugin's thread: how one ends --- */

static void cancel_timer(struct plugin *p, struct cy_timer **t)
{
	if (*t)
		p->host->timer_cancel(p->self, *t);
	*t = NULL;
}

/* It is neither waiting nor being transferred any more. */
static void stop(struct request *r, enum host_word word)
{
	struct plugin *p = r->plugin;

	cancel_timer(p, &r->deadline);
	cancel_timer(p, &r->connect);
	if (r->state == REQUEST_WAITING)
		host_queue_remove(p, r);
	if (r->state == REQUEST_RUNNING) {
		TAILQ_REMOVE(&p->active, r, next);
		if (transfer_end(r, word)) {
			r->state = REQUEST_PARKED;
			TAILQ_INSERT_TAIL(&p->parked, r, next);
		}
	} else {
		pthread_mutex_lock(&p->lock);
		p->waiting--;
		pthread_mutex_unlock(&p->lock);
	}
	if (r->host)
		host_release(p, r->host);
	hosts_publish(p);
}

/* Nobody finds it any more. */
static void forget(struct request *r)
{
	struct plugin *p = r->plugin;
	struct request **at;

	pthread_mutex_lock(&p->lock);
	for (at = bucket_of(p, r->id); *at != r; at = &(*at)->bucket)
		;
	*at = r->bucket;
	if (r->in_cancels)
		TAILQ_REMOVE(&p->cancels, r, cancels);
	pthread_mutex_unlock(&p->lock);
	if (r->state != REQUEST_PARKED)
		request_free(r);
}

void request_unparked(struct request *r)
{
	struct plugin *p = r->plugin;

	TAILQ_REMOVE(&p->parked, r, next);
	host_unparked(p, r->host);
	request_free(r);
}

static void finish(struct request *r, const struct cy_fetch_answer *a)
{
	struct plugin *p = r->plugin;
	bool cancelled;

	pthread_mutex_lock(&p->lock);
	cancelled = r->cancelled;
	p->c.done += a->result == CY_FETCH_OK;
	p->c.failed += a->result == CY_FETCH_FAILED || a->result == CY_FETCH_TOO_BIG;
	p->c.late += a->result == CY_FETCH_LATE;
	p->c.refused += a->result == CY_FETCH_BUSY;
	pthread_mutex_unlock(&p->lock);
	if (!cancelled)
		r->answer(r->to, r->id, a);
	forget(r);
}

void request_fail(struct request *r, enum cy_fetch_result result, const char *reason, ...)
{
	struct cy_fetch_answer a = {.size = sizeof(a), .result = result};
	char text[HOST_MAX + CURL_ERROR_SIZE + 128];
	va_list ap;

	va_start(ap, reason);
	(void)vsnprintf(text, sizeof(text), reason, ap);
	va_end(ap);
	a.reason = text;
	stop(r, result == CY_FETCH_TOO_BIG || r->n_header > 0 ? HOST_ANSWERED : HOST_SILENT);
	finish(r, &a);
}

void request_succeed(struct request *r)
{
	struct cy_fetch_answer a = {.size = sizeof(a), .result = CY_FETCH_OK, .reason = ""};

	stop(r, HOST_ANSWERED);
	a.body = cy_slice(r->body ? r->body : (const uint8_t *)"", r->n_body);
	finish(r, &a);
}

/* --- the plugin's thread: how one begins --- */

static const char *how_far(const struct request *r)
{
	if (r->state != REQUEST_RUNNING)
		return "its turn had not come";
	if (r->asking)
		return "no name server had answered";
	if (!r->connected)
		return "there was no connection";
	return r->n_header ? "the answer was not complete" : "there was no answer";
}

static void on_deadline(void *user)
{
	struct request *r = user;
	struct plugin *p = r->plugin;

	request_fail(
	    r, CY_FETCH_LATE, "%s: %s after %u ms", r->host->name, how_far(r), (unsigned)r->deadline_ms);
	dispatch(p);
}

static void no_connection(struct request *r)
{
	request_fail(r, CY_FETCH_FAILED, "%s: %s after %u ms", r->host->name, how_far(r),
	    (unsigned)r->plugin->connect_ms);
}

static void on_connect_time(void *user)
{
	struct request *r = user;
	struct plugin *p = r->plugin;

	no_connection(r);
	dispatch(p);
}

void requests_expire(struct plugin *p)
{
	uint64_t now = p->host->now_ns(p->self);
	struct request *r, *next;

	for (r = TAILQ_FIRST(&p->active); r; r = next) {
		next = TAILQ_NEXT(r, next);
		if (r->asking && r->connect_due_ns <= now)
			no_connection(r);
	}
}

void request_connecting(struct request *r)
{
	struct plugin *p = r->plugin;

	cancel_timer(p, &r->connect);
	r->connected = false;
	r->connect_due_ns = p->host->now_ns(p->self) + p->connect_ms * 1000000ull;
	if (p->host->timer(p->self, p->connect_ms, 0, on_connect_time, r, &r->connect))
		r->connect = NULL; /* the deadline ends it */
}

void request_connected(struct request *r)
{
	cancel_timer(r->plugin, &r->connect);
	r->connected = true;
	r->opened = false;
}

static bool set_deadline(struct plugin *p, struct request *r)
{
	uint64_t gone = (p->host->now_ns(p->self) - r->begun_ns) / 1000000;

	if (r->deadline_ms == 0 || r->deadline_ms > p->deadline_ms)
		r->deadline_ms = p->deadline_ms;
	return p->host->timer(p->self, gone < r->deadline_ms ? r->deadline_ms - (uint32_t)gone : 0, 0,
	           on_deadline, r, &r->deadline) == CY_OK;
}

static void take_in(struct plugin *p, struct request *r)
{
	char name[HOST_MAX];
	const char *why;
	struct host *h;

	if (!transfer_host(r->url, name, &why)) {
		request_fail(r, CY_FETCH_FAILED, "%s", why);
		return;
	}
	h = host_get(p, name);
	if (h && h->waiting >= p->host_queue) {
		request_fail(r, CY_FETCH_BUSY,
		    "%s: as many requests wait for it as plugins.curl.host_queue allows", name);
		return;
	}
	r->host = h;
	if (!h || !set_deadline(p, r)) {
		r->deadline = NULL;
		request_fail(r, CY_FETCH_FAILED, "out of memory");
		return;
	}
	r->state = REQUEST_WAITING;
	host_queue_push(p, h, r);
}

void dispatch(struct plugin *p)
{
	struct request *r;

	while (p->running < p->transfers && (r = host_next(p))) {
		pthread_mutex_lock(&p->lock);
		p->waiting--;
		pthread_mutex_unlock(&p->lock);
		r->state = REQUEST_RUNNING;
		TAILQ_INSERT_TAIL(&p->active, r, next);
		p->running++;
		request_connecting(r);
		if (!transfer_start(r))
			request_fail(r, CY_FETCH_FAILED, "%s: libcurl cannot begin", r->host->name);
	}
	hosts_publish(p);
}

static struct request *next_begun(struct plugin *p)
{
	struct request *r;

	pthread_mutex_lock(&p->lock);
	r = TAILQ_FIRST(&p->begun);
	if (r)
		TAILQ_REMOVE(&p->begun, r, next);
	pthread_mutex_unlock(&p->lock);
	return r;
}

static struct request *next_cancelled(struct plugin *p)
{
	struct request *r;

	pthread_mutex_lock(&p->lock);
	r = TAILQ_FIRST(&p->cancels);
	if (r) {
		TAILQ_REMOVE(&p->cancels, r, cancels);
		r->in_cancels = false;
		p->c.cancelled++;
		if (r->state == REQUEST_NEW)
			TAILQ_REMOVE(&p->begun, r, next);
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

void requests_run(struct plugin *p)
{
	struct request *r;

	while ((r = next_begun(p)))
		take_in(p, r);
	while ((r = next_cancelled(p))) {
		stop(r, HOST_UNKNOWN);
		forget(r);
	}
	dispatch(p);
}

void requests_fini(struct plugin *p)
{
	struct request *r;

	for (size_t i = 0; i < BUCKETS; i++)
		while ((r = p->buckets[i])) {
			stop(r, HOST_UNKNOWN);
			forget(r);
		}
}
