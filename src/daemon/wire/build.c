/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/wire/codec.h"

#include <arpa/inet.h>

void message_init(struct message *m, const struct ike_header *h)
{
	m->h = *h;
	m->first = NULL;
	m->tail = &m->first;
}

struct payload *message_add(struct arena *a, struct message *m, uint8_t type)
{
	struct payload *p = arena_alloc(a, sizeof(*p));

	if (!p)
		return NULL;
	p->type = type;
	*m->tail = p;
	m->tail = &p->next;
	return p;
}

bool message_notify(struct arena *a, struct message *m, uint8_t proto, uint16_t type, struct cy_slice spi,
    struct cy_slice data)
{
	struct payload *p = message_add(a, m, PAYLOAD_NOTIFY);

	if (p)
		p->u.notify = (struct payload_notify){.proto = proto, .spi = spi, .type = type, .data = data};
	return p;
}

bool message_nonce(struct arena *a, struct message *m, struct cy_slice nonce)
{
	struct payload *p = message_add(a, m, PAYLOAD_NONCE);

	if (p)
		p->u.nonce = nonce;
	return p;
}

bool message_ke(struct arena *a, struct message *m, uint16_t group, struct cy_slice data)
{
	struct payload *p = message_add(a, m, PAYLOAD_KE);

	if (p)
		p->u.ke = (struct payload_ke){.group = group, .data = data};
	return p;
}

bool message_id(struct arena *a, struct message *m, uint8_t type, uint8_t id_type, struct cy_slice data)
{
	struct payload *p = message_add(a, m, type);

	if (p)
		p->u.id = (struct payload_id){.type = id_type, .data = data};
	return p;
}

bool message_sa(struct arena *a, struct message *m, struct proposal *p, size_t n)
{
	struct payload *sa = message_add(a, m, PAYLOAD_SA);

	for (size_t i = 0; i < n; i++)
		if (!p[i].number)
			p[i].number = (uint8_t)(i + 1);
	if (sa)
		sa->u.sa = (struct payload_sa){.p = p, .n = n};
	return sa;
}

bool message_ts(struct arena *a, struct message *m, uint8_t type, struct cy_ts *ts, size_t n)
{
	struct payload *p = message_add(a, m, type);

	if (p)
		p->u.ts = (struct payload_ts){.ts = ts, .n = n};
	return p;
}

bool message_delete(
    struct arena *a, struct message *m, uint8_t proto, const uint32_t *spis_host_order, size_t n)
{
	uint8_t *spis = arena_alloc(a, n * 4 + 1);
	struct payload *p;

	if (!spis || n > UINT16_MAX / 4)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint32_t spi = htonl(spis_host_order[i]);

		memcpy(spis + i * 4, &spi, sizeof(spi));
	}
	p = message_add(a, m, PAYLOAD_DELETE);
	if (p)
		p->u.del = (struct payload_del){.proto = proto,
		    .spi_len = proto == PROTO_IKE ? 0 : 4,
		    .n = (uint16_t)n,
		    .spis = cy_slice(spis, n * 4)};
	return p;
}

/* --- fields ----------------------------------------------------------------------------------------------------- */

static enum cy_err build_list(
    const struct wire_field *f, const void *base, uint8_t type, struct writer *w, size_t count_at);

static size_t list_n(const struct wire_field *f, const void *base)
{
	uint8_t n8;
	size_t n;

	if (f->kind == WIRE_ARRAY) {
		memcpy(&n8, field_in(base, f->n_at), sizeof(n8));
		return n8;
	}
	memcpy(&n, field_in(base, f->n_at), sizeof(n));
	return n;
}

/* RFC 2408, 3.3 */
static bool build_tv(const struct v1_attr *a, struct writer *w)
{
	if (a->type & ATTR_TV || (a->tv ? a->data.n != 2 : a->data.n > UINT16_MAX))
		return false;
	write_u16(w, (uint16_t)(a->type | (a->tv ? ATTR_TV : 0)));
	if (!a->tv)
		write_u16(w, (uint16_t)a->data.n);
	write_bytes(w, a->data);
	return true;
}

/* Fields of one payload or record. What does not fit the wire is the caller's mistake: CY_E_INVAL. more: another follows. */
static enum cy_err build_fields(
    const struct wire_field *f, const void *base, uint8_t type, bool more, struct writer *w)
{
	size_t start = w->n, len_at = SIZE_MAX, count_at = SIZE_MAX;
	enum cy_err err;
	uint32_t v32;
	uint16_t v, n;
	uint8_t v8;

	for (; f->kind != WIRE_END; f++) {
		const struct cy_slice *s = field_in(base, f->at);

		if (f->only && f->only != type)
			continue;
		switch ((enum wire_kind)f->kind) {
		case WIRE_U8:
			memcpy(&v8, field_in(base, f->at), sizeof(v8));
			if (v8 < f->lo || v8 > f->hi)
				return CY_E_INVAL;
			write_u8(w, v8);
			break;
		case WIRE_U16:
		case WIRE_U15:
			memcpy(&v, field_in(base, f->at), sizeof(v));
			if (v < f->lo || v > f->hi)
				return CY_E_INVAL;
			write_u16(w, v);
			break;
		case WIRE_ZERO:
			write_zero(w, f->arg);
			break;
		case WIRE_SIZE8:
			if (s->n > f->hi)
				return CY_E_INVAL;
			write_u8(w, (uint8_t)s->n);
			break;
		case WIRE_SIZE16:
			if (s->n > f->hi)
				return CY_E_INVAL;
			write_u16(w, (uint16_t)s->n);
			break;
		case WIRE_REST:
			if (s->n < f->lo || s->n > f->hi)
				return CY_E_INVAL;
			write_bytes(w, *s);
			break;
		case WIRE_BYTES:
			write_bytes(w, *s);
			break;
		case WIRE_TIMES:
			memcpy(&n, field_in(base, f->n_at), sizeof(n));
			memcpy(&v8, field_in(base, f->size_at), sizeof(v8));
			if (s->n != (size_t)n * v8)
				return CY_E_INVAL;
			write_bytes(w, *s);
			break;
		case WIRE_SIZE_INLINE:
		case WIRE_INLINE:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			if (v8 > f->hi)
				return CY_E_INVAL;
			if (f->kind == WIRE_SIZE_INLINE)
				write_u8(w, v8);
			else
				write_bytes(w, cy_slice(s, v8));
			break;
		case WIRE_COUNT8:
			count_at = w->n;
			write_u8(w, 0);
			break;
		case WIRE_LIST:
		case WIRE_COUNTED:
		case WIRE_ARRAY:
			err = build_list(f, base, type, w, count_at);
			if (err)
				return err;
			break;
		case WIRE_MORE:
			write_u8(w, more ? (uint8_t)f->arg : 0);
			break;
		case WIRE_LEN:
			len_at = w->n;
			write_u16(w, 0);
			break;
		case WIRE_TS_TYPE:
			memcpy(&v8, field_in(base, f->at), sizeof(v8));
			write_u8(w, v8 ? TS_TYPE_IPV6 : TS_TYPE_IPV4);
			break;
		case WIRE_TS_ADDR:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			write_bytes(w, cy_slice(s, v8 ? 16 : 4));
			break;
		case WIRE_ATTRS:
			memcpy(&v, field_in(base, f->at), sizeof(v));
			if (v) {
				write_u16(w, ATTR_TV | ATTR_KEY_LENGTH);
				write_u16(w, v);
			}
			break;
		case WIRE_U32:
			memcpy(&v32, field_in(base, f->at), sizeof(v32));
			write_u32(w, v32);
			break;
		case WIRE_TV:
			if (!build_tv(base, w))
				return CY_E_INVAL;
			break;
		case WIRE_NEXT:
		case WIRE_END:
			break;
		}
	}
	if (w->bad)
		return CY_E_SHORT;
	if (len_at != SIZE_MAX) {
		if (w->n - start > UINT16_MAX)
			return CY_E_LIMIT;
		write_u16_at(w, len_at, (uint16_t)(w->n - start));
	}
	return CY_OK;
}

static enum cy_err build_list(
    const struct wire_field *f, const void *base, uint8_t type, struct writer *w, size_t count_at)
{
	const char *items = field_in(base, f->at);
	size_t n = list_n(f, base);
	enum cy_err err;

	if (f->kind != WIRE_ARRAY)
		memcpy(&items, field_in(base, f->at), sizeof(items));
	if (n < f->lo || n > f->hi)
		return CY_E_INVAL;
	for (size_t i = 0; i < n; i++) {
		err = build_fields(f->rec->fields, items + i * f->rec->size, type, i + 1 < n, w);
		if (err)
			return err;
	}
	if (count_at != SIZE_MAX && !w->bad)
		w->buf[count_at] = (uint8_t)n;
	return CY_OK;
}

/* --- messages --------------------------------------------------------------------------------------------------- */

enum cy_err wire_chain_encode(const struct message *m, struct writer *w, uint8_t *out_next)
{
	for (const struct payload *p = m->first; p; p = p->next) {
		const struct wire_field *fields = wire_payload(p->type)->fields;
		bool sk = p->type == PAYLOAD_SK || p->type == PAYLOAD_SKF;
		size_t start = w->n;
		enum cy_err err;

		write_u8(w, sk ? p->u.sk.inner_next : p->next ? p->next->type : PAYLOAD_NONE);
		write_u8(w, p->critical ? 0x80 : 0);
		write_u16(w, 0);
		if (fields && !p->unknown) {
			err = build_fields(fields, &p->u, p->type, false, w);
			if (err)
				return err;
		} else {
			write_bytes(w, p->raw);
		}
		if (w->bad)
			return CY_E_SHORT;
		if (w->n - start > UINT16_MAX)
			return CY_E_LIMIT;
		write_u16_at(w, start + 2, (uint16_t)(w->n - start));
	}
	if (w->bad)
		return CY_E_SHORT;
	*out_next = m->first ? m->first->type : PAYLOAD_NONE;
	return CY_OK;
}

void wire_header_encode(const struct ike_header *h, struct writer *w)
{
	write_u64(w, h->spi_i);
	write_u64(w, h->spi_r);
	write_u8(w, h->next);
	write_u8(w, (uint8_t)(h->major ? h->major << 4 | (h->minor & 15) : 0x20));
	write_u8(w, h->exchange);
	write_u8(w, h->flags);
	write_u32(w, h->msgid);
	write_u32(w, h->length);
}

void wire_length_set(struct writer *w, size_t start)
{
	uint32_t n = htonl((uint32_t)(w->n - start));

	if (!w->bad)
		memcpy(w->buf + start + IKE_HEADER_LEN - sizeof(n), &n, sizeof(n));
}

enum cy_err wire_message_encode(const struct message *m, struct writer *w)
{
	struct ike_header h = m->h;
	size_t start = w->n;
	enum cy_err err;

	h.next = m->first ? m->first->type : PAYLOAD_NONE;
	wire_header_encode(&h, w);
	err = wire_chain_encode(m, w, &h.next);
	if (!err)
		wire_length_set(w, start);
	return err;
}
