/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

static struct cy_kernel_policy make(const char *src, const char *dst, uint32_t priority, uint64_t cookie)
{
	return (struct cy_kernel_policy){
	    .size = sizeof(struct cy_kernel_policy),
	    .dir = CY_DIR_OUT,
	    .action = CY_POLICY_PROTECT,
	    .mode = CY_MODE_TUNNEL,
	    .proto = CY_PROTO_ESP,
	    .has_tmpl = 1,
	    .src = rig_ts(src),
	    .dst = rig_ts(dst),
	    .priority = priority,
	    .reqid = 1,
	    .cookie = cookie,
	};
}

static struct policy *add(struct rig *r, const struct cy_kernel_policy *p)
{
	struct policy *added, *old;

	EXPECT(spd_add(r->k.spd, p, &added, &old) == CY_OK);
	rcu_reclaim(&r->k.rcu);
	return added;
}

/* The cookie of the policy for a packet; 0: none. */
static uint64_t look(struct rig *r, uint8_t dir, const char *src, const char *dst, uint16_t dport)
{
	uint8_t p[64];
	struct flow f;
	const struct policy *found;

	rig_packet(p, 64, src, 1000, dst, dport);
	packet_flow(p, 64, &f);
	found = spd_lookup(r->k.spd, dir, &f);
	return found ? found->cookie : 0;
}

START_TEST(priority_then_narrowness_then_age)
{
	struct rig r;
	struct cy_kernel_policy p[] = {
	    make("10.1.0.0/16", "10.2.0.0/16", 100, 1),
	    make("10.1.0.0/16", "10.2.3.0/24", 100, 2),
	    make("10.1.0.0/16", "10.2.3.0/24[udp/53]", 100, 3),
	    make("0.0.0.0/0", "10.2.4.0/24", 50, 4),
	    make("10.1.0.0-10.1.255.255", "10.2.5.0-10.2.5.99", 100, 5),
	    make("10.1.0.0-10.1.255.255", "10.2.5.0-10.2.5.100", 100, 6),
	    make("fd01::/64", "fd02::/64", 100, 7),
	};

	ck_assert(rig_init(&r, NULL));
	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
		add(&r, &p[i]);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.0.1", 53), 1);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.3.1", 54), 2);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.3.1", 53), 3);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.4.1", 53), 4);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.5.7", 53), 5);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.5.100", 53), 6);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.9.0.1", "10.2.0.1", 53), 0);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "fd01::9", "fd02::9", 53), 7);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "fd01::9", "fd03::9", 53), 0);
	ck_assert_uint_eq(look(&r, CY_DIR_IN, "10.1.0.1", "10.2.0.1", 53), 0);
	rig_fini(&r);
}
END_TEST

START_TEST(replacing_and_deleting)
{
	struct rig r;
	struct cy_kernel_policy p = make("10.1.0.0/16", "10.2.0.0/16", 100, 1);
	struct policy *first, *second;

	ck_assert(rig_init(&r, NULL));
	first = add(&r, &p);
	ck_assert(policy_hold(first, (const uint8_t *)"abc", 3, 2));
	ck_assert(policy_hold(first, (const uint8_t *)"de", 2, 2));
	ck_assert(!policy_hold(first, (const uint8_t *)"f", 1, 2));
	p.cookie = 2;
	p.reqid = 9;
	second = add(&r, &p);
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.0.1", 53), 2);
	ck_assert_uint_eq(second->reqid->reqid, 9);
	/* what waited goes on waiting there */
	struct held *h = policy_release(second);

	ck_assert(h && h->len == 3 && h->next && h->next->len == 2 && !h->next->next);
	held_free(h);
	ck_assert_ptr_null(policy_release(second));
	ck_assert_ptr_eq(spd_find(r.k.spd, &p), second);
	spd_del(r.k.spd, second);
	ck_assert_ptr_null(spd_find(r.k.spd, &p));
	ck_assert_uint_eq(look(&r, CY_DIR_OUT, "10.1.0.1", "10.2.0.1", 53), 0);
	ck_assert_uint_eq(r.k.sad->reqids.live, 0);
	rig_fini(&r);
}
END_TEST

START_TEST(without_template_it_is_a_block)
{
	struct rig r;
	struct cy_kernel_policy p = make("10.1.0.0/16", "10.2.0.0/16", 100, 1);

	ck_assert(rig_init(&r, NULL));
	p.has_tmpl = 0;
	p.reqid = 0;
	ck_assert_int_eq(add(&r, &p)->action, CY_POLICY_DISCARD);
	rig_fini(&r);
}
END_TEST

START_TEST(a_cache_forgets_what_changed)
{
	static struct flow_cache cache;
	struct rig r;
	struct cy_kernel_policy a = make("10.1.0.0/16", "10.2.0.0/16", 100, 1),
	                        b = make("10.1.0.0/16", "10.2.0.0/24", 10, 2);
	uint8_t p[64];
	struct flow f;

	memset(&cache, 0, sizeof(cache));
	ck_assert(rig_init(&r, NULL));
	rig_packet(p, 64, "10.1.0.1", 1, "10.2.0.1", 2);
	packet_flow(p, 64, &f);
#define LOOK() spd_lookup_cached(r.k.spd, CY_DIR_OUT, &f, &cache, atomic_load(&r.k.spd->generation))
	ck_assert_ptr_null(LOOK());
	add(&r, &a);
	ck_assert_uint_eq(LOOK()->cookie, 1);
	ck_assert_uint_eq(LOOK()->cookie, 1);
	add(&r, &b);
	ck_assert_uint_eq(LOOK()->cookie, 2);
	spd_del(r.k.spd, spd_find(r.k.spd, &b));
	rcu_reclaim(&r.k.rcu);
	ck_assert_uint_eq(LOOK()->cookie, 1);
	spd_del(r.k.spd, spd_find(r.k.spd, &a));
	rcu_reclaim(&r.k.rcu);
	ck_assert_ptr_null(LOOK());
#undef LOOK
	rig_fini(&r);
}
END_TEST

static uint64_t rnd_state = 5;

static uint32_t rnd(uint32_t below)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rnd_state >> 33) % below;
}

/* Random selectors in a small world, so that many overlap. */
static struct cy_ts random_ts(bool ip6)
{
	struct cy_ts ts = {.family_ip6 = ip6, .port_hi = 65535};
	size_t n = ip6 ? 16 : 4;
	uint8_t a, b;

	memset(ts.lo, 10, n);
	memset(ts.hi, 10, n);
	switch (rnd(4)) {
	case 0: /* a prefix */
		a = (uint8_t)rnd(7);
		ts.lo[n - 1] = (uint8_t)(rnd(64) & (0xff << a));
		ts.hi[n - 1] = (uint8_t)(ts.lo[n - 1] | ((1 << a) - 1));
		break;
	case 1: /* a range */
		a = (uint8_t)rnd(64);
		b = (uint8_t)rnd(64);
		ts.lo[n - 1] = a < b ? a : b;
		ts.hi[n - 1] = a < b ? b : a;
		break;
	case 2: /* one host */
		ts.lo[n - 1] = ts.hi[n - 1] = (uint8_t)rnd(64);
		break;
	default: /* everything */
		memset(ts.lo, 0, n);
		memset(ts.hi, 0xff, n);
	}
	if (rnd(3) == 0) {
		ts.proto = 17;
		if (rnd(2))
			ts.port_lo = ts.port_hi = (uint16_t)(1000 + rnd(3));
	}
	return ts;
}

#define N_POLICIES 300

static struct policy *naive(struct policy **all, size_t n, const struct flow *f)
{
	struct policy *best = NULL;

	for (size_t i = 0; i < n; i++) {
		struct policy *p = all[i];

		if (!p || !flow_matches(f, &p->src, &p->dst))
			continue;
		if (!best || p->priority < best->priority ||
		    (p->priority == best->priority &&
		        (p->narrow > best->narrow ||
		            (p->narrow == best->narrow && p->serial < best->serial))))
			best = p;
	}
	return best;
}

START_TEST(agrees_with_a_list)
{
	struct policy *all[N_POLICIES] = {0};
	struct rig r;

	ck_assert(rig_init(&r, NULL));
	for (int step = 0; step < 3000; step++) {
		size_t i = rnd(N_POLICIES);
		uint8_t p[64];
		struct flow f;
		char src[64], dst[64];
		bool ip6 = rnd(2);

		if (all[i]) {
			spd_del(r.k.spd, all[i]);
			all[i] = NULL;
		} else {
			struct cy_kernel_policy k = make("10.0.0.0/8", "10.0.0.0/8", rnd(3), i + 1);

			k.src = random_ts(ip6);
			k.dst = random_ts(ip6);
			k.reqid = 1 + rnd(20);
			if (spd_find(r.k.spd, &k))
				continue;
			all[i] = add(&r, &k);
		}
		rcu_reclaim(&r.k.rcu);
		snprintf(src, sizeof(src), ip6 ? "0a0a:0a0a:0a0a:0a0a:0a0a:0a0a:0a0a:0a%02x" : "10.10.10.%u",
		    rnd(64));
		snprintf(dst, sizeof(dst), ip6 ? "0a0a:0a0a:0a0a:0a0a:0a0a:0a0a:0a0a:0a%02x" : "10.10.10.%u",
		    rnd(64));
		rig_packet(p, 64, src, (uint16_t)(1000 + rnd(4)), dst, (uint16_t)(1000 + rnd(4)));
		packet_flow(p, 64, &f);
		EXPECT(spd_lookup(r.k.spd, CY_DIR_OUT, &f) == naive(all, N_POLICIES, &f));
	}
	for (size_t i = 0; i < N_POLICIES; i++)
		if (all[i])
			spd_del(r.k.spd, all[i]);
	ck_assert_ptr_null(r.k.spd->policies[0]);
	ck_assert_ptr_null(atomic_load(&r.k.spd->groups[0]));
	rig_fini(&r);
}
END_TEST

UNIT_TESTS(spd)
{
	tcase_add_test(tc, priority_then_narrowness_then_age);
	tcase_add_test(tc, replacing_and_deleting);
	tcase_add_test(tc, without_template_it_is_a_block);
	tcase_add_test(tc, a_cache_forgets_what_changed);
	tcase_add_test(tc, agrees_with_a_list);
}
