/* SPDX-License-Identifier: Apache-2.0 */

#include "algs.h"

/* Names as net/xfrm/xfrm_algo.c has them. Where a mode has a salt it is the end of the key, as in IKE. */
static const struct encr_alg encrs[] = {
    {CY_ENCR_3DES, "cbc(des3_ede)", false, 0},
    {CY_ENCR_NULL, "ecb(cipher_null)", false, 0},
    {CY_ENCR_AES_CBC, "cbc(aes)", false, 0},
    {CY_ENCR_AES_CTR, "rfc3686(ctr(aes))", false, 0},
    {CY_ENCR_AES_CCM_8, "rfc4309(ccm(aes))", true, 64},
    {CY_ENCR_AES_CCM_12, "rfc4309(ccm(aes))", true, 96},
    {CY_ENCR_AES_CCM_16, "rfc4309(ccm(aes))", true, 128},
    {CY_ENCR_AES_GCM_8, "rfc4106(gcm(aes))", true, 64},
    {CY_ENCR_AES_GCM_12, "rfc4106(gcm(aes))", true, 96},
    {CY_ENCR_AES_GCM_16, "rfc4106(gcm(aes))", true, 128},
    {CY_ENCR_NULL_AES_GMAC, "rfc4543(gcm(aes))", true, 128},
    {CY_ENCR_CAMELLIA_CBC, "cbc(camellia)", false, 0},
    {CY_ENCR_CHACHA20_POLY1305, "rfc7539esp(chacha20,poly1305)", true, 128},
};

static const struct integ_alg integs[] = {
    {CY_INTEG_HMAC_MD5_96, "hmac(md5)", 96},
    {CY_INTEG_HMAC_SHA1_96, "hmac(sha1)", 96},
    {CY_INTEG_AES_XCBC_96, "xcbc(aes)", 96},
    {CY_INTEG_AES_CMAC_96, "cmac(aes)", 96},
    {CY_INTEG_HMAC_SHA2_256_128, "hmac(sha256)", 128},
    {CY_INTEG_HMAC_SHA2_384_192, "hmac(sha384)", 192},
    {CY_INTEG_HMAC_SHA2_512_256, "hmac(sha512)", 256},
    {CY_INTEG_HMAC_SHA2_256_96, "hmac(sha256)", 96},
};

const struct encr_alg *encr_alg(uint16_t id)
{
	for (size_t i = 0; i < sizeof(encrs) / sizeof(encrs[0]); i++)
		if (encrs[i].id == id)
			return &encrs[i];
	return NULL;
}

const struct integ_alg *integ_alg(uint16_t id)
{
	for (size_t i = 0; i < sizeof(integs) / sizeof(integs[0]); i++)
		if (integs[i].id == id)
			return &integs[i];
	return NULL;
}
