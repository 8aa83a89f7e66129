/* SPDX-License-Identifier: Apache-2.0 */
/* XAUTH between two daemons: rounds of questions, whose the peer then is, and what is said of a question without an answer. */
#include "duel.h"
#include "unit.h"

#include "daemon/auth/xauth.h"
#include "daemon/ikev1/ikev1.h"
#include "daemon/policy/lease.h"
#include "daemon/sa/about.h"
#include "daemon/sa/totals.h"
#include "libcore/conf/conf.h"
#include "libcore/plugin/loader.h"
#include "libcore/run/usage.h"

#define KEYS "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n"

static struct duel *d;

/* --- a back end that asks what the test wants ------------------------------------------------------------------------- */

static struct {
	uint32_t ask[16]; /* prompts, then 0 */
	uint32_t at;
	uint64_t id;
	char said[16][32]; /* password and answers */
	void (*fn)(void *to, uint64_t id, const struct cy_xauth_answer *a);
	void *to;
} be;

static void next(uint64_t id, struct cy_slice said)
{
	struct cy_xauth_answer a = {.size = sizeof(a), .message = "", .reason = "", .pool = "", .group = ""};

	snprintf(be.said[be.at], sizeof(be.said[0]), "%.*s", (int)said.n, (const char *)said.p);
	a.prompt = be.ask[be.at++];
	a.result = a.prompt ? CY_XAUTH_CHALLENGE : CY_XAUTH_OK;
	if (a.prompt)
		a.message = "say more";
	be.fn(be.to, id, &a);
}

static void be_begin(void *plugin, const struct cy_xauth_login *l)
{
	(void)plugin;
	be.fn = l->answer;
	be.to = l->to;
	next(l->id, l->password);
}

static void be_begin_silent(void *plugin, const struct cy_xauth_login *l)
{
	(void)plugin;
	be.fn = l->answer;
	be.to = l->to;
	be.id = l->id;
}

static void be_reply(void *plugin, uint64_t id, struct cy_slice answer)
{
	(void)plugin;
	next(id, answer);
}

static const struct cy_xauth_ops ops = {
    .size = sizeof(ops), .name = "pam", .begin = be_begin, .reply = be_reply};

/* A is the client, alice; B asks. */
static void login(const char *secrets, const uint32_t *ask, size_t n)
{
	struct duel_config c = {.keys = KEYS "  authby=xauthpsk\n",
	    .conn_a = "  xauth=client\n  xauth_identity=alice\n",
	    .conn_b = "  rightauth=psk\n  rightauth2=xauth-pam\n  leftauth=psk\n",
	    .secrets_a = secrets,
	    .secrets_b = ": PSK \"of the group\"\n"};

	memset(&be, 0, sizeof(be));
	if (n)
		memcpy(be.ask, ask, n * sizeof(*ask));
	d = duel_new_with(&c);
	ck_assert_int_eq(plugins_provide_builtin(d->b.d->plugins, CY_KIND_XAUTH, &ops, &be), CY_OK);
	duel_start(d, &d->a, 100);
}

static bool is_up(void)
{
	return duel_sa(&d->a) && duel_sa(&d->b) && duel_sa(&d->a)->state == IKE_ESTABLISHED &&
	    duel_sa(&d->b)->state == IKE_ESTABLISHED && duel_sa(&d->b)->n_children == 1;
}

#define SECRETS                                                                                              \
	": PSK \"of the group\"\n"                                                                           \
	"alice : XAUTH \"secret\"\n"                                                                         \
	"alice/passcode : XAUTH \"123456\"\n"                                                                \
	"alice/next-pin : XAUTH \"4711\"\n"                                                                  \
	"alice/answer : XAUTH \"blue\"\n"

START_TEST(name_and_password)
{
	login(SECRETS, NULL, 0);
	ck_assert(is_up());
	ck_assert_str_eq(be.said[0], "secret");
	duel_free(d);
}
END_TEST

/* A back end that takes longer than a NAT remembers who said nothing (30 s in many): the client keeps its place there. */
START_TEST(a_slow_server_behind_a_nat)
{
	static const struct cy_xauth_ops slow = {
	    .size = sizeof(slow), .name = "pam", .begin = be_begin_silent, .reply = be_reply};
	static const struct duel_config c = {.keys = KEYS "  authby=xauthpsk\n",
	    .conn_a = "  xauth=client\n  xauth_identity=alice\n",
	    .conn_b = "  rightauth=psk\n  rightauth2=xauth-pam\n  leftauth=psk\n",
	    .secrets_a = SECRETS,
	    .secrets_b = ": PSK \"of the group\"\n",
	    .settings = "xauth_deadline = 2m\n",
	    .right_b = "%any",
	    .nat_a = "192.0.2.1"};
	uint64_t before;

	memset(&be, 0, sizeof(be));
	d = duel_new_with(&c);
	ck_assert_int_eq(plugins_provide_builtin(d->b.d->plugins, CY_KIND_XAUTH, &slow, &be), CY_OK);
	duel_start(d, &d->a, 100);
	ck_assert_ptr_nonnull(be.fn);
	for (int i = 0; i < 2; i++) {
		before = d->a.n_sent;
		duel_advance(d, 25 * NS_PER_S);
		ck_assert_uint_eq(d->a.n_sent, before + 1);
		ck_assert_uint_eq(duel_last(&d->a, 0)->n, 1);
	}
	d->pass = 100;
	next(be.id, cy_slice_str("secret"));
	duel_pump(d);
	ck_assert(is_up());
	duel_free(d);
}
END_TEST

/* What only who has logged in may ask for: quick mode, or an address. The password is still being looked at. */
static void ask_for(bool quick)
{
	struct ike_sa *a = duel_sa(&d->a);
	struct payload *p;
	struct v1_exchange *x;
	uint8_t nonce[V1_NONCE_LEN] = {1};

	ck_assert_ptr_nonnull(step_new(a, NULL));
	if (!quick) {
		v1_config_pull(a);
	} else {
		x = v1_exchange_new(a, EXCHANGE_V1_QUICK, v1_msgid_new(a), true);
		ck_assert_ptr_nonnull(x);
		ck_assert(v1_out(a, x, V1_HASH_1));
		p = message_add(&a->step->a, &a->step->out, PAYLOAD_V1_NONCE);
		ck_assert_ptr_nonnull(p);
		p->u.nonce1 = cy_slice(nonce, sizeof(nonce));
		ck_assert_int_eq(
		    v1_send(a, x, V1_HASH_1, cy_slice(NULL, 0), cy_slice(NULL, 0), false), CY_OK);
		v1_exchange_free(x);
		step_end(a);
	}
	d->pass = 1;
	duel_pump(d);
}

static void on_lease(void *user, const struct lease_info *i)
{
	*(size_t *)user += i->session != 0;
}

START_TEST(before_the_login_there_is_nothing)
{
	static const struct cy_xauth_ops slow = {
	    .size = sizeof(slow), .name = "pam", .begin = be_begin_silent, .reply = be_reply};
	static const struct duel_config c = {.keys = KEYS "  authby=xauthpsk\n",
	    .conn_a = "  xauth=client\n  xauth_identity=alice\n  leftsourceip=%config\n",
	    .conn_b =
	        "  rightauth=psk\n  rightauth2=xauth-pam\n  leftauth=psk\n  rightsourceip=10.9.0.0/29\n",
	    .secrets_a = SECRETS,
	    .secrets_b = ": PSK \"of the group\"\n"};
	size_t leases = 0;
	uint64_t sent;

	memset(&be, 0, sizeof(be));
	d = duel_new_with(&c);
	ck_assert_int_eq(plugins_provide_builtin(d->b.d->plugins, CY_KIND_XAUTH, &slow, &be), CY_OK);
	duel_start(d, &d->a, 100);
	ck_assert_ptr_nonnull(be.fn);
	ck_assert_int_eq(duel_sa(&d->b)->state, IKE_CONNECTING);
	sent = d->b.n_sent;
	for (int quick = 0; quick < 2; quick++) {
		ask_for(quick);
		ck_assert_uint_eq(d->b.n_sent, sent);
		ck_assert_int_eq(duel_sa(&d->b)->state, IKE_CONNECTING);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 0);
		ck_assert_uint_eq(duel_sa(&d->b)->n_leases, 0);
		leases_list(d->b.d->leases, on_lease, &leases);
		ck_assert_uint_eq(leases, 0);
		ck_assert_uint_eq(d->b.n_sas + d->b.n_policies, 0);
	}
	duel_free(d);
}
END_TEST

START_TEST(several_rounds)
{
	static const uint32_t ask[] = {
	    CY_XAUTH_PASSCODE, CY_XAUTH_NEXT_PIN, CY_XAUTH_ANSWER, CY_XAUTH_PASSWORD};

	login(SECRETS, ask, ARRAY_LEN(ask));
	ck_assert(is_up());
	ck_assert_uint_eq(be.at, 5);
	ck_assert_str_eq(be.said[0], "secret");
	ck_assert_str_eq(be.said[1], "123456");
	ck_assert_str_eq(be.said[2], "4711");
	ck_assert_str_eq(be.said[3], "blue");
	ck_assert_str_eq(be.said[4], "secret");
	duel_free(d);
}
END_TEST

/*
 * The first message of phase 2 comes some time after the client's last one of the login (or the initiator's of aggressive mode), which has
 * no answer: a peer with several threads may look at it first, and ends the IKE_SA. With 0 it comes at once.
 */
START_TEST(phase_2_does_not_overtake)
{
	static const struct {
		const char *conn_a, *conn_b;
		uint32_t messages;
	} cases[] = {
	    {"  xauth=client\n  xauth_identity=alice\n",
	        "  rightauth=psk\n  rightauth2=xauth-pam\n  leftauth=psk\n", 10},
	    {"  xauth=client\n  xauth_identity=alice\n  leftsourceip=%config\n",
	        "  rightauth=psk\n  rightauth2=xauth-pam\n  leftauth=psk\n  rightsourceip=10.9.0.0/29\n", 10},
	    {"  authby=secret\n  aggressive=yes\n", "  authby=secret\n  aggressive=yes\n", 3},
	};

	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		struct duel_config c = {.keys = KEYS "  authby=xauthpsk\n",
		    .conn_a = cases[i / 2].conn_a,
		    .conn_b = cases[i / 2].conn_b,
		    .settings = i % 2 ? "ikev1_phase2_delay = 20ms\n" : "",
		    .secrets_a = SECRETS,
		    .secrets_b = ": PSK \"of the group\"\n"};
		uint64_t sent;

		memset(&be, 0, sizeof(be));
		d = duel_new_with(&c);
		ck_assert_int_eq(plugins_provide_builtin(d->b.d->plugins, CY_KIND_XAUTH, &ops, &be), CY_OK);
		duel_start(d, &d->a, cases[i / 2].messages);
		ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
		ck_assert_int_eq(duel_sa(&d->b)->state, IKE_ESTABLISHED);
		if (i % 2) {
			sent = d->a.n_sent;
			duel_advance(d, 19 * NS_PER_MS);
			ck_assert_uint_eq(d->a.n_sent, sent);
			d->pass = 100;
			duel_advance(d, 2 * NS_PER_MS);
		} else {
			d->pass = 100;
			duel_inject(&d->b, duel_last(&d->a, 0)->p, duel_last(&d->a, 0)->n);
			duel_pump(d);
		}
		ck_assert(is_up());
		duel_free(d);
	}
}
END_TEST

static char failure[512];

static void on_line(struct up_watch *w, const char *text)
{
	(void)w;
	(void)text;
}

static void on_done(struct up_watch *w, bool ok, const char *why)
{
	(void)w;
	ck_assert(!ok);
	snprintf(failure, sizeof(failure), "%s", why);
}

/* What was asked for, and how to answer it, is what the user of `ipsec up` reads. */
START_TEST(a_question_without_an_answer)
{
	static const struct {
		uint32_t ask;
		const char *words;
	} cases[] = {
	    {CY_XAUTH_NEXT_PIN, "a new PIN (XAUTH), say more: ipsec.secrets has no 'alice/next-pin : XAUTH'"},
	    {CY_XAUTH_PASSCODE,
	        "a passcode (XAUTH), say more: ipsec.secrets has no 'alice/passcode : XAUTH'"},
	    {CY_XAUTH_ANSWER, "an answer (XAUTH), say more: ipsec.secrets has no 'alice/answer : XAUTH'"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct up_watch w = {.line = on_line, .done = on_done};
		struct config *c;

		login(": PSK \"of the group\"\nalice : XAUTH \"secret\"\n", &cases[i].ask, 1);
		ck_assert(!is_up());
		duel_reset(d);
		be.at = 0;
		list_init(&w.node);
		failure[0] = '\0';
		c = daemon_config(d->a.d);
		d->pass = 100;
		sa_up(d->a.d, c->conf->conns[0], &w);
		config_unref(c);
		duel_pump(d);
		ck_assert_msg(strstr(failure, cases[i].words), "%s", failure);
		duel_free(d);
	}
}
END_TEST

START_TEST(a_server_without_an_end)
{
	uint32_t ask[15];

	for (size_t i = 0; i < ARRAY_LEN(ask); i++)
		ask[i] = CY_XAUTH_ANSWER;
	login(SECRETS, ask, ARRAY_LEN(ask));
	ck_assert(!is_up());
	ck_assert_uint_eq(be.at, 8);
	duel_free(d);
}
END_TEST

struct seen {
	bool alice, group;
};

static void on_total(void *user, enum totals_kind kind, const char *name, const struct totals_counts *c)
{
	struct seen *s = user;

	if (kind != TOTALS_USER)
		return;
	s->alice |= strcmp(name, "alice") == 0 && c->ike_up == 1 && c->child_up == 1;
	s->group |= strcmp(name, "10.0.0.1") == 0;
}

/* All clients may have one identity: who logged in is who is counted. The client counts its server by identity. */
START_TEST(the_user_is_counted)
{
	struct seen server = {0}, client = {0};
	char text[IDENT_STR_MAX];

	login(SECRETS, NULL, 0);
	ck_assert(is_up());
	ck_assert_str_eq(totals_user(duel_sa(&d->b), text), "alice");
	ck_assert_str_eq(totals_user(duel_sa(&d->a), text), "10.0.0.2");
	totals_list(d->b.d->sas->totals, on_total, &server);
	totals_list(d->a.d->sas->totals, on_total, &client);
	ck_assert(server.alice && !server.group);
	ck_assert(!client.alice);
	duel_free(d);
}
END_TEST

static bool is_charged(struct duel_side *s, const char *to)
{
	struct usage_sum sum = {0};
	bool found = false;

	worker_read_usage(processor_worker(s->d->processor, 0), &sum);
	for (size_t i = 0; i < sum.n_peers; i++)
		found |= strcmp(sum.peers[i].label, to) == 0;
	usage_sum_fini(&sum);
	return found;
}

/* And who the time goes to (ipsec usage). */
START_TEST(the_user_is_charged)
{
	login(SECRETS, NULL, 0);
	ck_assert(is_up());
	d->pass = 100;
	task_queue(duel_sa(&d->b), task_new(TASK_LIVENESS));
	task_queue(duel_sa(&d->a), task_new(TASK_LIVENESS));
	duel_pump(d);
	ck_assert(is_charged(&d->b, "alice"));
	ck_assert(!is_charged(&d->b, "10.0.0.1"));
	ck_assert(is_charged(&d->a, "10.0.0.2"));
	ck_assert(!is_charged(&d->a, "alice"));
	duel_free(d);
}
END_TEST

UNIT_TESTS(login)
{
	tcase_add_test(tc, name_and_password);
	tcase_add_test(tc, a_slow_server_behind_a_nat);
	tcase_add_test(tc, before_the_login_there_is_nothing);
	tcase_add_test(tc, several_rounds);
	tcase_add_test(tc, phase_2_does_not_overtake);
	tcase_add_test(tc, a_question_without_an_answer);
	tcase_add_test(tc, a_server_without_an_end);
	tcase_add_test(tc, the_user_is_counted);
	tcase_add_test(tc, the_user_is_charged);
}
