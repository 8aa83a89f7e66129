/* SPDX-License-Identifier: Apache-2.0 */
/* Workers with threads, for the tests of what uses them. */
#ifndef UNIT_RUN_REAL_ENV_H
#define UNIT_RUN_REAL_ENV_H

#include <time.h>

#include "libcore/run/worker.h"
#include "unit.h"

struct real {
	struct env env;
	struct log *log;
	struct processor *p;
};

static inline void real_init(struct real *r, uint32_t n)
{
	env_real(&r->env);
	ck_assert_int_eq(log_new(&r->env, &r->log), CY_OK);
	ck_assert_int_eq(log_start(r->log), CY_OK);
	ck_assert_int_eq(
	    processor_new(&(struct processor_config){.n_workers = n, .env = &r->env, .log = r->log}, &r->p),
	    CY_OK);
	ck_assert_int_eq(processor_start(r->p), CY_OK);
}

static inline void real_fini(struct real *r)
{
	processor_stop(r->p);
	processor_free(r->p);
	log_free(r->log);
}

static inline void sleep_ms(long ms)
{
	(void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Until an atomic counter has a value; false after 5 s. */
static inline bool wait_count(const uint32_t *counter, uint32_t value)
{
	for (int i = 0; i < 5000; i++) {
		if (__atomic_load_n(counter, __ATOMIC_ACQUIRE) >= value)
			return true;
		sleep_ms(1);
	}
	return false;
}

#endif
