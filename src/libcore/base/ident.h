/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IKE identities (RFC 7296, 3.5): parsing as ipsec.conf writes them, printing, matching. An ident owns its bytes.
 * DNs are DER inside; text to DER needs a PKI provider and is done by cred/ (ident_parse leaves such a text as
 * ID_DN_TEXT until cred_ident_resolve()).
 */
#ifndef LIBCORE_BASE_IDENT_H
#define LIBCORE_BASE_IDENT_H

#include <cygnet/types.h>

enum ident_type {
	ID_ANY = 0, /* ours: matches everything, never on the wire */
	ID_IPV4_ADDR = 1,
	ID_FQDN = 2,
	ID_RFC822_ADDR = 3,
	ID_IPV4_SUBNET = 4, /* IKEv1 */
	ID_IPV6_ADDR = 5,
	ID_IPV6_SUBNET = 6, /* IKEv1 */
	ID_IPV4_RANGE = 7,  /* IKEv1 */
	ID_IPV6_RANGE = 8,  /* IKEv1 */
	ID_DER_ASN1_DN = 9,
	ID_DER_ASN1_GN = 10,
	ID_KEY_ID = 11,
	ID_NULL = 13,
	ID_DN_TEXT = 0x100, /* ours: not yet encoded */
};

struct ident {
	uint16_t type;
	uint16_t n;
	uint8_t *p; /* owned */
};

#define IDENT_STR_MAX 512

/*
 * "%any" or "": any; "1.2.3.4", "::1": address; "@name": FQDN; "@@user@host": RFC822; "@#hex": KEY_ID;
 * "user@host": RFC822; "C=..,CN=.." or "/C=../CN=..": DN; "*.example.org": FQDN with wildcard; else FQDN.
 * Prefixes "fqdn:", "email:", "keyid:", "ipv4:", "ipv6:", "asn1dn:" force a type.
 */
enum cy_err ident_parse(const char *s, struct ident *out) CY_MUST_USE;
enum cy_err ident_set(struct ident *out, uint16_t type, struct cy_slice bytes) CY_MUST_USE; /* copies */
enum cy_err ident_from_addr(struct ident *out, const struct cy_addr *a) CY_MUST_USE;
enum cy_err ident_dup(struct ident *out, const struct ident *from) CY_MUST_USE;
void ident_fini(struct ident *id);
bool ident_eq(const struct ident *a, const struct ident *b); /* FQDN and the domain of RFC822 ignore case */
/*
 * How well does a configured pattern match? 0: not at all; bigger is more specific (exact > wildcard > any).
 * Wildcards: "*.example.org", "*@example.org", an RDN value of "*" in a DN (compared by the DER's RDNs).
 */
int ident_match(const struct ident *pattern, const struct ident *id);
const char *ident_str(
    const struct ident *id, char out[IDENT_STR_MAX]); /* printable; DNs via a small DER printer */
uint64_t ident_hash(const uint64_t key[2], const struct ident *id);

#endif
