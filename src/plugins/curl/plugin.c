/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches over HTTP with libcurl. What the daemon calls, on any thread, is put down and done on the plugin's own. */

#include "config.h"
#include "fetcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int status(void *plugin, char *out, size_t cap)
{
	struct plugin *p = plugin;
	struct counters c;

	pthread_mutex_lock(&p->lock);
	c = p->c;
	c.waiting = p->waiting;
	pthread_mutex_unlock(&p->lock);
	return snprintf(out, cap,
	    "%u transfers, %u requests wait, %llu done, %llu failed, %llu late, %llu not taken, %llu "
	    "cancelled, "
	    "%llu bytes, %u names still asked for, slowest host %s (%u ms)",
	    c.running, c.waiting, (unsigned long long)c.done, (unsigned long long)c.failed,
	    (unsigned long long)c.late, (unsigned long long)c.refused, (unsigned long long)c.cancelled,
	    (unsigned long long)c.bytes, c.parked, c.slowest[0] ? c.slowest : "none", c.slowest_ms);
}

static const char *const schemes[] = {"http", "https", NULL};

static const struct cy_fetch_ops ops = {
    .size = sizeof(ops),
    .name = "curl",
    .schemes = schemes,
    .begin = request_begin,
    .cancel = request_cancel,
    .status = status,
};

static void on_wake(void *user, uint32_t events)
{
	struct plugin *p = user;
	uint64_t n;

	if (read(p->wake, &n, sizeof(n)) > 0)
		requests_run(p);
}

/* --- life --- */

/* "30s", "500ms", "2m"; a plain number is seconds. The daemon has checked that it is one. */
static uint32_t time_ms(struct plugin *p, const char *key, const char *fallback)
{
	const char *s = p->host->setting(p->self, key, fallback);
	char *unit;
	double v = strtod(s ? s : fallback, &unit);

	if (*unit != 'm' || unit[1] != 's')
		v *= *unit == 'm' ? 60000 : *unit == 'h' ? 3600000 : 1000;
	return v < 100 ? 100 : v > 3600000 ? 3600000 : (uint32_t)v;
}

static uint32_t number(struct plugin *p, const char *key, uint32_t fallback, uint32_t min, uint32_t max)
{
	int64_t v = p->host->setting_int(p->self, key, fallback);

	return v < min ? min : v > max ? max : (uint32_t)v;
}

static void copy(struct plugin *p, const char *key, char *out, size_t cap)
{
	const char *s = p->host->setting(p->self, key, "");

	(void)snprintf(out, cap, "%s", s ? s : "");
}

static void read_settings(void *plugin)
{
	struct plugin *p = plugin;
	uint32_t queue = number(p, "queue", 1024, 1, 100000);

	pthread_mutex_lock(&p->lock);
	p->queue_max = queue;
	pthread_mutex_unlock(&p->lock);
	p->transfers = number(p, "transfers", 16, 1, 256);
	p->host_transfers = number(p, "host_transfers", 4, 1, 256);
	p->host_queue = number(p, "host_queue", 256, 1, 100000);
	p->redirects = (long)number(p, "redirects", 3, 0, 20);
	p->connect_ms = time_ms(p, "connect_timeout", "10s");
	p->deadline_ms = time_ms(p, "deadline", "60s");
	copy(p, "interface", p->interface, sizeof(p->interface));
	copy(p, "proxy", p->proxy, sizeof(p->proxy));
}

static void say_which(struct plugin *p)
{
	const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);

	p->host->log(p->self, CY_LOG_INFO, "using libcurl %s", v->version);
	if (!(v->features & CURL_VERSION_ASYNCHDNS) || v->version_num < 0x075700)
		p->host->log(p->self, CY_LOG_WARN,
		    "this libcurl waits for name servers: one that does not answer holds up all fetches");
}

static void fini(void *plugin)
{
	struct plugin *p = plugin;

	if (p->wake_watch)
		p->host->watch_cancel(p->self, p->wake_watch);
	requests_fini(p);
	transfers_fini(p);
	hosts_fini(p);
	if (p->wake >= 0)
		close(p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
	curl_global_cleanup();
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct plugin *p;
	enum cy_err e = CY_E_IO;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return CY_E_IO;
	p = calloc(1, sizeof(*p));
	if (!p) {
		curl_global_cleanup();
		return CY_E_NOMEM;
	}
	p->host = host;
	p->self = self;
	pthread_mutex_init(&p->lock, NULL);
	TAILQ_INIT(&p->begun);
	TAILQ_INIT(&p->cancels);
	TAILQ_INIT(&p->hosts);
	TAILQ_INIT(&p->turn);
	TAILQ_INIT(&p->idle);
	TAILQ_INIT(&p->active);
	TAILQ_INIT(&p->parked);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	read_settings(p);
	if (transfers_init(p) && p->wake >= 0)
		e = host->watch(self, p->wake, EPOLLIN, on_wake, p, &p->wake_watch);
	if (!e)
		e = host->provide(self, CY_KIND_FETCHER, &ops, p);
	if (e && e != CY_E_EXISTS) {
		fini(p);
		return e;
	}
	say_which(p);
	*out_plugin = p;
	return CY_OK;
}

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "curl.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct cy_feature features[] = {
    {CY_PROVIDES, "fetch:http"},
    {CY_PROVIDES, "fetch:https"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "curl",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .reload = read_settings,
    .options = options,
};
