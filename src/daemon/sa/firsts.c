/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/firsts.h"

#include <stdlib.h>

#define AT_ONCE 1000 /* old ones that are dropped in one step */

struct first {
	struct hnode by_spi;
	struct list by_age;
	uint64_t spi_r, since_ns;
	struct net_packet *p;
};

static size_t size_of(const struct first *k)
{
	return sizeof(*k) + sizeof(*k->p) + k->p->len;
}

static struct net_packet *forget(struct firsts *f, struct first *k)
{
	struct net_packet *p = k->p;

	f->bytes -= size_of(k);
	hmap_del(&f->by_spi, &k->by_spi);
	list_del(&k->by_age);
	if (list_empty(&f->by_age))
		worker_timer_cancel(f->w, &f->t_old);
	free(k);
	return p;
}

static struct first *oldest(const struct firsts *f)
{
	struct list *n = list_first(&f->by_age);

	return n ? list_entry(n, struct first, by_age) : NULL;
}

static void on_old(struct timer *t)
{
	struct firsts *f = container_of(t, struct firsts, t_old);
	uint64_t now = worker_now(f->w);
	struct first *k;
	int n = 0;

	while ((k = oldest(f)) && now - k->since_ns >= f->keep_ns && n++ < AT_ONCE)
		net_packet_free(forget(f, k));
	if (k)
		worker_timer_set(f->w, &f->t_old, n > AT_ONCE ? now : k->since_ns + f->keep_ns);
}

enum cy_err firsts_init(struct firsts *f, struct worker *w, const uint64_t key[2], uint64_t keep_ns)
{
	list_init(&f->by_age);
	f->w = w;
	f->keep_ns = keep_ns;
	f->t_old.fn = on_old;
	return hmap_init(&f->by_spi, key);
}

void firsts_fini(struct firsts *f)
{
	struct first *k;

	if (!f->w) /* it never was */
		return;
	worker_timer_cancel(f->w, &f->t_old);
	while ((k = oldest(f)))
		net_packet_free(forget(f, k));
	hmap_fini(&f->by_spi);
}

void firsts_keep_take(struct firsts *f, struct net_packet *p, uint64_t spi_r, size_t max)
{
	struct first *k = calloc(1, sizeof(*k)), *old;

	if (!k) {
		net_packet_free(p);
		return;
	}
	k->p = p;
	k->spi_r = spi_r;
	k->since_ns = worker_now(f->w);
	f->bytes += size_of(k);
	hmap_add(&f->by_spi, &k->by_spi, hmap_hash(&f->by_spi, &spi_r, sizeof(spi_r)));
	list_push(&f->by_age, &k->by_age);
	while (f->bytes > max && (old = oldest(f)) != k)
		net_packet_free(forget(f, old));
	if (!timer_is_set(&f->t_old))
		worker_timer_set(f->w, &f->t_old, k->since_ns + f->keep_ns);
}

static struct first *find(const struct firsts *f, uint64_t spi_i, uint64_t spi_r, const struct cy_addr *from)
{
	struct hnode *n = hmap_first(&f->by_spi, hmap_hash(&f->by_spi, &spi_r, sizeof(spi_r)));

	for (; n; n = hmap_next(n)) {
		struct first *k = container_of(n, struct first, by_spi);

		if (k->spi_r == spi_r && k->p->h.spi_i == spi_i && cy_addr_ip_eq(&k->p->src, from))
			return k;
	}
	return NULL;
}

bool firsts_has(const struct firsts *f, uint64_t spi_i, uint64_t spi_r, const struct cy_addr *from)
{
	return find(f, spi_i, spi_r, from) != NULL;
}

struct net_packet *firsts_take(struct firsts *f, uint64_t spi_i, uint64_t spi_r, const struct cy_addr *from)
{
	struct first *k = find(f, spi_i, spi_r, from);

	return k ? forget(f, k) : NULL;
}
