/* SPDX-License-Identifier: Apache-2.0 */

#include "sockets.h"

#include <errno.h>
#include <netinet/in.h>

#define CONTROL_LEN (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)))

struct tx {
	struct mmsghdr msg[SOCKETS_BATCH];
	struct iovec iov[SOCKETS_BATCH];
	struct sockaddr_storage to[SOCKETS_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[SOCKETS_BATCH][CONTROL_LEN];
};

/* The socket that is bound to the datagram's source port; without such, the one the natt flag asks for. */
static struct sock *pick(struct lane *l, const struct cy_dgram *d)
{
	struct sock *found = NULL;

	for (size_t i = 0; i < l->n; i++) {
		struct sock *k = &l->sock[i];

		if (k->family != d->dst.family || k->natt != !!d->natt)
			continue;
		if (k->port == d->src.port)
			return k;
		found = k;
	}
	return found;
}

static struct cmsghdr *put_control(
    struct msghdr *m, struct cmsghdr *at, int level, int type, const void *data, size_t len)
{
	at->cmsg_level = level;
	at->cmsg_type = type;
	at->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(at), data, len);
	m->msg_controllen += CMSG_SPACE(len);
	return (struct cmsghdr *)((uint8_t *)at + CMSG_SPACE(len));
}

static bool is_unset(const struct cy_addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

static void set_control(const struct cy_dgram *d, struct msghdr *m, uint8_t *control)
{
	struct cmsghdr *at = (struct cmsghdr *)control;
	int tos = d->tos;

	memset(control, 0, CONTROL_LEN);
	m->msg_control = control;
	m->msg_controllen = 0;
	if (d->dst.family == AF_INET) {
		struct in_pktinfo info = {0};

		if (d->src.family == AF_INET && !is_unset(&d->src)) {
			memcpy(&info.ipi_spec_dst, d->src.ip, 4);
			at = put_control(m, at, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
		}
		if (tos)
			put_control(m, at, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	} else {
		struct in6_pktinfo info = {0};

		if (d->src.family == AF_INET6 && !is_unset(&d->src)) {
			memcpy(&info.ipi6_addr, d->src.ip, 16);
			/* a link-local address means nothing without its interface */
			if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				info.ipi6_ifindex = d->src.scope ? d->src.scope : d->ifindex;
			at = put_control(m, at, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
		}
		if (tos)
			put_control(m, at, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	}
	if (m->msg_controllen == 0)
		m->msg_control = NULL;
}

/* Up to SOCKETS_BATCH datagrams through one socket. */
static size_t send_batch(struct sock *k, const struct cy_dgram *d, size_t n)
{
	struct tx tx;
	size_t sent = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		struct msghdr *m = &tx.msg[i].msg_hdr;

		memset(m, 0, sizeof(*m));
		sockaddr_from_addr(&d[i].dst, &tx.to[i], &m->msg_namelen);
		m->msg_name = &tx.to[i];
		tx.iov[i].iov_base = d[i].data;
		tx.iov[i].iov_len = d[i].len;
		m->msg_iov = &tx.iov[i];
		m->msg_iovlen = 1;
		set_control(&d[i], m, tx.control[i]);
	}
	for (size_t at = 0; at < n;) {
		int r = sendmmsg(k->fd, tx.msg + at, (unsigned)(n - at), MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			/* the first of them failed: it is gone, the others may go elsewhere */
			count(&k->tx_errors, 1);
			at++;
			continue;
		}
		for (int i = 0; i < r; i++)
			bytes += d[at + (size_t)i].len;
		sent += (size_t)r;
		at += (size_t)r;
	}
	count(&k->tx_datagrams, sent);
	count(&k->tx_bytes, bytes);
	return sent;
}

size_t sockets_send(void *sp, uint32_t lane, const struct cy_dgram *d, size_t n)
{
	struct sockets *s = sp;
	struct lane *l = &s->lane[lane % s->n_lanes];
	size_t sent = 0, run;

	for (size_t at = 0; at < n; at += run) {
		struct sock *k = pick(l, &d[at]);

		for (run = 1; at + run < n && run < SOCKETS_BATCH; run++)
			if (pick(l, &d[at + run]) != k)
				break;
		if (k)
			sent += send_batch(k, d + at, run);
		else
			count(&s->tx_unroutable, run);
	}
	return sent;
}
