/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what servers and files say of revocation (RFC 5280, 6.3.3; RFC 6960, 3.2). On the pool: a CRL may have megabytes, and to let
 * go of one takes time, too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/auth/sources_impl.h"
#include "libcore/base/dn.h"
#include "libcore/base/err.h"
#include "libcore/run/usage.h"

#define CLOCK_SKEW 300 /* s: of a server's clock that is ahead of ours */

struct digest {
	struct work work;
	struct job arrived;
	struct sources *s;
	struct source *src; /* a reference */
	uint8_t *body;
	size_t n;
	int64_t now;
};

/* About what the openssl plugin keeps: its bytes twice, and some for each entry. */
uint64_t source_crl_bytes(const struct cy_crl_info *i)
{
	return 2 * i->der.n + 40 * i->n_revoked;
}

static const char *unusable(const struct cy_crl_info *i, const struct cy_cert_info *issuer, int64_t now)
{
	if (!dn_eq(i->issuer_der, issuer->subject_der))
		return "the CRL is of another issuer";
	if (i->flags & CY_CRL_DELTA)
		return "the CRL is a delta CRL";
	if (i->flags & CY_CRL_INDIRECT)
		return "the CRL is an indirect one";
	if (i->flags & CY_CRL_CRITICAL)
		return "the CRL has a critical extension that is not understood";
	/* RFC 5280, 4.2.1.3 and 6.3.3 (f) */
	if ((issuer->flags & CY_CERT_KU_PRESENT) && !(issuer->flags & CY_CERT_KU_CRL_SIGN))
		return "its issuer may not sign CRLs: its key usage lacks cRLSign";
	if (i->this_update > now + CLOCK_SKEW)
		return "the CRL is of the future";
	return NULL;
}

enum cy_err source_read_crl(struct sources *s, struct cy_cert *issuer, struct cy_slice data, int64_t now,
    struct cy_crl **out, const char **out_why)
{
	const struct cy_cert_info *info = s->pki->cert_info(issuer);
	struct cy_revocation_info first = {.size = sizeof(first)};
	uint64_t begun = usage_op_begin(USAGE_REVOCATION);
	struct cy_crl *crl;
	enum cy_err e;

	*out_why = NULL;
	e = s->pki->crl_load(data, &crl, out_why);
	if (!e) {
		*out_why = unusable(s->pki->crl_info(crl), info, now);
		if (!*out_why && s->pki->crl_signed_by(crl, issuer))
			*out_why = "the signature of the CRL was not made by its issuer";
		/* the first look may sort its entries */
		if (!*out_why && s->pki->crl_look(crl, info->serial, &first))
			*out_why = "the CRL cannot be searched";
		e = *out_why ? CY_E_AUTH : CY_OK;
		if (e)
			s->pki->crl_unref(crl);
		else
			*out = crl;
	}
	if (e && !*out_why)
		*out_why = err_text(e);
	usage_op_end(USAGE_REVOCATION, SOURCE_CRL, begun);
	return e;
}

void source_set_crl(struct sources *s, struct source *src, struct cy_crl **crl, int64_t now)
{
	const struct cy_crl_info *i = s->pki->crl_info(*crl);
	struct cy_crl *before = src->crl;

	s->stats.bytes -= src->bytes;
	src->bytes += source_crl_bytes(i);
	if (before)
		src->bytes -= source_crl_bytes(s->pki->crl_info(before));
	s->stats.bytes += src->bytes;
	s->stats.crls += !before;
	src->crl = *crl;
	src->has = true;
	src->came = now;
	src->info.this_update = i->this_update;
	src->info.next_update = i->next_update;
	*crl = before;
}

static const char *take_crl(struct sources *s, struct source *src, struct cy_crl **crl, int64_t now)
{
	const struct cy_crl_info *i = s->pki->crl_info(*crl);
	struct cy_crl *before = src->crl;

	/* an old one that is sent again must not take back what a newer one says */
	if (before && i->this_update < s->pki->crl_info(before)->this_update)
		return "the CRL is older than the one that is there";
	source_set_crl(s, src, crl, now);
	return i->next_update && now > i->next_update ? "the CRL that came is outdated" : NULL;
}

static void digest_crl(struct digest *d)
{
	struct sources *s = d->s;
	struct cy_crl *crl = NULL;
	const char *why = NULL;
	struct list gone, *n;
	uint64_t bytes;
	enum cy_err e;

	e = source_read_crl(s, d->src->issuer, cy_slice(d->body, d->n), d->now, &crl, &why);
	free(d->body); /* before the next one needs memory */
	d->body = NULL;
	list_init(&gone);
	pthread_mutex_lock(&s->lock);
	if (!e) {
		bytes = source_crl_bytes(s->pki->crl_info(crl));
		why = source_room_for_crl(s, bytes, &gone) ? take_crl(s, d->src, &crl, d->now)
		                                           : "there is no room for the CRL: revocation_cache";
	}
	source_settle(s, d->src, why ? SOURCE_UNFIT : SOURCE_CAME, why);
	pthread_mutex_unlock(&s->lock);
	if (crl)
		s->pki->crl_unref(crl);
	while ((n = list_pop(&gone)) != NULL)
		source_free(s, list_entry(n, struct source, used));
}

static void digest_ocsp(struct digest *d)
{
	struct sources *s = d->s;
	struct source *src = d->src;
	struct cy_revocation_info info = {.size = sizeof(info)};
	uint64_t begun = usage_op_begin(USAGE_REVOCATION);
	const char *why = NULL;
	enum cy_err e;

	e = s->pki->ocsp_look(cy_slice(d->body, d->n), src->cert, src->issuer,
	    cy_slice(src->nonce, sizeof(src->nonce)), d->now, &info, &why);
	usage_op_end(USAGE_REVOCATION, SOURCE_OCSP, begun);
	/* RFC 6960, 3.2, 5 and 6 */
	if (e)
		why = why ? why : err_text(e);
	else if (info.this_update > d->now + CLOCK_SKEW)
		why = "the OCSP response is of the future";
	else if (info.next_update && d->now > info.next_update)
		why = "the OCSP response is outdated";
	pthread_mutex_lock(&s->lock);
	if (!e && !why) {
		src->info = info;
		src->has = true;
		src->came = d->now;
	} else if (!why) {
		why = "the OCSP response cannot be used";
	}
	source_settle(s, src, why ? SOURCE_UNFIT : SOURCE_CAME, why);
	pthread_mutex_unlock(&s->lock);
}

static void digest_run(struct work *w)
{
	struct digest *d = container_of(w, struct digest, work);

	if (d->src->kind == SOURCE_OCSP)
		digest_ocsp(d);
	else
		digest_crl(d);
}

static void digest_free(struct digest *d, const char *why)
{
	struct sources *s = d->s;
	bool last;

	pthread_mutex_lock(&s->lock);
	if (why) /* it did not run */
		source_settle(s, d->src, SOURCE_UNFIT, why);
	last = source_unref(d->src);
	pthread_mutex_unlock(&s->lock);
	if (last)
		source_free(s, d->src);
	free(d->body);
	free(d);
}

static void digest_done(struct worker *w, struct work *work, enum cy_err err)
{
	(void)w;
	digest_free(container_of(work, struct digest, work), err ? err_text(err) : NULL);
}

/* The pool may be gone where the plugin answers, but not on a worker. */
static void digest_submit(struct worker *w, struct job *j)
{
	struct digest *d = container_of(j, struct digest, arrived);
	struct sources *s = d->s;
	bool stopped, urgent;

	pthread_mutex_lock(&s->lock);
	stopped = s->stopped;
	urgent = !list_empty(&d->src->waits);
	pthread_mutex_unlock(&s->lock);
	if (stopped) {
		digest_free(d, "the daemon stops");
		return;
	}
	d->now = s->d->env->wall(s->d->env);
	d->work.run = digest_run;
	d->work.done = digest_done;
	d->work.worker = w;
	d->work.owner = "revocation";
	d->work.prio = urgent ? PRIO_MEDIUM : PRIO_LOW;
	d->work.class = POOL_CPU;
	pool_submit(s->d->pool, &d->work);
}

bool source_digest(struct sources *s, struct source *src, const struct cy_slice *body)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (!d || !(d->body = malloc(body->n + 1))) {
		free(d);
		return false;
	}
	if (body->n)
		memcpy(d->body, body->p, body->n);
	d->n = body->n;
	d->s = s;
	d->src = src;
	d->arrived.fn = digest_submit;
	worker_post(processor_worker(s->d->processor, 0), &d->arrived, PRIO_MEDIUM, JOB_COMPLETION);
	return true;
}
