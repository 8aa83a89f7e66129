/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts take turns, and none has more than its share of the transfers. On the plugin's thread. */

#include "fetcher.h"

#include <stdio.h>
#include <stdlib.h>

static void host_free(struct plugin *p, struct host *h)
{
	TAILQ_REMOVE(&p->hosts, h, all);
	free(h);
}

void host_release(struct plugin *p, struct host *h)
{
	struct host *oldest;

	if (h->idle || h->waiting || h->running || h->parked)
		return;
	h->idle = true;
	TAILQ_INSERT_TAIL(&p->idle, h, turn);
	if (++p->n_idle <= HOSTS_IDLE)
		return;
	oldest = TAILQ_FIRST(&p->idle);
	TAILQ_REMOVE(&p->idle, oldest, turn);
	p->n_idle--;
	host_free(p, oldest);
}

static void host_busy(struct plugin *p, struct host *h)
{
	if (!h->idle)
		return;
	h->idle = false;
	TAILQ_REMOVE(&p->idle, h, turn);
	p->n_idle--;
}

struct host *host_get(struct plugin *p, const char *name)
{
	struct host *h;

	TAILQ_FOREACH(h, &p->hosts, all)
	if (strcmp(h->name, name) == 0)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	(void)snprintf(h->name, sizeof(h->name), "%s", name);
	TAILQ_INIT(&h->requests);
	TAILQ_INSERT_TAIL(&p->hosts, h, all);
	return h;
}

void host_queue_push(struct plugin *p, struct host *h, struct request *r)
{
	host_busy(p, h);
	TAILQ_INSERT_TAIL(&h->requests, r, next);
	if (h->waiting++ == 0)
		TAILQ_INSERT_TAIL(&p->turn, h, turn);
}

void host_queue_remove(struct plugin *p, struct request *r)
{
	struct host *h = r->host;

	TAILQ_REMOVE(&h->requests, r, next);
	if (--h->waiting == 0)
		TAILQ_REMOVE(&p->turn, h, turn);
}

static bool may_start(const struct plugin *p, const struct host *h)
{
	return h->running + h->parked < (h->ailing ? 1 : p->host_transfers) && p->n_parked < PARKED_MAX;
}

struct request *host_next(struct plugin *p)
{
	struct request *r;
	struct host *h;

	TAILQ_FOREACH(h, &p->turn, turn)
	if (may_start(p, h))
		break;
	if (!h)
		return NULL;
	r = TAILQ_FIRST(&h->requests);
	h->running++;
	host_queue_remove(p, r);
	if (h->waiting) { /* the others first */
		TAILQ_REMOVE(&p->turn, h, turn);
		TAILQ_INSERT_TAIL(&p->turn, h, turn);
	}
	return r;
}

void hosts_publish(struct plugin *p)
{
	const struct host *h, *slowest = NULL;

	TAILQ_FOREACH(h, &p->hosts, all)
	if (!slowest || h->ms > slowest->ms)
		slowest = h;
	pthread_mutex_lock(&p->lock);
	p->c.slowest_ms = slowest ? slowest->ms : 0;
	(void)snprintf(p->c.slowest, sizeof(p->c.slowest), "%s", slowest ? slowest->name : "");
	p->c.parked = p->n_parked;
	p->c.running = p->running;
	pthread_mutex_unlock(&p->lock);
}

void host_ended(struct plugin *p, struct host *h, uint32_t ms, enum host_word word)
{
	h->running--;
	if (word != HOST_UNKNOWN) {
		h->ailing = word == HOST_SILENT;
		h->ms = h->ms ? (uint32_t)((3ull * h->ms + ms) / 4) : ms;
	}
}

void host_parked(struct plugin *p, struct host *h)
{
	h->parked++;
	p->n_parked++;
}

void host_unparked(struct plugin *p, struct host *h)
{
	h->parked--;
	p->n_parked--;
	host_release(p, h);
}

void hosts_fini(struct plugin *p)
{
	struct host *h;

	while ((h = TAILQ_FIRST(&p->hosts)))
		host_free(p, h);
}
