/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of CRL servers and OCSP responders, what is kept of it, and what comes of it; servers and certificates are the test's. */

#include <stdio.h>
#include <stdlib.h>

#include "daemon/auth/revocation.h"
#include "daemon/auth/sources_impl.h"
#include "libcore/base/err.h"
#include "libcore/conf/conf.h"
#include "libcore/cred/cred.h"
#include "unit.h"

#include "../run/sim_env.h"
#include "fake_pki.h"

static struct sim_env sim;
static struct daemon d;
static struct worker *w;

/* --- a server ------------------------------------------------------------------------------------------------------------- */

static struct {
	uint32_t n, n_cancelled;
	struct {
		uint64_t id;
		char url[64];
		uint8_t post[64];
		size_t n_post;
		uint32_t deadline_ms;
	} q[64];
	void (*answer)(void *to, uint64_t id, const struct cy_fetch_answer *a);
	void *to;
	const struct text *at_once;
} server;

static void say(uint64_t id, enum cy_fetch_result result, const void *body, size_t n)
{
	const struct cy_fetch_answer a = {
	    .size = sizeof(a), .result = result, .body = cy_slice(body, n), .reason = "the server said 404"};

	server.answer(server.to, id, &a);
}

static void f_begin(void *plugin, const struct cy_fetch_request *r)
{
	uint32_t i = server.n++;

	(void)plugin;
	ck_assert_uint_lt(i, ARRAY_LEN(server.q));
	server.q[i].id = r->id;
	server.q[i].deadline_ms = r->deadline_ms;
	snprintf(server.q[i].url, sizeof(server.q[i].url), "%s", r->url);
	server.q[i].n_post = r->post.n;
	if (r->post.n) {
		ck_assert_uint_le(r->post.n, sizeof(server.q[i].post));
		memcpy(server.q[i].post, r->post.p, r->post.n);
		ck_assert_str_eq(r->content_type, "application/ocsp-request");
	}
	server.answer = r->answer;
	server.to = r->to;
	if (server.at_once)
		say(r->id, CY_FETCH_OK, server.at_once, sizeof(*server.at_once));
}

static void f_cancel(void *plugin, uint64_t id)
{
	(void)plugin;
	(void)id;
	server.n_cancelled++;
}

static const char *const schemes[] = {"http", NULL};
static const struct cy_fetch_ops ops = {
    .size = sizeof(ops), .name = "test", .schemes = schemes, .begin = f_begin, .cancel = f_cancel};

static int64_t wall(void)
{
	return sim.env.wall(&sim.env);
}

static struct text crl(uint8_t revoked)
{
	return (struct text){.magic = MAGIC,
	    .this_update = wall() - 60,
	    .next_update = wall() + 3600,
	    .issuer = ca_name,
	    .revoked = revoked,
	    .reason = 1};
}

static void send_crl(uint32_t nth, const struct text *t)
{
	say(server.q[nth].id, CY_FETCH_OK, t, sizeof(*t));
}

/* --- peers ------------------------------------------------------------------------------------------------------------------ */

static struct conf conf;
static struct config config;

struct peer {
	struct auth_op op;
	struct revocation *waits;
	uint32_t n; /* it was told */
	enum cy_err err;
};

static void done(void *user, enum cy_err err)
{
	struct peer *p = user;

	p->waits = NULL;
	p->n++;
	p->err = err;
}

/* Comes with leaf[i]. */
static void come(struct peer *p, int i)
{
	memset(p, 0, sizeof(*p));
	p->op.d = &d;
	p->op.config = &config;
	p->op.path[p->op.n_path++] = &leaf[i];
	p->op.path[p->op.n_path++] = &ca;
	if (revocation_check(&p->op, w, done, p, &p->waits, &p->err))
		p->n++;
}

static void step(void)
{
	while (worker_step(w, 1000))
		;
}

static void pass(uint64_t ms)
{
	while (ms) { /* so that timers see each other's doing */
		uint64_t by = ms < 100 ? ms : 100;

		sim.now += by * NS_PER_MS;
		step();
		ms -= by;
	}
}

static void in(const struct peer *p)
{
	ck_assert_uint_eq(p->n, 1);
	ck_assert_msg(p->err == CY_OK, "refused: %s", p->op.why);
}

static void out(const struct peer *p, const char *why)
{
	ck_assert_uint_eq(p->n, 1);
	ck_assert_int_eq(p->err, CY_E_AUTH);
	ck_assert_msg(strstr(p->op.why, why) != NULL, "\"%s\" is not in \"%s\"", why, p->op.why);
}

static struct sources_stats stats(void)
{
	struct sources_stats s;

	sources_read_stats(d.sources, &s);
	return s;
}

static void setup(void)
{
	static const uint8_t serials[] = {10, 11, 12, 13, 14, 15, 16, 17};
	static const uint8_t ca_spki[] = "ca's";

	memset(&server, 0, sizeof(server));
	memset(&d, 0, sizeof(d));
	memset(&conf, 0, sizeof(conf));
	memset(&config, 0, sizeof(config));
	n_crls = 0;
	sim_env_init(&sim);
	d.env = &sim.env;
	d.tune.fetch_timeout_ns = 10 * NS_PER_S;
	d.tune.fetch_retry_ns = 10 * NS_PER_S;
	d.tune.revocation_timeout_ns = 20 * NS_PER_S;
	d.tune.crl_size_max = 1 << 20;
	d.tune.revocation_queue = 100;
	d.tune.revocation_cache = 1 << 20;
	d.tune.revocation_cache_entries = 64;
	ck_assert_int_eq(log_new(d.env, &d.log), CY_OK);
	ck_assert_int_eq(processor_new(&(struct processor_config){.n_workers = 1, .env = d.env, .log = d.log},
	                     &d.processor),
	    CY_OK);
	ck_assert_int_eq(pool_new(&(struct pool_config){.env = d.env, .log = d.log}, &d.pool), CY_OK);
	ck_assert_int_eq(sources_new(&d, &d.sources), CY_OK);
	d.sources->pki = &pki;
	d.sources->can = true;
	d.sources->ops = &ops;
	w = processor_worker(d.processor, 0);
	conf.setup.ocsp = conf.setup.fetch_crls = true;
	config.conf = &conf;
	ck_assert_int_eq(creds_new(NULL, d.log, NULL, &config.creds), CY_OK);
	leaf_uris[0] = "http://a.example/x.crl";
	leaf_uris[1] = "http://b.example/x.crl";
	leaf_ocsp[0] = "http://ocsp.example/";
	ca = (struct cy_cert){.i = {.subject_der = cy_slice(ca_name, sizeof(ca_name)),
	                          .subject = "C",
	                          .serial = cy_slice(serials, 1),
	                          .spki = cy_slice(ca_spki, sizeof(ca_spki)),
	                          .flags = CY_CERT_CA | CY_CERT_KU_PRESENT | CY_CERT_KU_CRL_SIGN}};
	for (size_t i = 0; i < ARRAY_LEN(leaf); i++)
		leaf[i] = (struct cy_cert){.i = {.subject_der = cy_slice(leaf_name, sizeof(leaf_name)),
		                               .subject = "L",
		                               .serial = cy_slice(&serials[i], 1),
		                               .crl_uris = leaf_uris,
		                               .n_crl_uris = 1,
		                               .ocsp_uris = leaf_ocsp}};
	sub_ca = leaf[0];
	sub_ca.i.flags = CY_CERT_CA;
}

static void teardown(void)
{
	sources_stop(d.sources);
	pool_free(d.pool);
	d.pool = NULL;
	step();
	sources_clear(d.sources);
	ck_assert_int_eq(n_crls, 0);
	ck_assert_int_eq(ca.refs, 0);
	for (size_t i = 0; i < ARRAY_LEN(leaf); i++)
		ck_assert_int_eq(leaf[i].refs, 0);
	creds_unref(config.creds);
	processor_free(d.processor);
	sources_free(d.sources);
	log_free(d.log);
}

/* --- tests ------------------------------------------------------------------------------------------------------------------- */

START_TEST(good_and_revoked)
{
	struct peer a, b, c;
	struct text t = crl(11);

	come(&a, 0);
	come(&b, 1);
	step();
	ck_assert_uint_eq(a.n + b.n, 0);
	ck_assert_uint_eq(server.n, 1); /* one for both */
	ck_assert_str_eq(server.q[0].url, "http://a.example/x.crl");
	ck_assert_uint_eq(stats().waiting, 2);
	send_crl(0, &t);
	ck_assert_uint_eq(a.n + b.n, 0); /* it is read on the pool */
	step();
	in(&a);
	ck_assert_str_eq(a.op.why, "");
	out(&b,
	    "was revoked on 2020-09-13 12:26:40 UTC, key compromise, says the CRL http://a.example/x.crl");
	ck_assert_uint_eq(stats().waiting, 0);
	/* it is there now */
	come(&c, 2);
	in(&c);
	come(&c, 1);
	out(&c, "was revoked");
	ck_assert_uint_eq(server.n, 1);
	ck_assert_uint_eq(stats().outcome[OUTCOME_REVOKED], 2);
	ck_assert_uint_eq(stats().outcome[OUTCOME_GOOD], 2);
}
END_TEST

START_TEST(nothing_to_ask)
{
	struct peer a;

	leaf[0].i.n_crl_uris = 0;
	come(&a, 0);
	in(&a);
	ck_assert_str_eq(a.op.why, "");
	conf.setup.strict_crl = STRICT_IFURI;
	come(&a, 0);
	in(&a);
	conf.setup.strict_crl = STRICT_YES;
	come(&a, 0);
	out(&a, "no server is named that knows it");
	/* a certificate that is trusted by itself has nobody who could take it back */
	memset(&a, 0, sizeof(a));
	a.op.d = &d;
	a.op.config = &config;
	a.op.path[0] = &leaf[0];
	a.op.n_path = 1;
	ck_assert(revocation_check(&a.op, w, done, &a, &a.waits, &a.err));
	ck_assert_int_eq(a.err, CY_OK);
	ck_assert_uint_eq(server.n, 0);
}
END_TEST

START_TEST(a_server_that_fails)
{
	struct peer a, b;
	struct text t = crl(11);

	come(&a, 0);
	say(server.q[0].id, CY_FETCH_FAILED, NULL, 0);
	step();
	in(&a);
	ck_assert_msg(strstr(a.op.why, "http://a.example/x.crl: the server said 404"), "%s", a.op.why);
	/* nobody else waits for it, and it is asked again later and later */
	come(&b, 1);
	in(&b);
	ck_assert_uint_eq(server.n, 1);
	pass(10500);
	come(&b, 1);
	in(&b);
	ck_assert_uint_eq(server.n, 2);
	say(server.q[1].id, CY_FETCH_FAILED, NULL, 0);
	pass(15000);
	come(&b, 1);
	in(&b);
	ck_assert_uint_eq(server.n, 2);
	pass(6000);
	come(&b, 1);
	in(&b);
	ck_assert_uint_eq(server.n, 3);
	send_crl(2, &t);
	step();
	come(&b, 1);
	out(&b, "was revoked");
	ck_assert_uint_eq(stats().n_hosts, 1);
	ck_assert_str_eq(stats().host[0].name, "a.example");
	ck_assert_uint_eq(stats().host[0].failed, 2);
	ck_assert_uint_eq(stats().host[0].in_a_row, 0);
}
END_TEST

START_TEST(strict)
{
	struct peer a, b;
	struct text t = crl(11);

	for (int i = 0; i < 2; i++) {
		conf.setup.strict_crl = i ? STRICT_YES : STRICT_IFURI;
		(void)sources_purge(d.sources);
		server.n = 0;
		come(&a, 0);
		say(server.q[0].id, CY_FETCH_FAILED, NULL, 0);
		step();
		out(&a, "is not known: CRL http://a.example/x.crl: the server said 404");
		come(&a, 0);
		out(&a, "404");
		ck_assert_uint_eq(server.n, 1);
		/* who comes when it is asked again waits */
		pass(10500);
		come(&a, 0);
		come(&b, 1);
		ck_assert_uint_eq(server.n, 2);
		send_crl(1, &t);
		step();
		in(&a);
		out(&b, "was revoked");
	}
	/* an administrator who reads the configuration again means now */
	(void)sources_purge(d.sources);
	server.n = 0;
	come(&a, 0);
	say(server.q[0].id, CY_FETCH_FAILED, NULL, 0);
	step();
	out(&a, "404");
	sources_retry(d.sources);
	come(&a, 0);
	ck_assert_uint_eq(server.n, 2);
	send_crl(1, &t);
	step();
	in(&a);
}
END_TEST

START_TEST(a_server_that_is_silent)
{
	struct peer a, b;
	struct text t = crl(11);

	leaf[0].i.n_crl_uris = leaf[1].i.n_crl_uris = 2;
	come(&a, 0);
	ck_assert_uint_eq(server.q[0].deadline_ms, 10000);
	pass(9900);
	ck_assert_uint_eq(a.n, 0);
	pass(200);
	ck_assert_uint_eq(server.n_cancelled, 1);
	/* on to the next, for what is left */
	ck_assert_uint_eq(server.n, 2);
	ck_assert_str_eq(server.q[1].url, "http://b.example/x.crl");
	pass(9000);
	ck_assert_uint_eq(a.n, 0);
	pass(1000);
	in(&a);
	ck_assert(a.op.why[0]);
	ck_assert_uint_eq(stats().waiting, 0);
	/* what comes late is nobody's */
	send_crl(0, &t);
	step();
	come(&b, 1);
	in(&b);
	ck_assert_uint_eq(stats().too_late, 1);
	ck_assert_uint_ge(stats().late, 1);
	ck_assert_uint_eq(stats().crls, 0);
	send_crl(0, &t);
	ck_assert_uint_eq(stats().too_late, 2);
}
END_TEST

START_TEST(a_time_of_its_own)
{
	struct peer a;

	conf.setup.crl_timeout_ms = 5000;
	come(&a, 0);
	ck_assert_uint_eq(server.q[0].deadline_ms, 5000);
	pass(5200);
	in(&a);
	ck_assert_msg(strstr(a.op.why, "no answer within 5000 ms"), "%s", a.op.why);
}
END_TEST

START_TEST(who_goes)
{
	struct peer a, b;
	struct text t = crl(11);

	come(&a, 0);
	come(&b, 2);
	revocation_cancel(a.waits);
	ck_assert_uint_eq(stats().waiting, 1);
	send_crl(0, &t);
	/* its job is posted already */
	sources_forget(d.sources, &(struct source_wait){0});
	step();
	ck_assert_uint_eq(a.n, 0);
	in(&b);
	(void)sources_purge(d.sources);
	come(&a, 0);
	say(server.q[1].id, CY_FETCH_FAILED, NULL, 0);
	revocation_cancel(a.waits);
	step();
	ck_assert_uint_eq(a.n, 0);
	/* and what is still under way at the end */
	(void)sources_purge(d.sources);
	come(&a, 0);
	revocation_cancel(a.waits);
	sources_stop(d.sources);
	send_crl(2, &t);
	step();
}
END_TEST

START_TEST(answered_at_once)
{
	struct peer a;
	struct text t = crl(11);

	server.at_once = &t;
	come(&a, 0);
	step();
	in(&a);
	come(&a, 1);
	out(&a, "was revoked");
	ck_assert_uint_eq(server.n, 1);
}
END_TEST

START_TEST(crls_that_are_not_used)
{
	static const struct {
		uint32_t flags;
		const char *why;
	} by_flag[] = {{CY_CRL_DELTA, "delta"}, {CY_CRL_INDIRECT, "indirect"}, {CY_CRL_CRITICAL, "critical"},
	    {CY_CRL_ONLY_CA, "CA certificates only"}, {CY_CRL_POINTS, "distribution points"}};
	struct peer a;

	conf.setup.strict_crl = STRICT_YES;
	for (size_t i = 0; i < ARRAY_LEN(by_flag) + 6; i++) {
		const char *why = i < ARRAY_LEN(by_flag) ? by_flag[i].why : NULL;
		struct text t = crl(11);

		if (why)
			t.flags = by_flag[i].flags;
		t.point = "http://elsewhere/x.crl";
		ca.i.flags = CY_CERT_CA | CY_CERT_KU_PRESENT | CY_CERT_KU_CRL_SIGN;
		switch (i - ARRAY_LEN(by_flag)) {
		case 0:
			t.issuer = other_name;
			why = "another issuer";
			break;
		case 1:
			t.badly_signed = true;
			why = "signature";
			break;
		case 2:
			t.this_update = wall() + 3600;
			why = "future";
			break;
		case 3:
			t.next_update = wall() - 1;
			why = "outdated";
			break;
		case 4:
			t.magic = 0;
			why = "no CRL";
			break;
		case 5:
			ca.i.flags &= ~CY_CERT_KU_CRL_SIGN;
			why = "cRLSign";
			break;
		}
		(void)sources_purge(d.sources);
		server.n = 0;
		come(&a, 0);
		send_crl(0, &t);
		step();
		out(&a, why);
	}
	/* of its own part of the list, and of no key usage at all */
	struct text t = crl(11);

	t.flags = CY_CRL_POINTS | CY_CRL_ONLY_EE;
	t.point = "http://a.example/x.crl";
	ca.i.flags = CY_CERT_CA;
	(void)sources_purge(d.sources);
	server.n = 0;
	come(&a, 0);
	send_crl(0, &t);
	step();
	in(&a);
}
END_TEST

START_TEST(outdated)
{
	struct peer a, b;
	struct text t = crl(11);

	t.next_update = wall() + 100;
	come(&a, 0);
	send_crl(0, &t);
	step();
	in(&a);
	pass(101000);
	server.n = 0;
	come(&a, 0); /* somebody asks again, and waits for it once */
	ck_assert_uint_eq(server.n, 1);
	say(server.q[0].id, CY_FETCH_FAILED, NULL, 0);
	step();
	in(&a);
	ck_assert_msg(strstr(a.op.why, "outdated since"), "%s", a.op.why);
	/* who was revoked stays so */
	come(&b, 1);
	out(&b, "was revoked");
	conf.setup.strict_crl = STRICT_YES;
	come(&a, 0);
	out(&a, "outdated since");
	/* but for who was on hold */
	(void)sources_purge(d.sources);
	conf.setup.strict_crl = STRICT_NO;
	server.n = 0;
	t = crl(11);
	t.reason = 6;
	t.next_update = wall() + 100;
	come(&b, 1);
	send_crl(0, &t);
	step();
	out(&b, "on hold");
	pass(101000);
	server.n = 0;
	come(&b, 1);
	say(server.q[0].id, CY_FETCH_FAILED, NULL, 0);
	step();
	in(&b);
}
END_TEST

START_TEST(got_again_in_time)
{
	struct peer a;
	struct text t = crl(11), old = crl(11);

	t.next_update = wall() + 1000;
	come(&a, 0);
	send_crl(0, &t);
	step();
	in(&a);
	pass(740000);
	ck_assert_uint_eq(server.n, 1);
	pass(20000);
	ck_assert_uint_eq(server.n, 2);
	ck_assert_uint_eq(stats().background, 1);
	/* meanwhile the one that is there is used, and nobody waits */
	come(&a, 0);
	in(&a);
	/* one that is older is no news */
	old.this_update = t.this_update - 1;
	old.revoked = 99;
	send_crl(1, &old);
	step();
	come(&a, 1);
	out(&a, "was revoked");
	pass(11000);
	ck_assert_uint_eq(server.n, 3);
	t = crl(10);
	send_crl(2, &t);
	step();
	come(&a, 0);
	out(&a, "was revoked");
	come(&a, 1);
	in(&a);
	/* one that nobody uses is not */
	t.next_update = 0;
	pass(4000000);
	server.n = 0;
	pass(4000000);
	ck_assert_uint_eq(server.n, 0);
}
END_TEST

START_TEST(at_an_interval)
{
	struct peer a;
	struct text t = crl(11);

	conf.setup.crl_interval_s = 120;
	come(&a, 0);
	send_crl(0, &t);
	step();
	in(&a);
	pass(115000);
	ck_assert_uint_eq(server.n, 1);
	pass(10000);
	ck_assert_uint_eq(server.n, 2);
}
END_TEST

START_TEST(what_is_kept)
{
	char url[64];
	const char *uri = url;
	struct text t = crl(11);
	struct peer a;
	uint64_t most = 0;

	t.many = true;
	for (int i = 0; i < 40; i++) { /* a quarter of a megabyte each, and there is room for one */
		snprintf(url, sizeof(url), "http://h%d.example/x.crl", i);
		leaf[0].i.crl_uris = &uri;
		server.n = 0;
		come(&a, 0);
		ck_assert_uint_eq(server.n, 1);
		send_crl(0, &t);
		step();
		in(&a);
		ck_assert_uint_le(stats().bytes, d.tune.revocation_cache);
		most = stats().crls > most ? stats().crls : most;
	}
	ck_assert_uint_ge(most, 2);
	ck_assert_uint_ge(stats().evicted, 30);
	ck_assert_int_eq(n_crls, (int)stats().crls);
	ck_assert_uint_eq(stats().n_hosts, SOURCE_HOSTS);
	ck_assert_str_eq(stats().host[SOURCE_HOSTS - 1].name, "others");
	/* one for which there is no room at all */
	d.tune.revocation_cache = 65536;
	(void)sources_purge(d.sources);
	server.n = 0;
	come(&a, 0);
	send_crl(0, &t);
	step();
	in(&a);
	ck_assert_msg(strstr(a.op.why, "revocation_cache"), "%s", a.op.why);
	ck_assert_int_eq(n_crls, 0);
}
END_TEST

START_TEST(how_many_are_kept)
{
	char url[64];
	const char *uri = url;
	struct text t = crl(11);
	struct peer a;

	d.tune.revocation_cache_entries = 16;
	for (int i = 0; i < 60; i++) {
		snprintf(url, sizeof(url), "http://h/%d.crl", i);
		leaf[0].i.crl_uris = &uri;
		server.n = 0;
		come(&a, 0);
		ck_assert_uint_eq(server.n, 1);
		if (i % 3)
			send_crl(0, &t);
		else
			say(server.q[0].id, CY_FETCH_FAILED, NULL, 0);
		step();
		in(&a);
		ck_assert_uint_le(stats().entries, 16);
	}
	ck_assert_int_eq(n_crls, (int)stats().crls);
	/* all are busy */
	(void)sources_purge(d.sources);
	server.n = 0;
	struct peer many[17];

	for (int i = 0; i < 17; i++) {
		snprintf(url, sizeof(url), "http://h/%d.crl", i);
		come(&many[i], 0);
	}
	ck_assert_uint_eq(server.n, 16);
	in(&many[16]);
	ck_assert_msg(strstr(many[16].op.why, "no room for it in the cache"), "%s", many[16].op.why);
	for (int i = 0; i < 16; i++)
		revocation_cancel(many[i].waits);
}
END_TEST

START_TEST(how_many_wait)
{
	struct peer a, b, c;
	struct text t = crl(11);

	d.tune.revocation_queue = 2;
	come(&a, 0);
	come(&b, 0);
	come(&c, 0);
	in(&c);
	ck_assert_msg(strstr(c.op.why, "revocation_queue"), "%s", c.op.why);
	ck_assert_uint_eq(stats().refused, 1);
	send_crl(0, &t);
	step();
	in(&a);
	in(&b);
	ck_assert_uint_eq(stats().waiting_max, 2);
}
END_TEST

static void send_ocsp(uint32_t nth, uint32_t status, int64_t ends, bool nonce)
{
	struct text t = {.status = status, .this_update = wall() - 60, .next_update = ends};

	memcpy(t.nonce, server.q[nth].post + 1, sizeof(t.nonce));
	t.nonce[0] ^= !nonce;
	say(server.q[nth].id, CY_FETCH_OK, &t, sizeof(t));
}

START_TEST(ocsp)
{
	struct text t = crl(13);
	struct peer a, b;

	for (int i = 0; i < 4; i++)
		leaf[i].i.n_ocsp_uris = 1;
	come(&a, 0);
	come(&b, 1);
	ck_assert_uint_eq(server.n, 2); /* each of its own certificate */
	ck_assert_str_eq(server.q[0].url, "http://ocsp.example/");
	ck_assert_uint_eq(server.q[0].n_post, 1 + SOURCE_NONCE);
	ck_assert(memcmp(server.q[0].post + 1, server.q[1].post + 1, SOURCE_NONCE) != 0);
	send_ocsp(1, CY_REVOCATION_REVOKED, wall() + 1000, true);
	send_ocsp(0, CY_REVOCATION_GOOD, wall() + 1000, true);
	step();
	in(&a);
	out(&b, "says the OCSP responder http://ocsp.example/");
	come(&a, 0);
	in(&a);
	ck_assert_uint_eq(server.n, 2);
	/* what it does not know, or says with another nonce, the CRL says */
	come(&a, 2);
	send_ocsp(2, CY_REVOCATION_UNKNOWN, wall() + 1000, true);
	step();
	ck_assert_uint_eq(server.n, 4);
	ck_assert_str_eq(server.q[3].url, "http://a.example/x.crl");
	send_crl(3, &t);
	step();
	in(&a);
	come(&a, 3);
	send_ocsp(4, CY_REVOCATION_GOOD, wall() + 1000, false);
	step();
	out(&a, "says the CRL");
	/* when it is over it is asked again */
	pass(1100000);
	server.n = 0;
	come(&a, 0);
	ck_assert_uint_eq(server.n, 1);
	send_ocsp(0, CY_REVOCATION_GOOD, wall() - 1, true);
	step();
	in(&a); /* by the CRL */
	ck_assert_uint_eq(stats().entries, 5);
	/* switched off */
	conf.setup.ocsp = false;
	come(&a, 3);
	out(&a, "says the CRL");
}
END_TEST

START_TEST(a_responder_that_is_silent)
{
	struct peer a, b, c;

	for (int i = 0; i < 4; i++) {
		leaf[i].i.n_ocsp_uris = 1;
		leaf[i].i.n_crl_uris = 0;
	}
	come(&a, 0);
	come(&b, 1);
	pass(10200);
	in(&a);
	in(&b);
	ck_assert_uint_eq(server.n, 2);
	/* it is so for whoever else comes */
	come(&c, 2);
	in(&c);
	ck_assert_msg(strstr(c.op.why, "no answer within"), "%s", c.op.why);
	ck_assert_uint_eq(server.n, 2);
	pass(11000);
	come(&c, 2);
	in(&c);
	ck_assert_uint_eq(server.n, 3);
	send_ocsp(2, CY_REVOCATION_REVOKED, wall() + 1000, true);
	step();
	come(&c, 2);
	out(&c, "was revoked");
	come(&c, 3);
	ck_assert_uint_eq(c.n, 0);
	ck_assert_uint_eq(server.n, 4);
	send_ocsp(3, CY_REVOCATION_GOOD, wall() + 1000, true);
	step();
	in(&c);
	/* an answer that is of no use says nothing of the others */
	(void)sources_purge(d.sources);
	server.n = 0;
	come(&a, 0);
	send_ocsp(0, CY_REVOCATION_GOOD, wall() + 1000, false);
	step();
	in(&a);
	come(&b, 1);
	ck_assert_uint_eq(server.n, 2);
	ck_assert_uint_eq(b.n, 0);
	send_ocsp(1, CY_REVOCATION_REVOKED, wall() + 1000, true);
	step();
	out(&b, "was revoked");
}
END_TEST

START_TEST(all_of_the_path)
{
	struct text t = crl(10);
	struct peer a;

	memset(&a, 0, sizeof(a));
	a.op.d = &d;
	a.op.config = &config;
	a.op.path[0] = &leaf[1];
	a.op.path[1] = &sub_ca;
	a.op.path[2] = &ca;
	a.op.n_path = 3;
	sub_ca.i.spki = cy_slice(leaf_name, sizeof(leaf_name));
	sub_ca.i.crl_uris = &leaf_uris[1];
	ck_assert(!revocation_check(&a.op, w, done, &a, &a.waits, &a.err));
	ck_assert_uint_eq(server.n, 2); /* both at once */
	send_crl(1, &t);
	step();
	out(&a, "was revoked");
	ck_assert_uint_eq(stats().waiting, 0);
	t.issuer = leaf_name;
	send_crl(0, &t);
	step();
	ck_assert_uint_eq(stats().crls, 2);
	ck_assert_int_eq(sub_ca.refs, 1);
	(void)sources_purge(d.sources);
	ck_assert_int_eq(sub_ca.refs, 0);
}
END_TEST

START_TEST(files)
{
	struct text t = crl(11);
	const char *why;
	struct peer a;

	ck_assert_int_eq(sources_add_crl(d.sources, &ca, cy_slice(&t, sizeof(t)), "one", &why), CY_OK);
	come(&a, 0);
	in(&a);
	come(&a, 1);
	out(&a, "says the CRL of a file");
	ck_assert_uint_eq(server.n, 0);
	ck_assert_int_eq(sources_add_crl(d.sources, &ca, cy_slice(&t, sizeof(t)), "two", &why), CY_E_EXISTS);
	t.this_update++;
	t.revoked = 10;
	ck_assert_int_eq(sources_add_crl(d.sources, &ca, cy_slice(&t, sizeof(t)), "two", &why), CY_OK);
	come(&a, 1);
	in(&a);
	ck_assert_uint_eq(sources_purge(d.sources), 0);
	come(&a, 0);
	out(&a, "was revoked");
	/* when it is over the server is asked */
	pass(3700000);
	come(&a, 1);
	ck_assert_uint_eq(server.n, 1);
	t = crl(11);
	send_crl(0, &t);
	step();
	out(&a, "says the CRL http://a.example");
	/* the folder is read again, and empty */
	sources_load_files(d.sources, config.creds, NULL, NULL, NULL);
	ck_assert_uint_eq(stats().crls, 1);
	come(&a, 0);
	in(&a);
}
END_TEST

START_TEST(who_does_it)
{
	struct peer a;

	leaf_uris[0] = "ldap://a.example/x";
	come(&a, 0);
	in(&a);
	ck_assert_msg(strstr(a.op.why, "no plugin gets what such a URL names"), "%s", a.op.why);
	d.sources->ops = NULL;
	come(&a, 0);
	in(&a);
	ck_assert_msg(strstr(a.op.why, "curl"), "%s", a.op.why);
	ck_assert(!sources_fetch(d.sources));
	conf.setup.fetch_crls = false;
	come(&a, 0);
	in(&a);
	ck_assert_str_eq(a.op.why, "");
	ck_assert_uint_eq(server.n, 0);
}
END_TEST

UNIT_TESTS(revocation)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, good_and_revoked);
	tcase_add_test(tc, nothing_to_ask);
	tcase_add_test(tc, a_server_that_fails);
	tcase_add_test(tc, strict);
	tcase_add_test(tc, a_server_that_is_silent);
	tcase_add_test(tc, a_time_of_its_own);
	tcase_add_test(tc, who_goes);
	tcase_add_test(tc, answered_at_once);
	tcase_add_test(tc, crls_that_are_not_used);
	tcase_add_test(tc, outdated);
	tcase_add_test(tc, got_again_in_time);
	tcase_add_test(tc, at_an_interval);
	tcase_add_test(tc, what_is_kept);
	tcase_add_test(tc, how_many_are_kept);
	tcase_add_test(tc, how_many_wait);
	tcase_add_test(tc, ocsp);
	tcase_add_test(tc, a_responder_that_is_silent);
	tcase_add_test(tc, all_of_the_path);
	tcase_add_test(tc, files);
	tcase_add_test(tc, who_does_it);
}
