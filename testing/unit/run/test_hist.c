/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "libcore/run/hist.h"

START_TEST(empty)
{
	struct hist h = {0};

	ck_assert_uint_eq(hist_quantile(&h, 0.5), 0);
}
END_TEST

/* A quantile is at least the true one and at most an eighth above. */
START_TEST(precision)
{
	for (uint64_t v = 1; v < 1ull << 41; v = v * 5 / 4 + 1) {
		struct hist h = {0};
		uint64_t q;

		hist_add(&h, v);
		hist_add(&h, UINT64_MAX / 2); /* so that max does not help */
		q = hist_quantile(&h, 0.5);
		ck_assert_uint_ge(q, v);
		ck_assert_uint_le(q, v + v / 8);
	}
}
END_TEST

START_TEST(quantiles)
{
	struct hist h = {0}, sum = {0};

	for (uint64_t v = 1; v <= 1000; v++)
		hist_add(&h, v);
	ck_assert_uint_eq(h.n, 1000);
	ck_assert_uint_eq(h.sum, 500500);
	ck_assert_uint_ge(hist_quantile(&h, 0.5), 500);
	ck_assert_uint_le(hist_quantile(&h, 0.5), 563);
	ck_assert_uint_ge(hist_quantile(&h, 0.99), 990);
	ck_assert_uint_eq(hist_quantile(&h, 1.0), 1000);
	ck_assert_uint_eq(hist_quantile(&h, 0.0), 1);
	hist_merge(&sum, &h);
	hist_merge(&sum, &h);
	ck_assert_uint_eq(sum.n, 2000);
	ck_assert_uint_eq(sum.max, 1000);
	ck_assert_uint_eq(hist_quantile(&sum, 0.5), hist_quantile(&h, 0.5));
	hist_add(&sum, UINT64_MAX);
	ck_assert_uint_eq(hist_quantile(&sum, 1.0), UINT64_MAX);
}
END_TEST

UNIT_TESTS(hist)
{
	tcase_add_test(tc, empty);
	tcase_add_test(tc, precision);
	tcase_add_test(tc, quantiles);
}
