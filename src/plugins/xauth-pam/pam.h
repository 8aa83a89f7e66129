/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins and the helpers that carry them through PAM. Everything here belongs to the plugin's thread, but for what struct plugin
 * says; nothing on it waits for a helper.
 */
#ifndef XAUTH_PAM_PAM_H
#define XAUTH_PAM_PAM_H

#include <pthread.h>
#include <sys/types.h>

#include <cygnet/plugin.h>

#include "proto.h"

#define BUCKETS     4096
#define HELPERS_MAX 1024

struct helper;

struct link {
	struct link *next, *prev;
};

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_ASKED, JOB_SESSION, JOB_CLOSING };

/* A login, until it has failed or its session is closed. */
struct job {
	struct link link; /* in a queue: logins, closes of a helper, orphans */
	struct job *next; /* of its bucket */
	uint64_t id;
	enum job_state state;
	bool ended;          /* nobody waits for it */
	struct helper *home; /* works on it, or has the handle of its session; NULL none */
	char *user, *rhost, *conn, *remote_id;
	uint8_t *secret; /* until a helper has it */
	size_t n_secret;
};

enum helper_state { HELPER_DOWN, HELPER_STARTING, HELPER_IDLE, HELPER_LOGIN, HELPER_ASKING, HELPER_CLOSING };

struct helper {
	struct plugin *plugin;
	enum helper_state state;
	pid_t pid;
	int fd;
	struct cy_watch *watch;
	struct cy_timer *timer; /* of what it does; or before it is started again */
	struct job *job;        /* that it works on */
	struct link closes;     /* jobs */
	bool answered;          /* ever */
	bool close_next;
};

/* What other threads want; in order. */
struct command {
	struct command *next;
	enum { COMMAND_BEGIN, COMMAND_REPLY, COMMAND_END } what;
	uint64_t id;
	struct job *job; /* begin */
	uint8_t *secret; /* reply */
	size_t n_secret;
};

struct counters {
	uint64_t logins, let_in, refused, failed, killed, died, lost, closed, overflows;
	uint32_t busy, queued, sessions, max_queued;
};

struct plugin {
	const struct cy_host *host;
	void *self;

	pthread_mutex_t lock; /* of what other threads see: the commands, the counters, and whom to answer */
	struct command *commands, **commands_tail;
	int wake;
	struct counters c;
	uint32_t waiting, queue_max; /* logins not yet with a helper */
	void (*answer)(void *to, uint64_t id, const struct cy_xauth_answer *a);
	void *answer_to;

	/* the plugin's thread */
	struct cy_watch *wake_watch;
	bool reaping;
	struct helper *helpers;
	uint32_t n_helpers;
	pid_t dead[HELPERS_MAX];
	uint32_t n_dead;
	struct job *buckets[BUCKETS];
	struct link logins, orphans;
	uint32_t deadline_ms, answer_ms;
	bool sessions, stopping;
	char service[128], confdir[512], program[512];
	struct msg msg; /* being written or read */
};

/* jobs.c */
void jobs_init(struct plugin *p);
void jobs_fini(struct plugin *p);
struct job *job_find(const struct plugin *p, uint64_t id);
void job_add(struct plugin *p, struct job *j);
void job_free(struct plugin *p, struct job *j);        /* takes it out everywhere */
void job_discard(struct job *j);                       /* that was never added */
void job_command(struct plugin *p, struct command *c); /* takes c */
void job_asked(struct plugin *p, struct helper *h, const char *prompt, const char *message);
void job_done(struct plugin *p, struct helper *h, const char *fields[FIELD_N]);
void job_closed(struct plugin *p, struct helper *h, bool ok, const char *reason);
/* The helper is gone: its login has failed, its sessions have no handle any more. */
void jobs_without(struct plugin *p, struct helper *h, const char *why);

static inline void link_init(struct link *l)
{
	l->next = l->prev = l;
}

static inline bool link_empty(const struct link *l)
{
	return l->next == l;
}

static inline void link_push(struct link *l, struct link *n)
{
	n->next = l;
	n->prev = l->prev;
	l->prev->next = n;
	l->prev = n;
}

static inline void link_del(struct link *n)
{
	if (!n->next)
		return;
	n->next->prev = n->prev;
	n->prev->next = n->next;
	n->next = n->prev = NULL;
}

static inline struct job *link_job(struct link *l)
{
	return (struct job *)(void *)((char *)l - offsetof(struct job, link));
}

/* helpers.c */
enum cy_err helpers_start(struct plugin *p, uint32_t n);
void helpers_stop(struct plugin *p); /* lets them close sessions for 3 s at most */
void helpers_dispatch(struct plugin *p);
void helper_reply(struct helper *h, const uint8_t *secret, size_t n);
void helper_give_up(struct helper *h); /* the user does not answer */

#endif
