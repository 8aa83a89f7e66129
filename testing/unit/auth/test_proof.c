/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH as it is made and as it is believed: pre-shared keys (RFC 7296, 2.15), signatures (RFC 7427, 4754, 8420). */
#include "unit.h"

#include "daemon/auth/auth.h"
#include "daemon/policy/select.h"
#include "daemon/wire/message.h"
#include "ikev2/duel.h"
#include "libcore/base/addr.h"
#include "libcore/conf/conf.h"

#define ALL_HASHES                                                                                           \
	(1u << CY_HASH_SHA2_256 | 1u << CY_HASH_SHA2_384 | 1u << CY_HASH_SHA2_512 | 1u << CY_HASH_IDENTITY)

static struct duel *world; /* for its daemon with crypto */
static struct config *config;

static void setup(void)
{
	world = duel_new();
}

static void teardown(void)
{
	config_unref(config);
	config = NULL;
	duel_free(world);
}

static void on_problem(void *user, const struct conf_problem *p)
{
	(void)user;
	if (p->level <= CY_LOG_WARN)
		ck_abort_msg("%s:%u: %s", p->file, p->line, p->text);
}

/* One connection of these lines, and what there is of secrets: a pre-shared key, a private key's file; NULL none. */
static void configure(const char *lines, const char *psk, const char *key)
{
	struct daemon *d = world->a.d;
	const struct cy_pki_ops *pki = crypto_pki(d->crypto);
	struct cy_pubkey *pub;
	struct ident ids[2];
	char text[1024];
	int n = snprintf(text, sizeof(text),
	    "config setup\n  dialect=strongswan\nconn c\n  keyexchange=ikev2\n  left=10.0.0.1\n  "
	    "right=10.0.0.2\n  auto=add\n%s\n",
	    lines);

	config_unref(config);
	config = calloc(1, sizeof(*config));
	ck_assert_ptr_nonnull(config);
	config->refs = 1;
	config->index_free = conn_index_free;
	ck_assert_int_eq(conf_load_text(text, (size_t)n, "auth", on_problem, NULL, &config->conf), CY_OK);
	ck_assert_int_eq(conn_index_new(config->conf, &config->index), CY_OK);
	ck_assert_int_eq(creds_new(d->crypto, d->log, NULL, &config->creds), CY_OK);
	if (psk) {
		ck_assert_int_eq(ident_parse("10.0.0.1", &ids[0]), CY_OK);
		ck_assert_int_eq(ident_parse("10.0.0.2", &ids[1]), CY_OK);
		ck_assert_int_eq(creds_add_psk(config->creds, ids, 2, cy_slice_str(psk)), CY_OK);
		ident_fini(&ids[0]);
		ident_fini(&ids[1]);
	}
	if (key) {
		static char buf[8192];
		struct cy_privkey *priv;
		FILE *f = fopen(key, "re");
		size_t len = f ? fread(buf, 1, sizeof(buf), f) : 0;

		ck_assert_ptr_nonnull(f);
		(void)fclose(f);
		ck_assert_int_eq(pki->privkey_load(cy_slice(buf, len), NULL, NULL, &priv, NULL), CY_OK);
		ck_assert_int_eq(creds_add_privkey(config->creds, priv), CY_OK);
	}
	for (int side = 0; side < 2; side++) {
		const struct conn *c = config->conf->conns[0];
		const struct conn_end *e = side ? &c->remote : &c->local;

		if (e->auth[0].pubkey)
			ck_assert_int_eq(
			    creds_load_pubkey(config->creds, e->auth[0].pubkey, &pub, NULL, NULL), CY_OK);
	}
}

static struct auth_op *op_new(bool sign, const char *message)
{
	static const uint8_t nonce[16] = {
	    0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55};
	static const uint8_t id[] = {1, 0, 0, 0, 10, 0, 0, 1};
	struct auth_op *op = auth_op_new(world->a.d, config, config->conf->conns[0], sign);
	uint8_t sk_p[32];

	for (uint8_t i = 0; i < sizeof(sk_p); i++)
		sk_p[i] = i;
	ck_assert_ptr_nonnull(op);
	ck_assert_int_eq(
	    auth_set_octets(op, CY_PRF_HMAC_SHA2_256, cy_slice_str(message), cy_slice(nonce, sizeof(nonce)),
	        cy_slice(sk_p, sizeof(sk_p)), cy_slice(id, sizeof(id))),
	    CY_OK);
	ck_assert_int_eq(ident_parse("10.0.0.1", &op->local_id), CY_OK);
	ck_assert_int_eq(ident_parse("10.0.0.2", &op->remote_id), CY_OK);
	op->local = world->a.addr;
	op->remote = world->b.addr;
	op->peer_hashes = ALL_HASHES;
	return op;
}

/* What the signer made, as it arrives; one bit of it may be wrong. */
static struct auth_op *receive(const struct auth_op *made, const char *message, size_t flip)
{
	struct auth_op *op = op_new(false, message);

	op->method = made->method;
	op->data.n = made->data.n;
	op->data.p = malloc(made->data.n);
	ck_assert_ptr_nonnull(op->data.p);
	memcpy(op->data.p, made->data.p, made->data.n);
	if (flip < op->data.n)
		op->data.p[flip] ^= 1;
	return op;
}

static enum cy_err check(const struct auth_op *made, const char *message, size_t flip, const char *why)
{
	struct auth_op *op = receive(made, message, flip);
	enum cy_err e = auth_verify(op);

	if (why)
		ck_assert_msg(strstr(op->why, why) != NULL, "%s: %s", why, op->why);
	auth_op_free(op);
	return e;
}

/* --- pre-shared keys ------------------------------------------------------------------------------------------------------ */

/* Computed apart from this, with Python's hmac. */
START_TEST(a_pre_shared_key)
{
	static const uint8_t want[32] = {0xe8, 0xf3, 0x59, 0x1f, 0x10, 0xbd, 0xd0, 0x05, 0xc1, 0x8d, 0x74,
	    0xd6, 0x78, 0x57, 0xc7, 0xb0, 0x17, 0x40, 0x6f, 0xe1, 0xa9, 0xf1, 0xb0, 0xc7, 0x19, 0xcd, 0xb3,
	    0xa0, 0xc4, 0xbe, 0x31, 0x7b};
	struct auth_op *op;

	configure("  authby=secret", "sesame", NULL);
	op = op_new(true, "the message");
	ck_assert(!auth_sign_is_slow(op));
	ck_assert(!auth_verify_is_slow(op));
	ck_assert_int_eq(auth_sign(op), CY_OK);
	ck_assert_int_eq(op->method, AUTHM_PSK);
	ck_assert_uint_eq(op->data.n, sizeof(want));
	ck_assert_mem_eq(op->data.p, want, sizeof(want));
	ck_assert_int_eq(check(op, "the message", SIZE_MAX, NULL), CY_OK);
	ck_assert_int_eq(check(op, "the massage", SIZE_MAX, "differs from ours"), CY_E_AUTH);
	ck_assert_int_eq(check(op, "the message", 0, "differs from ours"), CY_E_AUTH);
	ck_assert_int_eq(check(op, "the message", 31, "differs from ours"), CY_E_AUTH);
	op->data.n = 31;
	ck_assert_int_eq(check(op, "the message", SIZE_MAX, "differs from ours"), CY_E_AUTH);
	op->data.n = 0;
	ck_assert_int_eq(check(op, "the message", SIZE_MAX, "differs from ours"), CY_E_AUTH);
	auth_op_free(op);
}
END_TEST

START_TEST(no_key_and_the_wrong_way)
{
	struct auth_op *op, *other;

	configure("  authby=secret", NULL, NULL);
	op = op_new(true, "m");
	ck_assert_int_eq(auth_sign(op), CY_E_AUTH);
	ck_assert_ptr_nonnull(strstr(op->why, "no pre-shared key"));
	auth_op_free(op);
	configure("  authby=secret", "sesame", NULL);
	op = op_new(true, "m");
	ck_assert_int_eq(auth_sign(op), CY_OK);
	op->method = AUTHM_RSA; /* a signature where a pre-shared key is wanted, and the other way round */
	ck_assert_int_eq(check(op, "m", SIZE_MAX, "wants a pre-shared key"), CY_E_AUTH);
	op->method = AUTHM_PSK;
	configure("  authby=pubkey\n  rightsigkey=" PKI_DIR "/ed25519-pub.der", "sesame", NULL);
	other = receive(op, "m", SIZE_MAX);
	ck_assert_int_eq(auth_verify(other), CY_E_AUTH);
	ck_assert_ptr_nonnull(strstr(other->why, "wants a public key"));
	auth_op_free(other);
	auth_op_free(op);
}
END_TEST

/* --- signatures --------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *key, *pub;
	uint8_t method, old; /* with RFC 7427, and without; 0: it cannot */
} keys[] = {
    {PKI_DIR "/rsa.pem", PKI_DIR "/rsa-pub.der", AUTHM_DIGITAL_SIGNATURE, AUTHM_RSA},
    {PKI_DIR "/ec256.pem", PKI_DIR "/ec256-pub.der", AUTHM_DIGITAL_SIGNATURE, AUTHM_ECDSA_256},
    {PKI_DIR "/ec384.pem", PKI_DIR "/ec384-pub.der", AUTHM_DIGITAL_SIGNATURE, AUTHM_ECDSA_384},
    {PKI_DIR "/ec521.pem", PKI_DIR "/ec521-pub.der", AUTHM_DIGITAL_SIGNATURE, AUTHM_ECDSA_521},
    {PKI_DIR "/ed25519.pem", PKI_DIR "/ed25519-pub.der", AUTHM_DIGITAL_SIGNATURE, 0},
    {PKI_DIR "/ed448.pem", PKI_DIR "/ed448-pub.der", AUTHM_DIGITAL_SIGNATURE, 0},
};

static void configure_key(size_t i, const char *more)
{
	char lines[600];

	snprintf(lines, sizeof(lines), "  authby=pubkey\n  leftsigkey=%s\n  rightsigkey=%s\n%s", keys[i].pub,
	    keys[i].pub, more);
	configure(lines, NULL, keys[i].key);
}

static struct auth_op *signer(uint32_t hashes)
{
	struct auth_op *op = op_new(true, "a message");

	ident_fini(&op->local_id);
	op->peer_hashes = hashes;
	ck_assert_msg(auth_pick_own(op) == CY_OK, "%s", op->why);
	return op;
}

START_TEST(every_key_both_ways)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		for (int old = 0; old < 2; old++) {
			struct auth_op *op;

			configure_key(i, "");
			op = signer(old ? 0 : ALL_HASHES);
			if (old && !keys[i].old) {
				ck_assert_int_eq(auth_sign(op), CY_E_AUTH);
				ck_assert_ptr_nonnull(strstr(op->why, "RFC 8420"));
				auth_op_free(op);
				continue;
			}
			ck_assert_msg(auth_sign(op) == CY_OK, "%s: %s", keys[i].key, op->why);
			ck_assert_int_eq(op->method, old ? keys[i].old : keys[i].method);
			ck_assert_int_eq(check(op, "a message", SIZE_MAX, NULL), CY_OK);
			ck_assert_int_eq(check(op, "another message", SIZE_MAX, "signature of"), CY_E_AUTH);
			ck_assert_int_eq(check(op, "a message", op->data.n - 1, "signature of"), CY_E_AUTH);
			if (!old)
				ck_assert_int_ne(check(op, "a message", 0, NULL), CY_OK);
			auth_op_free(op);
		}
}
END_TEST

/* The peer takes only some hashes, and the connection wants one of them (authby=rsa-sha2_512). */
START_TEST(a_hash_that_both_take)
{
	struct auth_op *op;
	const struct auth_algid *a;

	configure_key(0, "");
	op = signer(1u << CY_HASH_SHA2_384);
	ck_assert_int_eq(auth_sign(op), CY_OK);
	ck_assert_int_eq(op->method, AUTHM_DIGITAL_SIGNATURE);
	a = auth_algid_find(cy_slice(op->data.p + 1, op->data.p[0]));
	ck_assert(a && a->key == CY_KEY_RSA && a->hash == CY_HASH_SHA2_384);
	auth_op_free(op);
	op = signer(1u << CY_HASH_IDENTITY); /* nothing that RSA can use: RFC 7296 */
	ck_assert_int_eq(auth_sign(op), CY_OK);
	ck_assert_int_eq(op->method, AUTHM_RSA);
	auth_op_free(op);
}
END_TEST

START_TEST(another_key_is_not_believed)
{
	struct auth_op *op;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t next = (i + 1) % (sizeof(keys) / sizeof(keys[0]));

		configure_key(i, "");
		op = signer(ALL_HASHES);
		ck_assert_int_eq(auth_sign(op), CY_OK);
		configure_key(next, "");
		ck_assert_int_eq(check(op, "a message", SIZE_MAX, ""), CY_E_AUTH);
		configure(
		    "  authby=pubkey", NULL, keys[i].key); /* no key is named, and it sent no certificate */
		ck_assert_int_eq(check(op, "a message", SIZE_MAX, "sent no certificate"), CY_E_AUTH);
		auth_op_free(op);
	}
}
END_TEST

static void on_cert(void *user, struct cy_slice der)
{
	struct auth_op *op = user;
	struct cy_buf *to = &op->certs[op->n_certs++];

	to->p = malloc(der.n);
	ck_assert_ptr_nonnull(to->p);
	memcpy(to->p, der.p, der.n);
	to->n = der.n;
}

static void on_key(void *user, struct cy_privkey *take)
{
	(void)user;
	crypto_pki(world->a.d->crypto)->privkey_unref(take);
}

static void send_cert(struct auth_op *op, const char *file)
{
	static char buf[8192];
	FILE *f = fopen(file, "re");
	size_t n = f ? fread(buf, 1, sizeof(buf), f) : 0;

	ck_assert_ptr_nonnull(f);
	(void)fclose(f);
	ck_assert_int_eq(
	    crypto_pki(world->a.d->crypto)->bundle_load(cy_slice(buf, n), NULL, op, on_cert, on_key, NULL),
	    CY_OK);
}

static void verify_is_slow(const char *cert, const char *another, bool want)
{
	struct auth_op *op = op_new(false, "a message");

	send_cert(op, cert);
	if (another)
		send_cert(op, another);
	ck_assert(auth_verify_is_slow(op) == want);
	auth_op_free(op);
}

START_TEST(what_is_worth_the_pool)
{
	static const bool slow[] = {true, false, true, true, false, true};
	struct auth_op *made, *op;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		configure_key(i, "");
		op = signer(ALL_HASHES);
		ck_assert(auth_sign_is_slow(op) == slow[i]);
		auth_op_free(op);
	}
	verify_is_slow(PKI_DIR "/leaf.pem", NULL, true); /* a key is named: any of ours */
	configure("  authby=pubkey", NULL, PKI_DIR "/ec256.pem");
	verify_is_slow(PKI_DIR "/leaf.pem", NULL, false);
	verify_is_slow(PKI_DIR "/ed.pem", NULL, false);
	verify_is_slow(PKI_DIR "/leaf.pem", PKI_DIR "/sub.pem", true); /* whatever comes after the first */
	verify_is_slow(PKI_DIR "/bare.pem", NULL, true);               /* RSA */
	verify_is_slow(PKI_DIR "/ncca.pem", NULL, true);               /* P-384 */
	/* looked at or not, what it says is checked */
	made = signer(ALL_HASHES);
	ck_assert_int_eq(auth_sign(made), CY_OK);
	for (int looked = 0; looked < 2; looked++)
		for (int wrong = 0; wrong < 2; wrong++) {
			op = receive(made, wrong ? "another message" : "a message", SIZE_MAX);
			send_cert(op, PKI_DIR "/leaf.pem");
			if (looked)
				ck_assert(!auth_verify_is_slow(op));
			ck_assert_int_eq(auth_verify(op), CY_E_AUTH);
			ck_assert_msg(
			    strstr(op->why, wrong ? "signature of" : "does not carry the identity") != NULL,
			    "%s", op->why);
			auth_op_free(op);
		}
	auth_op_free(made);
}
END_TEST

/* RFC 7427, 3: a length, an AlgorithmIdentifier, the signature. */
START_TEST(algorithm_identifiers_that_are_not_taken)
{
	const struct auth_algid *sha1 = auth_algid_for(CY_KEY_RSA, CY_SIG_RSA_PKCS1, CY_HASH_SHA1);
	struct auth_op *op;
	uint8_t *p;

	configure_key(0, "");
	op = signer(ALL_HASHES);
	ck_assert_int_eq(auth_sign(op), CY_OK);
	if (sha1) { /* known, and not announced */
		p = malloc(1 + sha1->der.n + 256);
		ck_assert_ptr_nonnull(p);
		p[0] = (uint8_t)sha1->der.n;
		memcpy(p + 1, sha1->der.p, sha1->der.n);
		memset(p + 1 + sha1->der.n, 1, 256);
		free(op->data.p);
		op->data.p = p;
		op->data.n = 1 + sha1->der.n + 256;
		ck_assert_int_eq(check(op, "a message", SIZE_MAX, "SHA-1"), CY_E_AUTH);
	}
	op->data.p[0] = 255; /* longer than it is */
	op->data.n = 20;
	ck_assert_int_ne(check(op, "a message", SIZE_MAX, NULL), CY_OK);
	op->data.p[0] = 3;
	ck_assert_int_ne(check(op, "a message", SIZE_MAX, "algorithm we do not know"), CY_OK);
	op->data.n = 0;
	ck_assert_int_ne(check(op, "a message", SIZE_MAX, NULL), CY_OK);
	auth_op_free(op);
}
END_TEST

START_TEST(without_a_private_key)
{
	struct auth_op *op;

	configure("  authby=pubkey", NULL, NULL);
	op = op_new(true, "m");
	ck_assert_int_eq(auth_pick_own(op), CY_E_AUTH);
	ck_assert_ptr_nonnull(strstr(op->why, "no private key for connection c"));
	auth_op_free(op);
}
END_TEST

UNIT_TESTS(proof)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_pre_shared_key);
	tcase_add_test(tc, no_key_and_the_wrong_way);
	tcase_add_test(tc, every_key_both_ways);
	tcase_add_test(tc, a_hash_that_both_take);
	tcase_add_test(tc, another_key_is_not_believed);
	tcase_add_test(tc, what_is_worth_the_pool);
	tcase_add_test(tc, algorithm_identifiers_that_are_not_taken);
	tcase_add_test(tc, without_a_private_key);
}
