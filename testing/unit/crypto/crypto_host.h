/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a registry filled from the plugins that were built, without the daemon's loader. One thread. The caller
 * ends it with crypto_host_free().
 */
#ifndef CRYPTO_HOST_H
#define CRYPTO_HOST_H

#include "libcore/crypto/registry.h"

struct crypto_host;

/* plugins: names with blanks between, in this order ("openssl gmp"); prefer: for crypto_prefer(), or NULL. Fails the
   test when one that was built does not load; NULL when one was not built. */
struct crypto_host *crypto_host_new(const char *plugins, const char *prefer);
struct crypto *crypto_host_crypto(struct crypto_host *h);
void crypto_host_free(struct crypto_host *h);
/* What a plugin registered that the registry refused. */
size_t crypto_host_refused(const struct crypto_host *h);

#endif
