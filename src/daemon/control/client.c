/* SPDX-License-Identifier: Apache-2.0 */
/* One client: lines in, lines out, both bounded. Control thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config.h"
#include "daemon/control/private.h"

static uint64_t now_of(const struct client *cl)
{
	return env_now(cl->control->d->env);
}

/* --- output ------------------------------------------------------------------------------------------------------------ */

void client_set_events(struct client *cl)
{
	bool out = cl->n_out > cl->out_at;
	/* a client with many requests under way is not read until some are done */
	bool in = !cl->eof && cl->n_requests < REQUESTS_MAX;
	uint32_t events = (in ? EPOLLIN | EPOLLRDHUP : 0) | (out ? EPOLLOUT : 0);
	struct epoll_event ev = {.events = events, .data.ptr = cl};

	if (cl->eof && !cl->n_requests && !out)
		cl->closing = true;
	if (events != cl->events && epoll_ctl(cl->control->epoll, EPOLL_CTL_MOD, cl->fd, &ev) == 0)
		cl->events = events;
}

static void write_out(struct client *cl)
{
	while (cl->out_at < cl->n_out) {
		ssize_t n =
		    send(cl->fd, cl->out + cl->out_at, cl->n_out - cl->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				cl->closing = true;
			break;
		}
		cl->out_at += (size_t)n;
		cl->out_since_ns = now_of(cl);
	}
	if (cl->out_at == cl->n_out) {
		cl->out_at = cl->n_out = 0;
		if (cl->out_cap > OUT_LOW) {
			free(cl->out);
			cl->out = NULL;
			cl->out_cap = 0;
		}
	}
}

void client_drop_unread(struct client *cl, const char *why)
{
	if (cl->closing)
		return;
	CTL_COUNT(cl->control, dropped_unread);
	LOGF(cl->control->d->log, LOG_DMN, CY_LOG_WARN, NULL, "a control client is disconnected: %s", why);
	cl->closing = true;
}

void client_put(struct client *cl, const char *p, size_t n)
{
	size_t waiting = cl->n_out - cl->out_at;

	if (cl->closing || !n)
		return;
	if (waiting + n > cl->control->cfg.out_max) {
		client_drop_unread(cl, "it does not read what it asked for");
		return;
	}
	if (cl->n_out + n > cl->out_cap) {
		size_t cap = waiting + n < 4096 ? 4096 : (waiting + n) * 2;
		char *out = malloc(cap);

		if (!out) {
			client_drop_unread(cl, "no memory for its answer");
			return;
		}
		memcpy(out, cl->out ? cl->out + cl->out_at : "", waiting);
		free(cl->out);
		cl->out = out;
		cl->out_cap = cap;
		cl->out_at = 0;
		cl->n_out = waiting;
	}
	if (!waiting)
		cl->out_since_ns = now_of(cl);
	memcpy(cl->out + cl->n_out, p, n);
	cl->n_out += n;
	write_out(cl);
	client_set_events(cl);
}

/* --- input -------------------------------------------------------------------------------------------------------------- */

/* An answer to a line that is no request: it has no id. */
void client_complain(struct client *cl, const char *id, const char *code, const char *text)
{
	struct jw w = {0};

	CTL_COUNT(cl->control, bad_requests);
	jw_obj(&w, NULL);
	jw_raw(&w, "id", id);
	jw_str(&w, "event", "done");
	jw_bool(&w, "ok", false);
	jw_obj(&w, "error");
	jw_str(&w, "code", code);
	jw_str(&w, "text", text);
	jw_obj_end(&w);
	request_line_end(&w);
	if (!w.failed)
		client_put(cl, w.p, w.n);
	jw_fini(&w);
}

static void client_line(struct client *cl, const char *line, size_t n)
{
	json_error_t error;
	json_t *args = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
	const json_t *id = json_object_get(args, "id");
	const char *name = json_string_value(json_object_get(args, "cmd"));
	const struct command *cmd = name ? command_find(name) : NULL;
	char *id_text = NULL, text[256];

	if (!args) {
		snprintf(text, sizeof(text), "not JSON: %s (column %d)", error.text, error.column);
		client_complain(cl, "null", "bad-request", text);
		return;
	}
	if (json_is_integer(id) || json_is_string(id))
		id_text = json_dumps(id, JSON_ENCODE_ANY);
	if (!json_is_object(args) || !id_text || !name) {
		client_complain(cl, id_text ? id_text : "null", "bad-request",
		    "a request is an object with \"id\" (a number or text) and \"cmd\" (text)");
	} else if (!cmd) {
		const char *near = command_nearest(name);

		snprintf(text, sizeof(text), "unknown command%s%s", near ? ": did you mean " : "",
		    near ? near : "");
		client_complain(cl, id_text, "unknown-command", text);
	} else {
		request_start(cl, args, id_text, cmd);
		return;
	}
	free(id_text);
	json_decref(args);
}

/* Lines that are complete; what is left of the buffer is the beginning of the next. */
static void run_lines(struct client *cl)
{
	size_t at = 0;

	while (at < cl->n_in && !cl->closing && cl->n_requests < REQUESTS_MAX) {
		char *nl = memchr(cl->in + at, '\n', cl->n_in - at);
		size_t n = nl ? (size_t)(nl - (cl->in + at)) : 0;

		if (!nl)
			break;
		if (cl->skip_line)
			cl->skip_line = false;
		else if (n)
			client_line(cl, cl->in + at, n);
		at += n + 1;
	}
	memmove(cl->in, cl->in + at, cl->n_in - at);
	cl->n_in -= at;
	if (cl->n_in == LINE_MAX_BYTES && !memchr(cl->in, '\n', cl->n_in)) {
		if (!cl->skip_line) {
			CTL_COUNT(cl->control, dropped_line);
			client_complain(cl, "null", "bad-request", "the line is longer than 65536 bytes");
		}
		cl->skip_line = true;
		cl->n_in = 0;
	}
}

static void read_in(struct client *cl)
{
	ssize_t n;

	if (cl->n_in == LINE_MAX_BYTES)
		return; /* complete lines wait for requests to end */
	n = recv(cl->fd, cl->in + cl->n_in, LINE_MAX_BYTES - cl->n_in, MSG_DONTWAIT);
	if (n > 0) {
		cl->n_in += (size_t)n;
		run_lines(cl);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		/* a client that only shut down its sending side still reads its answers */
		if (n == 0)
			cl->eof = true;
		else
			cl->closing = true;
	}
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static void hello(struct client *cl)
{
	struct jw w = {0};

	jw_obj(&w, NULL);
	jw_str(&w, "event", "hello");
	jw_u64(&w, "protocol", CONTROL_PROTOCOL);
	jw_str(&w, "version", PACKAGE_VERSION);
	jw_u64(&w, "pid", (uint64_t)getpid());
	jw_obj_end(&w);
	jw_end_line(&w);
	if (!w.failed)
		client_put(cl, w.p, w.n);
	jw_fini(&w);
}

struct client *client_new(struct control *c, int fd)
{
	struct client *cl = calloc(1, sizeof(*cl));
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = cl};

	if (!cl)
		return NULL;
	cl->in = malloc(LINE_MAX_BYTES + 1);
	if (!cl->in || epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(cl->in);
		free(cl);
		return NULL;
	}
	cl->control = c;
	cl->fd = fd;
	cl->events = ev.events;
	list_init(&cl->requests);
	list_push(&c->clients, &cl->node);
	__atomic_fetch_add(&c->n_clients, 1, __ATOMIC_RELAXED);
	hello(cl);
	return cl;
}

/* One line on a fresh socket, whose buffer is empty; then it is closed. */
void client_refuse(struct control *c, int fd, const char *code, const char *text)
{
	struct jw w = {0};

	(void)c;
	jw_obj(&w, NULL);
	jw_str(&w, "event", "refused");
	jw_obj(&w, "error");
	jw_str(&w, "code", code);
	jw_str(&w, "text", text);
	jw_obj_end(&w);
	request_line_end(&w);
	if (!w.failed)
		(void)!send(fd, w.p, w.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	jw_fini(&w);
	close(fd);
}

void client_free(struct client *cl)
{
	struct list *n;

	while ((n = list_first(&cl->requests)))
		request_detach(list_entry(n, struct request, node));
	list_del(&cl->node);
	__atomic_fetch_sub(&cl->control->n_clients, 1, __ATOMIC_RELAXED);
	CTL_COUNT(cl->control, closed);
	/* closing it is not enough while a child process, between fork() and exec(), has it as well: events would come for who is gone */
	(void)epoll_ctl(cl->control->epoll, EPOLL_CTL_DEL, cl->fd, NULL);
	close(cl->fd);
	free(cl->in);
	free(cl->out);
	free(cl);
}

void client_resume(struct client *cl)
{
	struct list *n, *tmp;

	list_foreach_safe (n, tmp, &cl->requests) {
		struct request *r = list_entry(n, struct request, node);

		if (cl->closing || cl->n_out - cl->out_at >= OUT_LOW)
			return;
		if (r->resume) {
			request_ref(r);
			r->resume(r);
			request_unref(r);
		}
	}
}

void client_event(struct client *cl, uint32_t events)
{
	if (cl->closing)
		return;
	if (events & EPOLLOUT)
		write_out(cl);
	if (events & (EPOLLHUP | EPOLLERR))
		cl->closing = true;
	if (!cl->closing && !cl->eof && events & (EPOLLIN | EPOLLRDHUP))
		read_in(cl);
	if (!cl->closing && (events & EPOLLOUT))
		client_resume(cl);
	if (!cl->closing) {
		run_lines(cl); /* what waited until requests were done */
		client_set_events(cl);
	}
}

void client_tick(struct client *cl, uint64_t now)
{
	struct list *n, *tmp;

	if (cl->closing)
		return;
	if (cl->n_out > cl->out_at && now - cl->out_since_ns > cl->control->cfg.stall_ns) {
		client_drop_unread(cl, "it has not read for too long");
		return;
	}
	list_foreach_safe (n, tmp, &cl->requests) {
		struct request *r = list_entry(n, struct request, node);

		if (r->tick) {
			request_ref(r);
			r->tick(r);
			request_unref(r);
		}
	}
}
