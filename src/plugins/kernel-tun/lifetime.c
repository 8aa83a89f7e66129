/* SPDX-License-Identifier: Apache-2.0 */

#include "lifetime.h"

#include <stdlib.h>

#define EVENTS_AT_ONCE 32

/* ---- a heap of SAs, the next deadline first */

static uint64_t deadline(const struct sa *sa)
{
	return sa->soft_at ? sa->soft_at : sa->hard_at;
}

static void put_at(struct lifetimes *l, size_t i, struct sa *sa)
{
	l->heap[i] = sa;
	sa->life_index = i + 1;
}

static void sift(struct lifetimes *l, size_t i)
{
	struct sa *sa = l->heap[i];

	for (; i > 0 && deadline(sa) < deadline(l->heap[(i - 1) / 2]); i = (i - 1) / 2)
		put_at(l, i, l->heap[(i - 1) / 2]);
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < l->n && deadline(l->heap[child + 1]) < deadline(l->heap[child]))
			child++;
		if (child >= l->n || deadline(l->heap[child]) >= deadline(sa))
			break;
		put_at(l, i, l->heap[child]);
		i = child;
	}
	put_at(l, i, sa);
}

enum cy_err lifetimes_new(struct kernel *k, struct lifetimes **out)
{
	struct lifetimes *l = calloc(1, sizeof(*l));

	if (!l)
		return CY_E_NOMEM;
	l->k = k;
	*out = l;
	return CY_OK;
}

void lifetimes_free(struct lifetimes *l)
{
	if (!l)
		return;
	free(l->heap);
	free(l);
}

enum cy_err lifetimes_add(struct lifetimes *l, struct sa *sa)
{
	if (!deadline(sa))
		return CY_OK;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct sa **heap = realloc(l->heap, cap * sizeof(heap[0]));

		if (!heap)
			return CY_E_NOMEM;
		l->heap = heap;
		l->cap = cap;
	}
	put_at(l, l->n, sa);
	sift(l, l->n++);
	return CY_OK;
}

void lifetimes_del(struct lifetimes *l, struct sa *sa)
{
	size_t i = sa->life_index;

	if (i == 0)
		return;
	sa->life_index = 0;
	if (--l->n == i - 1)
		return;
	put_at(l, i - 1, l->heap[l->n]);
	sift(l, i - 1);
}

/* ---- telling */

/* True for the one caller that may tell. */
static bool first_time(atomic_bool *flag)
{
	return !atomic_load_explicit(flag, memory_order_relaxed) &&
	    !atomic_exchange_explicit(flag, true, memory_order_relaxed);
}

static void tell(struct kernel *k, const struct cy_kernel_sa_id *id, bool hard)
{
	if (k->ev.expire)
		k->ev.expire(k->ev.user, id, hard);
}

void sa_kill(struct kernel *k, struct sa *sa)
{
	struct cy_kernel_sa_id id;

	if (!first_time(&sa->dead))
		return;
	sa_id(sa, &id);
	tell(k, &id, true);
}

void sa_soft_expire(struct kernel *k, struct sa *sa)
{
	struct cy_kernel_sa_id id;

	if (!first_time(&sa->soft_told))
		return;
	sa_id(sa, &id);
	tell(k, &id, false);
}

void sa_count(struct kernel *k, struct sa *sa, size_t n, int64_t wall)
{
	uint64_t bytes = atomic_fetch_add_explicit(&sa->bytes, n, memory_order_relaxed) + n;
	uint64_t packets = atomic_fetch_add_explicit(&sa->packets, 1, memory_order_relaxed) + 1;
	const struct cy_lifetime *life = &sa->life;

	atomic_store_explicit(&sa->last_used, wall, memory_order_relaxed);
	if ((life->hard_bytes && bytes >= life->hard_bytes) ||
	    (life->hard_packets && packets >= life->hard_packets))
		sa_kill(k, sa);
	else if ((life->soft_bytes && bytes >= life->soft_bytes) ||
	    (life->soft_packets && packets >= life->soft_packets))
		sa_soft_expire(k, sa);
}

void lifetimes_run(struct lifetimes *l)
{
	struct kernel *k = l->k;
	struct cy_kernel_sa_id id[EVENTS_AT_ONCE];
	bool hard[EVENTS_AT_ONCE];
	size_t n;

	do {
		uint64_t now = k->host->now_ns(k->self);

		n = 0;
		pthread_mutex_lock(&k->lock);
		while (n < EVENTS_AT_ONCE && l->n && deadline(l->heap[0]) <= now) {
			struct sa *sa = l->heap[0];
			bool told;

			sa_id(sa, &id[n]);
			hard[n] = sa->soft_at == 0 || (sa->hard_at && sa->hard_at <= now);
			lifetimes_del(l, sa);
			sa->soft_at = 0;
			told = !first_time(hard[n] ? &sa->dead : &sa->soft_told);
			if (!hard[n])
				/* the heap has room: it has just lost this entry */
				(void)!lifetimes_add(l, sa);
			n += !told;
		}
		pthread_mutex_unlock(&k->lock);
		for (size_t i = 0; i < n; i++)
			tell(k, &id[i], hard[i]);
	} while (n == EVENTS_AT_ONCE);
}
