/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/sa/manager.h"
#include "sim.h"

static const char conf_a[] =
    "config setup\n"
    "conn net\n"
    "  keyexchange=ikev2\n  authby=secret\n  left=10.0.0.1\n  right=10.0.0.2\n"
    "  leftsubnet=10.1.0.0/16\n  rightsubnet=10.2.0.0/16\n"
    "  ike=aes128gcm16-prfsha256-x25519!\n  esp=aes128gcm16!\n"
    "  ikelifetime=40m\n  lifetime=10m\n  margintime=2m\n  dpddelay=30s\n  dpdaction=restart\n  auto=start\n";
static const char conf_b[] = "config setup\n"
                             "conn net\n"
                             "  keyexchange=ikev2\n  authby=secret\n  left=10.0.0.2\n  right=10.0.0.1\n"
                             "  leftsubnet=10.2.0.0/16\n  rightsubnet=10.1.0.0/16\n"
                             "  ike=aes128gcm16-prfsha256-x25519!\n  esp=aes128gcm16!\n"
                             "  ikelifetime=40m\n  lifetime=10m\n  margintime=2m\n  auto=add\n";
static const char psk[] = "10.0.0.1 10.0.0.2 : PSK sesame\n";

struct pair {
	struct sim_node *a, *b;
};

static bool both_ways(void *user)
{
	struct pair *p = user;

	return sim_ping(p->a, p->b, "10.1.0.1", "10.2.0.1") && sim_ping(p->b, p->a, "10.2.0.1", "10.1.0.1");
}

static bool run_seed(uint64_t seed, bool verbose, const char *settings)
{
	struct sim s;
	struct pair p;

	sim_init(&s, seed);
	s.verbose = verbose;
	snprintf(s.settings_path, sizeof(s.settings_path), "%s", settings);
	p.a = sim_add(&s, "a", "10.0.0.1", conf_a, psk);
	p.b = sim_add(&s, "b", "10.0.0.2", conf_b, psk);
	if (sim_boot(p.b) && sim_boot(p.a)) {
		s.faults.loss = (uint32_t)(seed % 5) * 50;
		s.faults.duplicate = (uint32_t)(seed % 3) * 50;
		s.faults.reorder = (uint32_t)(seed % 7) * 30;
		s.faults.corrupt = (uint32_t)(seed % 2) * 20;
		sim_run(&s, 3 * 3600 * NS_PER_S, NULL, NULL);
		s.faults = (struct sim_faults){.delay_ns = 5 * NS_PER_MS};
		sim_run(&s, 600 * NS_PER_S, NULL, NULL);
		if (!s.failure[0] && !both_ways(&p))
			sim_fail(&s, "no traffic ten minutes after the network healed");
	}
	if (s.failure[0])
		printf("seed %llu FAILED: %s\n", (unsigned long long)seed, s.failure);
	if (verbose)
		printf("sent %llu, lost %llu, duplicated %llu; child rekeys %llu, ike rekeys %llu\n",
		    (unsigned long long)s.stats.sent, (unsigned long long)s.stats.lost,
		    (unsigned long long)s.stats.duplicated,
		    (unsigned long long)(p.a->d ? SA_READ(p.a->d->sas, rekeys_child) : 0),
		    (unsigned long long)(p.a->d ? SA_READ(p.a->d->sas, rekeys_ike) : 0));
	{
		bool ok = s.failure[0] == '\0';

		sim_fini(&s);
		return ok;
	}
}

int main(int argc, char **argv)
{
	uint64_t n = 1, from = 1, failed = 0;
	bool verbose = false;
	char settings[] = "/tmp/cygnet-sim-XXXXXX";
	int fd = mkstemp(settings);

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			n = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
			from = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
	}
	if (fd < 0 || dprintf(fd, "load = \"openssl\"\n") < 0)
		return 2;
	close(fd);
	for (uint64_t i = 0; i < n; i++)
		failed += !run_seed(from + i, verbose, settings);
	unlink(settings);
	printf("%llu seeds, %llu failed\n", (unsigned long long)n, (unsigned long long)failed);
	return failed != 0;
}
