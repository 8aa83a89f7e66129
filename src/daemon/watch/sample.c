/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/watch/sample.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libcore/base/thread.h"

#define SOCKETS_MAX 256
#define OWNERS_MAX  64
#define THREADS_MAX 4096

/* --- threads ------------------------------------------------------------------------------------------------------------ */

static bool read_line(const char *path, char *out, size_t cap)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(out, (int)cap, f);

	if (f)
		fclose(f);
	if (ok)
		out[strcspn(out, "\n")] = '\0';
	return ok;
}

static bool read_thread(const char *dir, const char *tid, struct sample_thread *out)
{
	unsigned long long cpu, waited;
	char path[512], text[128];

	*out = (struct sample_thread){.tid = (uint32_t)strtoul(tid, NULL, 10)};
	snprintf(path, sizeof(path), "%s/task/%.32s/schedstat", dir, tid);
	if (!read_line(path, text, sizeof(text)) || sscanf(text, "%llu %llu", &cpu, &waited) != 2)
		return false;
	out->cpu_ns = cpu;
	out->waited_ns = waited;
	snprintf(path, sizeof(path), "%s/task/%.32s/comm", dir, tid);
	if (read_line(path, text, sizeof(text)))
		snprintf(out->name, sizeof(out->name), "%.15s", text);
	return true;
}

struct sample_thread *sample_threads(const char *dir, size_t *out_n)
{
	struct sample_thread *t = NULL, *more;
	struct dirent *e;
	char path[512];
	size_t n = 0;
	DIR *all;

	snprintf(path, sizeof(path), "%s/task", dir);
	all = opendir(path);
	while (all && n < THREADS_MAX && (e = readdir(all))) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		more = realloc(t, (n + 1) * sizeof(*t));
		if (!more)
			break;
		t = more;
		n += read_thread(dir, e->d_name, &t[n]);
	}
	if (all)
		closedir(all);
	*out_n = n;
	return t;
}

/* --- what others list ------------------------------------------------------------------------------------------------------ */

static void on_plugin(void *user, const struct plugin_info *i)
{
	struct sample *s = user;
	struct sample_plugin *p;

	if (strcmp(i->state, "loaded") != 0)
		return;
	p = realloc(s->plugins, (s->n_plugins + 1) * sizeof(*p));
	if (!p)
		return;
	s->plugins = p;
	p += s->n_plugins++;
	memset(p, 0, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", i->name);
	p->listener = i->listener;
	if (i->running_since_ns && s->at_ns > i->running_since_ns)
		p->running_ms = (s->at_ns - i->running_since_ns) / NS_PER_MS;
	memcpy(p->hook, i->hook, sizeof(p->hook));
}

static void on_error(void *user, const char *name, uint64_t value)
{
	struct sample *s = user;
	struct sample_counter *e = realloc(s->errors, (s->n_errors + 1) * sizeof(*e));

	if (!e)
		return;
	s->errors = e;
	snprintf(e[s->n_errors].name, sizeof(e[0].name), "%s", name);
	e[s->n_errors++].value = value;
}

uint64_t sample_shed(const struct sample *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n_sockets; i++)
		n += s->sockets[i].shed;
	return n;
}

uint64_t sample_error(const struct sample *s, const char *name)
{
	for (size_t i = 0; i < s->n_errors; i++)
		if (strcmp(s->errors[i].name, name) == 0)
			return s->errors[i].value;
	return 0;
}

static void take_workers(struct sample *s, struct processor *p)
{
	s->workers = calloc(processor_n(p), sizeof(*s->workers));
	s->n_workers = s->workers ? processor_n(p) : 0;
	for (uint32_t i = 0; i < s->n_workers; i++) {
		struct worker *w = processor_worker(p, i);

		worker_read_stats(w, &s->workers[i]);
		worker_read_usage(w, &s->usage);
		for (int q = 0; q < PRIO_N; q++)
			hist_merge(&s->wait[q], &s->workers[i].latency[q]);
	}
	s->stuck_ms = processor_stuck_ms(p);
}

static void take_sas(struct sample *s, const struct sa_manager *m)
{
	const uint64_t *from = (const uint64_t *)&m->c;
	uint64_t *to = (uint64_t *)&s->sas;

	for (size_t i = 0; i < sizeof(m->c) / sizeof(*from); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

struct sample *sample_take(struct daemon *d)
{
	struct sample *s = calloc(1, sizeof(*s));
	struct timespec ts;

	if (!s)
		return NULL;
	s->at_ns = env_now(d->env);
	s->ns = s->at_ns - d->started_ns;
	s->wall = d->env->wall(d->env);
	s->clock_jump_s = s->wall - d->started_wall - (int64_t)(s->ns / NS_PER_S);
	s->cpus = thread_cpus();
	take_workers(s, d->processor);
	pool_read_usage(d->pool, &s->usage);
	usage_sum_sort(&s->usage);
	s->pool = calloc(OWNERS_MAX, sizeof(*s->pool));
	s->n_pool = s->pool ? pool_stats(d->pool, s->pool, OWNERS_MAX) : 0;
	net_read_counters(d->net, &s->net);
	s->sockets = calloc(SOCKETS_MAX, sizeof(*s->sockets));
	s->n_sockets = s->sockets ? net_socket_stats(d->net, s->sockets, SOCKETS_MAX) : 0;
	take_sas(s, d->sas);
	knl_read_stats(d->knl, &s->kernel);
	knl_counters(d->knl, on_error, s);
	if (d->plugins)
		plugins_list(d->plugins, on_plugin, s);
	if (d->procs)
		procs_read_stats(d->procs, &s->procs);
	if (d->xauth)
		xauth_read_stats(d->xauth, &s->xauth);
	if (d->sources)
		sources_read_stats(d->sources, &s->revocation);
	s->log_dropped = log_dropped(d->log);
	if (d->env->simulated)
		return s;
	s->threads = sample_threads("/proc/self", &s->n_threads);
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) == 0)
		s->process_cpu_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	return s;
}

void sample_free(struct sample *s)
{
	if (!s)
		return;
	usage_sum_fini(&s->usage);
	free(s->workers);
	free(s->sockets);
	free(s->errors);
	free(s->pool);
	free(s->plugins);
	free(s->threads);
	free(s);
}

/* --- between two -------------------------------------------------------------------------------------------------------------- */

static void workers_since(struct sample *now, const struct sample *before)
{
	for (uint32_t i = 0; i < now->n_workers && i < before->n_workers; i++) {
		struct worker_stats *n = &now->workers[i];
		const struct worker_stats *b = &before->workers[i];

		n->busy_ns -= b->busy_ns;
		n->cpu_ns = n->cpu_ns > b->cpu_ns ? n->cpu_ns - b->cpu_ns : 0;
		n->wakeups -= b->wakeups;
		n->timers_fired -= b->timers_fired;
		n->slow_steps -= b->slow_steps;
		for (int q = 0; q < PRIO_N; q++)
			n->jobs[q] -= b->jobs[q];
	}
	for (int q = 0; q < PRIO_N; q++)
		hist_since(&now->wait[q], &before->wait[q]);
}

static void pool_since(struct sample *now, const struct sample *before)
{
	for (size_t i = 0; i < now->n_pool && i < before->n_pool; i++) {
		struct pool_owner_stats *n = &now->pool[i];
		const struct pool_owner_stats *b = &before->pool[i]; /* owners keep their places */

		n->runs -= b->runs;
		n->ns -= b->ns;
		n->wait_ns -= b->wait_ns;
		n->cpu_ns -= b->cpu_ns;
		hist_since(&n->time, &b->time);
		hist_since(&n->wait, &b->wait);
	}
}

static void kernel_since(struct sample *now, const struct sample *before)
{
	now->kernel.requests -= before->kernel.requests;
	now->kernel.steps -= before->kernel.steps;
	now->kernel.failures -= before->kernel.failures;
	hist_since(&now->kernel.wait, &before->kernel.wait);
	for (int i = 0; i < KNL_OP_N; i++) {
		now->kernel.op[i].n -= before->kernel.op[i].n;
		now->kernel.op[i].failed -= before->kernel.op[i].failed;
		now->kernel.op[i].ns -= before->kernel.op[i].ns;
	}
	for (size_t i = 0; i < now->n_errors; i++)
		now->errors[i].value -= sample_error(before, now->errors[i].name);
}

static void plugins_since(struct sample *now, const struct sample *before)
{
	for (size_t i = 0; i < now->n_plugins && i < before->n_plugins; i++) {
		struct sample_plugin *n = &now->plugins[i];
		const struct sample_plugin *b = &before->plugins[i];

		n->listener.delivered -= b->listener.delivered;
		n->listener.missed -= b->listener.missed;
		n->listener.busy_ns -= b->listener.busy_ns;
		for (int h = 0; h < PLUGIN_HOOK_N; h++) {
			n->hook[h].n -= b->hook[h].n;
			n->hook[h].ns -= b->hook[h].ns;
			n->hook[h].cpu_ns -= b->hook[h].cpu_ns;
		}
	}
}

static void sockets_since(struct sample *now, const struct sample *before)
{
	for (size_t i = 0; i < now->n_sockets && i < before->n_sockets; i++) {
		struct cy_socket_stats *n = &now->sockets[i];
		const struct cy_socket_stats *b = &before->sockets[i];

		n->rx_datagrams -= b->rx_datagrams;
		n->rx_bytes -= b->rx_bytes;
		n->tx_datagrams -= b->tx_datagrams;
		n->tx_bytes -= b->tx_bytes;
		n->tx_errors -= b->tx_errors;
		n->kernel_drops -= b->kernel_drops;
		n->shed -= b->shed;
	}
}

/* How many there are now stays; the rest are counts. */
static void sas_since(struct sample *now, const struct sample *before)
{
	const struct sa_counters present = now->sas;
	const uint64_t *b = (const uint64_t *)&before->sas;
	uint64_t *n = (uint64_t *)&now->sas;

	for (size_t i = 0; i < sizeof(now->sas) / sizeof(*n); i++)
		n[i] -= b[i];
	now->sas.ike_sas = present.ike_sas;
	now->sas.up = present.up;
	now->sas.half_open = present.half_open;
	now->sas.child_sas = present.child_sas;
	now->sas.fragment_bytes = present.fragment_bytes;
}

static void xauth_since(struct sample *now, const struct sample *before)
{
	struct xauth_stats *n = &now->xauth;
	const struct xauth_stats *b = &before->xauth;

	n->begun -= b->begun;
	n->ok -= b->ok;
	n->refused -= b->refused;
	n->errors -= b->errors;
	n->timeouts -= b->timeouts;
	n->limit_queue -= b->limit_queue;
}

static void revocation_since(struct sample *now, const struct sample *before)
{
	struct sources_stats *n = &now->revocation;
	const struct sources_stats *b = &before->revocation;

	n->asked -= b->asked;
	n->answered -= b->answered;
	n->failed -= b->failed;
	n->late -= b->late;
	n->waited -= b->waited;
	n->refused -= b->refused;
	for (int i = 0; i < OUTCOME_N; i++)
		n->outcome[i] -= b->outcome[i];
	for (uint32_t i = 0; i < b->n_hosts; i++) { /* hosts only come */
		n->host[i].asked -= b->host[i].asked;
		n->host[i].failed -= b->host[i].failed;
		n->host[i].late -= b->host[i].late;
	}
}

static void threads_since(struct sample *now, const struct sample *before)
{
	for (size_t i = 0; i < now->n_threads; i++)
		for (size_t k = 0; k < before->n_threads; k++)
			if (now->threads[i].tid == before->threads[k].tid) {
				now->threads[i].cpu_ns -= before->threads[k].cpu_ns;
				now->threads[i].waited_ns -= before->threads[k].waited_ns;
			}
}

void sample_since(struct sample *now, const struct sample *before)
{
	const uint64_t *b = (const uint64_t *)&before->net;
	uint64_t *n = (uint64_t *)&now->net, queued = now->net.queued_bytes;

	now->ns = now->at_ns - before->at_ns;
	now->clock_jump_s -= before->clock_jump_s;
	now->process_cpu_ns -= before->process_cpu_ns;
	now->log_dropped -= before->log_dropped;
	usage_sum_since(&now->usage, &before->usage);
	usage_sum_sort(&now->usage);
	for (size_t i = 0; i < sizeof(now->net) / sizeof(*n); i++)
		n[i] -= b[i];
	now->net.queued_bytes = queued;
	workers_since(now, before);
	pool_since(now, before);
	kernel_since(now, before);
	plugins_since(now, before);
	sockets_since(now, before);
	sas_since(now, before);
	threads_since(now, before);
	xauth_since(now, before);
	revocation_since(now, before);
	now->procs.started -= before->procs.started;
	now->procs.finished -= before->procs.finished;
	now->procs.failed -= before->procs.failed;
	now->procs.killed -= before->procs.killed;
	now->procs.refused -= before->procs.refused;
}
