/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First messages of IKEv1 that were answered while very many come: each is kept in place of an IKE_SA, which is some ten times as big, and
 * made into one when its peer goes on. So an honest peer has as long for that as it takes a flood to fill the memory. The oldest
 * go first, and all of them after half_open_timeout. One for each shard, used by its worker alone.
 */
#ifndef DAEMON_SA_FIRSTS_H
#define DAEMON_SA_FIRSTS_H

#include "daemon/net/net.h"
#include "libcore/base/hmap.h"
#include "libcore/base/list.h"
#include "libcore/run/worker.h"

struct firsts {
	struct hmap by_spi; /* ours */
	struct list by_age; /* the oldest first */
	size_t bytes;
	struct worker *w;
	struct timer t_old;
	uint64_t keep_ns;
};

enum cy_err firsts_init(
    struct firsts *f, struct worker *w, const uint64_t key[2], uint64_t keep_ns) CY_MUST_USE;
void firsts_fini(struct firsts *f);
/* p, which it owns from here on, was answered with this SPI of ours; all together may have max bytes. */
void firsts_keep_take(struct firsts *f, struct net_packet *p, uint64_t spi_r, size_t max);
/* The one whose peer goes on, the caller's from here on; NULL: there is none. */
struct net_packet *firsts_take(struct firsts *f, uint64_t spi_i, uint64_t spi_r, const struct cy_addr *from);
bool firsts_has(const struct firsts *f, uint64_t spi_i, uint64_t spi_r, const struct cy_addr *from);

#endif
