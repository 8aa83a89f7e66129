/* SPDX-License-Identifier: Apache-2.0 */
/* What main and aggressive mode share: the suite, the pre-shared key, identities, and what comes after. RFC 2409, 5. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/lease.h"
#include "daemon/policy/select.h"
#include "daemon/sa/about.h"
#include "libcore/base/addr.h"

/* A replaced IKE_SA stays so long for a peer that has not heard yet that there is another: several retransmissions, or half of its life. */
#define CLOSE_NS (60 * NS_PER_S)

bool v1_remember(struct cy_buf *to, struct cy_slice from)
{
	free(to->p);
	to->p = malloc(from.n ? from.n : 1);
	to->n = to->p ? from.n : 0;
	if (to->p && from.n)
		memcpy(to->p, from.p, from.n);
	return to->p != NULL;
}

/* What the connection wants when `initiator` says whether we begin; 0: IKEv1 cannot do it. */
uint16_t v1_auth_attr(struct ike_sa *sa, struct conn *c, bool initiator)
{
	const struct conn_end *i = initiator ? &c->local : &c->remote,
	                      *r = initiator ? &c->remote : &c->local;
	enum conn_auth a, b;

	if (!i->n_auth || !r->n_auth)
		return 0;
	a = i->auth[0].method;
	b = r->auth[0].method;
	if (a == AUTH_XAUTH && b == AUTH_PUBKEY)
		return V1_AUTH_HYBRID_INIT_RSA;
	if (b == AUTH_XAUTH && a == AUTH_PUBKEY)
		return V1_AUTH_HYBRID_RESP_RSA;
	if (a != b)
		return 0;
	if (a == AUTH_PSK)
		return i->xauth_client ? V1_AUTH_XAUTH_INIT_PSK
		    : r->xauth_client  ? V1_AUTH_XAUTH_RESP_PSK
		                       : V1_AUTH_PSK;
	if (a != AUTH_PUBKEY)
		return 0;
	if (i->xauth_client || r->xauth_client)
		return i->xauth_client ? V1_AUTH_XAUTH_INIT_RSA : V1_AUTH_XAUTH_RESP_RSA;
	return v1_signature_attr(sa, c);
}

/* Type, protocol and port (of any), data: RFC 2407, 4.6.2 */
struct cy_slice v1_id_body(struct arena *a, const struct ident *id)
{
	uint8_t *p = arena_alloc(a, 4u + id->n);

	if (!p)
		return cy_slice(NULL, 0);
	p[0] = (uint8_t)id->type;
	p[1] = p[2] = p[3] = 0;
	if (id->n)
		memcpy(p + 4, id->p, id->n);
	return cy_slice(p, 4u + id->n);
}

/* Initiator: is the peer who it should be? False: the SA is gone. */
bool v1_expected_id(struct ike_sa *sa)
{
	const struct ident *want = &sa->conn->remote.auth[0].id;
	char a[IDENT_STR_MAX], b[IDENT_STR_MAX];

	if (want->type == ID_ANY || ident_match(want, &sa->peer_id))
		return true;
	ike_sa_fail(sa, "the peer says it is %.110s, connection %.20s expects %.110s",
	    ident_str(&sa->peer_id, a), sa->conn->name, ident_str(want, b));
	v1_notify(sa, V1N_INVALID_ID_INFORMATION, PROTO_IKE, cy_slice(NULL, 0), cy_slice(NULL, 0));
	v1_fatal(sa, "%s", sa->why);
	return false;
}

/* uniqueids=keep: who is here stays. False: the SA is gone. */
bool v1_may_stay(struct ike_sa *sa)
{
	if (sa->conn->unique != UNIQUE_KEEP || sa->got_initial_contact || unique_twin(sa) ||
	    !unique_known(sa->shard->m, &sa->my_id, &sa->peer_id, NULL))
		return true;
	v1_notify(sa, V1N_AUTHENTICATION_FAILED, PROTO_IKE, cy_slice(NULL, 0), cy_slice(NULL, 0));
	v1_fatal(sa, "the same identity is connected already (uniqueids=keep)");
	return false;
}

/*
 * In main mode it is chosen before any identity is known: by those of the connection, or the addresses (RFC 2409, 5.4); in aggressive mode by
 * the peer's identity.
 */
static bool psk_of(struct ike_sa *sa, const struct conn *c, struct cy_slice *out, char *why, size_t cap)
{
	const struct ident *want[2] = {
	    &c->local.auth[0].id, sa->peer_id.type != ID_ANY ? &sa->peer_id : &c->remote.auth[0].id};
	const struct cy_addr *at[2] = {&sa->local, &sa->remote};
	struct ident ids[2] = {{0, 0, NULL}, {0, 0, NULL}};
	char a[IDENT_STR_MAX], b[IDENT_STR_MAX];
	bool ok = true;

	for (int i = 0; i < 2; i++)
		if (want[i]->type == ID_ANY ? ident_from_addr(&ids[i], at[i]) : ident_dup(&ids[i], want[i]))
			ok = false;
	if (ok && !creds_find_psk(sa->config->creds, &ids[0], &ids[1], &sa->local, &sa->remote, out)) {
		snprintf(why, cap, "no pre-shared key for %.90s and %.90s in ipsec.secrets",
		    ident_str(&ids[0], a), ident_str(&ids[1], b));
		ok = false;
	}
	ident_fini(&ids[0]);
	ident_fini(&ids[1]);
	return ok;
}

bool v1_pick_psk(struct ike_sa *sa, struct cy_slice *out, char *why, size_t cap)
{
	return psk_of(sa, sa->conn, out, why, cap);
}

const struct conn *v1_other_psk(struct ike_sa *sa)
{
	struct v1 *v = v1_of(sa);
	struct cy_slice ours, other;
	char why[256];

	if (v->aggressive || !psk_of(sa, sa->conn, &ours, why, sizeof(why)))
		return NULL;
	for (size_t i = 0; i < v->n_cands; i++)
		if (v->cands[i] != sa->conn && psk_of(sa, v->cands[i], &other, why, sizeof(why)) &&
		    (other.n != ours.n || !mem_eq_ct(other.p, ours.p, ours.n)))
			return v->cands[i];
	return NULL;
}

/* --- the suite ----------------------------------------------------------------------------------------------------------- */

static bool same(const struct suite *a, const struct suite *b)
{
	uint16_t bits_a = a->key_bits, bits_b = b->key_bits;

	if (a->encr == CY_ENCR_AES_CBC || a->encr == CY_ENCR_CAMELLIA_CBC) { /* 128 when not said */
		bits_a = bits_a ? bits_a : 128;
		bits_b = bits_b ? bits_b : 128;
	}
	return a->encr == b->encr && bits_a == bits_b && a->prf == b->prf && a->ke == b->ke;
}

static const struct v1_transform *find_transform(
    const struct v1_sa *sa, const struct suite *s, uint16_t auth, const struct v1_proposal **out_p)
{
	struct v1_offer o;

	for (size_t i = 0; i < sa->n; i++)
		for (size_t j = 0; sa->p[i].proto == PROTO_IKE && j < sa->p[i].n; j++)
			if (v1_read_ike(&sa->p[i].t[j], &o) && (!auth || o.auth == auth) &&
			    same(s, &o.suite)) {
				*out_p = &sa->p[i];
				return &sa->p[i].t[j];
			}
	return NULL;
}

/* What the responder says when nothing fits: whether it is the way of authentication or the algorithms. */
static void explain(struct ike_sa *sa, const struct payload *psa, struct conn *c, const struct suite *ours,
    size_t n, char *why, size_t cap)
{
	char theirs[400], mine[128] = "nothing";
	struct v1_offer o = {.auth = 0};

	if (psa->u.sa1.p[0].n)
		(void)!v1_read_ike(&psa->u.sa1.p[0].t[0], &o);
	if (n && o.auth && o.auth != v1_auth_attr(sa, c, false)) {
		snprintf(why, cap, "the peer wants to authenticate with %s, connection %.64s with %s",
		    name_or_number(v1_auth_names, o.auth), c->name,
		    name_or_number(v1_auth_names, v1_auth_attr(sa, c, false)));
		return;
	}
	if (n)
		v1_suite_str(&ours[0], mine, sizeof(mine));
	snprintf(why, cap, "no common IKE proposal with connection %.40s: ours %.60s, theirs %.160s", c->name,
	    mine, v1_offers_str(&psa->u.sa1, false, theirs, sizeof(theirs)));
}

bool v1_choose_suite(struct ike_sa *sa, const struct payload *psa, const struct v1_proposal **out_p,
    const struct v1_transform **out_t, char *why, size_t cap)
{
	struct v1 *v = v1_of(sa);
	struct conn *cands[V1_CANDS_MAX];
	struct suite ours[V1_SUITES_MAX];
	char a[ADDR_STR_MAX], b[ADDR_STR_MAX];
	struct v1_offer o;
	size_t n =
	    conn_candidates(sa->config->index, &sa->local, &sa->remote, CONN_IKEV1, cands, V1_CANDS_MAX);

	if (!n)
		snprintf(why, cap, "no connection allows IKEv1 between %s and %s", addr_str(&sa->local, a),
		    addr_str(&sa->remote, b));
	for (size_t i = 0; i < n; i++) {
		uint16_t auth = v1_auth_attr(sa, cands[i], false);
		size_t n_ours = v1_ike_suites(sa, cands[i], ours, V1_SUITES_MAX);
		const struct v1_transform *t = NULL;
		const struct v1_proposal *p = NULL;

		if (!auth || cands[i]->aggressive != v->aggressive)
			continue;
		for (size_t j = 0; j < n_ours && !t; j++)
			if (!v->n_cands || same(&ours[j], &sa->suite))
				t = find_transform(&psa->u.sa1, &ours[j], auth, &p);
		if (!t) {
			if (!v->n_cands && !why[0])
				explain(sa, psa, cands[i], ours, n_ours, why, cap);
			continue;
		}
		if (!v->n_cands) {
			if (!v1_read_ike(t, &o))
				continue;
			sa->suite = o.suite;
			v->auth = o.auth;
			v->lifetime_s = o.lifetime_s;
			*out_p = p;
			*out_t = t;
			ike_sa_set_conn(sa, cands[i]);
		}
		v->cands[v->n_cands++] = conn_ref(cands[i]);
	}
	if (!v->n_cands && !why[0])
		snprintf(why, cap, "no connection for %s allows %s", addr_str(&sa->remote, a),
		    v->aggressive ? "aggressive mode" : "main mode");
	return v->n_cands != 0;
}

/* Initiator: what the peer chose must be one of ours. */
bool v1_take_suite(struct ike_sa *sa, const struct payload *psa, char *why, size_t cap)
{
	struct v1 *v = v1_of(sa);
	struct suite ours[V1_SUITES_MAX];
	size_t n = v1_ike_suites(sa, sa->conn, ours, V1_SUITES_MAX);
	struct v1_offer o;
	char text[128];

	if (psa->u.sa1.n != 1 || psa->u.sa1.p[0].n != 1 || !v1_read_ike(&psa->u.sa1.p[0].t[0], &o)) {
		snprintf(why, cap, "the peer did not choose exactly one of our proposals");
		return false;
	}
	for (size_t i = 0; i < n; i++)
		if (same(&ours[i], &o.suite) && o.auth == v->auth) {
			sa->suite = o.suite;
			v->lifetime_s = o.lifetime_s;
			return true;
		}
	snprintf(why, cap, "the peer chose %s, which we did not offer",
	    v1_suite_str(&o.suite, text, sizeof(text)));
	return false;
}

/* --- afterwards ------------------------------------------------------------------------------------------------------------ */

/* CHILD_SAs move to the IKE_SA that takes the place of theirs; what is under way in the old one may still end there. */
void v1_take_over(struct ike_sa *sa, struct ike_sa *old)
{
	struct list *n, *tmp;
	uint32_t count = 0;

	v1_quick_no_wait(old);
	list_foreach_safe (n, tmp, &old->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (c->state == CHILD_CREATED || c->state == CHILD_INSTALLING || c->state == CHILD_DELETING)
			continue;
		if (c->state == CHILD_REKEYING)
			c->state = CHILD_INSTALLED;
		child_adopt(sa, c);
		count++;
	}
	list_foreach (n, &sa->children)
		child_moved(list_entry(n, struct child_sa, node));
	if (old->n_vips && !sa->n_vips) {
		sa->vips = old->vips;
		sa->n_vips = old->n_vips;
		sa->vips_out = old->vips_out;
		old->vips_out = NULL;
		old->vips = NULL;
		old->n_vips = 0;
	}
	if (old->n_leases && !sa->n_leases) {
		leases_transfer(sa->shard->d->leases, old->id, sa->id);
		sa->leases = old->leases;
		sa->n_leases = old->n_leases;
		old->leases = NULL;
		old->n_leases = 0;
	}
	if (count)
		ike_note(sa, LOG_CHD, CY_LOG_INFO, "%u CHILD_SAs move from IKE_SA [%llu]", count,
		    (unsigned long long)old->id);
}

static struct ike_sa *predecessor(struct ike_sa *sa)
{
	struct ike_sa *old;

	if (sa->replaces)
		return sa_by_id(sa->shard, sa->replaces);
	if (sa->got_initial_contact || sa->initiator)
		return NULL;
	old = slab_get(&sa->shard->slab, unique_twin(sa));
	return old && old != sa && old->version == 1 && old->state == IKE_ESTABLISHED ? old : NULL;
}

/* Not longer than what was agreed. */
static void shorten(struct ike_sa *sa)
{
	uint64_t life = v1_of(sa)->lifetime_s * NS_PER_S, end = worker_now(sa->shard->w) + life;

	if (!life || (sa->expire_due_ns && sa->expire_due_ns <= end))
		return;
	sa->expire_due_ns = end;
	worker_timer_set(sa->shard->w, &sa->t_expire, end);
	if (!sa->rekey_due_ns || sa->rekey_due_ns < end || !sa->conn->rekey)
		return;
	sa->rekey_due_ns = end - life / 10 - env_rand_below(sa->shard->d->env, life / 10 + 1);
	worker_timer_set(sa->shard->w, &sa->t_rekey, sa->rekey_due_ns);
}

/* Does somebody have to log in? The way of authentication that was agreed says it. */
static bool wants_xauth(const struct v1 *v, bool of_initiator)
{
	return of_initiator ? v->auth == V1_AUTH_XAUTH_INIT_PSK || v->auth == V1_AUTH_XAUTH_INIT_RSA ||
	        v->auth == V1_AUTH_HYBRID_INIT_RSA
	                    : v->auth == V1_AUTH_XAUTH_RESP_PSK || v->auth == V1_AUTH_XAUTH_RESP_RSA ||
	        v->auth == V1_AUTH_HYBRID_RESP_RSA;
}

bool v1_logs_in(const struct ike_sa *sa)
{
	return wants_xauth(v1_of(sa), sa->initiator);
}

static void no_login(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_half_open);

	sa_about(sa);
	if (v1_try_again(sa))
		return;
	ike_sa_fail(sa,
	    v1_logs_in(sa) ? "the peer neither accepted nor refused the user in time (XAUTH)"
	                   : "the user did not log in in time (XAUTH)");
	ike_sa_destroy(sa, sa->why);
}

/* Somebody types a password, and a back end looks at it. */
static void await_login(struct ike_sa *sa)
{
	const struct tuning *t = &sa->shard->d->tune;

	sa->t_half_open.fn = no_login;
	worker_timer_set(sa->shard->w, &sa->t_half_open,
	    worker_now(sa->shard->w) + t->half_open_timeout_ns + t->xauth_deadline_ns);
}

void v1_phase1_done(struct ike_sa *sa, struct v1_exchange *x)
{
	struct v1 *v = v1_of(sa);

	memcpy(v->iv, x->iv, sizeof(v->iv));
	v->authenticated = true;
	if (v->early) { /* it is its turn */
		list_push(&sa->inbox, &v->early->node);
		sa->n_inbox++;
		v->early = NULL;
	}
	list_del(&sa->by_age); /* it makes no room for others while a user types a password */
	secret_fini(&v->shared);
	v1_task_park(sa, x);
	v1_exchange_finish(x);
	if (wants_xauth(v, !sa->initiator)) {
		await_login(sa);
		v1_xauth_start(sa);
	} else if (v1_logs_in(sa)) {
		await_login(sa);
		/* the server may take longer than a NAT remembers us (RFC 3948, 4) */
		ike_keepalives_start(sa);
		step_end(sa);
	} else {
		v->xauth_done = true;
		v1_established(sa);
	}
}

/*
 * Who began the new one closes the old one, but some leave that to its lifetime. Not before they have moved their CHILD_SAs, or those go
 * with it.
 */
static void close_later(struct ike_sa *old, const char *why)
{
	struct task *t = task_pending(old, TASK_IKE_DELETE, 0) ? NULL : task_new(TASK_IKE_DELETE);
	uint64_t after = CLOSE_NS, life = old->conn->ike_lifetime_s * NS_PER_S;

	if (!t)
		return;
	ike_sa_fail(old, "%s", why);
	if (life && life / 2 < after)
		after = life / 2;
	t->not_before_ns = worker_now(old->shard->w) + after;
	task_queue(old, t);
}

/* Aggressive mode ends with a message of who began it, a login with one of the server: it may be lost, and is not answered yet. */
static bool peer_knows(const struct ike_sa *sa)
{
	return !(v1_of(sa)->aggressive && sa->initiator) && !wants_xauth(v1_of(sa), !sa->initiator);
}

static void begin_phase2(struct ike_sa *sa)
{
	if (v1_config_wanted(sa) && !(v1_of(sa)->reauthenticated && sa->n_vips)) {
		if (sa->conn->modecfg_pull)
			v1_config_pull(sa);
		else /* it comes by itself */
			step_end(sa);
		return;
	}
	v1_of(sa)->ready = true;
	/* with XAUTH the client has to say first that it knows */
	if (!wants_xauth(v1_of(sa), !sa->initiator) && v1_config_push(sa))
		return;
	v1_ready(sa);
}

/*
 * What an initiator says last has no answer: the third message of aggressive mode, and XAUTH's acknowledgement. A peer that looks at
 * messages of one IKE_SA in several threads may come to the first one of phase 2 before it, and ends the IKE_SA: strongSwan's
 * "received quick mode request for unestablished IKE_SA". So that one comes a little later.
 */
static bool may_overtake(const struct ike_sa *sa)
{
	return sa->initiator && (v1_of(sa)->aggressive || v1_logs_in(sa));
}

static void on_phase2(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_half_open);

	if (sa->state != IKE_ESTABLISHED || v1_of(sa)->ready) /* an address was pushed meanwhile */
		return;
	if (sa->step || ike_busy(sa) || !step_new(sa, NULL)) {
		worker_timer_set(sa->shard->w, t, worker_now(sa->shard->w) + NS_PER_MS);
		return;
	}
	sa_about(sa);
	begin_phase2(sa);
}

void v1_established(struct ike_sa *sa)
{
	struct ike_sa *old = predecessor(sa);
	bool ours = sa->replaces != 0;
	uint64_t delay = sa->shard->d->tune.ikev1_phase2_delay_ns;

	ike_sa_established(sa);
	shorten(sa);
	if (old)
		v1_take_over(sa, old);
	v1_of(sa)->reauthenticated = ours && old;
	sa->replaces = 0;
	if (old)
		v1_of(old)->replaced = true;
	if (old && ours && peer_knows(sa))
		ike_sa_close(old, "reauthenticated");
	else if (old)
		close_later(old, ours ? "reauthenticated" : "reauthenticated by the peer");
	if (!delay || !may_overtake(sa)) {
		begin_phase2(sa);
		return;
	}
	sa->t_half_open.fn = on_phase2;
	worker_timer_set(sa->shard->w, &sa->t_half_open, worker_now(sa->shard->w) + delay);
	step_end(sa);
}

void v1_ready(struct ike_sa *sa)
{
	struct v1_exchange *x = v1_of(sa)->phase1;
	struct task *t = x ? x->task : NULL;
	struct list *n;

	v1_of(sa)->ready = true;
	if (t) { /* now it is about the CHILD_SA */
		x->task = NULL;
		list_del(&t->node);
		while ((n = list_pop(&sa->watches)))
			list_push(&t->watches, n);
		if (v1_of(sa)->reauthenticated) {
			ike_watch_done(sa, &t->watches, true, "");
			task_free(t);
		} else {
			t->kind = TASK_CHILD_CREATE;
			list_push_front(&sa->tasks, &t->node);
		}
	}
	step_end(sa);
}
