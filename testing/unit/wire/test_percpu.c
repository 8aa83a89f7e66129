/* SPDX-License-Identifier: Apache-2.0 */
/* What two daemons said to each other about SAs of CPUs is understood, printed and built again as it was (RFC 9611, 5). */
#include "unit.h"

#include "daemon/wire/message.h"
#include "hex.h"
#include "libcore/base/rw.h"
#include "percpu.h"

static int cpu_of(const struct payload *first)
{
	const struct payload *n = wire_find_notify(first, N_SA_RESOURCE_INFO);
	struct cy_slice data;

	if (!n)
		return -2;
	data = n->u.notify.data;
	if (!data.n)
		return -1;
	ck_assert_uint_eq(data.n, 4);
	return data.p[0] << 24 | data.p[1] << 16 | data.p[2] << 8 | data.p[3];
}

static void check(const struct percpu_message *from)
{
	const struct ike_header h = {
	    .exchange = from->exchange, .flags = from->flags, .msgid = from->msgid, .major = 2};
	struct cy_buf b = hex_bytes(from->hex);
	uint8_t again[2048], next;
	struct writer w = writer_of(again, sizeof(again));
	struct message m = {.h = h};
	struct wire_error why;
	struct arena arena;
	char text[400];

	arena_init(&arena, 0);
	ck_assert_msg(wire_chain_parse(&arena, from->next, cy_slice(b.p, b.n), &m.first, &why) == CY_OK, "%s",
	    why.text);
	ck_assert_msg(wire_check(&h, m.first, true, &why) == CY_OK, "%s: %s", from->text, why.text);
	ck_assert_str_eq(wire_print(&h, m.first, text, sizeof(text)), from->text);
	ck_assert_int_eq(cpu_of(m.first), from->cpu);
	ck_assert_int_eq(
	    wire_find_notify(m.first, N_TS_MAX_QUEUE) != NULL, strstr(from->text, "TS_MAX_QUEUE") != NULL);
	ck_assert_int_eq(wire_chain_encode(&m, &w, &next), CY_OK);
	ck_assert_uint_eq(next, from->next);
	ck_assert_mem_eq(again, b.p, b.n);
	ck_assert_uint_eq(w.n, b.n);
	arena_fini(&arena);
	free(b.p);
}

START_TEST(with_a_peer_that_knows_it)
{
	for (size_t i = 0; i < sizeof(percpu_known) / sizeof(percpu_known[0]); i++)
		check(&percpu_known[i]);
}
END_TEST

START_TEST(with_one_that_does_not)
{
	for (size_t i = 0; i < sizeof(percpu_not_known) / sizeof(percpu_not_known[0]); i++)
		check(&percpu_not_known[i]);
}
END_TEST

UNIT_TESTS(percpu)
{
	tcase_add_test(tc, with_a_peer_that_knows_it);
	tcase_add_test(tc, with_one_that_does_not);
}
