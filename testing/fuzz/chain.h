/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with every chain of payloads that was read: all that the daemon might do. */
#ifndef FUZZ_CHAIN_H
#define FUZZ_CHAIN_H

#include "daemon/wire/message.h"
#include "fuzz.h"

/* Selectors of unknown types are left out when reading, so that nothing may be left to build. */
static inline bool chain_only_unknown_ts(const struct payload *p)
{
	for (; p; p = p->next)
		if ((p->type == PAYLOAD_TSI || p->type == PAYLOAD_TSR) && p->u.ts.n == 0)
			return true;
	return false;
}

/* Read, then built, it reads the same; built again it is the same bytes. */
static inline void chain_rebuild(struct arena *a, const struct message *m)
{
	static uint8_t first[1 << 17], second[1 << 17];
	struct writer w1 = writer_of(first, sizeof(first)), w2 = writer_of(second, sizeof(second));
	struct message again = {.h = m->h};
	struct wire_error why;
	uint8_t next1, next2;
	enum cy_err err = wire_chain_encode(m, &w1, &next1);

	if (err) {
		FUZZ_CHECK(err == CY_E_INVAL && chain_only_unknown_ts(m->first));
		return;
	}
	err = wire_chain_parse(a, next1, writer_slice(&w1), &again.first, &why);
	if (err)
		(void)fprintf(stderr, "%s\n", why.text);
	FUZZ_CHECK(!err);
	FUZZ_CHECK(wire_chain_encode(&again, &w2, &next2) == CY_OK);
	FUZZ_CHECK(next1 == next2 && w1.n == w2.n && memcmp(first, second, w1.n) == 0);
}

static inline void chain_exercise(struct arena *a, const struct message *m, bool encrypted)
{
	struct wire_error why = {.notify = 0};
	char line[400];

	if (wire_check(&m->h, m->first, encrypted, &why))
		FUZZ_CHECK(why.text[0] && (encrypted || !why.notify));
	wire_print(&m->h, m->first, line, sizeof(line));
	wire_dump(m->first, line, sizeof(line));
	(void)wire_find_error(m->first);
	(void)wire_find_notify(m->first, N_COOKIE);
	chain_rebuild(a, m);
}

#endif
