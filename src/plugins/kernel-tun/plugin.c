/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"
#include "kernel.h"
#include "ops.h"

#include <stdlib.h>

static void fini(void *plugin)
{
	struct plugin *p = plugin;

	pthread_mutex_destroy(&p->guard);
	free(p);
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct plugin *p = calloc(1, sizeof(*p));
	enum cy_err err;

	if (!p)
		return CY_E_NOMEM;
	p->host = host;
	p->self = self;
	pthread_mutex_init(&p->guard, NULL);
	err = host->provide(self, CY_KIND_KERNEL, &kernel_ops, p);
	if (err != CY_OK) {
		fini(p);
		return err;
	}
	*out_plugin = p;
	return CY_OK;
}

static const struct cy_feature features[] = {
    {CY_PROVIDES, "kernel"},
    {CY_SOFT_NEEDS, "socket"},
    {CY_FEATURE_END, NULL},
};

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "kernel-tun.opt"
    {0}};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "kernel-tun",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .options = options,
};
