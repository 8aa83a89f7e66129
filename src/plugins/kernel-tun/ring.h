/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded ring of packets for one ESP thread: many threads put, that one takes, nobody waits. A packet, or several that
 * were received together, is copied in once and is then worked on where it lies.
 */
#ifndef KERNEL_TUN_RING_H
#define KERNEL_TUN_RING_H

#include "esp.h"

#define RING_SLOT_LEN  2048  /* longer ones get memory of their own, */
#define RING_OWN       8192  /* in all so much for each slot */
#define RING_BURST     16384 /* memory for more than that, */
#define RING_BURST_MAX 65535 /* and no more than what can be received together, is used again */
#define RING_SPARES    16

enum ring_kind { RING_ESP = 1, RING_PLAIN }; /* to unwrap; to wrap */

struct ring_slot {
	enum ring_kind kind;
	struct cy_dgram dgram; /* data, with ESP_HEADROOM before and ESP_TAILROOM after it */
	uint8_t *own;          /* memory of a long one */
	uint32_t len;          /* as it was put */
	_Alignas(16) uint8_t room[ESP_HEADROOM + RING_SLOT_LEN + ESP_TAILROOM];
};

struct ring {
	size_t mask;
	struct ring_slot *slots;               /* untouched, and so without memory, until they are needed */
	atomic_size_t *turns;                  /* of each slot */
	atomic_size_t own;                     /* bytes that slots have beyond their room */
	_Atomic(uint8_t *) spare[RING_SPARES]; /* for RING_BURST_MAX each */
	_Alignas(64) atomic_size_t head;       /* next to be put */
	_Alignas(64) size_t tail;              /* next to be taken */
};

enum cy_err ring_init(struct ring *r, size_t slots) CY_MUST_USE; /* rounded up to a power of two */
void ring_fini(struct ring *r);
/* Any thread. d->data is copied. CY_E_LIMIT: full. */
enum cy_err ring_put(struct ring *r, enum ring_kind kind, const struct cy_dgram *d) CY_MUST_USE;
/* The owner: the i-th oldest packet, or NULL; it stays valid until ring_done() of it. */
struct ring_slot *ring_peek(struct ring *r, size_t i);
void ring_done(struct ring *r, size_t n); /* the n oldest */

#endif
