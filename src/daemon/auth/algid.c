/* SPDX-License-Identifier: Apache-2.0 */
/* AlgorithmIdentifier objects of the Digital Signature method: RFC 7427, Appendix A; EdDSA: RFC 8420, Appendix A. */
#include "daemon/auth/auth.h"

#define DER(name, ...) static const uint8_t name[] = {__VA_ARGS__}

DER(rsa_sha1, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00);
DER(rsa_sha256, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00);
DER(rsa_sha384, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c, 0x05, 0x00);
DER(rsa_sha512, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d, 0x05, 0x00);
DER(ecdsa_sha1, 0x30, 0x09, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01);
DER(ecdsa_sha256, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02);
DER(ecdsa_sha384, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03);
DER(ecdsa_sha512, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04);
/* RSASSA-PSS with the same hash for message and MGF1 and a salt as long as the hash (RFC 4055, 3.1). */
#define PSS(name, hash_oid_last, salt)                                                                       \
	DER(name, 0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34,  \
	    0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,              \
	    hash_oid_last, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,     \
	    0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,  \
	    hash_oid_last, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, salt)
PSS(pss_sha256, 0x01, 0x20);
PSS(pss_sha384, 0x02, 0x30);
PSS(pss_sha512, 0x03, 0x40);
DER(ed25519, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70);
DER(ed448, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71);

#define ENTRY(key, scheme, hash, der)                                                                        \
	{                                                                                                    \
		key, scheme, hash,                                                                           \
		{                                                                                            \
			der, sizeof(der)                                                                     \
		}                                                                                            \
	}

static const struct auth_algid table[] = {
    ENTRY(CY_KEY_RSA, CY_SIG_RSA_PKCS1, CY_HASH_SHA1, rsa_sha1),
    ENTRY(CY_KEY_RSA, CY_SIG_RSA_PKCS1, CY_HASH_SHA2_256, rsa_sha256),
    ENTRY(CY_KEY_RSA, CY_SIG_RSA_PKCS1, CY_HASH_SHA2_384, rsa_sha384),
    ENTRY(CY_KEY_RSA, CY_SIG_RSA_PKCS1, CY_HASH_SHA2_512, rsa_sha512),
    ENTRY(CY_KEY_RSA, CY_SIG_RSA_PSS, CY_HASH_SHA2_256, pss_sha256),
    ENTRY(CY_KEY_RSA, CY_SIG_RSA_PSS, CY_HASH_SHA2_384, pss_sha384),
    ENTRY(CY_KEY_RSA, CY_SIG_RSA_PSS, CY_HASH_SHA2_512, pss_sha512),
    ENTRY(CY_KEY_ECDSA, CY_SIG_ECDSA_DER, CY_HASH_SHA1, ecdsa_sha1),
    ENTRY(CY_KEY_ECDSA, CY_SIG_ECDSA_DER, CY_HASH_SHA2_256, ecdsa_sha256),
    ENTRY(CY_KEY_ECDSA, CY_SIG_ECDSA_DER, CY_HASH_SHA2_384, ecdsa_sha384),
    ENTRY(CY_KEY_ECDSA, CY_SIG_ECDSA_DER, CY_HASH_SHA2_512, ecdsa_sha512),
    ENTRY(CY_KEY_ED25519, CY_SIG_EDDSA, CY_HASH_IDENTITY, ed25519),
    ENTRY(CY_KEY_ED448, CY_SIG_EDDSA, CY_HASH_IDENTITY, ed448),
};

const struct auth_algid *auth_algid_find(struct cy_slice der)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (cy_slice_eq(table[i].der, der))
			return &table[i];
	return NULL;
}

const struct auth_algid *auth_algid_for(enum cy_key_type key, enum cy_sig_scheme scheme, enum cy_hash hash)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].key == key && table[i].scheme == scheme && table[i].hash == hash)
			return &table[i];
	return NULL;
}
