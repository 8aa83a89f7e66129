/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin of each node that gets what a URL names (fetch.h): CRLs and OCSP responses of the simulated authority. It is slow, fails, sends
 * nonsense or never answers, as the node has it; and it answers also when nobody waits any more.
 */
#include <stdlib.h>

#include <cygnet/fetch.h>

#include "daemon/auth/sources.h"
#include "libcore/cred/cred.h"
#include "libcore/plugin/loader.h"
#include "sim.h"

#define BODY_MAX 4096

/* An answer on its way. */
struct late {
	struct sim_node *n;
	uint32_t boot;
	uint64_t id;
	bool fails;
	void (*answer)(void *to, uint64_t id, const struct cy_fetch_answer *a);
	void *to;
	uint8_t *body;
	size_t n_body;
};

static void arrive(void *user)
{
	struct late *t = user;
	struct cy_fetch_answer a = {.size = sizeof(a),
	    .result = t->fails ? CY_FETCH_FAILED : CY_FETCH_OK,
	    .body = cy_slice(t->body, t->n_body),
	    .reason = t->fails ? "the server said 503" : ""};

	if (t->n->d && t->n->boots == t->boot) {
		sim_memory_enter(t->n);
		t->answer(t->to, t->id, &a);
		sim_memory_leave();
	}
	free(t->body);
	free(t);
}

static bool make(struct sim_node *n, const struct cy_fetch_request *r, struct late *t)
{
	int64_t now = n->env.e.wall(&n->env.e);
	uint32_t life = n->fetch.life_s ? n->fetch.life_s : 86400;

	t->body = malloc(BODY_MAX);
	if (!t->body)
		abort();
	if (n->fetch.nonsense) {
		memset(t->body, 'x', 100);
		t->n_body = 100;
		return true;
	}
	if (r->post.n)
		return sim_ocsp(r->post, n->fetch.revoked, now, life, t->body, BODY_MAX, &t->n_body);
	return sim_crl(n->fetch.revoked, now, life, t->body, BODY_MAX, &t->n_body);
}

static void begin(void *plugin, const struct cy_fetch_request *r)
{
	struct sim_node *n = plugin;
	struct sim_prng *p = &n->fetch.prng;
	struct late *t;

	if (!r->url || !*r->url || !r->deadline_ms || (r->post.n > 0) != (r->content_type != NULL))
		sim_fail(n->sim, "%s: a plugin is asked for what cannot be had", n->name);
	n->fetch.asked++;
	if (n->fetch.silent)
		return;
	t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	*t = (struct late){.n = n, .boot = n->boots, .id = r->id, .answer = r->answer, .to = r->to};
	t->fails = (n->fetch.fail && sim_prng_below(p, 1000) < n->fetch.fail) || !make(n, r, t);
	sim_at(n->sim, n->sim->now + (n->fetch.slow_ns ? sim_prng_below(p, n->fetch.slow_ns + 1) : 0), arrive,
	    t);
}

static void cancel(void *plugin, uint64_t id)
{
	struct sim_node *n = plugin;

	(void)id;
	n->fetch.cancelled++;
}

static const char *const schemes[] = {"http", NULL};
static const struct cy_fetch_ops ops = {
    .size = sizeof(ops), .name = "sim", .schemes = schemes, .begin = begin, .cancel = cancel};

static void find_ca(void *user, struct cy_cert *cert, bool ca, bool has_key)
{
	struct cy_cert **out = user;

	(void)has_key;
	if (ca)
		*out = cert;
}

bool sim_fetch_file(struct sim_node *n)
{
	struct config *c = n->d ? daemon_config(n->d) : NULL;
	struct cy_cert *ca = NULL;
	uint8_t body[BODY_MAX];
	const char *why;
	size_t len;
	bool ok = false;

	if (c)
		creds_list(c->creds, find_ca, &ca);
	if (ca && sim_crl(n->fetch.revoked, n->env.e.wall(&n->env.e), 86400, body, sizeof(body), &len))
		ok = sources_add_crl(n->d->sources, ca, cy_slice(body, len), "ca.crl", &why) == CY_OK;
	config_unref(c);
	return ok;
}

enum cy_err sim_fetch_provide(struct sim_node *n, struct plugins *plugins)
{
	return plugins_provide_builtin(plugins, CY_KIND_FETCHER, &ops, n);
}
