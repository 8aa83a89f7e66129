/* SPDX-License-Identifier: Apache-2.0 */
/* Key material: memory that wipes itself, comparison in constant time. Not thread safe per object. */
#ifndef LIBCORE_BASE_SECRET_H
#define LIBCORE_BASE_SECRET_H

#include <cygnet/types.h>

struct secret {
	uint8_t *p;
	size_t n;
};

void mem_wipe(void *p, size_t n);                                /* not optimised away */
bool mem_eq_ct(const void *a, const void *b, size_t n);          /* constant time in the contents */
enum cy_err secret_init(struct secret *s, size_t n) CY_MUST_USE; /* zeroed, n bytes */
enum cy_err secret_dup(struct secret *s, struct cy_slice from) CY_MUST_USE;
void secret_fini(struct secret *s);                       /* wipes, frees, leaves {NULL,0} */
void secret_move(struct secret *dst, struct secret *src); /* dst is finished first */
static inline struct cy_slice secret_slice(const struct secret *s)
{
	return cy_slice(s->p, s->n);
}

#endif
