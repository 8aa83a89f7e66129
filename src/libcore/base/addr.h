/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses, prefixes, ranges and traffic selectors: parsing, printing, comparing, cutting. Pure functions.
 */
#ifndef LIBCORE_BASE_ADDR_H
#define LIBCORE_BASE_ADDR_H

#include <cygnet/types.h>
#include <netinet/in.h>

#define ADDR_STR_MAX 72 /* "[ipv6%scope]:port" with its NUL */
#define TS_STR_MAX   128

enum cy_err addr_parse(
    const char *s, struct cy_addr *out); /* numeric only: "1.2.3.4", "fe80::1%3"; no port */
enum cy_err addr_parse_port(const char *s, struct cy_addr *out);       /* "1.2.3.4:500", "[::1]:500" */
const char *addr_str(const struct cy_addr *a, char out[ADDR_STR_MAX]); /* without port; "%any" when unset */
const char *addr_port_str(
    const struct cy_addr *a, char out[ADDR_STR_MAX]);                    /* "1.2.3.4[500]" as charon prints */
void addr_from_sockaddr(const struct sockaddr *sa, struct cy_addr *out); /* v4-mapped becomes v4 */
socklen_t addr_to_sockaddr(const struct cy_addr *a, struct sockaddr_storage *out);
struct cy_addr addr_any(int family);
bool addr_is_any(const struct cy_addr *a); /* family 0 or all-zero address */
bool addr_is_loopback(const struct cy_addr *a);
int addr_cmp(const struct cy_addr *a, const struct cy_addr *b); /* family, address, then port */
enum cy_err addr_add(
    const struct cy_addr *a, uint64_t n, struct cy_addr *out); /* a + n; CY_E_LIMIT on wrap */
uint64_t addr_hash(const uint64_t key[2], const struct cy_addr *a, bool with_port);

/* An inclusive range of addresses of one family. */
struct addr_range {
	struct cy_addr lo, hi;
};
enum cy_err range_parse(const char *s, struct addr_range *out); /* "A", "A/N", "A-B" */
bool range_has(const struct addr_range *r, const struct cy_addr *a);
uint64_t range_count(const struct addr_range *r);                        /* saturates at UINT64_MAX */
const char *range_str(const struct addr_range *r, char out[TS_STR_MAX]); /* "A/N" when it is a prefix */

/* Traffic selectors (RFC 7296, 3.13.1). */
struct cy_ts ts_from_range(const struct addr_range *r);
struct cy_ts ts_host(const struct cy_addr *a);
struct cy_ts ts_any(bool ip6);
/* "10.1.0.0/16", "10.1.0.0/16[tcp/80]", "10.1.0.0/16[udp]", "::/0", "10.1.0.1-10.1.0.9[17/1000-2000]" */
enum cy_err ts_parse(const char *s, struct cy_ts *out);
const char *ts_str(const struct cy_ts *ts, char out[TS_STR_MAX]); /* "10.1.0.0/16[tcp/80]" */
bool ts_eq(const struct cy_ts *a, const struct cy_ts *b);
bool ts_contains(const struct cy_ts *outer, const struct cy_ts *inner);
bool ts_intersect(const struct cy_ts *a, const struct cy_ts *b, struct cy_ts *out);
bool ts_is_host(const struct cy_ts *ts, const struct cy_addr *a);
bool ts_has_addr(const struct cy_ts *ts, const struct cy_addr *a);
/* The smallest prefix that covers the range; exact is false when the range is not a prefix. */
uint8_t ts_prefix(const struct cy_ts *ts, bool *out_exact);
struct cy_addr ts_lo(const struct cy_ts *ts);
struct cy_addr ts_hi(const struct cy_ts *ts);

#endif
