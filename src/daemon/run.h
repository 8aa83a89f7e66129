/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon instance from its options: made, started, reloaded, stopped, freed. There is no global, so a process may run
 * several (the simulator does). All functions are the main thread's, except daemon_reload(), which any thread but a
 * worker may call. Options are copied; what they point to by function belongs to the caller.
 */
#ifndef DAEMON_RUN_H
#define DAEMON_RUN_H

#include <cygnet/kernel.h>
#include <cygnet/socket.h>

#include "daemon/core/daemon.h"

struct conf;
struct plugins;

/* One line about the configuration: a problem in a file, what a reload did. */
typedef void (*daemon_report_fn)(void *user, enum cy_level level, const char *text);

struct daemon_options {
	/* NULL: where they are installed */
	const char *conf, *secrets, *settings, *rundir, *plugindir;
	bool foreground;  /* log to standard error, not to syslog */
	bool no_control;  /* no control socket */
	uint32_t workers; /* 0: as the settings have it, else one per CPU */
	/* Called once the control socket exists and before the first thread: to give up privileges, but those that the settings want.
	   May be NULL. */
	enum cy_err (*before_threads)(void *user, const struct settings *settings);
	/* A client of the control socket asked the daemon to stop; on the control thread. */
	void (*stop_wanted)(void *user);
	void *user;

	/* For the simulator; NULL otherwise. */
	struct env *env;
	log_sink_fn log;
	void *log_user;
	const struct cy_kernel_ops *kernel;
	void *kernel_plugin;
	const struct cy_socket_ops *socket;
	void *socket_plugin;
	/* What else is built in: called when the plugins are loaded. */
	enum cy_err (*provide)(void *user, struct plugins *plugins);
	/* Instead of files; the plugins are loaded, so creds can be made. */
	enum cy_err (*configure)(void *user, struct daemon *d, struct config **out);
};

/* Everything is made, nothing runs. The reason for a failure is in the log and in why (one sentence). */
enum cy_err daemon_new(
    const struct daemon_options *o, char *why, size_t why_cap, struct daemon **out) CY_MUST_USE;
/* Workers, sockets, control; then CY_EV_READY and the connections with auto=start and auto=route. */
enum cy_err daemon_start(struct daemon *d, char *why, size_t why_cap) CY_MUST_USE;
/*
 * Read the files again. Only what differs is touched; what is established stays. On failure the old configuration goes on. One at a
 * time: CY_E_BUSY while another one runs.
 */
enum cy_err daemon_reload(struct daemon *d, daemon_report_fn report, void *user);
/* What did not change with a configuration stays the same object, so that SAs under it are found by it: before an index is made. */
void daemon_keep_same(struct daemon *d, struct conf *after);
/* Deletes are sent to all peers and their answers awaited, 3 s at most; then everything ends. */
void daemon_stop(struct daemon *d);
void daemon_free(struct daemon *d); /* stops it when nobody did */

#endif
