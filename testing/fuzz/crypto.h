/* SPDX-License-Identifier: Apache-2.0 */
/* The registry, filled from the openssl plugin of the build folder that the target lies in. One thread. */
#ifndef FUZZ_CRYPTO_H
#define FUZZ_CRYPTO_H

#include "libcore/crypto/registry.h"

/* Made at the first call; NULL when the plugin was not built. Lives until the end. */
struct crypto *fuzz_crypto(void);

#endif
