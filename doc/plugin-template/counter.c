/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin to begin with: counts what happens to SAs and writes the counts to the log now and then.
 *
 * It includes only installed headers and is linked with nothing of cygnet: all it needs of the daemon comes through the table of
 * functions that init() is given.
 */

#include <cygnet/plugin.h>

#include <inttypes.h>
#include <stdlib.h>

struct counter {
	const struct cy_host *host; /* the daemon's functions ... */
	void *self;                 /* ... and what each of them wants first */
	struct cy_timer *timer;
	uint64_t ike_up, ike_down, ike_failed, child_up, child_down, bytes;
};

/* Events come one after the other on the plugin's own thread, and so does the timer: nothing here needs a lock. */
static void on_event(void *user, const struct cy_event *ev)
{
	struct counter *c = user;

	switch (ev->kind) {
	case CY_EV_IKE_UP:
		c->ike_up++;
		break;
	case CY_EV_IKE_DOWN:
		c->ike_down++;
		break;
	case CY_EV_IKE_FAILED:
		c->ike_failed++;
		c->host->log(c->self, CY_LOG_INFO, "%s did not come up: %s", ev->conn, ev->reason);
		break;
	case CY_EV_CHILD_UP:
		c->child_up++;
		break;
	case CY_EV_CHILD_DOWN:
		c->child_down++;
		c->bytes += ev->bytes_in + ev->bytes_out;
		break;
	}
}

static void tell(void *user)
{
	struct counter *c = user;

	c->host->log(c->self, CY_LOG_INFO,
	    "IKE_SAs: %" PRIu64 " up, %" PRIu64 " down, %" PRIu64 " failed; CHILD_SAs: %" PRIu64
	    " up, %" PRIu64 " down, %" PRIu64 " bytes",
	    c->ike_up, c->ike_down, c->ike_failed, c->child_up, c->child_down, c->bytes);
}

static enum cy_err set_timer(struct counter *c)
{
	int64_t s = c->host->setting_int(c->self, "interval", 60);
	struct cy_timer *timer;
	enum cy_err e;

	e = c->host->timer(c->self, (uint32_t)s * 1000, (uint32_t)s * 1000, tell, c, &timer);
	if (e != CY_OK)
		return e;
	c->host->timer_cancel(c->self, c->timer);
	c->timer = timer;
	return CY_OK;
}

/* The configuration was loaded again. */
static void reload(void *plugin)
{
	struct counter *c = plugin;

	if (set_timer(c) != CY_OK)
		c->host->log(c->self, CY_LOG_WARN, "the interval stays as it was");
}

/* On the daemon's main thread, before it is ready: do not wait for anything here. */
static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	const uint64_t mask = 1u << CY_EV_IKE_UP | 1u << CY_EV_IKE_DOWN | 1u << CY_EV_IKE_FAILED |
	    1u << CY_EV_CHILD_UP | 1u << CY_EV_CHILD_DOWN;
	struct counter *c = calloc(1, sizeof(*c));
	enum cy_err e;

	if (!c)
		return CY_E_NOMEM;
	c->host = host;
	c->self = self;
	e = host->subscribe(self, mask, on_event, c);
	if (e == CY_OK)
		e = set_timer(c);
	if (e != CY_OK) {
		free(c);
		return e;
	}
	*out_plugin = c;
	return CY_OK;
}

/* No callback comes any more: what was asked for is taken back already, what was allocated is to be freed. */
static void fini(void *plugin)
{
	struct counter *c = plugin;

	tell(c);
	free(c);
}

/* The options in the section `plugins { counter { ... } }` of cygnet.conf; wrong ones are reported by the daemon. */
#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "counter.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* What others may need of this plugin, and what it needs of others: decides in which order they start. */
static const struct cy_feature features[] = {
    {CY_PROVIDES, "counter"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "counter",
    .version = "1.0",
    .features = features,
    .init = init,
    .fini = fini,
    .reload = reload,
    .options = options,
};
