/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XAUTH against users of our own: a file of hashed passwords, then ipsec.secrets. Runs on the pool, because hashing takes long; where
 * no password is hashed, at once.
 */

#include "config.h"
#include "generic.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <cygnet/plugin.h>

#define DEFAULT_PASSWD SYSCONFDIR "/ipsec.d/passwd"

struct plugin {
	const struct cy_host *host;
	void *self;
	pthread_mutex_t lock; /* everything below; held to find a user, not to check his password */
	struct passwd passwd;
	char path[512];
	bool secrets, failing;
	uint64_t refreshed_ns;
	uint64_t ok, refused; /* atomic */
};

#define FRESH_NS 1000000000ull /* what quick() knows of the file may be so old */

/* What is known of a user, copied. */
struct found {
	char secret[PASSWORD_MAX + 1], like[PASSWORD_MAX + 1], address[64];
	bool known, hashed, has_like, other;
};

static void complain(void *user, uint32_t line, const char *what)
{
	struct plugin *p = user;

	if (line)
		p->host->log(p->self, CY_LOG_WARN, "%s:%u: %s", p->path, line, what);
	else
		p->host->log(p->self, CY_LOG_WARN, "%s: %s", p->path, what);
}

/* With the lock. */
static void refresh(struct plugin *p)
{
	enum cy_err e = passwd_refresh(&p->passwd, p->path, complain, p);

	if (e && !p->failing)
		p->host->log(p->self, CY_LOG_ERROR,
		    "%s cannot be read; the users that were read before, if any, go on", p->path);
	p->failing = e != CY_OK;
	p->refreshed_ns = p->host->now_ns(p->self);
}

static void take(char *to, size_t cap, const char *from)
{
	snprintf(to, cap, "%s", from);
}

static void in_secrets(struct plugin *p, const struct cy_xauth_login *l, struct found *f)
{
	size_t n;

	if (CY_HAS(p->host, password) &&
	    p->host->password(p->self, l->user, (uint8_t *)f->secret, PASSWORD_MAX, &n) == CY_OK) {
		f->secret[n] = '\0';
		f->known = !memchr(f->secret, 0, n);
		f->hashed = check_is_hash(f->secret);
	}
}

static void look_up(struct plugin *p, const struct cy_xauth_login *l, struct found *f)
{
	const struct entry *e;
	bool secrets;

	pthread_mutex_lock(&p->lock);
	refresh(p);
	secrets = p->secrets;
	e = passwd_find(&p->passwd, l->user, l->conn, &f->other);
	if (e && strlen(e->hash) <= PASSWORD_MAX) {
		take(f->secret, sizeof(f->secret), e->hash);
		take(f->address, sizeof(f->address), e->address);
		/* in the file every password is a hash, even one that does not look like it */
		f->known = f->hashed = true;
	}
	if (p->passwd.n && strlen(p->passwd.e[0].hash) <= PASSWORD_MAX) {
		take(f->like, sizeof(f->like), p->passwd.e[0].hash);
		f->has_like = true;
	}
	pthread_mutex_unlock(&p->lock);
	if (!f->known && secrets && !f->other)
		in_secrets(p, l, f);
}

static bool read_address(const char *text, struct cy_addr *out)
{
	if (inet_pton(AF_INET, text, out->ip) == 1)
		out->family = AF_INET;
	else if (inet_pton(AF_INET6, text, out->ip) == 1)
		out->family = AF_INET6;
	return out->family != 0;
}

/* f: NULL without memory; wiped. */
static void decide(struct plugin *p, const struct cy_xauth_login *l, struct found *f)
{
	struct cy_xauth_answer a = {
	    .size = sizeof(a), .result = CY_XAUTH_FAIL, .message = "", .reason = "", .pool = "", .group = ""};
	enum cy_err e = CY_E_NOMEM;

	if (f)
		e = !f->known   ? check_nobody(f->has_like ? f->like : NULL, l->password)
		    : f->hashed ? check_hash(f->secret, l->password)
		                : check_plain(f->secret, l->password);
	if (e == CY_OK) {
		a.result = CY_XAUTH_OK;
		if (*f->address)
			(void)read_address(f->address, &a.address);
	} else if (e == CY_E_AUTH) {
		a.reason = f->known ? "wrong password"
		    : f->other      ? "the user may use other connections, not this one"
		                    : "no such user";
	} else {
		a.result = CY_XAUTH_ERROR;
		a.reason = e == CY_E_UNSUPPORTED ? "crypt(3) does not know the hash of the user's password"
		                                 : "out of memory";
	}
	/* not with the lock: it may be held while the file is read, and quick() is on a worker */
	if (e == CY_OK)
		__atomic_fetch_add(&p->ok, 1, __ATOMIC_RELAXED);
	else if (e == CY_E_AUTH)
		__atomic_fetch_add(&p->refused, 1, __ATOMIC_RELAXED);
	l->answer(l->to, l->id, &a);
	if (f)
		explicit_bzero(f, sizeof(*f));
}

static void begin(void *plugin, const struct cy_xauth_login *l)
{
	struct found *f = calloc(1, sizeof(*f));

	if (f)
		look_up(plugin, l, f);
	decide(plugin, l, f);
	free(f);
}

/* Only of a user whose password is in ipsec.secrets as it is, and not while the file has users, who come first. Whoever reads the file has
 * the lock, and may take long. */
static bool quick(void *plugin, const struct cy_xauth_login *l)
{
	struct plugin *p = plugin;
	struct found f = {0};
	bool may;

	if (pthread_mutex_trylock(&p->lock) != 0)
		return false;
	may = p->passwd.n == 0 && p->secrets && p->host->now_ns(p->self) - p->refreshed_ns < FRESH_NS;
	pthread_mutex_unlock(&p->lock);
	if (!may)
		return false;
	in_secrets(p, l, &f);
	if (!f.known || f.hashed) { /* of somebody unknown, a hash is made as well */
		explicit_bzero(&f, sizeof(f));
		return false;
	}
	decide(p, l, &f);
	return true;
}

static void reply(void *plugin, uint64_t id, struct cy_slice answer)
{
	/* it never asks */
	(void)plugin;
	(void)id;
	(void)answer;
}

static int status(void *plugin, char *out, size_t cap)
{
	struct plugin *p = plugin;
	int n;

	pthread_mutex_lock(&p->lock);
	n = snprintf(out, cap, "%zu users in %s, %llu let in, %llu refused", p->passwd.n, p->path,
	    (unsigned long long)__atomic_load_n(&p->ok, __ATOMIC_RELAXED),
	    (unsigned long long)__atomic_load_n(&p->refused, __ATOMIC_RELAXED));
	pthread_mutex_unlock(&p->lock);
	return n;
}

static const struct cy_xauth_ops ops = {
    .size = sizeof(ops),
    .flags = CY_XAUTH_COMPUTES,
    .name = "generic",
    .begin = begin,
    .reply = reply,
    .status = status,
    .quick = quick,
};

static void read_settings(void *plugin)
{
	struct plugin *p = plugin;

	pthread_mutex_lock(&p->lock);
	take(p->path, sizeof(p->path), p->host->setting(p->self, "passwd", DEFAULT_PASSWD));
	p->secrets = p->host->setting_bool(p->self, "secrets", true);
	refresh(p);
	pthread_mutex_unlock(&p->lock);
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct plugin *p = calloc(1, sizeof(*p));
	enum cy_err e;

	if (!p)
		return CY_E_NOMEM;
	p->host = host;
	p->self = self;
	pthread_mutex_init(&p->lock, NULL);
	read_settings(p);
	e = host->provide(self, CY_KIND_XAUTH, &ops, p);
	if (e && e != CY_E_EXISTS) {
		passwd_clear(&p->passwd);
		free(p);
		return e;
	}
	*out_plugin = p;
	return CY_OK;
}

static void fini(void *plugin)
{
	struct plugin *p = plugin;

	passwd_clear(&p->passwd);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "xauth-generic.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct cy_feature features[] = {
    {CY_PROVIDES, "xauth:generic"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "xauth-generic",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .reload = read_settings,
    .options = options,
};
