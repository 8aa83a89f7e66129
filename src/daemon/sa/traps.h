/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trap policies (auto=route/ondemand): policies without an SA, whose acquire brings up the connection. A table by reqid
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
enum cy_err traps_unroute(struct traps *t, const char *name);       /* CY_E_NOTFOUND */
/* The trap's reqid for a connection, 0 none: its CHILD_SAs use the same. */
uint32_t traps_reqid(struct traps *t, const struct conn *conn);
/* An acquire came: the connection to bring up (a reference), or NULL when unknown or under way already. */
struct conn *traps_acquire(struct traps *t, uint32_t reqid);
struct up_watch *traps_watch(struct traps *t, uint32_t reqid);
void traps_list(struct traps *t,
    void (*cb)(void *user, const struct conn *conn, uint32_t reqid, uint64_t acquires), void *user);

#endif
