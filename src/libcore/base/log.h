/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging that never blocks. A line is formatted by the thread that logs, into that thread's ring; one writer thread
 * hands lines to the sinks (stderr, file, syslog, journal). A full ring drops the line and counts it; a slow sink
 * costs lines, never time. In the simulator (log_set_direct) lines go straight to a callback.
 * Secrets are never passed to these functions.
 */
#ifndef LIBCORE_BASE_LOG_H
#define LIBCORE_BASE_LOG_H

#include <cygnet/plugin.h>

/* Groups, each with a level of its own (charon's names). */
enum log_group {
	LOG_DMN,
	LOG_MGR,
	LOG_IKE,
	LOG_CHD,
	LOG_JOB,
	LOG_CFG,
	LOG_KNL,
	LOG_NET,
	LOG_ENC,
	LOG_LIB,
	LOG_ESP,
	LOG_N
};

/* Fields a line may carry (journal); any may be 0/NULL. */
struct log_ctx {
	const char *conn;
	uint64_t ike_id; /* printed as <conn|ike_id> */
	const char *user;
};

struct log_line {
	uint64_t ns;  /* monotonic */
	int64_t wall; /* Unix seconds */
	uint16_t group;
	uint16_t level;  /* enum cy_level */
	uint32_t thread; /* small number of the logging thread */
	uint64_t ike_id;
	const char *conn, *user; /* "" when none */
	const char *text;        /* NUL-terminated, one line, control characters escaped */
};
#define LOG_TEXT_MAX 2048 /* longer lines are cut and end in "..." */
#define LOG_RECENT   1000 /* lines kept for log_recent */

struct log; /* one per daemon instance */
struct env;
typedef void (*log_sink_fn)(void *user, const struct log_line *line);

enum cy_err log_new(struct env *env, struct log **out) CY_MUST_USE;
void log_free(struct log *l); /* flushes what sinks take within 100 ms */
void log_level(struct log *l, enum log_group g, enum cy_level level);
void log_level_all(struct log *l, enum cy_level level);
/*
 * Sinks run on the writer thread, each with its own bounded queue and thread if `slow`: whatever may block (a pipe, a
 * file on a network) is slow. A sink that is still blocked when log_free gives up keeps its thread and its `user`.
 */
enum cy_err log_add_sink(struct log *l, const char *name, log_sink_fn fn, void *user, bool slow);
/* The same; user_free(user) is called when nobody calls fn any more, which may be after log_free. */
enum cy_err log_add_sink_owned(
    struct log *l, const char *name, log_sink_fn fn, void *user, bool slow, void (*user_free)(void *user));
/* Sinks of this name get no lines any more, or get them again. Any thread. */
void log_mute(struct log *l, const char *name, bool mute);
void log_set_direct(struct log *l, log_sink_fn fn, void *user);
enum cy_err log_start(struct log *l); /* starts the writer thread */
bool log_enabled(const struct log *l, enum log_group g, enum cy_level level);
void log_write(struct log *l, enum log_group g, enum cy_level level, const struct log_ctx *ctx,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
uint64_t log_dropped(const struct log *l);
struct log_sink_stats {
	const char *name; /* as long as the log */
	uint64_t lost;    /* lines that its full queue had no room for */
	uint32_t queued;
	uint64_t since_ns; /* it is in a line since then; 0: it is idle */
};
size_t log_sink_read_stats(struct log *l, struct log_sink_stats *out, size_t cap);
/* The last lines kept in memory, oldest first (for `ipsec log`); cb returns false to stop. */
void log_recent(struct log *l, size_t max, bool (*cb)(void *user, const struct log_line *line), void *user);
extern const char *const log_group_names[LOG_N];
/* "Nov  5 10:21:07 03[IKE] <home|7> text", without a newline; the length, at most cap - 1. */
size_t log_format(const struct log_line *line, char *out, size_t cap);
/* Ready-made sinks. */
void log_sink_stderr(void *user, const struct log_line *line);

#define LOGF(l, g, lv, ctx, ...)                                                                             \
	do {                                                                                                 \
		if (log_enabled((l), (g), (lv)))                                                             \
			log_write((l), (g), (lv), (ctx), __VA_ARGS__);                                       \
	} while (0)

#endif
