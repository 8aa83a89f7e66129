/* SPDX-License-Identifier: Apache-2.0 */
/* IKE_SA_INIT for both roles: RFC 7296, 1.2, 2.6, 2.7, 2.23; RFC 7383, 2.3; RFC 7427, 4. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev2/ikev2.h"
#include "daemon/policy/select.h"
#include "libcore/base/addr.h"

#define MAX_RESTARTS 5 /* COOKIE and INVALID_KE_PAYLOAD answers we follow */

/* --- pieces ------------------------------------------------------------------------------------------------------------- */

bool v2_ike_proposals(
    struct ike_sa *sa, const struct conn *c, struct arena *a, struct proposal **out, size_t *out_n)
{
	struct proposal_list list = {NULL, 0};
	size_t kept = 0;

	if (c->ike.n && proposal_list_dup(&list, &c->ike))
		return false;
	if ((!c->ike.n || !c->ike_strict) && proposal_defaults(sa->shard->d->crypto, PROTO_IKE, &list)) {
		proposal_list_fini(&list);
		return false;
	}
	*out = arena_dup(a, list.p, list.n * sizeof(*list.p));
	for (size_t i = 0; *out && i < list.n; i++)
		if (proposal_restrict(sa->shard->d->crypto, &(*out)[i])) {
			(*out)[kept] = (*out)[i];
			kept++;
			(*out)[kept - 1].number = (uint8_t)kept;
			(*out)[kept - 1].spi_len = 0;
		}
	*out_n = kept;
	proposal_list_fini(&list);
	return *out && kept;
}

bool v2_add_hashes(struct ike_sa *sa, struct message *m)
{
	static const uint8_t hashes[] = {
	    0, CY_HASH_SHA2_256, 0, CY_HASH_SHA2_384, 0, CY_HASH_SHA2_512, 0, CY_HASH_IDENTITY};

	return message_notify(&sa->step->a, m, 0, N_SIGNATURE_HASH_ALGORITHMS, cy_slice(NULL, 0),
	    cy_slice(hashes, sizeof(hashes)));
}

void v2_read_hashes(struct ike_sa *sa, const struct payload *first)
{
	const struct payload *p = wire_find_notify(first, N_SIGNATURE_HASH_ALGORITHMS);

	if (!p)
		return;
	for (size_t i = 0; i + 1 < p->u.notify.data.n; i += 2)
		if (p->u.notify.data.p[i] == 0 && p->u.notify.data.p[i + 1] < 32)
			sa->peer_hashes |= 1u << p->u.notify.data.p[i + 1];
}

static bool remember(struct cy_buf *to, struct cy_slice from)
{
	free(to->p);
	to->p = malloc(from.n);
	to->n = to->p ? from.n : 0;
	if (to->p)
		memcpy(to->p, from.p, from.n);
	return to->p != NULL;
}

static bool add_extras(struct ike_sa *sa, struct message *m)
{
	bool ok = v2_natd_add(sa, m) && v2_add_hashes(sa, m);

	if (ok && sa->conn->fragmentation != FRAG_NO)
		ok = message_notify(&sa->step->a, m, 0, N_IKEV2_FRAGMENTATION_SUPPORTED, cy_slice(NULL, 0),
		    cy_slice(NULL, 0));
	return ok;
}

static void read_extras(struct ike_sa *sa, const struct payload *first, const struct net_packet *p)
{
	v2_natd_check(sa, first, p);
	v2_read_hashes(sa, first);
	sa->peer_frag = wire_find_notify(first, N_IKEV2_FRAGMENTATION_SUPPORTED) != NULL;
}

/* --- initiator ------------------------------------------------------------------------------------------------------------ */

static void send_request(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v2_init *in = v2_init(sa);
	struct step *st = sa->step;
	struct proposal *props;
	size_t n;
	bool ok = !err;

	if (ok && k) {
		if (in->ke_key)
			in->ke->key_free(in->ke_key);
		in->ke = k->alg;
		in->ke_key = k->key;
		k->key = NULL;
		memcpy(in->ke_pub, k->pub, k->alg->public_len);
	}
	ike_ke_free(k);
	v2_out_header(sa, EXCHANGE_IKE_SA_INIT, false);
	if (ok && in->n_cookie)
		ok = message_notify(
		    &st->a, &st->out, 0, N_COOKIE, cy_slice(NULL, 0), cy_slice(in->cookie, in->n_cookie));
	if (ok && in->n_solution) { /* RFC 8019, 7.1.2: right after the cookie */
		struct payload *ps = message_add(&st->a, &st->out, PAYLOAD_PS);

		ok = ps != NULL;
		if (ok)
			ps->u.puzzle = cy_slice(in->solution, in->n_solution);
	}
	ok = ok && v2_ike_proposals(sa, sa->conn, &st->a, &props, &n) &&
	    message_sa(&st->a, &st->out, props, n) &&
	    message_ke(&st->a, &st->out, in->ke->id, cy_slice(in->ke_pub, in->ke->public_len)) &&
	    message_nonce(&st->a, &st->out, cy_slice(in->ni, in->n_ni)) && add_extras(sa, &st->out);
	sa->next_send = 0;
	if (!ok || exchange_send(sa, false) ||
	    !remember(&in->msg1, cy_slice(sa->request.parts[0].p, sa->request.parts[0].n))) {
		v2_fatal(sa, "the IKE_SA_INIT request could not be made: %s",
		    err ? err_text(err) : "out of memory");
		return;
	}
	step_end(sa);
}

static void make_key(struct ike_sa *sa, uint16_t group)
{
	const struct cy_ke_alg *alg = crypto_ke(sa->shard->d->crypto, group);
	struct ike_ke *k = alg ? ike_ke_new(alg, NULL, cy_slice(NULL, 0)) : NULL;

	if (!k) {
		v2_fatal(sa, "no plugin provides the key exchange %s", ke_name(group));
		return;
	}
	ike_run(sa, ike_ke_slow(alg), ike_ke_run, send_request, ike_ke_free, k);
}

void v2_init_start(struct ike_sa *sa, struct task *t)
{
	struct v2_init *in = v2_init_new(sa);
	struct proposal *props;
	char to[ADDR_STR_MAX];
	size_t n;

	(void)t;
	if (!in || !v2_ike_proposals(sa, sa->conn, &sa->step->a, &props, &n)) {
		v2_fatal(sa, "no plugin provides what ike= of connection %s asks for", sa->conn->name);
		return;
	}
	sa->state = IKE_CONNECTING;
	in->n_ni = V2_NONCE_LEN;
	sa->shard->d->env->random(sa->shard->d->env, in->ni, in->n_ni);
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "initiating IKE_SA %s[%llu] to %s", sa->conn->name,
	    (unsigned long long)sa->id, addr_str(&sa->remote, to));
	make_key(sa, proposal_first_group(props, n));
}

static void repeat(struct ike_sa *sa, uint16_t group)
{
	struct v2_init *in = v2_init(sa);

	/* the packet stays with the step until the request is out */
	if (++in->restarts > MAX_RESTARTS) {
		v2_fatal(sa, "the peer answers IKE_SA_INIT with demands without end");
		return;
	}
	if (group)
		make_key(sa, group);
	else
		send_request(sa, NULL, CY_OK);
}

static void puzzle_done(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct v2_puzzle_work *w = arg;
	struct v2_init *in = v2_init(sa);

	if (err) {
		ike_note(sa, LOG_IKE, CY_LOG_WARN, "the puzzle was not solved: %s", err_text(err));
	} else {
		memcpy(in->solution, w->solution, sizeof(in->solution));
		in->n_solution = sizeof(in->solution);
		SA_COUNT(sa->shard->m, puzzles_solved);
	}
	free(w);
	repeat(sa, 0);
}

/* RFC 8019, 7.1.2. A puzzle that is too hard is not solved: then the peer may still serve us, as one that knows no puzzles. */
static void on_puzzle(struct ike_sa *sa, const struct payload *puzzle)
{
	struct v2_init *in = v2_init(sa);
	struct reader r = reader_of(puzzle->u.notify.data);
	struct v2_puzzle_work *w = calloc(1, sizeof(*w));
	struct prf_info prf;

	if (!w) {
		v2_fatal(sa, "out of memory");
		return;
	}
	w->c = sa->shard->d->crypto;
	w->puzzle.prf = read_u16(&r);
	w->puzzle.bits = read_u8(&r);
	w->start = env_rand64(sa->shard->d->env);
	w->n_cookie = in->n_cookie;
	memcpy(w->cookie, in->cookie, in->n_cookie);
	if (w->puzzle.bits > sa->shard->d->tune.puzzle_bits_max || !crypto_prf(w->c, w->puzzle.prf, &prf)) {
		ike_note(sa, LOG_IKE, CY_LOG_WARN, "the peer sets a puzzle of %u bits, more than we solve",
		    w->puzzle.bits);
		free(w);
		repeat(sa, 0);
		return;
	}
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "the peer sets a puzzle of %u bits", w->puzzle.bits);
	ike_run(sa, true, v2_puzzle_solve, puzzle_done, free, w);
}

static void on_cookie(struct ike_sa *sa, const struct payload *cookie)
{
	struct v2_init *in = v2_init(sa);
	const struct payload *puzzle = wire_find_notify(sa->step->in.first, N_PUZZLE);

	memcpy(in->cookie, cookie->u.notify.data.p, cookie->u.notify.data.n);
	in->n_cookie = cookie->u.notify.data.n;
	in->n_solution = 0;
	if (puzzle && puzzle->u.notify.data.n == 3)
		on_puzzle(sa, puzzle);
	else
		repeat(sa, 0);
}

static void on_invalid_ke(struct ike_sa *sa, const struct payload *n)
{
	struct reader r = reader_of(n->u.notify.data);
	uint16_t group = read_u16(&r);
	struct proposal *props;
	size_t n_props;

	if (r.bad || !v2_ike_proposals(sa, sa->conn, &sa->step->a, &props, &n_props) ||
	    !proposal_has_group(props, n_props, group)) {
		v2_fatal(sa, "the peer wants the key exchange %s, which we did not offer", ke_name(group));
		return;
	}
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "peer didn't accept %s, it requested %s",
	    ke_name(v2_init(sa)->ke->id), ke_name(group));
	repeat(sa, group);
}

static void on_init_error(struct ike_sa *sa, const struct payload *err)
{
	struct proposal *props;
	char ours[256] = "";
	size_t n;

	if (err->u.notify.type == N_NO_PROPOSAL_CHOSEN &&
	    v2_ike_proposals(sa, sa->conn, &sa->step->a, &props, &n))
		snprintf(ours, sizeof(ours), ": it accepts none of ours, the first is %.180s",
		    proposal_str(&props[0], (char[200]){0}, 200));
	v2_fatal(sa, "the peer refused IKE_SA_INIT with %s%s",
	    name_or_number(notify_names, err->u.notify.type), ours);
}

static void to_auth(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v2_init *in = v2_init(sa);
	struct task *t;

	if (!err)
		err = v2_derive(sa, NULL, cy_slice(k->secret, k->n_secret), cy_slice(in->ni, in->n_ni),
		    cy_slice(in->nr, in->n_nr));
	ike_ke_free(k);
	in->ke_key = NULL;
	if (err) {
		v2_fatal(sa, "the key exchange failed: %s", err_text(err));
		return;
	}
	if (in->peer_natt && (sa->nat_here || sa->nat_there || sa->encap_forced) && !sa->natt) {
		sa->natt = true;
		sa->local.port = sa->shard->d->tune.port_natt;
		sa->remote.port = sa->shard->d->tune.port_natt;
	}
	t = sa->task; /* becomes the IKE_AUTH task and keeps what is to be brought up */
	t->kind = TASK_AUTH;
	sa->task = NULL;
	list_push_front(&sa->tasks, &t->node);
	step_end(sa);
}

/*
 * Nobody has authenticated it, and it leads nowhere: the answer to our present request may still come (2.21.1). A duplicate of a
 * demand that was met is among it; to meet it twice would change the key that a responder already answers.
 */
bool v2_init_useless(struct ike_sa *sa, char *why, size_t cap)
{
	struct v2_init *in = v2_init(sa);
	const struct payload *p;
	struct proposal *props;
	struct reader r;
	uint16_t group;
	size_t n;

	if ((p = wire_find_notify(sa->step->in.first, N_COOKIE))) {
		struct cy_slice c = p->u.notify.data;

		if (c.n && c.n <= sizeof(in->cookie) && !cy_slice_eq(c, cy_slice(in->cookie, in->n_cookie)))
			return false;
		snprintf(why, cap, "it asks for a cookie that we sent already, or of a bad length");
		return true;
	}
	if ((p = wire_find_notify(sa->step->in.first, N_INVALID_KE_PAYLOAD))) {
		r = reader_of(p->u.notify.data);
		group = read_u16(&r);
		if (!r.bad && group != in->ke->id &&
		    v2_ike_proposals(sa, sa->conn, &sa->step->a, &props, &n) &&
		    proposal_has_group(props, n, group))
			return false;
		snprintf(why, cap, "it asks for the key exchange %s, which we sent already or do not offer",
		    ke_name(group));
		return true;
	}
	return false;
}

void v2_init_response(struct ike_sa *sa)
{
	struct v2_init *in = v2_init(sa);
	struct step *st = sa->step;
	const struct payload *first = st->in.first, *p, *pke, *pni;
	struct proposal *props;
	struct ike_ke *k;
	size_t n;

	if ((p = wire_find_notify(first, N_COOKIE))) {
		on_cookie(sa, p);
		return;
	}
	if ((p = wire_find_notify(first, N_INVALID_KE_PAYLOAD))) {
		on_invalid_ke(sa, p);
		return;
	}
	if ((p = wire_find_error(first))) {
		on_init_error(sa, p);
		return;
	}
	p = wire_find(first, PAYLOAD_SA);
	pke = wire_find(first, PAYLOAD_KE);
	pni = wire_find(first, PAYLOAD_NONCE);
	if (!p || !pke || !pni || p->u.sa.n != 1 || pni->u.nonce.n > V2_NONCE_MAX || st->pkt->h.spi_r == 0) {
		v2_fatal(sa, "the peer's IKE_SA_INIT response lacks what it must have");
		return;
	}
	if (!v2_ike_proposals(sa, sa->conn, &st->a, &props, &n) ||
	    !proposal_accepts(props, n, &p->u.sa.p[0], false, &sa->suite) ||
	    sa->suite.ke != pke->u.ke.group || pke->u.ke.group != in->ke->id) {
		v2_fatal(sa, "the peer chose an IKE suite that we did not offer");
		return;
	}
	sa->spi_r = st->pkt->h.spi_r;
	in->n_nr = pni->u.nonce.n;
	memcpy(in->nr, pni->u.nonce.p, in->n_nr);
	if (!remember(&in->msg2, cy_slice(st->pkt->data, st->pkt->len))) {
		v2_fatal(sa, "out of memory");
		return;
	}
	read_extras(sa, first, st->pkt);
	in->got_certreq = wire_find(first, PAYLOAD_CERTREQ) != NULL;
	k = ike_ke_new(in->ke, in->ke_key, pke->u.ke.data);
	in->ke_key = NULL;
	if (!k) {
		v2_fatal(sa, "out of memory");
		return;
	}
	ike_run(sa, ike_ke_slow(in->ke), ike_ke_run, to_auth, ike_ke_free, k);
}

/* --- responder ------------------------------------------------------------------------------------------------------------ */

static void reply(struct ike_sa *sa, void *arg, enum cy_err err)
{
	struct ike_ke *k = arg;
	struct v2_init *in = v2_init(sa);
	struct step *st = sa->step;
	struct proposal *p = arena_alloc(&st->a, sizeof(*p));
	bool ok = p != NULL;

	if (err || !ok) {
		ike_ke_free(k);
		v2_fatal(sa, "the key exchange failed: %s", err_text(err ? err : CY_E_NOMEM));
		return;
	}
	v2_out_header(sa, EXCHANGE_IKE_SA_INIT, true);
	err = v2_derive(sa, NULL, cy_slice(k->secret, k->n_secret), cy_slice(in->ni, in->n_ni),
	    cy_slice(in->nr, in->n_nr));
	proposal_from_suite(&sa->suite, PROTO_IKE, p);
	p->number = (uint8_t)(uintptr_t)st->ctx;
	ok = !err && message_sa(&st->a, &st->out, p, 1) &&
	    message_ke(&st->a, &st->out, k->alg->id,
	        cy_slice(arena_dup(&st->a, k->pub, k->alg->public_len), k->alg->public_len)) &&
	    message_nonce(&st->a, &st->out, cy_slice(in->nr, in->n_nr)) && add_extras(sa, &st->out) &&
	    v2_add_certreq(sa, &st->out);
	ike_ke_free(k);
	if (!ok || exchange_respond(sa, false) ||
	    !remember(&in->msg2, cy_slice(sa->response.parts[0].p, sa->response.parts[0].n))) {
		v2_fatal(sa, "the IKE_SA_INIT response could not be made");
		return;
	}
	sa->next_recv = 1;
	step_end(sa);
}

/* Refuse without keeping anything. */
static void refuse(struct ike_sa *sa, uint16_t notify, struct cy_slice data, const char *why)
{
	struct step *st = sa->step;

	v2_out_header(sa, EXCHANGE_IKE_SA_INIT, true);
	st->out.h.spi_r = 0;
	if (message_notify(&st->a, &st->out, 0, notify, cy_slice(NULL, 0), data))
		(void)!exchange_respond(sa, false);
	if (notify == N_INVALID_KE_PAYLOAD) { /* not a failure: the peer comes again */
		ike_sa_set_conn(sa, NULL);
		ike_sa_destroy(sa, NULL);
	} else {
		v2_fatal(sa, "%s", why);
	}
}

/* The connections for these addresses whose IKE proposals allow what the peer offers; the first decides the suite. */
static bool choose(
    struct ike_sa *sa, const struct payload *psa, uint16_t ke_sent, size_t *out_index, char *why, size_t cap)
{
	struct v2_init *in = v2_init(sa);
	struct conn *cands[V2_CANDS_MAX];
	struct proposal *props;
	struct suite suite;
	size_t n_props, index,
	    n = conn_candidates(sa->config->index, &sa->local, &sa->remote, CONN_IKEV2, cands, V2_CANDS_MAX);
	char a[ADDR_STR_MAX], b[ADDR_STR_MAX], one[256] = "";

	in->cands_cut = n == V2_CANDS_MAX;
	if (n == 0)
		snprintf(why, cap, "no connection allows %s to %s", addr_str(&sa->remote, a),
		    addr_str(&sa->local, b));
	for (size_t i = 0; i < n; i++) {
		if (!v2_ike_proposals(sa, cands[i], &sa->step->a, &props, &n_props))
			continue;
		if (proposal_select(props, n_props, psa->u.sa.p, psa->u.sa.n, false, ke_sent, false, &suite,
		        &index, one, sizeof(one))) {
			if (!in->n_cands)
				snprintf(why, cap, "no common IKE proposal with connection %.64s: %s",
				    cands[i]->name, one);
			continue;
		}
		if (!in->n_cands) {
			sa->suite = suite;
			*out_index = index;
			ike_sa_set_conn(sa, cands[i]);
		} else if (memcmp(&suite, &sa->suite, sizeof(suite)) != 0) {
			/* fits as well when this very suite is one it allows */
			struct proposal chosen;

			proposal_from_suite(&sa->suite, PROTO_IKE, &chosen);
			if (!proposal_accepts(props, n_props, &chosen, false, &suite))
				continue;
		}
		in->cands[in->n_cands++] = conn_ref(cands[i]);
	}
	return in->n_cands != 0;
}

void v2_init_request(struct sa_shard *s, struct step *st, const struct payload *first, bool proven)
{
	const struct payload *psa = wire_find(first, PAYLOAD_SA), *pke = wire_find(first, PAYLOAD_KE),
	                     *pni = wire_find(first, PAYLOAD_NONCE);
	struct ike_sa *sa = ike_sa_new(s, 2, false);
	struct v2_init *in = sa ? v2_init_new(sa) : NULL;
	const struct cy_ke_alg *alg;
	char why[320] = "", from[ADDR_STR_MAX];
	uint8_t group[2];
	size_t index = 0;
	struct ike_ke *k;

	if (!in || pni->u.nonce.n > V2_NONCE_MAX) {
		if (in)
			SA_COUNT(s->m, drop_syntax);
		else
			SA_COUNT(s->m, drop_half_open_limit);
		if (sa)
			ike_sa_destroy(sa, NULL);
		step_free(st);
		return;
	}
	sa->step = st;
	sa->local = st->pkt->dst;
	sa->remote = st->pkt->src;
	sa->natt = st->pkt->natt;
	sa->spi_i = st->pkt->h.spi_i;
	sa->spi_r = net_spi_new(s->d->net, s->d->env, s->index);
	sa->state = IKE_CONNECTING;
	ike_sa_index(sa);
	ike_sa_half_open(sa, proven);
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "%s is initiating an IKE_SA", addr_str(&sa->remote, from));
	if (!choose(sa, psa, pke->u.ke.group, &index, why, sizeof(why))) {
		refuse(sa, N_NO_PROPOSAL_CHOSEN, cy_slice(NULL, 0), why);
		return;
	}
	if (sa->suite.ke != pke->u.ke.group) {
		/* RFC 7296, 1.3: tell which group we want, and keep no state */
		group[0] = (uint8_t)(sa->suite.ke >> 8);
		group[1] = (uint8_t)sa->suite.ke;
		refuse(sa, N_INVALID_KE_PAYLOAD, cy_slice(group, 2), "");
		return;
	}
	in->n_ni = pni->u.nonce.n;
	memcpy(in->ni, pni->u.nonce.p, in->n_ni);
	in->n_nr = V2_NONCE_LEN;
	s->d->env->random(s->d->env, in->nr, in->n_nr);
	read_extras(sa, first, st->pkt);
	in->got_certreq = wire_find(first, PAYLOAD_CERTREQ) != NULL;
	alg = crypto_ke(s->d->crypto, sa->suite.ke);
	k = alg && remember(&in->msg1, cy_slice(st->pkt->data, st->pkt->len))
	    ? ike_ke_new(alg, NULL, pke->u.ke.data)
	    : NULL;
	if (!k) {
		v2_fatal(sa, "out of memory");
		return;
	}
	st->ctx = (void *)(uintptr_t)psa->u.sa.p[index].number;
	ike_run(sa, ike_ke_slow(alg), ike_ke_run, reply, ike_ke_free, k);
}
