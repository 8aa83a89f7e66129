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

static struct knl_req *vips_req(const struct ike_sa *sa, bool on)
{
	struct knl_req *r = knl_req_new(sa->n_vips);

	for (uint32_t i = 0; r && i < sa->n_vips; i++) {
		struct knl_step *s = knl_req_add(r, KNL_ADDR_SET);

		s->u.addr.addr = sa->vips[i];
		s->u.addr.prefix = sa->vips[i].family == AF_INET ? 32 : 128;
		s->u.addr.on = on;
	}
	return r;
}

bool ike_install_vips(struct ike_sa *sa)
{
	struct knl_req *r, *out;

	if (!sa->n_vips || !sa->shard->d->tune.install_vips)
		return true;
	r = vips_req(sa, true);
	out = vips_req(sa, false); /* when they go memory may be short */
	if (!r || !out) {
		knl_req_free(r);
		knl_req_free(out);
		return false;
	}
	knl_req_free(sa->vips_out);
	sa->vips_out = out;
	knl_submit(sa->shard->d->knl, r); /* requests execute in order: before the CHILD_SA's policies */
	return true;
}

void ike_remove_vips(struct ike_sa *sa)
{
	if (sa->vips_out)
		knl_submit(sa->shard->d->knl, sa->vips_out);
	free(sa->vips);
	free(sa->dns);
	sa->vips_out = NULL;
	sa->vips = sa->dns = NULL;
	sa->n_vips = sa->n_dns = 0;
}
