/* SPDX-License-Identifier: Apache-2.0 */
/* Public-key authentication: which key and certificate are ours, how to sign, and whom to believe. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/auth/auth.h"
#include "daemon/wire/message.h"
#include "libcore/base/err.h"
#include "libcore/run/usage.h"

/* --- ours ------------------------------------------------------------------------------------------------------------ */

static enum cy_err id_from_cert(struct auth_op *op)
{
	const struct cy_cert_info *info = crypto_pki(op->d->crypto)->cert_info(op->cert);

	return ident_set(&op->local_id, ID_DER_ASN1_DN, info->subject_der);
}

static enum cy_err set_default_id(struct auth_op *op)
{
	const struct conn_auth_round *r = op->round;
	const struct cy_cert_info *info = op->cert ? crypto_pki(op->d->crypto)->cert_info(op->cert) : NULL;

	ident_fini(&op->local_id);
	/* An identity the certificate does not confirm would be refused by the peer: use the subject, as charon does. */
	if (info && (r->id.type == ID_ANY || !cred_cert_has_ident(info, &r->id)))
		return id_from_cert(op);
	if (r->id.type != ID_ANY)
		return ident_dup(&op->local_id, &r->id);
	return ident_from_addr(&op->local_id, &op->local);
}

enum cy_err auth_pick_own(struct auth_op *op)
{
	const struct creds *c = op->config->creds;
	const struct conn_auth_round *r = op->round;
	const struct cy_pki_ops *pki = crypto_pki(op->d->crypto);

	if (r->method == AUTH_PUBKEY && pki) {
		for (size_t i = 0; i < r->certs.n && !op->cert; i++)
			op->cert = creds_cert_by_file(c, r->certs.s[i]);
		if (!op->cert && !r->pubkey && r->id.type != ID_ANY)
			op->cert = creds_find_own_cert(c, &r->id);
		if (op->cert) {
			op->key = creds_find_privkey(c, &pki->cert_info(op->cert)->key);
		} else if (r->pubkey) {
			struct cy_pubkey *pub = creds_pubkey_by_text(c, r->pubkey);

			op->key = pub ? creds_find_privkey(c, pki->pubkey_info(pub)) : NULL;
		} else {
			static const enum cy_key_type any[] = {
			    CY_KEY_ED25519, CY_KEY_ED448, CY_KEY_ECDSA, CY_KEY_RSA};

			for (size_t i = 0; i < 4 && !op->key; i++)
				op->key = creds_first_privkey(c, any[i]);
		}
		if (!op->key) {
			snprintf(op->why, sizeof(op->why), "no private key for connection %.64s: %s",
			    op->conn->name,
			    op->cert ? "none in ipsec.secrets belongs to its certificate"
			             : "neither leftcert nor a key in ipsec.secrets");
			return CY_E_AUTH;
		}
	}
	return set_default_id(op);
}

/* IKEv1: the HASH itself is signed (RFC 2409, 5.1), with RSA without DigestInfo; ECDSA as strongSwan has it. */
static enum cy_err v1_scheme(
    struct auth_op *op, const struct cy_key_info *k, enum cy_sig_scheme *scheme, enum cy_hash *hash)
{
	if (k->type != op->v1_key || (op->v1_bits && k->bits != op->v1_bits)) {
		snprintf(op->why, sizeof(op->why), "the key is not of the type that phase 1 agreed on");
		return CY_E_AUTH;
	}
	*scheme = k->type == CY_KEY_RSA ? CY_SIG_RSA_PKCS1_RAW : CY_SIG_ECDSA_RAW;
	*hash = CY_HASH_NONE;
	return CY_OK;
}

/* RFC 7427 when the peer announced hashes, the methods of RFC 7296 and RFC 4754 otherwise. */
static enum cy_err choose(struct auth_op *op, const struct cy_key_info *k, enum cy_sig_scheme *scheme,
    enum cy_hash *hash, const struct auth_algid **algid)
{
	static const enum cy_hash by_strength[] = {CY_HASH_SHA2_256, CY_HASH_SHA2_384, CY_HASH_SHA2_512};
	uint32_t allowed = op->round->hashes ? op->round->hashes : UINT32_MAX;

	*algid = NULL;
	if (op->v1_key)
		return v1_scheme(op, k, scheme, hash);
	switch (k->type) {
	case CY_KEY_ED25519:
	case CY_KEY_ED448:
		*scheme = CY_SIG_EDDSA;
		*hash = CY_HASH_IDENTITY;
		if (!(op->peer_hashes & 1u << CY_HASH_IDENTITY)) {
			snprintf(op->why, sizeof(op->why),
			    "our key is EdDSA and the peer does not take EdDSA signatures (RFC 8420)");
			return CY_E_AUTH;
		}
		op->method = AUTHM_DIGITAL_SIGNATURE;
		break;
	case CY_KEY_ECDSA:
		*hash = k->bits > 384 ? CY_HASH_SHA2_512
		    : k->bits > 256   ? CY_HASH_SHA2_384
		                      : CY_HASH_SHA2_256;
		if (op->peer_hashes & 1u << *hash & allowed) {
			*scheme = CY_SIG_ECDSA_DER;
			op->method = AUTHM_DIGITAL_SIGNATURE;
		} else {
			*scheme = CY_SIG_ECDSA_RAW;
			op->method = k->bits > 384 ? AUTHM_ECDSA_521
			    : k->bits > 256        ? AUTHM_ECDSA_384
			                           : AUTHM_ECDSA_256;
			return CY_OK;
		}
		break;
	case CY_KEY_RSA:
		*scheme = CY_SIG_RSA_PKCS1;
		*hash = CY_HASH_SHA1;
		op->method = AUTHM_RSA;
		for (size_t i = 0; i < 3; i++)
			if (op->peer_hashes & 1u << by_strength[i] & allowed) {
				*hash = by_strength[i];
				op->method = AUTHM_DIGITAL_SIGNATURE;
				break;
			}
		if (op->method == AUTHM_RSA)
			return CY_OK;
		break;
	}
	*algid = auth_algid_for(k->type, *scheme, *hash);
	return *algid ? CY_OK : CY_E_UNSUPPORTED;
}

enum cy_err auth_pubkey_sign(struct auth_op *op)
{
	const struct cy_pki_ops *pki = crypto_pki(op->d->crypto);
	struct cy_slice in = secret_slice(&op->octets);
	const struct auth_algid *algid;
	enum cy_sig_scheme scheme = CY_SIG_EDDSA;
	enum cy_hash hash = CY_HASH_IDENTITY;
	size_t head = 0, n;
	uint64_t begun;
	enum cy_err e;

	if (!pki || !op->key)
		return CY_E_UNSUPPORTED;
	e = choose(op, pki->privkey_info(op->key), &scheme, &hash, &algid);
	if (e)
		return e;
	n = pki->privkey_sig_max(op->key);
	op->data.p = malloc(n + 1 + (algid ? algid->der.n : 0));
	if (!op->data.p)
		return CY_E_NOMEM;
	if (algid) { /* RFC 7427, 3: length of the AlgorithmIdentifier, itself, the signature */
		op->data.p[0] = (uint8_t)algid->der.n;
		memcpy(op->data.p + 1, algid->der.p, algid->der.n);
		head = 1 + algid->der.n;
	}
	begun = usage_op_begin(USAGE_SIGN);
	e = pki->sign(op->key, scheme, hash, &in, 1, op->data.p + head, &n);
	usage_op_end(USAGE_SIGN, (uint16_t)scheme, begun);
	if (e)
		snprintf(op->why, sizeof(op->why), "signing with our private key failed: %s", err_text(e));
	op->data.n = head + n;
	return e;
}

/* --- theirs ---------------------------------------------------------------------------------------------------------- */

static enum cy_err scheme_of(struct auth_op *op, const struct cy_key_info *k, enum cy_sig_scheme *scheme,
    enum cy_hash *hash, struct cy_slice *sig)
{
	const struct auth_algid *a;

	*sig = cy_slice(op->data.p, op->data.n);
	if (op->v1_key)
		return v1_scheme(op, k, scheme, hash);
	switch (op->method) {
	case AUTHM_RSA:
		*scheme = CY_SIG_RSA_PKCS1;
		*hash = CY_HASH_SHA1;
		return k->type == CY_KEY_RSA ? CY_OK : CY_E_AUTH;
	case AUTHM_ECDSA_256:
	case AUTHM_ECDSA_384:
	case AUTHM_ECDSA_521:
		*scheme = CY_SIG_ECDSA_RAW;
		*hash = op->method == AUTHM_ECDSA_256 ? CY_HASH_SHA2_256
		    : op->method == AUTHM_ECDSA_384   ? CY_HASH_SHA2_384
		                                      : CY_HASH_SHA2_512;
		return k->type == CY_KEY_ECDSA ? CY_OK : CY_E_AUTH;
	case AUTHM_DIGITAL_SIGNATURE:
		if (op->data.n < 1 || op->data.n < 1u + op->data.p[0])
			return CY_E_PARSE;
		a = auth_algid_find(cy_slice(op->data.p + 1, op->data.p[0]));
		if (!a) {
			snprintf(
			    op->why, sizeof(op->why), "the peer signed with an algorithm we do not know");
			return CY_E_AUTH;
		}
		/* What we announced in SIGNATURE_HASH_ALGORITHMS; SHA-1 is not among it. */
		if (a->hash == CY_HASH_SHA1 || a->key != k->type) {
			snprintf(op->why, sizeof(op->why),
			    "the peer's signature algorithm does not fit its key, or uses SHA-1");
			return CY_E_AUTH;
		}
		*scheme = a->scheme;
		*hash = a->hash;
		*sig = cy_slice(op->data.p + 1 + op->data.p[0], op->data.n - 1 - op->data.p[0]);
		return CY_OK;
	default:
		return CY_E_UNSUPPORTED;
	}
}

static bool key_type_allowed(const struct conn_auth_round *r, enum cy_key_type t)
{
	return r->key_types == 0 || (r->key_types & 1u << t);
}

static enum cy_err check_signature(struct auth_op *op, const struct cy_pki_ops *pki, struct cy_pubkey *key)
{
	struct cy_slice sig, in = secret_slice(&op->octets);
	const struct cy_key_info *info = pki->pubkey_info(key);
	enum cy_sig_scheme scheme = CY_SIG_EDDSA;
	enum cy_hash hash = CY_HASH_IDENTITY;
	char id[IDENT_STR_MAX];
	enum cy_err e;

	if (!key_type_allowed(op->round, info->type)) {
		snprintf(op->why, sizeof(op->why),
		    "the peer's key is of a type that connection %.64s does not allow", op->conn->name);
		return CY_E_AUTH;
	}
	e = scheme_of(op, info, &scheme, &hash, &sig);
	if (!e) {
		uint64_t begun = usage_op_begin(USAGE_VERIFY);

		e = pki->verify(key, scheme, hash, &in, 1, sig);
		usage_op_end(USAGE_VERIFY, (uint16_t)scheme, begun);
	}
	if (e && !op->why[0])
		snprintf(op->why, sizeof(op->why), "the signature of %.200s is wrong",
		    ident_str(&op->remote_id, id));
	return e ? CY_E_AUTH : CY_OK;
}

static enum cy_err verify_chain(
    struct auth_op *op, const struct cy_pki_ops *pki, struct cy_cert **certs, size_t n)
{
	struct cred_trust trust;
	const struct cy_cert_info *leaf = pki->cert_info(certs[0]);
	char id[IDENT_STR_MAX];
	uint64_t begun;
	enum cy_err e;
	const struct ident *ca = op->round->ca.type != ID_ANY ? &op->round->ca : NULL;

	memset(&trust, 0, sizeof(trust));
	if (!cred_cert_has_ident(leaf, &op->remote_id)) {
		snprintf(op->why, sizeof(op->why),
		    "the certificate '%.90s' does not carry the identity %.120s", leaf->subject,
		    ident_str(&op->remote_id, id));
		return CY_E_AUTH;
	}
	begun = usage_op_begin(USAGE_CHAIN);
	e = creds_verify(op->config->creds, certs[0], certs + 1, n - 1, ca, op->now, &trust);
	usage_op_end(USAGE_CHAIN, (uint16_t)n, begun);
	if (e) {
		snprintf(op->why, sizeof(op->why), "the certificate '%.90s' is not trusted: %.140s",
		    leaf->subject, trust.why ? trust.why : "no path to a trusted CA");
		return CY_E_AUTH;
	}
	for (; op->n_path < trust.n; op->n_path++)
		op->path[op->n_path] = pki->cert_ref(trust.path[op->n_path]);
	return CY_OK;
}

static enum cy_err verify_with_certs(struct auth_op *op, const struct cy_pki_ops *pki)
{
	struct cy_cert *certs[AUTH_CERTS_MAX] = {NULL};
	const char *why = NULL;
	size_t n = 0;
	enum cy_err e = CY_OK;

	if (op->leaf) {
		certs[n++] = op->leaf;
		op->leaf = NULL;
	}
	for (size_t i = n; i < op->n_certs && !e; i++) {
		e = pki->cert_load(cy_slice(op->certs[i].p, op->certs[i].n), &certs[n], &why);
		n += !e;
	}
	if (e)
		snprintf(op->why, sizeof(op->why), "a certificate of the peer cannot be read: %s",
		    why ? why : err_text(e));
	else
		e = check_signature(op, pki, pki->cert_pubkey(certs[0]));
	if (!e)
		e = verify_chain(op, pki, certs, n);
	for (size_t i = 0; i < n; i++)
		pki->cert_unref(certs[i]);
	return e;
}

enum cy_err auth_pubkey_verify(struct auth_op *op)
{
	const struct cy_pki_ops *pki = crypto_pki(op->d->crypto);
	const struct conn_auth_round *r = op->round;
	char id[IDENT_STR_MAX];

	if (!pki)
		return CY_E_UNSUPPORTED;
	/* A key or certificate that the connection names is trusted as it is. */
	if (r->pubkey) {
		struct cy_pubkey *key = creds_pubkey_by_text(op->config->creds, r->pubkey);

		if (key)
			return check_signature(op, pki, key);
	}
	for (size_t i = 0; i < r->certs.n; i++) {
		struct cy_cert *cert = creds_cert_by_file(op->config->creds, r->certs.s[i]);

		if (cert && check_signature(op, pki, pki->cert_pubkey(cert)) == CY_OK)
			return CY_OK;
	}
	if (op->n_certs)
		return verify_with_certs(op, pki);
	if (!op->why[0])
		snprintf(op->why, sizeof(op->why),
		    "the peer %.160s sent no certificate and its key is not configured",
		    ident_str(&op->remote_id, id));
	return CY_E_AUTH;
}
