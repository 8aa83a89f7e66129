/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of level 0 are one tick wide, those of level l 64^l ticks. A timer lies at the level of its distance; when the
 * time reaches the beginning of a slot of a higher level, what is in it moves down.
 */

#include "libcore/run/timer.h"

#include "libcore/base/env.h"

#define BITS     6
#define DISTANCE (1ull << (BITS * WHEEL_LEVELS)) /* the wheel's reach in ticks: two years */

void wheel_init(struct wheel *w, uint64_t now_ns)
{
	for (int l = 0; l < WHEEL_LEVELS; l++) {
		for (int s = 0; s < WHEEL_SLOTS; s++)
			list_init(&w->slots[l][s]);
		w->occupied[l] = 0;
	}
	list_init(&w->due);
	w->tick = now_ns / NS_PER_MS;
	w->n = 0;
}

/* Not before w->tick. At w->tick itself only while that tick is being processed. */
static void place(struct wheel *w, struct timer *t)
{
	uint64_t tick = t->due_ns / NS_PER_MS + (t->due_ns % NS_PER_MS != 0), away;
	int level = 0;
	unsigned int slot;

	if (tick < w->tick)
		tick = w->tick;
	away = tick - w->tick;
	if (away >= DISTANCE) {
		/* moved on from the furthest slot as often as it takes */
		away = DISTANCE - 1;
		tick = w->tick + away;
	}
	while (away >> (BITS * (level + 1)))
		level++;
	slot = (unsigned int)(tick >> (BITS * level)) % WHEEL_SLOTS;
	list_push(&w->slots[level][slot], &t->node);
	w->occupied[level] |= 1ull << slot;
}

/* Take it off its list; the bit of a slot goes with the last timer in it. */
static void take_off(struct wheel *w, struct timer *t)
{
	struct list *head = t->node.next == t->node.prev ? t->node.next : NULL;
	uintptr_t at = (uintptr_t)head, first = (uintptr_t)&w->slots[0][0];

	list_del(&t->node);
	if (head && at >= first && at < first + sizeof(w->slots)) {
		size_t i = (at - first) / sizeof(struct list);

		w->occupied[i / WHEEL_SLOTS] &= ~(1ull << i % WHEEL_SLOTS);
	}
	t->due_ns = 0;
	w->n--;
}

void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ns)
{
	uint64_t next_ns = (w->tick + 1) * NS_PER_MS, asked = due_ns ? due_ns : 1;

	if (timer_is_set(t))
		take_off(w, t);
	/* what is already due goes into the next tick, for the present one has been processed */
	t->due_ns = asked < next_ns ? next_ns : asked;
	place(w, t);
	t->due_ns = asked;
	w->n++;
}

void wheel_cancel(struct wheel *w, struct timer *t)
{
	if (timer_is_set(t))
		take_off(w, t);
}

/* The next tick at which a slot must be looked at; UINT64_MAX when all are empty. */
static uint64_t next_tick(const struct wheel *w)
{
	uint64_t best = UINT64_MAX;

	for (int l = 0; l < WHEEL_LEVELS; l++) {
		uint64_t pos = w->tick >> (BITS * l), bits = w->occupied[l], tick;
		unsigned int turn = (unsigned int)(pos + 1) % WHEEL_SLOTS;

		if (!bits)
			continue;
		/* bit 0: the slot after the present one */
		bits = turn ? bits >> turn | bits << (WHEEL_SLOTS - turn) : bits;
		tick = (pos + 1 + (uint64_t)__builtin_ctzll(bits)) << (BITS * l);
		if (tick < best)
			best = tick;
	}
	return best;
}

static void process_tick(struct wheel *w, uint64_t tick)
{
	unsigned int slot;

	w->tick = tick;
	for (int l = WHEEL_LEVELS - 1; l > 0; l--) {
		struct list moving, *n;

		if (tick & ((1ull << (BITS * l)) - 1))
			continue;
		slot = (unsigned int)(tick >> (BITS * l)) % WHEEL_SLOTS;
		if (!(w->occupied[l] >> slot & 1))
			continue;
		list_init(&moving);
		list_splice(&moving, &w->slots[l][slot]);
		w->occupied[l] &= ~(1ull << slot);
		while ((n = list_pop(&moving)))
			place(w, list_entry(n, struct timer, node));
	}
	slot = (unsigned int)tick % WHEEL_SLOTS;
	list_splice(&w->due, &w->slots[0][slot]);
	w->occupied[0] &= ~(1ull << slot);
}

void wheel_collect(struct wheel *w, uint64_t now_ns)
{
	uint64_t now = now_ns / NS_PER_MS, next;

	while (w->tick < now) {
		next = next_tick(w);
		if (next > now) {
			w->tick = now;
			break;
		}
		process_tick(w, next);
	}
}

bool wheel_fire_one(struct wheel *w)
{
	struct list *n = list_first(&w->due);
	struct timer *t;

	if (!n)
		return false;
	t = list_entry(n, struct timer, node);
	take_off(w, t);
	t->fn(t);
	return true;
}

size_t wheel_run(struct wheel *w, uint64_t now_ns)
{
	size_t n = 0;

	wheel_collect(w, now_ns);
	while (wheel_fire_one(w))
		n++;
	return n;
}

uint64_t wheel_next(const struct wheel *w)
{
	uint64_t tick;

	if (!list_empty(&w->due))
		return w->tick * NS_PER_MS;
	tick = next_tick(w);
	return tick > UINT64_MAX / NS_PER_MS ? UINT64_MAX : tick * NS_PER_MS;
}
