/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the transforms in the kernel's crypto API. Const tables. */
#ifndef KERNEL_NETLINK_ALGS_H
#define KERNEL_NETLINK_ALGS_H

#include <cygnet/crypto.h>

struct encr_alg {
	uint16_t id; /* enum cy_encr */
	const char *name;
	bool aead;
	uint16_t icv_bits; /* AEAD */
};

struct integ_alg {
	uint16_t id; /* enum cy_integ */
	const char *name;
	uint16_t trunc_bits;
};

const struct encr_alg *encr_alg(uint16_t id); /* NULL: the kernel has none such */
const struct integ_alg *integ_alg(uint16_t id);

#endif
