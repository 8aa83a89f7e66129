/* SPDX-License-Identifier: Apache-2.0 */
/* What IKE_AUTH and CREATE_CHILD_SA share: proposals, traffic selectors, mode. RFC 7296, 2.7, 2.9, 1.3.1. */
#include <stdio.h>

#include "daemon/ikev2/ikev2.h"
#include "daemon/policy/select.h"
#include "daemon/sa/percpu.h"
#include "libcore/base/addr.h"

/* --- proposals ------------------------------------------------------------------------------------------------------------- */

static void drop_type(struct proposal *p, uint8_t type)
{
	uint8_t kept = 0;

	for (uint8_t i = 0; i < p->n; i++)
		if (p->t[i].type != type)
			p->t[kept++] = p->t[i];
	p->n = kept;
}

static bool has_type(const struct proposal *p, uint8_t type)
{
	for (uint8_t i = 0; i < p->n; i++)
		if (p->t[i].type == type)
			return true;
	return false;
}

static void add_transform(struct proposal *p, uint8_t type, uint16_t id)
{
	if (p->n < PROPOSAL_MAX_TRANSFORMS)
		p->t[p->n++] = (struct transform){.type = type, .id = id};
}

static void finish_proposal(
    struct ike_sa *sa, const struct child_sa *c, bool with_ke, struct proposal *p, size_t number)
{
	bool esn_ok = knl_features(sa->shard->d->knl) & CY_KERNEL_ESN;

	p->number = (uint8_t)number;
	p->proto = PROTO_ESP;
	p->spi_len = 4;
	p->spi[0] = (uint8_t)(c->spi_in >> 24);
	p->spi[1] = (uint8_t)(c->spi_in >> 16);
	p->spi[2] = (uint8_t)(c->spi_in >> 8);
	p->spi[3] = (uint8_t)c->spi_in;
	if (!with_ke) /* RFC 7296, 1.2: IKE_AUTH has no KE payload, so no group may be chosen in it */
		drop_type(p, TRANSFORM_KE);
	else if (!has_type(p, TRANSFORM_KE) && c->conn->pfs)
		add_transform(p, TRANSFORM_KE, sa->suite.ke);
	if (!has_type(p, TRANSFORM_ESN)) { /* mandatory for ESP (3.3.3) */
		if (!c->conn->require_esn)
			add_transform(p, TRANSFORM_ESN, 0);
		if (esn_ok && (c->conn->allow_esn || c->conn->require_esn))
			add_transform(p, TRANSFORM_ESN, 1);
	}
}

bool v2_child_proposals(struct ike_sa *sa, const struct child_sa *c, bool with_ke, struct arena *a,
    struct proposal **out, size_t *out_n)
{
	struct proposal_list list = {NULL, 0};
	size_t kept = 0;

	if (c->conn->child.n && proposal_list_dup(&list, &c->conn->child))
		return false;
	if ((!c->conn->child.n || !c->conn->child_strict) &&
	    proposal_defaults(sa->shard->d->crypto, PROTO_ESP, &list)) {
		proposal_list_fini(&list);
		return false;
	}
	*out = arena_dup(a, list.p, list.n * sizeof(*list.p));
	for (size_t i = 0; *out && i < list.n; i++)
		if (proposal_restrict(sa->shard->d->crypto, &(*out)[i])) {
			(*out)[kept] = (*out)[i];
			finish_proposal(sa, c, with_ke, &(*out)[kept], kept + 1);
			kept++;
		}
	*out_n = kept;
	proposal_list_fini(&list);
	return *out && kept;
}

/* --- selectors ---------------------------------------------------------------------------------------------------------------- */

static size_t local_ts(
    struct ike_sa *sa, const struct conn *conn, bool transport, bool asking, struct cy_ts *out, size_t cap)
{
	size_t n = 0;

	/* Before a virtual address is known the whole family is offered; the responder narrows it (2.19). */
	if (asking && conn->local.ts_dynamic && !sa->n_vips) {
		bool v4 = conn->local.request_vip4, v6 = conn->local.request_vip6;

		for (size_t i = 0; i < conn->local.n_request_addrs; i++)
			*(conn->local.request_addrs[i].family == AF_INET ? &v4 : &v6) = true;
		if (v4 && n < cap)
			out[n++] = ts_any(false);
		if (v6 && n < cap)
			out[n++] = ts_any(true);
		if (n)
			return n;
	}
	return ts_for_end(&conn->local, &sa->local, sa->vips, sa->n_vips, transport, out, cap);
}

static size_t remote_ts(
    struct ike_sa *sa, const struct conn *conn, bool transport, struct cy_ts *out, size_t cap)
{
	struct cy_addr vips[16];
	size_t n = v2_peer_vips(sa, vips, 16);

	return ts_for_end(&conn->remote, &sa->remote, vips, n, transport, out, cap);
}

static bool can_transport(const struct ike_sa *sa, const struct conn *conn)
{
	return conn->type == TYPE_TRANSPORT && knl_features(sa->shard->d->knl) & CY_KERNEL_TRANSPORT;
}

static void ts_text(const struct cy_ts *ts, size_t n, char *out, size_t cap)
{
	char one[TS_STR_MAX];
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n && at < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? " " : "", ts_str(&ts[i], one));
}

/* --- initiator ------------------------------------------------------------------------------------------------------------------ */

/*
 * RFC 9611: of the first CHILD_SA it says that more with these selectors are welcome, of a further one which of our CPUs sends
 * on it. A rekeying request has none: the new one belongs to whom the old one did.
 */
static bool add_resource(struct ike_sa *sa, struct message *m, const struct child_sa *c, bool asking)
{
	struct arena *a = &sa->step->a;
	uint8_t *id = NULL;

	if (c->rekeys || !(c->per_cpu || (asking && percpu_wanted(sa->shard->d, c->conn))))
		return true;
	if (c->cpu >= 0) {
		struct writer w;

		id = arena_alloc(a, 4);
		if (!id)
			return false;
		w = writer_of(id, 4);
		write_u32(&w, (uint32_t)c->cpu);
	}
	return message_notify(a, m, 0, N_SA_RESOURCE_INFO, cy_slice(NULL, 0), cy_slice(id, id ? 4 : 0));
}

bool v2_child_offer(struct ike_sa *sa, struct message *m, struct child_sa *c, const struct task *t,
    bool with_ke, struct v2_child_offer *o)
{
	struct arena *a = &sa->step->a;

	(void)t;
	o->transport = can_transport(sa, c->conn);
	if (!v2_child_proposals(sa, c, with_ke, a, &o->props, &o->n_props))
		return false;
	o->n_tsi = local_ts(sa, c->conn, o->transport, v2_init(sa) != NULL, o->tsi, V2_TS_MAX);
	o->n_tsr = remote_ts(sa, c->conn, o->transport, o->tsr, V2_TS_MAX);
	if (!o->n_tsi || !o->n_tsr)
		return false;
	if (o->transport &&
	    !message_notify(a, m, 0, N_USE_TRANSPORT_MODE, cy_slice(NULL, 0), cy_slice(NULL, 0)))
		return false;
	if (!add_resource(sa, m, c, true))
		return false;
	return message_sa(a, m, o->props, o->n_props);
}

static bool set_encap(struct ike_sa *sa, struct child_sa *c)
{
	c->encap = sa->natt && (sa->nat_here || sa->nat_there || sa->encap_forced);
	return true;
}

static uint32_t spi_of(const struct proposal *p)
{
	return (uint32_t)p->spi[0] << 24 | (uint32_t)p->spi[1] << 16 | (uint32_t)p->spi[2] << 8 | p->spi[3];
}

static bool take_ts(struct child_sa *c, const struct payload *l, const struct payload *r)
{
	return child_set_ts(c, l->u.ts.ts, l->u.ts.n, r->u.ts.ts, r->u.ts.n) == CY_OK;
}

bool v2_child_accept(struct ike_sa *sa, const struct payload *first, struct child_sa *c,
    const struct v2_child_offer *o, char *why, size_t cap)
{
	const struct payload *psa = wire_find(first, PAYLOAD_SA), *tsi = wire_find(first, PAYLOAD_TSI),
	                     *tsr = wire_find(first, PAYLOAD_TSR), *err = wire_find_error(first);

	if (err && !psa) {
		char l[300], r[300];

		ts_text(o->tsi, o->n_tsi, l, sizeof(l));
		ts_text(o->tsr, o->n_tsr, r, sizeof(r));
		if (err->u.notify.type == N_TS_UNACCEPTABLE)
			snprintf(why, cap, "the peer does not accept our traffic selectors %.100s === %.100s",
			    l, r);
		else
			snprintf(why, cap, "the peer refused the CHILD_SA with %s",
			    name_or_number(notify_names, err->u.notify.type));
		return false;
	}
	if (!psa || !tsi || !tsr || psa->u.sa.n != 1 || psa->u.sa.p[0].spi_len != 4) {
		snprintf(why, cap, "the peer's answer lacks a CHILD_SA proposal or its traffic selectors");
		return false;
	}
	if (!proposal_accepts(o->props, o->n_props, &psa->u.sa.p[0], false, &c->suite)) {
		snprintf(why, cap, "the peer chose an ESP suite that we did not offer");
		return false;
	}
	if (!tsi->u.ts.n || !tsr->u.ts.n || !ts_list_subset(tsi->u.ts.ts, tsi->u.ts.n, o->tsi, o->n_tsi) ||
	    !ts_list_subset(tsr->u.ts.ts, tsr->u.ts.n, o->tsr, o->n_tsr)) {
		snprintf(why, cap, "the peer answered with traffic selectors outside of what we offered");
		return false;
	}
	c->mode = o->transport && wire_find_notify(first, N_USE_TRANSPORT_MODE) ? CY_MODE_TRANSPORT
	                                                                        : CY_MODE_TUNNEL;
	child_set_spi_out(c, spi_of(&psa->u.sa.p[0]));
	c->initiator = true;
	if (!set_encap(sa, c) || !take_ts(c, tsi, tsr))
		return false;
	if (!c->rekeys && !c->per_cpu && percpu_wanted(sa->shard->d, c->conn) &&
	    wire_find_notify(first, N_SA_RESOURCE_INFO)) {
		const struct child_sa *group = percpu_group(sa, c->conn, c);

		/* to the peer it is one more of a group that is there: whatever its packets come in by, one policy admits them */
		if (group)
			child_take_ids(c, group);
		c->per_cpu = c->is_fallback = true;
		c->cpu = -1;
	}
	return true;
}

/* --- responder ------------------------------------------------------------------------------------------------------------------ */

struct choice {
	struct cy_ts l[V2_TS_MAX], r[V2_TS_MAX];
	size_t n_l, n_r;
	bool transport;
};

static bool narrow(
    struct ike_sa *sa, const struct conn *conn, const struct payload *first, bool vips, struct choice *ch)
{
	const struct payload *tsi = wire_find(first, PAYLOAD_TSI), *tsr = wire_find(first, PAYLOAD_TSR);
	struct cy_ts ours[V2_TS_MAX];
	size_t n;

	(void)vips;
	ch->transport = can_transport(sa, conn) && wire_find_notify(first, N_USE_TRANSPORT_MODE);
	n = local_ts(sa, conn, ch->transport, false, ours, V2_TS_MAX);
	ch->n_l = ts_narrow(ours, n, tsr->u.ts.ts, tsr->u.ts.n, ch->l, V2_TS_MAX);
	n = remote_ts(sa, conn, ch->transport, ours, V2_TS_MAX);
	ch->n_r = ts_narrow_end(&conn->remote, ours, n, tsi->u.ts.ts, tsi->u.ts.n, ch->r, V2_TS_MAX);
	if (ch->transport && conn->remote.virt) {
		struct cy_ts got[V2_TS_MAX];

		memcpy(got, ch->r, ch->n_r * sizeof(*got));
		ch->n_r = ts_narrow(ours, n, got, ch->n_r, ch->r, V2_TS_MAX);
	}
	return ch->n_l && ch->n_r;
}

static bool same_peer(const struct ike_sa *sa, const struct conn *c)
{
	const struct conn_auth_round *r = &c->remote.auth[0], *l = &c->local.auth[0];

	return c->remote.n_auth && c->local.n_auth && ident_match(&r->id, &sa->peer_id) > 0 &&
	    (l->id.type == ID_ANY || ident_eq(&l->id, &sa->my_id)) &&
	    r->method == sa->conn->remote.auth[0].method && l->method == sa->conn->local.auth[0].method;
}

/* The connection of this peer whose selectors meet what it asks for: the IKE_SA's own first. */
static struct conn *find_conn(
    struct ike_sa *sa, const struct payload *first, struct config *config, struct choice *ch)
{
	struct conn *cands[V2_CANDS_MAX];
	size_t n;

	if (narrow(sa, sa->conn, first, true, ch))
		return sa->conn;
	n = conn_candidates(config->index, &sa->local, &sa->remote, CONN_IKEV2, cands, V2_CANDS_MAX);
	for (size_t i = 0; i < n; i++)
		if (cands[i] != sa->conn && same_peer(sa, cands[i]) && narrow(sa, cands[i], first, true, ch))
			return cands[i];
	return NULL;
}

static void no_ts(struct ike_sa *sa, const struct payload *first, char *why, size_t cap)
{
	const struct payload *tsi = wire_find(first, PAYLOAD_TSI), *tsr = wire_find(first, PAYLOAD_TSR);
	struct cy_ts ours[V2_TS_MAX];
	char a[200], b[200], c[200], d[200];

	ts_text(ours, local_ts(sa, sa->conn, false, false, ours, V2_TS_MAX), a, sizeof(a));
	ts_text(ours, remote_ts(sa, sa->conn, false, ours, V2_TS_MAX), b, sizeof(b));
	ts_text(tsr->u.ts.ts, tsr->u.ts.n, c, sizeof(c));
	ts_text(tsi->u.ts.ts, tsi->u.ts.n, d, sizeof(d));
	snprintf(why, cap,
	    "traffic selectors do not meet: connection %.40s has %.50s === %.50s, the peer wants %.50s === "
	    "%.50s",
	    sa->conn->name, a, b, c, d);
}

struct child_sa *v2_child_choose(struct ike_sa *sa, const struct payload *first, struct child_sa *rekeyed,
    bool with_ke, uint16_t ke_sent, uint16_t *out_notify, char *why, size_t cap)
{
	const struct payload *psa = wire_find(first, PAYLOAD_SA);
	struct config *config = daemon_config(sa->shard->d);
	struct conn *conn = NULL;
	struct child_sa *c = NULL;
	struct proposal *props;
	struct choice ch;
	size_t n, index;
	char one[200] = "";

	*out_notify = N_TS_UNACCEPTABLE;
	if (!psa || !wire_find(first, PAYLOAD_TSI) || !wire_find(first, PAYLOAD_TSR)) {
		*out_notify = N_INVALID_SYNTAX;
		snprintf(why, cap, "the request lacks SA, TSi or TSr");
		goto out;
	}
	if (rekeyed && narrow(sa, rekeyed->conn, first, true, &ch))
		conn = rekeyed->conn;
	else if (!rekeyed)
		conn = find_conn(sa, first, config, &ch);
	if (!conn) {
		no_ts(sa, first, why, cap);
		goto out;
	}
	*out_notify = N_TEMPORARY_FAILURE;
	c = child_new(sa, conn);
	if (!c) {
		snprintf(why, cap, "out of memory");
		goto out;
	}
	*out_notify = N_NO_PROPOSAL_CHOSEN;
	if (!v2_child_proposals(sa, c, with_ke, &sa->step->a, &props, &n) ||
	    proposal_select(props, n, psa->u.sa.p, psa->u.sa.n, false, ke_sent, !with_ke, &c->suite, &index,
	        one, sizeof(one)) ||
	    psa->u.sa.p[index].spi_len != 4) {
		snprintf(why, cap, "no common ESP proposal with connection %.40s: %s", conn->name, one);
		child_free(c);
		c = NULL;
		goto out;
	}
	c->mode = ch.transport ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL;
	child_set_spi_out(c, spi_of(&psa->u.sa.p[index]));
	set_encap(sa, c);
	sa->step->ctx = (void *)(uintptr_t)psa->u.sa.p[index].number;
	if (child_set_ts(c, ch.l, ch.n_l, ch.r, ch.n_r)) {
		*out_notify = N_TEMPORARY_FAILURE;
		snprintf(why, cap, "out of memory");
		child_free(c);
		c = NULL;
		goto out;
	}
	if (!child_claim(c, why, cap)) {
		child_free(c);
		c = NULL;
		goto out;
	}
	*out_notify = 0;
out:
	config_unref(config);
	return c;
}

bool v2_child_resource(
    struct ike_sa *sa, const struct payload *first, struct child_sa *c, char *why, size_t cap)
{
	const struct payload *n = wire_find_notify(first, N_SA_RESOURCE_INFO);
	uint32_t theirs = UINT32_MAX;
	struct child_sa *group;

	if (!n || !percpu_wanted(sa->shard->d, c->conn))
		return true;
	group = percpu_group(sa, c->conn, c);
	if (!group) {
		c->per_cpu = c->is_fallback = true;
		return true;
	}
	if (!percpu_room(sa, group)) {
		snprintf(why, cap, "connection %.40s has as many CHILD_SAs of CPUs as it may", c->conn->name);
		return false;
	}
	if (n->u.notify.data.n == 4) {
		struct reader r = reader_of(n->u.notify.data);

		theirs = read_u32(&r);
	}
	child_take_ids(c, group);
	if (!group->is_fallback && n->u.notify.data.n != 4) { /* it was closed, and comes back */
		c->is_fallback = true;
		c->cpu = -1;
		return true;
	}
	c->is_fallback = false;
	/* the peer's number means nothing here, but two hosts of one kind do best with the same */
	c->cpu = percpu_free_cpu(sa, group, theirs);
	return true;
}

bool v2_child_answer(struct ike_sa *sa, struct message *m, const struct child_sa *c, uint8_t proposal_number)
{
	struct arena *a = &sa->step->a;
	struct proposal *p = arena_alloc(a, sizeof(*p));

	if (!p)
		return false;
	proposal_from_suite(&c->suite, PROTO_ESP, p);
	p->number = proposal_number;
	p->spi_len = 4;
	p->spi[0] = (uint8_t)(c->spi_in >> 24);
	p->spi[1] = (uint8_t)(c->spi_in >> 16);
	p->spi[2] = (uint8_t)(c->spi_in >> 8);
	p->spi[3] = (uint8_t)c->spi_in;
	if (c->mode == CY_MODE_TRANSPORT &&
	    !message_notify(a, m, 0, N_USE_TRANSPORT_MODE, cy_slice(NULL, 0), cy_slice(NULL, 0)))
		return false;
	return add_resource(sa, m, c, false) && message_sa(a, m, p, 1);
}
