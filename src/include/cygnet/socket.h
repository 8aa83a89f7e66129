/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: UDP sockets for IKE.
 *
 * A socket plugin has one or more lanes. A lane is polled and read by exactly one thread; lane i belongs to worker i.
 * socket-default has one lane, socket-reuseport one a worker. send() may be called from any thread with any lane number.
 * Ownership: data in a received cy_dgram points into memory of the lane and is valid until its next recv().
 */
#ifndef CYGNET_SOCKET_H
#define CYGNET_SOCKET_H

#include <cygnet/types.h>

/* One datagram. src/dst carry the ports; for a datagram to send, src selects the local address and port. */
struct cy_dgram {
	struct cy_addr src, dst;
	uint32_t ifindex;
	uint32_t len;
	uint8_t *data;
	uint8_t tos; /* DSCP << 2 | ECN */
	uint8_t
	    natt; /* arrived on (or leaves from) the NAT-T port: data begins with the non-ESP marker or is ESP */
	uint16_t
	    segment; /* received: data is datagrams of this length, the last may be shorter; 0: it is one */
};

struct cy_socket_config {
	uint32_t size;
	uint16_t port, port_natt; /* 500, 4500; 0 = ephemeral */
	uint32_t n_lanes;         /* wanted: number of workers */
	uint32_t rcvbuf, sndbuf;  /* bytes, 0 = plugin's default */
	uint32_t mark;            /* SO_MARK, 0 = none */
	bool ipv4, ipv6;
	/* Called for every socket after bind, before it receives (kernel: bypass policy, UDP_ENCAP). */
	void (*on_socket)(void *user, int fd, int family, uint16_t port, bool natt);
	void *user;
	/* How a message without an SPI of ours, and each of IKEv1, finds its worker (cy_steer_hash). The owner of any other
	   datagram is the top byte of our SPI (IKE or ESP), modulo the number of lanes. */
	uint32_t steer_key[4];
	/* The caller knows cy_dgram.segment: what arrives on the NAT-T port in a row may be received together. */
	bool segments;
};

/*
 * A keyed hash that a classic BPF program in the kernel can compute as well; the owner is the result modulo the number of lanes.
 * hi and lo: the initiator's SPI in host byte order.
 */
static inline uint32_t cy_steer_hash(const uint32_t key[4], uint32_t hi, uint32_t lo)
{
	uint32_t a = (hi ^ key[0]) * (key[1] | 1);

	a ^= a >> 15;
	a = ((lo ^ key[2]) + a) * (key[3] | 1);
	a ^= a >> 16;
	a *= key[1] | 1;
	return a ^ a >> 13;
}

struct cy_socket_stats {
	int fd;
	uint16_t family, port;
	uint32_t lane;
	uint64_t rx_datagrams, rx_bytes, tx_datagrams, tx_bytes, tx_errors;
	uint32_t rx_queue_bytes, rcvbuf; /* SO_MEMINFO; what the kernel granted */
	uint64_t kernel_drops;           /* SO_MEMINFO / SO_RXQ_OVFL, without those of keep_first() */
	uint64_t shed;                   /* by keep_first() */
};

struct cy_socket_ops {
	uint32_t size;
	const char *name;
	enum cy_err (*open)(
	    void *plugin, const struct cy_socket_config *cfg, void **out_s, uint32_t *out_lanes);
	void (*close)(void *s);
	/* File descriptors to poll for reading on a lane; returns how many were written. */
	size_t (*fds)(void *s, uint32_t lane, int *out_fds, size_t cap);
	/* Read what is there from fd, at most max; returns the number of datagrams, 0 when it would block. */
	size_t (*recv)(void *s, uint32_t lane, int fd, struct cy_dgram *out, size_t max);
	/* Returns how many left; what did not is counted and gone, as the network may do too. */
	size_t (*send)(void *s, uint32_t lane, const struct cy_dgram *d, size_t n);
	size_t (*stats)(void *s, struct cy_socket_stats *out, size_t cap);
	/*
	 * May be missing. Of the first requests of IKE_SAs that come on this lane (IKE_SA_INIT that returns no cookie, the first message of
	 * main and of aggressive mode) keep so many of 65536, drawn at random, and drop the others as early as it can be done. On the
	 * thread that receives on the lane.
	 */
	enum cy_err (*keep_first)(void *s, uint32_t lane, uint32_t keep);
};

#endif
