/* SPDX-License-Identifier: Apache-2.0 */
/* What the files run.c, load.c and tune.c share: a daemon with what only its wiring needs. */
#ifndef DAEMON_RUN_IMPL_H
#define DAEMON_RUN_IMPL_H

#include "daemon/run.h"
#include "libcore/base/err.h"
#include <cygnet/event.h>
#include <stdio.h>

struct conn;
struct control;

struct run {
	struct daemon d;
	struct env real_env;
	struct daemon_options o;
	char *conf, *secrets, *settings, *rundir, *plugindir;
	struct control *control;
	FILE *log_file;
	pthread_mutex_t reload_lock;
	bool started, stopped, stuck;
};

static inline struct run *run_of(struct daemon *d)
{
	return container_of(d, struct run, d);
}

/* --- tune.c --- */
void tune_from_settings(struct daemon *d);
void tune_log(struct daemon *d);

/* --- load.c --- */
/* The files to a config; problems go to report and to the log. */
enum cy_err load_config(struct run *r, daemon_report_fn report, void *user, struct config **out);
/* auto=start and auto=route, for a connection that is new (before NULL) or changed; routed: a trap of it was there. */
void load_activate(struct run *r, const struct conn *before, struct conn *after, bool routed);

/* --- secret.c --- */
/* The secret of RFC 6290's tokens, from its file, which is made when there is none. */
void load_crash_secret(struct run *r);

/* --- run.c --- */
void run_event(struct daemon *d, enum cy_event_kind kind);

#endif
