/* SPDX-License-Identifier: Apache-2.0 */

#include "sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#define CONTROL_LEN                                                                                          \
	(CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t)))
#define MAX_SEGMENTS 64    /* UDP_MAX_SEGMENTS of older kernels */
#define MAX_TOGETHER 65000 /* bytes of them, so that headers of all kinds fit a packet */

struct tx {
	struct mmsghdr msg[SOCKETS_BATCH];
	struct iovec iov[SOCKETS_SENDS];
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

static void set_control(const struct cy_dgram *d, size_t n, struct msghdr *m, uint8_t *control)
{
	struct cmsghdr *at = (struct cmsghdr *)control;
	uint16_t segment = (uint16_t)d->len;
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
			at = put_control(m, at, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
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
			at = put_control(m, at, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	}
	if (n > 1)
		put_control(m, at, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	if (m->msg_controllen == 0)
		m->msg_control = NULL;
}

/* How many of the n datagrams one call can give the kernel as one: to the same peer, of one length but for the last. */
static size_t alike(const struct sock *k, const struct cy_dgram *d, size_t n)
{
	size_t i = 1, bytes = d[0].len;

	if (!k->natt || d[0].len == 0)
		return 1;
	for (; i < n && i < MAX_SEGMENTS && d[i - 1].len == d[0].len; i++) {
		bytes += d[i].len;
		if (d[i].len > d[0].len || d[i].len == 0 || bytes > MAX_TOGETHER || d[i].tos != d[0].tos ||
		    !cy_addr_eq(&d[i].dst, &d[0].dst) || !cy_addr_eq(&d[i].src, &d[0].src))
			break;
	}
	return i;
}

static void set_message(struct tx *tx, size_t i, const struct cy_dgram *d, size_t n, struct iovec *iov)
{
	struct msghdr *m = &tx->msg[i].msg_hdr;

	memset(m, 0, sizeof(*m));
	sockaddr_from_addr(&d->dst, &tx->to[i], &m->msg_namelen);
	m->msg_name = &tx->to[i];
	for (size_t j = 0; j < n; j++)
		iov[j] = (struct iovec){d[j].data, d[j].len};
	m->msg_iov = iov;
	m->msg_iovlen = n;
	set_control(d, n, m, tx->control[i]);
}

/* How many left until one failed. */
static size_t send_messages(struct sock *k, struct mmsghdr *msg, size_t n)
{
	uint64_t bytes = 0;
	int r;

	do
		r = sendmmsg(k->fd, msg, (unsigned)n, MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	for (int i = 0; i < r; i++)
		bytes += msg[i].msg_len;
	count(&k->tx_bytes, bytes);
	return r > 0 ? (size_t)r : 0;
}

/*
 * The datagrams of a message that failed, each by itself: the kernel or the interface may not do segments, and segments are never
 * fragmented. Returns how many left.
 */
static size_t send_apart(struct sock *k, const struct cy_dgram *d, size_t n)
{
	size_t sent = 0;
	struct tx tx;

	for (size_t i = 0; n > 1 && i < n; i++) {
		set_message(&tx, 0, &d[i], 1, tx.iov);
		sent += send_messages(k, tx.msg, 1);
	}
	count(&k->tx_errors, n - sent);
	return sent;
}

/* As many of the n <= SOCKETS_SENDS datagrams as fit the messages of one call, *out_at; how many of them left. */
static size_t send_batch(struct sock *k, const struct cy_dgram *d, size_t n, size_t *out_at)
{
	size_t first[SOCKETS_BATCH + 1] = {0}, sent = 0, done = 0, messages = 0;
	struct tx tx;

	for (size_t at = 0; at < n && messages < SOCKETS_BATCH; first[++messages] = at) {
		size_t run = alike(k, d + at, n - at);

		set_message(&tx, messages, d + at, run, &tx.iov[at]);
		at += run;
	}
	while (done < messages) {
		size_t r = send_messages(k, tx.msg + done, messages - done);

		sent += first[done + r] - first[done];
		done += r;
		if (r > 0)
			continue;
		/* the first of them failed: it is gone, the others may go elsewhere */
		sent += send_apart(k, d + first[done], first[done + 1] - first[done]);
		done++;
	}
	count(&k->tx_datagrams, sent);
	*out_at = first[messages];
	return sent;
}

size_t sockets_send(void *sp, uint32_t lane, const struct cy_dgram *d, size_t n)
{
	struct sockets *s = sp;
	struct lane *l = &s->lane[lane % s->n_lanes];
	size_t sent = 0, run;

	for (size_t at = 0; at < n; at += run) {
		struct sock *k = pick(l, &d[at]);

		for (run = 1; at + run < n && run < SOCKETS_SENDS; run++)
			if (pick(l, &d[at + run]) != k)
				break;
		if (k)
			sent += send_batch(k, d + at, run, &run);
		else
			count(&s->tx_unroutable, run);
	}
	return sent;
}
