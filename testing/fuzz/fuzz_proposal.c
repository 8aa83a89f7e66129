/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proposals as ipsec.conf has them, in both dialects: the first byte chooses dialect and protocol, the rest is the keyword list.
 *
 * fuzz options: -max_len=100
 */
#include "fuzz.h"
#include "libcore/crypto/proposal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum proposal_proto protos[] = {PROTO_IKE, PROTO_ESP, PROTO_AH, PROTO_ESP};
	uint8_t how = fuzz_byte(&data, &size);
	struct proposal_list list = {NULL, 0}, copy = {NULL, 0};
	bool strict = false, legacy = false;
	char *text = fuzz_string(data, size), *why = NULL, line[300];
	struct suite suite;
	size_t index;
	enum cy_err err;

	err = proposal_parse(text, protos[how & 3], how & 4, &list, &strict, &legacy, &why);
	FUZZ_CHECK(err == CY_OK || err == CY_E_PARSE || err == CY_E_LIMIT);
	if (err) {
		FUZZ_CHECK(err != CY_E_PARSE || why);
	} else {
		FUZZ_CHECK(!why);
		for (size_t i = 0; i < list.n; i++) {
			FUZZ_CHECK(list.p[i].n <= PROPOSAL_MAX_TRANSFORMS);
			FUZZ_CHECK(list.p[i].proto == protos[how & 3]);
			proposal_str(&list.p[i], line, sizeof(line));
		}
		FUZZ_CHECK(!proposal_list_dup(&copy, &list));
		/* a list always agrees with itself, where it says enough to agree on */
		if (list.n &&
		    !proposal_select(list.p, list.n, copy.p, copy.n, how & 8, 0, how & 16, &suite, &index,
		        line, sizeof(line)))
			suite_str(&suite, protos[how & 3], line, sizeof(line));
	}
	proposal_list_fini(&list);
	proposal_list_fini(&copy);
	free(why);
	free(text);
	return 0;
}
