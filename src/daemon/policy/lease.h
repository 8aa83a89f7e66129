/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address pools and leases, in memory; decisions take microseconds and never wait. Persistence follows behind through the
 * lease store plugin (cy_lease_store_ops) on the blocking pool. Any thread (one short mutex; nothing is called under it).
 *
 * A lease is keyed by identity (or user) and session: the same key gets its old address back while its lease time runs, two
 * sessions of one key get two addresses.
 *
 * Which address: the one asked for when nobody has it; the key's last one; of leases that have run out the one longest ago;
 * the next never given, from the pool's lowest up; when all that is used up, the lease longest offline though its time runs
 * still, before anybody is refused. No address is in use twice, also when pools overlap.
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
/* The workers have ended, and the pool is about to. */
void leases_stop(struct leases *l);
/* What the store has not got yet is written here, on the caller's thread. With a store, leases_stop() came first, and the pool was freed. */
void leases_free(struct leases *l);
/*
 * Optional store; loads what it holds: what was in use when the daemon ended is offline now. Later, changes follow in an order
 * in which no crash leaves one address to two keys: first what an address was is dropped, then what it is saved. A store
 * that fails is tried again some seconds later.
 */
enum cy_err leases_set_store(struct leases *l, const struct cy_lease_store_ops *ops, void *plugin,
    struct pool *pool, struct worker *completion_worker);
/* Pools are made on first use from their text: "10.3.0.0/24", "10.3.0.10-10.3.0.99", "fd00::/112". The network and broadcast
   addresses of an IPv4 prefix shorter than /31 are not given out, nor is the lowest of an IPv6 prefix (the routers' anycast
   address, RFC 4291 2.6.1). "10.3.0.10/24" begins at 10.3.0.10. */
enum cy_err leases_pool_add(struct leases *l, const char *pool);
/*
 * An address of the pool for this key and session. requested (may be any, or NULL): given when free or this key's. A session
 * that has one of this pool gets the same again. CY_E_LIMIT: pool is empty. CY_E_NOTFOUND: no such pool or family.
 */
enum cy_err leases_acquire(struct leases *l, const char *pool, int family, const char *key, uint64_t session,
    const struct cy_addr *requested, struct cy_addr *out) CY_MUST_USE;
/*
 * This very address, whatever pools say: the user's own. Of another session of the same key it is taken away, which then has it no more
 * (a client that comes back before its old IKE_SA is known to be dead). CY_E_BUSY: another key has it. *out_pool: for
 * leases_release(), lives as long as l.
 */
enum cy_err leases_acquire_static(struct leases *l, const struct cy_addr *addr, const char *key,
    uint64_t session, const char **out_pool) CY_MUST_USE;
void leases_release(struct leases *l, const char *pool, const struct cy_addr *addr, uint64_t session);
/* The session is over: all that it has. */
void leases_end(struct leases *l, uint64_t session);
/* A session continues under another number (rekey, reauthentication). */
void leases_transfer(struct leases *l, uint64_t old_session, uint64_t new_session);
void leases_list(struct leases *l, void (*cb)(void *user, const struct lease_info *i), void *user);
struct lease_pool_info {
	const char *pool;
	uint64_t size, online, offline;
};
void leases_pools(struct leases *l, void (*cb)(void *user, const struct lease_pool_info *i), void *user);

#endif
