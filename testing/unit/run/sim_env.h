/* SPDX-License-Identifier: Apache-2.0 */
/* An env whose clock the test moves by hand, for what runs without threads. */
#ifndef UNIT_RUN_SIM_ENV_H
#define UNIT_RUN_SIM_ENV_H

#include "libcore/base/env.h"
#include "libcore/base/err.h"

struct sim_env {
	struct env env;
	uint64_t now;
	uint64_t seed;
};

static inline uint64_t sim_now(struct env *e)
{
	return container_of(e, struct sim_env, env)->now;
}
static inline int64_t sim_wall(struct env *e)
{
	return 1700000000 + (int64_t)(sim_now(e) / NS_PER_S);
}
static inline void sim_random(struct env *e, void *out, size_t n)
{
	struct sim_env *s = container_of(e, struct sim_env, env);
	uint8_t *p = out;

	for (size_t i = 0; i < n; i++) {
		s->seed = s->seed * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = (uint8_t)(s->seed >> 56);
	}
}
static inline void sim_env_init(struct sim_env *s)
{
	*s = (struct sim_env){{.now_ns = sim_now, .wall = sim_wall, .random = sim_random, .simulated = true},
	    1000 * NS_PER_S, 1};
}

#endif
