/* SPDX-License-Identifier: Apache-2.0 */
/* Which secret belongs to whom. */

#include "libcore/cred/private.h"

#include "libcore/base/dn.h"

/* Nobody but the administrator chooses what is in this map, so its hash key need not be secret. */
const uint64_t cred_hash_key[2] = {0x6379676e65742063, 0x7265646e7469616c};

bool cred_ident_is_pattern(const struct ident *id)
{
	struct dn_walk w;
	struct dn_attr a;

	switch (id->type) {
	case ID_ANY:
	case ID_IPV4_SUBNET:
	case ID_IPV6_SUBNET:
	case ID_IPV4_RANGE:
	case ID_IPV6_RANGE:
		return true;
	case ID_FQDN:
	case ID_RFC822_ADDR:
		return memchr(id->p, '*', id->n) != NULL;
	case ID_DER_ASN1_DN:
		dn_walk_init(&w, cy_slice(id->p, id->n));
		while (dn_walk_next(&w, &a))
			if (a.value.n == 1 && a.value.p[0] == '*')
				return true;
		return false;
	default:
		return false;
	}
}

/* One end of the connection: its identity and, as another name for it, its address. */
struct end {
	const struct ident *ids[2];
	size_t n;
};

/* The kinds of match, best last; within one the more specific identity of the peer wins, then of ours. */
enum {
	CLASS_NONE = 0,
	CLASS_ONE_OF_MANY, /* of several identities only one is here: charon takes it when nothing else fits */
	CLASS_NO_IDS,
	CLASS_ANY,
	CLASS_ONE_SIDE,
	CLASS_BOTH,
};

struct score {
	int class, remote, local;
};

static int match_end(const struct creds_secret *s, const struct end *end)
{
	int best = 0;

	for (size_t i = 0; i < s->n_ids; i++)
		for (size_t k = 0; k < end->n; k++) {
			int m = ident_match(&s->ids[i], end->ids[k]);
			if (m > best)
				best = m;
		}
	/* an end of which nothing is known is somebody */
	for (size_t i = 0; i < s->n_ids && end->n == 0; i++)
		if (s->ids[i].type == ID_ANY)
			best = 1;
	return best;
}

static struct score score_of(const struct creds_secret *s, const struct end *local, const struct end *remote)
{
	/* what ident_match says of ID_ANY */
	const struct ident any = {.type = ID_ANY};
	const int any_match = ident_match(&any, &any);
	struct score r = {CLASS_NONE, match_end(s, remote), match_end(s, local)};
	bool l_named = r.local > any_match, r_named = r.remote > any_match;

	if (s->n_ids == 0)
		r.class = CLASS_NO_IDS;
	else if (l_named && r_named)
		r.class = CLASS_BOTH;
	else if (s->n_ids == 1 ? l_named || r_named : (l_named && r.remote) || (r_named && r.local))
		r.class = CLASS_ONE_SIDE;
	else if (r.local && r.remote)
		r.class = CLASS_ANY;
	else if (l_named || r_named)
		r.class = CLASS_ONE_OF_MANY;
	return r;
}

static bool better(struct score a, struct score b)
{
	if (a.class != b.class)
		return a.class > b.class;
	if (a.remote != b.remote)
		return a.remote > b.remote;
	return a.local > b.local;
}

struct search {
	const struct creds *c;
	struct end local, remote;
	struct score best;
	uint32_t found; /* UINT32_MAX: none */
};

static void consider(struct search *f, uint32_t i)
{
	const struct creds_secret *s = &f->c->secrets[i];
	struct score score;

	if (s->kind != CRED_PSK)
		return;
	score = score_of(s, &f->local, &f->remote);
	if (score.class == CLASS_NONE)
		return;
	/* of two as good the one that stands first in the file */
	if (better(score, f->best) || (!better(f->best, score) && i < f->found)) {
		f->best = score;
		f->found = i;
	}
}

static void consider_named(struct search *f, const struct end *end)
{
	for (size_t k = 0; k < end->n; k++) {
		struct hnode *n = hmap_first(&f->c->index, ident_hash(cred_hash_key, end->ids[k]));
		for (; n; n = hmap_next(n))
			consider(f, container_of(n, struct creds_index, node)->secret);
	}
}

static void end_init(
    struct end *end, const struct ident *id, const struct cy_addr *addr, struct ident *tmp, uint8_t bytes[16])
{
	size_t n = addr ? cy_addr_len(addr) : 0;

	*end = (struct end){0};
	if (id && id->type != ID_ANY)
		end->ids[end->n++] = id;
	if (n == 0)
		return;
	memcpy(bytes, addr->ip, n);
	*tmp = (struct ident){.type = n == 4 ? ID_IPV4_ADDR : ID_IPV6_ADDR, .n = (uint16_t)n, .p = bytes};
	end->ids[end->n++] = tmp;
}

bool creds_find_psk(const struct creds *c, const struct ident *local, const struct ident *remote,
    const struct cy_addr *addr_local, const struct cy_addr *addr_remote, struct cy_slice *out)
{
	struct search f = {.c = c, .found = UINT32_MAX};
	struct ident tmp[2];
	uint8_t bytes[2][16];

	end_init(&f.local, local, addr_local, &tmp[0], bytes[0]);
	end_init(&f.remote, remote, addr_remote, &tmp[1], bytes[1]);
	consider_named(&f, &f.local);
	consider_named(&f, &f.remote);
	for (size_t i = 0; i < c->n_general; i++)
		consider(&f, c->general[i]);
	if (f.found == UINT32_MAX)
		return false;
	*out = secret_slice(&c->secrets[f.found].value);
	return true;
}

/* --- user names: compared as text, whatever type of identity it was read as --- */

uint64_t cred_user_hash(const struct ident *user)
{
	return siphash24(cred_hash_key, user->p, user->n);
}

static bool same_user(const struct ident *a, const struct ident *b)
{
	return a->n == b->n && a->n > 0 && memcmp(a->p, b->p, a->n) == 0;
}

static bool kind_fits(enum cred_kind have, enum cred_kind want)
{
	/* charon keeps XAUTH and EAP passwords in one table, and so do its users */
	if (want == CRED_XAUTH || want == CRED_EAP)
		return have == CRED_XAUTH || have == CRED_EAP;
	return have == want;
}

bool creds_find_password(
    const struct creds *c, enum cred_kind kind, const struct ident *user, struct cy_slice *out)
{
	const struct creds_secret *best = NULL;
	struct hnode *n = hmap_first(&c->index, cred_user_hash(user));
	int best_rank = 0;

	for (; n; n = hmap_next(n)) {
		const struct creds_secret *s = &c->secrets[container_of(n, struct creds_index, node)->secret];
		int rank = s->kind == kind ? 4 : kind_fits(s->kind, kind) ? 3 : 0;
		bool named = false;
		for (size_t i = 0; i < s->n_ids; i++)
			named |= same_user(&s->ids[i], user);
		if (!named || rank < best_rank || (rank == best_rank && best < s && best))
			continue;
		if (rank)
			best = s;
		best_rank = rank;
	}
	for (size_t i = 0; i < c->n_general && !best; i++) {
		const struct creds_secret *s = &c->secrets[c->general[i]];
		bool any = s->n_ids == 0;
		for (size_t k = 0; k < s->n_ids; k++)
			any |= s->ids[k].type == ID_ANY;
		if (any && kind_fits(s->kind, kind))
			best = s;
	}
	if (!best)
		return false;
	*out = secret_slice(&best->value);
	return true;
}
