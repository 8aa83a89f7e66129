/* SPDX-License-Identifier: Apache-2.0 */
/* Through a NAT: RFC 3947 and the drafts that came before it; transport mode, whose ends know other addresses of each other. */
#include "duel.h"
#include "unit.h"

#include <stdio.h>

#include "daemon/ikev1/ikev1.h"
#include "libcore/base/addr.h"

#define KEYS "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n"

static struct duel *d;

static struct child_sa *child_of(struct duel_side *s)
{
	struct ike_sa *sa = duel_sa(s);

	ck_assert_ptr_nonnull(sa);
	ck_assert_int_eq(sa->state, IKE_ESTABLISHED);
	ck_assert_uint_eq(sa->n_children, 1);
	return list_entry(sa->children.next, struct child_sa, node);
}

/* Vendor IDs as they stand in the first messages of clients (RFC 3947, 3.1) */
static const uint8_t vid[][16] = {
    {0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f},
    {0x7d, 0x94, 0x19, 0xa6, 0x53, 0x10, 0xca, 0x6f, 0x2c, 0x17, 0x9d, 0x92, 0x15, 0x52, 0x9d, 0x56},
    {0x90, 0xcb, 0x80, 0x91, 0x3e, 0xbb, 0x69, 0x6e, 0x08, 0x63, 0x81, 0xb5, 0xec, 0x42, 0x7b, 0x1f},
    {0xcd, 0x60, 0x46, 0x43, 0x35, 0xdf, 0x21, 0xf8, 0x7c, 0xfd, 0xb2, 0xfc, 0x68, 0xb6, 0xa4, 0x48},
};

/* What A sends first reaches B with but one of the ways that A offers; the others become unknown. */
static void only(uint8_t *p, size_t n, int which)
{
	for (size_t at = 0; at + 16 <= n; at++)
		for (int i = 0; i < 4; i++)
			if (i != which && memcmp(p + at, vid[i], 16) == 0)
				p[at] ^= 0xff;
}

static void tunnel(const struct duel_config *c, int which)
{
	uint8_t first[2000];
	const struct duel_dgram *g;
	size_t n;

	d = duel_new_with(c);
	duel_start(d, &d->a, 0); /* lost on its way */
	g = duel_last(&d->a, 0);
	ck_assert_ptr_nonnull(g);
	n = g->n;
	ck_assert_uint_le(n, sizeof(first));
	memcpy(first, g->p, n);
	if (which >= 0)
		only(first, n, which);
	d->pass = 100;
	duel_inject(&d->b, first, n);
}

START_TEST(every_way_of_it_works)
{
	static const enum v1_natt want[] = {
	    V1_NATT_RFC, V1_NATT_DRAFT_03, V1_NATT_DRAFT_02, V1_NATT_DRAFT_02};

	for (int i = 0; i < 4; i++) {
		static const struct duel_config c = {.keys = KEYS, .right_b = "%any", .nat_a = "192.0.2.1"};
		struct cy_addr nat;

		ck_assert_int_eq(addr_parse(c.nat_a, &nat), CY_OK);
		tunnel(&c, i);
		ck_assert(child_of(&d->a)->encap && child_of(&d->b)->encap);
		ck_assert_int_eq(v1_of(duel_sa(&d->a))->natt, want[i]);
		ck_assert_int_eq(v1_of(duel_sa(&d->b))->natt, want[i]);
		ck_assert(duel_sa(&d->a)->nat_here && !duel_sa(&d->a)->nat_there);
		ck_assert(duel_sa(&d->b)->nat_there && !duel_sa(&d->b)->nat_here);
		ck_assert(cy_addr_ip_eq(&duel_sa(&d->b)->remote, &nat));
		ck_assert_uint_eq(duel_sa(&d->b)->remote.port, 4500);
		duel_free(d);
	}
}
END_TEST

/* A peer that offers none of them gets a plain tunnel. */
START_TEST(without_any_way)
{
	static const struct duel_config c = {.keys = KEYS};

	tunnel(&c, 4);
	ck_assert(!child_of(&d->a)->encap && !child_of(&d->b)->encap);
	ck_assert_int_eq(v1_of(duel_sa(&d->b))->natt, V1_NATT_NONE);
	duel_free(d);
}
END_TEST

static bool is_host(const struct cy_ts *ts, const char *addr)
{
	struct cy_addr a;
	struct cy_ts host;

	ck_assert_int_eq(addr_parse(addr, &a), CY_OK);
	host = ts_host(&a);
	return ts_eq(ts, &host);
}

/* Selectors of each end are what it sees, in UDP; first and after a rekeying that either end began. */
START_TEST(transport_mode)
{
	for (int i = 0; i < 3; i++) {
		static const struct duel_config c = {.keys = KEYS "  type=transport\n",
		    .no_subnets = true,
		    .right_b = "%any",
		    .nat_a = "192.0.2.1"};
		struct duel_side *side[2];
		struct child_sa *a, *b;

		tunnel(&c, i);
		side[0] = &d->a;
		side[1] = &d->b;
		for (int k = 0; k < 3; k++) {
			a = child_of(&d->a);
			b = child_of(&d->b);
			ck_assert_int_eq(a->mode, CY_MODE_TRANSPORT);
			ck_assert_int_eq(b->mode, CY_MODE_TRANSPORT);
			ck_assert(a->encap && b->encap);
			ck_assert(
			    is_host(&a->ts_local[0], "10.0.0.1") && is_host(&a->ts_remote[0], "10.0.0.2"));
			ck_assert(
			    is_host(&b->ts_local[0], "10.0.0.2") && is_host(&b->ts_remote[0], "192.0.2.1"));
			if (k < 2) {
				struct task *t = task_new(TASK_CHILD_REKEY);

				t->child_id =
				    list_entry(duel_sa(side[k])->children.next, struct child_sa, node)->id;
				d->pass = 100;
				task_queue(duel_sa(side[k]), t);
				duel_pump(d);
				d->pass = 100;
				duel_advance(d, 15 * NS_PER_S);
			}
		}
		duel_free(d);
	}
}
END_TEST

/* Tunnel mode has nothing to translate: the networks are what was asked for. */
START_TEST(tunnel_mode_keeps_its_networks)
{
	static const struct duel_config c = {.keys = KEYS, .right_b = "%any", .nat_a = "192.0.2.1"};

	tunnel(&c, -1);
	ck_assert(!is_host(&child_of(&d->b)->ts_remote[0], "192.0.2.1"));
	ck_assert(ts_eq(&child_of(&d->a)->ts_local[0], &child_of(&d->b)->ts_remote[0]));
	duel_free(d);
}
END_TEST

/* libreswan's rightsubnet=vhost: and vnet:, where the peer decides within limits which network it has. */
#define PRIVATE "  dialect=libreswan\n  virtual-private=%v4:10.0.0.0/8,%v4:192.168.0.0/16,%v4:!10.9.0.0/16\n"
#define LS_1    "  keyexchange=ikev1\n  ike=aes128-sha2;modp2048\n  esp=aes_gcm128\n"
#define LS_2    "  keyexchange=ikev2\n  ike=aes_gcm128-sha2;x25519\n  esp=aes_gcm128\n"

static const struct {
	const char *allowed, *has, *nat, *want; /* want NULL: refused */
	bool transport;
} virtuals[] = {
    /* who has no network is one address: its own, or what it has behind a NAT */
    {"vhost:%no", NULL, NULL, "10.0.0.1/32", false},
    {"vhost:%no", NULL, "192.0.2.1", NULL, false},
    {"vhost:%priv,%no", NULL, "192.0.2.1", "10.0.0.1/32", false},
    {"vhost:%priv,%no", "192.0.2.1/32", "192.0.2.1", "192.0.2.1/32", false},
    {"vhost:%priv", "192.168.7.7/32", NULL, "192.168.7.7/32", false},
    {"vhost:%priv,%no", "172.16.0.1/32", NULL, NULL, false},
    {"vhost:%priv,%no", "10.9.0.1/32", NULL, NULL, false},
    {"vhost:%priv,%no", "10.1.0.0/24", NULL, NULL, false},
    /* a network is there whole or not at all */
    {"vnet:%priv", "10.1.0.0/24", NULL, "10.1.0.0/24", false},
    {"vnet:%priv", "10.8.0.0/15", NULL, NULL, false},
    {"vnet:%priv", "0.0.0.0/0", NULL, NULL, false},
    {"vnet:%all", "0.0.0.0/0", NULL, "0.0.0.0/0", false},
    {"vnet:%v4:172.20.0.0/16", "172.20.1.0/24", "192.0.2.1", "172.20.1.0/24", false},
    /* L2TP: the data plane has the host that we see */
    {"vhost:%priv,%no", NULL, "192.0.2.1", "192.0.2.1/32", true},
    {"vhost:%no", NULL, "192.0.2.1", NULL, true},
    {"vhost:%no", NULL, NULL, "10.0.0.1/32", true},
};

START_TEST(virtual_networks)
{
	/* through a NAT, transport mode of IKEv2 needs what RFC 7296, 2.23.1 has, and that is another matter */
	bool v2 = _i >= (int)ARRAY_LEN(virtuals);
	size_t i = (size_t)_i % ARRAY_LEN(virtuals);
	char keys[200], conn_a[100] = "", conn_b[100], got[TS_STR_MAX];
	struct duel_config c = {.keys = keys,
	    .setup = PRIVATE,
	    .no_subnets = true,
	    .right_b = "%any",
	    .conn_a = conn_a,
	    .conn_b = conn_b,
	    .nat_a = virtuals[i].nat};

	if (v2 && virtuals[i].transport && virtuals[i].nat)
		return;
	snprintf(
	    keys, sizeof(keys), "%s%s", v2 ? LS_2 : LS_1, virtuals[i].transport ? "  type=transport\n" : "");
	if (virtuals[i].has)
		snprintf(conn_a, sizeof(conn_a), "  leftsubnet=%s\n", virtuals[i].has);
	snprintf(conn_b, sizeof(conn_b), "  rightsubnet=%s\n", virtuals[i].allowed);
	d = duel_new_with(&c);
	duel_start(d, &d->a, 100);
	ck_assert_ptr_nonnull(duel_sa(&d->b));
	if (!virtuals[i].want) {
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 0);
	} else {
		ts_str(&child_of(&d->b)->ts_remote[0], got);
		ck_assert_str_eq(got, virtuals[i].want);
		ck_assert_int_eq(
		    child_of(&d->b)->mode, virtuals[i].transport ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL);
		ck_assert_uint_eq(child_of(&d->a)->n_ts_local, 1);
	}
	duel_free(d);
}
END_TEST

UNIT_TESTS(natt)
{
	tcase_add_test(tc, every_way_of_it_works);
	tcase_add_test(tc, without_any_way);
	tcase_add_test(tc, transport_mode);
	tcase_add_test(tc, tunnel_mode_keeps_its_networks);
	tcase_add_loop_test(tc, virtual_networks, 0, 2 * ARRAY_LEN(virtuals));
}
