/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenario files. First the cast, then what happens, a statement a line; # begins a comment.
 *
 *	node NAME ADDRESS [workers N] [behind NAT] [fragments BYTES] [slow-ke 1] (key exchange is work for the pool)     nat NAME ADDRESS (before its nodes)
 *	seed N (first; what the network does is drawn from it, whatever the run's seed)
 *	conf NAME ... end     secrets NAME ... end     settings NAME ... end     devices NAME ... end (CONN NUMBER a line)
 *	repeat FIRST LAST ... end                      (cast only) the lines once for every number, which %d stands for
 *
 *	at T STATEMENT        go on to T after the beginning     wait T     after T more
 *	up|down|route NODE CONN    rekey-child|rekey-ike|delete-child|expire-child|reauth NODE[,NODE...] CONN
 *	unroute NODE CONN    kernel-expire NODE soft|hard (the data plane says so of all inbound SAs)    address NODE ADDRESS (it has another now)
 *	boot|kill|stop NODE    rebind NAT    partition T    fail-kernel-add NODE N
 *	fail-kernel-policy NODE N    fail-kernel-device NODE N    fail-kernel-with NODE nomem|exists|busy    lose-events NODE THOUSANDTHS
 *	loss|fragment-loss|duplicate|reorder|corrupt THOUSANDTHS     delay T
 *	slow-kernel|slow-pool NODE T (answers take that long at most)     stop-for NODE T (it does nothing, and is not told)
 *	starve NODE THOUSANDTHS (of its allocations fail)     starve-sizes NODE FROM TO (all of at least FROM and less than TO bytes do)
 *	clock NODE SECONDS (its wall clock jumps)     stall-listener NODE 0|1     recover NODE (it has no ailment any more)
 *	xauth-slow NODE T     xauth-refuse|xauth-error NODE THOUSANDTHS     xauth-rounds NODE N     xauth-silent NODE 0|1
 *	xauth-gives-address|xauth-gives-pool|xauth-gives-group NODE WHAT (of users of its back end; "-" nothing)
 *	authorize-slow NODE T     authorize-refuse NODE THOUSANDTHS     authorize-silent NODE 0|1 (its plugins that may say no)
 *	fetch-slow NODE T     fetch-fail NODE THOUSANDTHS     fetch-silent|fetch-nonsense NODE 0|1 (what gets CRLs and OCSP responses for it)
 *	crl-life NODE SECONDS (until their next update)     revoke NODE NAME (the certificate, in what it gets from now on; "-" of nobody)
 *	crl-file NODE (it has the CRL as a file, as it is now)
 *	slow-io NODE T (lookups of names and the lease store)     no-names NODE 0|1     store-fails NODE THOUSANDTHS
 *	reload NODE (conf-again NODE ... end before it: with another configuration)
 *	datagram FROM TO HEX (which no daemon would send, from port 500 to port 500)
 *	drop-next NODE EXCHANGE request|response [N]   check-every N
 *	expect [within T] CONDITION, and for the opposite: expect no CONDITION
 *
 * Conditions: traffic NODE ADDRESS NODE ADDRESS (both ways), sas|established|half-open|children NODE N,
 * child NODE CONN N, event NODE KIND [N] (at least N so far, 1), log NODE TEXT, leases|policies|devices NODE N,
 * fetches NODE N (so far), waiting NODE N (IKE_SAs, for CRLs and OCSP), stored NODE N (in its lease store) stored-in-use NODE N,
 * fragments NODE N (at least N were sent so far), vips NODE N (of its data plane), logins NODE N (who is in), logging-in NODE N, acquires|dumps NODE N (dumps: how often the daemon compared its SAs with the data plane).
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/auth/sources.h"
#include "daemon/net/net.h"
#include "daemon/policy/lease.h"
#include "daemon/sa/manager.h"
#include "daemon/sa/traps.h"
#include "sim.h"

#define WORDS 16

struct script {
	struct sim *s;
	const char *path;
	char *text;
	uint32_t line;
	uint64_t t0;
	bool started;
};

static void bad(struct script *sc, const char *what)
{
	sim_fail(sc->s, "%s:%u: %s", sc->path, sc->line, what);
}

static bool parse_time(const char *text, uint64_t *out)
{
	char *end;
	double v = strtod(text, &end);
	double unit = strcmp(end, "ms") == 0 ? 1e6
	    : strcmp(end, "m") == 0          ? 60e9
	    : strcmp(end, "h") == 0          ? 3600e9
	    : strcmp(end, "s") == 0          ? 1e9
	                                     : 0;

	*out = (uint64_t)(v * unit);
	return end != text && unit != 0 && v >= 0;
}

static size_t split(char *line, char **w) /* room for WORDS */
{
	size_t n = 0;

	for (char *p = strtok(line, " \t"); p && n < WORDS; p = strtok(NULL, " \t"))
		w[n++] = p;
	return n;
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t n = 0;
	ssize_t got = -1;

	if (f) {
		got = getdelim(&text, &n, '\0', f);
		fclose(f);
	}
	if (got < 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* --- the cast ------------------------------------------------------------------------------------------------------- */

static void append(char **to, const char *line)
{
	char *more;

	if (asprintf(&more, "%s%s\n", *to, line) < 0)
		abort();
	free(*to);
	*to = more;
}

static void add_node(struct script *sc, char **w, size_t n)
{
	struct sim_node *node;

	if (n < 3 || sc->s->n_nodes == SIM_NODES_MAX) {
		bad(sc, "node NAME ADDRESS [workers N] [behind NAT]");
		return;
	}
	node = sim_add(sc->s, w[1], w[2], "", "");
	for (size_t i = 3; i + 1 < n; i += 2)
		if (strcmp(w[i], "workers") == 0) {
			node->workers = (uint32_t)atoi(w[i + 1]);
		} else if (strcmp(w[i], "behind") == 0) {
			for (uint32_t k = 0; k < sc->s->n_nats; k++)
				if (strcmp(sc->s->nats[k].name, w[i + 1]) == 0)
					node->nat = &sc->s->nats[k];
			if (!node->nat)
				bad(sc, "no such NAT");
		} else if (strcmp(w[i], "fragments") == 0) {
			node->fragments = (uint32_t)atoi(w[i + 1]);
		} else if (strcmp(w[i], "slow-ke") == 0) {
			node->slow_ke = atoi(w[i + 1]) != 0;
		} else {
			bad(sc, "a node has workers, behind, fragments and slow-ke");
		}
}

static char **text_of(struct sim_node *n, const char *what)
{
	if (strcmp(what, "conf-again") == 0) {
		n->conf_text[0] = '\0';
		return &n->conf_text;
	}
	return strcmp(what, "conf") == 0   ? &n->conf_text
	    : strcmp(what, "secrets") == 0 ? &n->secrets_text
	    : strcmp(what, "devices") == 0 ? &n->devices_text
	                                   : &n->settings_text;
}

/* --- conditions ------------------------------------------------------------------------------------------------------ */

static const char *const event_names[] = {[CY_EV_IKE_UP] = "ike-up",
    [CY_EV_IKE_DOWN] = "ike-down",
    [CY_EV_IKE_REKEYED] = "ike-rekeyed",
    [CY_EV_IKE_FAILED] = "ike-failed",
    [CY_EV_CHILD_UP] = "child-up",
    [CY_EV_CHILD_DOWN] = "child-down",
    [CY_EV_CHILD_REKEYED] = "child-rekeyed",
    [CY_EV_ADDRESS_CHANGED] = "address-changed"};

static void count_online(void *user, const struct lease_info *i)
{
	*(uint64_t *)user += i->session != 0;
}

static uint64_t list_length(const struct list *l)
{
	struct list *x;
	uint64_t n = 0;

	list_foreach (x, l)
		n++;
	return n;
}

/* Outbound SAs of a CPU in the data plane. */
static uint64_t count_cpu_sas(const struct sim_node *n)
{
	uint64_t count = 0;
	struct list *l;

	list_foreach (l, &n->kernel.sas)
		count += list_entry(l, struct sim_ksa, node)->sa.cpu >= 0;
	return count;
}

static bool number_is(struct script *sc, struct sim_node *n, const char *what, uint64_t want, uint64_t *got)
{
	*got = 0;
	if (strcmp(what, "sas") == 0)
		*got = sim_count_sas(n, -1);
	else if (strcmp(what, "established") == 0)
		*got = sim_count_sas(n, IKE_ESTABLISHED);
	else if (strcmp(what, "half-open") == 0)
		*got = n->d ? SA_READ(n->d->sas, half_open) : 0;
	else if (strcmp(what, "children") == 0)
		*got = sim_count_children(n, NULL);
	else if (strcmp(what, "cpu-sas") == 0)
		*got = count_cpu_sas(n);
	else if (strcmp(what, "last-cpu") == 0)
		*got = (uint64_t)(n->kernel.last_cpu + 1);
	else if (strcmp(what, "acquires") == 0)
		*got = n->kernel.acquires;
	else if (strcmp(what, "dumps") == 0)
		*got = n->kernel.dumps;
	else if (strcmp(what, "devices") == 0)
		*got = list_length(&n->kernel.devices);
	else if (strcmp(what, "logins") == 0)
		*got = sim_xauth_count(n, true);
	else if (strcmp(what, "logging-in") == 0)
		*got = sim_xauth_count(n, false);
	else if (strcmp(what, "fetches") == 0)
		*got = n->fetch.asked;
	else if (strcmp(what, "waiting") == 0) {
		struct sources_stats st = {0};

		if (n->d)
			sources_read_stats(n->d->sources, &st);
		*got = st.waiting;
	} else if (strcmp(what, "stored") == 0)
		*got = sim_store_count(n, false);
	else if (strcmp(what, "stored-in-use") == 0)
		*got = sim_store_count(n, true);
	else if (strcmp(what, "vips") == 0)
		*got = n->kernel.n_addrs;
	else if (strcmp(what, "scripts-up") == 0)
		*got = sim_scripts_up(n);
	else if (strcmp(what, "scripts-lost") == 0)
		*got = n->scripts.lost;
	else if (strncmp(what, "scripts-", 8) == 0 && n->d)
		*got = sim_scripts_count(n, what + 8);
	else if (strcmp(what, "policies") == 0)
		*got = list_length(&n->kernel.policies);
	else if (strcmp(what, "leases") == 0 && n->d) {
		leases_list(n->d->leases, count_online, got);
		sim_check_leases(sc->s, n);
	} else
		bad(sc, "no such condition");
	return *got == want;
}

static bool holds(struct script *sc, char **w, size_t n, char *got, size_t cap)
{
	struct sim_node *a = n > 1 ? sim_node(sc->s, w[1]) : NULL, *b;
	uint64_t count;

	got[0] = '\0';
	if (!a) {
		bad(sc, "no such node");
		return false;
	}
	if (strcmp(w[0], "traffic") == 0 && n == 5 && (b = sim_node(sc->s, w[3]))) {
		bool there = sim_ping(a, b, w[2], w[4]), back = sim_ping(b, a, w[4], w[2]);

		snprintf(got, cap, "there %s, back %s", there ? "yes" : "no", back ? "yes" : "no");
		return there && back;
	}
	if (strcmp(w[0], "log") == 0 && n >= 3) {
		char text[256] = "";

		for (size_t i = 2; i < n; i++)
			snprintf(
			    text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 2 ? " " : "", w[i]);
		return a->log && strstr(a->log, text);
	}
	if (strcmp(w[0], "event") == 0 && n >= 3) {
		for (size_t k = 0; k < ARRAY_LEN(event_names); k++)
			if (event_names[k] && strcmp(event_names[k], w[2]) == 0) {
				snprintf(got, cap, "%llu so far", (unsigned long long)a->events[k]);
				return a->events[k] >= (n > 3 ? strtoull(w[3], NULL, 10) : 1);
			}
		bad(sc, "no such event");
		return false;
	}
	if (strcmp(w[0], "fragments") == 0 && n == 3) {
		snprintf(got, cap, "%llu so far", (unsigned long long)a->n_fragments);
		return a->n_fragments >= strtoull(w[2], NULL, 10);
	}
	if (strcmp(w[0], "child") == 0 && n == 4) {
		count = sim_count_children(a, w[2]);
		snprintf(got, cap, "there are %llu", (unsigned long long)count);
		return count == strtoull(w[3], NULL, 10);
	}
	if (n == 3) {
		bool ok = number_is(sc, a, w[0], strtoull(w[2], NULL, 10), &count);

		snprintf(got, cap, "there are %llu", (unsigned long long)count);
		return ok;
	}
	bad(sc, "this cannot be expected");
	return false;
}

static void expect(struct script *sc, char **w, size_t n)
{
	uint64_t within = 0, end;
	char got[128], said[256] = "";
	bool no = false;

	for (size_t i = 0; i < n; i++)
		snprintf(said + strlen(said), sizeof(said) - strlen(said), " %s", w[i]);
	w++, n--;
	if (n > 2 && strcmp(w[0], "within") == 0) {
		if (!parse_time(w[1], &within)) {
			bad(sc, "not a time");
			return;
		}
		w += 2, n -= 2;
	}
	if (n && strcmp(w[0], "no") == 0) {
		no = true;
		w++, n--;
	}
	for (end = sc->s->now + within; !sc->s->failure[0];) {
		if (holds(sc, w, n, got, sizeof(got)) != no)
			return;
		if (sc->s->now >= end)
			break;
		sim_run(sc->s, 500 * NS_PER_MS < end - sc->s->now ? 500 * NS_PER_MS : end - sc->s->now, NULL,
		    NULL);
	}
	sim_fail(sc->s, "%s:%u:%s: not so; %s", sc->path, sc->line, said, got);
}

/* --- deeds -------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum sim_act act;
} acts[] = {{"rekey-child", SIM_REKEY_CHILD}, {"rekey-ike", SIM_REKEY_IKE},
    {"delete-child", SIM_DELETE_CHILD}, {"expire-child", SIM_EXPIRE_CHILD}, {"reauth", SIM_REAUTH},
    {"delete-cpu", SIM_DELETE_CPU}};

static bool act(struct script *sc, char **w)
{
	for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
		if (strcmp(acts[i].name, w[0]) != 0)
			continue;
		for (char *name = strtok(w[1], ","); name; name = strtok(NULL, ",")) {
			struct sim_node *n = sim_node(sc->s, name);

			if (n)
				sim_act(n, acts[i].act, w[2]);
			else
				bad(sc, "no such node");
		}
		return true;
	}
	return false;
}

static void heal(void *user)
{
	((struct sim *)user)->faults.partition = false;
}

static bool fault(struct script *sc, char **w)
{
	struct sim_faults *f = &sc->s->faults;
	uint32_t v = (uint32_t)atoi(w[1]);
	uint64_t t;

	if (strcmp(w[0], "loss") == 0)
		f->loss = v;
	else if (strcmp(w[0], "fragment-loss") == 0)
		f->fragment_loss = v;
	else if (strcmp(w[0], "duplicate") == 0)
		f->duplicate = v;
	else if (strcmp(w[0], "reorder") == 0)
		f->reorder = v;
	else if (strcmp(w[0], "corrupt") == 0)
		f->corrupt = v;
	else if (strcmp(w[0], "check-every") == 0)
		sc->s->check_every = v ? v : 1;
	else if (strcmp(w[0], "delay") == 0 && parse_time(w[1], &t))
		f->delay_ns = t;
	else if (strcmp(w[0], "partition") == 0 && parse_time(w[1], &t)) {
		f->partition = true;
		sim_at(sc->s, sc->s->now + t, heal, sc->s);
	} else
		return false;
	return true;
}

static uint8_t exchange_of(const char *name)
{
	return strcmp(name, "IKE_SA_INIT") == 0    ? 34
	    : strcmp(name, "IKE_AUTH") == 0        ? 35
	    : strcmp(name, "CREATE_CHILD_SA") == 0 ? 36
	    : strcmp(name, "INFORMATIONAL") == 0   ? 37
	    : strcmp(name, "MAIN") == 0            ? 2 /* of IKEv1, which knows no responses */
	    : strcmp(name, "AGGRESSIVE") == 0      ? 4
	    : strcmp(name, "TRANSACTION") == 0     ? 6
	    : strcmp(name, "QUICK") == 0           ? 32
	                                           : 0;
}

/* What ails one node. */
static bool ailment(struct sim_node *node, char **w, size_t n)
{
	uint64_t t = 0;
	bool is_time = n == 3 && parse_time(w[2], &t);

	if (strcmp(w[0], "fail-kernel-add") == 0 && n == 3)
		node->kernel.fail_adds = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "fail-kernel-policy") == 0 && n == 3)
		node->kernel.fail_policies = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "fail-kernel-device") == 0 && n == 3)
		node->kernel.fail_devices = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "fail-kernel-with") == 0 && n == 3)
		node->kernel.fail_with = strcmp(w[2], "exists") == 0 ? CY_E_EXISTS
		    : strcmp(w[2], "busy") == 0                      ? CY_E_BUSY
		                                                     : CY_E_NOMEM;
	else if (strcmp(w[0], "lose-events") == 0 && n == 3)
		node->kernel.lose_events = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "slow-kernel") == 0 && is_time)
		sim_slow(node, ENV_KERNEL, t);
	else if (strcmp(w[0], "slow-pool") == 0 && is_time)
		sim_slow(node, ENV_POOL, t);
	else if (strcmp(w[0], "slow-io") == 0 && is_time)
		sim_slow(node, ENV_IO, t);
	else if (strcmp(w[0], "authorize-slow") == 0 && is_time)
		node->authorize.slow_ns = t;
	else if (strcmp(w[0], "authorize-refuse") == 0 && n == 3)
		node->authorize.refuse = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "authorize-silent") == 0 && n == 3)
		node->authorize.silent = atoi(w[2]) != 0;
	else if (strcmp(w[0], "fetch-slow") == 0 && is_time)
		node->fetch.slow_ns = t;
	else if (strcmp(w[0], "fetch-fail") == 0 && n == 3)
		node->fetch.fail = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "fetch-silent") == 0 && n == 3)
		node->fetch.silent = atoi(w[2]) != 0;
	else if (strcmp(w[0], "fetch-nonsense") == 0 && n == 3)
		node->fetch.nonsense = atoi(w[2]) != 0;
	else if (strcmp(w[0], "crl-life") == 0 && n == 3)
		node->fetch.life_s = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "revoke") == 0 && n == 3)
		snprintf(
		    node->fetch.revoked, sizeof(node->fetch.revoked), "%s", strcmp(w[2], "-") ? w[2] : "");
	else if (strcmp(w[0], "script-slow") == 0 && is_time)
		node->scripts.slow_ns = t;
	else if (strcmp(w[0], "script-fail") == 0 && n == 3)
		node->scripts.fail = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "script-crash") == 0 && n == 3)
		node->scripts.crash = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "script-silent") == 0 && n == 3)
		node->scripts.silent = atoi(w[2]) != 0;
	else if (strcmp(w[0], "no-names") == 0 && n == 3)
		node->no_names = atoi(w[2]) != 0;
	else if (strcmp(w[0], "store-fails") == 0 && n == 3)
		node->store_fails = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "stop-for") == 0 && is_time)
		sim_stop_for(node, t);
	else if (strcmp(w[0], "clock") == 0 && n == 3)
		node->wall_off += atoll(w[2]);
	else if (strcmp(w[0], "stall-listener") == 0 && n == 3)
		node->listener_stalls = atoi(w[2]) != 0;
	else if (strcmp(w[0], "xauth-slow") == 0 && is_time)
		node->xauth.slow_ns = t;
	else if (strcmp(w[0], "xauth-refuse") == 0 && n == 3)
		node->xauth.refuse = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "xauth-error") == 0 && n == 3)
		node->xauth.error = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "xauth-rounds") == 0 && n == 3)
		node->xauth.rounds = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "xauth-silent") == 0 && n == 3)
		node->xauth.silent = atoi(w[2]) != 0;
	else if (strcmp(w[0], "xauth-gives-address") == 0 && n == 3)
		return addr_parse(w[2], &node->xauth.address) == CY_OK;
	else if (strcmp(w[0], "xauth-gives-pool") == 0 && n == 3)
		snprintf(
		    node->xauth.pool, sizeof(node->xauth.pool), "%s", strcmp(w[2], "-") == 0 ? "" : w[2]);
	else if (strcmp(w[0], "xauth-gives-group") == 0 && n == 3)
		snprintf(node->xauth.group, sizeof(node->xauth.group), "%s", w[2]);
	else if (strcmp(w[0], "starve-sizes") == 0 && n == 4) {
		node->starving.from = (size_t)atoll(w[2]);
		node->starving.to = (size_t)atoll(w[3]);
	} else if (strcmp(w[0], "starve") == 0 && n == 3)
		node->starving.thousandths = (uint32_t)atoi(w[2]);
	else if (strcmp(w[0], "recover") == 0 && n == 2)
		sim_recover(node);
	else
		return false;
	return true;
}

/* A datagram in hexadecimal digits, which no daemon would send. */
static bool datagram(struct sim_node *from, struct sim_node *to, const char *hex)
{
	uint8_t data[512];
	size_t n = strlen(hex) / 2;
	struct cy_dgram d = {.src = from->addr, .dst = to->addr, .data = data, .len = (uint32_t)n};

	for (size_t i = 0; i < n && i < sizeof(data); i++)
		if (sscanf(hex + 2 * i, "%2hhx", &data[i]) != 1)
			return false;
	if (n > sizeof(data) || !to->d)
		return false;
	d.src.port = d.dst.port = 500;
	net_inject(to->d->net, NULL, &d);
	return true;
}

static bool on_node(struct script *sc, char **w, size_t n)
{
	struct sim_node *node = sim_node(sc->s, w[1]);

	if (!node)
		return false;
	if (strcmp(w[0], "up") == 0 && n == 3) {
		if (!sim_up(node, w[2]))
			bad(sc, "no such connection");
	} else if (strcmp(w[0], "down") == 0 && n == 3)
		sim_down(node, w[2]);
	else if (strcmp(w[0], "route") == 0 && n == 3) {
		if (!sim_route(node, w[2]))
			bad(sc, "this connection cannot be routed");
	} else if (strcmp(w[0], "unroute") == 0 && n == 3) {
		if (!node->d || traps_unroute(node->d->traps, w[2]))
			bad(sc, "this connection is not routed");
	} else if (strcmp(w[0], "kernel-expire") == 0 && n == 3 && node->d)
		sim_kernel_expire(node, strcmp(w[2], "hard") == 0);
	else if (strcmp(w[0], "address") == 0 && n == 3 && node->d) {
		if (addr_parse(w[2], &node->addr))
			bad(sc, "not an address");
		else
			sim_network_changed(node);
	} else if (strcmp(w[0], "boot") == 0)
		sim_boot(node);
	else if (strcmp(w[0], "kill") == 0)
		sim_kill(node);
	else if (strcmp(w[0], "stop") == 0)
		sim_halt(node);
	else if (strcmp(w[0], "reload") == 0)
		sim_reload(node);
	else if (strcmp(w[0], "crl-file") == 0) {
		if (!sim_fetch_file(node))
			bad(sc, "its daemon does not take the CRL");
	} else if (strcmp(w[0], "datagram") == 0 && n == 4) {
		struct sim_node *to = sim_node(sc->s, w[2]);

		if (!to || !datagram(node, to, w[3]))
			bad(sc, "datagram NODE NODE HEX");
	} else if (strcmp(w[0], "cpu") == 0 && n == 3)
		node->kernel.cpu = atoi(w[2]);
	else if (strcmp(w[0], "drop-next") == 0 && n >= 4 && exchange_of(w[2])) {
		size_t i = node->drop[0].n ? 1 : 0; /* two kinds at a time */

		node->drop[i].exchange = exchange_of(w[2]);
		node->drop[i].response = strcmp(w[3], "response") == 0;
		node->drop[i].n = n > 4 ? (uint32_t)atoi(w[4]) : 1;
	} else
		return ailment(node, w, n);
	return true;
}

static void statement(struct script *sc, char **w, size_t n)
{
	uint64_t t;

	if (n > 1 && strcmp(w[0], "at") == 0 && parse_time(w[1], &t)) {
		if (sc->t0 + t < sc->s->now)
			bad(sc, "that time is over");
		else if (sim_run(sc->s, sc->t0 + t - sc->s->now, NULL, NULL) && n > 2)
			statement(sc, w + 2, n - 2);
	} else if (n == 2 && strcmp(w[0], "wait") == 0 && parse_time(w[1], &t)) {
		sim_run(sc->s, t, NULL, NULL);
	} else if (n > 2 && strcmp(w[0], "expect") == 0) {
		expect(sc, w, n);
	} else if (n == 2 && strcmp(w[0], "rebind") == 0) {
		for (uint32_t i = 0; i < sc->s->n_nats; i++)
			if (strcmp(sc->s->nats[i].name, w[1]) == 0)
				sim_nat_rebind(&sc->s->nats[i]);
	} else if (!(n == 3 && act(sc, w)) && !(n == 2 && fault(sc, w)) && !(n >= 2 && on_node(sc, w, n))) {
		bad(sc, "not understood");
	}
}

static bool is_cast(const char *word)
{
	return strcmp(word, "seed") == 0 || strcmp(word, "node") == 0 || strcmp(word, "nat") == 0 ||
	    strcmp(word, "conf") == 0 || strcmp(word, "secrets") == 0 || strcmp(word, "settings") == 0 ||
	    strcmp(word, "devices") == 0 || strcmp(word, "conf-again") == 0;
}

/* One line outside blocks. A block's node is returned, and its lines follow. */
static char **line_of(struct script *sc, char *line)
{
	char *w[WORDS];
	size_t n = split(line, w);
	struct sim_node *node;

	if (!n)
		return NULL;
	if (!is_cast(w[0])) {
		if (!sc->started)
			for (uint32_t i = sc->s->n_nodes; i-- > 0 && !sc->s->failure[0];)
				sim_boot(sc->s->nodes[i]);
		sc->started = true;
		if (!sc->s->failure[0])
			statement(sc, w, n);
		return NULL;
	}
	if (strcmp(w[0], "seed") == 0) {
		if (n == 2 && !sc->s->n_nodes)
			sim_prng_seed(&sc->s->prng, strtoull(w[1], NULL, 10));
		else
			bad(sc, "seed N, before all else");
	} else if (strcmp(w[0], "node") == 0) {
		add_node(sc, w, n);
	} else if (strcmp(w[0], "nat") == 0) {
		if (n != 3 || !sim_nat_add(sc->s, w[1], w[2]))
			bad(sc, "nat NAME ADDRESS");
	} else {
		node = n == 2 ? sim_node(sc->s, w[1]) : NULL;
		if (node)
			return text_of(node, w[0]);
		bad(sc, "no such node");
	}
	return NULL;
}

/* %d in a repeated line. */
static void with_number(const char *line, int number, char *out, size_t cap)
{
	size_t at = 0;

	while (*line && at + 12 < cap)
		if (line[0] == '%' && line[1] == 'd') {
			at += (size_t)snprintf(out + at, cap - at, "%d", number);
			line += 2;
		} else {
			out[at++] = *line++;
		}
	out[at] = '\0';
}

static void run_lines(struct script *sc, char **lines, size_t n, uint32_t first_line, int number)
{
	char **block = NULL, text[512];

	for (size_t i = 0; i < n && !sc->s->failure[0]; i++) {
		int from, to;

		sc->line = first_line + (uint32_t)i;
		with_number(lines[i], number, text, sizeof(text));
		if (sscanf(text, "repeat %d %d", &from, &to) == 2) {
			size_t depth = 0, end = i + 1;

			for (; end < n; end++) { /* up to the end that is not a block's */
				char word[16] = "";

				sscanf(lines[end], "%15s", word);
				if (strcmp(word, "end") == 0 && depth-- == 0)
					break;
				if (strcmp(word, "conf") == 0 || strcmp(word, "secrets") == 0 ||
				    strcmp(word, "settings") == 0 || strcmp(word, "devices") == 0 ||
				    strcmp(word, "conf-again") == 0)
					depth++;
			}
			for (int k = from; k <= to; k++)
				run_lines(sc, lines + i + 1, end - i - 1, first_line + (uint32_t)i + 1, k);
			i = end;
			continue;
		}
		if (block) {
			if (strspn(text, " \t") == strlen(text) - 3 &&
			    strcmp(text + strlen(text) - 3, "end") == 0)
				block = NULL;
			else
				append(block, text[0] == '\t' ? text + 1 : text);
			continue;
		}
		text[strcspn(text, "#")] = '\0';
		block = line_of(sc, text);
	}
}

void sim_scenario(struct sim *s, const char *path)
{
	struct script sc = {.s = s, .path = path, .t0 = s->now};
	char **lines = NULL;
	size_t n = 0;

	s->keep_logs = true;
	sc.text = slurp(path);
	if (!sc.text) {
		sim_fail(s, "%s cannot be read", path);
		return;
	}
	for (char *p = sc.text, *nl; *p; p = nl + 1) {
		lines = realloc(lines, (n + 1) * sizeof(*lines));
		if (!lines)
			abort();
		lines[n++] = p;
		nl = strchr(p, '\n');
		if (!nl)
			break;
		*nl = '\0';
	}
	run_lines(&sc, lines, n, 1, 0);
	if (!s->failure[0])
		sim_teardown(s, true);
	free(lines);
	free(sc.text);
}
