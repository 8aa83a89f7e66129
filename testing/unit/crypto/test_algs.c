/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ciphers, MACs and key exchange beyond the vectors of the known-answer tests, which registering them has run already: ESP
 * packets as published, wrong use, forgery, invalid public values.
 */

#include <stdlib.h>

#include "crypto_host.h"
#include "libcore/base/err.h"
#include "libcore/crypto/kat.h"
#include "unit.h"
#include "vectors_gcm.h"

static struct crypto_host *host;
static struct crypto *crypto;

static void setup(void)
{
	host = crypto_host_new("openssl", NULL);
	if (host)
		crypto = crypto_host_crypto(host);
}

static void teardown(void)
{
	if (host)
		crypto_host_free(host);
}

static size_t hex(const char *text, uint8_t *out, size_t cap)
{
	uint8_t *p;
	size_t n;

	ck_assert(kat_hex(text, &p, &n));
	ck_assert_uint_le(n, cap);
	memcpy(out, p, n);
	free(p);
	return n;
}

START_TEST(esp_packets)
{
	static const uint16_t ids[] = {CY_ENCR_AES_GCM_8, CY_ENCR_AES_GCM_12, CY_ENCR_AES_GCM_16};
	uint8_t key[32], nonce[12], data[128], aad[16], want[128], icv[16], tag[16];

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(esp_gcm) * ARRAY_LEN(ids); i++) {
		size_t v = i / ARRAY_LEN(ids), n_key = hex(esp_gcm[v].key, key, sizeof(key)),
		       n = hex(esp_gcm[v].plain, data, sizeof(data)),
		       n_aad = hex(esp_gcm[v].aad, aad, sizeof(aad));
		const struct cy_cipher_alg *alg =
		    crypto_cipher(crypto, ids[i % ARRAY_LEN(ids)], (uint16_t)(8 * n_key));
		void *ctx;

		ck_assert_ptr_nonnull(alg);
		ck_assert_uint_eq(hex(esp_gcm[v].nonce, nonce, sizeof(nonce)), 12);
		ck_assert_uint_eq(hex(esp_gcm[v].icv, icv, sizeof(icv)), 16);
		ck_assert_uint_eq(hex(esp_gcm[v].crypted, want, sizeof(want)), n);
		ck_assert_int_eq(alg->ctx_new(alg, &ctx), CY_OK);
		ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, n_key), true), CY_OK);
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, 12), cy_slice(aad, n_aad), data, n, tag), CY_OK);
		ck_assert_mem_eq(data, want, n);
		ck_assert_mem_eq(tag, icv, alg->icv_len);
		ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, n_key), false), CY_OK);
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, 12), cy_slice(aad, n_aad), data, n, icv), CY_OK);
		(void)hex(esp_gcm[v].plain, want, sizeof(want));
		ck_assert_mem_eq(data, want, n);
		alg->ctx_free(ctx);
	}
}
END_TEST

static const struct {
	uint16_t id, bits;
} aeads[] = {
    {CY_ENCR_AES_GCM_16, 128},
    {CY_ENCR_AES_GCM_12, 192},
    {CY_ENCR_AES_GCM_8, 256},
    {CY_ENCR_AES_CCM_16, 128},
    {CY_ENCR_AES_CCM_12, 192},
    {CY_ENCR_AES_CCM_8, 256},
    {CY_ENCR_NULL_AES_GMAC, 128},
    {CY_ENCR_CHACHA20_POLY1305, 256},
};

/* One changed bit anywhere, in the text, the AAD, the nonce's IV, or the ICV, and the packet is refused. */
START_TEST(forgeries)
{
	uint8_t key[32] = {1}, packet[16 + 8 + 33 + 16], again[sizeof(packet)];

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(aeads); i++) {
		const struct cy_cipher_alg *alg = crypto_cipher(crypto, aeads[i].id, aeads[i].bits);
		size_t n_nonce = (size_t)alg->salt_len + alg->iv_len;
		uint8_t *nonce = packet, *aad = packet + 16, *data = aad + 8, *tag = data + 33;
		struct cy_slice k = cy_slice(key, aeads[i].bits / 8);
		void *ctx;

		memset(packet, 0x5a, sizeof(packet));
		ck_assert_int_eq(alg->ctx_new(alg, &ctx), CY_OK);
		ck_assert_int_eq(alg->ctx_key(ctx, k, true), CY_OK);
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, n_nonce), cy_slice(aad, 8), data, 33, tag), CY_OK);
		ck_assert_int_eq(alg->ctx_key(ctx, k, false), CY_OK);
		for (size_t bit = 0; bit < 8 * sizeof(packet); bit++) {
			size_t at = bit / 8;

			memcpy(again, packet, sizeof(packet));
			packet[at] ^= (uint8_t)(1 << bit % 8);
			if ((at >= n_nonce && at < 16) || at >= (size_t)(tag - packet) + alg->icv_len) {
				packet[at] = again[at]; /* not part of it */
				continue;
			}
			ck_assert_msg(alg->crypt(ctx, cy_slice(nonce, n_nonce), cy_slice(aad, 8), data, 33,
			                  tag) == CY_E_AUTH,
			    "cipher %u byte %zu", alg->id, at);
			memcpy(packet, again, sizeof(packet));
		}
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, n_nonce), cy_slice(aad, 8), data, 33, tag), CY_OK);
		for (size_t b = 0; b < 33; b++)
			ck_assert_uint_eq(data[b], 0x5a);
		alg->ctx_free(ctx);
	}
}
END_TEST

/* What is encrypted comes back for every length, and contexts may change between key lengths and directions. */
START_TEST(all_lengths)
{
	uint8_t key[32] = {7}, nonce[16] = {9}, aad[8] = {1}, text[100], data[100], tag[16];

	if (!host)
		return;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)i;
	for (const struct kat_cipher *v = kat_ciphers; v->id; v++) {
		const struct cy_cipher_alg *alg = crypto_cipher(crypto, v->id, v->key_bits);
		struct cy_slice n;
		void *ctx;

		ck_assert_int_eq(alg->ctx_new(alg, &ctx), CY_OK);
		n = cy_slice(nonce, (size_t)alg->salt_len + alg->iv_len);
		for (size_t len = 0; len <= sizeof(text); len++) {
			uint16_t bits = alg->key_bits[len % alg->n_key_bits];
			enum cy_err err;

			memcpy(data, text, sizeof(text));
			ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, bits / 8), true), CY_OK);
			err = alg->crypt(ctx, n, cy_slice(aad, 8), data, len, tag);
			if (len % alg->block_len) {
				ck_assert_int_eq(err, CY_E_INVAL);
				continue;
			}
			if (len == 0 && alg->salt_len == 3)
				continue; /* CCM does not do nothing */
			ck_assert_int_eq(err, CY_OK);
			/* nothing is written behind the text */
			ck_assert_mem_eq(data + len, text + len, sizeof(text) - len);
			if (len >= 16 && alg->id != CY_ENCR_NULL && alg->id != CY_ENCR_NULL_AES_GMAC)
				ck_assert_mem_ne(data, text, len);
			ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, bits / 8), false), CY_OK);
			ck_assert_int_eq(alg->crypt(ctx, n, cy_slice(aad, 8), data, len, tag), CY_OK);
			ck_assert_mem_eq(data, text, sizeof(text));
		}
		alg->ctx_free(ctx);
	}
}
END_TEST

START_TEST(wrong_use)
{
	uint8_t key[33] = {1}, nonce[17] = {2}, data[16] = {3}, tag[16];

	if (!host)
		return;
	for (const struct kat_cipher *v = kat_ciphers; v->id; v++) {
		const struct cy_cipher_alg *alg = crypto_cipher(crypto, v->id, v->key_bits);
		size_t n = (size_t)alg->salt_len + alg->iv_len;
		void *ctx;

		ck_assert_int_eq(alg->ctx_new(alg, &ctx), CY_OK);
		/* no key yet */
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, n), cy_slice(NULL, 0), data, 16, tag), CY_E_INVAL);
		ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, 33), true), CY_E_INVAL);
		ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, 5), true), CY_E_INVAL);
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, n), cy_slice(NULL, 0), data, 16, tag), CY_E_INVAL);
		ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, v->key_bits / 8), true), CY_OK);
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, n + 1), cy_slice(NULL, 0), data, 16, tag), CY_E_INVAL);
		ck_assert_int_eq(
		    alg->crypt(ctx, cy_slice(nonce, n), cy_slice(NULL, 0), data, 16, tag), CY_OK);
		alg->ctx_free(ctx);
		alg->ctx_free(NULL);
	}
	for (const struct kat_mac *v = kat_macs; v->id; v++) {
		const struct cy_mac_alg *alg = crypto_mac(crypto, v->id);
		struct cy_slice in = cy_slice(data, sizeof(data));
		uint8_t out[CY_MAX_MAC_LEN];
		void *ctx;

		ck_assert_int_eq(alg->ctx_new(alg, &ctx), CY_OK);
		ck_assert_int_eq(alg->mac(ctx, &in, 1, out), CY_E_INVAL);
		if (alg->key_len)
			ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, alg->key_len - 1u)), CY_E_INVAL);
		alg->ctx_free(ctx);
		alg->ctx_free(NULL);
	}
}
END_TEST

/* The same MAC however the input is cut. */
START_TEST(pieces_do_not_matter)
{
	uint8_t key[16] = {4}, text[70], whole[CY_MAX_MAC_LEN], cut[CY_MAX_MAC_LEN];

	if (!host)
		return;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7);
	for (uint16_t id = CY_MAC_HMAC_MD5; id <= CY_MAC_AES_CMAC; id++) {
		const struct cy_mac_alg *alg = crypto_mac(crypto, id);
		struct cy_slice in = cy_slice(text, sizeof(text));
		void *ctx;

		ck_assert_int_eq(alg->ctx_new(alg, &ctx), CY_OK);
		ck_assert_int_eq(alg->ctx_key(ctx, cy_slice(key, 16)), CY_OK);
		ck_assert_int_eq(alg->mac(ctx, &in, 1, whole), CY_OK);
		for (size_t a = 0; a <= sizeof(text); a += 3) {
			for (size_t b = a; b <= sizeof(text); b += 5) {
				struct cy_slice three[] = {cy_slice(text, a), cy_slice(text + a, b - a),
				    cy_slice(text + b, sizeof(text) - b)};

				ck_assert_int_eq(alg->mac(ctx, three, 3, cut), CY_OK);
				ck_assert_mem_eq(cut, whole, alg->len);
			}
		}
		alg->ctx_free(ctx);
	}
}
END_TEST

/* --- key exchange --- */

static uint8_t pub[CY_MAX_KE_PUBLIC + 1], secret[CY_MAX_KE_SECRET];

static void refused(const struct cy_ke_alg *alg, void *key, const uint8_t *p, size_t n, const char *what)
{
	ck_assert_msg(
	    alg->derive(key, cy_slice(p, n), secret) == CY_E_INVAL, "KE %u accepts %s", alg->id, what);
}

/* RFC 6989: 0, 1, p - 1, p and what is longer are no public values; a wrong length is none of any group. */
static void modp_values(struct crypto *c)
{
	static const struct {
		uint16_t id;
		size_t len;
	} groups[] = {{CY_KE_MODP_768, 96}, {CY_KE_MODP_1024, 128}, {CY_KE_MODP_1536, 192},
	    {CY_KE_MODP_2048, 256}, {CY_KE_MODP_3072, 384}, {CY_KE_MODP_2048_256, 256}};
	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		const struct cy_ke_alg *alg = crypto_ke(c, groups[i].id);
		size_t n = groups[i].len;
		void *key;

		ck_assert_uint_eq(alg->public_len, n);
		ck_assert_int_eq(alg->keygen(alg, &key, pub), CY_OK);
		ck_assert_int_eq(alg->derive(key, cy_slice(pub, n), secret), CY_OK);
		refused(alg, key, pub, n - 1, "a short value");
		pub[n] = 0;
		refused(alg, key, pub, n + 1, "a long value");
		refused(alg, key, pub, 0, "nothing");
		memset(pub, 0, n);
		refused(alg, key, pub, n, "0");
		pub[n - 1] = 1;
		refused(alg, key, pub, n, "1");
		memset(pub, 0xff, n);
		refused(alg, key, pub, n, "a value above the prime");
		if (groups[i].id == CY_KE_MODP_2048_256) {
			memset(pub, 0, n);
			pub[n - 1] = 2;
			refused(alg, key, pub, n, "a value outside the subgroup");
		}
		alg->key_free(key);
	}
}

START_TEST(modp_public_values)
{
	struct crypto_host *gmp = crypto_host_new("gmp", NULL);

	if (host)
		modp_values(crypto);
	if (gmp) {
		modp_values(crypto_host_crypto(gmp));
		crypto_host_free(gmp);
	}
}
END_TEST

/* p - 1, of order two: the prime of group 14 (RFC 3526, 3) ends in FFFFFFFFFFFFFFFF like all of them. */
START_TEST(modp_2048_order_two)
{
	static const char prime[] =
	    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
	    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
	    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f"
	    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b"
	    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
	    "15728e5a8aacaa68ffffffffffffffff";
	struct crypto_host *gmp = crypto_host_new("gmp", NULL);
	struct crypto *both[] = {host ? crypto : NULL, gmp ? crypto_host_crypto(gmp) : NULL};

	for (size_t i = 0; i < 2; i++) {
		const struct cy_ke_alg *alg = both[i] ? crypto_ke(both[i], CY_KE_MODP_2048) : NULL;
		void *key;

		if (!alg)
			continue;
		ck_assert_int_eq(alg->keygen(alg, &key, pub), CY_OK);
		ck_assert_uint_eq(hex(prime, pub, sizeof(pub)), 256);
		refused(alg, key, pub, 256, "p");
		pub[255]--;
		refused(alg, key, pub, 256, "p - 1");
		pub[255]--;
		ck_assert_int_eq(alg->derive(key, cy_slice(pub, 256), secret), CY_OK);
		alg->key_free(key);
	}
	if (gmp)
		crypto_host_free(gmp);
}
END_TEST

START_TEST(ecp_points)
{
	static const uint16_t ids[] = {CY_KE_ECP_224, CY_KE_ECP_256, CY_KE_ECP_384, CY_KE_ECP_521};

	if (!host)
		return;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		const struct cy_ke_alg *alg = crypto_ke(crypto, ids[i]);
		size_t n = alg->public_len;
		void *key, *none;

		ck_assert_int_eq(alg->keygen(alg, &key, pub), CY_OK);
		ck_assert_int_eq(alg->derive(key, cy_slice(pub, n), secret), CY_OK);
		pub[n - 1] ^= 1;
		refused(alg, key, pub, n, "a point that is not on the curve");
		pub[n - 1] ^= 1;
		refused(alg, key, pub, n - 1, "a short point");
		refused(alg, key, pub, n / 2, "half a point");
		refused(alg, key, pub, 0, "nothing");
		memset(pub, 0, n);
		refused(alg, key, pub, n, "0, 0");
		memset(pub, 0xff, n);
		refused(alg, key, pub, n, "coordinates above the prime");
		alg->key_free(key);
		/* private values out of range */
		memset(secret, 0, sizeof(secret));
		ck_assert_int_ne(
		    alg->key_from_private(alg, cy_slice(secret, alg->secret_len), &none, pub), CY_OK);
		memset(secret, 0xff, sizeof(secret));
		ck_assert_int_ne(
		    alg->key_from_private(alg, cy_slice(secret, alg->secret_len), &none, pub), CY_OK);
	}
}
END_TEST

/* Points of small order give zero, which is refused (RFC 7748, 6.1; the points are those of order 1, 2, 4 and 8). */
START_TEST(small_order_points)
{
	static const char *const points[] = {
	    "0000000000000000000000000000000000000000000000000000000000000000",
	    "0100000000000000000000000000000000000000000000000000000000000000",
	    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	const struct cy_ke_alg *alg;
	void *key;

	if (!host)
		return;
	alg = crypto_ke(crypto, CY_KE_X25519);
	ck_assert_int_eq(alg->keygen(alg, &key, pub), CY_OK);
	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		(void)hex(points[i], pub, sizeof(pub));
		refused(alg, key, pub, 32, points[i]);
	}
	refused(alg, key, pub, 31, "a short value");
	refused(alg, key, pub, 33, "a long value");
	alg->key_free(key);
	alg = crypto_ke(crypto, CY_KE_X448);
	ck_assert_int_eq(alg->keygen(alg, &key, pub), CY_OK);
	memset(pub, 0, 56);
	refused(alg, key, pub, 56, "0");
	pub[0] = 1;
	refused(alg, key, pub, 56, "1");
	memset(pub, 0xff, 56);
	pub[28] = 0xfe;
	pub[0] = 0xfe;
	refused(alg, key, pub, 56, "p - 1");
	alg->key_free(key);
}
END_TEST

UNIT_TESTS(algs)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, esp_packets);
	tcase_add_test(tc, forgeries);
	tcase_add_test(tc, all_lengths);
	tcase_add_test(tc, wrong_use);
	tcase_add_test(tc, pieces_do_not_matter);
	tcase_add_test(tc, modp_public_values);
	tcase_add_test(tc, modp_2048_order_two);
	tcase_add_test(tc, ecp_points);
	tcase_add_test(tc, small_order_points);
}
