/* SPDX-License-Identifier: Apache-2.0 */
/* The suites of old peers: there for who names them, and for nobody else. */
#include "duel.h"
#include "unit.h"

#include "daemon/ikev1/ikev1.h"

#define TUNNEL 9

static const char *const old[] = {
    "  keyexchange=ikev1\n  ike=3des-md5-modp1024!\n  esp=3des-md5!\n",
    "  keyexchange=ikev1\n  ike=3des-sha1-modp1536!\n  esp=3des-sha1!\n",
    "  keyexchange=ikev1\n  ike=aes128-sha1-modp1024!\n  esp=aes128-sha1-modp1024!\n",
    "  keyexchange=ikev1\n  ike=aes256-md5-modp1536!\n  esp=aes256-md5-modp1536!\n",
};
static const char fresh[] = "  keyexchange=ikev1\n";

START_TEST(who_names_them_has_them)
{
	for (size_t i = 0; i < ARRAY_LEN(old); i++) {
		struct duel_config c = {.keys = old[i]};
		struct duel *d = duel_new_with(&c);

		duel_start(d, &d->a, TUNNEL);
		ck_assert_uint_eq(duel_count(&d->a), 1);
		ck_assert_int_eq(duel_sa(&d->b)->state, IKE_ESTABLISHED);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
		duel_free(d);
	}
}
END_TEST

/* Either end has the defaults, the other one the old ones: no IKE_SA, and both know why. */
START_TEST(nobody_else_has_them)
{
	for (size_t i = 0; i < ARRAY_LEN(old); i++)
		for (int who = 0; who < 2; who++) {
			struct duel_config c = {.setup = "  dialect=strongswan\n",
			    .keys = fresh,
			    .conn_a = who ? fresh : old[i],
			    .conn_b = who ? old[i] : fresh};
			struct duel *d = duel_new_with(&c);

			duel_start(d, &d->a, 1);
			ck_assert_uint_eq(duel_count(&d->b), 0);
			ck_assert_uint_eq(SA_READ(d->b.d->sas, failed), 1);
			ck_assert_uint_eq(d->b.n_sent, 1); /* the refusal */
			duel_free(d);
		}
}
END_TEST

/* Quick mode: the IKE_SA is up, the CHILD_SA is refused. */
START_TEST(nor_in_quick_mode)
{
	static const struct duel_config c = {.keys = "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n",
	    .conn_a = "  esp=3des-md5!\n",
	    .conn_b = ""};
	struct duel *d = duel_new_with(&c);

	duel_start(d, &d->a, 20);
	ck_assert_uint_eq(duel_count(&d->b), 1);
	ck_assert_int_eq(duel_sa(&d->b)->state, IKE_ESTABLISHED);
	ck_assert_uint_eq(duel_sa(&d->b)->n_children, 0);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 0);
	duel_free(d);
}
END_TEST

UNIT_TESTS(legacy)
{
	tcase_add_test(tc, who_names_them_has_them);
	tcase_add_test(tc, nobody_else_has_them);
	tcase_add_test(tc, nor_in_quick_mode);
}
