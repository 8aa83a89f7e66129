/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipsec/ipsec.h"

#define STOP_MS 15000

/* The daemon beside this tool, as installed and as built; else the installed one. */
static const char *daemon_path(void)
{
	static char path[PATH_MAX + 16];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		snprintf(path, sizeof(path), "%s/cygnetd", dirname(self));
		if (access(path, X_OK) == 0)
			return path;
	}
	return PREFIX "/sbin/cygnetd";
}

static void add(char **argv, int *n, const char *option, const char *value)
{
	if (!value)
		return;
	argv[(*n)++] = (char *)option;
	argv[(*n)++] = (char *)value;
}

int start_daemon(const struct options *o)
{
	const char *path = daemon_path();
	char *argv[16];
	int n = 0, status;
	pid_t child;

	argv[n++] = (char *)path;
	if (o->nofork)
		argv[n++] = (char *)"--nofork";
	if (o->debug)
		argv[n++] = (char *)"--debug";
	add(argv, &n, "--conf", o->conf);
	add(argv, &n, "--secrets", o->secrets);
	add(argv, &n, "--settings", o->settings);
	add(argv, &n, "--rundir", o->rundir);
	add(argv, &n, "--plugindir", o->plugindir);
	argv[n] = NULL;
	if (o->nofork) {
		execv(path, argv);
		fprintf(stderr, "ipsec: %s: %s\n", path, strerror(errno));
		return STATUS_FAILED;
	}
	/* it returns when the daemon is ready, and says itself why it is not */
	child = fork();
	if (child == 0) {
		execv(path, argv);
		fprintf(stderr, "ipsec: %s: %s\n", path, strerror(errno));
		_exit(STATUS_FAILED);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror("ipsec: fork");
		return STATUS_FAILED;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? STATUS_OK : STATUS_FAILED;
}

static bool wait_end(int pid, int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (pidfd >= 0)
		return poll(&p, 1, STOP_MS) == 1;
	for (int ms = 0; ms < STOP_MS; ms += 50) {
		if (kill(pid, 0) != 0 && errno == ESRCH)
			return true;
		usleep(50000);
	}
	return false;
}

int stop_daemon(const struct options *o, bool must_run)
{
	struct call c = {.cmd = "stop", .quiet = !must_run};
	int pid = daemon_pid(o), pidfd, rc;

	/* opened while it surely lives: a number may be given again */
	pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	rc = call_run(o, &c);
	if (rc == STATUS_OK && pid > 0 && !wait_end(pid, pidfd)) {
		fprintf(stderr, "ipsec: the daemon (process %d) is still stopping\n", pid);
		rc = STATUS_TIMEOUT;
	}
	if (pidfd >= 0)
		close(pidfd);
	return rc;
}

static int run(const struct options *o)
{
	int pid = daemon_pid(o);

	if (pid) {
		printf("the daemon runs already (process %d)\n", pid);
		return STATUS_OK;
	}
	return start_daemon(o);
}

const struct verb verb_start = {
    .name = "start",
    .args = "[--nofork]",
    .summary = "Start the daemon; it is ready when this returns",
    .help = "  --nofork          stay in the foreground, log to standard error\n"
            "  --conf FILE       connections\n"
            "  --secrets FILE    secrets\n"
            "  --settings FILE   settings of the daemon\n"
            "  --plugindir DIR   plugins\n"
            "  --debug           allow core dumps and debuggers\n",
    .run = run,
};
