/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proposals and suites: the transforms of RFC 7296 3.3, their keywords in ipsec.conf, and the choice between two lists.
 * Values; any thread.
 */
#ifndef LIBCORE_CRYPTO_PROPOSAL_H
#define LIBCORE_CRYPTO_PROPOSAL_H

#include <cygnet/crypto.h>

#include "libcore/base/names.h"

struct crypto;

enum transform_type { TRANSFORM_ENCR = 1, TRANSFORM_PRF, TRANSFORM_INTEG, TRANSFORM_KE, TRANSFORM_ESN };
enum proposal_proto { PROTO_NONE = 0, PROTO_IKE = 1, PROTO_AH = 2, PROTO_ESP = 3 };

struct transform {
	uint8_t type;
	uint8_t unknown_attr; /* carried an attribute we do not know: never matches (3.3.6) */
	uint16_t id;
	uint16_t key_bits; /* 0: none sent */
};

#define PROPOSAL_MAX_TRANSFORMS 64
struct proposal {
	uint8_t proto, number;
	uint8_t n;
	uint8_t spi_len;
	uint8_t spi[8]; /* network byte order */
	struct transform
	    t[PROPOSAL_MAX_TRANSFORMS]; /* by type in any order, preference first within a type */
};

struct proposal_list {
	struct proposal *p; /* owned */
	size_t n;
};

/* What was agreed. 0 where the type is absent. */
struct suite {
	uint16_t encr, key_bits, prf, integ, ke, esn;
};

extern const struct name encr_names[], prf_names[], integ_names[], ke_names[];

/*
 * Read "aes128-sha256-x25519,aes256gcm16-prfsha384-ecp384" (strongSwan; ends with "!" = strict) or, libreswan's, "aes_gcm256-
 * sha2_512;dh19+dh20" (`;` `+` `_`). proto: PROTO_IKE, _ESP or _AH. Appends to out. *out_strict: a "!" was there.
 * out_why: malloc'd sentence naming the unknown keyword and the nearest known, on CY_E_PARSE. With an IKE proposal a
 * missing PRF is derived from the integrity algorithm, as both daemons do. `legacy` receives true when a suite of the field
 * that must be asked for by name is among them (3DES, MD5, SHA-1, MODP below 2048).
 */
enum cy_err proposal_parse(const char *text, enum proposal_proto proto, bool libreswan,
    struct proposal_list *out, bool *out_strict, bool *out_legacy, char **out_why) CY_MUST_USE;
/* Which of those are there, each with what to use instead: "aes256 in place of 3des, ..."; how many. */
size_t proposal_legacy_str(const struct proposal_list *l, char *out, size_t cap);
/* Our defaults, restricted to what c provides; no legacy. AEAD and non-AEAD in separate proposals (RFC 7296, 3.3). */
enum cy_err proposal_defaults(
    const struct crypto *c, enum proposal_proto proto, struct proposal_list *out) CY_MUST_USE;
void proposal_list_fini(struct proposal_list *l);
enum cy_err proposal_list_dup(struct proposal_list *dst, const struct proposal_list *src) CY_MUST_USE;

/* Remove what c cannot do; returns false when nothing is left of p. */
bool proposal_restrict(const struct crypto *c, struct proposal *p);

/*
 * The responder's choice (RFC 7296, 2.7 and 3.3.6): the first of ours, by our preference, that a proposal of theirs allows.
 * prefer_theirs turns the preference round. ke_preferred: prefer this KE method if both have it (0 = none): avoids an
 * INVALID_KE_PAYLOAD round. ignore_ke: IKE_AUTH's child has none. Returns CY_E_NOTFOUND and, in out_why (cap bytes), one
 * sentence that says which transform types did not meet, ours against theirs.
 */
enum cy_err proposal_select(const struct proposal *ours, size_t n_ours, const struct proposal *theirs,
    size_t n_theirs, bool prefer_theirs, uint16_t ke_preferred, bool ignore_ke, struct suite *out_suite,
    size_t *out_theirs_index, char *out_why, size_t why_cap) CY_MUST_USE;
/* Is the responder's single answer one of what we offered? */
bool proposal_accepts(const struct proposal *ours, size_t n_ours, const struct proposal *answer,
    bool ignore_ke, struct suite *out);
/* A proposal with exactly this suite. */
void proposal_from_suite(const struct suite *s, enum proposal_proto proto, struct proposal *out);

/* "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519" as charon prints. */
const char *suite_str(const struct suite *s, enum proposal_proto proto, char *out, size_t cap);
const char *proposal_str(const struct proposal *p, char *out, size_t cap);
const char *ke_name(uint16_t ke);
/* Keying material for the suite: encryption key (with salt) and integrity key lengths in bytes. */
bool suite_key_lens(const struct crypto *c, const struct suite *s, size_t *out_encr, size_t *out_integ);

/* Key exchange methods among transforms: the first one that is none of NONE (which is returned without), and whether this one is. */
uint16_t proposal_first_group(const struct proposal *p, size_t n);
bool proposal_has_group(const struct proposal *p, size_t n, uint16_t group);

#endif
