/* SPDX-License-Identifier: Apache-2.0 */
/* INFORMATIONAL: deletes and liveness. RFC 7296, 1.4, 1.4.1, 2.4, 2.25. */
#include <stdio.h>

#include "daemon/ikev2/ikev2.h"
#include "libcore/base/addr.h"

#define DELETE_MAX 64

void v2_after_init_child(struct ike_sa *sa)
{
	struct ike_sa *old;
	struct list *n;

	if (!sa->replaces || sa->state != IKE_ESTABLISHED)
		return;
	list_foreach (n, &sa->tasks)
		if (list_entry(n, struct task, node)->kind == TASK_CHILD_CREATE)
			return; /* not yet complete */
	old = sa_by_id(sa->shard, sa->replaces);
	sa->replaces = 0;
	if (!old)
		return;
	/* An address that both have stays when the old one goes. */
	for (uint32_t i = 0; i < old->n_vips; i++)
		for (uint32_t j = 0; j < sa->n_vips; j++)
			if (cy_addr_ip_eq(&old->vips[i], &sa->vips[j])) {
				old->vips[i] = old->vips[--old->n_vips];
				i--;
				break;
			}
	ike_sa_close(old, "reauthenticated");
}

/* --- ours ------------------------------------------------------------------------------------------------------------------------------ */

void v2_info_start(struct ike_sa *sa, struct task *t)
{
	struct step *st = sa->step;
	struct child_sa *c = NULL;
	bool ok = true;

	v2_out_header(sa, EXCHANGE_INFORMATIONAL, false);
	switch (t->kind) {
	case TASK_CHILD_DELETE:
		c = child_by_id(sa, t->child_id);
		if (!c) {
			v2_done(sa);
			return;
		}
		if (c->state != CHILD_REKEYED)
			c->state = CHILD_DELETING;
		else
			c->deleting_rekeyed = true;
		ok = message_delete(&st->a, &st->out, PROTO_ESP, &c->spi_in, 1);
		break;
	case TASK_IKE_DELETE:
		if (sa->state != IKE_REKEYED) {
			sa->state = IKE_DELETING;
			unique_forget(sa); /* nothing is added to it any more */
			ike_note(sa, LOG_IKE, CY_LOG_INFO, "deleting IKE_SA %s[%llu]", sa->conn->name,
			    (unsigned long long)sa->id);
		}
		ok = message_delete(&st->a, &st->out, PROTO_IKE, NULL, 0);
		break;
	default: /* liveness; after a rekeying that we began the peer gets our new token with it (RFC 6290, 4.3) */
		ok = !sa->crash_token_due || v2_crash_add(sa, &st->a, &st->out);
		sa->crash_token_due = false;
		break;
	}
	if (!ok || exchange_send(sa, true)) {
		v2_fatal(sa, "out of memory");
		return;
	}
	step_end(sa);
}

void v2_info_response(struct ike_sa *sa)
{
	struct task *t = sa->task;
	struct child_sa *c;

	switch (t->kind) {
	case TASK_CHILD_DELETE:
		c = child_by_id(sa, t->child_id);
		if (c)
			child_remove(c, c->state == CHILD_REKEYED ? NULL : "closed");
		ike_watch_done(sa, &t->watches, true, "");
		break;
	case TASK_IKE_DELETE:
		ike_watch_done(sa, &t->watches, true, "");
		ike_sa_destroy(sa, sa->state == IKE_REKEYED ? NULL : sa->why[0] ? sa->why : "closed");
		return;
	default:
		break;
	}
	v2_done(sa);
}

/* --- theirs ---------------------------------------------------------------------------------------------------------------------------- */

static void close_by_peer(struct ike_sa *sa)
{
	struct sa_shard *s = sa->shard;
	slab_handle heir = v2_rekey_yield(sa);
	bool rekeyed = sa->state == IKE_REKEYED, ours = sa->state == IKE_DELETING, another;
	struct conn *conns[DELETE_MAX];
	enum conn_dpd action[DELETE_MAX];
	size_t n_conns = 0;
	struct list *n;

	v2_out_header(sa, EXCHANGE_INFORMATIONAL, true);
	(void)!exchange_respond(sa, true);
	unique_forget(sa);
	another = unique_known(
	    s->m, &sa->my_id, &sa->peer_id, NULL); /* it has reauthenticated: nothing is missing */
	list_foreach (n, &sa->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (!ours && !another && n_conns < DELETE_MAX && c->conn->close_action != DPD_NONE &&
		    c->conn->close_action != DPD_CLEAR && c->state == CHILD_INSTALLED && !child_is_extra(c)) {
			action[n_conns] = c->conn->close_action;
			conns[n_conns++] = conn_ref(c->conn);
		}
	}
	ike_sa_destroy(sa, rekeyed ? NULL : "closed by the peer");
	for (size_t i = 0; i < n_conns; i++) {
		sa_child_action(s, conns[i], action[i]);
		conn_unref(conns[i]);
	}
	if (heir)
		v2_resume(s, heir);
}

/* Made by the peer while our own request to rekey the same CHILD_SA is out: closing it, the peer says that ours stays (2.8.1). */
static bool gives_way(const struct ike_sa *sa, const struct child_sa *c)
{
	struct list *n;

	list_foreach (n, &sa->children)
		if (list_entry(n, struct child_sa, node)->collision == c->id)
			return true;
	return false;
}

/* Close what the peer closes; our halves of those pairs go into the answer, unless we are deleting them as well (1.4.1). */
static void delete_children(struct ike_sa *sa, const struct payload *del, uint32_t *answer, size_t *n_answer)
{
	struct reader r = reader_of(del->u.del.spis);

	if (del->u.del.proto != PROTO_ESP || del->u.del.spi_len != 4)
		return;
	for (uint16_t i = 0; i < del->u.del.n; i++) {
		uint32_t spi = read_u32(&r);
		struct child_sa *c = r.bad ? NULL : child_by_spi_out(sa, spi), *next;
		struct conn *conn = NULL;
		enum conn_dpd action;
		bool silent;

		if (!c)
			continue;
		if (c->state != CHILD_DELETING && !c->deleting_rekeyed && *n_answer < DELETE_MAX)
			answer[(*n_answer)++] = c->spi_in;
		next = c->successor ? child_by_id(sa, c->successor)
		    : c->collision  ? child_by_id(sa, c->collision)
		                    : NULL;
		if (next)
			child_switch_out(next);
		if (next && sa->task && sa->task->kind == TASK_CHILD_REKEY && sa->task->child_id == c->id)
			sa->task->superseded = next->id;
		silent = next || c->state == CHILD_REKEYED || gives_way(sa, c);
		action = c->conn->close_action;
		if (!silent && !child_is_extra(c) && c->state == CHILD_INSTALLED &&
		    sa->state == IKE_ESTABLISHED && (action == DPD_RESTART || action == DPD_HOLD))
			conn = conn_ref(c->conn);
		if (!next)
			child_successor_gone(sa, c->id);
		child_remove(c, silent ? NULL : "closed by the peer");
		if (conn)
			sa_child_action(sa->shard, conn, action);
		conn_unref(conn);
	}
}

void v2_info_request(struct ike_sa *sa)
{
	const struct payload *first = sa->step->in.first, *p;
	uint32_t answer[DELETE_MAX];
	size_t n_answer = 0;

	if (wire_find_notify(first, N_AUTHENTICATION_FAILED) && sa->established_ns) {
		/* 2.21.2: the initiator did not accept us */
		v2_out_header(sa, EXCHANGE_INFORMATIONAL, true);
		(void)!exchange_respond(sa, true);
		v2_fatal(sa, "the peer did not accept our authentication");
		return;
	}
	for (p = wire_find(first, PAYLOAD_DELETE); p; p = wire_find_after(p, PAYLOAD_DELETE))
		if (p->u.del.proto == PROTO_IKE) {
			close_by_peer(sa);
			return;
		}
	v2_crash_take(sa, first);
	for (p = wire_find(first, PAYLOAD_DELETE); p; p = wire_find_after(p, PAYLOAD_DELETE))
		delete_children(sa, p, answer, &n_answer);
	v2_out_header(sa, EXCHANGE_INFORMATIONAL, true);
	if (n_answer && !message_delete(&sa->step->a, &sa->step->out, PROTO_ESP, answer, n_answer)) {
		v2_fatal(sa, "out of memory");
		return;
	}
	v2_respond(sa);
}
