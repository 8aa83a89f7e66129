/* SPDX-License-Identifier: Apache-2.0 */

#include "sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The largest UDP datagram, and a stride that keeps equal offsets of neighbours out of the same cache sets. Pages
   that no datagram reached are never backed by memory. */
#define BUFFER_LEN    65536
#define BUFFER_STRIDE (BUFFER_LEN + 4096 + 192)
#define CONTROL_LEN                                                                                          \
	(CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t)))

struct rx {
	uint8_t *buffers;
	struct mmsghdr msg[SOCKETS_BATCH];
	struct iovec iov[SOCKETS_BATCH];
	struct sockaddr_storage from[SOCKETS_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[SOCKETS_BATCH][CONTROL_LEN];
};

enum cy_err rx_new(struct rx **out)
{
	struct rx *rx = calloc(1, sizeof(*rx));

	if (!rx)
		return CY_E_NOMEM;
	rx->buffers = mmap(NULL, (size_t)SOCKETS_BATCH * BUFFER_STRIDE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rx->buffers == MAP_FAILED) {
		free(rx);
		return CY_E_NOMEM;
	}
	for (size_t i = 0; i < SOCKETS_BATCH; i++) {
		rx->iov[i].iov_base = rx->buffers + i * BUFFER_STRIDE;
		rx->iov[i].iov_len = BUFFER_LEN;
		rx->msg[i].msg_hdr.msg_iov = &rx->iov[i];
		rx->msg[i].msg_hdr.msg_iovlen = 1;
		rx->msg[i].msg_hdr.msg_name = &rx->from[i];
		rx->msg[i].msg_hdr.msg_control = rx->control[i];
	}
	*out = rx;
	return CY_OK;
}

void rx_free(struct rx *rx)
{
	if (!rx)
		return;
	munmap(rx->buffers, (size_t)SOCKETS_BATCH * BUFFER_STRIDE);
	free(rx);
}

static void read_control(struct sock *s, struct msghdr *m, struct cy_dgram *out)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const void *data = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, data, sizeof(info));
			memcpy(out->dst.ip, &info.ipi_addr, 4);
			out->ifindex = (uint32_t)info.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, data, sizeof(info));
			memcpy(out->dst.ip, &info.ipi6_addr, 16);
			out->ifindex = info.ipi6_ifindex;
			if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				out->dst.scope = info.ipi6_ifindex;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			memcpy(&out->tos, data, 1);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int tclass;

			memcpy(&tclass, data, sizeof(tclass));
			out->tos = (uint8_t)tclass;
		} else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int size;

			memcpy(&size, data, sizeof(size));
			out->segment = size > 0 && (uint32_t)size < out->len ? (uint16_t)size : 0;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			uint32_t drops;

			memcpy(&drops, data, sizeof(drops));
			atomic_store_explicit(&s->overflow, drops, memory_order_relaxed);
		}
	}
}

static struct sock *find_fd(struct lane *l, int fd)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->sock[i].fd == fd)
			return &l->sock[i];
	return NULL;
}

size_t sockets_recv(void *sp, uint32_t lane, int fd, struct cy_dgram *out, size_t max)
{
	struct sockets *s = sp;
	struct lane *l = lane < s->n_lanes ? &s->lane[lane] : NULL;
	struct sock *k = l ? find_fd(l, fd) : NULL;
	struct rx *rx = l ? l->rx : NULL;
	uint64_t bytes = 0, datagrams = 0;
	int n;

	if (!k || max == 0)
		return 0;
	if (max > SOCKETS_BATCH)
		max = SOCKETS_BATCH;
	for (size_t i = 0; i < max; i++) {
		rx->msg[i].msg_hdr.msg_namelen = sizeof(rx->from[i]);
		rx->msg[i].msg_hdr.msg_controllen = sizeof(rx->control[i]);
	}
	do
		n = recvmmsg(fd, rx->msg, (unsigned)max, MSG_DONTWAIT, NULL);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	for (int i = 0; i < n; i++) {
		struct cy_dgram *d = &out[i];

		memset(d, 0, sizeof(*d));
		addr_from_sockaddr(&rx->from[i], &d->src);
		d->dst.family = k->family;
		d->dst.port = k->port;
		d->natt = k->natt;
		d->len = rx->msg[i].msg_len;
		d->data = rx->iov[i].iov_base;
		read_control(k, &rx->msg[i].msg_hdr, d);
		bytes += d->len;
		datagrams += d->segment ? (d->len + d->segment - 1) / d->segment : 1;
	}
	count(&k->rx_datagrams, datagrams);
	count(&k->rx_bytes, bytes);
	return (size_t)n;
}
