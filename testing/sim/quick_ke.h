/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key exchange that remembers: in simulations and fuzz targets nearly all time would go into X25519. Private values come from a
 * small pool, and what was computed once is looked up from then on. The results are the real ones. One thread.
 */
#ifndef TESTING_SIM_QUICK_KE_H
#define TESTING_SIM_QUICK_KE_H

#include "daemon/core/daemon.h"

struct quick_ke;

/*
 * Stands for a daemon's X25519 from now on, before its first SA; its settings say crypto_prefer = "quick openssl". NULL: it has
 * none. Freed after the daemon.
 */
struct quick_ke *quick_ke_new(struct daemon *d, bool slow /* it is work for the pool */);
void quick_ke_free(struct quick_ke *q);
void quick_ke_slow(struct quick_ke *q, bool slow);     /* it is from now on, or no longer */
void quick_ke_seed(struct quick_ke *q, uint32_t seed); /* the same keys from here on */

#endif
