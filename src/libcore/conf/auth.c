/* SPDX-License-Identifier: Apache-2.0 */
/* Who proves what how: authby, leftauth, leftid, leftcert, leftca, leftsigkey. */

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

#define KEY_BIT(t)  (1u << (t))
#define HASH_BIT(h) (1u << (h))
#define SHA2_BITS   (HASH_BIT(CY_HASH_SHA2_256) | HASH_BIT(CY_HASH_SHA2_384) | HASH_BIT(CY_HASH_SHA2_512))
#define ED_BITS     (KEY_BIT(CY_KEY_ED25519) | KEY_BIT(CY_KEY_ED448))

struct method {
	const char *name;
	enum conn_auth method;
	uint32_t key_types, hashes;
};

#define RSA   KEY_BIT(CY_KEY_RSA)
#define ECDSA KEY_BIT(CY_KEY_ECDSA)

/* A word of authby= or leftauth= that is whole. */
static const struct method strongswan_methods[] = {{"psk", AUTH_PSK, 0, 0}, {"secret", AUTH_PSK, 0, 0},
    {"pubkey", AUTH_PUBKEY, 0, 0}, {"rsasig", AUTH_PUBKEY, RSA, 0}, {"rsa", AUTH_PUBKEY, RSA, 0},
    {"ecdsasig", AUTH_PUBKEY, ECDSA, 0}, {"ecdsa", AUTH_PUBKEY, ECDSA, 0},
    {"ed25519", AUTH_PUBKEY, KEY_BIT(CY_KEY_ED25519), 0}, {"ed448", AUTH_PUBKEY, KEY_BIT(CY_KEY_ED448), 0},
    {"never", AUTH_NEVER, 0, 0}, {NULL, AUTH_NONE, 0, 0}};
static const struct method libreswan_methods[] = {{"secret", AUTH_PSK, 0, 0}, {"psk", AUTH_PSK, 0, 0},
    {"rsasig", AUTH_PUBKEY, RSA, 0}, {"rsa", AUTH_PUBKEY, RSA, 0},
    {"rsa-sha1", AUTH_PUBKEY, RSA, HASH_BIT(CY_HASH_SHA1)}, {"rsa-sha2", AUTH_PUBKEY, RSA, SHA2_BITS},
    {"rsa-sha2_256", AUTH_PUBKEY, RSA, HASH_BIT(CY_HASH_SHA2_256)},
    {"rsa-sha2_384", AUTH_PUBKEY, RSA, HASH_BIT(CY_HASH_SHA2_384)},
    {"rsa-sha2_512", AUTH_PUBKEY, RSA, HASH_BIT(CY_HASH_SHA2_512)}, {"ecdsa", AUTH_PUBKEY, ECDSA, SHA2_BITS},
    {"ecdsa-sha2", AUTH_PUBKEY, ECDSA, SHA2_BITS},
    {"ecdsa-sha2_256", AUTH_PUBKEY, ECDSA, HASH_BIT(CY_HASH_SHA2_256)},
    {"ecdsa-sha2_384", AUTH_PUBKEY, ECDSA, HASH_BIT(CY_HASH_SHA2_384)},
    {"ecdsa-sha2_512", AUTH_PUBKEY, ECDSA, HASH_BIT(CY_HASH_SHA2_512)},
    {"eddsa", AUTH_PUBKEY, ED_BITS, HASH_BIT(CY_HASH_IDENTITY)}, {"never", AUTH_NEVER, 0, 0},
    {"null", AUTH_NULL, 0, 0}, {"eaponly", AUTH_EAP, 0, 0}, {NULL, AUTH_NONE, 0, 0}};

static const struct method *method_find(const struct method *m, const char *word)
{
	for (; m->name; m++)
		if (strcasecmp(m->name, word) == 0)
			return m;
	return NULL;
}

SETTER(set_authby)
{
	b->later.authby = e;
	return true;
}

SETTER(set_auth)
{
	b->end[e->right].auth = e;
	return true;
}

SETTER(set_ca)
{
	b->end[e->right].ca = e;
	return true;
}

SETTER(set_id)
{
	struct ident *id = &build_end(b, e->right)->auth[0].id;
	const char *s = e->value;
	enum cy_err err;

	b->end[e->right].id_set = true;
	if (*s == 0 || strcasecmp(s, "%any") == 0 || strcasecmp(s, "%fromcert") == 0 ||
	    strcasecmp(s, "%none") == 0)
		return true; /* not set: any, or what the certificate says */
	if (strcasecmp(s, "%null") == 0)
		return build_bad_value(
		    b, e, "name the identity", "authentication without an identity is not built yet");
	if (*s == '%' && b->dialect == SS) {
		build_note(b, e, CY_LOG_WARN, "write it without the %",
		    "%s=%.200s: the identity is sent to the peer even so", e->name, e->value);
		s++;
	}
	ident_fini(id);
	*id = (struct ident){0};
	err = ident_parse(s, id);
	if (err == CY_E_NOMEM)
		return build_nomem(b);
	if (err)
		return build_bad_value(
		    b, e, "write an address, @name, user@name or \"C=.., CN=..\"", "not an identity");
	return true;
}

SETTER(set_cert)
{
	struct str_list *certs = &build_end(b, e->right)->auth[0].certs;
	const char *at = e->value;
	char item[1024];
	bool cut = false;

	if (strncasecmp(e->value, "%smartcard", 10) == 0 || strncasecmp(e->value, "pkcs11:", 7) == 0)
		return build_bad_value(b, e, "write the name of a file", "keys on tokens are not built yet");
	if (b->dialect == LS) {
		/* a nickname may hold anything */
		if (!strpbrk(e->value, "./"))
			build_note(b, e, CY_LOG_NOTICE, "export it with pk12util and name the file",
			    "there is no NSS database: %s=%.200s is looked for as a file in "
			    "/etc/ipsec.d/certs",
			    e->name, e->value);
		return strs_add(certs, e->value) ? build_nomem(b) : true;
	}
	while (value_next(&at, ",", item, sizeof(item), &cut)) {
		if (cut)
			return build_bad_value(b, e, "", "a name that is too long");
		if (strs_add(certs, item))
			return build_nomem(b);
	}
	return true;
}

SETTER(set_pubkey)
{
	char **key = &build_end(b, e->right)->auth[0].pubkey;

	/* %cert, the value of old: from the certificate, as always */
	if (strcasecmp(e->value, "%cert") == 0 || strcasecmp(e->value, "%none") == 0)
		return true;
	if (*e->value == '%' || strncasecmp(e->value, "dns:", 4) == 0)
		return build_bad_value(
		    b, e, "write the key or the name of its file", "keys from the DNS are not built yet");
	free(*key);
	*key = strdup(e->value);
	return *key ? true : build_nomem(b);
}

SETTER(set_sendcert)
{
	static const struct name words[] = {{SENDCERT_IFASKED, "ifasked"}, {SENDCERT_IFASKED, "sendifasked"},
	    {SENDCERT_ALWAYS, "always"}, {SENDCERT_ALWAYS, "yes"}, {SENDCERT_NEVER, "never"},
	    {SENDCERT_NEVER, "no"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, words, &v))
		return false;
	build_end(b, e->right)->sendcert = (enum conn_sendcert)v;
	return true;
}

/* ---- at the end */

static bool not_built(struct build *b, const struct raw_entry *e, const char *what)
{
	return build_fault(
	    b, e, "write psk or pubkey", "%s=%.100s: %s is not built yet", e->name, e->value, what);
}

static bool is_eap(const char *s)
{
	return strcasecmp(s, "eap") == 0 || strncasecmp(s, "eap-", 4) == 0 || strcasecmp(s, "eaponly") == 0;
}

static bool is_xauth(const char *s)
{
	return strncasecmp(s, "xauth", 5) == 0;
}

/* What one of our methods may be by now: EAP and NULL authentication are named, not built. */
static bool check_built(struct build *b, const struct raw_entry *e, const char *word)
{
	if (is_eap(word))
		return not_built(b, e, "EAP");
	if (strcasecmp(word, "null") == 0)
		return not_built(b, e, "NULL authentication (RFC 7619)");
	if (strcasecmp(word, "none") == 0)
		return not_built(b, e, "authenticating one side only");
	return true;
}

/* Adds word's method to a round. Methods of one list must be of one kind. */
static bool add_method(
    struct build *b, const struct raw_entry *e, const struct method *m, struct conn_auth_round *a, bool first)
{
	if (!first && m->method != a->method)
		return build_bad_value(
		    b, e, "make a connection for each method", "a connection has one kind of authentication");
	a->key_types = first ? m->key_types : m->key_types && a->key_types ? a->key_types | m->key_types : 0;
	a->hashes = first ? m->hashes : m->hashes && a->hashes ? a->hashes | m->hashes : 0;
	a->method = m->method;
	return true;
}

/* A list of whole words. */
static bool read_words(struct build *b, const struct raw_entry *e, struct conn_auth_round *a)
{
	const char *at = e->value;
	bool cut = false, first = true;
	char word[64];

	while (value_next(&at, ",|", word, sizeof(word), &cut)) {
		/* authby=xauthpsk: the same as psk, and XAUTH after it */
		if (b->dialect == SS && e == b->later.authby && is_xauth(word) && !cut) {
			b->later.authby_xauth = true;
			memmove(word, word + 5, strlen(word + 5) + 1);
		}
		const struct method *m =
		    method_find(b->dialect == LS ? libreswan_methods : strongswan_methods, word);

		if (!cut && !check_built(b, e, word))
			return false;
		if (cut || !m)
			return build_bad_value(b, e,
			    b->dialect == LS ? "write secret, rsasig, rsa-sha2, ecdsa or eddsa"
			                     : "write psk, pubkey or never",
			    "no such way of authentication");
		if (!add_method(b, e, m, a, first))
			return false;
		first = false;
	}
	if (first)
		return build_bad_value(b, e, "write secret or rsasig", "no way of authentication in it");
	return true;
}

static uint32_t hash_word(const char *s)
{
	static const struct name words[] = {{CY_HASH_SHA1, "sha1"}, {CY_HASH_SHA2_256, "sha256"},
	    {CY_HASH_SHA2_384, "sha384"}, {CY_HASH_SHA2_512, "sha512"}, {CY_HASH_IDENTITY, "identity"},
	    {0, NULL}};

	for (const struct name *w = words; w->name; w++)
		if (strcasecmp(w->name, s) == 0)
			return w->value;
	return 0;
}

/* strongSwan's leftauth: "pubkey-sha256-sha384", "ecdsa-sha384", "ike:pubkey-sha512" */
static bool read_leftauth(struct build *b, const struct raw_entry *e, struct conn_auth_round *a)
{
	const char *at = e->value;
	bool cut = false, first = true, ike_only = strncasecmp(at, "ike:", 4) == 0;
	char word[64];

	if (!check_built(b, e, at))
		return false;
	if (ike_only)
		at += 4;
	while (value_next(&at, "-", word, sizeof(word), &cut)) {
		const struct method *m = cut ? NULL : method_find(strongswan_methods, word);
		uint64_t bits;

		if (m && (first || m->method == AUTH_PUBKEY)) {
			if (!add_method(b, e, m, a, first))
				return false;
		} else if (!first && hash_word(word) && a->method == AUTH_PUBKEY) {
			a->hashes |= HASH_BIT(hash_word(word));
			if (!ike_only)
				build_note(b, e, CY_LOG_WARN, "write ike: before it",
				    "%s=%.100s restricts the signature of IKE, not yet those of certificates",
				    e->name, e->value);
		} else if (!first && value_u64(word, &bits))
			return build_bad_value(
			    b, e, "leave the number out", "demanding a size of keys is not built yet");
		else if (strcasecmp(word, "rsa/pss") == 0)
			return build_bad_value(b, e, "write rsa", "demanding PSS is not built yet");
		else
			return build_bad_value(b, e, "write psk, pubkey, rsa, ecdsa or pubkey-sha256",
			    "no such way of authentication");
		first = false;
	}
	if (first)
		return build_bad_value(b, e, "write psk or pubkey", "no way of authentication in it");
	return true;
}

static bool finish_ca(struct build *b, bool right)
{
	const struct raw_entry *e = b->end[right].ca;
	struct ident *ca = &build_end(b, right)->auth[0].ca;
	enum cy_err err;

	if (e && strcasecmp(e->value, "%same") == 0) {
		e = b->end[!right].ca;
		if (!e || strcasecmp(e->value, "%same") == 0)
			return build_bad_value(
			    b, b->end[right].ca, "write the name of the CA", "the other side names no CA");
	}
	if (!e || !*e->value || strcasecmp(e->value, "%any") == 0)
		return true;
	err = ident_parse(e->value, ca);
	if (err == CY_E_NOMEM)
		return build_nomem(b);
	if (err || (ca->type != ID_DN_TEXT && ca->type != ID_DER_ASN1_DN)) {
		ident_fini(ca);
		*ca = (struct ident){0};
		return build_bad_value(b, e, "write it as \"C=.., O=.., CN=..\"", "not the name of a CA");
	}
	return true;
}

/*
 * Without leftid, a side is known by its address, as both daemons have it: not setting it must not mean that anybody will do.
 * With a certificate that is what names it; with several addresses, or any, nothing does.
 */
static bool finish_id(struct build *b, bool right)
{
	struct conn_end *end = build_end(b, right);
	struct host_spec *h = &end->host;
	const struct raw_entry *e = b->end[right].host;
	struct ident *id = &end->auth[0].id;
	enum cy_err err = CY_OK;

	if (b->end[right].id_set || end->auth[0].certs.n || h->any || h->any_ip6 || h->defaultroute ||
	    h->n_ranges + h->dns.n != 1)
		return true;
	if (h->n_ranges && addr_cmp(&h->ranges[0].lo, &h->ranges[0].hi) == 0)
		err = ident_from_addr(id, &h->ranges[0].lo);
	else if (h->dns.n && b->dialect == SS)
		err = ident_parse(h->dns.s[0], id);
	else if (h->dns.n)
		build_note(b, e, CY_LOG_WARN, right ? "write rightid=" : "write leftid=",
		    "%s=%.200s says where it is, and nothing who: any identity is accepted if it is this "
		    "side's peer",
		    e->name, e->value);
	return err ? build_nomem(b) : true;
}

bool finish_auth(struct build *b)
{
	bool good = true;

	for (int right = 0; right < 2; right++) {
		const struct raw_entry *e = b->end[right].auth;
		struct conn_auth_round *a = &build_end(b, right)->auth[0];

		a->method = AUTH_PUBKEY;
		if (e && b->dialect == SS && is_xauth(e->value))
			a->method = AUTH_XAUTH; /* finish_xauth() has the rest */
		else if (e)
			good = (b->dialect == LS ? read_words(b, e, a) : read_leftauth(b, e, a)) && good;
		else if (b->later.authby)
			good = read_words(b, b->later.authby, a) && good;
		build_end(b, right)->n_auth = 1;
		good = finish_ca(b, right) && good;
		good = finish_id(b, right) && good;
		if (!b->bad && a->method == AUTH_NEVER && b->c->type != TYPE_PASS && b->c->type != TYPE_DROP)
			good = build_bad_value(
			    b, e ? e : b->later.authby, "write psk or pubkey", "nothing to prove it by");
	}
	return good;
}
