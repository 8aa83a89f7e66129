/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proposals. Input: a byte of options, then text as in ike= and esp=; and the same bytes as two lists of transforms from a
 * peer, of which one is chosen.
 */

#include <stdlib.h>

#include "libcore/base/err.h"
#include "libcore/base/rw.h"
#include "libcore/base/text.h"
#include "libcore/crypto/proposal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* A list chosen from itself gives a suite that it accepts as an answer. */
static void choose_itself(const struct proposal *p, size_t n)
{
	char text[300], why[100];
	struct proposal answer;
	struct suite s, again;
	size_t which;

	must(proposal_select(p, n, p, n, false, 0, false, &s, &which, why, sizeof(why)) == CY_OK);
	must(which < n);
	proposal_from_suite(&s, (enum proposal_proto)p[which].proto, &answer);
	must(proposal_accepts(p, n, &answer, false, &again));
	must(memcmp(&s, &again, sizeof(s)) == 0);
	must(strlen(suite_str(&s, (enum proposal_proto)p[which].proto, text, sizeof(text))) < sizeof(text));
}

static void as_text(uint8_t options, const uint8_t *data, size_t size)
{
	struct proposal_list l = {NULL, 0}, copy;
	char *text = text_dup(data, size), *why = NULL, out[64];
	bool strict, legacy;
	enum cy_err err;

	if (!text)
		return;
	err = proposal_parse(
	    text, (enum proposal_proto)(1 + options % 3), options & 4, &l, &strict, &legacy, &why);
	must((err == CY_OK) == (l.n > 0));
	must((err == CY_E_PARSE) == (why != NULL));
	if (err == CY_OK) {
		for (size_t i = 0; i < l.n; i++)
			must(strlen(proposal_str(&l.p[i], out, sizeof(out))) < sizeof(out));
		choose_itself(l.p, l.n);
		must(proposal_list_dup(&copy, &l) == CY_OK);
		must(copy.n == l.n);
		proposal_list_fini(&copy);
	}
	proposal_list_fini(&l);
	free(why);
	free(text);
}

static void read_list(struct reader *r, struct proposal *p)
{
	*p = (struct proposal){.proto = read_u8(r) % 4};
	p->n = read_u8(r) % (PROPOSAL_MAX_TRANSFORMS + 1);
	for (uint8_t i = 0; i < p->n; i++)
		p->t[i] = (struct transform){
		    .type = read_u8(r) % 8,
		    .unknown_attr = read_u8(r) % 2,
		    .id = read_u8(r) % 4,
		    .key_bits = read_u8(r) % 2 ? 128 : 0,
		};
}

static void as_transforms(uint8_t options, const uint8_t *data, size_t size)
{
	struct reader r = reader_of(cy_slice(data, size));
	struct proposal ours[2], theirs[2];
	char why[80], text[80];
	struct suite s;
	size_t which;

	for (size_t i = 0; i < 2; i++) {
		read_list(&r, &ours[i]);
		read_list(&r, &theirs[i]);
		must(strlen(proposal_str(&theirs[i], text, sizeof(text))) < sizeof(text));
	}
	why[0] = '\0';
	if (proposal_select(ours, 2, theirs, 2, options & 1, options >> 4, options & 2, &s, &which, why,
	        sizeof(why)) == CY_OK)
		must(which < 2);
	else
		must(why[0] != '\0' && strlen(why) < sizeof(why));
	(void)proposal_accepts(ours, 2, &theirs[0], options & 2, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	as_text(data[0], data + 1, size - 1);
	as_transforms(data[0], data + 1, size - 1);
	return 0;
}
