/* SPDX-License-Identifier: Apache-2.0 */
/* Proposals as ipsec.conf writes them, in both dialects, and our defaults. */

#include "libcore/crypto/proposal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/crypto/registry.h"

struct keyword {
	const char *name;
	uint8_t type;
	uint16_t id, key_bits;
};

#define ENCR(word, id, bits)                                                                                 \
	{                                                                                                    \
		word, TRANSFORM_ENCR, id, bits                                                               \
	}
/* aes128gcm16 and aes128gcm128: the length of the ICV in bytes or bits */
#define ICVS(bits, mode, MODE)                                                                               \
	ENCR("aes" #bits #mode "8", CY_ENCR_AES_##MODE##_8, bits),                                           \
	    ENCR("aes" #bits #mode "64", CY_ENCR_AES_##MODE##_8, bits),                                      \
	    ENCR("aes" #bits #mode "12", CY_ENCR_AES_##MODE##_12, bits),                                     \
	    ENCR("aes" #bits #mode "96", CY_ENCR_AES_##MODE##_12, bits),                                     \
	    ENCR("aes" #bits #mode "16", CY_ENCR_AES_##MODE##_16, bits),                                     \
	    ENCR("aes" #bits #mode "128", CY_ENCR_AES_##MODE##_16, bits)
#define AES(bits)                                                                                            \
	ENCR("aes" #bits, CY_ENCR_AES_CBC, bits), ENCR("aes" #bits "ctr", CY_ENCR_AES_CTR, bits),            \
	    ENCR("aes" #bits "gmac", CY_ENCR_NULL_AES_GMAC, bits),                                           \
	    ENCR("camellia" #bits, CY_ENCR_CAMELLIA_CBC, bits), ICVS(bits, gcm, GCM), ICVS(bits, ccm, CCM)

static const struct keyword strongswan_words[] = {
    AES(128),
    AES(192),
    AES(256),
    ENCR("aes", CY_ENCR_AES_CBC, 128),
    ENCR("camellia", CY_ENCR_CAMELLIA_CBC, 128),
    ENCR("chacha20poly1305", CY_ENCR_CHACHA20_POLY1305, 0),
    ENCR("3des", CY_ENCR_3DES, 0),
    ENCR("null", CY_ENCR_NULL, 0),
    {"md5", TRANSFORM_INTEG, CY_INTEG_HMAC_MD5_96, 0},
    {"sha", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA1_96, 0},
    {"sha1", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA1_96, 0},
    {"sha256", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_128, 0},
    {"sha2_256", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_128, 0},
    {"sha384", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_384_192, 0},
    {"sha2_384", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_384_192, 0},
    {"sha512", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_512_256, 0},
    {"sha2_512", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_512_256, 0},
    {"sha256_96", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_96, 0},
    {"sha2_256_96", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_96, 0},
    {"aesxcbc", TRANSFORM_INTEG, CY_INTEG_AES_XCBC_96, 0},
    {"aescmac", TRANSFORM_INTEG, CY_INTEG_AES_CMAC_96, 0},
    {"prfmd5", TRANSFORM_PRF, CY_PRF_HMAC_MD5, 0},
    {"prfsha", TRANSFORM_PRF, CY_PRF_HMAC_SHA1, 0},
    {"prfsha1", TRANSFORM_PRF, CY_PRF_HMAC_SHA1, 0},
    {"prfsha256", TRANSFORM_PRF, CY_PRF_HMAC_SHA2_256, 0},
    {"prfsha384", TRANSFORM_PRF, CY_PRF_HMAC_SHA2_384, 0},
    {"prfsha512", TRANSFORM_PRF, CY_PRF_HMAC_SHA2_512, 0},
    {"prfaesxcbc", TRANSFORM_PRF, CY_PRF_AES128_XCBC, 0},
    {"prfaescmac", TRANSFORM_PRF, CY_PRF_AES128_CMAC, 0},
    {"modp768", TRANSFORM_KE, CY_KE_MODP_768, 0},
    {"modp1024", TRANSFORM_KE, CY_KE_MODP_1024, 0},
    {"modp1536", TRANSFORM_KE, CY_KE_MODP_1536, 0},
    {"modp2048", TRANSFORM_KE, CY_KE_MODP_2048, 0},
    {"modp3072", TRANSFORM_KE, CY_KE_MODP_3072, 0},
    {"modp4096", TRANSFORM_KE, CY_KE_MODP_4096, 0},
    {"modp6144", TRANSFORM_KE, CY_KE_MODP_6144, 0},
    {"modp8192", TRANSFORM_KE, CY_KE_MODP_8192, 0},
    {"modp2048s256", TRANSFORM_KE, CY_KE_MODP_2048_256, 0},
    {"modpnone", TRANSFORM_KE, CY_KE_NONE, 0},
    {"ecp224", TRANSFORM_KE, CY_KE_ECP_224, 0},
    {"ecp256", TRANSFORM_KE, CY_KE_ECP_256, 0},
    {"ecp384", TRANSFORM_KE, CY_KE_ECP_384, 0},
    {"ecp521", TRANSFORM_KE, CY_KE_ECP_521, 0},
    {"x25519", TRANSFORM_KE, CY_KE_X25519, 0},
    {"curve25519", TRANSFORM_KE, CY_KE_X25519, 0},
    {"x448", TRANSFORM_KE, CY_KE_X448, 0},
    {"curve448", TRANSFORM_KE, CY_KE_X448, 0},
    {"esn", TRANSFORM_ESN, 1, 0},
    {"noesn", TRANSFORM_ESN, 0, 0},
    {NULL, 0, 0, 0},
};

/* Names alone; key lengths follow some of them, see libreswan_encr. */
static const struct keyword libreswan_words[] = {
    {"chacha20_poly1305", TRANSFORM_ENCR, CY_ENCR_CHACHA20_POLY1305, 0},
    {"3des", TRANSFORM_ENCR, CY_ENCR_3DES, 0},
    {"3des_cbc", TRANSFORM_ENCR, CY_ENCR_3DES, 0},
    {"sha2", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_128, 0},
    {"sha2_256_truncbug", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_96, 0},
    {"hmac_md5", TRANSFORM_INTEG, CY_INTEG_HMAC_MD5_96, 0},
    {"hmac_sha1", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA1_96, 0},
    {"hmac_sha2_256", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_128, 0},
    {"hmac_sha2_384", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_384_192, 0},
    {"hmac_sha2_512", TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_512_256, 0},
    {"aes_xcbc", TRANSFORM_INTEG, CY_INTEG_AES_XCBC_96, 0},
    {"aes_cmac", TRANSFORM_INTEG, CY_INTEG_AES_CMAC_96, 0},
    {"dh2", TRANSFORM_KE, CY_KE_MODP_1024, 0},
    {"dh5", TRANSFORM_KE, CY_KE_MODP_1536, 0},
    {"dh14", TRANSFORM_KE, CY_KE_MODP_2048, 0},
    {"dh15", TRANSFORM_KE, CY_KE_MODP_3072, 0},
    {"dh16", TRANSFORM_KE, CY_KE_MODP_4096, 0},
    {"dh17", TRANSFORM_KE, CY_KE_MODP_6144, 0},
    {"dh18", TRANSFORM_KE, CY_KE_MODP_8192, 0},
    {"dh19", TRANSFORM_KE, CY_KE_ECP_256, 0},
    {"dh20", TRANSFORM_KE, CY_KE_ECP_384, 0},
    {"dh21", TRANSFORM_KE, CY_KE_ECP_521, 0},
    {"dh24", TRANSFORM_KE, CY_KE_MODP_2048_256, 0},
    {"dh26", TRANSFORM_KE, CY_KE_ECP_224, 0},
    {"dh31", TRANSFORM_KE, CY_KE_X25519, 0},
    {"dh32", TRANSFORM_KE, CY_KE_X448, 0},
    {"ecp_256", TRANSFORM_KE, CY_KE_ECP_256, 0},
    {"ecp_384", TRANSFORM_KE, CY_KE_ECP_384, 0},
    {"ecp_521", TRANSFORM_KE, CY_KE_ECP_521, 0},
    {NULL, 0, 0, 0},
};

/* A key length may follow: aes_gcm256, aes_gcm_c_256; without one 256 and 128 bits are meant. */
static const struct keyword libreswan_encr[] = {
    ENCR("aes", CY_ENCR_AES_CBC, 0),
    ENCR("aes_cbc", CY_ENCR_AES_CBC, 0),
    ENCR("aes_ctr", CY_ENCR_AES_CTR, 0),
    ENCR("aes_gcm", CY_ENCR_AES_GCM_16, 0),
    ENCR("aes_gcm_a", CY_ENCR_AES_GCM_8, 0),
    ENCR("aes_gcm_b", CY_ENCR_AES_GCM_12, 0),
    ENCR("aes_gcm_c", CY_ENCR_AES_GCM_16, 0),
    ENCR("aes_gcm_8", CY_ENCR_AES_GCM_8, 0),
    ENCR("aes_gcm_12", CY_ENCR_AES_GCM_12, 0),
    ENCR("aes_gcm_16", CY_ENCR_AES_GCM_16, 0),
    ENCR("aes_ccm", CY_ENCR_AES_CCM_16, 0),
    ENCR("aes_ccm_a", CY_ENCR_AES_CCM_8, 0),
    ENCR("aes_ccm_b", CY_ENCR_AES_CCM_12, 0),
    ENCR("aes_ccm_c", CY_ENCR_AES_CCM_16, 0),
    ENCR("aes_ccm_8", CY_ENCR_AES_CCM_8, 0),
    ENCR("aes_ccm_12", CY_ENCR_AES_CCM_12, 0),
    ENCR("aes_ccm_16", CY_ENCR_AES_CCM_16, 0),
    ENCR("camellia", CY_ENCR_CAMELLIA_CBC, 0),
    ENCR("camellia_cbc", CY_ENCR_CAMELLIA_CBC, 0),
    ENCR("null_auth_aes_gmac", CY_ENCR_NULL_AES_GMAC, 0),
    {NULL, 0, 0, 0},
};

#define MAX_WORD  40
#define MAX_WORDS (ARRAY_LEN(strongswan_words) + ARRAY_LEN(libreswan_words) + ARRAY_LEN(libreswan_encr))

/* One parse. */
struct parse {
	enum proposal_proto proto;
	bool libreswan, legacy;
	struct proposal p;
	char **out_why;
};

__attribute__((format(printf, 2, 3))) static enum cy_err fail(struct parse *ps, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ps->out_why, fmt, ap) < 0)
		*ps->out_why = NULL;
	va_end(ap);
	return CY_E_PARSE;
}

static enum cy_err unknown(struct parse *ps, const char *word)
{
	const char *all[MAX_WORDS], *near;
	size_t n = 0;

	for (const struct keyword *k = strongswan_words; k->name; k++)
		all[n++] = k->name;
	for (const struct keyword *k = libreswan_words; k->name; k++)
		all[n++] = k->name;
	for (const struct keyword *k = libreswan_encr; k->name; k++)
		all[n++] = k->name;
	all[n] = NULL;
	near = name_nearest(all, word);
	if (near)
		return fail(ps, "unknown algorithm \"%s\"; did you mean \"%s\"?", word, near);
	return fail(ps, "unknown algorithm \"%s\"", word);
}

static bool has_type(const struct proposal *p, uint8_t type)
{
	for (uint8_t i = 0; i < p->n; i++)
		if (p->t[i].type == type)
			return true;
	return false;
}

static bool has_encr(const struct proposal *p, uint16_t id)
{
	for (uint8_t i = 0; i < p->n; i++)
		if (p->t[i].type == TRANSFORM_ENCR && p->t[i].id == id)
			return true;
	return false;
}

static enum cy_err put(struct parse *ps, uint8_t type, uint16_t id, uint16_t key_bits)
{
	struct proposal *p = &ps->p;

	for (uint8_t i = 0; i < p->n; i++)
		if (p->t[i].type == type && p->t[i].id == id && p->t[i].key_bits == key_bits)
			return CY_OK;
	if (p->n == PROPOSAL_MAX_TRANSFORMS)
		return fail(ps, "more than %d algorithms in one proposal", PROPOSAL_MAX_TRANSFORMS);
	p->t[p->n++] = (struct transform){type, 0, id, key_bits};
	return CY_OK;
}

static const struct keyword *look_up(const struct keyword *words, const char *word)
{
	for (; words->name; words++)
		if (strcasecmp(words->name, word) == 0)
			return words;
	return NULL;
}

/* aes_gcm_c_256: a name, perhaps a key length. */
static const struct keyword *look_up_sized(const char *word, uint16_t *out_bits)
{
	static const struct {
		const char *text;
		uint16_t bits;
	} sizes[] = {{"128", 128}, {"192", 192}, {"256", 256}};
	const struct keyword *k = look_up(libreswan_encr, word);
	char name[MAX_WORD];
	size_t n = strlen(word);

	*out_bits = 0;
	if (k || n < 4)
		return k;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		if (strcmp(word + n - 3, sizes[i].text) != 0)
			continue;
		memcpy(name, word, n - 3);
		name[n - 3] = '\0';
		if (n > 4 && name[n - 4] == '_')
			name[n - 4] = '\0';
		*out_bits = sizes[i].bits;
		return look_up(libreswan_encr, name);
	}
	return NULL;
}

static enum cy_err put_sized(struct parse *ps, const struct keyword *k, uint16_t bits)
{
	enum cy_err err;

	if (bits)
		return put(ps, k->type, k->id, bits);
	err = put(ps, k->type, k->id, 256);
	return err == CY_OK ? put(ps, k->type, k->id, 128) : err;
}

static enum cy_err word_in(struct parse *ps, const char *word, bool first)
{
	const struct keyword *k;
	uint16_t bits;

	/* libreswan writes the integrity of an AEAD, and no PFS, as null or none */
	if (ps->libreswan && !first && (strcasecmp(word, "null") == 0 || strcasecmp(word, "none") == 0))
		return CY_OK;
	if (ps->libreswan) {
		k = look_up_sized(word, &bits);
		if (k)
			return put_sized(ps, k, bits);
		k = look_up(libreswan_words, word);
		if (!k)
			k = look_up(strongswan_words, word);
	} else {
		k = look_up(strongswan_words, word);
		if (!k)
			k = look_up(libreswan_words, word);
		if (!k) {
			k = look_up_sized(word, &bits);
			if (k)
				return put_sized(ps, k, bits);
		}
	}
	return k ? put(ps, k->type, k->id, k->key_bits) : unknown(ps, word);
}

static bool is_aead(uint16_t encr)
{
	switch (encr) {
	case CY_ENCR_AES_CCM_8:
	case CY_ENCR_AES_CCM_12:
	case CY_ENCR_AES_CCM_16:
	case CY_ENCR_AES_GCM_8:
	case CY_ENCR_AES_GCM_12:
	case CY_ENCR_AES_GCM_16:
	case CY_ENCR_NULL_AES_GMAC:
	case CY_ENCR_CHACHA20_POLY1305:
		return true;
	default:
		return false;
	}
}

static bool is_legacy(const struct transform *t)
{
	switch (t->type) {
	case TRANSFORM_ENCR:
		return t->id == CY_ENCR_3DES;
	case TRANSFORM_PRF:
		return t->id == CY_PRF_HMAC_MD5 || t->id == CY_PRF_HMAC_SHA1;
	case TRANSFORM_INTEG:
		return t->id == CY_INTEG_HMAC_MD5_96 || t->id == CY_INTEG_HMAC_SHA1_96;
	case TRANSFORM_KE:
		return t->id == CY_KE_MODP_768 || t->id == CY_KE_MODP_1024 || t->id == CY_KE_MODP_1536;
	default:
		return false;
	}
}

size_t proposal_legacy_str(const struct proposal_list *l, char *out, size_t cap)
{
	static const struct {
		uint8_t type;
		uint16_t id;
		const char *what, *instead;
	} words[] = {
	    {TRANSFORM_ENCR, CY_ENCR_3DES, "3des", "aes256"},
	    {TRANSFORM_PRF, CY_PRF_HMAC_MD5, "md5", "sha256"},
	    {TRANSFORM_INTEG, CY_INTEG_HMAC_MD5_96, "md5", "sha256"},
	    {TRANSFORM_PRF, CY_PRF_HMAC_SHA1, "sha1", "sha256"},
	    {TRANSFORM_INTEG, CY_INTEG_HMAC_SHA1_96, "sha1", "sha256"},
	    {TRANSFORM_KE, CY_KE_MODP_768, "modp768", "modp2048 or ecp256"},
	    {TRANSFORM_KE, CY_KE_MODP_1024, "modp1024", "modp2048 or ecp256"},
	    {TRANSFORM_KE, CY_KE_MODP_1536, "modp1536", "modp2048 or ecp256"},
	};
	const char *last = NULL;
	size_t at = 0, found = 0;

	if (cap)
		out[0] = '\0';
	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
		bool there = false;

		for (size_t i = 0; i < l->n && !there; i++)
			for (uint8_t j = 0; j < l->p[i].n && !there; j++)
				there = l->p[i].t[j].type == words[w].type && l->p[i].t[j].id == words[w].id;
		if (!there || (last && strcmp(last, words[w].what) == 0))
			continue;
		last = words[w].what;
		if (at < cap)
			at += (size_t)snprintf(out + at, cap - at, "%s%s in place of %s", found ? ", " : "",
			    words[w].instead, words[w].what);
		found++;
	}
	return found;
}

static uint16_t prf_of_integ(uint16_t integ)
{
	switch (integ) {
	case CY_INTEG_HMAC_MD5_96:
		return CY_PRF_HMAC_MD5;
	case CY_INTEG_HMAC_SHA1_96:
		return CY_PRF_HMAC_SHA1;
	case CY_INTEG_AES_XCBC_96:
		return CY_PRF_AES128_XCBC;
	case CY_INTEG_AES_CMAC_96:
		return CY_PRF_AES128_CMAC;
	case CY_INTEG_HMAC_SHA2_256_128:
	case CY_INTEG_HMAC_SHA2_256_96:
		return CY_PRF_HMAC_SHA2_256;
	case CY_INTEG_HMAC_SHA2_384_192:
		return CY_PRF_HMAC_SHA2_384;
	default:
		return CY_PRF_HMAC_SHA2_512;
	}
}

static void drop_type(struct proposal *p, uint8_t type)
{
	uint8_t n = 0;

	for (uint8_t i = 0; i < p->n; i++)
		if (p->t[i].type != type)
			p->t[n++] = p->t[i];
	p->n = n;
}

/* What libreswan means when a part is left out. */
static enum cy_err libreswan_fill(struct parse *ps, bool aead)
{
	static const uint16_t kes[] = {CY_KE_ECP_256, CY_KE_X25519, CY_KE_MODP_2048, CY_KE_MODP_3072,
	    CY_KE_MODP_4096, CY_KE_ECP_384, CY_KE_ECP_521};
	enum cy_err err = CY_OK;

	/* of an AEAD the "integrity" of an IKE proposal is the PRF, so that it is wanted there too */
	if (!has_type(&ps->p, TRANSFORM_INTEG) && !has_type(&ps->p, TRANSFORM_PRF) &&
	    (!aead || ps->proto == PROTO_IKE)) {
		err = put(ps, TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_512_256, 0);
		if (err == CY_OK)
			err = put(ps, TRANSFORM_INTEG, CY_INTEG_HMAC_SHA2_256_128, 0);
	}
	if (ps->proto == PROTO_IKE && !has_type(&ps->p, TRANSFORM_KE))
		for (size_t i = 0; i < ARRAY_LEN(kes) && err == CY_OK; i++)
			err = put(ps, TRANSFORM_KE, kes[i], 0);
	return err;
}

static enum cy_err finish_ike(struct parse *ps, bool aead)
{
	struct proposal *p = &ps->p;
	bool integ = has_type(p, TRANSFORM_INTEG), prf = has_type(p, TRANSFORM_PRF);
	enum cy_err err = CY_OK;

	if (!has_type(p, TRANSFORM_ENCR))
		return fail(ps, "an IKE proposal needs an encryption algorithm, for example aes256gcm16");
	if (has_encr(p, CY_ENCR_NULL) || has_encr(p, CY_ENCR_NULL_AES_GMAC))
		return fail(ps, "an IKE proposal must encrypt: null and GMAC are for ESP only");
	if (has_type(p, TRANSFORM_ESN))
		return fail(ps, "esn and noesn are for ESP and AH only");
	if (aead && integ && prf)
		return fail(ps,
		    "AES-GCM, AES-CCM and ChaCha20-Poly1305 have an integrity check of their own; "
		    "leave the integrity algorithm out and keep the prf");
	if (!prf && !integ)
		return fail(ps,
		    aead ? "an IKE proposal needs a PRF, for example prfsha256"
		         : "an IKE proposal needs an integrity algorithm, for example sha256");
	if (!aead && !integ)
		return fail(ps, "an IKE proposal needs an integrity algorithm, for example sha256");
	if (!has_type(p, TRANSFORM_KE))
		return fail(ps, "an IKE proposal needs a key exchange method, for example x25519 or ecp256");
	/* Both daemons of the field take the integrity algorithm's hash for the PRF when none is named. */
	for (uint8_t i = 0, n = p->n; !prf && i < n && err == CY_OK; i++)
		if (p->t[i].type == TRANSFORM_INTEG)
			err = put(ps, TRANSFORM_PRF, prf_of_integ(p->t[i].id), 0);
	if (aead)
		drop_type(p, TRANSFORM_INTEG);
	return err;
}

static enum cy_err finish_child(struct parse *ps, bool aead)
{
	struct proposal *p = &ps->p;
	const char *proto = ps->proto == PROTO_AH ? "AH" : "ESP";
	bool ah = ps->proto == PROTO_AH;

	if (has_type(p, TRANSFORM_PRF))
		return fail(ps, "a prf is for IKE proposals only, not for %s", proto);
	if (ah && has_type(p, TRANSFORM_ENCR))
		return fail(ps, "AH does not encrypt: name only an integrity algorithm, for example sha256");
	if (!ah && !has_type(p, TRANSFORM_ENCR))
		return fail(ps, "an ESP proposal needs an encryption algorithm, for example aes256gcm16");
	if (!aead && !has_type(p, TRANSFORM_INTEG))
		return fail(ps, "the %s proposal has no integrity algorithm, for example sha256", proto);
	if (aead)
		drop_type(p, TRANSFORM_INTEG);
	return has_type(p, TRANSFORM_ESN) ? CY_OK : put(ps, TRANSFORM_ESN, 0, 0);
}

static void sort_by_type(struct proposal *p)
{
	struct proposal sorted = *p;

	sorted.n = 0;
	for (uint8_t type = TRANSFORM_ENCR; type <= TRANSFORM_ESN; type++)
		for (uint8_t i = 0; i < p->n; i++)
			if (p->t[i].type == type)
				sorted.t[sorted.n++] = p->t[i];
	*p = sorted;
}

static enum cy_err finish(struct parse *ps)
{
	bool aead = false, classic = false;
	enum cy_err err = CY_OK;

	for (uint8_t i = 0; i < ps->p.n; i++) {
		if (ps->p.t[i].type != TRANSFORM_ENCR)
			continue;
		aead |= is_aead(ps->p.t[i].id);
		classic |= !is_aead(ps->p.t[i].id);
	}
	if (aead && classic)
		return fail(ps,
		    "ciphers with and without an integrity check of their own (like aes256gcm16 "
		    "and aes256) must be in separate proposals: put a comma between them");
	if (ps->libreswan)
		err = libreswan_fill(ps, aead);
	if (err == CY_OK)
		err = ps->proto == PROTO_IKE ? finish_ike(ps, aead) : finish_child(ps, aead);
	for (uint8_t i = 0; i < ps->p.n; i++)
		ps->legacy |= is_legacy(&ps->p.t[i]);
	sort_by_type(&ps->p);
	return err;
}

static enum cy_err append(struct proposal_list *l, const struct proposal *p)
{
	struct proposal *all;

	if (l->n == 255)
		return CY_E_LIMIT;
	all = realloc(l->p, (l->n + 1) * sizeof(*all));
	if (!all)
		return CY_E_NOMEM;
	l->p = all;
	l->p[l->n] = *p;
	l->p[l->n].number = (uint8_t)(l->n + 1);
	l->n++;
	return CY_OK;
}

/* One proposal: words between '-', '+' and ';'. */
static enum cy_err one(struct parse *ps, const char *s, size_t n)
{
	enum cy_err err = CY_OK;
	bool first = true;

	ps->p = (struct proposal){.proto = (uint8_t)ps->proto};
	for (size_t at = 0; at <= n && err == CY_OK;) {
		char word[MAX_WORD];
		size_t len = 0;

		while (at + len < n && !strchr("-+;", s[at + len]))
			len++;
		if (len == 0)
			return fail(ps, "an algorithm is missing in \"%.*s\"", (int)n, s);
		if (len >= sizeof(word))
			return fail(ps, "unknown algorithm \"%.*s...\"", MAX_WORD, s + at);
		memcpy(word, s + at, len);
		word[len] = '\0';
		err = word_in(ps, word, first);
		first = false;
		at += len + 1;
	}
	return err == CY_OK ? finish(ps) : err;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

enum cy_err proposal_parse(const char *text, enum proposal_proto proto, bool libreswan,
    struct proposal_list *out, bool *out_strict, bool *out_legacy, char **out_why)
{
	struct parse ps = {.proto = proto, .libreswan = libreswan};
	struct proposal_list l = {NULL, 0};
	size_t n = strlen(text);
	bool strict = false;
	char *why = NULL;
	enum cy_err err;

	ps.out_why = &why;
	while (n && is_blank(text[n - 1]))
		n--;
	if (n && text[n - 1] == '!') {
		strict = true;
		n--;
	}
	err = proposal_list_dup(&l, out);
	for (size_t at = 0; at <= n && err == CY_OK;) {
		size_t end = at, next;

		while (end < n && text[end] != ',')
			end++;
		next = end + 1;
		while (at < end && is_blank(text[at]))
			at++;
		while (end > at && is_blank(text[end - 1]))
			end--;
		err = one(&ps, text + at, end - at);
		if (err == CY_OK)
			err = append(&l, &ps.p);
		if (err == CY_E_LIMIT)
			err = fail(&ps, "more than 255 proposals");
		at = next;
	}
	if (err != CY_OK) {
		proposal_list_fini(&l);
		if (err == CY_E_PARSE && !why)
			err = CY_E_NOMEM;
		if (out_why)
			*out_why = why;
		else
			free(why);
		return err;
	}
	proposal_list_fini(out);
	*out = l;
	if (out_strict)
		*out_strict = strict;
	if (out_legacy)
		*out_legacy = ps.legacy;
	return CY_OK;
}

enum cy_err proposal_defaults(const struct crypto *c, enum proposal_proto proto, struct proposal_list *out)
{
#define DEFAULT_KES "-x25519-ecp256-ecp384-ecp521-x448-modp3072-modp4096-modp2048"
	static const char *const ike[] = {
	    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512" DEFAULT_KES,
	    "aes256-aes192-aes128-sha256-sha384-sha512" DEFAULT_KES, NULL};
	static const char *const esp[] = {"aes256gcm16-aes128gcm16-chacha20poly1305-noesn-esn",
	    "aes256-aes192-aes128-sha256-sha384-sha512-noesn-esn", NULL};
	static const char *const ah[] = {"sha256-sha384-sha512-noesn-esn", NULL};
	const char *const *texts = proto == PROTO_IKE ? ike : proto == PROTO_ESP ? esp : ah;
	struct proposal_list all = {NULL, 0}, l = {NULL, 0};
	enum cy_err err = CY_OK;

	for (; *texts && err == CY_OK; texts++)
		err = proposal_parse(*texts, proto, false, &all, NULL, NULL, NULL);
	if (err == CY_OK)
		err = proposal_list_dup(&l, out);
	for (size_t i = 0; i < all.n && err == CY_OK; i++)
		if (proposal_restrict(c, &all.p[i]))
			err = append(&l, &all.p[i]);
	proposal_list_fini(&all);
	if (err != CY_OK) {
		proposal_list_fini(&l);
		return err;
	}
	proposal_list_fini(out);
	*out = l;
	return CY_OK;
}
