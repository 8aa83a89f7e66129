/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"
#include "store.h"

#include <stdlib.h>

#define DEFAULT_DATABASE STATEDIR "/leases.db"

static const struct cy_lease_store_ops ops = {
    .size = sizeof(ops),
    .name = "sqlite",
    .load = store_load,
    .save = store_save,
    .drop = store_drop,
};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct store *s = calloc(1, sizeof(*s));
	int64_t busy = host->setting_int(self, "busy_timeout", 2000);
	enum cy_err e;

	if (!s)
		return CY_E_NOMEM;
	s->host = host;
	s->self = self;
	/* Without its file the daemon runs as well, it only forgets leases at its end: the reason is in the log. */
	e = store_open(s, host->setting(self, "database", DEFAULT_DATABASE),
	    (int)(busy < 0         ? 0
	            : busy > 60000 ? 60000
	                           : busy));
	if (!e)
		e = host->provide(self, CY_KIND_LEASES, &ops, s);
	if (e && e != CY_E_EXISTS) {
		store_close(s);
		free(s);
		return e;
	}
	*out_plugin = s;
	return CY_OK;
}

static void fini(void *plugin)
{
	struct store *s = plugin;

	store_close(s);
	free(s);
}

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "attr-sqlite.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct cy_feature features[] = {
    {CY_PROVIDES, "leases"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "attr-sqlite",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .options = options,
};
