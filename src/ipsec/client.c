/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with the daemon: one request, events until it is done. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipsec/ipsec.h"

#define PROTOCOL 1

struct conversation {
	FILE *f;
	char *line;
	size_t cap;
	int pid;
	bool quiet;
};

static int open_socket(const struct options *o, bool quiet)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(o->socket) >= sizeof(sun.sun_path)) {
		fprintf(stderr, "ipsec: %s: the name of a socket may have %zu characters\n", o->socket,
		    sizeof(sun.sun_path) - 1);
		return -STATUS_USAGE;
	}
	strcpy(sun.sun_path, o->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	if (!quiet && (errno == EACCES || errno == EPERM))
		fprintf(stderr, "ipsec: %s: %s\n", o->socket, strerror(errno));
	else if (!quiet)
		fprintf(stderr, "ipsec: no daemon answers at %s: %s\n", o->socket, strerror(errno));
	if (fd >= 0)
		close(fd);
	return errno == EACCES || errno == EPERM ? -STATUS_DENIED : -STATUS_NO_DAEMON;
}

/* The next line as JSON; NULL at the end. */
static json_t *next(struct conversation *cv)
{
	json_error_t error;
	ssize_t n = getline(&cv->line, &cv->cap, cv->f);

	return n > 0 ? json_loadb(cv->line, (size_t)n, 0, &error) : NULL;
}

static int status_of(const char *code)
{
	if (strcmp(code, "not-found") == 0)
		return STATUS_NOT_FOUND;
	if (strcmp(code, "denied") == 0)
		return STATUS_DENIED;
	if (strcmp(code, "timeout") == 0)
		return STATUS_TIMEOUT;
	if (strcmp(code, "bad-request") == 0 || strcmp(code, "unknown-command") == 0)
		return STATUS_USAGE;
	return STATUS_FAILED;
}

static int explain(const struct conversation *cv, const json_t *event)
{
	const json_t *error = json_object_get(event, "error");

	if (!cv->quiet)
		fprintf(stderr, "ipsec: %s\n", get_str(error, "text"));
	return status_of(get_str(error, "code"));
}

static int greet(const struct options *o, struct conversation *cv)
{
	int fd = open_socket(o, cv->quiet);
	json_t *hello;
	int rc = STATUS_OK;

	if (fd < 0)
		return -fd;
	signal(SIGPIPE, SIG_IGN);
	cv->f = fdopen(fd, "r");
	hello = cv->f ? next(cv) : NULL;
	if (!hello) {
		if (!cv->quiet)
			fprintf(stderr, "ipsec: the daemon closed the connection\n");
		rc = STATUS_NO_DAEMON;
	} else if (strcmp(get_str(hello, "event"), "refused") == 0) {
		rc = explain(cv, hello);
	} else if (get_int(hello, "protocol") != PROTOCOL) {
		fprintf(stderr, "ipsec: the daemon (version %s) speaks another protocol than this tool\n",
		    get_str(hello, "version"));
		rc = STATUS_FAILED;
	}
	cv->pid = (int)get_int(hello, "pid");
	json_decref(hello);
	return rc;
}

static bool dispatch(const struct call *c, const char *event, json_t *line)
{
	json_t *data = json_object_get(line, "data");

	if (strcmp(event, "data") == 0 && c->data)
		c->data(c->user, data);
	else if (strcmp(event, "item") == 0 && c->item)
		c->item(c->user, get_str(line, "list"), data);
	else if (strcmp(event, "progress") == 0 && c->progress)
		c->progress(c->user, get_str(line, "level"), get_str(line, "text"));
	return strcmp(event, "done") == 0;
}

static int converse(struct conversation *cv, const struct call *c)
{
	json_t *line;
	int rc;

	while ((line = next(cv))) {
		if (dispatch(c, get_str(line, "event"), line)) {
			rc = get_bool(line, "ok") ? STATUS_OK : explain(cv, line);
			json_decref(line);
			return rc;
		}
		json_decref(line);
	}
	if (!cv->quiet)
		fprintf(stderr, "ipsec: the daemon closed the connection before it had answered\n");
	return STATUS_NO_DAEMON;
}

int call_run(const struct options *o, struct call *c)
{
	struct conversation cv = {.quiet = c->quiet};
	json_t *request = c->args ? c->args : json_object();
	char *text;
	int rc = greet(o, &cv);

	if (rc == STATUS_OK) {
		json_object_set_new(request, "id", json_integer(1));
		json_object_set_new(request, "cmd", json_string(c->cmd));
		text = json_dumps(request, JSON_COMPACT);
		if (!text || dprintf(fileno(cv.f), "%s\n", text) < 0)
			rc = STATUS_NO_DAEMON;
		else
			rc = converse(&cv, c);
		free(text);
	}
	json_decref(request);
	if (cv.f)
		fclose(cv.f);
	free(cv.line);
	return rc;
}

int daemon_pid(const struct options *o)
{
	struct conversation cv = {.quiet = true};
	int rc = greet(o, &cv);

	if (cv.f)
		fclose(cv.f);
	free(cv.line);
	return rc == STATUS_OK ? cv.pid : 0;
}
