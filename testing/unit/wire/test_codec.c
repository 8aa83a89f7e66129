/* SPDX-License-Identifier: Apache-2.0 */
/* What is built can be read, and says the same: random valid messages from seeds. CYGNET_SEED=N tries one seed. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/wire/codec.h"
#include "daemon/wire/generate.h"

#define SEEDS   4000
#define BIGGEST 65535

static uint8_t bytes[BIGGEST], again[BIGGEST];
static char dump[1 << 20], dump_again[1 << 20];

static void round_trip(uint64_t seed)
{
	uint64_t s = seed;
	struct writer w = writer_of(bytes, sizeof(bytes)), w2 = writer_of(again, sizeof(again));
	struct wire_error why;
	struct message m, got;
	struct arena a;
	bool encrypted;
	enum cy_err err;

	arena_init(&a, 0);
	ck_assert_int_eq(wire_generate(&a, &s, &m, &encrypted), CY_OK);
	err = wire_message_encode(&m, &w);
	ck_assert_msg(err == CY_OK, "seed %llu: encode: %d", (unsigned long long)seed, err);
	err = wire_message_parse(&a, writer_slice(&w), &got, &why);
	ck_assert_msg(err == CY_OK, "seed %llu: %s", (unsigned long long)seed, why.text);
	ck_assert_uint_eq(got.h.spi_i, m.h.spi_i);
	ck_assert_uint_eq(got.h.spi_r, m.h.spi_r);
	ck_assert_uint_eq(got.h.msgid, m.h.msgid);
	ck_assert_uint_eq(got.h.flags, m.h.flags);
	ck_assert_uint_eq(got.h.exchange, m.h.exchange);
	ck_assert_uint_eq(got.h.length, w.n);
	wire_dump(m.first, dump, sizeof(dump));
	wire_dump(got.first, dump_again, sizeof(dump_again));
	ck_assert_msg(
	    strcmp(dump, dump_again) == 0, "seed %llu:\n%s\n%s", (unsigned long long)seed, dump, dump_again);
	err = wire_check(&got.h, got.first, encrypted, &why);
	ck_assert_msg(err == CY_OK, "seed %llu: %s", (unsigned long long)seed, why.text);
	ck_assert_int_eq(wire_message_encode(&got, &w2), CY_OK);
	ck_assert_uint_eq(w2.n, w.n);
	ck_assert_mem_eq(again, bytes, w.n);
	/* what was parsed can be added to */
	ck_assert(message_nonce(&a, &got, cy_slice(bytes, 16)));
	ck_assert_ptr_nonnull(wire_find(got.first, PAYLOAD_NONCE));
	arena_fini(&a);
}

START_TEST(built_messages_read_the_same)
{
	const char *one = getenv("CYGNET_SEED");

	if (one) {
		round_trip(strtoull(one, NULL, 0));
		return;
	}
	for (uint64_t seed = 0; seed < SEEDS; seed++)
		round_trip(seed);
}
END_TEST

/* Every kind of payload comes out of the generator: otherwise the test above says less than it seems. */
START_TEST(generator_knows_every_payload)
{
	bool seen[256] = {false};
	struct message m;
	struct arena a;
	bool encrypted;

	arena_init(&a, 0);
	for (uint64_t seed = 0; seed < 2000; seed++) {
		uint64_t s = seed;

		ck_assert_int_eq(wire_generate(&a, &s, &m, &encrypted), CY_OK);
		for (const struct payload *p = m.first; p; p = p->next)
			seen[p->type] = true;
		arena_reset(&a);
	}
	for (int type = 0; type < 256; type++)
		ck_assert_msg(wire_payload((uint8_t)type)->major != 2 || seen[type], "no %s",
		    wire_payload((uint8_t)type)->text);
	arena_fini(&a);
}
END_TEST

/* Cut anywhere, a chain is no chain; and a datagram with a wrong length is refused before anything else. */
START_TEST(cut_messages_are_refused)
{
	struct wire_error why;
	struct payload *first;
	struct message m;
	struct arena a;
	bool encrypted;

	arena_init(&a, 0);
	for (uint64_t seed = 0; seed < 150; seed++) {
		uint64_t s = seed;
		struct writer w = writer_of(bytes, 1500);
		uint8_t next;

		ck_assert_int_eq(wire_generate(&a, &s, &m, &encrypted), CY_OK);
		if (!m.first || m.first->type == PAYLOAD_SK || m.first->type == PAYLOAD_SKF)
			continue;
		if (wire_chain_encode(&m, &w, &next))
			continue;
		for (size_t n = 0; n < w.n; n++) {
			/* a heap copy, so that a read behind the end shows */
			uint8_t *cut = malloc(n ? n : 1);

			memcpy(cut, bytes, n);
			ck_assert_int_ne(wire_chain_parse(&a, next, cy_slice(cut, n), &first, &why), CY_OK);
			ck_assert_uint_eq(why.notify, N_INVALID_SYNTAX);
			ck_assert_uint_gt(strlen(why.text), 0);
			free(cut);
		}
		arena_reset(&a);
	}
	arena_fini(&a);
}
END_TEST

/* Any byte may be anything: no more is asked than an answer, with words when it is no. */
START_TEST(changed_messages_are_read_or_refused)
{
	uint64_t noise = 1;
	struct wire_error why;
	struct message m, got;
	struct arena a;
	bool encrypted;

	arena_init(&a, 0);
	for (uint64_t seed = 0; seed < 3000; seed++) {
		uint64_t s = seed;
		struct writer w = writer_of(bytes, sizeof(bytes));
		uint8_t *copy;

		ck_assert_int_eq(wire_generate(&a, &s, &m, &encrypted), CY_OK);
		ck_assert_int_eq(wire_message_encode(&m, &w), CY_OK);
		for (int i = 0; i < 3; i++) {
			noise = noise * 6364136223846793005ull + 1442695040888963407ull;
			bytes[16 + (noise >> 33) % (w.n - 16)] ^= (uint8_t)(1u << (noise >> 20 & 7));
		}
		copy = malloc(w.n);
		memcpy(copy, bytes, w.n);
		if (wire_message_parse(&a, cy_slice(copy, w.n), &got, &why) == CY_OK) {
			if (wire_check(&got.h, got.first, encrypted, &why))
				ck_assert_uint_gt(strlen(why.text), 0);
			wire_dump(got.first, dump, sizeof(dump));
			wire_print(&got.h, got.first, dump, 80);
		} else {
			ck_assert_uint_gt(strlen(why.text), 0);
		}
		free(copy);
		arena_reset(&a);
	}
	arena_fini(&a);
}
END_TEST

START_TEST(tables_are_in_order)
{
	for (size_t i = 1; i < wire_n_notifies; i++)
		ck_assert_uint_lt(wire_notifies[i - 1].type, wire_notifies[i].type);
	for (size_t i = 1; i < wire_n_attrs; i++)
		ck_assert_uint_lt(wire_attrs[i - 1].type, wire_attrs[i].type);
	for (size_t i = 0; i < wire_n_notifies; i++)
		ck_assert_ptr_nonnull(name_of(notify_names, wire_notifies[i].type));
	ck_assert_ptr_eq(wire_notify_bounds(N_COOKIE)->type == N_COOKIE ? NULL : bytes, NULL);
	ck_assert_ptr_null(wire_notify_bounds(20000));
	ck_assert_uint_eq(wire_notify_bounds(N_NAT_DETECTION_SOURCE_IP)->max, 20);
	ck_assert_uint_eq(wire_attr_bounds(CFG_INTERNAL_IP4_SUBNET)->min, 8);
	ck_assert_ptr_null(wire_attr_bounds(5));
}
END_TEST

/* A full writer is an answer, not an overflow; every size up to the one that fits. */
START_TEST(small_buffers_are_refused)
{
	struct message m;
	struct arena a;
	bool encrypted;
	uint64_t s = 7;

	arena_init(&a, 0);
	ck_assert_int_eq(wire_generate(&a, &s, &m, &encrypted), CY_OK);
	for (size_t cap = 0;; cap++) {
		uint8_t *buf = malloc(cap ? cap : 1);
		struct writer w = writer_of(buf, cap);
		enum cy_err err = wire_message_encode(&m, &w);

		free(buf);
		if (!err)
			break;
		ck_assert_int_eq(err, CY_E_SHORT);
		ck_assert_uint_lt(cap, BIGGEST);
	}
	arena_fini(&a);
}
END_TEST

START_TEST(what_does_not_fit_is_not_built)
{
	struct ike_header h = {.exchange = EXCHANGE_INFORMATIONAL};
	static uint8_t big[70000];
	uint8_t out[70100];
	struct message m;
	struct arena a;
	struct writer w;
	uint8_t next;

	arena_init(&a, 0);
	message_init(&m, &h);
	ck_assert(message_ke(&a, &m, 31, cy_slice(big, sizeof(big))));
	w = writer_of(out, sizeof(out));
	ck_assert_int_eq(wire_chain_encode(&m, &w, &next), CY_E_INVAL);
	message_init(&m, &h);
	ck_assert(message_ke(&a, &m, 31, cy_slice(big, 65535)));
	w = writer_of(out, sizeof(out));
	ck_assert_int_eq(wire_chain_encode(&m, &w, &next), CY_E_LIMIT);
	message_init(&m, &h);
	ck_assert(message_nonce(&a, &m, cy_slice(big, 15)));
	w = writer_of(out, sizeof(out));
	ck_assert_int_eq(wire_chain_encode(&m, &w, &next), CY_E_INVAL);
	message_init(&m, &h);
	ck_assert(message_sa(&a, &m, NULL, 0));
	w = writer_of(out, sizeof(out));
	ck_assert_int_eq(wire_chain_encode(&m, &w, &next), CY_E_INVAL);
	/* not even a message_delete of more than fits */
	ck_assert(!message_delete(&a, &m, PROTO_ESP, (const uint32_t *)(const void *)big, 16384));
	arena_fini(&a);
}
END_TEST

UNIT_TESTS(codec)
{
	tcase_add_test(tc, built_messages_read_the_same);
	tcase_add_test(tc, generator_knows_every_payload);
	tcase_add_test(tc, cut_messages_are_refused);
	tcase_add_test(tc, changed_messages_are_read_or_refused);
	tcase_add_test(tc, tables_are_in_order);
	tcase_add_test(tc, small_buffers_are_refused);
	tcase_add_test(tc, what_does_not_fit_is_not_built);
}
