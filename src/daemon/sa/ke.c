/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sa/ke.h"

#include <stdlib.h>

#include "libcore/base/secret.h"
#include "libcore/run/usage.h"

struct ike_ke *ike_ke_new(const struct cy_ke_alg *alg, void *take_key, struct cy_slice peer)
{
	struct ike_ke *k = calloc(1, sizeof(*k));

	if (!k) {
		if (take_key)
			alg->key_free(take_key);
		return NULL;
	}
	k->alg = alg;
	k->key = take_key;
	if (peer.n && peer.n <= sizeof(k->peer)) {
		memcpy(k->peer, peer.p, peer.n);
		k->n_peer = peer.n;
	}
	return k;
}

void ike_ke_free(void *arg)
{
	struct ike_ke *k = arg;

	if (!k)
		return;
	if (k->key)
		k->alg->key_free(k->key);
	mem_wipe(k->secret, sizeof(k->secret));
	free(k);
}

enum cy_err ike_ke_run(void *arg)
{
	struct ike_ke *k = arg;
	uint64_t begun = usage_op_begin(USAGE_KEYGEN);
	enum cy_err e;

	if (!k->key) {
		e = k->alg->keygen(k->alg, &k->key, k->pub);
		usage_op_end(USAGE_KEYGEN, k->alg->id, begun);
		if (e)
			return e;
		begun = usage_op_begin(USAGE_DERIVE);
	}
	if (!k->n_peer)
		return CY_OK;
	if (k->n_peer != k->alg->public_len)
		return CY_E_INVAL;
	e = k->alg->derive(k->key, cy_slice(k->peer, k->n_peer), k->secret);
	usage_op_end(USAGE_DERIVE, k->alg->id, begun);
	if (!e)
		k->n_secret = k->alg->secret_len;
	return e;
}

bool ike_ke_slow(const struct cy_ke_alg *alg)
{
	return alg->flags & CY_KE_SLOW;
}
