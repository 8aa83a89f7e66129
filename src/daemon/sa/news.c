/* SPDX-License-Identifier: Apache-2.0 */
/*
 * News of the data plane that concern any SA: events were lost, so that what there is must be compared with what there should
 * be; the network changed, so that local addresses may be gone. Every shard is walked a chunk at a time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/net/interfaces.h"
#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"
#include "libcore/conf/conf.h"

#define CHUNK        64
#define CHILDREN_MAX 64 /* of one IKE_SA that are closed, or begun anew, at once */

struct walk;
typedef void (*walk_fn)(struct walk *w, struct ike_sa *const *sas, size_t n);

/* Shared by the walks of all shards. */
struct dump {
	uint32_t refs; /* atomic */
	uint64_t at_ns;
	struct knl_sa *sas; /* by SPI */
	size_t n;
};

struct walk {
	struct job job;
	struct sa_shard *s;
	size_t pos;
	walk_fn fn;
	struct dump *dump;
	/* network: the local addresses of this chunk, and whose they are */
	slab_handle sa[CHUNK];
	uint8_t addr_of[CHUNK];
	struct cy_addr addr[CHUNK];
	size_t n_sas, n_addrs;
};

static void dump_unref(struct dump *d)
{
	if (!d || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(d->sas);
	free(d);
}

static void walk_next(struct walk *w)
{
	worker_post(w->s->w, &w->job, PRIO_HIGH, JOB_CONTROL);
}

static void walk_run(struct worker *worker, struct job *j)
{
	struct walk *w = container_of(j, struct walk, job);
	struct ike_sa *sas[CHUNK];
	slab_handle h;
	size_t n = 0;

	(void)worker;
	while (n < CHUNK && (sas[n] = slab_next(&w->s->slab, &w->pos, &h)))
		n++;
	if (n) {
		w->fn(w, sas, n); /* goes on with walk_next() */
		return;
	}
	dump_unref(w->dump);
	free(w);
}

static void walk_all(struct sa_manager *m, walk_fn fn, struct dump *dump)
{
	for (uint32_t i = 0; i < m->n; i++) {
		struct walk *w = calloc(1, sizeof(*w));

		if (!w) {
			dump_unref(dump);
			continue;
		}
		w->job.fn = walk_run;
		w->s = &m->shards[i];
		w->fn = fn;
		w->dump = dump;
		walk_next(w);
	}
}

/* --- events were lost -------------------------------------------------------------------------------------------------- */

static int by_spi(const void *a, const void *b)
{
	const struct knl_sa *x = a, *y = b;

	return (x->id.spi > y->id.spi) - (x->id.spi < y->id.spi);
}

static const struct knl_sa *dumped(const struct dump *d, const struct cy_kernel_sa_id *id)
{
	struct knl_sa key = {.id = *id};
	const struct knl_sa *at = bsearch(&key, d->sas, d->n, sizeof(*d->sas), by_spi);

	if (!at)
		return NULL;
	while (at > d->sas && at[-1].id.spi == id->spi)
		at--;
	/* SPIs are each receiver's: those of two peers may be equal. One that moved meanwhile has the old address. */
	for (const struct knl_sa *same = at; same < d->sas + d->n && same->id.spi == id->spi; same++)
		if (cy_addr_ip_eq(&same->id.dst, &id->dst))
			return same;
	return at;
}

static bool over(uint64_t value, uint64_t life, uint64_t margin)
{
	return life && value >= (life > margin ? life - margin : life);
}

static bool soft_passed(const struct child_sa *c, const struct knl_sa *k)
{
	return over(k->stats.bytes, c->conn->life_bytes, c->conn->margin_bytes) ||
	    over(k->stats.packets, c->conn->life_packets, c->conn->margin_packets);
}

static void compare_child(struct child_sa *c, const struct dump *d)
{
	struct cy_kernel_sa_id in = child_kernel_id(c, true), out = child_kernel_id(c, false);
	const struct knl_sa *ki = c->in_installed ? dumped(d, &in) : NULL,
	                    *ko = c->out_installed ? dumped(d, &out) : NULL;

	/* what came after the dump is not in it */
	if ((c->state != CHILD_INSTALLED && c->state != CHILD_REKEYING) || !c->installed_ns ||
	    c->installed_ns >= d->at_ns)
		return;
	if ((c->in_installed && !ki) || (c->out_installed && !ko))
		child_expire(c, true);
	else if ((ki && soft_passed(c, ki)) || (ko && soft_passed(c, ko)))
		child_expire(c, false);
}

static void compare(struct walk *w, struct ike_sa *const *sas, size_t n)
{
	slab_handle h[CHUNK];

	for (size_t i = 0; i < n; i++)
		h[i] = sas[i]->handle;
	for (size_t i = 0; i < n; i++) {
		struct ike_sa *sa = slab_get(&w->s->slab, h[i]);
		uint64_t ids[CHILDREN_MAX];
		size_t n_ids = 0;
		struct list *l;

		if (!sa)
			continue;
		list_foreach (l, &sa->children)
			if (n_ids < CHILDREN_MAX)
				ids[n_ids++] = list_entry(l, struct child_sa, node)->id;
		/* an expiry may begin an exchange, and that may end the IKE_SA */
		for (size_t k = 0; k < n_ids && (sa = slab_get(&w->s->slab, h[i])); k++) {
			struct child_sa *c = child_by_id(sa, ids[k]);

			if (c)
				compare_child(c, w->dump);
		}
	}
	walk_next(w);
}

void sa_on_resync(void *daemon, struct knl_sa *take, size_t n, uint64_t at_ns)
{
	struct daemon *d = daemon;
	struct dump *dump = d->sas ? calloc(1, sizeof(*dump)) : NULL;

	if (!dump) {
		free(take);
		return;
	}
	if (n)
		qsort(take, n, sizeof(*take), by_spi);
	dump->refs = d->sas->n;
	dump->at_ns = at_ns;
	dump->sas = take;
	dump->n = n;
	walk_all(d->sas, compare, dump);
}

/* --- the network changed ----------------------------------------------------------------------------------------------- */

static bool is_fixed(const struct conn *c, const struct cy_addr *addr)
{
	for (size_t i = 0; i < c->local.host.n_ranges; i++)
		if (cy_addr_ip_eq(&c->local.host.ranges[i].lo, &c->local.host.ranges[i].hi) &&
		    cy_addr_ip_eq(&c->local.host.ranges[i].lo, addr))
			return true;
	return false;
}

/* Without MOBIKE an IKE_SA cannot move of itself: a new one is made from where we are now. */
static void connect_anew(struct ike_sa *sa)
{
	struct daemon *d = sa->shard->d;
	struct conn *conns[CHILDREN_MAX];
	char gone[ADDR_STR_MAX], why[120];
	struct list *l;
	size_t n = 0;

	list_foreach (l, &sa->children) {
		struct child_sa *c = list_entry(l, struct child_sa, node);

		if ((c->state == CHILD_INSTALLED || c->state == CHILD_REKEYING) && n < CHILDREN_MAX)
			conns[n++] = conn_ref(c->conn);
	}
	if (!n)
		conns[n++] = conn_ref(sa->conn);
	snprintf(why, sizeof(why), "our address %s is gone: connecting anew", addr_str(&sa->local, gone));
	ike_sa_destroy(sa, why);
	for (size_t i = 0; i < n; i++) {
		sa_up(d, conns[i], NULL);
		conn_unref(conns[i]);
	}
}

/* What a reload has taken away is not connected anew. */
static bool is_configured(const struct ike_sa *sa)
{
	struct config *c = daemon_config(sa->shard->d);
	bool found = c && c->conf && conf_find(c->conf, sa->conn->name);

	config_unref(c);
	return found;
}

struct lost {
	struct sa_shard *s;
	slab_handle sa;
};

static void lost_done(struct worker *w, struct knl_req *r)
{
	struct lost *l = r->user;
	struct ike_sa *sa = slab_get(&l->s->slab, l->sa);
	const struct knl_step *st = &r->step[0];
	char local[ADDR_STR_MAX], remote[ADDR_STR_MAX];

	(void)w;
	if (sa && sa->state == IKE_ESTABLISHED && !sa_stopping(l->s->m)) {
		(void)addr_str(&sa->local, local);
		(void)addr_str(&sa->remote, remote);
		if (!sa->auth_initiator)
			ike_note(sa, LOG_NET, CY_LOG_WARN,
			    "our address %s is gone: nothing from %s arrives until it is back or the peer "
			    "connects anew",
			    local, remote);
		else if (is_fixed(sa->conn, &sa->local))
			ike_note(sa, LOG_NET, CY_LOG_WARN,
			    "our address %s is gone, and connection %s has no other: nothing from %s arrives "
			    "until it is back",
			    local, sa->conn->name, remote);
		else if (st->err || cy_addr_ip_eq(&st->u.source.src, &sa->local))
			ike_note(sa, LOG_NET, CY_LOG_WARN,
			    "our address %s is gone, and there is no way to %s: waiting for the network",
			    local, remote);
		else if (is_configured(sa))
			connect_anew(sa);
	}
	free(l);
	knl_req_free(r);
}

static void find_way(struct ike_sa *sa)
{
	struct knl_req *r = knl_req_new(1);
	struct lost *l = calloc(1, sizeof(*l));

	if (!r || !l) {
		knl_req_free(r);
		free(l);
		return;
	}
	l->s = sa->shard;
	l->sa = sa->handle;
	r->worker = sa->shard->w;
	r->done = lost_done;
	r->user = l;
	knl_req_add(r, KNL_SOURCE_FOR)->u.source.dst = sa->remote;
	knl_submit(sa->shard->d->knl, r);
}

static void addrs_back(struct worker *worker, struct knl_req *r)
{
	struct walk *w = r->user;

	(void)worker;
	for (size_t i = 0; i < w->n_sas; i++) {
		struct ike_sa *sa = slab_get(&w->s->slab, w->sa[i]);
		const struct knl_step *st = &r->step[w->addr_of[i]];

		if (sa && st->done && !st->u.source.is_local &&
		    cy_addr_ip_eq(&sa->local, &w->addr[w->addr_of[i]]))
			find_way(sa);
	}
	knl_req_free(r);
	walk_next(w);
}

static uint8_t addr_number(struct walk *w, const struct cy_addr *a)
{
	size_t i;

	for (i = 0; i < w->n_addrs; i++)
		if (cy_addr_ip_eq(&w->addr[i], a))
			return (uint8_t)i;
	w->addr[w->n_addrs++] = *a;
	return (uint8_t)i;
}

static void look_at_addrs(struct walk *w, struct ike_sa *const *sas, size_t n)
{
	struct knl_req *r = knl_req_new(CHUNK);

	w->n_sas = w->n_addrs = 0;
	for (size_t i = 0; i < n; i++)
		if (sas[i]->state == IKE_ESTABLISHED && !addr_is_any(&sas[i]->local)) {
			w->addr_of[w->n_sas] = addr_number(w, &sas[i]->local);
			w->sa[w->n_sas++] = sas[i]->handle;
		}
	if (!r || !w->n_sas) {
		knl_req_free(r);
		walk_next(w);
		return;
	}
	for (size_t i = 0; i < w->n_addrs; i++)
		knl_req_add(r, KNL_SOURCE_FOR)->u.source.dst = w->addr[i];
	r->worker = w->s->w;
	r->done = addrs_back;
	r->user = w;
	knl_submit(w->s->d->knl, r);
}

void sa_on_network(void *daemon)
{
	struct daemon *d = daemon;
	void *k;

	interfaces_forget(d->interfaces);
	if (!d->sas || sa_stopping(d->sas) || !d->knl || !knl_ops(d->knl, &k)->is_local)
		return;
	walk_all(d->sas, look_at_addrs, NULL);
}
