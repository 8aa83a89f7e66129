/* SPDX-License-Identifier: Apache-2.0 */
/* IKEv1: what is built can be read and says the same; what is malformed is refused; both versions do not know each other's payloads. */
#include "hex.h"

#include "daemon/wire/codec.h"
#include "daemon/wire/generate.h"
#include "libcore/base/err.h"

#define SEEDS 3000

static uint8_t bytes[65535], again[65535];
static char dump[1 << 20], dump_again[1 << 20];

static const uint8_t types[] = {PAYLOAD_V1_SA, PAYLOAD_V1_KE, PAYLOAD_V1_ID, PAYLOAD_V1_CERT,
    PAYLOAD_V1_CERTREQ, PAYLOAD_V1_HASH, PAYLOAD_V1_SIG, PAYLOAD_V1_NONCE, PAYLOAD_V1_NOTIFY,
    PAYLOAD_V1_DELETE, PAYLOAD_V1_VENDOR, PAYLOAD_V1_CONFIG, PAYLOAD_V1_NATD, PAYLOAD_V1_NATOA,
    PAYLOAD_V1_NATD_DRAFT, PAYLOAD_V1_NATOA_DRAFT, PAYLOAD_V1_FRAGMENT};

static void build(struct arena *a, uint64_t seed, struct message *m)
{
	struct ike_header h = {.spi_i = 1, .spi_r = 2, .major = 1, .exchange = EXCHANGE_V1_MAIN};

	message_init(m, &h);
	for (uint64_t i = 0, n = 1 + seed % 6; i < n; i++)
		ck_assert_int_eq(
		    wire_generate_payload(a, &seed, m, types[(seed >> 8) % ARRAY_LEN(types)]), CY_OK);
}

START_TEST(built_chains_read_the_same)
{
	bool seen[256] = {false};
	struct arena a;

	arena_init(&a, 0);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct writer w = writer_of(bytes, sizeof(bytes)), w2 = writer_of(again, sizeof(again));
		struct wire_error why;
		struct message m, got;
		uint8_t next, next2;
		enum cy_err err;

		build(&a, seed * 0x9e3779b97f4a7c15ull, &m);
		ck_assert_int_eq(wire_chain_encode(&m, &w, &next), CY_OK);
		message_init(&got, &m.h);
		err = wire_v1_chain_parse(&a, next, writer_slice(&w), false, &got.first, &why);
		ck_assert_msg(err == CY_OK, "seed %llu: %s", (unsigned long long)seed, why.text);
		wire_dump(m.first, dump, sizeof(dump));
		wire_dump(got.first, dump_again, sizeof(dump_again));
		ck_assert_str_eq(dump, dump_again);
		ck_assert_int_eq(wire_chain_encode(&got, &w2, &next2), CY_OK);
		ck_assert_uint_eq(w2.n, w.n);
		ck_assert_mem_eq(again, bytes, w.n);
		for (const struct payload *p = m.first; p; p = p->next)
			seen[p->type] = true;
		/* padding is fine where it was encrypted, and nowhere else */
		memset(bytes + w.n, 0, 7);
		ck_assert_int_eq(
		    wire_v1_chain_parse(&a, next, cy_slice(bytes, w.n + 7), true, &got.first, &why), CY_OK);
		ck_assert_int_ne(
		    wire_v1_chain_parse(&a, next, cy_slice(bytes, w.n + 7), false, &got.first, &why), CY_OK);
		arena_reset(&a);
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		ck_assert_msg(seen[types[i]], "no payload %u", types[i]);
	arena_fini(&a);
}
END_TEST

START_TEST(cut_chains_are_refused)
{
	struct arena a;

	arena_init(&a, 0);
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct writer w = writer_of(bytes, 1500);
		struct wire_error why;
		struct payload *first;
		struct message m;
		uint8_t next;

		build(&a, seed * 0x9e3779b97f4a7c15ull, &m);
		if (wire_chain_encode(&m, &w, &next) == CY_OK)
			for (size_t n = 0; n < w.n; n++) {
				uint8_t *copy = malloc(n ? n : 1); /* of its exact size */

				memcpy(copy, bytes, n);
				ck_assert_int_ne(
				    wire_v1_chain_parse(&a, next, cy_slice(copy, n), true, &first, &why),
				    CY_OK);
				free(copy);
			}
		arena_reset(&a);
	}
	arena_fini(&a);
}
END_TEST

static enum cy_err parse(uint8_t next, const char *hex, struct arena *a, struct payload **first)
{
	struct cy_buf b = hex_bytes(hex);
	struct wire_error why;
	enum cy_err err = wire_v1_chain_parse(a, next, cy_slice(b.p, b.n), false, first, &why);
	uint8_t *copy = arena_dup(a, b.p, b.n);

	/* what was parsed points into it */
	if (!err)
		err = wire_v1_chain_parse(a, next, cy_slice(copy, b.n), false, first, &why);
	free(b.p);
	return err;
}

/* RFC 2408 3.4 to 3.6, RFC 2409 Appendix A: AES-CBC with 128 bits, SHA, group 2, pre-shared key, 28800 seconds */
#define SA_BODY                                                                                              \
	"00 00 0038 00000001 00000001 00 00 002c 01 01 00 01 00 00 0024 01 01 0000 8001 0007 800e 0080 8002" \
	"0002 8004 0002 8003 0001 800b 0001 800c 7080"

START_TEST(an_offer_of_phase_1)
{
	struct payload *p;
	struct arena a;

	arena_init(&a, 0);
	ck_assert_int_eq(parse(PAYLOAD_V1_SA, SA_BODY, &a, &p), CY_OK);
	ck_assert_uint_eq(p->u.sa1.doi, 1);
	ck_assert_uint_eq(p->u.sa1.n, 1);
	ck_assert_uint_eq(p->u.sa1.p[0].proto, 1);
	ck_assert_uint_eq(p->u.sa1.p[0].n, 1);
	ck_assert_uint_eq(p->u.sa1.p[0].t[0].id, 1);
	ck_assert_uint_eq(p->u.sa1.p[0].t[0].n, 7);
	ck_assert_uint_eq(p->u.sa1.p[0].t[0].attrs[1].type, 14);
	ck_assert(p->u.sa1.p[0].t[0].attrs[1].tv);
	ck_assert_uint_eq(p->u.sa1.p[0].t[0].attrs[6].data.p[0], 0x70);
	arena_fini(&a);
}
END_TEST

START_TEST(malformed_payloads_are_refused)
{
	static const struct {
		uint8_t type;
		const char *hex;
	} bad[] = {
	    /* DOI 2; situation 2; no transform; an attribute of 9 bytes in a transform of 12 */
	    {PAYLOAD_V1_SA, "00 00 0018 00000002 00000001 00 00 000c 01 01 00 00"},
	    {PAYLOAD_V1_SA, "00 00 0020 00000001 00000002 00 00 0014 01 01 00 01 00 00 0008 01 01 0000"},
	    {PAYLOAD_V1_SA, "00 00 0014 00000001 00000001 00 00 0008 01 01 00 00"},
	    {PAYLOAD_V1_SA,
	        "00 00 0024 00000001 00000001 00 00 0018 01 01 00 01 00 00 000c 01 01 0000 0001 0009"},
	    /* announces a proposal more */
	    {PAYLOAD_V1_SA, "00 00 001c 00000001 00000001 02 00 0010 01 01 00 01 00 00 0008 01 01 0000"},
	    /* an address of three bytes, a subnet of seven, a name of none */
	    {PAYLOAD_V1_ID, "00 00 000b 01 00 0000 0a0000"},
	    {PAYLOAD_V1_ID, "00 00 000f 04 00 0000 0a000000 ffff00"},
	    {PAYLOAD_V1_ID, "00 00 0008 02 00 0000"},
	    /* a nonce of seven bytes (RFC 2409, 5.) */
	    {PAYLOAD_V1_NONCE, "00 00 000b 01020304050607"},
	    /* SPIs that are not there */
	    {PAYLOAD_V1_DELETE, "00 00 0010 00000001 03 04 0002 01020304"},
	    {PAYLOAD_V1_NOTIFY, "00 00 000e 00000001 01 10 000e 0102"},
	    /* an IPv4 address of five bytes as an attribute */
	    {PAYLOAD_V1_CONFIG, "00 00 0011 01 00 0001 0001 0005 0102030405"},
	    /* after the last attribute something that is no padding, padding that could be an attribute, and none of IKEv1's */
	    {PAYLOAD_V1_CONFIG, "00 00 0012 02 00 0001 0001 0004 0a030001 0001"},
	    {PAYLOAD_V1_CONFIG, "00 00 0014 02 00 0001 0001 0008 0a030001 0000"},
	    {PAYLOAD_V1_SA,
	        "00 00 0026 00000001 00000001 00 00 001a 01 01 00 01 00 00 000e 01 01 0000 80010007 0000"},
	};
	struct payload *p;
	struct arena a;

	arena_init(&a, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(parse(bad[i].type, bad[i].hex, &a, &p) != CY_OK, "case %zu", i);
	arena_fini(&a);
}
END_TEST

/* As libreswan 4.10 answers: an address, and two bytes up to a multiple of four. */
START_TEST(padding_after_attributes)
{
	static const char *const good[] = {"00 00 0012 02 00 0001 0001 0004 0a030001 0000",
	    "00 00 0013 02 00 0001 0001 0004 0a030001 000000", "00 00 0010 02 00 0001 0001 0004 0a030001"};
	struct payload *p;
	struct arena a;

	arena_init(&a, 0);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		ck_assert_int_eq(parse(PAYLOAD_V1_CONFIG, good[i], &a, &p), CY_OK);
		ck_assert_uint_eq(p->u.config1.n, 1);
		ck_assert_uint_eq(p->u.config1.attrs[0].data.n, 4);
	}
	arena_fini(&a);
}
END_TEST

/* A Vendor ID of IKEv1 is of an unknown type to IKEv2, and a notify of IKEv2 to IKEv1. */
START_TEST(versions_do_not_mix)
{
	struct cy_buf vid = hex_bytes("00 00 0008 01020304");
	struct wire_error why;
	struct payload *p;
	struct arena a;

	arena_init(&a, 0);
	ck_assert_int_eq(wire_chain_parse(&a, PAYLOAD_V1_VENDOR, cy_slice(vid.p, vid.n), &p, &why), CY_OK);
	ck_assert(p->unknown);
	ck_assert_int_eq(
	    wire_v1_chain_parse(&a, PAYLOAD_NOTIFY, cy_slice(vid.p, vid.n), false, &p, &why), CY_OK);
	ck_assert(p->unknown);
	ck_assert_int_eq(
	    wire_v1_chain_parse(&a, PAYLOAD_V1_VENDOR, cy_slice(vid.p, vid.n), false, &p, &why), CY_OK);
	ck_assert(!p->unknown);
	free(vid.p);
	arena_fini(&a);
}
END_TEST

UNIT_TESTS(v1)
{
	tcase_add_test(tc, built_chains_read_the_same);
	tcase_add_test(tc, cut_chains_are_refused);
	tcase_add_test(tc, an_offer_of_phase_1);
	tcase_add_test(tc, malformed_payloads_are_refused);
	tcase_add_test(tc, padding_after_attributes);
	tcase_add_test(tc, versions_do_not_mix);
}
