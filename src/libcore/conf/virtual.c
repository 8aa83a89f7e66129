/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rightsubnet=vhost:%priv,%no of libreswan: a peer behind a NAT, whose network nobody knows before. vhost: is one address, vnet: any
 * network, inside of what is named: %priv is virtual-private= of config setup, %no the peer's own address without a network, %all
 * everything. A network with '!' is taken out.
 */
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

#define NETS_MAX 48 /* fewer than a message or a policy has room for */

struct nets {
	struct cy_ts ts[NETS_MAX], holes[NETS_MAX];
	size_t n, n_holes;
};

bool virtual_named(const char *value)
{
	return strncasecmp(value, "vhost:", 6) == 0 || strncasecmp(value, "vnet:", 5) == 0;
}

static bool add(struct cy_ts *list, size_t *n, const struct cy_ts *ts)
{
	if (*n == NETS_MAX)
		return false;
	list[(*n)++] = *ts;
	return true;
}

/* "10.0.0.0/8", "%v4:10.0.0.0/8", "%v4:!10.1.0.0/16" */
static bool add_item(struct nets *s, const char *item)
{
	bool v4 = strncasecmp(item, "%v4:", 4) == 0, v6 = strncasecmp(item, "%v6:", 4) == 0, hole;
	struct cy_ts ts;

	if (v4 || v6)
		item += 4;
	hole = *item == '!';
	if (hole)
		item++;
	if (ts_parse(item, &ts) || ts.proto || ts.port_lo || ts.port_hi != UINT16_MAX ||
	    (v4 && ts.family_ip6) || (v6 && !ts.family_ip6))
		return false;
	return hole ? add(s->holes, &s->n_holes, &ts) : add(s->ts, &s->n, &ts);
}

static bool add_private(struct nets *s, const char *text)
{
	bool cut = false;
	char item[96];

	while (text && value_next(&text, ", \t", item, sizeof(item), &cut))
		if (cut || !add_item(s, item))
			return false;
	return true;
}

bool virtual_private_ok(const char *text)
{
	struct nets s = {.n = 0};

	return add_private(&s, text);
}

/* The address after, or before. */
static void step(uint8_t *ip, size_t len, bool up)
{
	while (len-- > 0)
		if (up ? ++ip[len] != 0 : ip[len]-- != 0)
			return;
}

static bool take_out(struct nets *s, const struct cy_ts *hole)
{
	struct cy_ts kept[NETS_MAX], both, part;
	size_t n = 0, len = hole->family_ip6 ? 16 : 4;
	bool room = true;

	for (size_t i = 0; i < s->n; i++) {
		const struct cy_ts *one = &s->ts[i];

		if (!ts_intersect(one, hole, &both)) {
			room = add(kept, &n, one) && room;
			continue;
		}
		part = *one;
		if (memcmp(one->lo, both.lo, len) < 0) {
			memcpy(part.hi, both.lo, len);
			step(part.hi, len, false);
			room = add(kept, &n, &part) && room;
		}
		part = *one;
		if (memcmp(both.hi, one->hi, len) < 0) {
			memcpy(part.lo, both.hi, len);
			step(part.lo, len, true);
			room = add(kept, &n, &part) && room;
		}
	}
	memcpy(s->ts, kept, n * sizeof(*kept));
	s->n = n;
	return room;
}

static bool read_items(struct build *b, const struct raw_entry *e, struct conn_end *end, struct nets *s)
{
	const char *at = strchr(e->value, ':') + 1;
	struct cy_ts any4 = ts_any(false), any6 = ts_any(true);
	bool cut = false, good = true;
	char item[96];

	while (good && value_next(&at, ",", item, sizeof(item), &cut)) {
		if (strcasecmp(item, "%no") == 0)
			end->virt_self = true;
		else if (strcasecmp(item, "%all") == 0)
			good = add(s->ts, &s->n, &any4) && add(s->ts, &s->n, &any6);
		else if (strcasecmp(item, "%priv") != 0)
			good = !cut && add_item(s, item);
		else if (!b->setup->virtual_private)
			return build_bad_value(b, e,
			    "write virtual-private=%v4:10.0.0.0/8,... in config setup",
			    "%priv is no network");
		else
			good = add_private(s, b->setup->virtual_private);
	}
	return good ? true : build_bad_value(b, e, "write vhost:%priv,%no, or networks", "no such network");
}

bool finish_virtual(struct build *b, bool right)
{
	struct conn_end *end = build_end(b, right);
	const struct raw_entry *e = b->end[right].subnet;
	struct nets s = {.n = 0};

	if (b->dialect != LS)
		return build_bad_value(
		    b, e, "write the networks that it may ask for", "strongSwan has no virtual networks");
	if (b->end[right].subnets)
		return build_bad_value(
		    b, e, "write it as rightsubnet=", "a virtual network is no list of subnets");
	if (!read_items(b, e, end, &s))
		return false;
	for (size_t i = 0; i < s.n_holes; i++)
		if (!take_out(&s, &s.holes[i]))
			return build_bad_value(b, e, "leave some out", "too many networks");
	if (!s.n && !end->virt_self)
		return build_bad_value(b, e, "write vhost:%priv,%no", "nothing is allowed");
	end->virt = strncasecmp(e->value, "vhost:", 6) == 0 ? VIRTUAL_HOST : VIRTUAL_NET;
	end->ts_dynamic = true;
	if (!s.n)
		return true;
	end->virt_ts = malloc(s.n * sizeof(*s.ts));
	if (!end->virt_ts)
		return build_nomem(b);
	for (size_t i = 0; i < s.n; i++) {
		s.ts[i].proto = end->ts_proto;
		s.ts[i].port_lo = end->ts_port_lo;
		s.ts[i].port_hi = end->ts_port_hi;
		end->virt_ts[i] = s.ts[i];
	}
	end->n_virt_ts = s.n;
	return true;
}
