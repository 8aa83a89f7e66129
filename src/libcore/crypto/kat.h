/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known-answer tests: what every algorithm must compute before it is listed. The vectors are constant tables of hex,
 * each with its source. Called by registry.c on the main thread; pure functions.
 */
#ifndef LIBCORE_CRYPTO_KAT_H
#define LIBCORE_CRYPTO_KAT_H

#include <cygnet/crypto.h>
#include <cygnet/plugin.h>

struct kat_cipher {
	uint16_t id, key_bits;
	const char *key, *nonce, *aad, *plain, *crypted, *tag;
};
struct kat_hash {
	uint16_t id;
	const char *in, *out;
};
struct kat_mac {
	uint16_t id;
	const char *key, *in, *out;
};
/* ours, theirs: private values. their_public may be empty: then only derive() shows that it was right. */
struct kat_ke {
	uint16_t id;
	const char *ours, *our_public, *theirs, *their_public, *secret;
};
/* A signature that must verify, and, where the scheme is deterministic, that sign() must make. */
struct kat_sig {
	enum cy_key_type type;
	enum cy_sig_scheme scheme;
	enum cy_hash hash;
	const char *private_key, *public_key, *in, *sig;
	bool deterministic;
};

/* Each ends with id (type) 0. */
extern const struct kat_cipher kat_ciphers[];
extern const struct kat_hash kat_hashes[];
extern const struct kat_mac kat_macs[];
extern const struct kat_ke kat_kes[];
extern const struct kat_sig kat_sigs[];

/*
 * CY_E_AUTH: a wrong answer, *out_why says which (static text). CY_E_UNSUPPORTED: no vector for it. CY_E_INVAL: the
 * table itself is unusable (too small, no function).
 */
enum cy_err kat_run(enum cy_kind kind, const void *ops, const char **out_why) CY_MUST_USE;

/* Bytes of a vector in hex, malloc'd; false when out of memory. */
bool kat_hex(const char *hex, uint8_t **out, size_t *out_n);

#endif
