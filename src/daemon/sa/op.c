/* SPDX-License-Identifier: Apache-2.0 */
/* Operations an IKE_SA waits for: pool work and kernel requests, found again by handle and operation number. */
#include <stdlib.h>

#include "daemon/sa/about.h"
#include "daemon/sa/manager.h"

static uint64_t op_begin(struct ike_sa *sa)
{
	sa->op_id = ++sa->last_op_id;
	return sa->op_id;
}

/* The SA that waits for this operation, no longer busy; NULL when it is gone. */
static struct ike_sa *op_finish(struct sa_shard *s, slab_handle h, uint64_t op_id)
{
	struct ike_sa *sa = slab_get(&s->slab, h);

	if (!sa || sa->op_id != op_id)
		return NULL;
	sa->op_id = 0;
	sa_about(sa);
	return sa;
}

/* --- the pool ------------------------------------------------------------------------------------------------- */

struct ike_work {
	struct work work;
	struct sa_shard *shard;
	slab_handle handle;
	uint64_t op_id;
	enum cy_err (*fn)(void *arg);
	ike_cont cont;
	void (*drop)(void *arg);
	void *arg;
	enum cy_err result;
};

static void work_run(struct work *w)
{
	struct ike_work *iw = container_of(w, struct ike_work, work);

	iw->result = iw->fn(iw->arg);
}

static void work_done(struct worker *worker, struct work *w, enum cy_err err)
{
	struct ike_work *iw = container_of(w, struct ike_work, work);
	struct ike_sa *sa = op_finish(iw->shard, iw->handle, iw->op_id);

	if (sa)
		iw->cont(sa, iw->arg, err ? err : iw->result);
	else
		iw->drop(iw->arg);
	free(iw);
}

void ike_run(struct ike_sa *sa, bool slow, enum cy_err (*fn)(void *arg), ike_cont cont,
    void (*drop)(void *arg), void *arg)
{
	struct ike_work *iw;

	if (!slow) {
		cont(sa, arg, fn(arg));
		return;
	}
	iw = calloc(1, sizeof(*iw));
	if (!iw) {
		cont(sa, arg, CY_E_NOMEM);
		return;
	}
	iw->shard = sa->shard;
	iw->handle = sa->handle;
	iw->op_id = op_begin(sa);
	iw->fn = fn;
	iw->cont = cont;
	iw->drop = drop;
	iw->arg = arg;
	iw->work.run = work_run;
	iw->work.done = work_done;
	iw->work.worker = sa->shard->w;
	iw->work.owner = "crypto";
	iw->work.prio = PRIO_HIGH;
	iw->work.class = POOL_CPU;
	pool_submit(sa->shard->d->pool, &iw->work);
}

/* --- the kernel ------------------------------------------------------------------------------------------------ */

struct kernel_op {
	struct sa_shard *shard;
	ike_cont cont;
};

/* What takes back a step that was done; false: nothing does. */
static bool turn_round(struct knl_step *s)
{
	struct cy_kernel_sa_id id;

	if (!s->done || s->err)
		return false;
	switch (s->op) {
	case KNL_SA_ADD:
		id = knl_sa_id(&s->u.add.sa);
		free(s->u.add.ts);
		mem_wipe(&s->u.add, sizeof(s->u.add));
		s->op = KNL_SA_DEL;
		s->u.id = id;
		return true;
	case KNL_POLICY_ADD:
		s->op = KNL_POLICY_DEL;
		return true;
	case KNL_ADDR_SET:
		s->u.addr.on = !s->u.addr.on;
		return !s->u.addr.on;
	case KNL_DEVICE_USE:
		s->op = KNL_DEVICE_UNUSE;
		return true;
	default:
		return false;
	}
}

static void forget_step(struct knl_step *s)
{
	if (s->op == KNL_SA_ADD) {
		free(s->u.add.ts);
		mem_wipe(&s->u.add, sizeof(s->u.add));
	} else if (s->op == KNL_DEVICE_USE || s->op == KNL_DEVICE_UNUSE) {
		conn_unref(s->u.device.conn);
	}
}

/*
 * Its SA is gone: whatever the request added belongs to nobody, so take it out again, the last first. The request itself is
 * turned round, because there may be no memory for another.
 */
static void remove_orphans(struct knl *k, struct knl_req *r)
{
	uint32_t n = 0;

	if (r->err && r->undo) { /* undone already */
		knl_req_free(r);
		return;
	}
	for (uint32_t i = 0; i < r->n / 2; i++) {
		struct knl_step s = r->step[i];

		r->step[i] = r->step[r->n - 1 - i];
		r->step[r->n - 1 - i] = s;
		mem_wipe(&s, sizeof(s));
	}
	for (uint32_t i = 0; i < r->n; i++) {
		struct knl_step *s = &r->step[i];

		if (!turn_round(s)) {
			forget_step(s);
			continue;
		}
		s->done = false;
		if (n != i)
			r->step[n] = *s;
		n++;
	}
	r->n = n;
	r->err = CY_OK;
	r->undo = false;
	r->worker = NULL;
	r->done = NULL;
	if (n)
		knl_submit(k, r);
	else
		knl_req_free(r);
}

static void kernel_done(struct worker *w, struct knl_req *r)
{
	struct kernel_op *op = r->user;
	struct ike_sa *sa = op_finish(op->shard, r->sa_handle, r->op_id);

	if (sa) {
		op->cont(sa, r, r->err);
	} else {
		remove_orphans(op->shard->d->knl, r);
	}
	free(op);
}

void ike_kernel(struct ike_sa *sa, struct knl_req *r, ike_cont cont)
{
	struct kernel_op *op = calloc(1, sizeof(*op));

	if (!op) {
		cont(sa, r, CY_E_NOMEM);
		return;
	}
	op->shard = sa->shard;
	op->cont = cont;
	r->user = op;
	r->worker = sa->shard->w;
	r->sa_handle = sa->handle;
	r->op_id = op_begin(sa);
	r->done = kernel_done;
	knl_submit(sa->shard->d->knl, r);
}

/* --- logins ---------------------------------------------------------------------------------------------------- */

struct xauth_op {
	struct xauth_wait wait;
	struct sa_shard *shard;
	slab_handle handle;
	uint64_t op_id;
	ike_xauth_cont cont;
};

bool ike_set_user(struct ike_sa *sa, const char *user)
{
	char *copy = user && *user ? strdup(user) : NULL;

	if (user && *user && !copy)
		return false;
	free(sa->user);
	sa->user = copy;
	return true;
}

static void log_answer(struct ike_sa *sa, const struct xauth_answer *a)
{
	const char *why = *a->reason ? ": " : "", *user = sa->user ? sa->user : "";

	if (a->result == CY_XAUTH_OK && !a->soft)
		ike_note(
		    sa, LOG_IKE, CY_LOG_NOTICE, "XAUTH: user '%s' is logged in%s%s", user, why, a->reason);
	else if (a->result == CY_XAUTH_OK)
		ike_note(sa, LOG_IKE, CY_LOG_WARN,
		    "XAUTH: user '%s' is refused%s%s; let in by xauthfail=soft", user, why, a->reason);
	else if (a->result == CY_XAUTH_FAIL)
		ike_note(sa, LOG_IKE, CY_LOG_WARN, "XAUTH: user '%s' is refused%s%s", user, why, a->reason);
	else if (a->result == CY_XAUTH_ERROR)
		ike_note(sa, LOG_IKE, CY_LOG_ERROR, "XAUTH: user '%s' cannot be checked%s%s", user, why,
		    a->reason);
	else
		ike_note(sa, LOG_IKE, CY_LOG_INFO, "XAUTH: user '%s' is asked again", user);
}

/* False: no memory; whoever would be let in without it may get what is another's. */
static bool take_assigned(struct ike_sa *sa, const struct xauth_answer *a)
{
	struct ike_assigned *to = &sa->assigned;

	free(to->pool);
	free(to->group);
	*to = (struct ike_assigned){.addr = a->address,
	    .pool = *a->pool ? strdup(a->pool) : NULL,
	    .group = *a->group ? strdup(a->group) : NULL};
	return (!*a->pool || to->pool) && (!*a->group || to->group);
}

/* What the back end cannot know: is he connected already, and may he not be? NULL: he may come in. */
static const char *why_not(const struct ike_sa *sa, const struct xauth_answer *a)
{
	if (a->result == CY_XAUTH_OK && sa->conn->unique == UNIQUE_KEEP &&
	    !unique_session(sa->shard->m, sa) && unique_known_user(sa->shard->m, sa))
		return "the user is connected already, and uniqueids=keep";
	return NULL;
}

static void xauth_answered(struct worker *w, struct xauth_wait *x, const struct xauth_answer *a)
{
	struct xauth_op *op = container_of(x, struct xauth_op, wait);
	struct ike_sa *sa = op_finish(op->shard, op->handle, op->op_id);
	struct xauth_answer own = {.result = CY_XAUTH_FAIL, .message = "", .pool = "", .group = ""};

	(void)w;
	if (!sa) {
		free(op);
		return;
	}
	own.reason = why_not(sa, a);
	if (!own.reason && a->result == CY_XAUTH_OK && !take_assigned(sa, a)) {
		own.result = CY_XAUTH_ERROR;
		own.reason = "out of memory";
	}
	if (own.reason) {
		ike_xauth_end(sa);
		a = &own;
	} else if (a->result != CY_XAUTH_OK && a->result != CY_XAUTH_CHALLENGE) {
		sa->xauth_login = 0;
	}
	log_answer(sa, a);
	op->cont(sa, a);
	free(op);
}

static struct xauth_op *xauth_op_new(struct ike_sa *sa, ike_xauth_cont cont)
{
	struct xauth_op *op = calloc(1, sizeof(*op));
	const struct tuning *t = &sa->shard->d->tune;

	if (!op)
		return NULL;
	op->wait.done = xauth_answered;
	op->shard = sa->shard;
	op->handle = sa->handle;
	op->cont = cont;
	if (timer_is_set(&sa->t_half_open))
		worker_timer_set(sa->shard->w, &sa->t_half_open,
		    worker_now(sa->shard->w) + t->xauth_deadline_ns + t->half_open_timeout_ns);
	return op;
}

static void xauth_failed(struct ike_sa *sa, ike_xauth_cont cont, enum cy_xauth_result result, const char *why)
{
	const struct xauth_answer a = {
	    .result = result, .message = "", .reason = why, .pool = "", .group = ""};

	log_answer(sa, &a);
	cont(sa, &a);
}

void ike_xauth_begin(struct ike_sa *sa, const char *user, struct cy_slice password, ike_xauth_cont cont)
{
	struct xauth_op *op;
	char id[IDENT_STR_MAX];

	ike_xauth_end(sa);
	if (sa->conn->remote.xauth_user && strcmp(sa->conn->remote.xauth_user, user) != 0) {
		(void)ike_set_user(sa, user);
		xauth_failed(sa, cont, CY_XAUTH_FAIL, "the connection is of another user");
		return;
	}
	op = ike_set_user(sa, user) ? xauth_op_new(sa, cont) : NULL;
	if (op)
		sa->xauth_login = xauth_begin(sa->shard->d->xauth, sa->shard->w,
		    &(struct xauth_request){.backend = sa->conn->xauth_backend ? sa->conn->xauth_backend : "",
		        .user = user,
		        .password = password,
		        .conn = sa->conn->name,
		        .remote_id = ident_str(&sa->peer_id, id),
		        .local = sa->local,
		        .remote = sa->remote,
		        .session = sa->id,
		        .soft = sa->conn->xauth_soft},
		    &op->wait);
	if (op && sa->xauth_login) {
		op->op_id = op_begin(sa);
		return;
	}
	free(op);
	xauth_failed(sa, cont, CY_XAUTH_ERROR, "out of memory");
}

void ike_xauth_reply(struct ike_sa *sa, struct cy_slice answer, ike_xauth_cont cont)
{
	struct xauth_op *op = xauth_op_new(sa, cont);

	if (op && xauth_reply(sa->shard->d->xauth, sa->shard->w, sa->xauth_login, answer, &op->wait)) {
		op->op_id = op_begin(sa);
		return;
	}
	xauth_failed(sa, cont, CY_XAUTH_ERROR, op ? "nothing was asked" : "out of memory");
	free(op);
}

void ike_xauth_end(struct ike_sa *sa)
{
	xauth_end(sa->shard->d->xauth, sa->shard->w, sa->xauth_login);
	sa->xauth_login = 0;
}
