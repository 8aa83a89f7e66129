/* SPDX-License-Identifier: Apache-2.0 */
/* The wiring: which part is made from which, and in what order they begin and end. */
#include "config.h"

#include "daemon/run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "daemon/auth/sources.h"
#include "daemon/auth/xauth.h"
#include "daemon/control/control.h"
#include "daemon/ikev2/ikev2.h"
#ifdef HAVE_IKEV1
#	include "daemon/ikev1/ikev1.h"
#endif
#include "daemon/kernel/knl.h"
#include "daemon/net/interfaces.h"
#include "daemon/net/net.h"
#include "daemon/policy/lease.h"
#include "daemon/run_impl.h"
#include "daemon/sa/authorize.h"
#include "daemon/sa/about.h"
#include "daemon/sa/manager.h"
#include "daemon/sa/traps.h"
#include "libcore/conf/settings.h"
#include "libcore/cred/cred.h"
#include "libcore/crypto/registry.h"
#include "libcore/plugin/loader.h"
#include "libcore/run/bus.h"
#include "libcore/run/pool.h"
#include "libcore/run/proc.h"

#define STOP_NS   (3 * NS_PER_S) /* for the answers to our deletes */
#define STOP_POLL (10 * NS_PER_MS)

struct why {
	char *text;
	size_t cap;
};

static enum cy_err fail(struct run *r, struct why *w, enum cy_err e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static enum cy_err fail(struct run *r, struct why *w, enum cy_err e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->text, w->cap, fmt, ap);
	va_end(ap);
	if (r->d.log)
		LOGF(r->d.log, LOG_DMN, CY_LOG_ERROR, NULL, "%s", w->text);
	return e;
}

void run_event(struct daemon *d, enum cy_event_kind kind)
{
	struct cy_event ev = {.size = sizeof(ev),
	    .kind = kind,
	    .conn = "",
	    .reason = "",
	    .local_id = "",
	    .remote_id = "",
	    .user = "",
	    .updown = ""};

	bus_publish(d->bus, &ev);
}

/* --- log and settings ---------------------------------------------------------------------------------------------- */

static void log_syslog(void *user, const struct log_line *line)
{
	static const int level[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, 6 /* LOG_INFO */, 7, 7};
	char text[LOG_TEXT_MAX + 256];

	(void)user;
	(void)log_format(line, text, sizeof(text));
	/* syslog has a time of its own: ours, "Nov  5 10:21:07 ", is left out */
	syslog(LOG_DAEMON | level[line->level < 6 ? line->level : 5], "%s", text + 16);
}

static void on_setting(void *user, const struct conf_problem *p)
{
	struct run *r = user;

	LOGF(r->d.log, LOG_CFG, p->level, NULL, "%s:%u: %s%s%s", p->file, p->line, p->text,
	    *p->hint ? "; " : "", p->hint);
}

static void log_file(void *user, const struct log_line *line)
{
	char text[LOG_TEXT_MAX + 256];
	size_t n = log_format(line, text, sizeof(text) - 1);

	text[n++] = '\n';
	if (fwrite(text, 1, n, user) == n)
		fflush(user);
}

static enum cy_err make_log(struct run *r, struct why *why)
{
	enum cy_err e = log_new(r->d.env, &r->d.log);

	if (e)
		return fail(r, why, e, "the log could not be made: %s", err_text(e));
	if (r->o.log)
		log_set_direct(r->d.log, r->o.log, r->o.log_user);
	else if (r->o.foreground)
		e = log_add_sink(r->d.log, "stderr", log_sink_stderr, NULL, true);
	return e ? fail(r, why, e, "the log: %s", err_text(e)) : CY_OK;
}

/* What the settings say about the log; lines written before wait in their rings. */
static enum cy_err make_sinks(struct run *r, struct why *why)
{
	const struct settings *s = r->d.settings;
	const char *file = settings_str(s, "log.file");
	enum cy_err e = CY_OK;

	if (r->o.log)
		return CY_OK;
	if (!r->o.foreground && settings_bool(s, "log.stderr"))
		e = log_add_sink(r->d.log, "stderr", log_sink_stderr, NULL, true);
	if (!e && !r->o.foreground && settings_bool(s, "log.syslog"))
		e = log_add_sink(r->d.log, "syslog", log_syslog, NULL, true);
	if (!e && file && *file) {
		r->log_file = fopen(file, "ae");
		if (!r->log_file)
			return fail(r, why, CY_E_IO, "log.file: %s: %s", file, strerror(errno));
		e = log_add_sink(r->d.log, "file", log_file, r->log_file, true);
	}
	return e ? fail(r, why, e, "the log: %s", err_text(e)) : CY_OK;
}

static enum cy_err load_settings(struct run *r, struct why *why)
{
	bool there = access(r->settings, F_OK) == 0;
	enum cy_err e;

	if (!there && r->o.settings)
		return fail(r, why, CY_E_NOTFOUND, "%s: %s", r->settings, strerror(errno));
	e = settings_load(there ? r->settings : NULL, on_setting, r, &r->d.settings);
	if (e)
		return fail(r, why, e, "the settings in %s cannot be used: %s", r->settings, err_text(e));
	tune_from_settings(&r->d);
	tune_log(&r->d);
	return make_sinks(r, why);
}

/* --- control socket ------------------------------------------------------------------------------------------------- */

static enum cy_err reload_hook(void *user, control_report_fn report, void *report_user)
{
	return daemon_reload(user, report, report_user);
}

static void stop_hook(void *user)
{
	struct run *r = run_of(user);

	if (r->o.stop_wanted)
		r->o.stop_wanted(r->o.user);
}

static enum cy_err make_control(struct run *r, struct why *why)
{
	struct control_config cfg = {.hooks = {.reload = reload_hook, .stop = stop_hook, .user = &r->d}};
	const char *group = settings_str(r->d.settings, "control_group");
	const char *given = settings_str(r->d.settings, "control_socket");
	char path[4096];
	enum cy_err e;

	if (r->o.no_control)
		return CY_OK;
	if (mkdir(r->rundir, 0755) != 0 && errno != EEXIST)
		return fail(r, why, CY_E_IO, "%s: %s", r->rundir, strerror(errno));
	/* --rundir moves the socket along, a setting that differs from the default names it */
	if (given && *given && strcmp(given, CONTROL_SOCKET) != 0 && !r->o.rundir)
		snprintf(path, sizeof(path), "%s", given);
	else
		snprintf(path, sizeof(path), "%s/control.sock", r->rundir);
	e = control_listen(
	    path, group && *group ? group : NULL, &cfg.listen_fd, &cfg.allow_gid, why->text, why->cap);
	if (e)
		return fail(r, why, e, "%s", strdupa(why->text));
	cfg.socket = path;
	e = control_new(&r->d, &cfg, &r->control);
	return e ? fail(r, why, e, "the control socket: %s", err_text(e)) : CY_OK;
}

/* --- data plane and network ----------------------------------------------------------------------------------------- */

static enum cy_err open_kernel(struct run *r, const char *name)
{
	struct knl_handlers h = sa_kernel_handlers(&r->d);
	void *plugin = NULL;
	const struct cy_kernel_ops *ops = plugins_find(r->d.plugins, CY_KIND_KERNEL, name, &plugin);

	if (!ops)
		return CY_E_NOTFOUND;
	return knl_new(&r->d, ops, plugin, &h, &r->d.knl);
}

/* The kernel's ESP where there is some; else ours, in userspace, and we say so. */
static enum cy_err make_kernel(struct run *r, struct why *why)
{
	const char *wanted = settings_str(r->d.settings, "kernel");
	enum cy_err e, tun;

	if (r->o.kernel || (wanted && *wanted && strcmp(wanted, "auto") != 0)) {
		const char *name = r->o.kernel ? NULL : wanted;

		e = open_kernel(r, name);
		if (e)
			return fail(r, why, e, "the data plane %s cannot be used: %s", name ? name : "",
			    e == CY_E_NOTFOUND ? "the plugin is not loaded" : err_text(e));
		return CY_OK;
	}
	e = open_kernel(r, "kernel-netlink");
	if (!e)
		return CY_OK;
	tun = open_kernel(r, "kernel-tun");
	if (tun)
		return fail(r, why, tun, "no data plane: kernel-netlink: %s, kernel-tun: %s", err_text(e),
		    err_text(tun));
	LOGF(r->d.log, LOG_KNL, CY_LOG_NOTICE, NULL,
	    "the kernel has no ESP for us (kernel-netlink: %s): using ESP in userspace (kernel-tun)",
	    err_text(e));
	return CY_OK;
}

static enum cy_err make_net(struct run *r, struct why *why)
{
	const char *wanted = settings_str(r->d.settings, "socket");
	void *plugin = NULL;
	const struct cy_socket_ops *ops;
	enum cy_err e;

	if (r->o.socket || !wanted || !*wanted)
		wanted = NULL;
	ops = plugins_find(r->d.plugins, CY_KIND_SOCKET,
	    wanted            ? wanted
	        : r->o.socket ? NULL
	                      : "socket-reuseport",
	    &plugin);
	if (!ops && !wanted)
		ops = plugins_find(r->d.plugins, CY_KIND_SOCKET, NULL, &plugin);
	if (!ops)
		return fail(r, why, CY_E_NOTFOUND, "no plugin provides sockets (socket-default)");
	e = net_new(&r->d, ops, plugin, sa_deliver, r->d.sas, &r->d.net);
	if (e)
		return fail(r, why, e,
		    "the sockets of ports %u and %u cannot be opened: %s (does another IKE daemon run?)",
		    r->d.tune.port, r->d.tune.port_natt, err_text(e));
	plugins_set_udp_send(r->d.plugins, net_send_raw, r->d.net);
	return CY_OK;
}

/* --- parts ------------------------------------------------------------------------------------------------------------ */

static void prefer_crypto(struct daemon *d)
{
	const char *at = settings_str(d->settings, "crypto_prefer");
	char name[64];

	for (at = at ? at : ""; *at; at += strcspn(at, " \t,")) {
		at += strspn(at, " \t,");
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, " \t,"), at);
		if (*name && crypto_prefer(d->crypto, 0, name))
			LOGF(d->log, LOG_CFG, CY_LOG_WARN, NULL, "crypto_prefer: %s has no effect", name);
	}
}

static enum cy_err make_core(struct run *r, struct why *why)
{
	struct daemon *d = &r->d;
	struct processor_config pc = {
	    .n_workers = r->o.workers,
	    .env = d->env,
	    .log = d->log,
	    .class_name = sa_class_exchange,
#ifdef CYGNET_DEBUG
	    .stacks = true,
#endif
	};
	struct pool_config lc = {.env = d->env,
	    .log = d->log,
	    .cpu_threads = (uint32_t)settings_int(d->settings, "pool_threads"),
	    .io_threads = (uint32_t)settings_int(d->settings, "io_threads"),
	    .io_quota = (uint32_t)settings_int(d->settings, "io_quota")};
	enum cy_err e = CY_OK;

	if (!pc.n_workers)
		pc.n_workers = (uint32_t)settings_int(d->settings, "workers");
	/* first: it forks a small process, best before there are threads and memory */
	if (!d->env->simulated || d->env->process)
		e = procs_new(d->env, d->log, (uint32_t)settings_int(d->settings, "helper_limit"),
		    (uint32_t)settings_int(d->settings, "helper_queue"), &d->procs);
	if (!e && !r->o.log)
		e = log_start(d->log);
	if (!e)
		e = processor_new(&pc, &d->processor);
	if (!e)
		e = pool_new(&lc, &d->pool);
	if (!e)
		e = bus_new(d->env, &d->bus);
	if (!e)
		e = crypto_new(d->log, &d->crypto);
	if (!e)
		prefer_crypto(d);
	return e ? fail(r, why, e, "the daemon could not be made: %s", err_text(e)) : CY_OK;
}

static enum cy_err make_plugins(struct run *r, struct why *why)
{
	struct daemon *d = &r->d;
	const char *load = settings_str(d->settings, "load");
	struct plugins_config cfg = {.env = d->env,
	    .log = d->log,
	    .settings = d->settings,
	    .crypto = d->crypto,
	    .bus = d->bus,
	    .procs = d->procs,
	    .processor = d->processor,
	    .dir = r->plugindir,
	    .load = load && *load ? load : NULL};
	enum cy_err e = plugins_load(&cfg, &d->plugins);

	if (e)
		return fail(r, why, e, "a plugin that must be loaded failed: see the log");
	if (r->o.kernel)
		e = plugins_provide_builtin(d->plugins, CY_KIND_KERNEL, r->o.kernel, r->o.kernel_plugin);
	if (!e && r->o.socket)
		e = plugins_provide_builtin(d->plugins, CY_KIND_SOCKET, r->o.socket, r->o.socket_plugin);
	if (!e && r->o.provide)
		e = r->o.provide(r->o.user, d->plugins);
	return e ? fail(r, why, e, "the built-in plugins: %s", err_text(e)) : CY_OK;
}

static enum cy_err make_leases(struct run *r, struct why *why)
{
	struct daemon *d = &r->d;
	void *plugin = NULL;
	const struct cy_lease_store_ops *store = plugins_find(d->plugins, CY_KIND_LEASES, NULL, &plugin);
	uint64_t time_s = settings_ms(d->settings, "lease_time") / 1000;
	enum cy_err e;

	e = leases_new(d->env, d->log, time_s > UINT32_MAX ? UINT32_MAX : (uint32_t)time_s, &d->leases);
	if (!e && store)
		e = leases_set_store(d->leases, store, plugin, d->pool, processor_worker(d->processor, 0));
	if (e == CY_OK || !d->leases)
		return e ? fail(r, why, e, "address pools: %s", err_text(e)) : CY_OK;
	LOGF(d->log, LOG_CFG, CY_LOG_ERROR, NULL, "leases are not kept across restarts: %s: %s", store->name,
	    err_text(e));
	return CY_OK;
}

/* What a back end is told about a user of ipsec.secrets. */
static enum cy_err password_hook(void *user, const char *name, uint8_t *out, size_t cap, size_t *out_n)
{
	struct config *c = daemon_config(user);
	struct ident id = {.type = ID_KEY_ID, .n = (uint16_t)strlen(name), .p = (uint8_t *)name};
	enum cy_err e = CY_E_NOTFOUND;
	struct cy_slice found;

	if (c && c->creds && strlen(name) <= UINT16_MAX &&
	    creds_find_password(c->creds, CRED_XAUTH, &id, &found)) {
		e = found.n <= cap ? CY_OK : CY_E_SHORT;
		if (!e) {
			memcpy(out, found.p, found.n);
			*out_n = found.n;
		}
	}
	config_unref(c);
	return e;
}

static enum cy_err make_config(struct run *r, struct why *why)
{
	struct config *c;
	enum cy_err e;

	if (r->o.configure)
		e = r->o.configure(r->o.user, &r->d, &c);
	else
		e = load_config(r, NULL, NULL, &c);
	if (e)
		return fail(r, why, e, "the configuration %s cannot be used: %s", r->conf, err_text(e));
	daemon_config_swap(&r->d, c);
	return CY_OK;
}

static enum cy_err make_all(struct run *r, struct why *why)
{
	struct daemon *d = &r->d;
	enum cy_err e = make_log(r, why);

	if (!e)
		e = load_settings(r, why);
	if (!e)
		e = make_control(r, why);
	if (!e && r->o.before_threads) {
		e = r->o.before_threads(r->o.user, r->d.settings);
		if (e)
			return fail(r, why, e, "privileges could not be given up: %s", err_text(e));
	}
	if (!e)
		e = make_core(r, why);
	if (!e && (e = sources_new(d, &d->sources)) != CY_OK)
		return fail(r, why, e, "the cache of CRLs: %s", err_text(e));
	if (!e)
		e = make_plugins(r, why);
	if (!e)
		sources_start(d->sources);
	if (!e)
		e = make_leases(r, why);
	if (!e && (e = xauth_new(d, &d->xauth)) != CY_OK)
		return fail(r, why, e, "logins: %s", err_text(e));
	if (!e)
		plugins_set_password(d->plugins, password_hook, d);
	if (!e && (e = sa_manager_new(d, &d->sas)) != CY_OK)
		return fail(r, why, e, "IKE_SA manager: %s", err_text(e));
	if (!e && (e = authorize_new(d, &d->authorize)) != CY_OK)
		return fail(r, why, e, "authorization: %s", err_text(e));
	if (!e)
		plugins_set_answer(d->plugins, authorize_answer, d->authorize);
	if (!e)
		load_crash_secret(r);
	if (!e && (e = traps_new(d, &d->traps)) != CY_OK)
		return fail(r, why, e, "traps: %s", err_text(e));
	if (!e &&
	    (e = interfaces_new(settings_str(d->settings, "interfaces_use"),
	         settings_str(d->settings, "interfaces_ignore"), &d->interfaces)) != CY_OK)
		return fail(r, why, e, "interfaces: %s", err_text(e));
	if (!e)
		e = make_kernel(r, why);
	if (e)
		return e;
	d->tune.force_encap = knl_features(d->knl) & CY_KERNEL_UDP_ONLY;
	d->ike[2] = &ikev2_ops;
#ifdef HAVE_IKEV1
	d->ike[1] = &ikev1_ops;
#endif
	e = make_net(r, why);
	return e ? e : make_config(r, why);
}

static char *or_installed(const char *given, const char *dir, const char *name)
{
	char *text;

	if (given)
		return strdup(given);
	return asprintf(&text, "%s%s", dir, name) < 0 ? NULL : text;
}

enum cy_err daemon_new(const struct daemon_options *o, char *why_text, size_t why_cap, struct daemon **out)
{
	struct run *r = calloc(1, sizeof(*r));
	struct why why = {why_text, why_cap};
	enum cy_err e = CY_E_NOMEM;

	if (!r)
		return CY_E_NOMEM;
	snprintf(why_text, why_cap, "out of memory");
	r->o = *o;
	pthread_mutex_init(&r->reload_lock, NULL);
	pthread_mutex_init(&r->d.config_lock, NULL);
	env_real(&r->real_env);
	r->d.env = o->env ? o->env : &r->real_env;
	r->d.started_ns = env_now(r->d.env);
	r->d.started_wall = r->d.env->wall(r->d.env);
	r->conf = or_installed(o->conf, SYSCONFDIR, "/ipsec.conf");
	r->secrets = or_installed(o->secrets, SYSCONFDIR, "/ipsec.secrets");
	r->settings = or_installed(o->settings, SYSCONFDIR, "/cygnet/cygnet.conf");
	r->rundir = or_installed(o->rundir, PKGRUNDIR, "");
	r->plugindir = or_installed(o->plugindir, PLUGINDIR, "");
	if (r->conf && r->secrets && r->settings && r->rundir && r->plugindir)
		e = make_all(r, &why);
	if (e) {
		daemon_free(&r->d);
		return e;
	}
	*out = &r->d;
	return CY_OK;
}

enum cy_err daemon_start(struct daemon *d, char *why_text, size_t why_cap)
{
	struct run *r = run_of(d);
	struct why why = {why_text, why_cap};
	struct config *c;
	enum cy_err e;

	knl_listen(d->knl);
	e = processor_start(d->processor);
	r->started = true;
	if (e)
		return fail(r, &why, e, "workers: %s", err_text(e));
	e = net_start(d->net);
	if (e)
		return fail(r, &why, e, "sockets: %s", err_text(e));
	if (r->control && (e = control_start(r->control)) != CY_OK)
		return fail(r, &why, e, "control thread: %s", err_text(e));
	LOGF(d->log, LOG_DMN, CY_LOG_NOTICE, NULL, "cygnet %s is ready: %u workers, data plane %s",
	    PACKAGE_VERSION, processor_n(d->processor), knl_ops(d->knl, &(void *){NULL})->name);
	run_event(d, CY_EV_READY);
	knl_devices_changed(d->knl);
	c = daemon_config(d);
	for (size_t i = 0; c && c->conf && i < c->conf->n_conns; i++)
		load_activate(r, NULL, c->conf->conns[i], false);
	config_unref(c);
	return CY_OK;
}

/* --- the end ----------------------------------------------------------------------------------------------------------- */

static void pause_ns(uint64_t ns)
{
	(void)nanosleep(&(struct timespec){0, (long)ns}, NULL);
}

static uint32_t destroy_one(struct ike_sa *sa, void *user)
{
	(void)user;
	ike_sa_destroy(sa, "the daemon stops");
	return SA_CLOSE_COST;
}

static void say_goodbye(struct run *r)
{
	struct daemon *d = &r->d;
	uint64_t give_up = env_now(d->env) + STOP_NS;

	sa_manager_shutdown(d->sas);
	if (!d->env->simulated)
		while (SA_READ(d->sas, ike_sas) && env_now(d->env) < give_up)
			pause_ns(STOP_POLL);
	(void)!sa_each(d->sas, PRIO_CRITICAL, destroy_one, NULL, NULL);
}

/* Completions that came after the workers had ended belong to nobody: they are run here, by the only thread left. */
static void run_leftovers(struct run *r)
{
	struct daemon *d = &r->d;
	size_t ran;

	if (r->stuck)
		return;
	for (int round = 0; round < 100; round++) {
		ran = 0;
		for (uint32_t i = 0; i < processor_n(d->processor); i++)
			ran += worker_step(processor_worker(d->processor, i), 100000);
		if (!ran)
			break;
	}
}

void daemon_stop(struct daemon *d)
{
	struct run *r = run_of(d);

	if (r->stopped)
		return;
	r->stopped = true;
	if (r->started) {
		run_event(d, CY_EV_STOPPING);
		LOGF(d->log, LOG_DMN, CY_LOG_NOTICE, NULL, "stopping");
		say_goodbye(r);
	}
	control_stop(r->control);
	processor_stop(d->processor);
	/* A worker that did not end may still use anything: then nothing is freed. */
	r->stuck = d->processor && processor_stuck_ms(d->processor) > 0;
	if (r->stuck)
		return;
	if (d->plugins)
		plugins_set_udp_send(d->plugins, NULL, NULL);
	if (d->plugins)
		plugins_set_answer(d->plugins, NULL, NULL);
	net_stop(d->net);
	if (d->processor)
		run_leftovers(r); /* they may still ask for kernel work */
	knl_stop(d->knl);
	if (d->processor)
		run_leftovers(r);
}

void daemon_free(struct daemon *d)
{
	struct run *r;

	if (!d)
		return;
	r = run_of(d);
	daemon_stop(d);
	if (r->stuck)
		return;
	leases_stop(d->leases);
	sources_stop(d->sources);
	/* what the pool held comes back to SAs and leases, so these are freed after it */
	pool_free(d->pool);
	d->pool = NULL;
	if (d->processor)
		run_leftovers(r);
	sa_manager_free(d->sas);
	traps_free(d->traps);
	authorize_free(d->authorize);
	leases_free(d->leases);
	control_free(r->control);
	net_free(d->net);
	knl_free(d->knl);
	if (d->plugins)
		plugins_set_password(d->plugins, NULL, NULL);
	interfaces_free(d->interfaces);
	config_unref(d->config);
	sources_clear(d->sources);
	plugins_free(d->plugins);
	procs_free(d->procs);
	/* back ends may answer until their end; it goes nowhere any more */
	if (d->processor)
		run_leftovers(r);
	xauth_free(d->xauth);
	sources_free(d->sources);
	crypto_free(d->crypto);
	bus_free(d->bus);
	processor_free(d->processor);
	settings_unref(d->settings);
	log_free(d->log);
	/* the file sink may be in a write that does not end: its file stays open */
	pthread_mutex_destroy(&d->config_lock);
	pthread_mutex_destroy(&r->reload_lock);
	free(r->conf);
	free(r->secrets);
	free(r->settings);
	free(r->rundir);
	free(r->plugindir);
	free(r);
}
