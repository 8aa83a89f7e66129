/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of worker.c and processor.c: what a worker is made of. */
#ifndef LIBCORE_RUN_WORKER_IMPL_H
#define LIBCORE_RUN_WORKER_IMPL_H

#include <pthread.h>

#include "libcore/run/worker.h"

#define WORKER_EVENTS 64
#define WORKER_STACK  32

struct worker {
	uint32_t index;
	struct processor *processor;
	struct env *env;
	struct log *log;
	int epoll_fd, wake_fd;
	pthread_t thread;

	/* Touched by other threads; atomic. The inbox is a stack linked by node.next: pushed one by one, taken whole. */
	_Alignas(64) struct list *inbox;
	uint32_t inbox_n;
	bool asleep, quit, ended;
	uint64_t posted; /* jobs, also those the worker posts to itself */
	uint64_t done;

	/* The worker's own; stats and step_start_ns are written by it alone and read by anybody, relaxed. */
	_Alignas(64) struct list queues[PRIO_N];
	uint32_t passed[PRIO_N]; /* jobs of other queues run while this one waited */
	struct wheel wheel;
	uint64_t now;
	uint64_t polled_ns;
	uint32_t jobs_since_poll, n_watches;
	struct epoll_event events[WORKER_EVENTS];
	int n_events, at_event; /* being handled */
	void (*turn)(void *user);
	void *turn_user;
	uint64_t step_start_ns; /* 0: not in a step */
	struct worker_stats stats;
	struct usage_lane *lane;
	bool running;            /* its thread; atomic */
	uint64_t slow_logged_ns; /* when a slow step was last logged */
	uint32_t slow_unlogged;  /* since then */
	void *stack
	    [WORKER_STACK]; /* of the step that began at stack_of; written by a signal handler on its thread */
	int n_stack;
	uint64_t stack_of, stack_asked;
};

enum cy_err worker_init(
    struct worker *w, struct processor *p, uint32_t index, struct env *env, struct log *log);
void worker_fini(struct worker *w);
void *worker_main(void *arg);
void worker_wake(struct worker *w);
/* slow.c */
void slow_worker_begins(struct worker *w);
void slow_report(struct worker *w, uint8_t kind, uint8_t prio, uint64_t took, uint64_t cpu);

#endif
