/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/net/net.h"

#include <stdlib.h>

#include "daemon/kernel/knl.h"
#include "daemon/net/interfaces.h"
#include "daemon/net/shed.h"
#include "libcore/base/addr.h"
#include "libcore/base/hmap.h"

#define LANE_FDS_MAX 8
#define RX_BATCH     32
#define ESP_BATCH    64
#define RX_ROUNDS    8 /* batches read before other jobs of the worker get their turn */

struct lane;
struct lane_fd {
	struct watch watch;
	struct lane *lane;
};

struct lane {
	struct net *net;
	uint32_t index;
	struct worker *worker;
	struct lane_fd fd[LANE_FDS_MAX];
	size_t n_fds;
	/* shedding of first requests, on the worker */
	struct timer shed_timer;
	uint32_t keep;
	uint64_t firsts; /* received in this window */
	uint64_t delivered, late,
	    full; /* in it; atomic: delivered, refused by whom they were delivered to, not queued */
};

struct net {
	struct daemon *d;
	const struct cy_socket_ops *ops;
	void *s;
	net_deliver_fn deliver;
	void *user;
	uint32_t n_workers, n_lanes;
	struct lane *lanes;
	uint32_t steer_key[4];
	struct net_counters c;
	uint64_t queued_bytes; /* received, their worker has not seen them yet */
};

#define COUNT(net, field) __atomic_fetch_add(&(net)->c.field, 1, __ATOMIC_RELAXED)

uint32_t net_spi_owner(const struct net *n, uint64_t spi)
{
	return (uint32_t)(spi >> 56) % n->n_workers;
}

uint32_t net_hash_owner(const struct net *n, uint64_t spi_i)
{
	return cy_steer_hash(n->steer_key, (uint32_t)(spi_i >> 32), (uint32_t)spi_i) % n->n_workers;
}

uint64_t net_spi_new(struct net *n, struct env *env, uint32_t worker)
{
	uint64_t r = env_rand64(env);
	/* A multiple of n_workers below 256 plus the index: congruent, and still spread over the whole byte. */
	uint32_t rounds = 256 / n->n_workers;
	uint64_t top = (uint64_t)((r >> 56) % rounds) * n->n_workers + worker;

	r = (r & 0x00ffffffffffffffull) | top << 56;
	return r ? r : (uint64_t)n->n_workers << 56 | 1;
}

uint64_t net_cookie_new(struct net *n, struct env *env, uint32_t worker)
{
	uint64_t r = env_rand64(env), hi = r & 0xffffffff00000000ull;
	uint32_t lo = (uint32_t)r;

	/* The hash maps all values of the lower half one to one: each worker comes round, every n_workers times on average. */
	while (net_hash_owner(n, hi | lo) != worker || !(hi | lo))
		lo++;
	return hi | lo;
}

uint32_t net_esp_spi_owner(const struct net *n, uint32_t spi)
{
	return spi % n->n_workers;
}

uint32_t net_esp_spi_new(struct net *n, struct env *env, uint32_t worker)
{
	uint32_t w = n->n_workers, min = n->d->tune.spi_min, max = n->d->tune.spi_max;
	uint32_t first = min + (worker + w - min % w) % w;

	return first + (uint32_t)env_rand_below(env, (uint64_t)(max - first) / w + 1) * w;
}

static uint32_t owner_of(const struct net *n, const struct ike_header *h)
{
	/* RFC 7296, 3.1: the I flag is set in every message of the original initiator, so then SPIr is ours. socket-reuseport has
	   the kernel do the same. */
	uint64_t ours = h->flags & IKE_FLAG_INITIATOR ? h->spi_r : h->spi_i;

	/* IKEv1 does not say which of them is ours, but both ends know the initiator's */
	if (ours == 0 || h->major == 1)
		return net_hash_owner(n, h->spi_i);
	return net_spi_owner(n, ours);
}

/*
 * What is urgent: established SAs' liveness and deletes before exchanges in progress, before new SAs. What an INFORMATIONAL
 * holds is encrypted, so the exchange type decides.
 */
static enum prio prio_of(const struct ike_header *h)
{
	switch (h->exchange) {
	case EXCHANGE_INFORMATIONAL:
	case EXCHANGE_V1_INFORMATIONAL:
		return PRIO_CRITICAL;
	case EXCHANGE_IKE_AUTH:
	case EXCHANGE_CREATE_CHILD_SA:
	case EXCHANGE_V1_QUICK:
	case EXCHANGE_V1_TRANSACTION:
		return PRIO_HIGH;
	default:
		if (h->major == 1)
			return h->spi_r ? PRIO_HIGH : PRIO_MEDIUM;
		return h->flags & IKE_FLAG_RESPONSE ? PRIO_HIGH : PRIO_MEDIUM;
	}
}

static bool is_first(const struct ike_header *h)
{
	return prio_of(h) == PRIO_MEDIUM && h->next != PAYLOAD_NOTIFY;
}

void net_pass_on(struct net *n, struct worker *w, struct net_packet *p)
{
	p->passed_on = true;
	COUNT(n, forwarded);
	__atomic_fetch_add(&n->queued_bytes, sizeof(*p) + p->len, __ATOMIC_RELAXED); /* it waits once more */
	worker_post(w, &p->job, prio_of(&p->h), JOB_DATAGRAM);
}

void net_packet_free(struct net_packet *p)
{
	free(p);
}

static void packet_job(struct worker *w, struct job *j)
{
	struct net_packet *p = container_of(j, struct net_packet, job);

	__atomic_fetch_sub(&p->net->queued_bytes, sizeof(*p) + p->len, __ATOMIC_RELAXED);
	if (is_first(&p->h) && !p->passed_on)
		__atomic_fetch_add(&p->net->lanes[p->lane].delivered, 1, __ATOMIC_RELAXED);
	p->net->deliver(p->net->user, w, p);
}

static uint32_t lane_of(const struct net *n, const struct worker *w)
{
	return w ? worker_index(w) % n->n_lanes : 0;
}

/* --- shedding ------------------------------------------------------------------------------------------------------- */

void net_refused(const struct net_packet *p)
{
	if (is_first(&p->h))
		__atomic_fetch_add(&p->net->lanes[p->lane].late, 1, __ATOMIC_RELAXED);
}

static void shed_window(struct timer *t)
{
	struct lane *l = container_of(t, struct lane, shed_timer);
	struct net *n = l->net;
	uint64_t late = __atomic_exchange_n(&l->late, 0, __ATOMIC_RELAXED);
	uint64_t full = __atomic_exchange_n(&l->full, 0, __ATOMIC_RELAXED);
	uint64_t delivered = __atomic_exchange_n(&l->delivered, 0, __ATOMIC_RELAXED);
	uint32_t keep = shed_next(l->keep, l->firsts, delivered > late ? delivered - late : 0);

	l->firsts = 0;
	if (keep != l->keep && n->ops->keep_first(n->s, l->index, keep) == CY_OK) {
		LOGF(n->d->log, LOG_NET,
		    l->keep == SHED_KEEP_ALL || keep == SHED_KEEP_ALL ? CY_LOG_INFO : CY_LOG_DEBUG, NULL,
		    "lane %u: %u of %u first requests are received", l->index, keep, SHED_KEEP_ALL);
		l->keep = keep;
	}
	if (l->keep < SHED_KEEP_ALL || late || full)
		worker_timer_set(l->worker, &l->shed_timer, worker_now(l->worker) + SHED_WINDOW_NS);
}

/* After something was received on it. */
static void shed_look(struct net *n, struct lane *l)
{
	if ((!__atomic_load_n(&l->late, __ATOMIC_RELAXED) && !__atomic_load_n(&l->full, __ATOMIC_RELAXED)) ||
	    timer_is_set(&l->shed_timer) || !n->s || !CY_HAS(n->ops, keep_first) || !n->ops->keep_first)
		return;
	/* counted since any time: the window begins now */
	l->firsts = 0;
	__atomic_store_n(&l->late, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&l->full, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&l->delivered, 0, __ATOMIC_RELAXED);
	worker_timer_set(l->worker, &l->shed_timer, worker_now(l->worker) + SHED_WINDOW_NS);
}

/* --- receiving ------------------------------------------------------------------------------------------------------ */

/*
 * Of the memory for what waits, messages of IKE_SAs may use all, and first requests half. Those that begin with a notify, as they do
 * when they return a cookie, may use somewhat more: whoever got an answer in a flood gets in with the next request.
 */
static uint64_t room_for(uint64_t all, enum prio prio, const struct ike_header *h)
{
	if (prio != PRIO_MEDIUM)
		return all;
	return h->next == PAYLOAD_NOTIFY ? all / 4 * 3 : all / 2;
}

static void rx_ike(struct net *n, struct worker *w, const struct cy_dgram *d, const uint8_t *data, size_t len)
{
	struct ike_header h;
	struct net_packet *p;
	enum prio prio;
	uint32_t owner, lane = lane_of(n, w);
	enum cy_err e = wire_header_parse(cy_slice(data, len), &h);

	if (e) {
		if (e == CY_E_SHORT)
			COUNT(n, drop_short);
		else
			COUNT(n, drop_malformed);
		return;
	}
	if (len > n->d->tune.max_packet) {
		COUNT(n, drop_too_big);
		return;
	}
	prio = prio_of(&h);
	if (is_first(&h))
		n->lanes[lane].firsts++;
	if (__atomic_load_n(&n->queued_bytes, __ATOMIC_RELAXED) + sizeof(*p) + len >
	    room_for(n->d->tune.receive_queue, prio, &h)) {
		if (prio == PRIO_MEDIUM)
			COUNT(n, drop_queue_new);
		else
			COUNT(n, drop_queue);
		if (is_first(&h))
			__atomic_fetch_add(&n->lanes[lane].full, 1, __ATOMIC_RELAXED);
		return;
	}
	p = malloc(sizeof(*p) + len);
	if (!p) {
		COUNT(n, drop_nomem);
		return;
	}
	memset(p, 0, sizeof(*p));
	p->job.fn = packet_job;
	p->net = n;
	p->src = d->src;
	p->dst = d->dst;
	p->received_ns = env_now(n->d->env);
	p->len = (uint32_t)len;
	p->natt = d->natt;
	p->lane = (uint16_t)lane;
	p->tos = d->tos;
	p->h = h;
	memcpy(p->data, data, len);
	COUNT(n, rx_ike);
	owner = owner_of(n, &h);
	if (w && owner != worker_index(w))
		COUNT(n, forwarded);
	__atomic_fetch_add(&n->queued_bytes, sizeof(*p) + len, __ATOMIC_RELAXED);
	worker_post(processor_worker(n->d->processor, owner), &p->job, prio, JOB_DATAGRAM);
}

static void esp_flush(struct net *n, struct cy_dgram *esp, size_t *n_esp)
{
	void *k;
	const struct cy_kernel_ops *ops;

	if (!*n_esp)
		return;
	ops = knl_ops(n->d->knl, &k);
	if (ops->esp_in && k)
		ops->esp_in(k, esp, *n_esp);
	else
		__atomic_fetch_add(&n->c.drop_esp, *n_esp, __ATOMIC_RELAXED);
	*n_esp = 0;
}

/* RFC 3948, 2.2 and 2.3: four zero bytes before IKE on the NAT-T port, a single 0xff is a keepalive, the rest is ESP. */
static void rx_single(
    struct net *n, struct worker *w, const struct cy_dgram *d, struct cy_dgram *esp, size_t *n_esp)
{
	static const uint8_t marker[4];

	if (!interfaces_has_index(n->d->interfaces, d->ifindex)) {
		COUNT(n, drop_interface);
		return;
	}
	if (!d->natt) {
		rx_ike(n, w, d, d->data, d->len);
		return;
	}
	if (d->len == 1 && d->data[0] == 0xff) {
		COUNT(n, rx_keepalive);
		return;
	}
	if (d->len < 4) {
		COUNT(n, drop_short);
		return;
	}
	if (memcmp(d->data, marker, 4) == 0) {
		rx_ike(n, w, d, d->data + 4, d->len - 4);
		return;
	}
	COUNT(n, rx_esp);
	esp[(*n_esp)++] = *d;
	if (*n_esp == ESP_BATCH)
		esp_flush(n, esp, n_esp);
}

/* What was received together is from one sender, but else of any kind. */
static void rx_one(
    struct net *n, struct worker *w, const struct cy_dgram *d, struct cy_dgram *esp, size_t *n_esp)
{
	struct cy_dgram one = *d;

	one.segment = 0;
	if (d->segment == 0) {
		rx_single(n, w, &one, esp, n_esp);
		return;
	}
	for (uint32_t left = d->len; left > 0; left -= one.len, one.data += one.len) {
		one.len = left < d->segment ? left : d->segment;
		rx_single(n, w, &one, esp, n_esp);
	}
}

void net_inject(struct net *n, struct worker *w, const struct cy_dgram *d)
{
	struct cy_dgram esp[ESP_BATCH];
	size_t n_esp = 0;

	rx_one(n, w, d, esp, &n_esp);
	esp_flush(n, esp, &n_esp);
	shed_look(n, &n->lanes[lane_of(n, w)]);
}

static void lane_readable(struct worker *w, struct watch *watch, uint32_t events)
{
	struct lane *lane = container_of(watch, struct lane_fd, watch)->lane;
	struct net *n = lane->net;
	struct cy_dgram in[RX_BATCH], esp[ESP_BATCH];
	size_t n_esp = 0;

	(void)events;
	for (int round = 0; round < RX_ROUNDS; round++) {
		size_t got = n->ops->recv(n->s, lane->index, watch->fd, in, RX_BATCH);

		for (size_t i = 0; i < got; i++)
			rx_one(n, w, &in[i], esp, &n_esp);
		esp_flush(n, esp, &n_esp); /* before recv() reuses the buffers */
		if (got < RX_BATCH)
			break;
	}
	shed_look(n, lane);
}

/* IKE must pass the policies it installs, and ESP in UDP must reach the kernel's ESP. */
static void on_socket(void *user, int fd, int family, uint16_t port, bool natt)
{
	struct net *n = user;
	void *k;
	const struct cy_kernel_ops *ops = knl_ops(n->d->knl, &k);

	if (ops->bypass_socket)
		(void)!ops->bypass_socket(k, fd, family);
	if (natt && ops->encap_socket && !(knl_features(n->d->knl) & CY_KERNEL_WANTS_ESP))
		(void)!ops->encap_socket(k, fd, family, port);
}

enum cy_err net_new(struct daemon *d, const struct cy_socket_ops *ops, void *plugin, net_deliver_fn deliver,
    void *user, struct net **out)
{
	struct net *n = calloc(1, sizeof(*n));
	struct cy_socket_config cfg = {.size = sizeof(cfg),
	    .port = d->tune.port,
	    .port_natt = d->tune.port_natt,
	    .n_lanes = processor_n(d->processor),
	    .rcvbuf = d->tune.socket_rcvbuf,
	    .sndbuf = d->tune.socket_sndbuf,
	    .mark = d->tune.socket_mark,
	    .ipv4 = d->tune.ipv4,
	    .ipv6 = d->tune.ipv6,
	    .on_socket = on_socket,
	    .segments = d->knl && knl_features(d->knl) & CY_KERNEL_WANTS_ESP,
	    .user = n};
	enum cy_err e;

	if (!n)
		return CY_E_NOMEM;
	n->d = d;
	n->ops = ops;
	n->deliver = deliver;
	n->user = user;
	n->n_workers = processor_n(d->processor);
	d->env->random(d->env, n->steer_key, sizeof(n->steer_key));
	memcpy(cfg.steer_key, n->steer_key, sizeof(cfg.steer_key));
	e = ops->open(plugin, &cfg, &n->s, &n->n_lanes);
	if (e) {
		free(n);
		return e;
	}
	n->lanes = calloc(n->n_lanes, sizeof(*n->lanes));
	if (!n->lanes) {
		ops->close(n->s);
		free(n);
		return CY_E_NOMEM;
	}
	for (uint32_t i = 0; i < n->n_lanes; i++) {
		struct lane *l = &n->lanes[i];

		l->net = n;
		l->index = i;
		l->worker = processor_worker(d->processor, i % n->n_workers);
		l->keep = SHED_KEEP_ALL;
		l->shed_timer.fn = shed_window;
	}
	*out = n;
	return CY_OK;
}

/* Watches are added on the thread that owns the epoll set. */
struct lane_start {
	struct job job;
	struct lane *lane;
};

static void lane_start(struct worker *w, struct job *j)
{
	struct lane_start *s = container_of(j, struct lane_start, job);
	struct lane *lane = s->lane;
	struct net *n = lane->net;
	int fds[LANE_FDS_MAX];

	free(s);
	if (!n->s)
		return; /* stopped already */
	lane->n_fds = n->ops->fds(n->s, lane->index, fds, LANE_FDS_MAX);
	for (size_t i = 0; i < lane->n_fds; i++) {
		lane->fd[i].lane = lane;
		lane->fd[i].watch = (struct watch){.fd = fds[i], .events = EPOLLIN, .fn = lane_readable};
		if (worker_watch_add(w, &lane->fd[i].watch))
			LOGF(n->d->log, LOG_NET, CY_LOG_ERROR, NULL, "lane %u: a socket could not be polled",
			    lane->index);
	}
}

enum cy_err net_start(struct net *n)
{
	for (uint32_t i = 0; i < n->n_lanes; i++) {
		struct lane_start *s = calloc(1, sizeof(*s));

		if (!s)
			return CY_E_NOMEM;
		s->lane = &n->lanes[i];
		s->job.fn = lane_start;
		worker_post(n->lanes[i].worker, &s->job, PRIO_CRITICAL, JOB_HOUSEKEEPING);
	}
	return CY_OK;
}

void net_stop(struct net *n)
{
	if (!n || !n->s)
		return;
	/* what is left of the workers' timers and jobs runs after this */
	for (uint32_t i = 0; i < n->n_lanes; i++)
		worker_timer_cancel(n->lanes[i].worker, &n->lanes[i].shed_timer);
	n->ops->close(n->s);
	n->s = NULL;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	net_stop(n);
	free(n->lanes);
	free(n);
}

static void tx(struct net *n, struct worker *w, const struct cy_dgram *d)
{
	if (n->s && n->ops->send(n->s, lane_of(n, w), d, 1) == 1)
		COUNT(n, tx_ike);
	else
		COUNT(n, tx_failed);
}

void net_send(struct net *n, struct worker *w, const struct cy_addr *local, const struct cy_addr *remote,
    bool natt, uint8_t tos, struct cy_slice message)
{
	struct cy_dgram d = {.src = *local, .dst = *remote, .tos = tos, .natt = natt};
	uint8_t small[2048], *big = NULL;
	size_t len = message.n + (natt ? 4 : 0);

	if (!natt) {
		d.data = (uint8_t *)message.p; /* only read */
		d.len = (uint32_t)message.n;
		tx(n, w, &d);
		return;
	}
	if (len > sizeof(small)) {
		big = malloc(len);
		if (!big) {
			COUNT(n, tx_failed);
			return;
		}
	}
	d.data = big ? big : small;
	d.len = (uint32_t)len;
	memset(d.data, 0, 4);
	memcpy(d.data + 4, message.p, message.n);
	tx(n, w, &d);
	free(big);
}

void net_send_keepalive(
    struct net *n, struct worker *w, const struct cy_addr *local, const struct cy_addr *remote)
{
	uint8_t ff = 0xff;
	struct cy_dgram d = {.src = *local, .dst = *remote, .data = &ff, .len = 1, .natt = 1};

	tx(n, w, &d);
}

size_t net_send_raw(void *net, const struct cy_dgram *d, size_t n_d)
{
	struct net *n = net;

	return n->s ? n->ops->send(n->s, 0, d, n_d) : 0;
}

void net_read_counters(const struct net *n, struct net_counters *out)
{
	const uint64_t *from = (const uint64_t *)&n->c;
	uint64_t *to = (uint64_t *)out;

	for (size_t i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	out->queued_bytes = __atomic_load_n(&n->queued_bytes, __ATOMIC_RELAXED);
}

size_t net_socket_stats(struct net *n, struct cy_socket_stats *out, size_t cap)
{
	return n->s && n->ops->stats ? n->ops->stats(n->s, out, cap) : 0;
}

const char *net_name(const struct net *n)
{
	return n->ops->name;
}
