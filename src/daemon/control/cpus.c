/* SPDX-License-Identifier: Apache-2.0 */
/* cpus: which CPU and which receive queue carry what, and which SAs. Control thread. */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/placed.h"
#include "daemon/control/span.h"
#include "daemon/control/steering.h"

#define SAS_DEFAULT 20

/* --- text ---------------------------------------------------------------------------------------------------------------------- */

static uint64_t per_second(uint64_t n, uint64_t ns)
{
	return ns ? (uint64_t)((double)n * (double)NS_PER_S / (double)ns) : 0;
}

/* What SAs carried in the interval. */
static void write_carried(struct jw *w, struct carried n, uint64_t of, uint64_t ns)
{
	jw_u64(w, "esp_packets_per_second", per_second(n.packets, ns));
	jw_u64(w, "esp_bytes_per_second", per_second(n.bytes, ns));
	jw_share(w, "esp_share", n.packets, of);
}

static void write_cpus(struct request *r, struct jw *w, const struct machine *m,
    const struct carried_sums *sums, uint64_t machine_ns, uint64_t ns)
{
	uint64_t processed = 0, packets = 0; /* of SAs whose CPU is known */

	for (size_t i = 0; i < m->n_cpus; i++)
		processed += m->cpus[i].processed;
	for (size_t i = 0; i < sums->n_cpus; i++)
		packets += sums->cpus[i][0].packets + sums->cpus[i][1].packets;
	for (size_t i = 0; i < m->n_cpus; i++) {
		const struct machine_cpu *p = &m->cpus[i];
		struct carried in = carried_of_cpu(sums, p->cpu, true);
		struct carried out = carried_of_cpu(sums, p->cpu, false);

		request_item(r, w, "cpus");
		jw_u64(w, "cpu", p->cpu);
		jw_u64(w, "sas_in", in.sas);
		jw_u64(w, "sas_out", out.sas);
		in.packets += out.packets;
		in.bytes += out.bytes;
		write_carried(w, in, packets, ns);
		jw_u64(w, "packets_per_second", per_second(p->processed, machine_ns));
		jw_share(w, "share", p->processed, processed);
		jw_share(w, "softirq", p->softirq, p->total);
		jw_share(w, "busy", p->total - p->idle, p->total);
		jw_u64(w, "dropped", p->dropped);
		jw_u64(w, "squeezed", p->squeezed);
		jw_u64(w, "received_rps", p->received_rps);
		request_item_end(w);
	}
}

/* SAs whose last packet came by this queue, and what all their packets were. Only where any came to the interface. */
static void write_queue_sas(
    struct jw *w, const struct machine_queue *q, const struct carried_sums *sums, uint64_t ns)
{
	uint32_t index = if_nametoindex(q->ifname);
	struct carried it = carried_of_queue(sums, index, q->index);
	uint64_t all = 0;
	bool any = false;

	for (size_t i = 0; i < sums->n_queues; i++) {
		all += sums->queues[i].c.packets;
		any |= sums->queues[i].ifindex == index;
	}
	if (!any)
		return;
	jw_u64(w, "sas_in", it.sas);
	write_carried(w, it, all, ns);
}

void write_queue(struct jw *w, const struct machine_queue *q)
{
	jw_str(w, "interface", q->ifname);
	jw_fmt(w, "name", "%s-%u", q->rx ? "rx" : "tx", q->index);
	jw_str(w, q->rx ? "rps" : "xps", q->steering);
	if (q->rx)
		jw_u64(w, "rps_flows", q->rps_flows);
	if (q->irq >= 0) {
		jw_i64(w, "irq", q->irq);
		jw_str(w, "irq_affinity", q->irq_cpus);
		jw_i64(w, "irq_cpu", q->irq_cpu);
	}
}

static void write_queues(struct request *r, struct jw *w, const struct machine *m,
    const struct carried_sums *sums, uint64_t ns, uint64_t sas_ns)
{
	char text[256];

	for (size_t i = 0; i < m->n_ifs; i++) {
		const struct machine_if *f = &m->ifs[i];

		machine_hash_text(f, text, sizeof(text));
		request_item(r, w, "interfaces");
		jw_str(w, "name", f->name);
		jw_str(w, "driver", f->driver);
		jw_bool(w, "up", f->up);
		jw_u64(w, "rx_queues", f->n_rx);
		jw_u64(w, "tx_queues", f->n_tx);
		jw_u64(w, "packets_per_second", per_second(f->rx_packets, ns));
		jw_u64(w, "bytes_per_second", per_second(f->rx_bytes, ns));
		jw_u64(w, "dropped", f->rx_dropped);
		jw_u64(w, "missed", f->rx_missed);
		jw_str(w, "hash", text);
		request_item_end(w);
	}
	for (size_t i = 0; i < m->n_queues; i++) {
		const struct machine_queue *q = &m->queues[i];

		request_item(r, w, "queues");
		write_queue(w, q);
		if (q->irq >= 0)
			jw_u64(w, "irqs_per_second", per_second(q->irqs, ns));
		if (q->rx)
			write_queue_sas(w, q, sums, sas_ns);
		if (q->has_counters) {
			jw_u64(w, "packets_per_second", per_second(q->packets, ns));
			jw_u64(w, "bytes_per_second", per_second(q->bytes, ns));
			jw_u64(w, "dropped", q->drops);
		}
		request_item_end(w);
	}
}

static void write_lanes(struct request *r, struct jw *w, struct cpus *c)
{
	struct cy_kernel_lane now[CPUS_LANES];
	size_t n = cpus_lanes(c->c, now);
	uint64_t at = env_now(c->c->d->env), ns = c->walked && at > c->begun_ns ? at - c->begun_ns : 0;
	uint64_t all = 0;

	for (size_t i = 0; i < n && i < c->n_lanes; i++) {
		now[i].packets_in -= c->lanes[i].packets_in;
		now[i].packets_out -= c->lanes[i].packets_out;
		now[i].bytes_in -= c->lanes[i].bytes_in;
		now[i].bytes_out -= c->lanes[i].bytes_out;
		now[i].drops -= c->lanes[i].drops;
		all += now[i].packets_in + now[i].packets_out;
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t in = 0, out = 0;

		for (size_t k = 0; k < c->all.n; k++)
			if (c->all.p[k].at.lane == (int32_t)now[i].index)
				(*(c->all.p[k].id.dir == CY_DIR_IN ? &in : &out))++;
		request_item(r, w, "threads");
		jw_u64(w, "thread", now[i].index);
		jw_i64(w, "cpu", now[i].cpu);
		jw_u64(w, "sas_in", in);
		jw_u64(w, "sas_out", out);
		jw_u64(w, "packets_in_per_second", per_second(now[i].packets_in, ns));
		jw_u64(w, "bytes_in_per_second", per_second(now[i].bytes_in, ns));
		jw_u64(w, "packets_out_per_second", per_second(now[i].packets_out, ns));
		jw_u64(w, "bytes_out_per_second", per_second(now[i].bytes_out, ns));
		jw_share(w, "share", now[i].packets_in + now[i].packets_out, all);
		jw_u64(w, "queued", now[i].queued);
		jw_u64(w, "queue_size", now[i].queue_size);
		jw_u64(w, "dropped", now[i].drops);
		request_item_end(w);
	}
}

static void write_steering(struct request *r, struct jw *w, const struct daemon *d)
{
	struct cy_steer_cpu *cpus = calloc(STEERING_CPUS, sizeof(*cpus));
	size_t n = cpus ? steering_cpus(d, cpus, STEERING_CPUS) : 0;

	for (size_t i = 0; i < n; i++) {
		request_item(r, w, "steering_cpus");
		steering_write_cpu(w, &cpus[i]);
		request_item_end(w);
	}
	free(cpus);
}

static int busier(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return x->packets < y->packets ? 1 : x->packets > y->packets ? -1 : 0;
}

static void write_sas(struct request *r, struct jw *w, struct cpus *c, uint64_t ns)
{
	int64_t max = request_int(r, "sas", SAS_DEFAULT);
	char name[IF_NAMESIZE];

	if (c->all.n)
		qsort(c->all.p, c->all.n, sizeof(*c->all.p), busier);
	for (size_t i = 0; i < c->all.n && (int64_t)i < max; i++) {
		const struct placed *p = &c->all.p[i];

		request_item(r, w, "sas");
		jw_str(w, "connection", p->conn);
		jw_str(w, "peer", p->peer);
		if (*p->user)
			jw_str(w, "user", p->user);
		jw_u64(w, "child_id", p->child);
		jw_str(w, "direction", p->id.dir == CY_DIR_IN ? "in" : "out");
		jw_fmt(w, "spi", "%08x", p->id.spi);
		jw_bool(w, "encap", p->encap);
		jw_i64(w, "cpu", p->at.cpu);
		jw_i64(w, "thread", p->at.lane);
		if (p->at.rx_if && if_indextoname(p->at.rx_if, name)) {
			jw_str(w, "interface", name);
			jw_fmt(w, "queue", "rx-%u", p->at.rx_queue);
		}
		if (p->times == 2) {
			jw_u64(w, "packets_per_second", per_second(p->packets, ns));
			jw_u64(w, "bytes_per_second", per_second(p->bytes, ns));
		}
		request_item_end(w);
	}
}

static void on_error(void *user, const char *name, uint64_t value)
{
	jw_u64(user, name, value);
}

static void write_head(struct request *r, struct jw *w, const struct span *s, const struct carried_sums *sums,
    const struct cpus *c, bool placed)
{
	struct sample *now = s->now;

	request_begin(r, w, "data");
	jw_obj(w, "data");
	jw_u64(w, "interval_ms", now->ns / NS_PER_MS);
	jw_str(w, "data_plane", now->kernel.name ? now->kernel.name : "");
	jw_u64(w, "sa_count", c->all.n);
	jw_u64(w, "sas_left_out", c->all.left_out);
	jw_bool(w, "sas_seen", c->walked);
	jw_bool(w, "sas_counted", c->done);
	jw_bool(w, "sa_cpus_known", placed);
	if (!placed)
		jw_str(w, "sa_cpus_how",
		    "the kernel does not tell which CPU carries an SA: packets arrive where the receive "
		    "queue's interrupt "
		    "or RPS leads (queues), and leave from the CPU that sent them, which is known of SAs of "
		    "one "
		    "CPU alone");
	jw_bool(w, "sa_queues_known", sums->n_queues != 0);
	if (c->all.n && !sums->n_queues)
		jw_str(w, "sa_queues_how",
		    "nor by which receive queue it comes: the plugin steer does, with watch = yes without "
		    "changing "
		    "anything; an outbound SA leaves by the queue of the CPU that sends (XPS)");
	steering_write_head(c->c->d, w);
	jw_obj(w, "drops");
	for (size_t i = 0; i < now->n_errors; i++)
		if (now->errors[i].value)
			on_error(w, now->errors[i].name, now->errors[i].value);
	jw_obj_end(w);
	if (s->machine) {
		jw_u64(w, "udp_receive_buffer_errors", s->machine->udp_rcvbuf_errors);
		jw_u64(w, "netdev_max_backlog", s->machine->netdev_max_backlog);
	}
	jw_arr(w, "sockets");
	for (size_t i = 0; i < now->n_sockets; i++) {
		jw_obj(w, NULL);
		jw_u64(w, "port", now->sockets[i].port);
		jw_u64(w, "lane", now->sockets[i].lane);
		jw_u64(w, "packets_per_second", per_second(now->sockets[i].rx_datagrams, now->ns));
		jw_u64(w, "bytes_per_second", per_second(now->sockets[i].rx_bytes, now->ns));
		jw_u64(w, "rx_queue", now->sockets[i].rx_queue_bytes);
		jw_u64(w, "dropped", now->sockets[i].kernel_drops);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_obj_end(w);
	request_line_end(w);
}

static void write_all(struct request *r, struct jw *w, struct span *s, void *arg)
{
	struct cpus *c = arg;
	uint64_t ns = c->again ? c->again_ns - c->begun_ns : 0;
	struct carried_sums sums = {0};
	bool placed = false;

	for (size_t i = 0; i < c->all.n; i++) {
		const struct placed *p = &c->all.p[i];

		placed |= p->told && p->at.cpu >= 0;
		carried_add(
		    &sums, p->id.dir == CY_DIR_IN, &p->at, &(struct carried){1, p->packets, p->bytes});
	}
	write_head(r, w, s, &sums, c, placed || !c->all.n);
	if (s->machine) {
		write_cpus(r, w, s->machine, &sums, s->now->ns, ns);
		write_queues(r, w, s->machine, &sums, s->now->ns, ns);
	}
	write_lanes(r, w, c);
	write_steering(r, w, c->c->d);
	write_sas(r, w, c, ns);
	carried_fini(&sums);
}

void cmd_cpus(struct request *r)
{
	static const struct span_query q = {
	    .machine = true, .fn = write_all, .ready = cpus_ready, .arg_free = cpus_unref};
	struct cpus *c;
	uint64_t ns;

	if (!request_seconds(r, 1, &ns))
		return;
	ns = ns ? ns : NS_PER_MS;
	c = cpus_begin(r->control, ns);
	if (!c) {
		request_fail(r, "limit", "out of memory");
		return;
	}
	request_span(r, ns, &q, c);
}
