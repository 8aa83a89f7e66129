/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/wire/codec.h"

#include <stdarg.h>
#include <stdio.h>

/* Words put one after the other into the caller's buffer; what does not fit is cut off. */
struct text {
	char *p;
	size_t n, cap;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->n + 1 >= t->cap)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->n += (size_t)n < t->cap - t->n ? (size_t)n : t->cap - t->n - 1;
}

static void put_payload(struct text *t, const struct payload *p)
{
	static const char *const cp_types[] = {"CP", "CPRQ", "CPRP", "CPS", "CPA"};

	if (p->unknown) {
		put(t, "(%u) ", p->type);
		return;
	}
	switch (p->type) {
	case PAYLOAD_NOTIFY:
		put(t, "N(%s) ", name_or_number(notify_short_names, p->u.notify.type));
		break;
	case PAYLOAD_SKF:
		put(t, "EF(%u/%u) ", p->u.sk.frag_no, p->u.sk.frag_total);
		break;
	case PAYLOAD_CP:
		put(t, "%s(", cp_types[p->u.cp.type <= CFG_ACK ? p->u.cp.type : 0]);
		for (size_t i = 0; i < p->u.cp.n; i++)
			put(t, i ? " %s" : "%s", name_or_number(cp_attr_short_names, p->u.cp.attrs[i].type));
		put(t, ") ");
		break;
	case PAYLOAD_V1_NOTIFY:
		put(t, "N(%s) ", name_or_number(v1_notify_names, p->u.notify1.type));
		break;
	case PAYLOAD_V1_FRAGMENT:
		put(t, "FRAG(%u%s) ", p->u.fragment1.number, p->u.fragment1.last ? "/last" : "");
		break;
	case PAYLOAD_V1_CONFIG:
		put(t, "%s(", cp_types[p->u.config1.type <= CFG_ACK ? p->u.config1.type : 0]);
		for (size_t i = 0; i < p->u.config1.n; i++)
			put(t, i ? " %s" : "%s",
			    name_or_number(v1_attr_short_names, p->u.config1.attrs[i].type));
		put(t, ") ");
		break;
	default:
		put(t, "%s ", wire_payload(p->type)->text);
	}
}

const char *wire_print(const struct ike_header *h, const struct payload *first, char *out, size_t cap)
{
	struct text t = {out, 0, cap};

	if (!cap)
		return out;
	*out = '\0';
	if (h->major == 1) /* who asks and who answers is not in the header */
		put(&t, "%s %08x [ ", name_or_number(exchange_names, h->exchange), h->msgid);
	else
		put(&t, "%s %s %u [ ", name_or_number(exchange_names, h->exchange),
		    h->flags & IKE_FLAG_RESPONSE ? "response" : "request", h->msgid);
	for (const struct payload *p = first; p; p = p->next)
		put_payload(&t, p);
	put(&t, "]");
	return out;
}

/* --- every field ------------------------------------------------------------------------------------------------- */

static void put_bytes(struct text *t, struct cy_slice s)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < s.n && t->n + 2 < t->cap; i++) {
		t->p[t->n++] = digits[s.p[i] >> 4];
		t->p[t->n++] = digits[s.p[i] & 15];
		t->p[t->n] = '\0';
	}
}

static void dump_fields(struct text *t, const struct wire_field *f, const void *base, uint8_t type)
{
	const char *items;
	const struct v1_attr *attr = base;
	struct cy_slice s;
	uint32_t v32;
	uint16_t v;
	uint8_t v8;
	size_t n;

	for (; f->kind != WIRE_END; f++) {
		if (f->only && f->only != type)
			continue;
		switch ((enum wire_kind)f->kind) {
		case WIRE_U8:
		case WIRE_NEXT:
		case WIRE_TS_TYPE:
			memcpy(&v8, field_in(base, f->at), sizeof(v8));
			put(t, " %s=%u", f->name, v8);
			break;
		case WIRE_U16:
		case WIRE_U15:
		case WIRE_ATTRS:
			memcpy(&v, field_in(base, f->at), sizeof(v));
			put(t, " %s=%u", f->name, v);
			break;
		case WIRE_REST:
		case WIRE_BYTES:
		case WIRE_TIMES:
			memcpy(&s, field_in(base, f->at), sizeof(s));
			put(t, " %s=", f->name);
			put_bytes(t, s);
			break;
		case WIRE_INLINE:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			put(t, " %s=", f->name);
			put_bytes(t, cy_slice(field_in(base, f->at), v8));
			break;
		case WIRE_TS_ADDR:
			memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
			put(t, " %s=", f->name);
			put_bytes(t, cy_slice(field_in(base, f->at), v8 ? 16 : 4));
			break;
		case WIRE_LIST:
		case WIRE_COUNTED:
		case WIRE_ARRAY:
			items = field_in(base, f->at);
			if (f->kind == WIRE_ARRAY) {
				memcpy(&v8, field_in(base, f->n_at), sizeof(v8));
				n = v8;
			} else {
				memcpy(&items, field_in(base, f->at), sizeof(items));
				memcpy(&n, field_in(base, f->n_at), sizeof(n));
			}
			for (size_t i = 0; i < n; i++) {
				put(t, " %s {", f->rec->name);
				dump_fields(t, f->rec->fields, items + i * f->rec->size, type);
				put(t, " }");
			}
			break;
		case WIRE_U32:
			memcpy(&v32, field_in(base, f->at), sizeof(v32));
			put(t, " %s=%u", f->name, v32);
			break;
		case WIRE_TV:
			put(t, " type=%u %s=", attr->type, f->name);
			put_bytes(t, attr->data);
			break;
		case WIRE_ZERO:
		case WIRE_SIZE8:
		case WIRE_SIZE16:
		case WIRE_SIZE_INLINE:
		case WIRE_COUNT8:
		case WIRE_MORE:
		case WIRE_LEN:
		case WIRE_END:
			break;
		}
	}
}

const char *wire_dump(const struct payload *first, char *out, size_t cap)
{
	struct text t = {out, 0, cap};

	if (cap)
		*out = '\0';
	for (const struct payload *p = first; p; p = p->next) {
		const struct wire_payload *known = wire_payload(p->type);

		put(&t, "%s%s", name_or_number(payload_names, p->type), p->critical ? " critical" : "");
		if (known->fields && !p->unknown) {
			dump_fields(&t, known->fields, &p->u, p->type);
		} else {
			put(&t, " data=");
			put_bytes(&t, p->raw);
		}
		put(&t, "\n");
	}
	return out;
}
