/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/run/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcore/base/thread.h"

#define OUTPUT_MAX  4096
#define DEADLINE_MS 60000
#define GRACE_NS    (2 * NS_PER_S) /* between SIGTERM and SIGKILL */
#define END_NS      NS_PER_S       /* for the kernel to end what procs_free killed */
#define BLIND_MS    20             /* how often to look when there is no pidfd to wait for */
#define RUNNING_MAX 16
#define QUEUED_MAX  1024

struct proc {
	struct list node;
	char **argv, **envp; /* with their strings in one allocation */
	uint64_t deadline_ns, start_ns, kill_ns;
	const char *owner;
	void (*done)(void *user, int status, bool timed_out, struct cy_slice output);
	void *user;
	pid_t pid;
	int pidfd, out_fd;
	struct env_process pretended; /* where env->process says what it does */
	bool timed_out;
	size_t n_output;
	uint8_t output[OUTPUT_MAX];
};

struct procs {
	struct env *env;
	struct log *log;
	uint32_t max_running, max_queued;
	int wake_fd;
	pthread_t manager;
	uint64_t simulated_ns; /* the clock of deadlines when there is no real one */
	bool inside;           /* simulated: in run_inline */

	struct list running; /* the manager's own */
	struct pollfd *fds;

	pthread_mutex_t m; /* everything below */
	struct list queue;
	struct procs_stats stats;
	bool stop;
};

static uint64_t now_ns(struct procs *p)
{
	return p->env->simulated && !p->env->process ? p->simulated_ns : env_now(p->env);
}

static void proc_free(struct proc *c)
{
	if (c->out_fd >= 0)
		close(c->out_fd);
	if (c->pidfd >= 0)
		close(c->pidfd);
	free(c->argv);
	free(c);
}

/* Both vectors and their strings in one piece of memory. */
static bool copy_vectors(struct proc *c, const struct proc_spec *spec)
{
	static const char *const none[] = {NULL};
	const char *const *from[2] = {spec->argv, spec->envp ? spec->envp : none};
	size_t n[2], bytes = 0;
	char **at, *text;

	for (int v = 0; v < 2; v++) {
		for (n[v] = 0; from[v][n[v]]; n[v]++)
			bytes += strlen(from[v][n[v]]) + 1;
	}
	at = malloc((n[0] + n[1] + 2) * sizeof(char *) + bytes);
	if (!at)
		return false;
	c->argv = at;
	c->envp = at + n[0] + 1;
	text = (char *)(at + n[0] + n[1] + 2);
	for (int v = 0; v < 2; v++) {
		for (size_t i = 0; i < n[v]; i++) {
			size_t len = strlen(from[v][i]) + 1;

			*at++ = memcpy(text, from[v][i], len);
			text += len;
		}
		*at++ = NULL;
	}
	return true;
}

static int spawn(struct proc *c, int out_fd)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t set;
	int rc;

	if (posix_spawnattr_init(&attr))
		return ENOMEM;
	if (posix_spawn_file_actions_init(&files)) {
		posix_spawnattr_destroy(&attr);
		return ENOMEM;
	}
	rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&files, out_fd, 1);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&files, out_fd, 2);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
	/* ours are all close-on-exec; a library's may not be */
	if (!rc)
		rc = posix_spawn_file_actions_addclosefrom_np(&files, 3);
#endif
	/* the threads of the daemon have all signals blocked, and it ignores some */
	sigemptyset(&set);
	if (!rc)
		rc = posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	if (!rc)
		rc = posix_spawnattr_setsigdefault(&attr, &set);
	if (!rc)
		rc = posix_spawnattr_setflags(
		    &attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!rc)
		rc = posix_spawn(&c->pid, c->argv[0], &files, &attr, c->argv, c->envp);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return rc;
}

/* The manager's list is in the order in which they began. */
static void note_oldest(struct procs *p)
{
	struct list *n = list_first(&p->running);
	const struct proc *c = n ? list_entry(n, struct proc, node) : NULL;

	pthread_mutex_lock(&p->m);
	p->stats.oldest_owner = c ? c->owner : NULL;
	p->stats.oldest_start_ns = c ? c->start_ns : 0;
	pthread_mutex_unlock(&p->m);
}

/* The process has ended, or never began. */
static void finish(struct procs *p, struct proc *c, int status, bool was_running)
{
	uint64_t ms = (now_ns(p) - c->start_ns) / NS_PER_MS;

	pthread_mutex_lock(&p->m);
	if (was_running)
		p->stats.running--;
	p->stats.finished++;
	if (status)
		p->stats.failed++;
	if (c->timed_out)
		p->stats.killed++;
	if (was_running && ms > p->stats.max_ms)
		p->stats.max_ms = ms;
	pthread_mutex_unlock(&p->m);
	if (c->timed_out)
		LOGF(p->log, LOG_JOB, CY_LOG_WARN, NULL, "%s was ended: it ran for %llu ms", c->argv[0],
		    (unsigned long long)ms);
	list_del(&c->node);
	note_oldest(p);
	if (c->done)
		c->done(c->user, status, c->timed_out, cy_slice(c->output, c->n_output));
	proc_free(c);
}

static void is_running(struct procs *p, struct proc *c)
{
	c->kill_ns = c->start_ns + c->deadline_ns;
	list_push(&p->running, &c->node);
	note_oldest(p);
}

/* On the manager thread; counted as running by the caller. */
static void start(struct procs *p, struct proc *c)
{
	int fds[2], rc = 0;

	c->start_ns = now_ns(p);
	if (p->env->process) {
		c->pretended =
		    p->env->process(p->env, (const char *const *)c->argv, (const char *const *)c->envp);
		is_running(p, c);
		return;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		rc = errno;
	} else {
		rc = spawn(c, fds[1]);
		close(fds[1]);
		c->out_fd = fds[0];
		(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	}
	if (rc) {
		c->n_output = (size_t)snprintf(
		    (char *)c->output, OUTPUT_MAX, "cannot run %.1024s: %s", c->argv[0], strerror(rc));
		finish(p, c, 127 << 8, true);
		return;
	}
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	is_running(p, c);
}

static void read_output(struct proc *c)
{
	uint8_t buf[4096];
	ssize_t n;

	/* bounded: one that writes without end is read again in the next round */
	for (int i = 0; i < 16 && c->out_fd >= 0; i++) {
		size_t room = OUTPUT_MAX - c->n_output;

		n = read(c->out_fd, buf, sizeof(buf));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close(c->out_fd);
			c->out_fd = -1;
			return;
		}
		if (room > (size_t)n)
			room = (size_t)n;
		memcpy(c->output + c->n_output, buf, room);
		c->n_output += room;
	}
}

/* Returns whether the process is gone, and c with it. */
static bool reap(struct procs *p, struct proc *c)
{
	siginfo_t info = {.si_pid = 0};
	int status = 0;

	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
		if (errno == EINTR)
			return false;
		/* somebody else waited for it: its end is all that is known */
		info.si_pid = c->pid;
	}
	if (info.si_pid != c->pid)
		return false;
	read_output(c);
	/* while it is not reaped, its number cannot mean another process group */
	if (c->timed_out)
		(void)kill(-c->pid, SIGKILL);
	(void)waitpid(c->pid, &status, WNOHANG);
	finish(p, c, status, true);
	return true;
}

static void send_signal(struct procs *p, struct proc *c, int sig)
{
	if (!p->env->process) {
		(void)kill(-c->pid, sig);
	} else if (sig == SIGKILL || !c->pretended.ignores_term) {
		c->pretended.lasts_ns = now_ns(p) - c->start_ns;
		c->pretended.status = sig;
	}
}

static void check_deadline(struct procs *p, struct proc *c)
{
	if (now_ns(p) < c->kill_ns)
		return;
	if (!c->timed_out) {
		c->timed_out = true;
		c->kill_ns = now_ns(p) + GRACE_NS;
		send_signal(p, c, SIGTERM);
	} else {
		c->kill_ns = now_ns(p) + GRACE_NS; /* again, should it be necessary */
		send_signal(p, c, SIGKILL);
	}
}

/* Wait for something to happen, at most until due, and handle it. */
static void manage(struct procs *p, uint64_t due)
{
	struct list *at, *tmp;
	nfds_t n = 0;
	uint64_t now = now_ns(p), ms = 60000, value;
	bool blind = false;

	p->fds[n++] = (struct pollfd){.fd = p->wake_fd, .events = POLLIN};
	list_foreach (at, &p->running) {
		struct proc *c = list_entry(at, struct proc, node);

		if (c->pidfd >= 0)
			p->fds[n++] = (struct pollfd){.fd = c->pidfd, .events = POLLIN};
		else
			blind = true;
		if (c->out_fd >= 0)
			p->fds[n++] = (struct pollfd){.fd = c->out_fd, .events = POLLIN};
		if (c->kill_ns < due)
			due = c->kill_ns;
	}
	if (due <= now)
		ms = 0;
	else if ((due - now) / NS_PER_MS < ms)
		ms = (due - now + NS_PER_MS - 1) / NS_PER_MS;
	if (blind && ms > BLIND_MS)
		ms = BLIND_MS;
	if (p->env->simulated && ms > BLIND_MS)
		ms = BLIND_MS;
	if (poll(p->fds, n, (int)ms) == 0)
		p->simulated_ns += ms * NS_PER_MS;
	p->simulated_ns += NS_PER_US;
	if (p->fds[0].revents && read(p->wake_fd, &value, sizeof(value)) < 0)
		value = 0; /* nothing to read: fine too */
	list_foreach_safe (at, tmp, &p->running) {
		struct proc *c = list_entry(at, struct proc, node);

		read_output(c);
		if (!reap(p, c))
			check_deadline(p, c);
	}
}

/* The next that may start, counted as running. */
static struct proc *next_to_start(struct procs *p)
{
	struct list *n = NULL;

	pthread_mutex_lock(&p->m);
	if (!p->stop && p->stats.running < p->max_running)
		n = list_pop(&p->queue);
	if (n) {
		p->stats.queued--;
		p->stats.running++;
		p->stats.started++;
	}
	pthread_mutex_unlock(&p->m);
	return n ? list_entry(n, struct proc, node) : NULL;
}

static bool stopping(struct procs *p)
{
	bool stop;

	pthread_mutex_lock(&p->m);
	stop = p->stop;
	pthread_mutex_unlock(&p->m);
	return stop;
}

/* Kill what runs, tell about what was queued. */
static void end_all(struct procs *p)
{
	uint64_t give_up = now_ns(p) + END_NS;
	struct list *at, *tmp, left;

	list_foreach (at, &p->running)
		send_signal(p, list_entry(at, struct proc, node), SIGKILL);
	while (!p->env->process && !list_empty(&p->running) && now_ns(p) < give_up)
		manage(p, give_up);
	/* the kernel holds on to these; nobody waits for them any more */
	list_foreach_safe (at, tmp, &p->running)
		finish(p, list_entry(at, struct proc, node), SIGKILL, true);
	list_init(&left);
	pthread_mutex_lock(&p->m);
	list_splice(&left, &p->queue);
	p->stats.queued = 0;
	pthread_mutex_unlock(&p->m);
	list_foreach_safe (at, tmp, &left)
		finish(p, list_entry(at, struct proc, node), SIGKILL, false);
}

static void *manager_main(void *arg)
{
	struct procs *p = arg;
	struct proc *c;

	while (!stopping(p)) {
		while ((c = next_to_start(p)))
			start(p, c);
		manage(p, UINT64_MAX);
	}
	end_all(p);
	return NULL;
}

enum cy_err procs_new(
    struct env *env, struct log *log, uint32_t max_running, uint32_t max_queued, struct procs **out)
{
	struct procs *p = calloc(1, sizeof(*p));
	enum cy_err err = CY_E_NOMEM;

	if (!p)
		return CY_E_NOMEM;
	p->env = env;
	p->log = log;
	p->max_running = max_running ? max_running : RUNNING_MAX;
	p->max_queued = max_queued ? max_queued : QUEUED_MAX;
	list_init(&p->running);
	list_init(&p->queue);
	pthread_mutex_init(&p->m, NULL);
	p->fds = calloc((size_t)p->max_running * 2 + 1, sizeof(struct pollfd));
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->fds && p->wake_fd >= 0)
		err = env->simulated ? CY_OK : thread_start("procs", manager_main, p, &p->manager);
	if (err) {
		if (p->wake_fd >= 0)
			close(p->wake_fd);
		pthread_mutex_destroy(&p->m);
		free(p->fds);
		free(p);
		return err;
	}
	*out = p;
	return CY_OK;
}

static void wake(struct procs *p)
{
	uint64_t one = 1;

	/* full means that it is being woken already */
	if (write(p->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void procs_free(struct procs *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->m);
	p->stop = true;
	pthread_mutex_unlock(&p->m);
	if (!p->env->simulated) {
		wake(p);
		pthread_join(p->manager, NULL);
	} else {
		end_all(p);
	}
	pthread_mutex_destroy(&p->m);
	close(p->wake_fd);
	free(p->fds);
	free(p);
}

static void run_inline(struct procs *p)
{
	struct proc *c;

	/* a done may spawn again: the outermost call does the work */
	if (p->inside)
		return;
	p->inside = true;
	do {
		while ((c = next_to_start(p)))
			start(p, c);
		if (!list_empty(&p->running))
			manage(p, UINT64_MAX);
	} while (!list_empty(&p->running) || !list_empty(&p->queue));
	p->inside = false;
}

/* What ends, or is ended, at this time; false: nothing does, and *out_due is when something will. */
static bool end_some(struct procs *p, uint64_t *out_due)
{
	struct list *at, *tmp;
	bool some = false;

	*out_due = UINT64_MAX;
	list_foreach_safe (at, tmp, &p->running) {
		struct proc *c = list_entry(at, struct proc, node);

		if (now_ns(p) - c->start_ns < c->pretended.lasts_ns)
			check_deadline(p, c);
		if (now_ns(p) - c->start_ns >= c->pretended.lasts_ns) {
			finish(p, c, c->pretended.status, true);
			some = true;
			continue;
		}
		if (c->kill_ns < *out_due)
			*out_due = c->kill_ns;
		if (c->pretended.lasts_ns < *out_due - c->start_ns)
			*out_due = c->start_ns + c->pretended.lasts_ns;
	}
	return some;
}

uint64_t procs_step(struct procs *p)
{
	struct proc *c;
	uint64_t due;

	do
		while ((c = next_to_start(p)))
			start(p, c);
	while (end_some(p, &due));
	return due;
}

enum cy_err procs_spawn(struct procs *p, const struct proc_spec *spec)
{
	struct proc *c;
	enum cy_err err = CY_OK;

	if (!spec->argv || !spec->argv[0])
		return CY_E_INVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return CY_E_NOMEM;
	c->out_fd = c->pidfd = -1;
	c->deadline_ns = (spec->deadline_ms ? spec->deadline_ms : DEADLINE_MS) * NS_PER_MS;
	c->owner = spec->owner;
	c->done = spec->done;
	c->user = spec->user;
	if (!copy_vectors(c, spec)) {
		proc_free(c);
		return CY_E_NOMEM;
	}
	pthread_mutex_lock(&p->m);
	if (p->stop)
		err = CY_E_CANCELLED;
	else if (p->stats.running + p->stats.queued >= (uint64_t)p->max_running + p->max_queued)
		err = CY_E_LIMIT;
	if (err) {
		p->stats.refused++;
	} else {
		list_push(&p->queue, &c->node);
		p->stats.queued++;
	}
	pthread_mutex_unlock(&p->m);
	if (err) {
		proc_free(c);
		return err;
	}
	if (!p->env->simulated)
		wake(p);
	else if (!p->env->process)
		run_inline(p);
	return CY_OK;
}

void procs_read_stats(struct procs *p, struct procs_stats *out)
{
	pthread_mutex_lock(&p->m);
	*out = p->stats;
	pthread_mutex_unlock(&p->m);
}
