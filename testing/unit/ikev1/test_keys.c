/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, IVs and hashes of RFC 2409 against an independent computation (Python's hmac and hashlib, straight from the RFC). */
#include "unit.h"

#include "daemon/ikev1/ikev1.h"
#include "crypto/crypto_host.h"
#include "wire/hex.h"

struct vector {
	struct suite suite;
	size_t block;
	const char *skeyid, *d, *a, *e, *key, *iv, *iv2, *hash_i, *keymat, *skeyid_sig;
};

static const struct vector vectors[] = {
    {{.encr = CY_ENCR_3DES, .prf = CY_PRF_HMAC_SHA1, .ke = CY_KE_MODP_1024}, 8,
        "8c0443d6a9604e21ed998590768d2387cab59db2", "c1c814e0f49615b05e390392dad26ca7d250dbdf",
        "97bab94e0b637232d5bb7c0f36a69d5ccedb2c0b", "da8631c16b562bbf05c5c97b9f56c889fbc78531",
        "b9e78278afbb29f3fd8555b2bcba17a6e226b45a90130639", "834624d51c4097f1", "c15955c093fab185",
        "bb70a8ac9553254c207a67737092cfece762c316",
        "5ac54f11e527f54a32e6b3035a4150eba6fbb3a3a96bf6ec929ad759fcc2a2e652f260ed37b56a329be8cb1967cf3098ac7a"
        "47b9",
        "dfa84197d01768b6b3c0c168a9d3b9c5af9c7d9e"},
    {{.encr = CY_ENCR_AES_CBC, .key_bits = 256, .prf = CY_PRF_HMAC_SHA2_256, .ke = CY_KE_MODP_1024}, 16,
        "26f9ff9960685c51b1fed1fa111c1fd322ace4eb36ffb6e3d2174e90e82f7d7f",
        "0bf61e19700f8a563c396ef13a7c0e3e1bbd3c4d49cbedf2efc63281aabdb56f",
        "4ddce263a952647ddc406143d9f164667ae1bc005691252c98c46903505f6457",
        "15cbb69c37f273ef126893573cba8d3fa5f8b7ccbe407dafe12c0e24f8a0aa56",
        "15cbb69c37f273ef126893573cba8d3fa5f8b7ccbe407dafe12c0e24f8a0aa56",
        "f04fe0232e62ed182b67bc12b0e5fa41", "8a92ba2d07ecb31dff1d00962cca91ba",
        "518789f94f67b696bb402c49595a7b37bd53005d1ac03cbcd2184a9e016b33d9",
        "f0fe38e6893fe0349fc495b8753b0b79d6f9c06a626b05dccb33072b32b41d9a38f0d9ba5e6e03cc7bfebac8d33815a1f1f4"
        "3f09",
        "b1b52a6a3138a7b7754ac5ca3727acc4c9b568777acca542dfccbb3fc473192e"},
};

static struct crypto_host *host;
static struct daemon daemon;
static struct sa_shard shard;
static struct ike_sa sa;

static void setup(void)
{
	host = crypto_host_new("openssl", NULL);
	daemon.crypto = crypto_host_crypto(host);
	shard.d = &daemon;
	sa.shard = &shard;
	ck_assert_int_eq(protect_cache_new(daemon.crypto, NULL, &shard.protect), CY_OK);
}

static void teardown(void)
{
	protect_cache_free(shard.protect);
	crypto_host_free(host);
}

static void is(const void *p, size_t n, const char *hex)
{
	struct cy_buf want = hex_bytes(hex);

	ck_assert_uint_eq(n, want.n);
	ck_assert_mem_eq(p, want.p, n);
	free(want.p);
}

static uint8_t at(size_t i, unsigned factor, unsigned plus)
{
	return (uint8_t)(i * factor + plus);
}

static void fill(const struct vector *x)
{
	static const uint8_t id[] = {1, 0, 0, 0, 192, 0, 2, 1};
	struct v1 *v = v1_new(&sa);
	uint8_t sai[40];

	sa.suite = x->suite;
	sa.spi_i = 0x0102030405060708;
	sa.spi_r = 0x1112131415161718;
	v->n_ni = 20;
	v->n_nr = 32;
	for (size_t i = 0; i < 32; i++) {
		v->ni[i] = at(i, 1, 1);
		v->nr[i] = at(i, 1, 101);
	}
	v->n_ke_i = v->n_ke_r = 128;
	ck_assert_int_eq(secret_init(&v->shared, 128), CY_OK);
	for (size_t i = 0; i < 128; i++) {
		v->shared.p[i] = at(i, 7, 3);
		v->ke_i[i] = at(i, 5, 1);
		v->ke_r[i] = at(i, 11, 2);
	}
	for (size_t i = 0; i < sizeof(sai); i++)
		sai[i] = (uint8_t)i;
	ck_assert(v1_remember(&v->sai_b, cy_slice(sai, sizeof(sai))));
	ck_assert(v1_remember(&v->idii_b, cy_slice(id, sizeof(id))));
}

START_TEST(phase_1_and_2)
{
	const struct vector *x = &vectors[_i];
	uint8_t out[128];
	struct v1 *v;
	size_t n;

	fill(x);
	v = v1_of(&sa);
	ck_assert_int_eq(v1_derive(&sa, cy_slice_str("a shared secret")), CY_OK);
	ck_assert_uint_eq(v->block, x->block);
	is(v->skeyid.p, v->skeyid.n, x->skeyid);
	is(v->skeyid_d.p, v->skeyid_d.n, x->d);
	is(v->skeyid_a.p, v->skeyid_a.n, x->a);
	is(v->skeyid_e.p, v->skeyid_e.n, x->e);
	is(v->encr_key.p, v->encr_key.n, x->key);
	ck_assert_int_eq(v1_iv_phase1(&sa, v->iv), CY_OK);
	is(v->iv, v->block, x->iv);
	ck_assert_int_eq(v1_iv_phase2(&sa, 0xdeadbeef, out), CY_OK);
	is(out, v->block, x->iv2);
	ck_assert_int_eq(v1_auth_hash(&sa, true, out, &n), CY_OK);
	is(out, n, x->hash_i);
	ck_assert_int_eq(
	    v1_keymat(daemon.crypto, sa.suite.prf, secret_slice(&v->skeyid_d), secret_slice(&v->shared),
	        PROTO_ESP, 0xc0ffee01, cy_slice(v->ni, v->n_ni), cy_slice(v->nr, v->n_nr), out, 52),
	    CY_OK);
	is(out, 52, x->keymat);
	/* with signatures SKEYID comes of the nonces and the secret */
	ck_assert_int_eq(v1_derive(&sa, cy_slice(NULL, 0)), CY_OK);
	is(v->skeyid.p, v->skeyid.n, x->skeyid_sig);
	sa.init_free(sa.init);
}
END_TEST

UNIT_TESTS(keys)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, phase_1_and_2, 0, 2);
}
