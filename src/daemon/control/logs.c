/* SPDX-License-Identifier: Apache-2.0 */
/* log: the lines kept in memory, and those that follow. Control thread. */
#include <stdlib.h>

#include "daemon/control/private.h"

struct follow {
	struct request *r; /* whose state this is */
	uint64_t last_ns;  /* of the last line shown */
	struct jw w;
	bool all;
};

static void follow_free(void *state)
{
	struct follow *f = state;

	jw_fini(&f->w);
	free(f);
}

static bool on_line(void *user, const struct log_line *line)
{
	static const char *const levels[] = {"error", "warn", "notice", "info", "debug", "trace"};
	struct follow *f = user;

	if (!f->all && line->ns <= f->last_ns)
		return true;
	if (line->ns > f->last_ns)
		f->last_ns = line->ns;
	request_item(f->r, &f->w, "log");
	jw_i64(&f->w, "time", line->wall);
	jw_u64(&f->w, "thread", line->thread);
	jw_str(&f->w, "group", line->group < LOG_N ? log_group_names[line->group] : "");
	jw_str(&f->w, "level", line->level < ARRAY_LEN(levels) ? levels[line->level] : "");
	if (line->ike_id)
		jw_u64(&f->w, "ike_id", line->ike_id);
	if (*line->conn)
		jw_str(&f->w, "connection", line->conn);
	if (*line->user)
		jw_str(&f->w, "user", line->user);
	jw_str(&f->w, "text", line->text);
	request_item_end(&f->w);
	return true;
}

/* New lines are looked for ten times a second, and only while the client takes them: the log waits for nobody. */
static void follow_tick(struct request *r)
{
	struct follow *f = r->state;

	if (!request_has_room(r))
		return;
	log_recent(r->control->d->log, LOG_RECENT, on_line, f);
	request_send(r, &f->w);
}

void cmd_log(struct request *r)
{
	int64_t lines = request_int(r, "lines", LOG_RECENT);
	struct follow *f = calloc(1, sizeof(*f));

	if (!f) {
		request_fail(r, "limit", "out of memory");
		return;
	}
	f->r = r;
	f->all = true;
	if (lines > 0)
		log_recent(r->control->d->log, lines < LOG_RECENT ? (size_t)lines : LOG_RECENT, on_line, f);
	f->all = false;
	if (!request_flag(r, "follow")) {
		request_send_all(r, &f->w);
		free(f);
		return;
	}
	if (lines <= 0)
		f->last_ns = env_now(r->control->d->env);
	r->state = f;
	r->state_free = follow_free;
	request_send(r, &f->w);
	if (r->client)
		request_want_ticks(r, follow_tick);
}
