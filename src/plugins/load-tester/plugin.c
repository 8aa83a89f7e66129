/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key exchange for load tests: key pairs come from a small pool and are used again and again, so that a load generator costs less than
 * what it tests. Another plugin does the mathematics. With the default setting it does nothing: nobody who wants secrecy may use
 * it, and it is preferred only where "crypto_prefer" names it first, as `ipsec load-test --reuse-keys` does.
 */

#include "config.h"

#include <cygnet/plugin.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MAX_KEYS 4096

struct slot {
	void *key; /* of the other plugin */
	uint8_t *public;
};

struct reuse {
	struct cy_ke_alg alg; /* first: what the daemon hands back */
	const struct cy_ke_alg *base;
	struct slot *slots;
	uint32_t n;
	atomic_uint next;
};

/* The daemon's key: one of the pool's, or one of its own (known-answer tests). */
struct key {
	const struct cy_ke_alg *base;
	void *key;
	bool own;
};

struct tester {
	const struct cy_host *host;
	void *self;
	struct reuse ke[3];
};

static enum cy_err wrap(const struct cy_ke_alg *base, void *inner, bool own, void **out_key)
{
	struct key *k = malloc(sizeof(*k));

	if (!k) {
		if (own)
			base->key_free(inner);
		return CY_E_NOMEM;
	}
	*k = (struct key){base, inner, own};
	*out_key = k;
	return CY_OK;
}

static enum cy_err keygen(const struct cy_ke_alg *alg, void **out_key, uint8_t *out_public)
{
	struct reuse *r = (struct reuse *)alg;
	const struct slot *s = &r->slots[atomic_fetch_add(&r->next, 1) % r->n];

	memcpy(out_public, s->public, alg->public_len);
	return wrap(r->base, s->key, false, out_key);
}

static enum cy_err derive(void *key, struct cy_slice peer, uint8_t *out_secret)
{
	struct key *k = key;

	return k->base->derive(k->key, peer, out_secret);
}

static void key_free(void *key)
{
	struct key *k = key;

	if (k && k->own)
		k->base->key_free(k->key);
	free(k);
}

static enum cy_err from_private(
    const struct cy_ke_alg *alg, struct cy_slice priv, void **out_key, uint8_t *out_public)
{
	const struct cy_ke_alg *base = ((const struct reuse *)alg)->base;
	void *inner;
	enum cy_err err = base->key_from_private(base, priv, &inner, out_public);

	return err ? err : wrap(base, inner, true, out_key);
}

static void reuse_fini(struct reuse *r)
{
	for (uint32_t i = 0; r->slots && i < r->n; i++) {
		if (r->slots[i].key)
			r->base->key_free(r->slots[i].key);
		free(r->slots[i].public);
	}
	free(r->slots);
}

static enum cy_err reuse_init(struct reuse *r, const struct cy_ke_alg *base, uint32_t n)
{
	enum cy_err err = CY_OK;

	r->base = base;
	r->n = n;
	r->slots = calloc(n, sizeof(*r->slots));
	if (!r->slots)
		return CY_E_NOMEM;
	for (uint32_t i = 0; i < n && !err; i++) {
		r->slots[i].public = malloc(base->public_len);
		err = r->slots[i].public ? base->keygen(base, &r->slots[i].key, r->slots[i].public)
		                         : CY_E_NOMEM;
	}
	r->alg = *base;
	r->alg.size = sizeof(r->alg);
	/* no longer slow: half of the work is done */
	r->alg.flags &= (uint16_t)~CY_KE_SLOW;
	r->alg.keygen = keygen;
	r->alg.derive = derive;
	r->alg.key_free = key_free;
	r->alg.key_from_private = base->key_from_private ? from_private : NULL;
	return err;
}

static void fini(void *plugin)
{
	struct tester *t = plugin;

	for (size_t i = 0; i < sizeof(t->ke) / sizeof(t->ke[0]); i++)
		reuse_fini(&t->ke[i]);
	free(t);
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	static const uint16_t ids[] = {CY_KE_X25519, CY_KE_MODP_2048, CY_KE_ECP_256};
	int64_t n = host->setting_int(self, "reuse_keys", 0);
	struct tester *t = calloc(1, sizeof(*t));
	enum cy_err err = CY_OK;

	if (!t)
		return CY_E_NOMEM;
	t->host = host;
	t->self = self;
	for (size_t i = 0; n > 0 && CY_HAS(host, ke) && i < sizeof(ids) / sizeof(ids[0]) && !err; i++) {
		const struct cy_ke_alg *base = host->ke(self, ids[i]);

		if (!base)
			continue;
		err = reuse_init(&t->ke[i], base, n < MAX_KEYS ? (uint32_t)n : MAX_KEYS);
		if (!err)
			(void)!host->provide(self, CY_KIND_KE, &t->ke[i].alg, &t->ke[i]);
	}
	if (err) {
		fini(t);
		return err;
	}
	if (n > 0)
		host->log(self, CY_LOG_NOTICE, "key pairs are used again and again: for load tests only");
	*out_plugin = t;
	return CY_OK;
}

static const struct cy_feature features[] = {
    {CY_NEEDS, "ke:x25519"},
    {CY_SOFT_NEEDS, "ke:modp"},
    {CY_SOFT_NEEDS, "ke:ecp"},
    {CY_FEATURE_END, NULL},
};

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "load-tester.opt"
    {0}};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "load-tester",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .options = options,
};
