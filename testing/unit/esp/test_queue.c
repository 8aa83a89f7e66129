/* SPDX-License-Identifier: Apache-2.0 */
/* ESP threads with a socket pair for a device: what goes in at one host comes out at the other. */

#include "unit.h"

#include "queue.h"
#include "rig.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

struct end {
	struct rig r;
	int tun; /* the kernel's side of the device */
	struct end *peer;
	atomic_uint n_sent, n_acquired;
	atomic_bool deaf;
	uint32_t acquired_reqid;
	struct cy_ts acquired_src, acquired_dst;
	atomic_uint last_tos;
};

static struct end left, right;

static size_t deliver(void *user, const struct cy_dgram *d, size_t n)
{
	struct end *e = user;

	if (atomic_load(&e->deaf))
		return 0;
	for (size_t i = 0; i < n; i++) {
		EXPECT(d[i].natt == 1 && d[i].dst.port == 4500 && get_be32(d[i].data) != 0);
		atomic_store(&e->last_tos, d[i].tos);
	}
	atomic_fetch_add(&e->n_sent, (unsigned)n);
	queue_put(e->peer->r.k.queues[0], RING_ESP, d, n);
	return n;
}

static void on_acquire(void *user, uint32_t reqid, uint64_t cookie, const struct cy_ts *src,
    const struct cy_ts *dst, int32_t cpu)
{
	struct end *e = user; /* the rig is its first member */

	EXPECT(cookie == 77 && cpu == -1);
	e->acquired_reqid = reqid;
	e->acquired_src = *src;
	e->acquired_dst = *dst;
	atomic_fetch_add(&e->n_acquired, 1);
}

static void end_open(struct end *e, struct end *peer)
{
	int fd[2];

	memset(e, 0, sizeof(*e));
	ck_assert(rig_init(&e->r, TEST_PLUGIN_DIR));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd), 0);
	e->peer = peer;
	e->tun = fd[0];
	e->r.fake.udp_send = deliver;
	e->r.fake.udp_user = e;
	e->r.k.ev.acquire = on_acquire;
	e->r.k.cfg.ring_slots = 64;
	e->r.k.cfg.acquire_packets = 2;
	e->r.k.cfg.acquire_ns = 1000 * NS_PER_S;
	ck_assert_int_eq(queue_new(&e->r.k, 0, fd[1], &e->r.k.queues[0]), CY_OK);
}

static void ends_start(void)
{
	end_open(&left, &right);
	end_open(&right, &left);
	ck_assert_int_eq(queue_start(left.r.k.queues[0]), CY_OK);
	ck_assert_int_eq(queue_start(right.r.k.queues[0]), CY_OK);
}

static void ends_stop(void)
{
	/* one may still be sending to the other */
	atomic_store(&left.deaf, true);
	atomic_store(&right.deaf, true);
	queue_free(left.r.k.queues[0]);
	queue_free(right.r.k.queues[0]);
	close(left.tun);
	close(right.tun);
	rig_fini(&left.r);
	rig_fini(&right.r);
}

static void add_policy(struct end *e, uint8_t dir, uint8_t action, const char *src, const char *dst)
{
	struct cy_kernel_policy p = {
	    .size = sizeof(p),
	    .dir = dir,
	    .action = action,
	    .has_tmpl = 1,
	    .src = rig_ts(src),
	    .dst = rig_ts(dst),
	    .priority = action == CY_POLICY_DISCARD ? 1 : 100,
	    .reqid = 1,
	    .cookie = 77,
	};
	struct policy *added, *old;

	pthread_mutex_lock(&e->r.k.lock);
	ck_assert_int_eq(spd_add(e->r.k.spd, &p, &added, &old), CY_OK);
	rcu_reclaim(&e->r.k.rcu);
	pthread_mutex_unlock(&e->r.k.lock);
}

static struct sa *add_sa(struct end *e, uint8_t dir)
{
	struct rig_sa s;
	struct sa *sa;

	rig_sa_init(&s, dir, 0x1000, CY_ENCR_AES_GCM_16, 20, 0, 0);
	pthread_mutex_lock(&e->r.k.lock);
	sa = rig_sa_add(&e->r, &s);
	pthread_mutex_unlock(&e->r.k.lock);
	return sa;
}

/* left may send to right. */
static void connect_ends(void)
{
	add_sa(&right, CY_DIR_IN);
	add_policy(&right, CY_DIR_IN, CY_POLICY_PROTECT, "10.1.0.0/16", "10.2.0.0/16");
	add_sa(&left, CY_DIR_OUT);
	add_policy(&left, CY_DIR_OUT, CY_POLICY_PROTECT, "10.1.0.0/16", "10.2.0.0/16");
}

/* As the device gives it: behind a virtio-net header. */
static void inject_frame(struct end *e, const struct virtio_net_hdr *h, const void *p, size_t len)
{
	struct iovec iov[2] = {{(void *)h, sizeof(*h)}, {(void *)p, len}};

	while (writev(e->tun, iov, 2) < 0) {
		struct pollfd w = {.fd = e->tun, .events = POLLOUT};

		ck_assert_int_eq(errno, EAGAIN);
		poll(&w, 1, 1000);
	}
}

static void inject_plain(struct end *e, const void *p, size_t len)
{
	inject_frame(e, &(struct virtio_net_hdr){0}, p, len);
}

static void inject(struct end *e, size_t len, uint16_t number, const char *dst)
{
	uint8_t p[2048];

	rig_packet(p, len, "10.1.0.1", number, dst, 9);
	packet_set_tos(p, 0xb8 | 2);
	inject_plain(e, p, len);
}

/* The next packet that comes out, within ms; 0: none. */
static size_t extract(struct end *e, uint8_t *p, size_t cap, int ms)
{
	struct pollfd r = {.fd = e->tun, .events = POLLIN};
	struct virtio_net_hdr h;
	struct iovec iov[2] = {{&h, sizeof(h)}, {p, cap}};
	ssize_t n;

	if (poll(&r, 1, ms) <= 0)
		return 0;
	n = readv(e->tun, iov, 2);
	return n > (ssize_t)sizeof(h) ? (size_t)n - sizeof(h) : 0;
}

static uint64_t counted(const struct end *e, enum counter id)
{
	return atomic_load(&e->r.k.counters.v[id]) + atomic_load(&e->r.k.queues[0]->counters.v[id]);
}

static bool becomes(const struct end *e, enum counter id, uint64_t n)
{
	for (int i = 0; i < 2000 && counted(e, id) != n; i++)
		usleep(1000);
	return counted(e, id) == n;
}

START_TEST(through_and_in_order)
{
	uint8_t p[2048];

	ends_start();
	connect_ends();
	for (uint16_t i = 0; i < 500; i++) {
		inject(&left, 28 + (i * 7u) % 1300, i, "10.2.0.1");
		/* not more than the ring has room for */
		if (i % 16 == 15)
			for (uint16_t k = (uint16_t)(i - 15); k <= i; k++) {
				EXPECT(extract(&right, p, sizeof(p), 2000) == 28 + (k * 7u) % 1300);
				EXPECT(get_be16(p + 20) == k && packet_tos(p) == 0xba);
			}
	}
	ck_assert_uint_eq(atomic_load(&left.last_tos), 0xba);
	ck_assert_uint_eq(counted(&right, CNT_IN_RING_FULL), 0);
	ends_stop();
}
END_TEST

/* A burst of UDP with two packets of a size, and a shorter one. */
static size_t make_burst(uint8_t *p, uint16_t size, struct virtio_net_hdr *h)
{
	size_t len = rig_packet(p, 28 + 2u * size + 10, "10.1.0.1", 7, "10.2.0.1", 9);

	for (size_t i = 28; i < len; i++)
		p[i] = (uint8_t)(i * 13);
	*h = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	    .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
	    .gso_size = size,
	    .csum_start = 20,
	    .csum_offset = 6};
	return len;
}

START_TEST(bursts_are_cut)
{
	uint8_t burst[4096], p[4096];
	struct virtio_net_hdr h;
	size_t len;

	ends_start();
	add_policy(&left, CY_DIR_OUT, CY_POLICY_PROTECT, "10.1.0.0/16", "10.2.0.0/16");
	/* the first ones wait for an SA, each by itself, as many as there is room for */
	len = make_burst(burst, 1000, &h);
	inject_frame(&left, &h, burst, len);
	ck_assert(becomes(&left, CNT_OUT_NO_SA, 1));
	ck_assert_uint_eq(counted(&left, CNT_OUT_QUEUED), 2);
	connect_ends();
	for (uint16_t size = 100; size <= 1400; size += 100) {
		len = make_burst(burst, size, &h);
		inject_frame(&left, &h, burst, len);
		for (size_t i = 0; i < 3; i++) {
			size_t n = i < 2 ? size : 10;

			ck_assert_uint_eq(extract(&right, p, sizeof(p), 2000), 28 + n);
			ck_assert_mem_eq(p + 28, burst + 28 + i * size, n);
		}
	}
	ck_assert_uint_eq(atomic_load(&left.n_sent), 3 * 14);
	/* too long for the path, and not to be fragmented: the sender is told once */
	len = make_burst(burst, 1450, &h);
	burst[6] = 0x40;
	inject_frame(&left, &h, burst, len);
	ck_assert_uint_eq(extract(&left, p, sizeof(p), 2000), 576);
	h.gso_size = 0;
	inject_frame(&left, &h, burst, len);
	ck_assert(becomes(&left, CNT_OUT_BAD_INNER, 1));
	ck_assert_uint_eq(extract(&left, p, sizeof(p), 50), 0);
	ends_stop();
}
END_TEST

START_TEST(waiting_for_an_sa)
{
	uint8_t p[2048];
	struct held *held;

	ends_start();
	add_sa(&right, CY_DIR_IN);
	add_policy(&left, CY_DIR_OUT, CY_POLICY_PROTECT, "10.1.0.0/16", "10.2.0.0/16");
	for (uint16_t i = 0; i < 5; i++)
		inject(&left, 100, i, "10.2.0.1");
	ck_assert(becomes(&left, CNT_OUT_NO_SA, 3));
	ck_assert_uint_eq(counted(&left, CNT_OUT_QUEUED), 2);
	ck_assert_uint_eq(atomic_load(&left.n_acquired), 1);
	ck_assert_uint_eq(left.acquired_reqid, 1);
	ck_assert(left.acquired_src.proto == 17 && left.acquired_src.port_lo == 0 &&
	    left.acquired_src.port_hi == 0);
	ck_assert(left.acquired_dst.port_lo == 9 && left.acquired_dst.port_hi == 9);
	ck_assert_mem_eq(left.acquired_dst.lo, "\x0a\x02\x00\x01", 4);
	ck_assert_mem_eq(left.acquired_dst.hi, "\x0a\x02\x00\x01", 4);
	add_sa(&left, CY_DIR_OUT);
	pthread_mutex_lock(&left.r.k.lock);
	held = policy_release(left.r.k.spd->policies[0]);
	pthread_mutex_unlock(&left.r.k.lock);
	queue_hand_over(&left.r.k, held);
	for (uint16_t i = 0; i < 2; i++) {
		/* no IN policy there: an SA without selectors needs one */
		ck_assert(becomes(&right, CNT_IN_POLICY, 2));
	}
	add_policy(&right, CY_DIR_IN, CY_POLICY_PROTECT, "10.1.0.0/16", "10.2.0.0/16");
	inject(&left, 100, 7, "10.2.0.1");
	ck_assert_uint_eq(extract(&right, p, sizeof(p), 2000), 100);
	ck_assert_uint_eq(get_be16(p + 20), 7);
	ends_stop();
}
END_TEST

START_TEST(what_is_not_sent)
{
	uint8_t p[2048];

	ends_start();
	connect_ends();
	inject(&left, 100, 1, "10.9.0.1");
	ck_assert(becomes(&left, CNT_OUT_NO_POLICY, 1));
	inject(&left, 100, 1, "224.0.0.22"); /* nobody's fault */
	add_policy(&left, CY_DIR_OUT, CY_POLICY_DISCARD, "10.1.0.0/16", "10.2.7.0/24");
	inject(&left, 100, 1, "10.2.7.1");
	ck_assert(becomes(&left, CNT_OUT_POLICY, 1));
	inject_plain(&left, "\x45", 1);
	inject_plain(&left, "hello, this is no IP packet", 27);
	ck_assert(becomes(&left, CNT_OUT_BAD_INNER, 2));
	/* too long and not to be fragmented: told so */
	rig_packet(p, 1500, "10.1.0.1", 1, "10.2.0.1", 9);
	p[6] = 0x40;
	inject_plain(&left, p, 1500);
	ck_assert_uint_eq(extract(&left, p, sizeof(p), 2000), 576);
	ck_assert(p[9] == 1 && p[20] == 3 && p[21] == 4);
	ck_assert_uint_eq(get_be16(p + 26), 1438);
	ck_assert_uint_eq(counted(&left, CNT_OUT_TOO_BIG), 1);
	ck_assert_uint_eq(counted(&left, CNT_OUT_NO_POLICY), 1);
	/* the sockets do not take it */
	atomic_store(&left.deaf, true);
	inject(&left, 100, 1, "10.2.0.1");
	ck_assert(becomes(&left, CNT_OUT_SEND, 1));
	ck_assert_uint_eq(extract(&right, p, sizeof(p), 50), 0);
	ends_stop();
}
END_TEST

START_TEST(what_is_not_received)
{
	uint8_t p[2048], junk[100] = {0, 0, 0x20, 0};
	struct cy_dgram d = {.data = junk, .len = sizeof(junk)};

	ends_start();
	connect_ends();
	queue_put(right.r.k.queues[0], RING_ESP, &d, 1);
	ck_assert(becomes(&right, CNT_IN_NO_SA, 1));
	add_policy(&right, CY_DIR_IN, CY_POLICY_DISCARD, "10.1.0.0/16", "10.2.7.0/24");
	inject(&left, 100, 1, "10.2.7.1");
	ck_assert(becomes(&right, CNT_IN_POLICY, 1));
	inject(&left, 100, 5, "10.2.0.1");
	ck_assert_uint_eq(extract(&right, p, sizeof(p), 2000), 100);
	ck_assert_uint_eq(get_be16(p + 20), 5);
	ends_stop();
}
END_TEST

/* A flood is cut at the ring, and counted; nothing else is lost. */
START_TEST(a_flood)
{
	uint8_t p[2048], junk[200] = {0, 0, 0x10, 0};
	static struct cy_dgram d[1000];
	uint64_t full, rest;

	ends_start();
	connect_ends();
	for (size_t i = 0; i < 1000; i++)
		d[i] = (struct cy_dgram){.data = junk, .len = sizeof(junk)};
	for (int round = 0; round < 20; round++)
		queue_put(right.r.k.queues[0], RING_ESP, d, 1000);
	for (int i = 0; i < 3000; i++) {
		full = counted(&right, CNT_IN_RING_FULL);
		rest = counted(&right, CNT_IN_UNALIGNED) + counted(&right, CNT_IN_BAD_ICV) +
		    counted(&right, CNT_IN_REPLAY);
		if (full + rest == 20000)
			break;
		usleep(1000);
	}
	ck_assert_uint_eq(full + rest, 20000);
	ck_assert_uint_gt(full, 0);
	inject(&left, 100, 5, "10.2.0.1");
	ck_assert_uint_eq(extract(&right, p, sizeof(p), 2000), 100);
	ends_stop();
}
END_TEST

UNIT_TESTS(queue)
{
	tcase_add_test(tc, through_and_in_order);
	tcase_add_test(tc, bursts_are_cut);
	tcase_add_test(tc, waiting_for_an_sa);
	tcase_add_test(tc, what_is_not_sent);
	tcase_add_test(tc, what_is_not_received);
	tcase_add_test(tc, a_flood);
}
