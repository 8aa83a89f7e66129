/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripts that the updown plugin of a node runs: how long they take, and how they end, as the node has it. The plugin, its queue
 * and what supervises processes are the real ones; only the processes are not there. What each script was told is kept: for the same
 * traffic of the same connection there is no down without an up, and in the end an up for each down.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/plugin/loader.h"
#include "libcore/run/bus.h"
#include "libcore/run/proc.h"
#include "sim.h"

/* Traffic of a connection, of CHILD_SAs that follow each other, or are there beside each other. */
struct lane {
	struct list node;
	char text[128];
	uint32_t up;
	uint64_t busy_until; /* at least */
};

static const char *value(const char *const *envp, const char *name)
{
	size_t n = strlen(name);

	for (; envp && *envp; envp++)
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return *envp + n + 1;
	return "";
}

static struct lane *lane_of(struct sim_node *n, const char *const *envp)
{
	static const char *const names[] = {"PLUTO_CONNECTION", "PLUTO_REQID", "PLUTO_MY_CLIENT",
	    "PLUTO_PEER_CLIENT", "PLUTO_MY_PROTOCOL", "PLUTO_MY_PORT", "PLUTO_PEER_PORT"};
	char text[sizeof(((struct lane *)0)->text)] = "";
	struct lane *l;
	struct list *x;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", value(envp, names[i]));
	list_foreach (x, &n->scripts.lanes)
		if (strcmp(list_entry(x, struct lane, node)->text, text) == 0)
			return list_entry(x, struct lane, node);
	l = calloc(1, sizeof(*l));
	if (!l)
		abort();
	memcpy(l->text, text, sizeof(text));
	list_push(&n->scripts.lanes, &l->node);
	return l;
}

/* What the plugin was not told, or had no memory for. Where its queue is full neither up nor down is run. */
static uint64_t lost(struct sim_node *n)
{
	struct bus_listener_stats s[16];
	size_t k = bus_stats(n->d->bus, s, ARRAY_LEN(s));
	uint64_t missed = n->scripts.starving.refused - n->scripts.refused_before;

	for (size_t i = 0; i < k; i++)
		if (strcmp(s[i].name, "updown") == 0)
			missed += s[i].missed;
	return missed;
}

static void note(struct sim_node *n, const char *const *envp, uint64_t lasts)
{
	struct lane *l = lane_of(n, envp);
	bool up = strncmp(value(envp, "PLUTO_VERB"), "up-", 3) == 0;
	uint64_t now = n->env.e.now_ns(&n->env.e);

	if (n->sim->verbose)
		printf("%10.3f %-8s script: %s %s\n", (double)(now - 1000 * NS_PER_S) / 1e9, n->name,
		    up ? "up" : "down", l->text);
	if (now < l->busy_until)
		sim_fail(n->sim, "%s: two scripts at a time for %s", n->name, l->text);
	if (!up && !l->up && !lost(n))
		sim_fail(n->sim, "%s: down without an up for %s", n->name, l->text);
	if (up)
		l->up++;
	else if (l->up)
		l->up--;
	l->busy_until = now + (lasts < NS_PER_S ? lasts : NS_PER_S); /* no deadline is shorter */
}

struct env_process sim_script(struct env *e, const char *const *argv, const char *const *envp)
{
	struct sim_node *n = container_of((struct sim_env *)e, struct sim_node, env);
	struct env_process p = {0};
	struct sim_prng *r = &n->scripts.prng;

	if (n->kernel.frozen) /* it was killed, and begins nothing */
		return (struct env_process){.status = SIGKILL};
	if (strcmp(argv[0], "/bin/sh") != 0 || !*value(envp, "PLUTO_CONNECTION"))
		sim_fail(n->sim, "%s: %s is run, and not for a connection", n->name, argv[0]);
	if (n->scripts.slow_ns)
		p.lasts_ns = sim_prng_below(r, n->scripts.slow_ns + 1);
	if (n->scripts.fail && sim_prng_below(r, 1000) < n->scripts.fail)
		p.status = (int)(1 + sim_prng_below(r, 255)) << 8;
	else if (n->scripts.crash && sim_prng_below(r, 1000) < n->scripts.crash)
		p.status = SIGSEGV;
	if (n->scripts.silent) {
		p.lasts_ns = UINT64_MAX;
		p.ignores_term = sim_prng_below(r, 2);
	}
	n->scripts.started++;
	n->scripts.failed += p.status || n->scripts.silent;
	n->scripts.never_end += n->scripts.silent;
	note(n, envp, p.lasts_ns);
	return p;
}

void sim_scripts_log(struct sim_node *n, const char *line)
{
	n->scripts.lost += strstr(line, "this one is not run") != NULL;
}

void sim_scripts_boot(struct sim_node *n)
{
	n->scripts.started = n->scripts.failed = n->scripts.never_end = n->scripts.lost = 0;
	n->scripts.refused_before = n->scripts.starving.refused;
	n->scripts.due = 0;
}

void sim_scripts_step(struct sim_node *n)
{
	uint64_t plugins, procs, finished;
	struct procs_stats st;

	if (!n->d->procs || n->listener_stalls)
		return;
	n->scripts.starving.thousandths = n->starving.thousandths;
	sim_memory_starve(&n->scripts.starving);
	/* what has ended is told to the plugin, which may begin the next */
	do {
		procs_read_stats(n->d->procs, &st);
		finished = st.finished;
		plugins = plugins_step(n->d->plugins);
		procs = procs_step(n->d->procs);
		procs_read_stats(n->d->procs, &st);
	} while (plugins <= n->sim->now || st.finished != finished);
	sim_memory_leave();
	n->scripts.due = plugins < procs ? plugins : procs;
}

bool sim_scripts_idle(const struct sim_node *n)
{
	struct procs_stats st;

	if (!n->d || !n->d->procs)
		return true;
	procs_read_stats(n->d->procs, &st);
	return n->scripts.due == UINT64_MAX && !st.running && !st.queued;
}

uint64_t sim_scripts_up(const struct sim_node *n)
{
	uint64_t up = 0;
	struct list *x;

	list_foreach (x, &n->scripts.lanes)
		up += list_entry(x, struct lane, node)->up;
	return up;
}

uint64_t sim_scripts_count(const struct sim_node *n, const char *what)
{
	struct procs_stats st;

	procs_read_stats(n->d->procs, &st);
	return strcmp(what, "run") == 0    ? st.started
	    : strcmp(what, "running") == 0 ? st.running
	    : strcmp(what, "failed") == 0  ? st.failed
	    : strcmp(what, "killed") == 0  ? st.killed
	                                   : UINT64_MAX;
}

void sim_scripts_check(struct sim_node *n)
{
	struct procs_stats st;

	if (!n->d || !n->d->procs)
		return;
	procs_read_stats(n->d->procs, &st);
	if (st.started != n->scripts.started || st.finished != st.started)
		sim_fail(n->sim, "%s: %llu scripts were run, and the daemon counts %llu, %llu of them over",
		    n->name, (unsigned long long)n->scripts.started, (unsigned long long)st.started,
		    (unsigned long long)st.finished);
	if (st.failed < n->scripts.failed || st.killed < n->scripts.never_end)
		sim_fail(n->sim,
		    "%s: %llu scripts failed and %llu of them did not end; the daemon counts %llu and %llu",
		    n->name, (unsigned long long)n->scripts.failed, (unsigned long long)n->scripts.never_end,
		    (unsigned long long)st.failed, (unsigned long long)st.killed);
}

bool sim_scripts_must_end(struct sim_node *n)
{
	return n->d && !n->kernel.frozen && !n->scripts.slow_ns && !n->scripts.silent &&
	    !n->listener_stalls && sim_scripts_idle(n) && !lost(n);
}

void sim_scripts_check_down(struct sim_node *n)
{
	struct list *x;

	list_foreach (x, &n->scripts.lanes)
		if (list_entry(x, struct lane, node)->up)
			sim_fail(n->sim, "%s: up without a down for %s", n->name,
			    list_entry(x, struct lane, node)->text);
}

void sim_scripts_clear(struct sim_node *n)
{
	struct list *x;

	while ((x = list_pop(&n->scripts.lanes)))
		free(list_entry(x, struct lane, node));
}
