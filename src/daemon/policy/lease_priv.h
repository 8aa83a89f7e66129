/* SPDX-License-Identifier: Apache-2.0 */
/* What lease.c (who has which address) and lease_store.c (what a store knows of it) share. Everything under struct leases' lock. */
#ifndef DAEMON_POLICY_LEASE_PRIV_H
#define DAEMON_POLICY_LEASE_PRIV_H

#include <pthread.h>

#include "daemon/policy/lease.h"
#include "libcore/base/hmap.h"
#include "libcore/base/list.h"

/* An identity and its leases in one pool: many sessions may share it. */
struct lease_key {
	struct hnode node;
	struct list offline; /* of leases, last gone first */
	size_t n_leases;
	char name[];
};

struct lease {
	struct hnode by_addr;    /* always */
	struct hnode by_session; /* online */
	struct list offline;     /* in the pool's list, longest ago first */
	struct list of_key;      /* offline: in the key's list */
	struct list dirty;       /* the store does not know yet */
	struct lease_pool *pool;
	struct lease_key *key;
	struct cy_addr addr;
	uint64_t session; /* 0: offline */
	int64_t since, until;
};

struct lease_pool {
	struct list node;
	struct hnode by_name;
	char *name;
	struct addr_range range;
	uint64_t size, next, online; /* next: addresses below it have been given out once */
	struct hmap keys, by_session;
	struct list offline;
	struct lease **leases; /* owned; only grows */
	size_t n_leases, cap_leases;
	bool configured;
};

/* Something the store must forget before it learns what came after. */
struct lease_drop {
	struct list node;
	char *key;
	const char *pool;
	struct cy_addr addr;
	int64_t since, until;
};

struct leases {
	struct env *env;
	struct log *log;
	uint32_t lease_time;
	unsigned refs; /* the owner, and a run on the pool */
	pthread_mutex_t lock;
	struct list pools;
	struct hmap pools_by_name;
	struct hmap by_addr; /* of all pools: no address twice */

	const struct cy_lease_store_ops *store;
	void *plugin;
	struct pool *pool;
	struct worker *worker;
	struct work work;
	bool flushing, running; /* submitted and not back yet; inside store_run */
	uint64_t retry_ns;      /* not before, after a failure */
	struct timer retry;     /* of the worker */
	struct list dirty, drops;
	size_t n_drops;
};

enum cy_err leases_pool_get(struct leases *l, const char *name, struct lease_pool **out) CY_MUST_USE;
struct lease *lease_make(
    struct leases *l, struct lease_pool *p, const struct cy_addr *a, const char *key) CY_MUST_USE;
void lease_go_offline(struct lease *e, int64_t until);
void leases_unref(struct leases *l);

void leases_store_save(struct leases *l, struct lease *e);
bool leases_store_drop(struct leases *l, const struct lease *e); /* false: no memory */
void leases_store_kick(struct leases *l);                        /* not locked */
void leases_store_finish(struct leases *l);                      /* not locked */
void drop_free(struct lease_drop *d);

#endif
