/* SPDX-License-Identifier: Apache-2.0 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/conf/keys.h"
#include "unit.h"

START_TEST(table_is_sorted)
{
	for (size_t i = 1; i < conf_n_keys; i++) {
		int c = strcmp(conf_keys[i - 1].name, conf_keys[i].name);

		ck_assert_msg(c < 0 || (c == 0 && !(conf_keys[i - 1].dialects & conf_keys[i].dialects)),
		    "%s comes after %s", conf_keys[i].name, conf_keys[i - 1].name);
	}
}
END_TEST

START_TEST(rows_make_sense)
{
	uint64_t steps = 0;
	bool right;

	for (size_t i = 0; i < conf_n_keys; i++) {
		const struct key *k = &conf_keys[i];

		ck_assert_msg(
		    key_find(k->name, strlen(k->name), &right, &steps) <= i, "%s is not found", k->name);
		ck_assert(k->sections && k->dialects);
		if (k->state == LIVE && (k->sections & IN_CONN) && strcmp(k->name, "also") != 0)
			ck_assert_msg(k->set != NULL, "%s has no setter", k->name);
		if (k->state == OLD || k->state == SAME) {
			uint16_t now = key_find(k->text, strlen(k->text), &right, &steps);

			ck_assert_msg(now != KEY_NONE, "%s: no key %s", k->name, k->text);
			ck_assert_msg(key_in_dialect(now, k->dialects) != KEY_NONE,
			    "%s: %s is of another dialect", k->name, k->text);
			ck_assert_msg(conf_keys[key_in_dialect(now, k->dialects)].state != OLD &&
			        conf_keys[key_in_dialect(now, k->dialects)].state != SAME,
			    "%s leads to %s, which leads further", k->name, k->text);
		}
		if (k->state == REFUSE || k->state == HARMLESS)
			ck_assert_msg(k->text[0], "%s does not say why", k->name);
	}
}
END_TEST

/* The sets of both daemons: a key that a user has must never be unknown. */
START_TEST(every_key_of_the_field_is_known)
{
	static const char *const sides[] = {"auth", "ca", "cert", "id", "ikeport", "nexthop", "protoport",
	    "rsasigkey", "sendcert", "sourceip", "subnet", "updown", "allowany", "auth2", "ca2", "cert2",
	    "certpolicy", "dns", "firewall", "groups", "groups2", "hostaccess", "id2", "sigkey",
	    "subnetwithin", "addresspool", "autheap", "cat", "ckaid", "ecdsakey", "eddsakey", "groundhog",
	    "interface-ip", "modecfgclient", "modecfgserver", "pubkey", "subnets", "updown-config",
	    "username", "vti", "xauthclient", "xauthserver", "xauthusername"};
	uint64_t steps = 0;
	char name[64];
	bool right;

	for (size_t i = 0; i < sizeof(sides) / sizeof(*sides); i++)
		for (int r = 0; r < 2; r++) {
			snprintf(name, sizeof(name), "%s%s", r ? "right" : "left", sides[i]);
			ck_assert_msg(
			    key_find(name, strlen(name), &right, &steps) != KEY_NONE, "%s is unknown", name);
			ck_assert_int_eq(right, r);
		}
}
END_TEST

/* The name as the page writes it: dashes have a backslash before them. */
static bool documents(const char *page, const char *name)
{
	char roff[96];
	size_t n = 0, len;

	for (; *name && n < sizeof(roff) - 2; name++) {
		if (*name == '-')
			roff[n++] = '\\';
		roff[n++] = *name;
	}
	roff[n] = 0;
	len = n;
	for (const char *at = strstr(page, roff); at; at = strstr(at + 1, roff)) {
		char before = at == page ? ' ' : at[-1], after = at[len];

		if (strchr(" \"(,\n", before) &&
		    (!isalnum((unsigned char)after) && after != '_' && after != '\\'))
			return true;
	}
	return false;
}

START_TEST(every_key_that_works_is_documented)
{
	char *page = calloc(1, 100000);
	FILE *f = fopen(CONF_MAN "/ipsec.conf.5", "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_lt(fread(page, 1, 99999, f), 99999);
	fclose(f);
	for (size_t i = 0; i < conf_n_keys; i++)
		if (conf_keys[i].state == LIVE && !conf_keys[i].text[0])
			ck_assert_msg(documents(page, conf_keys[i].name), "%s is not in ipsec.conf(5)",
			    conf_keys[i].name);
	free(page);
}
END_TEST

START_TEST(finding)
{
	uint64_t steps = 0;
	bool right;
	uint16_t k = key_find("RightID", 7, &right, &steps);

	ck_assert(k != KEY_NONE && right);
	ck_assert_str_eq(conf_keys[k].name, "leftid");
	ck_assert_uint_le(steps, 10);
	ck_assert(key_find("left", 4, &right, &steps) != KEY_NONE && !right);
	ck_assert(key_find("right", 5, &right, &steps) != KEY_NONE && right);
	ck_assert_uint_eq(key_find("", 0, &right, &steps), KEY_NONE);
	ck_assert_uint_eq(key_find("zzz", 3, &right, &steps), KEY_NONE);
	ck_assert_uint_eq(key_find("aaa", 3, &right, &steps), KEY_NONE);
	ck_assert_uint_eq(key_find("lefti", 5, &right, &steps), KEY_NONE);
	ck_assert_uint_eq(
	    key_find("leftleftleftleftleftleftleftleftleftleftleftleftleft", 52, &right, &steps), KEY_NONE);
	k = key_find("pfs", 3, &right, &steps);
	ck_assert_uint_eq(key_dialects(k), BOTH);
	ck_assert_int_eq(conf_keys[key_in_dialect(k, LS)].state, LIVE);
	ck_assert_int_eq(conf_keys[key_in_dialect(k, SS)].state, HARMLESS);
}
END_TEST

START_TEST(nearest)
{
	char buf[64];

	ck_assert_str_eq(key_nearest("leftsubet", IN_CONN, SS, buf, sizeof(buf)), "leftsubnet");
	ck_assert_str_eq(key_nearest("rightsubet", IN_CONN, SS, buf, sizeof(buf)), "rightsubnet");
	ck_assert_str_eq(key_nearest("keyexchnge", IN_CONN, LS, buf, sizeof(buf)), "keyexchange");
	ck_assert_ptr_null(key_nearest("qqqqqqqqq", IN_CONN, BOTH, buf, sizeof(buf)));
	/* not what another section or dialect has */
	ck_assert_ptr_null(key_nearest("xauthfai", IN_CONN, SS, buf, sizeof(buf)));
	ck_assert_ptr_null(key_nearest("charondebu", IN_CONN, SS, buf, sizeof(buf)));
}
END_TEST

START_TEST(asking_nothing)
{
	static const struct key k = {"x", IN_CONN, BOTH, HARMLESS, "why|pull,auto", NULL, 0};
	char text[32];

	ck_assert(key_asks_nothing(&k, "no") && key_asks_nothing(&k, "AUTO") && key_asks_nothing(&k, "pull"));
	ck_assert(!key_asks_nothing(&k, "push") && !key_asks_nothing(&k, "pul") && !key_asks_nothing(&k, ""));
	key_text(&k, text, sizeof(text));
	ck_assert_str_eq(text, "why");
}
END_TEST

UNIT_TESTS(keys)
{
	tcase_add_test(tc, table_is_sorted);
	tcase_add_test(tc, rows_make_sense);
	tcase_add_test(tc, every_key_of_the_field_is_known);
	tcase_add_test(tc, every_key_that_works_is_documented);
	tcase_add_test(tc, finding);
	tcase_add_test(tc, nearest);
	tcase_add_test(tc, asking_nothing);
}
