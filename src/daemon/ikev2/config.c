/* SPDX-License-Identifier: Apache-2.0 */
/* The Configuration payload: virtual addresses, DNS servers, split subnets. RFC 7296, 2.19 and 3.15. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "daemon/policy/lease.h"
#include "libcore/base/addr.h"

#define CP_ATTRS_MAX 64

/* --- initiator ------------------------------------------------------------------------------------------------------------ */

static void put(struct cp_attr *attrs, size_t *n, uint16_t type, struct cy_slice value)
{
	if (*n < CP_ATTRS_MAX)
		attrs[(*n)++] = (struct cp_attr){.type = type, .value = value};
}

bool v2_cp_request(struct ike_sa *sa, struct message *m)
{
	const struct conn_end *l = &sa->conn->local;
	struct arena *a = &sa->step->a;
	struct cp_attr *attrs;
	struct payload *p;
	size_t n = 0;
	bool v4 = l->request_vip4, v6 = l->request_vip6;

	if (!v4 && !v6 && !l->n_request_addrs)
		return true;
	p = message_add(a, m, PAYLOAD_CP);
	attrs = arena_alloc(a, CP_ATTRS_MAX * sizeof(*attrs));
	if (!p || !attrs)
		return false;
	for (size_t i = 0; i < l->n_request_addrs; i++) {
		const struct cy_addr *want = &l->request_addrs[i];

		if (want->family == AF_INET) {
			put(attrs, &n, CFG_INTERNAL_IP4_ADDRESS, cy_slice(want->ip, 4));
			v4 = true;
		} else {
			uint8_t *v = arena_alloc(a, 17);

			if (!v)
				return false;
			memcpy(v, want->ip, 16);
			v[16] = 128;
			put(attrs, &n, CFG_INTERNAL_IP6_ADDRESS, cy_slice(v, 17));
			v6 = true;
		}
	}
	if (l->request_vip4)
		put(attrs, &n, CFG_INTERNAL_IP4_ADDRESS, cy_slice(NULL, 0));
	if (l->request_vip6)
		put(attrs, &n, CFG_INTERNAL_IP6_ADDRESS, cy_slice(NULL, 0));
	if (v4 && !l->ignore_dns)
		put(attrs, &n, CFG_INTERNAL_IP4_DNS, cy_slice(NULL, 0));
	if (v6 && !l->ignore_dns)
		put(attrs, &n, CFG_INTERNAL_IP6_DNS, cy_slice(NULL, 0));
	p->u.cp.type = CFG_REQUEST;
	p->u.cp.attrs = attrs;
	p->u.cp.n = n;
	return true;
}

static bool addr_of(const struct cp_attr *a, int family, struct cy_addr *out)
{
	size_t len = family == AF_INET ? 4 : 16;

	if (a->value.n != len && !(family == AF_INET6 && a->value.n == 17))
		return false;
	memset(out, 0, sizeof(*out));
	out->family = (uint16_t)family;
	memcpy(out->ip, a->value.p, len);
	return !addr_is_any(out);
}

bool v2_cp_take(struct ike_sa *sa, const struct payload *cp)
{
	struct cy_addr a;
	char text[ADDR_STR_MAX];

	if (!cp || cp->u.cp.type != CFG_REPLY)
		return true;
	for (size_t i = 0; i < cp->u.cp.n; i++) {
		const struct cp_attr *at = &cp->u.cp.attrs[i];
		bool v6 = at->type == CFG_INTERNAL_IP6_ADDRESS || at->type == CFG_INTERNAL_IP6_DNS;

		switch (at->type) {
		case CFG_INTERNAL_IP4_ADDRESS:
		case CFG_INTERNAL_IP6_ADDRESS:
			if (sa->n_vips < 16 && addr_of(at, v6 ? AF_INET6 : AF_INET, &a)) {
				if (!ike_addr_add(&sa->vips, &sa->n_vips, &a))
					return false;
				ike_note(sa, LOG_IKE, CY_LOG_INFO, "virtual address %s is ours",
				    addr_str(&a, text));
			}
			break;
		case CFG_INTERNAL_IP4_DNS:
		case CFG_INTERNAL_IP6_DNS:
			if (!sa->conn->local.ignore_dns && sa->n_dns < 16 &&
			    addr_of(at, v6 ? AF_INET6 : AF_INET, &a) &&
			    !ike_addr_add(&sa->dns, &sa->n_dns, &a))
				return false;
			break;
		}
	}
	return ike_install_vips(sa);
}

/* --- responder ------------------------------------------------------------------------------------------------------------ */

size_t v2_peer_vips(const struct ike_sa *sa, struct cy_addr *out, size_t cap)
{
	size_t n = 0;

	for (uint32_t i = 0; i < sa->n_leases && n < cap; i++)
		out[n++] = sa->leases[i].addr;
	return n;
}

static bool keep_attr(struct v2_init *in, uint16_t type, const void *p, size_t n)
{
	struct cp_attr *more = realloc(in->cp_reply, (in->n_cp_reply + 1) * sizeof(*more));
	uint8_t *copy;

	if (!more)
		return false;
	in->cp_reply = more;
	copy = malloc(n ? n : 1);
	if (!copy)
		return false;
	memcpy(copy, p, n);
	more[in->n_cp_reply++] = (struct cp_attr){.type = type, .value = cy_slice(copy, n)};
	return true;
}

static bool reply_address(struct v2_init *in, const struct cy_addr *a)
{
	uint8_t v6[17];

	if (a->family == AF_INET)
		return keep_attr(in, CFG_INTERNAL_IP4_ADDRESS, a->ip, 4);
	memcpy(v6, a->ip, 16);
	v6[16] = 128;
	return keep_attr(in, CFG_INTERNAL_IP6_ADDRESS, v6, sizeof(v6));
}

/* What is behind us, so that the client can route only that (RFC 7296, 3.15.1, INTERNAL_IP*_SUBNET). */
static bool reply_subnets(struct ike_sa *sa, struct v2_init *in, bool v4, bool v6)
{
	const struct conn_end *l = &sa->conn->local;

	for (size_t i = 0; i < l->n_ts; i++) {
		bool exact;
		uint8_t bits = ts_prefix(&l->ts[i], &exact), out[17];
		uint32_t mask = bits ? UINT32_MAX << (32 - (bits > 32 ? 32 : bits)) : 0;

		if (!exact || !bits)
			continue;
		if (l->ts[i].family_ip6) {
			memcpy(out, l->ts[i].lo, 16);
			out[16] = bits;
			if (v6 && !keep_attr(in, CFG_INTERNAL_IP6_SUBNET, out, 17))
				return false;
		} else {
			memcpy(out, l->ts[i].lo, 4);
			for (int b = 0; b < 4; b++)
				out[4 + b] = (uint8_t)(mask >> (24 - 8 * b));
			if (v4 && !keep_attr(in, CFG_INTERNAL_IP4_SUBNET, out, 8))
				return false;
		}
	}
	return true;
}

bool v2_cp_answer(struct ike_sa *sa, const struct payload *cp, uint16_t *out_notify)
{
	struct v2_init *in = v2_init(sa);
	const struct conn_end *r = &sa->conn->remote;
	bool v4 = false, v6 = false, asked = false, oom = false;
	uint64_t before;

	*out_notify = 0;
	if (!cp || cp->u.cp.type != CFG_REQUEST) {
		/* RFC 7296, 2.19 */
		if (r->pools.n && r->ts_dynamic) {
			*out_notify = N_FAILED_CP_REQUIRED;
			return false;
		}
		return true;
	}
	before = unique_session(sa->shard->m, sa);
	if (before)
		leases_transfer(sa->shard->d->leases, before, sa->id);
	for (size_t i = 0; i < cp->u.cp.n && sa->n_leases < 8; i++) {
		const struct cp_attr *at = &cp->u.cp.attrs[i];
		int family = at->type == CFG_INTERNAL_IP4_ADDRESS ? AF_INET
		    : at->type == CFG_INTERNAL_IP6_ADDRESS        ? AF_INET6
		                                                  : 0;
		struct cy_addr wanted, got;
		enum cy_err e;

		if (!family)
			continue;
		asked = true;
		memset(&wanted, 0, sizeof(wanted));
		if (!addr_of(at, family, &wanted))
			wanted = addr_any(family);
		e = ike_lease(sa, family, &wanted, &got);
		if (e) {
			oom = oom || e == CY_E_NOMEM;
			continue;
		}
		v4 |= family == AF_INET;
		v6 |= family == AF_INET6;
		if (!reply_address(in, &got))
			oom = true;
	}
	for (size_t i = 0; i < r->n_dns && !oom; i++)
		if (r->dns[i].family == AF_INET ? v4 : v6)
			oom = !keep_attr(in,
			    r->dns[i].family == AF_INET ? CFG_INTERNAL_IP4_DNS : CFG_INTERNAL_IP6_DNS,
			    r->dns[i].ip, cy_addr_len(&r->dns[i]));
	if (!oom && !reply_subnets(sa, in, v4, v6))
		oom = true;
	if (oom || (asked && !sa->n_leases)) {
		*out_notify = N_INTERNAL_ADDRESS_FAILURE;
		return false;
	}
	in->vip_asked = asked;
	return true;
}

bool v2_cp_reply(struct ike_sa *sa, struct message *m)
{
	struct v2_init *in = v2_init(sa);
	struct payload *p;

	if (!in->vip_asked)
		return true;
	p = message_add(&sa->step->a, m, PAYLOAD_CP);
	if (!p)
		return false;
	p->u.cp.type = CFG_REPLY;
	p->u.cp.attrs = in->cp_reply;
	p->u.cp.n = in->n_cp_reply;
	return true;
}
