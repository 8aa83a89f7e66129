/* SPDX-License-Identifier: Apache-2.0 */
/* usage: where the time goes, since the start or over some seconds. Control thread. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/span.h"
#include "daemon/sa/about.h"
#include "libcore/crypto/proposal.h"
#include "libcore/crypto/registry.h"

#define TOP_DEFAULT 20

static void write_cell(struct jw *w, const struct usage_cell *c)
{
	jw_u64(w, "count", c->n);
	jw_u64(w, "cpu_us", c->ns / NS_PER_US);
}

static void write_workers(struct jw *w, const struct sample *s)
{
	jw_arr(w, "workers");
	for (uint32_t i = 0; i < s->n_workers; i++) {
		jw_obj(w, NULL);
		jw_u64(w, "worker", i);
		jw_u64(w, "cpu_us", s->workers[i].cpu_ns / NS_PER_US);
		jw_u64(w, "busy_us", s->workers[i].busy_ns / NS_PER_US);
		jw_u64(w, "wakeups", s->workers[i].wakeups);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void write_threads(struct jw *w, const struct sample *s)
{
	jw_arr(w, "threads");
	for (size_t i = 0; i < s->n_threads; i++) {
		jw_obj(w, NULL);
		jw_str(w, "name", s->threads[i].name);
		jw_u64(w, "tid", s->threads[i].tid);
		jw_u64(w, "cpu_us", s->threads[i].cpu_ns / NS_PER_US);
		jw_u64(w, "waited_us", s->threads[i].waited_ns / NS_PER_US);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void write_jobs(struct jw *w, const struct usage_sum *u)
{
	jw_arr(w, "jobs");
	for (int k = 0; k < JOB_KIND_N; k++)
		for (int p = 0; p < PRIO_N; p++) {
			if (!u->kind[k][p].n)
				continue;
			jw_obj(w, NULL);
			jw_str(w, "kind", job_kind_names[k]);
			jw_str(w, "priority", prio_names[p]);
			write_cell(w, &u->kind[k][p]);
			jw_obj_end(w);
		}
	jw_arr_end(w);
}

static void write_exchanges(struct jw *w, const struct usage_sum *u)
{
	jw_arr(w, "exchanges");
	for (int i = 0; i < USAGE_CLASSES; i++) {
		const char *e = sa_class_exchange((uint8_t)i), *st = sa_class_state((uint8_t)i);

		if (!u->class[i].n)
			continue;
		jw_obj(w, NULL);
		jw_str(w, "exchange", e ? e : "");
		jw_str(w, "state", st ? st : "");
		write_cell(w, &u->class[i]);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

/* --- crypto ----------------------------------------------------------------------------------------------------------------- */

struct provider {
	enum cy_kind kind;
	uint16_t id;
	const char *plugin;
};

static void on_alg(void *user, const struct crypto_listing *l)
{
	struct provider *p = user;

	if (l->kind == p->kind && l->id == p->id && l->chosen && !p->plugin)
		p->plugin = l->plugin;
}

static const char *alg_name(enum usage_op op, uint16_t alg, char out[32])
{
	static const char *const schemes[] = {
	    "", "RSA-PKCS1", "RSA-PSS", "ECDSA", "ECDSA-raw", "EdDSA", "RSA-raw"};
	const struct name *names = NULL;

	switch (op) {
	case USAGE_ENCRYPT:
	case USAGE_DECRYPT:
		names = encr_names;
		break;
	case USAGE_MAC:
		names = integ_names;
		break;
	case USAGE_PRF:
		names = prf_names;
		break;
	case USAGE_KEYGEN:
	case USAGE_DERIVE:
		names = ke_names;
		break;
	case USAGE_SIGN:
	case USAGE_VERIFY:
		return alg < ARRAY_LEN(schemes) ? schemes[alg] : "";
	default:
		snprintf(out, 32, "%u certificates", alg);
		return out;
	}
	return name_or_number(names, alg);
}

/* The plugin at work; a MAC or a PRF is found by the transform's own table. */
static const char *alg_plugin(const struct crypto *c, enum usage_op op, uint16_t alg)
{
	struct provider p = {.id = alg};
	struct integ_info integ;
	struct prf_info prf;

	switch (op) {
	case USAGE_ENCRYPT:
	case USAGE_DECRYPT:
		p.kind = CY_KIND_CIPHER;
		break;
	case USAGE_MAC:
		p.kind = CY_KIND_MAC;
		p.id = crypto_integ(c, alg, &integ) ? integ.mac->id : 0;
		break;
	case USAGE_PRF:
		p.kind = CY_KIND_MAC;
		p.id = crypto_prf(c, alg, &prf) ? prf.mac->id : 0;
		break;
	case USAGE_KEYGEN:
	case USAGE_DERIVE:
		p.kind = CY_KIND_KE;
		break;
	default:
		p.kind = CY_KIND_PKI;
		p.id = 0;
	}
	crypto_list(c, on_alg, &p);
	return p.plugin ? p.plugin : "";
}

void write_op(struct jw *w, const struct crypto *c, const struct slow_step *s)
{
	enum usage_op op = usage_key_op(s->op_key);
	char text[32];

	jw_obj(w, "crypto");
	jw_str(w, "operation", op < USAGE_OP_N ? usage_op_names[op] : "");
	jw_str(w, "algorithm", alg_name(op, usage_key_alg(s->op_key), text));
	jw_str(w, "plugin", alg_plugin(c, op, usage_key_alg(s->op_key)));
	jw_u64(w, "us", s->op_ns / NS_PER_US);
	jw_obj_end(w);
}

static void write_crypto(struct jw *w, const struct usage_sum *u, const struct crypto *c)
{
	char text[32];

	jw_arr(w, "crypto");
	for (int i = 0; i < USAGE_OPS; i++) {
		enum usage_op op;

		if (!u->op[i].key || !u->op[i].c.n)
			continue;
		op = usage_key_op(u->op[i].key);
		jw_obj(w, NULL);
		jw_str(w, "operation", op < USAGE_OP_N ? usage_op_names[op] : "");
		jw_str(w, "algorithm", alg_name(op, usage_key_alg(u->op[i].key), text));
		jw_str(w, "plugin", alg_plugin(c, op, usage_key_alg(u->op[i].key)));
		jw_u64(w, "count", u->op[i].c.n);
		jw_u64(w, "us", usage_op_ns(&u->op[i]) / NS_PER_US);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

/* --- elsewhere ---------------------------------------------------------------------------------------------------------------- */

static void write_kernel(struct jw *w, const struct knl_stats *k)
{
	jw_arr(w, "kernel");
	for (int i = 0; i < KNL_OP_N; i++) {
		if (!k->op[i].n)
			continue;
		jw_obj(w, NULL);
		jw_str(w, "operation", knl_op_names[i]);
		jw_u64(w, "count", k->op[i].n);
		jw_u64(w, "failed", k->op[i].failed);
		jw_u64(w, "us", k->op[i].ns / NS_PER_US);
		jw_u64(w, "max_us", k->op[i].max_ns / NS_PER_US);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void write_plugins(struct jw *w, const struct sample *s)
{
	jw_arr(w, "plugins");
	for (size_t i = 0; i < s->n_plugins; i++)
		for (int h = 0; h < PLUGIN_HOOK_N; h++) {
			if (!s->plugins[i].hook[h].n)
				continue;
			jw_obj(w, NULL);
			jw_str(w, "plugin", s->plugins[i].name);
			jw_str(w, "hook", plugin_hook_names[h]);
			jw_u64(w, "count", s->plugins[i].hook[h].n);
			jw_u64(w, "cpu_us", s->plugins[i].hook[h].cpu_ns / NS_PER_US);
			jw_u64(w, "us", s->plugins[i].hook[h].ns / NS_PER_US);
			jw_obj_end(w);
		}
	jw_arr_end(w);
}

static void write_pool(struct jw *w, const struct sample *s)
{
	jw_arr(w, "pool");
	for (size_t i = 0; i < s->n_pool; i++) {
		if (!s->pool[i].runs)
			continue;
		jw_obj(w, NULL);
		jw_str(w, "owner", s->pool[i].owner);
		jw_u64(w, "count", s->pool[i].runs);
		jw_u64(w, "cpu_us", s->pool[i].cpu_ns / NS_PER_US);
		jw_u64(w, "us", s->pool[i].ns / NS_PER_US);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void write_entries(struct jw *w, const char *key, const struct usage_entry *e, size_t n, size_t top)
{
	jw_arr(w, key);
	for (size_t i = 0; i < n && i < top; i++) {
		jw_obj(w, NULL);
		jw_str(w, "name", e[i].label);
		jw_u64(w, "count", e[i].n);
		jw_u64(w, "cpu_us", e[i].ns / NS_PER_US);
		jw_u64(w, "over_us", e[i].over_ns / NS_PER_US);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void write_wait(struct jw *w, const char *queue, const char *owner, const struct hist *h)
{
	if (!h->n)
		return;
	jw_obj(w, NULL);
	jw_str(w, "queue", queue);
	jw_str(w, "owner", owner);
	jw_u64(w, "count", h->n);
	jw_u64(w, "mean_us", h->sum / h->n / NS_PER_US);
	jw_u64(w, "p50_us", hist_quantile(h, 0.5) / NS_PER_US);
	jw_u64(w, "p99_us", hist_quantile(h, 0.99) / NS_PER_US);
	jw_u64(w, "max_us", h->max / NS_PER_US);
	jw_obj_end(w);
}

static void write_waits(struct jw *w, const struct sample *s)
{
	jw_arr(w, "waits");
	for (int q = 0; q < PRIO_N; q++)
		write_wait(w, "worker", prio_names[q], &s->wait[q]);
	write_wait(w, "inbox", "busy IKE_SAs", &s->usage.inbox_wait);
	write_wait(w, "kernel", s->kernel.name ? s->kernel.name : "", &s->kernel.wait);
	for (size_t i = 0; i < s->n_pool; i++)
		write_wait(w, "pool", s->pool[i].owner, &s->pool[i].wait);
	jw_arr_end(w);
}

static void write_usage(struct request *r, struct jw *w, struct span *span, void *arg)
{
	struct sample *s = span->now;
	int64_t top = request_int(r, "top", TOP_DEFAULT);

	(void)arg;
	top = top < 0 ? 0 : top > 1000 ? 1000 : top;
	request_begin(r, w, "data");
	jw_obj(w, "data");
	jw_u64(w, "interval_ms", s->ns / NS_PER_MS);
	jw_u64(w, "cpus", s->cpus);
	jw_u64(w, "process_cpu_us", s->process_cpu_ns / NS_PER_US);
	write_workers(w, s);
	write_jobs(w, &s->usage);
	jw_u64(w, "corrected_steps", s->usage.long_steps.n);
	jw_u64(w, "corrected_us", s->usage.long_steps.ns / NS_PER_US);
	write_exchanges(w, &s->usage);
	write_crypto(w, &s->usage, r->control->d->crypto);
	write_entries(w, "connections", s->usage.conns, s->usage.n_conns, (size_t)top);
	write_entries(w, "peers", s->usage.peers, s->usage.n_peers, (size_t)top);
	write_kernel(w, &s->kernel);
	write_plugins(w, s);
	write_pool(w, s);
	write_threads(w, s);
	write_waits(w, s);
	jw_obj_end(w);
	request_line_end(w);
}

void cmd_usage(struct request *r)
{
	static const struct span_query q = {.fn = write_usage};
	uint64_t ns;

	if (request_seconds(r, 0, &ns))
		request_span(r, ns, &q, NULL);
}
