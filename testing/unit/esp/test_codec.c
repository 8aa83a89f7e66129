/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "rig.h"

/* Every transform that a CHILD_SA may have: key with salt, and separate integrity. */
static const struct suite {
	uint16_t encr;
	uint8_t key_len;
	uint16_t integ;
	uint8_t integ_len;
} suites[] = {
    {CY_ENCR_AES_GCM_8, 20, 0, 0},
    {CY_ENCR_AES_GCM_12, 28, 0, 0},
    {CY_ENCR_AES_GCM_16, 20, 0, 0},
    {CY_ENCR_AES_GCM_16, 36, 0, 0},
    {CY_ENCR_AES_CCM_8, 19, 0, 0},
    {CY_ENCR_AES_CCM_12, 27, 0, 0},
    {CY_ENCR_AES_CCM_16, 35, 0, 0},
    {CY_ENCR_CHACHA20_POLY1305, 36, 0, 0},
    {CY_ENCR_NULL_AES_GMAC, 20, 0, 0},
    {CY_ENCR_AES_CTR, 20, CY_INTEG_HMAC_SHA1_96, 20},
    {CY_ENCR_AES_CTR, 36, CY_INTEG_HMAC_SHA2_512_256, 64},
    {CY_ENCR_AES_CBC, 16, CY_INTEG_HMAC_SHA1_96, 20},
    {CY_ENCR_AES_CBC, 24, CY_INTEG_HMAC_SHA2_256_128, 32},
    {CY_ENCR_AES_CBC, 32, CY_INTEG_HMAC_SHA2_384_192, 48},
    {CY_ENCR_AES_CBC, 16, CY_INTEG_HMAC_MD5_96, 16},
    {CY_ENCR_AES_CBC, 16, CY_INTEG_AES_XCBC_96, 16},
    {CY_ENCR_AES_CBC, 16, CY_INTEG_AES_CMAC_96, 16},
    {CY_ENCR_CAMELLIA_CBC, 16, CY_INTEG_HMAC_SHA2_256_128, 32},
    {CY_ENCR_3DES, 24, CY_INTEG_HMAC_SHA1_96, 20},
    {CY_ENCR_NULL, 0, CY_INTEG_HMAC_SHA2_256_128, 32},
};
#define N_SUITES (sizeof(suites) / sizeof(suites[0]))

struct ends {
	struct rig r;
	struct rig_sa out, in;
	struct sa *tx, *rx;
	struct cy_dgram d;
	uint8_t room[ESP_HEADROOM + RIG_BUF + ESP_TAILROOM];
};

static struct ends e;

static void ends_init(const struct suite *s, bool esn)
{
	memset(&e, 0, sizeof(e));
	ck_assert(rig_init(&e.r, TEST_PLUGIN_DIR));
	rig_sa_init(&e.out, CY_DIR_OUT, 0x1000, s->encr, s->key_len, s->integ, s->integ_len);
	rig_sa_init(&e.in, CY_DIR_IN, 0x1000, s->encr, s->key_len, s->integ, s->integ_len);
	e.out.in.esn = e.in.in.esn = esn;
	e.d.src = e.in.in.src;
}

static void ends_open(void)
{
	e.tx = rig_sa_add(&e.r, &e.out);
	e.rx = rig_sa_add(&e.r, &e.in);
}

static uint8_t *room(void)
{
	return e.room + ESP_HEADROOM;
}

static struct cy_buf seal(size_t len)
{
	struct cy_buf esp;

	ck_assert_int_eq(
	    esp_encode(&e.r.esp, e.tx, room(), len, sizeof(e.room) - ESP_HEADROOM - len, &esp), CY_OK);
	return esp;
}

static enum cy_err open_it(struct cy_buf esp, struct cy_buf *inner)
{
	return esp_decode(&e.r.esp, e.rx, &e.d, esp.p, esp.n, inner);
}

START_TEST(round_trips)
{
	const struct suite *s = &suites[_i];

	for (int esn = 0; esn < 2; esn++) {
		ends_init(s, esn);
		ends_open();
		if (esn) {
			/* over the border of two subspaces */
			atomic_store(&e.tx->seq, 0xfffffff0);
			e.rx->replay.top = 0xfffffff0;
		}
		for (size_t len = 28; len < 92; len++)
			for (int v6 = 0; v6 < 2; v6++) {
				uint8_t plain[128];
				struct cy_buf esp, inner;

				if (v6 && len < 48)
					continue;
				rig_packet(plain, len, v6 ? "fd01::1" : "10.1.0.1", 7,
				    v6 ? "fd02::1" : "10.2.0.1", 9);
				memcpy(room(), plain, len);
				esp = seal(len);
				EXPECT(get_be32(esp.p) == 0x1000);
				EXPECT(get_be32(esp.p + 4) == (uint32_t)atomic_load(&e.tx->seq));
				EXPECT((esp.n - 8 - e.tx->iv_len - e.tx->icv_len) % e.tx->align == 0);
				/* not in clear, unless that is what was asked for */
				EXPECT(s->encr == CY_ENCR_NULL || s->encr == CY_ENCR_NULL_AES_GMAC ||
				    memcmp(room(), plain, len) != 0);
				EXPECT(open_it(esp, &inner) == CY_OK);
				EXPECT(inner.n == len && memcmp(inner.p, plain, len) == 0);
			}
		ck_assert_uint_eq(rig_total(&e.r), 0);
		ck_assert_uint_eq(atomic_load(&e.rx->packets), 64 + 44);
		ck_assert_uint_eq(atomic_load(&e.rx->bytes), atomic_load(&e.tx->bytes));
		rig_fini(&e.r);
	}
}
END_TEST

/* No bit of a packet can be changed, and no byte cut off. */
START_TEST(every_byte_is_protected)
{
	uint8_t good[256];
	struct cy_buf esp, inner;
	size_t len;

	for (int esn = 0; esn < 2; esn++) {
		ends_init(&suites[_i], esn);
		ends_open();
		esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));
		len = esp.n;
		memcpy(good, esp.p, len);
		for (size_t i = 4; i < len; i++) { /* the SPI chose the SA */
			memcpy(esp.p, good, len);
			esp.p[i] ^= (uint8_t)(1u << (i % 8));
			EXPECT(open_it(esp, &inner) == CY_E_AUTH);
		}
		for (size_t n = 0; n < len; n++) {
			memcpy(esp.p, good, len);
			EXPECT(open_it((struct cy_buf){esp.p, n}, &inner) != CY_OK);
		}
		/* with the other high half */
		memcpy(esp.p, good, len);
		e.rx->replay.top = 1ull << 32;
		EXPECT(open_it(esp, &inner) == (esn ? CY_E_AUTH : CY_E_DENIED));
		e.rx->replay.top = 0;
		memcpy(esp.p, good, len);
		EXPECT(open_it(esp, &inner) == CY_OK);
		EXPECT(inner.n == 60);
		rig_fini(&e.r);
	}
}
END_TEST

START_TEST(numbers_are_never_used_twice)
{
	struct cy_buf esp;

	ends_init(&suites[2], false);
	ends_open();
	atomic_store(&e.tx->seq, 0xfffffffe);
	esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));
	ck_assert_uint_eq(get_be32(esp.p + 4), 0xffffffff);
	ck_assert_uint_eq(e.r.n_soft, 1);
	ck_assert_uint_eq(e.r.n_hard, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(esp_encode(&e.r.esp, e.tx, room(), 60, ESP_TAILROOM, &esp), CY_E_LIMIT);
	ck_assert_uint_eq(e.r.n_hard, 1);
	ck_assert_uint_eq(e.r.last_id.spi, 0x1000);
	ck_assert_uint_eq(rig_count(&e.r, CNT_OUT_SEQ), 1);
	ck_assert_uint_eq(rig_count(&e.r, CNT_OUT_EXPIRED), 2);
	rig_fini(&e.r);

	ends_init(&suites[2], true);
	ends_open();
	atomic_store(&e.tx->seq, 0xffffffff);
	esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));
	ck_assert_uint_eq(get_be32(esp.p + 4), 0);
	ck_assert_uint_eq(e.r.n_soft, 0);
	atomic_store(&e.tx->seq, UINT64_MAX - 2);
	seal(60);
	ck_assert_int_eq(esp_encode(&e.r.esp, e.tx, room(), 60, ESP_TAILROOM, &esp), CY_E_LIMIT);
	ck_assert_int_eq(esp_encode(&e.r.esp, e.tx, room(), 60, ESP_TAILROOM, &esp), CY_E_LIMIT);
	ck_assert_uint_eq(e.r.n_hard, 1);
	rig_fini(&e.r);
}
END_TEST

START_TEST(ivs_are_never_the_same)
{
	static const size_t which[] = {2, 9, 11};

	for (size_t k = 0; k < 3; k++) {
		static uint8_t iv[600][16];

		ends_init(&suites[which[k]], false);
		ends_open();
		memset(iv, 0, sizeof(iv));
		for (int i = 0; i < 600; i++) {
			struct cy_buf esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));

			memcpy(iv[i], esp.p + 8, e.tx->iv_len);
			for (int j = 0; j < i; j++)
				EXPECT(memcmp(iv[i], iv[j], 16) != 0);
		}
		rig_fini(&e.r);
	}
}
END_TEST

START_TEST(esn_is_found_again)
{
	struct cy_buf esp, inner;
	enum cy_err err = CY_E_AUTH;
	int n;

	ends_init(&suites[_i], true);
	ends_open();
	/* 3 * 2^32 packets were lost */
	atomic_store(&e.tx->seq, 0x300000005);
	for (n = 0; n < 200 && err != CY_OK; n++) {
		esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));
		err = open_it(esp, &inner);
	}
	ck_assert_int_eq(err, CY_OK);
	ck_assert_int_gt(n, 32);
	ck_assert_uint_eq(inner.n, 60);
	ck_assert_uint_eq(rig_count(&e.r, CNT_IN_RESYNC), 1);
	ck_assert_uint_eq(e.rx->replay.top, atomic_load(&e.tx->seq));
	esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));
	ck_assert_int_eq(open_it(esp, &inner), CY_OK);
	/* forgeries make it try, but not believe, nor try each time */
	for (n = 0; n < 1000; n++) {
		esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));
		esp.p[esp.n - 1] ^= 1;
		EXPECT(open_it(esp, &inner) == CY_E_AUTH);
	}
	ck_assert_uint_eq(rig_count(&e.r, CNT_IN_RESYNC), 1);
	rig_fini(&e.r);
}
END_TEST

START_TEST(tfc_padding)
{
	static const uint32_t pads[] = {0, 61, 200, 1000, UINT32_MAX};

	for (size_t i = 0; i < 5; i++) {
		struct cy_buf esp, inner;
		size_t body;

		ends_init(&suites[2], false);
		e.out.in.tfc_pad = pads[i];
		ends_open();
		esp = seal(rig_packet(room(), 60, "10.1.0.1", 7, "10.2.0.1", 9));
		body = esp.n - 8 - 8 - 16;
		if (pads[i] == UINT32_MAX)
			ck_assert_uint_eq(esp.n + 28, 1500);
		else
			ck_assert_uint_ge(body, pads[i] + 2);
		ck_assert_int_eq(open_it(esp, &inner), CY_OK);
		ck_assert_uint_eq(inner.n, 60);
		rig_fini(&e.r);
	}
	/* where there is no room for it, there is none */
	ends_init(&suites[2], false);
	e.out.in.tfc_pad = 1400;
	ends_open();
	{
		uint8_t small[ESP_HEADROOM + 60 + ESP_TAILROOM];
		struct cy_buf esp;

		rig_packet(small + ESP_HEADROOM, 60, "10.1.0.1", 7, "10.2.0.1", 9);
		ck_assert_int_eq(
		    esp_encode(&e.r.esp, e.tx, small + ESP_HEADROOM, 60, ESP_TAILROOM, &esp), CY_OK);
		ck_assert_uint_lt(esp.n, 120);
	}
	rig_fini(&e.r);
}
END_TEST

START_TEST(longest_inner_packet)
{
	for (size_t i = 0; i < N_SUITES; i++) {
		struct cy_buf esp;
		size_t max;

		ends_init(&suites[i], false);
		ends_open();
		max = esp_max_inner(e.tx, 1500);
		esp = seal(rig_packet(room(), max, "10.1.0.1", 7, "10.2.0.1", 9));
		EXPECT(esp.n + 28 <= 1500);
		esp = seal(rig_packet(room(), max + 1, "10.1.0.1", 7, "10.2.0.1", 9));
		EXPECT(esp.n + 28 > 1500);
		rig_fini(&e.r);
	}
}
END_TEST

UNIT_TESTS(codec)
{
	tcase_add_loop_test(tc, round_trips, 0, (int)N_SUITES);
	tcase_add_loop_test(tc, every_byte_is_protected, 0, (int)N_SUITES);
	tcase_add_loop_test(tc, esn_is_found_again, 0, (int)N_SUITES);
	tcase_add_test(tc, numbers_are_never_used_twice);
	tcase_add_test(tc, ivs_are_never_the_same);
	tcase_add_test(tc, tfc_padding);
	tcase_add_test(tc, longest_inner_packet);
}
