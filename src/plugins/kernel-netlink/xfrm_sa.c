/* SPDX-License-Identifier: Apache-2.0 */

#include "xfrm_sa.h"
#include "algs.h"
#include "larval.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/udp.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_REPLAY_WINDOW XFRMA_REPLAY_ESN_MAX /* packets */
/* Of the old bitmap, which cannot be larger. */
#define OLD_REPLAY_WINDOW 32
/* Seconds between two reports of the same new mapping. */
#define MAPPING_INTERVAL 2

struct cy_kernel_sa_id sa_id_of(const struct cy_kernel_sa *sa)
{
	return (struct cy_kernel_sa_id){.spi = sa->spi,
	    .src = sa->src,
	    .dst = sa->dst,
	    .proto = sa->proto,
	    .dir = sa->dir,
	    .mark = sa->mark,
	    .if_id = sa->if_id};
}

static void put_mark(struct nl_msg *m, const struct cy_mark *mark)
{
	struct xfrm_mark x = {.v = mark->value, .m = mark->mask};

	if (mark->mask)
		nl_put(m, XFRMA_MARK, &x, sizeof(x));
}

/* ---- keys */

static enum cy_err put_aead(struct nl_msg *m, const struct encr_alg *alg, struct cy_slice key)
{
	struct xfrm_algo_aead *a = nl_reserve(m, XFRMA_ALG_AEAD, sizeof(*a) + key.n);

	if (!a)
		return CY_E_INVAL;
	snprintf(a->alg_name, sizeof(a->alg_name), "%s", alg->name);
	a->alg_key_len = (unsigned)key.n * 8;
	a->alg_icv_len = alg->icv_bits;
	memcpy(a->alg_key, key.p, key.n);
	return CY_OK;
}

static enum cy_err put_crypt(struct nl_msg *m, const struct encr_alg *alg, struct cy_slice key)
{
	struct xfrm_algo *a = nl_reserve(m, XFRMA_ALG_CRYPT, sizeof(*a) + key.n);

	if (!a)
		return CY_E_INVAL;
	snprintf(a->alg_name, sizeof(a->alg_name), "%s", alg->name);
	a->alg_key_len = (unsigned)key.n * 8;
	if (key.n)
		memcpy(a->alg_key, key.p, key.n);
	return CY_OK;
}

static enum cy_err put_auth(struct nl_msg *m, const struct integ_alg *alg, struct cy_slice key)
{
	struct xfrm_algo_auth *a = nl_reserve(m, XFRMA_ALG_AUTH_TRUNC, sizeof(*a) + key.n);

	if (!a)
		return CY_E_INVAL;
	snprintf(a->alg_name, sizeof(a->alg_name), "%s", alg->name);
	a->alg_key_len = (unsigned)key.n * 8;
	a->alg_trunc_len = alg->trunc_bits;
	memcpy(a->alg_key, key.p, key.n);
	return CY_OK;
}

static enum cy_err put_algs(struct nl_msg *m, const struct cy_kernel_sa *sa, const char **why)
{
	const struct encr_alg *encr = encr_alg(sa->encr);
	const struct integ_alg *integ = sa->integ ? integ_alg(sa->integ) : NULL;
	enum cy_err err = CY_OK;

	if ((sa->integ && !integ) || (sa->proto == CY_PROTO_ESP && !encr)) {
		*why = "the kernel has no such algorithm";
		return CY_E_UNSUPPORTED;
	}
	if ((sa->proto == CY_PROTO_AH || !encr->aead) != !!integ) {
		*why = integ ? "an AEAD cipher with an integrity algorithm" : "no integrity algorithm";
		return CY_E_INVAL;
	}
	if (integ)
		err = put_auth(m, integ, sa->integ_key);
	if (!err && sa->proto == CY_PROTO_ESP)
		err = encr->aead ? put_aead(m, encr, sa->encr_key) : put_crypt(m, encr, sa->encr_key);
	if (err)
		*why = "a key is too long";
	return err;
}

/* ---- the rest of an SA */

static uint64_t or_inf(uint64_t v)
{
	return v ? v : XFRM_INF;
}

static void set_lifetime(struct xfrm_lifetime_cfg *out, const struct cy_lifetime *l)
{
	out->soft_byte_limit = or_inf(l->soft_bytes);
	out->hard_byte_limit = or_inf(l->hard_bytes);
	out->soft_packet_limit = or_inf(l->soft_packets);
	out->hard_packet_limit = or_inf(l->hard_packets);
	/* 0: none */
	out->soft_add_expires_seconds = l->soft_seconds;
	out->hard_add_expires_seconds = l->hard_seconds;
}

/*
 * The selector keeps a transport SA to its two hosts. A tunnel has its policies for that, and the kernel takes the
 * packet's family for a tunnel without one.
 */
static void set_selector(struct xfrm_usersa_info *x, const struct cy_kernel_sa *sa)
{
	const struct cy_ts *local = sa->ts_local, *remote = sa->ts_remote;
	struct xfrm_selector sel[SELECTORS_MAX];
	bool out = sa->dir == CY_DIR_OUT;
	size_t n;

	if (sa->mode == CY_MODE_TUNNEL) {
		x->flags |= XFRM_STATE_AF_UNSPEC;
		return;
	}
	x->sel.family = sa->src.family;
	if (sa->n_ts_local != 1 || sa->n_ts_remote != 1 ||
	    (local->family_ip6 ? AF_INET6 : AF_INET) != sa->src.family)
		return;
	if (selectors_of(out ? local : remote, out ? remote : local, sel, &n) == CY_OK && n == 1)
		x->sel = sel[0];
}

static void put_replay(struct nl_msg *m, struct xfrm_usersa_info *x, const struct cy_kernel_sa *sa)
{
	uint32_t window = sa->dir == CY_DIR_IN ? sa->replay_window : 0;
	struct xfrm_replay_state_esn *r;

	if (window > MAX_REPLAY_WINDOW)
		window = MAX_REPLAY_WINDOW;
	if (sa->esn) {
		x->flags |= XFRM_STATE_ESN;
		/* The high half of a sequence number is inferred from the window: there must be one (RFC 4303, A2.). */
		if (window == 0)
			window = sa->dir == CY_DIR_IN ? OLD_REPLAY_WINDOW : 1;
	} else if (window <= OLD_REPLAY_WINDOW) {
		x->replay_window = (uint8_t)window;
		return;
	}
	r = nl_reserve(m, XFRMA_REPLAY_ESN_VAL, sizeof(*r) + (window + 31) / 32 * sizeof(r->bmp[0]));
	if (r) {
		r->replay_window = window;
		r->bmp_len = (window + 31) / 32;
	}
}

static void put_encap(struct nl_msg *m, const struct cy_addr *src, const struct cy_addr *dst)
{
	struct xfrm_encap_tmpl e = {.encap_type = UDP_ENCAP_ESPINUDP,
	    .encap_sport = htons(src->port),
	    .encap_dport = htons(dst->port)};

	nl_put(m, XFRMA_ENCAP, &e, sizeof(e));
}

static void put_flags(struct nl_msg *m, struct xfrm_usersa_info *x, const struct cy_kernel_sa *sa)
{
	bool out = sa->dir == CY_DIR_OUT;

	if (sa->no_ecn)
		x->flags |= XFRM_STATE_NOECN;
	if (out && sa->no_pmtu_disc)
		x->flags |= XFRM_STATE_NOPMTUDISC;
	if (!out && (sa->copy_dscp == CY_DSCP_IN || sa->copy_dscp == CY_DSCP_YES))
		x->flags |= XFRM_STATE_DECAP_DSCP;
	if (out && (sa->copy_dscp == CY_DSCP_IN || sa->copy_dscp == CY_DSCP_NO))
		nl_put_u32(m, XFRMA_SA_EXTRA_FLAGS, XFRM_SA_XFLAG_DONT_ENCAP_DSCP);
	if (out && sa->tfc_pad && sa->mode == CY_MODE_TUNNEL && sa->proto == CY_PROTO_ESP)
		nl_put_u32(m, XFRMA_TFCPAD, sa->tfc_pad);
}

static enum cy_err check(const struct cy_kernel_sa *sa, const char **why)
{
	*why = "a bad address, protocol, mode or SPI";
	if (sa->size < sizeof(*sa) || cy_addr_len(&sa->src) == 0 || sa->src.family != sa->dst.family ||
	    sa->spi < 256 || sa->reqid == 0 || sa->mode < CY_MODE_TUNNEL || sa->mode > CY_MODE_BEET ||
	    (sa->dir != CY_DIR_IN && sa->dir != CY_DIR_OUT) ||
	    (sa->proto != CY_PROTO_ESP && sa->proto != CY_PROTO_AH))
		return CY_E_INVAL;
	if (sa->encap && (sa->proto == CY_PROTO_AH || !sa->src.port || !sa->dst.port)) {
		*why = sa->proto == CY_PROTO_AH ? "AH in UDP" : "UDP encapsulation without ports";
		return CY_E_INVAL;
	}
	return CY_OK;
}

static uint8_t xfrm_mode(uint8_t mode)
{
	return mode == CY_MODE_TUNNEL   ? XFRM_MODE_TUNNEL
	    : mode == CY_MODE_TRANSPORT ? XFRM_MODE_TRANSPORT
	                                : XFRM_MODE_BEET;
}

enum cy_err sa_encode(struct nl_msg *m, const struct cy_kernel_sa *sa, const char **out_why)
{
	struct xfrm_usersa_info *x = nl_begin(m, XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, sizeof(*x));
	enum cy_err err = check(sa, out_why);

	if (err)
		return err;
	x->id.daddr = to_xfrm(&sa->dst);
	x->id.spi = htonl(sa->spi);
	x->id.proto = sa->proto;
	x->saddr = to_xfrm(&sa->src);
	x->family = sa->src.family;
	x->mode = xfrm_mode(sa->mode);
	x->reqid = sa->reqid;
	x->seq = TAG_SEQ | (sa->spi & ~TAG_SEQ_MASK);
	set_lifetime(&x->lft, &sa->life);
	set_selector(x, sa);
	err = put_algs(m, sa, out_why);
	if (err)
		return err;
	put_replay(m, x, sa);
	put_flags(m, x, sa);
	if (sa->encap) {
		put_encap(m, &sa->src, &sa->dst);
		/* without it every packet from a new address is reported */
		if (sa->dir == CY_DIR_IN)
			nl_put_u32(m, KN_XFRMA_MTIMER_THRESH, MAPPING_INTERVAL);
	}
	put_mark(m, &sa->mark);
	if (sa->set_mark.mask) {
		nl_put_u32(m, XFRMA_SET_MARK, sa->set_mark.value);
		nl_put_u32(m, XFRMA_SET_MARK_MASK, sa->set_mark.mask);
	}
	if (sa->if_id)
		nl_put_u32(m, XFRMA_IF_ID, sa->if_id);
	if (sa->cpu >= 0) {
		uint8_t dir = sa->dir == CY_DIR_IN ? KN_SA_DIR_IN : KN_SA_DIR_OUT;

		nl_put(m, KN_XFRMA_SA_DIR, &dir, sizeof(dir));
		nl_put_u32(m, KN_XFRMA_SA_PCPU, (uint32_t)sa->cpu);
	}
	if (m->full) {
		*out_why = "it does not fit into a message";
		return CY_E_LIMIT;
	}
	return CY_OK;
}

void sa_ask(struct nl_msg *m, uint16_t type, const struct cy_kernel_sa_id *id)
{
	struct xfrm_usersa_id *x = nl_begin(m, type, 0, sizeof(*x));

	x->daddr = to_xfrm(&id->dst);
	x->spi = htonl(id->spi);
	x->family = id->dst.family;
	x->proto = id->proto;
	put_mark(m, &id->mark);
}

/* ---- what is ours */

struct sa_key {
	uint8_t ip[16];
	uint32_t spi;
	uint16_t family;
	uint8_t proto, pad_;
};

static uint64_t hash_of(const struct kernel *k, const struct cy_addr *dst, uint32_t spi, uint8_t proto)
{
	struct sa_key key = {.spi = spi, .family = dst->family, .proto = proto};

	memcpy(key.ip, dst->ip, cy_addr_len(dst));
	return table_hash(&k->sas, &key, sizeof(key));
}

struct sa_entry *sa_entry_find(
    struct kernel *k, const struct cy_addr *dst, uint32_t spi, uint8_t proto, const struct cy_mark *mark)
{
	for (struct tnode *n = table_first(&k->sas, hash_of(k, dst, spi, proto)); n; n = table_next(n)) {
		struct sa_entry *e = table_entry(n, struct sa_entry, node);

		if (e->id.spi == spi && e->id.proto == proto && cy_addr_ip_eq(&e->id.dst, dst) &&
		    (!mark || (e->id.mark.mask == mark->mask && e->id.mark.value == mark->value)))
			return e;
	}
	return NULL;
}

void sa_entry_move(struct kernel *k, struct sa_entry *e, const struct cy_addr *src, const struct cy_addr *dst)
{
	pthread_mutex_lock(&k->lock);
	table_del(&k->sas, &e->node);
	if (dst) {
		e->id.src = *src;
		e->id.dst = *dst;
		e->told_ns = 0;
		table_add(&k->sas, &e->node, hash_of(k, dst, e->id.spi, e->id.proto));
	}
	pthread_mutex_unlock(&k->lock);
	if (!dst)
		free(e);
}

static struct sa_entry *entry_of(struct kernel *k, const struct cy_kernel_sa_id *id)
{
	struct sa_entry *e;

	pthread_mutex_lock(&k->lock);
	e = sa_entry_find(k, &id->dst, id->spi, id->proto, &id->mark);
	pthread_mutex_unlock(&k->lock);
	return e; /* only this thread removes them */
}

/* ---- operations */

enum cy_err sa_add(struct kernel *k, const struct cy_kernel_sa *sa)
{
	struct sa_entry *e = calloc(1, sizeof(*e));
	const char *why = "";
	struct nl_msg m;
	enum cy_err err;
	int got;

	if (!e)
		return CY_E_NOMEM;
	e->id = sa_id_of(sa);
	e->reqid = sa->reqid;
	e->mode = sa->mode;
	err = sa_encode(&m, sa, &why);
	if (err) {
		LOG(k, CY_LOG_ERROR, "SA with SPI %08x (encryption %u, integrity %u) refused: %s", sa->spi,
		    sa->encr, sa->integ, why);
		nl_wipe(&m);
		free(e);
		return err;
	}
	/* before the kernel can tell of it */
	pthread_mutex_lock(&k->lock);
	table_add(&k->sas, &e->node, hash_of(k, &sa->dst, sa->spi, sa->proto));
	pthread_mutex_unlock(&k->lock);
	got = nl_ack(k->xfrm, &m);
	nl_wipe(&m);
	if (got < 0) {
		sa_entry_move(k, e, NULL, NULL);
		LOG(k, CY_LOG_ERROR,
		    "cannot install the %s SA with SPI %08x (encryption %u, integrity %u): %s%s%s",
		    sa->dir == CY_DIR_IN ? "inbound" : "outbound", sa->spi, sa->encr, sa->integ,
		    strerror(-got), *nl_why(k->xfrm) ? ": " : "", nl_why(k->xfrm));
		return nl_err(got);
	}
	if (sa->dir == CY_DIR_OUT)
		larval_replaced(k, sa);
	return CY_OK;
}

enum cy_err sa_del(struct kernel *k, const struct cy_kernel_sa_id *id)
{
	struct sa_entry *e = entry_of(k, id);
	struct nl_msg m;
	int got;

	if (!e)
		return CY_E_NOTFOUND;
	sa_ask(&m, XFRM_MSG_DELSA, id);
	got = nl_ack(k->xfrm, &m);
	/* gone already: its hard lifetime ended */
	if (got < 0 && got != -ESRCH)
		return kernel_failed(k, "cannot remove an SA", got);
	sa_entry_move(k, e, NULL, NULL);
	return nl_err(got);
}

struct query {
	struct cy_kernel_sa_stats stats;
	bool in, found;
};

static void take_stats(void *user, const struct nlmsghdr *nlh)
{
	struct query *q = user;
	struct xfrm_usersa_info x;
	const struct nlattr *a[XFRMA_MAX + 1];
	const struct xfrm_replay_state_esn *esn;
	const struct xfrm_replay_state *old;
	const void *used;

	if (nlh->nlmsg_type != XFRM_MSG_NEWSA || !nl_header(nlh, &x, sizeof(x)))
		return;
	nl_attrs(nlh, sizeof(x), a, XFRMA_MAX);
	q->found = true;
	q->stats.bytes = x.curlft.bytes;
	q->stats.packets = x.curlft.packets;
	q->stats.replay_drops = (uint64_t)x.stats.replay + x.stats.replay_window;
	q->stats.integrity_drops = x.stats.integrity_failed;
	used = nl_value(a[XFRMA_LASTUSED], sizeof(q->stats.last_used));
	if (used)
		memcpy(&q->stats.last_used, used, sizeof(q->stats.last_used));
	esn = nl_value(a[XFRMA_REPLAY_ESN_VAL], sizeof(*esn));
	old = nl_value(a[XFRMA_REPLAY_VAL], sizeof(*old));
	if (esn)
		q->stats.seq =
		    q->in ? (uint64_t)esn->seq_hi << 32 | esn->seq : (uint64_t)esn->oseq_hi << 32 | esn->oseq;
	else if (old)
		q->stats.seq = q->in ? old->seq : old->oseq;
}

/* Until Linux 6.2 it is known of inbound SAs only. Between this question and the last one, then. */
static void guess_last_used(struct kernel *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *s)
{
	struct sa_entry *e = entry_of(k, id);

	if (!e)
		return;
	if (s->packets > e->seen_packets)
		e->used = (uint64_t)k->host->wall(k->self);
	e->seen_packets = s->packets;
	s->last_used = e->used;
}

enum cy_err sa_query(struct kernel *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	struct query q = {.in = id->dir == CY_DIR_IN};
	struct nl_msg m;
	int got;

	sa_ask(&m, XFRM_MSG_GETSA, id);
	got = nl_query(k->xfrm, &m, take_stats, &q);
	if (got < 0 && got != -ESRCH)
		return kernel_failed(k, "cannot ask for an SA", got);
	if (!q.found)
		return CY_E_NOTFOUND;
	if (q.stats.last_used == 0)
		guess_last_used(k, id, &q.stats);
	*out = q.stats;
	return CY_OK;
}

/* ---- all that there is */

struct dumping {
	struct kernel *k;
	void (*cb)(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats);
	void *user;
};

/* The event of an acquire may have been lost: what it was about is in the larval SA. */
static void tell_larval(struct kernel *k, const struct xfrm_usersa_info *x)
{
	struct cy_ts src, dst;

	if (k->ev.acquire && x->reqid && selector_to_ts(&x->sel, &src, &dst) == CY_OK)
		k->ev.acquire(k->ev.user, x->reqid, 0, &src, &dst, -1);
}

static void dump_one(void *user, const struct nlmsghdr *nlh)
{
	struct dumping *d = user;
	struct xfrm_usersa_info x;
	struct cy_kernel_sa_id id;
	struct sa_entry *e;
	struct cy_addr dst;
	struct query q = {0};

	if (nlh->nlmsg_type != XFRM_MSG_NEWSA || !nl_header(nlh, &x, sizeof(x)))
		return;
	if (x.id.spi == 0) {
		tell_larval(d->k, &x);
		return;
	}
	dst = from_xfrm(&x.id.daddr, x.family);
	pthread_mutex_lock(&d->k->lock);
	e = sa_entry_find(d->k, &dst, ntohl(x.id.spi), x.id.proto, NULL);
	if (e)
		id = e->id;
	pthread_mutex_unlock(&d->k->lock);
	if (!e)
		return;
	q.in = id.dir == CY_DIR_IN;
	take_stats(&q, nlh);
	d->cb(d->user, &id, &q.stats);
}

enum cy_err sa_dump(struct kernel *k,
    void (*cb)(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats),
    void *user)
{
	struct dumping d = {k, cb, user};
	struct nl_msg m;
	int got;

	nl_begin(&m, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
	got = nl_query(k->xfrm, &m, dump_one, &d);
	return got < 0 ? kernel_failed(k, "cannot list the SAs", got) : CY_OK;
}

/* ---- removing everything */

#define LEFTOVERS 256

struct leftovers {
	struct cy_kernel_sa_id id[LEFTOVERS];
	size_t n;
};

static void collect(void *user, const struct nlmsghdr *nlh)
{
	struct leftovers *l = user;
	struct xfrm_usersa_info x;
	const struct nlattr *a[XFRMA_MAX + 1];
	const struct xfrm_mark *mark;
	struct cy_kernel_sa_id *id;

	if (nlh->nlmsg_type != XFRM_MSG_NEWSA || !nl_header(nlh, &x, sizeof(x)) || l->n == LEFTOVERS ||
	    (x.seq & TAG_SEQ_MASK) != TAG_SEQ || x.id.spi == 0)
		return;
	nl_attrs(nlh, sizeof(x), a, XFRMA_MAX);
	id = &l->id[l->n++];
	*id = (struct cy_kernel_sa_id){
	    .spi = ntohl(x.id.spi), .dst = from_xfrm(&x.id.daddr, x.family), .proto = x.id.proto};
	mark = nl_value(a[XFRMA_MARK], sizeof(*mark));
	if (mark)
		id->mark = (struct cy_mark){mark->v, mark->m};
}

static size_t remove_leftovers(struct kernel *k)
{
	struct leftovers *l = calloc(1, sizeof(*l));
	size_t removed, all = 0;
	struct nl_msg m;

	if (!l)
		return 0;
	do {
		removed = l->n = 0;
		nl_begin(&m, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
		if (nl_query(k->xfrm, &m, collect, l) < 0)
			break;
		for (size_t i = 0; i < l->n; i++) {
			sa_ask(&m, XFRM_MSG_DELSA, &l->id[i]);
			removed += nl_ack(k->xfrm, &m) == 0;
		}
		all += removed;
	} while (removed && l->n == LEFTOVERS);
	free(l);
	return all;
}

void sa_flush(struct kernel *k)
{
	struct tnode *n;
	size_t pos = 0, left;
	struct nl_msg m;

	for (;;) {
		pthread_mutex_lock(&k->lock);
		n = table_take(&k->sas, &pos);
		pthread_mutex_unlock(&k->lock);
		if (!n)
			break;
		sa_ask(&m, XFRM_MSG_DELSA, &table_entry(n, struct sa_entry, node)->id);
		(void)nl_ack(k->xfrm, &m);
		free(table_entry(n, struct sa_entry, node));
	}
	left = remove_leftovers(k);
	if (left)
		LOG(k, CY_LOG_NOTICE, "removed %zu SA%s that a daemon before us left", left,
		    left == 1 ? "" : "s");
}
