/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/watch/machine.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CPUS_MAX 1024

/* --- files ---------------------------------------------------------------------------------------------------------------- */

static FILE *open_at(const char *root, const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return fopen(full, "re");
}

static bool read_text(const char *root, const char *path, char *out, size_t cap)
{
	FILE *f = open_at(root, path);
	bool ok = f && fgets(out, (int)cap, f);

	if (f)
		fclose(f);
	if (!ok)
		*out = '\0';
	out[strcspn(out, "\n")] = '\0';
	return ok;
}

static uint64_t read_u64(const char *root, const char *path)
{
	char text[64];

	return read_text(root, path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* The last part of where a link leads. */
static void read_link(const char *root, const char *path, char *out, size_t cap)
{
	char full[512], to[512];
	const char *base;
	ssize_t n;

	snprintf(full, sizeof(full), "%s%s", root, path);
	n = readlink(full, to, sizeof(to) - 1);
	to[n > 0 ? n : 0] = '\0';
	base = strrchr(to, '/');
	snprintf(out, cap, "%.*s", (int)cap - 1, base ? base + 1 : to);
}

static size_t put_range(char *out, size_t cap, size_t at, uint32_t from, uint32_t to)
{
	int n;

	if (at >= cap)
		return at;
	if (to > from)
		n = snprintf(out + at, cap - at, "%s%u-%u", at ? "," : "", from, to);
	else
		n = snprintf(out + at, cap - at, "%s%u", at ? "," : "", from);
	return n < 0 ? at : at + (size_t)n;
}

void machine_mask_list(const char *mask, char *out, size_t cap)
{
	uint32_t cpu = 0, from = 0;
	bool in = false;
	size_t at = 0;

	*out = '\0';
	for (size_t i = strlen(mask); i-- > 0;) {
		const char *digits = "0123456789abcdef", *d = strchr(digits, mask[i]);

		for (int b = 0; d && b < 4; b++, cpu++) {
			bool set = (d - digits) >> b & 1;

			if (set && !in)
				from = cpu;
			if (!set && in)
				at = put_range(out, cap, at, from, cpu - 1);
			in = set;
		}
	}
	if (in)
		(void)put_range(out, cap, at, from, cpu - 1);
}

/* --- CPUs ------------------------------------------------------------------------------------------------------------------ */

static struct machine_cpu *cpu_get(struct machine *m, uint32_t cpu)
{
	struct machine_cpu *c;

	for (size_t i = 0; i < m->n_cpus; i++)
		if (m->cpus[i].cpu == cpu)
			return &m->cpus[i];
	if (m->n_cpus == CPUS_MAX)
		return NULL;
	c = realloc(m->cpus, (m->n_cpus + 1) * sizeof(*c));
	if (!c)
		return NULL;
	m->cpus = c;
	c += m->n_cpus++;
	*c = (struct machine_cpu){.cpu = cpu};
	return c;
}

static void read_stat(struct machine *m, const char *root)
{
	unsigned long long v[8];
	char line[1024];
	unsigned int cpu;
	FILE *f = open_at(root, "/proc/stat");

	while (f && fgets(line, sizeof(line), f)) {
		struct machine_cpu *c;

		/* the sum of all is "cpu  10 ..." */
		if (line[0] == 'c' && line[3] == ' ')
			continue;
		if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &v[0], &v[1], &v[2],
		        &v[3], &v[4], &v[5], &v[6], &v[7]) != 9)
			continue;
		c = cpu_get(m, cpu);
		if (!c)
			break;
		for (int i = 0; i < 8; i++)
			c->total += v[i];
		c->idle = v[3] + v[4];
		c->softirq = v[6];
		c->steal = v[7];
	}
	if (f)
		fclose(f);
}

/* A line a CPU, hexadecimal; the 13th column is its number on kernels that have it, and then CPUs that are offline have no line. */
static void read_softnet(struct machine *m, const char *root)
{
	unsigned int v[15];
	char line[512];
	uint32_t nth = 0;
	FILE *f = open_at(root, "/proc/net/softnet_stat");

	while (f && fgets(line, sizeof(line), f)) {
		int n = sscanf(line, "%x %x %x %x %x %x %x %x %x %x %x %x %x %x %x", &v[0], &v[1], &v[2],
		    &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10], &v[11], &v[12], &v[13], &v[14]);
		struct machine_cpu *c;

		if (n < 9)
			continue;
		c = cpu_get(m, n >= 13 ? v[12] : nth);
		nth++;
		if (!c)
			break;
		c->processed = v[0];
		c->dropped = v[1];
		c->squeezed = v[2];
		c->received_rps = n >= 10 ? v[9] : 0;
	}
	if (f)
		fclose(f);
}

/* "Udp: InDatagrams NoPorts ..." and then a line of numbers. */
static void read_snmp(struct machine *m, const char *root)
{
	char names[1024], values[1024];
	FILE *f = open_at(root, "/proc/net/snmp");

	while (f && fgets(names, sizeof(names), f)) {
		char *n, *v, *sn, *sv;

		if (strncmp(names, "Udp: ", 5) != 0 || !fgets(values, sizeof(values), f))
			continue;
		n = strtok_r(names, " \n", &sn);
		v = strtok_r(values, " \n", &sv);
		for (; n && v; n = strtok_r(NULL, " \n", &sn), v = strtok_r(NULL, " \n", &sv)) {
			if (strcmp(n, "RcvbufErrors") == 0)
				m->udp_rcvbuf_errors = strtoull(v, NULL, 10);
			else if (strcmp(n, "InErrors") == 0)
				m->udp_in_errors = strtoull(v, NULL, 10);
		}
		break;
	}
	if (f)
		fclose(f);
}

/* --- interfaces and queues ----------------------------------------------------------------------------------------------------- */

static struct machine_queue *queue_get(struct machine *m, const char *ifname, bool rx, uint32_t index)
{
	struct machine_queue *q;

	for (size_t i = 0; i < m->n_queues; i++)
		if (m->queues[i].rx == rx && m->queues[i].index == index &&
		    strcmp(m->queues[i].ifname, ifname) == 0)
			return &m->queues[i];
	if (m->n_queues == MACHINE_QUEUES)
		return NULL;
	q = realloc(m->queues, (m->n_queues + 1) * sizeof(*q));
	if (!q)
		return NULL;
	m->queues = q;
	q += m->n_queues++;
	*q = (struct machine_queue){.rx = rx, .index = index, .irq = -1, .irq_cpu = -1};
	snprintf(q->ifname, sizeof(q->ifname), "%.15s", ifname);
	return q;
}

static void read_queues(struct machine *m, const char *root, struct machine_if *i)
{
	char path[512], mask[512];
	struct dirent *e;
	uint32_t index;
	DIR *d;

	snprintf(path, sizeof(path), "%s/sys/class/net/%s/queues", root, i->name);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		bool rx = strncmp(e->d_name, "rx-", 3) == 0;
		struct machine_queue *q;

		if (!rx && strncmp(e->d_name, "tx-", 3) != 0)
			continue;
		index = (uint32_t)strtoul(e->d_name + 3, NULL, 10);
		q = queue_get(m, i->name, rx, index);
		if (!q)
			break;
		if (rx)
			i->n_rx++;
		else
			i->n_tx++;
		snprintf(path, sizeof(path), "/sys/class/net/%s/queues/%.32s/%s", i->name, e->d_name,
		    rx ? "rps_cpus" : "xps_cpus");
		read_text(root, path, mask, sizeof(mask));
		machine_mask_list(mask, q->steering, sizeof(q->steering));
		if (!rx)
			continue;
		snprintf(
		    path, sizeof(path), "/sys/class/net/%s/queues/%.32s/rps_flow_cnt", i->name, e->d_name);
		q->rps_flows = (uint32_t)read_u64(root, path);
	}
	if (d)
		closedir(d);
}

static uint64_t if_counter(const char *root, const char *name, const char *counter)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", name, counter);
	return read_u64(root, path);
}

static void read_if(struct machine *m, const char *root, const char *name, const struct machine_nic_ops *nic)
{
	struct machine_if *i = &m->ifs[m->n_ifs++];
	char path[256], text[32];

	*i = (struct machine_if){.hash_esp = MACHINE_HASH_UNKNOWN, .hash_udp = MACHINE_HASH_UNKNOWN};
	snprintf(i->name, sizeof(i->name), "%.15s", name);
	snprintf(path, sizeof(path), "/sys/class/net/%s/device/driver", i->name);
	read_link(root, path, i->driver, sizeof(i->driver));
	snprintf(path, sizeof(path), "/sys/class/net/%s/device", i->name);
	read_link(root, path, i->device, sizeof(i->device));
	snprintf(path, sizeof(path), "/sys/class/net/%s/operstate", i->name);
	read_text(root, path, text, sizeof(text));
	i->up = strcmp(text, "down") != 0;
	i->rx_packets = if_counter(root, i->name, "rx_packets");
	i->rx_bytes = if_counter(root, i->name, "rx_bytes");
	i->rx_dropped = if_counter(root, i->name, "rx_dropped");
	i->rx_missed = if_counter(root, i->name, "rx_missed_errors");
	i->rx_nohandler = if_counter(root, i->name, "rx_nohandler");
	m->packets += i->rx_packets;
	read_queues(m, root, i);
	if (nic && nic->hash && i->n_rx > 1) {
		i->hash_esp = nic->hash(i->name, true);
		i->hash_udp = nic->hash(i->name, false);
	}
}

static void read_ifs(struct machine *m, const char *root, const struct machine_nic_ops *nic)
{
	char path[256];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/sys/class/net", root);
	d = opendir(path);
	while (d && m->n_ifs < MACHINE_IFS && (e = readdir(d)))
		if (e->d_name[0] != '.' && strcmp(e->d_name, "lo") != 0 && strlen(e->d_name) < 16)
			read_if(m, root, e->d_name, nic);
	if (d)
		closedir(d);
	for (size_t i = 0; nic && nic->counters && i < m->n_ifs; i++)
		if (m->ifs[i].n_rx > 1)
			nic->counters(m->ifs[i].name, m->queues, m->n_queues);
}

/* --- interrupts ------------------------------------------------------------------------------------------------------------------ */

/*
 * "eth0-rx-0", "eth0-TxRx-3", "virtio1-input.0", "mlx5_comp2@pci:0000:01:00.0": whose queue, which number. Names are the drivers'
 * own; one that is not understood belongs to no queue.
 */
static struct machine_queue *queue_of_irq(struct machine *m, const char *name)
{
	for (size_t i = 0; i < m->n_ifs; i++) {
		const struct machine_if *f = &m->ifs[i];
		size_t n = strlen(f->name), k = strlen(f->device);
		const char *rest = NULL, *digits;
		bool tx;

		if (strncmp(name, f->name, n) == 0 && (name[n] == '-' || name[n] == ':'))
			rest = name + n + 1;
		else if (k && strncmp(name, f->device, k) == 0 && name[k] == '-')
			rest = name + k + 1;
		else if (k && strncmp(name, "mlx", 3) == 0 && strstr(name, f->device))
			rest = strstr(name, "comp");
		if (!rest)
			continue;
		digits = strpbrk(rest, "0123456789");
		tx = (strstr(rest, "tx") || strstr(rest, "output")) && !strstr(rest, "rx");
		if (!digits || strstr(rest, "config"))
			return NULL;
		for (size_t q = 0; q < m->n_queues; q++)
			if (m->queues[q].rx == !tx && strcmp(m->queues[q].ifname, f->name) == 0 &&
			    m->queues[q].index == strtoul(digits, NULL, 10))
				return &m->queues[q];
	}
	return NULL;
}

/* One count a CPU, in the order of the first line, then words of which the last is the name. */
static void read_irq_line(
    struct machine *m, const char *root, char *line, const uint32_t *cpus, size_t n_cpus)
{
	char *at = line, *end, *name, path[64];
	long irq = strtol(line, &end, 10);
	uint64_t best = 0, all = 0;
	struct machine_queue *q;
	int32_t best_cpu = -1;

	if (end == line || *end != ':')
		return;
	at = end + 1;
	for (size_t i = 0; i < n_cpus; i++) {
		uint64_t n = strtoull(at, &end, 10);

		if (end == at)
			break;
		at = end;
		all += n;
		if (n > best) {
			best = n;
			best_cpu = (int32_t)cpus[i];
		}
	}
	line[strcspn(line, "\n")] = '\0';
	name = strrchr(line, ' ');
	q = name ? queue_of_irq(m, name + 1) : NULL;
	if (!q)
		return;
	q->irq = (int32_t)irq;
	q->irqs = all;
	q->irq_cpu = best_cpu;
	snprintf(path, sizeof(path), "/proc/irq/%ld/effective_affinity_list", irq);
	if (!read_text(root, path, q->irq_cpus, sizeof(q->irq_cpus)) || !*q->irq_cpus) {
		snprintf(path, sizeof(path), "/proc/irq/%ld/smp_affinity_list", irq);
		read_text(root, path, q->irq_cpus, sizeof(q->irq_cpus));
	}
}

static void read_interrupts(struct machine *m, const char *root)
{
	FILE *f = open_at(root, "/proc/interrupts");
	uint32_t cpus[CPUS_MAX];
	char *line = NULL, *at;
	size_t cap = 0, n = 0;

	if (f && getline(&line, &cap, f) > 0)
		for (at = line; (at = strstr(at, "CPU")) && n < CPUS_MAX; at += 3)
			cpus[n++] = (uint32_t)strtoul(at + 3, NULL, 10);
	while (f && getline(&line, &cap, f) > 0)
		read_irq_line(m, root, line, cpus, n);
	free(line);
	if (f)
		fclose(f);
}

/* --- together ---------------------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct machine_queue *x = a, *y = b;
	int c = strcmp(x->ifname, y->ifname);

	if (c)
		return c;
	if (x->rx != y->rx)
		return x->rx ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

struct machine *machine_read(const char *root, const struct machine_nic_ops *nic)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	read_stat(m, root);
	read_softnet(m, root);
	read_snmp(m, root);
	m->rmem_max = read_u64(root, "/proc/sys/net/core/rmem_max");
	m->netdev_max_backlog = read_u64(root, "/proc/sys/net/core/netdev_max_backlog");
	read_ifs(m, root, nic);
	read_interrupts(m, root);
	if (m->n_queues)
		qsort(m->queues, m->n_queues, sizeof(*m->queues), by_name);
	return m;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	free(m->cpus);
	free(m->queues);
	free(m);
}

static void cpus_since(struct machine *now, const struct machine *before)
{
	for (size_t i = 0; i < now->n_cpus; i++)
		for (size_t k = 0; k < before->n_cpus; k++) {
			struct machine_cpu *n = &now->cpus[i];
			const struct machine_cpu *b = &before->cpus[k];

			if (n->cpu != b->cpu)
				continue;
			/* softnet_stat has 32 bits */
			n->processed = (uint32_t)(n->processed - b->processed);
			n->dropped = (uint32_t)(n->dropped - b->dropped);
			n->squeezed = (uint32_t)(n->squeezed - b->squeezed);
			n->received_rps = (uint32_t)(n->received_rps - b->received_rps);
			n->softirq -= b->softirq;
			n->steal -= b->steal;
			n->idle -= b->idle;
			n->total -= b->total;
		}
}

void machine_since(struct machine *now, const struct machine *before)
{
	cpus_since(now, before);
	for (size_t i = 0; i < now->n_queues; i++)
		for (size_t k = 0; k < before->n_queues; k++) {
			struct machine_queue *n = &now->queues[i];
			const struct machine_queue *b = &before->queues[k];

			if (n->rx != b->rx || n->index != b->index || strcmp(n->ifname, b->ifname) != 0)
				continue;
			n->irqs -= b->irqs;
			n->packets -= b->packets;
			n->bytes -= b->bytes;
			n->drops -= b->drops;
		}
	for (size_t i = 0; i < now->n_ifs; i++)
		for (size_t k = 0; k < before->n_ifs; k++) {
			struct machine_if *n = &now->ifs[i];
			const struct machine_if *b = &before->ifs[k];

			if (strcmp(n->name, b->name) != 0)
				continue;
			n->rx_packets -= b->rx_packets;
			n->rx_bytes -= b->rx_bytes;
			n->rx_dropped -= b->rx_dropped;
			n->rx_missed -= b->rx_missed;
			n->rx_nohandler -= b->rx_nohandler;
		}
	now->packets -= before->packets;
	now->udp_rcvbuf_errors -= before->udp_rcvbuf_errors;
	now->udp_in_errors -= before->udp_in_errors;
}

/* --- what hashes --------------------------------------------------------------------------------------------------------------------- */

static const char *hash_words(uint8_t hash, const char *more)
{
	if (hash & MACHINE_HASH_UNKNOWN)
		return "the driver does not say how";
	if (hash & MACHINE_HASH_PORTS)
		return more;
	return hash & MACHINE_HASH_ADDRS ? "by addresses only" : "not at all";
}

bool machine_has_fields(const struct machine_if *i)
{
	if (i->hash_udp & MACHINE_HASH_UNKNOWN)
		return false;
	return strcmp(i->driver, "virtio_net") != 0 ||
	    (i->hash_udp | i->hash_esp) & (MACHINE_HASH_ADDRS | MACHINE_HASH_PORTS);
}

void machine_hash_text(const struct machine_if *i, char *out, size_t cap)
{
	if (i->n_rx < 2) {
		snprintf(out, cap, "one receive queue: nothing to hash; RPS can spread it");
		return;
	}
	/*
	 * The hash types of virtio-net know IP, TCP and UDP (Virtual I/O Device, 5.1.6.4.3). Without VIRTIO_NET_F_RSS there is no such
	 * hash, and the device chooses (Automatic receive steering in multiqueue mode); TAP of Linux finds the SPI of ESP, too.
	 */
	if (strcmp(i->driver, "virtio_net") == 0) {
		if (machine_has_fields(i))
			snprintf(out, cap,
			    "virtio-net cannot hash the SPI of ESP: all ESP%s comes on one queue; "
			    "UDP-encapsulated ESP is hashed %s",
			    i->hash_esp & MACHINE_HASH_ADDRS ? " between two addresses" : "",
			    hash_words(i->hash_udp, "by addresses and ports"));
		else
			snprintf(out, cap,
			    "virtio-net cannot hash the SPI of ESP: its host chooses the queue, a TAP of "
			    "Linux "
			    "by addresses and ports or SPI, many others by addresses and ports of UDP alone");
		return;
	}
	snprintf(out, cap, "ESP: %s; UDP-encapsulated ESP: %s",
	    hash_words(i->hash_esp, "by addresses and SPI"),
	    hash_words(i->hash_udp, "by addresses and ports"));
}
