/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a peer's certificate to a CA we trust (RFC 5280, 6, as RFC 4945 profiles it for IKE). The search is depth first over
 * certificates whose subject is the issuer wanted; each has its own checks, and the sentence told in the end is that of
 * the attempt which came furthest.
 */

#include "libcore/base/dn.h"
#include "libcore/cred/private.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A peer that sends many certificates of one name must not cost more than this many signature checks. */
#define MAX_SIGNATURES 32

struct builder {
	const struct creds *c;
	struct cy_cert *const *received;
	size_t n_received;
	const struct ident *ca;
	int64_t now;
	struct cred_trust *out;
	uint32_t n_signatures;
	int best; /* rank of what why_buf says */
};

/* How far an attempt came, within one depth. */
enum {
	RANK_NO_ISSUER,
	RANK_UNTRUSTED_ROOT,
	RANK_NOT_CA,
	RANK_USAGE,
	RANK_SIGNATURE,
	RANK_TIME,
	RANK_PATH_LEN,
	RANK_LAST,
	RANK_N,
};

__attribute__((format(printf, 4, 5))) static bool fail(
    struct builder *b, size_t depth, int rank, const char *fmt, ...)
{
	char text[sizeof(b->out->why_buf)];
	va_list ap;

	rank += (int)depth * RANK_N;
	if (rank < b->best)
		return false;
	b->best = rank;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* names of certificates are the peer's text */
	for (char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	memcpy(b->out->why_buf, text, sizeof(text));
	b->out->why = b->out->why_buf;
	return false;
}

static const struct cy_cert_info *info_of(const struct builder *b, const struct cy_cert *cert)
{
	return b->c->pki->cert_info(cert);
}

static const char *date(int64_t t, char out[32])
{
	time_t tt = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&tt, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(out, 32, "%lld", (long long)t);
	return out;
}

static bool in_time(struct builder *b, size_t depth, const struct cy_cert_info *i)
{
	const char *what = depth ? "the CA certificate" : "the certificate";
	char when[32];

	if (b->now < i->not_before)
		return fail(b, depth, RANK_TIME, "%s \"%.120s\" is not valid before %s", what, i->subject,
		    date(i->not_before, when));
	if (b->now > i->not_after)
		return fail(b, depth, RANK_TIME, "%s \"%.120s\" expired on %s", what, i->subject,
		    date(i->not_after, when));
	return true;
}

static bool leaf_usage(struct builder *b, const struct cy_cert_info *i)
{
	const uint32_t sign = CY_CERT_KU_DIGITAL_SIG | CY_CERT_KU_NON_REPUDIATION;
	/* RFC 4945, 5.1.3.12 has only the first two. Public CAs issue for TLS, and ikeIntermediate is what old Apple and
	   Microsoft peers look for: both daemons of the field accept them. */
	const uint32_t purposes = CY_CERT_EKU_IPSEC_IKE | CY_CERT_EKU_ANY | CY_CERT_EKU_IKE_INTERMEDIATE |
	    CY_CERT_EKU_SERVER_AUTH | CY_CERT_EKU_CLIENT_AUTH;

	if ((i->flags & CY_CERT_KU_PRESENT) && !(i->flags & sign))
		return fail(b, 0, RANK_USAGE,
		    "the certificate \"%.120s\" is not for signatures: its key usage has neither "
		    "digitalSignature nor "
		    "nonRepudiation",
		    i->subject);
	if ((i->flags & CY_CERT_EKU_PRESENT) && !(i->flags & purposes))
		return fail(b, 0, RANK_USAGE,
		    "the certificate \"%.120s\" is for another purpose: its extended key usage has neither "
		    "IPsec nor TLS",
		    i->subject);
	return true;
}

static bool self_issued(const struct cy_cert_info *i)
{
	return cy_slice_eq(i->subject_der, i->issuer_der);
}

/* May the certificate after the last of the path have issued it? */
static bool issuer_ok(struct builder *b, struct cy_cert *issuer)
{
	size_t depth = b->out->n, below = 0;
	struct cy_cert *cert = b->out->path[depth - 1];
	const struct cy_cert_info *i = info_of(b, issuer), *sub = info_of(b, cert);

	if (!(i->flags & CY_CERT_CA))
		return fail(b, depth, RANK_NOT_CA, "\"%.80s\" issued \"%.80s\" but is not a CA certificate",
		    i->subject, sub->subject);
	if ((i->flags & CY_CERT_KU_PRESENT) && !(i->flags & CY_CERT_KU_CERT_SIGN))
		return fail(b, depth, RANK_USAGE,
		    "\"%.80s\" issued \"%.80s\" but may not sign certificates: its key usage lacks "
		    "keyCertSign",
		    i->subject, sub->subject);
	if (++b->n_signatures > MAX_SIGNATURES)
		return fail(
		    b, depth, RANK_SIGNATURE, "too many certificates of the same names to try them all");
	if (b->c->pki->cert_signed_by(cert, issuer) != CY_OK)
		return fail(b, depth, RANK_SIGNATURE,
		    "the signature of \"%.80s\" was not made by the key of \"%.80s\"", sub->subject,
		    i->subject);
	if (!in_time(b, depth, i))
		return false;
	for (size_t k = 1; k < depth; k++)
		below += !self_issued(info_of(b, b->out->path[k]));
	if (i->path_len >= 0 && below > (size_t)i->path_len)
		return fail(b, depth, RANK_PATH_LEN,
		    "\"%.80s\" allows %d CAs between itself and a peer, but here are %zu: path length "
		    "exceeded",
		    i->subject, i->path_len, below);
	return true;
}

static bool in_path(const struct builder *b, const struct cy_cert_info *i)
{
	for (size_t k = 0; k < b->out->n; k++) {
		const struct cy_cert_info *p = info_of(b, b->out->path[k]);
		/* also another certificate of the same CA and key: it leads nowhere new */
		if (cy_slice_eq(p->subject_der, i->subject_der) && cy_slice_eq(p->spki, i->spki))
			return true;
	}
	return false;
}

static bool is_anchor(const struct builder *b, struct cy_cert *cert)
{
	const struct creds_cert *known = creds_lookup_cert(b->c, info_of(b, cert));

	return known && (known->flags & CRED_CERT_ANCHOR);
}

/* The path has reached a CA we trust: what can only be said of all of it. */
static bool complete(struct builder *b)
{
	const char *why = NULL;
	bool found = !b->ca || b->ca->type == ID_ANY;
	char name[IDENT_STR_MAX];

	for (size_t k = 1; k < b->out->n && !found; k++) {
		const struct cy_slice der = info_of(b, b->out->path[k])->subject_der;
		const struct ident subject = {ID_DER_ASN1_DN, (uint16_t)der.n, (uint8_t *)der.p};
		found = der.n <= UINT16_MAX && ident_match(b->ca, &subject) > 0;
	}
	if (!found)
		return fail(b, b->out->n, RANK_LAST,
		    "the certificate \"%.80s\" is trusted, but not issued below the CA \"%.100s\" that the "
		    "connection asks "
		    "for",
		    info_of(b, b->out->path[0])->subject, ident_str(b->ca, name));
	if (b->out->n > 1 && b->c->pki->path_check(b->out->path, b->out->n, b->now, &why) != CY_OK)
		return fail(b, b->out->n, RANK_LAST,
		    "the certificates up to \"%.80s\" do not stand together: %.120s",
		    info_of(b, b->out->path[b->out->n - 1])->subject, why ? why : "path check failed");
	return true;
}

static bool extend(struct builder *b);

static bool try_issuer(struct builder *b, struct cy_cert *issuer)
{
	if (in_path(b, info_of(b, issuer)))
		return false;
	if (b->out->n == ARRAY_LEN(b->out->path))
		return fail(b, b->out->n, RANK_PATH_LEN, "more than %zu certificates in a row",
		    ARRAY_LEN(b->out->path));
	if (!issuer_ok(b, issuer))
		return false;
	b->out->path[b->out->n++] = issuer;
	if (extend(b))
		return true;
	b->out->n--;
	return false;
}

static bool extend(struct builder *b)
{
	struct cy_cert *last = b->out->path[b->out->n - 1];
	const struct cy_cert_info *i = info_of(b, last);
	struct cy_slice issuer = i->issuer_der;
	size_t depth = b->out->n;

	if (is_anchor(b, last) && complete(b))
		return true;
	if (i->flags & CY_CERT_SELF_SIGNED)
		return fail(b, depth, RANK_UNTRUSTED_ROOT,
		    "\"%.120s\" is self-signed and not one of the CAs we trust", i->subject);
	for (int anchors = 1; anchors >= 0; anchors--) {
		struct hnode *n = hmap_first(&b->c->by_subject, dn_hash(cred_hash_key, issuer));
		for (; n; n = hmap_next(n)) {
			struct creds_cert *c = container_of(n, struct creds_cert, node);
			if (!!(c->flags & CRED_CERT_ANCHOR) == anchors &&
			    dn_eq(c->info->subject_der, issuer) && try_issuer(b, c->cert))
				return true;
		}
	}
	for (size_t k = 0; k < b->n_received; k++)
		if (dn_eq(info_of(b, b->received[k])->subject_der, issuer) && try_issuer(b, b->received[k]))
			return true;
	return fail(b, depth, RANK_NO_ISSUER,
	    "no trusted CA certificate for \"%.100s\", which issued \"%.100s\"", i->issuer, i->subject);
}

enum cy_err creds_verify(const struct creds *c, struct cy_cert *leaf, struct cy_cert *const *received,
    size_t n_received, const struct ident *ca, int64_t now, struct cred_trust *out)
{
	struct builder b = {
	    .c = c,
	    .received = received,
	    .n_received = n_received,
	    .ca = ca && ca->type != ID_ANY ? ca : NULL,
	    .now = now,
	    .out = out,
	    .best = -1,
	};
	const struct creds_cert *known;

	memset(out, 0, sizeof(*out));
	if (!c->pki) {
		out->why = "no plugin verifies certificates";
		return CY_E_UNSUPPORTED;
	}
	out->path[out->n++] = leaf;
	if (!in_time(&b, 0, info_of(&b, leaf)) || !leaf_usage(&b, info_of(&b, leaf)))
		goto untrusted;
	/* One that the administrator named is trusted as it is, as charon has it: there need be no CA at all. */
	known = creds_lookup_cert(c, info_of(&b, leaf));
	if ((known && (known->flags & CRED_CERT_LOADED) && !b.ca) || extend(&b)) {
		out->why = NULL;
		return CY_OK;
	}
untrusted:
	out->n = 0;
	return CY_E_AUTH;
}

/* --- our own certificates --- */

static const struct creds_cert *find_issuer(const struct creds *c, struct cy_cert *cert)
{
	const struct cy_slice name = c->pki->cert_info(cert)->issuer_der;

	for (struct hnode *h = hmap_first(&c->by_subject, dn_hash(cred_hash_key, name)); h;
	     h = hmap_next(h)) {
		struct creds_cert *issuer = container_of(h, struct creds_cert, node);

		if ((issuer->info->flags & CY_CERT_CA) && dn_eq(issuer->info->subject_der, name) &&
		    c->pki->cert_signed_by(cert, issuer->cert) == CY_OK)
			return issuer;
	}
	return NULL;
}

/*
 * Our chain goes to every peer, and checking a signature is not for a worker: who issued what is found out once for a store. This is no
 * trust, only what we show.
 */
static const struct creds_cert *issuer_of(
    const struct creds *c, struct cy_cert *cert, struct creds_cert *known)
{
	const struct creds_cert *issuer;

	if (known && atomic_load_explicit(&known->issuer_among, memory_order_acquire) == c->n_certs)
		return atomic_load_explicit(&known->issuer, memory_order_relaxed);
	issuer = find_issuer(c, cert);
	if (known) {
		atomic_store_explicit(&known->issuer, issuer, memory_order_relaxed);
		atomic_store_explicit(&known->issuer_among, c->n_certs, memory_order_release);
	}
	return issuer;
}

size_t creds_own_chain(const struct creds *c, struct cy_cert *leaf, struct cy_cert **out, size_t cap)
{
	const struct cy_cert_info *i = c->pki->cert_info(leaf);
	struct creds_cert *known = creds_lookup_cert(c, i);
	struct cy_cert *at = leaf;
	size_t n = 0;

	while (n < cap && !(i->flags & CY_CERT_SELF_SIGNED)) {
		const struct creds_cert *found = issuer_of(c, at, known);

		if (!found || (found->info->flags & CY_CERT_SELF_SIGNED))
			break;
		for (size_t k = 0; k < n; k++)
			if (out[k] == found->cert)
				return n;
		out[n++] = at = found->cert;
		i = found->info;
		known = creds_lookup_cert(c, i);
	}
	return n;
}

/* --- who a certificate is for --- */

static bool same_ident(uint16_t type, struct cy_slice bytes, const struct ident *id)
{
	const struct ident other = {type, (uint16_t)bytes.n, (uint8_t *)bytes.p};

	return bytes.n <= UINT16_MAX && ident_eq(&other, id);
}

static uint16_t san_ident_type(const struct cy_san *s)
{
	switch (s->type) {
	case CY_SAN_DNS:
		return ID_FQDN;
	case CY_SAN_EMAIL:
		return ID_RFC822_ADDR;
	case CY_SAN_IP:
		return s->value.n == 4 ? ID_IPV4_ADDR : s->value.n == 16 ? ID_IPV6_ADDR : ID_ANY;
	case CY_SAN_DN:
		return ID_DER_ASN1_DN;
	case CY_SAN_URI:
		break;
	}
	return ID_ANY;
}

static bool empty_name(struct cy_slice der)
{
	return der.n <= 2;
}

/*
 * Equality only: neither an identity with a "*" in it nor a wildcard certificate matches anything but itself, because the
 * identity comes from the peer (RFC 4945, 3.1: compared byte by byte, names without regard to case).
 */
bool cred_cert_has_ident(const struct cy_cert_info *info, const struct ident *id)
{
	if (id->type == ID_DER_ASN1_DN && !empty_name(info->subject_der) &&
	    same_ident(ID_DER_ASN1_DN, info->subject_der, id))
		return true;
	if (id->type == ID_KEY_ID && id->n == 20 &&
	    (memcmp(id->p, info->key.keyid_sha1, 20) == 0 || memcmp(id->p, info->key.spki_sha1, 20) == 0))
		return true;
	for (size_t i = 0; i < info->n_sans; i++) {
		uint16_t type = san_ident_type(&info->sans[i]);
		if (type != ID_ANY && same_ident(type, info->sans[i].value, id))
			return true;
	}
	return false;
}

enum cy_err cred_default_ident(const struct cy_cert_info *info, const struct ident *wanted, struct ident *out)
{
	if (wanted && wanted->type != ID_ANY && cred_cert_has_ident(info, wanted))
		return ident_dup(out, wanted);
	if (!empty_name(info->subject_der))
		return ident_set(out, ID_DER_ASN1_DN, info->subject_der);
	/* RFC 5280, 4.1.2.6: without a subject the names are in subjectAltName */
	for (size_t i = 0; i < info->n_sans; i++) {
		uint16_t type = san_ident_type(&info->sans[i]);
		if (type != ID_ANY)
			return ident_set(out, type, info->sans[i].value);
	}
	return CY_E_NOTFOUND;
}
