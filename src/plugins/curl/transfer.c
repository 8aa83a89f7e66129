/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, driven by the plugin's thread: it says which descriptors and which time it waits for, and is called when they are there.
 * What a server may cost is bounded here.
 */

#include "fetcher.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MAX_HEADER 65536 /* bytes of all headers of an answer, with those of redirects */
#define FIRST_BODY 4096

#define NO_TIMEOUT_MS 2000000000L

/* --- what libcurl calls while it transfers --- */

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
	struct request *r = user;
	size_t more = size * n;
	long status = 0;
	uint8_t *body;

	/* the text of an error is nothing to keep */
	if (curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200)
		return CURL_WRITEFUNC_ERROR;
	if (more > r->max_bytes - r->n_body) {
		r->too_big = true;
		return CURL_WRITEFUNC_ERROR;
	}
	if (more > r->body_cap - r->n_body) {
		size_t cap = r->body_cap ? r->body_cap : FIRST_BODY;

		while (cap - r->n_body < more)
			cap *= 2;
		cap = cap < r->max_bytes ? cap : r->max_bytes;
		body = realloc(r->body, cap);
		if (!body)
			return CURL_WRITEFUNC_ERROR;
		r->body = body;
		r->body_cap = cap;
	}
	memcpy(r->body + r->n_body, data, more);
	r->n_body += more;
	return more;
}

static size_t on_header(char *data, size_t size, size_t n, void *user)
{
	struct request *r = user;

	r->n_header += size * n;
	return r->n_header <= MAX_HEADER ? size * n : 0;
}

static int on_asking(void *resolver, void *reserved, void *user)
{
	struct request *r = user;

	/* once it has a socket, it is the address of plugins.curl.interface that libcurl reads so */
	if (r->opened)
		return 0;
	r->asking = true;
	request_connecting(r);
	return 0;
}

static int on_connected(void *user, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	request_connected(user);
	return CURL_PREREQFUNC_OK;
}

/* There is an address; for one that is parked this is the end. */
static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct request *r = user;

	r->asking = false;
	r->opened = true;
	if (r->state == REQUEST_PARKED)
		return CURL_SOCKET_BAD;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* --- one transfer --- */

static bool set_post(struct request *r)
{
	struct curl_slist *more;
	char header[256];

	/* no question whether we may go on (RFC 9110, 10.1.1): the servers meant here do not answer it */
	r->headers = curl_slist_append(NULL, "Expect:");
	if (!r->headers)
		return false;
	if (r->content_type) {
		(void)snprintf(header, sizeof(header), "Content-Type: %s", r->content_type);
		more = curl_slist_append(r->headers, header);
		if (!more)
			return false;
		r->headers = more;
	}
	return curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, r->post) == CURLE_OK &&
	    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->n_post) == CURLE_OK &&
	    curl_easy_setopt(r->easy, CURLOPT_POSTREDIR, (long)CURL_REDIR_POST_ALL) == CURLE_OK &&
	    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers) == CURLE_OK;
}

static bool set_proxy(const struct plugin *p, CURL *e)
{
	if (strcmp(p->proxy, "environment") == 0)
		return true;
	return curl_easy_setopt(e, CURLOPT_PROXY, p->proxy) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_NOPROXY, "") == CURLE_OK;
}

/* Without its prefix, libcurl would take the name of an interface that is gone for that of a host, and wait for name servers. */
static bool set_interface(const struct plugin *p, CURL *e)
{
	struct in6_addr ip;
	char from[sizeof(p->interface) + 8];
	bool is_ip =
	    inet_pton(AF_INET, p->interface, &ip) == 1 || inet_pton(AF_INET6, p->interface, &ip) == 1;

	if (!p->interface[0])
		return true;
	(void)snprintf(from, sizeof(from), "%s!%s", is_ip ? "host" : "if", p->interface);
	return curl_easy_setopt(e, CURLOPT_INTERFACE, from) == CURLE_OK;
}

/* URLs come out of certificates: they may lead to web servers, and to nothing on this machine. */
static bool set_where(const struct request *r, CURL *e)
{
	return curl_easy_setopt(e, CURLOPT_URL, r->url) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_MAXREDIRS, r->plugin->redirects) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK;
}

static bool set_how(struct request *r, CURL *e)
{
	return curl_easy_setopt(e, CURLOPT_PRIVATE, r) == CURLE_OK &&
	    /* for the plugin's end: it leaves behind what still asks */
	    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_USERAGENT, "cygnet") == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
	    /* ours comes before; but libcurl tries an address for half of this if there are others */
	    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)r->plugin->connect_ms * 3 / 2 + 2000) ==
	    CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE,
	        r->max_bytes < INT64_MAX ? (curl_off_t)r->max_bytes : (curl_off_t)INT64_MAX) == CURLE_OK;
}

static bool set_calls(struct request *r, CURL *e)
{
	return curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_WRITEDATA, r) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_HEADERDATA, r) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_RESOLVER_START_FUNCTION, on_asking) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_RESOLVER_START_DATA, r) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_PREREQDATA, r) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open) == CURLE_OK &&
	    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, r) == CURLE_OK;
}

bool transfer_start(struct request *r)
{
	struct plugin *p = r->plugin;
	CURL *e = curl_easy_init();

	r->started_ns = p->host->now_ns(p->self);
	r->easy = e;
	return e && set_where(r, e) && set_how(r, e) && set_calls(r, e) && set_proxy(p, e) &&
	    set_interface(p, e) && (!r->n_post || set_post(r)) &&
	    curl_multi_add_handle(p->multi, e) == CURLM_OK;
}

static void clean_up(struct request *r)
{
	if (r->easy) {
		(void)curl_multi_remove_handle(r->plugin->multi, r->easy);
		curl_easy_cleanup(r->easy);
	}
	curl_slist_free_all(r->headers);
	r->easy = NULL;
	r->headers = NULL;
}

bool transfer_end(struct request *r, enum host_word word)
{
	struct plugin *p = r->plugin;
	uint64_t took = (p->host->now_ns(p->self) - r->started_ns) / 1000000;

	p->running--;
	host_ended(p, r->host, took < UINT32_MAX ? (uint32_t)took : UINT32_MAX, word);
	pthread_mutex_lock(&p->lock);
	p->c.bytes += r->n_body;
	pthread_mutex_unlock(&p->lock);
	if (r->asking) {
		(void)curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS, NO_TIMEOUT_MS);
		host_parked(p, r->host);
		return true;
	}
	clean_up(r);
	return false;
}

bool transfer_host(const char *url, char out[HOST_MAX], const char **out_why)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL;
	bool ok = false;

	*out_why = "out of memory";
	if (u && curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		*out_why = "it is no URL";
	else if (u && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
		*out_why = "its URL is neither of http nor of https";
	else if (u && (curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK || strlen(host) >= HOST_MAX))
		*out_why = "its URL names no host";
	else if (host)
		ok = true;
	if (ok) {
		size_t i;

		for (i = 0; host[i]; i++)
			out[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] + 'a' - 'A' : host[i]);
		out[i] = '\0';
	}
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return ok;
}

/* --- what became of it --- */

static const char *text_of(const struct request *r, CURLcode code)
{
	return r->error[0] ? r->error : curl_easy_strerror(code);
}

static void fail_connect(struct request *r)
{
	long os = 0;

	(void)curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os);
	request_fail(r, CY_FETCH_FAILED, "%s: cannot connect: %s", r->host->name,
	    os ? strerror((int)os) : text_of(r, CURLE_COULDNT_CONNECT));
}

static void failed(struct request *r, CURLcode code)
{
	const char *host = r->host->name;

	switch (code) {
	case CURLE_COULDNT_CONNECT:
		fail_connect(r);
		break;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		request_fail(
		    r, CY_FETCH_FAILED, "%s: the connection ended before the answer was complete", host);
		break;
	case CURLE_TOO_MANY_REDIRECTS:
		request_fail(
		    r, CY_FETCH_FAILED, "%s: it redirects more than %ld times", host, r->plugin->redirects);
		break;
	case CURLE_UNSUPPORTED_PROTOCOL:
		request_fail(
		    r, CY_FETCH_FAILED, "%s: it redirects to something that is neither http nor https", host);
		break;
	case CURLE_INTERFACE_FAILED:
		request_fail(r, CY_FETCH_FAILED,
		    "%s: plugins.curl.interface is no interface or address of this machine", host);
		break;
	default:
		request_fail(r, CY_FETCH_FAILED, "%s: %s", host, text_of(r, code));
	}
}

static void done(struct request *r, CURLcode code)
{
	long status = 0;

	r->asking = false; /* whatever there was, its thread has ended */
	if (r->state == REQUEST_PARKED) {
		clean_up(r);
		request_unparked(r);
		return;
	}
	(void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (r->n_header > MAX_HEADER)
		request_fail(r, CY_FETCH_TOO_BIG, "%s: its headers are larger than %d bytes", r->host->name,
		    MAX_HEADER);
	else if (r->too_big || code == CURLE_FILESIZE_EXCEEDED)
		request_fail(r, CY_FETCH_TOO_BIG, "%s: the answer is larger than %llu bytes", r->host->name,
		    (unsigned long long)r->max_bytes);
	else if (status != 200 && (code == CURLE_OK || code == CURLE_WRITE_ERROR))
		request_fail(
		    r, CY_FETCH_FAILED, "%s: it answered with HTTP status %ld", r->host->name, status);
	else if (code == CURLE_WRITE_ERROR)
		request_fail(r, CY_FETCH_FAILED, "out of memory");
	else if (code != CURLE_OK)
		failed(r, code);
	else
		request_succeed(r);
}

static void run(struct plugin *p, curl_socket_t s, int events)
{
	struct request *r;
	const CURLMsg *m;
	CURLcode code;
	char *mine;
	int n;

	requests_expire(p);
	(void)curl_multi_socket_action(p->multi, s, events, &n);
	while ((m = curl_multi_info_read(p->multi, &n))) {
		if (m->msg != CURLMSG_DONE ||
		    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &mine) != CURLE_OK)
			continue;
		r = (struct request *)(void *)mine;
		code = m->data.result; /* which goes with the handle */
		done(r, code);
	}
	dispatch(p);
}

/* --- what libcurl waits for --- */

static void on_sock(void *user, uint32_t events)
{
	const struct sock *s = user;
	int bits = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0);

	/* after an error it looks for itself */
	run(s->plugin, s->fd, events & (EPOLLERR | EPOLLHUP) ? 0 : bits);
}

static void unwatch(struct sock *s)
{
	if (s->watch)
		s->plugin->host->watch_cancel(s->plugin->self, s->watch);
	s->watch = NULL;
}

static void sock_free(struct sock *s)
{
	unwatch(s);
	TAILQ_REMOVE(&s->plugin->socks, s, next);
	free(s);
}

static struct sock *sock_new(struct plugin *p, curl_socket_t fd)
{
	struct sock *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->plugin = p;
	s->fd = fd;
	TAILQ_INSERT_TAIL(&p->socks, s, next);
	(void)curl_multi_assign(p->multi, fd, s);
	return s;
}

/* What cannot be watched, its deadline ends: -1 would end all transfers. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *of_socket)
{
	struct plugin *p = user;
	struct sock *s = of_socket;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	if (what == CURL_POLL_REMOVE) {
		if (s)
			sock_free(s);
		(void)curl_multi_assign(p->multi, fd, NULL);
		return 0;
	}
	if (!s)
		s = sock_new(p, fd);
	if (!s)
		return 0;
	unwatch(s);
	if (events && p->host->watch(p->self, fd, events, on_sock, s, &s->watch)) {
		s->watch = NULL;
		p->host->log(p->self, CY_LOG_WARN, "a connection cannot be watched: it is given up later");
	}
	return 0;
}

static void on_time(void *user)
{
	struct plugin *p = user;

	p->host->timer_cancel(p->self, p->curl_timer);
	p->curl_timer = NULL;
	run(p, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long ms, void *user)
{
	struct plugin *p = user;

	if (p->curl_timer)
		p->host->timer_cancel(p->self, p->curl_timer);
	p->curl_timer = NULL;
	if (ms >= 0 && p->host->timer(p->self, (uint32_t)ms, 0, on_time, p, &p->curl_timer))
		p->curl_timer = NULL; /* deadlines are timers of their own */
	return 0;
}

/* --- life --- */

bool transfers_init(struct plugin *p)
{
	TAILQ_INIT(&p->socks);
	p->multi = curl_multi_init();
	return p->multi && curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
	    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p) == CURLM_OK &&
	    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
	    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p) == CURLM_OK;
}

void transfers_fini(struct plugin *p)
{
	struct request *r;
	struct sock *s;

	while ((r = TAILQ_FIRST(&p->parked))) {
		clean_up(r);
		request_unparked(r);
	}
	if (p->multi)
		(void)curl_multi_cleanup(p->multi);
	while ((s = TAILQ_FIRST(&p->socks)))
		sock_free(s);
	if (p->curl_timer)
		p->host->timer_cancel(p->self, p->curl_timer);
}
