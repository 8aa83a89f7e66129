/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "rig.h"

#include <stdlib.h>

static struct cy_kernel_sa_id id_of(const struct rig_sa *s)
{
	return (struct cy_kernel_sa_id){
	    .spi = s->in.spi, .src = s->in.src, .dst = s->in.dst, .proto = CY_PROTO_ESP, .dir = s->in.dir};
}

START_TEST(what_is_refused)
{
	struct rig r;
	struct rig_sa s;
	struct sa *sa;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
#define REFUSED(change, wanted)                                                                              \
	do {                                                                                                 \
		rig_sa_init(&s, CY_DIR_OUT, 0x1000, CY_ENCR_AES_GCM_16, 20, 0, 0);                           \
		change;                                                                                      \
		ck_assert_int_eq(sad_add(r.k.sad, &s.in, &sa), wanted);                                      \
	} while (0)
	r.fake.level = CY_LOG_ERROR;
	REFUSED(s.in.proto = CY_PROTO_AH, CY_E_UNSUPPORTED);
	REFUSED(s.in.mode = CY_MODE_TRANSPORT, CY_E_UNSUPPORTED);
	REFUSED(s.in.mode = CY_MODE_BEET, CY_E_UNSUPPORTED);
	REFUSED(s.in.encap = 0, CY_E_UNSUPPORTED);
	REFUSED(s.in.if_id = 1, CY_E_UNSUPPORTED);
	REFUSED(s.in.mark.mask = 1, CY_E_UNSUPPORTED);
	REFUSED(s.in.set_mark.mask = 1, CY_E_UNSUPPORTED);
	REFUSED(s.in.cpu = 0, CY_E_UNSUPPORTED);
	REFUSED(s.in.size = 8, CY_E_INVAL);
	REFUSED(s.in.spi = 0, CY_E_INVAL);
	REFUSED(s.in.reqid = 0, CY_E_INVAL);
	REFUSED(s.in.dir = 7, CY_E_INVAL);
	REFUSED(s.in.dst.port = 0, CY_E_INVAL);
	REFUSED(s.in.dst.family = AF_INET6, CY_E_INVAL);
	REFUSED(s.in.encr = 999, CY_E_UNSUPPORTED);
	REFUSED(s.in.encr_key.n = 21, CY_E_UNSUPPORTED);
	REFUSED(s.in.encr_key.n = 3, CY_E_INVAL);
	REFUSED(s.in.encr_key.n = CY_MAX_CIPHER_KEY + 1, CY_E_INVAL);
	REFUSED(s.in.integ = CY_INTEG_HMAC_SHA1_96, CY_E_INVAL);
	REFUSED(s.in.encr = CY_ENCR_NULL; s.in.encr_key.n = 0, CY_E_UNSUPPORTED);
	REFUSED(s.in.encr = CY_ENCR_AES_CBC; s.in.encr_key.n = 16; s.in.integ = 999, CY_E_UNSUPPORTED);
	REFUSED(s.in.encr = CY_ENCR_AES_CBC; s.in.encr_key.n = 16; s.in.integ = CY_INTEG_HMAC_SHA1_96;
	        s.in.integ_key = cy_slice(s.integ_key, 19), CY_E_INVAL);
	REFUSED(s.in.dir = CY_DIR_IN; s.in.replay_window = 4097, CY_E_LIMIT);
	REFUSED(s.in.n_ts_local = s.in.n_ts_remote = 256, CY_E_LIMIT);
	REFUSED(s.in.n_ts_local = s.in.n_ts_remote = 1, CY_E_INVAL);
#undef REFUSED
	ck_assert_uint_eq(r.k.sad->in.live + r.k.sad->out.live + r.k.sad->reqids.live, 0);
	rig_fini(&r);
}
END_TEST

START_TEST(names)
{
	struct rig r;
	struct rig_sa a, b, in;
	struct sa *sa_a, *sa_b, *sa;
	struct cy_kernel_sa_id id;
	struct cy_addr moved = rig_addr("203.0.113.1", 1025);

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	rig_sa_init(&a, CY_DIR_OUT, 0x1000, CY_ENCR_AES_GCM_16, 20, 0, 0);
	b = a;
	b.in.dst = rig_addr("192.0.2.2", 1024); /* another peer behind the same NAT chose the same SPI */
	rig_sa_init(&in, CY_DIR_IN, 0x1000, CY_ENCR_AES_GCM_16, 20, 0, 0);
	sa_a = rig_sa_add(&r, &a);
	sa_b = rig_sa_add(&r, &b);
	rig_sa_add(&r, &in);
	ck_assert_int_eq(sad_add(r.k.sad, &a.in, &sa), CY_E_EXISTS);
	in.in.dst = moved;
	ck_assert_int_eq(sad_add(r.k.sad, &in.in, &sa), CY_E_EXISTS);
	id = id_of(&a);
	ck_assert_ptr_eq(sad_find(r.k.sad, &id), sa_a);
	id = id_of(&b);
	ck_assert_ptr_eq(sad_find(r.k.sad, &id), sa_b);
	id.dst = moved;
	ck_assert_ptr_null(sad_find(r.k.sad, &id));
	ck_assert_int_eq(sad_move(r.k.sad, sa_b, &b.in.src, &moved), CY_OK);
	ck_assert_ptr_eq(sad_find(r.k.sad, &id), sa_b);
	sa_id(sa_b, &id);
	ck_assert(cy_addr_eq(&id.dst, &moved) && id.spi == 0x1000 && id.dir == CY_DIR_OUT);
	ck_assert_ptr_nonnull(sad_lookup_in(r.k.sad, 0x1000));
	ck_assert_ptr_null(sad_lookup_in(r.k.sad, 0x1001));
	rcu_reclaim(&r.k.rcu);
	rig_fini(&r);
}
END_TEST

static struct sa *pick_of(
    const struct rig *r, const struct reqid *q, int thread, const char *src, const char *dst)
{
	uint8_t p[40];
	struct flow f;

	rig_packet(p, 40, src, 1, dst, 2);
	packet_flow(p, 40, &f);
	return reqid_pick(&r->k, q, &f, thread);
}

static struct sa *pick(const struct rig *r, const struct reqid *q, const char *src, const char *dst)
{
	return pick_of(r, q, 0, src, dst);
}

START_TEST(the_newest_living_sa_sends)
{
	struct rig r;
	struct rig_sa s[3];
	struct sa *sa[3];
	struct reqid *q;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	q = reqid_get(r.k.sad, 1);
	ck_assert_ptr_null(pick(&r, q, "10.1.0.1", "10.2.0.1"));
	for (uint32_t i = 0; i < 3; i++) {
		rig_sa_init(&s[i], CY_DIR_OUT, 0x1000 + i, CY_ENCR_AES_GCM_16, 20, 0, 0);
		sa[i] = rig_sa_add(&r, &s[i]);
		ck_assert_ptr_eq(pick(&r, q, "10.1.0.1", "10.2.0.1"), sa[i]);
	}
	sa_kill(&r.k, sa[2]);
	ck_assert_uint_eq(r.n_hard, 1);
	ck_assert_ptr_eq(pick(&r, q, "10.1.0.1", "10.2.0.1"), sa[1]);
	sad_del(r.k.sad, sa[1]);
	ck_assert_ptr_eq(pick(&r, q, "10.1.0.1", "10.2.0.1"), sa[0]);
	sad_del(r.k.sad, sa[0]);
	/* dead, so that its packets are counted as such */
	ck_assert_ptr_eq(pick(&r, q, "10.1.0.1", "10.2.0.1"), sa[2]);
	sad_del(r.k.sad, sa[2]);
	ck_assert_ptr_null(pick(&r, q, "10.1.0.1", "10.2.0.1"));
	reqid_put(r.k.sad, q);
	rcu_reclaim(&r.k.rcu);
	rig_fini(&r);
}
END_TEST

START_TEST(an_sa_sends_what_it_is_for)
{
	struct rig r;
	struct rig_sa s[2];
	struct sa *sa[2];
	struct reqid *q;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	q = reqid_get(r.k.sad, 1);
	for (uint32_t i = 0; i < 2; i++) {
		rig_sa_init(&s[i], CY_DIR_OUT, 0x1000 + i, CY_ENCR_AES_GCM_16, 20, 0, 0);
		s[i].local = rig_ts("10.1.0.0/16");
		s[i].remote = rig_ts(i ? "10.2.1.0/24" : "10.2.0.0/24");
		s[i].in.ts_local = &s[i].local;
		s[i].in.ts_remote = &s[i].remote;
		s[i].in.n_ts_local = s[i].in.n_ts_remote = 1;
		sa[i] = rig_sa_add(&r, &s[i]);
	}
	ck_assert_ptr_eq(pick(&r, q, "10.1.0.1", "10.2.0.1"), sa[0]);
	ck_assert_ptr_eq(pick(&r, q, "10.1.0.1", "10.2.1.1"), sa[1]);
	ck_assert_ptr_null(pick(&r, q, "10.1.0.1", "10.2.2.1"));
	ck_assert_ptr_null(pick(&r, q, "10.2.0.1", "10.1.0.1"));
	reqid_put(r.k.sad, q);
	rig_fini(&r);
}
END_TEST

START_TEST(an_sa_of_the_cpu_comes_first)
{
	static const int32_t cpus[] = {-1, 1, 0, 5, -1};
	struct rig r;
	struct rig_sa s[5];
	struct sa *sa[5];
	struct reqid *q;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	r.k.n_queues = 4;
	q = reqid_get(r.k.sad, 1);
	for (uint32_t i = 0; i < 5; i++) {
		rig_sa_init(&s[i], CY_DIR_OUT, 0x1000 + i, CY_ENCR_AES_GCM_16, 20, 0, 0);
		s[i].in.cpu = cpus[i];
		sa[i] = rig_sa_add(&r, &s[i]);
	}
	ck_assert_uint_eq(r.k.n_per_cpu, 3);
	ck_assert_ptr_eq(pick_of(&r, q, 0, "10.1.0.1", "10.2.0.1"), sa[2]);
	/* the newest of two: with more CPUs than threads, a thread has several */
	ck_assert_ptr_eq(pick_of(&r, q, 1, "10.1.0.1", "10.2.0.1"), sa[3]);
	/* no other CPU's, but the fallback */
	ck_assert_ptr_eq(pick_of(&r, q, 2, "10.1.0.1", "10.2.0.1"), sa[4]);
	ck_assert_ptr_eq(pick_of(&r, q, -1, "10.1.0.1", "10.2.0.1"), sa[4]);
	sa_kill(&r.k, sa[4]);
	ck_assert_ptr_eq(pick_of(&r, q, 2, "10.1.0.1", "10.2.0.1"), sa[0]);
	sad_del(r.k.sad, sa[3]);
	ck_assert_ptr_eq(pick_of(&r, q, 1, "10.1.0.1", "10.2.0.1"), sa[1]);
	sad_del(r.k.sad, sa[1]);
	ck_assert_ptr_eq(pick_of(&r, q, 1, "10.1.0.1", "10.2.0.1"), sa[0]);
	sad_del(r.k.sad, sa[0]);
	sad_del(r.k.sad, sa[4]);
	ck_assert_ptr_null(pick_of(&r, q, 1, "10.1.0.1", "10.2.0.1"));
	sad_del(r.k.sad, sa[2]);
	ck_assert_uint_eq(r.k.n_per_cpu, 0);
	/* one thread has no CPU */
	r.k.n_queues = 1;
	ck_assert_int_eq(sad_add(r.k.sad, &s[1].in, &sa[1]), CY_E_UNSUPPORTED);
	reqid_put(r.k.sad, q);
	rcu_reclaim(&r.k.rcu);
	rig_fini(&r);
}
END_TEST

START_TEST(many)
{
	enum { N = 5000 };
	static struct sa *sa[N];
	struct rig r;
	struct rig_sa s;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < N; i++) {
			rig_sa_init(&s, CY_DIR_IN, 1 + i * 977, CY_ENCR_AES_GCM_16, 20, 0, 0);
			s.in.reqid = 1 + i % 1000;
			sa[i] = rig_sa_add(&r, &s);
		}
		for (uint32_t i = 0; i < N; i++)
			EXPECT(sad_lookup_in(r.k.sad, 1 + i * 977) == sa[i]);
		for (uint32_t i = 0; i < N; i += 2)
			sad_del(r.k.sad, sa[i]);
		rcu_reclaim(&r.k.rcu);
		for (uint32_t i = 0; i < N; i++)
			EXPECT(sad_lookup_in(r.k.sad, 1 + i * 977) == (i % 2 ? sa[i] : NULL));
		sad_flush(r.k.sad);
		rcu_reclaim(&r.k.rcu);
		ck_assert_uint_eq(r.k.sad->in.live, 0);
		ck_assert_uint_eq(r.k.sad->reqids.live, 0);
	}
	rig_fini(&r);
}
END_TEST

/* ---- reading while it changes */

static atomic_bool reader_stop;
static atomic_uint_least64_t reader_found;

static void *reader(void *user)
{
	struct rig *r = user;
	uint64_t found = 0;

	while (!atomic_load(&reader_stop)) {
		rcu_online(&r->k.rcu, 3);
		for (uint32_t i = 0; i < 64; i++) {
			struct sa *sa = sad_lookup_in(r->k.sad, 1 + i);
			const struct sa_path *path;

			if (!sa)
				continue;
			EXPECT(sa->spi == 1 + i);
			path = sa_path(sa);
			EXPECT(path->dst.port == path->src.port);
			found++;
			atomic_store(&reader_found, found);
		}
		if (found % 7 == 0)
			rcu_offline(&r->k.rcu, 3);
	}
	rcu_offline(&r->k.rcu, 3);
	return NULL;
}

START_TEST(readers_never_see_what_is_freed)
{
	struct rig r;
	pthread_t thread;
	struct sa *sa[64] = {0};

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	atomic_store(&reader_stop, false);
	atomic_store(&reader_found, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, reader, &r), 0);
	/* on until the reader had its turn, however busy the machine is */
	for (int i = 0; i < 20000 || (!atomic_load(&reader_found) && i < 100000000); i++) {
		uint32_t n = (uint32_t)(i * 31) % 64;

		if (!sa[n]) {
			struct rig_sa s;

			rig_sa_init(&s, CY_DIR_IN, 1 + n, CY_ENCR_AES_GCM_16, 20, 0, 0);
			sa[n] = rig_sa_add(&r, &s);
		} else if (i % 3) {
			struct cy_addr a = rig_addr("192.0.2.9", (uint16_t)(1 + i % 60000));

			EXPECT(sad_move(r.k.sad, sa[n], &a, &a) == CY_OK);
		} else {
			sad_del(r.k.sad, sa[n]);
			sa[n] = NULL;
		}
		rcu_reclaim(&r.k.rcu);
	}
	atomic_store(&reader_stop, true);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(atomic_load(&reader_found), 0);
	rcu_reclaim(&r.k.rcu);
	ck_assert_ptr_null(r.k.rcu.first);
	rig_fini(&r);
}
END_TEST

START_TEST(what_a_reader_may_hold_is_kept)
{
	struct rig r;
	struct rig_sa s;
	struct sa *sa;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	rig_sa_init(&s, CY_DIR_IN, 1, CY_ENCR_AES_GCM_16, 20, 0, 0);
	sa = rig_sa_add(&r, &s);
	rcu_online(&r.k.rcu, 0);
	sad_del(r.k.sad, sa);
	rcu_reclaim(&r.k.rcu);
	ck_assert_ptr_nonnull(r.k.rcu.first);
	ck_assert_uint_eq(sa->spi, 1);
	rcu_online(&r.k.rcu, 0);
	rcu_reclaim(&r.k.rcu);
	ck_assert_ptr_null(r.k.rcu.first);
	rcu_offline(&r.k.rcu, 0);
	rig_fini(&r);
}
END_TEST

/* What waits for its thread when the SA is deleted is still received; a new one of that SPI need not wait. */
START_TEST(a_deleted_inbound_sa_stays_a_moment)
{
	struct rig r;
	struct rig_sa in;
	struct cy_kernel_sa_id id;
	struct sa *sa;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	rig_sa_init(&in, CY_DIR_IN, 0x1000, CY_ENCR_AES_GCM_16, 20, 0, 0);
	id = id_of(&in);
	sa = rig_sa_add(&r, &in);
	sad_leave(r.k.sad, sa);
	ck_assert_ptr_null(sad_find(r.k.sad, &id));
	sad_tick(r.k.sad);
	ck_assert_ptr_eq(sad_lookup_in(r.k.sad, 0x1000), sa);
	sad_tick(r.k.sad);
	ck_assert_ptr_null(sad_lookup_in(r.k.sad, 0x1000));
	sad_leave(r.k.sad, rig_sa_add(&r, &in));
	sa = rig_sa_add(&r, &in);
	ck_assert_ptr_eq(sad_lookup_in(r.k.sad, 0x1000), sa);
	ck_assert_ptr_null(r.k.sad->leaving);
	sad_leave(r.k.sad, sa);
	sad_flush(r.k.sad);
	sad_tick(r.k.sad);
	ck_assert_uint_eq(r.k.sad->in.live + r.k.sad->reqids.live, 0);
	rcu_reclaim(&r.k.rcu);
	rig_fini(&r);
}
END_TEST

UNIT_TESTS(sad)
{
	tcase_add_test(tc, what_is_refused);
	tcase_add_test(tc, names);
	tcase_add_test(tc, a_deleted_inbound_sa_stays_a_moment);
	tcase_add_test(tc, the_newest_living_sa_sends);
	tcase_add_test(tc, an_sa_sends_what_it_is_for);
	tcase_add_test(tc, an_sa_of_the_cpu_comes_first);
	tcase_add_test(tc, many);
	tcase_add_test(tc, readers_never_see_what_is_freed);
	tcase_add_test(tc, what_a_reader_may_hold_is_kept);
}
