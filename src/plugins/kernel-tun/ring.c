/* SPDX-License-Identifier: Apache-2.0 */

#include "ring.h"

#include <stdlib.h>

/*
 * Each slot knows whose turn it is: `n` when it is free for packet n, `n + 1` when that packet is in it. A producer
 * claims a number by moving head, fills the slot, and passes the turn on.
 */

enum cy_err ring_init(struct ring *r, size_t slots)
{
	size_t n = 2;

	while (n < slots)
		n *= 2;
	memset(r, 0, sizeof(*r));
	r->slots = aligned_alloc(64, n * ((sizeof(r->slots[0]) + 63) & ~(size_t)63));
	r->turns = calloc(n, sizeof(r->turns[0]));
	if (!r->slots || !r->turns) {
		free(r->slots);
		free(r->turns);
		r->slots = NULL;
		return CY_E_NOMEM;
	}
	for (size_t i = 0; i < n; i++)
		atomic_init(&r->turns[i], i);
	r->mask = n - 1;
	return CY_OK;
}

void ring_fini(struct ring *r)
{
	if (!r->slots)
		return;
	while (ring_peek(r, 0))
		ring_done(r, 1);
	for (size_t i = 0; i < RING_SPARES; i++)
		free(atomic_exchange_explicit(&r->spare[i], NULL, memory_order_acquire));
	free(r->slots);
	free(r->turns);
	r->slots = NULL;
}

/* One thread has it and another gives it back: free() would hand its pages to the kernel, which clears new ones for the next burst. */
static uint8_t *spare_take(struct ring *r)
{
	for (size_t i = 0; i < RING_SPARES; i++) {
		uint8_t *p = NULL;

		if (atomic_load_explicit(&r->spare[i], memory_order_relaxed))
			p = atomic_exchange_explicit(&r->spare[i], NULL, memory_order_acquire);
		if (p)
			return p;
	}
	return malloc(ESP_HEADROOM + RING_BURST_MAX + ESP_TAILROOM);
}

static void spare_give(struct ring *r, uint8_t *p)
{
	for (size_t i = 0; i < RING_SPARES; i++) {
		uint8_t *none = NULL;

		if (!atomic_load_explicit(&r->spare[i], memory_order_relaxed) &&
		    atomic_compare_exchange_strong_explicit(
		        &r->spare[i], &none, p, memory_order_release, memory_order_relaxed))
			return;
	}
	free(p);
}

static bool is_burst(uint32_t len)
{
	return len > RING_BURST && len <= RING_BURST_MAX;
}

static uint8_t *own_new(struct ring *r, uint32_t len)
{
	size_t before = atomic_fetch_add_explicit(&r->own, len, memory_order_relaxed);
	uint8_t *p = NULL;

	if (before + len <= (r->mask + 1) * RING_OWN)
		p = is_burst(len) ? spare_take(r) : malloc(ESP_HEADROOM + (size_t)len + ESP_TAILROOM);
	if (!p)
		atomic_fetch_sub_explicit(&r->own, len, memory_order_relaxed);
	return p;
}

static void own_free(struct ring *r, uint8_t *own, uint32_t len)
{
	if (!own)
		return;
	if (is_burst(len))
		spare_give(r, own);
	else
		free(own);
	atomic_fetch_sub_explicit(&r->own, len, memory_order_relaxed);
}

enum cy_err ring_put(struct ring *r, enum ring_kind kind, const struct cy_dgram *d)
{
	size_t n = atomic_load_explicit(&r->head, memory_order_relaxed);
	struct ring_slot *s;
	uint8_t *own = NULL, *room;

	if (d->len > RING_SLOT_LEN) {
		own = own_new(r, d->len);
		if (!own)
			return CY_E_LIMIT;
	}
	for (;;) {
		size_t turn;

		s = &r->slots[n & r->mask];
		turn = atomic_load_explicit(&r->turns[n & r->mask], memory_order_acquire);
		if (turn == n) {
			if (atomic_compare_exchange_weak_explicit(
			        &r->head, &n, n + 1, memory_order_relaxed, memory_order_relaxed))
				break;
		} else if ((intptr_t)(turn - n) < 0) {
			own_free(r, own, d->len);
			return CY_E_LIMIT;
		} else {
			n = atomic_load_explicit(&r->head, memory_order_relaxed);
		}
	}
	s->kind = kind;
	s->own = own;
	s->len = d->len;
	s->dgram = *d;
	room = own ? own : s->room;
	s->dgram.data = room + ESP_HEADROOM;
	memcpy(s->dgram.data, d->data, d->len);
	atomic_store_explicit(&r->turns[n & r->mask], n + 1, memory_order_release);
	return CY_OK;
}

struct ring_slot *ring_peek(struct ring *r, size_t i)
{
	size_t at = r->tail + i;
	bool there = atomic_load_explicit(&r->turns[at & r->mask], memory_order_acquire) == at + 1;

	return there ? &r->slots[at & r->mask] : NULL;
}

void ring_done(struct ring *r, size_t n)
{
	for (; n > 0; n--) {
		struct ring_slot *s = &r->slots[r->tail & r->mask];

		own_free(r, s->own, s->len);
		s->own = NULL;
		atomic_store_explicit(
		    &r->turns[r->tail & r->mask], r->tail + r->mask + 1, memory_order_release);
		r->tail++;
	}
}
