/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport mode through a NAT. Its traffic selectors are the two hosts, and each host knows addresses of its own: the peer's
 * identities in quick mode name what it sees. What the data plane gets is what we see, and the answer repeats the peer's words. Each
 * end tells the other what it sees in NAT-OA payloads, the initiator's address first, where the mode is UDP-Encapsulated-Transport
 * and nowhere else (RFC 3947, 5.2); the drafts before it only who it is.
 */
#include "daemon/ikev1/ikev1.h"
#include "libcore/base/addr.h"

static bool through_nat(const struct ike_sa *sa)
{
	return sa->natt && (sa->nat_here || sa->nat_there || sa->encap_forced);
}

static bool add_one(struct ike_sa *sa, struct message *m, const struct cy_addr *a)
{
	bool rfc = v1_of(sa)->natt == V1_NATT_RFC;
	struct payload *p = message_add(&sa->step->a, m, rfc ? PAYLOAD_V1_NATOA : PAYLOAD_V1_NATOA_DRAFT);
	size_t len = cy_addr_len(a);
	uint8_t *copy = arena_dup(&sa->step->a, a->ip, len);

	if (!p || !copy)
		return false;
	p->u.natoa1 =
	    (struct v1_natoa){.type = len == 16 ? ID_IPV6_ADDR : ID_IPV4_ADDR, .data = cy_slice(copy, len)};
	return true;
}

bool v1_add_natoa(struct ike_sa *sa, struct message *m, const struct child_sa *c)
{
	const struct cy_addr *i = sa->initiator ? &sa->local : &sa->remote,
	                     *r = sa->initiator ? &sa->remote : &sa->local;

	if (!c->encap || c->mode != CY_MODE_TRANSPORT || v1_of(sa)->natt == V1_NATT_NONE)
		return true;
	if (v1_of(sa)->natt != V1_NATT_RFC)
		return add_one(sa, m, &sa->local);
	return add_one(sa, m, i) && add_one(sa, m, r);
}

/* What the peer says of itself. False: nothing. */
static bool peer_address(const struct ike_sa *sa, const struct payload *first, struct cy_addr *out)
{
	/* the second one of two is of the responder */
	size_t want = sa->initiator && v1_of(sa)->natt == V1_NATT_RFC ? 1 : 0, at = 0;

	for (const struct payload *p = first; p; p = p->next) {
		const struct v1_natoa *oa = &p->u.natoa1;
		size_t len = oa->type == ID_IPV6_ADDR ? 16 : 4;

		if ((p->type != PAYLOAD_V1_NATOA && p->type != PAYLOAD_V1_NATOA_DRAFT) || at++ != want ||
		    (oa->type != ID_IPV4_ADDR && oa->type != ID_IPV6_ADDR) || oa->data.n < len)
			continue;
		*out = (struct cy_addr){.family = len == 16 ? AF_INET6 : AF_INET};
		memcpy(out->ip, oa->data.p, len);
		return true;
	}
	return false;
}

static bool is_host(const struct cy_ts *ts)
{
	return memcmp(ts->lo, ts->hi, ts->family_ip6 ? 16 : 4) == 0;
}

static void put_host(struct cy_ts *ts, const struct cy_addr *a)
{
	struct cy_ts host = ts_host(a);

	host.proto = ts->proto;
	host.port_lo = ts->port_lo;
	host.port_hi = ts->port_hi;
	*ts = host;
}

bool v1_natoa_hosts(struct ike_sa *sa, const struct payload *first, struct cy_ts *l, struct cy_ts *r)
{
	struct cy_addr oa;
	char a[ADDR_STR_MAX], b[ADDR_STR_MAX];

	if (!through_nat(sa) || !is_host(l) || !is_host(r))
		return false;
	if (peer_address(sa, first, &oa) && !cy_addr_ip_eq(&oa, &sa->remote))
		ike_note(sa, LOG_CHD, CY_LOG_INFO, "transport mode with %s, which calls itself %s (NAT-OA)",
		    addr_str(&sa->remote, a), addr_str(&oa, b));
	put_host(l, &sa->local);
	put_host(r, &sa->remote);
	return true;
}
