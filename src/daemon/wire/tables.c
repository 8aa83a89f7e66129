/* SPDX-License-Identifier: Apache-2.0 */
/* ikev1.def, ikev2.def, the notifies and exchanges.def become tables. */
#include "daemon/wire/codec.h"

#include <stdlib.h>

#include "libcore/base/err.h"

/* clang-format off */
/* --- fields -------------------------------------------------------------------------------------------------- */
#define M(tag, member) offsetof(struct tag, member)
#define BARE(member, min, max) \
	static const struct wire_field fields_##member[] = { \
	    {.kind = WIRE_REST, .lo = min, .hi = max, .name = "data"}, {.kind = WIRE_END}};
#define F_U8(tag, m, l, h)           {.kind = WIRE_U8, .at = M(tag, m), .lo = l, .hi = h, .name = #m},
#define F_U16(tag, m, l, h)          {.kind = WIRE_U16, .at = M(tag, m), .lo = l, .hi = h, .name = #m},
#define F_U15(tag, m)                {.kind = WIRE_U15, .at = M(tag, m), .hi = 32767, .name = #m},
#define F_U16_IN(tag, type, m, l, h) {.kind = WIRE_U16, .only = PAYLOAD_##type, .at = M(tag, m), .lo = l, .hi = h, .name = #m},
#define F_U32(tag, m)                {.kind = WIRE_U32, .at = M(tag, m), .hi = UINT32_MAX, .name = #m},
#define F_TV(tag)                    {.kind = WIRE_TV, .hi = 65535, .name = "value"},
#define F_NEXT(tag, m)               {.kind = WIRE_NEXT, .at = M(tag, m), .hi = 255, .name = #m},
#define F_ZERO(tag, n)               {.kind = WIRE_ZERO, .arg = n, .name = "reserved"},
#define F_REST(tag, m, l, h)         {.kind = WIRE_REST, .at = M(tag, m), .lo = l, .hi = h, .name = #m},
#define F_SIZE8(tag, m)              {.kind = WIRE_SIZE8, .at = M(tag, m), .hi = 255, .name = #m},
#define F_SIZE16(tag, m)             {.kind = WIRE_SIZE16, .at = M(tag, m), .hi = 65535, .name = #m},
#define F_BYTES(tag, m)              {.kind = WIRE_BYTES, .at = M(tag, m), .name = #m},
#define F_TIMES(tag, m, n, size)     {.kind = WIRE_TIMES, .at = M(tag, m), .n_at = M(tag, n), .size_at = M(tag, size), .name = #m},
#define F_SIZE_INLINE(tag, m, size)  {.kind = WIRE_SIZE_INLINE, .at = M(tag, m), .n_at = M(tag, size), \
	.hi = sizeof(((struct tag *)0)->m), .name = #m},
#define F_INLINE(tag, m, size)       {.kind = WIRE_INLINE, .at = M(tag, m), .n_at = M(tag, size), \
	.hi = sizeof(((struct tag *)0)->m), .name = #m},
#define F_LIST(tag, r, m, n, l, h)   {.kind = WIRE_LIST, .at = M(tag, m), .n_at = M(tag, n), .lo = l, .hi = h, .rec = &record_##r, .name = #m},
#define F_COUNTED(tag, r, m, n, s, l, h) {.kind = WIRE_COUNTED, .at = M(tag, m), .n_at = M(tag, n), .size_at = M(tag, s), \
	.lo = l, .hi = h, .rec = &record_##r, .name = #m},
#define F_ARRAY(tag, r, m, n)        {.kind = WIRE_ARRAY, .at = M(tag, m), .n_at = M(tag, n), .lo = 1, \
	.hi = ARRAY_LEN(((struct tag *)0)->m), .rec = &record_##r, .name = #m},
#define F_COUNT8(tag)                {.kind = WIRE_COUNT8, .hi = 255, .name = "count"},
#define F_MORE(tag, value)           {.kind = WIRE_MORE, .arg = value, .name = "last"},
#define F_LEN(tag)                   {.kind = WIRE_LEN, .name = "length"},
#define F_TS_TYPE(tag, m)            {.kind = WIRE_TS_TYPE, .at = M(tag, m), .hi = 1, .name = #m},
#define F_TS_ADDR(tag, m)            {.kind = WIRE_TS_ADDR, .at = M(tag, m), .n_at = M(tag, family_ip6), .name = #m},
#define F_ATTRS(tag)                 {.kind = WIRE_ATTRS, .at = M(tag, key_bits), .n_at = M(tag, unknown_attr), .name = "key_bits"},

#define RECORD(tag, words, uncounted) \
	static const struct wire_field fields_##tag[]; \
	static const struct wire_record record_##tag = {words, sizeof(struct tag), uncounted, fields_##tag}; \
	static const struct wire_field fields_##tag[] = {
#define RECORD_END(tag)    {.kind = WIRE_END}};
#define SHAPE(tag, member) static const struct wire_field fields_##tag[] = {
#define SHAPE_END(tag)     {.kind = WIRE_END}};
#include "daemon/wire/ikev2.def"

static const struct wire_payload payloads[256] = {
#define PAYLOAD(name, number, tag, words, long_words) [number] = {fields_##tag, words, 2},
#define PAYLOAD1(name, number, tag, words, long_words) [number] = {fields_##tag, words, 1},
#include "daemon/wire/ikev2.def"
};

/* clang-format on */
const struct wire_payload *wire_payload(uint8_t type)
{
	return &payloads[type];
}

/* clang-format off */
/* --- bounds by type ------------------------------------------------------------------------------------------- */
const struct wire_bounds wire_notifies[] = {
#define NOTIFY(name, number, text, min, max) {number, min, max},
#include "daemon/wire/notify.def"
};
const size_t wire_n_notifies = ARRAY_LEN(wire_notifies);

const struct wire_bounds wire_attrs[] = {
#define CP_ATTR(name, number, text, min, max) {number, min, max},
#include "daemon/wire/ikev2.def"
};
const size_t wire_n_attrs = ARRAY_LEN(wire_attrs);

const struct wire_bounds wire_v1_attrs[] = {
#define V1_ATTR(name, number, text, min, max) {number, min, max},
#include "daemon/wire/ikev2.def"
};
const size_t wire_n_v1_attrs = ARRAY_LEN(wire_v1_attrs);

/* clang-format on */
static int by_type(const void *key, const void *entry)
{
	return (int)*(const uint16_t *)key - (int)((const struct wire_bounds *)entry)->type;
}

/* These tables are in ascending order; the unit tests see to it. */
const struct wire_bounds *wire_notify_bounds(uint16_t type)
{
	return bsearch(&type, wire_notifies, wire_n_notifies, sizeof(*wire_notifies), by_type);
}

const struct wire_bounds *wire_attr_bounds(uint16_t type)
{
	return bsearch(&type, wire_attrs, wire_n_attrs, sizeof(*wire_attrs), by_type);
}

const struct wire_bounds *wire_v1_attr_bounds(uint16_t type)
{
	return bsearch(&type, wire_v1_attrs, wire_n_v1_attrs, sizeof(*wire_v1_attrs), by_type);
}

/* clang-format off */
/* --- exchanges ------------------------------------------------------------------------------------------------ */
#define MESSAGE(name, exchange, direction, protection, key) static const struct wire_rule rules_##name[] = {
#define ALLOW(payload, min, max, group)                     {PAYLOAD_##payload, min, max, group},
#define MESSAGE_END(name)                                   {0, 0, 0, 0}};
#include "daemon/wire/exchanges.def"

enum { EXCHANGE_ANY = WIRE_ANY };
enum { REQUEST = 0, RESPONSE = 1, CLEAR = 0, ENCRYPTED = 1 };
const struct wire_form wire_forms[] = {
#define MESSAGE(name, exchange, direction, protection, key) \
	{#name, EXCHANGE_##exchange, direction, protection, PAYLOAD_##key, rules_##name},
#include "daemon/wire/exchanges.def"
};
const size_t wire_n_forms = ARRAY_LEN(wire_forms);

const struct wire_instead wire_insteads[] = {
#define INSTEAD(exchange, notify) {EXCHANGE_##exchange, notify},
#include "daemon/wire/exchanges.def"
};
const size_t wire_n_insteads = ARRAY_LEN(wire_insteads);

/* clang-format on */
/* --- names ---------------------------------------------------------------------------------------------------- */
const struct name exchange_names[] = {
    {EXCHANGE_V1_MAIN, "ID_PROT"},
    {EXCHANGE_V1_AGGRESSIVE, "AGGRESSIVE"},
    {EXCHANGE_V1_INFORMATIONAL, "INFORMATIONAL_V1"},
    {EXCHANGE_V1_TRANSACTION, "TRANSACTION"},
    {EXCHANGE_V1_QUICK, "QUICK_MODE"},
    {EXCHANGE_IKE_SA_INIT, "IKE_SA_INIT"},
    {EXCHANGE_IKE_AUTH, "IKE_AUTH"},
    {EXCHANGE_CREATE_CHILD_SA, "CREATE_CHILD_SA"},
    {EXCHANGE_INFORMATIONAL, "INFORMATIONAL"},
    {38, "IKE_SESSION_RESUME"},
    {43, "IKE_INTERMEDIATE"},
    {44, "IKE_FOLLOWUP_KE"},
    {0, NULL},
};
const struct name payload_names[] = {
#define PAYLOAD(name, number, tag, text, words) {number, text},
#include "daemon/wire/ikev2.def"
    {0, NULL},
};
const struct name notify_names[] = {
#define NOTIFY(name, number, text, min, max) {number, #name},
#include "daemon/wire/notify.def"
    {0, NULL},
};
const struct name notify_short_names[] = {
#define NOTIFY(name, number, text, min, max) {number, text},
#include "daemon/wire/notify.def"
    {0, NULL},
};
const struct name cp_attr_names[] = {
#define CP_ATTR(name, number, text, min, max) {number, #name},
#include "daemon/wire/ikev2.def"
    {0, NULL},
};
const struct name cp_attr_short_names[] = {
#define CP_ATTR(name, number, text, min, max) {number, text},
#include "daemon/wire/ikev2.def"
    {0, NULL},
};
const struct name v1_notify_names[] = {
#define V1_NOTIFY(name, number) {number, #name},
#include "daemon/wire/v1notify.def"
    {0, NULL},
};
const struct name v1_attr_names[] = {
#define V1_ATTR(name, number, text, min, max) {number, #name},
#include "daemon/wire/ikev2.def"
    {0, NULL},
};
const struct name v1_attr_short_names[] = {
#define V1_ATTR(name, number, text, min, max) {number, text},
#include "daemon/wire/ikev2.def"
    {0, NULL},
};
/* Registry "IKEv2 Authentication Method" */
const struct name auth_method_names[] = {
    {AUTHM_RSA, "RSA signature"},
    {AUTHM_PSK, "pre-shared key"},
    {3, "DSS signature"},
    {AUTHM_ECDSA_256, "ECDSA-256 signature"},
    {AUTHM_ECDSA_384, "ECDSA-384 signature"},
    {AUTHM_ECDSA_521, "ECDSA-521 signature"},
    {12, "generic secure password"},
    {AUTHM_NULL, "NULL authentication"},
    {AUTHM_DIGITAL_SIGNATURE, "digital signature"},
    {0, NULL},
};
/* Registry "IKEv2 Certificate Encodings" */
const struct name cert_encoding_names[] = {
    {1, "PKCS #7 wrapped X.509 certificate"},
    {2, "PGP certificate"},
    {3, "DNS signed key"},
    {CERT_X509_SIGNATURE, "X.509 certificate"},
    {6, "Kerberos token"},
    {7, "certificate revocation list"},
    {8, "authority revocation list"},
    {9, "SPKI certificate"},
    {10, "X.509 attribute certificate"},
    {11, "raw RSA key"},
    {CERT_HASH_URL, "hash and URL of an X.509 certificate"},
    {13, "hash and URL of an X.509 bundle"},
    {14, "OCSP content"},
    {CERT_RAW_PUBKEY, "raw public key"},
    {0, NULL},
};
