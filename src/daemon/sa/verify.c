/* SPDX-License-Identifier: Apache-2.0 */
/* The peer's proof, and whether its certificates were revoked: two operations an IKE_SA waits for, as one. */
#include <stdlib.h>

#include "daemon/auth/auth.h"
#include "daemon/auth/revocation.h"
#include "daemon/sa/about.h"
#include "daemon/sa/manager.h"

struct ike_verification {
	struct sa_shard *shard;
	slab_handle handle;
	enum cy_err (*fn)(void *op);
	ike_cont cont;
	struct auth_op *op;
	struct revocation *waits;
};

static void finish(struct ike_sa *sa, ike_cont cont, struct auth_op *op, enum cy_err err)
{
	if (!err && op->why[0])
		ike_note(sa, LOG_IKE, CY_LOG_NOTICE, "%s; the peer is accepted all the same", op->why);
	if (!err)
		op->why[0] = '\0';
	cont(sa, op, err);
}

static void decided(void *user, enum cy_err err)
{
	struct ike_verification *v = user;
	struct ike_sa *sa = slab_get(&v->shard->slab, v->handle);
	struct auth_op *op = v->op;
	ike_cont cont = v->cont;

	/* an SA that goes has cancelled it: it is there, and waits for this */
	sa->verification = NULL;
	sa->op_id = 0;
	free(v);
	sa_about(sa);
	finish(sa, cont, op, err);
}

void ike_verify_end(struct ike_sa *sa)
{
	struct ike_verification *v = sa->verification;

	if (!v)
		return;
	sa->verification = NULL;
	revocation_cancel(v->waits);
	auth_op_free(v->op);
	free(v);
}

static void ask_servers(struct ike_sa *sa, struct ike_verification *v)
{
	const struct tuning *t = &sa->shard->d->tune;
	struct auth_op *op = v->op;
	ike_cont cont = v->cont;
	enum cy_err err;

	op->why[0] = '\0'; /* a key that was tried in vain may have left something there */
	if (revocation_check(op, sa->shard->w, decided, v, &v->waits, &err)) {
		free(v);
		finish(sa, cont, op, err);
		return;
	}
	sa->verification = v;
	sa->op_id = ++sa->last_op_id;
	if (timer_is_set(&sa->t_half_open))
		worker_timer_set(sa->shard->w, &sa->t_half_open,
		    worker_now(sa->shard->w) + t->revocation_timeout_ns + t->half_open_timeout_ns);
}

static void proven(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_verification *v = arg;
	struct auth_op *op;
	ike_cont cont;

	if (!err) {
		ask_servers(sa, v);
		return;
	}
	cont = v->cont;
	op = v->op;
	free(v);
	cont(sa, op, err);
}

static enum cy_err run(void *arg)
{
	struct ike_verification *v = arg;

	return v->fn(v->op);
}

static void drop(void *arg)
{
	struct ike_verification *v = arg;

	auth_op_free(v->op);
	free(v);
}

void ike_verify(struct ike_sa *sa, enum cy_err (*fn)(void *op), ike_cont cont, struct auth_op *op)
{
	struct ike_verification *v = calloc(1, sizeof(*v));

	if (!v) {
		cont(sa, op, CY_E_NOMEM);
		return;
	}
	v->shard = sa->shard;
	v->handle = sa->handle;
	v->fn = fn;
	v->cont = cont;
	v->op = op;
	ike_run(sa, auth_verify_is_slow(op), run, proven, drop, v);
}
