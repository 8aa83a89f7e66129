/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/about.h"

#include <stdio.h>

#include "daemon/sa/manager.h"
#include "daemon/sa/totals.h"
#include "libcore/base/addr.h"
#include "libcore/run/usage.h"

/* A class is an exchange and a state: 16 times 8 of them. */
#define STATES     8
#define STATE_NONE 7

/* Exchange types of both versions (RFC 7296, 3.1; RFC 2408, 3.1; RFC 2409, 5), by place in the class. */
static const struct {
	uint8_t type;
	const char *name;
} exchanges[16] = {
    {0, "other"},
    {34, "IKE_SA_INIT"},
    {35, "IKE_AUTH"},
    {36, "CREATE_CHILD_SA"},
    {37, "INFORMATIONAL"},
    {38, "IKE_SESSION_RESUME"},
    {43, "IKE_INTERMEDIATE"},
    {44, "IKE_FOLLOWUP_KE"},
    {2, "main mode"},
    {4, "aggressive mode"},
    {5, "INFORMATIONAL (v1)"},
    {6, "TRANSACTION"},
    {32, "quick mode"},
    {33, "new group mode"},
};

static const char *const states[STATES] = {
    [IKE_CREATED] = "CREATED",
    [IKE_CONNECTING] = "CONNECTING",
    [IKE_ESTABLISHED] = "ESTABLISHED",
    [IKE_REKEYED] = "REKEYED",
    [IKE_DELETING] = "DELETING",
    [STATE_NONE] = "no IKE_SA",
};

static uint8_t class_of(uint8_t exchange, unsigned int state)
{
	uint8_t at = 0;

	for (uint8_t i = 1; i < ARRAY_LEN(exchanges); i++)
		if (exchanges[i].name && exchanges[i].type == exchange)
			at = i;
	return (uint8_t)(at * STATES + (state < STATES ? state : STATE_NONE));
}

const char *sa_class_exchange(uint8_t class)
{
	return class / STATES < ARRAY_LEN(exchanges) ? exchanges[class / STATES].name : NULL;
}

const char *sa_class_state(uint8_t class)
{
	return states[class % STATES];
}

static uint8_t task_exchange(const struct ike_sa *sa)
{
	if (!sa->task || sa->version != 2)
		return 0;
	switch (sa->task->kind) {
	case TASK_INIT:
		return EXCHANGE_IKE_SA_INIT;
	case TASK_AUTH:
		return EXCHANGE_IKE_AUTH;
	case TASK_CHILD_CREATE:
	case TASK_CHILD_REKEY:
	case TASK_IKE_REKEY:
		return EXCHANGE_CREATE_CHILD_SA;
	default:
		return EXCHANGE_INFORMATIONAL;
	}
}

static void conn_label(void *arg, char *out, size_t cap)
{
	const struct ike_sa *sa = arg;

	snprintf(out, cap, "%s", sa->conn ? sa->conn->name : "");
}

static void peer_label(void *arg, char *out, size_t cap)
{
	const struct ike_sa *sa = arg;
	char text[IDENT_STR_MAX > ADDR_STR_MAX ? IDENT_STR_MAX : ADDR_STR_MAX];

	if (sa->established_ns) {
		/* for each packet, with many peers: no snprintf() */
		const char *user = totals_user(sa, text);
		size_t n = strnlen(user, cap - 1);

		memcpy(out, user, n);
		out[n] = '\0';
	} else
		snprintf(out, cap, "%s, not proven yet", addr_str(&sa->remote, text));
}

static uint64_t nonzero(uint64_t key)
{
	return key ? key : 1;
}

/* Of the user who logged in, else of the peer's identity: clients with XAUTH often share one. */
static uint64_t peer_hash(const struct ike_sa *sa)
{
	const char *user = unique_user(sa);

	return user ? hmap_hash(&sa->shard->by_spi, user, strlen(user))
	            : hmap_hash(&sa->shard->by_spi, sa->peer_id.p, sa->peer_id.n);
}

/* Hashes of names and identities are made once; an IKE_SA that is not up is its peer's address. */
static void subject(struct ike_sa *sa, uint8_t exchange, struct usage_subject *out)
{
	const struct hmap *h = &sa->shard->by_spi;

	if (sa->conn && sa->about_conn_of != sa->conn) {
		sa->about_conn_of = sa->conn;
		sa->about_conn = nonzero(hmap_hash(h, sa->conn->name, strlen(sa->conn->name)));
	}
	if (!sa->about_peer || sa->about_established != (sa->established_ns != 0)) {
		sa->about_established = sa->established_ns != 0;
		sa->about_peer =
		    nonzero(sa->about_established ? peer_hash(sa) : addr_hash(h->key, &sa->remote, false));
	}
	*out = (struct usage_subject){.class = class_of(exchange, sa->state),
	    .ike_id = sa->id,
	    .conn = sa->conn ? sa->about_conn : 0,
	    .peer = sa->about_peer,
	    .conn_label = conn_label,
	    .peer_label = peer_label,
	    .arg = sa};
}

void sa_about(struct ike_sa *sa)
{
	struct usage_subject s;

	subject(sa, sa->step && sa->step->pkt ? sa->step->pkt->h.exchange : task_exchange(sa), &s);
	usage_about(&s);
}

void sa_about_packet(struct ike_sa *sa, const struct net_packet *p)
{
	struct usage_subject s = {.class = class_of(p->h.exchange, STATE_NONE)};

	if (sa)
		subject(sa, p->h.exchange, &s);
	usage_about(&s);
}
