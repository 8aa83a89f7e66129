/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes and HMAC. */

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "ossl.h"

void *ossl_spare_take(struct ossl_spare *s)
{
	void *ctx;

	pthread_mutex_lock(&s->lock);
	ctx = s->n ? s->ctx[--s->n] : NULL;
	pthread_mutex_unlock(&s->lock);
	return ctx;
}

bool ossl_spare_put(struct ossl_spare *s, void *ctx)
{
	bool ok;

	pthread_mutex_lock(&s->lock);
	ok = s->n < OSSL_SPARE;
	if (ok)
		s->ctx[s->n++] = ctx;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

static bool update_all(EVP_MD_CTX *md, const struct cy_slice *in, size_t n_in)
{
	for (size_t i = 0; i < n_in; i++)
		if (in[i].n && EVP_DigestUpdate(md, in[i].p, in[i].n) != 1)
			return false;
	return true;
}

static enum cy_err hash_digest(
    const struct cy_hash_alg *alg, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	const struct ossl_hash *h = container_of(alg, const struct ossl_hash, alg);
	EVP_MD_CTX *md = ossl_spare_take(h->spare);
	bool ok;

	if (!md)
		md = EVP_MD_CTX_new();
	if (!md)
		return CY_E_NOMEM;
	ok = EVP_DigestInit_ex2(md, h->md, NULL) == 1 && update_all(md, in, n_in) &&
	    EVP_DigestFinal_ex(md, out, NULL) == 1;
	if (!ok || !ossl_spare_put(h->spare, md))
		EVP_MD_CTX_free(md);
	if (!ok)
		ERR_clear_error();
	return ok ? CY_OK : CY_E_UNSUPPORTED;
}

static const struct {
	uint16_t id, mac, len, block_len;
	const char *name;
} hashes[] = {
    {CY_HASH_SHA2_256, CY_MAC_HMAC_SHA2_256, 32, 64, "SHA2-256"},
    {CY_HASH_SHA2_384, CY_MAC_HMAC_SHA2_384, 48, 128, "SHA2-384"},
    {CY_HASH_SHA2_512, CY_MAC_HMAC_SHA2_512, 64, 128, "SHA2-512"},
    {CY_HASH_SHA1, CY_MAC_HMAC_SHA1, 20, 64, "SHA1"},
    {CY_HASH_MD5, CY_MAC_HMAC_MD5, 16, 64, "MD5"},
};
_Static_assert(ARRAY_LEN(hashes) <= OSSL_MAX_HASHES, "struct ossl has too few hashes");

void ossl_hashes_init(struct ossl *o)
{
	for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
		struct ossl_hash *h = &o->hashes[i];

		h->spare = &o->hash_spares[i];
		pthread_mutex_init(&h->spare->lock, NULL);
		h->md = EVP_MD_fetch(NULL, hashes[i].name, NULL);
		if (!h->md) {
			ERR_clear_error();
			continue;
		}
		h->alg = (struct cy_hash_alg){
		    sizeof(h->alg), hashes[i].id, hashes[i].len, hashes[i].block_len, hash_digest};
		ossl_provide(o, CY_KIND_HASH, &h->alg);
	}
}

void ossl_hashes_fini(struct ossl *o)
{
	for (size_t i = 0; i < OSSL_MAX_HASHES; i++) {
		struct ossl_spare *s = &o->hash_spares[i];

		while (s->n)
			EVP_MD_CTX_free(s->ctx[--s->n]);
		EVP_MD_free(o->hashes[i].md);
	}
}

/* --- HMAC (RFC 2104) --- */

/*
 * OpenSSL's own HMAC allocates for every message, because it copies digest contexts. This one starts its context again and
 * hashes the padded key, which is one block each and costs less.
 */
struct hmac_ctx {
	const struct ossl_mac *mac;
	EVP_MD_CTX *md;
	uint16_t block_len;
	bool keyed;
	uint8_t inner[128], outer[128]; /* the key with ipad and opad */
};

static void hmac_end(struct hmac_ctx *c)
{
	EVP_MD_CTX_free(c->md);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
}

/*
 * The padded keys are wiped. The digest has read the outer one last; hashing something else leaves nothing of it behind either.
 */
static void hmac_free(void *ctx)
{
	static const uint8_t zero[128];
	struct hmac_ctx *c = ctx;

	if (!c)
		return;
	OPENSSL_cleanse(c->inner, sizeof(c->inner));
	OPENSSL_cleanse(c->outer, sizeof(c->outer));
	c->keyed = false;
	if (EVP_DigestInit_ex2(c->md, NULL, NULL) != 1 || EVP_DigestUpdate(c->md, zero, c->block_len) != 1 ||
	    !ossl_spare_put(c->mac->spare, c))
		hmac_end(c);
}

static enum cy_err hmac_new(const struct cy_mac_alg *alg, void **out_ctx)
{
	const struct ossl_mac *mac = container_of(alg, const struct ossl_mac, alg);
	struct hmac_ctx *c = ossl_spare_take(mac->spare);

	if (c) {
		*out_ctx = c;
		return CY_OK;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return CY_E_NOMEM;
	c->mac = mac;
	c->block_len = (uint16_t)EVP_MD_get_block_size(c->mac->md);
	c->md = EVP_MD_CTX_new();
	if (!c->md || c->block_len > sizeof(c->inner) || EVP_DigestInit_ex2(c->md, c->mac->md, NULL) != 1) {
		hmac_end(c);
		return CY_E_NOMEM;
	}
	*out_ctx = c;
	return CY_OK;
}

static enum cy_err hmac_key(void *ctx, struct cy_slice key)
{
	struct hmac_ctx *c = ctx;
	uint8_t block[128] = {0};
	bool ok = true;

	if (key.n > c->block_len)
		ok = EVP_DigestInit_ex2(c->md, NULL, NULL) == 1 &&
		    EVP_DigestUpdate(c->md, key.p, key.n) == 1 && EVP_DigestFinal_ex(c->md, block, NULL) == 1;
	else if (key.n)
		memcpy(block, key.p, key.n);
	for (size_t i = 0; i < c->block_len; i++) {
		c->inner[i] = block[i] ^ 0x36;
		c->outer[i] = block[i] ^ 0x5c;
	}
	OPENSSL_cleanse(block, sizeof(block));
	c->keyed = ok;
	return ok ? CY_OK : CY_E_BUG;
}

static enum cy_err hmac_mac(void *ctx, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	struct hmac_ctx *c = ctx;

	if (!c->keyed)
		return CY_E_INVAL;
	if (EVP_DigestInit_ex2(c->md, NULL, NULL) == 1 &&
	    EVP_DigestUpdate(c->md, c->inner, c->block_len) == 1 && update_all(c->md, in, n_in) &&
	    EVP_DigestFinal_ex(c->md, out, NULL) == 1 && EVP_DigestInit_ex2(c->md, NULL, NULL) == 1 &&
	    EVP_DigestUpdate(c->md, c->outer, c->block_len) == 1 &&
	    EVP_DigestUpdate(c->md, out, c->mac->alg.len) == 1 && EVP_DigestFinal_ex(c->md, out, NULL) == 1)
		return CY_OK;
	ERR_clear_error();
	return CY_E_BUG;
}

/* --- AES-XCBC (RFC 3566) and AES-CMAC (RFC 4493) --- */

/* Both are CBC-MACs that change the last block; they differ in the keys only. */
struct cbcmac_ctx {
	const struct ossl_mac *mac;
	EVP_CIPHER_CTX *evp;
	bool keyed;
	uint8_t whole[16], partial[16]; /* K2 and K3 of RFC 3566; K1 and K2 of RFC 4493 */
};

static void cbcmac_free(void *ctx)
{
	struct cbcmac_ctx *c = ctx;

	if (!c)
		return;
	EVP_CIPHER_CTX_free(c->evp);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
}

static enum cy_err cbcmac_new(const struct cy_mac_alg *alg, void **out_ctx)
{
	struct cbcmac_ctx *c = calloc(1, sizeof(*c));

	if (!c)
		return CY_E_NOMEM;
	c->mac = container_of(alg, const struct ossl_mac, alg);
	c->evp = EVP_CIPHER_CTX_new();
	if (!c->evp || EVP_EncryptInit_ex2(c->evp, c->mac->aes_cbc, NULL, NULL, NULL) != 1 ||
	    EVP_CIPHER_CTX_set_padding(c->evp, 0) != 1) {
		cbcmac_free(c);
		return CY_E_NOMEM;
	}
	*out_ctx = c;
	return CY_OK;
}

static bool set_key(struct cbcmac_ctx *c, const uint8_t *key)
{
	return EVP_EncryptInit_ex2(c->evp, NULL, key, NULL, NULL) == 1;
}

static bool start(struct cbcmac_ctx *c)
{
	static const uint8_t zero[16];

	return EVP_EncryptInit_ex2(c->evp, NULL, NULL, zero, NULL) == 1;
}

/* One block: out = AES(in xor the chaining value). */
static bool block(struct cbcmac_ctx *c, const uint8_t in[16], uint8_t out[16])
{
	int done;

	return EVP_EncryptUpdate(c->evp, out, &done, in, 16) == 1 && done == 16;
}

/* AES of a single byte repeated, under the key that is set. */
static bool derive(struct cbcmac_ctx *c, uint8_t byte, uint8_t out[16])
{
	uint8_t in[16];

	memset(in, byte, sizeof(in));
	return start(c) && block(c, in, out);
}

/* Multiply by x in GF(2^128) (RFC 4493, 2.3), without a branch on the secret. */
static void twice(const uint8_t in[16], uint8_t out[16])
{
	uint8_t carry = (uint8_t)(0 - (in[0] >> 7));

	for (int i = 0; i < 15; i++)
		out[i] = (uint8_t)(in[i] << 1 | in[i + 1] >> 7);
	out[15] = (uint8_t)(in[15] << 1 ^ (carry & 0x87));
}

static enum cy_err cbcmac_key(void *ctx, struct cy_slice key)
{
	struct cbcmac_ctx *c = ctx;
	uint8_t k[16];
	bool ok;

	c->keyed = false;
	if (key.n != 16)
		return CY_E_INVAL;
	if (c->mac->alg.id == CY_MAC_AES_XCBC) {
		ok = set_key(c, key.p) && derive(c, 1, k) && derive(c, 2, c->whole) &&
		    derive(c, 3, c->partial) && set_key(c, k);
	} else {
		ok = set_key(c, key.p) && derive(c, 0, k);
		twice(k, c->whole);
		twice(c->whole, c->partial);
	}
	OPENSSL_cleanse(k, sizeof(k));
	c->keyed = ok;
	return ok ? CY_OK : CY_E_BUG;
}

static enum cy_err cbcmac_mac(void *ctx, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	struct cbcmac_ctx *c = ctx;
	uint8_t last[16], chain[16];
	size_t have = 0;
	bool ok;

	if (!c->keyed)
		return CY_E_INVAL;
	ok = start(c);
	/* a block goes in when more follows, so that the last one, even a whole one, stays here */
	for (size_t i = 0; i < n_in && ok; i++) {
		const uint8_t *p = in[i].p;
		size_t left = in[i].n;

		while (left && ok) {
			size_t n = sizeof(last) - have;

			if (n == 0) {
				ok = block(c, last, chain);
				have = 0;
				continue;
			}
			if (n > left)
				n = left;
			memcpy(last + have, p, n);
			have += n;
			p += n;
			left -= n;
		}
	}
	if (have < sizeof(last)) {
		last[have] = 0x80;
		memset(last + have + 1, 0, sizeof(last) - have - 1);
	}
	for (size_t i = 0; i < sizeof(last); i++)
		last[i] ^= have == sizeof(last) ? c->whole[i] : c->partial[i];
	ok = ok && block(c, last, out);
	OPENSSL_cleanse(last, sizeof(last));
	OPENSSL_cleanse(chain, sizeof(chain));
	if (!ok)
		ERR_clear_error();
	return ok ? CY_OK : CY_E_BUG;
}

void ossl_macs_init(struct ossl *o)
{
	static const uint16_t cbc_macs[] = {CY_MAC_AES_XCBC, CY_MAC_AES_CMAC};
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
		struct ossl_mac *m = &o->macs[at];

		m->spare = &o->mac_spares[at];
		pthread_mutex_init(&m->spare->lock, NULL);
		m->md = EVP_MD_fetch(NULL, hashes[i].name, NULL);
		if (!m->md)
			continue;
		m->alg = (struct cy_mac_alg){
		    sizeof(m->alg), hashes[i].mac, hashes[i].len, 0, hmac_new, hmac_free, hmac_key, hmac_mac};
		ossl_provide(o, CY_KIND_MAC, &m->alg);
		at++;
	}
	for (size_t i = 0; i < ARRAY_LEN(cbc_macs); i++) {
		struct ossl_mac *m = &o->macs[at];

		m->aes_cbc = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
		if (!m->aes_cbc)
			continue;
		m->alg = (struct cy_mac_alg){
		    sizeof(m->alg), cbc_macs[i], 16, 16, cbcmac_new, cbcmac_free, cbcmac_key, cbcmac_mac};
		ossl_provide(o, CY_KIND_MAC, &m->alg);
		at++;
	}
	ERR_clear_error();
}

void ossl_macs_fini(struct ossl *o)
{
	for (size_t i = 0; i < OSSL_MAX_MACS; i++) {
		struct ossl_spare *s = &o->mac_spares[i];

		while (s->n)
			hmac_end(s->ctx[--s->n]);
		EVP_MD_free(o->macs[i].md);
		EVP_CIPHER_free(o->macs[i].aes_cbc);
	}
}
_Static_assert(ARRAY_LEN(hashes) + 2 <= OSSL_MAX_MACS, "struct ossl has too few MACs");
