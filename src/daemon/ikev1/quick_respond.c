/* SPDX-License-Identifier: Apache-2.0 */
/* Quick mode as its responder: RFC 2409, 5.5; RFC 2407, 4.6.2. */
#include <stdio.h>

#include "daemon/ikev1/quick.h"
#include "daemon/policy/select.h"
#include "libcore/base/addr.h"

static const struct cy_slice none = {NULL, 0};

static void refuse(struct ike_sa *sa, struct v1_exchange *x, uint16_t notify, const char *why)
{
	struct quick *q = x->state;
	uint8_t spi[4] = {0};
	struct writer w = writer_of(spi, sizeof(spi));

	if (q && q->child)
		write_u32(&w, q->child->spi_in);
	v1_notify(sa, notify, PROTO_ESP, cy_slice(spi, sizeof(spi)), none);
	ike_note(sa, LOG_CHD, CY_LOG_WARN, "quick mode refused with %s: %s",
	    name_or_number(v1_notify_names, notify), why);
	v1_exchange_free(x);
	step_end(sa);
}

static bool same_peer(const struct ike_sa *sa, const struct conn *c)
{
	const struct conn_auth_round *r = &c->remote.auth[0], *l = &c->local.auth[0];

	return c->remote.n_auth && c->local.n_auth && ident_match(&r->id, &sa->peer_id) > 0 &&
	    (l->id.type == ID_ANY || ident_eq(&l->id, &sa->my_id)) &&
	    r->method == sa->conn->remote.auth[0].method && l->method == sa->conn->local.auth[0].method;
}

/* The connection whose selectors are just those, else the first that they fit into. */
static struct conn *find_conn(struct ike_sa *sa, struct config *config, const struct cy_ts *l,
    const struct cy_ts *r, const struct cy_ts *said_r, struct quick *q)
{
	struct conn *cands[V1_CANDS_MAX + 1], *found = NULL;
	struct cy_ts a, b;
	size_t n;

	cands[0] = sa->conn;
	n = 1 + conn_candidates(config->index, &sa->local, &sa->remote, CONN_IKEV1, cands + 1, V1_CANDS_MAX);
	for (size_t i = 0; i < n; i++) {
		bool exact;

		if ((i && (cands[i] == sa->conn || !same_peer(sa, cands[i]))) ||
		    !v1_narrow(sa, cands[i], l, r, said_r, &a, &b))
			continue;
		exact = ts_eq(&a, l) && ts_eq(&b, r);
		if (!found || exact) {
			found = cands[i];
			q->l = a;
			q->r = b;
		}
		if (exact)
			break;
	}
	return found;
}

/* Initiator and responder of this exchange, from the payloads; absent, it is the two hosts (RFC 2409, 5.5). */
static bool asked(struct ike_sa *sa, struct quick *q, struct cy_ts *l, struct cy_ts *r)
{
	const struct payload *i = wire_find(sa->step->in.first, PAYLOAD_V1_ID),
	                     *o = i ? wire_find_after(i, PAYLOAD_V1_ID) : NULL;

	q->with_ids = i && o;
	if (!i) {
		*l = ts_host(&sa->local);
		*r = ts_host(&sa->remote);
		return true;
	}
	return o && v1_ts_of_id(i, r) && v1_ts_of_id(o, l);
}

/* Does the peer want transport mode in UDP, and nothing else? */
static bool wants_udp_transport(const struct payload *psa)
{
	struct v1_offer o;

	for (size_t i = 0; i < psa->u.sa1.n; i++)
		for (size_t j = 0; j < psa->u.sa1.p[i].n; j++)
			if (!v1_read_esp(&psa->u.sa1.p[i].t[j], &o) || o.encap != 4)
				return false;
	return true;
}

/* Of ours the first that the peer offers. *out_mode: what it wants of the mode. */
static const struct v1_transform *choose_suite(struct ike_sa *sa, struct quick *q, const struct payload *psa,
    const struct conn *c, const struct v1_proposal **out_p, uint8_t *out_encap)
{
	struct v1_offer o;
	size_t n = v1_esp_suites(sa, c, &sa->step->a, q->suites, V1_SUITES_MAX);

	for (size_t s = 0; s < n; s++)
		for (size_t i = 0; i < psa->u.sa1.n; i++) {
			const struct v1_proposal *p = &psa->u.sa1.p[i];

			for (size_t j = 0; p->proto == PROTO_ESP && p->spi_len == 4 && j < p->n; j++) {
				if (!v1_read_esp(&p->t[j], &o) || !quick_same_suite(&q->suites[s], &o.suite))
					continue;
				/* more secrecy than asked for is no reason to refuse */
				if (q->suites[s].ke ? q->suites[s].ke != o.suite.ke
				                    : o.suite.ke && o.suite.ke < CY_KE_MODP_2048)
					continue;
				q->child->suite = q->suites[s];
				q->child->suite.ke = o.suite.ke;
				*out_p = p;
				*out_encap = o.encap;
				return &p->t[j];
			}
		}
	return NULL;
}

static void second_sent(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	const struct payload *psa = wire_find(sa->step->in.first, PAYLOAD_V1_SA);
	const struct v1_proposal *p = &psa->u.sa1.p[q->proposal];
	uint8_t spi[4];
	struct writer w = writer_of(spi, sizeof(spi));
	bool ok;

	knl_req_free(arg);
	if (err) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, "the data plane refused it");
		return;
	}
	child_mark(q->child, CHILD_PART_IN);
	write_u32(&w, q->child->spi_in);
	ok = v1_out(sa, x, V1_HASH_2) &&
	    v1_add_choice(sa, &sa->step->out, p, &p->t[q->transform], cy_slice(spi, 4)) &&
	    quick_add_rest(sa, q, quick_nr(q));
	if (ok && q->with_ids)
		ok = v1_add_ts(sa, &q->id_r) && v1_add_ts(sa, &q->id_l);
	ok = ok && v1_add_natoa(sa, &sa->step->out, q->child);
	if (!ok || v1_send(sa, x, V1_HASH_2, quick_ni(q), none, true)) {
		quick_fail(sa, x, "its second message could not be made");
		return;
	}
	v1_step_end(sa);
}

static void second_install(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	struct knl_req *r;

	if (!err && k)
		memcpy(q->ke_pub, k->pub, k->alg->public_len);
	err = quick_install_req(sa, q, k, err, CHILD_PART_IN, &r);
	if (err) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, err_text(err));
		return;
	}
	ike_kernel(sa, r, second_sent);
}

static void no_ts(struct ike_sa *sa, const struct cy_ts *l, const struct cy_ts *r, char *why, size_t cap)
{
	struct cy_ts ours[V1_TS_MAX], theirs[V1_TS_MAX];
	size_t n_l = v1_local_ts(sa, sa->conn, false, ours), n_r = v1_remote_ts(sa, sa->conn, false, theirs);
	char a[TS_STR_MAX] = "nothing", b[TS_STR_MAX] = "nothing", c[TS_STR_MAX], d[TS_STR_MAX];

	if (n_l)
		ts_str(&ours[0], a);
	if (n_r)
		ts_str(&theirs[0], b);
	snprintf(why, cap,
	    "traffic selectors do not meet: connection %.40s has %.50s === %.50s, the peer wants "
	    "%.50s === %.50s",
	    sa->conn->name, a, b, ts_str(l, c), ts_str(r, d));
}

void quick_first(struct ike_sa *sa, struct v1_exchange *x)
{
	const struct payload *in = sa->step->in.first, *psa = wire_find(in, PAYLOAD_V1_SA),
	                     *no = wire_find(in, PAYLOAD_V1_NONCE), *ke = wire_find(in, PAYLOAD_V1_KE);
	const struct v1_transform *t;
	const struct v1_proposal *p = NULL;
	struct config *config;
	struct conn *conn;
	struct cy_ts l, r, said_l, said_r;
	char why[320] = "", theirs[256];
	bool hosts;
	struct child_sa *old;
	struct quick *q;
	uint8_t encap = 0;
	struct ike_ke *k;

	if (!v1_hash_ok(sa, x, V1_HASH_1, none, none)) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	v1_accept(sa);
	q = quick_new(sa, x);
	/* who sets the bit waits for the other one in its turn: it gets the fourth message */
	x->commit = sa->shard->d->tune.ikev1_commit || sa->step->pkt->h.flags & V1_FLAG_COMMIT;
	if (!q || sa->state != IKE_ESTABLISHED || !psa || !no) {
		refuse(sa, x, V1N_INVALID_PAYLOAD_TYPE,
		    psa && no ? "the IKE_SA is being closed" : "the request lacks SA or nonce");
		return;
	}
	if (!asked(sa, q, &l, &r)) {
		refuse(sa, x, V1N_INVALID_ID_INFORMATION, "its identities are no addresses");
		return;
	}
	said_l = l;
	said_r = r;
	hosts = wants_udp_transport(psa) && v1_natoa_hosts(sa, in, &l, &r);
	config = daemon_config(sa->shard->d);
	conn = find_conn(sa, config, &l, &r, &said_r, q);
	if (conn)
		q->child = child_new(sa, conn);
	config_unref(config);
	if (!q->child) {
		if (!conn)
			no_ts(sa, &l, &r, why, sizeof(why));
		refuse(sa, x, V1N_INVALID_ID_INFORMATION, conn ? "out of memory" : why);
		return;
	}
	conn = q->child->conn;
	q->id_l = hosts ? v1_with_addrs(&said_l, &q->l) : q->l;
	q->id_r = hosts ? v1_with_addrs(&said_r, &q->r) : q->r;
	t = choose_suite(sa, q, psa, conn, &p, &encap);
	if (!t) {
		snprintf(why, sizeof(why), "no common ESP proposal with connection %.40s: theirs %.200s",
		    conn->name, v1_offers_str(&psa->u.sa1, true, theirs, sizeof(theirs)));
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, why);
		return;
	}
	q->proposal = (uint8_t)(p - psa->u.sa1.p);
	q->transform = (uint8_t)(t - p->t);
	q->child->mode = encap == 2 || encap == 4 ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL;
	q->child->encap = encap > 2;
	if (q->child->mode == CY_MODE_TRANSPORT && !v1_can_transport(sa, conn)) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, "the peer wants transport mode");
		return;
	}
	child_set_spi_out(q->child, quick_spi(p));
	q->n_ni = no->u.nonce1.n;
	memcpy(q->ni, no->u.nonce1.p, q->n_ni);
	q->n_nr = V1_NONCE_LEN;
	sa->shard->d->env->random(sa->shard->d->env, q->nr, q->n_nr);
	if (child_set_ts(q->child, &q->l, 1, &q->r, 1)) {
		refuse(sa, x, V1N_NO_PROPOSAL_CHOSEN, "out of memory");
		return;
	}
	if (!child_claim(q->child, why, sizeof(why))) {
		refuse(sa, x, V1N_INVALID_ID_INFORMATION, why);
		return;
	}
	old = quick_same_traffic(sa, q->child);
	if (old) {
		q->old_id = old->id;
		child_set_rekeys(q->child, old);
		q->child->reqid = old->reqid;
	}
	if (!q->child->suite.ke) {
		second_install(sa, NULL, CY_OK);
		return;
	}
	q->ke = crypto_ke(sa->shard->d->crypto, q->child->suite.ke);
	k = q->ke && ke ? ike_ke_new(q->ke, NULL, ke->u.ke1) : NULL;
	if (!k) {
		refuse(
		    sa, x, V1N_INVALID_KEY_INFORMATION, "its KE payload is missing or of an unknown group");
		return;
	}
	ike_run(sa, ike_ke_slow(q->ke), ike_ke_run, second_install, ike_ke_free, k);
}

/* Whoever does not expect it drops it. Lost, it comes again when the third is repeated. */
static void send_connected(struct ike_sa *sa, struct v1_exchange *x, const struct child_sa *c)
{
	uint8_t spi[4];
	struct writer w = writer_of(spi, sizeof(spi));

	write_u32(&w, c->spi_in);
	if (v1_out(sa, x, V1_HASH_1) &&
	    v1_add_notify(sa, V1N_CONNECTED, PROTO_ESP, cy_slice(spi, sizeof(spi)), none))
		(void)!v1_send(sa, x, V1_HASH_1, none, none, false);
}

static void third_installed(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v1_exchange *x = v1_current(sa);
	struct quick *q = x->state;
	struct child_sa *c = q->child, *old = q->old_id ? child_by_id(sa, q->old_id) : NULL;

	knl_req_free(arg);
	q->child = NULL;
	child_adopt(sa, c);
	if (err) {
		ike_note(sa, LOG_CHD, CY_LOG_WARN, "the data plane refused the CHILD_SA: %s", err_text(err));
		quick_delete_there(sa, c);
	} else {
		child_mark(c, CHILD_PART_OUT | CHILD_PART_POLICIES);
		child_up(c);
		if (x->commit)
			send_connected(sa, x, c);
		if (old && old->state != CHILD_REKEYED)
			quick_retire(sa, old, c->id, false);
	}
	v1_exchange_finish(x);
	step_end(sa);
}

/* The initiator has it all: now it may be sent on. */
void quick_third(struct ike_sa *sa, struct v1_exchange *x)
{
	struct quick *q = x->state;
	struct knl_req *r;

	if (!v1_hash_ok(sa, x, V1_HASH_3, quick_ni(q), quick_nr(q))) {
		SA_COUNT(sa->shard->m, drop_bad_icv);
		v1_drop(sa, "its HASH is wrong");
		return;
	}
	v1_accept(sa);
	x->commit |= !!(sa->step->pkt->h.flags & V1_FLAG_COMMIT);
	r = child_install_req(q->child, CHILD_PART_OUT | CHILD_PART_POLICIES);
	if (!r) {
		quick_fail(sa, x, "out of memory");
		return;
	}
	ike_kernel(sa, r, third_installed);
}
