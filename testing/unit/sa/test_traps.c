/* SPDX-License-Identifier: Apache-2.0 */
/* Policies without an SA: what the data plane refuses, what a reload replaces, and those that pass or drop. */
#include "unit.h"

#include "ikev2/duel.h"
#include "daemon/sa/manager.h"
#include "daemon/sa/traps.h"
#include "libcore/base/err.h"
#include "libcore/conf/conf.h"

static struct duel *d;

static const struct duel_config more = {
    .conns_a =
        "conn wide\n  keyexchange=ikev2\n  authby=secret\n  left=10.0.0.1\n  right=10.0.0.2\n"
        "  leftsubnet=10.1.0.0/16\n  rightsubnet=10.2.0.0/16,10.3.0.0/16\n  auto=add\n"
        "conn lan\n  type=passthrough\n  left=10.0.0.1\n  leftsubnet=10.1.0.0/16\n  rightsubnet=10.1.9.0/24\n"
        "  right=%any\n  auto=route\n"
        "conn none\n  type=drop\n  left=10.0.0.1\n  leftsubnet=10.1.0.0/16\n  rightsubnet=10.0.0.0/8\n"
        "  right=%any\n  auto=add\n"};

static struct conn *find(const char *name)
{
	struct config *c = daemon_config(d->a.d);
	struct conn *conn = conf_find(c->conf, name);

	config_unref(c); /* the daemon holds it */
	ck_assert_ptr_nonnull(conn);
	return conn;
}

struct seen {
	struct route_watch watch;
	uint32_t done;
	enum cy_err err;
	char why[256];
};

static void on_done(struct route_watch *w, enum cy_err err, const char *why)
{
	struct seen *s = container_of(w, struct seen, watch);

	s->done++;
	s->err = err;
	snprintf(s->why, sizeof(s->why), "%s", why);
}

START_TEST(what_the_data_plane_refuses_is_not_routed)
{
	struct seen s = {.watch.done = on_done};
	char why[256] = "";

	d = duel_new();
	d->a.refuse_policy = CY_E_DENIED;
	ck_assert_int_eq(traps_route_watched(d->a.d->traps, find("net"), &s.watch, why, sizeof(why)), CY_OK);
	duel_pump(d);
	ck_assert_uint_eq(s.done, 1);
	ck_assert_int_eq(s.err, CY_E_DENIED);
	ck_assert_ptr_nonnull(strstr(s.why, "refused the policies of connection net"));
	ck_assert_ptr_nonnull(strstr(s.why, err_text(CY_E_DENIED)));
	ck_assert(!traps_has(d->a.d->traps, "net"));
	ck_assert_uint_eq(d->a.n_policies, 0);
	d->a.refuse_policy = CY_OK;
	s = (struct seen){.watch.done = on_done};
	ck_assert_int_eq(traps_route_watched(d->a.d->traps, find("net"), &s.watch, why, sizeof(why)), CY_OK);
	duel_pump(d);
	ck_assert(s.done == 1 && !s.err && traps_has(d->a.d->traps, "net"));
	ck_assert_uint_eq(d->a.n_policies, 3);
	duel_free(d);
}
END_TEST

struct trapped {
	uint32_t n, reqid;
	uint64_t acquires;
};

static void on_trap(void *user, const struct conn *conn, uint32_t reqid, uint64_t acquires)
{
	struct trapped *t = user;

	(void)conn;
	if (!reqid)
		return;
	t->n++;
	t->reqid = reqid;
	t->acquires = acquires;
}

static struct trapped trapped(void)
{
	struct trapped t = {0};

	traps_list(d->a.d->traps, on_trap, &t);
	return t;
}

/* A reload: no packet may find no policy, and a bring-up that is under way is not begun twice. */
START_TEST(a_trap_is_replaced_without_a_gap)
{
	struct traps *traps;
	struct trapped before, after;
	struct conn *conn;
	char why[256] = "";
	size_t n;

	d = duel_new_with(&more);
	traps = d->a.d->traps;
	n = d->a.n_policies;
	ck_assert_int_eq(traps_route(traps, find("net"), why, sizeof(why)), CY_OK);
	duel_pump(d);
	before = trapped();
	ck_assert_uint_eq(before.n, 1);
	conn = traps_acquire(traps, before.reqid);
	ck_assert_ptr_nonnull(conn);
	conn_unref(conn);
	d->a.least_policies = n + 3;
	ck_assert_int_eq(traps_replace(traps, "net", find("wide"), why, sizeof(why)), CY_OK);
	duel_pump(d);
	ck_assert_uint_eq(d->a.n_policies, n + 6);
	ck_assert_uint_eq(d->a.least_policies, n + 3);
	after = trapped();
	ck_assert(after.n == 1 && after.reqid == before.reqid && after.acquires == 1);
	ck_assert(!traps_has(traps, "net") && traps_has(traps, "wide"));
	ck_assert_ptr_null(traps_acquire(traps, after.reqid));
	/* and back: what is not wanted any more goes */
	ck_assert_int_eq(traps_replace(traps, "wide", find("net"), why, sizeof(why)), CY_OK);
	ck_assert_int_eq(traps_replace(traps, "wide", find("net"), why, sizeof(why)), CY_E_NOTFOUND);
	duel_pump(d);
	ck_assert_uint_eq(d->a.n_policies, n + 3);
	ck_assert_uint_eq(d->a.least_policies, n + 3);
	duel_free(d);
}
END_TEST

static uint32_t priority_of(enum cy_policy_action action, const char *dst, uint32_t *n)
{
	struct cy_ts ts;
	uint32_t priority = 0;

	*n = 0;
	ck_assert_int_eq(ts_parse(dst, &ts), CY_OK);
	for (size_t i = 0; i < d->a.n_policies; i++) {
		const struct cy_kernel_policy *p = &d->a.policies[i];
		bool mine = memcmp(&p->dst, &ts, sizeof(ts)) == 0 || memcmp(&p->src, &ts, sizeof(ts)) == 0;

		if (p->action != action || !mine)
			continue;
		ck_assert(action == CY_POLICY_PROTECT || (!p->has_tmpl && !p->reqid));
		++*n;
		priority = p->priority;
	}
	return priority;
}

/* What passes does so before every tunnel; what is dropped is what no tunnel and no trap wants. */
START_TEST(what_passes_and_what_is_dropped)
{
	uint32_t pass, drop, tunnel, trap, n;
	char why[256] = "";

	d = duel_new_with(&more); /* auto=route is installed at the start */
	pass = priority_of(CY_POLICY_PASS, "10.1.9.0/24", &n);
	ck_assert_uint_eq(n, 3);
	ck_assert(traps_has(d->a.d->traps, "lan") && !traps_has(d->a.d->traps, "none"));
	ck_assert_int_eq(traps_route(d->a.d->traps, find("none"), why, sizeof(why)), CY_OK);
	ck_assert_int_eq(traps_route(d->a.d->traps, find("net"), why, sizeof(why)), CY_OK);
	duel_pump(d);
	drop = priority_of(CY_POLICY_DISCARD, "10.0.0.0/8", &n);
	ck_assert_uint_eq(n, 3);
	trap = priority_of(CY_POLICY_PROTECT, "10.2.0.0/16", &n);
	ck_assert_uint_eq(n, 3);
	d->pass = 4;
	sa_up(d->a.d, find("net"), NULL);
	duel_pump(d);
	tunnel = priority_of(CY_POLICY_PROTECT, "10.2.0.0/16", &n);
	ck_assert_uint_eq(n, 3);
	ck_assert_msg(
	    pass && pass < tunnel && tunnel < trap && trap < drop, "%u %u %u %u", pass, tunnel, trap, drop);
	ck_assert_int_eq(traps_unroute(d->a.d->traps, "none"), CY_OK);
	ck_assert_int_eq(traps_unroute(d->a.d->traps, "lan"), CY_OK);
	duel_pump(d);
	(void)priority_of(CY_POLICY_DISCARD, "10.0.0.0/8", &n);
	ck_assert_uint_eq(n, 0);
	(void)priority_of(CY_POLICY_PASS, "10.1.9.0/24", &n);
	ck_assert_uint_eq(n, 0);
	duel_free(d);
}
END_TEST

UNIT_TESTS(traps)
{
	tcase_add_test(tc, what_the_data_plane_refuses_is_not_routed);
	tcase_add_test(tc, a_trap_is_replaced_without_a_gap);
	tcase_add_test(tc, what_passes_and_what_is_dropped);
}
