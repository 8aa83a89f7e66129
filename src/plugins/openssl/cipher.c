/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ciphers. A packet costs no allocation and no look-up: the context keeps its key schedule, and crypt() sets the nonce,
 * updates and finishes.
 */

#include <limits.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "ossl.h"

struct cipher_ctx {
	const struct ossl_cipher *cipher;
	EVP_CIPHER_CTX *evp;
	const EVP_CIPHER *current; /* what evp is set up for */
	bool encrypt, keyed;
};

static enum cy_err cipher_new(const struct cy_cipher_alg *alg, void **out_ctx)
{
	struct cipher_ctx *c = calloc(1, sizeof(*c));

	if (!c)
		return CY_E_NOMEM;
	c->cipher = container_of(alg, const struct ossl_cipher, alg);
	c->evp = EVP_CIPHER_CTX_new();
	if (!c->evp) {
		free(c);
		return CY_E_NOMEM;
	}
	*out_ctx = c;
	return CY_OK;
}

static void cipher_free(void *ctx)
{
	struct cipher_ctx *c = ctx;

	if (!c)
		return;
	EVP_CIPHER_CTX_free(c->evp); /* wipes the key schedule */
	free(c);
}

static bool set_cipher(struct cipher_ctx *c, const EVP_CIPHER *evp, bool encrypt)
{
	const struct cy_cipher_alg *alg = &c->cipher->alg;

	c->current = NULL;
	if (EVP_CipherInit_ex2(c->evp, evp, NULL, NULL, encrypt, NULL) != 1)
		return false;
	if (c->cipher->mode == OSSL_CCM &&
	    (EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_SET_IVLEN, alg->salt_len + alg->iv_len, NULL) != 1 ||
	        EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_SET_TAG, alg->icv_len, NULL) != 1))
		return false;
	c->current = evp;
	return true;
}

static enum cy_err cipher_key(void *ctx, struct cy_slice key, bool encrypt)
{
	struct cipher_ctx *c = ctx;
	const struct ossl_cipher *cipher = c->cipher;
	const EVP_CIPHER *evp = NULL;

	c->encrypt = encrypt;
	c->keyed = false;
	if (cipher->mode == OSSL_NULL) {
		c->keyed = key.n == 0;
		return c->keyed ? CY_OK : CY_E_INVAL;
	}
	for (int i = 0; i < cipher->alg.n_key_bits; i++)
		if (cipher->alg.key_bits[i] == key.n * 8)
			evp = cipher->evp[i];
	if (!evp)
		return CY_E_INVAL;
	if ((evp != c->current && !set_cipher(c, evp, encrypt)) ||
	    EVP_CipherInit_ex2(c->evp, NULL, key.p, NULL, encrypt, NULL) != 1 ||
	    (cipher->mode == OSSL_CBC && EVP_CIPHER_CTX_set_padding(c->evp, 0) != 1)) {
		ERR_clear_error();
		return CY_E_UNSUPPORTED;
	}
	c->keyed = true;
	return CY_OK;
}

static bool set_nonce(struct cipher_ctx *c, const uint8_t *nonce)
{
	return EVP_CipherInit_ex2(c->evp, NULL, NULL, nonce, -1, NULL) == 1;
}

static bool add_aad(struct cipher_ctx *c, const uint8_t *p, size_t n)
{
	int done;

	return n == 0 || EVP_CipherUpdate(c->evp, NULL, &done, p, (int)n) == 1;
}

static bool set_tag(struct cipher_ctx *c, uint8_t *tag)
{
	return EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_SET_TAG, c->cipher->alg.icv_len, tag) == 1;
}

static bool get_tag(struct cipher_ctx *c, uint8_t *tag)
{
	return EVP_CIPHER_CTX_ctrl(c->evp, EVP_CTRL_AEAD_GET_TAG, c->cipher->alg.icv_len, tag) == 1;
}

/* The end of GCM, GMAC and ChaCha20-Poly1305: make or check the tag. */
static enum cy_err aead_end(struct cipher_ctx *c, uint8_t *tag)
{
	uint8_t rest[EVP_MAX_BLOCK_LENGTH];
	int done;

	if (EVP_CipherFinal_ex(c->evp, rest, &done) != 1)
		return c->encrypt ? CY_E_BUG : CY_E_AUTH;
	return !c->encrypt || get_tag(c, tag) ? CY_OK : CY_E_BUG;
}

static enum cy_err crypt_aead(
    struct cipher_ctx *c, const uint8_t *nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	int done;

	if (!set_nonce(c, nonce) || (!c->encrypt && !set_tag(c, tag)) || !add_aad(c, aad.p, aad.n))
		return CY_E_BUG;
	if (len && EVP_CipherUpdate(c->evp, data, &done, data, (int)len) != 1)
		return CY_E_BUG;
	return aead_end(c, tag);
}

/* RFC 4543, 3.3: the IV and the payload are authenticated after the AAD, nothing is encrypted. */
static enum cy_err crypt_gmac(
    struct cipher_ctx *c, const uint8_t *nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	const struct cy_cipher_alg *alg = &c->cipher->alg;

	if (!set_nonce(c, nonce) || (!c->encrypt && !set_tag(c, tag)) || !add_aad(c, aad.p, aad.n) ||
	    !add_aad(c, nonce + alg->salt_len, alg->iv_len) || !add_aad(c, data, len))
		return CY_E_BUG;
	return aead_end(c, tag);
}

/* CCM must know the length first, and checks the tag while it decrypts. */
static enum cy_err crypt_ccm(
    struct cipher_ctx *c, const uint8_t *nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	int done;

	/* ESP and IKE end with at least a pad length, and OpenSSL makes no tag of nothing */
	if (len == 0)
		return CY_E_INVAL;
	if (!set_nonce(c, nonce) || (!c->encrypt && !set_tag(c, tag)) ||
	    EVP_CipherUpdate(c->evp, NULL, &done, NULL, (int)len) != 1 || !add_aad(c, aad.p, aad.n))
		return CY_E_BUG;
	if (EVP_CipherUpdate(c->evp, data, &done, data, (int)len) != 1)
		return c->encrypt ? CY_E_BUG : CY_E_AUTH;
	return !c->encrypt || get_tag(c, tag) ? CY_OK : CY_E_BUG;
}

static enum cy_err crypt_plain(struct cipher_ctx *c, const uint8_t *iv, uint8_t *data, size_t len)
{
	int done = 0;

	if (len % c->cipher->alg.block_len != 0)
		return CY_E_INVAL;
	if (!set_nonce(c, iv) || (len && EVP_CipherUpdate(c->evp, data, &done, data, (int)len) != 1) ||
	    (size_t)done != len)
		return CY_E_BUG;
	return CY_OK;
}

static enum cy_err cipher_crypt(
    void *ctx, struct cy_slice nonce, struct cy_slice aad, uint8_t *data, size_t len, uint8_t *tag)
{
	struct cipher_ctx *c = ctx;
	const struct cy_cipher_alg *alg = &c->cipher->alg;
	enum cy_err err = CY_E_BUG;

	if (!c->keyed || len > INT_MAX || aad.n > INT_MAX || nonce.n != (size_t)alg->salt_len + alg->iv_len)
		return CY_E_INVAL;
	switch (c->cipher->mode) {
	case OSSL_NULL:
		return CY_OK;
	case OSSL_CBC:
		err = crypt_plain(c, nonce.p, data, len);
		break;
	case OSSL_CTR: {
		/* RFC 3686, 4: nonce, IV, and a block counter that begins with one */
		uint8_t counter[16] = {0};

		memcpy(counter, nonce.p, 12);
		counter[15] = 1;
		err = crypt_plain(c, counter, data, len);
		break;
	}
	case OSSL_AEAD:
		err = crypt_aead(c, nonce.p, aad, data, len, tag);
		break;
	case OSSL_GMAC:
		err = crypt_gmac(c, nonce.p, aad, data, len, tag);
		break;
	case OSSL_CCM:
		err = crypt_ccm(c, nonce.p, aad, data, len, tag);
		break;
	}
	if (err != CY_OK)
		ERR_clear_error();
	return err;
}

#define AES_BITS                                                                                             \
	3,                                                                                                   \
	{                                                                                                    \
		128, 192, 256                                                                                \
	}
#define AES(mode)                                                                                            \
	{                                                                                                    \
		"AES-128-" mode, "AES-192-" mode, "AES-256-" mode                                            \
	}
#define FUNCTIONS   cipher_new, cipher_free, cipher_key, cipher_crypt
#define SIZE_OF_ALG sizeof(struct cy_cipher_alg)

/* AEAD, salt, IV, block and ICV lengths: RFC 2451, 2410, 3602, 3686, 4309, 4106, 4543, 4312, 7634. */
static const struct {
	struct cy_cipher_alg alg;
	enum ossl_mode mode;
	const char *names[3];
} ciphers[] = {
    {{SIZE_OF_ALG, CY_ENCR_AES_GCM_16, 1, 4, 8, 1, 16, AES_BITS, FUNCTIONS}, OSSL_AEAD, AES("GCM")},
    {{SIZE_OF_ALG, CY_ENCR_AES_GCM_12, 1, 4, 8, 1, 12, AES_BITS, FUNCTIONS}, OSSL_AEAD, AES("GCM")},
    {{SIZE_OF_ALG, CY_ENCR_AES_GCM_8, 1, 4, 8, 1, 8, AES_BITS, FUNCTIONS}, OSSL_AEAD, AES("GCM")},
    {{SIZE_OF_ALG, CY_ENCR_CHACHA20_POLY1305, 1, 4, 8, 1, 16, 1, {256}, FUNCTIONS}, OSSL_AEAD,
        {"ChaCha20-Poly1305"}},
    {{SIZE_OF_ALG, CY_ENCR_AES_CBC, 0, 0, 16, 16, 0, AES_BITS, FUNCTIONS}, OSSL_CBC, AES("CBC")},
    {{SIZE_OF_ALG, CY_ENCR_AES_CTR, 0, 4, 8, 1, 0, AES_BITS, FUNCTIONS}, OSSL_CTR, AES("CTR")},
    {{SIZE_OF_ALG, CY_ENCR_AES_CCM_16, 1, 3, 8, 1, 16, AES_BITS, FUNCTIONS}, OSSL_CCM, AES("CCM")},
    {{SIZE_OF_ALG, CY_ENCR_AES_CCM_12, 1, 3, 8, 1, 12, AES_BITS, FUNCTIONS}, OSSL_CCM, AES("CCM")},
    {{SIZE_OF_ALG, CY_ENCR_AES_CCM_8, 1, 3, 8, 1, 8, AES_BITS, FUNCTIONS}, OSSL_CCM, AES("CCM")},
    {{SIZE_OF_ALG, CY_ENCR_NULL_AES_GMAC, 1, 4, 8, 1, 16, AES_BITS, FUNCTIONS}, OSSL_GMAC, AES("GCM")},
    {{SIZE_OF_ALG, CY_ENCR_CAMELLIA_CBC, 0, 0, 16, 16, 0, AES_BITS, FUNCTIONS}, OSSL_CBC,
        {"CAMELLIA-128-CBC", "CAMELLIA-192-CBC", "CAMELLIA-256-CBC"}},
    {{SIZE_OF_ALG, CY_ENCR_3DES, 0, 0, 8, 8, 0, 1, {192}, FUNCTIONS}, OSSL_CBC, {"DES-EDE3-CBC"}},
    {{SIZE_OF_ALG, CY_ENCR_NULL, 0, 0, 0, 1, 0, 1, {0}, FUNCTIONS}, OSSL_NULL, {NULL}},
};
_Static_assert(ARRAY_LEN(ciphers) <= OSSL_MAX_CIPHERS, "struct ossl has too few ciphers");

void ossl_ciphers_init(struct ossl *o)
{
	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
		struct ossl_cipher *c = &o->ciphers[i];
		uint8_t n = 0;

		c->alg = ciphers[i].alg;
		c->mode = ciphers[i].mode;
		if (c->mode == OSSL_NULL) {
			ossl_provide(o, CY_KIND_CIPHER, &c->alg);
			continue;
		}
		for (size_t k = 0; k < ciphers[i].alg.n_key_bits; k++) {
			EVP_CIPHER *evp = EVP_CIPHER_fetch(NULL, ciphers[i].names[k], NULL);

			if (!evp)
				continue;
			c->evp[n] = evp;
			c->alg.key_bits[n++] = ciphers[i].alg.key_bits[k];
		}
		c->alg.n_key_bits = n;
		ERR_clear_error();
		if (n)
			ossl_provide(o, CY_KIND_CIPHER, &c->alg);
	}
}

void ossl_ciphers_fini(struct ossl *o)
{
	for (size_t i = 0; i < OSSL_MAX_CIPHERS; i++)
		for (size_t k = 0; k < ARRAY_LEN(o->ciphers[i].evp); k++)
			EVP_CIPHER_free(o->ciphers[i].evp[k]);
}
