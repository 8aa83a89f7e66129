/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections by address. Every connection's remote end becomes entries in three arrays, sorted once: single addresses
 * (binary search), ranges (an interval tree laid over the array), and %any. Whatever a look-up visits beyond its way down
 * is a candidate.
 */
#include "daemon/policy/select.h"

#include <stdio.h>
#include <stdlib.h>

struct entry {
	struct addr_range range; /* remote; not for %any */
	struct conn *conn;
	uint64_t width;        /* addresses in the range, fewer are better */
	uint64_t local_width;  /* the narrowest of the local end; WIDTH_ANY: %any */
	struct cy_addr max_hi; /* biggest hi in the subtree */
};

struct entries {
	struct entry *e;
	size_t n, cap;
};

struct conn_index {
	struct conf *conf;
	struct entries hosts, ranges, any;
};

/* May anybody be there? Names are: who comes from where will be known by identity. */
static bool spec_any(const struct host_spec *h)
{
	return h->any || h->any_ip6 || h->defaultroute || h->dns.n || h->n_ranges == 0;
}

#define WIDTH_ANY UINT64_MAX

/* Addresses in a range; of those with 2^64 and more, which only IPv6 has, the one with the longer common prefix is smaller. */
static uint64_t width_of(const struct addr_range *r)
{
	const uint64_t huge = WIDTH_ANY - 129;
	uint64_t n = range_count(r);
	unsigned same = 0;

	if (n < huge)
		return n;
	while (same < 128 && !((r->lo.ip[same / 8] ^ r->hi.ip[same / 8]) & 0x80 >> same % 8))
		same++;
	return huge + 128 - same;
}

/* Is a allowed? *out_width: addresses in the narrowest range of h that has it, WIDTH_ANY when only %any lets it in. */
static bool spec_match(const struct host_spec *h, const struct cy_addr *a, uint64_t *out_width)
{
	uint64_t best = WIDTH_ANY;
	bool found = false;

	for (size_t i = 0; i < h->n_ranges; i++) {
		uint64_t width;

		if (!range_has(&h->ranges[i], a))
			continue;
		width = width_of(&h->ranges[i]);
		if (!found || width < best)
			best = width;
		found = true;
	}
	if (!found && !spec_any(h))
		return false;
	/* %any6 alone is not for IPv4 */
	if (!found && h->any_ip6 && !h->any && !h->defaultroute && !h->dns.n && a->family == AF_INET)
		return false;
	*out_width = found ? best : WIDTH_ANY;
	return true;
}

static bool add(struct entries *es, const struct entry *e)
{
	struct entry *grown;

	if (es->n == es->cap) {
		es->cap = es->cap ? es->cap * 2 : 64;
		grown = reallocarray(es->e, es->cap, sizeof(*grown));
		if (!grown)
			return false;
		es->e = grown;
	}
	es->e[es->n++] = *e;
	return true;
}

static bool add_conn(struct conn_index *ix, struct conn *c)
{
	const struct host_spec *r = &c->remote.host, *l = &c->local.host;
	struct entry e = {.conn = c, .width = WIDTH_ANY, .local_width = WIDTH_ANY};

	/* nothing is negotiated for these */
	if (c->type == TYPE_PASS || c->type == TYPE_DROP || c->start == AUTO_IGNORE)
		return true;
	for (size_t i = 0; i < l->n_ranges; i++) {
		uint64_t width = width_of(&l->ranges[i]);

		if (width < e.local_width)
			e.local_width = width;
	}
	if (spec_any(r) && !add(&ix->any, &e))
		return false;
	for (size_t i = 0; i < r->n_ranges; i++) {
		e.range = r->ranges[i];
		e.width = width_of(&e.range);
		if (!add(e.width == 1 ? &ix->hosts : &ix->ranges, &e))
			return false;
	}
	return true;
}

static int better(uint64_t a_width, uint64_t a_local, const char *a_name, uint64_t b_width, uint64_t b_local,
    const char *b_name)
{
	if (a_width != b_width)
		return a_width < b_width ? -1 : 1;
	if (a_local != b_local)
		return a_local < b_local ? -1 : 1;
	return strcmp(a_name, b_name);
}

static int by_address(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int d = addr_cmp(&a->range.lo, &b->range.lo);

	return d ? d
	         : better(a->width, a->local_width, a->conn->name, b->width, b->local_width, b->conn->name);
}

static int by_worth(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;

	return better(a->width, a->local_width, a->conn->name, b->width, b->local_width, b->conn->name);
}

/* The tree: the middle of e[lo..hi) is the root, the halves are its subtrees. */
static struct cy_addr tree_build(struct entry *e, size_t lo, size_t hi)
{
	size_t mid = lo + (hi - lo) / 2;
	struct cy_addr max = e[mid].range.hi, sub;

	if (lo < mid) {
		sub = tree_build(e, lo, mid);
		if (addr_cmp(&sub, &max) > 0)
			max = sub;
	}
	if (mid + 1 < hi) {
		sub = tree_build(e, mid + 1, hi);
		if (addr_cmp(&sub, &max) > 0)
			max = sub;
	}
	e[mid].max_hi = max;
	return max;
}

enum cy_err conn_index_new(const struct conf *conf, struct conn_index **out)
{
	struct conn_index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return CY_E_NOMEM;
	/* counted, not changed */
	ix->conf = conf_ref((struct conf *)conf);
	for (size_t i = 0; i < conf->n_conns; i++) {
		if (!add_conn(ix, conf->conns[i])) {
			conn_index_free(ix);
			return CY_E_NOMEM;
		}
	}
	if (ix->hosts.n)
		qsort(ix->hosts.e, ix->hosts.n, sizeof(*ix->hosts.e), by_address);
	if (ix->any.n)
		qsort(ix->any.e, ix->any.n, sizeof(*ix->any.e), by_worth);
	if (ix->ranges.n) {
		qsort(ix->ranges.e, ix->ranges.n, sizeof(*ix->ranges.e), by_address);
		tree_build(ix->ranges.e, 0, ix->ranges.n);
	}
	*out = ix;
	return CY_OK;
}

void conn_index_free(struct conn_index *ix)
{
	if (!ix)
		return;
	free(ix->hosts.e);
	free(ix->ranges.e);
	free(ix->any.e);
	conf_unref(ix->conf);
	free(ix);
}

/* --- looking up -------------------------------------------------------------------------------------------------- */

/* What a look-up has found, best first; the ranks run beside the caller's array. */
struct found {
	struct conn **out;
	size_t n, cap;
	const struct cy_addr *local, *remote;
	enum conn_version version;
};

static bool version_fits(const struct conn *c, enum conn_version v)
{
	return v == CONN_IKE_ANY || c->version == CONN_IKE_ANY || c->version == v;
}

/* Is the entry its connection's best for this pair? Otherwise the better one brings the connection. */
static bool fits(const struct found *f, const struct entry *e, uint64_t *out_local)
{
	uint64_t width;

	if (!version_fits(e->conn, f->version) || !spec_match(&e->conn->local.host, f->local, out_local))
		return false;
	return spec_match(&e->conn->remote.host, f->remote, &width) && width == e->width;
}

static void insert(struct found *f, const struct entry *e, uint64_t local)
{
	size_t at = f->n;

	/* two equal ranges of one connection */
	if (f->n && f->out[f->n - 1] == e->conn)
		return;
	while (at > 0) {
		const struct conn *c = f->out[at - 1];
		uint64_t width = WIDTH_ANY, c_local = WIDTH_ANY;

		if (!spec_match(&c->remote.host, f->remote, &width) ||
		    !spec_match(&c->local.host, f->local, &c_local))
			break; /* cannot be: it is in the list */
		if (better(width, c_local, c->name, e->width, local, e->conn->name) <= 0)
			break;
		at--;
	}
	if (at > 0 && f->out[at - 1] == e->conn)
		return;
	if (at == f->cap)
		return;
	if (f->n == f->cap)
		f->n--;
	memmove(&f->out[at + 1], &f->out[at], (f->n - at) * sizeof(*f->out));
	f->out[at] = e->conn;
	f->n++;
}

static void find_ranges(struct found *f, const struct entry *e, size_t lo, size_t hi)
{
	size_t mid = lo + (hi - lo) / 2;
	uint64_t local;

	if (lo == hi || addr_cmp(&e[mid].max_hi, f->remote) < 0)
		return;
	find_ranges(f, e, lo, mid);
	if (addr_cmp(&e[mid].range.lo, f->remote) > 0)
		return;
	if (range_has(&e[mid].range, f->remote) && fits(f, &e[mid], &local))
		insert(f, &e[mid], local);
	find_ranges(f, e, mid + 1, hi);
}

size_t conn_candidates(const struct conn_index *ix, const struct cy_addr *local, const struct cy_addr *remote,
    enum conn_version v, struct conn **out, size_t cap)
{
	struct cy_addr to = *local, from = *remote;
	struct found f = {out, 0, cap, &to, &from, v};
	size_t lo = 0, hi = ix->hosts.n;
	uint64_t width;

	to.port = from.port = 0;
	from.scope = 0;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (addr_cmp(&ix->hosts.e[mid].range.lo, &from) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < ix->hosts.n && cy_addr_ip_eq(&ix->hosts.e[lo].range.lo, &from); lo++)
		if (fits(&f, &ix->hosts.e[lo], &width))
			insert(&f, &ix->hosts.e[lo], width);
	find_ranges(&f, ix->ranges.e, 0, ix->ranges.n);
	/* sorted as they should come out, but for local ends of several ranges, whose narrowest may not be the one that fits */
	for (size_t i = 0; i < ix->any.n && f.n < cap; i++)
		if (fits(&f, &ix->any.e[i], &width))
			insert(&f, &ix->any.e[i], width);
	return f.n;
}

/* --- by identity -------------------------------------------------------------------------------------------------- */

/* An identity that nobody configured is the address, where that is one alone and no certificate or key says more. */
static const struct cy_addr *id_by_address(const struct conn_end *end)
{
	const struct host_spec *h = &end->host;

	if (end->auth[0].id.type != ID_ANY || end->auth[0].certs.n || end->auth[0].pubkey)
		return NULL;
	if (h->any || h->any_ip6 || h->defaultroute || h->dns.n || h->n_ranges != 1 ||
	    range_count(&h->ranges[0]) != 1)
		return NULL;
	return &h->ranges[0].lo;
}

/* What the end should be called; borrows. */
static struct ident id_of(const struct conn_end *end)
{
	const struct cy_addr *a = id_by_address(end);

	if (!a)
		return end->auth[0].id;
	return (struct ident){.type = a->family == AF_INET ? ID_IPV4_ADDR : ID_IPV6_ADDR,
	    .n = (uint16_t)cy_addr_len(a),
	    .p = (uint8_t *)a->ip};
}

int conn_id_rank(const struct conn_end *end, const struct ident *id)
{
	struct ident want = id_of(end);

	return ident_match(&want, id);
}

struct conn *conn_match_ids(struct conn *const *candidates, size_t n, const struct ident *remote,
    const struct ident *local, char *out_why, size_t why_cap)
{
	struct conn *best = NULL, *near = NULL;
	int best_remote = 0, best_local = 0;
	char ours[IDENT_STR_MAX], theirs[IDENT_STR_MAX];
	bool near_remote = false;
	struct ident want;

	for (size_t i = 0; i < n; i++) {
		struct conn *c = candidates[i];
		int r = conn_id_rank(&c->remote, remote), l = local ? conn_id_rank(&c->local, local) : 1;

		if (r && l) {
			/* equals stay in their order: the addresses speak for the first */
			if (r > best_remote || (r == best_remote && l > best_local)) {
				best = c;
				best_remote = r;
				best_local = l;
			}
		} else if (!near || (r && !near_remote)) {
			near = c;
			near_remote = r;
		}
	}
	if (why_cap)
		*out_why = '\0';
	if (best || !why_cap)
		return best;
	if (!near) {
		snprintf(out_why, why_cap, "no connection is for these addresses");
		return NULL;
	}
	want = id_of(near_remote ? &near->local : &near->remote);
	ident_str(&want, ours);
	snprintf(out_why, why_cap,
	    near_remote ? "the nearest connection, '%s', has us as '%s', the peer asked for '%s'"
	                : "the nearest connection, '%s', wants the peer to be '%s', it says it is '%s'",
	    near->name, ours, ident_str(near_remote ? local : remote, theirs));
	return NULL;
}
