/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/traps.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/policy/select.h"
#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

/* While a bring-up runs, further acquires of the same trap mean nothing new. */
struct trap {
	struct list node;
	struct traps *t;
	struct conn *conn;
	uint64_t id;
	uint32_t reqid; /* 0: type=passthrough or drop */
	bool initiating;
	uint64_t acquires;
	struct cy_ts local[16], remote[16];
	size_t n_local, n_remote;
	struct cy_addr src, dst;
};

struct traps {
	struct daemon *d;
	pthread_mutex_t lock;
	struct list list;
	uint64_t last_id;
};

enum cy_err traps_new(struct daemon *d, struct traps **out)
{
	struct traps *t = calloc(1, sizeof(*t));

	if (!t)
		return CY_E_NOMEM;
	t->d = d;
	pthread_mutex_init(&t->lock, NULL);
	list_init(&t->list);
	*out = t;
	return CY_OK;
}

static void trap_free(struct trap *p)
{
	conn_unref(p->conn);
	free(p);
}

void traps_free(struct traps *t)
{
	struct list *n;

	if (!t)
		return;
	while ((n = list_pop(&t->list)))
		trap_free(list_entry(n, struct trap, node));
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct trap *by_name(struct traps *t, const char *name)
{
	struct list *n;

	list_foreach (n, &t->list)
		if (strcmp(list_entry(n, struct trap, node)->conn->name, name) == 0)
			return list_entry(n, struct trap, node);
	return NULL;
}

static struct trap *by_reqid(struct traps *t, uint32_t reqid)
{
	struct list *n;

	list_foreach (n, &t->list)
		if (list_entry(n, struct trap, node)->reqid == reqid)
			return list_entry(n, struct trap, node);
	return NULL;
}

static bool is_shunt(const struct conn *c)
{
	return c->type == TYPE_PASS || c->type == TYPE_DROP;
}

/* What passes does so whatever tunnels there are; what is dropped is what no tunnel, and no trap, wants. */
#define PASS_BEFORE 100000
#define DROP_AFTER  400000

static uint32_t priority_of(const struct conn *c, const struct cy_ts *l, const struct cy_ts *m)
{
	if (!is_shunt(c))
		return policy_priority(c, l, m, true);
	if (c->priority)
		return c->priority;
	return policy_priority(c, l, m, false) + (c->type == TYPE_DROP ? DROP_AFTER : 0) -
	    (c->type == TYPE_PASS ? PASS_BEFORE : 0);
}

static void add_policy(struct knl_req *r, const struct trap *p, bool del, enum cy_dir dir,
    const struct cy_ts *l, const struct cy_ts *m)
{
	struct knl_step *s = knl_req_add(r, del ? KNL_POLICY_DEL : KNL_POLICY_ADD);
	const struct conn *c = p->conn;
	bool out = dir == CY_DIR_OUT;

	s->u.policy.p = (struct cy_kernel_policy){.size = sizeof(s->u.policy.p),
	    .dir = dir,
	    .action = c->type == TYPE_PASS ? CY_POLICY_PASS
	        : c->type == TYPE_DROP     ? CY_POLICY_DISCARD
	                                   : CY_POLICY_PROTECT,
	    .mode = c->type == TYPE_TRANSPORT ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL,
	    .proto = CY_PROTO_ESP,
	    .has_tmpl = !is_shunt(c),
	    .src = out ? *l : *m,
	    .dst = out ? *m : *l,
	    .priority = priority_of(c, l, m),
	    .reqid = p->reqid,
	    .tmpl_src = out ? p->src : p->dst,
	    .tmpl_dst = out ? p->dst : p->src,
	    .mark = out ? c->mark_out : c->mark_in,
	    .if_id = out ? c->if_id_out : c->if_id_in,
	    .want_route = out && c->type != TYPE_TRANSPORT && p->t->d->tune.install_routes &&
	        !c->device.kind && !c->if_id_out};
	if (c->local.source_ip.family)
		s->u.policy.route_src = c->local.source_ip;
}

static struct knl_req *policies_req(const struct trap *p, bool del)
{
	uint32_t steps = (uint32_t)(3 * p->n_local * p->n_remote);
	struct knl_req *r = del ? knl_req_needed(p->t->d->knl, steps) : knl_req_new(steps);

	if (!r)
		return NULL;
	r->undo = !del;
	for (size_t i = 0; i < p->n_local; i++)
		for (size_t j = 0; j < p->n_remote; j++) {
			if (p->local[i].family_ip6 != p->remote[j].family_ip6)
				continue;
			add_policy(r, p, del, CY_DIR_IN, &p->local[i], &p->remote[j]);
			if (p->conn->type != TYPE_TRANSPORT)
				add_policy(r, p, del, CY_DIR_FWD, &p->local[i], &p->remote[j]);
			add_policy(r, p, del, CY_DIR_OUT, &p->local[i], &p->remote[j]);
		}
	return r;
}

static bool first_host(const struct host_spec *h, int family, struct cy_addr *out)
{
	for (size_t i = 0; i < h->n_ranges; i++)
		if (cy_addr_ip_eq(&h->ranges[i].lo, &h->ranges[i].hi) &&
		    (!family || h->ranges[i].lo.family == family)) {
			*out = h->ranges[i].lo;
			return true;
		}
	return false;
}

/* An end without a subnet is the host there; of a policy without a tunnel that may be anybody. */
static size_t selectors(
    const struct conn *c, const struct conn_end *e, const struct cy_addr *host, struct cy_ts *out, size_t cap)
{
	if (is_shunt(c) && e->ts_dynamic && addr_is_any(host)) {
		out[0] = ts_any(false);
		out[1] = ts_any(true);
		return 2;
	}
	return ts_for_end(e, host, NULL, 0, c->type == TYPE_TRANSPORT, out, cap);
}

static enum cy_err trap_new(struct traps *t, struct conn *conn, struct trap **out, char *why, size_t why_cap)
{
	struct trap *p;

	if (!(knl_features(t->d->knl) & (is_shunt(conn) ? CY_KERNEL_POLICY : CY_KERNEL_ACQUIRE))) {
		snprintf(why, why_cap,
		    is_shunt(conn) ? "the data plane has no policies without a tunnel"
		                   : "the data plane cannot report traffic that wants a tunnel");
		return CY_E_UNSUPPORTED;
	}
	if (conn->mark_in_own != OWN_ID_NO || conn->mark_out_own != OWN_ID_NO ||
	    conn->if_id_in_own != OWN_ID_NO || conn->if_id_out_own != OWN_ID_NO) {
		snprintf(why, why_cap,
		    "connection %s has marks or if_ids of each CHILD_SA's own: no traffic has them before",
		    conn->name);
		return CY_E_INVAL;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return CY_E_NOMEM;
	p->t = t;
	p->conn = conn_ref(conn);
	if (is_shunt(conn) && !first_host(&conn->remote.host, 0, &p->dst)) {
		p->dst = addr_any(AF_INET);
	} else if (!first_host(&conn->remote.host, 0, &p->dst)) {
		snprintf(why, why_cap, "connection %s has no numeric peer address to route to", conn->name);
		trap_free(p);
		return CY_E_INVAL;
	}
	if (!first_host(&conn->local.host, p->dst.family, &p->src))
		p->src = addr_any(p->dst.family);
	p->n_local = selectors(conn, &conn->local, &p->src, p->local, ARRAY_LEN(p->local));
	p->n_remote = selectors(conn, &conn->remote, &p->dst, p->remote, ARRAY_LEN(p->remote));
	*out = p;
	return CY_OK;
}

static void take_reqid(struct traps *t, struct trap *p)
{
	if (is_shunt(p->conn))
		return;
	p->reqid =
	    p->conn->reqid ? p->conn->reqid : __atomic_add_fetch(&t->d->sas->next_reqid, 1, __ATOMIC_RELAXED);
}

/* --- what the data plane says ---------------------------------------------------------------------------------------- */

struct routing {
	struct traps *t;
	struct conn *conn;
	uint64_t id;
	struct route_watch *watch;
};

static void remove_refused(struct traps *t, uint64_t id)
{
	struct trap *p = NULL;
	struct list *n;

	pthread_mutex_lock(&t->lock);
	list_foreach (n, &t->list)
		if (list_entry(n, struct trap, node)->id == id) {
			p = list_entry(n, struct trap, node);
			list_del(n);
			break;
		}
	pthread_mutex_unlock(&t->lock);
	if (p)
		trap_free(p);
}

static void routed(struct worker *w, struct knl_req *r)
{
	struct routing *rt = r->user;
	char why[256] = "";

	(void)w;
	if (r->err) {
		snprintf(why, sizeof(why), "the data plane refused the policies of connection %.100s: %s",
		    rt->conn->name, err_text(r->err));
		remove_refused(rt->t, rt->id);
		LOGF(rt->t->d->log, LOG_KNL, CY_LOG_ERROR, NULL, "%s", why);
	}
	if (rt->watch)
		rt->watch->done(rt->watch, r->err, why);
	conn_unref(rt->conn);
	free(rt);
	knl_req_free(r);
}

static struct knl_req *add_req(struct traps *t, struct trap *p, struct route_watch *w)
{
	struct knl_req *r = policies_req(p, false);
	struct routing *rt = calloc(1, sizeof(*rt));

	if (!r || !rt) {
		knl_req_free(r);
		free(rt);
		return NULL;
	}
	rt->t = t;
	rt->conn = conn_ref(p->conn);
	rt->watch = w;
	r->worker = processor_worker(t->d->processor, 0);
	r->done = routed;
	r->user = rt;
	return r;
}

static void free_req(struct knl_req *r)
{
	struct routing *rt = r->user;

	conn_unref(rt->conn);
	free(rt);
	knl_req_free(r);
}

enum cy_err traps_route_watched(
    struct traps *t, struct conn *conn, struct route_watch *w, char *why, size_t why_cap)
{
	struct trap *p;
	struct knl_req *r;
	enum cy_err err = trap_new(t, conn, &p, why, why_cap);

	if (err)
		return err;
	take_reqid(t, p);
	r = add_req(t, p, w);
	if (!r) {
		trap_free(p);
		return CY_E_NOMEM;
	}
	pthread_mutex_lock(&t->lock);
	if (by_name(t, conn->name)) {
		pthread_mutex_unlock(&t->lock);
		snprintf(why, why_cap, "connection %s is routed already", conn->name);
		free_req(r);
		trap_free(p);
		return CY_E_EXISTS;
	}
	p->id = ((struct routing *)r->user)->id = ++t->last_id;
	list_push(&t->list, &p->node);
	pthread_mutex_unlock(&t->lock);
	knl_submit(t->d->knl, r);
	return CY_OK;
}

enum cy_err traps_route(struct traps *t, struct conn *conn, char *why, size_t why_cap)
{
	return traps_route_watched(t, conn, NULL, why, why_cap);
}

bool traps_has(struct traps *t, const char *name)
{
	bool found;

	pthread_mutex_lock(&t->lock);
	found = by_name(t, name) != NULL;
	pthread_mutex_unlock(&t->lock);
	return found;
}

enum cy_err traps_replace(struct traps *t, const char *name, struct conn *conn, char *why, size_t why_cap)
{
	struct trap *p, *old;
	struct knl_req *add, *del = NULL;
	enum cy_err err = trap_new(t, conn, &p, why, why_cap);

	if (err) { /* it cannot be: what was there does not fit the configuration any more */
		enum cy_err gone = traps_unroute(t, name);

		return gone ? gone : err;
	}
	take_reqid(t, p);
	pthread_mutex_lock(&t->lock);
	old = by_name(t, name);
	if (old) {
		if (old->reqid && p->reqid && !conn->reqid && !old->conn->reqid)
			p->reqid = old->reqid; /* CHILD_SAs that are there, and acquires that come, fit */
		p->initiating = old->initiating && p->reqid == old->reqid;
		p->acquires = old->acquires;
		add = add_req(t, p, NULL);
		del = policies_req(old, true);
		if (add && del) {
			list_del(&old->node);
			p->id = ((struct routing *)add->user)->id = ++t->last_id;
			list_push(&t->list, &p->node);
		}
	}
	pthread_mutex_unlock(&t->lock);
	if (!old || !add || !del) {
		if (old && add)
			free_req(add);
		knl_req_free(del);
		trap_free(p);
		return old ? CY_E_NOMEM : CY_E_NOTFOUND;
	}
	knl_submit(t->d->knl, add);
	knl_submit(t->d->knl, del);
	trap_free(old);
	return CY_OK;
}

enum cy_err traps_unroute(struct traps *t, const char *name)
{
	struct trap *p;
	struct knl_req *r;

	pthread_mutex_lock(&t->lock);
	p = by_name(t, name);
	r = p ? policies_req(p, true) : NULL;
	if (r)
		list_del(&p->node);
	pthread_mutex_unlock(&t->lock);
	if (!r)
		return p ? CY_E_NOMEM : CY_E_NOTFOUND;
	knl_submit(t->d->knl, r);
	trap_free(p);
	return CY_OK;
}

uint32_t traps_reqid(struct traps *t, const struct conn *conn)
{
	struct trap *p;
	uint32_t reqid;

	if (!t)
		return 0;
	pthread_mutex_lock(&t->lock);
	p = by_name(t, conn->name);
	reqid = p ? p->reqid : 0;
	pthread_mutex_unlock(&t->lock);
	return reqid;
}

struct conn *traps_acquire(struct traps *t, uint32_t reqid)
{
	struct conn *conn = NULL;
	struct trap *p;

	pthread_mutex_lock(&t->lock);
	p = reqid ? by_reqid(t, reqid) : NULL;
	if (p) {
		p->acquires++;
		if (!p->initiating) {
			p->initiating = true;
			conn = conn_ref(p->conn);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return conn;
}

/* Tells the trap when its bring-up ended, either way, so that the next acquire counts again. */
struct trap_watch {
	struct up_watch w;
	struct traps *t;
	uint32_t reqid;
};

static void acquire_ended(struct traps *t, uint32_t reqid)
{
	struct trap *p;

	pthread_mutex_lock(&t->lock);
	p = by_reqid(t, reqid);
	if (p)
		p->initiating = false;
	pthread_mutex_unlock(&t->lock);
}

static void watch_line(struct up_watch *w, const char *text)
{
	(void)w;
	(void)text;
}

static void watch_done(struct up_watch *w, bool ok, const char *why)
{
	struct trap_watch *tw = container_of(w, struct trap_watch, w);

	(void)ok;
	(void)why;
	acquire_ended(tw->t, tw->reqid);
	free(tw);
}

struct up_watch *traps_watch(struct traps *t, uint32_t reqid)
{
	struct trap_watch *tw = calloc(1, sizeof(*tw));

	if (!tw) { /* the data plane asks again */
		acquire_ended(t, reqid);
		return NULL;
	}
	tw->w.line = watch_line;
	tw->w.done = watch_done;
	list_init(&tw->w.node);
	tw->t = t;
	tw->reqid = reqid;
	return &tw->w;
}

void traps_list(struct traps *t,
    void (*cb)(void *user, const struct conn *conn, uint32_t reqid, uint64_t acquires), void *user)
{
	struct list *n;

	pthread_mutex_lock(&t->lock);
	list_foreach (n, &t->list) {
		struct trap *p = list_entry(n, struct trap, node);

		cb(user, p->conn, p->reqid, p->acquires);
	}
	pthread_mutex_unlock(&t->lock);
}
