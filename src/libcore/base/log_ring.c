/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/log_ring.h"

#include <stdio.h>
#include <stdlib.h>

#define RING_SKIP UINT32_MAX

static size_t str_size(const char *s)
{
	return s ? strlen(s) + 1 : 1;
}

static uint8_t *put_str(uint8_t *at, const char *s, size_t n)
{
	if (s)
		memcpy(at, s, n);
	else
		*at = '\0';
	return at + n;
}

bool ring_put(struct ring *r, const struct log_line *line)
{
	size_t conn = str_size(line->conn), user = str_size(line->user), text = str_size(line->text);
	uint64_t head = __atomic_load_n(&r->head, __ATOMIC_RELAXED);
	uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
	size_t size = (sizeof(struct ring_head) + conn + user + text + 7) & ~(size_t)7;
	size_t at = head % RING_SIZE, gap = 0;
	struct ring_head h;
	uint8_t *p;

	/* a record lies in one piece */
	if (RING_SIZE - at < size)
		gap = RING_SIZE - at;
	if (size > RING_SIZE / 2 || head + gap + size - tail > RING_SIZE) {
		__atomic_fetch_add(&r->dropped, 1, __ATOMIC_RELAXED);
		return false;
	}
	if (gap) {
		uint32_t skip = RING_SKIP;

		memcpy(r->data + at, &skip, sizeof(skip));
		at = 0;
	}
	h = (struct ring_head){
	    .size = (uint32_t)size,
	    .group = line->group,
	    .level = line->level,
	    .ns = line->ns,
	    .wall = line->wall,
	    .ike_id = line->ike_id,
	    .conn = (uint16_t)conn,
	    .user = (uint16_t)user,
	    .text = (uint16_t)text,
	};
	p = r->data + at;
	memcpy(p, &h, sizeof(h));
	p = put_str(p + sizeof(h), line->conn, conn);
	p = put_str(p, line->user, user);
	(void)put_str(p, line->text, text);
	/* sequentially consistent, to be ordered before the look at whether the writer sleeps */
	__atomic_store_n(&r->head, head + gap + size, __ATOMIC_SEQ_CST);
	return true;
}

bool ring_empty(const struct ring *r)
{
	return __atomic_load_n(&r->head, __ATOMIC_SEQ_CST) == __atomic_load_n(&r->tail, __ATOMIC_RELAXED);
}

/* Where the oldest record is; steps over a gap. */
static const uint8_t *oldest(struct ring *r, struct ring_head *out)
{
	uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED);
	uint32_t size;

	memcpy(&size, r->data + tail % RING_SIZE, sizeof(size));
	if (size == RING_SKIP) {
		tail += RING_SIZE - tail % RING_SIZE;
		__atomic_store_n(&r->tail, tail, __ATOMIC_RELEASE);
	}
	memcpy(out, r->data + tail % RING_SIZE, sizeof(*out));
	return r->data + tail % RING_SIZE;
}

uint64_t ring_time(struct ring *r)
{
	struct ring_head h;

	(void)oldest(r, &h);
	return h.ns;
}

void ring_peek(struct ring *r, struct log_line *out_line)
{
	struct ring_head h;
	const char *s = (const char *)oldest(r, &h) + sizeof(h);

	*out_line = (struct log_line){
	    .ns = h.ns,
	    .wall = h.wall,
	    .group = h.group,
	    .level = h.level,
	    .thread = r->thread,
	    .ike_id = h.ike_id,
	    .conn = s,
	    .user = s + h.conn,
	    .text = s + h.conn + h.user,
	};
}

void ring_drop(struct ring *r)
{
	struct ring_head h;

	(void)oldest(r, &h);
	__atomic_store_n(&r->tail, __atomic_load_n(&r->tail, __ATOMIC_RELAXED) + h.size, __ATOMIC_RELEASE);
}

struct record *record_new(const struct log_line *line)
{
	size_t conn = str_size(line->conn), user = str_size(line->user), text = str_size(line->text);
	struct record *r = malloc(sizeof(*r) + conn + user + text);
	uint8_t *p;

	if (!r)
		return NULL;
	r->refs = 1;
	r->line = *line;
	r->line.conn = r->strings;
	r->line.user = r->strings + conn;
	r->line.text = r->strings + conn + user;
	p = put_str((uint8_t *)r->strings, line->conn, conn);
	p = put_str(p, line->user, user);
	(void)put_str(p, line->text, text);
	return r;
}

struct record *record_ref(struct record *r)
{
	__atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void record_unref(struct record *r)
{
	if (r && __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(r);
}

/* Length of the valid UTF-8 sequence at s, 0 when there is none (overlong forms and surrogates are none). */
static size_t utf8_len(const uint8_t *s, size_t n, uint32_t *out_char)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
	uint32_t c;

	if (len == 0 || len > n)
		return 0;
	c = len == 1 ? s[0] : (uint32_t)(s[0] & (0x7f >> len));
	for (size_t i = 1; i < len; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*out_char = c;
	return len;
}

static bool harmless(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c < 0xa0))
		return false;
	/* line and paragraph separators, marks that turn the direction of writing */
	return !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069) && c != 0x200e && c != 0x200f;
}

size_t log_escape(const char *in, size_t n, char *out, size_t cap)
{
	const uint8_t *s = (const uint8_t *)in;
	size_t at = 0;

	for (size_t i = 0; i < n;) {
		uint32_t c = 0;
		size_t len = utf8_len(s + i, n - i, &c);
		char text[8];

		if (len && harmless(c)) {
			memcpy(text, s + i, len);
			i += len;
		} else {
			const char *known = s[i] == '\n' ? "\\n"
			    : s[i] == '\r'               ? "\\r"
			    : s[i] == '\t'               ? "\\t"
			                                 : NULL;

			if (known)
				len = (size_t)snprintf(text, sizeof(text), "%s", known);
			else
				len = (size_t)snprintf(text, sizeof(text), "\\x%02x", s[i]);
			i++;
		}
		if (at + len + 4 > cap) {
			if (at + 4 <= cap) {
				memcpy(out + at, "...", 3);
				at += 3;
			}
			break;
		}
		memcpy(out + at, text, len);
		at += len;
	}
	out[at] = '\0';
	return at;
}
