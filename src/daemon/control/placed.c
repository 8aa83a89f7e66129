/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control/placed.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/span.h"
#include "daemon/control/steering.h"
#include "daemon/kernel/knl.h"
#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

#define SAS_MAX 20000 /* CHILD_SAs of one worker that are looked at */
#define AT_ONCE 64    /* of which the data plane is asked */

void cpus_unref(void *arg)
{
	struct cpus *c = arg;

	if (--c->refs)
		return;
	free(c->all.p);
	free(c);
}

/* --- which SAs there are: on the workers ----------------------------------------------------------------------------------- */

static struct placed *acc_add(struct placed_list *a)
{
	if (a->n == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 64;
		struct placed *p = a->n < SAS_MAX ? realloc(a->p, cap * sizeof(*p)) : NULL;

		if (!p) {
			a->left_out++;
			return NULL;
		}
		a->p = p;
		a->cap = cap;
	}
	return &a->p[a->n++];
}

static void visit(void *acc, struct ike_sa *sa)
{
	struct list *n;
	char text[ADDR_STR_MAX];

	list_foreach (n, &sa->children) {
		const struct child_sa *c = list_entry(n, struct child_sa, node);

		for (int in = 0; in < 2; in++) {
			struct placed *p = (in ? c->in_installed : c->out_installed) ? acc_add(acc) : NULL;

			if (!p)
				continue;
			*p = (struct placed){.id = child_kernel_id(c, in),
			    .child = c->id,
			    .encap = c->encap,
			    .only_cpu = in ? -1 : c->cpu,
			    .at = {.lane = -1, .cpu = -1}};
			snprintf(p->conn, sizeof(p->conn), "%.47s", c->conn ? c->conn->name : "");
			snprintf(p->user, sizeof(p->user), "%.47s", sa->user ? sa->user : "");
			snprintf(p->peer, sizeof(p->peer), "%.47s", addr_str(&sa->remote, text));
		}
	}
}

static void acc_fini(void *acc)
{
	free(((struct placed_list *)acc)->p);
}

/* --- what they carry ------------------------------------------------------------------------------------------------------------ */

/* Counters of some SAs, asked of the data plane. */
struct reading {
	struct post post;
	struct cpus *cpus;
	struct knl_req *q;
	size_t next; /* the first one that was not looked at */
	uint32_t n, sa[AT_ONCE];
};

static void count(struct placed *p, bool again, uint64_t packets, uint64_t bytes)
{
	if (!again) {
		p->had_packets = packets;
		p->had_bytes = bytes;
		p->times = 1;
	} else if (p->times == 1) {
		p->packets = packets > p->had_packets ? packets - p->had_packets : 0;
		p->bytes = bytes > p->had_bytes ? bytes - p->had_bytes : 0;
		p->times = 2;
	}
}

/* Whoever knows where an SA is counts it, too. It may wait for a lock, so not on a worker. */
static void place(struct cpus *c, bool again)
{
	for (size_t i = 0; i < c->all.n; i++) {
		struct placed *p = &c->all.p[i];
		bool told = carried_place(c->c->d, &p->id, p->only_cpu, &p->at);

		if (told && (!again || p->told))
			count(p, again, p->at.packets, p->at.bytes);
		if (!again)
			p->told = told;
	}
}

static void read_done(struct control *c, struct post *post);

static void reading_free(struct reading *r)
{
	knl_req_free(r->q);
	free(r);
}

static void read_back(struct worker *w, struct knl_req *q)
{
	struct reading *r = q->user;

	(void)w;
	control_post(r->cpus->c, &r->post);
}

/* The next ones of those that nobody counted; false: there are none, or no memory. */
static bool read_from(struct cpus *c, size_t at)
{
	struct reading *r = calloc(1, sizeof(*r));

	if (r)
		r->q = knl_req_new(AT_ONCE);
	if (!r || !r->q) {
		free(r);
		return false;
	}
	for (; at < c->all.n && r->n < AT_ONCE; at++)
		if (!c->all.p[at].told) {
			r->sa[r->n++] = (uint32_t)at;
			knl_req_add(r->q, KNL_SA_QUERY)->u.id = c->all.p[at].id;
		}
	if (!r->n) {
		reading_free(r);
		return false;
	}
	r->cpus = c;
	r->next = at;
	list_init(&r->post.node);
	r->post.fn = read_done;
	r->q->worker = processor_worker(c->c->d->processor, 0);
	r->q->done = read_back;
	r->q->user = r;
	knl_submit(c->c->d->knl, r->q);
	return true;
}

static void all_read(struct cpus *c)
{
	if (c->again)
		c->done = true;
	else
		c->begun = true;
	cpus_unref(c);
}

static void read_done(struct control *control, struct post *post)
{
	struct reading *r = container_of(post, struct reading, post);
	struct cpus *c = r->cpus;
	size_t next = r->next;

	(void)control;
	for (uint32_t i = 0; i < r->n; i++) {
		const struct knl_step *s = &r->q->step[i];

		if (s->done && s->err == CY_OK)
			count(&c->all.p[r->sa[i]], c->again, s->stats.packets, s->stats.bytes);
	}
	reading_free(r);
	/* with one reference left nobody waits for it any more */
	if (c->refs == 1 || !read_from(c, next))
		all_read(c);
}

size_t cpus_lanes(struct control *c, struct cy_kernel_lane *out)
{
	void *k;
	const struct cy_kernel_ops *ops = knl_ops(c->d->knl, &k);

	return k && CY_HAS(ops, lanes) && ops->lanes ? ops->lanes(k, out, CPUS_LANES) : 0;
}

static void steered(const struct daemon *d, uint64_t *out_sent, uint64_t *out_arrived)
{
	struct cy_steer_cpu *cpus = calloc(STEERING_CPUS, sizeof(*cpus));
	size_t n = cpus ? steering_cpus(d, cpus, STEERING_CPUS) : 0;

	*out_sent = *out_arrived = 0;
	for (size_t i = 0; i < n; i++) {
		*out_sent += cpus[i].sent;
		*out_arrived += cpus[i].arrived;
	}
	free(cpus);
}

static void walk_done(struct control *c, void *arg, void *const *acc, uint32_t n)
{
	struct cpus *cpus = arg;

	for (uint32_t i = 0; i < n; i++) {
		struct placed_list *a = acc[i];

		for (size_t k = 0; k < a->n; k++) {
			struct placed *p = acc_add(&cpus->all);

			if (p)
				*p = a->p[k];
		}
		cpus->all.left_out += a->left_out;
	}
	cpus->walked = true;
	cpus->n_lanes = cpus_lanes(c, cpus->lanes);
	cpus->begun_ns = env_now(c->d->env);
	steered(c->d, &cpus->sent, &cpus->arrived);
	place(cpus, false);
	if (cpus->refs == 1 || !read_from(cpus, 0))
		all_read(cpus);
}

bool cpus_ready(void *arg)
{
	struct cpus *c = arg;

	if (!c->begun || env_now(c->c->d->env) < c->begun_ns + c->ns)
		return false;
	if (!c->again) {
		c->again = true;
		c->again_ns = env_now(c->c->d->env);
		place(c, true);
		c->refs++;
		if (!read_from(c, 0))
			all_read(c);
	}
	return c->done;
}

struct cpus *cpus_begin(struct control *control, uint64_t ns)
{
	static const struct walk_query walk = {
	    .acc_size = sizeof(struct placed_list), .visit = visit, .done = walk_done, .acc_fini = acc_fini};
	struct cpus *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->refs = 2;
	c->c = control;
	c->ns = ns;
	if (walk_sas(control, &walk, c) == CY_OK)
		return c;
	free(c);
	return NULL;
}

/* --- for the doctor ------------------------------------------------------------------------------------------------------------ */

size_t cpus_busy_sas(struct cpus *c, struct busy_sa **out)
{
	struct busy_sa *sas = c->walked && c->all.n ? calloc(c->all.n, sizeof(*sas)) : NULL;
	char name[IF_NAMESIZE] = "";
	uint32_t named = 0;
	size_t n = 0;

	*out = sas;
	if (!sas)
		return 0;
	for (size_t i = 0; i < c->all.n; i++) {
		const struct placed *p = &c->all.p[i];

		if (p->id.dir != CY_DIR_IN)
			continue;
		sas[n].cpu = p->told ? p->at.cpu : -1;
		sas[n].encap = p->encap;
		snprintf(sas[n].peer, sizeof(sas[n].peer), "%s", p->peer);
		sas[n].packets = p->packets;
		snprintf(sas[n].who, sizeof(sas[n].who), "%s%s", *p->user ? "user " : "",
		    *p->user ? p->user : p->peer);
		if (p->at.rx_if && p->at.rx_if != named) {
			named = p->at.rx_if;
			if (!if_indextoname(named, name))
				name[0] = '\0';
		}
		snprintf(sas[n].ifname, sizeof(sas[n].ifname), "%s", p->at.rx_if ? name : "");
		sas[n].queue = p->at.rx_queue;
		n++;
	}
	return n;
}

void cpus_steered(const struct cpus *c, uint64_t *out_sent, uint64_t *out_lost)
{
	uint64_t sent = 0, arrived = 0;

	if (c->walked)
		steered(c->c->d, &sent, &arrived);
	sent -= sent >= c->sent ? c->sent : sent;
	arrived -= arrived >= c->arrived ? c->arrived : arrived;
	*out_sent = sent;
	*out_lost = sent > arrived ? sent - arrived : 0;
}
