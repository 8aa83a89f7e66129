/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual addresses that we were given. */
#include <stdlib.h>
#include <string.h>

#include "daemon/sa/manager.h"

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
