/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper processes: anything that may hang and cannot be cancelled as a thread (scripts, PAM). A manager thread starts
 * them as vfork does, so that a big daemon is never copied, watches output and exit, and kills the whole process group
 * at the deadline: SIGTERM, 2 s later SIGKILL. Queue and number running are bounded.
 * A process gets /dev/null as input, nothing but its three descriptors, default signals and a process group of its own.
 * Simulated env: no thread, procs_spawn returns after the process has ended and done was called; with env->process none is started,
 * and procs_step does what the manager would.
 */
#ifndef LIBCORE_RUN_PROC_H
#define LIBCORE_RUN_PROC_H

#include "libcore/run/worker.h"

struct procs;
struct proc_spec {
	const char *const *argv, *const *envp; /* NULL-terminated; copied */
	uint32_t deadline_ms;                  /* 0: 60 s */
	const char *owner;                     /* for statistics; long-lived */
	/*
	 * On the manager thread; must not block. Exactly once for each accepted procs_spawn, also when the process could
	 * not be started (status: exit code 127, output: why) or procs_free ended it (status: SIGKILL). output: first
	 * 4 KiB of stdout and stderr.
	 */
	void (*done)(void *user, int status, bool timed_out, struct cy_slice output);
	void *user;
};
struct procs_stats {
	uint64_t started, finished; /* finished: whatever way it ended */
	uint64_t failed;            /* of those: could not be started, exit code other than 0, or a signal */
	uint64_t killed;            /* at the deadline */
	uint64_t refused;           /* CY_E_LIMIT */
	uint32_t running, queued;
	uint64_t max_ms;
	const char *oldest_owner; /* of the process that has been running longest, NULL none */
	uint64_t oldest_start_ns;
};
enum cy_err procs_new(
    struct env *env, struct log *log, uint32_t max_running, uint32_t max_queued, struct procs **out);
void procs_free(struct procs *p);                                       /* kills what runs */
enum cy_err procs_spawn(struct procs *p, const struct proc_spec *spec); /* any thread; CY_E_LIMIT when full */
/* Simulated, with env->process: start and end what is due. When there is something to do again; UINT64_MAX: nothing runs. */
uint64_t procs_step(struct procs *p);
void procs_read_stats(struct procs *p, struct procs_stats *out);

#endif
