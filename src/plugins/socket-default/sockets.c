/* SPDX-License-Identifier: Apache-2.0 */

#include "sockets.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_RCVBUF  (4 << 20)
#define DEFAULT_SNDBUF  (1 << 20)
#define EPHEMERAL_TRIES 16

void sockaddr_from_addr(const struct cy_addr *a, struct sockaddr_storage *out, socklen_t *out_len)
{
	memset(out, 0, sizeof(*out));
	if (a->family == AF_INET6) {
		struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)out;

		s6->sin6_family = AF_INET6;
		s6->sin6_port = htons(a->port);
		s6->sin6_scope_id = a->scope;
		memcpy(&s6->sin6_addr, a->ip, 16);
		*out_len = sizeof(*s6);
	} else {
		struct sockaddr_in *s4 = (struct sockaddr_in *)out;

		s4->sin_family = AF_INET;
		s4->sin_port = htons(a->port);
		memcpy(&s4->sin_addr, a->ip, 4);
		*out_len = sizeof(*s4);
	}
}

void addr_from_sockaddr(const struct sockaddr_storage *sa, struct cy_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *s6 = (const struct sockaddr_in6 *)sa;

		out->family = AF_INET6;
		out->port = ntohs(s6->sin6_port);
		out->scope = s6->sin6_scope_id;
		memcpy(out->ip, &s6->sin6_addr, 16);
	} else if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *s4 = (const struct sockaddr_in *)sa;

		out->family = AF_INET;
		out->port = ntohs(s4->sin_port);
		memcpy(out->ip, &s4->sin_addr, 4);
	}
}

static bool set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

/* Beyond net.core.[rw]mem_max where privileges allow. */
static void set_buffer(int fd, int force, int plain, uint32_t bytes)
{
	int value = bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (int)bytes;

	if (!set_int(fd, SOL_SOCKET, force, value))
		set_int(fd, SOL_SOCKET, plain, value);
}

/* The options without which the daemon would answer from the wrong address. */
static bool set_needed_options(int fd, int family)
{
	if (family == AF_INET)
		return set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) && set_int(fd, IPPROTO_IP, IP_RECVTOS, 1) &&
		    set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	return set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) && set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
	    set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
	    /* fragment big datagrams here instead of EMSGSIZE */
	    set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
}

static uint32_t buffer_size(const struct plugin *p, uint32_t wanted, const char *setting, uint32_t fallback)
{
	int64_t bytes = wanted ? wanted : p->host->setting_int(p->self, setting, fallback);

	return bytes < 4096 ? 4096 : bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (uint32_t)bytes;
}

static void set_wanted_options(const struct plugin *p, const struct cy_socket_config *cfg, struct sock *s)
{
	socklen_t len = sizeof(s->rcvbuf);

	set_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, buffer_size(p, cfg->rcvbuf, "rcvbuf", DEFAULT_RCVBUF));
	set_buffer(s->fd, SO_SNDBUFFORCE, SO_SNDBUF, buffer_size(p, cfg->sndbuf, "sndbuf", DEFAULT_SNDBUF));
	getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &s->rcvbuf, &len);
	set_int(s->fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	if (s->natt && CY_HAS(cfg, segments) && cfg->segments)
		set_int(s->fd, IPPROTO_UDP, UDP_GRO, 1);
	if (cfg->mark && setsockopt(s->fd, SOL_SOCKET, SO_MARK, &cfg->mark, sizeof(cfg->mark)) < 0)
		p->host->log(
		    p->self, CY_LOG_WARN, "cannot set socket mark 0x%x: %s", cfg->mark, strerror(errno));
}

/* Binds the wildcard address; on success s->port is the port that it got. */
static int bind_any(struct sock *s, uint16_t port)
{
	struct cy_addr any = {.family = s->family, .port = port};
	struct sockaddr_storage sa;
	socklen_t len;

	sockaddr_from_addr(&any, &sa, &len);
	if (bind(s->fd, (struct sockaddr *)&sa, len) < 0)
		return -1;
	len = sizeof(sa);
	if (getsockname(s->fd, (struct sockaddr *)&sa, &len) < 0)
		return -1;
	addr_from_sockaddr(&sa, &any);
	s->port = any.port;
	return 0;
}

static enum cy_err err_from_errno(int e)
{
	switch (e) {
	case EAFNOSUPPORT:
	case EADDRNOTAVAIL:
		return CY_E_UNSUPPORTED;
	case EACCES:
	case EPERM:
		return CY_E_DENIED;
	case EADDRINUSE:
		return CY_E_EXISTS;
	default:
		return CY_E_IO;
	}
}

static enum cy_err sock_open(const struct sockets *all, const struct cy_socket_config *cfg, uint16_t family,
    uint16_t port, bool natt, bool shared, struct sock *out)
{
	struct sock s = {.family = family, .natt = natt};
	int e;

	s.fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	if (s.fd < 0)
		return err_from_errno(errno);
	if (set_needed_options(s.fd, family) && (!shared || set_int(s.fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
	    bind_any(&s, port) == 0) {
		set_wanted_options(all->plugin, cfg, &s);
		*out = s;
		return CY_OK;
	}
	e = errno;
	close(s.fd);
	errno = e;
	return err_from_errno(e);
}

static void close_from(struct lane *l, size_t first)
{
	while (l->n > first)
		close(l->sock[--l->n].fd);
}

/*
 * The first socket of a port. With SO_REUSEPORT another daemon's sockets on that port would let us in, and we would have a part of its
 * datagrams: a bind without it is the test that there is none.
 */
static enum cy_err first_open(const struct sockets *all, const struct cy_socket_config *cfg, uint16_t family,
    uint16_t port, bool natt, struct sock *out)
{
	struct sock probe;
	enum cy_err err = sock_open(all, cfg, family, port, natt, false, &probe);

	if (err != CY_OK || !all->group) {
		if (err == CY_OK)
			*out = probe;
		return err;
	}
	close(probe.fd);
	return sock_open(all, cfg, family, probe.port, natt, true, out);
}

/* The same port in both families. A family that this host does not have is left out. */
static enum cy_err open_port(
    struct sockets *s, const struct cy_socket_config *cfg, uint16_t port, bool natt, int tries)
{
	const struct cy_host *host = s->plugin->host;
	struct lane *l = &s->lane[0];
	size_t first = l->n;
	uint16_t wanted = port;
	enum cy_err err = CY_E_UNSUPPORTED;

	for (int i = 0; i < 2; i++) {
		uint16_t family = i ? AF_INET6 : AF_INET;

		if (!(i ? cfg->ipv6 : cfg->ipv4))
			continue;
		err = first_open(s, cfg, family, wanted, natt, &l->sock[l->n]);
		if (err == CY_OK) {
			wanted = l->sock[l->n++].port;
			continue;
		}
		if (err == CY_E_UNSUPPORTED) {
			host->log(s->plugin->self, CY_LOG_NOTICE, "no IPv%d sockets: %s", i ? 6 : 4,
			    strerror(errno));
			continue;
		}
		if (err == CY_E_EXISTS && port == 0 && tries > 0) {
			/* free in the other family only: draw again */
			close_from(l, first);
			return open_port(s, cfg, port, natt, tries - 1);
		}
		host->log(s->plugin->self, CY_LOG_ERROR, "cannot open IPv%d UDP port %u: %s%s", i ? 6 : 4,
		    wanted, strerror(errno), err == CY_E_EXISTS ? " (is another IKE daemon running?)" : "");
		return err;
	}
	return l->n > first ? CY_OK : err;
}

/* The other lanes get what the first one has. A socket's number in its group is the order of bind: here its lane. */
static enum cy_err open_more(struct sockets *s, const struct cy_socket_config *cfg)
{
	for (uint32_t lane = 1; lane < s->n_lanes; lane++) {
		struct lane *l = &s->lane[lane];

		for (size_t i = 0; i < s->lane[0].n; i++) {
			const struct sock *model = &s->lane[0].sock[i];
			enum cy_err err =
			    sock_open(s, cfg, model->family, model->port, model->natt, true, &l->sock[l->n]);

			if (err) {
				s->plugin->host->log(s->plugin->self, CY_LOG_ERROR,
				    "cannot open socket %u of UDP port %u: %s", lane + 1, model->port,
				    strerror(errno));
				return err;
			}
			l->sock[l->n++].lane = lane;
		}
	}
	return CY_OK;
}

static enum cy_err open_lanes(struct plugin *plugin, const struct cy_socket_config *cfg, uint32_t n_lanes,
    bool group, struct sockets **out_s)
{
	struct sockets *s = calloc(1, sizeof(*s) + n_lanes * sizeof(s->lane[0]));
	enum cy_err err = CY_OK;

	if (!s)
		return CY_E_NOMEM;
	s->plugin = plugin;
	s->n_lanes = n_lanes;
	s->group = group;
	for (uint32_t i = 0; i < n_lanes && err == CY_OK; i++)
		err = rx_new(&s->lane[i].rx);
	if (err == CY_OK)
		err = open_port(s, cfg, cfg->port, false, EPHEMERAL_TRIES);
	if (err == CY_OK)
		err = open_port(s, cfg, cfg->port_natt, true, EPHEMERAL_TRIES);
	if (err == CY_OK)
		err = open_more(s, cfg);
	if (err != CY_OK) {
		sockets_close(s);
		return err;
	}
	*out_s = s;
	return CY_OK;
}

enum cy_err sockets_open_group(
    struct plugin *plugin, const struct cy_socket_config *cfg, uint32_t n_lanes, struct sockets **out_s)
{
	return open_lanes(plugin, cfg, n_lanes, true, out_s);
}

void sockets_announce(struct sockets *s, const struct cy_socket_config *cfg)
{
	if (!cfg->on_socket)
		return;
	for (uint32_t lane = 0; lane < s->n_lanes; lane++)
		for (size_t i = 0; i < s->lane[lane].n; i++) {
			const struct sock *k = &s->lane[lane].sock[i];

			cfg->on_socket(cfg->user, k->fd, k->family, k->port, k->natt);
		}
}

enum cy_err sockets_open(void *plugin, const struct cy_socket_config *cfg, void **out_s, uint32_t *out_lanes)
{
	struct sockets *s;
	enum cy_err err = open_lanes(plugin, cfg, 1, false, &s);

	if (err)
		return err;
	sockets_announce(s, cfg);
	*out_s = s;
	*out_lanes = 1;
	return CY_OK;
}

void sockets_close(void *sp)
{
	struct sockets *s = sp;

	if (!s)
		return;
	for (uint32_t i = 0; i < s->n_lanes; i++) {
		close_from(&s->lane[i], 0);
		rx_free(s->lane[i].rx);
	}
	free(s);
}

size_t sockets_fds(void *sp, uint32_t lane, int *out_fds, size_t cap)
{
	struct sockets *s = sp;
	size_t n = 0;

	if (lane < s->n_lanes)
		for (; n < s->lane[lane].n && n < cap; n++)
			out_fds[n] = s->lane[lane].sock[n].fd;
	return n;
}

struct sock_drops sock_drops(const struct sock *k)
{
	/* before the drops, which only grow */
	int64_t shed = atomic_load_explicit(&k->shed, memory_order_relaxed);
	uint64_t drops = atomic_load_explicit(&k->overflow, memory_order_relaxed);
	uint32_t mem[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(mem);
	struct sock_drops out = {0};

	/* SO_MEMINFO knows of drops since the last datagram, too; kernels before 4.12 lack it */
	if (getsockopt(k->fd, SOL_SOCKET, SO_MEMINFO, mem, &len) == 0) {
		out.queue_bytes = mem[SK_MEMINFO_RMEM_ALLOC];
		if (len > SK_MEMINFO_DROPS * sizeof(mem[0]) && mem[SK_MEMINFO_DROPS] > drops)
			drops = mem[SK_MEMINFO_DROPS];
	}
	out.overflow = shed < 0 ? (uint64_t)(-shed - 1) : drops - (uint64_t)shed;
	out.shed = drops - out.overflow;
	return out;
}

static void stats_of(struct sock *k, struct cy_socket_stats *out)
{
	struct sock_drops drops = sock_drops(k);

	*out = (struct cy_socket_stats){
	    .fd = k->fd,
	    .family = k->family,
	    .port = k->port,
	    .lane = k->lane,
	    .rx_datagrams = atomic_load_explicit(&k->rx_datagrams, memory_order_relaxed),
	    .rx_bytes = atomic_load_explicit(&k->rx_bytes, memory_order_relaxed),
	    .tx_datagrams = atomic_load_explicit(&k->tx_datagrams, memory_order_relaxed),
	    .tx_bytes = atomic_load_explicit(&k->tx_bytes, memory_order_relaxed),
	    .tx_errors = atomic_load_explicit(&k->tx_errors, memory_order_relaxed),
	    .rcvbuf = k->rcvbuf,
	    .rx_queue_bytes = drops.queue_bytes,
	    .kernel_drops = drops.overflow,
	    .shed = drops.shed,
	};
}

size_t sockets_stats(void *sp, struct cy_socket_stats *out, size_t cap)
{
	struct sockets *s = sp;
	size_t n = 0;

	for (uint32_t lane = 0; lane < s->n_lanes; lane++)
		for (size_t i = 0; i < s->lane[lane].n && n < cap; i++)
			stats_of(&s->lane[lane].sock[i], &out[n++]);
	if (n > 0)
		out[0].tx_errors += atomic_load_explicit(&s->tx_unroutable, memory_order_relaxed);
	return n;
}
