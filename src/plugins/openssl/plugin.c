/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/opensslv.h>

#include "ossl.h"
#include "pki.h"

void ossl_provide(struct ossl *o, enum cy_kind kind, const void *ops)
{
	enum cy_err err = o->host->provide(o->self, kind, ops, o);

	/* a second choice is no failure; a refusal is logged where it was decided */
	if (err != CY_OK && err != CY_E_EXISTS)
		o->host->log(o->self, CY_LOG_DEBUG,
		    "an algorithm of OpenSSL was not accepted (kind %d, error %d)", (int)kind, (int)err);
}

static void fini(void *plugin)
{
	struct ossl *o = plugin;

	ossl_kes_fini(o);
	ossl_macs_fini(o);
	ossl_hashes_fini(o);
	ossl_ciphers_fini(o);
	free(o);
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct ossl *o = calloc(1, sizeof(*o));
	size_t at = 0;

	if (!o)
		return CY_E_NOMEM;
	o->host = host;
	o->self = self;
	host->log(self, CY_LOG_INFO, "using %s", OpenSSL_version(OPENSSL_VERSION));
	ossl_ciphers_init(o);
	ossl_hashes_init(o);
	ossl_macs_init(o);
	ossl_x_init(o, &at);
	ossl_ec_init(o, &at);
	ossl_modp_init(o, &at);
	ossl_provide(o, CY_KIND_PKI, &ossl_pki);
	ERR_clear_error();
	*out_plugin = o;
	return CY_OK;
}

static const struct cy_feature features[] = {
    {CY_PROVIDES, "cipher:aes-gcm"},
    {CY_PROVIDES, "cipher:aes-ccm"},
    {CY_PROVIDES, "cipher:aes-cbc"},
    {CY_PROVIDES, "cipher:aes-ctr"},
    {CY_PROVIDES, "cipher:aes-gmac"},
    {CY_PROVIDES, "cipher:chacha20-poly1305"},
    {CY_PROVIDES, "cipher:camellia-cbc"},
    {CY_PROVIDES, "cipher:3des"},
    {CY_PROVIDES, "cipher:null"},
    {CY_PROVIDES, "hash:sha1"},
    {CY_PROVIDES, "hash:sha2"},
    {CY_PROVIDES, "hash:md5"},
    {CY_PROVIDES, "mac:hmac"},
    {CY_PROVIDES, "mac:aes-xcbc"},
    {CY_PROVIDES, "mac:aes-cmac"},
    {CY_PROVIDES, "ke:modp"},
    {CY_PROVIDES, "ke:ecp"},
    {CY_PROVIDES, "ke:x25519"},
    {CY_PROVIDES, "ke:x448"},
    {CY_PROVIDES, "pki"},
    {CY_FEATURE_END, NULL},
};

extern const struct cy_plugin cygnet_plugin;
CYGNET_PLUGIN_EXPORT const struct cy_plugin cygnet_plugin = {
    .size = sizeof(struct cy_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "openssl",
    .version = "1.0",
    .features = features,
    .init = init,
    .fini = fini,
};
