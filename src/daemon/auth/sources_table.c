/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what says whether certificates were revoked, within its bounds. With the mutex, but for what frees. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "daemon/auth/sources_impl.h"

void source_free(struct sources *s, struct source *src)
{
	if (src->crl)
		s->pki->crl_unref(src->crl);
	if (src->cert)
		s->pki->cert_unref(src->cert);
	if (src->issuer)
		s->pki->cert_unref(src->issuer);
	free(src->url);
	free(src);
}

static uint64_t hash(const struct sources *s, enum source_kind kind, const char *url, struct cy_cert *cert,
    struct cy_cert *issuer)
{
	const struct cy_cert_info *c = cert ? s->pki->cert_info(cert) : NULL;
	uint64_t of[4] = {(uint64_t)kind};

	of[1] = url ? hmap_hash(&s->table, url, strlen(url)) : 0;
	of[2] = hmap_hash(&s->table, s->pki->cert_info(issuer)->key.spki_sha1, 20);
	of[3] = c ? hmap_hash(&s->table, c->serial.p, c->serial.n) : 0;
	return hmap_hash(&s->table, of, sizeof(of));
}

static bool same(const struct sources *s, const struct source *src, enum source_kind kind, const char *url,
    struct cy_cert *cert, struct cy_cert *issuer)
{
	const struct cy_cert_info *a = s->pki->cert_info(src->issuer), *b = s->pki->cert_info(issuer);

	return src->kind == kind && (kind == SOURCE_FILE || strcmp(src->url, url) == 0) &&
	    cy_slice_eq(a->subject_der, b->subject_der) && cy_slice_eq(a->spki, b->spki) &&
	    (kind != SOURCE_OCSP ||
	        cy_slice_eq(s->pki->cert_info(src->cert)->serial, s->pki->cert_info(cert)->serial));
}

struct source *source_find(const struct sources *s, enum source_kind kind, const char *url,
    struct cy_cert *cert, struct cy_cert *issuer)
{
	struct hnode *n;

	if (kind != SOURCE_OCSP)
		cert = NULL;
	if (kind == SOURCE_FILE)
		url = NULL;
	for (n = hmap_first(&s->table, hash(s, kind, url, cert, issuer)); n; n = hmap_next(n)) {
		struct source *src = container_of(n, struct source, node);

		if (same(s, src, kind, url, cert, issuer))
			return src;
	}
	return NULL;
}

static void host_of(const char *url, char out[sizeof(((struct source_host *)0)->name)])
{
	const char *at = strstr(url, "://");
	size_t n;

	at = at ? at + 3 : url;
	n = strcspn(at, "/?");
	snprintf(out, sizeof(((struct source_host *)0)->name), "%.*s", (int)(n < 60 ? n : 60), at);
}

static struct source_host *host_get(struct sources *s, const char *url)
{
	struct sources_stats *st = &s->stats;
	char name[sizeof(st->host[0].name)];

	host_of(url, name);
	for (uint32_t i = 0; i < st->n_hosts; i++)
		if (strcasecmp(st->host[i].name, name) == 0)
			return &st->host[i];
	if (st->n_hosts == SOURCE_HOSTS)
		return &st->host[SOURCE_HOSTS - 1];
	snprintf(st->host[st->n_hosts].name, sizeof(name), "%s",
	    st->n_hosts == SOURCE_HOSTS - 1 ? "others" : name);
	return &st->host[st->n_hosts++];
}

struct source *source_add(
    struct sources *s, enum source_kind kind, const char *url, struct cy_cert *cert, struct cy_cert *issuer)
{
	struct source *src = calloc(1, sizeof(*src));

	if (!src)
		return NULL;
	src->kind = kind;
	src->url = strdup(url);
	if (!src->url) {
		free(src);
		return NULL;
	}
	if (!s->keyed)
		s->d->env->random(s->d->env, s->table.key, sizeof(s->table.key));
	s->keyed = true;
	list_init(&src->waits);
	src->refs = 1;
	src->issuer = s->pki->cert_ref(issuer);
	src->bytes = sizeof(*src) + strlen(url) + 1;
	if (kind == SOURCE_OCSP) {
		src->cert = s->pki->cert_ref(cert);
		src->bytes += s->pki->cert_info(cert)->der.n;
	}
	if (kind != SOURCE_FILE)
		src->host = host_get(s, url);
	hmap_add(&s->table, &src->node, hash(s, kind, kind == SOURCE_FILE ? NULL : url, src->cert, issuer));
	list_push(&s->used, &src->used);
	s->stats.entries++;
	s->stats.bytes += src->bytes;
	return src;
}

bool source_unref(struct source *src)
{
	return --src->refs == 0;
}

void source_drop(struct sources *s, struct source *src)
{
	hmap_del(&s->table, &src->node);
	list_del(&src->used);
	s->stats.entries--;
	s->stats.bytes -= src->bytes;
	s->stats.crls -= src->crl != NULL;
}

/* Takes out the one that was not used for longest. False: there is none. */
static bool evict(struct sources *s, bool crls, struct list *out)
{
	struct list *at;

	list_foreach (at, &s->used) {
		struct source *src = list_entry(at, struct source, used);

		if (src->state != SOURCE_IDLE || src->refs != 1 || src->kind == SOURCE_FILE ||
		    (src->crl && !crls))
			continue;
		source_drop(s, src);
		s->stats.evicted++;
		list_push(out, &src->used);
		return true;
	}
	return false;
}

bool source_room_for_one(struct sources *s, struct list *out)
{
	while (s->stats.entries >= s->d->tune.revocation_cache_entries)
		if (!evict(s, false, out))
			return false;
	return true;
}

bool source_room_for_crl(struct sources *s, uint64_t n, struct list *out)
{
	const struct tuning *t = &s->d->tune;

	if (n > t->revocation_cache)
		return false;
	/* of the entries half, so that there is always something small to take out for what is asked for next */
	while (s->stats.bytes + n > t->revocation_cache || s->stats.crls >= t->revocation_cache_entries / 2)
		if (!evict(s, true, out))
			return false;
	return true;
}

void source_free_all(struct sources *s, struct list *gone)
{
	struct list *n;

	while ((n = list_pop(gone)) != NULL)
		source_free(s, list_entry(n, struct source, used));
}
