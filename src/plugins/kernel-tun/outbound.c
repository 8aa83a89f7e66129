/* SPDX-License-Identifier: Apache-2.0 */

#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* What was encrypted is sent; the area is free again. */
void queue_flush(struct queue *q)
{
	struct kernel *k = q->k;
	size_t sent;

	q->used = 0;
	if (q->n_batch == 0)
		return;
	sent = k->host->udp_send(k->self, q->batch, q->n_batch);
	if (sent < q->n_batch)
		counter_add(&q->counters, CNT_OUT_SEND, q->n_batch - sent);
	q->n_batch = 0;
}

/* ---- policies that have no SA yet */

static struct cy_ts ts_of(const struct flow *f, const uint8_t *ip, uint16_t port)
{
	struct cy_ts ts = {.family_ip6 = f->ip6, .proto = f->proto, .port_lo = 0, .port_hi = 65535};

	memcpy(ts.lo, ip, 16);
	memcpy(ts.hi, ip, 16);
	if (f->has_ports)
		ts.port_lo = ts.port_hi = port;
	return ts;
}

/* cpu >= 0: there is an SA, but not of the CPU (RFC 9611, 2). */
static void acquire(struct queue *q, struct policy *p, const struct flow *f, int cpu)
{
	struct kernel *k = q->k;
	atomic_uint_least64_t *at = cpu < 0 ? &p->acquired_at : &p->cpu_acquired_at[cpu];
	uint64_t last = atomic_load_explicit(at, memory_order_relaxed);
	struct cy_ts src, dst;

	if (last && q->esp.now - last < k->cfg.acquire_ns)
		return;
	/* one of the ESP threads asks */
	if (!atomic_compare_exchange_strong_explicit(
	        at, &last, q->esp.now, memory_order_relaxed, memory_order_relaxed))
		return;
	src = ts_of(f, f->src, f->sport);
	dst = ts_of(f, f->dst, f->dport);
	if (k->ev.acquire)
		k->ev.acquire(k->ev.user, p->reqid->reqid, p->cookie, &src, &dst, cpu);
}

void queue_hand_over(struct kernel *k, struct held *held)
{
	for (struct held *h = held; h; h = h->next) {
		struct cy_dgram d = {.data = h->data, .len = (uint32_t)h->len};

		queue_put(k->queues[0], RING_PLAIN, &d, 1);
	}
	held_free(held);
}

/* SAs of no CPU are used by the first thread alone, as long as there are others: numbers and packets keep their order. */
static void hand_to_first(struct queue *q, const struct frame *f)
{
	uint8_t *to = q->area + ((q->used + ESP_HEADROOM + f->len + 63) & ~(size_t)63);

	for (size_t i = 0; i < f->n; i++) {
		struct cy_dgram d = {.data = to, .len = (uint32_t)frame_packet(f, i, to)};

		queue_put(q->k->queues[0], RING_PLAIN, &d, 1);
	}
}

static void hold(struct queue *q, struct policy *p, const struct flow *f, const uint8_t *inner, size_t len)
{
	bool kept = policy_hold(p, inner, len, q->k->cfg.acquire_packets);

	counter_add(&q->counters, kept ? CNT_OUT_QUEUED : CNT_OUT_NO_SA, 1);
	acquire(q, p, f, -1);
	/* an SA that came in between did not see this packet */
	if (kept && reqid_pick(q->k, p->reqid, f, -1))
		queue_hand_over(q->k, policy_release(p));
}

/* ---- one packet */

/* The TOS byte of the datagram (RFC 4301, 5.1.2.1; ECN as RFC 6040, 4.1). */
static uint8_t outer_tos(const struct sa *sa, uint8_t inner)
{
	uint8_t tos = 0;

	if (sa->copy_dscp == CY_DSCP_OUT || sa->copy_dscp == CY_DSCP_YES)
		tos = inner & 0xfc;
	return sa->no_ecn ? tos : tos | (inner & 3);
}

/* True: too long for the path, and the sender was told. */
static bool answer_too_big(struct queue *q, const struct sa *sa, const uint8_t *inner, size_t len)
{
	size_t max = esp_max_inner(sa, q->k->cfg.outer_mtu), n;
	struct virtio_net_hdr none = {0};
	uint8_t icmp[ICMP_MAX];

	if (q->k->cfg.outer_mtu == 0 || sa->no_pmtu_disc || len <= max || packet_may_fragment(inner))
		return false;
	n = icmp_too_big(inner, len, max, icmp);
	if (n == 0)
		return false;
	counter_add(&q->counters, CNT_OUT_TOO_BIG, 1);
	queue_write(q, (struct iovec[]){{&none, sizeof(none)}, {icmp, n}}, 2);
	return true;
}

/* What hosts say to their own link only: neighbours, routers and group members (RFC 4291, 2.7; RFC 5771, 4). */
static bool is_link_talk(const struct flow *f)
{
	static const uint8_t local_group[3] = {224, 0, 0};

	return f->ip6 ? f->dst[0] == 0xff && (f->dst[1] & 15) <= 2 : memcmp(f->dst, local_group, 3) == 0;
}

static struct policy *policy_for(struct queue *q, const struct flow *f)
{
	struct policy *p = spd_lookup_cached(q->k->spd, CY_DIR_OUT, f, &q->out_cache, q->generation);

	if (!p && is_link_talk(f))
		return NULL;
	if (!p)
		counter_add(&q->counters, CNT_OUT_NO_POLICY, 1);
	else if (p->action != CY_POLICY_PROTECT)
		counter_add(&q->counters, CNT_OUT_POLICY, 1);
	else
		return p;
	return NULL;
}

/* Wraps the len bytes at inner, with ESP_HEADROOM before them and tail bytes after. What is to be sent joins the batch. */
static size_t wrap(
    struct queue *q, struct sa *sa, const struct sa_path *path, uint8_t *inner, size_t len, size_t tail)
{
	uint8_t tos = outer_tos(sa, packet_tos(inner));
	struct cy_buf esp;

	if (esp_encode(&q->esp, sa, inner, len, tail, &esp) != CY_OK)
		return 0;
	queue_count(q, sa, true, len);
	q->batch[q->n_batch++] = (struct cy_dgram){
	    .src = path->src,
	    .dst = path->dst,
	    .data = esp.p,
	    .len = (uint32_t)esp.n,
	    .tos = tos,
	    .natt = 1,
	};
	return esp.n;
}

/* Cuts a frame into what is behind it in the area. The packets lie as they are sent: without a gap. */
static void wrap_each(struct queue *q, struct sa *sa, const struct sa_path *path, const struct frame *f)
{
	size_t start = (q->used + ESP_HEADROOM + f->len + 63) & ~(size_t)63, at = start;
	size_t head = ESP_HEADER + (size_t)sa->iv_len;

	for (size_t i = 0; i < f->n; i++) {
		size_t need = head + frame_packet_len(f, i) + ESP_TAILROOM, len;

		if (need > QUEUE_AREA - at || q->n_batch == QUEUE_SENDS) {
			queue_flush(q);
			at = start;
		}
		len = frame_packet(f, i, q->area + at + head);
		at += wrap(q, sa, path, q->area + at + head, len, QUEUE_AREA - at - head - len);
	}
	q->used = at;
}

/* Without an SA the first packets wait for it. */
static void hold_each(struct queue *q, struct policy *p, const struct flow *flow, const struct frame *f)
{
	uint8_t *to = q->area + ((q->used + ESP_HEADROOM + f->len + 63) & ~(size_t)63);

	for (size_t i = 0; i < f->n; i++)
		hold(q, p, flow, to, frame_packet(f, i, to));
}

/* A frame with ESP_HEADROOM before it and tail bytes after its n; one from the device lies at q->used in the area. */
static void outbound(
    struct queue *q, const struct virtio_net_hdr *h, uint8_t *inner, size_t n, size_t tail, bool from_device)
{
	const struct sa_path *path;
	struct flow flow;
	struct frame f;
	struct policy *p;
	struct sa *sa;

	/* the device gives whole packets: if this one claims to be longer, it was cut */
	if (frame_open(h, inner, n, &f) != CY_OK) {
		counter_add(&q->counters, CNT_OUT_BAD_INNER, 1);
		return;
	}
	packet_flow(inner, f.len, &flow);
	p = policy_for(q, &flow);
	if (!p)
		return;
	sa = reqid_pick(q->k, p->reqid, &flow, from_device ? (int)q->index : -1);
	if (!sa) {
		if (f.n == 1)
			hold(q, p, &flow, inner, f.len);
		else
			hold_each(q, p, &flow, &f);
		return;
	}
	if (answer_too_big(q, sa, inner, frame_packet_len(&f, 0)))
		return;
	if (sa->cpu < 0 && from_device && atomic_load_explicit(&q->k->per_cpu, memory_order_relaxed)) {
		if (p->cpu_acquired_at)
			acquire(q, p, &flow, (int)q->index);
		if (q->index > 0) {
			hand_to_first(q, &f);
			return;
		}
	}
	path = sa_path(sa);
	if (f.n > 1) {
		wrap_each(q, sa, path, &f);
		return;
	}
	n = wrap(q, sa, path, inner, f.len, tail + (n - f.len));
	if (from_device)
		q->used += (ESP_HEADROOM + n + 63) & ~(size_t)63;
}

size_t queue_outbound(struct queue *q)
{
	size_t n = 0;

	for (; n < QUEUE_BATCH; n++) {
		struct virtio_net_hdr h;
		struct iovec iov[2] = {{&h, sizeof(h)}, {NULL, FRAME_MAX}};
		ssize_t len;

		/* a frame, and as much again for its packets */
		if (QUEUE_AREA - q->used < 2 * QUEUE_FRAME || q->n_batch == QUEUE_SENDS)
			queue_flush(q);
		iov[1].iov_base = q->area + q->used + ESP_HEADROOM;
		len = readv(q->tun_fd, iov, 2);
		if (len <= (ssize_t)sizeof(h))
			break;
		len -= (ssize_t)sizeof(h);
		outbound(q, &h, iov[1].iov_base, (size_t)len,
		    QUEUE_AREA - q->used - ESP_HEADROOM - (size_t)len, true);
	}
	queue_flush(q);
	return n;
}

void queue_send_plain(struct queue *q, struct cy_dgram *plain)
{
	struct virtio_net_hdr none = {0};

	if (q->n_batch == QUEUE_SENDS)
		queue_flush(q);
	outbound(q, &none, plain->data, plain->len, ESP_TAILROOM, false);
}
