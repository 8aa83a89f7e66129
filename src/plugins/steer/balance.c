/* SPDX-License-Identifier: Apache-2.0 */

#include "balance.h"

#include <stdlib.h>

enum cy_err balance_init(
    struct balance *b, const struct balance_config *cfg, uint32_t n_cpus, uint32_t max_sas)
{
	struct balance_cpu *cpus;
	struct balance_sa *sas;

	if (!n_cpus || !max_sas)
		return CY_E_INVAL;
	cpus = calloc(n_cpus, sizeof(*cpus));
	sas = calloc(max_sas, sizeof(*sas));
	if (!cpus || !sas) {
		free(cpus);
		free(sas);
		return CY_E_NOMEM;
	}
	*b = (struct balance){.cpus = cpus, .sas = sas, .n_cpus = n_cpus, .cap = max_sas};
	balance_configure(b, cfg);
	return CY_OK;
}

void balance_fini(struct balance *b)
{
	free(b->cpus);
	free(b->sas);
	*b = (struct balance){0};
}

void balance_configure(struct balance *b, const struct balance_config *cfg)
{
	b->cfg = *cfg;
	if (b->cfg.stop_pct > b->cfg.start_pct)
		b->cfg.stop_pct = b->cfg.start_pct;
	if (!b->cfg.memory)
		b->cfg.memory = 1;
}

/* --- loads --------------------------------------------------------------------------------------------------------------- */

static void set_load(struct balance *b, struct balance_sa *s, uint64_t load)
{
	struct balance_cpu *c = &b->cpus[s->cpu];

	c->load = c->load - s->load + load;
	b->total = b->total - s->load + load;
	s->load = load;
}

static void put(struct balance *b, uint32_t sa, uint32_t cpu, uint64_t load, uint32_t n_fed)
{
	struct balance_sa *s = &b->sas[sa];

	*s = (struct balance_sa){.cpu = cpu, .used = true, .n_fed = n_fed};
	b->cpus[cpu].sas++;
	b->n_sas++;
	set_load(b, s, load);
}

uint32_t balance_place(const struct balance *b)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < b->n_cpus; i++) {
		const struct balance_cpu *c = &b->cpus[i], *than = &b->cpus[best];

		if (c->load < than->load || (c->load == than->load && c->sas < than->sas))
			best = i;
	}
	return best;
}

void balance_add(struct balance *b, uint32_t sa, uint32_t cpu)
{
	put(b, sa, cpu, b->n_sas ? b->total / b->n_sas : 0, 0);
}

void balance_succeed(struct balance *b, uint32_t sa, uint32_t before)
{
	struct balance_sa *old = &b->sas[before];
	uint64_t load = old->load;

	set_load(b, old, 0);
	put(b, sa, old->cpu, load, old->n_fed);
	b->sas[sa].held = old->held;
}

void balance_remove(struct balance *b, uint32_t sa)
{
	struct balance_sa *s = &b->sas[sa];

	if (!s->used)
		return;
	set_load(b, s, 0);
	b->cpus[s->cpu].sas--;
	b->n_sas--;
	s->used = false;
}

void balance_feed(struct balance *b, uint32_t sa, uint64_t packets)
{
	struct balance_sa *s = &b->sas[sa];
	uint64_t now = packets * BALANCE_ONE, n;

	if (!s->used)
		return;
	if (s->n_fed < b->cfg.memory)
		s->n_fed++;
	n = s->n_fed; /* the plain mean until there is enough to remember */
	if (s->held)
		s->held--;
	set_load(b, s, now > s->load ? s->load + (now - s->load) / n : s->load - (s->load - now) / n);
}

/* --- moves --------------------------------------------------------------------------------------------------------------- */

/* Is the load more than pct over the mean? */
static bool over(const struct balance *b, uint64_t load, uint32_t pct)
{
	return load * b->n_cpus > b->total + b->total / 100 * pct;
}

/* The busiest CPU with something to move, -1: none is over the limit any more. */
static int32_t busiest(const struct balance *b, uint32_t pct)
{
	int32_t found = -1;

	for (uint32_t i = 0; i < b->n_cpus; i++)
		if (!b->cpus[i].stuck && over(b, b->cpus[i].load, pct) &&
		    (found < 0 || b->cpus[i].load > b->cpus[found].load))
			found = (int32_t)i;
	return found;
}

/*
 * The SA whose move leaves the busier one of the two CPUs with least; -1 when nothing is worth it. One that has half of the difference
 * makes them equal; one that has nearly all of it would only exchange their parts, and one that has next to nothing changes nothing.
 */
static int64_t choose(const struct balance *b, uint32_t from, uint32_t to)
{
	uint64_t high = b->cpus[from].load, low = b->cpus[to].load, diff = high > low ? high - low : 0;
	uint64_t least = b->total / b->n_cpus / 1000, most = diff - diff / 4, best = UINT64_MAX;
	int64_t found = -1;

	for (uint32_t i = 0; i < b->cap; i++) {
		const struct balance_sa *s = &b->sas[i];
		uint64_t after;

		if (!s->used || s->cpu != from || s->held || s->load <= least || s->load > most)
			continue;
		after = high - s->load > low + s->load ? high - s->load : low + s->load;
		if (after < best) {
			best = after;
			found = i;
		}
	}
	return found;
}

static void move(struct balance *b, uint32_t sa, uint32_t to)
{
	struct balance_sa *s = &b->sas[sa];
	uint64_t load = s->load;

	set_load(b, s, 0);
	b->cpus[s->cpu].sas--;
	s->cpu = to;
	b->cpus[to].sas++;
	set_load(b, s, load);
	s->held = b->cfg.hold;
}

/* Has it been uneven for so long that something is to be done? */
static bool begin(struct balance *b)
{
	if (b->total < b->cfg.min_rate * BALANCE_ONE || !b->total) {
		b->n_uneven = 0;
		b->active = false;
	} else if (!b->active) {
		b->n_uneven = busiest(b, b->cfg.start_pct) >= 0 ? b->n_uneven + 1 : 0;
		b->active = b->n_uneven && b->n_uneven >= b->cfg.patience;
	}
	return b->active;
}

size_t balance_decide(struct balance *b, struct balance_move *out, size_t cap)
{
	size_t n = 0;
	int32_t from;

	for (uint32_t i = 0; i < b->n_cpus; i++)
		b->cpus[i].stuck = false;
	if (!begin(b))
		return 0;
	while ((from = busiest(b, b->cfg.stop_pct)) >= 0 && n < cap && n < b->cfg.max_moves) {
		uint32_t to = balance_place(b);
		int64_t sa = choose(b, (uint32_t)from, to);

		if (sa < 0) {
			b->cpus[from].stuck = true;
			continue;
		}
		out[n++] = (struct balance_move){(uint32_t)sa, (uint32_t)from, to};
		move(b, (uint32_t)sa, to);
	}
	if (from < 0) {
		b->active = false;
		b->n_uneven = 0;
	}
	return n;
}

uint32_t balance_spread(const struct balance *b)
{
	uint64_t max = 0;

	for (uint32_t i = 0; i < b->n_cpus; i++)
		if (b->cpus[i].load > max)
			max = b->cpus[i].load;
	return b->total ? (uint32_t)(max * b->n_cpus * 100 / b->total) : 0;
}
