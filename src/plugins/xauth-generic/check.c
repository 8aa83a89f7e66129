/* SPDX-License-Identifier: Apache-2.0 */
/* Is it the password? The time depends on the hash that is configured, not on how much of the password is right. */

#include "generic.h"

#include <crypt.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* "$6$salt$...": an id, at least two more parts, and only what crypt(3) writes. */
bool check_is_hash(const char *s)
{
	size_t dollars = 0, n = strlen(s);

	if (*s != '$' || n < 24 || !isalnum((unsigned char)s[1]))
		return false;
	for (const char *c = s; *c; c++) {
		dollars += *c == '$';
		if (!isalnum((unsigned char)*c) && !strchr("$./=,+-", *c))
			return false;
	}
	return dollars >= 3;
}

/* Of buffers of one size, whatever is in them. */
static bool same(const uint8_t *a, const uint8_t *b, size_t n)
{
	volatile uint8_t diff = 0;

	for (size_t i = 0; i < n; i++)
		diff = (uint8_t)(diff | (a[i] ^ b[i]));
	return diff == 0;
}

static bool same_text(struct cy_slice a, struct cy_slice b)
{
	uint8_t x[PASSWORD_MAX + 2] = {0}, y[PASSWORD_MAX + 2] = {0};
	bool equal;

	if (a.n > PASSWORD_MAX || b.n > PASSWORD_MAX)
		return false;
	if (a.n)
		memcpy(x + 2, a.p, a.n);
	if (b.n)
		memcpy(y + 2, b.p, b.n);
	x[0] = (uint8_t)a.n;
	x[1] = (uint8_t)(a.n >> 8);
	y[0] = (uint8_t)b.n;
	y[1] = (uint8_t)(b.n >> 8);
	equal = same(x, y, sizeof(x));
	explicit_bzero(x, sizeof(x));
	explicit_bzero(y, sizeof(y));
	return equal;
}

enum cy_err check_hash(const char *hash, struct cy_slice password)
{
	struct crypt_data *d = calloc(1, sizeof(*d));
	char text[PASSWORD_MAX + 1];
	enum cy_err e = CY_E_AUTH;
	const char *got;

	if (!d)
		return CY_E_NOMEM;
	/* what is after a NUL would not count */
	if (password.n > PASSWORD_MAX || (password.n && memchr(password.p, 0, password.n))) {
		free(d);
		return CY_E_AUTH;
	}
	if (password.n)
		memcpy(text, password.p, password.n);
	text[password.n] = '\0';
	got = crypt_r(text, hash, d);
	if (!got || *got == '*')
		e = CY_E_UNSUPPORTED;
	else if (same_text(cy_slice_str(got), cy_slice_str(hash)))
		e = CY_OK;
	explicit_bzero(text, sizeof(text));
	explicit_bzero(d, sizeof(*d));
	free(d);
	return e;
}

enum cy_err check_plain(const char *secret, struct cy_slice password)
{
	return same_text(cy_slice_str(secret), password) ? CY_OK : CY_E_AUTH;
}

enum cy_err check_nobody(const char *like, struct cy_slice password)
{
	enum cy_err e = check_hash(like ? like : "$6$cygnetcygnet$", password);

	return e == CY_E_NOMEM ? e : CY_E_AUTH;
}
