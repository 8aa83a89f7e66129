/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to know about the daemon as a whole. Every number is read without stopping whom it is about. Control thread. */
#include <ifaddrs.h>
#include <malloc.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "daemon/auth/xauth.h"
#include "daemon/control/private.h"
#include "daemon/kernel/knl.h"
#include "daemon/net/interfaces.h"
#include "daemon/net/net.h"
#include "daemon/sa/authorize.h"
#include "daemon/sa/manager.h"
#include "daemon/watch/machine.h"
#include "libcore/base/addr.h"
#include "libcore/conf/conf.h"
#include "libcore/plugin/loader.h"
#include "libcore/run/bus.h"
#include "libcore/run/pool.h"
#include "libcore/run/proc.h"

#define SOCKETS_MAX 256
#define OWNERS_MAX  64
#define SLOW_MAX    16

static uint64_t resident_bytes(void)
{
	unsigned long long total, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%llu %llu", &total, &resident) != 2)
			resident = 0;
		fclose(f);
	}
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_memory(struct jw *w)
{
	struct mallinfo2 mi = mallinfo2();

	jw_obj(w, "memory");
	jw_u64(w, "resident", resident_bytes());
	jw_u64(w, "heap", mi.arena + mi.hblkhd);
	jw_u64(w, "heap_used", mi.uordblks + mi.hblkhd);
	jw_obj_end(w);
}

/* --- workers ----------------------------------------------------------------------------------------------------------------- */

struct workers {
	uint32_t n, idle, working[PRIO_N], queued[PRIO_N], timers, inbox;
	uint64_t jobs[PRIO_N], slow_steps, max_step_ns, max_ns_by_kind[JOB_KIND_N];
	uint8_t max_step_kind;
	struct hist latency[PRIO_N];
};

static void read_workers(struct processor *p, struct workers *all)
{
	struct worker_stats *s = malloc(sizeof(*s));

	all->n = processor_n(p);
	for (uint32_t i = 0; s && i < all->n; i++) {
		worker_read_stats(processor_worker(p, i), s);
		if (s->idle || s->running_prio >= PRIO_N)
			all->idle++;
		else
			all->working[s->running_prio]++;
		for (int q = 0; q < PRIO_N; q++) {
			all->queued[q] += s->queued[q];
			all->jobs[q] += s->jobs[q];
			hist_merge(&all->latency[q], &s->latency[q]);
		}
		for (int k = 0; k < JOB_KIND_N; k++)
			if (s->max_ns_by_kind[k] > all->max_ns_by_kind[k])
				all->max_ns_by_kind[k] = s->max_ns_by_kind[k];
		all->timers += s->timers;
		all->inbox += s->inbox;
		all->slow_steps += s->slow_steps;
		if (s->max_step_ns > all->max_step_ns) {
			all->max_step_ns = s->max_step_ns;
			all->max_step_kind = s->max_step_kind;
		}
	}
	free(s);
}

static void write_counts(struct jw *w, const char *key, const uint32_t *n)
{
	jw_arr(w, key);
	for (int q = 0; q < PRIO_N; q++)
		jw_u64(w, NULL, n[q]);
	jw_arr_end(w);
}

/* The last steps over 10 ms, and what ran in them. */
static void write_slow(struct control *c, struct jw *w)
{
	struct slow_step *s = calloc(SLOW_MAX, sizeof(*s));
	size_t n = s ? processor_slow_steps(c->d->processor, s, SLOW_MAX) : 0;

	jw_arr(w, "slow");
	for (size_t i = 0; i < n; i++) {
		jw_obj(w, NULL);
		jw_i64(w, "time", s[i].wall);
		jw_u64(w, "worker", s[i].worker);
		jw_str(w, "kind", s[i].kind < JOB_KIND_N ? job_kind_names[s[i].kind] : "");
		jw_u64(w, "us", s[i].ns / NS_PER_US);
		jw_u64(w, "cpu_us", s[i].cpu_ns / NS_PER_US);
		if (s[i].ike_id) {
			jw_u64(w, "ike_id", s[i].ike_id);
			jw_str(w, "exchange", s[i].class);
			jw_str(w, "connection", s[i].conn);
			jw_str(w, "peer", s[i].peer);
		}
		if (s[i].op_ns)
			write_op(w, c->d->crypto, &s[i]);
		if (*s[i].stack)
			jw_str(w, "stack", s[i].stack);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	free(s);
}

static void write_workers(struct control *c, struct jw *w, bool all)
{
	struct workers *ws = calloc(1, sizeof(*ws));

	if (!ws)
		return;
	read_workers(c->d->processor, ws);
	jw_obj(w, "workers");
	jw_u64(w, "total", ws->n);
	jw_u64(w, "idle", ws->idle);
	write_counts(w, "working", ws->working);
	write_counts(w, "queued", ws->queued);
	jw_u64(w, "inbox", ws->inbox);
	jw_u64(w, "scheduled", ws->timers);
	jw_u64(w, "stuck_ms", processor_stuck_ms(c->d->processor));
	if (all) {
		jw_u64(w, "slow_steps", ws->slow_steps);
		jw_u64(w, "max_step_us", ws->max_step_ns / NS_PER_US);
		jw_str(w, "max_step_kind",
		    ws->max_step_kind < JOB_KIND_N ? job_kind_names[ws->max_step_kind] : "");
		jw_arr(w, "longest");
		for (int k = 0; k < JOB_KIND_N; k++) {
			if (!ws->max_ns_by_kind[k])
				continue;
			jw_obj(w, NULL);
			jw_str(w, "kind", job_kind_names[k]);
			jw_u64(w, "us", ws->max_ns_by_kind[k] / NS_PER_US);
			jw_obj_end(w);
		}
		jw_arr_end(w);
		jw_arr(w, "latency");
		for (int q = 0; q < PRIO_N; q++) {
			jw_obj(w, NULL);
			jw_str(w, "priority", prio_names[q]);
			jw_u64(w, "jobs", ws->jobs[q]);
			jw_u64(w, "p50_us", hist_quantile(&ws->latency[q], 0.5) / NS_PER_US);
			jw_u64(w, "p99_us", hist_quantile(&ws->latency[q], 0.99) / NS_PER_US);
			jw_u64(w, "max_us", ws->latency[q].max / NS_PER_US);
			jw_obj_end(w);
		}
		jw_arr_end(w);
		write_slow(c, w);
	}
	jw_obj_end(w);
	free(ws);
}

/* --- the data plane ------------------------------------------------------------------------------------------------------------ */

static void on_counter(void *user, const char *name, uint64_t value)
{
	jw_u64(user, name, value);
}

static void on_device(void *user, const struct knl_device_info *d)
{
	struct jw *w = user;

	jw_obj(w, NULL);
	jw_str(w, "name", d->name);
	jw_str(w, "kind", d->kind == CY_DEVICE_VTI ? "vti" : "xfrm");
	if (d->kind == CY_DEVICE_VTI) {
		jw_u64(w, "mark_in", d->mark_in);
		jw_u64(w, "mark_out", d->mark_out);
	} else {
		jw_u64(w, "if_id", d->if_id);
	}
	jw_u64(w, "users", d->users);
	if (*d->why)
		jw_str(w, "error", d->why);
	jw_obj_end(w);
}

static void write_kernel(struct control *c, struct jw *w, bool all)
{
	static const char *const names[] = {"esp", "udp-encap", "udp-only", "transport", "esn", "ipv6",
	    "policy", "acquire", "expire", "if-id", "mark", "per-cpu", "userspace", "devices"};
	struct knl_stats s;

	knl_read_stats(c->d->knl, &s);
	jw_obj(w, "kernel");
	jw_str(w, "name", s.name);
	jw_arr(w, "features");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (s.features & 1u << i)
			jw_str(w, NULL, names[i]);
	jw_arr_end(w);
	if (all) {
		jw_u64(w, "queued", s.queued);
		jw_u64(w, "requests", s.requests);
		jw_u64(w, "steps", s.steps);
		jw_u64(w, "failures", s.failures);
		jw_u64(w, "max_us", s.max_ns / NS_PER_US);
		jw_u64(w, "max_wait_us", s.wait_max_ns / NS_PER_US);
		if (s.running_since_ns)
			jw_u64(w, "running_ms", (env_now(c->d->env) - s.running_since_ns) / NS_PER_MS);
		jw_u64(w, "policies", s.policies);
		jw_u64(w, "policies_owed", s.policies_owed);
		jw_arr(w, "devices");
		knl_devices_list(knl_devices(c->d->knl), on_device, w);
		jw_arr_end(w);
		jw_obj(w, "errors");
		knl_counters(c->d->knl, on_counter, w);
		jw_obj_end(w);
	}
	jw_obj_end(w);
}

/* --- the network ---------------------------------------------------------------------------------------------------------------- */

static void write_listen(const struct control *c, struct jw *w)
{
	char text[ADDR_STR_MAX];
	struct ifaddrs *all, *i;

	jw_arr(w, "listening");
	if (getifaddrs(&all) == 0) {
		for (i = all; i; i = i->ifa_next) {
			struct cy_addr a = {0};

			if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || i->ifa_flags & IFF_LOOPBACK ||
			    !interfaces_has_name(c->d->interfaces, i->ifa_name) ||
			    (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
				continue;
			addr_from_sockaddr(i->ifa_addr, &a);
			if (a.scope) /* link-local */
				continue;
			jw_str(w, NULL, addr_str(&a, text));
		}
		freeifaddrs(all);
	}
	jw_arr_end(w);
}

static void write_sockets(struct control *c, struct jw *w)
{
	struct cy_socket_stats *s = calloc(SOCKETS_MAX, sizeof(*s));
	size_t n = s ? net_socket_stats(c->d->net, s, SOCKETS_MAX) : 0;

	jw_arr(w, "sockets");
	for (size_t i = 0; i < n; i++) {
		jw_obj(w, NULL);
		jw_str(w, "family", s[i].family == AF_INET6 ? "IPv6" : "IPv4");
		jw_u64(w, "port", s[i].port);
		jw_u64(w, "lane", s[i].lane);
		jw_u64(w, "rx_datagrams", s[i].rx_datagrams);
		jw_u64(w, "rx_bytes", s[i].rx_bytes);
		jw_u64(w, "tx_datagrams", s[i].tx_datagrams);
		jw_u64(w, "tx_bytes", s[i].tx_bytes);
		jw_u64(w, "tx_errors", s[i].tx_errors);
		jw_u64(w, "rx_queue", s[i].rx_queue_bytes);
		jw_u64(w, "rx_buffer", s[i].rcvbuf);
		jw_u64(w, "kernel_drops", s[i].kernel_drops);
		jw_u64(w, "shed", s[i].shed);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	free(s);
}

static void write_net(struct control *c, struct jw *w)
{
	struct net_counters n;

	net_read_counters(c->d->net, &n);
	jw_obj(w, "net");
	jw_str(w, "name", net_name(c->d->net));
	jw_u64(w, "rx_ike", n.rx_ike);
	jw_u64(w, "rx_esp", n.rx_esp);
	jw_u64(w, "rx_keepalive", n.rx_keepalive);
	jw_u64(w, "tx_ike", n.tx_ike);
	jw_u64(w, "tx_failed", n.tx_failed);
	jw_u64(w, "forwarded", n.forwarded);
	jw_u64(w, "drop_short", n.drop_short);
	jw_u64(w, "drop_version", n.drop_version);
	jw_u64(w, "drop_malformed", n.drop_malformed);
	jw_u64(w, "drop_no_memory", n.drop_nomem);
	jw_u64(w, "drop_queue", n.drop_queue);
	jw_u64(w, "drop_queue_new", n.drop_queue_new);
	jw_u64(w, "drop_too_big", n.drop_too_big);
	jw_u64(w, "queued_bytes", n.queued_bytes);
	jw_u64(w, "drop_esp", n.drop_esp);
	jw_u64(w, "drop_interface", n.drop_interface);
	jw_obj_end(w);
	write_sockets(c, w);
}

/* --- SAs --------------------------------------------------------------------------------------------------------------------------- */

static void write_sas(struct control *c, struct jw *w, bool all)
{
	const struct sa_manager *m = c->d->sas;

	jw_obj(w, "sas");
	jw_u64(w, "ike_sas", SA_READ(m, ike_sas));
	jw_u64(w, "up", SA_READ(m, up));
	jw_u64(w, "half_open", SA_READ(m, half_open));
	jw_u64(w, "child_sas", SA_READ(m, child_sas));
	if (all) {
		jw_u64(w, "established", SA_READ(m, established));
		jw_u64(w, "failed", SA_READ(m, failed));
		jw_u64(w, "child_established", SA_READ(m, child_established));
		jw_u64(w, "rekeys_ike", SA_READ(m, rekeys_ike));
		jw_u64(w, "rekeys_child", SA_READ(m, rekeys_child));
		jw_u64(w, "reauths", SA_READ(m, reauths));
		jw_u64(w, "init_requests", SA_READ(m, init_requests));
		jw_u64(w, "cookies_sent", SA_READ(m, cookies_sent));
		jw_u64(w, "cookies_ok", SA_READ(m, cookies_ok));
		jw_u64(w, "cookies_bad", SA_READ(m, cookies_bad));
		jw_u64(w, "puzzles_sent", SA_READ(m, puzzles_sent));
		jw_u64(w, "puzzles_ok", SA_READ(m, puzzles_ok));
		jw_u64(w, "puzzles_bad", SA_READ(m, puzzles_bad));
		jw_u64(w, "puzzles_let_through", SA_READ(m, puzzles_let_through));
		jw_u64(w, "puzzles_solved", SA_READ(m, puzzles_solved));
		jw_u64(w, "half_open_peers", half_open_peers(m->half_open));
		jw_u64(w, "half_open_evicted", SA_READ(m, half_open_evicted));
		jw_u64(w, "firsts_kept", SA_READ(m, firsts_kept));
		jw_u64(w, "firsts_gone_on", SA_READ(m, firsts_gone_on));
		jw_u64(w, "crash_tokens_sent", SA_READ(m, crash_tokens_sent));
		jw_u64(w, "crashes_detected", SA_READ(m, crashes_detected));
		jw_u64(w, "retransmits_out", SA_READ(m, retransmits_out));
		jw_u64(w, "retransmits_in", SA_READ(m, retransmits_in));
		jw_u64(w, "timeouts", SA_READ(m, timeouts));
		jw_u64(w, "liveness_sent", SA_READ(m, liveness_sent));
		jw_u64(w, "drop_bad_icv", SA_READ(m, drop_bad_icv));
		jw_u64(w, "drop_syntax", SA_READ(m, drop_syntax));
		jw_u64(w, "drop_unexpected", SA_READ(m, drop_unexpected));
		jw_u64(w, "drop_half_open_limit", SA_READ(m, drop_half_open_limit));
		jw_u64(w, "drop_blocked", SA_READ(m, drop_blocked));
		jw_u64(w, "drop_late", SA_READ(m, drop_late));
		jw_u64(w, "drop_pool", SA_READ(m, drop_pool));
		jw_u64(w, "drop_inbox", SA_READ(m, drop_inbox));
		jw_u64(w, "drop_stray", SA_READ(m, drop_stray));
		jw_u64(w, "drop_replay", SA_READ(m, drop_replay));
		jw_u64(w, "drop_unprotected", SA_READ(m, drop_unprotected));
		jw_u64(w, "drop_fragment", SA_READ(m, drop_fragment));
		jw_u64(w, "drop_fragment_memory", SA_READ(m, drop_fragment_memory));
		jw_u64(w, "drop_fragment_timeout", SA_READ(m, drop_fragment_timeout));
		jw_u64(w, "fragment_bytes", SA_READ(m, fragment_bytes));
	}
	jw_obj_end(w);
}

/* --- plugins, pool, processes ---------------------------------------------------------------------------------------------------- */

struct plugin_writer {
	struct jw *w;
	uint64_t now;
};

static void on_plugin(void *user, const struct plugin_info *i)
{
	struct plugin_writer *pw = user;
	struct jw *w = pw->w;

	jw_obj(w, NULL);
	jw_str(w, "name", i->name);
	jw_str(w, "version", i->version ? i->version : "");
	jw_str(w, "state", i->state);
	jw_arr(w, "provides");
	for (size_t k = 0; i->provides && i->provides[k]; k++)
		jw_str(w, NULL, i->provides[k]);
	jw_arr_end(w);
	jw_u64(w, "callbacks", i->callbacks);
	jw_u64(w, "callback_us", i->callback_ns / NS_PER_US);
	jw_u64(w, "max_callback_us", i->max_callback_ns / NS_PER_US);
	if (i->running_since_ns && pw->now > i->running_since_ns)
		jw_u64(w, "running_ms", (pw->now - i->running_since_ns) / NS_PER_MS);
	if (i->listener.delivered || i->listener.missed || i->listener.queued ||
	    i->listener.running_since_ns) {
		jw_obj(w, "listener");
		jw_u64(w, "delivered", i->listener.delivered);
		jw_u64(w, "missed", i->listener.missed);
		jw_u64(w, "queued", i->listener.queued);
		jw_u64(w, "busy_us", i->listener.busy_ns / NS_PER_US);
		jw_u64(w, "max_us", i->listener.max_ns / NS_PER_US);
		jw_obj_end(w);
	}
	jw_obj_end(w);
}

static void write_plugins(struct control *c, struct jw *w)
{
	struct plugin_writer pw = {.w = w, .now = env_now(c->d->env)};

	jw_arr(w, "plugins");
	if (c->d->plugins)
		plugins_list(c->d->plugins, on_plugin, &pw);
	jw_arr_end(w);
}

static void write_pool(struct control *c, struct jw *w)
{
	struct pool_owner_stats *s = calloc(OWNERS_MAX, sizeof(*s));
	size_t n = s ? pool_stats(c->d->pool, s, OWNERS_MAX) : 0;

	jw_arr(w, "pool");
	for (size_t i = 0; i < n; i++) {
		jw_obj(w, NULL);
		jw_str(w, "owner", s[i].owner);
		jw_u64(w, "runs", s[i].runs);
		jw_u64(w, "running", s[i].running);
		jw_u64(w, "queued", s[i].queued);
		jw_u64(w, "p50_us", hist_quantile(&s[i].time, 0.5) / NS_PER_US);
		jw_u64(w, "p99_us", hist_quantile(&s[i].time, 0.99) / NS_PER_US);
		jw_u64(w, "max_us", s[i].time.max / NS_PER_US);
		jw_u64(w, "mean_wait_us", s[i].runs ? s[i].wait_ns / s[i].runs / NS_PER_US : 0);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	free(s);
}

static void write_authorize(struct control *c, struct jw *w)
{
	struct authorize_stats s[AUTHORIZE_MAX];
	size_t n = authorize_read_stats(c->d->authorize, s, AUTHORIZE_MAX);

	jw_arr(w, "authorize");
	for (size_t i = 0; i < n; i++) {
		jw_obj(w, NULL);
		jw_str(w, "name", s[i].name);
		jw_u64(w, "asked", s[i].asked);
		jw_u64(w, "waiting", s[i].waiting);
		jw_u64(w, "yes", s[i].yes);
		jw_u64(w, "no", s[i].no);
		jw_u64(w, "timeouts", s[i].timeouts);
		jw_u64(w, "refused", s[i].refused);
		jw_u64(w, "late", s[i].late);
		jw_u64(w, "max_us", s[i].max_ns / NS_PER_US);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void write_log(struct control *c, struct jw *w)
{
	struct log_sink_stats s[16];
	size_t n = log_sink_read_stats(c->d->log, s, ARRAY_LEN(s));
	uint64_t now = env_now(c->d->env);

	jw_u64(w, "log_dropped", log_dropped(c->d->log));
	jw_arr(w, "log_sinks");
	for (size_t i = 0; i < n; i++) {
		jw_obj(w, NULL);
		jw_str(w, "name", s[i].name);
		jw_u64(w, "queued", s[i].queued);
		jw_u64(w, "lost", s[i].lost);
		if (s[i].since_ns && now > s[i].since_ns)
			jw_u64(w, "running_ms", (now - s[i].since_ns) / NS_PER_MS);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void write_procs(struct control *c, struct jw *w)
{
	struct procs_stats s;

	if (!c->d->procs)
		return;
	procs_read_stats(c->d->procs, &s);
	jw_obj(w, "helpers");
	jw_u64(w, "running", s.running);
	jw_u64(w, "queued", s.queued);
	jw_u64(w, "started", s.started);
	jw_u64(w, "finished", s.finished);
	jw_u64(w, "failed", s.failed);
	jw_u64(w, "killed", s.killed);
	jw_u64(w, "refused", s.refused);
	jw_u64(w, "max_ms", s.max_ms);
	if (s.oldest_owner) {
		jw_str(w, "oldest_owner", s.oldest_owner);
		jw_u64(w, "oldest_ms", (env_now(c->d->env) - s.oldest_start_ns) / NS_PER_MS);
	}
	jw_obj_end(w);
}

static void write_backend(void *user, const char *name, const char *status)
{
	jw_str(user, name, status);
}

static void write_xauth(struct control *c, struct jw *w)
{
	struct xauth_stats s;

	if (!c->d->xauth)
		return;
	xauth_read_stats(c->d->xauth, &s);
	jw_obj(w, "xauth");
	jw_u64(w, "in_progress", s.in_progress);
	jw_u64(w, "in_progress_max", s.in_progress_max);
	jw_u64(w, "sessions", s.sessions);
	jw_u64(w, "begun", s.begun);
	jw_u64(w, "ok", s.ok);
	jw_u64(w, "refused", s.refused);
	jw_u64(w, "errors", s.errors);
	jw_u64(w, "timeouts", s.timeouts);
	jw_u64(w, "challenges", s.challenges);
	jw_u64(w, "cancelled", s.cancelled);
	jw_u64(w, "limit_queue", s.limit_queue);
	jw_u64(w, "limit_user", s.limit_user);
	jw_u64(w, "limit_address", s.limit_address);
	jw_u64(w, "limit_sessions", s.limit_sessions);
	jw_u64(w, "locked_user", s.locked_user);
	jw_u64(w, "locked_address", s.locked_address);
	jw_u64(w, "lockouts", s.lockouts);
	jw_u64(w, "answer_max_ms", s.answer_max_ms);
	jw_obj(w, "backends");
	xauth_backends(c->d->xauth, write_backend, w);
	jw_obj_end(w);
	jw_obj_end(w);
}

static void write_control(struct control *c, struct jw *w)
{
	struct control_stats s;

	control_read_stats(c, &s);
	jw_obj(w, "control");
	jw_u64(w, "clients", s.clients);
	jw_u64(w, "accepted", s.accepted);
	jw_u64(w, "refused", s.refused);
	jw_u64(w, "requests", s.requests);
	jw_u64(w, "bad_requests", s.bad_requests);
	jw_u64(w, "dropped_unread", s.dropped_unread);
	jw_u64(w, "dropped_line", s.dropped_line);
	jw_obj_end(w);
}

/* --- together ------------------------------------------------------------------------------------------------------------------------ */

/* In short, since the machine started; ipsec cpus has more. What of it is of SAs comes behind them (carried.c). */
static void write_cpus(struct jw *w)
{
	struct machine *m = machine_read("", NULL);

	jw_arr(w, "cpus");
	for (size_t i = 0; m && i < m->n_cpus; i++) {
		const struct machine_cpu *p = &m->cpus[i];

		jw_obj(w, NULL);
		jw_u64(w, "cpu", p->cpu);
		jw_u64(w, "packets", p->processed);
		jw_num(w, "softirq", p->total ? 100.0 * (double)p->softirq / (double)p->total : 0);
		jw_u64(w, "dropped", p->dropped);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_arr(w, "queues");
	for (size_t i = 0; m && i < m->n_queues; i++) {
		jw_obj(w, NULL);
		write_queue(w, &m->queues[i]);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	machine_free(m);
}

void write_daemon(struct control *c, struct jw *w, bool all)
{
	struct daemon *d = c->d;
	struct config *config = daemon_config(d);

	jw_str(w, "version", PACKAGE_VERSION);
	jw_u64(w, "pid", (uint64_t)getpid());
	jw_i64(w, "started", d->started_wall);
	jw_u64(w, "uptime", (env_now(d->env) - d->started_ns) / NS_PER_S);
	if (config && config->conf) {
		jw_u64(w, "config_epoch", config->epoch);
		jw_u64(w, "connections_loaded", config->conf->n_conns);
		jw_u64(w, "config_errors", config->conf->n_errors);
	}
	config_unref(config);
	write_workers(c, w, all);
	write_sas(c, w, all);
	write_kernel(c, w, all);
	if (!all)
		return;
	write_memory(w);
	write_plugins(c, w);
	write_listen(c, w);
	write_net(c, w);
	write_pool(c, w);
	write_authorize(c, w);
	write_procs(c, w);
	write_xauth(c, w);
	write_revocation(c, w);
	write_control(c, w);
	write_log(c, w);
	if (!d->env->simulated)
		write_cpus(w);
}
