/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"
#include "updown.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define MAX_PAIRS   256 /* of traffic selectors in one CHILD_SA, each a run of the script */
#define RETRY_MS    200
#define OWN_SCRIPT  PKGLIBDIR "/_updown"
#define IPSEC_WORDS "ipsec _updown"

/* One run of a script. Runs of one lane (a connection's CHILD_SA through all its rekeyings) keep their order. */
struct run {
	struct run *next;
	struct plugin *plugin;
	char *conn, *command;
	const char *verb; /* within env */
	uint32_t reqid;
	struct env_list env;
	bool running;
};

/* An up that is not run: its down is not, either. */
struct refused {
	struct refused *next;
	uint32_t reqid;
	struct cy_ts local, remote;
	char conn[];
};

struct plugin {
	const struct cy_host *host;
	void *self;
	struct run *runs, **tail; /* in the order of the events */
	uint32_t n_runs, n_running;
	uint32_t parallel, queue_max, timeout_s;
	char firewall_script[256];
	bool retry_set;
	uint64_t n_lost;
	struct refused *refused; /* as many as there are tunnels at most */
};

static void start_runs(struct plugin *p);

static void free_run(struct run *r)
{
	env_fini(&r->env);
	free(r->conn);
	free(r->command);
	free(r);
}

/* --- results --- */

static void log_lines(struct plugin *p, const struct run *r, enum cy_level level, struct cy_slice output)
{
	const char *at = (const char *)output.p, *end = at + output.n;

	for (; output.n && at < end; at++) {
		const char *from = at;
		while (at < end && *at != '\n')
			at++;
		if (at > from)
			p->host->log(p->self, level, "%s %s: %.*s", r->conn, r->verb, (int)(at - from), from);
	}
}

static void log_result(
    struct plugin *p, const struct run *r, int status, bool timed_out, struct cy_slice output)
{
	bool ok = !timed_out && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	enum cy_level level = ok ? CY_LOG_DEBUG : CY_LOG_WARN;

	log_lines(p, r, ok ? CY_LOG_INFO : CY_LOG_WARN, output);
	if (timed_out)
		p->host->log(p->self, level, "%s %s: \"%s\" took longer than %u s and was ended", r->conn,
		    r->verb, r->command, p->timeout_s);
	else if (WIFSIGNALED(status))
		p->host->log(p->self, level, "%s %s: \"%s\" was killed by signal %d", r->conn, r->verb,
		    r->command, WTERMSIG(status));
	else
		p->host->log(p->self, level, "%s %s: \"%s\" ended with exit code %d", r->conn, r->verb,
		    r->command, WEXITSTATUS(status));
}

/* --- the queue --- */

static void unlink_run(struct plugin *p, struct run *r)
{
	struct run **at = &p->runs;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	if (p->tail == &r->next)
		p->tail = at;
	p->n_runs--;
}

static void run_done(void *user, int status, bool timed_out, struct cy_slice output)
{
	struct run *r = user;
	struct plugin *p = r->plugin;

	log_result(p, r, status, timed_out, output);
	unlink_run(p, r);
	p->n_running--;
	free_run(r);
	start_runs(p);
}

static void retry(void *user)
{
	struct plugin *p = user;

	p->retry_set = false;
	start_runs(p);
}

/* Is an earlier run of its lane still to end? */
static bool must_wait(const struct plugin *p, const struct run *r)
{
	for (const struct run *o = p->runs; o != r; o = o->next)
		if (o->reqid == r->reqid && strcmp(o->conn, r->conn) == 0)
			return true;
	return false;
}

static enum cy_err start_run(struct plugin *p, struct run *r)
{
	const char *argv[] = {"/bin/sh", "-c", r->command, NULL};
	const struct cy_proc_spec spec = {
	    .size = sizeof(spec),
	    .argv = argv,
	    .envp = (const char *const *)r->env.s,
	    .deadline_ms = p->timeout_s * 1000,
	    .done = run_done,
	    .user = r,
	};
	enum cy_err e = p->host->spawn(p->self, &spec);

	if (e == CY_OK) {
		r->running = true;
		p->n_running++;
	}
	return e;
}

static void start_runs(struct plugin *p)
{
	struct run *r, *next;

	for (r = p->runs; r && p->n_running < p->parallel; r = next) {
		enum cy_err e;
		next = r->next;
		if (r->running || must_wait(p, r))
			continue;
		e = start_run(p, r);
		if (e == CY_OK)
			continue;
		if (e == CY_E_LIMIT || e == CY_E_NOMEM) {
			/* the helper is busy with other plugins' processes */
			if (!p->retry_set && p->host->timer(p->self, RETRY_MS, 0, retry, p, NULL) == CY_OK)
				p->retry_set = true;
			if (p->retry_set || p->n_running)
				return;
			/* nothing would begin it later */
		}
		p->host->log(p->self, CY_LOG_ERROR, "%s %s: cannot run \"%s\"", r->conn, r->verb, r->command);
		unlink_run(p, r);
		free_run(r);
	}
}

static bool add_run(struct plugin *p, const struct cy_event *ev, const char *command,
    const struct cy_ts *local, const struct cy_ts *remote, const char *iface)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return false;
	r->plugin = p;
	r->reqid = ev->reqid;
	r->conn = strdup(ev->conn);
	r->command = strdup(command);
	updown_env(&r->env, ev, local, remote, iface);
	if (!r->conn || !r->command || r->env.bad) {
		free_run(r);
		return false;
	}
	r->verb = "";
	for (size_t i = 0; i < r->env.n; i++)
		if (strncmp(r->env.s[i], "PLUTO_VERB=", 11) == 0)
			r->verb = r->env.s[i] + 11;
	*p->tail = r;
	p->tail = &r->next;
	p->n_runs++;
	return true;
}

/* --- events --- */

/* What to run: files written for either daemon name the script that came with it, and here that is ours. */
static void command_of(struct plugin *p, const struct cy_event *ev, char *out, size_t cap)
{
	const char *words = ev->updown;
	size_t n = strlen(IPSEC_WORDS);

	if (!*words && ev->firewall)
		words = IPSEC_WORDS " iptables";
	if (strncmp(words, IPSEC_WORDS, n) == 0 && (words[n] == '\0' || words[n] == ' '))
		snprintf(out, cap, "%s%s", p->firewall_script, words + n);
	else
		snprintf(out, cap, "%s", words);
}

static bool same_ts(const struct cy_ts *a, const struct cy_ts *b)
{
	size_t n = a->family_ip6 ? 16 : 4;

	return a->family_ip6 == b->family_ip6 && a->proto == b->proto && a->port_lo == b->port_lo &&
	    a->port_hi == b->port_hi && memcmp(a->lo, b->lo, n) == 0 && memcmp(a->hi, b->hi, n) == 0;
}

static void refuse(
    struct plugin *p, const struct cy_event *ev, const struct cy_ts *local, const struct cy_ts *remote)
{
	struct refused *f = malloc(sizeof(*f) + strlen(ev->conn) + 1);

	p->n_lost++;
	p->host->log(p->self, CY_LOG_ERROR,
	    "%s: %u scripts are waiting already, this one is not run (%llu in all)", ev->conn, p->n_runs,
	    (unsigned long long)p->n_lost);
	if (!f || ev->kind != CY_EV_CHILD_UP) {
		free(f);
		return;
	}
	*f = (struct refused){.next = p->refused, .reqid = ev->reqid, .local = *local, .remote = *remote};
	strcpy(f->conn, ev->conn);
	p->refused = f;
}

static bool was_refused(
    struct plugin *p, const struct cy_event *ev, const struct cy_ts *local, const struct cy_ts *remote)
{
	for (struct refused **at = &p->refused, *f; (f = *at); at = &f->next)
		if (f->reqid == ev->reqid && strcmp(f->conn, ev->conn) == 0 && same_ts(&f->local, local) &&
		    same_ts(&f->remote, remote)) {
			*at = f->next;
			free(f);
			return true;
		}
	return false;
}

/* A down is run when its up was, however many wait: a script must not leave behind what it made. */
static void add_runs(struct plugin *p, const struct cy_event *ev, const char *command,
    const struct cy_ts *local, const struct cy_ts *remote, const char *iface)
{
	bool down = ev->kind == CY_EV_CHILD_DOWN;

	if (down && was_refused(p, ev, local, remote))
		return;
	if ((!down && p->n_runs >= p->queue_max) || !add_run(p, ev, command, local, remote, iface))
		refuse(p, ev, local, remote);
}

static void on_event(void *user, const struct cy_event *ev)
{
	char command[4096], iface[64] = "";
	struct plugin *p = user;
	uint32_t pairs = 0;

	if (!*ev->updown && !ev->firewall)
		return;
	command_of(p, ev, command, sizeof(command));
	updown_interface(&ev->local, iface, sizeof(iface));
	for (uint32_t i = 0; i < ev->n_ts_local; i++)
		for (uint32_t k = 0; k < ev->n_ts_remote; k++) {
			if (ev->ts_local[i].family_ip6 != ev->ts_remote[k].family_ip6)
				continue;
			if (pairs++ < MAX_PAIRS)
				add_runs(p, ev, command, &ev->ts_local[i], &ev->ts_remote[k], iface);
		}
	if (pairs > MAX_PAIRS)
		p->host->log(p->self, CY_LOG_ERROR,
		    "%s: %u pairs of traffic selectors, scripts are run for %u", ev->conn, pairs, MAX_PAIRS);
	start_runs(p);
}

/* --- life --- */

static uint32_t number(struct plugin *p, const char *key, int64_t fallback, int64_t min, int64_t max)
{
	int64_t v = p->host->setting_int(p->self, key, fallback);

	return (uint32_t)(v < min ? min : v > max ? max : v);
}

static void read_settings(void *plugin)
{
	struct plugin *p = plugin;

	p->timeout_s = number(p, "timeout", 30, 1, 3600);
	p->parallel = number(p, "parallel", 8, 1, 256);
	p->queue_max = number(p, "queue", 10000, 1, 1000000);
	snprintf(p->firewall_script, sizeof(p->firewall_script), "%s",
	    p->host->setting(p->self, "firewall_script", OWN_SCRIPT));
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct plugin *p = calloc(1, sizeof(*p));
	enum cy_err e;

	if (!p)
		return CY_E_NOMEM;
	p->host = host;
	p->self = self;
	p->tail = &p->runs;
	read_settings(p);
	e = host->subscribe(self, 1u << CY_EV_CHILD_UP | 1u << CY_EV_CHILD_DOWN, on_event, p);
	if (e) {
		free(p);
		return e;
	}
	*out_plugin = p;
	return CY_OK;
}

/* Nothing calls back any more; what runs is ended by the daemon. */
static void fini(void *plugin)
{
	struct plugin *p = plugin;

	if (p->n_runs)
		p->host->log(
		    p->self, CY_LOG_WARN, "%u scripts are ended or not run: the daemon stops", p->n_runs);
	while (p->runs) {
		struct run *r = p->runs;
		p->runs = r->next;
		free_run(r);
	}
	while (p->refused) {
		struct refused *f = p->refused;
		p->refused = f->next;
		free(f);
	}
	free(p);
}

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "updown.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct cy_feature features[] = {
    {CY_PROVIDES, "updown"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "updown",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .reload = read_settings,
    .options = options,
};
