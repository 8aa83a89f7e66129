/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation and coalescing in front of the TUN device. The kernel gives a whole TCP or UDP burst as one frame with a
 * virtio-net header; here it is cut into the packets that go on the wire. Packets that arrive, of one flow and in order,
 * are given back to the kernel as one such frame. Pure functions over memory of the caller; nothing in a header is
 * believed before it is checked against the packet.
 */
#ifndef KERNEL_TUN_OFFLOAD_H
#define KERNEL_TUN_OFFLOAD_H

#include <cygnet/types.h>
#include <linux/virtio_net.h>
#include <sys/uio.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#	define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define FRAME_MAX 65535

/* A frame from the device: n packets, which share their headers but for lengths, numbers and checksums. */
struct frame {
	const uint8_t *p;
	size_t len;     /* all of it */
	size_t l4;      /* where the upper header begins */
	size_t headers; /* where the payload begins */
	size_t size;    /* payload of each packet but the last */
	size_t n;
	uint16_t pseudo; /* sum of the pseudo-header, as the kernel left it */
};

/*
 * Checks the len bytes at p against their header. With n == 1 the packet is to be sent as it lies: a checksum that was
 * left to the device is there now. CY_E_PARSE: it makes no sense.
 */
enum cy_err frame_open(const struct virtio_net_hdr *h, uint8_t *p, size_t len, struct frame *out) CY_MUST_USE;
/* Of packet i < n; the first is the longest. */
size_t frame_packet_len(const struct frame *f, size_t i);
/* Builds packet i at `to`; its length. */
size_t frame_packet(const struct frame *f, size_t i, uint8_t *to);

/* ---- coalescing */

#define COALESCE_GROUPS  8  /* flows at a time */
#define COALESCE_PACKETS 64 /* in one frame; no more than UDP_MAX_SEGMENTS of older kernels */

struct group_of_packets {
	uint8_t *first; /* its first packet, whose headers serve for all */
	uint8_t proto;
	bool ip6, closed;
	size_t l4, headers, size, len, n;
	uint32_t next_seq;
	struct virtio_net_hdr vnet;
	struct iovec iov[COALESCE_PACKETS + 1]; /* vnet, the first packet, payloads of the others */
};

struct coalesce {
	struct group_of_packets group[COALESCE_GROUPS];
	size_t n;
	bool tcp, udp; /* which are joined */
	/* iov[0] is a virtio-net header */
	void (*write)(void *user, const struct iovec *iov, int n);
	void *user;
};

void coalesce_init(
    struct coalesce *c, bool tcp, bool udp, void (*write)(void *, const struct iovec *, int), void *user);
/* A packet that packet_check() accepted; it is written now, or stays where it is until coalesce_flush(). */
void coalesce_add(struct coalesce *c, uint8_t *p, size_t len);
void coalesce_flush(struct coalesce *c);

#endif
