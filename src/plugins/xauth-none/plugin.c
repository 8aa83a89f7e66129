/* SPDX-License-Identifier: Apache-2.0 */
/* XAUTH that lets everybody in: for clients that insist on asking, where the IKE_SA itself is proof enough. */

#include "config.h"

#include <cygnet/plugin.h>

static void begin(void *plugin, const struct cy_xauth_login *l)
{
	const struct cy_xauth_answer a = {
	    .size = sizeof(a), .result = CY_XAUTH_OK, .message = "", .reason = "", .pool = "", .group = ""};

	(void)plugin;
	l->answer(l->to, l->id, &a);
}

static void reply(void *plugin, uint64_t id, struct cy_slice answer)
{
	/* it never asks */
	(void)plugin;
	(void)id;
	(void)answer;
}

static const struct cy_xauth_ops ops = {.size = sizeof(ops), .name = "none", .begin = begin, .reply = reply};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	enum cy_err e = host->provide(self, CY_KIND_XAUTH, &ops, NULL);

	if (e && e != CY_E_EXISTS)
		return e;
	*out_plugin = NULL;
	return CY_OK;
}

static void fini(void *plugin)
{
	(void)plugin;
}

static const struct cy_feature features[] = {
    {CY_PROVIDES, "xauth:none"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "xauth-none",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
};
