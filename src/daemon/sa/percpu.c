/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/percpu.h"

#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

/* Without clones= no peer needs more: a SA costs it little, and us memory. */
#define GROUP_MAX 256

bool percpu_wanted(const struct daemon *d, const struct conn *conn)
{
	return conn->per_cpu != PCPU_NO && knl_features(d->knl) & CY_KERNEL_PCPU;
}

static bool same_list(const struct cy_ts *a, uint32_t n_a, const struct cy_ts *b, uint32_t n_b)
{
	if (n_a != n_b)
		return false;
	for (uint32_t i = 0; i < n_a; i++)
		if (!ts_eq(&a[i], &b[i]))
			return false;
	return true;
}

/* One that lives, or that is being replaced by one that does. */
static bool counts(const struct child_sa *c)
{
	return c->per_cpu && (c->state == CHILD_INSTALLED || c->state == CHILD_REKEYING);
}

static bool same_mark(const struct cy_mark *a, const struct cy_mark *b)
{
	return a->value == b->value && a->mask == b->mask;
}

/* As it was before a reload, or after it: whatever its CHILD_SAs must have in common is the same. */
static bool same_conn(const struct conn *a, const struct conn *b)
{
	return a == b ||
	    (strcmp(a->name, b->name) == 0 && a->reqid == b->reqid && same_mark(&a->mark_in, &b->mark_in) &&
	        same_mark(&a->mark_out, &b->mark_out) && a->mark_in_own == b->mark_in_own &&
	        a->mark_out_own == b->mark_out_own && a->if_id_in == b->if_id_in &&
	        a->if_id_out == b->if_id_out && a->if_id_in_own == b->if_id_in_own &&
	        a->if_id_out_own == b->if_id_out_own);
}

struct child_sa *percpu_group(struct ike_sa *sa, const struct conn *conn, const struct child_sa *like)
{
	struct child_sa *any = NULL;
	struct list *n;

	list_foreach (n, &sa->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (!counts(c) || !same_conn(c->conn, conn) || c->mode != like->mode ||
		    !same_list(c->ts_local, c->n_ts_local, like->ts_local, like->n_ts_local) ||
		    !same_list(c->ts_remote, c->n_ts_remote, like->ts_remote, like->n_ts_remote))
			continue;
		if (c->is_fallback)
			return c;
		any = c;
	}
	return any;
}

static bool same_group(const struct child_sa *a, const struct child_sa *b)
{
	return a->per_cpu && b->per_cpu && a->reqid == b->reqid;
}

static bool has_cpu(const struct ike_sa *sa, const struct child_sa *member, int32_t cpu)
{
	struct list *n;

	list_foreach (n, &sa->children) {
		const struct child_sa *c = list_entry(n, struct child_sa, node);

		if ((cpu < 0 ? c->is_fallback : c->cpu == cpu) && counts(c) && same_group(c, member))
			return true;
	}
	return false;
}

bool percpu_room(const struct ike_sa *sa, const struct child_sa *member)
{
	uint32_t max = member->conn->clones ? member->conn->clones : GROUP_MAX, count = 0;
	struct list *n;

	list_foreach (n, &sa->children) {
		const struct child_sa *c = list_entry(n, struct child_sa, node);

		count += counts(c) && !c->is_fallback && same_group(c, member);
	}
	return count < max;
}

int32_t percpu_free_cpu(const struct ike_sa *sa, const struct child_sa *member, uint32_t wanted)
{
	uint32_t cpus = sa->shard->d->tune.cpus;

	if (wanted < cpus && !has_cpu(sa, member, (int32_t)wanted))
		return (int32_t)wanted;
	for (uint32_t i = 0; i < cpus; i++)
		if (!has_cpu(sa, member, (int32_t)i))
			return (int32_t)i;
	return -1;
}

void percpu_set_full(struct ike_sa *sa, const struct child_sa *member, bool full)
{
	const struct child_sa *holder = NULL;
	bool changed = false;
	struct knl_req *r;
	struct list *n;

	list_foreach (n, &sa->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (!same_group(c, member))
			continue;
		changed = changed || c->group_full != full;
		c->group_full = full;
		if (c->policies_installed)
			holder = c;
	}
	/* also when it is full already: the data plane waits for an answer to what it asked */
	if (holder && (changed || full) && (r = child_policies_req(holder)) != NULL)
		knl_submit(sa->shard->d->knl, r);
}

void percpu_gone(struct ike_sa *sa, const struct child_sa *c)
{
	if (c->per_cpu && c->group_full && (c->state == CHILD_INSTALLED || c->state == CHILD_DELETING))
		percpu_set_full(sa, c, false);
}

bool percpu_missing(struct ike_sa *sa, const struct child_sa *member, int32_t cpu)
{
	if (has_cpu(sa, member, cpu))
		return false;
	if (cpu < 0)
		return true;
	if (member->group_full)
		return false;
	if (percpu_room(sa, member))
		return true;
	percpu_set_full(sa, member, true);
	return false;
}

/* ---- the data plane asks for one */

struct acquire {
	struct job job;
	struct sa_shard *s;
	uint32_t spi_in, reqid;
	int32_t cpu;
};

static bool on_its_way(const struct ike_sa *sa, const struct child_sa *member, int32_t cpu)
{
	struct list *n;

	if (sa->task && sa->task->kind == TASK_CHILD_CREATE && sa->task->reqid == member->reqid &&
	    sa->task->cpu == cpu)
		return true;
	list_foreach (n, &sa->tasks) {
		const struct task *t = list_entry(n, struct task, node);

		if (t->kind == TASK_CHILD_CREATE && t->reqid == member->reqid && t->cpu == cpu)
			return true;
	}
	return false;
}

static void create(struct sa_shard *s, uint32_t spi_in, uint32_t reqid, int32_t cpu)
{
	struct child_sa *c = child_find_in(s, spi_in);
	struct ike_sa *sa = c ? c->sa : NULL;
	struct task *t;

	if (!c || !c->per_cpu || c->reqid != reqid || !list_linked(&c->node) ||
	    sa->state != IKE_ESTABLISHED || on_its_way(sa, c, cpu) || !percpu_missing(sa, c, cpu))
		return;
	t = task_new(TASK_CHILD_CREATE);
	if (!t)
		return;
	t->conn = conn_ref(c->conn);
	t->reqid = c->reqid;
	t->cpu = cpu;
	t->like = c->id;
	task_queue(sa, t);
}

static void acquire_job(struct worker *w, struct job *j)
{
	struct acquire *a = container_of(j, struct acquire, job);

	(void)w;
	create(a->s, a->spi_in, a->reqid, a->cpu);
	free(a);
}

void percpu_on_acquire(struct daemon *d, uint64_t cookie, uint32_t reqid, int32_t cpu)
{
	struct acquire *a = d->sas ? calloc(1, sizeof(*a)) : NULL;

	if (!a)
		return;
	a->job.fn = acquire_job;
	a->s = &d->sas->shards[net_esp_spi_owner(d->net, (uint32_t)cookie)];
	a->spi_in = (uint32_t)cookie;
	a->reqid = reqid;
	a->cpu = cpu;
	worker_post(a->s->w, &a->job, PRIO_HIGH, JOB_EXPIRE);
}
