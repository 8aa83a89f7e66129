/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin that is what the text beside it says: cygnet-NAME.so reads cygnet-NAME.so.txt when it is opened, and tells what it did
 * in a file `did` in the same folder. One a line: `size N`, `abi MAJOR MINOR`, `name X`, `provides X`, `needs X`, `soft X`,
 * `init ERR`, `do WHAT`.
 */

#include <cygnet/plugin.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX 16

CYGNET_PLUGIN_EXPORT extern struct cy_plugin cygnet_plugin;

static char name[64], folder[256], todo[MAX][32], words[MAX][64];
static struct cy_feature features[MAX + 1];
static int init_result;
static size_t n_features, n_todo;

static const struct cy_host *host;
static void *self;
static struct cy_timer *timer;
static struct cy_watch *watch;
static int beats, fd = -1;

__attribute__((format(printf, 1, 2))) static void did(const char *fmt, ...)
{
	char path[300], line[512];
	va_list ap;
	int n, out;

	n = snprintf(line, sizeof(line), "%s ", name);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	snprintf(path, sizeof(path), "%s/did", folder);
	out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (out < 0 || write(out, line, (size_t)n) != n)
		abort();
	close(out);
}

static bool does(const char *what)
{
	for (size_t i = 0; i < n_todo; i++)
		if (strcmp(todo[i], what) == 0)
			return true;
	return false;
}

static void never(void *user)
{
	abort();
}

static void hang(const char *until)
{
	char path[300];

	did("hangs");
	snprintf(path, sizeof(path), "%s/%s", folder, until);
	while (access(path, F_OK) != 0)
		usleep(2000);
	/* late: what it asks for now must be refused, not crash */
	host->log(self, CY_LOG_ERROR, "I am back");
	host->timer(self, 1, 0, never, NULL, NULL);
	did("came back at %d", host->now_ns(self) == 0);
}

static void ended(void *user, int status, bool timed_out, struct cy_slice output)
{
	did("%s ended %d %d %.*s", (const char *)user, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	    timed_out, (int)output.n, (const char *)output.p);
}

static void run(const char *what, const char *script, uint32_t deadline)
{
	const char *argv[] = {"/bin/sh", "-c", script, NULL}, *envp[] = {"X=from plugin", NULL};
	const struct cy_proc_spec spec = {sizeof(spec), argv, envp, deadline, ended, (void *)what};
	enum cy_err e = host->spawn(self, &spec);

	if (e)
		did("spawn %d", e);
}

static void on_event(void *user, const struct cy_event *ev)
{
	did("event %u %s", ev->kind, ev->conn);
	if (does("block"))
		hang("release");
	if (does("spawn"))
		run("script", "printf '%s' \"$X\"; exit 3", 5000);
	if (does("slow-script"))
		run("slow", "sleep 0.3; printf late", 5000);
	if (does("hung-script"))
		run("hung", "sleep 60", 200);
}

static void on_timer(void *user)
{
	did("beat %d", ++beats);
	if (beats == 3)
		host->timer_cancel(self, timer);
}

static void on_once(void *user)
{
	did("once");
}

static void on_watch(void *user, uint32_t events)
{
	uint64_t v = 0;

	if (read(fd, &v, sizeof(v)) != sizeof(v))
		abort();
	did("readable %u %d", (unsigned)v, (events & EPOLLIN) != 0);
	if (v == 7)
		host->watch_cancel(self, watch);
}

static void on_line(void *plugin, const struct cy_log_line *l)
{
	if (strncmp(l->text, "mark ", 5) == 0)
		did("line %s %u %s", l->group, l->level, l->text);
}

static const struct cy_log_sink sink = {sizeof(sink), "chameleon", on_line, "own"};

static enum cy_err ops_load(void *plugin, void (*cb)(void *user, const struct cy_lease *l), void *user)
{
	return CY_OK;
}

static enum cy_err ops_save(void *plugin, const struct cy_lease *l, size_t n)
{
	return CY_OK;
}

static const struct cy_lease_store_ops leases = {sizeof(leases), "test-leases", ops_load, ops_save, ops_save};

static void tell_settings(void)
{
	did("settings %s %s %d %d %s", host->setting(self, "colour", "grey"),
	    host->setting(self, "shape", "round"), (int)host->setting_int(self, "legs", 4),
	    host->setting_bool(self, "tail", true), host->setting(self, "unset", "fallback"));
}

static enum cy_err init(const struct cy_host *h, void *s, void **out_plugin)
{
	enum cy_err e = CY_OK;

	host = h;
	self = s;
	did("init");
	if (does("listen"))
		e = host->subscribe(self, 1u << CY_EV_IKE_UP | 1u << CY_EV_IKE_DOWN, on_event, NULL);
	if (!e && does("timer"))
		e = host->timer(self, 1, 5, on_timer, NULL, &timer);
	if (!e && does("once"))
		e = host->timer(self, 1, 0, on_once, NULL, NULL);
	if (!e && does("watch")) {
		fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		e = host->watch(self, fd, EPOLLIN, on_watch, NULL, &watch);
	}
	if (!e && does("settings"))
		tell_settings();
	if (!e && does("leases"))
		e = host->provide(self, CY_KIND_LEASES, &leases, (void *)&leases);
	if (!e && does("short-ops")) {
		struct cy_lease_store_ops too_short = leases;
		too_short.size = 8;
		did("short %d", host->provide(self, CY_KIND_LEASES, &too_short, NULL));
	}
	if (!e && does("sink"))
		e = host->provide(self, CY_KIND_LOG_SINK, &sink, NULL);
	if (!e && does("slow-init"))
		usleep(50000);
	did("ready");
	*out_plugin = &cygnet_plugin;
	return e ? e : (enum cy_err)init_result;
}

static void fini(void *plugin)
{
	did("fini");
	if (does("hang-fini"))
		hang("release");
	if (fd >= 0)
		close(fd);
}

static void reload(void *plugin)
{
	did("reload");
	if (does("settings"))
		tell_settings();
}

static const struct cy_option options[] = {
    {"colour", "string", "green", NULL, NULL, "Its colour"},
    {"shape", "string", NULL, NULL, NULL, "Its shape"},
    {"legs", "int", "6", "0", "8", "How many"},
    {"tail", "bool", "no", NULL, NULL, "Whether"},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = name,
    .version = "1",
    .features = features,
    .init = init,
    .fini = fini,
    .reload = reload,
    .options = options,
};

static void feature(int rel, const char *what)
{
	if (n_features == MAX)
		abort();
	snprintf(words[n_features], sizeof(words[0]), "%s", what);
	features[n_features].rel = rel;
	features[n_features].what = words[n_features];
	n_features++;
}

static void take(const char *verb, const char *what)
{
	unsigned major, minor;

	if (strcmp(verb, "size") == 0)
		cygnet_plugin.size = (uint32_t)atoi(what);
	else if (strcmp(verb, "abi") == 0 && sscanf(what, "%u.%u", &major, &minor) == 2)
		cygnet_plugin.abi_major = (uint16_t)major, cygnet_plugin.abi_minor = (uint16_t)minor;
	else if (strcmp(verb, "name") == 0)
		snprintf(name, sizeof(name), "%s", what);
	else if (strcmp(verb, "provides") == 0)
		feature(CY_PROVIDES, what);
	else if (strcmp(verb, "needs") == 0)
		feature(CY_NEEDS, what);
	else if (strcmp(verb, "soft") == 0)
		feature(CY_SOFT_NEEDS, what);
	else if (strcmp(verb, "init") == 0)
		init_result = atoi(what);
	else if (strcmp(verb, "do") == 0 && n_todo < MAX)
		snprintf(todo[n_todo++], sizeof(todo[0]), "%s", what);
	else
		abort();
}

__attribute__((constructor)) static void become(void)
{
	char path[300], verb[16], what[64], *slash;
	Dl_info me;
	FILE *f;

	if (!dladdr(&cygnet_plugin, &me) || !me.dli_fname)
		abort();
	snprintf(path, sizeof(path), "%s.txt", me.dli_fname);
	snprintf(folder, sizeof(folder), "%s", me.dli_fname);
	slash = strrchr(folder, '/');
	*slash = '\0';
	/* /cygnet-NAME.so */
	snprintf(name, sizeof(name), "%.*s", (int)strlen(slash + 8) - 3, slash + 8);
	f = fopen(path, "r");
	while (f && fscanf(f, "%15s %63s", verb, what) == 2)
		take(verb, what);
	if (f)
		fclose(f);
}
