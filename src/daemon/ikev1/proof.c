/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How each end of phase 1 proves who it is: HASH with a pre-shared key, or a signature of it (RFC 2409, 5.1, 5.4); the client of
 * hybrid authentication only that it has the keys (draft-zegman-ike-hybrid-auth). Certificates: RFC 2408, 3.9 and 3.10.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"

#define CERTREQS_MAX 8

/* Is the way of authentication one with a pre-shared key? */
bool v1_auth_psk(uint16_t auth)
{
	return auth == V1_AUTH_PSK || auth == V1_AUTH_XAUTH_INIT_PSK || auth == V1_AUTH_XAUTH_RESP_PSK;
}

/* Both ends sign in the same way, so our key decides: ECDSA has a method for each curve (RFC 4754, 6). */
uint16_t v1_signature_attr(struct ike_sa *sa, struct conn *c)
{
	const struct cy_pki_ops *pki = crypto_pki(sa->shard->d->crypto);
	struct auth_op *op = auth_op_new(sa->shard->d, sa->config, c, true);
	bool ecdsa = c->local.auth[0].key_types == 1u << CY_KEY_ECDSA;
	uint32_t bits = 256;

	if (op && pki && auth_pick_own(op) == CY_OK && op->key) {
		const struct cy_key_info *k = pki->privkey_info(op->key);

		ecdsa = k->type == CY_KEY_ECDSA;
		bits = k->bits;
	}
	auth_op_free(op);
	if (!ecdsa)
		return V1_AUTH_RSA;
	return bits > 384 ? V1_AUTH_ECDSA_521 : bits > 256 ? V1_AUTH_ECDSA_384 : V1_AUTH_ECDSA_256;
}

/* Does this end sign? */
static bool signs(const struct v1 *v, bool initiator)
{
	if (v->auth == V1_AUTH_HYBRID_INIT_RSA)
		return !initiator;
	if (v->auth == V1_AUTH_HYBRID_RESP_RSA)
		return initiator;
	return !v1_auth_psk(v->auth);
}

static enum cy_key_type key_type(const struct v1 *v)
{
	return v->auth >= V1_AUTH_ECDSA_256 && v->auth <= V1_AUTH_ECDSA_521 ? CY_KEY_ECDSA : CY_KEY_RSA;
}

static uint16_t key_bits(const struct v1 *v)
{
	return v->auth == V1_AUTH_ECDSA_256 ? 256
	    : v->auth == V1_AUTH_ECDSA_384  ? 384
	    : v->auth == V1_AUTH_ECDSA_521  ? 521
	                                    : 0;
}

/* --- ours ---------------------------------------------------------------------------------------------------------------- */

/* sa->my_id, and the body of its payload. */
bool v1_prepare_id(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	struct auth_op *op = auth_op_new(sa->shard->d, sa->config, sa->conn, true);
	bool ok = op != NULL;

	if (ok) {
		op->local = sa->local;
		op->remote = sa->remote;
		ok = auth_pick_own(op) == CY_OK;
		if (!ok)
			ike_sa_fail(sa, "%s", op->why[0] ? op->why : "out of memory");
	}
	if (ok) {
		ident_fini(&sa->my_id);
		ok = ident_dup(&sa->my_id, &op->local_id) == CY_OK &&
		    v1_remember(
		        sa->initiator ? &v->idii_b : &v->idir_b, v1_id_body(&sa->step->a, &sa->my_id));
	}
	auth_op_free(op);
	return ok;
}

bool v1_add_id(struct ike_sa *sa)
{
	struct payload *id = message_add(&sa->step->a, &sa->step->out, PAYLOAD_V1_ID);

	if (id)
		id->u.id1 = (struct v1_id){
		    .type = (uint8_t)sa->my_id.type, .data = cy_slice(sa->my_id.p, sa->my_id.n)};
	return id != NULL;
}

/* Makes our HASH or signature, perhaps on the pool; cont gets a struct auth_op with it as data, or why not. */
void v1_sign(struct ike_sa *sa, ike_cont cont)
{
	struct v1 *v = v1_of(sa);
	struct auth_op *op = auth_op_new(sa->shard->d, sa->config, sa->conn, true);
	uint8_t h[CY_MAX_MAC_LEN];
	size_t n;

	if (!op || v1_auth_hash(sa, sa->initiator, h, &n)) {
		auth_op_free(op);
		v1_fatal(sa, "out of memory");
		return;
	}
	op->local = sa->local;
	op->remote = sa->remote;
	op->v1_key = key_type(v);
	op->v1_bits = key_bits(v);
	if (!signs(v, sa->initiator)) {
		op->data.p = malloc(n);
		if (op->data.p)
			memcpy(op->data.p, h, n);
		op->data.n = n;
		cont(sa, op, op->data.p ? CY_OK : CY_E_NOMEM);
		return;
	}
	if (auth_pick_own(op) || secret_dup(&op->octets, cy_slice(h, n))) {
		cont(sa, op, CY_E_AUTH);
		return;
	}
	ike_run(sa, auth_sign_is_slow(op), (enum cy_err(*)(void *))auth_pubkey_sign, cont,
	    (void (*)(void *))auth_op_free, op);
}

static bool add_cert(struct ike_sa *sa, uint8_t type, struct cy_slice data)
{
	struct payload *p = message_add(&sa->step->a, &sa->step->out, type);

	if (p)
		p->u.cert1 = (struct v1_cert){.encoding = CERT_X509_SIGNATURE, .data = data};
	return p != NULL;
}

static bool add_certs(struct ike_sa *sa, const struct auth_op *op)
{
	const struct cy_pki_ops *pki = crypto_pki(sa->shard->d->crypto);
	enum conn_sendcert when = sa->conn->local.sendcert;
	struct cy_cert *chain[AUTH_CERTS_MAX];
	size_t n;

	if (!op->cert || !pki || when == SENDCERT_NEVER ||
	    (when == SENDCERT_IFASKED && !v1_of(sa)->got_certreq))
		return true;
	if (!add_cert(sa, PAYLOAD_V1_CERT, pki->cert_info(op->cert)->der))
		return false;
	n = creds_own_chain(op->config->creds, op->cert, chain, AUTH_CERTS_MAX);
	for (size_t i = 0; i < n; i++)
		if (chain[i] != op->cert && !add_cert(sa, PAYLOAD_V1_CERT, pki->cert_info(chain[i])->der))
			return false;
	return true;
}

/* What v1_sign() made; the op must live until the message is sent. */
bool v1_add_proof(struct ike_sa *sa, const struct auth_op *op)
{
	bool sig = signs(v1_of(sa), sa->initiator);
	struct payload *p;

	if (sig && !add_certs(sa, op))
		return false;
	p = message_add(&sa->step->a, &sa->step->out, sig ? PAYLOAD_V1_SIG : PAYLOAD_V1_HASH);
	if (!p)
		return false;
	if (sig)
		p->u.sig1 = cy_slice(op->data.p, op->data.n);
	else
		p->u.hash1 = cy_slice(op->data.p, op->data.n);
	return true;
}

struct asking {
	struct ike_sa *sa;
	size_t n;
	bool ok;
};

static void ask_one(void *user, struct cy_cert *cert, bool ca, bool has_key)
{
	struct asking *a = user;

	(void)has_key;
	if (!ca || a->n == CERTREQS_MAX || !a->ok)
		return;
	a->n++;
	a->ok = add_cert(
	    a->sa, PAYLOAD_V1_CERTREQ, crypto_pki(a->sa->shard->d->crypto)->cert_info(cert)->subject_der);
}

/* RFC 2408, 3.10: the names of authorities that we trust */
bool v1_add_certreq(struct ike_sa *sa)
{
	struct asking a = {sa, 0, true};

	if (signs(v1_of(sa), !sa->initiator) && crypto_pki(sa->shard->d->crypto))
		creds_list(sa->config->creds, ask_one, &a);
	return a.ok;
}

/* --- theirs -------------------------------------------------------------------------------------------------------------- */

/* The ID payload of the message: sa->peer_id, and its body. */
bool v1_take_id(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	const struct payload *id = wire_find(sa->step->in.first, PAYLOAD_V1_ID);

	if (!id)
		return false;
	ident_fini(&sa->peer_id);
	return ident_set(&sa->peer_id, id->u.id1.type, id->u.id1.data) == CY_OK &&
	    v1_remember(sa->initiator ? &v->idir_b : &v->idii_b, id->raw);
}

static bool take_certs(struct ike_sa *sa, struct auth_op *op)
{
	for (const struct payload *p = wire_find(sa->step->in.first, PAYLOAD_V1_CERT); p;
	     p = wire_find_after(p, PAYLOAD_V1_CERT)) {
		struct cy_buf *to = &op->certs[op->n_certs];

		if (p->u.cert1.encoding != CERT_X509_SIGNATURE || op->n_certs == AUTH_CERTS_MAX ||
		    !p->u.cert1.data.n)
			continue;
		to->p = malloc(p->u.cert1.data.n);
		if (!to->p)
			return false;
		memcpy(to->p, p->u.cert1.data.p, p->u.cert1.data.n);
		to->n = p->u.cert1.data.n;
		op->n_certs++;
	}
	return true;
}

/* Is the HASH or signature of the message right? cont gets a struct auth_op whose why says what is wrong. */
void v1_verify(struct ike_sa *sa, ike_cont cont)
{
	struct v1 *v = v1_of(sa);
	struct auth_op *op = auth_op_new(sa->shard->d, sa->config, sa->conn, false);
	bool sig = signs(v, !sa->initiator);
	const struct payload *p = wire_find(sa->step->in.first, sig ? PAYLOAD_V1_SIG : PAYLOAD_V1_HASH);
	uint8_t want[CY_MAX_MAC_LEN];
	size_t n;

	if (!op || v1_auth_hash(sa, !sa->initiator, want, &n) || ident_dup(&op->remote_id, &sa->peer_id)) {
		auth_op_free(op);
		v1_fatal(sa, "out of memory");
		return;
	}
	op->v1_key = key_type(v);
	op->v1_bits = key_bits(v);
	if (!p) {
		snprintf(
		    op->why, sizeof(op->why), "the peer's message lacks its %s", sig ? "signature" : "HASH");
		cont(sa, op, CY_E_AUTH);
		return;
	}
	if (!sig) {
		bool ok = p->u.hash1.n == n && mem_eq_ct(want, p->u.hash1.p, n);

		if (!ok)
			snprintf(op->why, sizeof(op->why),
			    v1_auth_psk(v->auth) ? "the pre-shared key of the peer differs from ours"
			                         : "the HASH of the peer is wrong");
		cont(sa, op, ok ? CY_OK : CY_E_AUTH);
		return;
	}
	op->data.p = malloc(p->u.sig1.n);
	op->data.n = p->u.sig1.n;
	if (!op->data.p || secret_dup(&op->octets, cy_slice(want, n)) || !take_certs(sa, op)) {
		auth_op_free(op);
		v1_fatal(sa, "out of memory");
		return;
	}
	memcpy(op->data.p, p->u.sig1.p, p->u.sig1.n);
	ike_verify(sa, (enum cy_err(*)(void *))auth_pubkey_verify, cont, op);
}
