/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program: options, background, pid file, privileges, signals. What the daemon consists of is in run.c.
 * The main thread only waits: for signals, and for a client that asks the daemon to stop.
 */
#include "config.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/run.h"
#include "libcore/conf/settings.h"

#define HEAP_STEP (1 << 20) /* bytes, of which nothing is resident that is not used */

enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_RUNNING = 3 };

struct program {
	struct daemon_options o;
	bool debug;
	int ready; /* to the process that waits for us, -1 in the foreground */
	int signals, stop;
	int pid_fd;
	char pid_path[4096];
};

static void usage(FILE *to)
{
	fputs("Usage: cygnetd [OPTION]...\n"
	      "The IKE daemon. Without --nofork it returns when it is ready and goes on in the background.\n"
	      "\n"
	      "  --nofork          stay in the foreground and log to standard error\n"
	      "  --conf FILE       connections (" SYSCONFDIR "/ipsec.conf)\n"
	      "  --secrets FILE    secrets (" SYSCONFDIR "/ipsec.secrets)\n"
	      "  --settings FILE   settings of the daemon (" SYSCONFDIR "/cygnet/cygnet.conf)\n"
	      "  --rundir DIR      control socket and pid file (" PKGRUNDIR ")\n"
	      "  --plugindir DIR   plugins (" PLUGINDIR ")\n"
	      "  --debug           allow core dumps and debuggers\n"
	      "  --version         print the version\n"
	      "  --help            print this\n"
	      "\n"
	      "Exit status: 0 after a clean end, 1 when it cannot run, 2 for a wrong option, 3 when a daemon "
	      "runs already.\n",
	    to);
}

/* --- options -------------------------------------------------------------------------------------------------------- */

/* The background process leaves this folder. */
static const char *absolute(const char *path)
{
	char *cwd, *full;

	if (*path == '/')
		return path;
	cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&full, "%s/%s", cwd, path) < 0) {
		perror("cygnetd: the current folder");
		exit(EXIT_FAILED);
	}
	free(cwd);
	return full;
}

enum {
	OPT_NOFORK = 256,
	OPT_CONF,
	OPT_SECRETS,
	OPT_SETTINGS,
	OPT_RUNDIR,
	OPT_PLUGINDIR,
	OPT_DEBUG,
	OPT_VERSION,
	OPT_HELP
};

static void parse(struct program *p, int argc, char **argv)
{
	static const struct option options[] = {{"nofork", no_argument, NULL, OPT_NOFORK},
	    {"conf", required_argument, NULL, OPT_CONF}, {"secrets", required_argument, NULL, OPT_SECRETS},
	    {"settings", required_argument, NULL, OPT_SETTINGS},
	    {"rundir", required_argument, NULL, OPT_RUNDIR},
	    {"plugindir", required_argument, NULL, OPT_PLUGINDIR}, {"debug", no_argument, NULL, OPT_DEBUG},
	    {"version", no_argument, NULL, OPT_VERSION}, {"help", no_argument, NULL, OPT_HELP}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case OPT_NOFORK:
			p->o.foreground = true;
			break;
		case OPT_CONF:
			p->o.conf = absolute(optarg);
			break;
		case OPT_SECRETS:
			p->o.secrets = absolute(optarg);
			break;
		case OPT_SETTINGS:
			p->o.settings = absolute(optarg);
			break;
		case OPT_RUNDIR:
			p->o.rundir = absolute(optarg);
			break;
		case OPT_PLUGINDIR:
			p->o.plugindir = absolute(optarg);
			break;
		case OPT_DEBUG:
			p->debug = true;
			break;
		case OPT_VERSION:
			puts("cygnetd " PACKAGE_VERSION);
			exit(EXIT_OK);
		case OPT_HELP:
			usage(stdout);
			exit(EXIT_OK);
		default:
			fputs("Try 'cygnetd --help'.\n", stderr);
			exit(EXIT_USAGE);
		}
	if (optind != argc) {
		fprintf(stderr, "cygnetd: unexpected argument '%s'\n", argv[optind]);
		exit(EXIT_USAGE);
	}
}

/* --- background ------------------------------------------------------------------------------------------------------- */

/* Tells whoever started us how it went: an exit status and a sentence. */
static void tell_ready(struct program *p, uint8_t status, const char *why)
{
	if (p->ready < 0) {
		if (status)
			fprintf(stderr, "cygnetd: %s\n", why);
		return;
	}
	if (write(p->ready, &status, 1) == 1 && *why && write(p->ready, why, strlen(why)) < 0)
		fprintf(stderr, "cygnetd: %s\n", why);
	close(p->ready);
	p->ready = -1;
}

static int wait_ready(int fd, pid_t child)
{
	uint8_t status = EXIT_FAILED;
	char why[1024];
	ssize_t n;
	size_t have = 0;

	if (read(fd, &status, 1) != 1) {
		waitpid(child, NULL, 0);
		fputs("cygnetd: the daemon died while it was starting: see the log\n", stderr);
		return EXIT_FAILED;
	}
	while (have < sizeof(why) - 1 && (n = read(fd, why + have, sizeof(why) - 1 - have)) > 0)
		have += (size_t)n;
	if (have)
		fprintf(stderr, "cygnetd: %.*s\n", (int)have, why);
	return status;
}

static void to_background(struct program *p)
{
	int fds[2], null;
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) != 0 || (child = fork()) < 0) {
		perror("cygnetd: fork");
		exit(EXIT_FAILED);
	}
	if (child) {
		close(fds[1]);
		exit(wait_ready(fds[0], child));
	}
	close(fds[0]);
	p->ready = fds[1];
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || chdir("/") != 0)
		_exit(EXIT_FAILED);
	close(null);
}

/* One daemon a run directory: the lock lasts as long as the process. */
static enum exit_status lock_pid_file(struct program *p)
{
	const char *dir = p->o.rundir ? p->o.rundir : PKGRUNDIR;
	char why[sizeof(p->pid_path) + 128];

	if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
		snprintf(why, sizeof(why), "%s: %s", dir, strerror(errno));
		tell_ready(p, EXIT_FAILED, why);
		return EXIT_FAILED;
	}
	snprintf(p->pid_path, sizeof(p->pid_path), "%s/cygnetd.pid", dir);
	p->pid_fd = open(p->pid_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (p->pid_fd < 0) {
		snprintf(why, sizeof(why), "%s: %s", p->pid_path, strerror(errno));
		tell_ready(p, EXIT_FAILED, why);
		return EXIT_FAILED;
	}
	if (flock(p->pid_fd, LOCK_EX | LOCK_NB) != 0) {
		snprintf(why, sizeof(why), "a daemon runs already (%s is locked)", p->pid_path);
		tell_ready(p, EXIT_RUNNING, why);
		return EXIT_RUNNING;
	}
	if (ftruncate(p->pid_fd, 0) != 0 || dprintf(p->pid_fd, "%ld\n", (long)getpid()) < 0) {
		snprintf(why, sizeof(why), "%s: %s", p->pid_path, strerror(errno));
		tell_ready(p, EXIT_FAILED, why);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/* Plugins keep there what survives a restart; without it they say so themselves. */
static void make_state_dir(void)
{
	char path[] = STATEDIR;

	for (char *p = path + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			(void)mkdir(path, 0755);
			*p = '/';
		}
	(void)mkdir(path, 0750);
}

/* --- privileges ---------------------------------------------------------------------------------------------------------- */

/* Keys are in our memory: nobody may dump it. (The leak checker of a sanitizer must attach to us.) */
static void no_core(const struct program *p)
{
	struct rlimit none = {0, 0};

	if (p->debug)
		return;
	(void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* Capabilities belong to a thread and are inherited, so this happens before the first is started. */
static enum cy_err drop_capabilities(void *user, const struct settings *settings)
{
	const char *steer = settings_str(settings, "plugins.steer.interfaces");
	bool tun = settings_bool(settings, "plugins.kernel-tun.steer");
	bool bpf;

	(void)user;
	if (capng_get_caps_process() != 0)
		return CY_E_IO;
	if (capng_have_capabilities(CAPNG_SELECT_CAPS) <= CAPNG_NONE)
		return CY_OK;
	/* only where a plugin that loads programs into the kernel is switched on; a container may not have it */
	bpf = ((steer && *steer) || tun) && capng_have_capability(CAPNG_PERMITTED, CAP_BPF);
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_updatev(CAPNG_ADD,
	        (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE | CAPNG_BOUNDING_SET),
	        CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, -1) != 0)
		return CY_E_IO;
	if (bpf)
		(void)capng_update(CAPNG_ADD, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED), CAP_BPF);
	/* not ours, but of PAM's helpers: without it PAM refuses everybody where the kernel audits */
	(void)capng_update(CAPNG_ADD, CAPNG_BOUNDING_SET, CAP_AUDIT_WRITE);
	/* the bounding set, which scripts inherit, takes a privilege of its own that a container may not have */
	if (capng_apply(CAPNG_SELECT_BOTH) != 0 && capng_apply(CAPNG_SELECT_CAPS) != 0)
		return CY_E_DENIED;
	return CY_OK;
}

/* --- the main thread ------------------------------------------------------------------------------------------------------ */

static void stop_wanted(void *user)
{
	const struct program *p = user;
	uint64_t one = 1;

	(void)!write(p->stop, &one, sizeof(one));
}

static bool watch_signals(struct program *p)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* also nobody's: a peer of ours that closes a pipe or socket is an error code, not a death */
	sigaddset(&set, SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return false;
	sigdelset(&set, SIGPIPE);
	p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	p->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return p->signals >= 0 && p->stop >= 0;
}

/* Returns when the daemon is to end. */
static void serve(struct program *p, struct daemon *d)
{
	struct pollfd fds[2] = {{.fd = p->signals, .events = POLLIN}, {.fd = p->stop, .events = POLLIN}};

	for (;;) {
		struct signalfd_siginfo si;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents)
			return;
		if (!fds[0].revents || read(p->signals, &si, sizeof(si)) != sizeof(si))
			continue;
		if (si.ssi_signo != SIGHUP)
			return;
		if (daemon_reload(d, NULL, NULL) == CY_E_BUSY)
			LOGF(
			    d->log, LOG_CFG, CY_LOG_WARN, NULL, "a reload is running: the signal is ignored");
	}
}

int main(int argc, char **argv)
{
	struct program p = {.ready = -1,
	    .pid_fd = -1,
	    .o = {.before_threads = drop_capabilities, .stop_wanted = stop_wanted}};
	char why[512] = "";
	struct daemon *d = NULL;
	enum exit_status status;
	enum cy_err e;

	p.o.user = &p;
	parse(&p, argc, argv);
	/* What a heap grows by: by default each some tunnels are a system call, and the lock of all memory. */
	(void)mallopt(M_TOP_PAD, HEAP_STEP);
	umask(027);
	no_core(&p);
	if (!p.o.foreground)
		to_background(&p);
	status = lock_pid_file(&p);
	if (status != EXIT_OK)
		return status;
	make_state_dir();
	if (!watch_signals(&p)) {
		tell_ready(&p, EXIT_FAILED, "signals cannot be watched");
		return EXIT_FAILED;
	}
	e = daemon_new(&p.o, why, sizeof(why), &d);
	if (!e)
		e = daemon_start(d, why, sizeof(why));
	if (e) {
		tell_ready(&p, EXIT_FAILED, why);
		daemon_free(d);
		unlink(p.pid_path);
		return EXIT_FAILED;
	}
	tell_ready(&p, EXIT_OK, "");
	serve(&p, d);
	daemon_stop(d);
	unlink(p.pid_path); /* while it is locked: a new daemon makes a new file */
	daemon_free(d);
	close(p.pid_fd);
	close(p.signals);
	close(p.stop);
	return EXIT_OK;
}
