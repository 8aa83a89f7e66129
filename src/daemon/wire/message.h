/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IKE messages as structs. ikev2.def and ikev1.def describe the payloads; exchanges.def says which payload may
 * appear where. One interpreter parses, one builds, one prints, one makes random valid messages.
 *
 * Everything parsed lives in the caller's arena; slices point into the datagram. One thread at a time.
 */
#ifndef DAEMON_WIRE_MESSAGE_H
#define DAEMON_WIRE_MESSAGE_H

#include "libcore/base/arena.h"
#include "libcore/base/names.h"
#include "libcore/base/rw.h"
#include "libcore/crypto/proposal.h"

#define IKE_HEADER_LEN 28

/* RFC 7296, 3.1 */
enum ike_flag { IKE_FLAG_INITIATOR = 0x08, IKE_FLAG_VERSION = 0x10, IKE_FLAG_RESPONSE = 0x20 };
/* RFC 2408, 3.1: those of IKEv1 */
enum v1_flag { V1_FLAG_ENCRYPTED = 0x01, V1_FLAG_COMMIT = 0x02, V1_FLAG_AUTH_ONLY = 0x04 };
enum exchange {
	EXCHANGE_V1_MAIN = 2, /* identity protection */
	EXCHANGE_V1_AGGRESSIVE = 4,
	EXCHANGE_V1_INFORMATIONAL = 5,
	EXCHANGE_V1_TRANSACTION = 6,
	EXCHANGE_V1_QUICK = 32,
	EXCHANGE_IKE_SA_INIT = 34,
	EXCHANGE_IKE_AUTH = 35,
	EXCHANGE_CREATE_CHILD_SA = 36,
	EXCHANGE_INFORMATIONAL = 37,
};
enum payload_type {
	PAYLOAD_NONE = 0,
#define PAYLOAD(name, number, tag, text, words) PAYLOAD_##name = number,
#include "daemon/wire/ikev2.def"
};

struct ike_header {
	uint64_t spi_i, spi_r; /* host byte order value of the 8 bytes */
	uint8_t next, major, minor, exchange, flags;
	uint32_t msgid, length;
};

struct cp_attr {
	uint16_t type;
	struct cy_slice value;
};

/* A data attribute of IKEv1 (RFC 2408, 3.3). tv: the value is two bytes long and has no length on the wire. */
struct v1_attr {
	uint16_t type; /* without the bit that says so */
	bool tv;
	struct cy_slice data;
};
struct v1_transform {
	uint8_t number, id;
	struct v1_attr *attrs;
	size_t n;
};
struct v1_proposal {
	uint8_t number, proto, spi_len;
	uint8_t spi[16]; /* RFC 2408, 4.2.1: phase 1 may have up to 16 bytes, to be ignored */
	struct v1_transform *t;
	size_t n;
};

/*
 * The structs below, from ikev2.def:
 *
 *	payload_sa      p, n (proposals)            payload_ke      group, data
 *	payload_id      type, data                  payload_cert    encoding, data
 *	payload_auth    method, data                payload_notify  proto, spi, type, data
 *	payload_del     proto, spi_len, n, spis (n * spi_len bytes)
 *	payload_ts      ts, n, n_unknown            payload_cp      type (CFG_REQUEST..), attrs, n
 *	payload_sk      frag_no, frag_total (SKF only), body (IV, ciphertext, ICV), inner_next (first encrypted payload)
 */
/* clang-format off */
#define WIRE_SHAPES_ONLY
#define SHAPE(tag, member)                       struct tag {
#define F_U8(tag, member, lo, hi)                uint8_t member;
#define F_U16(tag, member, lo, hi)               uint16_t member;
#define F_U16_IN(tag, type, member, lo, hi)      uint16_t member;
#define F_U32(tag, member)                       uint32_t member;
#define F_NEXT(tag, member)                      uint8_t member;
#define F_REST(tag, member, min, max)            struct cy_slice member;
#define F_BYTES(tag, member)                     struct cy_slice member;
#define F_TIMES(tag, member, n, size)            struct cy_slice member;
#define F_LIST(tag, record, member, n, min, max) struct record *member; size_t n;
#define F_COUNTED(tag, record, member, n, skipped, min, max) struct record *member; size_t n, skipped;
#define SHAPE_END(tag)                           };
/* clang-format on */
#include "daemon/wire/ikev2.def"

/* One payload. Which member of the union counts follows from type: sa, ke, id, cert, auth, nonce, notify, del, vendor, ts, sk,
   cp, eap. */
struct payload {
	struct payload *next;
	uint8_t type;
	bool critical;
	bool unknown;        /* a type we do not know: only raw is set */
	struct cy_slice raw; /* body without generic header, as received; building: of unknown types only */
	union {
#define SHAPE(tag, member)     struct tag member;
#define BARE(member, min, max) struct cy_slice member;
#include "daemon/wire/ikev2.def"
	} u;
};
#undef WIRE_SHAPES_ONLY

struct message {
	struct ike_header h;
	struct payload *first, **tail;
};

/* Why a message was refused: which answer the RFC wants, and words. */
struct wire_error {
	uint16_t notify;     /* INVALID_SYNTAX, UNSUPPORTED_CRITICAL_PAYLOAD, ...; 0: drop silently */
	uint8_t notify_data; /* the payload type for UNSUPPORTED_CRITICAL_PAYLOAD */
	char text[160];
};

/* --- parsing --- */
/* Reads and checks the header only: length against the datagram, flags, not the version. CY_E_PARSE, CY_E_SHORT. */
enum cy_err wire_header_parse(struct cy_slice datagram, struct ike_header *out) CY_MUST_USE;
/* A chain of payloads, the first of type next, that fills body exactly. Stops after an SK/SKF payload, which must be last.
   At most 128 payloads, bounded nesting. */
enum cy_err wire_chain_parse(struct arena *a, uint8_t next, struct cy_slice body, struct payload **out_first,
    struct wire_error *out_why) CY_MUST_USE;
/* The same for payloads of IKEv1 (RFC 2408, 3.2). padded: it was encrypted, what follows the last payload is padding. */
enum cy_err wire_v1_chain_parse(struct arena *a, uint8_t next, struct cy_slice body, bool padded,
    struct payload **out_first, struct wire_error *out_why) CY_MUST_USE;
/* Header and clear chain of a whole IKEv2 datagram. Nobody has authenticated it: out_why->notify is 0 but for
   INVALID_MAJOR_VERSION and, in an IKE_SA_INIT request, UNSUPPORTED_CRITICAL_PAYLOAD (RFC 7296, 2.5, 2.21.1, 3.10.1). */
enum cy_err wire_message_parse(
    struct arena *a, struct cy_slice datagram, struct message *out, struct wire_error *out_why) CY_MUST_USE;
/* Are these the payloads this exchange allows, in number and protection (exchanges.def)? encrypted: payloads came from SK.
   A response that carries an error notify instead of its payloads passes, and one with COOKIE or REDIRECT to IKE_SA_INIT; and
   in clear, the outside of a protected message and notifies on their own, which are hints at best (1.5). */
enum cy_err wire_check(const struct ike_header *h, const struct payload *first, bool encrypted,
    struct wire_error *out_why) CY_MUST_USE;

struct payload *wire_find(const struct payload *first, uint8_t type); /* first of a type, or NULL */
struct payload *wire_find_after(const struct payload *p, uint8_t type);
struct payload *wire_find_notify(const struct payload *first, uint16_t notify);
/* First error notify (type < 16384), or NULL. */
struct payload *wire_find_error(const struct payload *first);

/* --- building --- */
void message_init(struct message *m, const struct ike_header *h);
/* Appends an empty payload to fill in; NULL without memory. */
struct payload *message_add(struct arena *a, struct message *m, uint8_t type);
/* Conveniences; data is borrowed until the message is encoded. They return false without memory. */
bool message_notify(struct arena *a, struct message *m, uint8_t proto, uint16_t type, struct cy_slice spi,
    struct cy_slice data);
bool message_nonce(struct arena *a, struct message *m, struct cy_slice nonce);
bool message_ke(struct arena *a, struct message *m, uint16_t group, struct cy_slice data);
bool message_id(struct arena *a, struct message *m, uint8_t type, uint8_t id_type, struct cy_slice data);
/* Proposals without a number get theirs here, from 1. */
bool message_sa(struct arena *a, struct message *m, struct proposal *p, size_t n);
bool message_ts(struct arena *a, struct message *m, uint8_t type, struct cy_ts *ts, size_t n);
bool message_delete(
    struct arena *a, struct message *m, uint8_t proto, const uint32_t *spis_host_order, size_t n);
/* Only the payload chain (what goes into SK); *out_next: type of the first. CY_E_SHORT when w is full. */
enum cy_err wire_chain_encode(const struct message *m, struct writer *w, uint8_t *out_next) CY_MUST_USE;
/* Header and chain in clear, length filled in. */
enum cy_err wire_message_encode(const struct message *m, struct writer *w) CY_MUST_USE;

/* "IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) ]" as charon prints. */
const char *wire_print(const struct ike_header *h, const struct payload *first, char *out, size_t cap);
/* Every field of every payload, a line each payload, for the curious and for tests. */
const char *wire_dump(const struct payload *first, char *out, size_t cap);
/* payload_names: charon's short ones. notify_names, cp_attr_names: the registry's; the short ones as charon prints them. */
extern const struct name exchange_names[], payload_names[], notify_names[], notify_short_names[],
    auth_method_names[], cert_encoding_names[], cp_attr_names[], cp_attr_short_names[];

/* Registry "IKEv2 Notify Message Types": N_COOKIE, N_NO_PROPOSAL_CHOSEN, ... */
enum notify_type {
#define NOTIFY(name, number, text, min, max) N_##name = number,
#include "daemon/wire/notify.def"
};
enum auth_method {
	AUTHM_RSA = 1,
	AUTHM_PSK = 2,
	AUTHM_ECDSA_256 = 9,
	AUTHM_ECDSA_384 = 10,
	AUTHM_ECDSA_521 = 11,
	AUTHM_NULL = 13,
	AUTHM_DIGITAL_SIGNATURE = 14,
};
enum cfg_type { CFG_REQUEST = 1, CFG_REPLY, CFG_SET, CFG_ACK };
/* CFG_INTERNAL_IP4_ADDRESS, ... */
enum cfg_attr {
#define CP_ATTR(name, number, text, min, max) CFG_##name = number,
#include "daemon/wire/ikev2.def"
};
/* RFC 2407 4.6.3, RFC 2408 3.14.1, RFC 3706 */
enum v1_notify_type {
#define V1_NOTIFY(name, number) V1N_##name = number,
#include "daemon/wire/v1notify.def"
};
extern const struct name v1_notify_names[], v1_attr_names[], v1_attr_short_names[];
/* draft-ietf-ipsec-isakmp-mode-cfg 3.3 and others: V1A_INTERNAL_IP4_ADDRESS, ... */
enum v1_config_attr {
#define V1_ATTR(name, number, text, min, max) V1A_##name = number,
#include "daemon/wire/ikev2.def"
};
enum cert_encoding { CERT_X509_SIGNATURE = 4, CERT_RAW_PUBKEY = 15, CERT_HASH_URL = 12 };

#endif
