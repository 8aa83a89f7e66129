/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. A tunnel's life during which the n-th allocation of one end fails, for every n: it ends in a refusal after which
 * everything works again. And very many half-open IKE_SAs, which leave nothing behind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/auth/sources.h"
#include "daemon/net/net.h"
#include "daemon/sa/manager.h"
#include "sim.h"

#define STARVED_RELOADS 200

/* The ends of connection net. One that asks for an address gets no other selectors; here traffic goes between the subnets. */
static const char *const conf[2] = {"  left=10.0.0.1\n  right=10.0.0.2\n  leftsubnet=10.1.0.0/16\n"
                                    "  rightsubnet=10.2.0.0/16\n  leftsourceip=%config\n  dpddelay=30s\n"
                                    "  dpdaction=clear\n",
    "  left=10.0.0.2\n  right=10.0.0.1\n  leftsubnet=10.2.0.0/16\n  rightsubnet=10.1.0.0/16\n"
    "  rightsourceip=10.9.0.0/24\n"};

static const char *const version[2] = {"  keyexchange=ikev2\n  ike=aes128gcm16-prfsha256-x25519!\n  "
                                       "esp=aes128-sha256-x25519!\n  per-cpu-sas=yes\n",
    "  keyexchange=ikev1\n  ike=aes128-sha256-x25519!\n  esp=aes128-sha256-x25519!\n"};

/* With IKEv1 a user logs in first, with one more question. */
static const char *const auth[2][2] = {{"  authby=secret\n", "  authby=secret\n"},
    {"  leftauth=psk\n  rightauth=psk\n  leftauth2=xauth\n  xauth_identity=u\n",
        "  leftauth=psk\n  rightauth=psk\n  rightauth2=xauth-pam\n"}};

/* By certificates, whether they were revoked is asked of servers. */
static const char *const by_cert[2] = {"  leftauth=pubkey\n  rightauth=pubkey\n  leftid=@a\n  rightid=@b\n",
    "  leftauth=pubkey\n  rightauth=pubkey\n  leftid=@b\n  rightid=@a\n"};
static const char *const ca[2] = {"ca sim\n  cacert=sim.pem\n  crluri=http://crl.sim/ca.crl\n  auto=add\n",
    "ca sim\n  cacert=sim.pem\n  ocspuri=http://ocsp.sim/\n  auto=add\n"};

static struct sim_node *end(struct sim *s, int i)
{
	struct sim_node *n;
	char text[1024];

	snprintf(text, sizeof(text), "config setup\n%sconn net\n  auto=add\n%s%s%s", s->certs ? ca[i] : "",
	    conf[i], version[s->v1], s->certs ? by_cert[i] : auth[s->v1][i]);
	n = sim_add(s, i ? "b" : "a", i ? "10.0.0.2" : "10.0.0.1", text,
	    s->certs && s->v1 ? (i ? "CERT rsa b\n" : "CERT rsa a\n")
	        : s->certs    ? (i ? "CERT ed25519 b\n" : "CERT ed25519 a\n")
	                      : "10.0.0.1 10.0.0.2 : PSK sesame\nu : XAUTH pw-u\nu/answer : XAUTH more-u\n");
	n->xauth.rounds = 1;
	n->slow_ke = true;
	free(n->devices_text);
	n->devices_text = strdup("net 1\n");
	return n;
}

static bool both_ways(struct sim *s)
{
	struct sim_node *a = s->nodes[0], *b = s->nodes[1];
	bool there = sim_ping(a, b, "10.1.0.1", "10.2.0.1"), back = sim_ping(b, a, "10.2.0.1", "10.1.0.1");

	return there && back;
}

static bool nothing_left(void *user)
{
	struct sim *s = user;

	return sim_count_sas(s->nodes[0], -1) + sim_count_sas(s->nodes[1], -1) == 0;
}

/* Up, every exchange from both ends, down. Returns whether it succeeded, which need not be. */
static bool live(struct sim *s)
{
	static const enum sim_act acts[] = {SIM_REKEY_CHILD, SIM_REKEY_IKE, SIM_DELETE_CHILD};
	bool up;

	/* what was got before does not spare them this life's questions */
	for (int i = 0; i < 2; i++)
		(void)sources_purge(s->nodes[i]->d->sources);
	sim_up(s->nodes[0], "net");
	sim_run(s, 2 * NS_PER_S, NULL, NULL);
	s->nodes[0]->kernel.cpu = s->nodes[1]->kernel.cpu = 1; /* asks for a CHILD_SA of that CPU */
	up = both_ways(s);
	sim_run(s, NS_PER_S, NULL, NULL);
	for (size_t i = 0; i < 3; i++)
		for (int side = 0; side < 2; side++) {
			sim_act(s->nodes[side], acts[i], "net");
			sim_run(s, 2 * NS_PER_S, NULL, NULL);
		}
	sim_act(s->nodes[0], SIM_REAUTH, "net");
	sim_run(s, 40 * NS_PER_S, NULL, NULL); /* liveness too */
	sim_down(s->nodes[1], "net");
	sim_run(s, 2 * NS_PER_S, NULL, NULL);
	return up;
}

/* After it: a tunnel comes up, carries traffic and goes, and nothing is left. */
static bool recovers(struct sim *s)
{
	for (int i = 0; i < 2; i++) {
		s->nodes[i]->starving.fail_at = 0;
		sim_down(s->nodes[i], "net");
	}
	/* as long as retransmissions go on to one that is gone */
	if (!sim_run(s, 400 * NS_PER_S, nothing_left, s))
		return false;
	sim_run(s, 10 * NS_PER_S, NULL, NULL);
	sim_up(s->nodes[0], "net");
	sim_run(s, 5 * NS_PER_S, NULL, NULL);
	if (!s->failure[0] && !both_ways(s))
		sim_fail(s, "no traffic afterwards");
	return s->failure[0] == '\0' && sim_teardown(s, false);
}

/* A life in which allocations fail at one end, from that with the number at. False: it asks for no more than this, or s->failure. */
static bool starve_once(struct sim *s, int side, uint64_t at, uint32_t in_a_row)
{
	struct sim_starving *st = &s->nodes[side]->starving;
	uint64_t refused = st->refused;
	char why[sizeof(s->failure)];

	st->asked = 0;
	st->fail_at = at;
	st->in_a_row = in_a_row;
	(void)live(s);
	if (recovers(s))
		return st->refused != refused;
	snprintf(why, sizeof(why), "%s", s->failure);
	s->failure[0] = '\0';
	sim_fail(s, "%u allocations of %s failed from %llu on: %.400s", in_a_row, side ? "b" : "a",
	    (unsigned long long)at, why);
	return false;
}

/* Reloads in which one allocation fails, each of them once: what was made until then is freed. So often that the smallest block that
 * is not stands out, and counted from when the log keeps no more lines. */
static void starve_reloads(struct sim *s, struct sim_node *n)
{
	struct sim_starving *st = &n->starving;
	size_t before = 0, after;
	uint64_t refused, at;

	st->in_a_row = 1;
	for (int round = 0; round < 4 * STARVED_RELOADS; round++) {
		if (round == 3 * STARVED_RELOADS)
			before = sim_memory_used(s);
		at = 0;
		do {
			st->asked = 0;
			st->fail_at = ++at;
			refused = st->refused;
			sim_reload(n);
		} while (st->refused != refused);
	}
	st->fail_at = 0;
	after = sim_memory_used(s);
	if (after > before + STARVED_RELOADS * 16)
		sim_fail(s, "%zu bytes more in use after %d times every reload without memory",
		    after - before, STARVED_RELOADS);
}

/* Of the whole process, without what its allocator rounds up and keeps apart: in sim_leak_unit. */
static uint64_t in_use(struct sim *s)
{
	(void)sim_memory_used(s); /* what the oracles noted goes */
	return sim_leak_in_use();
}

void sim_starve(struct sim *s, uint64_t from, uint64_t every, bool verbose)
{
	static const uint32_t in_a_row[] = {1, 8};
	uint64_t first, used, lives = 0, slack = strcmp(sim_leak_unit, "blocks") ? 65536 : 64;

	for (int i = 0; i < 2; i++)
		if (!sim_boot(end(s, i)))
			return;
	/* rings and tables get their size */
	for (int i = 0; i < 32 && !s->failure[0]; i++) {
		if (!live(s))
			sim_fail(s, "no tunnel, though there is memory");
		(void)recovers(s);
	}
	first = in_use(s);
	for (size_t k = 0; k < ARRAY_LEN(in_a_row); k++)
		for (int side = 0; side < 2; side++)
			for (uint64_t n = from; !s->failure[0] && starve_once(s, side, n, in_a_row[k]);
			     n += every)
				lives++;
	used = in_use(s);
	/* where there is memory they ask for each tunnel of a life, and its next one */
	for (int i = 0; s->certs && i < 2 && !s->failure[0]; i++)
		if (s->nodes[i]->fetch.asked < lives)
			sim_fail(s, "%s asked whether certificates were revoked %llu times in %llu lives",
			    i ? "b" : "a", (unsigned long long)s->nodes[i]->fetch.asked,
			    (unsigned long long)lives);
	for (int i = 0; i < 2 && every == 1 && !s->failure[0]; i++)
		starve_reloads(s, s->nodes[i]);
	if (!s->failure[0] && used > first + slack)
		sim_fail(s, "%llu %s more in use after %llu lives", (unsigned long long)(used - first),
		    sim_leak_unit, (unsigned long long)lives);
	if (verbose)
		printf("%llu lives, %llu %s in use, at first %llu\n", (unsigned long long)lives,
		    (unsigned long long)used, sim_leak_unit, (unsigned long long)first);
}

/* --- half-open IKE_SAs ----------------------------------------------------------------------------------------------- */

/* The request of an honest initiator, from another address and with another SPI each time. */
static void knock(struct sim *s, struct sim_node *to, uint64_t i)
{
	uint8_t *copy = sim_malloc(s->n_heard);
	struct cy_dgram d = {.dst = to->addr, .data = copy, .len = (uint32_t)s->n_heard};

	if (!copy)
		abort();
	memcpy(copy, s->heard, s->n_heard);
	memcpy(copy, &i, 8);
	copy[7] |= 1;
	d.src = to->addr;
	d.src.ip[0] = 100;
	d.src.ip[1] = (uint8_t)(i >> 16);
	d.src.ip[2] = (uint8_t)(i >> 8);
	d.src.ip[3] = (uint8_t)i;
	d.src.port = d.dst.port = 500;
	net_inject(to->d->net, NULL, &d);
	free(copy);
}

static void half_open_wave(struct sim *s, struct sim_node *to, uint64_t from, uint64_t n)
{
	for (uint64_t i = from; i < from + n && !s->failure[0]; i++) {
		knock(s, to, i);
		if (i % 64 == 0)
			sim_run(s, NS_PER_MS, NULL, NULL);
	}
	sim_run(s, NS_PER_S, NULL, NULL);
	if (SA_READ(to->d->sas, half_open) != n)
		sim_fail(s, "%llu half open, not %llu", (unsigned long long)SA_READ(to->d->sas, half_open),
		    (unsigned long long)n);
	sim_run(s, 60 * NS_PER_S, NULL, NULL);
	if (sim_count_sas(to, -1))
		sim_fail(s, "%llu IKE_SAs are left", (unsigned long long)sim_count_sas(to, -1));
}

void sim_half_open(struct sim *s, uint64_t n, bool verbose)
{
	struct sim_node *a, *b;
	size_t before, after;

	s->check_every = UINT32_MAX; /* what is checked is at the end */
	a = end(s, 0);
	b = end(s, 1);
	free(b->conf_text);
	b->conf_text = strdup("config setup\nconn net\n  keyexchange=ikev2\n  authby=secret\n  auto=add\n"
	                      "  left=10.0.0.2\n  right=%any\n  leftsubnet=10.2.0.0/16\n"
	                      "  rightsubnet=10.1.0.0/16\n  ike=aes128gcm16-prfsha256-x25519!\n");
	free(b->settings_text);
	b->settings_text =
	    strdup("cookie_threshold_total = 10000000\ninit_limit_half_open = 0\nhalf_open_timeout = 20s\n");
	a->slow_ke = b->slow_ke = false;
	s->hear = true;
	if (!sim_boot(a) || !sim_boot(b))
		return;
	sim_up(a, "net");
	sim_run(s, NS_PER_S, NULL, NULL);
	s->hear = false;
	sim_halt(a);
	sim_run(s, 400 * NS_PER_S, NULL, NULL);
	sim_down(b, "net");
	sim_run(s, 400 * NS_PER_S, NULL, NULL);
	half_open_wave(s, b, 1, n / 10 ? n / 10 : 1); /* tables and rings get their size */
	before = sim_memory_used(s);
	half_open_wave(s, b, 1000000, n);
	after = sim_memory_used(s);
	if (after > before + 65536)
		sim_fail(s, "%zu bytes more in use than before %llu half-open IKE_SAs came and went",
		    after - before, (unsigned long long)n);
	if (verbose)
		printf("memory in use before %zu, after %zu\n", before, after);
}
