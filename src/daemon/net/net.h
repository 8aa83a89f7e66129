/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams in and out. Each lane of the socket plugin is polled by one worker; a received IKE message is copied once, its
 * owner is computed from our SPI, and it is queued there by priority. UDP-encapsulated ESP goes to the data plane in
 * batches, keepalives are counted and dropped.
 *
 * Steering: the top byte of the SPI that cygnet chose is congruent to the index of the worker that owns it, modulo the
 * number of workers. A first IKE_SA_INIT request has no SPI of ours: a keyed hash of SPIi picks the worker. That of the initiator's cookie
 * picks it for each message of IKEv1, whose header does not say which cookie is ours; an initiator draws one that picks its worker.
 * Where the socket plugin has a lane a worker and the kernel steers by the same rule, a datagram arrives at its owner; one that does
 * not is forwarded.
 */
#ifndef DAEMON_NET_NET_H
#define DAEMON_NET_NET_H

#include <cygnet/socket.h>

#include "daemon/core/daemon.h"
#include "daemon/wire/message.h"
#include "libcore/run/worker.h"

/* A received IKE message on its way to its owner; owned by whoever handles it. */
struct net_packet {
	struct job job;
	struct list node;
	struct net *net;
	struct cy_addr src, dst;
	uint64_t received_ns, inbox_ns /* since then in an IKE_SA's inbox */;
	uint32_t len;
	bool natt;
	bool passed_on; /* once is enough */
	uint16_t lane;  /* where it came */
	uint8_t tos;
	struct ike_header h;
	uint8_t data[]; /* without the non-ESP marker */
};

struct net_counters {
	uint64_t rx_ike, rx_esp, rx_keepalive, tx_ike, tx_failed;
	uint64_t drop_short, drop_version, drop_malformed, drop_nomem, drop_queue, drop_esp, drop_interface;
	uint64_t forwarded; /* arrived on a lane of another worker */
	uint64_t drop_queue_new, drop_too_big;
	uint64_t queued_bytes; /* now */
};

/* The layer above: called on the owner worker, owns the packet. */
typedef void (*net_deliver_fn)(void *user, struct worker *w, struct net_packet *p);

enum cy_err net_new(struct daemon *d, const struct cy_socket_ops *ops, void *plugin, net_deliver_fn deliver,
    void *user, struct net **out) CY_MUST_USE;
/* Watches the lanes: called once the processor runs (in the simulator the fabric calls net_inject instead). */
enum cy_err net_start(struct net *n) CY_MUST_USE;
void net_stop(struct net *n); /* workers are stopped already */
void net_free(struct net *n);
/* It belongs to this worker after all. Takes it. */
void net_pass_on(struct net *n, struct worker *w, struct net_packet *p);
/* A first request that is dropped because there is too much to do: the lane takes fewer of them. Any worker. */
void net_refused(const struct net_packet *p);
void net_packet_free(struct net_packet *p); /* wipes nothing: what it holds was on the wire */

/* Send one IKE message from local to remote; natt: put the non-ESP marker before it. Worker threads. */
void net_send(struct net *n, struct worker *w, const struct cy_addr *local, const struct cy_addr *remote,
    bool natt, uint8_t tos, struct cy_slice message);
void net_send_keepalive(
    struct net *n, struct worker *w, const struct cy_addr *local, const struct cy_addr *remote);
/* For the data plane (cy_host.udp_send): ESP as it is. Any thread. */
size_t net_send_raw(void *net, const struct cy_dgram *d, size_t n);
/* One datagram as if it had been received on a lane. */
void net_inject(struct net *n, struct worker *w, const struct cy_dgram *d);

/* The worker that owns an SPI of ours; and a fresh SPI owned by worker w (never 0). */
uint32_t net_spi_owner(const struct net *n, uint64_t spi);
uint32_t net_hash_owner(const struct net *n, uint64_t spi_i); /* without an SPI of ours; IKEv1: always */
uint64_t net_spi_new(struct net *n, struct env *env, uint32_t worker);
/* A cookie for an IKEv1 initiator: net_hash_owner() is the worker. */
uint64_t net_cookie_new(struct net *n, struct env *env, uint32_t worker);
/* The same of ESP: there it is the remainder of the whole number, which works in any range (spi_min, spi_max). */
uint32_t net_esp_spi_owner(const struct net *n, uint32_t spi);
uint32_t net_esp_spi_new(struct net *n, struct env *env, uint32_t worker);

void net_read_counters(const struct net *n, struct net_counters *out);
size_t net_socket_stats(struct net *n, struct cy_socket_stats *out, size_t cap);
const char *net_name(const struct net *n);

#endif
