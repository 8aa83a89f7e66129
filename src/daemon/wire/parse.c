/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/wire/codec.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "libcore/base/ident.h"

#define MAX_DEPTH 3 /* of records: attributes in transforms in proposals */

/* One payload being read: where we are, for the words of an error. */
struct parse {
	struct arena *arena;
	struct wire_error *why;
	uint8_t type;
	unsigned depth;
	struct {
		const char *record;
		unsigned number;
	} path[MAX_DEPTH];
};

static void why_set(struct wire_error *why, uint16_t notify, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void why_set(struct wire_error *why, uint16_t notify, const char *fmt, ...)
{
	va_list ap;

	why->notify = notify;
	why->notify_data = 0;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
}

/* "SA payload, proposal 2, transform 1: ..." */
static enum cy_err syntax(struct parse *ps, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static enum cy_err syntax(struct parse *ps, const char *fmt, ...)
{
	char where[100], what[80];
	int n = snprintf(where, sizeof(where), "%s payload", wire_payload(ps->type)->text);
	va_list ap;

	for (unsigned i = 0; i < ps->depth; i++)
		n += snprintf(
		    where + n, sizeof(where) - (size_t)n, ", %s %u", ps->path[i].record, ps->path[i].number);
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	why_set(ps->why, N_INVALID_SYNTAX, "%s: %s", where, what);
	return CY_E_PARSE;
}

static enum cy_err no_memory(struct parse *ps)
{
	why_set(ps->why, 0, "%s payload: no memory", wire_payload(ps->type)->text);
	return CY_E_NOMEM;
}

static enum cy_err check_bounds(struct parse *ps, const struct wire_field *f, const char *what, size_t v)
{
	if (v >= f->lo && v <= f->hi)
		return CY_OK;
	return syntax(ps, "%s%s is %zu, not %u to %u", f->name, what, v, f->lo, f->hi);
}

/* Numbers of 8 or 16 bits that another field of the same struct holds. */
static size_t times(const struct wire_field *f, const void *base)
{
	uint16_t n;
	uint8_t size;

	memcpy(&n, field_in(base, f->n_at), sizeof(n));
	memcpy(&size, field_in(base, f->size_at), sizeof(size));
	return (size_t)n * size;
}

/* The attributes of a transform (3.3.5): the only one we know is Key Length. */
static enum cy_err parse_attrs(struct parse *ps, void *base, const struct wire_field *f, struct reader *r)
{
	uint16_t *key_bits = field_at(base, f->at);
	uint8_t *unknown = field_at(base, f->n_at);

	while (reader_left(r)) {
		uint16_t type = read_u16(r), v = read_u16(r);

		if (r->bad)
			return syntax(ps, "an attribute is cut off");
		if (!(type & ATTR_TV)) {
			read_skip(r, v);
			if (r->bad)
				return syntax(ps, "attribute %u is longer than the transform", type);
			*unknown = 1;
		} else if (type != (ATTR_TV | ATTR_KEY_LENGTH) || *key_bits || v == 0) {
			*unknown = 1;
		} else {
			*key_bits = v;
		}
	}
	return CY_OK;
}

/* RFC 2408, 3.3: parse_record has narrowed the reader to this one attribute. */
static enum cy_err parse_tv(struct parse *ps, struct v1_attr *a, struct reader *r)
{
	uint16_t type = read_u16(r);

	a->type = type & (ATTR_TV - 1);
	a->tv = type & ATTR_TV;
	if (!a->tv)
		read_skip(r, 2);
	if (r->bad)
		return syntax(ps, "is too short");
	a->data = read_rest(r);
	return CY_OK;
}

static enum cy_err parse_list(
    struct parse *ps, const struct wire_field *f, void *base, struct reader *r, int announced);

/*
 * The fields of one payload or record, which *r holds and nothing else. *out_skip: of a type we do not know, to be left
 * out.
 */
static enum cy_err parse_fields(
    struct parse *ps, const struct wire_field *f, void *base, struct reader *r, bool *out_skip)
{
	int announced = -1; /* what WIRE_COUNT8 said */
	enum cy_err err;
	uint32_t v32;
	uint16_t v;
	uint8_t v8;

	*out_skip = false;
	for (; f->kind != WIRE_END; f++) {
		struct cy_slice *s = field_at(base, f->at);

		if (f->only && f->only != ps->type)
			continue;
		switch ((enum wire_kind)f->kind) {
		case WIRE_U8:
		case WIRE_COUNT8:
		case WIRE_SIZE8:
		case WIRE_SIZE_INLINE:
			v8 = read_u8(r);
			if (r->bad)
				return syntax(ps, "ends before its %s", f->name);
			err = check_bounds(ps, f, f->kind >= WIRE_SIZE8 ? " length" : "", v8);
			if (err)
				return err;
			if (f->kind == WIRE_U8)
				memcpy(field_at(base, f->at), &v8, sizeof(v8));
			else if (f->kind == WIRE_SIZE8)
				s->n = v8;
			else if (f->kind == WIRE_SIZE_INLINE)
				memcpy(field_at(base, f->n_at), &v8, sizeof(v8));
			else
				announced = v8;
			break;
		case WIRE_U16:
		case WIRE_U15:
		case WIRE_SIZE16:
			v = read_u16(r);
			if (r->bad)
				return syntax(ps, "ends before its %s", f->name);
			if (f->kind == WIRE_U15)
				v &= 0x7fff;
			err = check_bounds(ps, f, "", v);
			if (err)
				return err;
			if (f->kind == WIRE_SIZE16)
				s->n = v;
			else
				memcpy(field_at(base, f->at), &v, sizeof(v));
			break;
		case WIRE_ZERO:
			read_skip(r, f->arg);
			if (r->bad)
				return syntax(ps, "is too short");
			break;
		case WIRE_REST:
			err = check_bounds(ps, f, " length", reader_left(r));
			if (err)
				return err;
			*s = read_rest(r);
			break;
		case WIRE_BYTES:
		case WIRE_TIMES:
			*s = read_bytes(r, f->kind == WIRE_TIMES ? times(f, base) : s->n);
			if (r->bad)
				return syntax(ps, "ends within its %s", f->name);
			break;
		case WIRE_INLINE:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			if (reader_left(r) < v8)
				return syntax(ps, "ends within its %s", f->name);
			if (v8)
				memcpy(field_at(base, f->at), read_bytes(r, v8).p, v8);
			break;
		case WIRE_LIST:
		case WIRE_COUNTED:
		case WIRE_ARRAY:
			err = parse_list(ps, f, base, r, announced);
			if (err)
				return err;
			break;
		case WIRE_MORE:
			v8 = read_u8(r);
			if (r->bad)
				return syntax(ps, "is too short");
			if (v8 != 0 && v8 != f->arg)
				return syntax(ps, "begins with %u, not 0 or %u", v8, f->arg);
			break;
		case WIRE_LEN: /* parse_record has narrowed the reader by it */
			read_skip(r, 2);
			if (*out_skip) {
				r->p = r->end;
				return CY_OK;
			}
			break;
		case WIRE_TS_TYPE:
			v8 = read_u8(r);
			if (r->bad)
				return syntax(ps, "is too short");
			*out_skip = v8 != TS_TYPE_IPV4 && v8 != TS_TYPE_IPV6;
			v8 = v8 == TS_TYPE_IPV6;
			memcpy(field_at(base, f->at), &v8, sizeof(v8));
			break;
		case WIRE_TS_ADDR:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			v8 = v8 ? 16 : 4;
			if (reader_left(r) < v8)
				return syntax(ps, "ends within its %s address", f->name);
			memcpy(field_at(base, f->at), read_bytes(r, v8).p, v8);
			break;
		case WIRE_ATTRS:
			err = parse_attrs(ps, base, f, r);
			if (err)
				return err;
			break;
		case WIRE_U32:
			v32 = read_u32(r);
			if (r->bad)
				return syntax(ps, "ends before its %s", f->name);
			memcpy(field_at(base, f->at), &v32, sizeof(v32));
			break;
		case WIRE_TV:
			err = parse_tv(ps, base, r);
			if (err)
				return err;
			break;
		case WIRE_NEXT: /* the payload's header had it */
		case WIRE_END:
			break;
		}
	}
	if (reader_left(r))
		return syntax(ps, "has %zu bytes too many", reader_left(r));
	return CY_OK;
}

/* Bytes of the record that *list begins with, by its own word; 0 when it cannot be true. */
static size_t record_span(const struct wire_record *rec, const struct reader *list)
{
	struct reader r = *list;
	size_t n;

	bool tv = (read_u16(&r) & ATTR_TV) && rec->fields[0].kind == WIRE_TV;

	n = read_u16(&r) + rec->uncounted;
	if (tv)
		n = rec->uncounted; /* what stands for the length is the value */
	return r.bad || n < 4 || n > reader_left(list) ? 0 : n;
}

static size_t count_records(const struct wire_record *rec, struct reader list)
{
	size_t n = 0, span;

	while (reader_left(&list)) {
		span = record_span(rec, &list);
		n++;
		if (!span)
			break; /* parse_record will say why */
		read_skip(&list, span);
	}
	return n;
}

/* libreswan fills the attributes of Mode Config up to a multiple of four bytes, and counts these bytes in. */
static void trim_padding(const struct wire_record *rec, struct reader *list)
{
	struct reader r = *list;
	size_t span = 1;

	while (reader_left(&r) >= 4 && span) {
		span = record_span(rec, &r);
		read_skip(&r, span);
	}
	for (const uint8_t *p = r.p; p < r.end; p++)
		if (*p)
			return;
	if (reader_left(&r) < 4)
		list->end = r.p;
}

/* One record out of *list, which moves behind it. index counts all, known and unknown. */
static enum cy_err parse_record(struct parse *ps, const struct wire_record *rec, unsigned index, void *base,
    struct reader *list, bool *out_skip)
{
	size_t span = record_span(rec, list);
	struct reader r = {list->p, list->p + span, false};
	enum cy_err err;

	assert(ps->depth < MAX_DEPTH); /* nesting is the tables', never the peer's */
	ps->path[ps->depth].record = rec->name;
	ps->path[ps->depth].number = index + 1;
	ps->depth++;
	if (!span)
		return syntax(ps, "its length does not fit the %zu bytes that are left", reader_left(list));
	err = parse_fields(ps, rec->fields, base, &r, out_skip);
	if (err)
		return err;
	if (rec->fields[0].kind == WIRE_MORE && (*list->p == 0) != (r.end == list->end))
		return syntax(
		    ps, *list->p ? "announces another, there is none" : "is the last, but another follows");
	list->p = r.end;
	ps->depth--;
	return CY_OK;
}

static enum cy_err parse_list(
    struct parse *ps, const struct wire_field *f, void *base, struct reader *r, int announced)
{
	struct reader list = *r;
	size_t room = f->hi, n = 0, seen = 0;
	bool inlined = f->kind == WIRE_ARRAY, skip;
	char *items = field_at(base, f->at);
	enum cy_err err;

	if (ps->type == PAYLOAD_V1_CONFIG)
		trim_padding(f->rec, &list);
	if (!inlined) {
		size_t have = count_records(f->rec, list);

		if (have > room)
			return syntax(ps, "more than %zu of %s", room, f->name);
		room = have;
		items = arena_alloc(ps->arena, room ? room * f->rec->size : 1);
		if (!items)
			return no_memory(ps);
	}
	while (reader_left(&list)) {
		/* what does not fit goes into a spare that nobody looks at: it still has to be well-formed */
		union {
			struct transform transform;
			struct v1_transform v1;
			uint64_t align[4];
		} spare = {.align = {0}};
		void *item = n < room ? items + n * f->rec->size : (void *)&spare;

		err = parse_record(ps, f->rec, (unsigned)seen, item, &list, &skip);
		if (err)
			return err;
		seen++;
		if (!skip && n < room)
			n++;
		else if (skip)
			memset(item, 0, f->rec->size);
		else
			/* Cut off, the proposal would say something else than was meant. With a transform of type 0 it
			   is one that nobody can accept (3.3.6). */
			((struct transform *)(void *)items)[room - 1] = (struct transform){0};
	}
	if (announced >= 0 && (size_t)announced != seen)
		return syntax(ps, "announces %d of %s, has %zu", announced, f->name, seen);
	if (seen < f->lo)
		return syntax(ps, "has no %s", f->rec->name);
	if (inlined) {
		uint8_t n8 = (uint8_t)n;

		memcpy(field_at(base, f->n_at), &n8, sizeof(n8));
	} else {
		memcpy(field_at(base, f->at), &items, sizeof(items));
		memcpy(field_at(base, f->n_at), &n, sizeof(n));
	}
	if (f->kind == WIRE_COUNTED) {
		size_t skipped = seen - n;

		memcpy(field_at(base, f->size_at), &skipped, sizeof(skipped));
	}
	*r = list;
	return CY_OK;
}

/* --- what the fields' own bounds cannot say -------------------------------------------------------------------- */

static enum cy_err check_sa(struct parse *ps, const struct payload_sa *sa)
{
	/* 3.3.1: proposals are numbered one after the other; an answer has the number of what it accepts */
	for (size_t i = 1; i < sa->n; i++)
		if (sa->p[i].number != (uint8_t)(sa->p[i - 1].number + 1))
			return syntax(ps, "proposal %u comes after %u", sa->p[i].number, sa->p[i - 1].number);
	return CY_OK;
}

static enum cy_err check_id(struct parse *ps, const struct payload_id *id)
{
	size_t want = id->type == ID_IPV4_ADDR ? 4 : id->type == ID_IPV6_ADDR ? 16 : id->data.n;

	if (id->data.n != want)
		return syntax(ps, "an address of %zu bytes, not %zu", id->data.n, want);
	/* RFC 7619, 2.2 */
	if (id->type == ID_NULL ? id->data.n != 0 : id->data.n == 0)
		return syntax(ps, "type %u with %zu bytes", id->type, id->data.n);
	return CY_OK;
}

static enum cy_err check_notify(struct parse *ps, const struct payload_notify *n)
{
	const struct wire_bounds *b = wire_notify_bounds(n->type);

	if (b && (n->data.n < b->min || n->data.n > b->max))
		return syntax(ps, "%s with %zu bytes of data", name_of(notify_names, n->type), n->data.n);
	return CY_OK;
}

/* 3.11: SPIs of AH and ESP have 4 bytes, for the IKE_SA there are none. */
static enum cy_err check_delete(struct parse *ps, const struct payload_del *d)
{
	if (d->proto == PROTO_IKE ? d->spi_len != 0
	                          : (d->proto == PROTO_AH || d->proto == PROTO_ESP) && d->spi_len != 4)
		return syntax(ps, "protocol %u with SPIs of %u bytes", d->proto, d->spi_len);
	return CY_OK;
}

/* 3.13.1: ranges go upwards; only OPAQUE ports are 65535 to 0. */
static enum cy_err check_ts(struct parse *ps, const struct payload_ts *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct cy_ts *ts = &t->ts[i];

		if (memcmp(ts->lo, ts->hi, sizeof(ts->lo)) > 0)
			return syntax(ps, "selector %zu: addresses the wrong way round", i + 1);
		if (ts->port_lo > ts->port_hi && !(ts->port_lo == 65535 && ts->port_hi == 0))
			return syntax(ps, "selector %zu: ports %u to %u", i + 1, ts->port_lo, ts->port_hi);
	}
	return CY_OK;
}

static enum cy_err check_cp(struct parse *ps, const struct payload_cp *cp)
{
	for (size_t i = 0; i < cp->n; i++) {
		const struct cp_attr *a = &cp->attrs[i];
		const struct wire_bounds *b = wire_attr_bounds(a->type);

		if (b && a->value.n && (a->value.n < b->min || a->value.n > b->max))
			return syntax(ps, "%s with %zu bytes", name_of(cp_attr_names, a->type), a->value.n);
	}
	return CY_OK;
}

/* RFC 7383, 2.6 */
static enum cy_err check_fragment(struct parse *ps, const struct payload_sk *sk)
{
	if (sk->frag_no > sk->frag_total)
		return syntax(ps, "fragment %u of %u", sk->frag_no, sk->frag_total);
	return CY_OK;
}

/* 3.16, RFC 3748 4.: the length inside is the length of the payload */
static enum cy_err check_eap(struct parse *ps, const struct cy_slice *eap)
{
	if ((size_t)eap->p[2] << 8 != (eap->n & ~(size_t)0xff) || eap->p[3] != (eap->n & 0xff))
		return syntax(ps, "EAP says %u bytes, has %zu", eap->p[2] << 8 | eap->p[3], eap->n);
	return CY_OK;
}

/* RFC 2407, 4.6.1.1: of the situations only SIT_IDENTITY_ONLY; DOI 0 is that of RFC 2408 itself. */
static enum cy_err check_v1_sa(struct parse *ps, const struct v1_sa *sa)
{
	if (sa->doi > 1)
		return syntax(ps, "DOI %u is not IPsec", sa->doi);
	if (sa->situation != 1)
		return syntax(ps, "situation %u is not identity only", sa->situation);
	return CY_OK;
}

/* RFC 2407, 4.6.2.1: types have their lengths */
static enum cy_err check_v1_id(struct parse *ps, const struct v1_id *id)
{
	static const uint8_t lens[] = {[ID_IPV4_ADDR] = 4,
	    [ID_IPV4_SUBNET] = 8,
	    [ID_IPV6_ADDR] = 16,
	    [ID_IPV6_SUBNET] = 32,
	    [ID_IPV4_RANGE] = 8,
	    [ID_IPV6_RANGE] = 32};
	size_t want = id->type < sizeof(lens) ? lens[id->type] : 0;

	if (want ? id->data.n != want : id->data.n == 0)
		return syntax(ps, "type %u with %zu bytes", id->type, id->data.n);
	return CY_OK;
}

static enum cy_err check_v1_config(struct parse *ps, const struct v1_config *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct v1_attr *a = &c->attrs[i];
		const struct wire_bounds *b = wire_v1_attr_bounds(a->type);

		if (b && a->data.n && !a->tv && (a->data.n < b->min || a->data.n > b->max))
			return syntax(ps, "%s with %zu bytes", name_of(v1_attr_names, a->type), a->data.n);
	}
	return CY_OK;
}

static enum cy_err check_body(struct parse *ps, const struct payload *p)
{
	switch (p->type) {
	case PAYLOAD_V1_SA:
		return check_v1_sa(ps, &p->u.sa1);
	case PAYLOAD_V1_ID:
		return check_v1_id(ps, &p->u.id1);
	case PAYLOAD_V1_CONFIG:
		return check_v1_config(ps, &p->u.config1);
	case PAYLOAD_SA:
		return check_sa(ps, &p->u.sa);
	case PAYLOAD_IDI:
	case PAYLOAD_IDR:
		return check_id(ps, &p->u.id);
	case PAYLOAD_NOTIFY:
		return check_notify(ps, &p->u.notify);
	case PAYLOAD_DELETE:
		return check_delete(ps, &p->u.del);
	case PAYLOAD_TSI:
	case PAYLOAD_TSR:
		return check_ts(ps, &p->u.ts);
	case PAYLOAD_CP:
		return check_cp(ps, &p->u.cp);
	case PAYLOAD_SKF:
		return check_fragment(ps, &p->u.sk);
	case PAYLOAD_EAP:
		return check_eap(ps, &p->u.eap);
	}
	return CY_OK;
}

/* --- payloads and messages ------------------------------------------------------------------------------------- */

static enum cy_err parse_body(struct arena *a, struct payload *p, uint8_t next, struct wire_error *why)
{
	struct parse ps = {.arena = a, .why = why, .type = p->type};
	struct reader r = reader_of(p->raw);
	enum cy_err err;
	bool skip;

	if (p->type == PAYLOAD_SK || p->type == PAYLOAD_SKF)
		p->u.sk.inner_next = next;
	err = parse_fields(&ps, wire_payload(p->type)->fields, &p->u, &r, &skip);
	return err ? err : check_body(&ps, p);
}

static enum cy_err chain_parse(struct arena *a, uint8_t major, uint8_t next, struct cy_slice body,
    bool padded, struct payload **out_first, struct wire_error *out_why)
{
	struct payload *first = NULL, **tail = &first;
	struct reader r = reader_of(body);
	unsigned n = 0;

	memset(out_why, 0, sizeof(*out_why));
	while (next != PAYLOAD_NONE) {
		struct payload *p;
		uint8_t type = next, flags;
		uint16_t len;
		enum cy_err err;

		if (++n > WIRE_MAX_PAYLOADS) {
			why_set(out_why, N_INVALID_SYNTAX, "more than %d payloads", WIRE_MAX_PAYLOADS);
			return CY_E_LIMIT;
		}
		next = read_u8(&r);
		flags = read_u8(&r);
		len = read_u16(&r);
		if (r.bad || len < GENERIC_HEADER_LEN || reader_left(&r) + GENERIC_HEADER_LEN < len) {
			why_set(out_why, N_INVALID_SYNTAX,
			    r.bad ? "%s payload announced, the message ends"
			          : "%s payload with a length of %u bytes, the message has %zu",
			    name_or_number(payload_names, type), len, reader_left(&r) + GENERIC_HEADER_LEN);
			return CY_E_PARSE;
		}
		p = arena_alloc(a, sizeof(*p));
		if (!p) {
			why_set(out_why, 0, "no memory");
			return CY_E_NOMEM;
		}
		p->type = type;
		p->critical = major == 2 && flags & 0x80; /* reserved in IKEv1 */
		p->raw = read_bytes(&r, (size_t)len - GENERIC_HEADER_LEN);
		p->unknown = wire_payload(type)->major != major;
		if (p->unknown) {
			if (p->critical) { /* 2.5 */
				why_set(out_why, N_UNSUPPORTED_CRITICAL_PAYLOAD,
				    "payload of unknown type %u is critical", type);
				out_why->notify_data = type;
				return CY_E_UNSUPPORTED;
			}
		} else {
			err = parse_body(a, p, next, out_why);
			if (err)
				return err;
		}
		*tail = p;
		tail = &p->next;
		if (type == PAYLOAD_SK || type == PAYLOAD_SKF)
			break; /* 3.14: the last one; its Next Payload speaks of what is inside */
	}
	if (reader_left(&r) && !padded) {
		why_set(out_why, N_INVALID_SYNTAX, "%zu bytes behind the last payload", reader_left(&r));
		return CY_E_PARSE;
	}
	*out_first = first;
	return CY_OK;
}

enum cy_err wire_chain_parse(struct arena *a, uint8_t next, struct cy_slice body, struct payload **out_first,
    struct wire_error *out_why)
{
	return chain_parse(a, 2, next, body, false, out_first, out_why);
}

enum cy_err wire_v1_chain_parse(struct arena *a, uint8_t next, struct cy_slice body, bool padded,
    struct payload **out_first, struct wire_error *out_why)
{
	return chain_parse(a, 1, next, body, padded, out_first, out_why);
}

enum cy_err wire_header_parse(struct cy_slice datagram, struct ike_header *out)
{
	struct reader r = reader_of(datagram);
	struct ike_header h;
	uint8_t version;

	h.spi_i = read_u64(&r);
	h.spi_r = read_u64(&r);
	h.next = read_u8(&r);
	version = read_u8(&r);
	h.major = version >> 4;
	h.minor = version & 15;
	h.exchange = read_u8(&r);
	h.flags = read_u8(&r);
	h.msgid = read_u32(&r);
	h.length = read_u32(&r);
	if (r.bad || h.length > datagram.n)
		return CY_E_SHORT;
	if (h.length != datagram.n)
		return CY_E_PARSE;
	*out = h;
	return CY_OK;
}

enum cy_err wire_message_parse(
    struct arena *a, struct cy_slice datagram, struct message *out, struct wire_error *out_why)
{
	struct message m = {.first = NULL};
	bool answerable;
	enum cy_err err;

	memset(out_why, 0, sizeof(*out_why));
	err = wire_header_parse(datagram, &m.h);
	if (err) {
		why_set(out_why, 0, "header does not fit a datagram of %zu bytes", datagram.n);
		return err;
	}
	if (m.h.major != 2) {
		why_set(out_why, m.h.major > 2 ? N_INVALID_MAJOR_VERSION : 0, "IKE version %u.%u", m.h.major,
		    m.h.minor);
		return CY_E_UNSUPPORTED;
	}
	err = wire_chain_parse(a, m.h.next,
	    cy_slice(datagram.p + IKE_HEADER_LEN, datagram.n - IKE_HEADER_LEN), &m.first, out_why);
	if (err) {
		/* INVALID_SYNTAX only goes to those whose checksum was right (3.10.1) */
		answerable = out_why->notify == N_UNSUPPORTED_CRITICAL_PAYLOAD &&
		    m.h.exchange == EXCHANGE_IKE_SA_INIT && !(m.h.flags & IKE_FLAG_RESPONSE);
		if (!answerable)
			out_why->notify = 0;
		return err;
	}
	*out = m;
	out->tail = &out->first;
	while (*out->tail)
		out->tail = &(*out->tail)->next;
	return CY_OK;
}

struct payload *wire_find_after(const struct payload *p, uint8_t type)
{
	struct payload *q = p->next;

	while (q && q->type != type)
		q = q->next;
	return q;
}

struct payload *wire_find(const struct payload *first, uint8_t type)
{
	/* the chain is the caller's to change, whoever looks at it */
	return !first ? NULL : first->type == type ? (struct payload *)first : wire_find_after(first, type);
}

struct payload *wire_find_notify(const struct payload *first, uint16_t notify)
{
	struct payload *p = wire_find(first, PAYLOAD_NOTIFY);

	while (p && p->u.notify.type != notify)
		p = wire_find_after(p, PAYLOAD_NOTIFY);
	return p;
}

struct payload *wire_find_error(const struct payload *first)
{
	struct payload *p = wire_find(first, PAYLOAD_NOTIFY);

	while (p && p->u.notify.type >= N_INITIAL_CONTACT)
		p = wire_find_after(p, PAYLOAD_NOTIFY);
	return p;
}
