/* SPDX-License-Identifier: Apache-2.0 */
/* IKE_AUTH as initiator: RFC 7296, 1.2, 2.15, 2.19, 2.21.2. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "libcore/base/addr.h"

/* What IKE_AUTH keeps between request and response; task->state. */
struct auth_wait {
	struct v2_child_offer offer;
	struct proposal *props; /* heap copy of offer.props */
};

static void wait_free(void *arg)
{
	struct auth_wait *w = arg;

	if (w)
		free(w->props);
	free(w);
}

/* --- request ------------------------------------------------------------------------------------------------------------------- */

static bool add_ids(struct ike_sa *sa, const struct ident *remote)
{
	struct step *st = sa->step;
	bool wild = remote->type == ID_ANY || remote->type == ID_DN_TEXT ||
	    (remote->n && memchr(remote->p, '*', remote->n) && remote->type != ID_KEY_ID);

	if (!message_id(
	        &st->a, &st->out, PAYLOAD_IDI, (uint8_t)sa->my_id.type, cy_slice(sa->my_id.p, sa->my_id.n)))
		return false;
	return wild ||
	    message_id(&st->a, &st->out, PAYLOAD_IDR, (uint8_t)remote->type, cy_slice(remote->p, remote->n));
}

static bool add_child(struct ike_sa *sa, struct task *t)
{
	struct step *st = sa->step;
	struct auth_wait *w = calloc(1, sizeof(*w));
	struct v2_init *in = v2_init(sa);

	t->state = w;
	t->state_free = wait_free;
	if (!w || !v2_child_offer(sa, &st->out, in->child, t, false, &w->offer))
		return false;
	w->props = malloc(w->offer.n_props * sizeof(*w->props));
	if (!w->props)
		return false;
	memcpy(w->props, w->offer.props, w->offer.n_props * sizeof(*w->props));
	w->offer.props = w->props;
	return message_ts(&st->a, &st->out, PAYLOAD_TSI, w->offer.tsi, w->offer.n_tsi) &&
	    message_ts(&st->a, &st->out, PAYLOAD_TSR, w->offer.tsr, w->offer.n_tsr);
}

static void send_request(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;
	struct step *st = sa->step;
	struct payload *p;
	bool ok;

	if (err) {
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : err_text(err));
		auth_op_free(op);
		v2_fatal(sa, "%s", sa->why);
		return;
	}
	v2_out_header(sa, EXCHANGE_IKE_AUTH, false);
	ok = add_ids(sa, &sa->conn->remote.auth[0].id) && v2_add_certs(sa, &st->out, op) &&
	    v2_add_certreq(sa, &st->out);
	if (ok && !sa->replaces && !unique_known(sa->shard->m, &sa->my_id, &op->remote_id, NULL) &&
	    sa->conn->unique != UNIQUE_NEVER)
		ok = message_notify(
		    &st->a, &st->out, 0, N_INITIAL_CONTACT, cy_slice(NULL, 0), cy_slice(NULL, 0));
	p = ok ? message_add(&st->a, &st->out, PAYLOAD_AUTH) : NULL;
	if (p) {
		p->u.auth.method = op->method;
		p->u.auth.data = cy_slice(op->data.p, op->data.n);
	}
	ok =
	    p && v2_cp_request(sa, &st->out) && add_child(sa, sa->task) && v2_crash_add(sa, &st->a, &st->out);
	if (ok)
		ok = exchange_send(sa, true) == CY_OK;
	auth_op_free(op);
	if (!ok) {
		v2_fatal(sa, "the IKE_AUTH request could not be made");
		return;
	}
	step_end(sa);
}

void v2_auth_start(struct ike_sa *sa, struct task *t)
{
	struct v2_init *in = v2_init(sa);
	struct auth_op *op = auth_op_new(sa->shard->d, sa->config, sa->conn, true);
	struct cy_slice body;

	in->child = child_new(sa, t->conn);
	if (!op || !in->child) {
		auth_op_free(op);
		v2_fatal(sa, "out of memory");
		return;
	}
	in->child->reqid = t->reqid;
	op->local = sa->local;
	op->remote = sa->remote;
	op->peer_hashes = sa->peer_hashes;
	ident_fini(&sa->my_id); /* of an attempt that was not answered */
	if (auth_pick_own(op) || ident_dup(&op->remote_id, &sa->conn->remote.auth[0].id) ||
	    ident_dup(&sa->my_id, &op->local_id)) {
		ike_sa_fail(sa, "%s", op->why[0] ? op->why : "out of memory");
		auth_op_free(op);
		v2_fatal(sa, "%s", sa->why);
		return;
	}
	if (op->remote_id.type == ID_ANY) { /* PSKs are looked up by address then */
		ident_fini(&op->remote_id);
		(void)!ident_from_addr(&op->remote_id, &sa->remote);
	}
	body = v2_id_body(&sa->step->a, &sa->my_id);
	if (!body.n ||
	    auth_set_octets(op, sa->suite.prf, cy_slice(in->msg1.p, in->msg1.n), cy_slice(in->nr, in->n_nr),
	        ike_key(sa, SK_PI), body)) {
		auth_op_free(op);
		v2_fatal(sa, "out of memory");
		return;
	}
	ike_run(sa, auth_sign_is_slow(op), auth_sign, send_request, (void (*)(void *))auth_op_free, op);
}

/* --- response ------------------------------------------------------------------------------------------------------------------- */

/* The peer believes the IKE_SA to be up: tell it that it is not (2.21.2). */
static void reject_peer(struct ike_sa *sa, const char *why)
{
	struct step *st = sa->step;

	ike_sa_fail(sa, "%s", why);
	v2_out_header(sa, EXCHANGE_INFORMATIONAL, false);
	if (message_notify(
	        &st->a, &st->out, 0, N_AUTHENTICATION_FAILED, cy_slice(NULL, 0), cy_slice(NULL, 0)))
		(void)!exchange_send(sa, true);
	v2_fatal(sa, "%s", sa->why);
}

static void finish(struct ike_sa *sa, bool child_ok, const char *why)
{
	struct task *t = sa->task;

	if (!child_ok)
		ike_note(sa, LOG_CHD, CY_LOG_WARN, "the CHILD_SA failed, keeping the IKE_SA: %s", why);
	ike_watch_done(sa, &sa->watches, child_ok, why);
	ike_watch_done(sa, &t->watches, child_ok, why);
	v2_init_end(sa);
	v2_done(sa);
}

/* The peer has a CHILD_SA that we cannot have: close it there. */
static void refuse_child(struct ike_sa *sa, const char *why)
{
	struct v2_init *in = v2_init(sa);
	struct child_sa *c = in->child;
	struct task *del = task_new(TASK_CHILD_DELETE);

	in->child = NULL;
	child_adopt(sa, c);
	c->state = CHILD_DELETING;
	if (del) {
		del->child_id = c->id;
		list_push(&sa->tasks, &del->node);
	}
	finish(sa, false, why);
}

static void installed(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v2_init *in = v2_init(sa);
	struct child_sa *c = in->child;

	knl_req_free(arg);
	if (err) {
		char why[160];

		snprintf(why, sizeof(why), "the data plane refused the CHILD_SA: %s", err_text(err));
		refuse_child(sa, why);
		return;
	}
	in->child = NULL;
	child_mark(c, CHILD_PART_ALL);
	child_adopt(sa, c);
	child_up(c);
	finish(sa, true, "");
}

static void child_part(struct ike_sa *sa)
{
	struct v2_init *in = v2_init(sa);
	struct auth_wait *w = sa->task->state;
	const struct payload *first = sa->step->in.first;
	struct knl_req *r;

	if (!v2_cp_take(sa, wire_find(first, PAYLOAD_CP))) {
		v2_fatal(sa, "out of memory");
		return;
	}
	if (!v2_child_accept(sa, first, in->child, &w->offer, in->child_why, sizeof(in->child_why))) {
		char why[256];

		snprintf(why, sizeof(why), "%s", in->child_why);
		if (wire_find(first, PAYLOAD_SA))
			refuse_child(sa, why);
		else
			finish(sa, false, why);
		return;
	}
	if (child_derive(in->child, sa, cy_slice(NULL, 0), cy_slice(in->ni, in->n_ni),
	        cy_slice(in->nr, in->n_nr), true) ||
	    (r = child_install_req(in->child, CHILD_PART_ALL)) == NULL) {
		v2_fatal(sa, "out of memory");
		return;
	}
	ike_kernel(sa, r, installed);
}

static void verified(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct auth_op *op = arg;

	if (err) {
		reject_peer(sa, op->why[0] ? op->why : err_text(err));
		auth_op_free(op);
		return;
	}
	auth_op_free(op);
	v2_crash_take(sa, sa->step->in.first);
	ike_sa_established(sa);
	child_part(sa);
}

static void on_error(struct ike_sa *sa, const struct payload *err)
{
	char id[IDENT_STR_MAX];

	if (err->u.notify.type == N_AUTHENTICATION_FAILED)
		v2_fatal(sa, "the peer did not accept our authentication as %.160s (AUTHENTICATION_FAILED)",
		    ident_str(&sa->my_id, id));
	else
		v2_fatal(sa, "the peer refused IKE_AUTH with %s",
		    name_or_number(notify_names, err->u.notify.type));
}

void v2_auth_response(struct ike_sa *sa)
{
	struct v2_init *in = v2_init(sa);
	const struct payload *first = sa->step->in.first, *id = wire_find(first, PAYLOAD_IDR),
	                     *auth = wire_find(first, PAYLOAD_AUTH), *err = wire_find_error(first);
	const struct ident *want = &sa->conn->remote.auth[0].id;
	char a[IDENT_STR_MAX], b[IDENT_STR_MAX], why[256];
	struct auth_op *op;

	if (!auth || !id) {
		if (err)
			on_error(sa, err);
		else
			v2_fatal(sa, "the peer's IKE_AUTH response lacks its identity or AUTH");
		return;
	}
	ident_fini(&sa->peer_id);
	if (ident_set(&sa->peer_id, id->u.id.type, id->u.id.data)) {
		v2_fatal(sa, "out of memory");
		return;
	}
	if (want->type != ID_ANY && !ident_match(want, &sa->peer_id)) {
		snprintf(why, sizeof(why), "the peer says it is %.110s, connection %.20s expects %.110s",
		    ident_str(&sa->peer_id, a), sa->conn->name, ident_str(want, b));
		reject_peer(sa, why);
		return;
	}
	op = auth_op_new(sa->shard->d, sa->config, sa->conn, false);
	if (!op || ident_dup(&op->local_id, &sa->my_id) || ident_dup(&op->remote_id, &sa->peer_id) ||
	    auth_set_octets(op, sa->suite.prf, cy_slice(in->msg2.p, in->msg2.n), cy_slice(in->ni, in->n_ni),
	        ike_key(sa, SK_PR), id->raw) ||
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
