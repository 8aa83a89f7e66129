/* SPDX-License-Identifier: Apache-2.0 */
/* sim: random runs or scenarios from seeds, and what happens when memory is short. Usage below. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim.h"

#define AGAIN 4 /* at most so often is one run again that left something */

static const char usage[] =
    "sim: [--seeds N] [--from S] [--scenario FILE]... [--ikev1] [--verbose]\n"
    "     --leak                                      a block of memory is lost at each start of a daemon\n"
    "     --starve [--ikev1] [--certs] [--from N] [--every N]   every allocation of a tunnel's life fails "
    "once\n"
    "     --half-open N                               so many half-open IKE_SAs come and go\n";

static char replay[512]; /* of the present run */

/* An assertion, or worse: what is needed to see it again is said all the same. */
static void died(int sig)
{
	(void)!write(STDOUT_FILENO, replay, strlen(replay));
	(void)raise(sig); /* the handler is gone */
}

/* What is run, and how much memory the process had in use before it. */
struct runner {
	bool v1, certs, verbose, leak;
	uint64_t in_use;
};

static int memory_runs(bool starve, uint64_t from, uint64_t every, uint64_t half_open, const struct runner *r)
{
	bool ok, verbose = r->verbose;
	struct sim s;

	sim_init(&s, 1);
	s.v1 = r->v1;
	s.certs = r->certs;
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

static bool once(const struct runner *r, uint64_t seed, const char *scenario, bool again)
{
	struct sim s;
	bool ok;

	sim_init(&s, seed);
	s.verbose = r->verbose && !again;
	s.v1 = r->v1;
	s.leak = r->leak;
	if (scenario)
		sim_scenario(&s, scenario);
	else
		sim_random(&s);
	ok = s.failure[0] == '\0';
	if (!ok && !again)
		printf("FAIL %s%sseed %llu after %.3f s: %s\n%s", scenario ? scenario : "",
		    scenario ? " " : "", (unsigned long long)seed, (double)(s.now - 1000 * NS_PER_S) / 1e9,
		    s.failure, strchr(replay, '\n') + 1);
	sim_fini(&s);
	sim_key_forget();
	return ok;
}

/*
 * Memory is as before. What is kept until the process ends is left by the first run that needs it: OpenSSL's algorithms, libraries that
 * were loaded, libc's buffers. The same run finds it there when it is run again, and leaves nothing; a leak is left each time.
 */
static bool leaks(struct runner *r, uint64_t seed, const char *scenario)
{
	uint64_t now = sim_leak_in_use(), more = 0;

	for (int i = 0; i < AGAIN && now > r->in_use; i++) {
		sim_leak_trace(i == AGAIN - 1);
		r->in_use = sim_leak_in_use();
		(void)once(r, seed, scenario, true);
		now = sim_leak_in_use();
		more = now > r->in_use ? now - r->in_use : 0;
	}
	r->in_use = now;
	if (more) {
		printf("FAIL %s%sseed %llu: %llu %s of memory are left, each time\n%s",
		    scenario ? scenario : "", scenario ? " " : "", (unsigned long long)seed,
		    (unsigned long long)more, sim_leak_unit, strchr(replay, '\n') + 1);
		sim_leak_show();
	}
	sim_leak_trace(false);
	return more;
}

static bool run_one(struct runner *r, uint64_t seed, const char *scenario)
{
	bool ok;

	snprintf(replay, sizeof(replay),
	    "FAIL %s%sseed %llu: it died\n  again: testing/sim/run --seeds 1 --from %llu%s%s%s%s --verbose\n",
	    scenario ? scenario : "", scenario ? " " : "", (unsigned long long)seed, (unsigned long long)seed,
	    r->v1 ? " --ikev1" : "", r->leak ? " --leak" : "", scenario ? " --scenario " : "",
	    scenario ? scenario : "");
	ok = once(r, seed, scenario, false);
	if (ok)
		ok = !leaks(r, seed, scenario);
	else
		r->in_use = sim_leak_in_use();
	fflush(stdout);
	return ok;
}

int main(int argc, char **argv)
{
	static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	static char output[BUFSIZ]; /* libc would allocate it at the first failure */
	uint64_t n = 1, from = 1, failed = 0, runs = 0, every = 1, half_open = 0;
	const char *scenarios[256];
	size_t n_scenarios = 0;
	bool starve = false;
	struct runner r = {0};

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
			r.verbose = true;
		else if (strcmp(argv[i], "--ikev1") == 0)
			r.v1 = true;
		else if (strcmp(argv[i], "--certs") == 0)
			r.certs = true;
		else if (strcmp(argv[i], "--leak") == 0)
			r.leak = true;
		else {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (starve || half_open)
		return memory_runs(starve, from, every ? every : 1, half_open, &r);
	(void)setvbuf(stdout, output, _IOFBF, sizeof(output));
	r.in_use = sim_leak_in_use();
	for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
		(void)sigaction(
		    deadly[i], &(struct sigaction){.sa_handler = died, .sa_flags = SA_RESETHAND}, NULL);
	for (uint64_t i = 0; i < n; i++)
		for (size_t k = 0; k < (n_scenarios ? n_scenarios : 1); k++, runs++)
			failed += !run_one(&r, from + i, n_scenarios ? scenarios[k] : NULL);
	printf("%llu seeds, %llu failed\n%llu passed, %llu failed\n", (unsigned long long)n,
	    (unsigned long long)failed, (unsigned long long)(runs - failed), (unsigned long long)failed);
	return failed != 0;
}
