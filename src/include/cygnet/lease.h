/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: where address leases are kept across restarts. The daemon's pools decide in memory and never
 * wait; a store is told afterwards, and asked once at start.
 *
 * Thread: load() on the main thread before the daemon is ready; save() and drop() on the blocking pool, one at a time.
 */
#ifndef CYGNET_LEASE_H
#define CYGNET_LEASE_H

#include <cygnet/types.h>

struct cy_lease {
	uint32_t size;
	const char *pool; /* the pool's name or range, as configured */
	const char *key;  /* identity or user the address belongs to */
	struct cy_addr addr;
	int64_t since, until; /* Unix seconds; until 0: in use */
};

struct cy_lease_store_ops {
	uint32_t size;
	const char *name;
	enum cy_err (*load)(void *plugin, void (*cb)(void *user, const struct cy_lease *l), void *user);
	enum cy_err (*save)(void *plugin, const struct cy_lease *l, size_t n);
	enum cy_err (*drop)(void *plugin, const struct cy_lease *l, size_t n);
};

#endif
