/* SPDX-License-Identifier: Apache-2.0 */

#include "queue.h"

#include <errno.h>
#include <unistd.h>

/*
 * The SA's own selectors have been checked. A policy may still forbid the packet, and an SA without selectors needs one
 * that names its reqid (RFC 4301, 5.2, step 4).
 */
static bool policy_allows(struct queue *q, const struct sa *sa, const uint8_t *inner, size_t n)
{
	const struct policy *p;
	struct flow f;

	packet_flow(inner, n, &f);
	p = spd_lookup_cached(q->k->spd, CY_DIR_IN, &f, &q->in_cache, q->generation);
	if (p && p->action == CY_POLICY_DISCARD)
		return false;
	if (sa->n_ts_local)
		return true;
	return p && p->action == CY_POLICY_PROTECT && p->reqid->reqid == sa->reqid->reqid;
}

void queue_write(void *user, const struct iovec *iov, int n)
{
	struct queue *q = user;

	while (writev(q->tun_fd, iov, n) < 0) {
		if (errno == EINTR)
			continue;
		counter_add(&q->counters, CNT_IN_WRITE, (uint64_t)n - 1);
		return;
	}
}

void queue_inbound(struct queue *q, struct cy_dgram *d)
{
	struct cy_buf inner;
	struct sa *sa;

	if (d->len < ESP_HEADER) {
		counter_add(&q->counters, CNT_IN_SHORT, 1);
		return;
	}
	sa = sad_lookup_in(q->k->sad, get_be32(d->data));
	if (!sa) {
		counter_add(&q->counters, CNT_IN_NO_SA, 1);
		return;
	}
	if (esp_decode(&q->esp, sa, d, d->data, d->len, &inner) != CY_OK || inner.n == 0)
		return;
	if (!policy_allows(q, sa, inner.p, inner.n)) {
		counter_add(&q->counters, CNT_IN_POLICY, 1);
		return;
	}
	queue_count(q, sa, false, inner.n);
	coalesce_add(&q->coalesce, inner.p, inner.n);
}
