/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/halfopen.h"

#include <pthread.h>
#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/list.h"

struct half_open_key {
	uint8_t ip[16];
	uint16_t family, port; /* port 0: nobody of this address has proven anything */
	uint32_t proven;
};

struct half_open_peer {
	struct hnode node;
	struct half_open_key key;
	uint32_t n;
};

struct half_open_table {
	pthread_mutex_t lock;
	struct hmap map;
	size_t n;
};

enum cy_err half_open_new(const uint64_t key[2], struct half_open_table **out)
{
	struct half_open_table *t = calloc(1, sizeof(*t));
	enum cy_err e;

	if (!t)
		return CY_E_NOMEM;
	e = hmap_init(&t->map, key);
	if (e) {
		free(t);
		return e;
	}
	pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return CY_OK;
}

void half_open_free(struct half_open_table *t)
{
	struct hnode *n, *tmp;
	size_t b;

	if (!t)
		return;
	hmap_foreach (&t->map, b, n, tmp) {
		hmap_del(&t->map, n);
		free(container_of(n, struct half_open_peer, node));
	}
	hmap_fini(&t->map);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct half_open_key key_of(const struct cy_addr *peer, bool proven)
{
	struct half_open_key k;

	memset(&k, 0, sizeof(k)); /* it is hashed and compared as bytes */
	k.family = peer->family;
	memcpy(k.ip, peer->ip, peer->family == AF_INET ? 4 : 8);
	if (proven) {
		k.proven = 1;
		k.port = peer->port;
	}
	return k;
}

static struct half_open_peer *find(struct half_open_table *t, const struct half_open_key *k, uint64_t hash)
{
	for (struct hnode *n = hmap_first(&t->map, hash); n; n = hmap_next(n)) {
		struct half_open_peer *e = container_of(n, struct half_open_peer, node);

		if (memcmp(&e->key, k, sizeof(*k)) == 0)
			return e;
	}
	return NULL;
}

uint32_t half_open_count(struct half_open_table *t, const struct cy_addr *peer, bool proven)
{
	struct half_open_key k = key_of(peer, proven);
	const struct half_open_peer *e;
	uint32_t n;

	pthread_mutex_lock(&t->lock);
	e = find(t, &k, hmap_hash(&t->map, &k, sizeof(k)));
	n = e ? e->n : 0;
	pthread_mutex_unlock(&t->lock);
	return n;
}

struct half_open_peer *half_open_add(struct half_open_table *t, const struct cy_addr *peer, bool proven)
{
	struct half_open_key k = key_of(peer, proven);
	uint64_t hash = hmap_hash(&t->map, &k, sizeof(k));
	struct half_open_peer *e;

	pthread_mutex_lock(&t->lock);
	e = find(t, &k, hash);
	if (!e && (e = calloc(1, sizeof(*e)))) {
		e->key = k;
		hmap_add(&t->map, &e->node, hash);
		t->n++;
	}
	if (e)
		e->n++;
	pthread_mutex_unlock(&t->lock);
	return e;
}

void half_open_del(struct half_open_table *t, struct half_open_peer *e)
{
	if (!e)
		return;
	pthread_mutex_lock(&t->lock);
	if (--e->n == 0) {
		hmap_del(&t->map, &e->node);
		t->n--;
		free(e);
	}
	pthread_mutex_unlock(&t->lock);
}

size_t half_open_peers(struct half_open_table *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = t->n;
	pthread_mutex_unlock(&t->lock);
	return n;
}
