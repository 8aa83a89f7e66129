/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins in front of their back ends. A login is made, answered and freed on its worker; only the answer itself comes on any
 * thread, is put down under the lock, and posted. Users and addresses are counted in one table of parties that forgets
 * whoever has nothing going on and no failures that still count.
 */
#include "daemon/auth/xauth.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"
#include "libcore/base/hmap.h"
#include "libcore/base/secret.h"
#include "libcore/conf/conn.h"
#include "libcore/cred/cred.h"
#include "libcore/plugin/loader.h"
#include "libcore/run/pool.h"

#define PARTIES_MAX 100000 /* remembered for their failures alone */

/* A user or an address. */
struct party {
	struct hnode node;
	struct list idle;     /* in x->idle while nothing of it is going on, longest ago first */
	struct list sessions; /* of logins; users only */
	uint32_t in_progress, n_sessions, failures;
	uint64_t failed_ns, locked_until_ns;
	size_t n;
	uint8_t key[]; /* 'u' and the name with a NUL after it, or 'a' and the address */
};

enum login_state { LOGIN_WORKING, LOGIN_ASKED, LOGIN_SESSION };

struct answer {
	struct xauth_answer a; /* strings below */
	char *message, *reason, *pool, *group;
	bool in_vain; /* the back end let him in, and we cannot */
};

struct login {
	struct hnode node;
	uint64_t id;
	struct xauth *x;
	struct worker *w;
	const struct cy_xauth_ops *ops;
	void *plugin;
	struct call *call;   /* on the pool now */
	struct call *ending; /* of a back end that computes: what tells it the end needs no memory then */
	enum login_state state;
	bool answered;   /* `answer` is set, and a job on its way */
	bool at_backend; /* it must be told the end */
	bool ended, soft;
	struct party *user, *address; /* NULL: refused before it counted */
	struct list of_user;          /* in user->sessions */
	struct cy_addr remote;
	uint64_t session;
	uint64_t asked_ns;
	struct timer deadline;
	struct job job;
	struct answer answer;
	struct xauth_wait *wait;
};

struct xauth {
	struct daemon *d;
	pthread_mutex_t lock;
	struct hmap logins, parties;
	struct list idle;
	size_t n_parties;
	uint64_t next_id;
	struct xauth_stats stats;
};

/* A call of a back end that computes, on the pool. It holds nothing of the login, which may be gone before it ends. */
struct call {
	struct work work;
	struct xauth *x;
	const struct cy_xauth_ops *ops;
	void *plugin;
	enum { CALL_BEGIN, CALL_REPLY, CALL_END } what;
	uint64_t id;
	bool end_after;
	struct secret secret;
	struct cy_xauth_login login;
	char *user, *conn, *remote_id;
};

static void give_answer(struct login *l, enum cy_xauth_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- life ------------------------------------------------------------------------------------------------------------ */

enum cy_err xauth_new(struct daemon *d, struct xauth **out)
{
	struct xauth *x = calloc(1, sizeof(*x));
	uint64_t key[2];
	enum cy_err e;

	if (!x)
		return CY_E_NOMEM;
	d->env->random(d->env, key, sizeof(key));
	x->d = d;
	list_init(&x->idle);
	e = hmap_init(&x->logins, key);
	if (!e)
		e = hmap_init(&x->parties, key);
	if (e) {
		hmap_fini(&x->logins);
		free(x);
		return e;
	}
	pthread_mutex_init(&x->lock, NULL);
	*out = x;
	return CY_OK;
}

static void answer_fini(struct answer *a)
{
	free(a->message);
	free(a->reason);
	free(a->pool);
	free(a->group);
	*a = (struct answer){0};
}

static void call_free(struct call *c);

static void login_free(struct login *l)
{
	if (l->ending)
		call_free(l->ending);
	answer_fini(&l->answer);
	free(l);
}

void xauth_free(struct xauth *x)
{
	struct hnode *n, *tmp;
	size_t b;

	if (!x)
		return;
	hmap_foreach (&x->logins, b, n, tmp) {
		hmap_del(&x->logins, n);
		login_free(container_of(n, struct login, node));
	}
	hmap_foreach (&x->parties, b, n, tmp) {
		hmap_del(&x->parties, n);
		free(container_of(n, struct party, node));
	}
	hmap_fini(&x->logins);
	hmap_fini(&x->parties);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

/* --- parties: with the lock ------------------------------------------------------------------------------------------ */

static void party_drop(struct xauth *x, struct party *p)
{
	list_del(&p->idle);
	hmap_del(&x->parties, &p->node);
	x->n_parties--;
	free(p);
}

/* Its failures, if any, still count. */
static bool party_matters(const struct xauth *x, const struct party *p, uint64_t now)
{
	return p->failures && now < p->failed_ns + x->d->tune.xauth_lockout_ns;
}

static void forget_some(struct xauth *x, uint64_t now)
{
	struct list *n;

	while ((n = list_first(&x->idle)) != NULL) {
		struct party *p = list_entry(n, struct party, idle);

		if (party_matters(x, p, now) && x->n_parties < PARTIES_MAX)
			return;
		party_drop(x, p);
	}
}

static struct party *party_get(struct xauth *x, char kind, const void *key, size_t n)
{
	uint8_t text[1 + XAUTH_USER_MAX];
	struct party *p;
	struct hnode *at;
	uint64_t hash;

	text[0] = (uint8_t)kind;
	memcpy(text + 1, key, n);
	hash = hmap_hash(&x->parties, text, ++n);
	for (at = hmap_first(&x->parties, hash); at; at = hmap_next(at)) {
		p = container_of(at, struct party, node);
		if (p->n == n && memcmp(p->key, text, n) == 0)
			return p;
	}
	p = calloc(1, sizeof(*p) + n + 1);
	if (!p)
		return NULL;
	p->n = n;
	memcpy(p->key, text, n);
	list_init(&p->sessions);
	hmap_add(&x->parties, &p->node, hash);
	x->n_parties++;
	return p;
}

static void party_busy(struct party *p)
{
	if (list_linked(&p->idle))
		list_del(&p->idle);
	p->in_progress++;
}

/* Something of it has ended. */
static void party_rest(struct xauth *x, struct party *p)
{
	uint64_t now = env_now(x->d->env);

	if (p->in_progress || p->n_sessions || list_linked(&p->idle))
		return;
	list_push(&x->idle, &p->idle);
	forget_some(x, now);
}

static void party_failed(struct xauth *x, struct party *p, uint32_t max, const struct login *l)
{
	uint64_t now = env_now(x->d->env);
	struct log_ctx ctx = {.ike_id = l->session};
	char text[ADDR_STR_MAX];

	if (!party_matters(x, p, now))
		p->failures = 0;
	p->failures++;
	p->failed_ns = now;
	if (!max || p->failures < max || now < p->locked_until_ns)
		return;
	p->locked_until_ns = now + x->d->tune.xauth_lockout_ns;
	x->stats.lockouts++;
	if (p->key[0] == 'u')
		ctx.user = (const char *)p->key + 1;
	LOGF(x->d->log, LOG_IKE, CY_LOG_WARN, &ctx,
	    "XAUTH: %s is locked out for %llu s after %u wrong passwords",
	    p->key[0] == 'u' ? (const char *)p->key + 1 : addr_str(&l->remote, text),
	    (unsigned long long)(x->d->tune.xauth_lockout_ns / NS_PER_S), p->failures);
}

static void party_good(struct party *p)
{
	p->failures = 0;
	p->locked_until_ns = 0;
}

/* --- answers --------------------------------------------------------------------------------------------------------- */

static struct login *login_find(struct xauth *x, uint64_t id)
{
	struct hnode *n = hmap_first(&x->logins, hmap_hash(&x->logins, &id, sizeof(id)));

	for (; n; n = hmap_next(n)) {
		struct login *l = container_of(n, struct login, node);

		if (l->id == id)
			return l;
	}
	return NULL;
}

/* The login is no longer in progress; with the lock. */
static void not_in_progress(struct login *l)
{
	struct xauth *x = l->x;

	x->stats.in_progress--;
	if (!l->user)
		return;
	l->user->in_progress--;
	l->address->in_progress--;
}

static void parties_rest(struct login *l)
{
	if (!l->user)
		return;
	party_rest(l->x, l->user);
	party_rest(l->x, l->address);
}

/* May the user have one more? Who logs in again from where a session of his is, replaces it (reauthentication). */
static bool may_have_session(const struct xauth *x, const struct login *l)
{
	struct list *n;

	if (!x->d->tune.xauth_sessions || l->user->n_sessions < x->d->tune.xauth_sessions)
		return true;
	list_foreach (n, &l->user->sessions)
		if (cy_addr_eq(&list_entry(n, struct login, of_user)->remote, &l->remote))
			return true;
	return false;
}

/* What a definite answer means; with the lock. True: the back end has a session that must be ended. */
static bool settle(struct login *l)
{
	struct xauth *x = l->x;
	struct xauth_answer *a = &l->answer.a;
	bool end = false;

	if (l->ended) {
		end = a->result == CY_XAUTH_OK && l->at_backend;
		a->result = CY_XAUTH_ERROR;
		a->reason = "nobody waits for it any more";
		x->stats.cancelled++;
	} else if (a->result == CY_XAUTH_OK && !may_have_session(x, l)) {
		end = true;
		a->result = CY_XAUTH_FAIL;
		a->reason = "the user has as many sessions as xauth_sessions allows";
		a->message = "You are connected too often already.";
		x->stats.limit_sessions++;
	} else if (a->result == CY_XAUTH_OK) {
		party_good(l->user);
		party_good(l->address);
		x->stats.ok++;
	} else if (a->result == CY_XAUTH_FAIL) {
		x->stats.refused++;
		if (l->user && l->at_backend) {
			party_failed(x, l->user, x->d->tune.xauth_user_failures, l);
			party_failed(x, l->address, x->d->tune.xauth_address_failures, l);
		}
	} else {
		x->stats.errors++;
	}
	if (a->result != CY_XAUTH_OK || !l->at_backend)
		l->at_backend = false;
	not_in_progress(l);
	if (a->result == CY_XAUTH_FAIL && l->soft) {
		a->result = CY_XAUTH_OK;
		a->soft = true;
	}
	if (a->result == CY_XAUTH_OK && l->user) {
		l->user->n_sessions++;
		l->address->n_sessions++;
		list_push(&l->user->sessions, &l->of_user);
		x->stats.sessions++;
	}
	return end;
}

static void backend_end(struct login *l);

/* The answer is there: on the worker. */
static void deliver(struct login *l)
{
	struct xauth *x = l->x;
	struct xauth_wait *wait = l->wait;
	struct answer answer;
	uint64_t ms = (env_now(x->d->env) - l->asked_ns) / NS_PER_MS;
	struct worker *w = l->w;
	bool over, end = false;

	worker_timer_cancel(w, &l->deadline);
	pthread_mutex_lock(&x->lock);
	if (ms > x->stats.answer_max_ms)
		x->stats.answer_max_ms = ms;
	if (l->answer.a.result == CY_XAUTH_CHALLENGE && !l->ended) {
		x->stats.challenges++;
		l->state = LOGIN_ASKED;
		over = false;
	} else {
		if (l->answer.a.result == CY_XAUTH_CHALLENGE) /* asked, and nobody is there any more */
			end = true;
		end = settle(l) || end || l->answer.in_vain;
		over = l->answer.a.result != CY_XAUTH_OK || !l->user;
		l->state = LOGIN_SESSION;
		if (over) {
			hmap_del(&x->logins, &l->node);
			parties_rest(l);
		}
	}
	answer = l->answer;
	l->answer = (struct answer){0};
	l->answered = false;
	l->wait = NULL;
	pthread_mutex_unlock(&x->lock);
	if (end)
		backend_end(l);
	if (over)
		login_free(l);
	wait->done(w, wait, &answer.a);
	answer_fini(&answer);
}

static void deliver_job(struct worker *w, struct job *j)
{
	(void)w;
	deliver(container_of(j, struct login, job));
}

static char *copy(const char *s)
{
	return s && *s ? strdup(s) : NULL;
}

/* With the lock; the caller posts the job. */
static void put_answer(struct login *l, const struct xauth_answer *a)
{
	struct answer *to = &l->answer;

	l->answered = true;
	to->message = copy(a->message);
	to->reason = copy(a->reason);
	to->pool = copy(a->pool);
	to->group = copy(a->group);
	to->a = *a;
	to->a.message = to->message ? to->message : "";
	to->a.reason = to->reason ? to->reason : "";
	to->a.pool = to->pool ? to->pool : "";
	to->a.group = to->group ? to->group : "";
	/* without what it assigns nobody gets in: it may be what keeps him out of the others' networks */
	if (a->result == CY_XAUTH_OK && ((*a->pool && !to->pool) || (*a->group && !to->group))) {
		to->a.result = CY_XAUTH_ERROR;
		to->a.reason = "out of memory";
		to->in_vain = true;
	}
}

/* An answer of our own, on the worker. */
static void give_answer(struct login *l, enum cy_xauth_result result, const char *fmt, ...)
{
	struct xauth_answer a = {.result = result, .message = "", .pool = "", .group = ""};
	char reason[256];
	bool mine;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	a.reason = reason;
	pthread_mutex_lock(&l->x->lock);
	mine = l->state == LOGIN_WORKING && !l->answered;
	if (mine)
		put_answer(l, &a);
	pthread_mutex_unlock(&l->x->lock);
	if (mine)
		worker_post(l->w, &l->job, PRIO_HIGH, JOB_COMPLETION);
}

/* What a back end answers, on any thread. */
static void on_answer(void *to, uint64_t id, const struct cy_xauth_answer *from)
{
	struct xauth *x = to;
	struct xauth_answer a = {.result = (enum cy_xauth_result)from->result,
	    .prompt = (enum cy_xauth_prompt)from->prompt,
	    .message = from->message ? from->message : "",
	    .reason = from->reason ? from->reason : "",
	    .pool = "",
	    .group = ""};
	struct login *l;

	if (CY_HAS(from, group) && from->result == CY_XAUTH_OK) {
		a.address = from->address;
		a.pool = from->pool ? from->pool : "";
		a.group = from->group ? from->group : "";
	}
	if (from->result < CY_XAUTH_OK || from->result > CY_XAUTH_ERROR)
		a.result = CY_XAUTH_ERROR;
	pthread_mutex_lock(&x->lock);
	l = login_find(x, id);
	if (l && (l->state != LOGIN_WORKING || l->answered))
		l = NULL;
	if (l)
		put_answer(l, &a);
	pthread_mutex_unlock(&x->lock);
	/* it cannot go before this job has run */
	if (l)
		worker_post(l->w, &l->job, PRIO_HIGH, JOB_COMPLETION);
}

static void on_deadline(struct timer *t)
{
	struct login *l = container_of(t, struct login, deadline);
	struct xauth *x = l->x;
	bool late = false;

	pthread_mutex_lock(&x->lock);
	if (l->state == LOGIN_WORKING && !l->answered) {
		put_answer(l,
		    &(struct xauth_answer){.result = CY_XAUTH_ERROR,
		        .message = "",
		        .reason = "no answer within the time of xauth_deadline",
		        .pool = "",
		        .group = ""});
		x->stats.timeouts++;
		late = true;
	}
	pthread_mutex_unlock(&x->lock);
	if (!late)
		return;
	backend_end(l);
	deliver(l);
}

/* --- calling the back end --------------------------------------------------------------------------------------------- */

static void call_free(struct call *c)
{
	secret_fini(&c->secret);
	free(c->user);
	free(c->conn);
	free(c->remote_id);
	free(c);
}

static void call_run(struct work *w)
{
	struct call *c = container_of(w, struct call, work);

	if (c->what == CALL_BEGIN)
		c->ops->begin(c->plugin, &c->login);
	else if (c->what == CALL_REPLY)
		c->ops->reply(c->plugin, c->id, secret_slice(&c->secret));
	else if (c->ops->end)
		c->ops->end(c->plugin, c->id);
}

static void submit(struct call *c, struct worker *w);

static void call_done(struct worker *w, struct work *work, enum cy_err err)
{
	struct call *c = container_of(work, struct call, work);
	struct login *l;

	pthread_mutex_lock(&c->x->lock);
	l = login_find(c->x, c->id);
	pthread_mutex_unlock(&c->x->lock);
	if (l && l->call == c)
		l->call = NULL;
	else
		l = NULL;
	/* a reply that was not given leaves the login where it is; an end that has no room in the pool hashes nothing */
	if (c->what == CALL_END && err == CY_E_LIMIT)
		call_run(work);
	if (c->end_after && (!err || c->what == CALL_REPLY)) {
		secret_fini(&c->secret);
		c->what = CALL_END;
		c->end_after = false;
		submit(c, w);
		return;
	}
	if (l && err && c->what == CALL_REPLY)
		backend_end(l);
	if (l && err)
		give_answer(l, CY_XAUTH_ERROR, "the pool does not take the check: %s", err_text(err));
	call_free(c);
}

static void submit(struct call *c, struct worker *w)
{
	/* the daemon ends: there is no pool any more, and the plugin's end comes next */
	if (!c->x->d->pool) {
		call_free(c);
		return;
	}
	c->work = (struct work){.run = call_run,
	    .done = call_done,
	    .worker = w,
	    .owner = c->ops->name,
	    .prio = PRIO_MEDIUM,
	    .class = POOL_CPU};
	pool_submit(c->x->d->pool, &c->work);
}

static bool computes(const struct login *l)
{
	return l->ops->flags & CY_XAUTH_COMPUTES;
}

static struct call *call_new(struct login *l, int what)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->x = l->x;
	c->ops = l->ops;
	c->plugin = l->plugin;
	c->what = what;
	c->id = l->id;
	return c;
}

static void backend_begin(struct login *l, const struct cy_xauth_login *login)
{
	struct call *c;

	l->at_backend = true;
	if (!computes(l)) {
		l->ops->begin(l->plugin, login);
		return;
	}
	l->ending = l->ops->end ? call_new(l, CALL_END) : NULL;
	if (CY_HAS(l->ops, quick) && l->ops->quick && (l->ending || !l->ops->end) &&
	    l->ops->quick(l->plugin, login))
		return;
	c = call_new(l, CALL_BEGIN);
	if (c) {
		c->user = strdup(login->user);
		c->conn = strdup(login->conn);
		c->remote_id = strdup(login->remote_id);
	}
	if (!c || (l->ops->end && !l->ending) || !c->user || !c->conn || !c->remote_id ||
	    secret_dup(&c->secret, login->password)) {
		if (c)
			call_free(c);
		l->at_backend = false;
		give_answer(l, CY_XAUTH_ERROR, "out of memory");
		return;
	}
	c->login = *login;
	c->login.user = c->user;
	c->login.conn = c->conn;
	c->login.remote_id = c->remote_id;
	c->login.password = secret_slice(&c->secret);
	l->call = c;
	submit(c, l->w);
}

static void backend_reply(struct login *l, struct cy_slice answer)
{
	struct call *c;

	if (!computes(l)) {
		l->ops->reply(l->plugin, l->id, answer);
		return;
	}
	c = call_new(l, CALL_REPLY);
	if (!c || secret_dup(&c->secret, answer)) {
		if (c)
			call_free(c);
		backend_end(l);
		give_answer(l, CY_XAUTH_ERROR, "out of memory");
		return;
	}
	l->call = c;
	submit(c, l->w);
}

static void backend_end(struct login *l)
{
	struct call *c;

	if (!l->ops || !l->ops->end)
		return;
	if (l->call) {
		l->call->end_after = true;
		return;
	}
	if (!computes(l)) {
		l->ops->end(l->plugin, l->id);
		return;
	}
	c = l->ending;
	l->ending = NULL;
	if (c)
		submit(c, l->w);
}

/* --- what IKE_SAs call ------------------------------------------------------------------------------------------------- */

/* Why the login is refused before anybody looks at the password, or NULL; with the lock. */
static const char *refusal(struct xauth *x, struct login *l, enum cy_xauth_result *out)
{
	const struct tuning *t = &x->d->tune;
	uint64_t now = env_now(x->d->env);

	*out = CY_XAUTH_ERROR;
	if (t->xauth_limit && x->stats.in_progress > t->xauth_limit) {
		x->stats.limit_queue++;
		return "as many logins are in progress as xauth_limit allows";
	}
	if (!l->user || !l->address)
		return "out of memory";
	if (t->xauth_user_limit && l->user->in_progress > t->xauth_user_limit) {
		x->stats.limit_user++;
		return "as many logins of this user are in progress as xauth_user_limit allows";
	}
	if (t->xauth_address_limit && l->address->in_progress > t->xauth_address_limit) {
		x->stats.limit_address++;
		return "as many logins from this address are in progress as xauth_address_limit allows";
	}
	*out = CY_XAUTH_FAIL;
	if (now < l->user->locked_until_ns) {
		x->stats.locked_user++;
		return "the user is locked out after too many wrong passwords";
	}
	if (now < l->address->locked_until_ns) {
		x->stats.locked_address++;
		return "the address is locked out after too many wrong passwords";
	}
	return NULL;
}

static void wait_for(struct login *l, struct xauth_wait *wait)
{
	l->wait = wait;
	l->asked_ns = env_now(l->x->d->env);
	worker_timer_set(l->w, &l->deadline, worker_now(l->w) + l->x->d->tune.xauth_deadline_ns);
}

uint64_t xauth_begin(
    struct xauth *x, struct worker *w, const struct xauth_request *q, struct xauth_wait *wait)
{
	struct login *l = calloc(1, sizeof(*l));
	size_t n = strnlen(q->user, XAUTH_USER_MAX);
	enum cy_xauth_result result;
	struct cy_slice password = q->password;
	const char *why;

	if (!l)
		return 0;
	/* some clients send the end of their string, too */
	while (password.n && password.p[password.n - 1] == 0)
		password.n--;
	l->x = x;
	l->w = w;
	l->remote = q->remote;
	l->session = q->session;
	l->soft = q->soft;
	l->job.fn = deliver_job;
	l->deadline.fn = on_deadline;
	l->ops = plugins_find(x->d->plugins, CY_KIND_XAUTH, q->backend, &l->plugin);
	pthread_mutex_lock(&x->lock);
	l->id = ++x->next_id;
	hmap_add(&x->logins, &l->node, hmap_hash(&x->logins, &l->id, sizeof(l->id)));
	x->stats.begun++;
	if (++x->stats.in_progress > x->stats.in_progress_max)
		x->stats.in_progress_max = x->stats.in_progress;
	if (n && n < XAUTH_USER_MAX) {
		l->user = party_get(x, 'u', q->user, n);
		l->address = l->user ? party_get(x, 'a', q->remote.ip, cy_addr_len(&q->remote)) : NULL;
		if (l->user && !l->address)
			party_rest(x, l->user);
		if (!l->address)
			l->user = NULL;
	}
	if (l->user) {
		party_busy(l->user);
		party_busy(l->address);
	}
	if (!n || n >= XAUTH_USER_MAX) {
		result = CY_XAUTH_FAIL;
		why = n ? "the name is too long" : "no name";
	} else if (password.n > XAUTH_PASSWORD_MAX) {
		result = CY_XAUTH_FAIL;
		why = "the password is too long";
	} else {
		why = refusal(x, l, &result);
	}
	pthread_mutex_unlock(&x->lock);
	wait_for(l, wait);
	if (why) {
		give_answer(l, result, "%s", why);
	} else if (!l->ops) {
		give_answer(l, CY_XAUTH_ERROR, "no plugin provides the back end '%s' (xauth-%s)", q->backend,
		    q->backend);
	} else {
		backend_begin(l,
		    &(struct cy_xauth_login){.size = sizeof(struct cy_xauth_login),
		        .id = l->id,
		        .user = q->user,
		        .password = password,
		        .conn = q->conn,
		        .remote_id = q->remote_id,
		        .local = q->local,
		        .remote = q->remote,
		        .session = q->session,
		        .deadline_ms = (uint32_t)(x->d->tune.xauth_deadline_ns / NS_PER_MS),
		        .answer = on_answer,
		        .to = x});
	}
	return l->id;
}

bool xauth_reply(
    struct xauth *x, struct worker *w, uint64_t login, struct cy_slice answer, struct xauth_wait *wait)
{
	struct login *l;

	(void)w;
	pthread_mutex_lock(&x->lock);
	l = login_find(x, login);
	if (l && l->state != LOGIN_ASKED)
		l = NULL;
	if (l)
		l->state = LOGIN_WORKING;
	pthread_mutex_unlock(&x->lock);
	if (!l)
		return false;
	while (answer.n && answer.p[answer.n - 1] == 0)
		answer.n--;
	wait_for(l, wait);
	if (answer.n > XAUTH_PASSWORD_MAX) {
		backend_end(l);
		give_answer(l, CY_XAUTH_FAIL, "the answer is too long");
	} else {
		backend_reply(l, answer);
	}
	return true;
}

void xauth_end(struct xauth *x, struct worker *w, uint64_t login)
{
	enum login_state state = LOGIN_WORKING;
	bool answered = false, at_backend = false;
	struct login *l;

	(void)w;
	if (!login)
		return;
	pthread_mutex_lock(&x->lock);
	l = login_find(x, login);
	if (l && l->ended)
		l = NULL;
	if (l) {
		l->ended = true;
		state = l->state;
		answered = l->answered;
		at_backend = l->at_backend;
		if (state == LOGIN_SESSION) {
			hmap_del(&x->logins, &l->node);
			list_del(&l->of_user);
			l->user->n_sessions--;
			l->address->n_sessions--;
			x->stats.sessions--;
			parties_rest(l);
		} else if (state == LOGIN_ASKED) {
			hmap_del(&x->logins, &l->node);
			not_in_progress(l);
			x->stats.cancelled++;
			parties_rest(l);
		}
	}
	pthread_mutex_unlock(&x->lock);
	if (!l)
		return;
	/* an answer that is on its way decides in deliver() whether there is a session to end */
	if (at_backend && !answered)
		backend_end(l);
	if (state != LOGIN_WORKING)
		login_free(l);
	else
		give_answer(l, CY_XAUTH_ERROR, "nobody waits for it any more");
}

/* --- looking ------------------------------------------------------------------------------------------------------------- */

void xauth_read_stats(struct xauth *x, struct xauth_stats *out)
{
	pthread_mutex_lock(&x->lock);
	*out = x->stats;
	pthread_mutex_unlock(&x->lock);
}

bool xauth_has_backend(struct xauth *x, const char *name)
{
	void *plugin;

	return plugins_find(x->d->plugins, CY_KIND_XAUTH, name, &plugin) != NULL;
}

void xauth_backends(struct xauth *x, void (*cb)(void *user, const char *name, const char *status), void *user)
{
	static const char *const names[] = {"pam", "generic", "none"};
	char line[512];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		void *plugin;
		const struct cy_xauth_ops *ops =
		    plugins_find(x->d->plugins, CY_KIND_XAUTH, names[i], &plugin);

		if (!ops)
			continue;
		line[0] = '\0';
		if (ops->status)
			(void)ops->status(plugin, line, sizeof(line));
		cb(user, names[i], line);
	}
}

/* --- as a client --------------------------------------------------------------------------------------------------------- */

enum cy_err xauth_own(const struct config *c, const struct conn *conn, const struct ident *my_id,
    char user[XAUTH_USER_MAX], struct cy_slice *out_password)
{
	char text[IDENT_STR_MAX];
	struct ident id;

	if (conn->local.xauth_user)
		snprintf(user, XAUTH_USER_MAX, "%s", conn->local.xauth_user);
	else
		snprintf(user, XAUTH_USER_MAX, "%s", ident_str(my_id, text));
	id = (struct ident){.type = ID_KEY_ID, .n = (uint16_t)strlen(user), .p = (uint8_t *)user};
	return creds_find_password(c->creds, CRED_XAUTH, &id, out_password) ? CY_OK : CY_E_NOTFOUND;
}

enum cy_err xauth_own_answer(
    const struct config *c, const char *user, const char *which, struct cy_slice *out)
{
	char name[XAUTH_USER_MAX + 32];
	struct ident id;

	snprintf(name, sizeof(name), "%s/%s", user, which);
	id = (struct ident){.type = ID_KEY_ID, .n = (uint16_t)strlen(name), .p = (uint8_t *)name};
	return creds_find_password(c->creds, CRED_XAUTH, &id, out) ? CY_OK : CY_E_NOTFOUND;
}
