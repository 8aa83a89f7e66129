/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about the machine: receive queues and CPUs that are unevenly loaded, and packets dropped before anybody sees them. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/watch/doctor_impl.h"

#define SOFTIRQ_FULL 0.7 /* of a CPU */
#define UNEVEN       2.0 /* busiest against the mean of the others */
#define STOLEN       0.1

static double softirq_share(const struct machine_cpu *c)
{
	return c->total ? (double)c->softirq / (double)c->total : 0;
}

static const struct machine_if *busiest_if(const struct machine *m)
{
	const struct machine_if *best = NULL;

	for (size_t i = 0; i < m->n_ifs; i++)
		if (*m->ifs[i].driver && (!best || m->ifs[i].rx_packets > best->rx_packets))
			best = &m->ifs[i];
	return best;
}

/* The one of that name, else the busiest. */
static const struct machine_if *find_if(const struct machine *m, const char *name)
{
	for (size_t i = 0; i < m->n_ifs; i++)
		if (strcmp(m->ifs[i].name, name) == 0)
			return &m->ifs[i];
	return busiest_if(m);
}

static bool has_rps(const struct machine *m, const char *ifname)
{
	for (size_t i = 0; i < m->n_queues; i++)
		if (m->queues[i].rx && strcmp(m->queues[i].ifname, ifname) == 0 && *m->queues[i].steering)
			return true;
	return false;
}

/* What a hash cannot do: look at the loads. */
static void advise_steering(const struct doctor *d, struct finding *f, const char *ifname)
{
	switch (d->in->steer) {
	case STEER_NONE:
		doctor_advise(f, " The plugin steer, which is not loaded, sends each SA to a CPU by load.");
		break;
	case STEER_OFF:
		doctor_advise(f,
		    " Or let the plugin steer send each SA to a CPU by load: interfaces = %s in its section "
		    "of cygnet.conf, and a restart.",
		    ifname);
		break;
	case STEER_WATCHES:
		doctor_advise(f,
		    " Or let the plugin steer, which only watches, send each SA to a CPU by load: watch = no "
		    "in its section of cygnet.conf, and a reload.");
		break;
	case STEER_ON:
		doctor_advise(f,
		    " The plugin steer is switched on, but for other interfaces, or not for long; or one SA "
		    "is "
		    "too much: ipsec cpus.");
		break;
	}
}

/* What the load of a CPU consists of; all true where that is not known. */
struct load_kinds {
	bool clear, udp; /* ESP as it is, ESP in UDP */
	bool one, many;  /* of what is in clear: does one peer send most of it? */
};

static struct load_kinds kinds_of(const struct doctor *d, uint32_t cpu)
{
	const struct busy_sa *most = NULL;
	uint64_t clear = 0, udp = 0, lead = 0, of_most = 0;

	for (size_t i = 0; i < d->in->n_sas; i++) {
		const struct busy_sa *s = &d->in->sas[i];

		if (s->cpu >= 0 && s->cpu != (int32_t)cpu)
			continue;
		if (s->encap) {
			udp += s->packets;
			continue;
		}
		/* whoever has more than half of it is left in the end (Boyer and Moore) */
		clear += s->packets;
		if (most && strcmp(most->peer, s->peer) == 0) {
			lead += s->packets;
		} else if (s->packets > lead) {
			most = s;
			lead = s->packets - lead;
		} else {
			lead -= s->packets;
		}
	}
	if (!clear && !udp)
		return (struct load_kinds){true, true, true, true};
	for (size_t i = 0; i < d->in->n_sas; i++) {
		const struct busy_sa *s = &d->in->sas[i];

		if (most && !s->encap && (s->cpu < 0 || s->cpu == (int32_t)cpu) &&
		    strcmp(s->peer, most->peer) == 0)
			of_most += s->packets;
	}
	/* a tenth is not what makes the load */
	return (struct load_kinds){.clear = clear > udp / 10,
	    .udp = udp > clear / 10,
	    .one = clear && of_most > clear / 2,
	    .many = clear && of_most <= clear / 2};
}

/* With several queues: what makes their hash tell SAs apart. */
static void advise_hash(struct finding *f, const struct machine_if *i, const struct load_kinds *k)
{
	bool virtio = strcmp(i->driver, "virtio_net") == 0, fields = machine_has_fields(i);
	bool esp_known = !(i->hash_esp & MACHINE_HASH_UNKNOWN) && (fields || !virtio);
	bool spi = esp_known && i->hash_esp & MACHINE_HASH_PORTS;
	bool ports = fields && i->hash_udp & MACHINE_HASH_PORTS;
	char text[256];

	machine_hash_text(i, text, sizeof(text));
	doctor_advise(f, "%s: %s.", i->name, text);
	if (k->clear && !spi && esp_known && !virtio)
		doctor_advise(f,
		    " Let it hash the SPI, where the driver can: ethtool -N %s rx-flow-hash esp4 sdfn.",
		    i->name);
	/* both ends use port 4500: it adds nothing where addresses are hashed already */
	if (k->clear && k->many && !spi && !(esp_known && i->hash_esp & MACHINE_HASH_ADDRS))
		doctor_advise(f,
		    " Encapsulate ESP of many peers in UDP (forceencaps=yes), which is hashed by their "
		    "addresses.");
	if ((k->udp || (k->one && !spi)) && fields && !ports)
		doctor_advise(f,
		    " Let it hash the ports of ESP in UDP: %s%s%sethtool -N %s rx-flow-hash udp4 sdfn.",
		    virtio ? "ethtool -K " : "", virtio ? i->name : "", virtio ? " rxhash on; " : "",
		    i->name);
	if (k->clear && k->one && !spi)
		doctor_advise(f,
		    " Divide one big tunnel among CPUs that send from a port each (per-cpu-sas=encap, at "
		    "both "
		    "ends).");
	else if ((k->clear && spi) || (k->udp && (ports || !fields)))
		doctor_advise(f,
		    " A few heavy SAs may share a queue: per-CPU SAs for them (per-cpu-sas=%s)%s.",
		    k->clear && spi ? "yes" : "encap", fields ? ", or another RSS key" : "");
	doctor_advise(f, " Or set RPS.");
}

/* What spreads the load of that CPU, by what this interface can do. */
static void advise_spread(struct doctor *d, struct finding *f, uint32_t cpu, const char *ifname)
{
	const struct machine_if *i = find_if(d->in->machine, ifname);
	struct load_kinds k = kinds_of(d, cpu);

	if (!i)
		doctor_advise(f, "Spread it with RPS (/sys/class/net/IF/queues/rx-0/rps_cpus).");
	else if (i->n_rx < 2)
		doctor_advise(f,
		    "%s has one receive queue: give it one for each CPU, or %s "
		    "(/sys/class/net/%s/queues/rx-0/rps_cpus).",
		    i->name, has_rps(d->in->machine, i->name) ? "spread RPS over more CPUs" : "set RPS",
		    i->name);
	else
		advise_hash(f, i, &k);
	advise_steering(d, f, i ? i->name : "IF");
}

/* Whose SAs are on that CPU: the three busiest. Nothing where it is not known. */
static void busiest_there(const struct doctor *d, uint32_t cpu, char *out, size_t cap)
{
	const struct busy_sa *top[3] = {NULL};
	uint64_t all = 0;
	size_t at = 0;

	*out = '\0';
	for (size_t i = 0; i < d->in->n_sas; i++) {
		const struct busy_sa *s = &d->in->sas[i];

		if (s->cpu != (int32_t)cpu || !s->packets)
			continue;
		all += s->packets;
		for (size_t k = 0; k < 3; k++)
			if (!top[k] || s->packets > top[k]->packets) {
				const struct busy_sa *down = top[k];

				top[k] = s;
				s = down;
				if (!s)
					break;
			}
	}
	for (size_t k = 0; k < 3 && top[k] && at < cap; k++)
		at += (size_t)snprintf(out + at, cap - at, "%s%.40s (%.0f %%)",
		    k ? ", " : " Most of its ESP is of ", top[k]->who,
		    100.0 * (double)top[k]->packets / (double)all);
	if (at && at < cap)
		snprintf(out + at, cap - at, ".");
}

/* --- which receive queues bring it ------------------------------------------------------------------------------------------- */

/* A receive queue, with what it brought to a CPU, and of what. */
struct feed {
	const char *ifname;
	uint32_t queue;
	uint64_t packets, of;
};

#define FEEDS 64 /* that are told apart */
#define NAMED 3
#define EXTRA                                                                                                \
	4 /* a packet may be counted so often on its way through a CPU: in UDP, decrypted, from the device of its tunnel */
#define SKEW 1.2 /* what is read one after the other does not agree to the packet */

static int by_packets(const void *a, const void *b)
{
	const struct feed *x = a, *y = b;

	return x->packets < y->packets ? 1 : x->packets > y->packets ? -1 : 0;
}

/* As the plugin that only watches saw it. Once it steers, SAs are elsewhere than they came. */
static size_t feeds_seen(const struct doctor *d, uint32_t cpu, struct feed *out)
{
	size_t n = 0, k;

	if (d->in->steer != STEER_WATCHES)
		return 0;
	for (size_t i = 0; i < d->in->n_sas; i++) {
		const struct busy_sa *s = &d->in->sas[i];

		if (s->cpu != (int32_t)cpu || !*s->ifname || !s->packets)
			continue;
		for (k = 0; k < n; k++)
			if (out[k].queue == s->queue && strcmp(out[k].ifname, s->ifname) == 0)
				break;
		if (k == FEEDS)
			continue;
		if (k == n)
			out[n++] = (struct feed){.ifname = s->ifname, .queue = s->queue};
		out[k].packets += s->packets;
	}
	for (k = 0; k < n; k++)
		for (size_t i = 0; i < d->in->n_sas; i++)
			if (strcmp(d->in->sas[i].ifname, out[k].ifname) == 0)
				out[k].of += d->in->sas[i].packets;
	return n;
}

/* The only CPU that its interrupt may go to, -1: not known. With RPS the packets go on from there. */
static int64_t queue_cpu(const struct machine_queue *q)
{
	char *end;
	unsigned long cpu = strtoul(q->irq_cpus, &end, 10);

	return q->irq < 0 || end == q->irq_cpus || *end || *q->steering ? -1 : (int64_t)cpu;
}

/* What the queue received, if that is counted. */
static bool queue_packets(const struct machine *m, const struct machine_queue *q, uint64_t *out)
{
	for (size_t i = 0; i < m->n_ifs; i++)
		if (strcmp(m->ifs[i].name, q->ifname) == 0) {
			*out = m->ifs[i].n_rx == 1 && !q->has_counters ? m->ifs[i].rx_packets : q->packets;
			return q->has_counters || m->ifs[i].n_rx == 1;
		}
	return false;
}

/*
 * A queue that is polled without a pause stays on the CPU where that began, whatever the affinity of its interrupt is now. So affinities of
 * an interface are believed only where each CPU worked on as many packets as the queues received that should be there.
 */
static bool affinities_hold(const struct machine *m, const char *ifname)
{
	for (size_t c = 0; c < m->n_cpus; c++) {
		uint64_t all = 0, packets;

		for (size_t i = 0; i < m->n_queues; i++) {
			const struct machine_queue *q = &m->queues[i];

			if (q->rx && strcmp(q->ifname, ifname) == 0 &&
			    queue_cpu(q) == (int64_t)m->cpus[c].cpu && queue_packets(m, q, &packets))
				all += packets;
		}
		if ((double)all > SKEW * (double)m->cpus[c].processed + 100)
			return false;
	}
	return true;
}

static size_t feeds_by_irq(const struct doctor *d, uint32_t cpu, struct feed *out)
{
	const struct machine *m = d->in->machine;
	uint64_t packets;
	size_t n = 0;

	for (size_t i = 0; i < m->n_queues && n < FEEDS; i++) {
		const struct machine_queue *q = &m->queues[i];

		if (q->rx && queue_cpu(q) == (int64_t)cpu && queue_packets(m, q, &packets) && packets &&
		    affinities_hold(m, q->ifname))
			out[n++] = (struct feed){
			    .ifname = q->ifname,
			    .queue = q->index,
			    .packets = packets,
			    .of = find_if(m, q->ifname)->rx_packets,
			};
	}
	return n;
}

/* Do they explain what that CPU does? */
static size_t enough(const struct doctor *d, uint32_t cpu, struct feed *f, size_t n)
{
	const struct machine *m = d->in->machine;
	uint64_t all = 0, processed = 0;

	for (size_t i = 0; i < n; i++)
		all += f[i].packets;
	for (size_t i = 0; i < m->n_cpus; i++)
		if (m->cpus[i].cpu == cpu)
			processed = m->cpus[i].processed;
	qsort(f, n, sizeof(*f), by_packets);
	return all && all >= processed / EXTRA ? n : 0;
}

/* The queues that bring the load of that CPU, in words; nothing where it is not known. Returns the interface of the first, or "". */
static const char *queues_there(const struct doctor *d, uint32_t cpu, char *out, size_t cap)
{
	struct feed f[FEEDS];
	size_t n = enough(d, cpu, f, feeds_seen(d, cpu, f)), at = 0;
	const char *what = " of ESP";

	if (!n) {
		n = enough(d, cpu, f, feeds_by_irq(d, cpu, f));
		what = "";
	}
	*out = '\0';
	for (size_t i = 0; i < n && i < NAMED && at < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%s rx-%u (%.0f packets/s%s, %.0f %% of %s's)",
		    i ? ", " : " Its packets come by ", f[i].ifname, f[i].queue, doctor_rate(d, f[i].packets),
		    what, f[i].of ? 100.0 * (double)f[i].packets / (double)f[i].of : 100.0, f[i].ifname);
	if (at && at < cap)
		snprintf(out + at, cap - at, ".");
	return n ? f[0].ifname : "";
}

/* --- rules ------------------------------------------------------------------------------------------------------------------- */

static void rule_softirq(struct doctor *d)
{
	const struct machine *m = d->in->machine;
	double most = 0, all = 0, others;
	uint32_t cpu = 0;
	char who[200], queues[250];
	const char *ifname;

	for (size_t i = 0; i < m->n_cpus; i++) {
		double share = softirq_share(&m->cpus[i]);

		all += share;
		if (share > most) {
			most = share;
			cpu = m->cpus[i].cpu;
		}
	}
	if (most < SOFTIRQ_FULL)
		return;
	others = m->n_cpus > 1 ? (all - most) / (double)(m->n_cpus - 1) : most;
	busiest_there(d, cpu, who, sizeof(who));
	ifname = queues_there(d, cpu, queues, sizeof(queues));
	if (most > UNEVEN * others)
		advise_spread(d,
		    doctor_add(d, "cpu-uneven", FINDING_LIMITS, 100 * most, "% of one CPU",
		        "CPU %u alone receives packets: %.0f %% of its time goes into softirqs, %.0f %% of "
		        "that of the others, of %zu CPUs.%s%s",
		        cpu, 100 * most, 100 * others, m->n_cpus, queues, who),
		    cpu, ifname);
	else
		doctor_advise(
		    doctor_add(d, "softirq", FINDING_LIMITS, 100 * all / (double)m->n_cpus, "% of all CPUs",
		        "All CPUs are busy with receiving: %.0f %% of their time goes into softirqs.",
		        100 * all / (double)m->n_cpus),
		    "More CPUs, cheaper algorithms (ipsec listalgs --speed), or hardware offload.");
}

static void rule_backlog(struct doctor *d)
{
	const struct machine *m = d->in->machine;
	uint64_t dropped = 0, squeezed = 0, processed = 0;
	uint32_t cpu = 0;
	uint64_t most = 0;
	char queues[250];

	for (size_t i = 0; i < m->n_cpus; i++) {
		dropped += m->cpus[i].dropped;
		squeezed += m->cpus[i].squeezed;
		processed += m->cpus[i].processed;
		if (m->cpus[i].dropped > most) {
			most = m->cpus[i].dropped;
			cpu = m->cpus[i].cpu;
		}
	}
	(void)queues_there(d, cpu, queues, sizeof(queues));
	if (dropped)
		doctor_advise(
		    doctor_add(d, "backlog", FINDING_LIMITS, (double)dropped, "packets dropped",
		        "%llu packets were dropped because a CPU's backlog was full, most at CPU %u.%s",
		        (unsigned long long)dropped, cpu, queues),
		    "Raise sysctl net.core.netdev_max_backlog (now %llu), and spread the load over more "
		    "CPUs.",
		    (unsigned long long)m->netdev_max_backlog);
	if (squeezed > 100 && squeezed > processed / 1000)
		doctor_advise(doctor_add(d, "squeezed", FINDING_WARNS, (double)squeezed, "times",
		                  "The kernel stopped receiving %llu times with packets left, because its "
		                  "budget was used "
		                  "up.",
		                  (unsigned long long)squeezed),
		    "Raise sysctl net.core.netdev_budget and netdev_budget_usecs.");
}

static void rule_steal(struct doctor *d)
{
	const struct machine *m = d->in->machine;
	uint64_t steal = 0, total = 0;

	for (size_t i = 0; i < m->n_cpus; i++) {
		steal += m->cpus[i].steal;
		total += m->cpus[i].total;
	}
	if (!total || (double)steal < STOLEN * (double)total)
		return;
	doctor_advise(doctor_add(d, "stolen", FINDING_WARNS, 100.0 * (double)steal / (double)total,
	                  "% of all CPUs", "The host of this machine took %.0f %% of its CPU time away.",
	                  100.0 * (double)steal / (double)total),
	    "Other guests are busy: reserve CPUs for this one.");
}

/* The receive queue of the interface that dropped most, where that is counted. */
static void worst_queue(const struct machine *m, const char *ifname, char *out, size_t cap)
{
	const struct machine_queue *worst = NULL;

	for (size_t i = 0; i < m->n_queues; i++) {
		const struct machine_queue *q = &m->queues[i];

		if (q->rx && q->drops && strcmp(q->ifname, ifname) == 0 &&
		    (!worst || q->drops > worst->drops))
			worst = q;
	}
	*out = '\0';
	if (worst)
		snprintf(out, cap, " Most at its queue rx-%u: %llu.", worst->index,
		    (unsigned long long)worst->drops);
}

static void rule_ifs(struct doctor *d)
{
	const struct machine *m = d->in->machine;

	for (size_t i = 0; i < m->n_ifs; i++) {
		const struct machine_if *f = &m->ifs[i];
		uint64_t n = f->rx_dropped + f->rx_missed;
		char queue[64];

		/* what no protocol wanted is counted as dropped, too: LLDP and the like */
		if (doctor_rate(d, n) < 10 || n < f->rx_packets / 1000)
			continue;
		worst_queue(m, f->name, queue, sizeof(queue));
		doctor_advise(
		    doctor_add(d, "device-drops", f->rx_missed ? FINDING_LIMITS : FINDING_WARNS, (double)n,
		        "packets dropped", "%s dropped %llu packets (%llu missed by the device) of %llu.%s",
		        f->name, (unsigned long long)n, (unsigned long long)f->rx_missed,
		        (unsigned long long)f->rx_packets, queue),
		    "Larger rings (ethtool -G %s rx N), more queues, or the CPUs of its queues are busy: "
		    "ipsec cpus.",
		    f->name);
	}
}

/* A few wait at any moment; many that never arrive found the queue of their CPU full. */
static void rule_steering(struct doctor *d)
{
	uint64_t lost = d->in->steer_lost, sent = d->in->steer_sent;

	if (doctor_rate(d, lost) < 10 || lost < sent / 100)
		return;
	doctor_advise(doctor_add(d, "steer-drops", FINDING_LIMITS, (double)lost, "packets dropped",
	                  "Of %llu packets that the plugin steer sent to CPUs %llu did not arrive there: "
	                  "their queues are full.",
	                  (unsigned long long)sent, (unsigned long long)lost),
	    "Where CPUs still idle (ipsec cpus), let it use them (cpus = in its section) or give bursts more "
	    "room (queue =); where "
	    "all are busy, more CPUs or cheaper algorithms.");
}

void doctor_rule_machine(struct doctor *d)
{
	rule_steering(d);
	if (!d->in->machine)
		return;
	rule_softirq(d);
	rule_backlog(d);
	rule_steal(d);
	rule_ifs(d);
}
