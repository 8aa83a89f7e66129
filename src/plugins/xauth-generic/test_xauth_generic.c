/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords and the file of users. */

#include "generic.h"

#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "unit.h"

static char said[4096];

static void complain(void *user, uint32_t line, const char *what)
{
	size_t n = strlen(said);

	(void)user;
	snprintf(said + n, sizeof(said) - n, "%u %s\n", line, what);
}

static struct cy_slice text(const char *s)
{
	return cy_slice_str(s);
}

/* What crypt(3) makes of it: so the tests know no hash by heart. */
static const char *hash_of(const char *password, const char *setting)
{
	static char out[CRYPT_OUTPUT_SIZE];
	struct crypt_data d = {0};
	const char *h = crypt_r(password, setting, &d);

	ck_assert_ptr_nonnull(h);
	ck_assert_int_ne(*h, '*');
	strcpy(out, h);
	return out;
}

START_TEST(hashes)
{
	static const char *const settings[] = {"$6$saltsalt$", "$5$saltsalt$", "$1$saltsalt$",
	    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$", "$2b$05$abcdefghijklmnopqrstuu"};

	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		const char *h = hash_of("correct", settings[i]);

		ck_assert_msg(check_is_hash(h), "%s", h);
		ck_assert_int_eq(check_hash(h, text("correct")), CY_OK);
		ck_assert_int_eq(check_hash(h, text("Correct")), CY_E_AUTH);
		ck_assert_int_eq(check_hash(h, text("correct ")), CY_E_AUTH);
		ck_assert_int_eq(check_hash(h, text("")), CY_E_AUTH);
		ck_assert_int_eq(check_hash(h, cy_slice("correct\0x", 9)), CY_E_AUTH);
		ck_assert_int_eq(check_nobody(h, text("correct")), CY_E_AUTH);
	}
	/* the oldest of all does not look like a hash, and in the file is one */
	ck_assert(!check_is_hash("abJnggxhB/yWI"));
	ck_assert_int_eq(check_hash(hash_of("old", "ab"), text("old")), CY_OK);
	ck_assert_int_eq(check_hash("$apr1$saltsalt$abcdefghijklmnopqrstuv", text("x")), CY_E_UNSUPPORTED);
	ck_assert_int_eq(check_hash("*", text("x")), CY_E_UNSUPPORTED);
	ck_assert_int_eq(check_hash("", text("")), CY_E_UNSUPPORTED);
	ck_assert_int_eq(check_nobody(NULL, text("")), CY_E_AUTH);
}
END_TEST

START_TEST(what_is_a_hash)
{
	ck_assert(check_is_hash("$6$saltsalt$0123456789012345678901"));
	ck_assert(!check_is_hash("secret"));
	ck_assert(!check_is_hash("$6$short$"));
	ck_assert(!check_is_hash("$my pass$word with blanks$ in it"));
	ck_assert(!check_is_hash("$$$$$$$$$$$$$$$$$$$$$$$$$$$$$"));
	ck_assert(!check_is_hash(""));
}
END_TEST

START_TEST(plain)
{
	char big[PASSWORD_MAX + 2];

	ck_assert_int_eq(check_plain("secret", text("secret")), CY_OK);
	ck_assert_int_eq(check_plain("secret", text("secre")), CY_E_AUTH);
	ck_assert_int_eq(check_plain("secret", text("secret2")), CY_E_AUTH);
	ck_assert_int_eq(check_plain("secret", cy_slice("secret\0", 7)), CY_E_AUTH);
	ck_assert_int_eq(check_plain("secret", text("")), CY_E_AUTH);
	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(check_plain("secret", cy_slice(big, sizeof(big))), CY_E_AUTH);
	big[PASSWORD_MAX] = '\0';
	ck_assert_int_eq(check_plain(big, cy_slice(big, PASSWORD_MAX)), CY_OK);
	ck_assert_int_eq(check_hash("$6$saltsalt$", cy_slice(big, sizeof(big))), CY_E_AUTH);
}
END_TEST

START_TEST(file)
{
	struct passwd p = {0};
	const struct entry *e;
	bool other;

	said[0] = '\0';
	ck_assert_int_eq(passwd_parse(&p,
	                     strdup("# users\n"
	                            "\n"
	                            "zoe:$6$a$x\r\n"
	                            "alice:h1:home, work:10.1.2.3\n"
	                            "alice:h2:travel:\n"
	                            "bob:h3::2001:db8::5\n"
	                            "carol:h4\n"
	                            ":h5\n"
	                            "dave::x\n"
	                            "eve\n"
	                            "fred:h6::10.1.2.3.4\n"
	                            "last:h7:c"),
	                     complain, NULL),
	    CY_OK);
	ck_assert_str_eq(said,
	    "8 no name\n"
	    "9 no hash of a password: this user cannot log in\n"
	    "10 no hash of a password: this user cannot log in\n"
	    "11 the last field is no address\n");
	ck_assert_uint_eq(p.n, 6);
	e = passwd_find(&p, "alice", "work", &other);
	ck_assert_str_eq(e->hash, "h1");
	ck_assert_str_eq(e->address, "10.1.2.3");
	e = passwd_find(&p, "alice", "travel", &other);
	ck_assert_str_eq(e->hash, "h2");
	ck_assert_str_eq(e->address, "");
	ck_assert_ptr_null(passwd_find(&p, "alice", "wor", &other));
	ck_assert(other);
	e = passwd_find(&p, "bob", "any", &other);
	ck_assert_str_eq(e->address, "2001:db8::5");
	ck_assert_ptr_nonnull(passwd_find(&p, "carol", "any", &other));
	ck_assert_str_eq(passwd_find(&p, "zoe", "any", &other)->hash, "$6$a$x");
	ck_assert_str_eq(passwd_find(&p, "last", "c", &other)->hash, "h7");
	ck_assert_ptr_null(passwd_find(&p, "Alice", "work", &other));
	ck_assert_ptr_null(passwd_find(&p, "", "work", &other));
	ck_assert(!other);
	passwd_clear(&p);
	ck_assert_ptr_null(passwd_find(&p, "alice", "work", &other));
	ck_assert_int_eq(passwd_parse(&p, strdup(""), complain, NULL), CY_OK);
	ck_assert_uint_eq(p.n, 0);
	passwd_clear(&p);
}
END_TEST

static void write_file(const char *path, const char *what, mode_t mode)
{
	char tmp[128];
	FILE *f;

	/* renamed, as an administrator's tool would: another inode tells the change whatever the clock says */
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	f = fopen(tmp, "w");
	ck_assert_ptr_nonnull(f);
	fputs(what, f);
	fclose(f);
	ck_assert_int_eq(chmod(tmp, mode), 0);
	ck_assert_int_eq(rename(tmp, path), 0);
}

START_TEST(read_again_when_changed)
{
	char dir[] = "/tmp/cygnet-passwd-XXXXXX", path[64];
	struct passwd p = {0};
	bool other;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/passwd", dir);
	said[0] = '\0';
	ck_assert_int_eq(passwd_refresh(&p, path, complain, NULL), CY_OK);
	ck_assert_uint_eq(p.n, 0);
	write_file(path, "alice:h1\n", 0600);
	ck_assert_int_eq(passwd_refresh(&p, path, complain, NULL), CY_OK);
	ck_assert_str_eq(passwd_find(&p, "alice", "c", &other)->hash, "h1");
	ck_assert_str_eq(said, "");
	write_file(path, "alice:h2\nbob:h3\n", 0644);
	ck_assert_int_eq(passwd_refresh(&p, path, complain, NULL), CY_OK);
	ck_assert_str_eq(passwd_find(&p, "alice", "c", &other)->hash, "h2");
	ck_assert_ptr_nonnull(strstr(said, "chmod 600"));
	said[0] = '\0';
	ck_assert_int_eq(passwd_refresh(&p, path, complain, NULL), CY_OK);
	ck_assert_str_eq(said, ""); /* not read a second time */
	/* what cannot be read takes nobody's password away */
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(passwd_refresh(&p, path, complain, NULL), CY_E_IO);
	ck_assert_ptr_nonnull(passwd_find(&p, "alice", "c", &other));
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(passwd_refresh(&p, path, complain, NULL), CY_OK);
	ck_assert_ptr_null(passwd_find(&p, "alice", "c", &other));
	ck_assert_int_eq(rmdir(dir), 0);
	passwd_clear(&p);
}
END_TEST

UNIT_TESTS(xauth_generic)
{
	tcase_add_test(tc, hashes);
	tcase_add_test(tc, what_is_a_hash);
	tcase_add_test(tc, plain);
	tcase_add_test(tc, file);
	tcase_add_test(tc, read_again_when_changed);
}
