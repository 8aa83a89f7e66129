/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold after every step, whatever the network and the peers did. */
#include <stdlib.h>

#include "daemon/auth/sources.h"
#include "daemon/policy/lease.h"
#include "daemon/sa/manager.h"
#include "daemon/sa/traps.h"
#include "libcore/base/names.h"
#include "libcore/conf/conf.h"
#include "sim.h"

static struct sim_ksa *in_kernel(struct sim_kernel *k, uint32_t spi, enum cy_dir dir)
{
	struct list *l;

	list_foreach (l, &k->sas) {
		struct sim_ksa *x = list_entry(l, struct sim_ksa, node);

		if (x->sa.spi == spi && x->sa.dir == dir)
			return x;
	}
	return NULL;
}

/* Both ends of an SPI hold the same keys. */
static void check_keys(struct sim *s)
{
	struct list *l, *m;
	uint16_t port;

	for (uint32_t a = 0; a < s->n_nodes; a++)
		list_foreach (l, &s->nodes[a]->kernel.sas) {
			struct sim_ksa *out = list_entry(l, struct sim_ksa, node);

			if (out->sa.dir != CY_DIR_OUT)
				continue;
			for (uint32_t b = 0; b < s->n_nodes; b++)
				list_foreach (m, &s->nodes[b]->kernel.sas) {
					struct sim_ksa *in = list_entry(m, struct sim_ksa, node);

					if (in->sa.dir != CY_DIR_IN || in->sa.spi != out->sa.spi ||
					    sim_inside(s, &out->sa.dst, &port) != s->nodes[b] ||
					    !s->nodes[a]->d || !s->nodes[b]->d)
						continue;
					if (!cy_slice_eq(in->sa.encr_key, out->sa.encr_key) ||
					    !cy_slice_eq(in->sa.integ_key, out->sa.integ_key) ||
					    in->sa.encr != out->sa.encr)
						sim_fail(s, "SPI %08x: %s and %s hold different keys",
						    in->sa.spi, s->nodes[a]->name, s->nodes[b]->name);
				}
		}
}

/* No kernel entry without a CHILD_SA, and no CHILD_SA that believes in an entry that is not there. */
static void check_kernel(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;
	size_t claimed = 0, there = 0;
	struct list *l;

	list_foreach (l, &n->kernel.sas)
		there++;
	for (uint32_t i = 0; i < m->n; i++) {
		struct hnode *h, *tmp;
		size_t b;

		hmap_foreach (&m->shards[i].child_in, b, h, tmp) {
			struct child_sa *c = container_of(h, struct child_sa, by_spi_in);

			if (c->in_installed) {
				claimed++;
				if (!in_kernel(&n->kernel, c->spi_in, CY_DIR_IN))
					sim_fail(s,
					    "%s: CHILD_SA {%llu} believes its inbound SA %08x to be "
					    "installed",
					    n->name, (unsigned long long)c->id, c->spi_in);
			}
			if (c->out_installed) {
				claimed++;
				if (!in_kernel(&n->kernel, c->spi_out, CY_DIR_OUT))
					sim_fail(s,
					    "%s: CHILD_SA {%llu} believes its outbound SA %08x to be "
					    "installed",
					    n->name, (unsigned long long)c->id, c->spi_out);
			}
		}
	}
	for (uint32_t i = 0; i < m->n; i++) /* of CHILD_SAs that are gone */
		list_foreach (l, &m->shards[i].owed) {
			const struct child_sa *c = list_entry(l, struct child_sa, node);

			claimed += c->in_installed + c->out_installed;
		}
	if (there != claimed)
		sim_fail(
		    s, "%s: %zu SAs in the data plane, %zu belong to CHILD_SAs", n->name, there, claimed);
}

/* A CHILD_SA with this reqid, or this device, is gone, and not yet taken out of the data plane. */
static bool owed_to(struct sim_node *n, uint32_t reqid, const char *device)
{
	struct list *l;

	for (uint32_t i = 0; i < n->d->sas->n; i++)
		list_foreach (l, &n->d->sas->shards[i].owed) {
			const struct child_sa *c = list_entry(l, struct child_sa, node);

			if (device ? c->conn->device.kind && strcmp(c->conn->device.name, device) == 0
			           : c->reqid == reqid)
				return true;
		}
	return false;
}

/* Every policy has a user, and every CHILD_SA belongs to one IKE_SA that is there; the counters say what is. */
static bool policy_wanted(struct sim_node *n, const struct cy_kernel_policy *p)
{
	struct sa_manager *m = n->d->sas;
	struct hnode *h, *tmp;
	size_t b;

	for (uint32_t i = 0; i < m->n; i++)
		hmap_foreach (&m->shards[i].child_in, b, h, tmp)
			if (container_of(h, struct child_sa, by_spi_in)->reqid == p->reqid)
				return true;
	return owed_to(n, p->reqid, NULL);
}

static void note_trap(void *user, const struct conn *conn, uint32_t reqid, uint64_t acquires)
{
	uint32_t *want = user;

	(void)conn;
	(void)acquires;
	if (*want == reqid)
		*want = 0;
}

static void check_policies(struct sim *s, struct sim_node *n)
{
	struct knl_stats st;
	struct list *l;
	size_t left = 0;

	knl_read_stats(n->d->knl, &st);
	list_foreach (l, &n->kernel.policies) {
		const struct cy_kernel_policy *p = &list_entry(l, struct sim_kpol, node)->p;
		uint32_t reqid = p->reqid;

		if (policy_wanted(n, p))
			continue;
		traps_list(n->d->traps, note_trap, &reqid);
		/* a removal that was refused is owed, and asked for again; a random run ends with none owed */
		if (reqid && ++left > st.policies_owed)
			sim_fail(s, "%s: a policy of reqid %u is left without a CHILD_SA or trap", n->name,
			    p->reqid);
	}
}

static bool device_wanted(struct sim_node *n, const char *name)
{
	const struct conf *c = n->d->config ? n->d->config->conf : NULL;
	struct sa_manager *m = n->d->sas;
	struct hnode *h, *tmp;
	size_t b;

	for (size_t i = 0; c && i < c->n_conns; i++)
		if (c->conns[i]->device.kind && strcmp(c->conns[i]->device.name, name) == 0)
			return true;
	for (uint32_t i = 0; i < m->n; i++)
		hmap_foreach (&m->shards[i].child_in, b, h, tmp) {
			const struct conn *conn = container_of(h, struct child_sa, by_spi_in)->conn;

			if (conn && conn->device.kind && strcmp(conn->device.name, name) == 0)
				return true;
		}
	return owed_to(n, 0, name);
}

/* No device without a connection that has it, and none is missing that a CHILD_SA sends through. */
static void check_devices(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;
	struct hnode *h, *tmp;
	struct list *l;
	size_t b;

	list_foreach (l, &n->kernel.devices)
		if (!device_wanted(n, list_entry(l, struct sim_kdev, node)->d.name))
			sim_fail(s, "%s: device %s is left and nobody uses it", n->name,
			    list_entry(l, struct sim_kdev, node)->d.name);
	for (uint32_t i = 0; i < m->n; i++)
		hmap_foreach (&m->shards[i].child_in, b, h, tmp) {
			const struct child_sa *c = container_of(h, struct child_sa, by_spi_in);
			const struct sim_kdev *d;

			if (!c->policies_installed || !c->conn->device.kind)
				continue;
			d = sim_device(&n->kernel, c->conn->device.name);
			if (!d || (c->conn->device.routing && !d->routes))
				sim_fail(s, "%s: CHILD_SA {%llu} sends through %s, which %s", n->name,
				    (unsigned long long)c->id, c->conn->device.name,
				    d ? "has no routes" : "is not there");
		}
}

static void check_counts(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;
	uint64_t ikes = 0, half = 0, children = 0;

	for (uint32_t i = 0; i < m->n; i++) {
		struct sa_shard *shard = &m->shards[i];
		struct hnode *hn, *tmp;
		struct ike_sa *sa;
		struct list *l;
		slab_handle h;
		size_t pos = 0, b;

		while ((sa = slab_next(&shard->slab, &pos, &h))) {
			uint32_t mine = 0;
			uint64_t last = 0;

			ikes++;
			half += sa->counted_half_open;
			list_foreach (l, &sa->children) {
				struct child_sa *c = list_entry(l, struct child_sa, node);

				mine++;
				/* or the control socket would leave out some */
				if (c->id <= last)
					sim_fail(s, "%s: [%llu] has CHILD_SA {%llu} after {%llu}", n->name,
					    (unsigned long long)sa->id, (unsigned long long)c->id,
					    (unsigned long long)last);
				last = c->id;
				if (c->sa != sa)
					sim_fail(s,
					    "%s: CHILD_SA {%llu} is listed by [%llu] and believes in another",
					    n->name, (unsigned long long)c->id, (unsigned long long)sa->id);
			}
			if (mine != sa->n_children)
				sim_fail(s, "%s: [%llu] counts %u CHILD_SAs and has %u", n->name,
				    (unsigned long long)sa->id, sa->n_children, mine);
			children += mine;
			if (sa->state == IKE_ESTABLISHED && sa->spi_i == 0)
				sim_fail(s, "%s: [%llu] is established without SPI", n->name,
				    (unsigned long long)sa->id);
		}
		hmap_foreach (&shard->child_in, b, hn, tmp) {
			struct child_sa *c = container_of(hn, struct child_sa, by_spi_in);

			if (list_linked(&c->node) &&
			    (slab_get(&shard->slab, c->sa->handle) != c->sa || c->shard != shard))
				sim_fail(s, "%s: CHILD_SA {%llu} belongs to no IKE_SA", n->name,
				    (unsigned long long)c->id);
		}
	}
	if (ikes != SA_READ(m, ike_sas) || half != SA_READ(m, half_open) || children != SA_READ(m, child_sas))
		sim_fail(s,
		    "%s: counted %llu IKE_SAs, %llu half open, %llu CHILD_SAs; there are %llu, %llu, %llu",
		    n->name, (unsigned long long)SA_READ(m, ike_sas),
		    (unsigned long long)SA_READ(m, half_open), (unsigned long long)SA_READ(m, child_sas),
		    (unsigned long long)ikes, (unsigned long long)half, (unsigned long long)children);
}

struct lease_check {
	struct sim *s;
	struct sim_node *n;
	struct sim_set *seen;
};

static void one_lease(void *user, const struct lease_info *i)
{
	struct lease_check *lc = user;
	char text[ADDR_STR_MAX];
	bool fresh, known = false;

	if (!i->session)
		return;
	*sim_set_at(lc->seen, sim_hash(i->addr.ip, 16, i->addr.family), &fresh) = i->session;
	if (!fresh)
		sim_fail(lc->s, "%s: %s is leased twice", lc->n->name, addr_str(&i->addr, text));
	for (uint32_t k = 0; k < lc->n->d->sas->n && !known; k++)
		known = sa_by_id(&lc->n->d->sas->shards[k], i->session) != NULL;
	if (!known)
		sim_fail(lc->s, "%s: %s is leased to [%llu], which is gone", lc->n->name,
		    addr_str(&i->addr, text), (unsigned long long)i->session);
}

void sim_check_leases(struct sim *s, struct sim_node *n)
{
	struct lease_check lc = {s, n, NULL};

	if (!n->d)
		return;
	lc.seen = sim_set_new();
	leases_list(n->d->leases, one_lease, &lc);
	sim_set_free(lc.seen);
}

void sim_check_empty(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;
	struct sources_stats revocation;
	struct list *l;

	sim_check_leases(s, n);
	for (uint32_t i = 0; i < m->n; i++) {
		struct worker_stats st;
		struct ike_sa *sa;
		slab_handle h;
		size_t pos = 0;

		if ((sa = slab_next(&m->shards[i].slab, &pos, &h)))
			sim_fail(s, "%s: [%llu] %s %s is left after the teardown", n->name,
			    (unsigned long long)sa->id, sa->conn ? sa->conn->name : "-",
			    name_or_number(ike_state_names, sa->state));
		if (m->shards[i].child_in.n || m->shards[i].child_out.n || m->shards[i].by_init.n ||
		    m->shards[i].by_spi.n)
			sim_fail(s, "%s: the tables are not empty after the teardown", n->name);
		if (!list_empty(&m->shards[i].owed))
			sim_fail(s, "%s: something is still to be taken out of the data plane", n->name);
		worker_read_stats(m->shards[i].w, &st);
		/* CRLs that are there are got again, whoever is connected */
		if (i == 0 && sources_ticks(n->d->sources))
			st.timers--;
		if (st.timers)
			sim_fail(s, "%s: %u timers of worker %u are left after the teardown", n->name,
			    st.timers, i);
	}
	sources_read_stats(n->d->sources, &revocation);
	if (revocation.waiting)
		sim_fail(s, "%s: %u IKE_SAs wait for CRLs after the teardown", n->name, revocation.waiting);
	if (m->peers.n || m->peers_by_conf.n || m->peers_by_addr.n)
		sim_fail(s, "%s: peers are known after the teardown", n->name);
	if (SA_READ(m, half_open) || SA_READ(m, child_sas) || SA_READ(m, ike_sas))
		sim_fail(s, "%s: the counters are not zero after the teardown", n->name);
	if (!list_empty(&n->logins))
		sim_fail(s, "%s: the back end has %llu sessions and %llu logins after the teardown", n->name,
		    (unsigned long long)sim_xauth_count(n, true),
		    (unsigned long long)sim_xauth_count(n, false));
	if (n->kernel.n_addrs)
		sim_fail(
		    s, "%s: %u virtual addresses are left after the teardown", n->name, n->kernel.n_addrs);
	if (!list_empty(&n->kernel.sas))
		sim_fail(s, "%s: SAs are left in the data plane after the teardown", n->name);
	list_foreach (l, &n->kernel.policies) {
		uint32_t reqid = list_entry(l, struct sim_kpol, node)->p.reqid;

		traps_list(n->d->traps, note_trap, &reqid);
		if (reqid)
			sim_fail(s, "%s: a policy of reqid %u is left after the teardown", n->name, reqid);
	}
}

/* --- never twice ------------------------------------------------------------------------------------------------------- */

void sim_saw_key(struct sim *s, const struct cy_kernel_sa *sa)
{
	uint64_t h = sim_hash(sa->encr_key.p, sa->encr_key.n, sim_hash(sa->integ_key.p, sa->integ_key.n, 1));
	bool fresh;

	*sim_set_at(s->keys, h, &fresh) = 1;
	if (!fresh)
		sim_fail(
		    s, "SPI %08x: a key that was in use before begins again at sequence number 1", sa->spi);
}

/* No IV twice under one key: the two ends of an IKE_SA have a key each, which goes with its SPIs (RFC 5282, 4). */
static void check_iv(struct sim *s, const uint8_t *p, size_t n)
{
	size_t at = p[16] == 53 /* SKF */ ? 36 : 32;
	uint64_t key, value, *last;
	bool fresh;

	if ((p[16] != 46 && p[16] != 53) || n < at + 8)
		return;
	key = sim_hash(p, 16, 3 + (p[19] & 8 /* I */)); /* SPIs and who speaks */
	key = sim_hash(p + at, 8, key);
	value = sim_hash(p, n, 4);
	last = sim_set_at(s->ivs, key, &fresh);
	if (!fresh && *last != value)
		sim_fail(s, "an IV was used for two messages, message ID %u of an exchange %u the second",
		    (unsigned)p[20] << 24 | p[21] << 16 | p[22] << 8 | p[23], p[18]);
	*last = value;
}

/*
 * IKEv1 has no window: both ends may begin an exchange at any time, each with a message ID of its own (RFC 2409, 5.5), which is what
 * makes its IVs differ. So many different messages an end sends in one exchange, however often it repeats them.
 */
static void saw_v1(struct sim *s, const struct sim_node *from, const uint8_t *p, size_t n)
{
	static const uint8_t most[256] = {[2] = 3, [4] = 2, [5] = 1, [6] = 2, [32] = 2};
	static const uint8_t no_id[4] = {0};
	uint32_t who[2] = {from->index, from->boots};
	uint64_t key, *kind, *count;
	bool fresh;

	/* pieces of a message have its header */
	if (n < 28 || p[16] == 132 || !most[p[18]] || (p[18] == 5 && memcmp(p + 20, no_id, 4) == 0))
		return;
	key = sim_hash(p + 20, 4, sim_hash(p, 16, 6));
	kind = sim_set_at(s->wire, key, &fresh);
	if (!fresh && *kind != p[18])
		sim_fail(s,
		    "%s: message ID %02x%02x%02x%02x is one of an exchange %llu and of an exchange %u",
		    from->name, p[20], p[21], p[22], p[23], (unsigned long long)*kind, p[18]);
	*kind = p[18];
	*sim_set_at(s->wire, sim_hash(p, n, sim_hash(who, sizeof(who), 8)), &fresh) = 1;
	if (!fresh)
		return;
	count = sim_set_at(s->wire, sim_hash(who, sizeof(who), key), &fresh);
	*count = fresh ? 1 : *count + 1;
	if (*count > most[p[18]])
		sim_fail(s, "%s: %llu different messages in the exchange %u of message ID %02x%02x%02x%02x",
		    from->name, (unsigned long long)*count, p[18], p[20], p[21], p[22], p[23]);
}

void sim_saw_message(struct sim *s, const struct sim_node *from, const struct cy_dgram *d)
{
	const uint8_t *p = d->data;
	size_t at = d->src.port == 4500 ? 4 : 0;
	uint64_t key, value, *last;
	bool fresh;

	if (d->len < at + 32 || (at && memcmp(p, "\0\0\0\0", 4) != 0))
		return;
	p += at;
	if (p[17] >> 4 == 1) {
		saw_v1(s, from, p, d->len - at);
		return;
	}
	if (p[18] == 34 /* IKE_SA_INIT */ || p[16] == 41 /* an unprotected notify: no SA */)
		return;
	key = sim_hash(p, 16, p[19]);   /* SPIs and flags: who speaks, request or response */
	key = sim_hash(p + 20, 4, key); /* message ID */
	if (p[16] == 53)                /* SKF: the fragment's number and how many there are */
		key = sim_hash(p + 32, 4, key ^ 53);
	value = sim_hash(p, d->len - at, 2);
	last = sim_set_at(s->wire, key, &fresh);
	if (!fresh && *last != value)
		sim_fail(s, "message ID %u of an exchange %u was used for two different messages",
		    (unsigned)p[20] << 24 | p[21] << 16 | p[22] << 8 | p[23], p[18]);
	*last = value;
	check_iv(s, p, d->len - at);
}

/* Message IDs only go up, one at a time. */
static void check_windows(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;

	for (uint32_t i = 0; i < m->n; i++) {
		struct ike_sa *sa;
		size_t pos = 0;
		slab_handle h;

		while ((sa = slab_next(&m->shards[i].slab, &pos, &h))) {
			uint64_t who[3] = {(uint64_t)n->index << 32 | n->boots, sa->id, 0};
			uint32_t ids[2] = {sa->next_recv, sa->next_send};

			for (who[2] = 0; who[2] < 2; who[2]++) {
				bool fresh;
				uint64_t *last =
				    sim_set_at(s->windows, sim_hash(who, sizeof(who), 5), &fresh);

				if (!fresh && *last > ids[who[2]] &&
				    !(sa->state <= IKE_CONNECTING && ids[who[2]] <= 1))
					sim_fail(s, "%s: message ID %llu of [%llu] went back to %u", n->name,
					    (unsigned long long)*last, (unsigned long long)sa->id,
					    ids[who[2]]);
				*last = ids[who[2]];
			}
			if (sa->request.valid && sa->request.msgid >= sa->next_send + 1)
				sim_fail(s, "%s: [%llu] awaits the response to %u and has sent up to %u",
				    n->name, (unsigned long long)sa->id, sa->request.msgid, sa->next_send);
		}
	}
}

/* An IKE_SA that we are making, and no rekeying is, has something to do or to wait for. */
static void check_stuck(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;

	for (uint32_t i = 0; i < m->n; i++) {
		struct ike_sa *sa;
		size_t pos = 0;
		slab_handle h;

		while ((sa = slab_next(&m->shards[i].slab, &pos, &h)))
			if (sa->initiator && !sa->spi_r && sa->state < IKE_ESTABLISHED && !sa->task &&
			    list_empty(&sa->tasks) && list_empty(&sa->running) && !ike_busy(sa) &&
			    !timer_is_set(&sa->t_half_open))
				sim_fail(s, "%s: [%llu] %s is being made, but nothing is under way", n->name,
				    (unsigned long long)sa->id, sa->conn ? sa->conn->name : "-");
	}
}

/* Who has to log in has nothing before the back end said yes, and nothing any more when his session is over. */
static void check_logins(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;

	for (uint32_t i = 0; i < m->n; i++) {
		struct ike_sa *sa;
		size_t pos = 0;
		slab_handle h;

		while ((sa = slab_next(&m->shards[i].slab, &pos, &h)))
			if (sa->conn && sa->conn->local.xauth_server &&
			    (sa->n_children || sa->n_leases || sa->state == IKE_ESTABLISHED) &&
			    !sim_xauth_let_in(n, sa->xauth_login))
				sim_fail(s,
				    "%s: [%llu] has %u CHILD_SAs, %u leases and state %s, and nobody has "
				    "logged in",
				    n->name, (unsigned long long)sa->id, sa->n_children, sa->n_leases,
				    name_or_number(ike_state_names, sa->state));
	}
}

bool sim_check(struct sim *s)
{
	if (s->steps++ % s->check_every)
		return s->failure[0] == '\0';
	check_keys(s);
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d) {
			/* while a request is on its way the two differ */
			if (!s->nodes[i]->in_kernel && !sim_is_stopped(s->nodes[i])) {
				check_kernel(s, s->nodes[i]);
				check_policies(s, s->nodes[i]);
				check_devices(s, s->nodes[i]);
			}
			check_counts(s, s->nodes[i]);
			check_windows(s, s->nodes[i]);
			check_stuck(s, s->nodes[i]);
			check_logins(s, s->nodes[i]);
			if (s->steps % 64 == 0)
				sim_check_leases(s, s->nodes[i]);
		}
	return s->failure[0] == '\0';
}
