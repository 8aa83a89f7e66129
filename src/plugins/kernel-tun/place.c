/* SPDX-License-Identifier: Apache-2.0 */
/* Which ESP thread and which CPU carry what, as they saw it themselves. */

#include "ops.h"
#include "queue.h"

enum cy_err kernel_sa_place(void *kp, const struct cy_kernel_sa_id *id, struct cy_kernel_place *out)
{
	struct kernel *k = kp;
	struct sa *sa;

	pthread_mutex_lock(&k->lock);
	sa = sad_find(k->sad, id);
	if (sa) {
		int lane = atomic_load_explicit(&sa->lane, memory_order_relaxed) - 1;

		*out = (struct cy_kernel_place){.size = sizeof(*out),
		    .lane = lane,
		    .cpu = -1,
		    .packets = atomic_load_explicit(&sa->packets, memory_order_relaxed),
		    .bytes = atomic_load_explicit(&sa->bytes, memory_order_relaxed)};
		if (lane >= 0 && (size_t)lane < k->n_queues)
			out->cpu = atomic_load_explicit(&k->queues[lane]->cpu, memory_order_relaxed);
	}
	pthread_mutex_unlock(&k->lock);
	return sa ? CY_OK : CY_E_NOTFOUND;
}

size_t kernel_lanes(void *kp, struct cy_kernel_lane *out, size_t cap)
{
	struct kernel *k = kp;
	size_t n = 0;

	for (; n < atomic_load_explicit(&k->n_active, memory_order_relaxed) && n < cap; n++) {
		struct queue *q = k->queues[n];
		uint64_t drops = 0;

		for (size_t i = 0; i < CNT_MAX; i++)
			if (i != CNT_IN_DUMMY && i != CNT_IN_RESYNC && i != CNT_OUT_QUEUED)
				drops += atomic_load_explicit(&q->counters.v[i], memory_order_relaxed);
		out[n] = (struct cy_kernel_lane){.size = sizeof(out[n]),
		    .index = (uint32_t)n,
		    .cpu = atomic_load_explicit(&q->cpu, memory_order_relaxed),
		    .queued = (uint32_t)(atomic_load_explicit(&q->ring.head, memory_order_relaxed) -
		        atomic_load_explicit(&q->taken, memory_order_relaxed)),
		    .queue_size = (uint32_t)(q->ring.mask + 1),
		    .packets_in = atomic_load_explicit(&q->traffic[0].packets, memory_order_relaxed),
		    .bytes_in = atomic_load_explicit(&q->traffic[0].bytes, memory_order_relaxed),
		    .packets_out = atomic_load_explicit(&q->traffic[1].packets, memory_order_relaxed),
		    .bytes_out = atomic_load_explicit(&q->traffic[1].bytes, memory_order_relaxed),
		    .drops = drops};
	}
	return n;
}
