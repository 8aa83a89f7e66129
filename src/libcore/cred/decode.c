/* SPDX-License-Identifier: Apache-2.0 */
/* Text to bytes, and foreign encodings of public keys to SubjectPublicKeyInfo. */

#include "libcore/cred/private.h"

#include "libcore/base/rw.h"

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
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

static bool decode_hex(struct cy_slice in, struct secret *s)
{
	size_t n = 0, digits = 0;

	for (size_t i = 0; i < in.n; i++) {
		int d = hex_digit(in.p[i]);
		if (d < 0 && (in.p[i] == '_' || in.p[i] == ':') && digits % 2 == 0)
			continue;
		if (d < 0)
			return false;
		s->p[n] = (uint8_t)(s->p[n] << 4 | d);
		n += digits++ % 2;
	}
	s->n = n;
	return digits > 0 && digits % 2 == 0;
}

/* RFC 4648, 4; padding may be left out. */
static bool decode_base64(struct cy_slice in, struct secret *s)
{
	size_t n = 0, digits = 0, pad = 0;
	uint32_t bits = 0;

	for (size_t i = 0; i < in.n; i++) {
		int d = base64_digit(in.p[i]);
		if (in.p[i] == '=' && digits % 4 >= 2 && pad < 2) {
			pad++;
			continue;
		}
		if (in.p[i] == '_' || in.p[i] == '\n')
			continue;
		if (d < 0 || pad)
			return false;
		bits = bits << 6 | (uint32_t)d;
		if (digits++ % 4 != 0)
			s->p[n++] = (uint8_t)(bits >> (2 * (3 - (digits - 1) % 4)));
	}
	s->n = n;
	/* what the last digit has beyond the last byte must be zero, so that one key has one spelling */
	if (digits % 4 == 2 && (bits & 15))
		return false;
	if (digits % 4 == 3 && (bits & 3))
		return false;
	return digits % 4 != 1 && n > 0 && (!pad || digits % 4 + pad == 4);
}

enum cy_err cred_decode(struct cy_slice text, struct secret *out)
{
	struct secret s = {0};
	size_t cap;
	enum cy_err e;
	bool ok;

	if (text.n < 3 || text.p[0] != '0')
		return CY_E_PARSE;
	e = secret_init(&s, text.n);
	if (e)
		return e;
	cap = s.n;
	struct cy_slice digits = cy_slice(text.p + 2, text.n - 2);
	if (text.p[1] == 'x' || text.p[1] == 'X')
		ok = decode_hex(digits, &s);
	else
		ok = (text.p[1] == 's' || text.p[1] == 'S') && decode_base64(digits, &s);
	if (ok) {
		secret_fini(out);
		e = secret_dup(out, secret_slice(&s));
	}
	s.n = cap; /* all of it is wiped */
	secret_fini(&s);
	return ok ? e : CY_E_PARSE;
}

/* --- DER, only as much as is needed to wrap a key --- */

static void der_len(struct writer *w, size_t n)
{
	if (n < 0x80) {
		write_u8(w, (uint8_t)n);
	} else if (n < 0x100) {
		write_u8(w, 0x81);
		write_u8(w, (uint8_t)n);
	} else {
		write_u8(w, 0x82);
		write_u16(w, (uint16_t)n);
	}
}

static size_t der_len_len(size_t n)
{
	return n < 0x80 ? 1 : n < 0x100 ? 2 : 3;
}

/* SEQUENCE { algorithm, BIT STRING key }; algorithm is the whole AlgorithmIdentifier. */
static enum cy_err wrap_spki(struct cy_slice algorithm, struct cy_slice key, struct secret *out)
{
	size_t bits = 1 + key.n;
	size_t body = algorithm.n + 1 + der_len_len(bits) + bits;
	struct writer w;
	enum cy_err e;

	if (body > 0xffff)
		return CY_E_PARSE;
	secret_fini(out);
	e = secret_init(out, 1 + der_len_len(body) + body);
	if (e)
		return e;
	w = writer_of(out->p, out->n);
	write_u8(&w, 0x30);
	der_len(&w, body);
	write_bytes(&w, algorithm);
	write_u8(&w, 0x03);
	der_len(&w, bits);
	write_u8(&w, 0);
	write_bytes(&w, key);
	return w.bad ? CY_E_BUG : CY_OK;
}

/* AlgorithmIdentifiers: RFC 3279 2.3.1, RFC 5480 2.1.1, RFC 8410 3. */
static const uint8_t alg_rsa[] = {
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
static const uint8_t alg_p256[] = {0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t alg_p384[] = {0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t alg_p521[] = {0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};
static const uint8_t alg_ed25519[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70};
static const uint8_t alg_ed448[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71};

enum cy_err cred_spki_of_pkcs1(struct cy_slice der, struct secret *out)
{
	struct reader r = reader_of(der);
	size_t len;

	/* RSAPublicKey ::= SEQUENCE { modulus INTEGER, .. }; a SubjectPublicKeyInfo has a SEQUENCE there */
	if (read_u8(&r) != 0x30)
		return CY_E_PARSE;
	len = read_u8(&r);
	if (len == 0x81)
		len = read_u8(&r);
	else if (len == 0x82)
		len = read_u16(&r);
	else if (len >= 0x80)
		return CY_E_PARSE;
	if (r.bad || len != reader_left(&r) || read_u8(&r) != 0x02)
		return CY_E_PARSE;
	return wrap_spki(cy_slice(alg_rsa, sizeof(alg_rsa)), der, out);
}

static struct cy_slice ssh_string(struct reader *r)
{
	return read_bytes(r, read_u32(r));
}

static void der_integer(struct writer *w, struct cy_slice v)
{
	write_u8(w, 0x02);
	der_len(w, v.n);
	write_bytes(w, v);
}

static enum cy_err spki_of_ssh_rsa(struct reader *r, struct secret *out)
{
	/* an mpint is the contents of a DER INTEGER (RFC 4251, 5) */
	struct cy_slice e = ssh_string(r), n = ssh_string(r);
	uint8_t buf[4 + 2 * 4 + 4096 + 64];
	struct writer w = writer_of(buf, sizeof(buf));
	size_t body;

	if (r->bad || reader_left(r) || e.n == 0 || n.n == 0 || e.n > 64 || n.n > 4096)
		return CY_E_PARSE;
	body = 2 + der_len_len(n.n) + n.n + der_len_len(e.n) + e.n;
	write_u8(&w, 0x30);
	der_len(&w, body);
	der_integer(&w, n);
	der_integer(&w, e);
	if (w.bad)
		return CY_E_PARSE;
	return cred_spki_of_pkcs1(writer_slice(&w), out);
}

enum cy_err cred_spki_of_ssh(struct cy_slice blob, struct secret *out)
{
	static const struct {
		const char *name;
		const uint8_t *alg;
		size_t n_alg, n_key;
		bool ec;
	} kinds[] = {
	    {"ecdsa-sha2-nistp256", alg_p256, sizeof(alg_p256), 65, true},
	    {"ecdsa-sha2-nistp384", alg_p384, sizeof(alg_p384), 97, true},
	    {"ecdsa-sha2-nistp521", alg_p521, sizeof(alg_p521), 133, true},
	    {"ssh-ed25519", alg_ed25519, sizeof(alg_ed25519), 32, false},
	    {"ssh-ed448", alg_ed448, sizeof(alg_ed448), 57, false},
	};
	struct reader r = reader_of(blob);
	struct cy_slice name = ssh_string(&r), key;

	if (r.bad)
		return CY_E_PARSE;
	if (cy_slice_eq(name, cy_slice_str("ssh-rsa")))
		return spki_of_ssh_rsa(&r, out);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!cy_slice_eq(name, cy_slice_str(kinds[i].name)))
			continue;
		if (kinds[i].ec)
			ssh_string(&r); /* the curve again, RFC 5656, 3.1 */
		key = ssh_string(&r);
		if (r.bad || reader_left(&r) || key.n != kinds[i].n_key)
			return CY_E_PARSE;
		return wrap_spki(cy_slice(kinds[i].alg, kinds[i].n_alg), key, out);
	}
	return CY_E_PARSE;
}
