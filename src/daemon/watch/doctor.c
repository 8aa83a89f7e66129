/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/watch/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/watch/doctor_impl.h"
#include "libcore/crypto/proposal.h"

#define SATURATED    0.85 /* of a CPU */
#define STARVED      0.2  /* of the time it could have run */
#define IDLE_ENOUGH  0.5
#define WAIT_LONG    (50 * NS_PER_MS)
#define SLOW_CALL    NS_PER_S
#define RETRANSMIT   0.2 /* of what is sent */
#define LISTENER_LAG 1000
#define LOGINS       8     /* at a time: fewer may be people who think */
#define GARBAGE      100.0 /* messages a second */
#define JUMP_S       2

const char *const finding_levels[] = {"limits", "warns", "past"};

/* --- findings --------------------------------------------------------------------------------------------------------------- */

struct finding *doctor_add(struct doctor *d, const char *id, enum finding_level level, double value,
    const char *unit, const char *fmt, ...)
{
	struct finding *f;
	va_list ap;

	if (d->n == DOCTOR_MAX)
		return &d->spill;
	f = &d->f[d->n++];
	*f = (struct finding){.id = id, .level = level, .value = value, .unit = unit};
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return f;
}

void doctor_advise(struct finding *f, const char *fmt, ...)
{
	size_t at = strlen(f->advice);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->advice + at, sizeof(f->advice) - at, fmt, ap);
	va_end(ap);
}

double doctor_rate(const struct doctor *d, uint64_t n)
{
	return d->in->now->ns ? (double)n * (double)NS_PER_S / (double)d->in->now->ns : 0;
}

/* For a counter: LIMITS when it counted just now, PAST when only before; false: never. */
static bool counted(uint64_t now, uint64_t total, enum finding_level *out_level, uint64_t *out_n)
{
	*out_level = now ? FINDING_LIMITS : FINDING_PAST;
	*out_n = now ? now : total;
	return *out_n != 0;
}

static const char *when(enum finding_level level)
{
	return level == FINDING_PAST ? "since the start, none just now" : "just now";
}

static double ms(uint64_t ns)
{
	return (double)ns / NS_PER_MS;
}

/* --- workers ------------------------------------------------------------------------------------------------------------------ */

struct load {
	double all, most; /* CPUs; share of the busiest worker */
	uint32_t busiest;
};

static struct load load_of(const struct sample *s)
{
	struct load l = {0};

	for (uint32_t i = 0; i < s->n_workers; i++) {
		uint64_t ns = s->workers[i].cpu_ns ? s->workers[i].cpu_ns : s->workers[i].busy_ns;
		double share = s->ns ? (double)ns / (double)s->ns : 0;

		l.all += share;
		if (share > l.most) {
			l.most = share;
			l.busiest = i;
		}
	}
	return l;
}

/* "datagrams of IKE_AUTH (45 %), derive MODP_2048 (30 %)" */
static void costliest(const struct sample *s, char *out, size_t cap)
{
	uint64_t best = 0, all = 0;
	int kind = 0;

	for (int k = 0; k < JOB_KIND_N; k++) {
		uint64_t ns = 0;

		for (int p = 0; p < PRIO_N; p++)
			ns += s->usage.kind[k][p].ns;
		all += ns;
		if (ns > best) {
			best = ns;
			kind = k;
		}
	}
	snprintf(out, cap, "most of it for %s jobs (%.0f %%)", job_kind_names[kind],
	    all ? 100.0 * (double)best / (double)all : 0);
	if (s->usage.n_conns && all && cap > strlen(out))
		snprintf(out + strlen(out), cap - strlen(out), " and, of connections, for %.40s (%.0f %%)",
		    s->usage.conns[0].label, 100.0 * (double)s->usage.conns[0].ns / (double)all);
}

static void rule_workers(struct doctor *d)
{
	const struct sample *s = d->in->now;
	struct load l = load_of(s);
	double others = s->n_workers > 1 ? (l.all - l.most) / (s->n_workers - 1) : 0;
	struct finding *f;
	char why[200];

	if (!s->n_workers)
		return;
	costliest(s, why, sizeof(why));
	if (l.all >= SATURATED * s->n_workers) {
		f = doctor_add(d, "workers-cpu", FINDING_LIMITS, 100 * l.all / s->n_workers,
		    "% of the workers' CPUs",
		    "The workers are CPU-bound: all %u together use %.0f %% of the CPU time they could have, "
		    "%s.",
		    s->n_workers, 100 * l.all / s->n_workers, why);
		if (s->cpus > s->n_workers)
			doctor_advise(f, "There are %u CPUs: set workers = 0, one for each.", s->cpus);
		else
			doctor_advise(f,
			    "See ipsec usage 5 for what costs most; cheaper algorithms, longer lifetimes or "
			    "more CPUs help.");
	} else if (l.most >= SATURATED && others < IDLE_ENOUGH) {
		f = doctor_add(d, "worker-alone", FINDING_LIMITS, 100 * l.most, "% of one CPU",
		    "Worker %u alone is CPU-bound (%.0f %%) while the others use %.0f %% each: %s.",
		    l.busiest, 100 * l.most, 100 * others, why);
		doctor_advise(f,
		    "A worker owns its IKE_SAs, and one that reads all sockets does that alone: load "
		    "socket-reuseport, which gives each worker its own.");
	}
}

static void rule_starved(struct doctor *d)
{
	const struct sample *s = d->in->now;
	uint64_t waited = 0, ran = 0;

	for (size_t i = 0; i < s->n_threads; i++)
		if (strncmp(s->threads[i].name, "worker-", 7) == 0) {
			waited += s->threads[i].waited_ns;
			ran += s->threads[i].cpu_ns;
		}
	if (waited < s->ns / 20 || (double)waited < STARVED * (double)(waited + ran))
		return;
	doctor_advise(doctor_add(d, "no-cpu", FINDING_LIMITS, ms(waited), "ms without a CPU",
	                  "The workers wanted to run for %.0f ms and got a CPU for %.0f ms of them: other "
	                  "programs, or the host of this machine, have the CPUs.",
	                  ms(waited + ran), ms(ran)),
	    "Give the daemon a higher CPUWeight= or more CPUs; look at what else runs.");
}

static void rule_steps(struct doctor *d)
{
	const struct sample *s = d->in->now, *t = d->in->total;
	uint64_t now = 0, total = 0, max = 0, n;
	enum finding_level level;
	uint8_t kind = 0;

	for (uint32_t i = 0; i < s->n_workers; i++) {
		now += s->workers[i].slow_steps;
		if (s->workers[i].max_step_ns > max) {
			max = s->workers[i].max_step_ns;
			kind = s->workers[i].max_step_kind;
		}
	}
	for (uint32_t i = 0; i < t->n_workers; i++)
		total += t->workers[i].slow_steps;
	if (s->stuck_ms > 100)
		doctor_advise(
		    doctor_add(d, "worker-stuck", FINDING_LIMITS, s->stuck_ms, "ms",
		        "A worker has been inside one step for %u ms: its IKE_SAs wait.", s->stuck_ms),
		    "If it goes on the watchdog restarts the daemon; report it with the log (debug builds "
		    "add the "
		    "stack).");
	if (!counted(now, total, &level, &n))
		return;
	doctor_advise(
	    doctor_add(d, "slow-steps", level == FINDING_LIMITS ? FINDING_WARNS : level, (double)n,
	        "steps over 10 ms",
	        "%llu steps of workers took more than 10 ms %s; the longest ever took %.0f ms (%s).",
	        (unsigned long long)n, when(level), ms(max), kind < JOB_KIND_N ? job_kind_names[kind] : ""),
	    "ipsec statusall lists the last of them with what ran.");
}

/* --- receiving ------------------------------------------------------------------------------------------------------------------ */

static void advise_buffer(const struct doctor *d, struct finding *f, const struct cy_socket_stats *k)
{
	const struct sample *s = d->in->now;
	struct load l = load_of(s);
	uint64_t rmem = d->in->machine ? d->in->machine->rmem_max : 0;

	if (l.most >= SATURATED) {
		doctor_advise(f,
		    "The worker that reads it is CPU-bound: a larger buffer only delays the loss. See the "
		    "advice on workers.");
		return;
	}
	/* the kernel counts the double of what is asked for */
	if (k->rcvbuf / 2 < d->in->rcvbuf)
		doctor_advise(f,
		    "The workers are idle (%.0f %%), so these are bursts. socket_rcvbuf asks for %u bytes "
		    "and the kernel "
		    "granted %u: raise sysctl net.core.rmem_max (now %llu) or let the daemon keep "
		    "CAP_NET_ADMIN.",
		    100 * (1 - (s->n_workers ? l.all / s->n_workers : 0)), d->in->rcvbuf, k->rcvbuf / 2,
		    (unsigned long long)rmem);
	else
		doctor_advise(f,
		    "The workers are idle (%.0f %%), so these are bursts: raise socket_rcvbuf (now %u bytes) "
		    "in "
		    "cygnet.conf, to four times that.",
		    100 * (1 - (s->n_workers ? l.all / s->n_workers : 0)), d->in->rcvbuf);
}

static void rule_sockets(struct doctor *d)
{
	const struct sample *s = d->in->now, *t = d->in->total;

	for (size_t i = 0; i < s->n_sockets; i++) {
		const struct cy_socket_stats *k = &s->sockets[i];
		uint64_t total = i < t->n_sockets ? t->sockets[i].kernel_drops : 0, n;
		enum finding_level level;
		struct finding *f;

		if (counted(k->kernel_drops, total, &level, &n)) {
			f = doctor_add(d, "receive-queue", level, (double)n, "datagrams dropped",
			    "The kernel dropped %llu datagrams %s because the receive queue of port %u (%s) "
			    "was "
			    "full: a buffer of %u bytes, %u in use.",
			    (unsigned long long)n, when(level), k->port,
			    k->family == AF_INET6 ? "IPv6" : "IPv4", k->rcvbuf, k->rx_queue_bytes);
			advise_buffer(d, f, k);
		} else if (k->rcvbuf && k->rx_queue_bytes > k->rcvbuf / 2) {
			f = doctor_add(d, "receive-queue", FINDING_WARNS,
			    100.0 * k->rx_queue_bytes / k->rcvbuf, "%",
			    "The receive queue of port %u is %.0f %% full (%u of %u bytes); nothing was "
			    "dropped.",
			    k->port, 100.0 * k->rx_queue_bytes / k->rcvbuf, k->rx_queue_bytes, k->rcvbuf);
			advise_buffer(d, f, k);
		}
		if (k->tx_errors)
			doctor_advise(doctor_add(d, "send-errors", FINDING_WARNS, (double)k->tx_errors,
			                  "datagrams", "%llu datagrams could not be sent from port %u.",
			                  (unsigned long long)k->tx_errors, k->port),
			    "Routes or addresses are missing, a firewall refuses, or the device's queue is "
			    "full.");
	}
}

static void rule_inbox(struct doctor *d)
{
	const struct sample *s = d->in->now;
	enum finding_level level;
	uint64_t n;

	if (!counted(s->sas.drop_inbox, d->in->total->sas.drop_inbox, &level, &n))
		return;
	doctor_advise(
	    doctor_add(d, "inbox", level, (double)n, "datagrams dropped",
	        "%llu datagrams were dropped %s because the inbox of a busy IKE_SA (%u datagrams) was "
	        "full; those that got through waited %.1f ms at the 99th percentile.",
	        (unsigned long long)n, when(level), d->in->inbox_max,
	        ms(hist_quantile(&s->usage.inbox_wait, 0.99))),
	    "One peer sends faster than its IKE_SA is served, or the IKE_SA waits for the pool or the "
	    "kernel: see "
	    "those. inbox_max makes it longer.");
}

static uint64_t shed(const struct sample *s)
{
	return s->net.drop_queue + s->net.drop_queue_new + s->sas.drop_late + s->sas.drop_pool +
	    sample_shed(s);
}

static void rule_shed(struct doctor *d)
{
	const struct sample *s = d->in->now, *from = s;
	enum finding_level level;
	uint64_t n;

	if (!counted(shed(s), shed(d->in->total), &level, &n))
		return;
	if (level == FINDING_PAST)
		from = d->in->total;
	doctor_advise(
	    doctor_add(d, "shed", level, (double)n, "messages dropped",
	        "%llu messages were dropped %s because there was too much to do: %llu first "
	        "requests by the kernel for us, "
	        "%llu and %llu others for which the queue had no room, %llu first requests that had "
	        "waited "
	        "too long, %llu that would have for the pool.",
	        (unsigned long long)n, when(level), (unsigned long long)sample_shed(from),
	        (unsigned long long)from->net.drop_queue_new, (unsigned long long)from->net.drop_queue,
	        (unsigned long long)from->sas.drop_late, (unsigned long long)from->sas.drop_pool),
	    "More arrives than workers and pool can answer: a flood, or a mass reconnect, which repeats what "
	    "was "
	    "dropped. See the advice on workers; receive_queue and init_queue_time.");
}

static void rule_limits(struct doctor *d)
{
	const struct sample *s = d->in->now, *t = d->in->total;
	enum finding_level level;
	uint64_t n;

	if (counted(s->sas.drop_half_open_limit, t->sas.drop_half_open_limit, &level, &n))
		doctor_advise(
		    doctor_add(d, "half-open", level, (double)n, "requests dropped",
		        "%llu IKE_SA_INIT requests were dropped %s because %llu IKE_SAs are half open, of "
		        "%u allowed.",
		        (unsigned long long)n, when(level), (unsigned long long)s->sas.half_open,
		        d->in->half_open_limit),
		    "Peers do not complete IKE_AUTH (a flood, or answers that get lost), or the limit is too "
		    "small for "
		    "a mass reconnect: init_limit_half_open in cygnet.conf.");
	if (counted(s->sas.drop_blocked, t->sas.drop_blocked, &level, &n))
		doctor_advise(
		    doctor_add(d, "blocked", level == FINDING_LIMITS ? FINDING_WARNS : level, (double)n,
		        "requests dropped",
		        "%llu first requests were dropped %s because their peers had as many half-open "
		        "IKE_SAs as one may have.",
		        (unsigned long long)n, when(level)),
		    "One peer that begins and does not go on; or a NAT that gives many peers one port: "
		    "block_threshold.");
	if (counted(s->sas.drop_fragment_memory, t->sas.drop_fragment_memory, &level, &n))
		doctor_advise(
		    doctor_add(d, "fragment-memory", level, (double)n, "fragments dropped",
		        "%llu fragments were dropped %s because those of messages that are not complete use "
		        "all "
		        "the memory for them (%llu bytes now).",
		        (unsigned long long)n, when(level), (unsigned long long)s->sas.fragment_bytes),
		    "Fragments get lost on the way, or somebody never completes a message: fragment_timeout, "
		    "or "
		    "fragment_memory.");
	if (counted(s->sas.firsts_kept, t->sas.firsts_kept, &level, &n))
		doctor_advise(
		    doctor_add(d, "main-mode", level == FINDING_LIMITS ? FINDING_WARNS : level, (double)n,
		        "first messages",
		        "Many IKE_SAs are half open: %llu first messages of main mode were answered %s and "
		        "kept "
		        "without an IKE_SA, %llu of their peers went on.",
		        (unsigned long long)n, when(level), (unsigned long long)s->sas.firsts_gone_on),
		    "It costs nobody anything. Few that go on means forged addresses; many, a mass "
		    "reconnect: "
		    "init_limit_half_open.");
	if (counted(s->sas.cookies_sent, t->sas.cookies_sent, &level, &n))
		doctor_advise(
		    doctor_add(d, "cookies", level == FINDING_LIMITS ? FINDING_WARNS : level, (double)n,
		        "cookies sent",
		        "New peers are asked for cookies: %llu were sent %s, %llu came back; more than %u "
		        "IKE_SAs were half open.",
		        (unsigned long long)n, when(level), (unsigned long long)s->sas.cookies_ok,
		        d->in->cookie_threshold),
		    "It costs each new peer a round trip. Few that come back means forged addresses; many, a "
		    "mass "
		    "reconnect: cookie_threshold.");
	n = s->sas.drop_bad_icv + s->sas.drop_syntax + s->sas.drop_stray + s->net.drop_malformed +
	    s->net.drop_short + s->net.drop_version;
	if (doctor_rate(d, n) > GARBAGE)
		doctor_advise(
		    doctor_add(d, "garbage", FINDING_WARNS, doctor_rate(d, n), "messages/s",
		        "%.0f messages a second are of no use: malformed, not authentic, or for no IKE_SA.",
		        doctor_rate(d, n)),
		    "Somebody sends garbage, or peers still speak to a daemon that was restarted. Filter the "
		    "sources.");
}

/* --- whom we wait for ------------------------------------------------------------------------------------------------------------- */

static void rule_pool(struct doctor *d)
{
	const struct sample *s = d->in->now;

	for (size_t i = 0; i < s->n_pool; i++) {
		const struct pool_owner_stats *o = &s->pool[i];
		uint64_t time = hist_quantile(&o->time, 0.99), wait = hist_quantile(&o->wait, 0.99);
		bool crypto = strcmp(o->owner, "crypto") == 0;
		struct finding *f;

		if (strcmp(o->owner, "speed") == 0) /* that is we ourselves: what algorithms cost here */
			continue;
		if (crypto && (wait > WAIT_LONG || o->queued > 2 * s->cpus)) {
			f = doctor_add(d, "pool-cpu", FINDING_LIMITS, ms(wait), "ms",
			    "Computations (key exchange, signatures) wait for the pool: %.0f ms at the 99th "
			    "percentile, "
			    "%u are queued.",
			    ms(wait), o->queued);
			doctor_advise(f,
			    "The CPUs are the limit: curve25519 or ecp256 instead of large MODP groups, "
			    "ECDSA or "
			    "Ed25519 instead of large RSA keys; else pool_threads.");
		} else if (!crypto && (wait > WAIT_LONG || time > SLOW_CALL || o->queued > d->in->io_quota)) {
			f = doctor_add(d, "slow-backend",
			    wait > WAIT_LONG || o->queued ? FINDING_LIMITS : FINDING_WARNS, ms(time), "ms",
			    "The back end %.40s is slow: a call takes %.0f ms at the 99th percentile and "
			    "waits %.0f ms "
			    "before that; %u run, %u are queued.",
			    o->owner, ms(time), ms(wait), o->running, o->queued);
			doctor_advise(f,
			    "Only who asked it waits. Look at the server behind %.40s; io_quota (now %u) "
			    "lets more "
			    "calls run at a time.",
			    o->owner, d->in->io_quota);
		}
	}
	if (s->procs.queued > 32 || s->procs.killed || s->procs.refused)
		doctor_advise(doctor_add(d, "slow-scripts", s->procs.refused ? FINDING_LIMITS : FINDING_WARNS,
		                  s->procs.queued, "scripts queued",
		                  "Scripts are slow: %u run, %u are queued; %llu were killed at their "
		                  "deadline and %llu "
		                  "not run.",
		                  s->procs.running, s->procs.queued, (unsigned long long)s->procs.killed,
		                  (unsigned long long)s->procs.refused),
		    "See which in the log; helper_limit lets more run at a time.");
}

/* What each takes follows from how many there are and how many a second are done with (Little). */
static void rule_logins(struct doctor *d)
{
	const struct xauth_stats *x = &d->in->now->xauth;
	double done = doctor_rate(d, x->ok + x->refused + x->errors + x->timeouts),
	       each = done > 0 ? x->in_progress / done : (double)d->in->now->ns / (double)NS_PER_S;

	if (!x->timeouts && !x->limit_queue &&
	    (x->in_progress < LOGINS || each * (double)NS_PER_S < (double)SLOW_CALL))
		return;
	doctor_advise(
	    doctor_add(d, "slow-logins", x->timeouts || x->limit_queue ? FINDING_LIMITS : FINDING_WARNS, each,
	        "s a login",
	        "Logins (XAUTH) are slow: %u are in progress and %.1f a second are answered, so that each "
	        "takes "
	        "%.1f s; %llu were not answered in time and %llu refused because there are too many.",
	        x->in_progress, done, each, (unsigned long long)x->timeouts,
	        (unsigned long long)x->limit_queue),
	    "Only who logs in waits. Look at what PAM asks (a directory, RADIUS); more helpers of the plugin "
	    "let more logins run at a time: ipsec statusall shows its queue.");
}

/* A server that is away costs who comes first its deadline, or with strictcrlpolicy=yes everybody the tunnel. */
static void rule_revocation(struct doctor *d)
{
	const struct sources_stats *r = &d->in->now->revocation;
	const struct source_host *worst = NULL;
	struct finding *f;

	for (uint32_t i = 0; i < r->n_hosts; i++) {
		const struct source_host *h = &r->host[i];

		if ((h->failed || h->running_ns > SLOW_CALL) &&
		    (!worst || h->failed > worst->failed ||
		        (h->failed == worst->failed && h->running_ns > worst->running_ns)))
			worst = h;
	}
	if (!worst)
		return;
	f = doctor_add(d, "crl-server", r->outcome[OUTCOME_REFUSED] ? FINDING_LIMITS : FINDING_WARNS,
	    (double)worst->running_ns / (double)NS_PER_S, "s",
	    "%s, which CRLs or OCSP responses come from, failed %llu of %llu times, %llu of them by not "
	    "answering "
	    "in time, and has now been asked for %.1f s; %u peers wait for such servers, and %llu could not "
	    "wait "
	    "(revocation_queue).",
	    worst->name, (unsigned long long)worst->failed, (unsigned long long)worst->asked,
	    (unsigned long long)worst->late, (double)worst->running_ns / (double)NS_PER_S, r->waiting,
	    (unsigned long long)r->refused);
	doctor_advise(f,
	    "Only peers with certificates of its CA wait, and with strictcrlpolicy=yes (crl-strict=, "
	    "ocsp-strict=) they are refused. ipsec listcrls says what failed. Repair the server, name "
	    "another "
	    "one with crluri= in a ca section, or put the CRL into ipsec.d/crls.");
}

static void rule_kernel(struct doctor *d)
{
	const struct knl_stats *k = &d->in->now->kernel;
	uint64_t wait = hist_quantile(&k->wait, 0.99), running = 0, best = 0;
	int worst = 0, fails = 0;
	struct finding *f;

	if (k->running_since_ns && d->in->now->at_ns > k->running_since_ns)
		running = d->in->now->at_ns - k->running_since_ns;
	for (int i = 0; i < KNL_OP_N; i++) {
		if (k->op[i].ns > best) {
			best = k->op[i].ns;
			worst = i;
		}
		if (k->op[i].failed > k->op[fails].failed)
			fails = i;
	}
	if ((k->wait.n && wait > WAIT_LONG) || running > WAIT_LONG || k->queued > 1000) {
		f = doctor_add(d, "slow-kernel", FINDING_LIMITS, ms(wait > running ? wait : running), "ms",
		    "The data plane %s is slow: requests wait %.0f ms at the 99th percentile, %u are "
		    "queued%s%.0f ms.",
		    k->name ? k->name : "", ms(wait), k->queued,
		    running ? ", and one has been running for " : ", longest ",
		    ms(running ? running : k->max_ns));
		doctor_advise(f,
		    "Most time goes into %s (%.3f ms each). Many thousands of policies make that slow: "
		    "fewer, "
		    "wider selectors, or a shared XFRM interface.",
		    knl_op_names[worst], k->op[worst].n ? ms(best) / (double)k->op[worst].n : 0);
	}
	/* a query or removal of what is gone is no fault */
	if (k->op[KNL_SA_ADD].failed + k->op[KNL_POLICY_ADD].failed + k->op[KNL_SA_MOVE].failed)
		doctor_advise(doctor_add(d, "kernel-refuses", FINDING_WARNS, (double)k->failures, "requests",
		                  "The data plane refused %llu requests (%s most often).",
		                  (unsigned long long)k->failures, knl_op_names[fails]),
		    "The log (group knl) has the kernel's reasons: missing algorithms, a marked or foreign "
		    "policy in the "
		    "way.");
}

static void rule_peers(struct doctor *d)
{
	const struct sample *s = d->in->now;
	double share = s->net.tx_ike ? (double)s->sas.retransmits_out / (double)s->net.tx_ike : 0;
	enum finding_level level;
	uint64_t n;

	if (counted(s->sas.timeouts, d->in->total->sas.timeouts, &level, &n))
		doctor_advise(
		    doctor_add(d, "peers-silent", level == FINDING_LIMITS ? FINDING_WARNS : level, (double)n,
		        "exchanges given up",
		        "Peers do not answer: %llu exchanges were given up %s, after %llu retransmissions.",
		        (unsigned long long)n, when(level),
		        (unsigned long long)(level == FINDING_PAST ? d->in->total : s)->sas.retransmits_out),
		    "Which ones is in the log (\"does not answer\"). Gone peers are normal for road "
		    "warriors; else look "
		    "for a firewall, or fragments that get lost (fragmentation=yes).");
	else if (s->sas.retransmits_out > 5 && share > RETRANSMIT)
		doctor_advise(doctor_add(d, "peers-slow", FINDING_WARNS, 100 * share, "% of what is sent",
		                  "%.0f %% of what is sent are retransmissions (%llu).", 100 * share,
		                  (unsigned long long)s->sas.retransmits_out),
		    "Messages get lost, or peers take longer to answer than we wait before the first "
		    "retransmission.");
	if (s->sas.retransmits_in > 5 && s->net.rx_ike && s->sas.retransmits_in > s->net.rx_ike / 5)
		doctor_advise(
		    doctor_add(d, "answers-lost", FINDING_WARNS, (double)s->sas.retransmits_in, "requests",
		        "%llu of %llu messages received are requests that were answered already: our answers "
		        "get lost or come late.",
		        (unsigned long long)s->sas.retransmits_in, (unsigned long long)s->net.rx_ike),
		    "See whether workers or queues are slow; else the path loses what we send.");
}

static void rule_listeners(struct doctor *d)
{
	const struct sample *s = d->in->now;

	for (size_t i = 0; i < s->n_plugins; i++) {
		const struct sample_plugin *p = &s->plugins[i];
		uint64_t total = i < d->in->total->n_plugins ? d->in->total->plugins[i].listener.missed : 0,
		         n;
		enum finding_level level;

		if (counted(p->listener.missed, total, &level, &n) || p->listener.queued > LISTENER_LAG ||
		    p->running_ms > 1000)
			doctor_advise(
			    doctor_add(d, "listener-lags",
			        level == FINDING_LIMITS || p->running_ms > 1000 ? FINDING_WARNS : level,
			        (double)n, "events missed",
			        "Plugin %.40s lags behind: it missed %llu events %s, %u wait, and its "
			        "present "
			        "callback has been running for %llu ms.",
			        p->name, (unsigned long long)n, when(level), p->listener.queued,
			        (unsigned long long)p->running_ms),
			    "Tunnels do not wait for it, but what it is for (updown, accounting) is late or "
			    "missing.");
	}
}

static void rule_log(struct doctor *d)
{
	enum finding_level level;
	uint64_t n;

	if (counted(d->in->now->log_dropped, d->in->total->log_dropped, &level, &n))
		doctor_advise(
		    doctor_add(d, "log-lost", level == FINDING_LIMITS ? FINDING_WARNS : level, (double)n,
		        "lines", "%llu lines of the log were lost %s: a sink is slower than what is logged.",
		        (unsigned long long)n, when(level)),
		    "Log less (ipsec loglevel), or to a faster sink.");
}

static void rule_clock(struct doctor *d)
{
	int64_t now = d->in->now->clock_jump_s, total = d->in->total->clock_jump_s, n;

	n = now <= -JUMP_S || now >= JUMP_S ? now : total;
	if (n > -JUMP_S && n < JUMP_S)
		return;
	doctor_advise(doctor_add(d, "clock", n == now ? FINDING_WARNS : FINDING_PAST, (double)n, "s",
	                  "The clock was set by %+lld s %s (or the machine slept).", (long long)n,
	                  n == now ? "just now" : "since the start"),
	    "Tunnels' timers do not depend on it; certificates, CRLs and leases do. Run a time daemon.");
}

/* --- algorithms ------------------------------------------------------------------------------------------------------------------ */

/* The cheapest of what the connection itself allows, or of the defaults. */
static double cheapest(const struct doctor_input *in, const struct conn_cost *c, struct suite *out)
{
	double best = 0;

	for (size_t i = 0; c->offers && i < c->offers->n; i++) {
		const struct proposal *p = &c->offers->p[i];

		for (int e = 0; e < p->n; e++)
			for (int g = 0; g <= p->n; g++) {
				bool integ = g < p->n && p->t[g].type == TRANSFORM_INTEG;
				double ns;

				if (p->t[e].type != TRANSFORM_ENCR || (g < p->n && !integ))
					continue;
				ns = speeds_packet_ns(in->speeds, in->n_speeds, p->t[e].id, p->t[e].key_bits,
				    integ ? p->t[g].id : 0);
				if (ns > 0 && (best == 0 || ns < best)) {
					best = ns;
					*out = (struct suite){.encr = p->t[e].id,
					    .key_bits = p->t[e].key_bits,
					    .integ = integ ? p->t[g].id : 0};
				}
			}
	}
	return best;
}

static void rule_algorithms(struct doctor *d)
{
	const struct doctor_input *in = d->in;

	for (size_t i = 0; i < in->n_costs; i++) {
		const struct conn_cost *c = &in->costs[i];
		double ns = speeds_packet_ns(in->speeds, in->n_speeds, c->encr, c->key_bits, c->integ), least,
		       all;
		struct suite best = {0}, gcm = {.encr = CY_ENCR_AES_GCM_16, .key_bits = 128};
		struct suite used = {.encr = c->encr, .key_bits = c->key_bits, .integ = c->integ};
		char a[160], b[160];
		struct finding *f;

		least = cheapest(in, c, &best);
		all = speeds_packet_ns(in->speeds, in->n_speeds, gcm.encr, gcm.key_bits, 0);
		if (ns <= 0 || ((least <= 0 || ns < 3 * least) && (all <= 0 || ns < 3 * all)))
			continue;
		f = doctor_add(d, "algorithms", FINDING_WARNS,
		    ns / (least > 0 && ns >= 3 * least ? least : all), "times",
		    "%u CHILD_SAs of connection %.60s use %s, which costs %.1f us a packet of 1400 bytes "
		    "here, %.1f times "
		    "as much as %s.",
		    c->child_sas, c->conn, suite_str(&used, PROTO_ESP, a, sizeof(a)), ns / 1000,
		    ns / (least > 0 && ns >= 3 * least ? least : all),
		    suite_str(least > 0 && ns >= 3 * least ? &best : &gcm, PROTO_ESP, b, sizeof(b)));
		if (least > 0 && ns >= 3 * least)
			doctor_advise(f,
			    "Connection %.60s allows the cheaper one and the peer did not choose it: put it "
			    "first at both ends.",
			    c->conn);
		else
			doctor_advise(f,
			    "Add it to esp= of connection %.60s at both ends, in front (esp=aes128gcm16).",
			    c->conn);
	}
}

/* --- together -------------------------------------------------------------------------------------------------------------------- */

static int pressing(const void *a, const void *b)
{
	const struct finding *x = a, *y = b;

	return x->level < y->level ? -1 : x->level > y->level;
}

size_t doctor_run(const struct doctor_input *in, void (*cb)(void *user, const struct finding *f), void *user)
{
	static void (*const rules[])(struct doctor * d) = {rule_sockets, rule_workers, rule_starved,
	    rule_inbox, rule_shed, rule_pool, rule_logins, rule_revocation, rule_kernel, doctor_rule_errors,
	    doctor_rule_machine, rule_limits, rule_steps, rule_peers, rule_algorithms, rule_listeners,
	    rule_log, rule_clock};
	struct doctor *d = calloc(1, sizeof(*d));
	size_t limits = 0;

	if (!d)
		return 0;
	d->in = in;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		rules[i](d);
	qsort(d->f, d->n, sizeof(d->f[0]), pressing);
	for (size_t i = 0; i < d->n; i++) {
		limits += d->f[i].level == FINDING_LIMITS;
		cb(user, &d->f[i]);
	}
	free(d);
	return limits;
}
