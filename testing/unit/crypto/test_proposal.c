/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <stdlib.h>

#include "crypto_host.h"
#include "libcore/base/err.h"
#include "libcore/crypto/proposal.h"
#include "unit.h"

static struct proposal_list parsed;
static bool strict, legacy;

static void teardown(void)
{
	proposal_list_fini(&parsed);
}

static void parse(const char *text, enum proposal_proto proto, bool libreswan)
{
	char *why = NULL;
	enum cy_err err;

	proposal_list_fini(&parsed);
	err = proposal_parse(text, proto, libreswan, &parsed, &strict, &legacy, &why);
	ck_assert_msg(err == CY_OK, "%s: %s", text, why ? why : "?");
}

static void reads_as(const char *text, enum proposal_proto proto, bool libreswan, const char *want)
{
	char got[2048];

	parse(text, proto, libreswan);
	ck_assert_uint_eq(parsed.n, 1);
	ck_assert_str_eq(proposal_str(&parsed.p[0], got, sizeof(got)), want);
}

START_TEST(strongswan_words)
{
	static const char *const ciphers[][2] = {
	    {"aes", "AES_CBC_128"},
	    {"aes128", "AES_CBC_128"},
	    {"aes192", "AES_CBC_192"},
	    {"aes256", "AES_CBC_256"},
	    {"AES256", "AES_CBC_256"},
	    {"aes128ctr", "AES_CTR_128"},
	    {"aes256ctr", "AES_CTR_256"},
	    {"3des", "3DES_CBC"},
	    {"camellia128", "CAMELLIA_CBC_128"},
	    {"camellia256", "CAMELLIA_CBC_256"},
	    {"null", "NULL"},
	};
	static const char *const aeads[][2] = {
	    {"aes128gcm16", "AES_GCM_16_128"},
	    {"aes128gcm128", "AES_GCM_16_128"},
	    {"aes192gcm12", "AES_GCM_12_192"},
	    {"aes256gcm96", "AES_GCM_12_256"},
	    {"aes256gcm8", "AES_GCM_8_256"},
	    {"aes256gcm64", "AES_GCM_8_256"},
	    {"aes128ccm16", "AES_CCM_16_128"},
	    {"aes256ccm64", "AES_CCM_8_256"},
	    {"aes128gmac", "NULL_AES_GMAC_128"},
	    {"chacha20poly1305", "CHACHA20_POLY1305"},
	};
	static const char *const integs[][2] = {
	    {"md5", "HMAC_MD5_96"},
	    {"sha", "HMAC_SHA1_96"},
	    {"sha1", "HMAC_SHA1_96"},
	    {"sha256", "HMAC_SHA2_256_128"},
	    {"sha2_256", "HMAC_SHA2_256_128"},
	    {"sha256_96", "HMAC_SHA2_256_96"},
	    {"sha384", "HMAC_SHA2_384_192"},
	    {"sha512", "HMAC_SHA2_512_256"},
	    {"aesxcbc", "AES_XCBC_96"},
	    {"aescmac", "AES_CMAC_96"},
	};
	static const char *const kes[][2] = {
	    {"modp768", "MODP_768"},
	    {"modp1024", "MODP_1024"},
	    {"modp1536", "MODP_1536"},
	    {"modp2048", "MODP_2048"},
	    {"modp8192", "MODP_8192"},
	    {"modp2048s256", "MODP_2048_256"},
	    {"ecp224", "ECP_224"},
	    {"ecp256", "ECP_256"},
	    {"ecp521", "ECP_521"},
	    {"x25519", "CURVE_25519"},
	    {"curve25519", "CURVE_25519"},
	    {"x448", "CURVE_448"},
	    {"curve448", "CURVE_448"},
	};
	char text[128], want[128];

	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
		(void)snprintf(text, sizeof(text), "%s-sha256", ciphers[i][0]);
		(void)snprintf(want, sizeof(want), "ESP:%s/HMAC_SHA2_256_128/NO_EXT_SEQ", ciphers[i][1]);
		reads_as(text, PROTO_ESP, false, want);
	}
	for (size_t i = 0; i < ARRAY_LEN(aeads); i++) {
		(void)snprintf(want, sizeof(want), "ESP:%s/NO_EXT_SEQ", aeads[i][1]);
		reads_as(aeads[i][0], PROTO_ESP, false, want);
	}
	for (size_t i = 0; i < ARRAY_LEN(integs); i++) {
		(void)snprintf(want, sizeof(want), "AH:%s/NO_EXT_SEQ", integs[i][1]);
		reads_as(integs[i][0], PROTO_AH, false, want);
	}
	for (size_t i = 0; i < ARRAY_LEN(kes); i++) {
		(void)snprintf(text, sizeof(text), "aes128-sha1-%s-esn", kes[i][0]);
		(void)snprintf(want, sizeof(want), "ESP:AES_CBC_128/HMAC_SHA1_96/%s/EXT_SEQ", kes[i][1]);
		reads_as(text, PROTO_ESP, false, want);
	}
}
END_TEST

START_TEST(ike_gets_its_prf)
{
	reads_as("aes128-sha256-modp2048", PROTO_IKE, false,
	    "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048");
	reads_as("aes128-sha256-prfsha512-x25519", PROTO_IKE, false,
	    "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_512/CURVE_25519");
	reads_as(
	    "aes256gcm16-prfsha384-ecp384", PROTO_IKE, false, "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384");
	/* with an AEAD a hash is the PRF, as both daemons of the field take it */
	reads_as(
	    "aes256gcm16-sha384-ecp384", PROTO_IKE, false, "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384");
	reads_as("aes128-aesxcbc-modp2048", PROTO_IKE, false,
	    "IKE:AES_CBC_128/AES_XCBC_96/PRF_AES128_XCBC/MODP_2048");
}
END_TEST

START_TEST(alternatives_are_one_proposal)
{
	parse("aes128-aes256-sha256-sha512-x25519-ecp256", PROTO_IKE, false);
	ck_assert_uint_eq(parsed.n, 1);
	ck_assert_uint_eq(parsed.p[0].n, 8);
	ck_assert_uint_eq(parsed.p[0].number, 1);
	ck_assert_uint_eq(parsed.p[0].t[0].type, TRANSFORM_ENCR);
	ck_assert_uint_eq(parsed.p[0].t[0].key_bits, 128);
	ck_assert_uint_eq(parsed.p[0].t[1].key_bits, 256);
	parse("aes128gcm16 , aes256-sha256 !", PROTO_ESP, false);
	ck_assert_uint_eq(parsed.n, 2);
	ck_assert_uint_eq(parsed.p[1].number, 2);
	ck_assert(strict);
	ck_assert(!legacy);
	/* a word twice counts once */
	reads_as("aes128gcm16-aes128gcm128", PROTO_ESP, false, "ESP:AES_GCM_16_128/NO_EXT_SEQ");
}
END_TEST

START_TEST(legacy_is_told)
{
	static const char *const old[] = {"3des-sha256-modp2048", "aes128-md5-modp2048",
	    "aes128-sha1-modp2048", "aes128-sha256-modp1024", "aes128-sha256-prfsha1-modp2048",
	    "aes128-sha256-modp1536-x25519"};

	for (size_t i = 0; i < ARRAY_LEN(old); i++) {
		parse(old[i], PROTO_IKE, false);
		ck_assert_msg(legacy, "%s", old[i]);
	}
	parse("aes128-sha256-modp2048", PROTO_IKE, false);
	ck_assert(!legacy);
	ck_assert(!strict);
}
END_TEST

START_TEST(libreswan_words)
{
	reads_as("aes_gcm256-sha2_512;dh19+dh31", PROTO_IKE, true,
	    "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_512/ECP_256/CURVE_25519");
	reads_as("aes256-sha2_256;modp2048", PROTO_IKE, true,
	    "IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048");
	reads_as("aes-sha1;modp1536", PROTO_IKE, true,
	    "IKE:AES_CBC_256/AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1536");
	reads_as("aes_gcm_c_128-null", PROTO_ESP, true, "ESP:AES_GCM_16_128/NO_EXT_SEQ");
	reads_as("aes_gcm_a192", PROTO_ESP, true, "ESP:AES_GCM_8_192/NO_EXT_SEQ");
	reads_as("aes_cbc128+aes_cbc256-sha2+sha2_512", PROTO_ESP, true,
	    "ESP:AES_CBC_128/AES_CBC_256/HMAC_SHA2_256_128/HMAC_SHA2_512_256/NO_EXT_SEQ");
	reads_as("aes_ctr256-aes_xcbc", PROTO_ESP, true, "ESP:AES_CTR_256/AES_XCBC_96/NO_EXT_SEQ");
	reads_as("chacha20_poly1305", PROTO_ESP, true, "ESP:CHACHA20_POLY1305/NO_EXT_SEQ");
	reads_as("null-sha2_256", PROTO_ESP, true, "ESP:NULL/HMAC_SHA2_256_128/NO_EXT_SEQ");
	reads_as("null_auth_aes_gmac_256", PROTO_ESP, true, "ESP:NULL_AES_GMAC_256/NO_EXT_SEQ");
	reads_as("3des-md5;dh2", PROTO_ESP, true, "ESP:3DES_CBC/HMAC_MD5_96/MODP_1024/NO_EXT_SEQ");
	/* what is left out has libreswan's defaults */
	reads_as("aes256", PROTO_ESP, true, "ESP:AES_CBC_256/HMAC_SHA2_512_256/HMAC_SHA2_256_128/NO_EXT_SEQ");
	parse("aes_gcm", PROTO_IKE, true);
	ck_assert_uint_eq(parsed.p[0].n, 2 + 2 + 7);
}
END_TEST

START_TEST(mistakes_are_explained)
{
	static const struct {
		const char *text;
		enum proposal_proto proto;
		bool libreswan;
		const char *why;
	} cases[] = {
	    {"aes128-sha265-x25519", PROTO_IKE, false,
	        "unknown algorithm \"sha265\"; did you mean \"sha256\"?"},
	    {"qwertyuiop", PROTO_ESP, false, "unknown algorithm \"qwertyuiop\""},
	    {"aes256gcm16-sha256-prfsha256-x25519", PROTO_IKE, false, "integrity check of their own"},
	    {"aes256gcm16-x25519", PROTO_IKE, false, "needs a PRF"},
	    {"aes256-x25519", PROTO_IKE, false, "needs an integrity algorithm"},
	    {"aes256-prfsha256-x25519", PROTO_IKE, false, "needs an integrity algorithm"},
	    {"aes256-sha256", PROTO_IKE, false, "needs a key exchange method"},
	    {"sha256-x25519", PROTO_IKE, false, "needs an encryption algorithm"},
	    {"null-sha256-x25519", PROTO_IKE, false, "must encrypt"},
	    {"aes128gmac-prfsha256-x25519", PROTO_IKE, false, "must encrypt"},
	    {"aes128-sha256-x25519-esn", PROTO_IKE, false, "for ESP and AH only"},
	    {"aes128gcm16-aes128-sha256-x25519", PROTO_IKE, false, "separate proposals"},
	    {"aes128gcm16-aes128-sha256", PROTO_ESP, false, "separate proposals"},
	    {"aes128", PROTO_ESP, false, "no integrity algorithm"},
	    {"null", PROTO_ESP, false, "no integrity algorithm"},
	    {"sha256", PROTO_ESP, false, "needs an encryption algorithm"},
	    {"aes128-sha256-prfsha256", PROTO_ESP, false, "IKE proposals only"},
	    {"aes128-sha256", PROTO_AH, false, "AH does not encrypt"},
	    {"esn", PROTO_AH, false, "no integrity algorithm"},
	    {"", PROTO_ESP, false, "an algorithm is missing"},
	    {"aes128gcm16,", PROTO_ESP, false, "an algorithm is missing"},
	    {"aes128gcm16--x25519", PROTO_ESP, false, "an algorithm is missing"},
	    {"!", PROTO_ESP, false, "an algorithm is missing"},
	    {"aes_gcm512", PROTO_ESP, true, "unknown algorithm \"aes_gcm512\""},
	    {"aes128gcm16aes128gcm16aes128gcm16aes128gcm16", PROTO_ESP, false, "unknown algorithm"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct proposal_list l = {NULL, 0};
		char *why = NULL;

		ck_assert_msg(proposal_parse(cases[i].text, cases[i].proto, cases[i].libreswan, &l, NULL,
		                  NULL, &why) == CY_E_PARSE,
		    "%s", cases[i].text);
		ck_assert_msg(why && strstr(why, cases[i].why), "%s: %s", cases[i].text, why ? why : "?");
		ck_assert_uint_eq(l.n, 0);
		free(why);
	}
}
END_TEST

/* --- choice --- */

static struct proposal_list ours, theirs;
static char why[512];
static struct suite chosen;
static size_t which;

static enum cy_err choose(
    const char *a, const char *b, enum proposal_proto proto, bool prefer_theirs, uint16_t ke, bool ignore_ke)
{
	enum cy_err err;

	parse(a, proto, false);
	ours = parsed;
	parsed = (struct proposal_list){NULL, 0};
	parse(b, proto, false);
	theirs = parsed;
	parsed = (struct proposal_list){NULL, 0};
	err = proposal_select(ours.p, ours.n, theirs.p, theirs.n, prefer_theirs, ke, ignore_ke, &chosen,
	    &which, why, sizeof(why));
	proposal_list_fini(&ours);
	proposal_list_fini(&theirs);
	return err;
}

static void chooses(
    const char *a, const char *b, enum proposal_proto proto, bool prefer_theirs, const char *want)
{
	char got[256];

	ck_assert_msg(choose(a, b, proto, prefer_theirs, 0, false) == CY_OK, "%s", why);
	ck_assert_str_eq(suite_str(&chosen, proto, got, sizeof(got)), want);
}

START_TEST(choice_follows_preference)
{
	chooses("aes256-aes128-sha256-x25519-ecp256", "aes128-aes256-sha1-sha256-ecp256-x25519", PROTO_IKE,
	    false, "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519");
	chooses("aes256-aes128-sha256-x25519-ecp256", "aes128-aes256-sha1-sha256-ecp256-x25519", PROTO_IKE,
	    true, "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256");
	chooses("aes256gcm16-prfsha256-x25519,aes128-sha256-modp2048", "aes128-sha256-modp2048", PROTO_IKE,
	    false, "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048");
	chooses("aes256gcm16-esn-noesn", "aes256gcm16-noesn", PROTO_ESP, false, "AES_GCM_16_256");
	chooses("aes256gcm16-esn-noesn", "aes256gcm16-noesn-esn", PROTO_ESP, false, "AES_GCM_16_256/ESN");
	ck_assert_int_eq(
	    choose("aes128gcm16", "aes128-sha256,aes128gcm16", PROTO_ESP, false, 0, false), CY_OK);
	ck_assert_uint_eq(which, 1);
}
END_TEST

START_TEST(choice_takes_the_key_exchange_sent)
{
	const char *a = "aes128-sha256-x25519-ecp256-modp2048", *b = "aes128-sha256-modp2048-x25519";

	ck_assert_int_eq(choose(a, b, PROTO_IKE, false, CY_KE_MODP_2048, false), CY_OK);
	ck_assert_uint_eq(chosen.ke, CY_KE_MODP_2048);
	ck_assert_int_eq(choose(a, b, PROTO_IKE, false, CY_KE_ECP_256, false), CY_OK);
	ck_assert_uint_eq(chosen.ke, CY_KE_X25519);
}
END_TEST

START_TEST(choice_of_what_is_left_out)
{
	/* PFS on one side only does not meet; with modpnone it may be left out; in IKE_AUTH it does not matter */
	ck_assert_int_eq(
	    choose("aes128gcm16", "aes128gcm16-x25519", PROTO_ESP, false, 0, false), CY_E_NOTFOUND);
	ck_assert_int_eq(
	    choose("aes128gcm16-x25519", "aes128gcm16", PROTO_ESP, false, 0, false), CY_E_NOTFOUND);
	ck_assert_int_eq(
	    choose("aes128gcm16-x25519-modpnone", "aes128gcm16", PROTO_ESP, false, 0, false), CY_OK);
	ck_assert_uint_eq(chosen.ke, 0);
	ck_assert_int_eq(choose("aes128gcm16", "aes128gcm16-x25519", PROTO_ESP, false, 0, true), CY_OK);
	ck_assert_uint_eq(chosen.ke, 0);
}
END_TEST

START_TEST(a_miss_is_explained)
{
	ck_assert_int_eq(choose("aes256-sha256-x25519", "aes128-sha256-modp2048", PROTO_IKE, false, 0, false),
	    CY_E_NOTFOUND);
	ck_assert_str_eq(why,
	    "encryption: ours AES_CBC_256, theirs AES_CBC_128; key exchange: ours CURVE_25519, theirs "
	    "MODP_2048");
	/* of several the nearest */
	ck_assert_int_eq(choose("aes256-sha256-x25519,aes128-sha512-x25519", "aes128-sha256-x25519",
	                     PROTO_IKE, false, 0, false),
	    CY_E_NOTFOUND);
	ck_assert_str_eq(
	    why, "encryption: ours AES_CBC_256, theirs AES_CBC_128 (nearest of 2 and 1 proposals)");
	ck_assert_int_eq(
	    proposal_select(NULL, 0, NULL, 0, false, 0, false, &chosen, &which, why, sizeof(why)),
	    CY_E_NOTFOUND);
	ck_assert_str_eq(why, "none of our proposals can be used");
	/* a small buffer is not overrun */
	memset(why, 'x', sizeof(why));
	ck_assert_int_eq(
	    proposal_select(NULL, 0, NULL, 0, false, 0, false, &chosen, &which, why, 5), CY_E_NOTFOUND);
	ck_assert_str_eq(why, "none");
	ck_assert_int_eq(why[5], 'x');
}
END_TEST

START_TEST(strange_transforms_never_match)
{
	struct proposal a, b;

	parse("aes128gcm16", PROTO_ESP, false);
	a = b = parsed.p[0];
	b.t[0].unknown_attr = 1;
	ck_assert_int_eq(
	    proposal_select(&a, 1, &b, 1, false, 0, false, &chosen, &which, why, sizeof(why)), CY_E_NOTFOUND);
	b = a;
	b.t[b.n++] = (struct transform){.type = 13, .id = 0};
	ck_assert_int_eq(
	    proposal_select(&a, 1, &b, 1, false, 0, false, &chosen, &which, why, sizeof(why)), CY_E_NOTFOUND);
	ck_assert_str_eq(why, "the peer asks for transforms that are not known");
	b = a;
	b.proto = PROTO_AH;
	ck_assert_int_eq(
	    proposal_select(&a, 1, &b, 1, false, 0, false, &chosen, &which, why, sizeof(why)), CY_E_NOTFOUND);
}
END_TEST

START_TEST(an_answer_must_be_one_of_ours)
{
	struct proposal offer, answer;
	struct suite s;

	parse("aes128-aes256-sha256-x25519", PROTO_IKE, false);
	offer = parsed.p[0];
	ck_assert(!proposal_accepts(&offer, 1, &offer, false, &s)); /* two ciphers */
	parse("aes256-sha256-x25519", PROTO_IKE, false);
	answer = parsed.p[0];
	ck_assert(proposal_accepts(&offer, 1, &answer, false, &s));
	ck_assert_uint_eq(s.key_bits, 256);
	parse("aes192-sha256-x25519", PROTO_IKE, false);
	ck_assert(!proposal_accepts(&offer, 1, &parsed.p[0], false, &s));
	proposal_from_suite(&s, PROTO_IKE, &answer);
	ck_assert(proposal_accepts(&offer, 1, &answer, false, &s));
	answer.n--;
	ck_assert(!proposal_accepts(&offer, 1, &answer, false, &s));
}
END_TEST

START_TEST(defaults_hold_what_is_there)
{
	struct crypto_host *h = crypto_host_new("openssl", NULL);
	struct proposal_list l = {NULL, 0};
	struct crypto *nothing;
	size_t encr, integ;
	struct suite s;

	ck_assert_int_eq(crypto_new(NULL, &nothing), CY_OK);
	ck_assert_int_eq(proposal_defaults(nothing, PROTO_IKE, &l), CY_OK);
	ck_assert_uint_eq(l.n, 0);
	crypto_free(nothing);
	if (!h)
		return;
	ck_assert_int_eq(proposal_defaults(crypto_host_crypto(h), PROTO_IKE, &l), CY_OK);
	ck_assert_uint_eq(l.n, 2);
	ck_assert_int_eq(proposal_defaults(crypto_host_crypto(h), PROTO_ESP, &l), CY_OK);
	ck_assert_uint_eq(l.n, 4);
	ck_assert_uint_eq(l.p[2].proto, PROTO_ESP);
	for (size_t i = 0; i < l.n; i++)
		for (size_t k = 0; k < l.p[i].n; k++)
			ck_assert(l.p[i].t[k].type != TRANSFORM_KE || l.p[i].t[k].id != CY_KE_MODP_1024);
	s = (struct suite){.encr = CY_ENCR_AES_GCM_16, .key_bits = 256};
	ck_assert(suite_key_lens(crypto_host_crypto(h), &s, &encr, &integ));
	ck_assert_uint_eq(encr, 36);
	ck_assert_uint_eq(integ, 0);
	s = (struct suite){.encr = CY_ENCR_3DES, .integ = CY_INTEG_HMAC_SHA1_96};
	ck_assert(suite_key_lens(crypto_host_crypto(h), &s, &encr, &integ));
	ck_assert_uint_eq(encr, 24);
	ck_assert_uint_eq(integ, 20);
	s.encr = 99;
	ck_assert(!suite_key_lens(crypto_host_crypto(h), &s, &encr, &integ));
	proposal_list_fini(&l);
	crypto_host_free(h);
}
END_TEST

START_TEST(restriction_keeps_types)
{
	struct crypto_host *h = crypto_host_new("openssl", NULL);
	struct proposal p;

	if (!h)
		return;
	parse("aes128-sha256-x25519", PROTO_IKE, false);
	p = parsed.p[0];
	p.t[p.n++] = (struct transform){.type = TRANSFORM_ENCR, .id = 4711};
	ck_assert(proposal_restrict(crypto_host_crypto(h), &p));
	ck_assert_uint_eq(p.n, 4);
	p.t[0].id = 4711;
	ck_assert(!proposal_restrict(crypto_host_crypto(h), &p));
	crypto_host_free(h);
}
END_TEST

/* Each weak one is named once, with what to write instead; what is fine is not. */
START_TEST(what_to_use_instead)
{
	static const struct {
		const char *text, *instead;
		size_t n;
		enum proposal_proto proto;
	} cases[] = {
	    {"aes256-sha256-modp2048,aes128gcm16-prfsha384-ecp384", "", 0, PROTO_IKE},
	    {"aes256-sha1-modp2048", "sha256 in place of sha1", 1, PROTO_IKE},
	    {"3des-md5-modp1024,aes128-md5-modp1536",
	        "aes256 in place of 3des, sha256 in place of md5, modp2048 or ecp256 in "
	        "place of modp1024, modp2048 or ecp256 in place of modp1536",
	        4, PROTO_IKE},
	    {"3des-sha1", "aes256 in place of 3des, sha256 in place of sha1", 2, PROTO_ESP},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char got[300];

		parse(cases[i].text, cases[i].proto, false);
		ck_assert_uint_eq(proposal_legacy_str(&parsed, got, sizeof(got)), cases[i].n);
		ck_assert_str_eq(got, cases[i].instead);
		ck_assert_int_eq(legacy, cases[i].n != 0);
		/* a small room cuts it */
		ck_assert_uint_eq(proposal_legacy_str(&parsed, got, 10), cases[i].n);
		ck_assert_uint_lt(strlen(got), 10);
	}
}
END_TEST

UNIT_TESTS(proposal)
{
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, strongswan_words);
	tcase_add_test(tc, what_to_use_instead);
	tcase_add_test(tc, ike_gets_its_prf);
	tcase_add_test(tc, alternatives_are_one_proposal);
	tcase_add_test(tc, legacy_is_told);
	tcase_add_test(tc, libreswan_words);
	tcase_add_test(tc, mistakes_are_explained);
	tcase_add_test(tc, choice_follows_preference);
	tcase_add_test(tc, choice_takes_the_key_exchange_sent);
	tcase_add_test(tc, choice_of_what_is_left_out);
	tcase_add_test(tc, a_miss_is_explained);
	tcase_add_test(tc, strange_transforms_never_match);
	tcase_add_test(tc, an_answer_must_be_one_of_ours);
	tcase_add_test(tc, defaults_hold_what_is_there);
	tcase_add_test(tc, restriction_keeps_types);
}
