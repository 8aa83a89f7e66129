/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon instance: pointers to its parts, and the settings read once into plain values. There are no globals: the
 * simulator runs several instances in one process. Built by main.c (wiring); the members do not change after start
 * except `config`, which is swapped by a reload.
 */
#ifndef DAEMON_CORE_DAEMON_H
#define DAEMON_CORE_DAEMON_H

#include <pthread.h>

#include "libcore/base/env.h"
#include "libcore/base/log.h"

struct authorize;
struct bus;
struct conf;
struct conn_index;
struct creds;
struct crypto;
struct ike_ops;
struct interfaces;
struct knl;
struct leases;
struct net;
struct plugins;
struct pool;
struct processor;
struct procs;
struct sa_manager;
struct settings;
struct sources;
struct traps;
struct xauth;

/* What a configuration load produced; immutable, counted. SAs keep the one they were made under. */
struct config {
	uint32_t refs;
	uint64_t epoch;
	struct conf *conf;
	struct creds *creds;
	struct conn_index *index; /* of policy/select.h, a layer above: freed through index_free */
	void (*index_free)(struct conn_index *index);
};

struct tuning {
	uint32_t retransmit_tries, retransmit_base_pct /* 180 = 1.8 */, retransmit_jitter_pct;
	uint64_t retransmit_timeout_ns, retransmit_limit_ns;
	uint64_t half_open_timeout_ns, keepalive_ns;
	uint32_t cookie_threshold /* of an address */, cookie_threshold_total, block_threshold,
	    puzzle_threshold;
	uint8_t puzzle_bits, puzzle_bits_max;
	uint32_t half_open_limit, ike_sa_limit;
	uint64_t init_queue_ns, receive_queue, fragment_memory, fragment_timeout_ns;
	uint64_t authorize_timeout_ns;
	uint32_t authorize_queue;
	uint64_t fetch_timeout_ns, fetch_retry_ns, crl_size_max, revocation_timeout_ns, revocation_cache;
	uint32_t revocation_queue, revocation_cache_entries;
	bool crash_detection;
	bool ikev1_commit;
	uint64_t ikev1_phase2_delay_ns;
	uint32_t fragment_size, max_packet;
	uint32_t replay_window;
	uint32_t inbox_max; /* datagrams waiting for one busy SA */
	uint8_t ike_dscp;
	bool install_routes, install_vips, send_vendor_id, reuse_ike_sa;
	bool force_encap; /* the data plane can only do UDP encapsulation */
	uint16_t port, port_natt;
	uint32_t socket_rcvbuf, socket_sndbuf, socket_mark;
	uint32_t spi_min, spi_max; /* of ESP */
	uint32_t dpd_delay_s;      /* of connections that do not say */
	uint32_t cpus;             /* of this host */
	bool ipv4, ipv6;
	uint64_t xauth_deadline_ns, xauth_lockout_ns;
	uint32_t xauth_limit, xauth_user_limit, xauth_address_limit, xauth_user_failures,
	    xauth_address_failures;
	uint32_t xauth_sessions;
};

struct daemon {
	struct env *env;
	struct log *log;
	struct settings *settings;
	struct crypto *crypto;
	struct processor *processor;
	struct pool *pool;
	struct procs *procs;
	struct bus *bus;
	struct plugins *plugins;
	struct leases *leases;
	struct interfaces *interfaces; /* NULL: all are used */
	struct knl *knl;
	struct net *net;
	struct sa_manager *sas;
	struct traps *traps;
	struct xauth *xauth;
	struct sources *sources;      /* of CRLs and OCSP responses */
	struct authorize *authorize;  /* who may say no */
	const struct ike_ops *ike[3]; /* by major version; NULL: not built */
	struct tuning tune;
	pthread_mutex_t config_lock; /* guards the pointer only */
	struct config *config;
	uint64_t started_ns;
	int64_t started_wall;
};

struct config *daemon_config(struct daemon *d); /* a reference; any thread */
struct config *config_ref(struct config *c);
void config_unref(struct config *c);
/* Make it the current one; takes the caller's reference. Main or control thread. */
void daemon_config_swap(struct daemon *d, struct config *take);

#endif
