/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Distinguished names as text. The names of attributes, their order (as in the DER, not reversed) and the escapes are those
 * with which the daemon prints identities, so that what it prints can be read back.
 */

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <strings.h>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#include "ossl.h"
#include "pki.h"

/* The first name of an attribute is the one printed. */
static const struct {
	const char *name;
	int nid;
} attributes[] = {
    {"CN", NID_commonName},
    {"S", NID_surname},
    {"SN", NID_serialNumber},
    {"C", NID_countryName},
    {"L", NID_localityName},
    {"ST", NID_stateOrProvinceName},
    {"street", NID_streetAddress},
    {"O", NID_organizationName},
    {"OU", NID_organizationalUnitName},
    {"T", NID_title},
    {"D", NID_description},
    {"postalCode", NID_postalCode},
    {"N", NID_name},
    {"G", NID_givenName},
    {"I", NID_initials},
    {"dnQualifier", NID_dnQualifier},
    {"E", NID_pkcs9_emailAddress},
    {"unstructuredName", NID_pkcs9_unstructuredName},
    {"UID", NID_userId},
    {"DC", NID_domainComponent},
    /* other spellings */
    {"email", NID_pkcs9_emailAddress},
    {"emailAddress", NID_pkcs9_emailAddress},
    {"GN", NID_givenName},
    {"serialNumber", NID_serialNumber},
    {"surname", NID_surname},
    {"UN", NID_pkcs9_unstructuredName},
};

static const char *attribute_name(int nid)
{
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++)
		if (attributes[i].nid == nid)
			return attributes[i].name;
	return NULL;
}

/* --- printing --- */

static void put_char(BIO *out, uint8_t c)
{
	if (c < 0x20 || c == 0x7f)
		BIO_printf(out, "\\x%02x", c);
	else if (c == ',' || c == '+' || c == '\\')
		BIO_printf(out, "\\%c", c);
	else
		BIO_write(out, &c, 1);
}

static void put_bmp(BIO *out, uint32_t c)
{
	uint8_t b[3];
	int n;

	if (c < 0x80) {
		put_char(out, (uint8_t)c);
		return;
	}
	n = UTF8_putc(b, sizeof(b), c);
	if (n > 0)
		BIO_write(out, b, n);
}

static void put_value(BIO *out, const ASN1_STRING *s)
{
	const uint8_t *p = ASN1_STRING_get0_data(s);
	int n = ASN1_STRING_length(s);

	switch (ASN1_STRING_type(s)) {
	case V_ASN1_UTF8STRING:
	case V_ASN1_PRINTABLESTRING:
	case V_ASN1_IA5STRING:
	case V_ASN1_T61STRING:
		for (int i = 0; i < n; i++)
			put_char(out, p[i]);
		return;
	case V_ASN1_BMPSTRING:
		if (n % 2 == 0) {
			for (int i = 0; i < n; i += 2)
				put_bmp(out, (uint32_t)p[i] << 8 | p[i + 1]);
			return;
		}
		break;
	}
	BIO_puts(out, "#");
	for (int i = 0; i < n; i++)
		BIO_printf(out, "%02x", p[i]);
}

static void put_name(BIO *out, const X509_NAME *name)
{
	int last = -1;

	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		const ASN1_OBJECT *type = X509_NAME_ENTRY_get_object(e);
		const char *known = attribute_name(OBJ_obj2nid(type));
		int rdn = X509_NAME_ENTRY_set(e);
		char oid[128];

		if (i)
			BIO_puts(out, rdn == last ? " + " : ", ");
		if (!known)
			(void)OBJ_obj2txt(oid, sizeof(oid), type, 1);
		BIO_printf(out, "%s=", known ? known : oid);
		put_value(out, X509_NAME_ENTRY_get_data(e));
		last = rdn;
	}
}

char *ossl_text_dup(const void *p, size_t n)
{
	char *copy = malloc(n + 1);

	if (copy) {
		if (n)
			memcpy(copy, p, n);
		copy[n] = '\0';
	}
	return copy;
}

char *ossl_name_text(const X509_NAME *name)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *text = NULL, *p;
	long n;

	if (!out)
		return NULL;
	put_name(out, name);
	n = BIO_get_mem_data(out, &p);
	if (n >= 0)
		text = ossl_text_dup(p, (size_t)n);
	BIO_free(out);
	return text;
}

enum cy_err ossl_name_print(struct cy_slice der, char *out, size_t cap)
{
	const uint8_t *p = der.p;
	X509_NAME *name = der.n && der.n <= LONG_MAX ? d2i_X509_NAME(NULL, &p, (long)der.n) : NULL;
	char *text;
	size_t n;

	if (!name || p != der.p + der.n) {
		X509_NAME_free(name);
		return ossl_fail(CY_E_PARSE, NULL, NULL);
	}
	text = ossl_name_text(name);
	X509_NAME_free(name);
	if (!text)
		return CY_E_NOMEM;
	n = strlen(text);
	if (n < cap)
		memcpy(out, text, n + 1);
	free(text);
	return n < cap ? CY_OK : CY_E_SHORT;
}

/* --- reading --- */

struct parse {
	const char *p;
	X509_NAME *name;
	bool slashes; /* "/C=CH/O=x" */
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void skip_blanks(struct parse *ps)
{
	while (*ps->p == ' ' || *ps->p == '\t')
		ps->p++;
}

static ASN1_OBJECT *read_type(struct parse *ps)
{
	char type[64];
	size_t n = 0;

	skip_blanks(ps);
	while (isalnum((unsigned char)*ps->p) || *ps->p == '.' || *ps->p == '-') {
		if (n == sizeof(type) - 1)
			return NULL;
		type[n++] = *ps->p++;
	}
	type[n] = '\0';
	skip_blanks(ps);
	if (n == 0 || *ps->p != '=')
		return NULL;
	ps->p++;
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++)
		if (strcasecmp(attributes[i].name, type) == 0)
			return OBJ_nid2obj(attributes[i].nid);
	return OBJ_txt2obj(type, isdigit((unsigned char)type[0]));
}

/* After a backslash: two hexadecimal digits (RFC 4514, 2.4), the same after an x, or any character. */
static uint8_t read_escape(struct parse *ps)
{
	const char *p = ps->p;
	size_t x = *p == 'x' && hex_digit(p[1]) >= 0;

	if (hex_digit(p[x]) >= 0 && hex_digit(p[x + 1]) >= 0) {
		ps->p += x + 2;
		return (uint8_t)(hex_digit(p[x]) << 4 | hex_digit(p[x + 1]));
	}
	return (uint8_t)*ps->p++;
}

static bool at_end(const struct parse *ps, bool quoted)
{
	if (*ps->p == '\0')
		return true;
	if (quoted)
		return *ps->p == '"';
	return ps->slashes ? *ps->p == '/' : *ps->p == ',' || *ps->p == '+';
}

/* Into buf, which is as long as the whole text. */
static bool read_value(struct parse *ps, uint8_t *buf, size_t *out_n)
{
	bool quoted;
	size_t n = 0, keep = 0; /* keep: blanks before this are not the end's */

	skip_blanks(ps);
	quoted = *ps->p == '"';
	if (quoted)
		ps->p++;
	while (!at_end(ps, quoted)) {
		if (*ps->p == '\\') {
			if (*++ps->p == '\0')
				return false;
			buf[n++] = read_escape(ps);
			keep = n;
			continue;
		}
		buf[n++] = (uint8_t)*ps->p++;
		if (quoted || buf[n - 1] != ' ')
			keep = n;
	}
	if (quoted) {
		if (*ps->p != '"')
			return false;
		ps->p++;
		skip_blanks(ps);
		if (!at_end(ps, false))
			return false;
	}
	*out_n = keep;
	return keep > 0;
}

static bool is_utf8(const uint8_t *p, size_t n)
{
	unsigned long c;

	while (n) {
		int used = UTF8_getc(p, (int)n, &c);

		if (used <= 0 || c == 0)
			return false;
		p += used;
		n -= (size_t)used;
	}
	return true;
}

static bool is_ascii(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] == 0 || p[i] >= 0x80)
			return false;
	return true;
}

/* The string types of RFC 5280, appendix A; 0 when the value cannot be one. */
static int string_type(const ASN1_OBJECT *type, const uint8_t *p, size_t n)
{
	switch (OBJ_obj2nid(type)) {
	case NID_pkcs9_emailAddress:
	case NID_pkcs9_unstructuredName:
	case NID_domainComponent:
		if (is_ascii(p, n))
			return V_ASN1_IA5STRING;
		break;
	}
	if (ASN1_PRINTABLE_type(p, (int)n) == V_ASN1_PRINTABLESTRING)
		return V_ASN1_PRINTABLESTRING;
	return is_utf8(p, n) ? V_ASN1_UTF8STRING : 0;
}

/* "#" and the DER of the value (RFC 4514, 2.4). */
static X509_NAME_ENTRY *hex_entry(const ASN1_OBJECT *type, uint8_t *p, size_t n)
{
	ASN1_TYPE *value;
	X509_NAME_ENTRY *e = NULL;
	const uint8_t *at = p;
	size_t bytes = (n - 1) / 2;

	if (n % 2 == 0)
		return NULL;
	for (size_t i = 0; i < bytes; i++) {
		int hi = hex_digit((char)p[1 + 2 * i]), lo = hex_digit((char)p[2 + 2 * i]);

		if (hi < 0 || lo < 0)
			return NULL;
		p[i] = (uint8_t)(hi << 4 | lo);
	}
	value = d2i_ASN1_TYPE(NULL, &at, (long)bytes);
	if (value && at == p + bytes && value->type != V_ASN1_SEQUENCE && value->type != V_ASN1_SET &&
	    value->type != V_ASN1_OBJECT && value->type != V_ASN1_BOOLEAN && value->type != V_ASN1_NULL &&
	    ASN1_STRING_length(value->value.asn1_string) > 0)
		e = X509_NAME_ENTRY_create_by_OBJ(NULL, type, value->type,
		    ASN1_STRING_get0_data(value->value.asn1_string),
		    ASN1_STRING_length(value->value.asn1_string));
	ASN1_TYPE_free(value);
	return e;
}

static enum cy_err read_attribute(struct parse *ps, uint8_t *buf, bool same_rdn)
{
	ASN1_OBJECT *type = read_type(ps);
	X509_NAME_ENTRY *e = NULL;
	enum cy_err err = CY_E_PARSE;
	size_t n;

	skip_blanks(ps);
	bool hex = *ps->p == '#';

	if (type && read_value(ps, buf, &n) && n <= INT_MAX) {
		int as = string_type(type, buf, n);

		if (hex)
			e = hex_entry(type, buf, n);
		else if (as)
			e = X509_NAME_ENTRY_create_by_OBJ(NULL, type, as, buf, (int)n);
		if (e)
			err =
			    X509_NAME_add_entry(ps->name, e, -1, same_rdn ? -1 : 0) == 1 ? CY_OK : CY_E_NOMEM;
	}
	X509_NAME_ENTRY_free(e);
	ASN1_OBJECT_free(type);
	return err;
}

enum cy_err ossl_name_parse(const char *text, uint8_t **out, size_t *out_len)
{
	struct parse ps = {.p = text, .name = X509_NAME_new()};
	uint8_t *buf = malloc(strlen(text) + 1), *der = NULL;
	enum cy_err err = ps.name && buf ? CY_OK : CY_E_NOMEM;
	bool same_rdn = false;
	int n;

	skip_blanks(&ps);
	if (*ps.p == '/') {
		ps.slashes = true;
		ps.p++;
	}
	while (err == CY_OK) {
		err = read_attribute(&ps, buf, same_rdn);
		if (err != CY_OK || *ps.p == '\0')
			break;
		same_rdn = *ps.p == '+';
		ps.p++;
	}
	if (err == CY_OK) {
		n = i2d_X509_NAME(ps.name, &der);
		*out = n > 0 ? malloc((size_t)n) : NULL;
		if (*out) {
			memcpy(*out, der, (size_t)n);
			*out_len = (size_t)n;
		} else {
			err = CY_E_NOMEM;
		}
		OPENSSL_free(der);
	}
	X509_NAME_free(ps.name);
	free(buf);
	ERR_clear_error();
	return err;
}
