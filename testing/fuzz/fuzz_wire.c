/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clear datagrams, as they come from the network. Half of the inputs, by their first bit, get the length of the datagram into
 * the header, for otherwise hardly one would get further.
 *
 * fuzz options: -max_len=1500
 */
#include "chain.h"

static struct arena arena;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size ? size : 1);
	struct wire_error why;
	struct message m;
	enum cy_err err;

	FUZZ_CHECK(p);
	if (size)
		memcpy(p, data, size);
	if (size >= IKE_HEADER_LEN && p[0] & 1) {
		p[17] = 0x20;
		p[24] = p[25] = 0;
		p[26] = (uint8_t)(size >> 8);
		p[27] = (uint8_t)size;
	}
	err = wire_message_parse(&arena, cy_slice(p, size), &m, &why);
	if (err) {
		FUZZ_CHECK(why.text[0]);
		FUZZ_CHECK(why.notify != N_INVALID_SYNTAX); /* to nobody in clear */
	} else {
		FUZZ_CHECK(!*m.tail);
		chain_exercise(&arena, &m, false);
	}
	arena_reset(&arena);
	free(p);
	return 0;
}
