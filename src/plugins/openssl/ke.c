/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key exchange: MODP groups on OpenSSL's big numbers with what does not change kept ready (RFC 3526, 2409, 5114), random
 * ECP groups (RFC 5903), X25519 and X448 (RFC 8031). Private values come from the host's randomness.
 */

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "ossl.h"

struct ke_key {
	const struct ossl_ke *ke;
	BIGNUM *x;      /* MODP, ECP */
	EVP_PKEY *pkey; /* X25519, X448 */
};

static void key_free(void *key)
{
	struct ke_key *k = key;

	if (!k)
		return;
	BN_clear_free(k->x);
	EVP_PKEY_free(k->pkey);
	free(k);
}

static struct ke_key *key_new(const struct cy_ke_alg *alg)
{
	struct ke_key *k = calloc(1, sizeof(*k));

	if (k)
		k->ke = container_of(alg, const struct ossl_ke, alg);
	return k;
}

static enum cy_err failed(enum cy_err err)
{
	if (err != CY_OK)
		ERR_clear_error();
	return err;
}

/* --- MODP --- */

static bool modp_exp(const struct ossl_ke *ke, const BIGNUM *base, const BIGNUM *x, uint8_t *out)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *r = BN_new();
	bool ok = ctx && r && BN_mod_exp_mont_consttime(r, base, x, ke->p, ctx, ke->mont) == 1 &&
	    BN_bn2binpad(r, out, ke->alg.public_len) == ke->alg.public_len;

	BN_clear_free(r);
	BN_CTX_free(ctx);
	return ok;
}

static enum cy_err modp_from_private(
    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public)
{
	struct ke_key *k = key_new(alg);
	enum cy_err err = CY_E_NOMEM;

	if (!k)
		return CY_E_NOMEM;
	k->x = BN_bin2bn(priv.p, (int)priv.n, NULL);
	if (k->x) {
		BN_set_flags(k->x, BN_FLG_CONSTTIME);
		err = modp_exp(k->ke, k->ke->g, k->x, out_public) ? CY_OK : CY_E_BUG;
	}
	if (err == CY_OK)
		*out_key = k;
	else
		key_free(k);
	return failed(err);
}

static enum cy_err modp_keygen(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public)
{
	const struct ossl_ke *ke = container_of(alg, const struct ossl_ke, alg);
	uint8_t x[64];
	size_t n = ke->private_bits / 8;
	enum cy_err err;

	ossl_random(ke->ossl, x, n);
	/*
	 * Always the same length, whatever was drawn: the top bit is set. In a subgroup of order q < 2^256 with its top
	 * bit set the bit below is cleared, so that x is below q.
	 */
	x[0] = (uint8_t)(ke->q ? (x[0] & 0x7f) | 0x40 : x[0] | 0x80);
	err = modp_from_private(alg, cy_slice(x, n), out_key, out_public);
	OPENSSL_cleanse(x, sizeof(x));
	return err;
}

/*
 * RFC 6989, 2.1: 1 < y < p - 1 is all a safe prime needs. 2.2: with a small subgroup also y^q = 1.
 */
static bool modp_valid(const struct ossl_ke *ke, const BIGNUM *y)
{
	BIGNUM *top = BN_dup(ke->p);
	bool ok = top && BN_sub_word(top, 1) == 1 && BN_cmp(y, BN_value_one()) > 0 && BN_cmp(y, top) < 0;

	if (ok && ke->q) {
		BN_CTX *ctx = BN_CTX_new();

		ok = ctx && BN_mod_exp_mont(top, y, ke->q, ke->p, ctx, ke->mont) == 1 && BN_is_one(top);
		BN_CTX_free(ctx);
	}
	BN_free(top);
	return ok;
}

static enum cy_err modp_derive(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	struct ke_key *k = key;
	enum cy_err err = CY_E_INVAL;
	BIGNUM *y;

	if (peer.n != k->ke->alg.public_len)
		return CY_E_INVAL;
	y = BN_bin2bn(peer.p, (int)peer.n, NULL);
	if (!y)
		return CY_E_NOMEM;
	if (modp_valid(k->ke, y))
		err = modp_exp(k->ke, y, k->x, out_secret) ? CY_OK : CY_E_NOMEM;
	BN_free(y);
	return failed(err);
}

/*
 * Private lengths: at least twice the strength of the group (RFC 3526, 8; NIST SP 800-56A, 5.6.1.1), rounded up to
 * whole words. flags: measured; the limit is half a millisecond for a key and a secret.
 */
static const struct {
	uint16_t id, bits, private_bits, flags;
	BIGNUM *(*prime)(BIGNUM *);
} modps[] = {
    {CY_KE_MODP_768, 768, 256, 0, BN_get_rfc2409_prime_768},
    {CY_KE_MODP_1024, 1024, 256, 0, BN_get_rfc2409_prime_1024},
    {CY_KE_MODP_1536, 1536, 256, CY_KE_SLOW, BN_get_rfc3526_prime_1536},
    {CY_KE_MODP_2048, 2048, 256, CY_KE_SLOW, BN_get_rfc3526_prime_2048},
    {CY_KE_MODP_3072, 3072, 320, CY_KE_SLOW, BN_get_rfc3526_prime_3072},
    {CY_KE_MODP_4096, 4096, 384, CY_KE_SLOW, BN_get_rfc3526_prime_4096},
    {CY_KE_MODP_6144, 6144, 384, CY_KE_SLOW, BN_get_rfc3526_prime_6144},
    {CY_KE_MODP_8192, 8192, 512, CY_KE_SLOW, BN_get_rfc3526_prime_8192},
    {CY_KE_MODP_2048_256, 2048, 256, CY_KE_SLOW, NULL},
};

/* The group of RFC 5114, 2.3, which OpenSSL knows by name only. */
static bool load_group24(struct ossl_ke *ke)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	char name[] = "dh_2048_256";
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0), OSSL_PARAM_END};
	EVP_PKEY *pkey = NULL;
	bool ok = ctx && EVP_PKEY_paramgen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1 &&
	    EVP_PKEY_generate(ctx, &pkey) == 1 &&
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_FFC_P, &ke->p) == 1 &&
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_FFC_G, &ke->g) == 1 &&
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_FFC_Q, &ke->q) == 1;

	EVP_PKEY_free(pkey);
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static bool load_safe_prime(struct ossl_ke *ke, BIGNUM *(*prime)(BIGNUM *))
{
	ke->p = prime(NULL);
	ke->g = BN_new();
	return ke->p && ke->g && BN_set_word(ke->g, 2) == 1;
}

static struct ossl_ke *ke_at(struct ossl *o, size_t *at)
{
	struct ossl_ke *ke = &o->kes[(*at)++];

	ke->ossl = o;
	return ke;
}

void ossl_modp_init(struct ossl *o, size_t *at)
{
	for (size_t i = 0; i < ARRAY_LEN(modps); i++) {
		struct ossl_ke *ke = ke_at(o, at);
		BN_CTX *ctx = BN_CTX_new();
		bool ok = ctx && (modps[i].prime ? load_safe_prime(ke, modps[i].prime) : load_group24(ke));

		if (ok) {
			ke->mont = BN_MONT_CTX_new();
			ok = ke->mont && BN_MONT_CTX_set(ke->mont, ke->p, ctx) == 1;
		}
		BN_CTX_free(ctx);
		if (!ok) {
			ERR_clear_error();
			continue;
		}
		ke->private_bits = modps[i].private_bits;
		ke->alg = (struct cy_ke_alg){sizeof(ke->alg), modps[i].id, modps[i].bits / 8,
		    modps[i].bits / 8, modps[i].flags, modp_keygen, modp_derive, key_free, modp_from_private};
		ossl_provide(o, CY_KIND_KE, &ke->alg);
	}
}

/* --- ECP --- */

/* x || y, each as long as the prime (RFC 5903, 7). */
static bool ec_encode(const struct ossl_ke *ke, const EC_POINT *point, BN_CTX *ctx, uint8_t *out)
{
	uint8_t octets[1 + 2 * 66];
	size_t n = ke->alg.public_len;

	if (EC_POINT_point2oct(
	        ke->group, point, POINT_CONVERSION_UNCOMPRESSED, octets, sizeof(octets), ctx) != n + 1)
		return false;
	memcpy(out, octets + 1, n);
	return true;
}

static enum cy_err ec_from_bn(struct ke_key *k, uint8_t *out_public)
{
	const struct ossl_ke *ke = k->ke;
	EC_POINT *point = EC_POINT_new(ke->group);
	BN_CTX *ctx = BN_CTX_new();
	enum cy_err err = CY_E_NOMEM;

	if (point && ctx && EC_POINT_mul(ke->group, point, k->x, NULL, NULL, ctx) == 1)
		err = ec_encode(ke, point, ctx, out_public) ? CY_OK : CY_E_BUG;
	EC_POINT_free(point);
	BN_CTX_free(ctx);
	return err;
}

static enum cy_err ec_from_private(
    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public)
{
	struct ke_key *k = key_new(alg);
	enum cy_err err;

	if (!k)
		return CY_E_NOMEM;
	k->x = BN_bin2bn(priv.p, (int)priv.n, NULL);
	if (!k->x) {
		err = CY_E_NOMEM;
	} else if (BN_is_zero(k->x) || BN_cmp(k->x, EC_GROUP_get0_order(k->ke->group)) >= 0) {
		err = CY_E_INVAL;
	} else {
		BN_set_flags(k->x, BN_FLG_CONSTTIME);
		err = ec_from_bn(k, out_public);
	}
	if (err == CY_OK)
		*out_key = k;
	else
		key_free(k);
	return failed(err);
}

static enum cy_err ec_keygen(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public)
{
	const struct ossl_ke *ke = container_of(alg, const struct ossl_ke, alg);
	int bits = EC_GROUP_order_bits(ke->group);
	size_t n = (size_t)(bits + 7) / 8;
	uint8_t x[66];
	enum cy_err err = CY_E_INVAL;

	/* drawn again until it is below the order (NIST SP 800-56A, 5.6.1.2.2); the second time is already rare */
	for (int i = 0; i < 128 && err == CY_E_INVAL; i++) {
		ossl_random(ke->ossl, x, n);
		if (bits % 8)
			x[0] &= (uint8_t)((1 << bits % 8) - 1);
		err = ec_from_private(alg, cy_slice(x, n), out_key, out_public);
	}
	OPENSSL_cleanse(x, sizeof(x));
	return err;
}

static enum cy_err ec_derive(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	struct ke_key *k = key;
	const struct ossl_ke *ke = k->ke;
	uint8_t octets[1 + 2 * 66] = {POINT_CONVERSION_UNCOMPRESSED};
	enum cy_err err = CY_E_NOMEM;
	EC_POINT *theirs, *shared;
	BIGNUM *x;
	BN_CTX *ctx;

	if (peer.n != ke->alg.public_len)
		return CY_E_INVAL;
	memcpy(octets + 1, peer.p, peer.n);
	theirs = EC_POINT_new(ke->group);
	shared = EC_POINT_new(ke->group);
	x = BN_new();
	ctx = BN_CTX_new();
	if (theirs && shared && x && ctx) {
		/*
		 * RFC 6989, 2.3: coordinates below the prime, on the curve, not the point at infinity; all of these
		 * groups have prime order, so that nothing else is needed. oct2point checks them.
		 */
		if (EC_POINT_oct2point(ke->group, theirs, octets, peer.n + 1, ctx) != 1)
			err = CY_E_INVAL;
		else if (EC_POINT_mul(ke->group, shared, NULL, theirs, k->x, ctx) == 1 &&
		    EC_POINT_get_affine_coordinates(ke->group, shared, x, NULL, ctx) == 1 &&
		    BN_bn2binpad(x, out_secret, ke->alg.secret_len) == ke->alg.secret_len)
			err = CY_OK; /* only x is the secret (RFC 5903, 7; erratum of RFC 4753) */
	}
	EC_POINT_free(theirs);
	EC_POINT_clear_free(shared);
	BN_clear_free(x);
	BN_CTX_free(ctx);
	return failed(err);
}

void ossl_ec_init(struct ossl *o, size_t *at)
{
	static const struct {
		uint16_t id, len, flags;
		int nid;
	} curves[] = {
	    {CY_KE_ECP_256, 32, 0, NID_X9_62_prime256v1},
	    {CY_KE_ECP_384, 48, CY_KE_SLOW, NID_secp384r1},
	    {CY_KE_ECP_521, 66, CY_KE_SLOW, NID_secp521r1},
	    {CY_KE_ECP_224, 28, 0, NID_secp224r1},
	};

	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		struct ossl_ke *ke = ke_at(o, at);

		ke->group = EC_GROUP_new_by_curve_name(curves[i].nid);
		if (!ke->group) {
			ERR_clear_error();
			continue;
		}
		ke->alg = (struct cy_ke_alg){sizeof(ke->alg), curves[i].id, (uint16_t)(2 * curves[i].len),
		    curves[i].len, curves[i].flags, ec_keygen, ec_derive, key_free, ec_from_private};
		ossl_provide(o, CY_KIND_KE, &ke->alg);
	}
}

/* --- X25519, X448 --- */

/*
 * Each context or key that OpenSSL makes anew is looked up by all names of its kind: those that can be used again are kept. Nothing
 * of a private key stays in them.
 */
static EVP_PKEY_CTX *maker_take(const struct ossl_ke *ke)
{
	EVP_PKEY_CTX *ctx = ossl_spare_take(ke->makers);

	if (ctx)
		return ctx;
	ctx = EVP_PKEY_CTX_new_from_name(NULL, ke->name, NULL);
	if (ctx && EVP_PKEY_fromdata_init(ctx) != 1) {
		EVP_PKEY_CTX_free(ctx);
		ctx = NULL;
	}
	return ctx;
}

static EVP_PKEY *peer_take(const struct ossl_ke *ke, struct cy_slice value)
{
	EVP_PKEY *peer = ossl_spare_take(ke->peers);

	if (!peer)
		return EVP_PKEY_new_raw_public_key_ex(NULL, ke->name, NULL, value.p, value.n);
	if (EVP_PKEY_set1_encoded_public_key(peer, value.p, value.n) != 1) {
		EVP_PKEY_free(peer);
		peer = NULL;
	}
	return peer;
}

static enum cy_err x_from_private(
    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public)
{
	struct ke_key *k = key_new(alg);
	size_t n = alg->public_len;
	enum cy_err err = CY_E_INVAL;
	EVP_PKEY_CTX *maker;
	const OSSL_PARAM params[] = {
	    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)priv.p, priv.n), OSSL_PARAM_END};

	if (!k)
		return CY_E_NOMEM;
	maker = maker_take(k->ke);
	if (maker && EVP_PKEY_fromdata(maker, &k->pkey, EVP_PKEY_KEYPAIR, (OSSL_PARAM *)params) == 1 &&
	    EVP_PKEY_get_raw_public_key(k->pkey, out_public, &n) == 1 && n == alg->public_len)
		err = CY_OK;
	if (err != CY_OK || !ossl_spare_put(k->ke->makers, maker))
		EVP_PKEY_CTX_free(maker);
	if (err == CY_OK)
		*out_key = k;
	else
		key_free(k);
	return failed(err);
}

static enum cy_err x_keygen(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public)
{
	const struct ossl_ke *ke = container_of(alg, const struct ossl_ke, alg);
	uint8_t x[56];
	enum cy_err err;

	ossl_random(ke->ossl, x, alg->secret_len);
	err = x_from_private(alg, cy_slice(x, alg->secret_len), out_key, out_public);
	OPENSSL_cleanse(x, sizeof(x));
	return err;
}

/* An all-zero result, from a point of small order, is refused by OpenSSL (RFC 8031, 2.3 and RFC 7748, 6.1). */
static enum cy_err x_derive(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	struct ke_key *k = key;
	size_t n = k->ke->alg.secret_len;
	EVP_PKEY *theirs;
	EVP_PKEY_CTX *ctx;
	enum cy_err err = CY_E_INVAL;

	if (peer.n != k->ke->alg.public_len)
		return CY_E_INVAL;
	theirs = peer_take(k->ke, peer);
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
	if (!theirs || !ctx)
		err = CY_E_NOMEM;
	else if (EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer_ex(ctx, theirs, 0) == 1 &&
	    EVP_PKEY_derive(ctx, out_secret, &n) == 1 && n == k->ke->alg.secret_len)
		err = CY_OK;
	EVP_PKEY_CTX_free(ctx);
	if (!theirs || !ossl_spare_put(k->ke->peers, theirs))
		EVP_PKEY_free(theirs);
	return failed(err);
}

void ossl_x_init(struct ossl *o, size_t *at)
{
	static const struct {
		uint16_t id, len, flags;
		const char *name;
	} curves[] = {
	    {CY_KE_X25519, 32, 0, "X25519"},
	    {CY_KE_X448, 56, CY_KE_SLOW, "X448"},
	};

	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		struct ossl_ke *ke = ke_at(o, at);

		ke->name = curves[i].name;
		ke->makers = &o->makers[i];
		ke->peers = &o->peers[i];
		pthread_mutex_init(&ke->makers->lock, NULL);
		pthread_mutex_init(&ke->peers->lock, NULL);
		ke->alg = (struct cy_ke_alg){sizeof(ke->alg), curves[i].id, curves[i].len, curves[i].len,
		    curves[i].flags, x_keygen, x_derive, key_free, x_from_private};
		ossl_provide(o, CY_KIND_KE, &ke->alg);
	}
}
_Static_assert(OSSL_MAX_XS == 2, "one for each of the curves");
_Static_assert(ARRAY_LEN(modps) + 6 <= OSSL_MAX_KES, "struct ossl has too few key exchange methods");

void ossl_kes_fini(struct ossl *o)
{
	for (size_t i = 0; i < OSSL_MAX_KES; i++) {
		struct ossl_ke *ke = &o->kes[i];

		BN_free(ke->p);
		BN_free(ke->g);
		BN_free(ke->q);
		BN_MONT_CTX_free(ke->mont);
		EC_GROUP_free(ke->group);
	}
	for (size_t i = 0; i < OSSL_MAX_XS; i++) {
		while (o->makers[i].n)
			EVP_PKEY_CTX_free(o->makers[i].ctx[--o->makers[i].n]);
		while (o->peers[i].n)
			EVP_PKEY_free(o->peers[i].ctx[--o->peers[i].n]);
	}
}
