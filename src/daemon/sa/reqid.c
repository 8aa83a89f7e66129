/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has which reqid. CHILD_SAs of one peer for the same traffic share one, also when they belong to different IKE_SAs, as they do where both
 * ends began at once: each end may then send on another one, and the data plane takes what arrives only if it has the reqid of the
 * policy, of which there is one. Others must not share it, or who has one could send in the name of the other.
 */
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

struct reqid {
	struct hnode node;
	uint32_t number, users;
};

static uint64_t text_hash(const struct sa_manager *m, uint64_t h, const char *text)
{
	return h * 31 ^ siphash24(m->map_key, text, strlen(text));
}

static uint64_t what_for(const struct sa_manager *m, const struct child_sa *c)
{
	const uint32_t ids[] = {c->mark_in.value, c->mark_in.mask, c->mark_out.value, c->mark_out.mask,
	    c->if_id_in, c->if_id_out};
	uint64_t h = ident_hash(m->map_key, &c->sa->my_id) * 31 ^ ident_hash(m->map_key, &c->sa->peer_id);
	char text[TS_STR_MAX];

	h = h * 31 ^ addr_hash(m->map_key, &c->sa->remote, true);
	h = h * 31 ^ siphash24(m->map_key, ids, sizeof(ids));
	h = text_hash(m, h, c->conn->name);
	for (uint32_t i = 0; i < c->n_ts_local; i++)
		h = text_hash(m, h, ts_str(&c->ts_local[i], text));
	h = text_hash(m, h, "===");
	for (uint32_t i = 0; i < c->n_ts_remote; i++)
		h = text_hash(m, h, ts_str(&c->ts_remote[i], text));
	return h;
}

static uint32_t fresh(struct sa_manager *m, const struct child_sa *c)
{
	return c->reqid      ? c->reqid
	    : c->conn->reqid ? c->conn->reqid
	                     : __atomic_add_fetch(&m->next_reqid, 1, __ATOMIC_RELAXED);
}

void reqid_hold(struct child_sa *c)
{
	struct sa_manager *m = c->shard->m;
	struct hnode *n;
	uint64_t hash;

	if (c->shared_reqid)
		return;
	if (c->per_cpu) { /* a group has its own */
		c->reqid = fresh(m, c);
		return;
	}
	hash = what_for(m, c);
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

	if (!r)
		return;
	c->shared_reqid = NULL;
	pthread_mutex_lock(&m->reqids_lock);
	if (--r->users == 0)
		hmap_del(&m->reqids, &r->node);
	else
		r = NULL;
	pthread_mutex_unlock(&m->reqids_lock);
	free(r);
}
