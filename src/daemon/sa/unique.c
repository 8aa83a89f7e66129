/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected: a table of established IKE_SAs by their identities and by their connection's peer, shared by all shards behind
 * a mutex that is held for a look-up only. What must happen to an SA of another shard is posted there.
 */
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

struct peer_entry {
	struct hnode by_ids, by_conf, by_addr;
	struct ident my_id, peer_id;
	char *user;              /* of XAUTH: all of a group may have one identity; NULL none */
	struct cy_addr own_addr; /* that the user alone may have; family 0 none */
	struct cy_addr remote;
	uint64_t conf_hash;
	struct sa_shard *shard;
	slab_handle handle;
	uint64_t ike_id;
	uint64_t ids_hash;
	bool connecting; /* not authenticated yet: only in by_conf */
	bool in_addr;    /* of IKEv1 */
};

/* Connections with the same ends, identities and authentication speak to the same peer and can share an IKE_SA. */
static uint64_t conf_hash(const struct sa_manager *m, const struct conn *c)
{
	uint64_t h = c->version;
	const struct conn_end *end[2] = {&c->local, &c->remote};

	for (int i = 0; i < 2; i++) {
		const struct host_spec *host = &end[i]->host;

		for (size_t j = 0; j < host->names.n; j++)
			h = h * 31 ^ siphash24(m->map_key, host->names.s[j], strlen(host->names.s[j]));
		h = h * 31 + host->port;
		/* another user is another peer, though his group has one identity */
		if (end[i]->xauth_user)
			h = h * 31 ^ siphash24(m->map_key, end[i]->xauth_user, strlen(end[i]->xauth_user));
		for (uint8_t j = 0; j < end[i]->n_auth; j++) {
			h = h * 31 ^ ident_hash(m->map_key, &end[i]->auth[j].id);
			h = h * 31 + end[i]->auth[j].method;
		}
		h = h * 31 + 7;
	}
	return h;
}

const char *unique_user(const struct ike_sa *sa)
{
	return sa->conn && sa->conn->local.xauth_server ? sa->user : NULL;
}

static uint64_t ids_hash(const struct sa_manager *m, const struct ike_sa *sa)
{
	const char *user = unique_user(sa);

	return ident_hash(m->map_key, &sa->my_id) * 31 ^ ident_hash(m->map_key, &sa->peer_id) ^
	    (user ? siphash24(m->map_key, user, strlen(user)) : 0);
}

static bool same_peer(const struct peer_entry *e, const struct ike_sa *sa)
{
	const char *user = unique_user(sa);

	return ident_eq(&e->my_id, &sa->my_id) && ident_eq(&e->peer_id, &sa->peer_id) &&
	    (user ? e->user && strcmp(e->user, user) == 0 : !e->user);
}

static void entry_free(struct peer_entry *e)
{
	ident_fini(&e->my_id);
	ident_fini(&e->peer_id);
	free(e->user);
	free(e);
}

struct close_job {
	struct job job;
	struct sa_shard *s;
	uint64_t handle;
	char why[96];
};

static void close_run(struct worker *w, struct job *j)
{
	struct close_job *cj = container_of(j, struct close_job, job);
	struct ike_sa *sa = slab_get(&cj->s->slab, cj->handle);

	(void)w;
	if (sa)
		ike_sa_destroy(sa, cj->why);
	free(cj);
}

static void close_other(const struct peer_entry *e, const char *why)
{
	struct close_job *j = calloc(1, sizeof(*j));

	if (!j)
		return;
	j->job.fn = close_run;
	j->s = e->shard;
	j->handle = e->handle;
	strncpy(j->why, why, sizeof(j->why) - 1);
	worker_post(e->shard->w, &j->job, PRIO_HIGH, JOB_DELETE);
}

/*
 * uniqueids: `replace` closes an older SA of the same identities that comes from elsewhere; the same address and port is a
 * reauthentication, which the peer finishes itself. `keep` closes nothing (the newcomer was refused before). INITIAL_CONTACT (RFC 7296,
 * 2.4) says that the peer has no other SA, so all of them go, unless uniqueids=never. Of a user it says only that this device has no other:
 * he may have several. An address that is a user's alone goes with him.
 */
static bool replaces(const struct ike_sa *sa, const struct peer_entry *e)
{
	if (e->user && e->own_addr.family && cy_addr_ip_eq(&e->own_addr, &sa->assigned.addr))
		return true;
	if (sa->conn->unique == UNIQUE_NEVER)
		return false;
	if (sa->got_initial_contact && (!e->user || cy_addr_eq(&sa->remote, &e->remote)))
		return true;
	if (sa->conn->unique != UNIQUE_REPLACE || sa->initiator)
		return false;
	return !cy_addr_eq(&sa->remote, &e->remote);
}

/* Before it is up: others of this peer wait for it instead of making their own. */
bool unique_connecting(struct ike_sa *sa, struct sa_shard **out_shard, slab_handle *out_handle)
{
	struct sa_manager *m = sa->shard->m;
	struct peer_entry *e = calloc(1, sizeof(*e));
	struct hnode *n;

	if (!e)
		return true; /* on its own, then */
	e->connecting = true;
	e->shard = sa->shard;
	e->handle = sa->handle;
	e->ike_id = sa->id;
	e->conf_hash = conf_hash(m, sa->conn);
	pthread_mutex_lock(&m->peers_lock);
	n = hmap_first(&m->peers_by_conf, e->conf_hash);
	if (n) {
		*out_shard = container_of(n, struct peer_entry, by_conf)->shard;
		*out_handle = container_of(n, struct peer_entry, by_conf)->handle;
	} else {
		hmap_add(&m->peers_by_conf, &e->by_conf, e->conf_hash);
		sa->peer_entry = e;
	}
	pthread_mutex_unlock(&m->peers_lock);
	if (n)
		free(e);
	return n == NULL;
}

void unique_register(struct ike_sa *sa)
{
	struct sa_manager *m = sa->shard->m;
	struct peer_entry *e = calloc(1, sizeof(*e));
	struct hnode *n;

	if (!e)
		return;
	unique_forget(sa); /* as one that connects */
	if (unique_user(sa))
		e->user = strdup(sa->user);
	if (ident_dup(&e->my_id, &sa->my_id) || ident_dup(&e->peer_id, &sa->peer_id) ||
	    (unique_user(sa) && !e->user)) {
		entry_free(e);
		return;
	}
	if (e->user)
		e->own_addr = sa->assigned.addr;
	e->remote = sa->remote;
	e->shard = sa->shard;
	e->handle = sa->handle;
	e->ike_id = sa->id;
	e->ids_hash = ids_hash(m, sa);
	e->conf_hash = conf_hash(m, sa->conn);
	pthread_mutex_lock(&m->peers_lock);
	for (n = hmap_first(&m->peers, e->ids_hash); n; n = hmap_next(n)) {
		struct peer_entry *o = container_of(n, struct peer_entry, by_ids);

		if (o->ike_id == sa->replaces || !same_peer(o, sa))
			continue;
		if (replaces(sa, o))
			close_other(o,
			    sa->got_initial_contact ? "the peer started afresh (INITIAL_CONTACT)"
			        : o->user           ? "the same user connected from elsewhere"
			                            : "the same identity connected from elsewhere");
	}
	hmap_add(&m->peers, &e->by_ids, e->ids_hash);
	hmap_add(&m->peers_by_conf, &e->by_conf, e->conf_hash);
	e->in_addr = sa->version == 1;
	if (e->in_addr)
		hmap_add(&m->peers_by_addr, &e->by_addr, addr_hash(m->map_key, &e->remote, true));
	pthread_mutex_unlock(&m->peers_lock);
	sa->peer_entry = e;
}

struct sa_shard *unique_by_addr(struct sa_manager *m, const struct cy_addr *remote)
{
	struct sa_shard *found = NULL;
	struct hnode *n;

	pthread_mutex_lock(&m->peers_lock);
	for (n = hmap_first(&m->peers_by_addr, addr_hash(m->map_key, remote, true)); n; n = hmap_next(n))
		if (cy_addr_eq(&container_of(n, struct peer_entry, by_addr)->remote, remote)) {
			found = container_of(n, struct peer_entry, by_addr)->shard;
			break;
		}
	pthread_mutex_unlock(&m->peers_lock);
	return found;
}

void unique_forget(struct ike_sa *sa)
{
	struct sa_manager *m = sa->shard->m;
	struct peer_entry *e = sa->peer_entry;

	if (!e)
		return;
	sa->peer_entry = NULL;
	pthread_mutex_lock(&m->peers_lock);
	if (!e->connecting)
		hmap_del(&m->peers, &e->by_ids);
	if (e->in_addr)
		hmap_del(&m->peers_by_addr, &e->by_addr);
	hmap_del(&m->peers_by_conf, &e->by_conf);
	pthread_mutex_unlock(&m->peers_lock);
	entry_free(e);
}

void unique_handover(struct ike_sa *from, struct ike_sa *to)
{
	struct sa_manager *m = from->shard->m;
	struct peer_entry *e = from->peer_entry;

	from->peer_entry = NULL;
	to->peer_entry = e;
	if (!e)
		return;
	pthread_mutex_lock(&m->peers_lock);
	e->handle = to->handle;
	e->ike_id = to->id;
	pthread_mutex_unlock(&m->peers_lock);
}

slab_handle unique_twin(struct ike_sa *sa)
{
	struct sa_manager *m = sa->shard->m;
	slab_handle found = 0;
	struct hnode *n;

	pthread_mutex_lock(&m->peers_lock);
	for (n = hmap_first(&m->peers, ids_hash(m, sa)); n && !found; n = hmap_next(n)) {
		struct peer_entry *o = container_of(n, struct peer_entry, by_ids);

		if (o->shard == sa->shard && o->handle != sa->handle && ident_eq(&o->my_id, &sa->my_id) &&
		    ident_eq(&o->peer_id, &sa->peer_id) && cy_addr_eq(&o->remote, &sa->remote))
			found = o->handle;
	}
	pthread_mutex_unlock(&m->peers_lock);
	return found;
}

uint64_t unique_session(struct sa_manager *m, const struct ike_sa *sa)
{
	uint64_t found = 0;
	struct hnode *n;

	pthread_mutex_lock(&m->peers_lock);
	for (n = hmap_first(&m->peers, ids_hash(m, sa)); n && !found; n = hmap_next(n)) {
		struct peer_entry *o = container_of(n, struct peer_entry, by_ids);

		if (same_peer(o, sa) &&
		    ((sa->got_initial_contact && !o->user) || cy_addr_eq(&o->remote, &sa->remote)))
			found = o->ike_id;
	}
	pthread_mutex_unlock(&m->peers_lock);
	return found;
}

void unique_moved(struct ike_sa *sa)
{
	struct sa_manager *m = sa->shard->m;
	struct peer_entry *e = sa->peer_entry;

	if (!e)
		return;
	pthread_mutex_lock(&m->peers_lock);
	if (e->in_addr)
		hmap_del(&m->peers_by_addr, &e->by_addr);
	e->remote = sa->remote;
	if (e->in_addr)
		hmap_add(&m->peers_by_addr, &e->by_addr, addr_hash(m->map_key, &e->remote, true));
	pthread_mutex_unlock(&m->peers_lock);
}

bool unique_known(struct sa_manager *m, const struct ident *my_id, const struct ident *peer_id,
    const struct cy_addr *not_at)
{
	uint64_t hash = ident_hash(m->map_key, my_id) * 31 ^ ident_hash(m->map_key, peer_id);
	bool found = false;
	struct hnode *n;

	pthread_mutex_lock(&m->peers_lock);
	for (n = hmap_first(&m->peers, hash); n && !found; n = hmap_next(n)) {
		struct peer_entry *o = container_of(n, struct peer_entry, by_ids);

		found = ident_eq(&o->my_id, my_id) && ident_eq(&o->peer_id, peer_id) &&
		    !(not_at && cy_addr_eq(&o->remote, not_at));
	}
	pthread_mutex_unlock(&m->peers_lock);
	return found;
}

bool unique_known_user(struct sa_manager *m, const struct ike_sa *sa)
{
	bool found = false;
	struct hnode *n;

	pthread_mutex_lock(&m->peers_lock);
	for (n = hmap_first(&m->peers, ids_hash(m, sa)); n && !found; n = hmap_next(n))
		found = same_peer(container_of(n, struct peer_entry, by_ids), sa);
	pthread_mutex_unlock(&m->peers_lock);
	return found;
}

bool unique_find_conf(
    struct sa_manager *m, const struct conn *conn, struct sa_shard **out_shard, slab_handle *out_handle)
{
	struct hnode *n;

	pthread_mutex_lock(&m->peers_lock);
	n = hmap_first(&m->peers_by_conf, conf_hash(m, conn));
	if (n) {
		struct peer_entry *e = container_of(n, struct peer_entry, by_conf);

		*out_shard = e->shard;
		*out_handle = e->handle;
	}
	pthread_mutex_unlock(&m->peers_lock);
	return n != NULL;
}
