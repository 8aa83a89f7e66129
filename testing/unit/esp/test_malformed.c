/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * What an authentic peer may put inside, right or wrong. Bodies are written as they are, encrypted with NULL, so that
 * nothing stands between the test and the checks.
 */

struct wrong {
	const char *what;
	const char *body; /* hex; '.' ends */
	enum counter counted;
	enum cy_err err;
	size_t inner; /* when err is CY_OK */
};

#define IP4                                                                                                  \
	"4500001c00000000401166cf0a010001"                                                                   \
	"0a020001"                                                                                           \
	"0007000900080000"
#define IP6                                                                                                  \
	"6000000000083b40"                                                                                   \
	"fd010000000000000000000000000001"                                                                   \
	"fd020000000000000000000000000001"                                                                   \
	"0102030405060708"

static const struct wrong wrongs[] = {
    {"good", IP4 "01020204", CNT_MAX, CY_OK, 28},
    {"good, more padding than needed", IP4 "0102030405060604", CNT_MAX, CY_OK, 28},
    {"good, TFC padding", IP4 "00000000aabbccdd01020204", CNT_MAX, CY_OK, 28},
    {"padding beyond the packet",
        IP4 "01020304"
            "0000ff04",
        CNT_IN_BAD_PADDING, CY_E_PARSE, 0},
    {"padding one beyond the body", "0102030405060704", CNT_IN_BAD_PADDING, CY_E_PARSE, 0},
    {"only padding", "0102030405060604", CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"padding of zeroes", IP4 "00000204", CNT_IN_BAD_PADDING, CY_E_PARSE, 0},
    {"padding that begins with zero", IP4 "00010204", CNT_IN_BAD_PADDING, CY_E_PARSE, 0},
    {"dummy",
        "deadbeefdeadbeef"
        "0102023b",
        CNT_IN_DUMMY, CY_OK, 0},
    {"dummy of nothing", "0102023b", CNT_IN_DUMMY, CY_OK, 0},
    {"ICMP in transport mode",
        "0800000000000000"
        "01020201",
        CNT_IN_BAD_NEXT_HEADER, CY_E_PARSE, 0},
    {"TCP", IP4 "01020206", CNT_IN_BAD_NEXT_HEADER, CY_E_PARSE, 0},
    {"IPv6 said to be IPv4", IP6 "01020204", CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv4 said to be IPv6", IP4 "01020229", CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"nothing said to be IPv4", "01020204", CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv4 version 5",
        "5500001c00000000401166cf0a0100010a0200010007000900080000"
        "01020204",
        CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv4 header of 4 bytes",
        "4100001c00000000401166cf0a0100010a0200010007000900080000"
        "01020204",
        CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv4 header longer than it",
        "4f00001c00000000401166cf0a0100010a0200010007000900080000"
        "01020204",
        CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv4 longer than what came",
        "4500002000000000401166cf0a0100010a0200010007000900080000"
        "01020204",
        CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv4 shorter than its header",
        "4500001300000000401166cf0a0100010a0200010007000900080000"
        "01020204",
        CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"18 bytes of IPv4", "4500001300000000401166cf0a01000100010004", CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv6 longer than what came",
        "6000000000ff1140"
        "fd010000000000000000000000000001"
        "fd020000000000000000000000000001"
        "0007000900080000"
        "01020229",
        CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"IPv6 cut in the header",
        "6000000000001140"
        "fd010000000000000000000000000001"
        "fd02000000000000"
        "01020229",
        CNT_IN_BAD_INNER, CY_E_PARSE, 0},
    {"from outside the selectors",
        "4500001c00000000401166cf0a0900010a0200010007000900080000"
        "01020204",
        CNT_IN_SELECTOR, CY_E_DENIED, 0},
    {"to outside the selectors",
        "4500001c00000000401166cf0a0100010a0900010007000900080000"
        "01020204",
        CNT_IN_SELECTOR, CY_E_DENIED, 0},
    {"another protocol than the selectors'",
        "4500001c00000000400666cf0a0100010a0200010007000900080000"
        "01020204",
        CNT_IN_SELECTOR, CY_E_DENIED, 0},
    {"another port than the selectors'",
        "4500001c00000000401166cf0a0100010a0200010007000800080000"
        "01020204",
        CNT_IN_SELECTOR, CY_E_DENIED, 0},
    {"a fragment, whose port is unknown",
        "4500001c00000001401166cf0a0100010a0200010007000900080000"
        "01020204",
        CNT_IN_SELECTOR, CY_E_DENIED, 0},
    {"UDP without ports",
        "4500001400000000401166cf0a0100010a020001"
        "01020204",
        CNT_IN_SELECTOR, CY_E_DENIED, 0},
    {"IPv6 where the selectors are IPv4", IP6 "01020229", CNT_IN_SELECTOR, CY_E_DENIED, 0},
};
#define N_WRONGS (sizeof(wrongs) / sizeof(wrongs[0]))

static size_t unhex(const char *s, uint8_t *out)
{
	size_t n = 0;

	for (unsigned v; *s && sscanf(s, "%2x", &v) == 1; s += 2)
		out[n++] = (uint8_t)v;
	return n;
}

/* An authentic packet with that body. */
static size_t forge(struct sa *sa, uint32_t seq, const char *body, uint8_t *esp)
{
	struct esp_layout l = {.esp = esp, .iv = esp + 8, .body = esp + 8, .seq = seq};
	struct sa_crypt *c;
	uint8_t icv[ESP_MAX_ICV];

	put_be32(esp, sa->spi);
	put_be32(esp + 4, seq);
	l.body_len = unhex(body, l.body);
	ck_assert_int_eq(sa_crypt_get(sa, 0, &c), CY_OK);
	ck_assert_int_eq(esp_mac(sa, c, &l, icv), CY_OK);
	memcpy(l.body + l.body_len, icv, sa->icv_len);
	return 8 + l.body_len + sa->icv_len;
}

static struct sa *open_null(struct rig *r, struct rig_sa *s)
{
	ck_assert(rig_init(r, TEST_PLUGIN_DIR));
	rig_sa_init(s, CY_DIR_IN, 0x1000, CY_ENCR_NULL, 0, CY_INTEG_HMAC_SHA1_96, 20);
	s->remote = rig_ts("10.1.0.0/16");
	s->local = rig_ts("10.2.0.0/16[udp/9]");
	s->remote.proto = s->local.proto;
	s->in.ts_local = &s->local;
	s->in.ts_remote = &s->remote;
	s->in.n_ts_local = s->in.n_ts_remote = 1;
	return rig_sa_add(r, s);
}

START_TEST(inside)
{
	const struct wrong *w = &wrongs[_i];
	uint8_t esp[512];
	struct cy_buf inner = {0};
	struct cy_dgram d = {0};
	struct rig r;
	struct rig_sa s;
	struct sa *sa = open_null(&r, &s);
	size_t n = forge(sa, 1, w->body, esp);

	d.src = s.in.src;
	ck_assert_msg(esp_decode(&r.esp, sa, &d, esp, n, &inner) == w->err, "%s", w->what);
	ck_assert_msg(rig_total(&r) == (w->counted != CNT_MAX), "%s: %llu counted", w->what,
	    (unsigned long long)rig_total(&r));
	if (w->counted != CNT_MAX)
		ck_assert_msg(rig_count(&r, w->counted) == 1, "%s: counted as something else", w->what);
	if (w->err == CY_OK)
		ck_assert_uint_eq(inner.n, w->inner);
	/* the number counts as received whatever was inside */
	ck_assert_uint_eq(sa->replay.top, 1);
	rig_fini(&r);
}
END_TEST

START_TEST(too_short_and_unaligned)
{
	uint8_t esp[512];
	struct cy_buf inner;
	struct cy_dgram d = {0};
	struct rig r;
	struct rig_sa s;
	struct sa *sa = open_null(&r, &s);
	size_t n = forge(sa, 1, IP4 "01020204", esp);

	for (size_t i = 0; i < 8 + 12 + 2; i++)
		ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, i, &inner), CY_E_SHORT);
	ck_assert_uint_eq(rig_count(&r, CNT_IN_SHORT), 22);
	for (size_t i = 1; i < 4; i++)
		ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, n - i, &inner), CY_E_PARSE);
	ck_assert_uint_eq(rig_count(&r, CNT_IN_UNALIGNED), 3);
	ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, n - 4, &inner), CY_E_AUTH);
	ck_assert_uint_eq(rig_count(&r, CNT_IN_BAD_ICV), 1);
	ck_assert_uint_eq(sa->replay.top, 0);
	rig_fini(&r);
}
END_TEST

/* RFC 6040, 4.2, figure 4: outer, inner, and what comes out; -1: dropped. */
START_TEST(ecn_and_dscp)
{
	static const int merged[4][4] = {
	    /* inner Not-ECT, ECT(1), ECT(0), CE; each for outer 0, 1, 2, 3 */
	    {0, 0, 0, -1},
	    {1, 1, 1, 3},
	    {2, 1, 2, 3},
	    {3, 3, 3, 3},
	};

	for (int inner_ecn = 0; inner_ecn < 4; inner_ecn++)
		for (int outer_ecn = 0; outer_ecn < 4; outer_ecn++)
			for (int copy = CY_DSCP_OUT; copy <= CY_DSCP_YES; copy++)
				for (int no_ecn = 0; no_ecn < 2; no_ecn++) {
					uint8_t esp[512], inner_tos = (uint8_t)(0x28 | inner_ecn);
					bool in = copy == CY_DSCP_IN || copy == CY_DSCP_YES;
					int want = no_ecn ? inner_ecn : merged[inner_ecn][outer_ecn];
					struct cy_buf inner;
					struct cy_dgram d = {.tos = (uint8_t)(0xb8 | outer_ecn)};
					struct rig r;
					struct rig_sa s;
					struct sa *sa = open_null(&r, &s);
					char body[] = "4500"
					              "001c00000000401100000a0100010a0200010007000900080000"
					              "01020204";
					uint16_t sum = 0;
					enum cy_err err;
					size_t n;

					/* with the right checksum for its TOS */
					for (int pass = 0; pass < 2; pass++) {
						char hex[5];
						uint8_t p[20];

						snprintf(hex, sizeof(hex), "%02x", inner_tos);
						memcpy(body + 2, hex, 2);
						snprintf(hex, sizeof(hex), "%04x", sum);
						memcpy(body + 20, hex, 4);
						for (int i = 0; i < 20; i++)
							p[i] = (uint8_t)strtoul(
							    (char[]){body[2 * i], body[2 * i + 1], 0}, NULL,
							    16);
						sum = packet_sum_fold(packet_sum(p, 20, 0));
					}
					EXPECT(sum == 0);
					sa->copy_dscp = (uint8_t)copy;
					sa->no_ecn = no_ecn;
					d.src = s.in.src;
					n = forge(sa, 1, body, esp);
					err = esp_decode(&r.esp, sa, &d, esp, n, &inner);
					if (want < 0) {
						EXPECT(err == CY_E_DENIED && rig_count(&r, CNT_IN_ECN) == 1);
					} else {
						EXPECT(err == CY_OK);
						EXPECT(inner.p[1] == ((in ? 0xb8 : 0x28) | want));
						EXPECT(packet_sum_fold(packet_sum(inner.p, 20, 0)) == 0);
					}
					rig_fini(&r);
				}
}
END_TEST

START_TEST(a_peer_that_moves)
{
	uint8_t esp[512];
	struct cy_buf inner;
	struct cy_dgram d = {0};
	struct rig r;
	struct rig_sa s;
	struct sa *sa = open_null(&r, &s);
	struct cy_addr home = s.in.src, away = rig_addr("203.0.113.9", 1024),
	               third = rig_addr("203.0.113.10", 4500);

	d.src = away;
	/* not authentic: not believed */
	forge(sa, 1, IP4 "01020204", esp);
	esp[20] ^= 1;
	ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, 52, &inner), CY_E_AUTH);
	ck_assert_uint_eq(r.n_mapping, 0);
	/* believed, and told once */
	for (uint32_t seq = 5; seq < 8; seq++)
		ck_assert_int_eq(
		    esp_decode(&r.esp, sa, &d, esp, forge(sa, seq, IP4 "01020204", esp), &inner), CY_OK);
	ck_assert_uint_eq(r.n_mapping, 1);
	ck_assert(cy_addr_eq(&r.mapped, &away));
	ck_assert_uint_eq(r.last_id.spi, 0x1000);
	/* older packets say nothing about where it is now */
	d.src = third;
	ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, forge(sa, 2, IP4 "01020204", esp), &inner), CY_OK);
	ck_assert_uint_eq(r.n_mapping, 1);
	ck_assert_int_eq(sad_move(r.k.sad, sa, &away, &s.in.dst), CY_OK);
	d.src = away;
	ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, forge(sa, 9, IP4 "01020204", esp), &inner), CY_OK);
	ck_assert_uint_eq(r.n_mapping, 1);
	/* and back */
	d.src = home;
	ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, forge(sa, 10, IP4 "01020204", esp), &inner), CY_OK);
	ck_assert_uint_eq(r.n_mapping, 2);
	rig_fini(&r);
}
END_TEST

UNIT_TESTS(malformed)
{
	tcase_add_loop_test(tc, inside, 0, (int)N_WRONGS);
	tcase_add_test(tc, too_short_and_unaligned);
	tcase_add_test(tc, ecn_and_dscp);
	tcase_add_test(tc, a_peer_that_moves);
}
