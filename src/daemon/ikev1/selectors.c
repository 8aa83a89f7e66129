/* SPDX-License-Identifier: Apache-2.0 */
/* The traffic selectors of quick mode: which they are, and as identification payloads (RFC 2407, 4.6.2; RFC 2409, 5.5). */
#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/select.h"
#include "libcore/base/addr.h"

bool v1_add_ts(struct ike_sa *sa, const struct cy_ts *ts)
{
	struct payload *p = message_add(&sa->step->a, &sa->step->out, PAYLOAD_V1_ID);
	size_t len = ts->family_ip6 ? 16 : 4, bits_max = len * 8;
	uint8_t *data = arena_alloc(&sa->step->a, 2 * len);
	bool exact;
	uint8_t bits = ts_prefix(ts, &exact);

	if (!p || !data)
		return false;
	memcpy(data, ts->lo, len);
	p->u.id1.proto = ts->proto;
	p->u.id1.port = ts->port_lo == ts->port_hi ? ts->port_lo : 0;
	if (exact && bits == bits_max) {
		p->u.id1.type = ts->family_ip6 ? ID_IPV6_ADDR : ID_IPV4_ADDR;
		p->u.id1.data = cy_slice(data, len);
		return true;
	}
	p->u.id1.data = cy_slice(data, 2 * len);
	if (exact) {
		p->u.id1.type = ts->family_ip6 ? ID_IPV6_SUBNET : ID_IPV4_SUBNET;
		for (size_t i = 0; i < bits_max; i++)
			if (i % 8 == 0)
				data[len + i / 8] = bits >= i + 8 ? 0xff
				    : bits > i                    ? (uint8_t)(0xff << (8 - (bits - i)))
				                                  : 0;
	} else {
		p->u.id1.type = ts->family_ip6 ? ID_IPV6_RANGE : ID_IPV4_RANGE;
		memcpy(data + len, ts->hi, len);
	}
	return true;
}

bool v1_ts_of_id(const struct payload *p, struct cy_ts *out)
{
	const struct v1_id *id = &p->u.id1;
	bool v6 = id->type == ID_IPV6_ADDR || id->type == ID_IPV6_SUBNET || id->type == ID_IPV6_RANGE,
	     gap = false;
	size_t len = v6 ? 16 : 4;

	*out = ts_any(v6);
	memcpy(out->lo, id->data.p, id->data.n < len ? id->data.n : len);
	memcpy(out->hi, out->lo, len);
	switch (id->type) {
	case ID_IPV4_ADDR:
	case ID_IPV6_ADDR:
		break;
	case ID_IPV4_SUBNET:
	case ID_IPV6_SUBNET:
		for (size_t i = 0; i < len; i++) {
			uint8_t m = id->data.p[len + i];

			if ((gap && m) || (uint8_t)(~m & (uint8_t)(~m + 1)))
				return false;
			gap |= m != 0xff;
			out->lo[i] &= m;
			out->hi[i] = (uint8_t)(out->lo[i] | (uint8_t)~m);
		}
		break;
	case ID_IPV4_RANGE:
	case ID_IPV6_RANGE:
		memcpy(out->hi, id->data.p + len, len);
		break;
	default:
		return false;
	}
	out->proto = id->proto;
	if (id->port)
		out->port_lo = out->port_hi = id->port;
	return memcmp(out->lo, out->hi, len) <= 0;
}

bool v1_can_transport(const struct ike_sa *sa, const struct conn *conn)
{
	return conn->type == TYPE_TRANSPORT && knl_features(sa->shard->d->knl) & CY_KERNEL_TRANSPORT;
}

static size_t peer_vips(const struct ike_sa *sa, struct cy_addr *out, size_t cap)
{
	size_t n = 0;

	for (uint32_t i = 0; i < sa->n_leases && n < cap; i++)
		out[n++] = sa->leases[i].addr;
	return n;
}

size_t v1_local_ts(const struct ike_sa *sa, const struct conn *c, bool transport, struct cy_ts *out)
{
	return ts_for_end(&c->local, &sa->local, sa->vips, sa->n_vips, transport, out, V1_TS_MAX);
}

size_t v1_remote_ts(const struct ike_sa *sa, const struct conn *c, bool transport, struct cy_ts *out)
{
	struct cy_addr vips[16];
	struct cy_ts all[V1_TS_MAX];
	size_t n = peer_vips(sa, vips, 16);
	const struct v1 *v = v1_of(sa);

	n = ts_for_end(&c->remote, &sa->remote, vips, n, transport, v->n_split ? all : out, V1_TS_MAX);
	return v->n_split ? ts_narrow(all, n, v->split, v->n_split, out, V1_TS_MAX) : n;
}

struct cy_ts v1_with_addrs(const struct cy_ts *said, const struct cy_ts *chosen)
{
	struct cy_ts ts = *chosen;

	memcpy(ts.lo, said->lo, sizeof(ts.lo));
	memcpy(ts.hi, said->hi, sizeof(ts.hi));
	ts.family_ip6 = said->family_ip6;
	return ts;
}

bool v1_narrow(struct ike_sa *sa, const struct conn *c, const struct cy_ts *l, const struct cy_ts *r,
    const struct cy_ts *said_r, struct cy_ts *out_l, struct cy_ts *out_r)
{
	struct cy_ts ours[V1_TS_MAX], got[V1_TS_MAX];
	bool transport = v1_can_transport(sa, c);
	size_t n = v1_local_ts(sa, c, transport, ours), n_got;

	if (!ts_narrow(ours, n, l, 1, got, V1_TS_MAX))
		return false;
	*out_l = got[0];
	n = v1_remote_ts(sa, c, transport, ours);
	if (!c->remote.virt) {
		n_got = ts_narrow(ours, n, r, 1, got, V1_TS_MAX);
		*out_r = got[0];
		return n_got != 0;
	}
	if (!ts_narrow_end(&c->remote, ours, n, said_r, 1, got, V1_TS_MAX))
		return false;
	*out_r = v1_with_addrs(r, &got[0]);
	return !transport || ts_narrow(ours, n, out_r, 1, got, V1_TS_MAX);
}
