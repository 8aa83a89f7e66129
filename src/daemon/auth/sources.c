/* SPDX-License-Identifier: Apache-2.0 */
/* Asking what says whether certificates were revoked, and getting what is not in the table. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "daemon/auth/sources_impl.h"
#include "libcore/plugin/loader.h"

#define BACK_OFF_MAX    30    /* times fetch_retry */
#define CRL_LASTS       86400 /* s: one that does not say for how long (RFC 5280, 5.1.2.5 wants it to) */
#define OCSP_LASTS      300   /* s: the same; there may be a newer one at any time (RFC 6960, 2.4) */
#define REFRESH_LEAST_S 60
#define WALK_MAX_NS     (60 * NS_PER_S)
#define BEGIN_MAX       16 /* requests that one tick begins */

/* --- life ------------------------------------------------------------------------------------------------------------ */

static void arm_run(struct worker *w, struct job *j);
static void on_tick(struct timer *t);

enum cy_err sources_new(struct daemon *d, struct sources **out)
{
	struct sources *s = calloc(1, sizeof(*s));
	static const uint64_t no_key[2];
	enum cy_err e;

	if (!s)
		return CY_E_NOMEM;
	s->d = d;
	list_init(&s->used);
	list_init(&s->busy);
	s->walk_ns = UINT64_MAX;
	s->arm.fn = arm_run;
	s->tick.fn = on_tick;
	e = hmap_init(&s->table, no_key); /* it is drawn for the first one */
	if (e) {
		free(s);
		return e;
	}
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return CY_OK;
}

void sources_start(struct sources *s)
{
	s->pki = crypto_pki(s->d->crypto);
	s->can = s->pki && CY_HAS(s->pki, ocsp_look) && s->pki->crl_load && s->pki->crl_look &&
	    s->pki->crl_signed_by && s->pki->ocsp_request && s->pki->ocsp_look;
	s->ops = plugins_find(s->d->plugins, CY_KIND_FETCHER, NULL, &s->plugin);
}

void sources_stop(struct sources *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopped = true;
	pthread_mutex_unlock(&s->lock);
}

void sources_clear(struct sources *s)
{
	struct hnode *n, *tmp;
	size_t b;

	if (!s)
		return;
	/* the lock keeps away plugins that still answer */
	pthread_mutex_lock(&s->lock);
	s->stopped = true;
	hmap_foreach (&s->table, b, n, tmp) {
		hmap_del(&s->table, n);
		/* else work that the pool gave up still has it */
		if (container_of(n, struct source, node)->refs == 1)
			source_free(s, container_of(n, struct source, node));
	}
	list_init(&s->used);
	list_init(&s->busy);
	pthread_mutex_unlock(&s->lock);
}

void sources_free(struct sources *s)
{
	if (!s)
		return;
	hmap_fini(&s->table);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* --- an end of getting it: with the mutex ---------------------------------------------------------------------------------- */

static void wake(struct sources *s, struct source *src)
{
	struct list *n;

	while ((n = list_pop(&src->waits)) != NULL) {
		s->stats.waiting--;
		if (!s->stopped)
			list_entry(n, struct source_wait, node)
			    ->ready(list_entry(n, struct source_wait, node));
	}
}

/* It is asked again after fetch_retry, then twice that and so on. */
static void back_off(struct sources *s, struct source *src, const char *why)
{
	uint64_t first = s->d->tune.fetch_retry_ns, off = first;

	for (uint32_t i = 0; i < src->failures && off < BACK_OFF_MAX * first; i++)
		off *= 2;
	if (off > BACK_OFF_MAX * first)
		off = BACK_OFF_MAX * first;
	src->failures++;
	src->retry_ns = env_now(s->d->env) + off;
	snprintf(src->why, sizeof(src->why), "%s", why);
}

/* A responder that is away is so for all certificates. */
static void responder_ends(struct sources *s, const struct source *src, enum source_end end, const char *why)
{
	struct source *r = source_find(s, SOURCE_RESPONDER, src->url, NULL, src->issuer);

	if (end != SOURCE_SILENT) {
		if (r)
			r->failures = 0;
		return;
	}
	if (!r && s->stats.entries < s->d->tune.revocation_cache_entries)
		r = source_add(s, SOURCE_RESPONDER, src->url, NULL, src->issuer);
	if (r && env_now(s->d->env) >= r->retry_ns)
		back_off(s, r, why);
}

void source_settle(struct sources *s, struct source *src, enum source_end end, const char *why)
{
	uint64_t now = env_now(s->d->env), took = now - src->asked_ns;

	if (took > s->stats.max_ns)
		s->stats.max_ns = took;
	if (took > src->host->max_ns)
		src->host->max_ns = took;
	src->state = SOURCE_IDLE;
	list_del(&src->busy);
	s->stats.fetching--;
	s->walk |= src->kind == SOURCE_CRL;
	if (end == SOURCE_CAME) {
		src->failures = 0;
		s->stats.answered++;
		src->host->in_a_row = 0;
	} else {
		s->stats.failed++;
		src->host->failed++;
		src->host->in_a_row++;
		back_off(s, src, why);
		LOGF(s->d->log, LOG_IKE, CY_LOG_WARN, NULL, "%s %.200s: %s; again in %llu s",
		    src->kind == SOURCE_CRL ? "CRL" : "OCSP responder", src->url, why,
		    (unsigned long long)((src->retry_ns - now + NS_PER_S / 2) / NS_PER_S));
	}
	if (src->kind == SOURCE_OCSP)
		responder_ends(s, src, end, why);
	wake(s, src);
	source_arm(s);
}

/* --- getting it ------------------------------------------------------------------------------------------------------------ */

/* What is asked for without the mutex, because a plugin may answer at once. */
struct order {
	struct source *src; /* a reference; NULL: nothing */
	uint64_t id, timeout_ns;
	uint8_t nonce[SOURCE_NONCE];
};

static void order_begin(struct sources *s, struct source *src, struct order *out)
{
	if (src->kind == SOURCE_OCSP)
		s->d->env->random(s->d->env, src->nonce, sizeof(src->nonce));
	src->state = SOURCE_FETCHING;
	list_push(&s->busy, &src->busy);
	src->id = ++s->last_id;
	src->asked_ns = env_now(s->d->env);
	src->refs++;
	src->wanted = false;
	s->stats.asked++;
	s->stats.fetching++;
	src->host->asked++;
	*out = (struct order){.src = src, .id = src->id, .timeout_ns = src->timeout_ns};
	memcpy(out->nonce, src->nonce, sizeof(out->nonce));
	source_arm(s);
}

void source_release(struct sources *s, struct source *src)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	last = source_unref(src);
	pthread_mutex_unlock(&s->lock);
	if (last)
		source_free(s, src);
}

/* Is it still what is waited for? Then it is so no more. With the mutex. */
static bool claim(struct source *src, uint64_t id, enum source_state next)
{
	if (src->state != SOURCE_FETCHING || src->id != id)
		return false;
	src->state = next;
	list_del(&src->busy);
	return true;
}

static void failed(struct sources *s, struct source *src, uint64_t id, const char *why)
{
	pthread_mutex_lock(&s->lock);
	if (claim(src, id, SOURCE_DIGESTING))
		source_settle(s, src, SOURCE_UNFIT, why);
	pthread_mutex_unlock(&s->lock);
}

static void on_answer(void *to, uint64_t id, const struct cy_fetch_answer *a)
{
	struct sources *s = to;
	struct source *src = NULL;
	struct list *at;
	const char *why;

	pthread_mutex_lock(&s->lock);
	list_foreach (at, &s->busy)
		if (list_entry(at, struct source, busy)->id == id)
			src = list_entry(at, struct source, busy);
	if (s->stopped)
		src = NULL;
	if (!src) {
		s->stats.too_late++;
	} else {
		(void)claim(src, id, SOURCE_DIGESTING);
		src->refs++;
	}
	pthread_mutex_unlock(&s->lock);
	if (!src)
		return;
	if (a->result == CY_FETCH_OK && source_digest(s, src, &a->body))
		return;
	if (a->result == CY_FETCH_OK)
		why = "out of memory";
	else
		why = a->reason && *a->reason ? a->reason : "it cannot be got";
	pthread_mutex_lock(&s->lock);
	if (a->result == CY_FETCH_LATE) {
		s->stats.late++;
		src->host->late++;
	}
	source_settle(s, src, a->result == CY_FETCH_OK ? SOURCE_UNFIT : SOURCE_SILENT, why);
	pthread_mutex_unlock(&s->lock);
	source_release(s, src);
}

static void order_send(struct sources *s, const struct order *o)
{
	struct source *src = o->src;
	struct cy_fetch_request r = {.size = sizeof(r),
	    .deadline_ms = (uint32_t)(o->timeout_ns / NS_PER_MS),
	    .id = o->id,
	    .url = src->url,
	    .max_bytes = src->kind == SOURCE_OCSP ? 64 << 10 : s->d->tune.crl_size_max,
	    .answer = on_answer,
	    .to = s};
	uint8_t *post = NULL;
	size_t n;

	if (src->kind == SOURCE_OCSP) {
		if (s->pki->ocsp_request(
		        src->cert, src->issuer, cy_slice(o->nonce, sizeof(o->nonce)), &post, &n)) {
			failed(s, src, o->id, "no OCSP request could be made");
			source_release(s, src);
			return;
		}
		r.post = cy_slice(post, n);
		r.content_type = "application/ocsp-request"; /* RFC 6960, appendix A.1 */
	}
	s->ops->begin(s->plugin, &r);
	free(post);
	source_release(s, src);
}

/* --- what is due: worker 0 --------------------------------------------------------------------------------------------------- */

void source_arm(struct sources *s)
{
	if (s->armed || s->stopped)
		return;
	s->armed = true;
	worker_post(processor_worker(s->d->processor, 0), &s->arm, PRIO_LOW, JOB_HOUSEKEEPING);
}

static int64_t ends(const struct source *src)
{
	if (src->info.next_update)
		return src->info.next_update;
	return src->came + (src->kind == SOURCE_OCSP ? OCSP_LASTS : CRL_LASTS);
}

/* When three quarters of its time are over. */
static int64_t refresh_at(const struct source *src)
{
	int64_t after = (ends(src) - src->came) / 4 * 3;

	if (src->refresh_s && after > src->refresh_s)
		after = src->refresh_s;
	return src->came + (after < REFRESH_LEAST_S ? REFRESH_LEAST_S : after);
}

static void sooner(uint64_t *next, uint64_t t)
{
	if (t < *next)
		*next = t;
}

struct due {
	struct order begin[BEGIN_MAX];
	struct source *late[BEGIN_MAX];
	uint64_t cancel[BEGIN_MAX];
	size_t n_begin, n_late;
	uint64_t next;
};

static bool is_late(const struct source *src, uint64_t now)
{
	return src->state == SOURCE_FETCHING && now >= src->asked_ns + src->timeout_ns;
}

/* With the mutex. */
static void give_up(struct sources *s, struct due *due, uint64_t now)
{
	struct list *n;
	char why[64];

	list_foreach (n, &s->busy) {
		struct source *src = list_entry(n, struct source, busy);

		if (is_late(src, now) && due->n_late < BEGIN_MAX)
			due->late[due->n_late++] = src;
	}
	for (size_t i = 0; i < due->n_late; i++) {
		struct source *src = due->late[i];

		due->cancel[i] = src->id;
		snprintf(why, sizeof(why), "no answer within %llu ms",
		    (unsigned long long)(src->timeout_ns / NS_PER_MS));
		s->stats.late++;
		src->host->late++;
		source_settle(s, src, SOURCE_SILENT, why);
	}
}

/* With the mutex: what ends soon is got again. */
static void look_at(struct sources *s, struct source *src, uint64_t now, int64_t wall, struct due *due)
{
	if (src->state != SOURCE_IDLE || src->kind != SOURCE_CRL || !src->has || !src->wanted)
		return;
	if (wall < refresh_at(src)) {
		sooner(&s->walk_ns, now + (uint64_t)(refresh_at(src) - wall) * NS_PER_S);
	} else if (now < src->retry_ns && src->failures) {
		sooner(&s->walk_ns, src->retry_ns);
	} else if (due->n_begin == BEGIN_MAX) {
		sooner(&s->walk_ns, now + NS_PER_S);
	} else {
		order_begin(s, src, &due->begin[due->n_begin++]);
		s->stats.background++;
	}
}

/* With the mutex. */
static void walk(struct sources *s, struct due *due, uint64_t now)
{
	int64_t wall = s->d->env->wall(s->d->env);
	struct hnode *n, *tmp;
	size_t b;

	s->walk = false;
	s->walk_ns = UINT64_MAX;
	hmap_foreach (&s->table, b, n, tmp)
		look_at(s, container_of(n, struct source, node), now, wall, due);
	/* the wall clock may be set: never look too far ahead */
	if (s->walk_ns != UINT64_MAX)
		sooner(&s->walk_ns, now + WALK_MAX_NS);
}

static void on_tick(struct timer *t)
{
	struct sources *s = container_of(t, struct sources, tick);
	struct due due = {.next = UINT64_MAX};
	uint64_t now = env_now(s->d->env);
	struct list *n;

	pthread_mutex_lock(&s->lock);
	if (s->stopped) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	s->armed = true; /* what is settled here is looked at here */
	give_up(s, &due, now);
	if (s->walk || now >= s->walk_ns)
		walk(s, &due, now);
	list_foreach (n, &s->busy)
		sooner(&due.next,
		    list_entry(n, struct source, busy)->asked_ns +
		        list_entry(n, struct source, busy)->timeout_ns);
	sooner(&due.next, s->walk_ns);
	s->armed = false;
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < due.n_late; i++)
		s->ops->cancel(s->plugin, due.cancel[i]);
	for (size_t i = 0; i < due.n_begin; i++)
		order_send(s, &due.begin[i]);
	if (due.next != UINT64_MAX)
		worker_timer_set(processor_worker(s->d->processor, 0), &s->tick, due.next);
}

static void arm_run(struct worker *w, struct job *j)
{
	struct sources *s = container_of(j, struct sources, arm);

	worker_timer_cancel(w, &s->tick);
	on_tick(&s->tick);
}

/* --- asking -------------------------------------------------------------------------------------------------------------------- */

/* A CA may split its list: is the certificate among those that this part is of (RFC 5280, 6.3.3 (b)(2))? NULL: it is. */
static const char *out_of_scope(const struct sources *s, const struct cy_crl_info *crl, struct cy_cert *cert)
{
	const struct cy_cert_info *i = s->pki->cert_info(cert);

	if (crl->flags & ((i->flags & CY_CERT_CA) ? CY_CRL_ONLY_EE : CY_CRL_ONLY_CA))
		return crl->flags & CY_CRL_ONLY_CA ? "the CRL is of CA certificates only"
		                                   : "the CRL is of end entities' certificates only";
	if (!(crl->flags & CY_CRL_POINTS))
		return NULL;
	for (size_t a = 0; a < crl->n_points; a++)
		for (size_t b = 0; b < i->n_crl_uris; b++)
			if (strcmp(crl->points[a], i->crl_uris[b]) == 0)
				return NULL;
	return "the CRL is of other distribution points than the certificate names";
}

/* What is there says something of the certificate, be it outdated. */
static bool says(
    struct sources *s, struct source *src, const struct source_question *q, struct source_said *out)
{
	const char *no;

	if (!src->has)
		return false;
	out->info = src->info;
	if (src->crl) {
		no = out_of_scope(s, s->pki->crl_info(src->crl), q->cert);
		if (no) {
			snprintf(out->why, sizeof(out->why), "%s", no);
			return false;
		}
		out->info.size = sizeof(out->info);
		if (s->pki->crl_look(src->crl, s->pki->cert_info(q->cert)->serial, &out->info))
			return false;
	}
	out->outdated = q->now > ends(src);
	list_del(&src->used);
	list_push(&s->used, &src->used);
	if (!src->wanted && src->kind == SOURCE_CRL) {
		src->wanted = true;
		s->walk = true;
		source_arm(s);
	}
	return true;
}

/* A revocation lasts, but for a certificate that is on hold (RFC 5280, 5.3.1). */
static bool is_final(const struct source_said *said)
{
	return !said->outdated ||
	    (said->info.status == CY_REVOCATION_REVOKED && said->info.reason != SOURCE_REASON_HOLD);
}

static bool knows_scheme(const struct sources *s, const char *url)
{
	const char *end = strstr(url, "://");

	for (const char *const *p = s->ops->schemes; end && *p; p++)
		if (strlen(*p) == (size_t)(end - url) && strncasecmp(*p, url, strlen(*p)) == 0)
			return true;
	return false;
}

static const char *cannot(const struct sources *s, const struct source_question *q)
{
	if (!s->can)
		return "no plugin reads CRLs and OCSP responses (openssl)";
	if (q->kind == SOURCE_FILE)
		return NULL;
	if (!s->ops)
		return "no plugin gets what a URL names (curl)";
	return knows_scheme(s, q->url) ? NULL : "no plugin gets what such a URL names";
}

static struct source *get(struct sources *s, const struct source_question *q, struct list *gone)
{
	struct source *src = source_find(s, q->kind, q->url, q->cert, q->issuer);

	if (src || q->kind == SOURCE_FILE || q->look)
		return src;
	if (!source_room_for_one(s, gone))
		return NULL;
	return source_add(s, q->kind, q->url, q->cert, q->issuer);
}

/* What remembers failures: for an OCSP response that was never asked for, what became of others of the same responder. */
static const struct source *failing(
    const struct sources *s, const struct source *src, const struct source_question *q)
{
	const struct source *r = src->kind == SOURCE_OCSP && !src->failures
	    ? source_find(s, SOURCE_RESPONDER, q->url, NULL, q->issuer)
	    : NULL;

	return r && r->failures ? r : src;
}

/* With the mutex. */
static enum source_result ask(struct sources *s, const struct source_question *q, struct source_wait *wait,
    struct source_said *out, struct list *gone, struct order *order)
{
	const struct source *bad;
	struct source *src;
	bool has;

	if (list_linked(&wait->node)) {
		if (!q->look)
			return SOURCE_WAIT;
		list_del(&wait->node);
		s->stats.waiting--;
	}
	src = get(s, q, gone);
	if (!src) {
		snprintf(out->why, sizeof(out->why), "%s",
		    q->kind == SOURCE_FILE ? "there is no CRL of its issuer in a file"
		                           : "there is no room for it in the cache of CRLs");
		return SOURCE_MUTE;
	}
	has = says(s, src, q, out);
	if (has && is_final(out))
		return SOURCE_SAYS;
	bad = failing(s, src, q);
	if (q->kind != SOURCE_FILE && !q->look && !out->why[0]) {
		if (src->state == SOURCE_IDLE && (!bad->failures || env_now(s->d->env) >= bad->retry_ns)) {
			src->timeout_ns = q->timeout_ns;
			src->refresh_s = q->refresh_s;
			order_begin(s, src, order);
		}
		if (src->state != SOURCE_IDLE && (!bad->failures || q->insist)) {
			if (s->stats.waiting < s->d->tune.revocation_queue) {
				list_push(&src->waits, &wait->node);
				s->stats.waited++;
				if (++s->stats.waiting > s->stats.waiting_max)
					s->stats.waiting_max = s->stats.waiting;
				return SOURCE_WAIT;
			}
			s->stats.refused++;
			snprintf(out->why, sizeof(out->why),
			    "as many IKE_SAs wait for it as revocation_queue allows");
		}
	}
	if (has)
		return SOURCE_SAYS;
	if (!out->why[0])
		snprintf(out->why, sizeof(out->why), "%s",
		    bad->failures ? bad->why : "it did not come within revocation_timeout");
	return SOURCE_MUTE;
}

enum source_result sources_ask(
    struct sources *s, const struct source_question *q, struct source_wait *wait, struct source_said *out)
{
	const char *no = cannot(s, q);
	enum source_result r;
	struct order order = {0};
	struct list gone;

	memset(out, 0, sizeof(*out));
	if (no) {
		snprintf(out->why, sizeof(out->why), "%s", no);
		return SOURCE_MUTE;
	}
	list_init(&gone);
	pthread_mutex_lock(&s->lock);
	r = ask(s, q, wait, out, &gone, &order);
	pthread_mutex_unlock(&s->lock);
	source_free_all(s, &gone); /* no CRLs are among it: they are large */
	if (order.src)
		order_send(s, &order);
	return r;
}

void sources_forget(struct sources *s, struct source_wait *wait)
{
	pthread_mutex_lock(&s->lock);
	if (list_linked(&wait->node)) {
		list_del(&wait->node);
		s->stats.waiting--;
	}
	pthread_mutex_unlock(&s->lock);
}

void sources_count(struct sources *s, enum source_outcome what)
{
	pthread_mutex_lock(&s->lock);
	s->stats.outcome[what]++;
	pthread_mutex_unlock(&s->lock);
}

bool sources_fetch(const struct sources *s)
{
	return s->can && s->ops;
}

const struct cy_pki_ops *sources_pki(const struct sources *s)
{
	return s->pki;
}
