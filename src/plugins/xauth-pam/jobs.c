/* SPDX-License-Identifier: Apache-2.0 */
/* Logins: what becomes of them. On the plugin's thread. */

#include "pam.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

void jobs_init(struct plugin *p)
{
	link_init(&p->logins);
	link_init(&p->orphans);
}

void job_discard(struct job *j)
{
	if (j->secret)
		explicit_bzero(j->secret, j->n_secret);
	free(j->secret);
	free(j->user);
	free(j->rhost);
	free(j->conn);
	free(j->remote_id);
	free(j);
}

void jobs_fini(struct plugin *p)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (p->buckets[i])
			job_free(p, p->buckets[i]);
}

struct job *job_find(const struct plugin *p, uint64_t id)
{
	struct job *j = p->buckets[id % BUCKETS];

	while (j && j->id != id)
		j = j->next;
	return j;
}

void job_add(struct plugin *p, struct job *j)
{
	struct job **at = &p->buckets[j->id % BUCKETS];

	j->next = *at;
	*at = j;
}

void job_free(struct plugin *p, struct job *j)
{
	struct job **at = &p->buckets[j->id % BUCKETS];

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	link_del(&j->link);
	job_discard(j);
}

/* --- answers --------------------------------------------------------------------------------------------------------- */

static void answer_id(struct plugin *p, uint64_t id, struct cy_xauth_answer *a)
{
	void (*fn)(void *to, uint64_t id, const struct cy_xauth_answer *a);
	void *to;

	pthread_mutex_lock(&p->lock);
	fn = p->answer;
	to = p->answer_to;
	pthread_mutex_unlock(&p->lock);
	a->size = sizeof(*a);
	a->message = a->message ? a->message : "";
	a->reason = a->reason ? a->reason : "";
	a->pool = a->pool ? a->pool : "";
	a->group = a->group ? a->group : "";
	if (fn && !p->stopping)
		fn(to, id, a);
}

static void answer(struct plugin *p, const struct job *j, struct cy_xauth_answer *a)
{
	if (!j->ended)
		answer_id(p, j->id, a);
}

static void count(struct plugin *p, uint64_t *counter)
{
	pthread_mutex_lock(&p->lock);
	++*counter;
	pthread_mutex_unlock(&p->lock);
}

static void sessions_add(struct plugin *p, int n)
{
	pthread_mutex_lock(&p->lock);
	p->c.sessions += (uint32_t)n;
	pthread_mutex_unlock(&p->lock);
}

/* --- what the daemon wants ------------------------------------------------------------------------------------------- */

/* Its session is to be closed: by the helper that has its handle, or by any. */
static void queue_close(struct job *j, struct plugin *p)
{
	j->state = JOB_CLOSING;
	link_push(j->home ? &j->home->closes : &p->orphans, &j->link);
}

static void end_job(struct plugin *p, struct job *j)
{
	if (j->ended)
		return;
	j->ended = true;
	switch (j->state) {
	case JOB_QUEUED:
		pthread_mutex_lock(&p->lock);
		p->waiting--;
		pthread_mutex_unlock(&p->lock);
		job_free(p, j);
		return;
	case JOB_ASKED:
		helper_give_up(j->home);
		return;
	case JOB_SESSION:
		queue_close(j, p);
		return;
	default:
		return; /* when the helper has done with it */
	}
}

static void reply_job(struct plugin *p, struct job *j, struct command *c)
{
	if (j && j->state == JOB_ASKED && !j->ended) {
		j->state = JOB_RUNNING;
		helper_reply(j->home, c->secret, c->n_secret);
		return;
	}
	answer_id(p, c->id,
	    &(struct cy_xauth_answer){.result = CY_XAUTH_FAIL, .reason = "the user's answer came too late"});
}

void job_command(struct plugin *p, struct command *c)
{
	struct job *j = job_find(p, c->id);

	if (c->what == COMMAND_BEGIN) {
		job_add(p, c->job);
		link_push(&p->logins, &c->job->link);
	} else if (c->what == COMMAND_REPLY) {
		reply_job(p, j, c);
	} else if (j) {
		end_job(p, j);
	}
	if (c->secret)
		explicit_bzero(c->secret, c->n_secret);
	free(c->secret);
	free(c);
}

/* --- what helpers say ------------------------------------------------------------------------------------------------ */

void job_asked(struct plugin *p, struct helper *h, const char *prompt, const char *message)
{
	struct job *j = h->job;
	struct cy_xauth_answer a = {.result = CY_XAUTH_CHALLENGE,
	    .prompt =
	        prompt && *prompt >= '1' && *prompt <= '4' ? (uint32_t)(*prompt - '0') : CY_XAUTH_ANSWER,
	    .message = message};

	j->state = JOB_ASKED;
	if (j->ended)
		helper_give_up(h);
	else
		answer(p, j, &a);
}

static bool read_address(const char *text, struct cy_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, out->ip) == 1)
		out->family = AF_INET;
	else if (inet_pton(AF_INET6, text, out->ip) == 1)
		out->family = AF_INET6;
	return out->family != 0;
}

/* Who is let in without what PAM says he gets, may get what is another's. */
static void let_in(struct plugin *p, struct job *j, const char *f[FIELD_N])
{
	struct cy_xauth_answer a = {.result = CY_XAUTH_OK,
	    .message = f[FIELD_MESSAGE],
	    .pool = f[FIELD_POOL],
	    .group = f[FIELD_GROUP]};
	char reason[256];

	if (f[FIELD_ADDRESS] && !read_address(f[FIELD_ADDRESS], &a.address)) {
		snprintf(
		    reason, sizeof(reason), "PAM's CYGNET_ADDRESS is no address: %.100s", f[FIELD_ADDRESS]);
		a = (struct cy_xauth_answer){.result = CY_XAUTH_ERROR, .reason = reason};
	}
	count(p, a.result == CY_XAUTH_OK ? &p->c.let_in : &p->c.failed);
	answer(p, j, &a);
	if (!p->sessions) {
		job_free(p, j);
		return;
	}
	sessions_add(p, 1);
	j->state = JOB_SESSION;
	if (j->ended || a.result != CY_XAUTH_OK) {
		j->ended = true;
		queue_close(j, p);
	}
}

void job_done(struct plugin *p, struct helper *h, const char *f[FIELD_N])
{
	struct job *j = h->job;
	char result = f[FIELD_RESULT] ? *f[FIELD_RESULT] : '2';
	struct cy_xauth_answer a = {.result = result == '1' ? CY_XAUTH_FAIL : CY_XAUTH_ERROR,
	    .message = f[FIELD_MESSAGE],
	    .reason = f[FIELD_REASON]};

	h->job = NULL;
	if (result == '0') {
		let_in(p, j, f);
		return;
	}
	count(p, result == '1' ? &p->c.refused : &p->c.failed);
	/* an answer that the user never gave: the daemon waits for him, not for us */
	if (j->state != JOB_ASKED)
		answer(p, j, &a);
	job_free(p, j);
}

void job_closed(struct plugin *p, struct helper *h, bool ok, const char *reason)
{
	struct job *j = h->job;

	h->job = NULL;
	if (!ok)
		p->host->log(p->self, CY_LOG_WARN, "the session of '%s' was not closed well: %s", j->user,
		    reason ? reason : "");
	count(p, &p->c.closed);
	sessions_add(p, -1);
	job_free(p, j);
}

void jobs_without(struct plugin *p, struct helper *h, const char *why)
{
	struct job *j = h->job;

	h->job = NULL;
	if (j && j->state == JOB_CLOSING) {
		p->host->log(p->self, CY_LOG_WARN, "the session of '%s' was not closed: %s", j->user, why);
		sessions_add(p, -1);
		job_free(p, j);
	} else if (j) {
		count(p, &p->c.failed);
		if (j->state != JOB_ASKED)
			answer(p, j, &(struct cy_xauth_answer){.result = CY_XAUTH_ERROR, .reason = why});
		job_free(p, j);
	}
	for (size_t i = 0; i < BUCKETS; i++)
		for (j = p->buckets[i]; j; j = j->next)
			if (j->home == h) {
				j->home = NULL;
				if (j->state != JOB_CLOSING)
					continue;
				link_del(&j->link);
				link_push(&p->orphans, &j->link);
			}
}
