/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/auth/revocation.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/auth/sources.h"
#include "libcore/conf/conf.h"

#define ASKED_MAX 16 /* of one certificate */

enum verdict_of { OPEN, GOOD, REVOKED, NOT_KNOWN };

/* One certificate of the path. */
struct item {
	struct revocation *r;
	struct source_wait wait;
	struct cy_cert *cert, *issuer;
	struct {
		enum source_kind kind;
		const char *url;
	} ask[ASKED_MAX];
	size_t n, at;
	enum verdict_of verdict;
	bool named; /* somebody names a server */
	struct cy_revocation_info info;
	char why[160]; /* not known: what the last one that was asked came to */
};

struct revocation {
	struct job job;
	atomic_bool posted;
	bool over; /* free it when the job has run */
	struct timer deadline;
	struct worker *w;
	struct auth_op *op;
	const struct conf_setup *setup;
	revocation_done done;
	void *user;
	size_t n;
	struct item item[];
};

/* --- whom to ask ------------------------------------------------------------------------------------------------------ */

static void add(struct item *it, enum source_kind kind, const char *const *urls, size_t n)
{
	for (size_t i = 0; i < n && it->n < ASKED_MAX; i++) {
		it->ask[it->n].kind = kind;
		it->ask[it->n++].url = urls[i];
		it->named = true;
	}
}

static void add_all(struct item *it, const struct revocation *r)
{
	const struct cy_cert_info *info = sources_pki(r->op->d->sources)->cert_info(it->cert);
	const struct creds *creds = r->op->config->creds;
	const char *const *urls;
	size_t n;

	if (r->setup->ocsp) {
		n = creds_ca_uris(creds, it->issuer, CRED_URI_OCSP, &urls);
		add(it, SOURCE_OCSP, urls, n);
		add(it, SOURCE_OCSP, info->ocsp_uris, info->n_ocsp_uris);
	}
	if (it->n < ASKED_MAX)
		it->ask[it->n++].kind = SOURCE_FILE;
	if (r->setup->fetch_crls) {
		n = creds_ca_uris(creds, it->issuer, CRED_URI_CRL, &urls);
		add(it, SOURCE_CRL, urls, n);
		add(it, SOURCE_CRL, info->crl_uris, info->n_crl_uris);
	}
	snprintf(it->why, sizeof(it->why), "%s",
	    it->named ? "nothing says so"
	              : "no server is named that knows it, and no file has a CRL of its issuer");
}

/* --- what they say ----------------------------------------------------------------------------------------------------- */

static const char *date(int64_t t, char out[40])
{
	time_t tt = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&tt, &tm) || strftime(out, 40, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(out, 40, "%lld", (long long)t);
	return out;
}

/* RFC 5280, 5.3.1 */
static const char *reason_text(uint32_t reason)
{
	static const char *const names[] = {"no reason given", "key compromise", "CA compromise",
	    "affiliation changed", "superseded", "cessation of operation", "on hold", NULL,
	    "removed from the CRL", "privilege withdrawn", "AA compromise"};

	return reason < ARRAY_LEN(names) && names[reason] ? names[reason] : "an unknown reason";
}

static const char *source_text(const struct item *it)
{
	return it->ask[it->at].kind == SOURCE_OCSP ? "OCSP responder"
	    : it->ask[it->at].kind == SOURCE_FILE  ? "CRL of a file"
	                                           : "CRL";
}

static void note(struct item *it, const char *what)
{
	const char *url = it->ask[it->at].url;

	snprintf(it->why, sizeof(it->why), "%s%s%.70s: %.70s", source_text(it), url ? " " : "",
	    url ? url : "", what);
}

/* True: it says something that decides. */
static bool take(struct item *it, const struct source_said *said)
{
	char when[40], text[80];

	if (said->info.status == CY_REVOCATION_REVOKED &&
	    (!said->outdated || said->info.reason != SOURCE_REASON_HOLD)) {
		it->verdict = REVOKED;
		it->info = said->info;
		return true;
	}
	if (said->outdated) {
		snprintf(text, sizeof(text), "outdated since %s", date(said->info.next_update, when));
		note(it, said->info.next_update ? text : "outdated");
		return false;
	}
	if (said->info.status == CY_REVOCATION_GOOD) {
		it->verdict = GOOD;
		return true;
	}
	note(it, "it does not know the certificate");
	return false;
}

/* Ask on until something is decided; false: it waits. */
static bool ask(struct item *it, bool look)
{
	const struct revocation *r = it->r;
	const struct daemon *d = r->op->d;
	struct source_said said;

	for (; it->at < it->n && it->verdict == OPEN; it->at++) {
		bool ocsp = it->ask[it->at].kind == SOURCE_OCSP;
		uint32_t ms = ocsp ? r->setup->ocsp_timeout_ms : r->setup->crl_timeout_ms;
		const struct source_question q = {.kind = it->ask[it->at].kind,
		    .url = it->ask[it->at].url,
		    .cert = it->cert,
		    .issuer = it->issuer,
		    .now = d->env->wall(d->env),
		    .timeout_ns = ms ? ms * NS_PER_MS : d->tune.fetch_timeout_ns,
		    .refresh_s = r->setup->crl_interval_s,
		    .insist = r->setup->strict_crl != STRICT_NO,
		    .look = look};

		switch (sources_ask(d->sources, &q, &it->wait, &said)) {
		case SOURCE_WAIT:
			return false;
		case SOURCE_SAYS:
			if (take(it, &said))
				return true;
			break;
		case SOURCE_MUTE:
			if (q.kind != SOURCE_FILE) /* that there is none is usual */
				note(it, said.why);
			break;
		}
	}
	if (it->verdict == OPEN)
		it->verdict = NOT_KNOWN;
	return true;
}

/* --- the outcome --------------------------------------------------------------------------------------------------------- */

static const char *subject_of(const struct item *it)
{
	return sources_pki(it->r->op->d->sources)->cert_info(it->cert)->subject;
}

static void say(struct auth_op *op, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct auth_op *op, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(op->why, sizeof(op->why), fmt, ap);
	va_end(ap);
	/* names of certificates are the peer's text */
	for (char *p = op->why; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
}

static bool is_strict(const struct item *it)
{
	enum conf_strict strict = it->r->setup->strict_crl;

	return strict == STRICT_YES || (strict == STRICT_IFURI && it->named);
}

static enum cy_err revoked(struct revocation *r, struct item *it)
{
	const char *url = it->ask[it->at].url;
	char when[40];

	say(r->op, "the certificate '%.70s' was revoked on %s, %s, says the %s%s%.70s", subject_of(it),
	    date(it->info.revoked_at, when), reason_text(it->info.reason), source_text(it), url ? " " : "",
	    url ? url : "");
	sources_count(r->op->d->sources, OUTCOME_REVOKED);
	return CY_E_AUTH;
}

/* None was revoked, as far as is known. */
static enum cy_err judge(struct revocation *r)
{
	enum source_outcome outcome = OUTCOME_GOOD;
	bool known = false;

	for (size_t i = 0; i < r->n && outcome != OUTCOME_REFUSED; i++) {
		struct item *it = &r->item[i];

		known |= it->verdict == GOOD;
		if (it->verdict != NOT_KNOWN || (!is_strict(it) && !it->named))
			continue;
		outcome = is_strict(it) ? OUTCOME_REFUSED : OUTCOME_ACCEPTED;
		say(r->op, "whether the certificate '%.70s' was revoked is not known: %.160s", subject_of(it),
		    it->why);
	}
	if (known || outcome != OUTCOME_GOOD)
		sources_count(r->op->d->sources, outcome);
	return outcome == OUTCOME_REFUSED ? CY_E_AUTH : CY_OK;
}

/* True: *out is decided. */
static bool proceed(struct revocation *r, bool look, enum cy_err *out)
{
	bool waits = false;

	for (size_t i = 0; i < r->n; i++) {
		struct item *it = &r->item[i];

		if (it->verdict == OPEN && !ask(it, look))
			waits = true;
		if (it->verdict == REVOKED) {
			*out = revoked(r, it);
			return true;
		}
	}
	if (waits)
		return false;
	*out = judge(r);
	return true;
}

/* --- waiting --------------------------------------------------------------------------------------------------------------- */

static void end(struct revocation *r)
{
	worker_timer_cancel(r->w, &r->deadline);
	for (size_t i = 0; i < r->n; i++)
		sources_forget(r->op->d->sources, &r->item[i].wait);
	/* nobody posts it any more */
	if (atomic_load(&r->posted))
		r->over = true;
	else
		free(r);
}

static void again(struct revocation *r, bool look)
{
	revocation_done done = r->done;
	void *user = r->user;
	enum cy_err e;

	if (!proceed(r, look, &e))
		return;
	end(r);
	done(user, e);
}

static void run(struct worker *w, struct job *j)
{
	struct revocation *r = container_of(j, struct revocation, job);

	(void)w;
	if (r->over) {
		free(r);
		return;
	}
	atomic_store(&r->posted, false);
	again(r, false);
}

/* On any thread. */
static void ready(struct source_wait *wait)
{
	struct revocation *r = container_of(wait, struct item, wait)->r;

	if (!atomic_exchange(&r->posted, true))
		worker_post(r->w, &r->job, PRIO_HIGH, JOB_COMPLETION);
}

static void on_deadline(struct timer *t)
{
	again(container_of(t, struct revocation, deadline), true);
}

void revocation_cancel(struct revocation *r)
{
	if (r)
		end(r);
}

bool revocation_check(struct auth_op *op, struct worker *w, revocation_done done, void *user,
    struct revocation **out_waits, enum cy_err *out)
{
	size_t n = op->n_path ? op->n_path - 1 : 0;
	struct revocation *r;

	*out = CY_OK;
	if (!n || !op->d->sources)
		return true;
	r = calloc(1, sizeof(*r) + n * sizeof(r->item[0]));
	if (!r) {
		say(op, "out of memory");
		*out = CY_E_NOMEM;
		return true;
	}
	r->job.fn = run;
	r->deadline.fn = on_deadline;
	r->w = w;
	r->op = op;
	r->setup = &op->config->conf->setup;
	r->done = done;
	r->user = user;
	r->n = n;
	for (size_t i = 0; i < n; i++) {
		struct item *it = &r->item[i];

		it->r = r;
		it->wait.ready = ready;
		it->cert = op->path[i];
		it->issuer = op->path[i + 1];
		add_all(it, r);
	}
	if (proceed(r, false, out)) {
		end(r);
		return true;
	}
	worker_timer_set(w, &r->deadline, worker_now(w) + op->d->tune.revocation_timeout_ns);
	*out_waits = r;
	return false;
}
