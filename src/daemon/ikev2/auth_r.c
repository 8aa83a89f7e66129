/* SPDX-License-Identifier: Apache-2.0 */
/* IKE_AUTH as responder: RFC 7296, 1.2, 2.15, 2.19, 2.21.2. Verify, sign, address, CHILD_SA, kernel; then one answer. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "daemon/policy/select.h"
#include "daemon/sa/authorize.h"
#include "libcore/base/addr.h"

#define SUITS_MAX 16 /* connections whose ike= is looked at once the peer has a name */

/* Refuse: one AUTHENTICATION_FAILED whatever the cause, so that a stranger learns nothing; our log has the reason. */
static void refuse(struct ike_sa *sa, const char *why)
{
	struct step *st = sa->step;

	ike_sa_fail(sa, "%s", why);
	v2_out_header(sa, EXCHANGE_IKE_AUTH, true);
	if (message_notify(
	        &st->a, &st->out, 0, N_AUTHENTICATION_FAILED, cy_slice(NULL, 0), cy_slice(NULL, 0)))
		(void)!exchange_respond(sa, true);
	v2_fatal(sa, "%s", sa->why);
}

/* --- the answer -------------------------------------------------------------------------------------------------------------------- */

static bool add_child_part(struct ike_sa *sa, struct message *m)
{
	struct v2_init *in = v2_init(sa);
	struct arena *a = &sa->step->a;
	struct child_sa *c = in->child;

	if (!c)
		return message_notify(a, m, 0, in->child_notify, cy_slice(NULL, 0), cy_slice(NULL, 0));
	return v2_cp_reply(sa, m) && v2_child_answer(sa, m, c, (uint8_t)(uintptr_t)sa->step->ctx) &&
	    message_ts(a, m, PAYLOAD_TSI, c->ts_remote, c->n_ts_remote) &&
	    message_ts(a, m, PAYLOAD_TSR, c->ts_local, c->n_ts_local);
}

/* Everything is decided; the AUTH data waits in in->auth_out. */
static void answer(struct ike_sa *sa)
{
	struct v2_init *in = v2_init(sa);
	struct step *st = sa->step;
	struct auth_op *op = in->auth_out;
	struct child_sa *c = in->child;
	struct payload *p;
	bool ok;

	v2_out_header(sa, EXCHANGE_IKE_AUTH, true);
	ok = message_id(&st->a, &st->out, PAYLOAD_IDR, (uint8_t)sa->my_id.type,
	         cy_slice(sa->my_id.p, sa->my_id.n)) &&
	    v2_add_certs(sa, &st->out, op);
	p = ok ? message_add(&st->a, &st->out, PAYLOAD_AUTH) : NULL;
	if (p) {
		p->u.auth.method = op->method;
		p->u.auth.data = cy_slice(op->data.p, op->data.n);
	}
	ok = p && add_child_part(sa, &st->out) && v2_crash_add(sa, &st->a, &st->out) &&
	    exchange_respond(sa, true) == CY_OK;
	if (!ok) {
		v2_fatal(sa, "the IKE_AUTH response could not be made");
		return;
	}
	sa->next_recv++;
	ike_sa_established(sa);
	in->child = NULL;
	if (c) {
		child_adopt(sa, c);
		child_up(c);
	} else {
		ike_note(sa, LOG_CHD, CY_LOG_WARN, "no CHILD_SA: %s", in->child_why);
	}
	v2_init_end(sa);
	step_end(sa);
}

static void installed(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v2_init *in = v2_init(sa);

	knl_req_free(arg);
	if (err) {
		snprintf(
		    in->child_why, sizeof(in->child_why), "the data plane refused it: %s", err_text(err));
		in->child_notify = N_NO_PROPOSAL_CHOSEN;
		child_free(in->child);
		in->child = NULL;
	} else {
		child_mark(in->child, CHILD_PART_ALL);
	}
	answer(sa);
}

static void child_part(struct ike_sa *sa)
{
	struct v2_init *in = v2_init(sa);
	const struct payload *first = sa->step->in.first;
	struct knl_req *r;

	if (!v2_cp_answer(sa, wire_find(first, PAYLOAD_CP), &in->child_notify)) {
		snprintf(in->child_why, sizeof(in->child_why), "%s",
		    in->child_notify == N_FAILED_CP_REQUIRED
		        ? "the peer must ask for a virtual address and did not"
		        : "no virtual address is free in the connection's pools");
		answer(sa);
		return;
	}
	in->child = v2_child_choose(
	    sa, first, NULL, false, 0, &in->child_notify, in->child_why, sizeof(in->child_why));
	if (!in->child) {
		answer(sa);
		return;
	}
	(void)v2_child_resource(
	    sa, first, in->child, in->child_why, sizeof(in->child_why)); /* the first is no more */
	if (child_derive(in->child, sa, cy_slice(NULL, 0), cy_slice(in->ni, in->n_ni),
	        cy_slice(in->nr, in->n_nr), false) ||
	    (r = child_install_req(in->child, CHILD_PART_ALL)) == NULL) {
		v2_fatal(sa, "out of memory");
		return;
	}
	ike_kernel(sa, r, installed);
}

/* --- ourselves -------------------------------------------------------------------------------------------------------------------- */

static void signed_by_us(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;

	v2_init(sa)->auth_out = op;
	if (err)
		refuse(sa, op->why[0] ? op->why : err_text(err));
	else
		child_part(sa);
}

static void sign(struct ike_sa *sa)
{
	struct v2_init *in = v2_init(sa);
	struct auth_op *op = auth_op_new(sa->shard->d, sa->config, sa->conn, true);
	struct cy_slice body;

	if (!op) {
		v2_fatal(sa, "out of memory");
		return;
	}
	op->local = sa->local;
	op->remote = sa->remote;
	op->peer_hashes = sa->peer_hashes;
	if (auth_pick_own(op) || ident_dup(&op->remote_id, &sa->peer_id) ||
	    ident_dup(&sa->my_id, &op->local_id)) {
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : "out of memory");
		auth_op_free(op);
		refuse(sa, sa->why);
		return;
	}
	body = v2_id_body(&sa->step->a, &sa->my_id);
	if (!body.n ||
	    auth_set_octets(op, sa->suite.prf, cy_slice(in->msg2.p, in->msg2.n), cy_slice(in->ni, in->n_ni),
	        ike_key(sa, SK_PR), body)) {
		auth_op_free(op);
		v2_fatal(sa, "out of memory");
		return;
	}
	ike_run(sa, auth_sign_is_slow(op), auth_sign, signed_by_us, (void (*)(void *))auth_op_free, op);
}

/* --- who may say no --------------------------------------------------------------------------------------------------------------- */

static void authorized(struct ike_sa *sa, bool yes, const char *why)
{
	if (yes)
		sign(sa);
	else
		refuse(sa, why);
}

/* --- the peer ---------------------------------------------------------------------------------------------------------------------- */

static void verified(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;

	if (err) {
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
		auth_op_free(op);
		refuse(sa, sa->why);
		return;
	}
	ident_fini(&sa->my_id);
	auth_op_free(op);
	v2_crash_take(sa, sa->step->in.first);
	sa->got_initial_contact = wire_find_notify(sa->step->in.first, N_INITIAL_CONTACT) != NULL;
	/* from where it is connected it is the same peer that reauthenticates (RFC 7296, 2.8.3): not a second one */
	if (sa->conn->unique == UNIQUE_KEEP && !sa->got_initial_contact &&
	    unique_known(sa->shard->m, &sa->conn->local.auth[0].id, &sa->peer_id, &sa->remote)) {
		refuse(sa, "the same identity is connected already (uniqueids=keep)");
		return;
	}
	ike_authorize(sa, authorized);
}

/* Does the suite that IKE_SA_INIT agreed on suit this connection as well? */
static bool suits(struct ike_sa *sa, const struct conn *c)
{
	struct proposal *props, chosen;
	struct suite suite;
	size_t n;

	if (!v2_ike_proposals(sa, c, &sa->step->a, &props, &n))
		return false;
	proposal_from_suite(&sa->suite, PROTO_IKE, &chosen);
	return proposal_accepts(props, n, &chosen, false, &suite);
}

/*
 * More connections fit the addresses than IKE_SA_INIT has kept, as of a gateway that has one for each user: look at all, now that
 * the peer has a name.
 */
static struct conn *choose_among_all(
    struct ike_sa *sa, enum conn_auth want, const struct ident *idr, char *why, size_t cap)
{
	size_t all = sa->config->conf->n_conns, n, kept = 0;
	struct conn **c = reallocarray(NULL, all, sizeof(struct conn *)), *best = NULL;

	if (!c) {
		snprintf(why, cap, "out of memory");
		return NULL;
	}
	n = conn_candidates(sa->config->index, &sa->local, &sa->remote, CONN_IKEV2, c, all);
	for (size_t i = 0; i < n; i++)
		if (c[i]->remote.n_auth && c[i]->remote.auth[0].method == want)
			c[kept++] = c[i];
	/* rarely another than the first: one gateway's connections have one ike= */
	for (int tries = 0; kept && tries < SUITS_MAX; tries++) {
		best = conn_match_ids(c, kept, &sa->peer_id, idr, why, cap);
		if (!best || suits(sa, best))
			break;
		snprintf(
		    why, cap, "connection %.64s does not allow the IKE suite that was chosen", best->name);
		for (size_t i = 0; i < kept; i++)
			if (c[i] == best)
				c[i] = c[--kept];
		best = NULL;
	}
	free(c);
	return best;
}

/* Of the connections that fit the addresses: those whose way of authentication is the peer's, then the best by identity. */
static struct conn *choose_conn(
    struct ike_sa *sa, uint8_t method, const struct ident *idr, char *why, size_t cap)
{
	struct v2_init *in = v2_init(sa);
	struct conn *fit[V2_CANDS_MAX];
	enum conn_auth want = method == AUTHM_PSK ? AUTH_PSK : AUTH_PUBKEY;
	char id[IDENT_STR_MAX];
	size_t n = 0;

	for (size_t i = 0; i < in->n_cands; i++)
		if (in->cands[i]->remote.n_auth && in->cands[i]->remote.auth[0].method == want)
			fit[n++] = in->cands[i];
	if (in->n_cands == V2_CANDS_MAX || in->cands_cut)
		return choose_among_all(sa, want, idr, why, cap);
	if (!n) {
		snprintf(why, cap,
		    "%.120s authenticates with %s and no connection for its address allows that",
		    ident_str(&sa->peer_id, id), name_or_number(auth_method_names, method));
		return NULL;
	}
	return conn_match_ids(fit, n, &sa->peer_id, idr, why, cap);
}

void v2_auth_request(struct ike_sa *sa)
{
	struct v2_init *in = v2_init(sa);
	const struct payload *first = sa->step->in.first, *id = wire_find(first, PAYLOAD_IDI),
	                     *auth = wire_find(first, PAYLOAD_AUTH), *idr = wire_find(first, PAYLOAD_IDR);
	struct ident want_r = {0, 0, NULL};
	char why[320] = "";
	struct auth_op *op;
	struct conn *conn;

	if (!auth || !id) {
		refuse(sa, "the peer wants EAP, which is not built yet");
		return;
	}
	if (wire_find(first, PAYLOAD_CERTREQ))
		in->got_certreq = true;
	if (ident_set(&sa->peer_id, id->u.id.type, id->u.id.data) ||
	    (idr && ident_set(&want_r, idr->u.id.type, idr->u.id.data))) {
		v2_fatal(sa, "out of memory");
		return;
	}
	conn = choose_conn(sa, auth->u.auth.method, idr ? &want_r : NULL, why, sizeof(why));
	ident_fini(&want_r);
	if (!conn) {
		refuse(sa, why);
		return;
	}
	ike_sa_set_conn(sa, conn);
	op = auth_op_new(sa->shard->d, sa->config, conn, false);
	if (!op ||
	    (conn->local.auth[0].id.type == ID_ANY ? ident_from_addr(&op->local_id, &sa->local)
	                                           : ident_dup(&op->local_id, &conn->local.auth[0].id)) ||
	    ident_dup(&op->remote_id, &sa->peer_id) ||
	    auth_set_octets(op, sa->suite.prf, cy_slice(in->msg1.p, in->msg1.n), cy_slice(in->nr, in->n_nr),
	        ike_key(sa, SK_PI), id->raw) ||
	    (op->data.p = malloc(auth->u.auth.data.n + 1)) == NULL) {
		auth_op_free(op);
		v2_fatal(sa, "out of memory");
		return;
	}
	op->local = sa->local;
	op->remote = sa->remote;
	op->method = auth->u.auth.method;
	op->data.n = auth->u.auth.data.n;
	memcpy(op->data.p, auth->u.auth.data.p, op->data.n);
	v2_take_certs(sa, first, op);
	ike_verify(sa, auth_verify, verified, op);
}
