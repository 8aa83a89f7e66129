/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "gmp_plugin.h"

static void fini(void *state)
{
	struct gmp *g = state;

	gmp_rsa_fini(g);
	gmp_modp_fini(g);
	free(g);
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct gmp *g = calloc(1, sizeof(*g));

	if (!g)
		return CY_E_NOMEM;
	g->host = host;
	g->self = self;
	host->log(self, CY_LOG_INFO, "using GMP %s", gmp_version);
	gmp_modp_init(g);
	gmp_rsa_init(g);
	/* without a plugin that hashes there is no RSA, and that is no failure of this one */
	if (CY_HAS(host, hash) && host->hash && host->hash(self, CY_HASH_SHA1))
		(void)!host->provide(self, CY_KIND_PKI, &gmp_pki, g);
	*out_plugin = g;
	return CY_OK;
}

static const struct cy_feature features[] = {
    {CY_PROVIDES, "ke:modp"},
    {CY_PROVIDES, "rsa"},
    {CY_SOFT_NEEDS, "hash:sha1"},
    {CY_SOFT_NEEDS, "hash:sha2"},
    {CY_FEATURE_END, NULL},
};

extern const struct cy_plugin cygnet_plugin;
CYGNET_PLUGIN_EXPORT const struct cy_plugin cygnet_plugin = {
    .size = sizeof(struct cy_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "gmp",
    .version = "1.0",
    .features = features,
    .init = init,
    .fini = fini,
};
