/* SPDX-License-Identifier: Apache-2.0 */

#include "crypto_host.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "config.h"
#include "unit.h"

#define MAX_LOADED 4

struct loaded {
	struct crypto_host *host;
	const struct cy_plugin *plugin;
	void *state;
};

struct crypto_host {
	struct crypto *crypto;
	struct cy_host table;
	struct loaded loaded[MAX_LOADED];
	size_t n, refused;
};

static void host_log(void *self, enum cy_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > CY_LOG_WARN)
		return;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

static bool host_log_on(void *self, enum cy_level level)
{
	return level <= CY_LOG_WARN;
}

static enum cy_err host_provide(void *self, enum cy_kind kind, const void *ops, void *plugin)
{
	struct loaded *l = self;
	enum cy_err err = crypto_register(l->host->crypto, kind, ops, l->plugin->name);

	if (err != CY_OK && err != CY_E_EXISTS) {
		l->host->refused++;
		(void)fprintf(stderr, "%s: kind %d id %u refused (%d)\n", l->plugin->name, (int)kind,
		    kind == CY_KIND_PKI ? 0 : *(const uint16_t *)((const char *)ops + 4), (int)err);
	}
	return err;
}

static void host_random(void *self, void *out, size_t n)
{
	ck_assert_int_eq(getrandom(out, n, 0), (ssize_t)n);
}

static const struct cy_hash_alg *host_hash(void *self, uint16_t hash)
{
	struct loaded *l = self;

	return crypto_hash(l->host->crypto, hash);
}

static const char *host_setting(void *self, const char *key, const char *fallback)
{
	return fallback;
}

static bool was_built(const char *name)
{
	char all[sizeof(PLUGINS_BUILT) + 2], one[64];

	(void)snprintf(all, sizeof(all), " %s ", PLUGINS_BUILT);
	(void)snprintf(one, sizeof(one), " %s ", name);
	return strstr(all, one) != NULL;
}

static void load(struct crypto_host *h, const char *name)
{
	struct loaded *l = &h->loaded[h->n];
	char path[256];
	void *so;

	ck_assert_uint_lt(h->n, MAX_LOADED);
	/* tests run in the top of the build folder */
	(void)snprintf(path, sizeof(path), ".libs/cygnet-%s.so", name);
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	ck_assert_msg(so != NULL, "%s", dlerror());
	l->plugin = dlsym(so, CYGNET_PLUGIN_SYMBOL);
	ck_assert_ptr_nonnull(l->plugin);
	ck_assert_int_eq(l->plugin->abi_major, CYGNET_ABI_MAJOR);
	ck_assert_str_eq(l->plugin->name, name);
	l->host = h;
	h->n++;
	ck_assert_int_eq(l->plugin->init(&h->table, l, &l->state), CY_OK);
}

struct crypto_host *crypto_host_new(const char *plugins, const char *prefer)
{
	struct crypto_host *h = calloc(1, sizeof(*h));
	char names[64], *rest = names, *name;

	ck_assert_ptr_nonnull(h);
	h->table = (struct cy_host){
	    .size = sizeof(h->table),
	    .abi_major = CYGNET_ABI_MAJOR,
	    .abi_minor = CYGNET_ABI_MINOR,
	    .log = host_log,
	    .log_on = host_log_on,
	    .setting = host_setting,
	    .provide = host_provide,
	    .random = host_random,
	    .hash = host_hash,
	};
	ck_assert_int_eq(crypto_new(NULL, &h->crypto), CY_OK);
	if (prefer)
		ck_assert_int_eq(crypto_prefer(h->crypto, 0, prefer), CY_OK);
	(void)snprintf(names, sizeof(names), "%s", plugins);
	while ((name = strsep(&rest, " "))) {
		if (!was_built(name)) {
			crypto_host_free(h);
			return NULL;
		}
		load(h, name);
	}
	return h;
}

struct crypto *crypto_host_crypto(struct crypto_host *h)
{
	return h->crypto;
}

size_t crypto_host_refused(const struct crypto_host *h)
{
	return h->refused;
}

void crypto_host_free(struct crypto_host *h)
{
	crypto_free(h->crypto);
	while (h->n) {
		struct loaded *l = &h->loaded[--h->n];

		l->plugin->fini(l->state);
	}
	free(h);
}
