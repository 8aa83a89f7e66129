/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proving who one is: the AUTH payload (RFC 7296, 2.15; RFC 7427; RFC 4754; RFC 8420). An auth_op owns copies of everything it
 * needs, so that signing and verifying may run on the pool; auth_sign() and auth_verify() touch nothing else.
 */
#ifndef DAEMON_AUTH_AUTH_H
#define DAEMON_AUTH_AUTH_H

#include "daemon/core/daemon.h"
#include "libcore/conf/conn.h"
#include "libcore/cred/cred.h"

#define AUTH_CERTS_MAX 12

struct auth_op {
	struct daemon *d;
	struct config *config;               /* a reference */
	struct conn *conn;                   /* a reference */
	const struct conn_auth_round *round; /* inside conn: local when signing, remote when verifying */
	uint16_t prf;
	struct secret octets; /* what is signed: RealMessage | Nonce | prf(SK_p, ID) */
	uint32_t peer_hashes; /* signing: bit per enum cy_hash the peer takes; 0: no RFC 7427 */
	struct ident local_id, remote_id;
	struct cy_addr local, remote;
	int64_t now;

	struct cy_privkey *key; /* signing with a public key */
	struct cy_cert *cert;   /* our certificate, or NULL */
	/* in when verifying, out when signing; data is owned */
	uint8_t method;
	struct cy_buf data;
	/* verifying: certificates the peer sent, leaf first; DER copies */
	struct cy_buf certs[AUTH_CERTS_MAX];
	size_t n_certs;
	struct cy_cert *leaf; /* the first, where it has been read already */
	uint8_t
	    v1_key; /* enum cy_key_type: octets are the HASH of IKEv1, signed with such a key as RFC 2409 5.1 wants; 0 no */
	uint16_t v1_bits;      /* and of this size; 0 any */
	struct cy_buf raw_key; /* SubjectPublicKeyInfo the peer sent (RFC 7670), empty none */
	/* verified, and not by a key that the connection names: from the peer's certificate to the CA; references */
	struct cy_cert *path[AUTH_CERTS_MAX];
	size_t n_path;
	char why[384]; /* of a failure: one sentence */
};

struct auth_op *auth_op_new(
    struct daemon *d, struct config *config, struct conn *conn, bool sign) CY_MUST_USE;
void auth_op_free(struct auth_op *op);
/* RFC 7296, 2.15. id_body: the ID payload after its generic header. */
enum cy_err auth_set_octets(struct auth_op *op, uint16_t prf, struct cy_slice real_message,
    struct cy_slice nonce, struct cy_slice sk_p, struct cy_slice id_body) CY_MUST_USE;
/*
 * Our identity, certificate and key for this connection: leftcert, else a certificate that carries leftid, else a bare key. Sets
 * cert, key and local_id. Worker; only look-ups.
 */
enum cy_err auth_pick_own(struct auth_op *op) CY_MUST_USE;
/*
 * Worth the pool? With a key of P-256 or Ed25519 a signature takes less than to go there and back, and its check as long as an X25519 exchange:
 * worth it is what takes longer, or may as the peer pleases.
 */
bool auth_sign_is_slow(const struct auth_op *op);
bool auth_verify_is_slow(struct auth_op *op);
enum cy_err auth_sign(void *op);   /* fills method and data */
enum cy_err auth_verify(void *op); /* CY_OK: remote_id is proven; CY_E_AUTH with why otherwise */

enum cy_err auth_pubkey_sign(struct auth_op *op); /* pubkey.c */
enum cy_err auth_pubkey_verify(struct auth_op *op);

/* RFC 7427 AlgorithmIdentifiers (algid.c). */
struct auth_algid {
	enum cy_key_type key;
	enum cy_sig_scheme scheme;
	enum cy_hash hash;
	struct cy_slice der;
};
const struct auth_algid *auth_algid_find(struct cy_slice der);
const struct auth_algid *auth_algid_for(enum cy_key_type key, enum cy_sig_scheme scheme, enum cy_hash hash);

#endif
