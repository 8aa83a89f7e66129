/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to count where the time goes: bench_usage [US]. Runs the accounting of the lightest message there is (one step, its
 * subject, opening and sealing of a liveness exchange) with few peers and with many more than the table holds, and prints
 * nanoseconds and the share of a step of US microseconds (40: what a liveness exchange takes). The aim is less than 1 %.
 */

#include <stdio.h>
#include <stdlib.h>

#include "libcore/run/usage.h"
#include "libcore/run/worker.h"

#define ROUNDS 1000000

static void label(void *arg, char *out, size_t cap)
{
	snprintf(out, cap, "%p", arg);
}

/* Per step; the clock is read once a step without accounting, too, so that is left out. */
static double run(struct env *env, struct usage_lane *l, uint64_t peers)
{
	uint64_t begun = env->cpu_ns(env), now = env_now(env), clocks, end;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct usage_subject s = {.class = 4,
		    .ike_id = i % peers + 1,
		    .conn = 77,
		    .peer = (i % peers + 1) * 0x9e3779b97f4a7c15u,
		    .conn_label = label,
		    .peer_label = label,
		    .arg = &s};
		uint64_t op;

		usage_step_begin(l, now);
		usage_about(&s);
		op = usage_op_begin(USAGE_DECRYPT);
		usage_op_end(USAGE_DECRYPT, 20, op);
		op = usage_op_begin(USAGE_ENCRYPT);
		usage_op_end(USAGE_ENCRYPT, 20, op);
		now = env_now(env);
		(void)usage_step_end(l, now, JOB_DATAGRAM, PRIO_CRITICAL);
	}
	end = env->cpu_ns(env);
	for (uint64_t i = 0; i < ROUNDS; i++)
		(void)env_now(env);
	clocks = env->cpu_ns(env) - end;
	return ((double)(end - begun) - (double)clocks) / ROUNDS;
}

int main(int argc, char **argv)
{
	double us = argc > 1 ? atof(argv[1]) : 40;
	static const uint64_t peers[] = {10, 1000, 100000};
	struct usage_lane *l = malloc(sizeof(*l));
	struct env env;

	if (!l)
		return EXIT_FAILURE;
	env_real(&env);
	usage_lane_init(l, &env, true);
	(void)usage_enter(l);
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
		double ns = run(&env, l, peers[i]);

		printf("%llu peers: %.0f ns a step, %.2f %% of %.0f us\n", (unsigned long long)peers[i], ns,
		    ns / us / 10, us);
	}
	usage_lane_fini(l);
	free(l);
	return EXIT_SUCCESS;
}
