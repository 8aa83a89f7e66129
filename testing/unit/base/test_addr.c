/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "libcore/base/addr.h"
#include "libcore/base/err.h"

static struct cy_addr addr(const char *s)
{
	struct cy_addr a;

	ck_assert_msg(addr_parse(s, &a) == CY_OK, "%s", s);
	return a;
}

static struct cy_ts ts(const char *s)
{
	struct cy_ts t;

	ck_assert_msg(ts_parse(s, &t) == CY_OK, "%s", s);
	return t;
}

START_TEST(parse_and_print)
{
	static const char *const same[] = {
	    "1.2.3.4", "0.0.0.0", "255.255.255.255", "::", "::1", "fe80::1%3", "2001:db8::ffff:1"};
	static const char *const wrong[] = {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4%3", "::1%",
	    "::1%x", "::1%99999999999", " 1.2.3.4", "1.2.3.4 ", "host", ":::", "1.2.3.4:500", "[::1]", "%any",
	    "0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0"};
	char s[ADDR_STR_MAX];
	struct cy_addr a;

	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		a = addr(same[i]);
		ck_assert_str_eq(addr_str(&a, s), same[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(addr_parse(wrong[i], &a) == CY_E_PARSE, "%s", wrong[i]);
	a = addr_any(0);
	ck_assert_str_eq(addr_str(&a, s), "%any");
}
END_TEST

START_TEST(ports)
{
	static const char *const wrong[] = {"1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "::1:500",
	    "[::1]", "[::1]500", "[::1]:", "[::1:500", "1.2.3.4:5 0"};
	struct cy_addr a;
	char s[ADDR_STR_MAX];

	ck_assert_int_eq(addr_parse_port("1.2.3.4:500", &a), CY_OK);
	ck_assert_str_eq(addr_port_str(&a, s), "1.2.3.4[500]");
	ck_assert_int_eq(addr_parse_port("[fe80::1%4]:65535", &a), CY_OK);
	ck_assert_str_eq(addr_port_str(&a, s), "fe80::1%4[65535]");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(addr_parse_port(wrong[i], &a) == CY_E_PARSE, "%s", wrong[i]);
}
END_TEST

START_TEST(sockaddrs)
{
	struct sockaddr_storage ss;
	struct cy_addr a = addr("1.2.3.4"), b;
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(4500)};

	a.port = 500;
	ck_assert_uint_eq(addr_to_sockaddr(&a, &ss), sizeof(struct sockaddr_in));
	addr_from_sockaddr((struct sockaddr *)&ss, &b);
	ck_assert(addr_cmp(&a, &b) == 0 && b.port == 500);
	a = addr("fe80::1%7");
	a.port = 4500;
	ck_assert_uint_eq(addr_to_sockaddr(&a, &ss), sizeof(struct sockaddr_in6));
	addr_from_sockaddr((struct sockaddr *)&ss, &b);
	ck_assert_uint_eq(b.scope, 7);
	ck_assert(cy_addr_eq(&a, &b));
	mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
	mapped.sin6_addr.s6_addr[12] = 10;
	addr_from_sockaddr((struct sockaddr *)&mapped, &b);
	a = addr("10.0.0.0");
	a.port = 4500;
	ck_assert(cy_addr_eq(&a, &b));
	a = addr_any(0);
	ck_assert_uint_eq(addr_to_sockaddr(&a, &ss), 0);
}
END_TEST

START_TEST(questions)
{
	struct cy_addr a = addr("127.3.2.1"), b = addr("::1"), c = addr("0.0.0.0"), d = addr_any(0);
	uint64_t key[2] = {1, 2};

	ck_assert(addr_is_loopback(&a) && addr_is_loopback(&b) && !addr_is_loopback(&c));
	ck_assert(addr_is_any(&c) && addr_is_any(&d) && !addr_is_any(&a));
	ck_assert(addr_cmp(&c, &a) < 0 && addr_cmp(&a, &c) > 0 && addr_cmp(&a, &b) < 0);
	c = a;
	c.port = 1;
	ck_assert(addr_cmp(&a, &c) < 0);
	ck_assert(addr_hash(key, &a, false) == addr_hash(key, &c, false));
	ck_assert(addr_hash(key, &a, true) != addr_hash(key, &c, true));
	ck_assert(addr_hash(key, &a, false) != addr_hash(key, &b, false));
	/* ::7f03:0201 is not 127.3.2.1 */
	d = addr_any(AF_INET6);
	memcpy(d.ip, a.ip, 4);
	ck_assert(addr_hash(key, &a, false) != addr_hash(key, &d, false));
}
END_TEST

START_TEST(adding)
{
	struct cy_addr a = addr("10.0.0.250"), out;
	char s[ADDR_STR_MAX];

	ck_assert_int_eq(addr_add(&a, 10, &out), CY_OK);
	ck_assert_str_eq(addr_str(&out, s), "10.0.1.4");
	a = addr("255.255.255.255");
	ck_assert_int_eq(addr_add(&a, 1, &out), CY_E_LIMIT);
	ck_assert_int_eq(addr_add(&a, 0, &out), CY_OK);
	a = addr("0.0.0.0");
	ck_assert_int_eq(addr_add(&a, UINT32_MAX, &out), CY_OK);
	ck_assert_int_eq(addr_add(&a, 1ull << 32, &out), CY_E_LIMIT);
	a = addr("2001:db8::ffff:ffff:ffff:ffff");
	ck_assert_int_eq(addr_add(&a, 1, &out), CY_OK);
	ck_assert_str_eq(addr_str(&out, s), "2001:db8:0:1::");
	ck_assert_int_eq(addr_add(&a, UINT64_MAX, &out), CY_OK);
	a = addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	ck_assert_int_eq(addr_add(&a, 1, &out), CY_E_LIMIT);
	a = addr_any(0);
	ck_assert_int_eq(addr_add(&a, 1, &out), CY_E_INVAL);
}
END_TEST

START_TEST(ranges)
{
	static const struct {
		const char *in, *out;
		uint64_t n;
	} good[] = {
	    {"10.0.0.1", "10.0.0.1", 1},
	    {"10.0.0.0/24", "10.0.0.0/24", 256},
	    {"10.0.0.77/24", "10.0.0.0/24", 256},
	    {"10.0.0.0/0", "0.0.0.0/0", 1ull << 32},
	    {"10.0.0.3/32", "10.0.0.3", 1},
	    {"10.0.0.3/31", "10.0.0.2/31", 2},
	    {"10.0.0.0-10.0.0.255", "10.0.0.0/24", 256},
	    {"10.0.0.1-10.0.1.4", "10.0.0.1-10.0.1.4", 260},
	    {"2001:db8::/64", "2001:db8::/64", UINT64_MAX},
	    {"2001:db8::/65", "2001:db8::/65", 1ull << 63},
	    {"::/0", "::/0", UINT64_MAX},
	    {"2001:db8::5-2001:db8::7", "2001:db8::5-2001:db8::7", 3},
	};
	static const char *const wrong[] = {"", "/24", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
	    "10.0.0.0/2x", "10.0.0.9-10.0.0.1", "10.0.0.1-", "10.0.0.1-::1", "::/129", "10.0.0.0/8/8", "a-b"};
	struct addr_range r;
	struct cy_addr a;
	char s[TS_STR_MAX];

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		ck_assert_msg(range_parse(good[i].in, &r) == CY_OK, "%s", good[i].in);
		ck_assert_str_eq(range_str(&r, s), good[i].out);
		ck_assert_uint_eq(range_count(&r), good[i].n);
		ck_assert(range_has(&r, &r.lo) && range_has(&r, &r.hi));
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(range_parse(wrong[i], &r) != CY_OK, "%s", wrong[i]);
	ck_assert_int_eq(range_parse("10.0.0.10-10.0.1.4", &r), CY_OK);
	a = addr("10.0.1.0");
	ck_assert(range_has(&r, &a));
	a = addr("10.0.1.5");
	ck_assert(!range_has(&r, &a));
	a = addr("a00:10::");
	ck_assert(!range_has(&r, &a));
}
END_TEST

START_TEST(selectors_parse_and_print)
{
	static const char *const pairs[][2] = {
	    {"10.1.0.0/16", NULL},
	    {"10.1.0.0/16[tcp/80]", NULL},
	    {"10.1.0.0/16[6/80]", "10.1.0.0/16[tcp/80]"},
	    {"10.1.0.0/16[UDP]", "10.1.0.0/16[udp]"},
	    {"::/0", NULL},
	    {"10.1.0.1", "10.1.0.1/32"},
	    {"10.1.0.1-10.1.0.9[17/1000-2000]", "10.1.0.1-10.1.0.9[udp/1000-2000]"},
	    {"10.1.0.0/16[tcp/%opaque]", NULL},
	    {"10.1.0.0/16[tcp/%any]", "10.1.0.0/16[tcp]"},
	    {"10.1.0.0/16[icmp/8]", NULL},
	    {"10.1.0.0/16[icmp/8(0)]", NULL},
	    {"10.1.0.0/16[icmp/2048]", "10.1.0.0/16[icmp/8(0)]"},
	    {"10.1.0.0/16[icmp/8-10]", NULL},
	    {"10.1.0.0/16[icmp/8(1)-9(5)]", NULL},
	    {"2001:db8::/32[ipv6-icmp/135]", NULL},
	    {"10.1.0.0/16[200]", NULL},
	    {"10.1.0.0/16[200/5]", NULL},
	    {"10.1.0.0/16[%any]", "10.1.0.0/16"},
	    {"10.1.0.0/16[0/%any]", "10.1.0.0/16"},
	};
	static const char *const wrong[] = {"", "[tcp]", "10.1.0.0/16[", "10.1.0.0/16[]", "10.1.0.0/16[tcp",
	    "10.1.0.0/16[tcp]x", "10.1.0.0/16[tpc]", "10.1.0.0/16[256]", "10.1.0.0/16[tcp/]",
	    "10.1.0.0/16[tcp/65536]", "10.1.0.0/16[tcp/9-5]", "10.1.0.0/16[%any/80]", "10.1.0.0/16[tcp/8(0)]",
	    "10.1.0.0/16[icmp/256(0)]", "10.1.0.0/16[icmp/8(0]", "10.1.0.0/16[/80]",
	    "10.1.0.0/16[abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz]"};
	char s[TS_STR_MAX];
	struct cy_ts t, again;

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		t = ts(pairs[i][0]);
		ck_assert_str_eq(ts_str(&t, s), pairs[i][1] ? pairs[i][1] : pairs[i][0]);
		again = ts(s);
		ck_assert(ts_eq(&t, &again));
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(ts_parse(wrong[i], &t) == CY_E_PARSE, "%s", wrong[i]);
	/* the longest there is */
	t = ts("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff9"
	       "[ipv6-icmp/200(201)-255(255)]");
	ck_assert_uint_lt(strlen(ts_str(&t, s)), TS_STR_MAX - 1);
	again = ts(s);
	ck_assert(ts_eq(&t, &again));
}
END_TEST

START_TEST(selectors_intersect)
{
	static const char *const cases[][3] = {
	    {"10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/16"},
	    {"10.0.0.0/8", "11.0.0.0/8", NULL},
	    {"10.0.0.1-10.0.0.9", "10.0.0.5-10.0.0.20", "10.0.0.5-10.0.0.9"},
	    {"10.0.0.0/8", "::/0", NULL},
	    {"10.0.0.0/8[tcp]", "10.0.0.0/8[udp]", NULL},
	    {"10.0.0.0/8[tcp]", "10.0.0.0/8", "10.0.0.0/8[tcp]"},
	    {"10.0.0.0/8[tcp/80-90]", "10.0.0.0/8[tcp/85-100]", "10.0.0.0/8[tcp/85-90]"},
	    {"10.0.0.0/8[tcp/80]", "10.0.0.0/8[tcp/81]", NULL},
	    {"10.0.0.0/8[tcp/80]", "10.0.0.0/8", "10.0.0.0/8[tcp/80]"},
	    {"10.0.0.0/8[tcp/%opaque]", "10.0.0.0/8[tcp]", "10.0.0.0/8[tcp/%opaque]"},
	    {"10.0.0.0/8[tcp/%opaque]", "10.0.0.0/8[tcp/%opaque]", "10.0.0.0/8[tcp/%opaque]"},
	    {"10.0.0.0/8[tcp/%opaque]", "10.0.0.0/8[tcp/80]", NULL},
	};
	struct cy_ts a, b, both, want;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		a = ts(cases[i][0]);
		b = ts(cases[i][1]);
		for (int turn = 0; turn < 2; turn++) {
			bool met = turn ? ts_intersect(&b, &a, &both) : ts_intersect(&a, &b, &both);

			ck_assert_msg(met == (cases[i][2] != NULL), "case %zu", i);
			if (met) {
				want = ts(cases[i][2]);
				ck_assert_msg(ts_eq(&both, &want), "case %zu", i);
				ck_assert(ts_contains(&a, &both) && ts_contains(&b, &both));
			}
		}
		ck_assert(ts_contains(&a, &a));
	}
	a = ts("10.0.0.0/8");
	b = ts("10.0.0.0/8[tcp]");
	ck_assert(ts_contains(&a, &b) && !ts_contains(&b, &a));
}
END_TEST

START_TEST(selectors_questions)
{
	struct cy_ts t = ts("10.1.2.3"), any = ts_any(true);
	struct cy_addr a = addr("10.1.2.3"), b = addr("10.1.2.4"), lo, hi;
	bool exact;
	char s[TS_STR_MAX];

	ck_assert(ts_is_host(&t, &a) && !ts_is_host(&t, &b));
	ck_assert(ts_has_addr(&t, &a) && !ts_has_addr(&t, &b));
	ck_assert_str_eq(ts_str(&any, s), "::/0");
	ck_assert(!ts_has_addr(&any, &a));
	t = ts_host(&b);
	ck_assert(ts_is_host(&t, &b));
	t = ts("10.1.0.5-10.1.0.6");
	ck_assert_uint_eq(ts_prefix(&t, &exact), 30);
	ck_assert(!exact);
	t = ts("2001:db8::/33");
	ck_assert_uint_eq(ts_prefix(&t, &exact), 33);
	ck_assert(exact);
	lo = ts_lo(&t);
	hi = ts_hi(&t);
	ck_assert_str_eq(addr_str(&lo, s), "2001:db8::");
	ck_assert_str_eq(addr_str(&hi, s), "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff");
	t = ts_any(false);
	ck_assert_uint_eq(ts_prefix(&t, NULL), 0);
}
END_TEST

UNIT_TESTS(addr)
{
	tcase_add_test(tc, parse_and_print);
	tcase_add_test(tc, ports);
	tcase_add_test(tc, sockaddrs);
	tcase_add_test(tc, questions);
	tcase_add_test(tc, adding);
	tcase_add_test(tc, ranges);
	tcase_add_test(tc, selectors_parse_and_print);
	tcase_add_test(tc, selectors_intersect);
	tcase_add_test(tc, selectors_questions);
}
