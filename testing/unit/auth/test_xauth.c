/* SPDX-License-Identifier: Apache-2.0 */
/* Logins in front of a back end that does what the test wants, with a clock that the test moves. */

#include <stdio.h>
#include <stdlib.h>

#include "daemon/auth/xauth.h"
#include "libcore/base/addr.h"
#include "libcore/base/err.h"
#include "libcore/conf/conn.h"
#include "libcore/cred/cred.h"
#include "libcore/plugin/loader.h"
#include "libcore/run/pool.h"
#include "unit.h"

#include "../run/sim_env.h"

static struct sim_env sim;
static struct daemon d;
static struct worker *w;

/* --- the back end ---------------------------------------------------------------------------------------------------- */

static struct {
	uint64_t id, ended[64];
	uint32_t begins, replies, n_ended;
	char user[64], password[64], answer[64], conn[64], remote_id[64];
	void (*fn)(void *to, uint64_t id, const struct cy_xauth_answer *a);
	void *to;
	struct cy_xauth_answer at_once; /* result 0: not */
	struct cy_addr remote;
} be;

static void be_answer(uint64_t id, uint32_t result, const char *text)
{
	const struct cy_xauth_answer a = {.size = sizeof(a),
	    .result = result,
	    .prompt = CY_XAUTH_PASSCODE,
	    .message = text,
	    .reason = text,
	    .pool = "",
	    .group = ""};

	be.fn(be.to, id, &a);
}

static void text_of(char *out, size_t cap, struct cy_slice s)
{
	snprintf(out, cap, "%.*s", (int)s.n, (const char *)s.p);
}

static void be_begin(void *plugin, const struct cy_xauth_login *l)
{
	ck_assert_ptr_eq(plugin, &be);
	be.begins++;
	be.id = l->id;
	be.fn = l->answer;
	be.to = l->to;
	be.remote = l->remote;
	snprintf(be.user, sizeof(be.user), "%s", l->user);
	snprintf(be.conn, sizeof(be.conn), "%s", l->conn);
	snprintf(be.remote_id, sizeof(be.remote_id), "%s", l->remote_id);
	text_of(be.password, sizeof(be.password), l->password);
	if (be.at_once.result)
		be.fn(be.to, be.id, &be.at_once);
}

static void be_reply(void *plugin, uint64_t id, struct cy_slice answer)
{
	(void)plugin;
	ck_assert_uint_eq(id, be.id);
	be.replies++;
	text_of(be.answer, sizeof(be.answer), answer);
}

static void be_end(void *plugin, uint64_t id)
{
	(void)plugin;
	ck_assert_uint_lt(be.n_ended, 64);
	be.ended[be.n_ended++] = id;
}

/* Only of one user. */
static bool be_quick(void *plugin, const struct cy_xauth_login *l)
{
	if (strcmp(l->user, "quick") != 0)
		return false;
	be_begin(plugin, l);
	return true;
}

static const struct cy_xauth_ops quick = {
    .size = sizeof(quick), .name = "pam", .begin = be_begin, .reply = be_reply, .end = be_end};
static const struct cy_xauth_ops slow = {.size = sizeof(slow),
    .flags = CY_XAUTH_COMPUTES,
    .name = "generic",
    .begin = be_begin,
    .reply = be_reply,
    .end = be_end,
    .quick = be_quick};

/* --- who waits ------------------------------------------------------------------------------------------------------- */

struct waiter {
	struct xauth_wait wait;
	uint32_t n; /* answers */
	enum cy_xauth_result result;
	enum cy_xauth_prompt prompt;
	bool soft;
	struct cy_addr address;
	char reason[256], message[256], pool[64], group[64];
};

static void done(struct worker *worker, struct xauth_wait *x, const struct xauth_answer *a)
{
	struct waiter *v = container_of(x, struct waiter, wait);

	ck_assert_ptr_eq(worker, w);
	ck_assert_ptr_eq(worker_self(), w);
	v->n++;
	v->result = a->result;
	v->prompt = a->prompt;
	v->soft = a->soft;
	v->address = a->address;
	snprintf(v->reason, sizeof(v->reason), "%s", a->reason);
	snprintf(v->message, sizeof(v->message), "%s", a->message);
	snprintf(v->pool, sizeof(v->pool), "%s", a->pool);
	snprintf(v->group, sizeof(v->group), "%s", a->group);
}

static uint64_t log_in(struct waiter *v, const char *backend, const char *user, const char *from, bool soft)
{
	struct xauth_request q = {.backend = backend,
	    .user = user,
	    .password = cy_slice("secret\0", 7),
	    .conn = "office",
	    .remote_id = "staff",
	    .session = 7,
	    .soft = soft};
	uint64_t id;

	ck_assert_int_eq(addr_parse(from, &q.remote), CY_OK);
	q.remote.port = 4500;
	*v = (struct waiter){.wait.done = done};
	id = xauth_begin(d.xauth, w, &q, &v->wait);
	ck_assert_uint_ne(id, 0);
	ck_assert_uint_eq(v->n, 0); /* never from within */
	return id;
}

static void step(void)
{
	while (worker_step(w, 1000))
		;
}

static void pass(uint64_t s)
{
	sim.now += s * NS_PER_S;
	step();
}

static void told(struct waiter *v, enum cy_xauth_result result, const char *reason)
{
	step();
	ck_assert_uint_eq(v->n, 1);
	ck_assert_int_eq(v->result, result);
	ck_assert_msg(strstr(v->reason, reason) != NULL, "\"%s\" is not in \"%s\"", reason, v->reason);
}

static struct xauth_stats stats(void)
{
	struct xauth_stats s;

	xauth_read_stats(d.xauth, &s);
	return s;
}

static void setup(void)
{
	memset(&be, 0, sizeof(be));
	memset(&d, 0, sizeof(d));
	sim_env_init(&sim);
	d.env = &sim.env;
	d.tune.xauth_deadline_ns = 90 * NS_PER_S;
	d.tune.xauth_lockout_ns = 300 * NS_PER_S;
	d.tune.xauth_limit = 100;
	ck_assert_int_eq(log_new(d.env, &d.log), CY_OK);
	ck_assert_int_eq(processor_new(&(struct processor_config){.n_workers = 1, .env = d.env, .log = d.log},
	                     &d.processor),
	    CY_OK);
	ck_assert_int_eq(pool_new(&(struct pool_config){.env = d.env, .log = d.log}, &d.pool), CY_OK);
	ck_assert_int_eq(crypto_new(d.log, &d.crypto), CY_OK);
	ck_assert_int_eq(bus_new(d.env, &d.bus), CY_OK);
	const struct plugins_config cfg = {
	    .env = d.env, .log = d.log, .crypto = d.crypto, .bus = d.bus, .dir = "/nowhere"};
	ck_assert_int_eq(plugins_load(&cfg, &d.plugins), CY_OK);
	ck_assert_int_eq(plugins_provide_builtin(d.plugins, CY_KIND_XAUTH, &quick, &be), CY_OK);
	ck_assert_int_eq(plugins_provide_builtin(d.plugins, CY_KIND_XAUTH, &slow, &be), CY_OK);
	ck_assert_int_eq(xauth_new(&d, &d.xauth), CY_OK);
	w = processor_worker(d.processor, 0);
}

static void teardown(void)
{
	pool_free(d.pool);
	d.pool = NULL;
	step();
	plugins_free(d.plugins);
	xauth_free(d.xauth);
	crypto_free(d.crypto);
	bus_free(d.bus);
	processor_free(d.processor);
	log_free(d.log);
}

/* --- tests ----------------------------------------------------------------------------------------------------------- */

START_TEST(a_login)
{
	struct cy_xauth_answer a = {.size = sizeof(a),
	    .result = CY_XAUTH_OK,
	    .message = "welcome",
	    .reason = "",
	    .pool = "10.1.0.0/24",
	    .group = "staff"};
	struct waiter v;
	uint64_t id = log_in(&v, "pam", "alice", "192.0.2.1", false);

	step();
	ck_assert_uint_eq(v.n, 0);
	ck_assert_str_eq(be.user, "alice");
	ck_assert_str_eq(be.password, "secret"); /* without the NUL that some clients send */
	ck_assert_str_eq(be.conn, "office");
	ck_assert_str_eq(be.remote_id, "staff");
	ck_assert_int_eq(addr_parse("10.9.9.9", &a.address), CY_OK);
	be.fn(be.to, be.id, &a);
	ck_assert_uint_eq(v.n, 0);
	told(&v, CY_XAUTH_OK, "");
	ck_assert_str_eq(v.message, "welcome");
	ck_assert_str_eq(v.pool, "10.1.0.0/24");
	ck_assert_str_eq(v.group, "staff");
	ck_assert(addr_cmp(&v.address, &a.address) == 0);
	ck_assert_uint_eq(stats().sessions, 1);
	ck_assert_uint_eq(stats().in_progress, 0);
	/* answered once: a second answer is nobody's */
	be_answer(id, CY_XAUTH_FAIL, "no");
	step();
	ck_assert_uint_eq(v.n, 1);
	ck_assert_uint_eq(be.n_ended, 0);
	xauth_end(d.xauth, w, id);
	ck_assert_uint_eq(be.n_ended, 1);
	ck_assert_uint_eq(be.ended[0], id);
	xauth_end(d.xauth, w, id);
	ck_assert_uint_eq(be.n_ended, 1);
	ck_assert_uint_eq(stats().sessions, 0);
}
END_TEST

START_TEST(refused_and_out_of_order)
{
	struct waiter v;

	(void)log_in(&v, "pam", "alice", "192.0.2.1", false);
	be_answer(be.id, CY_XAUTH_FAIL, "wrong password");
	told(&v, CY_XAUTH_FAIL, "wrong password");
	(void)log_in(&v, "pam", "alice", "192.0.2.1", false);
	be_answer(be.id, CY_XAUTH_ERROR, "no database");
	told(&v, CY_XAUTH_ERROR, "no database");
	(void)log_in(&v, "pam", "alice", "192.0.2.1", false);
	be_answer(be.id, 77, "nonsense");
	told(&v, CY_XAUTH_ERROR, "");
	(void)log_in(&v, "radius", "alice", "192.0.2.1", false);
	told(&v, CY_XAUTH_ERROR, "xauth-radius");
	(void)log_in(&v, "pam", "", "192.0.2.1", false);
	told(&v, CY_XAUTH_FAIL, "no name");
	ck_assert_uint_eq(be.begins, 3);
	ck_assert_uint_eq(be.n_ended, 0);
	ck_assert_uint_eq(stats().in_progress, 0);
	ck_assert_uint_eq(stats().errors, 3);
	ck_assert_uint_eq(stats().refused, 2);
}
END_TEST

START_TEST(long_names_and_passwords)
{
	char name[XAUTH_USER_MAX + 10], password[XAUTH_PASSWORD_MAX + 10];
	struct waiter v = {.wait.done = done};
	struct xauth_request q = {.backend = "pam", .user = name, .conn = "c", .remote_id = "r"};

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	memset(password, 'x', sizeof(password));
	ck_assert_int_eq(addr_parse("192.0.2.1", &q.remote), CY_OK);
	(void)xauth_begin(d.xauth, w, &q, &v.wait);
	told(&v, CY_XAUTH_FAIL, "name is too long");
	name[3] = '\0';
	q.password = cy_slice(password, sizeof(password));
	v = (struct waiter){.wait.done = done};
	(void)xauth_begin(d.xauth, w, &q, &v.wait);
	told(&v, CY_XAUTH_FAIL, "password is too long");
	ck_assert_uint_eq(be.begins, 0);
}
END_TEST

START_TEST(challenges)
{
	struct waiter v, v2 = {.wait.done = done};
	uint64_t id = log_in(&v, "pam", "otp", "192.0.2.1", false);

	ck_assert(!xauth_reply(d.xauth, w, id, cy_slice_str("early"), &v2.wait));
	be_answer(id, CY_XAUTH_CHALLENGE, "Passcode:");
	told(&v, CY_XAUTH_CHALLENGE, "");
	ck_assert_str_eq(v.message, "Passcode:");
	ck_assert_int_eq(v.prompt, CY_XAUTH_PASSCODE);
	/* the user may take his time: the deadline is the back end's */
	pass(1000);
	ck_assert_uint_eq(v.n, 1);
	ck_assert(xauth_reply(d.xauth, w, id, cy_slice_str("123456"), &v2.wait));
	ck_assert_str_eq(be.answer, "123456");
	ck_assert(!xauth_reply(d.xauth, w, id, cy_slice_str("again"), &v2.wait));
	be_answer(id, CY_XAUTH_OK, "");
	told(&v2, CY_XAUTH_OK, "");
	ck_assert_uint_eq(v.n, 1);
	ck_assert_uint_eq(stats().challenges, 1);
	xauth_end(d.xauth, w, id);
	/* gone while it is asked */
	id = log_in(&v, "pam", "otp", "192.0.2.1", false);
	be_answer(id, CY_XAUTH_CHALLENGE, "Passcode:");
	told(&v, CY_XAUTH_CHALLENGE, "");
	be.n_ended = 0;
	xauth_end(d.xauth, w, id);
	ck_assert_uint_eq(be.n_ended, 1);
	ck_assert(!xauth_reply(d.xauth, w, id, cy_slice_str("late"), &v2.wait));
	ck_assert_uint_eq(stats().in_progress, 0);
}
END_TEST

START_TEST(deadline)
{
	struct waiter v;
	uint64_t id = log_in(&v, "pam", "alice", "192.0.2.1", false);

	pass(89);
	ck_assert_uint_eq(v.n, 0);
	pass(2);
	told(&v, CY_XAUTH_ERROR, "xauth_deadline");
	ck_assert_uint_eq(be.n_ended, 1);
	ck_assert_uint_eq(be.ended[0], id);
	be_answer(id, CY_XAUTH_OK, "late");
	step();
	ck_assert_uint_eq(v.n, 1);
	ck_assert_uint_eq(stats().timeouts, 1);
	ck_assert_uint_eq(stats().sessions, 0);
	ck_assert_uint_eq(stats().in_progress, 0);
}
END_TEST

START_TEST(ended_at_any_time)
{
	struct waiter v;
	uint64_t id = log_in(&v, "pam", "alice", "192.0.2.1", false);

	/* before the answer */
	xauth_end(d.xauth, w, id);
	ck_assert_uint_eq(be.n_ended, 1);
	be_answer(id, CY_XAUTH_OK, "");
	told(&v, CY_XAUTH_ERROR, "nobody waits");
	ck_assert_uint_eq(be.n_ended, 1);
	/* while the answer is on its way: the session must not stay open */
	id = log_in(&v, "pam", "alice", "192.0.2.1", false);
	be_answer(id, CY_XAUTH_OK, "");
	xauth_end(d.xauth, w, id);
	told(&v, CY_XAUTH_ERROR, "nobody waits");
	ck_assert_uint_eq(be.n_ended, 2);
	id = log_in(&v, "pam", "alice", "192.0.2.1", false);
	be_answer(id, CY_XAUTH_FAIL, "");
	xauth_end(d.xauth, w, id);
	told(&v, CY_XAUTH_ERROR, "nobody waits");
	ck_assert_uint_eq(be.n_ended, 2);
	ck_assert_uint_eq(stats().in_progress, 0);
	ck_assert_uint_eq(stats().sessions, 0);
	xauth_end(d.xauth, w, 0);
	xauth_end(d.xauth, w, 4711);
}
END_TEST

static void say_yes_at_once(void)
{
	be.at_once = (struct cy_xauth_answer){.size = sizeof(be.at_once),
	    .result = CY_XAUTH_OK,
	    .message = "",
	    .reason = "",
	    .pool = "",
	    .group = ""};
}

START_TEST(a_back_end_that_computes)
{
	struct waiter v;
	uint64_t id = log_in(&v, "generic", "alice", "192.0.2.1", false);

	ck_assert_uint_eq(be.begins, 0); /* not on the caller's thread */
	say_yes_at_once();
	told(&v, CY_XAUTH_OK, "");
	ck_assert_str_eq(be.password, "secret");
	xauth_end(d.xauth, w, id);
	step();
	ck_assert_uint_eq(be.n_ended, 1);
	/* ended before it has begun: it is begun, then ended, in this order */
	be.begins = be.n_ended = 0;
	id = log_in(&v, "generic", "alice", "192.0.2.1", false);
	xauth_end(d.xauth, w, id);
	ck_assert_uint_eq(be.n_ended, 0);
	told(&v, CY_XAUTH_ERROR, "nobody waits");
	ck_assert_uint_eq(be.begins, 1);
	ck_assert_uint_eq(be.n_ended, 1);
	ck_assert_uint_eq(be.ended[0], id);
	ck_assert_uint_eq(stats().sessions, 0);
}
END_TEST

START_TEST(answered_without_the_pool)
{
	struct waiter v;
	uint64_t id;

	say_yes_at_once();
	id = log_in(&v, "generic", "quick", "192.0.2.1", false);
	ck_assert_uint_eq(be.begins, 1); /* on the caller's thread */
	told(&v, CY_XAUTH_OK, "");
	ck_assert_uint_eq(be.begins, 1);
	xauth_end(d.xauth, w, id);
	step();
	ck_assert_uint_eq(be.n_ended, 1);
	ck_assert_uint_eq(be.ended[0], id);
	ck_assert_uint_eq(stats().sessions, 0);
}
END_TEST

START_TEST(limits)
{
	struct waiter v[8];
	uint64_t id[8];

	d.tune.xauth_user_limit = 2;
	d.tune.xauth_address_limit = 3;
	id[0] = log_in(&v[0], "pam", "alice", "192.0.2.1", false);
	id[1] = log_in(&v[1], "pam", "alice", "192.0.2.2", false);
	(void)log_in(&v[2], "pam", "alice", "192.0.2.3", false);
	told(&v[2], CY_XAUTH_ERROR, "xauth_user_limit");
	(void)log_in(&v[3], "pam", "bob", "192.0.2.1", false);
	(void)log_in(&v[4], "pam", "carol", "192.0.2.1", false);
	(void)log_in(&v[5], "pam", "dave", "192.0.2.1", false);
	told(&v[5], CY_XAUTH_ERROR, "xauth_address_limit");
	/* who is done makes room */
	be_answer(id[0], CY_XAUTH_FAIL, "");
	told(&v[0], CY_XAUTH_FAIL, "");
	(void)log_in(&v[5], "pam", "dave", "192.0.2.1", false);
	step();
	ck_assert_uint_eq(v[5].n, 0);
	d.tune.xauth_limit = 4;
	(void)log_in(&v[6], "pam", "eve", "192.0.2.9", false);
	told(&v[6], CY_XAUTH_ERROR, "xauth_limit");
	ck_assert_uint_eq(stats().limit_user, 1);
	ck_assert_uint_eq(stats().limit_address, 1);
	ck_assert_uint_eq(stats().limit_queue, 1);
	ck_assert_uint_eq(stats().in_progress, 4);
	ck_assert_uint_eq(stats().in_progress_max, 5);
	xauth_end(d.xauth, w, id[1]);
	step();
	ck_assert_uint_eq(stats().in_progress, 3);
}
END_TEST

static void try(const char *user, const char *from, enum cy_xauth_result says, enum cy_xauth_result result,
    const char *reason)
{
	uint32_t begins = be.begins;
	struct waiter v;
	uint64_t id = log_in(&v, "pam", user, from, false);

	if (be.begins != begins)
		be_answer(id, says, "");
	told(&v, result, reason);
	if (result == CY_XAUTH_OK)
		xauth_end(d.xauth, w, id);
}

START_TEST(locked_out)
{
	d.tune.xauth_user_failures = 3;
	try("alice", "192.0.2.1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	try("alice", "192.0.2.1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	try("alice", "192.0.2.1", CY_XAUTH_OK, CY_XAUTH_OK, ""); /* it was in time: they are forgotten */
	try("alice", "192.0.2.1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	try("alice", "192.0.2.2", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	try("alice", "192.0.2.3", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	/* the right password, from anywhere */
	try("alice", "192.0.2.4", CY_XAUTH_OK, CY_XAUTH_FAIL, "the user is locked out");
	try("bob", "192.0.2.1", CY_XAUTH_OK, CY_XAUTH_OK, "");
	ck_assert_uint_eq(stats().lockouts, 1);
	ck_assert_uint_eq(stats().locked_user, 1);
	pass(299);
	try("alice", "192.0.2.4", CY_XAUTH_OK, CY_XAUTH_FAIL, "the user is locked out");
	pass(2);
	try("alice", "192.0.2.4", CY_XAUTH_OK, CY_XAUTH_OK, "");
	/* failures far apart do not add up; errors of the back end do not count */
	for (int i = 0; i < 5; i++) {
		try("carol", "192.0.2.1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
		pass(301);
		try("dave", "192.0.2.1", CY_XAUTH_ERROR, CY_XAUTH_ERROR, "");
	}
	try("carol", "192.0.2.1", CY_XAUTH_OK, CY_XAUTH_OK, "");
	d.tune.xauth_address_failures = 2;
	try("a", "2001:db8::1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	try("b", "2001:db8::1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	try("c", "2001:db8::1", CY_XAUTH_OK, CY_XAUTH_FAIL, "the address is locked out");
	try("c", "2001:db8::2", CY_XAUTH_OK, CY_XAUTH_OK, "");
}
END_TEST

/* Names that nobody has must not make the table grow for ever, and may not push out who is locked out. */
START_TEST(many_names)
{
	char name[32];

	d.tune.xauth_user_failures = 1;
	try("alice", "192.0.2.1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		try(name, "192.0.2.1", CY_XAUTH_FAIL, CY_XAUTH_FAIL, "");
	}
	try("alice", "192.0.2.1", CY_XAUTH_OK, CY_XAUTH_FAIL, "locked out");
	ck_assert_uint_eq(stats().lockouts, 5001);
}
END_TEST

START_TEST(sessions)
{
	struct waiter v[4];
	uint64_t id[4];

	d.tune.xauth_sessions = 2;
	for (int i = 0; i < 2; i++) {
		id[i] = log_in(&v[i], "pam", "alice", i ? "192.0.2.2" : "192.0.2.1", false);
		be_answer(id[i], CY_XAUTH_OK, "");
		told(&v[i], CY_XAUTH_OK, "");
	}
	id[2] = log_in(&v[2], "pam", "alice", "192.0.2.3", false);
	be_answer(id[2], CY_XAUTH_OK, "");
	told(&v[2], CY_XAUTH_FAIL, "xauth_sessions");
	ck_assert_uint_eq(be.n_ended, 1);
	ck_assert_uint_eq(be.ended[0], id[2]);
	/* from where there is one already: that one is being replaced */
	id[2] = log_in(&v[2], "pam", "alice", "192.0.2.2", false);
	be_answer(id[2], CY_XAUTH_OK, "");
	told(&v[2], CY_XAUTH_OK, "");
	xauth_end(d.xauth, w, id[1]);
	xauth_end(d.xauth, w, id[0]);
	id[3] = log_in(&v[3], "pam", "alice", "192.0.2.3", false);
	be_answer(id[3], CY_XAUTH_OK, "");
	told(&v[3], CY_XAUTH_OK, "");
	ck_assert_uint_eq(stats().sessions, 2);
	ck_assert_uint_eq(stats().limit_sessions, 1);
	xauth_end(d.xauth, w, id[2]);
	xauth_end(d.xauth, w, id[3]);
	ck_assert_uint_eq(stats().sessions, 0);
}
END_TEST

START_TEST(soft)
{
	struct waiter v;
	uint64_t id = log_in(&v, "pam", "alice", "192.0.2.1", true);

	be_answer(id, CY_XAUTH_FAIL, "wrong password");
	told(&v, CY_XAUTH_OK, "wrong password");
	ck_assert(v.soft);
	/* PAM has no session of him */
	xauth_end(d.xauth, w, id);
	ck_assert_uint_eq(be.n_ended, 0);
	(void)log_in(&v, "pam", "alice", "192.0.2.1", true);
	be_answer(be.id, CY_XAUTH_ERROR, "no database");
	told(&v, CY_XAUTH_ERROR, "no database");
}
END_TEST

START_TEST(own_password)
{
	struct ident me = {0};
	struct conn *c;
	struct config config = {0};
	char user[XAUTH_USER_MAX];
	struct cy_slice password;

	ck_assert_int_eq(
	    creds_new(d.crypto, d.log, &(struct cred_paths){"", "", "", ""}, &config.creds), CY_OK);
	ck_assert_int_eq(creds_load_secrets_text(config.creds,
	                     cy_slice_str("@road : XAUTH \"one\"\nalice : XAUTH \"two\"\n"), "t", NULL, NULL),
	    CY_OK);
	ck_assert_int_eq(conn_new("c", DIALECT_LIBRESWAN, &c), CY_OK);
	ck_assert_int_eq(ident_parse("@road", &me), CY_OK);
	ck_assert_int_eq(xauth_own(&config, c, &me, user, &password), CY_OK);
	ck_assert_str_eq(user, "road");
	ck_assert(cy_slice_eq(password, cy_slice_str("one")));
	c->local.xauth_user = strdup("alice");
	ck_assert_int_eq(xauth_own(&config, c, &me, user, &password), CY_OK);
	ck_assert_str_eq(user, "alice");
	ck_assert(cy_slice_eq(password, cy_slice_str("two")));
	free(c->local.xauth_user);
	c->local.xauth_user = strdup("nobody");
	ck_assert_int_eq(xauth_own(&config, c, &me, user, &password), CY_E_NOTFOUND);
	ck_assert_str_eq(user, "nobody");
	ident_fini(&me);
	conn_unref(c);
	creds_unref(config.creds);
}
END_TEST

UNIT_TESTS(xauth)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_login);
	tcase_add_test(tc, refused_and_out_of_order);
	tcase_add_test(tc, long_names_and_passwords);
	tcase_add_test(tc, challenges);
	tcase_add_test(tc, deadline);
	tcase_add_test(tc, ended_at_any_time);
	tcase_add_test(tc, a_back_end_that_computes);
	tcase_add_test(tc, answered_without_the_pool);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, locked_out);
	tcase_add_test(tc, many_names);
	tcase_add_test(tc, sessions);
	tcase_add_test(tc, soft);
	tcase_add_test(tc, own_password);
}
