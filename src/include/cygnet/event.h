/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: what happens to SAs, as immutable records. A listener gets a borrowed record, valid for the call.
 * Strings are NUL-terminated, never NULL ("" when unknown).
 */
#ifndef CYGNET_EVENT_H
#define CYGNET_EVENT_H

#include <cygnet/types.h>

enum cy_event_kind {
	CY_EV_READY = 1, /* configuration loaded, sockets open */
	CY_EV_STOPPING,
	CY_EV_RELOADED,
	CY_EV_IKE_UP, /* authenticated */
	CY_EV_IKE_DOWN,
	CY_EV_IKE_REKEYED,
	CY_EV_IKE_FAILED, /* never came up: reason says why */
	CY_EV_CHILD_UP,   /* installed in the data plane, both directions */
	CY_EV_CHILD_DOWN, /* those that replaced one another since then are all gone */
	CY_EV_CHILD_REKEYED,
	CY_EV_ADDRESS_CHANGED,
};

struct cy_event {
	uint32_t size;
	uint32_t kind;
	int64_t wall; /* Unix seconds */
	uint64_t seq;
	const char *conn;   /* connection name */
	const char *reason; /* one sentence, for DOWN and FAILED */
	uint64_t ike_id;    /* unique number of the IKE_SA, as `ipsec status` shows it */
	uint8_t ike_version, initiator, mode /* enum cy_ipsec_mode */, pad_;
	struct cy_addr local, remote;
	const char *local_id, *remote_id, *user; /* user: XAUTH/EAP name */
	/* CHILD_* only */
	uint64_t child_id;
	uint32_t spi_in, spi_out, reqid, if_id;
	struct cy_mark mark;
	const struct cy_ts *ts_local, *ts_remote;
	uint32_t n_ts_local, n_ts_remote;
	const struct cy_addr
	    *vips; /* virtual addresses: given to the peer (responder) or to us (initiator) */
	uint32_t n_vips;
	const char *updown;                                    /* the connection's leftupdown, "" none */
	uint64_t bytes_in, bytes_out, packets_in, packets_out; /* at DOWN */
	const struct cy_addr *dns;                             /* given to us */
	uint32_t n_dns;
	uint8_t hostaccess, firewall;
	uint8_t proto;     /* 50 ESP, 51 AH; CHILD_* */
	uint8_t encap;     /* ESP in UDP, to and from remote.port */
	uint32_t if_id_in; /* if_id and mark are those of the way out */
	struct cy_mark mark_in;
	uint32_t spi_in_before; /* REKEYED: of the one that is replaced, 0 unknown; no DOWN tells its end */
};

#endif
