/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trap policies (auto=route/ondemand): policies without an SA, whose acquire brings up the connection; and those of type=passthrough
 * and type=drop, which want none. A table by reqid
 * behind a mutex held for a look-up only. Any thread.
 */
#ifndef DAEMON_SA_TRAPS_H
#define DAEMON_SA_TRAPS_H

#include "daemon/core/daemon.h"
#include "libcore/conf/conn.h"

struct up_watch;

enum cy_err traps_new(struct daemon *d, struct traps **out) CY_MUST_USE;
void traps_free(struct traps *t);
enum cy_err traps_route(
    struct traps *t, struct conn *conn, char *why, size_t why_cap); /* CY_E_EXISTS: already */
/* The same, and to be told when the data plane has the policies or has refused them (then it is not routed). */
struct route_watch {
	void (*done)(struct route_watch *w, enum cy_err err,
	    const char *why); /* on a worker; once, if this returned OK */
};
enum cy_err traps_route_watched(
    struct traps *t, struct conn *conn, struct route_watch *w, char *why, size_t why_cap);
/*
 * After a reload: conn takes the place of the trap called name, whose policies go only when the new ones are there, so that no packet
 * finds none. An acquire that is being followed still is. CY_E_NOTFOUND: there is no such trap.
 */
enum cy_err traps_replace(struct traps *t, const char *name, struct conn *conn, char *why, size_t why_cap);
bool traps_has(struct traps *t, const char *name);
enum cy_err traps_unroute(struct traps *t, const char *name); /* CY_E_NOTFOUND */
/* The trap's reqid for a connection, 0 none: its CHILD_SAs use the same. */
uint32_t traps_reqid(struct traps *t, const struct conn *conn);
/* An acquire came: the connection to bring up (a reference), or NULL when unknown or under way already. */
struct conn *traps_acquire(struct traps *t, uint32_t reqid);
struct up_watch *traps_watch(struct traps *t, uint32_t reqid);
void traps_list(struct traps *t,
    void (*cb)(void *user, const struct conn *conn, uint32_t reqid, uint64_t acquires), void *user);

#endif
