/* SPDX-License-Identifier: Apache-2.0 */
/* Main mode (identity protection) for both roles: RFC 2409, 5.1 and 5.4; NAT discovery: RFC 3947. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/select.h"
#include "libcore/base/addr.h"

static const struct cy_slice none = {NULL, 0};

/* --- pieces -------------------------------------------------------------------------------------------------------------- */

bool v1_add_ke_nonce(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	struct arena *a = &sa->step->a;
	struct payload *ke = message_add(a, &sa->step->out, PAYLOAD_V1_KE),
	               *no = message_add(a, &sa->step->out, PAYLOAD_V1_NONCE);

	if (!ke || !no)
		return false;
	ke->u.ke1 = sa->initiator ? cy_slice(v->ke_i, v->n_ke_i) : cy_slice(v->ke_r, v->n_ke_r);
	no->u.nonce1 = sa->initiator ? cy_slice(v->ni, v->n_ni) : cy_slice(v->nr, v->n_nr);
	return true;
}

bool v1_take_ke_nonce(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	const struct payload *ke = wire_find(sa->step->in.first, PAYLOAD_V1_KE),
	                     *no = wire_find(sa->step->in.first, PAYLOAD_V1_NONCE);
	uint8_t *to = sa->initiator ? v->ke_r : v->ke_i;

	if (!ke || !no || ke->u.ke1.n > CY_MAX_KE_PUBLIC)
		return false;
	memcpy(to, ke->u.ke1.p, ke->u.ke1.n);
	memcpy(sa->initiator ? v->nr : v->ni, no->u.nonce1.p, no->u.nonce1.n);
	if (sa->initiator) {
		v->n_ke_r = ke->u.ke1.n;
		v->n_nr = no->u.nonce1.n;
	} else {
		v->n_ke_i = ke->u.ke1.n;
		v->n_ni = no->u.nonce1.n;
	}
	return true;
}

bool v1_phase1_keys(struct ike_sa *sa, struct v1_exchange *x, char *why, size_t cap)
{
	struct cy_slice psk = none;
	enum cy_err e;

	if (v1_auth_psk(v1_of(sa)->auth) && !v1_pick_psk(sa, &psk, why, cap))
		return false;
	e = v1_derive(sa, psk);
	if (!e)
		e = v1_iv_phase1(sa, x->iv);
	if (e)
		snprintf(why, cap, "the keys could not be derived: %s", err_text(e));
	x->encrypted = !e;
	return !e;
}

bool v1_add_initial_contact(struct ike_sa *sa)
{
	const struct ident *want = &sa->conn->remote.auth[0].id;
	struct writer w;
	struct payload *p;
	uint8_t *spi;

	if (sa->replaces || sa->conn->unique == UNIQUE_NEVER ||
	    (want->type != ID_ANY && unique_known(sa->shard->m, &sa->my_id, want, NULL)))
		return true;
	p = message_add(&sa->step->a, &sa->step->out, PAYLOAD_V1_NOTIFY);
	spi = arena_alloc(&sa->step->a, 16);
	if (!p || !spi)
		return false;
	w = writer_of(spi, 16);
	write_u64(&w, sa->spi_i);
	write_u64(&w, sa->spi_r);
	p->u.notify1 = (struct v1_notify){
	    .doi = V1_DOI_IPSEC, .proto = PROTO_IKE, .spi = cy_slice(spi, 16), .type = V1N_INITIAL_CONTACT};
	return true;
}

/* SAi_b: the first payload of the first message as it went out. */
bool v1_remember_sa(struct ike_sa *sa, const struct v1_exchange *x)
{
	const struct cy_buf *sent = &x->sent.parts[0];
	size_t len = (size_t)sent->p[IKE_HEADER_LEN + 2] << 8 | sent->p[IKE_HEADER_LEN + 3];

	return v1_remember(&v1_of(sa)->sai_b, cy_slice(sent->p + IKE_HEADER_LEN + 4, len - 4));
}

/* --- initiator ------------------------------------------------------------------------------------------------------------- */

void v1_main_start(struct ike_sa *sa, struct task *t)
{
	struct v1 *v = v1_of(sa) ? v1_of(sa) : v1_new(sa);
	struct v1_exchange *x = v ? v1_exchange_new(sa, EXCHANGE_V1_MAIN, 0, true) : NULL;
	struct suite suites[V1_SUITES_MAX];
	char to[ADDR_STR_MAX];
	size_t n;

	if (!x) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v->phase1 = x;
	x->task = t;
	sa->step->ctx = x;
	sa->state = IKE_CONNECTING;
	v->auth = v1_auth_attr(sa, sa->conn, true);
	if (!v->auth) {
		v1_fatal(sa, "connection %s authenticates in a way that IKEv1 does not have", sa->conn->name);
		return;
	}
	n = v1_ike_suites(sa, sa->conn, suites, V1_SUITES_MAX);
	if (!n) {
		v1_fatal(sa, "ike= of connection %s has nothing that IKEv1 can do", sa->conn->name);
		return;
	}
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "initiating main mode IKE_SA %s[%llu] to %s", sa->conn->name,
	    (unsigned long long)sa->id, addr_str(&sa->remote, to));
	if (!v1_out(sa, x, V1_HASH_NONE) ||
	    !v1_add_ike_sa(sa, &sa->step->out, suites, n, v->auth, sa->conn->ike_lifetime_s) ||
	    !v1_add_vendors(sa, &sa->step->out) || v1_send(sa, x, V1_HASH_NONE, none, none, true)) {
		v1_fatal(sa, "the first message of main mode could not be made");
		return;
	}
	if (!v1_remember_sa(sa, x)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v1_step_end(sa);
}

static void send_third(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = v1_current(sa);
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
	if (!ok || !v1_out(sa, x, V1_HASH_NONE) || !v1_add_ke_nonce(sa) || !v1_add_certreq(sa) ||
	    !v1_add_natd(sa, &sa->step->out) || v1_send(sa, x, V1_HASH_NONE, none, none, true)) {
		v1_fatal(sa, "the third message of main mode could not be made: %s", err_text(err));
		return;
	}
	v1_step_end(sa);
}

static void second(struct ike_sa *sa, struct v1_exchange *x)
{
	struct v1 *v = v1_of(sa);
	const struct payload *psa = wire_find(sa->step->in.first, PAYLOAD_V1_SA);
	char why[200] = "";
	struct ike_ke *k;

	if (!psa || !sa->step->pkt->h.spi_r) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "it is no answer to the first message of main mode");
		return;
	}
	sa->spi_r = sa->step->pkt->h.spi_r;
	v1_accept(sa);
	if (!v1_take_suite(sa, psa, why, sizeof(why))) {
		v1_fatal(sa, "%s", why);
		return;
	}
	v1_read_vendors(sa, sa->step->in.first);
	v->ke = crypto_ke(sa->shard->d->crypto, sa->suite.ke);
	k = v->ke ? ike_ke_new(v->ke, NULL, none) : NULL;
	if (!k) {
		v1_fatal(sa, "no plugin provides the key exchange %s", ke_name(sa->suite.ke));
		return;
	}
	(void)x;
	ike_run(sa, ike_ke_slow(v->ke), ike_ke_run, send_third, ike_ke_free, k);
}

static void send_fifth(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;
	struct v1_exchange *x = v1_current(sa);
	bool ok;

	if (err) {
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
		auth_op_free(op);
		v1_fatal(sa, "%s", sa->why);
		return;
	}
	ok = v1_out(sa, x, V1_HASH_NONE) && v1_add_id(sa) && v1_add_proof(sa, op) &&
	    v1_add_initial_contact(sa) && v1_send(sa, x, V1_HASH_NONE, none, none, true) == CY_OK;
	auth_op_free(op);
	if (!ok) {
		v1_fatal(sa, "the fifth message of main mode could not be made");
		return;
	}
	v1_step_end(sa);
}

static void got_secret(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1_exchange *x = v1_current(sa);
	char why[256] = "out of memory";

	if (!err)
		err = secret_dup(&v1_of(sa)->shared, cy_slice(k->secret, k->n_secret));
	ike_ke_free(k);
	if (err) {
		v1_fatal(sa, "the key exchange failed: %s", err_text(err));
		return;
	}
	v1_float_ports(sa);
	if (!v1_phase1_keys(sa, x, why, sizeof(why)) || !v1_prepare_id(sa)) {
		v1_fatal(sa, "%s", why);
		return;
	}
	v1_sign(sa, send_fifth);
}

static void fourth(struct ike_sa *sa, struct v1_exchange *x)
{
	struct v1 *v = v1_of(sa);
	struct ike_ke *k;

	if (!v1_take_ke_nonce(sa)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "it lacks KE or nonce");
		return;
	}
	v1_accept(sa);
	v1_check_natd(sa, sa->step->in.first, sa->step->pkt);
	v->got_certreq = wire_find(sa->step->in.first, PAYLOAD_V1_CERTREQ) != NULL;
	k = ike_ke_new(v->ke, v->ke_key, cy_slice(v->ke_r, v->n_ke_r));
	v->ke_key = NULL;
	if (!k) {
		v1_fatal(sa, "out of memory");
		return;
	}
	(void)x;
	ike_run(sa, ike_ke_slow(v->ke), ike_ke_run, got_secret, ike_ke_free, k);
}

static void sixth_verified(struct ike_sa *sa, void *arg, enum cy_err err)
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
		v1_phase1_done(sa, v1_current(sa));
}

static void sixth(struct ike_sa *sa)
{
	if (!v1_take_id(sa)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "it lacks the peer's identity");
		return;
	}
	v1_accept(sa);
	if (v1_expected_id(sa))
		v1_verify(sa, sixth_verified);
}

/* --- responder ------------------------------------------------------------------------------------------------------------- */

struct ike_sa *v1_responder_new(struct sa_shard *s, struct step *st, uint8_t exchange, uint64_t spi_r)
{
	struct ike_sa *sa = ike_sa_new(s, 1, false);
	struct v1 *v = sa ? v1_new(sa) : NULL;
	char from[ADDR_STR_MAX];

	if (!v || !(v->phase1 = v1_exchange_new(sa, exchange, 0, false))) {
		SA_COUNT(s->m, drop_half_open_limit);
		if (sa)
			ike_sa_destroy(sa, NULL);
		step_free(st);
		return NULL;
	}
	sa->step = st;
	st->ctx = v->phase1;
	sa->local = st->pkt->dst;
	sa->remote = st->pkt->src;
	sa->natt = st->pkt->natt;
	sa->spi_i = st->pkt->h.spi_i;
	sa->spi_r = spi_r ? spi_r : net_spi_new(s->d->net, s->d->env, s->index);
	sa->state = IKE_CONNECTING;
	ike_sa_index(sa);
	ike_sa_half_open(sa, false);
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "%s is initiating %s", addr_str(&sa->remote, from),
	    exchange == EXCHANGE_V1_MAIN ? "main mode" : "aggressive mode");
	return sa;
}

/* What v1_packet() does for those that have an SA already. */
void v1_heard_first(struct ike_sa *sa)
{
	struct v1_exchange *x = v1_current(sa);

	x->heard[0] = siphash24(sa->shard->m->map_key, sa->step->pkt->data, sa->step->pkt->len);
	x->n_heard = 1;
	x->at = 1;
}

/* The IKE_SA of a first message, and what is chosen of it; NULL: it was refused. Owns st. */
static struct ike_sa *first(struct sa_shard *s, struct step *st, uint64_t spi_r, const struct v1_proposal **p,
    const struct v1_transform **t)
{
	const struct payload *psa = wire_find(st->in.first, PAYLOAD_V1_SA);
	char why[320] = "";
	struct ike_sa *sa;

	if (!psa || psa != st->in.first) {
		SA_COUNT(s->m, drop_syntax);
		step_free(st);
		return NULL;
	}
	sa = v1_responder_new(s, st, EXCHANGE_V1_MAIN, spi_r);
	if (!sa)
		return NULL;
	v1_heard_first(sa);
	if (!v1_choose_suite(sa, psa, p, t, why, sizeof(why))) {
		v1_notify(sa, V1N_NO_PROPOSAL_CHOSEN, PROTO_IKE, none, none);
		v1_fatal(sa, "%s", why);
		return NULL;
	}
	v1_read_vendors(sa, st->in.first);
	if (!v1_remember(&v1_of(sa)->sai_b, psa->raw)) {
		v1_fatal(sa, "out of memory");
		return NULL;
	}
	return sa;
}

/* All that are kept have a kB for each IKE_SA that may be half open: less than these have themselves. */
static void keep_first(struct ike_sa *sa)
{
	struct sa_shard *s = sa->shard;

	firsts_keep_take(
	    &s->firsts, sa->step->pkt, sa->spi_r, (size_t)s->d->tune.half_open_limit * 1024 / s->m->n);
	sa->step->pkt = NULL;
	SA_COUNT(s->m, firsts_kept);
	ike_sa_destroy(sa, NULL);
}

void v1_main_request(struct sa_shard *s, struct step *st, bool keep)
{
	const struct v1_transform *t = NULL;
	const struct v1_proposal *p = NULL;
	struct ike_sa *sa = first(s, st, 0, &p, &t);

	if (!sa)
		return;
	if (!v1_out(sa, v1_current(sa), V1_HASH_NONE) || !v1_add_choice(sa, &st->out, p, t, none) ||
	    !v1_add_vendors(sa, &st->out) || v1_send(sa, v1_current(sa), V1_HASH_NONE, none, none, false)) {
		v1_fatal(sa, "the second message of main mode could not be made");
		return;
	}
	if (keep)
		keep_first(sa);
	else
		v1_step_end(sa);
}

struct ike_sa *v1_main_again(struct sa_shard *s, struct step *st, uint64_t spi_r)
{
	const struct v1_transform *t = NULL;
	const struct v1_proposal *p = NULL;
	struct ike_sa *sa = first(s, st, spi_r, &p, &t);

	if (!sa)
		return NULL;
	SA_COUNT(s->m, firsts_gone_on);
	v1_current(sa)->at = 2;
	v1_step_end(sa);
	return sa;
}

static void send_fourth(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1 *v = v1_of(sa);
	struct v1_exchange *x = v1_current(sa);
	char why[256] = "the fourth message of main mode could not be made";
	bool ok;

	if (!err) {
		memcpy(v->ke_r, k->pub, k->alg->public_len);
		v->n_ke_r = k->alg->public_len;
		v->n_nr = V1_NONCE_LEN;
		sa->shard->d->env->random(sa->shard->d->env, v->nr, v->n_nr);
		err = secret_dup(&v->shared, cy_slice(k->secret, k->n_secret));
	}
	ike_ke_free(k);
	if (err) {
		v1_fatal(sa, "the key exchange failed: %s", err_text(err));
		return;
	}
	ok = v1_out(sa, x, V1_HASH_NONE) && v1_add_ke_nonce(sa) && v1_add_certreq(sa) &&
	    v1_add_natd(sa, &sa->step->out) && v1_send(sa, x, V1_HASH_NONE, none, none, false) == CY_OK &&
	    v1_phase1_keys(sa, x, why, sizeof(why));
	if (!ok) {
		v1_fatal(sa, "%s", why);
		return;
	}
	v1_step_end(sa);
}

static void third(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	struct ike_ke *k;

	if (!v1_take_ke_nonce(sa)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "it lacks KE or nonce");
		return;
	}
	v1_accept(sa);
	v1_check_natd(sa, sa->step->in.first, sa->step->pkt);
	v->got_certreq = wire_find(sa->step->in.first, PAYLOAD_V1_CERTREQ) != NULL;
	v->ke = crypto_ke(sa->shard->d->crypto, sa->suite.ke);
	k = v->ke ? ike_ke_new(v->ke, NULL, cy_slice(v->ke_i, v->n_ke_i)) : NULL;
	if (!k) {
		v1_fatal(sa, "no plugin provides the key exchange %s", ke_name(sa->suite.ke));
		return;
	}
	ike_run(sa, ike_ke_slow(v->ke), ike_ke_run, send_fourth, ike_ke_free, k);
}

static void send_sixth(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;
	struct v1_exchange *x = v1_current(sa);
	bool ok = !err;

	if (err)
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
	ok = ok && v1_out(sa, x, V1_HASH_NONE) && v1_add_id(sa) && v1_add_proof(sa, op) &&
	    v1_send(sa, x, V1_HASH_NONE, none, none, false) == CY_OK;
	auth_op_free(op);
	if (ok)
		v1_phase1_done(sa, x);
	else
		v1_fatal(sa, "the last message of main mode could not be made");
}

static void fifth_verified(struct ike_sa *sa, void *arg, enum cy_err err)
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
	if (!v1_prepare_id(sa)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	if (!v1_may_stay(sa))
		return;
	v1_sign(sa, send_sixth);
}

static void fifth(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	struct conn *conn;
	char why[320] = "";

	if (!v1_take_id(sa)) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "it lacks the peer's identity");
		return;
	}
	v1_accept(sa);
	ike_sa_forgive(sa);
	conn = conn_match_ids(v->cands, v->n_cands, &sa->peer_id, NULL, why, sizeof(why));
	if (!conn) {
		v1_notify(sa, V1N_INVALID_ID_INFORMATION, PROTO_IKE, none, none);
		v1_fatal(sa, "%s", why);
		return;
	}
	ike_sa_set_conn(sa, conn);
	v1_verify(sa, fifth_verified);
}

void v1_main_message(struct ike_sa *sa, struct v1_exchange *x)
{
	switch (x->at) {
	case 1:
		if (x->ours) {
			second(sa, x);
			return;
		}
		break;
	case 2:
		if (!x->ours) {
			third(sa);
			return;
		}
		break;
	case 3:
		if (x->ours) {
			fourth(sa, x);
			return;
		}
		break;
	case 4:
		if (!x->ours) {
			fifth(sa);
			return;
		}
		break;
	case 5:
		if (x->ours) {
			sixth(sa);
			return;
		}
		break;
	}
	SA_COUNT(sa->shard->m, drop_unexpected);
	v1_drop(sa, "main mode does not expect it now");
}
