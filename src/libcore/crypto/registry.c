/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/crypto/registry.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/err.h"
#include "libcore/crypto/kat.h"
#include "libcore/crypto/proposal.h"
#include "libcore/run/usage.h"

#define MAX_PREFERENCES 16

/* One registered algorithm. Of the same kind and number, the one to use comes first. */
struct entry {
	enum cy_kind kind;
	uint16_t id;
	size_t rank; /* place in the preferences, MAX_PREFERENCES without one */
	const void *ops;
	char *plugin;
};

struct crypto {
	struct log *log;
	struct entry *entries;
	size_t n, cap;
	struct {
		enum cy_kind kind;
		char *plugin;
	} prefer[MAX_PREFERENCES];
	size_t n_prefer;
};

static const struct name hash_names[] = {
    {CY_HASH_SHA1, "SHA1"},
    {CY_HASH_SHA2_256, "SHA2_256"},
    {CY_HASH_SHA2_384, "SHA2_384"},
    {CY_HASH_SHA2_512, "SHA2_512"},
    {CY_HASH_IDENTITY, "IDENTITY"},
    {CY_HASH_MD5, "MD5"},
    {0, NULL},
};
static const struct name mac_names[] = {
    {CY_MAC_HMAC_MD5, "HMAC_MD5"},
    {CY_MAC_HMAC_SHA1, "HMAC_SHA1"},
    {CY_MAC_HMAC_SHA2_256, "HMAC_SHA2_256"},
    {CY_MAC_HMAC_SHA2_384, "HMAC_SHA2_384"},
    {CY_MAC_HMAC_SHA2_512, "HMAC_SHA2_512"},
    {CY_MAC_AES_XCBC, "AES_XCBC"},
    {CY_MAC_AES_CMAC, "AES_CMAC"},
    {0, NULL},
};
static const struct name no_names[] = {{0, NULL}};

static const struct name *names_of(enum cy_kind kind)
{
	switch (kind) {
	case CY_KIND_CIPHER:
		return encr_names;
	case CY_KIND_HASH:
		return hash_names;
	case CY_KIND_MAC:
		return mac_names;
	case CY_KIND_KE:
		return ke_names;
	default:
		return no_names;
	}
}

static const char *entry_name(const struct entry *e)
{
	if (e->kind == CY_KIND_PKI)
		return ((const struct cy_pki_ops *)e->ops)->name;
	return name_or_number(names_of(e->kind), e->id);
}

enum cy_err crypto_new(struct log *log, struct crypto **out)
{
	struct crypto *c = calloc(1, sizeof(*c));

	if (!c)
		return CY_E_NOMEM;
	c->log = log;
	*out = c;
	return CY_OK;
}

void crypto_free(struct crypto *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->entries[i].plugin);
	for (size_t i = 0; i < c->n_prefer; i++)
		free(c->prefer[i].plugin);
	free(c->entries);
	free(c);
}

enum cy_err crypto_prefer(struct crypto *c, enum cy_kind kind, const char *plugin)
{
	if (c->n_prefer == MAX_PREFERENCES)
		return CY_E_LIMIT;
	c->prefer[c->n_prefer].plugin = strdup(plugin);
	if (!c->prefer[c->n_prefer].plugin)
		return CY_E_NOMEM;
	c->prefer[c->n_prefer++].kind = kind;
	return CY_OK;
}

/* A preference for all kinds counts with the others in the order in which they were given. */
static size_t rank_of(const struct crypto *c, enum cy_kind kind, const char *plugin)
{
	for (size_t i = 0; i < c->n_prefer; i++)
		if ((!c->prefer[i].kind || c->prefer[i].kind == kind) &&
		    strcmp(c->prefer[i].plugin, plugin) == 0)
			return i;
	return MAX_PREFERENCES;
}

/* The number of the algorithm, after its size, which every table has in the same place. */
static bool read_id(enum cy_kind kind, const void *ops, uint16_t *out_id)
{
	switch (kind) {
	case CY_KIND_CIPHER:
		*out_id = ((const struct cy_cipher_alg *)ops)->id;
		return true;
	case CY_KIND_HASH:
		*out_id = ((const struct cy_hash_alg *)ops)->id;
		return true;
	case CY_KIND_MAC:
		*out_id = ((const struct cy_mac_alg *)ops)->id;
		return true;
	case CY_KIND_KE:
		*out_id = ((const struct cy_ke_alg *)ops)->id;
		return true;
	case CY_KIND_PKI:
		*out_id = 0;
		return true;
	default:
		return false;
	}
}

static const struct entry *find(const struct crypto *c, enum cy_kind kind, uint16_t id)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i].kind == kind && c->entries[i].id == id)
			return &c->entries[i];
	return NULL;
}

static enum cy_err insert(struct crypto *c, const struct entry *e, bool *out_first)
{
	size_t at = c->n;

	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		struct entry *p = realloc(c->entries, cap * sizeof(*p));

		if (!p)
			return CY_E_NOMEM;
		c->entries = p;
		c->cap = cap;
	}
	*out_first = true;
	for (size_t i = 0; i < c->n; i++) {
		if (c->entries[i].kind != e->kind || c->entries[i].id != e->id)
			continue;
		if (e->rank < c->entries[i].rank) {
			at = i;
			break;
		}
		*out_first = false;
	}
	memmove(&c->entries[at + 1], &c->entries[at], (c->n - at) * sizeof(*e));
	c->entries[at] = *e;
	c->n++;
	return CY_OK;
}

enum cy_err crypto_register(struct crypto *c, enum cy_kind kind, const void *ops, const char *plugin)
{
	struct entry e = {.kind = kind, .ops = ops};
	const char *why = "not an algorithm";
	enum cy_err err;
	bool first;

	if (!ops || !read_id(kind, ops, &e.id))
		return CY_E_INVAL;
	err = kat_run(kind, ops, &why);
	if (err != CY_OK) {
		if (c->log)
			LOGF(c->log, LOG_LIB, CY_LOG_ERROR, NULL, "%s of plugin %s refused: %s",
			    entry_name(&e), plugin, err == CY_E_NOMEM ? err_text(err) : why);
		return err;
	}
	e.rank = rank_of(c, kind, plugin);
	e.plugin = strdup(plugin);
	if (!e.plugin)
		return CY_E_NOMEM;
	err = insert(c, &e, &first);
	if (err != CY_OK) {
		free(e.plugin);
		return err;
	}
	return first ? CY_OK : CY_E_EXISTS;
}

static bool has_key_bits(const struct cy_cipher_alg *alg, uint16_t key_bits)
{
	/* without a key length attribute: ciphers that have only one (RFC 7296, 3.3.5) */
	if (key_bits == 0)
		return alg->n_key_bits == 1;
	for (int i = 0; i < alg->n_key_bits; i++)
		if (alg->key_bits[i] == key_bits)
			return true;
	return false;
}

const struct cy_cipher_alg *crypto_cipher(const struct crypto *c, uint16_t encr, uint16_t key_bits)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct entry *e = &c->entries[i];

		if (e->kind == CY_KIND_CIPHER && e->id == encr && has_key_bits(e->ops, key_bits))
			return e->ops;
	}
	return NULL;
}

const struct cy_hash_alg *crypto_hash(const struct crypto *c, uint16_t hash)
{
	const struct entry *e = find(c, CY_KIND_HASH, hash);

	return e ? e->ops : NULL;
}

const struct cy_mac_alg *crypto_mac(const struct crypto *c, uint16_t mac)
{
	const struct entry *e = find(c, CY_KIND_MAC, mac);

	return e ? e->ops : NULL;
}

const struct cy_ke_alg *crypto_ke(const struct crypto *c, uint16_t ke)
{
	const struct entry *e = find(c, CY_KIND_KE, ke);

	return e ? e->ops : NULL;
}

/* Objects of two providers do not mix, so one that can decode certificates goes before one that cannot. */
const struct cy_pki_ops *crypto_pki(const struct crypto *c)
{
	const struct cy_pki_ops *first = NULL;

	for (size_t i = 0; i < c->n; i++) {
		const struct cy_pki_ops *pki = c->entries[i].ops;

		if (c->entries[i].kind != CY_KIND_PKI)
			continue;
		if (pki->cert_load)
			return pki;
		if (!first)
			first = pki;
	}
	return first;
}

const struct cy_pki_ops *crypto_pki_of(const struct crypto *c, const char *plugin)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i].kind == CY_KIND_PKI && strcmp(c->entries[i].plugin, plugin) == 0)
			return c->entries[i].ops;
	return NULL;
}

/* --- transforms made of MACs --- */

static const struct {
	uint16_t prf, mac, key_len;
} prfs[] = {
    {CY_PRF_HMAC_MD5, CY_MAC_HMAC_MD5, 16},
    {CY_PRF_HMAC_SHA1, CY_MAC_HMAC_SHA1, 20},
    {CY_PRF_HMAC_SHA2_256, CY_MAC_HMAC_SHA2_256, 32},
    {CY_PRF_HMAC_SHA2_384, CY_MAC_HMAC_SHA2_384, 48},
    {CY_PRF_HMAC_SHA2_512, CY_MAC_HMAC_SHA2_512, 64},
    {CY_PRF_AES128_XCBC, CY_MAC_AES_XCBC, 16},
    {CY_PRF_AES128_CMAC, CY_MAC_AES_CMAC, 16},
};

/* RFC 2403, 2404, 3566, 4494, 4868. */
static const struct {
	uint16_t integ, mac, key_len, icv_len;
} integs[] = {
    {CY_INTEG_HMAC_MD5_96, CY_MAC_HMAC_MD5, 16, 12},
    {CY_INTEG_HMAC_SHA1_96, CY_MAC_HMAC_SHA1, 20, 12},
    {CY_INTEG_AES_XCBC_96, CY_MAC_AES_XCBC, 16, 12},
    {CY_INTEG_AES_CMAC_96, CY_MAC_AES_CMAC, 16, 12},
    {CY_INTEG_HMAC_SHA2_256_128, CY_MAC_HMAC_SHA2_256, 32, 16},
    {CY_INTEG_HMAC_SHA2_384_192, CY_MAC_HMAC_SHA2_384, 48, 24},
    {CY_INTEG_HMAC_SHA2_512_256, CY_MAC_HMAC_SHA2_512, 64, 32},
    {CY_INTEG_HMAC_SHA2_256_96, CY_MAC_HMAC_SHA2_256, 32, 12},
};

bool crypto_prf(const struct crypto *c, uint16_t prf, struct prf_info *out)
{
	for (size_t i = 0; i < ARRAY_LEN(prfs); i++) {
		const struct cy_mac_alg *mac;

		if (prfs[i].prf != prf)
			continue;
		mac = crypto_mac(c, prfs[i].mac);
		if (!mac)
			return false;
		*out = (struct prf_info){mac, prfs[i].key_len, mac->len};
		return true;
	}
	return false;
}

bool crypto_integ(const struct crypto *c, uint16_t integ, struct integ_info *out)
{
	for (size_t i = 0; i < ARRAY_LEN(integs); i++) {
		const struct cy_mac_alg *mac;

		if (integs[i].integ != integ)
			continue;
		mac = crypto_mac(c, integs[i].mac);
		if (!mac)
			return false;
		*out = (struct integ_info){mac, integs[i].key_len, integs[i].icv_len};
		return true;
	}
	return false;
}

/*
 * Key a context for use as a PRF. HMAC takes any key. AES-XCBC: a shorter key is padded with zeros, a longer one
 * becomes its XCBC under the zero key (RFC 4434, 2); AES-CMAC: every other length becomes its CMAC under the zero key
 * (RFC 4615, 3).
 */
static enum cy_err prf_key(const struct cy_mac_alg *mac, void *ctx, struct cy_slice key)
{
	uint8_t fixed[CY_MAX_MAC_LEN] = {0};
	enum cy_err err = CY_OK;

	if (mac->key_len == 0 || key.n == mac->key_len)
		return mac->ctx_key(ctx, key);
	if (mac->id == CY_MAC_AES_XCBC && key.n < mac->key_len) {
		if (key.n)
			memcpy(fixed, key.p, key.n);
	} else {
		err = mac->ctx_key(ctx, cy_slice(fixed, mac->key_len));
		if (err == CY_OK)
			err = mac->mac(ctx, &key, 1, fixed);
	}
	if (err == CY_OK)
		err = mac->ctx_key(ctx, cy_slice(fixed, mac->key_len));
	mem_wipe(fixed, sizeof(fixed));
	return err;
}

static enum cy_err prf_open(
    const struct crypto *c, uint16_t prf, struct cy_slice key, struct prf_info *out_info, void **out_ctx)
{
	enum cy_err err;

	if (!crypto_prf(c, prf, out_info))
		return CY_E_UNSUPPORTED;
	err = out_info->mac->ctx_new(out_info->mac, out_ctx);
	if (err != CY_OK)
		return err;
	err = prf_key(out_info->mac, *out_ctx, key);
	if (err != CY_OK)
		out_info->mac->ctx_free(*out_ctx);
	return err;
}

enum cy_err prf_compute(const struct crypto *c, uint16_t prf, struct cy_slice key, const struct cy_slice *in,
    size_t n_in, uint8_t *out)
{
	uint64_t begun = usage_op_begin(USAGE_PRF);
	struct prf_info info;
	void *ctx;
	enum cy_err err = prf_open(c, prf, key, &info, &ctx);

	if (err != CY_OK)
		return err;
	err = info.mac->mac(ctx, in, n_in, out);
	info.mac->ctx_free(ctx);
	usage_op_end(USAGE_PRF, prf, begun);
	return err;
}

/* prf+ (K, S) = T1 | T2 | ..., T1 = prf(K, S | 1), Tn = prf(K, Tn-1 | S | n). */
enum cy_err prf_plus(const struct crypto *c, uint16_t prf, struct cy_slice key, const struct cy_slice *seed,
    size_t n_seed, uint8_t *out, size_t out_len)
{
	struct cy_slice in[2 + 8];
	uint8_t block[CY_MAX_MAC_LEN], count = 0;
	uint64_t begun = usage_op_begin(USAGE_PRF);
	struct prf_info info;
	size_t done = 0;
	void *ctx;
	enum cy_err err;

	if (n_seed > ARRAY_LEN(in) - 2)
		return CY_E_INVAL;
	err = prf_open(c, prf, key, &info, &ctx);
	if (err != CY_OK)
		return err;
	if (out_len > (size_t)255 * info.out_len)
		err = CY_E_LIMIT;
	in[0] = cy_slice(NULL, 0);
	if (n_seed)
		memcpy(&in[1], seed, n_seed * sizeof(*seed));
	in[1 + n_seed] = cy_slice(&count, 1);
	while (err == CY_OK && done < out_len) {
		size_t n = out_len - done < info.out_len ? out_len - done : info.out_len;

		count++;
		err = info.mac->mac(ctx, in, 2 + n_seed, block);
		if (err != CY_OK)
			break;
		memcpy(out + done, block, n);
		done += n;
		in[0] = cy_slice(block, info.out_len);
	}
	mem_wipe(block, sizeof(block));
	info.mac->ctx_free(ctx);
	usage_op_end(USAGE_PRF, prf, begun);
	return err;
}

enum cy_err hash_compute(
    const struct crypto *c, uint16_t hash, const struct cy_slice *in, size_t n_in, uint8_t *out)
{
	const struct cy_hash_alg *alg = crypto_hash(c, hash);

	return alg ? alg->digest(alg, in, n_in, out) : CY_E_UNSUPPORTED;
}

void crypto_list(const struct crypto *c, void (*cb)(void *user, const struct crypto_listing *l), void *user)
{
	static const enum cy_kind kinds[] = {
	    CY_KIND_CIPHER, CY_KIND_HASH, CY_KIND_MAC, CY_KIND_KE, CY_KIND_PKI};

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (size_t i = 0; i < c->n; i++) {
			const struct entry *e = &c->entries[i];

			if (e->kind != kinds[k])
				continue;
			cb(user,
			    &(struct crypto_listing){
			        .kind = e->kind,
			        .id = e->id,
			        .name = entry_name(e),
			        .plugin = e->plugin,
			        .chosen = e->kind == CY_KIND_PKI ? e->ops == crypto_pki(c)
			                                         : find(c, e->kind, e->id) == e,
			    });
		}
	}
}
