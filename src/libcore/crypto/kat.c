/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/crypto/kat.h"

#include <stdlib.h>

#include "libcore/base/secret.h"

/* What one test needs at most: keys, input, output. */
#define MAX_VECTORS 8

struct bytes {
	uint8_t *p;
	size_t n;
};

/* Memory of one test, so that every way out frees it. */
struct pile {
	uint8_t *p[MAX_VECTORS];
	size_t n;
	bool nomem;
};

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10;
}

bool kat_hex(const char *hex, uint8_t **out, size_t *out_n)
{
	size_t n = strlen(hex) / 2;
	uint8_t *p = malloc(n ? n : 1);

	if (!p)
		return false;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
	*out = p;
	*out_n = n;
	return true;
}

static struct bytes pile_take(struct pile *pile, uint8_t *p, size_t n)
{
	if (!p || pile->n == MAX_VECTORS) {
		free(p);
		pile->nomem = true;
		return (struct bytes){NULL, 0};
	}
	pile->p[pile->n++] = p;
	return (struct bytes){p, n};
}

static struct bytes pile_hex(struct pile *pile, const char *hex)
{
	uint8_t *p = NULL;
	size_t n = 0;

	(void)kat_hex(hex, &p, &n);
	return pile_take(pile, p, n);
}

static struct bytes pile_space(struct pile *pile, size_t n)
{
	return pile_take(pile, calloc(1, n ? n : 1), n);
}

static void pile_fini(struct pile *pile)
{
	while (pile->n)
		free(pile->p[--pile->n]);
}

static struct cy_slice slice(struct bytes b)
{
	return cy_slice(b.p, b.n);
}

static enum cy_err wrong(const char **out_why, const char *why)
{
	*out_why = why;
	return CY_E_AUTH;
}

/* --- ciphers --- */

/* The shorter tags of GCM are the longest one cut off; those of CCM are not (RFC 3610, 2.2). */
static uint16_t vector_id(uint16_t encr)
{
	return encr == CY_ENCR_AES_GCM_8 || encr == CY_ENCR_AES_GCM_12 ? CY_ENCR_AES_GCM_16 : encr;
}

static enum cy_err cipher_pass(const struct cy_cipher_alg *alg, void *ctx, struct bytes nonce,
    struct bytes aad, struct bytes plain, struct bytes crypted, struct bytes tag, struct bytes work,
    const char **out_why)
{
	uint8_t got[16] = {0};

	memcpy(work.p, plain.p, plain.n);
	if (alg->crypt(ctx, slice(nonce), slice(aad), work.p, plain.n, got) != CY_OK)
		return wrong(out_why, "encryption failed");
	if (plain.n && memcmp(work.p, crypted.p, crypted.n) != 0)
		return wrong(out_why, "wrong ciphertext");
	if (alg->aead && memcmp(got, tag.p, alg->icv_len) != 0)
		return wrong(out_why, "wrong ICV");
	return CY_OK;
}

static enum cy_err cipher_back(const struct cy_cipher_alg *alg, void *ctx, struct bytes nonce,
    struct bytes aad, struct bytes plain, struct bytes crypted, struct bytes tag, struct bytes work,
    const char **out_why)
{
	uint8_t given[16] = {0};

	if (alg->aead)
		memcpy(given, tag.p, alg->icv_len);
	memcpy(work.p, crypted.p, crypted.n);
	if (alg->crypt(ctx, slice(nonce), slice(aad), work.p, crypted.n, given) != CY_OK)
		return wrong(out_why, "decryption failed");
	if (plain.n && memcmp(work.p, plain.p, plain.n) != 0)
		return wrong(out_why, "wrong plaintext");
	if (!alg->aead)
		return CY_OK;
	given[alg->icv_len - 1] ^= 1;
	memcpy(work.p, crypted.p, crypted.n);
	if (alg->crypt(ctx, slice(nonce), slice(aad), work.p, crypted.n, given) != CY_E_AUTH)
		return wrong(out_why, "a forged ICV was accepted");
	return CY_OK;
}

static enum cy_err cipher_vector(
    const struct cy_cipher_alg *alg, const struct kat_cipher *v, const char **out_why)
{
	struct pile pile = {0};
	struct bytes key = pile_hex(&pile, v->key), nonce = pile_hex(&pile, v->nonce),
	             aad = pile_hex(&pile, v->aad), plain = pile_hex(&pile, v->plain),
	             crypted = pile_hex(&pile, v->crypted), tag = pile_hex(&pile, v->tag),
	             work = pile_space(&pile, plain.n);
	enum cy_err err = CY_E_NOMEM;
	void *ctx = NULL;

	if (pile.nomem)
		goto out;
	if (tag.n < alg->icv_len || nonce.n != (size_t)alg->salt_len + alg->iv_len) {
		*out_why = "wrong lengths in its table";
		err = CY_E_INVAL;
		goto out;
	}
	err = alg->ctx_new(alg, &ctx);
	if (err != CY_OK)
		goto out;
	/* everything twice: a context must work again after each packet and after each key */
	for (int i = 0; i < 2 && err == CY_OK; i++) {
		err = alg->ctx_key(ctx, slice(key), true);
		for (int j = 0; j < 2 && err == CY_OK; j++)
			err = cipher_pass(alg, ctx, nonce, aad, plain, crypted, tag, work, out_why);
		if (err == CY_OK)
			err = alg->ctx_key(ctx, slice(key), false);
		for (int j = 0; j < 2 && err == CY_OK; j++)
			err = cipher_back(alg, ctx, nonce, aad, plain, crypted, tag, work, out_why);
	}
	alg->ctx_free(ctx);
out:
	pile_fini(&pile);
	return err;
}

static enum cy_err run_cipher(const struct cy_cipher_alg *alg, const char **out_why)
{
	bool any = false;

	if (alg->size < sizeof(*alg) || !alg->ctx_new || !alg->ctx_free || !alg->ctx_key || !alg->crypt ||
	    alg->n_key_bits == 0 || alg->n_key_bits > 4 || alg->icv_len > 16) {
		*out_why = "incomplete table";
		return CY_E_INVAL;
	}
	for (int i = 0; i < alg->n_key_bits; i++) {
		any = false;
		for (const struct kat_cipher *v = kat_ciphers; v->id; v++) {
			enum cy_err err;

			if (v->id != vector_id(alg->id) || v->key_bits != alg->key_bits[i])
				continue;
			err = cipher_vector(alg, v, out_why);
			if (err != CY_OK)
				return err;
			any = true;
		}
		if (!any)
			break;
	}
	if (!any)
		*out_why = "no test vector";
	return any ? CY_OK : CY_E_UNSUPPORTED;
}

/* --- hashes and MACs --- */

/* The input in three pieces, the middle one empty. */
static void split(struct bytes in, struct cy_slice out[3])
{
	size_t first = in.n / 3;

	out[0] = cy_slice(in.p, first);
	out[1] = cy_slice(NULL, 0);
	out[2] = cy_slice(in.p + first, in.n - first);
}

static enum cy_err hash_vector(const struct cy_hash_alg *alg, const struct kat_hash *v, const char **out_why)
{
	struct pile pile = {0};
	struct bytes in = pile_hex(&pile, v->in), want = pile_hex(&pile, v->out);
	uint8_t got[CY_MAX_HASH_LEN];
	struct cy_slice pieces[3];
	enum cy_err err = CY_E_NOMEM;

	if (!pile.nomem) {
		split(in, pieces);
		err = alg->digest(alg, pieces, 3, got);
		if (err != CY_OK || want.n != alg->len || memcmp(got, want.p, want.n) != 0)
			err = wrong(out_why, "wrong hash");
	}
	pile_fini(&pile);
	return err;
}

static enum cy_err run_hash(const struct cy_hash_alg *alg, const char **out_why)
{
	bool any = false;

	if (alg->size < sizeof(*alg) || !alg->digest || alg->len > CY_MAX_HASH_LEN) {
		*out_why = "incomplete table";
		return CY_E_INVAL;
	}
	for (const struct kat_hash *v = kat_hashes; v->id; v++) {
		enum cy_err err = v->id == alg->id ? hash_vector(alg, v, out_why) : CY_OK;

		if (err != CY_OK)
			return err;
		any |= v->id == alg->id;
	}
	if (!any)
		*out_why = "no test vector";
	return any ? CY_OK : CY_E_UNSUPPORTED;
}

static enum cy_err mac_vector(
    const struct cy_mac_alg *alg, void *ctx, const struct kat_mac *v, const char **out_why)
{
	struct pile pile = {0};
	struct bytes key = pile_hex(&pile, v->key), in = pile_hex(&pile, v->in),
	             want = pile_hex(&pile, v->out);
	uint8_t got[CY_MAX_MAC_LEN];
	struct cy_slice pieces[3];
	enum cy_err err = CY_E_NOMEM;

	if (!pile.nomem) {
		split(in, pieces);
		err = alg->ctx_key(ctx, slice(key));
		for (int i = 0; i < 2 && err == CY_OK; i++) {
			err = alg->mac(ctx, pieces, 3, got);
			if (err != CY_OK || want.n != alg->len || memcmp(got, want.p, want.n) != 0)
				err = wrong(out_why, i ? "wrong MAC the second time" : "wrong MAC");
		}
	}
	pile_fini(&pile);
	return err;
}

static enum cy_err run_mac(const struct cy_mac_alg *alg, const char **out_why)
{
	enum cy_err err = CY_OK;
	bool any = false;
	void *ctx;

	if (alg->size < sizeof(*alg) || !alg->ctx_new || !alg->ctx_free || !alg->ctx_key || !alg->mac ||
	    alg->len > CY_MAX_MAC_LEN) {
		*out_why = "incomplete table";
		return CY_E_INVAL;
	}
	err = alg->ctx_new(alg, &ctx);
	if (err != CY_OK)
		return err;
	for (const struct kat_mac *v = kat_macs; v->id && err == CY_OK; v++) {
		if (v->id != alg->id)
			continue;
		err = mac_vector(alg, ctx, v, out_why);
		any = true;
	}
	alg->ctx_free(ctx);
	if (!any)
		*out_why = "no test vector";
	return any ? err : CY_E_UNSUPPORTED;
}

/* --- key exchange --- */

static enum cy_err ke_vector(const struct cy_ke_alg *alg, const struct kat_ke *v, const char **out_why)
{
	struct pile pile = {0};
	struct bytes a = pile_hex(&pile, v->ours), a_pub = pile_hex(&pile, v->our_public),
	             b = pile_hex(&pile, v->theirs), b_pub = pile_hex(&pile, v->their_public),
	             want = pile_hex(&pile, v->secret), pub_a = pile_space(&pile, alg->public_len),
	             pub_b = pile_space(&pile, alg->public_len), got = pile_space(&pile, alg->secret_len);
	void *key_a = NULL, *key_b = NULL;
	enum cy_err err = CY_E_NOMEM;

	if (pile.nomem)
		goto out;
	err = alg->key_from_private(alg, slice(a), &key_a, pub_a.p);
	if (err == CY_OK)
		err = alg->key_from_private(alg, slice(b), &key_b, pub_b.p);
	if (err != CY_OK)
		err = wrong(out_why, "no key from a private value");
	else if (a_pub.n != alg->public_len || memcmp(pub_a.p, a_pub.p, a_pub.n) != 0)
		err = wrong(out_why, "wrong public value");
	else if (b_pub.n && memcmp(pub_b.p, b_pub.p, b_pub.n) != 0)
		err = wrong(out_why, "wrong public value");
	else if (alg->derive(key_a, slice(pub_b), got.p) != CY_OK || want.n != alg->secret_len ||
	    memcmp(got.p, want.p, want.n) != 0)
		err = wrong(out_why, "wrong shared secret");
	/* RFC 6989: zero is a public value of no method */
	memset(pub_b.p, 0, pub_b.n);
	if (err == CY_OK && alg->derive(key_a, slice(pub_b), got.p) == CY_OK)
		err = wrong(out_why, "an invalid public value was accepted");
out:
	if (key_a)
		alg->key_free(key_a);
	if (key_b)
		alg->key_free(key_b);
	pile_fini(&pile);
	return err;
}

/* Two fresh keys must agree. */
static enum cy_err ke_pair(const struct cy_ke_alg *alg, const char **out_why)
{
	struct pile pile = {0};
	struct bytes pub_a = pile_space(&pile, alg->public_len), pub_b = pile_space(&pile, alg->public_len),
	             s_a = pile_space(&pile, alg->secret_len), s_b = pile_space(&pile, alg->secret_len);
	void *a = NULL, *b = NULL;
	enum cy_err err = CY_E_NOMEM;

	if (pile.nomem)
		goto out;
	if (alg->keygen(alg, &a, pub_a.p) != CY_OK || alg->keygen(alg, &b, pub_b.p) != CY_OK ||
	    alg->derive(a, slice(pub_b), s_a.p) != CY_OK || alg->derive(b, slice(pub_a), s_b.p) != CY_OK)
		err = wrong(out_why, "no key pair");
	else if (!mem_eq_ct(s_a.p, s_b.p, s_a.n))
		err = wrong(out_why, "two fresh keys do not agree");
	else if (memcmp(pub_a.p, pub_b.p, pub_a.n) == 0)
		err = wrong(out_why, "two fresh keys are the same");
	else
		err = CY_OK;
	mem_wipe(s_a.p, s_a.n);
	mem_wipe(s_b.p, s_b.n);
out:
	if (a)
		alg->key_free(a);
	if (b)
		alg->key_free(b);
	pile_fini(&pile);
	return err;
}

static enum cy_err run_ke(const struct cy_ke_alg *alg, const char **out_why)
{
	enum cy_err err;

	if (alg->size < offsetof(struct cy_ke_alg, key_from_private) || !alg->keygen || !alg->derive ||
	    !alg->key_free || alg->public_len > CY_MAX_KE_PUBLIC || alg->secret_len > CY_MAX_KE_SECRET) {
		*out_why = "incomplete table";
		return CY_E_INVAL;
	}
	for (const struct kat_ke *v = kat_kes; v->id; v++) {
		if (v->id != alg->id)
			continue;
		if (alg->size < sizeof(*alg) || !alg->key_from_private)
			return ke_pair(alg, out_why);
		err = ke_vector(alg, v, out_why);
		/* the large groups would take tens of milliseconds more */
		return err != CY_OK || (alg->flags & CY_KE_SLOW) ? err : ke_pair(alg, out_why);
	}
	*out_why = "no test vector";
	return CY_E_UNSUPPORTED;
}

/* --- signatures --- */

static enum cy_err sig_sign(const struct cy_pki_ops *pki, const struct kat_sig *v, struct bytes private_key,
    struct bytes in, struct bytes want, const char **out_why)
{
	struct cy_privkey *key;
	struct cy_slice pieces[3];
	uint8_t got[1024];
	size_t n = 0;
	enum cy_err err = pki->privkey_load(slice(private_key), NULL, NULL, &key, NULL);

	if (err != CY_OK)
		return wrong(out_why, "private key not loaded");
	split(in, pieces);
	if (pki->privkey_info(key)->type != v->type || pki->privkey_sig_max(key) > sizeof(got))
		err = wrong(out_why, "wrong key type");
	else if (pki->sign(key, v->scheme, v->hash, pieces, 3, got, &n) != CY_OK || n != want.n ||
	    memcmp(got, want.p, n) != 0)
		err = wrong(out_why, "wrong signature");
	pki->privkey_unref(key);
	return err;
}

static enum cy_err sig_verify(const struct cy_pki_ops *pki, const struct kat_sig *v, struct bytes public_key,
    struct bytes in, struct bytes sig, const char **out_why)
{
	struct cy_pubkey *key;
	struct cy_slice pieces[3];
	enum cy_err err = pki->pubkey_load(slice(public_key), &key, NULL);

	if (err == CY_E_UNSUPPORTED)
		return err;
	if (err != CY_OK)
		return wrong(out_why, "public key not loaded");
	split(in, pieces);
	if (pki->verify(key, v->scheme, v->hash, pieces, 3, slice(sig)) != CY_OK)
		err = wrong(out_why, "a good signature was refused");
	sig.p[sig.n / 2] ^= 1;
	if (err == CY_OK && pki->verify(key, v->scheme, v->hash, pieces, 3, slice(sig)) == CY_OK)
		err = wrong(out_why, "a forged signature was accepted");
	sig.p[sig.n / 2] ^= 1;
	pki->pubkey_unref(key);
	return err;
}

/* A provider need not know every type of key, but RSA it must. */
static enum cy_err run_pki(const struct cy_pki_ops *pki, const char **out_why)
{
	bool rsa = false;

	if (pki->size < sizeof(*pki) || !pki->privkey_load || !pki->privkey_unref || !pki->privkey_info ||
	    !pki->privkey_sig_max || !pki->sign || !pki->pubkey_load || !pki->pubkey_unref || !pki->verify) {
		*out_why = "incomplete table";
		return CY_E_INVAL;
	}
	for (const struct kat_sig *v = kat_sigs; v->type; v++) {
		struct pile pile = {0};
		struct bytes priv = pile_hex(&pile, v->private_key), pub = pile_hex(&pile, v->public_key),
		             in = pile_hex(&pile, v->in), sig = pile_hex(&pile, v->sig);
		enum cy_err err = CY_E_NOMEM;

		if (!pile.nomem)
			err = sig_verify(pki, v, pub, in, sig, out_why);
		if (err == CY_OK && v->deterministic)
			err = sig_sign(pki, v, priv, in, sig, out_why);
		pile_fini(&pile);
		if (err == CY_E_UNSUPPORTED && v->type != CY_KEY_RSA)
			continue;
		if (err != CY_OK)
			return err;
		rsa |= v->type == CY_KEY_RSA;
	}
	if (!rsa)
		*out_why = "no test vector";
	return rsa ? CY_OK : CY_E_UNSUPPORTED;
}

enum cy_err kat_run(enum cy_kind kind, const void *ops, const char **out_why)
{
	switch (kind) {
	case CY_KIND_CIPHER:
		return run_cipher(ops, out_why);
	case CY_KIND_HASH:
		return run_hash(ops, out_why);
	case CY_KIND_MAC:
		return run_mac(ops, out_why);
	case CY_KIND_KE:
		return run_ke(ops, out_why);
	case CY_KIND_PKI:
		return run_pki(ops, out_why);
	default:
		*out_why = "not an algorithm";
		return CY_E_INVAL;
	}
}
