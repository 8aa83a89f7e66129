/* SPDX-License-Identifier: Apache-2.0 */
/* RSA keys as the gmp plugin reads them. Input: a byte that says which kind, and the bytes. */

#include <stdlib.h>

#include "plugins/gmp/gmp_plugin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static bool within(struct cy_slice part, struct cy_slice whole)
{
	return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* What is written of a key reads as the same key. */
static void write_and_read(struct cy_slice n, struct cy_slice e)
{
	struct gmp_rsa_numbers again;
	size_t len, key_at;
	uint8_t *spki;
	bool other;

	if (n.n == 0 || e.n == 0 || !gmp_write_public(n, e, &spki, &len, &key_at))
		return;
	must(key_at < len);
	must(gmp_read_public(cy_slice(spki, len), &again, &other) == NULL);
	must(cy_slice_eq(again.n, n) && cy_slice_eq(again.e, e));
	free(spki);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cy_slice in = cy_slice(data + 1, size - 1);
	struct gmp_rsa_numbers num;
	uint8_t *der = NULL;
	size_t n = 0;
	bool other;

	if (size < 2)
		return 0;
	switch (data[0] % 3) {
	case 0:
		if (!gmp_read_private(in, &num, &other)) {
			must(within(num.n, in) && within(num.qinv, in) && within(num.d, in));
			write_and_read(num.n, num.e);
		}
		break;
	case 1:
		if (!gmp_read_public(in, &num, &other)) {
			must(within(num.n, in) && within(num.e, in));
			write_and_read(num.n, num.e);
		}
		break;
	case 2:
		if (gmp_is_pem(in) && !gmp_read_pem(in, &der, &n))
			must(n <= in.n);
		free(der);
		break;
	}
	return 0;
}
