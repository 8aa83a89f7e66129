/* SPDX-License-Identifier: Apache-2.0 */
/* Operations an IKE_SA waits for: pool work and kernel requests, found again by handle and operation number. */
#include <stdlib.h>

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
		id = (struct cy_kernel_sa_id){.spi = s->u.add.sa.spi,
		    .src = s->u.add.sa.src,
		    .dst = s->u.add.sa.dst,
		    .proto = s->u.add.sa.proto,
		    .dir = s->u.add.sa.dir,
		    .mark = s->u.add.sa.mark,
		    .if_id = s->u.add.sa.if_id};
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
	default:
		return false;
	}
}

static void forget_step(struct knl_step *s)
{
	if (s->op == KNL_SA_ADD) {
		free(s->u.add.ts);
		mem_wipe(&s->u.add, sizeof(s->u.add));
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
