/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IKE messages as structs. ikev2.def (and later ikev1.def) describe the payloads; exchanges.def says which payload may
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
enum exchange {
	EXCHANGE_IKE_SA_INIT = 34,
	EXCHANGE_IKE_AUTH = 35,
	EXCHANGE_CREATE_CHILD_SA = 36,
	EXCHANGE_INFORMATIONAL = 37,
};
enum payload_type {
	PAYLOAD_NONE = 0,
	PAYLOAD_SA = 33,
	PAYLOAD_KE,
	PAYLOAD_IDI,
	PAYLOAD_IDR,
	PAYLOAD_CERT,
	PAYLOAD_CERTREQ,
	PAYLOAD_AUTH,
	PAYLOAD_NONCE,
	PAYLOAD_NOTIFY,
	PAYLOAD_DELETE,
	PAYLOAD_VENDOR,
	PAYLOAD_TSI,
	PAYLOAD_TSR,
	PAYLOAD_SK,
	PAYLOAD_CP,
	PAYLOAD_EAP,
	PAYLOAD_SKF = 53,
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

/* One payload. Which member of the union counts follows from type. */
struct payload {
	struct payload *next;
	uint8_t type;
	bool critical;
	bool unknown;        /* a type we do not know: only raw is set */
	struct cy_slice raw; /* body without the generic header, as received; building ignores it */
	union {
		struct {
			struct proposal *p;
			size_t n;
		} sa;
		struct {
			uint16_t group;
			struct cy_slice data;
		} ke;
		struct {
			uint8_t type;
			struct cy_slice data;
		} id; /* IDI, IDR */
		struct {
			uint8_t encoding;
			struct cy_slice data;
		} cert; /* CERT, CERTREQ */
		struct {
			uint8_t method;
			struct cy_slice data;
		} auth;
		struct cy_slice nonce, vendor, eap;
		struct {
			uint8_t proto;
			uint16_t type;
			struct cy_slice spi, data;
		} notify;
		struct {
			uint8_t proto, spi_len;
			uint16_t n;
			struct cy_slice spis; /* n * spi_len bytes */
		} del;
		struct {
			struct cy_ts *ts;
			size_t n;
			size_t n_unknown; /* selectors of types we do not know, skipped */
		} ts;
		struct {
			uint8_t type; /* CFG_REQUEST.. */
			struct cp_attr *attrs;
			size_t n;
		} cp;
		struct {
			uint16_t frag_no, frag_total; /* SKF only */
			struct cy_slice body;         /* IV, ciphertext, ICV */
			uint8_t inner_next;           /* first encrypted payload */
		} sk;                                 /* SK, SKF */
	} u;
};

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
/* Header and clear chain of a whole IKEv2 datagram. */
enum cy_err wire_message_parse(
    struct arena *a, struct cy_slice datagram, struct message *out, struct wire_error *out_why) CY_MUST_USE;
/* Are these the payloads this exchange allows, in number and protection (exchanges.def)? encrypted: payloads came from SK.
   A response that carries an error notify instead of its payloads passes. */
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
extern const struct name exchange_names[], payload_names[], notify_names[], auth_method_names[],
    cert_encoding_names[], cp_attr_names[];

/* RFC 7296, 3.10.1 and registry "IKEv2 Notify Message Types" (complete it in notify.def) */
enum notify_type {
	N_UNSUPPORTED_CRITICAL_PAYLOAD = 1,
	N_INVALID_IKE_SPI = 4,
	N_INVALID_MAJOR_VERSION = 5,
	N_INVALID_SYNTAX = 7,
	N_INVALID_MESSAGE_ID = 9,
	N_INVALID_SPI = 11,
	N_NO_PROPOSAL_CHOSEN = 14,
	N_INVALID_KE_PAYLOAD = 17,
	N_AUTHENTICATION_FAILED = 24,
	N_SINGLE_PAIR_REQUIRED = 34,
	N_NO_ADDITIONAL_SAS = 35,
	N_INTERNAL_ADDRESS_FAILURE = 36,
	N_FAILED_CP_REQUIRED = 37,
	N_TS_UNACCEPTABLE = 38,
	N_INVALID_SELECTORS = 39,
	N_TEMPORARY_FAILURE = 43,
	N_CHILD_SA_NOT_FOUND = 44,
	N_INITIAL_CONTACT = 16384,
	N_SET_WINDOW_SIZE = 16385,
	N_ADDITIONAL_TS_POSSIBLE = 16386,
	N_IPCOMP_SUPPORTED = 16387,
	N_NAT_DETECTION_SOURCE_IP = 16388,
	N_NAT_DETECTION_DESTINATION_IP = 16389,
	N_COOKIE = 16390,
	N_USE_TRANSPORT_MODE = 16391,
	N_HTTP_CERT_LOOKUP_SUPPORTED = 16392,
	N_REKEY_SA = 16393,
	N_ESP_TFC_PADDING_NOT_SUPPORTED = 16394,
	N_NON_FIRST_FRAGMENTS_ALSO = 16395,
	N_MOBIKE_SUPPORTED = 16396,
	N_EAP_ONLY_AUTHENTICATION = 16417,
	N_IKEV2_FRAGMENTATION_SUPPORTED = 16430,
	N_SIGNATURE_HASH_ALGORITHMS = 16431,
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
enum cfg_attr {
	CFG_INTERNAL_IP4_ADDRESS = 1,
	CFG_INTERNAL_IP4_NETMASK = 2,
	CFG_INTERNAL_IP4_DNS = 3,
	CFG_INTERNAL_IP4_NBNS = 4,
	CFG_APPLICATION_VERSION = 7,
	CFG_INTERNAL_IP6_ADDRESS = 8,
	CFG_INTERNAL_IP6_DNS = 10,
	CFG_INTERNAL_IP4_SUBNET = 13,
	CFG_SUPPORTED_ATTRIBUTES = 14,
	CFG_INTERNAL_IP6_SUBNET = 15,
	CFG_INTERNAL_DNS_DOMAIN = 25,
};
enum cert_encoding { CERT_X509_SIGNATURE = 4, CERT_RAW_PUBKEY = 15, CERT_HASH_URL = 12 };

#endif
