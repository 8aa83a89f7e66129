/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The anti-replay window of an inbound SA (RFC 4303, 3.4.3 and Appendix A), kept as RFC 6479 suggests: a ring of words
 * of which one is spare, so that the window moves by clearing words and never shifts bits.
 *
 * Not locked: whoever owns the SA serialises. Sequence numbers are 64 bits here, with or without ESN.
 */
#ifndef KERNEL_TUN_REPLAY_H
#define KERNEL_TUN_REPLAY_H

#include <cygnet/types.h>

#define REPLAY_MAX_WINDOW 4096

struct replay {
	uint64_t top;    /* T: the highest sequence number authenticated */
	uint32_t window; /* W: 0 accepts everything */
	uint32_t mask;   /* words - 1 */
	bool esn;
	bool check; /* false: the window serves only to infer the high half */
	uint64_t *bits;
};

/* CY_E_LIMIT: window is above REPLAY_MAX_WINDOW. */
enum cy_err replay_init(struct replay *r, uint32_t window, bool esn) CY_MUST_USE;
void replay_fini(struct replay *r);
/* The 64-bit sequence number that low stands for (Appendix A2.2). */
uint64_t replay_infer(const struct replay *r, uint32_t low);
/* Would seq be accepted? To be asked before and again after authentication, when another thread may have come first. */
bool replay_ok(const struct replay *r, uint64_t seq);
/* seq is authenticated and replay_ok(). True when it is the new top. */
bool replay_advance(struct replay *r, uint64_t seq);

#endif
