/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and raw keys as a peer or a file brings them, through the openssl plugin. An input is certificates in DER, each after
 * two bytes of its length: the first is the peer's, the others came with it; or after a 'K' a raw public key; or PEM.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include <cygnet/plugin.h>

#include "libcore/cred/cred.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const struct cy_plugin cygnet_plugin;

#define MAX_CERTS 6

static struct crypto *crypto;
static const struct cy_pki_ops *pki;

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* --- as much of a daemon as the plugin asks for --- */

static void host_log(void *self, enum cy_level level, const char *fmt, ...)
{
}

static bool host_log_on(void *self, enum cy_level level)
{
	return false;
}

static const char *host_setting(void *self, const char *key, const char *fallback)
{
	return fallback;
}

static int64_t host_setting_int(void *self, const char *key, int64_t fallback)
{
	return fallback;
}

static bool host_setting_bool(void *self, const char *key, bool fallback)
{
	return fallback;
}

static enum cy_err host_provide(void *self, enum cy_kind kind, const void *ops, void *plugin)
{
	return crypto_register(crypto, kind, ops, "openssl");
}

static void host_random(void *self, void *out, size_t n)
{
	must(getrandom(out, n, 0) == (ssize_t)n);
}

static void begin(void)
{
	static const struct cy_host host = {
	    .size = sizeof(host),
	    .abi_major = CYGNET_ABI_MAJOR,
	    .abi_minor = CYGNET_ABI_MINOR,
	    .log = host_log,
	    .log_on = host_log_on,
	    .setting = host_setting,
	    .setting_int = host_setting_int,
	    .setting_bool = host_setting_bool,
	    .provide = host_provide,
	    .random = host_random,
	};
	void *plugin;

	must(crypto_new(NULL, &crypto) == CY_OK);
	must(cygnet_plugin.init(&host, NULL, &plugin) == CY_OK);
	pki = crypto_pki(crypto);
	must(pki != NULL);
}

/* --- what is done with a certificate --- */

static void ask(const struct creds *c, struct cy_cert *cert)
{
	static const char *const names[] = {
	    "@moon.example.org", "moon@example.org", "192.0.2.1", "2001:db8::1"};
	const struct cy_cert_info *i = pki->cert_info(cert);
	struct cy_cert *chain[MAX_CERTS];
	struct ident id;
	char text[512];

	must(i->subject && i->issuer && strlen(i->subject) < 1 << 20 && i->n_sans <= 256);
	for (size_t k = 0; k < i->n_sans; k++)
		must(i->sans[k].value.n == 0 || i->sans[k].value.p != NULL);
	(void)pki->name_print(i->subject_der, text, sizeof(text));
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		must(ident_parse(names[k], &id) == CY_OK);
		(void)cred_cert_has_ident(i, &id);
		ident_fini(&id);
	}
	if (cred_default_ident(i, NULL, &id) == CY_OK) {
		/* what it is called by default it confirms itself */
		must(cred_cert_has_ident(i, &id));
		ident_fini(&id);
	}
	must(creds_own_chain(c, cert, chain, MAX_CERTS) <= MAX_CERTS);
}

static void try_certs(struct creds *c, const uint8_t *data, size_t size)
{
	struct cy_cert *certs[MAX_CERTS];
	struct cred_trust t;
	size_t n = 0;

	while (size > 2 && n < MAX_CERTS) {
		size_t len = (size_t)data[0] << 8 | data[1];
		if (len > size - 2)
			len = size - 2;
		if (pki->cert_load(cy_slice(data + 2, len), &certs[n], NULL) == CY_OK)
			n++;
		data += 2 + len;
		size -= 2 + len;
	}
	if (n == 0)
		return;
	/* the last one is a CA we trust, to have paths that end well */
	must(creds_add_cert(c, pki->cert_info(certs[n - 1])->der, true, NULL) == CY_OK);
	if (creds_verify(c, certs[0], certs + 1, n - 1, NULL, 1700000000, &t) == CY_OK)
		must(t.n > 0 && t.path[0] == certs[0] && !t.why);
	else
		must(t.why && *t.why && t.n == 0);
	for (size_t k = 0; k < n; k++)
		ask(c, certs[k]);
	while (n)
		pki->cert_unref(certs[--n]);
}

static void note(void *user, enum cy_level level, const char *text)
{
}

static void try_key(struct creds *c, const uint8_t *data, size_t size)
{
	char *text = malloc(2 * size + 3);
	struct cy_pubkey *key;

	must(text != NULL);
	memcpy(text, "0x", 3);
	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 + 2 * i, 3, "%02x", data[i]);
	if (creds_load_pubkey(c, text, &key, note, NULL) == CY_OK)
		must(pki->pubkey_spki(key).n > 0);
	free(text);
}

static void on_cert(void *user, struct cy_slice der)
{
	struct cy_cert *cert;

	if (creds_add_cert(user, der, false, &cert) == CY_OK)
		must(pki->cert_info(cert)->der.n == der.n);
}

static void on_key(void *user, struct cy_privkey *take)
{
	must(creds_add_privkey(user, take) == CY_OK);
}

static int no_pass(void *user, char *buf, size_t cap)
{
	return -1;
}

static void on_listed(void *user, struct cy_cert *cert, bool ca, bool has_key)
{
	ask(user, cert);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct creds *c;

	if (!crypto)
		begin();
	if (creds_new(crypto, NULL, NULL, &c) != CY_OK)
		return 0;
	if (size > 1 && data[0] == 'K')
		try_key(c, data + 1, size - 1);
	else if (size > 5 && memcmp(data, "-----", 5) == 0)
		(void)pki->bundle_load(cy_slice(data, size), no_pass, c, on_cert, on_key, NULL);
	else
		try_certs(c, data, size);
	creds_list(c, on_listed, c);
	creds_unref(c);
	return 0;
}
