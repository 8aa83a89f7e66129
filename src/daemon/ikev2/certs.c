/* SPDX-License-Identifier: Apache-2.0 */
/* CERT and CERTREQ payloads: RFC 7296, 3.6 and 3.7; raw public keys: RFC 7670. */
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "daemon/policy/select.h"

static bool add_cert(struct ike_sa *sa, struct message *m, uint8_t encoding, struct cy_slice data)
{
	struct payload *p = message_add(&sa->step->a, m, PAYLOAD_CERT);

	if (!p)
		return false;
	p->u.cert.encoding = encoding;
	p->u.cert.data = data;
	return true;
}

bool v2_add_certs(struct ike_sa *sa, struct message *m, const struct auth_op *op)
{
	const struct cy_pki_ops *pki = crypto_pki(sa->shard->d->crypto);
	enum conn_sendcert when = op->conn->local.sendcert;
	struct cy_cert *chain[AUTH_CERTS_MAX];
	size_t n;

	if (!op->cert || !pki || when == SENDCERT_NEVER ||
	    (when == SENDCERT_IFASKED && !v2_init(sa)->got_certreq))
		return true;
	if (!add_cert(sa, m, CERT_X509_SIGNATURE, pki->cert_info(op->cert)->der))
		return false;
	n = creds_own_chain(op->config->creds, op->cert, chain, AUTH_CERTS_MAX);
	for (size_t i = 0; i < n; i++)
		if (chain[i] != op->cert &&
		    !add_cert(sa, m, CERT_X509_SIGNATURE, pki->cert_info(chain[i])->der))
			return false;
	return true;
}

static bool by_signature(const struct conn *c)
{
	return c && c->remote.n_auth && c->remote.auth[0].method == AUTH_PUBKEY;
}

/* Which connection a responder has with the peer shows later, by its identity: one of them may need its certificate. */
static bool may_sign(struct ike_sa *sa)
{
	struct conn *cands[V2_CANDS_MAX];
	size_t n;

	if (sa->initiator)
		return by_signature(sa->conn);
	n = conn_candidates(sa->config->index, &sa->local, &sa->remote, CONN_IKEV2, cands, V2_CANDS_MAX);
	for (size_t i = 0; i < n; i++)
		if (by_signature(cands[i]))
			return true;
	return false;
}

bool v2_add_certreq(struct ike_sa *sa, struct message *m)
{
	struct cy_slice hashes = creds_ca_hashes(sa->config->creds);
	struct payload *p;

	if (!hashes.n || !may_sign(sa))
		return true;
	p = message_add(&sa->step->a, m, PAYLOAD_CERTREQ);
	if (!p)
		return false;
	p->u.cert.encoding = CERT_X509_SIGNATURE;
	p->u.cert.data = hashes;
	return true;
}

void v2_take_certs(struct ike_sa *sa, const struct payload *first, struct auth_op *op)
{
	(void)sa;
	for (const struct payload *p = wire_find(first, PAYLOAD_CERT); p;
	     p = wire_find_after(p, PAYLOAD_CERT)) {
		struct cy_buf *to;

		if (p->u.cert.encoding != CERT_X509_SIGNATURE || op->n_certs == AUTH_CERTS_MAX ||
		    p->u.cert.data.n == 0)
			continue;
		to = &op->certs[op->n_certs];
		to->p = malloc(p->u.cert.data.n);
		if (!to->p)
			return;
		memcpy(to->p, p->u.cert.data.p, p->u.cert.data.n);
		to->n = p->u.cert.data.n;
		op->n_certs++;
	}
}

/* The body of an ID payload: type, three reserved bytes, data (3.5). */
struct cy_slice v2_id_body(struct arena *a, const struct ident *id)
{
	uint8_t *p = arena_alloc(a, 4u + id->n);

	if (!p)
		return cy_slice(NULL, 0);
	p[0] = (uint8_t)id->type;
	if (id->n)
		memcpy(p + 4, id->p, id->n);
	return cy_slice(p, 4u + id->n);
}
