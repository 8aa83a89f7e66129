/* SPDX-License-Identifier: Apache-2.0 */
/* listalgs, listcerts, leases. Control thread. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/private.h"
#include "daemon/policy/lease.h"
#include "libcore/base/addr.h"
#include "libcore/cred/cred.h"
#include "libcore/crypto/registry.h"

struct writer {
	struct request *r;
	struct jw w;
	const struct cy_pki_ops *pki;
};

/* --- algorithms ------------------------------------------------------------------------------------------------------------ */

static void on_alg(void *user, const struct crypto_listing *l)
{
	struct writer *wr = user;
	const char *kind = "";

	switch (l->kind) {
	case CY_KIND_CIPHER:
		kind = "encryption";
		break;
	case CY_KIND_HASH:
		kind = "hash";
		break;
	case CY_KIND_MAC:
		kind = "mac";
		break;
	case CY_KIND_KE:
		kind = "key-exchange";
		break;
	case CY_KIND_PKI:
		kind = "pki";
		break;
	default:
		break;
	}
	request_item(wr->r, &wr->w, "algorithms");
	jw_str(&wr->w, "kind", kind);
	jw_u64(&wr->w, "number", l->id);
	jw_str(&wr->w, "name", l->name ? l->name : "");
	jw_str(&wr->w, "plugin", l->plugin ? l->plugin : "");
	jw_bool(&wr->w, "chosen", l->chosen);
	request_item_end(&wr->w);
}

void cmd_listalgs(struct request *r)
{
	struct writer wr = {.r = r};

	if (request_flag(r, "speed")) {
		list_speeds(r);
		return;
	}
	crypto_list(r->control->d->crypto, on_alg, &wr);
	request_send_all(r, &wr.w);
}

/* --- certificates ------------------------------------------------------------------------------------------------------------ */

static void write_hex(struct jw *w, const char *key, struct cy_slice s)
{
	char text[129];
	size_t n = s.n < 64 ? s.n : 64;

	for (size_t i = 0; i < n; i++)
		snprintf(text + 2 * i, 3, "%02x", s.p[i]);
	text[2 * n] = '\0';
	jw_str(w, key, text);
}

static void write_sans(struct jw *w, const struct cy_cert_info *i)
{
	char text[IDENT_STR_MAX];

	jw_arr(w, "sans");
	for (size_t k = 0; k < i->n_sans; k++) {
		struct cy_slice v = i->sans[k].value;
		/* borrows, only read */
		struct ident id = {.n = (uint16_t)v.n, .p = (uint8_t *)v.p};

		switch (i->sans[k].type) {
		case CY_SAN_DNS:
		case CY_SAN_URI:
			id.type = ID_FQDN;
			break;
		case CY_SAN_EMAIL:
			id.type = ID_RFC822_ADDR;
			break;
		case CY_SAN_IP:
			id.type = v.n == 4 ? ID_IPV4_ADDR : ID_IPV6_ADDR;
			break;
		case CY_SAN_DN:
			id.type = ID_DER_ASN1_DN;
			break;
		default:
			continue;
		}
		jw_str(w, NULL, ident_str(&id, text));
	}
	jw_arr_end(w);
}

static void on_cert(void *user, struct cy_cert *cert, bool ca, bool has_key)
{
	static const char *const types[] = {"", "RSA", "ECDSA", "Ed25519", "Ed448"};
	struct writer *wr = user;
	const struct cy_cert_info *i = wr->pki->cert_info(cert);

	request_item(wr->r, &wr->w, "certificates");
	jw_str(&wr->w, "subject", i->subject);
	jw_str(&wr->w, "issuer", i->issuer);
	write_hex(&wr->w, "serial", i->serial);
	jw_i64(&wr->w, "not_before", i->not_before);
	jw_i64(&wr->w, "not_after", i->not_after);
	jw_str(&wr->w, "key_type", i->key.type < ARRAY_LEN(types) ? types[i->key.type] : "");
	jw_u64(&wr->w, "key_bits", i->key.bits);
	jw_bool(&wr->w, "ca", ca);
	jw_bool(&wr->w, "private_key", has_key);
	write_sans(&wr->w, i);
	request_item_end(&wr->w);
}

void cmd_listcerts(struct request *r)
{
	static const struct {
		enum cred_kind kind;
		const char *name;
	} kinds[] = {{CRED_PSK, "psk"}, {CRED_RSA, "rsa"}, {CRED_ECDSA, "ecdsa"}, {CRED_PKCS8, "pkcs8"},
	    {CRED_P12, "p12"}, {CRED_XAUTH, "xauth"}, {CRED_EAP, "eap"}};
	struct daemon *d = r->control->d;
	struct config *c = daemon_config(d);
	struct writer wr = {.r = r, .pki = crypto_pki(d->crypto)};

	if (!wr.pki || !c || !c->creds) {
		request_fail(r, "unsupported", "no plugin reads certificates (openssl)");
		config_unref(c);
		return;
	}
	request_begin(r, &wr.w, "data");
	jw_obj(&wr.w, "data");
	jw_obj(&wr.w, "secrets"); /* counted, never shown */
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		jw_u64(&wr.w, kinds[i].name, creds_count(c->creds, kinds[i].kind));
	jw_obj_end(&wr.w);
	jw_obj_end(&wr.w);
	request_line_end(&wr.w);
	creds_list(c->creds, on_cert, &wr);
	config_unref(c);
	request_send_all(r, &wr.w);
}

/* --- leases -------------------------------------------------------------------------------------------------------------------- */

static void on_pool(void *user, const struct lease_pool_info *i)
{
	struct writer *wr = user;

	request_item(wr->r, &wr->w, "pools");
	jw_str(&wr->w, "name", i->pool);
	jw_u64(&wr->w, "size", i->size);
	jw_u64(&wr->w, "online", i->online);
	jw_u64(&wr->w, "offline", i->offline);
	request_item_end(&wr->w);
}

static void on_lease(void *user, const struct lease_info *i)
{
	struct writer *wr = user;
	char text[ADDR_STR_MAX];

	request_item(wr->r, &wr->w, "leases");
	jw_str(&wr->w, "pool", i->pool);
	jw_str(&wr->w, "address", addr_str(&i->addr, text));
	jw_str(&wr->w, "owner", i->key);
	jw_bool(&wr->w, "online", i->session != 0);
	jw_u64(&wr->w, "ike_id", i->session);
	jw_i64(&wr->w, "since", i->since);
	jw_i64(&wr->w, "until", i->until);
	request_item_end(&wr->w);
}

void cmd_leases(struct request *r)
{
	struct writer wr = {.r = r};

	leases_pools(r->control->d->leases, on_pool, &wr);
	leases_list(r->control->d->leases, on_lease, &wr);
	request_send_all(r, &wr.w);
}
