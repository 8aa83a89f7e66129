/* SPDX-License-Identifier: Apache-2.0 */

#include "xfrm_policy.h"
#include "larval.h"
#include "net.h"

#include <errno.h>
#include <stdlib.h>

uint8_t policy_dir(uint8_t dir)
{
	return dir == CY_DIR_IN ? XFRM_POLICY_IN : dir == CY_DIR_FWD ? XFRM_POLICY_FWD : XFRM_POLICY_OUT;
}

static void put_tmpl(struct nl_msg *m, const struct cy_kernel_policy *p)
{
	struct xfrm_user_tmpl t;

	memset(&t, 0, sizeof(t));
	t.id.proto = p->proto;
	t.family = p->tmpl_dst.family ? p->tmpl_dst.family : p->dst.family_ip6 ? AF_INET6 : AF_INET;
	t.reqid = p->reqid;
	t.mode = p->mode == CY_MODE_TUNNEL ? XFRM_MODE_TUNNEL
	    : p->mode == CY_MODE_TRANSPORT ? XFRM_MODE_TRANSPORT
	                                   : XFRM_MODE_BEET;
	/* The SPI stays open: it is the reqid that ties, so that a rekeyed SA needs no new policy. In transport mode the
	   ends are those of the packet. */
	if (p->mode != CY_MODE_TRANSPORT) {
		t.id.daddr = to_xfrm(&p->tmpl_dst);
		t.saddr = to_xfrm(&p->tmpl_src);
	}
	t.aalgos = t.ealgos = t.calgos = UINT32_MAX;
	nl_put(m, XFRMA_TMPL, &t, sizeof(t));
}

static void put_scope(struct nl_msg *m, const struct cy_mark *mark, uint32_t if_id)
{
	struct xfrm_mark x = {.v = mark->value, .m = mark->mask};

	if (mark->mask)
		nl_put(m, XFRMA_MARK, &x, sizeof(x));
	if (if_id)
		nl_put_u32(m, XFRMA_IF_ID, if_id);
}

void policy_encode(struct nl_msg *m, uint16_t type, const struct cy_kernel_policy *p,
    const struct xfrm_selector *sel, uint32_t index)
{
	struct xfrm_userpolicy_info *x = nl_begin(m, type, NLM_F_CREATE, sizeof(*x));
	bool tmpl = p->action == CY_POLICY_PROTECT && p->has_tmpl;

	x->sel = *sel;
	x->lft.soft_byte_limit = x->lft.hard_byte_limit = XFRM_INF;
	x->lft.soft_packet_limit = x->lft.hard_packet_limit = XFRM_INF;
	x->priority = p->priority;
	x->index = index;
	x->dir = policy_dir(p->dir);
	/* What is to be protected and has no template must not pass. */
	x->action = tmpl || p->action == CY_POLICY_PASS ? XFRM_POLICY_ALLOW : XFRM_POLICY_BLOCK;
	x->share = XFRM_SHARE_ANY;
	if (p->cpu_acquire)
		x->flags |= KN_XFRM_POLICY_CPU_ACQUIRE;
	if (tmpl)
		put_tmpl(m, p);
	put_scope(m, &p->mark, p->if_id);
}

/* ---- what is ours */

static struct policy_key key_of(const struct cy_kernel_policy *p, const struct xfrm_selector *sel)
{
	struct policy_key key;

	memset(&key, 0, sizeof(key)); /* it is hashed and compared whole */
	key.sel = *sel;
	key.mark = p->mark;
	key.if_id = p->if_id;
	key.dir = policy_dir(p->dir);
	return key;
}

static struct policy_entry *find(struct kernel *k, const struct policy_key *key)
{
	for (struct tnode *n = table_first(&k->policies, table_hash(&k->policies, key, sizeof(*key))); n;
	     n = table_next(n)) {
		struct policy_entry *e = table_entry(n, struct policy_entry, node);

		if (memcmp(&e->key, key, sizeof(*key)) == 0)
			return e;
	}
	return NULL;
}

bool policy_cookie(struct kernel *k, const struct xfrm_selector *sel, const struct cy_mark *mark,
    uint32_t if_id, uint64_t *out_cookie)
{
	struct policy_key key;
	struct policy_entry *e;

	memset(&key, 0, sizeof(key));
	memcpy(&key.sel, sel, sizeof(key.sel));
	key.mark = *mark;
	key.if_id = if_id;
	key.dir = XFRM_POLICY_OUT;
	pthread_mutex_lock(&k->lock);
	e = find(k, &key);
	if (e)
		*out_cookie = e->cookie;
	pthread_mutex_unlock(&k->lock);
	return e != NULL;
}

static uint64_t owner_of(struct kernel *k, const struct cy_kernel_policy *p)
{
	struct {
		struct cy_ts src, dst;
	} whole;

	memset(&whole, 0, sizeof(whole));
	whole.src = p->src;
	whole.dst = p->dst;
	return table_hash(&k->policies, &whole, sizeof(whole));
}

/* ---- operations */

static uint32_t new_index(struct kernel *k, const struct cy_kernel_policy *p)
{
	k->next_index = (k->next_index + 1) & (~TAG_INDEX_MASK >> 3);
	return TAG_INDEX | k->next_index << 3 | policy_dir(p->dir);
}

static int install(struct kernel *k, const struct cy_kernel_policy *p, struct policy_entry *e, bool fresh)
{
	struct nl_msg m;
	int got;

	policy_encode(&m, fresh ? XFRM_MSG_NEWPOLICY : XFRM_MSG_UPDPOLICY, p, &e->key.sel, e->index);
	got = nl_ack(k->xfrm, &m);
	if (got == -EEXIST && fresh) {
		LOG(k, CY_LOG_NOTICE,
		    "a policy of somebody else's with the same selector is replaced by ours");
		policy_encode(&m, XFRM_MSG_UPDPOLICY, p, &e->key.sel, e->index);
		got = nl_ack(k->xfrm, &m);
	}
	return got;
}

static int add_piece(struct kernel *k, const struct cy_kernel_policy *p, const struct xfrm_selector *sel)
{
	struct policy_key key = key_of(p, sel);
	struct policy_entry *e = find(k, &key);
	uint64_t owner = owner_of(k, p);
	bool fresh = !e;
	int got;

	if (fresh) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		e->key = key;
		e->owner = owner;
		e->index = new_index(k, p);
		e->refs = 1;
	}
	pthread_mutex_lock(&k->lock);
	e->reqid = p->reqid;
	e->cookie = p->cookie;
	if (fresh)
		table_add(&k->policies, &e->node, table_hash(&k->policies, &key, sizeof(key)));
	pthread_mutex_unlock(&k->lock);
	got = install(k, p, e, fresh);
	if (got < 0 && fresh) {
		pthread_mutex_lock(&k->lock);
		table_del(&k->policies, &e->node);
		pthread_mutex_unlock(&k->lock);
		free(e);
	} else if (got == 0 && e->owner != owner) {
		e->owner = owner;
		e->refs++;
	}
	return got;
}

static void ask(struct nl_msg *m, const struct policy_key *key)
{
	struct xfrm_userpolicy_id *x = nl_begin(m, XFRM_MSG_DELPOLICY, 0, sizeof(*x));

	x->sel = key->sel;
	x->dir = (uint8_t)key->dir;
	put_scope(m, &key->mark, key->if_id);
}

static int del_piece(struct kernel *k, const struct cy_kernel_policy *p, const struct xfrm_selector *sel)
{
	struct policy_key key = key_of(p, sel);
	struct policy_entry *e = find(k, &key);
	struct nl_msg m;

	if (!e)
		return -ENOENT;
	if (--e->refs > 0)
		return 0;
	pthread_mutex_lock(&k->lock);
	table_del(&k->policies, &e->node);
	pthread_mutex_unlock(&k->lock);
	free(e);
	ask(&m, &key);
	return nl_ack(k->xfrm, &m);
}

static enum cy_err check(const struct cy_kernel_policy *p)
{
	if (p->size < sizeof(*p) || p->dir < CY_DIR_IN || p->dir > CY_DIR_FWD ||
	    p->action < CY_POLICY_PROTECT || p->action > CY_POLICY_PASS || p->src.family_ip6 > 1 ||
	    p->dst.family_ip6 > 1)
		return CY_E_INVAL;
	if (p->action == CY_POLICY_PROTECT && p->has_tmpl &&
	    (p->reqid == 0 || p->mode < CY_MODE_TUNNEL || p->mode > CY_MODE_BEET ||
	        (p->proto != CY_PROTO_ESP && p->proto != CY_PROTO_AH) ||
	        (p->mode == CY_MODE_TUNNEL && p->tmpl_src.family != p->tmpl_dst.family)))
		return CY_E_INVAL;
	return CY_OK;
}

enum cy_err policy_add(struct kernel *k, const struct cy_kernel_policy *p)
{
	struct xfrm_selector sel[SELECTORS_MAX];
	enum cy_err err = check(p);
	size_t n = 0;
	int got = 0;

	if (!err)
		err = selectors_of(&p->src, &p->dst, sel, &n);
	if (err) {
		LOG(k, CY_LOG_ERROR, "a policy is refused: %s",
		    err == CY_E_LIMIT             ? "its ranges come to too many prefixes"
		        : err == CY_E_UNSUPPORTED ? "the kernel cannot match its ports"
		                                  : "a bad selector or template");
		return err;
	}
	for (size_t i = 0; i < n; i++) {
		got = add_piece(k, p, &sel[i]);
		if (got == 0)
			continue;
		err = kernel_failed(k, "cannot install a policy", got);
		while (i-- > 0)
			(void)del_piece(k, p, &sel[i]);
		return err;
	}
	/* no SA of another CPU will come */
	if (p->dir == CY_DIR_OUT && p->has_tmpl && !p->cpu_acquire)
		larval_remove_cpus(k, p->reqid);
	net_policy_added(k->net, p);
	return CY_OK;
}

enum cy_err policy_del(struct kernel *k, const struct cy_kernel_policy *p)
{
	struct xfrm_selector sel[SELECTORS_MAX];
	enum cy_err err = check(p);
	size_t n = 0;
	int worst = 0;

	if (!err)
		err = selectors_of(&p->src, &p->dst, sel, &n);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		int got = del_piece(k, p, &sel[i]);

		if (got < 0 && (worst == 0 || got != -ENOENT))
			worst = got;
	}
	net_policy_removed(k->net, p);
	if (p->dir == CY_DIR_OUT && p->has_tmpl && p->reqid)
		larval_remove(k, p->reqid);
	return worst == -ENOENT || worst == 0 ? nl_err(worst)
	                                      : kernel_failed(k, "cannot remove a policy", worst);
}

/* ---- removing everything */

#define LEFTOVERS 256

struct leftovers {
	struct policy_key key[LEFTOVERS];
	size_t n;
};

static void collect(void *user, const struct nlmsghdr *nlh)
{
	struct leftovers *l = user;
	struct xfrm_userpolicy_info x;
	const struct nlattr *a[XFRMA_MAX + 1];
	const struct xfrm_mark *mark;
	struct policy_key *key;

	/* the direction of a socket's policy is above those that we know */
	if (nlh->nlmsg_type != XFRM_MSG_NEWPOLICY || !nl_header(nlh, &x, sizeof(x)) || l->n == LEFTOVERS ||
	    (x.index & TAG_INDEX_MASK) != TAG_INDEX || x.dir > XFRM_POLICY_FWD)
		return;
	nl_attrs(nlh, sizeof(x), a, XFRMA_MAX);
	key = &l->key[l->n++];
	memset(key, 0, sizeof(*key));
	key->sel = x.sel;
	key->dir = x.dir;
	key->if_id = nl_u32(a[XFRMA_IF_ID]);
	mark = nl_value(a[XFRMA_MARK], sizeof(*mark));
	if (mark)
		key->mark = (struct cy_mark){mark->v, mark->m};
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
		nl_begin(&m, XFRM_MSG_GETPOLICY, NLM_F_DUMP, 0);
		if (nl_query(k->xfrm, &m, collect, l) < 0)
			break;
		for (size_t i = 0; i < l->n; i++) {
			ask(&m, &l->key[i]);
			removed += nl_ack(k->xfrm, &m) == 0;
		}
		all += removed;
	} while (removed && l->n == LEFTOVERS);
	free(l);
	return all;
}

void policy_flush(struct kernel *k)
{
	struct tnode *n;
	size_t pos = 0, left;
	struct nl_msg m;

	for (;;) {
		pthread_mutex_lock(&k->lock);
		n = table_take(&k->policies, &pos);
		pthread_mutex_unlock(&k->lock);
		if (!n)
			break;
		ask(&m, &table_entry(n, struct policy_entry, node)->key);
		(void)nl_ack(k->xfrm, &m);
		free(table_entry(n, struct policy_entry, node));
	}
	left = remove_leftovers(k);
	if (left)
		LOG(k, CY_LOG_NOTICE, "removed %zu polic%s that a daemon before us left", left,
		    left == 1 ? "y" : "ies");
}
