/* SPDX-License-Identifier: Apache-2.0 */
/* Narrowing (RFC 7296, 2.9) and the selectors an end stands for. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "daemon/policy/select.h"

#define CAP 64

static size_t parse_list(const char *text, struct cy_ts *out)
{
	char copy[512], *rest = copy, *one;
	size_t n = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((one = strsep(&rest, " ")))
		if (*one)
			ck_assert_msg(ts_parse(one, &out[n++]) == CY_OK, "%s", one);
	return n;
}

static const char *print_list(const struct cy_ts *ts, size_t n)
{
	static char text[2048];
	char one[TS_STR_MAX];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		at +=
		    (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "", ts_str(&ts[i], one));
	return text;
}

static const struct {
	const char *ours, *theirs, *want;
} narrowings[] = {
    {"10.1.0.0/16", "10.1.0.0/16", "10.1.0.0/16"},
    {"10.1.0.0/16", "0.0.0.0/0", "10.1.0.0/16"},
    {"0.0.0.0/0", "10.1.0.0/16", "10.1.0.0/16"},
    {"10.1.0.0/16", "10.2.0.0/16", ""},
    {"10.1.0.0/16", "::/0", ""},
    {"10.1.0.0/16", "", ""},
    {"", "10.1.0.0/16", ""},
    {"10.1.0.0/16 fd00::/64", "0.0.0.0/0 ::/0", "10.1.0.0/16 fd00::/64"},
    {"10.1.0.0/24 10.1.1.0/24", "10.1.0.0/16", "10.1.0.0/24 10.1.1.0/24"},
    {"10.1.0.0/16", "10.1.0.0/24 10.1.0.128/25 10.1.0.0/24", "10.1.0.0/24"},
    {"10.1.0.0/16[tcp]", "10.1.0.0/16", "10.1.0.0/16[tcp]"},
    {"10.1.0.0/16[tcp]", "10.1.0.0/16[udp]", ""},
    {"10.1.0.0/16[tcp/80]", "10.1.0.0/16[tcp/1-1024]", "10.1.0.0/16[tcp/80]"},
    /* the packet that woke the peer comes first, and what covers it stays first (2.9) */
    {"10.2.0.0/16 10.1.0.0/16", "10.1.0.5[tcp/80] 10.0.0.0/8", "10.1.0.0/16 10.2.0.0/16"},
    {"10.2.0.0/16 10.1.0.0/16", "10.1.0.5[tcp/80]", "10.1.0.5/32[tcp/80]"},
    {"10.1.0.0/16[tcp] 10.1.0.0/16[udp]", "10.1.0.5[udp/53] 10.1.0.0/16",
        "10.1.0.0/16[udp] 10.1.0.0/16[tcp]"},
    {"10.1.0.10-10.1.0.20", "10.1.0.16/28", "10.1.0.16-10.1.0.20"},
};

START_TEST(narrows)
{
	struct cy_ts ours[CAP], theirs[CAP], out[CAP];
	size_t n_ours = parse_list(narrowings[_i].ours, ours),
	       n_theirs = parse_list(narrowings[_i].theirs, theirs);
	size_t n = ts_narrow(ours, n_ours, theirs, n_theirs, out, CAP);

	ck_assert_str_eq(print_list(out, n), narrowings[_i].want);
	/* whatever comes out is allowed by both sides */
	ck_assert(ts_list_subset(out, n, ours, n_ours));
	ck_assert(ts_list_subset(out, n, theirs, n_theirs));
}
END_TEST

START_TEST(narrows_into_what_room_there_is)
{
	struct cy_ts ours[CAP], theirs[CAP], out[3];
	size_t n = parse_list("10.1.0.0/24 10.1.1.0/24 10.1.2.0/24 10.1.3.0/24", ours);

	parse_list("0.0.0.0/0", theirs);
	ck_assert_uint_eq(ts_narrow(ours, n, theirs, 1, out, 3), 3);
	ck_assert_str_eq(print_list(out, 3), "10.1.0.0/24 10.1.1.0/24 10.1.2.0/24");
	ck_assert_uint_eq(ts_narrow(ours, n, theirs, 1, out, 0), 0);
}
END_TEST

START_TEST(subsets_and_reduction)
{
	struct cy_ts a[CAP], b[CAP];
	size_t n =
	    parse_list("10.1.0.0/24 10.1.0.0/16 10.1.0.0/16 10.2.0.1 fd00::/64 fd00::1 10.2.0.0/24", a);

	n = ts_list_reduce(a, n);
	ck_assert_str_eq(print_list(a, n), "10.1.0.0/16 10.2.0.0/24 fd00::/64");
	ck_assert_uint_eq(ts_list_reduce(a, 0), 0);
	n = parse_list("10.1.0.0/24 fd00::5", a);
	ck_assert(ts_list_subset(a, n, b, parse_list("10.1.0.0/16 fd00::/64", b)));
	ck_assert(!ts_list_subset(a, n, b, parse_list("10.1.0.0/16", b)));
	ck_assert(!ts_list_subset(a, n, b, parse_list("10.1.0.0/25 10.1.0.128/25 ::/0", b)));
	ck_assert(ts_list_subset(a, 0, b, 0));
}
END_TEST

static struct cy_addr addr(const char *text)
{
	struct cy_addr a = {0};

	if (text)
		ck_assert_int_eq(addr_parse(text, &a), CY_OK);
	return a;
}

static const struct {
	const char *ts; /* NULL: none */
	bool dynamic;
	uint8_t proto;
	const char *host, *vip, *vip2;
	bool transport;
	const char *want;
} ends[] = {
    {"10.1.0.0/16 fd00::/64", false, 0, "192.0.2.1", NULL, NULL, false, "10.1.0.0/16 fd00::/64"},
    {"10.1.0.0/16", false, 0, "192.0.2.1", "10.3.0.1", NULL, false, "10.1.0.0/16"},
    {NULL, false, 0, "192.0.2.1", NULL, NULL, false, "192.0.2.1/32"},
    {NULL, true, 17, "192.0.2.1", NULL, NULL, false, "192.0.2.1/32[udp]"},
    {NULL, false, 0, "192.0.2.1", "10.3.0.1", "fd00::5", false, "10.3.0.1/32 fd00::5/128"},
    {NULL, false, 0, "192.0.2.1", "0.0.0.0", NULL, false, "0.0.0.0/0"},
    {NULL, false, 0, "192.0.2.1", "::", NULL, false, "::/0"},
    {"10.1.0.0/16", true, 0, "192.0.2.1", "10.3.0.1", NULL, false, "10.1.0.0/16 10.3.0.1/32"},
    {NULL, false, 0, "2001:db8::1", NULL, NULL, true, "2001:db8::1/128"},
    {NULL, false, 6, "192.0.2.1", "10.3.0.1", NULL, true, "192.0.2.1/32[tcp]"},
    {"192.0.2.0/24[tcp] 10.1.0.0/16", false, 0, "192.0.2.1", NULL, NULL, true, "192.0.2.1/32[tcp]"},
    {"10.1.0.0/16", false, 0, "192.0.2.1", NULL, NULL, true, "192.0.2.1/32"},
    {NULL, false, 0, NULL, NULL, NULL, false, ""},
    {NULL, false, 0, "0.0.0.0", NULL, NULL, false, "0.0.0.0/0"},
};

START_TEST(ends_stand_for)
{
	struct cy_ts list[CAP], out[CAP];
	struct conn_end end = {
	    .ts = list, .ts_dynamic = ends[_i].dynamic, .ts_proto = ends[_i].proto, .ts_port_hi = 65535};
	struct cy_addr host = addr(ends[_i].host), vips[2] = {addr(ends[_i].vip), addr(ends[_i].vip2)};
	size_t n_vips = !!ends[_i].vip + (size_t) !!ends[_i].vip2, n;

	if (ends[_i].ts)
		end.n_ts = parse_list(ends[_i].ts, list);
	n = ts_for_end(&end, &host, vips, n_vips, ends[_i].transport, out, CAP);
	ck_assert_msg(strcmp(print_list(out, n), ends[_i].want) == 0, "%d: %s", _i, print_list(out, n));
}
END_TEST

UNIT_TESTS(ts)
{
	tcase_add_loop_test(tc, narrows, 0, sizeof(narrowings) / sizeof(narrowings[0]));
	tcase_add_test(tc, narrows_into_what_room_there_is);
	tcase_add_test(tc, subsets_and_reduction);
	tcase_add_loop_test(tc, ends_stand_for, 0, sizeof(ends) / sizeof(ends[0]));
}
