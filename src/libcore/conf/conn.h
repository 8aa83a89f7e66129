/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection as the daemon uses it, after dialects, defaults, `also` and aliases are resolved. Immutable once loaded,
 * counted and shared by SAs; a reload compares by `digest` and replaces only what changed. Sides are local and remote here,
 * never left and right.
 */
#ifndef LIBCORE_CONF_CONN_H
#define LIBCORE_CONF_CONN_H

#include <cygnet/kernel.h>

#include "libcore/base/addr.h"
#include "libcore/base/ident.h"
#include "libcore/crypto/proposal.h"

enum conf_dialect { DIALECT_AUTO, DIALECT_STRONGSWAN, DIALECT_LIBRESWAN };
enum conn_version { CONN_IKE_ANY, CONN_IKEV1, CONN_IKEV2 };
enum conn_auto { AUTO_IGNORE, AUTO_ADD, AUTO_ROUTE, AUTO_START, AUTO_KEEP };
enum conn_auth { AUTH_NONE, AUTH_PSK, AUTH_PUBKEY, AUTH_NULL, AUTH_EAP, AUTH_XAUTH, AUTH_NEVER };
enum conn_type { TYPE_TUNNEL, TYPE_TRANSPORT, TYPE_PASS, TYPE_DROP };
enum conn_dpd { DPD_NONE, DPD_CLEAR, DPD_HOLD, DPD_RESTART };
enum conn_sendcert { SENDCERT_IFASKED, SENDCERT_ALWAYS, SENDCERT_NEVER };
enum conn_frag { FRAG_YES, FRAG_ACCEPT, FRAG_FORCE, FRAG_NO };
/* A mark or if_id of each CHILD_SA's own: one for both directions, or one for each. */
enum conn_own_id { OWN_ID_NO, OWN_ID_CHILD, OWN_ID_DIRECTION };
enum conn_pcpu { PCPU_NO, PCPU_YES, PCPU_ENCAP };
#define CONN_CLONES_MAX 1024
/* A peer whose network is known when it asks: one address, or any network, of those allowed. */
enum conn_virtual { VIRTUAL_NO, VIRTUAL_HOST, VIRTUAL_NET };
enum conn_unique { UNIQUE_REPLACE, UNIQUE_KEEP, UNIQUE_NO, UNIQUE_NEVER };

struct str_list {
	char **s; /* owned */
	size_t n;
};

/* Where the peer (or we) may be. An empty list is %any. */
struct host_spec {
	struct str_list names;     /* as written: addresses, ranges, DNS names, %defaultroute, %any */
	struct addr_range *ranges; /* the numeric ones, parsed; owned */
	size_t n_ranges;
	bool any;            /* %any or allowany */
	bool any_ip6;        /* %any6 */
	bool defaultroute;   /* %defaultroute */
	struct str_list dns; /* to be resolved */
	uint16_t port;       /* leftikeport; 0 = 500 */
};

struct conn_auth_round {
	enum conn_auth method;
	uint32_t key_types;    /* pubkey: bit per enum cy_key_type, 0 = any */
	uint32_t hashes;       /* of the IKE signature: bit per enum cy_hash, 0 = any */
	struct ident id;       /* ID_ANY: not set */
	struct str_list certs; /* leftcert */
	char *pubkey;          /* leftsigkey / leftrsasigkey as written, or NULL */
	struct ident ca;       /* leftca; ID_ANY none */
	char *eap_method;
};

struct conn_end {
	struct host_spec host;
	struct conn_auth_round auth[2];
	uint8_t n_auth;
	enum conn_sendcert sendcert;
	struct cy_ts *ts; /* leftsubnet, with protoport; none: dynamic (own address or virtual IP) */
	size_t n_ts;
	bool ts_dynamic;        /* use the address (or virtual IP) of this side */
	bool ts_per_child;      /* libreswan leftsubnets: every pair a CHILD_SA of its own */
	enum conn_virtual virt; /* vhost:, vnet:, of a remote end; then it is dynamic, too */
	bool virt_self;         /* %no: its own address, without a network */
	struct cy_ts *virt_ts;  /* %priv and others, without what is excluded */
	size_t n_virt_ts;
	uint8_t ts_proto;                /* protoport applied to dynamic selectors */
	uint16_t ts_port_lo, ts_port_hi; /* 0..65535 when any */
	/* What leftsourceip says means pools on the remote side and requests on the local one; which side is which may turn
	   round (conn_swap_ends), so both are filled in: look at remote.pools and local.request_* only. */
	struct str_list pools;           /* ranges ("10.3.0.0/24", "10.3.0.9") */
	bool request_vip4, request_vip6; /* leftsourceip=%config, %config4, %config6 */
	struct cy_addr *request_addrs;   /* ask for this very address */
	size_t n_request_addrs;
	struct cy_addr source_ip; /* libreswan leftsourceip: local source address */
	struct cy_addr *dns;      /* rightdns: given to clients; or local: requested */
	size_t n_dns;
	bool ignore_dns; /* of the peer, when it gives an address */
	char *updown;
	bool hostaccess, firewall;
	/* The reader makes both ends agree: local.xauth_server means remote.xauth_client, and so on. A client whose
	   auth[0].method is AUTH_XAUTH proves nothing before (hybrid authentication). */
	bool xauth_server;          /* this side asks the other for user and password */
	bool xauth_client;          /* this side is asked */
	bool modecfg_server;        /* this side gives an address to the other, from the other's pools */
	bool modecfg_client;        /* this side gets one */
	char *xauth_user;           /* xauth_identity, leftusername: the client's name, or NULL */
	struct cy_addr device_addr; /* of this side on the connection's device; family 0 none */
	uint8_t device_prefix;
};

/* A device that carries the tunnels: vti-interface=, ipsec-interface=. */
struct conn_device {
	uint8_t kind; /* enum cy_device_kind, 0: no device */
	char name[16];
	bool shared;  /* with other connections and any peer */
	bool routing; /* routes to the peer's networks and pools lead to it */
	bool managed; /* made when there is none; else an administrator makes it */
};

struct conn {
	uint32_t refs;
	char *name;
	char *
	    alias; /* of one pair of leftsubnets= and rightsubnets= ("net/1x2"): the section's name; else NULL */
	char *file;
	uint32_t line;
	enum conf_dialect dialect;
	enum conn_version version;
	enum conn_auto start;
	enum conn_type type;
	struct conn_end local, remote;
	struct proposal_list ike, child; /* empty: the defaults */
	bool ike_strict, child_strict;   /* no defaults appended */
	bool child_ah;
	bool authorize; /* plugins that may say no are asked */
	bool aggressive, mobike, compress, rekey, reauth, pfs, force_encap, install_policy, sha256_96;
	bool allow_esn, require_esn;
	enum conn_frag fragmentation;
	enum conn_unique unique;
	enum conn_dpd dpd_action, close_action;
	uint32_t dpd_delay_s;   /* 0 = off */
	uint32_t dpd_timeout_s; /* IKEv1; 0: the retransmissions decide */
	bool dpd_unsaid;        /* neither how often nor not at all: dpd_delay of cygnet.conf counts */
	uint32_t ike_lifetime_s, child_lifetime_s; /* hard */
	uint32_t rekey_margin_s, rekey_fuzz_pct;
	uint64_t life_bytes, life_packets, margin_bytes, margin_packets;
	uint32_t keyingtries;           /* 0 = for ever */
	uint32_t retransmit_tries;      /* 0 = the daemon's */
	uint32_t retransmit_timeout_ms; /* 0 = the daemon's */
	uint32_t inactivity_s;
	uint32_t reqid;         /* 0 = chosen */
	uint32_t replay_window; /* packets; UINT32_MAX: the daemon's default */
	uint32_t tfc;
	struct cy_mark mark_in, mark_out;
	enum conn_own_id mark_in_own, mark_out_own, if_id_in_own, if_id_out_own;
	uint32_t if_id_in, if_id_out;
	struct conn_device device;
	enum conn_pcpu per_cpu; /* RFC 9611 */
	uint32_t clones;        /* SAs of CPUs at most, besides the first; 0: as many as there are CPUs */
	uint8_t ike_dscp, copy_dscp;
	bool no_ecn, no_pmtu_disc;
	uint32_t priority; /* 0 = computed */
	uint32_t mtu, metric;
	/* XAUTH and Mode Config (IKEv1); who is server and client is in the ends */
	char *xauth_backend; /* of the server: "pam", "generic", "none"; never NULL when local.xauth_server */
	bool xauth_soft;     /* xauthfail=soft: who is refused comes in all the same */
	bool modecfg_pull;   /* the client asks for its address; else the server pushes it */
	bool cisco_unity;    /* the vendor ID and the attributes of Cisco Unity */
	char *modecfg_banner;        /* or NULL */
	struct str_list dns_domains; /* modecfgdomains */
	/* with cisco_unity, as advice to the client: */
	bool modecfg_save_password;      /* it may keep the user's password */
	struct str_list modecfg_backups; /* servers to try when this one is away */
	uint64_t digest[2];              /* of everything above that matters; equal = unchanged */
};

bool conn_is_called(const struct conn *c, const char *name); /* by its name or its alias */
struct conn *conn_ref(struct conn *c);                       /* any thread */
void conn_unref(struct conn *c);
/* Defaults of the dialect; name copied. */
enum cy_err conn_new(const char *name, enum conf_dialect dialect, struct conn **out) CY_MUST_USE;
/* Exchanges local and remote, before the conn is shared: when only `remote` is one of our addresses. */
void conn_swap_ends(struct conn *c);
/* Sets digest from everything else. The reader and conn_swap_ends() have done it. */
void conn_seal(struct conn *c);
/* One paragraph in plain words: who may connect how (ipsec check). malloc'd; NULL without memory. */
char *conn_describe(const struct conn *c);

#endif
