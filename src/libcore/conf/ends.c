/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a side: where it is, what is behind it, which addresses it gets. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

#define ITEM_MAX 320

/* Appends one element to an array that counts its elements in n. */
#define APPEND(b, array, n, value)                                                                           \
	({                                                                                                   \
		void *bigger_ = realloc((array), ((n) + 1) * sizeof(*(array)));                              \
		if (bigger_) {                                                                               \
			(array) = bigger_;                                                                   \
			(array)[(n)++] = (value);                                                            \
		}                                                                                            \
		bigger_ ? true : build_nomem(b);                                                             \
	})

static bool add_str(struct build *b, struct str_list *l, const char *s)
{
	return strs_add(l, s) ? build_nomem(b) : true;
}

static bool copy_str(struct build *b, char **out, const char *s)
{
	free(*out);
	*out = strdup(s);
	return *out ? true : build_nomem(b);
}

/* ---- setters: most wait for finish_end() */

SETTER(set_host)
{
	b->end[e->right].host = e;
	return true;
}

SETTER(set_subnet)
{
	if (b->end[e->right].subnet)
		return build_bad_value(b, e, "write one of them", "both leftsubnet= and leftsubnets=");
	b->end[e->right].subnet = e;
	b->end[e->right].subnets = arg;
	return true;
}

SETTER(set_protoport)
{
	b->end[e->right].protoport = e;
	return true;
}

SETTER(set_sourceip)
{
	b->end[e->right].sourceip = e;
	return true;
}

SETTER(set_addresspool)
{
	b->end[e->right].pool = e;
	return true;
}

SETTER(set_allowany)
{
	if (value_bool(e->value, &b->end[e->right].allowany))
		return true;
	return build_bad_value(b, e, "write yes or no", "neither yes nor no");
}

SETTER(set_modecfgclient)
{
	if (value_bool(e->value, &b->end[e->right].modecfgclient))
		return true;
	return build_bad_value(b, e, "write yes or no", "neither yes nor no");
}

SETTER(set_modecfgserver)
{
	if (value_bool(e->value, &b->end[e->right].modecfgserver))
		return true;
	return build_bad_value(b, e, "write yes or no", "neither yes nor no");
}

SETTER(set_ignore_dns)
{
	if (value_bool(e->value, &b->later.ignore_dns))
		return true;
	return build_bad_value(b, e, "write yes or no", "neither yes nor no");
}

SETTER(set_modecfgdns)
{
	b->later.dns[arg] = e;
	return true;
}

SETTER(set_updown)
{
	struct conn_end *end = build_end(b, e->right);

	if (strcasecmp(e->value, "%disabled") == 0 || strcasecmp(e->value, "none") == 0 || !*e->value) {
		free(end->updown);
		end->updown = NULL;
		return true;
	}
	return copy_str(b, &end->updown, e->value);
}

SETTER(set_ikeport)
{
	uint64_t port;

	if (!value_u64(e->value, &port) || port == 0 || port > UINT16_MAX)
		return build_bad_value(b, e, "write a port, e.g. 500", "not a port");
	build_end(b, e->right)->host.port = (uint16_t)port;
	return true;
}

/* ---- left= */

static bool looks_numeric(const char *s)
{
	return strchr(s, ':') || strchr(s, '/') || s[strspn(s, "0123456789.-")] == 0;
}

static bool is_dns_name(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 253 || *s == '-' || *s == '.')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '.' && *s != '_')
			return false;
	return true;
}

static bool host_item(struct build *b, const struct raw_entry *e, const char *s, struct host_spec *h)
{
	struct addr_range r;

	if (!add_str(b, &h->names, s))
		return false;
	if (strcasecmp(s, "%any") == 0 || strcasecmp(s, "%any4") == 0 || strcmp(s, "0.0.0.0") == 0) {
		h->any = true;
		return true;
	}
	if (strcasecmp(s, "%any6") == 0 || strcmp(s, "::") == 0 || strcmp(s, "0::0") == 0) {
		h->any_ip6 = true;
		return true;
	}
	if (strcasecmp(s, "%defaultroute") == 0) {
		h->defaultroute = true;
		return true;
	}
	if (strcasecmp(s, "%group") == 0 || strncasecmp(s, "%opportunistic", 14) == 0)
		return build_bad_value(b, e, "name the peer", "opportunistic encryption is not built yet");
	if (*s == '%' && b->dialect == LS)
		return build_bad_value(
		    b, e, "write its address, or %defaultroute", "naming an interface is not built yet");
	if (*s == '%') {
		/* %name: expected there, allowed from anywhere */
		h->any = true;
		s++;
	}
	if (looks_numeric(s)) {
		if (range_parse(s, &r))
			return build_bad_value(b, e,
			    "write it as 192.0.2.1, 192.0.2.0/24 or 192.0.2.1-192.0.2.9", "not an address");
		return APPEND(b, h->ranges, h->n_ranges, r);
	}
	if (!is_dns_name(s))
		return build_bad_value(b, e, "write an address, a name of the DNS, %any or %defaultroute",
		    "neither an address nor a name of the DNS");
	return add_str(b, &h->dns, s);
}

static bool finish_host(struct build *b, bool right)
{
	struct host_spec *h = &build_end(b, right)->host;
	const struct raw_entry *e = b->end[right].host;
	const char *at = e ? e->value : "";
	char item[ITEM_MAX];
	bool cut = false;

	while (value_next(&at, ",", item, sizeof(item), &cut)) {
		if (cut)
			return build_bad_value(b, e, "", "an item that is too long");
		if (!host_item(b, e, item, h))
			return false;
	}
	/* an address of the family asked for? */
	if (e && b->later.hostfamily)
		for (size_t i = 0; i < h->n_ranges; i++)
			if ((h->ranges[i].lo.family == AF_INET6) != (b->later.hostfamily->value[3] == '6'))
				return build_bad_value(b, e, "change hostaddrfamily= or the address",
				    "not of the family of hostaddrfamily=");
	h->any = h->any || b->end[right].allowany ||
	    (!h->any_ip6 && !h->defaultroute && !h->n_ranges && !h->dns.n);
	return true;
}

/* ---- leftprotoport= and leftsubnet= */

static const struct name protocols[] = {{1, "icmp"}, {6, "tcp"}, {17, "udp"}, {41, "ipv6"}, {47, "gre"},
    {50, "esp"}, {51, "ah"}, {58, "ipv6-icmp"}, {58, "icmpv6"}, {4, "ipencap"}, {4, "ipip"}, {89, "ospf"},
    {94, "ipip94"}, {115, "l2tp"}, {132, "sctp"}, {136, "udplite"}, {0, "any"}, {0, NULL}};
static const struct name services[] = {{1701, "l2tp"}, {1701, "l2f"}, {53, "domain"}, {53, "dns"},
    {22, "ssh"}, {80, "http"}, {443, "https"}, {500, "isakmp"}, {0, NULL}};

static bool take_word(const struct name *words, const char *s, uint64_t max, uint64_t *out)
{
	for (const struct name *w = words; w->name; w++)
		if (strcasecmp(w->name, s) == 0) {
			*out = w->value;
			return true;
		}
	return value_u64(s, out) && *out <= max;
}

/* "tcp", "17/1701", "udp/1000-2000", "6/%any", "tcp/%opaque", "%any" */
static bool take_protoport(const char *s, struct cy_ts *out)
{
	char proto[24], port[32];
	const char *slash = strchr(s, '/');
	size_t n = slash ? (size_t)(slash - s) : strlen(s);
	uint64_t v, hi;
	char *dash;

	out->proto = 0;
	out->port_lo = 0;
	out->port_hi = UINT16_MAX;
	if (n >= sizeof(proto) || (slash && strlen(slash + 1) >= sizeof(port)))
		return false;
	memcpy(proto, s, n);
	proto[n] = 0;
	if (strcasecmp(proto, "%any") == 0)
		v = 0;
	else if (!take_word(protocols, proto, UINT8_MAX, &v))
		return false;
	out->proto = (uint8_t)v;
	if (!slash)
		return true;
	snprintf(port, sizeof(port), "%s", slash + 1);
	if (strcasecmp(port, "%any") == 0 || strcasecmp(port, "any") == 0 || !*port)
		return true;
	if (v == 0)
		return value_u64(port, &v) && v == 0; /* ports belong to a protocol; 0/0 is any */
	if (strcasecmp(port, "%opaque") == 0) {
		/* RFC 7296, 3.13.1 */
		out->port_lo = UINT16_MAX;
		out->port_hi = 0;
		return true;
	}
	dash = strchr(port, '-');
	if (dash)
		*dash++ = 0;
	if (!take_word(services, port, UINT16_MAX, &v))
		return false;
	hi = v;
	if (dash && (!take_word(services, dash, UINT16_MAX, &hi) || hi < v))
		return false;
	if (v == 0 && !dash)
		hi = UINT16_MAX; /* port 0 is any */
	out->port_lo = (uint16_t)v;
	out->port_hi = (uint16_t)hi;
	return true;
}

/* "%dynamic" and "%dynamic[tcp/80]": the address of this side */
static bool take_dynamic(const char *s, struct conn_end *end, bool *out_bad)
{
	size_t n = strlen(s);
	char inside[64];
	struct cy_ts ts;

	if (strncasecmp(s, "%dynamic", 8) != 0)
		return false;
	end->ts_dynamic = true;
	if (s[8] == 0)
		return true;
	if (s[8] != '[' || s[n - 1] != ']' || n - 10 >= sizeof(inside)) {
		*out_bad = true;
		return true;
	}
	memcpy(inside, s + 9, n - 10);
	inside[n - 10] = 0;
	if (take_protoport(inside, &ts)) {
		end->ts_proto = ts.proto;
		end->ts_port_lo = ts.port_lo;
		end->ts_port_hi = ts.port_hi;
	} else
		*out_bad = true;
	return true;
}

static bool subnet_item(struct build *b, const struct raw_entry *e, const char *s, struct conn_end *end)
{
	static const char hint[] = "write it as 10.1.0.0/16, 2001:db8::/32 or 10.1.0.0/16[tcp/80]";
	bool bad = false;
	struct cy_ts ts;

	if (take_dynamic(s, end, &bad))
		return bad ? build_bad_value(b, e, "write %dynamic or %dynamic[tcp/80]", "not a selector")
		           : true;
	if (strcasecmp(s, "%any") == 0 || strcasecmp(s, "%any4") == 0)
		ts = ts_any(false);
	else if (strcasecmp(s, "%any6") == 0)
		ts = ts_any(true);
	else if (*s == '%')
		return build_bad_value(b, e, hint, "not a subnet");
	else if (ts_parse(s, &ts))
		return build_bad_value(b, e, hint, "not a subnet");
	if (ts.proto == 0 && ts.port_lo == 0 && ts.port_hi == UINT16_MAX) {
		ts.proto = end->ts_proto;
		ts.port_lo = end->ts_port_lo;
		ts.port_hi = end->ts_port_hi;
	}
	return APPEND(b, end->ts, end->n_ts, ts);
}

static bool finish_subnet(struct build *b, bool right)
{
	struct conn_end *end = build_end(b, right);
	const struct raw_entry *e = b->end[right].protoport;
	char item[ITEM_MAX];
	bool cut = false;
	struct cy_ts ts;
	const char *at;

	end->ts_port_hi = UINT16_MAX;
	if (e) {
		if (!take_protoport(e->value, &ts))
			return build_bad_value(b, e, "write it as tcp/80, udp/1000-2000, 47 or %any",
			    "not a protocol with a port");
		end->ts_proto = ts.proto;
		end->ts_port_lo = ts.port_lo;
		end->ts_port_hi = ts.port_hi;
	}
	e = b->end[right].subnet;
	if (e && virtual_named(e->value))
		return finish_virtual(b, right);
	at = e ? e->value : "";
	/* libreswan's leftsubnets={A B} may do without commas */
	while (value_next(&at, b->end[right].subnets ? ", \t" : ",", item, sizeof(item), &cut)) {
		if (cut)
			return build_bad_value(b, e, "", "an item that is too long");
		if (!subnet_item(b, e, item, end))
			return false;
	}
	if (e && !end->n_ts && !end->ts_dynamic && *e->value)
		return build_bad_value(b, e, "write a subnet", "no subnet in it");
	if (!end->n_ts)
		end->ts_dynamic = true;
	end->ts_per_child = b->end[right].subnets && end->n_ts > 1;
	return true;
}

/* ---- leftsourceip=, leftaddresspool=, leftdns= */

static bool pool_item(struct build *b, const struct raw_entry *e, const char *s, struct conn_end *end)
{
	struct addr_range r;

	/* a pool of one address is a range, too */
	if (range_parse(s, &r))
		return build_bad_value(
		    b, e, "write it as 10.3.0.0/24 or 10.3.0.10-10.3.0.250", "not a range of addresses");
	return add_str(b, &end->pools, s);
}

/* strongSwan: what this side asks for, or what it is given from */
static bool sourceip_item(struct build *b, const struct raw_entry *e, const char *s, struct conn_end *end)
{
	struct cy_addr a;

	if (strcasecmp(s, "%config") == 0 || strcasecmp(s, "%cfg") == 0 ||
	    strcasecmp(s, "%modeconfig") == 0 || strcasecmp(s, "%modecfg") == 0 ||
	    strcasecmp(s, "%config4") == 0 || strcasecmp(s, "%config6") == 0) {
		if (s[strlen(s) - 1] == '6')
			end->request_vip6 = true;
		else
			end->request_vip4 = true;
		return true;
	}
	if (strcasecmp(s, "%dhcp") == 0 || strcasecmp(s, "%radius") == 0)
		return build_bad_value(
		    b, e, "write a range, e.g. 10.3.0.0/24", "this source of addresses is not built yet");
	if (*s == '%')
		return build_bad_value(
		    b, e, "write a range, e.g. 10.3.0.0/24", "named pools are not built yet");
	if (addr_parse(s, &a) == CY_OK) {
		if (a.family == AF_INET6)
			end->request_vip6 = true;
		else
			end->request_vip4 = true;
		if (!APPEND(b, end->request_addrs, end->n_request_addrs, a))
			return false;
	}
	return pool_item(b, e, s, end);
}

static bool finish_sourceip(struct build *b, bool right)
{
	struct conn_end *end = build_end(b, right);
	const struct raw_entry *e = b->end[right].sourceip;
	const char *at = e ? e->value : "";
	char item[ITEM_MAX];
	bool cut = false;

	if (e && b->dialect == LS) {
		if (addr_parse(e->value, &end->source_ip))
			return build_bad_value(b, e,
			    strpbrk(e->value, "/-%,") ? "a pool of addresses is rightaddresspool= here"
			                              : "write one address of this host",
			    "not an address");
	} else
		while (value_next(&at, ", ", item, sizeof(item), &cut)) {
			if (cut)
				return build_bad_value(b, e, "", "an item that is too long");
			if (!sourceip_item(b, e, item, end))
				return false;
		}
	e = b->end[right].pool;
	at = e ? e->value : "";
	while (value_next(&at, ", ", item, sizeof(item), &cut)) {
		if (cut)
			return build_bad_value(b, e, "", "an item that is too long");
		if (!pool_item(b, e, item, end))
			return false;
	}
	/* libreswan's client does not say which family it wants: that of the tunnel's other selectors, or IPv4 */
	if (b->end[right].modecfgclient) {
		const struct conn_end *other = build_end(b, !right);
		bool v4 = false, v6 = false;

		for (size_t i = 0; i < other->n_ts; i++)
			*(other->ts[i].family_ip6 ? &v6 : &v4) = true;
		end->request_vip4 = v4 || !v6;
		end->request_vip6 = v6;
		end->ignore_dns = b->later.ignore_dns;
	}
	return true;
}

static bool dns_items(struct build *b, const struct raw_entry *e, struct conn_end *end)
{
	const char *at = e->value;
	char item[ITEM_MAX];
	struct cy_addr a;
	bool cut = false;

	while (value_next(&at, ", ", item, sizeof(item), &cut)) {
		if (strncasecmp(item, "%config", 7) == 0) /* they are asked for with an address in any case */
			continue;
		if (cut || addr_parse(item, &a))
			return build_bad_value(
			    b, e, "write addresses, separated by commas", "not an address");
		if (!APPEND(b, end->dns, end->n_dns, a))
			return false;
	}
	return true;
}

SETTER(set_dns)
{
	return dns_items(b, e, build_end(b, e->right));
}

/* modecfgdns= is what the side with the addresses gets. */
static bool finish_modecfgdns(struct build *b, bool right)
{
	const struct build_end *me = &b->end[right], *other = &b->end[!right];
	bool gets = me->pool || me->modecfgclient || other->modecfgserver;
	bool nobody = !gets && !other->pool && !other->modecfgclient && !me->modecfgserver;

	if (!gets && !(nobody && right))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(b->later.dns); i++)
		if (b->later.dns[i] && !dns_items(b, b->later.dns[i], build_end(b, right)))
			return false;
	return true;
}

bool finish_end(struct build *b, bool right)
{
	bool good = finish_host(b, right);

	/* each even if another failed: one run tells all faults */
	good = finish_subnet(b, right) && good;
	return good;
}

bool finish_addresses(struct build *b, bool right)
{
	bool good = finish_sourceip(b, right);

	return finish_modecfgdns(b, right) && good;
}
