/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IKEv2 (RFC 7296) for both roles, over the exchanges of daemon/sa. One file an exchange. Everything runs on the worker that
 * owns the IKE_SA.
 *
 * A request handler fills sa->step->out and ends with v2_respond(); it may suspend with ike_run()/ike_kernel() in between.
 * A response handler ends with v2_done(). Both may destroy the SA, and then return at once.
 */
#ifndef DAEMON_IKEV2_IKEV2_H
#define DAEMON_IKEV2_IKEV2_H

#include "daemon/auth/auth.h"
#include "daemon/sa/ke.h"
#include "daemon/sa/manager.h"

extern const struct ike_ops ikev2_ops;

#define V2_NONCE_LEN    32
#define V2_NONCE_MAX    256
#define V2_TS_MAX       64
#define V2_CANDS_MAX    64
#define V2_CHILDREN_MAX 1024 /* of one IKE_SA, at the peer's request */

/* What the initial exchanges need until IKE_AUTH is done; sa->init. */
struct v2_init {
	uint8_t ni[V2_NONCE_MAX], nr[V2_NONCE_MAX];
	size_t n_ni, n_nr;
	struct cy_buf msg1, msg2; /* RealMessage1 and 2 (RFC 7296, 2.15) */
	const struct cy_ke_alg *ke;
	void *ke_key;
	uint8_t ke_pub[CY_MAX_KE_PUBLIC];
	uint8_t cookie[64];
	size_t n_cookie;
	uint8_t solution[4 * 8]; /* of the puzzle that came with it (RFC 8019) */
	size_t n_solution;
	uint32_t restarts; /* COOKIE and INVALID_KE_PAYLOAD rounds */
	bool peer_natt, got_certreq;
	struct cy_buf id_body;            /* our ID payload, body */
	struct conn *cands[V2_CANDS_MAX]; /* responder: connections that fit so far, references */
	size_t n_cands;
	bool cands_cut;         /* there are more */
	struct child_sa *child; /* made in IKE_AUTH; owned */
	bool child_failed;
	uint16_t child_notify;
	char child_why[256];
	struct auth_op *auth_out; /* responder: our AUTH, until it is sent */
	bool vip_asked;
	struct cp_attr *cp_reply;
	size_t n_cp_reply;
};
static inline struct v2_init *v2_init(struct ike_sa *sa)
{
	return sa->init;
}
struct v2_init *v2_init_new(struct ike_sa *sa) CY_MUST_USE;
void v2_init_end(struct ike_sa *sa); /* frees it */

/* --- receive.c ------------------------------------------------------------------------------------------------------ */
void v2_packet(struct ike_sa *sa, struct net_packet *p);
void v2_out_header(struct ike_sa *sa, uint8_t exchange, bool response); /* starts step->out */
void v2_respond(struct ike_sa *sa);                                     /* protected; ends the step */
void v2_respond_notify(
    struct ike_sa *sa, uint16_t notify, struct cy_slice data); /* only that; ends the step */
void v2_done(struct ike_sa *sa); /* the response of the task in progress is handled; ends the step */
void v2_fatal(struct ike_sa *sa, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* destroys the SA */

/* --- stray.c, admit.c, cookie.c, puzzle.c --------------------------------------------------------------------------- */
/* What is asked for with a cookie (RFC 8019); bits 0: nothing. */
struct v2_puzzle {
	uint8_t bits;
	uint16_t prf;
};
void v2_stray(struct sa_shard *s, struct net_packet *p);
/* One unprotected answer without state. The notifies are m's; the rest of the header comes from the request. */
void v2_answer_stray(struct sa_shard *s, const struct net_packet *p, uint64_t spi_r, struct message *m);
/* May this first request make an IKE_SA? If not it is counted, and answered where it may be. proven: it had a cookie of ours. */
bool v2_admit(struct sa_shard *s, const struct net_packet *p, const struct payload *first, bool *out_proven);
/* Is the COOKIE of this request one we gave this peer (RFC 7296, 2.6)? With which puzzle? */
bool v2_cookie_valid(struct sa_manager *m, const struct net_packet *p, struct cy_slice ni,
    struct cy_slice cookie, struct v2_puzzle *out_puzzle);
size_t v2_cookie_make(struct sa_manager *m, const struct net_packet *p, struct cy_slice ni,
    struct v2_puzzle puzzle, uint8_t out[64]);
/* The PRF of the offer in which a puzzle can be set; 0 none. */
uint16_t v2_puzzle_prf(const struct crypto *c, const struct payload *sa);
bool v2_puzzle_solved(
    const struct crypto *c, struct v2_puzzle puzzle, struct cy_slice cookie, struct cy_slice solution);
/* The initiator's work on it, for the pool. */
#define V2_PUZZLE_KEY 8
struct v2_puzzle_work {
	const struct crypto *c;
	struct v2_puzzle puzzle;
	uint8_t cookie[64];
	size_t n_cookie;
	uint64_t start; /* where to begin to try */
	uint8_t solution[4 * V2_PUZZLE_KEY];
};
enum cy_err v2_puzzle_solve(void *work);

/* --- crash.c: RFC 6290 ------------------------------------------------------------------------------------------------ */
#define V2_CRASH_TOKEN 32
/* Our token for an IKE_SA of ours with these SPIs, of which we are the initiator or not. */
bool v2_crash_token(
    struct sa_manager *m, uint64_t spi_i, uint64_t spi_r, bool initiator, uint8_t out[V2_CRASH_TOKEN]);
bool v2_crash_add(
    const struct ike_sa *sa, struct arena *a, struct message *m);   /* our token, when they are used */
void v2_crash_take(struct ike_sa *sa, const struct payload *first); /* the peer's */
bool v2_crash_proven(const struct ike_sa *sa, const struct payload *first); /* in clear: the token we have? */
void v2_crash_rekeyed(
    struct ike_sa *sa);               /* made by a rekeying we began: the peer needs our new token (4.3) */
void v2_peer_lost(struct ike_sa *sa); /* as when it does not answer: dpdaction */

/* --- keys.c --------------------------------------------------------------------------------------------------------- */
/* SKEYSEED and the SK_* (RFC 7296, 2.14); old != NULL: a rekey (2.18). secret is g^ir. */
enum cy_err v2_derive(struct ike_sa *sa, const struct ike_sa *old, struct cy_slice secret, struct cy_slice ni,
    struct cy_slice nr) CY_MUST_USE;

/* --- natd.c --------------------------------------------------------------------------------------------------------- */
bool v2_natd_add(struct ike_sa *sa, struct message *m); /* both notifies */
void v2_natd_check(struct ike_sa *sa, const struct payload *first, const struct net_packet *p);

/* --- init.c, auth_i.c, auth_r.c ------------------------------------------------------------------------------------- */
void v2_init_start(struct ike_sa *sa, struct task *t);
void v2_init_response(struct ike_sa *sa);
/* An IKE_SA_INIT response that changes nothing, and must not end the IKE_SA: ignore it. */
bool v2_init_useless(struct ike_sa *sa, char *why, size_t cap);
void v2_init_request(struct sa_shard *s, struct step *st, const struct payload *first, bool proven);
bool v2_ike_proposals(
    struct ike_sa *sa, const struct conn *c, struct arena *a, struct proposal **out, size_t *out_n);
void v2_auth_start(struct ike_sa *sa, struct task *t);
void v2_auth_response(struct ike_sa *sa);
void v2_auth_request(struct ike_sa *sa);
bool v2_add_certs(struct ike_sa *sa, struct message *m, const struct auth_op *op);
bool v2_add_certreq(struct ike_sa *sa, struct message *m);
void v2_take_certs(struct ike_sa *sa, const struct payload *first, struct auth_op *op);
bool v2_add_hashes(struct ike_sa *sa, struct message *m);
void v2_read_hashes(struct ike_sa *sa, const struct payload *first);
struct cy_slice v2_id_body(struct arena *a, const struct ident *id);

/* --- config.c: the Configuration payload ---------------------------------------------------------------------------- */
bool v2_cp_request(struct ike_sa *sa, struct message *m);
/* Responder: leases and attributes to give. *out_notify: INTERNAL_ADDRESS_FAILURE etc. */
bool v2_cp_answer(struct ike_sa *sa, const struct payload *cp, uint16_t *out_notify);
bool v2_cp_reply(struct ike_sa *sa, struct message *m);
bool v2_cp_take(struct ike_sa *sa, const struct payload *cp); /* initiator: addresses given to us */
/* Virtual addresses of the peer (responder). */
size_t v2_peer_vips(const struct ike_sa *sa, struct cy_addr *out, size_t cap);

/* --- child.c: what IKE_AUTH and CREATE_CHILD_SA share ---------------------------------------------------------------- */
struct v2_child_offer {
	struct proposal *props;
	size_t n_props;
	struct cy_ts tsi[V2_TS_MAX], tsr[V2_TS_MAX];
	size_t n_tsi, n_tsr;
	bool transport;
};
bool v2_child_proposals(struct ike_sa *sa, const struct child_sa *c, bool with_ke, struct arena *a,
    struct proposal **out, size_t *out_n);
/* Adds USE_TRANSPORT_MODE, SA, TSi, TSr; the offer is kept for the check of the answer. */
bool v2_child_offer(struct ike_sa *sa, struct message *m, struct child_sa *c, const struct task *t,
    bool with_ke, struct v2_child_offer *out);
/* Initiator: does the answer fit the offer? Fills the CHILD_SA's suite, SPI and selectors. */
bool v2_child_accept(struct ike_sa *sa, const struct payload *first, struct child_sa *c,
    const struct v2_child_offer *o, char *why, size_t cap);
/* Responder: choose connection, suite and selectors. NULL: *out_notify and why say what is wrong. rekeyed: must fit that one. */
struct child_sa *v2_child_choose(struct ike_sa *sa, const struct payload *first, struct child_sa *rekeyed,
    bool with_ke, uint16_t ke_sent, uint16_t *out_notify, char *why, size_t cap);
/* Responder, not when rekeying: does SA_RESOURCE_INFO (RFC 9611) make it one of a group? False: answer TS_MAX_QUEUE. */
bool v2_child_resource(
    struct ike_sa *sa, const struct payload *first, struct child_sa *c, char *why, size_t cap);
/* Adds USE_TRANSPORT_MODE, SA, TSi, TSr of the chosen CHILD_SA. */
bool v2_child_answer(struct ike_sa *sa, struct message *m, const struct child_sa *c, uint8_t proposal_number);

/* --- create_child.c, rekey_ike.c, collide.c, info.c ------------------------------------------------------------------- */
void v2_create_start(struct ike_sa *sa, struct task *t); /* CHILD_CREATE, CHILD_REKEY */
void v2_create_response(struct ike_sa *sa);
void v2_create_request(struct ike_sa *sa); /* dispatches: new child, rekey child, rekey IKE_SA */
int v2_nonce_cmp(struct cy_slice a, struct cy_slice b);
struct cy_slice v2_nonce_min(struct cy_slice a, struct cy_slice b);
void v2_rekey_start(struct ike_sa *sa, struct task *t);
void v2_rekey_response(struct ike_sa *sa);
void v2_rekey_request(struct ike_sa *sa);
/*
 * 2.8.2: the IKE_SA that the peer made while we were rekeying is the successor after all; its handle, 0 when there is none. It may have
 * tasks now: call v2_resume() when done with this one.
 */
slab_handle v2_rekey_yield(struct ike_sa *sa);
/* The IKE_SA is lost, why says how: the peer's takes over if there is one, and is asked whether it lives. False: there is none, or we close. */
bool v2_rekey_save(struct ike_sa *sa);
void v2_resume(struct sa_shard *s, slab_handle h);
void v2_info_start(struct ike_sa *sa, struct task *t); /* deletes, liveness */
void v2_info_response(struct ike_sa *sa);
void v2_info_request(struct ike_sa *sa);
void v2_after_init_child(
    struct ike_sa *sa); /* reauthentication: close the old IKE_SA when the new one is complete */

#endif
