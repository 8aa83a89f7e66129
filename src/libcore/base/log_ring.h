/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of log.c: what carries a line from the thread that logs to the sinks. A ring has one writing and one reading
 * thread and no lock; a record is a counted copy of a line that sinks and the memory of recent lines share.
 */
#ifndef LIBCORE_BASE_LOG_RING_H
#define LIBCORE_BASE_LOG_RING_H

#include "libcore/base/log.h"

#define RING_SIZE 65536u /* bytes; a power of two */

struct ring_head {
	uint32_t size; /* of the record with its strings, multiple of 8; RING_SKIP: go on at the beginning */
	uint16_t group, level;
	uint64_t ns;
	int64_t wall;
	uint64_t ike_id;
	uint16_t conn, user, text; /* lengths with their NUL */
};

struct ring {
	struct ring *next; /* the log's list */
	uint32_t thread;
	bool orphan;       /* atomic: its thread has ended */
	uint64_t head;     /* atomic: bytes written */
	uint64_t tail;     /* atomic: bytes read */
	uint64_t dropped;  /* atomic: lines that did not fit */
	uint64_t reported; /* the reader's: of those, how many a line told about */
	_Alignas(16) uint8_t data[RING_SIZE];
};

/* The writing thread. False when full: the line is counted as dropped. */
bool ring_put(struct ring *r, const struct log_line *line);
/* The reading thread. */
bool ring_empty(const struct ring *r);
uint64_t ring_time(struct ring *r);                        /* of the oldest line; not when empty */
void ring_peek(struct ring *r, struct log_line *out_line); /* borrows from the ring */
void ring_drop(struct ring *r);

struct record {
	uint32_t refs; /* atomic */
	struct log_line line;
	char strings[];
};
struct record *record_new(const struct log_line *line); /* one reference; NULL without memory */
struct record *record_ref(struct record *r);
void record_unref(struct record *r);

/* Escape control characters, invalid UTF-8 and what changes the direction of text. Returns the length. */
size_t log_escape(const char *in, size_t n, char *out, size_t cap);

#endif
