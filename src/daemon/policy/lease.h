/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address pools and leases, in memory; decisions take microseconds and never wait. Persistence follows behind through the
 * lease store plugin (cy_lease_store_ops) on the blocking pool. Any thread (a short mutex per pool; nothing is called under it).
 *
 * A lease is keyed by identity (or user) and session: the same key gets its old address back while its lease time runs, two
 * sessions of one key get two addresses.
 */
#ifndef DAEMON_POLICY_LEASE_H
#define DAEMON_POLICY_LEASE_H

#include "libcore/base/addr.h"
#include "libcore/base/env.h"
#include "libcore/base/log.h"
#include "libcore/run/pool.h"
#include <cygnet/lease.h>

struct leases;
struct lease_info {
	const char *pool, *key;
	struct cy_addr addr;
	uint64_t session; /* 0: offline */
	int64_t since, until;
};
enum cy_err leases_new(
    struct env *env, struct log *log, uint32_t lease_time_s, struct leases **out) CY_MUST_USE;
void leases_free(struct leases *l);
/* Optional store; loads what it holds. */
enum cy_err leases_set_store(struct leases *l, const struct cy_lease_store_ops *ops, void *plugin,
    struct pool *pool, struct worker *completion_worker);
/* Pools are made on first use from their text: "10.3.0.0/24", "10.3.0.10-10.3.0.99", "fd00::/112". The network and broadcast
   addresses of an IPv4 prefix shorter than /31 are not given out. */
enum cy_err leases_pool_add(struct leases *l, const char *pool);
/*
 * An address of the pool for this key and session. requested (may be any): given when free or this key's. CY_E_LIMIT: pool is empty.
 * CY_E_NOTFOUND: no such pool or family.
 */
enum cy_err leases_acquire(struct leases *l, const char *pool, int family, const char *key, uint64_t session,
    const struct cy_addr *requested, struct cy_addr *out) CY_MUST_USE;
void leases_release(struct leases *l, const char *pool, const struct cy_addr *addr, uint64_t session);
/* A session continues under another number (rekey, reauthentication). */
void leases_transfer(struct leases *l, uint64_t old_session, uint64_t new_session);
void leases_list(struct leases *l, void (*cb)(void *user, const struct lease_info *i), void *user);
struct lease_pool_info {
	const char *pool;
	uint64_t size, online, offline;
};
void leases_pools(struct leases *l, void (*cb)(void *user, const struct lease_pool_info *i), void *user);

#endif
