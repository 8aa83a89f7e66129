/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XAUTH (draft-ietf-ipsec-isakmp-xauth-06, draft-beaulieu-ike-xauth-02), generic: the server asks for name and password, and
 * for as much more as its back end wants, and says at the end how it went. Until then the IKE_SA can do nothing else.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "libcore/base/addr.h"

#define NAME_MAX_LEN XAUTH_USER_MAX
#define ROUNDS_MAX   8 /* a server that asks on and on is not answered */

static const uint8_t zero[2], one[2] = {0, 1};

/* --- server -------------------------------------------------------------------------------------------------------------- */

static void ask(struct ike_sa *sa, const struct v1_attr *attrs, size_t n)
{
	struct v1_exchange *x = v1_transaction_new(sa, V1_TX_XAUTH_ASK);

	if (!x ||
	    !v1_transaction_send(
	        sa, x, CFG_REQUEST, (uint16_t)env_rand64(sa->shard->d->env), attrs, n, true)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	step_end(sa);
}

void v1_xauth_start(struct ike_sa *sa)
{
	static const struct v1_attr attrs[] = {
	    {V1A_XAUTH_USER_NAME, false, {NULL, 0}}, {V1A_XAUTH_USER_PASSWORD, false, {NULL, 0}}};

	ike_note(sa, LOG_IKE, CY_LOG_INFO, "XAUTH: asking for user and password");
	ask(sa, attrs, 2);
}

static void send_status(struct ike_sa *sa, bool ok, const char *message)
{
	struct v1_attr attrs[2] = {
	    {V1A_XAUTH_STATUS, true, cy_slice(ok ? one : zero, 2)}, {V1A_XAUTH_MESSAGE, false, {NULL, 0}}};
	struct v1_exchange *x = v1_transaction_new(sa, V1_TX_XAUTH_STATUS);
	char *text = *message ? arena_strdup(&sa->step->a, message) : NULL;

	if (text)
		attrs[1].data = cy_slice(text, strlen(text));
	if (!x ||
	    !v1_transaction_send(
	        sa, x, CFG_SET, (uint16_t)env_rand64(sa->shard->d->env), attrs, text ? 2 : 1, true)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	if (ok)
		v1_established(sa);
	else
		step_end(sa);
}

static void ask_again(struct ike_sa *sa, const struct xauth_answer *a)
{
	static const uint16_t types[] = {[CY_XAUTH_PASSWORD] = V1A_XAUTH_USER_PASSWORD,
	    [CY_XAUTH_PASSCODE] = V1A_XAUTH_PASSCODE,
	    [CY_XAUTH_NEXT_PIN] = V1A_XAUTH_NEXT_PIN,
	    [CY_XAUTH_ANSWER] = V1A_XAUTH_ANSWER};
	struct v1_attr attrs[2] = {
	    {V1A_XAUTH_MESSAGE, false, {NULL, 0}}, {V1A_XAUTH_ANSWER, false, {NULL, 0}}};
	char *text = arena_strdup(&sa->step->a, a->message);

	if (text)
		attrs[0].data = cy_slice(text, strlen(text));
	if (a->prompt >= CY_XAUTH_PASSWORD && a->prompt <= CY_XAUTH_ANSWER)
		attrs[1].type = types[a->prompt];
	ask(sa, attrs, 2);
}

static void on_login(struct ike_sa *sa, const struct xauth_answer *a)
{
	struct v1 *v = v1_of(sa);

	switch (a->result) {
	case CY_XAUTH_OK:
		v->xauth_done = true;
		send_status(sa, true, a->message);
		break;
	case CY_XAUTH_CHALLENGE:
		v->challenged = true;
		ask_again(sa, a);
		break;
	case CY_XAUTH_FAIL:
	case CY_XAUTH_ERROR:
		ike_sa_fail(sa, "XAUTH: user '%.64s' %s%s%.120s", sa->user ? sa->user : "",
		    a->result == CY_XAUTH_FAIL ? "is refused" : "cannot be checked", *a->reason ? ": " : "",
		    a->reason);
		send_status(sa, false, a->message);
		break;
	}
}

static struct cy_slice value(const struct v1_config *c, uint16_t type)
{
	const struct v1_attr *a = v1_attr_find(c, type);

	return a ? a->data : cy_slice(NULL, 0);
}

/* The first answer that there is: clients differ in what they call what they were asked for. */
static struct cy_slice secret_of(const struct v1_config *c)
{
	static const uint16_t types[] = {
	    V1A_XAUTH_USER_PASSWORD, V1A_XAUTH_PASSCODE, V1A_XAUTH_NEXT_PIN, V1A_XAUTH_ANSWER};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (v1_attr_find(c, types[i]))
			return value(c, types[i]);
	return cy_slice(NULL, 0);
}

void v1_xauth_reply(struct ike_sa *sa, const struct v1_config *c)
{
	struct v1 *v = v1_of(sa);
	struct cy_slice user = value(c, V1A_XAUTH_USER_NAME), secret = secret_of(c);
	char name[NAME_MAX_LEN];

	if (v->challenged && !v1_attr_find(c, V1A_XAUTH_STATUS)) {
		v->challenged = false;
		ike_xauth_reply(sa, secret, on_login);
		return;
	}
	if (v->challenged) {
		ike_xauth_end(sa);
		ike_sa_fail(
		    sa, "XAUTH: user '%.64s' has no answer to what is asked", sa->user ? sa->user : "");
		send_status(sa, false, "");
		return;
	}
	if (!user.n || user.n >= sizeof(name) || memchr(user.p, 0, user.n) || secret.n > XAUTH_PASSWORD_MAX ||
	    v1_attr_find(c, V1A_XAUTH_STATUS)) {
		ike_sa_fail(sa, "XAUTH: the peer did not say who its user is");
		send_status(sa, false, "");
		return;
	}
	memcpy(name, user.p, user.n);
	name[user.n] = '\0';
	ike_xauth_begin(sa, name, secret, on_login);
}

void v1_xauth_acked(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);

	if (!v->xauth_done) { /* it knows now */
		ike_sa_destroy(sa, sa->why);
		return;
	}
	if (!v1_config_push(sa))
		step_end(sa);
}

/* --- client -------------------------------------------------------------------------------------------------------------- */

static void decline(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c)
{
	static const struct v1_attr status = {V1A_XAUTH_STATUS, true, {zero, 2}};

	(void)!v1_transaction_send(sa, x, CFG_REPLY, c->id, &status, 1, false);
	v1_fatal(sa, "%s", sa->why);
}

static void log_message(struct ike_sa *sa, const struct v1_config *c)
{
	struct cy_slice m = value(c, V1A_XAUTH_MESSAGE);

	if (m.n)
		ike_note(sa, LOG_IKE, CY_LOG_INFO, "XAUTH: the peer says: %.*s", m.n > 400 ? 400 : (int)m.n,
		    (const char *)m.p);
}

/* What may be asked for besides name and password, and where ipsec.secrets has it: "USER/WHICH : XAUTH ...". */
static const struct {
	uint16_t type;
	const char *which, *words;
} prompts[] = {
    {V1A_XAUTH_PASSCODE, "passcode", "a passcode"},
    {V1A_XAUTH_NEXT_PIN, "next-pin", "a new PIN"},
    {V1A_XAUTH_ANSWER, "answer", "an answer"},
};

/* False: we do not have it, and ike_sa_fail() says so. */
static bool further(
    struct ike_sa *sa, const struct v1_config *c, uint16_t type, const char *user, struct cy_slice *out)
{
	struct cy_slice m = value(c, V1A_XAUTH_MESSAGE);
	size_t i = 0;

	while (prompts[i].type != type)
		i++;
	if (xauth_own_answer(sa->config, user, prompts[i].which, out) == CY_OK)
		return true;
	/* some ask so for the password itself */
	if (type == V1A_XAUTH_PASSCODE && !v1_of(sa)->xauth_rounds)
		return true;
	ike_sa_fail(sa,
	    "the peer asks user '%.48s' for %s (XAUTH)%s%.*s: ipsec.secrets has no '%.48s/%s : XAUTH'", user,
	    prompts[i].words, m.n ? ", " : "", m.n > 64 ? 64 : (int)m.n, m.n ? (const char *)m.p : "", user,
	    prompts[i].which);
	return false;
}

static bool answer(struct ike_sa *sa, const struct v1_config *c, const char *user, struct cy_slice password,
    struct v1_attr *out, size_t *out_n)
{
	for (size_t i = 0; i < c->n; i++) {
		struct v1_attr a = {.type = c->attrs[i].type};

		switch (a.type) {
		case V1A_XAUTH_TYPE:
			a.tv = true;
			a.data = cy_slice(zero, 2);
			break;
		case V1A_XAUTH_USER_NAME:
			a.data = cy_slice(user, strlen(user));
			break;
		case V1A_XAUTH_USER_PASSWORD:
			a.data = password;
			break;
		case V1A_XAUTH_PASSCODE:
		case V1A_XAUTH_NEXT_PIN:
		case V1A_XAUTH_ANSWER:
			a.data = password;
			if (!further(sa, c, a.type, user, &a.data))
				return false;
			break;
		case V1A_XAUTH_DOMAIN:
			break;
		default:
			continue;
		}
		out[(*out_n)++] = a;
	}
	return true;
}

void v1_xauth_asked(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c)
{
	struct v1_attr *attrs = arena_alloc(&sa->step->a, (c->n + 1) * sizeof(*attrs));
	char *user = arena_alloc(&sa->step->a, NAME_MAX_LEN);
	struct cy_slice pw = {NULL, 0};
	size_t n = 0;

	if (!attrs || !user) {
		v1_fatal(sa, "out of memory");
		return;
	}
	if (!sa->conn->local.xauth_client) {
		ike_sa_fail(sa,
		    "the peer asks for user and password (XAUTH), connection %s does not have them",
		    sa->conn->name);
		decline(sa, x, c);
		return;
	}
	log_message(sa, c);
	if (xauth_own(sa->config, sa->conn, &sa->my_id, user, &pw)) {
		ike_sa_fail(sa, "no XAUTH secret for '%.64s' in ipsec.secrets", user);
		decline(sa, x, c);
		return;
	}
	if (v1_of(sa)->xauth_rounds == ROUNDS_MAX) {
		ike_sa_fail(sa, "the peer asks user '%.64s' more than %d times (XAUTH)", user, ROUNDS_MAX);
		decline(sa, x, c);
		return;
	}
	if (!answer(sa, c, user, pw, attrs, &n)) {
		decline(sa, x, c);
		return;
	}
	v1_of(sa)->xauth_rounds++;
	if (!ike_set_user(sa, user) || !v1_transaction_send(sa, x, CFG_REPLY, c->id, attrs, n, false)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v1_exchange_finish(x);
	step_end(sa);
}

void v1_xauth_status(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c)
{
	const struct v1_attr *a = v1_attr_find(c, V1A_XAUTH_STATUS);
	bool ok = a && a->data.n == 2 && a->data.p[0] == 0 && a->data.p[1] == 1;
	struct v1_attr ack = {V1A_XAUTH_STATUS, true, cy_slice(ok ? one : zero, 2)};

	log_message(sa, c);
	if (!v1_transaction_send(sa, x, CFG_ACK, c->id, &ack, 1, false)) {
		v1_fatal(sa, "out of memory");
		return;
	}
	v1_exchange_finish(x);
	if (!ok) {
		v1_fatal(sa, "the peer refused user '%.100s' (XAUTH)", sa->user ? sa->user : "");
		return;
	}
	if (v1_of(sa)->xauth_done || sa->state == IKE_ESTABLISHED) {
		step_end(sa);
		return;
	}
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "XAUTH: user '%s' is accepted", sa->user ? sa->user : "");
	v1_of(sa)->xauth_done = true;
	v1_established(sa);
}
