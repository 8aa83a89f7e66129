/* SPDX-License-Identifier: Apache-2.0 */
/* XAUTH against PAM: what the daemon calls, on any thread, is put down and done on the plugin's own. */

#include "config.h"
#include "pam.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define OWN_HELPER PKGLIBEXECDIR "/xauth-pam-helper"

/* --- calls of the daemon --------------------------------------------------------------------------------------------- */

static void command_free(struct command *c)
{
	if (c->job)
		job_discard(c->job);
	if (c->secret)
		explicit_bzero(c->secret, c->n_secret);
	free(c->secret);
	free(c);
}

static void put_command(struct plugin *p, struct command *c)
{
	uint64_t one = 1;

	pthread_mutex_lock(&p->lock);
	*p->commands_tail = c;
	p->commands_tail = &c->next;
	pthread_mutex_unlock(&p->lock);
	if (write(p->wake, &one, sizeof(one)) < 0)
		return; /* full: it is being woken */
}

static uint8_t *copy_secret(struct cy_slice s)
{
	uint8_t *p = malloc(s.n ? s.n : 1);

	if (p && s.n)
		memcpy(p, s.p, s.n);
	return p;
}

static struct command *command_new(int what, uint64_t id)
{
	struct command *c = calloc(1, sizeof(*c));

	if (c) {
		c->what = what;
		c->id = id;
	}
	return c;
}

static bool fill_job(struct job *j, const struct cy_xauth_login *l)
{
	char rhost[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(l->remote.family, l->remote.ip, rhost, sizeof(rhost));
	j->id = l->id;
	j->user = strdup(l->user);
	j->rhost = strdup(rhost);
	j->conn = strdup(l->conn);
	j->remote_id = strdup(l->remote_id);
	j->secret = copy_secret(l->password);
	j->n_secret = j->secret ? l->password.n : 0;
	return j->user && j->rhost && j->conn && j->remote_id && j->secret;
}

static void refuse(const struct cy_xauth_login *l, const char *why)
{
	const struct cy_xauth_answer a = {.size = sizeof(a),
	    .result = CY_XAUTH_ERROR,
	    .message = "",
	    .reason = why,
	    .pool = "",
	    .group = ""};

	l->answer(l->to, l->id, &a);
}

static void begin(void *plugin, const struct cy_xauth_login *l)
{
	struct plugin *p = plugin;
	struct command *c;
	bool full;

	pthread_mutex_lock(&p->lock);
	p->answer = l->answer;
	p->answer_to = l->to;
	p->c.logins++;
	full = p->waiting >= p->queue_max;
	if (full)
		p->c.overflows++;
	else if (++p->waiting > p->c.max_queued)
		p->c.max_queued = p->waiting;
	pthread_mutex_unlock(&p->lock);
	if (full) {
		refuse(l, "as many logins wait for PAM as plugins.xauth-pam.queue allows");
		return;
	}
	c = command_new(COMMAND_BEGIN, l->id);
	if (c)
		c->job = calloc(1, sizeof(*c->job));
	if (c && c->job && fill_job(c->job, l)) {
		put_command(p, c);
		return;
	}
	if (c)
		command_free(c);
	pthread_mutex_lock(&p->lock);
	p->waiting--;
	pthread_mutex_unlock(&p->lock);
	refuse(l, "out of memory");
}

static void reply(void *plugin, uint64_t id, struct cy_slice answer)
{
	struct plugin *p = plugin;
	struct command *c = command_new(COMMAND_REPLY, id);

	/* without memory the daemon's deadline answers */
	if (!c)
		return;
	c->secret = copy_secret(answer);
	c->n_secret = c->secret ? answer.n : 0;
	put_command(p, c);
}

static void end(void *plugin, uint64_t id)
{
	struct plugin *p = plugin;
	struct command *c = command_new(COMMAND_END, id);

	if (c)
		put_command(p, c);
	else
		p->host->log(p->self, CY_LOG_ERROR, "out of memory: a session stays open");
}

static int status(void *plugin, char *out, size_t cap)
{
	struct plugin *p = plugin;
	struct counters c;
	uint32_t waiting;

	pthread_mutex_lock(&p->lock);
	c = p->c;
	waiting = p->waiting;
	pthread_mutex_unlock(&p->lock);
	return snprintf(out, cap,
	    "%u helpers (%u busy), %u logins wait (%u at most), %llu begun, %llu let in, %llu refused, %llu "
	    "failed, "
	    "%llu not taken, %u sessions, helpers killed %llu, died %llu",
	    p->n_helpers, c.busy, waiting, c.max_queued, (unsigned long long)c.logins,
	    (unsigned long long)c.let_in, (unsigned long long)c.refused, (unsigned long long)c.failed,
	    (unsigned long long)c.overflows, c.sessions, (unsigned long long)c.killed,
	    (unsigned long long)c.died);
}

static const struct cy_xauth_ops ops = {
    .size = sizeof(ops),
    .name = "pam",
    .begin = begin,
    .reply = reply,
    .end = end,
    .status = status,
};

/* --- the plugin's thread --------------------------------------------------------------------------------------------- */

static void run_commands(struct plugin *p)
{
	struct command *c, *next;

	pthread_mutex_lock(&p->lock);
	c = p->commands;
	p->commands = NULL;
	p->commands_tail = &p->commands;
	pthread_mutex_unlock(&p->lock);
	for (; c; c = next) {
		next = c->next;
		job_command(p, c);
	}
	helpers_dispatch(p);
}

static void on_wake(void *user, uint32_t events)
{
	struct plugin *p = user;
	uint64_t n;

	(void)events;
	if (read(p->wake, &n, sizeof(n)) > 0)
		run_commands(p);
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

/* "30s", "500ms", "2m"; a plain number is seconds. The daemon has checked that it is one. */
static uint32_t time_ms(struct plugin *p, const char *key, const char *fallback, uint32_t min)
{
	const char *s = p->host->setting(p->self, key, fallback);
	char *unit;
	double v = strtod(s ? s : fallback, &unit);

	if (*unit != 'm' || unit[1] != 's')
		v *= *unit == 'm' ? 60000 : *unit == 'h' ? 3600000 : 1000;
	return v < min ? min : v > 600000 ? 600000 : (uint32_t)v;
}

static void copy(char *out, size_t cap, const char *s)
{
	snprintf(out, cap, "%s", s ? s : "");
}

/* The number of helpers is that of the start. */
static void read_settings(void *plugin)
{
	struct plugin *p = plugin;
	int64_t queue = p->host->setting_int(p->self, "queue", 2000);

	pthread_mutex_lock(&p->lock);
	p->queue_max = queue < 1 ? 1 : queue > 1000000 ? 1000000 : (uint32_t)queue;
	pthread_mutex_unlock(&p->lock);
	p->deadline_ms = time_ms(p, "deadline", "30s", 100);
	p->answer_ms = time_ms(p, "answer_timeout", "60s", 1000);
	p->sessions = p->host->setting_bool(p->self, "sessions", true);
	copy(p->service, sizeof(p->service), p->host->setting(p->self, "service", "cygnet"));
	copy(p->confdir, sizeof(p->confdir), p->host->setting(p->self, "confdir", ""));
	copy(p->program, sizeof(p->program), p->host->setting(p->self, "helper", OWN_HELPER));
}

static void fini(void *plugin)
{
	struct plugin *p = plugin;

	p->stopping = true;
	run_commands(p);
	if (p->wake_watch)
		p->host->watch_cancel(p->self, p->wake_watch);
	helpers_stop(p);
	jobs_fini(p);
	close(p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct plugin *p = calloc(1, sizeof(*p));
	int64_t n = host->setting_int(self, "helpers", 8);
	enum cy_err e;

	if (!p)
		return CY_E_NOMEM;
	p->host = host;
	p->self = self;
	p->commands_tail = &p->commands;
	pthread_mutex_init(&p->lock, NULL);
	jobs_init(p);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake < 0) {
		pthread_mutex_destroy(&p->lock);
		free(p);
		return CY_E_IO;
	}
	read_settings(p);
	e = host->watch(self, p->wake, EPOLLIN, on_wake, p, &p->wake_watch);
	if (!e)
		e = helpers_start(p, n < 1 ? 1 : n > HELPERS_MAX ? HELPERS_MAX : (uint32_t)n);
	if (!e)
		e = host->provide(self, CY_KIND_XAUTH, &ops, p);
	if (e && e != CY_E_EXISTS) {
		fini(p);
		return e;
	}
	*out_plugin = p;
	return CY_OK;
}

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "xauth-pam.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct cy_feature features[] = {
    {CY_PROVIDES, "xauth:pam"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "xauth-pam",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .reload = read_settings,
    .options = options,
};
