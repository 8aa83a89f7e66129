/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and IVs: RFC 2409, 5, 5.5 and Appendix B. */
#include "daemon/ikev1/ikev1.h"

/* The PRF is the HMAC of the hash that was negotiated (RFC 2409, 4). */
uint16_t v1_hash_of(uint16_t prf)
{
	switch (prf) {
	case CY_PRF_HMAC_MD5:
		return CY_HASH_MD5;
	case CY_PRF_HMAC_SHA1:
		return CY_HASH_SHA1;
	case CY_PRF_HMAC_SHA2_256:
		return CY_HASH_SHA2_256;
	case CY_PRF_HMAC_SHA2_384:
		return CY_HASH_SHA2_384;
	case CY_PRF_HMAC_SHA2_512:
		return CY_HASH_SHA2_512;
	default:
		return CY_HASH_NONE;
	}
}

static void cookies(const struct ike_sa *sa, bool r_first, uint8_t out[16])
{
	struct writer w = writer_of(out, 16);

	write_u64(&w, r_first ? sa->spi_r : sa->spi_i);
	write_u64(&w, r_first ? sa->spi_i : sa->spi_r);
}

/* Longer keys than the PRF gives: K1 = prf(SKEYID_e, 0), K2 = prf(SKEYID_e, K1), ... (Appendix B) */
static enum cy_err stretch(
    const struct crypto *c, uint16_t prf, size_t prf_len, struct cy_slice skeyid_e, uint8_t *out, size_t n)
{
	uint8_t k[CY_MAX_MAC_LEN], zero = 0;
	struct cy_slice in = cy_slice(&zero, 1);
	enum cy_err e = CY_OK;

	if (n <= prf_len) {
		memcpy(out, skeyid_e.p, n);
		return CY_OK;
	}
	for (size_t at = 0; at < n && !e; at += prf_len) {
		e = prf_compute(c, prf, skeyid_e, &in, 1, k);
		in = cy_slice(k, prf_len);
		memcpy(out + at, k, n - at < prf_len ? n - at : prf_len);
	}
	mem_wipe(k, sizeof(k));
	return e;
}

static enum cy_err derive_one(
    struct ike_sa *sa, const struct secret *before, uint8_t number, struct secret *out)
{
	struct v1 *v = v1_of(sa);
	uint8_t cky[16];
	struct cy_slice in[4] = {before ? secret_slice(before) : cy_slice(NULL, 0), secret_slice(&v->shared),
	    cy_slice(cky, sizeof(cky)), cy_slice(&number, 1)};
	enum cy_err e;

	cookies(sa, false, cky);
	secret_fini(out);
	e = secret_init(out, v->skeyid.n);
	return e ? e
	         : prf_compute(sa->shard->d->crypto, sa->suite.prf, secret_slice(&v->skeyid),
	               before ? in : in + 1, before ? 4 : 3, out->p);
}

enum cy_err v1_derive(struct ike_sa *sa, struct cy_slice psk)
{
	const struct crypto *c = sa->shard->d->crypto;
	struct v1 *v = v1_of(sa);
	struct cy_slice nonces[2] = {cy_slice(v->ni, v->n_ni), cy_slice(v->nr, v->n_nr)};
	uint8_t both[2 * V1_NONCE_MAX];
	struct cy_slice shared = secret_slice(&v->shared);
	const struct cy_cipher_alg *alg = crypto_cipher(c, sa->suite.encr, sa->suite.key_bits);
	struct prf_info prf;
	size_t encr, integ;
	enum cy_err e;

	if (!alg || !crypto_prf(c, sa->suite.prf, &prf) || !suite_key_lens(c, &sa->suite, &encr, &integ))
		return CY_E_UNSUPPORTED;
	v->block = alg->block_len;
	secret_fini(&v->skeyid);
	secret_fini(&v->encr_key);
	e = secret_init(&v->skeyid, prf.out_len);
	if (!e && psk.n) {
		e = prf_compute(c, sa->suite.prf, psk, nonces, 2, v->skeyid.p);
	} else if (!e) {
		memcpy(both, v->ni, v->n_ni);
		memcpy(both + v->n_ni, v->nr, v->n_nr);
		e = prf_compute(c, sa->suite.prf, cy_slice(both, v->n_ni + v->n_nr), &shared, 1, v->skeyid.p);
	}
	if (!e)
		e = derive_one(sa, NULL, 0, &v->skeyid_d);
	if (!e)
		e = derive_one(sa, &v->skeyid_d, 1, &v->skeyid_a);
	if (!e)
		e = derive_one(sa, &v->skeyid_a, 2, &v->skeyid_e);
	if (!e)
		e = secret_init(&v->encr_key, encr);
	if (!e)
		e = stretch(c, sa->suite.prf, prf.out_len, secret_slice(&v->skeyid_e), v->encr_key.p, encr);
	v->keyed = !e;
	return e;
}

/* With ECDSA it is the hash of the curve that is used, whatever was agreed on for the IKE_SA: strongSwan does so, too. */
static uint16_t auth_prf(const struct ike_sa *sa, size_t *out_n)
{
	switch (v1_of(sa)->auth) {
	case V1_AUTH_ECDSA_256:
		*out_n = 32;
		return CY_PRF_HMAC_SHA2_256;
	case V1_AUTH_ECDSA_384:
		*out_n = 48;
		return CY_PRF_HMAC_SHA2_384;
	case V1_AUTH_ECDSA_521:
		*out_n = 64;
		return CY_PRF_HMAC_SHA2_512;
	default:
		*out_n = v1_of(sa)->skeyid.n;
		return sa->suite.prf;
	}
}

enum cy_err v1_auth_hash(struct ike_sa *sa, bool of_initiator, uint8_t *out, size_t *out_n)
{
	struct v1 *v = v1_of(sa);
	struct cy_slice i = cy_slice(v->ke_i, v->n_ke_i), r = cy_slice(v->ke_r, v->n_ke_r);
	const struct cy_buf *id = of_initiator ? &v->idii_b : &v->idir_b;
	uint8_t cky[16];
	uint16_t prf;
	struct cy_slice in[5] = {of_initiator ? i : r, of_initiator ? r : i, cy_slice(cky, sizeof(cky)),
	    cy_slice(v->sai_b.p, v->sai_b.n), cy_slice(id->p, id->n)};

	cookies(sa, !of_initiator, cky);
	prf = auth_prf(sa, out_n);
	return prf_compute(sa->shard->d->crypto, prf, secret_slice(&v->skeyid), in, 5, out);
}

enum cy_err v1_iv_phase1(struct ike_sa *sa, uint8_t iv[V1_BLOCK_MAX])
{
	struct v1 *v = v1_of(sa);
	struct cy_slice in[2] = {cy_slice(v->ke_i, v->n_ke_i), cy_slice(v->ke_r, v->n_ke_r)};
	uint8_t h[CY_MAX_HASH_LEN];
	enum cy_err e = hash_compute(sa->shard->d->crypto, v1_hash_of(sa->suite.prf), in, 2, h);

	memcpy(iv, h, v->block);
	return e;
}

enum cy_err v1_iv_phase2(struct ike_sa *sa, uint32_t msgid, uint8_t iv[V1_BLOCK_MAX])
{
	struct v1 *v = v1_of(sa);
	uint8_t id[4], h[CY_MAX_HASH_LEN];
	struct cy_slice in[2] = {cy_slice(v->iv, v->block), cy_slice(id, sizeof(id))};
	struct writer w = writer_of(id, sizeof(id));
	enum cy_err e;

	write_u32(&w, msgid);
	e = hash_compute(sa->shard->d->crypto, v1_hash_of(sa->suite.prf), in, 2, h);
	memcpy(iv, h, v->block);
	return e;
}

enum cy_err v1_prf_hash(struct ike_sa *sa, const struct v1_exchange *x, enum v1_hash hash, struct cy_slice ni,
    struct cy_slice nr, struct cy_slice rest, uint8_t *out)
{
	struct v1 *v = v1_of(sa);
	uint8_t id[5] = {0};
	struct cy_slice in[4];
	struct writer w = writer_of(id + 1, 4);
	size_t n = 0;

	write_u32(&w, x->msgid);
	in[n++] = hash == V1_HASH_3 ? cy_slice(id, 5) : cy_slice(id + 1, 4);
	if (hash == V1_HASH_2 || hash == V1_HASH_3)
		in[n++] = ni;
	in[n++] = hash == V1_HASH_3 ? nr : rest;
	return prf_compute(sa->shard->d->crypto, sa->suite.prf, secret_slice(&v->skeyid_a), in, n, out);
}

/* K1 = prf(SKEYID_d, [g^xy |] protocol | SPI | Ni_b | Nr_b), Kn = prf(SKEYID_d, Kn-1 | the same) */
enum cy_err v1_keymat(const struct crypto *c, uint16_t prf, struct cy_slice skeyid_d, struct cy_slice shared,
    uint8_t proto, uint32_t spi, struct cy_slice ni, struct cy_slice nr, uint8_t *out, size_t n)
{
	uint8_t k[CY_MAX_MAC_LEN],
	    id[5] = {proto, (uint8_t)(spi >> 24), (uint8_t)(spi >> 16), (uint8_t)(spi >> 8), (uint8_t)spi};
	struct cy_slice in[5] = {cy_slice(k, 0), shared, cy_slice(id, 5), ni, nr};
	struct prf_info info;
	enum cy_err e = CY_OK;

	if (!crypto_prf(c, prf, &info))
		return CY_E_UNSUPPORTED;
	for (size_t at = 0; at < n && !e; at += info.out_len) {
		uint8_t next[CY_MAX_MAC_LEN];

		e = prf_compute(c, prf, skeyid_d, in, 5, next);
		memcpy(k, next, info.out_len);
		in[0] = cy_slice(k, info.out_len);
		memcpy(out + at, k, n - at < info.out_len ? n - at : info.out_len);
		mem_wipe(next, sizeof(next));
	}
	mem_wipe(k, sizeof(k));
	return e;
}

enum cy_err v1_child_derive(
    struct child_sa *c, struct ike_sa *sa, struct cy_slice shared, struct cy_slice ni, struct cy_slice nr)
{
	const struct crypto *crypto = sa->shard->d->crypto;
	struct v1 *v = v1_of(sa);
	struct secret mat = {NULL, 0};
	size_t encr, integ;
	enum cy_err e;

	if (!suite_key_lens(crypto, &c->suite, &encr, &integ))
		return CY_E_UNSUPPORTED;
	e = secret_init(&mat, encr + integ);
	for (int in = 0; in < 2 && !e; in++) {
		struct secret *ke = in ? &c->keys.encr_in : &c->keys.encr_out;
		struct secret *ki = in ? &c->keys.integ_in : &c->keys.integ_out;

		e = v1_keymat(crypto, sa->suite.prf, secret_slice(&v->skeyid_d), shared, PROTO_ESP,
		    in ? c->spi_in : c->spi_out, ni, nr, mat.p, mat.n);
		secret_fini(ke);
		secret_fini(ki);
		if (!e)
			e = secret_dup(ke, cy_slice(mat.p, encr));
		if (!e)
			e = secret_dup(ki, cy_slice(mat.p + encr, integ));
	}
	secret_fini(&mat);
	return e;
}
