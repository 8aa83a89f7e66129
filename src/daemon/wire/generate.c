/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/wire/generate.h"

#include "daemon/wire/codec.h"
#include "libcore/base/err.h"
#include "libcore/base/ident.h"

/* Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014), figure 13. */
static uint64_t next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Within [lo, hi], both included. */
static size_t between(uint64_t *seed, size_t lo, size_t hi)
{
	return lo + (size_t)(next(seed) % (hi - lo + 1));
}

static bool chance(uint64_t *seed, unsigned one_in)
{
	return next(seed) % one_in == 0;
}

/* As long as real ones mostly are, now and then much longer. */
static size_t some_length(uint64_t *seed, size_t lo, size_t hi)
{
	size_t most = chance(seed, 20) ? 600 : chance(seed, 2) ? 40 : 8;

	return between(seed, lo, hi < lo + most ? hi : lo + most);
}

static bool random_bytes(struct arena *a, uint64_t *seed, size_t n, struct cy_slice *out)
{
	uint8_t *p = arena_alloc(a, n ? n : 1);

	if (!p)
		return false;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)next(seed);
	*out = cy_slice(p, n);
	return true;
}

static bool gen_tv(struct arena *a, uint64_t *seed, struct v1_attr *attr)
{
	attr->type = (uint16_t)between(seed, 0, 32767);
	attr->tv = chance(seed, 2);
	return random_bytes(a, seed, attr->tv ? 2 : some_length(seed, 0, 65535), &attr->data);
}

static bool gen_fields(struct arena *a, uint64_t *seed, const struct wire_field *f, void *base, uint8_t type)
{
	static const uint16_t key_bits[] = {0, 0, 128, 192, 256, 65535};
	static const uint8_t spi_lens[] = {0, 4, 8, 1};
	struct cy_slice s;
	uint32_t v32;
	uint16_t v;
	uint8_t v8;
	size_t n;
	char *items;

	for (; f->kind != WIRE_END; f++) {
		if (f->only && f->only != type)
			continue;
		switch ((enum wire_kind)f->kind) {
		case WIRE_U8:
		case WIRE_NEXT:
		case WIRE_TS_TYPE:
			v8 = (uint8_t)between(seed, f->lo, f->hi);
			memcpy(field_at(base, f->at), &v8, sizeof(v8));
			break;
		case WIRE_U16:
		case WIRE_U15:
			v = (uint16_t)between(seed, f->lo, f->hi);
			memcpy(field_at(base, f->at), &v, sizeof(v));
			break;
		case WIRE_REST:
			if (!random_bytes(a, seed, some_length(seed, f->lo, f->hi), &s))
				return false;
			memcpy(field_at(base, f->at), &s, sizeof(s));
			break;
		case WIRE_BYTES:
			if (!random_bytes(a, seed, between(seed, 0, 8), &s))
				return false;
			memcpy(field_at(base, f->at), &s, sizeof(s));
			break;
		case WIRE_TIMES:
			v = (uint16_t)between(seed, 0, 5);
			memcpy(field_at(base, f->n_at), &v, sizeof(v));
			memcpy(&v8, field_in(base, f->size_at), sizeof(v8));
			if (!random_bytes(a, seed, (size_t)v * v8, &s))
				return false;
			memcpy(field_at(base, f->at), &s, sizeof(s));
			break;
		case WIRE_SIZE_INLINE:
			v8 = spi_lens[between(seed, 0, ARRAY_LEN(spi_lens) - 1)];
			memcpy(field_at(base, f->n_at), &v8, sizeof(v8));
			break;
		case WIRE_INLINE:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			if (!random_bytes(a, seed, v8, &s))
				return false;
			memcpy(field_at(base, f->at), s.p, v8);
			break;
		case WIRE_TS_ADDR:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			if (!random_bytes(a, seed, v8 ? 16 : 4, &s))
				return false;
			memcpy(field_at(base, f->at), s.p, s.n);
			break;
		case WIRE_ATTRS:
			v = key_bits[between(seed, 0, ARRAY_LEN(key_bits) - 1)];
			memcpy(field_at(base, f->at), &v, sizeof(v));
			break;
		case WIRE_LIST:
		case WIRE_COUNTED:
		case WIRE_ARRAY:
			n = between(seed, f->lo, f->lo + (chance(seed, 10) ? 20 : 4));
			items = field_at(base, f->at);
			if (f->kind != WIRE_ARRAY) {
				items = arena_alloc(a, n ? n * f->rec->size : 1);
				if (!items)
					return false;
				memcpy(field_at(base, f->at), &items, sizeof(items));
				memcpy(field_at(base, f->n_at), &n, sizeof(n));
			} else {
				v8 = (uint8_t)n;
				memcpy(field_at(base, f->n_at), &v8, sizeof(v8));
			}
			for (size_t i = 0; i < n; i++)
				if (!gen_fields(a, seed, f->rec->fields, items + i * f->rec->size, type))
					return false;
			break;
		case WIRE_U32:
			v32 = (uint32_t)next(seed);
			memcpy(field_at(base, f->at), &v32, sizeof(v32));
			break;
		case WIRE_TV:
			if (!gen_tv(a, seed, base))
				return false;
			break;
		case WIRE_ZERO:
		case WIRE_SIZE8:
		case WIRE_SIZE16:
		case WIRE_COUNT8:
		case WIRE_MORE:
		case WIRE_LEN:
		case WIRE_END:
			break;
		}
	}
	return true;
}

/* --- what the fields' own bounds cannot say: the counterpart of parse.c's checks ---------------------------------- */

static bool fit_id(struct arena *a, uint64_t *seed, struct payload_id *id)
{
	static const uint8_t types[] = {
	    ID_IPV4_ADDR, ID_FQDN, ID_RFC822_ADDR, ID_IPV6_ADDR, ID_DER_ASN1_DN, ID_KEY_ID, ID_NULL};
	size_t n = id->data.n + 1;

	if (!chance(seed, 8))
		id->type = types[between(seed, 0, ARRAY_LEN(types) - 1)];
	if (id->type == ID_IPV4_ADDR)
		n = 4;
	else if (id->type == ID_IPV6_ADDR)
		n = 16;
	else if (id->type == ID_NULL)
		n = 0;
	return random_bytes(a, seed, n, &id->data);
}

static bool fit_notify(struct arena *a, uint64_t *seed, struct payload_notify *n)
{
	const struct wire_bounds *b = &wire_notifies[between(seed, 0, wire_n_notifies - 1)];

	if (chance(seed, 8))
		b = wire_notify_bounds(n->type); /* mostly a type nobody knows */
	if (!b)
		return true;
	n->type = b->type;
	return random_bytes(a, seed, some_length(seed, b->min, b->max), &n->data);
}

static bool fit_delete(struct arena *a, uint64_t *seed, struct payload_del *d)
{
	d->proto = (uint8_t)between(seed, PROTO_IKE, PROTO_ESP);
	d->spi_len = d->proto == PROTO_IKE ? 0 : 4;
	if (d->proto == PROTO_IKE)
		d->n = 0;
	return random_bytes(a, seed, (size_t)d->n * d->spi_len, &d->spis);
}

static void fit_ts(uint64_t *seed, struct payload_ts *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct cy_ts *ts = &t->ts[i];

		if (memcmp(ts->lo, ts->hi, sizeof(ts->lo)) > 0) {
			uint8_t lo[sizeof(ts->lo)];

			memcpy(lo, ts->hi, sizeof(lo));
			memcpy(ts->hi, ts->lo, sizeof(lo));
			memcpy(ts->lo, lo, sizeof(lo));
		}
		if (chance(seed, 4)) {
			ts->port_lo = 65535; /* OPAQUE */
			ts->port_hi = 0;
		} else if (ts->port_lo > ts->port_hi) {
			uint16_t lo = ts->port_hi;

			ts->port_hi = ts->port_lo;
			ts->port_lo = lo;
		}
	}
}

static bool fit_cp(struct arena *a, uint64_t *seed, struct payload_cp *cp)
{
	cp->type = (uint8_t)between(seed, CFG_REQUEST, CFG_ACK);
	for (size_t i = 0; i < cp->n; i++) {
		const struct wire_bounds *b = &wire_attrs[between(seed, 0, wire_n_attrs - 1)];
		size_t n = chance(seed, 3) ? 0 : some_length(seed, b->min, b->max);

		cp->attrs[i].type = b->type;
		if (!random_bytes(a, seed, n, &cp->attrs[i].value))
			return false;
	}
	return true;
}

static bool fit_eap(struct arena *a, struct cy_slice *eap)
{
	uint8_t *p = arena_dup(a, eap->p, eap->n);

	if (!p)
		return false;
	p[2] = (uint8_t)(eap->n >> 8);
	p[3] = (uint8_t)eap->n;
	eap->p = p;
	return true;
}

static bool fit_v1_id(struct arena *a, uint64_t *seed, struct v1_id *id)
{
	static const struct {
		uint8_t type, n;
	} lens[] = {{ID_IPV4_ADDR, 4}, {ID_FQDN, 0}, {ID_RFC822_ADDR, 0}, {ID_IPV4_SUBNET, 8},
	    {ID_IPV6_ADDR, 16}, {ID_IPV6_SUBNET, 32}, {ID_IPV4_RANGE, 8}, {ID_IPV6_RANGE, 32},
	    {ID_DER_ASN1_DN, 0}, {ID_KEY_ID, 0}};
	size_t i = between(seed, 0, ARRAY_LEN(lens) - 1);

	id->type = lens[i].type;
	return random_bytes(a, seed, lens[i].n ? lens[i].n : id->data.n + 1, &id->data);
}

static bool fit_v1_config(struct arena *a, uint64_t *seed, struct v1_config *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct wire_bounds *b = &wire_v1_attrs[between(seed, 0, wire_n_v1_attrs - 1)];
		size_t n = chance(seed, 3) ? 0 : some_length(seed, b->min, b->max);

		c->attrs[i].type = b->type;
		if (!c->attrs[i].tv && !random_bytes(a, seed, n, &c->attrs[i].data))
			return false;
	}
	return true;
}

static bool fit_body(struct arena *a, uint64_t *seed, struct payload *p)
{
	switch (p->type) {
	case PAYLOAD_SA:
		for (size_t i = 0; i < p->u.sa.n; i++)
			p->u.sa.p[i].number = (uint8_t)(i + 1);
		return true;
	case PAYLOAD_IDI:
	case PAYLOAD_IDR:
		return fit_id(a, seed, &p->u.id);
	case PAYLOAD_NOTIFY:
		return fit_notify(a, seed, &p->u.notify);
	case PAYLOAD_DELETE:
		return fit_delete(a, seed, &p->u.del);
	case PAYLOAD_TSI:
	case PAYLOAD_TSR:
		fit_ts(seed, &p->u.ts);
		return true;
	case PAYLOAD_CP:
		return fit_cp(a, seed, &p->u.cp);
	case PAYLOAD_SKF:
		p->u.sk.frag_no = (uint16_t)between(seed, 1, p->u.sk.frag_total);
		return true;
	case PAYLOAD_EAP:
		return fit_eap(a, &p->u.eap);
	case PAYLOAD_V1_SA:
		p->u.sa1.doi = 1;
		p->u.sa1.situation = 1;
		return true;
	case PAYLOAD_V1_ID:
		return fit_v1_id(a, seed, &p->u.id1);
	case PAYLOAD_V1_CONFIG:
		return fit_v1_config(a, seed, &p->u.config1);
	}
	return true;
}

enum cy_err wire_generate_payload(struct arena *a, uint64_t *seed, struct message *m, uint8_t type)
{
	bool ours = wire_payload(type)->major == (m->h.major ? m->h.major : 2);
	const struct wire_field *fields = ours ? wire_payload(type)->fields : NULL;
	struct payload *p = message_add(a, m, type);

	if (!p)
		return CY_E_NOMEM;
	p->critical = m->h.major != 1 && fields && chance(seed, 8);
	p->unknown = !fields;
	if (!fields)
		return random_bytes(a, seed, some_length(seed, 0, 65000), &p->raw) ? CY_OK : CY_E_NOMEM;
	return gen_fields(a, seed, fields, &p->u, type) && fit_body(a, seed, p) ? CY_OK : CY_E_NOMEM;
}

/* A payload somewhere in the chain moves to its end. */
static void shuffle(uint64_t *seed, struct message *m)
{
	struct payload **at = &m->first;

	for (size_t i = between(seed, 0, 6); i > 0 && *at && (*at)->next; i--)
		at = &(*at)->next;
	if (*at && (*at)->next) {
		struct payload *p = *at;

		*at = p->next;
		p->next = NULL;
		*m->tail = p;
		m->tail = &p->next;
	}
}

enum cy_err wire_generate(struct arena *a, uint64_t *seed, struct message *out, bool *out_encrypted)
{
	static const uint8_t strangers[] = {1, 32, 49, 52, 60, 127, 128, 255};
	const struct wire_form *form = &wire_forms[between(seed, 0, wire_n_forms - 1)];
	bool outside = form->key == PAYLOAD_SK || form->key == PAYLOAD_SKF;
	struct ike_header h = {.spi_i = next(seed), .spi_r = next(seed), .major = 2};
	uint64_t groups = next(seed);
	struct message m;
	enum cy_err err;

	h.exchange = form->exchange == WIRE_ANY
	    ? (uint8_t)between(seed, EXCHANGE_IKE_AUTH, EXCHANGE_INFORMATIONAL)
	    : form->exchange;
	h.flags =
	    (uint8_t)((form->response ? IKE_FLAG_RESPONSE : 0) | (chance(seed, 2) ? IKE_FLAG_INITIATOR : 0));
	h.msgid = (uint32_t)between(seed, 0, 1000);
	message_init(&m, &h);
	for (const struct wire_rule *r = form->rules; r->type; r++) {
		size_t n = between(seed, r->min, r->max < 3 ? r->max : 3);

		if (r->group)
			n = groups >> r->group & 1;
		while (n-- > 0) {
			err = wire_generate_payload(a, seed, &m, r->type);
			if (err)
				return err;
		}
	}
	while (!outside && chance(seed, 6)) {
		err =
		    wire_generate_payload(a, seed, &m, strangers[between(seed, 0, ARRAY_LEN(strangers) - 1)]);
		if (err)
			return err;
	}
	while (!outside && chance(seed, 3))
		shuffle(seed, &m);
	*out = m;
	out->tail = &out->first;
	while (*out->tail)
		out->tail = &(*out->tail)->next;
	*out_encrypted = form->encrypted;
	return CY_OK;
}
