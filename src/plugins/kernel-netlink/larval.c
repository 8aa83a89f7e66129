/* SPDX-License-Identifier: Apache-2.0 */

#include "larval.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define MAX_LARVALS 4096

void larval_made(struct kernel *k, const struct xfrm_user_acquire *a, const struct xfrm_user_tmpl *t,
    const struct cy_mark *mark, uint32_t if_id, int32_t cpu)
{
	struct larval *l = calloc(1, sizeof(*l));

	if (!l)
		return;
	l->info.id = a->id;
	l->info.saddr = a->saddr;
	l->info.family = t->family;
	l->info.mode = t->mode;
	l->info.reqid = t->reqid;
	l->info.seq = a->seq;
	l->mark = *mark;
	l->if_id = if_id;
	l->cpu = cpu;
	pthread_mutex_lock(&k->lock);
	/* beyond that many they end by themselves */
	if (k->n_larvals < MAX_LARVALS) {
		l->next = k->larvals;
		k->larvals = l;
		k->n_larvals++;
		l = NULL;
	}
	pthread_mutex_unlock(&k->lock);
	free(l);
}

typedef bool (*match_fn)(const struct larval *l, const void *with);

/* Takes the first that matches out of the list, NULL none. */
static struct larval *take(struct kernel *k, match_fn match, const void *with)
{
	struct larval **at, *l;

	pthread_mutex_lock(&k->lock);
	for (at = &k->larvals; *at && !match(*at, with); at = &(*at)->next)
		;
	l = *at;
	if (l) {
		*at = l->next;
		k->n_larvals--;
	}
	pthread_mutex_unlock(&k->lock);
	return l;
}

static bool match_info(const struct larval *l, const void *with)
{
	const struct xfrm_usersa_info *x = with;

	return l->info.seq == x->seq && l->info.reqid == x->reqid;
}

void larval_gone(struct kernel *k, const struct xfrm_usersa_info *info)
{
	free(take(k, match_info, info));
}

/* As xfrm_state_add() looks for the acquire that an SA answers. */
static bool match_sa(const struct larval *l, const void *with)
{
	const struct cy_kernel_sa *sa = with;
	struct cy_addr src = from_xfrm(&l->info.saddr, l->info.family);
	struct cy_addr dst = from_xfrm(&l->info.id.daddr, l->info.family);

	return l->info.reqid == sa->reqid && l->info.id.proto == sa->proto && l->if_id == sa->if_id &&
	    l->cpu == sa->cpu && cy_addr_ip_eq(&src, &sa->src) && cy_addr_ip_eq(&dst, &sa->dst);
}

void larval_replaced(struct kernel *k, const struct cy_kernel_sa *sa)
{
	free(take(k, match_sa, sa));
}

static bool match_reqid(const struct larval *l, const void *with)
{
	uint32_t reqid = *(const uint32_t *)with;

	return reqid == 0 || l->info.reqid == reqid;
}

static void take_spi(void *user, const struct nlmsghdr *nlh)
{
	struct xfrm_usersa_info x;

	if (nlh->nlmsg_type == XFRM_MSG_NEWSA && nl_header(nlh, &x, sizeof(x)))
		*(uint32_t *)user = x.id.spi;
}

/* An SA without an SPI has no name that it could be removed by, so it is given one. */
static void remove_one(struct kernel *k, const struct larval *l)
{
	struct xfrm_mark mark = {.v = l->mark.value, .m = l->mark.mask};
	struct xfrm_userspi_info *x;
	struct xfrm_usersa_id *id;
	struct nl_msg m;
	uint32_t spi = 0;

	x = nl_begin(&m, XFRM_MSG_ALLOCSPI, 0, sizeof(*x));
	x->info = l->info;
	x->min = 0x100;
	x->max = 0xffffffff;
	if (mark.m)
		nl_put(&m, XFRMA_MARK, &mark, sizeof(mark));
	if (l->if_id)
		nl_put_u32(&m, XFRMA_IF_ID, l->if_id);
	if (l->cpu >= 0) {
		static const uint8_t out = KN_SA_DIR_OUT;

		nl_put(&m, KN_XFRMA_SA_DIR, &out, sizeof(out));
		nl_put_u32(&m, KN_XFRMA_SA_PCPU, (uint32_t)l->cpu);
	}
	if (nl_query(k->xfrm, &m, take_spi, &spi) < 0 || !spi)
		return;
	id = nl_begin(&m, XFRM_MSG_DELSA, 0, sizeof(*id));
	id->daddr = l->info.id.daddr;
	id->spi = spi;
	id->family = l->info.family;
	id->proto = l->info.id.proto;
	if (mark.m)
		nl_put(&m, XFRMA_MARK, &mark, sizeof(mark));
	(void)nl_ack(k->xfrm, &m);
}

void larval_remove(struct kernel *k, uint32_t reqid)
{
	struct larval *l;

	while ((l = take(k, match_reqid, &reqid))) {
		remove_one(k, l);
		free(l);
	}
}

static bool match_cpu(const struct larval *l, const void *with)
{
	return l->cpu >= 0 && match_reqid(l, with);
}

void larval_remove_cpus(struct kernel *k, uint32_t reqid)
{
	struct larval *l;

	while ((l = take(k, match_cpu, &reqid))) {
		remove_one(k, l);
		free(l);
	}
}
