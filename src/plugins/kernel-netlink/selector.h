/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traffic selectors, which are ranges, as the kernel's selectors, which are prefixes and masks, and back. Pure functions.
 */
#ifndef KERNEL_NETLINK_SELECTOR_H
#define KERNEL_NETLINK_SELECTOR_H

#include <cygnet/types.h>
#include <linux/xfrm.h>

/* Pieces that one pair of selectors may come to: a range of addresses that is no prefix takes up to 62 (IPv4). */
#define SELECTORS_MAX 256
#define PREFIXES_MAX  254

struct prefix {
	uint8_t ip[16];
	uint8_t len;
};

/* The prefixes that make up the range of addresses; 0 when there are more than PREFIXES_MAX or the range is empty. */
size_t prefixes_of(const struct cy_ts *ts, struct prefix out[PREFIXES_MAX]);

/*
 * The kernel's selectors that together match what the pair does. CY_E_UNSUPPORTED: OPAQUE ports, or ICMP ranges that
 * the kernel cannot match. CY_E_LIMIT: more than SELECTORS_MAX.
 */
enum cy_err selectors_of(const struct cy_ts *src, const struct cy_ts *dst,
    struct xfrm_selector out[SELECTORS_MAX], size_t *out_n) CY_MUST_USE;

/* The packet that an acquire tells of. CY_E_PARSE: not of a family we know. */
enum cy_err selector_to_ts(
    const struct xfrm_selector *sel, struct cy_ts *out_src, struct cy_ts *out_dst) CY_MUST_USE;

/* RFC 4303 and 4301 leave them to the security policy; the kernel cannot tell them (RFC 7296, 3.13.1). */
static inline bool ts_opaque(const struct cy_ts *ts)
{
	return ts->port_lo > ts->port_hi;
}

static inline bool ts_any_port(const struct cy_ts *ts)
{
	return ts->port_lo == 0 && ts->port_hi == 65535;
}

#endif
