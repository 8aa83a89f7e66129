/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aggressive mode for both roles: RFC 2409, 5.1 and 5.4. Three messages, and identities in clear: with a pre-shared key whoever
 * listens can try passwords on what the responder sends, which is why connections must ask for it.
 */
#include <stdio.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/select.h"
#include "libcore/base/addr.h"

static const struct cy_slice none = {NULL, 0};

/* --- initiator ------------------------------------------------------------------------------------------------------------- */

/* The key exchange is chosen before the responder says anything: all suites have the same. */
static size_t one_group(struct suite *s, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (s[i].ke == s[0].ke)
			s[kept++] = s[i];
	return kept;
}

static void send_first(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = v1_current(sa);
	struct suite suites[V1_SUITES_MAX];
	size_t n = one_group(suites, v1_ike_suites(sa, sa->conn, suites, V1_SUITES_MAX));
	bool ok = !err;

	if (ok) {
		v->ke_key = k->key;
		k->key = NULL;
		memcpy(v->ke_i, k->pub, k->alg->public_len);
		v->n_ke_i = k->alg->public_len;
		v->n_ni = V1_NONCE_LEN;
		sa->shard->d->env->random(sa->shard->d->env, v->ni, v->n_ni);
	}
	ike_ke_free(k);
	ok = ok && v1_prepare_id(sa) && v1_out(sa, x, V1_HASH_NONE) &&
	    v1_add_ike_sa(sa, &sa->step->out, suites, n, v->auth, sa->conn->ike_lifetime_s) &&
	    v1_add_ke_nonce(sa) && v1_add_id(sa) && v1_add_certreq(sa) &&
	    v1_add_vendors(sa, &sa->step->out) && v1_send(sa, x, V1_HASH_NONE, none, none, true) == CY_OK &&
	    v1_remember_sa(sa, x);
	if (!ok) {
		v1_fatal(sa, "the first message of aggressive mode could not be made: %s", err_text(err));
		return;
	}
	v1_step_end(sa);
}

void v1_aggressive_start(struct ike_sa *sa, struct task *t)
{
	struct v1 *v = v1_of(sa) ? v1_of(sa) : v1_new(sa);
	struct v1_exchange *x = v ? v1_exchange_new(sa, EXCHANGE_V1_AGGRESSIVE, 0, true) : NULL;
	struct suite suites[V1_SUITES_MAX];
	char to[ADDR_STR_MAX];
	struct ike_ke *k;

	if (!x) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v->phase1 = x;
	v->aggressive = true;
	x->task = t;
	sa->step->ctx = x;
	sa->state = IKE_CONNECTING;
	v->auth = v1_auth_attr(sa, sa->conn, true);
	if (!v->auth) {
		v1_fatal(sa, "connection %s authenticates in a way that IKEv1 does not have", sa->conn->name);
		return;
	}
	if (!v1_ike_suites(sa, sa->conn, suites, V1_SUITES_MAX)) {
		v1_fatal(sa, "ike= of connection %s has nothing that IKEv1 can do", sa->conn->name);
		return;
	}
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "initiating aggressive mode IKE_SA %s[%llu] to %s", sa->conn->name,
	    (unsigned long long)sa->id, addr_str(&sa->remote, to));
	v->ke = crypto_ke(sa->shard->d->crypto, suites[0].ke);
	k = v->ke ? ike_ke_new(v->ke, NULL, none) : NULL;
	if (!k) {
		v1_fatal(sa, "no plugin provides the key exchange %s", ke_name(suites[0].ke));
		return;
	}
	ike_run(sa, ike_ke_slow(v->ke), ike_ke_run, send_first, ike_ke_free, k);
}

static void send_third(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;
	struct v1_exchange *x = v1_current(sa);
	bool ok = !err;

	if (err)
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
	if (ok) {
		v1_float_ports(sa);
		ok = v1_out(sa, x, V1_HASH_NONE) && v1_add_proof(sa, op) && v1_add_natd(sa, &sa->step->out) &&
		    v1_add_initial_contact(sa) && v1_send(sa, x, V1_HASH_NONE, none, none, false) == CY_OK;
	}
	auth_op_free(op);
	if (ok)
		v1_phase1_done(sa, x);
	else
		v1_fatal(sa, "the last message of aggressive mode could not be made");
}

static void second_verified(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;

	if (err) {
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
		v1_notify(sa, V1N_AUTHENTICATION_FAILED, PROTO_IKE, none, none);
	}
	auth_op_free(op);
	if (err)
		v1_fatal(sa, "%s", sa->why);
	else
		v1_sign(sa, send_third);
}

static void second_secret(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	char why[256] = "out of memory";

	if (!err)
		err = secret_dup(&v1_of(sa)->shared, cy_slice(k->secret, k->n_secret));
	ike_ke_free(k);
	if (err || !v1_phase1_keys(sa, v1_current(sa), why, sizeof(why))) {
		v1_fatal(sa, "the key exchange failed: %s", err ? err_text(err) : why);
		return;
	}
	if (v1_expected_id(sa))
		v1_verify(sa, second_verified);
}

static void second(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	const struct payload *psa = wire_find(sa->step->in.first, PAYLOAD_V1_SA);
	char why[200] = "";
	struct ike_ke *k;

	if (!psa || !sa->step->pkt->h.spi_r || !v1_take_ke_nonce(sa) || !v1_take_id(sa)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "it is no answer to the first message of aggressive mode");
		return;
	}
	sa->spi_r = sa->step->pkt->h.spi_r;
	v1_accept(sa);
	if (!v1_take_suite(sa, psa, why, sizeof(why)) || sa->suite.ke != v->ke->id) {
		v1_fatal(sa, "%s", why[0] ? why : "the peer chose another key exchange than ours");
		return;
	}
	v1_read_vendors(sa, sa->step->in.first);
	v1_check_natd(sa, sa->step->in.first, sa->step->pkt);
	v->got_certreq = wire_find(sa->step->in.first, PAYLOAD_V1_CERTREQ) != NULL;
	k = ike_ke_new(v->ke, v->ke_key, cy_slice(v->ke_r, v->n_ke_r));
	v->ke_key = NULL;
	if (!k) {
		v1_fatal(sa, "out of memory");
		return;
	}
	ike_run(sa, ike_ke_slow(v->ke), ike_ke_run, second_secret, ike_ke_free, k);
}

/* --- responder ------------------------------------------------------------------------------------------------------------- */

/* What the first message chose, until the second is sent. In the step's arena. */
struct choice {
	const struct v1_proposal *p;
	const struct v1_transform *t;
};

static void send_second(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;
	struct v1_exchange *x = v1_current(sa);
	const struct choice *ch = sa->step->handler;
	bool ok = !err;

	if (err)
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
	x->encrypted = false; /* RFC 2409, 5.4: the second message is in clear */
	ok = ok && v1_out(sa, x, V1_HASH_NONE) && v1_add_choice(sa, &sa->step->out, ch->p, ch->t, none) &&
	    v1_add_ke_nonce(sa) && v1_add_id(sa) && v1_add_proof(sa, op) && v1_add_certreq(sa) &&
	    v1_add_vendors(sa, &sa->step->out) && v1_add_natd(sa, &sa->step->out) &&
	    v1_send(sa, x, V1_HASH_NONE, none, none, true) == CY_OK;
	x->encrypted = true;
	auth_op_free(op);
	if (!ok) {
		v1_fatal(sa, "the second message of aggressive mode could not be made");
		return;
	}
	v1_step_end(sa);
}

static void first_secret(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1 *v = v1_of(sa);
	char why[256] = "out of memory";

	if (!err) {
		memcpy(v->ke_r, k->pub, k->alg->public_len);
		v->n_ke_r = k->alg->public_len;
		v->n_nr = V1_NONCE_LEN;
		sa->shard->d->env->random(sa->shard->d->env, v->nr, v->n_nr);
		err = secret_dup(&v->shared, cy_slice(k->secret, k->n_secret));
	}
	ike_ke_free(k);
	if (err || !v1_phase1_keys(sa, v1_current(sa), why, sizeof(why)) || !v1_prepare_id(sa)) {
		v1_fatal(sa, "%s", err ? err_text(err) : why);
		return;
	}
	v1_sign(sa, send_second);
}

void v1_aggressive_request(struct sa_shard *s, struct step *st)
{
	const struct payload *psa = wire_find(st->in.first, PAYLOAD_V1_SA);
	struct choice *ch = arena_alloc(&st->a, sizeof(*ch));
	char why[320] = "";
	struct conn *conn;
	struct ike_sa *sa;
	struct ike_ke *k;
	struct v1 *v;

	if (!psa || psa != st->in.first || !ch) {
		SA_COUNT(s->m, drop_syntax);
		step_free(st);
		return;
	}
	sa = v1_responder_new(s, st, EXCHANGE_V1_AGGRESSIVE, 0);
	if (!sa)
		return;
	v = v1_of(sa);
	v->aggressive = true;
	st->handler = ch;
	v1_heard_first(sa);
	if (!v1_choose_suite(sa, psa, &ch->p, &ch->t, why, sizeof(why))) {
		v1_notify(sa, V1N_NO_PROPOSAL_CHOSEN, PROTO_IKE, none, none);
		v1_fatal(sa, "%s", why);
		return;
	}
	if (!v1_take_ke_nonce(sa) || !v1_take_id(sa) || !v1_remember(&v->sai_b, psa->raw)) {
		v1_fatal(sa, "the peer's first message of aggressive mode lacks KE, nonce or identity");
		return;
	}
	conn = conn_match_ids(v->cands, v->n_cands, &sa->peer_id, NULL, why, sizeof(why));
	if (!conn) {
		v1_notify(sa, V1N_INVALID_ID_INFORMATION, PROTO_IKE, none, none);
		v1_fatal(sa, "%s", why);
		return;
	}
	ike_sa_set_conn(sa, conn);
	v1_read_vendors(sa, st->in.first);
	v->got_certreq = wire_find(st->in.first, PAYLOAD_V1_CERTREQ) != NULL;
	v->ke = crypto_ke(s->d->crypto, sa->suite.ke);
	k = v->ke ? ike_ke_new(v->ke, NULL, cy_slice(v->ke_i, v->n_ke_i)) : NULL;
	if (!k) {
		v1_fatal(sa, "no plugin provides the key exchange %s", ke_name(sa->suite.ke));
		return;
	}
	ike_run(sa, ike_ke_slow(v->ke), ike_ke_run, first_secret, ike_ke_free, k);
}

static void third_verified(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;

	if (err) {
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
		v1_notify(sa, V1N_AUTHENTICATION_FAILED, PROTO_IKE, none, none);
	}
	auth_op_free(op);
	if (err) {
		v1_fatal(sa, "%s", sa->why);
		return;
	}
	sa->got_initial_contact = v1_find_notify(sa->step->in.first, V1N_INITIAL_CONTACT) != NULL;
	if (v1_may_stay(sa))
		v1_phase1_done(sa, v1_current(sa));
}

static void third(struct ike_sa *sa)
{
	/* one in clear may be anybody's: it must not use up the exchange */
	if (!wire_find(sa->step->in.first, PAYLOAD_V1_HASH) &&
	    !wire_find(sa->step->in.first, PAYLOAD_V1_SIG)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "it lacks HASH or signature");
		return;
	}
	v1_accept(sa);
	ike_sa_forgive(sa);
	v1_check_natd(sa, sa->step->in.first, sa->step->pkt);
	v1_verify(sa, third_verified);
}

void v1_aggressive_message(struct ike_sa *sa, struct v1_exchange *x)
{
	if (x->ours && x->at == 1) {
		second(sa);
	} else if (!x->ours && x->at == 2) {
		third(sa);
	} else {
		SA_COUNT(sa->shard->m, drop_unexpected);
		v1_drop(sa, "aggressive mode does not expect it now");
	}
}
