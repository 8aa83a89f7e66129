/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto.h"

#include <dlfcn.h>
#include <unistd.h>

#include "fuzz.h"
#include "libcore/base/env.h"
#include "libcore/base/err.h"

static struct crypto *crypto;

static void host_log(void *self, enum cy_level level, const char *fmt, ...)
{
}

static bool host_log_on(void *self, enum cy_level level)
{
	return false;
}

static const char *host_setting(void *self, const char *key, const char *fallback)
{
	return fallback;
}

static enum cy_err host_provide(void *self, enum cy_kind kind, const void *ops, void *plugin)
{
	return crypto_register(crypto, kind, ops, "openssl");
}

/* Nothing but the input may decide what happens. */
static void host_random(void *self, void *out, size_t n)
{
	memset(out, 0x5a, n);
}

struct crypto *fuzz_crypto(void)
{
	static const struct cy_host host = {.size = sizeof(host),
	    .abi_major = CYGNET_ABI_MAJOR,
	    .abi_minor = CYGNET_ABI_MINOR,
	    .log = host_log,
	    .log_on = host_log_on,
	    .setting = host_setting,
	    .provide = host_provide,
	    .random = host_random};
	static bool tried;
	const struct cy_plugin *plugin;
	char path[4096 + 64];
	ssize_t n;
	void *so, *state;

	if (tried)
		return crypto;
	tried = true;
	n = readlink("/proc/self/exe", path, 4096);
	FUZZ_CHECK(n > 0);
	path[n] = '\0';
	for (int up = 0; up < 3; up++) /* testing/fuzz/fuzz_name */
		*strrchr(path, '/') = '\0';
	(void)strcat(path, "/.libs/cygnet-openssl.so");
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!so) {
		(void)fprintf(stderr, "%s\n", dlerror());
		return NULL;
	}
	plugin = dlsym(so, CYGNET_PLUGIN_SYMBOL);
	FUZZ_CHECK(plugin);
	FUZZ_CHECK(crypto_new(NULL, &crypto) == CY_OK);
	FUZZ_CHECK(plugin->init(&host, NULL, &state) == CY_OK);
	return crypto;
}
