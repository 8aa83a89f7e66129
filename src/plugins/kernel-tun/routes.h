/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leads packets to the TUN device, all of it in a routing table of our own: a rule that sends every packet there
 * but those with our mark (the daemon's own), a route for each remote selector, and `throw` routes for policies that
 * let packets pass. Also virtual addresses, and questions about addresses.
 *
 * Under kernel.lock.
 */
#ifndef KERNEL_TUN_ROUTES_H
#define KERNEL_TUN_ROUTES_H

#include "rtnl.h"
#include "spd.h"

enum cy_err routes_new(struct kernel *k, struct routes **out) CY_MUST_USE;
void routes_free(struct routes *r);

/* Brings the device up; puts the rules in place, after removing what a crash left. */
enum cy_err routes_open(struct routes *r) CY_MUST_USE;
/* Removes everything but the device; rules too. */
void routes_close(struct routes *r);
/* Removes all routes and addresses. */
void routes_flush(struct routes *r);

/* Routes of a policy that wants them. A failure is logged: the policy itself is in place. */
void routes_add(struct routes *r, const struct policy *p);
void routes_del(struct routes *r, const struct policy *p);

enum cy_err routes_addr_set(
    struct routes *r, const struct cy_addr *addr, uint8_t prefix, bool on) CY_MUST_USE;
enum cy_err routes_source_for(
    struct routes *r, const struct cy_addr *dst, struct cy_addr *out_src) CY_MUST_USE;
bool routes_is_local(struct routes *r, const struct cy_addr *addr);

/* prefixes.c: the prefixes that make up a range, at most PREFIXES_MAX. */
struct prefix {
	uint8_t ip[16];
	uint8_t len;
};
#define PREFIXES_MAX 254 /* of an IPv6 range; IPv4 needs 62 */
size_t prefixes_of(const struct cy_ts *ts, struct prefix out[PREFIXES_MAX]);

#endif
