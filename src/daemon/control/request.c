/* SPDX-License-Identifier: Apache-2.0 */
/* A request and its answers. Control thread. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/private.h"

struct request *request_ref(struct request *r)
{
	r->refs++;
	return r;
}

void request_unref(struct request *r)
{
	if (!r || --r->refs)
		return;
	if (r->state && r->state_free)
		r->state_free(r->state);
	json_decref(r->args);
	free(r->id);
	free(r);
}

/* The client forgets it; an operation elsewhere may go on. */
void request_detach(struct request *r)
{
	struct client *cl = r->client;

	if (!cl)
		return;
	list_del(&r->node);
	cl->n_requests--;
	if (r->tick)
		r->control->n_ticking--;
	r->tick = NULL;
	r->resume = NULL;
	r->client = NULL;
	client_set_events(cl);
	request_unref(r);
}

void request_begin(const struct request *r, struct jw *w, const char *event)
{
	jw_obj(w, NULL);
	jw_raw(w, "id", r->id);
	jw_str(w, "event", event);
}

void request_line_end(struct jw *w)
{
	jw_obj_end(w);
	jw_end_line(w);
}

void request_item(const struct request *r, struct jw *w, const char *list)
{
	request_begin(r, w, "item");
	jw_str(w, "list", list);
	jw_obj(w, "data");
}

void request_item_end(struct jw *w)
{
	jw_obj_end(w);
	request_line_end(w);
}

void request_send(struct request *r, struct jw *w)
{
	if (r->client && w->failed)
		client_drop_unread(r->client, "no memory for its answer");
	else if (r->client)
		client_put(r->client, w->p, w->n);
	jw_fini(w);
}

void request_progress(struct request *r, const char *text)
{
	struct jw w = {0};

	request_begin(r, &w, "progress");
	jw_str(&w, "text", text);
	request_line_end(&w);
	request_send(r, &w);
}

void request_done(struct request *r)
{
	struct jw w = {0};

	request_begin(r, &w, "done");
	jw_bool(&w, "ok", true);
	request_line_end(&w);
	request_send(r, &w);
	request_detach(r);
}

void request_fail(struct request *r, const char *code, const char *fmt, ...)
{
	struct jw w = {0};
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	request_begin(r, &w, "done");
	jw_bool(&w, "ok", false);
	jw_obj(&w, "error");
	jw_str(&w, "code", code);
	jw_str(&w, "text", text);
	jw_obj_end(&w);
	request_line_end(&w);
	request_send(r, &w);
	request_detach(r);
}

const char *request_code(enum cy_err e)
{
	switch (e) {
	case CY_E_NOTFOUND:
		return "not-found";
	case CY_E_EXISTS:
		return "exists";
	case CY_E_BUSY:
		return "busy";
	case CY_E_DENIED:
		return "denied";
	case CY_E_LIMIT:
	case CY_E_NOMEM:
		return "limit";
	case CY_E_TIMEOUT:
		return "timeout";
	case CY_E_UNSUPPORTED:
		return "unsupported";
	case CY_E_INVAL:
	case CY_E_PARSE:
	case CY_E_SHORT:
		return "invalid";
	default:
		return "failed";
	}
}

const char *request_arg(const struct request *r, const char *key)
{
	return json_string_value(json_object_get(r->args, key));
}

bool request_flag(const struct request *r, const char *key)
{
	return json_is_true(json_object_get(r->args, key));
}

int64_t request_int(const struct request *r, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(r->args, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

void request_want_ticks(struct request *r, void (*fn)(struct request *r))
{
	if (!r->tick && fn)
		r->control->n_ticking++;
	r->tick = fn;
}

void request_no_ticks(struct request *r)
{
	if (r->tick)
		r->control->n_ticking--;
	r->tick = NULL;
}

bool request_has_room(const struct request *r)
{
	return r->client && !r->client->closing && r->client->n_out - r->client->out_at < OUT_LOW;
}

void request_start(struct client *cl, json_t *args, char *id, const struct command *cmd)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		client_complain(cl, id, "limit", "out of memory");
		free(id);
		json_decref(args);
		return;
	}
	CTL_COUNT(cl->control, requests);
	r->refs = 1;
	r->control = cl->control;
	r->client = cl;
	r->id = id;
	r->args = args;
	list_push(&cl->requests, &r->node);
	cl->n_requests++;
	client_set_events(cl);
	request_ref(r); /* the command may finish it */
	cmd->run(r);
	request_unref(r);
}

/* --- an answer that is there as a whole -------------------------------------------------------------------------------- */

struct blob {
	struct jw w;
	size_t at;
};

static void blob_free(void *state)
{
	struct blob *b = state;

	jw_fini(&b->w);
	free(b);
}

static void blob_resume(struct request *r)
{
	struct blob *b = r->state;

	while (request_has_room(r) && b->at < b->w.n) {
		size_t n = b->w.n - b->at < OUT_LOW ? b->w.n - b->at : OUT_LOW;

		client_put(r->client, b->w.p + b->at, n);
		b->at += n;
	}
	if (b->at == b->w.n && r->client)
		request_done(r);
}

void request_send_all(struct request *r, struct jw *take)
{
	struct blob *b = calloc(1, sizeof(*b));

	if (!b || take->failed) {
		jw_fini(take);
		free(b);
		request_fail(r, "limit", "out of memory");
		return;
	}
	b->w = *take;
	*take = (struct jw){0};
	if (r->state && r->state_free)
		r->state_free(r->state);
	r->state = b;
	r->state_free = blob_free;
	r->resume = blob_resume;
	blob_resume(r);
}
