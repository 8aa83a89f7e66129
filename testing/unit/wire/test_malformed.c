/* SPDX-License-Identifier: Apache-2.0 */
/* What peers may get wrong, and the answer to each. */
#include "unit.h"

#include <stdio.h>

#include "daemon/wire/message.h"
#include "hex.h"

#define N16  "000102030405060708090a0b0c0d0e0f"
#define IPV4 "07060010 0000ffff 0a010000 0a01ffff" /* a selector */
#define IPV6 "08000028 0000ffff 20010db8000000000000000000000000 20010db80000000000000000000000ff"
#define AES  "03000008 0100000c" /* a transform, others follow */
#define SHA  "00000008 03000002" /* a transform, the last */

/* A chain of payloads that begins with `next`: 0 when good, else the error, and words out of its text. */
static const struct chain_case {
	const char *name;
	uint8_t next;
	const char *hex;
	enum cy_err err;
	const char *words;
} chains[] = {
    {"nothing", PAYLOAD_NONE, "", CY_OK, NULL},
    {"bytes without a payload", PAYLOAD_NONE, "00", CY_E_PARSE, "1 bytes behind the last payload"},
    {"announced, not there", PAYLOAD_KE, "", CY_E_PARSE, "KE payload announced"},
    {"header cut off", PAYLOAD_KE, "0000", CY_E_PARSE, "KE payload announced"},
    {"second one announced, not there", PAYLOAD_NONCE, "29000014" N16, CY_E_PARSE, "N payload announced"},
    {"length 0 goes round in circles", PAYLOAD_NONCE, "28000000" N16, CY_E_PARSE, "length of 0 bytes"},
    {"length 3", PAYLOAD_NONCE, "28000003" N16, CY_E_PARSE, "length of 3 bytes"},
    {"longer than the message", PAYLOAD_NONCE, "00000015" N16, CY_E_PARSE,
        "length of 21 bytes, the message has 20"},
    {"65535 bytes", PAYLOAD_NONCE, "0000ffff" N16, CY_E_PARSE, "length of 65535 bytes"},
    {"bytes behind", PAYLOAD_NONCE, "00000014" N16 "00", CY_E_PARSE, "1 bytes behind"},
    {"next payload points at itself", PAYLOAD_VENDOR, "2b000004", CY_E_PARSE, "V payload announced"},

    {"unknown", 99, "00000008 01020304", CY_OK, NULL},
    {"unknown, empty", 99, "00000004", CY_OK, NULL},
    {"unknown and critical", 99, "00800004", CY_E_UNSUPPORTED, "type 99 is critical"},
    {"known and critical is nothing special", PAYLOAD_NONCE, "00800014" N16, CY_OK, NULL},
    {"reserved bits are not looked at", PAYLOAD_NONCE, "007f0014" N16, CY_OK, NULL},
    {"of IKEv1", 1, "00800004", CY_E_UNSUPPORTED, "type 1 is critical"},

    {"SA", PAYLOAD_SA, "00000018 00000014 01010002" AES SHA, CY_E_PARSE, "left"},
    {"SA good", PAYLOAD_SA, "0000001c 00000018 01010002" AES SHA, CY_OK, NULL},
    {"SA without proposals", PAYLOAD_SA, "00000004", CY_E_PARSE, "SA payload: has no proposal"},
    {"proposal of length 0", PAYLOAD_SA, "0000000c 00000000 01010001", CY_E_PARSE, "proposal 1: its length"},
    {"proposal of length 4", PAYLOAD_SA, "00000008 00000004", CY_E_PARSE,
        "proposal 1: ends before its number"},
    {"proposal without transforms", PAYLOAD_SA, "0000000c 00000008 01010000", CY_E_PARSE,
        "proposal 1: has no transform"},
    {"proposal longer than the payload", PAYLOAD_SA, "0000001c 00000019 01010002" AES SHA, CY_E_PARSE,
        "proposal 1: its length"},
    {"proposal shorter than what it has", PAYLOAD_SA, "0000001c 00000017 01010002" AES SHA, CY_E_PARSE,
        "transform 2: its length"},
    {"three bytes are no proposal", PAYLOAD_SA, "00000007 000000", CY_E_PARSE, "proposal 1: its length"},
    {"too few transforms", PAYLOAD_SA, "0000001c 00000018 01010003" AES SHA, CY_E_PARSE,
        "announces 3 of t, has 2"},
    {"too many transforms", PAYLOAD_SA, "0000001c 00000018 01010001" AES SHA, CY_E_PARSE,
        "announces 1 of t, has 2"},
    {"no transforms announced", PAYLOAD_SA, "0000001c 00000018 01010000" AES SHA, CY_E_PARSE,
        "announces 0 of t, has 2"},
    {"another proposal announced", PAYLOAD_SA, "0000001c 02000018 01010002" AES SHA, CY_E_PARSE,
        "announces another"},
    {"last proposal is not", PAYLOAD_SA, "00000024 00000010 01010001" SHA "00000010 02010001" SHA, CY_E_PARSE,
        "another follows"},
    {"proposal begins oddly", PAYLOAD_SA, "0000001c 01000018 01010002" AES SHA, CY_E_PARSE,
        "begins with 1, not 0 or 2"},
    {"another transform announced", PAYLOAD_SA, "00000014 00000010 01010001" AES, CY_E_PARSE,
        "transform 1: announces another"},
    {"last transform is not", PAYLOAD_SA, "0000001c 00000018 01010002" SHA SHA, CY_E_PARSE,
        "transform 1: is the last"},
    {"transform begins oddly", PAYLOAD_SA, "00000014 00000010 01010001 02000008 0100000c", CY_E_PARSE,
        "begins with 2, not 0 or 3"},
    {"transform of length 0", PAYLOAD_SA, "00000014 00000010 01010001 00000000 0100000c", CY_E_PARSE,
        "transform 1: its length"},
    {"transform of length 7", PAYLOAD_SA, "00000014 00000010 01010001 00000007 0100000c", CY_E_PARSE,
        "transform 1: ends before its id"},
    {"transform beyond its proposal", PAYLOAD_SA, "00000014 00000010 01010001 00000009 0100000c", CY_E_PARSE,
        "transform 1: its length"},
    {"key length", PAYLOAD_SA, "00000018 00000014 01010001 0000000c 0100000c 800e0100", CY_OK, NULL},
    {"attribute cut off", PAYLOAD_SA, "00000016 00000012 01010001 0000000a 0100000c 800e", CY_E_PARSE,
        "attribute is cut off"},
    {"attribute too long", PAYLOAD_SA, "00000018 00000014 01010001 0000000c 0100000c 00110001", CY_E_PARSE,
        "attribute 17 is longer"},
    {"attribute unknown", PAYLOAD_SA, "0000001a 00000016 01010001 0000000e 0100000c 00110002 abcd", CY_OK,
        NULL},
    {"SPI cut off", PAYLOAD_SA, "0000000e 0000000a 01010801 0102", CY_E_PARSE, "ends within its spi"},
    {"SPI of 9 bytes", PAYLOAD_SA, "0000001d 00000019 01010901 010203040506070809" SHA, CY_E_PARSE,
        "spi length is 9"},
    {"SPI of 8 bytes", PAYLOAD_SA, "0000001c 00000018 01010801 0102030405060708" SHA, CY_OK, NULL},
    {"SPI of 4 bytes", PAYLOAD_SA, "00000018 00000014 01030401 01020304" SHA, CY_OK, NULL},
    {"proposal number 0", PAYLOAD_SA, "0000001c 00000018 00010002" AES SHA, CY_E_PARSE, "number is 0"},
    {"proposals out of order", PAYLOAD_SA, "00000024 02000010 01010001" SHA "00000010 03010001" SHA,
        CY_E_PARSE, "proposal 3 comes after 1"},
    {"two proposals", PAYLOAD_SA, "00000024 02000010 01010001" SHA "00000010 02010001" SHA, CY_OK, NULL},

    {"KE cut", PAYLOAD_KE, "00000006 0013", CY_E_PARSE, "KE payload: is too short"},
    {"KE without a key", PAYLOAD_KE, "00000008 00130000", CY_E_PARSE, "data length is 0"},
    {"KE empty", PAYLOAD_KE, "00000004", CY_E_PARSE, "ends before its group"},

    {"ID empty", PAYLOAD_IDI, "00000004", CY_E_PARSE, "IDi payload: ends before its type"},
    {"ID of type 0", PAYLOAD_IDI, "00000009 00000000 61", CY_E_PARSE, "type is 0"},
    {"IPv4 address of 3 bytes", PAYLOAD_IDR, "0000000b 01000000 0a0000", CY_E_PARSE,
        "an address of 3 bytes, not 4"},
    {"IPv6 address of 4 bytes", PAYLOAD_IDR, "0000000c 05000000 0a000001", CY_E_PARSE,
        "an address of 4 bytes, not 16"},
    {"name without letters", PAYLOAD_IDI, "00000008 02000000", CY_E_PARSE, "type 2 with 0 bytes"},
    {"ID_NULL", PAYLOAD_IDI, "00000008 0d000000", CY_OK, NULL},
    {"ID_NULL that is not", PAYLOAD_IDI, "00000009 0d000000 61", CY_E_PARSE, "type 13 with 1 bytes"},

    {"CERT empty", PAYLOAD_CERT, "00000004", CY_E_PARSE, "ends before its encoding"},
    {"CERTREQ of any authority", PAYLOAD_CERTREQ, "00000005 04", CY_OK, NULL},
    {"AUTH without data", PAYLOAD_AUTH, "00000008 02000000", CY_E_PARSE, "data length is 0"},
    {"nonce of 15 bytes", PAYLOAD_NONCE, "00000013 000102030405060708090a0b0c0d0e", CY_E_PARSE,
        "data length is 15, not 16 to 256"},

    {"notify cut", PAYLOAD_NOTIFY, "00000006 0000", CY_E_PARSE, "ends before its type"},
    {"notify with its SPI cut", PAYLOAD_NOTIFY, "0000000a 03044009 0102", CY_E_PARSE, "ends within its spi"},
    {"notify of an unknown type", PAYLOAD_NOTIFY, "00000009 0000ffff 01", CY_OK, NULL},
    {"INVALID_KE_PAYLOAD of 1 byte", PAYLOAD_NOTIFY, "00000009 00000011 01", CY_E_PARSE,
        "INVALID_KE_PAYLOAD with 1 bytes"},
    {"INVALID_KE_PAYLOAD", PAYLOAD_NOTIFY, "0000000a 00000011 0013", CY_OK, NULL},
    {"empty cookie", PAYLOAD_NOTIFY, "00000008 00004006", CY_E_PARSE, "COOKIE with 0 bytes"},
    {"NAT detection of 19 bytes", PAYLOAD_NOTIFY, "0000001b 00004004" N16 "010203", CY_E_PARSE,
        "NAT_DETECTION_SOURCE_IP with 19"},

    {"delete of the IKE_SA", PAYLOAD_DELETE, "00000008 01000000", CY_OK, NULL},
    {"delete of the IKE_SA with SPIs", PAYLOAD_DELETE, "0000000c 01040001 01020304", CY_E_PARSE,
        "protocol 1 with SPIs of 4"},
    {"delete of ESP", PAYLOAD_DELETE, "00000010 03040002 0102030405060708", CY_OK, NULL},
    {"delete with SPIs of 2 bytes", PAYLOAD_DELETE, "0000000a 03020001 0102", CY_E_PARSE,
        "protocol 3 with SPIs of 2"},
    {"delete with SPIs of 8 bytes", PAYLOAD_DELETE, "00000010 03080001 0102030405060708", CY_E_PARSE,
        "spi_len is 8"},
    {"delete announces more", PAYLOAD_DELETE, "0000000c 0304ffff 01020304", CY_E_PARSE,
        "ends within its spis"},
    {"delete has more", PAYLOAD_DELETE, "00000010 03040001 0102030405060708", CY_E_PARSE, "4 bytes too many"},
    {"delete of nothing", PAYLOAD_DELETE, "00000008 00000000", CY_E_PARSE, "proto is 0"},

    {"TS", PAYLOAD_TSI, "00000018 01000000" IPV4, CY_OK, NULL},
    {"TS of both families", PAYLOAD_TSR, "00000040 02000000" IPV4 IPV6, CY_OK, NULL},
    {"TS without any", PAYLOAD_TSI, "00000008 00000000", CY_E_PARSE, "has no selector"},
    {"TS announces none", PAYLOAD_TSI, "00000018 00000000" IPV4, CY_E_PARSE, "announces 0 of ts, has 1"},
    {"TS announces more", PAYLOAD_TSI, "00000018 02000000" IPV4, CY_E_PARSE, "announces 2 of ts, has 1"},
    {"TS of length 15", PAYLOAD_TSI, "00000017 01000000 0706000f 0000ffff 0a010000 0a01ff", CY_E_PARSE,
        "ends within its hi"},
    {"TS of length 17", PAYLOAD_TSI, "00000019 01000000 07060011 0000ffff 0a010000 0a01ffff 00", CY_E_PARSE,
        "1 bytes too many"},
    {"TS of IPv6 with IPv4's length", PAYLOAD_TSI, "00000018 01000000 08060010 0000ffff 0a010000 0a01ffff",
        CY_E_PARSE, "ends within its lo"},
    {"TS the wrong way round", PAYLOAD_TSI, "00000018 01000000 07060010 0000ffff 0a020000 0a01ffff",
        CY_E_PARSE, "wrong way round"},
    {"TS ports the wrong way round", PAYLOAD_TSI, "00000018 01000000 07060010 00200010 0a010000 0a01ffff",
        CY_E_PARSE, "ports 32 to 16"},
    {"TS OPAQUE", PAYLOAD_TSI, "00000018 01000000 07060010 ffff0000 0a010000 0a01ffff", CY_OK, NULL},
    {"TS unknown beside a known one", PAYLOAD_TSI, "00000020 02000000 09000008 01020304" IPV4, CY_OK, NULL},
    {"TS unknown of length 3", PAYLOAD_TSI, "0000000c 01000000 09000003", CY_E_PARSE,
        "selector 1: its length"},
    {"TS unknown beyond the payload", PAYLOAD_TSI, "0000000c 01000000 09000005", CY_E_PARSE,
        "selector 1: its length"},

    {"CP", PAYLOAD_CP, "0000000c 01000000 00010000", CY_OK, NULL},
    {"CP empty", PAYLOAD_CP, "00000008 01000000", CY_OK, NULL},
    {"CP cut", PAYLOAD_CP, "00000006 0100", CY_E_PARSE, "is too short"},
    {"CP attribute cut", PAYLOAD_CP, "0000000b 01000000 000100", CY_E_PARSE, "attribute 1: its length"},
    {"CP attribute too long", PAYLOAD_CP, "0000000c 01000000 00010001", CY_E_PARSE,
        "attribute 1: its length"},
    {"CP address of 3 bytes", PAYLOAD_CP, "0000000f 02000000 00010003 0a0000", CY_E_PARSE,
        "INTERNAL_IP4_ADDRESS with 3"},
    {"CP reserved bit", PAYLOAD_CP, "00000010 02000000 80010004 0a000001", CY_OK, NULL},
    {"CP unknown attribute", PAYLOAD_CP, "0000000d 02000000 7fff0001 01", CY_OK, NULL},

    {"EAP", PAYLOAD_EAP, "00000009 01010005 01", CY_OK, NULL},
    {"EAP of 3 bytes", PAYLOAD_EAP, "00000007 010100", CY_E_PARSE, "data length is 3"},
    {"EAP says less", PAYLOAD_EAP, "00000009 01010004 01", CY_E_PARSE, "EAP says 4 bytes, has 5"},
    {"EAP says more", PAYLOAD_EAP, "00000009 01010105 01", CY_E_PARSE, "EAP says 261 bytes, has 5"},

    {"SK", PAYLOAD_SK, "23000008 01020304", CY_OK, NULL},
    {"SK is the last", PAYLOAD_SK, "23000008 01020304 00000014" N16, CY_E_PARSE,
        "20 bytes behind the last payload"},
    {"fragment", PAYLOAD_SKF, "2300000c 00010002 01020304", CY_OK, NULL},
    {"fragment 0", PAYLOAD_SKF, "2300000c 00000002 01020304", CY_E_PARSE, "frag_no is 0"},
    {"fragment 3 of 2", PAYLOAD_SKF, "0000000c 00030002 01020304", CY_E_PARSE, "fragment 3 of 2"},
    {"fragment of 0", PAYLOAD_SKF, "0000000c 00010000 01020304", CY_E_PARSE, "frag_total is 0"},
    {"fragment cut", PAYLOAD_SKF, "00000007 000100", CY_E_PARSE, "ends before its frag_total"},
};

START_TEST(chains_get_their_answer)
{
	const struct chain_case *c = &chains[_i];
	struct cy_buf b = hex_bytes(c->hex);
	struct wire_error why;
	struct payload *first;
	struct arena a;
	enum cy_err err;

	arena_init(&a, 0);
	err = wire_chain_parse(&a, c->next, cy_slice(b.p, b.n), &first, &why);
	ck_assert_msg(err == c->err, "%s: %d, %s", c->name, err, why.text);
	if (c->words)
		ck_assert_msg(strstr(why.text, c->words), "%s: %s", c->name, why.text);
	if (err == CY_E_PARSE)
		ck_assert_uint_eq(why.notify, N_INVALID_SYNTAX);
	if (err == CY_E_UNSUPPORTED) {
		ck_assert_uint_eq(why.notify, N_UNSUPPORTED_CRITICAL_PAYLOAD);
		ck_assert_uint_eq(why.notify_data, c->next);
	}
	arena_fini(&a);
	free(b.p);
}
END_TEST

/* Chains that are long rather than odd, made of one piece n times. */
static enum cy_err repeated(uint8_t next, const char *head, const char *piece, size_t n, const char *last,
    struct wire_error *why, struct arena *a, struct payload **out)
{
	size_t len = strlen(head) + n * strlen(piece) + strlen(last);
	char *text = malloc(len + 1), *p = text;
	struct cy_buf b;
	enum cy_err err;

	p += sprintf(p, "%s", head);
	while (n--)
		p += sprintf(p, "%s", piece);
	sprintf(p, "%s", last);
	b = hex_bytes(text);
	free(text);
	err = wire_chain_parse(a, next, cy_slice(b.p, b.n), out, why);
	free(b.p);
	return err;
}

START_TEST(too_many_payloads)
{
	struct wire_error why;
	struct payload *first;
	struct arena a;

	arena_init(&a, 0);
	ck_assert_int_eq(repeated(PAYLOAD_VENDOR, "", "2b000004", 127, "00000004", &why, &a, &first), CY_OK);
	ck_assert_int_eq(
	    repeated(PAYLOAD_VENDOR, "", "2b000004", 128, "00000004", &why, &a, &first), CY_E_LIMIT);
	ck_assert_uint_eq(why.notify, N_INVALID_SYNTAX);
	ck_assert_ptr_nonnull(strstr(why.text, "more than 128"));
	arena_fini(&a);
}
END_TEST

START_TEST(too_many_attributes)
{
	struct wire_error why;
	struct payload *first;
	struct arena a;

	arena_init(&a, 0);
	ck_assert_int_eq(
	    repeated(PAYLOAD_CP, "00000408 01000000", "00010000", 256, "", &why, &a, &first), CY_OK);
	ck_assert_uint_eq(first->u.cp.n, 256);
	ck_assert_int_eq(
	    repeated(PAYLOAD_CP, "0000040c 01000000", "00010000", 257, "", &why, &a, &first), CY_E_PARSE);
	ck_assert_ptr_nonnull(strstr(why.text, "more than 256"));
	arena_fini(&a);
}
END_TEST

/* More transforms than we keep: well-formed, but nobody may accept the proposal. */
START_TEST(too_many_transforms)
{
	struct wire_error why;
	struct payload *first;
	const struct proposal *p;
	struct arena a;

	arena_init(&a, 0);
	/* 64 transforms */
	ck_assert_int_eq(
	    repeated(PAYLOAD_SA, "0000020c 00000208 01010040", AES, 63, SHA, &why, &a, &first), CY_OK);
	p = first->u.sa.p;
	ck_assert_uint_eq(p->n, 64);
	ck_assert_uint_eq(p->t[63].type, TRANSFORM_INTEG);
	/* 70 */
	ck_assert_int_eq(
	    repeated(PAYLOAD_SA, "0000023c 00000238 01010046", AES, 69, SHA, &why, &a, &first), CY_OK);
	p = first->u.sa.p;
	ck_assert_uint_eq(p->n, 64);
	ck_assert_uint_eq(p->t[62].type, TRANSFORM_ENCR);
	ck_assert_uint_eq(p->t[63].type, 0);
	/* 70, of which one behind the kept ones is malformed */
	ck_assert_int_eq(repeated(PAYLOAD_SA, "0000023c 00000238 01010046", AES, 69, "00000007 03000002",
	                     &why, &a, &first),
	    CY_E_PARSE);
	ck_assert_ptr_nonnull(strstr(why.text, "transform 70"));
	arena_fini(&a);
}
END_TEST

/* An arena that is full is said so; nothing is half read. */
START_TEST(memory_runs_out)
{
	struct wire_error why;
	struct payload *first = NULL;
	struct arena a;

	arena_init(&a, 256);
	ck_assert_int_eq(
	    repeated(PAYLOAD_VENDOR, "", "2b000004", 20, "00000004", &why, &a, &first), CY_E_NOMEM);
	ck_assert_uint_eq(why.notify, 0);
	ck_assert_ptr_null(first);
	ck_assert_int_eq(
	    repeated(PAYLOAD_SA, "0000001c 00000018 01010002" AES SHA, "", 0, "", &why, &a, &first),
	    CY_E_NOMEM);
	arena_fini(&a);
}
END_TEST

START_TEST(values_are_what_was_sent)
{
	struct wire_error why;
	struct payload *first;
	const struct proposal *p;
	struct arena a;

	arena_init(&a, 0);
	ck_assert_int_eq(repeated(PAYLOAD_SA,
	                     "00000038 00000034 01030403 c1c2c3c4 0300000c 0100000c 800e0100 0300000e "
	                     "0300000c 00110002 abcd 0000000a 05000001 1234",
	                     "", 0, "", &why, &a, &first),
	    CY_E_PARSE); /* 0x1234: an attribute cut off */
	ck_assert_int_eq(repeated(PAYLOAD_SA,
	                     "0000002e 0000002a 01030403 c1c2c3c4 0300000c 0100000c 800e0100 0300000e "
	                     "0300000c 00110002 abcd 00000008 05000001",
	                     "", 0, "", &why, &a, &first),
	    CY_E_PARSE); /* two bytes less than it says */
	ck_assert_int_eq(repeated(PAYLOAD_SA,
	                     "00000032 0000002e 01030403 c1c2c3c4 0300000c 0100000c 800e0100 0300000e "
	                     "0300000c 00110002 abcd 00000008 05000001",
	                     "", 0, "", &why, &a, &first),
	    CY_OK);
	p = first->u.sa.p;
	ck_assert_uint_eq(p->proto, PROTO_ESP);
	ck_assert_uint_eq(p->spi_len, 4);
	ck_assert_uint_eq(p->spi[0], 0xc1);
	ck_assert_uint_eq(p->spi[3], 0xc4);
	ck_assert_uint_eq(p->n, 3);
	ck_assert_uint_eq(p->t[0].key_bits, 256);
	ck_assert(!p->t[0].unknown_attr);
	ck_assert(p->t[1].unknown_attr);
	ck_assert_uint_eq(p->t[2].type, TRANSFORM_ESN);
	ck_assert_uint_eq(p->t[2].id, 1);
	ck_assert_int_eq(
	    repeated(PAYLOAD_TSI, "00000020 02000000 09000008 01020304" IPV4, "", 0, "", &why, &a, &first),
	    CY_OK);
	ck_assert_uint_eq(first->u.ts.n, 1);
	ck_assert_uint_eq(first->u.ts.n_unknown, 1);
	ck_assert_uint_eq(first->u.ts.ts[0].lo[0], 10);
	ck_assert_uint_eq(first->u.ts.ts[0].proto, 6);
	arena_fini(&a);
}
END_TEST

/* --- whole datagrams: what may be answered to somebody whom nobody has authenticated ------------------------------ */

#define SPIS "0102030405060708 0000000000000000"

static const struct datagram_case {
	const char *name, *hex;
	enum cy_err err;
	uint16_t notify;
} datagrams[] = {
    {"empty", "", CY_E_SHORT, 0},
    {"27 bytes", SPIS "00202208 00000000 000000", CY_E_SHORT, 0},
    {"header alone", SPIS "00202208 00000000 0000001c", CY_OK, 0},
    {"says more than it has", SPIS "00202208 00000000 0000001d", CY_E_SHORT, 0},
    {"says less than it has", SPIS "00202208 00000000 0000001c 00", CY_E_PARSE, 0},
    {"says 0", SPIS "00202208 00000000 00000000", CY_E_PARSE, 0},
    {"says 4 GB", SPIS "00202208 00000000 ffffffff", CY_E_SHORT, 0},
    {"version 3", SPIS "00302208 00000000 0000001c", CY_E_UNSUPPORTED, N_INVALID_MAJOR_VERSION},
    {"version 2.9", SPIS "00292208 00000000 0000001c", CY_OK, 0},
    {"version 1", SPIS "00102208 00000000 0000001c", CY_E_UNSUPPORTED, 0},
    {"malformed request", SPIS "22202208 00000000 00000020 00000001", CY_E_PARSE, 0},
    {"malformed response", SPIS "22202220 00000000 00000020 00000001", CY_E_PARSE, 0},
    {"critical in an IKE_SA_INIT request", SPIS "63202208 00000000 00000020 00800004", CY_E_UNSUPPORTED,
        N_UNSUPPORTED_CRITICAL_PAYLOAD},
    {"critical in an IKE_SA_INIT response", SPIS "63202220 00000000 00000020 00800004", CY_E_UNSUPPORTED, 0},
    {"critical beside SK", SPIS "63202308 00000001 00000020 00800004", CY_E_UNSUPPORTED, 0},
    {"reserved flags", SPIS "002022ff 00000000 0000001c", CY_OK, 0},
};

START_TEST(datagrams_get_their_answer)
{
	const struct datagram_case *c = &datagrams[_i];
	struct cy_buf b = hex_bytes(c->hex);
	struct wire_error why;
	struct message m;
	struct arena a;
	enum cy_err err;

	arena_init(&a, 0);
	err = wire_message_parse(&a, cy_slice(b.p, b.n), &m, &why);
	ck_assert_msg(err == c->err, "%s: %d, %s", c->name, err, why.text);
	ck_assert_msg(why.notify == c->notify, "%s: notify %u", c->name, why.notify);
	if (err)
		ck_assert_uint_gt(strlen(why.text), 0);
	arena_fini(&a);
	free(b.p);
}
END_TEST

UNIT_TESTS(malformed)
{
	tcase_add_loop_test(tc, chains_get_their_answer, 0, sizeof(chains) / sizeof(chains[0]));
	tcase_add_loop_test(tc, datagrams_get_their_answer, 0, sizeof(datagrams) / sizeof(datagrams[0]));
	tcase_add_test(tc, too_many_payloads);
	tcase_add_test(tc, too_many_attributes);
	tcase_add_test(tc, too_many_transforms);
	tcase_add_test(tc, memory_runs_out);
	tcase_add_test(tc, values_are_what_was_sent);
}
