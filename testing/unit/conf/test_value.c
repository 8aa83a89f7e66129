/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/value.h"
#include "unit.h"

START_TEST(times)
{
	static const struct {
		const char *s;
		uint64_t ms;
	} good[] = {{"0", 0}, {"30", 30000}, {"30s", 30000}, {"500ms", 500}, {"1.5s", 1500}, {"2m", 120000},
	    {"1h", 3600000}, {"1d", 86400000}, {"1w", 604800000}, {"0.001s", 1}, {"8H", 28800000}};
	static const char *const bad[] = {"", "s", "1x", "1 s", "-1", "1.", ".5", "1.5ms", "1.0001s", "1m30s",
	    "99999999999999999999", "18446744073709551615h", "1e3"};
	uint64_t v;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ck_assert_msg(value_ms(good[i].s, &v), "%s", good[i].s);
		ck_assert_uint_eq(v, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(!value_ms(bad[i], &v), "%s", bad[i]);
}
END_TEST

START_TEST(numbers)
{
	uint64_t v;

	ck_assert(value_u64("18446744073709551615", &v) && v == UINT64_MAX);
	ck_assert(!value_u64("18446744073709551616", &v));
	ck_assert(value_u64("0xFf", &v) && v == 255);
	ck_assert(value_u64("010", &v) && v == 10);
	ck_assert(!value_u64("0x", &v) && !value_u64("0x11112222333344445", &v) && !value_u64("", &v));
	ck_assert(!value_u64("1a", &v) && !value_u64("+1", &v) && !value_u64(" 1", &v));
	ck_assert(value_bytes("8M", &v) && v == 8u << 20);
	ck_assert(value_bytes("64k", &v) && v == 65536);
	ck_assert(value_bytes("1GB", &v) && v == 1u << 30);
	ck_assert(value_bytes("7", &v) && v == 7);
	ck_assert(!value_bytes("M", &v) && !value_bytes("1X", &v) && !value_bytes("99999999999T", &v));
	ck_assert(value_milli("1.8", &v) && v == 1800);
	ck_assert(value_milli("2", &v) && v == 2000);
	ck_assert(!value_milli("1.2345", &v) && !value_milli("1.8x", &v));
}
END_TEST

START_TEST(words)
{
	struct cy_mark m;
	bool on;

	ck_assert(value_bool("YES", &on) && on);
	ck_assert(value_bool("0", &on) && !on);
	ck_assert(!value_bool("", &on) && !value_bool("ye", &on));
	ck_assert(value_mark("20", &m) && m.value == 20 && m.mask == UINT32_MAX);
	ck_assert(value_mark("0x14/0xff", &m) && m.value == 20 && m.mask == 255);
	ck_assert(!value_mark("20/", &m) && !value_mark("20/0", &m) && !value_mark("/1", &m));
	ck_assert(!value_mark("4294967296", &m) && !value_mark("1/4294967296", &m));
}
END_TEST

START_TEST(lists)
{
	const char *at = " a , b c ,,\td, ";
	bool cut = false;
	char item[8];

	ck_assert(value_next(&at, ",", item, sizeof(item), &cut));
	ck_assert_str_eq(item, "a");
	ck_assert(value_next(&at, ",", item, sizeof(item), &cut));
	ck_assert_str_eq(item, "b c");
	ck_assert(value_next(&at, ",", item, sizeof(item), &cut));
	ck_assert_str_eq(item, "d");
	ck_assert(!value_next(&at, ",", item, sizeof(item), &cut) && !cut);
	at = "123456789,x";
	ck_assert(value_next(&at, ",", item, sizeof(item), &cut) && cut);
	ck_assert_str_eq(item, "1234567");
	ck_assert(value_next(&at, ",", item, sizeof(item), &cut));
	ck_assert_str_eq(item, "x");
}
END_TEST

UNIT_TESTS(value)
{
	tcase_add_test(tc, times);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, words);
	tcase_add_test(tc, lists);
}
