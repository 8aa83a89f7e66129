/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the data plane dropped, and why, by name. One set for each ESP thread and one for everybody else; reading adds
 * them up. Any thread.
 */
#ifndef KERNEL_TUN_COUNTERS_H
#define KERNEL_TUN_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#define COUNTERS(X)                                                                                          \
	X(IN_RING_FULL, "EspInRingFull")            /* the ESP threads do not keep up */                     \
	X(IN_SHORT, "EspInShort")                   /* too short for its SA, or for any */                   \
	X(IN_NO_SA, "EspInNoSa")                    /* unknown SPI */                                        \
	X(IN_EXPIRED, "EspInExpired")               /* the SA is past a hard limit */                        \
	X(IN_UNALIGNED, "EspInUnaligned")           /* not a multiple of the block (RFC 4303, 2.4) */        \
	X(IN_REPLAY, "EspInReplay")                 /* seen before, or older than the window */              \
	X(IN_BAD_ICV, "EspInBadIcv")                /* not authentic */                                      \
	X(IN_CRYPTO, "EspInCryptoFailed")           /* the crypto plugin failed */                           \
	X(IN_BAD_PADDING, "EspInBadPadding")        /* (RFC 4303, 2.4) */                                    \
	X(IN_BAD_NEXT_HEADER, "EspInBadNextHeader") /* neither IPv4, IPv6 nor a dummy */                     \
	X(IN_DUMMY, "EspInDummy")                   /* traffic flow confidentiality (RFC 4303, 2.6) */       \
	X(IN_BAD_INNER, "EspInBadInner")            /* no proper IP packet inside */                         \
	X(IN_ECN, "EspInEcnDrop")               /* congestion marked, and inside not ECN (RFC 6040, 4.2) */  \
	X(IN_SELECTOR, "EspInSelectorMismatch") /* not what this SA is for (RFC 4301, 5.2) */                \
	X(IN_POLICY, "EspInPolicyBlock")        /* a policy forbids it, or none allows it */                 \
	X(IN_WRITE, "EspInWriteFailed")         /* the TUN device refused it */                              \
	X(IN_RESYNC, "EspInEsnResync")          /* ESN high half found again (RFC 4303, A3) */               \
	X(OUT_NO_POLICY, "EspOutNoPolicy")      /* routed to us, but no policy wants it */                   \
	X(OUT_POLICY, "EspOutPolicyBlock")      /* a policy forbids it */                                    \
	X(OUT_RING_FULL, "EspOutRingFull")      /* the thread that sends it does not keep up */              \
	X(OUT_NO_SA, "EspOutNoSa")              /* no SA yet, and no room to keep the packet */              \
	X(OUT_QUEUED, "EspOutQueued")           /* kept until there is an SA */                              \
	X(OUT_EXPIRED, "EspOutExpired")         /* the SA is past a hard limit */                            \
	X(OUT_SEQ, "EspOutSeqOverflow")         /* sequence numbers used up (RFC 4303, 3.3.3) */             \
	X(OUT_BAD_INNER, "EspOutBadInner")      /* no proper IP packet */                                    \
	X(OUT_TOO_BIG, "EspOutTooBig")          /* answered by ICMP */                                       \
	X(OUT_CRYPTO, "EspOutCryptoFailed")     /* the crypto plugin failed */                               \
	X(OUT_SEND, "EspOutSendFailed")         /* the socket refused it */

#define COUNTERS_ENUM(id, name) CNT_##id,
enum counter { COUNTERS(COUNTERS_ENUM) CNT_MAX };
#undef COUNTERS_ENUM

struct counters {
	_Alignas(64) atomic_uint_least64_t v[CNT_MAX];
};

static inline void counter_add(struct counters *c, enum counter id, uint64_t n)
{
	atomic_fetch_add_explicit(&c->v[id], n, memory_order_relaxed);
}

#endif
