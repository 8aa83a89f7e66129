/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "daemon/wire/protect.h"

void frag_fini(struct frag_set *f)
{
	for (size_t i = 0; f->parts && i < f->total; i++) {
		if (f->parts[i].p)
			mem_wipe(f->parts[i].p, f->parts[i].n);
		free(f->parts[i].p);
	}
	free(f->parts);
	memset(f, 0, sizeof(*f));
}

static bool frag_start(struct frag_set *f, uint32_t msgid, uint16_t total, uint32_t max_bytes)
{
	size_t table = total * sizeof(*f->parts);
	struct cy_buf *parts;

	if (table > max_bytes)
		return false;
	parts = calloc(total, sizeof(*parts));
	if (!parts)
		return false;
	frag_fini(f);
	f->msgid = msgid;
	f->total = total;
	f->bytes = table;
	f->parts = parts;
	f->active = true;
	return true;
}

enum frag_result frag_add(
    struct frag_set *f, uint32_t msgid, const struct payload *skf, struct cy_slice plain, uint32_t max_bytes)
{
	uint16_t no = skf->u.sk.frag_no, total = skf->u.sk.frag_total;
	struct cy_buf *part;

	if (skf->type != PAYLOAD_SKF || no == 0 || no > total)
		return FRAG_BAD;
	/* A bigger total: the sender began anew with smaller fragments. A smaller one is old. (RFC 7383, 2.6) */
	if (f->active && f->msgid == msgid && total < f->total)
		return FRAG_BAD;
	if (!f->active || f->msgid != msgid || total > f->total)
		if (!frag_start(f, msgid, total, max_bytes))
			return FRAG_BAD;
	part = &f->parts[no - 1];
	if (part->p)
		return FRAG_DUPLICATE;
	if (plain.n > max_bytes - f->bytes || f->bytes > max_bytes)
		return FRAG_BAD;
	part->p = malloc(plain.n ? plain.n : 1);
	if (!part->p)
		return FRAG_BAD;
	part->n = plain.n;
	if (plain.n)
		memcpy(part->p, plain.p, plain.n);
	f->bytes += plain.n;
	f->have++;
	if (no == 1)
		f->next = skf->u.sk.inner_next;
	return f->have == f->total ? FRAG_COMPLETE : FRAG_STORED;
}

enum cy_err frag_join(struct frag_set *f, struct arena *a, struct cy_slice *out_plain)
{
	size_t n = 0;
	uint8_t *p;

	if (!f->active || f->have != f->total)
		return CY_E_AGAIN;
	for (size_t i = 0; i < f->total; i++)
		n += f->parts[i].n;
	p = arena_alloc(a, n ? n : 1);
	if (!p)
		return CY_E_NOMEM;
	*out_plain = cy_slice(p, n);
	for (size_t i = 0; i < f->total; i++) {
		if (f->parts[i].n)
			memcpy(p, f->parts[i].p, f->parts[i].n);
		p += f->parts[i].n;
	}
	return CY_OK;
}
