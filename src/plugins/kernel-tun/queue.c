/* SPDX-License-Identifier: Apache-2.0 */

#include "queue.h"
#include "device.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum cy_err queue_new(struct kernel *k, unsigned index, int tun_fd, struct queue **out)
{
	struct queue *q = aligned_alloc(64, (sizeof(*q) + 63) & ~(size_t)63);
	enum cy_err err;

	if (!q)
		return CY_E_NOMEM;
	memset(q, 0, sizeof(*q));
	q->k = k;
	q->index = index;
	q->tun_fd = -1;
	atomic_init(&q->cpu, -1);
	coalesce_init(&q->coalesce, k->tcp_offload, k->udp_offload, queue_write, q);
	esp_init(&q->esp, k, index, &q->counters);
	q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->area = aligned_alloc(64, QUEUE_AREA);
	err = q->wake_fd >= 0 && q->area ? ring_init(&q->ring, k->cfg.ring_slots) : CY_E_NOMEM;
	if (err != CY_OK) {
		queue_free(q);
		return err;
	}
	q->tun_fd = tun_fd;
	*out = q;
	return CY_OK;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	if (q->started) {
		uint64_t one = 1;

		atomic_store(&q->stop, true);
		while (write(q->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
		pthread_join(q->thread, NULL);
	}
	if (q->tun_fd >= 0)
		close(q->tun_fd);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	ring_fini(&q->ring);
	esp_fini(&q->esp);
	free(q->area);
	free(q);
}

static void wake(struct queue *q)
{
	uint64_t one = 1;

	/* pairs with the fence in doze(): either it sees the packet, or this sees it asleep */
	full_fence();
	if (atomic_exchange_explicit(&q->asleep, false, memory_order_relaxed))
		while (write(q->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

/* How many of the n datagrams lie one after the other, of one length but for the last, as they were received together. */
static size_t neighbours(const struct cy_dgram *d, size_t n)
{
	size_t i = 1;

	for (; i < n && d[i].data == d[i - 1].data + d[i - 1].len; i++)
		if (d[i - 1].len != d[0].len || d[i].len > d[0].len || d[i].tos != d[0].tos ||
		    !cy_addr_eq(&d[i].src, &d[0].src))
			break;
	return i;
}

void queue_put(struct queue *q, enum ring_kind kind, const struct cy_dgram *d, size_t n)
{
	size_t lost = 0;

	for (size_t i = 0, run; i < n; i += run) {
		struct cy_dgram all = d[i];

		run = kind == RING_ESP ? neighbours(d + i, n - i) : 1;
		if (run > 1) {
			const struct cy_dgram *last = &d[i + run - 1];

			all.segment = (uint16_t)d[i].len;
			all.len = (uint32_t)(last->data + last->len - all.data);
		}
		if (ring_put(&q->ring, kind, &all) != CY_OK)
			lost += run;
	}
	if (lost)
		counter_add(&q->k->counters, kind == RING_ESP ? CNT_IN_RING_FULL : CNT_OUT_RING_FULL, lost);
	if (lost < n)
		wake(q);
}

struct queue *queue_for(struct kernel *k, const struct cy_dgram *d)
{
	uint32_t spi = get_be32(d->data);

	return k->queues[hash_mix(k->hash_key, k->hash_key, spi) %
	    atomic_load_explicit(&k->n_active, memory_order_relaxed)];
}

/* Each on the CPU whose packets it has, or where it likes. */
static void pin(struct queue *q, bool on)
{
	struct kernel *k = q->k;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(q->index, &one);
	if (on && (!k->steered || !CPU_ISSET(q->index, &k->cpus)))
		return;
	if (q->started)
		(void)pthread_setaffinity_np(q->thread, sizeof(one), on ? &one : &k->cpus);
}

void queues_adapt(struct kernel *k)
{
	size_t n = atomic_load_explicit(&k->n_active, memory_order_relaxed);
	size_t wanted = k->no_attach ? n : k->cfg.n_queues || k->n_per_cpu ? k->n_queues : 1;
	bool per_cpu = k->n_per_cpu > 0;

	/* a queue's number in the device is the order of attaching */
	while (n < wanted && device_attach(k, k->queues[n]->tun_fd, true))
		n++;
	while (n > wanted && device_attach(k, k->queues[n - 1]->tun_fd, false))
		n--;
	k->no_attach = k->no_attach || n != wanted;
	atomic_store_explicit(&k->n_active, n, memory_order_relaxed);
	if (per_cpu == atomic_load_explicit(&k->per_cpu, memory_order_relaxed))
		return;
	atomic_store_explicit(&k->per_cpu, per_cpu, memory_order_relaxed);
	for (size_t i = 0; i < k->n_queues; i++)
		pin(k->queues[i], per_cpu);
}

static size_t drain_ring(struct queue *q)
{
	struct ring_slot *s;
	size_t n = 0, packets = 0;

	for (; packets < QUEUE_BATCH && (s = ring_peek(&q->ring, n)); n++, packets++) {
		struct cy_dgram *d = &s->dgram;
		uint32_t left = d->len, step = d->segment ? d->segment : d->len;

		if (s->kind != RING_ESP) {
			queue_send_plain(q, d);
			continue;
		}
		for (; left > 0; left -= d->len, d->data += d->len, packets++) {
			d->len = left < step ? left : step;
			queue_inbound(q, d);
		}
	}
	if (n == 0)
		return 0;
	coalesce_flush(&q->coalesce);
	queue_flush(q);
	ring_done(&q->ring, n);
	atomic_store_explicit(
	    &q->taken, atomic_load_explicit(&q->taken, memory_order_relaxed) + n, memory_order_relaxed);
	return n;
}

/* Until there is something to do. */
static void doze(struct queue *q)
{
	struct pollfd p[2] = {{.fd = q->tun_fd, .events = POLLIN}, {.fd = q->wake_fd, .events = POLLIN}};
	uint64_t count;

	rcu_offline(&q->k->rcu, q->index);
	atomic_store_explicit(&q->asleep, true, memory_order_relaxed);
	full_fence();
	if (!ring_peek(&q->ring, 0) && !atomic_load(&q->stop))
		poll(p, 2, -1);
	atomic_store_explicit(&q->asleep, false, memory_order_relaxed);
	if (p[1].revents & POLLIN)
		while (read(q->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
	/* a device that somebody deleted polls as an error for ever */
	if (p[0].revents & (POLLERR | POLLHUP | POLLNVAL) && !(p[0].revents & POLLIN))
		poll(&p[1], 1, 100);
}

static void *run(void *user)
{
	struct queue *q = user;
	struct kernel *k = q->k;

	while (!atomic_load_explicit(&q->stop, memory_order_relaxed)) {
		size_t done;

		rcu_online(&k->rcu, q->index);
		q->generation = atomic_load_explicit(&k->spd->generation, memory_order_acquire);
		atomic_store_explicit(&q->cpu, sched_getcpu(), memory_order_relaxed);
		q->esp.now = k->host->now_ns(k->self);
		q->esp.wall = k->host->wall(k->self);
		done = drain_ring(q);
		done += queue_outbound(q);
		if (done == 0)
			doze(q);
	}
	rcu_offline(&k->rcu, q->index);
	return NULL;
}

enum cy_err queue_start(struct queue *q)
{
	char name[16];
	sigset_t all, old;
	int e;

	/* signals are for the daemon's threads */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&q->thread, NULL, run, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e)
		return CY_E_LIMIT;
	q->started = true;
	snprintf(name, sizeof(name), "cygnet-esp%u", q->index % 1000);
	pthread_setname_np(q->thread, name);
	return CY_OK;
}
