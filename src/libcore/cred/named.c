/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection named, leftcert=FILE or leftsigkey=TEXT, found again by that name. */
#include <stdlib.h>

#include "libcore/cred/private.h"

struct creds_named {
	struct hnode node;
	struct cy_cert *cert; /* one of the two; borrowed from the store */
	struct cy_pubkey *pubkey;
	char name[];
};

static struct creds_named *find(const struct creds *c, const char *name, bool cert)
{
	struct hnode *n;

	for (n = hmap_first(&c->named, siphash24(cred_hash_key, name, strlen(name))); n; n = hmap_next(n)) {
		struct creds_named *x = container_of(n, struct creds_named, node);

		if (strcmp(x->name, name) == 0 && !x->cert == !cert)
			return x;
	}
	return NULL;
}

enum cy_err creds_name(struct creds *c, const char *name, struct cy_cert *cert, struct cy_pubkey *pubkey)
{
	size_t n = strlen(name);
	struct creds_named *x;

	if (find(c, name, cert != NULL))
		return CY_OK;
	x = calloc(1, sizeof(*x) + n + 1);
	if (!x)
		return CY_E_NOMEM;
	memcpy(x->name, name, n + 1);
	x->cert = cert;
	x->pubkey = pubkey;
	hmap_add(&c->named, &x->node, siphash24(cred_hash_key, name, n));
	return CY_OK;
}

void creds_named_fini(struct creds *c)
{
	struct hnode *n, *tmp;
	size_t b;

	hmap_foreach (&c->named, b, n, tmp)
		free(container_of(n, struct creds_named, node));
	hmap_fini(&c->named);
}

struct cy_cert *creds_cert_by_file(const struct creds *c, const char *file)
{
	struct creds_named *x = find(c, file, true);

	return x ? x->cert : NULL;
}

struct cy_pubkey *creds_pubkey_by_text(const struct creds *c, const char *text)
{
	struct creds_named *x = find(c, text, false);

	return x ? x->pubkey : NULL;
}
