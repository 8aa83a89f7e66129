/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers: started before they are needed, each with one login at a time, killed and replaced when it takes too long or dies.
 * On the plugin's thread.
 */

#include "config.h"
#include "pam.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIVE_UP_MS 2000  /* to leave PAM after the user did not answer */
#define START_MS   30000 /* until it says that it is ready; no login waits for this one in particular */
#define REAP_MS    200
#define AGAIN_MS   1000 /* before one is started again that did nothing at all */
#define STOP_MS    3000

static void start_again(void *user);
static void on_no_start(void *user);
static void on_helper(void *user, uint32_t events);

/* --- processes ------------------------------------------------------------------------------------------------------- */

static void set_timer(struct helper *h, uint32_t ms, void (*cb)(void *user))
{
	struct plugin *p = h->plugin;

	p->host->timer_cancel(p->self, h->timer);
	h->timer = NULL;
	if (cb && !p->stopping && p->host->timer(p->self, ms, 0, cb, h, &h->timer))
		p->host->log(p->self, CY_LOG_ERROR, "no timer for a helper");
}

static enum cy_err spawn(const struct plugin *p, int fd, pid_t *out)
{
	static const char *const envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	const char *argv[] = {p->program, NULL};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	int e;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&fa))
		return CY_E_NOMEM;
	if (posix_spawnattr_init(&at)) {
		posix_spawn_file_actions_destroy(&fa);
		return CY_E_NOMEM;
	}
	(void)posix_spawnattr_setflags(
	    &at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	(void)posix_spawnattr_setsigmask(&at, &none);
	(void)posix_spawnattr_setsigdefault(&at, &all);
	(void)posix_spawnattr_setpgroup(&at, 0);
	e = posix_spawn_file_actions_adddup2(&fa, fd, HELPER_FD);
	for (int i = 0; i < 3 && !e; i++)
		e = posix_spawn_file_actions_addopen(&fa, i, "/dev/null", O_RDWR, 0);
	if (!e)
		e = posix_spawn_file_actions_addclosefrom_np(&fa, HELPER_FD + 1);
	if (!e)
		e = posix_spawn(out, p->program, &fa, &at, (char *const *)argv, (char *const *)envp);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	if (!e)
		return CY_OK;
	p->host->log(p->self, CY_LOG_ERROR, "%s cannot be run: %s", p->program, strerror(e));
	return e == ENOMEM || e == EAGAIN ? CY_E_NOMEM : CY_E_IO;
}

static enum cy_err start_helper(struct helper *h)
{
	struct plugin *p = h->plugin;
	enum cy_err e;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		return CY_E_IO;
	/* dup2 to its own number would leave it to be closed at exec; and the helper's end blocks */
	if (fd[1] == HELPER_FD) {
		int other = fcntl(fd[1], F_DUPFD_CLOEXEC, HELPER_FD + 1);

		close(fd[1]);
		fd[1] = other;
	}
	if (fd[1] < 0 || fcntl(fd[1], F_SETFL, 0)) {
		close(fd[0]);
		if (fd[1] >= 0)
			close(fd[1]);
		return CY_E_IO;
	}
	e = spawn(p, fd[1], &h->pid);
	close(fd[1]);
	if (!e)
		e = p->host->watch(p->self, fd[0], EPOLLIN, on_helper, h, &h->watch);
	if (e) {
		close(fd[0]);
		if (h->pid > 0)
			kill(h->pid, SIGKILL);
		return e;
	}
	h->fd = fd[0];
	h->state = HELPER_STARTING;
	h->answered = false;
	set_timer(h, START_MS, on_no_start);
	return CY_OK;
}

static void reap(void *user)
{
	struct plugin *p = user;
	uint32_t left = 0;

	for (uint32_t i = 0; i < p->n_dead; i++)
		if (waitpid(p->dead[i], NULL, WNOHANG) == 0)
			p->dead[left++] = p->dead[i];
	p->n_dead = left;
	p->reaping = left && !p->stopping && !p->host->timer(p->self, REAP_MS, 0, reap, p, NULL);
}

static void bury(struct plugin *p, pid_t pid)
{
	(void)kill(-pid, SIGKILL);
	(void)kill(pid, SIGKILL);
	if (waitpid(pid, NULL, WNOHANG) != 0)
		return;
	if (p->n_dead < HELPERS_MAX)
		p->dead[p->n_dead++] = pid;
	if (!p->reaping && !p->stopping)
		p->reaping = !p->host->timer(p->self, REAP_MS, 0, reap, p, NULL);
}

/* Whatever it did is lost; another takes its place. */
static void replace(struct helper *h, const char *why)
{
	struct plugin *p = h->plugin;
	bool was_of_use = h->answered;

	p->host->watch_cancel(p->self, h->watch);
	h->watch = NULL;
	set_timer(h, 0, NULL);
	close(h->fd);
	h->fd = -1;
	bury(p, h->pid);
	h->pid = 0;
	h->state = HELPER_DOWN;
	jobs_without(p, h, why);
	link_init(&h->closes);
	if (p->stopping)
		return;
	if (!was_of_use || start_helper(h))
		set_timer(h, AGAIN_MS, start_again);
	helpers_dispatch(p);
}

static void start_again(void *user)
{
	struct helper *h = user;

	set_timer(h, 0, NULL);
	if (start_helper(h))
		set_timer(h, AGAIN_MS, start_again);
	helpers_dispatch(h->plugin);
}

static void count_killed(struct plugin *p)
{
	pthread_mutex_lock(&p->lock);
	p->c.killed++;
	pthread_mutex_unlock(&p->lock);
}

static void on_no_start(void *user)
{
	struct helper *h = user;
	struct plugin *p = h->plugin;

	p->host->log(p->self, CY_LOG_WARN, "a helper was not ready after %d ms, it was killed", START_MS);
	count_killed(p);
	replace(h, "the helper did not start");
}

static void on_deadline(void *user)
{
	struct helper *h = user;
	struct plugin *p = h->plugin;
	char why[128];

	snprintf(why, sizeof(why), "PAM was not done after %u ms, its helper was killed", p->deadline_ms);
	p->host->log(p->self, CY_LOG_WARN, "%s (user '%s')", why, h->job ? h->job->user : "");
	count_killed(p);
	h->answered = true; /* it is not its fault */
	replace(h, why);
}

/* --- messages -------------------------------------------------------------------------------------------------------- */

static bool send_msg(struct helper *h)
{
	struct plugin *p = h->plugin;
	ssize_t n;

	do
		n = send(h->fd, p->msg.p, p->msg.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	msg_wipe(&p->msg);
	return n >= 0;
}

static void put_login(struct msg *m, const struct plugin *p, const struct job *j)
{
	msg_text(m, FIELD_SERVICE, p->service);
	msg_text(m, FIELD_CONFDIR, p->confdir);
	msg_text(m, FIELD_USER, j->user);
	msg_text(m, FIELD_RHOST, j->rhost);
	msg_text(m, FIELD_TTY, "ipsec");
	msg_text(m, FIELD_CONN, j->conn);
	msg_text(m, FIELD_REMOTE_ID, j->remote_id);
	msg_text(m, FIELD_SESSIONS, p->sessions ? "1" : "0");
}

static void give_login(struct helper *h, struct job *j)
{
	struct plugin *p = h->plugin;

	link_del(&j->link);
	pthread_mutex_lock(&p->lock);
	p->waiting--;
	pthread_mutex_unlock(&p->lock);
	j->state = JOB_RUNNING;
	j->home = h;
	h->job = j;
	h->state = HELPER_LOGIN;
	msg_init(&p->msg, MSG_LOGIN, j->id);
	put_login(&p->msg, p, j);
	(void)msg_put(&p->msg, FIELD_SECRET, j->secret ? j->secret : (const uint8_t *)"", j->n_secret);
	if (j->secret)
		explicit_bzero(j->secret, j->n_secret);
	free(j->secret);
	j->secret = NULL;
	j->n_secret = 0;
	set_timer(h, p->deadline_ms, on_deadline);
	(void)send_msg(h); /* when it is gone, its descriptor says so at once */
}

static void give_close(struct helper *h, struct job *j)
{
	struct plugin *p = h->plugin;

	link_del(&j->link);
	j->home = h;
	h->job = j;
	h->state = HELPER_CLOSING;
	msg_init(&p->msg, MSG_CLOSE, j->id);
	put_login(&p->msg, p, j);
	set_timer(h, p->deadline_ms, on_deadline);
	(void)send_msg(h);
}

/* Closing and logging in take turns, so that neither waits for all of the other. */
static bool give_work(struct helper *h)
{
	struct plugin *p = h->plugin;
	struct link *close = !link_empty(&h->closes) ? h->closes.next
	    : !link_empty(&p->orphans)               ? p->orphans.next
	                                             : NULL;
	struct link *login = !link_empty(&p->logins) && !p->stopping ? p->logins.next : NULL;

	if (close && (!login || h->close_next))
		give_close(h, link_job(close));
	else if (login)
		give_login(h, link_job(login));
	else
		return false;
	h->close_next = h->state == HELPER_LOGIN;
	return true;
}

void helpers_dispatch(struct plugin *p)
{
	uint32_t busy = 0;

	for (uint32_t i = 0; i < p->n_helpers; i++) {
		if (p->helpers[i].state == HELPER_IDLE)
			(void)give_work(&p->helpers[i]);
		busy += p->helpers[i].state > HELPER_IDLE;
	}
	pthread_mutex_lock(&p->lock);
	p->c.busy = busy;
	pthread_mutex_unlock(&p->lock);
}

void helper_reply(struct helper *h, const uint8_t *secret, size_t n)
{
	struct plugin *p = h->plugin;

	h->state = HELPER_LOGIN;
	msg_init(&p->msg, MSG_REPLY, h->job->id);
	(void)msg_put(&p->msg, FIELD_SECRET, secret ? secret : (const uint8_t *)"", n);
	set_timer(h, p->deadline_ms, on_deadline);
	(void)send_msg(h);
}

void helper_give_up(struct helper *h)
{
	struct plugin *p = h->plugin;

	if (h->state != HELPER_ASKING)
		return;
	h->state = HELPER_LOGIN;
	msg_init(&p->msg, MSG_GIVE_UP, h->job->id);
	set_timer(h, GIVE_UP_MS, on_deadline);
	(void)send_msg(h);
}

static void on_no_answer(void *user)
{
	helper_give_up(user);
}

static void handle(struct helper *h)
{
	struct plugin *p = h->plugin;
	const char *fields[FIELD_N];
	size_t lens[FIELD_N];
	enum msg_type type;
	uint64_t id;

	if (!msg_read(&p->msg, &type, &id, fields, lens))
		type = 0;
	if (type == MSG_READY && h->state == HELPER_STARTING) {
		set_timer(h, 0, NULL);
		h->state = HELPER_IDLE;
		return;
	}
	if (!type || !h->job || h->job->id != id) {
		replace(h, "the helper spoke out of turn");
		return;
	}
	h->answered = true;
	if (type == MSG_ASK && h->state == HELPER_LOGIN) {
		h->state = HELPER_ASKING;
		set_timer(h, p->answer_ms, on_no_answer);
		job_asked(p, h, fields[FIELD_PROMPT], fields[FIELD_MESSAGE]);
		return;
	}
	if (type == MSG_DONE && h->state == HELPER_LOGIN) {
		job_done(p, h, fields);
	} else if (type == MSG_CLOSED && h->state == HELPER_CLOSING) {
		job_closed(p, h, fields[FIELD_RESULT] && *fields[FIELD_RESULT] == '0', fields[FIELD_REASON]);
	} else {
		replace(h, "the helper spoke out of turn");
		return;
	}
	set_timer(h, 0, NULL);
	h->state = HELPER_IDLE;
}

static void on_helper(void *user, uint32_t events)
{
	struct helper *h = user;
	struct plugin *p = h->plugin;
	ssize_t n;

	(void)events;
	if (h->state == HELPER_DOWN)
		return;
	do
		n = recv(h->fd, p->msg.p, sizeof(p->msg.p) - 1, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		p->host->log(p->self, CY_LOG_WARN, "a helper died%s%s%s", h->job ? " (user '" : "",
		    h->job ? h->job->user : "", h->job ? "')" : "");
		pthread_mutex_lock(&p->lock);
		p->c.died++;
		pthread_mutex_unlock(&p->lock);
		replace(h, "the helper died inside PAM");
		return;
	}
	p->msg.n = (size_t)n;
	handle(h);
	msg_wipe(&p->msg);
	helpers_dispatch(p);
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

enum cy_err helpers_start(struct plugin *p, uint32_t n)
{
	enum cy_err e = CY_OK;

	p->helpers = calloc(n, sizeof(*p->helpers));
	if (!p->helpers)
		return CY_E_NOMEM;
	for (uint32_t i = 0; i < n && !e; i++) {
		struct helper *h = &p->helpers[i];

		h->plugin = p;
		h->fd = -1;
		link_init(&h->closes);
		p->n_helpers++;
		e = start_helper(h);
	}
	return e;
}

static bool closes_left(const struct plugin *p)
{
	if (!link_empty(&p->orphans))
		return true;
	for (uint32_t i = 0; i < p->n_helpers; i++)
		if (p->helpers[i].state == HELPER_CLOSING || !link_empty(&p->helpers[i].closes))
			return true;
	return false;
}

/* Nobody calls back any more: the descriptors are looked at here. */
static void close_sessions(struct plugin *p)
{
	uint64_t until = p->host->now_ns(p->self) + STOP_MS * 1000000ull, now;
	struct pollfd *fds = calloc(p->n_helpers, sizeof(*fds));

	while (fds && closes_left(p) && (now = p->host->now_ns(p->self)) < until) {
		helpers_dispatch(p);
		for (uint32_t i = 0; i < p->n_helpers; i++)
			fds[i] = (struct pollfd){.fd = p->helpers[i].fd, .events = POLLIN};
		if (poll(fds, p->n_helpers, (int)((until - now) / 1000000) + 1) <= 0)
			break;
		for (uint32_t i = 0; i < p->n_helpers; i++)
			if (fds[i].revents)
				on_helper(&p->helpers[i], 0);
	}
	free(fds);
}

void helpers_stop(struct plugin *p)
{
	close_sessions(p);
	for (uint32_t i = 0; i < p->n_helpers; i++) {
		struct helper *h = &p->helpers[i];

		if (h->state == HELPER_DOWN)
			continue;
		if (h->watch)
			p->host->watch_cancel(p->self, h->watch);
		close(h->fd);
		bury(p, h->pid);
	}
	for (int i = 0; i < 100 && p->n_dead; i++) {
		reap(p);
		if (p->n_dead)
			(void)usleep(10000);
	}
	free(p->helpers);
}
