/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and certificates: what is loaded, whom a certificate is for, and what leads to a trusted CA, each failure in its own words. The
 * files are made by `mkcerts` when the tests begin.
 */

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "crypto/crypto_host.h"
#include "libcore/base/addr.h"
#include "libcore/base/err.h"
#include "libcore/cred/cred.h"

#include "unit.h"

#define DAY 86400

static char dir[64];
static int64_t made; /* when the certificates became valid, or a little later */
static struct crypto_host *host;
static const struct cy_pki_ops *pki;
static struct creds *c;
static char said[65536];

static void note(void *user, enum cy_level level, const char *text)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof(said) - n, "%d %s\n", level, text);
}

/* Once for all tests: they run in copies of this process. */
static void make(void)
{
	char cmd[256];

	strcpy(dir, "/tmp/cygnet-certs-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "sh '%s' %s", MKCERTS, dir);
	ck_assert_int_eq(system(cmd), 0);
	made = time(NULL);
}

static void unmake(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void setup(void)
{
	const struct cred_paths paths = {dir, dir, dir, dir};

	host = crypto_host_new("openssl", NULL);
	ck_assert_ptr_nonnull(host);
	pki = crypto_pki(crypto_host_crypto(host));
	ck_assert_ptr_nonnull(pki);
	ck_assert_int_eq(creds_new(crypto_host_crypto(host), NULL, &paths, &c), CY_OK);
	said[0] = '\0';
}

static void teardown(void)
{
	creds_unref(c);
	crypto_host_free(host);
}

static void trust(const char *file)
{
	ck_assert_int_eq(creds_load_cacerts(c, file, note, NULL), CY_OK);
	ck_assert_str_eq(said, "");
}

struct whole {
	struct cy_cert *certs[8];
	size_t n;
};

static void take_cert(void *user, struct cy_slice der)
{
	struct whole *w = user;

	ck_assert_uint_lt(w->n, ARRAY_LEN(w->certs));
	ck_assert_int_eq(pki->cert_load(der, &w->certs[w->n++], NULL), CY_OK);
}

static void no_key(void *user, struct cy_privkey *key)
{
	pki->privkey_unref(key);
}

/* What a peer sends: the certificates of these files, blanks between, leaf first. */
static struct whole sent(const char *files)
{
	char names[256], *rest = names, *name;
	struct whole w = {.n = 0};

	snprintf(names, sizeof(names), "%s", files);
	while ((name = strsep(&rest, " "))) {
		char path[128], text[32768];
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		FILE *f = fopen(path, "r");
		ck_assert_msg(f != NULL, "%s", path);
		size_t n = fread(text, 1, sizeof(text), f);
		fclose(f);
		ck_assert_int_eq(
		    pki->bundle_load(cy_slice(text, n), NULL, &w, take_cert, no_key, NULL), CY_OK);
	}
	return w;
}

static void unsent(struct whole *w)
{
	while (w->n)
		pki->cert_unref(w->certs[--w->n]);
}

/* "" when trusted, with the subjects of the path in path_text; else why not. */
static char path_text[512];

static const char *verify_at(const char *files, int64_t now, const char *ca)
{
	static char why[256];
	struct whole w = sent(files);
	struct cred_trust t;
	struct ident id = {0};
	enum cy_err e;

	if (ca) {
		ck_assert_int_eq(ident_parse(ca, &id), CY_OK);
		ck_assert_int_eq(cred_ident_resolve(crypto_host_crypto(host), &id), CY_OK);
	}
	e = creds_verify(c, w.certs[0], w.certs + 1, w.n - 1, ca ? &id : NULL, now, &t);
	ident_fini(&id);
	path_text[0] = why[0] = '\0';
	if (e) {
		ck_assert_int_eq(e, CY_E_AUTH);
		ck_assert_ptr_nonnull(t.why);
		snprintf(why, sizeof(why), "%s", t.why);
	}
	for (size_t i = 0; i < t.n; i++) {
		size_t n = strlen(path_text);
		const char *cn = strstr(pki->cert_info(t.path[i])->subject, "CN=");
		snprintf(path_text + n, sizeof(path_text) - n, "%s%s", n ? " < " : "", cn ? cn + 3 : "");
	}
	unsent(&w);
	return why;
}

static const char *verify(const char *files)
{
	return verify_at(files, made + DAY, NULL);
}

/* --- paths --- */

START_TEST(good_paths)
{
	static const char *const leaves[] = {"rsa", "ec", "ed25519", "ed448", "ike", "nonrep"};

	trust("root.pem");
	for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
		char files[64], want[64];
		snprintf(files, sizeof(files), "%s.pem sub.pem", leaves[i]);
		snprintf(want, sizeof(want), "%s < Sub < Root", leaves[i]);
		ck_assert_str_eq(verify(files), "");
		ck_assert_str_eq(path_text, want);
	}
	ck_assert_str_eq(verify("fullchain.pem"), "");
	ck_assert_str_eq(path_text, "web.example.org < R1 < Root");
	ck_assert_str_eq(verify("nosubject.pem sub.pem"), "");
	ck_assert_str_eq(verify("allowed.pem constrained.pem"), "");
}
END_TEST

START_TEST(order_does_not_matter)
{
	trust("root.pem");
	ck_assert_str_eq(verify("deep.pem a.pem b.pem c.pem"), "");
	ck_assert_str_eq(path_text, "deep < C < B < A < Root");
	ck_assert_str_eq(verify("deep.pem root.pem b.pem web.pem c.pem a.pem"), "");
	ck_assert_str_eq(path_text, "deep < C < B < A < Root");
	ck_assert_str_eq(verify("shuffled.pem"), "");
}
END_TEST

START_TEST(intermediates_of_ours_help)
{
	trust("root.pem");
	ck_assert_int_eq(creds_load_cert(c, "shuffled.pem", NULL, note, NULL), CY_OK);
	/* the leaf is another, below the C that came with ours */
	ck_assert_str_ne(verify("ec.pem"), "");
	ck_assert_int_eq(creds_load_cert(c, "sub.pem", NULL, note, NULL), CY_OK);
	ck_assert_str_eq(verify("ec.pem"), "");
}
END_TEST

START_TEST(cross_certified)
{
	trust("other.pem");
	/* the way over Root leads nowhere, the one over Other does, whichever is tried first */
	ck_assert_str_eq(verify("ec.pem sub.pem sub-cross.pem"), "");
	ck_assert_str_eq(path_text, "ec < Sub < Other");
	ck_assert_str_eq(verify("ec.pem root.pem sub-cross.pem sub.pem"), "");
	ck_assert_str_eq(path_text, "ec < Sub < Other");
}
END_TEST

START_TEST(a_trusted_intermediate_is_enough)
{
	trust("sub.pem");
	ck_assert_str_eq(verify("ec.pem"), "");
	ck_assert_str_eq(path_text, "ec < Sub");
}
END_TEST

START_TEST(each_failure_says_why)
{
	static const struct {
		const char *files, *want;
	} cases[] = {
	    {"ec.pem",
	        "no trusted CA certificate for \"C=CH, O=Cygnet, CN=Sub\", which issued \"C=CH, O=Cygnet, "
	        "CN=ec\""},
	    {"stranger.pem", "no trusted CA certificate for \"C=CH, O=Cygnet, CN=Other\""},
	    {"stranger.pem other.pem",
	        "\"C=CH, O=Cygnet, CN=Other\" is self-signed and not one of the CAs we trust"},
	    {"self.pem", "\"C=CH, O=Cygnet, CN=self\" is self-signed and not one"},
	    {"imposter.pem",
	        "the signature of \"C=CH, O=Cygnet, CN=imposter\" was not made by the key of \"C=CH, "
	        "O=Cygnet, CN=Root\""},
	    {"imposter.pem fake/root.pem", "is self-signed and not one of the CAs we trust"},
	    {"exceeded.pem toolong.pem sub.pem",
	        "\"C=CH, O=Cygnet, CN=Sub\" allows 0 CAs between itself and a peer, but here are 1: path "
	        "length exceeded"},
	    {"belowleaf.pem ec.pem sub.pem",
	        "\"C=CH, O=Cygnet, CN=ec\" issued \"C=CH, O=Cygnet, CN=belowleaf\" but is not a CA "
	        "certificate"},
	    {"belownosign.pem nosign.pem", "may not sign certificates: its key usage lacks keyCertSign"},
	    {"forbidden.pem constrained.pem",
	        "the certificates up to \"C=CH, O=Cygnet, CN=Root\" do not stand together: permitted subtree "
	        "violation"},
	    {"critical.pem sub.pem", "do not stand together: unhandled critical extension"},
	    {"ku.pem sub.pem",
	        "is not for signatures: its key usage has neither digitalSignature nor nonRepudiation"},
	    {"eku.pem sub.pem", "is for another purpose: its extended key usage has neither IPsec nor TLS"},
	};

	trust("root.pem");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *why = verify(cases[i].files);
		ck_assert_msg(strstr(why, cases[i].want) != NULL, "%s: %s", cases[i].files, why);
		ck_assert_str_eq(path_text, "");
	}
}
END_TEST

START_TEST(validity)
{
	trust("root.pem");
	ck_assert_ptr_nonnull(strstr(verify_at("ec.pem sub.pem", made - 2 * DAY, NULL),
	    "the certificate \"C=CH, O=Cygnet, CN=ec\" is not valid before 2"));
	ck_assert_ptr_nonnull(strstr(verify_at("ec.pem sub.pem", made + 1001 * DAY, NULL),
	    "the certificate \"C=CH, O=Cygnet, CN=ec\" expired on 2"));
	ck_assert_str_eq(verify_at("belowshort.pem short.pem", made + 9 * DAY, NULL), "");
	ck_assert_ptr_nonnull(strstr(verify_at("belowshort.pem short.pem", made + 11 * DAY, NULL),
	    "the CA certificate \"C=CH, O=Cygnet, CN=Short\" expired on 2"));
}
END_TEST

START_TEST(below_the_ca_that_is_asked_for)
{
	trust("root.pem");
	trust("other.pem");
	ck_assert_str_eq(verify_at("ec.pem sub.pem", made, "C=CH, O=Cygnet, CN=Root"), "");
	ck_assert_str_eq(verify_at("ec.pem sub.pem", made, "C=CH, O=Cygnet, CN=Sub"), "");
	ck_assert_str_eq(verify_at("ec.pem sub.pem", made, "C=CH, O=*, CN=Sub"), "");
	ck_assert_str_eq(verify_at("ec.pem sub.pem sub-cross.pem", made, "C=CH, O=Cygnet, CN=Other"), "");
	ck_assert_str_eq(path_text, "ec < Sub < Other");
	ck_assert_ptr_nonnull(strstr(verify_at("ec.pem sub.pem", made, "C=CH, O=Cygnet, CN=Other"),
	    "is trusted, but not issued below the CA \"C=CH, O=Cygnet, CN=Other\""));
	/* a certificate is not below itself */
	ck_assert_str_ne(verify_at("ec.pem sub.pem", made, "C=CH, O=Cygnet, CN=ec"), "");
}
END_TEST

START_TEST(one_we_were_given_is_trusted)
{
	struct cy_cert *cert;

	ck_assert_int_eq(creds_load_cert(c, "self.pem", &cert, note, NULL), CY_OK);
	ck_assert_str_eq(verify("self.pem"), "");
	ck_assert_str_eq(path_text, "self");
	ck_assert_ptr_nonnull(strstr(verify_at("self.pem", made + 1001 * DAY, NULL), "expired"));
	ck_assert_str_ne(verify_at("self.pem", made, "C=CH, O=Cygnet, CN=Root"), "");
	/* but it is no CA, and what came with another's certificate is not trusted for that */
	ck_assert_int_eq(creds_load_cert(c, "fullchain.pem", &cert, note, NULL), CY_OK);
	ck_assert_str_eq(verify("web.pem"), "");
	ck_assert_str_ne(verify("public.pem"), "");
}
END_TEST

/* --- whom it is for --- */

static bool is_for(const char *file, const char *name)
{
	struct whole w = sent(file);
	struct ident id;
	bool yes;

	ck_assert_int_eq(ident_parse(name, &id), CY_OK);
	ck_assert_int_eq(cred_ident_resolve(crypto_host_crypto(host), &id), CY_OK);
	yes = cred_cert_has_ident(pki->cert_info(w.certs[0]), &id);
	ident_fini(&id);
	unsent(&w);
	return yes;
}

START_TEST(identities)
{
	ck_assert(is_for("ec.pem", "C=CH, O=Cygnet, CN=ec"));
	ck_assert(is_for("ec.pem", "@ec.example.org"));
	ck_assert(is_for("ec.pem", "@EC.Example.ORG"));
	ck_assert(is_for("ec.pem", "ec@example.org"));
	ck_assert(is_for("ec.pem", "192.0.2.7"));
	ck_assert(is_for("ec.pem", "2001:db8::7"));
	ck_assert(!is_for("ec.pem", "C=CH, O=Cygnet, CN=rsa"));
	ck_assert(!is_for("ec.pem", "O=Cygnet, CN=ec"));
	ck_assert(!is_for("ec.pem", "@rsa.example.org"));
	ck_assert(!is_for("ec.pem", "@ec"));
	ck_assert(!is_for("ec.pem", "192.0.2.8"));
	/* a name is no address, an address no name, the CN no name */
	ck_assert(!is_for("ec.pem", "@192.0.2.7"));
	ck_assert(!is_for("web.pem", "email:web.example.org"));
	ck_assert(!is_for("self.pem", "@self"));
	/* what the peer claims is no pattern */
	ck_assert(!is_for("ec.pem", "@*.example.org"));
	ck_assert(!is_for("ec.pem", "*@example.org"));
	ck_assert(!is_for("ec.pem", "C=CH, O=Cygnet, CN=*"));
	ck_assert(!is_for("ec.pem", "%any"));
}
END_TEST

static const char *default_ident(const char *file, const char *wanted)
{
	static char text[IDENT_STR_MAX];
	struct whole w = sent(file);
	struct ident id = {0}, out = {0};
	enum cy_err e;

	if (wanted)
		ck_assert_int_eq(ident_parse(wanted, &id), CY_OK);
	e = cred_default_ident(pki->cert_info(w.certs[0]), wanted ? &id : NULL, &out);
	snprintf(text, sizeof(text), "%s", e ? err_text(e) : ident_str(&out, (char[IDENT_STR_MAX]){0}));
	ident_fini(&id);
	ident_fini(&out);
	unsent(&w);
	return text;
}

START_TEST(default_identity)
{
	ck_assert_str_eq(default_ident("ec.pem", NULL), "C=CH, O=Cygnet, CN=ec");
	ck_assert_str_eq(default_ident("ec.pem", "%any"), "C=CH, O=Cygnet, CN=ec");
	ck_assert_str_eq(default_ident("ec.pem", "@ec.example.org"), "ec.example.org");
	ck_assert_str_eq(default_ident("ec.pem", "@other.example.org"), "C=CH, O=Cygnet, CN=ec");
	ck_assert_str_eq(default_ident("nosubject.pem", NULL), "nosubject.example.org");
}
END_TEST

/* --- loading --- */

static const char *subject(struct cy_cert *cert)
{
	return cert ? pki->cert_info(cert)->subject : "none";
}

START_TEST(bundles_load_whole)
{
	struct cy_cert *cert, *chain[8];

	ck_assert_int_eq(creds_load_cert(c, "fullchain.pem", &cert, note, NULL), CY_OK);
	ck_assert_str_eq(subject(cert), "CN=web.example.org");
	ck_assert_uint_eq(creds_own_chain(c, cert, chain, 8), 1);
	ck_assert_str_eq(subject(chain[0]), "C=US, O=Public, CN=R1");
	ck_assert_int_eq(creds_load_cert(c, "shuffled.pem", &cert, note, NULL), CY_OK);
	ck_assert_str_eq(subject(cert), "C=CH, O=Cygnet, CN=deep");
	/* from the issuer up, and the root stays at home */
	ck_assert_uint_eq(creds_own_chain(c, cert, chain, 8), 3);
	ck_assert_str_eq(subject(chain[0]), "C=CH, O=Cygnet, CN=C");
	ck_assert_str_eq(subject(chain[1]), "C=CH, O=Cygnet, CN=B");
	ck_assert_str_eq(subject(chain[2]), "C=CH, O=Cygnet, CN=A");
	ck_assert_uint_eq(creds_own_chain(c, cert, chain, 2), 2);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(creds_load_cert(c, "cafirst.pem", &cert, note, NULL), CY_OK);
	ck_assert_str_eq(subject(cert), "C=CH, O=Cygnet, CN=deep");
	ck_assert_ptr_nonnull(strstr(said, "cafirst.pem begins with a CA; its certificate 2"));
	ck_assert_int_eq(creds_load_cert(c, "ec.der", &cert, note, NULL), CY_OK);
	ck_assert_str_eq(subject(cert), "C=CH, O=Cygnet, CN=ec");
	ck_assert_int_eq(creds_ca_hashes(c).n, 0);
}
END_TEST

/* Who issued what is kept, until there are more certificates. */
START_TEST(our_chain_is_looked_for_once_for_a_store)
{
	struct cy_cert *cert, *chain[8];

	ck_assert_int_eq(creds_load_cert(c, "deep.pem", &cert, note, NULL), CY_OK);
	ck_assert_uint_eq(creds_own_chain(c, cert, chain, 8), 0);
	ck_assert_uint_eq(creds_own_chain(c, cert, chain, 8), 0);
	ck_assert_int_eq(creds_load_cert(c, "ec.pem", NULL, note, NULL), CY_OK);
	ck_assert_uint_eq(creds_own_chain(c, cert, chain, 8), 0);
	trust("c.pem");
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(creds_own_chain(c, cert, chain, 8), 1);
		ck_assert_str_eq(subject(chain[0]), "C=CH, O=Cygnet, CN=C");
	}
	trust("b.pem");
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(creds_own_chain(c, cert, chain, 8), 2);
		ck_assert_str_eq(subject(chain[1]), "C=CH, O=Cygnet, CN=B");
	}
}
END_TEST

START_TEST(bad_files)
{
	struct cy_cert *cert = NULL;
	struct cy_pubkey *pub = NULL;

	ck_assert_int_eq(creds_load_cert(c, "missing.pem", &cert, note, NULL), CY_E_NOTFOUND);
	ck_assert_int_eq(creds_load_cert(c, "ec.key", &cert, note, NULL), CY_E_PARSE);
	ck_assert_int_eq(creds_load_cert(c, ".", &cert, note, NULL), CY_E_INVAL);
	ck_assert_int_eq(creds_load_cacerts(c, "ec.pem", note, NULL), CY_E_PARSE);
	ck_assert_ptr_nonnull(
	    strstr(said, "(C=CH, O=Cygnet, CN=ec) is left out: it is not a CA certificate"));
	ck_assert_int_eq(creds_load_pubkey(c, "ec.key", &pub, note, NULL), CY_E_PARSE);
	ck_assert_int_eq(creds_load_pubkey(c, "0sAAAA", &pub, note, NULL), CY_E_PARSE);
	ck_assert_int_eq(creds_load_pubkey(c, "0xno", &pub, note, NULL), CY_E_PARSE);
	ck_assert_ptr_null(cert);
	ck_assert_ptr_null(pub);
}
END_TEST

static void secrets(const char *text, enum cy_err want)
{
	said[0] = '\0';
	ck_assert_int_eq(creds_load_secrets_text(c, cy_slice_str(text), "s", note, NULL), want);
}

static void sign_with(struct cy_privkey *key)
{
	const struct cy_slice in = cy_slice_str("what is signed");
	uint8_t sig[1024];
	size_t n = 0;

	ck_assert_ptr_nonnull(key);
	ck_assert_uint_le(pki->privkey_sig_max(key), sizeof(sig));
	ck_assert_int_eq(pki->sign(key, CY_SIG_ECDSA_DER, CY_HASH_SHA2_256, &in, 1, sig, &n), CY_OK);
}

START_TEST(private_keys)
{
	struct cy_cert *cert;
	struct ident id;

	secrets(": RSA rsa.key\n: ECDSA ec-enc.key \"secret\"\n: PKCS8 ed448.key\n", CY_OK);
	ck_assert_str_eq(said, "");
	ck_assert_uint_eq(creds_count(c, CRED_RSA), 1);
	ck_assert_uint_eq(creds_count(c, CRED_ECDSA), 1);
	ck_assert_uint_eq(creds_count(c, CRED_PKCS8), 3);
	ck_assert_int_eq(creds_load_cert(c, "ec.pem", &cert, note, NULL), CY_OK);
	sign_with(creds_find_privkey(c, &pki->cert_info(cert)->key));
	ck_assert_ptr_eq(
	    creds_find_privkey(c, &pki->cert_info(cert)->key), creds_first_privkey(c, CY_KEY_ECDSA));
	ck_assert_ptr_null(creds_first_privkey(c, CY_KEY_ED25519));
	ck_assert_int_eq(ident_parse("@ec.example.org", &id), CY_OK);
	ck_assert_ptr_eq(creds_find_own_cert(c, &id), cert);
	ident_fini(&id);
	/* no key of this one */
	ck_assert_int_eq(creds_load_cert(c, "web.pem", &cert, note, NULL), CY_OK);
	ck_assert_int_eq(ident_parse("@web.example.org", &id), CY_OK);
	ck_assert_ptr_null(creds_find_own_cert(c, &id));
	ident_fini(&id);
}
END_TEST

START_TEST(private_keys_refused)
{
	char cmd[128];

	secrets(": ECDSA ec-enc.key \"wrong\"\n", CY_E_PARSE);
	ck_assert_ptr_nonnull(strstr(said, "s:1: "));
	ck_assert_ptr_nonnull(strstr(said, "holds no private key that can be read"));
	ck_assert_ptr_null(strstr(said, "wrong\n"));
	secrets(": ECDSA ec-enc.key\n", CY_E_PARSE);
	secrets(": ECDSA ec.pem\n", CY_E_PARSE);
	secrets(": ECDSA missing.key\n", CY_E_PARSE);
	ck_assert_ptr_nonnull(strstr(said, "No such file"));
	snprintf(cmd, sizeof(cmd), "chmod 644 %s/ec.key", dir);
	ck_assert_int_eq(system(cmd), 0);
	secrets(": ECDSA ec.key\n", CY_E_PARSE);
	ck_assert_ptr_nonnull(strstr(said, "ec.key: everybody may read this file"));
	snprintf(cmd, sizeof(cmd), "chmod 600 %s/ec.key", dir);
	ck_assert_int_eq(system(cmd), 0);
	secrets(": RSA ec.key\n", CY_OK);
	ck_assert_ptr_nonnull(strstr(said, "its key is ECDSA"));
	ck_assert_uint_eq(creds_count(c, CRED_ECDSA), 1);
}
END_TEST

START_TEST(pkcs12)
{
	struct ident id;

	secrets(": P12 ec.p12 \"wrong\"\n", CY_E_PARSE);
	secrets(": P12 ec.p12 \"secret\"\n", CY_OK);
	ck_assert_int_eq(ident_parse("@ec.example.org", &id), CY_OK);
	ck_assert_str_eq(subject(creds_find_own_cert(c, &id)), "C=CH, O=Cygnet, CN=ec");
	ident_fini(&id);
	/* an intermediate in it is not trusted, a root is */
	ck_assert_uint_eq(creds_ca_hashes(c).n, 0);
	ck_assert_str_ne(verify("ed25519.pem"), "");
	secrets(": P12 rsa.p12 \"secret\"\n", CY_OK);
	ck_assert_uint_eq(creds_ca_hashes(c).n, 20);
	ck_assert_str_eq(verify("ed25519.pem"), "");
	ck_assert_uint_eq(creds_count(c, CRED_PKCS8), 2);
}
END_TEST

struct listing {
	size_t n, cas, keys;
};

static void count(void *user, struct cy_cert *cert, bool ca, bool has_key)
{
	struct listing *l = user;

	l->n++;
	l->cas += ca;
	l->keys += has_key;
}

START_TEST(folder_of_cas)
{
	struct listing l = {0};
	struct whole w = sent("root.pem");

	/* full of other things: what is a CA certificate is trusted, the rest reported */
	ck_assert_int_eq(creds_load_cacerts(c, NULL, note, NULL), CY_OK);
	ck_assert_ptr_nonnull(strstr(said, "ec.key"));
	ck_assert_ptr_nonnull(strstr(said, "web.pem"));
	ck_assert_str_eq(verify("ec.pem"), "");
	struct cy_slice hashes = creds_ca_hashes(c);
	ck_assert_uint_eq(hashes.n % 20, 0);
	bool found = false;
	for (size_t i = 0; i < hashes.n; i += 20)
		found |= memcmp(hashes.p + i, pki->cert_info(w.certs[0])->key.spki_sha1, 20) == 0;
	ck_assert(found);
	unsent(&w);
	creds_list(c, count, &l);
	/* Root, Other, Sub twice, R1, A, B, C, TooLong, NoSign, Short, Constrained */
	ck_assert_uint_eq(l.cas, 12);
	/* Sub has one key and two certificates: one hash */
	ck_assert_uint_eq(hashes.n / 20, 11);
	ck_assert_uint_eq(l.keys, 0);
}
END_TEST

static bool same_spki(struct cy_pubkey *a, const char *pem)
{
	struct whole w = sent(pem);
	bool same = cy_slice_eq(pki->pubkey_spki(a), pki->cert_info(w.certs[0])->spki);

	unsent(&w);
	return same;
}

static void hex_of(const char *file, const char *prefix, char *out, size_t cap)
{
	char path[128];
	size_t n = (size_t)snprintf(out, cap, "%s0x", prefix);
	int byte;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while ((byte = fgetc(f)) != EOF && n + 3 < cap)
		n += (size_t)snprintf(out + n, cap - n, "%02x", (unsigned)byte);
	fclose(f);
}

START_TEST(raw_public_keys)
{
	static const struct {
		const char *file, *cert;
	} cases[] = {{"rsa.pub", "rsa.pem"}, {"rsa.pkcs1", "rsa.pem"}, {"ed25519.pub", "ed25519.pem"}};
	struct cy_pubkey *pub, *again;
	char text[4096];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(creds_load_pubkey(c, cases[i].file, &pub, note, NULL), CY_OK);
		ck_assert(same_spki(pub, cases[i].cert));
		hex_of(cases[i].file, "", text, sizeof(text));
		ck_assert_int_eq(creds_load_pubkey(c, text, &again, note, NULL), CY_OK);
		ck_assert_ptr_eq(again, pub);
	}
	ck_assert_int_eq(creds_load_pubkey(c, "ec.pub", &pub, note, NULL), CY_OK);
	ck_assert(same_spki(pub, "ec.pem"));
	ck_assert_ptr_eq(creds_pubkey_by_text(c, "ec.pub"), pub);
	ck_assert_str_eq(said, "");
}
END_TEST

/* RFC 3110 as libreswan's rightrsasigkey=0s... has it, and the line of an SSH .pub file: built from the modulus. */
START_TEST(rsa_keys_of_other_formats)
{
	struct cy_pubkey *pub, *want;
	char path[128], modulus[1024], text[2048];
	FILE *f;

	ck_assert_int_eq(creds_load_pubkey(c, "rsa.pub", &want, note, NULL), CY_OK);
	snprintf(path, sizeof(path), "openssl x509 -in %s/rsa.pem -noout -modulus", dir);
	f = popen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "Modulus=%1023s", modulus), 1);
	ck_assert_int_eq(pclose(f), 0);
	ck_assert_uint_eq(strlen(modulus), 512);
	snprintf(text, sizeof(text), "0x03010001%s", modulus);
	ck_assert_int_eq(creds_load_pubkey(c, text, &pub, note, NULL), CY_OK);
	ck_assert_ptr_eq(pub, want);
	snprintf(text, sizeof(text), "dns:0x03010001%s", modulus);
	ck_assert_int_eq(creds_load_pubkey(c, text, &pub, note, NULL), CY_OK);
	ck_assert_ptr_eq(pub, want);
	/* string "ssh-rsa", mpint e, mpint n (RFC 4253, 6.6) */
	snprintf(text, sizeof(text), "ssh:0x000000077373682d72736100000003010001%08x00%s", 257, modulus);
	ck_assert_int_eq(creds_load_pubkey(c, text, &pub, note, NULL), CY_OK);
	ck_assert_ptr_eq(pub, want);
}
END_TEST

START_TEST(ssh_ed25519)
{
	/* the key of RFC 8032, 7.1, test 1, as ssh-keygen writes it */
	static const char line[] =
	    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea me@here\n";
	static const uint8_t tail[] = {0xd7, 0x5a, 0x98, 0x01};
	struct cy_pubkey *pub;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/ssh.txt", dir);
	f = fopen(path, "w");
	fputs(line, f);
	fclose(f);
	ck_assert_int_eq(creds_load_pubkey(c, "ssh.txt", &pub, note, NULL), CY_OK);
	ck_assert_int_eq(pki->pubkey_info(pub)->type, CY_KEY_ED25519);
	struct cy_slice spki = pki->pubkey_spki(pub);
	ck_assert_uint_eq(spki.n, 44);
	ck_assert_mem_eq(spki.p + 12, tail, sizeof(tail));
}
END_TEST

START_TEST(names_become_der)
{
	struct creds *d;
	struct ident id[2];
	struct cy_slice s;

	secrets("\"C=CH, O=Cygnet, CN=ec\" @gw : PSK \"by name\"\n\"C=CH, O=Cygnet, CN=*\" @gw : PSK \"by "
	        "pattern\"\n",
	    CY_OK);
	ck_assert_int_eq(ident_parse("/C=CH/O=Cygnet/CN=ec", &id[0]), CY_OK);
	ck_assert_int_eq(cred_ident_resolve(crypto_host_crypto(host), &id[0]), CY_OK);
	ck_assert_int_eq(id[0].type, ID_DER_ASN1_DN);
	ck_assert_int_eq(ident_parse("@gw", &id[1]), CY_OK);
	ck_assert(creds_find_psk(c, &id[1], &id[0], NULL, NULL, &s));
	ck_assert(cy_slice_eq(s, cy_slice_str("by name")));
	ident_fini(&id[0]);
	ck_assert_int_eq(ident_parse("C=CH, O=Cygnet, CN=other", &id[0]), CY_OK);
	ck_assert_int_eq(cred_ident_resolve(NULL, &id[0]), CY_E_UNSUPPORTED);
	ck_assert_int_eq(cred_ident_resolve(crypto_host_crypto(host), &id[0]), CY_OK);
	ck_assert(creds_find_psk(c, &id[1], &id[0], NULL, NULL, &s));
	ck_assert(cy_slice_eq(s, cy_slice_str("by pattern")));
	ident_fini(&id[0]);
	ident_fini(&id[1]);
	d = creds_ref(c);
	creds_unref(d);
}
END_TEST

UNIT_TESTS(certs)
{
	if (strstr(" " PLUGINS_BUILT " ", " openssl ") == NULL)
		return; /* nobody reads certificates */
	tcase_add_unchecked_fixture(tc, make, unmake);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, good_paths);
	tcase_add_test(tc, order_does_not_matter);
	tcase_add_test(tc, intermediates_of_ours_help);
	tcase_add_test(tc, cross_certified);
	tcase_add_test(tc, a_trusted_intermediate_is_enough);
	tcase_add_test(tc, each_failure_says_why);
	tcase_add_test(tc, validity);
	tcase_add_test(tc, below_the_ca_that_is_asked_for);
	tcase_add_test(tc, one_we_were_given_is_trusted);
	tcase_add_test(tc, identities);
	tcase_add_test(tc, default_identity);
	tcase_add_test(tc, bundles_load_whole);
	tcase_add_test(tc, our_chain_is_looked_for_once_for_a_store);
	tcase_add_test(tc, bad_files);
	tcase_add_test(tc, private_keys);
	tcase_add_test(tc, private_keys_refused);
	tcase_add_test(tc, pkcs12);
	tcase_add_test(tc, folder_of_cas);
	tcase_add_test(tc, raw_public_keys);
	tcase_add_test(tc, rsa_keys_of_other_formats);
	tcase_add_test(tc, ssh_ed25519);
	tcase_add_test(tc, names_become_der);
}
