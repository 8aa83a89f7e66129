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
	uint32_t reqid;
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

static void add_policy(struct knl_req *r, const struct trap *p, bool del, enum cy_dir dir,
    const struct cy_ts *l, const struct cy_ts *m)
{
	struct knl_step *s = knl_req_add(r, del ? KNL_POLICY_DEL : KNL_POLICY_ADD);
	const struct conn *c = p->conn;
	bool out = dir == CY_DIR_OUT;

	s->u.policy.p = (struct cy_kernel_policy){.size = sizeof(s->u.policy.p),
	    .dir = dir,
	    .action = CY_POLICY_PROTECT,
	    .mode = c->type == TYPE_TRANSPORT ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL,
	    .proto = CY_PROTO_ESP,
	    .has_tmpl = 1,
	    .src = out ? *l : *m,
	    .dst = out ? *m : *l,
	    .priority = policy_priority(c, l, m, true),
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
	struct knl_req *r = knl_req_new((uint32_t)(3 * p->n_local * p->n_remote));

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

enum cy_err traps_route(struct traps *t, struct conn *conn, char *why, size_t why_cap)
{
	struct trap *p;
	struct knl_req *r;

	if (!(knl_features(t->d->knl) & CY_KERNEL_ACQUIRE)) {
		snprintf(why, why_cap, "the data plane cannot report traffic that wants a tunnel");
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
	if (!first_host(&conn->remote.host, 0, &p->dst)) {
		snprintf(why, why_cap, "connection %s has no numeric peer address to route to", conn->name);
		trap_free(p);
		return CY_E_INVAL;
	}
	if (!first_host(&conn->local.host, p->dst.family, &p->src))
		p->src = addr_any(p->dst.family);
	p->n_local = ts_for_end(
	    &conn->local, &p->src, NULL, 0, conn->type == TYPE_TRANSPORT, p->local, ARRAY_LEN(p->local));
	p->n_remote = ts_for_end(
	    &conn->remote, &p->dst, NULL, 0, conn->type == TYPE_TRANSPORT, p->remote, ARRAY_LEN(p->remote));
	p->reqid =
	    conn->reqid ? conn->reqid : __atomic_add_fetch(&t->d->sas->next_reqid, 1, __ATOMIC_RELAXED);
	r = policies_req(p, false);
	if (!r) {
		trap_free(p);
		return CY_E_NOMEM;
	}
	pthread_mutex_lock(&t->lock);
	if (by_name(t, conn->name)) {
		pthread_mutex_unlock(&t->lock);
		snprintf(why, why_cap, "connection %s is routed already", conn->name);
		knl_req_free(r);
		trap_free(p);
		return CY_E_EXISTS;
	}
	list_push(&t->list, &p->node);
	pthread_mutex_unlock(&t->lock);
	knl_submit(t->d->knl, r);
	return CY_OK;
}

enum cy_err traps_unroute(struct traps *t, const char *name)
{
	struct trap *p;
	struct knl_req *r;

	pthread_mutex_lock(&t->lock);
	p = by_name(t, name);
	if (p)
		list_del(&p->node);
	pthread_mutex_unlock(&t->lock);
	if (!p)
		return CY_E_NOTFOUND;
	r = policies_req(p, true);
	if (r)
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
	p = by_reqid(t, reqid);
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

static void watch_line(struct up_watch *w, const char *text)
{
	(void)w;
	(void)text;
}

static void watch_done(struct up_watch *w, bool ok, const char *why)
{
	struct trap_watch *tw = container_of(w, struct trap_watch, w);
	struct trap *p;

	(void)ok;
	(void)why;
	pthread_mutex_lock(&tw->t->lock);
	p = by_reqid(tw->t, tw->reqid);
	if (p)
		p->initiating = false;
	pthread_mutex_unlock(&tw->t->lock);
	free(tw);
}

struct up_watch *traps_watch(struct traps *t, uint32_t reqid)
{
	struct trap_watch *tw = calloc(1, sizeof(*tw));

	if (!tw)
		return NULL;
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
