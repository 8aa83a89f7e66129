/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSA keys and signatures (RFC 8017). Signing uses the Chinese remainder theorem in constant time and checks its result,
 * since one wrong signature would give the key away. Certificates are not this plugin's business: their functions are NULL.
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gmp_plugin.h"

#define MAX_BITS  16384
#define MAX_BYTES (MAX_BITS / 8)

struct cy_pubkey {
	atomic_uint refs;
	struct cy_key_info info;
	size_t bytes, limbs; /* of the modulus */
	mp_limb_t *n, *e;
	size_t e_bits;
	uint8_t *spki;
	size_t spki_len;
};

struct cy_privkey {
	atomic_uint refs;
	struct cy_pubkey *pub;
	size_t pn, qn;                     /* limbs of the primes */
	mp_limb_t *p, *q, *dp, *dq, *qinv; /* dp, qinv: pn limbs, dq: qn */
};

static struct gmp *plugin;

void gmp_rsa_init(struct gmp *g)
{
	g->next = plugin;
	plugin = g;
}

void gmp_rsa_fini(struct gmp *g)
{
	for (struct gmp **at = &plugin; *at; at = &(*at)->next) {
		if (*at == g) {
			*at = g->next;
			return;
		}
	}
}

static enum cy_err fail(enum cy_err err, const char **out_why, const char *why)
{
	if (out_why)
		*out_why = why;
	return err;
}

static const struct cy_hash_alg *hash_alg(enum cy_hash hash)
{
	const struct cy_host *host = plugin ? plugin->host : NULL;

	return host && CY_HAS(host, hash) && host->hash ? host->hash(plugin->self, (uint16_t)hash) : NULL;
}

static bool digest(enum cy_hash hash, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	const struct cy_hash_alg *alg = hash_alg(hash);

	return alg && alg->digest(alg, in, n_in, out) == CY_OK;
}

/* --- keys --- */

static size_t bits_of(struct cy_slice s)
{
	size_t bits = s.n * 8;

	for (uint8_t top = s.n ? s.p[0] : 0x80; !(top & 0x80) && bits; top = (uint8_t)(top << 1))
		bits--;
	return bits;
}

static void pubkey_unref(struct cy_pubkey *key)
{
	if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(key->n);
	free(key->e);
	free(key->spki);
	free(key);
}

static enum cy_err pubkey_new(
    struct cy_slice n, struct cy_slice e, struct cy_pubkey **out, const char **out_why)
{
	struct cy_pubkey *key;
	struct cy_slice der;
	enum cy_err err = CY_E_NOMEM;
	size_t key_at;

	if (n.n < 64 || n.n > MAX_BYTES)
		return fail(CY_E_UNSUPPORTED, out_why, "an RSA key of this length is not supported");
	/* even numbers are no keys, and would not be computed with; a long exponent is a way to keep others busy */
	if (!(n.p[n.n - 1] & 1) || e.n == 0 || !(e.p[e.n - 1] & 1) || (e.n == 1 && e.p[0] == 1) || e.n > 8)
		return fail(CY_E_PARSE, out_why, "the RSA public key is malformed");
	key = calloc(1, sizeof(*key));
	if (!key)
		return CY_E_NOMEM;
	atomic_init(&key->refs, 1);
	key->bytes = n.n;
	key->limbs = LIMBS(n.n * 8);
	key->e_bits = bits_of(e);
	key->n = limbs_new(key->limbs);
	key->e = limbs_new(LIMBS(64));
	key->info.type = CY_KEY_RSA;
	key->info.bits = (uint32_t)bits_of(n);
	if (key->n && key->e && gmp_write_public(n, e, &key->spki, &key->spki_len, &key_at)) {
		limbs_read(key->n, key->limbs, n);
		limbs_read(key->e, LIMBS(64), e);
		der = cy_slice(key->spki, key->spki_len);
		err = digest(CY_HASH_SHA1, &der, 1, key->info.spki_sha1) ? CY_OK : CY_E_UNSUPPORTED;
		der = cy_slice(key->spki + key_at, key->spki_len - key_at);
		if (err == CY_OK && !digest(CY_HASH_SHA1, &der, 1, key->info.keyid_sha1))
			err = CY_E_UNSUPPORTED;
		if (err == CY_E_UNSUPPORTED)
			(void)fail(err, out_why, "no plugin provides SHA-1");
	}
	if (err == CY_OK)
		*out = key;
	else
		pubkey_unref(key);
	return err;
}

/* PEM becomes DER, malloc'd; *out_der may be the input itself. */
static const char *unwrap(struct cy_slice data, struct cy_slice *out_der, uint8_t **out_copy, size_t *out_len)
{
	const char *why;

	*out_copy = NULL;
	*out_len = 0;
	*out_der = data;
	if (!gmp_is_pem(data))
		return NULL;
	why = gmp_read_pem(data, out_copy, out_len);
	*out_der = cy_slice(*out_copy, *out_len);
	return why;
}

static enum cy_err pubkey_load(struct cy_slice data, struct cy_pubkey **out, const char **out_why)
{
	struct gmp_rsa_numbers num;
	struct cy_slice der;
	uint8_t *copy;
	size_t len;
	bool other = false;
	enum cy_err err;
	const char *why = unwrap(data, &der, &copy, &len);

	if (!why)
		why = gmp_read_public(der, &num, &other);
	if (why)
		err = fail(other ? CY_E_UNSUPPORTED : CY_E_PARSE, out_why, why);
	else
		err = pubkey_new(num.n, num.e, out, out_why);
	free(copy);
	return err;
}

static struct cy_pubkey *pubkey_ref(struct cy_pubkey *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

static const struct cy_key_info *pubkey_info(const struct cy_pubkey *key)
{
	return &key->info;
}

static struct cy_slice pubkey_spki(const struct cy_pubkey *key)
{
	return cy_slice(key->spki, key->spki_len);
}

static void privkey_unref(struct cy_privkey *key)
{
	if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
		return;
	limbs_free(key->p, key->pn);
	limbs_free(key->q, key->qn);
	limbs_free(key->dp, key->pn);
	limbs_free(key->dq, key->qn);
	limbs_free(key->qinv, key->pn);
	pubkey_unref(key->pub);
	free(key);
}

static mp_limb_t *number(struct cy_slice s, size_t n)
{
	mp_limb_t *p = s.n <= n * sizeof(mp_limb_t) ? limbs_new(n) : NULL;

	if (p)
		limbs_read(p, n, s);
	return p;
}

/* Do the parts belong together: p q = n, and the exponents and the coefficient in range? */
static bool consistent(const struct cy_privkey *k)
{
	size_t n = k->pn + k->qn, scratch_n;
	mp_limb_t *product = limbs_new(n), *scratch;
	bool ok;

	scratch_n = (size_t)mpn_sec_mul_itch(
	    (mp_size_t)(k->pn > k->qn ? k->pn : k->qn), (mp_size_t)(k->pn > k->qn ? k->qn : k->pn));
	scratch = limbs_new(scratch_n);
	ok = product && scratch && (k->p[0] & 1) && (k->q[0] & 1) && k->pub->limbs <= n;
	if (ok) {
		if (k->pn >= k->qn)
			mpn_sec_mul(product, k->p, (mp_size_t)k->pn, k->q, (mp_size_t)k->qn, scratch);
		else
			mpn_sec_mul(product, k->q, (mp_size_t)k->qn, k->p, (mp_size_t)k->pn, scratch);
		ok = mpn_cmp(product, k->pub->n, (mp_size_t)k->pub->limbs) == 0 &&
		    (n == k->pub->limbs ||
		        mpn_zero_p(product + k->pub->limbs, (mp_size_t)(n - k->pub->limbs))) &&
		    mpn_cmp(k->dp, k->p, (mp_size_t)k->pn) < 0 &&
		    mpn_cmp(k->dq, k->q, (mp_size_t)k->qn) < 0 &&
		    mpn_cmp(k->qinv, k->p, (mp_size_t)k->pn) < 0;
	}
	limbs_free(scratch, scratch ? scratch_n : 0);
	limbs_free(product, product ? n : 0);
	return ok;
}

static enum cy_err privkey_new(
    const struct gmp_rsa_numbers *num, struct cy_privkey **out, const char **out_why)
{
	struct cy_privkey *k = calloc(1, sizeof(*k));
	enum cy_err err;

	if (!k)
		return CY_E_NOMEM;
	atomic_init(&k->refs, 1);
	err = pubkey_new(num->n, num->e, &k->pub, out_why);
	if (err == CY_OK &&
	    (num->p.n == 0 || num->q.n == 0 || num->p.n > MAX_BYTES || num->q.n > MAX_BYTES ||
	        num->dp.n > num->p.n || num->dq.n > num->q.n || num->qinv.n > num->p.n))
		err = fail(CY_E_PARSE, out_why, "the RSA private key is malformed");
	if (err == CY_OK) {
		k->pn = LIMBS(num->p.n * 8);
		k->qn = LIMBS(num->q.n * 8);
		k->p = number(num->p, k->pn);
		k->q = number(num->q, k->qn);
		k->dp = number(num->dp, k->pn);
		k->dq = number(num->dq, k->qn);
		k->qinv = number(num->qinv, k->pn);
		if (!k->p || !k->q || !k->dp || !k->dq || !k->qinv)
			err = CY_E_NOMEM;
		else if (!consistent(k))
			err = fail(
			    CY_E_PARSE, out_why, "the parts of the RSA private key do not belong together");
	}
	if (err == CY_OK)
		*out = k;
	else
		privkey_unref(k);
	return err;
}

static enum cy_err privkey_load(
    struct cy_slice data, cy_passphrase_fn pass, void *user, struct cy_privkey **out, const char **out_why)
{
	struct gmp_rsa_numbers num;
	struct cy_slice der;
	uint8_t *copy;
	size_t len;
	bool other = false;
	enum cy_err err;
	const char *why = unwrap(data, &der, &copy, &len);

	if (!why)
		why = gmp_read_private(der, &num, &other);
	if (why)
		err = fail(other ? CY_E_UNSUPPORTED : CY_E_PARSE, out_why, why);
	else
		err = privkey_new(&num, out, out_why);
	wipe(copy, len);
	free(copy);
	return err;
}

static struct cy_privkey *privkey_ref(struct cy_privkey *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

static const struct cy_key_info *privkey_info(const struct cy_privkey *key)
{
	return &key->pub->info;
}

static size_t sig_max(const struct cy_privkey *key)
{
	return key->pub->bytes;
}

/* --- the operations on numbers (RFC 8017, 5) --- */

/* r = s^e mod n */
static bool public_op(const struct cy_pubkey *k, const mp_limb_t *s, mp_limb_t *r)
{
	return limbs_powm(r, s, k->limbs, k->e, k->e_bits, k->n, k->limbs);
}

/* out (n limbs) = m^d mod prime */
static bool half_op(
    const mp_limb_t *m, size_t m_n, const mp_limb_t *prime, const mp_limb_t *d, size_t n, mp_limb_t *out)
{
	size_t room = m_n > n ? m_n : n;
	mp_limb_t *t = limbs_new(room);
	bool ok = t != NULL;

	if (ok) {
		memcpy(t, m, m_n * sizeof(*t));
		ok = limbs_mod(t, room, prime, n) && limbs_powm(out, t, n, d, n * GMP_NUMB_BITS, prime, n);
	}
	limbs_free(t, t ? room : 0);
	return ok;
}

static bool multiply(mp_limb_t *r, const mp_limb_t *a, size_t an, const mp_limb_t *b, size_t bn)
{
	size_t scratch_n;
	mp_limb_t *scratch;

	if (an < bn)
		return multiply(r, b, bn, a, an);
	scratch_n = (size_t)mpn_sec_mul_itch((mp_size_t)an, (mp_size_t)bn);
	scratch = limbs_new(scratch_n);
	if (!scratch)
		return false;
	mpn_sec_mul(r, a, (mp_size_t)an, b, (mp_size_t)bn, scratch);
	limbs_free(scratch, scratch_n);
	return true;
}

/* s = s_q + q ((s_p - s_q) qinv mod p), of pn + qn limbs (RFC 8017, 5.1.2, 2b). */
static bool combine(const struct cy_privkey *k, const mp_limb_t *s_p, const mp_limb_t *s_q, mp_limb_t *s)
{
	size_t pn = k->pn, qn = k->qn, room = pn > qn ? pn : qn;
	mp_limb_t *t = limbs_new(room), *h = limbs_new(2 * pn), borrow;
	bool ok = t && h;

	if (ok) {
		memcpy(t, s_q, qn * sizeof(*t));
		ok = limbs_mod(t, room, k->p, pn);
	}
	if (ok) {
		borrow = mpn_sub_n(t, s_p, t, (mp_size_t)pn);
		mpn_cnd_add_n(borrow, t, t, k->p, (mp_size_t)pn);
		ok = multiply(h, t, pn, k->qinv, pn) && limbs_mod(h, 2 * pn, k->p, pn) &&
		    multiply(s, h, pn, k->q, qn);
	}
	if (ok) {
		mp_limb_t *low = limbs_new(pn + qn);

		ok = low != NULL;
		if (ok) {
			memcpy(low, s_q, qn * sizeof(*low));
			mpn_add_n(s, s, low, (mp_size_t)(pn + qn));
		}
		limbs_free(low, low ? pn + qn : 0);
	}
	limbs_free(t, t ? room : 0);
	limbs_free(h, h ? 2 * pn : 0);
	return ok;
}

/* out = em^d mod n, both as long as the modulus. */
static enum cy_err private_op(const struct cy_privkey *k, const uint8_t *em, uint8_t *out)
{
	size_t n = k->pub->limbs, sum = k->pn + k->qn;
	mp_limb_t *m = limbs_new(n), *check = limbs_new(n), *s_p = limbs_new(k->pn), *s_q = limbs_new(k->qn),
	          *s = limbs_new(sum > n ? sum : n);
	enum cy_err err = CY_E_NOMEM;

	if (m && check && s_p && s_q && s) {
		limbs_read(m, n, cy_slice(em, k->pub->bytes));
		if (half_op(m, n, k->p, k->dp, k->pn, s_p) && half_op(m, n, k->q, k->dq, k->qn, s_q) &&
		    combine(k, s_p, s_q, s) && public_op(k->pub, s, check))
			/* a fault in one half, or wrong parts, must not get out (Boneh, DeMillo, Lipton) */
			err = mpn_cmp(check, m, (mp_size_t)n) == 0 ? CY_OK : CY_E_BUG;
	}
	if (err == CY_OK)
		limbs_write(s, n, out, k->pub->bytes);
	limbs_free(m, m ? n : 0);
	limbs_free(check, check ? n : 0);
	limbs_free(s_p, s_p ? k->pn : 0);
	limbs_free(s_q, s_q ? k->qn : 0);
	limbs_free(s, s ? (sum > n ? sum : n) : 0);
	return err;
}

/* --- encodings (RFC 8017, 9) --- */

/* DigestInfo before the hash, RFC 8017, 9.2, note 1. */
static const struct {
	enum cy_hash hash;
	uint8_t len, prefix_len;
	uint8_t prefix[19];
} infos[] = {
    {CY_HASH_SHA1, 20, 15, {0x30, 0x21, 0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0, 4, 0x14}},
    {CY_HASH_SHA2_256, 32, 19,
        {0x30, 0x31, 0x30, 0xd, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20}},
    {CY_HASH_SHA2_384, 48, 19,
        {0x30, 0x41, 0x30, 0xd, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2, 5, 0, 4, 0x30}},
    {CY_HASH_SHA2_512, 64, 19,
        {0x30, 0x51, 0x30, 0xd, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 0x40}},
};

static int info_of(enum cy_hash hash)
{
	for (size_t i = 0; i < ARRAY_LEN(infos); i++)
		if (infos[i].hash == hash)
			return (int)i;
	return -1;
}

/* 00 01 ff .. ff 00 text */
static bool pad_pkcs1(const uint8_t *text, size_t n, uint8_t *em, size_t em_len)
{
	if (em_len < n + 11)
		return false;
	memset(em, 0xff, em_len);
	em[0] = 0;
	em[1] = 1;
	em[em_len - n - 1] = 0;
	memcpy(em + em_len - n, text, n);
	return true;
}

static enum cy_err encode_pkcs1(
    enum cy_hash hash, const struct cy_slice *in, size_t n_in, uint8_t *em, size_t em_len)
{
	uint8_t text[19 + CY_MAX_HASH_LEN];
	int i = info_of(hash);

	if (i < 0)
		return CY_E_INVAL;
	memcpy(text, infos[i].prefix, infos[i].prefix_len);
	if (!digest(hash, in, n_in, text + infos[i].prefix_len))
		return CY_E_UNSUPPORTED;
	return pad_pkcs1(text, (size_t)infos[i].prefix_len + infos[i].len, em, em_len) ? CY_OK : CY_E_INVAL;
}

static enum cy_err encode_raw(const struct cy_slice *in, size_t n_in, uint8_t *em, size_t em_len)
{
	uint8_t text[MAX_BYTES];
	size_t n = 0;

	for (size_t i = 0; i < n_in; i++) {
		if (in[i].n > sizeof(text) - n)
			return CY_E_INVAL;
		if (in[i].n)
			memcpy(text + n, in[i].p, in[i].n);
		n += in[i].n;
	}
	return pad_pkcs1(text, n, em, em_len) ? CY_OK : CY_E_INVAL;
}

/* MGF1 (RFC 8017, B.2.1), xored onto out. */
static bool mask(enum cy_hash hash, size_t hash_len, const uint8_t *seed, uint8_t *out, size_t n)
{
	uint8_t block[CY_MAX_HASH_LEN], counter[4];
	struct cy_slice in[] = {{seed, hash_len}, {counter, 4}};

	for (uint32_t i = 0; i * hash_len < n; i++) {
		for (int b = 0; b < 4; b++)
			counter[b] = (uint8_t)(i >> (24 - 8 * b));
		if (!digest(hash, in, 2, block))
			return false;
		for (size_t k = 0; k < hash_len && i * hash_len + k < n; k++)
			out[i * hash_len + k] ^= block[k];
	}
	return true;
}

/* H = Hash(eight zeros || Hash(M) || salt) */
static bool pss_hash(
    enum cy_hash hash, size_t len, const struct cy_slice *in, size_t n_in, const uint8_t *salt, uint8_t *out)
{
	static const uint8_t zeros[8];
	uint8_t m[CY_MAX_HASH_LEN];
	struct cy_slice all[] = {{zeros, 8}, {m, len}, {salt, len}};

	return digest(hash, in, n_in, m) && digest(hash, all, 3, out);
}

/* EMSA-PSS-ENCODE (9.1.1) with a salt as long as the hash; em_bits is one less than the modulus has. */
static enum cy_err encode_pss(
    enum cy_hash hash, const struct cy_slice *in, size_t n_in, uint8_t *out, size_t out_len, size_t em_bits)
{
	size_t em_len = (em_bits + 7) / 8, len, db;
	uint8_t *em = out + (out_len - em_len);
	int i = info_of(hash);

	if (i < 0)
		return CY_E_INVAL;
	len = infos[i].len;
	if (em_len < 2 * len + 2)
		return CY_E_INVAL;
	db = em_len - len - 1;
	memset(out, 0, out_len);
	em[db - len - 1] = 1;
	plugin->host->random(plugin->self, em + db - len, len);
	if (!pss_hash(hash, len, in, n_in, em + db - len, em + db) || !mask(hash, len, em + db, em, db))
		return CY_E_UNSUPPORTED;
	em[0] &= (uint8_t)(0xff >> (8 * em_len - em_bits));
	em[em_len - 1] = 0xbc;
	return CY_OK;
}

/* EMSA-PSS-VERIFY (9.1.2). em is changed. */
static enum cy_err check_pss(enum cy_hash hash, const struct cy_slice *in, size_t n_in, uint8_t *whole,
    size_t whole_len, size_t em_bits)
{
	size_t em_len = (em_bits + 7) / 8, len, db;
	uint8_t *em = whole + (whole_len - em_len), h[CY_MAX_HASH_LEN];
	uint8_t top = (uint8_t)(0xff >> (8 * em_len - em_bits));
	int i = info_of(hash);

	if (i < 0)
		return CY_E_INVAL;
	len = infos[i].len;
	if (em_len < 2 * len + 2 || (whole_len > em_len && whole[0] != 0) || em[em_len - 1] != 0xbc ||
	    (em[0] & ~top))
		return CY_E_AUTH;
	db = em_len - len - 1;
	if (!mask(hash, len, em + db, em, db))
		return CY_E_UNSUPPORTED;
	em[0] &= top;
	for (size_t k = 0; k < db - len - 1; k++)
		if (em[k] != 0)
			return CY_E_AUTH;
	if (em[db - len - 1] != 1)
		return CY_E_AUTH;
	if (!pss_hash(hash, len, in, n_in, em + db - len, h))
		return CY_E_UNSUPPORTED;
	return memcmp(h, em + db, len) == 0 ? CY_OK : CY_E_AUTH;
}

static enum cy_err encode(enum cy_sig_scheme scheme, enum cy_hash hash, const struct cy_slice *in,
    size_t n_in, const struct cy_pubkey *key, uint8_t *em)
{
	switch (scheme) {
	case CY_SIG_RSA_PKCS1:
		return encode_pkcs1(hash, in, n_in, em, key->bytes);
	case CY_SIG_RSA_PKCS1_RAW:
		return encode_raw(in, n_in, em, key->bytes);
	case CY_SIG_RSA_PSS:
		return encode_pss(hash, in, n_in, em, key->bytes, key->info.bits - 1);
	default:
		return CY_E_INVAL;
	}
}

static enum cy_err sign(struct cy_privkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, uint8_t *out, size_t *out_len)
{
	uint8_t em[MAX_BYTES];
	enum cy_err err = encode(scheme, hash, in, n_in, key->pub, em);

	if (err == CY_OK)
		err = private_op(key, em, out);
	if (err == CY_OK)
		*out_len = key->pub->bytes;
	return err;
}

static enum cy_err verify(struct cy_pubkey *key, enum cy_sig_scheme scheme, enum cy_hash hash,
    const struct cy_slice *in, size_t n_in, struct cy_slice sig)
{
	uint8_t em[MAX_BYTES], want[MAX_BYTES];
	mp_limb_t *s, *r;
	enum cy_err err = CY_E_NOMEM;

	if (scheme != CY_SIG_RSA_PKCS1 && scheme != CY_SIG_RSA_PKCS1_RAW && scheme != CY_SIG_RSA_PSS)
		return CY_E_INVAL;
	if (sig.n != key->bytes)
		return CY_E_AUTH;
	s = limbs_new(key->limbs);
	r = limbs_new(key->limbs);
	if (s && r) {
		limbs_read(s, key->limbs, sig);
		/* out of range (8.1.2, 2b), and zero, which the library does not take */
		if (mpn_cmp(s, key->n, (mp_size_t)key->limbs) >= 0 || mpn_zero_p(s, (mp_size_t)key->limbs))
			err = CY_E_AUTH;
		else
			err = public_op(key, s, r) ? CY_OK : CY_E_NOMEM;
	}
	if (err == CY_OK)
		limbs_write(r, key->limbs, em, key->bytes);
	free(s);
	free(r);
	if (err != CY_OK)
		return err;
	if (scheme == CY_SIG_RSA_PSS)
		return check_pss(hash, in, n_in, em, key->bytes, key->info.bits - 1);
	/* made again and compared whole, so that nothing of the padding is left to a parser */
	err = encode(scheme, hash, in, n_in, key, want);
	if (err == CY_OK && memcmp(em, want, key->bytes) != 0)
		err = CY_E_AUTH;
	return err;
}

const struct cy_pki_ops gmp_pki = {
    .size = sizeof(gmp_pki),
    .name = "gmp",
    .privkey_load = privkey_load,
    .privkey_ref = privkey_ref,
    .privkey_unref = privkey_unref,
    .privkey_info = privkey_info,
    .privkey_sig_max = sig_max,
    .sign = sign,
    .pubkey_load = pubkey_load,
    .pubkey_ref = pubkey_ref,
    .pubkey_unref = pubkey_unref,
    .pubkey_info = pubkey_info,
    .pubkey_spki = pubkey_spki,
    .verify = verify,
};
