/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has what traffic. CHILD_SAs of one peer for the same traffic share one, also when they belong to different IKE_SAs, as they do where both
 * ends began at once: each end may then send on another one, and the data plane takes what arrives only if it has the reqid of the
 * policy, of which there is one. Others must not share it, or who has one could send in the name of the other.
 *
 * Where peers say which addresses they have, two of them may say the same, and the younger would get what is for the older one: there
 * traffic is claimed (libreswan calls it a virtual IP that is used).
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

struct claim {
	struct hnode node;
	uint64_t peer;
	uint32_t users;
};

static uint64_t text_hash(const struct sa_manager *m, uint64_t h, const char *text)
{
	return h * 31 ^ siphash24(m->map_key, text, strlen(text));
}

static uint64_t peer_of(const struct sa_manager *m, const struct child_sa *c)
{
	uint64_t h = ident_hash(m->map_key, &c->sa->my_id) * 31 ^ ident_hash(m->map_key, &c->sa->peer_id);

	return text_hash(m, h, c->sa->user ? c->sa->user : "");
}

static uint64_t ts_hash(const struct sa_manager *m, uint64_t h, const struct cy_ts *ts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		size_t len = ts[i].family_ip6 ? 16 : 4;
		struct cy_ts t = {.family_ip6 = ts[i].family_ip6,
		    .proto = ts[i].proto,
		    .port_lo = ts[i].port_lo,
		    .port_hi = ts[i].port_hi};

		memcpy(t.lo, ts[i].lo, len);
		memcpy(t.hi, ts[i].hi, len);
		h = h * 31 ^ siphash24(m->map_key, &t, sizeof(t));
	}
	return h * 31 + n;
}

/* What tells policies apart. */
static uint64_t traffic_of(const struct sa_manager *m, const struct child_sa *c)
{
	const uint32_t ids[] = {c->mark_in.value, c->mark_in.mask, c->mark_out.value, c->mark_out.mask,
	    c->if_id_in, c->if_id_out};
	uint64_t h = siphash24(m->map_key, ids, sizeof(ids));

	h = ts_hash(m, h, c->ts_local, c->n_ts_local);
	return ts_hash(m, h, c->ts_remote, c->n_ts_remote);
}

static uint64_t owner_of(const struct sa_manager *m, const struct child_sa *c)
{
	uint64_t h = peer_of(m, c) * 31 ^ addr_hash(m->map_key, &c->sa->remote, true);

	return text_hash(m, h * 31 ^ traffic_of(m, c), c->conn->name);
}

static uint32_t fresh(struct sa_manager *m, const struct child_sa *c)
{
	return c->reqid      ? c->reqid
	    : c->conn->reqid ? c->conn->reqid
	                     : __atomic_add_fetch(&m->next_reqid, 1, __ATOMIC_RELAXED);
}

/* Peers that say themselves which addresses they have, and those of whom only that of their NAT is known. */
static bool may_clash(const struct child_sa *c)
{
	return c->conn->remote.virt || (c->mode == CY_MODE_TRANSPORT && c->sa->nat_there);
}

bool child_claim(struct child_sa *c, char *why, size_t cap)
{
	struct sa_manager *m = c->shard->m;
	uint64_t hash, peer;
	char text[TS_STR_MAX];
	struct claim *x;
	struct hnode *n;

	if (c->claim || !may_clash(c))
		return true;
	hash = traffic_of(m, c);
	peer = peer_of(m, c);
	pthread_mutex_lock(&m->reqids_lock);
	n = hmap_first(&m->claims, hash);
	x = n ? container_of(n, struct claim, node) : calloc(1, sizeof(*x));
	if (!n && x) {
		x->peer = peer;
		hmap_add(&m->claims, &x->node, hash);
	}
	if (x && x->peer == peer) {
		x->users++;
		c->claim = x;
	}
	pthread_mutex_unlock(&m->reqids_lock);
	if (!x || c->claim)
		return true;
	snprintf(why, cap,
	    "another peer has %.50s already, and would lose what is sent to it; give one of the two another "
	    "address, or connection %.40s mark=%%unique",
	    ts_str(&c->ts_remote[0], text), c->conn->name);
	return false;
}

void reqid_hold(struct child_sa *c)
{
	struct sa_manager *m = c->shard->m;
	struct hnode *n;
	uint64_t hash;
	char unused[1];

	if (c->has_owner)
		return;
	(void)!child_claim(c, unused, sizeof(unused)); /* one that replaces another one of the peer */
	if (c->per_cpu) {                              /* a group has its own */
		c->reqid = fresh(m, c);
		return;
	}
	hash = owner_of(m, c);
	pthread_mutex_lock(&m->reqids_lock);
	n = hmap_first(&m->by_owner, hash);
	if (n && !c->conn->reqid && !c->rekeys)
		c->reqid = container_of(n, struct child_sa, by_owner)->reqid;
	else
		c->reqid = fresh(m, c);
	hmap_add(&m->by_owner, &c->by_owner, hash);
	c->has_owner = true;
	pthread_mutex_unlock(&m->reqids_lock);
}

void reqid_release(struct child_sa *c)
{
	struct sa_manager *m = c->shard->m;
	struct claim *x = c->claim;

	if (!c->has_owner && !x)
		return;
	pthread_mutex_lock(&m->reqids_lock);
	if (c->has_owner)
		hmap_del(&m->by_owner, &c->by_owner);
	if (x && --x->users == 0)
		hmap_del(&m->claims, &x->node);
	else
		x = NULL;
	pthread_mutex_unlock(&m->reqids_lock);
	c->has_owner = false;
	c->claim = NULL;
	free(x);
}
