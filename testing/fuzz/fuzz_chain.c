/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload chains as they come out of an Encrypted payload: the type of the first, exchange and direction, then the chain.
 *
 * fuzz options: -max_len=1500
 */
#include "chain.h"

static struct arena arena;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m = {.h = {.major = 2}};
	uint8_t next = fuzz_byte(&data, &size), how = fuzz_byte(&data, &size), *p;
	struct wire_error why;
	enum cy_err err;

	m.h.exchange = (uint8_t)(EXCHANGE_IKE_SA_INIT + (how & 3));
	m.h.flags = how & 4 ? IKE_FLAG_RESPONSE : 0;
	p = malloc(size ? size : 1);
	FUZZ_CHECK(p);
	if (size)
		memcpy(p, data, size);
	err = wire_chain_parse(&arena, next, cy_slice(p, size), &m.first, &why);
	if (err)
		FUZZ_CHECK(why.text[0]);
	else
		chain_exercise(&arena, &m, !(how & 8));
	arena_reset(&arena);
	free(p);
	return 0;
}
