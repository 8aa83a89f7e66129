/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CHILD_SAs of CPUs (RFC 9611). A group is the first CHILD_SA, which belongs to no CPU and carries what the others do not,
 * and those of CPUs with the same selectors, which share its reqid and its policies. They are made when the data plane
 * asks for one of a CPU, and rekeyed and closed each on its own. On the worker of their IKE_SA, but for percpu_on_acquire().
 */
#ifndef DAEMON_SA_PERCPU_H
#define DAEMON_SA_PERCPU_H

#include "daemon/sa/child_sa.h"

/* Does the connection want them, and can the data plane do it? */
bool percpu_wanted(const struct daemon *d, const struct conn *conn);
/*
 * The one of that group, with these selectors, that a further one is made like: the first, or when that was closed another one;
 * NULL: there is no such group. One policy admits the packets of all, so that no second group may begin beside it.
 */
struct child_sa *percpu_group(struct ike_sa *sa, const struct conn *conn, const struct child_sa *like);
/* May the group have one more? */
bool percpu_room(const struct ike_sa *sa, const struct child_sa *member);
/* A CPU of ours that has none in the group: the wanted one, or the first; -1 when all have one. */
int32_t percpu_free_cpu(const struct ike_sa *sa, const struct child_sa *member, uint32_t wanted);
/* When its turn comes, is one for that CPU (-1: the one of none) still missing? The peer may have made one meanwhile. */
bool percpu_missing(struct ike_sa *sa, const struct child_sa *member, int32_t cpu);
/* No more can be had, or again: the data plane shall stop to ask, or begin. */
void percpu_set_full(struct ike_sa *sa, const struct child_sa *member, bool full);
/* One of the group has gone. */
void percpu_gone(struct ike_sa *sa, const struct child_sa *c);
/*
 * Any thread: traffic met the policy of the CHILD_SA with that inbound SPI (cookie), and there is no SA of its CPU, or (-1) not even
 * the one of none.
 */
void percpu_on_acquire(struct daemon *d, uint64_t cookie, uint32_t reqid, int32_t cpu);

#endif
