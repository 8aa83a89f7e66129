/* SPDX-License-Identifier: Apache-2.0 */
/* ipsec.secrets: what is read, what is refused, and which secret belongs to whom. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"
#include "libcore/cred/cred.h"

#include "unit.h"

struct said {
	char text[8192];
	size_t n, lines;
};

static void note(void *user, enum cy_level level, const char *text)
{
	struct said *s = user;

	s->lines += level <= CY_LOG_WARN;
	if (s->n < sizeof(s->text))
		s->n += (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n, "%d %s\n", level, text);
}

static struct creds *new_creds(void)
{
	struct creds *c;

	ck_assert_int_eq(creds_new(NULL, NULL, NULL, &c), CY_OK);
	return c;
}

static struct creds *load(const char *text, enum cy_err want, struct said *said)
{
	struct creds *c = new_creds();

	*said = (struct said){0};
	ck_assert_int_eq(creds_load_secrets_text(c, cy_slice_str(text), "s", note, said), want);
	return c;
}

/* Identities as ipsec.conf writes them; an address also stands for itself. NULL: unknown. */
static const char *psk(const struct creds *c, const char *local, const char *remote)
{
	static char out[256];
	struct ident ids[2] = {{0}};
	struct cy_addr addr[2] = {{0}};
	struct cy_slice s;
	bool found;

	if (local)
		ck_assert_int_eq(ident_parse(local, &ids[0]), CY_OK);
	if (remote)
		ck_assert_int_eq(ident_parse(remote, &ids[1]), CY_OK);
	found = creds_find_psk(c, local ? &ids[0] : NULL, remote ? &ids[1] : NULL, &addr[0], &addr[1], &s);
	ident_fini(&ids[0]);
	ident_fini(&ids[1]);
	if (!found)
		return "none";
	snprintf(out, sizeof(out), "%.*s", (int)s.n, s.p);
	return out;
}

START_TEST(reads_every_spelling_of_a_psk)
{
	static const char *const values[] = {"\"swordfish\"", "'swordfish'", "swordfish",
	    "0x73776f726466697368", "0X73_77:6F726466697368", "0sc3dvcmRmaXNo", "0Sc3dvcmRmaXNo"};
	struct said said;

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		char text[128];
		snprintf(text, sizeof(text), "10.0.0.1 10.0.0.2 : PSK %s # the secret\n", values[i]);
		struct creds *c = load(text, CY_OK, &said);
		ck_assert_str_eq(psk(c, "10.0.0.1", "10.0.0.2"), "swordfish");
		ck_assert_uint_eq(creds_count(c, CRED_PSK), 1);
		ck_assert_uint_eq(said.lines, 0);
		creds_unref(c);
	}
}
END_TEST

START_TEST(base64_padding)
{
	struct said said;
	struct creds *c =
	    load("@a : PSK 0sYQ==\n@b : PSK 0sYmI=\n@c : PSK 0sY2Nj\n@d : PSK 0sYQ\n", CY_OK, &said);

	ck_assert_str_eq(psk(c, "@a", "@x"), "a");
	ck_assert_str_eq(psk(c, "@b", "@x"), "bb");
	ck_assert_str_eq(psk(c, "@c", "@x"), "ccc");
	ck_assert_str_eq(psk(c, "@d", "@x"), "a");
	creds_unref(c);
}
END_TEST

START_TEST(continues_on_indented_lines)
{
	struct said said;
	struct creds *c = load("# first\n\n@a\t@b\n\n  # between\n\t: PSK\n    \"one\"   \n"
	                       "@c @d : PSK \"two\"\r\n: PSK \"three\"",
	    CY_OK, &said);

	ck_assert_str_eq(psk(c, "@a", "@b"), "one");
	ck_assert_str_eq(psk(c, "@c", "@d"), "two");
	ck_assert_str_eq(psk(c, "@e", "@f"), "three");
	creds_unref(c);
}
END_TEST

/* charon has no continuation lines: its users may indent every entry */
START_TEST(indented_entries_are_entries)
{
	struct said said;
	struct creds *c = load("  @a : PSK \"one\"\n  @b : PSK \"two\"\n\t: PSK \"three\"\n", CY_OK, &said);

	ck_assert_uint_eq(creds_count(c, CRED_PSK), 3);
	ck_assert_str_eq(psk(c, "@b", "@x"), "two");
	ck_assert_str_eq(psk(c, "@x", "@y"), "three");
	creds_unref(c);
}
END_TEST

START_TEST(colon_and_kind_may_touch)
{
	struct said said;
	struct creds *c = load(":PSK \"one\"\nfe80::1 :PSK \"two\"\n::1 : PSK \"three\"\n", CY_OK, &said);

	ck_assert_str_eq(psk(c, "fe80::2", "fe80::1"), "two");
	ck_assert_str_eq(psk(c, "::1", "::2"), "three");
	ck_assert_str_eq(psk(c, "::5", "::6"), "one");
	creds_unref(c);
}
END_TEST

START_TEST(most_specific_wins)
{
	struct said said;
	struct creds *c = load(": PSK \"nobody\"\n"
	                       "%any : PSK \"any\"\n"
	                       "%any %any : PSK \"any any\"\n"
	                       "@gw.example.org %any : PSK \"mine\"\n"
	                       "@peer.example.org : PSK \"theirs\"\n"
	                       "*@example.org @gw.example.org : PSK \"domain\"\n"
	                       "joe@example.org @gw.example.org : PSK \"joe\"\n"
	                       "@gw.example.org @peer.example.org : PSK \"both\"\n",
	    CY_OK, &said);

	ck_assert_str_eq(psk(c, "@gw.example.org", "@peer.example.org"), "both");
	ck_assert_str_eq(psk(c, "@gw.example.org", "joe@example.org"), "joe");
	ck_assert_str_eq(psk(c, "@gw.example.org", "jim@example.org"), "domain");
	ck_assert_str_eq(psk(c, "@gw.example.org", "@other"), "mine");
	ck_assert_str_eq(psk(c, "@other", "@peer.example.org"), "theirs");
	ck_assert_str_eq(psk(c, "@other", "@another"), "any");
	creds_unref(c);
}
END_TEST

START_TEST(no_ids_is_last_resort)
{
	struct said said;
	struct creds *c = load(": PSK \"nobody\"\n@a @b : PSK \"ab\"\n", CY_OK, &said);

	ck_assert_str_eq(psk(c, "@a", "@b"), "ab");
	ck_assert_str_eq(psk(c, "@b", "@a"), "ab");
	/* both are named, so both must match, as long as something else fits */
	ck_assert_str_eq(psk(c, "@a", "@c"), "nobody");
	creds_unref(c);
	c = load("@a @b : PSK \"ab\"\n", CY_OK, &said);
	ck_assert_str_eq(psk(c, "@a", "@c"), "ab");
	ck_assert_str_eq(psk(c, "@d", "@c"), "none");
	creds_unref(c);
}
END_TEST

START_TEST(first_of_equals)
{
	struct said said;
	struct creds *c = load("@a @b : PSK \"1\"\n@b @a : PSK \"2\"\n", CY_OK, &said);

	ck_assert_str_eq(psk(c, "@a", "@b"), "1");
	creds_unref(c);
}
END_TEST

START_TEST(addresses_stand_for_identities)
{
	struct said said;
	struct creds *c =
	    load("192.0.2.1 192.0.2.2 : PSK \"four\"\n2001:db8::1 2001:db8::2 : PSK \"six\"\n", CY_OK, &said);
	struct cy_addr l, r;
	struct ident id;
	struct cy_slice s;

	ck_assert_int_eq(addr_parse("192.0.2.1", &l), CY_OK);
	ck_assert_int_eq(addr_parse("192.0.2.2", &r), CY_OK);
	ck_assert_int_eq(ident_parse("@gw", &id), CY_OK);
	ck_assert(creds_find_psk(c, &id, NULL, &l, &r, &s));
	ck_assert(cy_slice_eq(s, cy_slice_str("four")));
	ck_assert_int_eq(addr_parse("2001:db8::1", &l), CY_OK);
	ck_assert_int_eq(addr_parse("2001:db8::2", &r), CY_OK);
	ck_assert(creds_find_psk(c, NULL, &id, &l, &r, &s));
	ck_assert(cy_slice_eq(s, cy_slice_str("six")));
	ck_assert(!creds_find_psk(c, &id, &id, NULL, NULL, &s));
	ident_fini(&id);
	creds_unref(c);
}
END_TEST

START_TEST(old_spellings_of_any)
{
	static const char *const any[] = {"%any", "%any6", "0.0.0.0", "::", "0::0"};
	struct said said;

	for (size_t i = 0; i < ARRAY_LEN(any); i++) {
		char text[64];
		snprintf(text, sizeof(text), "@gw %s : PSK \"x\"\n", any[i]);
		struct creds *c = load(text, CY_OK, &said);
		ck_assert_str_eq(psk(c, "@gw", "10.9.8.7"), "x");
		creds_unref(c);
	}
}
END_TEST

START_TEST(passwords)
{
	struct said said;
	struct creds *c = load(
	    "alice : XAUTH \"wonder\"\n\"bob\" : EAP 'builder'\n"
	    "carol@example.org : EAP \"c\"\n@dave : XAUTH \"d\"\nerin : EAP \"e1\"\nerin : XAUTH \"e2\"\n",
	    CY_OK, &said);
	static const struct {
		const char *user;
		enum cred_kind kind;
		const char *want;
	} cases[] = {
	    {"alice", CRED_XAUTH, "wonder"},
	    {"alice", CRED_EAP, "wonder"},
	    {"bob", CRED_EAP, "builder"},
	    {"Bob", CRED_EAP, NULL},
	    {"carol@example.org", CRED_EAP, "c"},
	    {"dave", CRED_XAUTH, "d"},
	    {"erin", CRED_EAP, "e1"},
	    {"erin", CRED_XAUTH, "e2"},
	    {"alice", CRED_NTLM, NULL},
	    {"mallory", CRED_XAUTH, NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ident id;
		struct cy_slice s;
		ck_assert_int_eq(ident_set(&id, ID_KEY_ID, cy_slice_str(cases[i].user)), CY_OK);
		bool found = creds_find_password(c, cases[i].kind, &id, &s);
		ck_assert_msg(found == (cases[i].want != NULL), "%s", cases[i].user);
		if (found)
			ck_assert_msg(cy_slice_eq(s, cy_slice_str(cases[i].want)), "%s", cases[i].user);
		ident_fini(&id);
	}
	/* a password is no PSK */
	ck_assert_str_eq(psk(c, "@x", "alice"), "none");
	creds_unref(c);
}
END_TEST

static const struct {
	const char *text, *want;
} bad_entries[] = {
    {"@a : PSK \"open hush\n", "0 s:1: a quote is opened"},
    {"@a : PSK 0xabc\n", "0 s:1: the secret after 0x"},
    {"@a : PSK 0xzz\n", "0 s:1: the secret after 0x"},
    {"@a : PSK 0x\n", "0 s:1: the secret after 0x"},
    {"@a : PSK 0sA\n", "0 s:1: the secret after 0s"},
    {"@a : PSK 0s====\n", "0 s:1: the secret after 0s"},
    {"@a : PSK 0sYR==\n", "0 s:1: the secret after 0s"},
    {"@a : PSK \"\"\n", "0 s:1: the secret is empty"},
    {"@a : PSK\n", "0 s:1: the secret is missing"},
    {"@a : PSK my secret\n", "0 s:1: one secret is wanted"},
    {"@a :\n", "0 s:1: after \":\" the kind"},
    {"@a : \"hushhush\"\n", "0 s:1: after \":\" there is no kind of secret"},
    {"@a : hushhush\n", "0 s:1: after \":\" there is no kind of secret"},
    {"@a : PKS \"hushhush\"\n", "did you mean PSK?"},
    {"@a PSK \"hushhush\"\n", "0 s:1: no \":\" between"},
    {"@a PSK hush=hush\n", "0 s:1: identity 3 is not a distinguished name"},
    {"\n\n@a : PIN %prompt\n", "0 s:3: PIN"},
    {"@a : PSK %prompt\n", "0 s:1: %prompt"},
    {": RSA {\n\tModulus: 0x1\n\t}\n", "0 s:1: a key written out in this file is not read"},
    {": RSA\n", "0 s:1: the name of the key's file is missing"},
    {": RSA key.pem\n", "no plugin reads private keys"},
    {"@x : PPKS \"id\" \"hushhush\"\n", "0 s:1: post-quantum"},
    {"include other\n", "0 s:1: files include each other"},
    {"include", "0 s:1: no \":\""},
};

START_TEST(bad_entry_is_left_out)
{
	char text[512];
	struct said said;

	snprintf(text, sizeof(text), "%s@good : PSK \"fine\"\n", bad_entries[_i].text);
	if (bad_entries[_i].text[strlen(bad_entries[_i].text) - 1] != '\n')
		snprintf(text, sizeof(text), "%s\n@good : PSK \"fine\"\n", bad_entries[_i].text);
	struct creds *c = load(text, CY_E_PARSE, &said);
	ck_assert_str_eq(psk(c, "@good", "@x"), "fine");
	if (_i > 0)
		ck_assert_msg(
		    strstr(said.text, bad_entries[_i].want) != NULL, "%s said: %s", text, said.text);
	/* nothing that may be a secret is repeated */
	ck_assert_ptr_null(strstr(said.text, "hush"));
	creds_unref(c);
}
END_TEST

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	ck_assert_int_eq(chmod(path, mode), 0);
}

START_TEST(includes)
{
	char dir[] = "/tmp/cygnet-secrets-XXXXXX", path[128], cmd[128];
	struct creds *c = new_creds();
	struct said said = {0};

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/d", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/d/1.secrets", dir);
	write_file(path, "@one : PSK \"1\"\n", 0600);
	snprintf(path, sizeof(path), "%s/d/2.secrets", dir);
	write_file(path, "@two : PSK \"2\"\n@oops PSK\n", 0640);
	snprintf(path, sizeof(path), "%s/d/3.secrets", dir);
	write_file(path, "@three : PSK \"3\"\n", 0604);
	snprintf(path, sizeof(path), "%s/loop", dir);
	write_file(path, "include loop\n@loop : PSK \"loop\"\n", 0600);
	snprintf(path, sizeof(path), "%s/main", dir);
	write_file(path,
	    "@a : PSK \"a\"\ninclude d/*.secrets\n  include missing.inc # none\ninclude \"loop\"\n@b : PSK "
	    "\"b\"\n",
	    0600);
	ck_assert_int_eq(creds_load_secrets(c, path, false, note, &said), CY_E_PARSE);
	ck_assert_str_eq(psk(c, "@a", "@x"), "a");
	ck_assert_str_eq(psk(c, "@one", "@x"), "1");
	ck_assert_str_eq(psk(c, "@two", "@x"), "2");
	ck_assert_str_eq(psk(c, "@three", "@x"), "none");
	ck_assert_str_eq(psk(c, "@b", "@x"), "b");
	ck_assert_str_eq(psk(c, "@loop", "@x"), "loop");
	ck_assert_ptr_nonnull(strstr(said.text, "d/2.secrets:2: no \":\""));
	ck_assert_ptr_nonnull(strstr(said.text, "d/3.secrets: everybody may read this file (mode 0604)"));
	ck_assert_ptr_nonnull(strstr(said.text, "nothing to include"));
	creds_unref(c);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(file_modes)
{
	static const struct {
		mode_t mode;
		bool lax;
		enum cy_err want;
	} cases[] = {{0600, false, CY_OK}, {0640, false, CY_OK}, {0644, false, CY_E_DENIED},
	    {0602, false, CY_E_DENIED}, {0644, true, CY_OK}};
	char path[] = "/tmp/cygnet-secrets-XXXXXX";

	ck_assert_int_ge(mkstemp(path), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct creds *c = new_creds();
		struct said said = {0};
		write_file(path, ": PSK \"x\"\n", cases[i].mode);
		ck_assert_int_eq(creds_load_secrets(c, path, cases[i].lax, note, &said), cases[i].want);
		ck_assert_str_eq(psk(c, "@a", "@b"), cases[i].want ? "none" : "x");
		ck_assert_uint_eq(said.lines, cases[i].want ? 1 : 0);
		creds_unref(c);
	}
	unlink(path);
	struct creds *c = new_creds();
	struct said said = {0};
	ck_assert_int_eq(creds_load_secrets(c, path, false, note, &said), CY_E_NOTFOUND);
	ck_assert_int_eq(creds_load_secrets(c, "/tmp", false, note, &said), CY_E_INVAL);
	ck_assert_uint_eq(said.lines, 2);
	creds_unref(c);
}
END_TEST

START_TEST(ten_thousand)
{
	struct creds *c = new_creds();
	struct ident ids[2];

	for (int i = 0; i < 10000; i++) {
		char a[32], b[32], secret[32];
		snprintf(a, sizeof(a), "@left%d", i);
		snprintf(b, sizeof(b), "@right%d", i);
		snprintf(secret, sizeof(secret), "secret %d", i);
		ck_assert_int_eq(ident_parse(a, &ids[0]), CY_OK);
		ck_assert_int_eq(ident_parse(b, &ids[1]), CY_OK);
		ck_assert_int_eq(creds_add_psk(c, ids, 2, cy_slice_str(secret)), CY_OK);
		ident_fini(&ids[0]);
		ident_fini(&ids[1]);
	}
	for (int i = 0; i < 10000; i++) {
		char a[32], b[32], secret[32];
		snprintf(a, sizeof(a), "@LEFT%d", i);
		snprintf(b, sizeof(b), "@right%d", i);
		snprintf(secret, sizeof(secret), "secret %d", i);
		ck_assert_str_eq(psk(c, a, b), secret);
	}
	creds_unref(c);
}
END_TEST

UNIT_TESTS(secrets)
{
	tcase_add_test(tc, reads_every_spelling_of_a_psk);
	tcase_add_test(tc, base64_padding);
	tcase_add_test(tc, continues_on_indented_lines);
	tcase_add_test(tc, indented_entries_are_entries);
	tcase_add_test(tc, colon_and_kind_may_touch);
	tcase_add_test(tc, most_specific_wins);
	tcase_add_test(tc, no_ids_is_last_resort);
	tcase_add_test(tc, first_of_equals);
	tcase_add_test(tc, addresses_stand_for_identities);
	tcase_add_test(tc, old_spellings_of_any);
	tcase_add_test(tc, passwords);
	tcase_add_loop_test(tc, bad_entry_is_left_out, 0, ARRAY_LEN(bad_entries));
	tcase_add_test(tc, includes);
	tcase_add_test(tc, file_modes);
	tcase_add_test(tc, ten_thousand);
}
