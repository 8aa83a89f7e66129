/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: what limits the daemon; and what algorithms cost here. Control thread. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/placed.h"
#include "daemon/control/span.h"
#include "daemon/control/steering.h"
#include "daemon/sa/manager.h"
#include "libcore/base/names.h"
#include "libcore/conf/settings.h"
#include "libcore/crypto/registry.h"

#define COSTS_MAX 256

/* --- speeds ---------------------------------------------------------------------------------------------------------------- */

/* Outlives its request: the pool may be at it. Belongs to the control. */
struct speed_cache {
	struct work work;
	struct post post;
	struct control *c;
	struct alg_speed *s;
	size_t n;
	bool running, done;
};

void control_speeds_free(struct control *c)
{
	if (c->speeds)
		free(c->speeds->s);
	free(c->speeds);
	c->speeds = NULL;
}

static void speeds_run(struct work *w)
{
	struct speed_cache *s = container_of(w, struct speed_cache, work);

	s->s = speeds_measure(s->c->d->crypto, s->c->d->env, &s->n);
}

static void speeds_back(struct control *c, struct post *p)
{
	struct speed_cache *s = container_of(p, struct speed_cache, post);

	(void)c;
	s->running = false;
	s->done = s->s != NULL;
}

static void speeds_done(struct worker *worker, struct work *w, enum cy_err err)
{
	struct speed_cache *s = container_of(w, struct speed_cache, work);

	(void)worker;
	(void)err;
	control_post(s->c, &s->post);
}

const struct alg_speed *control_speeds(struct control *c, size_t *out_n)
{
	struct speed_cache *s = c->speeds;

	if (s && s->done) {
		*out_n = s->n;
		return s->s;
	}
	if (!s)
		s = c->speeds = calloc(1, sizeof(*s));
	if (!s || s->running)
		return NULL;
	s->c = c;
	s->running = true;
	list_init(&s->post.node);
	s->post.fn = speeds_back;
	s->work.run = speeds_run;
	s->work.done = speeds_done;
	s->work.worker = processor_worker(c->d->processor, 0);
	s->work.owner = "speed";
	s->work.prio = PRIO_LOW;
	s->work.class = POOL_CPU;
	pool_submit(c->d->pool, &s->work);
	return NULL;
}

static bool speeds_ready(void *arg)
{
	size_t n;

	return control_speeds(arg, &n) != NULL;
}

static const char *kind_name(enum cy_kind k)
{
	return k == CY_KIND_CIPHER ? "encryption" : k == CY_KIND_MAC ? "mac" : "key-exchange";
}

static const char *speed_name(const struct alg_speed *s)
{
	static const char *const macs[] = {"", "HMAC_MD5", "HMAC_SHA1", "HMAC_SHA2_256", "HMAC_SHA2_384",
	    "HMAC_SHA2_512", "AES_XCBC", "AES_CMAC"};

	if (s->kind == CY_KIND_MAC)
		return s->id < ARRAY_LEN(macs) ? macs[s->id] : "";
	return name_or_number(s->kind == CY_KIND_CIPHER ? encr_names : ke_names, s->id);
}

static void write_speeds(struct request *r, struct jw *w, struct span *span, void *arg)
{
	size_t n = 0;
	const struct alg_speed *s = control_speeds(arg, &n);

	(void)span;
	for (size_t i = 0; s && i < n; i++) {
		request_item(r, w, "speeds");
		jw_str(w, "kind", kind_name(s[i].kind));
		jw_u64(w, "number", s[i].id);
		jw_str(w, "name", speed_name(&s[i]));
		if (s[i].key_bits)
			jw_u64(w, "key_bits", s[i].key_bits);
		jw_u64(w, "ns", (uint64_t)s[i].ns);
		if (s[i].kind == CY_KIND_KE)
			jw_u64(w, "per_second", (uint64_t)((double)NS_PER_S / s[i].ns));
		else
			jw_u64(w, "mbit_per_second", (uint64_t)(1392.0 * 8000 / s[i].ns));
		request_item_end(w);
	}
}

void list_speeds(struct request *r)
{
	static const struct span_query q = {.fn = write_speeds, .ready = speeds_ready};

	(void)speeds_ready(r->control);
	request_span(r, 0, &q, r->control);
}

/* --- what CHILD_SAs use ------------------------------------------------------------------------------------------------------- */

struct costs {
	uint32_t refs; /* control thread: the request's and the walk's */
	struct control *c;
	bool walked;
	struct cpus *cpus; /* NULL: no memory */
	size_t n;
	struct conn_cost cost[COSTS_MAX];
	struct conn *conn[COSTS_MAX]; /* whose proposals these are; references */
};

static void costs_unref(void *arg)
{
	struct costs *c = arg;

	if (--c->refs)
		return;
	for (size_t i = 0; i < c->n; i++)
		conn_unref(c->conn[i]);
	if (c->cpus)
		cpus_unref(c->cpus);
	free(c);
}

struct costs_acc {
	size_t n;
	struct conn_cost cost[COSTS_MAX];
	struct conn *conn[COSTS_MAX];
};

static void costs_add(
    struct conn_cost *all, struct conn **conns, size_t *n, const struct conn_cost *one, struct conn *conn)
{
	for (size_t i = 0; i < *n; i++)
		if (all[i].encr == one->encr && all[i].key_bits == one->key_bits &&
		    all[i].integ == one->integ && strcmp(all[i].conn, one->conn) == 0) {
			all[i].child_sas += one->child_sas;
			return;
		}
	if (*n == COSTS_MAX)
		return;
	all[*n] = *one;
	conns[(*n)++] = conn_ref(conn);
}

static void costs_visit(void *acc, struct ike_sa *sa)
{
	struct costs_acc *a = acc;
	struct list *n;

	list_foreach (n, &sa->children) {
		const struct child_sa *c = list_entry(n, struct child_sa, node);
		struct conn_cost one = {.encr = c->suite.encr,
		    .key_bits = c->suite.key_bits,
		    .integ = c->suite.integ,
		    .child_sas = 1,
		    .offers = c->conn ? &c->conn->child : NULL};

		if (!c->conn || !c->in_installed)
			continue;
		snprintf(one.conn, sizeof(one.conn), "%.95s", c->conn->name);
		costs_add(a->cost, a->conn, &a->n, &one, c->conn);
	}
}

static void costs_fini(void *acc)
{
	struct costs_acc *a = acc;

	for (size_t i = 0; i < a->n; i++)
		conn_unref(a->conn[i]);
}

static void costs_done(struct control *c, void *arg, void *const *acc, uint32_t n)
{
	struct costs *costs = arg;

	(void)c;
	for (uint32_t i = 0; i < n; i++) {
		struct costs_acc *a = acc[i];

		for (size_t k = 0; k < a->n; k++)
			costs_add(costs->cost, costs->conn, &costs->n, &a->cost[k], a->conn[k]);
	}
	costs->walked = true;
	costs_unref(costs);
}

static struct costs *costs_begin(struct control *c, uint64_t ns)
{
	static const struct walk_query q = {.acc_size = sizeof(struct costs_acc),
	    .visit = costs_visit,
	    .done = costs_done,
	    .acc_fini = costs_fini};
	struct costs *costs = calloc(1, sizeof(*costs));

	if (!costs)
		return NULL;
	costs->refs = 2;
	costs->c = c;
	if (walk_sas(c, &q, costs)) {
		free(costs);
		return NULL;
	}
	costs->cpus = cpus_begin(c, ns);
	return costs;
}

/* --- the doctor ------------------------------------------------------------------------------------------------------------------ */

struct findings_out {
	struct request *r;
	struct jw w;
};

static void on_finding(void *user, const struct finding *f)
{
	struct findings_out *wr = user;

	request_item(wr->r, &wr->w, "findings");
	jw_str(&wr->w, "id", f->id);
	jw_str(&wr->w, "level", finding_levels[f->level]);
	jw_num(&wr->w, "value", f->value);
	jw_str(&wr->w, "unit", f->unit);
	jw_str(&wr->w, "text", f->text);
	jw_str(&wr->w, "advice", f->advice);
	request_item_end(&wr->w);
}

static void write_findings(struct request *r, struct jw *w, struct span *s, void *arg)
{
	struct daemon *d = r->control->d;
	struct costs *costs = arg;
	struct findings_out wr = {.r = r};
	struct doctor_input in = {.now = s->now,
	    .total = s->total,
	    .machine = s->machine,
	    .inbox_max = d->tune.inbox_max,
	    .rcvbuf = d->tune.socket_rcvbuf,
	    .cookie_threshold = d->tune.cookie_threshold,
	    .half_open_limit = d->tune.half_open_limit,
	    .io_quota = (uint32_t)settings_int(d->settings, "io_quota"),
	    .costs = costs->cost,
	    .n_costs = costs->n,
	    .steer = steering_state(d),
	    .kernel_userspace = knl_features(d->knl) & CY_KERNEL_WANTS_ESP};
	struct busy_sa *sas = NULL;
	size_t limits;

	if (costs->cpus) {
		in.n_sas = cpus_busy_sas(costs->cpus, &sas);
		in.sas = sas;
		cpus_steered(costs->cpus, &in.steer_sent, &in.steer_lost);
	}
	in.speeds = control_speeds(r->control, &in.n_speeds);
	limits = doctor_run(&in, on_finding, &wr);
	free(sas);
	request_begin(r, w, "data");
	jw_obj(w, "data");
	jw_u64(w, "interval_ms", s->now->ns / NS_PER_MS);
	jw_u64(w, "limits", limits);
	jw_bool(w, "sas_seen", costs->walked);
	jw_bool(w, "speeds_known", in.speeds != NULL);
	jw_obj_end(w);
	request_line_end(w);
	jw_add(w, wr.w.p, wr.w.n);
	w->failed |= wr.w.failed;
	jw_fini(&wr.w);
}

/* Without these the other rules are still worth something: they are waited for, but not for ever. */
static bool doctor_ready(void *arg)
{
	struct costs *costs = arg;
	size_t n;

	return costs->walked && (!costs->cpus || cpus_ready(costs->cpus)) && control_speeds(costs->c, &n);
}

void cmd_doctor(struct request *r)
{
	static const struct span_query q = {.total = true,
	    .machine = true,
	    .fn = write_findings,
	    .ready = doctor_ready,
	    .arg_free = costs_unref};
	struct costs *costs;
	uint64_t ns;
	size_t n;

	if (!request_seconds(r, 2, &ns))
		return;
	ns = ns ? ns : NS_PER_MS;
	costs = costs_begin(r->control, ns);
	if (!costs) {
		request_fail(r, "limit", "out of memory");
		return;
	}
	(void)control_speeds(r->control, &n);
	request_span(r, ns, &q, costs);
}
