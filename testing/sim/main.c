/* SPDX-License-Identifier: Apache-2.0 */
/* sim: random runs or scenarios from seeds, and what happens when memory is short. Usage below. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim.h"

static const char usage[] =
    "sim: [--seeds N] [--from S] [--scenario FILE]... [--ikev1] [--verbose]\n"
    "     --starve [--ikev1] [--from N] [--every N]   every allocation of a tunnel's life fails once\n"
    "     --half-open N                               so many half-open IKE_SAs come and go\n";

static char replay[512]; /* of the present run */

/* An assertion, or worse: what is needed to see it again is said all the same. */
static void died(int sig)
{
	(void)!write(STDOUT_FILENO, replay, strlen(replay));
	(void)raise(sig); /* the handler is gone */
}

static int memory_runs(bool starve, uint64_t from, uint64_t every, uint64_t half_open, bool v1, bool verbose)
{
	struct sim s;
	bool ok;

	sim_init(&s, 1);
	s.v1 = v1;
	s.verbose = verbose && from > 1; /* one of them again */
	if (starve)
		sim_starve(&s, from, every, verbose);
	else
		sim_half_open(&s, half_open, verbose);
	ok = s.failure[0] == '\0';
	if (!ok)
		printf("FAIL %s: %s\n", starve ? "starve" : "half-open", s.failure);
	sim_fini(&s);
	printf("%d passed, %d failed\n", ok, !ok);
	return !ok;
}

static bool run_one(uint64_t seed, const char *scenario, bool v1, bool verbose)
{
	struct sim s;
	bool ok;

	snprintf(replay, sizeof(replay),
	    "FAIL %s%sseed %llu: it died\n  again: testing/sim/run --seeds 1 --from %llu%s%s%s --verbose\n",
	    scenario ? scenario : "", scenario ? " " : "", (unsigned long long)seed, (unsigned long long)seed,
	    v1 ? " --ikev1" : "", scenario ? " --scenario " : "", scenario ? scenario : "");
	sim_init(&s, seed);
	s.verbose = verbose;
	s.v1 = v1;
	if (scenario)
		sim_scenario(&s, scenario);
	else
		sim_random(&s);
	ok = s.failure[0] == '\0';
	if (!ok) {
		printf("FAIL %s%sseed %llu after %.3f s: %s\n%s", scenario ? scenario : "",
		    scenario ? " " : "", (unsigned long long)seed, (double)(s.now - 1000 * NS_PER_S) / 1e9,
		    s.failure, strchr(replay, '\n') + 1);
	}
	sim_fini(&s);
	fflush(stdout);
	return ok;
}

int main(int argc, char **argv)
{
	static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	uint64_t n = 1, from = 1, failed = 0, runs = 0, every = 1, half_open = 0;
	const char *scenarios[256];
	size_t n_scenarios = 0;
	bool verbose = false, starve = false, v1 = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			n = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
			from = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--scenario") == 0 && i + 1 < argc && n_scenarios < 256)
			scenarios[n_scenarios++] = argv[++i];
		else if (strcmp(argv[i], "--every") == 0 && i + 1 < argc)
			every = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--half-open") == 0 && i + 1 < argc)
			half_open = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--starve") == 0)
			starve = true;
		else if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
		else if (strcmp(argv[i], "--ikev1") == 0)
			v1 = true;
		else {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (starve || half_open)
		return memory_runs(starve, from, every ? every : 1, half_open, v1, verbose);
	for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
		(void)sigaction(
		    deadly[i], &(struct sigaction){.sa_handler = died, .sa_flags = SA_RESETHAND}, NULL);
	for (uint64_t i = 0; i < n; i++)
		for (size_t k = 0; k < (n_scenarios ? n_scenarios : 1); k++, runs++)
			failed += !run_one(from + i, n_scenarios ? scenarios[k] : NULL, v1, verbose);
	printf("%llu seeds, %llu failed\n%llu passed, %llu failed\n", (unsigned long long)n,
	    (unsigned long long)failed, (unsigned long long)(runs - failed), (unsigned long long)failed);
	return failed != 0;
}
