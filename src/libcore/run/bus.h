/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event bus: immutable records (cy_event, deep-copied once and counted) to any number of listeners. Each listener
 * has a bounded queue drained on its own executor; a lagging listener loses the record and its counter grows.
 * Publishing never blocks and costs one allocation however many listen; none when nobody does.
 */
#ifndef LIBCORE_RUN_BUS_H
#define LIBCORE_RUN_BUS_H

#include <cygnet/event.h>

#include "libcore/run/worker.h"

struct bus;
struct bus_listener;
struct bus_record; /* counted copy */

struct bus_listener_stats {
	const char *name; /* until it unsubscribes */
	uint64_t delivered, missed;
	uint32_t queued;
	uint64_t busy_ns, max_ns;
	uint64_t running_since_ns; /* 0 when idle: how long has the present call been running? */
};

enum cy_err bus_new(struct env *env, struct bus **out) CY_MUST_USE;
void bus_free(struct bus *b);
/*
 * wake(user) is called (any thread) when the listener's queue becomes non-empty; then call bus_drain from there on. It
 * must not block and must not call the bus. mask: 1 << enum cy_event_kind. queue_max 0: 1024.
 */
enum cy_err bus_subscribe(struct bus *b, const char *name, uint64_t mask, uint32_t queue_max,
    void (*cb)(void *user, const struct cy_event *ev), void (*wake)(void *user), void *user,
    struct bus_listener **out);
/*
 * From any thread. wake is not called any more, cb not again; a cb that is running on another thread goes on, and its
 * bus_drain then touches nothing but what it owns. The listener is gone.
 */
void bus_unsubscribe(struct bus *b, struct bus_listener *l);
size_t bus_drain(
    struct bus_listener *l, size_t max); /* calls cb for up to max records, on the caller's thread */
bool bus_wanted(struct bus *b, enum cy_event_kind kind);
void bus_publish(struct bus *b, const struct cy_event *ev); /* any thread; fills in wall and seq */
void bus_missed(struct bus *b, enum cy_event_kind kind);    /* there was no memory to make one of it */
size_t bus_stats(struct bus *b, struct bus_listener_stats *out, size_t cap);

#endif
