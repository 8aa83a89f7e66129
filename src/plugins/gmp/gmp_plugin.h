/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gmp plugin: MODP key exchange and RSA on the GNU multiple precision library. All that touches a secret goes through GMP's
 * functions that take the same time and touch the same memory whatever the numbers are (mpn_sec_*), with scratch memory
 * that is ours and is wiped. struct gmp is written by init and fini only.
 */
#ifndef GMP_PLUGIN_H
#define GMP_PLUGIN_H

#include <gmp.h>

#include <cygnet/plugin.h>

#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define LIMBS(bits)                     (((bits) + GMP_NUMB_BITS - 1) / GMP_NUMB_BITS)

/* Numbers are arrays of limbs, the least significant first, of a length that is known from elsewhere. */
mp_limb_t *limbs_new(size_t n);          /* zeroed, NULL when out of memory */
void limbs_free(mp_limb_t *p, size_t n); /* wiped */
void wipe(void *p, size_t n);
/* Big-endian bytes; what does not fit into n limbs must be zero. */
void limbs_read(mp_limb_t *p, size_t n, struct cy_slice bytes);
void limbs_write(const mp_limb_t *p, size_t n, uint8_t *out, size_t out_len);
/* r = base^exp mod m; exp_bits: of the array, not of the number. m odd, n limbs; r does not overlap. False: no memory. */
bool limbs_powm(mp_limb_t *r, const mp_limb_t *base, size_t base_n, const mp_limb_t *exp, size_t exp_bits,
    const mp_limb_t *m, size_t n);
/* p of n limbs becomes p mod m, of m_n limbs (the rest zero). The top limb of m is not zero. */
bool limbs_mod(mp_limb_t *p, size_t n, const mp_limb_t *m, size_t m_n);

struct gmp;

struct gmp_modp {
	struct cy_ke_alg alg;
	const struct gmp *gmp;
	mp_limb_t *p, *g, *q; /* g: as many limbs as p; q: order of the subgroup, only where it is small */
	size_t n, q_bits;
	uint16_t private_bits;
};

#define GMP_MAX_MODP 9

struct gmp {
	const struct cy_host *host;
	void *self;
	struct gmp *next; /* of the instances in this process */
	struct gmp_modp modp[GMP_MAX_MODP];
};

/* modp.c */
void gmp_modp_init(struct gmp *g);
void gmp_modp_fini(struct gmp *g);

/* modp_groups.c: RFC 2409, RFC 3526, RFC 5114; hexadecimal digits. Ends with id 0. */
struct gmp_group {
	uint16_t id, bits, private_bits, flags;
	const char *p, *g, *q; /* g, q: NULL for 2 and for a safe prime */
};
extern const struct gmp_group gmp_groups[];

/*
 * rsa.c. The table of keys has no place for a handle, so rsa.c keeps a list of the plugin's instances (one; in the simulator one
 * for each daemon) and hashes through the first. Changed by init and fini, on the main thread.
 */
extern const struct cy_pki_ops gmp_pki;
void gmp_rsa_init(struct gmp *g);
void gmp_rsa_fini(struct gmp *g);

/* der.c */
struct gmp_rsa_numbers {
	struct cy_slice n, e;                  /* without leading zeros */
	struct cy_slice d, p, q, dp, dq, qinv; /* of a private key */
};
/* Why a key is not read, static text, or NULL. */
const char *gmp_read_private(struct cy_slice der, struct gmp_rsa_numbers *out, bool *out_other_type);
const char *gmp_read_public(struct cy_slice data, struct gmp_rsa_numbers *out, bool *out_other_type);
/* The first block of PEM, decoded, malloc'd; *out_encrypted: it needs a pass phrase. */
bool gmp_is_pem(struct cy_slice data);
const char *gmp_read_pem(struct cy_slice text, uint8_t **out, size_t *out_len);
/* RSAPublicKey and SubjectPublicKeyInfo of n and e; malloc'd. */
bool gmp_write_public(
    struct cy_slice n, struct cy_slice e, uint8_t **out_spki, size_t *out_len, size_t *out_key_at);

#endif
