/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: a data plane, that is a security association and policy database with its routes.
 * kernel-netlink programs Linux XFRM, kernel-tun is ESP in userspace, the simulator and kernel-null are others.
 *
 * Thread: every function is called on the one kernel thread of the daemon (never on a worker), so it may make
 * system calls, but should take microseconds. Events are delivered with cy_kernel_events, from any thread.
 * Ownership: structures are borrowed for the call; keys in them are wiped by the caller.
 */
#ifndef CYGNET_KERNEL_H
#define CYGNET_KERNEL_H

#include <cygnet/crypto.h>
#include <cygnet/socket.h>
#include <cygnet/types.h>

enum cy_ipsec_mode { CY_MODE_TUNNEL = 1, CY_MODE_TRANSPORT, CY_MODE_BEET };
enum cy_ipsec_proto { CY_PROTO_ESP = 50, CY_PROTO_AH = 51 };
enum cy_dir { CY_DIR_IN = 1, CY_DIR_OUT, CY_DIR_FWD };
enum cy_policy_action { CY_POLICY_PROTECT = 1, CY_POLICY_DISCARD, CY_POLICY_PASS };

/* What a data plane can do; asked once after open(). */
#define CY_KERNEL_ESP_RAW (1u << 0) /* IP protocol 50 */
#define CY_KERNEL_ESP_UDP (1u << 1) /* UDP encapsulation, RFC 3948 */
#define CY_KERNEL_UDP_ONLY                                                                                   \
	(1u << 2) /* cannot do IP protocol 50: the daemon must have both ends encapsulate */
#define CY_KERNEL_TRANSPORT (1u << 3)
#define CY_KERNEL_ESN       (1u << 4)
#define CY_KERNEL_IPV6      (1u << 5)
#define CY_KERNEL_POLICY    (1u << 6)
#define CY_KERNEL_ACQUIRE   (1u << 7)
#define CY_KERNEL_EXPIRE    (1u << 8)
#define CY_KERNEL_IF_ID     (1u << 9)
#define CY_KERNEL_MARK      (1u << 10)
#define CY_KERNEL_PCPU      (1u << 11)
#define CY_KERNEL_WANTS_ESP                                                                                  \
	(1u << 12) /* UDP-encapsulated ESP that arrives on the IKE socket goes to esp_in() */
#define CY_KERNEL_DEVICES (1u << 13) /* has device_add() and its like */
#define CY_KERNEL_INLINE                                                                                     \
	(1u << 14) /* no call ever waits: they are made one at a time, but on any thread, workers too */

struct cy_lifetime {
	uint64_t soft_bytes, hard_bytes;     /* 0: none */
	uint64_t soft_packets, hard_packets; /* 0: none */
	uint64_t soft_seconds, hard_seconds; /* 0: none; since installation */
};

/* One direction of one CHILD_SA. (dst, spi, proto) names it. Tunnel addresses carry the UDP ports when encap is set. */
struct cy_kernel_sa {
	uint32_t size;
	uint32_t spi; /* host byte order */
	struct cy_addr src, dst;
	uint8_t proto;            /* enum cy_ipsec_proto */
	uint8_t mode;             /* enum cy_ipsec_mode */
	uint8_t dir;              /* CY_DIR_IN or CY_DIR_OUT */
	uint8_t encap;            /* UDP encapsulation */
	uint32_t reqid;           /* ties policies to SAs; daemon-assigned, > 0 */
	uint16_t encr;            /* enum cy_encr */
	uint16_t integ;           /* enum cy_integ, 0 with AEAD */
	struct cy_slice encr_key; /* with the salt */
	struct cy_slice integ_key;
	uint32_t replay_window; /* packets; 0 = no anti-replay */
	uint8_t esn;
	uint8_t copy_dscp; /* enum cy_copy_dscp */
	uint8_t no_ecn, no_pmtu_disc;
	uint32_t tfc_pad; /* pad to this many bytes, 0 = off, UINT32_MAX = to the MTU */
	struct cy_mark mark;
	struct cy_mark set_mark; /* applied to packets after the transform */
	uint32_t if_id;
	int32_t cpu; /* -1: any (RFC 9611 uses others) */
	struct cy_lifetime life;
	/* Selectors of the CHILD_SA, both seen from the local side; transport mode needs them on the SA. */
	const struct cy_ts *ts_local, *ts_remote;
	uint32_t n_ts_local, n_ts_remote;
	uint64_t cookie; /* the daemon's handle, given back in events */
};

/*
 * A network interface that leads packets into tunnels: a VTI, which marks them, or an XFRM interface, which gives them its
 * if_id. Its users are counted by the daemon.
 */
enum cy_device_kind { CY_DEVICE_VTI = 1, CY_DEVICE_XFRM };
struct cy_kernel_device {
	uint32_t size;
	uint8_t kind;
	uint8_t create; /* 0: it must be there already */
	char name[16];
	struct cy_addr local, remote; /* VTI: ends of the tunnels; remote family 0: any peer's */
	uint32_t mark_in, mark_out;   /* VTI */
	uint32_t if_id;               /* XFRM */
};

enum cy_copy_dscp { CY_DSCP_OUT = 0, CY_DSCP_NO, CY_DSCP_IN, CY_DSCP_YES };

struct cy_kernel_sa_id {
	uint32_t spi; /* host byte order */
	struct cy_addr src, dst;
	uint8_t proto, dir;
	struct cy_mark mark;
	uint32_t if_id;
};

struct cy_kernel_sa_stats {
	uint64_t bytes, packets;
	uint64_t last_used; /* Unix seconds, 0 never */
	uint64_t replay_drops, integrity_drops;
	uint64_t seq; /* highest sequence number seen or sent, with its high half when ESN */
};

/* One policy, one direction; src and dst as the packet has them. */
struct cy_kernel_policy {
	uint32_t size;
	uint8_t dir;    /* enum cy_dir; the daemon asks for FWD itself */
	uint8_t action; /* enum cy_policy_action */
	uint8_t mode;
	uint8_t proto;
	uint8_t has_tmpl; /* 0: larval/block policies without a template */
	uint8_t cpu_acquire;
	struct cy_ts src, dst;
	uint32_t priority; /* smaller wins */
	uint32_t reqid;
	uint32_t spi;                      /* of the outbound SA, 0 unknown (traps) */
	struct cy_addr tmpl_src, tmpl_dst; /* tunnel ends */
	struct cy_mark mark;
	uint32_t if_id;
	uint64_t cookie; /* given back in acquire events */
	/* The route this policy needs (kernel decides): source address to use inside, NULL none. */
	const struct cy_addr *route_src;
	uint8_t want_route;
};

/* Events, from the data plane to the daemon. The callee copies what it keeps and never blocks. */
struct cy_kernel_events {
	uint32_t size;
	void *user;
	void (*acquire)(void *user, uint32_t reqid, uint64_t policy_cookie, const struct cy_ts *src,
	    const struct cy_ts *dst, int32_t cpu);
	void (*expire)(void *user, const struct cy_kernel_sa_id *id, bool hard);
	/* The NAT in front of the peer changed its address or port (seen in authenticated ESP). */
	void (*mapping)(void *user, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src);
	/* Local addresses, links or routes changed. */
	void (*network_changed)(void *user);
	/* Events were lost (ENOBUFS): the daemon resynchronises from dump(). */
	void (*overrun)(void *user);
};

/* Where packets of an SA are worked on. */
struct cy_kernel_place {
	uint32_t size;
	int32_t lane; /* of cy_kernel_lane.index, -1 not known */
	int32_t cpu;  /* that carried it last, -1 not known */
	uint32_t pad_;
	uint64_t packets, bytes;
	uint32_t rx_if; /* index of the interface that its last packet came to, 0 not known */
	uint32_t rx_queue;
};

/* A thread of the data plane's own, with its queue. */
struct cy_kernel_lane {
	uint32_t size;
	uint32_t index;
	int32_t cpu;     /* on which it ran last, -1 not known */
	uint32_t queued; /* datagrams that wait for it */
	uint32_t queue_size;
	uint32_t pad_;
	uint64_t packets_in, bytes_in, packets_out, bytes_out, drops;
};

struct cy_kernel_ops {
	uint32_t size;
	const char *name;
	enum cy_err (*open)(
	    void *plugin, const struct cy_kernel_events *ev, uint32_t *out_features, void **out_k);
	void (*close)(void *k);
	enum cy_err (*sa_add)(void *k, const struct cy_kernel_sa *sa);
	/* New addresses/ports for an existing SA (NAT rebinding, MOBIKE). */
	enum cy_err (*sa_move)(void *k, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src,
	    const struct cy_addr *new_dst, bool encap);
	enum cy_err (*sa_del)(void *k, const struct cy_kernel_sa_id *id);
	enum cy_err (*sa_query)(void *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out);
	/* Adding an existing (selector, dir, mark, if_id) replaces it. */
	enum cy_err (*policy_add)(void *k, const struct cy_kernel_policy *p);
	enum cy_err (*policy_del)(void *k, const struct cy_kernel_policy *p);
	/* Virtual IP on (true) or off an interface the plugin chooses. */
	enum cy_err (*addr_set)(void *k, const struct cy_addr *addr, uint8_t prefix, bool on);
	/* Which local address would be used to reach dst? */
	enum cy_err (*source_for)(void *k, const struct cy_addr *dst, struct cy_addr *out_src);
	/* Is this address one of ours? */
	bool (*is_local)(void *k, const struct cy_addr *addr);
	/* Remove everything of ours: called at start (leftovers of a crash) and at stop. */
	enum cy_err (*flush)(void *k);
	/* Let IKE packets of these sockets pass unprotected. May be NULL. */
	enum cy_err (*bypass_socket)(void *k, int fd, int family);
	/* Mark a UDP socket as one that carries ESP (UDP_ENCAP). May be NULL. */
	enum cy_err (*encap_socket)(void *k, int fd, int family, uint16_t port);
	/* CY_KERNEL_WANTS_ESP only; any thread: datagrams from port 4500 whose first 4 bytes are not zero. */
	void (*esp_in)(void *k, const struct cy_dgram *d, size_t n);
	/* Drop counters by name (XfrmInError, ...): calls back for each non-zero one. May be NULL; any thread. */
	void (*counters)(void *k, void (*cb)(void *user, const char *name, uint64_t value), void *user);
	/*
	 * After overrun(): each SA of ours that there is (its dir may be 0 where the data plane does not tell), and acquires that wait
	 * are reported once more. May be NULL, when events are never lost.
	 */
	enum cy_err (*sa_dump)(void *k,
	    void (*cb)(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats),
	    void *user);
	/* As observed; any thread, may wait for a lock. May be NULL: the data plane cannot tell. */
	enum cy_err (*sa_place)(void *k, const struct cy_kernel_sa_id *id, struct cy_kernel_place *out);
	/* Its threads; returns how many were written. Any thread. May be NULL: it has none. */
	size_t (*lanes)(void *k, struct cy_kernel_lane *out, size_t cap);
	/*
	 * The device is there and up afterwards. One that an administrator made is used when it is of the same kind, with the
	 * same marks or if_id, and is never removed; CY_E_EXISTS: it is not. CY_E_UNSUPPORTED: this data plane, or kernel, has
	 * none. why gets a sentence. All four may be NULL.
	 */
	enum cy_err (*device_add)(void *k, const struct cy_kernel_device *d, char *why, size_t why_cap);
	enum cy_err (*device_del)(void *k, const struct cy_kernel_device *d);
	/* Addresses of the device, and routes to it: on, or off. local: the source address is to be within, NULL any. */
	enum cy_err (*device_addr)(
	    void *k, const char *name, const struct cy_addr *addr, uint8_t prefix, bool on);
	enum cy_err (*device_route)(
	    void *k, const char *name, const struct cy_ts *dst, const struct cy_ts *local, bool on);
};

#endif
