/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/rw.h"

/* n readable bytes, or NULL with the reader spoilt. */
static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || reader_left(r) < n) {
		r->bad = true;
		return NULL;
	}
	if (n)
		r->p += n;
	return p;
}

uint8_t read_u8(struct reader *r)
{
	const uint8_t *p = take(r, 1);

	return p ? p[0] : 0;
}

uint16_t read_u16(struct reader *r)
{
	const uint8_t *p = take(r, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t read_u32(struct reader *r)
{
	const uint8_t *p = take(r, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

uint64_t read_u64(struct reader *r)
{
	const uint8_t *p = take(r, 8);
	uint64_t v = 0;

	for (int i = 0; p && i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

struct cy_slice read_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = take(r, n);

	return p ? cy_slice(p, n) : cy_slice(NULL, 0);
}

struct cy_slice read_rest(struct reader *r)
{
	return read_bytes(r, r->bad ? 0 : reader_left(r));
}

void read_skip(struct reader *r, size_t n)
{
	(void)take(r, n);
}

uint8_t *write_space(struct writer *w, size_t n)
{
	uint8_t *p;

	if (w->bad || w->cap - w->n < n || !w->buf) {
		w->bad = true;
		return NULL;
	}
	p = w->buf + w->n;
	w->n += n;
	return p;
}

void write_u8(struct writer *w, uint8_t v)
{
	uint8_t *p = write_space(w, 1);

	if (p)
		p[0] = v;
}

static void put(struct writer *w, uint64_t v, int n)
{
	uint8_t *p = write_space(w, (size_t)n);

	for (int i = n - 1; p && i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

void write_u16(struct writer *w, uint16_t v)
{
	put(w, v, 2);
}

void write_u32(struct writer *w, uint32_t v)
{
	put(w, v, 4);
}

void write_u64(struct writer *w, uint64_t v)
{
	put(w, v, 8);
}

void write_bytes(struct writer *w, struct cy_slice s)
{
	uint8_t *p;

	if (s.n == 0)
		return;
	p = write_space(w, s.n);
	if (p)
		memcpy(p, s.p, s.n);
}

void write_zero(struct writer *w, size_t n)
{
	uint8_t *p;

	if (n == 0)
		return;
	p = write_space(w, n);
	if (p)
		memset(p, 0, n);
}

void write_u16_at(struct writer *w, size_t at, uint16_t v)
{
	if (w->bad || at > w->n || w->n - at < 2) {
		w->bad = true;
		return;
	}
	w->buf[at] = (uint8_t)(v >> 8);
	w->buf[at + 1] = (uint8_t)v;
}
