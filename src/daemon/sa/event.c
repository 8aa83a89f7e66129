/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to IKE_SAs and CHILD_SAs, told to the bus. */
#include <stdlib.h>

#include "daemon/sa/manager.h"

/* What an event points to that is not in the SA as it is told. */
struct event_parts {
	char local[IDENT_STR_MAX], remote[IDENT_STR_MAX];
	struct cy_addr leased[16];
};

static void event_fill(const struct ike_sa *sa, struct cy_event *ev, struct event_parts *parts)
{
	ev->size = sizeof(*ev);
	ev->conn = sa->conn ? sa->conn->name : "";
	ev->ike_id = sa->id;
	ev->ike_version = sa->version;
	ev->initiator = sa->initiator;
	ev->local = sa->local;
	ev->remote = sa->remote;
	ev->local_id = ident_str(&sa->my_id, parts->local);
	ev->remote_id = ident_str(&sa->peer_id, parts->remote);
	ev->user = sa->user ? sa->user : "";
	ev->reason = "";
	ev->updown = "";
	ev->vips = sa->vips;
	ev->n_vips = sa->n_vips;
	if (sa->n_vips == 0 && sa->n_leases) {
		ev->vips = parts->leased;
		for (uint32_t i = 0; i < sa->n_leases && i < ARRAY_LEN(parts->leased); i++)
			parts->leased[ev->n_vips++] = sa->leases[i].addr;
	}
	ev->dns = sa->dns;
	ev->n_dns = sa->n_dns;
}

void ike_event(const struct ike_sa *sa, enum cy_event_kind kind, const char *reason)
{
	struct cy_event ev;
	struct event_parts parts;

	if (!bus_wanted(sa->shard->d->bus, kind))
		return;
	memset(&ev, 0, sizeof(ev));
	event_fill(sa, &ev, &parts);
	ev.kind = kind;
	ev.reason = reason ? reason : "";
	bus_publish(sa->shard->d->bus, &ev);
}

static void child_fill(const struct child_sa *c, struct cy_event *e)
{
	e->conn = c->conn->name;
	e->mode = c->mode;
	e->child_id = c->id;
	e->spi_in = c->spi_in;
	e->spi_out = c->spi_out;
	e->reqid = c->reqid;
	e->if_id = c->conn->if_id_out;
	e->mark = c->conn->mark_out;
	e->if_id_in = c->conn->if_id_in;
	e->mark_in = c->conn->mark_in;
	e->proto = c->conn->child_ah ? CY_PROTO_AH : CY_PROTO_ESP;
	e->encap = c->encap;
	e->ts_local = c->ts_local;
	e->n_ts_local = c->n_ts_local;
	e->ts_remote = c->ts_remote;
	e->n_ts_remote = c->n_ts_remote;
	e->updown = c->conn->local.updown ? c->conn->local.updown : "";
	e->hostaccess = c->conn->local.hostaccess;
	e->firewall = c->conn->local.firewall;
	e->bytes_in = c->bytes_in;
	e->bytes_out = c->bytes_out;
	e->packets_in = c->packets_in;
	e->packets_out = c->packets_out;
}

static uint32_t spi_of(const struct ike_sa *sa, uint64_t child_id)
{
	struct list *n;

	list_foreach (n, &sa->children) {
		const struct child_sa *c = list_entry(n, struct child_sa, node);
		if (c->id == child_id)
			return c->spi_in;
	}
	return 0;
}

void ike_event_child(
    const struct ike_sa *sa, const struct child_sa *c, enum cy_event_kind kind, const char *reason)
{
	struct cy_event ev;
	struct event_parts parts;

	if (!bus_wanted(sa->shard->d->bus, kind))
		return;
	memset(&ev, 0, sizeof(ev));
	event_fill(sa, &ev, &parts);
	ev.kind = kind;
	ev.reason = reason ? reason : "";
	child_fill(c, &ev);
	if (kind == CY_EV_CHILD_REKEYED)
		ev.spi_in_before = spi_of(sa, c->rekeys);
	bus_publish(sa->shard->d->bus, &ev);
}

/* --- a copy for later ------------------------------------------------------------------------------------------- */

struct event_copy {
	struct arena a;
	struct cy_event ev;
};

struct event_copy *ike_event_child_copy(
    const struct ike_sa *sa, const struct child_sa *c, enum cy_event_kind kind, const char *reason)
{
	struct event_copy *x = calloc(1, sizeof(*x));
	struct event_parts parts;

	if (!x)
		return NULL;
	arena_init(&x->a, 0);
	event_fill(sa, &x->ev, &parts);
	child_fill(c, &x->ev);
	x->ev.kind = kind;
	x->ev.conn = arena_strdup(&x->a, x->ev.conn);
	x->ev.reason = arena_strdup(&x->a, reason ? reason : "");
	x->ev.local_id = arena_strdup(&x->a, parts.local);
	x->ev.remote_id = arena_strdup(&x->a, parts.remote);
	x->ev.updown = arena_strdup(&x->a, x->ev.updown);
	x->ev.user = arena_strdup(&x->a, x->ev.user);
	x->ev.ts_local = arena_dup(&x->a, x->ev.ts_local, x->ev.n_ts_local * sizeof(struct cy_ts));
	x->ev.ts_remote = arena_dup(&x->a, x->ev.ts_remote, x->ev.n_ts_remote * sizeof(struct cy_ts));
	x->ev.vips = arena_dup(&x->a, x->ev.vips, x->ev.n_vips * sizeof(struct cy_addr));
	x->ev.dns = arena_dup(&x->a, x->ev.dns, x->ev.n_dns * sizeof(struct cy_addr));
	if (!x->ev.conn || !x->ev.reason || !x->ev.local_id || !x->ev.remote_id || !x->ev.updown ||
	    !x->ev.user || !x->ev.ts_local || !x->ev.ts_remote || (x->ev.n_vips && !x->ev.vips) ||
	    (x->ev.n_dns && !x->ev.dns)) {
		ike_event_copy_free(x);
		return NULL;
	}
	return x;
}

struct cy_event *ike_event_copy(struct event_copy *copy)
{
	return &copy->ev;
}

void ike_event_copy_free(struct event_copy *copy)
{
	if (!copy)
		return;
	arena_fini(&copy->a);
	free(copy);
}
