/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue of the TUN device and the ESP thread that owns it: packets of that queue are wrapped and sent, datagrams
 * from its ring are unwrapped and written. It sleeps in poll() only, offline (rcu.h).
 */
#ifndef KERNEL_TUN_QUEUE_H
#define KERNEL_TUN_QUEUE_H

#include "esp.h"
#include "offload.h"
#include "ring.h"
#include "spd.h"

#define QUEUE_BATCH 64 /* frames read, or datagrams taken from the ring, in a row */
#define QUEUE_SENDS 128
#define QUEUE_FRAME (ESP_HEADROOM + FRAME_MAX + ESP_TAILROOM) /* of the area, for one frame */
#define QUEUE_AREA  (4 << 16)

struct queue {
	struct kernel *k;
	unsigned index; /* RCU reader, and place in sa.crypt */
	int tun_fd, wake_fd;
	pthread_t thread;
	bool started;
	atomic_bool stop, asleep;
	atomic_size_t taken; /* from the ring, ever */
	atomic_int cpu;      /* on which it ran last, -1 never */
	struct {
		atomic_uint_least64_t packets, bytes;
	} traffic[2]; /* in, out; written by the thread alone */

	struct esp esp;
	struct counters counters;
	struct ring ring;
	struct flow_cache out_cache, in_cache;
	uint64_t generation; /* of the SPD, as of this batch */

	/* What is read from the device lies here, and what is sent: packets of one size next to each other. */
	uint8_t *area;
	size_t used;
	struct cy_dgram batch[QUEUE_SENDS];
	size_t n_batch;
	struct coalesce coalesce; /* what was received */
};

/* Takes over tun_fd on success. */
enum cy_err queue_new(struct kernel *k, unsigned index, int tun_fd, struct queue **out) CY_MUST_USE;
enum cy_err queue_start(struct queue *q) CY_MUST_USE;
void queue_free(struct queue *q); /* stops the thread */

/* Any thread: hands over n packets and wakes the ESP thread; neighbours in memory go together. Those that do not fit are counted. */
void queue_put(struct queue *q, enum ring_kind kind, const struct cy_dgram *d, size_t n);
/* Writers: as many of the queues are in use as SAs of CPUs need, or the settings want. */
void queues_adapt(struct kernel *k);
/* The queue of a datagram with ESP: one SA always goes to the same, which keeps its packets in order. */
struct queue *queue_for(struct kernel *k, const struct cy_dgram *d);

/* outbound.c, inbound.c: the ESP thread */
size_t queue_outbound(struct queue *q); /* reads a batch; how many there were */
/* One packet from the ring, which stays there until queue_flush(). */
void queue_send_plain(struct queue *q, struct cy_dgram *plain);
void queue_flush(struct queue *q);
/* One datagram from the ring, which stays there until coalesce_flush(). */
void queue_inbound(struct queue *q, struct cy_dgram *d);
/* To the device: iov[0] is a virtio-net header. */
void queue_write(void *q, const struct iovec *iov, int n);
void queue_hand_over(struct kernel *k, struct held *held); /* packets that waited for an SA; frees them */

/* A packet of n inner bytes went through; the ESP thread. */
static inline void queue_count(struct queue *q, struct sa *sa, bool out, size_t n)
{
	uint64_t packets = atomic_load_explicit(&q->traffic[out].packets, memory_order_relaxed);
	uint64_t bytes = atomic_load_explicit(&q->traffic[out].bytes, memory_order_relaxed);

	atomic_store_explicit(&q->traffic[out].packets, packets + 1, memory_order_relaxed);
	atomic_store_explicit(&q->traffic[out].bytes, bytes + n, memory_order_relaxed);
	atomic_store_explicit(&sa->lane, (int)q->index + 1, memory_order_relaxed);
}

/* icmp.c: writes an answer to `inner`, which did not fit, to buf (at least ICMP_MAX bytes); its length, 0: none. */
#define ICMP_MAX 1280
size_t icmp_too_big(const uint8_t *inner, size_t len, size_t mtu, uint8_t *buf);

#endif
