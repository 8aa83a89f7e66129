/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing IKE_SAs: shard after shard, a chunk at a time. For a chunk the control thread posts a job to the shard's worker,
 * which visits a bounded number of SAs, asks the data plane for the counters of their CHILD_SAs, and when these are
 * here (or late) writes the text. The next chunk is asked for when the client has taken most of this one. So no step of a worker is longer
 * than a chunk, and a slow client or data plane costs only this listing. Which CPU carries the SAs of a chunk is found out when it comes
 * back, on the control thread.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/carried.h"
#include "daemon/control/private.h"
#include "daemon/sa/manager.h"
#include "daemon/sa/totals.h"
#include "libcore/base/addr.h"
#include "libcore/base/names.h"

#define CHUNK_ITEMS  64
#define CHUNK_VISITS 256        /* SAs looked at, also those that do not match */
#define QUERY_WAIT   (NS_PER_S) /* for counters; then those last read are shown */

struct item {
	slab_handle sa;
	uint64_t child;                        /* 0: the IKE_SA itself */
	uint32_t in, out;                      /* steps of the query, UINT32_MAX none */
	uint64_t new_packets[2], new_bytes[2]; /* by direction: [1] inbound */
};

/* In flight for one listing: created on the control thread, worked on by one worker, given back by its post. */
struct chunk {
	struct job job;
	struct post post;
	struct timer timer;
	struct request *r;
	struct control *c;
	struct sa_shard *s;
	char *name; /* of the listing */
	char *id;   /* of the request */
	bool no_query, quiet;

	size_t pos;     /* of the slab */
	slab_handle sa; /* whose children come next, 0 none */
	uint64_t after_child;
	bool end, late;

	uint32_t n;
	struct item item[CHUNK_ITEMS];
	uint32_t n_sas;
	struct carried_sa sas[2 * CHUNK_ITEMS];
	uint32_t refs; /* atomic */
	bool written;
	struct jw w;
};

struct listing {
	char *name;
	uint32_t shard;
	size_t pos;
	slab_handle sa;
	uint64_t after_child;
	bool no_query, in_flight, quiet;
	bool placed; /* sums are wanted */
	struct carried_sums sums;
	void (*done)(struct request *r);
};

static void listing_next(struct request *r);

/* --- text ------------------------------------------------------------------------------------------------------------- */

static void write_addrs(struct jw *w, const char *key, const struct cy_addr *a, uint32_t n)
{
	char text[ADDR_STR_MAX];

	jw_arr(w, key);
	for (uint32_t i = 0; i < n; i++)
		jw_str(w, NULL, addr_str(&a[i], text));
	jw_arr_end(w);
}

static void write_ts(struct jw *w, const char *key, const struct cy_ts *ts, uint32_t n)
{
	char text[TS_STR_MAX];

	jw_arr(w, key);
	for (uint32_t i = 0; i < n; i++)
		jw_str(w, NULL, ts_str(&ts[i], text));
	jw_arr_end(w);
}

/* Seconds from now until a time, or since it; absent when it is not set. */
static void write_until(struct jw *w, const char *key, uint64_t when_ns, uint64_t now)
{
	if (when_ns)
		jw_i64(w, key, ((int64_t)when_ns - (int64_t)now) / (int64_t)NS_PER_S);
}

static void write_since(struct jw *w, const char *key, uint64_t when_ns, uint64_t now)
{
	if (when_ns)
		jw_u64(w, key, now > when_ns ? (now - when_ns) / NS_PER_S : 0);
}

static void write_leases(struct jw *w, const struct ike_sa *sa)
{
	char text[ADDR_STR_MAX];

	/* ours, given by the peer, or the peer's, given by us */
	jw_arr(w, "vips");
	for (uint32_t i = 0; i < sa->n_vips; i++)
		jw_str(w, NULL, addr_str(&sa->vips[i], text));
	for (uint32_t i = 0; i < sa->n_leases; i++)
		jw_str(w, NULL, addr_str(&sa->leases[i].addr, text));
	jw_arr_end(w);
	write_addrs(w, "dns", sa->dns, sa->n_dns);
	if (sa->save_password_said)
		jw_bool(w, "save_password", sa->save_password);
	if (sa->backups)
		jw_str(w, "backup_servers", sa->backups);
}

static void write_tasks(struct jw *w, const struct ike_sa *sa)
{
	const struct list *n;

	if (sa->task) {
		jw_str(w, "task", name_or_number(task_names, sa->task->kind));
		jw_u64(w, "tries", sa->tries);
	}
	jw_arr(w, "tasks_waiting");
	list_foreach (n, &sa->tasks)
		jw_str(w, NULL, name_or_number(task_names, list_entry(n, struct task, node)->kind));
	jw_arr_end(w);
}

static void write_ike(struct jw *w, const struct ike_sa *sa, uint64_t now)
{
	char text[ADDR_STR_MAX], id[IDENT_STR_MAX], suite[160];

	jw_str(w, "name", sa->conn ? sa->conn->name : "");
	jw_u64(w, "id", sa->id);
	jw_str(w, "state", name_or_number(ike_state_names, sa->state));
	jw_u64(w, "version", sa->version);
	jw_bool(w, "initiator", sa->initiator);
	jw_str(w, "local", addr_port_str(&sa->local, text));
	jw_str(w, "remote", addr_port_str(&sa->remote, text));
	jw_str(w, "local_id", ident_str(&sa->my_id, id));
	jw_str(w, "remote_id", ident_str(&sa->peer_id, id));
	if (sa->user)
		jw_str(w, "user", sa->user);
	jw_fmt(w, "spi_i", "%016llx", (unsigned long long)sa->spi_i);
	jw_fmt(w, "spi_r", "%016llx", (unsigned long long)sa->spi_r);
	jw_str(w, "algorithms", sa->suite.encr ? suite_str(&sa->suite, PROTO_IKE, suite, sizeof(suite)) : "");
	write_since(w, "age", sa->created_ns, now);
	write_since(w, "established", sa->established_ns, now);
	write_since(w, "last_in", sa->last_in_ns, now);
	write_since(w, "last_out", sa->last_out_ns, now);
	write_until(w, sa->rekey_is_reauth ? "reauth_in" : "rekey_in", sa->rekey_due_ns, now);
	write_until(w, "expires_in", sa->expire_due_ns, now);
	jw_bool(w, "nat_local", sa->nat_here);
	jw_bool(w, "nat_remote", sa->nat_there);
	jw_bool(w, "encap_forced", sa->encap_forced);
	jw_bool(w, "fragmentation", sa->peer_frag);
	if (sa->peer_vendor)
		jw_str(w, "vendor", sa->peer_vendor);
	write_tasks(w, sa);
	jw_u64(w, "inbox", sa->n_inbox);
	jw_u64(w, "inbox_dropped", sa->inbox_dropped);
	write_leases(w, sa);
}

static void write_child(struct jw *w, const struct child_sa *c, uint64_t now)
{
	static const char *const modes[] = {"", "TUNNEL", "TRANSPORT", "BEET"};
	char suite[160];

	jw_str(w, "name", c->conn ? c->conn->name : "");
	jw_u64(w, "id", c->id);
	jw_u64(w, "ike_id", c->sa->id);
	jw_str(w, "state", name_or_number(child_state_names, c->state));
	jw_str(w, "mode", c->mode < ARRAY_LEN(modes) ? modes[c->mode] : "");
	jw_str(w, "protocol", c->conn && c->conn->child_ah ? "AH" : "ESP");
	jw_bool(w, "encap", c->encap);
	jw_u64(w, "reqid", c->reqid);
	if (c->mark_in.mask)
		jw_fmt(w, "mark_in", "%u/0x%x", c->mark_in.value, c->mark_in.mask);
	if (c->mark_out.mask)
		jw_fmt(w, "mark_out", "%u/0x%x", c->mark_out.value, c->mark_out.mask);
	if (c->if_id_in)
		jw_u64(w, "if_id_in", c->if_id_in);
	if (c->if_id_out)
		jw_u64(w, "if_id_out", c->if_id_out);
	if (c->per_cpu)
		jw_str(w, "per_cpu", c->is_fallback ? "fallback" : c->cpu < 0 ? "any" : "cpu");
	if (c->cpu >= 0)
		jw_u64(w, "cpu", (uint64_t)c->cpu);
	jw_fmt(w, "spi_in", "%08x", c->spi_in);
	jw_fmt(w, "spi_out", "%08x", c->spi_out);
	jw_str(w, "algorithms",
	    c->suite.encr || c->suite.integ ? suite_str(&c->suite, PROTO_ESP, suite, sizeof(suite)) : "");
	jw_bool(w, "esn", c->suite.esn);
	write_ts(w, "local_ts", c->ts_local, c->n_ts_local);
	write_ts(w, "remote_ts", c->ts_remote, c->n_ts_remote);
	write_since(w, "installed", c->installed_ns, now);
	write_until(w, "rekey_in", c->rekey_due_ns, now);
	write_until(w, "expires_in", c->expire_due_ns, now);
	jw_u64(w, "packets_in", c->packets_in);
	jw_u64(w, "bytes_in", c->bytes_in);
	jw_u64(w, "packets_out", c->packets_out);
	jw_u64(w, "bytes_out", c->bytes_out);
	if (c->last_in_wall)
		jw_u64(w, "last_in", c->last_in_wall);
	if (c->last_out_wall)
		jw_u64(w, "last_out", c->last_out_wall);
}

/* --- on the worker --------------------------------------------------------------------------------------------------- */

static void add_sa(struct chunk *ch, const struct item *it, const struct child_sa *c, bool in)
{
	if (in ? c->in_installed : c->out_installed)
		ch->sas[ch->n_sas++] = (struct carried_sa){.id = child_kernel_id(c, in),
		    .cpu = in ? -1 : c->cpu,
		    .packets = in ? c->packets_in : c->packets_out,
		    .bytes = in ? c->bytes_in : c->bytes_out,
		    .new_packets = it->new_packets[in],
		    .new_bytes = it->new_bytes[in],
		    .text = ch->w.n};
}

/* Open at its end: where it is seen comes there. */
static void write_item(struct chunk *ch, const struct ike_sa *sa, const struct child_sa *c, uint64_t now)
{
	jw_obj(&ch->w, NULL);
	jw_raw(&ch->w, "id", ch->id);
	jw_str(&ch->w, "event", "item");
	jw_str(&ch->w, "list", c ? "children" : "ike_sas");
	jw_obj(&ch->w, "data");
	if (c)
		write_child(&ch->w, c, now);
	else
		write_ike(&ch->w, sa, now);
}

static void chunk_write(struct chunk *ch)
{
	uint64_t now = worker_now(ch->s->w);

	ch->written = true;
	for (uint32_t i = 0; i < ch->n; i++) {
		struct ike_sa *sa = slab_get(&ch->s->slab, ch->item[i].sa);
		struct child_sa *c = sa && ch->item[i].child ? child_by_id(sa, ch->item[i].child) : NULL;

		if (!sa || (ch->item[i].child && !c))
			continue; /* it went meanwhile */
		if (!ch->quiet)
			write_item(ch, sa, c, now);
		if (c) {
			add_sa(ch, &ch->item[i], c, true);
			add_sa(ch, &ch->item[i], c, false);
		}
		if (!ch->quiet) {
			jw_obj_end(&ch->w);
			request_line_end(&ch->w);
		}
	}
}

/* Two may hold it: the control thread, which gets the text, and a query that is out. */
static void chunk_put(struct chunk *ch)
{
	if (__atomic_sub_fetch(&ch->refs, 1, __ATOMIC_ACQ_REL))
		return;
	jw_fini(&ch->w);
	free(ch->name);
	free(ch->id);
	free(ch);
}

static void chunk_finish(struct chunk *ch)
{
	chunk_write(ch);
	control_post(ch->c, &ch->post);
}

static bool answered(const struct knl_req *q, uint32_t step)
{
	return step < q->n && q->step[step].done && q->step[step].err == CY_OK;
}

static void counted(struct item *it, struct child_sa *c, bool in, const struct knl_req *q, uint32_t step)
{
	const uint64_t *packets = in ? &c->packets_in : &c->packets_out;
	const uint64_t *bytes = in ? &c->bytes_in : &c->bytes_out;
	uint64_t had_packets = *packets, had_bytes = *bytes;

	if (!answered(q, step))
		return;
	totals_traffic(c, in, &q->step[step].stats);
	it->new_packets[in] = *packets > had_packets ? *packets - had_packets : 0;
	it->new_bytes[in] = *bytes > had_bytes ? *bytes - had_bytes : 0;
}

static void query_done(struct worker *w, struct knl_req *q)
{
	struct chunk *ch = q->user;

	if (!ch->written) {
		worker_timer_cancel(w, &ch->timer);
		for (uint32_t i = 0; i < ch->n; i++) {
			struct ike_sa *sa = slab_get(&ch->s->slab, ch->item[i].sa);
			struct child_sa *c =
			    sa && ch->item[i].child ? child_by_id(sa, ch->item[i].child) : NULL;

			if (c) {
				counted(&ch->item[i], c, true, q, ch->item[i].in);
				counted(&ch->item[i], c, false, q, ch->item[i].out);
			}
		}
		chunk_finish(ch);
	}
	knl_req_free(q);
	chunk_put(ch);
}

/* The data plane is slow: what was last read must do. */
static void query_late(struct timer *t)
{
	struct chunk *ch = container_of(t, struct chunk, timer);

	ch->late = true;
	chunk_finish(ch);
}

static bool wanted(const struct chunk *ch, const struct conn *conn)
{
	return !ch->name || conn_is_called(conn, ch->name);
}

static void add_child(struct chunk *ch, struct child_sa *c, struct knl_req *q)
{
	struct item *it = &ch->item[ch->n++];

	*it = (struct item){.sa = c->sa->handle, .child = c->id, .in = UINT32_MAX, .out = UINT32_MAX};
	if (q && c->in_installed) {
		it->in = q->n;
		knl_req_add(q, KNL_SA_QUERY)->u.id = child_kernel_id(c, true);
	}
	if (q && c->out_installed) {
		it->out = q->n;
		knl_req_add(q, KNL_SA_QUERY)->u.id = child_kernel_id(c, false);
	}
}

/* The children of an SA that are not listed yet; false when the chunk is full. */
static bool add_children(struct chunk *ch, struct ike_sa *sa, struct knl_req *q)
{
	struct list *n;

	list_foreach (n, &sa->children) {
		struct child_sa *c = list_entry(n, struct child_sa, node);

		if (c->id <= ch->after_child)
			continue;
		if (ch->n == CHUNK_ITEMS)
			return false;
		add_child(ch, c, q);
		ch->after_child = c->id;
	}
	return true;
}

/* An SA is also wanted for a CHILD_SA of that name in it. */
static bool sa_wanted(const struct chunk *ch, const struct ike_sa *sa)
{
	const struct list *n;

	if (!ch->name || (sa->conn && wanted(ch, sa->conn)))
		return true;
	list_foreach (n, &sa->children)
		if (wanted(ch, list_entry(n, struct child_sa, node)->conn))
			return true;
	return false;
}

static void chunk_collect(struct chunk *ch, struct knl_req *q)
{
	struct ike_sa *sa = ch->sa ? slab_get(&ch->s->slab, ch->sa) : NULL;

	if (sa && !add_children(ch, sa, q))
		return;
	for (uint32_t visits = 0; visits < CHUNK_VISITS && ch->n < CHUNK_ITEMS; visits++) {
		ch->sa = 0;
		ch->after_child = 0;
		sa = slab_next(&ch->s->slab, &ch->pos, &ch->sa);
		if (!sa) {
			ch->sa = 0;
			ch->end = true;
			return;
		}
		if (!sa_wanted(ch, sa))
			continue;
		ch->item[ch->n++] = (struct item){.sa = ch->sa, .in = UINT32_MAX, .out = UINT32_MAX};
		if (!add_children(ch, sa, q))
			return;
	}
}

static void chunk_run(struct worker *w, struct job *j)
{
	struct chunk *ch = container_of(j, struct chunk, job);
	struct knl_req *q = ch->no_query ? NULL : knl_req_new(2 * CHUNK_ITEMS);

	chunk_collect(ch, q);
	if (!q || !q->n) {
		knl_req_free(q);
		chunk_finish(ch);
		return;
	}
	q->worker = w;
	q->done = query_done;
	q->user = ch;
	ch->refs++;
	ch->timer.fn = query_late;
	worker_timer_set(w, &ch->timer, worker_now(w) + QUERY_WAIT);
	knl_submit(ch->s->d->knl, q);
}

/* --- on the control thread -------------------------------------------------------------------------------------------- */

static void listing_free(void *state)
{
	struct listing *l = state;

	carried_fini(&l->sums);
	free(l->name);
	free(l);
}

/* Sums up the SAs, and puts where each is seen into its text. */
static void chunk_place(struct control *c, struct chunk *ch, struct listing *l)
{
	struct jw w = {0};
	size_t from = 0;

	for (uint32_t i = 0; i < ch->n_sas; i++) {
		const struct carried_sa *sa = &ch->sas[i];
		struct cy_kernel_place at;

		if (!carried_count(c->d, l->placed ? &l->sums : NULL, &c->carried, sa, &at) || !l->placed ||
		    ch->quiet || ch->w.failed)
			continue;
		jw_add(&w, ch->w.p + from, sa->text - from);
		from = sa->text;
		carried_write_place(&w, sa->id.dir == CY_DIR_IN, &at);
	}
	if (!from)
		return;
	jw_add(&w, ch->w.p + from, ch->w.n - from);
	jw_fini(&ch->w);
	ch->w = w;
}

static void chunk_back(struct control *c, struct post *p)
{
	struct chunk *ch = container_of(p, struct chunk, post);
	struct request *r = ch->r;
	struct listing *l = r->state;

	chunk_place(c, ch, l);
	l->in_flight = false;
	l->pos = ch->pos;
	l->sa = ch->sa;
	l->after_child = ch->after_child;
	if (ch->late && !l->no_query) {
		l->no_query = true; /* one wait a listing */
		if (!request_gone(r))
			request_progress(r, "the data plane does not answer: counters are those last read");
	}
	if (ch->end) {
		l->shard++;
		l->pos = 0;
		l->sa = 0;
		l->after_child = 0;
	}
	if (!request_gone(r)) {
		request_send(r, &ch->w);
		listing_next(r);
	}
	chunk_put(ch);
	request_unref(r);
}

static struct chunk *chunk_new(struct request *r, struct listing *l)
{
	struct chunk *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->refs = 1;
	ch->id = strdup(r->id);
	ch->name = l->name ? strdup(l->name) : NULL;
	if (!ch->id || (l->name && !ch->name)) {
		chunk_put(ch);
		return NULL;
	}
	list_init(&ch->post.node);
	ch->post.fn = chunk_back;
	ch->job.fn = chunk_run;
	ch->c = r->control;
	ch->s = &r->control->d->sas->shards[l->shard];
	ch->no_query = l->no_query;
	ch->quiet = l->quiet;
	ch->pos = l->pos;
	ch->sa = l->sa;
	ch->after_child = l->after_child;
	ch->r = request_ref(r);
	return ch;
}

static void listing_next(struct request *r)
{
	struct listing *l = r->state;
	struct chunk *ch;

	if (l->in_flight || !request_has_room(r))
		return; /* goes on when the chunk is back, or the client has read */
	if (l->shard == r->control->d->sas->n) {
		r->resume = NULL;
		l->done(r);
		return;
	}
	ch = chunk_new(r, l);
	if (!ch) {
		request_fail(r, "limit", "out of memory");
		return;
	}
	l->in_flight = true;
	worker_post(ch->s->w, &ch->job, PRIO_CRITICAL, JOB_CONTROL);
}

static enum cy_err list(
    struct request *r, const char *name, bool quiet, bool placed, void (*done)(struct request *r))
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l)
		return CY_E_NOMEM;
	if (name && !(l->name = strdup(name))) {
		free(l);
		return CY_E_NOMEM;
	}
	l->done = done;
	l->quiet = quiet;
	l->placed = placed;
	if (r->state && r->state_free)
		r->state_free(r->state);
	r->state = l;
	r->state_free = listing_free;
	r->resume = listing_next;
	listing_next(r);
	return CY_OK;
}

enum cy_err list_sas(struct request *r, const char *name, bool placed, void (*done)(struct request *r))
{
	return list(r, name, false, placed, done);
}

enum cy_err read_sas(struct request *r, void (*done)(struct request *r))
{
	return list(r, NULL, true, true, done);
}

const struct carried_sums *listed_sums(const struct request *r)
{
	return &((const struct listing *)r->state)->sums;
}
