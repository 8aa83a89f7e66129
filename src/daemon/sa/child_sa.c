/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/child_sa.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "daemon/sa/totals.h"
#include "libcore/base/addr.h"

const struct name child_state_names[] = {{CHILD_CREATED, "CREATED"}, {CHILD_INSTALLING, "INSTALLING"},
    {CHILD_INSTALLED, "INSTALLED"}, {CHILD_REKEYING, "REKEYING"}, {CHILD_REKEYED, "REKEYED"},
    {CHILD_DELETING, "DELETING"}, {0, NULL}};

static void on_rekey(struct timer *t)
{
	child_expire(container_of(t, struct child_sa, t_rekey), false);
}

static void on_expire(struct timer *t)
{
	child_expire(container_of(t, struct child_sa, t_expire), true);
}

/* The peer that started the rekey did not delete the old SA in time: begin to send on the new one all the same. */
static void on_out(struct timer *t)
{
	struct child_sa *c = container_of(t, struct child_sa, t_out);

	child_switch_out(c);
}

#define LINGER_NS                                                                                            \
	(180 * NS_PER_S) /* as long as a peer that retransmits may take to delete what it replaced */
#define RETRY_NS (20 * NS_PER_S)

#define SPI_DRAWS 256

/* 0: none was found that is free. Those below 256 are reserved (RFC 4303, 2.1), and spi_min is not below it. */
static uint32_t draw_spi(struct sa_shard *s)
{
	for (int i = 0; i < SPI_DRAWS; i++) {
		uint32_t spi = net_esp_spi_new(s->d->net, s->d->env, s->index);
		struct hnode *n;

		for (n = hmap_first(&s->child_in, hmap_hash(&s->child_in, &spi, sizeof(spi))); n;
		     n = hmap_next(n))
			if (container_of(n, struct child_sa, by_spi_in)->spi_in == spi)
				break;
		if (!n)
			return spi;
	}
	return 0;
}

/* Numbers of a CHILD_SA's own; as libreswan, above those that people choose. Those that the mask makes 0 mean no mark. */
static uint32_t draw_id(struct sa_manager *m, uint32_t mask)
{
	uint32_t id;

	do
		id = __atomic_add_fetch(&m->next_own_id, 1, __ATOMIC_RELAXED);
	while ((id & mask) == 0);
	return id & mask;
}

static void draw_ids(struct child_sa *c)
{
	const struct conn *conn = c->conn;
	struct sa_manager *m = c->shard->m;
	uint32_t id;

	c->mark_in = conn->mark_in;
	c->mark_out = conn->mark_out;
	c->if_id_in = conn->if_id_in;
	c->if_id_out = conn->if_id_out;
	if (conn->mark_in_own != OWN_ID_NO)
		c->mark_in.value = draw_id(m, c->mark_in.mask);
	if (conn->mark_out_own == OWN_ID_CHILD && conn->mark_in_own == OWN_ID_CHILD &&
	    c->mark_out.mask == c->mark_in.mask)
		c->mark_out.value = c->mark_in.value;
	else if (conn->mark_out_own != OWN_ID_NO)
		c->mark_out.value = draw_id(m, c->mark_out.mask);
	id = conn->if_id_in_own != OWN_ID_NO || conn->if_id_out_own != OWN_ID_NO ? draw_id(m, UINT32_MAX) : 0;
	if (conn->if_id_in_own != OWN_ID_NO)
		c->if_id_in = id;
	if (conn->if_id_out_own != OWN_ID_NO)
		c->if_id_out = conn->if_id_out_own == OWN_ID_DIRECTION ? draw_id(m, UINT32_MAX) : id;
}

void child_take_ids(struct child_sa *c, const struct child_sa *old)
{
	c->reqid = old->reqid;
	c->mark_in = old->mark_in;
	c->mark_out = old->mark_out;
	c->if_id_in = old->if_id_in;
	c->if_id_out = old->if_id_out;
	c->cpu = old->cpu;
	c->per_cpu = old->per_cpu;
	c->is_fallback = old->is_fallback;
}

void child_set_rekeys(struct child_sa *c, struct child_sa *old)
{
	c->rekeys = old->id;
	list_del(&c->line);
	list_add_after(&old->line, &c->line);
}

struct child_sa *child_new(struct ike_sa *sa, struct conn *conn)
{
	uint32_t spi = draw_spi(sa->shard);
	struct child_sa *c = spi ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	list_init(&c->node);
	c->sa = sa;
	c->shard = sa->shard;
	list_init(&c->line);
	c->id = __atomic_add_fetch(&sa->shard->m->next_child_id, 1, __ATOMIC_RELAXED);
	c->conn = conn_ref(conn);
	c->state = CHILD_CREATED;
	c->mode = conn->type == TYPE_TRANSPORT ? CY_MODE_TRANSPORT : CY_MODE_TUNNEL;
	c->cpu = -1;
	draw_ids(c);
	c->spi_in = spi;
	hmap_add(&sa->shard->child_in, &c->by_spi_in,
	    hmap_hash(&sa->shard->child_in, &c->spi_in, sizeof(c->spi_in)));
	c->indexed_in = true;
	c->t_rekey.fn = on_rekey;
	c->t_expire.fn = on_expire;
	c->t_out.fn = on_out;
	return c;
}

void child_adopt(struct ike_sa *sa, struct child_sa *c)
{
	struct list *at;

	if (list_linked(&c->node)) {
		list_del(&c->node);
		c->sa->n_children--;
	} else {
		SA_COUNT(sa->shard->m, child_sas);
	}
	c->sa = sa;
	/* in the order of their numbers, which is how they are listed; one that the peer began may be ready before an older one */
	for (at = sa->children.prev; at != &sa->children; at = at->prev)
		if (list_entry(at, struct child_sa, node)->id < c->id)
			break;
	list_add_after(at, &c->node);
	sa->n_children++;
}

static void keys_wipe(struct child_sa *c)
{
	secret_fini(&c->keys.encr_in);
	secret_fini(&c->keys.encr_out);
	secret_fini(&c->keys.integ_in);
	secret_fini(&c->keys.integ_out);
}

void child_detach(struct child_sa *c)
{
	worker_timer_cancel(c->shard->w, &c->t_rekey);
	worker_timer_cancel(c->shard->w, &c->t_expire);
	worker_timer_cancel(c->shard->w, &c->t_out);
	if (list_linked(&c->node)) {
		list_del(&c->node);
		c->sa->n_children--;
		SA_UNCOUNT(c->shard->m, child_sas);
	}
	if (c->indexed_in)
		hmap_del(&c->shard->child_in, &c->by_spi_in);
	if (c->indexed_out)
		hmap_del(&c->shard->child_out, &c->by_spi_out);
	c->indexed_in = c->indexed_out = false;
	reqid_release(c);
	keys_wipe(c);
	secret_fini(&c->collision_nonce);
	c->sa = NULL;
}

void child_free(struct child_sa *c)
{
	if (!c)
		return;
	if (c->sa)
		child_detach(c);
	list_del(&c->line);
	free(c->ts_local);
	free(c->ts_remote);
	conn_unref(c->conn);
	free(c);
}

static struct cy_ts *ts_dup(const struct cy_ts *ts, size_t n)
{
	struct cy_ts *copy = calloc(n ? n : 1, sizeof(*copy));

	if (copy && n)
		memcpy(copy, ts, n * sizeof(*copy));
	return copy;
}

enum cy_err child_set_ts(
    struct child_sa *c, const struct cy_ts *l, size_t n_l, const struct cy_ts *r, size_t n_r)
{
	struct cy_ts *a = ts_dup(l, n_l), *b = ts_dup(r, n_r);

	if (!a || !b) {
		free(a);
		free(b);
		return CY_E_NOMEM;
	}
	free(c->ts_local);
	free(c->ts_remote);
	c->ts_local = a;
	c->n_ts_local = (uint32_t)n_l;
	c->ts_remote = b;
	c->n_ts_remote = (uint32_t)n_r;
	return CY_OK;
}

void child_set_spi_out(struct child_sa *c, uint32_t spi)
{
	if (c->indexed_out)
		hmap_del(&c->shard->child_out, &c->by_spi_out);
	c->spi_out = spi;
	hmap_add(&c->shard->child_out, &c->by_spi_out, hmap_hash(&c->shard->child_out, &spi, sizeof(spi)));
	c->indexed_out = true;
}

enum cy_err child_derive(struct child_sa *c, struct ike_sa *sa, struct cy_slice secret, struct cy_slice ni,
    struct cy_slice nr, bool we_initiate)
{
	const struct crypto *crypto = sa->shard->d->crypto;
	struct cy_slice seed[3] = {secret, ni, nr};
	size_t encr_len, integ_len, half;
	struct secret mat = {NULL, 0};
	const uint8_t *p;
	enum cy_err e;

	if (!suite_key_lens(crypto, &c->suite, &encr_len, &integ_len))
		return CY_E_UNSUPPORTED;
	half = encr_len + integ_len;
	e = secret_init(&mat, 2 * half);
	if (e)
		return e;
	/* RFC 7296, 2.17: KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr); initiator to responder comes first. */
	e = prf_plus(crypto, sa->suite.prf, ike_key(sa, SK_D), seed, 3, mat.p, mat.n);
	keys_wipe(c);
	p = mat.p + (we_initiate ? 0 : half);
	if (!e)
		e = secret_dup(&c->keys.encr_out, cy_slice(p, encr_len));
	if (!e)
		e = secret_dup(&c->keys.integ_out, cy_slice(p + encr_len, integ_len));
	p = mat.p + (we_initiate ? half : 0);
	if (!e)
		e = secret_dup(&c->keys.encr_in, cy_slice(p, encr_len));
	if (!e)
		e = secret_dup(&c->keys.integ_in, cy_slice(p + encr_len, integ_len));
	secret_fini(&mat);
	if (e)
		keys_wipe(c);
	return e;
}

/* --- after installation ---------------------------------------------------------------------------------------- */

void child_mark(struct child_sa *c, unsigned parts)
{
	if (parts & CHILD_PART_IN)
		c->in_installed = true;
	if (parts & CHILD_PART_OUT)
		c->out_installed = true;
	if (parts & CHILD_PART_POLICIES)
		c->policies_installed = true;
	if (c->in_installed && c->out_installed)
		keys_wipe(c);
	child_moved(c); /* the IKE_SA may have meanwhile */
}

/* What it replaces may have gone down meanwhile. */
static bool line_is_up(const struct child_sa *c)
{
	struct list *n;

	list_foreach (n, &c->line)
		if (list_entry(n, struct child_sa, line)->up_announced)
			return true;
	return false;
}

void child_up(struct child_sa *c)
{
	struct sa_shard *s = c->shard;
	const struct conn *conn = c->conn;
	uint64_t now = worker_now(s->w);
	char text[512], suite[128];

	c->state = CHILD_INSTALLED;
	c->installed_ns = now;
	if (conn->child_lifetime_s) {
		c->expire_due_ns = now + conn->child_lifetime_s * NS_PER_S;
		worker_timer_set(s->w, &c->t_expire, c->expire_due_ns);
		if (conn->rekey) {
			c->rekey_due_ns = now +
			    rekey_delay_ns(s->d->env, conn->child_lifetime_s, conn->rekey_margin_s,
			        conn->rekey_fuzz_pct);
			worker_timer_set(s->w, &c->t_rekey, c->rekey_due_ns);
		}
	}
	SA_COUNT(s->m, child_established);
	if (c->rekeys)
		SA_COUNT(s->m, rekeys_child);
	totals_ike(c->sa, &(struct totals_counts){.child_up = !c->rekeys, .child_rekeys = c->rekeys != 0});
	ike_note(c->sa, LOG_CHD, CY_LOG_NOTICE, "CHILD_SA %s{%llu} %s with SPIs %08x_i %08x_o, %s, TS %s",
	    conn->name, (unsigned long long)c->id, c->rekeys ? "rekeyed" : "established", c->spi_in,
	    c->spi_out, suite_str(&c->suite, PROTO_ESP, suite, sizeof(suite)),
	    child_describe(c, text, sizeof(text)));
	ike_event_child(c->sa, c, line_is_up(c) ? CY_EV_CHILD_REKEYED : CY_EV_CHILD_UP, NULL);
	c->up_announced = true;
}

void child_replaced(struct child_sa *c, uint64_t successor)
{
	uint64_t end = worker_now(c->shard->w) + LINGER_NS;

	c->state = CHILD_REKEYED;
	c->successor = successor;
	worker_timer_cancel(c->shard->w, &c->t_out);
	if (!c->expire_due_ns || c->expire_due_ns > end)
		worker_timer_set(c->shard->w, &c->t_expire, end);
}

void child_successor_gone(struct ike_sa *sa, uint64_t successor)
{
	struct worker *w = sa->shard->w;
	struct list *n;

	list_foreach (n, &sa->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (c->collision == successor)
			c->collision = 0;
		if (c->state != CHILD_REKEYED || c->successor != successor || c->deleting_rekeyed ||
		    task_pending(sa, TASK_CHILD_DELETE, c->id))
			continue;
		c->state = CHILD_INSTALLED;
		c->successor = 0;
		c->rekey_queued = false;
		if (c->expire_due_ns)
			worker_timer_set(w, &c->t_expire, c->expire_due_ns);
		else
			worker_timer_cancel(w, &c->t_expire);
		if (c->rekey_due_ns && !timer_is_set(&c->t_rekey))
			worker_timer_set(w, &c->t_rekey, worker_now(w) + RETRY_NS);
	}
}

/* Its lifetime ended before a rekeying succeeded: the end that made it makes another. */
static void recreate(struct child_sa *c)
{
	struct task *t;

	/* one of a CPU comes back when there is traffic */
	if (!c->initiator || !c->conn->rekey || child_is_extra(c) ||
	    (c->state != CHILD_INSTALLED && c->state != CHILD_REKEYING) || !(t = task_new(TASK_CHILD_CREATE)))
		return;
	t->conn = conn_ref(c->conn);
	t->reqid = c->reqid;
	list_push(&c->sa->tasks, &t->node);
}

void child_expire(struct child_sa *c, bool hard)
{
	struct ike_sa *sa = c->sa;
	enum task_kind kind = hard || !c->conn->rekey ? TASK_CHILD_DELETE : TASK_CHILD_REKEY;
	struct task *t;

	if (sa->state != IKE_ESTABLISHED || c->state == CHILD_DELETING)
		return;
	if (kind == TASK_CHILD_REKEY && (c->state != CHILD_INSTALLED || c->rekey_queued))
		return;
	if (!hard && !c->conn->rekey)
		return; /* the hard limit ends it */
	if (task_pending(sa, kind, c->id))
		return;
	t = task_new(kind);
	if (!t)
		return;
	t->child_id = c->id;
	if (kind == TASK_CHILD_REKEY) {
		c->rekey_queued = true;
		task_queue(sa, t);
		return;
	}
	list_push(&sa->tasks, &t->node); /* before what takes its place */
	recreate(c);
	task_start_next(sa);
}

struct child_sa *child_by_id(struct ike_sa *sa, uint64_t id)
{
	struct list *n;

	list_foreach (n, &sa->children)
		if (list_entry(n, struct child_sa, node)->id == id)
			return list_entry(n, struct child_sa, node);
	return NULL;
}

struct child_sa *child_by_spi_out(struct ike_sa *sa, uint32_t spi)
{
	struct list *n;

	list_foreach (n, &sa->children)
		if (list_entry(n, struct child_sa, node)->spi_out == spi)
			return list_entry(n, struct child_sa, node);
	return NULL;
}

static size_t put_list(char *out, size_t cap, const struct cy_ts *ts, uint32_t n)
{
	char text[TS_STR_MAX];
	size_t at = 0;

	for (uint32_t i = 0; i < n && at < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? " " : "", ts_str(&ts[i], text));
	return at < cap ? at : cap;
}

const char *child_describe(const struct child_sa *c, char *out, size_t cap)
{
	size_t at = put_list(out, cap, c->ts_local, c->n_ts_local);

	if (at < cap)
		at += (size_t)snprintf(out + at, cap - at, " === ");
	if (at < cap)
		put_list(out + at, cap - at, c->ts_remote, c->n_ts_remote);
	return out;
}
