/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies by selector, each with its users, newest first. The kernel holds the newest user's template; when that one
 * goes the next is installed in its place, and with the last user the policy goes.
 *
 * There are three for each CHILD_SA, and most have one user: a user is one small block, what is in it packed, and the first of a
 * selector is itself what the table holds.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "daemon/kernel/knl.h"
#include "libcore/base/addr.h"
#include "libcore/base/rw.h"

/* With a data plane that runs in the worker, one request does no more of them than this. */
#define SETTLE_MOST 16

struct policy_user {
	struct hnode node; /* in the table: the first of its selector */
	struct policy_user *next;
	uint64_t cookie;
	uint32_t priority, reqid, spi;
	uint8_t n;
	uint8_t proto;
	uint8_t action : 4, mode : 4;
	uint8_t has_tmpl : 1, cpu_acquire : 1, want_route : 1, has_route_src : 1;
	uint8_t packed[]; /* n bytes: what tells policies apart, tunnel ends, the route's source */
};

struct knl_policies {
	struct hmap map;
	struct policy_user *owed; /* users that are gone, which the data plane refused to take out; by next */
	size_t n_owed;
};

/* --- packing --------------------------------------------------------------------------------------------------- */

#define PACKED_TS_MAX   (1 + 1 + 2 + 2 + 16 + 16)
#define PACKED_ADDR_MAX (1 + 2 + 4 + 16)
#define PACKED_KEY_MAX  (1 + 4 + 4 + 4 + 2 * PACKED_TS_MAX)
#define PACKED_MAX      (PACKED_KEY_MAX + 3 * PACKED_ADDR_MAX)

static void pack_ts(struct writer *w, const struct cy_ts *ts)
{
	size_t n = ts->family_ip6 ? 16 : 4;

	write_u8(w, ts->family_ip6);
	write_u8(w, ts->proto);
	write_u16(w, ts->port_lo);
	write_u16(w, ts->port_hi);
	write_bytes(w, cy_slice(ts->lo, n));
	write_bytes(w, cy_slice(ts->hi, n));
}

static void unpack_ts(struct reader *r, struct cy_ts *out)
{
	struct cy_slice lo, hi;
	size_t n;

	memset(out, 0, sizeof(*out));
	out->family_ip6 = read_u8(r);
	out->proto = read_u8(r);
	out->port_lo = read_u16(r);
	out->port_hi = read_u16(r);
	n = out->family_ip6 ? 16 : 4;
	lo = read_bytes(r, n);
	hi = read_bytes(r, n);
	memcpy(out->lo, lo.p, lo.n);
	memcpy(out->hi, hi.p, hi.n);
}

static void pack_addr(struct writer *w, const struct cy_addr *a)
{
	write_u8(w, a->family == AF_INET ? 4 : a->family == AF_INET6 ? 6 : 0);
	write_u16(w, a->port);
	if (a->family == AF_INET6)
		write_u32(w, a->scope);
	write_bytes(w, cy_slice(a->ip, cy_addr_len(a)));
}

static void unpack_addr(struct reader *r, struct cy_addr *out)
{
	uint8_t family = read_u8(r);
	struct cy_slice ip;

	*out = (struct cy_addr){.family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : 0};
	out->port = read_u16(r);
	if (family == 6)
		out->scope = read_u32(r);
	ip = read_bytes(r, cy_addr_len(out));
	memcpy(out->ip, ip.p, ip.n);
}

/* What tells policies apart. No such key is the beginning of another one. */
_Static_assert(PACKED_MAX <= UINT8_MAX, "the length is kept in a byte");
static struct cy_slice pack_key(const struct cy_kernel_policy *p, struct writer *w)
{
	write_u8(w, p->dir);
	write_u32(w, p->if_id);
	write_u32(w, p->mark.value);
	write_u32(w, p->mark.mask);
	pack_ts(w, &p->src);
	pack_ts(w, &p->dst);
	return writer_slice(w);
}

static struct policy_user *user_new(const struct cy_kernel_policy *p)
{
	uint8_t buf[PACKED_MAX];
	struct writer w = writer_of(buf, sizeof(buf));
	struct policy_user *u;
	struct cy_slice all;

	pack_key(p, &w);
	pack_addr(&w, &p->tmpl_src);
	pack_addr(&w, &p->tmpl_dst);
	if (p->route_src)
		pack_addr(&w, p->route_src);
	all = writer_slice(&w);
	u = malloc(sizeof(*u) + all.n);
	if (!u)
		return NULL;
	*u = (struct policy_user){.cookie = p->cookie,
	    .priority = p->priority,
	    .reqid = p->reqid,
	    .spi = p->spi,
	    .n = (uint8_t)all.n,
	    .proto = p->proto,
	    .action = p->action & 15,
	    .mode = p->mode & 15,
	    .has_tmpl = p->has_tmpl != 0,
	    .cpu_acquire = p->cpu_acquire != 0,
	    .want_route = p->want_route != 0,
	    .has_route_src = p->route_src != NULL};
	memcpy(u->packed, all.p, all.n);
	return u;
}

/* A policy as the data plane is given it. */
struct unpacked {
	struct cy_kernel_policy p;
	struct cy_addr route_src;
};

static const struct cy_kernel_policy *unpack(const struct policy_user *u, struct unpacked *out)
{
	struct reader r = reader_of(cy_slice(u->packed, u->n));
	struct cy_kernel_policy *p = &out->p;

	*out = (struct unpacked){.p = {.size = sizeof(*p),
	                             .cookie = u->cookie,
	                             .priority = u->priority,
	                             .reqid = u->reqid,
	                             .spi = u->spi,
	                             .proto = u->proto,
	                             .action = u->action,
	                             .mode = u->mode,
	                             .has_tmpl = u->has_tmpl,
	                             .cpu_acquire = u->cpu_acquire,
	                             .want_route = u->want_route}};
	p->dir = read_u8(&r);
	p->if_id = read_u32(&r);
	p->mark.value = read_u32(&r);
	p->mark.mask = read_u32(&r);
	unpack_ts(&r, &p->src);
	unpack_ts(&r, &p->dst);
	unpack_addr(&r, &p->tmpl_src);
	unpack_addr(&r, &p->tmpl_dst);
	if (u->has_route_src) {
		unpack_addr(&r, &out->route_src);
		p->route_src = &out->route_src;
	}
	return p;
}

/* --- the table ------------------------------------------------------------------------------------------------- */

struct knl_policies *knl_policies_new(const uint64_t key[2])
{
	struct knl_policies *t = calloc(1, sizeof(*t));

	if (t && hmap_init(&t->map, key)) {
		free(t);
		return NULL;
	}
	return t;
}

void knl_policies_free(struct knl_policies *t)
{
	struct hnode *n, *tmp;
	size_t b;

	if (!t)
		return;
	hmap_foreach (&t->map, b, n, tmp) {
		struct policy_user *u = container_of(n, struct policy_user, node), *next;

		for (; u; u = next) {
			next = u->next;
			free(u);
		}
	}
	for (struct policy_user *u = t->owed, *next; u; u = next) {
		next = u->next;
		free(u);
	}
	hmap_fini(&t->map);
	free(t);
}

size_t knl_policies_count(const struct knl_policies *t)
{
	return t->map.n;
}

size_t knl_policies_owed(const struct knl_policies *t)
{
	return t->n_owed;
}

/* The first user of p's selector. */
static struct policy_user *find(struct knl_policies *t, const struct cy_kernel_policy *p, uint64_t *out_hash)
{
	uint8_t buf[PACKED_KEY_MAX];
	struct writer w = writer_of(buf, sizeof(buf));
	struct cy_slice key = pack_key(p, &w);

	*out_hash = hmap_hash(&t->map, key.p, key.n);
	for (struct hnode *n = hmap_first(&t->map, *out_hash); n; n = hmap_next(n)) {
		struct policy_user *u = container_of(n, struct policy_user, node);

		if (u->n >= key.n && memcmp(u->packed, key.p, key.n) == 0)
			return u;
	}
	return NULL;
}

static bool same_ends(const struct cy_kernel_policy *a, const struct cy_kernel_policy *b)
{
	return cy_addr_ip_eq(&a->tmpl_src, &b->tmpl_src) && cy_addr_ip_eq(&a->tmpl_dst, &b->tmpl_dst);
}

/*
 * CHILD_SAs of CPUs share one policy, which is the same for each: the kernel need not be troubled, and is better not,
 * because it would look for SAs anew.
 */
static bool changes_nothing(const struct policy_user *u, const struct cy_kernel_policy *p)
{
	struct unpacked have;

	return u->cpu_acquire && p->cpu_acquire && u->reqid == p->reqid && u->priority == p->priority &&
	    u->mode == p->mode && same_ends(unpack(u, &have), p);
}

/* Smaller priority value wins in the kernel; among equals the newest user does. NULL: before all others. */
static struct policy_user *goes_after(struct policy_user *first, const struct cy_kernel_policy *p)
{
	struct policy_user *prev = NULL;

	if (changes_nothing(first, p))
		return first;
	for (struct policy_user *u = first; u && u->priority < p->priority; u = u->next)
		prev = u;
	return prev;
}

enum cy_err knl_policy_add(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p)
{
	uint64_t hash;
	struct policy_user *first = find(t, p, &hash), *u = user_new(p), *prev;
	struct unpacked given;
	enum cy_err err;

	if (!u)
		return CY_E_NOMEM;
	prev = first ? goes_after(first, p) : NULL;
	if (prev) {
		u->next = prev->next;
		prev->next = u;
		return CY_OK;
	}
	err = ops->policy_add(k, unpack(u, &given));
	if (err) {
		free(u);
		return err;
	}
	if (first)
		hmap_del(&t->map, &first->node);
	u->next = first;
	hmap_add(&t->map, &u->node, hash);
	return CY_OK;
}

enum cy_err knl_policy_cpu(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p)
{
	uint64_t hash;
	struct policy_user *first = find(t, p, &hash);
	struct unpacked given;

	if (!first)
		return CY_E_NOTFOUND;
	for (struct policy_user *u = first; u; u = u->next)
		if (u->reqid == p->reqid)
			u->cpu_acquire = p->cpu_acquire != 0;
	return ops->policy_add(k, unpack(first, &given));
}

/* A CHILD_SA that moves is two users for a moment, of the old and of the new tunnel ends. */
static bool same_user(const struct policy_user *u, const struct cy_kernel_policy *p)
{
	struct unpacked have;

	return u->reqid == p->reqid && u->spi == p->spi && u->action == p->action && u->cookie == p->cookie &&
	    same_ends(unpack(u, &have), p);
}

enum cy_err knl_policy_del(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p)
{
	uint64_t hash;
	struct policy_user *u = find(t, p, &hash), *prev = NULL;
	struct unpacked given;
	enum cy_err err = CY_OK;

	for (; u && !same_user(u, p); u = u->next)
		prev = u;
	if (!u)
		return CY_E_NOTFOUND;
	if (prev) {
		prev->next = u->next;
		free(u);
		return CY_OK;
	}
	hmap_del(&t->map, &u->node);
	if (u->next) {
		hmap_add(&t->map, &u->next->node, hash);
		err = ops->policy_add(k, unpack(u->next, &given));
	} else {
		err = ops->policy_del(k, unpack(u, &given));
	}
	if (err && err != CY_E_NOTFOUND) {
		u->next = t->owed;
		t->owed = u;
		t->n_owed++;
	} else {
		free(u);
	}
	return err;
}

bool knl_policies_settle(struct knl_policies *t, const struct cy_kernel_ops *ops, void *k)
{
	for (int i = 0; t->owed && i < SETTLE_MOST; i++) {
		struct policy_user *gone = t->owed, *first;
		struct unpacked given;
		uint64_t hash;
		enum cy_err err;

		first = find(t, unpack(gone, &given), &hash);
		if (first)
			err = ops->policy_add(k, unpack(first, &given));
		else
			err = ops->policy_del(k, &given.p);
		if (err && err != CY_E_NOTFOUND)
			return false;
		t->owed = gone->next;
		t->n_owed--;
		free(gone);
	}
	return true;
}
