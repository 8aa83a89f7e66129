/* SPDX-License-Identifier: Apache-2.0 */
/* Visits every IKE_SA on its worker, in steps that are short. */
#include <stdlib.h>

#include "daemon/control/span.h"
#include "daemon/sa/manager.h"

#define VISITS 256

struct walk;
struct walk_job {
	struct job job;
	struct walk *walk;
	struct sa_shard *s;
	size_t pos;
	void *acc;
};

struct walk {
	struct post post;
	struct control *c;
	const struct walk_query *q;
	void *arg;
	uint32_t n, left; /* left: atomic */
	struct walk_job jobs[];
};

static void walk_free(struct walk *w)
{
	for (uint32_t i = 0; i < w->n; i++) {
		if (w->jobs[i].acc && w->q->acc_fini)
			w->q->acc_fini(w->jobs[i].acc);
		free(w->jobs[i].acc);
	}
	free(w);
}

static void walk_back(struct control *c, struct post *p)
{
	struct walk *w = container_of(p, struct walk, post);
	void **acc = calloc(w->n, sizeof(*acc));

	for (uint32_t i = 0; acc && i < w->n; i++)
		acc[i] = w->jobs[i].acc;
	w->q->done(c, w->arg, acc, acc ? w->n : 0);
	free(acc);
	walk_free(w);
}

static void walk_run(struct worker *worker, struct job *j)
{
	struct walk_job *wj = container_of(j, struct walk_job, job);
	struct walk *w = wj->walk;
	struct ike_sa *sa = NULL;
	slab_handle h;

	for (int i = 0; i < VISITS && (sa = slab_next(&wj->s->slab, &wj->pos, &h)); i++)
		w->q->visit(wj->acc, sa);
	if (sa)
		worker_post(worker, j, PRIO_MEDIUM, JOB_CONTROL);
	else if (__atomic_sub_fetch(&w->left, 1, __ATOMIC_ACQ_REL) == 0)
		control_post(w->c, &w->post);
}

enum cy_err walk_sas(struct control *c, const struct walk_query *q, void *arg)
{
	struct sa_manager *m = c->d->sas;
	struct walk *w = calloc(1, sizeof(*w) + m->n * sizeof(w->jobs[0]));

	if (!w)
		return CY_E_NOMEM;
	w->c = c;
	w->q = q;
	w->arg = arg;
	w->n = w->left = m->n;
	list_init(&w->post.node);
	w->post.fn = walk_back;
	for (uint32_t i = 0; i < w->n; i++) {
		w->jobs[i].job.fn = walk_run;
		w->jobs[i].walk = w;
		w->jobs[i].s = &m->shards[i];
		w->jobs[i].acc = calloc(1, q->acc_size);
		if (!w->jobs[i].acc) {
			walk_free(w);
			return CY_E_NOMEM;
		}
	}
	for (uint32_t i = 0; i < m->n; i++)
		worker_post(m->shards[i].w, &w->jobs[i].job, PRIO_MEDIUM, JOB_CONTROL);
	return CY_OK;
}
