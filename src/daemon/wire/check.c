/* SPDX-License-Identifier: Apache-2.0 */
/* Which payloads a message may have: exchanges.def, applied. */
#include "daemon/wire/codec.h"

#include <stdarg.h>
#include <stdio.h>

static const struct wire_form *form_of(
    const struct ike_header *h, const struct payload *first, bool encrypted)
{
	bool response = h->flags & IKE_FLAG_RESPONSE;

	for (size_t i = 0; i < wire_n_forms; i++) {
		const struct wire_form *f = &wire_forms[i];

		if (f->exchange == WIRE_ANY ? h->exchange == EXCHANGE_IKE_SA_INIT
		                            : f->exchange != h->exchange)
			continue;
		if (f->response != response || f->encrypted != encrypted)
			continue;
		if (f->key == PAYLOAD_NONE || wire_find(first, f->key))
			return f;
	}
	return NULL;
}

static const struct wire_rule *rule_of(const struct wire_form *f, uint8_t type)
{
	for (const struct wire_rule *r = f->rules; r->type; r++)
		if (r->type == type)
			return r;
	return NULL;
}

/* Is there a notify that stands for what is missing? */
static bool excused(const struct ike_header *h, const struct payload *first)
{
	if (!(h->flags & IKE_FLAG_RESPONSE))
		return false;
	if (wire_find_error(first))
		return true;
	for (size_t i = 0; i < wire_n_insteads; i++)
		if (wire_insteads[i].exchange == h->exchange &&
		    wire_find_notify(first, wire_insteads[i].notify))
			return true;
	return false;
}

static enum cy_err refuse(struct wire_error *why, const struct ike_header *h, bool encrypted, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
static enum cy_err refuse(
    struct wire_error *why, const struct ike_header *h, bool encrypted, const char *fmt, ...)
{
	const char *exchange = name_or_number(exchange_names, h->exchange);
	int n = snprintf(why->text, sizeof(why->text), "%s %s: ", exchange,
	    h->flags & IKE_FLAG_RESPONSE ? "response" : "request");
	va_list ap;

	/* in clear, INVALID_SYNTAX would answer whoever forges (RFC 7296, 3.10.1) */
	why->notify = encrypted ? N_INVALID_SYNTAX : 0;
	why->notify_data = 0;
	va_start(ap, fmt);
	vsnprintf(why->text + n, sizeof(why->text) - (size_t)n, fmt, ap);
	va_end(ap);
	return CY_E_PARSE;
}

enum cy_err wire_check(
    const struct ike_header *h, const struct payload *first, bool encrypted, struct wire_error *out_why)
{
	const struct wire_form *f = form_of(h, first, encrypted);
	uint8_t seen[256] = {0};
	int group[256]; /* 0: nothing of it seen yet, 1: a payload that is there, -1: one that is not */
	bool complete;

	if (!f)
		return refuse(out_why, h, encrypted, encrypted ? "no such exchange" : "must be encrypted");
	for (const struct payload *p = first; p; p = p->next) {
		const struct wire_rule *r = p->unknown ? NULL : rule_of(f, p->type);
		const char *name = wire_payload(p->type)->text;

		if (p->unknown)
			continue;
		if (!r)
			return refuse(out_why, h, encrypted, "%s payload has no place there", name);
		if (++seen[p->type] > r->max)
			return refuse(out_why, h, encrypted, "more than %u %s payload%s", r->max, name,
			    r->max > 1 ? "s" : "");
	}
	complete = !excused(h, first);
	memset(group, 0, sizeof(group));
	for (const struct wire_rule *r = f->rules; complete && r->type; r++) {
		int here = seen[r->type] ? 1 : -1;

		if (seen[r->type] < r->min)
			return refuse(
			    out_why, h, encrypted, "%s payload is missing", wire_payload(r->type)->text);
		if (r->group && group[r->group] && group[r->group] != here)
			return refuse(out_why, h, encrypted, "SA, TSi and TSr only come together");
		if (r->group)
			group[r->group] = here;
	}
	return CY_OK;
}
