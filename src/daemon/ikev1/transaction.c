/* SPDX-License-Identifier: Apache-2.0 */
/* The transaction exchange, which carries XAUTH and Mode Config: draft-ietf-ipsec-isakmp-mode-cfg, 2 and 3. */
#include "daemon/ikev1/ikev1.h"
#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

static const struct cy_slice none = {NULL, 0};

struct v1_exchange *v1_transaction_new(struct ike_sa *sa, enum v1_transaction kind)
{
	struct v1_exchange *x = v1_exchange_new(sa, EXCHANGE_V1_TRANSACTION, v1_msgid_new(sa), true);

	if (x)
		x->transaction = kind;
	return x;
}

/* attrs: in the step's arena, or static. */
bool v1_transaction_send(struct ike_sa *sa, struct v1_exchange *x, uint8_t type, uint16_t id,
    const struct v1_attr *attrs, size_t n, bool wait)
{
	struct payload *p;

	if (!v1_out(sa, x, V1_HASH_1))
		return false;
	p = message_add(&sa->step->a, &sa->step->out, PAYLOAD_V1_CONFIG);
	if (!p)
		return false;
	p->u.config1 = (struct v1_config){.type = type, .id = id, .attrs = (struct v1_attr *)attrs, .n = n};
	return v1_send(sa, x, V1_HASH_1, none, none, wait) == CY_OK;
}

const struct v1_attr *v1_attr_find(const struct v1_config *c, uint16_t type)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->attrs[i].type == type)
			return &c->attrs[i];
	return NULL;
}

static bool is_xauth(const struct v1_config *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->attrs[i].type >= V1A_XAUTH_TYPE && c->attrs[i].type <= V1A_XAUTH_ANSWER)
			return true;
	return false;
}

/* A client asks again where it may (keyingtries=%forever): the gateway, or what it asked, may have died after the login. */
static void pull_timeout(struct ike_sa *sa)
{
	struct conn *again = sa->conn->keyingtries ? NULL : conn_ref(sa->conn);
	struct sa_shard *s = sa->shard;

	ike_sa_destroy(sa, sa->why);
	if (again)
		sa_child_action(s, again, DPD_RESTART);
	conn_unref(again);
}

static void unexpected(struct ike_sa *sa, struct v1_exchange *x)
{
	SA_COUNT(sa->shard->m, drop_unexpected);
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "a transaction of the peer does not fit, ignored");
	if (!x->ours)
		v1_exchange_finish(x);
	step_end(sa);
}

static void answered(struct ike_sa *sa, struct v1_exchange *x, const struct v1_config *c)
{
	enum v1_transaction kind = x->transaction;

	v1_exchange_finish(x);
	switch (kind) {
	case V1_TX_XAUTH_ASK:
		v1_xauth_reply(sa, c);
		break;
	case V1_TX_XAUTH_STATUS:
		v1_xauth_acked(sa);
		break;
	case V1_TX_CONFIG_PULL:
		v1_config_taken(sa, c);
		break;
	case V1_TX_CONFIG_PUSH:
		step_end(sa);
		break;
	}
}

void v1_transaction_message(struct ike_sa *sa, struct v1_exchange *x)
{
	const struct payload *p;

	if (!v1_hash_ok(sa, x, V1_HASH_1, none, none)) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	p = wire_find(sa->step->in.first, PAYLOAD_V1_CONFIG);
	if (!p ||
	    (x->ours && (x->at != 1 || (p->u.config1.type != CFG_REPLY && p->u.config1.type != CFG_ACK)))) {
		SA_COUNT(sa->shard->m, drop_syntax);
		v1_drop(sa, "a transaction without attributes, or out of order");
		return;
	}
	v1_accept(sa);
	if (x->ours)
		answered(sa, x, &p->u.config1);
	else if (p->u.config1.type == CFG_REQUEST && is_xauth(&p->u.config1) && v1_logs_in(sa))
		v1_xauth_asked(sa, x, &p->u.config1);
	else if (p->u.config1.type == CFG_SET && is_xauth(&p->u.config1) && v1_logs_in(sa))
		v1_xauth_status(sa, x, &p->u.config1);
	else if (p->u.config1.type == CFG_REQUEST && sa->state == IKE_ESTABLISHED)
		v1_config_asked(sa, x, &p->u.config1);
	else if (p->u.config1.type == CFG_SET && sa->state == IKE_ESTABLISHED)
		v1_config_pushed(sa, x, &p->u.config1);
	else
		unexpected(sa, x);
}

void v1_transaction_timeout(struct ike_sa *sa, struct v1_exchange *x)
{
	char to[ADDR_STR_MAX];
	enum v1_transaction kind = x->transaction;

	v1_exchange_free(x);
	if (kind == V1_TX_XAUTH_STATUS && sa->state == IKE_ESTABLISHED)
		return; /* it has what it needs, whether it says so or not */
	if (kind == V1_TX_CONFIG_PUSH)
		return;
	if (v1_try_again(sa))
		return;
	ike_sa_fail(sa, "the peer %s does not answer %s", addr_port_str(&sa->remote, to),
	    kind == V1_TX_CONFIG_PULL ? "Mode Config" : "XAUTH");
	if (kind == V1_TX_CONFIG_PULL)
		pull_timeout(sa);
	else
		ike_sa_destroy(sa, sa->why);
}
