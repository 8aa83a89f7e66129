/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "dn_vectors.h"
#include "libcore/base/addr.h"
#include "libcore/base/dn.h"
#include "libcore/base/err.h"
#include "libcore/base/ident.h"

static struct ident id(const char *s)
{
	struct ident i;

	ck_assert_msg(ident_parse(s, &i) == CY_OK, "%s", s);
	return i;
}

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned int v;

	for (; hex[0] && sscanf(hex, "%2x", &v) == 1; hex += 2)
		out[n++] = (uint8_t)v;
	return n;
}

static struct ident dn(const char *hex)
{
	uint8_t der[512];
	struct ident i;

	ck_assert_int_eq(ident_set(&i, ID_DER_ASN1_DN, cy_slice(der, unhex(hex, der))), CY_OK);
	return i;
}

START_TEST(parse)
{
	static const struct {
		const char *in;
		uint16_t type;
		const char *out;
	} cases[] = {
	    {"", ID_ANY, "%any"},
	    {"%any", ID_ANY, "%any"},
	    {"%null", ID_NULL, "%null"},
	    {"1.2.3.4", ID_IPV4_ADDR, "1.2.3.4"},
	    {"::1", ID_IPV6_ADDR, "::1"},
	    {"@moon", ID_FQDN, "moon"},
	    {"@1.2.3.4", ID_FQDN, "1.2.3.4"},
	    {"moon.example.org", ID_FQDN, "moon.example.org"},
	    {"*.example.org", ID_FQDN, "*.example.org"},
	    {"@@user@host", ID_RFC822_ADDR, "user@host"},
	    {"user@host", ID_RFC822_ADDR, "user@host"},
	    {"@#0aFF", ID_KEY_ID, "@#0aff"},
	    {"@#0a:ff", ID_KEY_ID, "@#0aff"},
	    {"keyid:group", ID_KEY_ID, "@#67726f7570"},
	    {"keyid:0x0102", ID_KEY_ID, "@#0102"},
	    {"C=DE, O=Org, CN=moon", ID_DN_TEXT, "C=DE, O=Org, CN=moon"},
	    {"/C=DE/CN=user@host", ID_DN_TEXT, "/C=DE/CN=user@host"},
	    {"2.5.4.3=x", ID_DN_TEXT, "2.5.4.3=x"},
	    {"asn1dn:CN=x", ID_DN_TEXT, "CN=x"},
	    {"asn1dn:#" DN_MOON, ID_DER_ASN1_DN, "C=DE, O=Org, CN=moon"},
	    {"fqdn:user@host", ID_FQDN, "user@host"},
	    {"email:user", ID_RFC822_ADDR, "user"},
	    {"ipv4:1.2.3.4", ID_IPV4_ADDR, "1.2.3.4"},
	    {"ipv6:fe80::1", ID_IPV6_ADDR, "fe80::1"},
	    {"10.0.0.0/8", ID_IPV4_SUBNET, "10.0.0.0/8"},
	    {"10.0.0.1-10.0.0.9", ID_IPV4_RANGE, "10.0.0.1-10.0.0.9"},
	    {"2001:db8::/32", ID_IPV6_SUBNET, "2001:db8::/32"},
	    {"my-host", ID_FQDN, "my-host"},
	};
	static const char *const wrong[] = {"@", "@@", "@#", "@#0", "@#0g", "ipv4:::1", "ipv6:1.2.3.4",
	    "ipv4:x", "keyid:", "fqdn:", "asn1dn:#3000ff", "asn1dn:", "fe80::1%2", "1:2:3", "asn1gn:x"};
	char s[IDENT_STR_MAX];
	struct ident i;

	for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
		i = id(cases[k].in);
		ck_assert_msg(i.type == cases[k].type, "%s: type %u", cases[k].in, i.type);
		ck_assert_str_eq(ident_str(&i, s), cases[k].out);
		ident_fini(&i);
	}
	for (size_t k = 0; k < ARRAY_LEN(wrong); k++)
		ck_assert_msg(ident_parse(wrong[k], &i) == CY_E_PARSE, "%s", wrong[k]);
}
END_TEST

START_TEST(from_the_wire)
{
	struct ident i, j;
	char s[IDENT_STR_MAX];
	uint8_t big[2000];
	struct cy_addr a;

	ck_assert_int_eq(ident_set(&i, ID_IPV4_ADDR, cy_slice("abc", 3)), CY_E_PARSE);
	ck_assert_int_eq(ident_set(&i, ID_IPV6_ADDR, cy_slice("abcd", 4)), CY_E_PARSE);
	ck_assert_int_eq(ident_set(&i, ID_IPV6_SUBNET, cy_slice("abcd", 4)), CY_E_PARSE);
	ck_assert_int_eq(ident_set(&i, ID_FQDN, cy_slice(NULL, 0)), CY_OK);
	ck_assert_str_eq(ident_str(&i, s), "");
	ident_fini(&i);
	ck_assert_int_eq(ident_set(&i, ID_FQDN, cy_slice("a\n\0b\xff", 5)), CY_OK);
	ck_assert_str_eq(ident_str(&i, s), "a\\x0a\\x00b\\xff");
	ident_fini(&i);
	/* however long, it is printed within bounds */
	for (int type = 0; type < 260; type++) {
		memset(big, type % 2 ? 0x01 : 0x30, sizeof(big));
		if (ident_set(&i, (uint16_t)type, cy_slice(big, sizeof(big))) != CY_OK)
			continue;
		ck_assert_uint_lt(strlen(ident_str(&i, s)), IDENT_STR_MAX);
		ck_assert_int_eq(ident_dup(&j, &i), CY_OK);
		ck_assert(ident_eq(&i, &j));
		ident_fini(&i);
		ident_fini(&j);
	}
	ck_assert_int_eq(ident_set(&i, ID_NULL, cy_slice("x", 1)), CY_OK);
	ck_assert_uint_eq(i.n, 0);
	ck_assert_int_eq(addr_parse("1.2.3.4", &a), CY_OK);
	ck_assert_int_eq(ident_from_addr(&i, &a), CY_OK);
	ck_assert_str_eq(ident_str(&i, s), "1.2.3.4");
	ident_fini(&i);
	ident_fini(&i);
	ident_fini(NULL);
}
END_TEST

static const uint64_t key[2] = {0x1234, 0x5678};

static void check_eq(struct ident a, struct ident b, bool want)
{
	char s[IDENT_STR_MAX], t[IDENT_STR_MAX];

	ck_assert_msg(ident_eq(&a, &b) == want, "%s, %s", ident_str(&a, s), ident_str(&b, t));
	ck_assert_msg(ident_eq(&b, &a) == want, "%s, %s", ident_str(&b, s), ident_str(&a, t));
	ck_assert((ident_hash(key, &a) == ident_hash(key, &b)) == want);
	ident_fini(&a);
	ident_fini(&b);
}

START_TEST(equality)
{
	char name[2][600];

	check_eq(id("@moon.Example.ORG"), id("moon.example.org"), true);
	check_eq(id("@moon"), id("@moon2"), false);
	check_eq(id("@moon"), id("keyid:moon"), false);
	check_eq(id("user@Example.ORG"), id("user@example.org"), true);
	check_eq(id("User@example.org"), id("user@example.org"), false);
	check_eq(id("@@a@b@X"), id("@@a@b@x"), true);
	check_eq(id("@@a@B@x"), id("@@a@b@x"), false);
	check_eq(id("@#01"), id("@#02"), false);
	check_eq(id("1.2.3.4"), id("1.2.3.4"), true);
	check_eq(id("%any"), id(""), true);
	check_eq(id("%any"), id("%null"), false);
	check_eq(dn(DN_MOON), dn(DN_MOON), true);
	check_eq(dn(DN_MOON), dn(DN_ANY_CN), false);
	check_eq(dn(DN_UMLAUT), dn(DN_UMLAUT), true);
	for (int i = 0; i < 2; i++) {
		memset(name[i], i ? 'a' : 'A', sizeof(name[i]));
		name[i][0] = '@';
		name[i][599] = '\0';
	}
	check_eq(id(name[0]), id(name[1]), true);
}
END_TEST

/* One RDN, CN, of a given string type. */
static struct ident cn(uint8_t tag, const char *value)
{
	uint8_t der[128] = {0x30, 0, 0x31, 0, 0x30, 0, 0x06, 3, 0x55, 4, 3, tag, 0};
	size_t n = strlen(value);
	struct ident i;

	memcpy(der + 13, value, n);
	der[12] = (uint8_t)n;
	der[5] = (uint8_t)(7 + n);
	der[3] = (uint8_t)(9 + n);
	der[1] = (uint8_t)(11 + n);
	ck_assert(dn_valid(cy_slice(der, 13 + n)));
	ck_assert_int_eq(ident_set(&i, ID_DER_ASN1_DN, cy_slice(der, 13 + n)), CY_OK);
	return i;
}

START_TEST(dn_values)
{
	enum { UTF8 = 0x0c, PRINTABLE = 0x13, T61 = 0x14 };

	check_eq(cn(UTF8, "moon"), cn(PRINTABLE, "Moon"), true);
	check_eq(cn(UTF8, "  a   b "), cn(UTF8, "A b"), true);
	check_eq(cn(UTF8, "a b"), cn(UTF8, "ab"), false);
	check_eq(cn(UTF8, "ab"), cn(UTF8, "abc"), false);
	check_eq(cn(UTF8, ""), cn(UTF8, "   "), true);
	check_eq(cn(UTF8, " a"), cn(UTF8, "a"), true);
	check_eq(cn(UTF8, "a "), cn(UTF8, "a"), true);
	check_eq(cn(T61, "moon"), cn(T61, "moon"), true);
	check_eq(cn(T61, "moon"), cn(T61, "Moon"), false);
	check_eq(cn(T61, "moon"), cn(UTF8, "moon"), false);
}
END_TEST

static int match(struct ident pattern, struct ident i)
{
	int m = ident_match(&pattern, &i);

	ident_fini(&pattern);
	ident_fini(&i);
	return m;
}

START_TEST(matching)
{
	int any = match(id("%any"), id("@moon")), exact = match(id("@moon"), id("MOON"));
	int wild = match(id("*.example.org"), id("moon.Example.org"));
	int wilder = match(id("*.org"), id("moon.example.org"));

	ck_assert_int_gt(any, 0);
	ck_assert_int_gt(wilder, any);
	ck_assert_int_gt(wild, wilder);
	ck_assert_int_gt(exact, wild);
	ck_assert_int_eq(match(id("%any"), id("%null")), any);
	ck_assert_int_gt(match(id("*.example.org"), id("a.b.example.org")), 0);
	ck_assert_int_eq(match(id("*.example.org"), id("example.org")), 0);
	ck_assert_int_eq(match(id("*.example.org"), id(".example.org")), 0);
	ck_assert_int_eq(match(id("*.example.org"), id("moon.example.com")), 0);
	ck_assert_int_eq(match(id("*.example.org"), id("user@x.example.org")), 0);
	ck_assert_int_gt(match(id("@*"), id("@moon")), 0);
	/* only our side has wildcards */
	ck_assert_int_eq(match(id("moon.example.org"), id("*.example.org")), 0);
	ck_assert_int_gt(match(id("*@example.org"), id("bob@Example.org")), 0);
	ck_assert_int_eq(match(id("*@example.org"), id("bob@sub.example.org")), 0);
	ck_assert_int_gt(match(id("email:*example.org"), id("bob@sub.example.org")), 0);
	ck_assert_int_eq(match(id("*@example.org"), id("@bob@example.org")), 0);
	ck_assert_int_eq(match(id("1.2.3.4"), id("1.2.3.5")), 0);
	ck_assert_int_gt(match(id("10.0.0.0/24"), id("10.0.0.9")), match(id("10.0.0.0/8"), id("10.0.0.9")));
	ck_assert_int_eq(match(id("10.0.0.0/24"), id("10.0.1.9")), 0);
	ck_assert_int_gt(match(id("10.0.0.1-10.0.0.9"), id("10.0.0.9")), 0);
	ck_assert_int_eq(match(id("10.0.0.1-10.0.0.9"), id("10.0.0.10")), 0);
	ck_assert_int_eq(match(id("2001:db8::/32"), id("10.0.0.10")), 0);
	ck_assert_int_gt(match(id("2001:db8::/32"), id("2001:db8::1")), 0);
	ck_assert_int_eq(match(id("C=DE, CN=x"), id("@moon")), 0);
}
END_TEST

START_TEST(matching_dns)
{
	int exact = match(dn(DN_MOON), dn(DN_MOON)), wild = match(dn(DN_ANY_CN), dn(DN_MOON));

	ck_assert_int_gt(wild, 0);
	ck_assert_int_gt(exact, wild);
	ck_assert_int_gt(wild, match(id("%any"), dn(DN_MOON)));
	ck_assert_int_eq(match(dn(DN_MOON), dn(DN_ANY_CN)), 0);
	ck_assert_int_eq(match(dn(DN_ANY_CN), dn(DN_UMLAUT)), 0); /* another O */
	ck_assert_int_eq(match(dn(DN_MOON), dn(DN_MULTI)), 0);
	ck_assert_int_eq(match(dn(DN_MULTI), dn(DN_MULTI)), exact);
	/* fewer RDNs */
	ck_assert_int_eq(match(cn(0x0c, "*"), dn(DN_MOON)), 0);
	ck_assert_int_eq(match(dn(DN_ANY_CN), cn(0x0c, "moon")), 0);
	ck_assert_int_gt(match(cn(0x13, "*"), cn(0x0c, "anything")), 0);
	ck_assert_int_eq(match(cn(0x0c, "**"), cn(0x0c, "anything")), 0);
}
END_TEST

START_TEST(printing_dns)
{
	struct ident i;
	char s[IDENT_STR_MAX], small[10];
	uint8_t der[256];
	size_t n;

	i = dn(DN_UMLAUT);
	ck_assert_str_eq(ident_str(&i, s), "C=DE, O=Org\\, Inc., CN=m\xc3\xbcller");
	ident_fini(&i);
	i = dn(DN_MULTI);
	ck_assert_str_eq(ident_str(&i, s), "DC=org, DC=example, CN=b + OU=a, E=x@y.z");
	ident_fini(&i);
	n = unhex(DN_MOON, der);
	dn_print(cy_slice(der, n), small, sizeof(small));
	ck_assert_str_eq(small, "C=DE, O=O");
	/* unknown attribute 1.2.840.113549.1.9.99, control characters, BMPString, and a value that is no string */
	n = unhex("3038310f300d06092a864886f70d0109630c00310d300b06035504030c04610a2c62310d300b0603"
	          "5504031e0400410fe4310730050601020500",
	    der);
	ck_assert(dn_valid(cy_slice(der, n)));
	dn_print(cy_slice(der, n), s, sizeof(s));
	ck_assert_str_eq(s, "1.2.840.113549.1.9.99=, CN=a\\x0a\\,b, CN=A\xe0\xbf\xa4, 0.2=#");
	dn_print(cy_slice("\x30\x80", 2), s, sizeof(s));
	ck_assert_str_eq(s, "(malformed DN)");
	dn_print(cy_slice("\x30\x00", 2), s, sizeof(s));
	ck_assert_str_eq(s, "");
}
END_TEST

/* Each byte changed to each value, each length: nothing reads outside (ASan), and every answer is consistent. */
START_TEST(malformed_dns)
{
	static const char *const hex[] = {DN_MOON, DN_UMLAUT, DN_MULTI};
	uint8_t der[256], *copy;
	char s[IDENT_STR_MAX];
	struct ident whole, i;

	for (size_t k = 0; k < ARRAY_LEN(hex); k++) {
		size_t n = unhex(hex[k], der);

		whole = dn(hex[k]);
		for (size_t cut = 0; cut < n; cut++) {
			copy = malloc(cut ? cut : 1); /* of exactly that size */
			memcpy(copy, der, cut);
			EXPECT(!dn_valid(cy_slice(copy, cut)));
			EXPECT(dn_match(cy_slice(der, n), cy_slice(copy, cut)) < 0);
			EXPECT(!dn_eq(cy_slice(copy, cut), cy_slice(copy, cut)));
			free(copy);
		}
		for (size_t at = 0; at < n; at++) {
			for (int v = 0; v < 256; v++) {
				uint8_t old = der[at];

				der[at] = (uint8_t)v;
				EXPECT(ident_set(&i, ID_DER_ASN1_DN, cy_slice(der, n)) == CY_OK);
				EXPECT(ident_eq(&i, &i));
				if (ident_eq(&i, &whole))
					EXPECT(ident_hash(key, &i) == ident_hash(key, &whole));
				(void)ident_match(&whole, &i);
				(void)ident_match(&i, &whole);
				(void)ident_str(&i, s);
				ident_fini(&i);
				der[at] = old;
			}
		}
		ident_fini(&whole);
	}
}
END_TEST

UNIT_TESTS(ident)
{
	tcase_add_test(tc, parse);
	tcase_add_test(tc, from_the_wire);
	tcase_add_test(tc, equality);
	tcase_add_test(tc, dn_values);
	tcase_add_test(tc, matching);
	tcase_add_test(tc, matching_dns);
	tcase_add_test(tc, printing_dns);
	tcase_add_test(tc, malformed_dns);
}
