/* SPDX-License-Identifier: Apache-2.0 */
/* A CHILD_SA in the data plane: the requests that install, move and remove its SAs and policies. */
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "daemon/sa/percpu.h"
#include "daemon/sa/totals.h"
#include "libcore/base/addr.h"

/* Of the dynamic ones (RFC 6335, 6). */
#define PORT_FIRST 49152
#define PORT_COUNT 16384

/*
 * Where ESP in UDP leaves from. With per-cpu-sas=encap each CPU has a port, the same after a rekeying, so that what chooses the peer's
 * receive queue tells them apart. Nobody listens there: the peer goes on sending to the port of IKE.
 */
static struct cy_addr out_src(const struct child_sa *c, const struct cy_addr *local)
{
	struct cy_addr src = *local;

	if (c->encap && c->cpu >= 0 && c->conn->per_cpu == PCPU_ENCAP)
		src.port = (uint16_t)(PORT_FIRST + (c->reqid * 67 + (uint32_t)c->cpu) % PORT_COUNT);
	return src;
}

static struct cy_kernel_sa_id sa_id(
    const struct child_sa *c, bool in, const struct cy_addr *local, const struct cy_addr *remote)
{
	return (struct cy_kernel_sa_id){.spi = in ? c->spi_in : c->spi_out,
	    .src = in ? *remote : out_src(c, local),
	    .dst = in ? *local : *remote,
	    .proto = CY_PROTO_ESP,
	    .dir = in ? CY_DIR_IN : CY_DIR_OUT,
	    .mark = in ? c->mark_in : c->mark_out,
	    .if_id = in ? c->if_id_in : c->if_id_out};
}

/* What is installed is where it is, also if it could not follow when the IKE_SA moved. */
static bool is_installed(const struct child_sa *c)
{
	return c->in_installed || c->out_installed || c->policies_installed;
}

static const struct cy_addr *local_of(const struct child_sa *c)
{
	return is_installed(c) ? &c->at_local : &c->sa->local;
}

static const struct cy_addr *remote_of(const struct child_sa *c)
{
	return is_installed(c) ? &c->at_remote : &c->sa->remote;
}

struct cy_kernel_sa_id child_kernel_id(const struct child_sa *c, bool in)
{
	return sa_id(c, in, local_of(c), remote_of(c));
}

static bool add_sa(struct knl_req *r, const struct child_sa *c, bool in)
{
	struct knl_step *s = knl_req_add(r, KNL_SA_ADD);
	const struct conn *conn = c->conn;
	const struct secret *encr = in ? &c->keys.encr_in : &c->keys.encr_out;
	const struct secret *integ = in ? &c->keys.integ_in : &c->keys.integ_out;
	struct cy_kernel_sa_id id = child_kernel_id(c, in);
	struct cy_kernel_sa *sa = &s->u.add.sa;

	*sa = (struct cy_kernel_sa){.size = sizeof(*sa),
	    .spi = id.spi,
	    .src = id.src,
	    .dst = id.dst,
	    .proto = id.proto,
	    .mode = c->mode,
	    .dir = id.dir,
	    .encap = c->encap,
	    .reqid = c->reqid,
	    .encr = c->suite.encr,
	    .integ = c->suite.integ,
	    .esn = c->suite.esn != 0,
	    .copy_dscp = conn->copy_dscp,
	    .no_ecn = conn->no_ecn,
	    .no_pmtu_disc = conn->no_pmtu_disc,
	    .tfc_pad = conn->tfc,
	    .mark = id.mark,
	    .if_id = id.if_id,
	    .cpu = in ? -1 : c->cpu, /* the peer chooses which CPU of ours it comes to */
	    .cookie = c->id};
	sa->replay_window = !in                 ? 0
	    : conn->replay_window == UINT32_MAX ? c->shard->d->tune.replay_window
	                                        : conn->replay_window;
	if (conn->sha256_96 && c->suite.integ == CY_INTEG_HMAC_SHA2_256_128)
		sa->integ = CY_INTEG_HMAC_SHA2_256_96;
	memcpy(s->u.add.encr_key, encr->p, encr->n);
	sa->encr_key.n = encr->n;
	if (integ->n)
		memcpy(s->u.add.integ_key, integ->p, integ->n);
	sa->integ_key.n = integ->n;
	sa->life.hard_bytes = conn->life_bytes;
	sa->life.soft_bytes =
	    conn->life_bytes > conn->margin_bytes ? conn->life_bytes - conn->margin_bytes : 0;
	sa->life.hard_packets = conn->life_packets;
	sa->life.soft_packets =
	    conn->life_packets > conn->margin_packets ? conn->life_packets - conn->margin_packets : 0;
	s->u.add.ts = malloc((c->n_ts_local + c->n_ts_remote) * sizeof(*s->u.add.ts));
	if (!s->u.add.ts)
		return false;
	memcpy(s->u.add.ts, c->ts_local, c->n_ts_local * sizeof(*c->ts_local));
	memcpy(s->u.add.ts + c->n_ts_local, c->ts_remote, c->n_ts_remote * sizeof(*c->ts_remote));
	sa->n_ts_local = c->n_ts_local;
	sa->n_ts_remote = c->n_ts_remote;
	return true;
}

/* Specific before general, CHILD_SAs before traps; the kernel takes the smallest number. */
uint32_t policy_priority(const struct conn *conn, const struct cy_ts *a, const struct cy_ts *b, bool trap)
{
	uint32_t p = 200000;
	bool exact;

	if (conn->priority)
		return conn->priority + (trap ? 1 : 0);
	p -= 256u * ts_prefix(a, &exact);
	p -= 256u * ts_prefix(b, &exact);
	if (a->proto || b->proto)
		p -= 64;
	if (a->port_lo != 0 || a->port_hi != 65535)
		p -= 32;
	if (b->port_lo != 0 || b->port_hi != 65535)
		p -= 32;
	return trap ? p + 200000 : p;
}

static void add_policy(struct knl_req *r, const struct child_sa *c, bool del, enum cy_dir dir,
    const struct cy_ts *l, const struct cy_ts *rem, const struct cy_addr *local, const struct cy_addr *remote)
{
	struct knl_step *s = knl_req_add(r, del ? KNL_POLICY_DEL : KNL_POLICY_ADD);
	bool out = dir == CY_DIR_OUT;
	const struct conn *conn = c->conn;

	s->u.policy.p = (struct cy_kernel_policy){.size = sizeof(s->u.policy.p),
	    .dir = dir,
	    .action = CY_POLICY_PROTECT,
	    .mode = c->mode,
	    .proto = CY_PROTO_ESP,
	    .has_tmpl = 1,
	    .src = out ? *l : *rem,
	    .dst = out ? *rem : *l,
	    .priority = policy_priority(conn, l, rem, false),
	    .reqid = c->reqid,
	    .tmpl_src = out ? *local : *remote,
	    .tmpl_dst = out ? *remote : *local,
	    .mark = out ? c->mark_out : c->mark_in,
	    .if_id = out ? c->if_id_out : c->if_id_in,
	    .cpu_acquire = out && c->per_cpu && !c->group_full,
	    /* an acquire of a CPU finds its CHILD_SA by it */
	    .cookie = c->per_cpu ? c->spi_in : c->id,
	    .want_route = out && c->mode == CY_MODE_TUNNEL && c->shard->d->tune.install_routes &&
	        !conn->device.kind && !c->if_id_out}; /* else a device's routes lead to it */
	s->u.policy.p.tmpl_src.port = s->u.policy.p.tmpl_dst.port = 0;
	/* The inner source address: a virtual one of ours inside the local selector, else what the connection says. */
	for (uint32_t i = 0; c->sa && i < c->sa->n_vips; i++)
		if (ts_has_addr(l, &c->sa->vips[i]))
			s->u.policy.route_src = c->sa->vips[i];
	if (!s->u.policy.route_src.family && conn->local.source_ip.family)
		s->u.policy.route_src = conn->local.source_ip;
}

static size_t count_pairs(const struct child_sa *c)
{
	size_t n = 0;

	for (uint32_t i = 0; i < c->n_ts_local; i++)
		for (uint32_t j = 0; j < c->n_ts_remote; j++)
			n += c->ts_local[i].family_ip6 == c->ts_remote[j].family_ip6;
	return n;
}

static void add_pair(struct knl_req *r, const struct child_sa *c, bool del, const struct cy_ts *l,
    const struct cy_ts *m, const struct cy_addr *local, const struct cy_addr *remote)
{
	add_policy(r, c, del, CY_DIR_IN, l, m, local, remote);
	if (c->mode == CY_MODE_TUNNEL)
		add_policy(r, c, del, CY_DIR_FWD, l, m, local, remote);
	add_policy(r, c, del, CY_DIR_OUT, l, m, local, remote);
}

/* The next pair of selectors that fit together, from *pos on, which begins with 0. */
static bool next_pair(
    const struct child_sa *c, size_t *pos, const struct cy_ts **out_local, const struct cy_ts **out_remote)
{
	while (*pos < (size_t)c->n_ts_local * c->n_ts_remote) {
		const struct cy_ts *l = &c->ts_local[*pos / c->n_ts_remote],
		                   *m = &c->ts_remote[*pos % c->n_ts_remote];

		(*pos)++;
		if (l->family_ip6 != m->family_ip6)
			continue;
		*out_local = l;
		*out_remote = m;
		return true;
	}
	return false;
}

static void add_policies(struct knl_req *r, const struct child_sa *c)
{
	const struct cy_ts *l, *m;

	for (size_t pos = 0; next_pair(c, &pos, &l, &m);)
		add_pair(r, c, false, l, m, local_of(c), remote_of(c));
}

struct knl_req *child_policies_req(const struct child_sa *c)
{
	struct knl_req *r = knl_req_new((uint32_t)(3 * count_pairs(c)));

	if (!r)
		return NULL;
	add_policies(r, c);
	for (uint32_t i = 0; i < r->n; i++)
		r->step[i].op = KNL_POLICY_CPU;
	return r;
}

/* The device that its packets go through is there as long as the CHILD_SA has policies. */
static void add_device(struct knl_req *r, const struct child_sa *c, bool use)
{
	struct knl_step *s;

	if (!c->conn->device.kind)
		return;
	s = knl_req_add(r, use ? KNL_DEVICE_USE : KNL_DEVICE_UNUSE);
	s->u.device.conn = conn_ref(c->conn);
}

struct knl_req *child_install_req(struct child_sa *c, unsigned parts)
{
	struct knl_req *r = knl_req_new((uint32_t)(3 + 3 * count_pairs(c)));

	if (!r)
		return NULL;
	reqid_hold(c);
	c->at_local = *local_of(c);
	c->at_remote = *remote_of(c);
	r->undo = true;
	if (parts & CHILD_PART_POLICIES)
		add_device(r, c, true);
	/* Able to receive before anything can be sent to us; policies last, so that no packet meets one without an SA. */
	if ((parts & CHILD_PART_IN && !add_sa(r, c, true)) ||
	    (parts & CHILD_PART_OUT && !add_sa(r, c, false))) {
		knl_req_free(r);
		return NULL;
	}
	if (parts & CHILD_PART_POLICIES && c->conn->install_policy)
		add_policies(r, c);
	return r;
}

/* --- what must be done also when memory is short ---------------------------------------------------------------- */

#define OWED_NS       (50 * NS_PER_MS) /* until it is tried again */
#define MOVE_AGAIN_NS NS_PER_S

/* One request, or several after each other out of the reserve, which has small ones. */
struct pieces {
	struct knl *k;
	struct knl_req *r; /* the last of them */
};

static bool room(struct pieces *p, uint32_t steps)
{
	if (p->r && p->r->cap - p->r->n >= steps)
		return true;
	if (p->r)
		knl_submit(p->k, p->r);
	p->r = knl_req_needed(p->k, KNL_RESERVE_STEPS);
	return p->r != NULL;
}

/* --- removal --------------------------------------------------------------------------------------------------- */

/*
 * What is needed after the CHILD_SA, and perhaps its IKE_SA, is gone, when its last counters are there: for the totals and, when
 * there is a copy, for the CHILD_DOWN event.
 */
struct farewell {
	struct daemon *d;
	struct event_copy *copy;
	uint32_t in, out;  /* step numbers + 1, 0 none */
	struct conn *conn; /* a reference */
	char *user;
	struct totals_counts counted; /* in the totals already */
};

static void farewell_free(struct farewell *f)
{
	if (!f)
		return;
	ike_event_copy_free(f->copy);
	conn_unref(f->conn);
	free(f->user);
	free(f);
}

/*
 * Is its end the end of its line, so that CHILD_DOWN is published? When two replaced one at the same time, the other one may be left, or
 * the one that they replaced.
 */
static bool line_goes_down(struct child_sa *c, const char *why)
{
	struct list *n;
	bool replaced = false;

	list_foreach (n, &c->line) {
		const struct child_sa *x = list_entry(n, struct child_sa, line);

		if (x->up_announced && x->state != CHILD_REKEYED)
			return false;
		replaced |= x->up_announced;
	}
	if (replaced && (c->state == CHILD_REKEYED || !why))
		return false;
	list_foreach (n, &c->line)
		list_entry(n, struct child_sa, line)->up_announced = false; /* that was their end, too */
	return true;
}

static struct farewell *farewell_new(struct child_sa *c, const char *why)
{
	struct farewell *f = calloc(1, sizeof(*f));
	char text[IDENT_STR_MAX];
	const char *user = totals_user(c->sa, text);
	bool down = c->up_announced && line_goes_down(c, why);

	if (!f) {
		if (down)
			bus_missed(c->shard->d->bus, CY_EV_CHILD_DOWN);
		return NULL;
	}
	f->d = c->shard->d;
	f->conn = conn_ref(c->conn);
	f->user = user ? strdup(user) : NULL;
	f->counted = (struct totals_counts){.bytes_in = c->bytes_in,
	    .packets_in = c->packets_in,
	    .bytes_out = c->bytes_out,
	    .packets_out = c->packets_out};
	if (down && bus_wanted(f->d->bus, CY_EV_CHILD_DOWN)) {
		f->copy = ike_event_child_copy(c->sa, c, CY_EV_CHILD_DOWN, why ? why : "replaced");
		if (!f->copy)
			bus_missed(f->d->bus, CY_EV_CHILD_DOWN);
	}
	return f;
}

static uint64_t rest(uint64_t now, uint64_t counted)
{
	return now > counted ? now - counted : 0;
}

static void farewell_count(const struct farewell *f, const struct knl_req *r)
{
	const struct cy_kernel_sa_stats *in = f->in ? &r->step[f->in - 1].stats : NULL;
	const struct cy_kernel_sa_stats *out = f->out ? &r->step[f->out - 1].stats : NULL;
	struct totals_counts add = {0};

	if (in) {
		add.bytes_in = rest(in->bytes, f->counted.bytes_in);
		add.packets_in = rest(in->packets, f->counted.packets_in);
	}
	if (out) {
		add.bytes_out = rest(out->bytes, f->counted.bytes_out);
		add.packets_out = rest(out->packets, f->counted.packets_out);
	}
	if (add.packets_in || add.packets_out)
		totals_add(f->d->sas->totals, f->conn->name, f->user, &add);
}

static void removed(struct worker *w, struct knl_req *r)
{
	struct farewell *f = r->user;

	(void)w;
	if (f)
		farewell_count(f, r);
	if (f && f->copy) {
		struct cy_event *ev = ike_event_copy(f->copy);

		if (f->in) {
			ev->bytes_in = r->step[f->in - 1].stats.bytes;
			ev->packets_in = r->step[f->in - 1].stats.packets;
		}
		if (f->out) {
			ev->bytes_out = r->step[f->out - 1].stats.bytes;
			ev->packets_out = r->step[f->out - 1].stats.packets;
		}
		bus_publish(f->d->bus, ev);
	}
	farewell_free(f);
	knl_req_free(r);
}

/* False: there is no request for the rest of it. */
static bool take_out(struct child_sa *c)
{
	struct pieces p = {.k = c->shard->d->knl};
	const struct cy_ts *l, *m;

	if (!is_installed(c) && !c->farewell)
		return true;
	p.r = knl_req_new((uint32_t)(3 + 3 * count_pairs(c)));
	if (c->policies_installed && c->conn->install_policy)
		for (size_t pos = c->taken_out; next_pair(c, &pos, &l, &m); c->taken_out = pos) {
			if (!room(&p, 3))
				return false;
			add_pair(p.r, c, true, l, m, &c->at_local, &c->at_remote);
		}
	if (!room(&p, 3))
		return false;
	p.r->worker = c->shard->w;
	p.r->done = removed;
	p.r->user = c->farewell;
	if (c->out_installed) {
		knl_req_add(p.r, KNL_SA_DEL)->u.id = sa_id(c, false, &c->at_local, &c->at_remote);
		if (c->farewell)
			c->farewell->out = p.r->n;
	}
	if (c->in_installed) {
		knl_req_add(p.r, KNL_SA_DEL)->u.id = sa_id(c, true, &c->at_local, &c->at_remote);
		if (c->farewell)
			c->farewell->in = p.r->n;
	}
	if (c->policies_installed)
		add_device(p.r, c, false);
	knl_submit(p.k, p.r);
	c->farewell = NULL;
	c->in_installed = c->out_installed = c->policies_installed = false;
	return true;
}

static void settle_owed(struct timer *t)
{
	struct sa_shard *s = container_of(t, struct sa_shard, t_owed);
	struct list *n;

	while ((n = list_first(&s->owed))) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (!take_out(c)) {
			worker_timer_set(s->w, t, worker_now(s->w) + OWED_NS);
			return;
		}
		list_del(n);
		child_free(c);
	}
}

void child_owed_free(struct sa_shard *s)
{
	struct list *n;

	worker_timer_cancel(s->w, &s->t_owed);
	while ((n = list_pop(&s->owed))) {
		farewell_free(list_entry(n, struct child_sa, node)->farewell);
		child_free(list_entry(n, struct child_sa, node));
	}
}

void child_remove(struct child_sa *c, const char *why)
{
	struct sa_shard *s = c->shard;
	bool out;

	if (c->in_installed || c->out_installed || c->up_announced)
		c->farewell = farewell_new(c, why);
	list_del(&c->line);
	if (why && c->up_announced)
		ike_note(c->sa, LOG_CHD, CY_LOG_NOTICE, "CHILD_SA %s{%llu} closed: %s", c->conn->name,
		    (unsigned long long)c->id, why);
	out = take_out(c);
	percpu_gone(c->sa, c);
	if (out) {
		child_free(c);
		return;
	}
	child_detach(c);
	list_push(&s->owed, &c->node);
	s->t_owed.fn = settle_owed;
	if (!timer_is_set(&s->t_owed))
		worker_timer_set(s->w, &s->t_owed, worker_now(s->w) + OWED_NS);
}

struct switching {
	struct sa_shard *s;
	uint32_t spi_in;
	uint64_t id;
};

/* One half of a pair is of no use: close it, and make another one. */
static void start_again(struct child_sa *c)
{
	struct ike_sa *sa = c->sa;
	struct task *del = task_new(TASK_CHILD_DELETE), *create = task_new(TASK_CHILD_CREATE);

	if (!del || !create || sa->state != IKE_ESTABLISHED || c->state != CHILD_INSTALLED) {
		task_free(del);
		task_free(create);
		return;
	}
	del->child_id = c->id;
	create->conn = conn_ref(c->conn);
	create->reqid = c->reqid;
	list_push(&sa->tasks, &del->node);
	if (child_is_extra(c)) /* it comes back when there is traffic */
		task_free(create);
	else
		list_push(&sa->tasks, &create->node);
	task_start_next(sa);
}

static void out_switched(struct worker *w, struct knl_req *r)
{
	struct switching *sw = r->user;
	struct child_sa *c;

	if (r->err) {
		LOGF(worker_log(w), LOG_KNL, CY_LOG_ERROR, NULL,
		    "installing the outbound SA after a rekey failed: %s", err_text(r->err));
		c = child_find_in(sw->s, sw->spi_in);
		if (c && c->id == sw->id && list_linked(&c->node)) {
			c->out_installed = c->policies_installed = false;
			start_again(c);
		}
	}
	knl_req_free(r);
	free(sw);
}

void child_switch_out(struct child_sa *c)
{
	struct switching *sw;
	struct knl_req *r;

	worker_timer_cancel(c->shard->w, &c->t_out);
	if (c->out_installed || !c->in_installed || !c->keys.encr_out.n)
		return;
	r = child_install_req(c, CHILD_PART_OUT | CHILD_PART_POLICIES);
	sw = malloc(sizeof(*sw));
	if (!r || !sw) { /* no memory: a little later */
		knl_req_free(r);
		free(sw);
		worker_timer_set(c->shard->w, &c->t_out, worker_now(c->shard->w) + NS_PER_S);
		return;
	}
	*sw = (struct switching){c->shard, c->spi_in, c->id};
	r->user = sw;
	r->worker = c->shard->w;
	r->done = out_switched;
	knl_submit(c->shard->d->knl, r);
	/* The kernel executes requests in order, so a removal that follows finds it. */
	child_mark(c, CHILD_PART_OUT | CHILD_PART_POLICIES);
}

/* So many small requests out of the reserve, or none. */
static bool set_aside(struct knl *k, struct list *out, uint32_t n)
{
	struct list *l;

	for (uint32_t i = 0; i < n; i++) {
		struct knl_req *r = knl_req_needed(k, KNL_RESERVE_STEPS);

		if (!r) {
			while ((l = list_pop(out)))
				knl_req_free(list_entry(l, struct knl_req, node));
			return false;
		}
		list_push(out, &r->node);
	}
	return true;
}

/* All of it moves or nothing does: then it stays where the data plane has it, and another one is made where the IKE_SA is. */
void child_moved(struct child_sa *c)
{
	struct knl *k = c->shard->d->knl;
	struct knl_req *r;
	struct list small;
	const struct cy_ts *l, *m;
	size_t pos = 0;

	if (!is_installed(c) ||
	    (cy_addr_eq(&c->at_local, &c->sa->local) && cy_addr_eq(&c->at_remote, &c->sa->remote)))
		return;
	list_init(&small);
	r = knl_req_new((uint32_t)(2 + 6 * count_pairs(c)));
	/* two SAs and a pair of selectors fit into one */
	if (!r && set_aside(k, &small, (uint32_t)(count_pairs(c) ? count_pairs(c) : 1)))
		r = list_entry(list_pop(&small), struct knl_req, node);
	if (!r) {
		worker_timer_set(c->shard->w, &c->t_rekey, worker_now(c->shard->w) + MOVE_AGAIN_NS);
		return;
	}
	for (int in = 0; in < 2; in++)
		if (in ? c->in_installed : c->out_installed) {
			struct knl_step *s = knl_req_add(r, KNL_SA_MOVE);

			s->u.move.id = sa_id(c, in, &c->at_local, &c->at_remote);
			s->u.move.new_src = in ? c->sa->remote : out_src(c, &c->sa->local);
			s->u.move.new_dst = in ? c->sa->local : c->sa->remote;
			s->u.move.encap = c->encap;
		}
	/* The new ones replace the old ones: at no time is there none, and nothing leaves in clear. */
	while (c->policies_installed && c->conn->install_policy && next_pair(c, &pos, &l, &m)) {
		if (r->cap - r->n < 6) {
			knl_submit(k, r);
			r = list_entry(list_pop(&small), struct knl_req, node);
		}
		add_pair(r, c, false, l, m, &c->sa->local, &c->sa->remote);
		add_pair(r, c, true, l, m, &c->at_local, &c->at_remote);
	}
	knl_submit(k, r);
	c->at_local = c->sa->local;
	c->at_remote = c->sa->remote;
}
