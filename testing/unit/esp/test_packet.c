/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "queue.h"
#include "rig.h"
#include "routes.h"

#include <netinet/in.h>

START_TEST(ip4_selectors)
{
	uint8_t p[64];
	struct flow f;
	size_t len;

	rig_packet(p, 40, "10.1.0.1", 1000, "10.2.0.1", 53);
	ck_assert_int_eq(packet_check(p, 64, &len), CY_OK);
	ck_assert_uint_eq(len, 40);
	packet_flow(p, len, &f);
	ck_assert(!f.ip6 && f.proto == IPPROTO_UDP && f.has_ports && f.sport == 1000 && f.dport == 53);
	ck_assert_mem_eq(f.src, p + 12, 4);
	/* the first fragment has ports, later ones have not */
	put_be16(p + 6, 0x2000);
	packet_flow(p, len, &f);
	ck_assert(f.has_ports);
	put_be16(p + 6, 0x0003);
	packet_flow(p, len, &f);
	ck_assert(!f.has_ports && f.sport == 0 && f.dport == 0);
	put_be16(p + 6, 0);
	p[9] = IPPROTO_ICMP;
	p[20] = 8;
	p[21] = 1;
	packet_flow(p, len, &f);
	ck_assert(f.has_ports && f.sport == 0x801 && f.dport == 0x801);
	p[9] = IPPROTO_GRE;
	packet_flow(p, len, &f);
	ck_assert(!f.has_ports && f.proto == IPPROTO_GRE);
	/* options move the ports */
	p[0] = 0x46;
	p[9] = IPPROTO_TCP;
	put_be16(p + 24, 7);
	put_be16(p + 26, 8);
	packet_flow(p, len, &f);
	ck_assert(f.sport == 7 && f.dport == 8);
	ck_assert_int_eq(packet_check(p, 39, &len), CY_E_PARSE);
	ck_assert_int_eq(packet_check(p, 0, &len), CY_E_PARSE);
}
END_TEST

START_TEST(ip6_extension_headers)
{
	uint8_t p[256];
	struct flow f;
	size_t len, at = 40;

	rig_packet(p, 200, "fd01::1", 0, "fd02::1", 0);
	p[6] = IPPROTO_HOPOPTS;
	memset(p + at, 0, 160);
	p[at] = IPPROTO_DSTOPTS;
	p[at + 1] = 1;
	at += 16;
	p[at] = IPPROTO_FRAGMENT;
	at += 8;
	p[at] = IPPROTO_AH;
	put_be16(p + at + 2, 0x0001); /* first, more to come */
	at += 8;
	p[at] = IPPROTO_ROUTING;
	p[at + 1] = 4; /* (4 + 2) * 4 */
	at += 24;
	p[at] = IPPROTO_UDP;
	at += 8;
	put_be16(p + at, 1000);
	put_be16(p + at + 2, 53);
	ck_assert_int_eq(packet_check(p, 256, &len), CY_OK);
	ck_assert_uint_eq(len, 200);
	packet_flow(p, len, &f);
	ck_assert(f.ip6 && f.proto == IPPROTO_UDP && f.has_ports && f.sport == 1000 && f.dport == 53);
	/* a later fragment */
	put_be16(p + 40 + 16 + 8 + 2, 0x0009);
	packet_flow(p, len, &f);
	ck_assert(f.proto == IPPROTO_AH && !f.has_ports);
	put_be16(p + 40 + 16 + 8 + 2, 0x0001);
	/* cut anywhere: no ports, and nothing read that is not there (sanitizers) */
	for (size_t n = 40; n < at + 4; n++) {
		uint8_t cut[256];

		memcpy(cut, p, n);
		put_be16(cut + 4, (uint16_t)(n - 40));
		EXPECT(packet_check(cut, n, &len) == CY_OK && len == n);
		packet_flow(cut, n, &f);
		EXPECT(!f.has_ports);
	}
	/* a header that is longer than the packet, and a chain without end */
	p[41] = 255;
	packet_flow(p, len, &f);
	ck_assert(!f.has_ports);
	p[41] = 1;
	memset(p + 40, 0, 160);
	packet_flow(p, 200, &f);
	ck_assert(!f.has_ports && f.proto == IPPROTO_HOPOPTS);
	rig_packet(p, 60, "fd01::1", 0, "fd02::1", 0);
	p[6] = IPPROTO_MH;
	p[42] = 5;
	packet_flow(p, 60, &f);
	ck_assert(f.has_ports && f.sport == 0x500);
}
END_TEST

START_TEST(selectors)
{
	static const struct {
		const char *src, *dst;
		bool matches;
	} cases[] = {
	    {"10.1.0.0/16", "10.2.0.0/16", true},
	    {"0.0.0.0/0", "0.0.0.0/0", true},
	    {"10.1.0.1-10.1.0.1", "10.2.0.1/32", true},
	    {"10.1.0.2-10.1.0.9", "10.2.0.1/32", false},
	    {"10.1.0.0/16", "10.2.0.0/16[udp]", true},
	    {"10.1.0.0/16", "10.2.0.0/16[udp/53]", true},
	    {"10.1.0.0/16", "10.2.0.0/16[udp/54]", false},
	    {"10.1.0.0/16", "10.2.0.0/16[tcp/53]", false},
	    {"10.1.0.0/16[udp/1000]", "10.2.0.0/16", true},
	    {"10.1.0.0/16[udp/53]", "10.2.0.0/16", false},
	    {"::/0", "::/0", false},
	};
	uint8_t p[40];
	struct flow f;

	rig_packet(p, 40, "10.1.0.1", 1000, "10.2.0.1", 53);
	packet_flow(p, 40, &f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cy_ts src = rig_ts(cases[i].src), dst = rig_ts(cases[i].dst);

		ck_assert_msg(
		    flow_matches(&f, &src, &dst) == cases[i].matches, "%s %s", cases[i].src, cases[i].dst);
	}
	/* OPAQUE (RFC 7296, 3.13.1): ports that are not there to see */
	struct cy_ts any = rig_ts("0.0.0.0/0"), opaque = any;

	opaque.port_lo = 65535;
	opaque.port_hi = 0;
	ck_assert(!flow_matches(&f, &any, &opaque));
	put_be16(p + 6, 3);
	packet_flow(p, 40, &f);
	ck_assert(flow_matches(&f, &any, &opaque));
}
END_TEST

START_TEST(tos_of_both_families)
{
	uint8_t p[60];

	for (int tos = 0; tos < 256; tos++) {
		rig_packet(p, 60, "10.1.0.1", 1, "10.2.0.1", 2);
		packet_set_tos(p, (uint8_t)tos);
		EXPECT(packet_tos(p) == tos);
		EXPECT(packet_sum_fold(packet_sum(p, 20, 0)) == 0);
		rig_packet(p, 60, "fd01::1", 1, "fd02::1", 2);
		p[1] = 0x0a;
		packet_set_tos(p, (uint8_t)tos);
		EXPECT(packet_tos(p) == tos && p[0] >> 4 == 6 && (p[1] & 15) == 10);
	}
}
END_TEST

START_TEST(too_big_ip4)
{
	uint8_t p[1400], icmp[ICMP_MAX];
	size_t n;

	rig_packet(p, 1400, "10.1.0.1", 1, "10.2.0.1", 2);
	n = icmp_too_big(p, 1400, 1234, icmp);
	ck_assert_uint_eq(n, 576);
	ck_assert_uint_eq(packet_sum_fold(packet_sum(icmp, 20, 0)), 0);
	ck_assert_uint_eq(packet_sum_fold(packet_sum(icmp + 20, n - 20, 0)), 0);
	ck_assert(icmp[9] == IPPROTO_ICMP && icmp[20] == 3 && icmp[21] == 4 && get_be16(icmp + 26) == 1234);
	ck_assert_mem_eq(icmp + 16, p + 12, 4);
	ck_assert_mem_eq(icmp + 28, p, n - 28);
	/* not about errors, fragments, and what has no one sender */
	p[9] = IPPROTO_ICMP;
	p[20] = 3;
	ck_assert_uint_eq(icmp_too_big(p, 1400, 1234, icmp), 0);
	p[20] = 8;
	ck_assert_uint_gt(icmp_too_big(p, 1400, 1234, icmp), 0);
	p[7] = 1;
	ck_assert_uint_eq(icmp_too_big(p, 1400, 1234, icmp), 0);
	p[7] = 0;
	p[12] = 224;
	ck_assert_uint_eq(icmp_too_big(p, 1400, 1234, icmp), 0);
	p[12] = 0;
	ck_assert_uint_eq(icmp_too_big(p, 1400, 1234, icmp), 0);
}
END_TEST

START_TEST(too_big_ip6)
{
	uint8_t p[1400], icmp[ICMP_MAX], pseudo[40] = {0};
	size_t n;

	rig_packet(p, 1400, "fd01::1", 1, "fd02::1", 2);
	n = icmp_too_big(p, 1400, 1300, icmp);
	ck_assert_uint_eq(n, 1280);
	memcpy(pseudo, icmp + 8, 32);
	put_be32(pseudo + 32, (uint32_t)(n - 40));
	pseudo[39] = IPPROTO_ICMPV6;
	ck_assert_uint_eq(packet_sum_fold(packet_sum(icmp + 40, n - 40, packet_sum(pseudo, 40, 0))), 0);
	ck_assert(icmp[40] == 2 && get_be32(icmp + 44) == 1300);
	/* never less than any IPv6 link has */
	ck_assert_uint_gt(icmp_too_big(p, 1400, 1000, icmp), 0);
	ck_assert_uint_eq(get_be32(icmp + 44), 1280);
	rig_packet(p, 1280, "fd01::1", 1, "fd02::1", 2);
	ck_assert_uint_eq(icmp_too_big(p, 1280, 1000, icmp), 0);
	rig_packet(p, 1400, "fd01::1", 1, "ff02::1", 2);
	ck_assert_uint_eq(icmp_too_big(p, 1400, 1300, icmp), 0);
	rig_packet(p, 1400, "fd01::1", 1, "fd02::1", 2);
	p[6] = IPPROTO_ICMPV6;
	p[40] = 1;
	ck_assert_uint_eq(icmp_too_big(p, 1400, 1300, icmp), 0);
}
END_TEST

START_TEST(prefixes_of_ranges)
{
	static const struct {
		const char *ts;
		size_t n;
		uint8_t first, last; /* lengths */
	} cases[] = {
	    {"10.0.0.0/8", 1, 8, 8},
	    {"0.0.0.0/0", 1, 0, 0},
	    {"::/0", 1, 0, 0},
	    {"10.0.0.1/32", 1, 32, 32},
	    {"10.0.0.1-10.0.0.2", 2, 32, 32},
	    {"10.0.0.1-10.0.0.6", 4, 32, 32},
	    {"0.0.0.1-255.255.255.254", 62, 32, 32},
	    {"0.0.0.0-255.255.255.254", 32, 1, 32},
	    {"0.0.0.1-255.255.255.255", 32, 32, 1},
	    {"fd00::1-fd00::ffff", 16, 128, 113},
	    {"::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 254, 128, 128},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cy_ts ts = rig_ts(cases[i].ts);
		struct prefix p[PREFIXES_MAX];
		size_t n = prefixes_of(&ts, p), bytes = ts.family_ip6 ? 16 : 4;
		uint8_t next[16];

		ck_assert_msg(n == cases[i].n, "%s: %zu prefixes", cases[i].ts, n);
		ck_assert_uint_eq(p[0].len, cases[i].first);
		ck_assert_uint_eq(p[n - 1].len, cases[i].last);
		/* they follow each other without a gap, from end to end */
		memcpy(next, ts.lo, 16);
		for (size_t k = 0; k < n; k++) {
			EXPECT(memcmp(p[k].ip, next, bytes) == 0);
			memcpy(next, p[k].ip, bytes);
			for (size_t b = p[k].len; b < bytes * 8; b++)
				next[b / 8] |= (uint8_t)(0x80 >> (b % 8));
			if (k == n - 1)
				EXPECT(memcmp(next, ts.hi, bytes) == 0);
			for (size_t b = bytes; b > 0 && ++next[b - 1] == 0; b--)
				;
		}
	}
}
END_TEST

UNIT_TESTS(packet)
{
	tcase_add_test(tc, ip4_selectors);
	tcase_add_test(tc, ip6_extension_headers);
	tcase_add_test(tc, selectors);
	tcase_add_test(tc, tos_of_both_families);
	tcase_add_test(tc, too_big_ip4);
	tcase_add_test(tc, too_big_ip6);
	tcase_add_test(tc, prefixes_of_ranges);
}
