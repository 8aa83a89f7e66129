/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing connections up and down on somebody's wish: a user, auto=start, an acquire, a reauthentication. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "daemon/sa/percpu.h"
#include "daemon/sa/traps.h"
#include "libcore/base/addr.h"

#define WHERE_NS (60 * NS_PER_S) /* to find out where the peer is */

struct initiation {
	struct job job;
	struct daemon *d;
	struct sa_shard *s;
	struct conn *conn;
	struct up_watch *watch;
	uint32_t reqid;
	bool has_acquire;
	struct cy_ts src, dst;
	slab_handle reuse;
	bool moved; /* to the worker of an IKE_SA that it may share */
	bool once;  /* not when the connection is up already */
};

static void watch_fail(struct up_watch *w, const char *why)
{
	if (w)
		w->done(w, false, why);
}

static struct task *child_task(const struct initiation *in)
{
	struct task *t = task_new(TASK_CHILD_CREATE);

	if (!t)
		return NULL;
	t->conn = conn_ref(in->conn);
	t->reqid = in->reqid;
	t->has_acquire = in->has_acquire;
	t->acq_src = in->src;
	t->acq_dst = in->dst;
	return t;
}

/* --- addresses ------------------------------------------------------------------------------------------------- */

static uint16_t port_of(const struct ike_sa *sa, const struct host_spec *h)
{
	return h->port ? h->port : sa->shard->d->tune.port;
}

static void start_init(struct ike_sa *sa)
{
	worker_timer_cancel(sa->shard->w, &sa->t_half_open);
	if (sa->natt) { /* it takes the place of one that is there already */
		sa->local.port = sa->shard->d->tune.port_natt;
		step_end(sa);
		return;
	}
	sa->local.port = sa->shard->d->tune.port;
	sa->remote.port = port_of(sa, &sa->conn->remote.host);
	/* a remote port of its own means NAT-T from the start (RFC 7296, 2.23) */
	if (sa->conn->remote.host.port && sa->conn->remote.host.port != 500) {
		sa->natt = true;
		sa->local.port = sa->shard->d->tune.port_natt;
	}
	step_end(sa); /* nothing is being handled: starts TASK_INIT, which waits in the queue */
}

static void got_source(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct knl_req *r = arg;
	char text[ADDR_STR_MAX];

	if (err == CY_E_DENIED)
		ike_sa_fail(sa,
		    "the way to %s is over an interface that is not used (interfaces_use, interfaces_ignore)",
		    addr_str(&sa->remote, text));
	if (err || r->n == 0) {
		ike_sa_fail(sa, "no route to %s", addr_str(&sa->remote, text));
		knl_req_free(r);
		ike_sa_destroy(sa, sa->why);
		return;
	}
	sa->local = r->step[0].u.source.src;
	knl_req_free(r);
	start_init(sa);
}

static void choose_source(struct ike_sa *sa)
{
	const struct host_spec *h = &sa->conn->local.host;
	struct knl_req *r;

	for (size_t i = 0; i < h->n_ranges; i++)
		if (h->ranges[i].lo.family == sa->remote.family &&
		    cy_addr_ip_eq(&h->ranges[i].lo, &h->ranges[i].hi)) {
			sa->local = h->ranges[i].lo;
			start_init(sa);
			return;
		}
	r = knl_req_new(1);
	if (!r) {
		ike_sa_destroy(sa, "out of memory");
		return;
	}
	knl_req_add(r, KNL_SOURCE_FOR)->u.source.dst = sa->remote;
	ike_kernel(sa, r, got_source);
}

/* A name is looked up on the IO class of the pool: getaddrinfo() may take as long as it likes. */
struct lookup {
	struct work work;
	struct sa_shard *shard;
	slab_handle handle;
	char *name;
	int family;
	struct cy_addr addr;
	int gai;
};

static void lookup_run(struct work *w)
{
	struct lookup *l = container_of(w, struct lookup, work);
	struct env *env = l->shard->d->env;
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_family = l->family}, *res = NULL;

	if (env->look_up) {
		l->gai = env->look_up(env, l->name, l->family, &l->addr);
		return;
	}
	l->gai = getaddrinfo(l->name, NULL, &hints, &res);
	if (l->gai == 0 && res)
		addr_from_sockaddr(res->ai_addr, &l->addr);
	if (res)
		freeaddrinfo(res);
}

static void lookup_done(struct worker *w, struct work *work, enum cy_err err)
{
	struct lookup *l = container_of(work, struct lookup, work);
	struct ike_sa *sa = slab_get(&l->shard->slab, l->handle);

	(void)w;
	if (sa && sa->state == IKE_CREATED) {
		if (err || l->gai || !l->addr.family) {
			ike_sa_fail(sa, "the name %s does not resolve: %s", l->name,
			    err          ? err_text(err)
			        : l->gai ? gai_strerror(l->gai)
			                 : "no address");
			ike_sa_destroy(sa, sa->why);
		} else {
			sa->remote = l->addr;
			choose_source(sa);
		}
	}
	free(l->name);
	free(l);
}

static void look_up(struct ike_sa *sa, const char *name)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (l)
		l->name = strdup(name);
	if (!l || !l->name) {
		free(l);
		ike_sa_destroy(sa, "out of memory");
		return;
	}
	l->shard = sa->shard;
	l->handle = sa->handle;
	l->family = AF_UNSPEC;
	l->work.run = lookup_run;
	l->work.done = lookup_done;
	l->work.worker = sa->shard->w;
	l->work.owner = "dns";
	l->work.prio = PRIO_MEDIUM;
	l->work.class = POOL_IO;
	pool_submit(sa->shard->d->pool, &l->work);
}

static void resolve_remote(struct ike_sa *sa)
{
	const struct host_spec *h = &sa->conn->remote.host;

	for (size_t i = 0; i < h->n_ranges; i++)
		if (cy_addr_ip_eq(&h->ranges[i].lo, &h->ranges[i].hi)) {
			sa->remote = h->ranges[i].lo;
			choose_source(sa);
			return;
		}
	if (h->dns.n) {
		look_up(sa, h->dns.s[0]);
		return;
	}
	ike_sa_fail(sa, "connection %s does not say where its peer is (%%any): it can only wait for it",
	    sa->conn->name);
	ike_sa_destroy(sa, sa->why);
}

/* --- up ---------------------------------------------------------------------------------------------------------- */

static struct ike_sa *new_initiator(struct sa_shard *s, struct conn *conn)
{
	uint8_t version = conn->version == CONN_IKEV1 ? 1 : 2;
	struct ike_sa *sa;

	if (!s->d->ike[version])
		return NULL;
	sa = ike_sa_new(s, version, true);
	if (!sa)
		return NULL;
	ike_sa_set_conn(sa, conn);
	sa->spi_i = version == 1 ? net_cookie_new(s->d->net, s->d->env, s->index)
	                         : net_spi_new(s->d->net, s->d->env, s->index);
	ike_sa_index(sa);
	/* until the addresses are known: a name server or the kernel may never answer */
	worker_timer_set(s->w, &sa->t_half_open, worker_now(s->w) + WHERE_NS);
	sa->tries_left_init = conn->keyingtries ? conn->keyingtries : UINT32_MAX;
	return sa;
}

/* False: another IKE_SA to this peer is there or on its way. */
static bool first_to_connect(struct initiation *in, struct ike_sa *sa)
{
	if (in->moved || !in->d->tune.reuse_ike_sa)
		return true;
	return unique_connecting(sa, &in->s, &in->reuse);
}

/* False: it went to another worker, to share an IKE_SA there. */
static bool initiate_fresh(struct initiation *in)
{
	struct ike_sa *sa = new_initiator(in->s, in->conn);
	struct task *init = task_new(TASK_INIT);

	if (!sa || !init) {
		task_free(init);
		if (sa)
			ike_sa_destroy(sa, "out of memory");
		watch_fail(
		    in->watch, sa ? "out of memory" : "the limit of IKE_SAs is reached (ike_sa_limit)");
		return true;
	}
	if (!first_to_connect(in, sa)) {
		task_free(init);
		ike_sa_set_conn(sa, NULL); /* nobody is told of it */
		ike_sa_destroy(sa, NULL);
		in->moved = true;
		worker_post(in->s->w, &in->job, PRIO_MEDIUM, JOB_INITIATE);
		return false;
	}
	if (in->watch)
		list_push(&sa->watches, &in->watch->node);
	init->conn = conn_ref(in->conn);
	init->reqid = in->reqid;
	init->has_acquire = in->has_acquire;
	init->acq_src = in->src;
	init->acq_dst = in->dst;
	list_push(&sa->tasks, &init->node); /* starts when the addresses are known */
	resolve_remote(sa);
	return true;
}

static void wait_for(struct initiation *in, struct list *watches)
{
	if (in->watch)
		list_push(watches, &in->watch->node);
}

/* The IKE_SA is on its way: this connection comes up after it, unless it is the one, or among those, that waits already. */
static void join(struct initiation *in, struct ike_sa *sa)
{
	struct list *lists[] = {&sa->tasks, &sa->running};
	struct task *t = sa->task;
	struct list *n;

	if (t && t->conn && strcmp(t->conn->name, in->conn->name) == 0) {
		wait_for(in, &t->watches);
		return;
	}
	for (size_t i = 0; i < 2; i++)
		list_foreach (n, lists[i]) {
			t = list_entry(n, struct task, node);
			if (t->conn && strcmp(t->conn->name, in->conn->name) == 0) {
				wait_for(in, &t->watches);
				return;
			}
		}
	t = child_task(in);
	if (!t) {
		watch_fail(in->watch, "out of memory");
		return;
	}
	wait_for(in, &t->watches);
	list_push(&sa->tasks, &t->node); /* behind IKE_SA_INIT and IKE_AUTH */
}

static const struct child_sa *child_up_of(const struct ike_sa *sa, const struct conn *conn)
{
	struct list *n;

	list_foreach (n, &sa->children) {
		const struct child_sa *c = list_entry(n, struct child_sa, node);

		if ((c->state == CHILD_INSTALLED || c->state == CHILD_REKEYING) &&
		    strcmp(c->conn->name, conn->name) == 0)
			return c;
	}
	return NULL;
}

static bool is_up_already(const struct initiation *in, const struct ike_sa *sa)
{
	const struct child_sa *c = in->once ? child_up_of(sa, in->conn) : NULL;
	char line[200];

	if (!c)
		return false;
	snprintf(line, sizeof(line),
	    "connection %.100s is established already: CHILD_SA {%llu} of IKE_SA [%llu]", in->conn->name,
	    (unsigned long long)c->id, (unsigned long long)sa->id);
	LOGF(in->d->log, LOG_CHD, CY_LOG_INFO, NULL, "%s", line);
	if (in->watch) {
		in->watch->line(in->watch, line);
		in->watch->done(in->watch, true, "");
	}
	return true;
}

static void initiate_job(struct worker *w, struct job *j)
{
	struct initiation *in = container_of(j, struct initiation, job);
	struct ike_sa *sa = in->reuse ? slab_get(&in->s->slab, in->reuse) : NULL;

	(void)w;
	if (sa && sa->state == IKE_ESTABLISHED && is_up_already(in, sa)) {
		conn_unref(in->conn);
		free(in);
		return;
	}
	if (!in->d->tune.reuse_ike_sa) /* it was only looked at */
		sa = NULL;
	if (sa && sa->state == IKE_ESTABLISHED) {
		struct task *t = child_task(in);

		if (t) {
			if (in->watch)
				list_push(&t->watches, &in->watch->node);
			task_queue(sa, t);
		} else {
			watch_fail(in->watch, "out of memory");
		}
	} else if (sa && (sa->state == IKE_CREATED || sa->state == IKE_CONNECTING) && sa->initiator) {
		join(in, sa);
	} else if (!initiate_fresh(in)) {
		return;
	}
	conn_unref(in->conn);
	free(in);
}

static void initiate(struct daemon *d, struct conn *conn, struct up_watch *watch, bool once, uint32_t reqid,
    const struct cy_ts *acq_src, const struct cy_ts *acq_dst)
{
	struct initiation *in;
	struct sa_manager *m = d->sas;

	if (sa_stopping(m)) {
		watch_fail(watch, "the daemon is stopping");
		return;
	}
	in = calloc(1, sizeof(*in));
	if (!in) {
		watch_fail(watch, "out of memory");
		return;
	}
	in->d = d;
	in->conn = conn_ref(conn);
	in->watch = watch;
	in->once = once;
	in->reqid = reqid ? reqid : traps_reqid(d->traps, conn);
	if (acq_src && acq_dst) {
		in->has_acquire = true;
		in->src = *acq_src;
		in->dst = *acq_dst;
	}
	in->job.fn = initiate_job;
	if (!(once || d->tune.reuse_ike_sa) || !unique_find_conf(m, conn, &in->s, &in->reuse))
		in->s = &m->shards[__atomic_fetch_add(&m->next_shard, 1, __ATOMIC_RELAXED) % m->n];
	worker_post(in->s->w, &in->job, PRIO_MEDIUM, acq_src ? JOB_ACQUIRE : JOB_INITIATE);
}

void sa_initiate(struct daemon *d, struct conn *conn, struct up_watch *watch, uint32_t reqid,
    const struct cy_ts *acq_src, const struct cy_ts *acq_dst)
{
	initiate(d, conn, watch, false, reqid, acq_src, acq_dst);
}

void sa_up(struct daemon *d, struct conn *conn, struct up_watch *watch)
{
	initiate(d, conn, watch, true, 0, NULL, NULL);
}

void sa_reauthenticate(struct ike_sa *old)
{
	struct ike_sa *sa;
	struct list *n;
	bool first = true;

	if (task_pending(old, TASK_IKE_DELETE, 0))
		return; /* somebody closes it */
	sa = new_initiator(old->shard, old->conn);
	if (!sa) { /* no memory: a little later, unless the hard lifetime ends it */
		worker_timer_set(old->shard->w, &old->t_rekey, worker_now(old->shard->w) + NS_PER_S);
		return;
	}
	ike_note(
	    old, LOG_IKE, CY_LOG_INFO, "reauthenticating: a new IKE_SA is made before this one is closed");
	SA_COUNT(sa->shard->m, reauths);
	sa->replaces = old->id;
	sa->local = old->local;
	sa->remote = old->remote;
	/* RFC 3947, 4: on the ports in use, by which the peer knows whose CHILD_SAs the new one takes over */
	sa->natt = sa->version == 1 && old->natt;
	/* those of IKEv1 do not hang on it: the new one takes them over */
	if (sa->version != 1)
		list_foreach (n, &old->children) {
			struct child_sa *c = list_entry(n, struct child_sa, node);
			struct task *t;

			/* those of CPUs come back when there is traffic */
			if ((c->state != CHILD_INSTALLED && c->state != CHILD_REKEYING) || child_is_extra(c))
				continue;
			t = task_new(first ? TASK_INIT : TASK_CHILD_CREATE);
			if (!t)
				break;
			t->conn = conn_ref(c->conn);
			t->reqid = c->reqid;
			list_push(&sa->tasks, &t->node);
			first = false;
		}
	if (first) {
		struct task *t = task_new(TASK_INIT);

		if (!t) {
			ike_sa_destroy(sa, "out of memory"); /* and is begun again */
			return;
		}
		t->conn = conn_ref(sa->conn);
		list_push(&sa->tasks, &t->node);
	}
	choose_source(sa);
}

void sa_reauth_failed(struct ike_sa *sa)
{
	struct ike_sa *old = sa_by_id(sa->shard, sa->replaces);
	uint64_t again = worker_now(sa->shard->w) + 20 * NS_PER_S;

	if (old && old->state == IKE_ESTABLISHED && !sa_stopping(sa->shard->m) &&
	    (!old->expire_due_ns || old->expire_due_ns > again))
		worker_timer_set(sa->shard->w, &old->t_rekey, again);
}

void sa_child_action(struct sa_shard *s, struct conn *conn, enum conn_dpd action)
{
	char why[160];

	if (sa_stopping(s->m))
		return;
	if (action == DPD_RESTART)
		sa_initiate(s->d, conn, NULL, 0, NULL, NULL);
	else if (action == DPD_HOLD && traps_route(s->d->traps, conn, why, sizeof(why)) == CY_E_INVAL)
		LOGF(s->d->log, LOG_CHD, CY_LOG_WARN, NULL, "%s", why);
}

/* --- traps -------------------------------------------------------------------------------------------------------- */

void sa_on_acquire(void *daemon, uint32_t reqid, uint64_t cookie, const struct cy_ts *src,
    const struct cy_ts *dst, int32_t cpu)
{
	struct daemon *d = daemon;
	struct up_watch *w;
	struct conn *conn;

	if (!d->traps || !d->sas)
		return;
	if (cpu >= 0) { /* there is a CHILD_SA, but not of that CPU */
		percpu_on_acquire(d, cookie, reqid, cpu);
		return;
	}
	conn = traps_acquire(d->traps, reqid);
	if (!conn) { /* not a trap's: a group whose first CHILD_SA is gone */
		percpu_on_acquire(d, cookie, reqid, -1);
		return;
	}
	w = traps_watch(d->traps, reqid);
	if (w)
		sa_initiate(d, conn, w, reqid, src, dst);
	conn_unref(conn);
}

/* --- down ---------------------------------------------------------------------------------------------------------- */

void ike_sa_close(struct ike_sa *sa, const char *why)
{
	struct task *t;

	if (sa->state == IKE_DELETING || sa->state == IKE_REKEYED)
		return; /* it goes anyway, and the peer expects it to be there until it has deleted it */
	if (sa->state != IKE_ESTABLISHED || (t = task_new(TASK_IKE_DELETE)) == NULL) {
		ike_sa_destroy(sa, why);
		return;
	}
	ike_sa_fail(sa, "%s", why);
	task_queue_front(sa, t);
}

struct termination {
	struct daemon *d;
	char name[128];
	uint64_t ike_id, child_id;
	bool children_only;                /* "NAME{}" */
	bool count_only;                   /* close nothing */
	uint64_t max_ike_id, max_child_id; /* what is younger came later and is not meant */
	uint32_t found;
	void (*done)(void *user, uint32_t n);
	void *user;
};

static void delete_child(struct ike_sa *sa, struct child_sa *c)
{
	struct task *t;

	if (task_pending(sa, TASK_CHILD_DELETE, c->id))
		return;
	t = task_new(TASK_CHILD_DELETE);
	if (!t)
		return;
	t->child_id = c->id;
	task_queue(sa, t);
}

/* What it cost. */
static uint32_t terminate_children(struct ike_sa *sa, struct termination *t)
{
	struct list *n, *tmp;
	uint32_t hits = 0;

	list_foreach_safe (n, tmp, &sa->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (c->id <= t->max_child_id &&
		    (t->child_id ? c->id == t->child_id : conn_is_called(c->conn, t->name))) {
			hits++;
			if (!t->count_only)
				delete_child(sa, c);
		}
	}
	__atomic_fetch_add(&t->found, hits, __ATOMIC_RELAXED);
	return sa->n_children + (t->count_only ? 0 : hits * SA_CLOSE_COST);
}

static uint32_t terminate_one(struct ike_sa *sa, void *user)
{
	struct termination *t = user;

	if (t->child_id || t->children_only)
		return terminate_children(sa, t);
	if (sa->id > t->max_ike_id)
		return 0;
	if (t->ike_id ? sa->id == t->ike_id : sa->conn && conn_is_called(sa->conn, t->name)) {
		__atomic_fetch_add(&t->found, 1, __ATOMIC_RELAXED);
		if (t->count_only)
			return 0;
		ike_sa_close(sa, "closed by the administrator");
		return SA_CLOSE_COST;
	}
	return t->ike_id ? 0 : terminate_children(sa, t);
}

static void terminate_numbered(struct sa_shard *s, void *user)
{
	struct termination *t = user;
	struct ike_sa *sa = sa_by_id(s, t->ike_id);

	if (sa)
		(void)terminate_one(sa, t);
}

static void terminate_done(void *user)
{
	struct termination *t = user;

	if (t->done)
		t->done(t->user, t->found);
	free(t);
}

static void for_each_named(struct daemon *d, const char *what, bool count_only, uint64_t max_ike_id,
    uint64_t max_child_id, void (*done)(void *user, uint32_t n), void *user)
{
	struct termination *t = calloc(1, sizeof(*t));
	size_t n = strcspn(what, "[{");

	if (!t || n >= sizeof(t->name)) {
		free(t);
		if (done)
			done(user, 0);
		return;
	}
	memcpy(t->name, what, n);
	if (what[n] == '[')
		t->ike_id = strtoull(what + n + 1, NULL, 10);
	else if (what[n] == '{')
		t->child_id = strtoull(what + n + 1, NULL, 10);
	t->children_only = what[n] == '{';
	t->count_only = count_only;
	t->max_ike_id = max_ike_id;
	t->max_child_id = max_child_id;
	t->d = d;
	t->done = done;
	t->user = user;
	if (t->ike_id ? sa_each_shard(d->sas, PRIO_CRITICAL, terminate_numbered, terminate_done, t)
	              : sa_each(d->sas, PRIO_CRITICAL, terminate_one, terminate_done, t))
		terminate_done(t);
}

void sa_terminate(struct daemon *d, const char *what, void (*done)(void *user, uint32_t n), void *user)
{
	for_each_named(d, what, false, UINT64_MAX, UINT64_MAX, done, user);
}

void sa_count_named(struct daemon *d, const char *what, uint64_t max_ike_id, uint64_t max_child_id,
    void (*done)(void *user, uint32_t n), void *user)
{
	for_each_named(d, what, true, max_ike_id, max_child_id, done, user);
}
