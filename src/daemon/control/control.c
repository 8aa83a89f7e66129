/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread: its socket, its loop, and what others post to it. */
#include "daemon/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/control/private.h"
#include "libcore/base/thread.h"

#define EVENTS_MAX 32
#define GROUPS_MAX 256

/* --- the socket ------------------------------------------------------------------------------------------------------ */

/* A socket file without a daemon behind it was left by one that died. */
static bool somebody_listens(const struct sockaddr_un *sun)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0;

	if (fd >= 0)
		close(fd);
	return alive;
}

static bool group_gid(const char *group, uint32_t *out)
{
	struct group gr, *found = NULL;
	char buf[16384], *end;
	unsigned long n;

	if (getgrnam_r(group, &gr, buf, sizeof(buf), &found) == 0 && found) {
		*out = found->gr_gid;
		return true;
	}
	n = strtoul(group, &end, 10);
	*out = (uint32_t)n;
	return *group && !*end && n < UINT32_MAX;
}

enum cy_err control_listen(
    const char *path, const char *group, int *out_fd, uint32_t *out_gid, char *why, size_t why_cap)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	uint32_t gid = UINT32_MAX;
	mode_t before;
	int fd, rc;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		snprintf(why, why_cap, "%s: longer than the %zu characters a socket's name may have", path,
		    sizeof(sun.sun_path) - 1);
		return CY_E_LIMIT;
	}
	strcpy(sun.sun_path, path);
	if (group && !group_gid(group, &gid)) {
		snprintf(why, why_cap, "control_group: there is no group %s", group);
		return CY_E_NOTFOUND;
	}
	if (somebody_listens(&sun)) {
		snprintf(why, why_cap, "a daemon runs already: it answers on %s", path);
		return CY_E_EXISTS;
	}
	(void)unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	before = umask(0177);
	rc = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&sun, sizeof(sun));
	umask(before);
	if (rc == 0 && group)
		rc = chown(path, (uid_t)-1, gid) == 0 ? chmod(path, 0660) : -1;
	if (rc == 0)
		rc = listen(fd, 64);
	if (rc != 0) {
		snprintf(why, why_cap, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return CY_E_IO;
	}
	*out_fd = fd;
	*out_gid = gid;
	return CY_OK;
}

/* Root, the user the daemon runs as, and members of the group. The mode of the socket says the same; this says it again. */
static bool may_connect(const struct control *c, int fd)
{
	gid_t groups[GROUPS_MAX];
	socklen_t n = sizeof(groups);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return false;
	if (cred.uid == 0 || cred.uid == geteuid())
		return true;
	if (c->cfg.allow_gid == UINT32_MAX)
		return false;
	if (cred.gid == c->cfg.allow_gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) != 0)
		return false;
	for (size_t i = 0; i < n / sizeof(groups[0]); i++)
		if (groups[i] == c->cfg.allow_gid)
			return true;
	return false;
}

static void listen_again(struct control *c, bool on)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &c->cfg};

	if (c->cfg.listen_fd < 0 || c->listening == on)
		return;
	if (epoll_ctl(c->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, c->cfg.listen_fd, &ev) == 0)
		c->listening = on;
}

static void take_client(struct control *c, int fd)
{
	if (!may_connect(c, fd)) {
		CTL_COUNT(c, refused);
		client_refuse(c, fd, "denied", "only root and members of the control group may connect");
	} else if (c->n_clients >= c->cfg.max_clients) {
		CTL_COUNT(c, refused);
		client_refuse(c, fd, "limit", "too many clients are connected");
	} else if (!client_new(c, fd)) {
		CTL_COUNT(c, refused);
		close(fd);
	} else {
		CTL_COUNT(c, accepted);
	}
}

static void accept_clients(struct control *c)
{
	for (int i = 0; i < 16; i++) {
		int fd = accept4(c->cfg.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			/* out of descriptors: try again at the next tick, not at once */
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
				listen_again(c, false);
			return;
		}
		take_client(c, fd);
	}
}

/* --- posts -------------------------------------------------------------------------------------------------------------- */

static void wake(struct control *c)
{
	uint64_t one = 1;

	(void)!write(c->wake, &one, sizeof(one)); /* full: it is awake */
}

void control_post(struct control *c, struct post *p)
{
	bool first;

	pthread_mutex_lock(&c->lock);
	first = list_empty(&c->posts);
	list_push(&c->posts, &p->node);
	pthread_mutex_unlock(&c->lock);
	if (first)
		wake(c);
}

static bool run_posts(struct control *c)
{
	struct list batch, *n;
	bool stopping;

	list_init(&batch);
	pthread_mutex_lock(&c->lock);
	list_splice(&batch, &c->posts);
	stopping = c->stopping;
	pthread_mutex_unlock(&c->lock);
	while ((n = list_pop(&batch))) {
		struct post *p = list_entry(n, struct post, node);

		p->fn(c, p);
	}
	return stopping;
}

struct adopt {
	struct post post;
	int fd;
};

static void adopt_fn(struct control *c, struct post *p)
{
	struct adopt *a = container_of(p, struct adopt, post);

	if (c->stopping)
		close(a->fd);
	else
		take_client(c, a->fd);
	free(a);
}

enum cy_err control_adopt(struct control *c, int fd)
{
	struct adopt *a = calloc(1, sizeof(*a));

	if (!a)
		return CY_E_NOMEM;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
		free(a);
		return CY_E_IO;
	}
	a->post.fn = adopt_fn;
	a->fd = fd;
	control_post(c, &a->post);
	return CY_OK;
}

/* --- the loop ------------------------------------------------------------------------------------------------------------- */

static void reap(struct control *c)
{
	struct list *n, *tmp;

	list_foreach_safe (n, tmp, &c->clients) {
		struct client *cl = list_entry(n, struct client, node);

		if (cl->closing)
			client_free(cl);
	}
}

static void tick(struct control *c, uint64_t now)
{
	struct list *n;

	c->next_tick_ns = now + TICK_NS;
	listen_again(c, true);
	list_foreach (n, &c->clients)
		client_tick(list_entry(n, struct client, node), now);
}

/* Ticks are needed while somebody may stall, or waits for time to pass. */
static int timeout_ms(struct control *c, uint64_t now)
{
	bool needed = c->n_ticking || (c->cfg.listen_fd >= 0 && !c->listening);
	struct list *n;

	list_foreach (n, &c->clients) {
		struct client *cl = list_entry(n, struct client, node);

		needed |= cl->n_out > cl->out_at;
	}
	if (!needed)
		return -1;
	return c->next_tick_ns <= now ? 0 : (int)((c->next_tick_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void handle(struct control *c, const struct epoll_event *ev)
{
	uint64_t n;

	if (ev->data.ptr == c)
		(void)!read(c->wake, &n, sizeof(n));
	else if (ev->data.ptr == &c->cfg)
		accept_clients(c);
	else
		client_event(ev->data.ptr, ev->events);
}

/* Waits at most so long, then does what there is; false when the thread is to end. */
static bool one_round(struct control *c, int ms)
{
	struct epoll_event ev[EVENTS_MAX];
	int n = epoll_wait(c->epoll, ev, EVENTS_MAX, ms);
	uint64_t now;

	for (int i = 0; i < n; i++)
		handle(c, &ev[i]);
	if (run_posts(c))
		return false;
	now = env_now(c->d->env);
	if (now >= c->next_tick_ns)
		tick(c, now);
	reap(c);
	return true;
}

void control_step(struct control *c)
{
	(void)one_round(c, 0);
}

static void *control_thread(void *arg)
{
	struct control *c = arg;

	while (one_round(c, timeout_ms(c, env_now(c->d->env))))
		;
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

enum cy_err control_new(struct daemon *d, const struct control_config *cfg, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	struct epoll_event ev = {.events = EPOLLIN};

	if (!c)
		return CY_E_NOMEM;
	c->d = d;
	c->cfg = *cfg;
	c->path = cfg->socket ? strdup(cfg->socket) : NULL;
	c->cfg.socket = c->path;
	if (!c->cfg.max_clients)
		c->cfg.max_clients = CLIENTS_DEFAULT;
	if (!c->cfg.out_max)
		c->cfg.out_max = OUT_DEFAULT;
	if (!c->cfg.stall_ns)
		c->cfg.stall_ns = STALL_DEFAULT;
	list_init(&c->clients);
	list_init(&c->posts);
	pthread_mutex_init(&c->lock, NULL);
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ev.data.ptr = c;
	if (c->epoll < 0 || c->wake < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->wake, &ev) != 0) {
		c->cfg.listen_fd = -1; /* the caller's, as we fail */
		control_free(c);
		return CY_E_IO;
	}
	listen_again(c, true);
	*out = c;
	return CY_OK;
}

enum cy_err control_start(struct control *c)
{
	enum cy_err e = thread_start("control", control_thread, c, &c->thread);

	c->threaded = e == CY_OK;
	return e;
}

void control_stop(struct control *c)
{
	struct list *n;

	if (!c || c->stopping)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_mutex_unlock(&c->lock);
	wake(c);
	if (c->threaded)
		pthread_join(c->thread, NULL);
	c->threaded = false;
	if (c->cfg.listen_fd >= 0) {
		if (c->path)
			(void)unlink(c->path);
		close(c->cfg.listen_fd);
		c->cfg.listen_fd = -1;
	}
	while ((n = list_first(&c->clients)))
		client_free(list_entry(n, struct client, node));
	if (c->reloading) {
		pthread_join(c->reload_thread, NULL);
		c->reloading = false;
	}
}

void control_free(struct control *c)
{
	if (!c)
		return;
	control_stop(c);
	(void)run_posts(c);
	control_speeds_free(c);
	carried_fini(&c->carried);
	if (c->epoll >= 0)
		close(c->epoll);
	if (c->wake >= 0)
		close(c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c->path);
	free(c);
}

void control_read_stats(struct control *c, struct control_stats *out)
{
	*out = (struct control_stats){.accepted = __atomic_load_n(&c->stats.accepted, __ATOMIC_RELAXED),
	    .refused = __atomic_load_n(&c->stats.refused, __ATOMIC_RELAXED),
	    .closed = __atomic_load_n(&c->stats.closed, __ATOMIC_RELAXED),
	    .dropped_unread = __atomic_load_n(&c->stats.dropped_unread, __ATOMIC_RELAXED),
	    .dropped_line = __atomic_load_n(&c->stats.dropped_line, __ATOMIC_RELAXED),
	    .bad_requests = __atomic_load_n(&c->stats.bad_requests, __ATOMIC_RELAXED),
	    .requests = __atomic_load_n(&c->stats.requests, __ATOMIC_RELAXED),
	    .clients = __atomic_load_n(&c->n_clients, __ATOMIC_RELAXED)};
}
