/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/dn.h"
#include "libcore/cred/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool cred_grow(void *arr, size_t n, size_t *cap, size_t size)
{
	void **p = arr, *grown;
	size_t want;

	if (n < *cap)
		return true;
	want = *cap ? *cap * 2 : 16;
	grown = realloc(*p, want * size);
	if (!grown)
		return false;
	*p = grown;
	*cap = want;
	return true;
}

void cred_say(const struct cred_where *w, enum cy_level level, const char *fmt, ...)
{
	char text[1024];
	size_t n = 0;
	va_list ap;

	if (!w->report)
		return;
	if (w->line)
		n = (size_t)snprintf(text, sizeof(text), "%s:%u: ", w->file, w->line);
	else if (w->file)
		n = (size_t)snprintf(text, sizeof(text), "%s: ", w->file);
	if (n >= sizeof(text))
		n = 0;
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	w->report(w->user, level, text);
}

/* --- life --- */

static const char *dup_path(const char *s, const char *fallback)
{
	return strdup(s ? s : fallback);
}

enum cy_err creds_new(
    struct crypto *crypto, struct log *log, const struct cred_paths *paths, struct creds **out)
{
	static const struct cred_paths none;
	struct creds *c = calloc(1, sizeof(*c));

	if (!c)
		return CY_E_NOMEM;
	if (!paths)
		paths = &none;
	atomic_init(&c->refs, 1);
	c->crypto = crypto;
	c->pki = crypto ? crypto_pki(crypto) : NULL;
	c->log = log;
	c->paths.private_dir = dup_path(paths->private_dir, "/etc/ipsec.d/private");
	c->paths.certs_dir = dup_path(paths->certs_dir, "/etc/ipsec.d/certs");
	c->paths.cacerts_dir = dup_path(paths->cacerts_dir, "/etc/ipsec.d/cacerts");
	c->paths.aacerts_dir = dup_path(paths->aacerts_dir, "/etc/ipsec.d/aacerts");
	if (!c->paths.private_dir || !c->paths.certs_dir || !c->paths.cacerts_dir || !c->paths.aacerts_dir ||
	    hmap_init(&c->index, cred_hash_key) || hmap_init(&c->by_subject, cred_hash_key) ||
	    hmap_init(&c->named, cred_hash_key)) {
		creds_unref(c);
		return CY_E_NOMEM;
	}
	*out = c;
	return CY_OK;
}

struct creds *creds_ref(struct creds *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

static void free_secret(struct creds_secret *s)
{
	for (size_t i = 0; i < s->n_ids; i++)
		ident_fini(&s->ids[i]);
	free(s->ids);
	secret_fini(&s->value);
}

void creds_unref(struct creds *c)
{
	struct hnode *n, *tmp;
	size_t b;

	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	hmap_foreach (&c->index, b, n, tmp)
		free(container_of(n, struct creds_index, node));
	hmap_fini(&c->index);
	for (size_t i = 0; i < c->n_secrets; i++)
		free_secret(&c->secrets[i]);
	free(c->secrets);
	free(c->general);
	for (size_t i = 0; i < c->n_certs; i++) {
		c->pki->cert_unref(c->certs[i]->cert);
		free(c->certs[i]);
	}
	free(c->certs);
	hmap_fini(&c->by_subject);
	creds_named_fini(c);
	for (size_t i = 0; i < c->n_keys; i++)
		c->pki->privkey_unref(c->keys[i].key);
	free(c->keys);
	for (size_t i = 0; i < c->n_pubkeys; i++)
		c->pki->pubkey_unref(c->pubkeys[i]);
	free(c->pubkeys);
	free(c->ca_hashes);
	free((char *)c->paths.private_dir);
	free((char *)c->paths.certs_dir);
	free((char *)c->paths.cacerts_dir);
	free((char *)c->paths.aacerts_dir);
	free(c);
}

/* --- secrets --- */

static enum cy_err index_add(struct creds *c, uint64_t hash, uint32_t secret)
{
	struct creds_index *i = calloc(1, sizeof(*i));

	if (!i)
		return CY_E_NOMEM;
	i->secret = secret;
	hmap_add(&c->index, &i->node, hash);
	return CY_OK;
}

/* Are these kept under a user's name? */
static bool is_password(enum cred_kind kind)
{
	return kind == CRED_XAUTH || kind == CRED_EAP || kind == CRED_NTLM;
}

enum cy_err creds_take_secret(
    struct creds *c, enum cred_kind kind, struct ident *ids, size_t n_ids, struct secret *value)
{
	struct creds_secret s = {.kind = kind, .ids = ids, .n_ids = n_ids};
	bool general = n_ids == 0;
	enum cy_err e = CY_OK;

	secret_move(&s.value, value);
	if (!cred_grow(&c->secrets, c->n_secrets, &c->cap_secrets, sizeof(*c->secrets)) ||
	    !cred_grow(&c->general, c->n_general, &c->cap_general, sizeof(*c->general))) {
		free_secret(&s);
		return CY_E_NOMEM;
	}
	uint32_t at = (uint32_t)c->n_secrets;
	c->secrets[c->n_secrets++] = s;
	for (size_t i = 0; i < n_ids; i++)
		general |= cred_ident_is_pattern(&ids[i]);
	if (general)
		c->general[c->n_general++] = at;
	for (size_t i = 0; i < n_ids && !e; i++) {
		if (is_password(kind))
			e = index_add(c, cred_user_hash(&ids[i]), at);
		else if (!general)
			e = index_add(c, ident_hash(cred_hash_key, &ids[i]), at);
	}
	return e;
}

enum cy_err creds_add_psk(struct creds *c, const struct ident *ids, size_t n_ids, struct cy_slice psk)
{
	struct ident *copy = calloc(n_ids + 1, sizeof(*copy));
	struct secret value = {0};
	enum cy_err e = copy ? secret_dup(&value, psk) : CY_E_NOMEM;

	for (size_t i = 0; i < n_ids && !e; i++)
		e = ident_dup(&copy[i], &ids[i]);
	if (!e)
		return creds_take_secret(c, CRED_PSK, copy, n_ids, &value);
	for (size_t i = 0; copy && i < n_ids; i++)
		ident_fini(&copy[i]);
	free(copy);
	secret_fini(&value);
	return e;
}

size_t creds_count(const struct creds *c, enum cred_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_secrets; i++)
		n += c->secrets[i].kind == kind;
	for (size_t i = 0; i < c->n_keys; i++) {
		enum cy_key_type t = c->keys[i].info->type;
		n += kind == CRED_PKCS8 || (kind == CRED_RSA && t == CY_KEY_RSA) ||
		    (kind == CRED_ECDSA && t == CY_KEY_ECDSA);
	}
	return n;
}

/* --- keys --- */

enum cy_err creds_add_privkey(struct creds *c, struct cy_privkey *take)
{
	const struct cy_key_info *info = c->pki->privkey_info(take);

	for (size_t i = 0; i < c->n_keys; i++)
		if (memcmp(c->keys[i].info->spki_sha1, info->spki_sha1, sizeof(info->spki_sha1)) == 0) {
			c->pki->privkey_unref(take);
			return CY_OK;
		}
	if (!cred_grow(&c->keys, c->n_keys, &c->cap_keys, sizeof(*c->keys))) {
		c->pki->privkey_unref(take);
		return CY_E_NOMEM;
	}
	c->keys[c->n_keys++] = (struct creds_key){take, info};
	return CY_OK;
}

struct cy_privkey *creds_find_privkey(const struct creds *c, const struct cy_key_info *pub)
{
	for (size_t i = 0; i < c->n_keys; i++)
		if (memcmp(c->keys[i].info->spki_sha1, pub->spki_sha1, sizeof(pub->spki_sha1)) == 0)
			return c->keys[i].key;
	return NULL;
}

struct cy_privkey *creds_first_privkey(const struct creds *c, enum cy_key_type type)
{
	for (size_t i = 0; i < c->n_keys; i++)
		if (!type || c->keys[i].info->type == type)
			return c->keys[i].key;
	return NULL;
}

/* --- certificates --- */

static uint64_t subject_hash(struct cy_slice name)
{
	return dn_hash(cred_hash_key, name);
}

struct creds_cert *creds_lookup_cert(const struct creds *c, const struct cy_cert_info *info)
{
	struct hnode *n = hmap_first(&c->by_subject, subject_hash(info->subject_der));

	for (; n; n = hmap_next(n)) {
		struct creds_cert *cert = container_of(n, struct creds_cert, node);
		if (cy_slice_eq(cert->info->der, info->der))
			return cert;
	}
	return NULL;
}

static enum cy_err add_ca_hash(struct creds *c, const struct cy_cert_info *info)
{
	const uint8_t *h = info->key.spki_sha1;

	for (size_t i = 0; i < c->n_ca_hashes; i++)
		if (memcmp(c->ca_hashes + 20 * i, h, 20) == 0)
			return CY_OK;
	if (!cred_grow(&c->ca_hashes, c->n_ca_hashes, &c->cap_ca_hashes, 20))
		return CY_E_NOMEM;
	memcpy(c->ca_hashes + 20 * c->n_ca_hashes++, h, 20);
	return CY_OK;
}

enum cy_err creds_store_cert(
    struct creds *c, struct cy_slice der, uint32_t flags, struct creds_cert **out, const char **out_why)
{
	const char *why = NULL;
	struct creds_cert *cert;
	struct cy_cert *x;
	enum cy_err e;

	e = c->pki ? c->pki->cert_load(der, &x, &why) : CY_E_UNSUPPORTED;
	if (e) {
		if (out_why)
			*out_why = why              ? why
			    : e == CY_E_UNSUPPORTED ? "no plugin reads certificates"
			                            : err_text(e);
		return e;
	}
	cert = creds_lookup_cert(c, c->pki->cert_info(x));
	if (cert) {
		c->pki->cert_unref(x);
	} else {
		cert = calloc(1, sizeof(*cert));
		if (!cert || !cred_grow(&c->certs, c->n_certs, &c->cap_certs, sizeof(*c->certs))) {
			free(cert);
			c->pki->cert_unref(x);
			return CY_E_NOMEM;
		}
		cert->cert = x;
		cert->info = c->pki->cert_info(x);
		hmap_add(&c->by_subject, &cert->node, subject_hash(cert->info->subject_der));
		c->certs[c->n_certs++] = cert;
	}
	cert->flags |= flags;
	if (c->loading_uris)
		cert->uris = *c->loading_uris;
	if (out)
		*out = cert;
	return cert->flags & CRED_CERT_ANCHOR ? add_ca_hash(c, cert->info) : CY_OK;
}

enum cy_err creds_add_cert(struct creds *c, struct cy_slice der, bool trusted_ca, struct cy_cert **out)
{
	struct creds_cert *cert;
	enum cy_err e =
	    creds_store_cert(c, der, trusted_ca ? CRED_CERT_ANCHOR : CRED_CERT_LOADED, &cert, NULL);

	if (!e && out)
		*out = cert->cert;
	return e;
}

enum cy_err creds_set_uris(struct creds *c, struct cy_cert *ca, const struct cred_uris *uris)
{
	struct creds_cert *cert = creds_lookup_cert(c, c->pki->cert_info(ca));

	if (!cert)
		return CY_E_NOTFOUND;
	cert->uris = *uris;
	return CY_OK;
}

size_t creds_ca_uris(
    const struct creds *c, struct cy_cert *ca, enum cred_uri_kind kind, const char *const **out)
{
	const struct creds_cert *cert = c->pki ? creds_lookup_cert(c, c->pki->cert_info(ca)) : NULL;

	if (!cert)
		return 0;
	*out = kind == CRED_URI_CRL ? cert->uris.crl : cert->uris.ocsp;
	return kind == CRED_URI_CRL ? cert->uris.n_crl : cert->uris.n_ocsp;
}

struct cy_slice creds_ca_hashes(const struct creds *c)
{
	return cy_slice(c->ca_hashes, 20 * c->n_ca_hashes);
}

struct cy_cert *creds_find_own_cert(const struct creds *c, const struct ident *id)
{
	for (size_t i = 0; i < c->n_certs; i++)
		if ((c->certs[i]->flags & CRED_CERT_LOADED) && cred_cert_has_ident(c->certs[i]->info, id) &&
		    creds_find_privkey(c, &c->certs[i]->info->key))
			return c->certs[i]->cert;
	return NULL;
}

void creds_list(
    const struct creds *c, void (*cb)(void *user, struct cy_cert *cert, bool ca, bool has_key), void *user)
{
	for (size_t i = 0; i < c->n_certs; i++)
		cb(user, c->certs[i]->cert, c->certs[i]->flags & CRED_CERT_ANCHOR,
		    creds_find_privkey(c, &c->certs[i]->info->key) != NULL);
}
