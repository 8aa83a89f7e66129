/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells systemd how the daemon is: ready only when it really is, busy reloading, stopping, how many SAs there are, and alive as
 * long as its workers make progress. Everything here runs on the plugin's thread, the journal on one of the log's.
 */

#include "config.h"
#include "journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define STATUS_MS 1000 /* between two STATUS= while SAs come and go */

struct plugin {
	const struct cy_host *host;
	void *self;
	uint32_t stuck_ms;
	bool ready, starving, status_due;
	uint64_t reloads, reloaded; /* begun, finished */
	uint64_t ike_up, child_up;
};

static void send_status(struct plugin *p)
{
	if (p->ready)
		sd_notifyf(0, "STATUS=%" PRIu64 " IKE_SAs, %" PRIu64 " CHILD_SAs", p->ike_up, p->child_up);
}

static void status_timer(void *user)
{
	struct plugin *p = user;

	p->status_due = false;
	send_status(p);
}

static void changed(struct plugin *p)
{
	if (!p->status_due && p->host->timer(p->self, STATUS_MS, 0, status_timer, p, NULL) == CY_OK)
		p->status_due = true;
}

static void on_event(void *user, const struct cy_event *ev)
{
	struct plugin *p = user;

	switch (ev->kind) {
	case CY_EV_READY:
		p->ready = true;
		sd_notify(0, "READY=1");
		send_status(p);
		break;
	case CY_EV_RELOADED:
		p->reloaded++;
		sd_notify(0, "READY=1");
		send_status(p);
		break;
	case CY_EV_STOPPING:
		p->ready = false;
		sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
		break;
	case CY_EV_IKE_UP:
		p->ike_up++;
		changed(p);
		break;
	case CY_EV_IKE_DOWN:
		/* the first ones may have come up before we listened */
		p->ike_up -= p->ike_up > 0;
		changed(p);
		break;
	case CY_EV_CHILD_UP:
		p->child_up++;
		changed(p);
		break;
	case CY_EV_CHILD_DOWN:
		p->child_up -= p->child_up > 0;
		changed(p);
		break;
	}
}

static void reload(void *plugin)
{
	struct plugin *p = plugin;

	/* its end may have been told before its beginning: they come by different ways */
	if (++p->reloads <= p->reloaded || !p->ready)
		return;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading the configuration",
	    p->host->now_ns(p->self) / 1000);
}

/* The watchdog ends a daemon in which a worker hangs: this thread alone being alive says nothing. */
static void feed(void *user)
{
	struct plugin *p = user;
	uint32_t ms = p->host->slowest_worker_ms(p->self);

	if (ms < p->stuck_ms) {
		if (p->starving)
			p->host->log(p->self, CY_LOG_NOTICE, "all workers make progress again");
		p->starving = false;
		sd_notify(0, "WATCHDOG=1");
		return;
	}
	if (!p->starving)
		p->host->log(p->self, CY_LOG_ERROR,
		    "a worker has been inside one step for %u ms: the watchdog is not fed", ms);
	p->starving = true;
}

static enum cy_err start_watchdog(struct plugin *p)
{
	uint64_t usec = 0, ms;
	int64_t stuck = p->host->setting_int(p->self, "stuck", 0);

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return CY_OK;
	ms = usec / 1000;
	if (ms > UINT32_MAX)
		ms = UINT32_MAX;
	p->stuck_ms = stuck > 0 ? (uint32_t)stuck : (uint32_t)(ms / 2);
	if (p->stuck_ms == 0)
		p->stuck_ms = 1;
	/* a third, so that one late beat is not the end */
	return p->host->timer(p->self, 0, ms >= 3 ? (uint32_t)(ms / 3) : 1, feed, p, NULL);
}

static const struct cy_log_sink sink = {
    .size = sizeof(sink),
    .name = "journal",
    .line = journal_line,
};

/* The same lines come to the journal by stderr, only without their fields. */
static const struct cy_log_sink sink_for_stderr = {
    .size = sizeof(sink_for_stderr),
    .name = "journal",
    .line = journal_line,
    .instead_of = "stderr",
};

/* The variable is inherited by all that a service starts, terminals too: only its own stderr makes it true (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	    st.st_dev == dev && st.st_ino == ino;
}

static bool wants_journal(struct plugin *p)
{
	const char *how = p->host->setting(p->self, "journal", "auto");

	if (strcmp(how, "auto") == 0)
		return stderr_is_journal();
	return strcmp(how, "yes") == 0;
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	const uint64_t mask = 1u << CY_EV_READY | 1u << CY_EV_STOPPING | 1u << CY_EV_RELOADED |
	    1u << CY_EV_IKE_UP | 1u << CY_EV_IKE_DOWN | 1u << CY_EV_CHILD_UP | 1u << CY_EV_CHILD_DOWN;
	struct plugin *p = calloc(1, sizeof(*p));
	enum cy_err e = CY_OK;

	if (!p)
		return CY_E_NOMEM;
	p->host = host;
	p->self = self;
	/* without systemd there is nobody to tell, and no thread */
	if (getenv("NOTIFY_SOCKET")) {
		e = host->subscribe(self, mask, on_event, p);
		if (!e)
			e = start_watchdog(p);
	}
	if (!e && wants_journal(p))
		e = host->provide(self, CY_KIND_LOG_SINK, stderr_is_journal() ? &sink_for_stderr : &sink, p);
	if (e) {
		free(p);
		return e;
	}
	*out_plugin = p;
	return CY_OK;
}

static void fini(void *plugin)
{
	free(plugin);
}

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "systemd.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct cy_feature features[] = {
    {CY_PROVIDES, "systemd"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "systemd",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .reload = reload,
    .options = options,
};
