/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"
#include "sockets.h"

#include <stdlib.h>

static const struct cy_socket_ops ops = {
    .size = sizeof(ops),
    .name = "socket-default",
    .open = sockets_open,
    .close = sockets_close,
    .fds = sockets_fds,
    .recv = sockets_recv,
    .send = sockets_send,
    .stats = sockets_stats,
    .keep_first = sockets_keep_first,
};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct plugin *p = calloc(1, sizeof(*p));
	enum cy_err err;

	if (!p)
		return CY_E_NOMEM;
	p->host = host;
	p->self = self;
	err = host->provide(self, CY_KIND_SOCKET, &ops, p);
	if (err != CY_OK) {
		free(p);
		return err;
	}
	*out_plugin = p;
	return CY_OK;
}

static void fini(void *plugin)
{
	free(plugin);
}

static const struct cy_feature features[] = {
    {CY_PROVIDES, "socket"},
    {CY_FEATURE_END, NULL},
};

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "socket-default.opt"
    {0}};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "socket-default",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .options = options,
};
