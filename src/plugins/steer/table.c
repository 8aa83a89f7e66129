/* SPDX-License-Identifier: Apache-2.0 */

#include "table.h"

#include <stdlib.h>

#define NONE       UINT32_MAX
#define MOVES_MAX  256
#define IDLE_LEAST 30 /* intervals without a packet before an SA makes room for another */

enum cy_err table_init(struct table *t, const struct table_config *cfg, const struct table_path *path,
    const uint32_t *cpus, uint32_t n_cpus, uint32_t max_sas)
{
	uint32_t n_buckets = 16;
	enum cy_err e;

	*t = (struct table){.path = *path, .cpus = cpus, .cap = max_sas};
	e = balance_init(&t->balance, &cfg->balance, n_cpus, max_sas);
	if (e)
		return e;
	while (n_buckets < max_sas)
		n_buckets *= 2;
	t->mask = n_buckets - 1;
	t->sas = calloc(max_sas, sizeof(*t->sas));
	t->buckets = malloc(n_buckets * sizeof(*t->buckets));
	if (!t->sas || !t->buckets) {
		table_fini(t);
		return CY_E_NOMEM;
	}
	memset(t->buckets, 0xff, n_buckets * sizeof(*t->buckets));
	for (uint32_t i = 0; i < max_sas; i++)
		t->sas[i].next = i + 1 < max_sas ? i + 1 : NONE;
	t->free_last = max_sas - 1;
	table_configure(t, cfg, 0);
	return CY_OK;
}

void table_fini(struct table *t)
{
	balance_fini(&t->balance);
	free(t->sas);
	free(t->buckets);
	t->sas = NULL;
	t->buckets = NULL;
}

/* Where it belongs: on its CPU, or where it comes. */
static uint32_t place_of(const struct table *t, uint32_t i)
{
	return t->cfg.watch ? STEER_STAYS : t->cpus[t->balance.sas[i].cpu];
}

/* The program in the kernel does the rest, when the SA has no packet for a while, or when the time is up. */
static void go_over(struct table *t, uint32_t i, uint64_t now_ns)
{
	struct steer_slot *slot = &t->path.slots[i];

	__atomic_store_n(&slot->last_ns, now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->deadline_ns, now_ns + t->cfg.limit_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->gap_ns, t->cfg.gap_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->want, place_of(t, i), __ATOMIC_RELEASE);
}

void table_configure(struct table *t, const struct table_config *cfg, uint64_t now_ns)
{
	bool other = t->cfg.watch != cfg->watch;

	t->cfg = *cfg;
	balance_configure(&t->balance, &cfg->balance);
	for (uint32_t i = 0; other && i < t->cap; i++)
		if (t->sas[i].used)
			go_over(t, i, now_ns);
}

/* --- by SPI ----------------------------------------------------------------------------------------------------------------- */

/* SPIs are drawn at random, but within bounds that may leave few bits of them. */
static uint32_t *bucket(const struct table *t, uint32_t spi)
{
	return &t->buckets[(spi * 0x9e3779b1u >> 7) & t->mask];
}

static uint32_t find(const struct table *t, uint32_t spi)
{
	uint32_t i = *bucket(t, spi);

	while (i != NONE && t->sas[i].spi != spi)
		i = t->sas[i].next;
	return i;
}

const struct table_sa *table_find(const struct table *t, uint32_t spi)
{
	uint32_t i = find(t, spi);

	return i == NONE ? NULL : &t->sas[i];
}

static void remove_at(struct table *t, uint32_t i)
{
	struct table_sa *s = &t->sas[i];
	uint32_t *at = bucket(t, s->spi);

	t->path.unset(t->path.path, s->spi);
	while (*at != i)
		at = &t->sas[*at].next;
	*at = s->next;
	balance_remove(&t->balance, i);
	*s = (struct table_sa){.next = NONE};
	if (t->free_first == NONE)
		t->free_first = i;
	else
		t->sas[t->free_last].next = i;
	t->free_last = i;
	t->n--;
}

bool table_remove(struct table *t, uint32_t spi)
{
	uint32_t i = find(t, spi);

	if (i == NONE)
		return false;
	remove_at(t, i);
	return true;
}

/* An SA whose end was not told (the queue of events is bounded) must not stay for ever. */
static bool make_room(struct table *t)
{
	uint32_t found = NONE;

	if (t->no_idle)
		return false;
	for (uint32_t i = 0; i < t->cap; i++)
		if (t->sas[i].used && t->sas[i].idle >= IDLE_LEAST &&
		    (found == NONE || t->sas[i].idle > t->sas[found].idle))
			found = i;
	t->no_idle = found == NONE;
	if (found == NONE)
		return false;
	remove_at(t, found);
	t->evicted++;
	return true;
}

enum cy_err table_add(struct table *t, uint32_t spi, uint32_t before)
{
	uint32_t i, cpu, next, old, *head;

	(void)table_remove(t, spi); /* its end was not told */
	if (t->free_first == NONE && !make_room(t)) {
		t->refused++;
		return CY_E_LIMIT;
	}
	i = t->free_first;
	next = t->sas[i].next;
	old = before ? find(t, before) : NONE;
	if (old == NONE)
		balance_add(&t->balance, i, balance_place(&t->balance));
	else
		balance_succeed(&t->balance, i, old);
	cpu = place_of(t, i);
	t->path.slots[i] = (struct steer_slot){.cpu = cpu, .want = cpu};
	if (t->path.set(t->path.path, spi, i) != 0) {
		balance_remove(&t->balance, i);
		t->refused++;
		return CY_E_IO;
	}
	t->free_first = next;
	head = bucket(t, spi);
	t->sas[i] = (struct table_sa){.spi = spi, .next = *head, .used = true};
	*head = i;
	t->n++;
	if (old != NONE)
		t->sas[old].replaced = true;
	return CY_OK;
}

/* --- intervals -------------------------------------------------------------------------------------------------------------- */

static void read_slot(struct table *t, uint32_t i)
{
	struct table_sa *s = &t->sas[i];
	struct steer_slot *slot = &t->path.slots[i];
	uint64_t packets = __atomic_load_n(&slot->packets, __ATOMIC_RELAXED);
	uint32_t want = slot->want, gap, late;

	/* nothing of it can be waiting anywhere */
	if (packets == s->packets && __atomic_load_n(&slot->cpu, __ATOMIC_RELAXED) != want) {
		__atomic_store_n(&slot->cpu, want, __ATOMIC_RELAXED);
		t->moved_gap++;
	}
	gap = __atomic_load_n(&slot->moved_gap, __ATOMIC_RELAXED);
	late = __atomic_load_n(&slot->moved_late, __ATOMIC_RELAXED);
	t->moved_gap += gap - s->moved_gap;
	t->moved_late += late - s->moved_late;
	s->moved_gap = gap;
	s->moved_late = late;
	s->idle = packets == s->packets ? s->idle + 1 : 0;
	balance_feed(&t->balance, i, packets - s->packets);
	s->packets = packets;
}

size_t table_tick(struct table *t, uint64_t now_ns)
{
	struct balance_move moves[MOVES_MAX];
	size_t n;

	t->no_idle = false;
	for (uint32_t i = 0; i < t->cap; i++)
		if (t->sas[i].used) {
			read_slot(t, i);
			if (t->sas[i].replaced && t->sas[i].idle >= t->cfg.end_idle)
				remove_at(t, i);
		}
	n = t->cfg.watch ? 0 : balance_decide(&t->balance, moves, MOVES_MAX);
	for (size_t i = 0; i < n; i++)
		go_over(t, moves[i].sa, now_ns);
	t->moves += n;
	return n;
}

uint32_t table_waiting(const struct table *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->cap; i++)
		if (t->sas[i].used &&
		    __atomic_load_n(&t->path.slots[i].cpu, __ATOMIC_RELAXED) != t->path.slots[i].want)
			n++;
	return n;
}
