/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IKEv1 (RFC 2407, 2408, 2409) for both roles. One file an exchange. Everything runs on the worker that owns the IKE_SA.
 *
 * What differs from IKEv2: exchanges have numbers of their own and no window, so that several go on at once, each with its IV
 * chain, its last message to be sent again, and the messages heard. A task is handed to its exchange (sa->running) as soon as its
 * first message is out. The IKE_SA is only the way to make CHILD_SAs: those outlive it, and move to the next one.
 *
 * A handler of a message builds sa->step->out and ends with v1_send() and step_end(), or one of v1_done(), v1_fail(), v1_fatal();
 * it may suspend with ike_run()/ike_kernel() in between. It may destroy the SA, and then returns at once.
 */
#ifndef DAEMON_IKEV1_IKEV1_H
#define DAEMON_IKEV1_IKEV1_H

#include "daemon/auth/auth.h"
#include "daemon/sa/ke.h"
#include "daemon/sa/manager.h"

extern const struct ike_ops ikev1_ops;

#define V1_NONCE_LEN  32
#define V1_NONCE_MAX  256
#define V1_CANDS_MAX  64
#define V1_SUITES_MAX 24 /* transforms in one offer */
#define V1_HEARD      4  /* messages remembered of an exchange: it has three from each side at most */
#define V1_MSGIDS     1024
#define V1_EXCHANGES  64 /* that a peer may have open at once */
#define V1_BLOCK_MAX  16
#define V1_TS_MAX     64
#define V1_DOI_IPSEC  1

/* IANA "IPSEC Authentication Methods (Value 3)"; draft-zegman-ike-hybrid-auth, draft-ietf-ipsec-isakmp-xauth-06, 7.2 */
enum v1_auth {
	V1_AUTH_PSK = 1,
	V1_AUTH_RSA = 3,
	V1_AUTH_ECDSA_256 = 9,
	V1_AUTH_ECDSA_384 = 10,
	V1_AUTH_ECDSA_521 = 11,
	V1_AUTH_HYBRID_INIT_RSA = 64221,
	V1_AUTH_HYBRID_RESP_RSA = 64222,
	V1_AUTH_XAUTH_INIT_PSK = 65001,
	V1_AUTH_XAUTH_RESP_PSK = 65002,
	V1_AUTH_XAUTH_INIT_RSA = 65005,
	V1_AUTH_XAUTH_RESP_RSA = 65006,
};
extern const struct name v1_auth_names[];

/* Which way of NAT traversal both ends know (RFC 3947, 3.1 and its drafts), best last. */
enum v1_natt { V1_NATT_NONE, V1_NATT_DRAFT_02, V1_NATT_DRAFT_03, V1_NATT_RFC };

/* How the HASH payload of a phase 2 message is made (RFC 2409, 5.5, 5.7). */
enum v1_hash { V1_HASH_NONE, V1_HASH_1, V1_HASH_2, V1_HASH_3 };

/* What a transaction of ours is for. */
enum v1_transaction { V1_TX_XAUTH_ASK = 1, V1_TX_XAUTH_STATUS, V1_TX_CONFIG_PULL, V1_TX_CONFIG_PUSH };

#define V1_SPLIT_MAX 16

struct v1_exchange {
	struct list node;
	struct ike_sa *sa;
	uint8_t type; /* enum exchange */
	uint32_t msgid;
	bool ours;      /* we began it */
	bool encrypted; /* from now on */
	bool finished;  /* only there to answer what the peer repeats */
	bool answered;  /* what was heard last has its answer in `sent` */
	bool commit;    /* quick mode: the responder says when it is ready (RFC 2408, 3.1) */
	uint8_t at;     /* messages gone over the wire */
	enum v1_transaction transaction;
	uint8_t iv[V1_BLOCK_MAX];
	struct sent sent;
	uint64_t heard[V1_HEARD];
	uint8_t n_heard;
	uint32_t tries, tries_max;
	struct timer timer;         /* to send again; or, finished, to be forgotten */
	struct task *task;          /* on sa->running, or sa->task while it is handled */
	void *state;                /* of the exchange's handler */
	void (*state_free)(void *); /* also when the IKE_SA goes */
};

/* Everything of an IKE_SA that only IKEv1 has; sa->init. */
struct v1 {
	struct ike_sa *sa;
	struct list exchanges;
	uint32_t n_exchanges;
	struct v1_exchange *phase1;
	bool keyed;         /* SKEYID and what follows from it are there */
	bool authenticated; /* phase 1 is complete */
	bool aggressive;
	uint16_t auth; /* enum v1_auth */
	uint8_t ni[V1_NONCE_MAX], nr[V1_NONCE_MAX];
	size_t n_ni, n_nr;
	struct cy_buf sai_b, idii_b, idir_b; /* bodies of payloads (RFC 2409, 3.2) */
	const struct cy_ke_alg *ke;
	void *ke_key;
	uint8_t ke_i[CY_MAX_KE_PUBLIC], ke_r[CY_MAX_KE_PUBLIC]; /* g^xi, g^xr */
	size_t n_ke_i, n_ke_r;
	struct secret shared; /* g^xy, until the IKE_SA is authenticated */
	struct secret skeyid, skeyid_d, skeyid_a, skeyid_e, encr_key;
	uint8_t iv[V1_BLOCK_MAX]; /* the last of phase 1, from which those of phase 2 begin */
	size_t block;
	uint32_t lifetime_s;              /* what was agreed */
	struct conn *cands[V1_CANDS_MAX]; /* responder: connections that fit so far, references */
	size_t n_cands;
	enum v1_natt natt;
	bool peer_natt, peer_dpd, peer_xauth, peer_unity, peer_fragments, got_certreq;
	bool reauthenticated; /* its CHILD_SAs are those of the one before it */
	bool replaced;        /* by another one, which has its CHILD_SAs */
	bool xauth_done, challenged;
	bool ready;           /* for quick mode: logged in, and with the address that Mode Config gives */
	uint8_t xauth_rounds; /* client: answered so far */
	struct cy_ts split[V1_SPLIT_MAX]; /* Unity: the networks behind the server */
	size_t n_split;
	bool unity_pfs;           /* Unity: quick mode has to have a key exchange of its own */
	struct net_packet *early; /* initiator: a transaction that overtook the last message of phase 1 */
	bool hinted;              /* the peer said, in clear, what it does not like */
	uint32_t dpd_out, dpd_in;
	bool dpd_in_seen, dpd_waiting;
	uint64_t dpd_asked_ns;    /* the first question that is not answered */
	struct v1_pieces *pieces; /* of a message that comes in fragments */
	uint16_t fragment_id;
	uint32_t *msgids; /* of exchanges that the peer began; grows to V1_MSGIDS, then the oldest go */
	size_t n_msgids, msgids_cap, msgid_at;
};
static inline struct v1 *v1_of(const struct ike_sa *sa)
{
	return sa->init;
}
struct v1 *v1_new(struct ike_sa *sa) CY_MUST_USE;

/* --- exchange.c --- */
/* A new one, on the list. msgid 0: phase 1. NULL without memory. */
struct v1_exchange *v1_exchange_new(struct ike_sa *sa, uint8_t type, uint32_t msgid, bool ours) CY_MUST_USE;
void v1_exchange_free(struct v1_exchange *x);
struct v1_exchange *v1_exchange_find(struct ike_sa *sa, uint8_t type, uint32_t msgid);
void v1_exchange_finish(struct v1_exchange *x); /* nothing more to do but to answer repetitions */
uint32_t v1_msgid_new(struct ike_sa *sa);
bool v1_msgid_used(struct ike_sa *sa, uint32_t msgid); /* by the peer, before; false: it is noted now */
/* The exchange that the message or task of sa->step belongs to. */
struct v1_exchange *v1_current(const struct ike_sa *sa);
/* Starts sa->step->out for the exchange; with hash its first payload is a HASH to be filled in. False without memory. */
bool v1_out(struct ike_sa *sa, struct v1_exchange *x, enum v1_hash hash);
/* Encode, hash, encrypt, send; wait: an answer is expected, send again until it comes. */
enum cy_err v1_send(struct ike_sa *sa, struct v1_exchange *x, enum v1_hash hash, struct cy_slice ni,
    struct cy_slice nr, bool wait) CY_MUST_USE;
void v1_resend(struct v1_exchange *x);
void v1_exchange_timer(struct timer *t);
/* Is the HASH of the message in sa->step right? */
bool v1_hash_ok(struct ike_sa *sa, const struct v1_exchange *x, enum v1_hash hash, struct cy_slice ni,
    struct cy_slice nr);
/* The task of an exchange becomes the one that is worked on (sa->task), and back. */
void v1_task_take(struct v1_exchange *x);
void v1_task_park(struct ike_sa *sa, struct v1_exchange *x);
void v1_step_end(struct ike_sa *sa); /* parks the task of the current exchange */

/* --- fragment.c --- */
struct net_packet *v1_fragment(struct ike_sa *sa, struct net_packet *p) CY_MUST_USE;
bool v1_split_message(struct ike_sa *sa, struct v1_exchange *x, struct cy_slice message);
void v1_pieces_drop(struct v1 *v);
void v1_pieces_late(struct timer *t);

/* --- receive.c --- */
void v1_packet(struct ike_sa *sa, struct net_packet *p);
void v1_drop(struct ike_sa *sa, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* the message being handled: counted, nothing changes */
void v1_fatal(struct ike_sa *sa, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* destroys the SA */
/* The message that is handled counts: the exchange moves on with its IV. Before any answer is built. */
void v1_accept(struct ike_sa *sa);
/*
 * An initiator to whom nobody answers: from the beginning, with another cookie, if keyingtries= allows. True: what was v1_of(sa) is gone.
 */
bool v1_try_again(struct ike_sa *sa);
void v1_task_timeout(struct ike_sa *sa, struct v1_exchange *x);
void v1_task_start(struct ike_sa *sa, struct task *t);

/* --- stray.c --- */
void v1_stray(struct sa_shard *s, struct net_packet *p);

/* --- keys.c --- */
uint16_t v1_hash_of(uint16_t prf);
/* SKEYID by what the method wants (RFC 2409, 5): psk empty for signatures; SKEYID_d, _a, _e and the key. */
enum cy_err v1_derive(struct ike_sa *sa, struct cy_slice psk) CY_MUST_USE;
/* HASH_I or HASH_R (5); out has prf length, *out_n. */
enum cy_err v1_auth_hash(struct ike_sa *sa, bool of_initiator, uint8_t *out, size_t *out_n) CY_MUST_USE;
/* IV of the first encrypted message of phase 1, and of phase 2 (Appendix B). */
enum cy_err v1_iv_phase1(struct ike_sa *sa, uint8_t iv[V1_BLOCK_MAX]) CY_MUST_USE;
enum cy_err v1_iv_phase2(struct ike_sa *sa, uint32_t msgid, uint8_t iv[V1_BLOCK_MAX]) CY_MUST_USE;
enum cy_err v1_prf_hash(struct ike_sa *sa, const struct v1_exchange *x, enum v1_hash hash, struct cy_slice ni,
    struct cy_slice nr, struct cy_slice rest, uint8_t *out) CY_MUST_USE;
/* Keys of both directions (5.5): shared is that of PFS or empty. */
enum cy_err v1_child_derive(struct child_sa *c, struct ike_sa *sa, struct cy_slice shared, struct cy_slice ni,
    struct cy_slice nr) CY_MUST_USE;
enum cy_err v1_keymat(const struct crypto *c, uint16_t prf, struct cy_slice skeyid_d, struct cy_slice shared,
    uint8_t proto, uint32_t spi, struct cy_slice ni, struct cy_slice nr, uint8_t *out, size_t n) CY_MUST_USE;

/* --- proposal.c: what IKEv1 says with attributes, as suites and back --- */
/* Our suites for a connection, best first. */
size_t v1_ike_suites(struct ike_sa *sa, const struct conn *c, struct suite *out, size_t cap);
size_t v1_esp_suites(struct ike_sa *sa, const struct conn *c, struct arena *a, struct suite *out, size_t cap);
/* Adds an SA payload with one transform a suite. */
bool v1_add_ike_sa(struct ike_sa *sa, struct message *m, const struct suite *s, size_t n, uint16_t auth,
    uint32_t lifetime_s);
bool v1_add_esp_sa(
    struct ike_sa *sa, struct message *m, const struct child_sa *c, const struct suite *s, size_t n);
/* What a transform says. False: it has something we do not know, and cannot be chosen. */
struct v1_offer {
	struct suite suite;
	uint16_t auth;
	uint8_t encap; /* attribute Encapsulation Mode, 0 none */
	uint32_t lifetime_s;
	uint64_t life_bytes;
};
bool v1_read_ike(const struct v1_transform *t, struct v1_offer *out);
bool v1_read_esp(const struct v1_transform *t, struct v1_offer *out);
/* Adds the SA payload that accepts one transform of theirs, word for word; spi: ours, n 0 for none. */
bool v1_add_choice(struct ike_sa *sa, struct message *m, const struct v1_proposal *p,
    const struct v1_transform *t, struct cy_slice spi);
const char *v1_suite_str(const struct suite *s, char *out, size_t cap);
/* Their offers as text, for the words of a refusal. */
const char *v1_offers_str(const struct v1_sa *sa, bool esp, char *out, size_t cap);

/* --- vendor.c --- */
bool v1_add_vendors(struct ike_sa *sa, struct message *m);
void v1_read_vendors(struct ike_sa *sa, const struct payload *first);
bool v1_add_natd(struct ike_sa *sa, struct message *m);
void v1_check_natd(struct ike_sa *sa, const struct payload *first, const struct net_packet *p);
void v1_float_ports(struct ike_sa *sa); /* initiator: to the NAT-T port, when there is a NAT */

/* --- phase1.c, proof.c --- */
/* spi_r 0: a new one. */
struct ike_sa *v1_responder_new(struct sa_shard *s, struct step *st, uint8_t exchange, uint64_t spi_r);
bool v1_choose_suite(struct ike_sa *sa, const struct payload *psa, const struct v1_proposal **out_p,
    const struct v1_transform **out_t, char *why, size_t cap);
bool v1_take_suite(struct ike_sa *sa, const struct payload *psa, char *why, size_t cap);
bool v1_pick_psk(struct ike_sa *sa, struct cy_slice *out, char *why, size_t cap);
/* Main mode: another connection that the peer may have meant, whose key is another one; NULL none. */
const struct conn *v1_other_psk(struct ike_sa *sa);
uint16_t v1_auth_attr(struct ike_sa *sa, struct conn *c, bool initiator);
uint16_t v1_signature_attr(struct ike_sa *sa, struct conn *c); /* with signatures on both sides: by our key */
struct cy_slice v1_id_body(struct arena *a, const struct ident *id);
bool v1_remember(struct cy_buf *to, struct cy_slice from);
bool v1_expected_id(struct ike_sa *sa);
bool v1_may_stay(struct ike_sa *sa);
/* Phase 1 is complete: established, CHILD_SAs taken over, what the task wants comes next. Ends the step. */
void v1_phase1_done(struct ike_sa *sa, struct v1_exchange *x);
bool v1_auth_psk(uint16_t auth);
bool v1_prepare_id(struct ike_sa *sa);
bool v1_add_id(struct ike_sa *sa);
bool v1_take_id(struct ike_sa *sa);
bool v1_add_certreq(struct ike_sa *sa);
void v1_sign(struct ike_sa *sa, ike_cont cont);
bool v1_add_proof(struct ike_sa *sa, const struct auth_op *op);
void v1_verify(struct ike_sa *sa, ike_cont cont);

/* --- main.c, aggressive.c --- */
void v1_main_start(struct ike_sa *sa, struct task *t);
void v1_main_message(struct ike_sa *sa, struct v1_exchange *x);
/* The first message of main mode. keep: answered, it is all that stays of it (firsts.h). Owns st. */
void v1_main_request(struct sa_shard *s, struct step *st, bool keep);
/* It was answered with spi_r before, and the peer goes on: its IKE_SA, or NULL. Owns st. */
struct ike_sa *v1_main_again(struct sa_shard *s, struct step *st, uint64_t spi_r);
void v1_aggressive_start(struct ike_sa *sa, struct task *t);
void v1_aggressive_message(struct ike_sa *sa, struct v1_exchange *x);
void v1_aggressive_request(struct sa_shard *s, struct step *st);
bool v1_add_ke_nonce(struct ike_sa *sa);
bool v1_take_ke_nonce(struct ike_sa *sa);
bool v1_phase1_keys(struct ike_sa *sa, struct v1_exchange *x, char *why, size_t cap);
bool v1_add_initial_contact(struct ike_sa *sa);
bool v1_remember_sa(struct ike_sa *sa, const struct v1_exchange *x);
void v1_heard_first(struct ike_sa *sa);

/* After XAUTH, if there is any: IKE_UP, then Mode Config, then what the task wants. Each ends the step. */
void v1_established(struct ike_sa *sa);
void v1_ready(struct ike_sa *sa);

/* --- transaction.c, xauth.c, modecfg.c --- */
struct v1_exchange *v1_transaction_new(struct ike_sa *sa, enum v1_transaction kind);
bool v1_transaction_send(struct ike_sa *sa, struct v1_exchange *x, uint8_t type, uint16_t id,
    const struct v1_attr *attrs, size_t n, bool wait);
void v1_transaction_message(struct ike_sa *sa, struct v1_exchange *x);
void v1_transaction_timeout(struct ike_sa *sa, struct v1_exchange *x);
const struct v1_attr *v1_attr_find(const struct v1_config *c, uint16_t type);
void v1_take_over(struct ike_sa *sa, struct ike_sa *old); /* CHILD_SAs, addresses of either end */
bool v1_logs_in(const struct ike_sa *sa);                 /* we are the client, whoever began */
void v1_xauth_start(struct ike_sa *sa);                   /* server */
void v1_xauth_reply(struct ike_sa *sa, const struct v1_config *c);
void v1_xauth_acked(struct ike_sa *sa);
void v1_xauth_asked(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c); /* client */
void v1_xauth_status(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c);
bool v1_config_wanted(const struct ike_sa *sa);
void v1_config_pull(struct ike_sa *sa);
void v1_config_taken(struct ike_sa *sa, const struct v1_config *c);
void v1_config_pushed(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c);
void v1_config_asked(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c); /* server */
bool v1_config_push(struct ike_sa *sa);

/* --- quick.c --- */
void v1_quick_start(struct ike_sa *sa, struct task *t);
void v1_quick_message(struct ike_sa *sa, struct v1_exchange *x);
void v1_quick_timeout(struct ike_sa *sa, struct v1_exchange *x);
void v1_quick_refused(struct ike_sa *sa, struct v1_exchange *x, const char *why); /* the peer said so */

/* The peer is ready to receive (RFC 2408, 3.1, the commit bit): the quick mode of ours that waited for it goes on. */
void v1_quick_connected(struct ike_sa *sa, uint32_t msgid);
bool v1_quick_closed(struct ike_sa *sa, uint32_t spi_out); /* it was not, and closes it */
void v1_quick_no_wait(struct ike_sa *sa);                  /* none waits any longer */

/* --- selectors.c --- */
bool v1_add_ts(struct ike_sa *sa, const struct cy_ts *ts);
bool v1_ts_of_id(const struct payload *p, struct cy_ts *out); /* false: a name, or a mask with holes */
bool v1_can_transport(const struct ike_sa *sa, const struct conn *conn);
/* Those of one end of a connection; out has room for V1_TS_MAX. */
size_t v1_local_ts(const struct ike_sa *sa, const struct conn *c, bool transport, struct cy_ts *out);
size_t v1_remote_ts(const struct ike_sa *sa, const struct conn *c, bool transport, struct cy_ts *out);
/* What the peer said, narrowed to what was chosen: hosts keep the addresses that it knows. */
struct cy_ts v1_with_addrs(const struct cy_ts *said, const struct cy_ts *chosen);
/* said_r: what the peer calls its end, which r is unless it is a host behind a NAT (natoa.c). */
bool v1_narrow(struct ike_sa *sa, const struct conn *c, const struct cy_ts *l, const struct cy_ts *r,
    const struct cy_ts *said_r, struct cy_ts *out_l, struct cy_ts *out_r);

/* --- natoa.c --- */
bool v1_add_natoa(struct ike_sa *sa, struct message *m, const struct child_sa *c);
/* Transport mode, and two hosts that the peer names: they become what we see, when there is a NAT. True: they did. */
bool v1_natoa_hosts(struct ike_sa *sa, const struct payload *first, struct cy_ts *l, struct cy_ts *r);

/* --- info.c --- */
void v1_info_start(struct ike_sa *sa, struct task *t);
void v1_info_message(struct ike_sa *sa, struct v1_exchange *x);
void v1_info_clear(struct ike_sa *sa); /* nobody has authenticated it: a hint at best */
void v1_hint(struct ike_sa *sa, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool v1_add_notify(
    struct ike_sa *sa, uint16_t type, uint8_t proto, struct cy_slice spi, struct cy_slice data);
/* One notify, protected when there are keys. */
void v1_notify(struct ike_sa *sa, uint16_t type, uint8_t proto, struct cy_slice spi, struct cy_slice data);
const char *v1_error_notify(const struct payload *first, uint16_t *out_type);
struct payload *v1_find_notify(const struct payload *first, uint16_t type);

#endif
