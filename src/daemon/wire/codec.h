/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The constant tables that ikev2.def, notify.def and exchanges.def become, for the interpreters in this folder. A field's place
 * counts from the start of its record, or of the union in struct payload. Any thread.
 */
#ifndef DAEMON_WIRE_CODEC_H
#define DAEMON_WIRE_CODEC_H

#include "daemon/wire/message.h"

#define GENERIC_HEADER_LEN 4
#define WIRE_MAX_PAYLOADS  128

enum wire_kind {
	WIRE_END, /* the last entry of each table */
	WIRE_U8,
	WIRE_U16,
	WIRE_U15,
	WIRE_NEXT,
	WIRE_ZERO,
	WIRE_REST,
	WIRE_SIZE8,
	WIRE_SIZE16,
	WIRE_BYTES,
	WIRE_TIMES,
	WIRE_SIZE_INLINE,
	WIRE_INLINE,
	WIRE_LIST,
	WIRE_COUNTED,
	WIRE_ARRAY,
	WIRE_COUNT8,
	WIRE_MORE,
	WIRE_LEN,
	WIRE_TS_TYPE,
	WIRE_TS_ADDR,
	WIRE_ATTRS,
	WIRE_U32,
	WIRE_TV,
};

struct wire_record;

struct wire_field {
	uint8_t kind;
	uint8_t only;     /* payload type this field is for, 0: every one */
	uint16_t arg;     /* WIRE_ZERO: bytes; WIRE_MORE: the value */
	uint16_t at;      /* of the member */
	uint16_t n_at;    /* of its number or length */
	uint16_t size_at; /* WIRE_TIMES: of the length of one; WIRE_COUNTED: of the number left out */
	uint32_t lo, hi;  /* bounds of the value, length or number */
	const struct wire_record *rec;
	const char *name;
};

struct wire_record {
	const char *name;
	size_t size;      /* of the struct */
	size_t uncounted; /* bytes its length does not count; those of an attribute that has no length, too */
	const struct wire_field *fields;
};

struct wire_payload {
	const struct wire_field *fields; /* NULL: a type we do not know */
	const char *text;
	uint8_t major; /* version of IKE it belongs to */
};

/* By payload type; never NULL. Both versions share the table: their numbers are not the same. */
const struct wire_payload *wire_payload(uint8_t type);

struct wire_bounds {
	uint16_t type;
	uint16_t min, max;
};
/* Bounds of a notify's data, of a configuration attribute's value; NULL: a type we do not know. */
const struct wire_bounds *wire_notify_bounds(uint16_t type);
const struct wire_bounds *wire_attr_bounds(uint16_t type);
const struct wire_bounds *wire_v1_attr_bounds(uint16_t type);
extern const struct wire_bounds wire_notifies[], wire_attrs[], wire_v1_attrs[];
extern const size_t wire_n_notifies, wire_n_attrs, wire_n_v1_attrs;

/* exchanges.def */
struct wire_rule {
	uint8_t type, min, max, group; /* a table ends with type 0 */
};
enum { WIRE_ANY = 0 };
struct wire_form {
	const char *name;
	uint8_t exchange; /* WIRE_ANY: all but IKE_SA_INIT */
	bool response, encrypted;
	uint8_t key;
	const struct wire_rule *rules;
};
extern const struct wire_form wire_forms[];
extern const size_t wire_n_forms;
struct wire_instead {
	uint8_t exchange;
	uint16_t notify;
};
extern const struct wire_instead wire_insteads[];
extern const size_t wire_n_insteads;

/* build.c: the header as it stands; then the length of the message that began at start. */
void wire_header_encode(const struct ike_header *h, struct writer *w);
void wire_length_set(struct writer *w, size_t start);

/* Fields as the interpreters reach them. */
static inline void *field_at(void *base, uint16_t at)
{
	return (char *)base + at;
}
static inline const void *field_in(const void *base, uint16_t at)
{
	return (const char *)base + at;
}

enum { TS_TYPE_IPV4 = 7, TS_TYPE_IPV6 = 8 };     /* RFC 7296, 3.13.1 */
enum { ATTR_TV = 0x8000, ATTR_KEY_LENGTH = 14 }; /* 3.3.5 */

#endif
