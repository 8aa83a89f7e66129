/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters of connections and of users that only grow: rekeying, reauthentication and the end of an SA do not reset them, and
 * what a CHILD_SA carried is added when it goes at the latest. Any thread; a lock is held for a look-up.
 */
#ifndef DAEMON_SA_TOTALS_H
#define DAEMON_SA_TOTALS_H

#include "daemon/sa/child_sa.h"

enum totals_kind { TOTALS_CONN, TOTALS_USER, TOTALS_KIND_N };

struct totals_counts {
	uint64_t ike_up, ike_failed, ike_rekeys, child_up, child_rekeys;
	uint64_t bytes_in, packets_in, bytes_out, packets_out;
};

struct totals;
enum cy_err totals_new(const uint64_t key[2], struct totals **out) CY_MUST_USE;
void totals_free(struct totals *t);

/* Adds to both, the connection's and the user's. Names may be NULL. Those beyond 65536 of a kind are counted together as "". */
void totals_add(struct totals *t, const char *conn, const char *user, const struct totals_counts *add);
void totals_list(struct totals *t,
    void (*cb)(void *user, enum totals_kind kind, const char *name, const struct totals_counts *c),
    void *user);

/* What the data plane says now of one direction: kept in c, and what is new goes into the totals. c's worker. */
void totals_traffic(struct child_sa *c, bool in, const struct cy_kernel_sa_stats *st);
/* What happened to this IKE_SA. */
void totals_ike(const struct ike_sa *sa, const struct totals_counts *add);
/* Who a user is: who logged in (XAUTH), else the peer's identity. NULL: not proven yet. In out, or of the IKE_SA. */
const char *totals_user(const struct ike_sa *sa, char out[IDENT_STR_MAX]);

#endif
