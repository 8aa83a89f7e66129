/* SPDX-License-Identifier: Apache-2.0 */

#include "spd.h"

#include <stdlib.h>

static size_t index_of(uint8_t dir)
{
	return dir == CY_DIR_OUT ? 0 : 1;
}

/* ---- prefixes */

static size_t ip_len(uint8_t ip6)
{
	return ip6 ? 16 : 4;
}

/* Bits that all addresses of the range share. */
static uint8_t common_prefix(const struct cy_ts *ts)
{
	size_t bits = 0, n = ip_len(ts->family_ip6);

	for (size_t i = 0; i < n; i++) {
		uint8_t diff = ts->lo[i] ^ ts->hi[i];

		if (diff)
			return (uint8_t)(bits + (size_t)__builtin_clz(diff) - 24);
		bits += 8;
	}
	return (uint8_t)bits;
}

static uint64_t hash_prefix(uint64_t key, uint64_t h, const uint8_t *ip, uint8_t plen)
{
	uint8_t masked[16] = {0};
	uint64_t word[2];

	memcpy(masked, ip, (plen + 7u) / 8);
	if (plen % 8)
		masked[plen / 8] &= (uint8_t)(0xff00 >> (plen % 8));
	memcpy(word, masked, sizeof(word));
	return hash_mix(key, hash_mix(key, h, word[0]), word[1]);
}

static uint64_t hash_group(
    const struct spd *s, uint8_t src_plen, uint8_t dst_plen, const uint8_t *src, const uint8_t *dst)
{
	uint64_t key = s->k->hash_key;

	return hash_prefix(key, hash_prefix(key, key, src, src_plen), dst, dst_plen);
}

/* ---- life of a policy */

void held_free(struct held *h)
{
	while (h) {
		struct held *next = h->next;

		free(h);
		h = next;
	}
}

bool policy_hold(struct policy *p, const uint8_t *data, size_t len, uint32_t max)
{
	struct held *h = malloc(sizeof(*h) + len);
	bool kept;

	if (!h)
		return false;
	h->next = NULL;
	h->len = len;
	memcpy(h->data, data, len);
	pthread_spin_lock(&p->lock);
	kept = p->n_held < max;
	if (kept) {
		*p->held_last = h;
		p->held_last = &h->next;
		p->n_held++;
	}
	pthread_spin_unlock(&p->lock);
	if (!kept)
		free(h);
	return kept;
}

struct held *policy_release(struct policy *p)
{
	struct held *all;

	pthread_spin_lock(&p->lock);
	all = p->held;
	p->held = NULL;
	p->held_last = &p->held;
	p->n_held = 0;
	pthread_spin_unlock(&p->lock);
	return all;
}

static void free_policy(struct rcu_node *node)
{
	struct policy *p = container_of(node, struct policy, rcu);

	held_free(p->held);
	pthread_spin_destroy(&p->lock);
	free(p->cpu_acquired_at);
	free(p);
}

static uint32_t narrowness(const struct cy_ts *src, const struct cy_ts *dst)
{
	uint32_t n = (uint32_t)common_prefix(src) + common_prefix(dst);

	n = n * 8 + (src->proto || dst->proto ? 4 : 0);
	n += !(src->port_lo == 0 && src->port_hi == 65535);
	return n + !(dst->port_lo == 0 && dst->port_hi == 65535);
}

static enum cy_err policy_new(struct spd *s, const struct cy_kernel_policy *in, struct policy **out)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (!p)
		return CY_E_NOMEM;
	p->dir = in->dir;
	/* nothing to protect with: a block */
	p->action = in->action == CY_POLICY_PROTECT && !in->has_tmpl ? CY_POLICY_DISCARD : in->action;
	if (p->action == CY_POLICY_PROTECT) {
		p->reqid = reqid_get(s->k->sad, in->reqid);
		if (!p->reqid) {
			free(p);
			return CY_E_NOMEM;
		}
	}
	if (p->reqid && in->dir == CY_DIR_OUT && in->cpu_acquire && s->k->n_queues > 1) {
		p->cpu_acquired_at = calloc(s->k->n_queues, sizeof(p->cpu_acquired_at[0]));
		if (!p->cpu_acquired_at) {
			reqid_put(s->k->sad, p->reqid);
			free(p);
			return CY_E_NOMEM;
		}
	}
	pthread_spin_init(&p->lock, PTHREAD_PROCESS_PRIVATE);
	p->held_last = &p->held;
	p->src = in->src;
	p->dst = in->dst;
	p->src_plen = common_prefix(&in->src);
	p->dst_plen = common_prefix(&in->dst);
	p->priority = in->priority;
	p->narrow = narrowness(&in->src, &in->dst);
	p->serial = s->next_serial++;
	p->cookie = in->cookie;
	p->routed = in->want_route && in->dir == CY_DIR_OUT;
	if (in->route_src)
		p->route_src = *in->route_src;
	*out = p;
	return CY_OK;
}

/* ---- groups */

static void free_group(struct rcu_node *node)
{
	struct group *g = container_of(node, struct group, rcu);

	ptable_free(&g->policies);
	free(g);
}

static void free_groups(struct rcu_node *node)
{
	free(container_of(node, struct groups, rcu));
}

static struct groups *load_groups(const struct spd *s, uint8_t dir)
{
	return atomic_load_explicit(&((struct spd *)s)->groups[index_of(dir)], memory_order_acquire);
}

static struct group *find_group(const struct groups *gs, uint8_t ip6, uint8_t src_plen, uint8_t dst_plen)
{
	for (size_t i = 0; gs && i < gs->n; i++)
		if (gs->group[i]->ip6 == ip6 && gs->group[i]->src_plen == src_plen &&
		    gs->group[i]->dst_plen == dst_plen)
			return gs->group[i];
	return NULL;
}

static void swap_groups(struct spd *s, uint8_t dir, struct groups *gs)
{
	struct groups *old = atomic_exchange_explicit(&s->groups[index_of(dir)], gs, memory_order_acq_rel);

	if (old)
		rcu_retire(&s->k->rcu, &old->rcu, free_groups);
}

static struct group *get_group(struct spd *s, const struct policy *p)
{
	struct groups *old = load_groups(s, p->dir), *gs;
	struct group *g = find_group(old, p->src.family_ip6, p->src_plen, p->dst_plen);
	size_t n = old ? old->n : 0;

	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	gs = calloc(1, sizeof(*gs) + (n + 1) * sizeof(gs->group[0]));
	if (!g || !gs) {
		free(g);
		free(gs);
		return NULL;
	}
	g->ip6 = p->src.family_ip6;
	g->src_plen = p->src_plen;
	g->dst_plen = p->dst_plen;
	for (size_t i = 0; i < n; i++)
		gs->group[i] = old->group[i];
	gs->group[n] = g;
	gs->n = n + 1;
	swap_groups(s, p->dir, gs);
	return g;
}

/* An empty group costs every lookup a probe. Without memory for the smaller array it stays. */
static void drop_group(struct spd *s, uint8_t dir, struct group *g)
{
	struct groups *old = load_groups(s, dir), *gs = NULL;

	if (old->n > 1) {
		gs = calloc(1, sizeof(*gs) + (old->n - 1) * sizeof(gs->group[0]));
		if (!gs)
			return;
		for (size_t i = 0; i < old->n; i++)
			if (old->group[i] != g)
				gs->group[gs->n++] = old->group[i];
	}
	swap_groups(s, dir, gs);
	rcu_retire(&s->k->rcu, &g->rcu, free_group);
}

/* ---- the database */

enum cy_err spd_new(struct kernel *k, struct spd **out)
{
	struct spd *s = calloc(1, sizeof(*s));

	if (!s)
		return CY_E_NOMEM;
	s->k = k;
	atomic_init(&s->generation, 1);
	*out = s;
	return CY_OK;
}

void spd_free(struct spd *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < 2; i++)
		while (s->policies[i])
			spd_del(s, s->policies[i]);
	free(s);
}

static void invalidate_caches(struct spd *s)
{
	atomic_fetch_add_explicit(&s->generation, 1, memory_order_release);
}

static bool same_ts(const struct cy_ts *a, const struct cy_ts *b)
{
	size_t n = ip_len(a->family_ip6);

	return a->family_ip6 == b->family_ip6 && a->proto == b->proto && a->port_lo == b->port_lo &&
	    a->port_hi == b->port_hi && memcmp(a->lo, b->lo, n) == 0 && memcmp(a->hi, b->hi, n) == 0;
}

struct policy *spd_find(struct spd *s, const struct cy_kernel_policy *in)
{
	uint8_t src_plen = common_prefix(&in->src), dst_plen = common_prefix(&in->dst);
	struct group *g = find_group(load_groups(s, in->dir), in->src.family_ip6, src_plen, dst_plen);
	struct pcursor c;

	if (!g)
		return NULL;
	for (struct pnode *n =
	         ptable_first(&g->policies, hash_group(s, src_plen, dst_plen, in->src.lo, in->dst.lo), &c);
	     n; n = ptable_next(&c)) {
		struct policy *p = container_of(n, struct policy, node);

		if (same_ts(&p->src, &in->src) && same_ts(&p->dst, &in->dst))
			return p;
	}
	return NULL;
}

enum cy_err spd_add(
    struct spd *s, const struct cy_kernel_policy *in, struct policy **out_new, struct policy **out_old)
{
	struct policy *old = spd_find(s, in), *p, **list = &s->policies[index_of(in->dir)];
	enum cy_err err = policy_new(s, in, &p);

	if (err != CY_OK)
		return err;
	p->group = get_group(s, p);
	p->node.hash = hash_group(s, p->src_plen, p->dst_plen, p->src.lo, p->dst.lo);
	err = p->group ? ptable_insert(&p->group->policies, &s->k->rcu, &p->node) : CY_E_NOMEM;
	if (err != CY_OK) {
		reqid_put(s->k->sad, p->reqid);
		free_policy(&p->rcu);
		return err;
	}
	p->next = *list;
	p->at = list;
	if (p->next)
		p->next->at = &p->next;
	*list = p;
	s->k->n_per_cpu += p->cpu_acquired_at != NULL;
	if (old) {
		pthread_spin_lock(&old->lock);
		p->held = old->held;
		p->held_last = old->held ? old->held_last : &p->held;
		p->n_held = old->n_held;
		old->held = NULL;
		old->held_last = &old->held;
		old->n_held = 0;
		pthread_spin_unlock(&old->lock);
		spd_del(s, old);
	}
	invalidate_caches(s);
	*out_new = p;
	*out_old = old;
	return CY_OK;
}

void spd_del(struct spd *s, struct policy *p)
{
	ptable_remove(&p->group->policies, &p->node);
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
	if (p->group->policies.live == 0)
		drop_group(s, p->dir, p->group);
	invalidate_caches(s);
	s->k->n_per_cpu -= p->cpu_acquired_at != NULL;
	reqid_put(s->k->sad, p->reqid);
	rcu_retire(&s->k->rcu, &p->rcu, free_policy);
}

static bool better(const struct policy *a, const struct policy *b)
{
	if (!b || a->priority != b->priority)
		return !b || a->priority < b->priority;
	return a->narrow != b->narrow ? a->narrow > b->narrow : a->serial < b->serial;
}

struct policy *spd_lookup(struct spd *s, uint8_t dir, const struct flow *f)
{
	const struct groups *gs = load_groups(s, dir);
	struct policy *best = NULL;

	for (size_t i = 0; gs && i < gs->n; i++) {
		const struct group *g = gs->group[i];
		struct pcursor c;

		if (g->ip6 != f->ip6)
			continue;
		for (struct pnode *n = ptable_first(
		         &g->policies, hash_group(s, g->src_plen, g->dst_plen, f->src, f->dst), &c);
		     n; n = ptable_next(&c)) {
			struct policy *p = container_of(n, struct policy, node);

			if (flow_matches(f, &p->src, &p->dst) && better(p, best))
				best = p;
		}
	}
	return best;
}

struct policy *spd_lookup_cached(
    struct spd *s, uint8_t dir, const struct flow *f, struct flow_cache *cache, uint64_t generation)
{
	uint64_t word[sizeof(*f) / 8], h = s->k->hash_key;
	struct flow_cache_entry *e;

	_Static_assert(sizeof(*f) % 8 == 0, "a flow is hashed by words");
	memcpy(word, f, sizeof(word));
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		h = hash_mix(s->k->hash_key, h, word[i]);
	e = &cache->entry[h % FLOW_CACHE_SIZE];
	if (e->generation != generation || memcmp(&e->flow, f, sizeof(*f)) != 0) {
		e->policy = spd_lookup(s, dir, f);
		e->generation = generation;
		e->flow = *f;
	}
	return e->policy;
}
