/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of processor.c and slow.c: what a processor is made of. */
#ifndef LIBCORE_RUN_PROCESSOR_IMPL_H
#define LIBCORE_RUN_PROCESSOR_IMPL_H

#include "libcore/run/worker_impl.h"

#define SLOW_KEPT 16

struct slow {
	pthread_mutex_t lock; /* guards step and n */
	struct slow_step step[SLOW_KEPT];
	size_t n;
	const char *(*class_name)(uint8_t class);
	bool stacks, looking, stop;
	pthread_t thread;
};

struct processor {
	struct env *env;
	struct log *log;
	uint32_t n;
	bool started;
	struct slow slow;
	struct worker *workers[];
};

void slow_init(struct slow *s, const struct processor_config *cfg);
void slow_fini(struct slow *s);
void slow_start(struct processor *p);
void slow_stop(struct processor *p);

#endif
