/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers and the job processor. A worker is one thread with its own epoll set, timer wheel and four run queues by
 * priority. Nothing a worker runs may wait. Whatever concerns an object owned by a worker is posted to it as a job.
 *
 * Scheduling: CRITICAL before HIGH before MEDIUM before LOW, but each lower queue that has work gets at least one job
 * in 16 (LOW, MEDIUM) so that none starves. Between two jobs due timers fire; descriptors are polled at least every
 * 64 jobs or 1 ms.
 *
 * Simulator: with env->simulated no thread is started; the simulator calls worker_step().
 */
#ifndef LIBCORE_RUN_WORKER_H
#define LIBCORE_RUN_WORKER_H

#include <sys/epoll.h>

#include "libcore/base/env.h"
#include "libcore/base/list.h"
#include "libcore/base/log.h"
#include "libcore/run/hist.h"
#include "libcore/run/timer.h"
#include "libcore/run/usage.h"

enum prio { PRIO_CRITICAL, PRIO_HIGH, PRIO_MEDIUM, PRIO_LOW, PRIO_N };
extern const char *const prio_names[PRIO_N];

/* What a job is, for statistics; the table of names is in worker.c. */
enum job_kind {
	JOB_DATAGRAM,   /* a received IKE message */
	JOB_TIMER,      /* timers, counted as one kind */
	JOB_COMPLETION, /* an operation came back (pool, kernel, plugin) */
	JOB_CONTROL,    /* a control command or a chunk of a listing */
	JOB_INITIATE,   /* bring up */
	JOB_ACQUIRE,
	JOB_EXPIRE,
	JOB_DELETE,
	JOB_REKEY,
	JOB_LIVENESS,
	JOB_HOUSEKEEPING,
	JOB_IO, /* a descriptor's callback */
	JOB_KIND_N,
};
extern const char *const job_kind_names[JOB_KIND_N];

struct worker;
struct processor;

/* Embedded in what is posted; owned by the poster until fn is called, which may free it. Never posted twice at once. */
struct job {
	struct list node;
	void (*fn)(struct worker *w, struct job *j);
	uint64_t queued_ns;
	uint8_t prio, kind;
};

/* A descriptor in a worker's epoll set; embedded, only touched on that worker's thread. */
struct watch {
	int fd;
	uint32_t events;
	void (*fn)(struct worker *w, struct watch *watch, uint32_t events);
};

struct worker_stats {
	uint64_t jobs[PRIO_N], jobs_by_kind[JOB_KIND_N], max_ns_by_kind[JOB_KIND_N];
	uint64_t busy_ns, wakeups, timers_fired, slow_steps; /* slow: over 10 ms */
	uint64_t max_step_ns;
	uint8_t max_step_kind;
	uint32_t queued[PRIO_N];     /* now */
	uint32_t inbox;              /* now */
	uint32_t timers;             /* set now */
	bool idle;                   /* now asleep in epoll */
	uint8_t running_prio;        /* PRIO_N when idle */
	uint64_t progress_ns;        /* monotonic time of the last finished step */
	struct hist latency[PRIO_N]; /* ns from post to start */
	uint64_t cpu_ns;             /* of its thread, also between steps; 0 unknown */
};

#define SLOW_STEP_NS (10 * NS_PER_MS)

/* A step over SLOW_STEP_NS, and what ran in it. */
struct slow_step {
	uint64_t at_ns; /* its end */
	int64_t wall;
	uint32_t worker;
	uint8_t kind, prio;
	uint64_t ns, cpu_ns;
	uint64_t ike_id; /* 0: about no IKE_SA */
	char class[48], conn[USAGE_LABEL], peer[USAGE_LABEL];
	uint32_t op_key; /* the longest crypto operation in it, 0 none */
	uint64_t op_ns;
	char stack[512]; /* debug builds */
};

/* --- any thread --- */
/* Post a job; wakes the worker when it sleeps. prio and kind are set here. Never fails, never blocks. */
void worker_post(struct worker *w, struct job *j, enum prio prio, enum job_kind kind);
uint32_t worker_index(const struct worker *w);
struct env *worker_env(const struct worker *w);
struct log *worker_log(const struct worker *w);
struct processor *worker_processor(const struct worker *w);
void worker_read_stats(struct worker *w, struct worker_stats *out); /* a snapshot, without stopping it */
void worker_read_usage(struct worker *w, struct usage_sum *sum);    /* adds what it counted */

/* --- the worker's own thread --- */
uint64_t worker_now(const struct worker *w); /* monotonic ns, read once per step */
void worker_timer_set(struct worker *w, struct timer *t, uint64_t due_ns);
void worker_timer_cancel(struct worker *w, struct timer *t);
enum cy_err worker_watch_add(struct worker *w, struct watch *watch) CY_MUST_USE;
enum cy_err worker_watch_mod(struct worker *w, struct watch *watch, uint32_t events) CY_MUST_USE;
void worker_watch_del(struct worker *w, struct watch *watch);
struct worker *worker_self(
    void); /* the worker whose thread this is, NULL elsewhere; set in worker_step too */

/*
 * Called before the worker polls its descriptors or sleeps: what its jobs have left to be handed on together, with one wake-up of another
 * thread. One a worker, set before the processor starts.
 */
void worker_on_turn(struct worker *w, void (*fn)(void *user), void *user);

/* --- the processor: all workers --- */
struct processor_config {
	uint32_t n_workers; /* 0: one per CPU the process may run on */
	struct env *env;
	struct log *log;
	const char *(*class_name)(uint8_t class); /* of usage_subject, for reports; may be NULL */
	bool stacks; /* note the stack of a step that takes long (debug builds) */
};
enum cy_err processor_new(const struct processor_config *cfg, struct processor **out) CY_MUST_USE;
enum cy_err processor_start(struct processor *p) CY_MUST_USE; /* starts the threads; nothing when simulated */
void processor_stop(struct processor *p); /* joins; queued jobs are run to the end first (2 s at most) */
void processor_free(struct processor *p);
uint32_t processor_n(const struct processor *p);
struct worker *processor_worker(const struct processor *p, uint32_t i);
/* Milliseconds the least lively worker has been inside one step; 0 when all are idle or moving. */
uint32_t processor_stuck_ms(struct processor *p);
/* The last slow steps, the latest first; any thread. */
size_t processor_slow_steps(struct processor *p, struct slow_step *out, size_t cap);

/* --- simulator --- */
/* Run what is ready at the env's now: due timers, then jobs until the queues are empty or max jobs ran. */
size_t worker_step(struct worker *w, size_t max);
uint64_t worker_next_due(
    struct worker *w); /* now when jobs wait, else the next timer, UINT64_MAX when none */

#endif
