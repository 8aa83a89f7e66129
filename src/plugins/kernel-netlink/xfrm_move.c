/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SA at new addresses. XFRM_MSG_MIGRATE needs CONFIG_XFRM_MIGRATE and cannot change ports, so the SA is read,
 * removed, and installed anew with its keys, its replay window, and its counters.
 */
#include "xfrm_sa.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/udp.h>

/*
 * An outbound SA may send between being read and being removed. Its successor begins this much later, so that no
 * sequence number is ever used twice with one key (RFC 4303, 2.2); the peer does not mind a gap.
 */
#define SEQUENCE_GAP 4096

/* Attributes that an SA is installed with, and that its answer has as they were given. */
static bool copied(uint16_t type)
{
	switch (type) {
	case XFRMA_ALG_AUTH_TRUNC:
	case XFRMA_ALG_CRYPT:
	case XFRMA_ALG_AEAD:
	case XFRMA_ALG_COMP:
	case XFRMA_TFCPAD:
	case XFRMA_MARK:
	case XFRMA_SET_MARK:
	case XFRMA_SET_MARK_MASK:
	case XFRMA_IF_ID:
	case XFRMA_SA_EXTRA_FLAGS:
	case XFRMA_SEC_CTX:
	case XFRMA_COADDR:
	case XFRMA_REPLAY_THRESH:
	case XFRMA_ETIMER_THRESH:
	case KN_XFRMA_SA_DIR:
	case KN_XFRMA_SA_PCPU:
		return true;
	default:
		return false;
	}
}

static void put_old_replay(struct nl_msg *m, const struct nlattr *a, bool out)
{
	const struct xfrm_replay_state *old = nl_value(a, sizeof(*old));
	struct xfrm_replay_state r;

	if (!old)
		return;
	memcpy(&r, old, sizeof(r));
	/* at the end of the sequence space it stays there: the kernel sends no more */
	if (out)
		r.oseq = r.oseq > UINT32_MAX - SEQUENCE_GAP ? UINT32_MAX : r.oseq + SEQUENCE_GAP;
	nl_put(m, XFRMA_REPLAY_VAL, &r, sizeof(r));
}

static void put_esn_replay(struct nl_msg *m, const struct nlattr *a, bool out, bool esn)
{
	const struct xfrm_replay_state_esn *old = nl_value(a, sizeof(*old));
	struct xfrm_replay_state_esn *r;
	uint64_t seq;

	if (!old)
		return;
	r = nl_reserve(m, XFRMA_REPLAY_ESN_VAL, mnl_attr_get_payload_len(a));
	if (!r)
		return;
	memcpy(r, old, mnl_attr_get_payload_len(a));
	if (!out)
		return;
	seq = ((uint64_t)r->oseq_hi << 32 | r->oseq) + SEQUENCE_GAP;
	if (!esn && seq > UINT32_MAX)
		seq = UINT32_MAX;
	r->oseq = (uint32_t)seq;
	r->oseq_hi = (uint32_t)(seq >> 32);
}

enum cy_err sa_encode_moved(struct nl_msg *m, const struct nlmsghdr *old, bool out,
    const struct cy_addr *new_src, const struct cy_addr *new_dst, bool encap)
{
	struct xfrm_usersa_info *x = nl_begin(m, XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, sizeof(*x));
	const struct nlattr *a[KN_XFRMA_MAX + 1];

	if (!nl_has_header(old, sizeof(*x)))
		return CY_E_PARSE;
	memcpy(x, mnl_nlmsg_get_payload(old), sizeof(*x));
	nl_attrs(old, sizeof(*x), a, KN_XFRMA_MAX);
	x->id.daddr = to_xfrm(new_dst);
	x->saddr = to_xfrm(new_src);
	x->family = new_dst->family;
	if (x->mode == XFRM_MODE_TRANSPORT && x->sel.family && x->sel.family != x->family)
		return CY_E_INVAL;
	for (uint16_t i = 0; i <= KN_XFRMA_MAX; i++)
		if (a[i] && copied(i))
			nl_put(m, i, mnl_attr_get_payload(a[i]), mnl_attr_get_payload_len(a[i]));
	/* a window of more than 32 packets has both, and only the new one counts */
	if (a[XFRMA_REPLAY_ESN_VAL]) {
		x->replay_window = 0;
		put_esn_replay(m, a[XFRMA_REPLAY_ESN_VAL], out, x->flags & XFRM_STATE_ESN);
	} else {
		put_old_replay(m, a[XFRMA_REPLAY_VAL], out);
	}
	nl_put(m, XFRMA_LTIME_VAL, &x->curlft, sizeof(x->curlft));
	if (encap) {
		struct xfrm_encap_tmpl e = {.encap_type = UDP_ENCAP_ESPINUDP,
		    .encap_sport = htons(new_src->port),
		    .encap_dport = htons(new_dst->port)};

		nl_put(m, XFRMA_ENCAP, &e, sizeof(e));
		if (a[KN_XFRMA_MTIMER_THRESH])
			nl_put_u32(m, KN_XFRMA_MTIMER_THRESH, nl_u32(a[KN_XFRMA_MTIMER_THRESH]));
	}
	return m->full ? CY_E_LIMIT : CY_OK;
}

struct reading {
	struct nl_msg m;
	bool found;
};

static void keep_answer(void *user, const struct nlmsghdr *nlh)
{
	struct reading *r = user;

	if (nlh->nlmsg_type != XFRM_MSG_NEWSA || nlh->nlmsg_len > sizeof(r->m.bytes))
		return;
	memcpy(r->m.bytes, nlh, nlh->nlmsg_len);
	r->found = true;
}

static enum cy_err replace(struct kernel *k, const struct cy_kernel_sa_id *id, const struct reading *r,
    const struct cy_addr *new_src, const struct cy_addr *new_dst, bool encap, struct sa_entry *e)
{
	struct nl_msg add, del;
	enum cy_err err = sa_encode_moved(&add, &r->m.nlh, id->dir == CY_DIR_OUT, new_src, new_dst, encap);
	int got;

	if (err)
		goto out;
	sa_ask(&del, XFRM_MSG_DELSA, id);
	got = nl_ack(k->xfrm, &del);
	if (got < 0) {
		err = kernel_failed(k, "cannot remove an SA that moves", got);
		goto out;
	}
	sa_entry_move(k, e, new_src, new_dst);
	got = nl_ack(k->xfrm, &add);
	if (got < 0) {
		err = kernel_failed(k, "cannot install an SA at its new address", got);
		sa_entry_move(k, e, NULL, NULL);
	}
out:
	nl_wipe(&add);
	return err;
}

enum cy_err sa_move(struct kernel *k, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src,
    const struct cy_addr *new_dst, bool encap)
{
	struct reading r = {.found = false};
	struct sa_entry *e;
	struct nl_msg m;
	enum cy_err err;
	int got;

	if (new_src->family != new_dst->family || cy_addr_len(new_dst) == 0 ||
	    (encap && (!new_src->port || !new_dst->port)))
		return CY_E_INVAL;
	pthread_mutex_lock(&k->lock);
	e = sa_entry_find(k, &id->dst, id->spi, id->proto, &id->mark);
	pthread_mutex_unlock(&k->lock);
	if (!e)
		return CY_E_NOTFOUND;
	sa_ask(&m, XFRM_MSG_GETSA, id);
	got = nl_query(k->xfrm, &m, keep_answer, &r);
	if (got < 0 || !r.found)
		err = kernel_failed(k, "cannot read an SA that moves", got < 0 ? got : -ESRCH);
	else
		err = replace(k, id, &r, new_src, new_dst, encap, e);
	nl_wipe(&r.m);
	return err;
}
