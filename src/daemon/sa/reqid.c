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

struct reqid {
	struct hnode node;
	uint32_t number, users;
};

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

/* What tells policies apart. */
static uint64_t traffic_of(const struct sa_manager *m, const struct child_sa *c)
{
	const uint32_t ids[] = {c->mark_in.value, c->mark_in.mask, c->mark_out.value, c->mark_out.mask,
	    c->if_id_in, c->if_id_out};
	uint64_t h = siphash24(m->map_key, ids, sizeof(ids));
	char text[TS_STR_MAX];

	for (uint32_t i = 0; i < c->n_ts_local; i++)
		h = text_hash(m, h, ts_str(&c->ts_local[i], text));
	h = text_hash(m, h, "===");
	for (uint32_t i = 0; i < c->n_ts_remote; i++)
		h = text_hash(m, h, ts_str(&c->ts_remote[i], text));
	return h;
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

	if (c->shared_reqid)
		return;
	(void)!child_claim(c, unused, sizeof(unused)); /* one that replaces another one of the peer */
	if (c->per_cpu) {                              /* a group has its own */
		c->reqid = fresh(m, c);
		return;
	}
	hash = owner_of(m, c);
	pthread_mutex_lock(&m->reqids_lock);
	n = hmap_first(&m->reqids, hash);
	c->shared_reqid = n ? container_of(n, struct reqid, node) : calloc(1, sizeof(*c->shared_reqid));
	if (n && !c->conn->reqid && !c->rekeys)
		c->reqid = c->shared_reqid->number;
	else
		c->reqid = fresh(m, c);
	if (!n && c->shared_reqid) {
		c->shared_reqid->number = c->reqid;
		hmap_add(&m->reqids, &c->shared_reqid->node, hash);
	}
	if (c->shared_reqid)
		c->shared_reqid->users++;
	pthread_mutex_unlock(&m->reqids_lock);
}

void reqid_release(struct child_sa *c)
{
	struct sa_manager *m = c->shard->m;
	struct reqid *r = c->shared_reqid;
	struct claim *x = c->claim;

	if (!r && !x)
		return;
	c->shared_reqid = NULL;
	c->claim = NULL;
	pthread_mutex_lock(&m->reqids_lock);
	if (r && --r->users == 0)
		hmap_del(&m->reqids, &r->node);
	else
		r = NULL;
	if (x && --x->users == 0)
		hmap_del(&m->claims, &x->node);
	else
		x = NULL;
	pthread_mutex_unlock(&m->reqids_lock);
	free(r);
	free(x);
}
