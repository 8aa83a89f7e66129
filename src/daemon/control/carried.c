/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control/carried.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/private.h"
#include "daemon/control/steering.h"
#include "daemon/kernel/knl.h"

#define CPUS_MAX   4096
#define QUEUES_MAX 1024

bool carried_place(
    const struct daemon *d, const struct cy_kernel_sa_id *id, int32_t cpu, struct cy_kernel_place *out)
{
	void *k;
	const struct cy_kernel_ops *ops = knl_ops(d->knl, &k);

	*out = (struct cy_kernel_place){.size = sizeof(*out), .lane = -1, .cpu = -1};
	if (k && CY_HAS(ops, sa_place) && ops->sa_place && !ops->sa_place(k, id, out))
		return true;
	if (id->dir == CY_DIR_IN && steering_place(d, id->spi, out))
		return true;
	out->cpu = cpu;
	return false;
}

static void add_one(struct carried *to, const struct carried *add)
{
	to->sas += add->sas;
	to->packets += add->packets;
	to->bytes += add->bytes;
}

static struct carried *cpu_sum(struct carried_sums *s, int32_t cpu, bool in)
{
	size_t n = (size_t)cpu + 1;
	void *cpus;

	if (cpu < 0 || cpu >= CPUS_MAX)
		return &s->unknown[in];
	if (n > s->n_cpus) {
		cpus = realloc(s->cpus, n * sizeof(*s->cpus));
		if (!cpus)
			return &s->unknown[in];
		s->cpus = cpus;
		memset(&s->cpus[s->n_cpus], 0, (n - s->n_cpus) * sizeof(*s->cpus));
		s->n_cpus = n;
	}
	return &s->cpus[cpu][in];
}

static struct carried_queue *find_queue(const struct carried_sums *s, uint32_t ifindex, uint32_t queue)
{
	for (size_t i = 0; i < s->n_queues; i++)
		if (s->queues[i].ifindex == ifindex && s->queues[i].queue == queue)
			return &s->queues[i];
	return NULL;
}

static struct carried *queue_sum(struct carried_sums *s, uint32_t ifindex, uint32_t queue)
{
	struct carried_queue *q = find_queue(s, ifindex, queue);

	if (q)
		return &q->c;
	q = s->n_queues < QUEUES_MAX ? realloc(s->queues, (s->n_queues + 1) * sizeof(*q)) : NULL;
	if (!q)
		return NULL;
	s->queues = q;
	q[s->n_queues] = (struct carried_queue){.ifindex = ifindex, .queue = queue};
	return &q[s->n_queues++].c;
}

void carried_add(struct carried_sums *s, bool in, const struct cy_kernel_place *at, const struct carried *add)
{
	struct carried *q = at->rx_if ? queue_sum(s, at->rx_if, at->rx_queue) : NULL;

	add_one(cpu_sum(s, at->cpu, in), add);
	if (q)
		add_one(q, add);
}

bool carried_count(const struct daemon *d, struct carried_sums *now, struct carried_sums *ever,
    const struct carried_sa *sa, struct cy_kernel_place *out_at)
{
	bool in = sa->id.dir == CY_DIR_IN;

	if (!now && !sa->new_packets)
		return false;
	(void)carried_place(d, &sa->id, sa->cpu, out_at);
	if (now)
		carried_add(now, in, out_at, &(struct carried){1, sa->packets, sa->bytes});
	carried_add(ever, in, out_at, &(struct carried){0, sa->new_packets, sa->new_bytes});
	return true;
}

uint64_t carried_packets(const struct carried_sums *s)
{
	uint64_t n = s->unknown[0].packets + s->unknown[1].packets;

	for (size_t i = 0; i < s->n_cpus; i++)
		n += s->cpus[i][0].packets + s->cpus[i][1].packets;
	return n;
}

struct carried carried_of_cpu(const struct carried_sums *s, size_t cpu, bool in)
{
	return cpu < s->n_cpus ? s->cpus[cpu][in] : (struct carried){0};
}

struct carried carried_of_queue(const struct carried_sums *s, uint32_t ifindex, uint32_t queue)
{
	const struct carried_queue *q = find_queue(s, ifindex, queue);

	return q ? q->c : (struct carried){0};
}

void carried_fini(struct carried_sums *s)
{
	free(s->cpus);
	free(s->queues);
	*s = (struct carried_sums){0};
}

/* --- text ---------------------------------------------------------------------------------------------------------------------- */

void carried_write_place(struct jw *w, bool in, const struct cy_kernel_place *at)
{
	char name[IF_NAMESIZE];
	bool queue = at->rx_if && if_indextoname(at->rx_if, name);

	if (at->cpu < 0 && at->lane < 0 && !queue)
		return;
	jw_obj(w, in ? "seen_in" : "seen_out");
	if (at->cpu >= 0)
		jw_i64(w, "cpu", at->cpu);
	if (at->lane >= 0)
		jw_i64(w, "thread", at->lane);
	if (queue) {
		jw_str(w, "interface", name);
		jw_fmt(w, "queue", "rx-%u", at->rx_queue);
	}
	jw_obj_end(w);
}

static void write_cpu(
    const struct request *r, struct jw *w, int64_t cpu, const struct carried c[2], uint64_t all)
{
	if (!c[0].sas && !c[1].sas)
		return;
	request_item(r, w, "esp_cpus");
	jw_i64(w, "cpu", cpu);
	jw_u64(w, "sas_in", c[1].sas);
	jw_u64(w, "sas_out", c[0].sas);
	jw_u64(w, "packets_in", c[1].packets);
	jw_u64(w, "bytes_in", c[1].bytes);
	jw_u64(w, "packets_out", c[0].packets);
	jw_u64(w, "bytes_out", c[0].bytes);
	jw_share(w, "share", c[0].packets + c[1].packets, all);
	request_item_end(w);
}

void carried_write(const struct request *r, struct jw *w, const struct carried_sums *s)
{
	uint64_t all = carried_packets(s), queued = 0;
	char name[IF_NAMESIZE];

	for (size_t i = 0; i < s->n_cpus; i++)
		write_cpu(r, w, (int64_t)i, s->cpus[i], all);
	write_cpu(r, w, -1, s->unknown, all);
	for (size_t i = 0; i < s->n_queues; i++)
		queued += s->queues[i].c.packets;
	for (size_t i = 0; i < s->n_queues; i++) {
		const struct carried_queue *q = &s->queues[i];

		if (!if_indextoname(q->ifindex, name))
			continue; /* the interface is gone */
		request_item(r, w, "esp_queues");
		jw_str(w, "interface", name);
		jw_fmt(w, "name", "rx-%u", q->queue);
		jw_u64(w, "sas_in", q->c.sas);
		jw_u64(w, "packets_in", q->c.packets);
		jw_u64(w, "bytes_in", q->c.bytes);
		jw_share(w, "share", q->c.packets, queued);
		request_item_end(w);
	}
}
