/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Just enough DER for RSA keys: RSAPrivateKey and RSAPublicKey (RFC 8017, A.1), PKCS#8 (RFC 5208), SubjectPublicKeyInfo
 * (RFC 5280, 4.1.2.7), RFC 3110. Slices point into the input.
 */

#include <stdlib.h>
#include <string.h>

#include "gmp_plugin.h"

enum {
	TAG_INTEGER = 0x02,
	TAG_BIT_STRING = 0x03,
	TAG_OCTET_STRING = 0x04,
	TAG_NULL = 0x05,
	TAG_OID = 0x06,
	TAG_SEQUENCE = 0x30,
};

static const uint8_t rsa_oid[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1}; /* rsaEncryption */

/* What is left to read; bad once anything was not as expected. */
struct der {
	struct cy_slice s;
	bool bad;
};

/* An element of this tag; empty and bad when the next is another. DER lengths only: definite and shortest. */
static struct cy_slice take(struct der *d, uint8_t tag)
{
	const uint8_t *p = d->s.p;
	size_t n = d->s.n, len, head = 2;

	if (d->bad || n < 2 || p[0] != tag)
		goto bad;
	len = p[1];
	if (len & 0x80) {
		size_t bytes = len & 0x7f;

		if (bytes == 0 || bytes > 3 || n < 2 + bytes || p[2] == 0)
			goto bad;
		for (len = 0; head < 2 + bytes; head++)
			len = len << 8 | p[head];
		if (len < 0x80)
			goto bad;
	}
	if (n - head < len)
		goto bad;
	d->s = cy_slice(p + head + len, n - head - len);
	return cy_slice(p + head, len);
bad:
	d->bad = true;
	return cy_slice(NULL, 0);
}

static struct der open_slice(struct cy_slice s)
{
	return (struct der){s, false};
}

/* A positive INTEGER without its leading zero. */
static struct cy_slice take_number(struct der *d)
{
	struct cy_slice s = take(d, TAG_INTEGER);

	if (s.n == 0 || (s.p[0] & 0x80)) {
		d->bad = true;
		return s;
	}
	while (s.n && s.p[0] == 0)
		s = cy_slice(s.p + 1, s.n - 1);
	return s;
}

static bool done(const struct der *d)
{
	return !d->bad && d->s.n == 0;
}

static bool is_rsa(struct cy_slice algorithm)
{
	struct der d = open_slice(algorithm);
	struct cy_slice oid = take(&d, TAG_OID);

	return oid.n == sizeof(rsa_oid) && memcmp(oid.p, rsa_oid, sizeof(rsa_oid)) == 0;
}

static bool read_rsa_private(struct cy_slice der, struct gmp_rsa_numbers *out)
{
	struct der outer = open_slice(der), d;
	struct cy_slice version;

	d = open_slice(take(&outer, TAG_SEQUENCE));
	d.bad |= outer.bad || outer.s.n != 0;
	version = take_number(&d);
	out->n = take_number(&d);
	out->e = take_number(&d);
	out->d = take_number(&d);
	out->p = take_number(&d);
	out->q = take_number(&d);
	out->dp = take_number(&d);
	out->dq = take_number(&d);
	out->qinv = take_number(&d);
	return done(&d) && version.n == 0; /* version 0: two primes */
}

const char *gmp_read_private(struct cy_slice der, struct gmp_rsa_numbers *out, bool *out_other_type)
{
	struct der outer = open_slice(der), d;
	struct cy_slice version, algorithm, key;

	*out_other_type = false;
	if (read_rsa_private(der, out))
		return NULL;
	d = open_slice(take(&outer, TAG_SEQUENCE));
	version = take_number(&d);
	algorithm = take(&d, TAG_SEQUENCE);
	key = take(&d, TAG_OCTET_STRING); /* attributes may follow */
	if (outer.bad || d.bad || version.n > 1)
		return "no RSA private key that the gmp plugin can read is in it";
	if (!is_rsa(algorithm)) {
		*out_other_type = true;
		return "the gmp plugin reads RSA keys only";
	}
	return read_rsa_private(key, out) ? NULL : "the RSA private key is malformed";
}

static bool read_rsa_public(struct cy_slice der, struct gmp_rsa_numbers *out)
{
	struct der outer = open_slice(der), d;

	d = open_slice(take(&outer, TAG_SEQUENCE));
	out->n = take_number(&d);
	out->e = take_number(&d);
	return done(&d) && done(&outer);
}

/* RFC 3110, 2 */
static bool read_rfc3110(struct cy_slice data, struct gmp_rsa_numbers *out)
{
	size_t at = 1, n;

	if (data.n < 3)
		return false;
	n = data.p[0];
	if (n == 0) {
		n = (size_t)data.p[1] << 8 | data.p[2];
		at = 3;
	}
	if (n == 0 || n > 512 || data.n <= at + n)
		return false;
	out->e = cy_slice(data.p + at, n);
	out->n = cy_slice(data.p + at + n, data.n - at - n);
	return out->e.p[0] != 0 && out->n.p[0] != 0;
}

const char *gmp_read_public(struct cy_slice data, struct gmp_rsa_numbers *out, bool *out_other_type)
{
	struct der outer = open_slice(data), d;
	struct cy_slice algorithm, bits;

	*out_other_type = false;
	if (data.n == 0 || data.p[0] != TAG_SEQUENCE)
		return read_rfc3110(data, out)
		    ? NULL
		    : "it is neither a SubjectPublicKeyInfo nor an RSA key as RFC 3110 has it";
	d = open_slice(take(&outer, TAG_SEQUENCE));
	algorithm = take(&d, TAG_SEQUENCE);
	bits = take(&d, TAG_BIT_STRING);
	if (!done(&outer) || !done(&d) || bits.n < 1 || bits.p[0] != 0)
		return "the public key is malformed";
	if (!is_rsa(algorithm)) {
		*out_other_type = true;
		return "the gmp plugin reads RSA keys only";
	}
	return read_rsa_public(cy_slice(bits.p + 1, bits.n - 1), out) ? NULL : "the public key is malformed";
}

/* --- PEM --- */

static const char begin[] = "-----BEGIN ";

bool gmp_is_pem(struct cy_slice data)
{
	return data.n && memmem(data.p, data.n, begin, sizeof(begin) - 1) != NULL;
}

static int base64_digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

const char *gmp_read_pem(struct cy_slice text, uint8_t **out, size_t *out_len)
{
	const uint8_t *p = memmem(text.p, text.n, begin, sizeof(begin) - 1), *end;
	uint32_t bits = 0;
	size_t n = 0, digits = 0;
	uint8_t *der;

	p = p ? memchr(p, '\n', (size_t)(text.p + text.n - p)) : NULL;
	end = p ? memmem(p, (size_t)(text.p + text.n - p), "\n-----END ", 10) : NULL;
	if (!end)
		return "its PEM is damaged";
	if (memmem(p, (size_t)(end - p), "ENCRYPTED", 9) ||
	    memmem(text.p, (size_t)(p - text.p), "ENCRYPTED", 9))
		return "the gmp plugin reads no encrypted keys";
	der = malloc((size_t)(end - p));
	if (!der)
		return "out of memory";
	for (; p < end; p++) {
		int d = base64_digit(*p);

		if (*p == '=' || *p == '\n' || *p == '\r' || *p == ' ')
			continue;
		if (d < 0) {
			wipe(der, n);
			free(der);
			return "its PEM is damaged";
		}
		bits = bits << 6 | (uint32_t)d;
		if (digits++ % 4)
			der[n++] = (uint8_t)(bits >> (2 * (3 - (digits - 1) % 4)));
	}
	*out = der;
	*out_len = n;
	return NULL;
}

/* --- writing --- */

static size_t length_size(size_t n)
{
	return n < 0x80 ? 1 : n < 0x100 ? 2 : 3;
}

static uint8_t *put_head(uint8_t *p, uint8_t tag, size_t n)
{
	size_t bytes = length_size(n) - 1;

	*p++ = tag;
	if (bytes)
		*p++ = (uint8_t)(0x80 | bytes);
	for (size_t i = bytes ? bytes : 1; i-- > 0;)
		*p++ = (uint8_t)(n >> (8 * i));
	return p;
}

static size_t number_len(struct cy_slice s)
{
	return s.n + (s.p[0] >> 7);
}

static uint8_t *put_number(uint8_t *p, struct cy_slice s)
{
	p = put_head(p, TAG_INTEGER, number_len(s));
	if (s.p[0] & 0x80)
		*p++ = 0;
	memcpy(p, s.p, s.n);
	return p + s.n;
}

static size_t element_len(size_t n)
{
	return 1 + length_size(n) + n;
}

bool gmp_write_public(
    struct cy_slice n, struct cy_slice e, uint8_t **out_spki, size_t *out_len, size_t *out_key_at)
{
	size_t numbers = element_len(number_len(n)) + element_len(number_len(e));
	size_t key = element_len(numbers), algorithm = element_len(sizeof(rsa_oid)) + 2;
	size_t inner = element_len(algorithm) + element_len(key + 1), all = element_len(inner);
	uint8_t *spki = malloc(all), *p = spki;

	if (!spki)
		return false;
	p = put_head(p, TAG_SEQUENCE, inner);
	p = put_head(p, TAG_SEQUENCE, algorithm);
	p = put_head(p, TAG_OID, sizeof(rsa_oid));
	memcpy(p, rsa_oid, sizeof(rsa_oid));
	p = put_head(p + sizeof(rsa_oid), TAG_NULL, 0);
	p = put_head(p, TAG_BIT_STRING, key + 1);
	*p++ = 0;
	*out_key_at = (size_t)(p - spki);
	p = put_head(p, TAG_SEQUENCE, numbers);
	p = put_number(p, n);
	(void)put_number(p, e);
	*out_spki = spki;
	*out_len = all;
	return true;
}
