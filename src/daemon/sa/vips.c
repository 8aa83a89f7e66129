/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual addresses: those that we give to a peer, and those that we were given. */
#include <stdlib.h>
#include <string.h>

#include "daemon/policy/lease.h"
#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

bool ike_addr_add(struct cy_addr **list, uint32_t *n, const struct cy_addr *a)
{
	struct cy_addr *more = realloc(*list, (*n + 1) * sizeof(*more));

	if (!more)
		return false;
	*list = more;
	more[(*n)++] = *a;
	return true;
}

bool ike_install_vips(struct ike_sa *sa)
{
	struct knl_req *r;

	if (!sa->n_vips || !sa->shard->d->tune.install_vips)
		return true;
	r = knl_req_new(sa->n_vips);
	if (!r)
		return false;
	for (uint32_t i = 0; i < sa->n_vips; i++) {
		struct knl_step *s = knl_req_add(r, KNL_ADDR_SET);

		s->u.addr.addr = sa->vips[i];
		s->u.addr.prefix = sa->vips[i].family == AF_INET ? 32 : 128;
		s->u.addr.on = true;
	}
	knl_submit(sa->shard->d->knl, r); /* requests execute in order: before the CHILD_SA's policies */
	return true;
}

bool ike_lease(struct ike_sa *sa, const struct str_list *pools, int family, const char *key,
    const struct cy_addr *wanted, bool *out_oom)
{
	struct leases *leases = sa->shard->d->leases;
	struct ike_lease *more;
	char text[ADDR_STR_MAX];
	struct cy_addr got;

	for (size_t i = 0; i < pools->n; i++) {
		if (leases_acquire(leases, pools->s[i], family, key, sa->id, wanted, &got))
			continue;
		more = realloc(sa->leases, (sa->n_leases + 1) * sizeof(*more));
		if (more)
			sa->leases = more;
		if (!more || !(more[sa->n_leases].pool = strdup(pools->s[i]))) {
			leases_release(leases, pools->s[i], &got, sa->id);
			*out_oom = true;
			return false;
		}
		more[sa->n_leases++].addr = got;
		ike_note(sa, LOG_IKE, CY_LOG_INFO, "virtual address %s is assigned to '%s'",
		    addr_str(&got, text), key);
		return true;
	}
	return false;
}
