/* SPDX-License-Identifier: Apache-2.0 */
/* Policies that several CHILD_SAs share: what the data plane holds after any order of additions and removals. */
#include "unit.h"

#include <string.h>

#include "daemon/kernel/knl.h"
#include "libcore/base/addr.h"

/* A data plane that remembers: by selector, which reqid its policy has. */
#define SLOTS 8
struct plane {
	struct {
		bool used;
		struct cy_kernel_policy p;
	} slot[SLOTS];
	unsigned adds, dels;
	bool refuse;
};

static int slot_of(const struct plane *k, const struct cy_kernel_policy *p)
{
	for (int i = 0; i < SLOTS; i++)
		if (k->slot[i].used && k->slot[i].p.dir == p->dir && ts_eq(&k->slot[i].p.dst, &p->dst) &&
		    ts_eq(&k->slot[i].p.src, &p->src))
			return i;
	return -1;
}

static enum cy_err add(void *kv, const struct cy_kernel_policy *p)
{
	struct plane *k = kv;
	int i = slot_of(k, p);

	if (k->refuse)
		return CY_E_IO;
	k->adds++;
	for (int j = 0; i < 0 && j < SLOTS; j++)
		if (!k->slot[j].used)
			i = j;
	ck_assert_int_ge(i, 0);
	k->slot[i].used = true;
	k->slot[i].p = *p;
	return CY_OK;
}

static enum cy_err del(void *kv, const struct cy_kernel_policy *p)
{
	struct plane *k = kv;
	int i = slot_of(k, p);

	if (k->refuse)
		return CY_E_IO;
	k->dels++;
	if (i < 0)
		return CY_E_NOTFOUND;
	k->slot[i].used = false;
	return CY_OK;
}

static const struct cy_kernel_ops ops = {
    .size = sizeof(ops), .name = "test", .policy_add = add, .policy_del = del};

static struct cy_kernel_policy policy(const char *dst, uint32_t reqid, uint32_t priority, uint64_t cookie)
{
	struct cy_kernel_policy p;

	memset(&p, 0, sizeof(p));
	p.size = sizeof(p);
	p.dir = CY_DIR_OUT;
	p.action = CY_POLICY_PROTECT;
	ck_assert_int_eq(ts_parse("10.1.0.0/16", &p.src), CY_OK);
	ck_assert_int_eq(ts_parse(dst, &p.dst), CY_OK);
	p.reqid = reqid;
	p.priority = priority;
	p.cookie = cookie;
	return p;
}

/* The reqid the data plane has for a destination, 0 none. */
static uint32_t held(const struct plane *k, const char *dst)
{
	struct cy_kernel_policy p = policy(dst, 0, 0, 0);
	int i = slot_of(k, &p);

	return i < 0 ? 0 : k->slot[i].p.reqid;
}

static const uint64_t key[2] = {1, 2};

START_TEST(goes_with_its_last_user)
{
	struct plane k = {0};
	struct knl_policies *t = knl_policies_new(key);
	struct cy_kernel_policy first = policy("10.2.0.0/16", 7, 100, 1),
	                        second = policy("10.2.0.0/16", 7, 100, 2);

	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &first), CY_OK);
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &second), CY_OK);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &first), CY_OK);
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 7);
	ck_assert_uint_eq(knl_policies_count(t), 1);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &second), CY_OK);
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 0);
	ck_assert_uint_eq(knl_policies_count(t), 0);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &second), CY_E_NOTFOUND);
	knl_policies_free(t);
}
END_TEST

/* Two peers with one selector: the newest is served, and when it goes the one before is again. */
START_TEST(the_one_before_comes_back)
{
	struct plane k = {0};
	struct knl_policies *t = knl_policies_new(key);
	struct cy_kernel_policy a = policy("10.2.0.0/16", 1, 100, 1), b = policy("10.2.0.0/16", 2, 100, 2),
	                        c = policy("10.3.0.0/16", 3, 100, 3);

	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &a), CY_OK);
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &b), CY_OK);
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &c), CY_OK);
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 2);
	ck_assert_uint_eq(held(&k, "10.3.0.0/16"), 3);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &b), CY_OK);
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 1);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &a), CY_OK);
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 0);
	knl_policies_free(t); /* with c still in it */
}
END_TEST

/* A trap never covers the CHILD_SA it caused, whichever was there first. */
START_TEST(a_trap_stands_behind)
{
	struct plane k = {0};
	struct knl_policies *t = knl_policies_new(key);
	struct cy_kernel_policy trap = policy("10.2.0.0/16", 5, 300, 0),
	                        child = policy("10.2.0.0/16", 5, 100, 9);

	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &child), CY_OK);
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &trap), CY_OK);
	ck_assert_uint_eq(k.adds, 1); /* the data plane was not troubled */
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &child), CY_OK);
	ck_assert_uint_eq(k.slot[slot_of(&k, &trap)].p.priority, 300);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &trap), CY_OK);
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 0);
	knl_policies_free(t);
}
END_TEST

START_TEST(a_refusal_leaves_no_trace)
{
	struct plane k = {0};
	struct knl_policies *t = knl_policies_new(key);
	struct cy_kernel_policy a = policy("10.2.0.0/16", 1, 100, 1), b = policy("10.2.0.0/16", 2, 100, 2);

	k.refuse = true;
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &a), CY_E_IO);
	ck_assert_uint_eq(knl_policies_count(t), 0);
	k.refuse = false;
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &a), CY_OK);
	k.refuse = true;
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &b), CY_E_IO);
	k.refuse = false;
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 1);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &b), CY_E_NOTFOUND);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &a), CY_OK);
	ck_assert_uint_eq(knl_policies_count(t), 0);
	knl_policies_free(t);
}
END_TEST

/* What the data plane refuses when a user goes is owed, and done when it no longer refuses. */
START_TEST(a_refused_removal_is_made_up_for)
{
	struct plane k = {0};
	struct knl_policies *t = knl_policies_new(key);
	struct cy_kernel_policy a = policy("10.2.0.0/16", 1, 100, 1), b = policy("10.2.0.0/16", 2, 100, 2),
	                        c = policy("10.3.0.0/16", 3, 100, 3);

	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &a), CY_OK);
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &b), CY_OK);
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &c), CY_OK);
	ck_assert(knl_policies_settle(t, &ops, &k));
	k.refuse = true;
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &b), CY_E_IO);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &c), CY_E_IO);
	ck_assert(!knl_policies_settle(t, &ops, &k));
	ck_assert_uint_eq(knl_policies_owed(t), 2);
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 2);
	ck_assert_uint_eq(held(&k, "10.3.0.0/16"), 3);
	k.refuse = false;
	ck_assert(knl_policies_settle(t, &ops, &k));
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 1);
	ck_assert_uint_eq(held(&k, "10.3.0.0/16"), 0);
	/* once */
	ck_assert_uint_eq(knl_policies_owed(t), 0);
	ck_assert_uint_eq(k.dels, 1);
	ck_assert(knl_policies_settle(t, &ops, &k));
	ck_assert_uint_eq(k.dels, 1);
	/* the selector has a user again before it is made up for; and with some owed all is freed */
	k.refuse = true;
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &a), CY_E_IO);
	k.refuse = false;
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &b), CY_OK);
	ck_assert(knl_policies_settle(t, &ops, &k));
	ck_assert_uint_eq(held(&k, "10.2.0.0/16"), 2);
	k.refuse = true;
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &b), CY_E_IO);
	knl_policies_free(t);
}
END_TEST

/* A CHILD_SA that moves adds what it has at its new addresses, then removes the old: there is a policy all the time. */
START_TEST(moving_leaves_no_gap)
{
	struct plane k = {0};
	struct knl_policies *t = knl_policies_new(key);
	struct cy_kernel_policy old = policy("10.2.0.0/16", 1, 100, 1), new = old;

	old.tmpl_dst = (struct cy_addr){.family = AF_INET, .ip = {192, 0, 2, 1}};
	new.tmpl_dst = (struct cy_addr){.family = AF_INET, .ip = {192, 0, 2, 9}};
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &old), CY_OK);
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &new), CY_OK);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &old), CY_OK);
	ck_assert_uint_eq(k.dels, 0);
	ck_assert_int_eq(k.slot[slot_of(&k, &new)].p.tmpl_dst.ip[3], 9);
	/* only a port changed: the ends are what they were */
	ck_assert_int_eq(knl_policy_add(t, &ops, &k, &new), CY_OK);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &new), CY_OK);
	ck_assert_uint_eq(k.dels, 0);
	ck_assert_int_eq(knl_policy_del(t, &ops, &k, &new), CY_OK);
	ck_assert_uint_eq(k.dels, 1);
	ck_assert_uint_eq(knl_policies_count(t), 0);
	knl_policies_free(t);
}
END_TEST

UNIT_TESTS(policies)
{
	tcase_add_test(tc, a_refused_removal_is_made_up_for);
	tcase_add_test(tc, moving_leaves_no_gap);
	tcase_add_test(tc, goes_with_its_last_user);
	tcase_add_test(tc, the_one_before_comes_back);
	tcase_add_test(tc, a_trap_stands_behind);
	tcase_add_test(tc, a_refusal_leaves_no_trace);
}
