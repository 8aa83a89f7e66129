/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/crypto/proposal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/err.h"
#include "libcore/crypto/registry.h"

const struct name encr_names[] = {
    {CY_ENCR_3DES, "3DES_CBC"},
    {CY_ENCR_NULL, "NULL"},
    {CY_ENCR_AES_CBC, "AES_CBC"},
    {CY_ENCR_AES_CTR, "AES_CTR"},
    {CY_ENCR_AES_CCM_8, "AES_CCM_8"},
    {CY_ENCR_AES_CCM_12, "AES_CCM_12"},
    {CY_ENCR_AES_CCM_16, "AES_CCM_16"},
    {CY_ENCR_AES_GCM_8, "AES_GCM_8"},
    {CY_ENCR_AES_GCM_12, "AES_GCM_12"},
    {CY_ENCR_AES_GCM_16, "AES_GCM_16"},
    {CY_ENCR_NULL_AES_GMAC, "NULL_AES_GMAC"},
    {CY_ENCR_CAMELLIA_CBC, "CAMELLIA_CBC"},
    {CY_ENCR_CHACHA20_POLY1305, "CHACHA20_POLY1305"},
    {0, NULL},
};
const struct name prf_names[] = {
    {CY_PRF_HMAC_MD5, "PRF_HMAC_MD5"},
    {CY_PRF_HMAC_SHA1, "PRF_HMAC_SHA1"},
    {CY_PRF_AES128_XCBC, "PRF_AES128_XCBC"},
    {CY_PRF_HMAC_SHA2_256, "PRF_HMAC_SHA2_256"},
    {CY_PRF_HMAC_SHA2_384, "PRF_HMAC_SHA2_384"},
    {CY_PRF_HMAC_SHA2_512, "PRF_HMAC_SHA2_512"},
    {CY_PRF_AES128_CMAC, "PRF_AES128_CMAC"},
    {0, NULL},
};
const struct name integ_names[] = {
    {CY_INTEG_HMAC_MD5_96, "HMAC_MD5_96"},
    {CY_INTEG_HMAC_SHA1_96, "HMAC_SHA1_96"},
    {CY_INTEG_AES_XCBC_96, "AES_XCBC_96"},
    {CY_INTEG_AES_CMAC_96, "AES_CMAC_96"},
    {CY_INTEG_HMAC_SHA2_256_128, "HMAC_SHA2_256_128"},
    {CY_INTEG_HMAC_SHA2_384_192, "HMAC_SHA2_384_192"},
    {CY_INTEG_HMAC_SHA2_512_256, "HMAC_SHA2_512_256"},
    {CY_INTEG_HMAC_SHA2_256_96, "HMAC_SHA2_256_96"},
    {0, NULL},
};
const struct name ke_names[] = {
    {CY_KE_MODP_768, "MODP_768"},
    {CY_KE_MODP_1024, "MODP_1024"},
    {CY_KE_MODP_1536, "MODP_1536"},
    {CY_KE_MODP_2048, "MODP_2048"},
    {CY_KE_MODP_3072, "MODP_3072"},
    {CY_KE_MODP_4096, "MODP_4096"},
    {CY_KE_MODP_6144, "MODP_6144"},
    {CY_KE_MODP_8192, "MODP_8192"},
    {CY_KE_ECP_256, "ECP_256"},
    {CY_KE_ECP_384, "ECP_384"},
    {CY_KE_ECP_521, "ECP_521"},
    {CY_KE_MODP_2048_256, "MODP_2048_256"},
    {CY_KE_ECP_224, "ECP_224"},
    {CY_KE_X25519, "CURVE_25519"},
    {CY_KE_X448, "CURVE_448"},
    {0, NULL},
};

/* For people: what a type is called, and its names. charon's order in print: encryption, integrity, PRF, KE. */
static const struct {
	uint8_t type;
	const char *title;
	const struct name *names;
} types[] = {
    {TRANSFORM_ENCR, "encryption", encr_names},
    {TRANSFORM_INTEG, "integrity", integ_names},
    {TRANSFORM_PRF, "PRF", prf_names},
    {TRANSFORM_KE, "key exchange", ke_names},
    {TRANSFORM_ESN, "sequence numbers", NULL},
};

static const struct transform none; /* what a type that is absent means */

const char *ke_name(uint16_t ke)
{
	return ke ? name_or_number(ke_names, ke) : "NONE";
}

/* Text that grows in a fixed buffer; what does not fit is cut. */
struct text {
	char *p;
	size_t n, cap;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->n + 1 >= t->cap)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->n = t->n + (size_t)n < t->cap ? t->n + (size_t)n : t->cap - 1;
}

static struct text text_of(char *p, size_t cap)
{
	if (cap)
		p[0] = '\0';
	return (struct text){p, 0, cap};
}

static void add_transform(struct text *t, size_t type, const struct transform *tr)
{
	if (types[type].type == TRANSFORM_ESN)
		add(t, "%s", tr->id == 1 ? "EXT_SEQ" : tr->id == 0 ? "NO_EXT_SEQ" : "ESN(?)");
	else if (tr->id == 0)
		add(t, "NONE");
	else
		add(t, "%s", name_or_number(types[type].names, tr->id));
	if (tr->key_bits)
		add(t, "_%u", tr->key_bits);
}

/* --- lists --- */

void proposal_list_fini(struct proposal_list *l)
{
	free(l->p);
	*l = (struct proposal_list){NULL, 0};
}

enum cy_err proposal_list_dup(struct proposal_list *dst, const struct proposal_list *src)
{
	struct proposal *p = NULL;

	if (src->n) {
		p = malloc(src->n * sizeof(*p));
		if (!p)
			return CY_E_NOMEM;
		memcpy(p, src->p, src->n * sizeof(*p));
	}
	*dst = (struct proposal_list){p, src->n};
	return CY_OK;
}

/* --- restriction to what is there --- */

static bool can(const struct crypto *c, const struct transform *t)
{
	struct integ_info integ;
	struct prf_info prf;

	if (t->id == 0)
		return t->type != TRANSFORM_ENCR && t->type != TRANSFORM_PRF;
	switch (t->type) {
	case TRANSFORM_ENCR:
		return crypto_cipher(c, t->id, t->key_bits) != NULL;
	case TRANSFORM_PRF:
		return crypto_prf(c, t->id, &prf);
	case TRANSFORM_INTEG:
		return crypto_integ(c, t->id, &integ);
	case TRANSFORM_KE:
		return crypto_ke(c, t->id) != NULL;
	case TRANSFORM_ESN:
		return t->id == 1;
	default:
		return false;
	}
}

bool proposal_restrict(const struct crypto *c, struct proposal *p)
{
	uint32_t had = 0, has = 0;
	uint8_t n = 0;

	for (uint8_t i = 0; i < p->n; i++) {
		uint32_t bit = p->t[i].type < 32 ? 1u << p->t[i].type : 0;

		had |= bit;
		if (!can(c, &p->t[i]))
			continue;
		has |= bit;
		p->t[n++] = p->t[i];
	}
	p->n = n;
	return n > 0 && had == has;
}

/* --- choice --- */

static bool same(const struct transform *a, const struct transform *b)
{
	return !a->unknown_attr && !b->unknown_attr && a->id == b->id && a->key_bits == b->key_bits;
}

/* The i-th transform of a type; an absent type counts as one NONE. */
static const struct transform *nth(const struct proposal *p, uint8_t type, size_t i)
{
	bool any = false;

	for (uint8_t k = 0; k < p->n; k++) {
		if (p->t[k].type != type)
			continue;
		any = true;
		if (i-- == 0)
			return &p->t[k];
	}
	return !any && i == 0 ? &none : NULL;
}

static const struct transform *common(
    const struct proposal *first, const struct proposal *second, uint8_t type, uint16_t wanted)
{
	const struct transform *a, *b, *found = NULL;

	for (size_t i = 0; (a = nth(first, type, i)); i++) {
		for (size_t j = 0; (b = nth(second, type, j)); j++) {
			if (!same(a, b))
				continue;
			if (!wanted || a->id == wanted)
				return a;
			if (!found)
				found = a;
			break;
		}
	}
	return found;
}

static void suite_set(struct suite *s, uint8_t type, const struct transform *t)
{
	switch (type) {
	case TRANSFORM_ENCR:
		s->encr = t->id;
		s->key_bits = t->key_bits;
		break;
	case TRANSFORM_PRF:
		s->prf = t->id;
		break;
	case TRANSFORM_INTEG:
		s->integ = t->id;
		break;
	case TRANSFORM_KE:
		s->ke = t->id;
		break;
	case TRANSFORM_ESN:
		s->esn = t->id;
		break;
	}
}

/* An unknown type asks for something we cannot give (RFC 7296, 3.3.6). */
static bool all_known(const struct proposal *p)
{
	for (uint8_t i = 0; i < p->n; i++)
		if (p->t[i].type < TRANSFORM_ENCR || p->t[i].type > TRANSFORM_ESN)
			return false;
	return true;
}

/* How two proposals meet. Returns the types that do not, one bit each. */
static uint32_t match(const struct proposal *first, const struct proposal *second, uint16_t ke_preferred,
    bool ignore_ke, struct suite *out)
{
	uint32_t misses = 0;

	*out = (struct suite){0};
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		uint8_t type = types[i].type;
		const struct transform *t;

		if (type == TRANSFORM_KE && ignore_ke)
			continue;
		t = common(first, second, type, type == TRANSFORM_KE ? ke_preferred : 0);
		if (t)
			suite_set(out, type, t);
		else
			misses |= 1u << i;
	}
	return misses;
}

static void add_list(struct text *t, const struct proposal *p, size_t type)
{
	const struct transform *tr;

	for (size_t i = 0; (tr = nth(p, types[type].type, i)); i++) {
		if (i)
			add(t, ", ");
		add_transform(t, type, tr);
	}
}

static void explain(struct text *why, const struct proposal *ours, const struct proposal *theirs,
    uint32_t misses, size_t n_ours, size_t n_theirs)
{
	const char *sep = "";

	if (n_ours == 0) {
		add(why, "none of our proposals can be used");
		return;
	}
	if (n_theirs == 0) {
		add(why, "the peer sent no proposal that can be used");
		return;
	}
	if (!misses) {
		add(why, "the peer asks for transforms that are not known");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (!(misses & 1u << i))
			continue;
		add(why, "%s%s: ours ", sep, types[i].title);
		add_list(why, ours, i);
		add(why, ", theirs ");
		add_list(why, theirs, i);
		sep = "; ";
	}
	if (n_ours > 1 || n_theirs > 1)
		add(why, " (nearest of %zu and %zu proposals)", n_ours, n_theirs);
}

enum cy_err proposal_select(const struct proposal *ours, size_t n_ours, const struct proposal *theirs,
    size_t n_theirs, bool prefer_theirs, uint16_t ke_preferred, bool ignore_ke, struct suite *out_suite,
    size_t *out_theirs_index, char *out_why, size_t why_cap)
{
	const struct proposal *first = prefer_theirs ? theirs : ours, *second = prefer_theirs ? ours : theirs;
	size_t n_first = prefer_theirs ? n_theirs : n_ours, n_second = prefer_theirs ? n_ours : n_theirs;
	size_t best_ours = 0, best_theirs = 0;
	uint32_t best = 0;
	int best_count = 33;
	struct text why = text_of(out_why, why_cap);

	for (size_t i = 0; i < n_first; i++) {
		for (size_t j = 0; j < n_second; j++) {
			size_t t = prefer_theirs ? i : j;
			struct suite s;
			uint32_t misses;

			if (first[i].proto != second[j].proto || !all_known(&theirs[t]))
				continue;
			misses = match(&first[i], &second[j], ke_preferred, ignore_ke, &s);
			if (!misses) {
				*out_suite = s;
				*out_theirs_index = t;
				return CY_OK;
			}
			if (__builtin_popcount(misses) < best_count) {
				best_count = __builtin_popcount(misses);
				best = misses;
				best_ours = prefer_theirs ? j : i;
				best_theirs = t;
			}
		}
	}
	explain(&why, n_ours ? &ours[best_ours] : NULL, n_theirs ? &theirs[best_theirs] : NULL, best, n_ours,
	    n_theirs);
	return CY_E_NOTFOUND;
}

bool proposal_accepts(const struct proposal *ours, size_t n_ours, const struct proposal *answer,
    bool ignore_ke, struct suite *out)
{
	struct suite s;
	size_t index;

	/* the answer has one transform of each type (RFC 7296, 2.7) */
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (nth(answer, types[i].type, 1) && !(ignore_ke && types[i].type == TRANSFORM_KE))
			return false;
	if (proposal_select(ours, n_ours, answer, 1, false, 0, ignore_ke, &s, &index, NULL, 0) != CY_OK)
		return false;
	*out = s;
	return true;
}

void proposal_from_suite(const struct suite *s, enum proposal_proto proto, struct proposal *out)
{
	*out = (struct proposal){.proto = (uint8_t)proto, .number = 1};
	if (s->encr)
		out->t[out->n++] = (struct transform){TRANSFORM_ENCR, 0, s->encr, s->key_bits};
	if (s->prf)
		out->t[out->n++] = (struct transform){TRANSFORM_PRF, 0, s->prf, 0};
	if (s->integ)
		out->t[out->n++] = (struct transform){TRANSFORM_INTEG, 0, s->integ, 0};
	if (s->ke)
		out->t[out->n++] = (struct transform){TRANSFORM_KE, 0, s->ke, 0};
	if (proto == PROTO_ESP || proto == PROTO_AH)
		out->t[out->n++] = (struct transform){TRANSFORM_ESN, 0, s->esn, 0};
}

/* --- printing --- */

const char *proposal_str(const struct proposal *p, char *out, size_t cap)
{
	static const char *const protos[] = {"?", "IKE", "AH", "ESP"};
	struct text t = text_of(out, cap);
	const struct transform *tr;
	const char *sep = ":";

	add(&t, "%s", protos[p->proto <= PROTO_ESP ? p->proto : 0]);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		for (size_t k = 0; (tr = nth(p, types[i].type, k)); k++) {
			if (tr == &none)
				continue;
			add(&t, "%s", sep);
			add_transform(&t, i, tr);
			sep = "/";
		}
	}
	return out;
}

const char *suite_str(const struct suite *s, enum proposal_proto proto, char *out, size_t cap)
{
	struct text t = text_of(out, cap);
	struct proposal p;
	const char *sep = "";

	proposal_from_suite(s, proto, &p);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const struct transform *tr = nth(&p, types[i].type, 0);

		if (tr == &none || tr->id == 0)
			continue;
		add(&t, "%s", sep);
		if (tr->type == TRANSFORM_ESN)
			add(&t, "ESN");
		else
			add_transform(&t, i, tr);
		sep = "/";
	}
	return out;
}

bool suite_key_lens(const struct crypto *c, const struct suite *s, size_t *out_encr, size_t *out_integ)
{
	size_t encr = 0, integ = 0;

	if (s->encr) {
		const struct cy_cipher_alg *alg = crypto_cipher(c, s->encr, s->key_bits);

		if (!alg)
			return false;
		encr = (s->key_bits ? s->key_bits : alg->key_bits[0]) / 8u + alg->salt_len;
	}
	if (s->integ) {
		struct integ_info info;

		if (!crypto_integ(c, s->integ, &info))
			return false;
		integ = info.key_len;
	}
	*out_encr = encr;
	*out_integ = integ;
	return true;
}

uint16_t proposal_first_group(const struct proposal *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (uint8_t j = 0; j < p[i].n; j++)
			if (p[i].t[j].type == TRANSFORM_KE && p[i].t[j].id != CY_KE_NONE)
				return p[i].t[j].id;
	return CY_KE_NONE;
}

bool proposal_has_group(const struct proposal *p, size_t n, uint16_t group)
{
	for (size_t i = 0; i < n; i++)
		for (uint8_t j = 0; j < p[i].n; j++)
			if (p[i].t[j].type == TRANSFORM_KE && p[i].t[j].id == group)
				return true;
	return false;
}
