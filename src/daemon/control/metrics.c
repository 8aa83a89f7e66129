/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: what `ipsec metrics` prints in the OpenMetrics format, a family an item. The data plane's counters are read first.
 * Control thread.
 */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "daemon/control/span.h"
#include "daemon/control/steering.h"
#include "daemon/sa/totals.h"

struct metrics {
	struct request *r;
	struct jw w;
	/* totals, while one field of them is listed */
	enum totals_kind kind;
	size_t field;
};

static void family(struct metrics *m, const char *name, const char *type, const char *help)
{
	request_item(m->r, &m->w, "metrics");
	jw_str(&m->w, "name", name);
	jw_str(&m->w, "type", type);
	jw_str(&m->w, "help", help);
	jw_arr(&m->w, "samples");
}

static void family_end(struct metrics *m)
{
	jw_arr_end(&m->w);
	request_item_end(&m->w);
}

static void sample_begin(struct metrics *m, const char *label, const char *value)
{
	jw_obj(&m->w, NULL);
	jw_obj(&m->w, "labels");
	if (label)
		jw_str(&m->w, label, value);
}

static void sample_value(struct metrics *m, double v)
{
	jw_obj_end(&m->w);
	jw_num(&m->w, "value", v);
	jw_obj_end(&m->w);
}

static void one(struct metrics *m, const char *label, const char *value, uint64_t v)
{
	sample_begin(m, label, value);
	sample_value(m, (double)v);
}

static void single(struct metrics *m, const char *name, const char *type, const char *help, double v)
{
	family(m, name, type, help);
	sample_begin(m, NULL, NULL);
	sample_value(m, v);
	family_end(m);
}

/* --- connections and users -------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *help;
	size_t at;
} fields[] = {
    {"ike_sas_established", "IKE_SAs that came up.", offsetof(struct totals_counts, ike_up)},
    {"ike_sas_failed", "IKE_SAs that did not come up.", offsetof(struct totals_counts, ike_failed)},
    {"ike_sas_rekeyed", "Rekeyings of IKE_SAs.", offsetof(struct totals_counts, ike_rekeys)},
    {"child_sas_established", "CHILD_SAs that came up.", offsetof(struct totals_counts, child_up)},
    {"child_sas_rekeyed", "Rekeyings of CHILD_SAs.", offsetof(struct totals_counts, child_rekeys)},
    {"received_bytes", "Bytes received in tunnels.", offsetof(struct totals_counts, bytes_in)},
    {"received_packets", "Packets received in tunnels.", offsetof(struct totals_counts, packets_in)},
    {"sent_bytes", "Bytes sent in tunnels.", offsetof(struct totals_counts, bytes_out)},
    {"sent_packets", "Packets sent in tunnels.", offsetof(struct totals_counts, packets_out)},
};

static void on_total(void *user, enum totals_kind kind, const char *name, const struct totals_counts *c)
{
	struct metrics *m = user;
	uint64_t v;

	if (kind != m->kind)
		return;
	memcpy(&v, (const uint8_t *)c + fields[m->field].at, sizeof(v));
	one(m, kind == TOTALS_CONN ? "connection" : "user", name, v);
}

static void write_totals(struct metrics *m)
{
	struct totals *t = m->r->control->d->sas->totals;
	char name[64];

	for (int k = 0; k < TOTALS_KIND_N; k++)
		for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
			m->kind = (enum totals_kind)k;
			m->field = f;
			snprintf(name, sizeof(name), "cygnet_%s_%s", k == TOTALS_CONN ? "connection" : "user",
			    fields[f].name);
			family(m, name, "counter", fields[f].help);
			totals_list(t, on_total, m);
			family_end(m);
		}
}

/* --- the daemon ----------------------------------------------------------------------------------------------------------------- */

static void write_workers(struct metrics *m, const struct sample *s)
{
	char text[16];

	family(m, "cygnet_worker_cpu_seconds", "counter", "CPU time of workers.");
	for (uint32_t i = 0; i < s->n_workers; i++) {
		snprintf(text, sizeof(text), "%u", i);
		sample_begin(m, "worker", text);
		sample_value(m, (double)s->workers[i].cpu_ns / (double)NS_PER_S);
	}
	family_end(m);
	family(m, "cygnet_worker_slow_steps", "counter", "Steps of workers over 10 ms.");
	for (uint32_t i = 0; i < s->n_workers; i++) {
		snprintf(text, sizeof(text), "%u", i);
		one(m, "worker", text, s->workers[i].slow_steps);
	}
	family_end(m);
	family(m, "cygnet_job_cpu_seconds", "counter", "CPU time of jobs by kind.");
	for (int k = 0; k < JOB_KIND_N; k++) {
		uint64_t ns = 0;

		for (int p = 0; p < PRIO_N; p++)
			ns += s->usage.kind[k][p].ns;
		sample_begin(m, "kind", job_kind_names[k]);
		sample_value(m, (double)ns / (double)NS_PER_S);
	}
	family_end(m);
	family(m, "cygnet_jobs", "counter", "Jobs run, by priority.");
	for (int p = 0; p < PRIO_N; p++)
		one(m, "priority", prio_names[p], s->wait[p].n);
	family_end(m);
	family(
	    m, "cygnet_job_wait_seconds", "counter", "Time that jobs waited before they ran, by priority.");
	for (int p = 0; p < PRIO_N; p++) {
		sample_begin(m, "priority", prio_names[p]);
		sample_value(m, (double)s->wait[p].sum / (double)NS_PER_S);
	}
	family_end(m);
}

static void write_drops(struct metrics *m, const struct sample *s)
{
	const struct {
		const char *reason;
		uint64_t n;
	} drops[] = {
	    {"short", s->net.drop_short},
	    {"version", s->net.drop_version},
	    {"malformed", s->net.drop_malformed},
	    {"no_memory", s->net.drop_nomem},
	    {"queue", s->net.drop_queue},
	    {"queue_new", s->net.drop_queue_new},
	    {"too_big", s->net.drop_too_big},
	    {"interface", s->net.drop_interface},
	    {"esp", s->net.drop_esp},
	    {"bad_icv", s->sas.drop_bad_icv},
	    {"syntax", s->sas.drop_syntax},
	    {"unexpected", s->sas.drop_unexpected},
	    {"half_open_limit", s->sas.drop_half_open_limit},
	    {"blocked", s->sas.drop_blocked},
	    {"late", s->sas.drop_late},
	    {"shed", sample_shed(s)},
	    {"pool", s->sas.drop_pool},
	    {"inbox", s->sas.drop_inbox},
	    {"stray", s->sas.drop_stray},
	    {"replay", s->sas.drop_replay},
	    {"unprotected", s->sas.drop_unprotected},
	    {"fragment", s->sas.drop_fragment},
	    {"fragment_memory", s->sas.drop_fragment_memory},
	    {"fragment_timeout", s->sas.drop_fragment_timeout},
	};
	char text[16];

	family(m, "cygnet_dropped_messages", "counter", "Messages of IKE that were dropped, by reason.");
	for (size_t i = 0; i < ARRAY_LEN(drops); i++)
		one(m, "reason", drops[i].reason, drops[i].n);
	family_end(m);
	family(m, "cygnet_socket_dropped_datagrams", "counter",
	    "Datagrams the kernel dropped: the receive queue was full.");
	for (size_t i = 0; i < s->n_sockets; i++) {
		sample_begin(m, "family", s->sockets[i].family == AF_INET6 ? "ipv6" : "ipv4");
		snprintf(text, sizeof(text), "%u", s->sockets[i].port);
		jw_str(&m->w, "port", text);
		snprintf(text, sizeof(text), "%u", s->sockets[i].lane);
		jw_str(&m->w, "lane", text);
		sample_value(m, (double)s->sockets[i].kernel_drops);
	}
	family_end(m);
	family(
	    m, "cygnet_data_plane_errors", "counter", "Packets that the data plane dropped, by its counter.");
	for (size_t i = 0; i < s->n_errors; i++)
		one(m, "counter", s->errors[i].name, s->errors[i].value);
	family_end(m);
}

static void write_rest(struct metrics *m, const struct sample *s)
{
	family(m, "cygnet_pool_runs", "counter", "Work done on the pool, by owner.");
	for (size_t i = 0; i < s->n_pool; i++)
		one(m, "owner", s->pool[i].owner, s->pool[i].runs);
	family_end(m);
	family(m, "cygnet_pool_seconds", "counter", "Time that it took.");
	for (size_t i = 0; i < s->n_pool; i++) {
		sample_begin(m, "owner", s->pool[i].owner);
		sample_value(m, (double)s->pool[i].ns / (double)NS_PER_S);
	}
	family_end(m);
	family(m, "cygnet_listener_missed_events", "counter", "Events that a plugin was too slow for.");
	for (size_t i = 0; i < s->n_plugins; i++)
		one(m, "plugin", s->plugins[i].name, s->plugins[i].listener.missed);
	family_end(m);
	single(m, "cygnet_data_plane_requests", "counter", "Requests to the data plane.",
	    (double)s->kernel.requests);
	single(m, "cygnet_data_plane_failures", "counter", "Those that failed.", (double)s->kernel.failures);
	single(m, "cygnet_log_lost_lines", "counter", "Lines of the log that a sink was too slow for.",
	    (double)s->log_dropped);
	single(
	    m, "cygnet_retransmissions", "counter", "Requests sent again.", (double)s->sas.retransmits_out);
	single(m, "cygnet_timeouts", "counter", "Exchanges given up: the peer did not answer.",
	    (double)s->sas.timeouts);
	single(m, "cygnet_received_messages", "counter", "Messages of IKE received.", (double)s->net.rx_ike);
	single(m, "cygnet_sent_messages", "counter", "Messages of IKE sent.", (double)s->net.tx_ike);
}

static void write_revocation_metrics(struct metrics *m, const struct sources_stats *s)
{
	single(m, "cygnet_revocation_waiting", "gauge", "IKE_SAs that wait for CRLs or OCSP responses.",
	    (double)s->waiting);
	single(m, "cygnet_revocation_cache_bytes", "gauge", "Memory of CRLs and OCSP responses.",
	    (double)s->bytes);
	family(m, "cygnet_revocation_peers", "counter", "What came of asking whether a peer was revoked.");
	one(m, "outcome", "good", s->outcome[OUTCOME_GOOD]);
	one(m, "outcome", "revoked", s->outcome[OUTCOME_REVOKED]);
	one(m, "outcome", "unknown_accepted", s->outcome[OUTCOME_ACCEPTED]);
	one(m, "outcome", "unknown_refused", s->outcome[OUTCOME_REFUSED]);
	family_end(m);
	family(m, "cygnet_fetches", "counter", "CRLs and OCSP responses that servers were asked for.");
	for (uint32_t i = 0; i < s->n_hosts; i++)
		one(m, "host", s->host[i].name, s->host[i].asked);
	family_end(m);
	family(m, "cygnet_fetches_failed", "counter", "Those that could not be had.");
	for (uint32_t i = 0; i < s->n_hosts; i++)
		one(m, "host", s->host[i].name, s->host[i].failed);
	family_end(m);
}

static void of_cpus(struct metrics *m, const struct cy_steer_cpu *cpus, size_t n, const char *name,
    const char *type, const char *help, size_t at)
{
	char text[16];
	uint64_t v;

	family(m, name, type, help);
	for (size_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%u", cpus[i].cpu);
		memcpy(&v, (const uint8_t *)&cpus[i] + at, sizeof(v));
		one(m, "cpu", text, v);
	}
	family_end(m);
}

static void write_steering(struct metrics *m, const struct daemon *d)
{
	struct cy_steer_cpu *cpus;
	struct cy_steer_stats s;
	size_t n;

	if (!steering_stats(d, &s))
		return;
	cpus = calloc(STEERING_CPUS, sizeof(*cpus));
	n = cpus ? steering_cpus(d, cpus, STEERING_CPUS) : 0;
	single(m, "cygnet_steering_sas", "gauge", "Inbound SAs whose packets are sent to a CPU.", s.sas);
	single(m, "cygnet_steering_spread_percent", "gauge",
	    "Load of the busiest CPU in percent of the mean.", s.spread);
	single(m, "cygnet_steering_unknown_packets", "counter", "ESP of SAs that are not steered.",
	    (double)s.unknown);
	single(m, "cygnet_steering_moves", "counter", "SAs that were given to another CPU.", (double)s.moves);
	family(m, "cygnet_steering_moved_sas", "counter", "SAs that went over to it, by how.");
	one(m, "when", "gap", s.moved_gap);
	one(m, "when", "limit", s.moved_late);
	family_end(m);
	of_cpus(m, cpus, n, "cygnet_steering_cpu_rate", "gauge",
	    "Packets a second of a CPU's SAs, a moving average.", offsetof(struct cy_steer_cpu, rate));
	of_cpus(m, cpus, n, "cygnet_steering_cpu_sent_packets", "counter", "Packets sent to a CPU.",
	    offsetof(struct cy_steer_cpu, sent));
	of_cpus(m, cpus, n, "cygnet_steering_cpu_arrived_packets", "counter",
	    "Packets that a CPU took; the others wait, or were dropped.",
	    offsetof(struct cy_steer_cpu, arrived));
	free(cpus);
}

/* --- ESP by CPU and receive queue ------------------------------------------------------------------------------------------- */

static uint64_t field_of(const struct carried *c, size_t at)
{
	uint64_t v;

	memcpy(&v, (const uint8_t *)c + at, sizeof(v));
	return v;
}

static void directions(struct metrics *m, const char *cpu, const struct carried c[2], size_t at)
{
	for (int in = 1; in >= 0; in--) {
		sample_begin(m, "cpu", cpu);
		jw_str(&m->w, "direction", in ? "in" : "out");
		sample_value(m, (double)field_of(&c[in], at));
	}
}

/* Of all CPUs that this host has, so that none appears late or goes; then the SAs of which it is not known. */
static void esp_cpus(struct metrics *m, const struct carried_sums *s, const char *name, const char *type,
    const char *help, size_t at)
{
	const struct control *c = m->r->control;
	size_t n = c->d->tune.cpus > c->carried.n_cpus ? c->d->tune.cpus : c->carried.n_cpus;
	char text[16];

	family(m, name, type, help);
	for (size_t i = 0; i < n; i++) {
		const struct carried of[2] = {carried_of_cpu(s, i, false), carried_of_cpu(s, i, true)};

		snprintf(text, sizeof(text), "%zu", i);
		directions(m, text, of, at);
	}
	directions(m, "unknown", s->unknown, at);
	family_end(m);
}

/* Of all by which anything ever came. */
static void esp_queues(struct metrics *m, const struct carried_sums *s, const char *name, const char *type,
    const char *help, size_t at)
{
	const struct carried_sums *ever = &m->r->control->carried;
	char ifname[IF_NAMESIZE], text[16];

	family(m, name, type, help);
	for (size_t i = 0; i < ever->n_queues; i++) {
		const struct carried_queue *q = &ever->queues[i];
		struct carried of = carried_of_queue(s, q->ifindex, q->queue);

		if (!if_indextoname(q->ifindex, ifname))
			continue; /* the interface is gone */
		snprintf(text, sizeof(text), "%u", q->queue);
		sample_begin(m, "interface", ifname);
		jw_str(&m->w, "queue", text);
		sample_value(m, (double)field_of(&of, at));
	}
	family_end(m);
}

static void write_carried(struct metrics *m)
{
	const struct carried_sums *now = listed_sums(m->r), *ever = &m->r->control->carried;

	esp_cpus(m, now, "cygnet_cpu_esp_sas", "gauge", "SAs of ESP whose last packet a CPU carried.",
	    offsetof(struct carried, sas));
	esp_cpus(m, ever, "cygnet_cpu_esp_packets", "counter", "Packets of ESP that a CPU carried.",
	    offsetof(struct carried, packets));
	esp_cpus(
	    m, ever, "cygnet_cpu_esp_bytes", "counter", "Bytes of them.", offsetof(struct carried, bytes));
	esp_queues(m, now, "cygnet_queue_esp_sas", "gauge",
	    "Inbound SAs of ESP whose last packet came by a receive queue.", offsetof(struct carried, sas));
	esp_queues(m, ever, "cygnet_queue_esp_packets", "counter",
	    "Packets of ESP that came by a receive queue.", offsetof(struct carried, packets));
	esp_queues(
	    m, ever, "cygnet_queue_esp_bytes", "counter", "Bytes of them.", offsetof(struct carried, bytes));
}

/* --- the machine ---------------------------------------------------------------------------------------------------------------- */

static void machine_cpus(
    struct metrics *m, const struct machine *h, const char *name, const char *help, size_t at, double unit)
{
	char text[16];
	uint64_t v;

	family(m, name, "counter", help);
	for (size_t i = 0; i < h->n_cpus; i++) {
		snprintf(text, sizeof(text), "%u", h->cpus[i].cpu);
		memcpy(&v, (const uint8_t *)&h->cpus[i] + at, sizeof(v));
		sample_begin(m, "cpu", text);
		sample_value(m, (double)v * unit);
	}
	family_end(m);
}

/* Queues whose driver, or the kernel, counts. */
static void machine_queues(
    struct metrics *m, const struct machine *h, const char *name, const char *help, size_t at)
{
	char text[16];
	uint64_t v;

	family(m, name, "counter", help);
	for (size_t i = 0; i < h->n_queues; i++) {
		const struct machine_queue *q = &h->queues[i];

		if (!q->has_counters || !q->rx)
			continue;
		snprintf(text, sizeof(text), "%u", q->index);
		memcpy(&v, (const uint8_t *)q + at, sizeof(v));
		sample_begin(m, "interface", q->ifname);
		jw_str(&m->w, "queue", text);
		sample_value(m, (double)v);
	}
	family_end(m);
}

static void machine_queue_labels(struct metrics *m, const struct machine *h)
{
	char text[16];

	family(m, "cygnet_queue", "info", "Where interrupts of a queue may go; RPS or XPS.");
	for (size_t i = 0; i < h->n_queues; i++) {
		const struct machine_queue *q = &h->queues[i];

		sample_begin(m, "interface", q->ifname);
		snprintf(text, sizeof(text), "%u", q->index);
		jw_str(&m->w, "queue", text);
		jw_str(&m->w, "direction", q->rx ? "in" : "out");
		jw_str(&m->w, q->rx ? "rps" : "xps", q->steering);
		if (q->irq >= 0) {
			snprintf(text, sizeof(text), "%d", q->irq);
			jw_str(&m->w, "irq", text);
			jw_str(&m->w, "irq_affinity", q->irq_cpus);
		}
		sample_value(m, 1);
	}
	family_end(m);
}

static void write_machine(struct metrics *m, const struct daemon *d)
{
	struct machine *h = machine_read("", d->env->simulated ? NULL : &machine_ethtool);

	if (!h)
		return;
	machine_cpus(m, h, "cygnet_cpu_softirq_seconds", "Time of a CPU in softirqs.",
	    offsetof(struct machine_cpu, softirq), 1.0 / (double)sysconf(_SC_CLK_TCK));
	machine_cpus(m, h, "cygnet_cpu_received_packets", "Packets that the kernel took up on a CPU.",
	    offsetof(struct machine_cpu, processed), 1);
	machine_cpus(m, h, "cygnet_cpu_dropped_packets",
	    "Packets for which the backlog of a CPU had no room.", offsetof(struct machine_cpu, dropped), 1);
	machine_cpus(m, h, "cygnet_cpu_squeezed", "Times that a CPU stopped receiving with packets left.",
	    offsetof(struct machine_cpu, squeezed), 1);
	machine_queues(m, h, "cygnet_queue_received_packets", "Packets of a receive queue.",
	    offsetof(struct machine_queue, packets));
	machine_queue_labels(m, h);
	machine_queues(m, h, "cygnet_queue_dropped_packets", "Packets that a receive queue dropped.",
	    offsetof(struct machine_queue, drops));
	machine_free(h);
}

static void write_metrics(struct request *r)
{
	struct metrics m = {.r = r};
	struct daemon *d = r->control->d;
	struct sample *s = sample_take(d);

	if (!s) {
		request_fail(r, "limit", "out of memory");
		return;
	}
	family(&m, "cygnet", "info", "Version of the daemon.");
	sample_begin(&m, "version", PACKAGE_VERSION);
	jw_str(&m.w, "data_plane", s->kernel.name ? s->kernel.name : "");
	sample_value(&m, 1);
	family_end(&m);
	single(
	    &m, "cygnet_start_time_seconds", "gauge", "When it started, Unix time.", (double)d->started_wall);
	single(&m, "cygnet_ike_sas", "gauge", "IKE_SAs.", (double)s->sas.ike_sas);
	single(&m, "cygnet_ike_sas_up", "gauge", "IKE_SAs that are established.", (double)s->sas.up);
	single(
	    &m, "cygnet_ike_sas_half_open", "gauge", "IKE_SAs that peers began.", (double)s->sas.half_open);
	single(&m, "cygnet_child_sas", "gauge", "CHILD_SAs.", (double)s->sas.child_sas);
	write_workers(&m, s);
	write_drops(&m, s);
	write_revocation_metrics(&m, &s->revocation);
	write_rest(&m, s);
	write_steering(&m, d);
	write_carried(&m);
	write_machine(&m, d);
	write_totals(&m);
	sample_free(s);
	request_send_all(r, &m.w);
}

void cmd_metrics(struct request *r)
{
	if (read_sas(r, write_metrics))
		request_fail(r, "limit", "out of memory");
}
