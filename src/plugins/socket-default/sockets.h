/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP sockets in lanes: in each lane, for each address family, a socket on the IKE port and one on the NAT-T port.
 * socket-default has one lane; socket-reuseport, which is built from these files too, has one a worker, and the sockets of one
 * port and family are a group (SO_REUSEPORT). struct sockets belongs to whoever opened it. One thread receives on a lane; any
 * thread sends and reads counters.
 */
#ifndef SOCKET_DEFAULT_SOCKETS_H
#define SOCKET_DEFAULT_SOCKETS_H

#include <cygnet/plugin.h>
#include <stdatomic.h>

#define SOCKETS_LANE  4   /* of a lane: two families, two ports */
#define SOCKETS_BATCH 32  /* messages a system call */
#define SOCKETS_SENDS 128 /* datagrams that are sent in a row */

struct plugin {
	const struct cy_host *host;
	void *self;
};

struct sock {
	int fd;
	uint16_t family, port;
	uint32_t lane;
	bool natt;
	uint32_t rcvbuf; /* what the kernel granted */
	atomic_uint_least64_t rx_datagrams, rx_bytes, tx_datagrams, tx_bytes, tx_errors;
	atomic_uint_least32_t overflow; /* SO_RXQ_OVFL of the last datagram */
	/* How many of all drops were of first requests. While such are dropped all drops are: then it is minus one minus those before. */
	atomic_int_least64_t shed;
};

struct sock_drops {
	uint64_t overflow, shed;
	uint32_t queue_bytes;
};

struct rx;

struct lane {
	size_t n;
	struct sock sock[SOCKETS_LANE];
	struct rx *rx;
};

struct sockets {
	struct plugin *plugin;
	uint32_t n_lanes;
	bool group;                          /* the sockets of all lanes share their ports */
	atomic_uint_least64_t tx_unroutable; /* no socket of that family */
	struct lane lane[];
};

/* sockets.c: setting up */
enum cy_err sockets_open(void *plugin, const struct cy_socket_config *cfg, void **out_s, uint32_t *out_lanes);
/* The same in many lanes; on_socket of cfg is left to the caller (sockets_announce), who may set up the groups first. */
enum cy_err sockets_open_group(
    struct plugin *plugin, const struct cy_socket_config *cfg, uint32_t n_lanes, struct sockets **out_s);
void sockets_announce(struct sockets *s, const struct cy_socket_config *cfg);
void sockets_close(void *s);
size_t sockets_fds(void *s, uint32_t lane, int *out_fds, size_t cap);
size_t sockets_stats(void *s, struct cy_socket_stats *out, size_t cap);
struct sock_drops sock_drops(const struct sock *k);

/* filter.c: on the thread that receives on the lane */
enum cy_err sockets_keep_first(void *s, uint32_t lane, uint32_t keep);

/* recv.c, send.c */
enum cy_err rx_new(struct rx **out);
void rx_free(struct rx *rx);
size_t sockets_recv(void *s, uint32_t lane, int fd, struct cy_dgram *out, size_t max);
size_t sockets_send(void *s, uint32_t lane, const struct cy_dgram *d, size_t n);

/* struct cy_addr to and from what the kernel wants. */
void sockaddr_from_addr(const struct cy_addr *a, struct sockaddr_storage *out, socklen_t *out_len);
void addr_from_sockaddr(const struct sockaddr_storage *sa, struct cy_addr *out);

static inline void count(atomic_uint_least64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
