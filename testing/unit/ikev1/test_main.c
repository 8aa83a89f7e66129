/* SPDX-License-Identifier: Apache-2.0 */
/* Main and quick mode between two daemons under virtual time: loss, repetition, rekeying, liveness, closing. */
#include "duel.h"
#include "unit.h"

#include "daemon/ikev1/ikev1.h"

#define KEYS   "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n"
#define PHASE1 6
#define TUNNEL (PHASE1 + 3)

static struct duel *d;

static void setup(void)
{
	d = duel_new_with(KEYS "  dpdaction=clear\n  dpddelay=30\n  ikelifetime=2h\n  lifetime=1h\n");
}

static void teardown(void)
{
	duel_free(d);
}

static struct child_sa *child_of(struct ike_sa *sa, uint32_t i)
{
	struct list *n;

	list_foreach (n, &sa->children)
		if (i-- == 0)
			return list_entry(n, struct child_sa, node);
	return NULL;
}

static void tunnel(void)
{
	struct ike_sa *a, *b;

	duel_start(d, &d->a, TUNNEL);
	a = duel_sa(&d->a);
	b = duel_sa(&d->b);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_int_eq(a->state, IKE_ESTABLISHED);
	ck_assert_int_eq(b->state, IKE_ESTABLISHED);
	ck_assert_uint_eq(a->n_children, 1);
	ck_assert_uint_eq(b->n_children, 1);
	ck_assert_uint_eq(child_of(a, 0)->spi_in, child_of(b, 0)->spi_out);
	ck_assert_uint_eq(child_of(a, 0)->spi_out, child_of(b, 0)->spi_in);
	ck_assert(child_of(b, 0)->out_installed);
}

START_TEST(nine_messages_make_a_tunnel)
{
	tunnel();
	ck_assert_uint_eq(d->a.n_sent, 5);
	ck_assert_uint_eq(d->b.n_sent, 4);
}
END_TEST

UNIT_TESTS(main_mode)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nine_messages_make_a_tunnel);
}
