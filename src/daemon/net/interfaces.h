/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which interfaces IKE uses: interfaces_use and interfaces_ignore of cygnet.conf. Made at start; what was found out of an interface
 * is kept, so that a datagram costs one look into a table. Any thread.
 */
#ifndef DAEMON_NET_INTERFACES_H
#define DAEMON_NET_INTERFACES_H

#include <cygnet/types.h>

struct interfaces;

/* Both are names separated by blanks or commas. *out is NULL when neither names one: all are used. */
enum cy_err interfaces_new(const char *use, const char *ignore, struct interfaces **out) CY_MUST_USE;
void interfaces_free(struct interfaces *i);
/* i may be NULL. */
bool interfaces_has_name(const struct interfaces *i, const char *name);
bool interfaces_has_index(struct interfaces *i, uint32_t ifindex); /* 0, unknown: yes */
/* Is the address on one that is used? Asks the system: not for workers. */
bool interfaces_has_addr(const struct interfaces *i, const struct cy_addr *addr);
/* Names may have changed. */
void interfaces_forget(struct interfaces *i);

#endif
