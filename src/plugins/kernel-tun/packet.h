/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the data plane wants to know of an IP packet: its extent and the selectors of RFC 4301, 4.4.1.1. Pure functions.
 */
#ifndef KERNEL_TUN_PACKET_H
#define KERNEL_TUN_PACKET_H

#include <cygnet/types.h>

#define IP4_HEADER 20
#define IP6_HEADER 40

/* The selectors of one packet. Compared as bytes: no hole may stay unset. */
struct flow {
	uint8_t ip6;       /* 0 or 1 */
	uint8_t proto;     /* upper-layer protocol */
	uint8_t has_ports; /* ports are known: not so in a later fragment, or for protocols without */
	uint8_t pad_;
	uint16_t sport, dport; /* host order; ICMP and mobility: type << 8 | code, in both */
	uint8_t src[16], dst[16];
};

/* Length and family of the packet at p, whose buffer has n bytes; CY_E_PARSE when it is not a whole IP packet. */
enum cy_err packet_check(const uint8_t *p, size_t n, size_t *out_len) CY_MUST_USE;
/* The selectors of a packet that packet_check() accepted; len as that gave it. */
void packet_flow(const uint8_t *p, size_t len, struct flow *out);

uint8_t packet_tos(const uint8_t *p);
void packet_set_tos(uint8_t *p, uint8_t tos); /* keeps the header checksum right */
bool packet_may_fragment(const uint8_t *p);   /* IPv4 without DF */

/* Selector against packet: src_ts is where the packet comes from. */
bool flow_matches(const struct flow *f, const struct cy_ts *src_ts, const struct cy_ts *dst_ts);

static inline uint16_t get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline void put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}
/* Internet checksum (RFC 1071) of n bytes on top of sum. */
uint32_t packet_sum(const void *data, size_t n, uint32_t sum);
uint16_t packet_sum_fold(uint32_t sum);

#endif
