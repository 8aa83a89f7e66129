/* SPDX-License-Identifier: Apache-2.0 */
/* What says whether certificates were revoked: its line of statusall, listcrls, purgecrls. Control thread. */
#include <stdlib.h>

#include "daemon/auth/sources.h"
#include "daemon/control/private.h"

static void write_hosts(struct jw *w, const struct sources_stats *s)
{
	jw_arr(w, "hosts");
	for (uint32_t i = 0; i < s->n_hosts; i++) {
		const struct source_host *h = &s->host[i];

		jw_obj(w, NULL);
		jw_str(w, "host", h->name);
		jw_u64(w, "asked", h->asked);
		jw_u64(w, "failed", h->failed);
		jw_u64(w, "late", h->late);
		jw_u64(w, "failed_in_a_row", h->in_a_row);
		jw_u64(w, "max_ms", h->max_ns / NS_PER_MS);
		jw_u64(w, "running_ms", h->running_ns / NS_PER_MS);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

void write_revocation(struct control *c, struct jw *w)
{
	struct sources_stats *s = calloc(1, sizeof(*s));
	char line[512];

	if (!s || !c->d->sources) {
		free(s);
		return;
	}
	sources_read_stats(c->d->sources, s);
	sources_plugin_status(c->d->sources, line, sizeof(line));
	jw_obj(w, "revocation");
	jw_u64(w, "fetching", s->fetching);
	jw_u64(w, "waiting", s->waiting);
	jw_u64(w, "waiting_max", s->waiting_max);
	jw_u64(w, "waited", s->waited);
	jw_u64(w, "asked", s->asked);
	jw_u64(w, "in_background", s->background);
	jw_u64(w, "answered", s->answered);
	jw_u64(w, "failed", s->failed);
	jw_u64(w, "late", s->late);
	jw_u64(w, "answers_too_late", s->too_late);
	jw_u64(w, "queue_full", s->refused);
	jw_u64(w, "max_ms", s->max_ns / NS_PER_MS);
	jw_u64(w, "entries", s->entries);
	jw_u64(w, "crls", s->crls);
	jw_u64(w, "bytes", s->bytes);
	jw_u64(w, "evicted", s->evicted);
	jw_u64(w, "good", s->outcome[OUTCOME_GOOD]);
	jw_u64(w, "revoked", s->outcome[OUTCOME_REVOKED]);
	jw_u64(w, "unknown_accepted", s->outcome[OUTCOME_ACCEPTED]);
	jw_u64(w, "unknown_refused", s->outcome[OUTCOME_REFUSED]);
	write_hosts(w, s);
	jw_str(w, "plugin", line);
	jw_obj_end(w);
	free(s);
}

struct listing {
	struct request *r;
	struct jw w;
};

static void on_source(void *user, const struct source_info *i)
{
	static const char *const kinds[] = {"", "ocsp", "file", "crl"};
	static const char *const says[] = {"", "good", "revoked", "unknown"};
	struct listing *l = user;

	request_item(l->r, &l->w, "crls");
	jw_str(&l->w, "kind", kinds[i->kind]);
	jw_str(&l->w, "url", i->url);
	jw_str(&l->w, "issuer", i->issuer);
	if (*i->subject)
		jw_str(&l->w, "subject", i->subject);
	if (i->status && i->status < ARRAY_LEN(says))
		jw_str(&l->w, "status", says[i->status]);
	jw_bool(&l->w, "loaded", i->has);
	jw_bool(&l->w, "fetching", i->busy);
	if (i->has) {
		jw_i64(&l->w, "this_update", i->this_update);
		jw_i64(&l->w, "next_update", i->next_update);
	}
	if (i->kind != SOURCE_OCSP)
		jw_u64(&l->w, "revoked", i->n_revoked);
	jw_u64(&l->w, "bytes", i->bytes);
	jw_u64(&l->w, "failures", i->failures);
	if (*i->why)
		jw_str(&l->w, "error", i->why);
	request_item_end(&l->w);
}

void cmd_listcrls(struct request *r)
{
	struct listing l = {.r = r};

	request_begin(r, &l.w, "data");
	jw_obj(&l.w, "data");
	jw_obj_end(&l.w);
	request_line_end(&l.w);
	sources_list(r->control->d->sources, on_source, &l);
	request_send_all(r, &l.w);
}

void cmd_purgecrls(struct request *r)
{
	struct jw w = {0};
	uint64_t n = sources_purge(r->control->d->sources);

	request_begin(r, &w, "data");
	jw_obj(&w, "data");
	jw_u64(&w, "purged", n);
	jw_obj_end(&w);
	request_line_end(&w);
	request_send(r, &w);
	request_done(r);
}
