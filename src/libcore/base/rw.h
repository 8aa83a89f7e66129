/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sticky reader and writer over bytes, network byte order. After the first access out of bounds `bad` is set, reads
 * give zero, writes do nothing: check once at the end. Values on the stack; nothing owned. Any thread.
 */
#ifndef LIBCORE_BASE_RW_H
#define LIBCORE_BASE_RW_H

#include <cygnet/types.h>

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

struct writer {
	uint8_t *buf;
	size_t n, cap;
	bool bad;
};

static inline struct reader reader_of(struct cy_slice s)
{
	return (struct reader){s.p, s.n ? s.p + s.n : s.p, false};
}
static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->p);
}
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
struct cy_slice read_bytes(struct reader *r, size_t n); /* empty when bad */
struct cy_slice read_rest(struct reader *r);
void read_skip(struct reader *r, size_t n);

static inline struct writer writer_of(void *buf, size_t cap)
{
	return (struct writer){(uint8_t *)buf, 0, cap, false};
}
static inline struct cy_slice writer_slice(const struct writer *w)
{
	return cy_slice(w->buf, w->n);
}
void write_u8(struct writer *w, uint8_t v);
void write_u16(struct writer *w, uint16_t v);
void write_u32(struct writer *w, uint32_t v);
void write_u64(struct writer *w, uint64_t v);
void write_bytes(struct writer *w, struct cy_slice s);
void write_zero(struct writer *w, size_t n);
uint8_t *write_space(struct writer *w, size_t n);           /* n bytes to fill in, NULL when bad */
void write_u16_at(struct writer *w, size_t at, uint16_t v); /* patch a length */

#endif
