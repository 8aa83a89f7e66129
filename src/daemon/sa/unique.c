/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected: a table of established IKE_SAs by their identities and by their connection's peer, shared by all shards behind
 * a mutex that is held for a look-up only. What must happen to an SA of another shard is posted there.
 */
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"

/* Who logged in (XAUTH): all of a group may have one identity, and a user may have devices with one each. */
struct peer_user {
	struct cy_addr own_addr; /* that the user alone may have; family 0 none */
	char name[];
};

/* All peers of one connection may have the same conf_hash: none is looked for among them, the newest is first. */
struct conf_group {
	struct hnode node;
	struct list entries; /* peer_entry.by_conf */
};

struct peer_entry {
	struct hnode by_ids, by_addr;
	struct list by_conf;
	struct conf_group *group;
	struct peer_user *user; /* NULL none */
	struct cy_addr remote;
	struct sa_shard *shard;
	slab_handle handle;
	uint64_t ike_id;
	uint16_t my_type, n_my, peer_type, n_peer; /* of the identities, whose bytes are in ids */
	bool connecting;                           /* not authenticated yet: only in by_conf */
	bool in_addr;                              /* of IKEv1 */
	uint8_t ids[];
};

static bool same_my_id(const struct peer_entry *e, const struct ident *my_id)
{
	return ident_eq(&(struct ident){e->my_type, e->n_my, (uint8_t *)(uintptr_t)e->ids}, my_id);
}

static bool same_ids(const struct peer_entry *e, const struct ident *my_id, const struct ident *peer_id)
{
	uint8_t *p = (uint8_t *)(uintptr_t)e->ids + e->n_my;

	return same_my_id(e, my_id) && ident_eq(&(struct ident){e->peer_type, e->n_peer, p}, peer_id);
}

static struct peer_entry *entry_new(
    const struct ike_sa *sa, const struct ident *my_id, const struct ident *peer_id)
{
	struct peer_entry *e = calloc(1, sizeof(*e) + my_id->n + peer_id->n);

	if (!e)
		return NULL;
	list_init(&e->by_conf);
	e->shard = sa->shard;
	e->handle = sa->handle;
	e->ike_id = sa->id;
	e->my_type = my_id->type;
	e->n_my = my_id->n;
	e->peer_type = peer_id->type;
	e->n_peer = peer_id->n;
	if (my_id->n)
		memcpy(e->ids, my_id->p, my_id->n);
	if (peer_id->n)
		memcpy(e->ids + my_id->n, peer_id->p, peer_id->n);
	return e;
}

static void entry_free(struct peer_entry *e)
{
	free(e->user);
	free(e);
}

/* --- by connection; under peers_lock ---------------------------------------------------------------------------- */

static struct peer_entry *conf_first(struct sa_manager *m, uint64_t hash)
{
	struct hnode *n = hmap_first(&m->peers_by_conf, hash);

	return n ? list_entry(list_first(&container_of(n, struct conf_group, node)->entries),
	               struct peer_entry, by_conf)
	         : NULL;
}

/* Without memory it is not found by its connection, and another IKE_SA is made. */
static void conf_add(struct sa_manager *m, struct peer_entry *e, uint64_t hash)
{
	struct hnode *n = hmap_first(&m->peers_by_conf, hash);
	struct conf_group *g = n ? container_of(n, struct conf_group, node) : calloc(1, sizeof(*g));

	if (!g)
		return;
	if (!n) {
		list_init(&g->entries);
		hmap_add(&m->peers_by_conf, &g->node, hash);
	}
	e->group = g;
	list_push_front(&g->entries, &e->by_conf);
}

static void conf_del(struct sa_manager *m, struct peer_entry *e)
{
	if (!e->group)
		return;
	list_del(&e->by_conf);
	if (list_empty(&e->group->entries)) {
		hmap_del(&m->peers_by_conf, &e->group->node);
		free(e->group);
	}
	e->group = NULL;
}

/* --- whose it is ------------------------------------------------------------------------------------------------ */

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

	return ident_hash(m->map_key, &sa->my_id) * 31 ^
	    (user ? siphash24(m->map_key, user, strlen(user)) : ident_hash(m->map_key, &sa->peer_id));
}

static bool same_peer(const struct peer_entry *e, const struct ike_sa *sa)
{
	const char *user = unique_user(sa);

	if (user)
		return e->user && strcmp(e->user->name, user) == 0 && same_my_id(e, &sa->my_id);
	return !e->user && same_ids(e, &sa->my_id, &sa->peer_id);
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

static bool started_afresh(const struct ike_sa *sa, const struct peer_entry *e)
{
	return sa->got_initial_contact && (!e->user || cy_addr_eq(&sa->remote, &e->remote));
}

/*
 * uniqueids: `replace` closes an older SA of the same identities that comes from elsewhere; the same address and port is a
 * reauthentication, which the peer finishes itself. `keep` closes nothing (the newcomer was refused before). INITIAL_CONTACT (RFC 7296,
 * 2.4) says that the peer has no other SA, so all of them go, unless uniqueids=never. Of a user it says only that this device has no other:
 * he may have several. An address that is a user's alone goes with him.
 */
static bool replaces(const struct ike_sa *sa, const struct peer_entry *e)
{
	if (e->user && e->user->own_addr.family && cy_addr_ip_eq(&e->user->own_addr, &sa->assigned.addr))
		return true;
	if (sa->conn->unique == UNIQUE_NEVER)
		return false;
	if (started_afresh(sa, e))
		return true;
	if (sa->conn->unique != UNIQUE_REPLACE || sa->initiator)
		return false;
	return !cy_addr_eq(&sa->remote, &e->remote);
}

/* Before it is up: others of this peer wait for it instead of making their own. */
bool unique_connecting(struct ike_sa *sa, struct sa_shard **out_shard, slab_handle *out_handle)
{
	struct sa_manager *m = sa->shard->m;
	struct peer_entry *e = entry_new(sa, &(struct ident){0}, &(struct ident){0}), *other;
	uint64_t hash = conf_hash(m, sa->conn);

	if (!e)
		return true; /* on its own, then */
	e->connecting = true;
	pthread_mutex_lock(&m->peers_lock);
	other = conf_first(m, hash);
	if (other) {
		*out_shard = other->shard;
		*out_handle = other->handle;
	} else {
		conf_add(m, e, hash);
		sa->peer_entry = e;
	}
	pthread_mutex_unlock(&m->peers_lock);
	if (other)
		entry_free(e);
	return other == NULL;
}

void unique_register(struct ike_sa *sa)
{
	struct sa_manager *m = sa->shard->m;
	struct peer_entry *e = entry_new(sa, &sa->my_id, &sa->peer_id);
	uint64_t by_ids = ids_hash(m, sa), by_conf = conf_hash(m, sa->conn);
	const char *user = unique_user(sa);
	struct hnode *n;

	if (!e)
		return;
	unique_forget(sa); /* as one that connects */
	if (user) {
		e->user = malloc(sizeof(*e->user) + strlen(user) + 1);
		if (!e->user) {
			entry_free(e);
			return;
		}
		e->user->own_addr = sa->assigned.addr;
		strcpy(e->user->name, user);
	}
	e->remote = sa->remote;
	pthread_mutex_lock(&m->peers_lock);
	for (n = hmap_first(&m->peers, by_ids); n; n = hmap_next(n)) {
		struct peer_entry *o = container_of(n, struct peer_entry, by_ids);

		if (o->ike_id == sa->replaces || !same_peer(o, sa))
			continue;
		if (replaces(sa, o))
			close_other(o,
			    started_afresh(sa, o) ? "the peer started afresh (INITIAL_CONTACT)"
			        : o->user         ? "the same user connected from elsewhere"
			                          : "the same identity connected from elsewhere");
	}
	hmap_add(&m->peers, &e->by_ids, by_ids);
	conf_add(m, e, by_conf);
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
	conf_del(m, e);
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

		if (o->shard == sa->shard && o->handle != sa->handle &&
		    same_ids(o, &sa->my_id, &sa->peer_id) && cy_addr_eq(&o->remote, &sa->remote))
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

		found = same_ids(o, my_id, peer_id) && !(not_at && cy_addr_eq(&o->remote, not_at));
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
	struct peer_entry *e;

	pthread_mutex_lock(&m->peers_lock);
	e = conf_first(m, conf_hash(m, conn));
	if (e) {
		*out_shard = e->shard;
		*out_handle = e->handle;
	}
	pthread_mutex_unlock(&m->peers_lock);
	return e != NULL;
}
