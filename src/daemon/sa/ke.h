/* SPDX-License-Identifier: Apache-2.0 */
/* A key exchange that both versions of IKE run, at once or on the pool. One thread at a time. */
#ifndef DAEMON_SA_KE_H
#define DAEMON_SA_KE_H

#include <cygnet/crypto.h>

/* A key exchange run, perhaps on the pool. */
struct ike_ke {
	const struct cy_ke_alg *alg;
	void *key; /* made when NULL */
	uint8_t pub[CY_MAX_KE_PUBLIC];
	uint8_t peer[CY_MAX_KE_PUBLIC];
	size_t n_peer; /* 0: only make a key pair */
	uint8_t secret[CY_MAX_KE_SECRET];
	size_t n_secret;
	void *user;
};
struct ike_ke *ike_ke_new(const struct cy_ke_alg *alg, void *take_key, struct cy_slice peer) CY_MUST_USE;
void ike_ke_free(void *ke); /* wipes */
enum cy_err ike_ke_run(void *ke);
bool ike_ke_slow(const struct cy_ke_alg *alg);

#endif
