/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suites as IKEv1 says them: phase 1 by RFC 2409, Appendix A, phase 2 by RFC 2407, 4.4.4 and 4.5, with the numbers that IANA's
 * registries have added to both.
 */
#include <stdio.h>

#include "daemon/ikev1/ikev1.h"
#include "libcore/base/err.h"

/* RFC 2409, Appendix A */
enum ike_attr {
	IKE_ENCR = 1,
	IKE_HASH = 2,
	IKE_AUTH = 3,
	IKE_GROUP = 4,
	IKE_LIFE_TYPE = 11,
	IKE_LIFE = 12,
	IKE_KEY_LENGTH = 14,
};
/* RFC 2407, 4.5; RFC 4304 */
enum esp_attr {
	ESP_LIFE_TYPE = 1,
	ESP_LIFE = 2,
	ESP_GROUP = 3,
	ESP_ENCAP = 4,
	ESP_AUTH = 5,
	ESP_KEY_LENGTH = 6,
	ESP_ESN = 11,
};
enum { LIFE_SECONDS = 1, LIFE_KILOBYTES = 2 };
enum { KEY_IKE = 1 }; /* transform ID of phase 1 (RFC 2407, 4.4.2) */

const struct name v1_auth_names[] = {{V1_AUTH_PSK, "pre-shared key"}, {2, "DSS signatures"},
    {V1_AUTH_RSA, "RSA signatures"}, {4, "encryption with RSA"}, {5, "revised encryption with RSA"},
    {V1_AUTH_ECDSA_256, "ECDSA-256 signatures"}, {V1_AUTH_ECDSA_384, "ECDSA-384 signatures"},
    {V1_AUTH_ECDSA_521, "ECDSA-521 signatures"}, {V1_AUTH_HYBRID_INIT_RSA, "hybrid (RSA)"},
    {V1_AUTH_HYBRID_RESP_RSA, "hybrid (RSA)"}, {V1_AUTH_XAUTH_INIT_PSK, "pre-shared key with XAUTH"},
    {V1_AUTH_XAUTH_RESP_PSK, "pre-shared key with XAUTH"},
    {V1_AUTH_XAUTH_INIT_RSA, "RSA signatures with XAUTH"},
    {V1_AUTH_XAUTH_RESP_RSA, "RSA signatures with XAUTH"}, {0, NULL}};

struct number {
	uint16_t wire, ours;
};

static const struct number ike_encr[] = {{5, CY_ENCR_3DES}, {7, CY_ENCR_AES_CBC}, {8, CY_ENCR_CAMELLIA_CBC}};
static const struct number ike_hash[] = {{1, CY_PRF_HMAC_MD5}, {2, CY_PRF_HMAC_SHA1},
    {4, CY_PRF_HMAC_SHA2_256}, {5, CY_PRF_HMAC_SHA2_384}, {6, CY_PRF_HMAC_SHA2_512}};
static const struct number integ_hash[] = {{CY_INTEG_HMAC_MD5_96, CY_PRF_HMAC_MD5},
    {CY_INTEG_HMAC_SHA1_96, CY_PRF_HMAC_SHA1}, {CY_INTEG_HMAC_SHA2_256_128, CY_PRF_HMAC_SHA2_256},
    {CY_INTEG_HMAC_SHA2_256_96, CY_PRF_HMAC_SHA2_256}, {CY_INTEG_HMAC_SHA2_384_192, CY_PRF_HMAC_SHA2_384},
    {CY_INTEG_HMAC_SHA2_512_256, CY_PRF_HMAC_SHA2_512}};
static const struct number esp_encr[] = {{3, CY_ENCR_3DES}, {11, CY_ENCR_NULL}, {12, CY_ENCR_AES_CBC},
    {13, CY_ENCR_AES_CTR}, {14, CY_ENCR_AES_CCM_8}, {15, CY_ENCR_AES_CCM_12}, {16, CY_ENCR_AES_CCM_16},
    {18, CY_ENCR_AES_GCM_8}, {19, CY_ENCR_AES_GCM_12}, {20, CY_ENCR_AES_GCM_16}, {22, CY_ENCR_CAMELLIA_CBC},
    {23, CY_ENCR_NULL_AES_GMAC}};
static const struct number esp_auth[] = {{1, CY_INTEG_HMAC_MD5_96}, {2, CY_INTEG_HMAC_SHA1_96},
    {5, CY_INTEG_HMAC_SHA2_256_128}, {6, CY_INTEG_HMAC_SHA2_384_192}, {7, CY_INTEG_HMAC_SHA2_512_256},
    {9, CY_INTEG_AES_XCBC_96}};

static uint16_t to_wire(const struct number *n, size_t count, uint16_t ours)
{
	for (size_t i = 0; i < count; i++)
		if (n[i].ours == ours)
			return n[i].wire;
	return 0;
}

static uint16_t to_ours(const struct number *n, size_t count, uint64_t wire)
{
	for (size_t i = 0; i < count; i++)
		if (n[i].wire == wire)
			return n[i].ours;
	return 0;
}

/* --- our suites ---------------------------------------------------------------------------------------------------------- */

static bool add_suite(struct suite *out, size_t *n, size_t cap, const struct suite *s)
{
	for (size_t i = 0; i < *n; i++)
		if (memcmp(&out[i], s, sizeof(*s)) == 0)
			return true;
	if (*n == cap)
		return false;
	out[(*n)++] = *s;
	return true;
}

/* The hash is named by the integrity algorithm; a PRF alone does as well. AEAD ciphers came with IKEv2. */
static void flatten_ike(
    const struct crypto *crypto, const struct proposal *p, struct suite *out, size_t *n, size_t cap)
{
	for (uint8_t g = 0; g < p->n; g++)
		for (uint8_t e = 0; p->t[g].type == TRANSFORM_KE && e < p->n; e++)
			for (uint8_t h = 0; p->t[e].type == TRANSFORM_ENCR && h < p->n; h++) {
				const struct cy_cipher_alg *alg =
				    crypto_cipher(crypto, p->t[e].id, p->t[e].key_bits);
				struct suite s = {
				    .encr = p->t[e].id, .key_bits = p->t[e].key_bits, .ke = p->t[g].id};

				if (p->t[h].type != TRANSFORM_INTEG || !alg || alg->aead ||
				    !to_wire(ike_encr, ARRAY_LEN(ike_encr), s.encr))
					continue;
				if (s.encr == CY_ENCR_3DES)
					s.key_bits = 0;
				s.prf = to_ours(integ_hash, ARRAY_LEN(integ_hash), p->t[h].id);
				if (s.prf && v1_hash_of(s.prf) && crypto_hash(crypto, v1_hash_of(s.prf)))
					add_suite(out, n, cap, &s);
			}
}

size_t v1_ike_suites(struct ike_sa *sa, const struct conn *c, struct suite *out, size_t cap)
{
	const struct crypto *crypto = sa->shard->d->crypto;
	struct proposal_list list = {NULL, 0};
	size_t n = 0;

	if (c->ike.n && proposal_list_dup(&list, &c->ike))
		return 0;
	if ((!c->ike.n || !c->ike_strict) && proposal_defaults(crypto, PROTO_IKE, &list)) {
		proposal_list_fini(&list);
		return 0;
	}
	for (size_t i = 0; i < list.n; i++)
		if (proposal_restrict(crypto, &list.p[i]))
			flatten_ike(crypto, &list.p[i], out, &n, cap);
	proposal_list_fini(&list);
	return n;
}

static void flatten_esp(const struct crypto *crypto, const struct proposal *p, uint16_t pfs, bool esn,
    struct suite *out, size_t *n, size_t cap)
{
	bool any_ke = false, any_integ = false;

	for (uint8_t i = 0; i < p->n; i++) {
		any_ke |= p->t[i].type == TRANSFORM_KE;
		any_integ |= p->t[i].type == TRANSFORM_INTEG;
	}
	for (uint8_t g = 0; g < (any_ke ? p->n : 1); g++)
		for (uint8_t e = 0; (!any_ke || p->t[g].type == TRANSFORM_KE) && e < p->n; e++)
			for (uint8_t a = 0; p->t[e].type == TRANSFORM_ENCR && a < (any_integ ? p->n : 1);
			     a++) {
				const struct cy_cipher_alg *alg =
				    crypto_cipher(crypto, p->t[e].id, p->t[e].key_bits);
				struct suite s = {.encr = p->t[e].id,
				    .key_bits = p->t[e].key_bits,
				    .ke = any_ke ? p->t[g].id : pfs,
				    .esn = esn};

				if (any_integ && p->t[a].type != TRANSFORM_INTEG)
					continue;
				if (any_integ)
					s.integ = p->t[a].id;
				if (!to_wire(esp_encr, ARRAY_LEN(esp_encr), s.encr) ||
				    (alg && alg->aead && s.integ))
					continue;
				if (!(alg && alg->aead) && !to_wire(esp_auth, ARRAY_LEN(esp_auth), s.integ))
					continue;
				if (s.encr == CY_ENCR_3DES)
					s.key_bits = 0;
				add_suite(out, n, cap, &s);
			}
}

size_t v1_esp_suites(struct ike_sa *sa, const struct conn *c, struct arena *a, struct suite *out, size_t cap)
{
	const struct crypto *crypto = sa->shard->d->crypto;
	bool esn = c->require_esn && knl_features(sa->shard->d->knl) & CY_KERNEL_ESN;
	struct proposal_list list = {NULL, 0};
	size_t n = 0;

	(void)a;
	if (c->child.n && proposal_list_dup(&list, &c->child))
		return 0;
	if ((!c->child.n || !c->child_strict) && proposal_defaults(crypto, PROTO_ESP, &list)) {
		proposal_list_fini(&list);
		return 0;
	}
	for (size_t i = 0; i < list.n; i++)
		if (proposal_restrict(crypto, &list.p[i]))
			flatten_esp(crypto, &list.p[i],
			    c->pfs || v1_of(sa)->unity_pfs ? sa->suite.ke : CY_KE_NONE, esn, out, &n, cap);
	proposal_list_fini(&list);
	return n;
}

/* --- building ------------------------------------------------------------------------------------------------------------ */

struct attrs {
	struct arena *arena;
	struct v1_attr a[8];
	size_t n;
	bool bad;
};

static void put(struct attrs *at, uint16_t type, uint32_t value)
{
	bool tv = value <= UINT16_MAX;
	uint8_t *p = arena_alloc(at->arena, 4);

	if (!p || at->n == ARRAY_LEN(at->a)) {
		at->bad = true;
		return;
	}
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(value >> (24 - 8 * i));
	at->a[at->n++] =
	    (struct v1_attr){.type = type, .tv = tv, .data = cy_slice(tv ? p + 2 : p, tv ? 2 : 4)};
}

static bool finish(struct attrs *at, struct v1_transform *t)
{
	t->attrs = at->bad ? NULL : arena_dup(at->arena, at->a, at->n * sizeof(at->a[0]));
	t->n = at->n;
	return t->attrs != NULL;
}

static struct v1_proposal *add_sa(struct ike_sa *sa, struct message *m, uint8_t proto, size_t n)
{
	struct arena *a = &sa->step->a;
	struct payload *p = message_add(a, m, PAYLOAD_V1_SA);
	struct v1_proposal *prop = arena_alloc(a, sizeof(*prop));
	struct v1_transform *t = arena_alloc(a, n * sizeof(*t));

	if (!p || !prop || !t)
		return NULL;
	memset(t, 0, n * sizeof(*t));
	*prop = (struct v1_proposal){.number = 1, .proto = proto, .t = t, .n = n};
	p->u.sa1 = (struct v1_sa){.doi = V1_DOI_IPSEC, .situation = 1, .p = prop, .n = 1};
	return prop;
}

bool v1_add_ike_sa(
    struct ike_sa *sa, struct message *m, const struct suite *s, size_t n, uint16_t auth, uint32_t lifetime_s)
{
	struct v1_proposal *p = add_sa(sa, m, PROTO_IKE, n);

	for (size_t i = 0; p && i < n; i++) {
		struct attrs at = {.arena = &sa->step->a};

		p->t[i].number = (uint8_t)(i + 1);
		p->t[i].id = KEY_IKE;
		put(&at, IKE_ENCR, to_wire(ike_encr, ARRAY_LEN(ike_encr), s[i].encr));
		if (s[i].key_bits)
			put(&at, IKE_KEY_LENGTH, s[i].key_bits);
		put(&at, IKE_HASH, to_wire(ike_hash, ARRAY_LEN(ike_hash), s[i].prf));
		put(&at, IKE_GROUP, s[i].ke);
		put(&at, IKE_AUTH, auth);
		if (lifetime_s) {
			put(&at, IKE_LIFE_TYPE, LIFE_SECONDS);
			put(&at, IKE_LIFE, lifetime_s);
		}
		if (!finish(&at, &p->t[i]))
			return false;
	}
	return p != NULL;
}

/* RFC 3947, 5.1; the drafts had numbers of the private range. */
static uint32_t encap_mode(const struct ike_sa *sa, const struct child_sa *c)
{
	uint32_t mode = c->mode == CY_MODE_TRANSPORT ? 2 : 1;

	if (!c->encap)
		return mode;
	return v1_of(sa)->natt == V1_NATT_RFC ? mode + 2 : mode + 61442;
}

static void put_spi(struct v1_proposal *p, uint32_t spi)
{
	p->spi_len = 4;
	for (int i = 0; i < 4; i++)
		p->spi[i] = (uint8_t)(spi >> (24 - 8 * i));
}

bool v1_add_esp_sa(
    struct ike_sa *sa, struct message *m, const struct child_sa *c, const struct suite *s, size_t n)
{
	struct v1_proposal *p = add_sa(sa, m, PROTO_ESP, n);

	if (!p)
		return false;
	put_spi(p, c->spi_in);
	for (size_t i = 0; i < n; i++) {
		struct attrs at = {.arena = &sa->step->a};

		p->t[i].number = (uint8_t)(i + 1);
		p->t[i].id = (uint8_t)to_wire(esp_encr, ARRAY_LEN(esp_encr), s[i].encr);
		if (s[i].key_bits)
			put(&at, ESP_KEY_LENGTH, s[i].key_bits);
		if (s[i].integ)
			put(&at, ESP_AUTH, to_wire(esp_auth, ARRAY_LEN(esp_auth), s[i].integ));
		put(&at, ESP_ENCAP, encap_mode(sa, c));
		if (s[i].ke)
			put(&at, ESP_GROUP, s[i].ke);
		if (s[i].esn)
			put(&at, ESP_ESN, 1);
		if (c->conn->child_lifetime_s) {
			put(&at, ESP_LIFE_TYPE, LIFE_SECONDS);
			put(&at, ESP_LIFE, (uint32_t)c->conn->child_lifetime_s);
		}
		if (!finish(&at, &p->t[i]))
			return false;
	}
	return true;
}

bool v1_add_choice(struct ike_sa *sa, struct message *m, const struct v1_proposal *p,
    const struct v1_transform *t, struct cy_slice spi)
{
	struct v1_proposal *out = add_sa(sa, m, p->proto, 1);

	if (!out || spi.n > sizeof(out->spi))
		return false;
	out->number = p->number;
	out->spi_len = (uint8_t)spi.n;
	if (spi.n)
		memcpy(out->spi, spi.p, spi.n);
	out->t[0] = *t;
	return true;
}

/* --- reading ------------------------------------------------------------------------------------------------------------- */

static uint64_t number(const struct v1_attr *a)
{
	uint64_t v = 0;

	if (a->data.n > 8)
		return UINT64_MAX;
	for (size_t i = 0; i < a->data.n; i++)
		v = v << 8 | a->data.p[i];
	return v;
}

static void take_life(struct v1_offer *o, uint64_t *type, uint64_t v)
{
	if (*type == LIFE_SECONDS)
		o->lifetime_s = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
	else if (*type == LIFE_KILOBYTES)
		o->life_bytes = v > UINT64_MAX / 1024 ? UINT64_MAX : v * 1024;
}

bool v1_read_ike(const struct v1_transform *t, struct v1_offer *out)
{
	uint64_t life_type = LIFE_SECONDS;

	memset(out, 0, sizeof(*out));
	if (t->id != KEY_IKE)
		return false;
	for (size_t i = 0; i < t->n; i++) {
		uint64_t v = number(&t->attrs[i]);

		switch (t->attrs[i].type) {
		case IKE_ENCR:
			out->suite.encr = to_ours(ike_encr, ARRAY_LEN(ike_encr), v);
			break;
		case IKE_HASH:
			out->suite.prf = to_ours(ike_hash, ARRAY_LEN(ike_hash), v);
			break;
		case IKE_AUTH:
			out->auth = v > UINT16_MAX ? 0 : (uint16_t)v;
			break;
		case IKE_GROUP:
			out->suite.ke = v > UINT16_MAX ? 0 : (uint16_t)v;
			break;
		case IKE_KEY_LENGTH:
			out->suite.key_bits = v > UINT16_MAX ? 0 : (uint16_t)v;
			break;
		case IKE_LIFE_TYPE:
			life_type = v;
			break;
		case IKE_LIFE:
			take_life(out, &life_type, v);
			break;
		default: /* a group of one's own, another PRF: not with us */
			return false;
		}
	}
	return out->suite.encr && out->suite.prf && out->suite.ke && out->auth;
}

bool v1_read_esp(const struct v1_transform *t, struct v1_offer *out)
{
	uint64_t life_type = LIFE_SECONDS;

	memset(out, 0, sizeof(*out));
	out->suite.encr = to_ours(esp_encr, ARRAY_LEN(esp_encr), t->id);
	for (size_t i = 0; i < t->n; i++) {
		uint64_t v = number(&t->attrs[i]);

		switch (t->attrs[i].type) {
		case ESP_AUTH:
			out->suite.integ = to_ours(esp_auth, ARRAY_LEN(esp_auth), v);
			if (!out->suite.integ)
				return false;
			break;
		case ESP_KEY_LENGTH:
			out->suite.key_bits = v > UINT16_MAX ? 0 : (uint16_t)v;
			break;
		case ESP_GROUP:
			out->suite.ke = v > UINT16_MAX ? 0 : (uint16_t)v;
			break;
		case ESP_ENCAP:
			out->encap = v >= 61443 && v <= 61444 ? (uint8_t)(v - 61440) : v > 4 ? 0 : (uint8_t)v;
			break;
		case ESP_ESN:
			out->suite.esn = v == 1;
			break;
		case ESP_LIFE_TYPE:
			life_type = v;
			break;
		case ESP_LIFE:
			take_life(out, &life_type, v);
			break;
		default:
			return false;
		}
	}
	return out->suite.encr && out->encap;
}

/* --- words --------------------------------------------------------------------------------------------------------------- */

const char *v1_suite_str(const struct suite *s, char *out, size_t cap)
{
	char encr[40];

	snprintf(encr, sizeof(encr), s->key_bits ? "%s_%u" : "%s", name_or_number(encr_names, s->encr),
	    s->key_bits);
	snprintf(out, cap, "%s/%s/%s", encr,
	    s->prf         ? name_or_number(prf_names, s->prf)
	        : s->integ ? name_or_number(integ_names, s->integ)
	                   : "AEAD",
	    ke_name(s->ke));
	return out;
}

const char *v1_offers_str(const struct v1_sa *sa, bool esp, char *out, size_t cap)
{
	size_t at = 0, shown = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sa->n; i++)
		for (size_t j = 0; j < sa->p[i].n && at < cap; j++) {
			struct v1_offer o;
			char one[128];

			if (shown++ == 3) {
				snprintf(out + at, cap - at, ", ...");
				return out;
			}
			if (esp ? !v1_read_esp(&sa->p[i].t[j], &o) : !v1_read_ike(&sa->p[i].t[j], &o))
				snprintf(one, sizeof(one), "something unknown");
			else
				v1_suite_str(&o.suite, one, sizeof(one));
			at += (size_t)snprintf(out + at, cap - at, "%s%s", at ? ", " : "", one);
		}
	return out;
}
