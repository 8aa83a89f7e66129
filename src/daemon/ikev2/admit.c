/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which first requests may make an IKE_SA: nothing is asked for while there is little going on, then a cookie (RFC 7296, 2.6),
 * then a puzzle with it (RFC 8019); and limits for each peer and for all. Nothing is kept of who was told to come again.
 */
#include "daemon/ikev2/ikev2.h"

#define HARDER_MAX      6
#define LET_THROUGH_ONE 16 /* RFC 8019, 7.1.4: of those who know no puzzles, one in so many is served */

struct demand {
	bool cookie;
	struct v2_puzzle puzzle;
};

static struct demand demand_of(struct sa_shard *s, const struct net_packet *p, const struct payload *first)
{
	const struct tuning *t = &s->d->tune;
	uint64_t total = SA_READ(s->m, half_open);
	uint32_t here = half_open_count(s->m->half_open, &p->src, false);
	struct demand d = {.cookie = total >= t->cookie_threshold_total || here >= t->cookie_threshold ||
	        (t->block_threshold && here >= t->block_threshold)};

	if (t->puzzle_threshold && total >= t->puzzle_threshold) {
		d.cookie = true;
		d.puzzle.prf = v2_puzzle_prf(s->d->crypto, wire_find(first, PAYLOAD_SA));
		if (d.puzzle.prf) {
			d.puzzle.bits = t->puzzle_bits;
			for (uint64_t i = total / t->puzzle_threshold;
			     i > 1 && d.puzzle.bits < t->puzzle_bits + HARDER_MAX; i /= 2)
				d.puzzle.bits++;
		}
	}
	return d;
}

static void tell(struct sa_shard *s, const struct net_packet *p, struct cy_slice ni, struct v2_puzzle puzzle)
{
	uint8_t cookie[64], set[3] = {(uint8_t)(puzzle.prf >> 8), (uint8_t)puzzle.prf, puzzle.bits};
	size_t n = v2_cookie_make(s->m, p, ni, puzzle, cookie);
	struct message m;
	struct arena a;
	bool ok;

	arena_init(&a, 4096);
	message_init(&m, &p->h);
	ok = message_notify(&a, &m, 0, N_COOKIE, cy_slice(NULL, 0), cy_slice(cookie, n));
	/* RFC 8019, 8.1: PRF and difficulty */
	if (ok && puzzle.bits)
		ok = message_notify(&a, &m, 0, N_PUZZLE, cy_slice(NULL, 0), cy_slice(set, sizeof(set)));
	if (ok) {
		v2_answer_stray(s, p, 0, &m);
		SA_COUNT(s->m, cookies_sent);
		if (puzzle.bits)
			SA_COUNT(s->m, puzzles_sent);
	}
	arena_fini(&a);
}

/* A cookie came back: with its puzzle solved, when there was one and one is still asked for? */
static bool puzzle_passed(struct sa_shard *s, const struct payload *first, struct cy_slice cookie,
    struct v2_puzzle given, const struct demand *d)
{
	const struct payload *ps = wire_find(first, PAYLOAD_PS);

	if (!d->puzzle.bits)
		return true;
	if (given.bits && !ps && env_rand_below(s->d->env, LET_THROUGH_ONE) == 0) {
		SA_COUNT(s->m, puzzles_let_through);
		return true;
	}
	/* the one that was set counts, though it has become harder meanwhile */
	if (given.bits && ps && v2_puzzle_solved(s->d->crypto, given, cookie, ps->u.puzzle)) {
		SA_COUNT(s->m, puzzles_ok);
		return true;
	}
	if (ps)
		SA_COUNT(s->m, puzzles_bad);
	return false;
}

bool v2_admit(struct sa_shard *s, const struct net_packet *p, const struct payload *first, bool *out_proven)
{
	const struct tuning *t = &s->d->tune;
	const struct cy_ke_alg *ke = crypto_ke(s->d->crypto, wire_find(first, PAYLOAD_KE)->u.ke.group);
	struct demand d = demand_of(s, p, first);
	struct cy_slice ni = wire_find(first, PAYLOAD_NONCE)->u.nonce, cookie = {NULL, 0};
	struct v2_puzzle given;
	bool proven = false;

	if (sa_pool_is_behind(s, p, ke && ike_ke_slow(ke)))
		return false;
	if (first->type == PAYLOAD_NOTIFY && first->u.notify.type == N_COOKIE)
		cookie = first->u.notify.data;
	if (d.cookie) {
		if (cookie.n && v2_cookie_valid(s->m, p, ni, cookie, &given)) {
			SA_COUNT(s->m, cookies_ok);
			proven = true;
		} else if (cookie.n) {
			SA_COUNT(s->m, cookies_bad);
		}
		if (!proven || !puzzle_passed(s, first, cookie, given, &d)) {
			tell(s, p, ni, d.puzzle);
			return false;
		}
		if (t->block_threshold &&
		    half_open_count(s->m->half_open, &p->src, true) >= t->block_threshold) {
			SA_COUNT(s->m, drop_blocked);
			return false;
		}
	}
	if (t->half_open_limit && SA_READ(s->m, half_open) >= t->half_open_limit && !sa_make_room(s)) {
		SA_COUNT(s->m, drop_half_open_limit);
		return false;
	}
	*out_proven = proven;
	return true;
}
