/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hierarchical timer wheel, one per worker, 1 ms ticks. Timers are embedded in their owner and cancelled in O(1); a
 * cancelled timer leaves nothing behind. Only the wheel's own thread may touch it.
 */
#ifndef LIBCORE_RUN_TIMER_H
#define LIBCORE_RUN_TIMER_H

#include "libcore/base/list.h"

struct timer {
	struct list node;
	uint64_t due_ns; /* 0 = not set */
	void (*fn)(struct timer *t);
};

#define WHEEL_LEVELS 6
#define WHEEL_SLOTS  64

struct wheel {
	struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
	uint64_t occupied[WHEEL_LEVELS]; /* bit per slot */
	struct list due;                 /* taken out of the slots, waiting for its fn */
	uint64_t tick;                   /* ms already processed */
	size_t n;
};

void wheel_init(struct wheel *w, uint64_t now_ns);
/* Never fires early; at most one tick late. Setting a set timer moves it. */
void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ns);
void wheel_cancel(struct wheel *w, struct timer *t); /* harmless when not set */
/* Calls fn of every timer due at now; a timer is unset before its fn runs, and fn may set or cancel any timer. */
size_t wheel_run(struct wheel *w, uint64_t now_ns);
/* wheel_run in two halves, for who wants to do something between two timers: false when none is left. */
void wheel_collect(struct wheel *w, uint64_t now_ns);
bool wheel_fire_one(struct wheel *w);
/* When must wheel_run be called next? UINT64_MAX when empty. May be early (a cascade), never late. */
uint64_t wheel_next(const struct wheel *w);
static inline bool timer_is_set(const struct timer *t)
{
	return t->due_ns != 0;
}

#endif
