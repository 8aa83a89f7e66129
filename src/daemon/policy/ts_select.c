/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic selectors: narrowing (RFC 7296, 2.9) and what an end stands for. */
#include "daemon/policy/select.h"

/* Adds ts to a list in which none contains another, keeping it so. What is bigger takes the place of what it contains. */
static size_t list_add(struct cy_ts *out, size_t n, size_t cap, const struct cy_ts *ts)
{
	size_t kept = 0, place = n;

	for (size_t i = 0; i < n; i++)
		if (ts_contains(&out[i], ts))
			return n;
	for (size_t i = 0; i < n; i++) {
		if (!ts_contains(ts, &out[i]))
			out[kept++] = out[i];
		else if (place == n)
			place = kept++;
	}
	if (place < n)
		out[place] = *ts;
	else if (kept < cap)
		out[kept++] = *ts;
	return kept;
}

size_t ts_narrow(const struct cy_ts *ours, size_t n_ours, const struct cy_ts *theirs, size_t n_theirs,
    struct cy_ts *out, size_t cap)
{
	size_t n = 0;
	struct cy_ts both;

	/* Theirs outside: when their first selector is the packet that woke them, what covers it comes first (2.9). */
	for (size_t i = 0; i < n_theirs; i++)
		for (size_t j = 0; j < n_ours; j++)
			if (ts_intersect(&ours[j], &theirs[i], &both))
				n = list_add(out, n, cap, &both);
	return n;
}

static bool same_addrs(const struct cy_ts *a, const struct cy_ts *b)
{
	size_t len = a->family_ip6 ? 16 : 4;

	return memcmp(a->lo, b->lo, len) == 0 && memcmp(a->hi, b->hi, len) == 0;
}

static size_t add_whole(struct cy_ts *out, size_t n, size_t cap, const struct cy_ts *ours, size_t n_ours,
    const struct cy_ts *theirs)
{
	struct cy_ts both;

	for (size_t i = 0; i < n_ours; i++)
		if (ts_intersect(&ours[i], theirs, &both) && same_addrs(&both, theirs))
			n = list_add(out, n, cap, &both);
	return n;
}

size_t ts_narrow_end(const struct conn_end *end, const struct cy_ts *ours, size_t n_ours,
    const struct cy_ts *theirs, size_t n_theirs, struct cy_ts *out, size_t cap)
{
	size_t n = 0;

	if (end->virt == VIRTUAL_NO)
		return ts_narrow(ours, n_ours, theirs, n_theirs, out, cap);
	for (size_t i = 0; i < n_theirs; i++) {
		if (end->virt == VIRTUAL_HOST &&
		    memcmp(theirs[i].lo, theirs[i].hi, theirs[i].family_ip6 ? 16 : 4) != 0)
			continue;
		n = add_whole(out, n, cap, end->virt_ts, end->n_virt_ts, &theirs[i]);
		if (end->virt_self)
			n = add_whole(out, n, cap, ours, n_ours, &theirs[i]);
	}
	return n;
}

bool ts_list_subset(const struct cy_ts *a, size_t n_a, const struct cy_ts *b, size_t n_b)
{
	for (size_t i = 0; i < n_a; i++) {
		size_t j = 0;

		while (j < n_b && !ts_contains(&b[j], &a[i]))
			j++;
		if (j == n_b)
			return false;
	}
	return true;
}

size_t ts_list_reduce(struct cy_ts *ts, size_t n)
{
	size_t kept = 0;

	/* the part of the list before i is reduced already */
	for (size_t i = 0; i < n; i++) {
		struct cy_ts one = ts[i];

		kept = list_add(ts, kept, n, &one);
	}
	return kept;
}

static struct cy_ts dynamic_ts(const struct conn_end *end, const struct cy_addr *a)
{
	struct cy_ts ts = addr_is_any(a) ? ts_any(a->family == AF_INET6) : ts_host(a);

	ts.proto = end->ts_proto;
	ts.port_lo = end->ts_port_lo;
	ts.port_hi = end->ts_port_hi;
	return ts;
}

size_t ts_for_end(const struct conn_end *end, const struct cy_addr *host, const struct cy_addr *vips,
    size_t n_vips, bool for_transport, struct cy_ts *out, size_t cap)
{
	bool host_known = cy_addr_len(host) && !addr_is_any(host);
	size_t n = 0;
	struct cy_ts ts;

	for (size_t i = 0; i < end->n_ts; i++) {
		ts = end->ts[i];
		if (for_transport && host_known) {
			/* transport mode is between the hosts themselves */
			struct cy_ts self = ts_host(host);

			if (!ts_intersect(&end->ts[i], &self, &ts))
				continue;
		}
		n = list_add(out, n, cap, &ts);
	}
	if (end->n_ts && !end->ts_dynamic && (n || !for_transport))
		return n;
	for (size_t i = 0; i < n_vips && !for_transport; i++) {
		if (!cy_addr_len(&vips[i]))
			continue;
		ts = dynamic_ts(end, &vips[i]);
		n = list_add(out, n, cap, &ts);
	}
	if ((n_vips == 0 || for_transport) && cy_addr_len(host)) {
		ts = dynamic_ts(end, host);
		n = list_add(out, n, cap, &ts);
	}
	return n;
}
