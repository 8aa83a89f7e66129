/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/auth/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/wire/message.h"
#include "libcore/base/addr.h"

#define QUICK_CERT 2048 /* bytes: enough for what has such a key */

struct auth_op *auth_op_new(struct daemon *d, struct config *config, struct conn *conn, bool sign)
{
	struct auth_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->d = d;
	op->config = config_ref(config);
	op->conn = conn_ref(conn);
	op->round = sign ? &conn->local.auth[0] : &conn->remote.auth[0];
	op->now = d->env->wall(d->env);
	return op;
}

void auth_op_free(struct auth_op *op)
{
	if (!op)
		return;
	secret_fini(&op->octets);
	ident_fini(&op->local_id);
	ident_fini(&op->remote_id);
	free(op->data.p);
	free(op->raw_key.p);
	if (op->leaf)
		crypto_pki(op->d->crypto)->cert_unref(op->leaf);
	for (size_t i = 0; i < op->n_path; i++)
		crypto_pki(op->d->crypto)->cert_unref(op->path[i]);
	for (size_t i = 0; i < op->n_certs; i++)
		free(op->certs[i].p);
	conn_unref(op->conn);
	config_unref(op->config);
	free(op);
}

enum cy_err auth_set_octets(struct auth_op *op, uint16_t prf, struct cy_slice real_message,
    struct cy_slice nonce, struct cy_slice sk_p, struct cy_slice id_body)
{
	struct prf_info info;
	enum cy_err e;

	if (!crypto_prf(op->d->crypto, prf, &info))
		return CY_E_UNSUPPORTED;
	op->prf = prf;
	secret_fini(&op->octets);
	e = secret_init(&op->octets, real_message.n + nonce.n + info.out_len);
	if (e)
		return e;
	memcpy(op->octets.p, real_message.p, real_message.n);
	memcpy(op->octets.p + real_message.n, nonce.p, nonce.n);
	return prf_compute(op->d->crypto, prf, sk_p, &id_body, 1, op->octets.p + real_message.n + nonce.n);
}

/* --- pre-shared keys ------------------------------------------------------------------------------------------------ */

/* AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>) */
static enum cy_err psk_compute(struct auth_op *op, struct cy_slice psk, uint8_t *out, size_t *out_len)
{
	struct cy_slice pad = cy_slice_str("Key Pad for IKEv2"), octets = secret_slice(&op->octets);
	uint8_t key[CY_MAX_MAC_LEN];
	struct prf_info info;
	enum cy_err e;

	if (!crypto_prf(op->d->crypto, op->prf, &info))
		return CY_E_UNSUPPORTED;
	e = prf_compute(op->d->crypto, op->prf, psk, &pad, 1, key);
	if (!e)
		e = prf_compute(op->d->crypto, op->prf, cy_slice(key, info.out_len), &octets, 1, out);
	mem_wipe(key, sizeof(key));
	*out_len = info.out_len;
	return e;
}

static enum cy_err psk_find(struct auth_op *op, struct cy_slice *out)
{
	char a[IDENT_STR_MAX], b[IDENT_STR_MAX];

	if (creds_find_psk(op->config->creds, &op->local_id, &op->remote_id, &op->local, &op->remote, out))
		return CY_OK;
	snprintf(op->why, sizeof(op->why), "no pre-shared key for %.90s and %.90s in ipsec.secrets",
	    ident_str(&op->local_id, a), ident_str(&op->remote_id, b));
	return CY_E_AUTH;
}

static enum cy_err psk_sign(struct auth_op *op)
{
	struct cy_slice psk;
	enum cy_err e = psk_find(op, &psk);

	if (e)
		return e;
	op->data.p = malloc(CY_MAX_MAC_LEN);
	if (!op->data.p)
		return CY_E_NOMEM;
	op->method = AUTHM_PSK;
	return psk_compute(op, psk, op->data.p, &op->data.n);
}

static enum cy_err psk_verify(struct auth_op *op)
{
	uint8_t want[CY_MAX_MAC_LEN];
	struct cy_slice psk;
	size_t n;
	char id[IDENT_STR_MAX];
	enum cy_err e = psk_find(op, &psk);

	if (!e)
		e = psk_compute(op, psk, want, &n);
	if (e)
		return e;
	if (op->data.n != n || !mem_eq_ct(want, op->data.p, n)) {
		snprintf(op->why, sizeof(op->why), "the pre-shared key of %.200s differs from ours",
		    ident_str(&op->remote_id, id));
		e = CY_E_AUTH;
	}
	mem_wipe(want, sizeof(want));
	return e;
}

/* --- both ------------------------------------------------------------------------------------------------------------ */

static bool is_quick(const struct cy_key_info *k)
{
	return k->type != CY_KEY_RSA && k->bits <= 256;
}

bool auth_sign_is_slow(const struct auth_op *op)
{
	return op->key && !is_quick(crypto_pki(op->d->crypto)->privkey_info(op->key));
}

bool auth_verify_is_slow(struct auth_op *op)
{
	const struct conn_auth_round *r = op->round;
	const struct cy_pki_ops *pki = crypto_pki(op->d->crypto);

	if (!op->v1_key && r->method != AUTH_PUBKEY)
		return false;
	if (!pki || op->n_certs != 1 || op->certs[0].n > QUICK_CERT || r->pubkey || r->certs.n)
		return true;
	/* what is wrong with it will be found again */
	if (!op->leaf && pki->cert_load(cy_slice(op->certs[0].p, op->certs[0].n), &op->leaf, NULL))
		return true;
	return !is_quick(&pki->cert_info(op->leaf)->key);
}

enum cy_err auth_sign(void *arg)
{
	struct auth_op *op = arg;

	switch (op->round->method) {
	case AUTH_PSK:
		return psk_sign(op);
	case AUTH_PUBKEY:
		return auth_pubkey_sign(op);
	default:
		snprintf(op->why, sizeof(op->why), "this authentication method is not built yet");
		return CY_E_UNSUPPORTED;
	}
}

enum cy_err auth_verify(void *arg)
{
	struct auth_op *op = arg;
	bool psk = op->method == AUTHM_PSK;

	if (psk != (op->round->method == AUTH_PSK)) {
		snprintf(op->why, sizeof(op->why),
		    "the peer authenticates with %s, connection %.64s wants %s",
		    name_or_number(auth_method_names, op->method), op->conn->name,
		    psk ? "a public key" : "a pre-shared key");
		return CY_E_AUTH;
	}
	return psk ? psk_verify(op) : auth_pubkey_verify(op);
}
