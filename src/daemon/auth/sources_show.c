/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of revocation, for those who look at it, and forgetting it at their command. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/auth/sources_impl.h"

/* --- commands ------------------------------------------------------------------------------------------------------------------ */

void sources_retry(struct sources *s)
{
	struct hnode *n, *tmp;
	size_t b;

	pthread_mutex_lock(&s->lock);
	hmap_foreach (&s->table, b, n, tmp) {
		struct source *src = container_of(n, struct source, node);

		src->retry_ns = 0;
		if (src->state == SOURCE_IDLE)
			src->failures = 0;
	}
	source_arm(s);
	pthread_mutex_unlock(&s->lock);
}

/* What came from servers, or the files that were not read again. */
static uint64_t drop_all(struct sources *s, bool files)
{
	struct hnode *n, *tmp;
	struct list gone;
	uint64_t count = 0;
	size_t b;

	list_init(&gone);
	pthread_mutex_lock(&s->lock);
	hmap_foreach (&s->table, b, n, tmp) {
		struct source *src = container_of(n, struct source, node);

		if ((src->kind == SOURCE_FILE) != files || (files && !src->old) ||
		    src->state != SOURCE_IDLE || src->refs != 1)
			continue;
		source_drop(s, src);
		list_push(&gone, &src->used);
		count++;
	}
	pthread_mutex_unlock(&s->lock);
	source_free_all(s, &gone);
	return count;
}

uint64_t sources_purge(struct sources *s)
{
	return drop_all(s, false);
}

void sources_drop_files(struct sources *s)
{
	(void)drop_all(s, true);
}

bool sources_ticks(const struct sources *s)
{
	return timer_is_set(&s->tick);
}

/* --- looking --------------------------------------------------------------------------------------------------------------------- */

void sources_read_stats(struct sources *s, struct sources_stats *out)
{
	uint64_t now = env_now(s->d->env);
	struct list *n;

	pthread_mutex_lock(&s->lock);
	*out = s->stats;
	list_foreach (n, &s->busy) {
		const struct source *src = list_entry(n, struct source, busy);
		struct source_host *h = &out->host[src->host - s->stats.host];

		if (now - src->asked_ns > h->running_ns)
			h->running_ns = now - src->asked_ns;
	}
	pthread_mutex_unlock(&s->lock);
}

void sources_plugin_status(struct sources *s, char *out, size_t cap)
{
	out[0] = '\0';
	if (s->ops && s->ops->status)
		(void)s->ops->status(s->plugin, out, cap);
}

/* With the mutex; what it points to stays while there is a reference. why is copied. */
static struct source_info info_of(const struct sources *s, const struct source *src, char *why, size_t cap)
{
	const struct cy_crl_info *crl = src->crl ? s->pki->crl_info(src->crl) : NULL;

	snprintf(why, cap, "%s", src->failures ? src->why : "");
	return (struct source_info){.kind = src->kind,
	    .url = src->url,
	    .issuer = s->pki->cert_info(src->issuer)->subject,
	    .subject = src->cert ? s->pki->cert_info(src->cert)->subject : "",
	    .why = why,
	    .this_update = src->info.this_update,
	    .next_update = src->info.next_update,
	    .n_revoked = crl ? crl->n_revoked : 0,
	    .bytes = src->bytes,
	    .failures = src->failures,
	    .status = src->cert && src->has ? src->info.status : 0,
	    .has = src->has,
	    .busy = src->state != SOURCE_IDLE};
}

/* References to all of them: what is done with each is not for workers to wait for. */
static struct source **snapshot(struct sources *s, size_t *out_n)
{
	struct source **all;
	struct hnode *n, *tmp;
	size_t b;

	*out_n = 0;
	pthread_mutex_lock(&s->lock);
	all = calloc(s->table.n + 1, sizeof(struct source *));
	if (all)
		hmap_foreach (&s->table, b, n, tmp) {
			struct source *src = container_of(n, struct source, node);

			if (src->kind == SOURCE_RESPONDER)
				continue;
			src->refs++;
			all[(*out_n)++] = src;
		}
	pthread_mutex_unlock(&s->lock);
	return all;
}

void sources_list(struct sources *s, void (*cb)(void *user, const struct source_info *i), void *user)
{
	struct source_info i;
	struct source **all;
	char why[sizeof(all[0]->why)];
	size_t n;

	all = snapshot(s, &n);
	for (size_t k = 0; k < n; k++) {
		pthread_mutex_lock(&s->lock);
		i = info_of(s, all[k], why, sizeof(why));
		pthread_mutex_unlock(&s->lock);
		cb(user, &i);
		source_release(s, all[k]);
	}
	free(all);
}
