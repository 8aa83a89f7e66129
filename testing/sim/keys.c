/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ed25519 keys of simulated daemons, made from a number: PKCS#8 for who signs, SubjectPublicKeyInfo as ipsec.conf has it for who
 * verifies (RFC 8410). The plugins' ABI has no way from a private key to its public one, so that libcrypto is asked.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

#ifdef SIM_PUBKEY
#	include <openssl/evp.h>
#endif

static void private_bytes(uint64_t number, uint8_t out[SIM_KEY_LEN])
{
	struct sim_prng p;

	sim_prng_seed(&p, number);
	for (size_t i = 0; i < SIM_KEY_LEN; i++)
		out[i] = (uint8_t)sim_prng_next(&p);
}

enum cy_err sim_key_private(const struct cy_pki_ops *pki, uint64_t number, struct cy_privkey **out)
{
	static const uint8_t head[] = {0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 43, 101, 112, 4, 34, 4, SIM_KEY_LEN};
	uint8_t der[sizeof(head) + SIM_KEY_LEN];

	memcpy(der, head, sizeof(head));
	private_bytes(number, der + sizeof(head));
	return pki->privkey_load(cy_slice(der, sizeof(der)), NULL, NULL, out, NULL);
}

bool sim_key_public(uint64_t number, char out[SIM_KEY_TEXT])
{
#ifdef SIM_PUBKEY
	static const uint8_t head[] = {0x30, 42, 0x30, 5, 6, 3, 43, 101, 112, 3, 33, 0};
	uint8_t seed[SIM_KEY_LEN], pub[SIM_KEY_LEN];
	size_t n = sizeof(pub), at = 2;
	EVP_PKEY *key;
	bool ok;

	private_bytes(number, seed);
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
	ok = key && EVP_PKEY_get_raw_public_key(key, pub, &n) == 1 && n == sizeof(pub);
	EVP_PKEY_free(key);
	if (!ok)
		return false;
	memcpy(out, "0x", 3);
	for (size_t i = 0; i < sizeof(head); i++)
		at += (size_t)snprintf(out + at, SIM_KEY_TEXT - at, "%02x", head[i]);
	for (size_t i = 0; i < sizeof(pub); i++)
		at += (size_t)snprintf(out + at, SIM_KEY_TEXT - at, "%02x", pub[i]);
	return true;
#else
	(void)number;
	(void)out;
	(void)private_bytes;
	return false;
#endif
}
