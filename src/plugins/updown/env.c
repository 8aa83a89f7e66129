/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment of a script. Names and spellings are those of the field: PLUTO_* as charon gives them, and of libreswan's
 * those that scripts use and we know.
 */

#include "updown.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void env_fini(struct env_list *env)
{
	for (size_t i = 0; i < env->n; i++)
		free(env->s[i]);
	free(env->s);
	*env = (struct env_list){0};
}

__attribute__((format(printf, 2, 3))) static void add(struct env_list *env, const char *fmt, ...)
{
	va_list ap;
	char *s, **grown;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	if (s && env->n + 1 >= env->cap) {
		grown = realloc(env->s, (env->cap + 32) * sizeof(*grown));
		if (!grown) {
			free(s);
			s = NULL;
		} else {
			env->s = grown;
			env->cap += 32;
		}
	}
	if (!s) {
		env->bad = true;
		return;
	}
	env->s[env->n++] = s;
	env->s[env->n] = NULL;
}

/*
 * Identities are the peer's words. No shell reads them on the way, but scripts hand variables to eval, so what starts a command
 * or another line there does not get in.
 */
static void add_words(struct env_list *env, const char *name, const char *value)
{
	size_t before = env->n;

	add(env, "%s=%s", name, value);
	if (env->n == before)
		return;
	for (char *p = env->s[before] + strlen(name) + 1; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || strchr("`$\\;|&<>\"", *p))
			*p = '?';
}

struct text {
	char s[INET6_ADDRSTRLEN + 8];
};

static struct text ip_text(bool ip6, const uint8_t *ip)
{
	struct text t = {""};

	inet_ntop(ip6 ? AF_INET6 : AF_INET, ip, t.s, sizeof(t.s));
	return t;
}

static struct text addr_text(const struct cy_addr *a)
{
	struct text t = {"%any"};

	return cy_addr_len(a) ? ip_text(a->family == AF_INET6, a->ip) : t;
}

/* The length of the smallest prefix that has both ends of the range, as charon makes a subnet of one. */
static unsigned prefix_of(const struct cy_ts *ts)
{
	unsigned bits = ts->family_ip6 ? 128 : 32, n = 0;

	while (n < bits && ((ts->lo[n / 8] ^ ts->hi[n / 8]) & (0x80 >> n % 8)) == 0)
		n++;
	return n;
}

static void mask_bytes(unsigned prefix, uint8_t out[16])
{
	memset(out, 0, 16);
	for (unsigned i = 0; i < prefix; i++)
		out[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

/* who: "MY" or "PEER". */
static void add_client(struct env_list *env, const char *who, const struct cy_ts *ts)
{
	unsigned prefix = prefix_of(ts);
	uint8_t mask[16], net[16];

	mask_bytes(prefix, mask);
	for (size_t i = 0; i < 16; i++)
		net[i] = ts->lo[i] & mask[i];
	add(env, "PLUTO_%s_CLIENT=%s/%u", who, ip_text(ts->family_ip6, net).s, prefix);
	add(env, "PLUTO_%s_CLIENT_NET=%s", who, ip_text(ts->family_ip6, net).s);
	add(env, "PLUTO_%s_CLIENT_MASK=%s", who, ip_text(ts->family_ip6, mask).s);
	/* a range of ports has no spelling here: charon gives 0, all ports, too */
	add(env, "PLUTO_%s_PORT=%u", who, ts->port_lo == ts->port_hi ? ts->port_lo : 0u);
	add(env, "PLUTO_%s_PROTOCOL=%u", who, ts->proto);
}

static bool has_addr(const struct cy_ts *ts, size_t n, const struct cy_addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (ts[i].family_ip6 == (a->family == AF_INET6) &&
		    memcmp(ts[i].lo, a->ip, cy_addr_len(a)) <= 0 &&
		    memcmp(ts[i].hi, a->ip, cy_addr_len(a)) >= 0)
			return true;
	return false;
}

/* Whose virtual addresses are they? The selectors tell, whoever began the present IKE_SA; else the one who asked. */
static bool vips_are_ours(const struct cy_event *ev)
{
	for (size_t i = 0; i < ev->n_vips; i++) {
		bool ours = has_addr(ev->ts_local, ev->n_ts_local, &ev->vips[i]);
		bool theirs = has_addr(ev->ts_remote, ev->n_ts_remote, &ev->vips[i]);
		if (ours != theirs)
			return ours;
	}
	return ev->initiator;
}

static void add_numbered(struct env_list *env, const char *name, const struct cy_addr *a, size_t n)
{
	unsigned n4 = 0, n6 = 0;

	for (size_t i = 0; i < n; i++) {
		bool ip6 = a[i].family == AF_INET6;
		add(env, "%s%c_%u=%s", name, ip6 ? '6' : '4', ip6 ? ++n6 : ++n4, addr_text(&a[i]).s);
	}
}

static void add_vips(struct env_list *env, const struct cy_event *ev)
{
	const char *name = vips_are_ours(ev) ? "PLUTO_MY_SOURCEIP" : "PLUTO_PEER_SOURCEIP";

	if (ev->n_vips == 0)
		return;
	add(env, "%s=%s", name, addr_text(&ev->vips[0]).s);
	add_numbered(env, name, ev->vips, ev->n_vips);
}

static bool is_host(const struct cy_ts *ts, const struct cy_addr *a)
{
	size_t n = cy_addr_len(a);

	return ts->family_ip6 == (a->family == AF_INET6) && memcmp(ts->lo, ts->hi, n) == 0 &&
	    memcmp(ts->lo, a->ip, n) == 0;
}

static const char *verb(const struct cy_event *ev, const struct cy_ts *local)
{
	static const char *const verbs[2][2][2] = {
	    {{"down-client", "down-client-v6"}, {"down-host", "down-host-v6"}},
	    {{"up-client", "up-client-v6"}, {"up-host", "up-host-v6"}},
	};

	return verbs[ev->kind == CY_EV_CHILD_UP][is_host(local, &ev->local)][ev->local.family == AF_INET6];
}

void updown_env(struct env_list *env, const struct cy_event *ev, const struct cy_ts *local,
    const struct cy_ts *remote, const char *iface)
{
	add(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	add(env, "PLUTO_VERSION=1.1");
	add(env, "PLUTO_VERB=%s", verb(ev, local));
	add_words(env, "PLUTO_CONNECTION", ev->conn);
	add(env, "PLUTO_CONN_ADDRFAMILY=ipv%c", ev->local.family == AF_INET6 ? '6' : '4');
	add(env, "PLUTO_INTERFACE=%s", *iface ? iface : "unknown");
	add(env, "PLUTO_REQID=%u", ev->reqid);
	add(env, "PLUTO_SA_REQID=%u", ev->reqid);
	add(env, "PLUTO_SA_TYPE=%s", ev->mode == CY_MODE_TRANSPORT ? "transport" : "tunnel");
	add(env, "PLUTO_PROTO=%s", ev->proto == CY_PROTO_AH ? "ah" : "esp");
	add(env, "PLUTO_UNIQUEID=%llu", (unsigned long long)ev->ike_id);
	add(env, "PLUTO_STACK=xfrm");
	add(env, "PLUTO_ME=%s", addr_text(&ev->local).s);
	add_words(env, "PLUTO_MY_ID", ev->local_id);
	add_client(env, "MY", local);
	add(env, "PLUTO_PEER=%s", addr_text(&ev->remote).s);
	add_words(env, "PLUTO_PEER_ID", ev->remote_id);
	add_client(env, "PEER", remote);
	if (*ev->user) {
		add_words(env, "PLUTO_XAUTH_ID", ev->user);
		add_words(env, "PLUTO_USERNAME", ev->user);
	}
	add_vips(env, ev);
	if (ev->n_dns)
		add_numbered(env, "PLUTO_DNS", ev->dns, ev->n_dns);
	if (ev->mark_in.mask)
		add(env, "PLUTO_MARK_IN=%u/0x%08x", ev->mark_in.value, ev->mark_in.mask);
	if (ev->mark.mask)
		add(env, "PLUTO_MARK_OUT=%u/0x%08x", ev->mark.value, ev->mark.mask);
	if (ev->if_id_in)
		add(env, "PLUTO_IF_ID_IN=%u", ev->if_id_in);
	if (ev->if_id)
		add(env, "PLUTO_IF_ID_OUT=%u", ev->if_id);
	if (ev->encap)
		add(env, "PLUTO_UDP_ENC=%u", ev->remote.port);
	if (ev->hostaccess)
		add(env, "PLUTO_HOST_ACCESS=1");
	add(env, "SPI_IN=0x%x", ev->spi_in);
	add(env, "SPI_OUT=0x%x", ev->spi_out);
	if (ev->kind == CY_EV_CHILD_DOWN) {
		add(env, "PLUTO_INBYTES=%llu", (unsigned long long)ev->bytes_in);
		add(env, "PLUTO_OUTBYTES=%llu", (unsigned long long)ev->bytes_out);
	}
}

bool updown_interface(const struct cy_addr *addr, char *out, size_t cap)
{
	struct ifaddrs *all, *i;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (i = all; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != addr->family)
			continue;
		if (addr->family == AF_INET)
			found =
			    memcmp(&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, addr->ip, 4) == 0;
		else if (addr->family == AF_INET6)
			found = memcmp(&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr, addr->ip,
			            16) == 0;
		if (found)
			snprintf(out, cap, "%s", i->ifa_name);
	}
	freeifaddrs(all);
	return found;
}
