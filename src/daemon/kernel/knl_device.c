/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/kernel/knl_device.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"
#include "libcore/base/hmap.h"
#include "libcore/base/list.h"

/* A connection that uses the device: as it was loaded, so that an old one of the same name is another. */
struct device_user {
	struct hnode node;
	struct conn *conn; /* a reference */
	uint32_t children;
	bool loaded;
	bool applied;      /* its address and routes are in place */
	struct list spare; /* things for all of them, so that later none is missing for want of memory */
};

/* An address or a route, and how many of the users want it. */
struct thing {
	struct hnode node;
	struct list spare;
	struct thing_key {
		struct cy_ts ts; /* of an address: itself */
		uint32_t prefix; /* of an address; else NO_PREFIX */
	} key;
	uint32_t refs;
};
#define NO_PREFIX UINT32_MAX

struct device {
	struct list node;
	struct hnode by_name;
	struct cy_kernel_device d;
	struct hmap users, things;
	uint32_t refs;
	bool there;
	char why[160]; /* it is not there */
};

struct knl_devices {
	struct log *log;
	uint64_t hash_key[2];
	pthread_mutex_t lock; /* the list, refs, there and why, for knl_devices_list() */
	struct list list;
	struct hmap by_name;
};

enum cy_err knl_devices_new(struct log *log, const uint64_t key[2], struct knl_devices **out)
{
	struct knl_devices *t = calloc(1, sizeof(*t));

	if (!t)
		return CY_E_NOMEM;
	t->log = log;
	memcpy(t->hash_key, key, sizeof(t->hash_key));
	list_init(&t->list);
	if (hmap_init(&t->by_name, key)) {
		free(t);
		return CY_E_NOMEM;
	}
	pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return CY_OK;
}

static void user_free(struct device_user *u)
{
	struct list *n;

	while ((n = list_pop(&u->spare)))
		free(list_entry(n, struct thing, spare));
	conn_unref(u->conn);
	free(u);
}

static void device_free(struct device *d)
{
	struct hnode *n, *tmp;
	size_t b;

	hmap_foreach (&d->users, b, n, tmp)
		user_free(container_of(n, struct device_user, node));
	hmap_foreach (&d->things, b, n, tmp)
		free(container_of(n, struct thing, node));
	hmap_fini(&d->users);
	hmap_fini(&d->things);
	free(d);
}

void knl_devices_free(struct knl_devices *t)
{
	struct list *n;

	if (!t)
		return;
	while ((n = list_pop(&t->list)))
		device_free(list_entry(n, struct device, node));
	hmap_fini(&t->by_name);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static uint64_t name_hash(const struct knl_devices *t, const char *name)
{
	return hmap_hash(&t->by_name, name, strlen(name));
}

static struct device *find(struct knl_devices *t, const char *name)
{
	for (struct hnode *n = hmap_first(&t->by_name, name_hash(t, name)); n; n = hmap_next(n))
		if (strcmp(container_of(n, struct device, by_name)->d.name, name) == 0)
			return container_of(n, struct device, by_name);
	return NULL;
}

static struct device_user *find_user(struct device *d, const struct conn *conn)
{
	for (struct hnode *n = hmap_first(&d->users, hmap_hash(&d->users, &conn, sizeof(conn))); n;
	     n = hmap_next(n))
		if (container_of(n, struct device_user, node)->conn == conn)
			return container_of(n, struct device_user, node);
	return NULL;
}

/* ---- what a connection asks for */

static const struct cy_addr *only_host(const struct host_spec *h)
{
	if (h->any || h->any_ip6 || h->dns.n || h->n_ranges != 1 ||
	    !cy_addr_ip_eq(&h->ranges[0].lo, &h->ranges[0].hi))
		return NULL;
	return &h->ranges[0].lo;
}

/* The address that packets to the peer, or to a far one, have: the kernel compares it with that of the SAs. */
static void find_local(
    const struct cy_kernel_ops *ops, void *k, const struct conn *conn, struct cy_kernel_device *d)
{
	static const struct cy_addr far = {.family = AF_INET, .ip = {192, 0, 2, 1}}; /* RFC 5737 */
	const struct cy_addr *local = only_host(&conn->local.host), *remote = only_host(&conn->remote.host);

	if (local)
		d->local = *local;
	else if (!ops->source_for || ops->source_for(k, remote ? remote : &far, &d->local))
		d->local = (struct cy_addr){0};
	if (!conn->device.shared && remote)
		d->remote = *remote;
	d->local.port = d->remote.port = 0;
}

static struct cy_kernel_device device_of(const struct cy_kernel_ops *ops, void *k, const struct conn *conn)
{
	struct cy_kernel_device d;

	memset(&d, 0, sizeof(d)); /* compared whole */
	d.size = sizeof(d);
	d.kind = conn->device.kind;
	d.create = conn->device.managed;
	snprintf(d.name, sizeof(d.name), "%s", conn->device.name);
	if (d.kind == CY_DEVICE_VTI) {
		d.mark_in = conn->mark_in.value;
		d.mark_out = conn->mark_out.value;
		find_local(ops, k, conn, &d);
	} else {
		d.if_id = conn->if_id_out;
	}
	return d;
}

/* ---- addresses and routes: of the first user who wants them until the last of them has gone */

static struct thing *find_thing(struct device *d, const struct thing_key *key, uint64_t hash)
{
	for (struct hnode *n = hmap_first(&d->things, hash); n; n = hmap_next(n))
		if (memcmp(&container_of(n, struct thing, node)->key, key, sizeof(*key)) == 0)
			return container_of(n, struct thing, node);
	return NULL;
}

/* One user more, or less: does the device have to be changed? */
static bool count_thing(struct device *d, struct device_user *u, const struct thing_key *key, bool on)
{
	uint64_t hash = hmap_hash(&d->things, key, sizeof(*key));
	struct thing *t = find_thing(d, key, hash);

	if (on && t) {
		t->refs++;
		return false;
	}
	if (on) {
		struct list *n = list_pop(&u->spare);

		if (!n)
			return false;
		t = list_entry(n, struct thing, spare);
		t->key = *key;
		t->refs = 1;
		hmap_add(&d->things, &t->node, hash);
		return true;
	}
	if (!t || --t->refs)
		return false;
	hmap_del(&d->things, &t->node);
	free(t);
	return true;
}

/* A pool is written without the first and the last address of its network: the route is that of the network. */
static void widen(struct cy_ts *ts)
{
	bool exact;
	uint8_t len = ts_prefix(ts, &exact);
	uint32_t lo, hi, mask;

	if (exact || ts->family_ip6 || len == 0)
		return;
	lo = (uint32_t)ts->lo[0] << 24 | (uint32_t)ts->lo[1] << 16 | (uint32_t)ts->lo[2] << 8 | ts->lo[3];
	hi = (uint32_t)ts->hi[0] << 24 | (uint32_t)ts->hi[1] << 16 | (uint32_t)ts->hi[2] << 8 | ts->hi[3];
	mask = UINT32_MAX << (32 - len);
	if (lo - (lo & mask) > 1 || (hi | ~mask) - hi > 1)
		return;
	ts->lo[3] = (uint8_t)(lo & mask);
	ts->hi[3] = (uint8_t)(hi | ~mask);
}

static void change_route(struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct device *d,
    struct device_user *u, const struct cy_ts *dst, bool on)
{
	const struct conn *c = u->conn;
	struct cy_ts any = ts_any(dst->family_ip6);
	struct thing_key key;

	/* Everything would lead the tunnels' own packets into the device: that is for an administrator to solve. */
	if (memcmp(dst->lo, any.lo, sizeof(any.lo)) == 0 && memcmp(dst->hi, any.hi, sizeof(any.hi)) == 0) {
		if (on)
			LOGF(t->log, LOG_KNL, CY_LOG_NOTICE, NULL,
			    "connection %s: no route for all there is leads to %s: add those that are wanted",
			    c->name, d->d.name);
		return;
	}
	memset(&key, 0, sizeof(key)); /* hashed and compared whole */
	key.ts.family_ip6 = dst->family_ip6;
	key.ts.port_hi = UINT16_MAX;
	memcpy(key.ts.lo, dst->lo, sizeof(key.ts.lo));
	memcpy(key.ts.hi, dst->hi, sizeof(key.ts.hi));
	widen(&key.ts);
	key.prefix = NO_PREFIX;
	if (count_thing(d, u, &key, on) && ops->device_route)
		(void)!ops->device_route(k, d->d.name, &key.ts, c->local.n_ts ? &c->local.ts[0] : NULL, on);
}

static void change_user(struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct device *d,
    struct device_user *u, bool on)
{
	const struct conn *c = u->conn;
	const struct str_list *pools = &c->remote.pools;

	if (u->applied == on)
		return;
	u->applied = on;
	if (c->local.device_addr.family) {
		struct thing_key key;

		memset(&key, 0, sizeof(key));
		key.ts = ts_host(&c->local.device_addr);
		key.prefix = c->local.device_prefix;
		if (count_thing(d, u, &key, on) && ops->device_addr)
			(void)!ops->device_addr(
			    k, d->d.name, &c->local.device_addr, c->local.device_prefix, on);
	}
	if (!c->device.routing)
		return;
	for (size_t i = 0; i < c->remote.n_ts; i++)
		change_route(t, ops, k, d, u, &c->remote.ts[i], on);
	for (size_t i = 0; i < pools->n; i++) {
		struct cy_ts ts;

		if (pools->s[i][0] != '%' && ts_parse(pools->s[i], &ts) == CY_OK)
			change_route(t, ops, k, d, u, &ts, on);
	}
}

/* ---- coming and going */

static enum cy_err make(struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct device *d)
{
	enum cy_err err = CY_E_UNSUPPORTED;
	struct hnode *n, *tmp;
	size_t b;
	char why[160];

	if (d->there)
		return CY_OK;
	snprintf(why, sizeof(why), "the data plane %s has no such devices", ops->name);
	if (ops->size >= offsetof(struct cy_kernel_ops, device_route) + sizeof(ops->device_route) &&
	    ops->device_add)
		err = ops->device_add(k, &d->d, why, sizeof(why));
	pthread_mutex_lock(&t->lock);
	d->there = !err;
	if (err && strcmp(d->why, why) != 0) {
		snprintf(d->why, sizeof(d->why), "%s", why);
		LOGF(t->log, LOG_KNL, CY_LOG_ERROR, NULL, "the %s %s cannot be had: %s",
		    d->d.kind == CY_DEVICE_VTI ? "VTI device" : "XFRM interface", d->d.name, why);
	} else if (!err) {
		d->why[0] = '\0';
	}
	pthread_mutex_unlock(&t->lock);
	if (!err)
		hmap_foreach (&d->users, b, n, tmp)
			change_user(t, ops, k, d, container_of(n, struct device_user, node), true);
	return err;
}

static struct device *new_device(struct knl_devices *t, const struct cy_kernel_device *spec)
{
	struct device *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->d = *spec;
	if (hmap_init(&d->users, t->hash_key) || hmap_init(&d->things, t->hash_key)) {
		device_free(d);
		return NULL;
	}
	pthread_mutex_lock(&t->lock);
	list_push(&t->list, &d->node);
	pthread_mutex_unlock(&t->lock);
	hmap_add(&t->by_name, &d->by_name, name_hash(t, d->d.name));
	return d;
}

static void drop_device(struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct device *d)
{
	if (d->refs)
		return;
	if (d->there)
		(void)!ops->device_del(k, &d->d);
	pthread_mutex_lock(&t->lock);
	list_del(&d->node);
	pthread_mutex_unlock(&t->lock);
	hmap_del(&t->by_name, &d->by_name);
	device_free(d);
}

static bool fits(const struct cy_kernel_device *a, const struct cy_kernel_device *b)
{
	return a->kind == b->kind && a->mark_in == b->mark_in && a->mark_out == b->mark_out &&
	    a->if_id == b->if_id && cy_addr_ip_eq(&a->local, &b->local) &&
	    cy_addr_ip_eq(&a->remote, &b->remote);
}

static struct device_user *new_user(struct device *d, struct conn *conn)
{
	struct device_user *u = calloc(1, sizeof(*u));
	size_t things = (conn->local.device_addr.family != 0) +
	    (conn->device.routing ? conn->remote.n_ts + conn->remote.pools.n : 0);

	if (!u)
		return NULL;
	list_init(&u->spare);
	u->conn = conn_ref(conn);
	for (size_t i = 0; i < things; i++) {
		struct thing *t = calloc(1, sizeof(*t));

		if (!t) {
			user_free(u);
			return NULL;
		}
		list_push(&u->spare, &t->spare);
	}
	hmap_add(&d->users, &u->node, hmap_hash(&d->users, &conn, sizeof(conn)));
	return u;
}

static void count(struct knl_devices *t, struct device *d, int n)
{
	pthread_mutex_lock(&t->lock);
	d->refs += (uint32_t)n;
	pthread_mutex_unlock(&t->lock);
}

enum cy_err knl_device_use(
    struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct conn *conn, bool loaded)
{
	struct device *d = find(t, conn->device.name);
	struct device_user *u = d ? find_user(d, conn) : NULL;
	enum cy_err err;

	if (!u) {
		struct cy_kernel_device spec = device_of(ops, k, conn);

		if (d && !fits(&d->d, &spec)) {
			LOGF(t->log, LOG_KNL, CY_LOG_ERROR, NULL,
			    "connection %s wants %s with another mark, if_id or tunnel end than those that "
			    "use it; write "
			    "another name",
			    conn->name, d->d.name);
			return CY_E_EXISTS;
		}
		if (!d && !(d = new_device(t, &spec)))
			return CY_E_NOMEM;
		u = new_user(d, conn);
		if (!u) {
			drop_device(t, ops, k, d);
			return CY_E_NOMEM;
		}
	}
	if (loaded && u->loaded)
		return CY_OK;
	if (loaded)
		u->loaded = true;
	else
		u->children++;
	count(t, d, 1);
	err = make(t, ops, k, d);
	if (!err)
		change_user(t, ops, k, d, u, true);
	else if (!loaded)
		(void)!knl_device_unuse(t, ops, k, conn, false);
	return err;
}

enum cy_err knl_device_unuse(
    struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct conn *conn, bool loaded)
{
	struct device *d = find(t, conn->device.name);
	struct device_user *u = d ? find_user(d, conn) : NULL;

	if (!u || (loaded ? !u->loaded : !u->children))
		return CY_E_NOTFOUND;
	if (loaded)
		u->loaded = false;
	else
		u->children--;
	count(t, d, -1);
	if (!u->loaded && !u->children) {
		change_user(t, ops, k, d, u, false);
		hmap_del(&d->users, &u->node);
		user_free(u);
	}
	drop_device(t, ops, k, d);
	return CY_OK;
}

/* Users that the configuration has no more. The device may go with the last of them. */
static void drop_stale(struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct device *d,
    const struct conf *conf)
{
	struct hnode *h, *tmp;
	size_t b;

	hmap_foreach (&d->users, b, h, tmp) {
		struct device_user *u = container_of(h, struct device_user, node);
		bool last = d->refs == 1;

		if (!u->loaded || conf_find(conf, u->conn->name) == u->conn)
			continue;
		(void)!knl_device_unuse(t, ops, k, u->conn, true);
		if (last)
			return;
	}
}

/* Does the device have to become another one for this connection? */
static bool differs(struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, const struct conn *c)
{
	struct device *d = find(t, c->device.name);
	struct cy_kernel_device spec = device_of(ops, k, c);

	return d && !fits(&d->d, &spec);
}

enum cy_err knl_devices_load(
    struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, const struct conf *conf)
{
	enum cy_err err = CY_OK;
	struct list *n, *tmp;

	for (int last = 0; last < 2; last++) {
		for (size_t i = 0; i < conf->n_conns; i++) {
			struct conn *c = conf->conns[i];

			if (!c->device.kind || (!last && differs(t, ops, k, c)))
				continue;
			if (knl_device_use(t, ops, k, c, true) == CY_E_NOMEM && last)
				err = CY_E_NOMEM;
		}
		if (last)
			break;
		list_foreach_safe (n, tmp, &t->list)
			drop_stale(t, ops, k, list_entry(n, struct device, node), conf);
	}
	return err;
}

bool knl_devices_any(struct knl_devices *t)
{
	bool any;

	pthread_mutex_lock(&t->lock);
	any = !list_empty(&t->list);
	pthread_mutex_unlock(&t->lock);
	return any;
}

void knl_devices_list(
    struct knl_devices *t, void (*cb)(void *user, const struct knl_device_info *d), void *user)
{
	struct list *n;

	pthread_mutex_lock(&t->lock);
	list_foreach (n, &t->list) {
		const struct device *d = list_entry(n, struct device, node);
		struct knl_device_info info = {.name = d->d.name,
		    .why = d->why,
		    .kind = d->d.kind,
		    .if_id = d->d.if_id,
		    .mark_in = d->d.mark_in,
		    .mark_out = d->d.mark_out,
		    .users = d->refs};

		cb(user, &info);
	}
	pthread_mutex_unlock(&t->lock);
}
