/* SPDX-License-Identifier: Apache-2.0 */
/* sim [--seeds N] [--from S] [--scenario FILE]... [--ikev1] [--verbose]: random runs, or scenarios, from seeds. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim.h"

static bool run_one(uint64_t seed, const char *scenario, bool v1, bool verbose, const char *tmpdir)
{
	struct sim s;
	bool ok;

	sim_init(&s, seed);
	s.verbose = verbose;
	s.tmpdir = tmpdir;
	s.v1 = v1;
	if (scenario)
		sim_scenario(&s, scenario);
	else
		sim_random(&s);
	ok = s.failure[0] == '\0';
	if (!ok) {
		printf("FAIL %s%sseed %llu after %.3f s: %s\n", scenario ? scenario : "", scenario ? " " : "",
		    (unsigned long long)seed, (double)(s.now - 1000 * NS_PER_S) / 1e9, s.failure);
		printf("  again: testing/sim/run --seeds 1 --from %llu%s%s%s --verbose\n",
		    (unsigned long long)seed, v1 ? " --ikev1" : "", scenario ? " --scenario " : "",
		    scenario ? scenario : "");
	}
	sim_fini(&s);
	fflush(stdout);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t n = 1, from = 1, failed = 0, runs = 0;
	char tmpdir[] = "/tmp/cygnet-sim-XXXXXX";
	const char *scenarios[256];
	size_t n_scenarios = 0;
	bool verbose = false, v1 = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			n = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
			from = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--scenario") == 0 && i + 1 < argc && n_scenarios < 256)
			scenarios[n_scenarios++] = argv[++i];
		else if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
		else if (strcmp(argv[i], "--ikev1") == 0)
			v1 = true;
		else {
			fprintf(stderr,
			    "sim: [--seeds N] [--from S] [--scenario FILE]... [--ikev1] [--verbose]\n");
			return 2;
		}
	}
	if (!mkdtemp(tmpdir))
		return 2;
	for (uint64_t i = 0; i < n; i++)
		for (size_t k = 0; k < (n_scenarios ? n_scenarios : 1); k++, runs++)
			failed += !run_one(from + i, n_scenarios ? scenarios[k] : NULL, v1, verbose, tmpdir);
	(void)rmdir(tmpdir);
	printf("%llu seeds, %llu failed\n%llu passed, %llu failed\n", (unsigned long long)n,
	    (unsigned long long)failed, (unsigned long long)(runs - failed), (unsigned long long)failed);
	return failed != 0;
}
