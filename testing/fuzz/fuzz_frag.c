/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reassembly: fragments with any numbers in any order, eight bytes of input each, against a bound. What comes together must be
 * what was put in.
 *
 * fuzz options: -max_len=512
 */
#include "chain.h"
#include "daemon/wire/protect.h"

#define MAX_BYTES 2048

static struct arena arena;

/* Every fragment's bytes say which they are: message, number, total. */
static void fill(uint8_t *p, size_t n, uint32_t msgid, uint16_t no, uint16_t total)
{
	memset(p, (uint8_t)(msgid * 31 + no * 7 + total), n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[1024];
	struct frag_set f = {.active = false};
	struct cy_slice whole;

	while (size >= 8) {
		struct payload skf = {.type = data[0] & 0x80 ? PAYLOAD_SK : PAYLOAD_SKF};
		uint32_t msgid = data[0] & 3;
		uint16_t no = (uint16_t)(data[1] << 8 | data[2]), total = (uint16_t)(data[3] << 8 | data[4]);
		size_t n = (size_t)(data[5] << 8 | data[6]) % sizeof(bytes), have = f.have;
		enum frag_result r;

		if (data[0] & 0x40) { /* small numbers, so that something comes together */
			no %= 8;
			total = (uint16_t)(total % 8);
			n %= 64;
		}
		skf.u.sk = (struct payload_sk){.frag_no = no, .frag_total = total, .inner_next = data[7]};
		fill(bytes, n, msgid, no, total);
		r = frag_add(&f, msgid, &skf, cy_slice(bytes, n), MAX_BYTES);
		FUZZ_CHECK(f.bytes <= MAX_BYTES && f.have <= f.total);
		FUZZ_CHECK(r != FRAG_DUPLICATE || f.have == have);
		if (r == FRAG_COMPLETE) {
			size_t sum = 0;

			FUZZ_CHECK(frag_join(&f, &arena, &whole) == CY_OK);
			for (uint16_t i = 1; i <= f.total; i++) {
				const struct cy_buf *part = &f.parts[i - 1];

				FUZZ_CHECK(part->p && sum + part->n <= whole.n);
				fill(bytes, part->n, f.msgid, i, f.total);
				FUZZ_CHECK(memcmp(whole.p + sum, bytes, part->n) == 0);
				sum += part->n;
			}
			FUZZ_CHECK(sum == whole.n);
		} else {
			FUZZ_CHECK(f.have == f.total || frag_join(&f, &arena, &whole) == CY_E_AGAIN);
		}
		data += 8;
		size -= 8;
	}
	frag_fini(&f);
	arena_reset(&arena);
	return 0;
}
