/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Distinguished names as DER (RFC 5280, 4.1.2.4): walking, comparing, printing. For ident.c and whoever needs an
 * attribute. Pure functions over borrowed bytes; malformed DER is never followed.
 */
#ifndef LIBCORE_BASE_DN_H
#define LIBCORE_BASE_DN_H

#include "libcore/base/rw.h"

/* One AttributeTypeAndValue. */
struct dn_attr {
	struct cy_slice oid; /* contents, without tag and length */
	uint8_t tag;         /* of the value */
	struct cy_slice value;
	uint32_t rdn; /* index of the RDN it belongs to */
};

struct dn_walk {
	struct reader names, rdn;
	uint32_t n;
	bool bad;
};

void dn_walk_init(struct dn_walk *w, struct cy_slice der);
bool dn_walk_next(struct dn_walk *w, struct dn_attr *out); /* false at the end or when malformed (bad) */

bool dn_valid(struct cy_slice der);
/* RDN by RDN as RFC 5280, 7.1 compares them; false when either is malformed. */
bool dn_eq(struct cy_slice a, struct cy_slice b);
/*
 * Does der match the pattern, in which a value of "*" stands for any value of that type? -1: no, else the number of
 * wildcards used.
 */
int dn_match(struct cy_slice pattern, struct cy_slice der);
uint64_t dn_hash(const uint64_t key[2], struct cy_slice der); /* equal for names that dn_eq */
/* "C=DE, O=Org, CN=name" */
void dn_print(struct cy_slice der, char *out, size_t cap);
/* The short name of an attribute type ("CN"), or NULL. */
const char *dn_attr_name(struct cy_slice oid);

#endif
