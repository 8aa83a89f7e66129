/* SPDX-License-Identifier: Apache-2.0 */

#include "test_web.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

#define CONNECTIONS 4096
#define REQUEST_MAX 8192

struct web {
	int listener, stop;
	uint16_t port;
	pthread_t accepter, serving[CONNECTIONS];
	unsigned n_serving; /* the accepter's, and web_stop()'s after it has ended */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned holding, most;
};

struct connection {
	struct web *web;
	int fd;
	char request[REQUEST_MAX + 1];
	size_t n;
	char *path, *body;
};

/* False: it is time to end, or the client went away. */
static bool wait_for(struct connection *c, short events, int ms)
{
	struct pollfd fds[2] = {{.fd = c->fd, .events = events}, {.fd = c->web->stop, .events = POLLIN}};
	int n = poll(fds, 2, ms);

	return n == 0 || (n > 0 && !fds[1].revents && (fds[0].revents & events));
}

static bool put(struct connection *c, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t sent;

		if (!wait_for(c, POLLOUT, 60000))
			return false;
		sent = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent <= 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

static bool say(struct connection *c, const char *text)
{
	return put(c, text, strlen(text));
}

static bool put_bytes(struct connection *c, size_t from, size_t n)
{
	uint8_t buf[4096];

	while (n) {
		size_t part = n < sizeof(buf) ? n : sizeof(buf);

		for (size_t i = 0; i < part; i++)
			buf[i] = web_byte(from + i);
		if (!put(c, buf, part))
			return false;
		from += part;
		n -= part;
	}
	return true;
}

static void hold(struct connection *c, bool drip)
{
	struct web *w = c->web;
	char byte;

	pthread_mutex_lock(&w->lock);
	if (++w->holding > w->most)
		w->most = w->holding;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (drip)
		(void)say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
	/* readable: the client has closed */
	for (;;) {
		struct pollfd fds[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = w->stop, .events = POLLIN}};

		if (poll(fds, 2, drip ? 50 : -1) != 0 && (fds[1].revents || recv(c->fd, &byte, 1, 0) <= 0))
			break;
		if (drip && !say(c, "x"))
			break;
	}
	pthread_mutex_lock(&w->lock);
	w->holding--;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void answer_chunked(struct connection *c, size_t n)
{
	char head[32];
	size_t at = 0;

	(void)say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	while (at < n) {
		size_t part = n - at < 1000 ? n - at : 1000;

		(void)snprintf(head, sizeof(head), "%zx\r\n", part);
		if (!say(c, head) || !put_bytes(c, at, part) || !say(c, "\r\n"))
			return;
		at += part;
	}
	(void)say(c, "0\r\n\r\n");
}

static void answer_text(struct connection *c, const char *status, const char *more, const char *text)
{
	char head[REQUEST_MAX + 256];

	(void)snprintf(
	    head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", status, more, strlen(text));
	(void)(say(c, head) && say(c, text));
}

static void redirect(struct connection *c, const char *to, const char *more)
{
	char headers[REQUEST_MAX + 64];

	(void)snprintf(headers, sizeof(headers), "Location: %s\r\n%s", to, more);
	answer_text(c, "302 Found", headers, "elsewhere");
}

/* The value of a header, or "". */
static void header(const struct connection *c, const char *name, char *out, size_t cap)
{
	const char *line = c->request;

	out[0] = '\0';
	while ((line = strstr(line, "\r\n")) && line < c->body) {
		line += 2;
		if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			(void)snprintf(out, cap, "%.*s", (int)strcspn(line + strlen(name) + 2, "\r"),
			    line + strlen(name) + 2);
	}
}

static void echo(struct connection *c)
{
	char type[256], text[REQUEST_MAX];

	header(c, "Content-Type", type, sizeof(type));
	(void)snprintf(text, sizeof(text), "%s|%s", type, c->body);
	answer_text(c, "200 OK", "", text);
}

static void answer(struct connection *c)
{
	const char *p = c->path;
	size_t n = strtoul(p + strcspn(p + 1, "/") + 1 + (strchr(p + 1, '/') != NULL), NULL, 10);
	char text[256];

	if (strncmp(p, "/ok/", 4) == 0) {
		(void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
		(void)(say(c, text) && put_bytes(c, 0, n));
	} else if (strncmp(p, "/chunked/", 9) == 0) {
		answer_chunked(c, n);
	} else if (strncmp(p, "/status/", 8) == 0) {
		(void)snprintf(text, sizeof(text), "%zu So", n);
		answer_text(c, text, "", n == 204 ? "" : "a text");
	} else if (strncmp(p, "/to/", 4) == 0) {
		redirect(c, p + 4, "");
	} else if (strcmp(p, "/loop") == 0) {
		redirect(c, "/loop", "");
	} else if (strcmp(p, "/echo") == 0) {
		echo(c);
	} else if (strcmp(p, "/cookie") == 0) {
		redirect(c, "/cookies", "Set-Cookie: a=b\r\n");
	} else if (strcmp(p, "/cookies") == 0) {
		header(c, "Cookie", text, sizeof(text));
		answer_text(c, "200 OK", "", text);
	} else if (strcmp(p, "/never") == 0 || strcmp(p, "/drip") == 0) {
		hold(c, p[1] == 'd');
	} else if (strcmp(p, "/short") == 0) {
		(void)say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.");
	} else if (strcmp(p, "/huge") == 0) {
		(void)(say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n") &&
		    put_bytes(c, 0, 100000));
	} else if (strncmp(p, "/endless", 8) == 0) {
		(void)say(c, p[8] ? "HTTP/1.1 404 No\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n");
		while (put_bytes(c, 0, 4096))
			;
	} else if (strcmp(p, "/headers") == 0) {
		(void)say(c, "HTTP/1.1 200 OK\r\n");
		while (say(c, "X-More: and more, and more, and more, and more, and more\r\n"))
			;
	}
}

static bool read_request(struct connection *c)
{
	char length[32];
	size_t want = 0;

	for (;;) {
		ssize_t n;

		c->request[c->n] = '\0';
		c->body = strstr(c->request, "\r\n\r\n");
		if (c->body) {
			c->body += 4;
			header(c, "Content-Length", length, sizeof(length));
			want = strtoul(length, NULL, 10);
			if (c->n >= (size_t)(c->body - c->request) + want)
				return true;
		}
		/* TLS, for example */
		if (c->n && (c->request[0] < 'A' || c->request[0] > 'Z'))
			return false;
		if (c->n == REQUEST_MAX || !wait_for(c, POLLIN, 60000))
			return false;
		n = recv(c->fd, c->request + c->n, REQUEST_MAX - c->n, MSG_DONTWAIT);
		if (n <= 0)
			return false;
		c->n += (size_t)n;
	}
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	char *end;

	if (read_request(c) && (c->path = strchr(c->request, ' '))) {
		c->path++;
		end = c->path + strcspn(c->path, " \r\n");
		/* as a proxy it is sent a whole URL */
		if (strncmp(c->path, "http://", 7) == 0)
			c->path += 7 + strcspn(c->path + 7, "/ ");
		c->path = strndup(c->path, (size_t)(end - c->path));
		if (c->path)
			answer(c);
		free(c->path);
	}
	(void)shutdown(c->fd, SHUT_RDWR);
	close(c->fd);
	free(c);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct web *w = arg;
	struct pollfd fds[2] = {{.fd = w->listener, .events = POLLIN}, {.fd = w->stop, .events = POLLIN}};

	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		struct connection *c = calloc(1, sizeof(*c));

		EXPECT(c != NULL && w->n_serving < CONNECTIONS);
		c->web = w;
		c->fd = accept(w->listener, NULL, NULL);
		if (c->fd < 0) {
			free(c);
			continue;
		}
		EXPECT(pthread_create(&w->serving[w->n_serving++], NULL, serve, c) == 0);
	}
	return NULL;
}

struct web *web_start(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	struct web *w = calloc(1, sizeof(*w));

	EXPECT(w != NULL);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	w->stop = eventfd(0, EFD_CLOEXEC);
	w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	EXPECT(bind(w->listener, (struct sockaddr *)&a, sizeof(a)) == 0);
	EXPECT(getsockname(w->listener, (struct sockaddr *)&a, &len) == 0);
	EXPECT(listen(w->listener, 512) == 0);
	w->port = ntohs(a.sin_port);
	EXPECT(pthread_create(&w->accepter, NULL, accept_all, w) == 0);
	return w;
}

void web_stop(struct web *w)
{
	EXPECT(write(w->stop, &(uint64_t){1}, 8) == 8);
	EXPECT(pthread_join(w->accepter, NULL) == 0);
	for (unsigned i = 0; i < w->n_serving; i++)
		EXPECT(pthread_join(w->serving[i], NULL) == 0);
	close(w->listener);
	close(w->stop);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

uint16_t web_port(const struct web *w)
{
	return w->port;
}

bool web_wait_holding(struct web *w, unsigned n)
{
	struct timespec until;
	int e = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	pthread_mutex_lock(&w->lock);
	while (w->holding != n && e == 0)
		e = pthread_cond_timedwait(&w->changed, &w->lock, &until);
	pthread_mutex_unlock(&w->lock);
	return e == 0;
}

unsigned web_most_holding(struct web *w)
{
	unsigned most;

	pthread_mutex_lock(&w->lock);
	most = w->most;
	pthread_mutex_unlock(&w->lock);
	return most;
}
