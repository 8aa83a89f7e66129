/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/secret.h"

#include <stdlib.h>

void mem_wipe(void *p, size_t n)
{
	if (n)
		explicit_bzero(p, n);
}

bool mem_eq_ct(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;
	/* volatile, so that the compiler cannot leave the loop at the first difference */
	volatile uint64_t diff = 0;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		uint64_t u, v;

		memcpy(&u, x + i, 8);
		memcpy(&v, y + i, 8);
		diff |= u ^ v;
	}
	for (; i < n; i++)
		diff |= x[i] ^ y[i];
	return diff == 0;
}

enum cy_err secret_init(struct secret *s, size_t n)
{
	uint8_t *p = NULL;

	if (n) {
		p = calloc(1, n);
		if (!p)
			return CY_E_NOMEM;
	}
	*s = (struct secret){p, n};
	return CY_OK;
}

enum cy_err secret_dup(struct secret *s, struct cy_slice from)
{
	enum cy_err err = secret_init(s, from.n);

	if (!err && from.n)
		memcpy(s->p, from.p, from.n);
	return err;
}

void secret_fini(struct secret *s)
{
	if (!s)
		return;
	if (s->p) {
		mem_wipe(s->p, s->n);
		free(s->p);
	}
	*s = (struct secret){NULL, 0};
}

void secret_move(struct secret *dst, struct secret *src)
{
	if (dst == src)
		return;
	secret_fini(dst);
	*dst = *src;
	*src = (struct secret){NULL, 0};
}
