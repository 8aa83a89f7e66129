/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <jansson.h>
#include <stdlib.h>

#include "daemon/control/jw.h"

START_TEST(writes_what_it_is_told)
{
	struct jw w = {0};

	jw_obj(&w, NULL);
	jw_str(&w, "a", "x\"\\\n\x7f");
	jw_arr(&w, "b");
	jw_u64(&w, NULL, UINT64_MAX);
	jw_i64(&w, NULL, -5);
	jw_obj(&w, NULL);
	jw_obj_end(&w);
	jw_arr(&w, NULL);
	jw_arr_end(&w);
	jw_arr_end(&w);
	jw_bool(&w, "c", true);
	jw_str(&w, "d", NULL);
	jw_fmt(&w, "e", "%03d", 7);
	jw_raw(&w, "f", "[1]");
	jw_obj_end(&w);
	jw_end_line(&w);
	jw_u64(&w, NULL, 1);
	ck_assert(!w.failed);
	ck_assert_uint_eq(w.n,
	    strlen("{\"a\":\"x\\\"\\\\\\u000a\\u007f\",\"b\":[18446744073709551615,-5,{},[]],\"c\":true,"
	           "\"d\":null,\"e\":\"007\",\"f\":[1]}\n1"));
	ck_assert(memcmp(w.p,
	              "{\"a\":\"x\\\"\\\\\\u000a\\u007f\",\"b\":[18446744073709551615,-5,{},[]],\"c\":true,"
	              "\"d\":null,"
	              "\"e\":\"007\",\"f\":[1]}\n1",
	              w.n) == 0);
	jw_fini(&w);
}
END_TEST

/* Whatever bytes a peer puts in its identity, what comes out is JSON. */
START_TEST(any_bytes_become_json)
{
	uint32_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		struct jw w = {0};
		char text[12];
		json_t *v;

		for (size_t i = 0; i < sizeof(text) - 1; i++) {
			seed = seed * 1664525u + 1013904223u;
			text[i] = (char)(1 + (seed >> 24) % 255);
		}
		text[sizeof(text) - 1] = '\0';
		jw_arr(&w, NULL);
		jw_str(&w, NULL, text);
		jw_arr_end(&w);
		v = json_loadb(w.p, w.n, 0, NULL);
		ck_assert_msg(v != NULL, "%.*s", (int)w.n, w.p);
		json_decref(v);
		jw_fini(&w);
	}
}
END_TEST

START_TEST(utf8_passes_and_what_is_not_is_replaced)
{
	static const struct {
		const char *in, *out;
	} cases[] = {{"\u00e9\u20ac\U0001f642", "\"\u00e9\u20ac\U0001f642\""},
	    {"\xc0\xaf", "\"\\ufffd\\ufffd\""}, {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
	    {"\xe2\x82", "\"\\ufffd\\ufffd\""}, {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct jw w = {0};

		jw_str(&w, NULL, cases[i].in);
		ck_assert_uint_eq(w.n, strlen(cases[i].out));
		ck_assert(memcmp(w.p, cases[i].out, w.n) == 0);
		jw_fini(&w);
	}
}
END_TEST

UNIT_TESTS(jw)
{
	tcase_add_test(tc, writes_what_it_is_told);
	tcase_add_test(tc, any_bytes_become_json);
	tcase_add_test(tc, utf8_passes_and_what_is_not_is_replaced);
}
