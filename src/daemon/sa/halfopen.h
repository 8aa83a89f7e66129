/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has IKE_SAs that are half open, as responder: how many each address has. Those whose peer has returned a cookie are counted
 * by address and port, so that a flood with forged sources counts against the address alone, and the peers behind one NAT each
 * for themselves. Of IPv6 addresses the first 64 bits count, which is what one site has.
 *
 * One table for all shards, behind a mutex that is held for a look-up only. It has as many entries as there are half-open
 * IKE_SAs at most.
 */
#ifndef DAEMON_SA_HALFOPEN_H
#define DAEMON_SA_HALFOPEN_H

#include "libcore/base/err.h"
#include "libcore/base/hmap.h"

struct half_open_table;
struct half_open_peer;

enum cy_err half_open_new(const uint64_t key[2], struct half_open_table **out) CY_MUST_USE;
void half_open_free(struct half_open_table *t);
/* Of this address (proven false), or of this address and port whose cookies came back. */
uint32_t half_open_count(struct half_open_table *t, const struct cy_addr *peer, bool proven);
/* One more; NULL without memory, which is then not counted. */
struct half_open_peer *half_open_add(struct half_open_table *t, const struct cy_addr *peer, bool proven);
void half_open_del(struct half_open_table *t, struct half_open_peer *e); /* NULL is fine */
size_t half_open_peers(struct half_open_table *t);

#endif
