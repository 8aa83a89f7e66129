/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker gets a datagram, and what is dropped and counted on the way. */
#include "net_bed.h"
#include "unit.h"

#include <string.h>

#include "libcore/base/addr.h"

#define QUEUE (16 << 20)

static void run(struct bed *b)
{
	for (uint32_t i = 0; i < processor_n(b->d.processor); i++)
		worker_step(processor_worker(b->d.processor, i), 100);
}

/* An IKE header alone (RFC 7296, 3.1), after a non-ESP marker when natt. */
static void inject_version(
    struct bed *b, uint8_t version, uint64_t spi_i, uint64_t spi_r, uint8_t flags, bool natt)
{
	uint8_t buf[4 + IKE_HEADER_LEN] = {0};
	struct writer w = writer_of(buf + (natt ? 4 : 0), IKE_HEADER_LEN);
	struct cy_dgram d = {.data = buf, .len = IKE_HEADER_LEN + (natt ? 4 : 0), .natt = natt};

	ck_assert_int_eq(addr_parse("192.0.2.1", &d.src), CY_OK);
	ck_assert_int_eq(addr_parse("192.0.2.2", &d.dst), CY_OK);
	write_u64(&w, spi_i);
	write_u64(&w, spi_r);
	write_u8(&w, PAYLOAD_NONE);
	write_u8(&w, version);
	write_u8(&w, EXCHANGE_INFORMATIONAL);
	write_u8(&w, flags);
	write_u32(&w, 1);
	write_u32(&w, IKE_HEADER_LEN);
	net_inject(b->net, NULL, &d);
	run(b);
}

static void inject(struct bed *b, uint64_t spi_i, uint64_t spi_r, uint8_t flags, bool natt)
{
	inject_version(b, 0x20, spi_i, spi_r, flags, natt);
}

START_TEST(an_spi_names_its_worker)
{
	static const uint32_t counts[] = {1, 2, 3, 7, 32, 200};

	for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
		struct bed b;

		bed_init(&b, counts[c], QUEUE);
		for (uint32_t w = 0; w < counts[c]; w++)
			for (int i = 0; i < 20; i++) {
				uint64_t spi = net_spi_new(b.net, &b.env, w);

				EXPECT(spi != 0);
				EXPECT(net_spi_owner(b.net, spi) == w);
				spi = net_cookie_new(b.net, &b.env, w);
				EXPECT(spi != 0);
				EXPECT(net_hash_owner(b.net, spi) == w);
			}
		/* of ESP in any range, at its ends, too */
		b.d.tune.spi_min = 4711;
		for (uint32_t width = counts[c] - 1; width < 1000; width += 37) {
			b.d.tune.spi_max = b.d.tune.spi_min + width;
			for (uint32_t w = 0; w < counts[c]; w++)
				for (int i = 0; i < 20; i++) {
					uint32_t spi = net_esp_spi_new(b.net, &b.env, w);

					EXPECT(spi >= b.d.tune.spi_min && spi <= b.d.tune.spi_max);
					EXPECT(net_esp_spi_owner(b.net, spi) == w);
				}
		}
		bed_fini(&b);
	}
}
END_TEST

/* The I flag tells which of the two SPIs is ours: a message of the initiator carries ours as SPIr. */
START_TEST(a_message_reaches_its_owner)
{
	struct bed b;

	bed_init(&b, 4, QUEUE);
	for (uint32_t w = 0; w < 4; w++) {
		uint64_t ours = net_spi_new(b.net, &b.env, w),
		         theirs = net_spi_new(b.net, &b.env, (w + 1) % 4);

		inject(&b, theirs, ours, IKE_FLAG_INITIATOR, false);
		ck_assert_uint_eq(b.worker, w);
		inject(&b, ours, theirs, IKE_FLAG_RESPONSE, true);
		ck_assert_uint_eq(b.worker, w);
	}
	ck_assert_uint_eq(b.delivered, 8);
	ck_assert_uint_eq(b.last_len, IKE_HEADER_LEN); /* without the marker */
	bed_fini(&b);
}
END_TEST

/* IKEv1: the initiator's cookie alone decides, whoever that is and whatever the flags say. */
START_TEST(a_cookie_reaches_its_owner)
{
	struct bed b;

	bed_init(&b, 4, QUEUE);
	for (uint32_t w = 0; w < 4; w++)
		for (uint8_t flags = 0; flags < 16; flags++) {
			uint64_t cookie = net_cookie_new(b.net, &b.env, w), other = env_rand64(&b.env);

			inject_version(&b, 0x10, cookie, 0, 0, false);
			ck_assert_uint_eq(b.worker, w);
			inject_version(&b, 0x10, cookie, other, flags, flags & 1);
			ck_assert_uint_eq(b.worker, w);
		}
	bed_fini(&b);
}
END_TEST

/* A first message has no SPI of ours; its retransmission must find the same worker. */
START_TEST(a_first_message_always_goes_to_the_same)
{
	struct bed b;
	unsigned seen[4] = {0};

	bed_init(&b, 4, QUEUE);
	for (uint64_t spi = 1; spi <= 400; spi++) {
		unsigned first;

		inject(&b, spi << 20, 0, IKE_FLAG_INITIATOR, false);
		first = b.worker;
		inject(&b, spi << 20, 0, IKE_FLAG_INITIATOR, false);
		EXPECT(b.worker == first);
		seen[first]++;
	}
	for (int i = 0; i < 4; i++)
		ck_assert_uint_gt(seen[i], 50); /* of 400: spread */
	bed_fini(&b);
}
END_TEST

START_TEST(what_is_no_ike_is_counted)
{
	struct bed b;
	struct net_counters c;
	uint8_t keepalive = 0xff, junk[3] = {0}, cut[20] = {0}, lying[IKE_HEADER_LEN] = {0};
	struct cy_dgram d = {.data = &keepalive, .len = 1, .natt = 1};

	bed_init(&b, 2, QUEUE);
	ck_assert_int_eq(addr_parse("192.0.2.1", &d.src), CY_OK);
	net_inject(b.net, NULL, &d);
	d.data = junk;
	d.len = sizeof(junk);
	net_inject(b.net, NULL, &d);
	d.data = cut;
	d.len = sizeof(cut);
	net_inject(b.net, NULL, &d);
	lying[27] = 200; /* a length that the datagram does not have */
	d.natt = 0;
	d.data = lying;
	d.len = sizeof(lying);
	net_inject(b.net, NULL, &d);
	run(&b);
	net_read_counters(b.net, &c);
	ck_assert_uint_eq(b.delivered, 0);
	ck_assert_uint_eq(c.rx_keepalive, 1);
	ck_assert_uint_eq(c.drop_short + c.drop_malformed, 3);
	ck_assert_uint_eq(c.rx_ike, 0);
	bed_fini(&b);
}
END_TEST

START_TEST(what_came_together_is_taken_apart)
{
	struct bed b;
	struct net_counters c;
	uint8_t buf[3 * (4 + IKE_HEADER_LEN)] = {0};
	struct cy_dgram d = {.data = buf, .natt = 1, .segment = 4 + IKE_HEADER_LEN};

	bed_init(&b, 2, QUEUE);
	ck_assert_int_eq(addr_parse("192.0.2.1", &d.src), CY_OK);
	for (uint32_t i = 0; i < 2; i++) {
		struct writer w = writer_of(buf + i * d.segment + 4, IKE_HEADER_LEN);

		write_u64(&w, 7);
		write_u64(&w, i + 1);
		write_u8(&w, PAYLOAD_NONE);
		write_u8(&w, 0x20);
		write_u8(&w, EXCHANGE_INFORMATIONAL);
		write_u8(&w, IKE_FLAG_INITIATOR);
		write_u32(&w, 1);
		write_u32(&w, IKE_HEADER_LEN);
	}
	/* two messages, and a keepalive, which is shorter */
	buf[2u * d.segment] = 0xff;
	d.len = 2u * d.segment + 1;
	net_inject(b.net, NULL, &d);
	run(&b);
	net_read_counters(b.net, &c);
	ck_assert_uint_eq(b.delivered, 2);
	ck_assert_uint_eq(b.last_len, IKE_HEADER_LEN);
	ck_assert_uint_eq(c.rx_ike, 2);
	ck_assert_uint_eq(c.rx_keepalive, 1);
	ck_assert_uint_eq(c.drop_short + c.drop_malformed, 0);
	bed_fini(&b);
}
END_TEST

UNIT_TESTS(steering)
{
	tcase_add_test(tc, an_spi_names_its_worker);
	tcase_add_test(tc, a_message_reaches_its_owner);
	tcase_add_test(tc, a_cookie_reaches_its_owner);
	tcase_add_test(tc, a_first_message_always_goes_to_the_same);
	tcase_add_test(tc, what_is_no_ike_is_counted);
	tcase_add_test(tc, what_came_together_is_taken_apart);
}
