/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identities from the wire and from configuration. Input: type, length of the first identity's bytes, those bytes, and
 * the rest as a second one of the same type, also read as text.
 */

#include <stdlib.h>

#include "libcore/base/dn.h"
#include "libcore/base/err.h"
#include "libcore/base/ident.h"
#include "libcore/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t key[2] = {1, 2};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void look_at(const struct ident *a, const struct ident *b)
{
	char text[IDENT_STR_MAX];

	must(strlen(ident_str(a, text)) < sizeof(text));
	must(ident_eq(a, a));
	must(ident_eq(a, b) == ident_eq(b, a));
	if (ident_eq(a, b)) {
		must(ident_hash(key, a) == ident_hash(key, b));
		must(ident_match(a, b) > 0 && ident_match(b, a) > 0);
	}
	(void)ident_match(a, b);
	if (a->type == ID_DER_ASN1_DN && dn_valid(cy_slice(a->p, a->n)))
		must(dn_match(cy_slice(a->p, a->n), cy_slice(a->p, a->n)) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ident a, b, c;
	uint16_t type;
	size_t n;
	char *text;

	if (size < 2)
		return 0;
	type = data[0];
	n = data[1] < size - 2 ? data[1] : size - 2;
	if (ident_set(&a, type, cy_slice(data + 2, n)) != CY_OK)
		return 0;
	if (ident_set(&b, type, cy_slice(data + 2 + n, size - 2 - n)) == CY_OK) {
		look_at(&a, &b);
		look_at(&b, &a);
		ident_fini(&b);
	}
	text = text_dup(data + 2, size - 2);
	if (text && ident_parse(text, &c) == CY_OK) {
		look_at(&c, &a);
		look_at(&a, &c);
		ident_fini(&c);
	}
	free(text);
	ident_fini(&a);
	return 0;
}
