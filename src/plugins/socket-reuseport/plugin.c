/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"
#include "steer.h"

#include "plugins/socket-default/sockets.h"

#include <errno.h>
#include <stdlib.h>

/* One program a group: a group is what has the same family and port. */
static void steer(struct sockets *s, const struct cy_socket_config *cfg)
{
	struct plugin *p = s->plugin;

	if (!p->host->setting_bool(p->self, "steer", true) || s->n_lanes < 2)
		return;
	for (size_t i = 0; i < s->lane[0].n; i++) {
		const struct sock *k = &s->lane[0].sock[i];

		if (!steer_attach(k->fd, s->n_lanes, cfg->steer_key, k->natt))
			p->host->log(p->self, CY_LOG_WARN,
			    "UDP port %u: the kernel takes no program (%s): datagrams are spread by address "
			    "and "
			    "forwarded to the worker that owns them",
			    k->port, strerror(errno));
	}
}

static enum cy_err group_open(
    void *plugin, const struct cy_socket_config *cfg, void **out_s, uint32_t *out_lanes)
{
	struct plugin *p = plugin;
	struct sockets *s;
	enum cy_err err;

	if (!CY_HAS(cfg, steer_key) || cfg->n_lanes == 0)
		return CY_E_INVAL;
	err = sockets_open_group(p, cfg, cfg->n_lanes, &s);
	if (err)
		return err;
	steer(s, cfg);
	sockets_announce(s, cfg);
	/* Closing a socket of a group gives another one its number: the group stays as it is until the end. */
	p->host->log(p->self, CY_LOG_INFO,
	    "%u sockets for each port, one a worker, with receive buffers of %u bytes; their number changes "
	    "by a "
	    "restart only",
	    s->n_lanes, s->lane[0].sock[0].rcvbuf);
	*out_s = s;
	*out_lanes = s->n_lanes;
	return CY_OK;
}

static const struct cy_socket_ops ops = {
    .size = sizeof(ops),
    .name = "socket-reuseport",
    .open = group_open,
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
#include "socket-reuseport.opt"
    {0}};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "socket-reuseport",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .options = options,
};
